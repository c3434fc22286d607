"""``epclab settle``: files in, papers and an exit status out."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from epc.cli.main import main
from epc.ocs.store import Books, open_store
from epc.ocs.store.books import EntryKind
from epc.settlement import SourceRecord, load_billed
from epc.wire.cdr import ClosureReason, FileHeader, encode, frame, to_json
from tests.settlement.books import CONFIG, IMSI, START, pgw, sgw


def cdr_file(records: list[SourceRecord]) -> bytes:
    body = b"".join(frame(encode(source.record)) for source in records)
    header = FileHeader(
        opened=START, last_appended=START, records=len(records), sequence_number=1, closure_reason=ClosureReason.NORMAL,
        node_address=records[0].record.serving_node_address[0])
    length = len(header.encode()) + len(body)
    return FileHeader(
        opened=START, last_appended=START, records=len(records), sequence_number=1, closure_reason=ClosureReason.NORMAL,
        node_address=records[0].record.serving_node_address[0], file_octets=length).encode() + body


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A configuration, both operators' records in a folder each, and the phone's counters."""
    (tmp_path / "settlement.yaml").write_text(yaml.safe_dump(CONFIG))
    visited, home = sgw(), pgw()
    for writer in (visited, home):
        writer.session([(1000, 4000), (300, 200)])
    for name, writer in (("visited", visited), ("home", home)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.cdr").write_bytes(cdr_file(writer.records))
    (tmp_path / "home" / "a.jsonl").write_bytes(b"".join(orjson.dumps(to_json(source.record)) + b"\n" for source in home.records))
    (tmp_path / "summary.json").write_bytes(orjson.dumps({
        "ues": [{"imsi": IMSI, "usage": {"uplink_octets": 1300, "downlink_octets": 4200}}], "user_plane": [{"name": "sgw1", "kind": "sgw"}]}))
    return tmp_path


def arguments(place: Path, *more: str) -> list[str]:
    return ["settle", "--config", str(place / "settlement.yaml"), "--visited-cdrs", str(place / "visited"), "--home-cdrs", str(place / "home"),
            "--out", str(place / "out"), *more]


def test_papers_are_written_and_all_agree(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place, "--ue-counters", str(place / "summary.json"))) == 0
    shown = capsys.readouterr().out
    assert "INVOICE  Barcelona (ESPBC) to Home (XXXHM)" in shown
    assert "AGREED: S-GW, P-GW, phones say the same, to the octet" in shown
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "TDESPBCXXXHM00001", "billed.json", "check.json", "check.txt", "invoice.json", "invoice.txt"]
    check = orjson.loads((place / "out" / "check.json").read_bytes())
    assert (check["agrees"], check["tap"]["calls"], check["octets"]["visited"]) == (True, 2, {"uplink": 1300, "downlink": 4200})
    billed = load_billed(place / "out" / "billed.json", "visited-home")
    assert [(node, number, charging_id) for node, number, charging_id, _ in sorted(billed.records)] == [("sgw1", 1, 0x1234), ("sgw1", 2, 0x1234)]
    assert main(arguments(place)) == 0
    assert "nothing to bill" in capsys.readouterr().out, "they have been billed"
    assert (place / "out" / "TDESPBCXXXHM00002").exists()


@pytest.mark.parametrize("change", [{"charging_id": 0x1235}, {"record_opening_time": START + datetime.timedelta(days=1)}])
def test_gateways_that_count_from_1_again_are_billed_again(place: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place)) == 0
    for name, writer in (("visited", sgw()), ("home", pgw())):
        writer.session([(10, 20)], **change)
        (place / name / "a.cdr").write_bytes(cdr_file(writer.records))
        (place / name / "a.jsonl").unlink(missing_ok=True)
    assert main(arguments(place)) == 0
    capsys.readouterr()
    assert main(["settle", "show", str(place / "out" / "TDESPBCXXXHM00002")]) == 0
    assert orjson.loads(capsys.readouterr().out)["transferBatch"]["auditControlInfo"]["callEventDetailsCount"] == 1
    assert len(load_billed(place / "out" / "billed.json", "visited-home").records) == 3


def test_files_of_former_releases_tell_sequence_numbers_only(place: Path) -> None:
    file = place / "out" / "billed.json"
    file.parent.mkdir()
    file.write_bytes(orjson.dumps({"visited-home": {"sequence_number": 7, "records": {"sgw1": [[1, 1]]}}}))
    assert main(arguments(place)) == 0
    billed = load_billed(file, "visited-home")
    assert (billed.sequence_number, billed.numbers, [record.local_sequence_number for record in billed.records]) == (8, {"sgw1": {1}}, [2])


def test_show_turns_tap_and_record_files_into_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments(place))
    capsys.readouterr()

    def show(path: Path) -> Any:
        assert main(["settle", "show", str(path)]) == 0
        return orjson.loads(capsys.readouterr().out)

    tap = show(place / "out" / "TDESPBCXXXHM00001")
    assert tap["transferBatch"]["auditControlInfo"]["callEventDetailsCount"] == 2
    assert tap["transferBatch"]["callEventDetails"][0]["gprsCall"]["gprsBasicCallInformation"]["chargingId"] == 0x1234
    binary, text = show(place / "home" / "a.cdr"), show(place / "home" / "a.jsonl")
    assert binary["header"]["records"] == 2
    assert binary["records"] == text["records"]
    assert binary["records"][0]["served_imsi"] == IMSI


def test_differences_are_exit_status_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = orjson.loads((place / "summary.json").read_bytes())
    summary["ues"][0]["usage"]["downlink_octets"] -= 100
    (place / "summary.json").write_bytes(orjson.dumps(summary))
    assert main(arguments(place, "--ue-counters", str(place / "summary.json"))) == 1
    assert "1 DIFFERENCE\n  1. ue, Barcelona/phone, IMSI 001010000000001, downlink +100 octets" in capsys.readouterr().out


def test_the_ledger_in_a_database_is_compared(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{place / 'ledger.sqlite'}"

    async def debit(octets: int) -> None:
        store = await open_store(url)
        async with store.transaction() as transaction:
            books = Books(transaction)
            await books.add_account(IMSI)
            account = await books.lock_account(IMSI)
            assert account is not None
            await books.book(account, EntryKind.DEBIT, -550, int(START.timestamp() * 1000), session_id="s", request_number=1, rating_group=1,
                             octets=octets, visited_plmn="21407")
        await store.close()

    asyncio.run(debit(5500))
    assert main(arguments(place, "--ocs", url)) == 0
    shown = capsys.readouterr().out
    assert "AGREED: S-GW, P-GW, OCS say the same, to the octet" in shown
    assert "debited from subscribers for it: 0.000550" in shown


@pytest.mark.parametrize(("change", "said"), [
    (lambda place: (place / "visited" / "a.cdr").write_bytes(b"\0" * 70), "a.cdr: "),
    (lambda place: (place / "home" / "a.cdr").write_bytes((place / "home" / "a.cdr").read_bytes()[:-3]), "the header says"),
    (lambda place: (place / "summary.json").write_text("{}"), "no summary with counters"),
    (lambda place: (place / "visited" / "a.cdr").unlink() or (place / "visited").rmdir(), "does not exist"),
])
def test_files_that_cannot_be_read_are_named(place: Path, change: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(place)
    assert main(arguments(place, "--ue-counters", str(place / "summary.json"))) == 2
    assert said in capsys.readouterr().err


def test_wrong_configurations_are_explained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "settlement.yaml").write_text(yaml.safe_dump({**CONFIG, "agreements": [{**CONFIG["agreements"][0], "home": "nobody"}]}))
    assert main(arguments(place)) == 2
    assert "nobody is not among operators" in capsys.readouterr().err
    (place / "settlement.yaml").write_text(yaml.safe_dump(CONFIG))
    assert main(arguments(place, "--visited", "home")) == 2
    assert "no such agreement; there are: visited serves home" in capsys.readouterr().err
    assert main(["settle"]) == 2
    assert "--config, --visited-cdrs, --home-cdrs is needed" in capsys.readouterr().err
    assert main(["settle", "show", str(place / "settlement.yaml")]) == 1
    assert main(["settle", "show", str(place / "nothing")]) == 2


def test_times_are_those_of_the_visited_operator(place: Path) -> None:
    main(arguments(place))
    invoice = (place / "out" / "invoice.txt").read_text()
    assert f"{START.astimezone(datetime.timezone(datetime.timedelta(hours=1))):%Y-%m-%d %H:%M:%S}" in invoice
