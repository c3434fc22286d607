"""E-RAB Release (TS 36.413 clause 8.2.3), by the MME, and the eNodeB's indication that a bearer was lost (clause 8.2.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import procedure
from epc.wire.identity import Ebi
from epc.wire.s1ap import (
    Cause,
    ERABItem,
    ERABReleaseCommand,
    ERABReleaseIndication,
    ERABReleaseItemBearerRelComp,
    ERABReleaseResponse,
)
from ran.enb.bearers import reconfigure
from ran.enb.causes import UNKNOWN_E_RAB
from ran.enb.collisions import BEHIND_EACH_OTHER
from ran.enb.radio import Reconfiguration
from ran.enb.ue_context import UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb


@procedure(spec="TS 36.413 clause 8.2.3", starts_on=ERABReleaseCommand, collisions=BEHIND_EACH_OTHER)
async def erab_release(enb: Enb, ue: UeContext, command: ERABReleaseCommand) -> None:
    wanted = dict.fromkeys(Ebi(item.e_rab_id) for item in command.e_rab_to_be_released_list)
    released = tuple(ebi for ebi in wanted if ebi in ue.bearers)
    nas = (command.nas_pdu,) if command.nas_pdu is not None else ()
    for ebi in released:
        enb.user_plane.release(ue, ebi)
    try:
        if released or nas:
            await reconfigure(enb, ue, Reconfiguration(released=released, nas=nas))
    finally:
        # the bearers are gone whatever the UE says
        ue.send(ERABReleaseResponse(
            mme_ue_s1ap_id=command.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id,
            e_rab_release_list_bearer_rel_comp=tuple(ERABReleaseItemBearerRelComp(e_rab_id=ebi) for ebi in released) or None,
            e_rab_failed_to_release_list=tuple(
                ERABItem(e_rab_id=ebi, cause=UNKNOWN_E_RAB) for ebi in wanted if ebi not in released) or None))


def indicate_release(enb: Enb, ue: UeContext, ebi: Ebi, cause: Cause) -> None:
    """A bearer cannot go on although the UE can."""
    if ue.mme_ue_s1ap_id is None or ebi not in ue.bearers:
        return
    enb.user_plane.release(ue, ebi)
    ue.radio.reconfigure(Reconfiguration(released=(ebi,)))
    ue.send(ERABReleaseIndication(
        mme_ue_s1ap_id=ue.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, e_rab_released_list=(ERABItem(e_rab_id=ebi, cause=cause),)))
