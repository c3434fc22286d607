"""GTP-C over a :class:`~epc.transport.interface.Transport`: the asyncio side of :mod:`epc.peer.gtpc`.

::

    endpoint = GtpcEndpoint(transport, Address("127.0.0.3", 2123), interface="S11", restart_counter=7, on_request=serve)
    await endpoint.open()
    packet = await endpoint.request(sgw, 0, CreateSessionRequest(...))       # TimerExpired, or a WireError when the answer is malformed
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from epc.peer.gtpc import (
    Event,
    GtpcMachine,
    GtpcTimers,
    PathEvent,
    ReplyMissing,
    ReplyReceived,
    ReplyUnreadable,
    RequestReceived,
    TransactionKey,
)
from epc.peer.timer import Timer, TimerExpired
from epc.transport.interface import Address, DatagramPort, Transport
from epc.wire.gtpv2 import MESSAGES, Message, Packet

GTPC_PORT = 2123


class MessageObserver(Protocol):
    """Counts what happens on a reference point; a node's metrics implement it."""

    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None: ...

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None: ...


class _Counting:
    """The machine's observer: message types become names, and the reference point is added."""

    def __init__(self, interface: str, observer: MessageObserver) -> None:
        self._interface = interface
        self._observer = observer

    def sent(self, message_type: int) -> None:
        self._observer.message_sent(self._interface, MESSAGES[message_type].__name__)

    def received(self, message_type: int) -> None:
        self._observer.message_received(self._interface, MESSAGES[message_type].__name__)

    def retransmitted(self, message_type: int) -> None:
        self._observer.retransmission(self._interface, MESSAGES[message_type].__name__)

    def duplicate(self, message_type: int) -> None:
        self._observer.protocol_error(self._interface, "duplicate")

    def discarded(self, reason: str) -> None:
        self._observer.protocol_error(self._interface, reason)


def load_and_increment(path: Path) -> int:
    """The restart counter for this start: one more than at the last, kept in a file (TS 23.007 clause 18).

    A missing or unreadable file counts from 0. The new value is on disk before this returns.
    """
    try:
        previous = int(path.read_text())
    except (FileNotFoundError, ValueError):
        previous = 0
    counter = (previous + 1) & 0xFF
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w") as file:
        file.write(f"{counter}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return counter


class GtpcEndpoint:
    """One local GTP-C address: requests out, requests in, paths watched. One loop timer serves all transactions."""

    def __init__(
        self,
        transport: Transport,
        local: Address,
        *,
        interface: str = "S11",
        restart_counter: int,
        on_request: Callable[[RequestReceived], None],
        on_event: Callable[[PathEvent], None] | None = None,
        timers: GtpcTimers | None = None,
        observer: MessageObserver | None = None,
        remote_teid: Callable[[int], int | None] | None = None,
        first_sequence: int = 0,
    ) -> None:
        """``on_request`` gets each request once; ``on_event`` gets :data:`~epc.peer.gtpc.PathEvent`; both run on the loop and must not block."""
        self.local = local
        self.interface = interface
        self.machine = GtpcMachine(
            restart_counter=restart_counter, timers=timers, first_sequence=first_sequence, remote_teid=remote_teid,
            observer=None if observer is None else _Counting(interface, observer),
        )
        self._transport = transport
        self._on_request = on_request
        self._on_event = on_event
        self._waiting: dict[TransactionKey, asyncio.Future[Packet]] = {}
        self._port: DatagramPort | None = None
        self._alarm: asyncio.Handle | None = None
        self._alarm_time = 0.0              # the handle may not tell: uvloop runs what is due within a millisecond without a timer
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def restart_counter(self) -> int:
        return self.machine.restart_counter

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = await self._transport.open_udp(self.local, self._receive, interface=self.interface)
        self.local = self._port.local

    async def close(self) -> None:
        """Stop; requests still waiting end with ``ConnectionError``."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._port is not None:
            self._port.close()
            self._port = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the endpoint was closed"))

    async def request(
        self, peer: Address, teid: int, message: Message, timer: Timer | None = None, *, command: RequestReceived | None = None
    ) -> Packet:
        """The answer to a request or command.

        Raises :class:`~epc.peer.timer.TimerExpired` when the peer stays silent, :class:`~epc.wire.errors.WireError` when its answer is
        malformed, ``ConnectionError`` when the endpoint is closed. ``command`` is the received command that triggers this request.
        """
        loop = self._running()
        key = self.machine.request(peer, message, teid=teid, now=loop.time(), timer=timer, command=command)
        future: asyncio.Future[Packet] = loop.create_future()
        self._waiting[key] = future
        self._flush()
        try:
            return await future
        finally:
            self._waiting.pop(key, None)
            self.machine.cancel(key)

    def respond(self, request: RequestReceived, message: Message, teid: int) -> None:
        """Answer; ``teid`` is the peer's, 0 when it is not known."""
        self.machine.respond(request, message, teid=teid)
        self._flush()

    def notify(self, peer: Address, teid: int, message: Message) -> None:
        """Send a message that has no answer."""
        self.machine.notify(peer, message, teid=teid)
        self._flush()

    def watch(self, peer: Address) -> None:
        """One more session with this peer: its path is supervised by Echo Requests."""
        self.machine.watch(peer, self._running().time())
        self._flush()

    def unwatch(self, peer: Address) -> None:
        """One session less with this peer."""
        self.machine.unwatch(peer.host)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._port is None:
            raise ConnectionError("the endpoint is not open")
        return self._loop

    def _receive(self, data: bytes, source: Address) -> None:
        if self._port is None or self._loop is None:
            return
        self.machine.receive(data, source, self._loop.time())
        self._flush()

    def _wake(self) -> None:
        alarm, self._alarm = self._alarm, None
        if self._loop is not None and alarm is not None:
            self.machine.timer(max(self._loop.time(), self._alarm_time))    # the loop may ring a clock's tick too early
            self._flush()

    def _flush(self) -> None:
        """Send, hand out events, set the alarm. An alarm that comes too early is cheaper than one reset at every message."""
        port = self._port
        if port is None or self._loop is None:
            return
        for data, peer in self.machine.datagrams():
            port.send(data, Address(*peer))
        for event in self.machine.events():
            self._dispatch(event)
        when = self.machine.next_timeout()
        if when is not None and (self._alarm is None or when < self._alarm_time) and self._port is not None:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(when, self._wake)
            self._alarm_time = when

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._on_request(event)
        elif isinstance(event, (ReplyReceived, ReplyUnreadable, ReplyMissing)):
            future = self._waiting.pop(event.transaction, None)
            if future is None or future.done():
                return
            if isinstance(event, ReplyReceived):
                future.set_result(event.packet)
            elif isinstance(event, ReplyUnreadable):
                future.set_exception(event.error)
            else:
                future.set_exception(TimerExpired(event.timer))
        elif self._on_event is not None:
            self._on_event(event)
