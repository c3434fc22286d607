"""The in-memory network: what arrives, when, and what its accidents do."""

from __future__ import annotations

import asyncio

import pytest

from epc.transport.interface import Address, Association, ByteStream, Carrier, Direction, TappedPacket
from epc.transport.memory import Link, MemoryNetwork

pytestmark = pytest.mark.virtual_clock

SERVER = Address("10.0.0.2", 36412)


class Log:
    def __init__(self) -> None:
        self.packets: list[TappedPacket] = []

    def packet(self, packet: TappedPacket) -> None:
        self.packets.append(packet)


async def associate(network: MemoryNetwork) -> tuple[Association, Association]:
    accepted: asyncio.Future[Association] = asyncio.get_running_loop().create_future()
    await network.transport("mme").listen_sctp(SERVER, accepted.set_result, interface="S1-MME")
    client = await network.transport("enb").connect_sctp(SERVER, interface="S1-MME")
    return client, await accepted


async def connect(network: MemoryNetwork) -> tuple[ByteStream, ByteStream]:
    accepted: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
    await network.transport("hss").listen_tcp(SERVER, accepted.set_result, interface="S6a")
    client = await network.transport("mme").connect_tcp(SERVER, interface="S6a")
    return client, await accepted


async def datagrams(network: MemoryNetwork, count: int) -> list[tuple[float, int]]:
    """Arrival time and number of each of ``count`` datagrams sent one millisecond apart."""
    loop = asyncio.get_running_loop()
    arrived: list[tuple[float, int]] = []
    start = loop.time()

    def receive(data: bytes, _: Address) -> None:
        arrived.append((loop.time() - start, int(data)))

    await network.transport("b").open_udp(Address("10.0.0.2", 2123), receive, interface="S11")
    port = await network.transport("a").open_udp(Address("10.0.0.1", 2123), lambda *_: None, interface="S11")
    for number in range(count):
        port.send(b"%d" % number, Address("10.0.0.2", 2123))
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    return arrived


async def test_datagram_arrives_after_the_delay_and_not_inside_send() -> None:
    network = MemoryNetwork(link=Link(delay_s=0.02))
    arrived = await datagrams(network, 1)
    assert arrived == [pytest.approx((0.02, 0))]


async def test_datagrams_of_one_instant_keep_their_order() -> None:
    network = MemoryNetwork()
    arrived: list[int] = []
    await network.transport("b").open_udp(Address("10.0.0.2", 1), lambda data, _: arrived.append(data[0]), interface="S1-U")
    port = await network.transport("a").open_udp(Address("10.0.0.1", 1), lambda *_: None, interface="S1-U")
    for number in range(200):
        port.send(bytes([number]), Address("10.0.0.2", 1))
    assert arrived == []
    await asyncio.sleep(0.01)
    assert arrived == list(range(200))


async def test_accidents_on_datagrams_are_the_same_for_the_same_seed() -> None:
    link = Link(jitter_s=0.003, loss=0.2, duplication=0.2, reordering=0.2)
    first = await datagrams(MemoryNetwork(seed=7, link=link), 200)
    again = await datagrams(MemoryNetwork(seed=7, link=link), 200)
    other = await datagrams(MemoryNetwork(seed=8, link=link), 200)
    assert [n for _, n in first] == [n for _, n in again] != [n for _, n in other]
    numbers = [n for _, n in first]
    assert len(set(numbers)) < 200, "some are lost"
    assert len(numbers) > len(set(numbers)), "some come twice"
    assert numbers != sorted(numbers), "some overtake others"


async def test_links_can_differ_by_direction() -> None:
    network = MemoryNetwork()
    network.set_link("a", "b", Link(loss=1.0), both_ways=False)
    assert await datagrams(network, 3) == []
    assert network.link("b", "a").loss == 0


async def test_port_in_use() -> None:
    network = MemoryNetwork()
    transport = network.transport("a")
    port = await transport.open_udp(SERVER, lambda *_: None, interface="S11")
    with pytest.raises(OSError, match="in use"):
        await transport.open_udp(SERVER, lambda *_: None, interface="S11")
    port.close()
    await transport.open_udp(SERVER, lambda *_: None, interface="S11")


async def test_scripted_loss_takes_the_packets_it_names_and_no_others() -> None:
    network = MemoryNetwork()
    rule = network.drop_when(lambda packet: packet.payload in (b"1", b"2"), count=1)
    assert [n for _, n in await datagrams(network, 4)] == [0, 2, 3]
    assert rule.applied == 1


async def test_scripted_delay() -> None:
    network = MemoryNetwork()
    network.delay_when(lambda packet: packet.payload == b"0", 0.5)
    assert [n for _, n in await datagrams(network, 3)] == [1, 2, 0]


async def test_association_carries_messages_both_ways_with_stream_and_ppid() -> None:
    client, server = await associate(MemoryNetwork())
    up: list[object] = []
    down: list[object] = []
    server.on_message = lambda *message: up.append(message)
    client.on_message = lambda *message: down.append(message)
    client.send(b"S1 Setup Request", stream=0, ppid=18)
    server.send(b"S1 Setup Response", stream=1, ppid=18)
    assert up == down == []
    await asyncio.sleep(0.1)
    assert up == [(b"S1 Setup Request", 0, 18)]
    assert down == [(b"S1 Setup Response", 1, 18)]
    assert client.local == server.remote
    assert server.local == client.remote == SERVER


async def test_messages_that_come_before_the_callback_are_kept_in_order() -> None:
    client, server = await associate(MemoryNetwork())
    for number in range(3):
        server.send(bytes([number]), stream=0, ppid=18)
    await asyncio.sleep(0.1)
    got: list[bytes] = []
    client.on_message = lambda data, *_: got.append(data)
    server.send(bytes([3]), stream=0, ppid=18)
    await asyncio.sleep(0.1)
    assert got == [b"\0", b"\1", b"\2", b"\3"]


async def test_association_is_reliable_and_ordered_per_stream_on_a_bad_link() -> None:
    client, server = await associate(MemoryNetwork(link=Link(loss=0.3, jitter_s=0.02, max_retransmissions=50)))
    got: list[tuple[bytes, int]] = []
    server.on_message = lambda data, stream, _: got.append((data, stream))
    for number in range(200):
        client.send(bytes([number]), stream=number % 2, ppid=18)
    await asyncio.sleep(60)
    for stream in (0, 1):
        assert [data[0] for data, on in got if on == stream] == list(range(stream, 200, 2))
    assert [data[0] for data, _ in got] != list(range(200)), "streams do not wait for each other"


async def test_association_gives_up_after_too_many_losses_in_a_row() -> None:
    network = MemoryNetwork()
    client, server = await associate(network)
    reasons: list[str] = []
    client.on_closed = server.on_closed = reasons.append
    network.set_link("enb", "mme", Link(loss=1.0, retransmission_s=0.5, max_retransmissions=3))
    client.send(b"lost", stream=0, ppid=18)
    await asyncio.sleep(1.9)
    assert reasons == []
    await asyncio.sleep(0.2)
    assert len(reasons) == 2


async def test_nobody_listens() -> None:
    transport = MemoryNetwork().transport("enb")
    with pytest.raises(ConnectionRefusedError):
        await transport.connect_sctp(SERVER, interface="S1-MME")
    with pytest.raises(ConnectionRefusedError):
        await transport.connect_tcp(SERVER, interface="S6a")


async def test_connecting_over_a_cut_times_out() -> None:
    network = MemoryNetwork()
    await network.transport("mme").listen_sctp(SERVER, lambda _: None, interface="S1-MME")
    network.cut("enb", "mme")
    start = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await network.transport("enb").connect_sctp(SERVER, interface="S1-MME", timeout_s=5)
    assert asyncio.get_running_loop().time() - start == pytest.approx(5)


async def test_shutdown_delivers_what_was_queued_and_ends_both_sides_once() -> None:
    client, server = await associate(MemoryNetwork())
    events: list[object] = []
    server.on_message = lambda data, *_: events.append(data)
    server.on_closed = lambda reason: events.append(("server", reason))
    client.on_closed = lambda reason: events.append(("client", reason))
    client.send(b"last", stream=3, ppid=18)
    client.shutdown()
    with pytest.raises(ConnectionError):
        client.send(b"too late", stream=0, ppid=18)
    await asyncio.sleep(1)
    assert events == [b"last", ("server", "shut down by the peer"), ("client", "shut down")]
    assert not server.is_open


async def test_abort_ends_both_sides_and_forgets_what_is_under_way() -> None:
    client, server = await associate(MemoryNetwork())
    events: list[object] = []
    server.on_message = lambda data, *_: events.append(data)
    server.on_closed = lambda reason: events.append(("server", reason))
    client.on_closed = lambda reason: events.append(("client", reason))
    client.send(b"never read", stream=0, ppid=18)
    client.abort()
    assert events == []
    await asyncio.sleep(1)
    assert events == [("client", "aborted"), ("server", "aborted by the peer")]


async def test_cut_ends_associations_after_the_detection_time_and_no_sooner() -> None:
    network = MemoryNetwork(failure_detection_s=3)
    client, server = await associate(network)
    reasons: list[str] = []
    client.on_closed = server.on_closed = reasons.append
    network.cut("mme", "enb")
    await asyncio.sleep(2.9)
    assert reasons == []
    await asyncio.sleep(0.2)
    assert len(reasons) == 2
    with pytest.raises(ConnectionError):
        server.send(b"x", stream=0, ppid=18)


async def test_healed_in_time_nothing_is_lost_or_misordered() -> None:
    network = MemoryNetwork(failure_detection_s=3)
    client, server = await associate(network)
    got: list[int] = []
    server.on_message = lambda data, *_: got.append(data[0])
    client.send(b"\0", stream=0, ppid=18)
    network.cut("mme")
    client.send(b"\1", stream=0, ppid=18)
    await asyncio.sleep(1)
    assert got == []
    client.send(b"\2", stream=0, ppid=18)
    network.heal()
    client.send(b"\3", stream=0, ppid=18)
    await asyncio.sleep(5)
    assert got == [0, 1, 2, 3]
    assert client.is_open


async def test_cut_swallows_datagrams_even_those_under_way() -> None:
    network = MemoryNetwork(link=Link(delay_s=0.1))
    loop = asyncio.get_running_loop()
    loop.call_later(0.0505, network.cut, "a", "b")
    loop.call_later(0.1205, network.heal)
    arrived = [n for _, n in await datagrams(network, 200)]
    assert arrived == [*range(21, 51), *range(121, 200)]


async def test_tcp_carries_octets_in_segments() -> None:
    client, server = await connect(MemoryNetwork(tcp_segment_octets=7))
    got: list[bytes] = []
    ends: list[str] = []
    server.on_data = got.append
    server.on_closed = ends.append
    client.on_closed = ends.append
    client.send(bytes(range(20)))
    client.close()
    await asyncio.sleep(0.1)
    assert b"".join(got) == bytes(range(20))
    assert max(map(len, got)) == 7
    assert ends == ["closed", "closed by the peer"]
    with pytest.raises(ConnectionError):
        server.send(b"x")


async def test_tap_sees_each_packet_at_both_ends() -> None:
    network, log = MemoryNetwork(link=Link(delay_s=0.25)), Log()
    await network.transport("b", log).open_udp(Address("10.0.0.2", 2123), lambda *_: None, interface="S11")
    port = await network.transport("a", log).open_udp(Address("10.0.0.1", 2123), lambda *_: None, interface="S11")
    port.send(b"echo", Address("10.0.0.2", 2123))
    await asyncio.sleep(1)
    sent, received = log.packets
    assert (sent.node, sent.direction, received.node, received.direction) == ("a", Direction.SENT, "b", Direction.RECEIVED)
    assert received.time - sent.time == pytest.approx(0.25)
    assert sent.source == received.source == Address("10.0.0.1", 2123)
    assert sent.destination == received.destination == Address("10.0.0.2", 2123)
    assert {sent.carrier, received.carrier} == {Carrier.UDP}
    assert sent.time < 10, "the virtual clock's time, not the wall's"


async def test_closing_a_transport_ends_everything_it_opened() -> None:
    network = MemoryNetwork()
    mme, enb = network.transport("mme"), network.transport("enb")
    ends: list[str] = []

    def accept(association: Association) -> None:
        association.on_closed = ends.append

    await mme.listen_sctp(SERVER, accept, interface="S1-MME")
    await mme.open_udp(SERVER, lambda *_: None, interface="S11")
    client = await enb.connect_sctp(SERVER, interface="S1-MME")
    client.on_closed = ends.append
    await mme.close()
    await asyncio.sleep(1)
    assert len(ends) == 2
    with pytest.raises(ConnectionRefusedError):
        await enb.connect_sctp(SERVER, interface="S1-MME")


async def test_unknown_stream_is_the_callers_mistake() -> None:
    client, _ = await associate(MemoryNetwork())
    with pytest.raises(ValueError, match="stream"):
        client.send(b"x", stream=client.outbound_streams, ppid=18)
