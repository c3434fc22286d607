"""The PLMN Identity as S1AP packs it: TS 36.413 clause 9.2.3.8.

Three digits of MCC, then three of MNC, or a filler and two: each digit where it comes. With an MNC of three digits these are other octets
than TS 24.008 clause 10.5.1.13 has for NAS, GTP and Diameter (``epc.wire.identity.encode_plmn``): TS 29.274 clause 8.50 notes it too.
"""

from __future__ import annotations

from functools import lru_cache

from epc.wire.errors import WireError
from epc.wire.identity import Plmn

_FILLER = "f"


@lru_cache(maxsize=1024)
def encode_plmn_identity(plmn: str) -> bytes:
    """Three octets."""
    if len(plmn) not in (5, 6) or not plmn.isascii() or not plmn.isdigit():
        raise WireError(f"a PLMN is 5 or 6 digits, not {plmn!r}", ie="PLMN Identity")
    digits = plmn if len(plmn) == 6 else plmn[:3] + _FILLER + plmn[3:]
    return bytes.fromhex(digits[1] + digits[0] + digits[3] + digits[2] + digits[5] + digits[4])


@lru_cache(maxsize=1024)
def decode_plmn_identity(octets: bytes) -> Plmn:
    """The PLMN in three octets; raises :class:`WireError` for what is no digit."""
    if len(octets) != 3:
        raise WireError(f"three octets are needed, not {len(octets)}", ie="PLMN Identity")
    text = octets.hex()
    digits = text[1] + text[0] + text[3] + text[2] + text[5] + text[4]
    if digits[3] == _FILLER:
        digits = digits[:3] + digits[4:]
    if not digits.isdigit():
        raise WireError("not a decimal digit", ie="PLMN Identity")
    return Plmn(digits)
