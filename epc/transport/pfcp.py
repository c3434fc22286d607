"""PFCP over a :class:`~epc.transport.interface.Transport`: the asyncio side of :mod:`epc.peer.pfcp`.

::

    endpoint = PfcpEndpoint(transport, Address("127.0.0.3", 8805), local, interface="Sxa", on_request=serve)
    await endpoint.open()
    endpoint.associate(Address("127.0.0.4", 8805))
    packet = await endpoint.request(sgwu, 0, SessionEstablishmentRequest(...))       # TimerExpired, or a WireError when the answer is malformed
"""

from __future__ import annotations

from collections.abc import Callable

from epc.peer.pfcp import PFCP_PORT, AssociationEvent, LocalEntity, PfcpMachine, PfcpTimers, RequestReceived
from epc.peer.timer import Timer
from epc.transport.exchange import Counting, MessageObserver, RequestEndpoint
from epc.transport.interface import Address, Transport
from epc.wire.pfcp import MESSAGES, Message, Packet

__all__ = ["PFCP_PORT", "PfcpEndpoint"]


class PfcpEndpoint(RequestEndpoint[RequestReceived | AssociationEvent, Packet]):
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
        self.machine = PfcpMachine(
            local, timers=timers, first_sequence=first_sequence, remote_seid=remote_seid,
            observer=None if observer is None else Counting(interface, observer, MESSAGES),
        )
        super().__init__(transport, address, self.machine, interface)
        self._on_request = on_request
        self._on_event = on_event

    async def close(self) -> None:
        """Say goodbye to associated peers, and stop; requests still waiting end with ``ConnectionError``."""
        if self._loop is not None and self._port is not None:
            for association in self.machine.associations():
                self.machine.release(association.peer[0], self._loop.time())
            self._send(self._port)
        await super().close()

    async def request(self, peer: Address, seid: int | None, message: Message, timer: Timer | None = None) -> Packet:
        """The answer to a request.

        Raises :class:`~epc.peer.timer.TimerExpired` when the peer stays silent, :class:`~epc.wire.errors.WireError` when its answer is
        malformed, ``ConnectionError`` when the endpoint is closed.
        """
        key = self.machine.request(peer, message, seid=seid, now=self._running().time(), timer=timer)
        return await self._answer_to(key)

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

    def _take_event(self, event: RequestReceived | AssociationEvent) -> None:
        if isinstance(event, RequestReceived):
            self._on_request(event)
        elif self._on_event is not None:
            self._on_event(event)
