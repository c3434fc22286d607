"""SGW-U and PGW-U under a scripted control function, with tunnels to both sides, in memory on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import pytest_asyncio

from epc.dataplane.ip_packet import encode_ipv4
from epc.dataplane.rules import Application
from epc.dataplane.rules import SdfFilter as RuleSdfFilter
from epc.node import ConfigError, Node, parse_config
from epc.peer.pfcp import LocalEntity, PfcpTimers, RequestReceived
from epc.peer.timer import Timer
from epc.pgwu import Pgwu, PgwuConfig
from epc.sgwu import Sgwu, SgwuConfig
from epc.transport.interface import Address, DatagramPort
from epc.transport.memory import MemoryNetwork
from epc.transport.pfcp import PFCP_PORT, PfcpEndpoint
from epc.wire import gtpu
from epc.wire.pfcp import (
    ApplicationDetectionInformation,
    ApplicationIdsPfds,
    ApplyAction,
    BitRate,
    CauseValue,
    ChooseFteid,
    CreateBar,
    CreateFar,
    CreatePdr,
    CreateQer,
    CreateUrr,
    DuplicatingParameters,
    FailedRuleId,
    ForwardingParameters,
    Fseid,
    Fteid,
    GateStatus,
    GateValue,
    MeasurementMethod,
    Message,
    OuterHeaderCreation,
    OuterHeaderRemoval,
    OuterHeaderRemovalDescription,
    Pdi,
    PfdContents,
    PfdContext,
    PfdManagementRequest,
    PfdManagementResponse,
    QueryUrr,
    RedirectAddressType,
    RedirectInformation,
    RemoveFar,
    RemovePdr,
    RemoveUrr,
    ReportingTriggers,
    ReportType,
    RuleType,
    SdfFilter,
    SessionDeletionRequest,
    SessionDeletionResponse,
    SessionEstablishmentRequest,
    SessionEstablishmentResponse,
    SessionModificationRequest,
    SessionModificationResponse,
    SessionReportRequest,
    SessionReportResponse,
    SessionSetDeletionRequest,
    SmReqFlags,
    SourceInterface,
    SrRspFlags,
    UeIpAddress,
    UpdateFar,
    UpdateForwardingParameters,
    UpdatePdr,
    UpdateQer,
    UpdateUrr,
    UpFunctionFeatures,
    UsageReportTrigger,
    Volume,
)
from tests.dataplane import flows

pytestmark = pytest.mark.virtual_clock

CP, SX, S1U, S5U, ENB, PGW, SERVER = "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.200.0.1"
CP_SEID, ENB_TEID, PGW_TEID, UE = 0x1001, 0x8001, 0x5001, IPv4Address("10.45.0.2")
GTPU_REMOVED = OuterHeaderRemoval(description=OuterHeaderRemovalDescription.GTP_U_UDP_IPV4)
CHOOSE = ChooseFteid(ipv4=True)
PACKET = encode_ipv4(UE, IPv4Address(SERVER), 17, b"x" * 72)        # 92 octets


class Bench:
    """One node, its control function, and what sits at the far ends of its tunnels."""

    def __init__(self, node: Node[Any], network: MemoryNetwork) -> None:
        self.node = node
        self.network = network
        self.up_seid = 0
        self.reports: list[SessionReportRequest] = []
        self.report_seids: list[int | None] = []
        self.answer = SessionReportResponse(cause=CauseValue.REQUEST_ACCEPTED)
        self.is_silent = False
        self.cp = self.new_cp(1)
        self.received: dict[str, list[gtpu.Packet]] = {"enb": [], "pgw": []}
        self.ports: dict[str, DatagramPort] = {}

    def new_cp(self, time_stamp: int) -> PfcpEndpoint:
        return PfcpEndpoint(
            self.network.transport("cp"), Address(CP, PFCP_PORT), LocalEntity(node_id=IPv4Address(CP), recovery_time_stamp_ntp=time_stamp),
            interface="Sx", on_request=self.serve, timers=PfcpTimers(t1=Timer("T1", 1.0, 2), heartbeat_interval_s=None),
            first_sequence=100 * time_stamp,
        )

    def serve(self, received: RequestReceived) -> None:
        assert isinstance(received.message, SessionReportRequest)
        self.reports.append(received.message)
        self.report_seids.append(received.seid)
        if not self.is_silent:
            self.cp.respond(received, self.answer, self.up_seid)

    async def start(self) -> None:
        await self.node.start()
        await self.cp.open()
        self.cp.associate(Address(SX, PFCP_PORT))
        for name, host in (("enb", ENB), ("pgw", PGW)):
            self.ports[name] = await self.network.transport(name).open_udp(
                Address(host, 2152), lambda data, _, name=name: self.received[name].append(gtpu.decode(data)), interface="GTP-U")
        await asyncio.sleep(0.1)

    async def stop(self) -> None:
        await self.node.stop()
        await self.cp.close()
        for port in self.ports.values():
            port.close()

    async def ask(self, message: Message, seid: int | None = None) -> Any:
        packet = await self.cp.request(Address(SX, PFCP_PORT), self.up_seid if seid is None else seid, message)
        return packet.message

    async def establish(self, **parts: Any) -> SessionEstablishmentResponse:
        answer = await self.ask(SessionEstablishmentRequest(
            node_id=IPv4Address(CP), cp_fseid=Fseid.at(CP_SEID, CP), **parts), 0)
        assert isinstance(answer, SessionEstablishmentResponse)
        if answer.up_fseid is not None:
            self.up_seid = answer.up_fseid.seid
        return answer

    async def modify(self, **parts: Any) -> SessionModificationResponse:
        answer = await self.ask(SessionModificationRequest(**parts))
        assert isinstance(answer, SessionModificationResponse)
        return answer

    async def send(self, name: str, teid: int, host: str, packet: bytes = PACKET, count: int = 1) -> None:
        for _ in range(count):
            self.ports[name].send(gtpu.encode(gtpu.GPdu(payload=packet), teid=teid), Address(host, 2152))
        await asyncio.sleep(0.1)

    def payloads(self, name: str) -> list[tuple[int, bytes]]:
        return [(packet.teid, packet.message.payload) for packet in self.received[name] if isinstance(packet.message, gtpu.GPdu)]


def sgwu(network: MemoryNetwork, **config: Any) -> Sgwu:
    settings = {"name": "sgwu1", "sxa": {"host": SX}, "s1u": {"host": S1U}, "s5u": {"host": S5U}, "pfcp": {"t1_s": 1.0}, **config}
    return Sgwu(parse_config(settings, SgwuConfig, source="test"), network.transport("up"), clock=lambda: 1000.0, entropy=random.Random(1))


def pgwu(network: MemoryNetwork) -> Pgwu:
    settings = {
        "name": "pgwu1", "sxb": {"host": SX}, "s5u": {"host": S5U}, "sgi_hosts": "in_process", "pfcp": {"t1_s": 1.0},
        "networks": {"internet": {"ipv4_pool": "10.45.0.0/16", "server": f"{SERVER}/24"}},
    }
    return Pgwu(parse_config(settings, PgwuConfig, source="test"), network.transport("up"), clock=lambda: 1000.0, entropy=random.Random(1))


@pytest_asyncio.fixture
async def sgw() -> AsyncIterator[Bench]:
    network = MemoryNetwork()
    bench = Bench(sgwu(network), network)
    await bench.start()
    yield bench
    await bench.stop()


@pytest_asyncio.fixture
async def pgw() -> AsyncIterator[Bench]:
    network = MemoryNetwork()
    bench = Bench(pgwu(network), network)
    await bench.start()
    yield bench
    await bench.stop()


def pdr(pdr_id: int, source: SourceInterface, fteid: Fteid | ChooseFteid | None, **parts: Any) -> CreatePdr:
    return CreatePdr(
        pdr_id=pdr_id, precedence=parts.pop("precedence", 255), far_id=parts.pop("far_id", pdr_id),
        pdi=Pdi(source_interface=source, local_fteid=fteid, **parts.pop("pdi", {})),
        outer_header_removal=None if fteid is None else GTPU_REMOVED, **parts,
    )


def forward(far_id: int, to: SourceInterface, teid: int | None = None, host: str = "", **parts: Any) -> CreateFar:
    header = None if teid is None else OuterHeaderCreation.gtpu(teid, host)
    return CreateFar(
        far_id=far_id, apply_action=ApplyAction.FORW,
        forwarding_parameters=ForwardingParameters(destination_interface=to, outer_header_creation=header, **parts))


UPLINK, DOWNLINK = pdr(1, SourceInterface.ACCESS, CHOOSE, urr_ids=(1,)), pdr(2, SourceInterface.CORE, CHOOSE, urr_ids=(1,))
TO_PGW, TO_ENB = forward(1, SourceInterface.CORE, PGW_TEID, PGW), forward(2, SourceInterface.ACCESS, ENB_TEID, ENB)
WAITING = CreateFar(far_id=2, apply_action=ApplyAction.BUFF | ApplyAction.NOCP)
COUNTED = CreateUrr(urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers(0))


async def bearer(bench: Bench, downlink: CreateFar = TO_ENB, urr: CreateUrr = COUNTED) -> tuple[int, int]:
    """One bearer through an SGW-U that chooses its TEIDs: that on S1-U and that on S5/S8."""
    answer = await bench.establish(create_pdrs=(UPLINK, DOWNLINK), create_fars=(TO_PGW, downlink), create_urrs=(urr,))
    assert answer.cause == CauseValue.REQUEST_ACCEPTED
    chosen = {created.pdr_id: created.local_fteid for created in answer.created_pdrs}
    s1u, s5u = chosen[1], chosen[2]
    assert isinstance(s1u, Fteid)
    assert isinstance(s5u, Fteid)
    assert (s1u.host, s5u.host) == (S1U, S5U)
    return s1u.teid, s5u.teid


# --- associations -------------------------------------------------------------------------------------------------------------


async def test_association_says_what_the_function_can_do_and_where_it_is(sgw: Bench) -> None:
    (association,) = sgw.cp.machine.associations()
    assert association.node_id == IPv4Address(SX)
    features = UpFunctionFeatures.FTUP | UpFunctionFeatures.EMPU | UpFunctionFeatures.PFDM | UpFunctionFeatures.TREU
    assert association.up_function_features == features
    assert [(str(each.ipv4), each.source_interface) for each in association.user_plane_ip_resources] == [
        (S1U, SourceInterface.ACCESS), (S5U, SourceInterface.CORE)]
    assert [peer.address for peer in sgw.node.associated_peers()] == [f"{CP}:{PFCP_PORT}"]


async def test_released_association_takes_its_sessions_along(sgw: Bench) -> None:
    s1u, _ = await bearer(sgw)
    sgw.cp.release(Address(SX, PFCP_PORT))
    await asyncio.sleep(0.1)
    assert sgw.node.views()["sessions"]() == []
    await sgw.send("enb", s1u, S1U)
    assert sgw.payloads("pgw") == []


async def test_restarted_control_function_finds_a_clean_slate(sgw: Bench) -> None:
    await bearer(sgw)
    sgw.network.cut("cp", "up")
    await sgw.cp.close()
    sgw.network.heal("cp", "up")
    sgw.cp = sgw.new_cp(2)
    await sgw.cp.open()
    sgw.cp.associate(Address(SX, PFCP_PORT))
    await asyncio.sleep(0.1)
    assert sgw.node.views()["sessions"]() == []
    await bearer(sgw)


# --- tunnel to tunnel ---------------------------------------------------------------------------------------------------------


async def test_packets_pass_both_ways_through_tunnels_that_the_function_has_chosen(sgw: Bench) -> None:
    s1u, s5u = await bearer(sgw)
    await sgw.send("enb", s1u, S1U)
    await sgw.send("pgw", s5u, S5U)
    assert sgw.payloads("pgw") == [(PGW_TEID, PACKET)]
    assert sgw.payloads("enb") == [(ENB_TEID, PACKET)]
    (shown,) = sgw.node.views()["sessions"]()
    assert (shown["cp_seid"], shown["cp"]) == (CP_SEID, CP)
    assert shown["usage"] == {1: {"uplink_octets": 92, "downlink_octets": 92}}
    assert sgw.node.metrics.value("sessions") == 1
    assert sgw.node.metrics.value("user_plane_octets_total", direction="uplink") == 92


async def test_control_function_may_allocate_the_tunnels_itself(sgw: Bench) -> None:
    answer = await sgw.establish(
        create_pdrs=(pdr(1, SourceInterface.ACCESS, Fteid.at(0x7001, S1U)), pdr(2, SourceInterface.CORE, Fteid.at(0x3001, S5U))),
        create_fars=(TO_PGW, TO_ENB))
    assert answer.created_pdrs == ()
    await sgw.send("enb", 0x7001, S1U)
    assert sgw.payloads("pgw") == [(PGW_TEID, PACKET)]


async def test_one_choose_id_is_one_tunnel(sgw: Bench) -> None:
    shared = ChooseFteid(ipv4=True, choose_id=9)
    narrow = {"sdf_filters": (SdfFilter(flow_description="permit out 17 from any to assigned"),)}
    answer = await sgw.establish(
        create_pdrs=(pdr(1, SourceInterface.ACCESS, shared, pdi=narrow, precedence=1), pdr(2, SourceInterface.ACCESS, shared, far_id=1)),
        create_fars=(TO_PGW,))
    first, second = answer.created_pdrs
    assert first.local_fteid == second.local_fteid


async def test_downlink_data_for_an_idle_ue_is_reported_once_and_sent_when_there_is_a_tunnel(sgw: Bench) -> None:
    _, s5u = await bearer(sgw, WAITING)
    await sgw.send("pgw", s5u, S5U, count=3)
    (report,) = sgw.reports
    assert report.report_type == ReportType.DLDR
    assert report.downlink_data_report is not None
    assert report.downlink_data_report.pdr_ids == (2,)
    assert sgw.report_seids == [CP_SEID]
    answer = await sgw.modify(update_fars=(
        UpdateFar(
            far_id=2, apply_action=ApplyAction.FORW, update_forwarding_parameters=UpdateForwardingParameters(
                destination_interface=SourceInterface.ACCESS, outer_header_creation=OuterHeaderCreation.gtpu(ENB_TEID, ENB))),
    ))
    assert answer.cause == CauseValue.REQUEST_ACCEPTED
    await asyncio.sleep(0.1)
    assert sgw.payloads("enb") == [(ENB_TEID, PACKET)] * 3


async def test_release_and_return_of_access_bearers_needs_the_apply_action_only(sgw: Bench) -> None:
    _, s5u = await bearer(sgw)
    await sgw.modify(update_fars=(UpdateFar(far_id=2, apply_action=ApplyAction.BUFF | ApplyAction.NOCP),))
    await sgw.send("pgw", s5u, S5U)
    assert len(sgw.reports) == 1
    assert sgw.payloads("enb") == []
    await sgw.modify(update_fars=(UpdateFar(far_id=2, apply_action=ApplyAction.FORW),))
    await asyncio.sleep(0.1)
    assert sgw.payloads("enb") == [(ENB_TEID, PACKET)], "the forwarding parameters are still those of before"


async def test_same_action_told_again_announces_the_next_packet_again(sgw: Bench) -> None:
    _, s5u = await bearer(sgw, WAITING)
    await sgw.send("pgw", s5u, S5U)
    await sgw.modify(update_fars=(UpdateFar(far_id=2, apply_action=ApplyAction.BUFF | ApplyAction.NOCP),))
    await sgw.send("pgw", s5u, S5U)
    assert len(sgw.reports) == 2


async def test_report_that_nobody_answers_is_made_again_for_the_next_packet(sgw: Bench) -> None:
    _, s5u = await bearer(sgw, WAITING)
    sgw.is_silent = True
    await sgw.send("pgw", s5u, S5U)
    await asyncio.sleep(5)
    sgw.is_silent = False
    await sgw.send("pgw", s5u, S5U)
    assert len(sgw.reports) == 2


@pytest.mark.parametrize("by_report", [True, False])
async def test_buffered_packets_are_dropped_when_the_control_function_says_so(sgw: Bench, by_report: bool) -> None:
    _, s5u = await bearer(sgw, WAITING)
    if by_report:
        sgw.answer = SessionReportResponse(cause=CauseValue.REQUEST_ACCEPTED, flags=SrRspFlags.DROBU)
    await sgw.send("pgw", s5u, S5U)
    flags = None if by_report else SmReqFlags.DROBU
    answer = await sgw.modify(flags=flags, update_fars=(
        UpdateFar(
            far_id=2, apply_action=ApplyAction.FORW, update_forwarding_parameters=UpdateForwardingParameters(
                destination_interface=SourceInterface.ACCESS, outer_header_creation=OuterHeaderCreation.gtpu(ENB_TEID, ENB))),
    ))
    assert answer.cause == CauseValue.REQUEST_ACCEPTED
    await asyncio.sleep(0.1)
    assert sgw.payloads("enb") == []
    await sgw.send("pgw", s5u, S5U)
    assert sgw.payloads("enb") == [(ENB_TEID, PACKET)]


async def test_tunnel_that_is_left_ends_with_an_end_marker(sgw: Bench) -> None:
    await bearer(sgw)
    await sgw.modify(update_fars=(
        UpdateFar(
            far_id=2, update_forwarding_parameters=UpdateForwardingParameters(
                outer_header_creation=OuterHeaderCreation.gtpu(ENB_TEID + 1, ENB), flags=SmReqFlags.SNDEM)),
    ))
    await asyncio.sleep(0.1)
    assert [(type(packet.message), packet.teid) for packet in sgw.received["enb"]] == [(gtpu.EndMarker, ENB_TEID)]


async def test_error_indication_of_the_far_end_is_reported(sgw: Bench) -> None:
    await bearer(sgw)
    sgw.ports["enb"].send(gtpu.encode(gtpu.ErrorIndication(teid=ENB_TEID, peer_address=IPv4Address(ENB))), Address(S1U, 2152))
    await asyncio.sleep(0.1)
    (report,) = sgw.reports
    assert report.report_type == ReportType.ERIR
    assert report.error_indication_report is not None
    assert report.error_indication_report.remote_fteids == (Fteid.at(ENB_TEID, ENB),)


async def test_a_session_that_the_control_function_does_not_know_goes(sgw: Bench) -> None:
    _, s5u = await bearer(sgw, WAITING)
    sgw.answer = SessionReportResponse(cause=CauseValue.SESSION_CONTEXT_NOT_FOUND)
    await sgw.send("pgw", s5u, S5U)
    assert sgw.node.views()["sessions"]() == []


# --- usage --------------------------------------------------------------------------------------------------------------------


async def test_deletion_tells_what_was_used(sgw: Bench) -> None:
    s1u, s5u = await bearer(sgw)
    await sgw.send("enb", s1u, S1U, count=2)
    await sgw.send("pgw", s5u, S5U)
    answer = await sgw.ask(SessionDeletionRequest())
    assert isinstance(answer, SessionDeletionResponse)
    (report,) = answer.usage_reports
    assert (report.urr_id, report.ur_seqn, report.usage_report_trigger) == (1, 0, UsageReportTrigger.TERMR)
    assert report.volume_measurement == Volume(total_octets=276, uplink_octets=184, downlink_octets=92)
    assert (await sgw.ask(SessionDeletionRequest())).cause == CauseValue.SESSION_CONTEXT_NOT_FOUND


async def test_query_tells_what_was_used_since_the_last_report(sgw: Bench) -> None:
    s1u, _ = await bearer(sgw)
    seen = []
    for request in ({"query_urrs": (QueryUrr(urr_id=1),)}, {"flags": SmReqFlags.QAURR}):
        await sgw.send("enb", s1u, S1U)
        (report,) = (await sgw.modify(**request)).usage_reports
        assert report.volume_measurement is not None
        seen.append((report.ur_seqn, report.usage_report_trigger, report.volume_measurement.total_octets))
    assert seen == [(0, UsageReportTrigger.IMMER, 92), (1, UsageReportTrigger.IMMER, 92)]


async def test_urr_that_is_removed_reports_for_the_last_time(sgw: Bench) -> None:
    s1u, _ = await bearer(sgw)
    await sgw.send("enb", s1u, S1U)
    other = CreateUrr(urr_id=2, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers(0))
    answer = await sgw.modify(
        remove_urrs=(RemoveUrr(urr_id=1),), create_urrs=(other,),
        update_pdrs=(UpdatePdr(pdr_id=1, urr_ids=(2,)), UpdatePdr(pdr_id=2, urr_ids=(2,))))
    (report,) = answer.usage_reports
    assert (report.urr_id, report.usage_report_trigger) == (1, UsageReportTrigger.TERMR)
    assert report.volume_measurement == Volume(total_octets=92, uplink_octets=92, downlink_octets=0)


async def test_volume_threshold_is_reported_and_counts_anew(sgw: Bench) -> None:
    urr = CreateUrr(
        urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.VOLTH, volume_threshold=Volume(total_octets=150))
    s1u, _ = await bearer(sgw, urr=urr)
    await sgw.send("enb", s1u, S1U)
    await asyncio.sleep(2)
    assert sgw.reports == []
    await sgw.send("enb", s1u, S1U)
    await asyncio.sleep(2)
    await sgw.send("enb", s1u, S1U)
    await asyncio.sleep(2)
    (report,) = sgw.reports
    (usage,) = report.usage_reports
    assert (usage.usage_report_trigger, usage.volume_measurement) == (
        UsageReportTrigger.VOLTH, Volume(total_octets=184, uplink_octets=184, downlink_octets=0))


async def test_periodic_reports_come_periodically_and_measure_time(sgw: Bench) -> None:
    urr = CreateUrr(
        urr_id=1, measurement_method=MeasurementMethod.VOLUM | MeasurementMethod.DURAT, reporting_triggers=ReportingTriggers.PERIO,
        measurement_period_s=10)
    s1u, _ = await bearer(sgw, urr=urr)
    await asyncio.sleep(5)
    await sgw.send("enb", s1u, S1U)
    await asyncio.sleep(27)
    assert [report.usage_reports[0].ur_seqn for report in sgw.reports] == [0, 1, 2]
    assert [report.usage_reports[0].duration_measurement_s for report in sgw.reports] == [5, 10, 10]     # from the first packet on
    await sgw.modify(update_urrs=(UpdateUrr(urr_id=1, reporting_triggers=ReportingTriggers(0)),))
    await asyncio.sleep(32)
    assert len(sgw.reports) == 3


async def test_volume_quota_stops_packets_until_it_is_granted_anew(sgw: Bench) -> None:
    urr = CreateUrr(
        urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.VOLQU, volume_quota=Volume(total_octets=100))
    s1u, _ = await bearer(sgw, urr=urr)
    await sgw.send("enb", s1u, S1U, count=5)
    assert len(sgw.payloads("pgw")) == 2, "the packet that uses the quota up still passes"
    (report,) = sgw.reports
    assert report.usage_reports[0].usage_report_trigger == UsageReportTrigger.VOLQU
    await sgw.modify(update_urrs=(UpdateUrr(urr_id=1, volume_quota=Volume(total_octets=90)),))
    await sgw.send("enb", s1u, S1U, count=5)
    assert len(sgw.payloads("pgw")) == 3


@pytest.mark.parametrize(("limits", "wait_s", "trigger"), [
    ({"reporting_triggers": ReportingTriggers.VOLTH, "volume_threshold": Volume(total_octets=150)}, 0.2, UsageReportTrigger.VOLTH),
    ({"reporting_triggers": ReportingTriggers.VOLTH, "volume_threshold": Volume(uplink_octets=150)}, 1.2, UsageReportTrigger.VOLTH),
    ({"reporting_triggers": ReportingTriggers.TIMTH, "time_threshold_s": 7}, 7.2, UsageReportTrigger.TIMTH),
    ({"reporting_triggers": ReportingTriggers.TIMQU, "time_quota_s": 7}, 7.2, UsageReportTrigger.TIMQU),
    ({"reporting_triggers": ReportingTriggers.QUHTI | ReportingTriggers.VOLQU, "quota_holding_time_s": 7, "volume_quota": Volume(total_octets=999)},
     7.2, UsageReportTrigger.QUHTI),
], ids=["volume", "uplink volume", "time", "time quota", "holding time"])
async def test_each_limit_makes_its_report(sgw: Bench, limits: dict[str, Any], wait_s: float, trigger: UsageReportTrigger) -> None:
    method = MeasurementMethod.VOLUM | MeasurementMethod.DURAT
    s1u, _ = await bearer(sgw, urr=CreateUrr(urr_id=1, measurement_method=method, **limits))
    await sgw.send("enb", s1u, S1U, count=2)
    await asyncio.sleep(wait_s)
    (report,) = sgw.reports
    (usage,) = report.usage_reports
    assert usage.usage_report_trigger == trigger
    assert usage.volume_measurement == Volume(total_octets=2 * len(PACKET), uplink_octets=2 * len(PACKET), downlink_octets=0)
    assert usage.duration_measurement_s == int(wait_s) or wait_s < 2
    await sgw.send("enb", s1u, S1U)
    stops = trigger in (UsageReportTrigger.TIMQU, UsageReportTrigger.QUHTI)
    assert len(sgw.payloads("pgw")) == (2 if stops else 3)


async def test_limit_without_its_trigger_makes_no_report(sgw: Bench) -> None:
    urr = CreateUrr(
        urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers(0), volume_threshold=Volume(total_octets=50),
        time_threshold_s=1, measurement_period_s=1)
    s1u, _ = await bearer(sgw, urr=urr)
    await sgw.send("enb", s1u, S1U, count=2)
    await asyncio.sleep(5)
    assert sgw.reports == []


async def test_unlimited_quota_is_none(sgw: Bench) -> None:
    urr = CreateUrr(
        urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.VOLQU, volume_quota=Volume(total_octets=100))
    s1u, _ = await bearer(sgw, urr=urr)
    await sgw.modify(update_urrs=(UpdateUrr(urr_id=1, volume_quota=Volume(total_octets=0xFFFFFFFFFFFFFFFF)),))
    await sgw.send("enb", s1u, S1U, count=5)
    assert (len(sgw.payloads("pgw")), sgw.reports) == (5, [])


async def test_copies_go_to_the_li_function(sgw: Bench) -> None:
    far = replace(TO_PGW, apply_action=ApplyAction.FORW | ApplyAction.DUPL, duplicating_parameters=(
        DuplicatingParameters(destination_interface=SourceInterface.LI_FUNCTION, outer_header_creation=OuterHeaderCreation.gtpu(0x9999, ENB)),))
    answer = await sgw.establish(create_pdrs=(UPLINK,), create_fars=(far,), create_urrs=(COUNTED,))
    s1u = answer.created_pdrs[0].local_fteid
    assert isinstance(s1u, Fteid)
    await sgw.send("enb", s1u.teid, S1U)
    assert (sgw.payloads("pgw"), sgw.payloads("enb")) == ([(PGW_TEID, PACKET)], [(0x9999, PACKET)])
    await sgw.modify(update_fars=(UpdateFar(far_id=1, apply_action=ApplyAction.FORW),))
    await sgw.send("enb", s1u.teid, S1U)
    assert (len(sgw.payloads("pgw")), len(sgw.payloads("enb"))) == (2, 1)


async def test_control_function_sees_router_solicitations_and_answers_them(pgw: Bench) -> None:
    """What a PGW-C that hands out IPv6 prefixes sets up: the solicitation goes to it in a tunnel, and its answer to the UE (TS 29.244 clause 5.3)."""
    solicitation = flows.ip("fe80::2", "ff02::2", 58, b"\x85\0\0\0\0\0\0\0")
    advertisement = flows.ip("fe80::1", "fe80::2", 58, b"\x86" + bytes(15))
    prefix = UeIpAddress(ipv6=IPv6Address("2001:db8:1::"))
    at_tunnel = ChooseFteid(ipv4=True, choose_id=5)
    to_cp = SdfFilter(flow_description="permit out 58 from ff02::2/128 to assigned")
    answer = await pgw.establish(
        create_pdrs=(
            pdr(1, SourceInterface.CORE, None, pdi={"ue_ip_address": replace(prefix, is_destination=True), "network_instance": b"\x08internet"}),
            pdr(2, SourceInterface.ACCESS, at_tunnel, pdi={"ue_ip_address": prefix}),
            pdr(3, SourceInterface.CP_FUNCTION, ChooseFteid(ipv4=True), far_id=1),
            pdr(4, SourceInterface.ACCESS, at_tunnel, precedence=1, pdi={"sdf_filters": (to_cp,)}),
        ),
        create_fars=(
            forward(1, SourceInterface.ACCESS, ENB_TEID, ENB), forward(2, SourceInterface.CORE, network_instance=b"\x08internet"),
            forward(4, SourceInterface.CP_FUNCTION, 0xC9, PGW),
        ),
    )
    assert answer.cause == CauseValue.REQUEST_ACCEPTED
    teids = {created.pdr_id: created.local_fteid.teid for created in answer.created_pdrs if isinstance(created.local_fteid, Fteid)}
    assert teids[2] == teids[4] != teids[3]
    await pgw.send("enb", teids[2], S5U, solicitation)
    assert pgw.payloads("pgw") == [(0xC9, solicitation)]
    await pgw.send("pgw", teids[3], S5U, advertisement)
    assert pgw.payloads("enb") == [(ENB_TEID, advertisement)]


# --- applications -------------------------------------------------------------------------------------------------------------


def pfds(application_id: bytes, *contents: PfdContents) -> ApplicationIdsPfds:
    return ApplicationIdsPfds(application_id=application_id, pfd_contexts=(PfdContext(pfd_contents=contents),) if contents else ())


async def provision(bench: Bench, *applications: ApplicationIdsPfds) -> PfdManagementResponse:
    packet = await bench.cp.request(Address(SX, PFCP_PORT), None, PfdManagementRequest(application_ids_pfds=applications))
    assert isinstance(packet.message, PfdManagementResponse)
    return packet.message


async def test_applications_are_provisioned_changed_and_forgotten(sgw: Bench) -> None:
    game = pfds(b"game", PfdContents(domain_name="Game.example."))
    film = pfds(b"film", PfdContents(flow_description="permit out 6 from any 99 to any"))
    assert (await provision(sgw, game, film)).cause == CauseValue.REQUEST_ACCEPTED
    assert sgw.node.applications == {
        "game": Application(id="game", domain_names=("game.example",)),
        "film": Application(id="film", flows=(RuleSdfFilter(protocol=6, remote_ports=(99, 99)),)),
    }
    await provision(sgw, pfds(b"game", PfdContents(domain_name="play.example"), PfdContents(domain_name="play.example.org")))
    assert sgw.node.applications["game"].domain_names == ("play.example", "play.example.org")
    await provision(sgw, pfds(b"game"))
    assert list(sgw.node.applications) == ["film"]
    await provision(sgw)
    assert sgw.node.applications == {}


@pytest.mark.parametrize("contents", [
    PfdContents(url="https://game.example/"), PfdContents(custom=b"x"), PfdContents(flow_description="permit in ip from any to any"),
], ids=["URL", "custom", "flow"])
async def test_pfds_that_say_nothing_to_us_are_refused_whole(sgw: Bench, contents: PfdContents) -> None:
    await provision(sgw, pfds(b"game", PfdContents(domain_name="game.example")))
    answer = await provision(sgw, pfds(b"film", PfdContents(domain_name="film.example")), pfds(b"game", contents))
    assert (answer.cause, answer.offending_ie) == (CauseValue.MANDATORY_IE_INCORRECT, 61)
    assert list(sgw.node.applications) == ["game"]


async def test_pfds_need_an_association(sgw: Bench) -> None:
    sgw.cp.release(Address(SX, PFCP_PORT))
    await asyncio.sleep(0.1)
    assert (await provision(sgw)).cause == CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION


async def test_detected_application_is_reported_with_its_name(sgw: Bench) -> None:
    await provision(sgw, pfds(b"game", PfdContents(flow_description="permit out 17 from any to assigned")))
    urr = CreateUrr(urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.START | ReportingTriggers.STOPT)
    uplink = pdr(1, SourceInterface.ACCESS, CHOOSE, pdi={"application_id": b"game"}, urr_ids=(1,))
    answer = await sgw.establish(create_pdrs=(uplink,), create_fars=(TO_PGW,), create_urrs=(urr,))
    s1u = answer.created_pdrs[0].local_fteid
    assert isinstance(s1u, Fteid)
    await sgw.send("enb", s1u.teid, S1U)
    await asyncio.sleep(100)
    start, stop = [report.usage_reports[0] for report in sgw.reports]
    assert (start.usage_report_trigger, stop.usage_report_trigger) == (UsageReportTrigger.START, UsageReportTrigger.STOPT)
    assert start.application_detection_information == ApplicationDetectionInformation(application_id=b"game")
    assert stop.application_detection_information == start.application_detection_information
    assert start.volume_measurement is not None
    assert start.volume_measurement.uplink_octets == len(PACKET)


# --- towards SGi --------------------------------------------------------------------------------------------------------------


async def pdn_connection(bench: Bench, **pdi: Any) -> int:
    ue = {"ue_ip_address": UeIpAddress(ipv4=UE), **pdi}
    down = {"ue_ip_address": UeIpAddress(ipv4=UE, is_destination=True), "network_instance": b"\x08internet"}
    answer = await bench.establish(
        create_pdrs=(pdr(1, SourceInterface.ACCESS, CHOOSE, pdi=ue, qer_ids=(7,)), pdr(2, SourceInterface.SGI_LAN, None, pdi=down, qer_ids=(7,))),
        create_fars=(forward(1, SourceInterface.SGI_LAN, network_instance=b"internet"), forward(2, SourceInterface.ACCESS, PGW_TEID, PGW)),
        create_qers=(CreateQer(qer_id=7, gate_status=GateStatus(), mbr=BitRate(uplink_kbps=10_000, downlink_kbps=10_000)),))
    assert answer.cause == CauseValue.REQUEST_ACCEPTED
    fteid = answer.created_pdrs[0].local_fteid
    assert isinstance(fteid, Fteid)
    return fteid.teid


def echo_request(source: IPv4Address = UE) -> bytes:
    body = bytes.fromhex("0800 0000 0001 0001")
    total = sum(int.from_bytes(body[i:i + 2]) for i in range(0, len(body), 2))
    return encode_ipv4(source, IPv4Address(SERVER), 1, body[:2] + (0xFFFF - total).to_bytes(2) + body[4:])


async def test_phone_gets_an_answer_from_the_data_network(pgw: Bench) -> None:
    teid = await pdn_connection(pgw)
    await pgw.send("pgw", teid, S5U, echo_request())
    ((peer_teid, reply),) = pgw.payloads("pgw")
    assert (peer_teid, reply[12:16], reply[16:20], reply[20]) == (PGW_TEID, IPv4Address(SERVER).packed, UE.packed, 0)
    assert pgw.node.sgi_server == SERVER


async def test_closed_gate_stops_packets(pgw: Bench) -> None:
    teid = await pdn_connection(pgw)
    await pgw.modify(update_qers=(UpdateQer(qer_id=7, gate_status=GateStatus(uplink=GateValue.CLOSED)),))
    await pgw.send("pgw", teid, S5U, echo_request())
    assert pgw.payloads("pgw") == []
    assert pgw.node.metrics.value("user_plane_drops_total", reason="gate_closed") == 1


async def test_somebody_elses_source_address_does_not_pass(pgw: Bench) -> None:
    teid = await pdn_connection(pgw)
    await pgw.send("pgw", teid, S5U, echo_request(IPv4Address("10.45.0.99")))
    assert pgw.payloads("pgw") == []
    assert pgw.node.views()["userplane"]()["drops"] == {"spoofed_source": 1}


# --- what cannot be done ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pdrs", "fars", "urrs", "cause", "failed"),
    [
        ((UPLINK,), (WAITING,), (COUNTED,), CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, None),      # no FAR 1
        ((UPLINK,), (CreateFar(far_id=1, apply_action=ApplyAction.FORW),), (COUNTED,), CauseValue.CONDITIONAL_IE_MISSING, (RuleType.FAR, 1)),
        ((UPLINK,), (CreateFar(far_id=1, apply_action=ApplyAction.FORW | ApplyAction.DUPL),), (COUNTED,),
         CauseValue.CONDITIONAL_IE_MISSING, (RuleType.FAR, 1)),
        ((UPLINK,), (replace(TO_PGW, apply_action=ApplyAction.FORW | ApplyAction.DUPL),), (COUNTED,),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, None),
        ((UPLINK,), (forward(1, SourceInterface.LI_FUNCTION, 1, PGW),), (COUNTED,), CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE,
         (RuleType.FAR, 1)),
        ((UPLINK, UPLINK), (TO_PGW,), (COUNTED,), CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.PDR, 1)),  # twice
        ((pdr(1, SourceInterface.ACCESS, ChooseFteid(ipv6=True)),), (TO_PGW,), (), CauseValue.INVALID_F_TEID_ALLOCATION_OPTION, (RuleType.PDR, 1)),
        ((CreatePdr(pdr_id=1, precedence=1, pdi=Pdi(source_interface=SourceInterface.ACCESS, local_fteid=CHOOSE), far_id=1),), (TO_PGW,), (),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.PDR, 1)),     # keeps its GTP-U header
        ((pdr(1, SourceInterface.ACCESS, CHOOSE, activate_predefined_rules=(b"game",)),), (TO_PGW,), (),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.PDR, 1)),
        ((UPLINK,), (forward(1, SourceInterface.CORE, 1, PGW, redirect_information=RedirectInformation(
            type=RedirectAddressType.SIP_URI, address="sip:portal")),), (COUNTED,), CauseValue.INVALID_FORWARDING_POLICY, (RuleType.FAR, 1)),
        ((pdr(1, SourceInterface.ACCESS, CHOOSE, pdi={"sdf_filters": (SdfFilter(flow_description="deny in"),)}),), (TO_PGW,), (),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.PDR, 1)),
        ((pdr(1, SourceInterface.ACCESS, CHOOSE, pdi={"ue_ip_address": UeIpAddress(ipv4=UE, is_destination=True)}),), (TO_PGW,), (),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.PDR, 1)),
        ((UPLINK,), (TO_PGW,),
         (CreateUrr(urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.VOLQU,
                    volume_quota=Volume(uplink_octets=1)),),
         CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, (RuleType.URR, 1)),
    ],
)
async def test_rules_that_cannot_hold_are_refused_and_leave_nothing(
    sgw: Bench, pdrs: tuple[CreatePdr, ...], fars: tuple[CreateFar, ...], urrs: tuple[CreateUrr, ...], cause: CauseValue,
    failed: tuple[RuleType, int] | None,
) -> None:
    answer = await sgw.establish(create_pdrs=pdrs, create_fars=fars, create_urrs=urrs)
    assert answer.cause == cause
    assert answer.failed_rule_id == (None if failed is None else FailedRuleId(type=failed[0], id=failed[1]))
    assert answer.up_fseid is None
    assert sgw.node.views()["sessions"]() == []
    assert sgw.node.views()["userplane"]()["sessions"] == 0
    assert sgw.node.metrics.value(
        "procedure_failures_total", procedure="session_establishment", result="rejected", cause=cause.name) == 1


async def test_modification_that_cannot_hold_changes_nothing(sgw: Bench) -> None:
    s1u, _ = await bearer(sgw)
    for request, failed in (
        ({"remove_pdrs": (RemovePdr(pdr_id=2),), "update_pdrs": (UpdatePdr(pdr_id=9, precedence=1),)}, FailedRuleId(type=RuleType.PDR, id=9)),
        ({"remove_fars": (RemoveFar(far_id=1),)}, None),
        ({"flags": SmReqFlags.DROBU, "remove_fars": (RemoveFar(far_id=1),)}, None),
        ({"update_fars": (UpdateFar(far_id=1, apply_action=ApplyAction.DUPL),)}, FailedRuleId(type=RuleType.FAR, id=1)),
    ):
        answer = await sgw.modify(**request)
        assert (answer.cause, answer.failed_rule_id) == (CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, failed)
    await sgw.send("enb", s1u, S1U)
    assert sgw.payloads("pgw") == [(PGW_TEID, PACKET)]


async def test_unknown_session_and_unknown_service(sgw: Bench) -> None:
    assert (await sgw.ask(SessionModificationRequest(), 77)).cause == CauseValue.SESSION_CONTEXT_NOT_FOUND
    packet = await sgw.cp.request(Address(SX, PFCP_PORT), None, SessionSetDeletionRequest(node_id=IPv4Address(CP)))
    assert packet.message.cause == CauseValue.SERVICE_NOT_SUPPORTED  # type: ignore[attr-defined]


async def test_malformed_modification_is_answered_to_the_control_functions_seid(sgw: Bench) -> None:
    await bearer(sgw)
    seen: list[bytes] = []
    port = await sgw.network.transport("tester").open_udp(Address("10.0.0.99", PFCP_PORT), lambda data, _: seen.append(data), interface="Sx")
    port.send(bytes.fromhex("21340010") + sgw.up_seid.to_bytes(8) + bytes.fromhex("00001500 00310000"), Address(SX, PFCP_PORT))
    await asyncio.sleep(0.1)
    port.close()
    assert [int.from_bytes(data[4:12]) for data in seen] == [CP_SEID]


async def test_new_bearer_in_a_modification_gets_its_tunnels(sgw: Bench) -> None:
    await bearer(sgw)
    answer = await sgw.modify(
        create_pdrs=(pdr(3, SourceInterface.ACCESS, CHOOSE), pdr(4, SourceInterface.CORE, CHOOSE)),
        create_fars=(forward(3, SourceInterface.CORE, PGW_TEID + 1, PGW), forward(4, SourceInterface.ACCESS, ENB_TEID + 1, ENB)),
        create_bar=CreateBar(bar_id=1))
    fteid = answer.created_pdrs[0].local_fteid
    assert isinstance(fteid, Fteid)
    await sgw.send("enb", fteid.teid, S1U)
    assert sgw.payloads("pgw") == [(PGW_TEID + 1, PACKET)]
    same = await sgw.modify(update_pdrs=(UpdatePdr(pdr_id=3, pdi=Pdi(source_interface=SourceInterface.ACCESS, local_fteid=CHOOSE)),))
    assert same.created_pdrs[0].local_fteid == fteid, "a PDR keeps the tunnel that was chosen for it"


def test_configuration_needs_addresses_that_peers_can_send_to() -> None:
    with pytest.raises(ConfigError, match=r"sxa\.host"):
        parse_config({"name": "u", "sxa": {"host": "0.0.0.0"}, "s1u": {"host": S1U}, "s5u": {"host": S5U}}, SgwuConfig, source="test")
