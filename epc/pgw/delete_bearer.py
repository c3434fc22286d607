"""Delete Bearer: the PGW ends a PDN connection, or dedicated bearers of it, on the PCRF's wish or on the MME's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw.context import Bearer, PdnSession
from epc.procedure import Reject, procedure, step
from epc.wire.diameter.groups import TerminationCause
from epc.wire.gtpv2 import Cause, CauseValue, DeleteBearerCommand, DeleteBearerRequest, DeleteBearerResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from epc.pgw.node import Pgw


@procedure(spec="TS 23.401 clause 5.4.4.1, TS 29.274 clause 7.2.9.2")
async def delete_bearer(pgw: Pgw, session: PdnSession, cause: CauseValue | None = None) -> None:
    """The session ends here whatever the others answer, if they answer."""
    request = DeleteBearerRequest(linked_ebi=session.ebi, cause=None if cause is None else Cause(value=cause))
    step(3, "sgw")
    try:
        answer = await pgw.ask_phone(session, request, DeleteBearerResponse)
        if not answer.cause.is_accepted:
            pgw.log.warning("delete_bearer.refused", sgw=session.sgw.host, cause=int(answer.cause.value))
    except Reject as error:
        pgw.log.warning("delete_bearer.unanswered", sgw=session.sgw.host, reason=str(error))
    finally:
        pgw.remove(session, TerminationCause.DIAMETER_ADMINISTRATIVE)


async def delete_bearers(
    pgw: Pgw, session: PdnSession, bearers: Sequence[Bearer], *, pti: int | None = None, command: RequestReceived | None = None
) -> None:
    """TS 23.401 clause 5.4.4.1: dedicated bearers end, whatever the others answer, unless they ask for patience."""
    step(3, "sgw")
    for bearer in bearers:
        bearer.is_ending = True
    request = DeleteBearerRequest(ebis=tuple([bearer.ebi for bearer in bearers]), pti=pti)
    try:
        answer = await pgw.ask_phone(session, request, DeleteBearerResponse, command)
        if not answer.cause.is_accepted:
            if answer.cause.value == CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS:
                raise Reject(answer.cause.value, "a handover is going on")
            pgw.log.info("delete_bearer.refused", sgw=session.sgw.host, cause=int(answer.cause.value))
    except Reject as error:
        if error.cause == CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS:
            for bearer in bearers:
                bearer.is_ending = False
            raise
        pgw.log.warning("delete_bearer.unanswered", sgw=session.sgw.host, reason=str(error))
    for bearer in bearers:
        pgw.lose_bearer(session, bearer)


@procedure(spec="TS 23.401 clause 5.4.4.2, TS 29.274 clause 7.2.17", starts_on=DeleteBearerCommand)
async def delete_bearer_command(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    """The access network has lost dedicated bearers; the triggered Delete Bearer Request is the command's answer."""
    command = received.message
    assert isinstance(command, DeleteBearerCommand)
    bearers = [bearer for context in command.bearer_contexts
               if (bearer := session.bearers.get(context.ebi)) is not None and not bearer.is_default]
    if not bearers or not pgw.is_established(session):
        async with answering(pgw.s5, received, lambda: session.s5c_sgw_teid):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND, bce=True), "no such dedicated bearer")
    await delete_bearers(pgw, session, bearers, command=received)
