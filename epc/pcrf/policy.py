"""What a session is authorised to: policies applied to what the PCEF says about it (TS 23.203 clause 6.2.1)."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import NamedTuple

from epc.pcrf.calendar import Calendar, Period, is_within
from epc.pcrf.pcc import Arp, Conditions, Policy, PolicyBook, Rule, UeRequests, UsageLimit
from epc.wire.diameter import RatType
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability, RedirectAddressType
from epc.wire.diameter.gx import EventTrigger, Offline, Online
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    DefaultEpsBearerQos,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    MeteringMethod,
    MuteNotification,
    PacketFilterUsage,
    QosInformation,
    RedirectInformation,
    RedirectSupport,
    ReportingLevel,
    UsageMonitoringLevel,
)

_DIRECTIONS = {"downlink": FlowDirection.DOWNLINK, "uplink": FlowDirection.UPLINK, "both": FlowDirection.BIDIRECTIONAL}
_STATUSES = {"enabled": FlowStatus.ENABLED, "enabled-uplink": FlowStatus.ENABLED_UPLINK, "enabled-downlink": FlowStatus.ENABLED_DOWNLINK,
             "disabled": FlowStatus.DISABLED}
_LEVELS = {"service-identifier": ReportingLevel.SERVICE_IDENTIFIER_LEVEL, "rating-group": ReportingLevel.RATING_GROUP_LEVEL,
           "sponsored": ReportingLevel.SPONSORED_CONNECTIVITY_LEVEL}
_METERING = {"duration": MeteringMethod.DURATION, "volume": MeteringMethod.VOLUME, "both": MeteringMethod.DURATION_VOLUME}

_NO_USAGE: Mapping[str, int] = {}
_NOTHING: frozenset[str] = frozenset()


class Situation(NamedTuple):
    """What a decision depends on, besides the time."""

    imsi: str
    apn: str
    rat_type: RatType | int | None = None
    serving_plmn: str | None = None                         # digits; None: nobody said
    detected: Collection[str] = _NOTHING                    # applications whose traffic the PCEF sees
    used: Mapping[str, int] = _NO_USAGE                     # octets by monitoring key, in the present period


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A usage limit that a decision brings along."""

    limit: UsageLimit
    key: str
    level: UsageMonitoringLevel


class RuleTimes(NamedTuple):
    """Rule-Activation-Time and Rule-Deactivation-Time (TS 29.212 clauses 5.3.42 and 5.3.43)."""

    activation: datetime.datetime | None
    deactivation: datetime.datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """What one policy gives; ``None`` where the PCEF's own value is authorised. Shared by all sessions in the same case."""

    policy: str
    rejects: bool = False
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    ambr_ul_bps: int | None = None
    ambr_dl_bps: int | None = None
    rules: tuple[ChargingRuleDefinition, ...] = ()
    predefined_rules: tuple[bytes, ...] = ()
    predefined_groups: tuple[str, ...] = ()
    notified_rules: frozenset[bytes] = frozenset()          # whose bearers the PCRF is told about
    times: Mapping[bytes, RuleTimes] = field(default_factory=dict)      # of rules that the PCEF begins or ends by itself
    event_triggers: tuple[EventTrigger, ...] = ()
    monitors: tuple[Monitor, ...] = ()
    ue_requests: UeRequests | None = None
    online: Online | None = None
    offline: Offline | None = None


EVERYTHING = ChargingRuleDefinition(
    charging_rule_name=b"everything", precedence=0xFFFF, flow_status=FlowStatus.ENABLED,
    flow_information=(FlowInformation(flow_description="permit out ip from any to assigned", flow_direction=FlowDirection.BIDIRECTIONAL),))
"""What a session gets when its policy names no rule: all traffic, on the default bearer."""


class _Candidate(NamedTuple):
    """A policy and its place in the order of trying."""

    place: int
    name: str
    policy: Policy
    is_plain: bool          # neither it nor its rules have conditions or limits: its decision is always the same


class PolicyEngine:
    """The policies, worked out once: a decision is made once for all sessions in the same case, and shared by them."""

    def __init__(self, book: PolicyBook, *, calendar: Calendar | None = None, home_plmns: Iterable[str] = ()) -> None:
        self.book = book
        self.rules = {name: rule_definition(name, rule) for name, rule in book.rules.items()}
        self._calendar = calendar or Calendar("UTC")
        self._home_plmns = tuple(home_plmns)
        everybody: list[Conditions] = [*book.rules.values(), *book.policies]
        self._hours = {each.hours for each in everybody if each.hours is not None}
        self._days = any(each.days for each in everybody)
        self._times = {name: RuleTimes(self._calendar.moment(rule.active_from), self._calendar.moment(rule.active_until))
                       for name, rule in book.rules.items() if rule.active_from is not None or rule.active_until is not None}
        self._ends = [times.deactivation for times in self._times.values() if times.deactivation is not None]
        self._has_times = bool(self._hours or self._days or self._ends)
        self.limits = dict(self._limits())                  # by monitoring key
        self._periods: set[Period] = {limit.per for limit in self.limits.values()}
        self._triggers = self._needed_triggers(everybody)
        self._as_subscribed = None if book.others == "reject" else Decision(
            policy="as subscribed", rules=(EVERYTHING,), event_triggers=self._triggers)

        self._by_name: dict[str, _Candidate] = {}
        self._exact: dict[str, list[_Candidate]] = {}
        self._patterns: list[_Candidate] = []
        for place, (name, policy) in enumerate(book.named().items()):
            rules = [book.rules[each] for each in policy.rules]
            plain = policy.usage_limit is None and not any(
                rule.is_conditional or rule.usage_limit is not None or rule.active_until is not None for rule in rules)
            candidate = _Candidate(place, name, policy, plain)
            self._by_name[name] = candidate
            if policy.by_name_only:
                continue
            if policy.imsi.endswith("*"):
                self._patterns.append(candidate)
            else:
                self._exact.setdefault(policy.imsi, []).append(candidate)
        self._plain = {candidate.place: self._decision(candidate, candidate.policy.rules, closed=_NOTHING)
                       for candidate in self._by_name.values() if candidate.is_plain}
        self._others: dict[tuple[int, tuple[str, ...], frozenset[str]], Decision] = {}

    def decide(self, situation: Situation, now: float = 0.0) -> Decision | None:
        """The first policy that fits; None for a user that is not to be served. ``now``: seconds since 1970."""
        at = self._calendar.at(now) if self._has_times else None
        exact = self._exact.get(situation.imsi)
        for candidate in self._patterns if exact is None else merge(exact, self._patterns):
            if self._fits(candidate.policy, situation, at):
                return self._plain[candidate.place] if candidate.is_plain else self._decide_in_detail(candidate, situation, at)
        return self._as_subscribed

    def next_boundary(self, now: float) -> float | None:
        """When the time of day or the end of a period of counting may change decisions next; seconds since 1970."""
        if not self._has_times and not self._periods:
            return None
        return self._calendar.next_boundary(now, self._hours, self._periods, days=self._days, ends=self._ends)

    def period_start_ms(self, per: Period, now: float) -> int:
        return self._calendar.period_start_ms(per, now)

    def _limits(self) -> Iterable[tuple[str, UsageLimit]]:
        for name, rule in self.book.rules.items():
            if rule.usage_limit is not None:
                yield rule.usage_limit.key or name, rule.usage_limit
        for name, policy in self.book.named().items():
            if policy.usage_limit is not None:
                yield policy.usage_limit.key or name, policy.usage_limit

    # which policy

    def _fits(self, policy: Policy, situation: Situation, at: datetime.datetime | None) -> bool:
        pattern = policy.imsi
        if pattern != "*" and not (situation.imsi.startswith(pattern[:-1]) if pattern[-1] == "*" else situation.imsi == pattern):
            return False
        if policy.apn != "*" and policy.apn.lower() != situation.apn.lower():
            return False
        if policy.rat and _rat_name(situation.rat_type) not in policy.rat:
            return False
        return not policy.is_conditional or self._holds(policy, situation, at)

    def _holds(self, conditions: Conditions, situation: Situation, at: datetime.datetime | None) -> bool:
        if at is not None and not is_within(at, conditions.hours, conditions.days):
            return False
        if conditions.where is not None and (conditions.where == "roaming") is not self.is_roaming(situation):
            return False
        if conditions.plmns and situation.serving_plmn not in conditions.plmns:
            return False
        return not conditions.detected or any(application in situation.detected for application in conditions.detected)

    def is_roaming(self, situation: Situation) -> bool:
        """In a network that is not the IMSI's; one that nobody names is taken for home."""
        plmn = situation.serving_plmn
        return plmn is not None and plmn not in self._home_plmns and not situation.imsi.startswith(plmn)

    # what it gives

    def _decide_in_detail(self, candidate: _Candidate, situation: Situation, at: datetime.datetime | None) -> Decision:
        """With rules that have conditions, and limits that may be used up."""
        seen: set[str] = set()
        limit = candidate.policy.usage_limit
        while limit is not None and _is_used_up(limit, candidate.name, situation) and limit.then and limit.then not in seen:
            seen.add(candidate.name)
            candidate = self._by_name[limit.then]
            limit = candidate.policy.usage_limit
        policy = candidate.policy
        closed: set[str] = set()
        names: list[str] = []
        for name in policy.rules:
            chosen = self._rule_in_force(name, situation, closed)
            rule = self.book.rules[chosen]
            if rule.active_until is not None and at is not None and at >= (self._times[chosen].deactivation or at):
                continue
            if chosen not in names and (not rule.is_conditional or self._holds(rule, situation, at)):
                names.append(chosen)
        if limit is not None and _is_used_up(limit, candidate.name, situation):
            closed |= {*names, ""}
        key = (candidate.place, tuple(names), frozenset(closed))
        found = self._others.get(key)
        if found is None:
            found = self._others[key] = self._decision(candidate, names, closed=key[2])
        return found

    def _rule_in_force(self, name: str, situation: Situation, closed: set[str]) -> str:
        """``name``, or the rule that holds in its place since its limit is used up."""
        seen: set[str] = set()
        while (limit := self.book.rules[name].usage_limit) is not None and name not in seen and _is_used_up(limit, name, situation):
            seen.add(name)
            if not limit.then:
                closed.add(name)
                break
            name = limit.then
        return name

    def _decision(self, candidate: _Candidate, names: Iterable[str], *, closed: frozenset[str]) -> Decision:
        policy = candidate.policy
        default = policy.default_bearer
        chosen = list(names)
        rules = tuple([replace(self.rules[name], flow_status=FlowStatus.DISABLED) if name in closed else self.rules[name] for name in chosen])
        predefined, groups = policy.predefined_rules, policy.predefined_groups
        if not policy.rules and not predefined and not groups:
            rules = (replace(EVERYTHING, flow_status=FlowStatus.DISABLED) if "" in closed else EVERYTHING,)
        elif "" in closed:
            predefined, groups = (), ()
        monitors = [Monitor(limit=limit, key=limit.key or name, level=UsageMonitoringLevel.PCC_RULE_LEVEL)
                    for name in chosen if (limit := self.book.rules[name].usage_limit) is not None and name not in closed]
        if policy.usage_limit is not None and "" not in closed:
            monitors.append(Monitor(limit=policy.usage_limit, key=policy.usage_limit.key or candidate.name, level=UsageMonitoringLevel.SESSION_LEVEL))
        triggers = [EventTrigger[name] for name in policy.event_triggers] + list(self._triggers)
        if monitors:
            triggers.append(EventTrigger.USAGE_REPORT)
        if any(self.book.rules[name].report_application for name in chosen):
            triggers += [EventTrigger.APPLICATION_START, EventTrigger.APPLICATION_STOP]
        notified = frozenset([name.encode() for name in chosen if self.book.rules[name].notify])
        if policy.ue_requests is not None:
            triggers.append(EventTrigger.RESOURCE_MODIFICATION_REQUEST)
        if notified:
            triggers.append(EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION)
        return Decision(
            policy=candidate.name,
            rejects=policy.reject,
            default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=default.qci, allocation_retention_priority=arp_group(default.arp))
            if default else None,
            ambr_ul_bps=policy.ambr_ul, ambr_dl_bps=policy.ambr_dl,
            rules=rules,
            predefined_rules=tuple([name.encode() for name in predefined]),
            predefined_groups=groups, notified_rules=notified,
            times={name.encode(): self._times[name] for name in chosen if name in self._times},
            event_triggers=tuple(dict.fromkeys(triggers)), monitors=tuple(monitors), ue_requests=policy.ue_requests,
            online=None if policy.online is None else Online(policy.online), offline=None if policy.offline is None else Offline(policy.offline))

    def _needed_triggers(self, everybody: list[Conditions]) -> tuple[EventTrigger, ...]:
        """What decisions depend on has to be reported when it changes."""
        needed: list[EventTrigger] = []
        if any(policy.rat for policy in self.book.policies):
            needed.append(EventTrigger.RAT_CHANGE)
        if any(each.where is not None or each.plmns for each in everybody):
            needed.append(EventTrigger.PLMN_CHANGE)
        return tuple(needed)


def _is_used_up(limit: UsageLimit, name: str, situation: Situation) -> bool:
    return situation.used.get(limit.key or name, 0) >= limit.octets


def rule_definition(name: str, rule: Rule) -> ChargingRuleDefinition:
    """A configured rule as the PCEF gets it (TS 29.212 clause 5.3.4)."""
    qos = None
    if rule.qci is not None:
        qos = QosInformation(
            qos_class_identifier=rule.qci, max_requested_bandwidth_ul=rule.max_ul, max_requested_bandwidth_dl=rule.max_dl,
            guaranteed_bitrate_ul=rule.guaranteed_ul, guaranteed_bitrate_dl=rule.guaranteed_dl,
            allocation_retention_priority=arp_group(rule.arp or Arp()))
    flows = tuple([FlowInformation(
        flow_description=flow.description, packet_filter_usage=PacketFilterUsage.SEND_TO_UE if flow.tell_ue else None,
        tos_traffic_class=None if flow.tos is None else bytes.fromhex(flow.tos), flow_direction=_DIRECTIONS[flow.direction],
    ) for flow in rule.flows])
    if not flows and rule.application is None:
        flows = EVERYTHING.flow_information
    application = rule.application
    limit = rule.usage_limit
    return ChargingRuleDefinition(
        charging_rule_name=name.encode(), service_identifier=rule.service_identifier, rating_group=rule.rating_group, flow_information=flows,
        tdf_application_identifier=None if application is None else application.encode(),
        flow_status=_STATUSES[rule.status], qos_information=qos,
        reporting_level=None if rule.reporting_level is None else _LEVELS[rule.reporting_level],
        online=None if rule.online is None else int(rule.online), offline=None if rule.offline is None else int(rule.offline),
        metering_method=None if rule.metering is None else _METERING[rule.metering], precedence=rule.precedence,
        monitoring_key=None if limit is None else (limit.key or name).encode(),
        redirect_information=None if rule.redirect_to is None else RedirectInformation(
            redirect_support=RedirectSupport.REDIRECTION_ENABLED, redirect_address_type=RedirectAddressType.URL,
            redirect_server_address=rule.redirect_to),
        mute_notification=MuteNotification.MUTE_REQUIRED if application is not None and not rule.report_application else None,
        sponsor_identity=rule.sponsor, application_service_provider_identity=rule.service_provider)


def arp_group(arp: Arp) -> AllocationRetentionPriority:
    return AllocationRetentionPriority(
        priority_level=arp.priority_level,
        pre_emption_capability=PreEmptionCapability.PRE_EMPTION_CAPABILITY_ENABLED if arp.pre_emption_capability
        else PreEmptionCapability.PRE_EMPTION_CAPABILITY_DISABLED,
        pre_emption_vulnerability=PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_ENABLED if arp.pre_emption_vulnerability
        else PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_DISABLED)


def _rat_name(rat_type: RatType | int | None) -> str:
    return rat_type.name if isinstance(rat_type, RatType) else ""
