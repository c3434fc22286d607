"""S9: a PCRF in Barcelona and one at home, a PDN gateway of the visited network, and agents between the two operators."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.dra import Dra, DraConfig
from epc.node import parse_config
from epc.pcrf import Pcrf, PcrfConfig
from epc.pcrf.editing import with_policy
from epc.transport.interface import Address
from epc.wire.diameter import ExperimentalResultCode, ResultCode, gx
from epc.wire.diameter.gx import CcRequestType, EventTrigger
from epc.wire.diameter.policy import ChargingRuleReport, PccRuleStatus, RuleFailureCode, ServiceUnit, UsageMonitoringInformation
from tests.nodes.pcrf_lab import ALICE, Lab, ScriptedPgw, removed_names, rule_names

pytestmark = [pytest.mark.virtual_clock]

HOME, VISITED = "epc.mnc001.mcc001.3gppnetwork.org", "epc.mnc007.mcc214.3gppnetwork.org"
UPDATE, TERMINATION = CcRequestType.UPDATE_REQUEST, CcRequestType.TERMINATION_REQUEST
LOCAL_SUBSCRIBER = "214070000000009"

HOME_POLICY: dict[str, Any] = {
    "rules": {"web": {"rating_group": 1}, "voice": {"qci": 1, "guaranteed_ul": "64k", "guaranteed_dl": "64k"},
              "no facebook": {"application": "facebook", "status": "disabled", "where": "roaming", "precedence": 1}},
    "policies": [
        {"name": "barred", "imsi": "001010000000666", "reject": True},
        {"name": "everybody", "rules": ["no facebook", "voice", "web"], "ambr_dl": "20M",
         "usage_limit": {"octets": 1000, "key": "trip", "per": "month", "then": "slow"}},
        {"name": "slow", "by_name_only": True, "ambr_dl": "64k", "rules": ["web"]},
    ]}


class World:
    """Home PCRF - home agent - visited agent - visited PCRF - visited PDN gateway."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.home: Pcrf
        self.visited: Pcrf
        self.pgw: ScriptedPgw
        self.agents: list[Dra] = []

    async def pcrf(self, name: str, host: str, realm: str, **more: Any) -> Pcrf:
        config = parse_config({"name": name, "origin_host": f"pcrf.{realm}", "origin_realm": realm, "gx": {"listen": [{"host": host}]}, **more},
                              PcrfConfig, source=name)
        pcrf = Pcrf(config, self.lab.network.transport(name), clock=self.lab.clock, entropy=random.Random(name))
        await pcrf.start()
        self.lab.nodes.append(pcrf)
        return pcrf

    async def agent(self, name: str, host: str, realm: str, **more: Any) -> Dra:
        config = parse_config({"name": name, "origin_host": f"dra.{realm}", "origin_realm": realm, "diameter": {"listen": [{"host": host}], **more}},
                              DraConfig, source=name)
        agent = Dra(config, self.lab.network.transport(name), clock=self.lab.clock, entropy=random.Random(name))
        await agent.start()
        self.lab.nodes.append(agent)
        self.agents.append(agent)
        return agent


async def build(world: World, policy: dict[str, Any] | None = None, **s9: Any) -> World:
    await world.agent("dra-h", "10.2.0.18", HOME)
    await world.agent("dra-v", "10.1.0.18", VISITED, peers=[{"host": "10.2.0.18", "default_route": True}])
    world.home = await world.pcrf("pcrf-h", "10.2.0.9", HOME, policy=policy or HOME_POLICY, s9={
        "peers": [{"host": "10.2.0.18", "default_route": True}], "partners": [{"plmn": "21407"}]})
    world.visited = await world.pcrf("pcrf-v", "10.1.0.9", VISITED, policy={"policies": [{"name": "local", "ambr_dl": "3M"}]}, s9={
        "peers": [{"host": "10.1.0.18", "default_route": True}], "partners": [{"plmn": "00101"}], "tx_s": 2.0, **s9})
    world.pgw = ScriptedPgw(world.lab.network, "pgw", f"pgw.{VISITED}", realm=VISITED, pcrf=Address("10.1.0.9", 3868))
    await world.pgw.start()
    world.lab.nodes.append(world.pgw.node)
    for pcrf in (world.home, world.visited):
        await asyncio.wait_for(pcrf.gx.wait_connected(), 30)
    await asyncio.sleep(1)
    return world


@async_fixture
async def empty() -> AsyncIterator[World]:
    lab = Lab()
    yield World(lab)
    for node in reversed(lab.nodes):
        await node.stop()


@async_fixture
async def world(empty: World) -> World:
    return await build(empty)


async def roamer(world: World, **more: Any) -> gx.CreditControlAnswer:
    return await world.pgw.establish(tgpp_sgsn_mcc_mnc="21407", **more)


# --- one session ------------------------------------------------------------------------------------------------------


async def test_home_decides_for_its_subscriber_abroad(world: World) -> None:
    answer = await roamer(world)
    assert answer.is_success
    assert answer.origin_host == f"pcrf.{VISITED}"
    assert rule_names(answer) == [b"no facebook", b"voice", b"web"]
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 20_000_000
    assert answer.usage_monitoring_information[0].monitoring_key == b"trip"
    assert {EventTrigger.PLMN_CHANGE, EventTrigger.USAGE_REPORT} <= set(answer.event_trigger)
    [at_home] = [session.state() for session in world.home.sessions]
    assert (at_home["imsi"], at_home["serving_plmn"], at_home["policy"], at_home["pcef"]) == (ALICE, "21407", "everybody", f"pcrf.{VISITED}")
    [here] = world.visited.views()["visited_sessions"]()                                        # type: ignore[attr-defined]
    assert (here["imsi"], here["home_realm"], here["home_pcrf"], here["subsession"]) == (ALICE, HOME, f"pcrf.{HOME}", 1)
    assert len(world.visited.sessions) == 0
    assert world.visited.metrics.value("messages_total", interface="S9", direction="sent", type="CreditControlRequest") == 1
    assert world.home.metrics.value("messages_total", interface="S9", direction="received", type="CreditControlRequest") == 1


async def test_own_subscribers_are_decided_for_here(world: World) -> None:
    answer = await world.pgw.establish(imsi=LOCAL_SUBSCRIBER)
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 3_000_000
    assert (len(world.visited.sessions), len(world.visited.visited_role)) == (1, 0)


async def test_push_from_home_reaches_the_visited_gateway(world: World) -> None:
    await roamer(world)
    outcome = await world.home.change_policies(lambda book: with_policy(book, "everybody", {"rules": ["web"], "ambr_dl": "5M"}))
    assert outcome == {"sessions": 1, "changed": 1, "failed": 0}
    [push] = world.pgw.pushed
    assert push.origin_host == f"pcrf.{VISITED}"
    assert removed_names(push) == [b"no facebook", b"voice"]
    assert push.qos_information[0].apn_aggregate_max_bitrate_dl == 5_000_000
    assert next(iter(world.home.sessions)).state()["rules"] == ["web"]


async def test_what_the_gateway_makes_of_a_push_is_told_home(world: World) -> None:
    await roamer(world)
    world.pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_SUCCESS, "charging_rule_report": (ChargingRuleReport(
        charging_rule_name=(b"voice",), pcc_rule_status=PccRuleStatus.INACTIVE, rule_failure_code=RuleFailureCode.RESOURCES_LIMITATION),)}
    await world.home.change_policies(lambda book: with_policy(book, "everybody", {"rules": ["voice", "web"]}))
    assert next(iter(world.home.sessions)).state()["rules"] == ["web"]
    world.pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_UNABLE_TO_COMPLY}
    assert (await world.home.change_policies(lambda book: with_policy(book, "everybody", {"ambr_dl": "1M"})))["failed"] == 1


async def test_reports_go_home_and_change_the_decision(world: World) -> None:
    session_id = (await roamer(world)).session_id
    answer = await world.pgw.ask(UPDATE, session_id, 1, event_trigger=(EventTrigger.USAGE_REPORT,), usage_monitoring_information=(
        UsageMonitoringInformation(monitoring_key=b"trip", used_service_unit=(ServiceUnit(cc_total_octets=1000),)),))
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 64_000
    assert b"voice" in removed_names(answer)
    assert await world.home.commands()["usage"](imsi=ALICE) == [{"key": "trip", "octets": 1000, "limit": 1000, "per": "month"}]
    home_again = await world.pgw.ask(UPDATE, session_id, 2, event_trigger=(EventTrigger.PLMN_CHANGE,), tgpp_sgsn_mcc_mnc="00101")
    assert home_again.is_success
    assert next(iter(world.home.sessions)).serving_plmn == "00101"


async def test_two_connections_are_two_subsessions_of_one_session(world: World) -> None:
    first, second = await asyncio.gather(roamer(world), roamer(world, apn="ims", ip="10.45.0.9"))
    here = world.visited.visited_role.state()
    assert [(each["apn"], each["subsession"]) for each in here] in ([("internet", 1), ("ims", 2)], [("ims", 2), ("internet", 1)])
    assert len({each["s9_session_id"] for each in here}) == 1
    assert len(world.home.sessions) == 2
    assert (await world.pgw.ask(TERMINATION, first.session_id, 1)).is_success
    assert [session.apn for session in world.home.sessions] == ["ims"]
    assert (await world.pgw.ask(TERMINATION, second.session_id, 1)).is_success
    assert (len(world.home.sessions), len(world.visited.visited_role)) == (0, 0)
    assert (world.home.home_role._subsessions, world.visited.visited_role._users) == ({}, {})
    again = await roamer(world)
    assert again.is_success


async def test_home_releases(world: World) -> None:
    await roamer(world)
    await world.home.commands()["release"](imsi=ALICE)
    assert world.pgw.pushed[0].session_release_cause == gx.SessionReleaseCause.UE_SUBSCRIPTION_REASON


# --- refusals and restrictions ----------------------------------------------------------------------------------------


async def test_home_refuses(world: World) -> None:
    answer = await roamer(world, imsi="001010000000666")
    assert answer.result is ResultCode.DIAMETER_AUTHORIZATION_REJECTED
    assert (len(world.home.sessions), len(world.visited.visited_role)) == (0, 0)
    assert (world.home.home_role._subsessions, world.visited.visited_role._users) == ({}, {})


async def test_second_connection_refused_leaves_the_first(empty: World) -> None:
    world = await build(empty, {"policies": [{"apn": "ims", "reject": True}, {"name": "rest"}]})
    await roamer(world)
    assert (await roamer(world, apn="ims", ip="10.45.0.9")).result is ResultCode.DIAMETER_AUTHORIZATION_REJECTED
    assert [each["apn"] for each in world.visited.visited_role.state()] == ["internet"]


async def test_strangers_are_no_partners(world: World) -> None:
    stranger = await world.pcrf("pcrf-x", "10.3.0.9", "epc.mnc001.mcc262.3gppnetwork.org", s9={
        "peers": [{"host": "10.2.0.18", "default_route": True}], "partners": [{"plmn": "00101"}]})
    pgw = ScriptedPgw(world.lab.network, "pgw-x", "pgw.x", realm="epc.mnc001.mcc262.3gppnetwork.org", pcrf=Address("10.3.0.9", 3868))
    await pgw.start()
    world.lab.nodes.append(pgw.node)
    await asyncio.wait_for(stranger.gx.wait_connected(), 30)
    await asyncio.sleep(1)
    assert (await pgw.establish()).result is ResultCode.DIAMETER_AUTHORIZATION_REJECTED
    assert len(world.home.sessions) == 0


async def test_visited_network_has_its_limits(empty: World) -> None:
    world = await build(empty, restrict={"guaranteed": False, "ambr_dl": "10M"})
    answer = await roamer(world)
    assert rule_names(answer) == [b"no facebook", b"web"]
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 10_000_000
    await asyncio.sleep(1)
    assert next(iter(world.home.sessions)).state()["rules"] == ["no facebook", "web"]       # home was told
    assert world.home.metrics.value("rule_failures_total") == 1


async def test_initial_parameters_are_needed(world: World) -> None:
    answer = await roamer(world, framed_ip_address=None)
    assert answer.result is ExperimentalResultCode.DIAMETER_ERROR_INITIAL_PARAMETERS


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_home_unreachable_decided_here(world: World) -> None:
    world.lab.network.cut("pcrf-h")
    answer = await roamer(world)
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 3_000_000
    assert (len(world.visited.sessions), len(world.visited.visited_role), world.visited.visited_role._users) == (1, 0, {})
    assert (await world.pgw.ask(UPDATE, answer.session_id, 1)).is_success
    assert (await world.pgw.ask(TERMINATION, answer.session_id, 2)).is_success
    world.lab.network.heal("pcrf-h")


async def test_home_unreachable_refused(empty: World) -> None:
    world = await build(empty, on_failure="reject")
    await world.agents[0].stop()
    world.lab.nodes.remove(world.agents[0])
    answer = await roamer(world)
    assert answer.result is ResultCode.DIAMETER_UNABLE_TO_COMPLY
    assert (len(world.visited.sessions), world.visited.visited_role._users) == (0, {})


async def test_home_unreachable_at_the_end(world: World) -> None:
    session_id = (await roamer(world)).session_id
    world.lab.network.cut("pcrf-h")
    update = await world.pgw.ask(UPDATE, session_id, 1)
    assert update.result is ResultCode.DIAMETER_UNABLE_TO_COMPLY
    assert (await world.pgw.ask(TERMINATION, session_id, 2)).is_success
    assert (len(world.visited.visited_role), world.visited.visited_role._users) == (0, {})
    assert len(world.home.sessions) == 1
    world.lab.network.heal("pcrf-h")
    await asyncio.sleep(90)
    assert len(world.home.sessions) == 0, "it is told when it can be reached again"


async def test_home_that_has_restarted_knows_nothing(world: World) -> None:
    session_id = (await roamer(world)).session_id
    await world.home.stop()
    world.lab.nodes.remove(world.home)
    world.home = await world.pcrf("pcrf-h", "10.2.0.9", HOME, policy=HOME_POLICY, s9={
        "peers": [{"host": "10.2.0.18", "default_route": True}], "partners": [{"plmn": "21407"}]})
    await asyncio.sleep(60)
    answer = await world.pgw.ask(UPDATE, session_id, 1)
    assert answer.result is ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    assert len(world.visited.visited_role) == 0
    assert (await roamer(world)).is_success


async def test_gateway_that_has_restarted_loses_its_sessions_at_home_too(world: World) -> None:
    await roamer(world, origin_state_id=1)
    await roamer(world, imsi="001010000000002", ip="10.45.0.8", origin_state_id=2)
    await asyncio.sleep(1)
    assert [session.imsi for session in world.home.sessions] == ["001010000000002"]
    assert [each["imsi"] for each in world.visited.visited_role.state()] == ["001010000000002"]


async def test_session_that_the_gateway_forgot(world: World) -> None:
    await roamer(world)
    world.pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_UNKNOWN_SESSION_ID}
    await world.home.change_policies(lambda book: with_policy(book, "everybody", {"ambr_dl": "1M"}))
    assert (len(world.home.sessions), len(world.visited.visited_role)) == (0, 0)


async def test_visited_pcrf_that_has_restarted_leaves_nothing_at_home(world: World) -> None:
    await roamer(world)
    await world.visited.stop()
    world.lab.nodes.remove(world.visited)
    await asyncio.sleep(5)              # its Origin-State-Id is the time of its start
    world.visited = await world.pcrf("pcrf-v", "10.1.0.9", VISITED, s9={
        "peers": [{"host": "10.1.0.18", "default_route": True}], "partners": [{"plmn": "00101"}]})
    await asyncio.sleep(60)
    assert (await roamer(world, imsi="001010000000002", ip="10.45.0.8")).is_success
    assert [session.imsi for session in world.home.sessions] == ["001010000000002"]
    assert len(world.home.home_role._subsessions) == 1
