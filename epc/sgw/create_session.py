"""Create Session: a PDN connection for the UE, at the PGW and here (steps 6 and 7 of the Attach)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from epc.dataplane.rules import Interface
from epc.node.gtpc import GtpReject, answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure, step
from epc.sgw.context import Bearer, PdnConnection, UeContext
from epc.sgw.restoration import end_at_pgw
from epc.sgw.user_plane import element, far_end
from epc.transport.gtpc import GTPC_PORT
from epc.transport.interface import Address
from epc.wire.gtpv2 import (
    BearerContextCreated,
    BearerContextToBeCreated,
    Cause,
    CauseValue,
    CreateSessionRequest,
    CreateSessionResponse,
    Fteid,
    InterfaceType,
    conditional_ie_missing,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clause 5.3.2.1 steps 12 to 16, TS 29.274 clause 7.2.1", starts_on=CreateSessionRequest)
async def create_session(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    request = received.message
    assert isinstance(request, CreateSessionRequest)
    async with answering(sgw.s11, received, lambda: ue.s11_mme_teid), AsyncExitStack() as undo:
        sgw.register_ue(ue)
        undo.callback(sgw.remove_ue_if_idle, ue)
        #  6 the MME's request
        pgw = _pgw_of(request)
        wanted = request.bearer_contexts_to_be_created[0]
        former = ue.connections.get(wanted.ebi)
        if former is not None:                                      # TS 29.274 clause 7.2.1: the new PDN connection takes its place
            sgw.remove(former, keep_ue=True)
            if former.pgw != pgw:
                end_at_pgw(sgw, former)
        connection = PdnConnection(ue=ue, linked_ebi=wanted.ebi, apn=request.apn, pgw=pgw)
        connection.s5c_sgw_teid = sgw.control_teids.allocate(connection)
        undo.callback(sgw.control_teids.release, connection.s5c_sgw_teid)
        s5u_sgw = sgw.forwarder.allocate_f_teid(Interface.CORE)

        #  7 the PGW makes the session, with the PCRF's decision
        step(7, "pgw")
        onward = replace(
            request, sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, connection.s5c_sgw_teid, sgw.config.s5c.host), pgw_fteid=None,
            bearer_contexts_to_be_created=(
                replace(wanted, s5u_sgw_fteid=element(InterfaceType.S5_S8_SGW_GTP_U, s5u_sgw), s1u_enb_fteid=None, unknown=()),
            ),
            bearer_contexts_to_be_removed=(), recovery=sgw.s5.restart_counter, mme_fq_csid=None, unknown=(),
        )
        packet = await sgw.s5.request(pgw, 0, onward, sgw.t3_s5)
        answer = packet.message
        assert isinstance(answer, CreateSessionResponse)
        if not answer.cause.is_accepted:
            raise GtpReject(replace(answer.cause, cs=True), f"the PGW refuses: {answer.cause.value!r}")
        made = _bearer_made(answer, wanted)
        assert answer.pgw_fteid is not None
        assert made.s5u_pgw_fteid is not None

        #  6 and the MME learns both gateways' tunnels
        step(6, "answer")
        connection.s5c_pgw_teid = answer.pgw_fteid.teid
        connection.pgw = Address(answer.pgw_fteid.host, GTPC_PORT)
        s1u_sgw = sgw.forwarder.allocate_f_teid(Interface.ACCESS)
        connection.bearers[wanted.ebi] = Bearer(
            ebi=wanted.ebi, number=wanted.ebi, qos=made.bearer_qos or wanted.bearer_qos, s1u_sgw=s1u_sgw, s5u_sgw=s5u_sgw,
            s5u_pgw=far_end(made.s5u_pgw_fteid)
        )
        if sgw.charging is not None:
            connection.bearers[wanted.ebi].meter = sgw.charging.urr(connection.bearers[wanted.ebi])
        if wanted.s1u_enb_fteid is not None:                        # TAU or handover with another SGW: the tunnel is known already
            connection.bearers[wanted.ebi].s1u_enb = far_end(wanted.s1u_enb_fteid)
        sgw.install(connection)
        undo.pop_all()
        undo.callback(_take_back, sgw, connection)
        await sgw.confirmed(connection)
        undo.pop_all()
        if sgw.charging is not None:
            sgw.charging.connected(connection, request, answer)
        sgw.s11.respond(
            received,
            replace(
                answer, sender_fteid=Fteid.at(InterfaceType.S11_S4_SGW_GTP_C, ue.s11_sgw_teid, sgw.config.s11.host),
                bearer_contexts_created=(replace(made, s1u_sgw_fteid=element(InterfaceType.S1_U_SGW_GTP_U, s1u_sgw), unknown=()),),
                recovery=sgw.s11.restart_counter, unknown=(),
            ),
            ue.s11_mme_teid,
        )


def _take_back(sgw: Sgw, connection: PdnConnection) -> None:
    """The user plane does not carry it: neither shall the PGW."""
    sgw.remove(connection)
    end_at_pgw(sgw, connection)


def _pgw_of(request: CreateSessionRequest) -> Address:
    if request.pgw_fteid is None:
        raise GtpReject(conditional_ie_missing(CreateSessionRequest, "pgw_fteid"))
    return Address(request.pgw_fteid.host, GTPC_PORT)


def _bearer_made(answer: CreateSessionResponse, wanted: BearerContextToBeCreated) -> BearerContextCreated:
    """The default bearer in the PGW's answer, which must say where its tunnels end."""
    for made in answer.bearer_contexts_created:
        if made.ebi == wanted.ebi and made.cause.is_accepted and made.s5u_pgw_fteid is not None and answer.pgw_fteid is not None:
            return made
    raise GtpReject(Cause(value=CauseValue.INVALID_REPLY_FROM_REMOTE_PEER), "the PGW's answer lacks the default bearer or an F-TEID")
