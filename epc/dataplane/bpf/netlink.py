"""Route netlink (rtnetlink(7)), as far as the back end uses it: where packets go, and the devices that it makes.

A :class:`RouteSocket` speaks for the network namespace in which its socket was opened, whatever namespace its user is in later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, ip_address
from typing import NamedTuple

RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_ADDRESS, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ADDRESS, RTMGRP_IPV6_ROUTE = 0x1, 0x4, 0x10, 0x40, 0x100, 0x400

_REQUEST, _ACKNOWLEDGE, _DUMP, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x300, 0x400, 0x200
_ERROR, _DONE = 2, 3
_MAX_ANSWER_OCTETS = 1 << 17
_ANSWER_WITHIN_S = 2.0

_message_header = struct.Struct("=IHHII")
_attribute_header = struct.Struct("=HH")
_link_message = struct.Struct("=BxHiII")
_address_message = struct.Struct("=BBBBI")
_route_message = struct.Struct("=8BI")
_neighbour_message = struct.Struct("=BxxxiHBB")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_STATS64, _IFLA_NET_NS_FD = 1, 3, 4, 18, 23, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_METRICS, _RTAX_MTU = 1, 4, 5, 8, 2
_NDA_DST, _NDA_LLADDR = 1, 2
_UP, _NO_ARP = 0x1, 0x80
_NO_DUPLICATE_DETECTION = 0x02
_PERMANENT = 0x80
_MAC_IS_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | _PERMANENT       # REACHABLE, STALE, DELAY, PROBE
_UNICAST, _MAIN_TABLE, _STATIC, _LINK_SCOPE, _UNIVERSE = 1, 254, 4, 253, 0


class Type(IntEnum):
    NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
    NEW_ADDRESS, GET_ADDRESS = 20, 22
    NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
    NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30


class Device(NamedTuple):
    ifindex: int
    name: str
    mac: bytes          # empty where there is none
    mtu_octets: int


class Route(NamedTuple):
    ifindex: int
    gateway: IPv4Address | IPv6Address      # the destination itself, if that is a neighbour
    mtu_octets: int             # 0: the device's


class RouteSocket:
    """Asks and waits: the kernel answers within microseconds. Raises ``OSError`` for what the kernel refuses."""

    def __init__(self, opened: socket.socket | None = None) -> None:
        """``opened``: a raw NETLINK_ROUTE socket, perhaps of another namespace; by default one of the calling thread's."""
        self._socket = opened or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_WITHIN_S)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def device(self, which: int | str) -> Device:
        by_name = _attribute(_IFLA_IFNAME, which.encode() + b"\0") if isinstance(which, str) else b""
        ifindex = 0 if isinstance(which, str) else which
        (answer,) = self._ask(Type.GET_LINK, _link_message.pack(0, 0, ifindex, 0, 0) + by_name)
        found = _attributes(answer, _link_message.size)
        mac = found.get(_IFLA_ADDRESS, b"")
        return Device(
            _link_message.unpack_from(answer)[2], found[_IFLA_IFNAME].rstrip(b"\0").decode(), mac if len(mac) == 6 and any(mac) else b"",
            int.from_bytes(found[_IFLA_MTU], "little"),
        )

    def device_names(self) -> set[str]:
        """Of all devices in the namespace."""
        answers = self._ask(Type.GET_LINK, _link_message.pack(0, 0, 0, 0, 0), _DUMP)
        return {_attributes(answer, _link_message.size)[_IFLA_IFNAME].rstrip(b"\0").decode() for answer in answers}

    def sent_packets(self, ifindex: int) -> int:
        """How many a device has sent since it was made."""
        (answer,) = self._ask(Type.GET_LINK, _link_message.pack(0, 0, ifindex, 0, 0))
        (sent,) = struct.unpack_from("=Q", _attributes(answer, _link_message.size)[_IFLA_STATS64], 8)
        return int(sent)

    def owner(self, address: IPv4Address | IPv6Address) -> int | None:
        """The interface index of the device that has this address."""
        for answer in self._ask(Type.GET_ADDRESS, _address_message.pack(_family(address), 0, 0, 0, 0), _DUMP):
            found = _attributes(answer, _address_message.size)
            if found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS)) == address.packed:
                return int(_address_message.unpack_from(answer)[4])
        return None

    def route(self, destination: IPv4Address | IPv6Address) -> Route | None:
        """Where packets to a destination leave; ``None`` if they do not leave."""
        request = _route_message.pack(_family(destination), destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + _attribute(_RTA_DST, destination.packed)
        try:
            (answer,) = self._ask(Type.GET_ROUTE, request)
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return None
            raise
        if _route_message.unpack_from(answer)[7] != _UNICAST:
            return None
        found = _attributes(answer, _route_message.size)
        metrics = _attributes(found.get(_RTA_METRICS, b""), 0)
        return Route(
            int.from_bytes(found[_RTA_OIF], "little"), ip_address(found.get(_RTA_GATEWAY, destination.packed)),
            int.from_bytes(metrics.get(_RTAX_MTU, b""), "little"),
        )

    def neighbour(self, ifindex: int, address: IPv4Address | IPv6Address) -> bytes | None:
        """A neighbour's MAC address, if the kernel knows it."""
        request = _neighbour_message.pack(_family(address), ifindex, 0, 0, 0) + _attribute(_NDA_DST, address.packed)
        try:
            (answer,) = self._ask(Type.GET_NEIGHBOUR, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        mac = _attributes(answer, _neighbour_message.size).get(_NDA_LLADDR, b"")
        return mac if len(mac) == 6 and _neighbour_message.unpack_from(answer)[2] & _MAC_IS_KNOWN else None

    def create_veth(self, name: str, far_name: str, far_namespace: int, *, mtu_octets: int) -> None:
        """A pair of joined devices, one here and one in the namespace that ``far_namespace`` is a descriptor of."""
        mtu = _attribute(_IFLA_MTU, struct.pack("=I", mtu_octets))
        far_end = _link_message.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, far_name.encode() + b"\0") + mtu
        far_end += _attribute(_IFLA_NET_NS_FD, struct.pack("=I", far_namespace))
        information = _attribute(_IFLA_INFO_KIND, b"veth") + _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, far_end))
        self._ask(
            Type.NEW_LINK,
            _link_message.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + mtu + _attribute(_IFLA_LINKINFO, information),
            _CREATE | _EXCLUSIVE,
        )

    def set_up(self, ifindex: int, *, arp: bool) -> None:
        self._ask(Type.NEW_LINK, _link_message.pack(0, 0, ifindex, _UP | (0 if arp else _NO_ARP), _UP | _NO_ARP))

    def delete_device(self, ifindex: int) -> None:
        self._ask(Type.DELETE_LINK, _link_message.pack(0, 0, ifindex, 0, 0))

    def add_address(self, ifindex: int, address: IPv4Interface | IPv6Interface) -> None:
        """It may be used at once: for IPv6 nobody is asked whether he has it."""
        flags = 0 if address.version == 4 else _NO_DUPLICATE_DETECTION
        request = _address_message.pack(_family(address), address.network.prefixlen, flags, 0, ifindex)
        self._ask(Type.NEW_ADDRESS, request + _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed), _CREATE)

    def add_route(self, ifindex: int, network: IPv4Network, gateway: IPv4Address | None = None) -> None:
        scope = _LINK_SCOPE if gateway is None else _UNIVERSE
        request = _route_message.pack(socket.AF_INET, network.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, 0)
        if network.prefixlen:
            request += _attribute(_RTA_DST, network.network_address.packed)
        if gateway is not None:
            request += _attribute(_RTA_GATEWAY, gateway.packed)
        self._ask(Type.NEW_ROUTE, request + _attribute(_RTA_OIF, struct.pack("=i", ifindex)), _CREATE)

    def add_neighbour(self, ifindex: int, address: IPv4Address, mac: bytes) -> None:
        """One that is known for good."""
        request = _neighbour_message.pack(socket.AF_INET, ifindex, _PERMANENT, 0, 0)
        self._ask(Type.NEW_NEIGHBOUR, request + _attribute(_NDA_DST, address.packed) + _attribute(_NDA_LLADDR, mac), _CREATE)

    def delete_neighbour(self, ifindex: int, address: IPv4Address | IPv6Address) -> None:
        """Raises ``FileNotFoundError`` when it is not known."""
        self._ask(Type.DELETE_NEIGHBOUR, _neighbour_message.pack(_family(address), ifindex, 0, 0, 0) + _attribute(_NDA_DST, address.packed))

    def _ask(self, kind: Type, body: bytes, flags: int = 0) -> list[bytes]:
        """The bodies of the answers."""
        self._sequence += 1
        dump = flags & _DUMP == _DUMP
        wanted = _REQUEST | flags | (0 if dump else _ACKNOWLEDGE)
        self._socket.send(_message_header.pack(_message_header.size + len(body), kind, wanted, self._sequence, 0) + body)
        answers: list[bytes] = []
        while True:
            for answer_kind, sequence, answer in messages(self._socket.recv(_MAX_ANSWER_OCTETS)):
                if sequence != self._sequence:
                    continue            # of a request that was given up
                if answer_kind == _DONE:
                    return answers
                if answer_kind == _ERROR:
                    (code,) = struct.unpack_from("=i", answer)
                    if code:
                        raise OSError(-code, f"netlink {kind.name}: {os.strerror(-code)}")
                    return answers
                answers.append(answer)


def open_monitor(groups: int) -> socket.socket:
    """A non-blocking socket that becomes readable when something of these groups changes in the calling thread's namespace."""
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        monitor.bind((0, groups))
    except OSError:
        monitor.close()
        raise
    return monitor


def messages(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and body of each message."""
    at = 0
    while at + _message_header.size <= len(octets):
        length, kind, _, sequence, _ = _message_header.unpack_from(octets, at)
        if length < _message_header.size:
            return
        yield kind, sequence, octets[at + _message_header.size:at + length]
        at += (length + 3) & ~3


def neighbour_of(body: bytes) -> tuple[int, bytes]:
    """Device and address that a neighbour message is about."""
    return _neighbour_message.unpack_from(body)[1], _attributes(body, _neighbour_message.size).get(_NDA_DST, b"")


def _family(address: IPv4Address | IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    return _attribute_header.pack(_attribute_header.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(octets: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _attribute_header.size <= len(octets):
        length, kind = _attribute_header.unpack_from(octets, at)
        if length < _attribute_header.size:
            break
        found[kind & 0x3FFF] = octets[at + _attribute_header.size:at + length]
        at += (length + 3) & ~3
    return found
