"""Detach by the phone, by the network, and without a word: TS 23.401 clause 5.3.8, TS 24.301 clause 5.5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.paging import page
from epc.mme.ue_context import EmmState
from epc.mme.ue_context_release import DETACH, release
from epc.procedure import Collision, TimerExpired, procedure
from epc.wire import nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(starts_on=nas.DetachRequestFromUe, spec="TS 23.401 clause 5.3.8.2", collisions={nas.AttachRequest: Collision.REPLACE})
async def detach(mme: Mme, ue: UeContext, request: nas.DetachRequestFromUe) -> None:
    connection = ue.link
    accepted = not request.detach_type.switch_off
    if request.detach_type.type_of_detach == nas.TypeOfDetachFromUe.IMSI_DETACH:        # for circuit switched services, which are not offered
        if accepted:
            ue.nas.send(nas.DetachAccept())
        return
    mme.ues.set_state(ue, EmmState.DEREGISTERED)

    #  2-10  sessions end
    if ue.session is not None:
        await mme.s11.delete_session(ue.session, ue)

    # 11     Detach Accept, unless the phone is switched off
    if accepted:
        ue.nas.send(nas.DetachAccept())

    # 12     signalling connection
    release(mme, connection, DETACH)


@procedure(
    accepts=(nas.DetachAccept,), spec="TS 23.401 clauses 5.3.8.3 and 5.3.8.4",
    collisions={
        nas.ServiceRequest: Collision.IGNORE, nas.TrackingAreaUpdateRequest: Collision.IGNORE,      # the phone answers the paging: its wish is moot
        nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE})
async def network_initiated_detach(mme: Mme, ue: UeContext, detach_type: nas.TypeOfDetachToUe, cause: nas.EmmCause | None) -> None:
    """The phone is told, after paging if need be. A silent one is detached all the same (TS 24.301 clause 5.5.2.3.5 a)."""
    try:
        if ue.connection is None:
            await page(mme, ue)
        await ue.nas.request(
            nas.DetachRequestToUe(detach_type=detach_type, emm_cause=cause), nas.DetachAccept, timer=mme.timers.t3422)
    except (TimerExpired, ConnectionError) as error:
        mme.log.info("detach.unanswered", reason=str(error))
    await _gone(mme, ue)


@procedure(spec="TS 23.401 clause 5.3.8.1, TS 23.007 clause 14", collisions={nas.AttachRequest: Collision.REPLACE})
async def implicit_detach(mme: Mme, ue: UeContext, reason: str) -> None:
    """The phone is not told."""
    mme.log.info("detach.implicit", reason=reason)
    await _gone(mme, ue)


async def _gone(mme: Mme, ue: UeContext) -> None:
    mme.ues.set_state(ue, EmmState.DEREGISTERED)
    if ue.session is not None:
        await mme.s11.delete_session(ue.session, ue)
    if ue.connection is not None:
        release(mme, ue.connection, DETACH)
    else:
        mme.retire(ue)
