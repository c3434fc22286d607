"""The SGW has packets for an idle phone: TS 23.401 clause 5.3.4.3, TS 29.274 clauses 7.2.11 and 7.2.11.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.mme.paging import page
from epc.peer.gtpc import RequestReceived
from epc.procedure import Collision, TimerExpired, procedure
from epc.wire import gtpv2, nas

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


def downlink_data_notification(mme: Mme, ue: UeContext, request: RequestReceived) -> None:
    """Acknowledge, and page unless the phone is there already or on its way."""
    accepted = gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)
    mme.s11.answer(request, gtpv2.DownlinkDataNotificationAcknowledge(cause=accepted))
    if ue.is_registered and ue.connection is None and ue.slot.running is None:
        ue.slot.start(paging, mme, ue)


@procedure(
    spec="TS 23.401 clause 5.3.4.3",
    collisions={
        nas.ServiceRequest: Collision.QUEUE, nas.TrackingAreaUpdateRequest: Collision.QUEUE, nas.AttachRequest: Collision.REPLACE,
        nas.DetachRequestFromUe: Collision.REPLACE})
async def paging(mme: Mme, ue: UeContext) -> None:
    """A service request that answers the paging waits until this is over."""
    session = ue.session
    try:
        await page(mme, ue)
    except TimerExpired:
        if session is not None and ue.session is session:
            unanswered = gtpv2.Cause(value=gtpv2.CauseValue.UNABLE_TO_PAGE_UE)
            mme.s11.endpoint.notify(session.sgw, session.s11_sgw_teid, gtpv2.DownlinkDataNotificationFailureIndication(cause=unanswered))
        raise
