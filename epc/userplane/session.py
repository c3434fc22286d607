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

@dataclass(slots=True, eq=False)
class UrrState:
    """What was reported of one URR: reports tell what has come since (TS 29.244 clause 5.2.2.2)."""

    since_ntp: int
    reported: Usage = field(default_factory=Usage)
    sequence: int = 0                   # UR-SEQN of the next report

    def report(
        self, kind: type[_R], rule: CreateUrr, trigger: UsageReportTrigger, usage: Usage, *, now_ntp: int
    ) -> _R:
        """``usage`` is the total so far; from now on it counts as reported."""
        uplink, downlink = usage.uplink_octets - self.reported.uplink_octets, usage.downlink_octets - self.reported.downlink_octets
        duration_s = round(usage.duration_s) - round(self.reported.duration_s)      # whole ones, which add up
        made = kind(
            urr_id=rule.urr_id, ur_seqn=self.sequence, usage_report_trigger=trigger, start_time_ntp=self.since_ntp, end_time_ntp=now_ntp,
            volume_measurement=Volume(total_octets=uplink + downlink, uplink_octets=uplink, downlink_octets=downlink),
            duration_measurement_s=duration_s if MeasurementMethod.DURAT in rule.measurement_method else None,
        )
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self.reported, self.since_ntp = usage, now_ntp
        return made

    def exceeds(self, threshold: Volume, usage: Usage) -> bool:
        """Does what one direction has used reach its threshold?"""
        uplink, downlink = usage.uplink_octets - self.reported.uplink_octets, usage.downlink_octets - self.reported.downlink_octets
        counted = ((threshold.uplink_octets, uplink), (threshold.downlink_octets, downlink))
        return any(limit is not None and octets >= limit for limit, octets in counted)


def threshold_of_one_direction(rule: CreateUrr) -> Volume | None:
    """It is found by looking at the counters now and then: the forwarder knows both directions together only."""
    threshold = rule.volume_threshold
    if ReportingTriggers.VOLTH not in rule.reporting_triggers or threshold is None:
        return None
    return None if threshold.uplink_octets is None and threshold.downlink_octets is None else threshold


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
        return any(threshold_of_one_direction(rule) is not None for rule in self.rules.urrs.values())
