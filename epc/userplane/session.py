"""A PFCP session as the user-plane function knows it, and what it still has to report of its usage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from epc.dataplane.pfcp_rules import PfcpRules
from epc.dataplane.rules import Session, Usage
from epc.peer.pfcp import Association
from epc.transport.interface import Address
from epc.wire.pfcp import (
    CreateUrr,
    MeasurementMethod,
    ReportingTriggers,
    UsageReportAtModification,
    UsageReportTrigger,
    Volume,
)

_R = TypeVar("_R", bound=UsageReportAtModification)

CHECKED = ReportingTriggers.PERIO | ReportingTriggers.VOLTH | ReportingTriggers.TIMTH
"""The triggers that are found by looking at the clock and the counters now and then."""


@dataclass(slots=True, eq=False)
class UrrState:
    """What was reported of one URR: reports tell what has come since."""

    since_s: float                      # on the loop's clock
    since_ntp: int
    reported: Usage = field(default_factory=Usage)
    sequence: int = 0                   # UR-SEQN of the next report

    def report(
        self, kind: type[_R], rule: CreateUrr, trigger: UsageReportTrigger, usage: Usage, *, now_s: float, now_ntp: int
    ) -> _R:
        """``usage`` is the total so far; from now on it counts as reported."""
        uplink, downlink = usage.uplink_octets - self.reported.uplink_octets, usage.downlink_octets - self.reported.downlink_octets
        measures_time = MeasurementMethod.DURAT in rule.measurement_method
        made = kind(
            urr_id=rule.urr_id, ur_seqn=self.sequence, usage_report_trigger=trigger, start_time_ntp=self.since_ntp, end_time_ntp=now_ntp,
            volume_measurement=Volume(total_octets=uplink + downlink, uplink_octets=uplink, downlink_octets=downlink),
            duration_measurement_s=int(now_s - self.since_s) if measures_time else None,
        )
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self.reported, self.since_s, self.since_ntp = usage, now_s, now_ntp
        return made

    def due(self, rule: CreateUrr, usage: Usage, now_s: float) -> UsageReportTrigger:
        """Which of the checked triggers have come true."""
        wanted, elapsed_s = rule.reporting_triggers, now_s - self.since_s
        found = UsageReportTrigger(0)
        if ReportingTriggers.PERIO in wanted and rule.measurement_period_s is not None and elapsed_s >= rule.measurement_period_s:
            found |= UsageReportTrigger.PERIO
        if ReportingTriggers.TIMTH in wanted and rule.time_threshold_s is not None and elapsed_s >= rule.time_threshold_s:
            found |= UsageReportTrigger.TIMTH
        if ReportingTriggers.VOLTH in wanted and rule.volume_threshold is not None and self._exceeds(rule.volume_threshold, usage):
            found |= UsageReportTrigger.VOLTH
        return found

    def _exceeds(self, threshold: Volume, usage: Usage) -> bool:
        uplink, downlink = usage.uplink_octets - self.reported.uplink_octets, usage.downlink_octets - self.reported.downlink_octets
        counted = ((threshold.total_octets, uplink + downlink), (threshold.uplink_octets, uplink), (threshold.downlink_octets, downlink))
        return any(limit is not None and octets >= limit for limit, octets in counted)


@dataclass(slots=True, kw_only=True, eq=False)
class UpSession:
    """One PDN connection's user plane. Both SEIDs are allocated by the side that receives with them."""

    seid: int                           # ours, also the forwarder's session id
    cp_seid: int
    association: Association
    cp: Address                         # where reports go
    rules: PfcpRules
    installed: Session                  # what the forwarder was told
    urrs: dict[int, UrrState] = field(default_factory=dict)

    @property
    def is_checked(self) -> bool:
        return any(rule.reporting_triggers & CHECKED for rule in self.rules.urrs.values())
