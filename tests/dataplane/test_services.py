"""What the server on SGi offers, and what a phone's browser makes of it: in this process and in network namespaces."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from epc.dataplane import ip_packet
from epc.dataplane.channel import TcpChannel
from epc.dataplane.hosts import HostKind, Hosts, InProcessHosts, open_hosts
from epc.dataplane.ip_endpoint import EndpointHost, IpHost
from epc.dataplane.ip_packet import TcpFlag, TcpSegment
from epc.dataplane.namespace_host import NamespaceHost
from epc.dataplane.services.client import Failure, Fetched, fetch, resolve
from epc.dataplane.services.dns import NameServer
from epc.dataplane.services.web import WebServer
from epc.dataplane.sgi import DnsService, Services, Sgi, WebService
from tests.dataplane.conftest import Wire
from tests.dataplane.test_ip_hosts import needs_namespaces

UE = IPv4Interface("45.45.0.2/32")
SERVER = IPv4Interface("10.200.0.1/24")
POOL = IPv4Network("45.45.0.0/16")
SERVERS = (SERVER.ip,)
NAMES = {
    "allowed.example": (IPv4Address("10.200.0.2"),),
    "two.example": (IPv4Address("10.200.0.3"), IPv4Address("10.200.0.4")),
    "*.wild.example": (IPv4Address("10.200.0.5"),),
    "deep.below.tree.example": (IPv4Address("10.200.0.6"),),
    "elsewhere.example": (IPv4Address("192.0.2.1"),),
}


class Joined:
    """A forwarder that does nothing but carry packets between one UE and SGi."""

    def __init__(self, ue: IpHost) -> None:
        self.ue = ue

    def connect(self, network_instance: str, link: Wire, *, mtu_octets: int | None = None) -> None:
        self.ue.link.on_packet, link.on_packet = link.send, self.ue.link.send

    def disconnect(self, network_instance: str) -> None:
        self.ue.link.on_packet = lambda packet: None


@pytest.fixture(params=[
    pytest.param((HostKind.IN_PROCESS, False), id="in-process"),
    pytest.param((HostKind.NAMESPACE, False), id="namespace", marks=needs_namespaces),
    pytest.param((HostKind.NAMESPACE, True), id="veth", marks=[*needs_namespaces, pytest.mark.skipif(os.geteuid() != 0, reason="takes root")]),
])
async def hosts(request: pytest.FixtureRequest) -> AsyncIterator[Hosts]:
    hosts = await open_hosts(request.param[0], veth=request.param[1])
    yield hosts
    await hosts.close()


@pytest.fixture
async def ue(hosts: Hosts) -> IpHost:
    return await hosts.open("test-ue", UE)


@pytest.fixture
async def sgi(hosts: Hosts, ue: IpHost) -> AsyncIterator[Sgi]:
    services = Services(dns=DnsService(names=NAMES), web=WebService(sites={"allowed.example": "welcome\n", "*.wild.example": "wild\n"}))
    sgi = await Sgi.open(hosts, Joined(ue), "internet", (POOL,), server=SERVER, name="test-sgi", services=services)      # type: ignore[arg-type]
    yield sgi
    await sgi.close()


def trusted(sgi: Sgi) -> list[str]:
    assert sgi.certificate_authority is not None
    return [sgi.certificate_authority]


async def test_names_wildcards_and_names_that_are_not_there(ue: IpHost, sgi: Sgi) -> None:
    assert list((await resolve(ue, SERVERS, "allowed.example")).addresses) == [IPv4Address("10.200.0.2")]
    assert set((await resolve(ue, SERVERS, "TWO.Example.")).addresses) == set(NAMES["two.example"])
    assert (await resolve(ue, SERVERS, "a.b.wild.example")).addresses == NAMES["*.wild.example"]
    unknown = await resolve(ue, SERVERS, "unknown.example")
    assert (bool(unknown), unknown.error) == (False, Failure.NO_SUCH_NAME)
    assert (await resolve(ue, (), "allowed.example")).error is Failure.NO_RESOLVER
    with pytest.raises(ValueError, match="no host name"):
        await resolve(ue, SERVERS, "a" * 64)
    assert sgi.name_server is not None
    assert (sgi.name_server.queries, sgi.name_server.unknown_names) == (4, 1)


async def test_a_silent_name_server_is_asked_again_and_given_up(ue: IpHost, sgi: Sgi) -> None:
    silent = IPv4Address("10.200.0.77")
    assert (await resolve(ue, (silent,), "allowed.example", timeout_s=0.05)).error is Failure.RESOLVER_SILENT
    assert await resolve(ue, (silent, SERVER.ip), "allowed.example", timeout_s=0.5)


async def test_the_server_has_the_addresses_that_are_named(ue: IpHost, sgi: Sgi) -> None:
    assert [str(address) for address in sgi.addresses] == [f"10.200.0.{i}" for i in range(1, 7)]
    for address in ("10.200.0.1", "10.200.0.2", "10.200.0.6"):
        assert (await ue.ping(address)).received == 1
    assert (await ue.ping("10.200.0.7", timeout_s=0.1)).received == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_pages_of_several_names(ue: IpHost, sgi: Sgi, scheme: str) -> None:
    async def get(url: str) -> Fetched:
        return await fetch(ue, SERVERS, f"{scheme}://{url}", authorities=trusted(sgi))

    page = await get("allowed.example/")
    assert (page.status, page.body, page.address) == (200, b"welcome\n", IPv4Address("10.200.0.2"))
    assert (await get("a.wild.example/x?y=1")).text == "wild\n"
    assert (await get("two.example/x?y=1")).text == f"{scheme}://two.example/x?y=1 for 45.45.0.2\n"
    assert (await get("10.200.0.6/")).text == f"{scheme}://10.200.0.6/ for 45.45.0.2\n"
    volume = await get("two.example/octets/300000")
    assert (volume.status, len(volume.body), volume.body[:4]) == (200, 300_000, b"\0\1\2\3")
    assert (await get("two.example/octets/many")).status == 404
    upload = await fetch(ue, SERVERS, f"{scheme}://two.example/", authorities=trusted(sgi), method="POST", body=bytes(200_000))
    assert upload.text == "200000 octets received\n"
    assert (await fetch(ue, SERVERS, f"{scheme}://two.example/octets/9", authorities=trusted(sgi), method="HEAD")).headers["content-length"] == "9"
    assert sgi.web_server is not None
    assert sgi.web_server.requests == {"allowed.example": 1, "a.wild.example": 1, "two.example": 5, "10.200.0.6": 1}


async def test_what_a_browser_reports_when_there_is_no_page(ue: IpHost, sgi: Sgi) -> None:
    assert (await fetch(ue, SERVERS, "http://unknown.example/")).error is Failure.NO_SUCH_NAME
    refused = await fetch(ue, SERVERS, "http://allowed.example:81/")
    assert (refused.error, refused.status, refused.address) == (Failure.REFUSED, None, IPv4Address("10.200.0.2"))
    assert (await fetch(ue, SERVERS, "http://10.200.0.77/", timeout_s=0.2)).error is Failure.TIMEOUT
    stranger = await fetch(ue, SERVERS, "https://allowed.example/")
    assert (stranger.error, stranger.ok) == (Failure.TLS, False), "a CA that the phone does not know"
    for url in ("ftp://allowed.example/", "allowed.example", "http:///"):
        with pytest.raises(ValueError, match="no http or https URL"):
            await fetch(ue, SERVERS, url)


async def test_a_connection_that_is_reset_or_closed_in_the_middle(ue: IpHost, sgi: Sgi) -> None:
    async def reset(channel: TcpChannel) -> None:
        await channel.receive()
        channel.abort()

    async def half(channel: TcpChannel) -> None:
        await channel.receive()
        await channel.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    async def nonsense(channel: TcpChannel) -> None:
        await channel.receive()
        await channel.send(b"SSH-2.0-OpenSSH\r\n\r\n")

    for port, behaviour, error in ((81, reset, Failure.BROKEN), (82, half, Failure.BROKEN), (83, nonsense, Failure.BAD_ANSWER)):
        listener = await sgi.server.listen_tcp(port, behaviour)
        page = await fetch(ue, SERVERS, f"http://allowed.example:{port}/", timeout_s=2)
        assert page.error is error, page
        assert page.body == (b"hello" if port == 82 else b"")
        listener.close()
    assert (await fetch(ue, SERVERS, "http://allowed.example:81/")).error is Failure.REFUSED


async def test_a_redirection_is_followed(ue: IpHost, sgi: Sgi) -> None:
    async def portal(channel: TcpChannel) -> None:
        await channel.receive()
        await channel.send(b"HTTP/1.1 302 Found\r\nLocation: http://allowed.example/\r\nContent-Length: 0\r\n\r\n")

    await sgi.server.listen_tcp(81, portal)
    page = await fetch(ue, SERVERS, "http://two.example:81/anything")
    assert (page.url, page.text) == ("http://allowed.example/", "welcome\n")


async def test_requests_that_are_none_are_answered_with_400(ue: IpHost, sgi: Sgi) -> None:
    channel = await ue.connect_tcp("10.200.0.2", 80)
    await channel.send(b"\x16\x03\x01 nonsense\r\n\r\n")
    octets = b""
    while chunk := await channel.receive():
        octets += chunk
    assert octets.startswith(b"HTTP/1.1 400 ")
    channel.close()


async def test_dns_over_tcp(ue: IpHost, sgi: Sgi) -> None:
    query = dns.message.make_query("two.example", "A").to_wire()
    channel = await ue.connect_tcp("10.200.0.1", 53)
    await channel.send(len(query).to_bytes(2) + query[:5])
    await channel.send(query[5:] + len(query).to_bytes(2) + query)          # two questions, cut anywhere
    octets = b""
    while len(octets) < 2 or len(octets) < 2 * (2 + int.from_bytes(octets[:2])):
        octets += await channel.receive()
    answer = dns.message.from_wire(octets[2:2 + int.from_bytes(octets[:2])])
    assert {data.address for data in answer.answer[0]} == {"10.200.0.3", "10.200.0.4"}
    channel.close()


# The name server's answers


def ask(server: NameServer, name: str, kind: str = "A", **more: object) -> dns.message.Message:
    answer = server.answer(dns.message.make_query(name, kind, **more).to_wire(), max_octets=512)     # type: ignore[arg-type]
    assert answer is not None
    return dns.message.from_wire(answer)


def test_kinds_of_records_and_names_between() -> None:
    server = NameServer(NAMES, ttl_s=7)
    answer = ask(server, "allowed.example")
    assert (answer.rcode(), answer.answer[0].ttl, bool(answer.flags & dns.flags.AA)) == (dns.rcode.NOERROR, 7, True)
    for name, kind in (("allowed.example", "AAAA"), ("tree.example", "A"), ("example", "A"), ("x.wild.example", "MX")):
        answer = ask(server, name, kind)
        assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, []), f"{name} exists, and has no {kind}"
    for name in ("wild.example.test", "x.allowed.example", "org"):
        assert ask(server, name).rcode() == dns.rcode.NXDOMAIN


def test_long_answers_are_truncated_unless_the_client_takes_more() -> None:
    server = NameServer({"many.example": [IPv4Address(0x0AC80000 + i) for i in range(60)]})
    plain = ask(server, "many.example")
    assert (bool(plain.flags & dns.flags.TC), plain.answer) == (True, [])
    assert len(ask(server, "many.example", use_edns=0, payload=4096).answer[0]) == 60
    whole = server.answer(dns.message.make_query("many.example", "A").to_wire())
    assert whole is not None
    assert len(dns.message.from_wire(whole).answer[0]) == 60


def test_no_octets_upset_the_name_server() -> None:
    server = NameServer(NAMES)
    good = dns.message.make_query("allowed.example", "A").to_wire()
    chance = random.Random(1)
    formerr = dns.message.from_wire(server.answer(good[:14]) or b"")
    assert formerr.rcode() == dns.rcode.FORMERR
    assert server.answer(b"") is None
    assert server.answer(server.answer(good) or b"") is None, "answers are not answered"
    for _ in range(2000):
        octets = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        server.answer(bytes(octets[:chance.randint(0, len(octets))]), max_octets=512)


@pytest.mark.virtual_clock
async def test_a_name_servers_client_that_stays_silent_is_sent_away(seconds: Callable[[], float]) -> None:
    ue, server = await pair_on(join)
    names = NameServer(NAMES)
    await names.serve(server)
    channel = await ue.connect_tcp("10.200.0.1", 53)
    with pytest.raises(ConnectionResetError):
        await channel.receive()
    assert seconds() == pytest.approx(30, abs=1)
    names.close()


# TCP in this process


async def pair_on(wire_up: Callable[[EndpointHost, EndpointHost], None]) -> tuple[EndpointHost, EndpointHost]:
    hosts = InProcessHosts()
    ue, server = await hosts.open("ue", UE), await hosts.open("server", SERVER)
    assert isinstance(ue, EndpointHost)
    assert isinstance(server, EndpointHost)
    wire_up(ue, server)
    return ue, server


async def collect(server: EndpointHost, *, hold: asyncio.Event | None = None) -> asyncio.Future[bytes]:
    done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def receive(channel: TcpChannel) -> None:
        octets = b""
        if hold is not None:
            await hold.wait()
        while chunk := await channel.receive():
            octets += chunk
        await channel.send(b"thanks")
        done.set_result(octets)

    await server.listen_tcp(80, receive)
    return done


@pytest.mark.virtual_clock
@pytest.mark.parametrize("seed", range(8))
async def test_tcp_over_a_bad_wire_delivers_every_octet_in_order(seed: int) -> None:
    """Lost, doubled and overtaken segments in both directions."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()

    def carrier(to: EndpointHost) -> Callable[[bytes], None]:
        def carry(packet: bytes) -> None:
            if chance.random() < 0.08:
                return
            for _ in range(2 if chance.random() < 0.05 else 1):
                loop.call_later(chance.choice((0.01, 0.011, 0.05)), to.send, packet)
        return carry

    def badly(ue: EndpointHost, server: EndpointHost) -> None:
        ue.on_packet, server.on_packet = carrier(server), carrier(ue)

    ue, server = await pair_on(badly)
    done = await collect(server)
    sent = random.Random(seed).randbytes(200_000)
    channel = await ue.connect_tcp("10.200.0.1", 80, timeout_s=60)
    for start in range(0, len(sent), 7000):
        await channel.send(sent[start:start + 7000])
    channel.close()
    assert await asyncio.wait_for(done, 300) == sent
    assert await channel.receive() == b"thanks"
    assert await channel.receive() == b""
    await asyncio.sleep(30)
    assert ue._tcp._connections == server._tcp._connections == {}, "both ends have forgotten it"


def join(ue: EndpointHost, server: EndpointHost) -> None:
    ue.on_packet, server.on_packet = server.send, ue.send


@pytest.mark.virtual_clock
async def test_tcp_waits_for_a_reader_that_does_not_read(seconds: Callable[[], float]) -> None:
    ue, server = await pair_on(join)
    hold = asyncio.Event()
    done = await collect(server, hold=hold)
    channel = await ue.connect_tcp("10.200.0.1", 80)
    writing = asyncio.ensure_future(channel.send(bytes(400_000)))
    await asyncio.sleep(5)
    assert not writing.done(), "the windows of both ends hold less"
    hold.set()
    await writing
    channel.close()
    assert await done == bytes(400_000)


@pytest.mark.virtual_clock
async def test_tcp_gives_up_a_peer_that_vanished(seconds: Callable[[], float]) -> None:
    ue, server = await pair_on(join)
    await collect(server)
    channel = await ue.connect_tcp("10.200.0.1", 80)
    ue.on_packet = lambda packet: None
    await channel.send(b"hello")
    with pytest.raises(ConnectionError):
        await channel.receive()
    with pytest.raises(TimeoutError):
        await ue.connect_tcp("10.200.0.1", 80, timeout_s=3)
    assert ue._tcp._connections == {}


@pytest.mark.virtual_clock
async def test_tcp_refuses_resets_and_never_dies_of_a_segment() -> None:
    ue, server = await pair_on(join)
    with pytest.raises(ConnectionRefusedError):
        await ue.connect_tcp("10.200.0.1", 80)
    await collect(server)
    channel = await ue.connect_tcp("10.200.0.1", 80)
    (key,) = ue._tcp._connections
    chance = random.Random(3)
    ue.on_packet = lambda packet: None
    for _ in range(3000):
        segment = TcpSegment(
            source_port=key[1] if chance.random() < 0.8 else chance.randrange(65536), destination_port=80, sequence=chance.getrandbits(32),
            acknowledgment=chance.getrandbits(32), flags=TcpFlag(chance.randrange(32)), window=chance.randrange(65536),
            mss_octets=chance.choice((None, 0, 1, 1460)), payload=chance.randbytes(chance.randrange(40)))
        octets = bytearray(ip_packet.encode_tcp(UE.ip, SERVER.ip, segment))
        if chance.random() < 0.3:
            octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        server.send(ip_packet.encode_ipv4(UE.ip, SERVER.ip, ip_packet.TCP, bytes(octets)))
    await asyncio.sleep(1)
    join(ue, server)
    await channel.send(b"still there")
    channel.close()
    assert (await channel.receive()) == b"thanks"


@pytest.mark.virtual_clock
async def test_closing_a_host_ends_its_connections() -> None:
    ue, server = await pair_on(join)
    await collect(server)
    channel = await ue.connect_tcp("10.200.0.1", 80)
    waiting = asyncio.ensure_future(channel.receive())
    await asyncio.sleep(0.1)
    await server.close()
    with pytest.raises(ConnectionError):
        await waiting
    await ue.close()


def test_tcp_segments_on_the_wire() -> None:
    """A SYN as Linux sends it (MSS, SACK permitted, timestamps, window scale), and our own back again."""
    syn = bytes.fromhex("a2d400508f4e2c1100000000a002faf0f5a9000002040550" "0402080a3b9aca00000000000103 0307".replace(" ", ""))
    packet = ip_packet.IPv4Packet(source=UE.ip, destination=SERVER.ip, protocol=6, ttl=64, payload=b"")
    body = syn[:16] + b"\0\0" + syn[18:]
    total = ip_packet.checksum(UE.ip.packed + SERVER.ip.packed + b"\0\6" + len(body).to_bytes(2) + body)
    segment = ip_packet.decode_tcp(ip_packet.IPv4Packet(
        source=packet.source, destination=packet.destination, protocol=6, ttl=64, payload=body[:16] + total.to_bytes(2) + body[18:]))
    assert (segment.source_port, segment.destination_port, segment.flags, segment.mss_octets) == (41684, 80, TcpFlag.SYN, 1360)
    assert ip_packet.decode_tcp(ip_packet.IPv4Packet(
        source=UE.ip, destination=SERVER.ip, protocol=6, ttl=64, payload=ip_packet.encode_tcp(UE.ip, SERVER.ip, segment))) == segment


# Real programs


class TestPrograms:
    pytestmark = needs_namespaces

    @pytest.fixture
    async def hosts(self) -> AsyncIterator[Hosts]:
        hosts = await open_hosts(HostKind.NAMESPACE)
        yield hosts
        await hosts.close()

    async def test_programs_use_the_phones_name_server_and_trust_its_authorities(self, ue: IpHost, sgi: Sgi) -> None:
        assert isinstance(ue, NamespaceHost)
        source = "import urllib.request; print(urllib.request.urlopen('https://allowed.example/', timeout=5).read())"
        result = await ue.run_and_collect(sys.executable, "-c", source, name_servers=SERVERS, authorities=trusted(sgi))
        assert (result.status, result.text) == (0, "b'welcome\\n'\n"), result.stderr.decode()
        result = await ue.run_and_collect("cat", "/etc/resolv.conf", "-", name_servers=SERVERS, input=b"and stdin\n")
        assert (result.status, result.text) == (0, "nameserver 10.200.0.1\nand stdin\n")
        result = await ue.run_and_collect("sh", "-c", "echo oh >&2; exit 3")
        assert (result.status, result.stdout, result.stderr) == (3, b"", b"oh\n")
        assert "10.200.0.1" not in Path("/etc/resolv.conf").read_text()     # noqa: ASYNC240 - this process's own is as before

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
    async def test_curl(self, ue: IpHost, sgi: Sgi) -> None:
        assert isinstance(ue, NamespaceHost)
        result = await ue.run_and_collect("curl", "-sS", "https://a.wild.example/", name_servers=SERVERS, authorities=trusted(sgi))
        assert (result.status, result.text) == (0, "wild\n"), result.stderr.decode()
        assert (await ue.run_and_collect("curl", "-sS", "https://a.wild.example/", name_servers=SERVERS)).status == 60, "no trust, no page"


def test_certificates_are_made_once_a_name() -> None:
    server = WebServer("internet", {})
    context = server.authority.context_for("a.example")
    assert server.authority.context_for("a.example") is context
    for number in range(300):
        server.authority.context_for(f"{number}.example")
    assert server.authority.context_for("a.example") is not context, "and forgotten when there are too many"
