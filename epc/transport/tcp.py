"""TCP connections as :class:`~epc.transport.interface.ByteStream`: what all of them share, and the operating system's."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import cast

from epc.transport.interface import Address
from epc.transport.tapping import TapPoint

WRITE_BUFFER_LIMIT_OCTETS = 16 << 20
"""A peer that leaves this much signalling unread is dead."""

UNKNOWN = ("", 0)
"""Where a peer that is gone already was."""


class BaseByteStream(ABC):
    """Callbacks in order; octets that come before ``on_data`` is set are kept, the end is reported once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tap_point: TapPoint, *, local: Address, remote: Address) -> None:
        self.local = local
        self.remote = remote
        self._loop = loop
        self._tap_point = tap_point
        self._open = True
        self._on_data: Callable[[bytes], None] | None = None
        self._on_closed: Callable[[str], None] | None = None
        self._early = b""
        self._close_reason: str | None = None
        self._reported = False

    @property
    def on_data(self) -> Callable[[bytes], None]:
        return self._on_data or self._keep

    @on_data.setter
    def on_data(self, callback: Callable[[bytes], None]) -> None:
        self._on_data = callback
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
    def send(self, data: bytes) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def check_sendable(self) -> None:
        if not self._open:
            raise ConnectionError(f"connection {self.local} - {self.remote} is down: {self._close_reason or 'closing'}")

    def deliver(self, data: bytes) -> None:
        if self._tap_point.transport.tap is not None:
            self._tap_point.received(self.remote, self.local, data)
        if self._on_data is None or self._early:
            self._keep(data)
        else:
            self._on_data(data)

    def ended(self, reason: str) -> None:
        """The connection is over; ``on_closed`` runs later on the loop, once."""
        self._open = False
        if self._close_reason is None:
            self._close_reason = reason
            if self._on_closed is not None:
                self._loop.call_soon(self._report_closed)

    @property
    def has_ended(self) -> bool:
        return self._close_reason is not None

    def _keep(self, data: bytes) -> None:
        self._early += data

    def _release_early(self) -> None:
        if self._early and self._on_data is not None:
            data, self._early = self._early, b""
            self._on_data(data)

    def _report_closed(self) -> None:
        self._release_early()
        callback = self._on_closed
        if callback is None or self._reported or self._close_reason is None:
            return
        self._reported = True
        self._on_data = self._on_closed = None              # the callbacks' owner usually owns this object too: no cycle outlives the end
        callback(self._close_reason)


def _nobody_waits(reason: str) -> None:
    """The close was already reported, or nobody asked."""


class TcpStream(BaseByteStream, asyncio.Protocol):
    """One connection of the operating system, with Nagle's delay off."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tap_point: TapPoint, accept: Callable[[TcpStream], None] | None = None,
    ) -> None:
        super().__init__(loop, tap_point, local=Address("", 0), remote=Address("", 0))
        self._accept = accept
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._unsent_octets = 0
        self._late: deque[tuple[float, bytes]] = deque()        # what an impaired link holds back, and until when
        self._closes_after = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)        # uvloop's is one in all but name
        self.local = Address(*(transport.get_extra_info("sockname") or UNKNOWN)[:2])
        self.remote = Address(*(transport.get_extra_info("peername") or UNKNOWN)[:2])
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._accept is not None:
            accept, self._accept = self._accept, None
            accept(self)

    def data_received(self, data: bytes) -> None:
        self.deliver(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._late.clear()
        self.ended(str(error) if error is not None else "connection closed")

    def send(self, data: bytes) -> None:
        """What is sent in one turn of the loop goes to the kernel in one piece: a write costs more than to encode what it carries."""
        self.check_sendable()
        assert self._transport is not None
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        self._unsent_octets += len(data)
        if self._tap_point.transport.tap is not None:
            self._tap_point.sent(self.local, self.remote, data)
        if self._transport.get_write_buffer_size() + self._unsent_octets > WRITE_BUFFER_LIMIT_OCTETS:
            self.abort()
            raise ConnectionError(f"{self.remote} leaves {WRITE_BUFFER_LIMIT_OCTETS} octets unread")

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_octets = 0

    def _write(self, data: bytes) -> None:
        """To the kernel; over an impaired link later, in order: what the kernel has it delivers at once."""
        assert self._transport is not None
        impairments = self._tap_point.transport.impairments
        if not impairments.rules and not self._late:
            self._transport.write(data)
            return
        way = impairments.way_to(self._tap_point.interface, self.remote.host)
        delay_s = 0.0 if way is None else way.reliable()
        if delay_s is None:
            self.ended(f"no answer from {self.remote}")
            self._transport.abort()
            return
        when = max(self._loop.time() + delay_s, self._late[-1][0] if self._late else 0.0)
        self._late.append((when, data))
        self._loop.call_at(when, self._write_late)

    def _write_late(self) -> None:
        if self._late and self._transport is not None:
            self._transport.write(self._late.popleft()[1])
            if self._closes_after and not self._late:
                self._transport.close()

    def close(self) -> None:
        self._open = False
        if self._transport is not None:
            self._flush()
            if self._late:
                self._closes_after = True
            else:
                self._transport.close()

    def abort(self) -> None:
        self._open = False
        if self._transport is not None:
            self._transport.abort()


class TcpListener:
    """A listening port; closing it leaves the accepted connections alone."""

    def __init__(self, server: asyncio.Server, local: Address) -> None:
        self._server = server
        self.local = local

    def close(self) -> None:
        self._server.close()
