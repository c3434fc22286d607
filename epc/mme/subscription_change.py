"""The HSS has changed the subscription of a phone that is registered here: TS 23.401 clauses 5.3.9.2, 5.4.2.2, 5.10.3, TS 29.272 clause 5.2.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.detach import network_initiated_detach
from epc.mme.paging import page
from epc.mme.pdn_disconnect import release_bearer
from epc.mme.roaming import check_area
from epc.mme.subscription import bearer_qos, check_access, choose_apn, gtp_ambr, ue_ambr_kbps
from epc.procedure import Collision, Reject, TimerExpired, procedure, step
from epc.wire import gtpv2, nas, s1ap
from epc.wire.diameter.subscription import ApnConfiguration, SubscriptionData
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import PdnConnection, SgwSession, UeContext


@procedure(
    accepts=(nas.DeactivateEpsBearerContextAccept,), spec="TS 23.401 clauses 5.3.9.2, 5.4.2.2 and 5.10.3",
    collisions={
        nas.ServiceRequest: Collision.IGNORE, nas.TrackingAreaUpdateRequest: Collision.IGNORE,      # the phone answers the paging
        s1ap.UEContextReleaseRequest: Collision.REPLACE, nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE,
        nas.PdnConnectivityRequest: Collision.QUEUE, nas.PdnDisconnectRequest: Collision.QUEUE})
async def subscription_change(mme: Mme, ue: UeContext, old: SubscriptionData) -> None:
    """Carry out what differs between ``old`` and the subscription that the phone has now."""
    session, subscription = ue.session, ue.subscription
    if not ue.is_registered or session is None or subscription is None:
        return

    # may it still be here
    step(1, "access")
    try:
        check_access(subscription)
        check_area(mme, subscription, ue.known_location.tai)
    except Reject as error:
        cause = error.cause if isinstance(error.cause, EmmCause) and error.cause != EmmCause.ESM_FAILURE else None
        ue.slot.start(network_initiated_detach, mme, ue, nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED, cause)
        return

    # APNs that it has no more: TS 23.401 clause 5.10.3; without any the phone is not attached
    step(2, "withdrawn-apns")
    withdrawn = [pdn for pdn in session.pdns.values() if _subscribed(subscription, pdn) is None]
    if len(withdrawn) == len(session.pdns):
        ue.slot.start(network_initiated_detach, mme, ue, nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED, None)
        return
    for pdn in withdrawn:
        await _disconnect(mme, ue, session, pdn)

    # QoS and bit rate of the others: TS 23.401 clause 5.4.2.2; what comes of it the PGW says in an Update Bearer Request
    step(3, "qos")
    for pdn in list(session.pdns.values()):
        was, now = _subscribed(old, pdn), _subscribed(subscription, pdn)
        if was is None or now is None or (was.eps_subscribed_qos_profile, was.ambr) == (now.eps_subscribed_qos_profile, now.ambr):
            continue
        await _modify(mme, session, pdn, now, subscription)

    # the sum of all at the eNodeB
    step(4, "ue-ambr")
    if old.ambr != subscription.ambr and ue.connection is not None and ue.connection.has_radio_context:
        await _tell_enb(mme, ue)


def _subscribed(subscription: SubscriptionData, pdn: PdnConnection) -> ApnConfiguration | None:
    try:
        return choose_apn(subscription, pdn.apn)[1]
    except Reject:
        return None


async def _disconnect(mme: Mme, ue: UeContext, session: SgwSession, pdn: PdnConnection) -> None:
    """Session first, then the phone, which is called if it is idle; one that does not come learns of it when it does (bearer status)."""
    ebis = (pdn.linked_ebi, *[bearer.ebi for bearer in pdn.dedicated])
    await mme.s11.delete_pdn_connection(session, pdn.linked_ebi, ue.known_location.uli)
    try:
        if ue.connection is None:
            await page(mme, ue)
        await release_bearer(mme, ue, ebis, pti=0, cause=EsmCause.REGULAR_DEACTIVATION)
    except (TimerExpired, ConnectionError) as error:
        mme.log.info("pdn_disconnect.unanswered", apn=pdn.apn, reason=str(error))


async def _modify(mme: Mme, session: SgwSession, pdn: PdnConnection, now: ApnConfiguration, subscription: SubscriptionData) -> None:
    command = gtpv2.ModifyBearerCommand(
        ambr=gtp_ambr(now.ambr or subscription.ambr),
        bearer_context=gtpv2.BearerContextModifyCommanded(ebi=pdn.linked_ebi, bearer_qos=bearer_qos(now)))
    try:
        await mme.s11.command(session, command)
    except (Reject, TimerExpired) as error:
        mme.metrics.protocol_error("S11", "Modify Bearer Command refused")
        mme.log.info("subscription_change.refused", apn=pdn.apn, reason=str(error))


async def _tell_enb(mme: Mme, ue: UeContext) -> None:
    downlink, uplink = ue_ambr_kbps(ue)
    connection = ue.link
    try:
        await connection.s1.request(
            s1ap.UEContextModificationRequest(
                mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id,
                ue_aggregate_maximum_bitrate=s1ap.UEAggregateMaximumBitrate(
                    ue_aggregate_maximum_bit_rate_dl=downlink * 1000, ue_aggregate_maximum_bit_rate_ul=uplink * 1000)),
            s1ap.UEContextModificationResponse, s1ap.UEContextModificationFailure, timer=mme.timers.s1_response)
    except TimerExpired:
        mme.log.info("subscription_change.enb_silent")
