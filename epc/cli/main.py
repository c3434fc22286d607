"""Finds the command's module and runs it; turns expected errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

NODE = "epc.cli.node"
COMMANDS = {
    "run": ("epc.cli.run", "run a scenario: all nodes in this process"),
    "lab": ("epc.cli.lab", "start the nodes of a topology or compose file as processes"),
    "ctl": ("epc.cli.ctl", "look into a running node, or tell it to do something"),
    "ue": ("epc.cli.ue", "the phones of a running lab: list them, run programs as one of them"),
    "mme": (NODE, "run an MME"),
    "hss": (NODE, "run an HSS"),
    "sgw": (NODE, "run an SGW"),
    "pgw": (NODE, "run a PGW"),
    "sgwu": (NODE, "run an SGW's user plane"),
    "pgwu": (NODE, "run a PGW's user plane"),
    "pcrf": (NODE, "run a PCRF"),
    "ocs": (NODE, "run an OCS"),
    "af": (NODE, "run an application function"),
    "dra": (NODE, "run a Diameter agent"),
    "dns": (NODE, "run a DNS server"),
    "enb": (NODE, "run an eNodeB with its phones"),
    "subscriber": ("epc.cli.subscriber", "add, list, import and export subscribers"),
    "pcc": ("epc.cli.pcc", "rules and policies of a PCRF: list, change, push"),
    "settle": ("epc.cli.settle", "bill roamers: TAP file, invoice, and home's check of it"),
    "config": ("epc.cli.config", "check a configuration file, print its JSON Schema"),
    "doctor": ("epc.cli.doctor", "what this host offers, and what to do about each lack"),
    "bench": ("epc.cli.bench", "measure attaches per second and what they cost"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``epclab``. Exit status 0: done; 1: it failed; 2: wrong usage or configuration."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="epclab", description="An LTE network, both ends: eNodeB and UE, MME, HSS, SGW, PGW, PCRF.")
    parser.add_argument("--version", action="version", version=f"epclab {_version()}" if "--version" in arguments else "")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, help_text) in COMMANDS.items():
        if name != chosen:
            commands.add_parser(name, help=help_text)
        elif module == NODE:
            importlib.import_module(module).register(commands, name)
        else:
            importlib.import_module(module).register(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        config_file = sys.modules.get("epc.node.config_file")       # loading it takes longer than most commands
        if config_file is None or not isinstance(error, config_file.ConfigError):
            raise
        for problem in error.problems:
            print(f"epclab: {problem}", file=sys.stderr)
        return 2


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("epclab")
    except PackageNotFoundError:
        return "(not installed)"
