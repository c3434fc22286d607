"""Where a gateway's records go, so that none is lost and none is there twice.

| file | what |
| --- | --- |
| ``NODE.journal`` | the truth since the last file was closed: open records with their volumes, and every record, one JSON object a line |
| ``NODE.cdr.open``, ``NODE.jsonl.open`` | the files that are being written: BER as TS 32.297 has it, and JSON lines |
| ``NODE_-_RC.YYYYMMDD_-_hhmm±hhmm.cdr``, ``.jsonl`` | closed files (TS 32.297 clause 6.2): RC counts them, the time is that of closing |

A record is first a line of the journal, which also says what becomes of the bearer: one ``write``, so both or neither. Then it is appended to
the files. Whatever happens in between, after a restart the open files are written again from the journal. The journal starts anew each time the
files are closed. ``NODE.lock`` keeps a second process out.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import orjson

from epc.charging.config import OfflineCharging
from epc.wire.cdr import ClosureReason, FileHeader, PgwRecord, SgwRecord, encode, frame, from_json, to_json
from epc.wire.cdr.file import UNKNOWN_YET

SUFFIXES = {"ber": "cdr", "json": "jsonl"}
JOURNAL_OCTETS = 64_000_000         # the journal of a node whose records are few and whose volumes change all the time starts anew then
AnyRecord = SgwRecord | PgwRecord
State = dict[str, Any]


class RecordStore:
    """The files of one node. ``clock`` gives seconds since the epoch. Every method is synchronous and writes before it returns."""

    def __init__(
        self, directory: Path, node_id: str, config: OfflineCharging, *, clock: Callable[[], float], node_address: IPv4Address | IPv6Address,
    ) -> None:
        self.directory = directory
        self._node_id = node_id
        self._config = config
        self._clock = clock
        self._node_address = node_address
        self._files: dict[str, int] = {}            # descriptor by format, of the open files
        self._lock = -1
        self._journal = -1
        self._journal_octets = 0
        self._is_damaged = False                    # the open files lack something that the journal has
        self._octets = 0                            # of the records in the open files, as BER or JSON, whichever is more
        self._opened_at = 0.0
        self._appended_at = 0.0
        self._sequence = 0                          # of the file that is open
        self.records_in_file = 0
        self.next_number = 1                        # local sequence number
        self.states: dict[str, State] = {}          # of open records, by key

    # life

    def open(self) -> dict[str, State]:
        """Bring everything into order after whatever happened; the records that were open then, by key. Raises ``OSError``."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.directory / f"{self._node_id}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise OSError(f"{self.directory}: another {self._node_id} writes its records there") from None
        records: list[tuple[float, AnyRecord]] = []
        closing: Mapping[str, Any] | None = None
        self._sequence, self.next_number = 1, 1
        for entry in _entries(self._journal_path):
            match entry:
                case {"checkpoint": number, "file": sequence, "states": states}:
                    self.next_number, self._sequence, self.states = number, sequence, dict(states)
                case {"state": key, "is": state}:
                    self.states[key] = state
                case {"count": key, "at": at, "counts": counts}:
                    if key in self.states:
                        self.states[key] = {**self.states[key], "counts": counts, "at": at}
                case {"record": record, "at": at, "of": key, "then": then}:
                    records.append((at, from_json(record)))
                    self.next_number = record["local_sequence_number"] + 1
                    self._become(key, then)
                case {"closing": _}:
                    closing = entry
        left = dict(self.states)
        self._write_open_files(records, only=None if closing is None else self._still_open())
        if closing is not None:
            self._finish_closing(str(closing["closing"]), int(closing["reason"]))
        else:
            self._checkpoint([(at, record) for at, record in records])
        return left

    def close(self) -> None:
        """The node stops: its last file gets its name. Raises ``OSError``; the descriptors are closed in any case."""
        try:
            self.rotate(ClosureReason.NORMAL)
        finally:
            self._forget_files()
            for descriptor in (self._journal, self._lock):
                os.close(descriptor)

    # what is noted

    def note(self, key: str, state: State) -> None:
        """A record is open, or its conditions changed: ``state`` is all that is needed to close it after a crash."""
        self._append({"state": key, "is": state})
        self.states[key] = state

    def count(self, key: str, at: float, counts: list[list[Any]]) -> None:
        """Volumes of an open record so far."""
        self._append({"count": key, "at": at, "counts": counts})
        state = self.states.get(key)
        if state is not None:
            state["counts"], state["at"] = counts, at

    def add(self, key: str, record: AnyRecord, then: State | None) -> None:
        """A record is closed. ``then`` is the state of the one that follows it at once; None: the bearer has ended.

        Raises ``OSError``. ``next_number`` has moved on if the journal has the record all the same; the files get it later then.
        """
        self._repair()
        now = self._clock()
        self._append({"record": to_json(record), "at": now, "of": key, "then": then}, force=self._config.sync == "record")
        self.next_number += 1
        self._become(key, then)
        try:
            self._write(record, now)
        except OSError:
            self._is_damaged = True
            raise
        rotate = self._config.rotate
        if self._octets >= rotate.octets or self._journal_octets >= max(JOURNAL_OCTETS, rotate.octets):
            self.rotate(ClosureReason.SIZE_LIMIT)
        elif self.records_in_file >= rotate.records:
            self.rotate(ClosureReason.RECORD_LIMIT)

    def rotate_if_due(self) -> None:
        """For the clock's sake."""
        if self.records_in_file and self._clock() - self._opened_at >= self._config.rotate.seconds:
            self.rotate(ClosureReason.TIME_LIMIT)

    def rotate(self, reason: ClosureReason) -> str | None:
        """Close the files and give them their names, which are returned without suffix; None when nothing is in them."""
        self._repair()
        if not self.records_in_file:
            return None
        moment = datetime.datetime.fromtimestamp(self._clock(), self._config.zone)
        name = f"{self._node_id}_-_{self._sequence:04}.{moment:%Y%m%d_-_%H%M%z}"
        self._append({"closing": name, "reason": int(reason)}, force=True)
        self._finish_closing(name, int(reason))
        return name

    # how

    @property
    def _journal_path(self) -> Path:
        return self.directory / f"{self._node_id}.journal"

    def _repair(self) -> None:
        """After a failure (a full disk): the open files once more, from the journal."""
        if self._is_damaged:
            found = [entry for entry in _entries(self._journal_path) if "record" in entry]
            self._write_open_files([(entry["at"], from_json(entry["record"])) for entry in found], only=None)
            self._is_damaged = False

    def _become(self, key: str, state: State | None) -> None:
        if state is None:
            self.states.pop(key, None)
        else:
            self.states[key] = state

    def _append(self, entry: Mapping[str, Any], *, force: bool = False) -> None:
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        try:
            _write_all(self._journal, line)
        except OSError:
            with contextlib.suppress(OSError):      # half a line would hide what comes after it
                os.ftruncate(self._journal, self._journal_octets)
            raise
        self._journal_octets += len(line)
        if force:
            os.fsync(self._journal)

    def _open_name(self, kind: str) -> Path:
        return self.directory / f"{self._node_id}.{SUFFIXES[kind]}.open"

    def _still_open(self) -> set[str]:
        """While files are being closed: those that have not got their name yet."""
        return {kind for kind in self._config.formats if self._open_name(kind).exists()}

    def _write_open_files(self, records: list[tuple[float, AnyRecord]], *, only: set[str] | None) -> None:
        """From the journal, from nothing. A file that is being closed is never away in between, or it would pass for closed."""
        self._forget_files()
        for kind in SUFFIXES if only is None else ():
            self._open_name(kind).unlink(missing_ok=True)
        for at, record in records:
            self._write(record, at, only=only)

    def _forget_files(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}
        self._octets = self.records_in_file = 0

    def _write(self, record: AnyRecord, at: float, *, only: set[str] | None = None) -> None:
        if not self.records_in_file:
            self._opened_at = at
        self._appended_at = at
        written = 0
        for kind in self._config.formats:
            if only is not None and kind not in only:
                continue
            if kind not in self._files:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._files[kind] = os.open(self._open_name(kind), flags, 0o640)
                if kind == "ber":
                    _write_all(self._files[kind], self._header(ClosureReason.NORMAL).encode())
            octets = frame(encode(record)) if kind == "ber" else orjson.dumps(to_json(record), option=orjson.OPT_APPEND_NEWLINE)
            _write_all(self._files[kind], octets)
            written = max(written, len(octets))
        self._octets += written
        self.records_in_file += 1
        if self._config.sync == "record":
            for descriptor in self._files.values():
                os.fsync(descriptor)

    def _header(self, reason: int, file_octets: int | None = None) -> FileHeader:
        """Without a length: of a file that is open."""
        zone = self._config.zone
        opened = datetime.datetime.fromtimestamp(self._opened_at, zone)
        appended = datetime.datetime.fromtimestamp(self._appended_at, zone)
        return FileHeader(
            opened=opened, last_appended=appended, records=UNKNOWN_YET if file_octets is None else self.records_in_file,
            sequence_number=self._sequence, closure_reason=reason, node_address=self._node_address,
            file_octets=UNKNOWN_YET if file_octets is None else file_octets)

    def _finish_closing(self, name: str, reason: int) -> None:
        for kind, descriptor in self._files.items():
            if kind == "ber":
                os.pwrite(descriptor, self._header(reason, os.fstat(descriptor).st_size).encode(), 0)
            os.fsync(descriptor)
            self._open_name(kind).rename(self.directory / f"{name}.{SUFFIXES[kind]}")
        self._forget_files()
        self._sequence += 1
        self._checkpoint([])

    def _checkpoint(self, records: list[tuple[float, AnyRecord]]) -> None:
        """A journal that starts with how things stand; it takes the old one's place in one step."""
        fresh = self._journal_path.with_suffix(".fresh")
        first = self.next_number if not records else int(records[0][1].local_sequence_number or 1)
        lines = [orjson.dumps({"checkpoint": first, "file": self._sequence, "states": self.states}, option=orjson.OPT_APPEND_NEWLINE)]
        lines += [
            orjson.dumps({"record": to_json(record), "at": at, "of": "", "then": None}, option=orjson.OPT_APPEND_NEWLINE) for at, record in records]
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        text = b"".join(lines)
        _write_all(descriptor, text)
        os.fsync(descriptor)
        fresh.rename(self._journal_path)
        _force_directory(self.directory)
        if self._journal >= 0:
            os.close(self._journal)
        self._journal, self._journal_octets = descriptor, len(text)


def _write_all(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view):]


def _force_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """A last line that was not written to its end is as good as none; nothing may come after it."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines[:-1]:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            return
