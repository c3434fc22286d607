"""A host with one IP address at the end of a plain IP link: the UE's, or the server's on SGi.

:class:`EndpointHost` lives inside the process: it needs no privilege, serves thousands of UEs and runs on a virtual clock.
``namespace_host`` has the same interface on a TUN device in a network namespace, where the kernel's IP stack does the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Protocol

from epc.dataplane import ip_packet
from epc.dataplane.channel import Accept, TcpChannel, TcpListener
from epc.dataplane.endpoint_tcp import EndpointTcp
from epc.dataplane.forwarder import IpLink
from epc.dataplane.ip_packet import Datagram, IcmpEcho, IPv4Packet
from epc.wire.errors import WireError

UE_MTU_OCTETS = 1400        # leaves room for IP, UDP and GTP-U with extension headers in 1500 (TS 29.281 clause 4.2.2, TS 23.060 annex C)
UDP_ECHO_PORT = 7           # RFC 862

_FIRST_EPHEMERAL_PORT, _LAST_PORT = 49152, 65535

DatagramHandler = Callable[[bytes, str, int], None]             # payload, and the sender's address and port
PingOnce = Callable[[int], Coroutine[None, None, float | None]]  # sequence number -> round trip in seconds, or None: lost


@dataclass(frozen=True, slots=True, kw_only=True)
class PingResult:
    """``round_trips_s`` has one entry an answer, in the order of the requests."""

    destination: str
    sent: int
    round_trips_s: tuple[float, ...]

    @property
    def received(self) -> int:
        return len(self.round_trips_s)

    @property
    def lost(self) -> int:
        return self.sent - self.received

    def __str__(self) -> str:
        text = f"{self.received}/{self.sent} answers from {self.destination}"
        if self.round_trips_s:
            milliseconds = [1000 * round_trip for round_trip in self.round_trips_s]
            text += f", round trip {min(milliseconds):.2f}/{sum(milliseconds) / len(milliseconds):.2f}/{max(milliseconds):.2f} ms (min/avg/max)"
        return text


class UdpSocket(Protocol):
    """A UDP port of an :class:`IpHost`."""

    port: int

    def send(self, payload: bytes, destination: str, port: int) -> None: ...

    def close(self) -> None: ...


class IpHost(Protocol):
    """One IP host. Connect ``link`` to a forwarder: ``forwarder.connect(imsi, host.link)``."""

    name: str
    address: IPv4Interface

    @property
    def link(self) -> IpLink:
        """Its one interface, seen from outside."""

    async def ping(
        self, destination: str, *, count: int = 1, timeout_s: float = 1.0, interval_s: float = 0.2, payload_octets: int = 56,
    ) -> PingResult:
        """ICMP echo: ``count`` requests, each of which waits for its own answer no longer than ``timeout_s``."""

    async def open_udp(self, handler: DatagramHandler, *, port: int = 0) -> UdpSocket:
        """Bind a UDP port of ``address``; 0 takes a free one. Raises ``OSError`` when it is taken."""

    async def connect_tcp(self, destination: str, port: int, *, timeout_s: float = 5.0) -> TcpChannel:
        """Raises ``TimeoutError`` or another ``OSError``."""

    async def listen_tcp(self, port: int, accept: Accept) -> TcpListener:
        """At every address of the host. ``accept`` converses with one client. Raises ``OSError`` when the port is taken."""

    async def add_address(self, address: IPv4Address) -> None:
        """The host answers at this address too."""

    async def close(self) -> None:
        """Leave nothing behind: sockets, device, namespace."""


async def udp_exchange(host: IpHost, destination: str, port: int, payload: bytes, *, timeout_s: float = 1.0) -> bytes:
    """Send one datagram and return the payload of the first that comes back from there. Raises ``TimeoutError``."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def received(payload: bytes, source: str, source_port: int) -> None:
        if (source, source_port) == (destination, port) and not answer.done():
            answer.set_result(payload)

    udp = await host.open_udp(received)
    try:
        udp.send(payload, destination, port)
        async with asyncio.timeout(timeout_s):
            return await answer
    finally:
        udp.close()


async def serve_udp_echo(host: IpHost, port: int = UDP_ECHO_PORT) -> UdpSocket:
    """Send every datagram back to where it came from (RFC 862) until the returned socket is closed."""
    udp: UdpSocket | None = None

    def received(payload: bytes, source: str, source_port: int) -> None:
        if udp is not None:
            udp.send(payload, source, source_port)

    udp = await host.open_udp(received, port=port)
    return udp


class EndpointHost:
    """An :class:`IpHost` inside this process. IPv4: ICMP echo in both roles, UDP, "port unreachable", TCP; no fragments."""

    def __init__(self, name: str, address: IPv4Interface, *, mtu_octets: int = UE_MTU_OCTETS) -> None:
        self.name = name
        self.address = address
        self.mtu_octets = mtu_octets
        self.on_packet: Callable[[bytes], None] = _into_the_void
        self.bad_packets = 0                            # not for us, or not what an IPv4 host takes
        self._sockets: dict[int, EndpointSocket] = {}
        self._echoes: dict[tuple[IPv4Address, int, int], asyncio.Future[None]] = {}
        self._next_identifier = 1
        self._next_port = _FIRST_EPHEMERAL_PORT
        self._identification = 0
        self._addresses = {address.ip}
        self._tcp = EndpointTcp(self._transmit_segment, mtu_octets)

    @property
    def link(self) -> IpLink:
        return self

    async def ping(
        self, destination: str, *, count: int = 1, timeout_s: float = 1.0, interval_s: float = 0.2, payload_octets: int = 56,
    ) -> PingResult:
        identifier = self._next_identifier
        self._next_identifier = identifier % 0xFFFF + 1
        return await ping_series(
            destination, lambda sequence: self._ping_once(IPv4Address(destination), identifier, sequence, timeout_s, payload_octets),
            count=count, interval_s=interval_s,
        )

    async def open_udp(self, handler: DatagramHandler, *, port: int = 0) -> UdpSocket:
        if port == 0:
            port = self._free_port(self._sockets.__contains__)
        elif port in self._sockets:
            raise OSError(f"UDP port {port} of {self.name} is taken")
        udp = self._sockets[port] = EndpointSocket(self, port, handler)
        return udp

    async def connect_tcp(self, destination: str, port: int, *, timeout_s: float = 5.0) -> TcpChannel:
        local = self._free_port(self._tcp.has_port)
        async with asyncio.timeout(timeout_s):
            return await self._tcp.connect((self.address.ip, local, IPv4Address(destination), port))

    async def listen_tcp(self, port: int, accept: Accept) -> TcpListener:
        return self._tcp.listen(port, accept)

    async def add_address(self, address: IPv4Address) -> None:
        self._addresses.add(address)

    async def close(self) -> None:
        self._tcp.close()
        self._sockets.clear()
        for waiting in self._echoes.values():
            waiting.cancel()

    def send(self, packet: bytes) -> None:
        """A packet arrives (the host is its own :class:`IpLink`). Looked at on the loop's next turn, not inside whoever delivers it."""
        asyncio.get_running_loop().call_soon(self._arrive, packet)

    def _arrive(self, packet: bytes) -> None:
        try:
            self._receive(packet, ip_packet.decode_ipv4(packet))
        except WireError:
            self.bad_packets += 1

    def transmit(self, destination: IPv4Address, protocol: int, payload: bytes, *, source: IPv4Address | None = None) -> None:
        """Send one packet; raises ``ValueError`` when it is larger than the link takes."""
        if 20 + len(payload) > self.mtu_octets:
            raise ValueError(f"{20 + len(payload)} octets do not fit in the MTU of {self.mtu_octets}")
        self._identification = (self._identification + 1) & 0xFFFF
        self.on_packet(ip_packet.encode_ipv4(source or self.address.ip, destination, protocol, payload, identification=self._identification))

    def _transmit_segment(self, source: IPv4Address, destination: IPv4Address, segment: bytes) -> None:
        self.transmit(destination, ip_packet.TCP, segment, source=source)

    def release(self, udp: EndpointSocket) -> None:
        if self._sockets.get(udp.port) is udp:
            del self._sockets[udp.port]

    def _receive(self, octets: bytes, packet: IPv4Packet) -> None:
        if packet.destination not in self._addresses:
            self.bad_packets += 1
        elif packet.protocol == ip_packet.ICMP:
            self._receive_icmp(packet)
        elif packet.protocol == ip_packet.UDP:
            datagram = ip_packet.decode_udp(packet)
            udp = self._sockets.get(datagram.destination_port)
            if udp is not None and packet.destination == self.address.ip:
                udp.handler(datagram.payload, str(packet.source), datagram.source_port)
            else:
                self.transmit(packet.source, ip_packet.ICMP, ip_packet.encode_port_unreachable(octets), source=packet.destination)
        elif packet.protocol == ip_packet.TCP:
            self._tcp.receive(packet)
        else:
            self.bad_packets += 1

    def _receive_icmp(self, packet: IPv4Packet) -> None:
        echo = ip_packet.decode_echo(packet.payload)
        if echo is None:
            return
        if echo.type == ip_packet.ECHO_REQUEST:
            reply = IcmpEcho(type=ip_packet.ECHO_REPLY, identifier=echo.identifier, sequence=echo.sequence, payload=echo.payload)
            if 28 + len(echo.payload) <= self.mtu_octets:
                self.transmit(packet.source, ip_packet.ICMP, ip_packet.encode_echo(reply), source=packet.destination)
            return
        waiting = self._echoes.get((packet.source, echo.identifier, echo.sequence))
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _ping_once(self, destination: IPv4Address, identifier: int, sequence: int, timeout_s: float, payload_octets: int) -> float | None:
        loop = asyncio.get_running_loop()
        key = (destination, identifier, sequence)
        answered = self._echoes[key] = loop.create_future()
        sent_at = loop.time()
        try:
            echo = IcmpEcho(type=ip_packet.ECHO_REQUEST, identifier=identifier, sequence=sequence, payload=bytes(payload_octets))
            self.transmit(destination, ip_packet.ICMP, ip_packet.encode_echo(echo))
            done, _ = await asyncio.wait((answered,), timeout=timeout_s)
            return loop.time() - sent_at if done and not answered.cancelled() else None
        finally:
            del self._echoes[key]

    def _free_port(self, is_taken: Callable[[int], bool]) -> int:
        for _ in range(_LAST_PORT - _FIRST_EPHEMERAL_PORT + 1):
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_PORT else _FIRST_EPHEMERAL_PORT
            if not is_taken(port):
                return port
        raise OSError(f"{self.name} has no free port")


class EndpointSocket:
    """A UDP port of an :class:`EndpointHost`."""

    def __init__(self, host: EndpointHost, port: int, handler: DatagramHandler) -> None:
        self.host = host
        self.port = port
        self.handler = handler

    def send(self, payload: bytes, destination: str, port: int) -> None:
        to = IPv4Address(destination)
        datagram = Datagram(source_port=self.port, destination_port=port, payload=payload)
        self.host.transmit(to, ip_packet.UDP, ip_packet.encode_udp(self.host.address.ip, to, datagram))

    def close(self) -> None:
        self.host.release(self)


async def ping_series(destination: str, ping_once: PingOnce, *, count: int, interval_s: float) -> PingResult:
    """Requests numbered from 1, ``interval_s`` apart, each waiting for its own answer."""
    tasks = []
    async with asyncio.TaskGroup() as group:
        for sequence in range(1, count + 1):
            tasks.append(group.create_task(ping_once(sequence)))
            if sequence < count:
                await asyncio.sleep(interval_s)
    answers = (task.result() for task in tasks)
    return PingResult(destination=destination, sent=count, round_trips_s=tuple(round_trip_s for round_trip_s in answers if round_trip_s is not None))


def _into_the_void(packet: bytes) -> None:
    """What the host sends before its link is connected."""
