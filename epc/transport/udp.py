"""UDP ports of the operating system, read in batches: several times the rate of asyncio's datagram transport."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from epc.transport.interface import Address
from epc.transport.tapping import UNSPECIFIED, TapPoint, source_host

DATAGRAMS_A_WAKE_UP = 64
MAX_DATAGRAM_OCTETS = 65535
SOCKET_BUFFER_OCTETS = 4 << 20
MAX_PEERS_REMEMBERED = 4096


class UdpPort:
    """One bound UDP socket."""

    def __init__(self, local: Address, receive: Callable[[bytes, Address], None], tap_point: TapPoint) -> None:
        family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_OCTETS)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_OCTETS)
            self._socket.setblocking(False)
            self._socket.bind((local.host, local.port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"UDP {local}: {os.strerror(error.errno or 0)}") from error
        self.local = Address(*self._socket.getsockname()[:2])
        self.unsent_datagrams = 0
        self._shown: dict[str, Address] = {}
        self._receive = receive
        self._tap_point = tap_point
        self._transport = tap_point.transport
        self._impairments = tap_point.transport.impairments
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        receive_from, receive = self._socket.recvfrom, self._receive
        for _ in range(DATAGRAMS_A_WAKE_UP):
            try:
                data, sender = receive_from(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:
                return
            except OSError:
                if self._socket.fileno() < 0:
                    return              # the callback closed the port
                continue                # an ICMP error of some earlier datagram
            source = Address(sender[0], sender[1])
            if self._impairments.rules and self._comes_later(data, source):
                continue
            if self._transport.tap is not None:
                self._tap_point.received(source, self._local_towards(source), data)
            receive(data, source)

    def send(self, data: bytes, to: Address) -> None:
        if self._impairments.rules:
            self._send_impaired(data, to)
        else:
            self._send(data, to)
        if self._transport.tap is not None:
            self._tap_point.sent(self._local_towards(to), to, data)

    def _send(self, data: bytes, to: Address) -> None:
        try:
            self._socket.sendto(data, to)
        except OSError:                 # full buffer, no route, too long: lost, as a datagram may be
            self.unsent_datagrams += 1

    def _send_impaired(self, data: bytes, to: Address) -> None:
        way = self._impairments.way_to(self._tap_point.interface, to.host)
        if way is None:
            self._send(data, to)
            return
        for delay_s in way.datagram():
            self._loop.call_later(delay_s, self._send_late, data, to)

    def _send_late(self, data: bytes, to: Address) -> None:
        if self._socket.fileno() >= 0:
            self._send(data, to)

    def _comes_later(self, data: bytes, source: Address) -> bool:
        way = self._impairments.way_from(self._tap_point.interface, source.host)
        if way is None:
            return False
        for delay_s in way.datagram():
            self._loop.call_later(delay_s, self._arrive_late, data, source)
        return True

    def _arrive_late(self, data: bytes, source: Address) -> None:
        if self._socket.fileno() >= 0:
            if self._transport.tap is not None:
                self._tap_point.received(source, self._local_towards(source), data)
            self._receive(data, source)

    def _local_towards(self, peer: Address) -> Address:
        """What the tap shows as this end: the true address also where the port is bound to all."""
        if self.local.host not in UNSPECIFIED:
            return self.local
        known = self._shown.get(peer.host)
        if known is None:
            if len(self._shown) >= MAX_PEERS_REMEMBERED:
                self._shown.clear()
            known = self._shown[peer.host] = Address(source_host(peer.host), self.local.port)
        return known

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
