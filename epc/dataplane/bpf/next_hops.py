"""Where frames go from here: device, MAC addresses and MTU for each tunnel's far end and each link, kept up to date.

A far end whose neighbour is not known is not in the map, so that its packets take the slow path: there the kernel sends the ARP
request, and its answer is announced by netlink.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol, runtime_checkable

from epc.dataplane.bpf import layout, netlink
from epc.dataplane.bpf.kernel import Map
from epc.dataplane.bpf.netlink import Device, Route, RouteSocket
from epc.dataplane.forwarder import IpLink
from epc.dataplane.packet_size import MAX_IP_OCTETS

log = logging.getLogger(__name__)

_MONITORED = (
    netlink.RTMGRP_LINK | netlink.RTMGRP_NEIGH | netlink.RTMGRP_IPV4_ADDRESS | netlink.RTMGRP_IPV4_ROUTE
    | netlink.RTMGRP_IPV6_ADDRESS | netlink.RTMGRP_IPV6_ROUTE
)
_ABOUT_NEIGHBOURS = (netlink.Type.NEW_NEIGHBOUR, netlink.Type.DELETE_NEIGHBOUR)
_MAX_OCTETS = 1 << 16


@runtime_checkable
class KernelLink(IpLink, Protocol):
    """A plain IP link that is a network device: frames with the far end's MAC address reach it."""

    device: Device
    far_mac: bytes


class _Tunnel(NamedTuple):
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address      # of the same version
    user_octets: int        # the longest packet of users' for it


class NextHops:
    """The map ``next_hops``. ``monitor`` has to be open already, or changes before now would be missed."""

    def __init__(self, table: Map, routes: RouteSocket, used: Callable[[Device], None]) -> None:
        """``used`` hears of each device that packets leave by, before they do."""
        self._table = table
        self._routes = routes
        self._used = used
        self._ids: dict[_Tunnel, int] = {}
        self._link_ids: dict[int, int] = {}             # by interface index
        self._found: dict[_Tunnel, Route] = {}          # those that have a route, whether or not the neighbour is known
        self._monitor = netlink.open_monitor(_MONITORED)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._monitor.fileno(), self._changed)

    def close(self) -> None:
        self._loop.remove_reader(self._monitor.fileno())
        self._monitor.close()

    def tunnel(
        self, source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, user_octets: int = MAX_IP_OCTETS,
    ) -> int | None:
        """The id of the way from our address to a tunnel's far end; ``None`` when there are too many."""
        tunnel = _Tunnel(source, destination, user_octets)
        known = self._ids.get(tunnel)
        if known is None:
            known = self._new_id()
            if known is not None:
                self._ids[tunnel] = known
                self._resolve(tunnel)
        return known

    def link(self, link: KernelLink) -> int | None:
        known = self._link_ids.get(link.device.ifindex)
        if known is None:
            known = self._new_id()
            if known is None:
                return None
            self._link_ids[link.device.ifindex] = known
            self._used(link.device)
        self._table.update(layout.index_key(known), layout.next_hop(
            link.device.ifindex, link.device.mtu_octets, 0, b"", b"", link.far_mac, link.device.mac,
        ))
        return known

    def forget_link(self, link: KernelLink) -> None:
        self._remove(self._link_ids.get(link.device.ifindex))

    def _new_id(self) -> int | None:
        used = len(self._ids) + len(self._link_ids)
        return None if used >= self._table.entries else used + 1

    def _resolve(self, tunnel: _Tunnel) -> None:
        key = layout.index_key(self._ids[tunnel])
        try:
            route = self._routes.route(tunnel.destination)
            device = None if route is None else self._routes.device(route.ifindex)
            mac = None if route is None else self._routes.neighbour(route.ifindex, route.gateway)
        except OSError as error:
            log.warning("the way to %s cannot be found out: %s", tunnel.destination, error)
            route = device = mac = None
        self._found.pop(tunnel, None)
        if route is not None:
            self._found[tunnel] = route
        if route is None or device is None or mac is None or not device.mac:
            self._remove(self._ids[tunnel])
            return
        self._used(device)
        longest = layout.OUTER_OCTETS[tunnel.source.version] + tunnel.user_octets
        mtu_octets = min(route.mtu_octets or device.mtu_octets, device.mtu_octets, longest)
        self._table.update(key, layout.next_hop(
            device.ifindex, mtu_octets, tunnel.source.version, tunnel.source.packed, tunnel.destination.packed, mac, device.mac,
        ))

    def _remove(self, known: int | None) -> None:
        if known is not None:
            try:
                self._table.delete(layout.index_key(known))
            except FileNotFoundError:
                pass            # was not resolved

    def _changed(self) -> None:
        neighbours: set[tuple[int, bytes]] = set()
        everything = False
        while True:
            try:
                octets = self._monitor.recv(_MAX_OCTETS)
            except BlockingIOError:
                break
            except OSError:             # ENOBUFS: more changed than fits
                everything = True
                continue
            for kind, _, body in netlink.messages(octets):
                if kind in _ABOUT_NEIGHBOURS:
                    neighbours.add(netlink.neighbour_of(body))
                else:
                    everything = True
        for tunnel in list(self._ids):
            route = self._found.get(tunnel)
            if everything or (route is not None and (route.ifindex, route.gateway.packed) in neighbours):
                self._resolve(tunnel)
