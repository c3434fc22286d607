"""Requests and responses over one UDP port: the asyncio side of :mod:`epc.peer.exchange`, for GTP-C and PFCP alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from epc.peer.exchange import ReplyMissing, ReplyReceived, ReplyUnreadable, RequestMachine, TransactionKey
from epc.peer.timer import TimerExpired
from epc.transport.alarm import Alarm
from epc.transport.interface import Address, DatagramPort, Transport

EventT = TypeVar("EventT")
PacketT = TypeVar("PacketT")


class MessageObserver(Protocol):
    """Counts what happens on a reference point; a node's metrics implement it."""

    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None: ...

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None: ...


class Counting:
    """A machine's observer: message types become names, and the reference point is added."""

    def __init__(self, interface: str, observer: MessageObserver, messages: Mapping[int, type]) -> None:
        self._interface = interface
        self._observer = observer
        self._names = {number: message.__name__ for number, message in messages.items()}

    def sent(self, message_type: int) -> None:
        self._observer.message_sent(self._interface, self._names[message_type])

    def received(self, message_type: int) -> None:
        self._observer.message_received(self._interface, self._names[message_type])

    def retransmitted(self, message_type: int) -> None:
        self._observer.retransmission(self._interface, self._names[message_type])

    def duplicate(self, message_type: int) -> None:
        self._observer.protocol_error(self._interface, "duplicate")

    def discarded(self, reason: str) -> None:
        self._observer.protocol_error(self._interface, reason)


class RequestEndpoint(Generic[EventT, PacketT]):
    """One local address: requests out, requests in. One alarm serves all transactions."""

    def __init__(self, transport: Transport, local: Address, machine: RequestMachine[Any], interface: str) -> None:
        self.local = local
        self.interface = interface
        self._requests = machine
        self._transport = transport
        self._waiting: dict[TransactionKey, asyncio.Future[PacketT]] = {}
        self._port: DatagramPort | None = None
        self._alarm = Alarm(self._wake)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = await self._transport.open_udp(self.local, self._receive, interface=self.interface)
        self.local = self._port.local

    async def close(self) -> None:
        """Stop; requests still waiting end with ``ConnectionError``."""
        self._alarm.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the endpoint was closed"))

    def _take_event(self, event: EventT) -> None:
        """What the machine says that is no answer."""
        raise NotImplementedError

    async def _answer_to(self, key: TransactionKey) -> PacketT:
        """Send what the machine has to send, and wait for the answer to its request ``key``."""
        future: asyncio.Future[PacketT] = self._running().create_future()
        self._waiting[key] = future
        self._flush()
        try:
            return await future
        finally:
            self._waiting.pop(key, None)
            self._requests.cancel(key)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._port is None:
            raise ConnectionError("the endpoint is not open")
        return self._loop

    def _receive(self, data: bytes, source: Address) -> None:
        if self._port is None or self._loop is None:
            return
        self._requests.receive(data, source, self._loop.time())
        self._flush()

    def _wake(self, now: float) -> None:
        self._requests.timer(now)
        self._flush()

    def _send(self, port: DatagramPort) -> None:
        for data, peer in self._requests.datagrams():
            port.send(data, Address(*peer))

    def _flush(self) -> None:
        """Send, hand out events, set the alarm."""
        port = self._port
        if port is None:
            return
        self._send(port)
        for event in self._requests.events():
            self._dispatch(event)
        if self._port is not None:
            self._alarm.set(self._requests.next_timeout())

    def _dispatch(self, event: Any) -> None:
        if not isinstance(event, (ReplyReceived, ReplyUnreadable, ReplyMissing)):
            self._take_event(event)
            return
        future = self._waiting.pop(event.transaction, None)
        if future is None or future.done():
            return
        if isinstance(event, ReplyReceived):
            future.set_result(event.packet)
        elif isinstance(event, ReplyUnreadable):
            future.set_exception(event.error)
        else:
            future.set_exception(TimerExpired(event.timer))
