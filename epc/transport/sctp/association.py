"""What every association has in common, whichever engine carries it: callbacks, their order, and the tap."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from epc.transport.interface import Address
from epc.transport.tapping import TapPoint


class BaseAssociation(ABC):
    """Callbacks in order, each close reported once.

    Messages that arrive before ``on_message`` is set are kept: a client's coroutine resumes a turn of the loop after the association
    came up, and the server may have spoken by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tap_point: TapPoint, *, local: Address, remote: Address, outbound_streams: int) -> None:
        self.local = local
        self.remote = remote
        self.outbound_streams = outbound_streams
        self._loop = loop
        self._tap_point = tap_point
        self._open = True
        self._on_message: Callable[[bytes, int, int], None] | None = None
        self._on_closed: Callable[[str], None] | None = None
        self._early: deque[tuple[bytes, int, int]] = deque()
        self._close_reason: str | None = None
        self._reported = False

    @property
    def on_message(self) -> Callable[[bytes, int, int], None]:
        return self._on_message or self._keep

    @on_message.setter
    def on_message(self, callback: Callable[[bytes, int, int], None]) -> None:
        self._on_message = callback
        if self._early:
            self._loop.call_soon(self._release_early)

    @property
    def on_closed(self) -> Callable[[str], None]:
        return self._on_closed or _nobody_waits

    @on_closed.setter
    def on_closed(self, callback: Callable[[str], None]) -> None:
        self._on_closed = callback
        if self._close_reason is not None and not self._reported:
            self._loop.call_soon(self._report_closed)

    @property
    def is_open(self) -> bool:
        return self._open

    @abstractmethod
    def send(self, data: bytes, *, stream: int, ppid: int) -> None: ...

    @abstractmethod
    def shutdown(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...

    @abstractmethod
    def status(self) -> dict[str, object]: ...

    def check_sendable(self, stream: int) -> None:
        if not self._open:
            raise ConnectionError(f"association {self.local} - {self.remote} is down: {self._close_reason or 'shutting down'}")
        if not 0 <= stream < self.outbound_streams:
            raise ValueError(f"stream {stream} is not among the {self.outbound_streams} outbound streams")

    def deliver(self, data: bytes, stream: int, ppid: int) -> None:
        """A user message came in."""
        point = self._tap_point
        if point.transport.tap is not None:
            point.received(self.remote, self.local, data, stream, ppid)
        if self._on_message is None or self._early:
            self._keep(data, stream, ppid)
        else:
            self._on_message(data, stream, ppid)

    def tap_sent(self, data: bytes, stream: int, ppid: int) -> None:
        if self._tap_point.transport.tap is not None:
            self._tap_point.sent(self.local, self.remote, data, stream, ppid)

    def ended(self, reason: str) -> None:
        """The association is over; ``on_closed`` runs later on the loop, once."""
        self._open = False
        if self._close_reason is None:
            self._close_reason = reason
            if self._on_closed is not None:
                self._loop.call_soon(self._report_closed)

    @property
    def has_ended(self) -> bool:
        return self._close_reason is not None

    def _keep(self, data: bytes, stream: int, ppid: int) -> None:
        self._early.append((data, stream, ppid))

    def _release_early(self) -> None:
        if self._early and self._on_message is not None:
            message = self._early.popleft()
            if self._early:
                self._loop.call_soon(self._release_early)
            self._on_message(*message)

    def _report_closed(self) -> None:
        if self._early and self._on_message is not None:
            self._loop.call_soon(self._report_closed)      # what came before the end is heard before the end
            return
        callback = self._on_closed
        if callback is None or self._reported or self._close_reason is None:
            return
        self._reported = True
        self._on_message = self._on_closed = None           # the callbacks' owner usually owns this object too: no cycle outlives the end
        callback(self._close_reason)


def _nobody_waits(reason: str) -> None:
    """The close was already reported, or nobody asked."""
