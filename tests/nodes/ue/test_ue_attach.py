"""Attach as the UE sees it: TS 24.301 clause 5.5.1.2, abnormal cases of clause 5.5.1.2.6."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from epc.procedure import Outcome
from epc.wire import nas
from epc.wire.nas import EmmCause, EsmCause
from ran.ue import Behaviour, EmmState, EmmSubstate, ProcedureRunning, UpdateStatus

pytestmark = pytest.mark.virtual_clock


def names(network) -> list[str]:
    return [name for _, name in network.received]


async def test_attach_registers_with_address_guti_and_bearer(network, ue, seconds) -> None:
    result, request = await asyncio.gather(ue.attach(), network.serve_attach())
    assert result.success
    assert (result.ip, result.ebi, result.apn, result.guti, result.attempts) == (IPv4Address("10.45.0.2"), 5, "internet", ue.guti, 1)
    assert ue.registered
    assert ue.ip == IPv4Address("10.45.0.2")
    assert ue.pdn_connections[5].dns_servers == (IPv4Address("192.0.2.53"),)
    assert ue.pdn_connections[5].mtu_octets == 1400
    assert request.eps_mobile_identity == nas.ImsiIdentity(imsi="001010000000001")
    assert request.nas_key_set_identifier.value == nas.NO_KEY_IS_AVAILABLE
    assert names(network) == ["AttachRequest", "AuthenticationResponse", "SecurityModeComplete", "AttachComplete"]
    assert network.headers == [0, 0, 4, 2]
    assert seconds() < 1


async def test_access_stratum_uses_the_key_of_the_security_mode_complete(network, attached) -> None:
    assert network.security_modes == [True]
    assert network.reconfigurations == [True]


async def test_idle_ue_holds_no_task(network, idle) -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(idle.runner) == 0
    assert idle.describe()["timers"] == ["T3412", "T3416"]


async def test_apn_is_sent_ciphered_only(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach("ims"))
    request = await network.receive(nas.AttachRequest)
    pdn = nas.decode(request.esm_message_container)
    assert pdn.esm_information_transfer_flag == nas.EsmInformationTransferFlag.REQUIRED
    assert pdn.access_point_name is None
    await network.secure()
    network.send(nas.EsmInformationRequest(procedure_transaction_identity=pdn.procedure_transaction_identity))
    information = await network.receive(nas.EsmInformationResponse)
    assert (information.access_point_name, information.procedure_transaction_identity) == ("ims", pdn.procedure_transaction_identity)
    network.set_up_context(network.accept(esm=network.default_bearer(apn="ims")))
    assert (await attaching).apn == "ims"


async def test_next_attach_brings_guti_and_is_protected_by_the_old_context(network, attached) -> None:
    detaching = asyncio.ensure_future(attached.detach())
    await network.receive(nas.DetachRequestFromUe)
    network.send(nas.DetachAccept())
    assert (await detaching).success
    network.release()
    result, request = await asyncio.gather(attached.attach(), network.serve_attach(guti=None))
    assert result.success
    assert request.eps_mobile_identity == result.guti
    assert request.nas_key_set_identifier.value == network.security.ksi
    assert network.headers[-2:] == [1, 2]       # the request is integrity protected but not ciphered
    assert network.establishment[2] == (result.guti.plmn, result.guti.mme_group_id, result.guti.mme_code)


async def test_attach_accept_that_is_repeated_is_confirmed_again(network, attached) -> None:
    network.send(network.accept())
    await network.receive(nas.AttachComplete)
    assert attached.registered


async def test_attach_of_a_registered_ue_is_refused_at_once(attached) -> None:
    with pytest.raises(ProcedureRunning, match=f"^IMSI {attached.sim.imsi} cannot attach: it is EMM-REGISTERED$"):
        await attached.attach()


async def test_attach_abnormal_b_connection_released_before_accept(network, ue, seconds) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    network.release()
    await network.serve_attach()
    result = await attaching
    assert result.success
    assert result.attempts == 2
    assert 10 <= seconds() < 11         # T3411


async def test_attach_abnormal_b_rrc_connection_rejected(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    network.radio.reject(5)
    result = await attaching
    assert not result.success
    assert "rejected" in result.reason
    assert (ue.state, ue.substate) == (EmmState.DEREGISTERED, EmmSubstate.ATTEMPTING_TO_ATTACH)


async def test_attach_abnormal_c_t3410_five_times_then_t3402(network, ue, seconds) -> None:
    result = await ue.attach()
    assert (result.success, result.timer, result.attempts) == (False, "T3410", 5)
    assert [round(at) for at, _ in network.received] == [0, 25, 50, 75, 100]        # T3410 15 s, then T3411 10 s
    assert network.losses == 5
    assert ue.describe()["timers"] == ["T3402"]
    assert ue.update_status is UpdateStatus.EU2_NOT_UPDATED
    for _ in range(5):
        await network.receive(nas.AttachRequest)
    # T3402: the UE begins again by itself
    await network.serve_attach()
    await asyncio.sleep(0.1)
    assert ue.registered
    assert 115 + 720 <= seconds() < 115 + 722


async def test_attach_abnormal_d_other_causes_are_retried(network, ue, seconds) -> None:
    async def reject() -> None:
        for _ in range(5):
            await network.receive(nas.AttachRequest)
            network.send(nas.AttachReject(emm_cause=EmmCause.NETWORK_FAILURE))
            network.release()

    result, _ = await asyncio.gather(ue.attach(), reject())
    assert (result.emm_cause, result.attempts) == (EmmCause.NETWORK_FAILURE, 5)
    assert [round(at) for at, _ in network.received] == [0, 10, 20, 30, 40]


async def test_caller_may_limit_the_attempts(network, ue, seconds) -> None:
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    network.send(nas.AttachReject(emm_cause=EmmCause.NETWORK_FAILURE))
    result = await attaching
    assert (result.emm_cause, result.attempts) == (EmmCause.NETWORK_FAILURE, 1)
    assert seconds() < 1
    assert ue.describe()["timers"] == []


@pytest.mark.parametrize("cause", [EmmCause.SEMANTICALLY_INCORRECT_MESSAGE, EmmCause.PROTOCOL_ERROR_UNSPECIFIED])
async def test_attach_abnormal_d_protocol_errors_are_not_retried_before_t3402(network, ue, cause) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    network.send(nas.AttachReject(emm_cause=cause, t3402=nas.GprsTimer.of(60)))
    network.release()
    result = await attaching
    assert (result.emm_cause, result.attempts) == (cause, 1)
    await network.receive(nas.AttachRequest, within_s=61)


async def reject_first_attach(network, ue, reject: nas.AttachReject):
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    network.send(reject)
    network.release()
    return await attaching


@pytest.mark.parametrize("cause", [3, 6, 7, 8])
async def test_illegal_subscriber_or_equipment_invalidates_the_usim(network, ue, cause) -> None:
    result = await reject_first_attach(network, ue, nas.AttachReject(emm_cause=EmmCause(cause)))
    assert (result.success, result.emm_cause, result.attempts) == (False, cause, 1)
    assert (ue.state, ue.substate, ue.update_status) == (
        EmmState.DEREGISTERED, EmmSubstate.NO_IMSI, UpdateStatus.EU3_ROAMING_NOT_ALLOWED)
    assert not ue.sim.valid
    again = await ue.attach()
    assert not again.success
    assert "invalid" in again.reason
    assert network.silent
    await ue.detach(switch_off=True)
    assert ue.sim.valid


@pytest.mark.parametrize(("cause", "substate"), [
    (11, EmmSubstate.PLMN_SEARCH), (14, EmmSubstate.PLMN_SEARCH), (35, EmmSubstate.PLMN_SEARCH), (12, EmmSubstate.LIMITED_SERVICE),
    (13, EmmSubstate.LIMITED_SERVICE), (15, EmmSubstate.LIMITED_SERVICE)])
async def test_forbidden_networks_and_areas_are_remembered(network, ue, cause, substate) -> None:
    result = await reject_first_attach(network, ue, nas.AttachReject(emm_cause=EmmCause(cause)))
    assert (result.emm_cause, result.attempts) == (cause, 1)
    assert ue.substate is substate
    assert ue.update_status is UpdateStatus.EU3_ROAMING_NOT_ALLOWED
    if substate is EmmSubstate.PLMN_SEARCH:
        assert (ue.forbidden_plmns, ue.forbidden_plmns_for_eps) == ((set(), {"00101"}) if cause == 14 else ({"00101"}, set()))
    else:
        here = {nas.Tai(plmn="00101", tac=1)}
        assert (ue.forbidden_tais_for_region, ue.forbidden_tais_for_roaming) == ((here, set()) if cause == 12 else (set(), here))
    assert ue.sim.valid


async def test_unknown_apn_is_reported_with_both_causes(network, ue) -> None:
    inner = nas.PdnConnectivityReject(procedure_transaction_identity=1, esm_cause=EsmCause.MISSING_OR_UNKNOWN_APN)
    result = await reject_first_attach(network, ue, nas.AttachReject(emm_cause=EmmCause.ESM_FAILURE, esm_message_container=nas.encode(inner)))
    assert (result.emm_cause, result.esm_cause, result.attempts) == (EmmCause.ESM_FAILURE, EsmCause.MISSING_OR_UNKNOWN_APN, 1)
    assert "MISSING_OR_UNKNOWN_APN" in result.reason


async def test_congestion_waits_for_t3346_and_attaches_by_itself(network, ue, seconds) -> None:
    result = await reject_first_attach(network, ue, nas.AttachReject(emm_cause=EmmCause.CONGESTION, t3346=nas.GprsTimer.of(120)))
    assert (result.emm_cause, result.attempts) == (EmmCause.CONGESTION, 1)
    await network.serve_attach()
    await asyncio.sleep(0.1)
    assert ue.registered
    assert 120 <= seconds() < 121


async def test_reject_because_of_closed_subscriber_group_needs_integrity(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    network.send(nas.AttachReject(emm_cause=EmmCause.NOT_AUTHORIZED_FOR_THIS_CSG))
    await network.serve_attach()        # after T3410 and T3411: the reject was discarded
    assert (await attaching).attempts == 2


async def test_attach_abnormal_f_detach_wanted_during_attach(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    detaching = asyncio.ensure_future(ue.detach())
    await network.receive(nas.DetachRequestFromUe)
    assert "aborted" in (await attaching).reason
    network.send(nas.DetachAccept())
    assert (await detaching).success
    assert ue.state is EmmState.DEREGISTERED


async def test_attach_abnormal_g_network_detaches_during_attach(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    await network.secure()
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED))
    await network.receive(nas.DetachAccept)
    assert not (await attaching).success
    assert ue.state is EmmState.DEREGISTERED


async def test_attach_abnormal_g_detach_that_wants_an_attach_is_ignored_during_attach(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach())
    await network.receive(nas.AttachRequest)
    await network.secure()
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED))
    network.set_up_context(network.accept())
    assert (await attaching).success


async def test_accept_without_a_usable_bearer_is_an_error_of_the_network(network, ue) -> None:
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    await network.secure()
    network.set_up_context(network.accept(esm=network.default_bearer(ebi=3)))
    assert (await network.receive(nas.EmmStatus)).emm_cause == EmmCause.INVALID_MANDATORY_INFORMATION
    assert not (await attaching).success
    assert ue.pdn_connections == {}


async def test_ue_that_refuses_radio_bearers_never_sees_the_accept(network, ue) -> None:
    ue.behaviour = Behaviour(refuse_radio_bearers=True)
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    await network.secure()
    network.set_up_context(network.accept())
    result = await attaching
    assert result.timer == "T3410"
    assert network.reconfigurations == [False]


async def test_ue_with_another_kenb_refuses_access_stratum_security(network, ue) -> None:
    ue.behaviour = Behaviour(refuse_as_security=True)
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    await network.secure()
    network.set_up_context()
    await attaching
    assert network.security_modes == [False]


@pytest.mark.parametrize("message", [nas.AuthenticationRequest, nas.SecurityModeCommand, nas.IdentityRequest, nas.AttachAccept])
async def test_silent_ue_does_not_answer(network, ue, message) -> None:
    ue.behaviour = Behaviour(silent_on=frozenset({message}))
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    if message is nas.IdentityRequest:
        network.send(nas.IdentityRequest(identity_type=nas.IdentityType.IMSI))
    elif message is nas.AuthenticationRequest:
        network.challenge(network.vector())
    elif message is nas.SecurityModeCommand:
        network.command_security((await network.authenticate()).kasme)
    else:
        await network.secure()
        network.set_up_context(network.accept())
    assert (await attaching).timer == "T3410"
    assert network.silent


async def test_intercepting_scenario_may_send_a_second_attach_request(network, ue) -> None:
    def again(message: nas.NasMessage) -> bool:
        if isinstance(message, nas.SecurityModeCommand):
            ue.send_emm(nas.decode(ue.last_attach_request))
            return True
        return False

    ue.behaviour = Behaviour(intercept=again)
    attaching = asyncio.ensure_future(ue.attach(max_attempts=1))
    await network.receive(nas.AttachRequest)
    network.command_security((await network.authenticate()).kasme)
    await network.receive(nas.AttachRequest)
    ue.lose_power()
    assert not (await attaching).success


async def test_outcome_of_every_attach_is_counted(network, ue) -> None:
    finished: list[tuple[str, Outcome, str]] = []

    class Counter:
        def procedure_started(self, name: str) -> None: ...
        def step_finished(self, name: str, step: str, duration_s: float) -> None: ...
        def procedure_finished(self, name: str, outcome: Outcome, cause: str, duration_s: float) -> None:
            finished.append((name, outcome, cause))

    ue.runner._observer = Counter()
    await reject_first_attach(network, ue, nas.AttachReject(emm_cause=EmmCause.PLMN_NOT_ALLOWED))
    await asyncio.gather(ue.attach(), network.serve_attach())
    await asyncio.sleep(0)
    assert finished == [("attach", Outcome.REJECTED, "PLMN_NOT_ALLOWED"), ("attach", Outcome.SUCCESS, "")]


async def test_next_attempt_may_follow_at_once(network, ue) -> None:
    """Whoever was told how an attach ended finds the UE ready for the next one."""
    async def refused_then_served():
        refused = await ue.attach(max_attempts=1)
        return refused, await ue.attach(max_attempts=1)

    attempts = asyncio.ensure_future(refused_then_served())
    await network.receive(nas.AttachRequest)
    network.send(nas.AttachReject(emm_cause=EmmCause.NETWORK_FAILURE))
    network.release()
    await network.serve_attach()
    refused, served = await attempts
    assert refused.emm_cause == EmmCause.NETWORK_FAILURE
    assert served.success
