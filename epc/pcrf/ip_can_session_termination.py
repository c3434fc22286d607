"""IP-CAN session termination: by the PCEF (CCR-T) or by the PCRF (RAR with a cause). TS 29.212 clauses 4.5.7 and 4.5.9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pcrf.session import GxSession
from epc.procedure import procedure
from epc.wire.diameter import ResultCode
from epc.wire.diameter.gx import CreditControlAnswer, CreditControlRequest, ReAuthAnswer, ReAuthRequest, SessionReleaseCause

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


def ip_can_session_termination(pcrf: Pcrf, request: CreditControlRequest) -> CreditControlAnswer:
    pcrf.sessions.remove(pcrf.session_of(request))
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number)


@procedure(spec="TS 29.212 clause 4.5.9")
async def release_session(pcrf: Pcrf, session: GxSession, cause: SessionReleaseCause) -> None:
    """Ask the PCEF to end the session, which it confirms with a CCR-T of its own."""
    await pcrf.ask(session, ReAuthRequest(
        session_id=session.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        destination_realm=session.pcef_realm, destination_host=session.pcef_host, session_release_cause=cause), ReAuthAnswer)
