"""Session Establishment: the rules of a new PDN connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epc.dataplane.pfcp_rules import PfcpRules
from epc.peer.pfcp import Association, RequestReceived
from epc.procedure import procedure
from epc.transport.interface import Address
from epc.userplane.answering import answering
from epc.userplane.session import UpSession
from epc.wire.pfcp import CauseValue, Fseid, SessionEstablishmentRequest, SessionEstablishmentResponse

if TYPE_CHECKING:
    from epc.userplane.node import UserPlaneNode


@procedure(spec="TS 29.244 clauses 6.3.2, 7.5.2", starts_on=SessionEstablishmentRequest)
async def session_establishment(node: UserPlaneNode[Any], received: RequestReceived, association: Association) -> None:
    request = received.message
    assert isinstance(request, SessionEstablishmentRequest)
    cp_seid = request.cp_fseid.seid
    async with answering(node, received, cp_seid):
        rules = PfcpRules()
        chosen = rules.establish(request, node.forwarder.allocate_f_teid)
        seid = node.new_seid()
        session = rules.session(seid, node.default_network_instance)
        node.forwarder.install(session)
        node.add(
            UpSession(
                seid=seid, cp_seid=cp_seid, association=association, cp=Address(request.cp_fseid.host, association.peer[1]), rules=rules,
                installed=session,
            )
        )
        node.sx.respond(
            received,
            SessionEstablishmentResponse(
                node_id=node.sx.machine.local.node_id, cause=CauseValue.REQUEST_ACCEPTED, up_fseid=Fseid.at(seid, node.sx.local.host),
                created_pdrs=chosen,
            ),
            cp_seid,
        )
