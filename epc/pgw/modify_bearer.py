"""Modify Bearer: the UE has moved, perhaps to another SGW."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid
from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw.context import PdnSession
from epc.pgw.policy_events import change_reporting
from epc.procedure import procedure
from epc.transport.gtpc import GTPC_PORT
from epc.transport.interface import Address
from epc.wire.gtpv2 import BearerContextModified, Cause, CauseValue, ModifyBearerRequest, ModifyBearerResponse

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
_NO_SUCH_BEARER = Cause(value=CauseValue.CONTEXT_NOT_FOUND, bce=True)


@procedure(spec="TS 23.401 clauses 5.3.3.1, 5.5.1.1.3; TS 29.274 clause 7.2.7", starts_on=ModifyBearerRequest)
async def modify_bearer(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, ModifyBearerRequest)
    async with answering(pgw.s5, received, lambda: session.s5c_sgw_teid):
        if not pgw.is_established(session):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND))
        former_sgw = session.sgw
        if request.sender_fteid is not None:
            pgw.move(session, Address(request.sender_fteid.host, GTPC_PORT), request.sender_fteid.teid)
        pgw.relocated(session, session.whereabouts.updated(request), former_sgw=former_sgw)
        results = []
        for wanted in request.bearer_contexts_to_be_modified:
            bearer = session.bearers.get(wanted.ebi)
            if bearer is None:
                results.append(BearerContextModified(ebi=wanted.ebi, cause=_NO_SUCH_BEARER))
                continue
            if wanted.s5u_sgw_fteid is not None:
                bearer.s5u_sgw = FTeid(teid=wanted.s5u_sgw_fteid.teid, address=wanted.s5u_sgw_fteid.host)
                pgw.apply(session)
            results.append(BearerContextModified(ebi=wanted.ebi, cause=_ACCEPTED, charging_id=bearer.charging_id))
        if results and not any(result.cause.is_accepted for result in results):
            raise GtpReject(_NO_SUCH_BEARER)
        await pgw.confirmed(session)
        partially = not all(result.cause.is_accepted for result in results)
        pgw.s5.respond(
            received,
            ModifyBearerResponse(
                cause=Cause(value=CauseValue.REQUEST_ACCEPTED_PARTIALLY) if partially else _ACCEPTED, msisdn=session.msisdn,
                bearer_contexts_modified=tuple(results), change_reporting_action=change_reporting(session),
            ),
            session.s5c_sgw_teid,
        )
