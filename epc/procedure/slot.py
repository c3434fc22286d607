"""At most one procedure at a time for one UE, and what happens when two collide."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Mapping
from typing import Any

from epc.procedure.dialogue import Dialogue
from epc.procedure.outcome import Outcome
from epc.procedure.runner import Procedure, Runner


class Collision(enum.Enum):
    IGNORE = enum.auto()     # the running procedure wins; the new message is dropped
    REPLACE = enum.auto()    # abort the running procedure (its undo runs), then start the new one
    QUEUE = enum.auto()      # start the new one when the running one is over


def table(procedures: Iterable[Procedure]) -> dict[type, Procedure]:
    """Which procedure each message starts; one table serves all slots of a node."""
    return {each.starts_on: each for each in procedures if each.starts_on is not None}


class Slot:
    """Runs at most one procedure at a time. Holds no task while nothing runs."""

    __slots__ = ("_queued", "_runner", "_table", "_task", "running")

    def __init__(self, runner: Runner, table: Mapping[type, Procedure]) -> None:
        self._runner = runner
        self._table = table
        self._task: asyncio.Task[Outcome] | None = None
        self._queued: list[tuple[Procedure, tuple[Any, ...]]] = []
        self.running: Procedure | None = None

    def receive(self, dialogue: Dialogue, message: object, *args: Any) -> bool:
        """Give ``message`` to the running procedure, or start the one that it begins with ``(*args, message)``.

        False: nobody wanted it; the caller answers as its protocol says (EMM STATUS, Error Indication, cause 98).
        """
        running = self.running
        if dialogue.feed(message, keep=running is not None and isinstance(message, running.accepts)):
            return True
        new = self._table.get(type(message))
        if new is None:
            return False
        self.start(new, *args, message, collision=running.collisions.get(type(message), Collision.IGNORE) if running else Collision.QUEUE)
        return True

    def start(self, new: Procedure, *args: Any, collision: Collision = Collision.QUEUE) -> None:
        """Start ``new`` at once if the slot is free, else as ``collision`` says."""
        if self.running is None:
            self._start(new, args)
        elif collision is Collision.REPLACE:
            self._queued = [(new, args)]
            if self._task is not None:
                self._task.cancel()
        elif collision is Collision.QUEUE:
            self._queued.append((new, args))

    def cancel(self) -> None:
        """Abort what runs and forget what is queued: the UE's link is gone or its context is being removed."""
        self._queued.clear()
        if self._task is not None:
            self._task.cancel()

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is queued."""
        while self._task is not None:
            await asyncio.wait((self._task,))
            await asyncio.sleep(0)

    def _start(self, new: Procedure, args: tuple[Any, ...]) -> None:
        self.running = new
        self._task = self._runner.start(new, *args)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        self.running = self._task = None
        if self._queued:
            self._start(*self._queued.pop(0))
