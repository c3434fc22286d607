"""The packet filters of dedicated bearers: from the flows of their rules to what the UE is sent (TS 23.203 clause 6.2.2.2, TS 23.401 clause 5.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from epc.dataplane.rules import SdfFilter
from epc.pgw.context import Bearer, PccRule, PdnSession, SentFilter
from epc.wire.diameter.policy import FlowDirection, FlowInformation, PacketFilterUsage
from epc.wire.nas import PacketFilter, PacketFilterDirection

_DIRECTIONS: dict[int, PacketFilterDirection] = {
    FlowDirection.DOWNLINK: PacketFilterDirection.DOWNLINK_ONLY, FlowDirection.UPLINK: PacketFilterDirection.UPLINK_ONLY}
_IDENTIFIERS = range(16)
_LAST_PRECEDENCE = 255
_SHUT = SdfFilter(remote=IPv4Network("255.255.255.255/32"), protocol=17, remote_ports=(9, 9))


class NoRoom(Exception):
    """The UE has no identifier or precedence left for another filter."""


def new_filters(session: PdnSession, bearer: Bearer, rules: Iterable[PccRule]) -> tuple[SentFilter, ...]:
    """Those that ``bearer`` lacks to carry ``rules``; raises :class:`NoRoom`.

    A TFT has an uplink filter at least, or the UE would take the bearer for everything: rules without one get one that no packet fits
    (TS 23.060 clause 15.3.3.4).
    """
    taken = [sent for each in session.bearers.values() for sent in each.filters.values()]
    identifiers = [identifier for identifier in _IDENTIFIERS if identifier not in bearer.filters]
    known = {(sent.rule_name, sent.flow) for sent in bearer.filters.values()}
    added: list[SentFilter] = []
    for rule, flow in _flows(rules):
        if (rule.name, flow) not in known:
            assert flow.flow_description is not None
            sdf = SdfFilter.from_flow_description(flow.flow_description)
            _add(added, identifiers, taken, rule.name, _precedence_of(rule), flow, sdf, _direction(flow))
            known.add((rule.name, flow))
    if not any(sent.packet_filter.is_uplink for sent in (*bearer.filters.values(), *added)):
        _add(added, identifiers, taken, b"", 1 << 32, None, _SHUT, PacketFilterDirection.UPLINK_ONLY)
    return tuple(added)


def old_filters(bearer: Bearer, rules: Iterable[PccRule]) -> tuple[int, ...]:
    """Identifiers of filters that ``bearer`` no longer needs for ``rules``."""
    wanted = {(rule.name, flow) for rule, flow in _flows(rules)}
    old = [identifier for identifier, sent in bearer.filters.items() if sent.flow is not None and (sent.rule_name, sent.flow) not in wanted]
    kept = [sent for identifier, sent in bearer.filters.items() if identifier not in old]
    if any(sent.flow is not None and sent.packet_filter.is_uplink for sent in kept):
        old += [identifier for identifier, sent in bearer.filters.items() if sent.flow is None]
    return tuple(old)


def _flows(rules: Iterable[PccRule]) -> Iterator[tuple[PccRule, FlowInformation]]:
    """The flows that the UE is told of: those marked so, or all of a rule that marks none."""
    for rule in rules:
        flows = [flow for flow in rule.definition.flow_information if flow.flow_description is not None]
        marked = [flow for flow in flows if flow.packet_filter_usage == PacketFilterUsage.SEND_TO_UE]
        for flow in marked or flows:
            yield rule, flow


def _add(
    added: list[SentFilter], identifiers: list[int], taken: list[SentFilter], rule_name: bytes, rule_precedence: int, flow: FlowInformation | None,
    sdf: SdfFilter, direction: PacketFilterDirection,
) -> None:
    if not identifiers:
        raise NoRoom("a TFT has sixteen packet filters at most")
    tos, spi, label = (None, None, None) if flow is None else (flow.tos_traffic_class, flow.security_parameter_index, flow.flow_label)
    sent = SentFilter(
        PacketFilter(
            identifier=identifiers.pop(0), direction=direction, precedence=_free_precedence(rule_precedence, taken), remote=sdf.remote,
            protocol=sdf.protocol, local_ports=sdf.local_ports, remote_ports=sdf.remote_ports,
            type_of_service=(tos[0], tos[1]) if tos is not None and len(tos) == 2 else None,
            security_parameter_index=int.from_bytes(spi, "big") if spi is not None and len(spi) == 4 else None,
            flow_label=int.from_bytes(label, "big") & 0xFFFFF if label is not None and len(label) == 3 else None,
        ), rule_name, rule_precedence, flow)
    added.append(sent)
    taken.append(sent)


def _direction(flow: FlowInformation) -> PacketFilterDirection:
    return _DIRECTIONS.get(flow.flow_direction or 0, PacketFilterDirection.BIDIRECTIONAL)


def _precedence_of(rule: PccRule) -> int:
    precedence = rule.definition.precedence
    return 1 << 32 if precedence is None else precedence


def _free_precedence(rule_precedence: int, taken: Iterable[SentFilter]) -> int:
    """An octet for a precedence of 32 bits, in the right order with those that are there as long as there is room."""
    used = {sent.packet_filter.precedence for sent in taken}
    low = max((sent.packet_filter.precedence for sent in taken if sent.rule_precedence <= rule_precedence), default=-1)
    high = min((sent.packet_filter.precedence for sent in taken if sent.rule_precedence > rule_precedence), default=_LAST_PRECEDENCE + 1)
    wished = rule_precedence if rule_precedence < 128 else 128 + int(5 * math.log2(rule_precedence / 128))
    wished = min(max(wished, low + 1), high - 1, _LAST_PRECEDENCE)
    free = [value for value in range(_LAST_PRECEDENCE + 1) if value not in used]
    if not free:
        raise NoRoom("all 256 precedences of packet filters are in use")
    return min(free, key=lambda value: (not low < value < high, abs(value - wished)))
