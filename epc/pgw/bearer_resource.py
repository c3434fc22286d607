"""The UE asks for bearer resources: the PCRF decides, and the bearer that follows from it answers (TS 23.401 clause 5.4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.peer.gtpc import RequestReceived
from epc.pgw import gx
from epc.pgw.bearer_binding import bind, next_step
from epc.pgw.context import Bearer, PdnSession
from epc.procedure import Reject, procedure, step
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import FlowDirection, PacketFilterInformation, PacketFilterOperation, QosInformation
from epc.wire.gtpv2 import BearerResourceCommand, BearerResourceFailureIndication, Cause, CauseValue, FlowQos
from epc.wire.nas import (
    PacketFilter,
    PacketFilterDirection,
    TftOperation,
    TftSyntaxError,
    TrafficFlowTemplate,
    decode_traffic_flow_template,
)

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_DIRECTIONS = {PacketFilterDirection.DOWNLINK_ONLY: FlowDirection.DOWNLINK, PacketFilterDirection.UPLINK_ONLY: FlowDirection.UPLINK}


@procedure(spec="TS 23.401 clause 5.4.5, TS 29.274 clause 7.2.5", starts_on=BearerResourceCommand)
async def bearer_resource_command(pgw: Pgw, session: PdnSession, received: RequestReceived) -> None:
    command = received.message
    assert isinstance(command, BearerResourceCommand)
    try:
        #  4 the PCRF, if it wants to be asked
        if command.linked_ebi != session.ebi or not pgw.is_established(session):
            raise Reject(CauseValue.CONTEXT_NOT_FOUND, f"no PDN connection with default bearer {command.linked_ebi}")
        bearer = None if command.ebi is None else session.bearers.get(command.ebi)
        if command.ebi is not None and bearer is None:
            raise Reject(CauseValue.CONTEXT_NOT_FOUND, f"no bearer {command.ebi}")
        if session.gx is None or EventTrigger.RESOURCE_MODIFICATION_REQUEST not in session.gx.event_triggers:
            raise Reject(CauseValue.SERVICE_DENIED, "no PCRF decides about what UEs ask for")
        step(4, "policy")
        answer = await gx.update(pgw, session, _report(_read(command.tad), bearer, command.flow_qos))
        if answer is None:
            raise Reject(CauseValue.SERVICE_DENIED, "the PCRF does not allow it")

        #  5 what has to happen to bearers first is the command's answer
        step(5, "bearer")
        pgw.enforce(session, answer, binds=False)
        if not await next_step(pgw, session, pti=command.pti, command=received):
            raise Reject(CauseValue.SERVICE_DENIED, "no bearer changes with the PCRF's decision")
    except Reject as error:
        cause = Cause(value=error.cause if isinstance(error.cause, int) else CauseValue.SERVICE_DENIED)
        pgw.s5.respond(
            received, BearerResourceFailureIndication(cause=cause, linked_ebi=command.linked_ebi, pti=command.pti), session.s5c_sgw_teid)
        raise
    finally:
        if pgw.is_established(session):
            bind(pgw, session)


def _read(tad: bytes) -> TrafficFlowTemplate:
    try:
        return decode_traffic_flow_template(tad)
    except TftSyntaxError as error:
        cause = CauseValue.SYNTACTIC_ERRORS_IN_PACKET_FILTERS if error.in_packet_filter else CauseValue.SYNTACTIC_ERROR_IN_THE_TAD_OPERATION
        raise Reject(cause, str(error)) from error


def _report(tad: TrafficFlowTemplate, bearer: Bearer | None, qos: FlowQos | None) -> gx.Report:
    """The UE's wish as the PCRF understands it (TS 29.212 clause 4.5.1)."""
    known = {} if bearer is None else {
        identifier: sent.flow.packet_filter_identifier for identifier, sent in bearer.filters.items()
        if sent.flow is not None and sent.flow.packet_filter_identifier is not None}
    match tad.operation:
        case TftOperation.CREATE_NEW_TFT | TftOperation.ADD_PACKET_FILTERS:
            operation = PacketFilterOperation.ADDITION
            filters = [_information(each) for each in tad.filters]
            if known:           # filters for a bearer that is there: one of its own says which
                filters.append(PacketFilterInformation(packet_filter_identifier=next(iter(known.values()))))
        case TftOperation.DELETE_PACKET_FILTERS if all(identifier in known for identifier in tad.deleted):
            operation = PacketFilterOperation.DELETION
            filters = [PacketFilterInformation(packet_filter_identifier=known[identifier]) for identifier in tad.deleted]
        case TftOperation.REPLACE_PACKET_FILTERS if all(each.identifier in known for each in tad.filters):
            operation = PacketFilterOperation.MODIFICATION
            filters = [_information(each, known[each.identifier]) for each in tad.filters]
        case TftOperation.NO_TFT_OPERATION if known and qos is not None:
            operation = PacketFilterOperation.MODIFICATION
            filters = [PacketFilterInformation(packet_filter_identifier=identifier) for identifier in known.values()]
        case _:
            raise Reject(CauseValue.SEMANTIC_ERROR_IN_THE_TAD_OPERATION, "an operation on filters that the UE has not asked for")
    return gx.Report(
        event_triggers=(EventTrigger.RESOURCE_MODIFICATION_REQUEST,), packet_filters=tuple(filters), packet_filter_operation=operation,
        requested_qos=None if qos is None else QosInformation(
            qos_class_identifier=qos.qci, max_requested_bandwidth_ul=qos.mbr_uplink_kbps * 1000 or None,
            max_requested_bandwidth_dl=qos.mbr_downlink_kbps * 1000 or None, guaranteed_bitrate_ul=qos.gbr_uplink_kbps * 1000 or None,
            guaranteed_bitrate_dl=qos.gbr_downlink_kbps * 1000 or None))


def _information(each: PacketFilter, identifier: bytes | None = None) -> PacketFilterInformation:
    return PacketFilterInformation(
        packet_filter_identifier=identifier, precedence=each.precedence, packet_filter_content=_description(each),
        tos_traffic_class=None if each.type_of_service is None else bytes(each.type_of_service),
        security_parameter_index=None if each.security_parameter_index is None else each.security_parameter_index.to_bytes(4, "big"),
        flow_label=None if each.flow_label is None else each.flow_label.to_bytes(3, "big"),
        flow_direction=_DIRECTIONS.get(each.direction, FlowDirection.BIDIRECTIONAL))


def _description(each: PacketFilter) -> str:
    def end(where: str, ports: tuple[int, int] | None) -> str:
        return where if ports is None else f"{where} {ports[0]}" if ports[0] == ports[1] else f"{where} {ports[0]}-{ports[1]}"

    protocol = "ip" if each.protocol is None else each.protocol
    return f"permit out {protocol} from {end(str(each.remote or 'any'), each.remote_ports)} to {end('assigned', each.local_ports)}"
