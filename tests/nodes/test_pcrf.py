"""The PCRF seen from a PDN gateway: Gx requests and answers on the virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.node import ConfigError
from epc.wire.diameter import ExperimentalResultCode, RatType, ResultCode, SupportedFeatures, gx
from epc.wire.diameter.groups import AllocationRetentionPriority
from epc.wire.diameter.policy import ChargingRuleReport, DefaultEpsBearerQos, FlowDirection, PccRuleStatus, QosInformation, RuleFailureCode
from tests.nodes.pcrf_lab import ALICE, BOB, PGW, REALM, SUBSCRIBED, Lab, config, rule_names, running_lab

pytestmark = [
    pytest.mark.virtual_clock,
]

POLICY: dict[str, Any] = {
    "rules": {
        "web": {"precedence": 200, "flows": [{"description": "permit out 6 from any 80 to assigned"}], "rating_group": 1},
        "voice": {"precedence": 10, "qci": 1, "guaranteed_ul": "64k", "guaranteed_dl": "64k", "max_ul": "128k", "max_dl": "128k",
                  "arp": {"priority_level": 2, "pre_emption_capability": True},
                  "flows": [{"description": "permit out 17 from 10.9.0.0/16 to assigned 4000-4100", "direction": "both"}]},
        "slow": {"precedence": 300},
    },
    "policies": [
        {"name": "barred", "imsi": "001010000000666", "reject": True},
        {"name": "2G", "rat": ["GERAN"], "rules": ["slow"], "ambr_dl": "100k"},
        {"name": "ims", "apn": "ims", "default_bearer": {"qci": 5, "arp": {"priority_level": 1}}, "rules": ["voice"],
         "event_triggers": ["RAT_CHANGE", "LOSS_OF_BEARER"], "online": False, "offline": True},
        {"name": "home", "imsi": "00101*", "ambr_ul": "10M", "rules": ["web"], "predefined_rules": ["children"]},
    ],
    "others": "reject",
}


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    async for lab in running_lab():
        yield lab


# --- establishment ----------------------------------------------------------------------------------------------------


async def test_without_policies_everything_is_as_subscribed(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    answer = await pgw.establish()
    assert answer.is_success
    assert answer.default_eps_bearer_qos == SUBSCRIBED
    assert answer.qos_information == (QosInformation(apn_aggregate_max_bitrate_ul=50_000_000, apn_aggregate_max_bitrate_dl=100_000_000),)
    assert rule_names(answer) == [b"everything"]
    assert answer.bearer_control_mode == gx.BearerControlMode.UE_NW
    assert len(pcrf.sessions) == 1
    assert pcrf.metrics.value("procedure_successes_total", procedure="ip_can_session_establishment") == 1
    assert pcrf.metrics.value("sessions") == 1


async def test_first_policy_that_fits_holds(lab: Lab) -> None:
    await lab.pcrf(POLICY)
    pgw = await lab.pgw()
    internet = await pgw.establish()
    assert internet.default_eps_bearer_qos == SUBSCRIBED
    assert internet.qos_information == (QosInformation(apn_aggregate_max_bitrate_ul=10_000_000, apn_aggregate_max_bitrate_dl=100_000_000),)
    assert rule_names(internet) == [b"web", b"children"]
    ims = await pgw.establish(apn="ims")
    assert ims.default_eps_bearer_qos is not None
    assert ims.default_eps_bearer_qos.qos_class_identifier == 5
    assert ims.event_trigger == (gx.EventTrigger.RAT_CHANGE, gx.EventTrigger.LOSS_OF_BEARER)
    assert (ims.online, ims.offline) == (gx.Online.DISABLE_ONLINE, gx.Offline.ENABLE_OFFLINE)
    [install] = ims.charging_rule_install
    [voice] = install.charging_rule_definition
    assert voice.qos_information is not None
    assert (voice.qos_information.qos_class_identifier, voice.qos_information.guaranteed_bitrate_dl) == (1, 64_000)
    assert voice.qos_information.allocation_retention_priority is not None
    assert voice.qos_information.allocation_retention_priority.pre_emption_capability == 0
    [flow] = voice.flow_information
    assert (flow.flow_description, flow.flow_direction) == ("permit out 17 from 10.9.0.0/16 to assigned 4000-4100", FlowDirection.BIDIRECTIONAL)
    assert voice.precedence == 10


async def test_features_in_common(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    answer = await pgw.establish(supported_features=(
        SupportedFeatures(feature_list_id=1, feature_list=0xFF), SupportedFeatures(feature_list_id=2, feature_list=1)))
    assert answer.supported_features == (SupportedFeatures(feature_list_id=1, feature_list=0b1011011),)


async def test_rejected_user(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    answer = await pgw.establish(imsi="001010000000666")
    assert answer.result is ResultCode.DIAMETER_AUTHORIZATION_REJECTED
    assert len(pcrf.sessions) == 0
    assert pcrf.metrics.value("procedure_failures_total", procedure="ip_can_session_establishment", result="rejected",
                              cause="DIAMETER_AUTHORIZATION_REJECTED") == 1


async def test_unknown_user(lab: Lab) -> None:
    await lab.pcrf(POLICY)
    pgw = await lab.pgw()
    answer = await pgw.establish(imsi="214070000000001")
    assert answer.result_code is ResultCode.DIAMETER_USER_UNKNOWN
    assert answer.experimental_result is None


@pytest.mark.parametrize("missing", ["subscription_id", "called_station_id", "framed_ip_address"])
async def test_initial_parameters_are_needed(lab: Lab, missing: str) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    answer = await pgw.establish(**{missing: () if missing == "subscription_id" else None})
    assert answer.result_code is None
    assert answer.result is ExperimentalResultCode.DIAMETER_ERROR_INITIAL_PARAMETERS
    assert len(pcrf.sessions) == 0


async def test_event_request_has_no_place_on_gx(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    packet = await pgw.node.request(gx.CreditControlRequest(
        session_id="s", origin_host=PGW, origin_realm=REALM, destination_realm=REALM, cc_request_type=gx.CcRequestType.EVENT_REQUEST,
        cc_request_number=0))
    assert packet.message.result is ResultCode.DIAMETER_INVALID_AVP_VALUE  # type: ignore[attr-defined]


# --- modification -----------------------------------------------------------------------------------------------------


async def test_unknown_session(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    for kind in (gx.CcRequestType.UPDATE_REQUEST, gx.CcRequestType.TERMINATION_REQUEST):
        answer = await pgw.ask(kind, "nobody;1;1", 1)
        assert answer.result is ResultCode.DIAMETER_UNKNOWN_SESSION_ID


async def test_change_of_rat_changes_the_policy(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    session_id = (await pgw.establish()).session_id
    answer = await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session_id, 1, event_trigger=(gx.EventTrigger.RAT_CHANGE,), rat_type=RatType.GERAN)
    assert rule_names(answer) == [b"slow"]
    [remove] = answer.charging_rule_remove
    assert remove.charging_rule_name == (b"web", b"children")
    assert answer.qos_information == (QosInformation(apn_aggregate_max_bitrate_ul=50_000_000, apn_aggregate_max_bitrate_dl=100_000),)
    assert answer.default_eps_bearer_qos is None
    [state] = [session.state() for session in pcrf.sessions]
    assert (state["policy"], state["rules"], state["rat"], state["ambr_dl_bps"]) == ("2G", ["slow"], "GERAN", 100_000)
    again = await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session_id, 2)
    assert (again.charging_rule_install, again.charging_rule_remove, again.qos_information) == ((), (), ())


async def test_changed_subscription_is_authorised(lab: Lab) -> None:
    await lab.pcrf()
    pgw = await lab.pgw()
    session_id = (await pgw.establish()).session_id
    qos = DefaultEpsBearerQos(qos_class_identifier=7, allocation_retention_priority=AllocationRetentionPriority(priority_level=3))
    answer = await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session_id, 1, event_trigger=(gx.EventTrigger.DEFAULT_EPS_BEARER_QOS_CHANGE,),
                           default_eps_bearer_qos=qos)
    assert answer.default_eps_bearer_qos == qos


async def test_failed_rule_is_not_sent_again(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    session_id = (await pgw.establish()).session_id
    report = ChargingRuleReport(charging_rule_name=(b"web",), pcc_rule_status=PccRuleStatus.INACTIVE,
                                rule_failure_code=RuleFailureCode.RESOURCES_LIMITATION)
    answer = await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session_id, 1, charging_rule_report=(report,))
    assert answer.is_success
    assert rule_names(answer) == []
    assert [session.state()["rules"] for session in pcrf.sessions] == [["children"]]
    assert pcrf.metrics.value("rule_failures_total") == 1


async def test_operator_installs_and_removes_a_rule(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    session_id = (await pgw.establish()).session_id
    assert await pcrf.commands()["install_rule"](rule="voice", imsi=ALICE) == [session_id]
    [push] = pgw.pushed
    assert (push.session_id, rule_names(push)) == (session_id, [b"voice"])
    assert push.re_auth_request_type == gx.ReAuthRequestType.AUTHORIZE_ONLY
    answer = await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session_id, 1)
    assert answer.charging_rule_remove == ()           # the operator's rule is not the policy's, and stays
    await pcrf.commands()["remove_rule"](rule="voice", imsi=ALICE)
    assert pgw.pushed[1].charging_rule_remove[0].charging_rule_name == (b"voice",)
    assert [session.state()["rules"] for session in pcrf.sessions] == [["web", "children"]]
    with pytest.raises(LookupError, match="no session"):
        await pcrf.commands()["install_rule"](rule="voice", imsi=BOB)
    with pytest.raises(LookupError, match="no rule music"):
        await pcrf.commands()["install_rule"](rule="music", imsi=ALICE)


async def test_push_that_the_pgw_refuses_changes_nothing(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    await pgw.establish()
    pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_UNABLE_TO_COMPLY}
    with pytest.raises(LookupError, match="DIAMETER_UNABLE_TO_COMPLY"):
        await pcrf.commands()["install_rule"](rule="voice", imsi=ALICE)
    assert [session.state()["rules"] for session in pcrf.sessions] == [["web", "children"]]


async def test_push_for_a_session_that_the_pgw_forgot_removes_it(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    await pgw.establish()
    pgw.result = lambda request: {"result_code": ResultCode.DIAMETER_UNKNOWN_SESSION_ID}
    with pytest.raises(LookupError):
        await pcrf.commands()["install_rule"](rule="voice", imsi=ALICE)
    assert len(pcrf.sessions) == 0


async def test_policies_read_again_are_pushed(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("policies: [{name: first, ambr_ul: 1M}]")
    pcrf, pgw = await lab.pcrf(policy_file=file), await lab.pgw()
    await pgw.establish()
    await pgw.establish(imsi=BOB, ip="10.45.0.3")
    file.write_text("policies: [{imsi: '001010000000002', reject: true}, {name: second, ambr_ul: 2M, rules: [r]}]\nrules: {r: {precedence: 5}}")
    assert await pcrf.commands()["reload_policy"]() == {"sessions": 2, "changed": 2, "failed": 0}
    changed, released = pgw.pushed
    assert rule_names(changed) == [b"r"]
    assert changed.qos_information == (QosInformation(apn_aggregate_max_bitrate_ul=2_000_000, apn_aggregate_max_bitrate_dl=100_000_000),)
    assert changed.charging_rule_remove[0].charging_rule_name == (b"everything",)
    assert released.session_release_cause == gx.SessionReleaseCause.UE_SUBSCRIPTION_REASON
    file.write_text("policies: [{rules: [nothing]}]")
    with pytest.raises(ValueError, match="nothing"):
        await pcrf.commands()["reload_policy"]()


# --- termination and loss ---------------------------------------------------------------------------------------------


async def test_termination(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    session_id = (await pgw.establish()).session_id
    answer = await pgw.ask(gx.CcRequestType.TERMINATION_REQUEST, session_id, 1)
    assert answer.is_success
    assert len(pcrf.sessions) == 0
    again = await pgw.establish()
    assert again.is_success


async def test_operator_releases_a_subscriber(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    await pgw.establish()
    await pcrf.commands()["release"](imsi=ALICE)
    assert pgw.pushed[0].session_release_cause == gx.SessionReleaseCause.UE_SUBSCRIPTION_REASON
    assert len(pcrf.sessions) == 1                          # until the PGW's CCR-T


async def test_address_taken_over_by_a_new_session(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    await pgw.establish()
    await pgw.establish(imsi=BOB)
    assert [session.imsi for session in pcrf.sessions] == [BOB]
    other = await lab.pgw("pgw2", f"pgw2.{REALM}")          # the same address at another gateway is another one
    await other.establish()
    assert len(pcrf.sessions) == 2


async def test_restarted_pgw_loses_its_sessions(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(), await lab.pgw()
    other = await lab.pgw("pgw2", f"pgw2.{REALM}")
    await pgw.establish(origin_state_id=1)
    await other.establish(origin_state_id=1)
    await pgw.establish(imsi=BOB, ip="10.45.0.3", origin_state_id=2)
    assert sorted((session.pcef_host, session.imsi) for session in pcrf.sessions) == [(PGW, BOB), (f"pgw2.{REALM}", ALICE)]


async def test_views_are_plain_data(lab: Lab) -> None:
    pcrf, pgw = await lab.pcrf(POLICY), await lab.pgw()
    await pgw.establish()
    views = {name: view() for name, view in pcrf.views().items()}
    assert views["sessions"] == [{
        "session_id": f"{PGW};1;{ALICE};internet", "imsi": ALICE, "apn": "internet", "pcef": PGW, "ipv4": "10.45.0.2", "ipv6": None,
        "rat": "EUTRAN", "policy": "home", "qci": 9, "arp": 8, "ambr_ul_bps": 10_000_000, "ambr_dl_bps": 100_000_000,
        "rules": ["web", "children"], "request_number": 0, "serving_plmn": None, "inactive_rules": [], "event_triggers": ["RAT_CHANGE"],
        "monitors": [], "applications": []}]
    assert views["rules"] == ["slow", "voice", "web"]
    assert pcrf.is_ready()


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "complaint"), [
    ({"policies": [{"rules": ["voice"]}]}, "rule voice, which is not under rules"),
    ({"policies": [{"imsi": "abc"}]}, "policy.policies.0.imsi"),
    ({"policies": [{"imsi": 1010000000001}]}, "quotes"),
    ({"policies": [{"event_triggers": ["SUNSET"]}]}, "no event trigger is called SUNSET"),
    ({"policies": [{"rat": ["6G"]}]}, "no RAT type is called 6G"),
    ({"policies": [{"default_bearer": {"qci": 1}}]}, "guarantees a bit rate"),
    ({"policies": [{"ambr_ul": "fast"}]}, "a bit rate is a number"),
    ({"policies": [{"ambr_ul": "5G"}]}, "less than or equal to 4294967295"),
    ({"rules": {"r": {"qci": 1}}}, "needs guaranteed_ul"),
    ({"rules": {"r": {"guaranteed_ul": 1, "guaranteed_dl": 1}}}, "needs a GBR QCI"),
    ({"rules": {"r": {"max_ul": 1}}}, "need a qci"),
    ({"rules": {"r": {"flows": [{"description": "deny in ip from any to any"}]}}}, "policy.rules.r.flows.0.description"),
    ({"nonsense": 1}, "unknown key; allowed here: others, policies, rules"),
])
def test_wrong_configuration_is_explained(policy: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace(".", r"\.")):
        config(policy)


def test_one_source_of_policies() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        config(POLICY, policy_file="policy.yaml")
