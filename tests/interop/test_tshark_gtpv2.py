"""GTPv2-C by tshark: every message with every element, names of numbers, values of elements."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from epc.transport.interface import Carrier
from epc.wire import gtpv2
from epc.wire.identity import Ebi, Imsi, Plmn
from tests.interop.gtpv2_samples import samples
from tests.interop.tshark import Sample, disagreements, dissections, judged, needs_tshark, words, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]

PLMN = "21407"
FTEID = gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S11_MME_GTP_C, teid=0x1001, ipv4=IPv4Address("192.0.2.1"))


def sample(message: gtpv2.Message, sequence: int = 1) -> Sample:
    return Sample(name=type(message).__name__, payload=gtpv2.encode(message, teid=0x55, sequence=sequence), carrier=Carrier.UDP, port=2123)


def test_no_message_is_malformed(tmp_path: Path) -> None:
    sent = [sample(message, sequence) for sequence, message in enumerate(samples(seed=1, random_variants=20))]
    assert judged(tmp_path / "gtpv2.pcapng", sent, layer="gtpv2") == []


# --- names of numbers -------------------------------------------------------------------------------------------------------------


def cause(number: int) -> gtpv2.Message:
    return gtpv2.DeleteSessionResponse(cause=gtpv2.Cause(value=number))


def interface_type(number: int) -> gtpv2.Message:
    return gtpv2.DeleteSessionRequest(sender_fteid=gtpv2.Fteid(interface_type=number, teid=1, ipv4=IPv4Address("192.0.2.1")))


def change_reporting_action(number: int) -> gtpv2.Message:
    return gtpv2.CreateSessionResponse(cause=gtpv2.Cause(value=16), change_reporting_action=number)


ENUMERATIONS: list[tuple[str, type[IntEnum], Callable[[int], gtpv2.Message]]] = [
    ("        Cause", gtpv2.CauseValue, cause),
    ("Interface Type", gtpv2.InterfaceType, interface_type),
    ("        RAT Type", gtpv2.RatType, lambda number: gtpv2.ChangeNotificationRequest(rat_type=number)),
    ("        Change Reporting Action", gtpv2.ChangeReportingAction, change_reporting_action),
]
IN_OTHER_WORDS = {
    "ERROR_INDICATION_RECEIVED": "Error Indication received from RNC/eNodeB/S4-SGSN",
    "REQUEST_REJECTED": "Request rejected(reason not specified)",
    "APN_RESTRICTION_TYPE_INCOMPATIBLE": "APN Restriction type Incompatible with currently active PDN connection",
    "INVALID_OVERALL_LENGTH_WITH_PIGGYBACKED_MESSAGE":
        "Invalid overall length of the triggered response message and a piggybacked initial message",
    "TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS": "Temporarily rejected due to handover/TAU/RAU procedure in progress",
    "FIVE_GC_NOT_ALLOWED": "5GC not allowed",
    "S10_N26_MME_GTP_C": "S10 MME GTP-C interface",
    "ENODEB_GTP_U_FOR_DL_DATA_FORWARDING": "eNodeB/gNodeB GTP-U interface for DL data forwarding",
    "SGW_UPF_GTP_U_FOR_DL_DATA_FORWARDING": "SGW GTP-U interface for data forwarding",
    "START_REPORTING_MACRO_ENODEB_ID": "Unknown",               # of release 14, which tshark 4.0 does not have
    "START_REPORTING_TAI_AND_MACRO_ENODEB_ID": "Unknown",
}


def test_numbers_have_the_names_that_tshark_gives_them(tmp_path: Path) -> None:
    entries: list[tuple[str, IntEnum, gtpv2.Message]] = [
        (label, member, make(member)) for label, names, make in ENUMERATIONS for member in names]
    write_samples(tmp_path / "gtpv2.pcapng", [sample(message) for _, _, message in entries])
    for (label, member, _), text in zip(entries, dissections(tmp_path / "gtpv2.pcapng", "gtpv2"), strict=True):
        found = re.search(rf"{label}: (.*) \(\d+\)$", text, re.MULTILINE)
        assert found is not None, member
        theirs = words(found[1].replace(" interface", ""))
        assert theirs == words(IN_OTHER_WORDS.get(member.name, member.name).replace(" interface", "")), repr(member)


def test_message_types_have_the_names_that_tshark_gives_them(tmp_path: Path) -> None:
    entries = list(samples(seed=2, random_variants=0))
    write_samples(tmp_path / "gtpv2.pcapng", [sample(message) for message in entries])
    for message, text in zip(entries, dissections(tmp_path / "gtpv2.pcapng", "gtpv2"), strict=True):
        found = re.search(r"Message Type: (.*) \(\d+\)$", text, re.MULTILINE)
        assert found is not None
        assert words(found[1]).replace("acknowledgement", "acknowledge") == words(type(message).__name__)


BEYOND_TSHARK = {"UPIPSI", "SRTPI", "LTEMSAI"}      # of release 17: the tenth octet, which tshark 4.0 does not have
FLAGS_IN_OTHER_WORDS = {"P": "PS", "PPON_PPEI": "PPON", "PPOF": "PPOFF", "FIVE_GSIWK": "5GSIWKI"}


def test_indication_flags_stand_where_tshark_looks_for_them(tmp_path: Path) -> None:
    flags = [flag for flag in gtpv2.Indication if str(flag.name) not in BEYOND_TSHARK]
    write_samples(tmp_path / "gtpv2.pcapng", [sample(gtpv2.DeleteSessionRequest(indication=flag)) for flag in flags])
    for flag, text in zip(flags, dissections(tmp_path / "gtpv2.pcapng", "gtpv2"), strict=True):
        name = str(flag.name)
        set_bits = re.findall(r"^[.0 ]*1[.0 ]* = (\w+)", text.partition("Indication :")[2], re.MULTILINE)
        assert [words(bit) for bit in set_bits] == [words(FLAGS_IN_OTHER_WORDS.get(name, name)).replace("five", "5")]


# --- values -----------------------------------------------------------------------------------------------------------------------

CAUSE = gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)
ARP = gtpv2.Arp(priority_level=8, pre_emption_capability=True, pre_emption_vulnerability=False)
RATES: dict[str, Any] = {"mbr_uplink_kbps": 11, "mbr_downlink_kbps": 12, "gbr_uplink_kbps": 13, "gbr_downlink_kbps": 14}
ULI = gtpv2.Uli(
    cgi=gtpv2.Cgi(PLMN, 1, 2), sai=gtpv2.Sai(PLMN, 3, 4), rai=gtpv2.Rai(PLMN, 5, 6), tai=gtpv2.Tai(PLMN, 7), ecgi=gtpv2.Ecgi(PLMN, 0xABCDE01),
    lai=gtpv2.Lai(PLMN, 8))

VALUES: list[tuple[gtpv2.Message, dict[str, str]]] = [
    (gtpv2.CreateSessionRequest(
        imsi=Imsi("214070123456789"), msisdn="34600123456", mei="3534900698733190", uli=ULI, serving_network=Plmn("310410"),
        rat_type=gtpv2.RatType.EUTRAN, sender_fteid=FTEID, apn="internet.mnc007.mcc214.gprs",
        selection_mode=gtpv2.SelectionMode.MS_PROVIDED_APN_SUBSCRIPTION_NOT_VERIFIED, pdn_type=gtpv2.PdnType.IPV4V6,
        paa=gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4V6, ipv4=IPv4Address("10.45.0.2"), ipv6=IPv6Address("2001:db8::2")),
        ambr=gtpv2.Ambr(uplink_kbps=1000, downlink_kbps=2000), recovery=77,
        bearer_contexts_to_be_created=(gtpv2.BearerContextToBeCreated(ebi=6, bearer_qos=gtpv2.BearerQos(qci=9, arp=ARP, **RATES)),),
        mme_fq_csid=gtpv2.FqCsid(node_id=IPv4Address("192.0.2.3"), csids=(0x1234,)), charging_characteristics=0x0800), {
            "gtpv2.message_type": "32", "gtpv2.teid": "0x00000055", "e212.imsi": "214070123456789", "e164.msisdn": "34600123456",
            "gtpv2.mei": "3534900698733190", "gtpv2.sai_sac": "0x0004", "gtpv2.rai_lac": "0x0005", "gtpv2.tai_tac": "0x0007",
            "e212.tai.mcc": "214", "e212.tai.mnc": "7", "e212.mcc": "310", "e212.mnc": "410",
            "gtpv2.ecgi_eci": str(0xABCDE01), "gtpv2.enodebid": str(0xABCDE), "gtpv2.cellid": "1",
            "gtpv2.rat_type": "6", "gtpv2.f_teid_interface_type": "10", "gtpv2.f_teid_gre_key": "0x00001001", "gtpv2.f_teid_ipv4": "192.0.2.1",
            "gtpv2.apn": "internet.mnc007.mcc214.gprs", "gtpv2.selec_mode": "1", "gtpv2.pdn_type": "3",
            "gtpv2.pdn_addr_and_prefix.ipv4": "10.45.0.2", "gtpv2.pdn_addr_and_prefix.ipv6": "2001:db8::2", "gtpv2.ambr_up": "1000",
            "gtpv2.ambr_down": "2000", "gtpv2.rec": "77", "gtpv2.ebi": "6", "gtpv2.bearer_qos_label_qci": "9", "gtpv2.bearer_qos_pl": "8",
            "gtpv2.bearer_qos_pci": "0", "gtpv2.bearer_qos_pvi": "1", "gtpv2.bearer_qos_mbr_up": "11", "gtpv2.bearer_qos_mbr_down": "12",
            "gtpv2.bearer_qos_gbr_up": "13", "gtpv2.bearer_qos_gbr_down": "14", "gtpv2.fq_csid_ipv4": "192.0.2.3"}),
    (gtpv2.CreateSessionResponse(
        cause=gtpv2.Cause(value=gtpv2.CauseValue.MANDATORY_IE_MISSING, pce=True, cs=True, offending_ie=gtpv2.OffendingIe(87, 1)), linked_ebi=Ebi(7),
        bearer_contexts_created=(gtpv2.BearerContextCreated(
            ebi=5, cause=gtpv2.Cause(value=gtpv2.CauseValue.CONTEXT_NOT_FOUND, bce=True), charging_id=0x01020304),),
        pgw_load_control_information=gtpv2.LoadControlInformation(
            sequence_number=99, load_metric=50, apns=(gtpv2.ApnAndRelativeCapacity(30, "ims"),)), charging_gateway_name="cg.example"), {
        "gtpv2.cause": "70", "gtpv2.pce": "1", "gtpv2.cs": "1", "gtpv2.cause_off_ie_t": "87", "gtpv2.ebi": "7", "gtpv2.bce": "1",
        "gtpv2.charging_id": str(0x01020304), "gtpv2.metric": "50", "gtpv2.relative_capacity": "30", "gtpv2.apn": "ims", "gtpv2.fqdn": "cg.example"}),
    (gtpv2.CreateBearerRequest(linked_ebi=5, bearer_contexts=(gtpv2.BearerContextCreateRequested(
        ebi=0, tft=bytes.fromhex("2130000b10c0000201ffffffff3011"), bearer_qos=gtpv2.BearerQos(qci=1, arp=gtpv2.Arp(priority_level=1)),
        maximum_packet_loss_rate=gtpv2.MaximumPacketLossRate(uplink=100, downlink=200)),)), {
        "gtpv2.ebi": "0", "gtpv2.bearer_qos_pci": "1", "gtpv2.bearer_qos_pvi": "0", "gtpv2.max_pkt_loss_rte_ul": "100",
        "gtpv2.max_pkt_loss_rte_dl": "200"}),
    (gtpv2.BearerResourceCommand(linked_ebi=5, pti=3, flow_qos=gtpv2.FlowQos(qci=1, **RATES), tad=bytes.fromhex("2130000b10c0000201ffffffff3011")), {
        "gtpv2.pti": "3", "gtpv2.flow_qos_label_qci": "1", "gtpv2.flow_qos_mbr_up": "11", "gtpv2.flow_qos_mbr_down": "12",
        "gtpv2.flow_qos_gbr_up": "13", "gtpv2.flow_qos_gbr_down": "14"}),
    (gtpv2.DownlinkDataNotification(
        arp=ARP, paging_and_service_information=(gtpv2.PagingAndServiceInformation(ebi=6, paging_policy_indication=33),)), {
        "gtpv2.arp_pl": "8", "gtpv2.arp_pci": "0", "gtpv2.arp_pvi": "1", "gtpv2.ppi_value": "33", "gtpv2.ebi": "6"}),
    (gtpv2.DownlinkDataNotificationAcknowledge(
        cause=CAUSE, data_notification_delay=4,
        dl_low_priority_traffic_throttling=gtpv2.Throttling(delay=gtpv2.EpcTimer(unit=1, value=3), factor_percent=70)), {
        "gtpv2.delay_value": "4", "gtpv2.throttling_delay_unit": "1", "gtpv2.throttling_delay_value": "3", "gtpv2.throttling_factor": "70"}),
    (gtpv2.DeleteSessionRequest(linked_ebi=5, ran_nas_release_causes=(
        gtpv2.RanNasCause(protocol_type=gtpv2.RanNasProtocolType.EMM_CAUSE, cause_type=0, value=b"\x0b"),)), {
        "gtpv2.ran_nas.protocol_type": "2", "gtpv2.ran_nas.emm_cause": "11"}),
    (gtpv2.ModifyBearerRequest(
        ue_time_zone=gtpv2.UeTimeZone(offset_minutes=-330, daylight_saving_hours=1), delay_downlink_packet_notification_request=9,
        serving_plmn_rate_control=gtpv2.ServingPlmnRateControl(20, 30), mo_exception_data_counter=gtpv2.Counter(5, 6),
        uci=gtpv2.UserCsgInformation(plmn=PLMN, csg_id=0x1234567, access_mode=1, lcsg=True)), {
        "gtpv2.ue_time_zone_dst": "1", "gtpv2.delay_value": "9", "gtpv2.uplink_rate_limit": "20", "gtpv2.downlink_rate_limit": "30",
        "gtpv2.counter_value": "6", "gtpv2.cui_csg_id": str(0x1234567)}),
    (gtpv2.SuspendNotification(p_tmsi=0xC0010203, hop_counter=5, udp_source_port_number=2123, originating_node=gtpv2.NodeType.SGSN), {
        "gtpv2.p_tmsi": str(0xC0010203), "gtpv2.hop_counter": "5", "gtpv2.upd_source_port_number": "2123", "gtpv2.node_type": "1"}),
    (gtpv2.EchoRequest(recovery=5, node_features=gtpv2.NodeFeatures(1)), {"gtpv2.rec": "5", "gtpv2.node_features_prn": "1"}),
]


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    sent, expected = zip(*VALUES, strict=True)
    assert disagreements(tmp_path / "gtpv2.pcapng", [sample(message) for message in sent], expected) == []
