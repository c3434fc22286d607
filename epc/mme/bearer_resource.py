"""The phone asks for bearer resources, or gives some up: TS 23.401 clause 5.4.5, TS 24.301 clauses 6.5.3 and 6.5.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.bearer_request import COLLISIONS
from epc.procedure import Reject, TimerExpired, procedure
from epc.wire import nas
from epc.wire.gtpv2 import BearerResourceCommand, CauseValue, FlowQos, RatType
from epc.wire.identity import Ebi
from epc.wire.nas import EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

# TS 29.274 annex C.2; what it does not map is #30
_ESM_CAUSES: dict[int | str, EsmCause] = {
    CauseValue.SEMANTIC_ERROR_IN_THE_TAD_OPERATION: EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION,
    CauseValue.SYNTACTIC_ERROR_IN_THE_TAD_OPERATION: EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION,
    CauseValue.SEMANTIC_ERRORS_IN_PACKET_FILTERS: EsmCause.SEMANTIC_ERRORS_IN_PACKET_FILTERS,
    CauseValue.SYNTACTIC_ERRORS_IN_PACKET_FILTERS: EsmCause.SYNTACTICAL_ERRORS_IN_PACKET_FILTERS,
    CauseValue.NO_RESOURCES_AVAILABLE: EsmCause.INSUFFICIENT_RESOURCES,
    CauseValue.SERVICE_DENIED: EsmCause.REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED,
    CauseValue.SERVICE_NOT_SUPPORTED: EsmCause.SERVICE_OPTION_NOT_SUPPORTED,
}


@procedure(starts_on=nas.BearerResourceAllocationRequest, spec="TS 23.401 clause 5.4.5, TS 24.301 clause 6.5.3", collisions=COLLISIONS)
async def bearer_resource_allocation(mme: Mme, ue: UeContext, request: nas.BearerResourceAllocationRequest) -> None:
    pti = request.procedure_transaction_identity
    try:
        await _ask(mme, ue, pti, request.linked_eps_bearer_identity, None, request.traffic_flow_aggregate, request.required_traffic_flow_qos)
    except (Reject, TimerExpired) as error:
        ue.nas.send(nas.BearerResourceAllocationReject(procedure_transaction_identity=pti, esm_cause=_esm_cause(error)))
        raise


@procedure(starts_on=nas.BearerResourceModificationRequest, spec="TS 23.401 clause 5.4.5, TS 24.301 clause 6.5.4", collisions=COLLISIONS)
async def bearer_resource_modification(mme: Mme, ue: UeContext, request: nas.BearerResourceModificationRequest) -> None:
    pti, ebi = request.procedure_transaction_identity, request.eps_bearer_identity_for_packet_filter
    try:
        pdn = None if ue.session is None else ue.session.pdn_of(ebi)
        if pdn is None:
            raise Reject(EsmCause.INVALID_EPS_BEARER_IDENTITY, f"no bearer {ebi}")
        await _ask(mme, ue, pti, pdn.linked_ebi, ebi, request.traffic_flow_aggregate, request.required_traffic_flow_qos)
    except (Reject, TimerExpired) as error:
        ue.nas.send(nas.BearerResourceModificationReject(procedure_transaction_identity=pti, esm_cause=_esm_cause(error)))
        raise


async def _ask(mme: Mme, ue: UeContext, pti: int, linked_ebi: int, ebi: int | None, tad: bytes, qos: nas.EpsQos | None) -> None:
    """Done when the PGW's request for bearers is here: its procedure, which is next, has the phone's answer in it."""
    session = ue.session
    if session is None or linked_ebi not in session.pdns:
        raise Reject(EsmCause.INVALID_EPS_BEARER_IDENTITY, f"no PDN connection with default bearer {linked_ebi}")
    await mme.s11.command(session, BearerResourceCommand(
        linked_ebi=Ebi(linked_ebi), pti=pti, tad=tad, ebi=None if ebi is None else Ebi(ebi), rat_type=RatType.EUTRAN,
        flow_qos=None if qos is None else FlowQos(
            qci=qos.qci, mbr_uplink_kbps=qos.maximum_bit_rate_uplink_kbps or 0, mbr_downlink_kbps=qos.maximum_bit_rate_downlink_kbps or 0,
            gbr_uplink_kbps=qos.guaranteed_bit_rate_uplink_kbps or 0, gbr_downlink_kbps=qos.guaranteed_bit_rate_downlink_kbps or 0)))


def _esm_cause(error: Reject | TimerExpired) -> EsmCause:
    if isinstance(error, TimerExpired):
        return EsmCause.NETWORK_FAILURE
    if isinstance(error.cause, EsmCause):
        return error.cause
    return _ESM_CAUSES.get(error.cause, EsmCause.REQUEST_REJECTED_BY_SERVING_GW_OR_PDN_GW)
