"""Protocol timers as data, and the error of one that ran out."""

from __future__ import annotations

from typing import NamedTuple


class Timer(NamedTuple):
    """A protocol timer: ``retries`` counts the retransmissions after the first transmission."""

    name: str
    seconds: float
    retries: int = 0


class TimerExpired(Exception):
    """The peer stayed silent through every transmission that ``timer`` allows."""

    def __init__(self, timer: Timer) -> None:
        super().__init__(f"{timer.name} expired {timer.retries + 1} time(s)")
        self.timer = timer
