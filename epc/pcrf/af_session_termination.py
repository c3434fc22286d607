"""AF session termination: TS 29.214 clause 4.4.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Reject
from epc.wire.diameter import ResultCode
from epc.wire.diameter.base import SessionTerminationAnswer, SessionTerminationRequest

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


async def af_session_termination(pcrf: Pcrf, request: SessionTerminationRequest) -> SessionTerminationAnswer:
    # 1 the session's rules go
    session = pcrf.af_sessions.get(request.session_id)
    if session is None and not pcrf.af_sessions.was_aborted(request.session_id):
        raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
    if session is not None:
        pcrf.af_sessions.remove(session)
        pcrf.bring_up_to_date([session.gx])
    return SessionTerminationAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=pcrf.config.origin_host,
        origin_realm=pcrf.config.origin_realm)
