"""Further bearers at an eNodeB that has a context for the phone: TS 36.413 clause 8.2.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epc.mme.initial_context_setup import e_rab_qos, learn_enb_end
from epc.mme.subscription import s1_ue_ambr
from epc.mme.ue_context import Bearer
from epc.procedure import Reject, TimerExpired
from epc.wire import s1ap
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def erab_setup(mme: Mme, ue: UeContext, wanted: Sequence[tuple[Bearer, bytes]]) -> dict[int, s1ap.Cause]:
    """Set the bearers up; with each goes a NAS message for the phone. Returns those that the eNodeB refuses. Raises :class:`Reject`."""
    connection = ue.link
    bearers = {bearer.ebi: bearer for bearer, _ in wanted}
    connection.e_rabs.update(bearers)
    try:
        answer = await connection.s1.request(
            s1ap.ERABSetupRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                ue_aggregate_maximum_bitrate=s1_ue_ambr(ue),
                e_rab_to_be_setup_list_bearer_su_req=tuple([
                    s1ap.ERABToBeSetupItemBearerSUReq(
                        e_rab_id=bearer.ebi, e_rab_level_qos_parameters=e_rab_qos(bearer),
                        transport_layer_address=s1ap.BitString.of(bearer.s1u_sgw_address.packed), gtp_teid=bearer.s1u_sgw_teid.to_bytes(4, "big"),
                        nas_pdu=nas_pdu)
                    for bearer, nas_pdu in wanted])),
            s1ap.ERABSetupResponse, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    for item in answer.e_rab_setup_list_bearer_su_res or ():
        if item.e_rab_id in bearers:
            learn_enb_end(bearers[item.e_rab_id], item.transport_layer_address, item.gtp_teid)
    causes = {item.e_rab_id: item.cause for item in answer.e_rab_failed_to_setup_list_bearer_su_res or ()}
    refused = {ebi: causes.get(ebi, _UNSAID) for ebi, bearer in bearers.items() if bearer.s1u_enb_teid is None}
    connection.e_rabs.difference_update(refused)
    return refused


_UNSAID = s1ap.Cause("radioNetwork", "unspecified")
