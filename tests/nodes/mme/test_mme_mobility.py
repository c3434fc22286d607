"""Idle and back, tracking area update, detach, paging: TS 23.401 clauses 5.3.3 to 5.3.8."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from epc.wire import gtpv2, nas, s1ap
from epc.wire.diameter import SupportedFeatures, s6a
from epc.wire.nas import EmmCause

pytestmark = pytest.mark.virtual_clock


def update_request(phone, value=nas.EpsUpdateTypeValue.PERIODIC_UPDATING, *, active: bool = False, **more) -> nas.TrackingAreaUpdateRequest:
    return nas.TrackingAreaUpdateRequest(
        eps_update_type=nas.EpsUpdateType(value=value, active=active), nas_key_set_identifier=phone.ksi, old_guti=phone.guti, **more)


# --- S1 release ------------------------------------------------------------------------------------------------------------------


async def test_inactive_phone_goes_idle_and_the_sgw_forgets_the_enb(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    assert phone.context.connection is None
    assert phone.context.is_registered
    assert world.sgw.enb_teids == {}
    assert sorted(end.label for end in world.mme.tunnels()) == ["t1", "t6", "t7"]
    assert world.mme.s1_connections == 0


async def test_s1_association_lost_leaves_registered_phones_idle(world, phone) -> None:
    await phone.attach()
    phone.enb.association.abort()
    await world.quiet()
    assert phone.context.is_registered
    assert phone.context.connection is None
    assert len(world.sgw.of(gtpv2.ReleaseAccessBearersRequest)) == 1


async def test_silent_enb_does_not_keep_the_connection(world, phone) -> None:
    await phone.attach()
    phone.enb.send(s1ap.UEContextReleaseRequest(cause=s1ap.Cause("radioNetwork", "user-inactivity"), **phone.ids))
    await phone.next(s1ap.UEContextReleaseCommand)
    await world.quiet()
    assert world.mme.s1_connections == 0


# --- service request -------------------------------------------------------------------------------------------------------------


async def test_service_request_brings_the_bearers_back(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.request_service()
    _, message = await phone.accept_context(enb_teid=0x4000)
    await world.quiet()
    assert message is None
    assert world.sgw.enb_teids == {5: 0x4005}
    assert phone.context.connection is not None


async def test_service_request_with_wrong_mac_is_refused_and_changes_nothing(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.transmit(phone.security.protect_service_request()[:2] + b"\0\0")
    assert (await phone.hear(nas.ServiceReject)).emm_cause == EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK
    await phone.be_released()
    assert phone.context.is_registered


async def test_service_request_of_a_phone_that_the_mme_has_detached(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    await asyncio.sleep(3240 + 240 + 1)
    assert not phone.context.is_registered
    phone.request_service()
    assert (await phone.hear(nas.ServiceReject)).emm_cause == EmmCause.IMPLICITLY_DETACHED
    await phone.be_released()
    assert await world.is_clean()


async def test_service_request_when_the_enb_refuses(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.request_service()
    await phone.next(s1ap.InitialContextSetupRequest)
    phone.enb.send(s1ap.InitialContextSetupFailure(cause=s1ap.Cause("radioNetwork", "radio-resources-not-available"), **phone.ids))
    await phone.hear(nas.ServiceReject)
    await phone.be_released()
    assert phone.context.is_registered
    assert len(world.sgw.sessions) == 1


async def test_phone_that_comes_back_over_another_connection_leaves_the_old_one(world, phone) -> None:
    await phone.attach()
    old = phone.ids
    phone.disconnect()
    phone.request_service()
    await phone.accept_context(enb_teid=0x4000)
    await world.quiet()
    assert world.sgw.enb_teids == {5: 0x4005}
    assert old["mme_ue_s1ap_id"] not in {connection.mme_ue_s1ap_id for association in world.mme.associations
                                         for connection in association.connections.values()}


# --- tracking area update --------------------------------------------------------------------------------------------------------


async def test_periodic_update_is_accepted_and_the_phone_released(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    await asyncio.sleep(3240)
    phone.say(update_request(phone, eps_bearer_context_status=(5,)))
    accept = await phone.hear(nas.TrackingAreaUpdateAccept)
    assert accept.eps_update_result == nas.EpsUpdateResult.TA_UPDATED
    assert accept.eps_bearer_context_status == (5,)
    await phone.be_released()
    await asyncio.sleep(3240)
    assert phone.context.is_registered              # the mobile reachable timer began anew


async def test_update_with_active_flag_brings_the_bearers_back(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.say(update_request(phone, nas.EpsUpdateTypeValue.TA_UPDATING, active=True))
    await phone.accept_context(enb_teid=0x5000)
    await phone.hear(nas.TrackingAreaUpdateAccept)
    assert world.sgw.enb_teids == {5: 0x5005}
    assert phone.context.connection is not None


async def test_update_of_an_unknown_phone(world, phone) -> None:
    phone.guti = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=2, m_tmsi=99)
    phone.say(update_request(phone))
    assert (await phone.hear(nas.TrackingAreaUpdateReject)).emm_cause == EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK
    await phone.be_released()
    assert await world.is_clean()


async def test_update_from_an_area_that_is_not_served(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    world.enb.tac = 99
    phone.say(update_request(phone, nas.EpsUpdateTypeValue.TA_UPDATING))
    assert (await phone.hear(nas.TrackingAreaUpdateReject)).emm_cause == EmmCause.TRACKING_AREA_NOT_ALLOWED


async def test_update_without_bearers_ends_the_session(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.say(update_request(phone, eps_bearer_context_status=()))
    assert (await phone.hear(nas.TrackingAreaUpdateReject)).emm_cause == EmmCause.NO_EPS_BEARER_CONTEXT_ACTIVATED
    await phone.be_released()
    assert world.sgw.sessions == {}


async def test_update_after_a_reset_of_the_hss_registers_the_phone_there_again(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    common = {"session_id": "hss;1", "origin_host": phone.context.hss_host, "origin_realm": "epc.mnc001.mcc001.3gppnetwork.org",
              "destination_realm": world.mme.config.origin_realm, "destination_host": world.mme.config.origin_host}
    await world.hss.endpoint.request(s6a.ResetRequest(**common))
    phone.say(update_request(phone))
    await phone.hear(nas.TrackingAreaUpdateAccept)
    assert len(world.hss.of(s6a.UpdateLocationRequest)) == 2


# --- detach ----------------------------------------------------------------------------------------------------------------------


async def test_detach_of_a_connected_phone(world, phone) -> None:
    await phone.attach()
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    command = await phone.be_released()
    assert command.cause == s1ap.Cause("nas", "detach")
    assert await world.is_clean()
    (delete,) = world.sgw.of(gtpv2.DeleteSessionRequest)
    assert delete.linked_ebi == 5
    assert gtpv2.Indication.OI in delete.indication


async def test_detach_of_an_idle_phone(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert await world.is_clean()


async def test_switch_off_gets_no_answer(world, phone) -> None:
    await phone.attach()
    phone.say(phone.detach_request(switch_off=True))
    await phone.be_released()
    assert await world.is_clean()


async def test_detach_when_the_sgw_is_silent(world, phone) -> None:
    await phone.attach()
    world.sgw.on[gtpv2.DeleteSessionRequest] = lambda request: None
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert world.mme.s11.sessions == {}
    assert world.errors("S11", "Delete Session: no answer") == 1


async def test_detach_of_an_unknown_phone_is_accepted(world, phone) -> None:
    phone.guti = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=2, m_tmsi=99)
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert await world.is_clean()


async def test_forged_detach_does_not_detach(world, phone) -> None:
    await phone.attach()
    stranger = world.phone("001010000000002")
    stranger.guti = phone.guti
    stranger.say(stranger.detach_request())
    await stranger.hear(nas.DetachAccept)
    await stranger.be_released()
    assert phone.context.is_registered
    assert len(world.sgw.sessions) == 1


async def test_detach_by_command(world, phone) -> None:
    await phone.attach()
    task = asyncio.ensure_future(world.mme.commands()["detach"](imsi=phone.imsi))
    request = await phone.hear(nas.DetachRequestToUe)
    assert request.detach_type == nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert (await task)["emm"] == "EMM-DEREGISTERED"
    assert await world.is_clean()


async def test_network_detach_abnormal_a_t3422_expires_five_times(world, phone) -> None:
    await phone.attach()
    task = asyncio.ensure_future(world.mme.commands()["detach"](imsi=phone.imsi, reattach="yes"))
    for _ in range(5):
        assert (await phone.hear(nas.DetachRequestToUe)).detach_type == nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED
    await phone.be_released()
    await task
    assert await world.is_clean()


async def test_network_detach_collides_with_the_phones_own(world, phone) -> None:
    await phone.attach()
    task = asyncio.ensure_future(world.mme.commands()["detach"](imsi=phone.imsi))
    await phone.hear(nas.DetachRequestToUe)
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    await task
    assert await world.is_clean()


async def test_commands_refuse_what_makes_no_sense(world, phone) -> None:
    with pytest.raises(LookupError):
        await world.mme.commands()["detach"](imsi="1")
    await phone.attach()
    with pytest.raises(ValueError, match="not idle"):
        await world.mme.commands()["page"](imsi=phone.imsi)
    with pytest.raises(ValueError, match="yes or no"):
        await world.mme.commands()["detach"](imsi=phone.imsi, reattach="perhaps")


async def test_phone_that_is_not_heard_of_is_detached_and_later_purged(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    await asyncio.sleep(3240 + 240 + 1)
    assert await world.is_clean()
    await asyncio.sleep(3600)
    assert world.mme.ues.by_imsi == {}
    assert world.mme.ues.by_m_tmsi == {}
    assert len(world.hss.of(s6a.PurgeUeRequest)) == 1


# --- paging ----------------------------------------------------------------------------------------------------------------------


async def test_downlink_data_pages_the_phone(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    acknowledge = await world.sgw.ask(gtpv2.DownlinkDataNotification(ebis=(5,)))
    assert acknowledge.cause.is_accepted
    paging = await world.enb.next()
    assert isinstance(paging, s1ap.Paging)
    assert paging.ue_paging_id.value.m_tmsi == phone.guti.m_tmsi.to_bytes(4, "big")
    assert paging.ue_identity_index_value == (int(phone.imsi) % 1024, 10)
    phone.request_service()
    await phone.accept_context(enb_teid=0x6000)
    await world.quiet()
    assert world.sgw.enb_teids == {5: 0x6005}
    assert world.mme.metrics.value("procedure_successes_total", procedure="paging") == 1


async def test_paging_without_answer_is_reported_to_the_sgw(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    await world.sgw.ask(gtpv2.DownlinkDataNotification(ebis=(5,)))
    for _ in range(3):
        assert isinstance(await world.enb.next(), s1ap.Paging)
    await world.quiet()
    assert len(world.sgw.of(gtpv2.DownlinkDataNotificationFailureIndication)) == 1
    assert phone.context.is_registered


async def test_downlink_data_for_a_connected_phone_pages_nobody(world, phone) -> None:
    await phone.attach()
    assert (await world.sgw.ask(gtpv2.DownlinkDataNotification(ebis=(5,)))).cause.is_accepted
    await world.quiet()
    assert world.enb.common.empty()


async def test_notification_for_a_session_that_does_not_exist(world) -> None:
    packet = await world.sgw.endpoint.request(world.mme.config.s11.address, 0x999, gtpv2.DownlinkDataNotification(ebis=(5,)))
    assert packet.message.cause.value == gtpv2.CauseValue.CONTEXT_NOT_FOUND


# --- the HSS and the gateways take the initiative --------------------------------------------------------------------------------


def from_hss(world, phone, **more):
    return {"session_id": "hss;7", "origin_host": "hss.epc.mnc001.mcc001.3gppnetwork.org", "origin_realm": "epc.mnc001.mcc001.3gppnetwork.org",
            "destination_realm": world.mme.config.origin_realm, "destination_host": world.mme.config.origin_host, "user_name": phone.imsi} | more


async def test_cancel_location_after_subscription_withdrawal_detaches_the_phone(world, phone) -> None:
    await phone.attach()
    answer = await world.hss.endpoint.request(s6a.CancelLocationRequest(
        cancellation_type=s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL, **from_hss(world, phone)))
    assert answer.message.is_success
    request = await phone.hear(nas.DetachRequestToUe)
    assert (request.detach_type, request.emm_cause) == (nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED, EmmCause.EPS_SERVICES_NOT_ALLOWED)
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()


async def test_cancel_location_of_an_idle_phone_pages_it_first(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    await world.hss.endpoint.request(s6a.CancelLocationRequest(
        cancellation_type=s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL, **from_hss(world, phone)))
    assert isinstance(await world.enb.next(), s1ap.Paging)
    phone.request_service()
    await phone.hear(nas.DetachRequestToUe)
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()


async def test_cancel_location_because_another_mme_serves_the_phone_is_silent(world, phone) -> None:
    await phone.attach()
    await world.hss.endpoint.request(s6a.CancelLocationRequest(
        cancellation_type=s6a.CancellationType.MME_UPDATE_PROCEDURE, **from_hss(world, phone)))
    await phone.be_released()
    assert await world.is_clean()


async def test_cancel_location_of_an_unknown_phone_succeeds(world, phone) -> None:
    answer = await world.hss.endpoint.request(s6a.CancelLocationRequest(
        cancellation_type=s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL, **from_hss(world, phone)))
    assert answer.message.is_success


async def test_insert_subscriber_data_changes_the_subscription_and_tells_the_state(world, phone) -> None:
    await phone.attach()
    answer = await world.hss.endpoint.request(s6a.InsertSubscriberDataRequest(
        subscription_data=s6a.SubscriptionData(msisdn="34600000099"), idr_flags=s6a.IdrFlags.EPS_USER_STATE_REQUEST, **from_hss(world, phone)))
    assert answer.message.is_success
    assert answer.message.eps_user_state.mme_user_state.user_state == s6a.UserState.CONNECTED_REACHABLE_FOR_PAGING
    assert phone.context.subscription.msisdn == "34600000099"
    assert phone.context.subscription.apn_configuration_profile is not None


async def test_features_are_offered_and_answered(world, phone) -> None:
    """TS 29.272 clause 7.3.10: barring always, regional subscription when the configuration has zones."""
    await phone.attach()
    barring = (SupportedFeatures(feature_list_id=1, feature_list=0b111),)
    (request,) = [each for each in world.hss.received if isinstance(each, s6a.UpdateLocationRequest)]
    assert request.supported_features == barring
    for offered, common in (
            ((SupportedFeatures(feature_list_id=2, feature_list=3), SupportedFeatures(feature_list_id=1, feature_list=0xFFFFFFFF)), barring),
            ((SupportedFeatures(feature_list_id=1, feature_list=0x201),), (SupportedFeatures(feature_list_id=1, feature_list=1),)), ((), ())):
        answer = await world.hss.endpoint.request(s6a.InsertSubscriberDataRequest(
            subscription_data=s6a.SubscriptionData(msisdn="34600000099"), supported_features=offered, **from_hss(world, phone)))
        assert answer.message.supported_features == common


@pytest.mark.parametrize("settings", [{"regional": {"zones": [{"code": 7, "tacs": [1]}]}}])
async def test_an_mme_with_zones_offers_regional_subscription(world, phone) -> None:
    await phone.attach()
    (request,) = [each for each in world.hss.received if isinstance(each, s6a.UpdateLocationRequest)]
    assert s6a.features_in(request.supported_features) == 0x207


async def test_insert_subscriber_data_of_an_unknown_phone(world, phone) -> None:
    answer = await world.hss.endpoint.request(s6a.InsertSubscriberDataRequest(
        subscription_data=s6a.SubscriptionData(msisdn="34600000099"), **from_hss(world, phone)))
    assert not answer.message.is_success


@pytest.mark.parametrize(("cause", "detach_type"), [
    (None, nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED),
    (gtpv2.Cause(value=gtpv2.CauseValue.REACTIVATION_REQUESTED), nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED),
])
async def test_pgw_ends_the_only_pdn_connection(world, phone, cause, detach_type) -> None:
    await phone.attach()
    response = await world.sgw.ask(gtpv2.DeleteBearerRequest(linked_ebi=5, cause=cause))
    assert response.cause.is_accepted
    world.sgw.sessions.clear()
    assert (await phone.hear(nas.DetachRequestToUe)).detach_type == detach_type
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()


async def test_restart_counter_goes_with_each_new_session(world, phone) -> None:
    """So that the SGW forgets what it had from before a restart, and not what it makes after it."""
    await phone.attach()
    (request,) = world.sgw.of(gtpv2.CreateSessionRequest)
    assert request.recovery == world.mme.s11.endpoint.restart_counter


async def test_session_in_the_making_survives_the_news_of_the_sgws_restart(world, phone) -> None:
    """The restart counter comes with the very answer that makes the session."""
    await phone.attach()
    other = world.phone("001010000000002")
    create = world.sgw.accept
    world.sgw.on[gtpv2.CreateSessionRequest] = lambda message: replace(create(message), recovery=2)
    world.mme.s11.endpoint.machine.receive(gtpv2.encode(gtpv2.EchoRequest(recovery=1), teid=None, sequence=1), ("127.0.0.20", 2123), 0.0)
    await other.attach()
    assert (await phone.hear(nas.DetachRequestToUe)).detach_type == nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED
    assert [session.imsi for session in world.mme.s11.sessions.values()] == ["001010000000002"]
    assert other.context.session is not None


@pytest.mark.parametrize("age_s", [0, 31])
async def test_restarted_pgw_has_its_phones_attach_anew(world, phone, age_s: float) -> None:
    """A session that is as young as a message may be old can have been made after the restart: the SGW is told that it ends."""
    await phone.attach()
    await asyncio.sleep(age_s)
    notification = gtpv2.PgwRestartNotification(pgw_address=IPv4Address("127.0.0.50"), sgw_address=IPv4Address("127.0.0.20"))
    acknowledge = await world.sgw.ask(notification)
    assert acknowledge.cause.value == gtpv2.CauseValue.REQUEST_ACCEPTED
    world.sgw.sessions.clear()
    assert (await phone.hear(nas.DetachRequestToUe)).detach_type == nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()
    assert len(world.sgw.of(gtpv2.DeleteSessionRequest)) == (0 if age_s else 1)


async def test_restart_of_another_pgw_is_nothing_to_a_phone(world, phone) -> None:
    await phone.attach()
    await world.sgw.ask(gtpv2.PgwRestartNotification(pgw_address=IPv4Address("127.0.0.51"), sgw_address=IPv4Address("127.0.0.20")))
    await world.quiet()
    assert phone.context.is_registered
    assert len(world.mme.s11.sessions) == 1


async def test_restarted_sgw_has_its_phones_attach_anew(world, phone) -> None:
    await phone.attach()
    world.mme.sgw_restarted("127.0.0.20")
    world.sgw.sessions.clear()
    assert (await phone.hear(nas.DetachRequestToUe)).detach_type == nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED
    phone.say(nas.DetachAccept())
    await phone.be_released()
    assert await world.is_clean()
