"""An IP host that is a network namespace with a TUN device, or one end of a veth pair: the kernel's own IP stack, and any program can run in it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import ssl
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from epc.dataplane import ip_packet
from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.bpf.veth import VethLink
from epc.dataplane.channel import Accept, KernelChannel, KernelListener, TcpChannel, TcpListener
from epc.dataplane.forwarder import IpLink
from epc.dataplane.ip_endpoint import UE_MTU_OCTETS, DatagramHandler, PingResult, UdpSocket, ping_series
from epc.dataplane.ip_packet import IcmpEcho
from epc.dataplane.namespace import Keeper, Namespace
from epc.dataplane.tun import TunLink
from epc.wire.errors import WireError

DEVICE = "tun0"
VETH_DEVICE = "veth0"
SIOCGSKNS = 0x894C               # a descriptor of the namespace that a socket is in; also where its path is out of reach
MAX_DEVICE_NAME = 15
DATAGRAMS_A_WAKE_UP = 64
MAX_DATAGRAM_OCTETS = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """``status`` is the exit status, negative for the signal that ended the program."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote to its standard output."""
        return self.stdout.decode(errors="replace")


class NamespaceHost:
    """An :class:`~epc.dataplane.ip_endpoint.IpHost` in a network namespace. Make one with :meth:`open`.

    Sockets are opened inside the namespace and used from here; ping needs no ``ping`` program.
    """

    def __init__(self, name: str, address: IPv4Interface, namespace: Namespace, link: TunLink | VethLink) -> None:
        self.name = name
        self.address = address
        self.namespace = namespace
        self._link = link
        self._sockets: set[KernelUdpSocket] = set()
        self._listeners: list[TcpListener] = []
        self._pinger: _Pinger | None = None
        self._next_identifier = 1

    @classmethod
    async def open(
        cls, keeper: Keeper, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = (IPv4Network("0.0.0.0/0"),),
        mtu_octets: int = UE_MTU_OCTETS,
    ) -> NamespaceHost:
        """Raises :class:`~epc.dataplane.namespace.NamespaceError`."""
        namespace = await keeper.create(name)
        try:
            tun = TunLink(await namespace.open_tun(DEVICE, address, routes=routes, mtu_octets=mtu_octets))
        except BaseException:
            await namespace.close()
            raise
        return cls(name, address, namespace, tun)

    @classmethod
    async def open_veth(
        cls, keeper: Keeper, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = (IPv4Network("0.0.0.0/0"),),
        mtu_octets: int = UE_MTU_OCTETS,
    ) -> NamespaceHost:
        """Joined by a pair of devices that programs in the kernel can forward to; the near one bears the host's name, cut to fit.

        Takes root. Raises :class:`~epc.dataplane.namespace.NamespaceError` or another ``OSError``.
        """
        namespace = await keeper.create(name)
        try:
            far_routes = RouteSocket(await namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
            control = await namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
            descriptor = fcntl.ioctl(control.fileno(), SIOCGSKNS)
            try:
                link = VethLink.open(
                    _device_name(name), VETH_DEVICE, far_routes, control, descriptor, address=address, routes=routes, mtu_octets=mtu_octets,
                )
            finally:
                os.close(descriptor)
                control.close()
                far_routes.close()
        except BaseException:
            await namespace.close()
            raise
        return cls(name, address, namespace, link)

    @property
    def link(self) -> IpLink:
        return self._link

    async def ping(
        self, destination: str, *, count: int = 1, timeout_s: float = 1.0, interval_s: float = 0.2, payload_octets: int = 56,
    ) -> PingResult:
        if self._pinger is None:
            self._pinger = _Pinger(await self.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        pinger = self._pinger
        identifier = self._next_identifier
        self._next_identifier = identifier % 0xFFFF + 1
        return await ping_series(
            destination, lambda sequence: pinger.once(destination, identifier, sequence, timeout_s, payload_octets),
            count=count, interval_s=interval_s,
        )

    async def open_udp(self, handler: DatagramHandler, *, port: int = 0) -> UdpSocket:
        opened = await self.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.bind((str(self.address.ip), port))
        except OSError:
            opened.close()
            raise
        udp = KernelUdpSocket(self, opened, handler)
        self._sockets.add(udp)
        return udp

    async def connect_tcp(self, destination: str, port: int, *, timeout_s: float = 5.0) -> TcpChannel:
        async with asyncio.timeout(timeout_s):
            return await KernelChannel.connect(await self.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM), destination, port)

    async def listen_tcp(self, port: int, accept: Accept) -> TcpListener:
        opened = await self.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(("0.0.0.0", port))
            listener = await KernelListener.listen(opened, accept)
        except BaseException:
            opened.close()
            raise
        self._listeners.append(listener)
        return listener

    async def add_address(self, address: IPv4Address) -> None:
        await self.namespace.add_address(address)

    async def run(self, *arguments: str) -> int:
        """Run a program as this host, on this process's terminal, and return its exit status."""
        return await self.namespace.run(*arguments)

    async def run_and_collect(
        self, *arguments: str, input: bytes = b"", name_servers: Sequence[IPv4Address] = (), authorities: Sequence[str] = (),
    ) -> ProgramResult:
        """Run a program as this host. ``name_servers`` are what its /etc/resolv.conf says; ``authorities`` are certificates (PEM) that
        programs which look at the usual environment variables trust, as curl and Python do, beside those of the system.

        Raises :class:`~epc.dataplane.namespace.NamespaceError` when it cannot be started. Cancelling kills it.
        """
        with tempfile.TemporaryDirectory(prefix="epclab-") as directory:
            environment = {**os.environ, **trusting(authorities, Path(directory))}
            paths = [Path(directory) / name for name in ("stdin", "stdout", "stderr")]
            paths[0].write_bytes(input)
            with paths[0].open("rb") as stdin, paths[1].open("wb") as stdout, paths[2].open("wb") as stderr:
                status = await self.namespace.run(
                    *arguments, environment=environment, name_servers=name_servers, stdin=stdin, stdout=stdout, stderr=stderr)
            return ProgramResult(status=status, stdout=paths[1].read_bytes(), stderr=paths[2].read_bytes())

    async def close(self) -> None:
        for udp in list(self._sockets):
            udp.close()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._pinger is not None:
            self._pinger.close()
            self._pinger = None
        self._link.close()
        await self.namespace.close()

    def release(self, udp: KernelUdpSocket) -> None:
        self._sockets.discard(udp)


def trusting(authorities: Sequence[str], directory: Path) -> Mapping[str, str]:
    """Environment variables for programs that shall trust these certificates (PEM) too; a file in ``directory`` holds them."""
    if not authorities:
        return {}
    system = ssl.get_default_verify_paths().cafile
    known = Path(system).read_text() if system is not None and os.access(system, os.R_OK) else ""
    bundle = directory / "trusted.pem"
    bundle.write_text("\n".join((known, *authorities)))
    return dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(bundle.resolve()))


def _device_name(name: str) -> str:
    if len(name) <= MAX_DEVICE_NAME:
        return name
    return f"{name[:MAX_DEVICE_NAME - 5]}.{zlib.crc32(name.encode()) & 0xFFFF:04x}"


class KernelUdpSocket:
    """A UDP socket of a :class:`NamespaceHost`."""

    def __init__(self, host: NamespaceHost, opened: socket.socket, handler: DatagramHandler) -> None:
        self.port: int = opened.getsockname()[1]
        self.unsent_datagrams = 0
        self._host = host
        self._socket = opened
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._readable)

    def send(self, payload: bytes, destination: str, port: int) -> None:
        try:
            self._socket.sendto(payload, (destination, port))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise ValueError(f"{len(payload)} octets do not fit in a datagram") from error
            self.unsent_datagrams += 1      # no route, queue full, or an ICMP error of an earlier one: lost, as a datagram may be

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._host.release(self)

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_A_WAKE_UP):
            try:
                payload, (source, port) = self._socket.recvfrom(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:
                return
            except OSError:
                if self._socket.fileno() < 0:
                    return          # the handler closed the socket
                continue            # an ICMP error of some earlier datagram
            self._handler(payload, source, port)


class _Pinger:
    """A raw ICMP socket and the echo requests that wait for an answer on it."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._waiting: dict[tuple[str, int, int], asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._readable)

    async def once(self, destination: str, identifier: int, sequence: int, timeout_s: float, payload_octets: int) -> float | None:
        key = (destination, identifier, sequence)
        answered = self._waiting[key] = self._loop.create_future()
        sent_at = time.perf_counter()
        try:
            echo = IcmpEcho(type=ip_packet.ECHO_REQUEST, identifier=identifier, sequence=sequence, payload=os.urandom(payload_octets))
            self._socket.sendto(ip_packet.encode_echo(echo), (destination, 0))
            done, _ = await asyncio.wait((answered,), timeout=timeout_s)
            return time.perf_counter() - sent_at if done and not answered.cancelled() else None
        finally:
            del self._waiting[key]

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for waiting in self._waiting.values():
            waiting.cancel()

    def _readable(self) -> None:
        while True:
            try:
                octets, (source, _) = self._socket.recvfrom(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:
                return
            try:
                echo = ip_packet.decode_echo(octets[(octets[0] & 15) * 4:])      # raw sockets deliver the IP header too
            except WireError:
                continue
            if echo is not None and echo.type == ip_packet.ECHO_REPLY:
                waiting = self._waiting.get((source, echo.identifier, echo.sequence))
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
