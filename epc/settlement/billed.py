"""What was billed already: the last file's number and its records, by pair of operators, in a file between one settlement and the next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from epc.settlement.sources import SourceRecord, UnreadableFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What former files of a pair of operators contained, so that nothing is billed twice."""

    sequence_number: int = 0                                                # of the last file
    records: Mapping[str, frozenset[int]] = field(default_factory=dict)     # local sequence numbers by node

    def has(self, source: SourceRecord) -> bool:
        record = source.record
        return record.local_sequence_number in self.records.get(record.node_id or "", frozenset())

    def after(self, sources: Iterable[SourceRecord], sequence_number: int) -> Billed:
        """With one more file."""
        records = {node: set(numbers) for node, numbers in self.records.items()}
        for source in sources:
            if source.record.local_sequence_number is not None:
                records.setdefault(source.record.node_id or "", set()).add(source.record.local_sequence_number)
        return Billed(sequence_number=sequence_number, records={node: frozenset(numbers) for node, numbers in records.items()})


def load_billed(path: Path, pair: str) -> Billed:
    """Of one pair of operators ("visited-home"); nothing where there is no such file yet. Raises :class:`UnreadableFile`."""
    try:
        data = orjson.loads(path.read_bytes()).get(pair, {})
        return Billed(
            sequence_number=data.get("sequence_number", 0),
            records={node: frozenset(number for first, last in spans for number in range(first, last + 1))
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
    data[pair] = {
        "sequence_number": billed.sequence_number, "records": {node: list(_spans(sorted(numbers))) for node, numbers in billed.records.items()}}
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
