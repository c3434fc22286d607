"""IP-CAN session termination: by the PCEF (CCR-T) or by the PCRF (RAR with a cause). TS 29.212 clauses 4.5.7 and 4.5.9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pcrf.session import GxSession
from epc.pcrf.usage import reported_octets
from epc.procedure import procedure
from epc.wire.diameter import ResultCode
from epc.wire.diameter.gx import CreditControlAnswer, CreditControlRequest, SessionReleaseCause

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


async def ip_can_session_termination(pcrf: Pcrf, request: CreditControlRequest) -> CreditControlAnswer:
    # 1 what was used since the last report
    session = pcrf.session_of(request)
    octets = reported_octets(request.usage_monitoring_information)
    if octets:
        await pcrf.usage.add(session.imsi, octets, pcrf.clock())

    # 2 the session is gone, and application functions are told
    pcrf.sessions.remove(session)
    pcrf.session_ended(session)
    if octets:
        pcrf.bring_up_to_date(pcrf.sessions.of_imsi(session.imsi))
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number)


@procedure(spec="TS 29.212 clause 4.5.9")
async def release_session(pcrf: Pcrf, session: GxSession, cause: SessionReleaseCause) -> None:
    """Ask the PCEF to end the session, which it confirms with a CCR-T of its own."""
    await pcrf.tell_pcef(session, release=cause)
