"""Session Modification: rules of a PDN connection come, change and go; usage is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from epc.dataplane.pfcp_rules import change_between
from epc.dataplane.rules import ApplyAction, RuleError, Session, SessionChange
from epc.peer.pfcp import RequestReceived
from epc.procedure import procedure
from epc.transport.interface import Address
from epc.userplane.answering import answering
from epc.userplane.session import UpSession
from epc.wire.pfcp import (
    CauseValue,
    SessionModificationRequest,
    SessionModificationResponse,
    SmReqFlags,
    UsageReportAtModification,
    UsageReportTrigger,
)

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@procedure(spec="TS 29.244 clauses 6.3.3, 7.5.4", starts_on=SessionModificationRequest)
async def session_modification(node: UserPlaneNode[Any], session: UpSession, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, SessionModificationRequest)
    async with answering(node, received, session.cp_seid):
        rules = session.rules.copy()
        chosen = rules.modify(request, node.forwarder.allocate_f_teid)
        wanted = rules.session(session.seid, node.default_network_instance)
        change = change_between(session.installed, wanted, request)
        usage = node.forwarder.usage(session.seid)      # before URRs are gone
        flags = request.flags or SmReqFlags(0)
        if SmReqFlags.DROBU in flags:
            _modify_without_buffered(node, session.installed, wanted, change)
        else:
            node.forwarder.modify(session.seid, change)
        reports = [
            node.report(UsageReportAtModification, session, urr_id, UsageReportTrigger.TERMR, usage[urr_id]) for urr_id in change.remove_urrs
        ]
        session.rules, session.installed = rules, wanted
        asked = [query.urr_id for query in request.query_urrs] if SmReqFlags.QAURR not in flags else list(rules.urrs)
        reports += [
            node.report(UsageReportAtModification, session, urr_id, UsageReportTrigger.IMMER, usage[urr_id])
            for urr_id in asked if urr_id in usage and urr_id in rules.urrs
        ]
        if request.cp_fseid is not None:
            session.cp_seid, session.cp = request.cp_fseid.seid, Address(request.cp_fseid.host, session.cp.port)
        node.changed(session)
        node.sx.respond(
            received,
            SessionModificationResponse(cause=CauseValue.REQUEST_ACCEPTED, created_pdrs=chosen, usage_reports=tuple(reports)),
            session.cp_seid,
        )


def _modify_without_buffered(node: UserPlaneNode[Any], former: Session, wanted: Session, change: SessionChange) -> None:
    """What waits is thrown away before the change (DROBU)."""
    waiting = [far for far in former.fars if ApplyAction.BUFFER in far.apply_action]
    node.forwarder.modify(former.id, SessionChange(fars=tuple([replace(far, apply_action=ApplyAction.DROP) for far in waiting])))
    ids = {far.id for far in waiting} | {far.id for far in change.fars}
    try:
        node.forwarder.modify(former.id, replace(change, fars=tuple([far for far in wanted.fars if far.id in ids])))
    except RuleError:
        node.forwarder.modify(former.id, SessionChange(fars=tuple(waiting)))
        raise
