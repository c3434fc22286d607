"""A further PDN connection at the phone's request: TS 23.401 clause 5.10.2, TS 24.301 clause 6.5.1."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from epc.mme.attach import activation
from epc.mme.initial_context_setup import e_rab_qos, learn_enb_end
from epc.mme.s11 import DEFAULT_BEARER_EBI, LAST_EBI
from epc.mme.subscription import pdn_request, ue_ambr_kbps
from epc.mme.ue_context import PdnConnection, SgwSession
from epc.procedure import Collision, Reject, TimerExpired, procedure
from epc.wire import nas, s1ap
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(
    starts_on=nas.PdnConnectivityRequest, accepts=(nas.ActivateDefaultEpsBearerContextAccept, nas.ActivateDefaultEpsBearerContextReject),
    spec="TS 23.401 clause 5.10.2",
    collisions={
        s1ap.UEContextReleaseRequest: Collision.REPLACE, nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE,
        nas.PdnConnectivityRequest: Collision.QUEUE, nas.PdnDisconnectRequest: Collision.QUEUE})
async def pdn_connectivity(mme: Mme, ue: UeContext, request: nas.PdnConnectivityRequest) -> None:
    pti = request.procedure_transaction_identity
    try:
        async with AsyncExitStack() as undo:
            session = ue.session
            if not ue.is_registered or session is None:
                raise Reject(EmmCause.ESM_FAILURE, "the phone is not registered",
                             inner=EsmCause.MESSAGE_TYPE_NOT_COMPATIBLE_WITH_THE_PROTOCOL_STATE)
            wanted = pdn_request(
                mme, ue, ebi=_free_ebi(session), requested_apn=request.access_point_name, requested_pdn_type=request.pdn_type,
                protocol_configuration_options=request.protocol_configuration_options,
                extended_protocol_configuration_options=request.extended_protocol_configuration_options)
            if any(pdn.apn.lower() == wanted.apn.lower() for pdn in session.pdns.values()):
                raise Reject(EmmCause.ESM_FAILURE, f"{wanted.apn} again", inner=EsmCause.MULTIPLE_PDN_CONNECTIONS_FOR_A_GIVEN_APN_NOT_ALLOWED)

            # 2-6   session at SGW and PGW
            granted = await mme.s11.create_session(ue, wanted)
            undo.push_async_callback(mme.s11.delete_pdn_connection, session, wanted.ebi, ue.known_location.uli)

            # 7-12  bearer at the eNodeB, and the phone accepts it
            await _set_up(mme, ue, granted.pdn, ue.link.protect(activation(granted, pti)))
            answer = await ue.nas.wait(
                nas.ActivateDefaultEpsBearerContextAccept, nas.ActivateDefaultEpsBearerContextReject, timer=mme.timers.t3485)
            if isinstance(answer, nas.ActivateDefaultEpsBearerContextReject):
                raise Reject(answer.esm_cause, "the phone refused the bearer")

            # 13-14 downlink path
            await mme.s11.modify_bearer(session)
            undo.pop_all()
    except TimerExpired:
        raise
    except Reject as error:
        if error.cause == EmmCause.ESM_FAILURE and ue.connection is not None:
            esm_cause = EsmCause.REQUEST_REJECTED_UNSPECIFIED if error.inner is None else error.inner
            ue.nas.send(nas.PdnConnectivityReject(procedure_transaction_identity=pti, esm_cause=esm_cause))
        raise


def _free_ebi(session: SgwSession) -> int:
    used = {bearer.ebi for bearer in session.bearers()}
    for ebi in range(DEFAULT_BEARER_EBI, LAST_EBI + 1):
        if ebi not in used:
            return ebi
    raise Reject(EmmCause.ESM_FAILURE, "all bearer identities are in use", inner=EsmCause.MAXIMUM_NUMBER_OF_EPS_BEARERS_REACHED)


async def _set_up(mme: Mme, ue: UeContext, pdn: PdnConnection, nas_pdu: bytes) -> None:
    connection = ue.link
    bearer = pdn.bearers[pdn.linked_ebi]
    downlink_kbps, uplink_kbps = ue_ambr_kbps(ue)
    try:
        answer = await connection.s1.request(
            s1ap.ERABSetupRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                ue_aggregate_maximum_bitrate=s1ap.UEAggregateMaximumBitrate(
                    ue_aggregate_maximum_bit_rate_dl=min(downlink_kbps * 1000, 10_000_000_000),
                    ue_aggregate_maximum_bit_rate_ul=min(uplink_kbps * 1000, 10_000_000_000)),
                e_rab_to_be_setup_list_bearer_su_req=(s1ap.ERABToBeSetupItemBearerSUReq(
                    e_rab_id=bearer.ebi, e_rab_level_qos_parameters=e_rab_qos(bearer),
                    transport_layer_address=s1ap.BitString.of(bearer.s1u_sgw_address.packed), gtp_teid=bearer.s1u_sgw_teid.to_bytes(4, "big"),
                    nas_pdu=nas_pdu),)),
            s1ap.ERABSetupResponse, timer=mme.timers.s1_response)
    except TimerExpired:
        raise Reject(EmmCause.ESM_FAILURE, "the eNodeB did not answer", inner=EsmCause.NETWORK_FAILURE) from None
    for item in answer.e_rab_setup_list_bearer_su_res or ():
        if item.e_rab_id == bearer.ebi:
            learn_enb_end(bearer, item.transport_layer_address, item.gtp_teid)
            return
    raise Reject(EmmCause.ESM_FAILURE, "the eNodeB refused the bearer", inner=EsmCause.INSUFFICIENT_RESOURCES)
