"""Downlink Data Notification: packets wait for an idle UE, the MME shall page it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from epc.peer.gtpc import RequestReceived
from epc.peer.timer import TimerExpired
from epc.procedure import Reject, procedure
from epc.sgw.context import PdnConnection, UeContext
from epc.wire.gtpv2 import (
    Cause,
    DownlinkDataNotification,
    DownlinkDataNotificationAcknowledge,
    DownlinkDataNotificationFailureIndication,
)

if TYPE_CHECKING:
    from epc.sgw.node import Sgw

_DELAY_UNIT_S = 0.05


@procedure(spec="TS 23.401 clause 5.3.4.3, TS 29.274 clause 7.2.11")
async def downlink_data_notification(sgw: Sgw, connection: PdnConnection, ebi: int, cause: Cause | None = None) -> None:
    """``ue.is_paging`` is set by who starts this."""
    ue = connection.ue
    try:
        if ue.notification_delay_s:             # a Service Request may be on its way: the MME asked to be left in peace that long
            await asyncio.sleep(ue.notification_delay_s)
        bearer = connection.bearers.get(ebi)
        if not sgw.is_established(connection) or bearer is None or bearer.s1u_enb is not None:
            return
        request = DownlinkDataNotification(cause=cause, ebis=(ebi,), arp=bearer.qos.arp)
        packet = await sgw.s11.request(ue.mme, ue.s11_mme_teid, request)
        answer = packet.message
        assert isinstance(answer, DownlinkDataNotificationAcknowledge)
        ue.notification_delay_s = (answer.data_notification_delay or 0) * _DELAY_UNIT_S
        if not answer.cause.is_accepted:
            sgw.rearm_downlink(ue)
            raise Reject(answer.cause.value, "the MME will not page the UE")
    except TimerExpired:
        sgw.rearm_downlink(ue)
        raise
    finally:
        ue.is_paging = False


@procedure(spec="TS 23.401 clause 5.3.4.3, TS 29.274 clause 7.2.11.3", starts_on=DownlinkDataNotificationFailureIndication)
async def downlink_data_notification_failure(sgw: Sgw, ue: UeContext, received: RequestReceived) -> None:
    """The UE did not answer the page: what waits for it is thrown away."""
    sgw.rearm_downlink(ue)
