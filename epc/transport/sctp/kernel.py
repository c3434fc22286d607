"""SCTP of the Linux kernel, with the standard library only: one-to-one sockets, ancillary data and notifications packed by hand.

The structures are those of <linux/sctp.h>; RFC 6458 says what they mean.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from epc.transport.interface import Address, Association
from epc.transport.sctp.association import EngineAssociation
from epc.transport.sctp.settings import SctpSettings
from epc.transport.tapping import UNSPECIFIED, TapPoint, source_host

SOL_SCTP = 132
SCTP_RTOINFO, SCTP_ASSOCINFO, SCTP_INITMSG, SCTP_NODELAY = 0, 1, 2, 3
SCTP_PEER_ADDR_PARAMS, SCTP_STATUS, SCTP_DELAYED_SACK, SCTP_RECVRCVINFO, SCTP_EVENT = 9, 14, 16, 32, 127
SCTP_SNDINFO, SCTP_RCVINFO = 2, 3                           # ancillary data
SPP_HB_ENABLE = 1
MSG_NOTIFICATION = 0x8000

SNDINFO = struct.Struct("=HHIIi")                           # stream, flags, PPID, context, association
RCVINFO = struct.Struct("=HHHxxIIIIi")                      # stream, SSN, flags, PPID, TSN, cumulative TSN, context, association
INITMSG = struct.Struct("=HHHH")                            # outbound, inbound streams, attempts, timeout in ms
RTOINFO = struct.Struct("=iIII")                            # association, initial, max, min
ASSOCPARAMS = struct.Struct("=iHHIII")                      # association, max retransmissions, destinations, windows, cookie life
PADDRPARAMS = struct.Struct("=i128sIHIIIIBx")               # association, address, heartbeat, retransmissions, MTU, SACK delay, flags, label, DSCP
SACK_INFO = struct.Struct("=iII")                           # association, delay, frequency
EVENT = struct.Struct("=iHBx")                              # association, type, on
STATUS = struct.Struct("=iiIHHHHIi128siIIII")               # association, state, window, unacknowledged, pending, streams in, out, ..., the path's
NOTIFICATION = struct.Struct("=HHI")                        # type, flags, length
ASSOC_CHANGE = struct.Struct("=HHHHi")                      # state, error, outbound streams, inbound streams, association

SCTP_ASSOC_CHANGE, SCTP_PEER_ADDR_CHANGE, SCTP_SHUTDOWN_EVENT, SCTP_PARTIAL_DELIVERY_EVENT = 0x8001, 0x8002, 0x8005, 0x8006
COMM_UP, COMM_LOST, RESTART, SHUTDOWN_COMP, CANT_STR_ASSOC = range(5)

STATES = {
    0: "EMPTY", 1: "CLOSED", 2: "COOKIE-WAIT", 3: "COOKIE-ECHOED", 4: "ESTABLISHED", 5: "SHUTDOWN-PENDING", 6: "SHUTDOWN-SENT",
    7: "SHUTDOWN-RECEIVED", 8: "SHUTDOWN-ACK-SENT",
}
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
MAX_MESSAGES_A_WAKE_UP = 64
RECEIVE_OCTETS = 1 << 16
SOCKET_BUFFER_OCTETS = 4 << 20


class ReceiveInfo(NamedTuple):
    stream: int
    ppid: int


def pack_send_info(stream: int, ppid: int) -> list[tuple[int, int, bytes]]:
    """Ancillary data of a message to send. The kernel carries the PPID as it is given: network order."""
    return [(SOL_SCTP, SCTP_SNDINFO, SNDINFO.pack(stream, 0, socket.htonl(ppid), 0, 0))]


def unpack_receive_info(ancillary: Iterable[tuple[int, int, bytes]]) -> ReceiveInfo:
    for level, kind, data in ancillary:
        if level == SOL_SCTP and kind == SCTP_RCVINFO and len(data) >= RCVINFO.size:
            stream, _, _, ppid, *_ = RCVINFO.unpack_from(data)
            return ReceiveInfo(stream, socket.ntohl(ppid))
    return ReceiveInfo(0, 0)


def available() -> str:
    """Empty when this host's kernel does SCTP, else why not."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return f"the kernel has no SCTP ({os.strerror(error.errno or 0)}): modprobe sctp"
    return ""


def open_socket(host: str, settings: SctpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    try:
        configure(opened, settings)
    except OSError:
        opened.close()
        raise
    return opened


def configure(opened: socket.socket, settings: SctpSettings) -> None:
    """Set the profile, and ask for stream and PPID with each message and for the notifications that matter."""
    profile = settings.profile
    for option, value in (
        (SCTP_INITMSG, INITMSG.pack(settings.outbound_streams, settings.inbound_streams, profile.init_attempts, profile.rto_max_ms)),
        (SCTP_RTOINFO, RTOINFO.pack(0, profile.rto_initial_ms, profile.rto_max_ms, profile.rto_min_ms)),
        (SCTP_ASSOCINFO, ASSOCPARAMS.pack(0, profile.association_max_retransmissions, 0, 0, 0, 0)),
        (SCTP_PEER_ADDR_PARAMS, PADDRPARAMS.pack(0, b"", profile.heartbeat_ms, profile.path_max_retransmissions, 0, 0, SPP_HB_ENABLE, 0, 0)),
        (SCTP_DELAYED_SACK, SACK_INFO.pack(0, profile.sack_delay_ms, 2)),
    ):
        opened.setsockopt(SOL_SCTP, option, value)
    prepare(opened)


def prepare(opened: socket.socket) -> None:
    """What an accepted socket does not inherit for certain."""
    opened.setsockopt(SOL_SCTP, SCTP_NODELAY, 1)
    opened.setsockopt(SOL_SCTP, SCTP_RECVRCVINFO, 1)
    for kind in (SCTP_ASSOC_CHANGE, SCTP_SHUTDOWN_EVENT, SCTP_PARTIAL_DELIVERY_EVENT):
        opened.setsockopt(SOL_SCTP, SCTP_EVENT, EVENT.pack(0, kind, 1))
    for forced, ordinary in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
        try:
            opened.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER_OCTETS)
        except PermissionError:         # without CAP_NET_ADMIN net.core.[rw]mem_max is the limit, also of a user message's length
            opened.setsockopt(socket.SOL_SOCKET, ordinary, SOCKET_BUFFER_OCTETS)
    opened.setblocking(False)


class KernelListener:
    """A listening SCTP port of the kernel."""

    def __init__(self, settings: SctpSettings, local: Address, accept: Callable[[Association], None], tap_point: TapPoint) -> None:
        self._settings = settings
        self._accept = accept
        self._tap_point = tap_point
        self._loop = asyncio.get_running_loop()
        self._socket = open_socket(local.host, settings)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((local.host, local.port))
            self._socket.listen(1024)
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"SCTP {local}: {os.strerror(error.errno or 0)}") from error
        self.local = Address(*self._socket.getsockname()[:2])
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(MAX_MESSAGES_A_WAKE_UP):
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return                  # none waits
            try:
                prepare(accepted)
                association = KernelAssociation(accepted, self._settings, self._tap_point, listener=self)
            except OSError:
                accepted.close()        # the peer has gone already
            else:
                self.present(association)

    def present(self, association: KernelAssociation) -> None:
        self._loop.call_soon(self._accept, association)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


class KernelAssociation(EngineAssociation):
    """One association run by the kernel."""

    def __init__(
        self, opened: socket.socket, settings: SctpSettings, tap_point: TapPoint, *, listener: KernelListener | None = None,
    ) -> None:
        local, remote = Address(*opened.getsockname()[:2]), Address(*opened.getpeername()[:2])
        if local.host in UNSPECIFIED:
            local = Address(source_host(remote.host), local.port)
        super().__init__(asyncio.get_running_loop(), tap_point, settings, local=local, remote=remote)
        self._socket = opened
        self._listener = listener
        self._awaits_room = False
        status = STATUS.unpack(opened.getsockopt(SOL_SCTP, SCTP_STATUS, STATUS.size))
        self.came_up(outbound_streams=status[6], inbound_streams=status[5])
        self._loop.add_reader(opened.fileno(), self._readable)

    def engine_send(self, data: bytes, stream: int, ppid: int) -> bool:
        try:
            self._socket.sendmsg([data], pack_send_info(stream, ppid))
        except BlockingIOError:
            if not self._awaits_room:
                self._awaits_room = True
                self._loop.add_writer(self._socket.fileno(), self._writable)
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise ValueError(f"a user message of {len(data)} octets is too long") from error
            raise ConnectionError(error.errno, f"association with {self.remote}: {os.strerror(error.errno or 0)}") from error
        return True

    def engine_shutdown(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.end(f"shut down: {os.strerror(error.errno or 0)}", abort=True)

    def engine_release(self, *, abort: bool) -> None:
        self._let_go()
        if abort:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _let_go(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        if self._awaits_room:
            self._loop.remove_writer(self._socket.fileno())

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._awaits_room = False
        self.send_queued()

    def _readable(self) -> None:
        for _ in range(MAX_MESSAGES_A_WAKE_UP):
            if self.has_ended:
                return
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(RECEIVE_OCTETS, 256)
            except BlockingIOError:
                return
            except OSError as error:
                self.lost(error.errno or 0)
                return
            if flags & MSG_NOTIFICATION:
                self.notified(data)
            elif data:
                info = unpack_receive_info(ancillary)
                self.received(data, info.stream, info.ppid, more=not flags & socket.MSG_EOR)
            else:
                self.shut_down()
                return

    def notified(self, data: bytes) -> None:
        """One of the kernel's notifications; its numbers for them differ from usrsctp's."""
        if len(data) < NOTIFICATION.size:
            return
        kind, _, _ = NOTIFICATION.unpack_from(data)
        if kind == SCTP_ASSOC_CHANGE and len(data) >= NOTIFICATION.size + ASSOC_CHANGE.size:
            state, _, outbound_streams, inbound_streams, _ = ASSOC_CHANGE.unpack_from(data, NOTIFICATION.size)
            if state == COMM_UP:
                self.came_up(outbound_streams, inbound_streams)
            elif state == RESTART:
                self._restarted(outbound_streams, inbound_streams)
            elif state == SHUTDOWN_COMP:
                self.shut_down()
            elif state in (COMM_LOST, CANT_STR_ASSOC):
                self.lost(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        elif kind == SCTP_SHUTDOWN_EVENT:
            self.peer_shuts_down()
        elif kind == SCTP_PARTIAL_DELIVERY_EVENT:
            self.forget_parts()

    def _restarted(self, outbound_streams: int, inbound_streams: int) -> None:
        """The peer began anew with the same ports (RFC 9260 clause 5.2): for the node, one association ends and another comes."""
        if self._listener is None:
            self.end("restarted by the peer", abort=True)
            return
        self._let_go()
        self.ended("restarted by the peer")
        successor = KernelAssociation(self._socket, self.settings, self._tap_point, listener=self._listener)
        successor.came_up(outbound_streams, inbound_streams)
        self._listener.present(successor)

    def status(self) -> dict[str, object]:
        status: dict[str, object] = {
            "state": "CLOSED", "engine": "kernel", "wire": "ip", "local": str(self.local), "remote": str(self.remote),
            "inbound_streams": self.inbound_streams, "outbound_streams": self.outbound_streams, "queued_messages": self.queued_messages,
        }
        if not self.has_ended:
            status |= unpack_status(self._socket.getsockopt(SOL_SCTP, SCTP_STATUS, STATUS.size))
        return status


def unpack_status(data: bytes) -> dict[str, object]:
    _, state, window, unacknowledged, pending, _, _, _, _, _, _, congestion_window, srtt, rto, mtu = STATUS.unpack_from(data)
    return {
        "state": STATES.get(state, str(state)), "rtt_ms": srtt, "rto_ms": rto, "mtu": mtu, "peer_window_octets": window,
        "congestion_window_octets": congestion_window, "unacknowledged_chunks": unacknowledged, "pending_chunks": pending,
    }


async def connect(settings: SctpSettings, remote: Address, local: Address | None, tap_point: TapPoint) -> KernelAssociation:
    """Opens an association; the caller limits the time."""
    opened = open_socket(remote.host, settings)
    try:
        if local is not None:
            opened.bind((local.host, local.port))
        await asyncio.get_running_loop().sock_connect(opened, (remote.host, remote.port))
        return KernelAssociation(opened, settings, tap_point)
    except (OSError, asyncio.CancelledError):
        opened.close()
        raise
