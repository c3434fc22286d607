"""Rx: an application function, a PCRF and a scripted PDN gateway on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Network
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.af import Af, AfConfig, AfSession, RequestRefused, both_ways
from epc.node import parse_config
from epc.pcrf import Pcrf
from epc.pcrf.config import ApplicationFunction, RxConfig
from epc.pcrf.service_information import flow_information, rules_of
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, ResultCode, gx
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleReport,
    FlowDirection,
    FlowStatus,
    PccRuleStatus,
    RuleFailureCode,
)
from epc.wire.diameter.rx import (
    AAAnswer,
    AARequest,
    AbortCause,
    FlowUsage,
    MediaComponentDescription,
    MediaSubComponent,
    MediaType,
    SpecificAction,
    SponsoredConnectivityData,
)
from tests.nodes.pcrf_lab import ALICE, BOB, PCRF_ADDRESS, REALM, Lab, ScriptedPgw, removed_names, rule_names, running_lab

pytestmark = [pytest.mark.virtual_clock]

UE, SERVER = "10.45.0.2", "192.0.2.7"
ALLOCATED = SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION
FAILED = SpecificAction.INDICATION_OF_FAILED_RESOURCES_ALLOCATION
RELEASED = SpecificAction.INDICATION_OF_RELEASE_OF_BEARER


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    async for lab in running_lab():
        yield lab


async def application_function(lab: Lab, name: str = "af1", **more: Any) -> Af:
    af = Af(parse_config({"name": name, "origin_host": f"{name}.{REALM}", "origin_realm": REALM, "rx": {"peers": [{"host": PCRF_ADDRESS.host}]},
                          **more}, AfConfig, source="test"), lab.network.transport(name), clock=lab.clock, entropy=random.Random(name))
    await af.start()
    lab.nodes.append(af)
    await asyncio.wait_for(af.rx.wait_connected(), 10)
    return af


class World:
    def __init__(self, lab: Lab, pcrf: Pcrf, pgw: ScriptedPgw, af: Af, gx_session: str) -> None:
        self.lab, self.pcrf, self.pgw, self.af, self.gx_session = lab, pcrf, pgw, af, gx_session
        self.number = 0

    async def report(self, names: list[bytes], status: PccRuleStatus, *events: EventTrigger,
                     failure: RuleFailureCode | None = None) -> gx.CreditControlAnswer:
        self.number += 1
        answer = await self.pgw.ask(gx.CcRequestType.UPDATE_REQUEST, self.gx_session, self.number, event_trigger=events, charging_rule_report=(
            ChargingRuleReport(charging_rule_name=tuple(names), pcc_rule_status=status, rule_failure_code=failure),))
        await asyncio.sleep(0.1)
        return answer

    async def call(self, **more: Any) -> AfSession:
        session = await self.af.request_bearer(UE, **({"server": f"{SERVER}:5004", "ul_bps": 64_000, "dl_bps": 64_000} | more))
        await asyncio.sleep(0.1)
        return session


@async_fixture
async def world(lab: Lab) -> World:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    session_id = (await pgw.establish()).session_id
    return World(lab, pcrf, pgw, await application_function(lab), session_id)


def definitions(request: gx.ReAuthRequest) -> list[ChargingRuleDefinition]:
    return [rule for install in request.charging_rule_install for rule in install.charging_rule_definition]


# --- from the request to the rule ------------------------------------------------------------------------------------


async def test_voice_call_from_request_to_release(world: World) -> None:
    session = await world.call()
    [push] = world.pgw.pushed
    [rule] = definitions(push)
    qos = rule.qos_information
    assert qos is not None
    assert (qos.qos_class_identifier, qos.guaranteed_bitrate_ul, qos.max_requested_bandwidth_dl) == (1, 64_000, 64_000)
    [flow] = rule.flow_information
    assert (flow.flow_description, flow.flow_direction) == (f"permit out 17 from {SERVER} 5004 to {UE}", FlowDirection.BIDIRECTIONAL)
    assert rule.flow_status == FlowStatus.ENABLED
    assert push.charging_rule_install[0].resource_allocation_notification == 0
    assert {EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION, EventTrigger.LOSS_OF_BEARER} <= set(push.event_trigger)
    # the bearer stands
    await world.report([rule.charging_rule_name], PccRuleStatus.ACTIVE, EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION)
    told = await session.told(ALLOCATED)
    assert [(flows.media_component_number, flows.flow_number) for flows in told.flows] == [(1, (1,))]
    [state] = world.pcrf.views()["af_sessions"]()                                               # type: ignore[attr-defined]
    assert (state["imsi"], state["qcis"], state["allocated"]) == (ALICE, [1], ["1.1"])
    # and goes
    await session.release()
    await asyncio.sleep(0.1)
    assert removed_names(world.pgw.pushed[1]) == [rule.charging_rule_name]
    assert world.pgw.pushed[1].event_trigger == (EventTrigger.NO_EVENT_TRIGGERS,)
    assert world.pcrf.metrics.value("af_sessions") == 0
    assert world.pcrf.metrics.value("messages_total", interface="Rx", direction="received", type="AARequest") == 1
    assert world.pcrf.metrics.value("messages_total", interface="Gx", direction="sent", type="ReAuthRequest") == 2


def media(kind: MediaType, *subs: MediaSubComponent, **more: Any) -> MediaComponentDescription:
    return MediaComponentDescription(media_component_number=1, media_type=kind, media_sub_component=subs, **more)


def sub(number: int = 1, *filters: str, **more: Any) -> MediaSubComponent:
    return MediaSubComponent(flow_number=number, flow_description=filters or both_ways(UE, f"{SERVER}:5004"), **more)


def mapped(component: MediaComponentDescription, config: RxConfig | None = None, function: ApplicationFunction | None = None) -> dict[int, Any]:
    rules = rules_of(config or RxConfig(), function or ApplicationFunction(), [component], name_prefix="af-1")
    return {key.flow: rule for key, rule in rules.items()}


@pytest.mark.parametrize(("kind", "qci"), [
    (MediaType.AUDIO, 1), (MediaType.VIDEO, 2), (MediaType.APPLICATION, 2), (MediaType.DATA, 6), (MediaType.CONTROL, 6), (MediaType.TEXT, 6),
    (MediaType.MESSAGE, 6), (MediaType.OTHER, 9), (77, 9), (None, 9)])
def test_class_by_media_type(kind: Any, qci: int) -> None:
    qos = mapped(media(kind, sub()))[1].qos_information
    assert qos.qos_class_identifier == qci
    assert (qos.guaranteed_bitrate_dl is None) == (qci > 4)


@pytest.mark.parametrize(("filters", "status", "qci", "rates"), [
    (both_ways(UE, SERVER)[:1], None, 4, (100, 0)),
    (both_ways(UE, SERVER)[1:], None, 4, (0, 200)),
    (both_ways(UE, SERVER), FlowStatus.ENABLED_UPLINK, 4, (100, 200)),
    (both_ways(UE, SERVER), FlowStatus.DISABLED, 1, (100, 200)),
])
def test_flows_in_one_direction_are_streaming(filters: tuple[str, ...], status: FlowStatus | None, qci: int, rates: tuple[int, int]) -> None:
    rule = mapped(media(MediaType.AUDIO, sub(1, *filters), max_requested_bandwidth_ul=100, max_requested_bandwidth_dl=200, flow_status=status))[1]
    qos = rule.qos_information
    assert (qos.qos_class_identifier, qos.max_requested_bandwidth_ul, qos.max_requested_bandwidth_dl) == (qci, *rates)
    assert rule.flow_status == (FlowStatus.ENABLED if status is None else status)


@pytest.mark.parametrize(("bandwidths", "rtcp"), [
    ({"rs_bandwidth": 800, "rr_bandwidth": 2400}, 3200),
    ({}, 2000),                                     # five per cent of 40 kbit/s
    ({"rs_bandwidth": 5000}, 5000),
])
def test_rtcp_has_a_rule_of_its_own(bandwidths: dict[str, int], rtcp: int) -> None:
    rules = mapped(media(
        MediaType.AUDIO, sub(1), sub(2, *both_ways(UE, f"{SERVER}:5005"), flow_usage=FlowUsage.RTCP), max_requested_bandwidth_ul=40_000,
        max_requested_bandwidth_dl=40_000, flow_status=FlowStatus.ENABLED_UPLINK, **bandwidths))
    assert rules[2].qos_information.max_requested_bandwidth_ul == rtcp
    assert rules[2].flow_status == FlowStatus.ENABLED
    assert rules[1].flow_status == FlowStatus.ENABLED_UPLINK


def test_what_is_asked_for_at_least_is_guaranteed() -> None:
    qos = mapped(media(MediaType.VIDEO, sub(), max_requested_bandwidth_ul=500, max_requested_bandwidth_dl=900, min_requested_bandwidth_dl=300))[
        1].qos_information
    assert (qos.guaranteed_bitrate_ul, qos.guaranteed_bitrate_dl, qos.max_requested_bandwidth_dl) == (500, 300, 900)


def test_operators_own_classes_come_first() -> None:
    config = RxConfig.model_validate({"media": {"audio": {"qci": 65, "arp": {"priority_level": 2}}}})
    qos = mapped(media(MediaType.AUDIO, sub(), max_requested_bandwidth_ul=1, max_requested_bandwidth_dl=1), config)[1].qos_information
    assert (qos.qos_class_identifier, qos.allocation_retention_priority.priority_level) == (65, 2)
    function = ApplicationFunction.model_validate({"media": {"audio": {"qci": 5}}, "rating_group": 9})
    rule = mapped(media(MediaType.AUDIO, sub()), config, function)[1]
    assert (rule.qos_information.qos_class_identifier, rule.rating_group) == (5, 9)


@pytest.mark.parametrize(("filters", "found"), [
    (("permit out 17 from 192.0.2.7 5004 to 10.45.0.2 4000",), [("permit out 17 from 192.0.2.7 5004 to 10.45.0.2 4000", FlowDirection.DOWNLINK)]),
    (("permit in 17 from 10.45.0.2 4000 to 192.0.2.7 5004",), [("permit out 17 from 192.0.2.7 5004 to 10.45.0.2 4000", FlowDirection.UPLINK)]),
    (("permit in ip from 10.45.0.2 to any", "permit out ip from any to 10.45.0.2"),
     [("permit out ip from any to 10.45.0.2", FlowDirection.BIDIRECTIONAL)]),
    (("permit in 6 from 10.45.0.2 to 192.0.2.7 80,443", "permit out 6 from 192.0.2.7 80-90 to 10.45.0.2"),
     [("permit out 6 from 192.0.2.7 80,443 to 10.45.0.2", FlowDirection.UPLINK),
      ("permit out 6 from 192.0.2.7 80-90 to 10.45.0.2", FlowDirection.DOWNLINK)]),
])
def test_filters_become_those_of_gx(filters: tuple[str, ...], found: list[tuple[str, FlowDirection]]) -> None:
    assert [(each.flow_description, each.flow_direction) for each in flow_information(filters)] == found


@pytest.mark.parametrize("text", ["deny out ip from any to any", "permit out ip from any to any frag", "permit in ip from !10.0.0.1 to any", "x", ""])
def test_filters_that_rx_does_not_allow(text: str) -> None:
    with pytest.raises(Reject) as caught:
        flow_information([text])
    assert caught.value.cause is ExperimentalResultCode.FILTER_RESTRICTIONS


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_no_session_with_that_address(world: World) -> None:
    with pytest.raises(RequestRefused) as caught:
        await world.af.request_bearer("10.45.9.9")
    assert caught.value.cause is ExperimentalResultCode.IP_CAN_SESSION_NOT_AVAILABLE
    assert (len(world.pcrf.af_sessions), world.af.sessions) == (0, {})


async def test_address_that_several_sessions_have(world: World) -> None:
    other = await world.lab.pgw("pgw2", "pgw2.example.org")
    await other.establish(imsi=BOB, apn="ims", ip=UE)
    with pytest.raises(RequestRefused, match="2 IP-CAN sessions"):
        await world.af.request_bearer(UE)
    by_apn = await world.af.request_bearer(UE, apn="IMS")
    by_imsi = await world.af.request_bearer(UE, imsi=ALICE)
    assert {session.session_id: session.gx.imsi for session in world.pcrf.af_sessions} == {by_apn.session_id: BOB, by_imsi.session_id: ALICE}


async def test_ipv6_prefix_holds_the_address(world: World) -> None:
    await world.pgw.establish(imsi=BOB, framed_ip_address=None, framed_ipv6_prefix=IPv6Network("2001:db8:1:2::/64"))
    session = await world.af.request_bearer("2001:db8:1:2::7")
    assert world.pcrf.af_sessions.get(session.session_id).gx.imsi == BOB        # type: ignore[union-attr]


async def test_the_same_flows_twice(world: World) -> None:
    await world.call()
    with pytest.raises(RequestRefused) as caught:
        await world.call()
    assert caught.value.cause is ExperimentalResultCode.DUPLICATED_AF_SESSION
    await world.call(server=f"{SERVER}:6000")


async def test_who_may_ask_for_what(lab: Lab) -> None:
    await lab.pcrf(rx={"functions": [
        {"host": "tv.*", "application": "film*", "max_dl": "1M", "max_ul": "64k"}, {"host": "spam.*", "allowed": False}]})
    pgw = await lab.pgw()
    await pgw.establish()
    tv, spam = await application_function(lab, "tv"), await application_function(lab, "spam")
    with pytest.raises(RequestRefused) as caught:
        await tv.request_bearer(UE, media="video", dl_bps=2_000_000, ul_bps=1, application="films")
    assert caught.value.cause is ExperimentalResultCode.REQUESTED_SERVICE_NOT_AUTHORIZED
    assert caught.value.acceptable is not None
    assert caught.value.acceptable.max_requested_bandwidth_dl == 1_000_000
    await tv.request_bearer(UE, media="video", dl_bps=1_000_000, ul_bps=1, application="films")
    for af, application in ((tv, "games"), (spam, "")):
        with pytest.raises(RequestRefused) as caught:
            await af.request_bearer(UE, application=application)
        assert caught.value.cause is ExperimentalResultCode.REQUESTED_SERVICE_NOT_AUTHORIZED


@pytest.mark.parametrize(("components", "cause"), [
    ([media(MediaType.AUDIO, sub(1, "deny in ip from any to any"))], ExperimentalResultCode.FILTER_RESTRICTIONS),
    ([media(MediaType.AUDIO, sub(1), sub(1))], ExperimentalResultCode.INVALID_SERVICE_INFORMATION),
    ([media(MediaType.AUDIO, sub(1)), media(MediaType.VIDEO, sub(1))], ExperimentalResultCode.INVALID_SERVICE_INFORMATION),
    ([media(MediaType.AUDIO, *[sub(n, *both_ways(UE, f"{SERVER}:{n}")) for n in range(20)])], ExperimentalResultCode.FILTER_RESTRICTIONS),
])
async def test_service_information_that_cannot_be(world: World, components: list[MediaComponentDescription], cause: ExperimentalResultCode) -> None:
    with pytest.raises(RequestRefused) as caught:
        await world.af.request_bearer(UE, components=components)
    assert caught.value.cause is cause
    assert len(world.pcrf.af_sessions) == 0


async def test_update_and_end_of_an_unknown_session(world: World) -> None:
    session = AfSession(af=world.af, session_id="nobody;1;1", ue_ip=UE, media="audio", components={1: media(MediaType.AUDIO, sub())})
    with pytest.raises(RequestRefused) as caught:
        await session.set_gates(FlowStatus.DISABLED)
    assert caught.value.cause is ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    world.af.sessions[session.session_id] = session
    with pytest.raises(RequestRefused) as caught:
        await session.release()
    assert caught.value.cause is ResultCode.DIAMETER_UNKNOWN_SESSION_ID


async def test_address_is_needed(world: World) -> None:
    packet = await world.af.rx.request(AARequest(
        session_id="s", origin_host=f"af1.{REALM}", origin_realm=REALM, destination_realm=REALM))
    answer = packet.message
    assert isinstance(answer, AAAnswer)
    assert answer.result_code is None
    assert answer.result is ExperimentalResultCode.INVALID_SERVICE_INFORMATION


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_gates_close_and_open(world: World) -> None:
    session = await world.call()
    await session.set_gates(FlowStatus.DISABLED)
    await asyncio.sleep(0.1)
    await session.set_gates(FlowStatus.ENABLED)
    await asyncio.sleep(0.1)
    states = [[rule.flow_status for rule in definitions(push)] for push in world.pgw.pushed]
    assert states == [[FlowStatus.ENABLED], [FlowStatus.DISABLED], [FlowStatus.ENABLED]]


async def test_media_come_and_go(world: World) -> None:
    session = await world.call()
    video = MediaComponentDescription(media_component_number=2, media_type=MediaType.VIDEO, max_requested_bandwidth_dl=500_000,
                                      max_requested_bandwidth_ul=500_000, media_sub_component=(sub(1, *both_ways(UE, f"{SERVER}:6000")),))
    await session.change([video])
    await asyncio.sleep(0.1)
    assert rule_names(world.pgw.pushed[1]) == [b"af-1-2-1"]
    await session.change([MediaComponentDescription(media_component_number=1, flow_status=FlowStatus.REMOVED)])
    await asyncio.sleep(0.1)
    assert (removed_names(world.pgw.pushed[2]), rule_names(world.pgw.pushed[2])) == ([b"af-1-1-1"], [])
    assert list(session.components) == [2]


async def test_policy_change_leaves_application_rules_alone(world: World) -> None:
    from epc.pcrf.editing import with_policy

    await world.call()
    await world.pcrf.change_policies(lambda book: with_policy(book, "p", {"ambr_dl": "1M"}))
    assert removed_names(world.pgw.pushed[1]) == []
    assert "af-1-1-1" in next(iter(world.pcrf.sessions)).state()["rules"]       # type: ignore[operator]


# --- what happens to bearers ------------------------------------------------------------------------------------------


async def test_end_of_the_pdn_connection_aborts(world: World) -> None:
    session = await world.call()
    await world.pgw.ask(gx.CcRequestType.TERMINATION_REQUEST, world.gx_session, 1)
    assert await session.ended() is AbortCause.BEARER_RELEASED
    await asyncio.sleep(1)
    assert (len(world.pcrf.af_sessions), world.af.sessions) == (0, {})
    assert world.af.metrics.value("procedure_successes_total", procedure="session_termination") == 1


async def test_released_bearer_of_one_medium_is_told(world: World) -> None:
    session = await world.af.request_bearer(UE, components=[
        MediaComponentDescription(media_component_number=number, media_type=MediaType.AUDIO, media_sub_component=(
            sub(1, *both_ways(UE, f"{SERVER}:{number}")),)) for number in (1, 2)])
    await asyncio.sleep(0.1)
    await world.report([b"af-1-1-1", b"af-1-2-1"], PccRuleStatus.ACTIVE, EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION)
    answer = await world.report([b"af-1-1-1"], PccRuleStatus.INACTIVE, failure=RuleFailureCode.RESOURCE_ALLOCATION_FAILURE)
    assert rule_names(answer) == []
    told = await session.told(RELEASED)
    assert [flows.media_component_number for flows in told.flows] == [1]
    assert session.is_open
    await world.report([b"af-1-2-1"], PccRuleStatus.INACTIVE, failure=RuleFailureCode.RESOURCE_ALLOCATION_FAILURE)
    assert await session.ended() is AbortCause.BEARER_RELEASED


async def test_bearer_that_never_comes(world: World) -> None:
    session = await world.call()
    await world.report([b"af-1-1-1"], PccRuleStatus.INACTIVE, failure=RuleFailureCode.RESOURCES_LIMITATION)
    await session.told(FAILED)
    assert session.is_open                          # the application decides
    await session.release()
    indifferent = await world.call(told=())
    await world.report([b"af-2-1-1"], PccRuleStatus.INACTIVE, failure=RuleFailureCode.RESOURCES_LIMITATION)
    assert await indifferent.ended() is AbortCause.INSUFFICIENT_BEARER_RESOURCES


async def test_rule_that_the_pcef_refuses_at_once(world: World) -> None:
    world.pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_SUCCESS, "charging_rule_report": (ChargingRuleReport(
        charging_rule_name=tuple(rule_names(request)), pcc_rule_status=PccRuleStatus.INACTIVE,
        rule_failure_code=RuleFailureCode.NO_BEARER_BOUND),) if request.charging_rule_install else ()}
    session = await world.call()
    await session.told(FAILED)


async def test_lost_and_recovered_bearer(world: World) -> None:
    session = await world.call()
    await world.report([b"af-1-1-1"], PccRuleStatus.TEMPORARILY_INACTIVE, EventTrigger.LOSS_OF_BEARER)
    await session.told(SpecificAction.INDICATION_OF_LOSS_OF_BEARER)
    await world.report([b"af-1-1-1"], PccRuleStatus.ACTIVE, EventTrigger.RECOVERY_OF_BEARER)
    await session.told(SpecificAction.INDICATION_OF_RECOVERY_OF_BEARER)
    assert session.is_open


async def test_application_function_that_is_gone_leaves_nothing(world: World) -> None:
    await world.call()
    await world.af.stop()
    world.lab.nodes.remove(world.af)
    await world.pgw.ask(gx.CcRequestType.TERMINATION_REQUEST, world.gx_session, 1)
    await asyncio.sleep(30)
    assert (len(world.pcrf.af_sessions), len(world.pcrf.runner), len(world.pcrf.sessions)) == (0, 0, 0)


async def test_rx_can_be_switched_off(lab: Lab) -> None:
    pcrf = await lab.pcrf(rx={"enabled": False})
    af = Af(parse_config({"name": "af", "origin_host": "af.example", "origin_realm": REALM, "rx": {"peers": [{"host": PCRF_ADDRESS.host}]}},
                         AfConfig, source="test"), lab.network.transport("af"), clock=lab.clock, entropy=random.Random(1))
    await af.start()
    lab.nodes.append(af)
    await asyncio.sleep(5)
    assert not af.is_ready()
    assert pcrf.metrics.value("protocol_errors_total", interface="Gx", cause="DIAMETER_NO_COMMON_APPLICATION") >= 1


async def test_people_use_commands(world: World) -> None:
    commands = world.af.commands()
    state = await commands["request"](ue_ip=UE, media="video", server=f"{SERVER}:80", dl_bps="1000000")
    assert state["media"] == "video"                                                            # type: ignore[index]
    await commands["hold"]()
    await commands["resume"]()
    assert await commands["release"]() == [state["session_id"]]                                 # type: ignore[index]
    with pytest.raises(LookupError, match="no session"):
        await commands["release"]()
    with pytest.raises(ValueError, match="media"):
        await commands["request"](ue_ip=UE, media="smell")
    with pytest.raises(LookupError, match="IP_CAN_SESSION_NOT_AVAILABLE"):
        await commands["request"](ue_ip="10.1.1.1")


async def test_sponsors(lab: Lab) -> None:
    await lab.pcrf(rx={"functions": [{"sponsors": ["acme"]}]})
    pgw = await lab.pgw()
    await pgw.establish()
    af = await application_function(lab)
    for number, (sponsor, result) in enumerate((("acme", ResultCode.DIAMETER_SUCCESS),
                                               ("nobody", ExperimentalResultCode.UNAUTHORIZED_SPONSORED_DATA_CONNECTIVITY))):
        packet = await af.rx.request(AARequest(
            session_id=f"s{number}", origin_host=f"af1.{REALM}", origin_realm=REALM, destination_realm=REALM, framed_ip_address=IPv4Address(UE),
            media_component_description=(media(MediaType.DATA, sub(1, *both_ways(UE, f"{SERVER}:{number}"))),),
            sponsored_connectivity_data=SponsoredConnectivityData(sponsor_identity=sponsor, application_service_provider_identity="films")))
        assert isinstance(packet.message, AAAnswer)
        assert packet.message.result is result
    await asyncio.sleep(0.1)
    [rule] = definitions(pgw.pushed[0])
    assert (rule.sponsor_identity, rule.application_service_provider_identity) == ("acme", "films")


async def test_charging_of_the_access_network_is_told(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    answer = await pgw.establish(access_network_charging_address=IPv4Address("10.0.0.1"), access_network_charging_identifier_gx=(
        gx.AccessNetworkChargingIdentifierGx(access_network_charging_identifier_value=b"\0\0\0\1"),))
    await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, answer.session_id, 1, access_network_charging_identifier_gx=(
        gx.AccessNetworkChargingIdentifierGx(access_network_charging_identifier_value=b"\0\0\0\2"),))
    af = await application_function(lab)
    packet = await af.rx.request(AARequest(session_id="s", origin_host=f"af1.{REALM}", origin_realm=REALM, destination_realm=REALM,
                                           framed_ip_address=IPv4Address(UE), media_component_description=(media(MediaType.DATA, sub()),)))
    assert isinstance(packet.message, AAAnswer)
    assert packet.message.access_network_charging_address == IPv4Address("10.0.0.1")
    assert [each.access_network_charging_identifier_value for each in packet.message.access_network_charging_identifier] == [
        b"\0\0\0\1", b"\0\0\0\2"]


async def test_change_of_one_flow_leaves_the_rest(world: World) -> None:
    session = await world.af.request_bearer(UE, components=[media(
        MediaType.AUDIO, sub(1), sub(2, *both_ways(UE, f"{SERVER}:5005"), flow_usage=FlowUsage.RTCP),
        max_requested_bandwidth_ul=40_000, max_requested_bandwidth_dl=40_000)])
    await asyncio.sleep(0.1)
    await session.change([MediaComponentDescription(media_component_number=1, media_sub_component=(
        MediaSubComponent(flow_number=1, flow_status=FlowStatus.DISABLED),))])
    await asyncio.sleep(0.1)
    [held] = definitions(world.pgw.pushed[1])
    assert (held.charging_rule_name, held.flow_status) == (b"af-1-1-1", FlowStatus.DISABLED)
    assert held.flow_information == definitions(world.pgw.pushed[0])[0].flow_information
    await session.change([MediaComponentDescription(media_component_number=1, media_sub_component=(
        MediaSubComponent(flow_number=2, flow_status=FlowStatus.REMOVED),))])
    await asyncio.sleep(0.1)
    assert removed_names(world.pgw.pushed[2]) == [b"af-1-1-2"]


async def test_what_failed_can_be_asked_for_again_with_less(world: World) -> None:
    session = await world.call()
    await world.report([b"af-1-1-1"], PccRuleStatus.INACTIVE, failure=RuleFailureCode.RESOURCES_LIMITATION)
    await session.told(FAILED)
    await session.change([MediaComponentDescription(media_component_number=1, max_requested_bandwidth_ul=16_000, max_requested_bandwidth_dl=16_000)])
    await asyncio.sleep(0.1)
    [rule] = definitions(world.pgw.pushed[1])
    assert rule.qos_information is not None
    assert (rule.charging_rule_name, rule.qos_information.guaranteed_bitrate_ul) == (b"af-1-1-1", 16_000)


async def test_application_function_that_has_restarted_loses_its_sessions(world: World) -> None:
    await world.call()
    await world.af.stop()
    world.lab.nodes.remove(world.af)
    await asyncio.sleep(5)
    world.af = await application_function(world.lab)
    session = await world.call(server=f"{SERVER}:6000")
    assert [each.session_id for each in world.pcrf.af_sessions] == [session.session_id]
    assert [name for push in world.pgw.pushed for name in removed_names(push)] == [b"af-1-1-1"]
