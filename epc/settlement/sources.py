"""What a settlement is made from: charging records, the OCS's ledger, what phones counted, and what nodes know of lost packets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from epc.wire.cdr import PgwRecord, SgwRecord, decode, from_json, split
from epc.wire.errors import WireError

AnyRecord = SgwRecord | PgwRecord


class UnreadableFile(Exception):
    """A file of charging records or counters is not what it should be; the text says which and why."""


class Octets(NamedTuple):
    """Of users' IP packets, without outer headers."""

    uplink: int = 0
    downlink: int = 0

    def plus(self, other: Octets) -> Octets:
        return Octets(self.uplink + other.uplink, self.downlink + other.downlink)

    def minus(self, other: Octets) -> Octets:
        return Octets(self.uplink - other.uplink, self.downlink - other.downlink)

    @property
    def total(self) -> int:
        return self.uplink + self.downlink


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """A record and where it was found."""

    record: AnyRecord
    file: str
    position: int                       # in the file, from 1

    @property
    def name(self) -> str:
        """As differences call it."""
        record = self.record
        part = f", part {record.record_sequence_number}" if record.record_sequence_number is not None else ""
        return f"{record.node_id} #{record.local_sequence_number}{part}"

    @property
    def octets(self) -> Octets:
        return Octets(self.record.uplink_octets, self.record.downlink_octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerUse:
    """What the OCS has debited for."""

    imsi: str
    rating_group: int
    octets: int
    visited_plmn: str
    amount: int                         # millionths of the currency's unit, not negative


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounters:
    """A gateway's or an eNodeB's user plane."""

    name: str
    kind: str
    operator: str = ""
    uplink_octets: int = 0
    downlink_octets: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)         # packets by reason


def read_records(paths: Iterable[Path], *, include_open: bool = False) -> list[SourceRecord]:
    """Records from files, or from the files in folders (and their folders). Of a file that is there in both formats, BER is read.

    Raises :class:`UnreadableFile`.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UnreadableFile(f"{path}: does not exist")
        files += sorted(_files(path, include_open)) if path.is_dir() else [path]
    there = set(files)
    found: list[SourceRecord] = []
    for file in files:
        if not (".jsonl" in file.name and file.with_name(file.name.replace(".jsonl", ".cdr")) in there):
            found += read_file(file)
    return found


def _files(directory: Path, include_open: bool) -> Iterator[Path]:
    suffixes = (".cdr", ".jsonl", ".cdr.open", ".jsonl.open") if include_open else (".cdr", ".jsonl")
    return (path for path in directory.rglob("*") if path.is_file() and path.name.endswith(suffixes))


def read_file(path: Path) -> list[SourceRecord]:
    """Raises :class:`UnreadableFile`."""
    try:
        octets = path.read_bytes()
        if octets[:1] == b"{" or ".jsonl" in path.name:
            records = [from_json(orjson.loads(line)) for line in octets.splitlines()]
        else:
            records = [decode(each) for _, each in split(octets)]
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror}") from None
    except (WireError, orjson.JSONDecodeError) as error:
        raise UnreadableFile(f"{path}: {error}") from None
    return [SourceRecord(record=record, file=path.name, position=number) for number, record in enumerate(records, 1)]


def read_counters(path: Path) -> tuple[dict[str, Octets], list[NodeCounters]]:
    """Phones' counters by IMSI, and nodes' counters, from a lab's summary.json. Raises :class:`UnreadableFile`."""
    try:
        summary = orjson.loads(path.read_bytes())
        phones = {each["imsi"]: octets_of(each["usage"]) for each in summary["ues"] if "usage" in each}
        nodes = [NodeCounters(**each) for each in summary.get("user_plane", ())]
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(f"{path}: no summary with counters: {error!r}") from None
    return phones, nodes


def octets_of(usage: Mapping[str, Any]) -> Octets:
    return Octets(int(usage["uplink_octets"]), int(usage["downlink_octets"]))
