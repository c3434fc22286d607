"""Authentication and NAS security as the MME sees them: TS 24.301 clauses 5.4.2, 5.4.3 and 4.4."""

from __future__ import annotations

import asyncio

import pytest

from epc.wire import nas, s1ap
from epc.wire.diameter import s6a
from epc.wire.nas import EmmCause

pytestmark = pytest.mark.virtual_clock
AUTS = bytes(range(14))


async def test_authentication_abnormal_b_t3460_expires_five_times(world, phone, seconds) -> None:
    phone.say(phone.attach_request())
    challenges = [await phone.hear(nas.AuthenticationRequest)]
    started = seconds()
    challenges += [await phone.hear(nas.AuthenticationRequest) for _ in range(4)]
    command = await phone.be_released()
    assert 30 <= seconds() - started < 31
    assert len({challenge.rand for challenge in challenges}) == 1
    assert command.cause == s1ap.Cause("nas", "unspecified")
    assert await world.is_clean()
    assert world.failures("attach", "timeout", "T3460") == 1


async def test_res_differs_from_xres(world, phone) -> None:
    phone.say(phone.attach_request())
    await phone.hear(nas.AuthenticationRequest)
    phone.say(nas.AuthenticationResponse(res=b"\xff" * 8))
    await phone.hear(nas.AuthenticationReject)
    command = await phone.be_released()
    assert command.cause == s1ap.Cause("nas", "authentication-failure")
    assert await world.is_clean()
    assert world.failures("attach", "rejected", "ILLEGAL_UE") == 1


@pytest.mark.parametrize("cause", [EmmCause.MAC_FAILURE, EmmCause.NON_EPS_AUTHENTICATION_UNACCEPTABLE])
async def test_authentication_abnormal_c_d_usim_refuses_the_challenge(world, phone, cause) -> None:
    phone.say(phone.attach_request())
    await phone.hear(nas.AuthenticationRequest)
    phone.say(nas.AuthenticationFailure(emm_cause=cause))
    await phone.hear(nas.AuthenticationReject)
    await phone.be_released()
    assert await world.is_clean()
    assert world.failures("attach", "rejected", cause.name) == 1


async def test_authentication_abnormal_c_of_a_phone_known_by_guti_asks_for_the_imsi(world, phone) -> None:
    await phone.attach()
    other = world.phone("001010000000002")
    other.guti = phone.guti                         # a GUTI that this MME gave to somebody else
    other.say(other.attach_request())
    await other.hear(nas.AuthenticationRequest)
    other.say(nas.AuthenticationFailure(emm_cause=EmmCause.MAC_FAILURE))
    await other.hear(nas.IdentityRequest)
    other.say(nas.IdentityResponse(mobile_identity=nas.ImsiIdentity(imsi=other.imsi)))
    await other.meet_challenge()
    await other.take_security_into_use()
    await other.receive_accept()
    other.complete()
    await world.quiet()
    assert other.context.is_registered
    assert phone.context.is_registered


async def test_authentication_abnormal_e_synch_failure_is_resynchronised(world, phone) -> None:
    phone.say(phone.attach_request())
    challenge = await phone.hear(nas.AuthenticationRequest)
    phone.say(nas.AuthenticationFailure(emm_cause=EmmCause.SYNCH_FAILURE, auts=AUTS))
    again = await phone.meet_challenge()
    assert again.rand != challenge.rand
    request = world.hss.of(s6a.AuthenticationInformationRequest)[1]
    assert request.requested_eutran_authentication_info.re_synchronization_info == challenge.rand + AUTS
    await phone.take_security_into_use()
    await phone.receive_accept()
    assert world.mme.metrics.value("resynchronisations_total") == 1


@pytest.mark.parametrize("auts", [AUTS, None])
async def test_authentication_abnormal_e_synch_failure_without_end(world, phone, auts) -> None:
    phone.say(phone.attach_request())
    await phone.hear(nas.AuthenticationRequest)
    phone.say(nas.AuthenticationFailure(emm_cause=EmmCause.SYNCH_FAILURE, auts=AUTS))
    await phone.hear(nas.AuthenticationRequest)
    phone.say(nas.AuthenticationFailure(emm_cause=EmmCause.SYNCH_FAILURE, auts=auts))
    await phone.hear(nas.AuthenticationReject)
    await phone.be_released()
    assert len(world.hss.of(s6a.AuthenticationInformationRequest)) == 2
    assert await world.is_clean()


async def test_identification_abnormal_b_t3470_expires_five_times(world, phone) -> None:
    phone.guti = nas.Guti(plmn="00101", mme_group_id=0x8001, mme_code=2, m_tmsi=1)
    phone.say(phone.attach_request())
    for _ in range(5):
        await phone.hear(nas.IdentityRequest)
    await phone.be_released()
    assert world.failures("attach", "timeout", "T3470") == 1
    assert await world.is_clean()


async def test_security_mode_abnormal_b_t3460_expires_five_times(world, phone) -> None:
    phone.say(phone.attach_request())
    await phone.meet_challenge()
    for _ in range(5):
        await phone.hear(nas.SecurityModeCommand)
    await phone.be_released()
    assert world.failures("attach", "timeout", "T3460") == 1
    assert await world.is_clean()


async def test_security_mode_rejected(world, phone) -> None:
    phone.say(phone.attach_request())
    await phone.meet_challenge()
    await phone.next(s1ap.DownlinkNASTransport)
    phone.say(nas.SecurityModeReject(emm_cause=EmmCause.UE_SECURITY_CAPABILITIES_MISMATCH))
    await phone.be_released()
    assert world.failures("attach", "rejected", "UE_SECURITY_CAPABILITIES_MISMATCH") == 1
    assert await world.is_clean()


async def test_phone_without_common_algorithm(world, phone) -> None:
    phone.capability = nas.UeNetworkCapability(eea=(0,), eia=(0,))
    phone.say(phone.attach_request())
    await phone.meet_challenge()
    assert (await phone.hear(nas.AttachReject)).emm_cause == EmmCause.PROTOCOL_ERROR_UNSPECIFIED
    await phone.be_released()


@pytest.mark.parametrize(("settings", "eea", "eia"), [
    ({"security": {"ciphering": ["EEA1", "EEA0"], "integrity": ["EIA1"]}}, 1, 1),
    ({"security": {"ciphering": ["EEA3", "EEA0"], "integrity": ["EIA3", "EIA2"]}}, 0, 2),
])
async def test_algorithms_are_chosen_by_the_operators_preference(world, phone, settings, eea, eia) -> None:
    phone.say(phone.attach_request())
    await phone.meet_challenge()
    command = await phone.take_security_into_use()
    assert command.selected_nas_security_algorithms == nas.NasSecurityAlgorithms(ciphering=eea, integrity=eia)
    await phone.receive_accept()


@pytest.mark.parametrize("settings", [{"security": {"skip_authentication_of_known_ue": False}}])
async def test_known_phone_is_authenticated_again_when_configured_so(world, phone) -> None:
    await phone.attach()
    phone.disconnect()
    await phone.begin_attach()
    await phone.receive_accept()


async def test_worn_out_nas_count_leads_to_a_new_authentication(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    for security in (phone.security, phone.context.security):
        security._uplink_count = (1 << 24) - 100
    phone.say(phone.attach_request())
    await phone.meet_challenge()
    await phone.take_security_into_use()
    await phone.receive_accept()
    phone.complete()
    await world.quiet()
    assert phone.context.security.uplink_count < 100


async def test_nas_sequence_number_wraps_into_the_overflow_counter(world, phone) -> None:
    await phone.attach()
    for security in (phone.security, phone.context.security):
        security._uplink_count = 0x1FF
    phone.say(nas.EmmStatus(emm_cause=EmmCause.PROTOCOL_ERROR_UNSPECIFIED))
    phone.say(nas.EmmStatus(emm_cause=EmmCause.PROTOCOL_ERROR_UNSPECIFIED))
    await world.quiet()
    assert phone.context.security.uplink_count == 0x201
    assert world.errors("NAS", "EmmStatus 111") == 2


async def test_forged_and_replayed_messages_are_discarded(world, phone) -> None:
    await phone.attach()
    octets = phone.security.protect(nas.encode(nas.EmmStatus(emm_cause=EmmCause.CONGESTION)))
    phone.transmit(octets)
    phone.transmit(octets)
    phone.transmit(octets[:1] + b"\0\0\0\0" + octets[5:])
    await world.quiet()
    assert world.errors("NAS", "EmmStatus 22") == 1
    assert world.errors("NAS", "ReplayError") == 1
    assert world.errors("NAS", "IntegrityError") == 1


async def test_unprotected_message_of_a_secured_phone_is_discarded(world, phone) -> None:
    await phone.attach()
    phone.transmit(nas.encode(nas.DetachRequestFromUe(
        detach_type=nas.DetachType(type_of_detach=1, switch_off=True), nas_key_set_identifier=phone.ksi, eps_mobile_identity=phone.guti)))
    await world.quiet()
    assert phone.context.is_registered
    assert world.errors("NAS", "WireError") == 1


async def test_esm_message_before_security_is_discarded(world, phone) -> None:
    phone.say(phone.attach_request())
    await phone.hear(nas.AuthenticationRequest)
    phone.transmit(nas.encode(nas.PdnConnectivityRequest(procedure_transaction_identity=2, request_type=1, pdn_type=1)))
    await asyncio.sleep(1)
    assert world.errors("NAS", "WireError") == 1


async def test_keys_of_every_context_are_given_to_the_lab(world, phone) -> None:
    await phone.attach()
    assert list(world.mme.nas_keys()) == [(phone.vector.kasme, phone.security.eea, phone.security.eia)]


async def test_authenticated_phone_cannot_become_another_one(world, phone) -> None:
    victim = world.phone("001010000000002")
    await victim.attach()
    await phone.begin_attach()
    await phone.receive_accept()
    phone.say(phone.attach_request(eps_mobile_identity=nas.ImsiIdentity(imsi=victim.imsi)))
    assert (await phone.hear(nas.AttachReject)).emm_cause == EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK
    await phone.be_released()
    assert victim.context.is_registered
    assert len(world.sgw.sessions) == 1


@pytest.mark.parametrize("imsi", ["1", "0010100000000012"])
async def test_imsi_that_is_none(world, phone, imsi) -> None:
    phone.say(phone.attach_request(eps_mobile_identity=nas.ImsiIdentity(imsi=imsi)))
    assert (await phone.hear(nas.AttachReject)).emm_cause == EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED_BY_THE_NETWORK
    assert world.hss.received == []


async def test_exhausted_downlink_nas_count_releases_the_phone(world, phone) -> None:
    await phone.attach()
    await phone.go_idle()
    phone.context.security._downlink_count = 1 << 24
    phone.say(nas.TrackingAreaUpdateRequest(
        eps_update_type=nas.EpsUpdateType(value=nas.EpsUpdateTypeValue.TA_UPDATING), nas_key_set_identifier=phone.ksi, old_guti=phone.guti))
    await phone.be_released()
    assert world.mme.s1_connections == 0
