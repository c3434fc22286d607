"""S1AP by tshark: every message as the codec writes it, without a complaint and under the same name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from epc.transport.interface import Carrier
from epc.wire import s1ap
from epc.wire.s1ap.message import Message
from tests.interop.s1ap_samples import samples
from tests.interop.tshark import Sample, disagreements, dissections, judged, needs_tshark, words, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]


def sample(message: Message) -> Sample:
    return Sample(name=type(message).__name__, payload=s1ap.encode(message), carrier=Carrier.SCTP, port=36412, ppid=18)


def test_no_message_is_malformed(tmp_path: Path) -> None:
    lines = judged(tmp_path / "s1ap.pcapng", [sample(message) for message in samples(seed=1, random_variants=20)], layer="s1ap")
    # What a private message holds is known to its owner only: "Unknown Open Type"
    assert [line for line in lines if not line.startswith("PrivateMessage: ") or "Unknown Open Type" not in line] == []


def test_every_message_has_its_name(tmp_path: Path) -> None:
    sent = [sample(message) for message in samples(seed=2, random_variants=0)]
    write_samples(tmp_path / "s1ap.pcapng", sent)
    for message, text in zip(sent, dissections(tmp_path / "s1ap.pcapng", "s1ap"), strict=True):
        found = re.search(r"^ +value\n +([\w-]+)$", text, re.MULTILINE)
        assert found is not None, message.name
        assert words(found[1]) == words(message.name)


PLMN = s1ap.encode_plmn_identity("21407")
IDS: dict[str, Any] = {"mme_ue_s1ap_id": 0xFFFFFFFF, "enb_ue_s1ap_id": 0xFFFFFF}
READ_IDS = {"s1ap.MME_UE_S1AP_ID": str(0xFFFFFFFF), "s1ap.ENB_UE_S1AP_ID": str(0xFFFFFF)}
QOS = s1ap.ERABLevelQoSParameters(
    qci=1, allocation_retention_priority=s1ap.AllocationAndRetentionPriority(
        priority_level=2, pre_emption_capability="may-trigger-pre-emption", pre_emption_vulnerability="not-pre-emptable"),
    gbr_qos_information=s1ap.GBRQosInformation(
        e_rab_maximum_bitrate_dl=10_000_000_000, e_rab_maximum_bitrate_ul=64_000, e_rab_guaranteed_bitrate_dl=1, e_rab_guaranteed_bitrate_ul=0))

VALUES: list[tuple[Message, dict[str, str]]] = [
    (s1ap.S1SetupRequest(
        global_enb_id=s1ap.GlobalENBID(plmn_identity=PLMN, enb_id=s1ap.ENBID("macroENB-ID", s1ap.BitString(0xABCDE, 20))), enb_name="enb 1",
        supported_tas=(s1ap.SupportedTAsItem(tac=b"\x12\x34", broadcast_plmns=(PLMN, s1ap.encode_plmn_identity("310410"))),),
        default_paging_drx="v256"), {
            "s1ap.procedureCode": "17", "s1ap.S1AP_PDU": "0", "s1ap.macroENB_ID": "abcde0", "s1ap.ENBname": "enb 1", "s1ap.tAC": str(0x1234),
            "s1ap.PagingDRX": "3", "s1ap.pLMNidentity": "12f470", "s1ap.PLMNidentity": "134001", "e212.mcc": "310", "e212.mnc": "410"}),
    (s1ap.S1SetupFailure(cause=s1ap.Cause("misc", "unknown-PLMN"), time_to_wait="v60s"), {
        "s1ap.S1AP_PDU": "2", "s1ap.Cause": "4", "s1ap.misc": "5", "s1ap.TimeToWait": "5"}),
    (s1ap.InitialUEMessage(
        enb_ue_s1ap_id=7, nas_pdu=b"\x07\x46", tai=s1ap.TAI(plmn_identity=PLMN, tac=b"\0\7"), rrc_establishment_cause="mo-Data",
        eutran_cgi=s1ap.EUTRANCGI(plmn_identity=PLMN, cell_id=s1ap.BitString(0xABCDE01, 28)),
        s_tmsi=s1ap.STMSI(mmec=b"\x1f", m_tmsi=bytes.fromhex("c0ffee01"))), {
            "s1ap.ENB_UE_S1AP_ID": "7", "s1ap.NAS_PDU": "0746", "s1ap.tAC": "7", "s1ap.RRC_Establishment_Cause": "4",
            "s1ap.CellIdentity": "0x0abcde01", "s1ap.mMEC": "31", "s1ap.m_TMSI": str(0xC0FFEE01)}),
    (s1ap.ERABSetupRequest(**IDS, e_rab_to_be_setup_list_bearer_su_req=(s1ap.ERABToBeSetupItemBearerSUReq(
        e_rab_id=6, e_rab_level_qos_parameters=QOS, transport_layer_address=s1ap.BitString.of(bytes((192, 0, 2, 9))),
        gtp_teid=bytes.fromhex("01020304"), nas_pdu=b"\x07\x46"),)), READ_IDS | {
            "s1ap.e_RAB_ID": "6", "s1ap.qCI": "1", "s1ap.priorityLevel": "2", "s1ap.pre_emptionCapability": "1", "s1ap.pre_emptionVulnerability": "0",
            "s1ap.e_RAB_MaximumBitrateDL": "10000000000", "s1ap.e_RAB_MaximumBitrateUL": "64000", "s1ap.e_RAB_GuaranteedBitrateDL": "1",
            "s1ap.e_RAB_GuaranteedBitrateUL": "0", "s1ap.transportLayerAddressIPv4": "192.0.2.9", "s1ap.gTP_TEID": "01020304"}),
    (s1ap.UEContextReleaseRequest(**IDS, cause=s1ap.Cause("radioNetwork", "user-inactivity")), READ_IDS | {
        "s1ap.Cause": "0", "s1ap.radioNetwork": "20"}),
    (s1ap.Paging(
        ue_identity_index_value=s1ap.BitString(0x155, 10), ue_paging_id=s1ap.UEPagingID("s-TMSI", s1ap.STMSI(mmec=b"\1", m_tmsi=bytes(4))),
        cn_domain="ps", tai_list=(s1ap.TAIItem(tai=s1ap.TAI(plmn_identity=PLMN, tac=b"\0\7")),)), {
            "s1ap.UEIdentityIndexValue": "5540", "s1ap.CNDomain": "0", "s1ap.tAC": "7"}),
]


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    sent, expected = zip(*VALUES, strict=True)
    assert disagreements(tmp_path / "s1ap.pcapng", [sample(message) for message in sent], expected) == []
