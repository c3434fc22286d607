"""Redirection of a session's web requests to a portal (TS 29.244 clauses 5.4.7 and 8.2.20, RFC 8506 clause 8.38).

Whoever asks a web server at port 80 is answered in its stead: ``302 Found``, with the portal's URL. The answering end of TCP keeps no state;
its initial sequence number is made of the addresses and ports, so that it knows its own connections again. DNS still passes, and so does
everything to and from the portal itself, whose addresses are learned from DNS on the way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import blake2s
from ipaddress import ip_address
from urllib.parse import urlsplit

from epc.dataplane.flow import TCP, UDP, flow_of, transport_of
from epc.dataplane.ip_packet import checksum
from epc.dataplane.shown_names import dns_message
from epc.wire.errors import WireError

HTTP_PORT, HTTPS_PORT, DNS_PORT = 80, 443, 53
MAX_URL_OCTETS = 1000           # the answer is one segment
MAX_ADDRESSES = 64
MIN_TTL_S, MAX_TTL_S = 60, 3600
MSS_OCTETS = 1220
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_HTTP_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
_tcp_header = struct.Struct(">HHIIBBHHH")


class Portal:
    """One redirection. ``secret`` is what others cannot know, so that they cannot make up connections."""

    def __init__(self, url: str, secret: bytes, clock_s: Callable[[], float]) -> None:
        """Raises :class:`WireError` for what is no HTTP URL that fits into a header."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise WireError(f"no URL: {url!r}") from error
        if parts.scheme not in ("http", "https") or not host or len(url) > MAX_URL_OCTETS or not all("!" <= letter <= "~" for letter in url):
            raise WireError(f"no HTTP URL of at most {MAX_URL_OCTETS} printable characters: {url!r}")
        self.url = url
        self._secret = secret
        self._now = clock_s
        self._host = host.rstrip(".")
        self._ports = frozenset((HTTP_PORT, HTTPS_PORT, port or HTTP_PORT))
        self._addresses: dict[int, float] = {}              # and until when it is known
        try:
            self._addresses[int(ip_address(host))] = float("inf")
        except ValueError:
            pass
        self._response = (
            f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n".encode())

    def passes(self, octets: bytes, start: int, *, uplink: bool) -> bool:
        """Is the packet from ``start`` on DNS, or to or from the portal?"""
        flow = flow_of(octets, start, uplink=uplink)
        if flow is None:
            return False
        if flow.remote_port == DNS_PORT and flow.protocol in (UDP, TCP):
            if flow.protocol == UDP and not uplink:
                self._learn(octets[transport_of(octets, start) + 8:])
            return True
        return flow.protocol == TCP and flow.remote_port in self._ports and self._addresses.get(flow.remote, 0.0) > self._now()

    def _learn(self, octets: bytes) -> None:
        message = dns_message(octets)
        if message is None or message.question != self._host:
            return
        for address in message.addresses:
            if len(self._addresses) >= MAX_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]
            self._addresses[int.from_bytes(address)] = self._now() + min(max(message.ttl_s, MIN_TTL_S), MAX_TTL_S)

    def answers(self, packet: bytes) -> bool:
        """Is it a segment to a web server, which is ours to answer?"""
        at = transport_of(packet, 0)
        if at < 0 or len(packet) < at + 20:
            return False
        flow = flow_of(packet, 0, uplink=True)
        return flow is not None and flow.protocol == TCP and flow.remote_port == HTTP_PORT and len(packet) >= at + (packet[at + 12] >> 4) * 4

    def answer(self, packet: bytes) -> bytes | None:
        """What the web server would send back, if anything, to a segment that :meth:`answers`."""
        at = transport_of(packet, 0)
        sport, dport, sequence, acknowledged, offset, flags, _, _, _ = _tcp_header.unpack_from(packet, at)
        data = packet[at + (offset >> 4) * 4:]
        source, destination = (packet[12:16], packet[16:20]) if packet[0] < 0x60 else (packet[8:24], packet[24:40])
        ports = struct.pack(">HH", sport, dport)
        ours = int.from_bytes(blake2s(source + destination + ports, key=self._secret, digest_size=4).digest()) + 1    # the first octet's number

        def reply(sequence: int, acknowledge: int, flags: int, data: bytes = b"", options: bytes = b"") -> bytes:
            header = _tcp_header.pack(
                dport, sport, sequence & 0xFFFFFFFF, acknowledge & 0xFFFFFFFF, (20 + len(options)) << 2, flags, 0xFFFF, 0, 0) + options
            return _ip_packet(destination, source, header + data)

        if flags & _RST:
            return None
        if flags & _SYN:
            return None if flags & _ACK else reply(ours - 1, sequence + 1, _SYN | _ACK, options=struct.pack(">BBH", 2, 4, MSS_OCTETS))
        got = (acknowledged - ours) & 0xFFFFFFFF            # how much of what we say they have
        expected = sequence + len(data) + bool(flags & _FIN)
        if not flags & _ACK or got > len(self._response) + 1:
            return reply(acknowledged, expected, _RST | _ACK)
        if got == 0 and data:
            if data.startswith(_HTTP_METHODS):
                return reply(ours, expected, _FIN | _PSH | _ACK, self._response)
            return reply(ours, expected, _RST | _ACK)
        if got == 0 and flags & _FIN:
            return reply(ours, expected, _FIN | _ACK)
        if data or flags & _FIN:
            return reply(ours + len(self._response) + 1, expected, _ACK)
        return None


def _ip_packet(source: bytes, destination: bytes, segment: bytes) -> bytes:
    total = checksum(source + destination + struct.pack(">IHBB", len(segment), 0, 0, TCP) + segment)
    segment = segment[:16] + total.to_bytes(2) + segment[18:]
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, len(segment), TCP, 64) + source + destination + segment
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, TCP, 0) + source + destination
    return header[:10] + checksum(header).to_bytes(2) + header[12:] + segment
