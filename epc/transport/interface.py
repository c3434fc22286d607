"""What carries octets between nodes: three kinds of carrier behind one interface, and the tap that watches them.

A node is given one :class:`Transport` and opens everything through it. ``epc.transport.sockets`` is the operating system's;
``epc.transport.memory`` joins nodes inside one process with delay, loss and reordering under the test's control, on a virtual
clock if the loop has one. Nodes cannot tell them apart.

Callbacks run on the event loop, never inside the call that causes them: ``send`` returns before the peer's callback runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from epc.transport.impairment import Impairments


class Address(NamedTuple):
    """An IP address as text (IPv4 or IPv6) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Carrier(Enum):
    UDP = "udp"
    TCP = "tcp"
    SCTP = "sctp"


class Direction(Enum):
    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedPacket:
    """One datagram, SCTP user message or TCP segment's worth of octets as a node sent or received it."""

    time: float             # seconds since the epoch; on a virtual clock, seconds since its start
    node: str               # name of the node that saw it
    direction: Direction
    carrier: Carrier
    interface: str          # 3GPP reference point as the node names it: "S1-MME", "S11", "S5/S8", "S6a", "Gx", "S1-U", "SGi"
    source: Address
    destination: Address
    payload: bytes
    stream: int = 0         # SCTP stream identifier
    ppid: int = 0           # SCTP payload protocol identifier, host order


class Tap(Protocol):
    """Sees every packet of a transport. Called on the hot path: keep what you need and return."""

    def packet(self, packet: TappedPacket) -> None: ...


class DatagramPort(Protocol):
    """A bound UDP port."""

    local: Address

    def send(self, data: bytes, to: Address) -> None:
        """Hand one datagram to the network; a full socket buffer drops it, as the network may."""

    def close(self) -> None: ...


class Association(Protocol):
    """One SCTP association, whatever engine runs it. Set the callbacks before returning to the loop."""

    local: Address
    remote: Address
    outbound_streams: int
    on_message: Callable[[bytes, int, int], None]      # (user message, stream, ppid)
    on_closed: Callable[[str], None]                   # called once, with the reason, whoever ended it

    @property
    def is_open(self) -> bool: ...

    def send(self, data: bytes, *, stream: int, ppid: int) -> None:
        """Queue one user message; raises ``ConnectionError`` when the association is down."""

    def shutdown(self) -> None:
        """Graceful end: queued messages first, then SHUTDOWN."""

    def abort(self) -> None:
        """Immediate end: ABORT to the peer."""

    def status(self) -> dict[str, object]:
        """State, streams, RTT and queue sizes for ``epclab ctl NODE associations``."""


class ByteStream(Protocol):
    """One TCP connection. Set the callbacks before returning to the loop."""

    local: Address
    remote: Address
    on_data: Callable[[bytes], None]
    on_closed: Callable[[str], None]

    @property
    def is_open(self) -> bool: ...

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Listener(Protocol):
    local: Address

    def close(self) -> None: ...


class Transport(Protocol):
    """Opens carriers for one node. ``interface`` is the reference point that the tap shows."""

    node: str
    tap: Tap | None

    @property
    def impairments(self) -> Impairments:
        """What goes wrong with packets of this node, by configuration or by ``epclab ctl NODE impair``."""

    async def open_udp(self, local: Address, receive: Callable[[bytes, Address], None], *, interface: str) -> DatagramPort: ...

    async def listen_sctp(self, local: Address, accept: Callable[[Association], None], *, interface: str) -> Listener: ...

    async def connect_sctp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> Association:
        """Raises ``ConnectionError`` or ``TimeoutError``."""

    async def listen_tcp(self, local: Address, accept: Callable[[ByteStream], None], *, interface: str) -> Listener: ...

    async def connect_tcp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> ByteStream:
        """Raises ``ConnectionError`` or ``TimeoutError``."""

    async def close(self) -> None:
        """Close everything that was opened through this transport."""
