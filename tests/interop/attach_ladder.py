"""One Attach and Detach as messages, made by hand: what the presence checks are tried on, independent of any node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from epc.transport.capture import udp_packet
from epc.transport.interface import Address, Carrier
from epc.wire import diameter, gtpu, gtpv2, nas, s1ap
from epc.wire.diameter import gx, s6a
from epc.wire.diameter.groups import AllocationRetentionPriority, RatType, SubscriptionId, SubscriptionIdType, TerminationCause
from epc.wire.diameter.policy import ChargingRuleInstall, DefaultEpsBearerQos, QosInformation
from epc.wire.diameter.subscription import Ambr, ApnConfiguration, ApnConfigurationProfile, EpsSubscribedQosProfile, SubscriptionData
from epc.wire.gtpv2 import InterfaceType
from epc.wire.identity import Ebi, Imsi, Plmn
from tests.interop.tshark import Sample

IMSI, IMEISV, PLMN, APN, TAC, ECI, EBI = Imsi("214070123456789"), "3534900698733190", Plmn("21407"), "internet", 7, 0xABCDE01, Ebi(5)
T1, T2, T3, T4, T5, T6, T7, T8 = (0x10000000 + number for number in range(1, 9))
MME, SGW, PGW, ENB, PHONE = (IPv4Address(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "10.45.0.2"))
RAND, AUTN, KASME, RES = bytes(range(16)), bytes(range(6)) + b"\x80\0" + bytes(8), bytes(32), bytes(range(8))
UPLINK_BPS, DOWNLINK_BPS = 50_000_000, 100_000_000
GUTI = nas.Guti(plmn=PLMN, mme_group_id=1, mme_code=1, m_tmsi=0xC0FFEE01)
KEY_SET = nas.NasKeySetIdentifier(value=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gtp:
    message: gtpv2.Message
    teid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nas:
    """A NAS message in the S1AP message that ``carry`` makes; ``header_type`` 0 is plain."""

    message: nas.EmmMessage
    header_type: int
    is_downlink: bool
    carry: Callable[[bytes], Any]


def ladder() -> dict[str, Any]:
    """The messages by name, in order: S1AP and Diameter messages, GTP-U datagrams, :class:`Gtp` and :class:`Nas`."""
    return {**_s1_setup(), **_up_to_location_update(), **_session(), **_bearer(), **_detach()}


def samples(messages: dict[str, Any], *, ciphered: bool) -> Iterator[Sample]:
    """As packets; ``ciphered`` makes NAS unreadable where it may be, and adds readable copies as the lab's captures have them."""
    for name, message in messages.items():
        match message:
            case Nas():
                yield from _nas_samples(name, message, ciphered)
            case Gtp():
                yield Sample(name=name, payload=gtpv2.encode(message.message, teid=message.teid, sequence=1), carrier=Carrier.UDP, port=2123)
            case bytes():
                yield Sample(name=name, payload=message, carrier=Carrier.UDP, port=2152)
            case s1ap.Message():
                yield Sample(name=name, payload=s1ap.encode(message), carrier=Carrier.SCTP, port=36412, ppid=18)
            case _:
                yield Sample(name=name, payload=diameter.encode(message, hop_by_hop=1, end_to_end=1), carrier=Carrier.TCP, port=3868,
                             is_downlink=not isinstance(message, diameter.Request))


def _nas_samples(name: str, step: Nas, ciphered: bool) -> Iterator[Sample]:
    octets = plain = nas.encode(step.message)
    is_unreadable = ciphered and step.header_type in (2, 4)
    if step.header_type:
        octets = nas.encode(nas.SecurityProtected(
            security_header_type=nas.SecurityHeaderType(step.header_type), message_authentication_code=b"mac!", sequence_number=0,
            payload=bytes(octet ^ 0x5A for octet in plain) if is_unreadable else plain))
    yield Sample(name=name, payload=s1ap.encode(step.carry(octets)), carrier=Carrier.SCTP, port=36412, is_downlink=step.is_downlink, ppid=18)
    if is_unreadable:
        yield Sample(name=name, payload=plain, carrier=Carrier.SCTP, port=36412, is_downlink=step.is_downlink, dissector="nas-eps_plain")


# --- the parts ---------------------------------------------------------------------------------------------------------------------

_IDS: dict[str, Any] = {"mme_ue_s1ap_id": 1, "enb_ue_s1ap_id": 2}
_PLACE: dict[str, Any] = {
    "eutran_cgi": s1ap.EUTRANCGI(plmn_identity=s1ap.encode_plmn_identity(PLMN), cell_id=s1ap.BitString(ECI, 28)),
    "tai": s1ap.TAI(plmn_identity=s1ap.encode_plmn_identity(PLMN), tac=TAC.to_bytes(2, "big"))}
_ULI = gtpv2.Uli(tai=gtpv2.Tai(PLMN, TAC), ecgi=gtpv2.Ecgi(PLMN, ECI))
_ACCEPTED = gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)
_ARP = AllocationRetentionPriority(priority_level=8)
_S6A: dict[str, Any] = {"session_id": "mme.example;1;1", "origin_host": "mme.example", "origin_realm": "example"}
_GX: dict[str, Any] = {"session_id": "pgw.example;1;1", "origin_host": "pgw.example", "origin_realm": "example"}
_SUCCESS = diameter.ResultCode.DIAMETER_SUCCESS


def _fteid(interface_type: InterfaceType, teid: int, address: IPv4Address) -> gtpv2.Fteid:
    return gtpv2.Fteid(interface_type=interface_type, teid=teid, ipv4=address)


def _up(message: nas.EmmMessage, header_type: int = 0) -> Nas:
    return Nas(message=message, header_type=header_type, is_downlink=False,
               carry=lambda pdu: s1ap.UplinkNASTransport(**_IDS, **_PLACE, nas_pdu=pdu))


def _down(message: nas.EmmMessage, header_type: int = 0) -> Nas:
    return Nas(message=message, header_type=header_type, is_downlink=True, carry=lambda pdu: s1ap.DownlinkNASTransport(**_IDS, nas_pdu=pdu))


def _s1_setup() -> dict[str, Any]:
    plmn = s1ap.encode_plmn_identity(PLMN)
    return {
        "S1 Setup Request": s1ap.S1SetupRequest(
            global_enb_id=s1ap.GlobalENBID(plmn_identity=plmn, enb_id=s1ap.ENBID("macroENB-ID", s1ap.BitString(ECI >> 8, 20))),
            supported_tas=(s1ap.SupportedTAsItem(tac=TAC.to_bytes(2, "big"), broadcast_plmns=(plmn,)),), default_paging_drx="v128"),
        "S1 Setup Response": s1ap.S1SetupResponse(
            served_gummeis=(s1ap.ServedGUMMEIsItem(served_plmns=(plmn,), served_group_ids=(b"\0\1",), served_mmecs=(b"\1",)),),
            relative_mme_capacity=255),
    }


def _up_to_location_update() -> dict[str, Any]:
    request = nas.AttachRequest(
        eps_attach_type=nas.EpsAttachType.EPS_ATTACH, nas_key_set_identifier=nas.NasKeySetIdentifier(value=7),
        eps_mobile_identity=nas.ImsiIdentity(imsi=IMSI), ue_network_capability=nas.UeNetworkCapability(eea=(0, 2), eia=(1, 2)),
        esm_message_container=nas.encode(nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=1)))
    command = nas.SecurityModeCommand(
        selected_nas_security_algorithms=nas.NasSecurityAlgorithms(ciphering=2, integrity=2), nas_key_set_identifier=KEY_SET,
        replayed_ue_security_capabilities=nas.UeSecurityCapability(eea=(0, 2), eia=(1, 2)), imeisv_request=nas.ImeisvRequest.REQUESTED)
    vector = s6a.EUtranVector(rand=RAND, xres=RES, autn=AUTN, kasme=KASME)
    internet = ApnConfiguration(
        context_identifier=1, pdn_type=0, service_selection=APN,
        eps_subscribed_qos_profile=EpsSubscribedQosProfile(qos_class_identifier=9, allocation_retention_priority=_ARP))
    return {
        "Attach Request": Nas(message=request, header_type=0, is_downlink=False, carry=lambda pdu: s1ap.InitialUEMessage(
            enb_ue_s1ap_id=2, nas_pdu=pdu, rrc_establishment_cause="mo-Signalling", **_PLACE)),
        "Authentication-Information-Request": s6a.AuthenticationInformationRequest(
            **_S6A, destination_realm="example", user_name=IMSI, visited_plmn_id=PLMN,
            requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(number_of_requested_vectors=1)),
        "Authentication-Information-Answer": s6a.AuthenticationInformationAnswer(
            **_S6A, result_code=_SUCCESS, authentication_info=s6a.AuthenticationInfo(e_utran_vector=(vector,))),
        "Authentication Request": _down(nas.AuthenticationRequest(nas_key_set_identifier=KEY_SET, rand=RAND, autn=AUTN)),
        "Authentication Response": _up(nas.AuthenticationResponse(res=RES)),
        "Security Mode Command": _down(command, 3),
        "Security Mode Complete": _up(nas.SecurityModeComplete(imeisv=nas.ImeisvIdentity(imeisv=IMEISV)), 4),
        "Update-Location-Request": s6a.UpdateLocationRequest(
            **_S6A, destination_realm="example", user_name=IMSI, visited_plmn_id=PLMN, rat_type=RatType.EUTRAN,
            ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.INITIAL_ATTACH_INDICATOR),
        "Update-Location-Answer": s6a.UpdateLocationAnswer(
            **_S6A, result_code=_SUCCESS, ula_flags=s6a.UlaFlags.SEPARATION_INDICATION, subscription_data=SubscriptionData(
                subscriber_status=0, network_access_mode=2,
                ambr=Ambr(max_requested_bandwidth_ul=UPLINK_BPS, max_requested_bandwidth_dl=DOWNLINK_BPS),
                apn_configuration_profile=ApnConfigurationProfile(
                    context_identifier=1, all_apn_configurations_included_indicator=0, apn_configuration=(internet,)))),
    }


def _session_request(sender: gtpv2.Fteid, pgw: gtpv2.Fteid | None, s5u_sgw: gtpv2.Fteid | None) -> gtpv2.CreateSessionRequest:
    return gtpv2.CreateSessionRequest(
        imsi=IMSI, mei=IMEISV, uli=_ULI, serving_network=PLMN, rat_type=gtpv2.RatType.EUTRAN, sender_fteid=sender, pgw_fteid=pgw, apn=APN,
        selection_mode=0, pdn_type=gtpv2.PdnType.IPV4, paa=gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4, ipv4=IPv4Address(0)), maximum_apn_restriction=0,
        ambr=gtpv2.Ambr(uplink_kbps=UPLINK_BPS // 1000, downlink_kbps=DOWNLINK_BPS // 1000),
        bearer_contexts_to_be_created=(gtpv2.BearerContextToBeCreated(
            ebi=EBI, s5u_sgw_fteid=s5u_sgw, bearer_qos=gtpv2.BearerQos(qci=9, arp=gtpv2.Arp(priority_level=8))),))


def _session_response(sender: gtpv2.Fteid | None, s1u_sgw: gtpv2.Fteid | None) -> gtpv2.CreateSessionResponse:
    return gtpv2.CreateSessionResponse(
        cause=_ACCEPTED, sender_fteid=sender, pgw_fteid=_fteid(InterfaceType.S5_S8_PGW_GTP_C, T4, PGW),
        paa=gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4, ipv4=PHONE), apn_restriction=0, bearer_contexts_created=(gtpv2.BearerContextCreated(
            ebi=EBI, cause=_ACCEPTED, s1u_sgw_fteid=s1u_sgw, s5u_pgw_fteid=_fteid(InterfaceType.S5_S8_PGW_GTP_U, T5, PGW), charging_id=1),))


def _session() -> dict[str, Any]:
    qos = DefaultEpsBearerQos(qos_class_identifier=9, allocation_retention_priority=_ARP)
    initial: dict[str, Any] = {"cc_request_type": gx.CcRequestType.INITIAL_REQUEST, "cc_request_number": 0, "default_eps_bearer_qos": qos}
    return {
        "Create Session Request on S11": Gtp(teid=0, message=_session_request(
            _fteid(InterfaceType.S11_MME_GTP_C, T1, MME), _fteid(InterfaceType.S5_S8_PGW_GTP_C, 0, PGW), None)),
        "Create Session Request on S5/S8": Gtp(teid=0, message=_session_request(
            _fteid(InterfaceType.S5_S8_SGW_GTP_C, T2, SGW), None, _fteid(InterfaceType.S5_S8_SGW_GTP_U, T3, SGW))),
        "Credit-Control-Request INITIAL": gx.CreditControlRequest(
            **_GX, **initial, destination_realm="example", framed_ip_address=PHONE, ip_can_type=gx.IpCanType.TGPP_EPS, rat_type=RatType.EUTRAN,
            subscription_id=(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=IMSI),),
            qos_information=QosInformation(apn_aggregate_max_bitrate_ul=UPLINK_BPS, apn_aggregate_max_bitrate_dl=DOWNLINK_BPS),
            an_gw_address=(SGW,), called_station_id=APN),
        "Credit-Control-Answer INITIAL": gx.CreditControlAnswer(
            **_GX, **initial, result_code=_SUCCESS, charging_rule_install=(ChargingRuleInstall(charging_rule_name=(b"everything",)),)),
        "Create Session Response on S5/S8": Gtp(teid=T2, message=_session_response(None, None)),
        "Create Session Response on S11": Gtp(teid=T1, message=_session_response(
            _fteid(InterfaceType.S11_S4_SGW_GTP_C, T6, SGW), _fteid(InterfaceType.S1_U_SGW_GTP_U, T7, SGW))),
    }


def _bearer() -> dict[str, Any]:
    activation = nas.ActivateDefaultEpsBearerContextRequest(
        eps_bearer_identity=EBI, procedure_transaction_identity=1, eps_qos=nas.EpsQos(qci=9), access_point_name=APN,
        pdn_address=nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=PHONE),
        apn_ambr=nas.ApnAmbr(downlink_kbps=DOWNLINK_BPS // 1000, uplink_kbps=UPLINK_BPS // 1000))
    accept = nas.AttachAccept(
        eps_attach_result=nas.EpsAttachResult.EPS_ONLY, t3412=nas.GprsTimer.of(3240), guti=GUTI, esm_message_container=nas.encode(activation),
        tai_list=nas.TaiList(partial_lists=(nas.NonConsecutiveTacs(plmn=PLMN, tacs=(TAC,)),)))
    complete = nas.AttachComplete(esm_message_container=nas.encode(nas.ActivateDefaultEpsBearerContextAccept(eps_bearer_identity=EBI)))
    qos = s1ap.ERABLevelQoSParameters(qci=9, allocation_retention_priority=s1ap.AllocationAndRetentionPriority(
        priority_level=8, pre_emption_capability="shall-not-trigger-pre-emption", pre_emption_vulnerability="pre-emptable"))
    s1u_enb = _fteid(InterfaceType.S1_U_ENODEB_GTP_U, T8, ENB)
    uplink = udp_packet(Address(str(PHONE), 40000), Address("198.51.100.1", 50000), b"up")
    downlink = udp_packet(Address("198.51.100.1", 50000), Address(str(PHONE), 40000), b"down")
    return {
        "Attach Accept": Nas(message=accept, header_type=2, is_downlink=True, carry=lambda pdu: s1ap.InitialContextSetupRequest(
            **_IDS, ue_aggregate_maximum_bitrate=s1ap.UEAggregateMaximumBitrate(
                ue_aggregate_maximum_bit_rate_dl=DOWNLINK_BPS, ue_aggregate_maximum_bit_rate_ul=UPLINK_BPS),
            e_rab_to_be_setup_list_ctxt_su_req=(s1ap.ERABToBeSetupItemCtxtSUReq(
                e_rab_id=EBI, e_rab_level_qos_parameters=qos, transport_layer_address=s1ap.BitString.of(SGW.packed),
                gtp_teid=T7.to_bytes(4, "big"), nas_pdu=pdu),),
            ue_security_capabilities=s1ap.UESecurityCapabilities(
                encryption_algorithms=s1ap.BitString(0x4000, 16), integrity_protection_algorithms=s1ap.BitString(0xC000, 16)),
            security_key=s1ap.BitString.of(KASME))),
        "Initial Context Setup Response": s1ap.InitialContextSetupResponse(**_IDS, e_rab_setup_list_ctxt_su_res=(s1ap.ERABSetupItemCtxtSURes(
            e_rab_id=EBI, transport_layer_address=s1ap.BitString.of(ENB.packed), gtp_teid=T8.to_bytes(4, "big")),)),
        "Attach Complete": _up(complete, 2),
        "Modify Bearer Request": Gtp(teid=T6, message=gtpv2.ModifyBearerRequest(
            bearer_contexts_to_be_modified=(gtpv2.BearerContextToBeModified(ebi=EBI, s1u_enb_fteid=s1u_enb),))),
        "Modify Bearer Response": Gtp(teid=T1, message=gtpv2.ModifyBearerResponse(cause=_ACCEPTED, bearer_contexts_modified=(
            gtpv2.BearerContextModified(ebi=EBI, cause=_ACCEPTED, s1u_sgw_fteid=_fteid(InterfaceType.S1_U_SGW_GTP_U, T7, SGW)),))),
        "G-PDU to the SGW": gtpu.encode(gtpu.GPdu(payload=uplink), teid=T7),
        "G-PDU to the PGW": gtpu.encode(gtpu.GPdu(payload=uplink), teid=T5),
        "G-PDU back to the SGW": gtpu.encode(gtpu.GPdu(payload=downlink), teid=T3),
        "G-PDU to the eNodeB": gtpu.encode(gtpu.GPdu(payload=downlink), teid=T8),
    }


def _detach() -> dict[str, Any]:
    request = nas.DetachRequestFromUe(
        detach_type=nas.DetachType(type_of_detach=nas.TypeOfDetachFromUe.EPS_DETACH), nas_key_set_identifier=KEY_SET, eps_mobile_identity=GUTI)
    final: dict[str, Any] = {"cc_request_type": gx.CcRequestType.TERMINATION_REQUEST, "cc_request_number": 1}
    return {
        "Detach Request": _up(request, 2),
        "Delete Session Request on S11": Gtp(teid=T6, message=gtpv2.DeleteSessionRequest(
            linked_ebi=EBI, uli=_ULI, indication=gtpv2.Indication.OI)),
        "Delete Session Request on S5/S8": Gtp(teid=T4, message=gtpv2.DeleteSessionRequest(linked_ebi=EBI, uli=_ULI)),
        "Credit-Control-Request TERMINATION": gx.CreditControlRequest(
            **_GX, **final, destination_realm="example", termination_cause=TerminationCause.DIAMETER_LOGOUT),
        "Credit-Control-Answer TERMINATION": gx.CreditControlAnswer(**_GX, **final, result_code=_SUCCESS),
        "Delete Session Response on S5/S8": Gtp(teid=T2, message=gtpv2.DeleteSessionResponse(cause=_ACCEPTED)),
        "Delete Session Response on S11": Gtp(teid=T1, message=gtpv2.DeleteSessionResponse(cause=_ACCEPTED)),
        "Detach Accept": _down(nas.DetachAccept(), 2),
        "UE Context Release Command": s1ap.UEContextReleaseCommand(
            ue_s1ap_ids=s1ap.UES1APIDs("uE-S1AP-ID-pair", s1ap.UES1APIDpair(**_IDS)), cause=s1ap.Cause("nas", "detach")),
        "UE Context Release Complete": s1ap.UEContextReleaseComplete(**_IDS),
    }
