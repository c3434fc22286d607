"""The programs and their maps at work: which devices they are attached to, and what the kernel knows of each session."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterable, Mapping
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

from epc.dataplane.bpf import layout
from epc.dataplane.bpf.anonymous import entered, namespace_here
from epc.dataplane.bpf.kernel import XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, AttachType, Map, RingBuffer, attach, run_live
from epc.dataplane.bpf.leases import Lease, Pool, Tables, sum_counts
from epc.dataplane.bpf.netlink import Device, RouteSocket
from epc.dataplane.bpf.next_hops import KernelLink, NextHops
from epc.dataplane.bpf.program import LoadedObject, ObjectError, ObjectFile
from epc.dataplane.forwarder import DropReason
from epc.dataplane.rules import Usage

log = logging.getLogger(__name__)

_PER_SESSION = {       # how many entries there are room for: default and dedicated bearers, both directions
    "tunnels": 4, "ues_ipv4": 1, "ues_ipv6": 1, "filters": 4, "rules": 4, "counters": 4, "meters": 2, "measurements": 2, "credits": 1,
}
_DOWNLINK, _UPLINK = 0, 1
_PROBE_PROTOCOL, _MIN_FRAME_OCTETS = b"\x90\x00", 60      # EtherType of the Configuration Testing Protocol
_PROBE_LOOKS, _PROBE_LOOKS_EVERY_S = 20, 0.002


class Hook(Enum):
    """Where in the kernel the programs run."""

    XDP_GENERIC = "xdp-generic"     # before the network stack; on every device
    XDP_NATIVE = "xdp-native"       # in the device's driver; only if packets get out again that way, which a self-test tells
    TC = "tc"                       # at the entrance of the stack (tcx, Linux 6.6); several programs share a device


class BpfUnavailable(OSError):
    """The BPF back end cannot run here; says why."""


class _Attached(NamedTuple):
    role: str
    hook: Hook
    descriptor: int             # of what holds the program to the device


class FastSession:
    """What the kernel holds of one session."""

    __slots__ = ("credits", "entries", "filters", "leases", "rules")

    def __init__(self) -> None:
        self.entries: dict[tuple[Map, bytes], bytes] = {}
        self.filters: list[tuple[int, bytes]] = []          # by index
        self.rules: list[tuple[Lease, bytes]] = []          # those that filters name
        self.credits: dict[int, Lease] = {}                 # by FAR
        self.leases: list[Lease] = []


class FastPath:
    """Make one with :meth:`open`."""

    def __init__(self, loaded: LoadedObject, routes: RouteSocket, hook: Hook | None) -> None:
        self.maps = loaded.maps
        self.is_open = True
        self.hook = hook
        self.tables = Tables(loaded.maps)
        self.filter_pool = Pool(loaded.maps["filters"].entries)
        self.rule_pool = Pool(loaded.maps["rules"].entries)
        self._loaded = loaded
        self._routes = routes
        self._namespace = namespace_here()
        self._attached: dict[int, _Attached] = {}       # by interface index
        self._exits: dict[int, Device] = {}             # devices that packets leave by, likewise
        self._tried_out: set[int] = set()               # those that let out frames of native XDP
        self.next_hops = NextHops(loaded.maps["next_hops"], routes, self._leaves_by)
        self._sessions: dict[int, FastSession] = {}
        self._ring = RingBuffer(loaded.maps["events"])
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ring.descriptor, self._ring_readable)
        self._refused = False

    @classmethod
    async def open(cls, addresses: Iterable[str], *, hook: Hook | None, max_sessions: int) -> FastPath:
        """``addresses`` are the GTP-U addresses, at most two. Raises :class:`BpfUnavailable`.

        Devices are looked for in the calling thread's network namespace.
        """
        addresses = list(dict.fromkeys(addresses))
        ours = [ip_address(address) for address in addresses]
        entries = {name: max(64, per_session * max_sessions) for name, per_session in _PER_SESSION.items()}
        try:
            shipped = ObjectFile.shipped()
            shipped.check(layout.VALUE_OCTETS)
            loaded = await asyncio.to_thread(LoadedObject, shipped, entries)
        except FileNotFoundError:
            raise BpfUnavailable(errno.ENOENT, "its program was not built: there was no clang when this package was") from None
        except (OSError, ObjectError) as error:
            blame = "its program cannot be used" if isinstance(error, ObjectError) else "the kernel does not take the program"
            raise BpfUnavailable(getattr(error, "errno", None) or 0, f"{blame}: {error}") from error
        routes = RouteSocket()
        fast = cls(loaded, routes, hook)
        try:
            fast.maps["ports"].update(bytes(4), b"".join(layout.address(each.version, each.packed) for each in (ours[0], ours[-1])))
            for address in ours:
                ifindex = routes.owner(address)
                if ifindex is None:
                    raise BpfUnavailable(errno.EADDRNOTAVAIL, f"no device has GTP-U address {address}")
                device = routes.device(ifindex)
                if not device.mac:
                    raise BpfUnavailable(errno.EOPNOTSUPP, f"GTP-U address {address} is on {device.name}, which is no Ethernet device")
                fast.attach("gtpu", ifindex)
        except BpfUnavailable:
            fast.close()
            raise
        except OSError as error:
            fast.close()
            raise BpfUnavailable(error.errno or 0, str(error)) from error
        return fast

    def close(self) -> None:
        """Programs and maps go with their descriptors."""
        if self.is_open:
            self.is_open = False
            for attached in self._attached.values():
                os.close(attached.descriptor)
            os.close(self._namespace)
            self._loop.remove_reader(self._ring.descriptor)
            self._ring.close()
            self.next_hops.close()
            self._routes.close()
            self.tables.close()
            self._loaded.close()

    # Devices

    def attach(self, role: str, ifindex: int) -> None:
        """``role``: "gtpu" or "link". Raises ``OSError``."""
        if ifindex in self._attached:
            return
        hook = self.hook
        if hook is Hook.XDP_NATIVE:
            try:
                self._attach(role, ifindex, Hook.XDP_NATIVE)
            except OSError as error:
                log.warning("%s runs no native XDP, so it is generic there: %s", self._name(ifindex), error)
                hook = Hook.XDP_GENERIC
            else:
                for device in list(self._exits.values()):
                    self._leaves_by(device)
                return
        try:
            self._attach(role, ifindex, hook or Hook.XDP_GENERIC)
        except OSError as error:
            if hook is not None or error.errno not in (errno.EBUSY, errno.EEXIST):
                raise
            self._attach(role, ifindex, Hook.TC)

    def _attach(self, role: str, ifindex: int, hook: Hook) -> None:
        program = self._loaded.program(f"{'tc' if hook is Hook.TC else 'xdp'}_{role}")
        with entered(self._namespace):
            if hook is Hook.TC:
                descriptor = attach(program, ifindex, AttachType.TCX_INGRESS)
            else:
                descriptor = attach(program, ifindex, AttachType.XDP, XDP_FLAGS_DRV_MODE if hook is Hook.XDP_NATIVE else XDP_FLAGS_SKB_MODE)
        self._attached[ifindex] = _Attached(role, hook, descriptor)

    def attach_link(self, link: KernelLink) -> None:
        self.attach("link", link.device.ifindex)

    def detach_link(self, link: KernelLink) -> None:
        attached = self._attached.pop(link.device.ifindex, None)
        if attached is not None:
            os.close(attached.descriptor)
        self.next_hops.forget_link(link)

    def hooks(self) -> Mapping[str, Hook]:
        """By device."""
        return {self._name(ifindex): attached.hook for ifindex, attached in self._attached.items()} if self.is_open else {}

    def _name(self, ifindex: int) -> str:
        try:
            return self._routes.device(ifindex).name
        except OSError:                 # is gone
            return f"device {ifindex}"

    # Native XDP: a device to which frames are redirected may lose them all, and say nothing

    def _leaves_by(self, device: Device) -> None:
        self._exits[device.ifindex] = device
        if device.ifindex not in self._tried_out and any(attached.hook is Hook.XDP_NATIVE for attached in self._attached.values()):
            if self._lets_out(device):
                self._tried_out.add(device.ifindex)
            else:
                log.warning("no frame of native XDP gets out of %s, so it is generic from now on", device.name)
                self._give_native_up()

    def _lets_out(self, device: Device) -> bool:
        """Sends a frame there as the program would; it is addressed to the device itself, and of no protocol that anybody speaks."""
        frame = (device.mac + device.mac + _PROBE_PROTOCOL + device.ifindex.to_bytes(4, "little")).ljust(_MIN_FRAME_OCTETS, b"\0")
        try:
            before = self._routes.sent_packets(device.ifindex)
            with entered(self._namespace):
                run_live(self._loaded.program("xdp_probe"), frame, 1)
            for _ in range(_PROBE_LOOKS):
                if self._routes.sent_packets(device.ifindex) > before:
                    return True
                time.sleep(_PROBE_LOOKS_EVERY_S)
        except OSError as error:
            log.info("the self-test of native XDP failed: %s", error)
        return False

    def _give_native_up(self) -> None:
        self.hook = Hook.XDP_GENERIC
        for ifindex, attached in list(self._attached.items()):
            if attached.hook is Hook.XDP_NATIVE:
                del self._attached[ifindex]
                os.close(attached.descriptor)
                try:
                    self._attach(attached.role, ifindex, Hook.XDP_GENERIC)
                except OSError as error:
                    log.warning("%s takes the slow path: %s", self._name(ifindex), error)

    # Sessions

    def former(self, session_id: int) -> FastSession | None:
        return self._sessions.get(session_id)

    def put(self, session_id: int, session: FastSession) -> None:
        """Bring a session into force. What the kernel has no room for stays with the slow path."""
        former = self._sessions.pop(session_id, None)
        held: dict[tuple[Map, bytes], bytes] = {} if former is None else former.entries
        entries = session.entries
        try:
            for index, octets in session.filters:
                self.maps["filters"].update(layout.index_key(index), octets)
            for lease, octets in session.rules:
                self.maps["rules"].update(layout.index_key(lease.first), octets)
            for place, octets in entries.items():
                if held.get(place) != octets:
                    place[0].update(place[1], octets)
        except OSError as error:
            self._report_refusal(str(error))
            self._delete(entries.keys() | held.keys())
            self._delete((self.maps["rules"], layout.index_key(lease.first)) for lease, _ in session.rules)
            session = FastSession()
        else:
            self._delete(held.keys() - entries.keys())
        if former is not None:
            self._delete((self.maps["rules"], layout.index_key(lease.first)) for lease, _ in former.rules)
        if session.entries:
            self._sessions[session_id] = session

    def take_out(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None and self.is_open:
            self._delete(session.entries.keys())
            self._delete((self.maps["rules"], layout.index_key(lease.first)) for lease, _ in session.rules)

    def _delete(self, places: Iterable[tuple[Map, bytes]]) -> None:
        for table, key in places:
            with contextlib.suppress(FileNotFoundError):        # one that the kernel had no room for
                table.delete(key)

    def _report_refusal(self, why: str) -> None:
        if not self._refused:
            self._refused = True
            log.warning("some sessions take the slow path, the kernel's tables are full: %s", why)

    def no_room(self) -> None:
        self._report_refusal("more rules than max_sessions allows for")

    def set_credit(self, lease: Lease, packets: int) -> None:
        """How many packets of a rule that holds them still go to user space."""
        layout.packets_left.pack_into(self.tables.credits, lease.first * layout.packets_left.size, packets)

    # What it counted

    def usage(self) -> Usage:
        if not self.is_open:
            return Usage()
        uplink, downlink = sum_counts(self.maps["totals"], _UPLINK), sum_counts(self.maps["totals"], _DOWNLINK)
        return Usage(uplink_packets=uplink[0], uplink_octets=uplink[1], downlink_packets=downlink[0], downlink_octets=downlink[1])

    def drops(self) -> Mapping[DropReason, int]:
        if not self.is_open:
            return {}
        found: dict[DropReason, int] = {}
        for index, reason in enumerate(layout.DROP_REASONS):
            values = self.maps["drops"].lookup(layout.index_key(index)) or b""
            found[reason] = sum(int.from_bytes(values[at:at + 8], "little") for at in range(0, len(values), 8))
        return found

    def _ring_readable(self) -> None:
        self._ring.drain(self._event)

    def _event(self, record: bytes) -> None:
        kind, index = layout.event(record)
        measurement = self.tables.measurements_by_index.get(index)
        if measurement is not None:
            measurement.told(kind)
