"""Captures that Wireshark reads down to the NAS: a tap that writes pcapng with headers as the wire would have had them.

What nodes hand to their transport are messages, not packets: UDP, TCP, SCTP and IP headers are made up here, with checksums that
hold, sequence numbers that count, and one SCTP DATA chunk (or TCP segment) a message. SCTP carried in UDP is shown as plain SCTP.

A capture shared by several nodes of one process writes what they send to each other once. Captures of several processes are joined
by :func:`merge`.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from epc.transport.interface import Address, Carrier, Direction, TappedPacket
from epc.transport.sctp.crc32c import crc32c

LINKTYPE_RAW = 101
LINKTYPE_WIRESHARK_UPPER_PDU = 252
SECTION_HEADER, INTERFACE_DESCRIPTION, ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
OPT_COMMENT, EPB_FLAGS, IF_NAME, IF_TSRESOL = 1, 2, 2, 9
INBOUND, OUTBOUND = 1, 2                            # of EPB_FLAGS
IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP = 6, 17, 132
MAX_SEGMENT_OCTETS = 60_000                         # longer messages take several packets: an IP packet ends at 65535
FLUSH_INTERVAL_S = 1.0
GTPU_PORT, DNS_PORT = 2152, 53
_MOST_REMEMBERED = 100_000

EXPORTED_PDU_PORT_TYPE = {Carrier.SCTP: 1, Carrier.TCP: 2, Carrier.UDP: 3}
TAG_END, TAG_DISSECTOR_NAME, TAG_IPV4_SOURCE, TAG_IPV4_DESTINATION, TAG_IPV6_SOURCE, TAG_IPV6_DESTINATION = 0, 12, 20, 21, 22, 23
TAG_PORT_TYPE, TAG_SOURCE_PORT, TAG_DESTINATION_PORT = 24, 25, 26

Directions = Literal["auto", "sent", "both"]


@lru_cache(maxsize=4096)
def packed_host(host: str) -> bytes:
    return ipaddress.ip_address(host.partition("%")[0]).packed


def internet_checksum(octets: bytes) -> int:
    """The one's complement sum of RFC 1071, by way of 2**16 = 1 modulo 65535."""
    if len(octets) % 2:
        octets += b"\0"
    folded = int.from_bytes(octets, "big") % 0xFFFF
    return 0xFFFF - folded if folded or not any(octets) else 0


def ip_packet(source: Address, destination: Address, protocol: int, body: bytes) -> bytes:
    a, b = packed_host(source.host), packed_host(destination.host)
    if len(a) == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0, a, b)
        return header[:10] + internet_checksum(header).to_bytes(2, "big") + header[12:] + body
    return struct.pack("!IHBB16s16s", 0x60000000, len(body), protocol, 64, a, b) + body


def _pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    return packed_host(source.host) + packed_host(destination.host) + struct.pack("!II", length, protocol)


def udp_packet(source: Address, destination: Address, payload: bytes) -> bytes:
    length = 8 + len(payload)
    body = struct.pack("!HHHH", source.port, destination.port, length, 0) + payload
    checksum = internet_checksum(_pseudo_header(source, destination, IPPROTO_UDP, length) + body) or 0xFFFF
    return ip_packet(source, destination, IPPROTO_UDP, body[:6] + checksum.to_bytes(2, "big") + payload)


def tcp_packet(source: Address, destination: Address, sequence: int, acknowledgement: int, payload: bytes) -> bytes:
    header = struct.pack("!HHIIBBHHH", source.port, destination.port, sequence & 0xFFFFFFFF, acknowledgement & 0xFFFFFFFF, 0x50, 0x18, 65535, 0, 0)
    checksum = internet_checksum(_pseudo_header(source, destination, IPPROTO_TCP, 20 + len(payload)) + header + payload)
    return ip_packet(source, destination, IPPROTO_TCP, header[:16] + checksum.to_bytes(2, "big") + header[18:] + payload)


def sctp_packet(source: Address, destination: Address, verification_tag: int, chunks: bytes) -> bytes:
    header = struct.pack("!HHII", source.port, destination.port, verification_tag, 0)
    checksum = crc32c(header + chunks)
    return ip_packet(source, destination, IPPROTO_SCTP, header[:8] + checksum.to_bytes(4, "little") + chunks)


def sctp_data_chunk(flags: int, tsn: int, stream: int, ssn: int, ppid: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHIHHI", 0, flags, 16 + len(payload), tsn & 0xFFFFFFFF, stream, ssn & 0xFFFF, ppid)
    return header + payload + bytes(-len(payload) % 4)


class _SctpDirection:
    """What counts up in one direction of an association."""

    __slots__ = ("ssn", "tag", "tsn")

    def __init__(self, source: Address, destination: Address) -> None:
        self.tag = zlib.crc32(f"{source} {destination}".encode()) or 1
        self.tsn = 1
        self.ssn: dict[int, int] = {}

    def packets(self, packet: TappedPacket) -> Iterator[bytes]:
        ssn = self.ssn.get(packet.stream, 0)
        self.ssn[packet.stream] = ssn + 1
        last = len(packet.payload) - 1
        for start in range(0, len(packet.payload), MAX_SEGMENT_OCTETS):
            part = packet.payload[start:start + MAX_SEGMENT_OCTETS]
            flags = (2 if start == 0 else 0) | (1 if start + len(part) > last else 0)
            chunk = sctp_data_chunk(flags, self.tsn, packet.stream, ssn, packet.ppid, part)
            self.tsn += 1
            yield sctp_packet(packet.source, packet.destination, self.tag, chunk)


class PcapngCapture:
    """A :class:`~epc.transport.interface.Tap` that writes one file."""

    def __init__(
        self, file: Path | str | BinaryIO, *, directions: Directions = "auto", imsi_of: Callable[[TappedPacket], str | None] | None = None,
    ) -> None:
        """``directions``: "sent" writes only that, "both" everything, "auto" what is sent and what comes from nodes that are not seen sending.

        ``imsi_of`` names the subscriber a packet is about, for its comment.
        """
        if isinstance(file, (Path, str)):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = Path(file).open("wb")        # noqa: SIM115 - close() closes it
        else:
            self._file = file
        self.directions: Directions = directions
        self.packets_written = 0
        self._imsi_of = imsi_of
        self._senders: set[tuple[Carrier, Address]] = set()
        self._user_content_seen: set[int] = set()
        self._sctp: dict[tuple[Address, Address], _SctpDirection] = {}
        self._tcp: dict[tuple[Address, Address], int] = {}
        self._flushed_at = float("-inf")
        self._file.write(file_header())

    def packet(self, packet: TappedPacket) -> None:
        if packet.direction is Direction.SENT:
            self._senders.add((packet.carrier, packet.source))
        elif self.directions == "sent" or (self.directions == "auto" and (packet.carrier, packet.source) in self._senders):
            return
        comment = f"{packet.node} {packet.interface}"
        if self._imsi_of is not None and (imsi := self._imsi_of(packet)) is not None:
            comment += f" IMSI {imsi}"
        flags = OUTBOUND if packet.direction is Direction.SENT else INBOUND
        left_out = self._octets_left_out(packet)
        for frame in self._frames(packet):
            self._write(packet.time, 0, frame, comment, flags, left_out)

    def readable_copy(
        self, time: float, node: str, dissector: str, payload: bytes, source: Address, destination: Address, *,
        carrier: Carrier = Carrier.SCTP, imsi: str | None = None,
    ) -> None:
        """A message as it was before ciphering, beside the ciphered one, to be read by the dissector of that name.

        For plain NAS the dissector is ``nas-eps_plain``. The copy is an exported PDU on the capture's second interface.
        """
        comment = f"{node} readable copy" + (f" IMSI {imsi}" if imsi else "")
        self._write(time, 1, exported_pdu(dissector, payload, source, destination, carrier), comment, 0)

    def close(self) -> None:
        self._file.close()

    def _octets_left_out(self, packet: TappedPacket) -> int:
        """A user's packet passes several tunnels (S1-U, S5/S8). DNS messages and TCP segments are whole where they are first seen; elsewhere, and
        when they are sent again, only their headers are written, as by a capture with a snapshot length: Wireshark takes the same content a
        second time for a retransmission, and for an overlap in what it puts together."""
        if packet.carrier is not Carrier.UDP or GTPU_PORT not in (packet.source.port, packet.destination.port):
            return 0
        found = _user_content(packet.payload)
        if found is None:
            return 0
        identity, octets = found
        key = hash(identity)
        if key in self._user_content_seen:
            return octets
        if len(self._user_content_seen) >= _MOST_REMEMBERED:
            self._user_content_seen.clear()
        self._user_content_seen.add(key)
        return 0

    def _frames(self, packet: TappedPacket) -> Iterable[bytes]:
        source, destination, payload = packet.source, packet.destination, packet.payload
        if packet.carrier is Carrier.UDP:
            return (udp_packet(source, destination, payload),)
        if packet.carrier is Carrier.SCTP:
            direction = self._sctp.get((source, destination))
            if direction is None:
                direction = self._sctp[source, destination] = _SctpDirection(source, destination)
            return direction.packets(packet)
        return self._tcp_frames(source, destination, payload)

    def _tcp_frames(self, source: Address, destination: Address, payload: bytes) -> Iterator[bytes]:
        for start in range(0, len(payload), MAX_SEGMENT_OCTETS):
            part = payload[start:start + MAX_SEGMENT_OCTETS]
            sequence = self._tcp.get((source, destination), 1)
            self._tcp[source, destination] = sequence + len(part)
            yield tcp_packet(source, destination, sequence, self._tcp.get((destination, source), 1), part)

    def _write(self, time: float, interface: int, frame: bytes, comment: str, flags: int, left_out: int = 0) -> None:
        octets = len(frame)
        self._file.write(enhanced_packet(round(time * 1_000_000), interface, frame[:octets - left_out], comment, flags, octets))
        self.packets_written += 1
        if time - self._flushed_at > FLUSH_INTERVAL_S:
            self._flushed_at = time
            self._file.flush()


def _user_content(gtpu: bytes) -> tuple[bytes, int] | None:
    """Of the DNS message or TCP segment in a G-PDU over IPv4: what makes it this one and no other, and how long its content is."""
    if len(gtpu) < 8 or gtpu[1] != 0xFF:
        return None
    at = 8
    if gtpu[0] & 7:                                     # sequence number, N-PDU number or extension headers
        at = 12
        extension = gtpu[11] if gtpu[0] & 4 and len(gtpu) > 11 else 0
        while extension and at < len(gtpu):
            length = gtpu[at] * 4
            if not length or at + length > len(gtpu):
                return None
            extension, at = gtpu[at + length - 1], at + length
    inner = gtpu[at:]
    if len(inner) < 28 or inner[0] >> 4 != 4:
        return None
    header = (inner[0] & 15) * 4
    ports = inner[header:header + 4]
    if inner[9] == IPPROTO_UDP and DNS_PORT in (int.from_bytes(ports[:2]), int.from_bytes(ports[2:])):
        content = header + 8
        return inner[12:20] + ports + inner[content:], max(len(inner) - content, 0)
    if inner[9] == IPPROTO_TCP and len(inner) >= header + 20:
        content = header + (inner[header + 12] >> 4) * 4
        sequence = inner[header + 4:header + 8]
        return (inner[12:20] + ports + sequence + inner[content:], len(inner) - content) if content < len(inner) else None
    return None


def exported_pdu(dissector: str, payload: bytes, source: Address, destination: Address, carrier: Carrier) -> bytes:
    """Wireshark's "upper PDU" format: tags that say which dissector reads the payload, then the payload."""
    name = dissector.encode()
    a, b = packed_host(source.host), packed_host(destination.host)
    tags = [(TAG_DISSECTOR_NAME, name + bytes(-len(name) % 4))]
    tags += [(TAG_IPV4_SOURCE, a), (TAG_IPV4_DESTINATION, b)] if len(a) == 4 else [(TAG_IPV6_SOURCE, a), (TAG_IPV6_DESTINATION, b)]
    numbers = ((TAG_PORT_TYPE, EXPORTED_PDU_PORT_TYPE[carrier]), (TAG_SOURCE_PORT, source.port), (TAG_DESTINATION_PORT, destination.port))
    tags += [(tag, value.to_bytes(4, "big")) for tag, value in numbers]
    return b"".join(struct.pack("!HH", tag, len(value)) + value for tag, value in tags) + struct.pack("!HH", TAG_END, 0) + payload


# The file format: draft-ietf-opsawg-pcapng, little-endian, time in microseconds

def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


_END_OF_OPTIONS = bytes(4)


def file_header() -> bytes:
    """Section header and the two interfaces: raw IP, and exported PDUs."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    interfaces = b"".join(
        _block(INTERFACE_DESCRIPTION, struct.pack("<HHI", link_type, 0, 0) + _option(IF_NAME, name) + _option(IF_TSRESOL, b"\6") + _END_OF_OPTIONS)
        for link_type, name in ((LINKTYPE_RAW, b"wire"), (LINKTYPE_WIRESHARK_UPPER_PDU, b"readable copies"))
    )
    return _block(SECTION_HEADER, section) + interfaces


def enhanced_packet(time_us: int, interface: int, frame: bytes, comment: str, flags: int, octets: int | None = None) -> bytes:
    """``octets``: how long the packet was, when ``frame`` is not all of it."""
    text = comment.encode()
    options = _option(OPT_COMMENT, text) + (_option(EPB_FLAGS, flags.to_bytes(4, "little")) if flags else b"") + _END_OF_OPTIONS
    fixed = struct.pack("<IIIII", interface, time_us >> 32 & 0xFFFFFFFF, time_us & 0xFFFFFFFF, len(frame), len(frame) if octets is None else octets)
    return _block(ENHANCED_PACKET, fixed + frame + bytes(-len(frame) % 4) + options)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedFrame:
    """One packet of a capture that this module wrote."""

    time_us: int
    interface: int          # 0 raw IP, 1 exported PDU
    frame: bytes
    comment: str
    flags: int              # INBOUND, OUTBOUND or 0
    octets: int             # how long the packet was

    @property
    def sender(self) -> tuple[int, bytes, int] | None:
        """Protocol, source address and source port of a packet on the wire."""
        if self.interface != 0 or len(self.frame) < 44:
            return None
        if self.frame[0] >> 4 == 4:
            return self.frame[9], self.frame[12:16], int.from_bytes(self.frame[20:22], "big")
        return self.frame[6], self.frame[8:24], int.from_bytes(self.frame[40:42], "big")


def read_capture(path: Path) -> Iterator[CapturedFrame]:
    """The packets of a file that :class:`PcapngCapture` wrote; one that was cut short ends where it was cut."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            kind, length = struct.unpack("<II", head)
            body = file.read(max(length - 8, 0))[:-4]
            if length < 12 or len(body) < length - 12:
                return
            if kind == ENHANCED_PACKET and len(body) >= 20:
                yield _captured_frame(body)


def _captured_frame(body: bytes) -> CapturedFrame:
    interface, high, low, length, octets = struct.unpack_from("<IIIII", body)
    comment, flags, at = "", 0, 20 + length + -length % 4
    while at + 4 <= len(body):
        code, size = struct.unpack_from("<HH", body, at)
        value = body[at + 4:at + 4 + size]
        if code == OPT_COMMENT:
            comment = value.decode(errors="replace")
        elif code == EPB_FLAGS:
            flags = int.from_bytes(value, "little")
        at += 4 + size + -size % 4
    return CapturedFrame(time_us=high << 32 | low, interface=interface, frame=body[20:20 + length], comment=comment, flags=flags, octets=octets)


def merge(sources: Iterable[Path], target: Path) -> int:
    """Join the captures of several nodes: in order of time, and what one sent to another only once. Returns the number of packets."""
    frames = [frame for path in sources for frame in read_capture(path)]
    senders = {frame.sender for frame in frames if frame.flags == OUTBOUND}
    kept = [frame for frame in frames if frame.flags != INBOUND or frame.sender not in senders]
    kept.sort(key=lambda frame: frame.time_us)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(file_header())
        for frame in kept:
            file.write(enhanced_packet(frame.time_us, frame.interface, frame.frame, frame.comment, frame.flags, frame.octets))
    return len(kept)
