"""The file in which records travel to the billing domain (TS 32.297 clause 6.1): a header, then each record behind a header of its own.

A file that is being written has the lengths and the number of its records all ones; its header is written again when it is closed.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from epc.wire.errors import WireError

RELEASE, VERSION = 15, 1                # of TS 32.298 whose records these are
UNKNOWN_YET = 0xFFFFFFFF

_FIXED = struct.Struct(">IIBB4s4sIIB20sB")
_NO_RELEASE_BELOW = 10                  # releases from 10 on are 7 in the three bits, and an octet of their own
_TS_32_251 = 7                          # number of the middle-tier specification, and BER, in a record's header
_BER = 1
CDR_HEADER_OCTETS = 5


class ClosureReason(IntEnum):
    """File closure trigger reason (TS 32.297 clause 6.1.1.9)."""

    NORMAL = 0
    SIZE_LIMIT = 1
    TIME_LIMIT = 2
    RECORD_LIMIT = 3
    MANUAL_INTERVENTION = 4
    VERSION_CHANGE = 5
    UNDEFINED = 128
    FILE_SYSTEM_ERROR = 129
    STORAGE_EXHAUSTED = 130
    INTEGRITY_ERROR = 131


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeader:
    """The CDR file's header. Times are to the minute and have no year."""

    opened: datetime.datetime
    last_appended: datetime.datetime
    records: int
    sequence_number: int                # of the file, counted by the node
    closure_reason: ClosureReason | int = ClosureReason.NORMAL
    node_address: IPv4Address | IPv6Address
    lost_records: int = 0               # the indicator's octet; 0: none is known to be lost
    routeing_filter: bytes = b""
    private_extension: bytes = b""
    file_octets: int = UNKNOWN_YET
    release: int = RELEASE
    version: int = VERSION

    def encode(self) -> bytes:
        release = 7 if self.release >= _NO_RELEASE_BELOW else self.release - 3
        both = release << 5 | self.version
        tail = (
            len(self.routeing_filter).to_bytes(2, "big") + self.routeing_filter + len(self.private_extension).to_bytes(2, "big")
            + self.private_extension)
        if self.release >= _NO_RELEASE_BELOW:
            tail += bytes((self.release - _NO_RELEASE_BELOW,)) * 2
        return _FIXED.pack(
            self.file_octets, _FIXED.size + len(tail), both, both, _encode_time(self.opened), _encode_time(self.last_appended), self.records,
            self.sequence_number, self.closure_reason, b"\xff\xff\xff\xff" + _as_ipv6(self.node_address), self.lost_records) + tail

    @classmethod
    def decode(cls, octets: bytes) -> tuple[FileHeader, int]:
        """The header at the start of ``octets``, and how long it is. Raises :class:`WireError`."""
        try:
            (file_octets, header_octets, high, _low, opened, appended, records, number, reason, address, lost) = _FIXED.unpack_from(octets)
        except struct.error:
            raise WireError("truncated", ie="CDR file header") from None
        if not _FIXED.size + 4 <= header_octets <= len(octets):
            raise WireError("its length does not fit", offset=4, ie="CDR file header")
        tail = octets[_FIXED.size:header_octets]
        routeing_filter, tail = _counted(tail)
        private, tail = _counted(tail)
        release = high >> 5
        release = _NO_RELEASE_BELOW + (tail[0] if tail else 0) if release == 7 else release + 3
        packed = IPv6Address(address[4:])
        return cls(
            opened=_decode_time(opened), last_appended=_decode_time(appended), records=records, sequence_number=number,
            closure_reason=_REASONS.get(reason, reason), node_address=packed.ipv4_mapped or packed, lost_records=lost,
            routeing_filter=routeing_filter, private_extension=private, file_octets=file_octets, release=release, version=high & 31,
        ), header_octets


_REASONS = {int(member): member for member in ClosureReason}


def _counted(octets: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(octets[:2], "big")
    if len(octets) < 2 + length:
        raise WireError("truncated", ie="CDR file header")
    return octets[2:2 + length], octets[2 + length:]


def _as_ipv6(address: IPv4Address | IPv6Address) -> bytes:
    return bytes(10) + b"\xff\xff" + address.packed if isinstance(address, IPv4Address) else address.packed


def _encode_time(value: datetime.datetime) -> bytes:
    """Month 4 bits, day 5, hour 5, minute 6; sign 1 (set: ahead of UTC), hours 5, minutes 6 (TS 32.297 clause 6.1.1.5)."""
    offset = value.utcoffset()
    if offset is None:
        raise WireError(f"no offset from UTC: {value}", ie="CDR file header")
    minutes = round(offset.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    packed = value.month << 28 | value.day << 23 | value.hour << 18 | value.minute << 12 | (minutes >= 0) << 11 | hours << 6 | rest
    return packed.to_bytes(4, "big")


def _decode_time(octets: bytes) -> datetime.datetime:
    """There is no year in it: 1904 stands for it, a leap year."""
    packed = int.from_bytes(octets, "big")
    delta = datetime.timedelta(hours=packed >> 6 & 31, minutes=packed & 63)
    try:
        zone = datetime.timezone(delta if packed >> 11 & 1 else -delta)
        return datetime.datetime(1904, packed >> 28, packed >> 23 & 31, packed >> 18 & 31, packed >> 12 & 63, tzinfo=zone)
    except ValueError as error:
        raise WireError(str(error), ie="CDR file header") from None


def frame(record: bytes) -> bytes:
    """One encoded record behind its CDR header (TS 32.297 clause 6.1.2)."""
    if len(record) > 0xFFFF:
        raise WireError(f"{len(record)} octets are more than a record may have", ie="CDR header")
    return struct.pack(">HBBB", len(record), 7 << 5 | VERSION, _BER << 5 | _TS_32_251, RELEASE - _NO_RELEASE_BELOW) + record


def split(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and octets of each record in a file. Raises :class:`WireError` where one is cut off, and for a record that is not in BER."""
    header, offset = FileHeader.decode(octets)
    if header.file_octets not in (UNKNOWN_YET, len(octets)):
        raise WireError(f"the header says {header.file_octets} octets, there are {len(octets)}", ie="CDR file header")
    count = 0
    while offset < len(octets):
        if len(octets) < offset + CDR_HEADER_OCTETS - 1:
            raise WireError("truncated", offset=offset, ie="CDR header")
        length, release, kind = struct.unpack_from(">HBB", octets, offset)
        start = offset + (CDR_HEADER_OCTETS if release >> 5 == 7 else CDR_HEADER_OCTETS - 1)
        if kind >> 5 != _BER:
            raise WireError(f"data record format {kind >> 5} is not BER", offset=offset, ie="CDR header")
        if start + length > len(octets):
            raise WireError("truncated", offset=offset, ie="CDR")
        yield offset, octets[start:start + length]
        offset = start + length
        count += 1
    if header.records not in (UNKNOWN_YET, count):
        raise WireError(f"the header says {header.records} records, there are {count}", ie="CDR file header")
