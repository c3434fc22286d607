"""The programs and their maps at work: which devices they are attached to, and what the kernel knows of each session."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from ipaddress import IPv4Address, ip_address

from epc.dataplane.bpf import layout
from epc.dataplane.bpf.kernel import XDP_FLAGS_SKB_MODE, AttachType, Map, RingBuffer, attach
from epc.dataplane.bpf.leases import Lease, Pool, Tables, sum_counts
from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.bpf.next_hops import KernelLink, NextHops
from epc.dataplane.bpf.program import LoadedObject, ObjectError, ObjectFile
from epc.dataplane.forwarder import DropReason
from epc.dataplane.rules import Usage

log = logging.getLogger(__name__)

_PER_SESSION = {       # how many entries there are room for: default and dedicated bearers, both directions
    "tunnels": 4, "ues_ipv4": 1, "ues_ipv6": 1, "filters": 4, "rules": 4, "counters": 4, "meters": 2, "quotas": 1, "credits": 1,
}
_DOWNLINK, _UPLINK = 0, 1


class Hook(Enum):
    """Where in the kernel the programs run."""

    XDP_GENERIC = "xdp-generic"     # before the network stack; on every device
    TC = "tc"                       # at the entrance of the stack (tcx, Linux 6.6); several programs share a device


class BpfUnavailable(OSError):
    """The BPF back end cannot run here; says why."""


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
        self.next_hops = NextHops(loaded.maps["next_hops"], routes)
        self._loaded = loaded
        self._routes = routes
        self._links: dict[int, int] = {}            # descriptors of what holds a program to a device, by interface index
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
            loaded = await asyncio.to_thread(lambda: LoadedObject(ObjectFile.shipped(), entries))
        except FileNotFoundError:
            raise BpfUnavailable(errno.ENOENT, "its program was not built: there was no clang when this package was") from None
        except (OSError, ObjectError) as error:
            raise BpfUnavailable(getattr(error, "errno", None) or 0, f"the kernel does not take the program: {error}") from error
        routes = RouteSocket()
        fast = cls(loaded, routes, hook)
        try:
            fast.maps["ports"].update(bytes(4), layout.ports(ours[0].packed[-4:], ours[-1].packed[-4:]))
            for address in ours:
                if not isinstance(address, IPv4Address):
                    raise BpfUnavailable(errno.EAFNOSUPPORT, f"GTP-U address {address} is not IPv4")
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
            for descriptor in self._links.values():
                os.close(descriptor)
            self._loop.remove_reader(self._ring.descriptor)
            self._ring.close()
            self.next_hops.close()
            self._routes.close()
            self.tables.close()
            self._loaded.close()

    # Devices

    def attach(self, role: str, ifindex: int) -> None:
        """``role``: "gtpu" or "link". Raises ``OSError``."""
        if ifindex in self._links:
            return
        if self.hook is not Hook.TC:
            try:
                self._links[ifindex] = attach(self._loaded.programs[f"xdp_{role}"], ifindex, AttachType.XDP, XDP_FLAGS_SKB_MODE)
                return
            except OSError as error:
                if self.hook is not None or error.errno not in (errno.EBUSY, errno.EEXIST):
                    raise
        self._links[ifindex] = attach(self._loaded.programs[f"tc_{role}"], ifindex, AttachType.TCX_INGRESS)

    def attach_link(self, link: KernelLink) -> None:
        self.attach("link", link.device.ifindex)

    def detach_link(self, link: KernelLink) -> None:
        descriptor = self._links.pop(link.device.ifindex, None)
        if descriptor is not None:
            os.close(descriptor)
        self.next_hops.forget_link(link)

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
        layout.octets_left.pack_into(self.tables.credits, lease.first * layout.octets_left.size, packets)

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
        measurement = self.tables.measurements_by_index.get(index) if kind == layout.QUOTA_REACHED else None
        if measurement is not None:
            measurement.used_up()
