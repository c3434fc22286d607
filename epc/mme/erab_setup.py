"""A further bearer at an eNodeB that has a context for the phone: TS 36.413 clause 8.2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.initial_context_setup import e_rab_qos, learn_enb_end
from epc.mme.subscription import ue_ambr_kbps
from epc.mme.ue_context import PdnConnection
from epc.procedure import Reject, TimerExpired
from epc.wire import s1ap
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def erab_setup(mme: Mme, ue: UeContext, pdn: PdnConnection, nas_pdu: bytes) -> None:
    """Set up the default bearer of ``pdn``; ``nas_pdu`` goes to the phone with it. Raises :class:`Reject`."""
    connection = ue.link
    bearer = pdn.bearers[pdn.linked_ebi]
    downlink_kbps, uplink_kbps = ue_ambr_kbps(ue)
    connection.e_rabs.add(bearer.ebi)
    try:
        answer = await connection.s1.request(
            s1ap.ERABSetupRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                ue_aggregate_maximum_bitrate=s1ap.UEAggregateMaximumBitrate(
                    ue_aggregate_maximum_bit_rate_dl=min(downlink_kbps * 1000, 10_000_000_000),
                    ue_aggregate_maximum_bit_rate_ul=min(uplink_kbps * 1000, 10_000_000_000)),
                e_rab_to_be_setup_list_bearer_su_req=(s1ap.ERABToBeSetupItemBearerSUReq(
                    e_rab_id=bearer.ebi, e_rab_level_qos_parameters=e_rab_qos(bearer),
                    transport_layer_address=s1ap.BitString.of(bearer.s1u_sgw_address.packed), gtp_teid=bearer.s1u_sgw_teid.to_bytes(4, "big"),
                    nas_pdu=nas_pdu),)),
            s1ap.ERABSetupResponse, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    for item in answer.e_rab_setup_list_bearer_su_res or ():
        if item.e_rab_id == bearer.ebi:
            learn_enb_end(bearer, item.transport_layer_address, item.gtp_teid)
            return
    connection.e_rabs.discard(bearer.ebi)
    raise Reject(EmmCause.ESM_FAILURE, "the eNodeB refused the bearer", inner=EsmCause.INSUFFICIENT_RESOURCES)
