"""Which application a packet belongs to (TS 23.203 clause 6.1.14, TS 29.244 clause 5.4.11): by what its flow looks like, and by names.

A :class:`Catalogue` is one forwarder's, a :class:`Recognizer` one session's; sessions whose rules name no application have none. A recogniser
sees every packet of its session. It reads the beginning of each TCP and QUIC connection, and every DNS message over UDP; what it remembers is
bounded in number and in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from epc.dataplane.flow import TCP, UDP, CompiledFilter, Flow, compile_filter, transport_of
from epc.dataplane.rules import Application
from epc.dataplane.shown_names import MAX_HEAD_OCTETS, dns_message, stream_name

if TYPE_CHECKING:
    from epc.dataplane.quic import ClientHello

MAX_FLOWS = 1024                # of one session; the one that was silent for longest makes room
MAX_ADDRESSES = 1024            # learned from DNS, of one session
MAX_QUERIES = 64                # that wait for their answer
TCP_IDLE_S, OTHER_IDLE_S, CLOSED_IDLE_S, DNS_IDLE_S = 300.0, 60.0, 5.0, 5.0
QUERY_S = 10.0
MIN_TTL_S, MAX_TTL_S = 10, 3600     # of learned addresses: who has asked still has to connect; and nothing is believed for ever
DNS_PORT = 53
_FIN, _SYN, _RST = 1, 2, 4
_MAX_WAITING_SEGMENTS = 8
_NONE: frozenset[str] = frozenset()


class Catalogue:
    """The applications that were provisioned."""

    def __init__(self) -> None:
        self.applications: dict[str, Application] = {}
        self._by_name: dict[str, frozenset[str]] = {}

    def replace(self, applications: Iterable[Application]) -> None:
        """These, and no others."""
        self.applications = {application.id: application for application in applications}
        by_name: dict[str, frozenset[str]] = {}
        for application in self.applications.values():
            for name in application.domain_names:
                by_name[name] = by_name.get(name, _NONE) | {application.id}
        self._by_name = by_name

    def with_name(self, name: str) -> frozenset[str]:
        """All that have the name, or one that it ends with."""
        found, rest = _NONE, name
        while rest:
            found |= self._by_name.get(rest, _NONE)
            rest = rest.partition(".")[2]
        return found


class _Stream:
    """The beginning of what a TCP client sends, in order."""

    __slots__ = ("next_sequence", "octets", "waiting")

    def __init__(self, next_sequence: int) -> None:
        self.next_sequence = next_sequence
        self.octets = b""
        self.waiting: dict[int, bytes] = {}         # segments that came too early

    def put(self, sequence: int, data: bytes) -> None:
        if len(self.waiting) < _MAX_WAITING_SEGMENTS:
            self.waiting[sequence] = data
        moved = True
        while moved:
            moved = False
            for first in list(self.waiting):
                known = (self.next_sequence - first) & 0xFFFFFFFF       # octets of it that we have
                if known <= 0x7FFFFFFF:
                    fresh = self.waiting.pop(first)[known:]
                    self.octets += fresh
                    self.next_sequence = (self.next_sequence + len(fresh)) & 0xFFFFFFFF
                    moved = moved or bool(fresh)


class _FlowState:
    __slots__ = ("applications", "by_address", "by_flow", "hello", "idle_s", "last_s", "moved_s", "name", "stream", "wants_more")

    def __init__(self, now_s: float, idle_s: float) -> None:
        self.applications = _NONE
        self.by_flow = _NONE
        self.by_address = _NONE
        self.name = ""
        self.stream: _Stream | None = None
        self.hello: ClientHello | None = None
        self.wants_more = True          # its name may yet be shown
        self.idle_s = idle_s            # gone when silent for so long
        self.last_s = self.moved_s = now_s


class Recognizer:
    """``changed`` is told each application of those wanted whose first flow is there (True), or whose last one has gone (False)."""

    def __init__(self, catalogue: Catalogue, loop: asyncio.AbstractEventLoop, changed: Callable[[str, bool], None]) -> None:
        self._catalogue = catalogue
        self._loop = loop
        self._now = loop.time
        self._changed = changed
        self._wanted = _NONE
        self._filters: tuple[tuple[str, tuple[CompiledFilter, ...]], ...] = ()
        self._flows: dict[Flow, _FlowState] = {}        # those that were silent for longest come first, to a second
        self._addresses: dict[bytes, tuple[frozenset[str], float]] = {}     # learned, and until when
        self._queries: dict[tuple[Flow, int], float] = {}
        self._active: dict[str, int] = {}               # flows by application
        self._sweep: asyncio.TimerHandle | None = None

    def want(self, applications: frozenset[str]) -> None:
        """The applications that the session's rules name now; also to be called when the catalogue was changed."""
        self._wanted = applications
        self._filters = tuple(
            (application.id, tuple([compile_filter(sdf) for sdf in application.flows]))
            for application in self._catalogue.applications.values() if application.id in applications and application.flows
        )
        for flow, state in list(self._flows.items()):
            state.by_flow = self._matching(flow)
            state.by_address &= applications
            self._settle(state)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._flows.clear()

    @property
    def flows(self) -> int:
        return len(self._flows)

    def of_packet(self, octets: bytes, start: int, flow: Flow, *, uplink: bool) -> frozenset[str]:
        """The applications that the packet of this flow, which begins at ``start``, belongs to."""
        now = self._now()
        state = self._flows.get(flow)
        if state is None:
            state = self._begin(flow, now)
        state.last_s = now
        if now - state.moved_s > 1.0:
            state.moved_s = now
            del self._flows[flow]
            self._flows[flow] = state
        if flow.protocol == TCP:
            self._look_at_segment(state, octets, start, uplink=uplink)
        elif flow.protocol == UDP and flow.remote_port == DNS_PORT:
            self._look_at_dns(flow, state, octets, start, now, uplink=uplink)
        elif flow.protocol == UDP and uplink and state.wants_more:
            self._look_at_quic(state, octets, start)
        return state.applications

    # Flows come and go

    def _begin(self, flow: Flow, now: float) -> _FlowState:
        if len(self._flows) >= MAX_FLOWS:
            self._end(next(iter(self._flows)))
        idle_s = TCP_IDLE_S if flow.protocol == TCP else DNS_IDLE_S if flow.remote_port == DNS_PORT else OTHER_IDLE_S
        state = self._flows[flow] = _FlowState(now, idle_s)
        state.by_flow = self._matching(flow)
        learned = self._addresses.get(flow.remote.to_bytes(4 if flow.version == 4 else 16))
        if learned is not None and learned[1] > now:
            state.by_address = learned[0] & self._wanted
        self._settle(state)
        self._sweep_by(now + idle_s)
        return state

    def _matching(self, flow: Flow) -> frozenset[str]:
        return frozenset([name for name, filters in self._filters if any(compiled.matches(flow) for compiled in filters)])

    def _settle(self, state: _FlowState) -> None:
        """What it belongs to, by all that is known."""
        by_name = self._catalogue.with_name(state.name) & self._wanted if state.name else state.by_address
        applications = state.by_flow | by_name
        former, state.applications = state.applications, applications
        for application in applications - former:
            self._active[application] = self._active.get(application, 0) + 1
            if self._active[application] == 1:
                self._changed(application, True)
        for application in former - applications:
            self._release(application)

    def _release(self, application: str) -> None:
        self._active[application] -= 1
        if not self._active[application]:
            del self._active[application]
            self._changed(application, False)

    def _end(self, flow: Flow) -> None:
        for application in self._flows.pop(flow).applications:
            self._release(application)

    def _sweep_flows(self) -> None:
        self._sweep = None
        now = self._now()
        for flow in [flow for flow, state in self._flows.items() if state.last_s + state.idle_s <= now]:
            self._end(flow)
        for address in [address for address, (_, until) in self._addresses.items() if until <= now]:
            del self._addresses[address]
        if self._flows:
            self._sweep_by(max(now + 1.0, min(state.last_s + state.idle_s for state in self._flows.values())))

    def _sweep_by(self, due: float) -> None:
        """To a second: nobody needs it better."""
        if self._sweep is not None:
            if self._sweep.when() <= due + 1.0:
                return
            self._sweep.cancel()
        self._sweep = self._loop.call_at(due, self._sweep_flows)

    # What they show

    def _look_at_segment(self, state: _FlowState, octets: bytes, start: int, *, uplink: bool) -> None:
        at = transport_of(octets, start)
        if at < 0 or len(octets) < at + 20:
            return
        flags = octets[at + 13]
        if flags & (_FIN | _RST):
            state.idle_s = CLOSED_IDLE_S
            self._sweep_by(self._now() + CLOSED_IDLE_S)
        if not uplink or not (state.wants_more or flags & _SYN):
            return
        sequence = int.from_bytes(octets[at + 4:at + 8])
        if flags & _SYN:                            # a new connection, perhaps with the ports of a former one
            sequence = (sequence + 1) & 0xFFFFFFFF
            state.stream, state.wants_more, state.idle_s = _Stream(sequence), True, TCP_IDLE_S
            if state.name:
                state.name = ""
                self._settle(state)
        data = octets[at + (octets[at + 12] >> 4) * 4:]
        if not data:
            return
        if state.stream is None:
            state.stream = _Stream(sequence)
        state.stream.put(sequence, data)
        self._named(state, stream_name(state.stream.octets))

    def _look_at_quic(self, state: _FlowState, octets: bytes, start: int) -> None:
        at = transport_of(octets, start) + 8
        if at < 8 or len(octets) < at + 1200:           # an Initial packet's datagram is no shorter (RFC 9000 clause 14.1)
            state.wants_more, state.hello = False, None
            return
        if state.hello is None:
            from epc.dataplane.quic import ClientHello  # with all that decrypts: most nodes never need it

            state.hello = ClientHello()
        self._named(state, state.hello.put(octets[at:]))

    def _named(self, state: _FlowState, name: str | None) -> None:
        """``None``: not yet."""
        if name is not None:
            state.wants_more, state.stream, state.hello = False, None, None
            if name:
                state.name = name
                self._settle(state)

    def _look_at_dns(self, flow: Flow, state: _FlowState, octets: bytes, start: int, now: float, *, uplink: bool) -> None:
        at = transport_of(octets, start)
        message = dns_message(octets[at + 8:at + 8 + MAX_HEAD_OCTETS]) if at >= 0 else None
        if message is None or message.is_response is uplink:
            return
        state.name = message.question
        self._settle(state)
        asked_for = self._catalogue.with_name(message.question) & self._wanted
        if uplink:
            if len(self._queries) >= MAX_QUERIES:
                del self._queries[next(iter(self._queries))]
            self._queries[flow, message.id] = now + QUERY_S
        elif self._queries.pop((flow, message.id), 0.0) > now and asked_for and message.addresses:
            until = now + min(max(message.ttl_s, MIN_TTL_S), MAX_TTL_S)
            for address in message.addresses:
                if len(self._addresses) >= MAX_ADDRESSES:
                    del self._addresses[next(iter(self._addresses))]
                known, known_until = self._addresses.get(address, (_NONE, 0.0))
                self._addresses[address] = (asked_for if known_until <= now else known | asked_for, max(until, known_until))
