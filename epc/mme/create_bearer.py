"""Dedicated bearers: TS 23.401 clause 5.4.1, TS 24.301 clause 6.4.2."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from epc.mme.bearer_request import COLLISIONS, answering, cause_of, dropped, is_reachable, session_of
from epc.mme.change_notification import take_action
from epc.mme.erab_release import erab_release
from epc.mme.erab_setup import erab_setup
from epc.mme.esm_exchange import answers
from epc.mme.s1_connection import S1Connection
from epc.mme.ue_context import Bearer, PdnConnection
from epc.peer.gtpc import RequestReceived
from epc.procedure import Reject, procedure, step
from epc.wire import nas
from epc.wire.gtpv2 import (
    BearerContextCreateAnswered,
    BearerContextCreateRequested,
    BearerQos,
    Cause,
    CauseValue,
    CreateBearerRequest,
    CreateBearerResponse,
    InterfaceType,
)

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

_NO_IDENTITY = 0
_ACCEPT, _REJECT = nas.ActivateDedicatedEpsBearerContextAccept, nas.ActivateDedicatedEpsBearerContextReject


@procedure(accepts=(_ACCEPT, _REJECT), spec="TS 23.401 clause 5.4.1", collisions=COLLISIONS, dropped=dropped)
async def create_bearer(mme: Mme, ue: UeContext, request: RequestReceived, paged: bool = False) -> None:
    message = request.message
    assert isinstance(message, CreateBearerRequest)
    with answering(mme, request):
        #  3    the phone is called if it is idle
        session = session_of(ue, request)
        pdn = session.pdns.get(message.linked_ebi)
        if pdn is None:
            raise Reject(CauseValue.CONTEXT_NOT_FOUND, f"no PDN connection with default bearer {message.linked_ebi}")
        take_action(pdn, message.change_reporting_action)
        if not await is_reachable(mme, ue, create_bearer, request, paged):
            return

        #  4-5  identities, radio bearers and the session management request in them
        step(4, "radio-bearers")
        if any(context.s1u_sgw_fteid is None for context in message.bearer_contexts):
            raise Reject(CauseValue.CONDITIONAL_IE_MISSING, "no S1-U tunnel of the SGW")
        free = session.free_ebis()
        wanted = dict(zip(free, message.bearer_contexts, strict=False))
        if not wanted:
            raise Reject(CauseValue.NO_RESOURCES_AVAILABLE, "no bearer identity is free")
        bearers = {ebi: _bearer(ebi, context) for ebi, context in wanted.items()}
        activations = {ebi: _activation(ebi, pdn, context, message.pti or 0) for ebi, context in wanted.items()}
        async with AsyncExitStack() as undo:
            connection = ue.link
            undo.callback(_abandon, mme, connection, tuple(bearers))
            try:
                refused = await erab_setup(mme, ue, [(bearers[ebi], connection.protect(activation)) for ebi, activation in activations.items()])
            except Reject as error:
                raise Reject(CauseValue.UE_NOT_RESPONDING, str(error)) from error

            #  8    the phone's session management responses
            step(8, "phone")
            pending = {ebi: activation for ebi, activation in activations.items() if ebi not in refused}
            heard = await answers(mme, ue, pending, _ACCEPT, _REJECT, timer=mme.timers.t3485)
            undo.pop_all()

        #  9    what came of it
        causes = dict.fromkeys(refused, CauseValue.NO_RESOURCES_AVAILABLE)
        for ebi in pending:
            answer = heard.get(ebi)
            if isinstance(answer, _REJECT):
                causes[ebi] = cause_of(answer.esm_cause)
            elif answer is None:
                causes[ebi] = CauseValue.UE_NOT_RESPONDING
            else:
                pdn.bearers[ebi] = bearers[ebi]
        _abandon(mme, connection, tuple([ebi for ebi in pending if ebi not in pdn.bearers]))
        results = [_result(mme, ebi, wanted[ebi], bearers[ebi], causes.get(ebi)) for ebi in wanted]
        results += [
            BearerContextCreateAnswered(
                ebi=_NO_IDENTITY, cause=Cause(value=CauseValue.NO_RESOURCES_AVAILABLE), s1u_sgw_fteid=context.s1u_sgw_fteid)
            for context in message.bearer_contexts if context not in wanted.values()]
        made = sum(result.cause.is_accepted for result in results)
        cause = CauseValue.REQUEST_ACCEPTED if made == len(results) else CauseValue.REQUEST_ACCEPTED_PARTIALLY if made else results[0].cause.value
        mme.s11.answer(request, CreateBearerResponse(cause=Cause(value=cause), bearer_contexts=tuple(results)))
        if not made:
            raise Reject(cause, "no bearer was set up")


def _bearer(ebi: int, context: BearerContextCreateRequested) -> Bearer:
    fteid = context.s1u_sgw_fteid
    assert fteid is not None
    address = fteid.ipv4 or fteid.ipv6
    assert address is not None
    return Bearer(ebi, context.bearer_qos, fteid.teid, address)


def _activation(ebi: int, pdn: PdnConnection, context: BearerContextCreateRequested, pti: int) -> nas.ActivateDedicatedEpsBearerContextRequest:
    return nas.ActivateDedicatedEpsBearerContextRequest(
        eps_bearer_identity=ebi, procedure_transaction_identity=pti, linked_eps_bearer_identity=pdn.linked_ebi, eps_qos=eps_qos(context.bearer_qos),
        tft=context.tft, protocol_configuration_options=context.pco, extended_protocol_configuration_options=context.epco)


def eps_qos(qos: BearerQos) -> nas.EpsQos:
    """As the phone is told it: rates only for a GBR bearer, and none above what fits (TS 24.301 clause 9.9.4.3)."""
    rates = (qos.mbr_uplink_kbps, qos.mbr_downlink_kbps, qos.gbr_uplink_kbps, qos.gbr_downlink_kbps)
    if not any(rates):
        return nas.EpsQos(qci=qos.qci)
    most = [min(rate, _MOST_KBPS) for rate in rates]
    return nas.EpsQos(
        qci=qos.qci, maximum_bit_rate_uplink_kbps=most[0], maximum_bit_rate_downlink_kbps=most[1], guaranteed_bit_rate_uplink_kbps=most[2],
        guaranteed_bit_rate_downlink_kbps=most[3])


_MOST_KBPS = 10_000_000


def _abandon(mme: Mme, connection: S1Connection, ebis: tuple[int, ...]) -> None:
    """The eNodeB gives up radio bearers that the phone has not accepted (TS 24.301 clause 6.4.2.5); nobody waits for it."""
    given = tuple([ebi for ebi in ebis if ebi in connection.e_rabs])
    if given and connection.ue is not None and not connection.is_releasing:
        mme.runner.start(radio_bearers_abandoned, mme, connection, given)


@procedure(spec="TS 36.413 clause 8.2.3")
async def radio_bearers_abandoned(mme: Mme, connection: S1Connection, ebis: tuple[int, ...]) -> None:
    await erab_release(mme, connection, ebis)


def _result(
    mme: Mme, ebi: int, context: BearerContextCreateRequested, bearer: Bearer, refusal: CauseValue | None
) -> BearerContextCreateAnswered:
    if refusal is not None:
        return BearerContextCreateAnswered(ebi=_NO_IDENTITY, cause=Cause(value=refusal), s1u_sgw_fteid=context.s1u_sgw_fteid)
    return BearerContextCreateAnswered(
        ebi=ebi, cause=Cause(value=CauseValue.REQUEST_ACCEPTED), s1u_sgw_fteid=context.s1u_sgw_fteid,
        s1u_enb_fteid=mme.s11.fteid(InterfaceType.S1_U_ENODEB_GTP_U, bearer.s1u_enb_teid or 0, bearer.s1u_enb_address))
