"""Update Bearer from the PGW: QoS, AMBR or filters of bearers change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.node.gtpc import answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure, step
from epc.sgw.context import PdnConnection
from epc.wire.gtpv2 import UpdateBearerRequest, UpdateBearerResponse

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clauses 5.4.2, 5.4.3; TS 29.274 clause 7.2.15", starts_on=UpdateBearerRequest)
async def update_bearer(sgw: Sgw, connection: PdnConnection, received: RequestReceived, command: RequestReceived | None) -> None:
    request = received.message
    assert isinstance(request, UpdateBearerRequest)
    ue = connection.ue
    async with answering(sgw.s5, received, lambda: connection.s5c_pgw_teid):
        await sgw.standing(connection)
        step(3, "mme")
        onward = replace(request, pgw_fq_csid=None, unknown=())
        packet = await sgw.s11.request(ue.mme, ue.s11_mme_teid, onward, sgw.t3_phone, command=command)
        answer = packet.message
        assert isinstance(answer, UpdateBearerResponse)
        step(10, "answer")
        accepted = {context.ebi for context in answer.bearer_contexts if context.cause.is_accepted}
        for context in request.bearer_contexts:
            bearer = connection.bearers.get(context.ebi)
            if bearer is not None and context.ebi in accepted and context.bearer_qos is not None:
                bearer.qos = context.bearer_qos
        if sgw.charging is not None:
            sgw.charging.changed(connection)
        sgw.s5.respond(received, replace(answer, recovery=None, mme_fq_csid=None, unknown=()), connection.s5c_pgw_teid)
