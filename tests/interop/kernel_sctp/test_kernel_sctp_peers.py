"""The kernel's SCTP under our transport, against usrsctp on both wires and against pysctp, over a virtual cable.

Each end has a network namespace of its own. Where the host's kernel has no SCTP, ``boot.py`` beside this file runs these tests under one that has.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib.util
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from epc.transport.interface import Address, Association
from epc.transport.sctp import kernel, usrsctp
from epc.transport.sctp.settings import LAB, UDP_ENCAPSULATION_PORT, Engine, SctpSettings, Wire
from epc.transport.sockets import SocketTransport

LACK = kernel.available() or usrsctp.available() or ("" if os.geteuid() == 0 else "needs root") or ("" if shutil.which("ip") else "needs iproute2")
pytestmark = [
    pytest.mark.real_time, pytest.mark.interop, pytest.mark.privileged,
    pytest.mark.skipif(bool(LACK), reason=LACK or "-"),
]

PROJECT = Path(__file__).resolve().parents[3]
S1AP = 18
PORT = 36412
STREAMS = 16
PATIENCE_S = 20
START_OF_A_PROCESS_S = 60           # in an emulated processor
IMPATIENT = replace(
    LAB, rto_initial_ms=300, rto_min_ms=200, rto_max_ms=400, association_max_retransmissions=4, path_max_retransmissions=4, heartbeat_ms=300,
)
KERNEL = SctpSettings(wire=Wire.IP, listen_wires=(Wire.IP,), engine=Engine.KERNEL, outbound_streams=STREAMS)
USRSCTP_IP = replace(KERNEL, engine=Engine.USRSCTP)
USRSCTP_UDP = replace(USRSCTP_IP, wire=Wire.UDP, listen_wires=(Wire.UDP,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one end lives and who runs its SCTP."""

    namespace: str
    host: str
    settings: SctpSettings
    encapsulates: bool = False              # the kernel, told by sysctl to put what it begins into UDP


LEFT, RIGHT = f"epclab-left-{os.getpid()}", f"epclab-right-{os.getpid()}"
LEFT_KERNEL = Place(namespace=LEFT, host="10.132.0.1", settings=KERNEL)
LEFT_KERNEL_IPV6 = replace(LEFT_KERNEL, host="fd00:132::1")
LEFT_KERNEL_UDP = replace(LEFT_KERNEL, encapsulates=True)
RIGHT_KERNEL = Place(namespace=RIGHT, host="10.132.0.2", settings=KERNEL)
RIGHT_UDP = Place(namespace=RIGHT, host="10.132.0.2", settings=USRSCTP_UDP)
RIGHT_RAW = Place(namespace=RIGHT, host="10.132.0.3", settings=USRSCTP_IP)
RIGHT_RAW_IPV6 = replace(RIGHT_RAW, host="fd00:132::3")
RAW_HOSTS = (RIGHT_RAW.host, RIGHT_RAW_IPV6.host)

PAIRS = [
    pytest.param((LEFT_KERNEL, RIGHT_KERNEL), id="kernel-to-kernel"),
    pytest.param((LEFT_KERNEL, RIGHT_RAW), id="kernel-to-usrsctp-ip"),
    pytest.param((RIGHT_RAW, LEFT_KERNEL), id="usrsctp-ip-to-kernel"),
    pytest.param((LEFT_KERNEL_UDP, RIGHT_UDP), id="kernel-to-usrsctp-udp"),
    pytest.param((RIGHT_UDP, LEFT_KERNEL), id="usrsctp-udp-to-kernel"),
]
IPV6_PAIRS = [
    pytest.param((LEFT_KERNEL_IPV6, RIGHT_RAW_IPV6), id="kernel-to-usrsctp-ipv6"),
    pytest.param((RIGHT_RAW_IPV6, LEFT_KERNEL_IPV6), id="usrsctp-ipv6-to-kernel"),
]


def command(*arguments: str, namespace: str | None = None) -> None:
    inside = ("ip", "netns", "exec", namespace) if namespace else ()
    done = subprocess.run([*inside, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


@contextlib.contextmanager
def within(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes belong to the namespace, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as away:
        assert libc.setns(away.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0


def without_offloads(namespace: str, device: str) -> None:
    """The kernel leaves checksums and segmenting to devices that promise to do it. A veth promises and does neither, since nobody on
    the way minds; a raw socket at the other end does.
    """
    siocethtool, gfeatures, sfeatures, blocks = 0x8946, 0x3A, 0x3B, 2
    with within(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        def ask(question: ctypes.Array[ctypes.c_uint32]) -> None:
            fcntl.ioctl(any_socket, siocethtool, struct.pack("16sP16x", device.encode(), ctypes.addressof(question)))

        features = (ctypes.c_uint32 * (2 + 4 * blocks))(gfeatures, blocks)          # available, requested, active, never changed
        ask(features)
        ask((ctypes.c_uint32 * (2 + 2 * blocks))(sfeatures, blocks, features[2], 0, features[6], 0))


def kernel_setting(namespace: str, name: str, value: int) -> None:
    with within(namespace):
        Path("/proc/sys/net/sctp", name).write_text(str(value))


class Cable:
    """Two namespaces and what joins them."""

    def __init__(self) -> None:
        for namespace in (LEFT, RIGHT):
            command("ip", "netns", "add", namespace)
        command("ip", "link", "add", "cable", "netns", LEFT, "type", "veth", "peer", "name", "cable", "netns", RIGHT)
        for namespace, hosts in ((LEFT, (LEFT_KERNEL.host, "10.132.0.11")), (RIGHT, (RIGHT_KERNEL.host, RIGHT_RAW.host))):
            for host in hosts:
                command("ip", "address", "add", f"{host}/24", "dev", "cable", namespace=namespace)
            command("ip", "link", "set", "cable", "up", namespace=namespace)
            without_offloads(namespace, "cable")
        for place in (LEFT_KERNEL_IPV6, RIGHT_RAW_IPV6):
            command("ip", "address", "add", f"{place.host}/64", "dev", "cable", "nodad", namespace=place.namespace)
        # A kernel that has SCTP refuses what usrsctp does on raw sockets under its eyes. It leaves alone what came in a broadcast
        # frame (sctp_rcv: PACKET_HOST only), while raw sockets get that too.
        for host in RAW_HOSTS:
            command("ip", "neigh", "replace", host, "lladdr", "ff:ff:ff:ff:ff:ff", "dev", "cable", "nud", "permanent", namespace=LEFT)
        kernel_setting(LEFT, "udp_port", UDP_ENCAPSULATION_PORT)

        self.is_impaired = False

    def impair(self, *how: str) -> None:
        self.is_impaired = True
        for namespace in (LEFT, RIGHT):
            command("tc", "qdisc", "replace", "dev", "cable", "root", "netem", *how, namespace=namespace)

    def repair(self) -> None:
        if self.is_impaired:
            self.impair("loss", "0%")
            self.is_impaired = False

    def remove(self) -> None:
        for namespace in (LEFT, RIGHT):
            command("ip", "netns", "delete", namespace)


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    cable = Cable()
    yield cable
    cable.remove()


class Inbox:
    """What one end hears."""

    def __init__(self, association: Association) -> None:
        self.messages: asyncio.Queue[tuple[bytes, int, int]] = asyncio.Queue()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        association.on_message = lambda data, stream, ppid: self.messages.put_nowait((data, stream, ppid))
        association.on_closed = self.closed.set_result

    async def next(self) -> tuple[bytes, int, int]:
        return await asyncio.wait_for(self.messages.get(), PATIENCE_S)

    async def end(self) -> str:
        return await asyncio.wait_for(self.closed, PATIENCE_S)


class Ends:
    """Opens and closes both ends of associations."""

    def __init__(self) -> None:
        self.transports: list[SocketTransport] = []

    def _transport(self, settings: SctpSettings) -> SocketTransport:
        transport = SocketTransport("node", sctp=settings)
        self.transports.append(transport)
        return transport

    async def listen(self, place: Place, settings: SctpSettings | None = None, *, port: int = PORT) -> asyncio.Queue[Association]:
        accepted: asyncio.Queue[Association] = asyncio.Queue()
        with within(place.namespace):
            await self._transport(settings or place.settings).listen_sctp(Address(place.host, port), accepted.put_nowait, interface="S1-MME")
        return accepted

    async def connect(
        self, place: Place, remote: Place, settings: SctpSettings | None = None, *, timeout_s: float = PATIENCE_S,
    ) -> Association:
        if place.encapsulates:
            kernel_setting(place.namespace, "encap_port", UDP_ENCAPSULATION_PORT)
        try:
            with within(place.namespace):
                return await self._transport(settings or place.settings).connect_sctp(
                    Address(remote.host, PORT), local=Address(place.host, 0), interface="S1-MME", timeout_s=timeout_s,
                )
        finally:
            if place.encapsulates:
                kernel_setting(place.namespace, "encap_port", 0)

    async def associate(self, pair: tuple[Place, Place], **changes: object) -> tuple[Association, Association]:
        near, far = pair
        accepted = await self.listen(far, replace(far.settings, **changes))     # type: ignore[arg-type]
        client = await self.connect(near, far, replace(near.settings, **changes))   # type: ignore[arg-type]
        return client, await asyncio.wait_for(accepted.get(), PATIENCE_S)

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()


@pytest.fixture
async def ends(cable: Cable) -> AsyncIterator[Ends]:
    ends = Ends()
    yield ends
    cable.repair()
    await ends.close()


@pytest.mark.parametrize("pair", PAIRS + IPV6_PAIRS)
async def test_messages_keep_bounds_stream_and_ppid(ends: Ends, pair: tuple[Place, Place]) -> None:
    client, server = await ends.associate(pair)
    client_hears, server_hears = Inbox(client), Inbox(server)
    messages = [(bytes([number]) * (1 + 7 * number), number % STREAMS, ppid) for number, ppid in enumerate((S1AP, 27, 46, 0, 0xFFFFFFFE) * 8)]
    for data, stream, ppid in messages:
        client.send(data, stream=stream, ppid=ppid)
    heard = [await server_hears.next() for _ in messages]
    assert sorted(heard) == sorted(messages)
    for data, stream, ppid in messages:
        server.send(data, stream=stream, ppid=ppid)
    assert sorted([await client_hears.next() for _ in messages]) == sorted(messages)
    assert client.local == server.remote
    assert client.remote == server.local == Address(pair[1].host, PORT)
    for end, place in ((client, pair[0]), (server, pair[1])):
        assert end.status()["engine"] == place.settings.engine.value
        assert end.status()["state"] == "ESTABLISHED"


@pytest.mark.parametrize("pair", PAIRS)
async def test_streams_are_what_both_ends_agree_on(ends: Ends, pair: tuple[Place, Place]) -> None:
    near, far = pair
    accepted = await ends.listen(far, replace(far.settings, outbound_streams=4, inbound_streams=7))
    client = await ends.connect(near, far, replace(near.settings, outbound_streams=9, inbound_streams=2))
    server = await asyncio.wait_for(accepted.get(), PATIENCE_S)
    server_hears = Inbox(server)
    client.send(b"x", stream=0, ppid=S1AP)
    await server_hears.next()
    assert (client.outbound_streams, server.outbound_streams) == (7, 2)
    with pytest.raises(ValueError, match="stream 7"):
        client.send(b"x", stream=7, ppid=S1AP)


@pytest.mark.parametrize("pair", PAIRS)
async def test_long_messages_arrive_whole_both_ways(ends: Ends, pair: tuple[Place, Place]) -> None:
    client, server = await ends.associate(pair)
    hears = {client: Inbox(client), server: Inbox(server)}
    for octets in (1400, 1401, 9000, 65_536, 70_000, 700_000):
        data = random.Random(octets).randbytes(octets)
        for one, other in ((client, server), (server, client)):
            one.send(data, stream=1, ppid=S1AP)
            assert await hears[other].next() == (data, 1, S1AP)


@pytest.mark.parametrize("pair", PAIRS)
async def test_many_messages_at_once_are_in_order_on_each_stream(ends: Ends, pair: tuple[Place, Place]) -> None:
    count = 4000
    client, server = await ends.associate(pair)
    hears = {client: Inbox(client), server: Inbox(server)}
    for number in range(count):
        for end in hears:
            end.send(number.to_bytes(4, "big") * 25, stream=number % STREAMS, ppid=S1AP)
    for inbox in hears.values():
        numbers: list[list[int]] = [[] for _ in range(STREAMS)]
        for _ in range(count):
            data, stream, _ = await inbox.next()
            numbers[stream].append(int.from_bytes(data[:4], "big"))
        assert numbers == [list(range(stream, count, STREAMS)) for stream in range(STREAMS)]


@pytest.mark.parametrize("pair", PAIRS)
async def test_packets_lost_and_reordered_on_the_way(ends: Ends, cable: Cable, pair: tuple[Place, Place]) -> None:
    client, server = await ends.associate(pair)
    server_hears = Inbox(server)
    cable.impair("delay", "2ms", "1ms", "loss", "3%", "duplicate", "2%", "reorder", "10%")
    messages = [(number.to_bytes(2, "big") * (1 + number), 0, S1AP) for number in range(600)]
    for data, stream, ppid in messages:
        client.send(data, stream=stream, ppid=ppid)
    assert [await server_hears.next() for _ in messages] == messages


@pytest.mark.parametrize("shuts", ["client", "server"])
@pytest.mark.parametrize("pair", PAIRS)
async def test_shutdown_comes_after_all_that_was_sent(ends: Ends, pair: tuple[Place, Place], shuts: str) -> None:
    client, server = await ends.associate(pair, send_queue_limit_octets=32 << 20)
    one, other = (client, server) if shuts == "client" else (server, client)
    one_hears, other_hears = Inbox(one), Inbox(other)
    for _ in range(3000):
        one.send(bytes(2000), stream=0, ppid=S1AP)
    one.shutdown()
    assert await other_hears.end() == "shut down by the peer"
    assert await one_hears.end() == "shut down"
    assert other_hears.messages.qsize() == 3000
    assert not one.is_open
    assert not other.is_open


@pytest.mark.parametrize("aborts", ["client", "server"])
@pytest.mark.parametrize("pair", PAIRS)
async def test_abort(ends: Ends, pair: tuple[Place, Place], aborts: str) -> None:
    client, server = await ends.associate(pair)
    one, other = (client, server) if aborts == "client" else (server, client)
    one_hears, other_hears = Inbox(one), Inbox(other)
    one.abort()
    assert await one_hears.end() == "aborted"
    assert await other_hears.end() == "aborted by the peer"
    with pytest.raises(ConnectionError):
        other.send(b"x", stream=0, ppid=S1AP)


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_cut_cable_is_noticed_at_both_ends(ends: Ends, cable: Cable, pair: tuple[Place, Place]) -> None:
    client, server = await ends.associate(pair, profile=IMPATIENT)
    client_hears, server_hears = Inbox(client), Inbox(server)
    cable.impair("loss", "100%")
    client.send(b"anybody?", stream=0, ppid=S1AP)
    assert await client_hears.end() == f"no answer from {client.remote}"
    assert await server_hears.end() == f"no answer from {server.remote}", "heartbeats alone tell it"


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_short_break_is_survived(ends: Ends, cable: Cable, pair: tuple[Place, Place]) -> None:
    client, server = await ends.associate(pair)
    client_hears, server_hears = Inbox(client), Inbox(server)
    cable.impair("loss", "100%")
    client.send(b"up", stream=0, ppid=S1AP)
    server.send(b"down", stream=0, ppid=S1AP)
    await asyncio.sleep(0.5)
    assert server_hears.messages.empty()
    cable.repair()
    assert await server_hears.next() == (b"up", 0, S1AP)
    assert await client_hears.next() == (b"down", 0, S1AP)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.id != "kernel-to-usrsctp-ip"])
async def test_a_port_where_nobody_listens_refuses(ends: Ends, pair: tuple[Place, Place]) -> None:
    near, far = pair
    await ends.listen(far, port=PORT + 1)
    with pytest.raises(ConnectionRefusedError):
        await ends.connect(near, far)


async def test_usrsctp_on_raw_sockets_leaves_ports_of_others_alone(ends: Ends) -> None:
    await ends.listen(RIGHT_RAW, port=PORT + 1)
    with pytest.raises(TimeoutError, match=r"no answer in 1 s"):
        await ends.connect(LEFT_KERNEL, RIGHT_RAW, timeout_s=1)


@pytest.mark.parametrize("near", [pytest.param(place, id=name) for name, place in (
    ("kernel", RIGHT_KERNEL), ("usrsctp-ip", RIGHT_RAW), ("usrsctp-udp", RIGHT_UDP),
)])
async def test_a_kernel_that_listens_at_all_its_addresses_and_names_them(ends: Ends, near: Place) -> None:
    accepted = await ends.listen(replace(LEFT_KERNEL, host="0.0.0.0"))
    client = await ends.connect(near, LEFT_KERNEL)
    server = await asyncio.wait_for(accepted.get(), PATIENCE_S)
    client_hears, server_hears = Inbox(client), Inbox(server)
    for number in range(20):
        client.send(bytes([number]) * 3000, stream=number % STREAMS, ppid=S1AP)
        assert await server_hears.next() == (bytes([number]) * 3000, number % STREAMS, S1AP)
        server.send(bytes([number]) * 3000, stream=number % STREAMS, ppid=S1AP)
        assert await client_hears.next() == (bytes([number]) * 3000, number % STREAMS, S1AP)
    client.shutdown()
    assert await server_hears.end() == "shut down by the peer"


class Peer:
    """A peer in a process of its own: ``peer.py``."""

    def __init__(self, namespace: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, str(Path(__file__).with_name("peer.py")), *arguments],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), START_OF_A_PROCESS_S)).rstrip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.asynccontextmanager
async def peer(namespace: str, *arguments: str) -> AsyncIterator[Peer]:
    process = Peer(namespace, *arguments)
    try:
        assert await process.line() == "ready"
        yield process
    finally:
        process.kill()


USRSCTP_PLACES = [pytest.param(RIGHT_RAW, id="usrsctp-ip"), pytest.param(RIGHT_UDP, id="usrsctp-udp")]


@pytest.mark.parametrize("far", USRSCTP_PLACES)
async def test_a_usrsctp_client_that_restarts_ends_its_old_association_and_opens_another(ends: Ends, far: Place) -> None:
    accepted = await ends.listen(LEFT_KERNEL)
    inboxes: list[Inbox] = []
    for _ in range(2):
        async with peer(far.namespace, "connect", far.host, LEFT_KERNEL.host, far.settings.wire.value, "usrsctp"):
            association = await asyncio.wait_for(accepted.get(), PATIENCE_S)
            assert association.remote == Address(far.host, PORT)
            inboxes.append(Inbox(association))
            association.send(b"echo this", stream=1, ppid=S1AP)
            assert await inboxes[-1].next() == (b"echo this", 1, S1AP)
    assert await inboxes[0].end() == "restarted by the peer"
    assert association.is_open
    association.abort()


@pytest.mark.parametrize("far", USRSCTP_PLACES)
async def test_a_usrsctp_server_that_forgot_the_association_says_so(ends: Ends, far: Place) -> None:
    near = LEFT_KERNEL_UDP if far.settings.wire is Wire.UDP else LEFT_KERNEL
    listening = ("listen", far.host, far.settings.wire.value, "usrsctp")
    async with peer(far.namespace, *listening):
        client = await ends.connect(near, far)
        client_hears = Inbox(client)
    async with peer(far.namespace, *listening):
        client.send(b"do you know me?", stream=0, ppid=S1AP)
        assert await client_hears.end() == "aborted by the peer"


@pytest.mark.parametrize("far", [pytest.param(RIGHT_KERNEL, id="kernel"), *USRSCTP_PLACES])
async def test_the_kernel_says_goodbye_for_a_process_that_died(ends: Ends, far: Place) -> None:
    if far.settings.wire is Wire.UDP:
        kernel_setting(LEFT, "encap_port", UDP_ENCAPSULATION_PORT)
    try:
        accepted = await ends.listen(far)
        async with peer(LEFT, "connect", LEFT_KERNEL.host, far.host, "ip", "kernel"):
            far_hears = Inbox(await asyncio.wait_for(accepted.get(), PATIENCE_S))
    finally:
        kernel_setting(LEFT, "encap_port", 0)
    assert await far_hears.end() == "shut down by the peer"


needs_pysctp = pytest.mark.skipif(importlib.util.find_spec("sctp") is None, reason="no pysctp")
FARS = [pytest.param(RIGHT_KERNEL, id="kernel"), pytest.param(RIGHT_RAW, id="usrsctp-ip")]


@needs_pysctp
@pytest.mark.parametrize("far", FARS)
async def test_pysctp_as_kernel_client(ends: Ends, far: Place) -> None:
    accepted = await ends.listen(far)
    async with peer(LEFT, "pysctp-connect", LEFT_KERNEL.host, far.host) as client:
        server = await asyncio.wait_for(accepted.get(), PATIENCE_S)
        assert server.outbound_streams >= 3
        closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        server.on_closed = closed.set_result
        server.on_message = lambda data, stream, ppid: server.send(data, stream=stream, ppid=ppid)
        assert [await client.line() for _ in range(3)] == ["message 0 0 18", "message 1 1 19", "message 2 2 20"]
        assert await asyncio.wait_for(closed, PATIENCE_S) == "shut down by the peer"


@needs_pysctp
@pytest.mark.parametrize("near", FARS)
async def test_pysctp_as_kernel_server(ends: Ends, near: Place) -> None:
    async with peer(LEFT, "pysctp-listen", LEFT_KERNEL.host):
        client = await ends.connect(near, LEFT_KERNEL)
        client_hears = Inbox(client)
        assert client.outbound_streams >= 10
        for stream, octets in ((0, 1), (5, 3000), (9, 60_000)):
            data = random.Random(octets).randbytes(octets)
            client.send(data, stream=stream, ppid=S1AP)
            assert await client_hears.next() == (data, stream, S1AP)
        client.shutdown()
        assert await client_hears.end() == "shut down"
