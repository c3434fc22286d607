"""Re-Auth: the PCRF changes a session's rules or ends it (TS 29.212 clauses 4.5.2, 4.5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pgw.delete_bearer import delete_bearer
from epc.wire.diameter import DiameterError, Message, Packet, ResultCode
from epc.wire.diameter.gx import ReAuthAnswer, ReAuthRequest
from epc.wire.diameter.policy import ChargingRuleReport
from epc.wire.gtpv2 import CauseValue

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


def re_auth(pgw: Pgw, packet: Packet) -> Message:
    """Answered at once; what the UE must learn follows in a procedure."""
    request = packet.message
    if not isinstance(request, ReAuthRequest):
        raise DiameterError("only Re-Auth-Request comes from a PCRF", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)
    session = pgw.session_of_gx(request.session_id)
    if session is None:
        return _answer(pgw, request, ResultCode.DIAMETER_UNKNOWN_SESSION_ID)
    if request.session_release_cause is not None:
        session.slot.cancel()
        pgw.runner.start(delete_bearer, pgw, session, CauseValue.REACTIVATION_REQUESTED)
        return _answer(pgw, request, ResultCode.DIAMETER_SUCCESS)
    return _answer(pgw, request, ResultCode.DIAMETER_SUCCESS, pgw.enforce(session, request))


def _answer(pgw: Pgw, request: ReAuthRequest, result: ResultCode, reports: tuple[ChargingRuleReport, ...] = ()) -> ReAuthAnswer:
    assert pgw.gx is not None
    return ReAuthAnswer(
        session_id=request.session_id, origin_host=pgw.gx.identity.origin_host, origin_realm=pgw.gx.identity.origin_realm, result_code=result,
        charging_rule_report=reports,
    )
