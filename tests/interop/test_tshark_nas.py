"""EPS NAS by tshark: every message with every element, in S1AP and as the readable copy of a ciphered one; names and values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from epc.transport.interface import Carrier
from epc.wire import nas, s1ap
from tests.interop.nas_samples import samples
from tests.interop.tshark import NOTE, Sample, disagreements, dissections, judged, needs_tshark, words, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]

# tshark 4.0.17 reads these elements as "extraneous data", without a reason in the specification:
BEYOND_TSHARK = {
    "requested_imsi_offset",            # of release 16, which its tables do not have
    "negotiated_imsi_offset",
    "ss_code",                          # its reading of a TV element of one octet takes the rest of the message
    "lcs_indicator",
}
DOWNLINK = (nas.DetachRequestToUe, nas.AttachAccept, nas.TrackingAreaUpdateAccept, nas.DownlinkNasTransport, nas.DownlinkGenericNasTransport)
PLMN = "21407"
IDENTITIES: dict[str, Any] = {"mme_ue_s1ap_id": 1, "enb_ue_s1ap_id": 2}
NO_KEY = nas.NasKeySetIdentifier(value=nas.security.NO_KEY_IS_AVAILABLE)


def without(message: Any, names: set[str]) -> Any:
    absent = {field.name: None for field in dataclasses.fields(message) if field.name in names}
    return dataclasses.replace(message, **absent)


def plain(message: Any) -> Sample:
    """As the lab's captures show a message that was ciphered."""
    return Sample(name=type(message).__name__, payload=nas.encode(message), carrier=Carrier.SCTP, port=36412,
                  is_downlink=isinstance(message, DOWNLINK), dissector="nas-eps_plain")


def in_s1ap(message: Any) -> Sample:
    """As the air carries it; a message of session management is never unprotected."""
    octets = nas.encode(message)
    if isinstance(message, nas.EsmMessage):
        octets = nas.encode(nas.SecurityProtected(
            security_header_type=nas.SecurityHeaderType.INTEGRITY_PROTECTED, message_authentication_code=bytes(4), sequence_number=1, payload=octets))
    transport: Any
    if isinstance(message, DOWNLINK):
        transport = s1ap.DownlinkNASTransport(**IDENTITIES, nas_pdu=octets)
    else:
        plmn = s1ap.encode_plmn_identity(PLMN)
        transport = s1ap.UplinkNASTransport(
            **IDENTITIES, nas_pdu=octets, eutran_cgi=s1ap.EUTRANCGI(plmn_identity=plmn, cell_id=s1ap.BitString(1, 28)),
            tai=s1ap.TAI(plmn_identity=plmn, tac=b"\0\1"))
    return Sample(name=type(message).__name__, payload=s1ap.encode(transport), carrier=Carrier.SCTP, port=36412,
                  is_downlink=isinstance(message, DOWNLINK), ppid=18)


@pytest.mark.parametrize("wrap", [plain, in_s1ap])
def test_no_message_is_malformed_and_no_element_unread(wrap: Callable[[Any], Sample], tmp_path: Path) -> None:
    """Elements in another order than tshark's tables have, or with another identifier, would be noted as extraneous data."""
    sent = [wrap(without(message, BEYOND_TSHARK)) for message in samples(seed=1, random_variants=20)]
    assert judged(tmp_path / "nas.pcapng", sent, layer="nas-eps", severity=NOTE) == []


def test_elements_beyond_tshark_do_no_harm(tmp_path: Path) -> None:
    sent = [in_s1ap(message) for message in samples(seed=2, random_variants=5)]
    assert judged(tmp_path / "nas.pcapng", sent, layer="nas-eps") == []


def test_every_message_has_its_name(tmp_path: Path) -> None:
    messages = [without(message, BEYOND_TSHARK) for message in samples(seed=3, random_variants=0)]
    write_samples(tmp_path / "nas.pcapng", [plain(message) for message in messages])
    for message, text in zip(messages, dissections(tmp_path / "nas.pcapng", "nas-eps"), strict=True):
        found = re.search(r"^ +(?:NAS EPS Mobility Management Message Type|NAS EPS session management messages): (.*) \(0x", text, re.MULTILINE)
        assert found is not None, type(message).__name__
        assert words(found[1]) == words(type(message).__name__.removesuffix("FromUe").removesuffix("ToUe"))


# --- names of numbers -------------------------------------------------------------------------------------------------------------


def smc(ciphering: int) -> nas.SecurityModeCommand:
    return nas.SecurityModeCommand(
        selected_nas_security_algorithms=nas.NasSecurityAlgorithms(ciphering=ciphering, integrity=2), nas_key_set_identifier=NO_KEY,
        replayed_ue_security_capabilities=nas.UeSecurityCapability(eea=(0,), eia=(2,)))


def update_request(kind: int) -> nas.TrackingAreaUpdateRequest:
    return nas.TrackingAreaUpdateRequest(
        eps_update_type=nas.EpsUpdateType(value=kind), nas_key_set_identifier=NO_KEY, old_guti=nas.ImsiIdentity(imsi="214070123456789"))


def detach(kind: int) -> nas.DetachRequestFromUe:
    return nas.DetachRequestFromUe(
        detach_type=nas.DetachType(type_of_detach=kind), nas_key_set_identifier=NO_KEY, eps_mobile_identity=nas.ImsiIdentity(imsi="214070123456789"))


ENUMERATIONS: list[tuple[str, type[IntEnum], Callable[[int], Any]]] = [
    ("Cause", nas.EmmCause, lambda number: nas.EmmStatus(emm_cause=number)),
    ("Cause", nas.EsmCause, lambda number: nas.EsmStatus(esm_cause=number)),
    ("EPS update result value", nas.EpsUpdateResult, lambda number: nas.TrackingAreaUpdateAccept(eps_update_result=number)),
    ("EPS update type value", nas.EpsUpdateTypeValue, update_request),
    ("Detach Type", nas.TypeOfDetachFromUe, detach),
    ("Detach Type", nas.TypeOfDetachToUe, lambda number: nas.DetachRequestToUe(detach_type=number)),
    ("Request type", nas.RequestType, lambda number: nas.PdnConnectivityRequest(request_type=number, pdn_type=1)),
    ("PDN type", nas.PdnType, lambda number: nas.PdnConnectivityRequest(request_type=1, pdn_type=number)),
    ("Identity type 2", nas.IdentityType, lambda number: nas.IdentityRequest(identity_type=number)),
    ("Type of ciphering algorithm", nas.CipheringAlgorithm, smc),
]
IN_OTHER_WORDS = {
    "UNUSED": "Unused. If received, the network shall interpret this as 'initial request'",
    "EEA0": "EPS encryption algorithm EEA0 (null ciphering algorithm)",
    "EEA1": "EPS encryption algorithm 128-EEA1",
    "EEA2": "EPS encryption algorithm 128-EEA2",
    "EEA3": "EPS encryption algorithm 128-EEA3",
    "PLMN_NOT_ALLOWED_TO_OPERATE_AT_THE_PRESENT_UE_LOCATION": "Unknown",        # of release 17
}


def test_numbers_have_the_names_that_tshark_gives_them(tmp_path: Path) -> None:
    entries: list[tuple[str, IntEnum, Any]] = [(label, member, make(member)) for label, names, make in ENUMERATIONS for member in names]
    write_samples(tmp_path / "nas.pcapng", [plain(message) for _, _, message in entries])
    for (label, member, _), text in zip(entries, dissections(tmp_path / "nas.pcapng", "nas-eps"), strict=True):
        found = re.search(rf"{label}: (.*) \(\d+\)$", text, re.MULTILINE)
        assert found is not None, member
        assert words(found[1]) == words(IN_OTHER_WORDS.get(member.name, member.name)), repr(member)


# --- values -----------------------------------------------------------------------------------------------------------------------

GUTI = nas.Guti(plmn=PLMN, mme_group_id=0x8001, mme_code=0x1F, m_tmsi=0xC0FFEE01)
RAND, AUTN = bytes(range(16)), bytes(range(16, 32))
ESM = nas.ActivateDefaultEpsBearerContextRequest(
    eps_bearer_identity=5, procedure_transaction_identity=7, eps_qos=nas.EpsQos(qci=9), access_point_name="internet.mnc007.mcc214.gprs",
    pdn_address=nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=IPv4Address("10.45.0.2")),
    apn_ambr=nas.ApnAmbr(downlink_kbps=1_000_000, uplink_kbps=256_000))

VALUES: list[tuple[Any, dict[str, str]]] = [
    (nas.AttachRequest(
        eps_attach_type=nas.EpsAttachType.COMBINED_EPS_IMSI_ATTACH, nas_key_set_identifier=nas.NasKeySetIdentifier(value=3), eps_mobile_identity=GUTI,
        ue_network_capability=nas.UeNetworkCapability(eea=(0, 2), eia=(1, 3), uea=(), uia=(1,)),
        esm_message_container=nas.encode(nas.PdnConnectivityRequest(procedure_transaction_identity=7, request_type=1, pdn_type=3)),
        last_visited_registered_tai=nas.Tai(plmn="310410", tac=0x1234)), {
            "nas_eps.emm.eps_att_type": "2", "nas_eps.emm.nas_key_set_id": "3", "nas_eps.emm.mme_grp_id": "32769", "nas_eps.emm.mme_code": "31",
            "nas_eps.emm.m_tmsi": str(0xC0FFEE01), "nas_eps.emm.eea0": "1", "nas_eps.emm.128eea1": "0", "nas_eps.emm.128eea2": "1",
            "nas_eps.emm.128eia1": "1", "nas_eps.emm.128eia2": "0", "nas_eps.emm.eia3": "1", "nas_eps.esm_pdn_type": "3",
            "nas_eps.esm.proc_trans_id": "7", "nas_eps.emm.tai_tac": str(0x1234), "e212.tai.mcc": "310", "e212.tai.mnc": "410"}),
    (nas.AuthenticationRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=2), rand=RAND, autn=AUTN), {
        "gsm_a.dtap.rand": RAND.hex(), "gsm_a.dtap.autn": AUTN.hex(), "nas_eps.emm.nas_key_set_id": "2"}),
    (nas.AuthenticationResponse(res=RAND[:8]), {"nas_eps.emm.res": RAND[:8].hex()}),
    (nas.AuthenticationFailure(emm_cause=nas.EmmCause.SYNCH_FAILURE, auts=RAND[:14]), {
        "nas_eps.emm.cause": "21", "gsm_a.dtap.auts": RAND[:14].hex()}),
    (smc(2), {"nas_eps.emm.toc": "2", "nas_eps.emm.toi": "2", "nas_eps.emm.eea0": "1", "nas_eps.emm.128eia2": "1"}),
    (nas.SecurityModeComplete(imeisv=nas.ImeisvIdentity(imeisv="3534900698733190")), {"gsm_a.imeisv": "3534900698733190"}),
    (nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi="214070123456789")), {"e212.imsi": "214070123456789"}),
    (nas.AttachAccept(
        eps_attach_result=nas.EpsAttachResult.EPS_ONLY, t3412=nas.GprsTimer.of(54 * 60),
        tai_list=nas.TaiList(partial_lists=(nas.NonConsecutiveTacs(plmn=PLMN, tacs=(7, 9)),)), esm_message_container=nas.encode(ESM), guti=GUTI,
        emm_cause=nas.EmmCause.CS_DOMAIN_NOT_AVAILABLE), {
            "nas_eps.emm.EPS_attach_result": "1", "nas_eps.emm.tai_tac": "9", "nas_eps.emm.m_tmsi": str(0xC0FFEE01), "nas_eps.emm.cause": "18",
            "gsm_a.gm.gmm.gprs_timer_value": "9", "gsm_a.gm.gmm.gprs_timer_unit": "2", "nas_eps.bearer_id": "5", "nas_eps.esm.qci": "9",
            "gsm_a.gm.sm.apn": "internet.mnc007.mcc214.gprs", "nas_eps.esm.pdn_ipv4": "10.45.0.2",
            "nas_eps.esm.apn_ambr_dl_total": "1000000", "nas_eps.esm.apn_ambr_ul_total": "256000"}),
    (nas.AttachReject(emm_cause=nas.EmmCause.ILLEGAL_UE), {"nas_eps.emm.cause": "3"}),
    (nas.TrackingAreaUpdateAccept(eps_update_result=0, eps_bearer_context_status=(5, 7, 15)), {
        "nas_eps.emm.ebi5": "1", "nas_eps.emm.ebi6": "0", "nas_eps.emm.ebi7": "1", "nas_eps.emm.ebi8": "0", "nas_eps.emm.ebi15": "1"}),
    (nas.EmmInformation(full_name_for_network=nas.NetworkName(text="epclab @ Ä"), short_name_for_network=nas.NetworkName(text="Łódź")), {
        "gsm_a.dtap.text_string": "epclab @ Ä"}),
    (nas.EmmInformation(short_name_for_network=nas.NetworkName(text="Łódź")), {"gsm_a.dtap.text_string": "Łódź"}),
]


def labelled(entries: Iterable[tuple[Any, dict[str, str]]]) -> tuple[list[Sample], list[dict[str, str]]]:
    sent, expected = zip(*entries, strict=True)
    return [in_s1ap(message) for message in sent], list(expected)


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    assert disagreements(tmp_path / "nas.pcapng", *labelled(VALUES)) == []
