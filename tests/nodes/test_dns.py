"""The DNS server and the resolver that asks it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epc.dns import Dns, DnsConfig
from epc.node import ConfigError, parse_config
from epc.node.metrics import NodeMetrics
from epc.transport.dns import DnsClient, DnsError, DnsTimeout, NameUnknown, describe, parse
from epc.transport.interface import Address, Direction, TappedPacket
from epc.transport.memory import Link, MemoryNetwork

pytestmark = pytest.mark.virtual_clock
A, AAAA, NAPTR, TXT = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.NAPTR, dns.rdatatype.TXT
HOME, VISITED = "epc.mnc001.mcc001.3gppnetwork.org", "epc.mnc007.mcc214.3gppnetwork.org"
HOME_SERVER, SECOND_SERVER, VISITED_SERVER = Address("127.0.2.53", 53), Address("127.0.2.54", 53), Address("127.0.1.53", 53)
RECORDS = """
internet.apn        300 NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp:x-s5-gtp" "" topoff.s8.pgw1.node
*.corp.apn          NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp" "" topoff.s8.pgw1.node
topoff.s8.pgw1.node A 127.0.2.13
pgw                 CNAME topoff.s8.pgw1.node
far                 CNAME pgw.epc.mnc007.mcc214.3gppnetwork.org.
big                 TXT """ + " ".join(f'"{"x" * 200}"' for _ in range(10)) + """
sub                 NS ns.sub
ns.sub              A 127.0.2.99
"""


class Recorder:
    def __init__(self) -> None:
        self.packets: list[TappedPacket] = []

    def packet(self, packet: TappedPacket) -> None:
        if packet.direction is Direction.SENT:
            self.packets.append(packet)


class World:
    def __init__(self) -> None:
        self.wires = MemoryNetwork(seed=3, link=Link(delay_s=0.001))
        self.tap = Recorder()
        self.nodes: dict[str, Dns] = {}
        self.metrics = NodeMetrics("mme")
        self.client: DnsClient

    def asked(self) -> list[str]:
        """Questions on the wire."""
        return [describe(dns.message.from_wire(packet.payload))[1] for packet in self.tap.packets
                if packet.carrier.value == "udp" and not packet.payload[2] & 0x80]

    async def ask(self, name: str, rdtype: Any = A) -> list[str]:
        return sorted(str(each) for each in await self.client.records(name, rdtype))


def zone(name: str, records: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "records": records, **more}


@asynccontextmanager
async def servers(asks: Sequence[Address] = (HOME_SERVER,), **nodes: dict[str, Any]) -> AsyncIterator[World]:
    world = World()
    for name, config in nodes.items():
        full = {"kind": "dns", "name": name, **config}
        node = Dns(parse_config(full, DnsConfig, source="test"), world.wires.transport(name, tap=world.tap), entropy=random.Random(name))
        world.nodes[name] = node
        await node.start()
    world.client = DnsClient(
        world.wires.transport("mme", tap=world.tap), asks, observer=world.metrics, entropy=random.Random(1), local="127.0.1.16")
    await world.client.open()
    try:
        yield world
    finally:
        world.client.close()
        for node in world.nodes.values():
            await node.stop()


HOME_NODE = {"listen": [{"host": HOME_SERVER.host}], "zones": [zone(HOME, RECORDS)]}


async def test_records_aliases_wildcards_and_what_does_not_exist() -> None:
    async with servers(home=HOME_NODE) as world:
        assert await world.ask(f"internet.apn.{HOME}", NAPTR) == [
            f'10 10 "a" "x-3gpp-pgw:x-s8-gtp:x-s5-gtp" "" topoff.s8.pgw1.node.{HOME}.']
        assert await world.ask(f"PGW.{HOME}.") == ["127.0.2.13"]
        assert await world.ask(f"anything.corp.apn.{HOME}", NAPTR)
        assert await world.ask(f"internet.apn.{HOME}") == [], "the name exists, an address does not"
        assert await world.ask(f"apn.{HOME}") == [], "neither does one for a name that only longer ones make exist"
        for name in (f"nothing.apn.{HOME}", f"nothing.{HOME}"):
            with pytest.raises(NameUnknown):
                await world.ask(name)
        with pytest.raises(DnsError, match="REFUSED"):
            await world.ask("www.example.org")
        answers = {labels["rcode"]: value for labels, value in [
            (sample.labels, sample.value) for family in world.nodes["home"].metrics.registry.collect() if family.name == "epc_dns_answers"
            for sample in family.samples if sample.name.endswith("_total")]}
        assert answers == {"NOERROR": 5, "NXDOMAIN": 2, "REFUSED": 1}


async def test_a_delegation_is_told_with_its_address() -> None:
    async with servers(home=HOME_NODE) as world:
        answer = await world.client.ask(dns.name.from_text(f"www.sub.{HOME}"), A)
        assert (answer.rcode, answer.records) == (dns.rcode.NOERROR, ())


async def test_answers_are_remembered_as_long_as_they_say_negative_ones_too() -> None:
    async with servers(home=HOME_NODE) as world:
        for _ in range(3):
            await world.ask(f"internet.apn.{HOME}", NAPTR)
            with pytest.raises(NameUnknown):
                await world.ask(f"no.{HOME}")
        assert len(world.asked()) == 2
        await asyncio.sleep(59)
        assert (await world.client.ask(dns.name.from_text(f"internet.apn.{HOME}"), NAPTR)).records[0].ttl == 241
        assert len(world.asked()) == 2
        await asyncio.sleep(2)
        with pytest.raises(NameUnknown):
            await world.ask(f"no.{HOME}")
        await world.ask(f"internet.apn.{HOME}", NAPTR)
        assert len(world.asked()) == 3, "the negative answer lived for 60 s, the other lives for 300"


async def test_the_same_question_at_the_same_time_is_asked_once() -> None:
    async with servers(home=HOME_NODE) as world:
        await asyncio.gather(*(world.ask(f"pgw.{HOME}") for _ in range(50)))
        assert len(world.asked()) == 1


async def test_what_does_not_fit_a_datagram_comes_over_tcp() -> None:
    async with servers(home=HOME_NODE) as world:
        (text,) = await world.ask(f"big.{HOME}", TXT)
        assert len(text) > 2000
        kinds = [packet.carrier.value for packet in world.tap.packets]
        assert kinds == ["udp", "udp", "tcp", "tcp"]
        assert dns.message.from_wire(world.tap.packets[1].payload).flags & dns.flags.TC


async def test_the_visited_server_asks_the_home_one_and_remembers() -> None:
    visited = {"listen": [{"host": VISITED_SERVER.host}], "zones": [zone(VISITED, "pgw A 127.0.1.13")],
               "forward": [{"zone": "mnc001.mcc001.3gppnetwork.org", "servers": [{"host": HOME_SERVER.host}]}]}
    async with servers([VISITED_SERVER], home=HOME_NODE, visited=visited) as world:
        assert await world.ask(f"pgw.{HOME}") == ["127.0.2.13"]
        assert [(packet.source.host, packet.destination.host) for packet in world.tap.packets] == [
            ("127.0.1.16", "127.0.1.53"), ("127.0.1.53", "127.0.2.53"), ("127.0.2.53", "127.0.1.53"), ("127.0.1.53", "127.0.1.16")]
        assert {packet.interface for packet in world.tap.packets} == {"DNS"}
        assert await world.ask(f"pgw.{VISITED}") == ["127.0.1.13"]
        assert await world.ask(f"far.{HOME}") == ["127.0.1.13"], "an alias leads from one operator to the other"
        with pytest.raises(NameUnknown):
            await world.ask(f"no.{HOME}")
        with pytest.raises(DnsError, match="REFUSED"):
            await world.ask("www.example.org")
        world.client.cache.clear()
        before = len(world.tap.packets)
        assert await world.ask(f"pgw.{HOME}") == ["127.0.2.13"]
        assert len(world.tap.packets) == before + 2, "the visited server knows it still"


async def test_a_silent_server_is_passed_over_and_a_failing_one_too() -> None:
    async with servers([HOME_SERVER, SECOND_SERVER], second={**HOME_NODE, "listen": [{"host": SECOND_SERVER.host}]}) as world:
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await world.ask(f"pgw.{HOME}") == ["127.0.2.13"]
        assert loop.time() - started == pytest.approx(1, abs=0.1)
    broken = {"listen": [{"host": HOME_SERVER.host}], "forward": [{"servers": [{"host": "127.0.9.9"}]}], "timeout_s": 0.2}
    async with servers([HOME_SERVER, SECOND_SERVER], home=broken, second={**HOME_NODE, "listen": [{"host": SECOND_SERVER.host}]}) as world:
        assert await world.ask(f"pgw.{HOME}") == ["127.0.2.13"], "SERVFAIL of the first is not the last word"


async def test_nobody_answers() -> None:
    async with servers([HOME_SERVER, SECOND_SERVER]) as world:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(DnsTimeout):
            await world.ask(f"pgw.{HOME}")
        assert loop.time() - started == pytest.approx(4, abs=0.1), "two rounds over two servers"
        assert world.metrics.value("retransmissions_total", interface="DNS", type="Query") == 2


async def test_an_answer_to_another_question_or_from_elsewhere_is_no_answer() -> None:
    async with servers([HOME_SERVER]) as world:
        async def forge() -> None:
            def receive(data: bytes, source: Address) -> None:
                question = dns.message.from_wire(data)
                other = dns.message.make_response(dns.message.make_query("other.example.", "A", id=question.id))
                port.send(other.to_wire(), source)                                       # another question
                port.send(b"\x00", source)
                elsewhere.send(dns.message.make_response(question).to_wire(), source)    # not from where it was asked

            transport = world.wires.transport("forger")
            elsewhere = await transport.open_udp(Address("127.0.9.1", 53), lambda data, source: None, interface="DNS")
            port = await transport.open_udp(HOME_SERVER, receive, interface="DNS")

        await forge()
        with pytest.raises(DnsTimeout):
            await world.ask(f"pgw.{HOME}")


def test_a_line_for_a_record_with_octets_that_are_no_text() -> None:
    octets = b"\0\1\x80\0\0\1\0\1\0\0\0\0" + (name := b"\1a\0") + b"\0\x23\0\1" + name + b"\0\x23\0\1\0\0\0\1\0\x0b\0\1\0\2\1\xff\2\xe4x\0\0"
    assert describe(parse(octets))[1] == r"a NAPTR: 1/2 \xff \xe4x "


@pytest.mark.parametrize(("octets", "rcode"), [
    (b"", None), (b"\x12\x34", None),
    (bytes.fromhex("123480000001000000000000") + b"\x00\x00\x01\x00\x01", None),          # a response: never answered
    (bytes.fromhex("123401000001000000000000") + b"\x3fabc", "FORMERR"),
    (bytes.fromhex("123401000000000000000000"), "FORMERR"),
    (bytes.fromhex("123421000001000000000000") + b"\x00\x00\x06\x00\x01", "NOTIMP"),       # NOTIFY
    (bytes.fromhex("123401000001000000000000") + b"\x00\x00\x01\x00\x03", "REFUSED"),      # class CHAOS
])
async def test_what_is_no_proper_question_is_refused_or_ignored(octets: bytes, rcode: str | None) -> None:
    async with servers(home=HOME_NODE) as world:
        heard: list[bytes] = []
        port = await world.wires.transport("odd").open_udp(Address("127.0.9.1", 0), lambda data, source: heard.append(data), interface="DNS")
        port.send(octets, HOME_SERVER)
        await asyncio.sleep(1)
        assert [dns.rcode.to_text(dns.rcode.Rcode(each[3] & 15)) for each in heard] == ([rcode] if rcode else [])
        assert all(each[:2] == octets[:2] for each in heard)
        assert await world.ask(f"pgw.{HOME}") == ["127.0.2.13"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_garbage_does_no_harm(data: st.DataObject) -> None:
    good = dns.message.make_query(f"internet.apn.{HOME}", "NAPTR", use_edns=0).to_wire()
    octets = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[:data.draw(st.integers(0, len(octets)))]
    node = Dns(parse_config({"kind": "dns", "name": "home", **HOME_NODE}, DnsConfig, source="test"), MemoryNetwork().transport("home"))
    replies: list[bytes] = []
    node._serve(bytes(octets), replies.append, limited=True)
    assert all(reply[:2] == bytes(octets[:2]) and reply[2] & 0x80 for reply in replies)


@pytest.mark.parametrize(("records", "what"), [("internet.apn NAPTR nonsense", "zone"), ("a A 1.2.3", "zone")])
def test_a_wrong_zone_is_told_at_the_start(records: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_config({"kind": "dns", "name": "x", "listen": [{"host": "127.0.0.1"}], "zones": [zone(HOME, records)]}, DnsConfig, source="test")
