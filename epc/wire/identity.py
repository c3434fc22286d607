"""Identities that several protocols carry: PLMN, IMSI and friends (TS 23.003), with their packed forms.

Digits are strings of decimal digits everywhere above ``epc.wire``; only codecs see the packed octets.
"""

from __future__ import annotations

from typing import NewType

from epc.wire.errors import WireError

Imsi = NewType("Imsi", str)      # 6 to 15 digits, MCC + MNC + MSIN          TS 23.003 clause 2.2
Plmn = NewType("Plmn", str)      # MCC + MNC, 5 or 6 digits, e.g. "00101"     TS 23.003 clause 12.1
Teid = NewType("Teid", int)      # 32-bit tunnel endpoint identifier          TS 29.274 clause 8.22
Ebi = NewType("Ebi", int)        # EPS bearer identity, 5 to 15               TS 24.007 clause 11.2.3.1.5

_PAIR = {f"{low:d}{high:d}": high << 4 | low for low in range(10) for high in range(10)}


def encode_plmn(plmn: str) -> bytes:
    """Three octets, as in TS 24.008 clause 10.5.1.13 (and TS 29.274 clause 8.18)."""
    if len(plmn) not in (5, 6) or not plmn.isascii() or not plmn.isdigit():
        raise WireError(f"a PLMN is 5 or 6 digits, not {plmn!r}", ie="PLMN")
    third = 0xF if len(plmn) == 5 else int(plmn[5])
    return bytes((int(plmn[1]) << 4 | int(plmn[0]), third << 4 | int(plmn[2]), int(plmn[4]) << 4 | int(plmn[3])))


def decode_plmn(octets: bytes, offset: int = 0) -> Plmn:
    """The PLMN in the three octets at ``offset``; raises :class:`WireError` for a nibble that is no digit."""
    if len(octets) < offset + 3:
        raise WireError("truncated", offset=offset, ie="PLMN")
    a, b, c = octets[offset:offset + 3]
    digits = f"{a & 15:x}{a >> 4:x}{b & 15:x}{c & 15:x}{c >> 4:x}"
    if b >> 4 != 0xF:
        digits += f"{b >> 4:x}"
    if not digits.isdigit():
        raise WireError("not a decimal digit", offset=offset, ie="PLMN")
    return Plmn(digits)


def encode_tbcd(digits: str) -> bytes:
    """Telephony BCD: low nibble first, filled with 1111 when the number of digits is odd (TS 29.002 clause 17.7.8)."""
    try:
        octets = bytes([_PAIR[digits[i:i + 2]] for i in range(0, len(digits) - 1, 2)])
    except KeyError:
        raise WireError(f"not decimal digits: {digits!r}", ie="TBCD") from None
    if len(digits) & 1:
        if digits[-1] not in "0123456789":
            raise WireError(f"not decimal digits: {digits!r}", ie="TBCD")
        octets += bytes((0xF0 | int(digits[-1]),))
    return octets


def decode_tbcd(octets: bytes) -> str:
    """The digits in ``octets``; a filler is allowed in the last nibble only."""
    text = octets.hex()
    digits = "".join([text[i + 1] + text[i] for i in range(0, len(text), 2)])
    if digits.endswith("f"):
        digits = digits[:-1]
    if digits and not digits.isdigit():
        raise WireError("not a decimal digit", ie="TBCD")
    return digits
