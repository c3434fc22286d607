"""Detach, service request and tracking area update as the UE sees them: TS 24.301 clauses 5.5.2, 5.6.1 and 5.5.3."""

from __future__ import annotations

import asyncio

import pytest

from epc.wire import nas
from epc.wire.nas import EmmCause
from ran.enb.radio import Cell, PagingRecord, ReleaseCause, STmsi, SystemInformation
from ran.ue import EmmState, EmmSubstate, ProcedureRunning, UpdateStatus

pytestmark = pytest.mark.virtual_clock
GUTI = nas.Guti(plmn="00101", mme_group_id=1, mme_code=1, m_tmsi=0xC0000001)


# --- detach -----------------------------------------------------------------------------------------------------------------------

async def test_detach_gives_up_bearers_and_keeps_guti_and_keys(network, attached) -> None:
    detaching = asyncio.ensure_future(attached.detach())
    request = await network.receive(nas.DetachRequestFromUe)
    assert request.detach_type == nas.DetachType(type_of_detach=nas.TypeOfDetachFromUe.EPS_DETACH)
    assert request.eps_mobile_identity == GUTI
    network.send(nas.DetachAccept())
    assert (await detaching).success
    assert attached.state is EmmState.DEREGISTERED
    assert attached.ip is None
    assert attached.guti == GUTI
    assert attached.security is not None


async def test_detach_from_idle_is_integrity_protected(network, idle) -> None:
    detaching = asyncio.ensure_future(idle.detach())
    await network.receive(nas.DetachRequestFromUe)
    assert network.headers[-1] == nas.SecurityHeaderType.INTEGRITY_PROTECTED
    network.send(nas.DetachAccept())
    assert (await detaching).success


async def test_detach_abnormal_c_t3421_five_times_then_locally(network, attached, seconds) -> None:
    begun = seconds()
    result = await attached.detach()
    assert result.success
    assert [round(at - begun) for at, name in network.received if name == "DetachRequestFromUe"] == [0, 15, 30, 45, 60]
    assert round(seconds() - begun) == 75
    assert attached.state is EmmState.DEREGISTERED
    assert network.losses == 1


async def test_detach_abnormal_b_connection_lost(network, attached) -> None:
    detaching = asyncio.ensure_future(attached.detach())
    await network.receive(nas.DetachRequestFromUe)
    network.release()
    assert (await detaching).success
    assert attached.state is EmmState.DEREGISTERED


async def test_detach_abnormal_collision_with_the_networks_detach(network, attached) -> None:
    detaching = asyncio.ensure_future(attached.detach())
    await network.receive(nas.DetachRequestFromUe)
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED))
    await network.receive(nas.DetachAccept)
    assert (await detaching).success
    network.release()
    await asyncio.sleep(1)
    assert network.silent       # no new attach: the UE wanted to go


async def test_switch_off_expects_no_answer(network, attached, seconds) -> None:
    begun = seconds()
    detaching = asyncio.ensure_future(attached.detach(switch_off=True))
    assert (await network.receive(nas.DetachRequestFromUe)).detach_type.switch_off
    network.release()
    assert (await detaching).success
    assert seconds() - begun < 1
    assert attached.state is EmmState.NULL
    assert attached.describe()["timers"] == []
    assert not network.cell.radios


async def test_switch_off_does_not_wait_long_for_the_release(network, attached, seconds) -> None:
    begun = seconds()
    assert (await attached.detach(switch_off=True)).success
    assert round(seconds() - begun) == 5
    with pytest.raises(ProcedureRunning):
        await attached.detach()


async def test_network_detach_with_re_attach(network, attached) -> None:
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED))
    await network.receive(nas.DetachAccept)
    assert attached.state is EmmState.DEREGISTERED
    assert attached.pdn_connections == {}
    network.release()
    await network.serve_attach()
    await asyncio.sleep(0.1)
    assert attached.registered


async def test_network_detach_without_re_attach(network, attached) -> None:
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED))
    await network.receive(nas.DetachAccept)
    network.release()
    await asyncio.sleep(100)
    assert attached.state is EmmState.DEREGISTERED
    assert network.silent


async def test_network_detach_with_a_cause_has_its_consequences(network, attached) -> None:
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED, emm_cause=EmmCause.EPS_SERVICES_NOT_ALLOWED))
    await network.receive(nas.DetachAccept)
    assert not attached.sim.valid
    assert attached.guti is None
    assert attached.substate is EmmSubstate.NO_IMSI


async def test_imsi_detach_by_the_network_leaves_eps_alone(network, attached) -> None:
    network.send(nas.DetachRequestToUe(detach_type=nas.TypeOfDetachToUe.IMSI_DETACH))
    await network.receive(nas.DetachAccept)
    assert attached.registered


# --- service request --------------------------------------------------------------------------------------------------------------

async def test_packet_wakes_an_idle_ue_and_follows_when_the_bearers_are_there(network, idle) -> None:
    idle.send_ip_packet(b"first")
    idle.send_ip_packet(b"second")
    await network.receive(nas.ServiceRequest)
    assert network.establishment[0] == "mo-Data"
    assert network.establishment[1] == STmsi(GUTI.mme_code, GUTI.m_tmsi)
    assert network.packets == []
    network.set_up_context()
    await asyncio.sleep(0.1)
    assert network.packets == [(5, b"first"), (5, b"second")]
    assert network.security_modes == [True, True]
    assert idle.registered


async def test_packets_pass_both_ways_while_connected(network, attached) -> None:
    heard: list[tuple[int, bytes]] = []
    attached.on_ip_packet = lambda ebi, packet: heard.append((ebi, packet))
    attached.send_ip_packet(b"up")
    attached.send_ip_packet(b"nowhere", ebi=6)
    network.radio.deliver_packet(5, b"down")
    assert network.packets == [(5, b"up")]
    assert heard == [(5, b"down")]


async def test_unregistered_ue_drops_packets(network, ue) -> None:
    ue.send_ip_packet(b"lost")
    await asyncio.sleep(0.1)
    assert network.silent


async def test_paging_is_answered(network, idle) -> None:
    network.cell.page(PagingRecord(s_tmsi=STmsi(1, 0xDEAD)))
    network.cell.page(PagingRecord(s_tmsi=STmsi(GUTI.mme_code, GUTI.m_tmsi), domain="cs"))
    await asyncio.sleep(0.1)
    assert network.silent
    network.cell.page(PagingRecord(s_tmsi=STmsi(GUTI.mme_code, GUTI.m_tmsi)))
    await network.receive(nas.ServiceRequest)
    assert network.establishment[0] == "mt-Access"
    network.set_up_context()


async def test_paging_with_imsi_means_that_the_network_forgot(network, idle) -> None:
    network.lose_context()
    network.cell.page(PagingRecord(imsi="001010000000001"))
    request = await network.serve_attach()
    assert request.eps_mobile_identity == nas.ImsiIdentity(imsi="001010000000001")


async def test_service_request_succeeds_with_the_bearers(network, idle) -> None:
    requesting = asyncio.ensure_future(idle.request_service())
    await network.receive(nas.ServiceRequest)
    assert idle.state is EmmState.SERVICE_REQUEST_INITIATED
    network.set_up_context()
    assert (await requesting).success
    assert idle.radio_bearers == {5}


async def test_service_request_abnormal_c_t3417(network, idle, seconds) -> None:
    begun = seconds()
    result = await idle.request_service()
    assert (result.success, result.timer) == (False, "T3417")
    assert round(seconds() - begun) == 5
    assert idle.registered
    await asyncio.sleep(0)
    assert not idle.connected


async def test_service_request_abnormal_b_connection_released(network, idle) -> None:
    requesting = asyncio.ensure_future(idle.request_service())
    await network.receive(nas.ServiceRequest)
    network.release()
    assert not (await requesting).success
    assert idle.registered
    assert "T3412" in idle.describe()["timers"]


@pytest.mark.parametrize("cause", [9, 10, 40])
async def test_service_reject_may_ask_for_a_new_attach(network, idle, cause) -> None:
    requesting = asyncio.ensure_future(idle.request_service())
    await network.receive(nas.ServiceRequest)
    network.lose_context()
    network.send(nas.ServiceReject(emm_cause=EmmCause(cause)))
    assert (await requesting).emm_cause == cause
    assert idle.state is EmmState.DEREGISTERED
    assert idle.ip is None
    network.release()
    if cause == 9:
        request = await network.serve_attach()
        assert request.eps_mobile_identity == nas.ImsiIdentity(imsi="001010000000001")
        await asyncio.sleep(0.1)
        assert idle.registered


async def test_service_reject_of_an_abnormal_cause_keeps_the_registration(network, idle) -> None:
    requesting = asyncio.ensure_future(idle.request_service())
    await network.receive(nas.ServiceRequest)
    network.send(nas.ServiceReject(emm_cause=EmmCause.CONGESTION))
    assert (await requesting).emm_cause == EmmCause.CONGESTION
    assert idle.registered
    assert idle.ip is not None


async def test_service_request_of_a_connected_ue_is_refused_at_once(attached) -> None:
    with pytest.raises(ProcedureRunning):
        await attached.request_service()


# --- tracking area update -----------------------------------------------------------------------------------------------------------

def another_cell(network, tac: int) -> Cell:
    return Cell(network, SystemInformation(plmns=("00101",), tac=tac, cell_identity=tac))


async def test_new_tracking_area_is_reported(network, idle) -> None:
    idle.camp_on(another_cell(network, 2))
    request = await network.receive(nas.TrackingAreaUpdateRequest)
    assert request.eps_update_type == nas.EpsUpdateType(value=nas.EpsUpdateTypeValue.TA_UPDATING)
    assert request.old_guti == GUTI
    assert request.last_visited_registered_tai == nas.Tai(plmn="00101", tac=1)
    assert request.eps_bearer_context_status == (5,)
    assert network.headers[-1] == nas.SecurityHeaderType.INTEGRITY_PROTECTED
    assert network.establishment[1] is None     # the S-TMSI means nothing outside its tracking areas
    new = nas.Guti(plmn="00101", mme_group_id=1, mme_code=1, m_tmsi=9)
    network.send(nas.TrackingAreaUpdateAccept(
        eps_update_result=nas.EpsUpdateResult.TA_UPDATED, guti=new, tai_list=nas.TaiList.of([nas.Tai(plmn="00101", tac=2)])))
    await network.receive(nas.TrackingAreaUpdateComplete)
    network.release()
    await asyncio.sleep(0.1)
    assert idle.registered
    assert idle.guti == new
    assert idle.tai_list == (nas.Tai(plmn="00101", tac=2),)
    assert idle.ip is not None


async def test_cell_of_a_known_tracking_area_is_not_reported(network, idle) -> None:
    idle.camp_on(another_cell(network, 1))
    await asyncio.sleep(0.1)
    assert network.silent


async def test_periodic_update_when_t3412_expires(network, idle, seconds) -> None:
    begun = seconds()
    request = await network.receive(nas.TrackingAreaUpdateRequest, within_s=4000)
    assert round(seconds() - begun) == 3240
    assert request.eps_update_type.value == nas.EpsUpdateTypeValue.PERIODIC_UPDATING
    network.send(nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED, t3412=nas.GprsTimer.of(60)))
    network.release()
    await network.receive(nas.TrackingAreaUpdateRequest, within_s=61)


async def test_update_with_active_flag_brings_the_bearers(network, idle) -> None:
    updating = asyncio.ensure_future(idle.update_tracking_area(active=True))
    assert (await network.receive(nas.TrackingAreaUpdateRequest)).eps_update_type.active
    network.set_up_bearers(nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED))
    assert (await updating).success
    assert idle.radio_bearers == {5}


async def test_bearers_that_the_network_lost_are_dropped(network, idle) -> None:
    updating = asyncio.ensure_future(idle.update_tracking_area())
    await network.receive(nas.TrackingAreaUpdateRequest)
    network.send(nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED, eps_bearer_context_status=()))
    network.release()
    assert (await updating).success
    assert idle.pdn_connections == {}


async def test_update_abnormal_c_t3430_five_times_then_t3402(network, idle, seconds) -> None:
    begun = seconds()
    result = await idle.update_tracking_area()
    assert (result.success, result.timer) == (False, "T3430")
    assert [round(at - begun) for at, name in network.received if name == "TrackingAreaUpdateRequest"] == [0, 25, 50, 75, 100]
    assert (idle.state, idle.substate, idle.update_status) == (
        EmmState.REGISTERED, EmmSubstate.ATTEMPTING_TO_UPDATE, UpdateStatus.EU2_NOT_UPDATED)
    for _ in range(5):
        await network.receive(nas.TrackingAreaUpdateRequest)
    await network.receive(nas.TrackingAreaUpdateRequest, within_s=721)


async def test_update_abnormal_d_other_causes_are_retried(network, idle) -> None:
    updating = asyncio.ensure_future(idle.update_tracking_area())
    await network.receive(nas.TrackingAreaUpdateRequest)
    network.send(nas.TrackingAreaUpdateReject(emm_cause=EmmCause.NETWORK_FAILURE))
    network.release()
    await network.receive(nas.TrackingAreaUpdateRequest, within_s=11)
    network.send(nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED))
    network.release()
    assert (await updating).success


async def test_update_rejected_as_implicitly_detached_leads_to_an_attach(network, idle) -> None:
    updating = asyncio.ensure_future(idle.update_tracking_area())
    await network.receive(nas.TrackingAreaUpdateRequest)
    network.send(nas.TrackingAreaUpdateReject(emm_cause=EmmCause.IMPLICITLY_DETACHED))
    assert (await updating).emm_cause == EmmCause.IMPLICITLY_DETACHED
    network.release()
    await network.serve_attach()


async def test_update_without_release_is_ended_by_the_ue_after_t3440(network, idle, seconds) -> None:
    begun = seconds()
    updating = asyncio.ensure_future(idle.update_tracking_area())
    await network.receive(nas.TrackingAreaUpdateRequest)
    network.send(nas.TrackingAreaUpdateAccept(eps_update_result=nas.EpsUpdateResult.TA_UPDATED))
    assert (await updating).success
    assert round(seconds() - begun) == 10
    assert not idle.connected


async def test_load_balancing_release_makes_the_ue_update(network, attached) -> None:
    network.release(ReleaseCause.LOAD_BALANCING_TAU_REQUIRED)
    await network.receive(nas.TrackingAreaUpdateRequest)


async def test_radio_link_failure_leaves_an_idle_registered_ue(network, attached) -> None:
    attached.lose_radio()
    await asyncio.sleep(0.1)
    assert attached.registered
    assert not attached.connected
    assert attached.radio_bearers == frozenset()
    assert network.losses == 1


async def test_power_loss_sends_nothing(network, attached) -> None:
    attached.lose_power()
    await asyncio.sleep(0.1)
    assert network.silent
    assert attached.state is EmmState.NULL
    assert attached.ip is None
    attached.camp_on(network.cell)
    network.lose_context()
    result, request = await asyncio.gather(attached.attach(), network.serve_attach())
    assert result.success
    assert request.nas_key_set_identifier.value == nas.NO_KEY_IS_AVAILABLE
