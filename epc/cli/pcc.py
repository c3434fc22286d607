"""``epclab pcc rule|policy|apply|show|push|usage ...``: the PCRF's rules and policies, in a running PCRF or in its database."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from epc.cli.ctl import DEFAULT_DIRECTORY, admin_of, call, enter_namespace, render

# The PCRF's models, and databases, are imported where they are needed: asking a running PCRF takes none of them, and a tenth of the time.

DATABASE_VARIABLE = "EPCLAB_PCC_DATABASE"
KINDS = {"rule": "rules", "policy": "policies"}
_LISTED = {
    "rule": ("name", "precedence", "status", "application", "qci", "rating_group", "hours", "where"),
    "policy": ("name", "priority", "imsi", "apn", "rules", "ambr_ul", "ambr_dl", "hours", "where", "reject"),
}
LISTS = frozenset({"rules", "predefined_rules", "predefined_groups", "rat", "plmns", "detected", "event_triggers"})     # a,b on the command line


class Problem(Exception):
    """Something for the user; ``status`` is the command's."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Book(Protocol):
    """Where the rules and policies are."""

    def all(self) -> dict[str, Any]:
        """rules by name, policies as a list, others."""

    def put(self, kind: str, name: str, definition: dict[str, Any]) -> Any: ...

    def remove(self, kind: str, name: str) -> Any: ...

    def apply(self, data: dict[str, Any], *, prune: bool) -> Any: ...

    def push(self, imsi: str) -> Any: ...

    def usage(self, imsi: str) -> Any: ...

    def forget_usage(self, imsi: str, key: str) -> Any: ...


class RunningPcrf:
    """By REST: what changes is pushed to the sessions that it concerns."""

    def __init__(self, base: str) -> None:
        self._base = base

    def _call(self, path: str, method: str = "GET", data: object = None) -> Any:
        status, answer = call(f"{self._base}{path}", None if data is None else orjson.dumps(data), method=method)
        if status == 0 or status >= 400:
            raise Problem(str(answer.get("error", answer)), 2 if status == 400 else 1)
        return answer

    def all(self) -> dict[str, Any]:
        found: dict[str, Any] = self._call("/pcc")
        return found

    def put(self, kind: str, name: str, definition: dict[str, Any]) -> Any:
        return self._call(f"/pcc/{kind}/{quote(name, safe='')}", "PUT", definition)

    def remove(self, kind: str, name: str) -> Any:
        return self._call(f"/pcc/{kind}/{quote(name, safe='')}", "DELETE")

    def apply(self, data: dict[str, Any], *, prune: bool) -> Any:
        return self._call(f"/pcc{'?prune=1' if prune else ''}", "PUT", data)

    def push(self, imsi: str) -> Any:
        return self._call(f"/pcc/push{f'?imsi={imsi}' if imsi else ''}", "POST")

    def usage(self, imsi: str) -> Any:
        return self._call(f"/pcc/usage/{imsi}")

    def forget_usage(self, imsi: str, key: str) -> Any:
        return self._call(f"/pcc/usage/{imsi}{f'?key={quote(key)}' if key else ''}", "DELETE")


class PccDatabase:
    """The database itself: a PCRF that runs on it notices within seconds (``database_poll_s``)."""

    def __init__(self, url: str, *, creates: bool) -> None:
        """``creates``: a file that is not there may be made, as by ``add`` and ``apply``; nothing is to be seen or removed in one."""
        self._url, self._creates = url, creates

    def _with_store(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        from epc.node import ConfigError
        from epc.node.database import StoreError
        from epc.pcrf.store import open_store

        scheme, _, path = self._url.partition("?")[0].partition(":///")
        if not self._creates and scheme == "sqlite" and path and not Path(path).exists():
            raise Problem(f"there is no database {path}; `pcc apply` or `pcc rule add` makes one")

        async def run() -> Any:
            store = await open_store(self._url)
            try:
                return await work(store)
            finally:
                await store.close()

        try:
            return asyncio.run(run())
        except ConfigError as error:
            raise Problem("; ".join(line.removeprefix("request: ").removeprefix("(top): ") for line in error.problems), 2) from error
        except (LookupError, ValueError, StoreError) as error:
            raise Problem(str(error.args[0] if error.args else error)) from error

    def _edit(self, edit: Callable[[Any], Any]) -> Any:
        self._with_store(lambda store: store.edit(edit))
        return "stored"

    def all(self) -> dict[str, Any]:
        from epc.pcrf.rest import shown

        book, _ = self._with_store(lambda store: store.book())
        return shown(book)

    def put(self, kind: str, name: str, definition: dict[str, Any]) -> Any:
        from epc.pcrf.editing import with_policy, with_rule

        edit = with_rule if kind == "rules" else with_policy
        return self._edit(lambda book: edit(book, name, definition))

    def remove(self, kind: str, name: str) -> Any:
        from epc.pcrf.editing import without_policy, without_rule

        edit = without_rule if kind == "rules" else without_policy
        return self._edit(lambda book: edit(book, name))

    def apply(self, data: dict[str, Any], *, prune: bool) -> Any:
        from epc.pcrf.editing import applied

        return self._edit(lambda book: applied(book, data, prune=prune))

    def push(self, imsi: str) -> Any:
        raise Problem("a database has no sessions to push to: name a running PCRF with --node", 2)

    def usage(self, imsi: str) -> Any:
        found = self._with_store(lambda store: store.usage(imsi))
        return [{"key": usage.key, "octets": usage.octets, "since_ms": usage.period_ms} for usage in found]

    def forget_usage(self, imsi: str, key: str) -> Any:
        if not self._with_store(lambda store: store.forget_usage(imsi, key)):
            raise Problem(f"{imsi} has used nothing")
        return "stored"


Verb = Callable[[argparse.Namespace, Book], Any]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "pcc", help="rules and policies of a PCRF: list, change, push",
        description="In a running PCRF (--node, default: the lab's), whose sessions are told at once; or in a database (--database).")
    parser.add_argument("--node", metavar="NODE", default="pcrf", help="a PCRF of the running lab, or HOST:PORT of its admin API; default pcrf")
    parser.add_argument("--database", metavar="URL", default=os.environ.get(DATABASE_VARIABLE, ""),
                        help=f"sqlite:///FILE, postgresql://...; default: the environment's {DATABASE_VARIABLE}, else a running PCRF")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help=f"where `epclab lab up` keeps its state (default {DEFAULT_DIRECTORY})")
    parser.add_argument("--json", action="store_true", help="JSON even where a table would do")
    what = parser.add_subparsers(dest="what", required=True, metavar="rule|policy|show|apply|push|usage")

    def verb(verbs: Any, name: str, run: Verb, help_text: str, **more: Any) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", **more)
        command.set_defaults(run=lambda options: _run(run, options), creates=run in (run_add, run_apply))
        return command

    for kind in KINDS:
        verbs = what.add_parser(kind, help=f"one {kind}, or all").add_subparsers(dest="verb", required=True, metavar="VERB")
        verb(verbs, "list", run_list, f"list the {KINDS[kind]}")
        verb(verbs, "show", run_show, f"show one {kind}").add_argument("name", metavar="NAME")
        for name, run, text in (("add", run_add, f"add a {kind}"), ("change", run_change, f"change some keys of a {kind}; `key=` takes one away")):
            command = verb(verbs, name, run, text, epilog="For example: " + _EXAMPLES[kind])
            command.add_argument("name", metavar="NAME")
            command.add_argument("keys", nargs="*", metavar="key=value",
                                 help="as in a configuration file; lists with commas, a key within a key with a dot")
        verb(verbs, "remove", run_remove, f"remove a {kind}").add_argument("name", metavar="NAME")
    verb(what, "show", run_show_all, "show everything, as `apply` reads it")
    apply = verb(what, "apply", run_apply, "add or change everything that is in a YAML file (keys rules, policies, others)")
    apply.add_argument("file", type=Path, metavar="FILE")
    apply.add_argument("--prune", action="store_true", help="and remove what is not in it")
    push = verb(what, "push", lambda options, book: book.push(options.imsi), "decide anew for every session, and push what differs")
    push.add_argument("--imsi", default="", help="only for this subscriber's sessions")
    usage = verb(what, "usage", run_usage, "how much a subscriber has used of each monitoring key")
    usage.add_argument("imsi", metavar="IMSI")
    usage.add_argument("--forget", nargs="?", const="", metavar="KEY", help="begin to count anew (for one key)")


_EXAMPLES = {
    "rule": "epclab pcc rule add no-facebook application=facebook status=disabled precedence=10",
    "policy": "epclab pcc policy add alice imsi=001010000000001 priority=10 rules=no-facebook,web ambr_dl=5M default_bearer.qci=8",
}


def _run(verb: Verb, options: argparse.Namespace) -> int:
    try:
        result = verb(options, _book(options))
    except Problem as problem:
        print(f"epclab: {problem}", file=sys.stderr)
        return problem.status
    print(render(result, as_json=options.json))
    return 0


def _book(options: argparse.Namespace) -> Book:
    if options.database:
        return PccDatabase(options.database, creates=options.creates)
    enter_namespace(options.node, options.dir)
    base = admin_of(options.node, options.dir)
    if base is None:
        raise Problem("name it with --node, or a database with --database", 2)
    return RunningPcrf(base)


def _definitions(book: Book, kind: str) -> dict[str, dict[str, Any]]:
    found = book.all()
    return found["rules"] if kind == "rule" else {policy["name"]: policy for policy in found["policies"]}


def _definition(book: Book, kind: str, name: str) -> dict[str, Any]:
    definitions = _definitions(book, kind)
    if name not in definitions:
        raise Problem(f"no {kind} {name}; there are {', '.join(definitions) or 'none'}")
    return definitions[name]


def run_list(options: argparse.Namespace, book: Book) -> Any:
    definitions = _definitions(book, options.what)
    if options.json:
        return definitions
    columns = _LISTED[options.what]
    rows = [{"name": name, **definition} for name, definition in definitions.items()]
    used = [column for column in columns if any(column in row for row in rows)]
    return [{column: row.get(column, "") for column in used} for row in rows]


def run_show_all(options: argparse.Namespace, book: Book) -> Any:
    options.json = True
    return book.all()


def run_show(options: argparse.Namespace, book: Book) -> Any:
    options.json = True
    return _definition(book, options.what, options.name)


def run_add(options: argparse.Namespace, book: Book) -> Any:
    if options.name in _definitions(book, options.what):
        raise Problem(f"there is a {options.what} {options.name} already; `change` changes it")
    return book.put(KINDS[options.what], options.name, with_keys(options.what, {}, options.keys))


def run_change(options: argparse.Namespace, book: Book) -> Any:
    definition = _definition(book, options.what, options.name)
    if not options.keys:
        raise Problem("nothing to change: give key=value", 2)
    return book.put(KINDS[options.what], options.name, with_keys(options.what, definition, options.keys))


def run_remove(options: argparse.Namespace, book: Book) -> Any:
    return book.remove(KINDS[options.what], options.name)


def run_apply(options: argparse.Namespace, book: Book) -> Any:
    from epc.node.config_file import parse_config, read_yaml
    from epc.pcrf.pcc import PolicyBook

    data, root = read_yaml(options.file)
    parse_config(data, PolicyBook, source=str(options.file), root=root)     # complaints with the file's lines
    return book.apply(data, prune=options.prune)


def run_usage(options: argparse.Namespace, book: Book) -> Any:
    return book.usage(options.imsi) if options.forget is None else book.forget_usage(options.imsi, options.forget)


def with_keys(kind: str, definition: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """``definition`` with ``key=value`` words put in; what a word says stays text, for the PCRF knows best what is a number."""
    changed: dict[str, Any] = orjson.loads(orjson.dumps(definition))
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            raise Problem(f"key=value, not {word!r}", 2)
        if key == "flow" and kind == "rule":
            changed.setdefault("flows", []).append({"description": text})
            continue
        *outer, last = key.split(".")
        within = changed
        for each in outer:
            within = within.setdefault(each, {})
            if not isinstance(within, dict):
                raise Problem(f"{key}: {each} has no keys in it", 2)
        if text == "":
            within.pop(last, None)
        elif text[0] in "[{":
            within[last] = _structure(key, text)
        else:
            within[last] = [part.strip() for part in text.split(",")] if not outer and last in LISTS else text
    return changed


def _structure(key: str, text: str) -> Any:
    """A list or a mapping, as YAML writes it in one line; numbers stay text."""
    import yaml

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise Problem(f"{key}: {getattr(error, 'problem', None) or error}", 2) from None
