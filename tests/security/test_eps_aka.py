"""EPS-AKA between an authentication centre and a USIM, and the key hierarchy below KASME."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.security.authentication import AuthenticationAlgorithm
from epc.security.eps_aka import (
    DELTA,
    IND_BITS,
    AlgorithmType,
    build_auts,
    derive_algorithm_key,
    derive_kasme,
    derive_kenb,
    derive_kenb_star,
    derive_nh,
    generate_vector,
    kdf,
    next_sqn,
    resynchronise,
    verify_auts,
)
from epc.security.milenage import Milenage
from epc.security.tuak import Tuak
from epc.security.usim import MacFailure, NonEpsAuthentication, SynchFailure, Usim
from epc.security.usim import Success as Authenticated
from epc.wire.errors import WireError

K = bytes.fromhex("465B5CE8B199B49FAA5F0A2EE238A6BC")
OPC = bytes.fromhex("E8ED289DEBA952E4283B54E88E6183CA")
RAND = bytes(range(16))
PLMN = "00101"
MILENAGE = Milenage(K, OPC)
ALGORITHMS = (MILENAGE, Tuak(K, OPC + OPC), Tuak(K + K, OPC + OPC, iterations=3, res_octets=16, ck_octets=32, ik_octets=32))


def sqn(seq: int, ind: int = 0) -> int:
    return seq << IND_BITS | ind


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_usim_and_network_agree_on_response_and_kasme(algorithm: AuthenticationAlgorithm) -> None:
    vector = generate_vector(algorithm, rand=RAND, sqn=sqn(1), plmn=PLMN)
    outcome = Usim(algorithm).authenticate(vector.rand, vector.autn, PLMN)
    assert isinstance(outcome, Authenticated)
    assert (outcome.res, outcome.kasme, outcome.sqn) == (vector.xres, vector.kasme, sqn(1))
    assert (len(vector.autn), len(vector.kasme)) == (16, 32)


def test_kasme_is_bound_to_the_serving_network() -> None:
    vector = generate_vector(MILENAGE, rand=RAND, sqn=sqn(1), plmn=PLMN)
    outcome = Usim(MILENAGE).authenticate(vector.rand, vector.autn, "21407")
    assert isinstance(outcome, Authenticated)
    assert outcome.kasme != vector.kasme


def test_challenge_with_another_key_is_a_mac_failure_and_costs_no_sequence_number() -> None:
    usim = Usim(MILENAGE)
    vector = generate_vector(Milenage(OPC, K), rand=RAND, sqn=sqn(1), plmn=PLMN)
    assert usim.authenticate(vector.rand, vector.autn, PLMN) == MacFailure()
    assert usim.sqn_ms == 0


@given(octet=st.integers(8, 15), bit=st.integers(0, 7))
def test_any_changed_bit_of_the_mac_is_a_mac_failure(octet: int, bit: int) -> None:
    autn = bytearray(generate_vector(MILENAGE, rand=RAND, sqn=sqn(1), plmn=PLMN).autn)
    autn[octet] ^= 1 << bit
    assert Usim(MILENAGE).authenticate(RAND, bytes(autn), PLMN) == MacFailure()


@pytest.mark.parametrize(("rand", "autn"), [(RAND[:15], bytes(16)), (RAND, b"\x80" * 15), (b"", b"")])
def test_challenge_of_the_wrong_length_is_a_mac_failure(rand: bytes, autn: bytes) -> None:
    assert Usim(MILENAGE).authenticate(rand, autn, PLMN) == MacFailure()


def test_vector_without_separation_bit_is_unacceptable_and_costs_no_sequence_number() -> None:
    usim = Usim(MILENAGE)
    vector = generate_vector(MILENAGE, rand=RAND, sqn=sqn(1), plmn=PLMN, amf=b"\x7f\xff")
    assert usim.authenticate(vector.rand, vector.autn, PLMN) == NonEpsAuthentication()
    assert usim.sqn_ms == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_replayed_challenge_leads_to_resynchronisation_and_then_success(algorithm: AuthenticationAlgorithm) -> None:
    usim = Usim(algorithm)
    usim.advance_to(sqn(500, 7))
    stale = generate_vector(algorithm, rand=RAND, sqn=sqn(3, 7), plmn=PLMN)
    outcome = usim.authenticate(stale.rand, stale.autn, PLMN)
    assert isinstance(outcome, SynchFailure)
    assert len(outcome.auts) == 14
    sqn_ms = verify_auts(algorithm, rand=RAND, auts=outcome.auts)
    assert sqn_ms == sqn(500, 7)
    fresh = generate_vector(algorithm, rand=RAND, sqn=next_sqn(resynchronise(sqn(3, 7), sqn_ms)), plmn=PLMN)
    assert isinstance(usim.authenticate(fresh.rand, fresh.autn, PLMN), Authenticated)


@pytest.mark.parametrize("auts", [b"", bytes(14), bytes(13), bytes(15)])
def test_forged_auts_is_refused(auts: bytes) -> None:
    assert verify_auts(MILENAGE, rand=RAND, auts=auts) is None


def test_auts_for_another_challenge_is_refused() -> None:
    assert verify_auts(MILENAGE, rand=bytes(16), auts=build_auts(MILENAGE, rand=RAND, sqn_ms=sqn(9))) is None


def accepts(usim: Usim, number: int) -> bool:
    vector = generate_vector(MILENAGE, rand=RAND, sqn=number, plmn=PLMN)
    return isinstance(usim.authenticate(vector.rand, vector.autn, PLMN), Authenticated)


def test_vectors_fetched_together_may_be_used_out_of_order() -> None:
    """TS 33.102 clause C.2.2: freshness is judged for each IND apart."""
    usim = Usim(MILENAGE)
    assert accepts(usim, sqn(102, 2))
    assert accepts(usim, sqn(101, 1))
    assert not accepts(usim, sqn(101, 1))
    assert not accepts(usim, sqn(102, 2))
    assert usim.sqn_ms == sqn(102, 2)


def test_jump_of_seq_beyond_delta_is_refused() -> None:
    usim = Usim(MILENAGE)
    assert not accepts(usim, sqn(DELTA + 1))
    assert accepts(usim, sqn(DELTA))


def test_age_limit_refuses_what_lies_too_far_back() -> None:
    usim = Usim(MILENAGE, age_limit=10)
    usim.advance_to(sqn(100, 0))
    assert not accepts(usim, sqn(90, 1))
    assert accepts(usim, sqn(91, 1))


def test_usim_state_survives_storage() -> None:
    usim = Usim(MILENAGE)
    assert accepts(usim, sqn(5, 3))
    restored = Usim(MILENAGE, seq_ms=usim.seq_ms)
    assert not accepts(restored, sqn(5, 3))
    assert accepts(restored, sqn(6, 3))


def test_next_sqn_counts_seq_and_goes_round_the_indices() -> None:
    number, seen = 0, []
    for _ in range(40):
        number = next_sqn(number)
        seen.append((number >> IND_BITS, number & 31))
    assert seen == [(i, i % 32) for i in range(1, 41)]
    assert next_sqn((1 << 48) - 1) == 0


@given(sqn_he=st.integers(0, (1 << 47) - 1), sqn_ms=st.integers(0, (1 << 47) - 1))
def test_resynchronised_centre_makes_a_vector_that_the_usim_accepts(sqn_he: int, sqn_ms: int) -> None:
    usim = Usim(MILENAGE)
    usim.advance_to(sqn_ms)
    assert accepts(usim, next_sqn(resynchronise(sqn_he, sqn_ms)))


def test_resynchronisation_keeps_a_centre_that_is_properly_ahead() -> None:
    assert resynchronise(sqn(10), sqn(5)) == sqn(10)
    assert resynchronise(sqn(5), sqn(10)) == sqn(10)



def test_key_derivation_input_strings() -> None:
    key = bytes(range(32))
    assert derive_kasme(key[:16], key[16:], "00101", b"\1\2\3\4\5\6") == kdf_of(key, "10 00f110 0003 010203040506 0006")
    assert derive_kasme(key[:16], key[16:], "310410", b"\1\2\3\4\5\6") == kdf_of(key, "10 130014 0003 010203040506 0006")
    assert derive_kenb(key, 0x010203) == kdf_of(key, "11 00010203 0004")
    assert derive_nh(key, key) == kdf_of(key, f"12 {key.hex()} 0020")
    assert derive_kenb_star(key, 0x1F7, 1850) == kdf_of(key, "13 01f7 0002 073a 0002")
    assert derive_kenb_star(key, 0x1F7, 66436) == kdf_of(key, "13 01f7 0002 010384 0003")
    assert derive_algorithm_key(key, AlgorithmType.NAS_ENC, 2) == kdf_of(key, "15 01 0001 02 0001")[16:]
    assert derive_algorithm_key(key, AlgorithmType.UP_ENC, 1) == kdf_of(key, "15 05 0001 01 0001")[16:]


def kdf_of(key: bytes, s: str) -> bytes:
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(x ^ 0x36 for x in block) + bytes.fromhex(s)).digest()
    return hashlib.sha256(bytes(x ^ 0x5C for x in block) + inner).digest()


def test_kdf_without_parameters_is_hmac_of_the_function_code() -> None:
    assert kdf(b"k" * 32, 0x11) == kdf_of(b"k" * 32, "11")


@pytest.mark.parametrize("call", [
    lambda: Milenage(K[:15], OPC),
    lambda: Milenage(K, b""),
    lambda: MILENAGE.f1(RAND, bytes(5), bytes(2)),
    lambda: MILENAGE.f2(RAND[:8]),
    lambda: Tuak(K[:8], bytes(32)),
    lambda: Tuak(K, bytes(16)),
    lambda: Tuak(K, bytes(32), mac_octets=7),
    lambda: Tuak(K, bytes(32), iterations=0),
    lambda: generate_vector(Tuak(K, bytes(32), mac_octets=16), rand=RAND, sqn=1, plmn=PLMN),
])
def test_wrong_lengths_are_named(call: object) -> None:
    with pytest.raises(ValueError, match=r"octets|iteration"):
        call()  # type: ignore[operator]


def test_plmn_must_be_digits() -> None:
    with pytest.raises(WireError):
        derive_kasme(K, K, "0010x", bytes(6))
