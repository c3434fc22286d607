"""QoS, filters or the APN's bit rate change: TS 23.401 clauses 5.4.2.1 and 5.4.3, TS 24.301 clause 6.4.3."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.mme.bearer_request import COLLISIONS, answering, cause_of, dropped, is_reachable, session_of
from epc.mme.change_notification import take_action
from epc.mme.create_bearer import eps_qos
from epc.mme.erab_modify import erab_modify
from epc.mme.esm_exchange import answers
from epc.mme.ue_context import PdnConnection
from epc.peer.gtpc import RequestReceived
from epc.procedure import Reject, procedure, step
from epc.wire import nas
from epc.wire.gtpv2 import (
    Ambr,
    BearerContextUpdateAnswered,
    BearerContextUpdateRequested,
    Cause,
    CauseValue,
    UpdateBearerRequest,
    UpdateBearerResponse,
)

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

_ACCEPT, _REJECT = nas.ModifyEpsBearerContextAccept, nas.ModifyEpsBearerContextReject
_MOST_AMBR_KBPS = 65_280_000         # TS 24.301 clause 9.9.4.2


@procedure(accepts=(_ACCEPT, _REJECT), spec="TS 23.401 clauses 5.4.2.1 and 5.4.3", collisions=COLLISIONS, dropped=dropped)
async def update_bearer(mme: Mme, ue: UeContext, request: RequestReceived, paged: bool = False) -> None:
    message = request.message
    assert isinstance(message, UpdateBearerRequest)
    with answering(mme, request):
        #  3    the phone is called if it is idle
        session = session_of(ue, request)
        known = {context.ebi: context for context in message.bearer_contexts if session.pdn_of(context.ebi) is not None}
        pdn = None if not known else session.pdn_of(next(iter(known)))
        if pdn is None:
            raise Reject(CauseValue.CONTEXT_NOT_FOUND, "no such bearer")
        take_action(pdn, message.change_reporting_action)
        if not await is_reachable(mme, ue, update_bearer, request, paged):
            return

        #  4-5  the radio side, for those with another QoS or bit rate; the phone's part goes with it
        step(4, "radio-bearers")
        ambr_changes = message.ambr != pdn.ambr
        former_ambr, pdn.ambr = pdn.ambr, message.ambr
        changes = {ebi: _modification(pdn, context, message.pti or 0, message.ambr if ambr_changes else None) for ebi, context in known.items()}
        on_the_radio = [ebi for ebi, context in known.items() if context.bearer_qos is not None or (ambr_changes and ebi == pdn.linked_ebi)]
        causes: dict[int, CauseValue] = {}
        if on_the_radio:
            wanted = [(replace(pdn.bearers[ebi], qos=known[ebi].bearer_qos or pdn.bearers[ebi].qos), ue.link.protect(changes[ebi]))
                      for ebi in on_the_radio]
            try:
                refused = await erab_modify(mme, ue, wanted)
            except Reject as error:
                pdn.ambr = former_ambr
                raise Reject(CauseValue.UE_NOT_RESPONDING, str(error)) from error
            causes = dict.fromkeys(refused, CauseValue.NO_RESOURCES_AVAILABLE)
        for ebi in known.keys() - set(on_the_radio):
            ue.nas.send(changes[ebi])

        #  8    the phone's session management responses
        step(8, "phone")
        pending = {ebi: change for ebi, change in changes.items() if ebi not in causes}
        heard = await answers(mme, ue, pending, _ACCEPT, _REJECT, timer=mme.timers.t3486)
        for ebi in pending:
            answer = heard.get(ebi)
            if answer is None:
                causes[ebi] = CauseValue.UE_NOT_RESPONDING
            elif isinstance(answer, _REJECT):
                causes[ebi] = cause_of(answer.esm_cause)

        #  9    what came of it
        for ebi, context in known.items():
            bearer = pdn.bearers.get(ebi)
            if bearer is not None and ebi not in causes and context.bearer_qos is not None:
                bearer.qos = context.bearer_qos
        if ambr_changes and causes.get(pdn.linked_ebi) is not None:
            pdn.ambr = former_ambr
        for context in message.bearer_contexts:
            if context.ebi not in known:
                causes[context.ebi] = CauseValue.CONTEXT_NOT_FOUND
        results = tuple([
            BearerContextUpdateAnswered(ebi=context.ebi, cause=Cause(value=causes.get(context.ebi, CauseValue.REQUEST_ACCEPTED)))
            for context in message.bearer_contexts])
        made = sum(result.cause.is_accepted for result in results)
        cause = CauseValue.REQUEST_ACCEPTED if made == len(results) else CauseValue.REQUEST_ACCEPTED_PARTIALLY if made else results[0].cause.value
        mme.s11.answer(request, UpdateBearerResponse(cause=Cause(value=cause), bearer_contexts=results))


def _modification(pdn: PdnConnection, context: BearerContextUpdateRequested, pti: int, ambr: Ambr | None) -> nas.ModifyEpsBearerContextRequest:
    """The APN-AMBR goes with the default bearer."""
    is_default = context.ebi == pdn.linked_ebi
    return nas.ModifyEpsBearerContextRequest(
        eps_bearer_identity=context.ebi, procedure_transaction_identity=pti,
        new_eps_qos=None if context.bearer_qos is None else eps_qos(context.bearer_qos), tft=context.tft,
        apn_ambr=None if ambr is None or not is_default else nas.ApnAmbr(
            downlink_kbps=min(ambr.downlink_kbps, _MOST_AMBR_KBPS), uplink_kbps=min(ambr.uplink_kbps, _MOST_AMBR_KBPS)),
        protocol_configuration_options=context.pco, extended_protocol_configuration_options=context.epco)
