"""A session and a decision: what is authorised, and what changes when the decision does (TS 29.212 clause 4.5.2.0)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from epc.pcrf.policy import Decision, Monitor, RuleTimes
from epc.pcrf.session import Ambr, GxSession
from epc.procedure import Reject
from epc.wire.diameter import ResultCode
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleRemove,
    DefaultEpsBearerQos,
    QosInformation,
    ResourceAllocationNotification,
    ServiceUnit,
    UsageMonitoringInformation,
    UsageMonitoringSupport,
)

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

Rules = Mapping[bytes, ChargingRuleDefinition | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the PCEF has to be told so that a session is as decided; empty fields where nothing changes."""

    install: tuple[ChargingRuleInstall, ...] = ()
    remove: tuple[ChargingRuleRemove, ...] = ()
    qos: DefaultEpsBearerQos | None = None
    ambr: tuple[QosInformation, ...] = ()
    event_triggers: tuple[EventTrigger | int, ...] | None = None
    usage: tuple[UsageMonitoringInformation, ...] = ()
    monitors: Mapping[str, Monitor] | None = None       # what ``usage`` makes of the session's

    def __bool__(self) -> bool:
        return bool(self.install or self.remove or self.qos or self.ambr or self.usage) or self.event_triggers is not None

    @property
    def armed(self) -> tuple[EventTrigger | int, ...]:
        """The Event-Trigger AVPs that say it (TS 29.212 clause 4.5.3)."""
        if self.event_triggers is None:
            return ()
        return self.event_triggers or (EventTrigger.NO_EVENT_TRIGGERS,)


def authorise(pcrf: Pcrf, session: GxSession) -> Decision:
    """The decision for a session. Raises :class:`Reject` for one that is not to be served."""
    decision = pcrf.decide(session)
    if decision is None:
        raise Reject(ResultCode.DIAMETER_USER_UNKNOWN, f"no policy for {session.imsi} at {session.apn}")
    if decision.rejects:
        raise Reject(ResultCode.DIAMETER_AUTHORIZATION_REJECTED, f"{decision.policy} rejects {session.imsi} at {session.apn}")
    return decision


def authorised_qos(decision: Decision, subscribed: DefaultEpsBearerQos | None) -> DefaultEpsBearerQos | None:
    return decision.default_eps_bearer_qos or subscribed


def authorised_ambr(decision: Decision, subscribed: Ambr) -> Ambr:
    return Ambr(subscribed.ul_bps if decision.ambr_ul_bps is None else decision.ambr_ul_bps,
                subscribed.dl_bps if decision.ambr_dl_bps is None else decision.ambr_dl_bps)


def ambr_of(information: QosInformation | None) -> Ambr:
    """The APN-AMBR in a QoS-Information."""
    if information is None:
        return Ambr(None, None)
    return Ambr(information.apn_aggregate_max_bitrate_ul, information.apn_aggregate_max_bitrate_dl)


def ambr_information(ambr: Ambr) -> tuple[QosInformation, ...]:
    if ambr == Ambr(None, None):
        return ()
    return (QosInformation(apn_aggregate_max_bitrate_ul=ambr.ul_bps, apn_aggregate_max_bitrate_dl=ambr.dl_bps),)


def decided_rules(decision: Decision) -> dict[bytes, ChargingRuleDefinition | None]:
    rules: dict[bytes, ChargingRuleDefinition | None] = {rule.charging_rule_name: rule for rule in decision.rules}
    rules.update(dict.fromkeys(decision.predefined_rules))
    return rules


def installation(
    rules: Rules, groups: Iterable[str] = (), notified: Collection[bytes] = (), times: Mapping[bytes, RuleTimes] | None = None,
) -> tuple[ChargingRuleInstall, ...]:
    """``notified``: those of the rules whose bearers the PCEF shall report (TS 29.212 clause 4.5.11); ``times``: when it begins and ends some."""
    kinds: dict[tuple[bool, RuleTimes | None], list[bytes]] = {}
    groups = tuple(groups)
    if groups:
        kinds[False, None] = []
    for name in rules:
        kinds.setdefault((name in notified, times.get(name) if times else None), []).append(name)
    return tuple([ChargingRuleInstall(
        charging_rule_definition=tuple([rule for name in names if (rule := rules[name]) is not None]),
        charging_rule_name=tuple([name for name in names if rules[name] is None]),
        charging_rule_base_name=groups if kind == (False, None) else (),
        rule_activation_time=None if kind[1] is None else kind[1].activation,
        rule_deactivation_time=None if kind[1] is None else kind[1].deactivation,
        resource_allocation_notification=ResourceAllocationNotification.ENABLE_NOTIFICATION if kind[0] else None,
    ) for kind, names in kinds.items()])


@lru_cache(maxsize=1024)
def first_installation(decision: Decision) -> tuple[ChargingRuleInstall, ...]:
    """Everything that a new session gets."""
    return installation(decided_rules(decision), decision.predefined_groups, decision.notified_rules, decision.times)


def begin(session: GxSession, decision: Decision, used: Mapping[str, int]) -> tuple[UsageMonitoringInformation, ...]:
    """``session``, which is new, is as decided; what to tell the PCEF about usage."""
    session.rules = decided_rules(decision)
    if decision.predefined_groups:
        session.groups = frozenset(decision.predefined_groups)
    session.event_triggers = decision.event_triggers
    session.authorised_qos = authorised_qos(decision, session.subscribed_qos)
    session.authorised_ambr = authorised_ambr(decision, session.subscribed_ambr)
    session.policy = decision.policy
    if not decision.monitors:
        return ()
    monitors = {monitor.key: monitor for monitor in decision.monitors}
    usage = _usage_information(session, monitors, used, ())
    session.monitors = monitors
    return usage


def removal(names: Iterable[bytes], groups: Iterable[str] = ()) -> tuple[ChargingRuleRemove, ...]:
    names, groups = tuple(names), tuple(groups)
    return (ChargingRuleRemove(charging_rule_name=names, charging_rule_base_name=groups),) if names or groups else ()


def change_to(session: GxSession, decision: Decision, used: Mapping[str, int], *, reported: Collection[str] = ()) -> Change:
    """What has to change in ``session``, which stays as it is. ``reported``: monitoring keys whose threshold was reached."""
    wanted = decided_rules(decision)
    notified: Collection[bytes] = decision.notified_rules
    if session.added_rules or session.af_rules or session.ue_rules:
        wanted |= session.added_rules | session.af_rules | session.ue_rules
        if EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION in session.af_triggers:
            notified = {*notified, *session.af_rules}
    withheld, rules = session.withheld_rules, session.rules
    new = {name: rule for name, rule in wanted.items() if name not in withheld and (name not in rules or rules[name] != rule)}
    old = [name for name in rules if name not in wanted or name in withheld]
    groups = [group for group in decision.predefined_groups if group.encode() not in withheld]
    qos = authorised_qos(decision, session.subscribed_qos)
    ambr = authorised_ambr(decision, session.subscribed_ambr)
    triggers = decision.event_triggers
    if session.af_triggers:
        triggers = tuple(dict.fromkeys(triggers + session.af_triggers))
    monitors: dict[str, Monitor] | None = None
    usage: tuple[UsageMonitoringInformation, ...] = ()
    if decision.monitors or session.monitors:
        monitors = {monitor.key: monitor for monitor in decision.monitors}
        usage = _usage_information(session, monitors, used, reported)
    return Change(
        install=installation(new, [group for group in groups if group not in session.groups], notified, decision.times),
        remove=removal(old, sorted(session.groups.difference(groups))),
        qos=qos if qos != session.authorised_qos else None,
        ambr=ambr_information(ambr) if ambr != session.authorised_ambr else (),
        event_triggers=triggers if triggers != session.event_triggers else None, usage=usage, monitors=monitors)


def _usage_information(
    session: GxSession, monitors: Mapping[str, Monitor], used: Mapping[str, int], reported: Collection[str],
) -> tuple[UsageMonitoringInformation, ...]:
    """Thresholds that are new, and those that have been reached; no more counting where there is no limit (TS 29.212 clause 4.5.17)."""
    information = [UsageMonitoringInformation(
        monitoring_key=key.encode(), granted_service_unit=(ServiceUnit(cc_total_octets=_threshold(monitor, used.get(key, 0))),),
        usage_monitoring_level=monitor.level,
    ) for key, monitor in monitors.items() if session.monitors.get(key) != monitor or key in reported]
    information += [UsageMonitoringInformation(
        monitoring_key=key.encode(), usage_monitoring_level=monitor.level, usage_monitoring_support=UsageMonitoringSupport.USAGE_MONITORING_DISABLED,
    ) for key, monitor in session.monitors.items() if key not in monitors and key not in reported]
    return tuple(information)


def _threshold(monitor: Monitor, used: int) -> int:
    left = max(1, monitor.limit.octets - used)
    return left if monitor.limit.report is None else min(left, monitor.limit.report)


def apply_change(session: GxSession, change: Change, policy: str) -> None:
    """``session`` is now as the PCEF was told."""
    for remove in change.remove:
        for name in remove.charging_rule_name:
            session.rules.pop(name, None)
        session.groups -= frozenset(remove.charging_rule_base_name)
        session.inactive_rules -= frozenset(remove.charging_rule_name)
    for install in change.install:
        session.rules.update({rule.charging_rule_name: rule for rule in install.charging_rule_definition})
        session.rules.update(dict.fromkeys(install.charging_rule_name))
        session.groups |= frozenset(install.charging_rule_base_name)
    if change.qos is not None:
        session.authorised_qos = change.qos
    for information in change.ambr:
        session.authorised_ambr = ambr_of(information)
    if change.event_triggers is not None:
        session.event_triggers = change.event_triggers
    if change.monitors is not None:
        session.monitors = dict(change.monitors)
    session.policy = policy
