"""TCP connections of hosts on the user plane, whoever runs TCP: the kernel inside a namespace, or ``endpoint_tcp`` inside this process."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Protocol

READ_OCTETS = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)        # struct linger


class TcpChannel(Protocol):
    """One connection, used by one coroutine at a time."""

    remote: str             # the peer's address
    local: str              # ours: a host may have several

    async def receive(self) -> bytes:
        """What has come; empty when the peer has no more to say. Raises ``ConnectionError`` when the connection broke."""

    async def send(self, data: bytes) -> None:
        """Returns when there is room for more. Raises ``ConnectionError``."""

    def close(self) -> None:
        """Say goodbye after what was sent; nothing is waited for."""

    def abort(self) -> None:
        """End at once (RST)."""


Accept = Callable[[TcpChannel], Coroutine[None, None, None]]


class TcpListener(Protocol):
    """A listening port. ``close`` ends its connections too."""

    port: int

    def close(self) -> None: ...


class KernelChannel:
    """A :class:`TcpChannel` on a socket of the kernel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.remote: str = (writer.get_extra_info("peername") or ("",))[0]
        self.local: str = (writer.get_extra_info("sockname") or ("",))[0]
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, opened: socket.socket, destination: str, port: int) -> KernelChannel:
        """``opened`` is a non-blocking socket, which is ours from now on."""
        try:
            await asyncio.get_running_loop().sock_connect(opened, (destination, port))
            return cls(*await asyncio.open_connection(sock=opened))
        except BaseException:
            opened.close()
            raise

    async def receive(self) -> bytes:
        try:
            return await self._reader.read(READ_OCTETS)
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionError(error.errno, str(error)) from error

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        opened = self._writer.get_extra_info("socket")
        if opened is not None and opened.fileno() >= 0:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._writer.transport.abort()


class KernelListener:
    """A :class:`TcpListener` on a socket of the kernel."""

    def __init__(self, server: asyncio.Server, port: int, conversations: set[asyncio.Task[None]]) -> None:
        self.port = port
        self._server = server
        self._conversations = conversations

    @classmethod
    async def listen(cls, bound: socket.socket, accept: Accept) -> KernelListener:
        """``bound`` is a non-blocking socket with an address, which is ours from now on."""
        conversations: set[asyncio.Task[None]] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            conversations.add(task)
            task.add_done_callback(conversations.discard)
            channel = KernelChannel(reader, writer)
            try:
                await accept(channel)
            except (ConnectionError, asyncio.CancelledError):
                channel.abort()                 # the peer left, or the host is being closed
            finally:
                channel.close()

        port: int = bound.getsockname()[1]
        return cls(await asyncio.start_server(accepted, sock=bound), port, conversations)

    def close(self) -> None:
        self._server.close()
        for conversation in list(self._conversations):
            conversation.cancel()
