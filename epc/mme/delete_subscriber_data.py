"""The HSS withdraws part of a subscription: TS 29.272 clause 5.2.2.2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.mme.subscription_change import subscription_change
from epc.wire.diameter import ExperimentalResultCode, ResultCode, experimental_result, s6a
from epc.wire.diameter.s6a import DsrFlags
from epc.wire.diameter.subscription import ApnConfigurationProfile, SubscriptionData

if TYPE_CHECKING:
    from epc.mme.node import Mme


def delete_subscriber_data(
    mme: Mme, request: s6a.DeleteSubscriberDataRequest, *, origin_host: str, origin_realm: str
) -> s6a.DeleteSubscriberDataAnswer:
    """The answer does not wait for what follows at the phone."""
    ue = mme.ues.by_imsi.get(request.user_name)
    if ue is None:
        return s6a.DeleteSubscriberDataAnswer(
            session_id=request.session_id, origin_host=origin_host, origin_realm=origin_realm,
            experimental_result=experimental_result(ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN))
    if ue.subscription is not None:
        old, ue.subscription = ue.subscription, without(ue.subscription, request.dsr_flags, request.context_identifier)
        if old != ue.subscription:
            ue.slot.start(subscription_change, mme, ue, old)
    return s6a.DeleteSubscriberDataAnswer(
        session_id=request.session_id, origin_host=origin_host, origin_realm=origin_realm, result_code=ResultCode.DIAMETER_SUCCESS)


def without(subscription: SubscriptionData, flags: DsrFlags, context_identifiers: tuple[int, ...]) -> SubscriptionData:
    """``subscription`` less what the flags name."""
    if DsrFlags.REGIONAL_SUBSCRIPTION_WITHDRAWAL in flags:
        subscription = replace(subscription, regional_subscription_zone_code=())
    if DsrFlags.SUBSCRIBED_CHARGING_CHARACTERISTICS_WITHDRAWAL in flags:
        subscription = replace(subscription, tgpp_charging_characteristics=None)
    if DsrFlags.APN_OI_REPLACEMENT in flags:
        subscription = replace(subscription, apn_oi_replacement=None)
    if DsrFlags.SUBSCRIBED_PERIODIC_RAU_TAU_TIMER_WITHDRAWAL in flags:
        subscription = replace(subscription, subscribed_periodic_rau_tau_timer=None)
    if DsrFlags.ROAMING_RESTRICTED_DUE_TO_UNSUPPORTED_FEATURE in flags:
        subscription = replace(subscription, roaming_restricted_due_to_unsupported_feature=None)
    profile = subscription.apn_configuration_profile
    if DsrFlags.COMPLETE_APN_CONFIGURATION_PROFILE_WITHDRAWAL in flags:
        subscription = replace(subscription, apn_configuration_profile=None)
    elif DsrFlags.PDN_SUBSCRIPTION_CONTEXTS_WITHDRAWAL in flags and profile is not None:
        subscription = replace(subscription, apn_configuration_profile=_less(profile, context_identifiers))
    return subscription


def _less(profile: ApnConfigurationProfile, context_identifiers: tuple[int, ...]) -> ApnConfigurationProfile:
    return replace(profile, apn_configuration=tuple([apn for apn in profile.apn_configuration if apn.context_identifier not in context_identifiers]))
