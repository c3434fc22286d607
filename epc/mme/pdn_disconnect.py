"""A PDN connection ends at the phone's request: TS 23.401 clause 5.10.3, TS 24.301 clauses 6.4.4 and 6.5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.erab_release import erab_release
from epc.mme.esm_exchange import answers
from epc.procedure import Collision, Reject, TimerExpired, procedure
from epc.wire import nas, s1ap
from epc.wire.nas import EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(
    starts_on=nas.PdnDisconnectRequest, accepts=(nas.DeactivateEpsBearerContextAccept,), spec="TS 23.401 clause 5.10.3",
    collisions={
        s1ap.UEContextReleaseRequest: Collision.REPLACE, nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE,
        nas.PdnConnectivityRequest: Collision.QUEUE})
async def pdn_disconnect(mme: Mme, ue: UeContext, request: nas.PdnDisconnectRequest) -> None:
    pti, linked_ebi = request.procedure_transaction_identity, request.linked_eps_bearer_identity
    session = ue.session
    refusal = None
    if session is None or linked_ebi not in session.pdns:
        refusal = EsmCause.INVALID_EPS_BEARER_IDENTITY
    elif len(session.pdns) == 1:
        refusal = EsmCause.LAST_PDN_DISCONNECTION_NOT_ALLOWED
    if session is None or refusal is not None:
        cause = refusal or EsmCause.INVALID_EPS_BEARER_IDENTITY
        ue.nas.send(nas.PdnDisconnectReject(procedure_transaction_identity=pti, esm_cause=cause))
        raise Reject(cause)

    # 2-6  session at SGW and PGW
    ebis = (linked_ebi, *[bearer.ebi for bearer in session.pdns[linked_ebi].dedicated])
    await mme.s11.delete_pdn_connection(session, linked_ebi, ue.known_location.uli)

    # 7-11 bearer at eNodeB and phone
    await release_bearer(mme, ue, ebis, pti=pti, cause=EsmCause.REGULAR_DEACTIVATION)


async def release_bearer(mme: Mme, ue: UeContext, ebis: tuple[int, ...], *, pti: int, cause: EsmCause) -> None:
    """Have eNodeB and phone give up bearers; whether they answer changes nothing (TS 24.301 clause 6.4.4.5 a).

    The phone is told of the first; the others are dedicated ones that end with it, as their default bearer.
    """
    connection = ue.link
    ebi = ebis[0]
    deactivation = nas.DeactivateEpsBearerContextRequest(eps_bearer_identity=ebi, procedure_transaction_identity=pti, esm_cause=cause)
    at_enb = tuple([each for each in ebis if each in connection.e_rabs])
    try:
        if at_enb:
            await erab_release(mme, connection, at_enb, connection.protect(deactivation))
        else:
            connection.nas.send(deactivation)               # the eNodeB has lost the bearer by itself
    except TimerExpired as error:
        mme.log.info("bearer.release_unanswered", ebi=ebi, timer=error.timer.name)
    if not await answers(mme, ue, {ebi: deactivation}, nas.DeactivateEpsBearerContextAccept, timer=mme.timers.t3495):
        mme.log.info("bearer.release_unanswered", ebi=ebi, timer=mme.timers.t3495.name)
