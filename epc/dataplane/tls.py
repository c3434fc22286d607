"""TLS over any :class:`~epc.dataplane.channel.TcpChannel`, by the standard library's sans-IO TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

from epc.dataplane.channel import READ_OCTETS, TcpChannel

T = TypeVar("T")


class TlsChannel:
    """A :class:`TcpChannel` whose octets are ciphered on the one below. Make one with :meth:`open`."""

    def __init__(self, below: TcpChannel, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, machine: ssl.SSLObject) -> None:
        self.remote = below.remote
        self.local = below.local
        self._below = below
        self._incoming = incoming
        self._outgoing = outgoing
        self._machine = machine

    @classmethod
    async def open(cls, below: TcpChannel, context: ssl.SSLContext, *, server_side: bool = False, server_name: str | None = None) -> TlsChannel:
        """Raises ``ssl.SSLError`` or ``ConnectionError``. As a client ``server_name`` goes out as SNI and must be in the certificate."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        machine = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_name)
        channel = cls(below, incoming, outgoing, machine)
        try:
            await channel._until_done(machine.do_handshake)
        except ssl.SSLError:
            await channel._flush()              # the alert
            raise
        return channel

    async def receive(self) -> bytes:
        try:
            return await self._until_done(lambda: self._machine.read(READ_OCTETS))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def send(self, data: bytes) -> None:
        self._machine.write(data)
        await self._flush()

    def close(self) -> None:
        self._below.close()

    def abort(self) -> None:
        self._below.abort()

    async def _until_done(self, action: Callable[[], T]) -> T:
        while True:
            try:
                done = action()
            except ssl.SSLWantReadError:
                await self._flush()
                octets = await self._below.receive()
                if octets:
                    self._incoming.write(octets)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        octets = self._outgoing.read()
        if octets:
            await self._below.send(octets)
