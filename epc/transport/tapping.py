"""Feeding the tap: one small object per endpoint that knows what never changes about its packets."""

from __future__ import annotations

import socket
from typing import Protocol

from epc.transport.impairment import Impairments
from epc.transport.interface import Address, Carrier, Direction, Tap, TappedPacket

UNSPECIFIED = ("0.0.0.0", "::", "")
_PROBE_PORT = 9     # nothing is sent there


def source_host(remote_host: str) -> str:
    """The local address from which the routing table would reach ``remote_host``; the unspecified one when there is no route."""
    with socket.socket(socket.AF_INET6 if ":" in remote_host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote_host, _PROBE_PORT))
        except OSError:
            return "::" if ":" in remote_host else "0.0.0.0"
        host: str = probe.getsockname()[0]
        return host


class Tapped(Protocol):
    """What a transport offers to its endpoints."""

    node: str
    tap: Tap | None

    @property
    def impairments(self) -> Impairments: ...

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
