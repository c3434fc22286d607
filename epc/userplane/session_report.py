"""Session Report: the control function learns of packets for an idle UE, of usage, of tunnels that their far end has forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epc.dataplane.rules import ApplyAction, SessionChange
from epc.peer.timer import TimerExpired
from epc.procedure import Reject, procedure
from epc.userplane.session import UpSession
from epc.wire.pfcp import CauseValue, ReportType, SessionReportRequest, SessionReportResponse, SrRspFlags

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@procedure(spec="TS 29.244 clauses 6.3.5, 7.5.8")
async def session_report(node: UserPlaneNode[Any], session: UpSession, report: SessionReportRequest) -> None:
    try:
        packet = await node.sx.request(session.cp, session.cp_seid, report)
    except TimerExpired:
        if ReportType.DLDR in report.report_type:
            _wait_anew(node, session)               # the next packet is announced again
        raise
    answer = packet.message
    assert isinstance(answer, SessionReportResponse)
    if answer.cause == CauseValue.SESSION_CONTEXT_NOT_FOUND:
        if node.is_established(session):            # an orphan: nobody will ever delete it
            node.remove(session)
        raise Reject(answer.cause, "the control function does not know the session")
    if answer.cause >= CauseValue.REQUEST_REJECTED:
        raise Reject(answer.cause, "the control function refuses the report")
    if answer.flags is not None and SrRspFlags.DROBU in answer.flags:
        _wait_anew(node, session, discard=True)


def _wait_anew(node: UserPlaneNode[Any], session: UpSession, *, discard: bool = False) -> None:
    """Rules that buffer begin again, with what they have or with nothing."""
    waiting = tuple([far for far in session.installed.fars if ApplyAction.BUFFER in far.apply_action])
    if not node.is_established(session) or not waiting:
        return
    if discard:
        dropping = [type(far)(id=far.id, apply_action=ApplyAction.DROP) for far in waiting]
        node.forwarder.modify(session.seid, SessionChange(fars=tuple(dropping)))
    node.forwarder.modify(session.seid, SessionChange(fars=waiting))
