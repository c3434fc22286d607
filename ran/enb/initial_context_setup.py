"""Initial Context Setup (TS 36.413 clause 8.3.1): AS security, the first bearers, the UE's radio capability."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from epc.procedure import Timer, TimerExpired, procedure, step
from epc.wire.s1ap import (
    BitString,
    Cause,
    ERABSetupItemCtxtSURes,
    InitialContextSetupFailure,
    InitialContextSetupRequest,
    InitialContextSetupResponse,
    UECapabilityInfoIndication,
    UESecurityCapabilities,
)
from ran.enb.bearers import nas_of, radio_bearers, reconfigure, set_up_tunnels
from ran.enb.causes import ALGORITHMS, RADIO_FAILURE, RadioLost, Refusal
from ran.enb.collisions import BEHIND_EACH_OTHER
from ran.enb.identity import transport_layer_address
from ran.enb.radio import AsSecurityMode, Reconfiguration
from ran.enb.ue_context import SecurityModeDone, UeContext

if TYPE_CHECKING:
    from ran.enb.node import Enb


@procedure(spec="TS 36.413 clause 8.3.1", starts_on=InitialContextSetupRequest, collisions=BEHIND_EACH_OTHER)
async def initial_context_setup(enb: Enb, ue: UeContext, request: InitialContextSetupRequest) -> None:
    async with AsyncExitStack() as undo:
        try:
            if enb.behaviour.refuse_context_setup is not None:
                raise Refusal(enb.behaviour.refuse_context_setup)
            step(1, "security")
            await set_up_security(enb, ue, request.security_key, request.ue_security_capabilities)

            step(2, "bearers")
            items = request.e_rab_to_be_setup_list_ctxt_su_req
            undo.callback(enb.user_plane.release_all, ue)
            enb.user_plane.set_aggregate_rate(ue, request.ue_aggregate_maximum_bitrate)
            admitted, failed = set_up_tunnels(enb, ue, items)
            if not admitted:
                raise Refusal(failed[0].cause, "no E-RAB could be set up")
            nas = nas_of(items, admitted)
            await reconfigure(enb, ue, Reconfiguration(set_up=radio_bearers(admitted), nas=nas))
        except Refusal as error:
            refuse(ue, request, error.s1ap_cause)
            raise
        except TimerExpired:
            refuse(ue, request, RADIO_FAILURE)
            raise
        undo.pop_all()

    step(3, "response")
    if request.ue_radio_capability is None and ue.radio.radio_capability:
        ue.send(UECapabilityInfoIndication(
            mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, ue_radio_capability=ue.radio.radio_capability))
    ue.send(InitialContextSetupResponse(
        mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id,
        e_rab_setup_list_ctxt_su_res=tuple(
            ERABSetupItemCtxtSURes(
                e_rab_id=bearer.ebi, transport_layer_address=transport_layer_address(bearer.s1u_enb_teid.address),
                gtp_teid=bearer.s1u_enb_teid.teid.to_bytes(4, "big"))
            for bearer in admitted),
        e_rab_failed_to_setup_list_ctxt_su_res=failed or None))
    enb.watch_inactivity(ue)


async def set_up_security(enb: Enb, ue: UeContext, security_key: BitString, capabilities: UESecurityCapabilities) -> None:
    """Choose AS algorithms and switch them on (TS 33.401 clause 7.2.4.4); the key is KeNB."""
    config = enb.config
    integrity = choose(config.eia, capabilities.integrity_protection_algorithms)
    ciphering = choose(config.eea, capabilities.encryption_algorithms)
    if integrity is None or ciphering is None:
        raise Refusal(ALGORITHMS)
    if not ue.on_air:
        raise RadioLost
    ue.k_enb = security_key.octets
    ue.radio.command_security_mode(AsSecurityMode(k_enb=ue.k_enb, integrity_algorithm=integrity, ciphering_algorithm=ciphering))
    done = await ue.radio_dialogue.wait(SecurityModeDone, timer=Timer("AS security mode", config.timers.radio_s))
    if not done.success:
        raise Refusal(RADIO_FAILURE, "AS security mode failure")
    ue.secured = True


def choose(preferred: tuple[int, ...], capability: BitString) -> int | None:
    """The first wanted algorithm that the UE has. The first bit stands for algorithm 1; every UE has 0 (TS 36.413 clause 9.2.1.40)."""
    for number in preferred:
        if number == 0 or capability.value >> (capability.nbits - number) & 1:
            return number
    return None


def refuse(ue: UeContext, request: InitialContextSetupRequest, cause: Cause) -> None:
    ue.send(InitialContextSetupFailure(mme_ue_s1ap_id=request.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, cause=cause))
