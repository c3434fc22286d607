"""``epclab run scenarios/attach.py``: all nodes in this process, the ladder on the screen, files in the output folder."""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from pathlib import Path

from epc.lab.ladder import LadderEvent, Lifelines, render_line
from epc.lab.ladder.diagram import header
from epc.lab.report import RunReport, step_timings, tunnel_table, write_report
from epc.lab.scenario import Lab, lifelines_of, load_scenario, run_scenario
from epc.lab.topology import NodeEntry, load_topology
from epc.node.config import LogConfig
from epc.node.log import configure_logging
from epc.transport.interface import Tap, Transport
from epc.transport.memory import MemoryNetwork
from epc.transport.sctp import sctp_capabilities
from epc.transport.sockets import SocketTransport


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("run", help="run a scenario: all nodes in this process")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.py")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where trace.pcapng, ladder.txt, ladder.html, summary.json go (default out/NAME)")
    parser.add_argument("--transport", choices=("auto", "sockets", "memory"), default="auto",
                        help="sockets on loopback, or the in-memory network; auto: sockets where SCTP can be had")
    parser.add_argument("--quiet", action="store_true", help="no ladder on the screen")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    configure_logging(LogConfig(level=options.log_level))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)         # in a pipe too, progress is seen while it happens
    chosen = load_scenario(options.scenario)
    out: Path = options.out or Path("out") / options.scenario.stem
    out.mkdir(parents=True, exist_ok=True)
    kind = options.transport
    if kind == "auto":
        kind = "sockets" if sctp_capabilities().usable else "memory"
        if kind == "memory":
            print("No SCTP on this host (`epclab doctor` says what to do about it): the nodes meet on the in-memory network.")
    topology = load_topology(chosen.topology)
    screen = Screen(lifelines_of(topology), quiet=options.quiet)
    memory = MemoryNetwork()

    def transport_for(entry: NodeEntry, tap: Tap) -> Transport:
        if kind == "memory":
            return memory.transport(entry.name, tap=tap, impairments=entry.config.link_impairments())
        return SocketTransport(entry.name, tap=tap, sctp=entry.config.sctp.settings(), impairments=entry.config.link_impairments())

    async def everything() -> Lab:
        return await run_scenario(chosen, transport_for, trace=out / "trace.pcapng", on_event=screen.event, say=screen.say, topology=topology)

    print(f"{chosen.title}\n")
    if kind == "sockets":
        import uvloop

        lab = uvloop.run(everything())
    else:
        lab = asyncio.run(everything())
    write_report(lab.report, lab.observer, out)
    print_result(lab.report, lab, out)
    return 0 if lab.report.result == "passed" else 1


class Screen:
    """Prints the ladder while it grows."""

    def __init__(self, lifelines: Lifelines, *, quiet: bool) -> None:
        self._lifelines = lifelines
        self._quiet = quiet
        self._seen_steps: set[int] = set()
        self._started = False

    def event(self, event: LadderEvent) -> None:
        if self._quiet:
            return
        if not self._started:
            self._started = True
            print(header(self._lifelines))
        print(render_line(event, lifelines=self._lifelines, seen_steps=self._seen_steps), flush=True)

    def say(self, text: str) -> None:
        print(f"      {text}", flush=True)


def print_result(report: RunReport, lab: Lab, out: Path) -> None:
    for phone in report.phones.values():
        if phone.tunnels:
            print(f"\nThe tunnels of IMSI {phone.imsi} at {phone.ip}\n{tunnel_table(phone.tunnels)}")
        if phone.story:
            print("\n" + "\n".join(phone.story))
    timings = step_timings(lab.observer.events)
    if timings:
        print("\nTime in each step: " + ", ".join(f"{name.split(' ')[0]}: {each['duration_ms']:.1f} ms" for name, each in timings.items()))
    for problem in report.problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(f"\n{report.result.upper()} in {report.duration_s:.1f} s. Written: "
          f"{out}/trace.pcapng, ladder.txt, ladder.html, summary.json" + (", settlement" if report.settlement is not None else ""))
