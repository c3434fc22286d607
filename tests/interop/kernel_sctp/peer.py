"""An SCTP peer as a process of its own, which can be killed: our transport, or pysctp (a third party's use of the kernel).

    peer.py listen HOST WIRE ENGINE                 echoes, by our transport
    peer.py connect HOST REMOTE WIRE ENGINE         holds an association open, from port 36412 to port 36412
    peer.py pysctp-listen HOST                      echoes one association by pysctp until it is shut down
    peer.py pysctp-connect HOST REMOTE              sends three messages, prints what comes back, shuts down

Prints ``ready`` when it listens or is connected.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from epc.transport.interface import Address, Association
from epc.transport.sctp.settings import Engine, SctpSettings, Wire
from epc.transport.sockets import SocketTransport

PORT = 36412
STREAMS = 16


def echo(association: Association) -> None:
    association.on_message = lambda data, stream, ppid: association.send(data, stream=stream, ppid=ppid)


async def by_our_transport(role: str, host: str, remote: str, wire: Wire, engine: Engine) -> None:
    transport = SocketTransport("peer", sctp=SctpSettings(wire=wire, listen_wires=(wire,), engine=engine))
    if role == "listen":
        await transport.listen_sctp(Address(host, PORT), echo, interface="S1-MME")
    else:
        held = await transport.connect_sctp(Address(remote, PORT), local=Address(host, PORT), interface="S1-MME")
        echo(held)
    print("ready", flush=True)
    await asyncio.Event().wait()


def by_pysctp(role: str, host: str, remote: str) -> None:
    import sctp  # type: ignore[import-untyped]   # an optional dependency, built against libsctp

    ours = sctp.sctpsocket_tcp(socket.AF_INET)
    ours.initparams.num_ostreams = STREAMS
    ours.bind((host, PORT if role == "listen" else 0))
    if role == "listen":
        ours.listen(1)
        print("ready", flush=True)
        ours, _ = ours.accept()
    else:
        ours.connect((remote, PORT))
        print("ready", flush=True)
    ours.events.data_io = True
    if role == "connect":
        for number in range(3):
            ours.sctp_send(f"message {number}".encode(), ppid=18 + number, stream=number)
    for _ in range(3) if role == "connect" else iter(int, 1):
        _, _, data, about = ours.sctp_recv(1 << 16)
        if not data:
            break
        ppid = socket.ntohl(about.ppid)         # sctp_send swaps the octets, sctp_recv does not
        if role == "connect":
            print(data.decode(), about.stream, ppid, flush=True)
        else:
            ours.sctp_send(data, ppid=ppid, stream=about.stream)
    ours.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["listen", host, wire, engine]:
            asyncio.run(by_our_transport("listen", host, "", Wire(wire), Engine(engine)))
        case ["connect", host, remote, wire, engine]:
            asyncio.run(by_our_transport("connect", host, remote, Wire(wire), Engine(engine)))
        case ["pysctp-listen", host]:
            by_pysctp("listen", host, "")
        case ["pysctp-connect", host, remote]:
            by_pysctp("connect", host, remote)
        case _:
            sys.exit(__doc__)
