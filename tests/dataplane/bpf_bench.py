"""Namespaces for a forwarder in the kernel or on sockets: a node, its GTP-U peers and SGi, joined by veth pairs."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path

from epc.dataplane import ip_packet
from epc.dataplane.bpf import layout
from epc.dataplane.bpf.anonymous import AnonymousNamespace
from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf.kernel import run_live
from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.bpf.program import BENCH, LoadedObject, ObjectError, ObjectFile
from epc.dataplane.bpf.veth import ETH_P_IP, ETH_P_IPV6, ETHTOOL_SGRO, VethLink, switch
from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import Event, GtpuPort
from epc.dataplane.rules import GTPU_PORT
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.sockets import SocketTransport


def why_no_namespaces() -> str:
    """Why this machine lets us have no namespaces joined by veth pairs; empty if it does."""
    try:
        World().close()
    except OSError as error:
        return str(error)
    return ""


def why_not() -> str:
    """Why this machine cannot run the BPF back end; empty if it can."""
    try:
        AnonymousNamespace().close()
        shipped = ObjectFile.shipped()
        shipped.check(layout.VALUE_OCTETS)
        loaded = LoadedObject(shipped, defaultdict(lambda: 64))
        loaded.program("xdp_gtpu")
        loaded.close()
    except (OSError, ObjectError) as error:
        return str(error)
    return ""


class Peer:
    """A GTP-U peer in a namespace."""

    def __init__(self, opened: socket.socket, host: str) -> None:
        self.received: list[bytes] = []
        self.host = host
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._readable)

    def send(self, data: bytes, host: str) -> None:
        self._socket.sendto(data, (host, GTPU_PORT))

    def send_scattered(self, data: bytes, host: str) -> None:
        """The kernel keeps what the second call brings in pages of its own, as many network cards do with all but the headers."""
        self._socket.sendto(data[:40], socket.MSG_MORE, (host, GTPU_PORT))
        self._socket.sendto(data[40:], (host, GTPU_PORT))

    def _readable(self) -> None:
        while True:
            try:
                self.received.append(self._socket.recv(65535))
            except BlockingIOError:
                return

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


class Wire:
    """The far end of a veth link: packets go in and out as frames."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._sockets: dict[int, socket.socket] = {}
        self._name = ""
        self._mac = bytes(6)

    def open(self, namespace: AnonymousNamespace, device: str) -> None:
        self._name = device
        with namespace.entered():
            routes = RouteSocket()
            self._mac = routes.device(device).mac
            routes.close()
            for protocol in (ETH_P_IP, ETH_P_IPV6):
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
                opened.bind((device, protocol))
                self._sockets[protocol] = opened
                asyncio.get_running_loop().add_reader(opened.fileno(), self._readable, opened)

    def on_packet(self, packet: bytes) -> None:
        protocol = ETH_P_IPV6 if packet[:1] >= b"\x60" else ETH_P_IP
        self._sockets[protocol].sendto(packet, (self._name, protocol, 0, 0, self._mac))

    def send(self, packet: bytes) -> None:
        """As an in-process link, where a test wants one."""
        self.received.append(packet)

    def _readable(self, opened: socket.socket) -> None:
        while True:
            try:
                self.received.append(opened.recv(65535))
            except BlockingIOError:
                return

    def close(self) -> None:
        for opened in self._sockets.values():
            asyncio.get_running_loop().remove_reader(opened.fileno())
            opened.close()


class World:
    """Three namespaces: of the node, of its GTP-U peers, and of SGi. Forwarders come and go in it."""

    NODE_HOSTS = ("10.0.0.1/24", "10.0.0.2/24", "10.0.0.21/24", "fd00::1/64", "fd00::2/64")
    PEER_HOSTS = ("10.0.0.11/24", "10.0.0.12/24", "fd00::11/64", "fd00::12/64")

    def __init__(self) -> None:
        self.node, self.peers, self.sgi = AnonymousNamespace(), AnonymousNamespace(), AnonymousNamespace()
        for namespace in (self.node, self.peers, self.sgi):
            set_in(namespace, "ipv6/conf/default/disable_ipv6", "1")      # no neighbour discovery among what the tests count
        with self.peers.entered():
            self.peer_routes = RouteSocket()
        with self.node.entered():
            self.node_routes = RouteSocket()
        self.node_routes.create_veth("n0", "p0", self.peers.descriptor, mtu_octets=1500)
        for namespace, routes, name, hosts in (
            (self.node, self.node_routes, "n0", self.NODE_HOSTS), (self.peers, self.peer_routes, "p0", self.PEER_HOSTS),
        ):
            set_in(namespace, f"ipv6/conf/{name}/disable_ipv6", "0")
            device = routes.device(name)
            routes.set_up(device.ifindex, arp=True)
            for host in hosts:
                routes.add_address(device.ifindex, ip_interface(host))
        self.node_routes.set_up(1, arp=True)        # lo
        with self.peers.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            switch(control, "p0", ETHTOOL_SGRO, on=True)        # frames of native XDP reach it only if it polls for them

    def forget_neighbours(self) -> None:
        """Nobody has asked for an address yet."""
        ifindex = self.node_routes.device("n0").ifindex
        for host in self.PEER_HOSTS:
            with suppress(FileNotFoundError):
                self.node_routes.delete_neighbour(ifindex, ip_interface(host).ip)

    def close(self) -> None:
        self.node_routes.close()
        self.peer_routes.close()
        for namespace in (self.node, self.peers, self.sgi):
            namespace.close()


def set_in(namespace: AnonymousNamespace, setting: str, value: str) -> None:
    with namespace.entered():
        Path("/proc/sys/net", setting).write_text(value)


class BpfBench:
    """Like ``conftest.Bench``, with the kernel between everybody. Without a ``hook`` the forwarder is the one on sockets."""

    link_is_ethernet = True

    def __init__(self, hook: Hook | None, world: World | None = None, *, ipv6: bool = False) -> None:
        self.hook = hook
        self.transport = SocketTransport("node")
        hosts = ("fd00::1", "fd00::2", "fd00::11", "fd00::12") if ipv6 else ("10.0.0.1", "10.0.0.2", "10.0.0.11", "10.0.0.12")
        self.access_host, self.core_host, self.enb_host, self.pgw_host = hosts
        self.events: list[Event] = []
        self._own = World() if world is None else None
        self.world = world or self._own
        self.node, self.peers, self.sgi = self.world.node, self.world.peers, self.world.sgi
        self.node_routes, self.peer_routes = self.world.node_routes, self.world.peer_routes
        self._open: list[Peer | Wire | VethLink] = []
        self._forwarders: list[SocketForwarder] = []

    async def forwarder(self, *, access: bool = False, core: bool = False, buffer_packets: int = 4, max_sessions: int = 1024) -> SocketForwarder:
        access_port = GtpuPort(address=self.access_host, interface="S1-U") if access else None
        core_port = GtpuPort(address=self.core_host, interface="S5/S8-U") if core else None
        with self.node.entered():
            if self.hook is None:
                forwarder = await SocketForwarder.open(self.transport, access=access_port, core=core_port, buffer_packets=buffer_packets)
            else:
                forwarder = await BpfForwarder.open(
                    self.transport, buffer_packets=buffer_packets, max_sessions=max_sessions, hook=None if self._forwarders else self.hook,
                    access=access_port, core=core_port)
        forwarder.on_event = self.events.append
        self._forwarders.append(forwarder)
        return forwarder

    async def peer(self, host: str, port: int = GTPU_PORT) -> Peer:
        opened = self.peers.open_socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        opened.bind((host, port))
        peer = Peer(opened, host)
        self._open.append(peer)
        return peer

    def connect(self, forwarder: SocketForwarder, network_instance: str, wire: Wire, *, mtu_octets: int | None = None) -> None:
        with self.sgi.entered():
            far_routes, control = RouteSocket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with self.node.entered(), control:
            link = VethLink.open("sgi0", "far0", far_routes, control, self.sgi.descriptor,
                                 address=IPv4Interface("10.200.0.1/16"), routes=(), mtu_octets=1500)
            forwarder.connect(network_instance, link, mtu_octets=mtu_octets)
        far_routes.close()
        wire.open(self.sgi, "far0")
        self._open += [link, wire]

    @contextmanager
    def generator(self, message: bytes, ue: int) -> Iterator[Callable[[int], None]]:
        """A function that makes the kernel send a G-PDU from the eNodeB to the node, many times and fast."""
        near, far = self.node_routes.device("n0"), self.peer_routes.device("p0")
        with self.node.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            switch(control, "n0", ETHTOOL_SGRO, on=True)
        enb, node = IPv4Address(self.enb_host), IPv4Address(self.access_host)
        datagram = struct.pack(">HHHH", GTPU_PORT, GTPU_PORT, 8 + len(message), 0) + message
        frame = near.mac + far.mac + b"\x08\x00" + ip_packet.encode_ipv4(enb, node, ip_packet.UDP, datagram)
        programs = LoadedObject(ObjectFile.shipped(BENCH), {})
        programs.maps["traffic"].update(
            bytes(4), struct.pack("=IIIIII72s", 0, far.ifindex, 1, int.from_bytes(message[4:8]), ue, 0, frame[:72]))

        def generate(frames: int) -> None:
            with self.peers.entered():
                run_live(programs.program("generate"), frame, frames)

        try:
            yield generate
        finally:
            programs.close()

    async def settle(self) -> None:
        await asyncio.sleep(0.05)

    async def close(self) -> None:
        for forwarder in self._forwarders:
            await forwarder.close()
        for each in self._open:
            each.close()
        if self._own is not None:
            self._own.close()


REASON = why_not()
