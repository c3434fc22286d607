"""The HSS seen from an MME: S6a requests and answers on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.hss import Hss, HssConfig
from epc.hss.provisioning import TEST_K, TEST_OPC
from epc.hss.store import Algorithm, ApnConfiguration, PgwIdentity, StoreError, Subscriber
from epc.node import ConfigError, parse_config
from epc.peer.diameter import LocalIdentity
from epc.security.eps_aka import EpsAuthenticationVector, build_auts
from epc.security.milenage import Milenage
from epc.security.tuak import Tuak
from epc.security.usim import Success, SynchFailure, Usim
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address, ByteStream
from epc.transport.memory import MemoryNetwork
from epc.wire import diameter
from epc.wire.diameter import S6A_APPLICATION, ExperimentalResultCode, Message, Packet, RatType, ResultCode, s6a
from epc.wire.diameter.avp import VENDOR_3GPP
from epc.wire.diameter.base import CapabilitiesExchangeRequest
from epc.wire.diameter.groups import SupportedFeatures, VendorSpecificApplicationId
from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    Mip6AgentInfo,
    MipHomeAgentHost,
    OperatorDeterminedBarring,
    PdnGwAllocationType,
    PdnType,
    SubscriberStatus,
)
from epc.wire.identity import Imsi, Plmn

pytestmark = pytest.mark.virtual_clock

REALM = "epc.mnc001.mcc001.3gppnetwork.org"
HSS = f"hss.{REALM}"
MME1, MME2 = f"mme1.{REALM}", f"mme2.{REALM}"
HOME, VISITED = Plmn("00101"), Plmn("21407")
HSS_ADDRESS = Address("10.0.0.8", 3868)
K, OPC = bytes.fromhex(TEST_K), bytes.fromhex(TEST_OPC)
ALICE = Subscriber(imsi=Imsi("001010000000001"), msisdn="34600000001", k=K, opc=OPC)

A = TypeVar("A", bound=Message)


def config(**more: object) -> HssConfig:
    return parse_config({
        "name": "hss1", "origin_host": HSS, "origin_realm": REALM, "s6a": {"listen": [{"host": HSS_ADDRESS.host}]}, **more,
    }, HssConfig, source="test")


class ScriptedMme:
    """Asks what the test says, and answers the HSS's own requests with success unless told otherwise."""

    def __init__(self, network: MemoryNetwork, name: str, host: str) -> None:
        self.host = host
        self.requests: list[Message] = []
        self.answers: dict[type[Message], Callable[[Any], Message]] = {}
        self.features: tuple[SupportedFeatures, ...] = (SupportedFeatures(feature_list_id=1, feature_list=0x207),)
        self.node = DiameterNode(
            network.transport(name), LocalIdentity(origin_host=host, origin_realm=REALM, applications=(S6A_APPLICATION,)), interface="S6a",
            entropy=random.Random(name), clock=lambda: 1.7e9, peers=[PeerConfig(address=HSS_ADDRESS)], on_request=self._serve)

    async def start(self) -> None:
        await self.node.start()
        await asyncio.wait_for(self.node.wait_connected(S6A_APPLICATION), 10)

    def _serve(self, packet: Packet) -> Message:
        request = packet.message
        self.requests.append(request)
        made = self.answers.get(type(request))
        if made is not None:
            return made(request)
        answer = {
            s6a.CancelLocationRequest: s6a.CancelLocationAnswer, s6a.InsertSubscriberDataRequest: s6a.InsertSubscriberDataAnswer,
            s6a.DeleteSubscriberDataRequest: s6a.DeleteSubscriberDataAnswer, s6a.ResetRequest: s6a.ResetAnswer,
        }[type(request)]  # type: ignore[index]
        return answer(session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=self.host, origin_realm=REALM,
                      supported_features=self.features)

    def header(self) -> dict[str, Any]:
        return {"session_id": self.node.new_session_id(), "origin_host": self.host, "origin_realm": REALM, "destination_realm": REALM}

    async def ask(self, request: Message, expected: type[A]) -> A:
        answer = (await self.node.request(request)).message
        assert isinstance(answer, expected)
        return answer

    async def authentication_information(
        self, imsi: str = ALICE.imsi, *, plmn: Plmn = HOME, number: int | None = 1, resynchronisation: bytes | None = None,
    ) -> s6a.AuthenticationInformationAnswer:
        return await self.ask(s6a.AuthenticationInformationRequest(
            **self.header(), user_name=imsi, visited_plmn_id=plmn, requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(
                number_of_requested_vectors=number, immediate_response_preferred=1, re_synchronization_info=resynchronisation)),
            s6a.AuthenticationInformationAnswer)

    async def update_location(
        self, imsi: str = ALICE.imsi, *, plmn: Plmn = HOME, rat: RatType = RatType.EUTRAN,
        flags: s6a.UlrFlags = s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.INITIAL_ATTACH_INDICATOR, imei: str | None = None,
    ) -> s6a.UpdateLocationAnswer:
        return await self.ask(s6a.UpdateLocationRequest(
            **self.header(), user_name=imsi, visited_plmn_id=plmn, rat_type=rat, ulr_flags=flags,
            supported_features=self.features,
            terminal_information=s6a.TerminalInformation(imei=imei, software_version="01") if imei else None), s6a.UpdateLocationAnswer)


class World:
    def __init__(self, network: MemoryNetwork, hss: Hss, mme: ScriptedMme, other_mme: ScriptedMme) -> None:
        self.network, self.hss, self.mme, self.other_mme = network, hss, mme, other_mme

    async def stored(self, imsi: str = ALICE.imsi) -> Subscriber:
        found = await self.hss.store.get(imsi)
        assert found is not None
        return found

    async def command(self, name: str, **arguments: str) -> Any:
        return await self.hss.commands()[name](**arguments)


@async_fixture
async def world() -> AsyncIterator[World]:
    network = MemoryNetwork()
    hss = Hss(config(), network.transport("hss", host=HSS_ADDRESS.host), clock=lambda: 1.7e9, entropy=random.Random(1))
    await hss.start()
    await hss.store.put(ALICE)
    made = World(network, hss, ScriptedMme(network, "mme1", MME1), ScriptedMme(network, "mme2", MME2))
    await made.mme.start()
    await made.other_mme.start()
    yield made
    await made.mme.node.stop()
    await made.other_mme.node.stop()
    await hss.stop()


def result(answer: s6a.S6aAnswer) -> ResultCode | ExperimentalResultCode | int | None:
    """The one result; the two AVPs exclude each other."""
    assert (answer.result_code is None) != (answer.experimental_result is None)
    return answer.result


def vectors(answer: s6a.AuthenticationInformationAnswer) -> list[EpsAuthenticationVector]:
    assert result(answer) == ResultCode.DIAMETER_SUCCESS
    assert answer.authentication_info is not None
    return [EpsAuthenticationVector(rand=each.rand, xres=each.xres, autn=each.autn, kasme=each.kasme)
            for each in answer.authentication_info.e_utran_vector]


# --- Authentication Information: TS 29.272 clause 5.2.3.1 ---------------------------------------------------------------------


async def test_a_vector_authenticates_the_usim(world: World) -> None:
    usim = Usim(Milenage(K, OPC))
    (vector,) = vectors(await world.mme.authentication_information(plmn=VISITED))
    outcome = usim.authenticate(vector.rand, vector.autn, VISITED)
    assert isinstance(outcome, Success)
    assert (outcome.res, outcome.kasme) == (vector.xres, vector.kasme)
    assert (await world.stored()).sqn == outcome.sqn


async def test_vectors_of_a_tuak_subscriber(world: World) -> None:
    tuak = Subscriber(imsi=Imsi("001010000000002"), algorithm=Algorithm.TUAK, k=bytes(range(32)), opc=bytes(range(32)))
    await world.hss.store.put(tuak)
    (vector,) = vectors(await world.mme.authentication_information(tuak.imsi))
    assert isinstance(Usim(Tuak(tuak.k, tuak.opc)).authenticate(vector.rand, vector.autn, HOME), Success)


async def test_several_vectors_have_growing_sqns_and_item_numbers(world: World) -> None:
    answer = await world.mme.authentication_information(number=3)
    assert answer.authentication_info is not None
    assert [each.item_number for each in answer.authentication_info.e_utran_vector] == [1, 2, 3]
    usim = Usim(Milenage(K, OPC))
    sqns = []
    for vector in vectors(answer):
        outcome = usim.authenticate(vector.rand, vector.autn, HOME)
        assert isinstance(outcome, Success)
        sqns.append(outcome.sqn)
    assert sqns == sorted(set(sqns))
    assert (await world.stored()).sqn == sqns[-1]
    assert world.hss.metrics.value("authentication_vectors_total") == 3


@pytest.mark.parametrize(("asked", "given"), [(None, 1), (0, 1), (5, 5), (32, 5), (2**32 - 1, 5)])
async def test_number_of_vectors_is_bounded(world: World, asked: int | None, given: int) -> None:
    assert len(vectors(await world.mme.authentication_information(number=asked))) == given


async def test_concurrent_requests_never_share_an_sqn(world: World) -> None:
    answers = await asyncio.gather(*(mme.authentication_information(number=2) for mme in (world.mme, world.other_mme) * 10))
    usim = Usim(Milenage(K, OPC))
    found = []
    for answer in answers:
        for vector in vectors(answer):
            outcome = usim.authenticate(vector.rand, vector.autn, HOME)
            assert isinstance(outcome, Success)
            found.append(outcome.sqn)
    assert len(set(found)) == len(found) == 40


async def test_another_writer_between_read_and_write_costs_a_second_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = world.hss.store
    advance = store.advance_sqn
    interfered = []

    async def interfere(imsi: str, *, old: int, new: int) -> bool:
        if not interfered:
            interfered.append(await advance(imsi, old=old, new=old + 3200))
        return await advance(imsi, old=old, new=new)

    monkeypatch.setattr(store, "advance_sqn", interfere)
    (vector,) = vectors(await world.mme.authentication_information())
    outcome = Usim(Milenage(K, OPC)).authenticate(vector.rand, vector.autn, HOME)
    assert isinstance(outcome, Success)
    assert outcome.sqn > 3200
    assert (await world.stored()).sqn == outcome.sqn


async def test_resynchronisation_goes_on_from_the_usim(world: World) -> None:
    usim = Usim(Milenage(K, OPC))
    usim.advance_to(1000 << 5 | 1)
    (stale,) = vectors(await world.mme.authentication_information())
    failure = usim.authenticate(stale.rand, stale.autn, HOME)
    assert isinstance(failure, SynchFailure)
    (fresh,) = vectors(await world.mme.authentication_information(resynchronisation=stale.rand + failure.auts))
    outcome = usim.authenticate(fresh.rand, fresh.autn, HOME)
    assert isinstance(outcome, Success)
    assert outcome.sqn >> 5 == 1001
    assert (await world.stored()).sqn == outcome.sqn
    assert world.hss.metrics.value("resynchronisations_total", result="success") == 1


async def test_a_wrong_auts_does_not_change_the_sqn(world: World) -> None:
    await world.mme.authentication_information()
    before = (await world.stored()).sqn
    auts = bytearray(build_auts(Milenage(K, OPC), rand=bytes(16), sqn_ms=1 << 40))
    auts[-1] ^= 1
    answer = await world.mme.authentication_information(resynchronisation=bytes(16) + bytes(auts))
    assert len(vectors(answer)) == 1
    assert (await world.stored()).sqn >> 5 == (before >> 5) + 1
    assert world.hss.metrics.value("resynchronisations_total", result="auts-wrong") == 1


async def test_resynchronisation_info_of_a_wrong_length(world: World) -> None:
    assert result(await world.mme.authentication_information(resynchronisation=bytes(29))) == ResultCode.DIAMETER_INVALID_AVP_VALUE


async def test_an_sqn_at_the_end_of_its_range(world: World) -> None:
    await world.hss.store.put(replace(ALICE, sqn=(1 << 48) - 1), replace=True)
    answer = await world.mme.authentication_information()
    assert result(answer) == ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE


async def test_unknown_user(world: World) -> None:
    for imsi in ("001019999999999", "", "x' OR '1'='1"):
        assert result(await world.mme.authentication_information(imsi)) == ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN
        assert result(await world.mme.update_location(imsi)) == ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN
    assert world.hss.metrics.value(
        "procedure_failures_total", procedure="update_location", result="rejected", cause="DIAMETER_ERROR_USER_UNKNOWN") == 3


async def test_no_eps_subscription(world: World) -> None:
    await world.hss.store.put(replace(ALICE, apns=()), replace=True)
    for answer in (await world.mme.authentication_information(), await world.mme.update_location()):
        assert result(answer) == ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION
        assert answer.error_diagnostic == s6a.ErrorDiagnostic.NO_GPRS_DATA_SUBSCRIBED


async def test_vectors_of_another_network_are_refused_where_that_is_configured() -> None:
    network = MemoryNetwork()
    hss = Hss(config(authentication={"check_serving_network": True}), network.transport("hss", host=HSS_ADDRESS.host), entropy=random.Random(1))
    await hss.start()
    await hss.store.put(ALICE)
    mme = ScriptedMme(network, "mme1", MME1)
    await mme.start()
    assert result(await mme.authentication_information(plmn=VISITED)) == ResultCode.DIAMETER_AUTHORIZATION_REJECTED
    assert result(await mme.authentication_information(plmn=HOME)) == ResultCode.DIAMETER_SUCCESS
    await mme.node.stop()
    await hss.stop()


async def test_missing_authentication_info(world: World) -> None:
    answer = await world.mme.ask(s6a.AuthenticationInformationRequest(
        **world.mme.header(), user_name=ALICE.imsi, visited_plmn_id=HOME), s6a.AuthenticationInformationAnswer)
    assert result(answer) == ResultCode.DIAMETER_MISSING_AVP


async def test_a_failing_database_is_a_transient_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(imsi: str) -> Subscriber | None:
        raise StoreError("disk full")

    monkeypatch.setattr(world.hss.store, "get", fail)
    answer = await world.mme.authentication_information()
    assert result(answer) == ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE
    assert result(await world.mme.update_location()) == ResultCode.DIAMETER_UNABLE_TO_COMPLY
    monkeypatch.undo()
    assert result(await world.mme.authentication_information()) == ResultCode.DIAMETER_SUCCESS


# --- Update Location: TS 29.272 clause 5.2.1.1 --------------------------------------------------------------------------------


async def test_update_location_registers_the_mme_and_returns_the_subscription(world: World) -> None:
    answer = await world.mme.update_location(plmn=VISITED, imei="35123456789012")
    assert result(answer) == ResultCode.DIAMETER_SUCCESS
    assert answer.ula_flags == s6a.UlaFlags.SEPARATION_INDICATION
    data = answer.subscription_data
    assert data is not None
    assert data.msisdn == ALICE.msisdn
    assert data.subscriber_status == SubscriberStatus.SERVICE_GRANTED
    assert data.operator_determined_barring is None
    assert data.subscribed_periodic_rau_tau_timer == 3240
    assert data.ambr is not None
    assert (data.ambr.max_requested_bandwidth_ul, data.ambr.max_requested_bandwidth_dl) == (500_000_000, 1_000_000_000)
    profile = data.apn_configuration_profile
    assert profile is not None
    (apn,) = profile.apn_configuration
    assert (profile.context_identifier, apn.context_identifier, apn.service_selection, apn.pdn_type) == (1, 1, "internet", PdnType.IPV4)
    assert apn.eps_subscribed_qos_profile is not None
    arp = apn.eps_subscribed_qos_profile.allocation_retention_priority
    assert (apn.eps_subscribed_qos_profile.qos_class_identifier, arp.priority_level) == (9, 8)
    assert (arp.pre_emption_capability, arp.pre_emption_vulnerability) == (1, 0)
    stored = await world.stored()
    assert (stored.mme_host, stored.mme_realm, stored.visited_plmn, stored.imeisv) == (MME1, REALM, VISITED, "3512345678901201")
    assert world.hss.metrics.value("procedure_successes_total", procedure="update_location") == 1


async def test_rates_above_32_bits_static_addresses_and_barring(world: World) -> None:
    apn_with_addresses = ApnConfiguration(context_id=1, apn="internet", pdn_type=PdnType.IPV4V6, static_ipv4="10.45.0.9", static_ipv6="2001:db8::")
    await world.hss.store.put(replace(
        ALICE, status=SubscriberStatus.OPERATOR_DETERMINED_BARRING, ambr_dl_bps=10**10, apns=(apn_with_addresses,)), replace=True)
    data = (await world.mme.update_location()).subscription_data
    assert data is not None
    assert data.operator_determined_barring == OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED
    assert data.ambr is not None
    assert (data.ambr.max_requested_bandwidth_dl, data.ambr.extended_max_requested_bw_dl) == (2**32 - 1, 10**7)
    assert data.ambr.extended_max_requested_bw_ul is None
    assert data.apn_configuration_profile is not None
    (apn,) = data.apn_configuration_profile.apn_configuration
    assert [str(address) for address in apn.served_party_ip_address] == ["10.45.0.9", "2001:db8::"]


async def test_skip_subscriber_data(world: World) -> None:
    answer = await world.mme.update_location(flags=s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.SKIP_SUBSCRIBER_DATA)
    assert result(answer) == ResultCode.DIAMETER_SUCCESS
    assert answer.subscription_data is None
    assert (await world.stored()).mme_host == MME1


async def test_an_sgsn_is_not_served(world: World) -> None:
    assert result(await world.mme.update_location(flags=s6a.UlrFlags(0))) == ResultCode.DIAMETER_INVALID_AVP_VALUE
    assert (await world.stored()).mme_host is None


@pytest.mark.parametrize(("rat", "restriction"), [
    (RatType.EUTRAN, AccessRestrictionData.WB_E_UTRAN_NOT_ALLOWED), (RatType.EUTRAN_NB_IOT, AccessRestrictionData.NB_IOT_NOT_ALLOWED)])
async def test_rat_not_allowed(world: World, rat: RatType, restriction: AccessRestrictionData) -> None:
    await world.hss.store.put(replace(ALICE, access_restriction=restriction), replace=True)
    assert result(await world.mme.update_location(rat=rat)) == ExperimentalResultCode.DIAMETER_ERROR_RAT_NOT_ALLOWED
    assert (await world.stored()).mme_host is None


async def test_roaming_not_allowed(world: World) -> None:
    await world.hss.store.put(replace(ALICE, roaming_allowed=False), replace=True)
    assert result(await world.mme.update_location(plmn=VISITED)) == ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED
    assert result(await world.mme.update_location(plmn=HOME)) == ResultCode.DIAMETER_SUCCESS


@pytest.mark.parametrize(("flags", "cancellation"), [
    (s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.INITIAL_ATTACH_INDICATOR, s6a.CancellationType.INITIAL_ATTACH_PROCEDURE),
    (s6a.UlrFlags.S6A_S6D_INDICATOR, s6a.CancellationType.MME_UPDATE_PROCEDURE),
])
async def test_the_previous_mme_is_told_to_forget(world: World, flags: s6a.UlrFlags, cancellation: s6a.CancellationType) -> None:
    await world.mme.update_location()
    await world.other_mme.update_location(flags=flags)
    await asyncio.sleep(1)
    (cancel,) = world.mme.requests
    assert isinstance(cancel, s6a.CancelLocationRequest)
    assert (cancel.user_name, cancel.cancellation_type, cancel.destination_host) == (ALICE.imsi, cancellation, MME1)
    assert world.other_mme.requests == []
    assert (await world.stored()).mme_host == MME2
    assert world.hss.metrics.value("procedure_successes_total", procedure="cancel_location") == 1


async def test_the_same_mme_again_and_a_purged_ue_cancel_nothing(world: World) -> None:
    await world.mme.update_location()
    await world.mme.update_location()
    await world.mme.ask(s6a.PurgeUeRequest(**world.mme.header(), user_name=ALICE.imsi), s6a.PurgeUeAnswer)
    await world.other_mme.update_location()
    await asyncio.sleep(1)
    assert world.mme.requests == world.other_mme.requests == []


async def test_a_previous_mme_that_is_gone_does_not_delay_the_new_one(world: World) -> None:
    await world.mme.update_location()
    await world.mme.node.stop()
    assert result(await world.other_mme.update_location()) == ResultCode.DIAMETER_SUCCESS
    await asyncio.sleep(30)
    assert (await world.stored()).mme_host == MME2
    assert world.hss.metrics.value("procedure_failures_total", procedure="cancel_location", result="aborted", cause="link lost") == 1


# --- Purge UE, Notify: TS 29.272 clauses 5.2.1.3 and 5.2.5.1 ------------------------------------------------------------------


async def test_purge_freezes_the_m_tmsi_at_the_serving_mme_only(world: World) -> None:
    await world.mme.update_location()
    stranger = await world.other_mme.ask(s6a.PurgeUeRequest(**world.other_mme.header(), user_name=ALICE.imsi), s6a.PurgeUeAnswer)
    assert (result(stranger), stranger.pua_flags) == (ResultCode.DIAMETER_SUCCESS, s6a.PuaFlags(0))
    assert not (await world.stored()).purged
    answer = await world.mme.ask(s6a.PurgeUeRequest(**world.mme.header(), user_name=ALICE.imsi), s6a.PurgeUeAnswer)
    assert (result(answer), answer.pua_flags) == (ResultCode.DIAMETER_SUCCESS, s6a.PuaFlags.FREEZE_M_TMSI)
    assert (await world.stored()).purged
    await world.mme.update_location()
    assert not (await world.stored()).purged


async def test_notify_stores_terminal_and_pgw_and_the_next_answer_has_them(world: World) -> None:
    await world.mme.update_location()
    agent = Mip6AgentInfo(mip_home_agent_host=MipHomeAgentHost(destination_realm=REALM, destination_host="pgw1"))
    answer = await world.mme.ask(s6a.NotifyRequest(
        **world.mme.header(), user_name=ALICE.imsi, terminal_information=s6a.TerminalInformation(imei="35123456789012"), mip6_agent_info=agent,
        context_identifier=1, service_selection="internet"), s6a.NotifyAnswer)
    assert result(answer) == ResultCode.DIAMETER_SUCCESS
    stored = await world.stored()
    assert stored.imeisv == "35123456789012"
    assert stored.apns[0].pgw == PgwIdentity(host="pgw1", realm=REALM)
    data = (await world.mme.update_location()).subscription_data
    assert data is not None
    assert data.apn_configuration_profile is not None
    (apn,) = data.apn_configuration_profile.apn_configuration
    assert (apn.mip6_agent_info, apn.pdn_gw_allocation_type) == (agent, PdnGwAllocationType.DYNAMIC)


async def test_notify_with_the_unspecified_address_removes_the_pgw(world: World) -> None:
    await world.mme.update_location()
    for address, expected in (("127.0.0.4", PgwIdentity(address="127.0.0.4")), ("0.0.0.0", None)):
        await world.mme.ask(s6a.NotifyRequest(
            **world.mme.header(), user_name=ALICE.imsi, service_selection="Internet",
            mip6_agent_info=Mip6AgentInfo(mip_home_agent_address=(ip_address(address),))), s6a.NotifyAnswer)
        assert (await world.stored()).apns[0].pgw == expected


async def test_notify_of_an_mme_that_does_not_serve_the_ue_or_of_an_apn_that_is_not_there(world: World) -> None:
    notify = s6a.NotifyRequest(**world.other_mme.header(), user_name=ALICE.imsi)
    assert result(await world.other_mme.ask(notify, s6a.NotifyAnswer)) == ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_SERVING_NODE
    await world.mme.update_location()
    nowhere = s6a.NotifyRequest(
        **world.mme.header(), user_name=ALICE.imsi, service_selection="ims", mip6_agent_info=Mip6AgentInfo(
            mip_home_agent_host=MipHomeAgentHost(destination_realm=REALM, destination_host="pgw1")))
    assert result(await world.mme.ask(nowhere, s6a.NotifyAnswer)) == ResultCode.DIAMETER_INVALID_AVP_VALUE


# --- what the operator tells the HSS ------------------------------------------------------------------------------------------


async def test_operator_cancels_a_location(world: World) -> None:
    await world.mme.update_location()
    await world.command("cancel_location", imsi=ALICE.imsi, reattach="yes")
    (cancel,) = world.mme.requests
    assert isinstance(cancel, s6a.CancelLocationRequest)
    assert cancel.cancellation_type == s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL
    assert cancel.clr_flags == s6a.ClrFlags.S6A_S6D_INDICATOR | s6a.ClrFlags.REATTACH_REQUIRED
    assert (await world.stored()).mme_host is None
    with pytest.raises(LookupError, match="no MME serves"):
        await world.command("cancel_location", imsi=ALICE.imsi)
    with pytest.raises(ValueError, match="allowed: yes, no"):
        await world.command("cancel_location", imsi=ALICE.imsi, reattach="perhaps")


async def test_operator_pushes_a_changed_subscription(world: World) -> None:
    await world.mme.update_location()
    await world.hss.store.put(replace(ALICE, ambr_ul_bps=1_000_000), replace=True)
    await world.command("insert_subscriber_data", imsi=ALICE.imsi)
    insert, delete = world.mme.requests
    assert isinstance(delete, s6a.DeleteSubscriberDataRequest)
    assert delete.dsr_flags == s6a.DsrFlags.REGIONAL_SUBSCRIPTION_WITHDRAWAL | s6a.DsrFlags.APN_OI_REPLACEMENT, "the subscription has neither"
    assert isinstance(insert, s6a.InsertSubscriberDataRequest)
    assert insert.subscription_data is not None
    assert insert.subscription_data.ambr is not None
    assert insert.subscription_data.ambr.max_requested_bandwidth_ul == 1_000_000


# --- optional features: TS 29.272 clause 7.3.10 ------------------------------------------------------------------------------------

def feature_list(value: int, list_id: int = 1) -> tuple[SupportedFeatures, ...]:
    return (SupportedFeatures(feature_list_id=list_id, feature_list=value),)


HPLMN_BARRED = OperatorDeterminedBarring.ROAMER_ACCESS_HPLMN_AP_BARRED
VPLMN_BARRED = OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED
ALL_BARRED = OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED
BREAKOUT = (ApnConfiguration(context_id=1, apn="internet", vplmn_allowed=True),)


async def test_the_answer_names_the_features_of_both(world: World) -> None:
    world.mme.features = (*feature_list(0xFF, 2), *feature_list(0x10000605))       # of list 1: ODB-all-APN, ODB-VPLMN-APN, RegSub, and what we lack
    assert (await world.mme.update_location()).supported_features == feature_list(0x205)
    world.mme.features = ()
    assert (await world.mme.update_location()).supported_features == (), "who does not know of features is not told of any"


@pytest.mark.parametrize(("subscription", "lacking", "plmn", "diagnostic"), [
    ({"barring": ALL_BARRED}, 0x001, HOME, s6a.ErrorDiagnostic.ODB_ALL_APN),
    ({"status": SubscriberStatus.OPERATOR_DETERMINED_BARRING}, 0x001, HOME, s6a.ErrorDiagnostic.ODB_ALL_APN),
    ({"barring": HPLMN_BARRED, "apns": BREAKOUT}, 0x002, VISITED, s6a.ErrorDiagnostic.ODB_HPLMN_APN),
    ({"barring": VPLMN_BARRED}, 0x004, VISITED, s6a.ErrorDiagnostic.ODB_VPLMN_APN),
    ({"zone_codes": (7,)}, 0x200, HOME, None),
    ({"zone_codes": (7,)}, 0x200, VISITED, None),
])
async def test_an_mme_that_cannot_enforce_a_restriction_does_not_get_the_subscriber(
    world: World, subscription: dict[str, Any], lacking: int, plmn: Plmn, diagnostic: s6a.ErrorDiagnostic | None,
) -> None:
    await world.hss.store.put(replace(ALICE, **subscription), replace=True)
    for features in (feature_list(0x207 & ~lacking), feature_list(0x207, 2), ()):
        world.mme.features = features
        answer = await world.mme.update_location(plmn=plmn)
        assert answer.result == ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED
        assert answer.error_diagnostic == diagnostic
        assert answer.subscription_data is None
        assert (await world.stored()).mme_host is None
    world.mme.features = feature_list(lacking)
    answer = await world.mme.update_location(plmn=plmn)
    assert answer.is_success
    assert answer.supported_features == feature_list(lacking)
    assert answer.subscription_data is not None
    assert answer.subscription_data.operator_determined_barring or answer.subscription_data.regional_subscription_zone_code


async def test_at_home_barring_of_roamers_is_withheld_from_an_mme_without_the_feature(world: World) -> None:
    await world.hss.store.put(replace(ALICE, barring=HPLMN_BARRED | VPLMN_BARRED), replace=True)
    told = []
    for features in (feature_list(0x207), feature_list(0x205), ()):
        world.mme.features = features
        data = (await world.mme.update_location()).subscription_data
        assert data is not None
        told.append((data.subscriber_status, data.operator_determined_barring))
    assert told == [
        (SubscriberStatus.OPERATOR_DETERMINED_BARRING, HPLMN_BARRED | VPLMN_BARRED), (SubscriberStatus.OPERATOR_DETERMINED_BARRING, VPLMN_BARRED),
        (SubscriberStatus.SERVICE_GRANTED, None)]


@pytest.mark.parametrize(("restriction", "needed"), [({"zone_codes": (7,)}, 0x200), ({"barring": ALL_BARRED}, 0x001)])
async def test_an_mme_that_cannot_enforce_a_change_loses_the_subscriber(world: World, restriction: dict[str, Any], needed: int) -> None:
    world.mme.features = feature_list(0x207 & ~needed)
    await world.mme.update_location()
    await world.command("insert_subscriber_data", imsi=ALICE.imsi)
    assert (await world.stored()).mme_host == MME1, "nothing restricts this subscriber"
    world.mme.requests.clear()
    await world.hss.store.put(replace(await world.stored(), **restriction), replace=True)
    with pytest.raises(LookupError, match=r"the MME does not support (REG_SUB|ODB_ALL_APN): 001010000000001 is withdrawn from it"):
        await world.command("insert_subscriber_data", imsi=ALICE.imsi)
    insert, cancel = world.mme.requests
    assert isinstance(insert, s6a.InsertSubscriberDataRequest)
    assert insert.supported_features == feature_list(0x207)
    assert isinstance(cancel, s6a.CancelLocationRequest)
    assert cancel.cancellation_type == s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL
    assert (await world.stored()).mme_host is None


async def test_a_question_for_the_state_withdraws_nobody(world: World) -> None:
    await world.hss.store.put(replace(ALICE, zone_codes=(7,)), replace=True)
    await world.mme.update_location()
    world.mme.features = ()
    await world.command("locate", imsi=ALICE.imsi)
    assert (await world.stored()).mme_host == MME1


async def test_operator_hears_that_the_mme_refused_or_was_silent(world: World) -> None:
    await world.mme.update_location()
    world.mme.answers[s6a.InsertSubscriberDataRequest] = lambda request: s6a.InsertSubscriberDataAnswer(
        session_id=request.session_id, origin_host=MME1, origin_realm=REALM,
        experimental_result=diameter.experimental_result(ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN))
    with pytest.raises(LookupError, match="DIAMETER_ERROR_USER_UNKNOWN"):
        await world.command("insert_subscriber_data", imsi=ALICE.imsi)
    world.network.cut("mme1", "hss", detection_s=60)
    with pytest.raises(LookupError, match="Tx expired"):
        await world.command("insert_subscriber_data", imsi=ALICE.imsi)
    with pytest.raises(LookupError, match="no subscriber 1"):
        await world.command("insert_subscriber_data", imsi="1")
    world.network.heal()


async def test_operator_asks_where_a_ue_is(world: World) -> None:
    await world.mme.update_location()
    world.mme.answers[s6a.InsertSubscriberDataRequest] = lambda request: s6a.InsertSubscriberDataAnswer(
        session_id=request.session_id, origin_host=MME1, origin_realm=REALM, result_code=ResultCode.DIAMETER_SUCCESS,
        eps_user_state=s6a.EpsUserState(mme_user_state=s6a.MmeUserState(user_state=s6a.UserState.CONNECTED_REACHABLE_FOR_PAGING)),
        eps_location_information=s6a.EpsLocationInformation(mme_location_information=s6a.MmeLocationInformation(
            e_utran_cell_global_identity=bytes.fromhex("00f11000000101"))))
    assert await world.command("locate", imsi=ALICE.imsi) == {
        "user_state": "CONNECTED_REACHABLE_FOR_PAGING", "cell": "00f11000000101", "tracking_area": None}
    (insert,) = world.mme.requests
    assert isinstance(insert, s6a.InsertSubscriberDataRequest)
    assert insert.subscription_data is None


async def test_operator_deletes_an_apn(world: World) -> None:
    await world.hss.store.put(replace(ALICE, apns=(*ALICE.apns, ApnConfiguration(context_id=2, apn="ims"))), replace=True)
    await world.mme.update_location()
    with pytest.raises(LookupError, match="no APN with id 3"):
        await world.command("delete_subscriber_data", imsi=ALICE.imsi, context_ids="3")
    with pytest.raises(ValueError, match="1 is the default APN"):
        await world.command("delete_subscriber_data", imsi=ALICE.imsi, context_ids="1,2")
    with pytest.raises(ValueError, match="context_ids"):
        await world.command("delete_subscriber_data", imsi=ALICE.imsi, context_ids="ims")
    await world.command("delete_subscriber_data", imsi=ALICE.imsi, context_ids="2")
    (delete,) = world.mme.requests
    assert isinstance(delete, s6a.DeleteSubscriberDataRequest)
    assert (delete.dsr_flags, delete.context_identifier) == (s6a.DsrFlags.PDN_SUBSCRIPTION_CONTEXTS_WITHDRAWAL, (2,))
    stored = await world.stored()
    assert [apn.apn for apn in stored.apns] == ["internet"]
    assert stored.mme_host == MME1


async def test_operator_resets_all_mmes_or_one(world: World) -> None:
    assert sorted(await world.command("reset")) == [MME1, MME2]
    assert await world.command("reset", mme=MME2) == [MME2]
    assert [len(mme.requests) for mme in (world.mme, world.other_mme)] == [1, 2]
    assert isinstance(world.mme.requests[0], s6a.ResetRequest)
    with pytest.raises(LookupError, match="no MME nobody"):
        await world.command("reset", mme="nobody")


async def test_state_for_ctl(world: World) -> None:
    await world.mme.update_location()
    assert await world.command("subscribers") == {"subscribers": 1, "registered": 1}
    assert await world.command("mmes") == [{"mme": MME1, "registered": 1, "connected": True}]
    shown = await world.command("subscriber", imsi=ALICE.imsi)
    assert shown["mme_host"] == MME1
    assert not {"k", "opc", "op"} & set(shown)
    peers = world.hss.views()["peers"]()
    assert isinstance(peers, list)
    assert {peer["host"] for peer in peers} == {MME1, MME2}
    assert world.hss.metrics.value("associations", interface="S6a") == 2
    assert world.hss.is_ready()


# --- requests that come again, and requests that are none -----------------------------------------------------------------------


async def raw_connection(network: MemoryNetwork) -> tuple[ByteStream, asyncio.Queue[bytes]]:
    """A peer that sends what the test writes, after a proper capabilities exchange."""
    received: asyncio.Queue[bytes] = asyncio.Queue()
    stream = await network.transport("raw", host="10.0.0.66").connect_tcp(HSS_ADDRESS, interface="S6a")
    stream.on_data = received.put_nowait
    stream.send(diameter.encode(CapabilitiesExchangeRequest(
        origin_host="raw.example", origin_realm=REALM, host_ip_address=(ip_address("10.0.0.66"),), vendor_id=0, product_name="raw",
        vendor_specific_application_id=(VendorSpecificApplicationId(vendor_id=VENDOR_3GPP, auth_application_id=S6A_APPLICATION),)),
        hop_by_hop=1, end_to_end=1))
    await asyncio.wait_for(received.get(), 5)
    return stream, received


def raw_air(*, hop_by_hop: int, end_to_end: int, retransmitted: bool) -> bytes:
    return diameter.encode(s6a.AuthenticationInformationRequest(
        session_id="raw;1;1", origin_host="raw.example", origin_realm=REALM, destination_realm=REALM, user_name=ALICE.imsi, visited_plmn_id=HOME,
        requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(number_of_requested_vectors=1)),
        hop_by_hop=hop_by_hop, end_to_end=end_to_end, retransmitted=retransmitted)


async def test_a_repeated_request_gets_the_same_vector_and_burns_no_sqn(world: World) -> None:
    stream, received = await raw_connection(world.network)
    stream.send(raw_air(hop_by_hop=10, end_to_end=77, retransmitted=False))
    first = diameter.decode(await asyncio.wait_for(received.get(), 5))
    sqn = (await world.stored()).sqn
    stream.send(raw_air(hop_by_hop=11, end_to_end=77, retransmitted=True))
    again = diameter.decode(await asyncio.wait_for(received.get(), 5))
    assert again.message == first.message
    assert (again.header.hop_by_hop, again.header.end_to_end) == (11, 77)
    assert (await world.stored()).sqn == sqn
    stream.send(raw_air(hop_by_hop=12, end_to_end=78, retransmitted=True))       # its first copy never arrived
    other = diameter.decode(await asyncio.wait_for(received.get(), 5))
    assert other.message != first.message
    assert (await world.stored()).sqn > sqn
    stream.close()


async def test_requests_that_only_an_hss_sends_are_refused(world: World) -> None:
    stream, received = await raw_connection(world.network)
    stream.send(diameter.encode(s6a.CancelLocationRequest(
        session_id="raw;1;2", origin_host="raw.example", origin_realm=REALM, destination_realm=REALM, destination_host=HSS, user_name=ALICE.imsi,
        cancellation_type=s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL), hop_by_hop=2, end_to_end=2))
    answer = diameter.decode(await asyncio.wait_for(received.get(), 5)).message
    assert isinstance(answer, diameter.ErrorAnswer)
    assert answer.result_code == ResultCode.DIAMETER_COMMAND_UNSUPPORTED
    stream.close()


async def test_garbage_leaves_the_node_alive(world: World) -> None:
    chance = random.Random(7)
    good = raw_air(hop_by_hop=10, end_to_end=77, retransmitted=False)
    for number in range(40):
        stream, _ = await raw_connection(world.network)
        octets = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(4 if number % 4 else 0, len(octets))] = chance.randrange(256)
        stream.send(bytes(octets))
        await asyncio.sleep(0.1)
        stream.close()
        await asyncio.sleep(0.1)
    assert result(await world.mme.authentication_information()) == ResultCode.DIAMETER_SUCCESS


# --- configuration and life -----------------------------------------------------------------------------------------------------


async def test_configured_subscribers_are_added_once(tmp_path: Path) -> None:
    provisioned = config(state_directory=str(tmp_path), subscribers=[{"imsi": "001010000000001", "count": 3, "apns": ["internet", "ims qci=5"]}])
    for _ in range(2):
        hss = Hss(provisioned, MemoryNetwork().transport("hss", host=HSS_ADDRESS.host), entropy=random.Random(1))
        await hss.start()
        assert await hss.store.count() == 3
        stored = await hss.store.get(ALICE.imsi)
        assert stored is not None
        assert (stored.k, stored.opc, [apn.apn for apn in stored.apns]) == (K, OPC, ["internet", "ims"])
        await hss.store.advance_sqn(ALICE.imsi, old=stored.sqn, new=stored.sqn + 33)
        await hss.stop()
        assert not hss.is_ready()
    assert stored.sqn == 33
    assert (tmp_path / "subscribers.sqlite").exists()


@pytest.mark.parametrize(("subscriber", "complaint"), [
    ({"imsi": 1010000000001}, "subscribers.0.imsi: must be in quotes, for these are digits and no number"),
    ({"imsi": "00101+5"}, "subscribers.0.imsi"),
    ({"imsi": "001010000000001", "k": "12", "opc": TEST_OPC}, "subscribers.0: k: '12' is wrong; allowed: 32 hexadecimal digits"),
    ({"imsi": "001010000000001", "apns": ["ims qci=900"]}, "subscribers.0: apns (ims qci): '900' is wrong; allowed: a whole number from 1 to 254"),
    ({"imsi": "999999999999999", "count": 2}, "allowed: a range that stays within 15 digits"),
    ({"imsi": "001010000000001", "colour": "red"}, "subscribers.0.colour: unknown key; allowed here: access_restriction, algorithm"),
])
def test_configuration_mistakes_say_where_and_what(subscriber: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(subscribers=[subscriber])
    assert complaint in str(error.value)


async def test_stop_before_start_and_twice() -> None:
    hss = Hss(config(), MemoryNetwork().transport("hss"))
    await hss.stop()
    with pytest.raises(StoreError, match="not running"):
        _ = hss.store
    await hss.start()
    await hss.stop()
    await hss.stop()
