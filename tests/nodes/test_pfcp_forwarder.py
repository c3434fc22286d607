"""A control plane's user plane behind PFCP: what is asked for arrives in order, survives losses and restarts, and failures are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
import pytest_asyncio

from epc.dataplane.forwarder import DownlinkData, ErrorIndication, Event, UsageReport, UsageTrigger
from epc.dataplane.pfcp_forwarder import PfcpForwarder
from epc.dataplane.rules import (
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Interface,
    Pdr,
    RuleError,
    SdfFilter,
    Session,
    SessionChange,
    Urr,
    Usage,
)
from epc.node import parse_config
from epc.peer.pfcp import LocalEntity, PfcpTimers
from epc.peer.timer import Timer
from epc.sgwu import Sgwu, SgwuConfig
from epc.transport.interface import Address, DatagramPort
from epc.transport.memory import Link, MemoryNetwork
from epc.transport.pfcp import PFCP_PORT, PfcpEndpoint
from epc.wire import gtpu
from epc.wire.pfcp import (
    CauseValue,
    NodeReportRequest,
    NodeReportType,
    ReportType,
    SessionReportRequest,
    SessionSetDeletionRequest,
    UserPlaneIpResourceInformation,
)

pytestmark = pytest.mark.virtual_clock

CP, UP, S1U, S5U, ENB, PGW = Address("10.0.0.2", PFCP_PORT), Address("10.0.0.4", PFCP_PORT), "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"
PACKET = b"\x45\x00\x00\x14" + bytes(16)
TO_PGW = Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=FTeid(teid=0x5001, address=PGW))
TO_ENB = Far(
    id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=FTeid(teid=0x8001, address=ENB))
WAITING = Far(id=2, apply_action=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP, destination_interface=Interface.ACCESS)


class Bench:
    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.node = self.new_node(1000.0)
        self.forwarder: PfcpForwarder
        self.events: list[Event] = []
        self.received: dict[str, list[int]] = {"enb": [], "pgw": []}
        self.ports: dict[str, DatagramPort] = {}

    def new_node(self, started_at: float) -> Sgwu:
        settings = {"name": "sgwu1", "sxa": {"host": UP.host}, "s1u": {"host": S1U}, "s5u": {"host": S5U}, "pfcp": {"t1_s": 1.0}}
        return Sgwu(
            parse_config(settings, SgwuConfig, source="test"), self.network.transport("up"), clock=lambda: started_at, entropy=random.Random(1))

    async def start(self, n1_requests: int = 3, **options: Any) -> None:
        await self.node.start()
        self.forwarder = await PfcpForwarder.open(
            self.network.transport("cp"), CP, UP, interface="Sxa", tunnels={Interface.ACCESS: S1U, Interface.CORE: S5U}, recovery_time_stamp_ntp=1,
            timers=PfcpTimers(t1=Timer("T1", 1.0, n1_requests - 1), heartbeat_interval_s=10.0, association_retry_s=1.0), first_teid=0x1000, **options)
        self.forwarder.on_event = self.events.append
        for name, host in (("enb", ENB), ("pgw", PGW)):
            self.ports[name] = await self.network.transport(name).open_udp(
                Address(host, 2152), lambda data, _, name=name: self.received[name].append(gtpu.decode(data).teid or 0), interface="GTP-U")
        await asyncio.sleep(0.1)

    async def stop(self) -> None:
        await self.forwarder.close()
        await self.node.stop()
        for port in self.ports.values():
            port.close()

    def session(self, session_id: int = 1, downlink: Far = TO_ENB, quota: int | None = None) -> Session:
        s1u, s5u = self.forwarder.allocate_f_teid(Interface.ACCESS), self.forwarder.allocate_f_teid(Interface.CORE)
        return Session(
            id=session_id, fars=(TO_PGW, downlink), urrs=(Urr(id=1, volume_quota_octets=quota),),
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=s1u, far_id=1, urr_ids=(1,)),
                Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s5u, far_id=2, urr_ids=(1,)),
            ))

    async def install(self, **parts: Any) -> Session:
        session = self.session(**parts)
        self.forwarder.install(session)
        await self.forwarder.confirmed(session.id)
        return session

    async def send(self, name: str, tunnel: FTeid | None, count: int = 1) -> None:
        assert tunnel is not None
        for _ in range(count):
            self.ports[name].send(gtpu.encode(gtpu.GPdu(payload=PACKET), teid=tunnel.teid), Address(tunnel.address, 2152))
        await asyncio.sleep(0.1)

    def shown(self) -> Any:
        return self.node.views()["sessions"]()


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start()
    yield bench
    await bench.stop()


async def test_session_is_there_when_it_is_confirmed_and_gone_after_its_removal(bench: Bench) -> None:
    session = await bench.install()
    assert len(bench.shown()) == 1
    await bench.send("enb", session.pdrs[0].local_f_teid)
    await bench.send("pgw", session.pdrs[1].local_f_teid)
    assert bench.received == {"pgw": [0x5001], "enb": [0x8001]}
    bench.forwarder.remove(1)
    await asyncio.sleep(0.1)
    assert bench.shown() == []
    assert bench.forwarder.statistics().usage == Usage(uplink_octets=20, downlink_octets=20)
    assert (bench.forwarder.sessions(), bench.forwarder.session(1)) == ((), None)


async def test_what_is_asked_for_in_a_hurry_happens_in_order() -> None:
    bench = Bench()
    await bench.start(n1_requests=12)
    bench.network.set_link("cp", "up", Link(delay_s=0.01, loss=0.3, duplication=0.2, reordering=0.3))
    session = bench.session(downlink=WAITING)
    bench.forwarder.install(session)
    for teid in range(0x8001, 0x8011):
        far = Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                  outer_header_creation=FTeid(teid=teid, address=ENB))
        bench.forwarder.modify(1, SessionChange(fars=(far,)))
    await bench.forwarder.confirmed(1)
    (shown,) = bench.shown()
    assert next(far["tunnel"] for far in shown["fars"] if far["id"] == 2) == f"0x00008010@{ENB}"
    await bench.stop()


async def test_change_before_the_answer_and_removal_before_the_answer(bench: Bench) -> None:
    bench.forwarder.install(bench.session())
    bench.forwarder.remove(1)
    bench.forwarder.install(bench.session())
    bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
    bench.forwarder.remove(1)
    await asyncio.sleep(1)
    assert bench.shown() == []


async def test_downlink_data_error_indication_and_quota_become_events(bench: Bench) -> None:
    session = await bench.install(downlink=WAITING, quota=30)
    await bench.send("pgw", session.pdrs[1].local_f_teid, count=2)
    assert bench.events == [DownlinkData(session_id=1, pdr_id=2, far_id=2, dscp=0)]
    bench.forwarder.modify(1, SessionChange(fars=(TO_ENB,)))
    await bench.forwarder.confirmed(1)
    await bench.send("enb", session.pdrs[0].local_f_teid, count=2)
    assert [(event.urr_id, event.trigger) for event in bench.events if isinstance(event, UsageReport)] == [(1, UsageTrigger.VOLUME_QUOTA)]
    assert sum(usage.uplink_octets + usage.downlink_octets for usage in bench.forwarder.usage(1).values()) == 40
    bench.events.clear()
    bench.ports["enb"].send(
        gtpu.encode(gtpu.ErrorIndication(teid=0x8001, peer_address=IPv4Address(ENB))), Address(S1U, 2152))
    await asyncio.sleep(0.1)
    assert bench.events == [ErrorIndication(session_id=1, far_id=2, tunnel=FTeid(teid=0x8001, address=ENB))]
    assert bench.forwarder.statistics().error_indications_received == 1


async def test_usage_is_reported_periodically() -> None:
    bench = Bench()
    await bench.start(usage_period_s=10)
    session = await bench.install()
    await bench.send("enb", session.pdrs[0].local_f_teid)
    assert bench.forwarder.usage(1)[1] == Usage()
    await asyncio.sleep(12)
    assert bench.forwarder.usage(1)[1] == Usage(uplink_octets=20)
    assert bench.forwarder.statistics().usage == Usage(uplink_octets=20)
    await bench.stop()


async def with_urr(bench: Bench, urr: Urr, **pdr: Any) -> FTeid:
    """A session with that URR; returns the tunnel from the eNodeB."""
    session = bench.session()
    bench.forwarder.install(replace(session, urrs=(urr,), pdrs=tuple(replace(each, urr_ids=(urr.id,), **pdr) for each in session.pdrs)))
    await bench.forwarder.confirmed(1)
    tunnel = session.pdrs[0].local_f_teid
    assert tunnel is not None
    return tunnel


def reports(bench: Bench) -> list[tuple[UsageTrigger, int, float]]:
    return [(event.trigger, event.usage.octets, event.usage.duration_s) for event in bench.events if isinstance(event, UsageReport)]


@pytest.mark.parametrize(("urr", "expected"), [
    (Urr(id=1, volume_threshold_octets=30), [(UsageTrigger.VOLUME_THRESHOLD, 40, 0.0)]),
    (Urr(id=1, time_threshold_s=3), [(UsageTrigger.TIME_THRESHOLD, 40, 3.0), (UsageTrigger.TIME_THRESHOLD, 40, 6.0)]),
    (Urr(id=1, time_quota_s=3), [(UsageTrigger.TIME_QUOTA, 40, 3.0)]),
    (Urr(id=1, volume_quota_octets=100, quota_holding_time_s=3), [(UsageTrigger.QUOTA_HOLDING_TIME, 40, 3.0)]),
    (Urr(id=1, period_s=3), [(UsageTrigger.PERIOD, 40, 0.0)] * 2),
], ids=["volume threshold", "time threshold", "time quota", "holding time", "period"])
async def test_every_limit_becomes_an_event(bench: Bench, urr: Urr, expected: list[tuple[UsageTrigger, int, float]]) -> None:
    tunnel = await with_urr(bench, urr)
    await bench.send("enb", tunnel, count=2)
    await asyncio.sleep(7)
    assert reports(bench) == expected
    assert bench.forwarder.usage(1)[1].octets == 40


async def test_grant_goes_over_and_other_changes_grant_nothing(bench: Bench) -> None:
    tunnel = await with_urr(bench, Urr(id=1, volume_quota_octets=30, time_quota_s=100))
    await bench.send("enb", tunnel)
    bench.forwarder.modify(1, SessionChange(fars=(replace(TO_ENB, outer_header_creation=FTeid(teid=0x8002, address=ENB)),)))
    await bench.send("enb", tunnel, count=2)
    assert reports(bench) == [(UsageTrigger.VOLUME_QUOTA, 40, 0.0)]
    bench.forwarder.modify(1, SessionChange(urrs=(Urr(id=1, volume_quota_octets=50, time_quota_s=100),)))
    await bench.forwarder.confirmed(1)
    await bench.send("enb", tunnel, count=5)
    assert [octets for _, octets, _ in reports(bench)] == [40, 100]
    bench.forwarder.modify(1, SessionChange(urrs=(Urr(id=1),)))
    await bench.forwarder.confirmed(1)
    await bench.send("enb", tunnel, count=5)
    assert len(reports(bench)) == 2
    bench.forwarder.remove(1)
    await asyncio.sleep(0.1)
    assert bench.forwarder.statistics().usage.octets == 200


async def test_usage_that_is_only_wanted_for_totals_is_no_event() -> None:
    bench = Bench()
    await bench.start(usage_period_s=2)
    tunnel = await with_urr(bench, Urr(id=1, volume_threshold_octets=50))
    for expected in (20, 40):
        await bench.send("enb", tunnel)
        await asyncio.sleep(2.1)
        assert bench.forwarder.usage(1)[1].octets == expected
        assert bench.events == []
    await bench.send("enb", tunnel)             # periods in between do not begin the threshold anew
    assert reports(bench) == [(UsageTrigger.VOLUME_THRESHOLD, 60, 0.0)]
    await bench.stop()


async def test_applications_go_over_and_come_back_as_events(bench: Bench) -> None:
    game = Application(id="game", flows=(SdfFilter.from_flow_description("permit out ip from any to assigned"),))
    bench.forwarder.provision([game, Application(id="film", domain_names=("film.example",))])
    tunnel = await with_urr(bench, Urr(id=1, application_events=True), application_id="game")
    assert set(bench.node.applications) == {"game", "film"}
    await bench.send("enb", tunnel)
    assert bench.received["pgw"] == [0x5001]
    (started,) = bench.events
    assert isinstance(started, UsageReport)
    assert (started.trigger, started.application_id, started.usage.octets) == (UsageTrigger.APPLICATION_START, "game", 20)
    await asyncio.sleep(100)
    assert [event.trigger for event in bench.events if isinstance(event, UsageReport)] == [
        UsageTrigger.APPLICATION_START, UsageTrigger.APPLICATION_STOP]
    bench.forwarder.provision([game])
    await asyncio.sleep(0.1)
    assert bench.node.applications == {"game": game}


async def test_restarted_function_is_told_about_applications_again(bench: Bench) -> None:
    bench.forwarder.provision([Application(id="film", domain_names=("film.example",))])
    await asyncio.sleep(0.1)
    await bench.node.stop()
    bench.node = bench.new_node(2000.0)
    await bench.node.start()
    assert bench.node.applications == {}
    await asyncio.sleep(60)
    assert set(bench.node.applications) == {"film"}


async def test_redirection_and_copies_come_and_go_without_a_new_session(bench: Bench) -> None:
    await bench.install()
    shown = bench.shown()[0]["seid"]
    copy = Duplicate(destination_interface=Interface.ACCESS, outer_header_creation=FTeid(teid=0x9999, address=ENB))
    for far in (
        replace(TO_PGW, redirect_url="http://portal.example/"), TO_PGW,
        replace(TO_PGW, apply_action=ApplyAction.FORWARD | ApplyAction.DUPLICATE, duplicates=(copy,)), TO_PGW,
    ):
        bench.forwarder.modify(1, SessionChange(fars=(far,)))
        await bench.forwarder.confirmed(1)
        (session,) = bench.node.forwarder.sessions()
        assert {each.id: each for each in session.fars}[1] == far
    assert bench.shown()[0]["seid"] == shown


async def test_restarted_function_gets_its_sessions_back(bench: Bench) -> None:
    session = await bench.install()
    bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
    await bench.forwarder.confirmed(1)
    bench.network.cut("up")
    await bench.node.stop()
    bench.network.heal("up")
    bench.node = bench.new_node(2000.0)
    await bench.node.start()
    await asyncio.sleep(15)
    (shown,) = bench.shown()
    assert len(shown["pdrs"]) == 2
    await bench.send("pgw", session.pdrs[1].local_f_teid)
    assert bench.events == [DownlinkData(session_id=1, pdr_id=2, far_id=2, dscp=0)]


async def test_restart_that_a_change_finds_out_is_no_failure_of_later_changes(bench: Bench) -> None:
    """The function refuses the change, then the session, for want of an association; when there is one again all is as it should be."""
    session = await bench.install()
    bench.network.cut("up")
    await bench.node.stop()
    bench.network.heal("up")
    bench.node = bench.new_node(2000.0)
    await bench.node.start()
    bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
    await asyncio.sleep(5)
    (before,) = bench.shown()
    bench.forwarder.modify(1, SessionChange(fars=(TO_ENB,)))
    await bench.forwarder.confirmed(1)
    (after,) = bench.shown()
    assert after["seid"] == before["seid"]
    await bench.send("pgw", session.pdrs[1].local_f_teid)
    assert bench.received["enb"] == [0x8001]


async def test_session_that_the_function_has_lost_is_established_again(bench: Bench) -> None:
    await bench.install()
    bench.node.remove(next(iter(bench.node.sessions.values())))
    bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
    await bench.forwarder.confirmed(1)
    (shown,) = bench.shown()
    assert next(far["action"] for far in shown["fars"] if far["id"] == 2) == str(WAITING.apply_action)


async def test_refused_session_is_told_to_who_waits(bench: Bench) -> None:
    first = await bench.install()
    bench.forwarder.install(Session(id=2, pdrs=first.pdrs, fars=first.fars, urrs=first.urrs))       # the same tunnels
    with pytest.raises(RuleError, match="refuses the session"):
        await bench.forwarder.confirmed(2)
    await bench.forwarder.confirmed(2)
    bench.forwarder.remove(2)
    await asyncio.sleep(0.1)
    assert len(bench.shown()) == 1


async def test_refused_change_is_told_and_the_next_change_begins_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.install()
    with monkeypatch.context() as patch:
        patch.setattr("epc.userplane.session_modification.change_between", refuse)
        bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
        with pytest.raises(RuleError, match="refuses the change"):
            await bench.forwarder.confirmed(1)
    (before,) = bench.shown()
    bench.forwarder.modify(1, SessionChange(urrs=(Urr(id=2),)))
    await bench.forwarder.confirmed(1)
    (after,) = bench.shown()
    assert after["seid"] != before["seid"]
    assert next(far["action"] for far in after["fars"] if far["id"] == 2) == str(WAITING.apply_action)


def refuse(*rules: object) -> SessionChange:
    raise RuleError("not today")


async def test_silent_function_is_told_to_who_waits(bench: Bench) -> None:
    await bench.install()
    bench.network.cut("cp", "up")
    bench.forwarder.modify(1, SessionChange(fars=(WAITING,)))
    with pytest.raises(RuleError, match="T1"):
        await bench.forwarder.confirmed(1)


async def test_without_an_association_there_is_no_session() -> None:
    bench = Bench()
    bench.network.cut("cp", "up")
    await bench.start()
    assert not bench.forwarder.is_associated
    bench.forwarder.install(bench.session())
    with pytest.raises(RuleError, match="no association"):
        await bench.forwarder.confirmed(1)
    bench.network.heal("cp", "up")
    await asyncio.sleep(10)
    assert bench.forwarder.is_associated
    assert len(bench.shown()) == 1, "what still is wanted is established when that is possible"
    await bench.stop()


async def test_rules_that_contradict_each_other_are_refused_here(bench: Bench) -> None:
    session = await bench.install()
    with pytest.raises(RuleError, match="exists"):
        bench.forwarder.install(session)
    for wrong in (lambda: bench.forwarder.modify(9, SessionChange()), lambda: bench.forwarder.remove(9), lambda: bench.forwarder.usage(9)):
        with pytest.raises(RuleError, match="no session 9"):
            wrong()
    with pytest.raises(RuleError, match="no rule 9"):
        bench.forwarder.modify(1, SessionChange(remove_fars=(9,)))
    assert bench.forwarder.session(1) == session


async def test_tunnels_lie_in_the_range_that_the_function_has_announced(bench: Bench) -> None:
    await bench.forwarder.close()
    await bench.node.stop()
    resource = UserPlaneIpResourceInformation(ipv4=IPv4Address(S1U), teid_range_bits=3, teid_range=0xA0)
    network = MemoryNetwork()
    up = PfcpEndpoint(
        network.transport("up"), UP, LocalEntity(node_id="up", recovery_time_stamp_ntp=1, user_plane_ip_resources=(resource,)), interface="Sxa",
        on_request=lambda received: None)
    await up.open()
    forwarder = await PfcpForwarder.open(
        network.transport("cp"), CP, UP, interface="Sxa", tunnels={Interface.ACCESS: S1U}, recovery_time_stamp_ntp=1, first_teid=0xFFFFFFFF)
    await asyncio.sleep(0.1)
    assert [forwarder.allocate_f_teid(Interface.ACCESS).teid for _ in range(3)] == [0xBFFFFFFF, 0xA0000000, 0xA0000001]
    with pytest.raises(RuleError, match="CORE"):
        forwarder.allocate_f_teid(Interface.CORE)
    await forwarder.close()
    await up.close()


async def test_tunnel_in_use_is_not_given_again(bench: Bench) -> None:
    session = await bench.install()
    taken = session.pdrs[0].local_f_teid
    assert taken is not None
    bench.forwarder._next_teid = taken.teid
    assert bench.forwarder.allocate_f_teid(Interface.ACCESS) != taken
    bench.forwarder.remove(1)
    bench.forwarder._next_teid = taken.teid
    assert bench.forwarder.allocate_f_teid(Interface.ACCESS) == taken


async def test_reports_of_the_node_and_requests_that_make_no_sense_are_answered(bench: Bench) -> None:
    answers = []
    for message, seid in (
        (NodeReportRequest(node_id="up", node_report_type=NodeReportType.UPFR), None),
        (SessionSetDeletionRequest(node_id="up"), None),
        (SessionReportRequest(report_type=ReportType.USAR), 99),
    ):
        packet = await bench.node.sx.request(CP, seid, message)
        answers.append(packet.message.cause)  # type: ignore[attr-defined]
    assert answers == [CauseValue.REQUEST_ACCEPTED, CauseValue.SERVICE_NOT_SUPPORTED, CauseValue.SESSION_CONTEXT_NOT_FOUND]


async def test_rule_that_loses_something_is_made_anew_in_the_same_session(bench: Bench) -> None:
    """An update cannot take away; the other rules, and what is left of a quota, stay as they are."""
    session = await bench.install(quota=50)
    await bench.send("pgw", session.pdrs[1].local_f_teid)
    (before,) = bench.shown()
    pdr = Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=session.pdrs[0].local_f_teid, far_id=1)
    bench.forwarder.modify(1, SessionChange(pdrs=(pdr,)))
    await bench.forwarder.confirmed(1)
    (after,) = bench.shown()
    assert before["seid"] == after["seid"]
    await bench.send("enb", pdr.local_f_teid, count=5)
    assert bench.received["pgw"] == [0x5001] * 5
    await bench.send("pgw", session.pdrs[1].local_f_teid, count=5)
    assert bench.received["enb"] == [0x8001] * 3
    assert bench.forwarder.session(1) == Session(id=1, pdrs=(pdr, session.pdrs[1]), fars=session.fars, urrs=session.urrs)


async def test_restarted_function_gets_what_is_left_of_a_quota() -> None:
    bench = Bench()
    await bench.start(usage_period_s=1)
    session = await bench.install(quota=100)
    uplink = session.pdrs[0].local_f_teid
    await bench.send("enb", uplink, count=3)
    await asyncio.sleep(1.5)
    assert bench.forwarder.usage(1)[1].octets == 60
    await bench.node.stop()
    bench.node = bench.new_node(2000.0)
    await bench.node.start()
    await asyncio.sleep(60)
    assert len(bench.shown()) == 1
    await bench.send("enb", uplink, count=5)
    assert len(bench.received["pgw"]) == 5          # of 20 octets each, the last of which used it up
    assert [event.trigger for event in bench.events if isinstance(event, UsageReport)] == [UsageTrigger.VOLUME_QUOTA]
    await bench.stop()
