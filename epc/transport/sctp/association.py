"""What every association has in common, whichever engine runs it: callbacks and their order, the tap, send queue and reassembly."""

from __future__ import annotations

import asyncio
import errno
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from epc.transport.interface import Address
from epc.transport.sctp.settings import SctpSettings
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


class EngineAssociation(BaseAssociation):
    """An association that a real SCTP engine runs: messages wait while the engine's buffer is full, and come in parts if they are long."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tap_point: TapPoint, settings: SctpSettings, *, local: Address, remote: Address,
    ) -> None:
        super().__init__(loop, tap_point, local=local, remote=remote, outbound_streams=settings.outbound_streams)
        self.inbound_streams = settings.inbound_streams
        self.settings = settings
        self._parts: list[bytes] = []
        self._parts_octets = 0
        self._unsent: deque[tuple[bytes, int, int]] = deque()
        self._unsent_octets = 0
        self._shutdown_waits = False
        self._peer_shuts_down = False

    # For the engines to say how

    @abstractmethod
    def engine_send(self, data: bytes, stream: int, ppid: int) -> bool:
        """False when the engine has no room now; it calls :meth:`send_queued` when it has. Raises ``ConnectionError``, ``ValueError``."""

    @abstractmethod
    def engine_shutdown(self) -> None: ...

    @abstractmethod
    def engine_release(self, *, abort: bool) -> None:
        """Give the socket back, with an ABORT to the peer if asked."""

    # For the nodes

    def send(self, data: bytes, *, stream: int, ppid: int) -> None:
        self.check_sendable(stream)
        if not data:
            raise ValueError("an SCTP user message has at least one octet")
        if self._unsent or not self.engine_send(data, stream, ppid):
            self._unsent.append((data, stream, ppid))
            self._unsent_octets += len(data)
            if self._unsent_octets > self.settings.send_queue_limit_octets:
                reason = f"{self.remote} leaves {self._unsent_octets} octets unread"
                self.end(reason, abort=True)
                raise ConnectionError(reason)
        self.tap_sent(data, stream, ppid)

    def shutdown(self) -> None:
        if self._open:
            self._open = False
            if self._unsent:
                self._shutdown_waits = True
            else:
                self.engine_shutdown()

    def abort(self) -> None:
        self.end("aborted", abort=True)

    @property
    def queued_messages(self) -> int:
        return len(self._unsent)

    # For the engines to report

    def send_queued(self) -> None:
        while self._unsent:
            data, stream, ppid = self._unsent[0]
            try:
                if not self.engine_send(data, stream, ppid):
                    return
            except ConnectionError as error:
                self.end(str(error), abort=True)
                return
            self._unsent.popleft()
            self._unsent_octets -= len(data)
        if self._shutdown_waits:
            self._shutdown_waits = False
            self.engine_shutdown()

    def received(self, data: bytes, stream: int, ppid: int, *, more: bool) -> None:
        """A user message, or a part of one if there is ``more`` to come. The node hears of it later on the loop."""
        if more or self._parts:
            self._parts.append(data)
            self._parts_octets += len(data)
            if self._parts_octets > self.settings.message_limit_octets:
                self.end(f"a user message from {self.remote} exceeds {self.settings.message_limit_octets} octets", abort=True)
                return
            if more:
                return
            data = b"".join(self._parts)
            self.forget_parts()
        if not self.has_ended:
            self._loop.call_soon(self.deliver, data, stream, ppid)

    def forget_parts(self) -> None:
        self._parts.clear()
        self._parts_octets = 0

    def came_up(self, outbound_streams: int, inbound_streams: int) -> None:
        self.outbound_streams = outbound_streams or self.outbound_streams
        self.inbound_streams = inbound_streams or self.inbound_streams

    def peer_shuts_down(self) -> None:
        self._peer_shuts_down = self._open
        self._open = False

    def shut_down(self) -> None:
        self.end("shut down by the peer" if self._peer_shuts_down else "shut down")

    def lost(self, error: int) -> None:
        """The association failed; ``error`` is the errno that the engine gives for it."""
        self.end(self.loss_reason(error))

    def loss_reason(self, error: int) -> str:
        # usrsctp calls its own giving up an abort, whether retransmissions ran out or the peer broke the protocol; the first is the rule.
        if error in (errno.ETIMEDOUT, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, 0):
            return f"no answer from {self.remote}"
        return "aborted by the peer" if error == errno.ECONNRESET else os.strerror(error)

    def end(self, reason: str, *, abort: bool = False) -> None:
        if not self.has_ended:
            self._unsent.clear()
            self.engine_release(abort=abort)
            self.ended(reason)


def _nobody_waits(reason: str) -> None:
    """The close was already reported, or nobody asked."""
