"""Spoilt G-PDUs: each is forwarded whole and to the right place, answered, or counted by reason. No octet of another UE's, no exception."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from epc.dataplane.forwarder import Forwarder, UnknownTeid
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session, UeIpAddress, Urr
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Address
from epc.wire import gtpu
from epc.wire.errors import WireError
from tests.dataplane import flows
from tests.dataplane.conftest import Bench, Wire

pytestmark = pytest.mark.virtual_clock

UE4, UE6, OTHER, SERVER4, SERVER6 = "45.45.0.2", "2001:db8:1::7", "45.45.0.3", "10.200.0.1", "2001:db8:9::1"
ENB = Address("10.0.0.11", 2152)
QUIET = (gtpu.EchoResponse, gtpu.EndMarker, gtpu.ErrorIndication, gtpu.SupportedExtensionHeadersNotification)
Mutation = Callable[[random.Random, bytearray], None]


def flip(chance: random.Random, octets: bytearray) -> None:
    octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)


def overwrite(chance: random.Random, octets: bytearray) -> None:
    octets[chance.randrange(len(octets))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def cut(chance: random.Random, octets: bytearray) -> None:
    del octets[chance.randrange(len(octets)):]


def cut_and_say_so(chance: random.Random, octets: bytearray) -> None:
    del octets[chance.randrange(8, len(octets) + 1) if len(octets) > 8 else 8:]
    octets[2:4] = struct.pack(">H", max(len(octets) - 8, 0))


def lengthen(chance: random.Random, octets: bytearray) -> None:
    octets += chance.randbytes(chance.randrange(1, 9))
    if chance.random() < 0.5:
        octets[2:4] = struct.pack(">H", max(len(octets) - 8, 0))


def flags(chance: random.Random, octets: bytearray) -> None:
    octets[0] = 0x30 | chance.randrange(16)


def length(chance: random.Random, octets: bytearray) -> None:
    octets[2:4] = struct.pack(">H", chance.choice((0, 1, len(octets), max(len(octets) - 9, 0), 0xFFFF, chance.randrange(0x10000))))


def remove(chance: random.Random, octets: bytearray) -> None:
    at = chance.randrange(len(octets))
    del octets[at:at + chance.randrange(1, 5)]


MUTATIONS: tuple[Mutation, ...] = (flip, overwrite, cut, cut_and_say_so, lengthen, flags, length, remove)


def corpus(teid: int) -> list[bytes]:
    packets = [
        flows.udp(UE4, 40000, SERVER4, 7, b"hello"), flows.udp(UE6, 40000, SERVER6, 7, b"hello"), flows.udp(UE4, 40000, OTHER, 7, b"neighbour"),
        flows.tcp(UE4, 40000, SERVER4, 443, seq=1, data=flows.client_hello("video.example")[:300]),
        flows.udp(UE4, 5353, SERVER4, 53, flows.dns_query("video.example")), flows.udp(OTHER, 1, SERVER4, 7, b"spoofed"),
    ]
    heads: list[dict[str, object]] = [
        {}, {"sequence": 0xABCD}, {"n_pdu_number": 7}, {"sequence": 1, "extension_headers": (gtpu.pdcp_pdu_number(5), gtpu.udp_port(2152))},
        {"extension_headers": (gtpu.long_pdcp_pdu_number(77), gtpu.service_class_indicator(3))},
    ]
    messages = [gtpu.encode(gtpu.GPdu(payload=packet), teid=teid, **head) for packet in packets for head in heads]    # type: ignore[arg-type]
    return [
        *messages, gtpu.encode(gtpu.EchoRequest(), sequence=9), gtpu.encode(gtpu.EndMarker(), teid=teid),
        gtpu.encode(gtpu.ErrorIndication(teid=0x50000001, peer_address=IPv4Address(ENB.host))),
        gtpu.encode(gtpu.SupportedExtensionHeadersNotification(types=(0x40, 0xC0))),
    ]


class Target:
    """A forwarder, and how often each thing happened that can become of a datagram."""

    def __init__(self, forwarder: Forwarder) -> None:
        assert isinstance(forwarder, SocketForwarder)
        self.forwarder = forwarder
        self.port = forwarder._ports[Interface.ACCESS]
        self.sent: list[bytes] = []
        self.port.send = lambda message, to: self.sent.append(message)      # type: ignore[method-assign]

    def outcomes(self) -> tuple[int, int, int]:
        statistics = self.forwarder.statistics()
        return sum(statistics.drops.values()), statistics.usage.uplink_packets, statistics.echo_requests_received

    def feed(self, datagram: bytes) -> None:
        """One thing, and one thing only, becomes of it."""
        before = self.outcomes()
        self.port.receive(datagram, ENB)
        changed = [after - earlier for earlier, after in zip(before, self.outcomes(), strict=True)]
        if changed == [0, 0, 0]:
            message = gtpu.decode(datagram).message             # what neither counts nor goes on is a message that wants nothing
            assert isinstance(message, QUIET), datagram.hex()
        else:
            assert sum(changed) == 1 or changed == [1, 1, 0], (changed, datagram.hex())      # sent on, and dropped by its receiver's rules


@pytest.mark.parametrize("seed", range(4))
async def test_spoilt_gpdus_at_a_pgw(bench: Bench, wire: Wire, seed: int) -> None:
    forwarder = await bench.forwarder(access=True)
    bench.connect(forwarder, "internet", wire)
    target = Target(forwarder)
    up = forwarder.allocate_f_teid(Interface.ACCESS)
    for number, ue in ((1, UeIpAddress(ipv4=IPv4Address(UE4), ipv6_prefix=UeIpAddress.parse(UE6).ipv6_prefix)), (2, UeIpAddress.parse(OTHER))):
        tunnel = up if number == 1 else forwarder.allocate_f_teid(Interface.ACCESS)
        forwarder.install(Session(
            id=number, urrs=(Urr(id=1),),
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=tunnel, ue_ip_address=ue, far_id=1, urr_ids=(1,), application_id=None),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2),
                  Pdr(id=3, precedence=9, source_interface=Interface.ACCESS, local_f_teid=tunnel, ue_ip_address=ue, far_id=1, application_id="x")),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                      outer_header_creation=FTeid(teid=0x50000000 + number, address=ENB.host))),
        ))
    chance, good = random.Random(seed), corpus(up.teid)
    for datagram in good:
        target.feed(datagram)
    for _ in range(5000):
        spoilt = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if spoilt:
                chance.choice(MUTATIONS)(chance, spoilt)
        target.feed(bytes(spoilt))
    assert len(wire.received) > 200
    own4, own6 = IPv4Address(UE4).packed, IPv6Address(UE6).packed[:8]
    to_neighbour = [message for message in target.sent if message[1] == 0xFF]
    for packet in (*wire.received, *(message[8:] for message in to_neighbour)):
        if packet[0] >> 4 == 4:
            assert packet[12:16] == own4 or packet[12:16] == IPv4Address(OTHER).packed
            assert int.from_bytes(packet[2:4]) == len(packet)
        else:
            assert packet[8:16] == own6
            assert int.from_bytes(packet[4:6]) + 40 == len(packet)
    assert {message[4:8] for message in to_neighbour} <= {bytes.fromhex("50000001"), bytes.fromhex("50000002")}
    for message in target.sent:
        gtpu.decode(message)            # what we answer is well-formed, whatever was asked
    assert {type(event) for event in bench.events} <= {UnknownTeid, *(type(event) for event in bench.events if hasattr(event, "session_id"))}


@pytest.mark.parametrize("seed", range(2))
async def test_spoilt_gpdus_at_an_sgw(bench: Bench, seed: int) -> None:
    """It does not look into the users' packets, so they go on as they are: to the one tunnel, or nowhere."""
    forwarder = await bench.forwarder(access=True, core=True)
    target = Target(forwarder)
    relayed: list[bytes] = []
    forwarder._ports[Interface.CORE].send = lambda message, to: relayed.append(message)       # type: ignore[attr-defined]
    up, pgw = forwarder.allocate_f_teid(Interface.ACCESS), FTeid(teid=0xA0000001, address="10.0.0.12")
    forwarder.install(Session(
        id=1, pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, far_id=1),),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=pgw),),
    ))
    chance, good = random.Random(100 + seed), corpus(up.teid)
    for _ in range(5000):
        spoilt = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 2))):
            if spoilt:
                chance.choice(MUTATIONS)(chance, spoilt)
        sent_before = len(relayed)
        target.feed(bytes(spoilt))
        for message in relayed[sent_before:]:
            packet = gtpu.decode(message)
            assert packet.teid == pgw.teid
            if isinstance(packet.message, gtpu.GPdu):
                assert packet.message.payload == _payload(bytes(spoilt))
    assert len(relayed) > 200


def _payload(datagram: bytes) -> bytes:
    try:
        message = gtpu.decode(datagram).message
    except WireError:
        return b""
    return message.payload if isinstance(message, gtpu.GPdu) else b""
