"""``epclab ctl NODE [VIEW | COMMAND key=value ...]``: the state of a running node, and what it can be told."""

from __future__ import annotations

import argparse
import os
import sys
from http.client import HTTPConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from epc.lab.running import read_state

DEFAULT_DIRECTORY = Path("out/lab")
ANSWER_WITHIN_S = 60


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ctl", help="look into a running node, or tell it to do something",
        description="Without a VIEW, lists what the node can show and do. NODE is a name from the running lab, or HOST:PORT of its admin API.")
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("what", nargs="?", metavar="VIEW|COMMAND")
    parser.add_argument("arguments", nargs="*", metavar="key=value")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help=f"where `epclab lab up` keeps its state (default {DEFAULT_DIRECTORY})")
    parser.add_argument("--json", action="store_true", help="JSON even where a table would do")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    enter_namespace(options.node, options.dir)
    base = admin_of(options.node, options.dir)
    if base is None:
        return 2
    status, known = call(f"{base}/state")
    if status != 200:
        print(f"epclab: {options.node}: {known.get('error', known)}", file=sys.stderr)
        return 1
    what = options.what
    if what is None:
        print("views:    " + " ".join(known["views"]))
        for name, usage in known["commands"].items():
            print("command:  " + " ".join([name, *usage]))
        return 0
    if what in known["commands"]:
        pairs = [argument.partition("=") for argument in options.arguments]
        wrong = [pair[0] for pair in pairs if not pair[1]]
        if wrong:
            print(f"epclab: arguments are key=value, not {wrong[0]!r}", file=sys.stderr)
            return 2
        arguments = {key: value for key, _, value in pairs}
        if what == "impair" and arguments.get("peer") and not _are_addresses(arguments["peer"]):
            running = read_state(options.dir)
            if arguments["peer"] not in running:
                print(f"epclab: {arguments['peer']!r} is no address, and no node that runs from {options.dir}; there are "
                      f"{', '.join(running) or 'none'}", file=sys.stderr)
                return 1
            arguments["peer"] = _addresses(arguments["peer"], options.dir)
        status, answer = call(f"{base}/command/{what}", orjson.dumps(arguments))
        answer = answer.get("result", answer) if status == 200 else answer
    else:
        status, answer = call(f"{base}/state/{what}")
    if status != 200:
        if what not in known["views"] and what not in known["commands"]:
            has = f"views: {' '.join(known['views'])}; commands: {' '.join(known['commands']) or '(none)'}"
            answer = {"error": f"{options.node} has no {what!r}; {has}"}
        print(f"epclab: {answer.get('error', answer)}", file=sys.stderr)
        return 1
    print(render(answer, as_json=options.json))
    return 0


def enter_namespace(node: str, directory: Path) -> None:
    """A lab made from a compose file lives in namespaces of its own: go there and start over."""
    pid = next((each.namespace_of for each in read_state(directory).values() if node in (each.name, each.kind)), 0)
    if pid and os.readlink("/proc/self/ns/net") != os.readlink(f"/proc/{pid}/ns/net"):
        user = ["-U", "--preserve-credentials"] if os.readlink("/proc/self/ns/user") != os.readlink(f"/proc/{pid}/ns/user") else []
        os.execvp("nsenter", ["nsenter", "-t", str(pid), *user, "-n", "--", sys.executable, "-m", "epc.cli", *sys.argv[1:]])


def admin_of(node: str, directory: Path) -> str | None:
    """The URL of a node's admin API, or a word to the user."""
    running = read_state(directory)
    if node in running:
        return f"http://{running[node].admin}"
    same_kind = [each for each in running.values() if each.kind == node]
    if len(same_kind) == 1:
        return f"http://{same_kind[0].admin}"
    host, colon, port = node.rpartition(":")
    if colon and port.isdigit():
        return f"http://{host}:{port}"
    if same_kind:
        print(f"epclab: which {node}: {', '.join(each.name for each in same_kind)}?", file=sys.stderr)
        return None
    there = f"running there: {', '.join(running)}" if running else f"no lab runs from {directory}"
    print(f"epclab: no node {node!r}; {there}. HOST:PORT of an admin API works too.", file=sys.stderr)
    return None


def _are_addresses(text: str) -> bool:
    try:
        return bool([ip_address(each) for each in text.split(",")])
    except ValueError:
        return False


def _addresses(name: str, directory: Path) -> str:
    """Of a node of the running lab, from its configuration."""
    from epc.lab.kinds import config_model
    from epc.lab.links import own_addresses
    from epc.node import load_config

    kind = read_state(directory)[name].kind
    return ",".join(sorted(own_addresses(load_config(directory / f"{name}.yaml", config_model(kind)))))


def call(url: str, body: bytes | None = None, *, method: str = "") -> tuple[int, Any]:
    """GET, POST ``body``, or ``method``: the HTTP status and the answer; status 0 when nobody answers there."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=ANSWER_WITHIN_S)
    try:
        connection.request(method or ("GET" if body is None else "POST"), f"{parts.path}{'?' if parts.query else ''}{parts.query}", body)
        answer = connection.getresponse()
        text = answer.read()
    except OSError as error:
        return 0, {"error": f"{url}: {error}"}
    finally:
        connection.close()
    try:
        return answer.status, orjson.loads(text)
    except orjson.JSONDecodeError:
        return answer.status, {"error": f"{url}: {answer.status} {answer.reason}"}


def render(data: Any, *, as_json: bool = False) -> str:
    """A table for a list of flat records, such tables one below the other for a mapping of them, indented JSON for anything else."""
    if isinstance(data, list) and not data and not as_json:
        return "(none)"
    if isinstance(data, dict) and not as_json and any(_is_table(value) for value in data.values()):
        return "\n".join(f"{key}:\n{render(value)}" if isinstance(value, list) else f"{key}: {value}" for key, value in data.items())
    if as_json or not _is_table(data):
        return data if isinstance(data, str) else orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    columns = list(dict.fromkeys(key for row in data for key in row))
    rows = [[_cell(key, row.get(key, "")) for key in columns] for row in data]
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in [columns, *rows])


def _is_table(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(row, dict) for row in data)


def _cell(key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and "teid" in key:
        return f"0x{value:08x}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(_cell(key, each) for each in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={_cell(name, each)}" for name, each in value.items())
    return "" if value is None else str(value)
