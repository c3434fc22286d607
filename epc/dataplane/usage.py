"""What a URR does besides counting: quotas that stop packets, and thresholds and times that make it report (TS 29.244 clause 5.2.2.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from epc.dataplane.forwarder import UsageTrigger
from epc.dataplane.rules import Urr

_UNLIMITED = 1 << 62
_NEVER = float("inf")
_CLOCK_STEP_S = 1e-6            # what a timer may be early


class Measurement:
    """One URR at work, from when it was granted until it is granted anew. ``begin`` starts its timers.

    Each packet asks ``allows`` of every URR first, and then is told to every one of ``takers``, which are as few as the rule needs.
    """

    __slots__ = (
        "__weakref__", "_is_over", "_loop", "_now", "_period_ends_s", "_report", "_threshold_told", "_time_quota_at_s", "_time_threshold_at_s",
        "_timer", "_unused_since_s", "_used_before_s", "_using_since_s", "has_quota", "has_threshold", "last_packet_s", "measures_time",
        "quota_left", "quota_told", "threshold_left", "urr",
    )

    def __init__(self, urr: Urr, loop: asyncio.AbstractEventLoop, report: Callable[[UsageTrigger], None]) -> None:
        self.urr = urr
        self.has_quota = urr.volume_quota_octets is not None or urr.time_quota_s is not None
        self.has_threshold = urr.volume_threshold_octets is not None
        self.measures_time = measures_time(urr)
        self.quota_left = _UNLIMITED if urr.volume_quota_octets is None else urr.volume_quota_octets
        self.threshold_left = urr.volume_threshold_octets or 0
        self.last_packet_s = -_NEVER
        self._report = report
        self._loop = loop
        self._now = loop.time
        self.quota_told = self._threshold_told = False
        self._used_before_s = 0.0               # until the pause that is now, or before the use that is now
        self._using_since_s: float | None = None
        self._time_quota_at_s = self._time_threshold_at_s = self._period_ends_s = self._unused_since_s = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def begin(self, former: Measurement | None) -> None:
        """It comes into force, in place of a former one of the same URR, whose time it continues."""
        urr, now = self.urr, self._now()
        if former is not None:
            former.end()
            self._used_before_s, self._using_since_s = former._used_before_s, former._using_since_s
            if former.measures_time:
                self.last_packet_s = former.last_packet_at_s()
        used_s = self.used_s()
        self._unused_since_s = now
        self._time_quota_at_s = _NEVER if urr.time_quota_s is None else used_s + urr.time_quota_s
        self._time_threshold_at_s = _NEVER if urr.time_threshold_s is None else used_s + urr.time_threshold_s
        self._period_ends_s = _NEVER if urr.period_s is None else now + urr.period_s
        if urr.time_quota_s is not None and urr.time_quota_s <= 0:
            self.close()
        self._set_timer()

    def end(self) -> None:
        """Its rule is gone, or was granted anew."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def used_s(self) -> float:
        """The time of use so far."""
        since = self._using_since_s
        return self._used_before_s if since is None else self._used_before_s + max(0.0, min(self._now(), self._use_ends_s()) - since)

    # What each packet does

    def allows(self) -> bool:
        """Is anything of the quota left? The first packet for which there is nothing asks for more, if that was not done yet."""
        if self.quota_left > 0:
            return True
        self.tell_quota()
        return False

    def takers(self) -> tuple[Callable[[int], None], ...]:
        found: list[Callable[[int], None]] = []
        if self.urr.volume_quota_octets is not None:
            found.append(self.take_quota)
        if self.has_threshold:
            found.append(self.take_threshold)
        if self.measures_time:
            found.append(self.take_time)
        return tuple(found)

    def take_quota(self, octets: int) -> None:
        left = self.quota_left = self.quota_left - octets
        if left <= 0:
            self.tell_quota()

    def take_threshold(self, octets: int) -> None:
        left = self.threshold_left = self.threshold_left - octets
        if left <= 0:
            self.tell_threshold()

    def take_time(self, octets: int) -> None:
        self.last_packet_s = self._now()
        if self._using_since_s is None:
            self.use_starts(self.last_packet_s)

    # Where a faster path has part of it

    def close(self) -> None:
        """Nothing passes any more."""
        self.quota_left = 0

    def last_packet_at_s(self) -> float:
        """On the loop's clock."""
        return self.last_packet_s

    def restart_threshold(self) -> None:
        self.threshold_left = self.urr.volume_threshold_octets or 0

    # What becomes of it

    def tell_quota(self) -> None:
        if not self.quota_told:
            self.quota_told = True
            self._stop_use()
            # once the packet that used it up is counted
            self._loop.call_soon(self._send, UsageTrigger.TIME_QUOTA if self.urr.volume_quota_octets is None else UsageTrigger.VOLUME_QUOTA)

    def tell_threshold(self) -> None:
        if not self._threshold_told:
            self._threshold_told = True
            self._loop.call_soon(self._send, UsageTrigger.VOLUME_THRESHOLD)

    def use_starts(self, at_s: float) -> None:
        """With a packet, after there was none or none for long enough."""
        self._using_since_s = at_s
        self._set_timer()

    def _use_ends_s(self) -> float:
        """When it ends if no packet comes any more."""
        inactivity_s = self.urr.inactivity_s
        return _NEVER if inactivity_s is None else self.last_packet_at_s() + inactivity_s

    def _stop_use(self) -> None:
        if self._using_since_s is not None:
            self._used_before_s = self.used_s()
            self._using_since_s = None

    def _send(self, trigger: UsageTrigger) -> None:
        """Thresholds count from the last report of one."""
        if self._is_over:
            return
        if trigger in (UsageTrigger.VOLUME_THRESHOLD, UsageTrigger.TIME_THRESHOLD):
            if self.has_threshold:
                self.restart_threshold()
                self._threshold_told = False
            if self.urr.time_threshold_s is not None:
                self._time_threshold_at_s = self.used_s() + self.urr.time_threshold_s
        self._report(trigger)

    def _set_timer(self) -> None:
        if self._is_over:           # the control plane has answered a report at once
            return
        due = min(self._period_ends_s, self._idle_quota_ends_s())
        if self._using_since_s is not None:
            used_up_s = min(self._time_quota_at_s, self._time_threshold_at_s)
            due = min(due, self._use_ends_s(), self._using_since_s + used_up_s - self._used_before_s)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due == _NEVER else self._loop.call_at(due, self._time_is_up)

    def _idle_quota_ends_s(self) -> float:
        if self.urr.quota_holding_time_s is None or self.quota_told:
            return _NEVER
        return max(self.last_packet_at_s(), self._unused_since_s) + self.urr.quota_holding_time_s

    def _time_is_up(self) -> None:
        """Whatever is due now. A packet may have come since the timer was set: then it is set again, and that is all."""
        self._timer = None
        now, used_s = self._now() + _CLOCK_STEP_S, self.used_s() + _CLOCK_STEP_S
        if self._using_since_s is not None and now >= self._use_ends_s():
            self._stop_use()
        if used_s >= self._time_quota_at_s and not self.quota_told:
            self.quota_told = True
            self.close()
            self._stop_use()
            self._send(UsageTrigger.TIME_QUOTA)
        if used_s >= self._time_threshold_at_s:
            self._send(UsageTrigger.TIME_THRESHOLD)
        if now >= self._period_ends_s:
            self._period_ends_s += self.urr.period_s or _NEVER
            self._send(UsageTrigger.PERIOD)
        if now >= self._idle_quota_ends_s():
            self.close()
            self._unused_since_s = _NEVER       # the next packet asks for a new one
            self._stop_use()
            self._send(UsageTrigger.QUOTA_HOLDING_TIME)
        self._set_timer()


def measures_time(urr: Urr) -> bool:
    return any(limit is not None for limit in (urr.time_quota_s, urr.time_threshold_s, urr.inactivity_s, urr.quota_holding_time_s))


def does_more_than_count(urr: Urr) -> bool:
    return not (urr.volume_quota_octets is None and urr.volume_threshold_octets is None and urr.period_s is None and urr.time_quota_s is None
                and urr.time_threshold_s is None and urr.inactivity_s is None and urr.quota_holding_time_s is None)
