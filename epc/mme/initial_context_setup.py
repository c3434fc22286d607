"""The eNodeB gets security and bearers for a phone: TS 36.413 clause 8.3.1."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from epc.mme.subscription import s1_ue_ambr
from epc.mme.ue_context import Bearer
from epc.procedure import Reject, TimerExpired
from epc.wire import s1ap
from epc.wire.nas import EmmCause, EsmCause, UeNetworkCapability

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def initial_context_setup(mme: Mme, ue: UeContext, nas_pdu: bytes | None = None) -> None:
    """Set up every bearer of ``ue``; ``nas_pdu`` goes to the phone with the first. Stores the eNodeB's ends of the tunnels.

    Raises :class:`Reject` when the eNodeB refuses, is silent, or sets up no default bearer.
    """
    connection, session, security = ue.link, ue.session, ue.security
    capability = ue.ue_network_capability
    if session is None or security is None or capability is None:
        raise Reject(EmmCause.NETWORK_FAILURE, "nothing to set up", inner=EsmCause.NETWORK_FAILURE)
    bearers = {bearer.ebi: bearer for bearer in session.bearers()}
    first = min(bearers)
    request = s1ap.InitialContextSetupRequest(
        mme_ue_s1ap_id=connection.mme_ue_s1ap_id,
        enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
        ue_aggregate_maximum_bitrate=s1_ue_ambr(ue),
        e_rab_to_be_setup_list_ctxt_su_req=tuple([
            s1ap.ERABToBeSetupItemCtxtSUReq(
                e_rab_id=bearer.ebi, e_rab_level_qos_parameters=e_rab_qos(bearer),
                transport_layer_address=s1ap.BitString.of(bearer.s1u_sgw_address.packed), gtp_teid=bearer.s1u_sgw_teid.to_bytes(4, "big"),
                nas_pdu=nas_pdu if bearer.ebi == first else None)
            for bearer in bearers.values()]),
        ue_security_capabilities=s1_security_capabilities(capability),
        security_key=s1ap.BitString.of(security.derive_kenb()),
        ue_radio_capability=ue.ue_radio_capability,
    )
    connection.e_rabs.update(bearers)
    connection.radio_security = security
    try:
        answer = await connection.s1.request(
            request, s1ap.InitialContextSetupResponse, s1ap.InitialContextSetupFailure, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.NETWORK_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    if not isinstance(answer, s1ap.InitialContextSetupResponse):
        why = answer.cause.value if isinstance(answer, s1ap.InitialContextSetupFailure) else ""
        raise Reject(EmmCause.ESM_FAILURE, f"the eNodeB refused: {why}", inner=EsmCause.INSUFFICIENT_RESOURCES)
    connection.has_radio_context = True
    for item in answer.e_rab_setup_list_ctxt_su_res:
        bearer = bearers.get(item.e_rab_id)
        if bearer is not None:
            learn_enb_end(bearer, item.transport_layer_address, item.gtp_teid)
    if not any(pdn.bearers[pdn.linked_ebi].s1u_enb_teid is not None for pdn in session.pdns.values()):
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB set up no default bearer", inner=EsmCause.INSUFFICIENT_RESOURCES)


def learn_enb_end(bearer: Bearer, address: s1ap.BitString, teid: bytes) -> None:
    """t8. Of a dual-stack address (TS 36.414 clause 5.3, IPv4 first) the IPv4 part is used."""
    octets = address.octets
    bearer.s1u_enb_address = ip_address(octets[:4] if len(octets) in (4, 20) else octets.ljust(16, b"\0"))
    bearer.s1u_enb_teid = int.from_bytes(teid, "big")


def e_rab_qos(bearer: Bearer) -> s1ap.ERABLevelQoSParameters:
    """The bearer's QoS in S1AP's terms: TS 36.413 clause 9.2.1.15."""
    qos = bearer.qos
    gbr = None
    if qos.gbr_uplink_kbps or qos.gbr_downlink_kbps:
        gbr = s1ap.GBRQosInformation(
            e_rab_maximum_bitrate_dl=qos.mbr_downlink_kbps * 1000, e_rab_maximum_bitrate_ul=qos.mbr_uplink_kbps * 1000,
            e_rab_guaranteed_bitrate_dl=qos.gbr_downlink_kbps * 1000, e_rab_guaranteed_bitrate_ul=qos.gbr_uplink_kbps * 1000)
    return s1ap.ERABLevelQoSParameters(
        qci=qos.qci,
        allocation_retention_priority=s1ap.AllocationAndRetentionPriority(
            priority_level=qos.arp.priority_level,
            pre_emption_capability="may-trigger-pre-emption" if qos.arp.pre_emption_capability else "shall-not-trigger-pre-emption",
            pre_emption_vulnerability="pre-emptable" if qos.arp.pre_emption_vulnerability else "not-pre-emptable"),
        gbr_qos_information=gbr)


def s1_security_capabilities(capability: UeNetworkCapability) -> s1ap.UESecurityCapabilities:
    """Sixteen bits each, the first for algorithm 1: TS 36.413 clause 9.2.1.40."""
    return s1ap.UESecurityCapabilities(
        encryption_algorithms=s1ap.BitString(sum([0x10000 >> number for number in capability.eea if number]), 16),
        integrity_protection_algorithms=s1ap.BitString(sum([0x10000 >> number for number in capability.eia if number]), 16))
