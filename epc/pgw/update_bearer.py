"""Update Bearer: the QoS or the filters of a bearer, or the APN's bit rate, change, on the PCRF's or the HSS's wish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw import gx
from epc.pgw.context import Bearer, PdnSession, SentFilter
from epc.pgw.policy import Policy
from epc.pgw.policy_events import change_reporting
from epc.procedure import Reject, procedure, step
from epc.wire.diameter.gx import EventTrigger
from epc.wire.gtpv2 import (
    Ambr,
    BearerContextUpdateRequested,
    BearerQos,
    Cause,
    CauseValue,
    ModifyBearerCommand,
    UpdateBearerRequest,
    UpdateBearerResponse,
)
from epc.wire.nas import TftOperation, TrafficFlowTemplate, encode_traffic_flow_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from epc.pgw.node import Pgw

_UNLIMITED = Ambr(uplink_kbps=0xFFFFFFFF, downlink_kbps=0xFFFFFFFF)


@procedure(spec="TS 23.401 clause 5.4.2.2, TS 29.274 clause 7.2.14", starts_on=ModifyBearerCommand)
async def modify_bearer_command(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    """What the HSS changed in the subscription; the triggered Update Bearer Request is the command's answer."""
    command = received.message
    assert isinstance(command, ModifyBearerCommand)
    context = command.bearer_context
    if context.ebi != session.ebi or not pgw.is_established(session):
        async with answering(pgw.s5, received, lambda: session.s5c_sgw_teid):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND, bce=True), f"no bearer {context.ebi}")

    #  4 the PCRF has the last word
    step(4, "policy")
    subscribed = Policy(qos=context.bearer_qos or session.policy.qos, ambr=command.ambr)
    session.wanted_policy = await gx.authorise(pgw, session, subscribed)

    #  5 the UE hears of it
    await update_default_bearer(pgw, session, session.wanted_policy, received)


async def update_default_bearer(pgw: Pgw, session: PdnSession, policy: Policy, command: RequestReceived | None = None) -> None:
    """TS 23.401 clause 5.4.2.1. The forwarder follows when the UE has it; raises :class:`Reject` with the others' cause."""
    qos = None if policy.qos == session.policy.qos else policy.qos
    request = UpdateBearerRequest(
        bearer_contexts=(BearerContextUpdateRequested(ebi=session.ebi, bearer_qos=qos),), ambr=policy.ambr or _UNLIMITED,
        change_reporting_action=change_reporting(session))
    step(5, "sgw")
    try:
        answer = await pgw.ask_phone(session, request, UpdateBearerResponse, command)
        if answer.cause.value == CauseValue.CONTEXT_NOT_FOUND:
            pgw.forget(session)
        if not answer.cause.is_accepted:
            raise Reject(answer.cause.value, "the UE, the MME or the SGW refuses")
    except Reject as error:
        if error.cause != CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS:
            failures = [EventTrigger.DEFAULT_EPS_BEARER_QOS_MODIFICATION_FAILURE] if qos is not None else []
            if policy.ambr != session.policy.ambr:
                failures.append(EventTrigger.APN_AMBR_MODIFICATION_FAILURE)
            if session.wanted_policy == policy:
                session.wanted_policy = session.policy
            pgw.report(session, *failures)
        raise
    if pgw.is_established(session):
        session.policy = policy
        session.default_bearer.qos = policy.qos
        pgw.apply(session)


async def update_bearer(
    pgw: Pgw, session: PdnSession, bearer: Bearer, qos: BearerQos, added: Sequence[SentFilter], old: Sequence[int], *,
    pti: int | None = None, command: RequestReceived | None = None,
) -> None:
    """TS 23.401 clauses 5.4.2.1 and 5.4.3: filters are added, or old ones go. Raises :class:`Reject` with the others' cause."""
    tft: TrafficFlowTemplate | None = None
    if added:
        tft = TrafficFlowTemplate(operation=TftOperation.ADD_PACKET_FILTERS, filters=tuple([sent.packet_filter for sent in added]))
    elif old:
        tft = TrafficFlowTemplate(operation=TftOperation.DELETE_PACKET_FILTERS, deleted=tuple(old))
    request = UpdateBearerRequest(
        pti=pti, ambr=session.policy.ambr or _UNLIMITED, change_reporting_action=change_reporting(session),
        bearer_contexts=(BearerContextUpdateRequested(
            ebi=bearer.ebi, tft=None if tft is None else encode_traffic_flow_template(tft), bearer_qos=None if qos == bearer.qos else qos),))
    step(3, "sgw")
    answer = await pgw.ask_phone(session, request, UpdateBearerResponse, command)
    cause = next((context.cause for context in answer.bearer_contexts if context.ebi == bearer.ebi), answer.cause)
    if CauseValue.CONTEXT_NOT_FOUND in (cause.value, answer.cause.value):
        pgw.lose_bearer(session, bearer)
    if not cause.is_accepted:
        raise Reject(cause.value, f"bearer {bearer.ebi} stays as it is")
    bearer.qos = qos
    for sent in added:
        bearer.filters[sent.packet_filter.identifier] = sent
    for identifier in () if added else old:
        bearer.filters.pop(identifier, None)
    if pgw.is_established(session):
        pgw.apply(session)
