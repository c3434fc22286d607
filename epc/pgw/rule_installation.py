"""PCC rules come and go: what the PCRF sends in full, and what it calls up by name (TS 29.212 clauses 4.5.2 and 4.5.12)."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from epc.dataplane.rules import Application
from epc.pgw.config import PredefinedRule
from epc.pgw.context import PccRule, PdnSession
from epc.pgw.policy import arp_group, filters_of, is_gbr
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleRemove,
    ChargingRuleReport,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    PccRuleStatus,
    QosInformation,
    ResourceAllocationNotification,
    RuleFailureCode,
)
from epc.wire.gtpv2 import Arp

_DIRECTIONS = {"downlink": FlowDirection.DOWNLINK, "uplink": FlowDirection.UPLINK, "both": FlowDirection.BIDIRECTIONAL}
_STATUSES = {"enabled": FlowStatus.ENABLED, "enabled-uplink": FlowStatus.ENABLED_UPLINK, "enabled-downlink": FlowStatus.ENABLED_DOWNLINK,
             "disabled": FlowStatus.DISABLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """What this PGW knows by itself: predefined rules, their groups, and applications."""

    rules: Mapping[bytes, ChargingRuleDefinition] = field(default_factory=dict)
    bases: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    applications: Mapping[bytes, Application] = field(default_factory=dict)


def predefined(name: str, rule: PredefinedRule) -> ChargingRuleDefinition:
    """A configured rule in the form of those that come from the PCRF."""
    qos = None
    if rule.qci is not None or rule.max_ul is not None or rule.max_dl is not None:
        arp = rule.arp
        qos = QosInformation(
            qos_class_identifier=rule.qci, max_requested_bandwidth_ul=rule.max_ul, max_requested_bandwidth_dl=rule.max_dl,
            guaranteed_bitrate_ul=rule.guaranteed_ul, guaranteed_bitrate_dl=rule.guaranteed_dl,
            allocation_retention_priority=None if arp is None else arp_group(
                Arp(priority_level=arp.priority_level, pre_emption_capability=arp.pre_emption_capability,
                    pre_emption_vulnerability=arp.pre_emption_vulnerability)))
    return ChargingRuleDefinition(
        charging_rule_name=name.encode(), service_identifier=rule.service_identifier, rating_group=rule.rating_group,
        flow_information=tuple([
            FlowInformation(flow_description=flow.description, flow_direction=_DIRECTIONS[flow.direction]) for flow in rule.flows]),
        tdf_application_identifier=None if rule.application is None else rule.application.encode(), flow_status=_STATUSES[rule.status],
        qos_information=qos, online=None if rule.online is None else int(rule.online),
        offline=None if rule.offline is None else int(rule.offline), precedence=rule.precedence,
        monitoring_key=None if rule.monitoring_key is None else rule.monitoring_key.encode(),
    )


def install_rules(book: RuleBook, session: PdnSession, installs: Iterable[ChargingRuleInstall], now_s: float) -> tuple[ChargingRuleReport, ...]:
    """Add or change rules, and report those that cannot be. They are bound to bearers later."""
    failures: dict[RuleFailureCode, list[bytes]] = {}
    unknown_bases: list[str] = []
    for install in installs:
        wanted: list[tuple[ChargingRuleDefinition, bool, str | None]] = []
        for given in install.charging_rule_definition:
            former = session.rules.get(given.charging_rule_name)
            wanted.append((given if former is None or former.is_predefined else merged(former.definition, given), False, None))
        for name in install.charging_rule_name:
            if name in book.rules:
                wanted.append((book.rules[name], True, None))
            else:
                failures.setdefault(RuleFailureCode.UNKNOWN_RULE_NAME, []).append(name)
        for base in install.charging_rule_base_name:
            if base in book.bases:
                wanted += [(book.rules[name], True, base) for name in book.bases[base]]
            else:
                unknown_bases.append(base)
        for definition, is_predefined, base_name in wanted:
            failure = failure_of(book, definition)
            if failure is not None:
                failures.setdefault(failure, []).append(definition.charging_rule_name)
                continue
            rule = session.rules.get(definition.charging_rule_name)
            if rule is None:
                rule = session.rules[definition.charging_rule_name] = PccRule(definition=definition, number=session.free_rule_number())
            rule.definition, rule.is_predefined, rule.base_name = definition, is_predefined, base_name
            rule.activation_time, rule.deactivation_time = install.rule_activation_time, install.rule_deactivation_time
            rule.notifies_allocation = install.resource_allocation_notification == ResourceAllocationNotification.ENABLE_NOTIFICATION
    keep_time(session, now_s)
    reports = [inactive(tuple(names), failure) for failure, names in failures.items()]
    if unknown_bases:
        reports.append(ChargingRuleReport(
            charging_rule_base_name=tuple(unknown_bases), pcc_rule_status=PccRuleStatus.INACTIVE,
            rule_failure_code=RuleFailureCode.UNKNOWN_RULE_NAME))
    return tuple(reports)


def remove_rules(session: PdnSession, removes: Iterable[ChargingRuleRemove]) -> None:
    for remove in removes:
        for name in remove.charging_rule_name:
            session.rules.pop(name, None)
        for base_name in remove.charging_rule_base_name:
            for name in [name for name, rule in session.rules.items() if rule.base_name == base_name]:
                del session.rules[name]


def keep_time(session: PdnSession, now_s: float) -> float | None:
    """Which rules are active now; returns when that changes next, in seconds of the wall clock."""
    changes = []
    for rule in session.rules.values():
        begin, end = _seconds(rule.activation_time), _seconds(rule.deactivation_time)
        rule.is_active = (begin is None or begin <= now_s) and (end is None or now_s < end)
        changes += [time_s for time_s in (begin, end) if time_s is not None and time_s > now_s]
    return min(changes, default=None)


def _seconds(time: datetime.datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def merged(former: ChargingRuleDefinition, given: ChargingRuleDefinition) -> ChargingRuleDefinition:
    """What a changed definition leaves out stays as it was (TS 29.212 clause 4.5.2.0)."""
    changes = {each.name: value for each in dataclasses.fields(given) if (value := getattr(given, each.name)) not in (None, ())}
    return dataclasses.replace(former, **changes)


def failure_of(book: RuleBook, rule: ChargingRuleDefinition) -> RuleFailureCode | None:
    """What is wrong with the definition itself (TS 29.212 clause 5.3.38)."""
    application = rule.tdf_application_identifier
    if application is not None and application not in book.applications:
        return RuleFailureCode.TDF_APPLICATION_IDENTIFIER_ERROR
    if application is None and not rule.flow_information:
        return RuleFailureCode.MISSING_FLOW_INFORMATION
    try:
        filters_of(rule, FlowDirection.BIDIRECTIONAL)
    except ValueError:
        return RuleFailureCode.INCORRECT_FLOW_INFORMATION
    qos = rule.qos_information
    if qos is not None and qos.qos_class_identifier is not None:
        if not 1 <= qos.qos_class_identifier <= 254:
            return RuleFailureCode.UNSUCCESSFUL_QOS_VALIDATION
        guaranteed = qos.guaranteed_bitrate_ul is not None or qos.guaranteed_bitrate_dl is not None
        if is_gbr(qos.qos_class_identifier) and not guaranteed:
            return RuleFailureCode.UNSUCCESSFUL_QOS_VALIDATION
    return None


def inactive(names: tuple[bytes, ...], failure: RuleFailureCode) -> ChargingRuleReport:
    return ChargingRuleReport(charging_rule_name=names, pcc_rule_status=PccRuleStatus.INACTIVE, rule_failure_code=failure)
