"""GTP-C over a :class:`~epc.transport.interface.Transport`: the asyncio side of :mod:`epc.peer.gtpc`.

::

    endpoint = GtpcEndpoint(transport, Address("127.0.0.3", 2123), interface="S11", restart_counter=7, on_request=serve)
    await endpoint.open()
    packet = await endpoint.request(sgw, 0, CreateSessionRequest(...))       # TimerExpired, or a WireError when the answer is malformed
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from epc.peer.gtpc import GtpcMachine, GtpcTimers, PathEvent, RequestReceived
from epc.peer.timer import Timer
from epc.transport.exchange import Counting, MessageObserver, RequestEndpoint
from epc.transport.interface import Address, Transport
from epc.wire.gtpv2 import MESSAGES, Message, Packet

GTPC_PORT = 2123


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


class GtpcEndpoint(RequestEndpoint[RequestReceived | PathEvent, Packet]):
    """One local GTP-C address: requests out, requests in, paths watched."""

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
        self.machine = GtpcMachine(
            restart_counter=restart_counter, timers=timers, first_sequence=first_sequence, remote_teid=remote_teid,
            observer=None if observer is None else Counting(interface, observer, MESSAGES),
        )
        super().__init__(transport, local, self.machine, interface)
        self._on_request = on_request
        self._on_event = on_event

    @property
    def restart_counter(self) -> int:
        return self.machine.restart_counter

    async def request(
        self, peer: Address, teid: int, message: Message, timer: Timer | None = None, *, command: RequestReceived | None = None
    ) -> Packet:
        """The answer to a request or command.

        Raises :class:`~epc.peer.timer.TimerExpired` when the peer stays silent, :class:`~epc.wire.errors.WireError` when its answer is
        malformed, ``ConnectionError`` when the endpoint is closed. ``command`` is the received command that triggers this request.
        """
        key = self.machine.request(peer, message, teid=teid, now=self._running().time(), timer=timer, command=command)
        return await self._answer_to(key)

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

    def _take_event(self, event: RequestReceived | PathEvent) -> None:
        if isinstance(event, RequestReceived):
            self._on_request(event)
        elif self._on_event is not None:
            self._on_event(event)
