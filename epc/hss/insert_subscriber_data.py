"""Insert Subscriber Data: TS 29.272 clause 5.2.2.1. The HSS gives the serving MME the subscription as it is now, or asks it for state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.hss.cancel_location import withdraw
from epc.hss.subscription_data import FEATURES, needed_features, subscription_data
from epc.hss.update_location import is_at_home
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode
from epc.wire.diameter.s6a import (
    DeleteSubscriberDataAnswer,
    DeleteSubscriberDataRequest,
    DsrFlags,
    IdrFlags,
    InsertSubscriberDataAnswer,
    InsertSubscriberDataRequest,
    features_in,
    supported_features,
)

if TYPE_CHECKING:
    from epc.hss.node import Hss

STATE_OF_THE_UE = IdrFlags.EPS_USER_STATE_REQUEST | IdrFlags.EPS_LOCATION_INFORMATION_REQUEST


async def insert_subscriber_data(hss: Hss, imsi: str, *, flags: IdrFlags | None = None) -> InsertSubscriberDataAnswer:
    """Without ``flags`` the subscription goes out, with them only the question that they ask.

    An MME whose answer shows that it cannot enforce what restricts the subscriber loses them (TS 29.272 table 7.3.10/1): raises :class:`Reject`.
    """
    subscriber = await hss.subscriber(imsi)
    mme = hss.serving_mme(subscriber)
    data = None if flags else replace(subscription_data(subscriber), access_restriction_data=subscriber.access_restriction)     # 0: none any more
    answer = await hss.ask(InsertSubscriberDataRequest(
        session_id=hss.s6a.new_session_id(), origin_host=hss.config.origin_host, origin_realm=hss.config.origin_realm,
        destination_host=mme.host, destination_realm=mme.realm, user_name=subscriber.imsi,
        subscription_data=data, idr_flags=flags, supported_features=supported_features(FEATURES)), InsertSubscriberDataAnswer)
    if data is not None:
        abroad = subscriber.visited_plmn is not None and not is_at_home(hss, subscriber, subscriber.visited_plmn)
        lacking = needed_features(subscriber, abroad=abroad) & ~features_in(answer.supported_features)
        if lacking:
            await withdraw(hss, imsi, reattach_required=False)
            raise Reject(
                ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, f"the MME does not support {lacking.name}: {imsi} is withdrawn from it")
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
