"""The charging function of a gateway: opens, splits and closes the records of its bearers (CTF and CDF of TS 32.251 in one place).

A gateway tells it of each bearer's beginning, changes and end, and gives it the means to read volumes; it does the rest: limits, tariff times,
the journal, and after a crash the records of what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from epc.charging.config import OfflineCharging
from epc.charging.record import AnyRecord, BearerRecords, Conditions, Ends, ServiceKey, Volume, effect, with_conditions
from epc.charging.store import SUFFIXES, RecordStore, State
from epc.node import Node
from epc.wire.cdr import CauseForRecClosing, ChangeCondition, ClosureReason

Counted = Iterable[tuple[ServiceKey, Volume]]
_AT_A_TIME, _SHARES = 200, 20       # bearers whose volumes are read without a pause; into how many parts a round is cut at most
_NODE_ID_LENGTH = 20                # TS 32.298 clause 5.2.2.1, NodeID


@dataclass(slots=True, kw_only=True, eq=False)
class ChargedBearer:
    """A bearer under charging. ``read`` says what it carried since it was asked last; ``granted`` is called when a new volume limit begins."""

    records: BearerRecords
    read: Callable[[], Counted]
    granted: Callable[[], None]


class OfflineChargingFunction:
    """One a gateway, see the module. Without ``start`` nothing is written."""

    def __init__(self, node: Node[Any], config: OfflineCharging, address: str) -> None:
        self.config = config
        self._node = node
        self._clock = node.clock
        self._zone = config.zone
        chosen = config.directory_in(node.config.state_directory)
        self._temporary = None if chosen is not None else tempfile.TemporaryDirectory(prefix=f"epclab-{node.config.name}-cdr-")
        directory = chosen if self._temporary is None else Path(self._temporary.name)
        assert directory is not None
        self._store = RecordStore(
            directory, node.config.name, config, clock=node.clock, node_address=ip_address(address))
        self._bearers: dict[str, ChargedBearer] = {}
        self._next_key = 1
        self._pending: deque[tuple[BearerRecords, AnyRecord, State | None]] = deque()     # the disk would not take them
        self._round: list[ChargedBearer] = []       # whose volumes are still to be noted this time
        self._round_began = 0.0
        self._tick: asyncio.TimerHandle | None = None
        self._tariff: asyncio.TimerHandle | None = None
        self._limits: dict[str, asyncio.TimerHandle] = {}
        self._written = node.metrics.counter("charging_records", "Charging data records closed", ("cause",))
        self._failures = node.metrics.counter("charging_write_failures", "Times that the disk did not take a record or a volume")
        node.metrics.gauge("charging_records_open", "Bearers with an open charging data record", lambda: len(self._bearers))

    @property
    def node_id(self) -> str:
        """As records have it."""
        name: str = self._node.config.name
        return name[:_NODE_ID_LENGTH]

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self._store.directory

    def closed_files(self) -> list[Path]:
        """The node's files that are complete and have their names, oldest first."""
        return sorted(path for suffix in SUFFIXES.values() for path in self.directory.glob(f"{self._node.config.name}_-_*.{suffix}"))

    # life

    def start(self) -> None:
        """Close what a former process left open (abnormalRelease, with the volumes it noted last). Raises ``OSError``."""
        for key, state in self._store.open().items():
            records, at = BearerRecords.from_state(key, state, self._zone)
            self._emit(records, CauseForRecClosing.ABNORMAL_RELEASE, at)
            self._node.log.warning("charging.closed_after_crash", charging_id=records.template.charging_id)
        loop = asyncio.get_running_loop()
        self._tick = loop.call_later(self.config.volumes_every_s, self._on_tick)
        self._arm_tariff_time()

    def stop(self) -> None:
        """The node stops, and its bearers with it."""
        for handle in (self._tick, self._tariff, *self._limits.values()):
            if handle is not None:
                handle.cancel()
        self._limits.clear()
        for bearer in list(self._bearers.values()):
            self.close(bearer, CauseForRecClosing.ABNORMAL_RELEASE)
        with self._writing():
            self._drain()
        with self._writing():
            self._store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    # what happens to bearers

    def open(
        self, record: Callable[[datetime.datetime], AnyRecord], conditions: Conditions, *, read: Callable[[], Counted], granted: Callable[[], None],
    ) -> ChargedBearer:
        """A bearer begins: ``record`` makes its first record, opened at the moment given; what ``conditions`` say is filled in here."""
        now = self._clock()
        key, self._next_key = str(self._next_key), self._next_key + 1
        opened = datetime.datetime.fromtimestamp(int(now), self._zone)
        records = BearerRecords(
            key=key, template=with_conditions(record(opened), conditions), conditions=conditions, zone=self._zone, opened_at=now)
        bearer = self._bearers[key] = ChargedBearer(records=records, read=read, granted=granted)
        self._note(records, now)
        self._arm_time_limit(bearer)
        return bearer

    def change(self, bearer: ChargedBearer, conditions: Conditions) -> None:
        """Conditions may have changed. Call it before packets pass under the new ones."""
        records = bearer.records
        ends, cause = effect(records.conditions, conditions)
        if ends is Ends.NOTHING:
            return
        records.count(bearer.read())
        if ends is Ends.RECORD:
            assert isinstance(cause, CauseForRecClosing)
            self._split(bearer, cause, conditions)
        else:
            assert isinstance(cause, ChangeCondition)
            self._end_container(bearer, cause, conditions)

    def volume_reached(self, bearer: ChargedBearer) -> None:
        """The user plane says that the threshold was passed; a record that is younger than the threshold goes on until the tick sees it."""
        if bearer.records.key in self._bearers:
            bearer.records.count(bearer.read())
            self._check_volume(bearer, is_reported=True)

    def close(self, bearer: ChargedBearer, cause: CauseForRecClosing, used: Counted | None = None) -> None:
        """The bearer has ended. ``used`` is what it carried since it was read last, where the user plane has said so already."""
        if self._bearers.pop(bearer.records.key, None) is None:
            return
        limit = self._limits.pop(bearer.records.key, None)
        if limit is not None:
            limit.cancel()
        bearer.records.count(bearer.read() if used is None else used)
        self._emit(bearer.records, cause, self._clock())

    def close_records(self) -> dict[str, object]:
        """Management intervention: every open record ends and is followed by another, and the files get their names."""
        for bearer in list(self._bearers.values()):
            bearer.records.count(bearer.read())
            self._split(bearer, CauseForRecClosing.MANAGEMENT_INTERVENTION, bearer.records.conditions)
        closed = None
        with self._writing():
            self._drain()
            closed = self._store.rotate(ClosureReason.MANUAL_INTERVENTION)
        return {"open": len(self._bearers), "directory": str(self._store.directory), "file": closed}

    def show(self) -> list[dict[str, Any]]:
        """For ``epclab ctl NODE charging``."""
        shown = []
        for bearer in self._bearers.values():
            records = bearer.records
            records.count(bearer.read())
            template, volume = records.template, records.volume
            shown.append({
                "imsi": template.served_imsi, "charging_id": template.charging_id, "opened": str(template.record_opening_time),
                "record": template.record_sequence_number or 1, "uplink_octets": volume.uplink, "downlink_octets": volume.downlink,
                "containers": len(template.list_of_traffic_volumes) + 1})
        return shown

    # how

    def _split(self, bearer: ChargedBearer, cause: CauseForRecClosing, conditions: Conditions) -> None:
        """A partial record ends, the next one begins."""
        now = self._clock()
        records = bearer.records
        finished = records.end_record(cause, now, node_number=0)
        records.template = replace(records.template, record_sequence_number=finished.record_sequence_number)
        records.conditions = conditions
        records.begin_next(now)
        self._write(records, finished, records.state(now))
        if cause is not CauseForRecClosing.VOLUME_LIMIT:
            bearer.granted()
        self._arm_time_limit(bearer)

    def _end_container(self, bearer: ChargedBearer, condition: ChangeCondition, conditions: Conditions) -> None:
        now = self._clock()
        records = bearer.records
        if len(records.template.list_of_traffic_volumes) + 1 >= self.config.partial.changes:
            self._split(bearer, CauseForRecClosing.MAX_CHANGE_COND, conditions)
            return
        records.end_container(condition, now)
        records.conditions = conditions
        self._note(records, now)

    def _emit(self, records: BearerRecords, cause: CauseForRecClosing, at: float) -> None:
        self._write(records, records.end_record(cause, at, node_number=0), None)

    def _write(self, records: BearerRecords, record: AnyRecord, then: State | None) -> None:
        cause = record.cause_for_rec_closing
        self._written.labels(cause.name.lower() if isinstance(cause, CauseForRecClosing) else str(cause)).inc()
        self._pending.append((records, record, then))
        with self._writing():
            self._drain()

    def _drain(self) -> None:
        """In order. What the disk does not take waits for the next tick."""
        while self._pending:
            records, record, then = self._pending[0]
            before = self._store.next_number
            try:
                self._store.add(records.key, replace(record, local_sequence_number=before), then)
            finally:
                if self._store.next_number != before:
                    self._pending.popleft()

    def _note(self, records: BearerRecords, now: float) -> None:
        with self._writing():
            self._store.note(records.key, records.state(now))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Users are served although the disk is full."""
        try:
            yield
        except OSError as error:
            self._failures.inc()
            self._node.log.error("charging.write_failed", directory=str(self._store.directory), reason=str(error), waiting=len(self._pending))

    def _check_volume(self, bearer: ChargedBearer, *, is_reported: bool = False) -> None:
        limit = self.config.partial.octets
        if limit is not None and sum(bearer.records.volume) >= limit:
            self._split(bearer, CauseForRecClosing.VOLUME_LIMIT, bearer.records.conditions)
            if not is_reported:
                bearer.granted()

    def _arm_time_limit(self, bearer: ChargedBearer) -> None:
        seconds = self.config.partial.seconds
        if seconds is None:
            return
        key = bearer.records.key
        former = self._limits.pop(key, None)
        if former is not None:
            former.cancel()
        self._limits[key] = asyncio.get_running_loop().call_later(seconds, self._on_time_limit, bearer)

    def _on_time_limit(self, bearer: ChargedBearer) -> None:
        bearer.records.count(bearer.read())
        self._split(bearer, CauseForRecClosing.TIME_LIMIT, bearer.records.conditions)

    def _arm_tariff_time(self) -> None:
        seconds = self.config.seconds_to_tariff_time(self._clock())
        if seconds is not None:
            self._tariff = asyncio.get_running_loop().call_later(seconds + 0.001, self._on_tariff_time)

    def _on_tariff_time(self) -> None:
        for bearer in list(self._bearers.values()):
            bearer.records.count(bearer.read())
            self._end_container(bearer, ChangeCondition.TARIFF_TIME, bearer.records.conditions)
        self._arm_tariff_time()

    def _on_tick(self) -> None:
        """Note volumes, see to limits that the user plane does not watch, and to files that are old.

        Very many bearers are looked at some at a time, so that users' packets need not wait for all of them.
        """
        loop, every = asyncio.get_running_loop(), self.config.volumes_every_s
        if not self._round:
            self._round_began = loop.time()
            self._round = list(self._bearers.values())
            with self._writing():
                self._drain()
            with self._writing():
                self._store.rotate_if_due()
        now = self._clock()
        share = max(_AT_A_TIME, len(self._bearers) // _SHARES)
        looked_at, self._round = self._round[:share], self._round[share:]
        for bearer in looked_at:
            records = bearer.records
            if records.key not in self._bearers:
                continue
            records.count(bearer.read())
            self._check_volume(bearer)
            if records.is_dirty:
                with self._writing():
                    self._store.count(records.key, now, records.counts())
        pause = every / _SHARES if self._round else max(0.0, self._round_began + every - loop.time())
        self._tick = loop.call_later(pause, self._on_tick)
