"""The phone wants its bearers back: TS 23.401 clause 5.3.4.1, TS 24.301 clause 5.6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.authentication import authenticate
from epc.mme.delete_bearer import bearers_lost
from epc.mme.initial_context_setup import initial_context_setup
from epc.mme.security_mode import take_security_into_use
from epc.mme.ue_context_release import UNSPECIFIED, release
from epc.procedure import Collision, Reject, TimerExpired, procedure, step
from epc.wire import nas, s1ap
from epc.wire.nas import EmmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


@procedure(
    starts_on=nas.ServiceRequest, spec="TS 23.401 clause 5.3.4.1",
    collisions={
        s1ap.UEContextReleaseRequest: Collision.REPLACE, nas.DetachRequestFromUe: Collision.REPLACE, nas.AttachRequest: Collision.REPLACE,
        nas.TrackingAreaUpdateRequest: Collision.REPLACE})
async def service_request(mme: Mme, ue: UeContext, request: nas.ServiceRequest) -> None:
    """The message is verified and the connection bound when this begins."""
    connection = ue.link
    try:
        #  1-2  may it
        if not ue.is_registered or ue.session is None:
            raise Reject(EmmCause.IMPLICITLY_DETACHED, "the phone is not registered")

        #  3    new keys, when those in use are nearly worn out (TS 24.301 clause 4.4.3.5)
        if ue.security is not None and ue.security.is_nearly_exhausted():
            await take_security_into_use(mme, ue, await authenticate(mme, ue), hash_mme=None)

        #  4-7  bearers at the eNodeB
        step(1, "initial-context-setup")
        await initial_context_setup(mme, ue)

        #  8-12 downlink path
        step(2, "modify-bearer")
        await mme.s11.modify_bearer(ue.session)
        bearers_lost(mme, ue, [bearer.ebi for bearer in ue.session.bearers() if bearer.s1u_enb_teid is None])
    except (TimerExpired, ConnectionError):
        release(mme, connection, UNSPECIFIED)
        raise
    except Reject as error:
        if error.cause == EmmCause.IMPLICITLY_DETACHED:
            connection.nas.send(nas.ServiceReject(emm_cause=EmmCause.IMPLICITLY_DETACHED))
        elif not connection.has_radio_context:          # with radio bearers the phone takes the request for granted, and is released
            connection.nas.send(nas.ServiceReject(emm_cause=EmmCause.NETWORK_FAILURE))
        release(mme, connection, UNSPECIFIED)
        raise
