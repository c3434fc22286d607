"""What every back end must do with packets: the rules of TS 29.281 and TS 29.244, one behaviour a test."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest

from epc.dataplane.forwarder import DownlinkData, DropReason, EndMarker, ErrorIndication, Forwarder, UnknownTeid, UsageReport, UsageTrigger
from epc.dataplane.ip_packet import checksum
from epc.dataplane.rules import (
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Gate,
    Interface,
    Pdr,
    Qer,
    RuleError,
    SdfFilter,
    Session,
    SessionChange,
    UeIpAddress,
    Urr,
    Usage,
)
from tests.dataplane import flows

if TYPE_CHECKING:
    from conftest import Bench, Peer, Wire

pytestmark = pytest.mark.virtual_clock

UE = "45.45.0.2"
SERVER = "10.200.0.1"
Packet = Callable[..., bytes]


class Sgw:
    """An SGW with one default bearer between an eNodeB and a PGW that the test plays."""

    def __init__(self, forwarder: Forwarder, enb: Peer, pgw: Peer) -> None:
        self.forwarder, self.enb, self.pgw = forwarder, enb, pgw
        self.s1u_sgw = forwarder.allocate_f_teid(Interface.ACCESS)
        self.s5u_sgw = forwarder.allocate_f_teid(Interface.CORE)
        self.s1u_enb = FTeid(teid=0xE0000001, address=enb.host)
        self.s5u_pgw = FTeid(teid=0xA0000001, address=pgw.host)

    def session(self, downlink: ApplyAction = ApplyAction.FORWARD) -> Session:
        return Session(
            id=1,
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=self.s1u_sgw, far_id=1, urr_ids=(1,)),
                Pdr(id=2, source_interface=Interface.CORE, local_f_teid=self.s5u_sgw, far_id=2, urr_ids=(1,)),
            ),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=self.s5u_pgw),
                  self.downlink_far(downlink)),
            urrs=(Urr(id=1),),
        )

    def downlink_far(self, action: ApplyAction) -> Far:
        return Far(
            id=2, apply_action=action, destination_interface=Interface.ACCESS,
            outer_header_creation=self.s1u_enb if ApplyAction.FORWARD in action else None,
        )


@pytest.fixture
async def sgw(bench: Bench) -> Sgw:
    forwarder = await bench.forwarder(access=True, core=True)
    return Sgw(forwarder, await bench.peer(bench.enb_host), await bench.peer(bench.pgw_host))


class Pgw:
    """A PGW with one default bearer between an SGW that the test plays and SGi."""

    def __init__(self, forwarder: Forwarder, sgw: Peer, sgi: Wire) -> None:
        self.forwarder, self.sgw, self.sgi = forwarder, sgw, sgi
        self.s5u_pgw = forwarder.allocate_f_teid(Interface.ACCESS)
        self.s5u_sgw = FTeid(teid=0x50000001, address=sgw.host)

    def session(self, ue: UeIpAddress | None = None) -> Session:
        ue = ue or UeIpAddress.parse(UE)
        return Session(
            id=1,
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=self.s5u_pgw, ue_ip_address=ue, far_id=1, qer_ids=(1,), urr_ids=(1,)),
                Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2, qer_ids=(1,), urr_ids=(1,)),
            ),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, network_instance="internet"),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=self.s5u_sgw)),
            qers=(Qer(id=1),),
            urrs=(Urr(id=1),),
        )

    @property
    def drops(self) -> dict[DropReason, int]:
        return {reason: count for reason, count in self.forwarder.statistics().drops.items() if count}


@pytest.fixture
async def pgw(bench: Bench, wire: Wire) -> Pgw:
    forwarder = await bench.forwarder(access=True)
    bench.connect(forwarder, "internet", wire)
    return Pgw(forwarder, await bench.peer(bench.enb_host), wire)


def drops(forwarder: Forwarder) -> dict[DropReason, int]:
    return {reason: count for reason, count in forwarder.statistics().drops.items() if count}


# An SGW: tunnel to tunnel


async def test_relays_both_ways_with_the_new_teid_and_counts_user_octets(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    up = [ipv4(UE, SERVER, b"u" * size) for size in (0, 1, 100, 1372)]
    down = [ipv4(SERVER, UE, b"d" * size) for size in (7, 1000)]
    for packet in up:
        sgw.enb.send(gpdu(sgw.s1u_sgw.teid, packet), bench.access_host)
    for packet in down:
        sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, packet), bench.core_host)
    await bench.settle()
    assert sgw.pgw.received == [gpdu(sgw.s5u_pgw.teid, packet) for packet in up]
    assert sgw.enb.received == [gpdu(sgw.s1u_enb.teid, packet) for packet in down]
    seen = Usage(uplink_packets=4, uplink_octets=sum(map(len, up)), downlink_packets=2, downlink_octets=sum(map(len, down)))
    assert sgw.forwarder.usage(1) == {1: seen}
    assert sgw.forwarder.statistics().usage == seen
    assert sgw.forwarder.remove(1) == {1: seen}
    assert sgw.forwarder.statistics().usage == seen
    assert sgw.forwarder.statistics().sessions == 0


async def test_removed_session_gets_error_indication(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    sgw.forwarder.remove(1)
    sgw.enb.send(gpdu(sgw.s1u_sgw.teid, ipv4(UE, SERVER)), bench.access_host)
    await bench.settle()
    assert sgw.pgw.received == []
    # S flag set, TEID 0, TEID Data I and GTP-U Peer Address of the G-PDU's destination: TS 29.281 clause 7.3.1
    address = bytes(map(int, bench.access_host.split(".")))
    expected = struct.pack(">BBHIHH", 0x32, 26, 16, 0, 0, 0) + b"\x10" + sgw.s1u_sgw.teid.to_bytes(4) + b"\x85\x00\x04" + address
    assert sgw.enb.received == [expected]
    assert bench.events == [UnknownTeid(interface=Interface.ACCESS, peer=bench.enb_host, teid=sgw.s1u_sgw.teid)]
    assert sgw.forwarder.statistics().error_indications_sent == 1


async def test_teid_zero_gets_no_error_indication(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.enb.send(gpdu(0, ipv4(UE, SERVER)), bench.access_host)
    await bench.settle()
    assert sgw.enb.received == []
    assert drops(sgw.forwarder) == {DropReason.UNKNOWN_TEID: 1}


async def test_tunnel_of_one_side_is_unknown_on_the_other(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    stray = 0x1234567
    assert stray not in (sgw.s1u_sgw.teid, sgw.s5u_sgw.teid)
    sgw.pgw.send(gpdu(stray, ipv4(SERVER, UE)), bench.core_host)
    await bench.settle()
    assert sgw.enb.received == []
    assert sgw.pgw.received[0][1] == 26


async def test_buffers_for_an_idle_ue_raises_one_event_and_delivers_in_order(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session(ApplyAction.BUFFER | ApplyAction.NOTIFY_CP))
    packets = [ipv4(SERVER, UE, bytes([number]), tos=46 << 2) for number in range(6)]
    for packet in packets:
        sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, packet), bench.core_host)
    await bench.settle()
    assert sgw.enb.received == []
    assert bench.events == [DownlinkData(session_id=1, pdr_id=2, far_id=2, dscp=46)]
    assert sgw.forwarder.statistics().buffered_packets == 4
    assert drops(sgw.forwarder) == {DropReason.BUFFER_FULL: 2}
    assert sgw.forwarder.usage(1)[1].downlink_packets == 0
    sgw.forwarder.modify(1, SessionChange(fars=(sgw.downlink_far(ApplyAction.FORWARD),)))
    await bench.settle()
    assert sgw.enb.received == [gpdu(sgw.s1u_enb.teid, packet) for packet in packets[:4]]
    assert sgw.forwarder.usage(1)[1].downlink_packets == 4
    assert sgw.forwarder.statistics().buffered_packets == 0


async def test_the_event_comes_again_when_the_ue_goes_idle_again(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    idle = SessionChange(fars=(sgw.downlink_far(ApplyAction.BUFFER | ApplyAction.NOTIFY_CP),))
    sgw.forwarder.install(sgw.session())
    for _ in range(2):
        sgw.forwarder.modify(1, idle)
        for _ in range(2):
            sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, ipv4(SERVER, UE)), bench.core_host)
        await bench.settle()
    assert len(bench.events) == 2
    assert sgw.forwarder.statistics().buffered_packets == 4


async def test_buffer_is_discarded_when_paging_fails_or_the_session_goes(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session(ApplyAction.BUFFER))
    sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, ipv4(SERVER, UE)), bench.core_host)
    await bench.settle()
    assert bench.events == []
    sgw.forwarder.modify(1, SessionChange(fars=(sgw.downlink_far(ApplyAction.DROP),)))
    assert drops(sgw.forwarder) == {DropReason.BUFFER_DISCARDED: 1}
    sgw.forwarder.modify(1, SessionChange(fars=(sgw.downlink_far(ApplyAction.BUFFER),)))
    sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, ipv4(SERVER, UE)), bench.core_host)
    await bench.settle()
    sgw.forwarder.remove(1)
    assert drops(sgw.forwarder) == {DropReason.BUFFER_DISCARDED: 2}
    assert sgw.enb.received == []


async def test_path_switch_sends_an_end_marker_on_the_old_tunnel_first(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    target = FTeid(teid=0xE0000002, address=bench.enb_host)
    far = Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=target)
    sgw.forwarder.modify(1, SessionChange(fars=(far,), end_markers=(2,)))
    packet = ipv4(SERVER, UE)
    sgw.pgw.send(gpdu(sgw.s5u_sgw.teid, packet), bench.core_host)
    await bench.settle()
    assert sgw.enb.received == [struct.pack(">BBHI", 0x30, 254, 0, sgw.s1u_enb.teid), gpdu(target.teid, packet)]


async def test_end_marker_is_passed_on(bench: Bench, sgw: Sgw) -> None:
    sgw.forwarder.install(sgw.session())
    sgw.pgw.send(struct.pack(">BBHI", 0x30, 254, 0, sgw.s5u_sgw.teid), bench.core_host)
    sgw.pgw.send(struct.pack(">BBHI", 0x30, 254, 0, 0x7777), bench.core_host)
    await bench.settle()
    assert sgw.enb.received == [struct.pack(">BBHI", 0x30, 254, 0, sgw.s1u_enb.teid)]
    assert sgw.pgw.received == []       # no Error Indication for an End Marker
    assert bench.events == []


async def test_error_indication_from_the_enb_names_session_and_far(bench: Bench, sgw: Sgw) -> None:
    sgw.forwarder.install(sgw.session())
    address = bytes(map(int, bench.enb_host.split(".")))
    udp_port = b"\x01\x08\x68\x00"      # extension header UDP Port, which a real sender may add
    body = b"\x10" + sgw.s1u_enb.teid.to_bytes(4) + b"\x85\x00\x04" + address
    sgw.enb.send(struct.pack(">BBHIHBB", 0x36, 26, 8 + len(body), 0, 0, 0, 0x40) + udp_port + body, bench.access_host)
    unrelated = b"\x10\x00\x00\x00\x09\x85\x00\x04" + address
    sgw.enb.send(struct.pack(">BBHIHH", 0x32, 26, 4 + len(unrelated), 0, 0, 0) + unrelated, bench.access_host)
    await bench.settle()
    assert bench.events == [ErrorIndication(session_id=1, far_id=2, tunnel=sgw.s1u_enb)]
    assert sgw.forwarder.statistics().error_indications_received == 2


async def test_error_indication_names_the_session_that_has_the_tunnel_now(bench: Bench, sgw: Sgw) -> None:
    """An eNodeB that has restarted, or lost a UE, gives TEIDs to others before the SGW has heard of it."""
    sgw.forwarder.install(sgw.session())
    downlink = Pdr(id=2, source_interface=Interface.CORE, local_f_teid=sgw.forwarder.allocate_f_teid(Interface.CORE), far_id=2)
    sgw.forwarder.install(Session(id=2, pdrs=(downlink,), fars=(sgw.downlink_far(ApplyAction.FORWARD),)))
    sgw.forwarder.remove(1)
    body = b"\x10" + sgw.s1u_enb.teid.to_bytes(4) + b"\x85\x00\x04" + IPv4Address(bench.enb_host).packed
    sgw.enb.send(struct.pack(">BBHIHH", 0x32, 26, 4 + len(body), 0, 0, 0) + body, bench.access_host)
    await bench.settle()
    assert bench.events == [ErrorIndication(session_id=2, far_id=2, tunnel=sgw.s1u_enb)]


async def test_optional_header_parts_are_relayed(bench: Bench, sgw: Sgw, ipv4: Packet) -> None:
    """Sequence number and PDCP PDU number pass through an SGW; an extension header of type 01xxxxxx stays (TS 29.281 clause 5.2.1)."""
    sgw.forwarder.install(sgw.session())
    packet = ipv4(UE, SERVER)

    def optional(teid: int, next_type: int, extensions: bytes) -> bytes:
        return struct.pack(">BBHIHBB", 0x36, 0xFF, 4 + len(extensions) + len(packet), teid, 0xABCD, 0, next_type) + extensions + packet

    pdcp, unknown_optional, stays_here = b"\x01\x00\x05", b"\x01\x01\x02", b"\x01\x08\x68"
    sgw.enb.send(optional(sgw.s1u_sgw.teid, 0xC0, pdcp + b"\x3F" + unknown_optional + b"\x00"), bench.access_host)
    sgw.enb.send(optional(sgw.s1u_sgw.teid, 0x40, stays_here + b"\xC0" + pdcp + b"\x00"), bench.access_host)
    await bench.settle()
    assert sgw.pgw.received == [
        optional(sgw.s5u_pgw.teid, 0xC0, pdcp + b"\x3F" + unknown_optional + b"\x00"),
        optional(sgw.s5u_pgw.teid, 0xC0, pdcp + b"\x00"),
    ]
    assert sgw.forwarder.usage(1)[1] == Usage(uplink_packets=2, uplink_octets=2 * len(packet))


_PDCP, _UDP_PORT = b"\x01\x00\x05", b"\x01\x08\x68"


@pytest.mark.parametrize("flags", range(8), ids=lambda flags: "".join(name for bit, name in ((4, "E"), (2, "S"), (1, "PN")) if flags & bit) or "none")
async def test_every_combination_of_flags(bench: Bench, sgw: Sgw, ipv4: Packet, flags: int) -> None:
    """Any flag brings all three fields; those without their flag are not to be looked at (TS 29.281 clause 5.1)."""
    sgw.forwarder.install(sgw.session())
    packet = ipv4(UE, SERVER, bytes(64))
    extension = _PDCP + b"\x00" if flags & 4 else b""
    optional = struct.pack(">HBB", 0xABCD, 0x11, 0xC0) + extension if flags else b""         # without E, 0xC0 announces nothing

    def message(teid: int) -> bytes:
        return struct.pack(">BBHI", 0x30 | flags, 0xFF, len(optional) + len(packet), teid) + optional + packet

    sgw.enb.send(message(sgw.s1u_sgw.teid), bench.access_host)
    await bench.settle()
    assert sgw.pgw.received == [message(sgw.s5u_pgw.teid)]
    assert sgw.forwarder.usage(1)[1] == Usage(uplink_packets=1, uplink_octets=len(packet))


@pytest.mark.parametrize("flags", range(8))
async def test_pgw_takes_off_every_combination_of_flags(bench: Bench, pgw: Pgw, ipv4: Packet, flags: int) -> None:
    pgw.forwarder.install(pgw.session())
    packet = ipv4(UE, SERVER, bytes(64))
    extension = _UDP_PORT + b"\xC0" + _PDCP + b"\x00" if flags & 4 else b""
    optional = struct.pack(">HBB", 0xABCD, 0x11, 0x40) + extension if flags else b""
    message = struct.pack(">BBHI", 0x30 | flags, 0xFF, len(optional) + len(packet), pgw.s5u_pgw.teid) + optional + packet
    pgw.sgw.send(message, bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == [packet]
    assert pgw.forwarder.usage(1)[1] == Usage(uplink_packets=1, uplink_octets=len(packet))


async def test_counters_are_the_octets_that_receivers_saw(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    """Packets of all sizes, some of which a rate or a gate stops."""
    ue = UeIpAddress(ipv4=IPv4Address(UE), ipv6_prefix=UeIpAddress.parse("2001:db8:1::/64").ipv6_prefix)
    pgw.forwarder.install(pgw.session(ue))
    pgw.forwarder.modify(1, SessionChange(qers=(Qer(id=1, uplink_mbr_bps=500_000, downlink_mbr_bps=500_000),)))
    chance = random.Random(3)
    for number in range(300):
        payload = bytes(chance.randrange(1372))
        v4, v6 = (UE, SERVER), ("2001:db8:1::7", "2001:db8:9::1")
        ends, build = chance.choice(((v4, ipv4), (v6, ipv6)))
        if chance.random() < 0.5:
            pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, build(*ends, payload[:1352])), bench.access_host)
        else:
            pgw.sgi.on_packet(build(*reversed(ends), payload[:1352]))
        if number % 20 == 0:
            await bench.settle()
    await bench.settle()
    seen = Usage(
        uplink_packets=len(pgw.sgi.received), uplink_octets=sum(map(len, pgw.sgi.received)),
        downlink_packets=len(pgw.sgw.received), downlink_octets=sum(len(message) - 8 for message in pgw.sgw.received),
    )
    assert pgw.forwarder.usage(1)[1] == pgw.forwarder.statistics().usage == seen
    assert seen.uplink_packets + seen.downlink_packets + pgw.drops[DropReason.RATE_EXCEEDED] == 300
    assert pgw.drops[DropReason.RATE_EXCEEDED] > 10


async def test_extension_header_only_the_endpoint_must_understand_passes_the_sgw(bench: Bench, sgw: Sgw, ipv4: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    packet = ipv4(UE, SERVER)
    for kind in (0x85, 0xC5):       # comprehension required by the endpoint; by everybody
        header = struct.pack(">BBHIHBB", 0x34, 0xFF, 8 + len(packet), sgw.s1u_sgw.teid, 0, 0, kind) + b"\x01\x10\x09\x00"
        sgw.enb.send(header + packet, bench.access_host)
    await bench.settle()
    assert len(sgw.pgw.received) == 1
    assert [message[1] for message in sgw.enb.received] == [31]     # Supported Extension Headers Notification
    assert drops(sgw.forwarder) == {DropReason.EXTENSION_HEADER: 1}


async def test_echo_request_is_answered_to_the_asking_port(bench: Bench, sgw: Sgw) -> None:
    asking = await bench.peer(bench.enb_host, 40000)
    asking.send(struct.pack(">BBHIHH", 0x32, 1, 4, 0, 0xBEEF, 0), bench.access_host)
    await bench.settle()
    assert asking.received == [struct.pack(">BBHIHH", 0x32, 2, 6, 0, 0xBEEF, 0) + b"\x0e\x00"]
    assert sgw.forwarder.statistics().echo_requests_received == 1


async def test_echo_measures_the_round_trip_and_times_out(bench: Bench, seconds: Callable[[], float]) -> None:
    ours = await bench.forwarder(access=True)
    bench.access_host = "10.0.0.21"
    await bench.forwarder(access=True)
    assert await ours.echo(Interface.ACCESS, "10.0.0.21") == pytest.approx(0.002, abs=0.002)
    before = seconds()
    with pytest.raises(TimeoutError):
        await ours.echo(Interface.ACCESS, "10.0.0.99", timeout_s=0.2, attempts=3)
    assert seconds() - before == pytest.approx(0.6, abs=0.1)


# A PGW: tunnel to SGi


async def test_pgw_takes_the_tunnel_off_and_puts_it_on(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    pgw.forwarder.install(pgw.session())
    up, down = ipv4(UE, SERVER, b"up"), ipv4(SERVER, UE, b"down!")
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, up), bench.access_host)
    with_sequence = struct.pack(">BBHIHH", 0x32, 0xFF, 4 + len(up), pgw.s5u_pgw.teid, 7, 0) + up
    pgw.sgw.send(with_sequence, bench.access_host)
    pgw.sgi.on_packet(down)
    await bench.settle()
    assert pgw.sgi.received == [up, up]
    assert pgw.sgw.received == [gpdu(pgw.s5u_sgw.teid, down)]
    assert pgw.forwarder.usage(1)[1] == Usage(uplink_packets=2, uplink_octets=2 * len(up), downlink_packets=1, downlink_octets=len(down))


async def test_spoofed_source_is_dropped_and_counted(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    pgw.forwarder.install(pgw.session())
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4("45.45.0.3", SERVER)), bench.access_host)
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv6("2001:db8::1", "2001:db8:9::1")), bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == []
    assert pgw.drops == {DropReason.SPOOFED_SOURCE: 2}


async def test_dual_stack_ue_is_known_by_both_addresses(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    ue = UeIpAddress(ipv4=UeIpAddress.parse(UE).ipv4, ipv6_prefix=UeIpAddress.parse("2001:db8:1::/64").ipv6_prefix)
    pgw.forwarder.install(pgw.session(ue))
    up4, up6 = ipv4(UE, SERVER), ipv6("2001:db8:1::77", "2001:db8:9::1")
    for packet in (up4, up6, ipv6("2001:db8:2::77", "2001:db8:9::1")):
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, packet), bench.access_host)
    down4, down6 = ipv4(SERVER, UE), ipv6("2001:db8:9::1", "2001:db8:1::77")
    for packet in (down4, down6, ipv6("2001:db8:9::1", "2001:db8:2::77")):
        pgw.sgi.on_packet(packet)
    await bench.settle()
    assert pgw.sgi.received == [up4, up6]
    assert pgw.sgw.received == [gpdu(pgw.s5u_sgw.teid, down4), gpdu(pgw.s5u_sgw.teid, down6)]
    assert pgw.drops == {DropReason.SPOOFED_SOURCE: 1, DropReason.UNKNOWN_UE_ADDRESS: 1}


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda packet: b"", DropReason.TRUNCATED),
    (lambda packet: packet[:19], DropReason.TRUNCATED),
    (lambda packet: packet[:-1], DropReason.WRONG_LENGTH),
    (lambda packet: packet + b"\0", DropReason.WRONG_LENGTH),
    (lambda packet: b"\x4F" + packet[1:20], DropReason.WRONG_LENGTH),
    (lambda packet: b"\x41" + packet[1:], DropReason.WRONG_LENGTH),
    (lambda packet: b"\x55" + packet[1:], DropReason.NOT_IP),
    (lambda packet: b"\x60" + packet[1:30], DropReason.TRUNCATED),
    (lambda packet: b"\x60" + bytes(60), DropReason.WRONG_LENGTH),
], ids=["empty", "short header", "short", "long", "header longer than packet", "header too short", "version 5", "short v6", "v6 length"])
async def test_inner_packet_that_is_no_ip_packet(
    bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet, spoil: Callable[[bytes], bytes], reason: DropReason,
) -> None:
    pgw.forwarder.install(pgw.session())
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, spoil(ipv4(UE, SERVER))), bench.access_host)
    from_sgi = spoil(ipv4(SERVER, UE))
    can_arrive = not bench.link_is_ethernet or 0 < len(from_sgi) <= len(ipv4(SERVER, UE))      # more is padding there
    if can_arrive:
        pgw.sgi.on_packet(from_sgi)
    await bench.settle()
    assert pgw.drops == {reason: 2 if can_arrive else 1}
    assert pgw.sgi.received == pgw.sgw.received == []


@pytest.mark.parametrize(("datagram", "reason"), [
    (b"", DropReason.TRUNCATED),
    (b"\x30\xFF\x00", DropReason.TRUNCATED),
    (struct.pack(">BBHI", 0x30, 0xFF, 100, 1) + b"x", DropReason.TRUNCATED),
    (struct.pack(">BBHI", 0x30, 0xFF, 0, 1) + b"x", DropReason.WRONG_LENGTH),
    (struct.pack(">BBHI", 0x50, 0xFF, 1, 1) + b"x", DropReason.WRONG_VERSION),
    (struct.pack(">BBHI", 0x20, 0xFF, 1, 1) + b"x", DropReason.WRONG_VERSION),
    (struct.pack(">BBHI", 0x32, 0xFF, 1, 1) + b"x", DropReason.TRUNCATED),
    (struct.pack(">BBHIHBB", 0x34, 0xFF, 4, 1, 0, 0, 0x85), DropReason.TRUNCATED),
    (struct.pack(">BBHIHBB", 0x34, 0xFF, 8, 1, 0, 0, 0x85) + b"\x00\x00\x00\x00", DropReason.TRUNCATED),
    (struct.pack(">BBHIHBB", 0x34, 0xFF, 8, 1, 0, 0, 0x85) + b"\x02\x00\x00\x00", DropReason.TRUNCATED),
    (struct.pack(">BBHI", 0x30, 77, 0, 1), DropReason.UNKNOWN_MESSAGE),
    (struct.pack(">BBHIHH", 0x32, 26, 4, 0, 0, 0), DropReason.MALFORMED_ELEMENT),
    (struct.pack(">BBHIHH", 0x32, 26, 5, 0, 0, 0) + b"\x10", DropReason.MALFORMED_ELEMENT),
    (struct.pack(">BBHIHH", 0x32, 26, 6, 0, 0, 0) + b"\x85\xFF", DropReason.MALFORMED_ELEMENT),
    (struct.pack(">BBHIHH", 0x32, 26, 5, 0, 0, 0) + b"\x7F", DropReason.MALFORMED_ELEMENT),
    (struct.pack(">BBHI", 0x30, 0xFF, 0, 0), DropReason.TRUNCATED),
], ids=lambda value: value.hex()[:24] if isinstance(value, bytes) else value.value)
async def test_bad_datagrams_are_counted_by_reason(bench: Bench, pgw: Pgw, datagram: bytes, reason: DropReason) -> None:
    pgw.sgw.send(datagram, bench.access_host)
    await bench.settle()
    assert pgw.drops == {reason: 1}
    assert pgw.sgw.received == []


async def test_garbage_never_harms_and_is_all_accounted_for(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    """Random octets and mutated G-PDUs: each is forwarded whole, answered or counted, and the next good packet gets through."""
    pgw.forwarder.install(pgw.session())
    chance = random.Random(29281)
    good = gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER))
    sent = 3000
    for number in range(sent):
        if number % 2:
            datagram = chance.randbytes(chance.randrange(0, 80))
        else:
            spoilt = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                spoilt[chance.randrange(0, 28)] = chance.randrange(256)
            datagram = bytes(spoilt[:chance.randrange(len(spoilt) // 2, len(spoilt) + 1)])
        pgw.sgw.send(datagram, bench.access_host)
        if number % 100 == 0:
            await bench.settle()        # no more under way than buffers hold
    await bench.settle()
    statistics = pgw.forwarder.statistics()
    quiet_messages = sent - sum(statistics.drops.values()) - statistics.usage.uplink_packets - statistics.echo_requests_received
    assert 0 <= quiet_messages < 20     # Echo Response, Supported Extension Headers Notification, End Marker hit by chance
    assert len(pgw.sgi.received) == statistics.usage.uplink_packets
    for packet in pgw.sgi.received:
        assert packet[12:16] == bytes((45, 45, 0, 2))
        assert int.from_bytes(packet[2:4]) == len(packet)
    pgw.sgi.received.clear()
    pgw.sgw.send(good, bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == [good[8:]]


async def test_downlink_for_nobody_is_counted(bench: Bench, pgw: Pgw, ipv4: Packet) -> None:
    pgw.forwarder.install(pgw.session())
    pgw.sgi.on_packet(ipv4(SERVER, "45.45.0.9"))
    await bench.settle()
    assert pgw.drops == {DropReason.UNKNOWN_UE_ADDRESS: 1}


async def test_closed_gate_stops_its_direction_only(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    pgw.forwarder.install(pgw.session())
    pgw.forwarder.modify(1, SessionChange(qers=(Qer(id=1, uplink_gate=Gate.CLOSED),)))
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER)), bench.access_host)
    pgw.sgi.on_packet(ipv4(SERVER, UE))
    await bench.settle()
    assert pgw.sgi.received == []
    assert len(pgw.sgw.received) == 1
    assert pgw.drops == {DropReason.GATE_CLOSED: 1}
    pgw.forwarder.modify(1, SessionChange(qers=(Qer(id=1),)))
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER)), bench.access_host)
    await bench.settle()
    assert len(pgw.sgi.received) == 1


async def test_sdf_filters_choose_the_bearer_by_precedence(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    """A dedicated bearer takes its flow, the default bearer the rest."""
    ue = UeIpAddress.parse(UE)
    dedicated = FTeid(teid=0x50000002, address=bench.enb_host)
    sdf = SdfFilter.from_flow_description("permit out 17 from 10.200.0.0/16 5060-5070 to assigned 40000")
    pgw.forwarder.install(pgw.session())
    pgw.forwarder.modify(1, SessionChange(
        pdrs=(Pdr(
            id=3, precedence=10, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, sdf_filters=(sdf,), far_id=3,
        ),),
        fars=(Far(id=3, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=dedicated),),
    ))
    flow = ipv4(SERVER, UE, sport=5061, dport=40000)
    others = [
        ipv4(SERVER, UE, sport=5071, dport=40000),
        ipv4(SERVER, UE, sport=5061, dport=40001),
        ipv4("10.201.0.1", UE, sport=5061, dport=40000),
        ipv4(SERVER, UE, sport=5061, dport=40000, protocol=6),
    ]
    for packet in (flow, *others):
        pgw.sgi.on_packet(packet)
    await bench.settle()
    assert pgw.sgw.received == [gpdu(dedicated.teid, flow), *(gpdu(pgw.s5u_sgw.teid, packet) for packet in others)]


async def test_uplink_outside_the_bearers_filters_is_dropped(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    session = pgw.session()
    sdf = SdfFilter(remote=IPv4Network("10.200.0.0/16"), protocol=17, remote_ports=(53, 53))
    uplink = Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=pgw.s5u_pgw, ue_ip_address=UeIpAddress.parse(UE), sdf_filters=(sdf,), far_id=1)
    pgw.forwarder.install(Session(id=1, pdrs=(uplink,), fars=session.fars))
    for port in (53, 54):
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER, dport=port)), bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == [ipv4(UE, SERVER, dport=53)]
    assert pgw.drops == {DropReason.NO_MATCHING_RULE: 1}


async def test_end_marker_at_the_tunnels_end_is_an_event(bench: Bench, pgw: Pgw) -> None:
    pgw.forwarder.install(pgw.session())
    pgw.sgw.send(struct.pack(">BBHI", 0x30, 254, 0, pgw.s5u_pgw.teid), bench.access_host)
    await bench.settle()
    assert bench.events == [EndMarker(session_id=1, pdr_id=1)]


async def test_no_packet_of_one_ue_reaches_another(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    tunnels = {}
    for number in range(2, 52):
        ue = UeIpAddress.parse(f"45.45.0.{number}")
        up, down = pgw.forwarder.allocate_f_teid(Interface.ACCESS), FTeid(teid=0x60000000 + number, address=bench.enb_host)
        tunnels[number] = (up.teid, down.teid)
        pgw.forwarder.install(Session(
            id=number,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=down)),
        ))
    assert len({up for up, _ in tunnels.values()}) == 50
    for number, (up_teid, _) in tunnels.items():
        for other in tunnels:
            pgw.sgw.send(gpdu(up_teid, ipv4(f"45.45.0.{other}", SERVER, bytes((number,)))), bench.access_host)
        pgw.sgi.on_packet(ipv4(SERVER, f"45.45.0.{number}", bytes((number,))))
    await bench.settle()
    assert pgw.sgi.received == [ipv4(f"45.45.0.{number}", SERVER, bytes((number,))) for number in tunnels]
    assert pgw.sgw.received == [gpdu(down, ipv4(SERVER, f"45.45.0.{number}", bytes((number,)))) for number, (_, down) in tunnels.items()]
    assert pgw.drops == {DropReason.SPOOFED_SOURCE: 50 * 49}


# URRs: quotas stop packets, thresholds and times make reports


class Charged:
    """The PGW with one URR, and packets of 100 octets."""

    def __init__(self, bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
        self.bench, self.pgw = bench, pgw
        self.up_packet, self.down = ipv4(UE, SERVER, bytes(72)), ipv4(SERVER, UE, bytes(72))
        self.up = gpdu(pgw.s5u_pgw.teid, self.up_packet)

    def install(self, **urr: float | int | None) -> None:
        session = self.pgw.session()
        self.pgw.forwarder.install(dataclasses.replace(session, urrs=(Urr(id=1, **urr),)))     # type: ignore[arg-type]

    def grant(self, **urr: float | int | None) -> None:
        self.pgw.forwarder.modify(1, SessionChange(urrs=(Urr(id=1, **urr),)))                  # type: ignore[arg-type]

    def touch(self) -> None:
        """A change that has nothing to do with the URR."""
        self.pgw.forwarder.modify(1, SessionChange(qers=(Qer(id=1, uplink_mbr_bps=10**9),)))

    async def send(self, up: int = 0, down: int = 0) -> None:
        for _ in range(up):
            self.pgw.sgw.send(self.up, self.bench.access_host)
        for _ in range(down):
            self.pgw.sgi.on_packet(self.down)
        await self.bench.settle()

    @property
    def reports(self) -> list[tuple[UsageTrigger, int]]:
        """Why, and how many octets there were."""
        return [(event.trigger, event.usage.octets) for event in self.bench.events if isinstance(event, UsageReport)]

    @property
    def triggers(self) -> list[UsageTrigger]:
        return [trigger for trigger, _ in self.reports]

    @property
    def usage(self) -> Usage:
        return self.pgw.forwarder.usage(1)[1]


@pytest.fixture
def charged(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> Charged:
    return Charged(bench, pgw, ipv4, gpdu)


async def test_volume_quota_lets_the_packet_pass_that_uses_it_up_and_none_after_it(charged: Charged) -> None:
    charged.install(volume_quota_octets=250)
    await charged.send(up=2)
    assert charged.reports == []
    await charged.send(up=1)
    await charged.send(up=2, down=3)
    assert charged.reports == [(UsageTrigger.VOLUME_QUOTA, 300)]
    assert charged.pgw.drops == {DropReason.QUOTA_EXHAUSTED: 5}
    assert (len(charged.pgw.sgi.received), len(charged.pgw.sgw.received)) == (3, 0)


async def test_grant_counts_from_then_on_and_usage_goes_on(charged: Charged) -> None:
    charged.install(volume_quota_octets=200)
    await charged.send(up=1)
    charged.grant(volume_quota_octets=200)
    await charged.send(up=1)
    assert charged.reports == []
    await charged.send(down=1)
    assert charged.reports == [(UsageTrigger.VOLUME_QUOTA, 300)]
    charged.grant(volume_quota_octets=100)
    await charged.send(down=2)
    assert charged.reports == [(UsageTrigger.VOLUME_QUOTA, 300), (UsageTrigger.VOLUME_QUOTA, 400)]
    assert charged.usage == Usage(uplink_packets=2, uplink_octets=200, downlink_packets=2, downlink_octets=200)


async def test_change_of_other_rules_grants_nothing(charged: Charged) -> None:
    charged.install(volume_quota_octets=200, volume_threshold_octets=150)
    await charged.send(up=1)
    charged.touch()
    await charged.send(up=1)
    charged.touch()
    await charged.send(up=1)
    assert sorted(charged.reports, key=str) == [(UsageTrigger.VOLUME_QUOTA, 200), (UsageTrigger.VOLUME_THRESHOLD, 200)]
    assert charged.usage.octets == 200


async def test_with_no_quota_the_first_packet_asks(charged: Charged) -> None:
    charged.install(volume_quota_octets=0)
    assert charged.reports == []
    await charged.send(up=1, down=1)
    assert charged.reports == [(UsageTrigger.VOLUME_QUOTA, 0)]
    charged.grant(volume_quota_octets=1000)
    await charged.send(up=1)
    assert charged.usage.octets == 100
    assert charged.pgw.drops == {DropReason.QUOTA_EXHAUSTED: 2}


async def test_volume_threshold_reports_again_and_again_and_stops_nothing(charged: Charged) -> None:
    charged.install(volume_threshold_octets=250)
    for _ in range(4):
        await charged.send(up=1)
        await charged.send(down=1)
    assert charged.reports == [(UsageTrigger.VOLUME_THRESHOLD, 300), (UsageTrigger.VOLUME_THRESHOLD, 600)]
    assert charged.usage.octets == 800
    assert charged.pgw.drops == {}


async def test_time_quota_runs_from_the_first_packet(charged: Charged) -> None:
    charged.install(time_quota_s=0.5)
    await asyncio.sleep(0.6)
    await charged.send(up=1)
    await asyncio.sleep(0.3)
    await charged.send(up=1)
    assert charged.reports == []
    await asyncio.sleep(0.2)
    assert charged.reports == [(UsageTrigger.TIME_QUOTA, 200)]
    assert charged.usage.duration_s == pytest.approx(0.5, abs=0.03)
    await charged.send(up=1, down=1)
    assert charged.pgw.drops == {DropReason.QUOTA_EXHAUSTED: 2}
    assert charged.triggers == [UsageTrigger.TIME_QUOTA]
    charged.grant(time_quota_s=0.2)
    await charged.send(up=1)
    await asyncio.sleep(0.3)
    assert charged.triggers == [UsageTrigger.TIME_QUOTA] * 2
    assert charged.usage.duration_s == pytest.approx(0.7, abs=0.05)


async def test_time_of_use_ends_after_inactivity(charged: Charged) -> None:
    charged.install(inactivity_s=0.3, time_threshold_s=0.9)
    await charged.send(up=1)
    await asyncio.sleep(0.15)
    await charged.send(down=1)                  # at 0.2
    await asyncio.sleep(0.75)
    assert charged.usage.duration_s == pytest.approx(0.5, abs=0.05)
    await charged.send(up=1)                    # a new use
    await asyncio.sleep(0.5)
    assert charged.usage.duration_s == pytest.approx(0.8, abs=0.05)
    assert charged.reports == []
    await charged.send(up=1)
    await asyncio.sleep(0.2)
    assert charged.reports == [(UsageTrigger.TIME_THRESHOLD, 400)]
    assert charged.pgw.forwarder.remove(1)[1].duration_s == pytest.approx(1.05, abs=0.06)


async def test_time_threshold_reports_each_time(charged: Charged) -> None:
    charged.install(time_threshold_s=0.2)
    await charged.send(up=1)
    charged.touch()
    await asyncio.sleep(0.6)
    assert charged.triggers == [UsageTrigger.TIME_THRESHOLD] * 3
    await charged.send(up=1)
    assert charged.pgw.drops == {}


async def test_period_reports_used_or_not(charged: Charged) -> None:
    charged.install(period_s=0.2)
    await charged.send(up=1)
    charged.touch()
    await asyncio.sleep(0.6)
    assert charged.reports == [(UsageTrigger.PERIOD, 100)] * 3
    assert charged.usage.duration_s == 0.0


async def test_quota_that_nobody_uses_is_taken_back_and_the_next_packet_asks(charged: Charged) -> None:
    charged.install(volume_quota_octets=1000, quota_holding_time_s=0.3)
    await asyncio.sleep(0.2)
    await charged.send(up=1)
    await asyncio.sleep(0.2)
    await charged.send(up=1)
    assert charged.reports == []
    await asyncio.sleep(0.4)
    assert charged.reports == [(UsageTrigger.QUOTA_HOLDING_TIME, 200)]
    await charged.send(up=1, down=1)
    assert charged.reports == [(UsageTrigger.QUOTA_HOLDING_TIME, 200), (UsageTrigger.VOLUME_QUOTA, 200)]
    assert charged.pgw.drops == {DropReason.QUOTA_EXHAUSTED: 2}
    charged.grant(volume_quota_octets=1000, quota_holding_time_s=0.3)
    await charged.send(up=1)
    assert charged.usage.octets == 300


async def test_one_urr_without_quota_stops_what_others_would_let_pass(charged: Charged) -> None:
    """What one stops does not use up the other's quota."""
    session = charged.pgw.session()
    charged.pgw.forwarder.install(dataclasses.replace(
        session, pdrs=tuple(dataclasses.replace(pdr, urr_ids=(1, 2, 3)) for pdr in session.pdrs),
        urrs=(Urr(id=1, volume_quota_octets=500), Urr(id=2, volume_quota_octets=200), Urr(id=3, volume_threshold_octets=150)),
    ))
    await charged.send(up=4)
    assert charged.pgw.drops == {DropReason.QUOTA_EXHAUSTED: 2}
    assert charged.pgw.forwarder.usage(1) == {urr: Usage(uplink_packets=2, uplink_octets=200) for urr in (1, 2, 3)}
    charged.pgw.forwarder.modify(1, SessionChange(urrs=(Urr(id=2, volume_quota_octets=10_000),)))
    await charged.send(up=4)
    assert charged.pgw.forwarder.usage(1)[1].octets == 500


async def test_nothing_is_reported_of_what_is_gone(charged: Charged) -> None:
    charged.install(time_threshold_s=0.2, period_s=0.2, volume_quota_octets=200, quota_holding_time_s=0.2)
    await charged.send(up=1)
    charged.pgw.forwarder.remove(1)
    await asyncio.sleep(0.5)
    assert charged.reports == []
    charged.install(period_s=0.2, time_threshold_s=0.2)
    charged.pgw.forwarder.modify(1, SessionChange(
        pdrs=tuple(dataclasses.replace(pdr, urr_ids=()) for pdr in charged.pgw.session().pdrs), remove_urrs=(1,)))
    await charged.send(up=1)
    await asyncio.sleep(0.5)
    assert charged.reports == []


async def test_answer_to_a_report_may_come_at_once(charged: Charged) -> None:
    """A control plane in this process grants from inside the event."""
    def grant(event: object) -> None:
        charged.bench.events.append(event)      # type: ignore[arg-type]
        charged.grant(time_quota_s=0.2, volume_quota_octets=1000, time_threshold_s=0.2, period_s=10)

    charged.pgw.forwarder.on_event = grant
    charged.install(time_quota_s=0.2, volume_quota_octets=1000, time_threshold_s=0.2, period_s=10)
    await charged.send(up=1)
    await asyncio.sleep(0.2)
    assert charged.triggers == [UsageTrigger.TIME_QUOTA]
    await charged.send(up=1)
    await asyncio.sleep(0.2)
    assert charged.triggers == [UsageTrigger.TIME_QUOTA] * 2
    charged.pgw.forwarder.remove(1)


# Applications


VIDEO = Application(
    id="video", domain_names=("video.example",), flows=(SdfFilter.from_flow_description("permit out 17 from 10.200.7.0/24 5000 to assigned"),))
OTHER = Application(id="other", domain_names=("example.org", "stills.video.example"))
RESOLVER = "10.200.0.53"


class Detecting:
    """The PGW with a dedicated bearer for the application "video"; what goes its way is counted by URR 16."""

    def __init__(self, bench: Bench, pgw: Pgw, gpdu: Packet) -> None:
        self.bench, self.pgw, self.gpdu = bench, pgw, gpdu
        self.dedicated = FTeid(teid=0x50000009, address=bench.enb_host)
        self.sequence = 0

    def install(self, ue: UeIpAddress | None = None, *applications: str, far: ApplyAction = ApplyAction.FORWARD) -> None:
        session, ue = self.pgw.session(ue), ue or UeIpAddress.parse(UE)
        added = []
        for number, application in enumerate(applications or ("video",), start=8):
            added += [
                Pdr(id=2 * number, precedence=number, source_interface=Interface.ACCESS, local_f_teid=self.pgw.s5u_pgw, ue_ip_address=ue,
                    application_id=application, far_id=3, urr_ids=(number + 8,)),
                Pdr(id=2 * number + 1, precedence=number, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue,
                    application_id=application, far_id=4, urr_ids=(number + 8,)),
            ]
        self.pgw.forwarder.install(dataclasses.replace(
            session, pdrs=(*session.pdrs, *added),
            fars=(*session.fars, Far(id=3, apply_action=far, network_instance="internet"),
                  Far(id=4, apply_action=far, destination_interface=Interface.ACCESS, outer_header_creation=self.dedicated)),
            urrs=(Urr(id=1), *(Urr(id=8 + number, application_events=True) for number in range(8, 8 + len(applications or ("video",))))),
        ))

    async def up(self, *packets: bytes) -> None:
        for packet in packets:
            self.pgw.sgw.send(self.gpdu(self.pgw.s5u_pgw.teid, packet), self.bench.access_host)
        await self.bench.settle()

    async def down(self, *packets: bytes) -> None:
        for packet in packets:
            self.pgw.sgi.on_packet(packet)
        await self.bench.settle()

    async def ask(self, name: str, addresses: list[str], *, ttl_s: int = 60, number: int = 7, alias: str = "", port: int = 5353) -> None:
        await self.up(flows.udp(UE, port, RESOLVER, 53, flows.dns_query(name, number=number)))
        await self.down(flows.udp(RESOLVER, 53, UE, port, flows.dns_answer(name, addresses, number=number, ttl_s=ttl_s, alias=alias)))

    @property
    def counted(self) -> tuple[int, int]:
        """Packets up and down on the application's rules."""
        usage = self.pgw.forwarder.usage(1)[16]
        return usage.uplink_packets, usage.downlink_packets

    @property
    def reports(self) -> list[tuple[UsageTrigger, int, str | None]]:
        return [(event.trigger, event.urr_id, event.application_id) for event in self.bench.events if isinstance(event, UsageReport)]


@pytest.fixture
def detecting(bench: Bench, pgw: Pgw, gpdu: Packet) -> Detecting:
    pgw.forwarder.provision([VIDEO, OTHER])
    return Detecting(bench, pgw, gpdu)


STARTED, STOPPED = (UsageTrigger.APPLICATION_START, 16, "video"), (UsageTrigger.APPLICATION_STOP, 16, "video")


@pytest.mark.parametrize(("ue", "server"), [(UE, SERVER), ("2001:db8:1::77", "2001:db8:9::1")], ids=["IPv4", "IPv6"])
async def test_application_is_recognised_by_the_tls_server_name(detecting: Detecting, ue: str, server: str) -> None:
    detecting.install(UeIpAddress.parse(ue))
    hello = flows.client_hello("cdn7.video.example")
    await detecting.up(flows.tcp(ue, 40000, server, 443, seq=99, flags=flows.SYN), flows.tcp(ue, 40000, server, 443, seq=100))
    assert (detecting.counted, detecting.reports) == ((0, 0), [])
    await detecting.up(flows.tcp(ue, 40000, server, 443, seq=100, data=hello))
    assert (detecting.counted, detecting.reports) == ((1, 0), [STARTED])
    answer = flows.tcp(server, 443, ue, 40000, seq=1, data=b"certificate")
    await detecting.down(answer)
    assert detecting.counted == (1, 1)
    assert detecting.pgw.sgw.received == [detecting.gpdu(detecting.dedicated.teid, answer)]
    await detecting.up(flows.tcp(ue, 40001, server, 443, seq=100, data=flows.client_hello("video.example.org")))
    assert detecting.counted == (1, 1)


async def test_server_name_in_two_segments_in_any_order(detecting: Detecting) -> None:
    detecting.install()
    hello = flows.grease_hello("www.video.example")
    for port, order in ((40000, (0, 1, 2)), (40001, (1, 0, 2)), (40002, (2, 1, 0)), (40003, (0, 0, 1, 1, 2))):
        before = detecting.counted[0]
        first = (1 << 32) - 700         # the sequence number wraps within
        segments = [flows.tcp(UE, port, SERVER, 443, seq=first + at, data=hello[at:at + 700]) for at in (0, 700, 1400)]
        await detecting.up(flows.tcp(UE, port, SERVER, 443, seq=first - 1, flags=flows.SYN), *(segments[number] for number in order))
        assert detecting.counted[0] == before + 1       # the last one completes the name
    await detecting.up(flows.tcp(UE, 40000, SERVER, 443, seq=5))
    assert detecting.counted[0] == 5


async def test_application_is_recognised_by_the_http_host(detecting: Detecting) -> None:
    detecting.install()
    request = flows.http_get("video.example", "/film")
    await detecting.up(flows.tcp(UE, 40000, SERVER, 8080, seq=1, data=request[:30]), flows.tcp(UE, 40000, SERVER, 8080, seq=31, data=request[30:]))
    await detecting.down(flows.tcp(SERVER, 8080, UE, 40000, data=b"film"))
    assert detecting.counted == (1, 1)
    await detecting.up(flows.tcp(UE, 40001, SERVER, 80, seq=1, data=flows.http_get("novideo.example")))
    assert detecting.counted == (1, 1)


async def test_application_is_recognised_by_the_name_in_quic(detecting: Detecting) -> None:
    detecting.install()
    first, second = flows.quic_hello("www.video.example", octets=1900)
    await detecting.up(flows.udp(UE, 40000, SERVER, 443, first), flows.udp(UE, 40000, SERVER, 443, second))
    await detecting.down(flows.udp(SERVER, 443, UE, 40000, b"\xc0" + bytes(300)))
    await detecting.up(flows.udp(UE, 40000, SERVER, 443, b"\x40" + bytes(40)))
    assert (detecting.counted, detecting.reports) == ((2, 1), [STARTED])         # all but the first, which does not say all
    await detecting.up(flows.udp(UE, 40001, SERVER, 443, flows.quic_hello("www.example.org")[0]))
    assert detecting.counted == (2, 1)


async def test_application_is_recognised_by_its_flows(detecting: Detecting) -> None:
    detecting.install()
    await detecting.up(flows.udp(UE, 40000, "10.200.7.9", 5000, b"x"), flows.udp(UE, 40000, "10.200.7.9", 5001, b"x"))
    await detecting.down(flows.udp("10.200.7.9", 5000, UE, 40000, b"x"), flows.udp("10.200.8.9", 5000, UE, 40000, b"x"))
    assert detecting.counted == (1, 1)
    assert detecting.reports == [STARTED]


async def test_addresses_in_the_answer_to_a_question_belong_to_the_application(detecting: Detecting) -> None:
    detecting.install()
    await detecting.ask("www.video.example", ["10.200.3.3"], alias="edge.cdn.example")
    assert detecting.counted == (1, 1)              # question and answer
    await detecting.ask("www.example.org", ["10.200.3.4"], number=8)
    quic = [flows.udp(UE, 40000, address, 443, b"\xc0" + bytes(40)) for address in ("10.200.3.3", "10.200.3.4")]
    await detecting.up(*quic)
    assert detecting.counted == (2, 1)
    # the name that a flow shows counts more than where it goes
    await detecting.up(flows.tcp(UE, 40000, "10.200.3.3", 443, seq=1, data=flows.client_hello("www.example.org")))
    assert detecting.counted == (2, 1)


async def test_answer_that_nobody_asked_for_is_not_believed(detecting: Detecting) -> None:
    detecting.install()
    await detecting.down(flows.udp(RESOLVER, 53, UE, 5353, flows.dns_answer("video.example", ["10.200.3.3"], number=7)))
    await detecting.up(flows.udp(UE, 5353, RESOLVER, 53, flows.dns_query("video.example", number=7)))
    await detecting.down(flows.udp(RESOLVER, 53, UE, 5353, flows.dns_answer("video.example", ["10.200.3.3"], number=9)))
    await detecting.up(flows.udp(UE, 40000, "10.200.3.3", 443, b"x"))
    assert detecting.counted == (1, 2)              # the DNS messages, and no more


async def test_blocked_application_is_dropped_and_told(detecting: Detecting) -> None:
    detecting.install(far=ApplyAction.DROP)
    await detecting.up(flows.tcp(UE, 40000, SERVER, 443, seq=1, data=flows.client_hello("video.example")), flows.udp(UE, 1, SERVER, 7, b"x"))
    assert detecting.pgw.drops == {DropReason.FAR_DROP: 1}
    assert detecting.reports == [STARTED]
    assert len(detecting.pgw.sgi.received) == 1


async def test_precedence_decides_between_applications_with_the_same_name(detecting: Detecting) -> None:
    detecting.install(None, "other", "video")
    await detecting.up(flows.tcp(UE, 40000, SERVER, 443, seq=1, data=flows.client_hello("stills.video.example")))
    await detecting.up(flows.tcp(UE, 40001, SERVER, 443, seq=1, data=flows.client_hello("video.example")))
    usage = detecting.pgw.forwarder.usage(1)
    assert (usage[16].uplink_packets, usage[17].uplink_packets) == (1, 1)
    assert sorted(detecting.reports, key=str) == sorted(
        [(UsageTrigger.APPLICATION_START, 16, "other"), (UsageTrigger.APPLICATION_START, 17, "video")], key=str)


async def test_application_may_be_provisioned_after_its_rules_and_changed(detecting: Detecting) -> None:
    detecting.pgw.forwarder.provision([])
    detecting.install()
    segment = flows.tcp(UE, 40000, SERVER, 443, seq=1, data=flows.client_hello("video.example"))
    await detecting.up(segment)
    assert detecting.counted == (0, 0)
    detecting.pgw.forwarder.provision([VIDEO])
    await detecting.up(segment)
    assert detecting.counted == (1, 0)
    detecting.pgw.forwarder.provision([Application(id="video", domain_names=("film.example",))])
    await detecting.up(segment)
    assert detecting.counted == (1, 0)


# Sizes


@pytest.fixture
async def narrow(bench: Bench, wire: Wire) -> Pgw:
    """A PGW whose APN has an MTU of 1300 octets."""
    forwarder = await bench.forwarder(access=True)
    bench.connect(forwarder, "internet", wire, mtu_octets=1300)
    return Pgw(forwarder, await bench.peer(bench.enb_host), wire)


async def test_what_just_fits_passes_and_what_does_not_is_refused_by_icmp(bench: Bench, narrow: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    narrow.forwarder.install(narrow.session())
    fits, too_big = ipv4(SERVER, UE, bytes(1272), dont_fragment=True), ipv4(SERVER, UE, bytes(1273), dont_fragment=True)
    assert (len(fits), len(too_big)) == (1300, 1301)
    for packet in (fits, too_big):
        narrow.sgi.on_packet(packet)
    await bench.settle()
    assert narrow.sgw.received == [gpdu(narrow.s5u_sgw.teid, fits)]
    assert narrow.drops == {DropReason.TOO_BIG: 1}
    (answer,) = narrow.sgi.received
    assert (answer[9], answer[12:16], answer[16:20]) == (1, IPv4Address(bench.access_host).packed, IPv4Address(SERVER).packed)
    assert (checksum(answer[:20]), checksum(answer[20:])) == (0, 0)
    assert answer[20:22] + answer[26:28] == struct.pack(">BBH", 3, 4, 1300)        # fragmentation needed, next-hop MTU (RFC 1191)
    assert answer[28:] == too_big[:28]
    assert narrow.forwarder.usage(1)[1].downlink_packets == 1


async def test_too_big_in_ipv6(bench: Bench, narrow: Pgw, ipv6: Packet, gpdu: Packet) -> None:
    server, ue = "2001:db8:9::1", "2001:db8:1::77"
    narrow.forwarder.install(narrow.session(UeIpAddress.parse(ue)))
    fits, too_big = ipv6(server, ue, bytes(1252)), ipv6(server, ue, bytes(1253))
    for packet in (fits, too_big):
        narrow.sgi.on_packet(packet)
    await bench.settle()
    assert narrow.sgw.received == [gpdu(narrow.s5u_sgw.teid, fits)]
    (answer,) = narrow.sgi.received
    assert (answer[6], answer[24:40]) == (58, IPv6Address(server).packed)
    assert answer[40:42] + answer[44:48] == struct.pack(">BBI", 2, 0, 1300)        # Packet Too Big (RFC 4443 clause 3.2)
    assert answer[48:] == too_big[:1232]
    assert checksum(answer[8:40] + struct.pack(">IHBB", len(answer) - 40, 0, 0, 58) + answer[40:]) == 0


async def test_ipv4_that_may_be_fragmented_is(bench: Bench, narrow: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    narrow.forwarder.install(narrow.session())
    packet = ipv4(SERVER, UE, random.Random(1).randbytes(1440 if bench.link_is_ethernet else 4000))
    narrow.sgi.on_packet(packet)
    await bench.settle()
    assert narrow.sgi.received == []
    parts = [message[8:] for message in narrow.sgw.received]
    assert len(parts) == (2 if bench.link_is_ethernet else 4)
    assert all(len(part) <= 1300 and checksum(part[:20]) == 0 and int.from_bytes(part[2:4]) == len(part) for part in parts)
    assert [int.from_bytes(part[6:8]) for part in parts] == [0x2000 * (part is not parts[-1]) + 160 * at for at, part in enumerate(parts)]
    assert b"".join(part[20:] for part in parts) == packet[20:]
    assert narrow.forwarder.usage(1)[1].downlink_octets == sum(map(len, parts))


async def test_icmp_about_size_is_limited_and_never_about_icmp_errors(bench: Bench, narrow: Pgw, ipv4: Packet) -> None:
    narrow.forwarder.install(narrow.session())
    unreachable = b"\x03\x03" + bytes(1300)
    error = flows.ip(SERVER, UE, 1, unreachable)
    narrow.sgi.on_packet(error[:6] + b"\x40" + error[7:])
    await bench.settle()
    assert (narrow.sgi.received, narrow.drops) == ([], {DropReason.TOO_BIG: 1})
    for number in range(300):
        narrow.sgi.on_packet(ipv4(SERVER, UE, bytes(1400), dont_fragment=True))
        if number % 50 == 49:
            await bench.settle()
    assert 45 <= len(narrow.sgi.received) <= 200
    assert narrow.drops == {DropReason.TOO_BIG: 301}


async def test_outer_fragments_are_put_together(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    """A G-PDU that is longer than the MTU between the nodes."""
    session = pgw.session()
    target = FTeid(teid=9, address=bench.enb_host)
    pgw.forwarder.install(dataclasses.replace(session, fars=(
        Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=target), session.fars[1])))
    packet = ipv4(UE, SERVER, random.Random(2).randbytes(6000))
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, packet), bench.access_host)
    await bench.settle()
    assert pgw.sgw.received == [gpdu(9, packet)]


# From one UE to another


class Neighbours:
    """Two UEs of one APN, and one of another with the same address as the second."""

    def __init__(self, bench: Bench, pgw: Pgw) -> None:
        self.ends: dict[int, tuple[FTeid, FTeid]] = {}
        for number, (address, apn) in enumerate((("45.45.0.2", "internet"), ("45.45.0.3", "internet"), ("45.45.0.3", "corporate")), start=1):
            up, down = pgw.forwarder.allocate_f_teid(Interface.ACCESS), FTeid(teid=0x60000000 + number, address=bench.enb_host)
            ue = UeIpAddress(ipv4=IPv4Address(address), ipv6_prefix=UeIpAddress.parse(f"2001:db8:{address[-1]}::/64").ipv6_prefix)
            self.ends[number] = up, down
            pgw.forwarder.install(Session(
                id=number, urrs=(Urr(id=1),),
                pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=1, urr_ids=(1,)),
                      Pdr(id=2, source_interface=Interface.CORE, network_instance=apn, ue_ip_address=ue, far_id=2, urr_ids=(1,))),
                fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance=apn),
                      Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=down)),
            ))


async def test_packet_for_another_ue_goes_straight_there(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    ends = Neighbours(bench, pgw).ends
    packets = [ipv4("45.45.0.2", "45.45.0.3"), ipv6("2001:db8:2::7", "2001:db8:3::7")]
    for packet in packets:
        pgw.sgw.send(gpdu(ends[1][0].teid, packet), bench.access_host)
    await bench.settle()
    assert pgw.sgw.received == [gpdu(ends[2][1].teid, packet) for packet in packets]
    assert pgw.sgi.received == []
    octets = sum(map(len, packets))
    assert pgw.forwarder.usage(1)[1] == Usage(uplink_packets=2, uplink_octets=octets)
    assert pgw.forwarder.usage(2)[1] == Usage(downlink_packets=2, downlink_octets=octets)
    assert pgw.forwarder.usage(3)[1] == Usage()
    pgw.forwarder.remove(2)
    pgw.sgw.send(gpdu(ends[1][0].teid, packets[0]), bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == [packets[0]]


async def test_spoofed_packet_never_reaches_another_ue(bench: Bench, pgw: Pgw, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    ends = Neighbours(bench, pgw).ends
    for packet in (ipv4("45.45.0.9", "45.45.0.3"), ipv4("45.45.0.3", "45.45.0.3"), ipv6("2001:db8:9::7", "2001:db8:3::7")):
        pgw.sgw.send(gpdu(ends[1][0].teid, packet), bench.access_host)
    await bench.settle()
    assert pgw.sgw.received == pgw.sgi.received == []
    assert pgw.drops == {DropReason.SPOOFED_SOURCE: 3}


async def test_rules_of_the_other_ue_hold_between_ues(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    ends = Neighbours(bench, pgw).ends
    pgw.forwarder.modify(2, SessionChange(fars=(Far(id=2, apply_action=ApplyAction.DROP),)))
    pgw.sgw.send(gpdu(ends[1][0].teid, ipv4("45.45.0.2", "45.45.0.3")), bench.access_host)
    await bench.settle()
    assert (pgw.sgw.received, pgw.sgi.received, pgw.drops) == ([], [], {DropReason.FAR_DROP: 1})


# Rates


async def test_ambr_of_a_ue_is_one_for_all_its_sessions(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    """QERs with the same correlation id share one rate; another UE has its own."""
    ends = Neighbours(bench, pgw).ends
    for number, correlation in ((1, 77), (2, 77), (3, 78)):
        session = pgw.forwarder.session(number)
        assert session is not None
        pgw.forwarder.modify(number, SessionChange(
            pdrs=tuple(dataclasses.replace(pdr, qer_ids=(1,)) for pdr in session.pdrs),
            qers=(Qer(id=1, correlation_id=correlation, uplink_mbr_bps=80_000, downlink_mbr_bps=80_000),),       # a burst of 3000 octets
        ))
    packet = {1: ipv4("45.45.0.2", SERVER, bytes(972)), 2: ipv4("45.45.0.3", SERVER, bytes(972)), 3: ipv4("45.45.0.3", SERVER, bytes(972))}
    for number in (1, 2, 1, 2, 1, 2, 3, 3):
        pgw.sgw.send(gpdu(ends[number][0].teid, packet[number]), bench.access_host)
    await bench.settle()
    passed = {number: pgw.forwarder.usage(number)[1].uplink_packets for number in (1, 2, 3)}
    assert passed[1] + passed[2] == 3
    assert passed[3] == 2
    assert pgw.drops == {DropReason.RATE_EXCEEDED: 3, DropReason.NO_LINK: 2}
    pgw.sgi.on_packet(ipv4(SERVER, "45.45.0.2", bytes(972)))       # the other direction has its own
    await bench.settle()
    assert pgw.forwarder.usage(1)[1].downlink_packets == 1


# Copies and redirection


async def test_duplicates_go_to_every_place_and_count_once(bench: Bench, pgw: Pgw, ipv4: Packet, gpdu: Packet) -> None:
    session = pgw.session()
    copies = tuple(Duplicate(destination_interface=Interface.ACCESS, outer_header_creation=FTeid(teid=0xDD00 + number, address=bench.enb_host))
                   for number in range(2))
    fars = tuple(
        dataclasses.replace(far, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, duplicates=copies[:far.id]) for far in session.fars)
    pgw.forwarder.install(dataclasses.replace(session, fars=fars))
    up, down = ipv4(UE, SERVER), ipv4(SERVER, UE)
    pgw.sgw.send(struct.pack(">BBHIHH", 0x32, 0xFF, 4 + len(up), pgw.s5u_pgw.teid, 7, 0) + up, bench.access_host)
    await bench.settle()
    assert (pgw.sgi.received, pgw.sgw.received) == ([up], [gpdu(0xDD00, up)])
    pgw.sgw.received.clear()
    pgw.sgi.on_packet(down)
    await bench.settle()
    assert sorted(pgw.sgw.received) == sorted([gpdu(teid, down) for teid in (0xDD00, 0xDD01, pgw.s5u_sgw.teid)])
    one = Usage(uplink_packets=1, uplink_octets=len(up), downlink_packets=1, downlink_octets=len(down))
    assert pgw.forwarder.usage(1)[1] == pgw.forwarder.statistics().usage == one
    pgw.forwarder.modify(1, SessionChange(fars=session.fars))
    pgw.sgi.on_packet(down)
    await bench.settle()
    assert len(pgw.sgw.received) == 4


@pytest.mark.parametrize("far", [
    Far(id=1, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, network_instance="internet"),
    Far(id=1, apply_action=ApplyAction.DROP | ApplyAction.DUPLICATE, duplicates=(Duplicate(network_instance="internet"),)),
    Far(id=1, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, network_instance="internet",
        duplicates=(Duplicate(outer_header_creation=FTeid(teid=1, address="nowhere")),)),
    Far(id=1, apply_action=ApplyAction.DROP, redirect_url="http://portal.example/"),
    Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url="ftp://portal.example/"),
    Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url="http://portal.example/\r\nSet-Cookie: x"),
    Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url="http://portal.example:x/"),
    Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url="http://portal.example/" + "x" * 1000),
], ids=["copy nowhere", "copy of what is dropped", "copy to no address", "redirect and drop", "scheme", "line break", "port", "too long"])
async def test_copies_and_redirections_that_cannot_be_are_refused(pgw: Pgw, far: Far) -> None:
    session = pgw.session()
    with pytest.raises(RuleError):
        pgw.forwarder.install(dataclasses.replace(session, fars=(far, session.fars[1])))
    assert pgw.forwarder.sessions() == ()


class Redirected:
    """A session whose quota is used up, and whose web requests are sent to a portal."""

    def __init__(self, bench: Bench, pgw: Pgw, gpdu: Packet, ue: str = UE, server: str = SERVER) -> None:
        self.bench, self.pgw, self.gpdu, self.ue, self.server = bench, pgw, gpdu, ue, server

    def install(self, *, both: bool = False, url: str = "http://portal.example/topup?why=quota") -> None:
        session = self.pgw.session(UeIpAddress.parse(self.ue))
        fars = tuple(dataclasses.replace(far, redirect_url=url if both or far.id == 1 else None) for far in session.fars)
        self.pgw.forwarder.install(dataclasses.replace(session, fars=fars, urrs=(Urr(id=1, volume_quota_octets=0),)))

    async def up(self, packet: bytes) -> None:
        self.pgw.sgw.send(self.gpdu(self.pgw.s5u_pgw.teid, packet), self.bench.access_host)
        await self.bench.settle()

    async def down(self, packet: bytes) -> None:
        self.pgw.sgi.on_packet(packet)
        await self.bench.settle()

    async def says(self, *, seq: int, ack: int = 0, flags: int = flows.ACK, data: bytes = b"", port: int = 80) -> flows.Segment | None:
        """A segment, and what comes back."""
        self.pgw.sgw.received.clear()
        await self.up(flows.tcp(self.ue, 40000, self.server, port, seq=seq, ack=ack, flags=flags, data=data))
        if not self.pgw.sgw.received:
            return None
        (message,) = self.pgw.sgw.received
        assert message[:8] == self.gpdu(self.pgw.s5u_sgw.teid, message[8:])[:8]
        segment = flows.Segment(message[8:])
        assert (segment.source, segment.sport, segment.destination, segment.dport) == (self.server, port, self.ue, 40000)
        return segment


@pytest.mark.parametrize(("ue", "server"), [(UE, SERVER), ("2001:db8:1::77", "2001:db8:9::1")], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("both", [False, True], ids=["uplink", "both ways"])
async def test_web_request_is_redirected(bench: Bench, pgw: Pgw, gpdu: Packet, ue: str, server: str, both: bool) -> None:
    phone = Redirected(bench, pgw, gpdu, ue, server)
    phone.install(both=both)
    opened = await phone.says(seq=99, flags=flows.SYN)
    assert opened is not None
    assert (opened.flags, opened.ack, opened.data) == (flows.SYN | flows.ACK, 100, b"")
    first = (opened.seq + 1) & 0xFFFFFFFF
    assert await phone.says(seq=100, ack=first) is None
    request = flows.http_get("www.example.org")
    for _ in range(2):                              # the answer was lost once
        answer = await phone.says(seq=100, ack=first, data=request)
        assert answer is not None
        assert (answer.flags, answer.seq, answer.ack) == (flows.FIN | flows.PSH | flows.ACK, first, 100 + len(request))
        assert answer.data.startswith(b"HTTP/1.1 302 Found\r\n")
        assert b"\r\nLocation: http://portal.example/topup?why=quota\r\n" in answer.data
        assert answer.data.endswith(b"\r\n\r\n")
    end = (first + len(answer.data) + 1) & 0xFFFFFFFF
    assert await phone.says(seq=answer.ack, ack=end) is None
    closed = await phone.says(seq=answer.ack, ack=end, flags=flows.FIN | flows.ACK)
    assert closed is not None
    assert (closed.flags, closed.seq, closed.ack) == (flows.ACK, end, answer.ack + 1)
    assert (pgw.sgi.received, pgw.drops) == ([], {})
    assert pgw.forwarder.usage(1)[1] == Usage()     # nobody pays for it


async def test_redirection_knows_its_connections_again(bench: Bench, pgw: Pgw, gpdu: Packet) -> None:
    phone = Redirected(bench, pgw, gpdu)
    phone.install()
    stray = await phone.says(seq=100, ack=12345, data=flows.http_get("www.example.org"))
    assert stray is not None
    assert (stray.flags, stray.data) == (flows.RST | flows.ACK, b"")
    opened = await phone.says(seq=99, flags=flows.SYN)
    assert opened is not None
    no_http = await phone.says(seq=100, ack=opened.seq + 1, data=b"\x16\x03\x01")
    assert no_http is not None
    assert no_http.flags == flows.RST | flows.ACK
    assert await phone.says(seq=100, flags=flows.RST) is None


async def test_only_dns_and_the_portal_pass_a_redirection(bench: Bench, pgw: Pgw, gpdu: Packet) -> None:
    phone = Redirected(bench, pgw, gpdu)
    phone.install()
    question = flows.udp(UE, 5353, RESOLVER, 53, flows.dns_query("portal.example"))
    answer = flows.udp(RESOLVER, 53, UE, 5353, flows.dns_answer("portal.example", ["10.200.0.80"]))
    to_portal = flows.tcp(UE, 40000, "10.200.0.80", 443, seq=1, flags=flows.SYN)
    from_portal = flows.tcp("10.200.0.80", 443, UE, 40000, seq=1, ack=2, flags=flows.SYN | flows.ACK)
    for packet in (to_portal, question):
        await phone.up(packet)
    assert pgw.sgi.received == [question]           # the portal is not known yet
    for packet in (from_portal, answer):
        await phone.down(packet)
    assert pgw.sgw.received == [gpdu(pgw.s5u_sgw.teid, answer)]
    await phone.up(to_portal)
    await phone.down(from_portal)
    assert (pgw.sgi.received, pgw.sgw.received[1:]) == ([question, to_portal], [gpdu(pgw.s5u_sgw.teid, from_portal)])
    for packet in (flows.udp(UE, 1, SERVER, 7, b"x"), flows.tcp(UE, 40000, SERVER, 443, flags=flows.SYN)):
        await phone.up(packet)
    await phone.down(flows.udp(SERVER, 7, UE, 1, b"x"))
    assert pgw.drops == {DropReason.FAR_DROP: 3, DropReason.QUOTA_EXHAUSTED: 2}
    assert pgw.forwarder.usage(1)[1] == Usage()
    total = pgw.forwarder.statistics().usage
    assert (total.uplink_packets, total.downlink_packets) == (2, 2)
    pgw.forwarder.remove(1)
    assert pgw.forwarder.statistics().usage == total


async def test_redirection_ends_with_a_new_quota(bench: Bench, pgw: Pgw, gpdu: Packet) -> None:
    phone = Redirected(bench, pgw, gpdu)
    phone.install(both=True)
    assert await phone.says(seq=99, flags=flows.SYN) is not None
    pgw.forwarder.modify(1, SessionChange(fars=pgw.session().fars, urrs=(Urr(id=1, volume_quota_octets=10_000),)))
    assert await phone.says(seq=99, flags=flows.SYN) is None
    assert len(pgw.sgi.received) == 1


# An eNodeB: one link a UE


async def test_enb_knows_the_ue_by_its_link(bench: Bench, wire: Wire, ipv4: Packet, gpdu: Packet) -> None:
    enb = await bench.forwarder(core=True)
    sgw = await bench.peer(bench.pgw_host)
    imsi = "001010000000001"
    s1u_enb, s1u_sgw = enb.allocate_f_teid(Interface.CORE), FTeid(teid=0x70000001, address=bench.pgw_host)
    enb.install(Session(
        id=1,
        pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, network_instance=imsi, far_id=1),
              Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s1u_enb, far_id=2)),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, outer_header_creation=s1u_sgw),
              Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance=imsi)),
    ))
    up, down = ipv4(UE, SERVER), ipv4(SERVER, UE)
    sgw.send(gpdu(s1u_enb.teid, down), bench.core_host)
    await bench.settle()
    assert drops(enb) == {DropReason.NO_LINK: 1}
    enb.connect(imsi, wire)
    wire.on_packet(up)
    sgw.send(gpdu(s1u_enb.teid, down), bench.core_host)
    await bench.settle()
    assert sgw.received == [gpdu(s1u_sgw.teid, up)]
    assert wire.received == [down]
    enb.disconnect(imsi)
    wire.on_packet(up)
    await bench.settle()
    assert len(sgw.received) == 1


# Rules that cannot hold change nothing


async def test_rules_that_cannot_hold_are_refused_whole(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    session = sgw.session()
    sgw.forwarder.install(session)
    bad = [
        SessionChange(pdrs=(Pdr(id=9, source_interface=Interface.ACCESS, local_f_teid=sgw.s5u_pgw, far_id=1),)),     # not our address
        SessionChange(pdrs=(Pdr(id=9, source_interface=Interface.ACCESS, local_f_teid=sgw.s1u_sgw, far_id=77),)),
        SessionChange(pdrs=(Pdr(id=9, source_interface=Interface.ACCESS, local_f_teid=sgw.s1u_sgw, far_id=1, qer_ids=(5,)),)),
        SessionChange(remove_fars=(2,)),
        SessionChange(remove_urrs=(1,)),
        SessionChange(remove_pdrs=(5,)),
        SessionChange(fars=(Far(id=1, apply_action=ApplyAction.FORWARD | ApplyAction.DROP),)),
        SessionChange(fars=(Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=FTeid(teid=1, address="no address")),)),
        SessionChange(end_markers=(7,)),
    ]
    for change in bad:
        with pytest.raises(RuleError):
            sgw.forwarder.modify(1, change)
    assert sgw.forwarder.session(1) == session
    sgw.enb.send(gpdu(sgw.s1u_sgw.teid, ipv4(UE, SERVER)), bench.access_host)
    await bench.settle()
    assert len(sgw.pgw.received) == 1


async def test_two_sessions_cannot_match_the_same_packets(sgw: Sgw) -> None:
    sgw.forwarder.install(sgw.session())
    session = sgw.session()
    with pytest.raises(RuleError, match="exists"):
        sgw.forwarder.install(session)
    with pytest.raises(RuleError, match="another session"):
        sgw.forwarder.install(Session(id=2, pdrs=session.pdrs, fars=session.fars, urrs=session.urrs))
    with pytest.raises(RuleError, match="no session 2"):
        sgw.forwarder.remove(2)
    assert [session.id for session in sgw.forwarder.sessions()] == [1]


async def test_usage_survives_a_replaced_rule(bench: Bench, sgw: Sgw, ipv4: Packet, gpdu: Packet) -> None:
    sgw.forwarder.install(sgw.session())
    packet = ipv4(UE, SERVER)
    sgw.enb.send(gpdu(sgw.s1u_sgw.teid, packet), bench.access_host)
    await bench.settle()
    new_teid = sgw.forwarder.allocate_f_teid(Interface.ACCESS)
    sgw.forwarder.modify(1, SessionChange(
        remove_pdrs=(1,), pdrs=(Pdr(id=3, source_interface=Interface.ACCESS, local_f_teid=new_teid, far_id=1, urr_ids=(1,)),),
    ))
    sgw.enb.send(gpdu(new_teid.teid, packet), bench.access_host)
    sgw.enb.send(gpdu(sgw.s1u_sgw.teid, packet), bench.access_host)     # the old one is gone
    await bench.settle()
    assert sgw.forwarder.usage(1)[1] == Usage(uplink_packets=2, uplink_octets=2 * len(packet))
    assert sgw.forwarder.statistics().usage.uplink_packets == 2
    assert sgw.enb.received[0][1] == 26
    sgw.forwarder.modify(1, SessionChange(
        remove_pdrs=(3,), pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=sgw.s1u_sgw, far_id=1, urr_ids=(1,)),),
    ))
    sgw.enb.send(gpdu(sgw.s1u_sgw.teid, packet), bench.access_host)
    await bench.settle()
    assert sgw.forwarder.usage(1)[1] == Usage(uplink_packets=3, uplink_octets=3 * len(packet)), "also what two rules had counted before"


async def test_forwarder_leaves_nothing_behind(bench: Bench, pgw: Pgw) -> None:
    """Ten thousand sessions come and go; TEIDs stay unique meanwhile and nothing of them remains."""
    teids = set()
    for number in range(10_000):
        up = pgw.forwarder.allocate_f_teid(Interface.ACCESS)
        teids.add(up.teid)
        ue = UeIpAddress.parse(f"45.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        pgw.forwarder.install(Session(
            id=number,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance=f"apn{number % 7}", ue_ip_address=ue, far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance=f"apn{number % 7}"),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                      outer_header_creation=FTeid(teid=number + 1, address="10.9.9.9"))),
        ))
    assert len(teids) == 10_000
    for number in range(10_000):
        pgw.forwarder.remove(number)
    assert pgw.forwarder.sessions() == ()
    assert list(pgw.forwarder._attachments) == ["internet"]     # type: ignore[attr-defined]
    assert pgw.forwarder._far_ends == {}        # type: ignore[attr-defined]
    assert all(not port.rules for port in pgw.forwarder._ports.values())        # type: ignore[attr-defined]
