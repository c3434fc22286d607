"""What a receiver learns of a bad message (TS 36.413 clause 10), and what an encoder refuses."""

from __future__ import annotations

import pytest

from epc.wire import s1ap
from epc.wire.errors import WireError
from epc.wire.s1ap import (
    ENBID,
    TAI,
    BitString,
    Cause,
    CriticalityDiagnosticsIEItem,
    DownlinkNASTransport,
    ERABItem,
    ERABReleaseCommand,
    ErrorIndication,
    GlobalENBID,
    S1apSyntaxError,
    S1SetupResponse,
    UECapabilityInfoIndication,
    UEContextReleaseRequest,
    UnknownIE,
)

MME_ID, ENB_ID, NAS = "00000002000a", "00080002000b", "001a00020107"


def downlink_nas(*elements: str) -> bytes:
    """A DownlinkNASTransport with these elements, whatever they are."""
    body = bytes((0,)) + len(elements).to_bytes(2, "big") + bytes.fromhex("".join(elements))
    return bytes((0, 11, 0x40, len(body))) + body


def error_of(octets: bytes) -> S1apSyntaxError:
    with pytest.raises(S1apSyntaxError) as caught:
        s1ap.decode(octets)
    return caught.value


def test_the_good_message() -> None:
    assert s1ap.decode(downlink_nas(MME_ID, ENB_ID, NAS)) == DownlinkNASTransport(mme_ue_s1ap_id=10, enb_ue_s1ap_id=11, nas_pdu=b"\7")


def test_unknown_element_with_criticality_reject_is_diagnosed() -> None:
    error = error_of(downlink_nas(MME_ID, ENB_ID, NAS, "fffe000101"))
    assert error.cause == Cause("protocol", "abstract-syntax-error-reject")
    assert error.answered
    assert (error.procedure_code, error.triggering_message, error.procedure_criticality) == (11, "initiating-message", "ignore")
    assert error.ies == (CriticalityDiagnosticsIEItem(ie_criticality="reject", ie_id=0xFFFE, type_of_error="not-understood"),)
    assert (error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (10, 11)


@pytest.mark.parametrize(("octet", "criticality"), [("40", "ignore"), ("80", "notify")])
def test_unknown_element_that_may_be_ignored_is_kept(octet: str, criticality: s1ap.Criticality) -> None:
    octets = downlink_nas(MME_ID, ENB_ID, NAS, f"fffe{octet}020102")
    message = s1ap.decode(octets)
    assert isinstance(message, DownlinkNASTransport)
    assert message.unknown == (UnknownIE(0xFFFE, criticality, b"\1\2"),)
    assert s1ap.encode(message) == octets


def test_missing_mandatory_element_is_diagnosed() -> None:
    error = error_of(downlink_nas(MME_ID, ENB_ID))
    assert error.cause == Cause("protocol", "abstract-syntax-error-reject")
    assert error.ies == (CriticalityDiagnosticsIEItem(ie_criticality="reject", ie_id=26, type_of_error="missing"),)
    assert (error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (10, 11)


def test_missing_element_of_criticality_ignore_wants_no_answer() -> None:
    request = s1ap.encode(UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, cause=Cause("nas", "detach")))
    error = error_of(bytes.fromhex("0012400f000002") + request[7:-5])
    assert [(ie.ie_id, ie.type_of_error) for ie in error.ies] == [(2, "missing")]
    assert not error.answered


@pytest.mark.parametrize("elements", [(MME_ID, ENB_ID, NAS, NAS), (ENB_ID, MME_ID, NAS)], ids=["twice", "wrong order"])
def test_repeated_or_disordered_elements_are_falsely_constructed(elements: tuple[str, ...]) -> None:
    error = error_of(downlink_nas(*elements))
    assert error.cause == Cause("protocol", "abstract-syntax-error-falsely-constructed-message")
    assert (error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (10, 11)


def test_element_cut_short_is_a_transfer_syntax_error_that_keeps_the_ids() -> None:
    error = error_of(downlink_nas(MME_ID, ENB_ID, "001a000105"))
    assert error.cause == Cause("protocol", "transfer-syntax-error")
    assert error.ie == "nas_pdu"
    assert (error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (10, 11)
    assert error.criticality_diagnostics.ies_criticality_diagnostics is None


@pytest.mark.parametrize(("criticality", "cause", "answered"), [
    (0x00, "abstract-syntax-error-reject", True), (0x40, "abstract-syntax-error-ignore-and-notify", False),
    (0x80, "abstract-syntax-error-ignore-and-notify", True)])
def test_unknown_procedure(criticality: int, cause: s1ap.CauseProtocol, answered: bool) -> None:
    error = error_of(bytes((0, 200, criticality, 1, 0)))
    assert (error.cause, error.answered, error.procedure_code) == (Cause("protocol", cause), answered, 200)


def test_outcome_that_the_procedure_does_not_have_is_unknown() -> None:
    assert error_of(bytes((0x20, 11, 0x40, 1, 0))).triggering_message == "successful-outcome"


def test_diagnostics_can_be_sent() -> None:
    error = error_of(downlink_nas(MME_ID, "fffe000101"))
    answer = ErrorIndication(mme_ue_s1ap_id=error.mme_ue_s1ap_id, cause=error.cause, criticality_diagnostics=error.criticality_diagnostics)
    assert s1ap.decode(s1ap.encode(answer)) == answer


def test_enumeration_value_of_a_later_release_survives() -> None:
    octets = bytearray(s1ap.encode(UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, cause=Cause("nas", "detach"))))
    assert octets[-1:] == b"\x24"       # choice extension 0, nas 010, enumeration extension 0, detach 010
    octets[-1:] = b"\x2b\x20"           # the same with enumeration extension 1 and the small number 0 110010
    octets[3] += 1
    octets[-3] += 1
    message = s1ap.decode(bytes(octets))
    assert isinstance(message, UEContextReleaseRequest)
    assert message.cause.value == "unknown-50"
    assert s1ap.encode(message) == octets


def test_alternative_of_a_later_release_survives() -> None:
    cause = Cause("unknown-3", b"\1\2\3")  # type: ignore[arg-type]
    message = UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, cause=cause)
    assert s1ap.decode(s1ap.encode(message)) == message


@pytest.mark.parametrize("length", [127, 128, 16383, 16384, 16385, 65536, 100_000])
def test_long_octet_strings_are_fragmented(length: int) -> None:
    capability = (bytes(range(256)) * (length // 256 + 1))[:length]
    message = UECapabilityInfoIndication(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, ue_radio_capability=capability)
    octets = s1ap.encode(message)
    assert s1ap.decode(octets) == message
    if length >= 16384:
        assert octets[3] >= 0xC1        # the PDU's own open type is in fragments too


def test_list_element_of_a_later_release_is_left_out() -> None:
    command = ERABReleaseCommand(
        mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, e_rab_to_be_released_list=(
            ERABItem(e_rab_id=5, cause=Cause("nas", "detach")), ERABItem(e_rab_id=6, cause=Cause("nas", "detach"))))
    octets = s1ap.encode(command)
    assert octets.count(b"\x00\x23\x40") == 2
    message = s1ap.decode(octets.replace(b"\x00\x23\x40", b"\xea\x60\x40", 1))
    assert isinstance(message, ERABReleaseCommand)
    assert [item.e_rab_id for item in message.e_rab_to_be_released_list] == [6]
    assert error_of(octets.replace(b"\x00\x23\x40", b"\xea\x60\x00", 1)).ies[0].ie_id == 0xEA60


@pytest.mark.parametrize("message", [
    DownlinkNASTransport(mme_ue_s1ap_id=1 << 32, enb_ue_s1ap_id=1, nas_pdu=b""),
    DownlinkNASTransport(mme_ue_s1ap_id=-1, enb_ue_s1ap_id=1, nas_pdu=b""),
    DownlinkNASTransport(mme_ue_s1ap_id=None, enb_ue_s1ap_id=1, nas_pdu=b""),  # type: ignore[arg-type]
    DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, nas_pdu="text"),  # type: ignore[arg-type]
    S1SetupResponse(served_gummeis=(), relative_mme_capacity=1),
    S1SetupResponse(served_gummeis=5, relative_mme_capacity=1),  # type: ignore[arg-type]
    UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, cause=Cause("nas", "user-inactivity")),
    UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, cause=("nas", "detach")),  # type: ignore[arg-type]
    UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, cause=Cause("moon", "detach")),  # type: ignore[arg-type]
    DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, nas_pdu=b"", unknown=(UnknownIE(1 << 16, "ignore", b""),)),
    ErrorIndication(unknown=(5,)),  # type: ignore[arg-type]
    TAI(plmn_identity=b"123", tac=b"\0\1"),
], ids=repr)
def test_encoder_refuses_what_the_format_cannot_hold(message: s1ap.Message) -> None:
    with pytest.raises(WireError):
        s1ap.encode(message)


def test_encoder_names_the_element() -> None:
    with pytest.raises(WireError) as caught:
        s1ap.encode(DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1 << 24, nas_pdu=b""))
    assert caught.value.ie == "enb_ue_s1ap_id"


def test_bit_string_must_fit_its_size() -> None:
    with pytest.raises(WireError):
        s1ap.encode_type("Global-ENB-ID", GlobalENBID(plmn_identity=b"\0\xf1\x10", enb_id=ENBID("macroENB-ID", BitString(1 << 20, 20))))
    assert BitString.of(b"\x12\x34") == (0x1234, 16)
    assert BitString(0x19B, 20).octets == b"\x00\x19\xb0"
