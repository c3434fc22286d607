"""Associations of the SCTP engines on real sockets: what nodes may rely on, on every wire that this host offers."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from epc.transport.interface import Address, Association
from epc.transport.sctp import usrsctp
from epc.transport.sctp.selection import sctp_capabilities
from epc.transport.sctp.settings import LAB, Engine, SctpSettings, Wire
from epc.transport.sockets import SocketTransport

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(bool(usrsctp.available()), reason=usrsctp.available()),
]

S1AP = 18
NET = f"127.{64 + os.getpid() // 250 % 190}.{1 + os.getpid() % 250}."
"""Loopback addresses that no other test process uses at the same time."""

MME, ENB, OTHER = Address(NET + "2", 36412), Address(NET + "3", 0), Address(NET + "4", 36412)
QUICK = replace(
    LAB, rto_initial_ms=100, rto_min_ms=50, rto_max_ms=100, association_max_retransmissions=3, path_max_retransmissions=3, heartbeat_ms=200,
)
CAPABILITIES = sctp_capabilities()
UDP = SctpSettings(wire=Wire.UDP, listen_wires=(Wire.UDP,), profile=QUICK)
KERNEL = SctpSettings(wire=Wire.IP, listen_wires=(Wire.IP,), engine=Engine.KERNEL, profile=QUICK)
RAW = SctpSettings(wire=Wire.IP, listen_wires=(Wire.IP,), engine=Engine.USRSCTP, profile=QUICK)
NO_KERNEL = CAPABILITIES.lack(Wire.IP, Engine.KERNEL)
NO_RAW = CAPABILITIES.lack(Wire.IP, Engine.USRSCTP) or ("" if NO_KERNEL else "the kernel's SCTP would answer the same packets")


class Network:
    """Opens transports and pairs of ends on one ground, and closes all of it."""

    def __init__(self, ground: SctpSettings) -> None:
        self.ground = ground
        self.transports: list[SocketTransport] = []

    def transport(self, **changes: Any) -> SocketTransport:
        transport = SocketTransport("node", sctp=replace(self.ground, **changes))
        self.transports.append(transport)
        return transport

    async def associate(self, host: str = MME.host, **changes: Any) -> tuple[Association, Association]:
        accepted: asyncio.Future[Association] = asyncio.get_running_loop().create_future()
        await self.transport(**changes).listen_sctp(Address(host, 36412), accepted.set_result, interface="S1-MME")
        client = await self.transport(**changes).connect_sctp(
            Address(host, 36412), local=ENB if ":" not in host else None, interface="S1-MME", timeout_s=5,
        )
        return client, await asyncio.wait_for(accepted, 5)

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()


GROUNDS = [
    pytest.param(UDP, id="udp"),
    pytest.param(RAW, id="ip-usrsctp", marks=pytest.mark.skipif(bool(NO_RAW), reason=NO_RAW or "-")),
    pytest.param(KERNEL, id="ip-kernel", marks=pytest.mark.skipif(bool(NO_KERNEL), reason=NO_KERNEL or "-")),
]


@pytest.fixture(params=GROUNDS)
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """On every ground that this host offers."""
    network = Network(request.param)
    yield network
    await network.close()


@pytest.fixture(params=GROUNDS[:2])
async def mortal_network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """Where SCTP dies with its process. The kernel lives on to refuse strangers, and says goodbye for the dead."""
    network = Network(request.param)
    yield network
    await network.close()


@pytest.fixture
async def udp_network() -> AsyncIterator[Network]:
    network = Network(UDP)
    yield network
    await network.close()


class Inbox:
    """What one end hears."""

    def __init__(self, association: Association) -> None:
        self.messages: asyncio.Queue[tuple[bytes, int, int]] = asyncio.Queue()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        association.on_message = lambda data, stream, ppid: self.messages.put_nowait((data, stream, ppid))
        association.on_closed = self.closed.set_result

    async def next(self) -> tuple[bytes, int, int]:
        return await asyncio.wait_for(self.messages.get(), 5)

    async def end(self, timeout_s: float = 5) -> str:
        return await asyncio.wait_for(self.closed, timeout_s)


async def test_messages_both_ways_with_stream_and_ppid(network: Network) -> None:
    client, server = await network.associate()
    client_hears, server_hears = Inbox(client), Inbox(server)
    client.send(b"S1 Setup Request", stream=0, ppid=S1AP)
    assert await server_hears.next() == (b"S1 Setup Request", 0, S1AP)
    server.send(b"S1 Setup Response", stream=5, ppid=S1AP)
    assert await client_hears.next() == (b"S1 Setup Response", 5, S1AP)
    assert client.local == server.remote
    assert client.remote == server.local == MME
    assert client.status()["state"] == "ESTABLISHED"
    assert client.status()["wire"] == network.ground.wire.value


async def test_streams_are_what_both_ends_agree_on(network: Network) -> None:
    accepted: asyncio.Future[Association] = asyncio.get_running_loop().create_future()
    await network.transport(outbound_streams=4).listen_sctp(MME, accepted.set_result, interface="S1-MME")
    client = await network.transport(outbound_streams=9, inbound_streams=2).connect_sctp(MME, interface="S1-MME")
    assert client.outbound_streams == 9
    assert (await accepted).outbound_streams == 2
    with pytest.raises(ValueError, match="stream 9"):
        client.send(b"x", stream=9, ppid=S1AP)


@pytest.mark.parametrize("octets", [1, 1400, 1401, 9000, 70_000, 700_000])
async def test_a_message_of_any_length_arrives_whole(network: Network, octets: int) -> None:
    client, server = await network.associate()
    server_hears = Inbox(server)
    data = random.Random(octets).randbytes(octets)
    client.send(data, stream=1, ppid=S1AP)
    assert await server_hears.next() == (data, 1, S1AP)


async def test_a_message_longer_than_the_limit_ends_the_association(network: Network) -> None:
    client, server = await network.associate(message_limit_octets=500_000)
    server_hears, client_hears = Inbox(server), Inbox(client)
    client.send(bytes(900_000), stream=0, ppid=S1AP)
    assert "exceeds 500000 octets" in await server_hears.end()
    assert await client_hears.end() == "aborted by the peer"


async def test_more_than_the_buffers_hold_waits_and_arrives_in_order(network: Network) -> None:
    client, server = await network.associate()
    server_hears = Inbox(server)
    for number in range(4000):
        client.send(number.to_bytes(2, "big") * 1000, stream=0, ppid=S1AP)
    assert client.status()["queued_messages"], "the engine's own buffer is full"
    for number in range(4000):
        data, _, _ = await server_hears.next()
        assert data[:2] == number.to_bytes(2, "big")


async def test_shutdown_waits_for_the_queue(network: Network) -> None:
    client, server = await network.associate(send_queue_limit_octets=32 << 20)
    server_hears, client_hears = Inbox(server), Inbox(client)
    for _ in range(6000):
        client.send(bytes(2000), stream=0, ppid=S1AP)
    assert client.status()["queued_messages"]
    client.shutdown()
    assert await server_hears.end() == "shut down by the peer"
    assert await client_hears.end() == "shut down"
    assert server_hears.messages.qsize() == 6000


async def test_a_peer_that_leaves_too_much_unread_is_given_up(network: Network) -> None:
    client, _ = await network.associate(send_queue_limit_octets=100_000)
    client_hears = Inbox(client)

    def flood() -> None:
        while True:
            client.send(bytes(10_000), stream=0, ppid=S1AP)

    with pytest.raises(ConnectionError, match="unread"):
        flood()
    assert "unread" in await client_hears.end()
    with pytest.raises(ConnectionError):
        client.send(b"x", stream=0, ppid=S1AP)


@pytest.mark.parametrize("end", ["client", "server"])
async def test_shutdown_from_either_end(network: Network, end: str) -> None:
    client, server = await network.associate()
    one, other = (client, server) if end == "client" else (server, client)
    one_hears, other_hears = Inbox(one), Inbox(other)
    one.send(b"last", stream=0, ppid=S1AP)
    one.shutdown()
    assert await other_hears.next() == (b"last", 0, S1AP)
    assert await other_hears.end() == "shut down by the peer"
    assert await one_hears.end() == "shut down"
    assert not other.is_open


@pytest.mark.parametrize("end", ["client", "server"])
async def test_abort_from_either_end(network: Network, end: str) -> None:
    client, server = await network.associate()
    one, other = (client, server) if end == "client" else (server, client)
    one_hears, other_hears = Inbox(one), Inbox(other)
    one.abort()
    assert not one_hears.closed.done(), "callbacks come later"
    assert await one_hears.end() == "aborted"
    assert await other_hears.end() == "aborted by the peer"
    assert other.status()["state"] == "CLOSED"


async def test_nobody_listens_on_the_port(udp_network: Network) -> None:
    await udp_network.transport().listen_sctp(MME, lambda _: None, interface="S1-MME")
    with pytest.raises(ConnectionRefusedError):
        await udp_network.transport().connect_sctp(Address(MME.host, 36422), interface="X2-C")


async def test_nobody_answers(udp_network: Network) -> None:
    with pytest.raises(TimeoutError, match=r"no answer in 0\.3 s"):
        await udp_network.transport().connect_sctp(Address(NET + "9", 36412), interface="S1-MME", timeout_s=0.3)


async def test_a_server_that_comes_late_is_found(mortal_network: Network) -> None:
    connecting = asyncio.create_task(mortal_network.transport().connect_sctp(MME, interface="S1-MME", timeout_s=5))
    await asyncio.sleep(0.3)
    await mortal_network.transport().listen_sctp(MME, lambda _: None, interface="S1-MME")
    assert (await connecting).is_open


async def test_port_in_use(network: Network) -> None:
    await network.transport().listen_sctp(MME, lambda _: None, interface="S1-MME")
    with pytest.raises(OSError, match=r"36412.*in use"):
        await network.transport().listen_sctp(MME, lambda _: None, interface="S1-MME")


async def test_many_nodes_of_one_process_share_port_numbers(network: Network) -> None:
    hears: dict[str, list[Association]] = {}
    for number in range(10, 20):
        host = f"{NET}{number}"
        hears[host] = []
        await network.transport().listen_sctp(Address(host, 36412), hears[host].append, interface="S1-MME")
    clients = [
        await network.transport().connect_sctp(Address(host, 36412), local=ENB, interface="S1-MME")
        for host in hears for _ in range(3)
    ]
    await asyncio.sleep(0.05)
    assert {host: len(servers) for host, servers in hears.items()} == dict.fromkeys(hears, 3)
    assert len({client.local for client in clients}) == 30
    assert {server.remote for servers in hears.values() for server in servers} == {client.local for client in clients}


async def test_ipv6(network: Network) -> None:
    client, server = await network.associate(host="::1")
    server_hears = Inbox(server)
    client.send(b"six", stream=0, ppid=S1AP)
    assert await server_hears.next() == (b"six", 0, S1AP)
    assert server.remote.host == "::1"


@pytest.mark.skipif(bool(CAPABILITIES.lack(Wire.IP, Engine.AUTO)), reason="no SCTP over IP here")
async def test_a_server_hears_both_wires_by_default(udp_network: Network) -> None:
    accepted: list[Association] = []
    await udp_network.transport(listen_wires=None).listen_sctp(MME, accepted.append, interface="S1-MME")
    for wire in Wire:
        await udp_network.transport(wire=wire).connect_sctp(MME, interface="S1-MME")
    await asyncio.sleep(0.05)
    assert {association.status()["wire"] for association in accepted} == {"ip", "udp"}


async def test_garbage_does_no_harm(udp_network: Network) -> None:
    client, server = await udp_network.associate()
    server_hears, chance = Inbox(server), random.Random(1)
    before = usrsctp.counters()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(2000):
            stranger.sendto(chance.randbytes(chance.randrange(100)), (MME.host, 9899))
            if number % 100 == 0:
                await asyncio.sleep(0)
        # well-formed packets of nonsense chunks, the checksum right
        for kind in range(256):
            for _ in range(10):
                packet = struct.pack("!HHII", chance.choice((36412, 5)), 36412, chance.choice((0, chance.getrandbits(32))), 0)
                body = chance.randbytes(chance.randrange(60))
                packet += struct.pack("!BBH", kind, chance.randrange(256), chance.choice((4 + len(body), chance.randrange(65536)))) + body
                packet = packet[:8] + struct.pack("=I", usrsctp.lib.shim_crc32c(packet, len(packet))) + packet[12:]
                stranger.sendto(packet, (MME.host, 9899))
            await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    after = usrsctp.counters()
    assert after["bad_checksum"] + after["too_short"] >= before["bad_checksum"] + before["too_short"] + 1900
    client.send(b"still here", stream=0, ppid=S1AP)
    assert await server_hears.next() == (b"still here", 0, S1AP)
    newcomer = await udp_network.transport().connect_sctp(MME, interface="S1-MME")
    assert newcomer.is_open


PEER = """
import asyncio, sys
from epc.transport.interface import Address
from epc.transport.sctp.settings import Engine, SctpSettings, Wire
from epc.transport.sockets import SocketTransport

async def main() -> None:
    wire = Wire(sys.argv[4])
    transport = SocketTransport("peer", sctp=SctpSettings(wire=wire, listen_wires=(wire,), engine=Engine(sys.argv[5])))
    def echo(association) -> None:
        association.on_message = lambda data, stream, ppid: association.send(data, stream=stream, ppid=ppid)
    if sys.argv[1] == "listen":
        await transport.listen_sctp(Address(sys.argv[2], 36412), echo, interface="S1-MME")
    else:
        await transport.connect_sctp(Address(sys.argv[3], 36412), local=Address(sys.argv[2], 36412), interface="S1-MME")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Peer:
    """The other node, as a process of its own."""

    def __init__(self, role: str, ground: SctpSettings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PEER, role, OTHER.host, MME.host, ground.wire.value, ground.engine.value], stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )

    async def ready(self) -> None:
        assert self._process.stdout is not None
        assert await asyncio.to_thread(self._process.stdout.readline) == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


async def test_another_process_echoes_and_vanishes(mortal_network: Network) -> None:
    peer = Peer("listen", mortal_network.ground)
    try:
        await peer.ready()
        client = await mortal_network.transport().connect_sctp(OTHER, interface="S1-MME")
        client_hears = Inbox(client)
        client.send(b"echo", stream=3, ppid=S1AP)
        assert await client_hears.next() == (b"echo", 3, S1AP)
    finally:
        peer.kill()
    client.send(b"anybody?", stream=0, ppid=S1AP)
    assert await client_hears.end() == f"no answer from {OTHER}"


async def test_a_server_that_forgot_the_association_says_so(mortal_network: Network) -> None:
    peer = Peer("listen", mortal_network.ground)
    try:
        await peer.ready()
        client = await mortal_network.transport(profile=LAB).connect_sctp(OTHER, interface="S1-MME")
        client_hears = Inbox(client)
    finally:
        peer.kill()
    peer = Peer("listen", mortal_network.ground)
    try:
        await peer.ready()
        client.send(b"do you know me?", stream=0, ppid=S1AP)
        assert await client_hears.end() == "aborted by the peer"
    finally:
        peer.kill()


async def test_a_client_that_restarts_ends_its_old_association_and_opens_another(mortal_network: Network) -> None:
    accepted: asyncio.Queue[Association] = asyncio.Queue()
    await mortal_network.transport(profile=LAB).listen_sctp(MME, accepted.put_nowait, interface="S1-MME")
    hears: list[Inbox] = []
    for _ in range(2):
        peer = Peer("connect", mortal_network.ground)
        try:
            await peer.ready()
        finally:
            peer.kill()
        association = await asyncio.wait_for(accepted.get(), 5)
        hears.append(Inbox(association))
        assert association.remote == OTHER
    assert await hears[0].end() == "restarted by the peer"
    assert association.is_open
    association.abort()


@pytest.mark.skipif(bool(NO_KERNEL), reason=NO_KERNEL or "-")
async def test_the_kernel_says_goodbye_for_a_process_that_died() -> None:
    network = Network(KERNEL)
    peer = Peer("listen", KERNEL)
    try:
        await peer.ready()
        client_hears = Inbox(await network.transport().connect_sctp(OTHER, interface="S1-MME"))
    finally:
        peer.kill()
    assert await client_hears.end() == "shut down by the peer"
    await network.close()


async def test_closing_the_transport_tells_the_peers(network: Network) -> None:
    client, server = await network.associate()
    server_hears = Inbox(server)
    await network.transports[1].close()
    assert not client.is_open
    assert await server_hears.end() == "shut down by the peer"


async def forget_everything() -> None:
    """A program that ends its loop with associations open."""
    network = Network(UDP)
    await network.associate()


async def exchange() -> bytes:
    network = Network(UDP)
    client, server = await network.associate()
    server_hears = Inbox(server)
    client.send(b"hello", stream=0, ppid=S1AP)
    data, _, _ = await server_hears.next()
    await network.close()
    return data


def test_a_new_event_loop_takes_over_what_an_old_one_left() -> None:
    asyncio.run(forget_everything())
    assert asyncio.run(exchange()) == b"hello"


def test_uvloop() -> None:
    assert uvloop.run(exchange()) == b"hello"
