"""Bearer resources that the UE asks for, changes and gives up: TS 24.301 clauses 6.5.3 and 6.5.4. The network answers with a bearer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import procedure, step
from epc.wire import nas
from epc.wire.nas import EsmCause, PacketFilter, TftOperation, TrafficFlowTemplate, encode_traffic_flow_template
from ran.ue import rejection
from ran.ue.indications import Answer, EsmRefused, answering, give
from ran.ue.state import Result
from ran.ue.timers import T3480, T3481

if TYPE_CHECKING:
    from ran.ue.ue import Ue


@procedure(spec="TS 24.301 clause 6.5.3")
async def allocate_bearer_resource(ue: Ue, answer: Answer | None, linked_ebi: int, filters: tuple[PacketFilter, ...], qos: nas.EpsQos) -> None:
    with answering(answer):
        step(1, "bearer-resource-allocation-request")
        reply = await ue.esm.request(
            nas.BearerResourceAllocationRequest(
                procedure_transaction_identity=ue.next_pti(), linked_eps_bearer_identity=linked_ebi, required_traffic_flow_qos=qos,
                traffic_flow_aggregate=encode_traffic_flow_template(
                    TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=filters))),
            nas.ActivateDedicatedEpsBearerContextRequest, nas.ModifyEpsBearerContextRequest, nas.BearerResourceAllocationReject, timer=T3480)
        if isinstance(reply, nas.BearerResourceAllocationReject):
            raise EsmRefused(reply.esm_cause, rejection.name(reply.esm_cause))
        give(answer, Result(success=True, ebi=reply.eps_bearer_identity))


@procedure(spec="TS 24.301 clause 6.5.4")
async def release_bearer_resource(ue: Ue, answer: Answer | None, ebi: int) -> None:
    """All packet filters of a dedicated bearer go, and so does the bearer."""
    with answering(answer):
        step(1, "bearer-resource-modification-request")
        identifiers = tuple(identifier for connection in ue.pdn_connections.values() if ebi in connection.dedicated
                            for identifier in connection.dedicated[ebi].filters)
        if not identifiers:
            raise EsmRefused(EsmCause.INVALID_EPS_BEARER_IDENTITY, f"no dedicated bearer {ebi}")
        reply = await ue.esm.request(
            nas.BearerResourceModificationRequest(
                procedure_transaction_identity=ue.next_pti(), eps_bearer_identity_for_packet_filter=ebi, esm_cause=EsmCause.REGULAR_DEACTIVATION,
                traffic_flow_aggregate=encode_traffic_flow_template(
                    TrafficFlowTemplate(operation=TftOperation.DELETE_PACKET_FILTERS, deleted=identifiers))),
            nas.DeactivateEpsBearerContextRequest, nas.ModifyEpsBearerContextRequest, nas.BearerResourceModificationReject, timer=T3481)
        if isinstance(reply, nas.BearerResourceModificationReject):
            raise EsmRefused(reply.esm_cause, rejection.name(reply.esm_cause))
        give(answer, Result(success=True, ebi=ebi))
