"""What goes wrong between two operators, and that neither keeps anything of it: agents and HSS that are lost, reset and move, changes of the
subscription, gateways and policy that are silent (TS 29.272, TS 23.401, TS 29.274)."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

import pytest
import yaml

from epc.hss.provisioning.fields import parse_apns
from epc.wire import nas
from epc.wire.diameter.subscription import OperatorDeterminedBarring
from epc.wire.nas import EmmCause, EsmCause
from ran.ue import EmmState
from tests.scenarios.conftest import SCENARIOS

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
FILE = "roaming.yaml"
AIA, ULR, ULA = "Authentication Information Answer (AIA)", "Update Location Request (ULR)", "Update Location Answer (ULA)"
CLR, CLA = "Cancel Location Request (CLR)", "Cancel Location Answer (CLA)"
ECHO_INTERVAL_S = 60
NODES: dict[str, Any] = yaml.safe_load((SCENARIOS / FILE).read_text())["nodes"]
HOME_DRA = "dra.epc.mnc001.mcc001.3gppnetwork.org"


def second_home_agent() -> dict[str, Any]:
    """The home operator has two agents, and the visited one knows both."""
    second = copy.deepcopy(NODES["dra-home"])
    second |= {"origin_host": "dra2.epc.mnc001.mcc001.3gppnetwork.org", "diameter": {"listen": [{"host": "127.0.2.32"}]}}
    return {
        "dra2-home": second,
        "hss-home.s6a.peers": [{"host": host, "default_route": True} for host in ("127.0.2.31", "127.0.2.32")],
        "dra-visited.diameter.peers": [{"host": "127.0.2.31", "identity": HOME_DRA}, {"host": "127.0.2.32", "identity": second["origin_host"]}],
        "dra-visited.routes": [{"realm": "epc.mnc001.mcc001.3gppnetwork.org", "peers": [
            {"identity": HOME_DRA}, {"identity": second["origin_host"], "priority": 2}]}],
    }


def third_operator() -> dict[str, Any]:
    """Another visited network, 208/01, that goes to the home operator's agent directly; the phone can be put into its cell."""
    realm = "epc.mnc001.mcc208.3gppnetwork.org"
    return {
        "sgw-france": {"kind": "sgw", "operator": "visited", "s11": {"host": "127.0.3.14"}, "s1u": {"host": "127.0.3.14"},
                       "s5c": {"host": "127.0.3.15"}, "s5u": {"host": "127.0.3.15"}},
        "mme-france": {
            "kind": "mme", "operator": "visited", "s1": [{"host": "127.0.3.16"}], "s11": {"host": "127.0.3.16"},
            "s6a": {"host": "127.0.3.16", "origin_realm": realm, "peers": [{"host": "127.0.2.31", "default_route": True}]},
            "gummeis": [{"plmn": "20801", "mme_group_id": 1, "mme_code": 1}], "tais": [{"plmn": "20801", "tacs": [1]}],
            "sgws": [{"host": "127.0.3.14"}], "pgws": [{"host": "127.0.2.13"}]},
        "enb-france": {
            "kind": "enb", "operator": "visited", "enb_id": 2, "plmn": "20801", "cells": [{"cell_id": 1, "tac": 1}], "mmes": [{"host": "127.0.3.16"}],
            "s1_mme_host": "127.0.3.17", "s1u": {"host": "127.0.3.17"}},
    }


async def attached(world):
    phone = world.lab.phone(IMSI)
    await world.lab.attach(phone)
    world.lab.check_invariants()
    return phone


async def subscriber_becomes(world, **changes: Any) -> None:
    """The operator changes the subscription, and the HSS tells the MME."""
    hss = world.node("hss-home")
    await hss.store.put(replace(await hss.store.get(IMSI), **changes), replace=True)
    await hss.commands()["insert_subscriber_data"](imsi=IMSI)
    await world.lab.settled(patience_s=60)


# --- the way home is lost: RFC 6733 clause 5.5.4, TS 29.272 annex A -----------------------------------------------------------------


async def test_home_is_unreachable(network) -> None:
    async with network(file=FILE) as world:
        await world.crash("dra-home")
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA
        assert world.last("S6a").detail == "unable to deliver"
        await world.at_rest()
        await world.revive("dra-home")
        await world.attaches_and_detaches()


async def test_the_agent_is_lost_in_mid_attach(network) -> None:
    """Between the authentication and the update of the location."""
    async with network({"mme-visited.roaming.home_unreachable": "NETWORK_FAILURE"}, file=FILE) as world:
        world.when("S6a", AIA, lambda: world.wires.cut("dra-home"), nth=3)          # from the visited agent to the MME
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert world.sent("S6a", by="mme-visited").count(ULR) == 1
        assert "Create Session Request" not in world.sent("S11")
        await world.at_rest()
        world.wires.heal("dra-home")
        await world.lab.network.ready(120)
        await world.attaches_and_detaches()


async def test_the_agent_is_lost_in_mid_attach_and_the_other_one_takes_over(network) -> None:
    """The request goes a second time, with the T bit, over the second agent; the phone notices nothing."""
    async with network(second_home_agent(), file=FILE) as world:
        world.when("S6a", ULR, lambda: world.wires.cut("dra-home"), nth=2)          # from the visited agent to the home one
        phone = await attached(world)
        ways = [(event.source, event.destination) for event in world.lab.observer.events if event.name == ULR]
        assert ("dra2-home", "hss-home") in ways
        assert world.node("dra-visited").metrics.value("retransmissions_total", interface="Diameter", type="UpdateLocationRequest") == 1
        await world.lab.ping(phone, world.lab.server, count=1)
        world.wires.heal("dra-home")
        await world.lab.detach(phone)
        await world.at_rest()


async def test_the_answer_of_the_hss_is_lost(network) -> None:
    """The HSS has registered the MME, which does not know: the next attach finds everything in order."""
    async with network(file=FILE) as world:
        rule = world.lose("S6a", ULA, count=None)
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause in (EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, EmmCause.NETWORK_FAILURE)
        rule.cancel()
        await world.at_rest()
        await world.attaches_and_detaches()


# --- the HSS resets: TS 29.272 clause 5.2.4.1 ---------------------------------------------------------------------------------------


async def test_reset_reaches_the_mme_abroad_which_updates_the_location_again(network) -> None:
    async with network(file=FILE) as world:
        phone = await attached(world)
        hss = world.node("hss-home")
        (mme,) = await hss.commands()["reset"]()
        assert mme == world.node("mme-visited").config.origin_host
        assert world.sent("S6a", by="mme-visited").count(ULR) == 1
        assert (await phone.ue.update_tracking_area()).success
        assert world.sent("S6a", by="mme-visited").count(ULR) == 2
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


# --- the subscriber moves on: TS 23.401 clause 5.3.2.1 step 9, TS 29.272 clause 5.2.1.2 ----------------------------------------------


async def test_the_old_mme_lets_go_of_a_subscriber_that_another_operator_serves(network) -> None:
    async with network(third_operator(), file=FILE) as world:
        phone = await attached(world)
        phone.ue.lose_power()                                   # it leaves Barcelona without a word
        phone.ue.camp_on(world.node("enb-france").cells[0])
        await world.lab.attach(phone)
        await world.lab.settled(patience_s=60)
        cancelled = [event for event in world.lab.observer.events if event.name == CLR]
        assert [(event.source, event.destination) for event in cancelled] == [
            ("hss-home", "dra-home"), ("dra-home", "dra-visited"), ("dra-visited", "mme-visited")]
        assert world.node("mme-visited").ues.registered == 0
        assert world.node("mme-visited").s11.sessions == {}
        assert len(world.node("pgw-home").sessions) == 1
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


async def test_the_subscription_is_withdrawn(network) -> None:
    """The phone abroad is told, and detached."""
    async with network(file=FILE) as world:
        phone = await attached(world)
        await world.node("hss-home").commands()["cancel_location"](imsi=IMSI)
        await world.lab.settled(patience_s=60)
        assert phone.ue.state is EmmState.DEREGISTERED
        assert "Detach Request (to UE)" in world.sent("S1-MME")
        await world.at_rest()


# --- the subscription changes: TS 23.401 clauses 5.3.9.2 and 5.10.3, TS 29.272 clause 5.2.2 ------------------------------------------


TWO_APNS = {
    "hss-home.subscribers.0.apns": ["internet", "corporate"],
    "pgw-home.apns.corporate": {"ipv4_pool": "10.47.0.0/16"},
    "dns-home.zones.0.records": "\n".join(
        [f'{apn}.apn NAPTR 10 10 a x-3gpp-pgw:x-s8-gtp "" pgw1.node' for apn in ("internet", "corporate")] + ["pgw1.node A 127.0.2.13"]),
}


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("how", ["delete_subscriber_data", "insert_subscriber_data"])
async def test_an_apn_is_withdrawn(network, how: str, idle: bool) -> None:
    async with network(TWO_APNS, file=FILE) as world:
        phone = await attached(world)
        second = await phone.ue.connect_pdn("corporate")
        assert second.success
        await world.lab.settled()
        world.lab.check_invariants()
        assert len(world.node("pgw-home").sessions) == 2
        if idle:
            phone.ue.lose_radio()
            await world.lab.settled()
        if how == "delete_subscriber_data":
            await world.node("hss-home").commands()["delete_subscriber_data"](imsi=IMSI, context_ids="2")
            await world.lab.settled(patience_s=60)
        else:
            await subscriber_becomes(world, apns=parse_apns("internet", 1))
        assert [session.apn for session in world.node("pgw-home").sessions.values()] == ["internet"]
        assert [connection.apn for connection in phone.ue.pdn_connections.values()] == ["internet"]
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server, count=1)
        refused = await phone.ue.connect_pdn("corporate")
        assert refused.esm_cause == EsmCause.MISSING_OR_UNKNOWN_APN
        await world.lab.detach(phone)
        await world.at_rest()


async def test_the_only_apn_in_use_is_exchanged_for_another(network) -> None:
    """Without a PDN connection the phone is not attached: it attaches again and gets what it may have now."""
    async with network(TWO_APNS, file=FILE) as world:
        phone = await attached(world)
        await subscriber_becomes(world, apns=parse_apns("corporate", 1))
        await world.lab.settled(patience_s=60)
        assert [session.apn for session in world.node("pgw-home").sessions.values()] == ["corporate"]
        assert phone.ue.registered
        assert str(phone.ue.ip).startswith("10.47.")
        world.lab.check_invariants()
        await world.lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("changes", "cause"), [
    ({"barring": OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED}, None),
    ({"zone_codes": (8,)}, EmmCause.TRACKING_AREA_NOT_ALLOWED),
])
async def test_the_phone_may_not_stay(network, changes: dict[str, Any], cause: EmmCause | None) -> None:
    async with network({"mme-visited.regional.zones": [{"code": 7, "tacs": [1]}]}, file=FILE) as world:
        phone = await attached(world)
        await subscriber_becomes(world, **changes)
        assert phone.ue.state is EmmState.DEREGISTERED
        assert (nas.Tai(plmn="21407", tac=1) in phone.ue.forbidden_tais) == (cause is not None)
        await world.at_rest()
        old = await world.node("hss-home").store.get(IMSI)
        await world.node("hss-home").store.put(
            replace(old, barring=OperatorDeterminedBarring(0), zone_codes=(7,)), replace=True)
        phone.ue.lose_power()
        phone.ue.camp_on(world.node("enb-visited").cells[0])
        await world.attaches_and_detaches()


async def test_barring_is_lifted_and_zones_are_taken_back(network) -> None:
    async with network({"mme-visited.regional.zones": [{"code": 7, "tacs": [1]}], "hss-home.subscribers.0.zone_codes": "7",
                        "hss-home.subscribers.0.barring": "visited-apns"}, file=FILE) as world:
        phone = await attached(world)
        kept = world.node("mme-visited").ues.by_imsi[IMSI]
        assert (kept.subscription.operator_determined_barring, kept.subscription.regional_subscription_zone_code) == (
            OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED, (b"\x00\x07",))
        await subscriber_becomes(world, barring=OperatorDeterminedBarring(0), zone_codes=())
        assert (kept.subscription.operator_determined_barring, kept.subscription.regional_subscription_zone_code) == (None, ())
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


async def test_another_ue_ambr_reaches_the_enodeb(network) -> None:
    async with network(file=FILE) as world:
        phone = await attached(world)
        await subscriber_becomes(world, ambr_dl_bps=2_000_000, ambr_ul_bps=1_000_000)
        modification = world.lab.observer.events[[event.name for event in world.lab.observer.events].index("UE Context Modification Request")]
        assert dict(dict(modification.trees[0][1])["ue_aggregate_maximum_bitrate"]) == {
            "ue_aggregate_maximum_bit_rate_dl": "2000000 (0x001e8480)", "ue_aggregate_maximum_bit_rate_ul": "1000000"}
        await world.lab.detach(phone)
        await world.at_rest()


# --- home's policy and gateway are silent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [False, True])
async def test_the_home_pcrf_is_down(network, goes_on: bool) -> None:
    async with network({"pgw-home.gx.on_failure": "continue"} if goes_on else {}, file=FILE) as world:
        await world.crash("pcrf-home")
        if goes_on:
            await world.attaches_and_detaches()
        else:
            result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
            assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.REQUEST_REJECTED_UNSPECIFIED)
            await world.at_rest()
        await world.revive("pcrf-home")
        await world.attaches_and_detaches()


@pytest.mark.parametrize("node", ["pgw-home", "sgw-visited"])
async def test_a_gateway_restarts_under_a_registered_phone(network, node: str) -> None:
    """TS 23.007: the other operator's nodes let go of the session too."""
    async with network(file=FILE) as world:
        phone = await attached(world)
        await world.crash(node)
        await asyncio.sleep(2)                  # restart counters come from the clock's seconds
        await world.revive(node)
        await asyncio.sleep(ECHO_INTERVAL_S + 20)
        await world.lab.settled(patience_s=60)
        assert phone.events.count("attached") == 2, "it was asked back"
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("idle", [False, True])
async def test_another_qos_goes_to_the_home_pgw_and_comes_back_to_the_phone(network, idle: bool) -> None:
    """TS 23.401 clause 5.4.2.2: the home PCRF has the last word; an idle phone is called."""
    async with network(file=FILE) as world:
        phone = await attached(world)
        if idle:
            phone.ue.lose_radio()
            await world.lab.settled()
        await subscriber_becomes(world, apns=parse_apns("internet qci=8 arp=3 dl=10M ul=5M", 1))
        for interface in ("S11", "S5/S8"):
            assert [name for name in world.sent(interface) if "Modify Bearer Command" in name or "Update Bearer" in name] == [
                "Modify Bearer Command", "Update Bearer Request", "Update Bearer Response"]
        assert world.sent("Gx").count("Credit Control Request (CCR)") == 2
        (session,) = world.node("pgw-home").sessions.values()
        assert (session.policy.qos.qci, session.policy.qos.arp.priority_level) == (8, 3)
        assert (session.policy.ambr.downlink_kbps, session.policy.ambr.uplink_kbps) == (10_000, 5_000)
        (connection,) = phone.ue.pdn_connections.values()
        assert (connection.qos.qci, connection.apn_ambr.downlink_kbps) == (8, 10_000)
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("goes_on", [False, True])
async def test_the_home_ocs_is_down(network, goes_on: bool) -> None:
    """Credit-Control-Failure-Handling (RFC 8506 clause 5.7), as the PGW's configuration has it until an OCS has said its own."""
    async with network({"pgw-home.gy.failure_handling": "continue"} if goes_on else {}, file=FILE) as world:
        await world.crash("ocs-home")
        if goes_on:
            phone = await attached(world)
            await world.lab.ping(phone, world.lab.server, count=1)
            await world.lab.detach(phone)
        else:
            result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
            assert result.emm_cause == EmmCause.ESM_FAILURE
            assert world.failures("pgw-home", "create_session")
        await world.at_rest()
        await world.revive("ocs-home")
        await world.attaches_and_detaches()
