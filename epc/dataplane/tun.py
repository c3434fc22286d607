"""A TUN device as a plain IP link: what the kernel sends into it enters the forwarder, and the other way round."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv4Network

from epc.dataplane import keeper

PACKETS_A_WAKE_UP = 64
MAX_PACKET_OCTETS = 65535


class TunLink:
    """An :class:`~epc.dataplane.forwarder.IpLink` on the descriptor of an open TUN device (``IFF_NO_PI``, non-blocking), which it owns."""

    def __init__(self, descriptor: int) -> None:
        self.on_packet: Callable[[bytes], None] = _ignore
        self.unsent_packets = 0
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._readable)

    @classmethod
    def open_here(cls, device: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = (), mtu_octets: int) -> TunLink:
        """A device in this process's own namespace: SGi of a PGW whose packets the machine itself is to route. Takes CAP_NET_ADMIN."""
        networks = [(str(route.network_address), str(route.netmask)) for route in routes]
        return cls(keeper.make_tun(device, str(address.ip), str(address.netmask), mtu_octets, networks))

    def send(self, packet: bytes) -> None:
        try:
            os.write(self._descriptor, packet)
        except OSError:                 # the device is down or gone, or its queue is full: lost, as a packet may be
            self.unsent_packets += 1

    def close(self) -> None:
        """Closes the device, which thereby disappears."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        read, descriptor = os.read, self._descriptor
        for _ in range(PACKETS_A_WAKE_UP):
            try:
                packet = read(descriptor, MAX_PACKET_OCTETS)
            except BlockingIOError:
                return
            except OSError:             # the device was taken away, for instance with its namespace
                self._loop.remove_reader(descriptor)
                return
            self.on_packet(packet)
            if self._descriptor != descriptor:
                return                  # the callback closed the link


def _ignore(packet: bytes) -> None:
    """Until the link is connected."""
