"""The fast back end: the kernel forwards what is plain and frequent (``bpf/gtpu.bpf.c``), the socket back end does all the rest.

Both have the same rules. A packet that the kernel's program does not want to decide about takes the way that it always takes with
sockets, so that a rule that the program cannot express costs speed and nothing else. Counters, rates and quotas are shared.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from epc.dataplane.bpf import layout
from epc.dataplane.bpf.fast_path import FastPath, FastSession, Hook
from epc.dataplane.bpf.layout import Action, RuleFlag
from epc.dataplane.bpf.leases import FastCounter, FastMeasurement, FastMeter, Lease
from epc.dataplane.bpf.next_hops import KernelLink
from epc.dataplane.flow import CompiledFilter, compile_filter
from epc.dataplane.forwarder import DropReason, GtpuPort, IpLink, Statistics, UsageTrigger
from epc.dataplane.gtpu_port import Port
from epc.dataplane.packet_size import MAX_IP_OCTETS
from epc.dataplane.rules import ApplyAction, Far, Gate, Interface, Pdr, SdfFilter, Urr, Usage
from epc.dataplane.socket_backend import Entry, Installed, SocketForwarder, precedence_of
from epc.dataplane.socket_rules import Attachment, Counter, Meter
from epc.dataplane.usage import Measurement
from epc.transport.impairment import Impairments
from epc.transport.interface import Transport

log = logging.getLogger(__name__)

MAX_SESSIONS = 1 << 16

_GATE_CLOSED, _FAR_DROP, _NO_MATCHING_RULE = (
    layout.DROP_REASONS.index(reason) for reason in (DropReason.GATE_CLOSED, DropReason.FAR_DROP, DropReason.NO_MATCHING_RULE)
)
_NO_LIMITS = (layout.NONE,) * (layout.METERS + layout.MEASUREMENTS)


class BpfForwarder(SocketForwarder):
    """A :class:`~epc.dataplane.forwarder.Forwarder` that forwards in the kernel. Make one with :meth:`open`."""

    def __init__(self, fast: FastPath, *, buffer_packets: int, first_teid: int | None) -> None:
        super().__init__(buffer_packets=buffer_packets, first_teid=first_teid)
        self._fast = fast
        self._impairments = Impairments("")
        self._was_impaired = False
        self._interfaces: frozenset[str] = frozenset()      # reference points of the ports

    @classmethod
    async def open(
        cls, transport: Transport, *, access: GtpuPort | None = None, core: GtpuPort | None = None,
        buffer_packets: int = 32, first_teid: int | None = None, hook: Hook | None = None, max_sessions: int = MAX_SESSIONS,
    ) -> BpfForwarder:
        """Like :meth:`SocketForwarder.open`; raises :class:`~epc.dataplane.bpf.fast_path.BpfUnavailable` before any port is opened.

        ``hook`` is by default generic XDP, and tc on a device whose XDP place is taken. Native XDP is tried out first, and given up with
        a warning where it does not work. ``max_sessions`` sizes the kernel's tables; what does not fit is forwarded all the same, but slowly.
        """
        fast = await FastPath.open([side.address for side in (access, core) if side is not None], hook=hook, max_sessions=max_sessions)
        forwarder = cls(fast, buffer_packets=buffer_packets, first_teid=first_teid)
        try:
            await forwarder._open_ports(transport, access, core)
            forwarder._interfaces = frozenset(side.interface for side in (access, core) if side is not None)
            forwarder._impairments = transport.impairments
            transport.impairments.watch(forwarder._impairments_changed)
            forwarder._impairments_changed()
        except BaseException:
            fast.close()
            raise
        return forwarder

    def hooks(self) -> Mapping[str, Hook]:
        """By device."""
        return self._fast.hooks()

    def usage_in_kernel(self) -> Usage:
        """What never came to this process, of all sessions since the start."""
        return self._fast.usage()

    async def close(self) -> None:
        self._fast.close()
        await super().close()

    def remove(self, session_id: int) -> Mapping[int, Usage]:
        self._installed(session_id)
        self._fast.take_out(session_id)     # first, so that the final usage is final
        return super().remove(session_id)

    def statistics(self) -> Statistics:
        statistics = super().statistics()
        in_kernel = self._fast.drops()
        return dataclasses.replace(
            statistics, usage=statistics.usage + self._fast.usage(),
            drops={reason: count + in_kernel.get(reason, 0) for reason, count in statistics.drops.items()},
        )

    def connect(
        self, network_instance: str, link: IpLink, *, mtu_octets: int | None = None, gateways: Iterable[IPv4Address | IPv6Address] = (),
    ) -> None:
        super().connect(network_instance, link, mtu_octets=mtu_octets, gateways=gateways)
        if isinstance(link, KernelLink):
            try:
                self._fast.attach_link(link)
            except OSError as error:
                log.warning("%s takes the slow path: no program can be attached to %s: %s", network_instance, link.device.name, error)
        else:
            log.warning("%s takes the slow path: its link is no network device, which takes network namespaces and root", network_instance)
        self._put_those_on(network_instance)

    def disconnect(self, network_instance: str) -> None:
        attachment = self._attachments.get(network_instance)
        link = None if attachment is None else attachment.link
        super().disconnect(network_instance)
        self._put_those_on(network_instance)
        if isinstance(link, KernelLink):
            self._fast.detach_link(link)

    def _put_those_on(self, network_instance: str) -> None:
        for installed in self._sessions.values():
            if network_instance in installed.attachments:
                self._put(installed)

    def _impairments_changed(self) -> None:
        if self._is_impaired != self._was_impaired:
            self._was_impaired = self._is_impaired
            log.info("packets take the slow path, for links are impaired" if self._was_impaired else "links are no longer impaired")
        for installed in self._sessions.values():
            self._put(installed)

    @property
    def _is_impaired(self) -> bool:
        """What goes wrong with packets on purpose goes wrong in user space."""
        return any(rule.interface is None or rule.interface in self._interfaces for rule in self._impairments.rules)

    # What rules own is shared with the kernel

    def _new_counter(self) -> Counter:
        return FastCounter(self._fast.tables)

    def _new_meter(self) -> Meter:
        return FastMeter(self._fast.tables, self._now_ns)

    def _new_measurement(self, urr: Urr, report: Callable[[UsageTrigger], None]) -> Measurement:
        return FastMeasurement(self._fast.tables, urr, self._loop, report)

    def _now_ns(self) -> int:
        return time.monotonic_ns()      # the kernel's bpf_ktime_get_ns

    # Compiling rules for the kernel

    def _enter(self, new: Installed, old: Installed | None) -> None:
        super()._enter(new, old)
        self._put(new)

    def _put(self, installed: Installed) -> None:
        if self._fast.is_open:
            self._fast.put(installed.session.id, self._compile_fast(installed))

    def _compile_fast(self, installed: Installed) -> FastSession:
        fast, former = FastSession(), self._fast.former(installed.session.id)
        if former is not None:
            fast.credits.update(former.credits)
        if installed.recognizer is not None or self._is_impaired:
            return fast             # they have to see every packet
        fars = {far.id: far for far in installed.session.fars}
        chains: dict[Entry, list[Pdr]] = {}
        for pdr in sorted(installed.session.pdrs, key=precedence_of):
            for entry in self._entries(pdr, installed):
                chains.setdefault(entry, []).append(pdr)
        for (place, key), pdrs in chains.items():
            location = self._location(place, key)
            if location is not None:
                table, key_octets = location
                octets = self._chain(pdrs, fars, installed, fast)
                if octets is not None:
                    fast.entries[self._fast.maps[table], key_octets] = octets
        return fast

    def _location(self, place: Port | Attachment, key: int | bytes) -> tuple[str, bytes] | None:
        """The table and key by which the kernel finds what comes in there; ``None`` where nothing reaches it."""
        if isinstance(place, Port):
            return "tunnels", layout.tunnel_key(int(key)) + layout.index_key(0 if place is self._first_port() else 1)
        if isinstance(key, bytes) and isinstance(place.link, KernelLink):
            ifindex = place.link.device.ifindex
            if len(key) == 4:
                return "ues_ipv4", layout.ipv4_key(ifindex, key)
            if len(key) == 8:
                return "ues_ipv6", layout.ipv6_key(ifindex, key)
        return None

    def _first_port(self) -> Port:
        return self._ports[Interface.ACCESS] if Interface.ACCESS in self._ports else self._ports[Interface.CORE]

    def _chain(self, pdrs: list[Pdr], fars: Mapping[int, Far], installed: Installed, fast: FastSession) -> bytes | None:
        """What the kernel does with the packets of one TEID or UE address; ``None`` when that is for user space in any case."""
        uplink = RuleFlag.UPLINK if pdrs[0].source_interface is Interface.ACCESS else RuleFlag.NONE
        last = layout.rule(Action.DISCARD, _NO_MATCHING_RULE, uplink, 0, 0, bytes(4), bytes(4), 0, bytes(8), *_NO_LIMITS)
        filters: list[tuple[SdfFilter, int]] = []
        for pdr in pdrs:
            octets = self._rule(pdr, fars[pdr.far_id], installed, fast)
            if not pdr.sdf_filters:
                if octets[0] == Action.TO_USER_SPACE and not filters:
                    return None
                last = octets
                break
            lease = self._fast.rule_pool.lend()
            if lease is None:
                self._fast.no_room()
                return None
            fast.rules.append((lease, octets))
            filters += [(each, lease.first) for each in pdr.sdf_filters]
        if not filters:
            return layout.entry_head(0, 0) + last
        if len(filters) > layout.MAX_FILTERS:
            return None
        run = self._fast.filter_pool.lend(len(filters))
        if run is None:
            self._fast.no_room()
            return None
        fast.leases.append(run)
        fast.filters += [(run.first + at, _filter(compile_filter(each), index)) for at, (each, index) in enumerate(filters)]
        return layout.entry_head(run.first, len(filters)) + last

    def _rule(self, pdr: Pdr, far: Far, installed: Installed, fast: FastSession) -> bytes:
        uplink = pdr.source_interface is Interface.ACCESS
        flags = RuleFlag.UPLINK if uplink else RuleFlag.NONE
        ue_ipv4, ue_ipv6_prefix = bytes(4), bytes(8)
        if pdr.ue_ip_address is not None or (pdr.local_f_teid is not None and not self.is_intermediate):
            flags |= RuleFlag.CHECK_IP
        if pdr.ue_ip_address is not None:
            flags |= RuleFlag.CHECK_IPV4 | RuleFlag.CHECK_IPV6
            if pdr.ue_ip_address.ipv4 is not None:
                flags |= RuleFlag.HAS_IPV4
                ue_ipv4 = pdr.ue_ip_address.ipv4.packed
            if pdr.ue_ip_address.ipv6_prefix is not None:
                flags |= RuleFlag.HAS_IPV6
                ue_ipv6_prefix = pdr.ue_ip_address.ipv6_prefix.network_address.packed[:8]
        limits = self._fast_limits(pdr, installed)
        counter = installed.counters[pdr.id]
        action, argument, credit, teid = Action.TO_USER_SPACE, 0, 0, 0
        if limits is not None and isinstance(counter, FastCounter) and counter.lease is not None:
            action, argument, credit, teid = self._action(pdr, far, installed, fast)
        else:
            self._fast.no_room()
        reason, next_hop = (argument, 0) if action is Action.DISCARD else (0, argument)
        return layout.rule(
            action, reason, flags, 0 if not isinstance(counter, FastCounter) or counter.lease is None else counter.lease.first, next_hop,
            teid.to_bytes(4), ue_ipv4, credit, ue_ipv6_prefix, *(limits or _NO_LIMITS),
        )

    def _action(self, pdr: Pdr, far: Far, installed: Installed, fast: FastSession) -> tuple[Action, int, int, int]:
        """What to do; why not, or the next hop; the credit's index; the TEID."""
        uplink = pdr.source_interface is Interface.ACCESS
        qers = {qer.id: qer for qer in installed.session.qers}
        if any((qers[qer_id].uplink_gate if uplink else qers[qer_id].downlink_gate) is Gate.CLOSED for qer_id in pdr.qer_ids):
            return Action.DISCARD, _GATE_CLOSED, 0, 0
        if ApplyAction.DROP in far.apply_action:
            return Action.DISCARD, _FAR_DROP, 0, 0
        if ApplyAction.BUFFER in far.apply_action:
            return self._hold(far, installed, fast)
        if pdr.id in installed.rare:
            return Action.TO_USER_SPACE, 0, 0, 0
        tunnel = far.outer_header_creation
        next_hop: int | None = None
        if tunnel is None:
            link = self._attachment(far.network_instance, installed).link
            if isinstance(link, KernelLink) and pdr.local_f_teid is not None:
                next_hop = self._fast.next_hops.link(link)
                action = Action.TO_LINK
        else:
            ours, theirs = self._port(far.destination_interface).ip_address, ip_address(tunnel.address)
            if ours.version == theirs.version:
                next_hop = self._fast.next_hops.tunnel(ours, theirs, self._longest(pdr, installed))
                action = Action.TO_TUNNEL
        if next_hop is None:
            return Action.TO_USER_SPACE, 0, 0, 0
        return action, next_hop, 0, 0 if tunnel is None else tunnel.teid

    def _longest(self, pdr: Pdr, installed: Installed) -> int:
        """The longest packet that a tunnel takes from where the PDR's come from."""
        return MAX_IP_OCTETS if pdr.local_f_teid is not None else self._attachment(pdr.network_instance, installed).mtu_octets

    def _hold(self, far: Far, installed: Installed, fast: FastSession) -> tuple[Action, int, int, int]:
        """As many packets go to user space as its buffer has room for, and one at least if the control plane has yet to be told."""
        lease = fast.credits.get(far.id) or self._fast.tables.credit_pool.lend()
        if lease is None:
            self._fast.no_room()
            return Action.TO_USER_SPACE, 0, 0, 0
        fast.credits[far.id] = lease
        buffer = installed.buffers[far.id]
        has_to_tell = ApplyAction.NOTIFY_CP in far.apply_action and not buffer.notified
        self._fast.set_credit(lease, max(self._buffer_packets - len(buffer.waiting), int(has_to_tell)))
        return Action.HOLD, 0, lease.first, 0

    def _fast_limits(self, pdr: Pdr, installed: Installed) -> tuple[int, ...] | None:
        """Indices of the meters and measurements; ``None`` when there are more than the kernel's rule has places for."""
        meters, measurements = self._limits(pdr, installed)
        if len(meters) > layout.METERS or len(measurements) > layout.MEASUREMENTS:
            return None
        indices = [_index(meter.lease if isinstance(meter, FastMeter) else None) for meter in meters]
        measurement_indices = [_index(each.lease if isinstance(each, FastMeasurement) else None) for each in measurements]
        if layout.NONE in indices or layout.NONE in measurement_indices:
            return None
        return (
            *indices, *[layout.NONE] * (layout.METERS - len(indices)),
            *measurement_indices, *[layout.NONE] * (layout.MEASUREMENTS - len(measurement_indices)),
        )


def _index(lease: Lease | None) -> int:
    return layout.NONE if lease is None else lease.first


def _filter(compiled: CompiledFilter, rule: int) -> bytes:
    remote_ports, local_ports = compiled.remote_ports, compiled.local_ports
    kind = kind_mask = 0
    if compiled.version:
        kind, kind_mask = compiled.version, 0xFF
    if compiled.protocol >= 0:
        kind, kind_mask = kind | compiled.protocol << 8, kind_mask | 0xFF << 8
    if remote_ports[0] >= 0 or local_ports[0] >= 0:
        kind, kind_mask = kind | layout.HAS_PORTS, kind_mask | layout.HAS_PORTS
    octets = 4 if compiled.version == 4 else 16
    return layout.packet_filter(
        compiled.network.to_bytes(octets), compiled.mask.to_bytes(octets), kind, kind_mask,
        max(remote_ports[0], 0), remote_ports[1], max(local_ports[0], 0), local_ports[1], rule,
    )
