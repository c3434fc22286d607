"""Procedures as coroutines: one ``async def`` that reads like its ladder diagram, in a file of its name.

This package adds what 3GPP adds to a plain conversation: timers with retransmission (:class:`Dialogue`), one procedure at a time
with declared collisions (:class:`Slot`), causes (:class:`Reject`), and a place where every procedure ends (:class:`Runner`), so
that outcomes are counted and timed in one way on every node.

Undo is ``contextlib.AsyncExitStack``: push what takes a step back when the step is done, ``pop_all()`` when the procedure succeeded.
"""

from epc.peer.timer import Timer, TimerExpired
from epc.procedure.dialogue import Dialogue
from epc.procedure.outcome import Observer, Outcome, Reject
from epc.procedure.runner import Procedure, Runner, procedure, step, stopwatch
from epc.procedure.slot import Collision, Slot, table

__all__ = [
    "Collision",
    "Dialogue",
    "Observer",
    "Outcome",
    "Procedure",
    "Reject",
    "Runner",
    "Slot",
    "Timer",
    "TimerExpired",
    "procedure",
    "step",
    "stopwatch",
    "table",
]
