"""The phone leaves ECM-CONNECTED: TS 23.401 clause 5.3.5, TS 36.413 clauses 8.3.2 and 8.3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Collision, TimerExpired, procedure
from epc.wire import nas, s1ap

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.s1_connection import S1Connection
    from epc.mme.ue_context import SgwSession, UeContext

NORMAL_RELEASE = s1ap.Cause("nas", "normal-release")
AUTHENTICATION_FAILURE = s1ap.Cause("nas", "authentication-failure")
DETACH = s1ap.Cause("nas", "detach")
UNSPECIFIED = s1ap.Cause("nas", "unspecified")
# TS 23.401 clause 5.3.5: the phone is well, and its GBR bearers wait for it
_KEEPS_GBR = (s1ap.Cause("radioNetwork", "user-inactivity"), s1ap.Cause("radioNetwork", "cs-fallback-triggered"), DETACH)
SUPERSEDED = s1ap.Cause("radioNetwork", "release-due-to-eutran-generated-reason")


@procedure(spec="TS 36.413 clause 8.3.3")
async def ue_context_release(mme: Mme, connection: S1Connection, cause: s1ap.Cause) -> None:
    """Have the eNodeB forget the phone; its silence changes nothing for us."""
    try:
        await connection.s1.request(
            s1ap.UEContextReleaseCommand(
                ue_s1ap_ids=s1ap.UES1APIDs("uE-S1AP-ID-pair", s1ap.UES1APIDpair(
                    mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id)),
                cause=cause),
            s1ap.UEContextReleaseComplete, timer=mme.timers.s1_response)
    finally:
        connection.close("released")


def release(mme: Mme, connection: S1Connection, cause: s1ap.Cause = NORMAL_RELEASE) -> None:
    """Begin to release ``connection``; the phone counts as ECM-IDLE at once."""
    if connection.is_releasing:
        return
    connection.is_releasing = True
    ue = connection.ue
    connection.unbind("the S1 connection is being released")
    mme.runner.start(ue_context_release, mme, connection, cause)
    if ue is not None:
        mme.entered_idle(ue)


@procedure(
    starts_on=s1ap.UEContextReleaseRequest, spec="TS 23.401 clause 5.3.5",
    collisions={nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE, nas.TrackingAreaUpdateRequest: Collision.REPLACE})
async def s1_release(mme: Mme, ue: UeContext, request: s1ap.UEContextReleaseRequest) -> None:
    """The eNodeB asks for it: the phone is inactive, or its radio is lost."""
    connection = ue.link

    # 2-3  the SGW forgets the eNodeB, and keeps what comes for the phone
    if ue.session is not None and any(bearer.s1u_enb_teid is not None for bearer in ue.session.bearers()):
        try:
            await mme.s11.release_access_bearers(ue.session)
        except TimerExpired:
            mme.log.info("s11.silent", what="release access bearers", sgw=str(ue.session.sgw))

    # 4-6  so does the eNodeB; without radio a guaranteed bit rate cannot be kept
    release(mme, connection, request.cause)
    if request.cause not in _KEEPS_GBR and ue.session is not None:
        mme.bearers_lost(ue, [bearer.ebi for bearer in ue.session.bearers() if bearer.is_gbr])


@procedure(spec="TS 23.401 clause 5.3.5")
async def release_access_bearers(mme: Mme, session: SgwSession) -> None:
    """The eNodeB is gone without a word: only the SGW is left to be told."""
    await mme.s11.release_access_bearers(session)
