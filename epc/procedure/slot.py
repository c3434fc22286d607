"""At most one procedure at a time for one UE, and what happens when two collide."""

from __future__ import annotations

import asyncio
import enum
import inspect
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

    __slots__ = ("_args", "_queued", "_runner", "_table", "_task", "running")

    def __init__(self, runner: Runner, table: Mapping[type, Procedure]) -> None:
        self._runner = runner
        self._table = table
        self._task: asyncio.Task[Outcome] | None = None
        self._queued: list[tuple[Procedure, tuple[Any, ...]]] = []
        self.running: Procedure | None = None
        self._args: tuple[Any, ...] = ()

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
            self._drop_queued()
            self._queued = [(new, args)]
            self._cancel_running()
        elif collision is Collision.QUEUE:
            self._queued.append((new, args))

    def cancel(self) -> None:
        """Abort what runs and forget what is queued: the UE's link is gone or its context is being removed."""
        self._drop_queued()
        self._cancel_running()

    def _cancel_running(self) -> None:
        task, running = self._task, self.running
        if task is None:
            return
        coroutine = task.get_coro()
        begun = not inspect.iscoroutine(coroutine) or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
        task.cancel()
        if not begun and running is not None and running.dropped is not None:
            running.dropped(*self._args)        # it is never to take its first step

    def _drop_queued(self) -> None:
        queued, self._queued = self._queued, []
        for procedure, args in queued:
            if procedure.dropped is not None:
                procedure.dropped(*args)

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is queued."""
        while self._task is not None:
            await asyncio.wait((self._task,))
            await asyncio.sleep(0)

    def _start(self, new: Procedure, args: tuple[Any, ...]) -> None:
        self.running, self._args = new, args
        self._task = self._runner.start(new, *args)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        self.running = self._task = None
        self._args = ()
        if self._queued:
            self._start(*self._queued.pop(0))
