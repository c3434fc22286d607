"""The socket back end's rules, compiled: each object does one thing to a packet and hands it on to the next, or out.

A chain starts at a TEID or a UE address and has at most four links: ``Selector`` (several PDRs, or SDF filters, or applications), ``Guard``
(is this the UE's own packet?), ``Enforce`` (rates and quotas), and an exit: ``ToTunnel``, ``ToLink``, ``Hold`` or ``Discard``.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from epc.dataplane.application import Recognizer
from epc.dataplane.flow import CompiledFilter, flow_of
from epc.dataplane.forwarder import DownlinkData, DropReason, EndMarker, Event, IpLink
from epc.dataplane.packet_size import MAX_IP_OCTETS, TooBigAnswers, fragments, may_be_fragmented
from epc.dataplane.redirection import Portal
from epc.dataplane.rules import GTPU_PORT, FTeid, Interface, UeIpAddress, Usage
from epc.dataplane.usage import Measurement
from epc.transport.interface import Address
from epc.wire import gtpu

Drop = Callable[[DropReason], None]
Notify = Callable[[Event], None]

PLAIN_G_PDU = 0x30FF            # version 1, GTP, no optional part; G-PDU: the first two octets as one number
_plain_header = struct.Struct(">HH4s").pack
ANY_ADDRESS = b""               # the key of an attachment's rule for packets that no address in its table takes
_NO_SUCH_ADDRESS = b"\0"        # equals no slice of 4 or 8 octets
BURST_NS = 100_000_000          # what a meter tolerates above its rate: 100 ms of it, and never less than two full packets
MIN_BURST_OCTETS = 3000


class Rule(Protocol):
    """What becomes of a packet. ``gpdu`` gets a whole G-PDU and where the user's packet begins in it, ``packet`` a plain IP packet."""

    def gpdu(self, message: bytes, start: int) -> None: ...

    def packet(self, packet: bytes) -> None: ...

    def end_marker(self) -> EndMarker | None:
        """Pass an End Marker on, or return the event to raise when the tunnel ends here."""


RuleTable = dict[int | bytes, Rule]     # where chains start


class Counter:
    """Packets and octets that one PDR let through."""

    __slots__ = ("octets", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0

    def usage(self, source: Interface) -> Usage:
        """Everything that was let through, here or by a faster path."""
        return usage_of(source, self.packets, self.octets)


def usage_of(source: Interface, packets: int, octets: int) -> Usage:
    if source is Interface.ACCESS:
        return Usage(uplink_packets=packets, uplink_octets=octets)
    return Usage(downlink_packets=packets, downlink_octets=octets)


class ToTunnel:
    """Into a GTP-U tunnel: encapsulates plain packets, and gives G-PDUs from another tunnel their new TEID."""

    __slots__ = ("counter", "peer", "send", "teid")

    def __init__(self, counter: Counter, send: Callable[[bytes, Address], None], tunnel: FTeid) -> None:
        self.counter = counter
        self.send = send
        self.peer = Address(tunnel.address, GTPU_PORT)
        self.teid = tunnel.teid.to_bytes(4)

    def gpdu(self, message: bytes, start: int) -> None:
        counter = self.counter
        counter.packets += 1
        counter.octets += len(message) - start
        self.send(message[:4] + self.teid + message[8:], self.peer)

    def packet(self, packet: bytes) -> None:
        counter = self.counter
        counter.packets += 1
        counter.octets += len(packet)
        self.send(_plain_header(PLAIN_G_PDU, len(packet), self.teid) + packet, self.peer)

    def end_marker(self) -> EndMarker | None:
        self.send(gtpu.encode(gtpu.EndMarker(), teid=int.from_bytes(self.teid)), self.peer)
        return None


class Attachment:
    """A place for a plain IP link under one network instance, and the rules for what comes from it."""

    __slots__ = ("drop", "gateway", "link", "mtu_octets", "name", "rules", "send", "uses")

    def __init__(self, name: str, drop: Drop) -> None:
        self.name = name
        self.drop = drop
        self.rules: RuleTable = {}      # by the UE's IPv4 address or /64 prefix
        self.uses = 0                   # sessions that name it
        self.link: IpLink | None = None
        self.send: Callable[[bytes], None] = partial(_no_link, drop)
        self.mtu_octets = MAX_IP_OCTETS
        self.gateway: TooBigAnswers | None = None

    def connect(self, link: IpLink, mtu_octets: int | None, gateway: TooBigAnswers) -> None:
        self.link = link
        self.send = link.send
        self.mtu_octets = mtu_octets or MAX_IP_OCTETS
        self.gateway = gateway
        link.on_packet = self.receive

    def disconnect(self) -> None:
        if self.link is not None:
            self.link.on_packet = _ignore
        self.link = None
        self.send = partial(_no_link, self.drop)

    def receive(self, packet: bytes) -> None:
        """A packet enters from the link."""
        if not packet:
            self.drop(DropReason.TRUNCATED)
            return
        problem = ip_problem(packet, 0)
        if problem is not None:
            self.drop(problem)
            return
        rule = self.rules.get(packet[16:20] if packet[0] < 0x60 else packet[24:32]) or self.rules.get(ANY_ADDRESS)
        if rule is None:
            self.drop(DropReason.UNKNOWN_UE_ADDRESS)
        elif len(packet) <= self.mtu_octets:
            rule.packet(packet)
        else:
            self._too_big(packet, rule)

    def _too_big(self, packet: bytes, rule: Rule) -> None:
        """In fragments where that is allowed (RFC 791), or not at all, which ICMP tells the sender (RFC 1191, RFC 8201)."""
        if may_be_fragmented(packet):
            for fragment in fragments(packet, self.mtu_octets):
                rule.packet(fragment)
            return
        self.drop(DropReason.TOO_BIG)
        answer = None if self.gateway is None else self.gateway.answer(packet, self.mtu_octets)
        if answer is None:
            return
        sender = self.rules.get(answer[16:20] if answer[0] < 0x60 else answer[24:32])
        if sender is None:
            self.send(answer)
        else:
            sender.packet(answer)       # another UE of the same APN


def _no_link(drop: Drop, packet: bytes) -> None:
    """What leaves while no link is connected; no method, which would make every attachment hold itself."""
    drop(DropReason.NO_LINK)


def _ignore(packet: bytes) -> None:
    """What a link delivers after it was disconnected."""


class ToLink:
    """Out of the tunnel: the user's packet goes to a plain IP link."""

    __slots__ = ("attachment", "counter", "pdr_id", "session_id")

    def __init__(self, counter: Counter, attachment: Attachment, session_id: int, pdr_id: int) -> None:
        self.counter = counter
        self.attachment = attachment
        self.session_id = session_id
        self.pdr_id = pdr_id

    def gpdu(self, message: bytes, start: int) -> None:
        counter = self.counter
        counter.packets += 1
        counter.octets += len(message) - start
        self.attachment.send(message[start:])

    def packet(self, packet: bytes) -> None:
        counter = self.counter
        counter.packets += 1
        counter.octets += len(packet)
        self.attachment.send(packet)

    def end_marker(self) -> EndMarker | None:
        return EndMarker(session_id=self.session_id, pdr_id=self.pdr_id)


class ToNetwork(ToLink):
    """Out of a UE's tunnel: to SGi, or straight to another UE of the same APN, whose address its table knows.

    It stands behind a :class:`Guard` that knows the sender's address.
    """

    __slots__ = ()

    def gpdu(self, message: bytes, start: int) -> None:
        packet = message[start:]
        counter = self.counter
        counter.packets += 1
        counter.octets += len(packet)
        attachment = self.attachment
        if (packet[16:20] if packet[0] < 0x60 else packet[24:32]) in attachment.rules:
            attachment.receive(packet)
        else:
            attachment.send(packet)


class Copy:
    """A copy of each packet goes other ways as well: what DUPLICATE asks for."""

    __slots__ = ("copies", "following")

    def __init__(self, following: Rule, copies: tuple[Rule, ...]) -> None:
        self.following = following
        self.copies = copies

    def gpdu(self, message: bytes, start: int) -> None:
        for copy in self.copies:
            copy.packet(message[start:])
        self.following.gpdu(message, start)

    def packet(self, packet: bytes) -> None:
        for copy in self.copies:
            copy.packet(packet)
        self.following.packet(packet)

    def end_marker(self) -> EndMarker | None:
        return self.following.end_marker()


class Redirect:
    """Web requests are answered with where to go instead; what leads there passes, and all else is dropped."""

    __slots__ = ("direct", "drop", "portal", "reply")

    def __init__(self, portal: Portal, direct: Rule, reply: Rule, drop: Drop) -> None:
        self.portal = portal
        self.direct = direct        # on, past quotas
        self.reply = reply          # back to the UE
        self.drop = drop

    def gpdu(self, message: bytes, start: int) -> None:
        if self.portal.passes(message, start, uplink=True):
            self.direct.gpdu(message, start)
        else:
            self._answer(message[start:])

    def packet(self, packet: bytes) -> None:
        if self.portal.passes(packet, 0, uplink=True):
            self.direct.packet(packet)
        else:
            self._answer(packet)

    def end_marker(self) -> EndMarker | None:
        return self.direct.end_marker()

    def _answer(self, packet: bytes) -> None:
        if not self.portal.answers(packet):
            self.drop(DropReason.FAR_DROP)
            return
        answer = self.portal.answer(packet)
        if answer is not None:
            self.reply.packet(answer)


class FromPortal:
    """Downlink of a session that is redirected: what comes from where it may go passes, whatever becomes of the rest."""

    __slots__ = ("direct", "following", "portal")

    def __init__(self, portal: Portal, direct: Rule, following: Rule) -> None:
        self.portal = portal
        self.direct = direct
        self.following = following

    def gpdu(self, message: bytes, start: int) -> None:
        (self.direct if self.portal.passes(message, start, uplink=False) else self.following).gpdu(message, start)

    def packet(self, packet: bytes) -> None:
        (self.direct if self.portal.passes(packet, 0, uplink=False) else self.following).packet(packet)

    def end_marker(self) -> EndMarker | None:
        return self.following.end_marker()


class Discard:
    """Goes nowhere, counted under a reason."""

    __slots__ = ("drop", "reason")

    def __init__(self, drop: Drop, reason: DropReason) -> None:
        self.drop = drop
        self.reason = reason

    def gpdu(self, message: bytes, start: int) -> None:
        self.drop(self.reason)

    def packet(self, packet: bytes) -> None:
        self.drop(self.reason)

    def end_marker(self) -> EndMarker | None:
        return None


class Buffer:
    """What waits for one FAR to change from BUFFER to FORWARD."""

    __slots__ = ("notified", "waiting")

    def __init__(self, waiting: deque[tuple[int, bytes, int]] | None = None) -> None:
        self.notified = False
        # PDR, octets, and where the user's packet begins in a G-PDU (-1: a plain packet)
        self.waiting: deque[tuple[int, bytes, int]] = deque() if waiting is None else waiting


class Hold:
    """Buffers, and tells the control plane about the first packet."""

    __slots__ = ("buffer", "drop", "far_id", "limit", "notify", "pdr_id", "session_id")

    def __init__(self, buffer: Buffer, limit: int, drop: Drop, notify: Notify | None, session_id: int, pdr_id: int, far_id: int) -> None:
        self.buffer = buffer
        self.limit = limit
        self.drop = drop
        self.notify = notify
        self.session_id = session_id
        self.pdr_id = pdr_id
        self.far_id = far_id

    def gpdu(self, message: bytes, start: int) -> None:
        self._hold(message, start, start)

    def packet(self, packet: bytes) -> None:
        self._hold(packet, -1, 0)

    def end_marker(self) -> EndMarker | None:
        return None

    def _hold(self, octets: bytes, start: int, packet_at: int) -> None:
        if len(self.buffer.waiting) < self.limit:
            self.buffer.waiting.append((self.pdr_id, octets, start))
        else:
            self.drop(DropReason.BUFFER_FULL)
        if self.notify is not None and not self.buffer.notified:
            self.buffer.notified = True
            self.notify(DownlinkData(session_id=self.session_id, pdr_id=self.pdr_id, far_id=self.far_id, dscp=_dscp(octets, packet_at)))


class Meter:
    """A maximum bit rate in one direction: a token bucket as virtual scheduling (ITU-T I.371).

    It remembers until when the packets so far have used up the rate, and lets a packet through that does not move this further than the
    burst tolerance beyond the present.
    """

    __slots__ = ("__weakref__", "burst_ns", "busy_until_ns", "clock_ns", "q20_ns_per_octet")

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self.clock_ns = clock_ns
        self.q20_ns_per_octet = 0           # nanoseconds, times 2 ** 20
        self.burst_ns = 0
        self.busy_until_ns = 0

    def set_rate(self, rate_bps: int) -> None:
        if rate_bps > 0:
            self.q20_ns_per_octet = (8_000_000_000 << 20) // rate_bps
            self.burst_ns = max(BURST_NS, MIN_BURST_OCTETS * self.q20_ns_per_octet >> 20)
        else:
            self.q20_ns_per_octet, self.burst_ns = 1 << 40, 0

    def conforms(self, octets: int) -> bool:
        now = self.clock_ns()
        after = max(self.busy_until_ns, now) + (octets * self.q20_ns_per_octet >> 20)
        if after > now + self.burst_ns:
            return False
        self.busy_until_ns = after
        return True


class Enforce:
    """Lets through what is within every quota and every rate, and tells URRs about it."""

    __slots__ = ("drop", "following", "meters", "quotas", "takers")

    def __init__(self, following: Rule, drop: Drop, meters: tuple[Meter, ...], measurements: Iterable[Measurement]) -> None:
        self.following = following
        self.drop = drop
        self.meters = meters
        self.quotas = tuple(measurement for measurement in measurements if measurement.has_quota)
        self.takers = tuple(take for measurement in measurements for take in measurement.takers())

    def gpdu(self, message: bytes, start: int) -> None:
        if self._passes(len(message) - start):
            self.following.gpdu(message, start)

    def packet(self, packet: bytes) -> None:
        if self._passes(len(packet)):
            self.following.packet(packet)

    def end_marker(self) -> EndMarker | None:
        return self.following.end_marker()

    def _passes(self, octets: int) -> bool:
        for quota in self.quotas:
            if not quota.allows():
                self.drop(DropReason.QUOTA_EXHAUSTED)
                return False
        for meter in self.meters:
            if not meter.conforms(octets):
                self.drop(DropReason.RATE_EXCEEDED)
                return False
        for take in self.takers:
            take(octets)
        return True


class Guard:
    """Lets through only whole IP packets, and where the UE's address is known only those from it (uplink) or to it (downlink)."""

    __slots__ = ("drop", "following", "ipv4", "ipv6_prefix", "ue_at_v4", "ue_at_v6", "wrong_address")

    def __init__(self, following: Rule, drop: Drop, ue: UeIpAddress | None, source: Interface) -> None:
        uplink = source is Interface.ACCESS
        self.following = following
        self.drop = drop
        self.ipv4 = self.ipv6_prefix = b""      # empty: any address
        if ue is not None:
            self.ipv4 = _NO_SUCH_ADDRESS if ue.ipv4 is None else ue.ipv4.packed
            self.ipv6_prefix = _NO_SUCH_ADDRESS if ue.ipv6_prefix is None else ue.ipv6_prefix.network_address.packed[:8]
        self.ue_at_v4 = 12 if uplink else 16
        self.ue_at_v6 = 8 if uplink else 24
        self.wrong_address = DropReason.SPOOFED_SOURCE if uplink else DropReason.NO_MATCHING_RULE

    def gpdu(self, message: bytes, start: int) -> None:
        problem = ip_problem(message, start) or self._address_problem(message, start)
        if problem is None:
            self.following.gpdu(message, start)
        else:
            self.drop(problem)

    def packet(self, packet: bytes) -> None:
        problem = self._address_problem(packet, 0)      # Attachment.receive has looked at the rest
        if problem is None:
            self.following.packet(packet)
        else:
            self.drop(problem)

    def end_marker(self) -> EndMarker | None:
        return self.following.end_marker()

    def _address_problem(self, octets: bytes, start: int) -> DropReason | None:
        if octets[start] < 0x60:
            at = start + self.ue_at_v4
            return self.wrong_address if self.ipv4 and octets[at:at + 4] != self.ipv4 else None
        at = start + self.ue_at_v6
        return self.wrong_address if self.ipv6_prefix and octets[at:at + 8] != self.ipv6_prefix else None


class _Choice:
    """Several rules, of which a packet meets one or none."""

    __slots__ = ("drop", "uplink")

    def __init__(self, drop: Drop, source: Interface) -> None:
        self.drop = drop
        self.uplink = source is Interface.ACCESS

    def _select(self, octets: bytes, start: int) -> Rule | None:
        raise NotImplementedError

    def gpdu(self, message: bytes, start: int) -> None:
        rule = self._select(message, start)
        if rule is None:
            self.drop(DropReason.NO_MATCHING_RULE)
        else:
            rule.gpdu(message, start)

    def packet(self, packet: bytes) -> None:
        rule = self._select(packet, 0)
        if rule is None:
            self.drop(DropReason.NO_MATCHING_RULE)
        else:
            rule.packet(packet)


class Selector(_Choice):
    """Several PDRs on one tunnel or address, or SDF filters: the first that takes the packet, in order of precedence."""

    __slots__ = ("candidates",)

    def __init__(self, candidates: tuple[tuple[tuple[CompiledFilter, ...], Rule], ...], drop: Drop, source: Interface) -> None:
        super().__init__(drop, source)
        self.candidates = candidates

    def end_marker(self) -> EndMarker | None:
        return self.candidates[0][1].end_marker()

    def _select(self, octets: bytes, start: int) -> Rule | None:
        flow = flow_of(octets, start, uplink=self.uplink)
        for filters, rule in self.candidates:
            if not filters:
                return rule
            if flow is not None:
                for compiled in filters:
                    if compiled.matches(flow):
                        return rule
        return None


class ApplicationSelector(_Choice):
    """Likewise where rules name applications: the session's recogniser sees every packet, and says which ones it belongs to."""

    __slots__ = ("candidates", "recognizer")

    def __init__(
        self, candidates: tuple[tuple[tuple[CompiledFilter, ...], str | None, Rule], ...], drop: Drop, source: Interface, recognizer: Recognizer,
    ) -> None:
        super().__init__(drop, source)
        self.candidates = candidates
        self.recognizer = recognizer

    def end_marker(self) -> EndMarker | None:
        return self.candidates[0][2].end_marker()

    def _select(self, octets: bytes, start: int) -> Rule | None:
        flow = flow_of(octets, start, uplink=self.uplink)
        applications = frozenset[str]() if flow is None else self.recognizer.of_packet(octets, start, flow, uplink=self.uplink)
        for filters, application, rule in self.candidates:
            if application is not None and application not in applications:
                continue
            if not filters:
                return rule
            if flow is not None:
                for compiled in filters:
                    if compiled.matches(flow):
                        return rule
        return None


def ip_problem(octets: bytes, start: int) -> DropReason | None:
    """What is wrong with the IP packet from ``start`` (which exists) to the end, as far as its header tells."""
    size = len(octets) - start
    version = octets[start] >> 4
    if version == 4:
        if size < 20:
            return DropReason.TRUNCATED
        header = (octets[start] & 15) * 4
        return None if octets[start + 2] << 8 | octets[start + 3] == size and 20 <= header <= size else DropReason.WRONG_LENGTH
    if version == 6:
        if size < 40:
            return DropReason.TRUNCATED
        return None if (octets[start + 4] << 8 | octets[start + 5]) + 40 == size else DropReason.WRONG_LENGTH
    return DropReason.NOT_IP


def _dscp(octets: bytes, start: int) -> int:
    if len(octets) < start + 2:
        return 0
    if octets[start] >> 4 == 4:
        return octets[start + 1] >> 2
    return (octets[start] << 8 | octets[start + 1]) >> 6 & 0x3F
