"""What only the socket back end does, or what takes its virtual clock: GTP-U over IPv6, rates to the octet, nothing left behind."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from epc.dataplane.forwarder import DropReason, ErrorIndication, UnknownTeid
from epc.dataplane.rules import (
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Interface,
    Pdr,
    Qer,
    Session,
    SessionChange,
    UeIpAddress,
    Urr,
    Usage,
)
from epc.wire import gtpu
from tests.dataplane import flows
from tests.dataplane.conftest import Bench, Wire

pytestmark = pytest.mark.virtual_clock

UE, SERVER = "45.45.0.2", "10.200.0.1"
Packet = Callable[..., bytes]


@pytest.fixture
def bench_over_ipv6(bench: Bench) -> Bench:
    bench.access_host, bench.core_host, bench.enb_host, bench.pgw_host = "2001:db8::1", "2001:db8::2", "2001:db8::11", "2001:db8::12"
    return bench


async def test_sgw_relays_over_ipv6(bench_over_ipv6: Bench, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    bench = bench_over_ipv6
    sgw, enb, pgw = await bench.forwarder(access=True, core=True), await bench.peer(bench.enb_host), await bench.peer(bench.pgw_host)
    s1u, s5u = sgw.allocate_f_teid(Interface.ACCESS), sgw.allocate_f_teid(Interface.CORE)
    to_enb, to_pgw = FTeid(teid=0xE0000001, address=bench.enb_host), FTeid(teid=0xA0000001, address=bench.pgw_host)
    sgw.install(Session(
        id=1,
        pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=s1u, far_id=1),
              Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s5u, far_id=2)),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=to_pgw),
              Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=to_enb)),
    ))
    up, down = ipv4(UE, SERVER), ipv6("2001:db8:9::1", "2001:db8:1::7")
    enb.send(gpdu(s1u.teid, up), bench.access_host)
    pgw.send(gpdu(s5u.teid, down), bench.core_host)
    enb.send(gpdu(0x999, up), bench.access_host)
    await bench.settle()
    assert pgw.received == [gpdu(to_pgw.teid, up)]
    error = gtpu.encode(gtpu.ErrorIndication(teid=0x999, peer_address=IPv6Address(bench.access_host)))
    assert sorted(enb.received) == sorted([gpdu(to_enb.teid, down), error])
    enb.send(gtpu.encode(gtpu.ErrorIndication(teid=to_enb.teid, peer_address=IPv6Address(bench.enb_host))), bench.access_host)
    sgw.modify(1, SessionChange(fars=sgw.sessions()[0].fars, end_markers=(2,)))
    await bench.settle()
    assert enb.received[-1] == gtpu.encode(gtpu.EndMarker(), teid=to_enb.teid)
    assert bench.events == [
        UnknownTeid(interface=Interface.ACCESS, peer=bench.enb_host, teid=0x999), ErrorIndication(session_id=1, far_id=2, tunnel=to_enb)]


async def test_pgw_takes_both_versions_over_ipv6(bench_over_ipv6: Bench, wire: Wire, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    bench = bench_over_ipv6
    pgw, sgw = await bench.forwarder(access=True), await bench.peer(bench.enb_host)
    bench.connect(pgw, "internet", wire, mtu_octets=1280)
    up, down = pgw.allocate_f_teid(Interface.ACCESS), FTeid(teid=0x50000001, address=bench.enb_host)
    ue = UeIpAddress(ipv4=IPv4Address(UE), ipv6_prefix=UeIpAddress.parse("2001:db8:1::/64").ipv6_prefix)
    pgw.install(Session(
        id=1,
        pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=1),
              Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2)),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),
              Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=down)),
    ))
    sent = [ipv4(UE, SERVER), ipv6("2001:db8:1::7", "2001:db8:9::1")]
    for packet in sent:
        sgw.send(gpdu(up.teid, packet), bench.access_host)
    answers = [ipv4(SERVER, UE), ipv6("2001:db8:9::1", "2001:db8:1::7")]
    for packet in answers:
        wire.on_packet(packet)
    await bench.settle()
    assert wire.received == sent
    assert sgw.received == [gpdu(down.teid, packet) for packet in answers]
    wire.on_packet(ipv6("2001:db8:9::1", "2001:db8:1::7", bytes(1300)))
    assert wire.received[-1][8:24] == IPv6Address(bench.access_host).packed       # the gateway answers from its own address


@pytest.mark.parametrize(("rate_mbps", "octets"), [(0.1, 100), (1, 100), (1, 1400), (10, 1400), (100, 9000), (1000, 60000)])
async def test_rate_is_kept_within_five_percent(bench: Bench, wire: Wire, ipv4: Packet, rate_mbps: float, octets: int) -> None:
    """Twice the rate is offered, after the burst tolerance is used up; what a receiver sees is the rate, and what the counters say."""
    pgw, sgw = await bench.forwarder(access=True), await bench.peer(bench.enb_host)
    bench.connect(pgw, "internet", wire)
    ue, rate_bps = UeIpAddress.parse(UE), int(rate_mbps * 1e6)
    pgw.install(Session(
        id=1, qers=(Qer(id=1, downlink_mbr_bps=rate_bps),), urrs=(Urr(id=1),),
        pdrs=(Pdr(id=1, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=1, qer_ids=(1,), urr_ids=(1,)),),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                  outer_header_creation=FTeid(teid=1, address=bench.enb_host)),),
    ))
    packet = ipv4(SERVER, UE, bytes(octets - 28))
    packets_a_second = 2 * rate_bps / (8 * octets)
    bunch = max(1, round(packets_a_second / 1000))

    async def offer(for_s: float) -> None:
        until = asyncio.get_running_loop().time() + for_s
        while asyncio.get_running_loop().time() < until:
            for _ in range(bunch):
                wire.on_packet(packet)
            await asyncio.sleep(bunch / packets_a_second)
        await asyncio.sleep(0.01)

    await offer(0.3 if rate_mbps >= 1 else 1.0)
    before = pgw.usage(1)[1].downlink_octets
    start = asyncio.get_running_loop().time()
    await offer(max(0.2, 60 * 8 * octets / rate_bps))
    elapsed_s = asyncio.get_running_loop().time() - start
    passed = pgw.usage(1)[1].downlink_octets - before
    assert 8 * passed / elapsed_s == pytest.approx(rate_bps, rel=0.05)
    assert sum(len(message) - 8 for message in sgw.received) == pgw.usage(1)[1].downlink_octets == pgw.statistics().usage.downlink_octets
    assert pgw.statistics().drops[DropReason.RATE_EXCEEDED] > 0


def alarms() -> int:
    """What the loop still means to do."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


async def test_session_leaves_nothing_behind_whatever_its_rules_were(bench: Bench, wire: Wire, gpdu: Packet) -> None:
    pgw, sgw = await bench.forwarder(access=True), await bench.peer(bench.enb_host)
    bench.connect(pgw, "internet", wire)
    pgw.provision([Application(id="video", domain_names=("video.example",))])
    before, ue = alarms(), UeIpAddress.parse(UE)
    for _ in range(20):
        up, down = pgw.allocate_f_teid(Interface.ACCESS), FTeid(teid=7, address=bench.enb_host)
        urr = Urr(id=1, volume_quota_octets=10**6, volume_threshold_octets=100, time_quota_s=100, time_threshold_s=10, inactivity_s=20,
                  quota_holding_time_s=30, period_s=40, application_events=True)
        session = Session(
            id=1, urrs=(urr,), qers=(Qer(id=1, correlation_id=5, uplink_mbr_bps=10**6),),
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, application_id="video", far_id=1, urr_ids=(1,),
                      qer_ids=(1,), precedence=1),
                  Pdr(id=2, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=3, urr_ids=(1,)),
                  Pdr(id=3, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2, urr_ids=(1,))),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, network_instance="internet",
                      duplicates=(Duplicate(destination_interface=Interface.ACCESS, outer_header_creation=down),)),
                  Far(id=2, apply_action=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP),
                  Far(id=3, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url="http://portal.example/")),
        )
        pgw.install(session)
        sgw.send(gpdu(up.teid, flows.tcp(UE, 40000, SERVER, 443, seq=1, data=flows.client_hello("video.example"))), bench.access_host)
        wire.on_packet(flows.udp(SERVER, 7, UE, 7, b"x"))
        await bench.settle()
        assert alarms() > before
        pgw.modify(1, SessionChange(urrs=(dataclasses.replace(urr, period_s=None),)))
        pgw.remove(1)
        await bench.settle()
    assert alarms() == before
    assert pgw.statistics().buffered_packets == 0
    assert (list(pgw._attachments), pgw._far_ends, len(pgw._shared_meters)) == (["internet"], {}, 0)      # type: ignore[attr-defined]
    assert all(not port.rules for port in pgw._ports.values())        # type: ignore[attr-defined]
    events = len(bench.events)
    await asyncio.sleep(1000)
    assert len(bench.events) == events


async def test_closed_forwarder_rings_no_more(bench: Bench, wire: Wire) -> None:
    pgw = await bench.forwarder(access=True)
    bench.connect(pgw, "internet", wire)
    ue = UeIpAddress.parse(UE)
    pgw.install(Session(
        id=1, urrs=(Urr(id=1, period_s=5),),
        pdrs=(Pdr(id=1, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=1, urr_ids=(1,)),),
        fars=(Far(id=1, apply_action=ApplyAction.DROP),),
    ))
    await pgw.close()
    await asyncio.sleep(20)
    assert bench.events == []
    assert pgw.usage(1)[1] == Usage()
