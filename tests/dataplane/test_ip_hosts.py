"""Hosts at the ends of the user plane: the same behaviour in-process and in a network namespace."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from epc.dataplane import ip_packet
from epc.dataplane.capabilities import dataplane_capabilities
from epc.dataplane.hosts import HostKind, Hosts, InProcessHosts, open_hosts
from epc.dataplane.ip_endpoint import EndpointHost, IpHost, serve_udp_echo, udp_exchange
from epc.dataplane.ip_packet import Datagram, IcmpEcho
from epc.dataplane.namespace import Keeper, Namespace, NamespaceError
from epc.dataplane.namespace_host import NamespaceHost
from epc.dataplane.tun import TunLink
from epc.wire.errors import WireError

UE = IPv4Interface("45.45.0.2/32")
SERVER = IPv4Interface("10.200.0.1/24")
POOL = IPv4Network("45.45.0.0/16")

CAPABILITIES = {capability.name: capability for capability in dataplane_capabilities()}
HAS_NAMESPACES = CAPABILITIES["TUN devices"].available
needs_namespaces = [
    pytest.mark.real_time, pytest.mark.privileged, pytest.mark.skipif(not HAS_NAMESPACES, reason=CAPABILITIES["TUN devices"].detail),
]


def names_of_namespaces() -> set[str]:
    directory = Path("/run/netns")
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


@pytest.fixture(params=[
    pytest.param(HostKind.IN_PROCESS, id="in-process"),
    pytest.param(HostKind.NAMESPACE, id="namespace", marks=needs_namespaces),
])
async def hosts(request: pytest.FixtureRequest) -> AsyncIterator[Hosts]:
    hosts = await open_hosts(request.param)
    yield hosts
    await hosts.close()


@pytest.fixture
async def pair(hosts: Hosts) -> tuple[IpHost, IpHost]:
    """A UE and a server with nothing but a wire between them."""
    ue, server = await hosts.open("test-ue", UE), await hosts.open("test-sgi", SERVER, routes=[POOL])
    ue.link.on_packet, server.link.on_packet = server.link.send, ue.link.send
    return ue, server


async def test_ping_answers_and_measures(pair: tuple[IpHost, IpHost]) -> None:
    ue, server = pair
    result = await ue.ping(str(SERVER.ip), count=3, interval_s=0.01)
    assert (result.sent, result.received, result.lost) == (3, 3, 0)
    assert all(0 < round_trip_s < 1 for round_trip_s in result.round_trips_s)
    assert (await server.ping(str(UE.ip), payload_octets=1372)).received == 1     # a full packet, and the other way round


async def test_ping_counts_what_is_lost(pair: tuple[IpHost, IpHost]) -> None:
    ue, server = pair
    answered = server.link.on_packet
    lost = iter((True, False, True))
    server.link.on_packet = lambda packet: None if next(lost) else answered(packet)
    result = await ue.ping(str(SERVER.ip), count=3, interval_s=0.01, timeout_s=0.1)
    assert (result.sent, result.received) == (3, 1)


async def test_udp_exchange_both_ways(pair: tuple[IpHost, IpHost]) -> None:
    ue, server = pair
    echo = await serve_udp_echo(server)
    for payload in (b"", b"hello", bytes(1372)):
        assert await udp_exchange(ue, str(SERVER.ip), echo.port, payload) == payload
    echo.close()
    with pytest.raises(TimeoutError):
        await udp_exchange(ue, str(SERVER.ip), 7, b"anybody?", timeout_s=0.1)


async def test_port_can_be_taken_only_once(pair: tuple[IpHost, IpHost]) -> None:
    ue, _ = pair
    first = await ue.open_udp(lambda *_: None, port=5060)
    with pytest.raises(OSError, match=r"taken|in use"):
        await ue.open_udp(lambda *_: None, port=5060)
    first.close()
    assert (await ue.open_udp(lambda *_: None, port=5060)).port == 5060


async def test_closing_twice_and_opening_the_name_again(hosts: Hosts) -> None:
    for _ in range(2):
        host = await hosts.open("test-ue", UE)
        await host.close()
        await host.close()


# In-process only


async def test_in_process_host_sends_port_unreachable() -> None:
    host = EndpointHost("server", SERVER)
    sent: list[bytes] = []
    host.on_packet = sent.append
    datagram = ip_packet.encode_udp(UE.ip, SERVER.ip, Datagram(source_port=1, destination_port=9, payload=b"?"))
    packet = ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.UDP, datagram)
    host.send(packet)
    await asyncio.sleep(0)
    answer = ip_packet.decode_ipv4(sent[0])
    assert (answer.destination, answer.protocol, answer.payload[:2]) == (UE.ip, ip_packet.ICMP, b"\x03\x03")
    assert answer.payload[8:] == packet[:28]


async def test_in_process_host_counts_what_is_not_for_it() -> None:
    host = EndpointHost("server", SERVER)
    sent: list[bytes] = []
    host.on_packet = sent.append
    good = ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.ICMP, ip_packet.encode_echo(IcmpEcho(type=8, identifier=1, sequence=1, payload=b"abc")))
    bad = [
        b"", good[:19], good[:-1], b"\x46" + good[1:], good[:10] + b"\xff\xff" + good[12:], good[:-1] + b"X",
        ip_packet.encode_ipv4(UE.ip, IPv4Address("10.200.0.2"), ip_packet.ICMP, b""),
        ip_packet.encode_ipv4(UE.ip, SERVER.ip, 6, bytes(20)),
        ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.UDP, bytes(7)),
        ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.UDP, b"\0\0\0\7\0\x09\0\0"),
        ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.ICMP, b"\x08"),
    ]
    for packet in bad:
        host.send(packet)
    await asyncio.sleep(0)
    assert host.bad_packets == len(bad)
    assert sent == []
    host.send(good)
    await asyncio.sleep(0)
    assert len(sent) == 1


async def test_in_process_host_refuses_what_exceeds_its_mtu() -> None:
    host = EndpointHost("ue", UE, mtu_octets=1400)
    udp = await host.open_udp(lambda *_: None)
    udp.send(bytes(1372), "10.200.0.1", 7)
    with pytest.raises(ValueError, match="1401 octets"):
        udp.send(bytes(1373), "10.200.0.1", 7)


@pytest.mark.virtual_clock
async def test_ping_on_the_virtual_clock(seconds: Callable[[], float]) -> None:
    hosts = InProcessHosts()
    ue, server = await hosts.open("ue", UE), await hosts.open("sgi", SERVER)
    loop = asyncio.get_running_loop()
    ue.link.on_packet = lambda packet: loop.call_later(0.3, server.link.send, packet) and None
    server.link.on_packet = lambda packet: loop.call_later(0.2, ue.link.send, packet) and None
    result = await ue.ping(str(SERVER.ip), count=2, interval_s=10)
    assert result.round_trips_s == pytest.approx((0.5, 0.5), abs=0.01)
    assert seconds() == pytest.approx(10.5, abs=0.1)


# Octets


def test_checksum_is_the_internet_checksum() -> None:
    """Against the plain sum of 16-bit words with the carries added back (RFC 1071)."""
    def plainly(octets: bytes) -> int:
        total = sum(octets[0::2]) * 256 + sum(octets[1::2])
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        return total ^ 0xFFFF

    for octets in (b"", b"\0\0", b"\xff\xff", b"\xff", b"\0\1\xff\xfe", bytes(range(256)), b"\xff\xff" * 700):
        assert ip_packet.checksum(octets) == plainly(octets)
    assert ip_packet.checksum(bytes.fromhex("450000730000400040110000c0a80001c0a800c7")) == 0xB861      # a well-known example header


def test_udp_without_checksum_is_accepted() -> None:
    packet = ip_packet.decode_ipv4(ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.UDP, b"\0\1\0\2\0\x09\0\0x"))
    assert ip_packet.decode_udp(packet) == Datagram(source_port=1, destination_port=2, payload=b"x")


def test_fragments_are_refused() -> None:
    whole = ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.UDP, bytes(8))
    header = whole[:6] + b"\x20\x00" + whole[8:10] + b"\0\0" + whole[12:20]
    fragment = header[:10] + ip_packet.checksum(header).to_bytes(2) + header[12:] + whole[20:]
    with pytest.raises(WireError, match="fragments"):
        ip_packet.decode_ipv4(fragment)


# Namespaces only


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    keeper = await Keeper.start()
    yield keeper
    await keeper.close()


@pytest.fixture
async def namespace(keeper: Keeper) -> Namespace:
    return await keeper.create("test-namespace")


class TestNamespaces:
    pytestmark = needs_namespaces

    async def test_program_runs_as_the_ue(self, keeper: Keeper, tmp_path: Path) -> None:
        host = await NamespaceHost.open(keeper, "001019999999999", UE)
        output = tmp_path / "output"
        source = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('10.200.0.1', 9)); print(s.getsockname()[0])"
        with output.open("wb") as file:
            assert await host.namespace.run(sys.executable, "-c", source, stdout=file) == 0
        assert output.read_text() == "45.45.0.2\n"
        await host.close()

    async def test_exit_status_signal_and_missing_program(self, namespace: Namespace) -> None:
        assert await namespace.run("sh", "-c", "exit 7") == 7
        assert await namespace.run("sh", "-c", "kill -TERM $$") == -15
        with pytest.raises(NamespaceError, match="no-such-program"):
            await namespace.run("no-such-program")

    async def test_cancelling_kills_the_program(self, namespace: Namespace, tmp_path: Path) -> None:
        marker = tmp_path / "pid"
        running = asyncio.create_task(namespace.run("sh", "-c", f"echo $$ > {marker}; exec sleep 1000"))
        async with asyncio.timeout(5):
            while not marker.exists() or not marker.read_text().strip():        # noqa: ASYNC110 - a shell writes it
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        process = Path("/proc") / marker.read_text().strip()
        for _ in range(1000):
            if not process.exists():
                break
            await asyncio.sleep(0.01)
        assert not process.exists()

    async def test_nothing_of_the_host_is_visible_inside(self, namespace: Namespace, tmp_path: Path) -> None:
        output = tmp_path / "devices"
        with output.open("wb") as file:
            assert await namespace.run("cat", "/proc/self/net/dev", stdout=file) == 0
        assert [line.split(":")[0].strip() for line in output.read_text().splitlines()[2:]] == ["lo"]

    async def test_everything_is_gone_after_close(self, keeper: Keeper) -> None:
        before = names_of_namespaces()
        host = await NamespaceHost.open(keeper, "test-leftovers", UE)
        if keeper.privileged:
            assert names_of_namespaces() == before | {"test-leftovers"}
        await host.open_udp(lambda *_: None)
        await host.close()
        assert names_of_namespaces() == before

    async def test_keeper_puts_away_what_its_user_forgot(self) -> None:
        before = names_of_namespaces()
        keeper = await Keeper.start()
        await keeper.create("test-forgotten")
        await keeper.close()
        assert names_of_namespaces() == before

    async def test_nothing_is_left_when_the_process_is_killed(self) -> None:
        source = """
import asyncio, os, signal
from ipaddress import IPv4Interface
from epc.dataplane.hosts import NamespaceHosts

async def main():
    hosts = await NamespaceHosts.start()
    await hosts.open("test-victim", IPv4Interface("45.45.0.2/32"))
    print(os.path.exists("/run/netns/test-victim"), hosts.keeper_pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        had_name, keeper_pid = output.decode().split()
        keeper = Path("/proc") / keeper_pid
        async with asyncio.timeout(5):
            while keeper.exists():      # noqa: ASYNC110 - it is nobody's child any more
                await asyncio.sleep(0.01)
        assert had_name == str(os.geteuid() == 0)
        assert "test-victim" not in names_of_namespaces()

    async def test_name_in_use_by_another_keeper(self, keeper: Keeper, namespace: Namespace) -> None:
        with pytest.raises(NamespaceError, match="exists"):
            await keeper.create(namespace.name)
        other = await Keeper.start()
        try:
            if other.privileged:
                with pytest.raises(NamespaceError, match="another epclab process"):
                    await other.create(namespace.name)
        finally:
            await other.close()
        assert await namespace.run("true") == 0

    async def test_killed_keepers_leftovers_are_taken_over(self, keeper: Keeper) -> None:
        victim = await Keeper.start()
        await victim.create("test-killed")
        subprocess.run(["kill", "-KILL", str(victim.pid)], check=True)      # noqa: ASYNC221 - over at once
        await victim.close()
        with pytest.raises(NamespaceError):
            await victim.create("test-other")
        await (await keeper.create("test-killed")).close()
        assert "test-killed" not in names_of_namespaces()

    async def test_device_in_our_own_namespace_disappears_with_its_link(self, keeper: Keeper) -> None:
        if not keeper.privileged:
            pytest.skip("takes CAP_NET_ADMIN in this very namespace")
        link = TunLink.open_here("epclabtest0", IPv4Interface("198.51.100.1/32"), routes=[IPv4Network("198.51.100.128/25")], mtu_octets=1400)
        entered: list[bytes] = []
        link.on_packet = entered.append
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("198.51.100.200", 9))
        await asyncio.sleep(0.05)
        assert [packet[28:] for packet in entered if packet[9] == ip_packet.UDP] == [b"hello"]
        link.close()
        assert "epclabtest0" not in {name for _, name in socket.if_nameindex()}

    async def test_bad_names_do_not_leave_the_directory(self, keeper: Keeper) -> None:
        for name in ("", "../x", "a/b", ".", "x" * 65, "-x"):
            with pytest.raises(ValueError, match="not a name"):
                await keeper.create(name)
