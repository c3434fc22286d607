"""What rules own in the program's arrays: counters, meters and quotas that user space and the kernel both work on."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable
from weakref import WeakValueDictionary

from epc.dataplane.bpf import layout
from epc.dataplane.bpf.kernel import Map
from epc.dataplane.bpf.layout import EventKind, MeasurementFlag
from epc.dataplane.forwarder import UsageTrigger
from epc.dataplane.rules import Interface, Urr, Usage
from epc.dataplane.socket_rules import Counter, Meter, usage_of
from epc.dataplane.usage import Measurement


class Pool:
    """Lends runs of an array's indices. Index 0 is never lent: it means "none"."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._unused = 1
        self._returned: dict[int, list[int]] = {}       # by length, always a power of two

    def lend(self, length: int = 1) -> Lease | None:
        """``None`` when there is no room."""
        rounded = 1 << (length - 1).bit_length()
        returned = self._returned.get(rounded)
        if returned:
            return Lease(self, returned.pop(), rounded)
        if self._unused + rounded > self._entries:
            return None
        first, self._unused = self._unused, self._unused + rounded
        return Lease(self, first, rounded)

    def take_back(self, first: int, length: int) -> None:
        self._returned.setdefault(length, []).append(first)


class Lease:
    """Some of a pool's indices; they go back when nobody holds the lease any more."""

    __slots__ = ("_pool", "first", "length")

    def __init__(self, pool: Pool, first: int, length: int) -> None:
        self._pool = pool
        self.first = first
        self.length = length

    def __del__(self) -> None:
        self._pool.take_back(self.first, self.length)


class Tables:
    """The arrays, and the part of them that is mapped into this process."""

    def __init__(self, maps: dict[str, Map]) -> None:
        self.counters = maps["counters"]
        self.counter_pool = Pool(self.counters.entries)
        self.meters: mmap.mmap = maps["meters"].shared_memory()
        self.meter_pool = Pool(maps["meters"].entries)
        self.measurements: mmap.mmap = maps["measurements"].shared_memory()
        self.measurement_pool = Pool(maps["measurements"].entries)
        self.measurements_by_index: WeakValueDictionary[int, FastMeasurement] = WeakValueDictionary()
        self.credits: mmap.mmap = maps["credits"].shared_memory()
        self.credit_pool = Pool(maps["credits"].entries)

    def close(self) -> None:
        for memory in (self.meters, self.measurements, self.credits):
            memory.close()


class FastCounter(Counter):
    """What a PDR let through here, and in the kernel."""

    __slots__ = ("_map", "lease")

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._map = tables.counters
        self.lease = tables.counter_pool.lend()
        if self.lease is not None:
            self._map.clear_value(layout.index_key(self.lease.first))

    def usage(self, source: Interface) -> Usage:
        packets, octets = self.packets, self.octets
        if self.lease is not None:
            in_kernel = sum_counts(self._map, self.lease.first)
            packets, octets = packets + in_kernel[0], octets + in_kernel[1]
        return usage_of(source, packets, octets)


class FastMeter(Meter):
    """A rate whose state the kernel's program shares."""

    __slots__ = ("_memory", "lease")

    def __init__(self, tables: Tables, clock_ns: Callable[[], int]) -> None:
        super().__init__(clock_ns)
        self._memory = tables.meters
        self.lease = tables.meter_pool.lend()
        if self.lease is not None:
            at = self.lease.first * layout.METER_OCTETS
            self._memory[at:at + layout.METER_OCTETS] = bytes(layout.METER_OCTETS)

    def set_rate(self, rate_bps: int) -> None:
        super().set_rate(rate_bps)
        if self.lease is not None:
            layout.meter_rate.pack_into(self._memory, self.lease.first * layout.METER_OCTETS, self.q20_ns_per_octet, self.burst_ns)

    def conforms(self, octets: int) -> bool:
        if self.lease is None:
            return super().conforms(octets)
        at = self.lease.first * layout.METER_OCTETS + layout.METER_STATE_AT
        (self.busy_until_ns,) = layout.meter_state.unpack_from(self._memory, at)
        conforms = super().conforms(octets)
        if conforms:
            layout.meter_state.pack_into(self._memory, at, self.busy_until_ns)
        return conforms


class FastMeasurement(Measurement):
    """A URR that the kernel's program measures too. What it has come to there is told by events; timers and reports are user space's."""

    def __init__(self, tables: Tables, urr: Urr, loop: asyncio.AbstractEventLoop, report: Callable[[UsageTrigger], None]) -> None:
        super().__init__(urr, loop, report)
        self._memory = tables.measurements
        self.lease = tables.measurement_pool.lend()
        if self.lease is not None:
            flags = MeasurementFlag.QUOTA if self.has_quota else MeasurementFlag.NONE
            flags |= MeasurementFlag.THRESHOLD if self.has_threshold else MeasurementFlag.NONE
            flags |= MeasurementFlag.TIME if self.measures_time else MeasurementFlag.NONE
            self._at = self.lease.first * layout.measurement.size
            layout.measurement.pack_into(self._memory, self._at, self.quota_left, self.threshold_left, 0, flags, 1, 1)
            tables.measurements_by_index[self.lease.first] = self

    def begin(self, former: Measurement | None) -> None:
        super().begin(former)
        self._write_flag(layout.TELL_USE_AT, self._using_since_s is None)

    def told(self, kind: int) -> None:
        """An event from the kernel."""
        if kind == EventKind.QUOTA_USED_UP or kind == EventKind.REFUSED:
            self.allows()
        elif kind == EventKind.THRESHOLD_REACHED:
            self._read()
            if self.threshold_left <= 0:
                self.tell_threshold()
        elif kind == EventKind.USE_BEGAN and self._using_since_s is None and not self.quota_told:
            self.use_starts(self.last_packet_at_s())

    def allows(self) -> bool:
        self._read()
        return super().allows()

    def take_quota(self, octets: int) -> None:
        self._read()
        super().take_quota(octets)
        self._write()

    def take_threshold(self, octets: int) -> None:
        self._read()
        super().take_threshold(octets)
        self._write()

    def restart_threshold(self) -> None:
        self._read()
        super().restart_threshold()
        self._write()

    def close(self) -> None:
        self._read()
        super().close()
        self._write()
        self._write_flag(layout.TELL_REFUSAL_AT, not self.quota_told)

    def last_packet_at_s(self) -> float:
        if self.lease is None or self._memory.closed:
            return self.last_packet_s
        (in_kernel_ns,) = layout.last_packet_ns.unpack_from(self._memory, self._at + layout.LAST_PACKET_AT)
        return max(self.last_packet_s, in_kernel_ns / 1e9) if in_kernel_ns else self.last_packet_s

    def use_starts(self, at_s: float) -> None:
        self._write_flag(layout.TELL_USE_AT, False)
        super().use_starts(at_s)

    def _stop_use(self) -> None:
        super()._stop_use()
        self._write_flag(layout.TELL_USE_AT, True)

    def _read(self) -> None:
        if self.lease is not None and not self._memory.closed:
            self.quota_left, self.threshold_left = layout.measurement_octets.unpack_from(self._memory, self._at)

    def _write(self) -> None:
        if self.lease is not None and not self._memory.closed:
            layout.measurement_octets.pack_into(self._memory, self._at, self.quota_left, self.threshold_left)

    def _write_flag(self, at: int, value: bool) -> None:
        if self.lease is not None and not self._memory.closed:
            layout.flag.pack_into(self._memory, self._at + at, value)


def sum_counts(counters: Map, index: int) -> tuple[int, int]:
    """Packets and octets, of all CPUs together."""
    values = list(layout.count.iter_unpack(counters.lookup(layout.index_key(index)) or b""))
    return sum(value[0] for value in values), sum(value[1] for value in values)
