"""Delete Bearer: the PGW ends a PDN connection, on the PCRF's wish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.timer import TimerExpired
from epc.pgw.context import PdnSession
from epc.procedure import procedure, step
from epc.wire.diameter.groups import TerminationCause
from epc.wire.errors import WireError
from epc.wire.gtpv2 import Cause, CauseValue, DeleteBearerRequest, DeleteBearerResponse

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


@procedure(spec="TS 23.401 clause 5.4.4.1, TS 29.274 clause 7.2.9.2")
async def delete_bearer(pgw: Pgw, session: PdnSession, cause: CauseValue | None = None) -> None:
    """The session ends here whatever the others answer, if they answer."""
    request = DeleteBearerRequest(linked_ebi=session.ebi, cause=None if cause is None else Cause(value=cause))
    step(3, "sgw")
    try:
        packet = await pgw.s5.request(session.sgw, session.s5c_sgw_teid, request)
        answer = packet.message
        assert isinstance(answer, DeleteBearerResponse)
        if not answer.cause.is_accepted:
            pgw.log.warning("delete_bearer.refused", sgw=session.sgw.host, cause=int(answer.cause.value))
    except (TimerExpired, WireError) as error:
        pgw.log.warning("delete_bearer.unanswered", sgw=session.sgw.host, reason=str(error))
    finally:
        pgw.remove(session, TerminationCause.DIAMETER_ADMINISTRATIVE)
