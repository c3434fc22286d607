"""What EMM INFORMATION tells the user: network names and time (TS 24.008 clauses 10.5.3.5a, 10.5.3.8, 10.5.3.9 and 10.5.3.12)."""

from __future__ import annotations

from dataclasses import dataclass

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, require_length

_GSM_7_BIT = (      # the default alphabet of TS 23.038 clause 6.2.1, code 0 first; code 27 escapes to the extension, which names do not use
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_CODE = {character: code for code, character in enumerate(_GSM_7_BIT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkName:
    """Full or short name for the network; written in the GSM 7-bit alphabet where it has all characters, else in UCS2."""

    text: str
    add_country_initials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalTime:
    """Universal time with the local time zone, in quarters of an hour east of it; ``year`` is counted from 2000."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    time_zone_quarters: int


def _pack_7_bit(text: str) -> bytes:
    packed = sum([_CODE[character] << 7 * index for index, character in enumerate(text)])
    return packed.to_bytes((7 * len(text) + 7) // 8, "little")


def encode_network_name(name: NetworkName) -> bytes:
    """The value part, from octet 3 on."""
    country = 0x08 if name.add_country_initials else 0
    if all(character in _CODE for character in name.text):
        spare_bits = -7 * len(name.text) % 8
        return bytes((0x80 | country | spare_bits,)) + _pack_7_bit(name.text)
    try:
        return bytes((0x90 | country,)) + name.text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise WireError(f"not UCS2: {name.text!r}", ie="Network name") from None


def decode_network_name(octets: bytes) -> NetworkName:
    """The name in a value part."""
    require_length(octets, 1)
    coding_scheme, spare_bits, coded = octets[0] >> 4 & 7, octets[0] & 7, octets[1:]
    country = bool(octets[0] & 0x08)
    if coding_scheme == 0:
        packed = int.from_bytes(coded, "little")
        length = (8 * len(coded) - spare_bits) // 7
        return NetworkName(text="".join([_GSM_7_BIT[packed >> 7 * index & 127] for index in range(length)]), add_country_initials=country)
    if coding_scheme == 1:
        try:
            return NetworkName(text=coded.decode("utf-16-be"), add_country_initials=country)
        except UnicodeDecodeError:
            raise WireError("not UCS2") from None
    raise WireError(f"coding scheme {coding_scheme} is reserved")


def _swapped_bcd(number: int) -> int:
    if not 0 <= number <= 99:
        raise WireError(f"{number} does not fit two digits")
    return number % 10 << 4 | number // 10


def _from_swapped_bcd(octet: int) -> int:
    tens, units = octet & 15, octet >> 4
    if tens > 9 or units > 9:
        raise WireError("not a decimal digit")
    return tens * 10 + units


def encode_time_zone(quarters: int) -> bytes:
    """One octet: two swapped digits, bit 4 is the sign."""
    return bytes((_swapped_bcd(abs(quarters)) | (0x08 if quarters < 0 else 0),))


def decode_time_zone(octets: bytes) -> int:
    """Quarters of an hour east of universal time."""
    require_length(octets, 1)
    quarters = _from_swapped_bcd(octets[0] & ~0x08)
    return -quarters if octets[0] & 0x08 else quarters


def encode_universal_time(time: UniversalTime) -> bytes:
    """Seven octets."""
    digits = (time.year, time.month, time.day, time.hour, time.minute, time.second)
    return bytes([_swapped_bcd(number) for number in digits]) + encode_time_zone(time.time_zone_quarters)


def decode_universal_time(octets: bytes) -> UniversalTime:
    """The time in seven octets."""
    require_length(octets, 7, 7)
    year, month, day, hour, minute, second = [_from_swapped_bcd(octet) for octet in octets[:6]]
    return UniversalTime(
        year=year, month=month, day=day, hour=hour, minute=minute, second=second, time_zone_quarters=decode_time_zone(octets[6:])
    )


NETWORK_NAME = Coding(encode_network_name, decode_network_name)
TIME_ZONE = Coding(encode_time_zone, decode_time_zone)
UNIVERSAL_TIME = Coding(encode_universal_time, decode_universal_time)
