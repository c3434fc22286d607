"""Feeding the tap: one small object per endpoint that knows what never changes about its packets."""

from __future__ import annotations

from typing import Protocol

from epc.transport.interface import Address, Carrier, Direction, Tap, TappedPacket


class Tapped(Protocol):
    """What a transport offers to its endpoints."""

    node: str
    tap: Tap | None

    def now(self) -> float:
        """Time stamp for tapped packets, in seconds."""


class TapPoint:
    """Reports the packets of one endpoint. Check ``transport.tap is not None`` before the call where speed matters."""

    __slots__ = ("carrier", "interface", "transport")

    def __init__(self, transport: Tapped, carrier: Carrier, interface: str) -> None:
        self.transport = transport
        self.carrier = carrier
        self.interface = interface

    def sent(self, source: Address, destination: Address, payload: bytes, stream: int = 0, ppid: int = 0) -> None:
        if self.transport.tap is not None:
            self.transport.tap.packet(self.describe(Direction.SENT, source, destination, payload, stream, ppid))

    def received(self, source: Address, destination: Address, payload: bytes, stream: int = 0, ppid: int = 0) -> None:
        if self.transport.tap is not None:
            self.transport.tap.packet(self.describe(Direction.RECEIVED, source, destination, payload, stream, ppid))

    def describe(self, direction: Direction, source: Address, destination: Address, payload: bytes, stream: int = 0, ppid: int = 0) -> TappedPacket:
        return TappedPacket(
            time=self.transport.now(), node=self.transport.node, direction=direction, carrier=self.carrier, interface=self.interface,
            source=source, destination=destination, payload=payload, stream=stream, ppid=ppid,
        )
