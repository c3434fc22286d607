"""Anything may come in at any port of any node: random octets, damaged copies of real messages, from strangers and from forged addresses."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest

from epc.transport.interface import Address, Carrier, TappedPacket
from epc.wire import gtpu, gtpv2, s1ap
from epc.wire.errors import WireError
from tests.scenarios.test_dedicated_bearers import policy

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
MME, SGW_S11, SGW_S5, PGW, ENB, HSS, PCRF = "127.0.0.16", "127.0.0.14", "127.0.0.15", "127.0.0.13", "127.0.0.17", "127.0.0.11", "127.0.0.12"
GTPC = [Address(host, 2123) for host in (MME, SGW_S11, SGW_S5, PGW)]
GTPU = [Address(host, 2152) for host in (ENB, SGW_S11, SGW_S5, PGW)]
DIAMETER = [Address(host, 3868) for host in (HSS, PCRF)]
S1AP_PPID = 18


class Recorder:
    """What really goes over the wires, as raw material."""

    def __init__(self, world) -> None:
        self.packets: list[TappedPacket] = []
        world.wires.drop_when(self._see)

    def _see(self, packet: TappedPacket) -> bool:
        self.packets.append(packet)
        return False

    def of(self, carrier: Carrier, interface: str = "") -> list[TappedPacket]:
        return [packet for packet in self.packets if packet.carrier is carrier and packet.interface.startswith(interface)]


class Mallory:
    """Makes bad octets, the same in every run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def noise(self, most: int = 120) -> bytes:
        return self.chance.randbytes(self.chance.randrange(most))

    def damaged(self, octets: bytes) -> bytes:
        """One to three accidents: a flipped bit, a changed octet, something cut off, put in, doubled."""
        data = bytearray(octets)
        for _ in range(self.chance.randrange(1, 4)):
            at = self.chance.randrange(len(data) + 1)
            match self.chance.randrange(4):
                case 0 if data:
                    data[at % len(data)] ^= 1 << self.chance.randrange(8)
                case 1 if data:
                    data[at % len(data)] = self.chance.choice((0, 1, 0x7F, 0x80, 0xFF, self.chance.randrange(256)))
                case 2:
                    del data[at:]
                case 3:
                    data[at:at] = self.noise(8)
                case 4:
                    data += self.noise(40)
                case _:
                    data[at:at] = data[max(0, at - 8):at]
        return bytes(data)

    def unreadable(self, octets: bytes, decode: Callable[[bytes], object]) -> bytes:
        """A damaged copy that no decoder takes for a message."""
        while True:
            candidate = self.damaged(octets)
            try:
                decode(candidate)
            except WireError:
                return candidate


async def use(world, times: int) -> None:
    """A phone comes and goes, as if nothing happened."""
    phone = world.lab.phone(IMSI)
    for _ in range(times):
        await world.lab.attach(phone)
        world.lab.check_invariants(nothing_left=False)
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)


async def a_first_round(world) -> Recorder:
    recorder = Recorder(world)
    await use(world, 1)
    return recorder


@pytest.mark.parametrize("seed", [1, 2])
async def test_garbage_from_strangers_changes_nothing(network, seed) -> None:
    """Unreadable datagrams at every UDP port, on S1AP associations and Diameter connections of nobody's: every attach succeeds meanwhile."""
    async with network() as world:
        recorder, mallory = await a_first_round(world), Mallory(seed)
        transport = world.wires.transport("mallory")
        port = await transport.open_udp(Address("127.0.0.99", 2123), lambda data, source: None, interface="garbage")
        gtpc = [packet.payload for packet in recorder.of(Carrier.UDP) if packet.interface in ("S11", "S5/S8")]
        s1ap_messages = [packet.payload for packet in recorder.of(Carrier.SCTP)]
        requests = [packet.payload for packet in recorder.of(Carrier.TCP)]

        async def pester() -> None:
            association, streams = None, []
            while True:
                for to in GTPC:
                    port.send(mallory.unreadable(mallory.chance.choice(gtpc), gtpv2.decode), to)
                    port.send(b"\x00" + mallory.noise(), to)
                    port.send(a_stranger(mallory), to)
                for to in GTPU:
                    port.send(mallory.unreadable(gtpu.encode(gtpu.GPdu(payload=bytes(20)), teid=1), gtpu.decode), to)
                    port.send(gtpu.encode(gtpu.GPdu(payload=mallory.noise()), teid=mallory.chance.randrange(1 << 32)), to)
                if association is None or not association.is_open:
                    association = await transport.connect_sctp(Address(MME, 36412), interface="garbage")
                streams = [stream for stream in streams if stream.is_open]
                if len(streams) < 6:
                    streams.append(await transport.connect_tcp(mallory.chance.choice(DIAMETER), interface="garbage"))
                message = mallory.unreadable(mallory.chance.choice(s1ap_messages), s1ap.decode)
                octets = mallory.noise() if mallory.chance.random() < 0.3 else mallory.damaged(mallory.chance.choice(requests))
                with contextlib.suppress(ConnectionError):      # a peer has hung up meanwhile
                    association.send(message, stream=mallory.chance.randrange(4), ppid=mallory.chance.choice((0, S1AP_PPID, 99)))
                    mallory.chance.choice(streams).send(octets)
                await asyncio.sleep(0.002)

        pestering = asyncio.ensure_future(pester())
        await use(world, 20)
        pestering.cancel()
        await asyncio.wait((pestering,))
        assert pestering.cancelled(), pestering.exception()
        await transport.close()
        await asyncio.sleep(60)
        await world.at_rest()
        assert world.defects() == []
        for node in ("mme1", "sgw1", "pgw1", "hss1", "pcrf1"):
            assert sum(world.protocol_errors(node).values()) > 0, f"{node} counts what it could not use"


def a_stranger(mallory: Mallory) -> bytes:
    """A well formed request about a session that nobody has."""
    message = mallory.chance.choice((
        gtpv2.DeleteSessionRequest(linked_ebi=5), gtpv2.ModifyBearerRequest(), gtpv2.ReleaseAccessBearersRequest(),
        gtpv2.DownlinkDataNotification(ebis=(5,)), gtpv2.DeleteBearerRequest(linked_ebi=5)))
    return gtpv2.encode(message, teid=mallory.chance.randrange(1, 1 << 32), sequence=mallory.chance.randrange(1 << 24))


@pytest.mark.parametrize(("seed", "rules"), [*((seed, ()) for seed in range(4)), *((seed, ("voice", "video")) for seed in range(4, 6))])
async def test_damaged_copies_in_the_peers_names_break_nothing_for_good(network, seed, rules) -> None:
    """Forged: damaged messages arrive beside the real ones, from the real sender's address, with its sequence numbers, TEIDs and identities.

    Nothing protects these interfaces, so attaches fail and sessions end. But no node dies or trips over it, and when it is over all is well.
    Some phones have dedicated bearers.
    """
    async with network(policy(*rules) if rules else {}, leaks_checked=False) as world:
        mallory = Mallory(seed)
        recorder = await a_first_round(world)
        phone = world.lab.phone(IMSI)
        loop = asyncio.get_running_loop()
        fresh: list[TappedPacket] = []

        def forge(packet: TappedPacket) -> bool:
            fresh.append(packet)
            return False

        world.wires.drop_when(forge)

        async def forging() -> None:
            while True:
                for packet in [*fresh, *mallory.chance.choices(recorder.packets, k=2)]:
                    if mallory.chance.random() < 0.3:
                        loop.call_later(mallory.chance.random() * 0.003, arrive, world, packet, mallory.damaged(packet.payload))
                fresh.clear()
                await asyncio.sleep(0.0005)

        attacking = asyncio.ensure_future(forging())

        def unnoticed() -> set[str]:
            return {"S1-MME", "NAS", "S11", "S6a"} - {interface for interface, _ in world.protocol_errors("mme1")}

        for attempt in range(60):
            if attempt >= 12 and not unnoticed():       # damage that gets as far as NAS is rare
                break
            if phone.ue.registered:
                await phone.ue.detach()
            else:
                await phone.ue.attach(max_attempts=1)
            phone.ue.sim.valid = True                   # a forged reject may have made it invalid
            await asyncio.sleep(0.5)
        attacking.cancel()
        await asyncio.wait((attacking,))
        assert attacking.cancelled(), attacking.exception()
        assert not unnoticed(), "of every interface something was"
        assert world.defects() == []
        assert [each.get("exception") for each in world.raised] == []

        await asyncio.sleep(300)                        # every timer is over, every connection is back
        await world.lab.network.ready(60)
        if not phone.ue.registered:
            phone.ue.forget_registration()
            await world.lab.attach(phone)
        await phone.ue.detach()
        await world.lab.settled(patience_s=60)
        phone.ue.forget_registration()
        await world.lab.attach(phone)
        await world.lab.ping(phone, world.lab.server)
        held = [end for node in world.lab.network for end in node.tunnels() if end.imsi == IMSI]
        assert {end.label for end in held} == {f"t{number}" for number in range(1, 9)}
        await world.lab.detach(phone)
        assert [end for node in world.lab.network for end in node.tunnels() if end.imsi == IMSI] == []


def arrive(world, packet: TappedPacket, octets: bytes) -> None:
    """``octets`` reach the packet's receiver as if its sender had sent them."""
    if packet.carrier is Carrier.UDP:
        world.wires._arrive_datagram(packet.node, packet.source, packet.destination, octets)
        return
    for pair in list(world.wires._pairs):
        for end in (pair.one, pair.other):
            if (end.remote, end.local) == (packet.source, packet.destination) and end.is_open:
                end.arrive(octets, packet.stream, packet.ppid)


@pytest.mark.parametrize("seed", range(3))
async def test_phone_that_talks_nonsense_is_heard_and_survived(network, seed) -> None:
    """NAS messages damaged before and behind the real ones, over the phone's own connection."""
    async with network() as world:
        mallory, phone = Mallory(seed), world.lab.phone(IMSI)
        radio = phone.ue.radio
        send_nas = type(radio).send_nas

        def with_nonsense(self, pdu: bytes, **more: object) -> None:
            send_nas(self, pdu, **more)
            for _ in range(mallory.chance.randrange(3)):
                send_nas(self, mallory.damaged(pdu))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(radio), "send_nas", with_nonsense)
            for _ in range(12):
                if phone.ue.registered:
                    await phone.ue.detach()
                else:
                    await phone.ue.attach(max_attempts=1)
                phone.ue.sim.valid = True
                await asyncio.sleep(1)
        assert world.defects() == []
        assert sum(count for (interface, _), count in world.protocol_errors("mme1").items() if interface == "NAS") > 0
        await asyncio.sleep(120)
        if phone.ue.registered:
            await phone.ue.detach()
        await world.lab.settled(patience_s=60)
        phone.ue.forget_registration()
        await world.attaches_and_detaches()
