"""Insert Subscriber Data: TS 29.272 clause 5.2.2.1. The HSS gives the serving MME the subscription as it is now, or asks it for state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.hss.subscription_data import subscription_data
from epc.wire.diameter.s6a import (
    DeleteSubscriberDataAnswer,
    DeleteSubscriberDataRequest,
    DsrFlags,
    IdrFlags,
    InsertSubscriberDataAnswer,
    InsertSubscriberDataRequest,
)

if TYPE_CHECKING:
    from epc.hss.node import Hss

STATE_OF_THE_UE = IdrFlags.EPS_USER_STATE_REQUEST | IdrFlags.EPS_LOCATION_INFORMATION_REQUEST


async def insert_subscriber_data(hss: Hss, imsi: str, *, flags: IdrFlags | None = None) -> InsertSubscriberDataAnswer:
    """Without ``flags`` the subscription goes out, with them only the question that they ask."""
    subscriber = await hss.subscriber(imsi)
    mme = hss.serving_mme(subscriber)
    data = None if flags else replace(subscription_data(subscriber), access_restriction_data=subscriber.access_restriction)     # 0: none any more
    answer = await hss.ask(InsertSubscriberDataRequest(
        session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
        destination_host=mme.host, destination_realm=mme.realm, user_name=subscriber.imsi,
        subscription_data=data, idr_flags=flags), InsertSubscriberDataAnswer)
    gone = DsrFlags(0)          # what an IDR cannot say: TS 29.272 clause 5.2.2.2
    if data is not None and not data.regional_subscription_zone_code:
        gone |= DsrFlags.REGIONAL_SUBSCRIPTION_WITHDRAWAL
    if data is not None and data.apn_oi_replacement is None:
        gone |= DsrFlags.APN_OI_REPLACEMENT
    if gone:
        await hss.ask(DeleteSubscriberDataRequest(
            session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
            destination_host=mme.host, destination_realm=mme.realm, user_name=subscriber.imsi, dsr_flags=gone), DeleteSubscriberDataAnswer)
    return answer
