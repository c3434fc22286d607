"""Delete Session: a PDN connection, or all of the UE's, ends (Detach, PDN disconnection)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.peer.timer import TimerExpired
from epc.procedure import procedure, step
from epc.sgw.context import PdnConnection, UeContext
from epc.wire.cdr import CauseForRecClosing
from epc.wire.errors import WireError
from epc.wire.gtpv2 import (
    Cause,
    CauseValue,
    DeleteSessionRequest,
    DeleteSessionResponse,
    Indication,
    conditional_ie_missing,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clauses 5.3.8.2, 5.10.3; TS 29.274 clause 7.2.9.1", starts_on=DeleteSessionRequest)
async def delete_session(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, DeleteSessionRequest)
    mme_teid = ue.s11_mme_teid
    async with answering(sgw.s11, received, lambda: mme_teid):
        indication = request.indication or Indication(0)
        pco: bytes | None = None
        for connection in _connections(ue, request, indication):
            if Indication.OI in indication:                 # without it another SGW has taken over, and only this one forgets
                step(2, "pgw")
                answer = await _end_at_pgw(sgw, connection, request)
                pco = answer.pco if answer is not None else None
            sgw.remove(connection, cause=CauseForRecClosing.NORMAL_RELEASE)
        sgw.s11.respond(received, DeleteSessionResponse(cause=Cause(value=CauseValue.REQUEST_ACCEPTED), pco=pco), mme_teid)


def _connections(ue: UeContext, request: DeleteSessionRequest, indication: Indication) -> list[PdnConnection]:
    if request.linked_ebi is None or Indication.SI in indication:
        if request.linked_ebi is None and Indication.SI not in indication and len(ue.connections) > 1:
            raise GtpReject(conditional_ie_missing(DeleteSessionRequest, "linked_ebi"))
        return list(ue.connections.values())
    connection = ue.connections.get(request.linked_ebi)
    if connection is None:
        raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND), f"no PDN connection with default bearer {request.linked_ebi}")
    return [connection]


async def _end_at_pgw(sgw: Sgw, connection: PdnConnection, request: DeleteSessionRequest) -> DeleteSessionResponse | None:
    """The session ends here whatever the PGW says, or if it says nothing."""
    onward = DeleteSessionRequest(
        cause=request.cause, linked_ebi=connection.linked_ebi, uli=request.uli, pco=request.pco, ue_time_zone=request.ue_time_zone,
        uli_timestamp=request.uli_timestamp, ran_nas_release_causes=request.ran_nas_release_causes, epco=request.epco,
        secondary_rat_usage_data_reports=request.secondary_rat_usage_data_reports,
    )
    try:
        packet = await sgw.s5.request(connection.pgw, connection.s5c_pgw_teid, onward, sgw.t3_s5)
    except (TimerExpired, WireError) as error:
        sgw.log.warning("delete_session.pgw_failed", pgw=connection.pgw.host, reason=str(error))
        return None
    assert isinstance(packet.message, DeleteSessionResponse)
    return packet.message
