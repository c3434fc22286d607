"""Create Bearer: a dedicated bearer for rules that want another QoS than the default bearer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid
from epc.peer.gtpc import RequestReceived
from epc.pgw.context import Bearer, PccRule, PdnSession, SentFilter
from epc.pgw.policy_events import change_reporting
from epc.procedure import Reject, step
from epc.wire.gtpv2 import (
    BearerContextCreateAnswered,
    BearerContextCreateRequested,
    CauseValue,
    CreateBearerRequest,
    CreateBearerResponse,
    Fteid,
    InterfaceType,
)
from epc.wire.nas import TftOperation, TrafficFlowTemplate, encode_traffic_flow_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from epc.pgw.node import Pgw

_TO_BE_GIVEN = 0        # the MME gives the identity


async def create_bearer(
    pgw: Pgw, session: PdnSession, bearer: Bearer, rules: Sequence[PccRule], filters: Sequence[SentFilter], *,
    pti: int | None = None, command: RequestReceived | None = None,
) -> None:
    """TS 23.401 clause 5.4.1. Raises :class:`Reject` with the others' cause; ``rules`` are then where they were."""
    tft = TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=tuple([sent.packet_filter for sent in filters]))
    context = BearerContextCreateRequested(
        ebi=_TO_BE_GIVEN, tft=encode_traffic_flow_template(tft), bearer_qos=bearer.qos, charging_id=bearer.charging_id,
        s5u_pgw_fteid=Fteid.at(InterfaceType.S5_S8_PGW_GTP_U, bearer.s5u_pgw.teid, bearer.s5u_pgw.address),
    )
    try:
        #  2 the UE may send before the answer is here
        step(2, "user-plane")
        for rule in rules:
            rule.moving_to = bearer
        pgw.apply(session)
        await pgw.confirmed(session)

        #  3 SGW, MME, eNodeB and UE
        step(3, "sgw")
        request = CreateBearerRequest(
            pti=pti, linked_ebi=session.ebi, bearer_contexts=(context,), change_reporting_action=change_reporting(session))
        answer = await pgw.ask_phone(session, request, CreateBearerResponse, command)
        made = _made(bearer, answer)

        # 10 the bearer stands
        step(10, "tunnels")
        if not pgw.is_established(session):
            raise Reject(CauseValue.CONTEXT_NOT_FOUND, "the PDN connection ended meanwhile")
        assert made.s5u_sgw_fteid is not None
        if made.ebi in session.bearers:
            raise Reject(CauseValue.INVALID_REPLY_FROM_REMOTE_PEER, f"bearer {made.ebi} is there already")
        bearer.ebi, bearer.s5u_sgw = made.ebi, FTeid(teid=made.s5u_sgw_fteid.teid, address=made.s5u_sgw_fteid.host)
        bearer.filters = {sent.packet_filter.identifier: sent for sent in filters}
        session.bearers[bearer.ebi] = bearer
    finally:
        for rule in rules:
            rule.moving_to = None
            if bearer.ebi and session.rules.get(rule.name) is rule and rule.is_active:
                rule.bearer = bearer
        pgw.apply(session)
    pgw.bearer_stands(session, bearer)


def _made(bearer: Bearer, answer: CreateBearerResponse) -> BearerContextCreateAnswered:
    """The bearer in the answer; raises :class:`Reject`."""
    for made in answer.bearer_contexts:
        if made.s5u_pgw_fteid is None or made.s5u_pgw_fteid.teid == bearer.s5u_pgw.teid:
            if not made.cause.is_accepted:
                raise Reject(made.cause.value, "the UE, the eNodeB or the MME refuses the bearer")
            if made.s5u_sgw_fteid is None or not made.ebi:
                break
            return made
    if not answer.cause.is_accepted:
        raise Reject(answer.cause.value, "the bearer is refused")
    raise Reject(CauseValue.INVALID_REPLY_FROM_REMOTE_PEER, "the answer lacks the bearer, its identity or its tunnel")
