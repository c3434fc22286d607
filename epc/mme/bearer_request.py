"""What requests of the PGW for bearers have in common: the phone has to be reached, and every request gets its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from epc.mme.paging import page
from epc.peer.gtpc import RequestReceived
from epc.procedure import Collision, Procedure, Reject, TimerExpired
from epc.wire import gtpv2, nas, s1ap
from epc.wire.gtpv2 import REPLY_TO, Cause, CauseValue
from epc.wire.nas import EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import SgwSession, UeContext

# What the phone wants goes first when it answers the paging; what takes its bearers or its connection away ends the procedure, and the PGW
# may try again (TS 29.274 clause 8.4: cause 110).
COLLISIONS = {
    nas.ServiceRequest: Collision.QUEUE, nas.TrackingAreaUpdateRequest: Collision.QUEUE, nas.PdnConnectivityRequest: Collision.QUEUE,
    nas.PdnDisconnectRequest: Collision.QUEUE, nas.BearerResourceAllocationRequest: Collision.QUEUE,
    nas.BearerResourceModificationRequest: Collision.QUEUE, s1ap.UEContextReleaseRequest: Collision.REPLACE,
    nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE}
TRY_AGAIN = CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS

# TS 29.274 annex C.1
_CAUSES: dict[int, CauseValue] = {
    EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION: CauseValue.SEMANTIC_ERROR_IN_THE_TFT_OPERATION,
    EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION: CauseValue.SYNTACTIC_ERROR_IN_THE_TFT_OPERATION,
    EsmCause.SEMANTIC_ERRORS_IN_PACKET_FILTERS: CauseValue.SEMANTIC_ERRORS_IN_PACKET_FILTERS,
    EsmCause.SYNTACTICAL_ERRORS_IN_PACKET_FILTERS: CauseValue.SYNTACTIC_ERRORS_IN_PACKET_FILTERS,
    EsmCause.INSUFFICIENT_RESOURCES: CauseValue.NO_RESOURCES_AVAILABLE,
    EsmCause.INVALID_EPS_BEARER_IDENTITY: CauseValue.CONTEXT_NOT_FOUND,
}


def cause_of(esm_cause: int) -> CauseValue:
    """What the PGW is told when the phone refuses."""
    return _CAUSES.get(esm_cause, CauseValue.UE_REFUSES)


@contextmanager
def answering(mme: Mme, request: RequestReceived) -> Iterator[None]:
    """A request that cannot be served is answered with its cause; a success answers for itself."""
    try:
        yield
    except Reject as error:
        refuse(mme, request, error.cause if isinstance(error.cause, CauseValue) else CauseValue.REQUEST_REJECTED)
        raise
    except TimerExpired as error:
        refuse(mme, request, CauseValue.UNABLE_TO_PAGE_UE if error.timer == mme.timers.t3413 else CauseValue.UE_NOT_RESPONDING)
        raise
    except (ConnectionError, asyncio.CancelledError):
        refuse(mme, request, TRY_AGAIN)
        raise


def refuse(mme: Mme, request: RequestReceived, cause: CauseValue) -> None:
    mme.s11.answer(request, gtpv2.rejection(REPLY_TO[request.message.message_type], Cause(value=cause)))


def dropped(mme: Mme, ue: UeContext, request: RequestReceived, paged: bool = False) -> None:
    """It waited behind a procedure that has taken the phone's session or connection away."""
    refuse(mme, request, TRY_AGAIN)


def session_of(ue: UeContext, request: RequestReceived) -> SgwSession:
    """The session that the request is for; raises :class:`Reject`."""
    session = ue.session
    if session is None or session.s11_mme_teid != request.teid:
        raise Reject(CauseValue.CONTEXT_NOT_FOUND, "the session has ended")
    return session


async def is_reachable(mme: Mme, ue: UeContext, procedure: Procedure, request: RequestReceived, paged: bool) -> bool:
    """False: the phone was idle and has answered the paging; its own request is served now, and ``procedure`` begins again behind it.

    Raises ``TimerExpired`` (T3413) when it does not answer, :class:`Reject` when it has gone again.
    """
    if ue.connection is not None and ue.link.has_radio_context:
        return True
    if paged or ue.connection is not None or not ue.is_registered:
        raise Reject(TRY_AGAIN if ue.is_registered else CauseValue.CONTEXT_NOT_FOUND, "the phone has no radio bearers")
    await page(mme, ue)
    ue.slot.start(procedure, mme, ue, request, True)
    return False
