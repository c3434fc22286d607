"""Network namespaces: make them, open devices and sockets inside, run programs there, leave nothing behind.

As root they get the names that ``ip netns`` shows; without privilege they live in a user namespace of their own (``unshare -Urn``).
The work is done by a child process, ``keeper``, because entering a namespace changes the process that enters.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import IO, TypedDict, Unpack

from epc.dataplane import keeper as keeper_script
from epc.dataplane.ip_endpoint import UE_MTU_OCTETS

ANSWER_WITHIN_S = 10.0
MAX_ANSWER_OCTETS = 65536

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class NamespaceError(OSError):
    """A namespace, or something in it, cannot be had on this host; says why."""


class Keeper:
    """The child process that owns namespaces, and this process's wire to it. Make one with :meth:`start`; :meth:`close` removes everything."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.privileged = False         # namespaces have names and belong to the host's user namespace
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls) -> Keeper:
        """Raises :class:`NamespaceError` when this host lets us have no namespaces at all."""
        process, ours = await asyncio.to_thread(_spawn)
        keeper = cls(process, ours)
        try:
            answer, _ = await keeper.request("start")
        except BaseException:
            await keeper.close()
            raise
        keeper.privileged = bool(answer["privileged"])
        return keeper

    async def create(self, name: str) -> Namespace:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a namespace: {name!r}")
        answer, _ = await self.request("create", name=name)
        return Namespace(self, name, str(answer["path"]))

    async def request(self, operation: str, descriptors: Sequence[int] = (), **parameters: object) -> tuple[dict[str, object], list[int]]:
        async with self._turn:
            answer, opened = await asyncio.to_thread(self._ask, json.dumps({"operation": operation, **parameters}).encode(), descriptors)
        if "error" in answer:
            raise NamespaceError(answer["errno"], f"{operation}: {answer['error']}")
        return answer, opened

    def _ask(self, request: bytes, descriptors: Sequence[int]) -> tuple[dict[str, object], list[int]]:
        try:
            socket.send_fds(self._channel, [request], list(descriptors))
            answer, opened, _, _ = socket.recv_fds(self._channel, MAX_ANSWER_OCTETS, 4)
        except OSError as error:
            raise NamespaceError(error.errno, f"the process that keeps the namespaces does not answer: {error}") from error
        if not answer:
            raise NamespaceError(0, "the process that keeps the namespaces is gone")
        for descriptor in opened:
            os.set_inheritable(descriptor, False)
        return json.loads(answer), opened

    async def close(self) -> None:
        """The keeper puts away everything and ends as soon as its socket closes."""
        self._channel.close()
        try:
            await asyncio.to_thread(self._process.wait, ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(ANSWER_WITHIN_S)
    with theirs:
        # A session of its own: a Ctrl-C at the terminal must not end it before what it keeps is put away.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper_script.__file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True,
        )
    return process, ours


class Streams(TypedDict, total=False):
    """A program's standard streams; those not given are this process's own."""

    stdin: int | IO[bytes]
    stdout: int | IO[bytes]
    stderr: int | IO[bytes]


class Namespace:
    """One network namespace. ``path`` serves ``nsenter --net=PATH`` while the keeper lives."""

    def __init__(self, keeper: Keeper, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self._keeper = keeper
        self._is_open = True

    @property
    def keeper_pid(self) -> int:
        """The process that keeps it; also in the user namespace to which it belongs."""
        return self._keeper.pid

    @property
    def is_privileged(self) -> bool:
        """It belongs to the user namespace of this process, so that devices can be joined to those outside."""
        return self._keeper.privileged

    async def open_tun(
        self, device: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = (), mtu_octets: int = UE_MTU_OCTETS,
    ) -> int:
        """A TUN device in the namespace, up, with its address and with ``routes`` through it; returns the descriptor to read and write."""
        _, (descriptor,) = await self._keeper.request(
            "open_tun", name=self.name, device=device, address=str(address.ip), netmask=str(address.netmask), mtu=mtu_octets,
            routes=[(str(route.network_address), str(route.netmask)) for route in routes],
        )
        return descriptor

    async def add_address(self, address: IPv4Address) -> None:
        """One more address at which the namespace answers, on its loopback device."""
        await self._keeper.request("add_address", name=self.name, address=str(address))

    async def when_orphaned(self, *command: str) -> None:
        """What the keeper runs, outside the namespace, if this process ends without having closed it: a kill, a crash."""
        await self._keeper.request("when_orphaned", name=self.name, command=list(command))

    async def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A non-blocking socket that lives in the namespace, whatever namespace its user is in."""
        _, (descriptor,) = await self._keeper.request("open_socket", name=self.name, family=int(family), kind=int(kind), protocol=protocol)
        return socket.socket(fileno=descriptor)

    async def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, name_servers: Sequence[IPv4Address] = (), **streams: Unpack[Streams],
    ) -> int:
        """Run a program inside and return its exit status, negative for a signal. Cancelling kills it.

        With ``name_servers`` it sees an /etc/resolv.conf of its own that names them.

        Raises :class:`NamespaceError` when it cannot be started.
        """
        standard = [
            _descriptor(streams.get("stdin", sys.__stdin__), 0), _descriptor(streams.get("stdout", sys.__stdout__), 1),
            _descriptor(streams.get("stderr", sys.__stderr__), 2),
        ]
        read_end, write_end = os.pipe()
        try:
            await self._keeper.request(
                "run", [*standard, write_end], name=self.name, arguments=list(arguments), directory=str(Path.cwd()),
                environment=dict(os.environ if environment is None else environment), name_servers=list(map(str, name_servers)),
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb"))
        pid = 0
        try:
            started = json.loads(await reader.readline() or "{}")
            if "error" in started:
                raise NamespaceError(started["errno"], started["error"])
            pid = int(started.get("pid", 0))
            ended = json.loads(await reader.readline() or "{}")
            return int(ended.get("status", -signal.SIGKILL))
        except asyncio.CancelledError:
            if pid:
                _kill(pid)
            raise
        finally:
            pipe.close()

    async def close(self) -> None:
        """Give up the name and the namespace; it vanishes once its devices and sockets are closed."""
        if self._is_open:
            self._is_open = False
            await self._keeper.request("delete", name=self.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass            # it ended by itself at that moment


def _descriptor(stream: int | IO[bytes] | IO[str] | None, default: int) -> int:
    if stream is None:
        return default
    return stream if isinstance(stream, int) else stream.fileno()
