"""Tracking area update with the same MME, periodic ones too: TS 23.401 clause 5.3.3, TS 24.301 clause 5.5.3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.authentication import authenticate
from epc.mme.change_notification import report_location
from epc.mme.delete_bearer import bearers_lost
from epc.mme.detach import implicit_detach
from epc.mme.initial_context_setup import initial_context_setup
from epc.mme.roaming import ENDS_REGISTRATION, allowed_tais, check_area
from epc.mme.security_mode import take_security_into_use
from epc.mme.ue_context_release import NORMAL_RELEASE, UNSPECIFIED, release
from epc.procedure import Collision, Reject, TimerExpired, procedure
from epc.wire import nas, s1ap
from epc.wire.nas import EmmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(
    starts_on=nas.TrackingAreaUpdateRequest, accepts=(nas.TrackingAreaUpdateComplete,), spec="TS 23.401 clause 5.3.3.2",
    collisions={
        s1ap.UEContextReleaseRequest: Collision.REPLACE, nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE})
async def tracking_area_update(mme: Mme, ue: UeContext, request: nas.TrackingAreaUpdateRequest) -> None:
    """The message is verified and the connection bound when this begins."""
    connection = ue.link
    try:
        # may it
        if not ue.is_registered:
            raise Reject(EmmCause.IMPLICITLY_DETACHED, "the phone is not registered")       # also abnormal case g) of the attach
        if not mme.serves(ue.known_location.tai):
            raise Reject(EmmCause.TRACKING_AREA_NOT_ALLOWED, f"{ue.known_location.tai} is not served")
        if request.ue_network_capability is not None:
            ue.ue_network_capability = request.ue_network_capability
        if request.ms_network_capability is not None:
            ue.ms_network_capability = request.ms_network_capability
        if request.ue_radio_capability_information_update_needed:
            ue.ue_radio_capability = None

        # new keys, when those in use are nearly worn out (TS 24.301 clause 4.4.3.5)
        if ue.security is not None and ue.security.is_nearly_exhausted():
            await take_security_into_use(mme, ue, await authenticate(mme, ue), hash_mme=None)

        # bearers that the phone no longer has end here too
        if request.eps_bearer_context_status is not None:
            await _drop_inactive(mme, ue, request.eps_bearer_context_status)
        session = ue.session
        if session is None:
            raise Reject(EmmCause.NO_EPS_BEARER_CONTEXT_ACTIVATED, "no PDN connection is left")

        # an HSS that has forgotten the phone is told
        if not ue.location_confirmed_in_hss:
            await mme.s6a.update_location(ue, initial_attach=False)

        # is it in one of the regions that the subscription is for
        if ue.subscription is not None:
            check_area(mme, ue.subscription, ue.known_location.tai)

        # user plane, if the phone asks for it; if not, the SGW must not send to a cell that the phone has left
        if not connection.has_radio_context:
            if request.eps_update_type.active:
                await initial_context_setup(mme, ue)
                await mme.s11.modify_bearer(session)
                bearers_lost(mme, ue, [bearer.ebi for bearer in session.bearers() if bearer.s1u_enb_teid is None])
            elif any(bearer.s1u_enb_teid is not None for bearer in session.bearers()):
                await mme.s11.release_access_bearers(session)

        combined = request.eps_update_type.value not in (nas.EpsUpdateTypeValue.TA_UPDATING, nas.EpsUpdateTypeValue.PERIODIC_UPDATING)
        connection.nas.send(nas.TrackingAreaUpdateAccept(
            eps_update_result=nas.EpsUpdateResult.TA_UPDATED,
            t3412=mme.t3412,
            tai_list=allowed_tais(mme, ue.subscription),
            eps_bearer_context_status=tuple(sorted([bearer.ebi for bearer in session.bearers()])),
            emm_cause=EmmCause.CS_DOMAIN_NOT_AVAILABLE if combined else None,
            t3402=mme.t3402,
            eps_network_feature_support=mme.eps_network_feature_support))
        report_location(mme, ue)
        if not connection.has_radio_context:
            release(mme, connection, NORMAL_RELEASE)
    except (TimerExpired, ConnectionError):
        release(mme, connection, UNSPECIFIED)
        raise
    except Reject as error:
        cause = error.cause
        if cause == EmmCause.ESM_FAILURE:           # barred: #19 is for attaches
            cause = EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN
        connection.nas.send(nas.TrackingAreaUpdateReject(emm_cause=int(cause)))
        if cause in ENDS_REGISTRATION and ue.is_registered:      # the phone has deregistered itself: so does the network
            ue.slot.start(implicit_detach, mme, ue, f"tracking area update rejected: {error}", collision=Collision.QUEUE)
        release(mme, connection, NORMAL_RELEASE)
        raise


async def _drop_inactive(mme: Mme, ue: UeContext, active: tuple[int, ...]) -> None:
    """TS 24.301 clause 5.5.3.2.4: what one side has given up, the other gives up without a word."""
    session = ue.session
    if session is None:
        return
    lost = [linked_ebi for linked_ebi in session.pdns if linked_ebi not in active and linked_ebi in ue.ebis_at_update]
    if len(lost) == len(session.pdns):
        await mme.s11.delete_session(session, ue)
        return
    for linked_ebi in lost:
        await mme.s11.delete_pdn_connection(session, linked_ebi, ue.known_location.uli)
    bearers_lost(mme, ue, [ebi for ebi in ue.ebis_at_update if ebi not in active])
