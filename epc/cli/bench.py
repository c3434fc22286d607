"""``epclab bench attach`` and ``epclab bench user-plane``: what this machine manages, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import orjson


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="measure attaches per second and what they cost")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")
    attach = verbs.add_parser("attach", help="many attaches over real sockets, each node a process of its own")
    attach.add_argument("--ues", type=_positive, default=1000, metavar="N", help="how many phones attach (default 1000)")
    attach.add_argument("--concurrency", type=_positive, default=64, metavar="C", help="how many attaches are under way at a time (default 64)")
    attach.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="logs and result (default out/bench)")
    attach.set_defaults(run=run_attach)
    user_plane = verbs.add_parser("user-plane", help="pings through an SGW and a PGW of two processes")
    user_plane.add_argument("--octets", type=_positive, default=100, metavar="N", help="length of a user packet (default 100)")
    user_plane.add_argument("--sessions", type=_positive, default=1, metavar="N", help="how many phones the packets are of (default 1)")
    user_plane.add_argument("--sgi", choices=("reflector", "tun"), default="reflector", help="what answers behind the PGW")
    user_plane.add_argument("--backend", choices=("socket", "bpf"), default="socket",
                            help="bpf: an in-kernel generator, and the kernel's own IP forwarding beside it; takes root (default socket)")
    user_plane.add_argument("--hook", choices=("xdp-generic", "tc"), default="xdp-generic", help="where in the kernel bpf runs")
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
    from epc.dataplane.bench import SgiKind, measure_user_plane

    if options.backend == "bpf":
        return _run_in_kernel(options)
    try:
        cost = measure_user_plane(packet_octets=options.octets, sessions=options.sessions, sgi=SgiKind(options.sgi))
    except (OSError, ValueError) as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1
    print(f"{cost.packets} packets of {cost.packet_octets} octets, {cost.lost} lost: {cost.packets_per_second:.0f} packets/s, "
          f"SGW {cost.sgw_us_per_packet:.1f} us, PGW {cost.pgw_us_per_packet:.1f} us, together {cost.us_per_packet:.1f} us a packet [15]")
    return 0 if not cost.lost else 1


def _run_in_kernel(options: argparse.Namespace) -> int:
    from epc.dataplane.bpf.fast_path import Hook
    from epc.dataplane.bpf_bench import Job, measure_kernel

    try:
        costs = asyncio.run(measure_kernel(packet_octets=options.octets, sessions=options.sessions, hook=Hook(options.hook)))
    except (OSError, ValueError) as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1
    for job, text in (
        (Job.RELAY, "SGW"), (Job.DECAPSULATE, "PGW uplink"), (Job.ENCAPSULATE, "PGW downlink"), (Job.IP_FORWARDING, "the kernel's IP forwarding"),
    ):
        cost = costs[job]
        print(f"{text}: {cost.us_per_packet:.2f} us a packet, {cost.packets_per_second:.0f} packets/s on one CPU, {cost.lost} of {cost.packets} lost")
    together_us = costs[Job.RELAY].us_per_packet + (costs[Job.DECAPSULATE].us_per_packet + costs[Job.ENCAPSULATE].us_per_packet) / 2
    print(f"SGW and PGW together: {together_us:.2f} us a packet of {options.octets} octets, {options.sessions} sessions [2]")
    return 0 if not any(cost.lost for cost in costs.values()) else 1
