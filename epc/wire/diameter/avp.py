"""AVPs (RFC 6733 clause 4): the dictionary, the raw form, and how each basic format's octets become a Python value."""

from __future__ import annotations

import datetime
import enum
import ipaddress
import json
import pathlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, NewType

from epc.wire.errors import WireError
from epc.wire.identity import Plmn, decode_plmn, decode_tbcd, encode_plmn, encode_tbcd

VENDOR_3GPP = 10415
VENDOR_ETSI = 13019

VENDOR_BIT = 0x80           # "V"        RFC 6733 clause 4.1
MANDATORY_BIT = 0x40        # "M"
PROTECTED_BIT = 0x20        # "P", end-to-end security, never defined
RESERVED_BITS = 0x1F

TbcdDigits = NewType("TbcdDigits", str)      # an OctetString of telephony BCD digits (MSISDN, STN-SR)
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_HEADER = struct.Struct("!II")
_VENDOR_HEADER = struct.Struct("!III")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
MAXIMUM_DATA_OCTETS = 0xFFFFFF - 12
_NTP_EPOCH = datetime.datetime(1900, 1, 1, tzinfo=datetime.UTC)
_NTP_ERA_1 = datetime.datetime(2036, 2, 7, 6, 28, 16, tzinfo=datetime.UTC)


class AvpDefinition(NamedTuple):
    """One line of the dictionary."""

    name: str
    code: int
    vendor_id: int
    type: str               # the basic or derived format: "Unsigned32", "UTF8String", "Grouped", ...
    mandatory: bool         # whether the M bit is set when this implementation sends it

    @property
    def key(self) -> int:
        return self.vendor_id << 32 | self.code


def _load() -> tuple[dict[int, AvpDefinition], dict[str, AvpDefinition]]:
    rows = json.loads(pathlib.Path(__file__).with_name("dictionary.json").read_text())["avps"]
    definitions = [AvpDefinition(name, code, vendor_id, type_, bool(mandatory)) for name, code, vendor_id, type_, mandatory in rows]
    by_name: dict[str, AvpDefinition] = {}
    for definition in definitions:      # sorted by vendor: where names clash the IETF's is meant, then 3GPP's
        by_name.setdefault(definition.name.replace("-", "_").lower(), definition)
    return {definition.key: definition for definition in definitions}, by_name


DEFINITIONS, _BY_FIELD_NAME = _load()


def definition_of_field(name: str) -> AvpDefinition:
    """The AVP that a dataclass field called ``name`` carries: ``tgpp`` stands for ``3GPP``, ``_`` for ``-``."""
    return _BY_FIELD_NAME["3" + name[1:] if name.startswith("tgpp") else name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Avp:
    """An AVP as it stands on the wire, for those that a message's dataclass has no field for."""

    code: int
    vendor_id: int = 0
    mandatory: bool = False
    data: bytes = b""

    @property
    def name(self) -> str:
        """The dictionary's name, or the numbers where it has none."""
        definition = DEFINITIONS.get(self.vendor_id << 32 | self.code)
        return definition.name if definition else f"{self.vendor_id}/{self.code}"

    def encode(self) -> bytes:
        flags = MANDATORY_BIT if self.mandatory else 0
        if not 0 <= self.code <= 0xFFFFFFFF or not 0 <= self.vendor_id <= 0xFFFFFFFF or len(self.data) > MAXIMUM_DATA_OCTETS:
            raise WireError("out of range", ie=self.name)
        return frame(self.code, self.vendor_id, flags, self.data)


def frame(code: int, vendor_id: int, flags: int, data: bytes) -> bytes:
    """``data`` with the AVP header before it and the padding behind it."""
    size = len(data)
    if vendor_id:
        return _VENDOR_HEADER.pack(code, (flags | VENDOR_BIT) << 24 | size + 12, vendor_id) + data + _PADDING[size & 3]
    return _HEADER.pack(code, flags << 24 | size + 8) + data + _PADDING[size & 3]


def framer(definition: AvpDefinition) -> Callable[[bytes], bytes]:
    """:func:`frame` with everything but the data worked out beforehand."""
    code, vendor_id = definition.code, definition.vendor_id
    word = _flags_and_header_octets(definition)
    pack, pack_short = _VENDOR_HEADER.pack, _HEADER.pack

    def vendor_frame(data: bytes) -> bytes:
        size = len(data)
        if size > MAXIMUM_DATA_OCTETS:
            raise OverflowError
        return pack(code, word + size, vendor_id) + data + _PADDING[size & 3]

    def base_frame(data: bytes) -> bytes:
        size = len(data)
        if size > MAXIMUM_DATA_OCTETS:
            raise OverflowError
        return pack_short(code, word + size) + data + _PADDING[size & 3]

    return vendor_frame if vendor_id else base_frame


def _flags_and_header_octets(definition: AvpDefinition) -> int:
    """The header's second word for an AVP without data."""
    flags = MANDATORY_BIT if definition.mandatory else 0
    return (flags | VENDOR_BIT) << 24 | 12 if definition.vendor_id else flags << 24 | 8


# --- values -----------------------------------------------------------------------------------------------------------


class InvalidLength(ValueError):
    """The data is not as long as the format demands (answered with 5014)."""


class Converter(NamedTuple):
    """How a value becomes the AVP's data, and back. ``decode`` raises ``InvalidLength``, ``struct.error`` or ``ValueError``."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    minimum_octets: int = 0      # what a Failed-AVP for a missing AVP is filled with


_U32, _I32, _U64, _I64 = struct.Struct("!I"), struct.Struct("!i"), struct.Struct("!Q"), struct.Struct("!q")
_F32, _F64 = struct.Struct("!f"), struct.Struct("!d")
_NUMBERS = {"Unsigned32": _U32, "Integer32": _I32, "Enumerated": _I32, "Unsigned64": _U64, "Integer64": _I64, "Float32": _F32, "Float64": _F64}


def _number(layout: struct.Struct) -> Converter:
    unpack = layout.unpack
    return Converter(layout.pack, lambda data: unpack(data)[0], layout.size)


def _named_number(layout: struct.Struct, names: type[enum.IntEnum] | type[enum.IntFlag]) -> Converter:
    """Numbers that the specification names; those it does not name yet stay plain numbers (or keep their extra bits)."""
    unpack = layout.unpack
    known: dict[int, int] = {}
    known.update({int(member): member for member in names})
    if issubclass(names, enum.IntFlag):
        flags: type[enum.IntFlag] = names

        def decode_flags(data: bytes) -> int:
            value: int = unpack(data)[0]
            found = known.get(value)
            return flags(value) if found is None else found

        return Converter(layout.pack, decode_flags, layout.size)

    def decode(data: bytes) -> int:
        value: int = unpack(data)[0]
        return known.get(value, value)

    return Converter(layout.pack, decode, layout.size)


def _encode_octets(value: bytes) -> bytes:
    return b"" + value      # no copy of bytes; any other buffer becomes bytes; the rest is a TypeError


def _encode_address(value: IPAddress) -> bytes:
    return (b"\0\1" if value.version == 4 else b"\0\2") + value.packed


def _decode_address(data: bytes) -> IPAddress:
    """RFC 6733 clause 4.3.1: the address family, then the address."""
    if len(data) == 6 and data.startswith(b"\0\1"):
        return ipaddress.IPv4Address(data[2:])
    if len(data) == 18 and data.startswith(b"\0\2"):
        return ipaddress.IPv6Address(data[2:])
    if len(data) < 2 or data[:2] in (b"\0\1", b"\0\2"):
        raise InvalidLength
    raise ValueError("neither an IPv4 nor an IPv6 address")


def _encode_ipv4(value: ipaddress.IPv4Address) -> bytes:
    return value.packed


def _decode_ipv4(data: bytes) -> ipaddress.IPv4Address:
    if len(data) != 4:
        raise InvalidLength
    return ipaddress.IPv4Address(data)


def _encode_ipv6_prefix(value: ipaddress.IPv6Network) -> bytes:
    """RFC 3162 clause 2.3: a reserved octet, the length, and as much of the prefix as it covers."""
    return bytes((0, value.prefixlen)) + value.network_address.packed[:(value.prefixlen + 7) // 8]


def _decode_ipv6_prefix(data: bytes) -> ipaddress.IPv6Network:
    if not 2 <= len(data) <= 18:
        raise InvalidLength
    if data[1] > 128 or len(data) - 2 < (data[1] + 7) // 8:
        raise ValueError("prefix and prefix length differ")
    return ipaddress.IPv6Network((data[2:].ljust(16, b"\0"), data[1]), strict=False)


def _encode_time(value: datetime.datetime) -> bytes:
    """RFC 6733 clause 4.3.1: seconds since 1900, and since 2036 once the high bit has wrapped."""
    seconds = round((value - _NTP_EPOCH).total_seconds())
    if not 0x80000000 <= seconds < 0x180000000:
        raise OverflowError
    return _U32.pack(seconds & 0xFFFFFFFF)


def _decode_time(data: bytes) -> datetime.datetime:
    seconds = _U32.unpack(data)[0]
    return (_NTP_EPOCH if seconds & 0x80000000 else _NTP_ERA_1) + datetime.timedelta(seconds=seconds)


def _decode_plmn(data: bytes) -> Plmn:
    if len(data) != 3:
        raise InvalidLength
    return decode_plmn(data)


_TEXT = Converter(str.encode, bytes.decode)
_OCTETS = Converter(_encode_octets, bytes)
_BY_PYTHON_TYPE: dict[object, Converter] = {
    str: _TEXT,
    bytes: _OCTETS,
    Plmn: Converter(encode_plmn, _decode_plmn, 3),
    TbcdDigits: Converter(encode_tbcd, decode_tbcd),
    ipaddress.IPv4Address: Converter(_encode_ipv4, _decode_ipv4, 4),
    ipaddress.IPv6Network: Converter(_encode_ipv6_prefix, _decode_ipv6_prefix, 2),
}
_TEXT_FORMATS = frozenset({"UTF8String", "DiameterIdentity", "DiameterURI", "IPFilterRule", "QoSFilterRule"})


def encoder_for(definition: AvpDefinition, python_type: object) -> Callable[[Any], bytes]:
    """A value of ``python_type`` as a complete AVP. Numbers, most of all AVPs, take one call into C."""
    layout = _NUMBERS.get(definition.type)
    word = _flags_and_header_octets(definition)
    if layout is not None and layout.size == 4:
        if definition.vendor_id:
            return partial(struct.Struct(f"!III{layout.format[-1]}").pack, definition.code, word + 4, definition.vendor_id)
        return partial(struct.Struct(f"!II{layout.format[-1]}").pack, definition.code, word + 4)
    frame_data = framer(definition)
    convert = converter_for(definition, python_type).encode

    def encode(value: Any) -> bytes:
        return frame_data(convert(value))

    return encode


def converter_for(definition: AvpDefinition, python_type: object) -> Converter:
    """How ``definition`` carries values of ``python_type``, the type its field is declared with."""
    layout = _NUMBERS.get(definition.type)
    if layout is not None:
        if isinstance(python_type, type) and issubclass(python_type, enum.IntEnum | enum.IntFlag):
            return _named_number(layout, python_type)
        if python_type in (int, float):
            return _number(layout)
    elif definition.type == "Address" and python_type == IPAddress:
        return Converter(_encode_address, _decode_address, 6)
    elif definition.type == "Time" and python_type is datetime.datetime:
        return Converter(_encode_time, _decode_time, 4)
    elif definition.type == "OctetString" or (definition.type in _TEXT_FORMATS and python_type is str):
        return _BY_PYTHON_TYPE[python_type]
    raise TypeError(f"{definition.name} is {definition.type}: it does not hold {python_type}")
