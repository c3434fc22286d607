"""The operating system's carriers: UDP, TCP, and SCTP by whichever engine this host offers."""

from __future__ import annotations

import asyncio
import errno
import time
import weakref
from collections.abc import Callable

from epc.transport.impairment import Impairments
from epc.transport.interface import Address, Association, ByteStream, Carrier, DatagramPort, Listener, Tap
from epc.transport.sctp import selection
from epc.transport.sctp.association import EngineAssociation
from epc.transport.sctp.settings import SctpSettings
from epc.transport.tapping import TapPoint
from epc.transport.tcp import TcpListener, TcpStream
from epc.transport.udp import UdpPort

GRACE_S = 1.0
"""How long :meth:`SocketTransport.close` lets associations and connections end gracefully."""


class SocketTransport:
    """One node's access to the network of the host. Runs under asyncio's loops and uvloop."""

    def __init__(
        self, node: str, tap: Tap | None = None, *, sctp: SctpSettings | None = None, impairments: Impairments | None = None,
    ) -> None:
        self.node = node
        self.impairments = impairments or Impairments(node)
        self.tap = tap
        self.sctp = sctp or SctpSettings()
        self._listeners: list[Listener | DatagramPort] = []
        self._associations: weakref.WeakSet[EngineAssociation] = weakref.WeakSet()
        self._streams: weakref.WeakSet[TcpStream] = weakref.WeakSet()

    def now(self) -> float:
        return time.time()

    async def open_udp(self, local: Address, receive: Callable[[bytes, Address], None], *, interface: str) -> DatagramPort:
        port = UdpPort(local, receive, TapPoint(self, Carrier.UDP, interface))
        self._listeners.append(port)
        return port

    async def listen_sctp(self, local: Address, accept: Callable[[Association], None], *, interface: str) -> Listener:
        def accepted(association: Association) -> None:
            assert isinstance(association, EngineAssociation)
            self._associations.add(association)
            accept(association)

        listener = selection.listen(self.sctp, local, accepted, TapPoint(self, Carrier.SCTP, interface))
        self._listeners.append(listener)
        return listener

    async def connect_sctp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> Association:
        association = await selection.connect(self.sctp, remote, local, TapPoint(self, Carrier.SCTP, interface), timeout_s)
        self._associations.add(association)
        return association

    async def listen_tcp(self, local: Address, accept: Callable[[ByteStream], None], *, interface: str) -> Listener:
        loop, tap_point = asyncio.get_running_loop(), TapPoint(self, Carrier.TCP, interface)

        def accepted(stream: TcpStream) -> None:
            self._streams.add(stream)
            accept(stream)

        server = await loop.create_server(lambda: TcpStream(loop, tap_point, accepted), local.host, local.port)
        listener = TcpListener(server, Address(*server.sockets[0].getsockname()[:2]))
        self._listeners.append(listener)
        return listener

    async def connect_tcp(self, remote: Address, *, local: Address | None = None, interface: str, timeout_s: float = 10.0) -> ByteStream:
        loop, tap_point = asyncio.get_running_loop(), TapPoint(self, Carrier.TCP, interface)
        try:
            async with asyncio.timeout(timeout_s):
                _, stream = await loop.create_connection(lambda: TcpStream(loop, tap_point), remote.host, remote.port, local_addr=local)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"TCP to {remote}: no answer in {timeout_s:g} s") from None
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise ConnectionError(error.errno, f"TCP to {remote}: {error.strerror}") from error
        self._streams.add(stream)
        return stream

    async def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for association in list(self._associations):
            association.shutdown()
        for stream in list(self._streams):
            stream.close()
        ends: list[EngineAssociation | TcpStream] = [*self._associations, *self._streams]
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and not all(end.has_ended for end in ends):    # noqa: ASYNC110 - once in a node's life
            await asyncio.sleep(0.005)
        for end in ends:
            if not end.has_ended:
                end.abort()
        self._associations.clear()
        self._streams.clear()
        await asyncio.sleep(0)                          # what was just ended goes out and is reported
