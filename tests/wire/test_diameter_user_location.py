"""3GPP-User-Location-Info."""

from __future__ import annotations

import pytest

from epc.wire.diameter.user_location import UserLocation, decode_user_location, encode_user_location
from epc.wire.errors import WireError
from epc.wire.identity import Plmn

OCTETS = bytes.fromhex("82 00f110 0001 12f407 00019b01")
LOCATION = UserLocation(Plmn("00101"), 1, Plmn("21470"), 0x19B01)


def test_golden() -> None:
    assert encode_user_location(LOCATION) == OCTETS
    assert decode_user_location(OCTETS) == LOCATION


def test_spare_bits_are_ignored() -> None:
    assert decode_user_location(OCTETS[:9] + b"\xf0" + OCTETS[10:]) == LOCATION


def test_other_kinds_of_location() -> None:
    assert decode_user_location(b"\x00" + bytes(7)) is None


@pytest.mark.parametrize("octets", [b"", OCTETS[:-1], OCTETS + b"\0", OCTETS[:1] + b"\xaa" + OCTETS[2:]])
def test_bad_octets(octets: bytes) -> None:
    with pytest.raises(WireError):
        decode_user_location(octets)


@pytest.mark.parametrize("wrong", [LOCATION._replace(tac=1 << 16), LOCATION._replace(eci=1 << 28), LOCATION._replace(tai_plmn=Plmn("1"))])
def test_values_that_do_not_fit(wrong: UserLocation) -> None:
    with pytest.raises(WireError):
        encode_user_location(wrong)
