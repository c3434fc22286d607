"""IPv4, ICMP echo, UDP and TCP as octets: just enough for a host inside this process (RFC 791, RFC 792, RFC 768, RFC 9293)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address

from epc.wire.errors import WireError

ICMP, TCP, UDP = 1, 6, 17
ECHO_REPLY, DESTINATION_UNREACHABLE, ECHO_REQUEST = 0, 3, 8
PORT_UNREACHABLE = 3

_ipv4_header = struct.Struct(">BBHHHBBH4s4s")
_ports_and_length = struct.Struct(">HHHH")
_icmp_header = struct.Struct(">BBHHH")
_tcp_header = struct.Struct(">HHIIBBHHH")
_MSS_OPTION, _END_OF_OPTIONS, _NO_OPERATION = 2, 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IPv4Packet:
    source: IPv4Address
    destination: IPv4Address
    protocol: int
    ttl: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    source_port: int
    destination_port: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpEcho:
    """Echo (type 8) or Echo Reply (type 0)."""

    type: int
    identifier: int
    sequence: int
    payload: bytes


class TcpFlag(IntFlag):
    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSegment:
    source_port: int
    destination_port: int
    sequence: int
    acknowledgment: int = 0
    flags: TcpFlag
    window: int = 0
    mss_octets: int | None = None       # the option, in a SYN
    payload: bytes = b""


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071): one's complement arithmetic is arithmetic modulo 65535."""
    if len(octets) & 1:
        octets += b"\0"
    total = int.from_bytes(octets)
    remainder = total % 0xFFFF
    return 0xFFFF - remainder if remainder or not total else 0


def encode_ipv4(source: IPv4Address, destination: IPv4Address, protocol: int, payload: bytes, *, identification: int = 0, ttl: int = 64) -> bytes:
    """A whole packet with the "don't fragment" bit set."""
    header = _ipv4_header.pack(0x45, 0, 20 + len(payload), identification, 0x4000, ttl, protocol, 0, source.packed, destination.packed)
    return header[:10] + checksum(header).to_bytes(2) + header[12:] + payload


def decode_ipv4(octets: bytes) -> IPv4Packet:
    """Raises :class:`WireError` for anything but a whole, unfragmented IPv4 packet with a correct header checksum."""
    if len(octets) < 20:
        raise WireError("truncated", offset=len(octets), ie="IPv4 header")
    first, _, total_length, _, fragment, ttl, protocol, _, source, destination = _ipv4_header.unpack_from(octets)
    header_length = (first & 15) * 4
    if first >> 4 != 4 or not 20 <= header_length <= total_length <= len(octets):
        raise WireError("version or lengths are wrong", ie="IPv4 header")
    if checksum(octets[:header_length]):
        raise WireError("checksum is wrong", offset=10, ie="IPv4 header")
    if fragment & 0x3FFF:
        raise WireError("fragments are not put together", offset=6, ie="IPv4 header")
    return IPv4Packet(
        source=IPv4Address(source), destination=IPv4Address(destination), protocol=protocol, ttl=ttl, payload=octets[header_length:total_length],
    )


def encode_udp(source: IPv4Address, destination: IPv4Address, datagram: Datagram) -> bytes:
    length = 8 + len(datagram.payload)
    header = _ports_and_length.pack(datagram.source_port, datagram.destination_port, length, 0)
    total = checksum(_pseudo_header(source, destination, UDP, length) + header + datagram.payload) or 0xFFFF     # 0 would mean: no checksum
    return header[:6] + total.to_bytes(2) + datagram.payload


def decode_udp(packet: IPv4Packet) -> Datagram:
    octets = packet.payload
    if len(octets) < 8:
        raise WireError("truncated", offset=len(octets), ie="UDP header")
    source_port, destination_port, length, given = _ports_and_length.unpack_from(octets)
    if not 8 <= length <= len(octets):
        raise WireError("length is wrong", offset=4, ie="UDP header")
    if given and checksum(_pseudo_header(packet.source, packet.destination, UDP, length) + octets[:length]):
        raise WireError("checksum is wrong", offset=6, ie="UDP header")
    return Datagram(source_port=source_port, destination_port=destination_port, payload=octets[8:length])


def encode_tcp(source: IPv4Address, destination: IPv4Address, segment: TcpSegment) -> bytes:
    options = b"" if segment.mss_octets is None else bytes((_MSS_OPTION, 4)) + segment.mss_octets.to_bytes(2)
    header = _tcp_header.pack(
        segment.source_port, segment.destination_port, segment.sequence, segment.acknowledgment, (20 + len(options)) << 2, segment.flags,
        segment.window, 0, 0) + options
    total = checksum(_pseudo_header(source, destination, TCP, len(header) + len(segment.payload)) + header + segment.payload)
    return header[:16] + total.to_bytes(2) + header[18:] + segment.payload


def decode_tcp(packet: IPv4Packet) -> TcpSegment:
    """Options other than the maximum segment size are ignored, as a host may."""
    octets = packet.payload
    if len(octets) < 20:
        raise WireError("truncated", offset=len(octets), ie="TCP header")
    source_port, destination_port, sequence, acknowledgment, offset, flags, window, _, _ = _tcp_header.unpack_from(octets)
    length = offset >> 4 << 2
    if not 20 <= length <= len(octets):
        raise WireError("length is wrong", offset=12, ie="TCP header")
    if checksum(_pseudo_header(packet.source, packet.destination, TCP, len(octets)) + octets):
        raise WireError("checksum is wrong", offset=16, ie="TCP header")
    return TcpSegment(
        source_port=source_port, destination_port=destination_port, sequence=sequence, acknowledgment=acknowledgment, flags=TcpFlag(flags & 31),
        window=window, mss_octets=_mss(octets[20:length]), payload=octets[length:])


def _mss(options: bytes) -> int | None:
    at = 0
    while at < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        if at + 2 > len(options) or options[at + 1] < 2:
            raise WireError("option is wrong", offset=20 + at, ie="TCP header")
        if options[at] == _MSS_OPTION and options[at + 1] == 4 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2:at + 4])
        at += options[at + 1]
    return None


def encode_echo(echo: IcmpEcho) -> bytes:
    header = _icmp_header.pack(echo.type, 0, 0, echo.identifier, echo.sequence)
    return header[:2] + checksum(header + echo.payload).to_bytes(2) + header[4:] + echo.payload


def decode_echo(octets: bytes) -> IcmpEcho | None:
    """``None`` for any other ICMP message."""
    if len(octets) < 8:
        raise WireError("truncated", offset=len(octets), ie="ICMP header")
    if checksum(octets):
        raise WireError("checksum is wrong", offset=2, ie="ICMP header")
    kind, code, _, identifier, sequence = _icmp_header.unpack_from(octets)
    if kind not in (ECHO_REPLY, ECHO_REQUEST) or code:
        return None
    return IcmpEcho(type=kind, identifier=identifier, sequence=sequence, payload=octets[8:])


def encode_port_unreachable(offending: bytes) -> bytes:
    """ICMP Destination Unreachable, quoting the header and first eight octets of the packet that nobody wanted."""
    quoted = offending[:(offending[0] & 15) * 4 + 8]
    header = _icmp_header.pack(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0, 0)
    return header[:2] + checksum(header + quoted).to_bytes(2) + header[4:] + quoted


def _pseudo_header(source: IPv4Address, destination: IPv4Address, protocol: int, length: int) -> bytes:
    return source.packed + destination.packed + bytes((0, protocol)) + length.to_bytes(2)
