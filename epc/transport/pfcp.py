"""PFCP over a :class:`~epc.transport.interface.Transport`: the asyncio side of :mod:`epc.peer.pfcp`.

::

    endpoint = PfcpEndpoint(transport, Address("127.0.0.3", 8805), local, interface="Sxa", on_request=serve)
    await endpoint.open()
    endpoint.associate(Address("127.0.0.4", 8805))
    packet = await endpoint.request(sgwu, 0, SessionEstablishmentRequest(...))       # TimerExpired, or a WireError when the answer is malformed
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from epc.peer.pfcp import (
    PFCP_PORT,
    AssociationEvent,
    Event,
    LocalEntity,
    PfcpMachine,
    PfcpTimers,
    ReplyMissing,
    ReplyReceived,
    ReplyUnreadable,
    RequestReceived,
    TransactionKey,
)
from epc.peer.timer import Timer, TimerExpired
from epc.transport.gtpc import MessageObserver
from epc.transport.interface import Address, DatagramPort, Transport
from epc.wire.pfcp import MESSAGES, Message, Packet

__all__ = ["PFCP_PORT", "PfcpEndpoint"]


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


class PfcpEndpoint:
    """One local PFCP entity and all its peers on one UDP port."""

    def __init__(
        self,
        transport: Transport,
        address: Address,
        local: LocalEntity,
        *,
        interface: str,
        on_request: Callable[[RequestReceived], None],
        on_event: Callable[[AssociationEvent], None] | None = None,
        timers: PfcpTimers | None = None,
        observer: MessageObserver | None = None,
        remote_seid: Callable[[int], int | None] | None = None,
        first_sequence: int = 0,
    ) -> None:
        """``on_request`` gets each request once; ``on_event`` what becomes of associations; both run on the loop and must not block."""
        self.address = address
        self.interface = interface
        self.machine = PfcpMachine(
            local, timers=timers, first_sequence=first_sequence, remote_seid=remote_seid,
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

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = await self._transport.open_udp(self.address, self._receive, interface=self.interface)
        self.address = self._port.local

    async def close(self) -> None:
        """Say goodbye to associated peers, and stop; requests still waiting end with ``ConnectionError``."""
        if self._loop is not None and self._port is not None:
            for association in self.machine.associations():
                self.machine.release(association.peer[0], self._loop.time())
            for data, peer in self.machine.datagrams():
                self._port.send(data, Address(*peer))
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

    async def request(self, peer: Address, seid: int | None, message: Message, timer: Timer | None = None) -> Packet:
        """The answer to a request.

        Raises :class:`~epc.peer.timer.TimerExpired` when the peer stays silent, :class:`~epc.wire.errors.WireError` when its answer is
        malformed, ``ConnectionError`` when the endpoint is closed.
        """
        loop = self._running()
        key = self.machine.request(peer, message, seid=seid, now=loop.time(), timer=timer)
        future: asyncio.Future[Packet] = loop.create_future()
        self._waiting[key] = future
        self._flush()
        try:
            return await future
        finally:
            self._waiting.pop(key, None)
            self.machine.cancel(key)

    def respond(self, request: RequestReceived, message: Message, seid: int | None) -> None:
        """Answer; ``seid`` is the peer's, 0 when it is not known, ``None`` for node related messages."""
        self.machine.respond(request, message, seid=seid)
        self._flush()

    def associate(self, peer: Address) -> None:
        """Have an association with this peer from now on, whatever happens to it."""
        self.machine.associate(peer, self._running().time())
        self._flush()

    def release(self, peer: Address) -> None:
        """End the association with this peer."""
        self.machine.release(peer.host, self._running().time())
        self._flush()

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
