"""The contents of 3GPP-User-Location-Info (TS 29.061 clause 16.4.7.2): one type octet, then what GTPv2 packs (TS 29.274 clause 8.21)."""

from __future__ import annotations

import enum
from typing import NamedTuple

from epc.wire.errors import WireError
from epc.wire.identity import Plmn, decode_plmn, encode_plmn


class GeographicLocationType(enum.IntEnum):
    CGI = 0
    SAI = 1
    RAI = 2
    TAI = 128
    ECGI = 129
    TAI_AND_ECGI = 130


class UserLocation(NamedTuple):
    """Where an LTE UE is."""

    tai_plmn: Plmn
    tac: int                # 16 bits
    ecgi_plmn: Plmn
    eci: int                # 28 bits


def encode_user_location(location: UserLocation) -> bytes:
    if not 0 <= location.tac <= 0xFFFF or not 0 <= location.eci <= 0x0FFFFFFF:
        raise WireError("out of range", ie="3GPP-User-Location-Info")
    return (bytes((GeographicLocationType.TAI_AND_ECGI,)) + encode_plmn(location.tai_plmn) + location.tac.to_bytes(2, "big")
            + encode_plmn(location.ecgi_plmn) + location.eci.to_bytes(4, "big"))


def decode_user_location(octets: bytes) -> UserLocation | None:
    """None for a location that is not a TAI with an ECGI. The four spare bits before the ECI are ignored."""
    if not octets:
        raise WireError("truncated", ie="3GPP-User-Location-Info")
    if octets[0] != GeographicLocationType.TAI_AND_ECGI:
        return None
    if len(octets) != 13:
        raise WireError("a TAI and an ECGI take 12 octets", ie="3GPP-User-Location-Info")
    return UserLocation(decode_plmn(octets, 1), int.from_bytes(octets[4:6], "big"), decode_plmn(octets, 6),
                        int.from_bytes(octets[9:13], "big") & 0x0FFFFFFF)
