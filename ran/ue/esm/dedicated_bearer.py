"""Dedicated EPS bearer contexts and modification: TS 24.301 clauses 6.4.2 and 6.4.3. The UE takes what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas
from epc.wire.nas import EsmCause

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def activate(ue: Ue, request: nas.ActivateDedicatedEpsBearerContextRequest) -> None:
    ebi, pti = request.eps_bearer_identity, request.procedure_transaction_identity
    connection = ue.pdn_connections.get(request.linked_eps_bearer_identity)
    if connection is None or not 5 <= ebi <= 15:
        # clause 6.4.2.5: #43 when the linked bearer does not exist
        ue.send_esm(nas.ActivateDedicatedEpsBearerContextReject(
            eps_bearer_identity=ebi, procedure_transaction_identity=pti, esm_cause=EsmCause.INVALID_EPS_BEARER_IDENTITY))
        return
    connection.dedicated[ebi] = request.eps_qos
    ue.tell("bearer_activated", ebi=ebi, apn=connection.apn, qci=request.eps_qos.qci)
    ue.send_esm(nas.ActivateDedicatedEpsBearerContextAccept(eps_bearer_identity=ebi))


def modify(ue: Ue, request: nas.ModifyEpsBearerContextRequest) -> None:
    ebi, pti = request.eps_bearer_identity, request.procedure_transaction_identity
    for connection in ue.pdn_connections.values():
        if ebi == connection.ebi:
            connection.qos = request.new_eps_qos or connection.qos
            connection.apn_ambr = request.apn_ambr or connection.apn_ambr
            break
        if ebi in connection.dedicated:
            connection.dedicated[ebi] = request.new_eps_qos or connection.dedicated[ebi]
            break
    else:
        ue.send_esm(nas.ModifyEpsBearerContextReject(
            eps_bearer_identity=ebi, procedure_transaction_identity=pti, esm_cause=EsmCause.INVALID_EPS_BEARER_IDENTITY))
        return
    ue.send_esm(nas.ModifyEpsBearerContextAccept(eps_bearer_identity=ebi))
