"""``epclab config check FILE`` and ``epclab config schema KIND``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from epc.lab.kinds import KINDS, config_model
from epc.lab.topology import load_topology
from epc.node import ConfigError, parse_config
from epc.node.config_file import read_yaml


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("config", help="check a configuration file, print its JSON Schema")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="say exactly what is wrong with a node's file or a topology file")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument("--kind", choices=sorted(KINDS), help="what node the file is for, where neither its `kind` nor its name says so")
    check.set_defaults(run=run_check)
    schema = verbs.add_parser("schema", help="print the JSON Schema of a node's file")
    schema.add_argument("kind", choices=sorted(KINDS))
    schema.set_defaults(run=run_schema)


def run_check(options: argparse.Namespace) -> int:
    failed = False
    for path in options.files:
        try:
            print(f"{path}: {check_file(path, options.kind)}")
        except ConfigError as error:
            failed = True
            for problem in error.problems:
                print(problem, file=sys.stderr)
    return 2 if failed else 0


def check_file(path: Path, kind: str | None = None) -> str:
    """What the file is, when it is good; raises :class:`ConfigError`."""
    data, root = read_yaml(path)
    if "nodes" in data:
        topology = load_topology(path)
        return f"good: topology {topology.name!r} with {', '.join(entry.name for entry in topology.nodes)}"
    if "services" in data:
        from epc.lab.compose import load_compose

        compose = load_compose(path)
        for service in compose.services.values():
            check_file(service.config, service.kind)
        return f"good: compose file with {', '.join(compose.services)}"
    kind = kind or str(data.get("kind") or next((name for name in KINDS if path.stem.startswith(name)), ""))
    if kind not in KINDS:
        raise ConfigError([f"{path}: which kind of node is it for? Give --kind or a key `kind`: {', '.join(KINDS)}"])
    parse_config(data, config_model(kind), source=str(path), root=root)
    return f"good: configuration of {'an' if kind in ('hss', 'sgw', 'mme', 'enb', 'ocs') else 'a'} {kind.upper() if kind != 'enb' else 'eNodeB'}"


def run_schema(options: argparse.Namespace) -> int:
    sys.stdout.write(schema_text(options.kind))
    return 0


def schema_text(kind: str) -> str:
    """The JSON Schema of a node's file, as published under docs/schema."""
    schema = config_model(kind).model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"
