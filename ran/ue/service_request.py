"""Service request: from EMM-IDLE to EMM-CONNECTED with all radio bearers (TS 24.301 clause 5.6.1).

Left out: extended and control plane service requests, T3325 and the attempt counter of later releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Reject, TimerExpired, procedure, step
from epc.wire import nas
from epc.wire.nas import EmmCause
from ran.ue import rejection
from ran.ue.indications import Answer, RadioBearersEstablished, answering, give
from ran.ue.state import EmmState, Result
from ran.ue.timers import T3346, T3417

if TYPE_CHECKING:
    from ran.ue.ue import Ue


@procedure(spec="TS 24.301 clause 5.6.1")
async def service_request(ue: Ue, answer: Answer | None, paged: bool) -> None:
    with answering(answer):
        if ue.connected or ue.security is None:
            raise ConnectionError("a SERVICE REQUEST needs a security context and no connection")
        #  1   Service Request
        step(1, "service-request")
        ue.enter(EmmState.SERVICE_REQUEST_INITIATED)
        try:
            ue.send_service_request("mt-Access" if paged else "mo-Data")
            #  4-6 context set-up at the eNodeB; the bearers are the answer
            outcome: object = await ue.emm.wait(RadioBearersEstablished, nas.ServiceReject, timer=T3417)
        except TimerExpired:
            # abnormal case c
            ue.enter(EmmState.REGISTERED)
            ue.lose_radio()
            raise
        except ConnectionError:
            # abnormal case b: the connection was released, or refused
            ue.enter(EmmState.REGISTERED)
            raise
        if isinstance(outcome, nas.ServiceReject):
            _rejected(ue, outcome)
        ue.enter(EmmState.REGISTERED)
        ue.keep_bearers(tuple(ue.radio_bearers))        # clause 5.6.1.4: a context without radio bearer is none any more
        give(answer, Result(success=True))


def _rejected(ue: Ue, reject: nas.ServiceReject) -> None:
    """Clause 5.6.1.5. Raises ``Reject``."""
    cause = reject.emm_cause
    if cause == EmmCause.CONGESTION and reject.t3346 is not None and reject.t3346.seconds:
        ue.start_timer(T3346._replace(seconds=reject.t3346.seconds), lambda: None)
    effect = rejection.apply(ue, cause)
    if effect is None:
        ue.enter(EmmState.REGISTERED)
    elif effect.attach_again:
        ue.re_attach_on_release = True
    raise Reject(cause, rejection.name(cause))
