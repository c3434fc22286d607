"""A network inside one process: delay, loss, duplication and reordering under the test's control, the same on every run.

Time is the event loop's, so that on a virtual clock minutes pass in milliseconds. Chance comes from a seed, one sequence for each
direction of each pair of nodes: traffic elsewhere does not change what a link does.

UDP datagrams get lost, doubled and overtaken. SCTP associations and TCP connections are reliable: a loss costs them a
retransmission's time, and only :meth:`MemoryNetwork.cut` or too many losses in a row end them.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from epc.transport.impairment import Impairments, Link, Way
from epc.transport.interface import Address, Association, ByteStream, Carrier, DatagramPort, Direction, Listener, Tap, TappedPacket
from epc.transport.sctp.association import BaseAssociation
from epc.transport.tapping import UNSPECIFIED, TapPoint
from epc.transport.tcp import BaseByteStream

FIRST_EPHEMERAL_PORT = 49152


@dataclass(slots=True, kw_only=True)
class Rule:
    """A scripted accident: packets for which ``predicate`` holds vanish, or come ``delay_s`` later."""

    predicate: Callable[[TappedPacket], bool]
    delay_s: float | None = None            # None: the packet vanishes
    remaining: int | None = None            # how many packets it still applies to; None: all
    applied: int = 0

    def cancel(self) -> None:
        self.remaining = 0


class MemoryNetwork:
    """The wires, and what goes wrong on them. Nodes are known by the names given to :meth:`transport`."""

    def __init__(
        self, seed: int = 1, link: Link | None = None, *, failure_detection_s: float = 3.0, tcp_segment_octets: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``failure_detection_s`` is how long reliable carriers take to notice a cut; ``tcp_segment_octets`` chops what TCP delivers."""
        self.seed = seed
        self.default_link = link or Link()
        self.failure_detection_s = failure_detection_s
        self.tcp_segment_octets = tcp_segment_octets
        self._clock = clock
        self._links: dict[tuple[str, str], Link] = {}
        self._random: dict[tuple[str, str], random.Random] = {}
        self._rules: list[Rule] = []
        self._cuts: set[frozenset[str]] = set()
        self._isolated: set[str] = set()
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._sequence = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._bound: dict[tuple[Carrier, Address], MemoryPort | MemoryListener] = {}
        self._pairs: dict[Pair, None] = {}
        self._next_port: dict[str, int] = {}
        self._hosts = 0

    def transport(
        self, node: str, tap: Tap | None = None, *, host: str | None = None, impairments: Impairments | None = None,
    ) -> MemoryTransport:
        """``impairments`` go before the links of this network.

        ``host`` is the address used where the node names none; by default each transport gets one of its own.
        """
        if host is None:
            self._hosts += 1
            host = f"10.255.{self._hosts >> 8}.{self._hosts & 255}"
        return MemoryTransport(self, node, tap, host, impairments)

    # What goes wrong

    def set_link(self, a: str, b: str, link: Link, *, both_ways: bool = True) -> None:
        self._links[a, b] = link
        if both_ways:
            self._links[b, a] = link

    def drop_when(self, predicate: Callable[[TappedPacket], bool], *, count: int | None = None) -> Rule:
        """The next ``count`` packets (all, by default) that satisfy the predicate vanish, on whatever carrier.

        On SCTP and TCP what one ``send`` was given vanishes as a whole, as if the receiving application had lost it.
        """
        return self._add_rule(Rule(predicate=predicate, remaining=count))

    def delay_when(self, predicate: Callable[[TappedPacket], bool], delay_s: float, *, count: int | None = None) -> Rule:
        """Packets that satisfy the predicate take ``delay_s`` more; on reliable carriers so does what follows on the stream."""
        return self._add_rule(Rule(predicate=predicate, delay_s=delay_s, remaining=count))

    def cut(self, a: str, b: str | None = None, *, detection_s: float | None = None) -> None:
        """Nothing passes between two nodes (or between ``a`` and all others) until :meth:`heal`.

        After ``detection_s`` without healing, associations and connections over the cut end at both sides.
        """
        if b is None:
            self._isolated.add(a)
        else:
            self._cuts.add(frozenset((a, b)))
        after_s = self.failure_detection_s if detection_s is None else detection_s
        for pair in list(self._pairs):
            if self.is_cut(pair.one.node, pair.other.node):
                pair.start_detection(after_s)

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Undo :meth:`cut` with the same arguments; without arguments, every cut."""
        if a is None:
            self._cuts.clear()
            self._isolated.clear()
        elif b is None:
            self._isolated.discard(a)
        else:
            self._cuts.discard(frozenset((a, b)))
        for pair in list(self._pairs):
            if not self.is_cut(pair.one.node, pair.other.node):
                pair.resume()

    def is_cut(self, a: str, b: str) -> bool:
        return a != b and (a in self._isolated or b in self._isolated or frozenset((a, b)) in self._cuts)

    # The machinery, for the endpoints below

    def now(self) -> float:
        """Time stamp of tapped packets: the wall clock's, or the loop's if the loop keeps a virtual clock."""
        if self._clock is None:
            loop = asyncio.get_running_loop()
            virtual = abs(loop.time() - time.monotonic()) > 1.0
            self._clock = loop.time if virtual else time.time
        return self._clock()

    def schedule(self, when: float, callback: Callable[..., None], *arguments: object) -> None:
        """Run ``callback`` at ``when`` on the loop's clock: first come, first served among equal times, which the loop does not promise."""
        self._sequence += 1
        entry = (when, self._sequence, callback, arguments)
        heapq.heappush(self._agenda, entry)
        if self._agenda[0] is entry:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        due = max(loop.time(), self._agenda[0][0])          # the loop rings up to one clock tick early
        while self._agenda and self._agenda[0][0] <= due:
            _, _, callback, arguments = heapq.heappop(self._agenda)
            loop.call_soon(callback, *arguments)
        self._alarm = loop.call_at(self._agenda[0][0], self._ring) if self._agenda else None

    def _add_rule(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def link(self, a: str, b: str) -> Link:
        return self._links.get((a, b), self.default_link)

    def chance(self, a: str, b: str) -> random.Random:
        chance = self._random.get((a, b))
        if chance is None:
            chance = self._random[a, b] = random.Random(f"{self.seed}/{a}/{b}")
        return chance

    @property
    def has_rules(self) -> bool:
        return bool(self._rules)

    def accident(self, packet: TappedPacket) -> float | None:
        """What the rules do to a packet: additional delay in seconds, None when it vanishes."""
        extra_s = 0.0
        for rule in list(self._rules):
            if rule.remaining == 0:
                self._rules.remove(rule)
            elif rule.predicate(packet):
                rule.applied += 1
                if rule.remaining is not None:
                    rule.remaining -= 1
                if rule.delay_s is None:
                    return None
                extra_s += rule.delay_s
        return extra_s

    def way(self, sender: MemoryTransport, b: str, interface: str, host: str) -> Way:
        """How packets get from a node to node ``b`` at ``host``: as the sender's impairments have it, else as the link between the two."""
        if sender.impairments.rules:
            way = sender.impairments.way_to(interface, host)
            if way is not None:
                return way
        return Way(self.link(sender.node, b), self.chance(sender.node, b))

    def carry_datagram(self, port: MemoryPort, data: bytes, to: Address, extra_s: float) -> None:
        loop_now = asyncio.get_running_loop().time()
        target = self._bound.get((Carrier.UDP, to))
        if not isinstance(target, MemoryPort):
            return
        a, b = port.node, target.node
        if self.is_cut(a, b):
            return
        for delay_s in self.way(port.transport, b, port.interface, to.host).datagram():
            self.schedule(loop_now + delay_s + extra_s, self._arrive_datagram, a, port.local, to, data)

    def _arrive_datagram(self, sender: str, source: Address, to: Address, data: bytes) -> None:
        port = self._bound.get((Carrier.UDP, to))
        if isinstance(port, MemoryPort) and not self.is_cut(sender, port.node):
            port.arrive(data, source)

    def bind(self, carrier: Carrier, wanted: Address, default_host: str, endpoint: MemoryPort | MemoryListener) -> Address:
        local = self.local_address(wanted, default_host)
        if (carrier, local) in self._bound:
            raise OSError(errno.EADDRINUSE, f"{carrier.value} {local}: {os.strerror(errno.EADDRINUSE)}")
        self._bound[carrier, local] = endpoint
        return local

    def local_address(self, wanted: Address | None, default_host: str) -> Address:
        host = default_host if wanted is None or wanted.host in UNSPECIFIED else wanted.host
        port = wanted.port if wanted is not None else 0
        if port == 0:
            port = self._next_port.get(host, FIRST_EPHEMERAL_PORT)
            self._next_port[host] = port + 1
        return Address(host, port)

    def unbind(self, carrier: Carrier, local: Address, endpoint: MemoryPort | MemoryListener) -> None:
        if self._bound.get((carrier, local)) is endpoint:
            del self._bound[carrier, local]

    def listener(self, carrier: Carrier, address: Address) -> MemoryListener | None:
        found = self._bound.get((carrier, address))
        return found if isinstance(found, MemoryListener) else None

    def add_pair(self, pair: Pair) -> None:
        self._pairs[pair] = None
        if self.is_cut(pair.one.node, pair.other.node):
            pair.start_detection(self.failure_detection_s)

    def discard_pair(self, pair: Pair) -> None:
        self._pairs.pop(pair, None)


class MemoryTransport:
    """One node's access to a :class:`MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, node: str, tap: Tap | None, host: str, impairments: Impairments | None = None) -> None:
        self.network = network
        self.node = node
        self.impairments = impairments or Impairments(node)
        self.tap = tap
        self.host = host
        self._opened: dict[MemoryPort | MemoryListener | End, None] = {}

    def now(self) -> float:
        return self.network.now()

    async def open_udp(self, local: Address, receive: Callable[[bytes, Address], None], *, interface: str) -> DatagramPort:
        return MemoryPort(self, local, receive, interface)

    async def listen_sctp(self, local: Address, accept: Callable[[Association], None], *, interface: str) -> Listener:
        return MemoryListener(self, Carrier.SCTP, local, lambda end: accept(_association(end)), interface)

    async def connect_sctp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> Association:
        return _association(await self._connect(Carrier.SCTP, remote, local, interface, timeout_s))

    async def listen_tcp(self, local: Address, accept: Callable[[ByteStream], None], *, interface: str) -> Listener:
        return MemoryListener(self, Carrier.TCP, local, lambda end: accept(_byte_stream(end)), interface)

    async def connect_tcp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> ByteStream:
        return _byte_stream(await self._connect(Carrier.TCP, remote, local, interface, timeout_s))

    async def close(self) -> None:
        for endpoint in list(self._opened):
            endpoint.close()
        self._opened.clear()

    def opened(self, endpoint: MemoryPort | MemoryListener | End) -> None:
        self._opened[endpoint] = None

    def forget(self, endpoint: MemoryPort | MemoryListener | End) -> None:
        self._opened.pop(endpoint, None)

    async def _connect(self, carrier: Carrier, remote: Address, local: Address | None, interface: str, timeout_s: float) -> End:
        network, loop = self.network, asyncio.get_running_loop()
        mine = network.local_address(local, self.host)
        async with asyncio.timeout(timeout_s):
            listener = network.listener(carrier, remote)
            if listener is None:
                for _ in range(2):
                    await self._leg(network.way(self, "", interface, remote.host), self.node, "")
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"{carrier.value} {remote}: {os.strerror(errno.ECONNREFUSED)}")
            # SCTP: INIT, INIT ACK, COOKIE ECHO and its ACK; TCP: SYN, SYN ACK, ACK, after which the first octets travel.
            peer = listener.transport
            forth, back = network.way(self, peer.node, interface, remote.host), network.way(peer, self.node, listener.interface, mine.host)
            for way, a, b in ((forth, self.node, peer.node), (back, peer.node, self.node), (forth, self.node, peer.node)):
                await self._leg(way, a, b)
            if network.listener(carrier, remote) is not listener:
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"{carrier.value} {remote}: {os.strerror(errno.ECONNREFUSED)}")
            pair = Pair(network, carrier, (self, mine, interface), (listener.transport, remote, listener.interface))
            established = loop.create_future()
            network.schedule(loop.time(), listener.accept, pair.other)
            network.schedule(loop.time() + back.travel_s(), _settle, established)
            try:
                await established
            except asyncio.CancelledError:
                pair.one.abort()
                raise
        return pair.one

    async def _leg(self, way: Way, a: str, b: str) -> None:
        """One message of a handshake; across a cut it never arrives."""
        loop, network = asyncio.get_running_loop(), self.network
        delay_s = way.reliable()
        arrived = loop.create_future()
        if delay_s is not None and not network.is_cut(a, b):
            network.schedule(loop.time() + delay_s, _settle, arrived)
        await arrived


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _association(end: End) -> MemoryAssociation:
    assert isinstance(end, MemoryAssociation)
    return end


def _byte_stream(end: End) -> MemoryByteStream:
    assert isinstance(end, MemoryByteStream)
    return end


class MemoryPort:
    """A UDP port."""

    def __init__(self, transport: MemoryTransport, local: Address, receive: Callable[[bytes, Address], None], interface: str) -> None:
        self.transport = transport
        self.node = transport.node
        self.interface = interface
        self._receive = receive
        self._tap_point = TapPoint(transport, Carrier.UDP, interface)
        self.local = transport.network.bind(Carrier.UDP, local, transport.host, self)
        self._open = True
        transport.opened(self)

    def send(self, data: bytes, to: Address) -> None:
        if not self._open:
            return
        network = self.transport.network
        extra_s: float | None = 0.0
        if self.transport.tap is not None or network.has_rules:
            packet = self._tap_point.describe(Direction.SENT, self.local, to, data)
            if self.transport.tap is not None:
                self.transport.tap.packet(packet)
            extra_s = network.accident(packet)
        if extra_s is not None:
            network.carry_datagram(self, data, to, extra_s)

    def arrive(self, data: bytes, source: Address) -> None:
        if self.transport.tap is not None:
            self._tap_point.received(source, self.local, data)
        self._receive(data, source)

    def close(self) -> None:
        self._open = False
        self.transport.network.unbind(Carrier.UDP, self.local, self)
        self.transport.forget(self)


class MemoryListener:
    """A listening SCTP or TCP port."""

    def __init__(self, transport: MemoryTransport, carrier: Carrier, local: Address, accept: Callable[[End], None], interface: str) -> None:
        self.transport = transport
        self.node = transport.node
        self.carrier = carrier
        self.interface = interface
        self.accept = accept
        self.local = transport.network.bind(carrier, local, transport.host, self)
        transport.opened(self)

    def close(self) -> None:
        self.transport.network.unbind(self.carrier, self.local, self)
        self.transport.forget(self)


class Pair:
    """An association or connection as the network sees it: two ends and what is under way between them."""

    def __init__(
        self, network: MemoryNetwork, carrier: Carrier, one: tuple[MemoryTransport, Address, str], other: tuple[MemoryTransport, Address, str],
    ) -> None:
        self.network = network
        kind = MemoryAssociation if carrier is Carrier.SCTP else MemoryByteStream
        self.one: End = kind(self, *one, remote=other[1])
        self.other: End = kind(self, *other, remote=one[1])
        self.forth = Pipe(self, self.one, self.other)
        self.back = Pipe(self, self.other, self.one)
        self._detections = 0
        network.add_pair(self)

    def pipe_from(self, end: End) -> Pipe:
        return self.forth if end is self.one else self.back

    def start_detection(self, after_s: float) -> None:
        self._detections += 1
        self.network.schedule(asyncio.get_running_loop().time() + after_s, self._detected, self._detections)

    def resume(self) -> None:
        self._detections += 1
        self.forth.resume()
        self.back.resume()

    def _detected(self, detection: int) -> None:
        if detection == self._detections:
            self.give_up()

    def give_up(self) -> None:
        """Both ends find the path dead."""
        for end in (self.one, self.other):
            end.lost(f"no answer from {end.remote}")

    def finished(self) -> None:
        if self.one.has_ended and self.other.has_ended:
            self.network.discard_pair(self)


CONTROL = -1
"""The pseudo stream on which the graceful end travels, behind everything else."""


class Pipe:
    """One direction of a reliable carrier: in order within a stream, held back while the path is cut."""

    def __init__(self, pair: Pair, sender: End, receiver: End) -> None:
        self._pair = pair
        self._sender = sender
        self._receiver = receiver
        self._queues: dict[int, deque[tuple[bytes, int, int]]] = {}
        self._free_at: dict[int, float] = {}        # when the last thing queued on a stream arrives
        self._held: dict[int, int] = {}             # arrivals that a cut keeps back

    def put(self, data: bytes, stream: int, ppid: int, extra_s: float = 0.0) -> None:
        self._queues.setdefault(stream, deque()).append((data, stream, ppid))
        self._start(stream, extra_s)

    @property
    def _way(self) -> Way:
        sender = self._sender
        return self._pair.network.way(sender.transport, self._receiver.node, sender.interface, sender.remote.host)

    @property
    def queued(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def resume(self) -> None:
        held, self._held = self._held, {}
        for stream in sorted(held, key=lambda stream: (stream == CONTROL, stream)):
            for _ in range(held[stream]):
                self._start(stream, 0.0)

    def abort(self) -> None:
        """Say the end at once; what is under way is forgotten."""
        self._queues.clear()
        network = self._pair.network
        network.schedule(asyncio.get_running_loop().time() + self._way.travel_s(), self._aborted)

    def _start(self, stream: int, extra_s: float) -> None:
        network = self._pair.network
        way = self._way
        delay_s = way.reliable()
        if delay_s is None:
            link = way.link
            given_up_after_s = (link.max_retransmissions + 1) * link.retransmission_s
            network.schedule(asyncio.get_running_loop().time() + given_up_after_s, self._pair.give_up)
            return
        when = asyncio.get_running_loop().time() + delay_s + extra_s
        behind = max(self._free_at.values(), default=0.0) if stream == CONTROL else self._free_at.get(stream, 0.0)
        when = self._free_at[stream] = max(when, behind)
        network.schedule(when, self._arrive, stream)

    def _arrive(self, stream: int) -> None:
        queue = self._queues.get(stream)
        if not queue:
            return
        if self._pair.network.is_cut(self._sender.node, self._receiver.node):
            self._held[stream] = self._held.get(stream, 0) + 1
            return
        data, _, ppid = queue.popleft()
        if stream == CONTROL:
            self._receiver.peer_shuts_down()
        else:
            self._receiver.arrive(data, stream, ppid)

    def _aborted(self) -> None:
        if not self._pair.network.is_cut(self._sender.node, self._receiver.node):
            self._receiver.lost("aborted by the peer")


class MemoryAssociation(BaseAssociation):
    """One end of an SCTP association."""

    STREAMS = 16

    def __init__(self, pair: Pair, transport: MemoryTransport, local: Address, interface: str, *, remote: Address) -> None:
        super().__init__(
            asyncio.get_running_loop(), TapPoint(transport, Carrier.SCTP, interface), local=local, remote=remote, outbound_streams=self.STREAMS,
        )
        self.transport = transport
        self.node = transport.node
        self.interface = interface
        self._pair = pair
        transport.opened(self)

    def send(self, data: bytes, *, stream: int, ppid: int) -> None:
        self.check_sendable(stream)
        extra_s: float | None = 0.0
        network = self._pair.network
        if self.transport.tap is not None or network.has_rules:
            packet = self._tap_point.describe(Direction.SENT, self.local, self.remote, data, stream, ppid)
            if self.transport.tap is not None:
                self.transport.tap.packet(packet)
            extra_s = network.accident(packet)
        if extra_s is not None:
            self._pair.pipe_from(self).put(data, stream, ppid, extra_s)

    def shutdown(self) -> None:
        if self._open:
            self._open = False
            self._pair.pipe_from(self).put(b"", CONTROL, 0)

    def abort(self) -> None:
        if not self.has_ended:
            self._pair.pipe_from(self).abort()
            self.lost("aborted")

    def close(self) -> None:
        self.shutdown()

    def status(self) -> dict[str, object]:
        return {
            "state": "ESTABLISHED" if self._open else "CLOSED" if self.has_ended else "SHUTDOWN-PENDING",
            "engine": "memory", "local": str(self.local), "remote": str(self.remote), "inbound_streams": self.STREAMS,
            "outbound_streams": self.outbound_streams, "queued_messages": self._pair.pipe_from(self).queued,
        }

    def arrive(self, data: bytes, stream: int, ppid: int) -> None:
        if not self.has_ended:
            self.deliver(data, stream, ppid)

    def peer_shuts_down(self) -> None:
        if self.has_ended:
            return
        if self._open:
            self._pair.pipe_from(self).put(b"", CONTROL, 0)
            self.lost("shut down by the peer")
        else:
            self.lost("shut down")

    def lost(self, reason: str) -> None:
        """The association is over for this end."""
        if not self.has_ended:
            self.ended(reason)
            self.transport.forget(self)
            self._pair.finished()


class MemoryByteStream(BaseByteStream):
    """One end of a TCP connection."""

    def __init__(self, pair: Pair, transport: MemoryTransport, local: Address, interface: str, *, remote: Address) -> None:
        super().__init__(asyncio.get_running_loop(), TapPoint(transport, Carrier.TCP, interface), local=local, remote=remote)
        self.transport = transport
        self.node = transport.node
        self.interface = interface
        self._pair = pair
        transport.opened(self)

    def send(self, data: bytes) -> None:
        self.check_sendable()
        extra_s: float | None = 0.0
        network = self._pair.network
        if self.transport.tap is not None or network.has_rules:
            packet = self._tap_point.describe(Direction.SENT, self.local, self.remote, data)
            if self.transport.tap is not None:
                self.transport.tap.packet(packet)
            extra_s = network.accident(packet)
        if extra_s is None:
            return
        pipe = self._pair.pipe_from(self)
        size = network.tcp_segment_octets or len(data) or 1
        for start in range(0, len(data), size):
            pipe.put(data[start:start + size], 0, 0, extra_s)

    def close(self) -> None:
        if not self.has_ended:
            self._pair.pipe_from(self).put(b"", CONTROL, 0)
            self.lost("closed")

    def abort(self) -> None:
        """RST: what is under way is forgotten."""
        if not self.has_ended:
            self._pair.pipe_from(self).abort()
            self.lost("aborted")

    def arrive(self, data: bytes, stream: int, ppid: int) -> None:
        if not self.has_ended:
            self.deliver(data)

    def peer_shuts_down(self) -> None:
        self.lost("closed by the peer")

    def lost(self, reason: str) -> None:
        """The connection is over for this end."""
        if not self.has_ended:
            self.ended(reason)
            self.transport.forget(self)
            self._pair.finished()


End = MemoryAssociation | MemoryByteStream
