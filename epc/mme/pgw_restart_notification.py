"""An SGW tells that a PGW has lost its sessions: TS 23.007 clause 17.2, TS 29.274 clauses 7.9.5 and 7.9.6."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.mme.detach import network_initiated_detach
from epc.mme.pdn_disconnect import release_bearer
from epc.peer.gtpc import LONGEST_ON_THE_WAY_S, RequestReceived
from epc.procedure import Collision, procedure
from epc.wire import gtpv2, nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import SgwSession, UeContext


def pgw_restart_notification(mme: Mme, request: RequestReceived) -> None:
    """The SGW has dropped those PDN connections already. A phone that has others keeps them; one that has none left attaches anew.

    A connection that is as young as a message may be old can have been made after the restart: the SGW is told that it ends.
    """
    message = request.message
    assert isinstance(message, gtpv2.PgwRestartNotification)
    mme.s11.answer(request, gtpv2.PgwRestartNotificationAcknowledge(cause=gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)))
    for session in [session for session in mme.s11.sessions.values() if session.sgw.host == request.peer[0]]:
        lost = [pdn.linked_ebi for pdn in session.pdns.values() if pdn.pgw == str(message.pgw_address)]
        ue = mme.s11.owner_of(session.s11_mme_teid)
        if not lost or ue is None:
            continue
        now = asyncio.get_running_loop().time()
        young = [ebi for ebi in lost if now - session.pdns[ebi].made_at < LONGEST_ON_THE_WAY_S]
        if len(lost) == len(session.pdns):
            if young:
                mme.s11.abandon_session(session, ue)
            session_lost(mme, session, ue)
            continue
        for linked_ebi in young:
            mme.s11.abandon_pdn_connection(session, linked_ebi)
        gone = tuple([(linked_ebi, *[bearer.ebi for bearer in session.pdns.pop(linked_ebi).dedicated]) for linked_ebi in lost])
        if ue.connection is not None:               # an idle phone learns it from the bearer context status of its next update
            ue.slot.start(give_up_bearers, mme, ue, gone)


def session_lost(mme: Mme, session: SgwSession, ue: UeContext | None) -> None:
    """SGW or PGW knows nothing of it any more: without its last PDN connection the phone is not attached, and is asked to come again."""
    if ue is None or ue.session is session:
        mme.s11.free(session)
    if ue is not None and ue.is_registered:
        ue.slot.start(network_initiated_detach, mme, ue, nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED, None, collision=Collision.REPLACE)


@procedure(accepts=(nas.DeactivateEpsBearerContextAccept,), spec="TS 23.401 clause 5.4.4.1")
async def give_up_bearers(mme: Mme, ue: UeContext, connections: tuple[tuple[int, ...], ...]) -> None:
    """The bearers of each PDN connection, the default one first."""
    for ebis in connections:
        await release_bearer(mme, ue, ebis, pti=0, cause=nas.EsmCause.REACTIVATION_REQUESTED)
