"""The UE asks for resources for packet filters of its own: TS 29.212 clause 4.5.1 (RESOURCE_MODIFICATION_REQUEST), TS 23.401 clause 5.4.5.

Every request that the policy allows becomes a PCC rule; its filters get identifiers, by which the UE changes and deletes them later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.pcrf.pcc import GBR_QCIS, UeRequests
from epc.pcrf.policy import Decision, arp_group
from epc.pcrf.session import GxSession
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode
from epc.wire.diameter.gx import CreditControlRequest, EventTrigger
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    PacketFilterInformation,
    PacketFilterOperation,
    PacketFilterUsage,
    QosInformation,
)

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

MAXIMUM_FILTERS = 15        # of one rule: TS 24.008 clause 10.5.6.12


def is_asked_for(request: CreditControlRequest) -> bool:
    return EventTrigger.RESOURCE_MODIFICATION_REQUEST in request.event_trigger and request.packet_filter_operation is not None


def resource_modification(pcrf: Pcrf, session: GxSession, decision: Decision, request: CreditControlRequest) -> None:
    """What the UE has asked for, in ``session.ue_rules``. Raises :class:`Reject`, and then nothing has changed."""
    allowed = decision.ue_requests
    if allowed is None:
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED, f"{decision.policy} has no resources for what UEs ask for")
    filters = request.packet_filter_information
    match request.packet_filter_operation:
        case PacketFilterOperation.ADDITION:
            _add(session, allowed, filters, request.qos_information)
        case PacketFilterOperation.DELETION:
            _delete(session, filters)
        case PacketFilterOperation.MODIFICATION:
            _modify(session, allowed, filters, request.qos_information)
        case _:
            raise _rejected(f"Packet-Filter-Operation {request.packet_filter_operation}")


def _add(session: GxSession, allowed: UeRequests, filters: tuple[PacketFilterInformation, ...], qos: QosInformation | None) -> None:
    """A new rule, or more filters for one that the request names by one of its filters."""
    new = [each for each in filters if each.packet_filter_content is not None]
    named = {each.packet_filter_identifier for each in filters if each.packet_filter_content is None and each.packet_filter_identifier}
    if not new:
        raise _rejected("no Packet-Filter-Content")
    flows = []
    for each in new:
        session.ue_filters += 1
        flows.append(_flow(each, session.ue_filters.to_bytes(2)))
    existing = next((rule for rule in session.ue_rules.values() if named & {flow.packet_filter_identifier for flow in rule.flow_information}), None)
    if existing is not None:
        rule = replace(existing, flow_information=(*existing.flow_information, *flows),
                       qos_information=existing.qos_information if qos is None else _authorised(allowed, qos))
    elif named:
        raise _rejected("an unknown Packet-Filter-Identifier")
    else:
        precedence = min((each.precedence for each in new if each.precedence is not None), default=0)
        rule = ChargingRuleDefinition(
            charging_rule_name=f"ue-{session.ue_filters}".encode(), flow_information=tuple(flows), flow_status=FlowStatus.ENABLED,
            qos_information=_authorised(allowed, qos or QosInformation(qos_class_identifier=allowed.qcis[0])),
            precedence=allowed.precedence + precedence)
    if len(rule.flow_information) > MAXIMUM_FILTERS:
        raise _rejected(f"more than {MAXIMUM_FILTERS} filters")
    session.ue_rules[rule.charging_rule_name] = rule


def _delete(session: GxSession, filters: tuple[PacketFilterInformation, ...]) -> None:
    named = {each.packet_filter_identifier for each in filters}
    known = {flow.packet_filter_identifier for rule in session.ue_rules.values() for flow in rule.flow_information}
    if not named or not named <= known:
        raise _rejected("an unknown Packet-Filter-Identifier")
    for name, rule in list(session.ue_rules.items()):
        kept = tuple([flow for flow in rule.flow_information if flow.packet_filter_identifier not in named])
        if not kept:
            del session.ue_rules[name]
        elif len(kept) < len(rule.flow_information):
            session.ue_rules[name] = replace(rule, flow_information=kept)


def _modify(session: GxSession, allowed: UeRequests, filters: tuple[PacketFilterInformation, ...], qos: QosInformation | None) -> None:
    by_identifier = {each.packet_filter_identifier: each for each in filters}
    concerned = {name: rule for name, rule in session.ue_rules.items()
                 if by_identifier.keys() & {flow.packet_filter_identifier for flow in rule.flow_information}}
    if not concerned:
        raise _rejected("an unknown Packet-Filter-Identifier")
    for name, rule in concerned.items():
        flows = tuple([
            _flow(changed, flow.packet_filter_identifier or b"")
            if (changed := by_identifier.get(flow.packet_filter_identifier)) is not None and changed.packet_filter_content is not None else flow
            for flow in rule.flow_information])
        session.ue_rules[name] = replace(rule, flow_information=flows,
                                         qos_information=rule.qos_information if qos is None else _authorised(allowed, qos))


def _flow(asked: PacketFilterInformation, identifier: bytes) -> FlowInformation:
    return FlowInformation(
        flow_description=asked.packet_filter_content, packet_filter_identifier=identifier, packet_filter_usage=PacketFilterUsage.SEND_TO_UE,
        tos_traffic_class=asked.tos_traffic_class, security_parameter_index=asked.security_parameter_index, flow_label=asked.flow_label,
        flow_direction=FlowDirection.BIDIRECTIONAL if asked.flow_direction is None else asked.flow_direction)


def _authorised(allowed: UeRequests, asked: QosInformation) -> QosInformation:
    """The class as asked for, the rates no more than is allowed."""
    qci = allowed.qcis[0] if asked.qos_class_identifier is None else asked.qos_class_identifier
    if qci not in allowed.qcis:
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED, f"QCI {qci} is not for the asking")
    guaranteed_ul, guaranteed_dl = asked.guaranteed_bitrate_ul or 0, asked.guaranteed_bitrate_dl or 0
    for rate, most in ((guaranteed_ul, allowed.max_ul), (guaranteed_dl, allowed.max_dl)):
        if most is not None and rate > most:
            raise Reject(ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED, f"{rate} bit/s are more than {most}")
    gbr = qci in GBR_QCIS
    return QosInformation(
        qos_class_identifier=qci, max_requested_bandwidth_ul=_rate(asked.max_requested_bandwidth_ul, guaranteed_ul, allowed.max_ul),
        max_requested_bandwidth_dl=_rate(asked.max_requested_bandwidth_dl, guaranteed_dl, allowed.max_dl),
        guaranteed_bitrate_ul=guaranteed_ul if gbr else None, guaranteed_bitrate_dl=guaranteed_dl if gbr else None,
        allocation_retention_priority=arp_group(allowed.arp))


def _rate(asked: int | None, guaranteed: int, most: int | None) -> int | None:
    wanted = asked if asked is not None else guaranteed or None
    if wanted is None:
        return most
    return wanted if most is None else min(wanted, most)


def _rejected(why: str) -> Reject:
    return Reject(ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED, why)
