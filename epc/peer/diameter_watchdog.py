"""The watchdog of a Diameter connection, as a sans-IO machine: RFC 3539 clause 3.4."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class WatchdogState(Enum):
    """RFC 3539 clause 3.4.1."""

    INITIAL = "INITIAL"
    OKAY = "OKAY"
    SUSPECT = "SUSPECT"     # one watchdog is overdue: new requests go elsewhere
    DOWN = "DOWN"
    REOPEN = "REOPEN"       # connected again after a failure: not yet trusted


class WatchdogEvent(Enum):
    CONNECTION_UP = "Connection up"
    CONNECTION_DOWN = "Connection down"
    RECEIVE_DWA = "Receive DWA"
    RECEIVE_NON_DWA = "Receive non-DWA"
    TIMER_EXPIRES = "Timer expires"


class WatchdogAction(Enum):
    NONE = ""
    SEND_WATCHDOG = "SendWatchdog"
    FAILOVER = "Failover"
    FAILBACK = "Failback"
    CLOSE_CONNECTION = "CloseConnection"


class Watchdog:
    """RFC 3539 clause 3.4: is the connection alive, and may it be trusted. ``jitter`` returns -2 to 2 seconds."""

    __slots__ = ("_answers", "_jitter", "_pending", "_tw_s", "deadline", "state")

    TRUSTED_AFTER = 3       # watchdogs answered in REOPEN

    def __init__(self, tw_s: float, jitter: Callable[[], float]) -> None:
        self.state = WatchdogState.INITIAL
        self.deadline: float | None = None
        self._tw_s = tw_s
        self._jitter = jitter
        self._pending = False       # a DWR is unanswered
        self._answers = 0           # "NumDWA"

    def event(self, event: WatchdogEvent, now: float) -> WatchdogAction:
        """The table of RFC 3539 clause 3.4.1; reconnecting ("AttemptOpen") is the peer machine's Tc."""
        state = self.state
        if event is WatchdogEvent.RECEIVE_NON_DWA:
            self._set(now)
            if state is not WatchdogState.SUSPECT:
                return WatchdogAction.NONE
            self.state = WatchdogState.OKAY
            return WatchdogAction.FAILBACK
        if event is WatchdogEvent.RECEIVE_DWA:
            self._set(now)
            self._pending = False
            if state is WatchdogState.SUSPECT:
                self.state = WatchdogState.OKAY
                return WatchdogAction.FAILBACK
            if state is WatchdogState.REOPEN:
                self._answers += 1
                if self._answers < self.TRUSTED_AFTER:
                    self._pending = True
                    return WatchdogAction.SEND_WATCHDOG
                self.state = WatchdogState.OKAY
                return WatchdogAction.FAILBACK
            return WatchdogAction.NONE
        if event is WatchdogEvent.TIMER_EXPIRES:
            self._set(now)
            if not self._pending:
                self._pending = True
                return WatchdogAction.SEND_WATCHDOG
            if state is WatchdogState.OKAY:
                self.state = WatchdogState.SUSPECT
                return WatchdogAction.FAILOVER
            return WatchdogAction.CLOSE_CONNECTION
        if event is WatchdogEvent.CONNECTION_UP:
            self._set(now)
            self._pending = False
            if state is WatchdogState.INITIAL:
                self.state = WatchdogState.OKAY
                return WatchdogAction.FAILBACK
            self.state = WatchdogState.REOPEN
            self._answers = 0
            self._pending = True
            return WatchdogAction.SEND_WATCHDOG
        self.state = WatchdogState.DOWN
        self.deadline = None
        self._pending = False
        return WatchdogAction.FAILOVER

    def reset(self) -> None:
        """The connection ended with a DPR/DPA: nothing failed, the next one is trusted at once."""
        self.state = WatchdogState.INITIAL
        self.deadline = None
        self._pending = False

    def _set(self, now: float) -> None:
        self.deadline = now + self._tw_s + self._jitter()
