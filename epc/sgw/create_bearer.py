"""Create Bearer from the PGW: dedicated bearers for a PDN connection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid, Interface, SessionChange
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
    async with answering(sgw.s5, received, lambda: connection.s5c_pgw_teid):
        #  3 the SGW's end of each S1-U tunnel; it also tells the bearers apart while the MME has given no identity
        wanted: dict[FTeid, BearerContextCreateRequested] = {}
        for context in request.bearer_contexts:
            if context.s5u_pgw_fteid is None:
                raise GtpReject(conditional_ie_missing(BearerContextCreateRequested, "s5u_pgw_fteid"))
            wanted[sgw.forwarder.allocate_f_teid(Interface.ACCESS)] = context
        step(3, "mme")
        onward = replace(
            request, pgw_fq_csid=None, unknown=(),
            bearer_contexts=tuple(
                replace(context, s1u_sgw_fteid=element(InterfaceType.S1_U_SGW_GTP_U, s1u_sgw), unknown=()) for s1u_sgw, context in wanted.items()
            ),
        )
        packet = await sgw.s11.request(ue.mme, ue.s11_mme_teid, onward, command=command)
        answer = packet.message
        assert isinstance(answer, CreateBearerResponse)

        # 10 tunnels of the bearers that the UE took
        step(10, "answer")
        if not sgw.is_established(connection):
            raise GtpReject(Cause(value=CauseValue.CONTEXT_NOT_FOUND), "the PDN connection ended meanwhile")
        results = tuple(_take(sgw, connection, wanted, result) for result in answer.bearer_contexts)
        sgw.s5.respond(
            received, replace(answer, bearer_contexts=results, recovery=None, mme_fq_csid=None, unknown=()), connection.s5c_pgw_teid
        )


def _take(
    sgw: Sgw, connection: PdnConnection, wanted: dict[FTeid, BearerContextCreateRequested], result: BearerContextCreateAnswered
) -> BearerContextCreateAnswered:
    """Install one bearer, and say for the PGW what the MME said."""
    s1u_sgw = far_end(result.s1u_sgw_fteid) if result.s1u_sgw_fteid is not None else None
    context = wanted.get(s1u_sgw) if s1u_sgw is not None else None
    if not result.cause.is_accepted or context is None or s1u_sgw is None or context.s5u_pgw_fteid is None or result.s1u_enb_fteid is None:
        refused = context if context is not None else next(iter(wanted.values()))
        cause = Cause(value=CauseValue.INVALID_REPLY_FROM_REMOTE_PEER) if result.cause.is_accepted else result.cause
        return BearerContextCreateAnswered(ebi=result.ebi, cause=cause, s5u_pgw_fteid=refused.s5u_pgw_fteid)
    bearer = Bearer(
        ebi=result.ebi, qos=context.bearer_qos, s1u_sgw=s1u_sgw, s5u_sgw=sgw.forwarder.allocate_f_teid(Interface.CORE),
        s5u_pgw=far_end(context.s5u_pgw_fteid), s1u_enb=far_end(result.s1u_enb_fteid),
    )
    sgw.forwarder.modify(
        connection.session_id,
        SessionChange(pdrs=user_plane.bearer_pdrs(bearer), fars=(user_plane.uplink_far(bearer), user_plane.downlink_far(bearer))),
    )
    connection.bearers[bearer.ebi] = bearer
    return BearerContextCreateAnswered(
        ebi=result.ebi, cause=result.cause, s5u_sgw_fteid=element(InterfaceType.S5_S8_SGW_GTP_U, bearer.s5u_sgw), s5u_pgw_fteid=context.s5u_pgw_fteid,
        pco=result.pco, ran_nas_causes=result.ran_nas_causes, epco=result.epco,
    )
