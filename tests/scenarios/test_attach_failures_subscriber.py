"""Attaches that fail because of who the phone is or what it asks for: identity, keys, subscription, HSS, APN, addresses."""

from __future__ import annotations

import pytest

from epc.hss.store import StoreError
from epc.security.milenage import Milenage
from epc.security.usim import Usim
from epc.wire.nas import EmmCause, EsmCause
from ran.ue import Behaviour, EmmSubstate

pytestmark = pytest.mark.virtual_clock
IMSI, OTHER_IMSI = "001010000000001", "001010000000002"
K, OPC = "465B5CE8B199B49FAA5F0A2EE238A6BC", "E8ED289DEBA952E4283B54E88E6183CA"
WRONG_USIM = Milenage(bytes(16), bytes(16))
AIR, AIA = "Authentication Information Request (AIR)", "Authentication Information Answer (AIA)"
ULR = "Update Location Request (ULR)"
TWO_PHONES = {
    "enb1.phones": [{"imsi": imsi, "k": K, "opc": OPC} for imsi in (IMSI, OTHER_IMSI)],
    "hss1.subscribers": [{"imsi": IMSI, "count": 2, "apns": ["internet"]}],
}


# --- who is it: TS 24.301 clauses 5.4.2.5, 5.4.2.7, 5.5.1.2.5 ---------------------------------------------------------------------


async def test_unknown_imsi_makes_the_usim_invalid(network) -> None:
    async with network({"hss1.subscribers": []}) as world:
        phone = world.lab.phone(IMSI)
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED
        assert phone.ue.substate is EmmSubstate.NO_IMSI
        assert not phone.ue.sim.valid
        assert world.failures("hss1", "authentication_information") == {("rejected", "DIAMETER_ERROR_USER_UNKNOWN"): 1}
        assert world.failures("mme1", "attach") == {("rejected", "EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED"): 1}
        await world.at_rest()
        assert world.node("mme1").ues.by_imsi == {}
        assert not (await phone.ue.attach(max_attempts=1)).success, "an invalid USIM attaches no more"


async def test_authentication_abnormal_c_wrong_key_is_a_mac_failure_and_is_rejected(network) -> None:
    async with network({"enb1.phones.0.k": "0" * 32}) as world:
        phone = world.lab.phone(IMSI)
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.ILLEGAL_UE
        assert world.sent("S1-MME")[-5:] == [
            "Authentication Request", "Authentication Failure", "Authentication Reject", "UE Context Release Command", "UE Context Release Complete"]
        assert not phone.ue.sim.valid
        assert world.failures("mme1", "attach") == {("rejected", "MAC_FAILURE"): 1}
        await world.at_rest()


async def test_authentication_abnormal_c_mac_failure_of_a_known_guti_asks_for_the_imsi_first(network) -> None:
    """The GUTI may have led to the wrong IMSI: the phone is asked before it is rejected, and the rightful owner's context stays."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await world.lab.detach(phone)
        kept = world.node("mme1").ues.by_imsi[IMSI]
        phone.ue.security = None
        phone.ue.sim.usim = Usim(WRONG_USIM)
        before = len(world.sent("S1-MME"))
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.ILLEGAL_UE
        assert world.sent("S1-MME")[before:] == [
            "Attach Request", "Authentication Request", "Authentication Failure", "Identity Request", "Identity Response",
            "Authentication Reject", "UE Context Release Command", "UE Context Release Complete"]
        await world.at_rest()
        assert world.node("mme1").ues.by_imsi[IMSI] is kept


async def test_authentication_abnormal_e_sqn_out_of_range_is_resynchronised(network) -> None:
    async with network() as world:
        phone = world.lab.phone(IMSI)
        phone.ue.sim.usim.advance_to((1 << 32) + 1)
        await world.lab.attach(phone)
        assert [name for name in world.sent("S1-MME") if name.startswith("Authentication")] == [
            "Authentication Request", "Authentication Failure", "Authentication Request", "Authentication Response"]
        assert world.sent("S6a").count(AIR) == 2
        assert world.node("mme1").metrics.value("resynchronisations_total") == 1
        assert world.node("hss1").metrics.value("resynchronisations_total", result="success") == 1
        world.lab.check_invariants()
        await world.lab.detach(phone)
        phone.ue.security = None                # the next attach authenticates, with the HSS in step
        await world.attaches_and_detaches()
        assert world.node("mme1").metrics.value("resynchronisations_total") == 1


async def test_wrong_res_is_rejected_until_the_phone_is_switched_off(network) -> None:
    """TS 24.301 clause 5.4.2.5."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        phone.ue.behaviour = Behaviour(wrong_res=True)
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.ILLEGAL_UE
        assert phone.ue.guti is None
        assert phone.ue.substate is EmmSubstate.NO_IMSI
        assert world.failures("mme1", "attach") == {("rejected", "ILLEGAL_UE"): 1}
        await world.at_rest()
        phone.ue.behaviour = Behaviour()
        assert not (await phone.ue.attach(max_attempts=1)).success
        cell = phone.ue.radio.cell
        phone.ue.lose_power()
        phone.ue.camp_on(cell)
        await world.attaches_and_detaches()


# --- the HSS does not help: TS 29.272 annex A -------------------------------------------------------------------------------------


async def test_hss_down(network) -> None:
    async with network() as world:
        await world.crash("hss1")
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert world.failures("mme1", "attach") == {("rejected", "NETWORK_FAILURE"): 1}
        await world.at_rest()
        await world.revive("hss1")
        await world.attaches_and_detaches()


@pytest.mark.parametrize(("message", "seconds"), [(AIR, 5), (AIA, 5), (ULR, 5)])
async def test_hss_silent(network, message, seconds) -> None:
    async with network() as world:
        phone = world.lab.phone(IMSI)
        rule = world.lose("S6a", message, count=None)
        started = world.now()
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert world.now() - started == pytest.approx(seconds, abs=0.1)
        assert world.failures("mme1", "attach") == {("rejected", "NETWORK_FAILURE"): 1}
        await world.at_rest()
        rule.cancel()
        await world.attaches_and_detaches()


async def test_no_route_to_the_hss(network) -> None:
    """Another operator's realm, and no agent: nobody is asked (RFC 6733 clause 6.1.4)."""
    async with network({"mme1.s6a.destination_realm": "epc.mnc007.mcc214.3gppnetwork.org"}) as world:
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert not any(name == AIR for name in world.sent("S6a"))
        assert world.failures("mme1", "attach") == {("rejected", "NETWORK_FAILURE"): 1}
        await world.at_rest()


async def test_peer_is_no_way_to_the_hss(network) -> None:
    """The peer is taken for an agent, but is an HSS, which answers 3002 or 3003 for all but itself (RFC 6733 clause 6.1.6)."""
    changes = {"mme1.s6a.destination_realm": "epc.mnc007.mcc214.3gppnetwork.org", "mme1.s6a.peers.0.default_route": True}
    async with network(changes) as world:
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA
        assert world.last("S6a").detail in ("unable to deliver", "realm not served")
        assert world.failures("mme1", "attach") == {("rejected", "NO_SUITABLE_CELLS_IN_TRACKING_AREA"): 1}
        await world.at_rest()


async def test_hss_that_is_named_is_another_one(network) -> None:
    """The MME remembers an HSS that the peer is no way to: 3002, and the next request is routed by the realm alone."""
    async with network({"mme1.s6a.peers.0.default_route": True}) as world:
        await world.attaches_and_detaches()
        ue = world.node("mme1").ues.by_imsi[IMSI]
        ue.hss_host, ue.location_confirmed_in_hss = "hss9.epc.mnc001.mcc001.3gppnetwork.org", False
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA
        assert world.last("S6a").detail == "unable to deliver"
        await world.at_rest()
        await world.attaches_and_detaches()


async def test_hss_unable_to_comply(network, monkeypatch) -> None:
    """5012: its database fails between the authentication and the update of the location."""
    async def fails(*arguments: object, **more: object) -> None:
        raise StoreError("the disk is full")

    async with network() as world:
        store = world.node("hss1").store
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "register_mme", fails)
            result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert world.last("S6a").detail == "unable to comply"
        assert world.failures("hss1", "update_location") == {("error", "database"): 1}
        await world.at_rest()
        await world.attaches_and_detaches()


# --- what it may use: TS 24.301 clause 6.5.1.4, TS 29.274 annex C -------------------------------------------------------------------


async def refused(world, emm_cause: EmmCause, esm_cause: EsmCause, apn: str | None = None, imsi: str = IMSI):
    """Attach, and be refused with these causes; nothing is left of it."""
    result = await world.lab.phone(imsi).ue.attach(apn, max_attempts=1)
    assert (result.emm_cause, result.esm_cause) == (emm_cause, esm_cause), result
    return result


async def test_apn_not_subscribed(network) -> None:
    async with network() as world:
        await refused(world, EmmCause.ESM_FAILURE, EsmCause.MISSING_OR_UNKNOWN_APN, apn="corporate")
        assert "Create Session Request" not in world.sent("S11")
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.at_rest()
        await world.attaches_and_detaches()


async def test_apn_unknown_to_the_pgw(network) -> None:
    async with network({"hss1.subscribers.0.apns": ["internet", "corporate"]}) as world:
        await refused(world, EmmCause.ESM_FAILURE, EsmCause.MISSING_OR_UNKNOWN_APN, apn="corporate")
        assert world.sent("S5/S8") == ["Create Session Request", "Create Session Response"]
        assert world.failures("pgw1", "create_session") == {("rejected", "MISSING_OR_UNKNOWN_APN"): 1}
        assert world.failures("sgw1", "create_session") == {("rejected", "MISSING_OR_UNKNOWN_APN"): 1}
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.at_rest()
        await world.attaches_and_detaches()


async def test_apn_that_no_pgw_serves(network) -> None:
    async with network({"hss1.subscribers.0.apns": ["internet", "corporate"], "mme1.pgws.0.apns": ["internet"]}) as world:
        await refused(world, EmmCause.ESM_FAILURE, EsmCause.MISSING_OR_UNKNOWN_APN, apn="corporate")
        assert "Create Session Request" not in world.sent("S11")
        await world.at_rest()


async def test_pool_of_one_address_serves_one_phone_after_the_other(network) -> None:
    changes = {**TWO_PHONES, "pgw1.apns.internet.ipv4_pool": "10.45.0.0/30", "pgw1.apns.internet.reserved": ["10.45.0.1"]}
    async with network(changes) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone(OTHER_IMSI)
        await world.lab.attach(first)
        assert str(first.ue.ip) == "10.45.0.2"
        await refused(world, EmmCause.ESM_FAILURE, EsmCause.INSUFFICIENT_RESOURCES, imsi=OTHER_IMSI)
        assert world.failures("pgw1", "create_session") == {("rejected", "ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED"): 1}
        assert len(world.node("pcrf1").sessions) == 1
        await world.lab.settled()
        world.lab.check_invariants()
        await world.lab.detach(first)
        await world.lab.attach(second)
        assert str(second.ue.ip) == "10.45.0.2"
        await world.lab.ping(second, world.lab.server)
        await world.lab.detach(second)
        await world.at_rest()


@pytest.mark.parametrize(("subscription", "emm_cause", "esm_cause"), [
    ({"status": "barred"}, EmmCause.ESM_FAILURE, EsmCause.OPERATOR_DETERMINED_BARRING),
    ({"access_restriction": "16"}, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, None),
    ({"apns": []}, EmmCause.EPS_SERVICES_NOT_ALLOWED, None),
])
async def test_subscription_forbids(network, subscription, emm_cause, esm_cause) -> None:
    async with network({f"hss1.subscribers.0.{key}": value for key, value in subscription.items()}) as world:
        await refused(world, emm_cause, esm_cause)
        await world.at_rest()
