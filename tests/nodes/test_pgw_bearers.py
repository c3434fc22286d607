"""The PGW as PCEF between a scripted SGW and a scripted PCRF: bearers, rules by name and by application, events, usage."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Interface
from typing import Any

import pytest
import pytest_asyncio

from epc.dataplane.forwarder import ErrorIndication, GtpuPort
from epc.dataplane.ip_endpoint import EndpointHost, udp_exchange
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session
from epc.dataplane.socket_backend import SocketForwarder
from epc.node import ConfigError
from epc.pgw.context import PdnSession
from epc.wire import nas
from epc.wire.diameter.groups import AllocationRetentionPriority, RatType
from epc.wire.diameter.gx import CcRequestType, CreditControlAnswer, CreditControlRequest, EventTrigger
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleRemove,
    DefaultEpsBearerQos,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    MuteNotification,
    PacketFilterUsage,
    PccRuleStatus,
    QosInformation,
    ResourceAllocationNotification,
    RuleFailureCode,
    ServiceUnit,
    UsageMonitoringInformation,
    UsageMonitoringLevel,
    UsageMonitoringReport,
    UsageMonitoringSupport,
)
from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextCreateAnswered,
    BearerContextDeleteCommanded,
    BearerContextModifyCommanded,
    BearerContextUpdateAnswered,
    BearerQos,
    Cause,
    CauseValue,
    ChangeNotificationRequest,
    ChangeReportingAction,
    CreateBearerRequest,
    CreateBearerResponse,
    DeleteBearerCommand,
    DeleteBearerFailureIndication,
    DeleteBearerRequest,
    DeleteBearerResponse,
    DeleteSessionRequest,
    Ecgi,
    Fteid,
    InterfaceType,
    ModifyBearerCommand,
    ModifyBearerRequest,
    Tai,
    Uli,
    UpdateBearerRequest,
    UpdateBearerResponse,
)
from epc.wire.gtpv2 import RatType as GtpRatType
from epc.wire.identity import Plmn
from tests.nodes.test_pgw import ACCEPTED, AMBR, QOS, S5U, SERVER, SGW, SGW_USER_TEID, Bench, create_session_request, decision

pytestmark = pytest.mark.virtual_clock
FIRST_ARP = AllocationRetentionPriority(priority_level=2)
ANY = "permit out ip from any to assigned"
VOICE = QosInformation(
    qos_class_identifier=1, allocation_retention_priority=FIRST_ARP, max_requested_bandwidth_ul=128_000, max_requested_bandwidth_dl=256_000,
    guaranteed_bitrate_ul=64_000, guaranteed_bitrate_dl=96_500)
VIDEO = QosInformation(qos_class_identifier=7)


def rule(name: str, *flows: str, qos: QosInformation | None = None, **more: Any) -> ChargingRuleDefinition:
    return ChargingRuleDefinition(
        charging_rule_name=name.encode(), flow_information=tuple(FlowInformation(flow_description=flow) for flow in flows), qos_information=qos,
        **{"precedence": 100, "flow_status": FlowStatus.ENABLED, **more})


def install(*rules: ChargingRuleDefinition, **more: Any) -> ChargingRuleInstall:
    return ChargingRuleInstall(charging_rule_definition=rules, **more)


class PcefBench(Bench):
    """With an SGW behind which everybody agrees."""

    def __init__(self, **config: Any) -> None:
        super().__init__(gx={}, **config)
        self.next_ebi = 6
        self.answers = {CreateBearerRequest: self.set_up, UpdateBearerRequest: self.change, DeleteBearerRequest: self.take_away}

    def set_up(self, received: Any) -> CreateBearerResponse:
        context = received.message.bearer_contexts[0]
        ebi, self.next_ebi = self.next_ebi, self.next_ebi + 1
        return CreateBearerResponse(cause=ACCEPTED, bearer_contexts=(BearerContextCreateAnswered(
            ebi=ebi, cause=ACCEPTED, s5u_pgw_fteid=context.s5u_pgw_fteid,
            s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, 0x5000 + ebi, SGW)),))

    def change(self, received: Any) -> UpdateBearerResponse:
        return UpdateBearerResponse(cause=ACCEPTED, bearer_contexts=tuple(
            BearerContextUpdateAnswered(ebi=context.ebi, cause=ACCEPTED) for context in received.message.bearer_contexts))

    def take_away(self, received: Any) -> DeleteBearerResponse:
        return DeleteBearerResponse(cause=ACCEPTED)

    @property
    def session(self) -> PdnSession:
        [session] = self.pgw.sessions.values()
        return session

    def of(self, kind: type) -> list[Any]:
        return [received.message for received in self.requests if isinstance(received.message, kind)]

    def updates(self) -> list[CreditControlRequest]:
        return [request for request in self.credit if request.cc_request_type == CcRequestType.UPDATE_REQUEST]

    def failures(self) -> dict[str, RuleFailureCode | int | None]:
        return {name.decode(): report.rule_failure_code for update in self.updates() for report in update.charging_rule_report
                if report.pcc_rule_status == PccRuleStatus.INACTIVE for name in report.charging_rule_name}

    def initially(self, **fields: Any) -> None:
        """The PCRF's first decision; later it only acknowledges."""
        self.decide = lambda request: decision(request, **(fields if request.cc_request_type == CcRequestType.INITIAL_REQUEST else {}))

    def pdrs(self) -> dict[int, Pdr]:
        [session] = self.pgw.forwarder.sessions()
        return {pdr.id: pdr for pdr in session.pdrs}

    def pdr_of(self, name: str, source: Interface) -> Pdr | None:
        return self.pdrs().get(2 * self.session.rules[name.encode()].number + (source is Interface.CORE))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[PcefBench]:
    bench = PcefBench()
    await bench.start()
    yield bench
    if bench.pgw.sessions:
        await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)
    await bench.assert_empty()
    await bench.stop()


# --- bearer binding -----------------------------------------------------------------------------------------------------------


async def test_rule_with_another_qos_gets_a_bearer_of_its_own(bench: PcefBench) -> None:
    bench.initially(charging_rule_install=(install(
        rule("all", ANY), rule("voice", "permit out 17 from 192.0.2.0/24 5060-5070 to assigned 4000", qos=VOICE, precedence=10)),))
    assert (await bench.create()).cause == ACCEPTED
    await asyncio.sleep(1)
    [request] = bench.of(CreateBearerRequest)
    [context] = request.bearer_contexts
    assert (request.linked_ebi, context.ebi) == (5, 0)
    assert context.bearer_qos == BearerQos(
        qci=1, arp=Arp(priority_level=2, pre_emption_capability=False, pre_emption_vulnerability=True), mbr_uplink_kbps=128, mbr_downlink_kbps=256,
        gbr_uplink_kbps=64, gbr_downlink_kbps=97)
    [packet_filter] = nas.decode_traffic_flow_template(context.tft).filters
    assert str(packet_filter.remote) == "192.0.2.0/24"
    assert (packet_filter.protocol, packet_filter.remote_ports, packet_filter.local_ports) == (17, (5060, 5070), (4000, 4000))
    session = bench.session
    assert context.charging_id not in (None, session.charging_id)
    assert context.charging_id == session.bearers[6].charging_id
    uplink, downlink = bench.pdr_of("voice", Interface.ACCESS), bench.pdr_of("voice", Interface.CORE)
    assert uplink is not None
    assert downlink is not None
    assert uplink.local_f_teid == session.bearers[6].s5u_pgw != session.default_bearer.s5u_pgw
    [rules] = bench.pgw.forwarder.sessions()
    [far] = [far for far in rules.fars if far.id == downlink.far_id]
    assert far.outer_header_creation == FTeid(teid=0x5006, address=SGW)
    [gate] = [qer for qer in rules.qers if qer.id in downlink.qer_ids]
    assert (gate.uplink_mbr_bps, gate.downlink_mbr_bps, gate.uplink_gbr_bps, gate.downlink_gbr_bps) == (128_000, 256_000, 64_000, 96_500)
    assert 0 not in downlink.qer_ids, "a GBR bearer has no part in the APN-AMBR"
    assert {(end.label, end.ebi) for end in bench.pgw.tunnels()} == {("t2", 0), ("t4", 0), ("t3", 5), ("t5", 5), ("t3", 6), ("t5", 6)}


async def test_uplink_of_a_bearer_passes_before_the_answer_is_here(bench: PcefBench) -> None:
    del bench.answers[CreateBearerRequest]
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    [request] = bench.of(CreateBearerRequest)
    teid = request.bearer_contexts[0].s5u_pgw_fteid.teid
    assert [pdr.source_interface for pdr in bench.pdrs().values() if pdr.local_f_teid == FTeid(teid=teid, address=S5U)] == [Interface.ACCESS]
    assert bench.pdr_of("voice", Interface.CORE) is None, "downlink there is no tunnel yet"
    await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)


async def test_rules_share_a_bearer_and_the_last_one_takes_it_along(bench: PcefBench) -> None:
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    await bench.push(charging_rule_install=(install(rule("b", "permit out 17 from any 2 to assigned", qos=VOICE, precedence=50)),))
    await asyncio.sleep(1)
    assert len(bench.of(CreateBearerRequest)) == 1
    [update] = bench.of(UpdateBearerRequest)
    [context] = update.bearer_contexts
    tft = nas.decode_traffic_flow_template(context.tft)
    assert (context.ebi, tft.operation) == (6, nas.TftOperation.ADD_PACKET_FILTERS)
    assert context.bearer_qos.gbr_uplink_kbps == 128
    assert update.ambr == AMBR
    filters = {sent.rule_name: sent.packet_filter for sent in bench.session.bearers[6].filters.values()}
    assert filters[b"b"].precedence < filters[b"a"].precedence, "as the rules' own"
    await bench.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"a",)),))
    await asyncio.sleep(1)
    [_, update] = bench.of(UpdateBearerRequest)
    tft = nas.decode_traffic_flow_template(update.bearer_contexts[0].tft)
    assert (tft.operation, tft.deleted) == (nas.TftOperation.DELETE_PACKET_FILTERS, (filters[b"a"].identifier,))
    assert update.bearer_contexts[0].bearer_qos.gbr_uplink_kbps == 64
    await bench.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"b",)),))
    await asyncio.sleep(1)
    [request] = bench.of(DeleteBearerRequest)
    assert (request.linked_ebi, request.ebis) == (None, (6,))
    assert list(bench.session.bearers) == [5]
    assert sorted(bench.pdrs()) == [0, 1]


async def test_rule_that_moves_has_its_new_bearer_before_it_leaves_the_old_one(bench: PcefBench) -> None:
    await bench.create()
    flow = "permit out 17 from any 1 to assigned"
    await bench.push(charging_rule_install=(install(rule("a", flow, qos=VOICE)),))
    await asyncio.sleep(1)
    await bench.push(charging_rule_install=(install(rule("a", flow, qos=VIDEO)),))
    await asyncio.sleep(1)
    assert [type(received.message).__name__ for received in bench.requests] == ["CreateBearerRequest", "CreateBearerRequest", "DeleteBearerRequest"]
    assert list(bench.session.bearers) == [5, 7]
    assert bench.session.rules[b"a"].bearer is bench.session.bearers[7]


async def test_rule_that_gets_the_default_bearers_qos_goes_there(bench: PcefBench) -> None:
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("video", ANY, qos=VIDEO)),))
    await asyncio.sleep(1)
    await bench.push(default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=7))
    await asyncio.sleep(1)
    assert [type(received.message).__name__ for received in bench.requests] == ["CreateBearerRequest", "UpdateBearerRequest", "DeleteBearerRequest"]
    assert bench.session.rules[b"video"].bearer is bench.session.default_bearer
    assert bench.session.policy.qos.qci == 7


async def test_marked_flows_alone_go_to_the_ue_and_directions_are_kept(bench: PcefBench) -> None:
    await bench.create()
    flows = (
        FlowInformation(flow_description="permit out 17 from any 1 to assigned", packet_filter_usage=PacketFilterUsage.SEND_TO_UE,
                        flow_direction=FlowDirection.UPLINK, tos_traffic_class=b"\xb8\xfc"),
        FlowInformation(flow_description="permit out 17 from any 2 to assigned", flow_direction=FlowDirection.DOWNLINK))
    await bench.push(charging_rule_install=(install(ChargingRuleDefinition(
        charging_rule_name=b"a", flow_information=flows, qos_information=VIDEO, precedence=1, flow_status=FlowStatus.ENABLED)),))
    await asyncio.sleep(1)
    [request] = bench.of(CreateBearerRequest)
    [packet_filter] = nas.decode_traffic_flow_template(request.bearer_contexts[0].tft).filters
    assert (packet_filter.direction, packet_filter.remote_ports) == (nas.PacketFilterDirection.UPLINK_ONLY, (1, 1))
    assert packet_filter.type_of_service == (0xB8, 0xFC)
    uplink, downlink = bench.pdr_of("a", Interface.ACCESS), bench.pdr_of("a", Interface.CORE)
    assert uplink is not None
    assert downlink is not None
    assert [each.remote_ports for each in uplink.sdf_filters] == [(1, 1)]
    assert [each.remote_ports for each in downlink.sdf_filters] == [(2, 2)]


async def test_template_without_uplink_filter_is_shut_for_uplink(bench: PcefBench) -> None:
    """Or the UE would send everything there (TS 23.060 clause 15.3.3.4)."""
    await bench.create()
    flow = FlowInformation(flow_description=ANY, flow_direction=FlowDirection.DOWNLINK)
    await bench.push(charging_rule_install=(install(ChargingRuleDefinition(
        charging_rule_name=b"a", flow_information=(flow,), qos_information=VIDEO)),))
    await asyncio.sleep(1)
    [request] = bench.of(CreateBearerRequest)
    down, up = nas.decode_traffic_flow_template(request.bearer_contexts[0].tft).filters
    assert down.direction == nas.PacketFilterDirection.DOWNLINK_ONLY
    assert (up.direction, str(up.remote)) == (nas.PacketFilterDirection.UPLINK_ONLY, "255.255.255.255/32")


@pytest.mark.parametrize(("cause", "failure"), [
    (CauseValue.SEMANTIC_ERRORS_IN_PACKET_FILTERS, RuleFailureCode.INCORRECT_FLOW_INFORMATION),
    (CauseValue.SYNTACTIC_ERROR_IN_THE_TFT_OPERATION, RuleFailureCode.INCORRECT_FLOW_INFORMATION),
    (CauseValue.NO_RESOURCES_AVAILABLE, RuleFailureCode.RESOURCE_ALLOCATION_FAILURE),
    (CauseValue.UNABLE_TO_PAGE_UE, RuleFailureCode.RESOURCE_ALLOCATION_FAILURE),
    (CauseValue.SERVICE_NOT_SUPPORTED, RuleFailureCode.RESOURCE_ALLOCATION_FAILURE),
    (CauseValue.REMOTE_PEER_NOT_RESPONDING, RuleFailureCode.AN_GW_FAILED),
    (None, RuleFailureCode.AN_GW_FAILED),
])
async def test_refused_bearer_is_reported_with_its_rules(bench: PcefBench, cause: CauseValue | None, failure: RuleFailureCode) -> None:
    bench.answers[CreateBearerRequest] = lambda _: None if cause is None else CreateBearerResponse(cause=Cause(value=cause))
    await bench.create()
    await bench.push(charging_rule_install=(install(
        rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE), rule("other", "permit out 17 from any 8 to assigned", qos=VOICE)),))
    await asyncio.sleep(70)
    assert bench.failures() == {"voice": failure, "other": failure}
    assert bench.session.rules == {}
    assert sorted(bench.pdrs()) == [0, 1]
    assert list(bench.session.bearers) == [5]


@pytest.mark.parametrize("broken", [
    lambda context: {"bearer_contexts": ()},
    lambda context: {"bearer_contexts": (BearerContextCreateAnswered(ebi=6, cause=ACCEPTED),)},
    lambda context: {"bearer_contexts": (BearerContextCreateAnswered(
        ebi=5, cause=ACCEPTED, s5u_pgw_fteid=context.s5u_pgw_fteid, s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, 1, SGW)),)},
    lambda context: {"bearer_contexts": (BearerContextCreateAnswered(
        ebi=0, cause=Cause(value=CauseValue.UE_REFUSES), s5u_pgw_fteid=context.s5u_pgw_fteid),)},
])
async def test_answer_that_gives_no_bearer(bench: PcefBench, broken: Callable[[Any], dict[str, Any]]) -> None:
    bench.answers[CreateBearerRequest] = lambda received: CreateBearerResponse(cause=ACCEPTED, **broken(received.message.bearer_contexts[0]))
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    assert bench.failures() == {"voice": RuleFailureCode.RESOURCE_ALLOCATION_FAILURE}
    assert list(bench.session.bearers) == [5]


async def test_temporary_rejection_is_tried_again(bench: PcefBench) -> None:
    refusals = [Cause(value=CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS)] * 2
    bench.answers[CreateBearerRequest] = lambda received: (
        CreateBearerResponse(cause=refusals.pop()) if refusals else bench.set_up(received))
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE)),))
    await asyncio.sleep(10)
    assert list(bench.session.bearers) == [5, 6]
    assert len(bench.of(CreateBearerRequest)) == 3
    assert bench.updates() == []


async def test_refused_change_costs_the_rule_that_wanted_it(bench: PcefBench) -> None:
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    bench.answers[UpdateBearerRequest] = lambda _: UpdateBearerResponse(
        cause=Cause(value=CauseValue.UE_REFUSES), bearer_contexts=(BearerContextUpdateAnswered(ebi=6, cause=Cause(value=CauseValue.UE_REFUSES)),))
    await bench.push(charging_rule_install=(install(rule("b", "permit out 17 from any 2 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    assert bench.failures() == {"b": RuleFailureCode.RESOURCE_ALLOCATION_FAILURE}
    assert list(bench.session.rules) == [b"a"]
    assert bench.session.bearers[6].qos.gbr_uplink_kbps == 64


async def test_bearer_that_the_sgw_has_forgotten_is_lost_at_the_change(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.LOSS_OF_BEARER,))
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    bench.answers[UpdateBearerRequest] = lambda _: UpdateBearerResponse(
        cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND),
        bearer_contexts=(BearerContextUpdateAnswered(ebi=6, cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND)),))
    await bench.push(charging_rule_install=(install(rule("b", "permit out 17 from any 2 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    assert set(bench.failures()) == {"a", "b"}
    assert bench.updates()[0].event_trigger == (EventTrigger.LOSS_OF_BEARER,)
    assert list(bench.session.bearers) == [5]


async def test_access_network_takes_a_bearer_away(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.LOSS_OF_BEARER,))
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    command = DeleteBearerCommand(bearer_contexts=(BearerContextDeleteCommanded(ebi=6),))
    answer = await bench.ask(command, bench.pgw_teid)
    assert isinstance(answer, DeleteBearerRequest), "which is the command's answer"
    assert answer.ebis == (6,)
    await asyncio.sleep(1)
    [update] = bench.updates()
    assert update.event_trigger == (EventTrigger.LOSS_OF_BEARER,)
    assert bench.failures() == {"a": RuleFailureCode.RESOURCE_ALLOCATION_FAILURE}
    failure = await bench.ask(command, bench.pgw_teid)
    assert isinstance(failure, DeleteBearerFailureIndication)
    assert failure.cause.value == CauseValue.CONTEXT_NOT_FOUND


async def test_error_indication_costs_the_bearer_that_it_is_about(bench: PcefBench) -> None:
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", qos=VOICE)),))
    await asyncio.sleep(1)
    session = bench.session
    tunnel = session.bearers[6].s5u_sgw
    assert tunnel is not None
    bench.pgw._on_user_plane(ErrorIndication(session_id=session.session_id, far_id=session.bearers[6].number + 1, tunnel=tunnel))
    await asyncio.sleep(1)
    assert list(session.bearers) == [5]
    assert bench.failures() == {"a": RuleFailureCode.RESOURCE_ALLOCATION_FAILURE}


async def test_success_is_told_where_the_pcrf_asked_for_it(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION,))
    await bench.create()
    await bench.push(charging_rule_install=(install(
        rule("a", "permit out 17 from any 1 to assigned", qos=VOICE),
        resource_allocation_notification=ResourceAllocationNotification.ENABLE_NOTIFICATION),))
    await asyncio.sleep(1)
    [update] = bench.updates()
    assert update.event_trigger == (EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION,)
    [report] = update.charging_rule_report
    assert (report.charging_rule_name, report.pcc_rule_status) == ((b"a",), PccRuleStatus.ACTIVE)


async def test_hss_changes_the_qos_and_the_pcrf_has_the_last_word(bench: PcefBench) -> None:
    await bench.create()
    bench.decide = lambda request: decision(request, qos_information=(
        QosInformation(apn_aggregate_max_bitrate_ul=7_000_000, apn_aggregate_max_bitrate_dl=8_000_000),))
    command = ModifyBearerCommand(
        ambr=Ambr(uplink_kbps=5000, downlink_kbps=6000), bearer_context=BearerContextModifyCommanded(ebi=5, bearer_qos=BearerQos(qci=8, arp=QOS.arp)))
    answer = await bench.ask(command, bench.pgw_teid)
    assert isinstance(answer, UpdateBearerRequest)
    assert answer.ambr == Ambr(uplink_kbps=7000, downlink_kbps=8000)
    assert answer.bearer_contexts[0].bearer_qos.qci == 8
    [update] = bench.updates()
    assert update.default_eps_bearer_qos is not None
    assert update.default_eps_bearer_qos.qos_class_identifier == 8
    assert update.qos_information is not None
    assert update.qos_information.apn_aggregate_max_bitrate_ul == 5_000_000
    await asyncio.sleep(1)
    assert bench.session.policy.qos.qci == 8


# --- predefined rules, applications, times --------------------------------------------------------------------------------------


KNOWN = {
    "predefined_rules": {
        "voice": {"flows": [{"description": "permit out 17 from any 7 to assigned"}], "qci": 1, "guaranteed_ul": "64k", "guaranteed_dl": "64k",
                  "precedence": 10, "rating_group": 3},
        "no-echo": {"application": "echo", "status": "disabled", "precedence": 5},
        "web": {"flows": [{"description": "permit out 6 from any 443 to assigned"}], "monitoring_key": "web"}},
    "rule_bases": {"bundle": ["web", "no-echo"]},
    "applications": {"echo": {"flows": ["permit out 17 from any 7 to assigned"]}, "films": {"domain_names": ["Films.Example."]}},
}


@pytest_asyncio.fixture
async def known() -> AsyncIterator[PcefBench]:
    bench = PcefBench(**KNOWN)
    await bench.start()
    yield bench
    if bench.pgw.sessions:
        await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)
    await bench.assert_empty()
    await bench.stop()


async def test_predefined_rules_by_name_and_by_base(known: PcefBench) -> None:
    known.initially(charging_rule_install=(ChargingRuleInstall(charging_rule_name=(b"voice",), charging_rule_base_name=("bundle",)),))
    await known.create()
    await asyncio.sleep(1)
    assert set(known.session.rules) == {b"voice", b"web", b"no-echo"}
    assert known.session.rules[b"voice"].definition.rating_group == 3
    assert known.session.bearers[6].qos.qci == 1
    await known.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_base_name=("bundle",)),))
    assert set(known.session.rules) == {b"voice"}
    await known.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"voice",)),))
    await asyncio.sleep(1)
    assert list(known.session.bearers) == [5]


async def test_names_that_are_not_known_are_reported(known: PcefBench) -> None:
    await known.create()
    answer = await known.push(charging_rule_install=(ChargingRuleInstall(charging_rule_name=(b"nothing",), charging_rule_base_name=("nil",)),))
    assert [(report.charging_rule_name, report.charging_rule_base_name, report.rule_failure_code) for report in answer.charging_rule_report] == [
        ((b"nothing",), (), RuleFailureCode.UNKNOWN_RULE_NAME), ((), ("nil",), RuleFailureCode.UNKNOWN_RULE_NAME)]


async def test_rules_of_applications(known: PcefBench) -> None:
    await known.create()
    answer = await known.push(charging_rule_install=(install(
        rule("films", tdf_application_identifier=b"films", flow_status=FlowStatus.DISABLED, qos=VIDEO),
        rule("unheard", tdf_application_identifier=b"unheard"), rule("empty")),))
    assert {report.charging_rule_name[0]: report.rule_failure_code for report in answer.charging_rule_report} == {
        b"unheard": RuleFailureCode.TDF_APPLICATION_IDENTIFIER_ERROR, b"empty": RuleFailureCode.MISSING_FLOW_INFORMATION}
    await asyncio.sleep(1)
    uplink, downlink = known.pdr_of("films", Interface.ACCESS), known.pdr_of("films", Interface.CORE)
    assert uplink is not None
    assert downlink is not None
    assert uplink.application_id == downlink.application_id == "films"
    assert uplink.local_f_teid == known.session.default_bearer.s5u_pgw, "the UE cannot tell it by packet filters"
    tunnels = {pdr.local_f_teid for pdr in known.pdrs().values() if pdr.application_id == "films" and pdr.local_f_teid is not None}
    assert tunnels == {bearer.s5u_pgw for bearer in known.session.bearers.values()}, "so it may come on any bearer"
    assert downlink.far_id == known.session.bearers[6].number + 1
    [rules] = known.pgw.forwarder.sessions()
    assert [qer.uplink_gate.name for qer in rules.qers if qer.id in uplink.qer_ids and qer.id] == ["CLOSED"]


@pytest.mark.parametrize("wrong", [
    {"predefined_rules": {"x": {"application": "unheard"}}}, {"predefined_rules": {"x": {}}}, {"rule_bases": {"x": ["unheard"]}},
    {"applications": {"x": {}}}, {"applications": {"x": {"flows": ["deny in everything"]}}},
    {"predefined_rules": {"x": {"flows": [{"description": "deny in everything"}]}}},
])
async def test_configuration_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PcefBench(**wrong)


async def test_rules_have_their_times(bench: PcefBench) -> None:
    loop = asyncio.get_running_loop()
    bench.pgw.clock = lambda: 1_800_000_000 + loop.time()
    now = bench.pgw.clock()

    def at(seconds: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(round(now + seconds), tz=datetime.UTC)

    await bench.create()
    await bench.push(charging_rule_install=(
        install(rule("evening", "permit out 17 from any 1 to assigned", qos=VOICE), rule_activation_time=at(100), rule_deactivation_time=at(200)),
        install(rule("past", ANY), rule_deactivation_time=at(-10)), install(rule("until", ANY), rule_deactivation_time=at(50))))
    await asyncio.sleep(10)

    def enforced() -> set[bytes]:
        return {each.name for each in bench.session.enforced_rules()}

    assert enforced() == {b"until"}
    await asyncio.sleep(60)
    assert enforced() == set()
    assert list(bench.session.bearers) == [5]
    await asyncio.sleep(60)
    assert enforced() == {b"evening"}
    assert list(bench.session.bearers) == [5, 6]
    await asyncio.sleep(100)
    assert enforced() == set()
    assert list(bench.session.bearers) == [5]
    assert set(bench.session.rules) == {b"evening", b"past", b"until"}, "installed they are still"


async def test_changed_rule_keeps_what_it_is_not_told_anew(bench: PcefBench) -> None:
    await bench.create()
    await bench.push(charging_rule_install=(install(rule("a", "permit out 17 from any 1 to assigned", rating_group=4)),))
    await bench.push(charging_rule_install=(install(ChargingRuleDefinition(charging_rule_name=b"a", flow_status=FlowStatus.DISABLED)),))
    definition = bench.session.rules[b"a"].definition
    assert (definition.rating_group, len(definition.flow_information), definition.flow_status) == (4, 1, FlowStatus.DISABLED)


# --- events ---------------------------------------------------------------------------------------------------------------------


def moved(tac: int = 7, eci: int = 0xA1B01) -> Uli:
    return Uli(tai=Tai("00101", tac), ecgi=Ecgi("00101", eci))


async def test_events_that_the_pcrf_asked_for(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.RAT_CHANGE, EventTrigger.PLMN_CHANGE, EventTrigger.USER_LOCATION_CHANGE, EventTrigger.AN_GW_CHANGE))
    answer = await bench.create()
    assert answer.change_reporting_action == ChangeReportingAction.START_REPORTING_TAI_AND_ECGI
    await bench.ask(ModifyBearerRequest(uli=moved(tac=8), rat_type=GtpRatType.EUTRAN), bench.pgw_teid)
    await bench.ask(ModifyBearerRequest(uli=moved(tac=8), rat_type=GtpRatType.UTRAN, serving_network=Plmn("21407"),
                                        sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 9, "10.0.0.3")), bench.pgw_teid)
    await asyncio.sleep(1)
    location, access = bench.updates()
    assert location.event_trigger == (EventTrigger.USER_LOCATION_CHANGE,)
    assert location.tgpp_user_location_info is not None
    assert location.tgpp_user_location_info[4:6] == b"\0\x08"
    assert location.rat_type is None
    assert set(access.event_trigger) == {EventTrigger.RAT_CHANGE, EventTrigger.PLMN_CHANGE}
    assert (access.rat_type, access.tgpp_sgsn_mcc_mnc) == (RatType.UTRAN, "21407")


async def test_another_sgw_is_an_event(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.AN_GW_CHANGE,))
    await bench.create()
    await bench.ask(ModifyBearerRequest(sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2001, "10.0.0.33")), bench.pgw_teid)
    await asyncio.sleep(1)
    [update] = bench.updates()
    assert [str(address) for address in update.an_gw_address] == ["10.0.0.33"]
    await bench.ask(ModifyBearerRequest(sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2001, SGW)), bench.pgw_teid)


async def test_events_that_nobody_asked_for_stay_here(bench: PcefBench) -> None:
    answer = await bench.create()
    assert answer.change_reporting_action is None
    await bench.ask(ModifyBearerRequest(uli=moved(tac=8), rat_type=GtpRatType.UTRAN, serving_network=Plmn("21407")), bench.pgw_teid)
    await asyncio.sleep(1)
    assert bench.updates() == []


async def test_reports_of_the_mme_are_events_and_end_with_the_wish_for_them(bench: PcefBench) -> None:
    bench.initially(event_trigger=(EventTrigger.ECGI_CHANGE,))
    assert (await bench.create()).change_reporting_action == ChangeReportingAction.START_REPORTING_ECGI
    answer: Any = await bench.ask(ChangeNotificationRequest(rat_type=GtpRatType.EUTRAN, uli=moved(eci=0xA1B02)), bench.pgw_teid)
    assert answer.change_reporting_action == ChangeReportingAction.START_REPORTING_ECGI
    await asyncio.sleep(1)
    assert len(bench.updates()) == 1
    await bench.push(event_trigger=(EventTrigger.NO_EVENT_TRIGGERS,))
    answer = await bench.ask(ChangeNotificationRequest(rat_type=GtpRatType.EUTRAN, uli=moved(eci=0xA1B03)), bench.pgw_teid)
    assert answer.change_reporting_action == ChangeReportingAction.STOP_REPORTING
    await asyncio.sleep(1)
    assert len(bench.updates()) == 1


async def test_pcrf_is_asked_again_when_its_decision_gets_old(bench: PcefBench) -> None:
    loop = asyncio.get_running_loop()
    bench.pgw.clock = lambda: 1_800_000_000 + loop.time()
    again = datetime.datetime.fromtimestamp(round(bench.pgw.clock()) + 60, tz=datetime.UTC)
    bench.initially(event_trigger=(EventTrigger.REVALIDATION_TIMEOUT,), revalidation_time=again)
    await bench.create()
    await asyncio.sleep(50)
    assert bench.updates() == []
    await asyncio.sleep(15)
    [update] = bench.updates()
    assert update.event_trigger == (EventTrigger.REVALIDATION_TIMEOUT,)


async def test_decision_in_an_answer_to_an_event_is_enforced(bench: PcefBench) -> None:
    bench.decide = lambda request: decision(request, **(
        {"event_trigger": (EventTrigger.RAT_CHANGE,)} if request.cc_request_type == CcRequestType.INITIAL_REQUEST else
        {"charging_rule_install": (install(rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE)),)}
        if request.cc_request_type == CcRequestType.UPDATE_REQUEST else {}))
    await bench.create()
    await bench.ask(ModifyBearerRequest(rat_type=GtpRatType.EUTRAN_NB_IOT), bench.pgw_teid)
    await asyncio.sleep(1)
    assert list(bench.session.bearers) == [5, 6]


# --- traffic: usage and applications --------------------------------------------------------------------------------------------


class Traffic:
    """A phone's IP stack behind a forwarder that plays SGW and eNodeB, on the default bearer."""

    def __init__(self, bench: PcefBench) -> None:
        self.bench = bench

    async def open(self) -> EndpointHost:
        self.access = await SocketForwarder.open(self.bench.network.transport("sgw"), core=GtpuPort(address=SGW, interface="S5/S8-U"))
        self.phone = EndpointHost("phone", IPv4Interface("10.45.0.1/32"))
        self.access.connect("phone", self.phone.link)
        self.access.install(Session(
            id=1,
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, network_instance="phone", far_id=1),
                Pdr(id=2, source_interface=Interface.CORE, local_f_teid=FTeid(teid=SGW_USER_TEID, address=SGW), far_id=2),
            ),
            fars=(
                Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=self.bench.session.default_bearer.s5u_pgw),
                Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance="phone"),
            )))
        return self.phone

    async def close(self) -> None:
        await self.phone.close()
        await self.access.close()

    async def echo(self, octets: int = 972) -> None:
        """To the server and back: 28 octets of headers in either direction."""
        assert await udp_exchange(self.phone, SERVER, 7, bytes(octets)) == bytes(octets)


def threshold(octets: int, key: str = "web", level: UsageMonitoringLevel | None = None) -> UsageMonitoringInformation:
    return UsageMonitoringInformation(
        monitoring_key=key.encode(), usage_monitoring_level=level, granted_service_unit=(ServiceUnit(cc_total_octets=octets),))


def used(request: CreditControlRequest) -> dict[bytes | None, tuple[int | None, int | None]]:
    """Input and output octets by key."""
    return {each.monitoring_key: (each.used_service_unit[0].cc_input_octets, each.used_service_unit[0].cc_output_octets)
            for each in request.usage_monitoring_information}


@pytest_asyncio.fixture
async def metered(bench: PcefBench) -> AsyncIterator[Callable[..., Any]]:
    """Starts a session with rules and thresholds, and traffic in it."""
    opened: list[Traffic] = []

    async def start(*rules: ChargingRuleDefinition, thresholds: tuple[UsageMonitoringInformation, ...],
                    then: Callable[[CreditControlRequest], dict[str, Any]] = lambda request: {}) -> Traffic:
        first = {"charging_rule_install": (install(*rules),) if rules else (), "usage_monitoring_information": thresholds,
                 "event_trigger": (EventTrigger.USAGE_REPORT,)}

        def decide(request: CreditControlRequest) -> CreditControlAnswer | None:
            return decision(request, **(first if request.cc_request_type == CcRequestType.INITIAL_REQUEST else then(request)))

        bench.decide = decide
        await bench.create()
        traffic = Traffic(bench)
        await traffic.open()
        opened.append(traffic)
        return traffic

    yield start
    for traffic in opened:
        await traffic.close()


async def test_threshold_is_reported_and_granted_anew_until_it_is_not(bench: PcefBench, metered: Callable[..., Any]) -> None:
    grants = [threshold(4000)]
    traffic = await metered(
        rule("echo", "permit out 17 from any 7 to assigned", monitoring_key=b"web"), thresholds=(threshold(4000),),
        then=lambda request: {"usage_monitoring_information": (grants.pop(),)} if grants else {})
    await traffic.echo()
    await asyncio.sleep(1)
    assert bench.updates() == []
    await traffic.echo()
    await asyncio.sleep(1)
    [update] = bench.updates()
    assert update.event_trigger == (EventTrigger.USAGE_REPORT,)
    assert used(update) == {b"web": (2000, 2000)}
    [information] = update.usage_monitoring_information
    assert information.used_service_unit[0].cc_total_octets == 4000
    for _ in range(3):
        await traffic.echo()
    await asyncio.sleep(1)
    assert used(bench.updates()[1]) == {b"web": (2000, 2000)}
    assert bench.session.usage_monitoring.monitors == {}, "no other threshold came: monitoring has ended"
    await traffic.echo()
    await traffic.echo()
    await asyncio.sleep(1)
    assert len(bench.updates()) == 2
    [session] = bench.pgw.forwarder.sessions()
    assert [urr.id for urr in session.urrs] == [1]


async def test_session_level_counts_everything_and_the_rest_is_told_at_the_end(bench: PcefBench, metered: Callable[..., Any]) -> None:
    traffic = await metered(
        rule("echo", "permit out 17 from any 7 to assigned", monitoring_key=b"web"),
        thresholds=(threshold(1_000_000), threshold(1_000_000, "all", UsageMonitoringLevel.SESSION_LEVEL)))
    await traffic.echo()
    assert (await traffic.phone.ping(SERVER, count=1)).received == 1
    [session] = bench.pgw.forwarder.sessions()
    assert sorted(urr.id for urr in session.urrs) == [1, 3, 16]
    await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)
    await asyncio.sleep(1)
    [end] = bench.terminations()
    ping = (used(end)[b"all"][0] or 0) - 1000
    assert 28 <= ping <= 100
    assert used(end) == {b"web": (1000, 1000), b"all": (1000 + ping, 1000 + ping)}


async def test_usage_on_request_disabled_and_without_rules(bench: PcefBench, metered: Callable[..., Any]) -> None:
    traffic = await metered(
        rule("echo", "permit out 17 from any 7 to assigned", monitoring_key=b"web"),
        thresholds=(threshold(1_000_000), threshold(1_000_000, "all", UsageMonitoringLevel.SESSION_LEVEL)))
    await traffic.echo()
    await bench.push(usage_monitoring_information=(
        UsageMonitoringInformation(monitoring_key=b"web", usage_monitoring_report=UsageMonitoringReport.USAGE_MONITORING_REPORT_REQUIRED),))
    await asyncio.sleep(1)
    assert used(bench.updates()[0]) == {b"web": (1000, 1000)}
    await traffic.echo()
    await bench.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"echo",)),))
    await asyncio.sleep(1)
    assert used(bench.updates()[1]) == {b"web": (1000, 1000)}, "its last rule is gone"
    await bench.push(usage_monitoring_information=(UsageMonitoringInformation(
        monitoring_key=b"all", usage_monitoring_support=UsageMonitoringSupport.USAGE_MONITORING_DISABLED),))
    await asyncio.sleep(1)
    assert used(bench.updates()[2]) == {b"all": (2000, 2000)}
    assert bench.session.usage_monitoring.monitors == {}


async def test_usage_that_nobody_heard_of_goes_with_the_next_report(bench: PcefBench, metered: Callable[..., Any]) -> None:
    silent = [True]
    traffic = await metered(
        rule("echo", "permit out 17 from any 7 to assigned", monitoring_key=b"web"), thresholds=(threshold(2000),),
        then=lambda request: {"usage_monitoring_information": (threshold(2000),)})
    answering = bench.decide
    bench.decide = lambda request: None if silent and request.cc_request_type == CcRequestType.UPDATE_REQUEST else answering(request)
    await traffic.echo()
    await asyncio.sleep(10)
    assert used(bench.updates()[0]) == {b"web": (1000, 1000)}
    silent.clear()
    await traffic.echo()
    await asyncio.sleep(1)
    assert used(bench.updates()[1]) == {b"web": (2000, 2000)}


async def test_time_of_use_has_thresholds_too(bench: PcefBench, metered: Callable[..., Any]) -> None:
    traffic = await metered(
        rule("echo", "permit out 17 from any 7 to assigned", monitoring_key=b"web"),
        thresholds=(UsageMonitoringInformation(monitoring_key=b"web", granted_service_unit=(ServiceUnit(cc_time=60),)),))
    await traffic.echo()
    await asyncio.sleep(70)
    [update] = bench.updates()
    assert update.usage_monitoring_information[0].used_service_unit[0].cc_time == 60


async def test_applications_begin_and_end(known: PcefBench) -> None:
    known.initially(event_trigger=(EventTrigger.APPLICATION_START,), charging_rule_install=(install(
        rule("echo", tdf_application_identifier=b"echo"), rule("films", tdf_application_identifier=b"films")),))
    await known.create()
    traffic = Traffic(known)
    await traffic.open()
    await traffic.echo()
    await traffic.echo()
    await asyncio.sleep(1)
    [update] = known.updates()
    assert update.event_trigger == (EventTrigger.APPLICATION_START,)
    assert [each.tdf_application_identifier for each in update.application_detection_information] == [b"echo"]
    await traffic.close()


async def test_muted_applications_are_not_told(known: PcefBench) -> None:
    known.initially(event_trigger=(EventTrigger.APPLICATION_START,), charging_rule_install=(install(
        rule("echo", tdf_application_identifier=b"echo", mute_notification=MuteNotification.MUTE_REQUIRED)),))
    await known.create()
    traffic = Traffic(known)
    await traffic.open()
    await traffic.echo()
    await asyncio.sleep(1)
    assert known.updates() == []
    await traffic.close()


async def test_closed_gate_stops_an_application_and_nothing_else(known: PcefBench) -> None:
    known.initially(charging_rule_install=(ChargingRuleInstall(charging_rule_name=(b"no-echo",)),))
    await known.create()
    traffic = Traffic(known)
    phone = await traffic.open()
    with pytest.raises(TimeoutError):
        await udp_exchange(phone, SERVER, 7, b"hello")
    assert (await phone.ping(SERVER, count=1)).received == 1
    await known.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"no-echo",)),))
    await traffic.echo()
    await traffic.close()


async def test_further_session_of_another_apn_has_bearers_of_its_own(bench: PcefBench) -> None:
    bench.initially(charging_rule_install=(install(rule("voice", "permit out 17 from any 7 to assigned", qos=VOICE)),))
    await bench.create()
    await asyncio.sleep(1)
    first = bench.session
    bench.next_ebi = 8
    context = create_session_request().bearer_contexts_to_be_created[0]
    await bench.create(create_session_request("ims", bearer_contexts_to_be_created=(
        type(context)(ebi=7, s5u_sgw_fteid=context.s5u_sgw_fteid, bearer_qos=QOS),)))
    await asyncio.sleep(1)
    [second] = [session for session in bench.pgw.sessions.values() if session is not first]
    assert list(first.bearers) == [5, 6]
    assert len(second.bearers) == 2
    await bench.ask(DeleteSessionRequest(linked_ebi=7), second.s5c_pgw_teid)
