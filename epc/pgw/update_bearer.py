"""Update Bearer: the default bearer's QoS or the APN's bit rate changes, on the PCRF's or the HSS's wish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.pgw.context import PdnSession
from epc.pgw.policy import Policy
from epc.procedure import Reject, procedure, step
from epc.wire.gtpv2 import (
    Ambr,
    BearerContextUpdateRequested,
    Cause,
    CauseValue,
    ModifyBearerCommand,
    UpdateBearerRequest,
    UpdateBearerResponse,
)

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_UNLIMITED = Ambr(uplink_kbps=0xFFFFFFFF, downlink_kbps=0xFFFFFFFF)


@procedure(spec="TS 23.401 clause 5.4.2.1, TS 29.274 clause 7.2.15")
async def update_bearer(pgw: Pgw, session: PdnSession, policy: Policy) -> None:
    """What the PCRF decided; the forwarder follows when the UE has it."""
    await _update(pgw, session, policy, None)


@procedure(spec="TS 23.401 clause 5.4.2.2, TS 29.274 clause 7.2.14", starts_on=ModifyBearerCommand)
async def modify_bearer_command(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    """What the HSS changed in the subscription; the triggered Update Bearer Request is the command's answer."""
    command = received.message
    assert isinstance(command, ModifyBearerCommand)
    context = command.bearer_context
    if context.ebi != session.ebi or not pgw.is_established(session):
        async with answering(pgw.s5, received, lambda: session.s5c_sgw_teid):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND, bce=True), f"no bearer {context.ebi}")
    await _update(pgw, session, Policy(qos=context.bearer_qos or session.policy.qos, ambr=command.ambr), received)


async def _update(pgw: Pgw, session: PdnSession, policy: Policy, command: RequestReceived | None) -> None:
    qos = None if policy.qos == session.policy.qos else policy.qos
    request = UpdateBearerRequest(
        bearer_contexts=(BearerContextUpdateRequested(ebi=session.ebi, bearer_qos=qos),),
        ambr=policy.ambr or _UNLIMITED,
    )
    step(3, "sgw")
    packet = await pgw.s5.request(session.sgw, session.s5c_sgw_teid, request, command=command)
    answer = packet.message
    assert isinstance(answer, UpdateBearerResponse)
    if answer.cause.value == CauseValue.CONTEXT_NOT_FOUND:
        pgw.forget(session)
    if not answer.cause.is_accepted:
        raise Reject(answer.cause.value, "the UE, the MME or the SGW refuses")
    if pgw.is_established(session):
        session.policy = policy
        session.default_bearer.qos = policy.qos
        pgw.apply(session)
