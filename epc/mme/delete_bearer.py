"""The PGW or SGW ends a PDN connection, or dedicated bearers of one: TS 23.401 clause 5.4.4.1, TS 29.274 clause 7.2.9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.bearer_request import COLLISIONS, dropped, refuse
from epc.mme.pdn_disconnect import release_bearer
from epc.mme.ue_context import EmmState, SgwSession
from epc.mme.ue_context_release import DETACH, release
from epc.peer.gtpc import RequestReceived
from epc.procedure import Reject, TimerExpired, procedure
from epc.wire import gtpv2, nas, s1ap
from epc.wire.gtpv2 import BearerContextDeleteAnswered, Cause, CauseValue, DeleteBearerCommand, DeleteBearerResponse
from epc.wire.nas import EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.s1_connection import S1Connection
    from epc.mme.ue_context import UeContext

_ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)


@procedure(
    accepts=(nas.DetachAccept, nas.DeactivateEpsBearerContextAccept), spec="TS 23.401 clause 5.4.4.1", collisions=COLLISIONS, dropped=dropped)
async def delete_bearer(mme: Mme, ue: UeContext, request: RequestReceived) -> None:
    message = request.message
    assert isinstance(message, gtpv2.DeleteBearerRequest)
    session = ue.session
    if session is None or session.s11_mme_teid != request.teid:
        refuse(mme, request, CauseValue.CONTEXT_NOT_FOUND)
    elif message.linked_ebi is not None:
        await _delete_pdn_connection(mme, ue, session, request, message)
    else:
        await _delete_dedicated(mme, ue, session, request, message)


async def _delete_dedicated(
    mme: Mme, ue: UeContext, session: SgwSession, request: RequestReceived, message: gtpv2.DeleteBearerRequest
) -> None:
    """An idle phone is not called: it learns of it from its next service request or tracking area update (TS 23.401 clause 5.4.4.1 step 4)."""
    results = []
    known = []
    for ebi in message.ebis:
        pdn = session.pdn_of(ebi)
        if pdn is None or ebi == pdn.linked_ebi:
            results.append(BearerContextDeleteAnswered(ebi=ebi, cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND)))
        else:
            known.append((ebi, pdn))
            results.append(BearerContextDeleteAnswered(ebi=ebi, cause=_ACCEPTED))
    cause = _ACCEPTED if len(known) == len(message.ebis) else Cause(
        value=CauseValue.REQUEST_ACCEPTED_PARTIALLY if known else CauseValue.CONTEXT_NOT_FOUND)
    try:
        # 5-8   eNodeB and phone
        for ebi, pdn in known:
            pdn.bearers.pop(ebi, None)
            if ue.connection is not None:
                await release_bearer(mme, ue, (ebi,), pti=message.pti or 0, cause=EsmCause.REGULAR_DEACTIVATION)
    except ConnectionError as error:
        mme.log.info("bearer.release_unanswered", reason=str(error))        # the phone is gone, and its bearers with it
    finally:
        # 9     whatever they say, the bearers are gone here
        for ebi, pdn in known:
            pdn.bearers.pop(ebi, None)
        mme.s11.answer(request, DeleteBearerResponse(cause=cause, bearer_contexts=tuple(results)))


async def _delete_pdn_connection(
    mme: Mme, ue: UeContext, session: SgwSession, request: RequestReceived, message: gtpv2.DeleteBearerRequest
) -> None:
    linked_ebi = message.linked_ebi
    pdn = None if linked_ebi is None else session.pdns.get(linked_ebi)
    if linked_ebi is None or pdn is None:
        refuse(mme, request, CauseValue.CONTEXT_NOT_FOUND)
        return
    reactivate = message.cause is not None and message.cause.value == CauseValue.REACTIVATION_REQUESTED
    mme.s11.answer(request, DeleteBearerResponse(cause=_ACCEPTED, linked_ebi=linked_ebi))
    del session.pdns[linked_ebi]
    if session.pdns:
        if ue.connection is not None:
            cause = EsmCause.REACTIVATION_REQUESTED if reactivate else EsmCause.REGULAR_DEACTIVATION
            await release_bearer(mme, ue, (linked_ebi, *[bearer.ebi for bearer in pdn.dedicated]), pti=0, cause=cause)
        return

    # the last PDN connection: without it the phone is not attached
    mme.s11.free(session)
    detach_type = nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED if reactivate else nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED
    mme.ues.set_state(ue, EmmState.DEREGISTERED)
    if ue.connection is not None:
        try:
            await ue.nas.request(nas.DetachRequestToUe(detach_type=detach_type), nas.DetachAccept, timer=mme.timers.t3422)
        except TimerExpired:
            mme.log.info("detach.unanswered", reason="T3422")
    if ue.connection is not None:
        release(mme, ue.connection, DETACH)
    else:
        mme.retire(ue)


# --- begun by the access network --------------------------------------------------------------------------------------------------


def bearers_lost(mme: Mme, ue: UeContext, ebis: list[int]) -> None:
    """Radio bearers are gone or could not be set up: the dedicated bearers on them are ended at the PGW."""
    session = ue.session
    if session is None:
        return
    dedicated = tuple([ebi for ebi in ebis if (pdn := session.pdn_of(ebi)) is not None and ebi != pdn.linked_ebi])
    if dedicated:
        mme.runner.start(dedicated_bearer_deactivation, mme, session, dedicated)


@procedure(spec="TS 23.401 clause 5.4.4.2, TS 29.274 clause 7.2.17")
async def dedicated_bearer_deactivation(mme: Mme, session: SgwSession, ebis: tuple[int, ...]) -> None:
    """The Delete Bearer Request that this triggers comes in like any other."""
    command = DeleteBearerCommand(bearer_contexts=tuple([gtpv2.BearerContextDeleteCommanded(ebi=ebi) for ebi in ebis]))
    packet = await mme.s11.endpoint.request(session.sgw, session.s11_sgw_teid, command)
    failure = packet.message
    if isinstance(failure, gtpv2.DeleteBearerFailureIndication):
        if failure.cause.value == CauseValue.CONTEXT_NOT_FOUND:             # the gateways do not have them either
            for ebi in ebis:
                pdn = session.pdn_of(ebi)
                if pdn is not None:
                    del pdn.bearers[ebi]
        raise Reject(failure.cause.value, "the gateways keep the bearers")


def erab_release_indication(mme: Mme, connection: S1Connection, message: s1ap.ERABReleaseIndication) -> None:
    """The eNodeB could not keep radio bearers (TS 36.413 clause 8.2.3.3); without the default one the connection makes no sense."""
    ue = connection.ue
    released = [int(item.e_rab_id) for item in message.e_rab_released_list]
    connection.e_rabs.difference_update(released)
    if ue is None or ue.session is None:
        return
    if any(ebi in ue.session.pdns for ebi in released):
        release(mme, connection, message.e_rab_released_list[0].cause)
    else:
        bearers_lost(mme, ue, released)


