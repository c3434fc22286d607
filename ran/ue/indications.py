"""What the lower layer tells the procedures, given to their dialogue like a message; and how a procedure answers who called it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from epc.procedure import Reject, TimerExpired
from ran.ue.state import Result

Answer = asyncio.Future[Result]


class ConnectionReleased:
    """The NAS signalling connection is gone; for those who wait for just that. All others get a ``ConnectionError``."""


class RadioBearersEstablished:
    """The radio bearers are there, which is how a SERVICE REQUEST succeeds (TS 24.301 clause 5.6.1.4)."""


class EsmRefused(Reject):
    """Ends an ESM procedure with an ESM cause."""

    def __init__(self, cause: int, detail: str = "") -> None:
        super().__init__(cause, detail)
        self.esm_cause = cause


def give(answer: Answer | None, result: Result) -> None:
    """Tell the caller, if there is one and it has not been told yet."""
    if answer is not None and not answer.done():
        answer.set_result(result)


def failure(error: BaseException, attempts: int = 1) -> Result:
    """The result that ``error`` amounts to."""
    match error:
        case EsmRefused(cause=int(cause)):
            return Result(success=False, esm_cause=cause, reason=str(error), attempts=attempts)
        case Reject(cause=int(cause), inner=inner):
            return Result(success=False, emm_cause=cause, esm_cause=inner, reason=str(error), attempts=attempts)
        case TimerExpired(timer=timer):
            return Result(success=False, timer=timer.name, reason=str(error), attempts=attempts)
        case asyncio.CancelledError():
            return Result(success=False, reason="aborted by another procedure", attempts=attempts)
        case ConnectionError():
            return Result(success=False, reason=str(error), attempts=attempts)
    return Result(success=False, reason="internal error", attempts=attempts)


@contextmanager
def answering(answer: Answer | None) -> Iterator[None]:
    """Whatever ends the body with an exception, the caller gets a :class:`Result`; the exception goes on to the runner."""
    try:
        yield
    except BaseException as error:
        give(answer, failure(error))
        raise
