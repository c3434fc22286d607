"""Dedicated bearers at the MME, between a scripted SGW and a scripted eNodeB with a phone: what is asked, what is answered, with which cause."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

import pytest

from epc.wire import gtpv2, nas, s1ap
from epc.wire.gtpv2 import Cause, CauseValue
from epc.wire.nas import EsmCause

pytestmark = pytest.mark.virtual_clock
TFT = bytes.fromhex("21 30 0a 02 30 11")
VOICE = gtpv2.BearerQos(
    qci=1, arp=gtpv2.Arp(priority_level=2, pre_emption_capability=True), mbr_uplink_kbps=128, mbr_downlink_kbps=256, gbr_uplink_kbps=64,
    gbr_downlink_kbps=64)
VIDEO = gtpv2.BearerQos(qci=7, arp=gtpv2.Arp(priority_level=5))
ACTIVATE, ACCEPT, REJECT = (
    nas.ActivateDedicatedEpsBearerContextRequest, nas.ActivateDedicatedEpsBearerContextAccept, nas.ActivateDedicatedEpsBearerContextReject)


def s1u(teid: int) -> gtpv2.Fteid:
    return gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S1_U_SGW_GTP_U, teid=teid, ipv4=IPv4Address("127.0.0.30"))


def create(*contexts: tuple[gtpv2.BearerQos, int], linked_ebi: int = 5, pti: int | None = None) -> gtpv2.CreateBearerRequest:
    return gtpv2.CreateBearerRequest(linked_ebi=linked_ebi, pti=pti, bearer_contexts=tuple(
        gtpv2.BearerContextCreateRequested(ebi=0, tft=TFT, bearer_qos=qos, s1u_sgw_fteid=s1u(teid)) for qos, teid in contexts))


def set_up(phone: Any, *ebis: int, failed: tuple[int, ...] = ()) -> None:
    """The eNodeB's answer."""
    phone.enb.send(s1ap.ERABSetupResponse(
        e_rab_setup_list_bearer_su_res=tuple(s1ap.ERABSetupItemBearerSURes(
            e_rab_id=ebi, transport_layer_address=s1ap.BitString.of(b"\x7f\0\0\x28"), gtp_teid=(0x7000 + ebi).to_bytes(4, "big"))
            for ebi in ebis) or None,
        e_rab_failed_to_setup_list_bearer_su_res=tuple(
            s1ap.ERABItem(e_rab_id=ebi, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available")) for ebi in failed) or None,
        **phone.ids))


async def ask(world: Any, message: Any) -> asyncio.Task[Any]:
    """A request of the SGW's, which will be answered some time."""
    task = asyncio.ensure_future(world.sgw.ask(message))
    await asyncio.sleep(0)
    return task


async def with_bearer(world: Any, phone: Any, qos: gtpv2.BearerQos = VIDEO) -> None:
    await phone.attach()
    asked = await ask(world, create((qos, 0x2106)))
    await phone.next(s1ap.ERABSetupRequest)
    set_up(phone, 6)
    phone.say(ACCEPT(eps_bearer_identity=6))
    assert (await asked).cause.is_accepted


def ebis(phone: Any) -> list[int]:
    return sorted(bearer.ebi for bearer in phone.context.session.bearers())


# --- Create Bearer ----------------------------------------------------------------------------------------------------------------


async def test_bearers_are_set_up_and_the_phone_accepts_them(world, phone) -> None:
    await phone.attach()
    asked = await ask(world, create((VOICE, 0x2106), (VIDEO, 0x2107), pti=33))
    request = await phone.next(s1ap.ERABSetupRequest)
    voice, video = request.e_rab_to_be_setup_list_bearer_su_req
    assert (voice.e_rab_id, voice.gtp_teid, video.e_rab_id, video.gtp_teid) == (6, b"\0\0\x21\x06", 7, b"\0\0\x21\x07")
    qos = voice.e_rab_level_qos_parameters
    assert (qos.qci, qos.allocation_retention_priority.priority_level, qos.gbr_qos_information.e_rab_maximum_bitrate_dl) == (1, 2, 256_000)
    assert video.e_rab_level_qos_parameters.gbr_qos_information is None
    activation = phone.read(voice.nas_pdu)
    assert isinstance(activation, ACTIVATE)
    assert (activation.eps_bearer_identity, activation.linked_eps_bearer_identity, activation.procedure_transaction_identity, activation.tft) == (
        6, 5, 33, TFT)
    assert activation.eps_qos == nas.EpsQos(
        qci=1, maximum_bit_rate_uplink_kbps=128, maximum_bit_rate_downlink_kbps=256, guaranteed_bit_rate_uplink_kbps=64,
        guaranteed_bit_rate_downlink_kbps=64)
    assert phone.read(video.nas_pdu).eps_qos == nas.EpsQos(qci=7)
    phone.say(ACCEPT(eps_bearer_identity=7))            # in any order, also before the eNodeB's answer
    set_up(phone, 6, 7)
    phone.say(ACCEPT(eps_bearer_identity=6))
    answer = await asked
    assert answer.cause.value == CauseValue.REQUEST_ACCEPTED
    assert [(context.ebi, context.s1u_sgw_fteid.teid, context.s1u_enb_fteid.teid) for context in answer.bearer_contexts] == [
        (6, 0x2106, 0x7006), (7, 0x2107, 0x7007)]
    assert ebis(phone) == [5, 6, 7]


@pytest.mark.parametrize(("esm_cause", "cause"), [
    (EsmCause.INSUFFICIENT_RESOURCES, CauseValue.NO_RESOURCES_AVAILABLE),
    (EsmCause.SEMANTIC_ERRORS_IN_PACKET_FILTERS, CauseValue.SEMANTIC_ERRORS_IN_PACKET_FILTERS),
    (EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION, CauseValue.SYNTACTIC_ERROR_IN_THE_TFT_OPERATION),
    (EsmCause.INVALID_EPS_BEARER_IDENTITY, CauseValue.CONTEXT_NOT_FOUND),
    (EsmCause.REQUEST_REJECTED_UNSPECIFIED, CauseValue.UE_REFUSES),
])
async def test_refusal_of_the_phone(world, phone, esm_cause, cause) -> None:
    await phone.attach()
    asked = await ask(world, create((VIDEO, 0x2106)))
    await phone.next(s1ap.ERABSetupRequest)
    set_up(phone, 6)
    phone.say(REJECT(eps_bearer_identity=6, esm_cause=esm_cause))
    answer = await asked
    assert answer.cause.value == cause
    [context] = answer.bearer_contexts
    assert (context.ebi, context.cause.value, context.s1u_sgw_fteid.teid) == (0, cause, 0x2106)
    release = await phone.next(s1ap.ERABReleaseCommand)
    assert ([item.e_rab_id for item in release.e_rab_to_be_released_list], release.nas_pdu) == ([6], None)
    phone.enb.send(s1ap.ERABReleaseResponse(**phone.ids))
    await world.quiet()
    assert ebis(phone) == [5]


async def test_one_bearer_of_two(world, phone) -> None:
    await phone.attach()
    asked = await ask(world, create((VOICE, 0x2106), (VIDEO, 0x2107)))
    await phone.next(s1ap.ERABSetupRequest)
    set_up(phone, 7, failed=(6,))
    phone.say(ACCEPT(eps_bearer_identity=7))
    answer = await asked
    assert answer.cause.value == CauseValue.REQUEST_ACCEPTED_PARTIALLY
    assert [context.cause.value for context in answer.bearer_contexts] == [CauseValue.NO_RESOURCES_AVAILABLE, CauseValue.REQUEST_ACCEPTED]
    assert ebis(phone) == [5, 7]


async def test_silent_phone_is_asked_five_times(world, phone) -> None:
    await phone.attach()
    asked = await ask(world, create((VIDEO, 0x2106)))
    await phone.next(s1ap.ERABSetupRequest)
    set_up(phone, 6)
    for _ in range(4):
        assert (await phone.hear(ACTIVATE)).eps_bearer_identity == 6
    await phone.next(s1ap.ERABReleaseCommand)
    phone.enb.send(s1ap.ERABReleaseResponse(**phone.ids))
    await world.quiet()
    assert ebis(phone) == [5]
    asked.cancel()              # the scripted SGW has no patience: it gave up before


@pytest.mark.parametrize(("request_", "cause"), [
    (create((VIDEO, 0x2106), linked_ebi=9), CauseValue.CONTEXT_NOT_FOUND),
    (gtpv2.CreateBearerRequest(linked_ebi=5, bearer_contexts=(gtpv2.BearerContextCreateRequested(ebi=0, tft=TFT, bearer_qos=VIDEO),)),
     CauseValue.CONDITIONAL_IE_MISSING),
    (gtpv2.UpdateBearerRequest(ambr=gtpv2.Ambr(uplink_kbps=1, downlink_kbps=1), bearer_contexts=(gtpv2.BearerContextUpdateRequested(ebi=9),)),
     CauseValue.CONTEXT_NOT_FOUND),
    (gtpv2.DeleteBearerRequest(ebis=(9,)), CauseValue.CONTEXT_NOT_FOUND),
    (gtpv2.DeleteBearerRequest(linked_ebi=9), CauseValue.CONTEXT_NOT_FOUND),
])
async def test_requests_about_what_is_not_there(world, phone, request_, cause) -> None:
    await phone.attach()
    assert (await world.sgw.ask(request_)).cause.value == cause
    assert ebis(phone) == [5]


async def test_request_that_the_detach_overtakes_is_answered(world, phone) -> None:
    await phone.attach()
    asked = await ask(world, create((VIDEO, 0x2106)))
    await phone.next(s1ap.ERABSetupRequest)
    phone.say(phone.detach_request())
    assert (await asked).cause.value == CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS
    heard = [await phone.next(), await phone.next()]
    assert {type(message) for message in heard} == {s1ap.ERABReleaseCommand, s1ap.DownlinkNASTransport}
    phone.enb.send(s1ap.ERABReleaseResponse(**phone.ids))
    await phone.be_released()
    await world.quiet()
    assert await world.is_clean()


# --- Update Bearer ----------------------------------------------------------------------------------------------------------------


def update(ebi: int = 6, *, qos: gtpv2.BearerQos | None = None, tft: bytes | None = None, ambr_kbps: int = 100_000) -> gtpv2.UpdateBearerRequest:
    return gtpv2.UpdateBearerRequest(
        ambr=gtpv2.Ambr(uplink_kbps=ambr_kbps // 2, downlink_kbps=ambr_kbps),
        bearer_contexts=(gtpv2.BearerContextUpdateRequested(ebi=ebi, bearer_qos=qos, tft=tft),))


async def test_filters_alone_go_to_the_phone_alone(world, phone) -> None:
    await with_bearer(world, phone)
    ambr = phone.context.session.pdns[5].ambr
    asked = await ask(world, gtpv2.UpdateBearerRequest(
        ambr=ambr, bearer_contexts=(gtpv2.BearerContextUpdateRequested(ebi=6, tft=b"\xa1\x00"),)))
    change = await phone.hear(nas.ModifyEpsBearerContextRequest)
    assert (change.eps_bearer_identity, change.tft, change.new_eps_qos, change.apn_ambr) == (6, b"\xa1\x00", None, None)
    phone.say(nas.ModifyEpsBearerContextAccept(eps_bearer_identity=6))
    answer = await asked
    assert (answer.cause.value, answer.bearer_contexts[0].ebi) == (CauseValue.REQUEST_ACCEPTED, 6)


async def test_qos_goes_to_the_radio_too(world, phone) -> None:
    await with_bearer(world, phone, VOICE)
    more = gtpv2.BearerQos(qci=1, arp=VOICE.arp, mbr_uplink_kbps=256, mbr_downlink_kbps=256, gbr_uplink_kbps=128, gbr_downlink_kbps=128)
    asked = await ask(world, update(qos=more))
    request = await phone.next(s1ap.ERABModifyRequest)
    [item] = request.e_rab_to_be_modified_list_bearer_mod_req
    assert item.e_rab_level_qos_parameters.gbr_qos_information.e_rab_guaranteed_bitrate_ul == 128_000
    assert phone.read(item.nas_pdu).new_eps_qos.guaranteed_bit_rate_uplink_kbps == 128
    phone.enb.send(s1ap.ERABModifyResponse(e_rab_modify_list_bearer_mod_res=(s1ap.ERABModifyItemBearerModRes(e_rab_id=6),), **phone.ids))
    phone.say(nas.ModifyEpsBearerContextAccept(eps_bearer_identity=6))
    assert (await asked).cause.is_accepted
    assert phone.context.session.pdns[5].bearers[6].qos == more


async def test_bit_rate_of_the_apn_is_told_with_the_default_bearer(world, phone) -> None:
    await phone.attach()
    asked = await ask(world, update(5, ambr_kbps=20_000))
    request = await phone.next(s1ap.ERABModifyRequest)
    assert request.ue_aggregate_maximum_bitrate.ue_aggregate_maximum_bit_rate_dl == 20_000_000
    [item] = request.e_rab_to_be_modified_list_bearer_mod_req
    change = phone.read(item.nas_pdu)
    assert (change.eps_bearer_identity, change.apn_ambr) == (5, nas.ApnAmbr(downlink_kbps=20_000, uplink_kbps=10_000))
    phone.enb.send(s1ap.ERABModifyResponse(e_rab_modify_list_bearer_mod_res=(s1ap.ERABModifyItemBearerModRes(e_rab_id=5),), **phone.ids))
    phone.say(nas.ModifyEpsBearerContextAccept(eps_bearer_identity=5))
    assert (await asked).cause.is_accepted
    assert phone.context.session.pdns[5].ambr.downlink_kbps == 20_000


@pytest.mark.parametrize("who", ["eNodeB", "phone"])
async def test_refused_change_changes_nothing(world, phone, who) -> None:
    await with_bearer(world, phone)
    former = phone.context.session.pdns[5].ambr
    asked = await ask(world, update(qos=gtpv2.BearerQos(qci=8, arp=VIDEO.arp)))
    await phone.next(s1ap.ERABModifyRequest)
    if who == "eNodeB":
        phone.enb.send(s1ap.ERABModifyResponse(e_rab_failed_to_modify_list=(
            s1ap.ERABItem(e_rab_id=6, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available")),), **phone.ids))
    else:
        phone.enb.send(s1ap.ERABModifyResponse(e_rab_modify_list_bearer_mod_res=(s1ap.ERABModifyItemBearerModRes(e_rab_id=6),), **phone.ids))
        phone.say(nas.ModifyEpsBearerContextReject(eps_bearer_identity=6, esm_cause=EsmCause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION))
    answer = await asked
    expected = CauseValue.NO_RESOURCES_AVAILABLE if who == "eNodeB" else CauseValue.SEMANTIC_ERROR_IN_THE_TFT_OPERATION
    assert answer.cause.value == answer.bearer_contexts[0].cause.value == expected
    pdn = phone.context.session.pdns[5]
    assert pdn.bearers[6].qos == VIDEO
    assert pdn.ambr.downlink_kbps in (former.downlink_kbps, 100_000)


# --- Delete Bearer ----------------------------------------------------------------------------------------------------------------


async def test_dedicated_bearer_goes_at_enodeb_and_phone(world, phone) -> None:
    await with_bearer(world, phone)
    asked = await ask(world, gtpv2.DeleteBearerRequest(ebis=(6, 9)))
    command = await phone.next(s1ap.ERABReleaseCommand)
    assert [item.e_rab_id for item in command.e_rab_to_be_released_list] == [6]
    deactivation = phone.read(command.nas_pdu)
    assert (deactivation.eps_bearer_identity, deactivation.esm_cause) == (6, EsmCause.REGULAR_DEACTIVATION)
    phone.enb.send(s1ap.ERABReleaseResponse(**phone.ids))
    phone.say(nas.DeactivateEpsBearerContextAccept(eps_bearer_identity=6))
    answer = await asked
    assert answer.cause.value == CauseValue.REQUEST_ACCEPTED_PARTIALLY
    assert {context.ebi: context.cause.value for context in answer.bearer_contexts} == {
        6: CauseValue.REQUEST_ACCEPTED, 9: CauseValue.CONTEXT_NOT_FOUND}
    assert ebis(phone) == [5]


async def test_idle_phone_is_not_called_for_a_bearer_that_goes(world, phone) -> None:
    await with_bearer(world, phone)
    await phone.go_idle()
    assert (await world.sgw.ask(gtpv2.DeleteBearerRequest(ebis=(6,)))).cause.is_accepted
    assert ebis(phone) == [5]
    phone.request_service()
    setup = await phone.next(s1ap.InitialContextSetupRequest)
    assert [item.e_rab_id for item in setup.e_rab_to_be_setup_list_ctxt_su_req] == [5]


async def test_enodeb_that_lost_a_bearer_starts_its_end(world, phone) -> None:
    await with_bearer(world, phone)
    world.sgw.on[gtpv2.DeleteBearerCommand] = lambda _: gtpv2.DeleteBearerFailureIndication(
        cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND),
        bearer_contexts=(gtpv2.FailedBearerContext(ebi=6, cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND)),))
    phone.enb.send(s1ap.ERABReleaseIndication(e_rab_released_list=(
        s1ap.ERABItem(e_rab_id=6, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available")),), **phone.ids))
    await world.quiet()
    [command] = world.sgw.of(gtpv2.DeleteBearerCommand)
    assert [context.ebi for context in command.bearer_contexts] == [6]
    assert ebis(phone) == [5], "the gateways do not know it either"


# --- what the phone asks for --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cause", "esm_cause"), [
    (CauseValue.SERVICE_DENIED, EsmCause.REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED),
    (CauseValue.SERVICE_NOT_SUPPORTED, EsmCause.SERVICE_OPTION_NOT_SUPPORTED),
    (CauseValue.SYNTACTIC_ERROR_IN_THE_TAD_OPERATION, EsmCause.SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION),
    (CauseValue.NO_RESOURCES_AVAILABLE, EsmCause.INSUFFICIENT_RESOURCES),
    (CauseValue.CONTEXT_NOT_FOUND, EsmCause.REQUEST_REJECTED_BY_SERVING_GW_OR_PDN_GW),
    (None, EsmCause.NETWORK_FAILURE),
])
async def test_refused_bearer_resources(world, phone, cause, esm_cause) -> None:
    await phone.attach()
    world.sgw.on[gtpv2.BearerResourceCommand] = lambda command: None if cause is None else gtpv2.BearerResourceFailureIndication(
        cause=Cause(value=cause), linked_ebi=command.linked_ebi, pti=command.pti)
    phone.say(nas.BearerResourceAllocationRequest(
        procedure_transaction_identity=9, linked_eps_bearer_identity=5, traffic_flow_aggregate=TFT, required_traffic_flow_qos=nas.EpsQos(qci=7)))
    reject = await phone.hear(nas.BearerResourceAllocationReject)
    assert (reject.procedure_transaction_identity, reject.esm_cause) == (9, esm_cause)
    command = world.sgw.of(gtpv2.BearerResourceCommand)[0]
    assert (command.linked_ebi, command.ebi, command.pti, command.tad, command.flow_qos.qci) == (5, None, 9, TFT, 7)


async def test_bearer_resources_of_no_bearer(world, phone) -> None:
    await phone.attach()
    phone.say(nas.BearerResourceAllocationRequest(
        procedure_transaction_identity=9, linked_eps_bearer_identity=6, traffic_flow_aggregate=TFT, required_traffic_flow_qos=nas.EpsQos(qci=7)))
    assert (await phone.hear(nas.BearerResourceAllocationReject)).esm_cause == EsmCause.INVALID_EPS_BEARER_IDENTITY
    phone.say(nas.BearerResourceModificationRequest(
        procedure_transaction_identity=10, eps_bearer_identity_for_packet_filter=6, traffic_flow_aggregate=b"\xa1\x00"))
    reject = await phone.hear(nas.BearerResourceModificationReject)
    assert (reject.procedure_transaction_identity, reject.esm_cause) == (10, EsmCause.INVALID_EPS_BEARER_IDENTITY)
    assert world.sgw.of(gtpv2.BearerResourceCommand) == []
