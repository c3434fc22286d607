"""Who may roam where, and what the phone is told: TS 24.301 annex A, TS 29.272 annex A and clause 5.2.1.1.3, TS 23.008."""

from __future__ import annotations

from typing import Any

import pytest

from epc.wire import nas
from epc.wire.nas import EmmCause, EsmCause
from ran.ue import EmmSubstate

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
FILE = "roaming.yaml"
AIR, ULR = "Authentication Information Request (AIR)", "Update Location Request (ULR)"
SUBSCRIBER = "hss-home.subscribers.0"
TWO_AREAS = {
    "mme-visited.tais": [{"plmn": "21407", "tacs": [1, 2]}],
    "enb-visited.cells": [{"cell_id": 1, "tac": 1}, {"cell_id": 2, "tac": 2}],
    "dns-visited.zones.0.records": "\n".join(
        [f'tac-lb0{tac}.tac-hb00.tac NAPTR 10 10 "a" "x-3gpp-sgw:x-s11" "" topon.s11.sgw1.node' for tac in (1, 2)]
        + ["topon.s11.sgw1.node A 127.0.1.14"]),
}
ZONES = {"mme-visited.regional.zones": [{"code": 7, "tacs": [1]}, {"code": 8, "tacs": [2], "plmn": "21407"}]}


async def refused(world, cause: EmmCause, esm_cause: EsmCause | None = None):
    phone = world.lab.phone(IMSI)
    result = await phone.ue.attach(max_attempts=1)
    assert (result.emm_cause, result.esm_cause) == (cause, esm_cause), result
    await world.at_rest()
    return phone.ue


# --- the visited network decides -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("roaming", "cause", "substate"), [
    ({"partners": []}, EmmCause.PLMN_NOT_ALLOWED, EmmSubstate.PLMN_SEARCH),
    ({"partners": ["20801"], "without_agreement": "ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA"},
     EmmCause.ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA, EmmSubstate.LIMITED_SERVICE),
    ({"partners": [], "without_agreement": "EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN"},
     EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN, EmmSubstate.PLMN_SEARCH),
])
async def test_no_roaming_agreement(network, roaming: dict[str, Any], cause: EmmCause, substate: EmmSubstate) -> None:
    """The home network is not even asked."""
    async with network({"mme-visited.roaming": roaming}, file=FILE) as world:
        ue = await refused(world, cause)
        assert ue.substate is substate
        assert not ue.is_suitable(ue.radio.cell)
        assert AIR not in world.sent("S6a")
        assert world.failures("mme-visited", "attach") == {("rejected", cause.name): 1}


async def test_without_a_list_of_partners_everybody_is_served(network) -> None:
    async with network({"mme-visited.roaming": {}}, file=FILE) as world:
        await world.attaches_and_detaches()


@pytest.mark.parametrize(("rules", "cause"), [
    ([{"imsis": "00101", "cause": "EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED"}], EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED),
    ([{"imsis": "001010000000001-001010000000099", "cause": "TRACKING_AREA_NOT_ALLOWED"}], EmmCause.TRACKING_AREA_NOT_ALLOWED),
    ([{"imsis": "001010000000001", "allowed": True}, {"imsis": "00101"}], None),
    ([{"imsis": "001010000000002-001010000000099"}], None),
])
async def test_access_control_by_imsi(network, rules: list[dict[str, Any]], cause: EmmCause | None) -> None:
    async with network({"mme-visited.access_control": rules}, file=FILE) as world:
        if cause is None:
            await world.attaches_and_detaches()
        else:
            await refused(world, cause)
            assert AIR not in world.sent("S6a")


# --- the home network decides ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "cause", "esm_cause"), [
    ({f"{SUBSCRIBER}.roaming_allowed": False}, EmmCause.PLMN_NOT_ALLOWED, None),
    ({f"{SUBSCRIBER}.allowed_plmns": "20801 310"}, EmmCause.PLMN_NOT_ALLOWED, None),
    ({f"{SUBSCRIBER}.blocked_plmns": "21407"}, EmmCause.PLMN_NOT_ALLOWED, None),
    ({f"{SUBSCRIBER}.allowed_plmns": "214", f"{SUBSCRIBER}.blocked_plmns": "21407"}, EmmCause.PLMN_NOT_ALLOWED, None),
    ({"hss-home.roaming.partners": ["20801"]}, EmmCause.PLMN_NOT_ALLOWED, None),
    ({f"{SUBSCRIBER}.barring": "all"}, EmmCause.ESM_FAILURE, EsmCause.OPERATOR_DETERMINED_BARRING),
    ({f"{SUBSCRIBER}.barring": "home-apns-abroad"}, EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN, None),
    ({f"{SUBSCRIBER}.access_restriction": "e-utran"}, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, None),
    ({f"{SUBSCRIBER}.access_restriction": "e-utran", "mme-visited.roaming.rat_not_allowed": "ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA"},
     EmmCause.ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA, None),
    ({f"{SUBSCRIBER}.apns": []}, EmmCause.EPS_SERVICES_NOT_ALLOWED, None),
    ({"hss-home.subscribers": []}, EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED, None),
])
async def test_the_hss_refuses(network, changes: dict[str, Any], cause: EmmCause, esm_cause: EsmCause | None) -> None:
    async with network(changes, file=FILE) as world:
        await refused(world, cause, esm_cause)
        assert "Create Session Request" not in world.sent("S11")


@pytest.mark.parametrize("changes", [
    {f"{SUBSCRIBER}.allowed_plmns": "21407"}, {f"{SUBSCRIBER}.allowed_plmns": "214", f"{SUBSCRIBER}.blocked_plmns": "21401"},
    {"hss-home.roaming.partners": ["21407"]}, {f"{SUBSCRIBER}.roaming_allowed": False, "hss-home.roaming.home_plmns": ["21407"]},
    {f"{SUBSCRIBER}.barring": "visited-apns"},
])
async def test_the_hss_allows(network, changes: dict[str, Any]) -> None:
    async with network(changes, file=FILE) as world:
        await world.attaches_and_detaches()


async def test_vectors_only_for_nodes_of_the_network_that_asks(network) -> None:
    """5003, and the phone looks elsewhere."""
    changes = {"hss-home.authentication": {"check_serving_network": True}, "mme-visited.s6a.origin_realm": "epc.mnc001.mcc208.3gppnetwork.org"}
    async with network(changes, file=FILE) as world:
        await refused(world, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA)
        assert world.failures("hss-home", "authentication_information") == {("rejected", "DIAMETER_AUTHORIZATION_REJECTED"): 1}


# --- agents that know no way: TS 29.272 annex A ------------------------------------------------------------------------------------


async def test_no_agent_knows_the_home_realm(network) -> None:
    routes = [{"realm": "epc.mnc001.mcc208.3gppnetwork.org", "peers": [{"identity": "dra.epc.mnc001.mcc001.3gppnetwork.org"}]}]
    changes = {"dra-visited.routes": routes, "dra-visited.diameter.peers": []}
    async with network({**changes, "dra-home.diameter.peers": []}, file=FILE) as world:
        await refused(world, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA)
        assert world.last("S6a").detail == "realm not served"
    async with network({**changes, "mme-visited.roaming.realm_not_served": "PLMN_NOT_ALLOWED"}, file=FILE) as world:
        await refused(world, EmmCause.PLMN_NOT_ALLOWED)


# --- regional subscription ---------------------------------------------------------------------------------------------------------


async def test_a_phone_outside_its_zones_is_refused_and_finds_a_cell_inside_by_itself(network) -> None:
    changes = {**TWO_AREAS, **ZONES, f"{SUBSCRIBER}.zone_codes": "8 9", "enb-visited.phones.0.searches": True}
    async with network(changes, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.TRACKING_AREA_NOT_ALLOWED
        assert phone.ue.forbidden_tais_for_region == {nas.Tai(plmn="21407", tac=1)}
        await world.lab.settled(patience_s=30)
        assert phone.ue.registered
        assert phone.ue.tai == nas.Tai(plmn="21407", tac=2)
        assert phone.ue.tai_list == (nas.Tai(plmn="21407", tac=2),), "where it must not go is not in its list"
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("cause", ["TRACKING_AREA_NOT_ALLOWED", "NO_SUITABLE_CELLS_IN_TRACKING_AREA"])
async def test_a_phone_that_leaves_its_zones_loses_its_session_in_both_networks(network, cause: str) -> None:
    async with network({**TWO_AREAS, **ZONES, f"{SUBSCRIBER}.zone_codes": "7", "mme-visited.regional.cause": cause}, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert phone.ue.tai_list == (nas.Tai(plmn="21407", tac=1),)
        phone.ue.camp_on(world.node("enb-visited").cells[1])
        await world.lab.settled(patience_s=30)
        assert world.failures("mme-visited", "tracking_area_update") == {("rejected", cause): 1}
        assert not phone.ue.registered
        assert nas.Tai(plmn="21407", tac=2) in phone.ue.forbidden_tais
        await world.at_rest()
        phone.ue.camp_on(world.node("enb-visited").cells[0])
        await world.attaches_and_detaches()


async def test_a_network_without_zones_is_not_given_a_subscriber_with_some(network) -> None:
    """Its MME does not offer regional subscription (TS 29.272 clause 7.3.10): home refuses, rather than let the phone be served everywhere."""
    async with network({f"{SUBSCRIBER}.zone_codes": "99"}, file=FILE) as world:
        await refused(world, EmmCause.PLMN_NOT_ALLOWED)
        assert world.failures("hss-home", "update_location") == {("rejected", "DIAMETER_ERROR_ROAMING_NOT_ALLOWED"): 1}


async def test_a_forbidden_network_may_be_asked_for_by_hand_and_is_forgiven(network) -> None:
    """TS 23.122 clause 3.1: a registration that succeeds takes the PLMN out of the list."""
    async with network({"mme-visited.roaming": {"partners": []}}, file=FILE) as world:
        ue = await refused(world, EmmCause.PLMN_NOT_ALLOWED)
        assert ue.forbidden_plmns == {"21407"}
        ue.attach_by_itself()
        await world.lab.settled()
        assert world.sent("S1-MME").count("Attach Request") == 1, "by itself it does not try"
        object.__setattr__(world.node("mme-visited").config.roaming, "partners", None)
        await world.attaches_and_detaches()
        assert ue.forbidden_plmns == set()
