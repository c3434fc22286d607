"""E-RAB Modify (TS 36.413 clause 8.2.2): other QoS for bearers, or another tunnel end of the SGW."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid
from epc.procedure import TimerExpired, procedure
from epc.wire.identity import Ebi
from epc.wire.s1ap import (
    Cause,
    ERABItem,
    ERABModifyItemBearerModRes,
    ERABModifyRequest,
    ERABModifyResponse,
    ERABToBeModifiedItemBearerModReq,
)
from ran.enb.bearers import is_possible, reconfigure
from ran.enb.causes import DUPLICATE_E_RAB, INVALID_QOS, RADIO_FAILURE, TRANSPORT, UNKNOWN_E_RAB, Refusal
from ran.enb.collisions import BEHIND_EACH_OTHER
from ran.enb.identity import host_of
from ran.enb.radio import RadioBearer, Reconfiguration
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb


@procedure(spec="TS 36.413 clause 8.2.2", starts_on=ERABModifyRequest, collisions=BEHIND_EACH_OTHER)
async def erab_modify(enb: Enb, ue: UeContext, request: ERABModifyRequest) -> None:
    items = request.e_rab_to_be_modified_list_bearer_mod_req
    times = Counter(item.e_rab_id for item in items)
    failed: list[ERABItem] = []
    accepted: list[ERABToBeModifiedItemBearerModReq] = []
    for item in items:
        cause = enb.behaviour.refuse_modifications or objection(ue, item, times[item.e_rab_id])
        if cause is None:
            accepted.append(item)
        else:
            failed.append(ERABItem(e_rab_id=item.e_rab_id, cause=cause))
    try:
        if accepted:
            await reconfigure(enb, ue, Reconfiguration(
                modified=tuple(RadioBearer(ebi=Ebi(item.e_rab_id), qci=item.e_rab_level_qos_parameters.qci) for item in accepted),
                nas=tuple(item.nas_pdu for item in accepted)))
    except (Refusal, TimerExpired) as error:
        cause = error.s1ap_cause if isinstance(error, Refusal) else RADIO_FAILURE
        respond(ue, request, [], [*failed, *(ERABItem(e_rab_id=item.e_rab_id, cause=cause) for item in accepted)])
        raise
    enb.user_plane.set_aggregate_rate(ue, request.ue_aggregate_maximum_bitrate)
    for item in accepted:
        bearer = ue.bearers[Ebi(item.e_rab_id)]
        enb.user_plane.change_qos(bearer, item.e_rab_level_qos_parameters)
        moved = item.transport_information
        host = host_of(moved.transport_layer_address) if moved is not None else None
        if moved is not None and host is not None:
            enb.user_plane.move(bearer, FTeid(teid=int.from_bytes(moved.ul_gtp_teid, "big"), address=host))
    respond(ue, request, accepted, failed)


def objection(ue: UeContext, item: ERABToBeModifiedItemBearerModReq, times: int) -> Cause | None:
    if times > 1:
        return DUPLICATE_E_RAB
    if item.e_rab_id not in ue.bearers:
        return UNKNOWN_E_RAB
    if not is_possible(item.e_rab_level_qos_parameters):
        return INVALID_QOS
    if item.transport_information is not None and host_of(item.transport_information.transport_layer_address) is None:
        return TRANSPORT
    return None


def respond(ue: UeContext, request: ERABModifyRequest, accepted: list[ERABToBeModifiedItemBearerModReq], failed: list[ERABItem]) -> None:
    ue.send(ERABModifyResponse(
        mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id,
        e_rab_modify_list_bearer_mod_res=tuple(ERABModifyItemBearerModRes(e_rab_id=item.e_rab_id) for item in accepted) or None,
        e_rab_failed_to_modify_list=tuple(failed) or None))
