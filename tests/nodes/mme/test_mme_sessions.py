"""Further PDN connections: TS 23.401 clauses 5.10.2 and 5.10.3, TS 24.301 clauses 6.5.1 and 6.5.2."""

from __future__ import annotations

import pytest

from epc.wire import gtpv2, nas, s1ap
from epc.wire.nas import EsmCause

pytestmark = pytest.mark.virtual_clock


def connectivity(apn: str | None = "ims", pti: int = 7) -> nas.PdnConnectivityRequest:
    return nas.PdnConnectivityRequest(
        procedure_transaction_identity=pti, request_type=nas.RequestType.INITIAL_REQUEST, pdn_type=nas.PdnType.IPV4, access_point_name=apn)


async def connect(world, phone) -> nas.ActivateDefaultEpsBearerContextRequest:
    phone.say(connectivity())
    request = await phone.next(s1ap.ERABSetupRequest)
    (item,) = request.e_rab_to_be_setup_list_bearer_su_req
    activation = phone.read(item.nas_pdu)
    phone.enb.send(s1ap.ERABSetupResponse(
        e_rab_setup_list_bearer_su_res=(s1ap.ERABSetupItemBearerSURes(
            e_rab_id=item.e_rab_id, transport_layer_address=s1ap.BitString.of(b"\x7f\0\0\x28"), gtp_teid=b"\0\0\x70\x06"),), **phone.ids))
    phone.say(nas.ActivateDefaultEpsBearerContextAccept(eps_bearer_identity=activation.eps_bearer_identity))
    await world.quiet()
    return activation


async def test_second_pdn_connection(world, phone) -> None:
    await phone.attach()
    activation = await connect(world, phone)
    assert (activation.eps_bearer_identity, activation.procedure_transaction_identity, activation.access_point_name) == (6, 7, "ims")
    first, second = world.sgw.of(gtpv2.CreateSessionRequest)
    assert first.sender_fteid == second.sender_fteid            # one S11 tunnel a phone
    assert world.sgw.enb_teids == {5: 0x3005, 6: 0x7006}
    assert len(world.sgw.sessions) == 1


async def test_both_pdn_connections_end_with_the_detach(world, phone) -> None:
    await phone.attach()
    await connect(world, phone)
    phone.say(phone.detach_request())
    await phone.hear(nas.DetachAccept)
    await phone.be_released()
    assert [delete.linked_ebi for delete in world.sgw.of(gtpv2.DeleteSessionRequest)] == [5, 6]
    assert world.mme.s11.sessions == {}


async def test_pdn_disconnect(world, phone) -> None:
    await phone.attach()
    await connect(world, phone)
    phone.say(nas.PdnDisconnectRequest(procedure_transaction_identity=8, linked_eps_bearer_identity=6))
    command = await phone.next(s1ap.ERABReleaseCommand)
    deactivation = phone.read(command.nas_pdu)
    assert (deactivation.eps_bearer_identity, deactivation.procedure_transaction_identity) == (6, 8)
    phone.enb.send(s1ap.ERABReleaseResponse(**phone.ids))
    phone.say(nas.DeactivateEpsBearerContextAccept(eps_bearer_identity=6))
    await world.quiet()
    assert list(phone.context.session.pdns) == [5]
    assert [delete.linked_ebi for delete in world.sgw.of(gtpv2.DeleteSessionRequest)] == [6]


async def test_last_pdn_connection_stays(world, phone) -> None:
    await phone.attach()
    phone.say(nas.PdnDisconnectRequest(procedure_transaction_identity=8, linked_eps_bearer_identity=5))
    assert (await phone.hear(nas.PdnDisconnectReject)).esm_cause == EsmCause.LAST_PDN_DISCONNECTION_NOT_ALLOWED


@pytest.mark.parametrize(("apn", "cause"), [
    ("unheard-of", EsmCause.MISSING_OR_UNKNOWN_APN),
    ("internet", EsmCause.MULTIPLE_PDN_CONNECTIONS_FOR_A_GIVEN_APN_NOT_ALLOWED),
])
async def test_pdn_connectivity_refused(world, phone, apn, cause) -> None:
    await phone.attach()
    phone.say(connectivity(apn))
    reject = await phone.hear(nas.PdnConnectivityReject)
    assert (reject.esm_cause, reject.procedure_transaction_identity) == (cause, 7)
    await world.quiet()
    assert phone.context.is_registered


async def test_enb_refuses_the_second_bearer(world, phone) -> None:
    await phone.attach()
    phone.say(connectivity())
    await phone.next(s1ap.ERABSetupRequest)
    phone.enb.send(s1ap.ERABSetupResponse(
        e_rab_failed_to_setup_list_bearer_su_res=(s1ap.ERABItem(
            e_rab_id=6, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available")),), **phone.ids))
    assert (await phone.hear(nas.PdnConnectivityReject)).esm_cause == EsmCause.INSUFFICIENT_RESOURCES
    await world.quiet()
    assert list(phone.context.session.pdns) == [5]
    assert [delete.linked_ebi for delete in world.sgw.of(gtpv2.DeleteSessionRequest)] == [6]


async def test_malformed_esm_message_is_answered_by_the_procedures_reject(world, phone) -> None:
    await phone.attach()
    phone.transmit(phone.security.protect(b"\x02\x0b\xd0"))
    reject = await phone.hear(nas.PdnConnectivityReject)
    assert (reject.esm_cause, reject.procedure_transaction_identity) == (EsmCause.INVALID_MANDATORY_INFORMATION, 11)


async def test_unknown_messages_are_answered_by_a_status(world, phone) -> None:
    await phone.attach()
    phone.transmit(phone.security.protect(b"\x02\x0b\xff"))
    assert (await phone.hear(nas.EsmStatus)).esm_cause == EsmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED
    phone.transmit(phone.security.protect(b"\x07\x7f"))
    assert (await phone.hear(nas.EmmStatus)).emm_cause == nas.EmmCause.MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED
    phone.say(nas.GutiReallocationComplete())
    assert (await phone.hear(nas.EmmStatus)).emm_cause == nas.EmmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE
