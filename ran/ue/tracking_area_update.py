"""Normal and periodic tracking area updating: TS 24.301 clause 5.5.3.2.

Left out: combined updating, inter-system change, and what T3346 does to an update.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.procedure import Reject, TimerExpired, procedure, step
from epc.wire import nas
from ran.ue import rejection
from ran.ue.indications import Answer, ConnectionReleased, answering, give
from ran.ue.state import EmmState, EmmSubstate, Result, UpdateStatus
from ran.ue.timers import MAXIMUM_ATTEMPTS, T3402, T3411, T3430, T3440

if TYPE_CHECKING:
    from ran.ue.ue import Ue


@procedure(spec="TS 24.301 clause 5.5.3.2")
async def tracking_area_update(ue: Ue, answer: Answer | None, periodic: bool, active: bool) -> None:
    with answering(answer):
        ue.attempts = 0
        while True:
            try:
                await _attempt(ue, periodic, active)
                break
            except (TimerExpired, ConnectionError, _Abnormal):
                # abnormal cases b, c and d: clause 5.5.3.2.6
                ue.attempts += 1
                ue.update_status = UpdateStatus.EU2_NOT_UPDATED
                ue.enter(EmmState.REGISTERED, EmmSubstate.ATTEMPTING_TO_UPDATE)
                if ue.attempts >= MAXIMUM_ATTEMPTS:
                    ue.start_timer(T3402._replace(seconds=ue.t3402_s), ue.update_by_itself)
                    raise
            await asyncio.sleep(T3411.seconds)
        give(answer, Result(success=True, guti=ue.guti))


class _Abnormal(Reject):
    """A cause that only counts as a failed attempt: clause 5.5.3.2.6 d."""


async def _attempt(ue: Ue, periodic: bool, active: bool) -> None:
    guti = ue.guti
    if guti is None:
        raise ConnectionError("a TRACKING AREA UPDATE REQUEST needs a GUTI")

    #  1   Tracking Area Update Request
    step(1, "tracking-area-update-request")
    ue.enter(EmmState.TRACKING_AREA_UPDATING_INITIATED)
    kind = nas.EpsUpdateTypeValue.PERIODIC_UPDATING if periodic else nas.EpsUpdateTypeValue.TA_UPDATING
    request = nas.TrackingAreaUpdateRequest(
        eps_update_type=nas.EpsUpdateType(value=kind, active=active),
        nas_key_set_identifier=ue.ksi,
        old_guti=guti,
        ue_network_capability=None if periodic else ue.capability,
        last_visited_registered_tai=ue.last_visited_tai,
        eps_bearer_context_status=ue.active_bearers,
        old_guti_type=nas.GutiType.NATIVE)
    try:
        reply = await ue.emm.request(request, nas.TrackingAreaUpdateAccept, nas.TrackingAreaUpdateReject, timer=T3430)
    except TimerExpired:
        ue.lose_radio()
        raise
    if isinstance(reply, nas.TrackingAreaUpdateReject):
        effect = rejection.apply(ue, reply.emm_cause)
        if effect is None:
            raise _Abnormal(reply.emm_cause, rejection.name(reply.emm_cause))
        ue.re_attach_on_release |= effect.attach_again
        raise Reject(reply.emm_cause, rejection.name(reply.emm_cause))

    #  2   Tracking Area Update Accept, answered by Complete when it brings a GUTI
    step(2, "tracking-area-update-accept")
    assert isinstance(reply, nas.TrackingAreaUpdateAccept)
    _accept(ue, reply)
    if not active:
        await _wait_for_release(ue)


def _accept(ue: Ue, accept: nas.TrackingAreaUpdateAccept) -> None:
    """Clause 5.5.3.2.4."""
    if accept.tai_list is not None:
        ue.tai_list = accept.tai_list.tais
    if accept.t3412 is not None:
        ue.t3412_s = accept.t3412.seconds
    if accept.t3402 is not None and accept.t3402.seconds is not None:
        ue.t3402_s = accept.t3402.seconds
    ue.equivalent_plmns = tuple(accept.equivalent_plmns or ())
    if accept.eps_bearer_context_status is not None:
        ue.keep_bearers(accept.eps_bearer_context_status)
    ue.last_visited_tai = ue.tai
    ue.attempts = 0
    ue.update_status = UpdateStatus.EU1_UPDATED
    ue.enter(EmmState.REGISTERED)
    ue.start_t3412()        # the release may have come right behind the accept
    if isinstance(accept.guti, nas.Guti):
        ue.guti = accept.guti
        ue.send_emm(nas.TrackingAreaUpdateComplete())


async def _wait_for_release(ue: Ue) -> None:
    """Without the active flag the network releases the connection at once; else the UE does after T3440 (clause 5.3.1.2)."""
    if ue.connected and not ue.radio_bearers:
        try:
            await ue.emm.wait(ConnectionReleased, timer=T3440)
        except TimerExpired:
            ue.lose_radio()
