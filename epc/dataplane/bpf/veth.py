"""A pair of joined Ethernet devices as a plain IP link: the near end belongs to the forwarder, the far end to a namespace.

There is no ARP on it. The far end therefore sends to its own MAC address, which makes the near end's kernel leave its packets alone
("for another host"), while programs and packet sockets get them.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv4Network

from epc.dataplane.bpf.netlink import RouteSocket

PACKETS_A_WAKE_UP = 64
MAX_PACKET_OCTETS = 65535
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD


class VethLink:
    """A :class:`~epc.dataplane.bpf.next_hops.KernelLink`. Make one with :meth:`open`; :meth:`close` removes the devices.

    What no program takes arrives here by packet sockets: they see a frame after XDP and tc had it, because they ask for one protocol.
    """

    def __init__(self, routes: RouteSocket, name: str, far_mac: bytes) -> None:
        self.on_packet: Callable[[bytes], None] = _ignore
        self.unsent_packets = 0
        self.device = routes.device(name)
        self.far_mac = far_mac
        self._routes = routes
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}        # by EtherType
        for protocol in (ETH_P_IP, ETH_P_IPV6):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            opened.bind((name, protocol))
            self._sockets[protocol] = opened
            self._loop.add_reader(opened.fileno(), self._readable, opened)

    @classmethod
    def open(
        cls, device: str, far_device: str, far_routes: RouteSocket, far_control: socket.socket, far_namespace: int, *,
        address: IPv4Interface, routes: Sequence[IPv4Network], mtu_octets: int,
    ) -> VethLink:
        """``far_routes`` and ``far_control`` (any socket) are of the far namespace, ``far_namespace`` is a descriptor of it.

        The far end gets the address, and the routes. Takes CAP_NET_ADMIN in both namespaces; raises ``OSError``.
        """
        near = RouteSocket()
        try:
            near.create_veth(device, far_device, far_namespace, mtu_octets=mtu_octets)
            try:
                far = far_routes.device(far_device)
                # Checksums and segmentation have to be finished when a packet enters a tunnel: no hardware will do it there.
                for feature in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO):
                    switch(far_control, far_device, feature, on=False)
                # The far end gets frames of native XDP only if it polls for them.
                switch(far_control, far_device, ETHTOOL_SGRO, on=True)
                near.set_up(near.device(device).ifindex, arp=False)
                far_routes.set_up(far.ifindex, arp=False)
                far_routes.add_address(far.ifindex, address)
                for network in routes:
                    far_routes.add_route(far.ifindex, network)
                return cls(near, device, far.mac)
            except BaseException:
                near.delete_device(near.device(device).ifindex)
                raise
        except BaseException:
            near.close()
            raise

    def send(self, packet: bytes) -> None:
        protocol = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
        try:
            self._sockets[protocol].sendto(packet, (self.device.name, protocol, 0, 0, self.far_mac))
        except OSError:                 # too long, or the device is down or gone: lost, as a packet may be
            self.unsent_packets += 1

    def close(self) -> None:
        for opened in self._sockets.values():
            self._loop.remove_reader(opened.fileno())
            opened.close()
        if self._sockets:
            self._sockets.clear()
            try:
                self._routes.delete_device(self.device.ifindex)
            except OSError:
                pass                    # went with the far namespace
            self._routes.close()

    def _readable(self, opened: socket.socket) -> None:
        for _ in range(PACKETS_A_WAKE_UP):
            try:
                packet = opened.recv(MAX_PACKET_OCTETS)
            except BlockingIOError:
                return
            except OSError:             # the device went down
                return
            self.on_packet(packet)
            if opened.fileno() < 0:
                return                  # the callback closed the link


def switch(control: socket.socket, device: str, feature: int, *, on: bool) -> None:
    """Switch one of a device's offloads (ETHTOOL_S...) in the namespace of ``control``."""
    value = ctypes.create_string_buffer(struct.pack("=II", feature, on), 8)
    fcntl.ioctl(control.fileno(), SIOCETHTOOL, struct.pack("16sP16x", os.fsencode(device), ctypes.addressof(value)))


def _ignore(packet: bytes) -> None:
    """Until the link is connected."""
