"""The Diameter agent between scripted peers, a real HSS and other agents, on the virtual clock."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.dra import Dra, DraConfig
from epc.dra.message import RoutingAvps, avps_of, result_code, rewritten
from epc.hss import Hss, HssConfig
from epc.node import ConfigError, parse_config
from epc.peer.diameter import LocalIdentity, MessageReader
from epc.peer.timer import Timer
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address, ByteStream
from epc.transport.memory import MemoryNetwork
from epc.wire import diameter
from epc.wire.diameter import (
    GX_APPLICATION,
    RELAY_APPLICATION,
    S6A_APPLICATION,
    DiameterError,
    ErrorAnswer,
    Message,
    Packet,
    RatType,
    Request,
    ResultCode,
    gx,
    s6a,
)
from epc.wire.diameter.avp import frame
from epc.wire.diameter.base import CapabilitiesExchangeRequest, DeviceWatchdogAnswer, DeviceWatchdogRequest
from epc.wire.identity import Imsi, Plmn

pytestmark = pytest.mark.virtual_clock

HOME, VISITED = "epc.mnc001.mcc001.3gppnetwork.org", "epc.mnc007.mcc214.3gppnetwork.org"
MME, HSS, HSS2 = f"mme.{VISITED}", f"hss.{HOME}", f"hss2.{HOME}"
DRA, VISITED_DRA = f"dra.{HOME}", f"dra.{VISITED}"
IMSI = "001010000000001"
PATIENT = Timer("Tx", 60.0)

A = TypeVar("A", bound=Message)
Handler = Callable[[Packet], Message | Awaitable[Message]]


def realm_of(host: str) -> str:
    return host.partition(".")[2]


class End:
    """An end point: an MME, an HSS or a PCRF that does what the test says."""

    def __init__(self, lab: Lab, host: str, dras: tuple[str, ...], serve: Handler | None, application: int) -> None:
        self.host = host
        self.packets: list[Packet] = []
        self._serve = serve or self._succeed
        self.node = DiameterNode(
            lab.network.transport(host), LocalIdentity(origin_host=host, origin_realm=realm_of(host), applications=(application,)), interface="S6a",
            entropy=random.Random(host), clock=lambda: 1.7e9, peers=[PeerConfig(address=lab.addresses[dra]) for dra in dras],
            on_request=self._note)

    def _note(self, packet: Packet) -> Message | Awaitable[Message]:
        self.packets.append(packet)
        return self._serve(packet)

    def _succeed(self, packet: Packet) -> Message:
        common: dict[str, Any] = {
            "session_id": packet.message.session_id,  # type: ignore[attr-defined]
            "result_code": ResultCode.DIAMETER_SUCCESS, "origin_host": self.host, "origin_realm": realm_of(self.host)}
        match packet.message:
            case s6a.PurgeUeRequest():
                return s6a.PurgeUeAnswer(**common)
            case s6a.CancelLocationRequest():
                return s6a.CancelLocationAnswer(**common)
            case gx.CreditControlRequest() as request:
                return gx.CreditControlAnswer(cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number, **common)
        raise AssertionError(packet.message)

    def purge(self, *, realm: str = HOME, host: str | None = None) -> s6a.PurgeUeRequest:
        return s6a.PurgeUeRequest(session_id=self.node.new_session_id(), origin_host=self.host, origin_realm=realm_of(self.host),
                                  destination_realm=realm, destination_host=host, user_name=IMSI)

    async def ask(self, request: Request) -> Message:
        return (await self.node.request(request, timer=PATIENT)).message

    async def result(self, request: Request) -> Any:
        return (await self.ask(request)).result  # type: ignore[attr-defined]


class RawPeer:
    """A peer that sends and keeps octets."""

    def __init__(self, host: str, stream: ByteStream) -> None:
        self.host = host
        self.received: list[bytes] = []
        self.is_open = True
        self.answers_watchdogs = True
        self._reader = MessageReader()
        self._stream = stream
        stream.on_data = self._data
        stream.on_closed = self._closed

    def introduce(self, application: int) -> None:
        cer = CapabilitiesExchangeRequest(
            origin_host=self.host, origin_realm=realm_of(self.host), host_ip_address=(ip_address("10.0.0.99"),), vendor_id=0, product_name="raw",
            auth_application_id=(application,))
        self.send(diameter.encode(cer, hop_by_hop=1, end_to_end=1))

    def send(self, octets: bytes) -> None:
        self._stream.send(octets)

    def close(self) -> None:
        self._stream.close()

    async def next(self) -> bytes:
        async with asyncio.timeout(30):
            while not self.received:        # noqa: ASYNC110 - octets have no event
                await asyncio.sleep(0.001)
        return self.received.pop(0)

    def _data(self, data: bytes) -> None:
        for octets in self._reader.feed(data):
            header = diameter.decode_header(octets)
            if (header.command_code, header.is_request) == (280, True):
                if not self.answers_watchdogs:
                    continue
                answer = DeviceWatchdogAnswer(result_code=ResultCode.DIAMETER_SUCCESS, origin_host=self.host, origin_realm=realm_of(self.host))
                self.send(diameter.encode(answer, hop_by_hop=header.hop_by_hop, end_to_end=header.end_to_end))
            else:
                self.received.append(octets)

    def _closed(self, reason: str) -> None:
        self.is_open = False


class Lab:
    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1)
        self.addresses: dict[str, Address] = {}
        self.dras: dict[str, Dra] = {}
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def dra(self, host: str = DRA, *, peers: tuple[str, ...] = (), default: str = "", carrier: str = "tcp", **more: Any) -> Dra:
        """An agent that connects to ``peers`` over ``carrier``; of these ``default`` is the default route. It listens on both carriers."""
        address = self.addresses.setdefault(host, Address(f"10.1.0.{len(self.addresses) + 1}", 3868))
        config = parse_config({
            "name": host, "origin_host": host, "origin_realm": realm_of(host),
            "diameter": {"listen": [{"host": address.host}, {"host": address.host, "carrier": "sctp"}], "peers": [
                {"host": self.addresses[peer].host, "identity": peer, "default_route": peer == default, "carrier": carrier} for peer in peers]},
            **more}, DraConfig, source="test")
        dra = self.dras[host] = Dra(config, self.network.transport(host, host=address.host), clock=lambda: 1.7e9, entropy=random.Random(host))
        await dra.start()
        self._stops.append(dra.stop)
        return dra

    def reserve(self, *hosts: str) -> None:
        """Addresses of agents that others connect to before they exist."""
        for host in hosts:
            self.addresses[host] = Address(f"10.1.0.{len(self.addresses) + 1}", 3868)

    async def end(self, host: str, *dras: str, serve: Handler | None = None, application: int = S6A_APPLICATION) -> End:
        end = End(self, host, dras or (DRA,), serve, application)
        await end.node.start()
        self._stops.insert(0, end.node.stop)
        await usable(end.node, len(dras or (DRA,)))
        return end

    async def raw(self, host: str, dra: str = DRA, application: int = S6A_APPLICATION) -> RawPeer:
        stream = await self.network.transport(f"raw {host} {random.random()}").connect_tcp(self.addresses[dra], interface="S6a")
        peer = RawPeer(host, stream)
        peer.introduce(application)
        await peer.next()
        return peer

    async def stop(self) -> None:
        for stop in self._stops:
            await stop()


async def usable(node: DiameterNode, number: int) -> None:
    async with asyncio.timeout(60):
        while sum(peer.is_usable for peer in node.peers()) < number:        # noqa: ASYNC110 - a number of peers has no event
            await asyncio.sleep(0.01)


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()
    yield lab
    await lab.stop()


def never(packet: Packet) -> Awaitable[Message]:
    return asyncio.get_running_loop().create_future()


def refusing(code: ResultCode) -> Handler:
    def serve(packet: Packet) -> Message:
        raise DiameterError("as the test says", code)

    return serve


# --- octets -----------------------------------------------------------------------------------------------------------

STRANGE = [frame(4711, 0, 0x40, b"odd"), frame(4712, 9999, 0xE0, b"\0\xff"), frame(293, 9999, 0x80, b"no.destination"), frame(1, 0, 0x1F, b"")]


def request_octets(body: list[bytes], *, command: int = 4242, flags: int = 0xC0, application: int = S6A_APPLICATION, hop_by_hop: int = 0xA1,
                   end_to_end: int = 0xE2E) -> bytes:
    octets = b"".join(body)
    return b"".join(number.to_bytes(4, "big") for number in (
        1 << 24 | len(octets) + 20, flags << 24 | command, application, hop_by_hop, end_to_end)) + octets


def addressed(realm: str = HOME, host: str | None = None) -> list[bytes]:
    return [frame(263, 0, 0x40, b"session;1;2"), frame(264, 0, 0x40, MME.encode()), frame(283, 0, 0x40, realm.encode()),
            *([frame(293, 0, 0x40, host.encode())] if host else [])]


async def test_an_unknown_command_with_unknown_avps_passes_octet_by_octet(lab: Lab) -> None:
    await lab.dra()
    mme, hss = await lab.raw(MME), await lab.raw(HSS)
    body = [*addressed()[:2], *STRANGE, *addressed()[2:], *STRANGE]
    mme.send(request_octets(body))
    seen = await hss.next()
    assert seen[20:] == b"".join(body) + frame(282, 0, 0x40, MME.encode())
    header = diameter.decode_header(seen)
    assert (header.flags, header.command_code, header.application_id, header.end_to_end) == (0xC0, 4242, S6A_APPLICATION, 0xE2E)
    assert header.hop_by_hop != 0xA1
    answer = request_octets([frame(268, 0, 0x40, (2001).to_bytes(4, "big")), *STRANGE], flags=0x40, hop_by_hop=header.hop_by_hop)
    hss.send(answer)
    assert await mme.next() == answer[:12] + (0xA1).to_bytes(4, "big") + answer[16:]
    assert not lab.dras[DRA].agent.pending


async def test_watchdogs_and_goodbyes_are_between_neighbours(lab: Lab) -> None:
    await lab.dra()
    mme, hss = await lab.raw(MME), await lab.raw(HSS)
    mme.send(diameter.encode(DeviceWatchdogRequest(origin_host=MME, origin_realm=VISITED), hop_by_hop=7, end_to_end=8))
    answer = diameter.decode(await mme.next())
    assert isinstance(answer.message, DeviceWatchdogAnswer)
    assert answer.message.origin_host == DRA
    assert hss.received == []


async def test_the_agent_says_that_it_relays(lab: Lab) -> None:
    dra = await lab.dra()
    mme = await lab.end(MME)
    assert mme.node.is_connected(S6A_APPLICATION)
    assert dra.diameter.identity.applications == (RELAY_APPLICATION,)


@pytest.mark.parametrize(("octets", "code"), [
    (request_octets(addressed("nowhere.example")), ResultCode.DIAMETER_REALM_NOT_SERVED),
    (request_octets(addressed(VISITED)), ResultCode.DIAMETER_UNABLE_TO_DELIVER),                    # only its origin is there
    (request_octets(addressed(HOME, f"other.{HOME}")), ResultCode.DIAMETER_UNABLE_TO_DELIVER),      # a server is not asked for another's work
    (request_octets([frame(264, 0, 0x40, MME.encode()), frame(293, 0, 0x40, HSS.encode())]), ResultCode.DIAMETER_UNABLE_TO_DELIVER),
    (request_octets(addressed(), application=GX_APPLICATION), ResultCode.DIAMETER_UNABLE_TO_DELIVER),
    (request_octets(addressed()[:2]), ResultCode.DIAMETER_COMMAND_UNSUPPORTED),
    (request_octets(addressed(HOME, DRA)), ResultCode.DIAMETER_COMMAND_UNSUPPORTED),
    (request_octets(addressed(), flags=0x80), ResultCode.DIAMETER_COMMAND_UNSUPPORTED),
    (request_octets(addressed(), flags=0xE0), ResultCode.DIAMETER_INVALID_HDR_BITS),
    (request_octets([*addressed(), frame(282, 0, 0x40, DRA.upper().encode())]), ResultCode.DIAMETER_LOOP_DETECTED),
    (request_octets([*addressed(), b"\0\0\0\1"]), ResultCode.DIAMETER_INVALID_AVP_LENGTH),
    (request_octets([*addressed(), b"\0\0\1\1\0\0\0\7"]), ResultCode.DIAMETER_INVALID_AVP_LENGTH),
    (request_octets([*addressed(), b"\0\0\1\1\x80\0\0\x0b\0\0\0\0"]), ResultCode.DIAMETER_INVALID_AVP_LENGTH),
    (request_octets([*addressed(), b"\0\0\1\1\0\0\1\0"]), ResultCode.DIAMETER_INVALID_AVP_LENGTH),
])
async def test_requests_that_the_agent_refuses(lab: Lab, octets: bytes, code: ResultCode) -> None:
    dra = await lab.dra()
    mme, hss = await lab.raw(MME), await lab.raw(HSS)
    mme.send(octets)
    octets_back = await mme.next()
    packet = diameter.decode(octets_back)
    assert (packet.header.hop_by_hop, packet.header.end_to_end) == (0xA1, 0xE2E)
    assert packet.header.is_error == (3000 <= code <= 3999)
    assert not packet.header.is_request
    assert result_code(octets_back) == code
    assert hss.received == []
    assert dra.metrics.value("protocol_errors_total", interface="Diameter", cause=code.name) == 1
    assert not dra.agent.pending


async def test_a_refusal_gives_session_and_proxy_info_back(lab: Lab) -> None:
    await lab.dra()
    mme = await lab.raw(MME)
    info = frame(284, 0, 0x40, frame(280, 0, 0x40, b"agent") + frame(33, 0, 0x40, b"state"))
    mme.send(request_octets([*addressed("nowhere.example"), info]))
    octets = await mme.next()
    assert octets[20:].startswith(frame(263, 0, 0x40, b"session;1;2"))
    assert octets.endswith(info)
    answer = diameter.decode(octets).message
    assert isinstance(answer, ErrorAnswer)
    assert (answer.origin_host, answer.origin_realm, answer.error_message) == (DRA, HOME, "realm nowhere.example is not served")


async def test_garbage_gets_an_answer_or_ends_the_connection_and_harms_nobody_else(lab: Lab) -> None:
    dra = await lab.dra(topology_hiding={})
    hss = await lab.end(HSS)
    good = await lab.end(MME)
    chance = random.Random(20)
    peer = await lab.raw(f"fuzz.{VISITED}")
    template = diameter.encode(good.purge(), hop_by_hop=1, end_to_end=2)
    answered = 0
    for _ in range(400):
        mutated = bytearray(template)
        for _ in range(chance.randint(1, 6)):
            mutated[chance.randrange(4, len(mutated))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if not peer.is_open:
            peer = await lab.raw(f"fuzz.{VISITED}")
        peer.send(bytes(mutated))
        await asyncio.sleep(0.05)
        answered += len(peer.received)
        peer.received.clear()
        dra.views()["pending"]()
    assert answered > 200
    assert isinstance(await good.ask(good.purge()), s6a.PurgeUeAnswer)
    assert hss.packets
    await asyncio.sleep(10)
    assert not dra.agent.pending


async def test_mutated_answers_reach_the_origin_at_most_once(lab: Lab) -> None:
    dra = await lab.dra(topology_hiding={}, answer_s=1.0)
    mme, hss = await lab.raw(MME), await lab.raw(HSS)
    chance = random.Random(21)
    template = request_octets([frame(264, 0, 0x40, HSS.encode()), frame(268, 0, 0x40, (2001).to_bytes(4, "big")), *STRANGE], flags=0x40)
    for number in range(300):
        mme.send(request_octets(addressed(), hop_by_hop=number))
        seen = await hss.next()
        mutated = bytearray(template[:12] + seen[12:16] + template[16:])
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(12, len(mutated))] ^= 1 << chance.randrange(8)
        hss.send(bytes(mutated))
        await asyncio.sleep(2)
        [octets] = mme.received                 # the answer, or 3002 for one that cannot be used
        assert diameter.decode_header(octets).hop_by_hop == number
        mme.received.clear()
    assert not dra.agent.pending


async def test_relaying_leaves_no_cyclic_garbage(lab: Lab) -> None:
    await lab.dra()
    mme, hss = await lab.raw(MME), await lab.raw(HSS)

    async def relay(number: int) -> None:
        mme.send(request_octets(addressed(), hop_by_hop=number))
        seen = await hss.next()
        hss.send(request_octets([], flags=0x40, hop_by_hop=diameter.decode_header(seen).hop_by_hop))
        await mme.next()

    await relay(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            await relay(number)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert [found for found in gc.garbage if type(found).__module__.startswith("epc.")] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_values_are_replaced_in_place_and_padding_is_kept_right() -> None:
    octets = request_octets([STRANGE[0], frame(264, 0, 0x60, b"abcde"), STRANGE[1]])
    changed = rewritten(octets, (264,), lambda code, value: value + b"xy")
    assert changed == request_octets([STRANGE[0], frame(264, 0, 0x60, b"abcdexy"), STRANGE[1]])
    assert rewritten(octets, (264,), lambda code, value: None) is octets


def test_only_avps_of_the_base_protocol_decide_the_way() -> None:
    avps = RoutingAvps(request_octets([
        frame(293, 10415, 0xC0, b"vendor"), frame(283, 0, 0x40, b"Home"), frame(282, 0, 0, b"A"), frame(282, 0, 0, b"b")]))
    assert (avps.destination_host, avps.destination_realm, avps.route_record) == (None, b"home", [b"a", b"b"])


# --- routing ----------------------------------------------------------------------------------------------------------


async def test_the_destination_host_goes_before_the_route(lab: Lab) -> None:
    await lab.dra(routes=[{"realm": HOME, "peers": [{"identity": HSS}]}])
    first, second, mme = await lab.end(HSS), await lab.end(HSS2), await lab.end(MME)
    assert await mme.result(mme.purge(host=HSS2.upper())) == ResultCode.DIAMETER_SUCCESS
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_SUCCESS
    assert (len(first.packets), len(second.packets)) == (1, 1)


async def test_a_route_for_the_application_goes_before_one_for_all(lab: Lab) -> None:
    await lab.dra(routes=[{"realm": HOME, "peers": [{"identity": HSS}]},
                          {"realm": HOME, "application": "Gx", "peers": [{"identity": f"pcrf.{HOME}"}]}])
    hss, pcrf = await lab.end(HSS), await lab.end(f"pcrf.{HOME}", application=GX_APPLICATION)
    mme, pgw = await lab.end(MME), await lab.end(f"pgw.{VISITED}", application=GX_APPLICATION)
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_SUCCESS
    ccr = gx.CreditControlRequest(session_id="a;1;1", origin_host=pgw.host, origin_realm=VISITED, destination_realm=HOME,
                                  cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0)
    assert await pgw.result(ccr) == ResultCode.DIAMETER_SUCCESS
    assert [type(packet.message) for packet in hss.packets + pcrf.packets] == [s6a.PurgeUeRequest, gx.CreditControlRequest]


async def test_agents_may_speak_sctp_to_one_another(lab: Lab) -> None:
    lab.reserve(DRA)
    visited = await lab.dra(VISITED_DRA, peers=(DRA,), default=DRA, carrier="sctp")
    await lab.dra()
    await lab.end(HSS)
    mme = await lab.end(MME, VISITED_DRA)
    await usable(visited.diameter, 2)
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_SUCCESS


async def test_what_is_for_nobody_here_takes_the_default_route_but_the_own_realm_does_not(lab: Lab) -> None:
    lab.reserve(DRA)
    visited = await lab.dra(VISITED_DRA, peers=(DRA,), default=DRA)
    await lab.dra()
    hss, mme = await lab.end(HSS), await lab.end(MME, VISITED_DRA)
    await usable(visited.diameter, 2)
    other = await lab.end("hss.third.example")
    assert await mme.result(mme.purge(realm="third.example")) == ResultCode.DIAMETER_SUCCESS
    assert [packet.message.route_record for packet in other.packets] == [(MME, VISITED_DRA)]  # type: ignore[attr-defined]
    assert await mme.result(mme.purge(realm=VISITED)) == ResultCode.DIAMETER_UNABLE_TO_DELIVER
    assert hss.packets == []


async def test_the_route_for_any_realm(lab: Lab) -> None:
    await lab.dra(routes=[{"realm": "*", "application": "S6a", "peers": [{"identity": HSS}]}])
    await lab.end(HSS)
    mme = await lab.end(MME)
    answer = await mme.ask(mme.purge(realm="elsewhere.example"))
    assert isinstance(answer, ErrorAnswer)                  # our HSS knows that it is not its realm
    assert (answer.result_code, answer.origin_host) == (ResultCode.DIAMETER_REALM_NOT_SERVED, HSS)


async def test_peers_of_the_realm_share_the_load_by_weight(lab: Lab) -> None:
    await lab.dra(routes=[{"realm": HOME, "peers": [
        {"identity": HSS, "weight": 3}, {"identity": HSS2}, {"identity": f"spare.{HOME}", "priority": 2}]}])
    ends = [await lab.end(host) for host in (HSS, HSS2, f"spare.{HOME}")]
    mme = await lab.end(MME)
    order = [(await mme.ask(mme.purge())).origin_host for _ in range(8)]  # type: ignore[attr-defined]
    assert [len(end.packets) for end in ends] == [6, 2, 0]
    assert order[:4] == order[4:] == [HSS, HSS, HSS2, HSS]
    await ends[0].node.stop()
    await ends[1].node.stop()
    assert (await mme.ask(mme.purge())).origin_host == f"spare.{HOME}"  # type: ignore[attr-defined]


async def test_without_a_route_the_servers_of_the_realm_take_turns_before_its_agents(lab: Lab) -> None:
    await lab.dra()
    await lab.dra(f"dra2.{HOME}", peers=(DRA,))
    first, second, mme = await lab.end(HSS), await lab.end(HSS2), await lab.end(MME)
    for _ in range(6):
        await mme.ask(mme.purge())
    assert Counter((len(first.packets), len(second.packets))) == Counter((3, 3))


async def test_a_ring_of_agents_is_noticed(lab: Lab) -> None:
    hosts = [f"dra{number}.ring.example" for number in range(3)]
    lab.reserve(*hosts)
    for number, host in enumerate(hosts):
        following = hosts[(number + 1) % 3]
        await lab.dra(host, peers=(following,), routes=[{"realm": "lost.example", "peers": [{"identity": following}]}])
    mme = await lab.end(MME, hosts[0])
    for host in hosts:
        await usable(lab.dras[host].diameter, 2)
    answer = await mme.ask(mme.purge(realm="lost.example"))
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.origin_host) == (ResultCode.DIAMETER_LOOP_DETECTED, hosts[0])


async def test_a_proxy_serves_its_applications_only(lab: Lab) -> None:
    dra = await lab.dra(applications=["S6a"])
    await lab.end(HSS)
    mme = await lab.raw(MME, application=RELAY_APPLICATION)
    mme.send(request_octets(addressed(), application=GX_APPLICATION))
    answer = diameter.decode(await mme.next()).message
    assert isinstance(answer, ErrorAnswer)
    assert answer.result_code == ResultCode.DIAMETER_APPLICATION_UNSUPPORTED
    assert dra.diameter.identity.applications == (S6A_APPLICATION,)
    mme_of_ours = await lab.end(f"mme2.{VISITED}")
    assert await mme_of_ours.result(mme_of_ours.purge()) == ResultCode.DIAMETER_SUCCESS


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_a_link_lost_in_mid_transaction_sends_the_request_to_the_next_peer_with_the_t_bit(lab: Lab) -> None:
    dra = await lab.dra(routes=[{"realm": HOME, "peers": [{"identity": HSS}, {"identity": HSS2, "priority": 2}]}])
    silent, other, mme = await lab.end(HSS, serve=never), await lab.end(HSS2), await lab.end(MME)
    asked = asyncio.ensure_future(mme.ask(mme.purge()))
    await asyncio.sleep(0.5)
    assert [(entry["sent_to"], entry["origin"]) for entry in dra.views()["pending"]()] == [([HSS], MME)]  # type: ignore[attr-defined]
    lab.network.cut(HSS, detection_s=0.1)
    answer = await asked
    assert isinstance(answer, s6a.PurgeUeAnswer)
    assert answer.origin_host == HSS2
    [first], [second] = silent.packets, other.packets
    assert (first.header.is_retransmitted, second.header.is_retransmitted) == (False, True)
    assert first.header.end_to_end == second.header.end_to_end
    assert dra.metrics.value("retransmissions_total", interface="Diameter", type="PurgeUeRequest") == 1
    assert not dra.agent.pending


async def test_a_lost_agent_is_replaced_by_its_mate(lab: Lab) -> None:
    """The visited agent knows two agents of the home network, and the HSS is connected to both."""
    mates = (DRA, f"dra2.{HOME}")
    lab.reserve(*mates)
    for mate in mates:
        await lab.dra(mate)
    visited = await lab.dra(VISITED_DRA, peers=mates)

    async def slowly(packet: Packet) -> Message:
        await asyncio.sleep(1.0)
        return hss._succeed(packet)

    hss = await lab.end(HSS, *mates, serve=slowly)
    mme = await lab.end(MME, VISITED_DRA)
    await usable(visited.diameter, 3)
    asked = [asyncio.ensure_future(mme.ask(mme.purge())) for _ in range(10)]
    await asyncio.sleep(0.5)
    lab.network.cut(DRA, detection_s=0.1)
    assert [type(answer) for answer in await asyncio.gather(*asked)] == [s6a.PurgeUeAnswer] * 10
    assert visited.metrics.value("retransmissions_total", interface="Diameter", type="PurgeUeRequest") == 5
    assert len(hss.packets) == 10           # it knew the second copies by Origin-Host and end-to-end identifier


async def test_a_link_lost_with_nobody_else_there_is_told(lab: Lab) -> None:
    dra = await lab.dra()
    await lab.end(HSS, serve=never)
    mme = await lab.end(MME)
    asked = asyncio.ensure_future(mme.ask(mme.purge()))
    await asyncio.sleep(0.5)
    lab.network.cut(HSS, detection_s=0.1)
    answer = await asked
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.origin_host) == (ResultCode.DIAMETER_UNABLE_TO_DELIVER, DRA)
    assert not dra.agent.pending


async def test_a_suspect_peers_late_answer_still_counts(lab: Lab) -> None:
    """The watchdog is overdue: the request goes to the other peer as well, and the first answer is the one."""
    dra = await lab.dra(routes=[{"realm": HOME, "peers": [{"identity": HSS}, {"identity": HSS2, "priority": 2}]}], answer_s=60.0)

    first, other, mme = await lab.raw(HSS), await lab.end(HSS2, serve=never), await lab.end(MME)
    first.answers_watchdogs = False
    request = mme.purge()
    asked = asyncio.ensure_future(mme.ask(request))
    header = diameter.decode_header(await first.next())
    async with asyncio.timeout(30):
        while not other.packets:            # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.1)
    assert other.packets[0].header.is_retransmitted
    first.send(diameter.encode(
        s6a.PurgeUeAnswer(session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=HSS, origin_realm=HOME),
        hop_by_hop=header.hop_by_hop, end_to_end=header.end_to_end))
    answer = await asked
    assert isinstance(answer, s6a.PurgeUeAnswer)
    assert answer.origin_host == HSS
    assert not dra.agent.pending
    assert [peer.pending_requests for peer in dra.diameter.peers()] == [0, 0, 0]


@pytest.mark.parametrize("code", [ResultCode.DIAMETER_UNABLE_TO_DELIVER, ResultCode.DIAMETER_TOO_BUSY])
async def test_a_peer_that_cannot_is_passed_over(lab: Lab, code: ResultCode) -> None:
    await lab.dra(routes=[{"realm": HOME, "peers": [{"identity": HSS}, {"identity": HSS2, "priority": 2}]}])
    await lab.end(HSS, serve=refusing(code))
    other, mme = await lab.end(HSS2), await lab.end(MME)
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_SUCCESS
    await other.node.stop()
    answer = await mme.ask(mme.purge())
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.origin_host) == (code, HSS)      # the peer's own words, when there is nobody else


async def test_no_answer_in_time(lab: Lab) -> None:
    dra = await lab.dra(answer_s=2.0)
    await lab.end(HSS, serve=never)
    mme = await lab.end(MME)
    started = asyncio.get_running_loop().time()
    answer = await mme.ask(mme.purge())
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.error_message) == (ResultCode.DIAMETER_UNABLE_TO_DELIVER, f"{HSS} did not answer in time")
    assert asyncio.get_running_loop().time() - started == pytest.approx(2.0, abs=0.1)
    assert not dra.agent.pending


async def test_too_many_requests_in_flight(lab: Lab) -> None:
    dra = await lab.dra(pending_limit=2)
    await lab.end(HSS, serve=never)
    mme = await lab.end(MME)
    waiting = [asyncio.ensure_future(mme.ask(mme.purge())) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert dra.metrics.value("pending_requests") == 2
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_TOO_BUSY
    await asyncio.gather(*waiting)


async def test_an_answer_for_a_connection_that_is_gone_goes_nowhere(lab: Lab) -> None:
    """Not even to the same peer's next connection, where the identifier may mean another request."""
    dra = await lab.dra()
    hss, mme = await lab.raw(HSS), await lab.raw(MME)
    mme.send(request_octets(addressed()))
    seen = await hss.next()
    mme.close()
    await asyncio.sleep(0.1)
    again = await lab.raw(MME)
    hss.send(request_octets([frame(268, 0, 0x40, (2001).to_bytes(4, "big"))], flags=0x40, hop_by_hop=diameter.decode_header(seen).hop_by_hop))
    await asyncio.sleep(0.1)
    assert again.received == []
    assert dra.metrics.value("protocol_errors_total", interface="Diameter", cause="ORIGIN_GONE") == 1
    assert not dra.agent.pending


async def test_an_answer_that_nobody_asked_for_is_dropped(lab: Lab) -> None:
    dra = await lab.dra()
    hss, mme = await lab.raw(HSS), await lab.raw(MME)
    hss.send(request_octets([frame(268, 0, 0x40, (2001).to_bytes(4, "big"))], flags=0x40, hop_by_hop=5))
    await asyncio.sleep(0.1)
    assert mme.received == []
    assert dra.metrics.value("protocol_errors_total", interface="Diameter", cause="NO_REQUEST_WAITS") == 1


# --- stateless --------------------------------------------------------------------------------------------------------


async def test_a_stateless_agent_gets_its_state_back_from_proxy_info(lab: Lab) -> None:
    dra = await lab.dra(stateless=True)
    mme, hss = await lab.raw(MME), await lab.raw(HSS)
    others = frame(284, 0, 0x40, frame(280, 0, 0x40, b"agent.before") + frame(33, 0, 0x40, b"state"))
    mme.send(request_octets([*addressed(), others]))
    seen = await hss.next()
    assert not dra.agent.pending
    infos = [seen[offset:end] for _, offset, _, end in avps_of(seen, (284,))]
    assert len(infos) == 2
    assert infos[0] == others
    result = frame(268, 0, 0x40, (2001).to_bytes(4, "big"))
    own = seen[avps_of(seen, (284,))[1][1]:]                # it is the last AVP, padding and all
    hop_by_hop = diameter.decode_header(seen).hop_by_hop
    hss.send(request_octets([result, others, own, STRANGE[0]], flags=0x40, hop_by_hop=hop_by_hop))
    assert await mme.next() == request_octets([result, others, STRANGE[0]], flags=0x40)

    forged = bytearray(own)
    forged[-20] ^= 1
    hss.send(request_octets([result, others, bytes(forged)], flags=0x40, hop_by_hop=hop_by_hop))
    await asyncio.sleep(0.1)
    assert mme.received == []
    assert dra.metrics.value("protocol_errors_total", interface="Diameter", cause="NO_REQUEST_WAITS") == 1


async def test_a_stateless_agent_between_our_own_nodes(lab: Lab) -> None:
    await lab.dra(stateless=True)
    await lab.end(HSS)
    mme = await lab.end(MME)
    assert await mme.result(mme.purge()) == ResultCode.DIAMETER_SUCCESS
    assert await mme.result(mme.purge(realm="nowhere.example")) == ResultCode.DIAMETER_REALM_NOT_SERVED


# --- two networks -----------------------------------------------------------------------------------------------------


class Roaming:
    """MME and agent of the visited network; agent and HSS of the home network. Both agents hide their own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.between: list[bytes] = []          # what one agent sends to the other

    async def start(self, **home: Any) -> None:
        lab = self.lab
        lab.reserve(DRA)
        lab.network.drop_when(self._watch)
        hiding: dict[str, Any] = {"topology_hiding": {"secret": "lab"}}
        self.visited = await lab.dra(VISITED_DRA, peers=(DRA,), routes=[{"realm": HOME, "peers": [{"identity": DRA}]}], **hiding)
        self.home = await lab.dra(DRA, routes=[{"realm": VISITED, "peers": [{"identity": VISITED_DRA}]}], **hiding, **home)
        hss_config = {"name": "hss", "origin_host": HSS, "origin_realm": HOME, "subscribers": [{"imsi": IMSI, "apns": ["internet"]}],
                      "s6a": {"listen": [], "peers": [{"host": lab.addresses[DRA].host}]}}
        self.hss = Hss(parse_config(hss_config, HssConfig, source="test"), lab.network.transport("hss"), clock=lambda: 1.7e9,
                       entropy=random.Random(1))
        await self.hss.start()
        lab._stops.insert(0, self.hss.stop)
        self.mme = await lab.end(MME, VISITED_DRA)
        await usable(self.home.diameter, 2)
        await usable(self.visited.diameter, 2)

    def _watch(self, packet: Any) -> bool:
        if packet.node in (DRA, VISITED_DRA) and packet.payload[5:8] not in (b"\0\1\1", b"\0\1\x18"):
            ends = {packet.source.host, packet.destination.host}
            if ends == {self.lab.addresses[DRA].host, self.lab.addresses[VISITED_DRA].host}:
                self.between.append(packet.payload)
        return False

    def header(self, host: str | None = None) -> dict[str, Any]:
        return {"session_id": self.mme.node.new_session_id(), "origin_host": MME, "origin_realm": VISITED, "destination_realm": HOME,
                "destination_host": host, "user_name": IMSI, "visited_plmn_id": Plmn("21407")}

    async def authenticate(self) -> s6a.AuthenticationInformationAnswer:
        answer = await self.mme.ask(s6a.AuthenticationInformationRequest(
            **self.header(), requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(
                number_of_requested_vectors=1, immediate_response_preferred=1)))
        assert isinstance(answer, s6a.AuthenticationInformationAnswer)
        return answer

    async def update_location(self, host: str) -> s6a.UpdateLocationAnswer:
        request = s6a.UpdateLocationRequest(**self.header(host), rat_type=RatType.EUTRAN, ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR)
        answer = await self.mme.ask(request)
        assert isinstance(answer, s6a.UpdateLocationAnswer)
        assert answer.session_id == request.session_id
        return answer


@async_fixture
async def roaming(lab: Lab) -> Roaming:
    roaming = Roaming(lab)
    await roaming.start()
    return roaming


async def test_s6a_from_visited_to_home_and_back_with_both_networks_hidden(roaming: Roaming) -> None:
    vectors = await roaming.authenticate()
    assert vectors.is_success
    assert vectors.origin_host.startswith("node-")
    assert vectors.origin_realm == HOME
    location = await roaming.update_location(vectors.origin_host)
    assert location.subscription_data is not None

    subscriber = await roaming.hss.store.get(Imsi(IMSI))
    assert subscriber is not None
    assert subscriber.mme_realm == VISITED
    assert subscriber.mme_host is not None
    assert subscriber.mme_host.startswith("node-")

    await roaming.hss.commands()["cancel_location"](imsi=IMSI)
    [packet] = roaming.mme.packets
    assert isinstance(packet.message, s6a.CancelLocationRequest)
    assert packet.message.destination_host == MME
    assert len(roaming.between) == 6
    octets = b"".join(roaming.between)
    assert MME.encode() not in octets
    assert HSS.encode() not in octets
    assert {"host": HSS, "pseudonym": vectors.origin_host} in roaming.home.views()["pseudonyms"]()  # type: ignore[operator]


async def test_a_pseudonym_outlives_the_agent(roaming: Roaming) -> None:
    pseudonym = (await roaming.authenticate()).origin_host
    await roaming.home.stop()
    again = await roaming.lab.dra(DRA, routes=[{"realm": VISITED, "peers": [{"identity": VISITED_DRA}]}], topology_hiding={"secret": "lab"})
    await usable(again.diameter, 2)
    await usable(roaming.visited.diameter, 2)
    assert (await roaming.update_location(pseudonym)).is_success


async def test_a_network_that_is_out_of_reach(roaming: Roaming) -> None:
    roaming.lab.network.cut(DRA, VISITED_DRA, detection_s=0.1)
    await asyncio.sleep(1)
    answer = await roaming.mme.ask(roaming.mme.purge())
    assert isinstance(answer, ErrorAnswer)
    assert (answer.result_code, answer.origin_host) == (ResultCode.DIAMETER_UNABLE_TO_DELIVER, VISITED_DRA)


async def test_refusals_to_foreign_realms_name_no_host_of_ours(lab: Lab) -> None:
    await lab.dra(topology_hiding={"pseudonyms": {HSS: f"hss-a.{HOME}"}})
    foreign = await lab.raw(MME)
    hss = await lab.raw(HSS)
    session = frame(263, 0, 0x40, f"hss-a.{HOME};7;8".encode())
    foreign.send(request_octets([session, frame(264, 0, 0x40, MME.encode()), frame(283, 0, 0x40, HOME.encode()),
                                 frame(293, 0, 0x40, f"hss-a.{HOME}".encode())]))
    seen = await hss.next()
    assert frame(293, 0, 0x40, HSS.encode()) in seen
    assert seen[20:].startswith(frame(263, 0, 0x40, f"{HSS};7;8".encode()))
    hss.close()
    octets = await foreign.next()
    assert octets[20:].startswith(session)
    assert f"hss.{HOME};".encode() not in octets


async def test_an_answer_that_cannot_be_searched_for_names_does_not_leave(lab: Lab) -> None:
    await lab.dra(topology_hiding={})
    foreign, hss = await lab.raw(MME), await lab.raw(HSS)
    foreign.send(request_octets(addressed()))
    seen = await hss.next()
    broken = frame(264, 0, 0x40, HSS.encode()) + b"\0\0\1\1\0\0\1\0"
    hss.send(request_octets([broken], flags=0x40, hop_by_hop=diameter.decode_header(seen).hop_by_hop))
    answer = diameter.decode(await foreign.next()).message
    assert isinstance(answer, ErrorAnswer)
    assert answer.result_code == ResultCode.DIAMETER_UNABLE_TO_DELIVER


# --- configuration and views ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "message"), [
    ({"routes": [{"realm": HOME, "peers": []}]}, "peers"),
    ({"routes": [{"realm": HOME, "application": "S6", "peers": [{"identity": HSS}]}]}, "an application is a number or one of S6a"),
    ({"routes": [{"realm": HOME, "peers": [{"identity": HSS}]}, {"realm": HOME.upper(), "peers": [{"identity": HSS2}]}]}, "two routes for realm"),
    ({"topology_hiding": {"pseudonyms": {HSS: "a.b", HSS2: "A.b"}}}, "same pseudonym"),
    ({"applications": [0]}, "applications"),
])
def test_configurations_that_make_no_sense(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"name": "dra", "origin_host": DRA, "origin_realm": HOME, **more}, DraConfig, source="test")


async def test_routes_and_peers_are_shown(lab: Lab) -> None:
    dra = await lab.dra(routes=[{"realm": "third.example", "application": "S6a", "peers": [{"identity": HSS, "weight": 2}]}])
    assert dra.is_ready()
    await lab.end(HSS)
    assert dra.views()["routes"]() == [
        {"realm": "third.example", "application": S6A_APPLICATION, "peers": [{"host": HSS, "weight": 2, "preference": 1, "is_usable": True}]},
        {"realm": HOME, "application": None, "peers": [{"host": HSS, "weight": 1, "preference": 1, "is_usable": True}]},
    ]
    [peer] = dra.associated_peers()
    assert (peer.interface, peer.peer, peer.is_up) == ("Diameter", HSS, True)
