"""Dedicated EPS bearer contexts and modification: TS 24.301 clauses 6.4.2 and 6.4.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.wire import nas
from epc.wire.nas import EsmCause, PacketFilter, TftOperation, TftSyntaxError
from ran.ue.indications import EsmRefused
from ran.ue.state import DedicatedBearer, PdnConnection

if TYPE_CHECKING:
    from ran.ue.ue import Ue


def activate(ue: Ue, request: nas.ActivateDedicatedEpsBearerContextRequest) -> None:
    ebi, pti = request.eps_bearer_identity, request.procedure_transaction_identity
    try:
        connection = ue.pdn_connections.get(request.linked_eps_bearer_identity)
        if connection is None or not 5 <= ebi <= 15:
            # clause 6.4.2.5: #43 when the linked bearer does not exist
            raise EsmRefused(EsmCause.INVALID_EPS_BEARER_IDENTITY)
        if ue.behaviour.refuse_dedicated_bearers is not None:
            raise EsmRefused(ue.behaviour.refuse_dedicated_bearers)
        tft = _read(request.tft)
        if tft.operation != TftOperation.CREATE_NEW_TFT:
            raise EsmRefused(EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION)      # clause 6.4.2.4 a
        if not any(each.is_uplink for each in tft.filters):
            raise EsmRefused(EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION)      # a dedicated bearer has an uplink filter at least
    except EsmRefused as refusal:
        ue.send_esm(nas.ActivateDedicatedEpsBearerContextReject(
            eps_bearer_identity=ebi, procedure_transaction_identity=pti, esm_cause=refusal.esm_cause))
        return
    for each in ue.pdn_connections.values():                # clause 6.4.2.6: a context of the same identity is the network's old one
        each.dedicated.pop(ebi, None)
    _drop_same_precedence(connection, tft.filters)
    connection.dedicated[ebi] = DedicatedBearer(qos=request.eps_qos, filters={each.identifier: each for each in tft.filters})
    ue.tell("bearer_activated", ebi=ebi, apn=connection.apn, qci=request.eps_qos.qci)
    ue.esm.feed(request)                                    # it may answer a request of ours
    ue.send_esm(nas.ActivateDedicatedEpsBearerContextAccept(eps_bearer_identity=ebi))


def modify(ue: Ue, request: nas.ModifyEpsBearerContextRequest) -> None:
    ebi, pti = request.eps_bearer_identity, request.procedure_transaction_identity
    try:
        if ue.behaviour.refuse_modifications is not None:
            raise EsmRefused(ue.behaviour.refuse_modifications)
        _modify(ue, ebi, request)
    except EsmRefused as refusal:
        ue.send_esm(nas.ModifyEpsBearerContextReject(eps_bearer_identity=ebi, procedure_transaction_identity=pti, esm_cause=refusal.esm_cause))
        return
    ue.tell("bearer_modified", ebi=ebi)
    ue.esm.feed(request)
    ue.send_esm(nas.ModifyEpsBearerContextAccept(eps_bearer_identity=ebi))


def _modify(ue: Ue, ebi: int, request: nas.ModifyEpsBearerContextRequest) -> None:
    """Raises :class:`EsmRefused`, and nothing is changed then (clause 6.4.3.4)."""
    for connection in ue.pdn_connections.values():
        if ebi == connection.ebi:
            if request.tft is not None:
                raise EsmRefused(EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION)      # this UE keeps no filters for a default bearer
            connection.qos = request.new_eps_qos or connection.qos
            connection.apn_ambr = request.apn_ambr or connection.apn_ambr
            return
        bearer = connection.dedicated.get(ebi)
        if bearer is not None:
            if request.tft is not None:
                _change_filters(connection, bearer, _read(request.tft))
            bearer.qos = request.new_eps_qos or bearer.qos
            return
    raise EsmRefused(EsmCause.INVALID_EPS_BEARER_IDENTITY)


def _change_filters(connection: PdnConnection, bearer: DedicatedBearer, tft: nas.TrafficFlowTemplate) -> None:
    filters = dict(bearer.filters)
    match tft.operation:
        case TftOperation.CREATE_NEW_TFT:
            filters = {each.identifier: each for each in tft.filters}       # clause 6.4.3.4 a 1: no error, the old one goes
        case TftOperation.ADD_PACKET_FILTERS | TftOperation.REPLACE_PACKET_FILTERS:
            filters.update({each.identifier: each for each in tft.filters})
        case TftOperation.DELETE_PACKET_FILTERS:
            for identifier in tft.deleted:
                filters.pop(identifier, None)
        case TftOperation.DELETE_EXISTING_TFT:
            filters = {}
    if not any(each.is_uplink for each in filters.values()):
        raise EsmRefused(EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION)
    bearer.filters = filters
    _drop_same_precedence(connection, tft.filters, besides=bearer)


def _drop_same_precedence(connection: PdnConnection, new: tuple[PacketFilter, ...], besides: DedicatedBearer | None = None) -> None:
    """A filter of another bearer with the precedence of a new one is the network's old one (clause 6.4.2.4 b 1)."""
    taken = {each.precedence for each in new}
    for bearer in connection.dedicated.values():
        if bearer is not besides:
            bearer.filters = {identifier: each for identifier, each in bearer.filters.items() if each.precedence not in taken}


def _read(octets: bytes) -> nas.TrafficFlowTemplate:
    try:
        return nas.decode_traffic_flow_template(octets)
    except TftSyntaxError as error:
        raise EsmRefused(
            EsmCause.SYNTACTICAL_ERRORS_IN_PACKET_FILTERS if error.in_packet_filter else EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION) from error
