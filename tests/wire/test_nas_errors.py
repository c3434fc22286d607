"""Handling of unknown, unforeseen and erroneous protocol data: TS 24.301 clause 7, as far as the codec decides it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from epc.wire import nas
from epc.wire.errors import WireError


def refused(octets: str) -> nas.NasSyntaxError:
    with pytest.raises(nas.NasSyntaxError) as caught:
        nas.decode(bytes.fromhex(octets))
    return caught.value


@pytest.mark.parametrize("octets", ["", "07", "02", "0201", "c7aabb", "27010203", "6701020304050607", "0441", "0341"])
def test_7_2_too_short_or_foreign_messages_are_to_be_ignored(octets: str) -> None:
    assert refused(octets).cause is None


def test_7_4_unknown_emm_message_type() -> None:
    error = refused("0747")
    assert (error.cause, error.message_type) == (nas.EmmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED, 0x47)


def test_7_4_unknown_esm_message_type_names_its_transaction() -> None:
    error = refused("5209ff")
    assert error.cause == nas.EsmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED
    assert (error.message_type, error.procedure_transaction_identity, error.eps_bearer_identity) == (0xFF, 9, 5)


def test_7_5_missing_mandatory_element_emm() -> None:
    error = refused("0741")
    assert error.cause == nas.EmmCause.INVALID_MANDATORY_INFORMATION
    assert error.ie == "eps_attach_type"


def test_7_5_missing_mandatory_element_esm() -> None:
    error = refused("0205d0")
    assert error.cause == nas.EsmCause.INVALID_MANDATORY_INFORMATION
    assert error.procedure_transaction_identity == 5


def test_7_5_mandatory_element_of_wrong_length() -> None:
    error = refused("0752 00 000102030405060708090a0b0c0d0e0f 0f 101112131415161718191a1b1c1d1e")
    assert (error.cause, error.ie) == (nas.EmmCause.INVALID_MANDATORY_INFORMATION, "autn")


def test_7_5_identity_with_a_nibble_that_is_no_digit() -> None:
    assert refused("0756 08 0910a01000000001").cause == nas.EmmCause.INVALID_MANDATORY_INFORMATION


def test_7_5_unknown_element_that_must_be_understood() -> None:
    assert refused("0743 0003 5200c2 0101ff").cause == nas.EmmCause.INVALID_MANDATORY_INFORMATION


def test_7_6_1_unknown_elements_are_kept_and_written_back() -> None:
    octets = bytes.fromhex("075e 2102abcd 9a 7e000199 66024142")
    decoded = nas.decode(octets)
    assert isinstance(decoded, nas.SecurityModeComplete)
    assert decoded.ue_radio_capability_id == b"AB"
    assert [element.iei for element in decoded.unknown] == [0x21, 0x9, 0x7E]
    assert nas.decode(nas.encode(decoded)) == decoded


def test_7_6_2_element_out_of_sequence_is_ignored() -> None:
    octets = bytes.fromhex("0744 11 16015e 5f0101")        # T3402 before T3346
    decoded = nas.decode(octets)
    assert isinstance(decoded, nas.AttachReject)
    assert decoded.t3402 == nas.GprsTimer(unit=2, value=30)
    assert decoded.t3346 is None
    assert nas.encode(decoded) == octets


def test_7_6_3_repeated_element_counts_once() -> None:
    decoded = nas.decode(bytes.fromhex("0744 11 5f0101 5f0102"))
    assert isinstance(decoded, nas.AttachReject)
    assert decoded.t3346 == nas.GprsTimer(unit=0, value=1)


@pytest.mark.parametrize("tail", ["5f00", "5f05 01", "5f"])
def test_7_7_1_wrong_optional_element_is_as_if_absent(tail: str) -> None:
    decoded = nas.decode(bytes.fromhex("074411" + tail))
    assert isinstance(decoded, nas.AttachReject)
    assert decoded.t3346 is None
    assert nas.encode(decoded) == bytes.fromhex("074411" + tail)


def test_detach_request_without_a_direction_is_told_by_its_shape() -> None:
    assert isinstance(nas.decode(bytes.fromhex("0745 01")), nas.DetachRequestToUe)
    assert isinstance(nas.decode(bytes.fromhex("0745 02 5302")), nas.DetachRequestToUe)
    assert isinstance(nas.decode(bytes.fromhex("0745 09 0bf600f110800102c0000001")), nas.DetachRequestFromUe)


@pytest.mark.parametrize(
    "message",
    [
        nas.AuthenticationRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=0), rand=b"short", autn=bytes(16)),
        nas.AuthenticationRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=9), rand=bytes(16), autn=bytes(16)),
        nas.AttachReject(emm_cause=300),
        nas.EsmStatus(eps_bearer_identity=16, esm_cause=nas.EsmCause.PTI_MISMATCH),
        nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi="00101x")),
        nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi="")),
        nas.GutiReallocationCommand(guti=nas.Guti(plmn="00101", mme_group_id=1 << 16, mme_code=1, m_tmsi=1)),
        nas.GutiReallocationCommand(guti=nas.Guti(plmn="00101", mme_group_id=1, mme_code=256, m_tmsi=1)),
        nas.EsmInformationResponse(access_point_name="a" * 64),
        nas.EsmInformationResponse(access_point_name=".".join(["abcdefghi"] * 11)),
        nas.EsmInformationResponse(protocol_configuration_options=bytes(256)),
        nas.EsmDataTransport(user_data_container=bytes(65536)),
        nas.AuthenticationResponse(res=bytes(17)),
        nas.ServiceRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=0), sequence_number=32, short_message_authentication_code=b"12"),
    ],
)
def test_encode_refuses_what_the_format_cannot_hold(message: nas.NasPdu) -> None:
    with pytest.raises(WireError):
        nas.encode(message)


def test_security_capability_to_replay_takes_gea_from_ms_network_capability() -> None:
    sent = nas.UeNetworkCapability(eea=(0, 1, 2), eia=(1, 2), uea=(0, 1), uia=(1,), ucs2=True, further=b"\x10")
    replayed = nas.UeSecurityCapability.of(sent, bytes.fromhex("e5e034"))
    assert replayed == nas.UeSecurityCapability(eea=(0, 1, 2), eia=(1, 2), uea=(0, 1), uia=(1,), gea=(1, 2, 3))
    assert nas.encode_ue_security_capability(replayed).hex() == "e060c04070"


def test_timers_round_up_to_what_they_can_say() -> None:
    assert nas.GprsTimer.of(54 * 60).seconds == 54 * 60
    assert nas.GprsTimer.of(63).seconds == 120
    assert nas.GprsTimer.of(None).seconds is None
    assert nas.GprsTimer3.of(35_712_000).seconds == 35_712_000
    with pytest.raises(WireError):
        nas.GprsTimer.of(12_000)


def test_protocol_configuration_options_of_a_pgw() -> None:
    options = nas.decode_protocol_configuration_options(bytes.fromhex("80 000d0408080808 000d0408080404 0010020578 8021040301000a"))
    assert options.dns_server_ipv4_addresses == (IPv4Address("8.8.8.8"), IPv4Address("8.8.4.4"))
    assert options.ipv4_link_mtu_octets == 1400
    assert options.contents(nas.ContainerId.IPCP) == (bytes.fromhex("0301000a"),)


def test_ipcp_nak_with_addresses() -> None:
    packet = nas.IpcpPacket(code=3, identifier=0, options=(nas.IpcpOption(type=129, data=bytes([8, 8, 8, 8])),))
    assert nas.encode_ipcp(packet).hex() == "0300000a810608080808"
    assert nas.decode_ipcp(bytes.fromhex("0300000a810608080808")) == packet
