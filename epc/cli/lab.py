"""``epclab lab up FILE``: every node of a topology (or compose) file as a process of its own; ``status``, ``check`` and ``down``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epc.cli.ctl import DEFAULT_DIRECTORY, call, enter_namespace, render
from epc.lab.running import NodeProcess, read_state, runs_epclab

if TYPE_CHECKING:
    from epc.lab.processes import Processes

LOOKS_AT_SESSIONS = 4       # before a session that only one end holds is called a leak

def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("lab", help="start the nodes of a topology or compose file as processes")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="start and watch until interrupted; a compose file's services run in network namespaces")
    up.add_argument("file", type=Path, metavar="FILE")
    up.add_argument("--detach", action="store_true", help="return when all nodes are ready; `epclab lab down` ends them")
    up.add_argument("--patience", type=float, default=30.0, metavar="SECONDS", help="how long the nodes may take to become ready (default 30)")
    up.set_defaults(run=run_up)
    status = verbs.add_parser("status", help="the running nodes")
    status.set_defaults(run=run_status)
    check = verbs.add_parser("check", help="no orphan and no mismatched tunnel or session over all running nodes")
    check.add_argument("--nothing-left", action="store_true", help="and no tunnel, no session and no pending request at all")
    check.set_defaults(run=run_check)
    down = verbs.add_parser("down", help="stop a detached lab")
    down.set_defaults(run=run_down)
    for verb in (up, status, check, down):
        verb.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help=f"logs and state (default {DEFAULT_DIRECTORY})")


def run_up(options: argparse.Namespace) -> int:
    if read_state(options.dir):
        print(f"epclab: a lab already runs from {options.dir}; stop it with `epclab lab down`, or give another --dir", file=sys.stderr)
        return 1
    if options.detach:
        return _detach(options)
    from epc.cli.main import main
    from epc.lab.forked import ForkedProcesses
    from epc.lab.processes import topology_launches
    from epc.lab.topology import load_topology
    from epc.node.config_file import read_yaml

    data, _ = read_yaml(options.file)
    if "services" in data:
        from epc.lab.compose import load_compose
        from epc.lab.containers import Containers, enter_private_namespaces

        compose = load_compose(options.file)
        enter_private_namespaces()
        for name in compose.left_out:
            print(f"{name}: not an epclab node, left to a container engine")
        return asyncio.run(_watch(Containers(compose, options.dir), options.patience))
    topology = load_topology(options.file)
    launches = topology_launches(topology, options.dir)
    return asyncio.run(_watch(ForkedProcesses(topology.name, launches, options.dir, main), options.patience))


async def _watch(processes: Processes, patience_s: float) -> int:
    from epc.lab.processes import StartFailed

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stopped.set)
    started = time.monotonic()
    starting = asyncio.ensure_future(processes.start(patience_s=patience_s))
    interrupted = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((starting, interrupted), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return 130
    try:
        await starting
    except StartFailed as error:
        interrupted.cancel()
        print(f"epclab: {error}", file=sys.stderr)
        return 1
    print(f"{len(processes.running)} nodes ready after {time.monotonic() - started:.1f} s: {', '.join(processes.running)}. "
          f"Logs in {processes.directory}; look inside with `epclab ctl NODE`; stop with Ctrl-C.", flush=True)
    ended = asyncio.ensure_future(processes.ended())
    await asyncio.wait((ended, interrupted), return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if ended.done():
        print(f"epclab: {ended.result()} ended by itself:\n{processes.log_tail(ended.result())}", file=sys.stderr)
        status = 1
    ended.cancel()
    interrupted.cancel()
    await processes.stop()
    return status


def _detach(options: argparse.Namespace) -> int:
    options.dir.mkdir(parents=True, exist_ok=True)
    with (options.dir / "lab.log").open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "epc.cli", "lab", "up", str(options.file), "--dir", str(options.dir), "--patience", str(options.patience)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    while child.poll() is None:
        if "ready after" in (options.dir / "lab.log").read_text(errors="replace"):
            (options.dir / "lab.pid").write_text(str(child.pid))
            print(f"{', '.join(read_state(options.dir))} ready; stop with `epclab lab down`")
            return 0
        time.sleep(0.05)
    print((options.dir / "lab.log").read_text(errors="replace"), file=sys.stderr, end="")
    return child.returncode or 1


def run_status(options: argparse.Namespace) -> int:
    running = read_state(options.dir)
    if not running:
        print(f"no lab runs from {options.dir}")
        return 1
    print(render([{"node": each.name, "kind": each.kind, "pid": each.pid, "admin": str(each.admin)} for each in running.values()]))
    return 0


def run_check(options: argparse.Namespace) -> int:
    running = read_state(options.dir)
    if not running:
        print(f"epclab: no lab runs from {options.dir}", file=sys.stderr)
        return 2
    enter_namespace(next(iter(running)), options.dir)
    from epc.lab.invariants import Held, HeldSession, check_no_session_left, check_nothing_left, check_sessions, check_tunnels
    from epc.node import SessionEnd, TunnelEnd
    from epc.node.state import AssociatedPeer

    def look(view: str) -> Iterator[tuple[NodeProcess, dict[str, Any]]]:
        for node in running.values():
            status, found = call(f"http://{node.admin}/state/{view}")
            if status != 200:
                raise LookupError(f"{node.name}: {found.get('error', found)}")
            yield from ((node, each) for each in found)

    def look_at_sessions() -> tuple[list[HeldSession], list[str]]:
        sessions = [HeldSession(node.name, node.kind, SessionEnd(**end)) for node, end in look("session_ends")]
        found = check_sessions(sessions, [node.kind for node in running.values()])
        if options.nothing_left:
            found += check_no_session_left(sessions, [(node.name, AssociatedPeer(**peer)) for node, peer in look("associations")])
        return sessions, found

    try:
        held = [Held(node.name, node.kind, TunnelEnd(**{key: value for key, value in end.items() if key != "label"}))
                for node, end in look("tunnels")]
        problems = check_tunnels(held, {node.kind for node in running.values()})
        if options.nothing_left:
            problems += check_nothing_left(held)
        sessions, session_problems = look_at_sessions()
        for _ in range(LOOKS_AT_SESSIONS - 1):
            # nodes are asked one after the other, and sessions come and go meanwhile: a problem is what stays
            if not session_problems:
                break
            time.sleep(0.3)
            sessions, again = look_at_sessions()
            session_problems = [problem for problem in session_problems if problem in again]
        is_busy = bool(session_problems) and any(look("procedures"))
    except LookupError as error:
        print(f"epclab: {error}", file=sys.stderr)
        return 1
    if is_busy:
        session_problems = []
    problems += session_problems
    for problem in problems:
        print(problem)
    left_out = ", sessions not compared: procedures run" if is_busy else ""
    print(f"{len(held)} tunnel ids and {len(sessions)} ends of sessions on {len(running)} nodes, {len(problems)} problems{left_out}")
    return 1 if problems else 0


def run_down(options: argparse.Namespace) -> int:
    pid_file = options.dir / "lab.pid"
    try:
        pid = int(pid_file.read_text())
        if not runs_epclab(pid):
            raise ProcessLookupError(pid)
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        print(f"epclab: no detached lab runs from {options.dir}", file=sys.stderr)
        pid_file.unlink(missing_ok=True)
        return 1
    end = time.monotonic() + 30
    while (runs_epclab(pid) or read_state(options.dir)) and time.monotonic() < end:
        time.sleep(0.05)
    pid_file.unlink(missing_ok=True)
    if runs_epclab(pid):
        print(f"epclab: process {pid} does not end", file=sys.stderr)
        return 1
    print("stopped")
    return 0
