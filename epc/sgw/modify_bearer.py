"""Modify Bearer: the eNodeB's end of the tunnels is known or has moved (step 10 of the Attach; Service Request, handover)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure, step
from epc.sgw.context import PdnConnection, UeContext
from epc.sgw.user_plane import element, far_end
from epc.transport.gtpc import GTPC_PORT
from epc.transport.interface import Address
from epc.wire.gtpv2 import (
    BearerContextModified,
    Cause,
    CauseValue,
    ChangeReportingAction,
    Fteid,
    InterfaceType,
    ModifyBearerRequest,
    ModifyBearerResponse,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw

_ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
_NO_SUCH_BEARER = Cause(value=CauseValue.CONTEXT_NOT_FOUND, bce=True)


@procedure(spec="TS 23.401 clauses 5.3.2.1 steps 23 and 24, 5.3.4.1, 5.5.1.1; TS 29.274 clause 7.2.7", starts_on=ModifyBearerRequest)
async def modify_bearer(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, ModifyBearerRequest)
    async with answering(sgw.s11, received, lambda: ue.s11_mme_teid):
        # 10 where the MME is
        if request.sender_fteid is not None:
            sgw.move_ue(ue, Address(request.sender_fteid.host, GTPC_PORT), request.sender_fteid.teid)

        # 10 what the PGW must know too
        action: ChangeReportingAction | int | None = None
        if _concerns_the_pgw(request):
            step(10, "pgw")
            for connection in _connections(ue, request):
                action = await _tell_pgw(sgw, connection, request) or action

        if sgw.charging is not None:
            for connection in _connections(ue, request):
                sgw.charging.changed(connection, request)

        # 10 downlink tunnels
        step(10, "tunnels")
        results: list[BearerContextModified] = []
        for wanted in request.bearer_contexts_to_be_modified:
            found = ue.bearer(wanted.ebi)
            if found is None:
                results.append(BearerContextModified(ebi=wanted.ebi, cause=_NO_SUCH_BEARER))
                continue
            connection, bearer = found
            if wanted.s1u_enb_fteid is not None:
                sgw.set_downlink(connection, wanted.ebi, far_end(wanted.s1u_enb_fteid))
            results.append(
                BearerContextModified(ebi=wanted.ebi, cause=_ACCEPTED, s1u_sgw_fteid=element(InterfaceType.S1_U_SGW_GTP_U, bearer.s1u_sgw))
            )
        await sgw.confirmed(*ue.connections.values())
        accepted = sum(1 for result in results if result.cause.is_accepted)
        if results and not accepted:
            raise GtpReject(_NO_SUCH_BEARER)
        cause = _ACCEPTED if accepted == len(results) else Cause(value=CauseValue.REQUEST_ACCEPTED_PARTIALLY)
        sgw.s11.respond(
            received,
            ModifyBearerResponse(
                cause=cause, bearer_contexts_modified=tuple(results), change_reporting_action=action,
                recovery=None if request.recovery is None else sgw.s11.restart_counter
            ),
            ue.s11_mme_teid,
        )


def _concerns_the_pgw(request: ModifyBearerRequest) -> bool:
    """Location, access or network of the UE is in it (TS 23.401 clause 5.3.4.1 step 9)."""
    return request.rat_type is not None or request.uli is not None or request.serving_network is not None or request.ue_time_zone is not None


def _connections(ue: UeContext, request: ModifyBearerRequest) -> list[PdnConnection]:
    """Those that the request names bearers of; all if it names none."""
    named = [found[0] for wanted in request.bearer_contexts_to_be_modified if (found := ue.bearer(wanted.ebi)) is not None]
    return list(dict.fromkeys(named)) if request.bearer_contexts_to_be_modified else list(ue.connections.values())


async def _tell_pgw(sgw: Sgw, connection: PdnConnection, request: ModifyBearerRequest) -> ChangeReportingAction | int | None:
    """What the PGW wants to hear from now on."""
    onward = replace(
        request, sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, connection.s5c_sgw_teid, sgw.config.s5c.host),
        bearer_contexts_to_be_modified=(), bearer_contexts_to_be_removed=(), recovery=None, mme_fq_csid=None, unknown=(),
        delay_downlink_packet_notification_request=None,
    )
    packet = await sgw.s5.request(connection.pgw, connection.s5c_pgw_teid, onward, sgw.t3_s5)
    answer = packet.message
    assert isinstance(answer, ModifyBearerResponse)
    if answer.cause.value == CauseValue.CONTEXT_NOT_FOUND:          # TS 29.274 clause 7.2.8: the PGW has lost it, so it is lost here too
        sgw.remove(connection)
    if not answer.cause.is_accepted:
        raise GtpReject(replace(answer.cause, cs=True), f"the PGW refuses: {answer.cause.value!r}")
    return answer.change_reporting_action
