"""``epclab bench attach`` and ``epclab bench userplane``: what this machine manages, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from epc.dataplane.bench_report import UserPlaneReport


MANY_PHONES = 60_000
SOCKET_PACKETS, BPF_PACKETS = 30_000, 200_000       # of a round


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="measure attaches per second and what they cost")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")
    attach = verbs.add_parser("attach", help="many attaches over real sockets, each node a process of its own")
    attach.add_argument("--ues", type=_positive, default=1000, metavar="N", help="how many phones attach (default 1000)")
    attach.add_argument("--concurrency", type=_positive, default=64, metavar="C", help="how many attaches are under way at a time (default 64)")
    attach.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="logs and result (default out/bench)")
    attach.set_defaults(run=run_attach)
    user_plane = verbs.add_parser(
        "userplane", aliases=["user-plane"], help="what a user packet costs in SGW and PGW",
        description="Measures SGW and PGW with a generator that is faster than they are, beside what the kernel takes to forward plain IP. "
                    "By default on both back ends (bpf takes root), for short and long packets, and for one phone and 60000.")
    user_plane.add_argument("--backend", choices=("socket", "bpf"), help="only this one (default: all that run here)")
    user_plane.add_argument("--size", "--octets", type=_positive, dest="octets", metavar="N", help="octets of a user's packet (default 64 and 1400)")
    user_plane.add_argument("--ues", "--sessions", type=_positive, metavar="N", help="how many phones the packets are of (default 1 and 60000)")
    user_plane.add_argument("--rounds", type=_positive, default=7, metavar="N", help="medians of so many rounds (default 7)")
    user_plane.add_argument("--sgi", choices=("reflector", "tun"), default="reflector", help="socket: what answers behind the PGW")
    user_plane.add_argument("--hook", choices=("xdp-generic", "xdp-native", "tc"), default="xdp-generic", help="bpf: where in the kernel")
    user_plane.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="result (default out/bench)")
    user_plane.set_defaults(run=run_user_plane)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run_attach(options: argparse.Namespace) -> int:
    import uvloop

    from epc.lab.bench import measure_attach
    from epc.lab.processes import StartFailed
    from epc.node.config import LogConfig
    from epc.node.log import configure_logging

    configure_logging(LogConfig(level="error"))
    try:
        cost = uvloop.run(measure_attach(ues=options.ues, concurrency=options.concurrency, directory=options.out))
    except StartFailed as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1
    print(cost.report())
    result = options.out / "attach.json"
    result.write_bytes(orjson.dumps({**asdict(cost), "attaches_per_s": cost.attaches_per_s}, option=orjson.OPT_INDENT_2))
    return 0 if cost.attached == cost.ues else 1


def run_user_plane(options: argparse.Namespace) -> int:
    from epc.dataplane.bench_report import UserPlaneReport

    report = UserPlaneReport()
    sizes = (64, 1400) if options.octets is None else (options.octets,)
    phones = (1, MANY_PHONES) if options.ues is None else (options.ues,)
    try:
        for ues in phones:
            for octets in sizes if ues == phones[0] else sizes[:1]:
                _measure(report, options, octets, ues)
    except (OSError, ValueError) as error:
        print(f"epclab: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    for line in report.lines():
        print(line)
    options.out.mkdir(parents=True, exist_ok=True)
    result = options.out / "userplane.json"
    result.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2))
    print(f"\n{result}")
    return 0 if not report.lost else 1


def _measure(report: UserPlaneReport, options: argparse.Namespace, octets: int, ues: int) -> None:
    from epc.dataplane.bench import SgiKind
    from epc.dataplane.bpf.fast_path import Hook

    if options.backend != "bpf":
        report.measure_socket(octets, ues, sgi=SgiKind(options.sgi), rounds=options.rounds, packets=SOCKET_PACKETS)
    if options.backend != "socket":
        try:
            asyncio.run(report.measure_bpf(
                octets, ues, hook=Hook(options.hook), rounds=options.rounds, packets=BPF_PACKETS, with_tc=ues == 1))
        except OSError as error:
            if options.backend == "bpf":
                raise OSError(error.errno, f"bpf does not run here: {error.strerror or error}. It takes root; `epclab doctor` tells more") from error
            print(f"epclab: bpf is left out, it does not run here: {error.strerror or error}", file=sys.stderr)
            options.backend = "socket"
