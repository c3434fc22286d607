"""Other QoS for bearers of a connected phone: TS 36.413 clause 8.2.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epc.mme.initial_context_setup import e_rab_qos
from epc.mme.subscription import s1_ue_ambr
from epc.mme.ue_context import Bearer
from epc.procedure import Reject, TimerExpired
from epc.wire import s1ap
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


async def erab_modify(mme: Mme, ue: UeContext, wanted: Sequence[tuple[Bearer, bytes]]) -> set[int]:
    """The bearers as they are to be, each with a NAS message for the phone. Returns those that stay as they were. Raises :class:`Reject`."""
    connection = ue.link
    try:
        answer = await connection.s1.request(
            s1ap.ERABModifyRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                ue_aggregate_maximum_bitrate=s1_ue_ambr(ue),
                e_rab_to_be_modified_list_bearer_mod_req=tuple([
                    s1ap.ERABToBeModifiedItemBearerModReq(
                        e_rab_id=bearer.ebi, e_rab_level_qos_parameters=e_rab_qos(bearer), nas_pdu=nas_pdu)
                    for bearer, nas_pdu in wanted])),
            s1ap.ERABModifyResponse, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    modified = {item.e_rab_id for item in answer.e_rab_modify_list_bearer_mod_res or ()}
    return {bearer.ebi for bearer, _ in wanted} - modified
