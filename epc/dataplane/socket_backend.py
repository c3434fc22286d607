"""The portable back end: one UDP port a side, every packet through the event loop.

Rules are compiled when they are installed (``socket_rules``): each TEID, and each UE address on a plain IP link, leads to one small
object that does all there is to do. A modification swaps these objects; packets never look at a rule.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from epc.dataplane.application import Catalogue, Recognizer
from epc.dataplane.flow import compile_filter
from epc.dataplane.forwarder import DropReason, ErrorIndication, Event, GtpuPort, IpLink, Statistics, UsageReport, UsageTrigger
from epc.dataplane.gtpu_port import Port, packed
from epc.dataplane.packet_size import MIN_MTU_OCTETS, TooBigAnswers
from epc.dataplane.redirection import Portal
from epc.dataplane.rules import (
    GTPU_PORT,
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Gate,
    Interface,
    Pdr,
    Qer,
    RuleError,
    SdfFilter,
    Session,
    SessionChange,
    Urr,
    Usage,
)
from epc.dataplane.socket_rules import (
    ANY_ADDRESS,
    ApplicationSelector,
    Attachment,
    Buffer,
    Copy,
    Counter,
    Discard,
    Enforce,
    FromPortal,
    Guard,
    Hold,
    Meter,
    Redirect,
    Rule,
    Selector,
    ToLink,
    ToNetwork,
    ToTunnel,
    usage_of,
)
from epc.dataplane.usage import Measurement, does_more_than_count
from epc.transport.interface import Address, Transport
from epc.wire import gtpu
from epc.wire.errors import WireError

log = logging.getLogger(__name__)

TEIDS_APART = 0x5A5A5A5A        # where the second side's begin, from the first one's
_Identified = TypeVar("_Identified", Pdr, Far, Qer, Urr)

Entry = tuple[Port | Attachment, int | bytes]     # where packets come in, and the TEID or UE address that leads to a chain of rules

_NOTHING: Mapping[Any, Any] = MappingProxyType({})       # what most sessions have of most things
_NONE: frozenset[int] = frozenset()     # each call makes another one, of 216 octets
_EVERYTHING = SdfFilter()
_DISPOSITION = ApplyAction.FORWARD | ApplyAction.DROP | ApplyAction.BUFFER


class Installed:
    """A session and what it was compiled to."""

    __slots__ = (
        "attachments", "buffers", "counters", "entries", "exits", "measurements", "meters", "portals", "rare", "rates", "recognizer",
        "retired", "session", "uncharged",
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.entries: dict[Entry, Rule] = {}
        self.exits: dict[int, Rule] = {}                # by PDR: where its packets go after all checks
        self.counters: dict[int, Counter] = {}          # by PDR
        self.buffers: dict[int, Buffer] = {}            # by FAR
        self.attachments: dict[str, Attachment] = {}
        self.meters: dict[tuple[int, bool], Meter] = {}         # by QER, and whether uplink
        self.rates: list[tuple[Meter, int]] = []        # bit/s that come into force with these rules
        self.measurements: Mapping[int, Measurement] = _NOTHING     # by URR, of those that do more than count
        self.recognizer: Recognizer | None = None       # if a rule names an application
        self.portals: Mapping[str, Portal] = _NOTHING   # by URL
        self.uncharged: Mapping[Interface, Counter] = _NOTHING      # what passes to and from portals
        self.rare: frozenset[int] = _NONE               # PDRs whose packets only this process can treat
        self.retired: dict[int, Usage] = {}             # by URR: what PDRs counted that are gone


class SocketForwarder:
    """A :class:`~epc.dataplane.forwarder.Forwarder` on plain UDP ports. Make one with :meth:`open`."""

    def __init__(self, *, buffer_packets: int, first_teid: int | None) -> None:
        self.on_event: Callable[[Event], None] = _no_event
        self.reason = ""                                # why this back end, in words
        self.is_intermediate = False                    # tunnels on both sides: an SGW
        self.echo_requests_received = 0
        self.error_indications_sent = 0
        self._error_indications_received = 0
        self._loop = asyncio.get_running_loop()
        self._buffer_packets = buffer_packets
        self._first_teid = first_teid
        self._ports: dict[Interface, Port] = {}
        self._attachments: dict[str, Attachment] = {}
        self._sessions: dict[int, Installed] = {}
        self._far_ends: dict[tuple[bytes, int], tuple[int, int]] = {}      # (address, TEID) of the peer -> (session, FAR)
        self._shared_meters: WeakValueDictionary[tuple[int, bool], Meter] = WeakValueDictionary()      # by correlation id, and whether uplink
        self._catalogue = Catalogue()
        self._secret = secrets.token_bytes(16)
        self._drops = dict.fromkeys(DropReason, 0)
        self._retired = Usage()
        self._echo_sequence = 0
        self._echoes: dict[tuple[str, int], asyncio.Future[None]] = {}

    @classmethod
    async def open(
        cls, transport: Transport, *, access: GtpuPort | None = None, core: GtpuPort | None = None,
        buffer_packets: int = 32, first_teid: int | None = None,
    ) -> SocketForwarder:
        """Open the GTP-U ports: both sides for an SGW, ``access`` for a PGW, ``core`` for an eNodeB.

        ``buffer_packets`` bounds what each FAR holds for an idle UE. TEIDs count up from ``first_teid``; the default is a random
        number, so that a restarted node does not hand out TEIDs that a peer still uses for somebody else.
        """
        forwarder = cls(buffer_packets=buffer_packets, first_teid=first_teid)
        await forwarder._open_ports(transport, access, core)
        return forwarder

    async def _open_ports(self, transport: Transport, access: GtpuPort | None, core: GtpuPort | None) -> None:
        try:
            for interface, side in ((Interface.ACCESS, access), (Interface.CORE, core)):
                if side is not None:
                    await self._open_port(transport, interface, side)
        except OSError:
            await self.close()
            raise
        self.is_intermediate = len(self._ports) == 2

    async def _open_port(self, transport: Transport, interface: Interface, side: GtpuPort) -> None:
        for port in self._ports.values():
            if port.address == side.address:
                self._ports[interface] = port
                return
        port = Port(self, interface, side.address)
        first = self._first_teid if self._first_teid is not None else secrets.randbelow(0xFFFFFFFF) + 1
        # Each side counts for itself: far apart, so that a reader of a capture cannot take one side's tunnel for the other's.
        port.next_teid = (first - 1 + len(self._ports) * TEIDS_APART) % 0xFFFFFFFF + 1
        port.datagrams = await transport.open_udp(Address(side.address, GTPU_PORT), port.receive, interface=side.interface)
        self._ports[interface] = port

    async def close(self) -> None:
        for port in set(self._ports.values()):
            if port.datagrams is not None:
                self._drops[DropReason.UNSENT] += _unsent(port)
                port.datagrams.close()
                port.datagrams = None
        for attachment in self._attachments.values():
            self._disconnect(attachment)
        for installed in self._sessions.values():
            _stop(installed)
        for waiting in self._echoes.values():
            if not waiting.done():
                waiting.set_exception(ConnectionAbortedError("the forwarder was closed"))

    # What the control plane asks for

    def allocate_f_teid(self, interface: Interface) -> FTeid:
        port = self._port(interface)
        while port.next_teid in port.rules or not 0 < port.next_teid <= 0xFFFFFFFF:
            port.next_teid = port.next_teid % 0xFFFFFFFF + 1
        teid, port.next_teid = port.next_teid, port.next_teid + 1
        return FTeid(teid=teid, address=port.address)

    def provision(self, applications: Iterable[Application]) -> None:
        self._catalogue.replace(applications)
        for installed in self._sessions.values():
            if installed.recognizer is not None:
                installed.recognizer.want(_applications(installed.session))

    def install(self, session: Session) -> None:
        if session.id in self._sessions:
            raise RuleError(f"session {session.id} exists")
        new = self._compile(session, Installed(session), frozenset(), frozenset())
        self._enter(new, old=None)

    def modify(self, session_id: int, change: SessionChange) -> None:
        old = self._installed(session_id)
        before = old.session
        session = Session(
            id=session_id,
            pdrs=_changed("PDR", before.pdrs, change.pdrs, change.remove_pdrs),
            fars=_changed("FAR", before.fars, change.fars, change.remove_fars),
            qers=_changed("QER", before.qers, change.qers, change.remove_qers),
            urrs=_changed("URR", before.urrs, change.urrs, change.remove_urrs),
        )
        former_tunnels = {far.id: far for far in before.fars if far.id in change.end_markers}
        for far_id in change.end_markers:
            if far_id not in former_tunnels or former_tunnels[far_id].outer_header_creation is None:
                raise RuleError(f"no tunnel to send an End Marker to: FAR {far_id} of session {session_id}")
        new = self._compile(session, old, frozenset(far.id for far in change.fars), frozenset(urr.id for urr in change.urrs))
        for far in former_tunnels.values():
            tunnel = far.outer_header_creation
            if tunnel is not None:
                self._port(far.destination_interface).send(gtpu.encode(gtpu.EndMarker(), teid=tunnel.teid), Address(tunnel.address, GTPU_PORT))
        self._enter(new, old)

    def remove(self, session_id: int) -> Mapping[int, Usage]:
        installed = self._installed(session_id)
        usage = self.usage(session_id)
        self._leave(installed, keep=())
        del self._sessions[session_id]
        _stop(installed)
        for pdr in installed.session.pdrs:
            self._retire(installed.counters[pdr.id], pdr.source_interface)
        for source, counter in installed.uncharged.items():
            self._retire(counter, source)
        for buffer in installed.buffers.values():
            self._drops[DropReason.BUFFER_DISCARDED] += len(buffer.waiting)
        return usage

    def session(self, session_id: int) -> Session | None:
        installed = self._sessions.get(session_id)
        return None if installed is None else installed.session

    def sessions(self) -> tuple[Session, ...]:
        return tuple(installed.session for installed in self._sessions.values())

    def usage(self, session_id: int) -> Mapping[int, Usage]:
        installed = self._installed(session_id)
        usage = {urr.id: installed.retired.get(urr.id, Usage()) for urr in installed.session.urrs}
        for pdr in installed.session.pdrs:
            for urr_id in pdr.urr_ids:
                usage[urr_id] += installed.counters[pdr.id].usage(pdr.source_interface)
        for urr_id, measurement in installed.measurements.items():
            if measurement.measures_time:
                usage[urr_id] = replace(usage[urr_id], duration_s=measurement.used_s())
        return usage

    def statistics(self) -> Statistics:
        uplink, downlink = Counter(), Counter()
        buffered = 0
        for installed in self._sessions.values():
            counters = [(pdr.source_interface, installed.counters[pdr.id]) for pdr in installed.session.pdrs]
            for source, counter in (*counters, *installed.uncharged.items()):
                total = uplink if source is Interface.ACCESS else downlink
                total.packets += counter.packets
                total.octets += counter.octets
            buffered += sum(len(buffer.waiting) for buffer in installed.buffers.values())
        ways: list[Port | Attachment] = [*set(self._ports.values()), *self._attachments.values()]
        unsent = sum(_unsent(way) for way in ways)
        return Statistics(
            sessions=len(self._sessions),
            buffered_packets=buffered,
            usage=self._retired + uplink.usage(Interface.ACCESS) + downlink.usage(Interface.CORE),
            drops={**self._drops, DropReason.UNSENT: self._drops[DropReason.UNSENT] + unsent},
            error_indications_sent=self.error_indications_sent,
            error_indications_received=self._error_indications_received,
            echo_requests_received=self.echo_requests_received,
        )

    def connect(
        self, network_instance: str, link: IpLink, *, mtu_octets: int | None = None, gateways: Iterable[IPv4Address | IPv6Address] = (),
    ) -> None:
        if mtu_octets is not None and mtu_octets < MIN_MTU_OCTETS:
            raise ValueError(f"an MTU of {mtu_octets} octets")
        attachment = self._attachments.get(network_instance)
        if attachment is None:
            attachment = self._attachments[network_instance] = Attachment(network_instance, self.drop)
        self._disconnect(attachment)
        ours = [port.ip_address for port in self._ports.values()]
        attachment.connect(link, mtu_octets, TooBigAnswers((*gateways, *ours), self._loop.time))

    def disconnect(self, network_instance: str) -> None:
        attachment = self._attachments.get(network_instance)
        if attachment is not None:
            self._disconnect(attachment)
            self._forget_unused((attachment,))

    def _disconnect(self, attachment: Attachment) -> None:
        self._drops[DropReason.UNSENT] += _unsent(attachment)
        attachment.disconnect()

    async def echo(self, interface: Interface, peer: str, *, timeout_s: float = 3.0, attempts: int = 3) -> float:
        port = self._port(interface)
        loop = asyncio.get_running_loop()
        sequence = self._echo_sequence = (self._echo_sequence + 1) & 0xFFFF
        key = (peer, sequence)
        answered = self._echoes[key] = loop.create_future()
        try:
            for _ in range(attempts):
                sent_at = loop.time()
                port.send(gtpu.encode(gtpu.EchoRequest(), sequence=sequence), Address(peer, GTPU_PORT))
                done, _ = await asyncio.wait((answered,), timeout=timeout_s)
                if done:
                    answered.result()
                    return loop.time() - sent_at
            raise TimeoutError(f"no GTP-U Echo Response from {peer}")
        finally:
            del self._echoes[key]

    # What the ports and the compiled rules report

    def drop(self, reason: DropReason) -> None:
        self._drops[reason] += 1

    def echo_answered(self, peer: str, sequence: int | None) -> None:
        waiting = self._echoes.get((peer, sequence or 0))
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def peer_lacks_tunnel(self, tunnel: FTeid) -> None:
        self._error_indications_received += 1
        found = self._far_ends.get((packed(tunnel.address), tunnel.teid))
        if found is not None:
            self.on_event(ErrorIndication(session_id=found[0], far_id=found[1], tunnel=tunnel))

    def _notify(self, event: Event) -> None:
        self.on_event(event)

    def _report_usage(self, session_id: int, urr_id: int, trigger: UsageTrigger) -> None:
        usage = self.usage(session_id).get(urr_id) if session_id in self._sessions else None
        if usage is not None:
            self.on_event(UsageReport(session_id=session_id, urr_id=urr_id, trigger=trigger, usage=usage))

    def _application_changed(self, session_id: int, application_id: str, started: bool) -> None:
        self._loop.call_soon(self._report_application, session_id, application_id, started)     # the first packet is yet to be counted

    def _report_application(self, session_id: int, application_id: str, started: bool) -> None:
        installed = self._sessions.get(session_id)
        if installed is None:
            return
        named = {urr_id for pdr in installed.session.pdrs if pdr.application_id == application_id for urr_id in pdr.urr_ids}
        trigger = UsageTrigger.APPLICATION_START if started else UsageTrigger.APPLICATION_STOP
        usage = self.usage(session_id)
        for urr in installed.session.urrs:
            if urr.application_events and urr.id in named:
                self.on_event(UsageReport(session_id=session_id, urr_id=urr.id, trigger=trigger, usage=usage[urr.id], application_id=application_id))

    def _now_ns(self) -> int:
        return int(self._loop.time() * 1_000_000_000)

    # Compiling rules: everything up to ``_enter`` only reads

    def _compile(self, session: Session, old: Installed, changed_fars: frozenset[int], granted_urrs: frozenset[int]) -> Installed:
        new = Installed(session)
        new.retired, new.uncharged = old.retired, old.uncharged
        if any(pdr.application_id is not None for pdr in session.pdrs):
            new.recognizer = old.recognizer or Recognizer(self._catalogue, self._loop, partial(self._application_changed, session.id))
        fars, qers, urrs = _by_id("FAR", session.fars), _by_id("QER", session.qers), _by_id("URR", session.urrs)
        former = {pdr.id: pdr for pdr in old.session.pdrs} if old.counters else {}
        starts: dict[Entry, list[tuple[Pdr, Rule]]] = {}
        for far in session.fars:
            self._compile_far(far, old, new, rearm=far.id in changed_fars)
        for qer in session.qers:
            self._compile_qer(qer, old, new)
        for urr in session.urrs:
            self._compile_urr(urr, old, new, grant=urr.id in granted_urrs)
        for pdr in sorted(_by_id("PDR", session.pdrs).values(), key=precedence_of):
            far_of_pdr = fars.get(pdr.far_id)
            if far_of_pdr is None:
                raise RuleError(f"PDR {pdr.id} names FAR {pdr.far_id}, which does not exist")
            for name, wanted, present in (("QER", pdr.qer_ids, qers), ("URR", pdr.urr_ids, urrs)):
                for rule_id in wanted:
                    if rule_id not in present:
                        raise RuleError(f"PDR {pdr.id} names {name} {rule_id}, which does not exist")
            counter = old.counters[pdr.id] if _counts_the_same(former.get(pdr.id), pdr) else self._new_counter()
            new.counters[pdr.id] = counter
            rule = new.exits[pdr.id] = self._whole_exit(pdr, far_of_pdr, qers, counter, new)
            if pdr.ue_ip_address is not None or (pdr.local_f_teid is not None and not self.is_intermediate):
                rule = Guard(rule, self.drop, pdr.ue_ip_address, pdr.source_interface)
            for entry in self._entries(pdr, new):
                starts.setdefault(entry, []).append((pdr, rule))
        for entry, candidates in starts.items():
            if entry not in old.entries and entry[1] in entry[0].rules:
                raise RuleError(f"PDR {candidates[0][0].id} of session {session.id} matches what another session's PDR matches")
            new.entries[entry] = self._first_link(candidates, new.recognizer)
        return new

    def _whole_exit(self, pdr: Pdr, far: Far, qers: Mapping[int, Qer], counter: Counter, new: Installed) -> Rule:
        """An exit, and what stands before it."""
        rule = self._exit(pdr, far, [qers[qer_id] for qer_id in pdr.qer_ids], counter, new)
        if not isinstance(rule, (ToTunnel, ToLink)):
            return rule
        meters, measurements = self._limits(pdr, new)
        if ApplyAction.DUPLICATE in far.apply_action:
            rule = Copy(rule, tuple(self._copy(pdr, duplicate, new) for duplicate in far.duplicates))
            new.rare |= {pdr.id}
        if meters or measurements:
            rule = Enforce(rule, self.drop, meters, measurements)
        portal = self._portal(pdr, far, new)
        if portal is None:
            return rule
        new.rare |= {pdr.id}
        direct = self._direct(pdr, far, new)
        if pdr.source_interface is Interface.ACCESS:
            return Redirect(portal, direct, self._way_back(new), self.drop)
        return FromPortal(portal, direct, rule if far.redirect_url is None else Discard(self.drop, DropReason.FAR_DROP))

    def _copy(self, pdr: Pdr, duplicate: Duplicate, new: Installed) -> Rule:
        """A copy is nobody's usage."""
        if duplicate.outer_header_creation is not None:
            return ToTunnel(Counter(), self._port(duplicate.destination_interface).send, duplicate.outer_header_creation)
        return ToLink(Counter(), self._attachment(duplicate.network_instance, new), new.session.id, pdr.id)

    def _portal(self, pdr: Pdr, far: Far, new: Installed) -> Portal | None:
        """The one that the PDR's packets are redirected to; downlink also where they would share a quota with what is redirected uplink."""
        if far.redirect_url is not None:
            return new.portals[far.redirect_url]
        if pdr.source_interface is Interface.CORE and new.portals:
            redirected = {far.id: far.redirect_url for far in new.session.fars if far.redirect_url is not None}
            for other in new.session.pdrs:
                if other.source_interface is Interface.ACCESS and other.far_id in redirected and set(other.urr_ids) & set(pdr.urr_ids):
                    return new.portals[redirected[other.far_id]]
        return None

    def _direct(self, pdr: Pdr, far: Far, new: Installed) -> Rule:
        """The way on for what is not charged: within the rates, and past quotas."""
        if pdr.source_interface not in new.uncharged:
            new.uncharged = {**new.uncharged, pdr.source_interface: Counter()}
        rule = self._forward(pdr, far, new.uncharged[pdr.source_interface], new)
        meters, _ = self._limits(pdr, new)
        return Enforce(rule, self.drop, meters, ()) if meters else rule

    def _way_back(self, new: Installed) -> Rule:
        """To the UE, for what is answered here."""
        fars = {far.id: far for far in new.session.fars}
        candidates = [
            (tuple(compile_filter(sdf) for sdf in pdr.sdf_filters), self._direct(pdr, fars[pdr.far_id], new))
            for pdr in sorted(new.session.pdrs, key=precedence_of)
            if pdr.source_interface is Interface.CORE and pdr.application_id is None and pdr.far_id in fars
            and ApplyAction.FORWARD in fars[pdr.far_id].apply_action
        ]
        return Selector(tuple(candidates), self.drop, Interface.CORE)

    def _compile_far(self, far: Far, old: Installed, new: Installed, *, rearm: bool) -> None:
        disposition = far.apply_action & _DISPOSITION
        if disposition not in (ApplyAction.FORWARD, ApplyAction.DROP, ApplyAction.BUFFER):
            raise RuleError(f"FAR {far.id} must do exactly one of FORWARD, DROP and BUFFER")
        if ApplyAction.DUPLICATE in far.apply_action and (disposition is not ApplyAction.FORWARD or not far.duplicates):
            raise RuleError(f"FAR {far.id} duplicates what it forwards, and has to say where to")
        if far.redirect_url is not None:
            if disposition is not ApplyAction.FORWARD:
                raise RuleError(f"FAR {far.id} redirects, so it has to say where to forward what leads there")
            new.portals = {**new.portals, far.redirect_url: old.portals.get(far.redirect_url) or self._new_portal(far.redirect_url)}
        if disposition is ApplyAction.BUFFER:
            buffer = old.buffers.get(far.id)
            new.buffers[far.id] = Buffer() if buffer is None else Buffer(buffer.waiting) if rearm else buffer
        ways: tuple[Far | Duplicate, ...] = (far, *far.duplicates)
        for way in ways:
            if way.outer_header_creation is not None:
                packed(way.outer_header_creation.address)
                if not 0 <= way.outer_header_creation.teid <= 0xFFFFFFFF:
                    raise RuleError(f"FAR {far.id}: a TEID has 32 bits")
                self._port(way.destination_interface)

    def _new_portal(self, url: str) -> Portal:
        try:
            return Portal(url, self._secret, self._loop.time)
        except WireError as error:
            raise RuleError(str(error)) from error

    def _compile_qer(self, qer: Qer, old: Installed, new: Installed) -> None:
        for uplink, rate_bps in ((True, qer.uplink_mbr_bps), (False, qer.downlink_mbr_bps)):
            if rate_bps is None:
                continue
            if rate_bps < 0:
                raise RuleError(f"QER {qer.id}: a bit rate is not negative")
            meter: Meter | None
            if qer.correlation_id is None:
                meter = old.meters.get((qer.id, uplink)) or self._new_meter()
            else:
                key = (qer.correlation_id, uplink)
                meter = self._shared_meters.get(key)
                if meter is None:
                    meter = self._shared_meters[key] = self._new_meter()
            new.meters[qer.id, uplink] = meter
            new.rates.append((meter, rate_bps))

    def _compile_urr(self, urr: Urr, old: Installed, new: Installed, *, grant: bool) -> None:
        if does_more_than_count(urr):
            kept = None if grant else old.measurements.get(urr.id)
            measurement = kept or self._new_measurement(urr, partial(self._report_usage, new.session.id, urr.id))
            new.measurements = {**new.measurements, urr.id: measurement}

    def _new_counter(self) -> Counter:
        return Counter()

    def _new_meter(self) -> Meter:
        return Meter(self._now_ns)

    def _new_measurement(self, urr: Urr, report: Callable[[UsageTrigger], None]) -> Measurement:
        return Measurement(urr, self._loop, report)

    def _limits(self, pdr: Pdr, new: Installed) -> tuple[tuple[Meter, ...], tuple[Measurement, ...]]:
        """What a PDR's packets have to keep within, or are measured by."""
        uplink = pdr.source_interface is Interface.ACCESS
        return (
            tuple(new.meters[qer_id, uplink] for qer_id in pdr.qer_ids if (qer_id, uplink) in new.meters),
            tuple(new.measurements[urr_id] for urr_id in pdr.urr_ids if urr_id in new.measurements),
        )

    def _exit(self, pdr: Pdr, far: Far, qers: Iterable[Qer], counter: Counter, new: Installed) -> Rule:
        uplink = pdr.source_interface is Interface.ACCESS
        if any((qer.uplink_gate if uplink else qer.downlink_gate) is Gate.CLOSED for qer in qers):
            return Discard(self.drop, DropReason.GATE_CLOSED)
        if ApplyAction.DROP in far.apply_action:
            return Discard(self.drop, DropReason.FAR_DROP)
        if ApplyAction.BUFFER in far.apply_action:
            notify = self._notify if ApplyAction.NOTIFY_CP in far.apply_action else None
            return Hold(new.buffers[far.id], self._buffer_packets, self.drop, notify, new.session.id, pdr.id, far.id)
        return self._forward(pdr, far, counter, new)

    def _forward(self, pdr: Pdr, far: Far, counter: Counter, new: Installed) -> ToTunnel | ToLink:
        if far.outer_header_creation is not None:
            return ToTunnel(counter, self._port(far.destination_interface).send, far.outer_header_creation)
        from_a_ue = pdr.source_interface is Interface.ACCESS and pdr.local_f_teid is not None and pdr.ue_ip_address is not None
        out = ToNetwork if from_a_ue and far.destination_interface is Interface.CORE else ToLink
        return out(counter, self._attachment(far.network_instance, new), new.session.id, pdr.id)

    def _entries(self, pdr: Pdr, new: Installed) -> Iterator[Entry]:
        """Where packets of this PDR come in."""
        if pdr.local_f_teid is not None:
            port = self._port(pdr.source_interface)
            if packed(pdr.local_f_teid.address) != port.packed_address:
                raise RuleError(f"PDR {pdr.id}: {pdr.local_f_teid} is not at our address {port.address}")
            if not 0 < pdr.local_f_teid.teid <= 0xFFFFFFFF:
                raise RuleError(f"PDR {pdr.id}: a TEID has 32 bits and is not 0")
            yield port, pdr.local_f_teid.teid
            return
        attachment = self._attachment(pdr.network_instance, new)
        ue = pdr.ue_ip_address
        # From the access side a link belongs to one UE, so that its source address is checked; on the core side the UE is looked up.
        if ue is None or pdr.source_interface is Interface.ACCESS:
            yield attachment, ANY_ADDRESS
            return
        if ue.ipv4 is not None:
            yield attachment, ue.ipv4.packed
        if ue.ipv6_prefix is not None:
            yield attachment, ue.ipv6_prefix.network_address.packed[:8]

    def _first_link(self, candidates: list[tuple[Pdr, Rule]], recognizer: Recognizer | None) -> Rule:
        first_pdr, first_rule = candidates[0]
        if recognizer is not None:
            return ApplicationSelector(
                tuple((tuple(compile_filter(sdf) for sdf in pdr.sdf_filters), pdr.application_id, rule) for pdr, rule in candidates), self.drop,
                first_pdr.source_interface, recognizer,
            )
        if not first_pdr.sdf_filters or _EVERYTHING in first_pdr.sdf_filters:
            return first_rule       # takes everything: those of lower precedence never get a packet
        return Selector(
            tuple((tuple(compile_filter(sdf) for sdf in pdr.sdf_filters), rule) for pdr, rule in candidates), self.drop, first_pdr.source_interface,
        )

    # Bringing compiled rules into force: nothing here can fail

    def _enter(self, new: Installed, old: Installed | None) -> None:
        if old is not None:
            self._leave(old, keep=new.entries)
            self._retire_counters(old, new)
        for attachment in new.attachments.values():
            attachment.uses += 1
            self._attachments[attachment.name] = attachment
        for meter, rate_bps in new.rates:
            meter.set_rate(rate_bps)
        new.rates.clear()
        self._begin_measurements(new, old)
        if new.recognizer is not None:
            new.recognizer.want(_applications(new.session))
        elif old is not None and old.recognizer is not None:
            old.recognizer.close()
        for (place, key), rule in new.entries.items():
            place.rules[key] = rule
        for far in new.session.fars:
            if far.outer_header_creation is not None:
                self._far_ends[packed(far.outer_header_creation.address), far.outer_header_creation.teid] = (new.session.id, far.id)
        self._sessions[new.session.id] = new
        if old is not None:
            self._forget_unused(old.attachments.values())
            self._release_buffered(old, new)

    def _begin_measurements(self, new: Installed, old: Installed | None) -> None:
        former: Mapping[int, Measurement] = _NOTHING if old is None else old.measurements
        for urr_id, measurement in new.measurements.items():
            if former.get(urr_id) is not measurement:
                measurement.begin(former.get(urr_id))
        if former:
            for urr_id in former.keys() - new.measurements.keys():
                former[urr_id].end()

    def _leave(self, old: Installed, keep: Iterable[Entry]) -> None:
        for place, key in old.entries.keys() - keep:
            del place.rules[key]
        for far in old.session.fars:
            if far.outer_header_creation is not None:
                tunnel = (packed(far.outer_header_creation.address), far.outer_header_creation.teid)
                if self._far_ends.get(tunnel) == (old.session.id, far.id):     # the peer may have given its TEID to another session by now
                    del self._far_ends[tunnel]
        for attachment in old.attachments.values():
            attachment.uses -= 1
        if not keep:
            self._forget_unused(old.attachments.values())

    def _retire_counters(self, old: Installed, new: Installed) -> None:
        """Keep what PDRs counted that were removed, or that count for other URRs from now on."""
        kept_urrs = {urr.id for urr in new.session.urrs}
        for pdr in old.session.pdrs:
            counter = old.counters[pdr.id]
            if new.counters.get(pdr.id) is counter:
                continue
            usage = counter.usage(pdr.source_interface)
            self._retire(counter, pdr.source_interface)
            for urr_id in pdr.urr_ids:
                new.retired[urr_id] = new.retired.get(urr_id, Usage()) + usage
        for urr_id in new.retired.keys() - kept_urrs:
            del new.retired[urr_id]

    def _retire(self, counter: Counter, source: Interface) -> None:
        """Keep in the totals what a counter that goes has counted in this process."""
        self._retired += usage_of(source, counter.packets, counter.octets)

    def _release_buffered(self, old: Installed, new: Installed) -> None:
        for far_id, buffer in old.buffers.items():
            if far_id in new.buffers:
                continue
            for pdr_id, octets, start in buffer.waiting:
                rule = new.exits.get(pdr_id)
                if rule is None or isinstance(rule, Discard):
                    self._drops[DropReason.BUFFER_DISCARDED] += 1
                elif start < 0:
                    rule.packet(octets)
                else:
                    rule.gpdu(octets, start)

    # Finding things

    def _port(self, interface: Interface) -> Port:
        """Of that side; a node that has GTP-U on one side only uses that for all its tunnels."""
        port = self._ports.get(interface) or next(iter(self._ports.values()), None)
        if port is None:
            raise RuleError("this forwarder has no GTP-U port")
        return port

    def _installed(self, session_id: int) -> Installed:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise RuleError(f"no session {session_id}") from None

    def _attachment(self, name: str, new: Installed) -> Attachment:
        attachment = new.attachments.get(name) or self._attachments.get(name) or Attachment(name, self.drop)
        new.attachments[name] = attachment
        return attachment

    def _forget_unused(self, attachments: Iterable[Attachment]) -> None:
        for attachment in attachments:
            if not attachment.uses and attachment.link is None:
                self._attachments.pop(attachment.name, None)


def _no_event(event: Event) -> None:
    """Until the node sets ``on_event``."""


def _unsent(way: Port | Attachment) -> int:
    """What the operating system did not take, so far; in memory everything is taken."""
    if isinstance(way, Attachment):
        return getattr(way.link, "unsent_packets", 0)
    return getattr(way.datagrams, "unsent_datagrams", 0)


def _stop(installed: Installed) -> None:
    """Its timers."""
    for measurement in installed.measurements.values():
        measurement.end()
    if installed.recognizer is not None:
        installed.recognizer.close()


def _applications(session: Session) -> frozenset[str]:
    return frozenset([pdr.application_id for pdr in session.pdrs if pdr.application_id is not None])


def precedence_of(pdr: Pdr) -> int:
    return pdr.precedence


def _counts_the_same(former: Pdr | None, pdr: Pdr) -> bool:
    return former is not None and former.urr_ids == pdr.urr_ids and former.source_interface is pdr.source_interface


def _by_id(name: str, rules: tuple[_Identified, ...]) -> dict[int, _Identified]:
    found = {rule.id: rule for rule in rules}
    if len(found) != len(rules):
        raise RuleError(f"two {name}s have the same id")
    return found


def _changed(name: str, before: tuple[_Identified, ...], given: tuple[_Identified, ...], removed: tuple[int, ...]) -> tuple[_Identified, ...]:
    rules = {rule.id: rule for rule in before}
    for rule_id in removed:
        if rules.pop(rule_id, None) is None:
            raise RuleError(f"no {name} {rule_id} to remove")
    for rule in given:
        rules[rule.id] = rule
    return tuple(rules.values())
