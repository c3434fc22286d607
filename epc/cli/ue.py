"""``epclab ue``: the phones of a running lab. ``epclab ue exec IMSI -- curl ...`` runs any program as one of them."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from epc.cli.ctl import DEFAULT_DIRECTORY, admin_of, call, enter_namespace, render
from epc.lab.running import read_state

AS_CONFIGURED = "as configured"
USAGE = "epclab ue exec [--dir DIR] [--enb NODE] IMSI -- PROGRAM [ARGUMENT ...]"
NOT_FOUND, CANNOT_RUN = 127, 126        # what a shell's exit status says of a program that did not start


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("ue", help="the phones of a running lab: list them, run programs as one of them")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="every phone: state, address, where its programs run")
    listing.add_argument("--attached", action="store_true", help="only those that have an address")
    listing.set_defaults(run=run_list)
    program = verbs.add_parser(
        "exec", help="run a program as a phone", usage=USAGE,
        description="The program's network is the phone's, and its /etc/resolv.conf names the servers that the network told the phone. "
                    "Standard streams and exit status are the program's own. It trusts the web servers on SGi if it heeds SSL_CERT_FILE "
                    "or CURL_CA_BUNDLE, as curl and Python do.")
    program.add_argument("imsi", metavar="IMSI")
    program.add_argument("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM [ARGUMENT ...]")
    program.set_defaults(run=run_exec)
    attach = verbs.add_parser("attach", help="switch a phone on")
    attach.add_argument("imsi", metavar="IMSI")
    attach.add_argument("--apn", help="default: the phone's configuration, else the subscription")
    attach.set_defaults(run=run_attach)
    detach = verbs.add_parser("detach", help="switch a phone off, or only detach it")
    detach.add_argument("imsi", metavar="IMSI")
    detach.add_argument("--switch-off", action="store_true")
    detach.set_defaults(run=run_detach)
    for verb in (listing, program, attach, detach):
        _take_where(verb)


def _take_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help=f"where `epclab lab up` keeps its state (default {DEFAULT_DIRECTORY})")
    parser.add_argument("--enb", metavar="NODE", help="only this eNodeB: its name in the lab, or HOST:PORT of its admin API")


class Station(NamedTuple):
    """An eNodeB that runs."""

    name: str
    api: str


class _Refused(Exception):
    """With a word for the user."""


def run_list(options: argparse.Namespace) -> int:
    return _told(lambda: _list(options))


def run_attach(options: argparse.Namespace) -> int:
    return _told(lambda: _attach(options))


def run_detach(options: argparse.Namespace) -> int:
    return _told(lambda: _detach(options))


def run_exec(options: argparse.Namespace) -> int:
    program = options.program
    if program[:1] and program[0].startswith("-"):      # options may stand behind the IMSI too, as with the other verbs
        dashes = program.index("--") if "--" in program else len(program)
        late = argparse.ArgumentParser(prog="epclab ue exec", usage=USAGE, add_help=False)
        _take_where(late)
        late.parse_args(program[:dashes], options)
        program = program[dashes + 1:]
    if not program:
        print("epclab: which program? epclab ue exec IMSI -- PROGRAM [ARGUMENT ...]", file=sys.stderr)
        return 2
    return _told(lambda: _exec(options, program))


def _told(action: Any) -> int:
    try:
        return int(action())
    except _Refused as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1


def _list(options: argparse.Namespace) -> int:
    rows = []
    for station, phone in _phones(options):
        connections = phone["pdn_connections"]
        if options.attached and not connections:
            continue
        rows.append({
            "imsi": phone["imsi"], "enb": station.name, "state": phone["state"], "connected": phone["connected"],
            "apn": ",".join(each["apn"] for each in connections), "ip": ",".join(each["ipv4"] for each in connections), "host": phone["host"],
        })
    print(render(rows))
    return 0


def _attach(options: argparse.Namespace) -> int:
    station, phone = _find(options)
    if phone["state"] == "EMM-REGISTERED":
        raise _Refused(f"IMSI {options.imsi} is attached already, {', '.join(each['ipv4'] for each in phone['pdn_connections'])}")
    result = _command(station, "attach", imsi=options.imsi, **({"apn": options.apn} if options.apn else {}))
    if not result["success"]:
        raise _Refused(f"IMSI {options.imsi} could not attach: {result['result']}")
    print(f"IMSI {options.imsi} is attached, {result['ip']}")
    return 0


def _detach(options: argparse.Namespace) -> int:
    station, phone = _find(options)
    if phone["state"] in ("EMM-DEREGISTERED", "EMM-NULL"):
        raise _Refused(f"IMSI {options.imsi} is not attached")
    if not _command(station, "detach", imsi=options.imsi, switch_off="yes" if options.switch_off else "no")["success"]:
        raise _Refused(f"IMSI {options.imsi} could not detach")
    print(f"IMSI {options.imsi} is detached")
    return 0


def _exec(options: argparse.Namespace, program: list[str]) -> int:
    station, phone = _find(options)
    if not phone["pdn_connections"]:
        raise _Refused(f"IMSI {options.imsi} is not attached ({phone['state']}); `epclab ue attach {options.imsi}` attaches it")
    host = _command(station, "host", imsi=options.imsi)
    if not host["namespace"]:
        why = f"{host['lives_in']}; `epclab doctor` tells more"
        if host["lives_in"] == AS_CONFIGURED:
            why = f"its host is {phone['host']}; `host: namespace` in its entry of the eNodeB's phones gives it a namespace"
        raise _Refused(f"no program can run as IMSI {options.imsi}: {why}")
    environment = {**os.environ, **_trusting(options.dir)}
    from epc.dataplane import keeper

    try:
        keeper.become_host(host["keeper_pid"], host["namespace"], host["dns"])
    except OSError as error:
        raise _Refused(f"the namespace of IMSI {options.imsi} cannot be entered: {error}") from error
    try:
        os.execvpe(program[0], program, environment)
    except OSError as error:
        print(f"epclab: {program[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN


def _stations(options: argparse.Namespace) -> list[Station]:
    if options.enb is not None:
        enter_namespace(options.enb, options.dir)
        api = admin_of(options.enb, options.dir)
        if api is None:
            raise SystemExit(2)
        return [Station(options.enb, api)]
    running = [node for node in read_state(options.dir).values() if node.kind == "enb"]
    if not running:
        raise _Refused(f"no lab with an eNodeB runs from {options.dir}; `epclab lab up FILE --detach` starts one")
    enter_namespace(running[0].name, options.dir)
    return [Station(node.name, f"http://{node.admin}") for node in running]


def _phones(options: argparse.Namespace) -> Iterator[tuple[Station, dict[str, Any]]]:
    for station in _stations(options):
        status, phones = call(f"{station.api}/state/phones")
        if status != 200:
            raise _Refused(f"{station.name}: {phones.get('error', phones)}")
        yield from ((station, phone) for phone in phones)


def _find(options: argparse.Namespace) -> tuple[Station, dict[str, Any]]:
    known = list(_phones(options))
    found = [(station, phone) for station, phone in known if phone["imsi"] == options.imsi]
    if not found:
        few = ", ".join(phone["imsi"] for _, phone in known[:5]) + (", ..." if len(known) > 5 else "")
        raise _Refused(f"no phone with IMSI {options.imsi}; there are {few}" if known else "this lab has no phones")
    return max(found, key=lambda each: bool(each[1]["pdn_connections"]))         # a SIM may be in two phones; one of them is attached


def _command(station: Station, command: str, **arguments: str) -> dict[str, Any]:
    status, answer = call(f"{station.api}/command/{command}", orjson.dumps(arguments))
    if status != 200:
        raise _Refused(f"{station.name}: {answer.get('error', answer)}")
    result: dict[str, Any] = answer["result"]
    return result


def _trusting(directory: Path) -> Mapping[str, str]:
    """Environment variables for programs that shall trust the web servers on SGi too."""
    authorities: list[str] = []
    for node in read_state(directory).values():
        if node.kind in ("pgw", "pgwu"):
            status, known = call(f"http://{node.admin}/state/certificates")
            authorities += known.values() if status == 200 else ()
    from epc.dataplane.namespace_host import trusting

    return trusting(authorities, directory if os.access(directory, os.W_OK) else Path(tempfile.mkdtemp(prefix="epclab-")))
