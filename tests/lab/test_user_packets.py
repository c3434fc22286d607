"""The ladder's line on a user's packet: names where packets show them, and never an exception."""

from __future__ import annotations

import ssl
from ipaddress import IPv4Address

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.dataplane import ip_packet
from epc.dataplane.ip_packet import Datagram, IcmpEcho, TcpFlag, TcpSegment
from epc.dataplane.services.dns import NameServer
from epc.lab.ladder.user_packet import describe_ip

UE, SERVER = IPv4Address("10.45.0.1"), IPv4Address("10.200.0.2")
UPLINK, DOWNLINK = "10.45.0.1:40000 > 10.200.0.2:{}", "10.200.0.2:{} > 10.45.0.1:40000"


def tcp(payload: bytes = b"", *, port: int = 80, flags: TcpFlag = TcpFlag.ACK, down: bool = False) -> bytes:
    source, destination = (SERVER, UE) if down else (UE, SERVER)
    ports = (port, 40000) if down else (40000, port)
    segment = TcpSegment(source_port=ports[0], destination_port=ports[1], sequence=1, flags=flags, payload=payload)
    return ip_packet.encode_ipv4(source, destination, ip_packet.TCP, ip_packet.encode_tcp(source, destination, segment))


def udp(payload: bytes, *, port: int = 53, down: bool = False) -> bytes:
    source, destination = (SERVER, UE) if down else (UE, SERVER)
    ports = (port, 40000) if down else (40000, port)
    datagram = Datagram(source_port=ports[0], destination_port=ports[1], payload=payload)
    return ip_packet.encode_ipv4(source, destination, ip_packet.UDP, ip_packet.encode_udp(source, destination, datagram))


def client_hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    machine = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        machine.do_handshake()
    return outgoing.read()


QUERY = dns.message.make_query("www.example.test", "A").to_wire()
UNKNOWN = dns.message.make_query("nowhere.test", "A").to_wire()
ZONE = NameServer({"www.example.test": [IPv4Address("10.200.0.2")]})


@pytest.mark.parametrize(("packet", "line"), [
    (tcp(), "TCP " + UPLINK.format(80)),
    (tcp(flags=TcpFlag.RST, down=True), "TCP reset, " + DOWNLINK.format(80)),
    (tcp(b"GET /x?y HTTP/1.1\r\nHost: www.example.test\r\n\r\n"), "HTTP GET www.example.test/x?y, " + UPLINK.format(80)),
    (tcp(b"GET http://www.example.test/ HTTP/1.1\r\n\r\n"), "HTTP GET http://www.example.test/, " + UPLINK.format(80)),
    (tcp(b"HTTP/1.1 302 Found\r\n\r\n", down=True), "HTTP 302 Found, " + DOWNLINK.format(80)),
    (tcp(client_hello("www.facebook.example"), port=443), "TLS Client Hello for www.facebook.example, " + UPLINK.format(443)),
    (tcp(client_hello(None), port=443), "TLS Client Hello for nobody in particular, " + UPLINK.format(443)),
    (udp(QUERY), "DNS query www.example.test, " + UPLINK.format(53)),
    (udp(ZONE.answer(QUERY) or b"", down=True), "DNS answer www.example.test: 10.200.0.2, " + DOWNLINK.format(53)),
    (udp(ZONE.answer(UNKNOWN) or b"", down=True), "DNS answer nowhere.test: no such name, " + DOWNLINK.format(53)),
    (udp(b"nonsense"), "UDP " + UPLINK.format(53)),
    (udp(QUERY, port=5353), "UDP " + UPLINK.format(5353)),
    (ip_packet.encode_ipv4(UE, SERVER, 1, ip_packet.encode_echo(IcmpEcho(type=8, identifier=1, sequence=1, payload=b""))),
     "ICMP echo request 10.45.0.1 > 10.200.0.2"),
    (ip_packet.encode_ipv4(UE, SERVER, 47, b""), "protocol 47 10.45.0.1 > 10.200.0.2"),
    (b"\x60" + bytes(39), "IPv6 packet"),
    (b"", "user packet"),
])
def test_what_a_line_says(packet: bytes, line: str) -> None:
    assert describe_ip(packet) == line


@given(st.binary(max_size=80), st.sampled_from([1, 6, 17, 47]), st.integers(0, 15), st.sampled_from([53, 80, 443]))
def test_nothing_is_raised(octets: bytes, protocol: int, words: int, port: int) -> None:
    header = bytearray(ip_packet.encode_ipv4(UE, SERVER, protocol, b""))
    header[0] = 0x40 | words
    assert describe_ip(bytes(header) + port.to_bytes(2) + port.to_bytes(2) + octets)
    assert describe_ip(octets)
