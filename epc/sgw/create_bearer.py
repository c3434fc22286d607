"""Create Bearer from the PGW: dedicated bearers for a PDN connection."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid, Interface
from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure, step
from epc.sgw import user_plane
from epc.sgw.context import Bearer, PdnConnection
from epc.sgw.user_plane import element, far_end
from epc.wire.gtpv2 import (
    BearerContextCreateAnswered,
    BearerContextCreateRequested,
    Cause,
    CauseValue,
    CreateBearerRequest,
    CreateBearerResponse,
    InterfaceType,
    conditional_ie_missing,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clause 5.4.1, TS 29.274 clause 7.2.3", starts_on=CreateBearerRequest)
async def create_bearer(sgw: Sgw, connection: PdnConnection, received: RequestReceived, command: RequestReceived | None) -> None:
    request = received.message
    assert isinstance(request, CreateBearerRequest)
    ue = connection.ue
    async with answering(sgw.s5, received, lambda: connection.s5c_pgw_teid), AsyncExitStack() as undo:
        #  3 tunnels; the UE may send before the MME's answer is here. The S1-U end tells the bearers apart until the MME has given identities
        await sgw.standing(connection)
        wanted: dict[FTeid, tuple[BearerContextCreateRequested, Bearer]] = {}
        for context in request.bearer_contexts:
            bearer = _prepare(sgw, connection, context)
            undo.callback(sgw.abandon_bearer, connection, bearer)
            wanted[bearer.s1u_sgw] = context, bearer
        await sgw.confirmed(connection)
        step(3, "mme")
        onward = replace(
            request, pgw_fq_csid=None, unknown=(),
            bearer_contexts=tuple(
                replace(context, s1u_sgw_fteid=element(InterfaceType.S1_U_SGW_GTP_U, s1u_sgw), unknown=())
                for s1u_sgw, (context, _) in wanted.items()
            ),
        )
        packet = await sgw.s11.request(ue.mme, ue.s11_mme_teid, onward, sgw.t3_phone, command=command)
        answer = packet.message
        assert isinstance(answer, CreateBearerResponse)

        # 10 the bearers that the UE took; the others are abandoned
        step(10, "answer")
        if not sgw.is_established(connection):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND), "the PDN connection ended meanwhile")
        results = tuple(_take(sgw, connection, wanted, result) for result in answer.bearer_contexts)
        await sgw.confirmed(connection)
        sgw.s5.respond(
            received, replace(answer, bearer_contexts=results, recovery=None, mme_fq_csid=None, unknown=()), connection.s5c_pgw_teid
        )


def _prepare(sgw: Sgw, connection: PdnConnection, context: BearerContextCreateRequested) -> Bearer:
    if context.s5u_pgw_fteid is None:
        raise GtpReject(conditional_ie_missing(BearerContextCreateRequested, "s5u_pgw_fteid"))
    bearer = Bearer(
        number=connection.free_number(), qos=context.bearer_qos, s1u_sgw=sgw.forwarder.allocate_f_teid(Interface.ACCESS),
        s5u_sgw=sgw.forwarder.allocate_f_teid(Interface.CORE), s5u_pgw=far_end(context.s5u_pgw_fteid),
    )
    if sgw.charging is not None:
        bearer.meter = sgw.charging.urr(bearer)
    connection.pending.append(bearer)
    sgw.forwarder.modify(connection.session_id, user_plane.uplink_of(bearer))
    return bearer


def _take(
    sgw: Sgw, connection: PdnConnection, wanted: dict[FTeid, tuple[BearerContextCreateRequested, Bearer]], result: BearerContextCreateAnswered
) -> BearerContextCreateAnswered:
    """Complete one bearer, and say for the PGW what the MME said."""
    context, bearer = (None, None) if result.s1u_sgw_fteid is None else wanted.get(far_end(result.s1u_sgw_fteid), (None, None))
    is_usable = result.s1u_enb_fteid is not None and bearer in connection.pending and result.ebi > 0 and result.ebi not in connection.bearers
    if not result.cause.is_accepted or context is None or bearer is None or not is_usable or result.s1u_enb_fteid is None:
        refused = next(iter(wanted.values()))[0] if context is None else context
        cause = Cause(value=CauseValue.INVALID_REPLY_FROM_REMOTE_PEER) if result.cause.is_accepted else result.cause
        return BearerContextCreateAnswered(ebi=result.ebi, cause=cause, s5u_pgw_fteid=refused.s5u_pgw_fteid, ran_nas_causes=result.ran_nas_causes)
    connection.pending.remove(bearer)
    bearer.ebi, bearer.s1u_enb = result.ebi, far_end(result.s1u_enb_fteid)
    connection.bearers[bearer.ebi] = bearer
    sgw.forwarder.modify(connection.session_id, user_plane.downlink_of(bearer))
    if sgw.charging is not None:
        sgw.charging.bearer_added(connection, bearer, context.charging_id or 0)
    return BearerContextCreateAnswered(
        ebi=result.ebi, cause=result.cause, s5u_sgw_fteid=element(InterfaceType.S5_S8_SGW_GTP_U, bearer.s5u_sgw), s5u_pgw_fteid=context.s5u_pgw_fteid,
        pco=result.pco, ran_nas_causes=result.ran_nas_causes, epco=result.epco,
    )
