"""How a procedure may end, and who is told."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Protocol


class Reject(Exception):
    """Ends the procedure with a cause for the peer.

    ``cause`` is a member of the protocol's own enumeration (``EmmCause.PLMN_NOT_ALLOWED``), or a plain ``int`` that the enumeration
    does not know, or text for protocols whose causes are text (S1AP). ``inner`` may carry the cause of an embedded protocol, such
    as the ESM cause that goes inside an Attach Reject.
    """

    def __init__(self, cause: int | str, detail: str = "", *, inner: int | None = None) -> None:
        super().__init__(detail or cause_name(cause))
        self.cause = cause
        self.inner = inner


def cause_name(cause: int | str) -> str:
    """The specification's name of a cause, for labels and logs."""
    return cause.name if isinstance(cause, IntEnum) else str(cause)


class Outcome(Enum):
    SUCCESS = "success"
    REJECTED = "rejected"       # by a Reject, or an answer that cannot be read (WireError)
    TIMEOUT = "timeout"         # by a TimerExpired
    ABORTED = "aborted"         # by a collision, a lost link or the node's stop
    ERROR = "error"             # by a defect of ours; logged with its traceback


class Observer(Protocol):
    """Told of every procedure; the node's metrics implement it."""

    def procedure_started(self, name: str) -> None: ...

    def step_finished(self, name: str, step: str, duration_s: float) -> None: ...

    def procedure_finished(self, name: str, outcome: Outcome, cause: str, duration_s: float) -> None: ...
