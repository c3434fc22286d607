"""IP packets that are longer than the way: fragments (RFC 791), and ICMP for who must not be fragmented (RFC 792, RFC 1191, RFC 4443)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from epc.dataplane.ip_packet import ICMP, checksum, encode_ipv4

MAX_IP_OCTETS = 65535 + 40
MIN_MTU_OCTETS = 68             # RFC 791 clause 3.2
ANSWERS_A_SECOND, ANSWERS_AT_ONCE = 100, 50
_ICMPV6 = 58
_MIN_IPV6_MTU = 1280
_ICMP_ERRORS = frozenset((3, 4, 5, 11, 12))
_FALLBACK_IPV6 = IPv6Address("fe80::1")
_DONT_FRAGMENT, _MORE_FRAGMENTS = 0x4000, 0x2000


def may_be_fragmented(packet: bytes) -> bool:
    return packet[0] < 0x60 and not packet[6] & 0x40


def fragments(packet: bytes, mtu_octets: int) -> Iterator[bytes]:
    """Of an IPv4 packet. Options that later fragments need not have are in all of them (RFC 791 clause 3.2 allows for no more than that)."""
    header_octets = (packet[0] & 15) * 4
    step = (mtu_octets - header_octets) & ~7
    if step <= 0:
        return
    flags = packet[6] << 8 | packet[7]
    body = packet[header_octets:]
    for at in range(0, len(body), step):
        part = body[at:at + step]
        more = _MORE_FRAGMENTS if at + step < len(body) else flags & _MORE_FRAGMENTS
        place = struct.pack(">H", more | (flags & 0x1FFF) + (at >> 3))
        header = packet[:2] + struct.pack(">H", header_octets + len(part)) + packet[4:6] + place + packet[8:10] + b"\0\0" + packet[12:header_octets]
        yield header[:10] + checksum(header).to_bytes(2) + header[12:] + part


class TooBigAnswers:
    """What a gateway says to senders of packets that are too big, and not more often than is good for anybody."""

    def __init__(self, gateways: Iterable[IPv4Address | IPv6Address], clock_s: Callable[[], float]) -> None:
        ours = list(gateways)
        self._ipv4 = next((address for address in ours if isinstance(address, IPv4Address)), IPv4Address("192.0.0.8"))     # RFC 7600
        self._ipv6 = next((address for address in ours if isinstance(address, IPv6Address)), _FALLBACK_IPV6)
        self._now = clock_s
        self._left = float(ANSWERS_AT_ONCE)
        self._at_s = clock_s()

    def answer(self, packet: bytes, mtu_octets: int) -> bytes | None:
        """The ICMP message about a packet that is one; ``None`` for those that none must be sent about (RFC 1122 clause 3.2.2)."""
        make = self._fragmentation_needed if packet[0] < 0x60 else self._packet_too_big
        answer = make(packet, mtu_octets)
        if answer is None:
            return None
        now = self._now()
        self._left = min(float(ANSWERS_AT_ONCE), self._left + (now - self._at_s) * ANSWERS_A_SECOND)
        self._at_s = now
        if self._left < 1:
            return None
        self._left -= 1
        return answer

    def _fragmentation_needed(self, packet: bytes, mtu_octets: int) -> bytes | None:
        header_octets = (packet[0] & 15) * 4
        source = IPv4Address(packet[12:16])
        is_error = packet[9] == ICMP and packet[header_octets] in _ICMP_ERRORS
        if is_error or packet[6] & 0x1F or packet[7] or source.is_multicast or source.is_unspecified or packet[12] == 255:
            return None
        quoted = packet[:header_octets + 8]
        message = struct.pack(">BBHHH", 3, 4, 0, 0, min(mtu_octets, 65535)) + quoted
        return encode_ipv4(self._ipv4, source, ICMP, message[:2] + checksum(message).to_bytes(2) + message[4:])

    def _packet_too_big(self, packet: bytes, mtu_octets: int) -> bytes | None:
        source = IPv6Address(packet[8:24])
        if source.is_multicast or source.is_unspecified or (packet[6] == _ICMPV6 and packet[40] < 128):
            return None
        message = struct.pack(">BBHI", 2, 0, 0, max(mtu_octets, _MIN_IPV6_MTU)) + packet[:_MIN_IPV6_MTU - 48]
        ends = self._ipv6.packed + source.packed
        total = checksum(ends + struct.pack(">IHBB", len(message), 0, 0, _ICMPV6) + message)
        return struct.pack(">IHBB", 6 << 28, len(message), _ICMPV6, 64) + ends + message[:2] + total.to_bytes(2) + message[4:]
