"""What a packet costs in the user plane: an SGW and a PGW as processes of their own, and a generator that plays the eNodeB.

Every packet goes up through both, is turned round on SGi and comes down again. The generator has a fixed number of packets under way,
so that nothing is lost to full socket buffers and the rate is what the slowest process can do. CPU time is the operating system's
account of each process, kernel work included.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from multiprocessing.connection import Connection
from typing import NamedTuple

import uvloop

from epc.dataplane import ip_packet
from epc.dataplane.forwarder import GtpuPort
from epc.dataplane.hosts import NamespaceHosts
from epc.dataplane.ip_packet import IcmpEcho
from epc.dataplane.rules import GTPU_PORT, ApplyAction, Far, FTeid, Interface, Pdr, Session, UeIpAddress
from epc.dataplane.socket_backend import TEIDS_APART, SocketForwarder
from epc.transport.sockets import SocketTransport
from epc.wire import gtpu

APN = "internet"
SERVER = IPv4Interface("10.200.0.1/16")
POOL = IPv4Network("45.0.0.0/8")
MAX_SESSIONS = 1 << 20
_FIRST_TEID, _ENB_TEID = 1, 0x80000000
_STALL_S = 0.5          # nothing came back for so long: what is under way counts as lost


class SgiKind(Enum):
    REFLECTOR = "reflector"     # inside the PGW's process: the cost of GTP-U alone
    TUN = "tun"                 # a TUN device, and the kernel of a namespace answering pings


class _Setup(NamedTuple):
    """What the processes have to agree on."""

    network: str        # the first three octets of their loopback addresses
    sessions: int
    sgi: SgiKind

    @property
    def enb(self) -> str:
        return f"{self.network}.1"

    @property
    def sgw_access(self) -> str:
        return f"{self.network}.2"

    @property
    def sgw_core(self) -> str:
        return f"{self.network}.3"

    @property
    def pgw(self) -> str:
        return f"{self.network}.4"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPlaneCost:
    """One measurement. A packet counts once for the way up and once for the way down."""

    packet_octets: int
    sessions: int
    sgi: SgiKind
    packets: int
    lost: int
    packets_per_second: float
    sgw_us_per_packet: float
    pgw_us_per_packet: float

    @property
    def us_per_packet(self) -> float:
        """SGW and PGW together: the figure that has a budget."""
        return self.sgw_us_per_packet + self.pgw_us_per_packet


def measure_user_plane(
    *, packet_octets: int = 100, sessions: int = 1, packets: int = 50_000, rounds: int = 5, window: int = 64, sgi: SgiKind = SgiKind.REFLECTOR,
) -> UserPlaneCost:
    """The median of ``rounds``, each of ``packets`` user packets of ``packet_octets``, spread over ``sessions``. Blocks; not for the event loop."""
    if not 28 <= packet_octets <= 1400:
        raise ValueError(f"a packet has 28 to 1400 octets, not {packet_octets}")
    if not 1 <= sessions < MAX_SESSIONS:
        raise ValueError(f"1 to {MAX_SESSIONS - 1} sessions, not {sessions}")
    # Loopback addresses that no other measurement running at the same time has.
    setup = _Setup(network=f"127.{128 + os.getpid() % 125}.{os.getpid() // 125 % 250}", sessions=sessions, sgi=sgi)
    generator = _Generator(packet_octets, setup)
    nodes = [_NodeProcess(_sgw, setup), _NodeProcess(_pgw, setup)]
    try:
        for node in nodes:
            node.wait_until_ready()
        generator.run(min(packets, 2000), window)       # warm-up
        results = [_measure_round(generator, nodes, packets, window) for _ in range(rounds)]
    finally:
        for node in nodes:
            node.stop()
        generator.close()
    lost = sum(result[0] for result in results)
    rate, sgw_us, pgw_us = (statistics.median(column) for column in list(zip(*results, strict=True))[1:])
    return UserPlaneCost(
        packet_octets=packet_octets, sessions=sessions, sgi=sgi, packets=2 * packets * rounds, lost=lost,
        packets_per_second=rate, sgw_us_per_packet=sgw_us, pgw_us_per_packet=pgw_us,
    )


def _measure_round(generator: _Generator, nodes: list[_NodeProcess], packets: int, window: int) -> tuple[int, float, float, float]:
    before = [node.cpu_s() for node in nodes]
    started = time.perf_counter()
    lost = generator.run(packets, window)
    elapsed_s = time.perf_counter() - started
    sgw_us, pgw_us = (1e6 * (node.cpu_s() - cpu_s) / (2 * packets) for node, cpu_s in zip(nodes, before, strict=True))
    return lost, 2 * packets / elapsed_s, sgw_us, pgw_us


class _Generator:
    """The eNodeB: sends pings from the UEs and waits for what comes back."""

    def __init__(self, packet_octets: int, setup: _Setup) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((setup.enb, GTPU_PORT))
        self._socket.connect((setup.sgw_access, GTPU_PORT))
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        echo = ip_packet.encode_echo(IcmpEcho(type=ip_packet.ECHO_REQUEST, identifier=1, sequence=1, payload=bytes(packet_octets - 28)))
        self._messages = [
            gtpu.encode(gtpu.GPdu(payload=ip_packet.encode_ipv4(_ue_address(number), SERVER.ip, ip_packet.ICMP, echo)), teid=_FIRST_TEID + number)
            for number in range(setup.sessions)
        ]
        self._next = 0

    def run(self, packets: int, window: int) -> int:
        """Send ``packets`` with at most ``window`` under way; returns how many did not come back."""
        send, receive, messages = self._socket.send, self._socket.recv, self._messages
        number, sent, settled, lost = self._next, 0, 0, 0       # settled: came back, or given up
        while settled < packets:
            while sent < packets and sent - settled < window:
                send(messages[number])
                number = number + 1 if number + 1 < len(messages) else 0
                sent += 1
            if not self._selector.select(_STALL_S):
                lost += sent - settled
                settled = sent
                if lost == sent >= 4 * window:
                    raise RuntimeError("no packet comes back")
            try:
                while settled < sent:
                    receive(2048)
                    settled += 1
            except BlockingIOError:
                pass
        self._next = number
        return lost

    def close(self) -> None:
        self._selector.close()
        self._socket.close()


class _NodeProcess:
    """A process with a forwarder in it."""

    def __init__(self, make: Callable[[Connection, _Setup], None], setup: _Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=make, args=(theirs, setup), daemon=True)
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        failure = self._connection.recv()
        if failure:
            raise OSError(failure)

    def cpu_s(self) -> float:
        """CPU time of the process so far."""
        self._connection.send("cpu")
        return float(self._connection.recv())

    def stop(self) -> None:
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


OpenNode = Callable[[SocketTransport, AsyncExitStack], Coroutine[None, None, None]]


def _sgw(connection: Connection, setup: _Setup) -> None:
    uvloop.run(_serve(connection, lambda transport, stack: _open_sgw(transport, stack, setup)))


def _pgw(connection: Connection, setup: _Setup) -> None:
    uvloop.run(_serve(connection, lambda transport, stack: _open_pgw(transport, stack, setup)))


async def _serve(connection: Connection, open_node: OpenNode) -> None:
    """Run a node until the other end of the connection closes; answer whatever is asked with the CPU time so far."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    def asked() -> None:
        try:
            connection.recv()
        except EOFError:
            loop.remove_reader(connection.fileno())
            closed.set_result(None)
        else:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            connection.send(usage.ru_utime + usage.ru_stime)

    async with AsyncExitStack() as stack:
        transport = SocketTransport("bench")
        stack.push_async_callback(transport.close)
        try:
            await open_node(transport, stack)
        except OSError as error:
            connection.send(str(error))
            return
        connection.send("")
        loop.add_reader(connection.fileno(), asked)
        await closed


async def _open_sgw(transport: SocketTransport, stack: AsyncExitStack, setup: _Setup) -> None:
    forwarder = await SocketForwarder.open(
        transport, first_teid=_FIRST_TEID,
        access=GtpuPort(address=setup.sgw_access, interface="S1-U"), core=GtpuPort(address=setup.sgw_core, interface="S5/S8-U"),
    )
    stack.push_async_callback(forwarder.close)
    for number in range(setup.sessions):
        to_enb = FTeid(teid=_ENB_TEID + number, address=setup.enb)
        to_pgw = FTeid(teid=_FIRST_TEID + number, address=setup.pgw)
        forwarder.install(Session(
            id=number,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=forwarder.allocate_f_teid(Interface.ACCESS), far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, local_f_teid=forwarder.allocate_f_teid(Interface.CORE), far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=to_pgw),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=to_enb)),
        ))


async def _open_pgw(transport: SocketTransport, stack: AsyncExitStack, setup: _Setup) -> None:
    forwarder = await SocketForwarder.open(transport, access=GtpuPort(address=setup.pgw, interface="S5/S8-U"), first_teid=_FIRST_TEID)
    stack.push_async_callback(forwarder.close)
    if setup.sgi is SgiKind.TUN:
        hosts = await NamespaceHosts.start()
        stack.push_async_callback(hosts.close)
        server = await hosts.open(f"epclab-bench-{os.getpid()}", SERVER, routes=[POOL])
        forwarder.connect(APN, server.link)
    else:
        forwarder.connect(APN, _Reflector())
    for number in range(setup.sessions):
        ue = UeIpAddress(ipv4=_ue_address(number))
        to_sgw = FTeid(teid=_FIRST_TEID + TEIDS_APART + number, address=setup.sgw_core)
        forwarder.install(Session(
            id=number,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=forwarder.allocate_f_teid(Interface.ACCESS), ue_ip_address=ue, far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance=APN, ue_ip_address=ue, far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, network_instance=APN),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=to_sgw)),
        ))


class _Reflector:
    """An :class:`~epc.dataplane.forwarder.IpLink` that sends every packet back, source and destination exchanged."""

    on_packet: Callable[[bytes], None]

    def send(self, packet: bytes) -> None:
        self.on_packet(packet[:12] + packet[16:20] + packet[12:16] + packet[20:])


def _ue_address(number: int) -> IPv4Address:
    return POOL.network_address + 2 + number
