"""Authentication, security mode and identity as the UE sees them: TS 24.301 clauses 5.4.2 to 5.4.4 and 4.4."""

from __future__ import annotations

import asyncio

import pytest

from epc.peer.nas_security import hash_mme
from epc.security.eps_aka import verify_auts
from epc.security.milenage import Milenage
from epc.security.nas_algorithms import Eea, Eia
from epc.wire import nas
from epc.wire.nas import EmmCause
from ran.ue import Behaviour, EmmSubstate

pytestmark = pytest.mark.virtual_clock
OTHER = Milenage(bytes(16), bytes(16))


@pytest.fixture
async def attaching(network, ue):
    """The UE has sent its ATTACH REQUEST and waits."""
    task = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    yield task
    ue.lose_power()
    await task


async def finish(network, attaching) -> None:
    """The rest of an attach, after a good authentication."""
    await network.secure()
    network.set_up_context(network.accept())
    assert (await attaching).success


async def test_wrong_key_is_a_mac_failure_and_the_next_challenge_may_succeed(network, ue, attaching) -> None:
    network.challenge(network.vector(algorithm=OTHER))
    failure = await network.receive(nas.AuthenticationFailure)
    assert (failure.emm_cause, failure.auts) == (EmmCause.MAC_FAILURE, None)
    assert "T3418" in ue.describe()["timers"]
    await finish(network, attaching)
    assert "T3418" not in ue.describe()["timers"]


async def test_vector_of_another_access_is_unacceptable(network, ue, attaching) -> None:
    network.challenge(network.vector(amf=b"\0\0"))
    assert (await network.receive(nas.AuthenticationFailure)).emm_cause == EmmCause.NON_EPS_AUTHENTICATION_UNACCEPTABLE
    await finish(network, attaching)


async def test_sequence_number_out_of_range_is_resynchronised(network, ue, attaching) -> None:
    ue.sim.usim.advance_to(1000 << 5 | 1)
    vector = network.vector(sqn=5 << 5 | 1)
    network.challenge(vector)
    failure = await network.receive(nas.AuthenticationFailure)
    assert failure.emm_cause == EmmCause.SYNCH_FAILURE
    assert "T3420" in ue.describe()["timers"]
    network.sqn = verify_auts(network.algorithm, rand=vector.rand, auts=failure.auts)
    assert network.sqn == 1000 << 5 | 1
    await finish(network, attaching)


async def test_authentication_abnormal_network_that_never_proves_itself_is_left(network, ue, attaching) -> None:
    network.challenge(network.vector(algorithm=OTHER))
    await network.receive(nas.AuthenticationFailure)
    result = await attaching
    assert result.timer == "T3410"      # ends before T3418
    assert network.losses == 1


async def test_three_failures_in_a_row_make_the_network_false(network, ue, attaching) -> None:
    for _ in range(2):
        network.challenge(network.vector(algorithm=OTHER))
        await network.receive(nas.AuthenticationFailure)
    network.challenge(network.vector(algorithm=OTHER))
    result = await attaching
    assert "released" in result.reason
    assert network.losses == 1
    assert network.silent


async def test_repeated_challenge_gets_the_same_answer(network, ue, attaching) -> None:
    vector = network.vector()
    network.challenge(vector)
    first = await network.receive(nas.AuthenticationResponse)
    network.challenge(vector)
    assert await network.receive(nas.AuthenticationResponse) == first
    network.command_security(vector.kasme)


async def test_wrong_res_is_sent_on_demand(network, ue, attaching) -> None:
    ue.behaviour = Behaviour(wrong_res=True)
    vector = network.vector()
    network.challenge(vector)
    assert (await network.receive(nas.AuthenticationResponse)).res != vector.xres


async def test_authentication_reject_invalidates_the_usim(network, ue, attaching) -> None:
    network.send(nas.AuthenticationReject())
    result = await attaching
    assert (result.success, result.emm_cause, result.reason) == (False, EmmCause.ILLEGAL_UE, "authentication rejected")
    assert not ue.sim.valid
    assert ue.substate is EmmSubstate.NO_IMSI


@pytest.mark.parametrize(("eea", "eia"), [(Eea.EEA0, Eia.EIA1), (Eea.EEA1, Eia.EIA3), (Eea.EEA3, Eia.EIA2)])
async def test_ue_follows_the_chosen_algorithms(network, ue, attaching, eea, eia) -> None:
    await network.secure(eea=eea, eia=eia)
    assert (ue.security.eea, ue.security.eia) == (eea, eia)
    network.set_up_context(network.accept())
    assert (await attaching).success


async def refused(network) -> EmmCause:
    return (await network.receive(nas.SecurityModeReject)).emm_cause


@pytest.mark.parametrize("replayed", [
    nas.UeSecurityCapability(eea=(0,), eia=(1, 2, 3)),
    nas.UeSecurityCapability(eea=(0, 1, 2, 3), eia=(0, 1, 2, 3)),
    nas.UeSecurityCapability(eea=(0, 1, 2, 3), eia=(1, 2, 3), uea=(0, 1), uia=(1,)),
])
async def test_bidding_down_is_noticed_by_the_replayed_capabilities(network, ue, attaching, replayed) -> None:
    network.capability = replayed
    network.command_security((await network.authenticate()).kasme)
    assert await refused(network) == EmmCause.UE_SECURITY_CAPABILITIES_MISMATCH
    assert ue.security is None


async def test_octets_of_zeros_in_the_replayed_capabilities_are_no_difference(network, ue, attaching) -> None:
    network.capability = nas.UeSecurityCapability(eea=(0, 1, 2, 3), eia=(1, 2, 3), uea=(), uia=())
    await network.secure()
    assert ue.secured


async def test_command_with_other_keys_is_refused(network, ue, attaching) -> None:
    await network.authenticate()
    network.command_security(bytes(32))
    assert await refused(network) == EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED


async def test_command_for_an_unknown_key_set_is_refused(network, ue, attaching) -> None:
    vector = await network.authenticate()
    network.ksi = (network.ksi + 1) % 7
    network.command_security(vector.kasme)
    assert await refused(network) == EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED


async def test_null_integrity_is_refused(network, ue, attaching) -> None:
    vector = await network.authenticate()
    network.command_security(vector.kasme, eea=Eea.EEA0, eia=Eia.EIA0)
    assert await refused(network) == EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED


async def test_ue_refuses_security_mode_on_demand(network, ue, attaching) -> None:
    ue.behaviour = Behaviour(refuse_security_mode=True)
    network.command_security((await network.authenticate()).kasme)
    assert await refused(network) == EmmCause.SECURITY_MODE_REJECTED_UNSPECIFIED


async def test_imeisv_is_given_when_asked_for(network, ue, attaching) -> None:
    complete = await network.secure(imeisv_request=nas.ImeisvRequest.REQUESTED)
    assert complete.imeisv == nas.ImeisvIdentity(imeisv=ue.imeisv)


async def test_request_is_replayed_only_when_it_was_changed_on_the_way(network, ue, attaching) -> None:
    assert (await network.secure(request=ue.last_attach_request)).replayed_nas_message_container is None
    network.command_security(ue.security.kasme, request=b"something else")
    network.candidate = None


async def test_changed_request_is_replayed(network, ue, attaching) -> None:
    complete = await network.secure(request=b"something else")
    assert complete.replayed_nas_message_container == ue.last_attach_request
    assert hash_mme(ue.last_attach_request) != hash_mme(b"something else")


async def test_repeated_command_is_answered_again_with_the_next_count(network, ue, attaching) -> None:
    await network.secure()
    command = nas.SecurityModeCommand(
        selected_nas_security_algorithms=nas.NasSecurityAlgorithms(ciphering=nas.CipheringAlgorithm.EEA2, integrity=nas.IntegrityAlgorithm.EIA2),
        nas_key_set_identifier=nas.NasKeySetIdentifier(value=network.ksi), replayed_ue_security_capabilities=network.capability)
    network.radio.deliver_nas(network.security.protect(nas.encode(command), new_context=True, ciphered=False))
    await network.receive(nas.SecurityModeComplete)
    assert ue.security.uplink_count == 2
    network.set_up_context(network.accept())
    assert (await attaching).success
    assert network.security_modes == [True]     # KeNB comes from the latest SECURITY MODE COMPLETE at both ends


async def test_plain_message_after_security_is_discarded(network, ue, attaching) -> None:
    await network.secure()
    heard: list[str] = []
    ue.on_event = lambda _, name, facts: heard.append(f"{name} {facts.get('reason')}")
    network.send(nas.AuthenticationReject(), plain=True)
    network.send(nas.AttachReject(emm_cause=EmmCause.ILLEGAL_UE), plain=True)
    await asyncio.sleep(0.1)
    assert heard == ["message_discarded AuthenticationReject without integrity protection",
                     "message_discarded AttachReject without integrity protection"]
    assert not attaching.done()


async def test_replayed_downlink_message_is_discarded(network, ue, attaching) -> None:
    await network.secure()
    octets = network.security.protect(nas.encode(nas.IdentityRequest(identity_type=nas.IdentityType.IMEISV)))
    network.radio.deliver_nas(octets)
    network.radio.deliver_nas(octets)
    await network.receive(nas.IdentityResponse)
    await asyncio.sleep(0.1)
    assert network.silent


@pytest.mark.parametrize("octets", [
    b"", b"\x07", b"\x27", b"\x27\0\0\0\0\0\0", b"\x37\0\0\0\0\0\x07\x5d", b"\xff" * 20, b"\x02\x01\xd9", b"\x07\x44"])
async def test_garbage_is_discarded(network, ue, attaching, octets) -> None:
    network.radio.deliver_nas(octets)
    await asyncio.sleep(0.1)
    assert not attaching.done()


async def test_message_that_cannot_be_understood_is_answered_by_status(network, ue, attaching) -> None:
    await network.secure()
    network.radio.deliver_nas(network.security.protect(b"\x07\x7f"))
    assert (await network.receive(nas.EmmStatus)).emm_cause == EmmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED
    network.radio.deliver_nas(network.security.protect(b"\x52\x07\xff"))
    status = await network.receive(nas.EsmStatus)
    assert (status.esm_cause, status.eps_bearer_identity, status.procedure_transaction_identity) == (97, 5, 7)


async def test_message_out_of_place_is_answered_by_status(network, ue, attaching) -> None:
    await network.secure()
    network.send(nas.CsServiceNotification(paging_identity=nas.PagingIdentity.TMSI))
    assert (await network.receive(nas.EmmStatus)).emm_cause == EmmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE
    network.send(nas.Notification(notification_indicator=1))
    assert (await network.receive(nas.EsmStatus)).esm_cause == 98


# --- identity ---------------------------------------------------------------------------------------------------------------------

async def test_imsi_is_given_before_security(network, ue, attaching) -> None:
    network.send(nas.IdentityRequest(identity_type=nas.IdentityType.IMSI))
    assert (await network.receive(nas.IdentityResponse)).mobile_identity == nas.ImsiIdentity(imsi="001010000000001")


async def test_equipment_identity_is_not_given_before_security(network, ue, attaching) -> None:
    network.send(nas.IdentityRequest(identity_type=nas.IdentityType.IMEI))
    await asyncio.sleep(0.1)
    assert network.silent


@pytest.mark.parametrize(("identity_type", "identity"), [
    (nas.IdentityType.IMEI, nas.ImeiIdentity(imei="352099001761480")),
    (nas.IdentityType.IMEISV, nas.ImeisvIdentity(imeisv="3520990017614823")),
    (nas.IdentityType.TMSI, nas.OtherIdentity(octets=b"\xf0")),
])
async def test_identities_after_security(network, ue, attaching, identity_type, identity) -> None:
    await network.secure()
    network.send(nas.IdentityRequest(identity_type=identity_type))
    assert (await network.receive(nas.IdentityResponse)).mobile_identity == identity


async def test_new_guti_is_taken_and_confirmed(network, attached) -> None:
    guti = nas.Guti(plmn="00101", mme_group_id=1, mme_code=1, m_tmsi=7)
    network.send(nas.GutiReallocationCommand(guti=guti, tai_list=nas.TaiList.of([nas.Tai(plmn="00101", tac=1), nas.Tai(plmn="00101", tac=2)])))
    await network.receive(nas.GutiReallocationComplete)
    assert attached.guti == guti
    assert len(attached.tai_list) == 2
    network.send(nas.IdentityRequest(identity_type=nas.IdentityType.TMSI))
    assert (await network.receive(nas.IdentityResponse)).mobile_identity == nas.TmsiIdentity(tmsi=7)


async def test_attach_under_kept_keys_derives_kenb_from_the_request_itself(network, attached) -> None:
    """TS 33.401 clause 7.2.6.2: no SECURITY MODE COMMAND comes between, so the ATTACH REQUEST's own NAS COUNT counts."""
    detaching = asyncio.ensure_future(attached.detach())
    await network.receive(nas.DetachRequestFromUe)
    network.send(nas.DetachAccept())
    network.release()
    await detaching
    again = asyncio.ensure_future(attached.attach(max_attempts=1))
    count = network.security.uplink_count
    await network.receive(nas.AttachRequest)
    network.security.kenb_uplink_count = count
    network.set_up_context(network.accept())
    assert (await again).success
    assert network.security_modes == [True, True]
