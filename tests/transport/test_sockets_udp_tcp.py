"""UDP and TCP of the operating system, under asyncio's loop and uvloop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
import uvloop

from epc.transport.interface import Address, ByteStream, Carrier, Direction, TappedPacket
from epc.transport.sockets import SocketTransport

pytestmark = pytest.mark.real_time

NET = f"127.{64 + os.getpid() // 250 % 190}.{1 + os.getpid() % 250}."
"""Loopback addresses that no other test process uses at the same time."""

HERE, THERE = Address(NET + "5", 2123), Address(NET + "6", 2123)


class Log:
    def __init__(self) -> None:
        self.packets: list[TappedPacket] = []

    def packet(self, packet: TappedPacket) -> None:
        self.packets.append(packet)


@pytest.fixture
async def transport() -> AsyncIterator[SocketTransport]:
    transport = SocketTransport("node", Log())
    yield transport
    await transport.close()


class Stream:
    """What one end of a connection hears."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.data = asyncio.StreamReader()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stream.on_data = self.data.feed_data
        stream.on_closed = self.closed.set_result


async def connect(transport: SocketTransport, host: str = HERE.host) -> tuple[Stream, Stream]:
    accepted: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
    listener = await transport.listen_tcp(Address(host, 0), accepted.set_result, interface="S6a")
    client = await transport.connect_tcp(listener.local, interface="S6a")
    return Stream(client), Stream(await accepted)


@pytest.mark.parametrize("hosts", [(HERE.host, THERE.host), ("::1", "::1")])
async def test_datagrams_both_ways(transport: SocketTransport, hosts: tuple[str, str]) -> None:
    got: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
    one = await transport.open_udp(Address(hosts[0], 0), lambda *datagram: got.put_nowait(datagram), interface="S11")
    other = await transport.open_udp(Address(hosts[1], 0), lambda data, source: other.send(data[::-1], source), interface="S11")
    one.send(b"echo", other.local)
    assert await asyncio.wait_for(got.get(), 5) == (b"ohce", other.local)


async def test_a_burst_larger_than_a_wake_up_arrives(transport: SocketTransport) -> None:
    got: list[int] = []
    here = await transport.open_udp(HERE, lambda data, _: got.append(int(data)), interface="S1-U")
    there = await transport.open_udp(THERE, lambda *_: None, interface="S1-U")
    for number in range(500):
        there.send(b"%d" % number, here.local)
    await asyncio.sleep(0.1)
    assert got == list(range(500))


async def test_what_cannot_be_sent_is_lost_and_counted(transport: SocketTransport) -> None:
    port = await transport.open_udp(HERE, lambda *_: None, interface="S1-U")
    port.send(bytes(70_000), THERE)
    port.send(b"nobody there", Address(NET + "7", 9))
    port.send(b"nobody there", Address(NET + "7", 9))
    assert getattr(port, "unsent_datagrams", 0) == 1


async def test_a_port_may_be_closed_from_its_own_callback(transport: SocketTransport) -> None:
    got: list[bytes] = []

    def receive(data: bytes, _: Address) -> None:
        got.append(data)
        here.close()

    here = await transport.open_udp(HERE, receive, interface="S11")
    there = await transport.open_udp(THERE, lambda *_: None, interface="S11")
    there.send(b"1", here.local)
    there.send(b"2", here.local)
    await asyncio.sleep(0.05)
    assert got == [b"1"]


async def test_an_exception_in_the_callback_loses_no_other_datagram(transport: SocketTransport) -> None:
    got: list[bytes] = []
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def receive(data: bytes, _: Address) -> None:
        if data == b"1":
            raise ZeroDivisionError
        got.append(data)

    here = await transport.open_udp(HERE, receive, interface="S11")
    there = await transport.open_udp(THERE, lambda *_: None, interface="S11")
    for data in (b"0", b"1", b"2"):
        there.send(data, here.local)
    await asyncio.sleep(0.05)
    assert got == [b"0", b"2"]
    assert len(errors) == 1


async def test_port_in_use_names_the_address(transport: SocketTransport) -> None:
    await transport.open_udp(HERE, lambda *_: None, interface="S11")
    with pytest.raises(OSError, match=f"UDP {HERE}.*in use"):
        await transport.open_udp(HERE, lambda *_: None, interface="S11")


async def test_tap_sees_what_was_sent_and_received(transport: SocketTransport) -> None:
    here = await transport.open_udp(HERE, lambda *_: None, interface="S11")
    there = await transport.open_udp(THERE, lambda *_: None, interface="S11")
    there.send(b"echo", here.local)
    await asyncio.sleep(0.05)
    assert isinstance(transport.tap, Log)
    sent, received = transport.tap.packets
    assert (sent.direction, received.direction) == (Direction.SENT, Direction.RECEIVED)
    for packet in (sent, received):
        assert (packet.carrier, packet.source, packet.destination, packet.payload) == (Carrier.UDP, THERE, HERE, b"echo")
    assert received.time >= sent.time


@pytest.mark.parametrize("host", [HERE.host, "::1"])
async def test_tcp_both_ways_and_closed(transport: SocketTransport, host: str) -> None:
    client, server = await connect(transport, host)
    client.stream.send(b"CER")
    assert await server.data.readexactly(3) == b"CER"
    server.stream.send(b"CEA")
    assert await client.data.readexactly(3) == b"CEA"
    client.stream.close()
    assert await asyncio.wait_for(server.closed, 5) == "connection closed"
    assert await asyncio.wait_for(client.closed, 5) == "connection closed"
    with pytest.raises(ConnectionError):
        client.stream.send(b"x")
    assert not server.stream.is_open


async def test_tcp_octets_that_come_before_the_callback_are_kept(transport: SocketTransport) -> None:
    accepted: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
    listener = await transport.listen_tcp(Address(HERE.host, 0), accepted.set_result, interface="S6a")
    client = await transport.connect_tcp(listener.local, interface="S6a")
    client.send(b"early")
    await asyncio.sleep(0.05)
    got: list[bytes] = []
    (await accepted).on_data = got.append
    await asyncio.sleep(0)
    assert got == [b"early"]


async def test_tcp_local_address(transport: SocketTransport) -> None:
    accepted: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
    listener = await transport.listen_tcp(Address(HERE.host, 0), accepted.set_result, interface="S6a")
    client = await transport.connect_tcp(listener.local, local=Address(THERE.host, 0), interface="S6a")
    assert client.local.host == (await accepted).remote.host == THERE.host


async def test_tcp_nobody_listens(transport: SocketTransport) -> None:
    with pytest.raises(ConnectionError):
        await transport.connect_tcp(Address(HERE.host, 9), interface="S6a")


async def test_tcp_a_peer_that_reads_nothing_is_given_up(transport: SocketTransport) -> None:
    def flood() -> None:
        while True:
            client.stream.send(bytes(1 << 20))

    with socket.create_server((HERE.host, 0)) as server:
        client = Stream(await transport.connect_tcp(Address(*server.getsockname()), interface="S6a"))
        with pytest.raises(ConnectionError, match="unread"):
            flood()
        assert await asyncio.wait_for(client.closed, 5)


async def exchange() -> tuple[bytes, bytes]:
    transport = SocketTransport("node")
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    here = await transport.open_udp(HERE, lambda data, _: got.set_result(data), interface="S11")
    there = await transport.open_udp(THERE, lambda *_: None, interface="S11")
    there.send(b"datagram", here.local)
    client, server = await connect(transport)
    client.stream.send(b"octets")
    result = await asyncio.wait_for(got, 5), await server.data.readexactly(6)
    await transport.close()
    return result


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_every_loop(run: Callable[[Coroutine[None, None, tuple[bytes, bytes]]], tuple[bytes, bytes]]) -> None:
    assert run(exchange()) == (b"datagram", b"octets")
