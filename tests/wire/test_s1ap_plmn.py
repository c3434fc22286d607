"""PLMN identities in S1AP: with an MNC of three digits they are not packed as NAS packs them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.wire.errors import WireError
from epc.wire.identity import encode_plmn
from epc.wire.s1ap import decode_plmn_identity, encode_plmn_identity


@pytest.mark.parametrize(("plmn", "octets"), [("21407", "12f470"), ("00101", "00f110"), ("310410", "134001"), ("123456", "214365")])
def test_each_digit_stands_where_it_comes(plmn: str, octets: str) -> None:
    assert encode_plmn_identity(plmn).hex() == octets
    assert decode_plmn_identity(bytes.fromhex(octets)) == plmn


def test_three_digit_mncs_are_packed_otherwise_than_in_nas() -> None:
    assert encode_plmn("310410") == bytes.fromhex("130014")
    assert encode_plmn_identity("310410") != encode_plmn("310410")
    assert encode_plmn_identity("21407") == encode_plmn("21407")


@given(st.from_regex(r"[0-9]{5,6}", fullmatch=True))
def test_round_trip(plmn: str) -> None:
    assert decode_plmn_identity(encode_plmn_identity(plmn)) == plmn


@pytest.mark.parametrize("plmn", ["", "2140", "2140712", "2140x", "２１４０７"])
def test_what_is_no_plmn_is_refused(plmn: str) -> None:
    with pytest.raises(WireError):
        encode_plmn_identity(plmn)


@given(st.binary(max_size=4))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    try:
        plmn = decode_plmn_identity(octets)
    except WireError:
        return
    assert encode_plmn_identity(plmn) == octets
