"""Nodes as processes that are copies of this one: every module that a node needs is loaded once, for all of them.

Loading them takes a node the better part of a second of CPU time, so a lab starts several times sooner than with an interpreter each.
Logs, addresses, signals and exit status are those of ``epclab KIND --config FILE``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from epc.dataplane import keeper
from epc.lab.processes import Child, Launch, Processes

PR_SET_NAME = 15
NAME_OCTETS = 15


class ForkedChild:
    """What :class:`~epc.lab.processes.Processes` wants to know of a child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set_result(self.returncode)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def send_signal(self, signum: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedProcesses(Processes):
    """Calls ``run_node`` in each child with what would follow ``epclab``; its result is the exit status. This process must have one thread."""

    def __init__(self, name: str, launches: Sequence[Launch], directory: Path, run_node: Callable[[tuple[str, ...]], int]) -> None:
        super().__init__(name, launches, directory)
        self._run_node = run_node

    async def _spawn(self, launch: Launch, out: BinaryIO) -> Child:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return ForkedChild(pid)
        status = 1
        try:
            _become_a_node(launch.name, out, parent)
            status = self._run_node(launch.arguments)
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)        # nothing of the parent's is to be tidied up here


def _become_a_node(name: str, out: BinaryIO, parent: int) -> None:
    keeper.libc.prctl(keeper.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)                     # the lab has ended meanwhile
    keeper.libc.prctl(PR_SET_NAME, name.encode()[:NAME_OCTETS])
    os.setsid()
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    asyncio._set_running_loop(None)     # that loop goes on in the parent
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 20 else 1 << 16)
