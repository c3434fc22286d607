"""SCTP in user space: usrsctp as a state machine under asyncio, on UDP (RFC 6951) or raw IP sockets.

One stack a process, one thread, no fork after the first use: usrsctp's state is global. All nodes of a process share it, each with
its own addresses; ports need not differ. ``shim.c`` moves packets between the sockets and usrsctp; this module gives it time,
wakes it when a socket has something, and hands what it reports to the associations.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from epc.transport.impairment import Way
from epc.transport.interface import Address, Association
from epc.transport.sctp.association import EngineAssociation
from epc.transport.sctp.settings import Profile, SctpSettings, Wire
from epc.transport.tapping import UNSPECIFIED, TapPoint, source_host


def _load() -> tuple[Any, Any, str]:
    try:
        import epc.transport.sctp._usrsctp as _usrsctp
    except ImportError as missing:
        return None, None, f"usrsctp is not built in ({missing}): install libusrsctp-dev and build again"
    return _usrsctp.ffi, _usrsctp.lib, ""


ffi, lib, MISSING = _load()

TICK_S = 0.05
"""usrsctp's timers run at least this often; the shortest of them is 50 ms. Each wake-up of an idle process costs it some 0.15 ms."""

IDLE_TICK_S = 0.5
"""Without associations nothing is timed: a listener keeps no state before the cookie comes back."""

MIN_ADVANCE_S = 0.01
"""While packets come, they carry the time along."""

MAX_PACKETS_A_WAKE_UP = 256
MAX_RECORDS = 256
RECEIVE_BUFFER_OCTETS = 1 << 20
SOCKET_BUFFER_OCTETS = 4 << 20
EPHEMERAL_UDP_PORT = 0
PEER_OCTETS = 128               # struct sockaddr_storage
HOST_OCTETS = 64
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_DONT = 0


def available() -> str:
    """Empty when the compiled part is there, else why not."""
    return MISSING


class Link:
    """One datagram socket that carries SCTP packets of one local address."""

    def __init__(self, stack: Stack, wire: Wire, host: str, udp_port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if wire is Wire.UDP:
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            kind = lib.SHIM_UDP
        else:
            self.socket = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)
            kind = lib.SHIM_RAW6 if family == socket.AF_INET6 else lib.SHIM_RAW4
        try:
            if family == socket.AF_INET6:
                if wire is Wire.UDP:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_OCTETS)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_OCTETS)
            self.socket.bind((host, udp_port if wire is Wire.UDP else 0))
            self.socket.setblocking(False)
        except OSError as error:
            self.socket.close()
            raise OSError(error.errno, f"SCTP over {wire.value} at {host}: {os.strerror(error.errno or 0)}") from error
        self.wire = wire
        self.host = host
        self.udp_port = self.socket.getsockname()[1] if wire is Wire.UDP else 0
        self.users = 0
        self.number = _checked(lib.shim_link_open(self.socket.fileno(), kind))
        self.is_diverted = False
        self._is_open = True
        self._stack = stack
        self._carries: dict[tuple[str, str], TapPoint] = {}
        stack.loop.add_reader(self.socket.fileno(), self._readable)

    def carry(self, tap_point: TapPoint) -> None:
        """The link serves this node and reference point, whose impairments its packets are subject to from now on."""
        key = tap_point.transport.node, tap_point.interface
        if key not in self._carries:
            self._carries[key] = tap_point
            tap_point.transport.impairments.watch(self._divert_if_impaired)
            self._divert_if_impaired()

    def _divert_if_impaired(self) -> None:
        if self._is_open:
            impaired = any(point.transport.impairments.rules for point in self._carries.values())
            if impaired != self.is_diverted:
                self._stack.flush()
                self.is_diverted = impaired
                self._stack.diverted_links += 1 if impaired else -1
                lib.shim_divert(self.number, impaired)

    def way_to(self, host: str) -> Way | None:
        """What impairs packets to a peer: the link knows no more of a packet than where it goes."""
        ways = (point.transport.impairments.way_to(point.interface, host) for point in self._carries.values())
        return next((way for way in ways if way is not None), None)

    def transmit(self, packet: bytes, peer: bytes) -> None:
        if self._is_open:
            lib.shim_transmit(self.number, packet, len(packet), peer, len(peer))

    def _readable(self) -> None:
        lib.shim_receive(self.number, MAX_PACKETS_A_WAKE_UP)
        self._stack.advance()
        self._stack.pump()

    def local_host(self, remote_host: str) -> str:
        """The address that a peer sees, also where the link is bound to all."""
        return source_host(remote_host) if self.host in UNSPECIFIED else self.host

    def close(self) -> None:
        if not self._stack.loop.is_closed():
            self._stack.loop.remove_reader(self.socket.fileno())
        self._is_open = False
        for point in self._carries.values():
            point.transport.impairments.unwatch(self._divert_if_impaired)
        self._carries.clear()
        self._stack.diverted_links -= self.is_diverted
        lib.shim_link_close(self.number)
        self.socket.close()


class Stack:
    """The process's usrsctp, bound to one event loop at a time."""

    _instance: Stack | None = None

    @classmethod
    def running(cls) -> Stack:
        """The stack of the running loop. A new loop takes over from one that has closed or has nothing open."""
        loop = asyncio.get_running_loop()
        if cls._instance is None:
            cls._instance = cls(loop)
        elif cls._instance.loop is not loop:
            cls._instance.move_to(loop)
        return cls._instance

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if lib is None:
            raise OSError(errno.EPROTONOSUPPORT, MISSING)
        lib.shim_init(secrets.randbits(32))
        self.loop = loop
        self.links: dict[tuple[Wire, str, int], Link] = {}
        self.endpoints: dict[int, UsrsctpAssociation | UsrsctpListener] = {}
        self._records = ffi.new("shim_record[]", MAX_RECORDS)
        self._buffer = ffi.new("char[]", RECEIVE_BUFFER_OCTETS)
        self._octets = memoryview(ffi.buffer(self._buffer))
        self.diverted_links = 0
        self._number = ffi.new("int *")
        self._peer = ffi.new("char[]", PEER_OCTETS)
        self._host = ffi.new("char[]", HOST_OCTETS)
        self._ticking: asyncio.TimerHandle | None = None
        self._told_time_s = time.monotonic()
        self._flush_due = False
        self._associations = 0

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.loop.is_closed() and self.links:
            raise RuntimeError("usrsctp serves one event loop of a process at a time")
        for handle in list(self.endpoints):
            lib.shim_close(handle, 1)
        self.endpoints.clear()
        self.flush(at_once=True)
        for link in self.links.values():
            link.close()
        self.links.clear()
        self.loop = loop
        self._ticking = None
        self._flush_due = False
        self._associations = 0

    def link(self, wire: Wire, host: str, udp_port: int) -> Link:
        """The link at an address, opened if need be; one with an ephemeral UDP port is any that the address has."""
        if wire is Wire.IP:
            udp_port = 0
        for (known_wire, known_host, known_port), link in self.links.items():
            if (known_wire, known_host) == (wire, host) and udp_port in (known_port, EPHEMERAL_UDP_PORT):
                return link
        link = Link(self, wire, host, udp_port)
        self.links[wire, host, link.udp_port] = link
        if self._ticking is None:
            self._told_time_s = time.monotonic()
            self._ticking = self.loop.call_later(IDLE_TICK_S, self._tick)
        return link

    def add(self, handle: int, endpoint: UsrsctpAssociation | UsrsctpListener) -> None:
        self.endpoints[handle] = endpoint
        endpoint.link.users += 1
        if isinstance(endpoint, UsrsctpAssociation):
            self._associations += 1
            if self._associations == 1 and self._ticking is not None:
                self.advance(0.0)
                self._ticking.cancel()
                self._ticking = self.loop.call_later(TICK_S, self._tick)

    def disown(self, handle: int) -> None:
        """The handle lives on under another object."""
        self._gone(self.endpoints.pop(handle))

    def _gone(self, endpoint: UsrsctpAssociation | UsrsctpListener) -> None:
        endpoint.link.users -= 1
        self._associations -= isinstance(endpoint, UsrsctpAssociation)

    def remove(self, handle: int, *, abort: bool = False) -> None:
        endpoint = self.endpoints.pop(handle, None)
        if endpoint is None:
            return
        lib.shim_close(handle, abort)
        self.flush_soon()
        self._gone(endpoint)
        if not endpoint.link.users:
            self.loop.call_soon(self.drop_unused, endpoint.link)

    def drop_unused(self, link: Link) -> None:
        if not link.users and (link.wire, link.host, link.udp_port) in self.links:
            self.flush(at_once=True)            # nobody would be there to send it later
            del self.links[link.wire, link.host, link.udp_port]
            link.close()
        if not self.links and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def flush_soon(self) -> None:
        """Packets that usrsctp made go out together at the end of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self, *, at_once: bool = False) -> None:
        """Let go what usrsctp has made: at once, or as late as impaired links have it."""
        lib.shim_flush()
        while self.diverted_links:
            length = lib.shim_diverted(
                self._buffer, RECEIVE_BUFFER_OCTETS, self._number, self._peer, PEER_OCTETS, self._host, HOST_OCTETS)
            if not length:
                break
            link = next((link for link in self.links.values() if link.number == self._number[0]), None)
            if length < 0 or link is None:
                continue
            packet, peer = bytes(self._octets[:length]), ffi.buffer(self._peer)[:]
            way = None if at_once else link.way_to(ffi.string(self._host).decode())
            if way is None:
                link.transmit(packet, peer)
            else:
                for delay_s in way.datagram():
                    self.loop.call_later(delay_s, link.transmit, packet, peer)

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(TICK_S if self._associations else IDLE_TICK_S, self._tick)
        self.advance()
        self.pump()

    def advance(self, at_least_s: float = MIN_ADVANCE_S) -> None:
        """Tell usrsctp what time has passed."""
        elapsed_s = time.monotonic() - self._told_time_s
        if elapsed_s >= at_least_s:
            elapsed_ms = int(elapsed_s * 1000)
            self._told_time_s += elapsed_ms / 1000
            lib.shim_timers(elapsed_ms)

    def pump(self) -> None:
        """Hand out all that usrsctp has to report. The nodes' callbacks run later, each on its own."""
        while True:
            filled: int = lib.shim_poll(self._records, MAX_RECORDS, self._buffer, RECEIVE_BUFFER_OCTETS)
            for i in range(filled):
                record = self._records[i]
                endpoint = self.endpoints.get(record.handle)
                if record.kind == lib.SHIM_ACCEPTED:
                    self._accepted(record.handle, record.value[0])
                elif not isinstance(endpoint, UsrsctpAssociation):
                    continue
                elif record.kind == lib.SHIM_MESSAGE:
                    data = bytes(self._octets[record.offset:record.offset + record.length])
                    endpoint.received(data, record.stream, record.ppid, more=bool(record.more))
                else:
                    endpoint.notified(record.kind, record.value[0], record.value[1])
            if not filled:
                break
        self.flush()

    def _accepted(self, handle: int, listener_handle: int) -> None:
        listener = self.endpoints.get(listener_handle)
        if isinstance(listener, UsrsctpListener):
            listener.accepted(handle)
        else:
            lib.shim_close(handle, 1)


class UsrsctpListener:
    """A listening SCTP port on one link."""

    def __init__(
        self, stack: Stack, link: Link, port: int, settings: SctpSettings, tap_point: TapPoint, accept: Callable[[Association], None],
    ) -> None:
        self.link = link
        self.settings = settings
        self.tap_point = tap_point
        self._stack = stack
        self._accept = accept
        link.carry(tap_point)
        self._handle = _checked(lib.shim_listen(link.number, port, _profile(settings)), f"SCTP port {port} at {link.host}")
        self.local = Address(link.host, lib.shim_local_port(self._handle))
        stack.add(self._handle, self)

    def accepted(self, handle: int) -> None:
        self.present(UsrsctpAssociation(self._stack, self.link, handle, self.settings, self.tap_point, listener=self))

    def present(self, association: UsrsctpAssociation) -> None:
        self._stack.loop.call_soon(self._accept, association)

    def close(self) -> None:
        self._stack.remove(self._handle)


class UsrsctpAssociation(EngineAssociation):
    """One association run by usrsctp."""

    def __init__(
        self, stack: Stack, link: Link, handle: int, settings: SctpSettings, tap_point: TapPoint, *,
        listener: UsrsctpListener | None = None, remote: Address | None = None, established: asyncio.Future[None] | None = None,
    ) -> None:
        if remote is None:
            remote = _peer(handle)
        super().__init__(
            stack.loop, tap_point, settings, local=Address(link.local_host(remote.host), lib.shim_local_port(handle)), remote=remote,
        )
        self.link = link
        self._stack = stack
        self._handle = handle
        self._listener = listener
        self._established = established
        stack.add(handle, self)

    def engine_send(self, data: bytes, stream: int, ppid: int) -> bool:
        result: int = lib.shim_send(self._handle, data, len(data), stream, ppid)
        self._stack.flush_soon()
        if result == 0:
            return True
        if -result in (errno.EAGAIN, errno.EWOULDBLOCK):
            return False
        if -result == errno.EMSGSIZE:
            raise ValueError(f"a user message of {len(data)} octets is too long")
        raise ConnectionError(-result, f"association with {self.remote}: {os.strerror(-result)}")

    def engine_shutdown(self) -> None:
        result: int = lib.shim_shutdown(self._handle)
        self._stack.flush_soon()
        if result < 0:
            self.end(f"shut down: {os.strerror(-result)}", abort=True)

    def engine_release(self, *, abort: bool) -> None:
        self._stack.remove(self._handle, abort=abort)

    def status(self) -> dict[str, object]:
        status: dict[str, object] = {
            "state": "CLOSED", "engine": "usrsctp", "wire": self.link.wire.value, "local": str(self.local), "remote": str(self.remote),
            "inbound_streams": self.inbound_streams, "outbound_streams": self.outbound_streams, "queued_messages": self.queued_messages,
        }
        state = ffi.new("shim_state *")
        if not self.has_ended and lib.shim_status(self._handle, state) == 0:
            status |= {
                "state": STATES.get(state.state, str(state.state)), "rtt_ms": state.srtt_ms, "rto_ms": state.rto_ms, "mtu": state.mtu,
                "peer_window_octets": state.peer_window, "congestion_window_octets": state.congestion_window,
                "unacknowledged_chunks": state.unacknowledged, "pending_chunks": state.pending,
            }
        return status

    def notified(self, kind: int, value: int, detail: int) -> None:
        """One of usrsctp's notifications; its numbers for them differ from the kernel's, so the shim gives them its own."""
        if kind == lib.SHIM_UP:
            self.came_up(value, detail)
            if self._established is not None and not self._established.done():
                self._established.set_result(None)
        elif kind == lib.SHIM_WRITABLE:
            self.send_queued()
        elif kind == lib.SHIM_RESTARTED:
            self._restarted(value, detail)
        elif kind == lib.SHIM_PEER_SHUTS_DOWN:
            self.peer_shuts_down()
        elif kind == lib.SHIM_SHUT_DOWN:
            self.shut_down()
        elif kind == lib.SHIM_PART_ABORTED:
            self.forget_parts()
        elif kind in (lib.SHIM_LOST, lib.SHIM_CANNOT_START):
            if self._established is not None and not self._established.done():
                self._established.set_exception(ConnectionRefusedError(errno.ECONNREFUSED, f"SCTP to {self.remote}: {os.strerror(value)}"))
            self.lost(value)

    def _restarted(self, outbound_streams: int, inbound_streams: int) -> None:
        """The peer began anew with the same ports (RFC 9260 clause 5.2): for the node, one association ends and another comes."""
        if self._listener is None or self.has_ended:
            self.end("restarted by the peer", abort=True)
            return
        self._stack.disown(self._handle)
        self.ended("restarted by the peer")
        successor = UsrsctpAssociation(self._stack, self.link, self._handle, self.settings, self._tap_point, listener=self._listener)
        successor.came_up(outbound_streams, inbound_streams)
        self._listener.present(successor)


STATES = {
    0x0000: "CLOSED", 0x1000: "BOUND", 0x2000: "LISTEN", 0x0002: "COOKIE-WAIT", 0x0004: "COOKIE-ECHOED", 0x0008: "ESTABLISHED",
    0x0010: "SHUTDOWN-SENT", 0x0020: "SHUTDOWN-RECEIVED", 0x0040: "SHUTDOWN-ACK-SENT", 0x0080: "SHUTDOWN-PENDING",
}


def listen(settings: SctpSettings, wire: Wire, local: Address, accept: Callable[[Association], None], tap_point: TapPoint) -> UsrsctpListener:
    stack = Stack.running()
    link = stack.link(wire, local.host, settings.udp_port)
    try:
        return UsrsctpListener(stack, link, local.port, settings, tap_point, accept)
    except OSError:
        stack.loop.call_soon(stack.drop_unused, link)
        raise


async def connect(settings: SctpSettings, wire: Wire, remote: Address, local: Address | None, tap_point: TapPoint) -> UsrsctpAssociation:
    """Opens an association; the caller limits the time."""
    stack = Stack.running()
    local_host = local.host if local is not None and local.host not in UNSPECIFIED else source_host(remote.host)
    if local is not None and local.port:
        link = _recognisable_link(stack, settings, wire, local_host)
    else:
        link = stack.link(wire, local_host, EPHEMERAL_UDP_PORT)
    link.carry(tap_point)
    established: asyncio.Future[None] = stack.loop.create_future()
    handle = lib.shim_connect(
        link.number, remote.host.encode(), settings.remote_udp_port, local.port if local is not None else 0, remote.port, _profile(settings),
    )
    if handle < 0:
        stack.loop.call_soon(stack.drop_unused, link)
    association = UsrsctpAssociation(
        stack, link, _checked(handle, f"SCTP to {remote}"), settings, tap_point, remote=remote, established=established,
    )
    stack.flush_soon()
    try:
        await established
    except asyncio.CancelledError:
        association.abort()
        raise
    return association


def _recognisable_link(stack: Stack, settings: SctpSettings, wire: Wire, host: str) -> Link:
    """A client that names its SCTP port wants to be known again after a restart: then its UDP port should be the same too."""
    try:
        return stack.link(wire, host, settings.udp_port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return stack.link(wire, host, EPHEMERAL_UDP_PORT)


def counters() -> dict[str, int]:
    """What the stack counted since the process began; empty before its first use."""
    if Stack._instance is None:
        return {}
    values = ffi.new("shim_counters *")
    lib.shim_count(values)
    return {name: int(getattr(values, name)) for name in COUNTERS}


COUNTERS = ("packets_in", "packets_out", "bad_checksum", "too_short", "not_ours", "send_errors", "paths_refused")


def _peer(handle: int) -> Address:
    host = ffi.new("char[]", 64)
    udp_port, sctp_port = ffi.new("uint16_t *"), ffi.new("uint16_t *")
    _checked(lib.shim_peer(handle, host, 64, udp_port, sctp_port), "SCTP peer")
    return Address(ffi.string(host).decode(), sctp_port[0])


def _profile(settings: SctpSettings) -> Any:
    profile: Profile = settings.profile
    return ffi.new("shim_profile *", {
        "rto_initial_ms": profile.rto_initial_ms, "rto_min_ms": profile.rto_min_ms, "rto_max_ms": profile.rto_max_ms,
        "heartbeat_ms": profile.heartbeat_ms, "sack_delay_ms": profile.sack_delay_ms, "mtu": profile.mtu,
        "association_max_retransmissions": profile.association_max_retransmissions,
        "path_max_retransmissions": profile.path_max_retransmissions, "init_attempts": profile.init_attempts,
        "outbound_streams": settings.outbound_streams, "inbound_streams": settings.inbound_streams,
    })


def _checked(result: int, what: str = "SCTP") -> int:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result
