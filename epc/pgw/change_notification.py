"""Change Notification: the MME reports where the UE is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.gtpc import RequestReceived
from epc.pgw.context import PdnSession
from epc.pgw.policy_events import change_reporting
from epc.procedure import procedure
from epc.wire.gtpv2 import Cause, CauseValue, ChangeNotificationRequest, ChangeNotificationResponse, ChangeReportingAction

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


@procedure(spec="TS 23.401 clause 5.9.2, TS 29.274 clause 7.3.14", starts_on=ChangeNotificationRequest)
async def change_notification(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    assert isinstance(received.message, ChangeNotificationRequest)
    pgw.relocated(session, session.whereabouts.updated(received.message))
    response = ChangeNotificationResponse(
        cause=Cause(value=CauseValue.REQUEST_ACCEPTED),
        change_reporting_action=change_reporting(session) or ChangeReportingAction.STOP_REPORTING,
    )
    pgw.s5.respond(received, response, session.s5c_sgw_teid)
