"""Policies that depend on the time of day, the serving network, applications seen and volume used; on the virtual clock."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.node import ConfigError
from epc.pcrf.calendar import Calendar, is_within
from epc.pcrf.pcc import Arp, Policy, PolicyBook, Rule
from epc.pcrf.policy import PolicyEngine, Situation, arp_group
from epc.wire.diameter import ExperimentalResultCode, ResultCode, gx
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import (
    ApplicationDetectionInformation,
    ChargingRuleReport,
    FlowStatus,
    MeteringMethod,
    MuteNotification,
    PacketFilterInformation,
    PacketFilterOperation,
    PccRuleStatus,
    QosInformation,
    ReportingLevel,
    ServiceUnit,
    UsageMonitoringInformation,
    UsageMonitoringLevel,
    UsageMonitoringSupport,
)
from tests.nodes.pcrf_lab import ALICE, BOB, Lab, ScriptedPgw, config, rule_names, running_lab
from tests.nodes.pcrf_lab import removed_names as removed

pytestmark = [pytest.mark.virtual_clock]

UPDATE = gx.CcRequestType.UPDATE_REQUEST
TERMINATION = gx.CcRequestType.TERMINATION_REQUEST
HOUR = 3600.0


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    async for lab in running_lab():
        yield lab


# --- time of day ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "hours", "days", "fits"), [
    ("2023-11-15T12:00", "08:00-17:00", (), True),
    ("2023-11-15T17:00", "08:00-17:00", (), False),
    ("2023-11-15T23:00", "22:00-06:00", (), True),
    ("2023-11-15T05:59", "22:00-06:00", (), True),
    ("2023-11-15T06:00", "22:00-06:00", (), False),
    ("2023-11-15T23:59", "18:00-24:00", (), True),
    ("2023-11-15T00:00", "18:00-24:00", (), False),
    ("2023-11-18T03:00", "22:00-06:00", ("fri",), True),        # Friday's night
    ("2023-11-17T03:00", "22:00-06:00", ("fri",), False),       # Thursday's
    ("2023-11-18T03:00", None, ("sat", "sun"), True),
    ("2023-11-17T03:00", None, ("sat", "sun"), False),
])
def test_hours_and_days(at: str, hours: str | None, days: tuple[str, ...], fits: bool) -> None:
    assert is_within(datetime.datetime.fromisoformat(at), hours, days) is fits


def test_boundaries_follow_the_time_zone_and_summer_time() -> None:
    madrid = Calendar("Europe/Madrid")
    before = datetime.datetime(2024, 3, 31, 0, 30, tzinfo=datetime.UTC).timestamp()         # 01:30, the clock goes from 2 to 3
    boundary = madrid.next_boundary(before, ["06:00-07:00"], [], days=False)
    assert boundary == datetime.datetime(2024, 3, 31, 4, 0, tzinfo=datetime.UTC).timestamp()
    assert madrid.next_boundary(before, [], ["hour"], days=False) == before + 1800
    assert madrid.next_boundary(before, [], ["day"], days=False) == datetime.datetime(2024, 3, 31, 22, 0, tzinfo=datetime.UTC).timestamp()
    assert madrid.next_boundary(before, [], ["month"], days=False) == datetime.datetime(2024, 3, 31, 22, 0, tzinfo=datetime.UTC).timestamp()
    assert madrid.next_boundary(before, [], ["ever"], days=False) is None
    assert madrid.period_start_ms("week", before) == datetime.datetime(2024, 3, 24, 23, 0, tzinfo=datetime.UTC).timestamp() * 1000


async def test_hours_of_a_policy_begin_and_end_by_themselves(lab: Lab) -> None:
    await lab.pcrf({"policies": [{"name": "night", "hours": "22:00-06:00", "ambr_dl": "200M"}, {"name": "day", "ambr_dl": "1M"}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 1_000_000
    await asyncio.sleep(10 * HOUR - 1)                      # it was noon
    assert pgw.pushed == []
    await asyncio.sleep(2)
    [push] = pgw.pushed
    assert push.qos_information[0].apn_aggregate_max_bitrate_dl == 200_000_000
    await asyncio.sleep(8 * HOUR)
    assert [each.qos_information[0].apn_aggregate_max_bitrate_dl for each in pgw.pushed] == [200_000_000, 1_000_000]
    again = await pgw.establish(imsi=BOB, ip="10.45.0.3")
    assert again.qos_information[0].apn_aggregate_max_bitrate_dl == 1_000_000


async def test_rule_in_its_hours_only(lab: Lab) -> None:
    await lab.pcrf({"rules": {"games": {"hours": "18:00-20:00", "days": "mon-fri"}, "web": {}}, "policies": [{"rules": ["games", "web"]}]},
                   time_zone="Europe/Madrid")
    pgw = await lab.pgw()
    assert rule_names(await pgw.establish()) == [b"web"]
    await asyncio.sleep(5 * HOUR + 1)                       # 18:00 in Madrid
    assert rule_names(pgw.pushed[0]) == [b"games"]
    await asyncio.sleep(2 * HOUR)
    assert removed(pgw.pushed[1]) == [b"games"]


async def test_many_sessions_at_a_boundary(lab: Lab) -> None:
    pcrf = await lab.pcrf({"policies": [{"name": "night", "hours": "22:00-06:00", "ambr_dl": "200M"}]})
    pgw = await lab.pgw()
    for number in range(200):
        await pgw.establish(imsi=f"00101{number:010d}", ip=f"10.45.1.{number}")
    await asyncio.sleep(10 * HOUR + 5)
    assert len(pgw.pushed) == 200
    assert {session.policy for session in pcrf.sessions} == {"night"}


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plmn", "policy"), [("00101", "home"), (None, "home"), ("21407", "spain"), ("26201", "abroad"), ("00102", "home")])
async def test_serving_network(lab: Lab, plmn: str | None, policy: str) -> None:
    pcrf = await lab.pcrf({"policies": [
        {"name": "spain", "plmns": ["21407"]}, {"name": "abroad", "where": "roaming", "ambr_dl": "1M"}, {"name": "home", "where": "home"},
    ]}, home_plmns=["00102"])
    pgw = await lab.pgw()
    answer = await pgw.establish(tgpp_sgsn_mcc_mnc=plmn)
    assert [session.policy for session in pcrf.sessions] == [policy]
    assert EventTrigger.PLMN_CHANGE in answer.event_trigger


async def test_change_of_the_serving_network_changes_rules(lab: Lab) -> None:
    await lab.pcrf({"rules": {"video": {"where": "home", "precedence": 1}, "web": {}}, "policies": [{"rules": ["video", "web"]}]})
    pgw = await lab.pgw()
    answer = await pgw.establish(tgpp_sgsn_mcc_mnc="00101")
    assert rule_names(answer) == [b"video", b"web"]
    abroad = await pgw.ask(UPDATE, answer.session_id, 1, event_trigger=(EventTrigger.PLMN_CHANGE,), tgpp_sgsn_mcc_mnc="21407")
    assert (rule_names(abroad), removed(abroad)) == ([], [b"video"])
    back = await pgw.ask(UPDATE, answer.session_id, 2, event_trigger=(EventTrigger.PLMN_CHANGE,), tgpp_sgsn_mcc_mnc="00101")
    assert rule_names(back) == [b"video"]


# --- usage ------------------------------------------------------------------------------------------------------------

FAIR_USE: dict[str, Any] = {
    "policies": [
        {"name": "gold", "usage_limit": {"octets": "1G", "key": "daily", "per": "day", "then": "throttled", "report": "400M"}},
        {"name": "throttled", "by_name_only": True, "ambr_dl": "128k", "ambr_ul": "64k"},
    ]}


async def report(pgw: ScriptedPgw, session_id: str, number: int, octets: int, key: bytes = b"daily", **more: Any) -> gx.CreditControlAnswer:
    return await pgw.ask(UPDATE, session_id, number, event_trigger=(EventTrigger.USAGE_REPORT,), usage_monitoring_information=(
        UsageMonitoringInformation(monitoring_key=key, used_service_unit=(ServiceUnit(cc_total_octets=octets),)),), **more)


def granted(message: gx.CreditControlAnswer | gx.ReAuthRequest) -> dict[bytes | None, int | None]:
    return {info.monitoring_key: info.granted_service_unit[0].cc_total_octets if info.granted_service_unit else None
            for info in message.usage_monitoring_information}


async def test_used_up_volume_throttles_and_comes_back_the_next_day(lab: Lab) -> None:
    pcrf = await lab.pcrf(FAIR_USE)
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert EventTrigger.USAGE_REPORT in answer.event_trigger
    [info] = answer.usage_monitoring_information
    assert (info.monitoring_key, info.usage_monitoring_level) == (b"daily", UsageMonitoringLevel.SESSION_LEVEL)
    assert granted(answer) == {b"daily": 400_000_000}
    first = await report(pgw, answer.session_id, 1, 400_000_000)
    assert (granted(first), first.qos_information) == ({b"daily": 400_000_000}, ())
    second = await report(pgw, answer.session_id, 2, 400_000_000)
    assert granted(second) == {b"daily": 200_000_000}                   # what is left
    last = await report(pgw, answer.session_id, 3, 201_000_000)
    assert granted(last) == {}
    assert last.qos_information[0].apn_aggregate_max_bitrate_dl == 128_000
    assert EventTrigger.USAGE_REPORT not in last.event_trigger
    assert last.event_trigger == (EventTrigger.NO_EVENT_TRIGGERS,)
    assert await pcrf.commands()["usage"](imsi=ALICE) == [{"key": "daily", "octets": 1_001_000_000, "limit": 1_000_000_000, "per": "day"}]
    await asyncio.sleep(12 * HOUR + 1)                                  # midnight
    [push] = pgw.pushed
    assert push.qos_information[0].apn_aggregate_max_bitrate_dl == 100_000_000
    assert granted(push) == {b"daily": 400_000_000}
    assert await pcrf.commands()["usage"](imsi=ALICE) == [{"key": "daily", "octets": 0, "limit": 1_000_000_000, "per": "day"}]
    fresh = await report(pgw, answer.session_id, 4, 100_000_000)
    assert granted(fresh) == {b"daily": 400_000_000}


async def test_sessions_of_one_subscriber_share_a_counter(lab: Lab) -> None:
    await lab.pcrf(FAIR_USE)
    pgw = await lab.pgw()
    first = await pgw.establish()
    second = await pgw.establish(apn="ims", ip="10.45.0.9")
    other = await pgw.establish(imsi=BOB, ip="10.45.0.3")
    await report(pgw, first.session_id, 1, 1_000_000_000)
    await asyncio.sleep(0.1)
    [push] = pgw.pushed
    assert push.session_id == second.session_id
    assert push.qos_information[0].apn_aggregate_max_bitrate_ul == 64_000
    [stopped] = push.usage_monitoring_information
    assert stopped.usage_monitoring_support == UsageMonitoringSupport.USAGE_MONITORING_DISABLED
    assert other.session_id not in [each.session_id for each in pgw.pushed]
    # what the second one used until then is reported, and counts
    await report(pgw, second.session_id, 1, 5_000)
    assert len(pgw.pushed) == 1


async def test_usage_survives_a_restart(lab: Lab, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pcc.sqlite"
    pcrf, pgw = await lab.pcrf(FAIR_USE, database=url), await lab.pgw()
    session = await pgw.establish()
    end = await pgw.ask(TERMINATION, session.session_id, 1, usage_monitoring_information=(UsageMonitoringInformation(
        monitoring_key=b"daily", used_service_unit=(ServiceUnit(cc_input_octets=300_000_000, cc_output_octets=700_000_000),)),))
    assert end.is_success
    await pcrf.stop()
    lab.nodes.remove(pcrf)
    await lab.pcrf(FAIR_USE, database=url)
    await asyncio.wait_for(pgw.node.wait_connected(), 30)
    answer = await pgw.establish()
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 128_000


async def test_two_pcrfs_on_one_database_add_up(lab: Lab, tmp_path: Path) -> None:
    from epc.transport.interface import Address

    url = f"sqlite:///{tmp_path}/pcc.sqlite"
    await lab.pcrf(FAIR_USE, database=url)
    await lab.pcrf(FAIR_USE, database=url, name="pcrf2", origin_host="pcrf2.example.org", gx={"listen": [{"host": "10.0.0.8"}]})
    here = await lab.pgw()
    there = await lab.pgw("pgw2", "pgw2.example.org", pcrf=Address("10.0.0.8", 3868))
    first, second = await here.establish(), await there.establish(apn="ims")
    await report(here, first.session_id, 1, 600_000_000)
    answer = await report(there, second.session_id, 1, 600_000_000)
    assert answer.qos_information[0].apn_aggregate_max_bitrate_dl == 128_000


async def test_limit_of_a_rule(lab: Lab) -> None:
    """Without ``then`` its gate closes; with it another rule holds."""
    await lab.pcrf({
        "rules": {"video": {"precedence": 5, "usage_limit": {"octets": 1000, "per": "ever"}},
                  "music": {"precedence": 6, "usage_limit": {"octets": 1000, "key": "songs", "then": "music slow"}},
                  "music slow": {"precedence": 6, "qci": 9, "max_dl": "64k"}, "web": {}},
        "policies": [{"rules": ["video", "music", "web"]}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert granted(answer) == {b"video": 1000, b"songs": 1000}
    assert {info.usage_monitoring_level for info in answer.usage_monitoring_information} == {UsageMonitoringLevel.PCC_RULE_LEVEL}
    video = answer.charging_rule_install[0].charging_rule_definition[0]
    assert video.monitoring_key == b"video"
    used = await report(pgw, answer.session_id, 1, 1000, b"video")
    [closed] = used.charging_rule_install[0].charging_rule_definition
    assert (closed.charging_rule_name, closed.flow_status) == (b"video", FlowStatus.DISABLED)
    used = await report(pgw, answer.session_id, 2, 1500, b"songs")
    assert (rule_names(used), removed(used)) == ([b"music slow"], [b"music"])


async def test_policy_limit_without_successor_closes_every_gate(lab: Lab) -> None:
    pcrf = await lab.pcrf({"rules": {"a": {}, "b": {}}, "policies": [{"name": "p", "rules": ["a", "b"], "usage_limit": {"octets": 10}}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert granted(answer) == {b"p": 10}
    used = await report(pgw, answer.session_id, 1, 10, b"p")
    assert [rule.flow_status for rule in used.charging_rule_install[0].charging_rule_definition] == [FlowStatus.DISABLED] * 2
    assert await pcrf.commands()["forget_usage"](imsi=ALICE) == {"sessions": 1, "changed": 1, "failed": 0}
    assert [rule.flow_status for rule in pgw.pushed[0].charging_rule_install[0].charging_rule_definition] == [FlowStatus.ENABLED] * 2
    with pytest.raises(LookupError, match="has used nothing"):
        await pcrf.commands()["forget_usage"](imsi=BOB)


# --- applications -----------------------------------------------------------------------------------------------------


async def test_application_rule_on_the_wire(lab: Lab) -> None:
    await lab.pcrf({"rules": {
        "no facebook": {"application": "facebook", "status": "disabled", "precedence": 1},
        "shop": {"application": "shop", "report_application": True, "redirect_to": "http://portal.example/"},
        "web": {"rating_group": 7, "metering": "volume", "reporting_level": "service-identifier", "service_identifier": 3,
                "flows": [{"description": "permit out ip from any to assigned", "tos": "b8fc", "tell_ue": False}]},
    }, "policies": [{"rules": ["no facebook", "shop", "web"], "predefined_groups": ["base"]}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    [install] = answer.charging_rule_install
    facebook, shop, web = install.charging_rule_definition
    assert (facebook.tdf_application_identifier, facebook.flow_information, facebook.flow_status, facebook.mute_notification) == (
        b"facebook", (), FlowStatus.DISABLED, MuteNotification.MUTE_REQUIRED)
    assert shop.mute_notification is None
    assert shop.redirect_information is not None
    assert shop.redirect_information.redirect_server_address == "http://portal.example/"
    assert (web.metering_method, web.reporting_level, web.service_identifier) == (
        MeteringMethod.VOLUME, ReportingLevel.SERVICE_IDENTIFIER_LEVEL, 3)
    assert (web.flow_information[0].tos_traffic_class, web.flow_information[0].packet_filter_usage) == (b"\xb8\xfc", None)
    assert install.charging_rule_base_name == ("base",)
    assert set(answer.event_trigger) == {EventTrigger.APPLICATION_START, EventTrigger.APPLICATION_STOP}


async def test_application_that_is_seen_selects_rules(lab: Lab) -> None:
    pcrf = await lab.pcrf({
        "rules": {"watch": {"application": "video", "report_application": True}, "boost": {"detected": ["video"], "qci": 7}, "web": {}},
        "policies": [{"rules": ["watch", "boost", "web"]}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert b"boost" not in rule_names(answer)

    async def see(number: int, event: EventTrigger, instance: bytes) -> gx.CreditControlAnswer:
        return await pgw.ask(UPDATE, answer.session_id, number, event_trigger=(event,), application_detection_information=(
            ApplicationDetectionInformation(tdf_application_identifier=b"video", tdf_application_instance_identifier=instance),))

    assert rule_names(await see(1, EventTrigger.APPLICATION_START, b"1")) == [b"boost"]
    assert rule_names(await see(2, EventTrigger.APPLICATION_START, b"2")) == []
    views = pcrf.views()
    seen = views["applications"]()
    assert isinstance(seen, list)
    assert [(each["imsi"], each["application"], round(lab.clock() - each["since"])) for each in seen] == [(ALICE, "video", 0)] * 2
    assert removed(await see(3, EventTrigger.APPLICATION_STOP, b"1")) == []
    assert removed(await see(4, EventTrigger.APPLICATION_STOP, b"2")) == [b"boost"]
    assert views["applications"]() == []
    assert pcrf.metrics.value("application_events_total", event="start") == 2


# --- the PCEF's reports -----------------------------------------------------------------------------------------------


async def test_rules_out_of_credit_stay(lab: Lab) -> None:
    pcrf = await lab.pcrf({"rules": {"web": {}}, "policies": [{"rules": ["web"], "event_triggers": ["OUT_OF_CREDIT", "REALLOCATION_OF_CREDIT"]}]})
    pgw = await lab.pgw()
    answer = await pgw.establish()
    reports = (ChargingRuleReport(charging_rule_name=(b"web",), pcc_rule_status=PccRuleStatus.INACTIVE),)
    await pgw.ask(UPDATE, answer.session_id, 1, event_trigger=(EventTrigger.OUT_OF_CREDIT,), charging_rule_report=reports)
    [state] = [session.state() for session in pcrf.sessions]
    assert (state["rules"], state["inactive_rules"]) == (["web"], ["web"])
    reports = (ChargingRuleReport(charging_rule_name=(b"web",), pcc_rule_status=PccRuleStatus.ACTIVE),)
    again = await pgw.ask(UPDATE, answer.session_id, 2, event_trigger=(EventTrigger.REALLOCATION_OF_CREDIT,), charging_rule_report=reports)
    assert (rule_names(again), removed(again)) == ([], [])
    assert [session.state()["inactive_rules"] for session in pcrf.sessions] == [[]]
    assert pcrf.metrics.value("rule_failures_total") == 0


async def test_change_during_a_push_is_pushed_next(lab: Lab) -> None:
    """The PCEF takes its time over one push; what changes meanwhile is told in the next one."""
    pcrf = await lab.pcrf({"rules": {"a": {"precedence": 1}}, "policies": [{"name": "p", "ambr_dl": "1M"}]})
    pgw = await lab.pgw()
    await pgw.establish()
    gate = asyncio.Event()

    async def slowly(request: gx.ReAuthRequest) -> gx.ReAuthAnswer:
        await gate.wait()
        return gx.ReAuthAnswer(session_id=request.session_id, origin_host=pgw.host, origin_realm=pgw.realm,
                               result_code=ResultCode.DIAMETER_SUCCESS)

    pgw.serve = slowly
    from epc.pcrf.editing import with_policy
    first = asyncio.create_task(pcrf.change_policies(lambda book: with_policy(book, "p", {"rules": ["a"]})))
    await asyncio.sleep(0.1)
    await pcrf.change_policies(lambda book: with_policy(book, "p", {"ambr_dl": "3M"}))
    gate.set()
    await first
    assert [rule_names(push) for push in pgw.pushed] == [[b"a"], [b"everything"]]
    assert removed(pgw.pushed[1]) == [b"a"]
    assert [session.state()["rules"] for session in pcrf.sessions] == [["everything"]]


# --- the engine -------------------------------------------------------------------------------------------------------


def test_decisions_are_shared() -> None:
    engine = PolicyEngine(PolicyBook(
        rules={"day": Rule(hours="06:00-22:00"), "web": Rule()},
        policies=(Policy(name="exact", imsi=ALICE), Policy(name="some", imsi="00101*", rules=("day", "web")))))
    plain = [engine.decide(Situation(ALICE, "internet")) for _ in range(2)]
    assert plain[0] is plain[1]
    day = [engine.decide(Situation(f"00101{n:010d}", "internet"), 12 * HOUR) for n in range(2, 5)]
    assert day[0] is day[1] is day[2]
    night = engine.decide(Situation(BOB, "internet"), 3 * HOUR)
    assert day[0] is not None
    assert night is not None
    assert (len(day[0].rules), len(night.rules)) == (2, 1)


def test_priority_before_the_order_of_the_list() -> None:
    engine = PolicyEngine(PolicyBook(policies=(
        Policy(name="last", priority=200), Policy(name="pattern", imsi="00101*"), Policy(name="alice", imsi=ALICE),
        Policy(name="first", apn="IMS", priority=1))))
    found = {(imsi, apn): engine.decide(Situation(imsi, apn)) for imsi in (ALICE, BOB, "999") for apn in ("ims", "internet")}
    assert {key: decision.policy for key, decision in found.items() if decision is not None} == {
        (ALICE, "ims"): "first", (ALICE, "internet"): "pattern", (BOB, "ims"): "first", (BOB, "internet"): "pattern",
        ("999", "ims"): "first", ("999", "internet"): "last"}


@pytest.mark.parametrize(("policy", "complaint"), [
    ({"policies": [{"hours": "8-17"}]}, "policy.policies.0.hours"),
    ({"policies": [{"days": "someday"}]}, "days are mon"),
    ({"policies": [{"plmns": ["Spain"]}]}, "five or six digits"),
    ({"policies": [{"name": "a"}, {"name": "a"}]}, "two policies a"),
    ({"policies": [{"usage_limit": {"octets": "1G", "then": "b"}}]}, "gives way to policy b"),
    ({"rules": {"r": {"usage_limit": {"octets": "many"}}}}, "a number of octets"),
    ({"rules": {"r": {"usage_limit": {"octets": 1, "then": "s"}}}}, "gives way to rule s"),
    ({"rules": {"r": {"application": "x", "flows": [{"description": "permit out ip from any to any"}]}}}, "exclude each other"),
    ({"rules": {"r": {"report_application": True}}}, "need an application"),
    ({"rules": {"r": {"qci": 1, "guaranteed_ul": "2M", "guaranteed_dl": "1M", "max_ul": "1M"}}}, "more is guaranteed"),
    ({"rules": {"r": {"reporting_level": "sponsored"}}}, "needs sponsor"),
])
def test_wrong_policies_are_explained(policy: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace(".", r"\.")):
        config(policy)


def test_wrong_time_zone_is_explained() -> None:
    with pytest.raises(ConfigError, match="no time zone Mars/Olympus"):
        config(time_zone="Mars/Olympus")


# --- what UEs ask for by themselves -----------------------------------------------------------------------------------


def ask_for(*filters: str, identifiers: tuple[bytes, ...] = (), operation: PacketFilterOperation = PacketFilterOperation.ADDITION,
            **qos: Any) -> dict[str, Any]:
    return {
        "event_trigger": (EventTrigger.RESOURCE_MODIFICATION_REQUEST,), "packet_filter_operation": operation,
        "packet_filter_information": (*[PacketFilterInformation(packet_filter_identifier=each) for each in identifiers],
                                      *[PacketFilterInformation(packet_filter_content=text, precedence=3) for text in filters]),
        "qos_information": QosInformation(**qos) if qos else None}


async def test_ue_asks_for_resources_and_gives_them_back(lab: Lab) -> None:
    pcrf = await lab.pcrf({"policies": [{"ue_requests": {"qcis": [6, 1], "max_ul": "1M", "max_dl": "2M"}}]})
    pgw = await lab.pgw()
    session_id = (await pgw.establish()).session_id
    answer = await pgw.ask(UPDATE, session_id, 1, **ask_for("permit out 17 from 192.0.2.1 to assigned 4000", qos_class_identifier=1,
                                                             guaranteed_bitrate_ul=64_000, guaranteed_bitrate_dl=64_000))
    [rule] = answer.charging_rule_install[0].charging_rule_definition
    [flow] = rule.flow_information
    assert (rule.charging_rule_name, rule.precedence, flow.packet_filter_usage) == (b"ue-1", 503, 1)
    assert rule.qos_information is not None
    assert (rule.qos_information.guaranteed_bitrate_ul, rule.qos_information.max_requested_bandwidth_dl) == (64_000, 64_000)
    assert answer.qos_information == ()                 # no APN-AMBR was asked for
    first = flow.packet_filter_identifier
    assert first is not None
    more = await pgw.ask(UPDATE, session_id, 2, **ask_for("permit out 6 from any 80 to assigned", identifiers=(first,)))
    [rule] = more.charging_rule_install[0].charging_rule_definition
    assert (rule.charging_rule_name, len(rule.flow_information)) == (b"ue-1", 2)
    changed = await pgw.ask(UPDATE, session_id, 3, **ask_for(identifiers=(first,), operation=PacketFilterOperation.MODIFICATION,
                                                              qos_class_identifier=6))
    assert changed.charging_rule_install[0].charging_rule_definition[0].qos_information == QosInformation(
        qos_class_identifier=6, max_requested_bandwidth_ul=1_000_000, max_requested_bandwidth_dl=2_000_000,
        allocation_retention_priority=arp_group(Arp()))
    second = rule.flow_information[1].packet_filter_identifier
    assert second is not None
    fewer = await pgw.ask(UPDATE, session_id, 4, **ask_for(identifiers=(first,), operation=PacketFilterOperation.DELETION))
    assert [each.packet_filter_identifier for each in fewer.charging_rule_install[0].charging_rule_definition[0].flow_information] == [second]
    none = await pgw.ask(UPDATE, session_id, 5, **ask_for(identifiers=(second,), operation=PacketFilterOperation.DELETION))
    assert removed(none) == [b"ue-1"]
    assert [session.state()["rules"] for session in pcrf.sessions] == [["everything"]]


@pytest.mark.parametrize(("asked", "cause"), [
    (ask_for("permit out ip from any to assigned", qos_class_identifier=2), ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED),
    (ask_for("permit out ip from any to assigned", qos_class_identifier=1, guaranteed_bitrate_ul=9_000_000),
     ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED),
    (ask_for(), ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED),
    (ask_for("permit out ip from any to assigned", identifiers=(b"zz",)), ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED),
    (ask_for(identifiers=(b"zz",), operation=PacketFilterOperation.DELETION), ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED),
    (ask_for(identifiers=(b"zz",), operation=PacketFilterOperation.MODIFICATION),
     ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED),
    (ask_for(*["permit out ip from any to assigned"] * 16), ExperimentalResultCode.DIAMETER_ERROR_TRAFFIC_MAPPING_INFO_REJECTED),
])
async def test_what_ues_may_not_ask_for(lab: Lab, asked: dict[str, Any], cause: ExperimentalResultCode) -> None:
    pcrf = await lab.pcrf({"policies": [{"ue_requests": {"qcis": [6, 1], "max_ul": "1M"}}]})
    pgw = await lab.pgw()
    session_id = (await pgw.establish()).session_id
    assert (await pgw.ask(UPDATE, session_id, 1, **asked)).result is cause
    assert next(iter(pcrf.sessions)).ue_rules == {}
    assert (await pgw.ask(UPDATE, session_id, 2)).charging_rule_install == ()


async def test_ue_requests_are_refused_unless_allowed(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    session_id = (await pgw.establish()).session_id
    answer = await pgw.ask(UPDATE, session_id, 1, **ask_for("permit out ip from any to assigned"))
    assert answer.result is ExperimentalResultCode.DIAMETER_ERROR_BEARER_NOT_AUTHORIZED


# --- limits and the database ------------------------------------------------------------------------------------------


async def test_limit_that_comes_while_sessions_are_there_knows_what_was_used(lab: Lab) -> None:
    from epc.pcrf.editing import with_policy
    from epc.pcrf.store import Usage

    pcrf = await lab.pcrf({"policies": [{"name": "p"}, {"name": "slow", "by_name_only": True, "ambr_dl": "64k"}]})
    pgw = await lab.pgw()
    await pgw.establish()
    await pcrf.store.add_usage(ALICE, [Usage(key="k", period_ms=0, octets=5000)])
    await pcrf.change_policies(lambda book: with_policy(book, "p", {"usage_limit": {"octets": 1000, "key": "k", "per": "ever", "then": "slow"}}))
    assert pgw.pushed[0].qos_information[0].apn_aggregate_max_bitrate_dl == 64_000


async def test_database_that_fails_keeps_nobody_from_being_served(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from epc.node.database import StoreError

    pcrf = await lab.pcrf(FAIR_USE)
    pgw = await lab.pgw()

    async def fail(*args: Any, **more: Any) -> Any:
        raise StoreError("disk full")

    monkeypatch.setattr(pcrf.store, "usage", fail)
    monkeypatch.setattr(pcrf.store, "add_usage", fail)
    answer = await pgw.establish()
    assert answer.is_success
    half = await report(pgw, answer.session_id, 1, 600_000_000)
    assert granted(half) == {b"daily": 400_000_000}
    used_up = await report(pgw, answer.session_id, 2, 400_000_000)
    assert used_up.qos_information[0].apn_aggregate_max_bitrate_dl == 128_000
    monkeypatch.setattr(pcrf.store, "edit", fail)
    with pytest.raises(StoreError):
        await pcrf.change_policies(lambda book: book)


# --- rules that the PCEF begins and ends by itself -------------------------------------------------------------------


async def test_rule_with_its_own_times(lab: Lab) -> None:
    pcrf = await lab.pcrf({"rules": {
        "gift": {"active_from": "2023-11-15T14:00", "active_until": "2023-11-15T16:00:00+01:00", "precedence": 1}, "web": {}},
        "policies": [{"rules": ["gift", "web"], "predefined_groups": ["base"]}]}, time_zone="Europe/Madrid")
    pgw = await lab.pgw()
    answer = await pgw.establish()
    assert rule_names(answer) == [b"web", b"gift"]
    plain, timed = answer.charging_rule_install
    assert (plain.rule_activation_time, plain.charging_rule_base_name, timed.charging_rule_base_name) == (None, ("base",), ())
    assert timed.rule_activation_time == datetime.datetime(2023, 11, 15, 13, 0, tzinfo=datetime.UTC)
    assert timed.rule_deactivation_time == datetime.datetime(2023, 11, 15, 15, 0, tzinfo=datetime.UTC)
    await asyncio.sleep(2 * HOUR)
    assert pgw.pushed == []                             # the PCEF has begun by itself
    await asyncio.sleep(1 * HOUR + 1)
    assert [removed(push) for push in pgw.pushed] == [[b"gift"]]
    assert rule_names(await pgw.establish(imsi=BOB, ip="10.45.0.3")) == [b"web"]
    book, _ = await pcrf.store.book()
    assert book == pcrf.policies.book


def test_times_the_wrong_way_round() -> None:
    with pytest.raises(ConfigError, match="active_until is before"):
        config({"rules": {"r": {"active_from": "2026-01-02T00:00", "active_until": "2026-01-01T00:00"}}})
