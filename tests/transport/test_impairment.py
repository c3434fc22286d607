"""Bad links on purpose: the model's statistics, and what each carrier makes of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable

import pytest

from epc.transport.impairment import Impairment, Impairments, Link, Way, same_packets
from epc.transport.interface import Address, Association, ByteStream, Transport
from epc.transport.memory import MemoryNetwork
from epc.transport.sctp import sctp_capabilities
from epc.transport.sockets import SocketTransport

PACKETS = 20_000


def way(seed: int = 1, **link: float) -> Way:
    return Way(Link(**link), random.Random(seed))


def test_shares_of_lost_doubled_and_overtaken_datagrams() -> None:
    """Within five standard deviations of what the link says."""
    bad = way(delay_s=0.04, jitter_s=0.01, loss=0.1, duplication=0.05, reordering=0.02)
    fates = [bad.datagram() for _ in range(PACKETS)]
    lost = sum(not fate for fate in fates) / PACKETS
    doubled = sum(len(fate) == 2 for fate in fates) / PACKETS
    held = sum(bool(fate) and fate[0] > 0.0505 for fate in fates) / PACKETS
    assert lost == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / PACKETS) ** 0.5)
    assert doubled == pytest.approx(0.9 * 0.05, abs=5 * (0.045 / PACKETS) ** 0.5)
    assert held == pytest.approx(0.9 * 0.02 * 0.45, abs=5 * (0.018 / PACKETS) ** 0.5), "those whose jitter and 5 ms together stand out"
    delays = [fate[0] for fate in fates if fate]
    assert min(delays) >= 0.04
    assert max(delays) <= 0.055 + 1e-9


def test_delay_alone_draws_no_chance_and_jitter_is_even() -> None:
    plain = way(delay_s=0.03)
    before = plain.chance.getstate()
    assert [plain.datagram() for _ in range(3)] == [(0.03,)] * 3
    assert plain.chance.getstate() == before
    uneven = way(delay_s=0.0, jitter_s=1.0)
    delays = [uneven.datagram()[0] for _ in range(PACKETS)]
    assert sum(delays) / PACKETS == pytest.approx(0.5, abs=0.02)
    assert sum(delay < 0.25 for delay in delays) / PACKETS == pytest.approx(0.25, abs=0.02)


def test_the_same_seed_gives_the_same_fates() -> None:
    one, same, other = (way(seed, jitter_s=0.01, loss=0.3) for seed in (1, 1, 2))
    fates = [one.datagram() for _ in range(100)]
    assert [same.datagram() for _ in range(100)] == fates
    assert [other.datagram() for _ in range(100)] != fates


def test_a_loss_costs_reliable_carriers_time_and_too_many_the_peer() -> None:
    bad = way(delay_s=0.01, loss=0.5, retransmission_s=1.0, max_retransmissions=2)
    delays = [bad.reliable() for _ in range(PACKETS)]
    given_up = sum(delay is None for delay in delays) / PACKETS
    assert given_up == pytest.approx(0.125, abs=0.015)
    assert {round(delay, 3) for delay in delays if delay is not None} == {0.01, 1.01, 2.01}
    assert way(loss=1.0).reliable() is None
    assert way(loss=1.0).datagram() == ()


def test_the_first_rule_that_takes_a_packet_counts() -> None:
    slow, lossy, rest = Link(delay_s=1), Link(loss=1), Link(delay_s=2)
    impairments = Impairments("node", [
        Impairment(link=slow, peers=frozenset({"10.0.0.1"}), interface="S11"), Impairment(link=lossy, peers=frozenset({"10.0.0.1", "10.0.0.2"})),
        Impairment(link=rest, interface="S6a"), Impairment(link=slow, incoming=True),
    ])

    def link(interface: str, host: str) -> Link | None:
        found = impairments.way_to(interface, host)
        return None if found is None else found.link

    assert link("S11", "10.0.0.1") is slow
    assert link("S1-U", "10.0.0.1") is lossy
    assert link("S11", "10.0.0.2") is lossy
    assert link("S6a", "10.0.0.3") is rest
    assert link("S11", "10.0.0.3") is None
    assert (way_from := impairments.way_from("Gx", "10.0.0.9")) is not None
    assert way_from.link is slow
    changed: list[int] = []
    impairments.watch(lambda: changed.append(1))
    impairments.replace(())
    assert (link("S11", "10.0.0.1"), impairments.rules, changed) == (None, (), [1])
    watcher = impairments._watchers[0]
    impairments.unwatch(watcher)
    impairments.replace(())
    assert changed == [1]


def test_fates_are_counted_by_rule() -> None:
    lossy, plain = (Impairment(link=Link(loss=loss, duplication=0.2, reordering=0.2), interface=name) for loss, name in ((0.5, "S11"), (0.0, None)))
    impairments = Impairments("node", [lossy, plain])
    fates = {"S11": [], "S1-U": []}     # type: dict[str, list[tuple[float, ...]]]
    for number in range(1000):
        interface = "S11" if number % 2 else "S1-U"
        found = impairments.way_to(interface, f"10.0.0.{number % 7}")
        assert found is not None
        fates[interface].append(found.datagram())
    for rule, interface in ((lossy, "S11"), (plain, "S1-U")):
        counted, seen = impairments.fates(rule), fates[interface]
        assert (counted.packets, counted.lost, counted.doubled) == (500, sum(not fate for fate in seen), sum(len(fate) == 2 for fate in seen))
        assert counted.held > 0
    reliable = impairments.way_to("S11", "10.0.0.1")
    assert reliable is not None
    assert reliable.reliable() is not None
    assert impairments.fates(lossy).packets == 501
    impairments.replace([plain])
    assert (impairments.fates(plain).packets, impairments.fates(lossy).packets) == (500, 0), "a rule that went is counted anew"


def test_rules_about_the_same_packets() -> None:
    one = Impairment(link=Link(), peers=frozenset({"a"}), interface="S11")
    assert same_packets(one, Impairment(link=Link(loss=1), peers=frozenset({"a"}), interface="S11"))
    assert not same_packets(one, Impairment(link=Link(), peers=frozenset({"a"}), interface="S11", incoming=True))


# On carriers, in memory and on sockets

HOST_A, HOST_B = "127.0.9.1", "127.0.9.2"


class Pair:
    """Two nodes; ``impair`` is what ``a`` meets on the way to ``b``."""

    def __init__(self, a: Transport, b: Transport) -> None:
        self.a, self.b = a, b

    def impair(self, *rules: Impairment, **link: float) -> None:
        self.a.impairments.replace(rules or (Impairment(link=Link(**{"delay_s": 0.0, **link}), peers=frozenset({HOST_B}), interface="S11"),))


@pytest.fixture(params=["memory", pytest.param("sockets", marks=pytest.mark.real_time)])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    if request.param == "memory":
        network = MemoryNetwork(link=Link(delay_s=0.0))
        pair = Pair(network.transport("a", host=HOST_A), network.transport("b", host=HOST_B))
    else:
        pair = Pair(SocketTransport("a"), SocketTransport("b"))
    yield pair
    await pair.a.close()
    await pair.b.close()


async def until(condition: Callable[[], object], *, within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:       # noqa: ASYNC110 - what comes is not ours to signal
        await asyncio.sleep(0.005)


async def datagrams(pair: Pair, interface: str = "S11") -> tuple[list[bytes], Callable[[bytes], None]]:
    received: list[bytes] = []
    to = await pair.b.open_udp(Address(HOST_B, 0), lambda data, _: received.append(data), interface=interface)
    out = await pair.a.open_udp(Address(HOST_A, 0), lambda data, _: None, interface=interface)
    return received, lambda data: out.send(data, to.local)


async def test_datagrams_come_late_lost_and_doubled(pair: Pair) -> None:
    received, send = await datagrams(pair)
    pair.impair(delay_s=0.05)
    sent_at = time.monotonic()
    send(b"late")
    await until(lambda: received)
    assert time.monotonic() - sent_at >= 0.05
    pair.impair(loss=1.0)
    send(b"lost")
    pair.impair(duplication=1.0)
    send(b"twice")
    await until(lambda: len(received) >= 3)
    await asyncio.sleep(0.02)
    assert received == [b"late", b"twice", b"twice"]
    pair.a.impairments.replace(())
    send(b"good")
    await until(lambda: len(received) >= 4)
    assert received[3:] == [b"good"]


async def test_held_datagrams_are_overtaken(pair: Pair) -> None:
    received, send = await datagrams(pair)
    pair.impair(reordering=0.3, reordering_delay_s=0.02)
    for number in range(100):
        send(bytes((number,)))
        await asyncio.sleep(0)
    await until(lambda: len(received) == 100)
    assert sorted(received) == [bytes((number,)) for number in range(100)]
    assert received != sorted(received)


async def test_other_reference_points_and_peers_are_spared(pair: Pair) -> None:
    received, send = await datagrams(pair, "S1-U")
    pair.impair(loss=1.0)                               # of S11
    send(b"another interface")
    pair.impair(Impairment(link=Link(loss=1.0), peers=frozenset({"127.0.9.3"})))
    send(b"another peer")
    await until(lambda: len(received) == 2)
    assert len(received) == 2


@pytest.mark.real_time
async def test_what_comes_in_from_strangers_can_be_impaired_too() -> None:
    here, stranger = SocketTransport("here"), SocketTransport("stranger")
    received: list[bytes] = []
    port = await here.open_udp(Address(HOST_B, 0), lambda data, _: received.append(data), interface="S11")
    theirs = await stranger.open_udp(Address(HOST_A, 0), lambda data, _: None, interface="S11")
    here.impairments.replace([Impairment(link=Link(delay_s=0.05), peers=frozenset({HOST_A}), incoming=True)])
    sent_at = time.monotonic()
    theirs.send(b"late", port.local)
    await until(lambda: received)
    assert received == [b"late"]
    assert time.monotonic() - sent_at >= 0.05
    await here.close()
    await stranger.close()


async def connected(pair: Pair) -> tuple[ByteStream, list[bytes], list[str]]:
    received: list[bytes] = []
    ends: list[str] = []

    def accept(stream: ByteStream) -> None:
        stream.on_data, stream.on_closed = received.append, ends.append

    listener = await pair.b.listen_tcp(Address(HOST_B, 0), accept, interface="S11")
    stream = await pair.a.connect_tcp(listener.local, local=Address(HOST_A, 0), interface="S11")
    return stream, received, ends


async def test_a_connection_keeps_its_order_and_comes_late(pair: Pair) -> None:
    stream, received, ends = await connected(pair)
    pair.impair(delay_s=0.02, jitter_s=0.02, loss=0.2, retransmission_s=0.01)
    sent_at = time.monotonic()
    for number in range(50):
        stream.send(bytes((number,)))
        await asyncio.sleep(0)
    await until(lambda: received)
    assert time.monotonic() - sent_at >= 0.018
    pair.impair(delay_s=0.0)
    stream.send(b"\xff")                        # not before what is under way
    stream.close()
    await until(lambda: ends)
    assert b"".join(received) == bytes((*range(50), 255))


async def test_a_connection_over_a_dead_link_is_given_up(pair: Pair) -> None:
    stream, received, _ = await connected(pair)
    ends: list[str] = []
    stream.on_closed = ends.append
    pair.impair(loss=1.0, retransmission_s=0.01)
    stream.send(b"never")
    await until(lambda: ends)
    assert ends == [f"no answer from {stream.remote}"]
    assert received == []


@pytest.mark.real_time
@pytest.mark.skipif(not sctp_capabilities().usable, reason="this host has no SCTP")
async def test_sctp_datagrams_meet_the_link_and_sctp_repairs_what_it_can() -> None:
    """usrsctp's own packets are lost, doubled and late; messages all arrive, in order."""
    pair = Pair(SocketTransport("a"), SocketTransport("b"))
    received: list[bytes] = []
    accepted: list[Association] = []

    def accept(association: Association) -> None:
        accepted.append(association)
        association.on_message = lambda data, stream, ppid: received.append(data)

    listener = await pair.b.listen_sctp(Address(HOST_B, 36412), accept, interface="S11")
    pair.impair(delay_s=0.1)
    slow_at = time.monotonic()
    association = await pair.a.connect_sctp(listener.local, local=Address(HOST_A, 0), interface="S11")
    assert time.monotonic() - slow_at >= 0.2, "INIT and COOKIE ECHO both"
    pair.impair(delay_s=0.002, loss=0.1, duplication=0.1, reordering=0.1)
    for number in range(200):
        association.send(number.to_bytes(2), stream=1, ppid=18)
        if number % 10 == 0:
            await asyncio.sleep(0.005)
    await until(lambda: len(received) == 200, within_s=20)
    assert received == [number.to_bytes(2) for number in range(200)]
    pair.a.impairments.replace(())
    association.send(b"good again", stream=1, ppid=18)
    await until(lambda: len(received) == 201)
    assert received[-1] == b"good again"
    await pair.a.close()
    await pair.b.close()
    await until(lambda: not pair.a.impairments._watchers)
    assert pair.a.impairments._watchers == pair.b.impairments._watchers == [], "links that are closed are forgotten"
