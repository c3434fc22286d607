"""What a capture of one complete Attach and Detach must hold, as tshark sees it: every message, with its mandatory elements and their values.

tshark flags what is wrong in a message, not what is missing from it, nor whether two messages agree. ``ATTACH_PRESENCE`` lists (description,
display filter) pairs for TS 23.401 clauses 5.3.2.1 and 5.3.8.2, of which :func:`missing_presence` gives the descriptions that no packet satisfies;
:func:`contradictions` compares what has to be the same in several messages: the authentication vector, the eight tunnels, the UE's address.

NAS is found wherever tshark can read it: in S1AP, or in the readable copies of ciphered messages.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from tests.interop.tshark import frames_by_filter, table

INITIATING, SUCCESSFUL = 0, 1


def _message(name: str, identified_by: str, elements: dict[str, str]) -> list[tuple[str, str]]:
    """The message itself, and one entry for each element of it, so that a missing one is named."""
    return [(name, identified_by), *((f"{name}: {element}", f"({identified_by}) && ({condition})") for element, condition in elements.items())]


def _s1ap(name: str, procedure_code: int, pdu: int, elements: dict[str, str]) -> list[tuple[str, str]]:
    return _message(f"S1AP {name}", f"s1ap.procedureCode == {procedure_code} && s1ap.S1AP_PDU == {pdu} && s1ap.{name}_element", elements)


def _emm(name: str, message_type: int, elements: dict[str, str]) -> list[tuple[str, str]]:
    return _message(f"NAS {name}", f"nas_eps.nas_msg_emm_type == {message_type:#04x}", elements)


def _gtpv2(name: str, message_type: int, which: str, elements: dict[str, str]) -> list[tuple[str, str]]:
    return _message(f"GTPv2-C {name}", f"gtpv2.message_type == {message_type} && {which}", elements)


def _diameter(name: str, command_code: int, is_request: bool, which: str, elements: dict[str, str]) -> list[tuple[str, str]]:
    """With what every Diameter message has to carry: RFC 6733 clauses 6.3, 6.4, 8.8."""
    common = {"Session-Id": "diameter.Session-Id", "Origin-Host": "diameter.Origin-Host", "Origin-Realm": "diameter.Origin-Realm"}
    if is_request:
        common["Destination-Realm"] = "diameter.Destination-Realm"
    else:
        common["Result-Code DIAMETER_SUCCESS"] = "diameter.Result-Code == 2001"
    direction = f"diameter.cmd.code == {command_code} && diameter.flags.request == {int(is_request)}"
    return _message(f"Diameter {name}", f"{direction} && {which}", common | elements)


_UE_IDENTITIES = {"MME UE S1AP ID": "s1ap.MME_UE_S1AP_ID", "eNB UE S1AP ID": "s1ap.ENB_UE_S1AP_ID"}
_LOCATION = {"E-UTRAN CGI": "s1ap.EUTRAN_CGI_element && s1ap.CellIdentity", "TAI": "s1ap.TAI_element && s1ap.tAC"}
_ACCEPTED = {"Cause 16, request accepted": "gtpv2.cause == 16"}
_BEARER = {"EPS Bearer ID": "gtpv2.ebi >= 5"}
_S6A = "diameter.applicationId == 16777251"
_S6A_COMMON = {"Auth-Session-State NO_STATE_MAINTAINED": "diameter.Auth-Session-State == 1"}
_GX = "diameter.applicationId == 16777238"
_GX_COMMON = {"Auth-Application-Id": "diameter.Auth-Application-Id == 16777238", "CC-Request-Number": "diameter.CC-Request-Number >= 0"}
_SESSION_REQUEST = {        # TS 29.274 table 7.2.1-1, as far as S11 and S5/S8 have it in common
    "IMSI": "e212.imsi", "MEI": "gtpv2.mei", "ULI with TAI and ECGI": "gtpv2.uli_tai_flg == 1 && gtpv2.uli_ecgi_flg == 1",
    "Serving Network": "gtpv2.ie_type == 83", "RAT Type EUTRAN": "gtpv2.rat_type == 6", "APN": "gtpv2.apn", "Selection Mode": "gtpv2.selec_mode >= 0",
    "PDN Type": "gtpv2.pdn_type >= 1", "PAA": "gtpv2.ie_type == 79", "Maximum APN Restriction": "gtpv2.apn_rest >= 0",
    "APN-AMBR": "gtpv2.ambr_up > 0 && gtpv2.ambr_down > 0", "Bearer Context": "gtpv2.ie_type == 93", "Bearer QoS": "gtpv2.bearer_qos_label_qci >= 1",
    **_BEARER,
}

ATTACH_PRESENCE: list[tuple[str, str]] = [
    # before the first phone
    *_s1ap("S1SetupRequest", 17, INITIATING, {
        "Global eNB ID": "s1ap.Global_ENB_ID_element && s1ap.eNB_ID",
        "Supported TAs": "s1ap.SupportedTAs >= 1 && s1ap.tAC && s1ap.broadcastPLMNs >= 1", "Default Paging DRX": "s1ap.PagingDRX"}),
    *_s1ap("S1SetupResponse", 17, SUCCESSFUL, {
        "Served GUMMEIs": "s1ap.ServedGUMMEIs >= 1 && s1ap.MME_Group_ID && s1ap.MME_Code", "Relative MME Capacity": "s1ap.RelativeMMECapacity"}),

    #  1 Attach Request
    *_s1ap("InitialUEMessage", 12, INITIATING, {
        "eNB UE S1AP ID": "s1ap.ENB_UE_S1AP_ID", "NAS-PDU": "s1ap.NAS_PDU", "RRC Establishment Cause": "s1ap.RRC_Establishment_Cause", **_LOCATION}),
    *_emm("ATTACH REQUEST", 0x41, {
        "EPS attach type": "nas_eps.emm.eps_att_type", "NAS key set identifier": "nas_eps.emm.nas_key_set_id",
        "EPS mobile identity": "nas_eps.emm.type_of_id", "UE network capability": "nas_eps.emm.eea0 && nas_eps.emm.128eia2",
        "PDN CONNECTIVITY REQUEST": "nas_eps.nas_msg_esm_type == 0xd0 && nas_eps.esm_request_type && nas_eps.esm_pdn_type",
        "procedure transaction identity": "nas_eps.esm.proc_trans_id >= 1"}),

    #  3 Authentication
    *_diameter("Authentication-Information-Request", 318, True, _S6A, _S6A_COMMON | {
        "User-Name": "diameter.User-Name", "Visited-PLMN-Id": "diameter.Visited-PLMN-Id",
        "Number-Of-Requested-Vectors": "diameter.Requested-EUTRAN-Authentication-Info && diameter.Number-Of-Requested-Vectors >= 1"}),
    *_diameter("Authentication-Information-Answer", 318, False, _S6A, _S6A_COMMON | {
        "E-UTRAN-Vector": "diameter.Authentication-Info && diameter.E-UTRAN-Vector", "RAND": "diameter.RAND", "XRES": "diameter.XRES",
        "AUTN": "diameter.AUTN", "KASME": "diameter.KASME"}),
    *_s1ap("DownlinkNASTransport", 11, INITIATING, _UE_IDENTITIES | {"NAS-PDU": "s1ap.NAS_PDU"}),
    *_s1ap("UplinkNASTransport", 13, INITIATING, _UE_IDENTITIES | {"NAS-PDU": "s1ap.NAS_PDU"} | _LOCATION),
    *_emm("AUTHENTICATION REQUEST", 0x52, {
        "NAS key set identifier": "nas_eps.emm.nas_key_set_id <= 6", "RAND": "gsm_a.dtap.rand",
        "AUTN with the separation bit": "gsm_a.dtap.autn && gsm_a.dtap.autn.amf[0] & 80"}),
    *_emm("AUTHENTICATION RESPONSE", 0x53, {"RES": "nas_eps.emm.res"}),

    #  4 NAS security
    *_emm("SECURITY MODE COMMAND", 0x5D, {
        "integrity protection with a new context": "nas_eps.security_header_type == 3", "ciphering algorithm": "nas_eps.emm.toc <= 3",
        "integrity algorithm other than EIA0": "nas_eps.emm.toi >= 1 && nas_eps.emm.toi <= 3",
        "NAS key set identifier": "nas_eps.emm.nas_key_set_id <= 6", "replayed UE security capabilities": "nas_eps.emm.128eia2 == 1"}),
    ("NAS message ciphered with a new context (SECURITY MODE COMPLETE)", "s1ap && nas_eps.security_header_type == 4 && nas_eps.seq_no == 0"),
    *_emm("SECURITY MODE COMPLETE", 0x5E, {"IMEISV": "gsm_a.imeisv"}),

    #  5 Update Location
    *_diameter("Update-Location-Request", 316, True, _S6A, _S6A_COMMON | {
        "User-Name": "diameter.User-Name", "RAT-Type EUTRAN": "diameter.RAT-Type == 1004", "Visited-PLMN-Id": "diameter.Visited-PLMN-Id",
        "ULR-Flags: S6a, initial attach": "diameter.3gpp.ulr_flags_bit1 == 1 && diameter.3gpp.ulr_flags_bit5 == 1"}),
    *_diameter("Update-Location-Answer", 316, False, _S6A, _S6A_COMMON | {
        "ULA-Flags: separation indication": "diameter.3gpp.ula_flags_bit0 == 1", "Subscription-Data": "diameter.Subscription-Data",
        "Subscriber-Status": "diameter.Subscriber-Status == 0", "Network-Access-Mode": "diameter.Network-Access-Mode",
        "AMBR": "diameter.AMBR && diameter.Max-Requested-Bandwidth-UL && diameter.Max-Requested-Bandwidth-DL",
        "APN-Configuration": "diameter.APN-Configuration-Profile && diameter.Context-Identifier && diameter.PDN-Type && diameter.Service-Selection",
        "EPS-Subscribed-QoS-Profile": "diameter.EPS-Subscribed-QoS-Profile && diameter.QoS-Class-Identifier && diameter.Priority-Level"}),

    #  6 Create Session, MME and SGW
    *_gtpv2("Create Session Request on S11", 32, "gtpv2.f_teid_interface_type == 10", _SESSION_REQUEST | {
        "TEID 0 in the header": "gtpv2.teid == 0", "MME's F-TEID (t1)": "gtpv2.f_teid_interface_type == 10 && gtpv2.f_teid_gre_key > 0",
        "PGW's address": "gtpv2.f_teid_interface_type == 7"}),
    *_gtpv2("Create Session Response on S11", 33, "gtpv2.f_teid_interface_type == 11", _ACCEPTED | _BEARER | {
        "SGW's F-TEID (t6)": "gtpv2.f_teid_interface_type == 11", "PGW's F-TEID (t4)": "gtpv2.f_teid_interface_type == 7",
        "SGW's S1-U F-TEID (t7)": "gtpv2.f_teid_interface_type == 1", "PGW's S5/S8-U F-TEID (t5)": "gtpv2.f_teid_interface_type == 5",
        "PAA": "gtpv2.ie_type == 79 && (gtpv2.pdn_addr_and_prefix.ipv4 || gtpv2.pdn_addr_and_prefix.ipv6)", "APN Restriction": "gtpv2.apn_rest >= 0",
        "Bearer Context": "gtpv2.ie_type == 93"}),

    #  7 Create Session, SGW and PGW, with the PCRF's decision
    *_gtpv2("Create Session Request on S5/S8", 32, "gtpv2.f_teid_interface_type == 6", _SESSION_REQUEST | {
        "TEID 0 in the header": "gtpv2.teid == 0", "SGW's F-TEID (t2)": "gtpv2.f_teid_interface_type == 6 && gtpv2.f_teid_gre_key > 0",
        "SGW's S5/S8-U F-TEID (t3)": "gtpv2.f_teid_interface_type == 4"}),
    *_diameter("Credit-Control-Request INITIAL", 272, True, f"{_GX} && diameter.CC-Request-Type == 1", _GX_COMMON | {
        "CC-Request-Number 0": "diameter.CC-Request-Number == 0",
        "Subscription-Id with the IMSI": "diameter.Subscription-Id-Type == 1 && diameter.Subscription-Id-Data",
        "IP-CAN-Type 3GPP-EPS": "diameter.IP-CAN-Type == 5", "RAT-Type EUTRAN": "diameter.RAT-Type == 1004",
        "UE's address": "diameter.Framed-IP-Address || diameter.Framed-IPv6-Prefix", "Called-Station-Id": "diameter.Called-Station-Id",
        "Default-EPS-Bearer-QoS": "diameter.Default-EPS-Bearer-QoS && diameter.QoS-Class-Identifier",
        "QoS-Information with the APN-AMBR": "diameter.QoS-Information && diameter.APN-Aggregate-Max-Bitrate-UL",
        "AN-GW-Address": "diameter.AN-GW-Address"}),
    *_diameter("Credit-Control-Answer INITIAL", 272, False, f"{_GX} && diameter.CC-Request-Type == 1", _GX_COMMON | {
        "Default-EPS-Bearer-QoS": "diameter.Default-EPS-Bearer-QoS && diameter.QoS-Class-Identifier",
        "Charging-Rule-Install": "diameter.Charging-Rule-Install && diameter.Charging-Rule-Name"}),
    *_gtpv2("Create Session Response on S5/S8", 33, "!(gtpv2.f_teid_interface_type == 11)", _ACCEPTED | _BEARER | {
        "PGW's F-TEID (t4)": "gtpv2.f_teid_interface_type == 7", "PGW's S5/S8-U F-TEID (t5)": "gtpv2.f_teid_interface_type == 5",
        "PAA": "gtpv2.ie_type == 79 && (gtpv2.pdn_addr_and_prefix.ipv4 || gtpv2.pdn_addr_and_prefix.ipv6)",
        "Charging ID": "gtpv2.charging_id", "Bearer Context": "gtpv2.ie_type == 93"}),

    #  8 Initial Context Setup with Attach Accept
    *_s1ap("InitialContextSetupRequest", 9, INITIATING, _UE_IDENTITIES | {
        "UE Aggregate Maximum Bit Rate": "s1ap.uEaggregateMaximumBitRateDL > 0 && s1ap.uEaggregateMaximumBitRateUL > 0",
        "E-RAB": "s1ap.E_RABToBeSetupListCtxtSUReq >= 1 && s1ap.e_RAB_ID >= 5", "QCI": "s1ap.qCI >= 1", "ARP": "s1ap.priorityLevel",
        "SGW's S1-U TEID (t7)": "s1ap.transportLayerAddress && s1ap.gTP_TEID", "NAS-PDU": "s1ap.nAS_PDU",
        "UE Security Capabilities": "s1ap.UESecurityCapabilities_element", "Security Key": "s1ap.SecurityKey"}),
    *_emm("ATTACH ACCEPT", 0x42, {
        "EPS attach result": "nas_eps.emm.EPS_attach_result == 1", "T3412": "gsm_a.gm.gmm.gprs_timer_value", "TAI list": "nas_eps.emm.tai_tac",
        "GUTI": "nas_eps.emm.type_of_id == 6 && nas_eps.emm.m_tmsi",
        "ACTIVATE DEFAULT EPS BEARER CONTEXT REQUEST": "nas_eps.nas_msg_esm_type == 0xc1 && nas_eps.bearer_id >= 5 && nas_eps.esm.proc_trans_id >= 1",
        "EPS QoS": "nas_eps.esm.qci >= 1", "APN": "gsm_a.gm.sm.apn", "PDN address": "nas_eps.esm.pdn_ipv4 || nas_eps.esm.pdn_ipv6_if_id",
        "APN-AMBR": "nas_eps.esm.apn_ambr_dl && nas_eps.esm.apn_ambr_ul"}),
    *_s1ap("InitialContextSetupResponse", 9, SUCCESSFUL, _UE_IDENTITIES | {
        "E-RAB": "s1ap.E_RABSetupListCtxtSURes >= 1 && s1ap.e_RAB_ID >= 5",
        "eNodeB's S1-U TEID (t8)": "s1ap.transportLayerAddress && s1ap.gTP_TEID"}),

    #  9 Attach Complete
    *_emm("ATTACH COMPLETE", 0x43, {
        "ACTIVATE DEFAULT EPS BEARER CONTEXT ACCEPT": "nas_eps.nas_msg_esm_type == 0xc2 && nas_eps.bearer_id >= 5",
        "no procedure transaction identity": "nas_eps.esm.proc_trans_id == 0"}),

    # 10 Modify Bearer
    *_gtpv2("Modify Bearer Request on S11", 34, "gtpv2.f_teid_interface_type == 0", _BEARER | {
        "Bearer Context": "gtpv2.ie_type == 93", "TEID in the header (t6)": "gtpv2.teid > 0"}),
    *_gtpv2("Modify Bearer Response on S11", 35, "gtpv2.f_teid_interface_type == 1", _ACCEPTED | _BEARER | {
        "TEID in the header (t1)": "gtpv2.teid > 0"}),

    # the user plane
    ("GTP-U G-PDU", "gtp.message == 0xff && gtp.teid > 0 && ip"),

    # Detach
    *_emm("DETACH REQUEST of the UE", 0x45, {
        "type of detach": "nas_eps.emm.detach_type_ul >= 1", "NAS key set identifier": "nas_eps.emm.nas_key_set_id <= 6",
        "GUTI": "nas_eps.emm.type_of_id == 6 && nas_eps.emm.m_tmsi"}),
    *_gtpv2("Delete Session Request", 36, "gtpv2.teid > 0", {"Linked EPS Bearer ID": "gtpv2.ebi >= 5", "ULI": "gtpv2.uli_ecgi_flg == 1"}),
    *_gtpv2("Delete Session Request with Operation Indication on S11", 36, "gtpv2.oi == 1", {}),
    *_gtpv2("Delete Session Response", 37, "gtpv2.teid > 0", _ACCEPTED),
    *_diameter("Credit-Control-Request TERMINATION", 272, True, f"{_GX} && diameter.CC-Request-Type == 3", _GX_COMMON | {
        "CC-Request-Number above 0": "diameter.CC-Request-Number > 0", "Termination-Cause": "diameter.Termination-Cause"}),
    *_diameter("Credit-Control-Answer TERMINATION", 272, False, f"{_GX} && diameter.CC-Request-Type == 3", _GX_COMMON),
    *_emm("DETACH ACCEPT", 0x46, {}),
    *_s1ap("UEContextReleaseCommand", 23, INITIATING, {
        "UE S1AP IDs": "s1ap.UE_S1AP_IDs && s1ap.MME_UE_S1AP_ID", "Cause: detach": "s1ap.nas == 2"}),
    *_s1ap("UEContextReleaseComplete", 23, SUCCESSFUL, _UE_IDENTITIES),
]


def missing_presence(capture: Path) -> list[str]:
    """The descriptions of :data:`ATTACH_PRESENCE` that no packet of ``capture`` satisfies. Runs tshark once."""
    counts = frames_by_filter(capture, [display_filter for _, display_filter in ATTACH_PRESENCE])
    return [description for (description, _), count in zip(ATTACH_PRESENCE, counts, strict=True) if not count]


# --- what has to be the same in several messages --------------------------------------------------------------------------------

_FIELDS = (
    "gtpv2.message_type", "gtpv2.teid", "gtpv2.f_teid_interface_type", "gtpv2.f_teid_gre_key", "gtpv2.pdn_addr_and_prefix.ipv4", "e212.imsi",
    "s1ap.procedureCode", "s1ap.S1AP_PDU", "s1ap.gTP_TEID", "nas_eps.nas_msg_emm_type", "nas_eps.esm.pdn_ipv4", "gsm_a.dtap.rand",
    "gsm_a.dtap.autn", "nas_eps.emm.res", "nas_eps.emm.m_tmsi", "diameter.RAND", "diameter.AUTN", "diameter.XRES", "diameter.User-Name",
    "diameter.Framed-IP-Address.IPv4", "gtp.teid",
)
_Rows = list[dict[str, list[str]]]


def _plain(value: str) -> str:
    """Without the marks by which tshark's fields of different types differ."""
    return value.replace(":", "").removeprefix("0x").lower()


class _Seen:
    """Values by what they mean, each with the messages that it was seen in."""

    def __init__(self) -> None:
        self.values: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def note(self, meaning: str, where: str, values: list[str]) -> None:
        for value in values:
            self.values[meaning][_plain(value)].add(where)

    def contradictions(self) -> list[str]:
        return [
            f"{meaning}: " + ", ".join(f"{value} in {' and '.join(sorted(where))}" for value, where in sorted(values.items()))
            for meaning, values in self.values.items() if len(values) > 1]


def contradictions(capture: Path) -> list[str]:
    """Values of one UE's attach that differ between the messages that must agree on them. Runs tshark once."""
    lines = table(capture, "-Y", "s1ap || nas-eps || gtpv2 || diameter || gtp", fields=_FIELDS)
    rows = [{field: re.findall(r"[^,]+", value) for field, value in zip(_FIELDS, line, strict=True)} for line in lines]
    seen = _Seen()
    for row in rows:
        _note_signalling(seen, row)
    return seen.contradictions() + _unannounced_user_plane(seen, rows)


_TUNNEL_OF_INTERFACE_TYPE = {       # TS 29.274 table 8.22-1
    "10": "t1 S11 MME", "6": "t2 S5/S8-C SGW", "4": "t3 S5/S8-U SGW", "7": "t4 S5/S8-C PGW", "5": "t5 S5/S8-U PGW", "11": "t6 S11 SGW",
    "1": "t7 S1-U SGW", "0": "t8 S1-U eNodeB",
}
_GTP_NAMES = {"32": "Create Session Request", "33": "Create Session Response", "34": "Modify Bearer Request", "35": "Modify Bearer Response"}


def _note_signalling(seen: _Seen, row: dict[str, list[str]]) -> None:
    name = _GTP_NAMES.get("".join(row["gtpv2.message_type"]))
    if name is not None:
        for interface_type, teid in zip(row["gtpv2.f_teid_interface_type"], row["gtpv2.f_teid_gre_key"], strict=True):
            if int(teid, 16):               # of the PGW, the Create Session Request gives the address only
                seen.note(_TUNNEL_OF_INTERFACE_TYPE[interface_type], name, [teid])
        is_s11 = bool({"0", "1", "10", "11"} & set(row["gtpv2.f_teid_interface_type"]))
        addressed = {"Create Session Response": ("t1 S11 MME", "t2 S5/S8-C SGW"), "Modify Bearer Response": ("t1 S11 MME", "t2 S5/S8-C SGW"),
                     "Modify Bearer Request": ("t6 S11 SGW", "t4 S5/S8-C PGW")}
        if name in addressed:
            seen.note(addressed[name][0 if is_s11 else 1], f"the header of {name}", row["gtpv2.teid"])
        if name == "Create Session Response":
            seen.note("UE's IPv4 address", name, row["gtpv2.pdn_addr_and_prefix.ipv4"])
        seen.note("IMSI", name, row["e212.imsi"])
    if row["s1ap.procedureCode"] == ["9"]:
        is_request = row["s1ap.S1AP_PDU"] == ["0"]
        where = "Initial Context Setup Request" if is_request else "Initial Context Setup Response"
        seen.note("t7 S1-U SGW" if is_request else "t8 S1-U eNodeB", where, row["s1ap.gTP_TEID"])
    seen.note("UE's IPv4 address", "Attach Accept", row["nas_eps.esm.pdn_ipv4"])
    seen.note("UE's IPv4 address", "Credit-Control-Request", row["diameter.Framed-IP-Address.IPv4"])
    seen.note("IMSI", "Diameter User-Name", row["diameter.User-Name"])
    if "0x42" in row["nas_eps.nas_msg_emm_type"] or "0x45" in row["nas_eps.nas_msg_emm_type"]:
        seen.note("M-TMSI", "Attach Accept" if "0x42" in row["nas_eps.nas_msg_emm_type"] else "Detach Request", row["nas_eps.emm.m_tmsi"])
    for meaning, s6a, over_the_air in (("RAND", "diameter.RAND", "gsm_a.dtap.rand"), ("AUTN", "diameter.AUTN", "gsm_a.dtap.autn"),
                                       ("XRES and RES", "diameter.XRES", "nas_eps.emm.res")):
        seen.note(meaning, "Authentication-Information-Answer", row[s6a])
        seen.note(meaning, "NAS", row[over_the_air])


def _unannounced_user_plane(seen: _Seen, rows: _Rows) -> list[str]:
    """G-PDUs in tunnels that no message has announced."""
    announced = {teid for meaning in ("t3 S5/S8-U SGW", "t5 S5/S8-U PGW", "t7 S1-U SGW", "t8 S1-U eNodeB") for teid in seen.values[meaning]}
    carried = {_plain(teid) for row in rows for teid in row["gtp.teid"]}
    return [f"G-PDUs to TEID {teid}, which no message has announced" for teid in sorted(carried - announced)]
