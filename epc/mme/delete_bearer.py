"""The PGW or SGW ends a PDN connection: TS 23.401 clause 5.4.4.1, TS 29.274 clause 7.2.9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.pdn_disconnect import release_bearer
from epc.mme.ue_context import EmmState
from epc.mme.ue_context_release import DETACH, release
from epc.peer.gtpc import RequestReceived
from epc.procedure import TimerExpired, procedure
from epc.wire import gtpv2, nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(accepts=(nas.DetachAccept, nas.DeactivateEpsBearerContextAccept), spec="TS 23.401 clause 5.4.4.1")
async def delete_bearer(mme: Mme, ue: UeContext, request: RequestReceived) -> None:
    message = request.message
    assert isinstance(message, gtpv2.DeleteBearerRequest)
    session = ue.session
    if session is None or message.linked_ebi is None or message.linked_ebi not in session.pdns:
        mme.s11.answer(request, gtpv2.DeleteBearerResponse(cause=gtpv2.Cause(value=gtpv2.CauseValue.CONTEXT_NOT_FOUND)))
        return
    reactivate = message.cause is not None and message.cause.value == gtpv2.CauseValue.REACTIVATION_REQUESTED
    accepted = gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)
    mme.s11.answer(request, gtpv2.DeleteBearerResponse(cause=accepted, linked_ebi=message.linked_ebi))
    del session.pdns[message.linked_ebi]
    if session.pdns:
        if ue.connection is not None:
            cause = nas.EsmCause.REACTIVATION_REQUESTED if reactivate else nas.EsmCause.REGULAR_DEACTIVATION
            await release_bearer(mme, ue, int(message.linked_ebi), pti=0, cause=cause)
        return

    # the last PDN connection: without it the phone is not attached
    mme.s11.free(session)
    detach_type = nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED if reactivate else nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED
    if ue.connection is not None:
        try:
            await ue.nas.request(nas.DetachRequestToUe(detach_type=detach_type), nas.DetachAccept, timer=mme.timers.t3422)
        except TimerExpired:
            mme.log.info("detach.unanswered", reason="T3422")
    mme.ues.set_state(ue, EmmState.DEREGISTERED)
    if ue.connection is not None:
        release(mme, ue.connection, DETACH)
    else:
        mme.retire(ue)
