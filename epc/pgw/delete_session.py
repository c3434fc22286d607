"""Delete Session: the PDN connection ends, its address and tunnel are free again (Detach, PDN disconnection)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw.context import PdnSession
from epc.procedure import procedure
from epc.wire.diameter.groups import TerminationCause
from epc.wire.gtpv2 import Cause, CauseValue, DeleteSessionRequest, DeleteSessionResponse

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


@procedure(spec="TS 23.401 clause 5.3.8.2 steps 3 to 6, TS 29.274 clause 7.2.9.1", starts_on=DeleteSessionRequest)
async def delete_session(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, DeleteSessionRequest)
    async with answering(pgw.s5, received, lambda: session.s5c_sgw_teid):
        if not pgw.is_established(session) or request.linked_ebi not in (None, session.ebi):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND), f"no PDN connection with default bearer {request.linked_ebi}")
        pgw.remove(session, TerminationCause.DIAMETER_LOGOUT)
        pgw.s5.respond(received, DeleteSessionResponse(cause=Cause(value=CauseValue.REQUEST_ACCEPTED)), session.s5c_sgw_teid)
