"""Who may use this network, and where: agreements with home operators, access control, regional restriction (TS 23.401 clause 4.3.5.1, TS 23.008).

What the phone is told follows TS 24.301 annex A and TS 29.272 annex A; an operator may choose among causes where those leave the choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.procedure import Reject
from epc.wire import nas
from epc.wire.diameter.subscription import SubscriptionData
from epc.wire.nas import EmmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme

ENDS_REGISTRATION: frozenset[int] = frozenset({
    EmmCause.ILLEGAL_UE, EmmCause.ILLEGAL_ME, EmmCause.EPS_SERVICES_NOT_ALLOWED, EmmCause.EPS_SERVICES_AND_NON_EPS_SERVICES_NOT_ALLOWED,
    EmmCause.PLMN_NOT_ALLOWED, EmmCause.TRACKING_AREA_NOT_ALLOWED, EmmCause.ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA,
    EmmCause.EPS_SERVICES_NOT_ALLOWED_IN_THIS_PLMN, EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA})
"""A phone that gets one of these is EMM-DEREGISTERED: TS 24.301 clause 5.5.3.2.5."""


def check_agreement(mme: Mme, imsi: str) -> None:
    """Raise :class:`Reject` for a subscriber whom this network does not serve, whatever the HSS may say."""
    config = mme.config
    for rule in config.access_control:
        if rule.covers(imsi):
            if rule.allowed:
                return
            raise Reject(EmmCause[rule.cause], "access control forbids this IMSI")
    home = config.home_plmn(imsi)
    if not config.is_own(home) and not config.roaming.is_partner(home):
        raise Reject(EmmCause[config.roaming.without_agreement], f"no roaming agreement with {home}")


def check_area(mme: Mme, subscription: SubscriptionData, tai: nas.Tai) -> None:
    """Raise :class:`Reject` when the subscription is for other regions than that of ``tai``."""
    if subscription.roaming_restricted_due_to_unsupported_feature is not None:
        raise Reject(EmmCause.ROAMING_NOT_ALLOWED_IN_THIS_TRACKING_AREA, "a feature that the subscription needs is not offered here")
    if not _is_allowed(mme, subscription, tai):
        raise Reject(EmmCause[mme.config.regional.cause], f"{tai.plmn}-{tai.tac} is in none of the subscribed zones")


def allowed_tais(mme: Mme, subscription: SubscriptionData | None) -> nas.TaiList:
    """The tracking areas that the phone may move in without asking: all that are served, but for those that its subscription excludes."""
    if subscription is None or not subscription.regional_subscription_zone_code or not mme.config.regional.zones:
        return mme.tai_list
    tais = [nas.Tai(plmn=plmn, tac=tac) for plmn, tac in sorted(mme.served_tais)]
    return nas.TaiList.of([tai for tai in tais if _is_allowed(mme, subscription, tai)])


def _is_allowed(mme: Mme, subscription: SubscriptionData, tai: nas.Tai) -> bool:
    codes = subscription.regional_subscription_zone_code
    zones = mme.config.regional.zones
    if not codes or not zones:          # an MME without zones does not know the feature, and has not offered it to the HSS
        return True
    subscribed = {int.from_bytes(code) for code in codes}
    return any(zone.code in subscribed and zone.contains(tai.plmn, tai.tac) for zone in zones)
