"""TCP for hosts inside this process (RFC 9293): enough for web and name servers to be reached without namespaces, on a virtual clock too.

Real segments with sequence numbers, retransmission, flow and congestion control (slow start and halving, RFC 5681), so that what a
user plane loses or polices has the effect it has on phones. No urgent data, no window scaling, no selective acknowledgement.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from ipaddress import IPv4Address

from epc.dataplane import ip_packet
from epc.dataplane.channel import Accept
from epc.dataplane.ip_packet import IPv4Packet, TcpFlag, TcpSegment

HEADERS_OCTETS = 40                     # of IPv4 and TCP without options
DEFAULT_MSS_OCTETS = 536                # RFC 9293 clause 3.7.1
WINDOW_OCTETS = 65535
SEND_BUFFER_OCTETS = 1 << 18
INITIAL_WINDOW_SEGMENTS = 10            # RFC 6928
FIRST_RTO_S, LONGEST_RTO_S = 0.5, 8.0
MAX_RETRANSMISSIONS = 7                 # in a row, then the peer is given up
LINGER_S = 2.0                          # a peer that did not get our last ACK is answered for so long
DUPLICATES_FOR_FAST_RETRANSMIT = 3
MAX_EARLY_SEGMENTS = 64

Transmit = Callable[[IPv4Address, IPv4Address, bytes], None]        # from, to, segment
Key = tuple[IPv4Address, int, IPv4Address, int]                     # local address and port, remote address and port


class EndpointTcp:
    """TCP of one host. ``transmit`` sends one segment."""

    def __init__(self, transmit: Transmit, mtu_octets: int) -> None:
        self.mss_octets = mtu_octets - HEADERS_OCTETS
        self.transmit = transmit
        self._connections: dict[Key, EndpointChannel] = {}
        self._listeners: dict[int, EndpointListener] = {}

    def receive(self, packet: IPv4Packet) -> None:
        """Raises :class:`~epc.wire.errors.WireError` for what is no segment."""
        segment = ip_packet.decode_tcp(packet)
        key = packet.destination, segment.destination_port, packet.source, segment.source_port
        connection = self._connections.get(key)
        if connection is not None:
            connection.receive_segment(segment)
            return
        listener = self._listeners.get(segment.destination_port)
        if listener is not None and segment.flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST) == TcpFlag.SYN:
            EndpointChannel(self, key).answer(segment, listener)
        elif not segment.flags & TcpFlag.RST:
            self._refuse(key, segment)

    def _refuse(self, key: Key, segment: TcpSegment) -> None:
        """RST for a segment that no connection takes: RFC 9293 clause 3.5.2."""
        local, port, remote, remote_port = key
        occupied = len(segment.payload) + bool(segment.flags & TcpFlag.SYN) + bool(segment.flags & TcpFlag.FIN)
        if segment.flags & TcpFlag.ACK:
            reset = TcpSegment(source_port=port, destination_port=remote_port, sequence=segment.acknowledgment, flags=TcpFlag.RST)
        else:
            reset = TcpSegment(source_port=port, destination_port=remote_port, sequence=0,
                               acknowledgment=(segment.sequence + occupied) & 0xFFFFFFFF, flags=TcpFlag.RST | TcpFlag.ACK)
        self.transmit(local, remote, ip_packet.encode_tcp(local, remote, reset))

    async def connect(self, key: Key) -> EndpointChannel:
        if key in self._connections:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        connection = EndpointChannel(self, key)
        await connection.establish()
        return connection

    def listen(self, port: int, accept: Accept) -> EndpointListener:
        if port in self._listeners:
            raise OSError(errno.EADDRINUSE, f"TCP port {port} is taken")
        listener = self._listeners[port] = EndpointListener(self, port, accept)
        return listener

    def has_port(self, port: int) -> bool:
        return port in self._listeners or any(key[1] == port for key in self._connections)

    def add(self, key: Key, connection: EndpointChannel) -> None:
        self._connections[key] = connection

    def remove(self, key: Key) -> None:
        self._connections.pop(key, None)

    def remove_listener(self, listener: EndpointListener) -> None:
        if self._listeners.get(listener.port) is listener:
            del self._listeners[listener.port]

    def close(self) -> None:
        for listener in list(self._listeners.values()):
            listener.close()
        for connection in list(self._connections.values()):
            connection.abort()
        self.transmit = _nowhere        # the host and its TCP know each other: a circle, unless one of them lets go


def _nowhere(source: IPv4Address, destination: IPv4Address, segment: bytes) -> None:
    pass


class EndpointListener:
    """A :class:`~epc.dataplane.channel.TcpListener`."""

    def __init__(self, tcp: EndpointTcp, port: int, accept: Accept) -> None:
        self.port = port
        self._tcp = tcp
        self._accept = accept
        self._conversations: set[asyncio.Task[None]] = set()

    def accepted(self, channel: EndpointChannel) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(channel))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, channel: EndpointChannel) -> None:
        try:
            await self._accept(channel)
        except (ConnectionError, asyncio.CancelledError):
            channel.abort()
        finally:
            channel.close()

    def close(self) -> None:
        self._tcp.remove_listener(self)
        for conversation in list(self._conversations):
            conversation.cancel()


class EndpointChannel:
    """One connection. Sequence numbers are kept as distances from the first, so that nothing here wraps."""

    def __init__(self, tcp: EndpointTcp, key: Key) -> None:
        self._tcp = tcp
        self._key = key
        self.local, self.remote = str(key[0]), str(key[2])
        self._loop = asyncio.get_running_loop()
        self._listener: EndpointListener | None = None
        self._established: asyncio.Future[None] | None = None
        self._is_established = False
        self._error: ConnectionError | None = None
        # what we send: octet 0 is the SYN, data begins at 1
        self._first = int.from_bytes(os.urandom(4))
        self._mss_octets = DEFAULT_MSS_OCTETS
        self._unsent_from = 0               # next to send
        self._unacknowledged_from = 0
        self._octets = bytearray()          # from max(1, unacknowledged_from) on
        self._finishing = False             # no more octets will come from the user
        self._fin_at: int | None = None     # where our FIN is, once it has been sent
        self._peer_window = 0
        self._congestion_window = 0
        self._threshold = WINDOW_OCTETS
        self._duplicates = 0
        self._rto_s = FIRST_RTO_S
        self._retransmissions = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        # what the peer sends
        self._peer_first = 0
        self._expected = 0
        self._early: dict[int, bytes] = {}
        self._received = bytearray()
        self._peer_finished = False
        self._arrival: asyncio.Future[None] | None = None
        self._told_window = WINDOW_OCTETS

    # the user's side

    async def establish(self) -> None:
        self._tcp.add(self._key, self)
        self._established = self._loop.create_future()
        self._send(0, TcpFlag.SYN)
        self._unsent_from = 1
        self._arm()
        try:
            await self._established
        except asyncio.CancelledError:
            self._gone()
            raise

    async def receive(self) -> bytes:
        while not self._received:
            if self._peer_finished:
                return b""
            if self._error is not None:
                raise self._error
            self._arrival = self._loop.create_future()
            await self._arrival
        octets = bytes(self._received)
        self._received.clear()
        if self._told_window < self._mss_octets and self._error is None:
            self._acknowledge()
        return octets

    async def send(self, data: bytes) -> None:
        if self._finishing and self._error is None:
            raise ConnectionResetError(errno.EPIPE, os.strerror(errno.EPIPE))
        self._octets += data
        self._push()
        while len(self._octets) > SEND_BUFFER_OCTETS and self._error is None:
            self._room = self._loop.create_future()
            await self._room
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        if not self._finishing and self._error is None:
            self._finishing = True
            self._push()

    def abort(self) -> None:
        if self._error is None and not self._end_is_acknowledged:
            self._send(self._unsent_from, TcpFlag.RST | TcpFlag.ACK)
        self.broke(ConnectionAbortedError(errno.ECONNABORTED, "aborted"))

    # the network's side

    def answer(self, syn: TcpSegment, listener: EndpointListener) -> None:
        self._listener = listener
        self._take_syn(syn)
        self._tcp.add(self._key, self)
        self._send(0, TcpFlag.SYN | TcpFlag.ACK)
        self._unsent_from = 1
        self._arm()

    def receive_segment(self, segment: TcpSegment) -> None:
        flags = segment.flags
        acknowledged = (segment.acknowledgment - self._first) & 0xFFFFFFFF if flags & TcpFlag.ACK else -1
        if flags & TcpFlag.RST:
            if self._established is not None and not self._is_established:
                if acknowledged == 1:
                    self.broke(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
            elif (segment.sequence - self._peer_first) & 0xFFFFFFFF == self._expected:
                self.broke(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            return
        if flags & TcpFlag.SYN:
            if self._expected == 0 and acknowledged == 1:       # SYN ACK
                self._take_syn(segment)
            elif self._listener is not None and not self._is_established:
                self._send(0, TcpFlag.SYN | TcpFlag.ACK)        # our answer got lost
                return
            else:
                self._acknowledge()
                return
        elif self._expected == 0:
            return
        if acknowledged < 0:
            return
        self._take_acknowledgment(segment, acknowledged)
        if self._error is None:
            self._take_octets(segment)
            self._push()

    def broke(self, error: ConnectionError) -> None:
        """The connection is over in an unfriendly way."""
        if self._error is None:
            self._error = error
        if self._established is not None and not self._established.done():
            self._established.set_exception(error)
        self._gone()

    def _take_syn(self, syn: TcpSegment) -> None:
        self._peer_first = syn.sequence
        self._expected = 1
        self._mss_octets = min(self._tcp.mss_octets, syn.mss_octets or DEFAULT_MSS_OCTETS)
        self._congestion_window = INITIAL_WINDOW_SEGMENTS * self._mss_octets
        self._peer_window = syn.window

    def _take_acknowledgment(self, segment: TcpSegment, acknowledged: int) -> None:
        self._peer_window = segment.window
        if acknowledged > self._end:
            self._acknowledge()             # of what was never sent
        elif acknowledged > self._unacknowledged_from:
            self._retransmissions, self._duplicates, self._rto_s = 0, 0, FIRST_RTO_S
            octets = acknowledged - max(1, self._unacknowledged_from)
            self._congestion_window += min(octets, self._mss_octets) if self._congestion_window < self._threshold else (
                self._mss_octets * self._mss_octets // self._congestion_window)
            del self._octets[:max(0, octets)]
            self._unacknowledged_from = acknowledged
            self._unsent_from = max(self._unsent_from, acknowledged)
            self._disarm()
            if not self._is_established:
                self._is_established = True
                if self._established is not None and not self._established.done():
                    self._established.set_result(None)
                if self._listener is not None:
                    self._listener.accepted(self)
                else:
                    self._acknowledge()
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
        elif acknowledged == self._unacknowledged_from < self._unsent_from and not segment.payload and not segment.flags & TcpFlag.FIN:
            self._duplicates += 1
            if self._duplicates == DUPLICATES_FOR_FAST_RETRANSMIT:
                self._threshold = max(2 * self._mss_octets, self._congestion_window // 2)
                self._congestion_window = self._threshold
                self._send_piece(self._unacknowledged_from)

    def _take_octets(self, segment: TcpSegment) -> None:
        start = (segment.sequence - self._peer_first) & 0xFFFFFFFF
        has_end = bool(segment.flags & TcpFlag.FIN)
        if not segment.payload and not has_end:
            return
        if start > self._expected:
            if start - self._expected <= WINDOW_OCTETS and len(self._early) < MAX_EARLY_SEGMENTS and not has_end:
                self._early[start] = segment.payload
        else:
            self._append(start, segment.payload)
            while self._early and min(self._early) <= self._expected:
                early = min(self._early)
                self._append(early, self._early.pop(early))
            if has_end and start + len(segment.payload) == self._expected and not self._peer_finished:
                self._peer_finished = True
                self._expected += 1
            if self._arrival is not None and not self._arrival.done():
                self._arrival.set_result(None)
        self._acknowledge()
        self._linger_when_over()

    def _append(self, start: int, payload: bytes) -> None:
        fresh = payload[self._expected - start:]
        if fresh and not self._peer_finished and len(self._received) + len(fresh) <= WINDOW_OCTETS:
            self._received += fresh
            self._expected += len(fresh)

    # sending

    @property
    def _end(self) -> int:
        """One past the last that was or may be sent: a FIN counts as one."""
        return max(1, self._unacknowledged_from) + len(self._octets) + (1 if self._finishing and not self._end_is_acknowledged else 0)

    @property
    def _end_is_acknowledged(self) -> bool:
        return self._finishing and not self._octets and self._fin_at is not None and self._unacknowledged_from > self._fin_at

    def _push(self) -> None:
        """Send what windows allow."""
        if not self._is_established or self._error is not None:
            return
        limit = self._unacknowledged_from + min(self._peer_window, self._congestion_window)
        while self._unsent_from < self._end and (self._unsent_from < limit or self._unsent_from == self._data_end):
            sent = self._send_piece(self._unsent_from, limit)
            if not sent:
                break
            self._unsent_from += sent
        if self._unacknowledged_from < self._end and self._alarm is None:
            self._arm()
        self._linger_when_over()

    @property
    def _data_end(self) -> int:
        return max(1, self._unacknowledged_from) + len(self._octets) if not self._end_is_acknowledged else self._unacknowledged_from

    def _send_piece(self, start: int, limit: int | None = None) -> int:
        """One segment from there; how far it went, an end included."""
        if start == 0:
            self._send(0, TcpFlag.SYN | (TcpFlag.ACK if self._expected else TcpFlag(0)))
            return 1
        offset = start - max(1, self._unacknowledged_from)
        size = self._mss_octets if limit is None else min(self._mss_octets, max(0, limit - start))
        payload = bytes(self._octets[offset:offset + size])
        flags = TcpFlag.ACK | (TcpFlag.PSH if payload else TcpFlag(0))
        ends = self._finishing and start + len(payload) == self._data_end and not self._end_is_acknowledged
        if ends:
            self._fin_at = self._data_end
            flags |= TcpFlag.FIN
        if not payload and not ends:
            return 0
        self._send(start, flags, payload)
        return len(payload) + ends

    def _acknowledge(self) -> None:
        self._send(self._unsent_from, TcpFlag.ACK)

    def _send(self, start: int, flags: TcpFlag, payload: bytes = b"") -> None:
        local, port, remote, remote_port = self._key
        self._told_window = max(0, WINDOW_OCTETS - len(self._received))
        segment = TcpSegment(
            source_port=port, destination_port=remote_port, sequence=(self._first + start) & 0xFFFFFFFF,
            acknowledgment=(self._peer_first + self._expected) & 0xFFFFFFFF if flags & TcpFlag.ACK else 0, flags=flags, window=self._told_window,
            mss_octets=self._tcp.mss_octets if flags & TcpFlag.SYN else None, payload=payload)
        self._tcp.transmit(local, remote, ip_packet.encode_tcp(local, remote, segment))

    # time

    def _arm(self) -> None:
        self._alarm = self._loop.call_later(self._rto_s, self._expired)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _expired(self) -> None:
        """Nothing was acknowledged for a while: begin again from there, slowly; with a closed window this is the probe."""
        self._alarm = None
        self._retransmissions += 1
        if self._retransmissions > MAX_RETRANSMISSIONS:
            self.broke(ConnectionResetError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            return
        self._rto_s = min(2 * self._rto_s, LONGEST_RTO_S)
        if self._is_established:
            self._threshold = max(2 * self._mss_octets, (self._unsent_from - self._unacknowledged_from) // 2)
            self._congestion_window = self._mss_octets
        sent = self._send_piece(self._unacknowledged_from, None if self._peer_window else self._unacknowledged_from + 1)
        self._unsent_from = self._unacknowledged_from + sent
        self._arm()

    def _linger_when_over(self) -> None:
        """The peer has all that we sent, and our user wants no more from it."""
        if self._end_is_acknowledged and self._alarm is None and self._error is None:
            self._alarm = self._loop.call_later(LINGER_S, self._gone)

    def _gone(self) -> None:
        if self._error is None:
            self._error = ConnectionAbortedError(errno.ECONNABORTED, "closed")
        self._disarm()
        self._tcp.remove(self._key)
        for waiting in (self._arrival, self._room):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
