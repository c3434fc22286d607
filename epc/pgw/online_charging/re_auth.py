"""What the OCS asks for by itself: report now (RFC 8506 clause 5.5), or end the session (RFC 6733 clause 8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pgw.online_charging.session import Stage
from epc.wire.diameter import DiameterError, Message, Packet, ResultCode
from epc.wire.diameter.base import AbortSessionAnswer, AbortSessionRequest
from epc.wire.diameter.charging import ReportingReason
from epc.wire.diameter.gy import ReAuthAnswer, ReAuthRequest

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


def serve(pgw: Pgw, packet: Packet) -> Message:
    """Answered at once; reports and Delete Bearer follow."""
    request = packet.message
    assert pgw.gy is not None
    identity = pgw.gy.node.identity
    if isinstance(request, ReAuthRequest):
        return ReAuthAnswer(session_id=request.session_id, origin_host=identity.origin_host, origin_realm=identity.origin_realm,
                            result_code=_re_authorise(pgw, request), rating_group=request.rating_group,
                            service_identifier=request.service_identifier)
    if isinstance(request, AbortSessionRequest):
        session = pgw.gy.sessions.get(request.session_id)
        if session is not None:
            pgw.gy.end_by_ocs(session)
        result = ResultCode.DIAMETER_UNKNOWN_SESSION_ID if session is None else ResultCode.DIAMETER_SUCCESS
        return AbortSessionAnswer(session_id=request.session_id, result_code=result, origin_host=identity.origin_host,
                                  origin_realm=identity.origin_realm)
    raise DiameterError(f"an OCS sends no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)


def _re_authorise(pgw: Pgw, request: ReAuthRequest) -> ResultCode:
    assert pgw.gy is not None
    session = pgw.gy.sessions.get(request.session_id)
    online = None if session is None else session.gy
    if online is None:
        return ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    for service in online.services.values():
        key = service.key
        if request.rating_group not in (None, key.rating_group) or request.service_identifier not in (None, key.service_identifier):
            continue
        if service.is_active and service.stage is not Stage.IDLE:
            online.report(service, ReportingReason.FORCED_REAUTHORISATION)
    return ResultCode.DIAMETER_LIMITED_SUCCESS
