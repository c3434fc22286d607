"""``epclab subscriber add|list|show|remove|import|export``: the HSS's database, also while an HSS runs on it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TextIO

import orjson

from epc.hss.provisioning import (
    COLUMNS,
    TEST_K,
    TEST_OPC,
    FieldError,
    ProvisioningError,
    expand,
    parse_subscriber,
    read_csv,
    read_open5gs,
    read_user_db,
    write_csv,
    write_open5gs,
    write_user_db,
)
from epc.hss.provisioning.fields import format_subscriber, parse_imsi_range
from epc.hss.store import StoreError, Subscriber, SubscriberStore, open_store

DATABASE_VARIABLE = "EPCLAB_DATABASE"
DEFAULT_DATABASE = "sqlite:///subscribers.sqlite"
FORMATS = ("csv", "open5gs", "srsran")
LIST_LIMIT = 100
SECRETS = ("k", "opc", "op")

# Options of `add` that are not a column's name with hyphens, or that may be given more than once.
_OPTIONS = [column for column in COLUMNS if column not in ("imsi", "apns")]

Verb = Callable[[argparse.Namespace, SubscriberStore], Coroutine[None, None, int]]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("subscriber", help="add, list, import and export subscribers")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Verb, help_text: str, epilog: str = "") -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", epilog=epilog)
        command.add_argument("--database", metavar="URL", default=os.environ.get(DATABASE_VARIABLE, DEFAULT_DATABASE),
                             help=f"sqlite:///FILE, postgresql://..., default {DEFAULT_DATABASE} or the environment's {DATABASE_VARIABLE}")
        command.set_defaults(run=lambda options: _run(run, options))
        return command

    add = verb("add", run_add, "add one subscriber, or a range of them",
               "Without --k, --opc and --op the subscriber has the test SIM of the documentation.")
    add.add_argument("imsi", metavar="IMSI[+COUNT]", help=COLUMNS["imsi"].replace("%", "%%"))
    for column in _OPTIONS:
        add.add_argument("--" + column.replace("_", "-"), metavar="VALUE", help=COLUMNS[column])
    add.add_argument("--apn", action="append", metavar="TEXT", help=f"may be given several times; for example: {COLUMNS['apns'].partition(';')[0]}")
    add.add_argument("--replace", action="store_true", help="replace subscribers that exist already")

    show_range = verb("list", run_list, "list subscribers, without secrets")
    show_range.add_argument("imsi", nargs="?", metavar="IMSI[+COUNT]", help="only these")
    show_range.add_argument("--limit", type=int, default=LIST_LIMIT, metavar="N", help=f"at most so many, default {LIST_LIMIT}; 0: all")
    show_range.add_argument("--json", action="store_true", help="one JSON object a line")

    show = verb("show", run_show, "show everything about one subscriber, as JSON")
    show.add_argument("imsi", metavar="IMSI")
    show.add_argument("--secrets", action="store_true", help="with K, OPc and OP")

    remove = verb("remove", run_remove, "remove one subscriber, or a range of them")
    remove.add_argument("imsi", metavar="IMSI[+COUNT]")

    load = verb("import", run_import, "read subscribers from a file; all of them or, when anything is wrong with it, none")
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--format", choices=FORMATS, help="csv (columns by header), open5gs (mongoexport's JSON), srsran (user_db.csv); "
                                                        "default: what the file looks like")
    load.add_argument("--apn", default="internet", help="the APN of subscribers from srsran's file, which names none (default internet)")
    load.add_argument("--replace", action="store_true", help="replace subscribers that exist already")
    load.add_argument("--dry-run", action="store_true", help="only check the file")

    dump = verb("export", run_export, "write subscribers, secrets included, to a file")
    dump.add_argument("file", metavar="FILE", help="- for standard output")
    dump.add_argument("--format", choices=FORMATS, default="csv")


def _run(verb: Verb, options: argparse.Namespace) -> int:
    async def with_store() -> int:
        store = await open_store(options.database)
        try:
            return await verb(options, store)
        finally:
            await store.close()

    try:
        return asyncio.run(with_store())
    except (ProvisioningError, FieldError) as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (StoreError, OSError) as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1


async def run_add(options: argparse.Namespace, store: SubscriberStore) -> int:
    text = {column: getattr(options, column) for column in _OPTIONS if getattr(options, column) is not None}
    text["imsi"] = options.imsi
    if not any(name in text for name in SECRETS):
        text |= {"k": TEST_K, "opc": TEST_OPC}
    if options.apn:
        text["apns"] = ";".join(options.apn)
    subscriber, number = parse_subscriber(text)
    await store.put_many(expand(subscriber, number), replace=options.replace)
    print(f"{number} subscriber{'s' if number > 1 else ''} added")
    return 0


async def _select(options: argparse.Namespace, store: SubscriberStore) -> AsyncGenerator[Subscriber, None]:
    first, last = "", ""
    if options.imsi:
        span = parse_imsi_range(options.imsi)
        first, last = span.first, span.last
    async for subscriber in store.subscribers(first=first, last=last):
        yield subscriber


async def run_list(options: argparse.Namespace, store: SubscriberStore) -> int:
    line = "{:<15}  {:<15}  {:<9}  {:<7}  {:<40}  {}"
    number = 0
    async with contextlib.aclosing(_select(options, store)) as subscribers:
        async for subscriber in subscribers:
            if options.limit and number == options.limit:
                print(f"... of {await store.count()} in all; --limit 0 lists every one", file=sys.stderr)
                break
            number += 1
            if options.json:
                print(orjson.dumps(_public(subscriber)).decode())
                continue
            if number == 1:
                print(line.format("imsi", "msisdn", "algorithm", "status", "apns", "serving mme"))
            print(line.format(
                subscriber.imsi, subscriber.msisdn, subscriber.algorithm, format_subscriber(subscriber)["status"],
                " ".join(apn.apn for apn in subscriber.apns), _serving(subscriber)).rstrip())
    if not number and not options.json:
        print("(none)")
    return 0


def _serving(subscriber: Subscriber) -> str:
    return f"{subscriber.mme_host}{' (purged)' if subscriber.purged else ''}" if subscriber.mme_host else ""


def _public(subscriber: Subscriber, *, secrets: bool = False) -> dict[str, object]:
    text: dict[str, object] = {**format_subscriber(subscriber)}
    if not secrets:
        for name in SECRETS:
            del text[name]
    return text | {"mme_host": subscriber.mme_host, "mme_realm": subscriber.mme_realm, "visited_plmn": subscriber.visited_plmn,
                   "purged": subscriber.purged, "imeisv": subscriber.imeisv}


async def run_show(options: argparse.Namespace, store: SubscriberStore) -> int:
    subscriber = await store.get(options.imsi)
    if subscriber is None:
        print(f"epclab: no subscriber {options.imsi}", file=sys.stderr)
        return 1
    print(orjson.dumps(_public(subscriber, secrets=options.secrets), option=orjson.OPT_INDENT_2).decode())
    return 0


async def run_remove(options: argparse.Namespace, store: SubscriberStore) -> int:
    span = parse_imsi_range(options.imsi)
    number = await store.remove_range(span.first, span.last)
    print(f"{number} subscriber{'' if number == 1 else 's'} removed")
    return 0 if number else 1


async def run_import(options: argparse.Namespace, store: SubscriberStore) -> int:
    try:
        text = options.file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProvisioningError([f"{options.file}: not UTF-8 text at octet {error.start}"]) from None
    name = str(options.file)
    match options.format or guess_format(text):
        case "open5gs":
            subscribers = read_open5gs(text, name)
        case "srsran":
            subscribers = read_user_db(text.splitlines(), name, apn=options.apn)
        case _:
            subscribers = read_csv(text.splitlines(), name)
    everybody = list(subscribers)
    _check_unique(everybody, name)
    if options.dry_run:
        print(f"{len(everybody)} subscribers, good")
        return 0
    if not options.replace:
        known = [subscriber.imsi for subscriber in everybody if await store.get(subscriber.imsi)]
        if known:
            raise ProvisioningError([f"{name}: {len(known)} of {len(everybody)} exist already, {known[0]} first; nothing was stored; "
                                     "--replace overwrites them"])
    number = await store.put_many(everybody, replace=options.replace)
    print(f"{number} subscriber{'' if number == 1 else 's'} imported")
    return 0


def guess_format(text: str) -> str:
    """By the first line that says something."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("{", "[")):
            return "open5gs"
        if stripped and not stripped.startswith("#"):
            return "csv" if "imsi" in [cell.strip().lower() for cell in stripped.split(",")] else "srsran"
    return "csv"


def _check_unique(subscribers: Iterable[Subscriber], name: str) -> None:
    seen: set[str] = set()
    for subscriber in subscribers:
        if subscriber.imsi in seen:
            raise ProvisioningError([f"{name}: subscriber {subscriber.imsi} stands there twice"])
        seen.add(subscriber.imsi)


async def run_export(options: argparse.Namespace, store: SubscriberStore) -> int:
    subscribers = [subscriber async for subscriber in store.subscribers()]
    if options.file == "-":
        _write(options.format, subscribers, sys.stdout)
        return 0
    number = _write_file(options.format, subscribers, options.file)
    print(f"{number} subscriber{'' if number == 1 else 's'} exported")
    return 0


def _write_file(chosen: str, subscribers: Iterable[Subscriber], path: str) -> int:
    # Secrets: for the owner's eyes only.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", newline="") as out:
        return _write(chosen, subscribers, out)


def _write(chosen: str, subscribers: Iterable[Subscriber], out: TextIO) -> int:
    match chosen:
        case "open5gs":
            return write_open5gs(subscribers, out)
        case "srsran":
            return write_user_db(subscribers, out)
        case _:
            return write_csv(subscribers, out)
