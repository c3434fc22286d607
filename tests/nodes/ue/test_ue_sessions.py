"""PDN connections and bearers as the UE sees them: TS 24.301 clause 6; and the phones of a configuration file."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest
from pydantic import ValidationError

from epc.security.eps_aka import generate_vector
from epc.wire import nas
from epc.wire.nas import EsmCause
from ran.ue import ProcedureRunning, Ue, UeConfig

pytestmark = pytest.mark.virtual_clock
K, OPC = "465B5CE8B199B49FAA5F0A2EE238A6BC", "E8ED289DEBA952E4283B54E88E6183CA"


async def test_second_pdn_connection(network, attached) -> None:
    connecting = asyncio.ensure_future(attached.connect_pdn("ims"))
    request = await network.receive(nas.PdnConnectivityRequest)
    assert request.access_point_name == "ims"
    offer = network.default_bearer(ebi=6, pti=request.procedure_transaction_identity, apn="ims", ip="10.46.0.2")
    network.set_up_bearers(offer, ebis=(6,))
    accept = await network.receive(nas.ActivateDefaultEpsBearerContextAccept)
    assert accept.eps_bearer_identity == 6
    result = await connecting
    assert (result.success, result.ebi, result.apn, result.ip) == (True, 6, "ims", IPv4Address("10.46.0.2"))
    assert attached.ip == IPv4Address("10.45.0.2")
    assert attached.active_bearers == (5, 6)
    assert attached.radio_bearers == {5, 6}


async def test_refused_pdn_connection_says_why(network, attached) -> None:
    connecting = asyncio.ensure_future(attached.connect_pdn("nowhere"))
    request = await network.receive(nas.PdnConnectivityRequest)
    network.send(nas.PdnConnectivityReject(
        procedure_transaction_identity=request.procedure_transaction_identity, esm_cause=EsmCause.MISSING_OR_UNKNOWN_APN))
    result = await connecting
    assert (result.success, result.esm_cause, result.emm_cause) == (False, EsmCause.MISSING_OR_UNKNOWN_APN, None)


async def test_pdn_connectivity_abnormal_a_t3482_five_times(network, attached, seconds) -> None:
    begun = seconds()
    result = await attached.connect_pdn("ims")
    assert (result.success, result.timer) == (False, "T3482")
    assert [round(at - begun) for at, name in network.received if name == "PdnConnectivityRequest"] == [0, 8, 16, 24, 32]


async def test_pdn_disconnect(network, attached) -> None:
    disconnecting = asyncio.ensure_future(attached.disconnect_pdn(5))
    request = await network.receive(nas.PdnDisconnectRequest)
    assert request.linked_eps_bearer_identity == 5
    network.send(nas.DeactivateEpsBearerContextRequest(
        eps_bearer_identity=5, procedure_transaction_identity=request.procedure_transaction_identity, esm_cause=EsmCause.REGULAR_DEACTIVATION))
    await network.receive(nas.DeactivateEpsBearerContextAccept)
    assert (await disconnecting).success
    assert attached.pdn_connections == {}


async def test_last_pdn_connection_may_be_kept_by_the_network(network, attached) -> None:
    disconnecting = asyncio.ensure_future(attached.disconnect_pdn(5))
    request = await network.receive(nas.PdnDisconnectRequest)
    network.send(nas.PdnDisconnectReject(
        procedure_transaction_identity=request.procedure_transaction_identity, esm_cause=EsmCause.LAST_PDN_DISCONNECTION_NOT_ALLOWED))
    assert (await disconnecting).esm_cause == EsmCause.LAST_PDN_DISCONNECTION_NOT_ALLOWED
    assert attached.active_bearers == (5,)


async def test_pdn_disconnect_abnormal_a_t3492_gives_up_locally(network, attached) -> None:
    result = await attached.disconnect_pdn(5)
    assert result.timer == "T3492"
    assert attached.pdn_connections == {}


async def test_pdn_connection_needs_a_registration(ue) -> None:
    with pytest.raises(ProcedureRunning):
        await ue.connect_pdn("ims")


async def test_lost_connection_ends_the_procedure(network, attached) -> None:
    connecting = asyncio.ensure_future(attached.connect_pdn("ims"))
    await network.receive(nas.PdnConnectivityRequest)
    network.release()
    assert "released" in (await connecting).reason


TFT = bytes.fromhex("21 30 0a 02 30 11")       # a new one: UDP


async def test_dedicated_bearer_comes_changes_and_goes(network, attached) -> None:
    network.set_up_bearers(nas.ActivateDedicatedEpsBearerContextRequest(
        eps_bearer_identity=6, linked_eps_bearer_identity=5, eps_qos=nas.EpsQos(qci=1), tft=TFT), ebis=(6,))
    assert (await network.receive(nas.ActivateDedicatedEpsBearerContextAccept)).eps_bearer_identity == 6
    assert attached.pdn_connections[5].dedicated[6].qos.qci == 1
    attached.send_ip_packet(b"voice", ebi=6)
    assert network.packets == [(6, b"voice")]
    network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=6, new_eps_qos=nas.EpsQos(qci=2)))
    await network.receive(nas.ModifyEpsBearerContextAccept)
    assert attached.pdn_connections[5].dedicated[6].qos.qci == 2
    network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=5, new_eps_qos=nas.EpsQos(qci=8)))
    await network.receive(nas.ModifyEpsBearerContextAccept)
    assert attached.pdn_connections[5].qos.qci == 8
    network.send(nas.DeactivateEpsBearerContextRequest(eps_bearer_identity=6, esm_cause=EsmCause.REGULAR_DEACTIVATION))
    await network.receive(nas.DeactivateEpsBearerContextAccept)
    assert attached.active_bearers == (5,)


async def test_dedicated_bearer_of_no_pdn_connection_is_refused(network, attached) -> None:
    network.send(nas.ActivateDedicatedEpsBearerContextRequest(
        eps_bearer_identity=7, linked_eps_bearer_identity=6, eps_qos=nas.EpsQos(qci=1), tft=TFT))
    assert (await network.receive(nas.ActivateDedicatedEpsBearerContextReject)).esm_cause == EsmCause.INVALID_EPS_BEARER_IDENTITY


async def test_modification_of_an_unknown_bearer_is_refused(network, attached) -> None:
    network.send(nas.ModifyEpsBearerContextRequest(eps_bearer_identity=9))
    assert (await network.receive(nas.ModifyEpsBearerContextReject)).esm_cause == EsmCause.INVALID_EPS_BEARER_IDENTITY


async def test_default_bearer_that_nobody_asked_for_is_refused(network, attached) -> None:
    network.send(network.default_bearer(ebi=6, pti=77))
    assert (await network.receive(nas.ActivateDefaultEpsBearerContextReject)).esm_cause == EsmCause.PTI_MISMATCH


async def test_deactivated_default_bearer_takes_its_dedicated_ones_along(network, attached) -> None:
    network.send(nas.ActivateDedicatedEpsBearerContextRequest(
        eps_bearer_identity=6, linked_eps_bearer_identity=5, eps_qos=nas.EpsQos(qci=1), tft=TFT))
    await network.receive(nas.ActivateDedicatedEpsBearerContextAccept)
    network.send(nas.DeactivateEpsBearerContextRequest(eps_bearer_identity=5, esm_cause=EsmCause.REGULAR_DEACTIVATION))
    await network.receive(nas.DeactivateEpsBearerContextAccept)
    assert attached.active_bearers == ()


async def test_events_tell_the_story_of_an_attach(network, ue) -> None:
    story: list[str] = []
    ue.on_event = lambda _, name, facts: story.append(name if name != "state" else str(facts["state"]))
    await asyncio.gather(ue.attach(), network.serve_attach())
    assert story == ["EMM-REGISTERED-INITIATED", "connected", "bearer_activated", "EMM-REGISTERED", "attached"]


# --- configuration ------------------------------------------------------------------------------------------------------------------

def test_range_of_phones_counts_imsi_and_imeisv() -> None:
    phones = Ue.from_config(UeConfig(imsi="001010000000099", count=3, k=K, opc=OPC, imeisv="3520990017614899", apn="ims"))
    assert [phone.sim.imsi for phone in phones] == ["001010000000099", "001010000000100", "001010000000101"]
    assert [phone.imeisv for phone in phones] == ["3520990017614899", "3520990017614900", "3520990017614901"]
    assert {phone.apn for phone in phones} == {"ims"}
    assert len({id(phone.sim.usim) for phone in phones}) == 3


@pytest.mark.parametrize("constants", [
    {"opc": OPC}, {"op": OPC}, {"algorithm": "tuak", "topc": OPC * 2}, {"algorithm": "tuak", "top": OPC * 2, "tuak_iterations": 2}])
def test_phone_authenticates_with_the_configured_algorithm(constants) -> None:
    config = UeConfig(imsi="001010000000001", k=K, sqn=64, **constants)
    sim, _ = next(config.sims())
    algorithm = config.authentication_algorithm()
    stale, fresh = (generate_vector(algorithm, rand=bytes(16), sqn=sqn, plmn="00101") for sqn in (64, 96))
    assert type(sim.usim.authenticate(stale.rand, stale.autn, "00101")).__name__ == "SynchFailure"
    assert sim.usim.authenticate(fresh.rand, fresh.autn, "00101").res == fresh.xres


@pytest.mark.parametrize(("fields", "complaint"), [
    ({}, "exactly one of opc and op"),
    ({"opc": OPC, "op": OPC}, "exactly one"),
    ({"topc": OPC * 2}, "exactly one"),
    ({"algorithm": "tuak", "opc": OPC}, "exactly one of topc and top"),
    ({"opc": OPC, "k": K * 2}, "16 octets"),
    ({"opc": OPC, "imsi": "999999999999999", "count": 2}, "range of IMSIs"),
    ({"opc": OPC, "imeisv": "9999999999999999", "count": 2}, "range of IMEISVs"),
    ({"opc": "xyz"}, "opc"),
    ({"opc": OPC, "kk": 1}, "kk"),
])
def test_wrong_configuration_is_named(fields, complaint) -> None:
    with pytest.raises(ValidationError, match=complaint):
        UeConfig(**{"imsi": "001010000000001", "k": K, **fields})
