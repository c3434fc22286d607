"""The files of a gateway's records when the process dies at any moment, when the disk is full, and when all is well."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import orjson
import pytest

import epc.charging.store
from epc.charging import OfflineCharging, RecordStore
from epc.wire.cdr import CauseForRecClosing, ClosureReason, FileHeader, ServingNodeType, SgwRecord, decode, from_json, split

NOW = 1_790_000_000.0
OPENED = datetime.datetime.fromtimestamp(NOW, datetime.UTC)


class Killed(BaseException):
    """The process is no more."""


def record(charging_id: int) -> SgwRecord:
    return SgwRecord(
        served_imsi="001010000000001", charging_id=charging_id, sgw_address=IPv4Address("127.0.1.15"), serving_node_address=(),
        serving_node_type=(ServingNodeType.MME,), record_opening_time=OPENED, duration_s=1, cause_for_rec_closing=CauseForRecClosing.VOLUME_LIMIT,
        node_id="sgw1", local_sequence_number=0)


def store_in(directory: Path, **settings: Any) -> RecordStore:
    config = OfflineCharging(**{"directory": directory, "rotate": {"records": 3}, **settings})
    return RecordStore(directory, "sgw1", config, clock=lambda: NOW, node_address=IPv4Address("127.0.1.15"))


def state(number: int) -> dict[str, Any]:
    return {"record": {"n": number}, "opened_at": NOW, "at": NOW, "containers": 0, "counts": [], "conditions": {}}


def add(store: RecordStore, key: str, then: dict[str, Any] | None) -> int:
    from dataclasses import replace

    number = store.next_number
    store.add(key, replace(record(number), local_sequence_number=number), then)
    return number


def numbers(directory: Path) -> dict[str, list[int]]:
    """Local sequence numbers by format, in the order of the files; each file must be whole."""
    found: dict[str, list[int]] = {"cdr": [], "jsonl": []}
    for suffix, read in (("cdr", lambda octets: [decode(each) for _, each in split(octets)]),
                         ("jsonl", lambda octets: [from_json(orjson.loads(line)) for line in octets.splitlines()])):
        for path in [*sorted(directory.glob(f"sgw1_-_*.{suffix}")), *directory.glob(f"*.{suffix}.open")]:
            for each in read(path.read_bytes()):
                assert each.local_sequence_number == each.charging_id
                found[suffix].append(each.local_sequence_number)
    return found


SYSTEM_CALLS = ("open", "write", "pwrite", "fsync", "close", "ftruncate")


@contextmanager
def dying_after(count: int) -> Iterator[list[str]]:
    """The process is killed at the system call number ``count`` (from 0); a write has written half by then."""
    calls: list[str] = []
    real = {name: getattr(os, name) for name in SYSTEM_CALLS}
    rename, unlink = Path.rename, Path.unlink

    def step(name: str) -> bool:
        calls.append(name)
        if len(calls) > count + 1:
            raise Killed
        return len(calls) == count + 1

    def wrapped(name: str) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            if name == "close":
                return real[name](*arguments)
            if step(name):
                if name == "write":
                    octets = bytes(arguments[1])
                    real[name](arguments[0], octets[:len(octets) // 2])
                raise Killed
            return real[name](*arguments, **more)
        return call

    def on_path(name: str, call: Any) -> Any:
        def wrapper(self: Path, *arguments: Any, **more: Any) -> Any:
            if step(name):
                raise Killed
            return call(self, *arguments, **more)
        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in SYSTEM_CALLS:
            patch.setattr(epc.charging.store.os, name, wrapped(name))
        patch.setattr(Path, "rename", on_path("rename", rename))
        patch.setattr(Path, "unlink", on_path("unlink", unlink))
        yield calls


def release(store: RecordStore) -> None:
    """What the kernel does for a dead process."""
    for descriptor in {*store._files.values(), store._journal, store._lock}:
        if descriptor >= 0:
            try:
                os.close(descriptor)
            except OSError:
                pass


def story(store: RecordStore, done: list[Any]) -> None:
    """Two bearers come, one is cut into parts, both end. ``done`` says what has been acknowledged."""
    store.open()
    done.append("open")
    for key in ("1", "2"):
        store.note(key, state(0))
        done.append(("note", key))
    for part in range(4):
        store.count("1", NOW + part, [[0, None, part, 0]])
        number = add(store, "1", state(part + 1))
        done.append(("record", number))
    done.append(("record", add(store, "1", None)))
    done.append(("record", add(store, "2", None)))
    store.close()
    done.append("close")


def test_records_survive_death_at_every_system_call(tmp_path: Path) -> None:
    """Whatever was acknowledged is there, in both formats, once; numbers go on without gap or repeat."""
    with dying_after(10_000) as calls:
        story(store_in(tmp_path / "whole"), [])
    assert numbers(tmp_path / "whole") == {"cdr": [1, 2, 3, 4, 5, 6], "jsonl": [1, 2, 3, 4, 5, 6]}
    assert {"open", "write", "pwrite", "fsync", "rename"} <= set(calls)
    for count in range(len(calls)):
        directory = tmp_path / str(count)
        done: list[Any] = []
        store = store_in(directory)
        with dying_after(count), pytest.raises(Killed):
            story(store, done)
        release(store)
        again = store_in(directory)
        left = again.open()
        acknowledged = [step[1] for step in done if isinstance(step, tuple) and step[0] == "record"]
        present = numbers(directory)
        assert present["cdr"] == present["jsonl"], f"killed at call {count}, {calls[count]}"
        assert present["cdr"] == [*range(1, len(present["cdr"]) + 1)]
        assert len(acknowledged) <= len(present["cdr"]) <= len(acknowledged) + 1, "at most the one that was being written is there too"
        assert again.next_number == len(present["cdr"]) + 1
        ended = {"1": 5, "2": 6}
        for key in left:
            assert len(present["cdr"]) < ended[key], "a bearer whose last record is there is not open"
        for step in done:
            if isinstance(step, tuple) and step[0] == "note" and len(present["cdr"]) < ended[step[1]]:
                assert step[1] in left, "a bearer that was noted and has not ended is open"
        for key in left:
            add(again, key, None)
        again.close()
        assert numbers(directory)["cdr"] == numbers(directory)["jsonl"] == [*range(1, len(present["cdr"]) + len(left) + 1)]


def test_death_during_recovery_loses_nothing_either(tmp_path: Path) -> None:
    with dying_after(10_000) as calls:
        story(store_in(tmp_path / "whole"), [])
    for first in range(8, len(calls), 7):
        for second in range(0, 40, 5):
            directory = tmp_path / f"{first}-{second}"
            done: list[Any] = []
            store = store_in(directory)
            with dying_after(first), pytest.raises(Killed):
                story(store, done)
            release(store)
            before = [step[1] for step in done if isinstance(step, tuple) and step[0] == "record"]
            dying = store_in(directory)
            with dying_after(second):
                try:
                    dying.open()
                except Killed:
                    pass
            release(dying)
            again = store_in(directory)
            again.open()
            present = numbers(directory)
            assert present["cdr"] == present["jsonl"] == [*range(1, len(present["cdr"]) + 1)]
            assert len(present["cdr"]) >= len(before)
            release(again)


def test_volumes_noted_last_are_what_is_left(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    store.note("1", state(0))
    store.count("1", NOW + 5, [[7, None, 100, 200]])
    release(store)
    left = store_in(tmp_path).open()
    assert (left["1"]["counts"], left["1"]["at"]) == ([[7, None, 100, 200]], NOW + 5)


def test_a_full_disk_delays_records_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path, rotate={"records": 100})
    store.open()
    add(store, "1", state(1))
    real = os.write
    journal = store._journal

    def full_files(descriptor: int, octets: Any) -> int:
        if descriptor != journal:
            raise OSError(28, "No space left on device")
        return real(descriptor, octets)

    monkeypatch.setattr(epc.charging.store.os, "write", full_files)
    with pytest.raises(OSError, match="space"):
        add(store, "1", state(2))
    assert store.next_number == 3, "the journal has it"

    def full(descriptor: int, octets: Any) -> int:
        real(descriptor, bytes(octets)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(epc.charging.store.os, "write", full)
    with pytest.raises(OSError, match="space"):
        add(store, "1", state(3))
    assert store.next_number == 3, "the journal has it not"
    monkeypatch.setattr(epc.charging.store.os, "write", real)
    add(store, "1", None)
    store.close()
    assert numbers(tmp_path) == {"cdr": [1, 2, 3], "jsonl": [1, 2, 3]}


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    first = store_in(tmp_path)
    first.open()
    with pytest.raises(OSError, match="another sgw1"):
        store_in(tmp_path).open()
    first.close()
    second = store_in(tmp_path)
    second.open()
    second.close()


def test_files_carry_their_reason_and_are_numbered_across_restarts(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    for _ in range(4):
        add(store, "1", state(0))
    store.close()
    store = store_in(tmp_path)
    store.open()
    add(store, "1", None)
    assert store.rotate(ClosureReason.MANUAL_INTERVENTION) == f"sgw1_-_0003.{OPENED:%Y%m%d_-_%H%M%z}"
    assert store.rotate(ClosureReason.MANUAL_INTERVENTION) is None, "there is nothing to close"
    store.close()
    headers = [FileHeader.decode(path.read_bytes())[0] for path in sorted(tmp_path.glob("*.cdr"))]
    assert [(header.sequence_number, header.records, header.closure_reason) for header in headers] == [
        (1, 3, ClosureReason.RECORD_LIMIT), (2, 1, ClosureReason.NORMAL), (3, 1, ClosureReason.MANUAL_INTERVENTION)]
    assert [header.lost_records for header in headers] == [0, 0, 0]


def test_one_format_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path, formats=["json"], sync="record")
    store.open()
    add(store, "1", None)
    store.close()
    assert numbers(tmp_path) == {"cdr": [], "jsonl": [1]}
