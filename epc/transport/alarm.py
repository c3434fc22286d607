"""One timer of the event loop for a machine that says when it wants to be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings at the earliest time it was set to, and not again before it is set anew.

    An alarm that comes too early is cheaper than one reset at every message: who is rung asks its machine for the next time.
    """

    def __init__(self, ring: Callable[[float], None]) -> None:
        """``ring`` gets the time that it is, never less than the time that was set: the loop may ring a clock's tick too early."""
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0            # the handle may not tell: uvloop runs what is due within a millisecond without a timer

    def set(self, when: float | None) -> None:
        """Ring at ``when`` (the loop's clock) if not earlier; ``None`` wants nothing."""
        if when is None or (self._handle is not None and self._when <= when):
            return
        if self._handle is not None:
            self._handle.cancel()
        self._when = when
        self._handle = asyncio.get_running_loop().call_at(when, self._rung)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rung(self) -> None:
        self._handle = None
        self._ring(max(asyncio.get_running_loop().time(), self._when))
