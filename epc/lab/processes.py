"""The nodes of a topology as one process each, watched until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import aiohttp
import orjson
import yaml

from epc.lab.running import STATE_FILE, NodeProcess
from epc.lab.topology import Topology
from epc.transport.interface import Address

EPCLAB = (sys.executable, "-m", "epc.cli")
# util-linux; whoever starts the nodes may be killed, and then they shall not stay behind.
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


class StartFailed(Exception):
    """A node's process ended or did not become ready; the text quotes its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start one node's process."""

    name: str
    kind: str
    argv: tuple[str, ...]
    admin: Address

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows ``epclab``."""
        return self.argv[len(EPCLAB):]


class Child(Protocol):
    """A process, as :class:`asyncio.subprocess.Process` is one."""

    pid: int

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    def send_signal(self, signum: int, /) -> None: ...

    def kill(self) -> None: ...


def topology_launches(topology: Topology, directory: Path) -> list[Launch]:
    """``epclab KIND --config FILE`` for every node; the files are written to ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    launches = []
    for entry in topology.nodes:
        file = directory / f"{entry.name}.yaml"
        file.write_text(yaml.safe_dump(entry.data, sort_keys=False))
        admin = Address(entry.config.admin.host, entry.config.admin.port)
        launches.append(Launch(name=entry.name, kind=entry.kind, argv=(*EPCLAB, entry.kind, "--config", str(file)), admin=admin))
    return launches


class Processes:
    """Runs one process a node until told to stop; logs go to ``directory``."""

    def __init__(self, name: str, launches: Sequence[Launch], directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.running: dict[str, NodeProcess] = {}
        self._launches = launches
        self._children: dict[str, Child] = {}

    async def start(self, *, patience_s: float = 30.0) -> None:
        """Start all, then wait until each one's /readyz says yes. Raises :class:`StartFailed` and stops what had started."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._prepare()
            for launch in self._launches:
                with (self.directory / f"{launch.name}.log").open("wb") as out:
                    child = self._children[launch.name] = await self._spawn(launch, out)
                self.running[launch.name] = NodeProcess(
                    name=launch.name, kind=launch.kind, pid=child.pid, admin_host=launch.admin.host, admin_port=launch.admin.port,
                    namespace_of=self._namespace_of())
            self._write_state()
            await self._wait_ready(patience_s)
        except BaseException:
            await self.stop()
            raise

    async def _prepare(self) -> None:
        """What must exist before the first process."""

    def _namespace_of(self) -> int:
        return 0

    async def _spawn(self, launch: Launch, out: BinaryIO) -> Child:
        return await asyncio.create_subprocess_exec(
            *ENDS_WITH_PARENT, *launch.argv, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def _write_state(self) -> None:
        state = {"name": self.name, "started": time.time(), "nodes": [asdict(each) for each in self.running.values()]}
        (self.directory / STATE_FILE).write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))

    async def _wait_ready(self, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        waiting = dict(self.running)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while waiting:
                for name, node in list(waiting.items()):
                    if self._children[name].returncode is not None:
                        raise StartFailed(f"{name} ended with status {self._children[name].returncode}:\n{self.log_tail(name)}")
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with session.get(f"http://{node.admin}/readyz") as answer:
                            # Who answers may be another program's node at the same address, while ours has yet to find that out.
                            if answer.status == 200 and (await answer.json())["pid"] == node.pid:
                                del waiting[name]
                if waiting and loop.time() > end:
                    tails = "\n".join(f"--- {name}\n{self.log_tail(name)}" for name in waiting)
                    raise StartFailed(f"not ready after {patience_s:g} s: {', '.join(waiting)}\n{tails}")
                await asyncio.sleep(0.05)

    def log_tail(self, name: str, lines: int = 15) -> str:
        text = (self.directory / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    async def ended(self) -> str:
        """Wait until any node's process ends by itself; its name."""
        waits = {asyncio.ensure_future(child.wait()): name for name, child in self._children.items()}
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        return waits[next(iter(done))]

    async def stop(self, *, patience_s: float = 10.0) -> None:
        """Ask every process to stop, phones and radio first, then make sure."""
        for child in reversed(self._children.values()):
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.wait(), patience_s)
        for child in self._children.values():
            if child.returncode is None:
                child.kill()
                await child.wait()
        self._children.clear()
        self.running.clear()
        (self.directory / STATE_FILE).unlink(missing_ok=True)
