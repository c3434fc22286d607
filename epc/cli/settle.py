"""``epclab settle``: the visited operator's charging records become a TAP file and an invoice, and home checks it; ``epclab settle show FILE``."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from epc.node.config_file import load_config
from epc.ocs.store import StoreError, open_store
from epc.settlement import (
    LedgerUse,
    NodeCounters,
    Octets,
    SettlementConfig,
    SourceRecord,
    TapError,
    UnreadableFile,
    load_billed,
    read_counters,
    read_records,
    save_billed,
    settle,
)
from epc.settlement.ledger import read_ledger
from epc.settlement.tap import read as read_tap
from epc.wire import tap3
from epc.wire.cdr import FileHeader, decode, from_json, plain, split, to_json
from epc.wire.errors import WireError

_DESCRIPTION = """Rates the S-GW-CDRs of the visited operator by the wholesale tariff, writes the TAP file, and compares them to the octet with
the home operator's P-GW-CDRs, the OCS's ledger and what the phones counted. Exit status 1: they differ."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("settle", help="bill roamers: TAP file, invoice, and home's check of it", description=_DESCRIPTION)
    parser.add_argument("--config", type=Path, metavar="FILE", help="operators and agreements")
    parser.add_argument("--visited-cdrs", type=Path, nargs="+", metavar="PATH", help="files or folders of the visited operator's S-GW-CDRs")
    parser.add_argument("--home-cdrs", type=Path, nargs="+", metavar="PATH", help="files or folders of the home operator's P-GW-CDRs")
    parser.add_argument("--ocs", metavar="URL", help="the home OCS's database: sqlite:///FILE or postgresql://...")
    parser.add_argument("--ue-counters", type=Path, metavar="FILE", help="summary.json of a lab: what phones counted, and what nodes dropped")
    parser.add_argument("--visited", metavar="KEY", help="which operator serves, where the file has several agreements")
    parser.add_argument("--home", metavar="KEY", help="whose subscribers")
    parser.add_argument("--out", type=Path, default=Path("out/settlement"), metavar="DIR", help="where the papers go (default out/settlement)")
    parser.add_argument("--billed", type=Path, metavar="FILE", help="what former TAP files billed (default billed.json in the output folder)")
    parser.add_argument("--include-open", action="store_true", help="also records in files that gateways are still writing")
    parser.set_defaults(run=run)
    verbs = parser.add_subparsers(dest="verb", metavar="show")
    show = verbs.add_parser("show", help="a TAP file or a file of charging records as JSON")
    show.add_argument("file", type=Path, metavar="FILE")
    show.set_defaults(run=run_show)


def run(options: argparse.Namespace) -> int:
    missing = [name for name in ("config", "visited_cdrs", "home_cdrs") if getattr(options, name) is None]
    if missing:
        print(f"epclab settle: {', '.join('--' + name.replace('_', '-') for name in missing)} is needed", file=sys.stderr)
        return 2
    config = load_config(options.config, SettlementConfig)
    try:
        agreement = config.agreement(options.visited, options.home)
        visited_records = read_records(options.visited_cdrs, include_open=options.include_open)
        home_records = read_records(options.home_cdrs, include_open=options.include_open)
        phones: dict[str, Octets] | None = None
        nodes: list[NodeCounters] = []
        if options.ue_counters is not None:
            phones, nodes = read_counters(options.ue_counters)
        ocs = None if options.ocs is None else asyncio.run(ledger_at(options.ocs, [*visited_records, *home_records]))
        pair = f"{agreement.visited}-{agreement.home}"
        billed_file = options.billed or options.out / "billed.json"
        settlement = settle(
            config, agreement, visited_records, home_records, created=datetime.datetime.now(datetime.UTC), ocs=ocs, phones=phones, nodes=nodes,
            billed=load_billed(billed_file, pair))
    except (LookupError, UnreadableFile, OSError) as error:
        print(f"epclab settle: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    written = settlement.write(options.out)
    save_billed(billed_file, pair, settlement.billed)
    print((options.out / "invoice.txt").read_text())
    print((options.out / "check.txt").read_text())
    print(f"Written: {', '.join(str(path) for path in written)}")
    return 0 if settlement.agrees else 1


async def ledger_at(url: str, records: Iterable[SourceRecord]) -> list[LedgerUse]:
    """What the OCS debited the subscribers of these records for. Raises :class:`UnreadableFile`."""
    try:
        store = await open_store(url)
        try:
            return await read_ledger(store, [source.record.served_imsi for source in records if source.record.served_imsi])
        finally:
            await store.close()
    except StoreError as error:
        raise UnreadableFile(str(error)) from None


def run_show(options: argparse.Namespace) -> int:
    try:
        shown = show_file(options.file.read_bytes())
    except OSError as error:
        print(f"epclab: {options.file}: {error.strerror}", file=sys.stderr)
        return 2
    except (WireError, TapError, orjson.JSONDecodeError) as error:
        print(f"epclab: {options.file}: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    return 0


def show_file(octets: bytes) -> dict[str, Any]:
    """What a TAP file or a file of charging records, in either format, contains. Raises :class:`WireError` or :class:`TapError`."""
    if octets[:1] in (b"\x61", b"\x62"):
        kind, value = tap3.decode(octets)
        file = read_tap(octets)
        return {"file": file.name, kind: plain(value)}
    if octets[:1] == b"{":
        return {"records": [to_json(from_json(orjson.loads(line))) for line in octets.splitlines()]}
    header, _ = FileHeader.decode(octets)
    return {
        "header": {
            "opened": f"{header.opened:%m-%d %H:%M %z}", "last_appended": f"{header.last_appended:%m-%d %H:%M %z}", "records": header.records,
            "sequence_number": header.sequence_number, "closure_reason": getattr(header.closure_reason, "name", header.closure_reason),
            "node_address": str(header.node_address), "release": header.release, "lost_records": header.lost_records},
        "records": [to_json(decode(record)) for _, record in split(octets)]}
