"""Detach, by the UE (TS 24.301 clause 5.5.2.2) and by the network (clause 5.5.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import TimerExpired, procedure, step
from epc.wire import nas
from epc.wire.nas import TypeOfDetachToUe
from ran.ue import rejection
from ran.ue.indications import Answer, ConnectionReleased, answering, give
from ran.ue.state import EmmState, Result
from ran.ue.timers import SWITCH_OFF, T3421

if TYPE_CHECKING:
    from ran.ue.ue import Ue


@procedure(spec="TS 24.301 clause 5.5.2.2")
async def detach(ue: Ue, answer: Answer | None, switch_off: bool) -> None:
    with answering(answer):
        if ue.state is not EmmState.DEREGISTERED:
            #  1   Detach Request
            step(1, "detach-request")
            ue.enter(EmmState.DEREGISTERED_INITIATED)
            request = nas.DetachRequestFromUe(
                detach_type=nas.DetachType(type_of_detach=nas.TypeOfDetachFromUe.EPS_DETACH, switch_off=switch_off),
                nas_key_set_identifier=ue.ksi,
                eps_mobile_identity=ue.identity)
            try:
                if switch_off:
                    # nobody answers; the UE stays until the connection is released, but not for long
                    ue.send_emm(request)
                    await ue.emm.wait(ConnectionReleased, timer=SWITCH_OFF)
                else:
                    #  11  Detach Accept
                    await ue.emm.request(request, nas.DetachAccept, timer=T3421)
            except (TimerExpired, ConnectionError) as error:
                # abnormal cases b and c: detached locally, whatever the network thinks (clause 5.5.2.2.4)
                ue.log.debug("ue.detached_locally", reason=str(error))
                if not switch_off:
                    ue.lose_radio()
        if switch_off:
            ue.switch_off()
        else:
            _end_locally(ue)
        ue.tell("detached", by="ue")
        give(answer, Result(success=True))


def by_network(ue: Ue, request: nas.DetachRequestToUe) -> None:
    """DETACH REQUEST from the network: accept it, and attach again if that is what it wants.

    During an attach a request "re-attach required" is ignored, since the attach does just that (clause 5.5.1.2.6 g); during the UE's own
    detach it ends that one (clause 5.5.2.2.4 c).
    """
    if request.detach_type == TypeOfDetachToUe.IMSI_DETACH:
        ue.send_emm(nas.DetachAccept())     # of the circuit switched side, which this UE does not use
        return
    again = request.detach_type == TypeOfDetachToUe.RE_ATTACH_REQUIRED
    if ue.state is EmmState.REGISTERED_INITIATED and again:
        return
    if ue.state is EmmState.DEREGISTERED_INITIATED:
        ue.send_emm(nas.DetachAccept())
        ue.emm.feed(nas.DetachAccept())
        return
    ue.abort_procedures()
    ue.send_emm(nas.DetachAccept())
    _end_locally(ue)
    if not again and request.emm_cause is not None:
        rejection.apply(ue, request.emm_cause)      # clause 5.5.2.3.2
    ue.re_attach_on_release = again and ue.behaviour.re_attach
    ue.tell("detached", by="network", re_attach=again, cause=request.emm_cause)


def _end_locally(ue: Ue) -> None:
    """No bearers, no registration; GUTI and security context stay for the next attach."""
    ue.release_bearers()
    ue.enter(EmmState.DEREGISTERED)
