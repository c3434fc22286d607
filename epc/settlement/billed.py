"""What was billed already: the last file's number and its records, by pair of operators, in a file between one settlement and the next."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from epc.settlement.sources import SourceRecord, UnreadableFile


class BilledRecord(NamedTuple):
    """What tells a record from all others, also from one of a node that counts from 1 again."""

    node_id: str
    local_sequence_number: int
    charging_id: int
    opening: str                        # UTC, in seconds, as 2026-11-26T12:00:00Z


def key_of(source: SourceRecord) -> BilledRecord | None:
    """None: the node does not number its records."""
    record = source.record
    if record.local_sequence_number is None:
        return None
    opening = record.record_opening_time.astimezone(datetime.UTC)
    return BilledRecord(record.node_id or "", record.local_sequence_number, record.charging_id, f"{opening:%Y-%m-%dT%H:%M:%SZ}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What former files of a pair of operators contained, so that nothing is billed twice."""

    sequence_number: int = 0                                                # of the last file
    records: frozenset[BilledRecord] = frozenset()
    numbers: Mapping[str, frozenset[int]] = field(default_factory=dict)     # by node, from files that knew no more than local sequence numbers

    def has(self, source: SourceRecord) -> bool:
        record = source.record
        return key_of(source) in self.records or record.local_sequence_number in self.numbers.get(record.node_id or "", frozenset())

    def after(self, sources: Iterable[SourceRecord], sequence_number: int) -> Billed:
        """With one more file."""
        more = {key for source in sources if (key := key_of(source)) is not None}
        return Billed(sequence_number=sequence_number, records=self.records | more, numbers=self.numbers)


def load_billed(path: Path, pair: str) -> Billed:
    """Of one pair of operators ("visited-home"); nothing where there is no such file yet. Raises :class:`UnreadableFile`."""
    try:
        data = orjson.loads(path.read_bytes()).get(pair, {})
        return Billed(
            sequence_number=data.get("sequence_number", 0),
            records=frozenset([
                BilledRecord(node, int(number), int(charging_id), str(opening))
                for node, bearers in data.get("billed", {}).items()
                for charging_id, records in bearers.items() for number, opening in records]),
            numbers={node: frozenset(number for first, last in spans for number in range(first, last + 1))
                     for node, spans in data.get("records", {}).items()})
    except FileNotFoundError:
        return Billed()
    except (OSError, orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise UnreadableFile(f"{path}: does not say what was billed: {error}") from None


def save_billed(path: Path, pair: str, billed: Billed) -> None:
    """In one step; other pairs' are kept."""
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        data = {}
    bearers: dict[str, dict[str, list[tuple[int, str]]]] = {}
    for record in sorted(billed.records):
        bearers.setdefault(record.node_id, {}).setdefault(str(record.charging_id), []).append((record.local_sequence_number, record.opening))
    data[pair] = {"sequence_number": billed.sequence_number, "billed": bearers}
    if billed.numbers:
        data[pair]["records"] = {node: list(_spans(sorted(numbers))) for node, numbers in billed.numbers.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".fresh")
    with fresh.open("wb") as out:
        out.write(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(path)


def _spans(numbers: Iterable[int]) -> Iterator[list[int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None or number > last + 1:
            if first is not None and last is not None:
                yield [first, last]
            first = number
        last = number
    if first is not None and last is not None:
        yield [first, last]
