"""Delete Bearer from the PGW: dedicated bearers or the whole PDN connection end, on the network's wish."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.node.gtpc import answering
from epc.peer.gtpc import RequestReceived
from epc.procedure import procedure, step
from epc.sgw.context import PdnConnection
from epc.wire.cdr import CauseForRecClosing
from epc.wire.gtpv2 import CauseValue, DeleteBearerRequest, DeleteBearerResponse

if TYPE_CHECKING:
    from epc.sgw.node import Sgw


@procedure(spec="TS 23.401 clause 5.4.4.1, TS 29.274 clause 7.2.9.2", starts_on=DeleteBearerRequest)
async def delete_bearer(sgw: Sgw, connection: PdnConnection, received: RequestReceived, command: RequestReceived | None) -> None:
    request = received.message
    assert isinstance(request, DeleteBearerRequest)
    async with answering(sgw.s5, received, lambda: connection.s5c_pgw_teid):
        # 3-9 the MME, the eNodeB and the UE
        await sgw.standing(connection)
        step(3, "mme")
        ue = connection.ue
        onward = replace(request, pgw_fq_csid=None, unknown=())
        packet = await sgw.s11.request(ue.mme, ue.s11_mme_teid, onward, sgw.t3_phone, command=command)
        answer = packet.message
        assert isinstance(answer, DeleteBearerResponse)

        # 10 here and at the PGW the bearers end if the MME let go of them or has never heard of them
        step(10, "answer")
        if answer.cause.is_accepted or answer.cause.value == CauseValue.CONTEXT_NOT_FOUND:
            if request.linked_ebi is not None:
                sgw.remove(connection, cause=CauseForRecClosing.NORMAL_RELEASE)
            else:
                for ebi in request.ebis:
                    sgw.remove_bearer(connection, ebi)
        sgw.s5.respond(received, replace(answer, recovery=None, mme_fq_csid=None, unknown=()), connection.s5c_pgw_teid)
