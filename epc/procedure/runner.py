"""Where procedures run and where each of them ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from epc.peer.timer import TimerExpired
from epc.procedure.outcome import Observer, Outcome, Reject, cause_name
from epc.wire.errors import WireError

if TYPE_CHECKING:
    from epc.procedure.slot import Collision

log = structlog.get_logger("epc.procedure")


@dataclass(frozen=True, slots=True, eq=False)
class Procedure:
    """A coroutine function and what the runtime must know of it."""

    run: Callable[..., Coroutine[Any, Any, None]]
    starts_on: type | None
    accepts: tuple[type, ...]
    spec: str
    collisions: Mapping[type, Collision]
    name: str = field(default="")
    dropped: Callable[..., None] | None = None


def procedure(
    *,
    spec: str,
    starts_on: type | None = None,
    accepts: tuple[type, ...] = (),
    collisions: Mapping[type, Collision] | None = None,
    dropped: Callable[..., None] | None = None,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Procedure]:
    """Declare a procedure.

    ``starts_on``: the message that begins it. ``accepts``: messages kept for it when they come before it asks. ``collisions``: what to
    do with a message that would begin another procedure while this one runs; the default is to ignore it. ``spec``: the clause.
    ``dropped`` is called with the procedure's arguments when it waited in a slot and is never to run: somebody may wait for its answer.
    """

    def declare(run: Callable[..., Coroutine[Any, Any, None]]) -> Procedure:
        return Procedure(run, starts_on, accepts, spec, dict(collisions or {}), run.__name__, dropped)

    return declare


def stopwatch() -> Callable[[], float]:
    """What durations are measured with: the loop's clock, which may be virtual, but not uvloop's, which counts whole milliseconds."""
    loop = asyncio.get_running_loop()
    return time.perf_counter if type(loop).__module__.startswith("uvloop") else loop.time


class _Steps:
    """The step that the running procedure is in, and since when."""

    __slots__ = ("clock", "name", "observer", "procedure", "since")

    def __init__(self, observer: Observer | None, procedure: str, clock: Callable[[], float]) -> None:
        self.observer = observer
        self.procedure = procedure
        self.clock = clock
        self.name = ""
        self.since = 0.0

    def begin(self, name: str, now: float) -> None:
        if self.name and self.observer is not None:
            self.observer.step_finished(self.procedure, self.name, now - self.since)
        self.name = name
        self.since = now


_steps: ContextVar[_Steps | None] = ContextVar("steps", default=None)


def step(number: int, name: str) -> None:
    """Mark the start of a numbered step of the ladder (its duration ends where the next one starts)."""
    steps = _steps.get()
    if steps is not None:
        steps.begin(f"{number:02d}-{name}", steps.clock())


class Runner:
    """Starts procedures as tasks, holds them, tells ``observer`` how each ended."""

    __slots__ = ("_observer", "_tasks")

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._tasks: set[asyncio.Task[Outcome]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def running(self) -> list[str]:
        """Names of the procedures that run now."""
        return [task.get_name() for task in self._tasks]

    def start(self, what: Procedure, *args: Any) -> asyncio.Task[Outcome]:
        """Run ``what`` as a task whose result is its :class:`Outcome`; the task raises nothing but cancellation."""
        task = asyncio.get_running_loop().create_task(self._run(what, args), name=what.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, what: Procedure, args: tuple[Any, ...]) -> Outcome:
        clock = stopwatch()
        observer = self._observer
        started = clock()
        steps = _Steps(observer, what.name, clock)
        _steps.set(steps)
        outcome, cause = Outcome.SUCCESS, ""
        if observer is not None:
            observer.procedure_started(what.name)
        try:
            await what.run(*args)
        except Reject as error:
            outcome, cause = Outcome.REJECTED, cause_name(error.cause)
            log.info("procedure.rejected", procedure=what.name, cause=cause, detail=str(error), step=steps.name)
        except TimerExpired as error:
            outcome, cause = Outcome.TIMEOUT, error.timer.name
            log.info("procedure.timeout", procedure=what.name, timer=error.timer.name, step=steps.name)
        except asyncio.CancelledError:
            outcome, cause = Outcome.ABORTED, "cancelled"
            raise
        except ConnectionError as error:
            outcome, cause = Outcome.ABORTED, "link lost"
            log.info("procedure.aborted", procedure=what.name, reason=str(error), step=steps.name)
        except WireError as error:
            outcome, cause = Outcome.REJECTED, "unreadable answer"
            log.info("procedure.unreadable", procedure=what.name, reason=str(error), step=steps.name)
        except Exception:
            outcome, cause = Outcome.ERROR, "internal error"
            log.exception("procedure.error", procedure=what.name, step=steps.name)
        finally:
            now = clock()
            steps.begin("", now)
            _steps.set(None)
            if observer is not None:
                observer.procedure_finished(what.name, outcome, cause, now - started)
        return outcome

    async def stop(self) -> None:
        """Cancel everything that runs and wait until its undo is done."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
