"""Attach as the MME sees it: TS 23.401 clause 5.3.2.1, abnormal cases of TS 24.301 clause 5.5.1.2.7."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from epc.peer.nas_security import hash_mme
from epc.wire import diameter, gtpv2, nas, s1ap
from epc.wire.diameter import ExperimentalResultCode, s6a
from epc.wire.nas import EmmCause, EsmCause

pytestmark = pytest.mark.virtual_clock


async def rejected(phone) -> tuple[nas.AttachReject, EsmCause | int | None]:
    """The reject, and the ESM cause inside; the eNodeB obeys the release that follows."""
    reject = await phone.hear(nas.AttachReject)
    esm_cause = None
    if reject.esm_message_container is not None:
        inner = nas.decode(reject.esm_message_container)
        assert isinstance(inner, nas.PdnConnectivityReject)
        assert inner.procedure_transaction_identity == 1
        esm_cause = inner.esm_cause
    await phone.be_released()
    return reject, esm_cause


# --- the good case ---------------------------------------------------------------------------------------------------------------


async def test_attach_walks_the_ladder(world, phone) -> None:
    attached = await phone.attach()
    assert [type(each).__name__ for each in world.hss.received] == ["AuthenticationInformationRequest", "UpdateLocationRequest"]
    assert [type(each).__name__ for each in world.sgw.received] == ["CreateSessionRequest", "ModifyBearerRequest"]
    assert attached.accept.tai_list.tais == (nas.Tai(plmn="00101", tac=1), nas.Tai(plmn="00101", tac=2))
    assert (attached.accept.guti.plmn, attached.accept.guti.mme_group_id, attached.accept.guti.mme_code) == ("00101", 0x8001, 2)
    assert attached.activation.pdn_address.ipv4_address == IPv4Address("10.45.0.2")
    assert attached.activation.protocol_configuration_options == bytes.fromhex("80000d0408080808")
    assert (attached.activation.eps_bearer_identity, attached.activation.procedure_transaction_identity) == (5, 1)
    assert world.sgw.enb_teids == {5: 0x3005}
    assert world.mme.metrics.value("procedure_successes_total", procedure="attach") == 1
    assert world.mme.metrics.value("registered_ues") == 1


async def test_requests_carry_what_subscription_and_phone_say(world, phone) -> None:
    await phone.attach()
    (update,) = world.hss.of(s6a.UpdateLocationRequest)
    assert (update.user_name, update.visited_plmn_id) == (phone.imsi, "00101")
    assert update.terminal_information == s6a.TerminalInformation(imei="35349006987330", software_version="01")
    assert s6a.UlrFlags.INITIAL_ATTACH_INDICATOR in update.ulr_flags
    (create,) = world.sgw.of(gtpv2.CreateSessionRequest)
    assert (create.imsi, create.msisdn, create.mei, create.apn) == (phone.imsi, "34600000001", "3534900698733001", "internet.mnc001.mcc001.gprs")
    assert (create.uli.tai, create.uli.ecgi) == (gtpv2.Tai("00101", 1), gtpv2.Ecgi("00101", 0x1234501))
    assert create.ambr == gtpv2.Ambr(uplink_kbps=50_000, downlink_kbps=100_000)
    assert create.bearer_contexts_to_be_created[0].bearer_qos.arp == gtpv2.Arp(priority_level=8)
    assert (create.pgw_fteid.ipv4, create.pgw_fteid.teid) == (IPv4Address("127.0.0.50"), 0)
    assert create.ue_time_zone == gtpv2.UeTimeZone(offset_minutes=0)


@pytest.mark.parametrize(("zone", "at", "offset_minutes", "daylight_saving_hours"), [
    ("Europe/Madrid", 1_700_000_000, 60, 0), ("Europe/Madrid", 1_720_000_000, 120, 1), ("America/St_Johns", 1_700_000_000, -210, 0),
    ("Asia/Kathmandu", 1_720_000_000, 345, 0), ("Europe/Dublin", 1_700_000_000, 0, 0),
])
async def test_gateways_are_told_the_time_zone(world, phone, zone: str, at: int, offset_minutes: int, daylight_saving_hours: int) -> None:
    world.mme.config = world.mme.config.model_copy(update={"time_zone": zone})
    world.mme.clock = lambda: at
    await phone.attach()
    (create,) = world.sgw.of(gtpv2.CreateSessionRequest)
    assert create.ue_time_zone == gtpv2.UeTimeZone(offset_minutes=offset_minutes, daylight_saving_hours=daylight_saving_hours)


async def test_gateways_are_told_of_summer_time_once(world, phone) -> None:
    """TS 29.274 table 7.2.7-1: UE Time Zone, when it has changed."""
    world.mme.config = world.mme.config.model_copy(update={"time_zone": "Europe/Madrid"})
    world.mme.clock = lambda: 1_700_000_000
    await phone.attach()
    for at in (1_700_000_000, 1_720_000_000, 1_720_000_000):
        world.mme.clock = lambda at=at: at
        await phone.go_idle()
        phone.request_service()
        await phone.accept_context()
        await world.quiet()
    told = [modify.ue_time_zone for modify in world.sgw.of(gtpv2.ModifyBearerRequest)]
    assert told == [None, None, gtpv2.UeTimeZone(offset_minutes=120, daylight_saving_hours=1), None]


async def test_tunnels_are_shown_by_their_names(world, phone) -> None:
    await phone.attach()
    ends = {end.label: end for end in world.mme.tunnels()}
    assert sorted(ends) == ["t1", "t6", "t7", "t8"]
    assert [end.own for _, end in sorted(ends.items())] == [True, False, False, False]
    assert (ends["t6"].teid, ends["t7"].teid, ends["t8"].teid) == (0x1001, 0x2005, 0x3005)
    assert {end.imsi for end in ends.values()} == {phone.imsi}


async def test_security_mode_replays_capabilities_and_hashes_the_request(world, phone) -> None:
    request = phone.attach_request()
    phone.say(request)
    await phone.meet_challenge()
    command = await phone.take_security_into_use()
    assert command.replayed_ue_security_capabilities == nas.UeSecurityCapability.of(phone.capability, phone.ms_network_capability)
    assert command.selected_nas_security_algorithms == nas.NasSecurityAlgorithms(
        ciphering=nas.CipheringAlgorithm.EEA2, integrity=nas.IntegrityAlgorithm.EIA2)
    assert command.hash_mme == hash_mme(nas.encode(request))


async def test_request_replayed_in_security_mode_complete_counts_instead_of_the_one_that_came(world, phone) -> None:
    def connectivity(apn: str) -> nas.PdnConnectivityRequest:
        return nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=1, access_point_name=apn)

    phone.say(phone.attach_request(esm=connectivity("internet")))
    await phone.meet_challenge()
    await phone.hear(nas.SecurityModeCommand)
    genuine = nas.encode(phone.attach_request(esm=connectivity("ims")))
    phone.say(nas.SecurityModeComplete(replayed_nas_message_container=genuine))
    attached = await phone.receive_accept()
    assert attached.activation.access_point_name == "ims"


async def test_combined_attach_is_accepted_for_eps_only(world, phone) -> None:
    attached = await phone.attach(eps_attach_type=nas.EpsAttachType.COMBINED_EPS_IMSI_ATTACH)
    assert attached.accept.eps_attach_result == nas.EpsAttachResult.EPS_ONLY
    assert attached.accept.emm_cause == EmmCause.CS_DOMAIN_NOT_AVAILABLE


async def test_esm_information_is_asked_for_when_the_phone_wants_it_protected(world, phone) -> None:
    esm = nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=1, esm_information_transfer_flag=1)
    await phone.begin_attach(esm=esm)
    asked = await phone.hear(nas.EsmInformationRequest)
    phone.say(nas.EsmInformationResponse(procedure_transaction_identity=asked.procedure_transaction_identity, access_point_name="ims"))
    attached = await phone.receive_accept()
    assert attached.activation.access_point_name == "ims"


async def test_esm_information_not_received(world, phone) -> None:
    esm = nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=1, esm_information_transfer_flag=1)
    await phone.begin_attach(esm=esm)
    for _ in range(3):
        await phone.hear(nas.EsmInformationRequest)
    reject, esm_cause = await rejected(phone)
    assert (reject.emm_cause, esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.ESM_INFORMATION_NOT_RECEIVED)
    assert await world.is_clean()


@pytest.mark.parametrize("settings", [{"network_name": {"full": "epclab"}}])
async def test_network_name_is_told_after_the_attach(world, phone) -> None:
    await phone.attach()
    information = await phone.hear(nas.EmmInformation)
    assert information.full_name_for_network == nas.NetworkName(text="epclab")


async def test_hundred_phones_attach_at_once_and_idle_ones_hold_no_task(world) -> None:
    phones = [world.phone(f"00101{number:010}") for number in range(100)]
    await asyncio.gather(*[phone.attach() for phone in phones])
    assert world.mme.metrics.value("registered_ues") == 100
    assert len({phone.guti.m_tmsi for phone in phones}) == 100
    assert len(world.mme.runner) == 0


# --- who is it -------------------------------------------------------------------------------------------------------------------


async def test_unknown_guti_leads_to_an_identity_request(world, phone) -> None:
    phone.guti = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=2, m_tmsi=0xDEADBEEF)
    phone.say(phone.attach_request())
    assert (await phone.hear(nas.IdentityRequest)).identity_type == nas.IdentityType.IMSI
    phone.say(nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi=phone.imsi)))
    await phone.meet_challenge()
    await phone.take_security_into_use()
    await phone.receive_accept()


async def test_guti_of_another_mme_leads_to_an_identity_request(world, phone) -> None:
    await phone.attach()
    stranger = world.phone("001010000000002")
    stranger.guti = replace(phone.guti, mme_group_id=0x8002)
    stranger.say(stranger.attach_request())
    await stranger.hear(nas.IdentityRequest)


async def test_known_guti_with_good_integrity_skips_authentication(world, phone) -> None:
    await phone.attach()
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert await world.is_clean()
    asked_before = len(world.hss.received)
    phone.say(phone.attach_request())
    await phone.receive_accept()
    phone.complete()
    await world.quiet()
    assert phone.context.is_registered
    assert len(world.hss.received) == asked_before


async def test_known_guti_with_wrong_integrity_is_authenticated_and_only_then_takes_over(world, phone) -> None:
    await phone.attach()
    first = phone.context
    twin = world.phone(phone.imsi)          # the same SIM after a loss of memory: GUTI known, keys not
    twin.guti = phone.guti
    twin.say(twin.attach_request())
    challenge = await twin.hear(nas.AuthenticationRequest)
    assert phone.context is first           # nothing has happened to the registered phone yet
    twin.rand = challenge.rand
    twin.say(nas.AuthenticationResponse(res=twin.vector.xres))
    await twin.take_security_into_use()
    await phone.next(s1ap.UEContextReleaseCommand)
    await twin.receive_accept()
    twin.complete()
    await asyncio.sleep(20)
    assert twin.context is not first
    assert len(world.sgw.sessions) == len(world.mme.s11.sessions) == 1


async def test_stranger_with_somebodys_guti_does_no_harm(world, phone) -> None:
    await phone.attach()
    stranger = world.phone("001010000000002")
    stranger.guti = phone.guti
    stranger.say(stranger.attach_request())
    await stranger.hear(nas.AuthenticationRequest)
    stranger.say(nas.AuthenticationResponse(res=b"not the RES"))
    await stranger.hear(nas.IdentityRequest)        # TS 24.301 clause 5.4.2.5: perhaps the GUTI led to the wrong IMSI
    stranger.say(nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi=phone.imsi)))
    await stranger.hear(nas.AuthenticationReject)
    await stranger.be_released()
    assert phone.context.is_registered
    assert len(world.sgw.sessions) == 1


async def test_identity_response_without_imsi(world, phone) -> None:
    phone.guti = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=2, m_tmsi=1)
    phone.say(phone.attach_request())
    await phone.hear(nas.IdentityRequest)
    phone.say(nas.IdentityResponse(mobile_identity=nas.ImeisvIdentity(imeisv="3534900698733001")))
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK


# --- the HSS says no, or nothing -------------------------------------------------------------------------------------------------


async def test_unknown_imsi(world, phone) -> None:
    world.hss.on[s6a.AuthenticationInformationRequest] = world.hss.failure(
        s6a.AuthenticationInformationAnswer, ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN)
    phone.say(phone.attach_request())
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED
    assert await world.is_clean()
    assert world.failures("attach", "rejected", "EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED") == 1


@pytest.mark.parametrize(("code", "diagnostic", "cause"), [
    (ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION, None, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA),
    (ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION, s6a.ErrorDiagnostic.NO_GPRS_DATA_SUBSCRIBED, EmmCause.EPS_SERVICES_NOT_ALLOWED),
    (ExperimentalResultCode.DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION, s6a.ErrorDiagnostic.GPRS_DATA_SUBSCRIBED,
     EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA),
    (ExperimentalResultCode.DIAMETER_ERROR_RAT_NOT_ALLOWED, None, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA),
    (ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, None, EmmCause.PLMN_NOT_ALLOWED),
    (ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, s6a.ErrorDiagnostic.ODB_ALL_APN, EmmCause.ESM_FAILURE),
    (ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, s6a.ErrorDiagnostic.ODB_HPLMN_APN, EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN),
    (ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, s6a.ErrorDiagnostic.ODB_VPLMN_APN, EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN),
    (ExperimentalResultCode.DIAMETER_AUTHENTICATION_DATA_UNAVAILABLE, None, EmmCause.NETWORK_FAILURE),
])
async def test_update_location_refused(world, phone, code, diagnostic, cause) -> None:
    world.hss.on[s6a.UpdateLocationRequest] = world.hss.failure(s6a.UpdateLocationAnswer, code, error_diagnostic=diagnostic)
    await phone.begin_attach()
    reject, _ = await rejected(phone)
    assert reject.emm_cause == cause
    assert await world.is_clean()


async def test_hss_error_of_the_base_protocol_is_a_network_failure(world, phone) -> None:
    def unable(request):
        raise diameter.DiameterError("busy", diameter.ResultCode.DIAMETER_UNABLE_TO_COMPLY)

    world.hss.on[s6a.AuthenticationInformationRequest] = unable
    phone.say(phone.attach_request())
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.NETWORK_FAILURE


async def test_hss_that_fails_is_forgotten(world, phone) -> None:
    """The phone's next Update Location is routed by the realm, to whatever HSS is there."""
    await phone.attach()
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    phone.context.location_confirmed_in_hss = False
    world.hss.on[s6a.UpdateLocationRequest] = lambda request: s6a.UpdateLocationAnswer(
        result_code=diameter.ResultCode.DIAMETER_UNABLE_TO_COMPLY, **world.hss.common(request))
    phone.say(phone.attach_request())
    assert (await rejected(phone))[0].emm_cause == EmmCause.NETWORK_FAILURE
    del world.hss.on[s6a.UpdateLocationRequest]
    phone.say(phone.attach_request())
    await phone.receive_accept()
    first, second, third = world.hss.of(s6a.UpdateLocationRequest)
    assert first.destination_host is not None
    assert (second.destination_host, third.destination_host) == (first.destination_host, None)


async def test_hss_silent(world, phone, seconds) -> None:
    world.hss.on[s6a.AuthenticationInformationRequest] = world.hss.silent
    started = seconds()
    phone.say(phone.attach_request())
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.NETWORK_FAILURE
    assert reject.t3402 == nas.GprsTimer.of(720)
    assert 5 <= seconds() - started < 6
    assert await world.is_clean()


async def test_hss_down(world, phone) -> None:
    await world.hss.stop()
    await asyncio.sleep(1)
    phone.say(phone.attach_request())
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.NETWORK_FAILURE
    assert not world.mme.is_ready()


# --- the gateways say no, or nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gtp_cause", "esm_cause"), [
    (gtpv2.CauseValue.MISSING_OR_UNKNOWN_APN, EsmCause.MISSING_OR_UNKNOWN_APN),
    (gtpv2.CauseValue.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED, EsmCause.INSUFFICIENT_RESOURCES),
    (gtpv2.CauseValue.NO_RESOURCES_AVAILABLE, EsmCause.INSUFFICIENT_RESOURCES),
    (gtpv2.CauseValue.REMOTE_PEER_NOT_RESPONDING, EsmCause.NETWORK_FAILURE),
    (gtpv2.CauseValue.USER_AUTHENTICATION_FAILED, EsmCause.USER_AUTHENTICATION_FAILED),
    (gtpv2.CauseValue.SERVICE_DENIED, EsmCause.REQUEST_REJECTED_BY_SERVING_GW_OR_PDN_GW),
])
async def test_create_session_refused(world, phone, gtp_cause, esm_cause) -> None:
    world.sgw.on[gtpv2.CreateSessionRequest] = lambda request: gtpv2.CreateSessionResponse(cause=gtpv2.Cause(value=gtp_cause))
    await phone.begin_attach()
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, esm_cause)
    assert await world.is_clean()


async def test_sgw_silent(world, phone, seconds) -> None:
    world.sgw.on[gtpv2.CreateSessionRequest] = lambda request: None
    started = seconds()
    await phone.begin_attach()
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
    assert 9 <= seconds() - started < 10           # T3-RESPONSE three times
    assert await world.is_clean()


@pytest.mark.parametrize("missing", [{"bearer_contexts_created": ()}, {"paa": None}])
async def test_create_session_response_that_is_no_use_is_deleted(world, phone, missing) -> None:
    world.sgw.on[gtpv2.CreateSessionRequest] = lambda request: replace(world.sgw.accept(request), **missing)
    await phone.begin_attach()
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
    assert len(world.sgw.of(gtpv2.DeleteSessionRequest)) == 1
    assert await world.is_clean()


@pytest.mark.parametrize(("apn", "esm_cause"), [
    ("unheard-of", EsmCause.MISSING_OR_UNKNOWN_APN),        # not subscribed
    ("nowhere", EsmCause.MISSING_OR_UNKNOWN_APN),           # subscribed, but no PGW serves it
])
async def test_apn_unknown(world, phone, apn, esm_cause) -> None:
    esm = nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=1, access_point_name=apn)
    await phone.begin_attach(esm=esm)
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, esm_cause)
    assert world.sgw.received == []
    assert await world.is_clean()


@pytest.mark.parametrize(("pdn_type", "esm_cause"), [
    (nas.PdnType.IPV6, EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED),
    (nas.PdnType.NON_IP, EsmCause.UNKNOWN_PDN_TYPE),
])
async def test_pdn_type_not_subscribed(world, phone, pdn_type, esm_cause) -> None:
    await phone.begin_attach(esm=nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=pdn_type))
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, esm_cause)


async def test_dual_stack_request_of_an_ipv4_subscriber_is_narrowed(world, phone) -> None:
    attached = await phone.attach(
        esm=nas.PdnConnectivityRequest(procedure_transaction_identity=1, request_type=1, pdn_type=nas.PdnType.IPV4V6))
    assert attached.activation.pdn_address.pdn_type == nas.PdnType.IPV4


async def test_modify_bearer_refused_detaches_the_phone_and_asks_it_back(world, phone) -> None:
    world.sgw.on[gtpv2.ModifyBearerRequest] = lambda request: gtpv2.ModifyBearerResponse(
        cause=gtpv2.Cause(value=gtpv2.CauseValue.CONTEXT_NOT_FOUND))
    await phone.begin_attach()
    await phone.receive_accept()
    phone.complete()
    detach = await phone.hear(nas.DetachRequestToUe)
    assert detach.detach_type == nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()


# --- the eNodeB says no, or nothing ----------------------------------------------------------------------------------------------


async def test_enb_refuses_the_context(world, phone) -> None:
    await phone.begin_attach()
    await phone.next(s1ap.InitialContextSetupRequest)
    phone.enb.send(s1ap.InitialContextSetupFailure(cause=s1ap.Cause("radioNetwork", "radio-resources-not-available"), **phone.ids))
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, EsmCause.INSUFFICIENT_RESOURCES)
    assert await world.is_clean()


async def test_enb_silent_at_initial_context_setup(world, phone) -> None:
    await phone.begin_attach()
    await phone.next(s1ap.InitialContextSetupRequest)
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.NETWORK_FAILURE
    assert await world.is_clean()


# --- abnormal cases of TS 24.301 clause 5.5.1.2.7 --------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["authentication", "security mode", "context", "complete"])
async def test_attach_abnormal_a_s1_association_lost(world, phone, point) -> None:
    phone.say(phone.attach_request())
    if point != "authentication":
        await phone.meet_challenge()
    if point in ("context", "complete"):
        await phone.take_security_into_use()
    if point == "complete":
        await phone.receive_accept()
    else:
        await phone.next()
    phone.enb.association.abort()
    assert await world.is_clean()
    assert world.mme.associations == set()


async def test_attach_abnormal_a_radio_lost(world, phone) -> None:
    await phone.begin_attach()
    await phone.receive_accept()
    phone.enb.send(s1ap.UEContextReleaseRequest(cause=s1ap.Cause("radioNetwork", "radio-connection-with-ue-lost"), **phone.ids))
    await phone.be_released()
    assert await world.is_clean()
    assert world.failures("attach", "aborted", "cancelled") == 1


async def test_session_that_is_being_made_when_the_phone_is_lost_is_deleted(world, phone) -> None:
    world.network.delay_when(lambda packet: packet.interface == "S11" and packet.node == "sgw", 1.0, count=1)
    await phone.begin_attach()
    await asyncio.sleep(0.5)
    phone.enb.association.abort()
    await asyncio.sleep(5)
    assert len(world.sgw.of(gtpv2.DeleteSessionRequest)) == 1
    assert await world.is_clean()


async def test_attach_abnormal_b_protocol_error(world, phone) -> None:
    phone.transmit(nas.encode(phone.attach_request())[:8])
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.INVALID_MANDATORY_INFORMATION
    assert await world.is_clean()


async def test_attach_abnormal_b_esm_container_is_garbage(world, phone) -> None:
    phone.say(phone.attach_request(esm_message_container=b"\x02\x01\xd0"))
    reject, inner = await rejected(phone)
    assert (reject.emm_cause, inner) == (EmmCause.ESM_FAILURE, EsmCause.INVALID_MANDATORY_INFORMATION)


async def test_attach_abnormal_c_t3450_expires_five_times(world, phone, seconds) -> None:
    await phone.begin_attach()
    await phone.receive_accept()
    started = seconds()
    for _ in range(4):
        again = await phone.hear(nas.AttachAccept)
        assert again.guti == phone.guti
    await phone.be_released()
    assert 30 <= seconds() - started < 31
    assert await world.is_clean()
    assert world.failures("attach", "timeout", "T3450") == 1


async def test_attach_abnormal_c_accept_lost_once(world, phone) -> None:
    await phone.begin_attach()
    await phone.receive_accept()
    await phone.hear(nas.AttachAccept)
    phone.complete()
    await world.quiet()
    assert phone.context.is_registered


async def test_attach_abnormal_d_same_request_after_accept_gets_the_accept_again(world, phone) -> None:
    request = phone.attach_request()
    phone.say(request)
    await phone.meet_challenge()
    await phone.take_security_into_use()
    attached = await phone.receive_accept()
    phone.say(request)
    assert (await phone.hear(nas.AttachAccept)).guti == attached.accept.guti
    phone.complete()
    await world.quiet()
    assert phone.context.is_registered
    assert len(world.sgw.of(gtpv2.CreateSessionRequest)) == 1


@pytest.mark.parametrize("settings", [{}, {"security": {"skip_authentication_of_known_ue": False}}], ids=["same-keys", "new-keys"])
async def test_attach_abnormal_d_different_request_after_accept_starts_anew(world, phone) -> None:
    """The eNodeB has a context for the phone: it gets no second Initial Context Setup, but another bearer, and new keys if there are any."""
    await phone.begin_attach()
    await phone.receive_accept()
    phone.say(phone.attach_request(drx_parameter=b"\x0a\x00"))
    if not world.mme.config.security.skip_authentication_of_known_ue:
        await phone.meet_challenge()
        await phone.take_security_into_use()
    release = await phone.next(s1ap.ERABReleaseCommand)
    phone.enb.send(s1ap.ERABReleaseResponse(
        e_rab_release_list_bearer_rel_comp=(s1ap.ERABReleaseItemBearerRelComp(e_rab_id=5),), **phone.ids), stream=1)
    assert [item.e_rab_id for item in release.e_rab_to_be_released_list] == [5]
    if not world.mme.config.security.skip_authentication_of_known_ue:
        modification = await phone.next(s1ap.UEContextModificationRequest)
        assert modification.security_key.octets == phone.security.derive_kenb()
        phone.enb.send(s1ap.UEContextModificationResponse(**phone.ids), stream=1)
    setup = await phone.next(s1ap.ERABSetupRequest)
    (item,) = setup.e_rab_to_be_setup_list_bearer_su_req
    accept = phone.read(item.nas_pdu)
    phone.enb.send(s1ap.ERABSetupResponse(e_rab_setup_list_bearer_su_res=(s1ap.ERABSetupItemBearerSURes(
        e_rab_id=5, transport_layer_address=s1ap.BitString.of(IPv4Address("127.0.0.90").packed), gtp_teid=b"\0\0\x33\x33"),), **phone.ids), stream=1)
    phone.complete()
    await world.quiet()
    assert phone.context.is_registered
    assert accept.guti.m_tmsi == phone.context.m_tmsi
    assert world.sgw.enb_teids == {5: 0x3333}
    assert len(world.sgw.sessions) == len(world.mme.s11.sessions) == 1


async def test_attach_abnormal_e_same_request_before_accept_is_ignored(world, phone) -> None:
    request = phone.attach_request()
    phone.say(request)
    challenge = await phone.hear(nas.AuthenticationRequest)
    phone.say(request)
    phone.rand = challenge.rand
    phone.say(nas.AuthenticationResponse(res=phone.vector.xres))
    await phone.take_security_into_use()
    await phone.receive_accept()
    assert len(world.hss.of(s6a.AuthenticationInformationRequest)) == 1


async def test_attach_abnormal_e_different_request_before_accept_starts_anew(world, phone) -> None:
    phone.say(phone.attach_request())
    await phone.hear(nas.AuthenticationRequest)
    phone.say(phone.attach_request(drx_parameter=b"\x0a\x00"))
    await phone.meet_challenge()
    await phone.take_security_into_use()
    await phone.receive_accept()
    phone.complete()
    await world.quiet()
    assert phone.context.is_registered
    assert world.failures("attach", "aborted", "cancelled") == 1


async def test_attach_abnormal_f_attach_of_a_registered_phone_replaces_its_session(world, phone) -> None:
    await phone.attach()
    old = set(world.sgw.sessions)
    phone.disconnect()                                  # the phone lost its radio unnoticed, and attaches with its GUTI
    phone.say(phone.attach_request())
    await phone.receive_accept()
    phone.complete()
    await asyncio.sleep(20)
    assert phone.context.is_registered
    assert len(world.sgw.sessions) == len(world.mme.s11.sessions) == 1
    assert old.isdisjoint(world.sgw.sessions)


async def test_former_session_is_deleted_before_the_new_one_is_created(world, phone) -> None:
    """The SGW finds a phone that has no TEID yet by its IMSI: two requests at the same time would be about the same context."""
    await phone.attach()
    world.sgw.on[gtpv2.DeleteSessionRequest] = lambda message: None
    phone.disconnect()
    phone.say(phone.attach_request())
    await asyncio.sleep(8)
    assert len(world.sgw.of(gtpv2.CreateSessionRequest)) == 1
    await phone.receive_accept()                        # the SGW's silence is taken for an answer after a while
    assert len(world.sgw.of(gtpv2.CreateSessionRequest)) == 2
    phone.complete()


async def test_attach_abnormal_f_with_imsi_after_authentication(world, phone) -> None:
    await phone.attach()
    again = world.phone(phone.imsi)
    await again.attach()
    await asyncio.sleep(20)
    assert len(world.sgw.sessions) == len(world.mme.s11.sessions) == 1
    assert world.mme.metrics.value("registered_ues") == 1


async def test_attach_abnormal_g_tracking_area_update_before_attach_complete(world, phone) -> None:
    await phone.begin_attach()
    await phone.receive_accept()
    phone.say(nas.TrackingAreaUpdateRequest(
        eps_update_type=nas.EpsUpdateType(value=nas.EpsUpdateTypeValue.TA_UPDATING), nas_key_set_identifier=phone.ksi, old_guti=phone.guti))
    reject = await phone.hear(nas.TrackingAreaUpdateReject)
    assert reject.emm_cause == EmmCause.IMPLICITLY_DETACHED
    await phone.be_released()
    assert await world.is_clean()


async def test_attach_abnormal_h_detach_before_attach_complete(world, phone) -> None:
    await phone.begin_attach()
    await phone.receive_accept()
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert await world.is_clean()


async def test_attach_complete_before_the_enbs_response(world, phone) -> None:
    await phone.begin_attach()
    request = await phone.next(s1ap.InitialContextSetupRequest)
    (item,) = request.e_rab_to_be_setup_list_ctxt_su_req
    phone.read(item.nas_pdu)
    phone.complete()
    await asyncio.sleep(0.1)
    phone.enb.send(s1ap.InitialContextSetupResponse(
        e_rab_setup_list_ctxt_su_res=(s1ap.ERABSetupItemCtxtSURes(
            e_rab_id=5, transport_layer_address=s1ap.BitString.of(b"\x7f\0\0\x28"), gtp_teid=b"\0\0\0\x09"),), **phone.ids))
    await world.quiet()
    assert phone.context.is_registered
    assert world.sgw.enb_teids == {5: 9}


# --- what is not offered ---------------------------------------------------------------------------------------------------------


async def test_emergency_attach_is_refused(world, phone) -> None:
    phone.say(phone.attach_request(eps_attach_type=nas.EpsAttachType.EPS_EMERGENCY_ATTACH))
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.IMEI_NOT_ACCEPTED


async def test_tracking_area_that_is_not_served(world, phone) -> None:
    world.enb.tac = 99
    phone.say(phone.attach_request())
    reject, _ = await rejected(phone)
    assert reject.emm_cause == EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA
