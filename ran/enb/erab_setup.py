"""E-RAB Setup (TS 36.413 clause 8.2.1): further bearers for a connected UE."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from epc.procedure import TimerExpired, procedure
from epc.wire.s1ap import Cause, ERABItem, ERABSetupItemBearerSURes, ERABSetupRequest, ERABSetupResponse
from ran.enb.bearers import nas_of, radio_bearers, reconfigure, set_up_tunnels
from ran.enb.causes import RADIO_FAILURE, Refusal
from ran.enb.collisions import BEHIND_EACH_OTHER
from ran.enb.identity import transport_layer_address
from ran.enb.radio import Reconfiguration
from ran.enb.ue_context import Bearer, UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb


@procedure(spec="TS 36.413 clause 8.2.1", starts_on=ERABSetupRequest, collisions=BEHIND_EACH_OTHER)
async def erab_setup(enb: Enb, ue: UeContext, request: ERABSetupRequest) -> None:
    items = request.e_rab_to_be_setup_list_bearer_su_req
    enb.user_plane.set_aggregate_rate(ue, request.ue_aggregate_maximum_bitrate)
    async with AsyncExitStack() as undo:
        admitted, failed = set_up_tunnels(enb, ue, items)
        for bearer in admitted:
            undo.callback(enb.user_plane.release, ue, bearer.ebi)
        try:
            if admitted:
                await reconfigure(enb, ue, Reconfiguration(set_up=radio_bearers(admitted), nas=nas_of(items, admitted)))
        except Refusal as error:
            respond(ue, request, (), (*failed, *all_failed(admitted, error.s1ap_cause)))
            raise
        except TimerExpired:
            respond(ue, request, (), (*failed, *all_failed(admitted, RADIO_FAILURE)))
            raise
        undo.pop_all()
    respond(ue, request, admitted, failed)


def all_failed(bearers: tuple[Bearer, ...], cause: Cause) -> tuple[ERABItem, ...]:
    return tuple(ERABItem(e_rab_id=bearer.ebi, cause=cause) for bearer in bearers)


def respond(ue: UeContext, request: ERABSetupRequest, admitted: tuple[Bearer, ...], failed: tuple[ERABItem, ...]) -> None:
    ue.send(ERABSetupResponse(
        mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id,
        e_rab_setup_list_bearer_su_res=tuple(
            ERABSetupItemBearerSURes(
                e_rab_id=bearer.ebi, transport_layer_address=transport_layer_address(bearer.s1u_enb_teid.address),
                gtp_teid=bearer.s1u_enb_teid.teid.to_bytes(4, "big"))
            for bearer in admitted) or None,
        e_rab_failed_to_setup_list_bearer_su_res=failed or None))
