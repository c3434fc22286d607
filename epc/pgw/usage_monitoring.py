"""Usage monitoring: how much a session, or the rules of one monitoring key, have used (TS 29.212 clauses 4.5.16 and 4.5.17)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from epc.dataplane.rules import Urr, Usage
from epc.pgw import gx
from epc.pgw.context import Bearer, PccRule, PdnSession
from epc.procedure import procedure
from epc.wire.diameter.gx import CreditControlAnswer, EventTrigger
from epc.wire.diameter.policy import (
    ServiceUnit,
    UsageMonitoringInformation,
    UsageMonitoringLevel,
    UsageMonitoringReport,
    UsageMonitoringSupport,
)

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_WHOLE_SESSION, _FIRST = 3, 16      # identities of URRs
_NOTHING = Usage()


@dataclass(slots=True, kw_only=True, eq=False)
class Monitor:
    """One monitoring key. ``reported`` is what of the URR's total the PCRF has been told, or is being told."""

    key: bytes
    urr_id: int
    level: UsageMonitoringLevel | int
    octets: int | None = None           # of the threshold
    seconds: float | None = None
    idle_s: float | None = None         # Quota-Consumption-Time
    reported: Usage = _NOTHING
    has_rules: bool = False             # a rule has named the key

    @property
    def urr(self) -> Urr:
        return Urr(id=self.urr_id, volume_threshold_octets=self.octets, time_threshold_s=self.seconds, inactivity_s=self.idle_s)

    @property
    def is_of_session(self) -> bool:
        return self.level == UsageMonitoringLevel.SESSION_LEVEL


@dataclass(slots=True, eq=False)
class UsageMonitoring:
    """All monitors of a session: a :class:`~epc.pgw.context.Meter`."""

    monitors: dict[bytes, Monitor] = field(default_factory=dict)

    def urrs(self) -> Iterable[Urr]:
        return [monitor.urr for monitor in self.monitors.values()]

    def urr_ids_of(self, rule: PccRule, bearer: Bearer) -> Iterable[int]:
        key = rule.definition.monitoring_key
        return [monitor.urr_id for monitor in self.monitors.values() if monitor.is_of_session or (key is not None and monitor.key == key)]

    def of_urr(self, urr_id: int) -> Monitor | None:
        return next((monitor for monitor in self.monitors.values() if monitor.urr_id == urr_id), None)

    def grant(self, information: UsageMonitoringInformation) -> Monitor | None:
        """A threshold, for a key that is known or a new one; ``None`` when it grants nothing."""
        if not information.granted_service_unit:
            return None
        unit = information.granted_service_unit[0]
        key = information.monitoring_key or b""
        monitor = self.monitors.get(key)
        if monitor is None:
            level = UsageMonitoringLevel.PCC_RULE_LEVEL if information.usage_monitoring_level is None else information.usage_monitoring_level
            monitor = self.monitors[key] = Monitor(key=key, urr_id=self._free_urr(level), level=level)
        octets = [each for each in (unit.cc_total_octets, unit.cc_input_octets, unit.cc_output_octets) if each is not None]
        monitor.octets = min(octets, default=None)          # a threshold for one direction is taken for both together: it comes early, never late
        monitor.seconds = None if unit.cc_time is None else float(unit.cc_time)
        monitor.idle_s = None if information.quota_consumption_time is None else float(information.quota_consumption_time)
        return monitor

    def _free_urr(self, level: int) -> int:
        used = {monitor.urr_id for monitor in self.monitors.values()}
        if level == UsageMonitoringLevel.SESSION_LEVEL and _WHOLE_SESSION not in used:
            return _WHOLE_SESSION
        urr_id = _FIRST
        while urr_id in used:
            urr_id += 1
        return urr_id

    def orphans(self, session: PdnSession) -> list[Monitor]:
        """Monitors whose last rule is gone."""
        keys = {rule.definition.monitoring_key for rule in session.rules.values()}
        for monitor in self.monitors.values():
            monitor.has_rules |= monitor.key in keys
        return [monitor for monitor in self.monitors.values() if monitor.has_rules and not monitor.is_of_session and monitor.key not in keys]

    def take(self, monitors: Iterable[Monitor], usage: Mapping[int, Usage]) -> tuple[UsageMonitoringInformation, ...]:
        """What they have used since they were asked last."""
        found = []
        for monitor in monitors:
            total = usage.get(monitor.urr_id, monitor.reported)
            found.append(information_of(monitor, total))
            monitor.reported = total
        return tuple(found)


def information_of(monitor: Monitor, total: Usage) -> UsageMonitoringInformation:
    before = monitor.reported
    return UsageMonitoringInformation(
        monitoring_key=monitor.key or None, usage_monitoring_level=monitor.level,
        used_service_unit=(ServiceUnit(
            cc_time=round(total.duration_s - before.duration_s) if monitor.seconds is not None else None,
            cc_total_octets=total.octets - before.octets, cc_input_octets=total.uplink_octets - before.uplink_octets,
            cc_output_octets=total.downlink_octets - before.downlink_octets),))


def take_usage_decision(pgw: Pgw, session: PdnSession, informations: Iterable[UsageMonitoringInformation]) -> None:
    """Thresholds are set, usage is asked for, monitoring ends; and so it does when its last rule has gone."""
    monitoring = session.usage_monitoring
    granted: set[int] = set()
    asked: dict[bytes, Monitor] = {}
    ending: dict[bytes, Monitor] = {}
    for information in informations:
        named = [monitoring.monitors[key] for key in ([information.monitoring_key] if information.monitoring_key else list(monitoring.monitors))
                 if key in monitoring.monitors]
        if information.usage_monitoring_support == UsageMonitoringSupport.USAGE_MONITORING_DISABLED:
            ending.update({monitor.key: monitor for monitor in named})
            continue
        monitor = monitoring.grant(information)
        if monitor is not None:
            granted.add(monitor.urr_id)
        if information.usage_monitoring_report == UsageMonitoringReport.USAGE_MONITORING_REPORT_REQUIRED:
            asked.update({monitor.key: monitor for monitor in named})
    ending.update({monitor.key: monitor for monitor in monitoring.orphans(session)})
    for key in ending:
        asked.pop(key, None)
    if granted:
        pgw.apply(session, granted)
    if asked or ending:
        pgw.runner.start(usage_report, pgw, session, tuple(asked.values()), tuple(ending.values()))


def threshold_reached(pgw: Pgw, session: PdnSession, urr_id: int, usage: Usage) -> None:
    """The PCRF answers with another threshold, or the monitoring ends."""
    monitor = session.usage_monitoring.of_urr(urr_id)
    if monitor is not None:
        pgw.runner.start(threshold_report, pgw, session, monitor, usage)


@procedure(spec="TS 29.212 clauses 4.5.16 and 4.5.17.1")
async def threshold_report(pgw: Pgw, session: PdnSession, monitor: Monitor, usage: Usage) -> None:
    before = monitor.reported
    used = session.usage_monitoring.take((monitor,), {monitor.urr_id: usage})
    answer = await _tell(pgw, session, used)
    if answer is None:                          # nobody has heard of it: it goes with the next report
        monitor.reported = before
        return
    if monitor.key not in {information.monitoring_key or b"" for information in answer.usage_monitoring_information
                           if information.granted_service_unit}:
        session.usage_monitoring.monitors.pop(monitor.key, None)
        pgw.apply(session)
    pgw.enforce(session, answer)


@procedure(spec="TS 29.212 clauses 4.5.17.2 to 4.5.17.4")
async def usage_report(pgw: Pgw, session: PdnSession, asked: tuple[Monitor, ...], ending: tuple[Monitor, ...]) -> None:
    """At the PCRF's request, and for the last time where monitoring ends."""
    if pgw.sx is not None and pgw.is_established(session):
        await pgw.sx.measure(session.session_id)
    if not pgw.is_established(session):
        return
    monitoring = session.usage_monitoring
    used = monitoring.take((*asked, *ending), pgw.forwarder.usage(session.session_id))
    for monitor in ending:
        if monitoring.monitors.get(monitor.key) is monitor:
            del monitoring.monitors[monitor.key]
    pgw.apply(session)
    answer = await _tell(pgw, session, used)
    if answer is not None:
        pgw.enforce(session, answer)


async def _tell(pgw: Pgw, session: PdnSession, used: tuple[UsageMonitoringInformation, ...]) -> CreditControlAnswer | None:
    return await gx.update(pgw, session, gx.Report(event_triggers=(EventTrigger.USAGE_REPORT,), usage=used))
