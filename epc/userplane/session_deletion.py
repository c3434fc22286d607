"""Session Deletion: the PDN connection ends, and its usage is told for the last time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epc.peer.pfcp import RequestReceived
from epc.procedure import procedure
from epc.userplane.answering import answering
from epc.userplane.session import UpSession
from epc.wire.pfcp import CauseValue, SessionDeletionRequest, SessionDeletionResponse, UsageReportAtDeletion, UsageReportTrigger

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@procedure(spec="TS 29.244 clauses 6.3.4, 7.5.6", starts_on=SessionDeletionRequest)
async def session_deletion(node: UserPlaneNode[Any], session: UpSession, received: RequestReceived) -> None:
    async with answering(node, received, session.cp_seid):
        usage = node.remove(session)
        reports = [node.report(UsageReportAtDeletion, session, urr_id, UsageReportTrigger.TERMR, usage[urr_id]) for urr_id in session.rules.urrs]
        node.sx.respond(
            received, SessionDeletionResponse(cause=CauseValue.REQUEST_ACCEPTED, usage_reports=tuple(reports)), session.cp_seid
        )
