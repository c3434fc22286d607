"""The HSS changes a subscription or asks for a phone's state, or has lost what it knew: TS 29.272 clauses 5.2.2.1 and 5.2.4.1."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from epc.mme.subscription_change import subscription_change
from epc.wire.diameter import ExperimentalResultCode, RatType, ResultCode, experimental_result, s6a
from epc.wire.diameter.subscription import (
    AllApnConfigurationsIncludedIndicator,
    ApnConfigurationProfile,
    SubscriberStatus,
    SubscriptionData,
)
from epc.wire.identity import encode_plmn

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext


def insert_subscriber_data(
    mme: Mme, request: s6a.InsertSubscriberDataRequest, *, origin_host: str, origin_realm: str
) -> s6a.InsertSubscriberDataAnswer:
    """The answer does not wait for what follows at the phone."""
    ue = mme.ues.by_imsi.get(request.user_name)
    if ue is None:
        return s6a.InsertSubscriberDataAnswer(
            session_id=request.session_id, origin_host=origin_host, origin_realm=origin_realm,
            experimental_result=experimental_result(ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN))
    if request.subscription_data is not None:
        old, ue.subscription = ue.subscription, merged(ue.subscription, request.subscription_data)
        if old is not None and old != ue.subscription:
            ue.slot.start(subscription_change, mme, ue, old)
    flags = request.idr_flags or s6a.IdrFlags(0)
    offered = request.supported_features
    return s6a.InsertSubscriberDataAnswer(
        session_id=request.session_id, origin_host=origin_host, origin_realm=origin_realm, result_code=ResultCode.DIAMETER_SUCCESS,
        supported_features=s6a.supported_features(mme.s6a.features & s6a.features_in(offered)) if offered else (),
        eps_user_state=_user_state(ue) if s6a.IdrFlags.EPS_USER_STATE_REQUEST in flags else None,
        eps_location_information=_location(ue) if s6a.IdrFlags.EPS_LOCATION_INFORMATION_REQUEST in flags else None,
        rat_type=RatType.EUTRAN if s6a.IdrFlags.RAT_TYPE_REQUESTED in flags else None)


def merged(old: SubscriptionData | None, new: SubscriptionData) -> SubscriptionData:
    """``old`` with every element that ``new`` has; APNs one by one when ``new`` has some of them only."""
    if old is None:
        return new
    changes = {field.name: value for field in dataclasses.fields(new) if (value := getattr(new, field.name)) not in (None, ())}
    if new.subscriber_status == SubscriberStatus.SERVICE_GRANTED:           # nothing is barred any more: TS 29.272 clause 5.2.2.1.3
        changes |= {"operator_determined_barring": None, "hplmn_odb": None}
    profile = new.apn_configuration_profile
    if profile is not None and old.apn_configuration_profile is not None:
        changes["apn_configuration_profile"] = _merged_profile(old.apn_configuration_profile, profile)
    return dataclasses.replace(old, **changes)


def _merged_profile(old: ApnConfigurationProfile, new: ApnConfigurationProfile) -> ApnConfigurationProfile:
    if new.all_apn_configurations_included_indicator == AllApnConfigurationsIncludedIndicator.ALL_APN_CONFIGURATIONS_INCLUDED:
        return new
    apns = {apn.context_identifier: apn for apn in (*old.apn_configuration, *new.apn_configuration)}
    return dataclasses.replace(new, apn_configuration=tuple(apns.values()))


def _user_state(ue: UeContext) -> s6a.EpsUserState:
    # "Connected" means that an EPS bearer is active, which is always so for a registered UE, idle or not (TS 29.272 clause 7.3.114).
    state = s6a.UserState.CONNECTED_REACHABLE_FOR_PAGING if ue.is_registered else s6a.UserState.DETACHED
    return s6a.EpsUserState(mme_user_state=s6a.MmeUserState(user_state=state))


def _location(ue: UeContext) -> s6a.EpsLocationInformation | None:
    location = ue.location
    if location is None:
        return None
    return s6a.EpsLocationInformation(mme_location_information=s6a.MmeLocationInformation(
        e_utran_cell_global_identity=encode_plmn(location.ecgi_plmn) + location.eci.to_bytes(4, "big"),
        tracking_area_identity=encode_plmn(location.tai.plmn) + location.tai.tac.to_bytes(2, "big")))


def reset(mme: Mme, request: s6a.ResetRequest) -> None:
    """Phones of an HSS that restarted are registered there again at their next procedure."""
    for ue in mme.ues.by_imsi.values():
        concerned = not request.user_id or any(ue.known_imsi.startswith(digits) for digits in request.user_id)
        if concerned and ue.hss_host == request.origin_host:
            ue.location_confirmed_in_hss = False
