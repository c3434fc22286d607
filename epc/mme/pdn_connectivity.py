"""A further PDN connection at the phone's request: TS 23.401 clause 5.10.2, TS 24.301 clause 6.5.1."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from epc.mme.attach import activation
from epc.mme.erab_setup import erab_setup
from epc.mme.subscription import pdn_request
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
            free = session.free_ebis()
            if not free:
                raise Reject(EmmCause.ESM_FAILURE, "all bearer identities are in use", inner=EsmCause.MAXIMUM_NUMBER_OF_EPS_BEARERS_REACHED)
            wanted = await pdn_request(
                mme, ue, ebi=free[0], requested_apn=request.access_point_name, requested_pdn_type=request.pdn_type,
                protocol_configuration_options=request.protocol_configuration_options,
                extended_protocol_configuration_options=request.extended_protocol_configuration_options)
            if any(pdn.apn.lower() == wanted.apn.lower() for pdn in session.pdns.values()):
                raise Reject(EmmCause.ESM_FAILURE, f"{wanted.apn} again", inner=EsmCause.MULTIPLE_PDN_CONNECTIONS_FOR_A_GIVEN_APN_NOT_ALLOWED)

            # 2-6   session at SGW and PGW
            granted = await mme.s11.create_session(ue, wanted)
            undo.push_async_callback(mme.s11.delete_pdn_connection, session, wanted.ebi, ue.known_location.uli)

            # 7-12  bearer at the eNodeB, and the phone accepts it
            bearer = granted.pdn.bearers[granted.pdn.linked_ebi]
            if await erab_setup(mme, ue, [(bearer, ue.link.protect(activation(granted, pti)))]):
                raise Reject(EmmCause.ESM_FAILURE, "the eNodeB refused the bearer", inner=EsmCause.INSUFFICIENT_RESOURCES)
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
