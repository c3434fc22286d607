"""The NAS security context: both ends against each other, and against what an attacker or a bad line does to the messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.peer.nas_security import (
    IntegrityError,
    NasCountExhausted,
    NasSecurityContext,
    NoCommonAlgorithm,
    ReplayError,
    Side,
    hash_mme,
    parse_security_header,
    security_header_type,
    select_algorithms,
)
from epc.security.eps_aka import AlgorithmType, derive_algorithm_key, derive_kenb
from epc.security.nas_algorithms import Direction, Eea, Eia, eea, eia
from epc.wire.errors import WireError
from epc.wire.nas.enumerations import SecurityHeaderType

KASME = bytes(range(32))
PLAIN = bytes.fromhex("075e23093387052143658709f1")      # SECURITY MODE COMPLETE
LAST = (1 << 24) - 1


def pair(eea: Eea = Eea.EEA2, eia: Eia = Eia.EIA2, uplink: int = 0, downlink: int = 0) -> tuple[NasSecurityContext, NasSecurityContext]:
    """The UE's context and the MME's."""
    ue, mme = (NasSecurityContext(side=side, ksi=1, kasme=KASME, eea=eea, eia=eia, uplink_count=uplink, downlink_count=downlink)
               for side in (Side.UE, Side.NETWORK))
    return ue, mme


@pytest.mark.parametrize("eea", Eea)
@pytest.mark.parametrize("eia", Eia)
def test_what_one_end_protects_the_other_reads(eea: Eea, eia: Eia) -> None:
    ue, mme = pair(eea, eia)
    for count in range(3):
        up = mme.unprotect(ue.protect(PLAIN))
        assert up == (PLAIN, SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED, count, True)
        down = ue.unprotect(mme.protect(PLAIN, ciphered=False))
        assert down == (PLAIN, SecurityHeaderType.INTEGRITY_PROTECTED, count, False)
    assert ue.uplink_count == mme.uplink_count == ue.downlink_count == mme.downlink_count == 3


def test_format_is_header_mac_sequence_number_message() -> None:
    """TS 24.301 clause 9.1, with the MAC over the sequence number and the ciphered message (clause 4.4.3.3)."""
    ue, _ = pair(uplink=0x01_02FE)
    octets = ue.protect(PLAIN, new_context=True)
    enc, integrity = derive_algorithm_key(KASME, AlgorithmType.NAS_ENC, 2), derive_algorithm_key(KASME, AlgorithmType.NAS_INT, 2)
    ciphered = eea(Eea.EEA2, enc, 0x0102FE, 0, Direction.UPLINK, PLAIN)
    assert octets == b"\x47" + eia(Eia.EIA2, integrity, 0x0102FE, 0, Direction.UPLINK, b"\xfe" + ciphered) + b"\xfe" + ciphered


def test_command_that_takes_a_context_into_use_is_readable_before_the_keys_are_known() -> None:
    ue, mme = pair()
    command = mme.protect(PLAIN, new_context=True, ciphered=False)
    header = parse_security_header(command)
    assert header.header_type == security_header_type(command) == SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT
    assert (header.payload, header.sequence_number) == (PLAIN, 0)
    assert ue.unprotect(command).plain == PLAIN


@pytest.mark.parametrize("eia", [Eia.EIA1, Eia.EIA2, Eia.EIA3])
def test_every_changed_octet_is_noticed_and_changes_nothing(eia: Eia) -> None:
    ue, mme = pair(eia=eia)
    octets = ue.protect(PLAIN)
    for i in range(1, len(octets)):
        forged = bytearray(octets)
        forged[i] ^= 0x40
        with pytest.raises(IntegrityError):
            mme.unprotect(bytes(forged))
    assert mme.uplink_count == 0
    assert mme.unprotect(octets).plain == PLAIN


def test_message_of_the_other_direction_is_refused() -> None:
    ue, mme = pair()
    with pytest.raises(IntegrityError):
        ue.unprotect(ue.protect(PLAIN))
    with pytest.raises(IntegrityError):
        mme.unprotect(mme.protect(PLAIN))


def test_each_count_is_accepted_at_most_once() -> None:
    ue, mme = pair()
    first, second = ue.protect(PLAIN), ue.protect(PLAIN)
    assert mme.unprotect(second).nas_count == 1
    for replayed in (second, first):
        with pytest.raises(ReplayError):
            mme.unprotect(replayed)
    assert mme.unprotect(ue.protect(PLAIN)).nas_count == 2


@pytest.mark.parametrize("lost", [0, 1, 100, 255])
def test_receiver_completes_the_count_over_lost_messages_and_through_zero(lost: int) -> None:
    ue, mme = pair(uplink=200)
    for _ in range(lost):
        ue.protect(PLAIN)
    assert mme.unprotect(ue.protect(PLAIN)).nas_count == 200 + lost


def test_receiver_loses_count_after_256_lost_messages() -> None:
    ue, mme = pair()
    for _ in range(256):
        ue.protect(PLAIN)
    with pytest.raises(IntegrityError):
        mme.unprotect(ue.protect(PLAIN))


def test_last_count_is_used_and_then_new_keys_are_demanded() -> None:
    ue, mme = pair(uplink=LAST, downlink=LAST)
    assert ue.is_nearly_exhausted()
    assert mme.unprotect(ue.protect(PLAIN)).nas_count == LAST
    assert ue.unprotect(mme.protect(PLAIN)).nas_count == LAST
    for _ in range(2):
        with pytest.raises(NasCountExhausted, match="uplink"):
            ue.protect(PLAIN)
        with pytest.raises(NasCountExhausted, match="downlink"):
            mme.protect(PLAIN)
        with pytest.raises(NasCountExhausted):
            ue.protect_service_request()


def test_receiver_never_wraps_the_overflow_counter() -> None:
    ue, mme = pair(uplink=LAST)
    mme.unprotect(ue.protect(PLAIN))
    fresh, _ = pair()
    with pytest.raises(IntegrityError):
        mme.unprotect(fresh.protect(PLAIN))


def test_young_context_is_not_exhausted() -> None:
    ue, _ = pair(uplink=1000)
    assert not ue.is_nearly_exhausted()
    assert ue.is_nearly_exhausted(margin=LAST - 900)


@pytest.mark.parametrize("eia", [Eia.EIA1, Eia.EIA2, Eia.EIA3])
@pytest.mark.parametrize("skipped", [0, 20, 31])
def test_service_request_carries_ksi_five_bits_of_the_count_and_a_short_mac(eia: Eia, skipped: int) -> None:
    ue, mme = pair(eia=eia, uplink=20)
    for _ in range(skipped):
        ue.protect(PLAIN)
    octets = ue.protect_service_request()
    assert len(octets) == 4
    assert octets[0] == 0xC7
    assert octets[1] == 1 << 5 | (20 + skipped) & 0x1F
    assert mme.verify_service_request(octets) == 20 + skipped
    assert mme.uplink_count == ue.uplink_count == 21 + skipped
    assert ue.derive_kenb() == mme.derive_kenb() == derive_kenb(KASME, 20 + skipped)
    with pytest.raises(ReplayError):
        mme.verify_service_request(octets)


def test_forged_service_request_is_refused() -> None:
    ue, mme = pair()
    octets = ue.protect_service_request()
    with pytest.raises(IntegrityError):
        mme.verify_service_request(octets[:3] + bytes((octets[3] ^ 1,)))
    for malformed in (octets[:3], octets + b"\0", PLAIN[:4], b"", b"\xc2\0\0\0"):
        with pytest.raises(WireError):
            mme.verify_service_request(malformed)


def test_kenb_comes_from_the_security_mode_complete_whatever_follows_it() -> None:
    ue, mme = pair()
    mme.unprotect(ue.protect(PLAIN, new_context=True))
    for _ in range(3):
        mme.unprotect(ue.protect(PLAIN))
    assert ue.derive_kenb() == mme.derive_kenb() == derive_kenb(KASME, 0)
    assert ue.derive_kenb(3) == derive_kenb(KASME, 3)
    assert ue.derive_next_hop(ue.derive_kenb()) == mme.derive_next_hop(mme.derive_kenb())


def test_other_algorithms_for_the_same_kasme_go_on_counting() -> None:
    ue, mme = pair(Eea.EEA0, Eia.EIA2)
    mme.unprotect(ue.protect(PLAIN))
    ue, mme = (context.with_algorithms(Eea.EEA1, Eia.EIA3) for context in (ue, mme))
    assert mme.unprotect(ue.protect(PLAIN)) == (PLAIN, SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED, 1, True)


def test_null_integrity_sends_a_mac_of_zeros() -> None:
    ue, _ = pair(Eea.EEA0, Eia.EIA0)
    assert ue.protect(PLAIN) == b"\x27" + bytes(4) + b"\0" + PLAIN


@given(st.binary(max_size=40))
def test_garbage_raises_wire_errors_only(octets: bytes) -> None:
    _, mme = pair()
    for read in (mme.unprotect, mme.verify_service_request, parse_security_header, security_header_type):
        try:
            read(octets)
        except WireError:
            assert mme.uplink_count == 0


@given(st.binary(min_size=1, max_size=20))
def test_garbage_behind_a_protected_header_is_refused(tail: bytes) -> None:
    _, mme = pair()
    with pytest.raises(WireError):
        mme.unprotect(b"\x27" + tail)


def test_plain_message_is_not_taken_for_a_protected_one() -> None:
    _, mme = pair()
    with pytest.raises(WireError, match="security header type 0"):
        mme.unprotect(PLAIN)


# --- negotiation ---------------------------------------------------------------------------------------------------------------

ALL = (0, 1, 2, 3)


def test_operator_preference_decides_among_what_the_ue_has() -> None:
    eeas, eias = (Eea.EEA2, Eea.EEA1, Eea.EEA0), (Eia.EIA2, Eia.EIA1, Eia.EIA3)
    assert select_algorithms(ALL, ALL, eea_preference=eeas, eia_preference=eias) == (Eea.EEA2, Eia.EIA2)
    assert select_algorithms((0, 1), (3,), eea_preference=eeas, eia_preference=eias) == (Eea.EEA1, Eia.EIA3)
    assert select_algorithms((0,), (1, 2), eea_preference=eeas, eia_preference=(Eia.EIA1,)) == (Eea.EEA0, Eia.EIA1)


def test_null_integrity_is_for_emergencies_only() -> None:
    preference = (Eia.EIA2, Eia.EIA0)
    with pytest.raises(NoCommonAlgorithm, match="EIA0"):
        select_algorithms(ALL, ALL, eea_preference=(Eea.EEA0,), eia_preference=(Eia.EIA0,))
    assert select_algorithms(ALL, ALL, eea_preference=(Eea.EEA0,), eia_preference=preference, emergency=True)[1] is Eia.EIA2
    assert select_algorithms((0,), (0,), eea_preference=(Eea.EEA0,), eia_preference=preference, emergency=True)[1] is Eia.EIA0


def test_no_common_algorithm_says_which() -> None:
    with pytest.raises(NoCommonAlgorithm, match="EEA1"):
        select_algorithms((0,), (2,), eea_preference=(Eea.EEA1,), eia_preference=(Eia.EIA2,))


def test_hash_mme_depends_on_every_octet() -> None:
    assert len(hash_mme(PLAIN)) == 8
    assert hash_mme(PLAIN) != hash_mme(PLAIN[:-1] + b"\0")
