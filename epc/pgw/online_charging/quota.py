"""What the OCS grants to one charging key (RFC 8506 clauses 5.1.2 and 5.6, TS 32.299 clauses 5.2.2 and 6.5)."""

from __future__ import annotations

from dataclasses import dataclass

from epc.dataplane.rules import Urr, Usage
from epc.wire.diameter.charging import FinalUnitIndication, MultipleServicesCreditControl

NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Units of one grant, in both directions together; they count from the usage ``since`` on, which was the last one reported."""

    octets: int | None = None
    seconds: int | None = None
    octets_threshold: int | None = None         # so many left: time to ask for more
    seconds_threshold: int | None = None
    holding_time_s: int | None = None           # unused for so long it goes back; None: never
    consumption_time_s: int | None = None       # pauses longer than this are no time of use
    final: FinalUnitIndication | None = None    # there is no more after it
    since: Usage = NOTHING

    def octets_left(self, used: Usage) -> int | None:
        return None if self.octets is None else self.octets - (used.octets - self.since.octets)

    def seconds_left(self, used: Usage) -> float | None:
        return None if self.seconds is None else self.seconds - (used.duration_s - self.since.duration_s)

    def is_used_up(self, used: Usage) -> bool:
        """Also what passed while the grant was on its way counts."""
        octets, seconds = self.octets_left(used), self.seconds_left(used)
        return (octets is not None and octets <= 0) or (seconds is not None and seconds <= 0)

    def rule(self, urr_id: int, used: Usage) -> Urr:
        """What of it is left, for a URR that has measured ``used``."""
        octets, seconds = self.octets_left(used), self.seconds_left(used)
        keep_octets, keep_seconds = self.octets_threshold, self.seconds_threshold      # the OCS says how much shall remain, a URR how much is used
        return Urr(
            id=urr_id, volume_quota_octets=octets, time_quota_s=seconds,
            volume_threshold_octets=None if octets is None or keep_octets is None else max(octets - keep_octets, 1),
            time_threshold_s=None if seconds is None or keep_seconds is None else max(seconds - keep_seconds, 0.001),
            inactivity_s=self.consumption_time_s if seconds is not None else None, quota_holding_time_s=self.holding_time_s,
        )


def quota_of(mscc: MultipleServicesCreditControl, since: Usage) -> Quota | None:
    """``None`` when nothing is granted, or nothing that a gateway can measure (money, service specific units)."""
    granted = mscc.granted_service_unit
    if granted is None:
        return None
    octets = granted.cc_total_octets
    if octets is None and (granted.cc_input_octets is not None or granted.cc_output_octets is not None):
        octets = (granted.cc_input_octets or 0) + (granted.cc_output_octets or 0)
    if not octets and not granted.cc_time:
        return None
    final = mscc.final_unit_indication
    return Quota(
        octets=octets or None, seconds=granted.cc_time or None,
        octets_threshold=None if final else mscc.volume_quota_threshold or None,
        seconds_threshold=None if final else mscc.time_quota_threshold or None, holding_time_s=mscc.quota_holding_time or None,
        consumption_time_s=mscc.quota_consumption_time or None, final=final, since=since,
    )
