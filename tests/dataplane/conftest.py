"""A forwarder between peers that the test plays itself: an SGW, a PGW and an eNodeB, on each back end and carrier there is."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from epc.dataplane.forwarder import Event, Forwarder, GtpuPort
from epc.dataplane.rules import GTPU_PORT
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Address, DatagramPort, Transport
from epc.transport.memory import MemoryNetwork


class Peer:
    """Somebody at the other end of GTP-U: remembers what it gets."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.port: DatagramPort | None = None

    @classmethod
    async def open(cls, transport: Transport, host: str, port: int = GTPU_PORT) -> Peer:
        peer = cls()
        peer.port = await transport.open_udp(Address(host, port), lambda data, _: peer.received.append(data), interface="S1-U")
        return peer

    def send(self, data: bytes, host: str) -> None:
        assert self.port is not None
        self.port.send(data, Address(host, GTPU_PORT))

    @property
    def host(self) -> str:
        assert self.port is not None
        return self.port.local.host


class Wire:
    """A plain IP link whose far end is the test."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.on_packet: Callable[[bytes], None] = lambda packet: None

    def send(self, packet: bytes) -> None:
        self.received.append(packet)


class Bench:
    """Opens forwarders and peers on one back end and carrier."""

    link_is_ethernet = False

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.access_host, self.core_host, self.enb_host, self.pgw_host = "10.0.0.1", "10.0.0.2", "10.0.0.11", "10.0.0.12"
        self.events: list[Event] = []
        self._forwarders: list[Forwarder] = []

    async def forwarder(self, *, access: bool = False, core: bool = False, buffer_packets: int = 4) -> Forwarder:
        forwarder = await SocketForwarder.open(
            self.network.transport("node"),
            access=GtpuPort(address=self.access_host, interface="S1-U") if access else None,
            core=GtpuPort(address=self.core_host, interface="S5/S8-U") if core else None,
            buffer_packets=buffer_packets,
        )
        forwarder.on_event = self.events.append
        self._forwarders.append(forwarder)
        return forwarder

    async def peer(self, host: str, port: int = GTPU_PORT) -> Peer:
        return await Peer.open(self.network.transport(host if port == GTPU_PORT else f"{host}:{port}"), host, port)

    def connect(self, forwarder: Forwarder, network_instance: str, wire: Wire, *, mtu_octets: int | None = None) -> None:
        """Join the near end of a plain IP link whose far end is ``wire``."""
        forwarder.connect(network_instance, wire, mtu_octets=mtu_octets)

    async def settle(self) -> None:
        """Until every packet under way has arrived."""
        await asyncio.sleep(0.05)

    async def close(self) -> None:
        for forwarder in self._forwarders:
            await forwarder.close()


@pytest.fixture(params=["socket"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(MemoryNetwork())
    yield bench
    await bench.close()


def _checksum(octets: bytes) -> int:
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@pytest.fixture
def ipv4() -> Callable[..., bytes]:
    """Builds a UDP packet: ``ipv4("45.45.0.2", "8.8.8.8", b"payload", sport=1, dport=53)``."""

    def build(
        source: str, destination: str, payload: bytes = b"hello", *, sport: int = 40000, dport: int = 7, tos: int = 0, protocol: int = 17,
        dont_fragment: bool = False,
    ) -> bytes:
        body = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
        header = struct.pack(">BBHHHBBH", 0x45, tos, 20 + len(body), 0, dont_fragment << 14, 64, protocol, 0)
        header += ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
        return header[:10] + _checksum(header).to_bytes(2) + header[12:] + body

    return build


@pytest.fixture
def ipv6() -> Callable[..., bytes]:
    def build(source: str, destination: str, payload: bytes = b"hello", *, sport: int = 40000, dport: int = 7, traffic_class: int = 0) -> bytes:
        body = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
        header = struct.pack(">IHBB", 6 << 28 | traffic_class << 20, len(body), 17, 64)
        return header + ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + body

    return build


@pytest.fixture
def gpdu() -> Callable[[int, bytes], bytes]:
    """A G-PDU with the plain header."""
    return lambda teid, packet: struct.pack(">BBHI", 0x30, 0xFF, len(packet), teid) + packet


@pytest.fixture
def wire() -> Wire:
    return Wire()
