"""The stored subscription as Subscription-Data (TS 29.272 clause 7.3.2)."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from epc.hss.store import NO_BARRING, ApnConfiguration, PgwIdentity, Subscriber
from epc.wire.diameter import subscription
from epc.wire.diameter.avp import TbcdDigits
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability
from epc.wire.diameter.s6a import S6aFeatures
from epc.wire.diameter.subscription import (
    AllApnConfigurationsIncludedIndicator,
    Ambr,
    ApnConfigurationProfile,
    EpsSubscribedQosProfile,
    Mip6AgentInfo,
    MipHomeAgentHost,
    OperatorDeterminedBarring,
    PdnGwAllocationType,
    SubscriberStatus,
    SubscriptionData,
    VplmnDynamicAddressAllowed,
)

_MAX_BPS = 2**32 - 1        # Max-Requested-Bandwidth is an Unsigned32 of bit/s


FEATURES = S6aFeatures.ODB_ALL_APN | S6aFeatures.ODB_HPLMN_APN | S6aFeatures.ODB_VPLMN_APN | S6aFeatures.REG_SUB     # this HSS's

# what the MME has to be able to enforce, for the HSS to tell it (TS 29.272 table 7.3.10/1)
_FEATURE_OF = (
    (OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED, S6aFeatures.ODB_ALL_APN),
    (OperatorDeterminedBarring.ROAMER_ACCESS_HPLMN_AP_BARRED, S6aFeatures.ODB_HPLMN_APN),
    (OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED, S6aFeatures.ODB_VPLMN_APN),
)


def subscription_data(subscriber: Subscriber, features: S6aFeatures = FEATURES) -> SubscriptionData:
    """All of it, as in Update-Location-Answer, but for what an MME with these ``features`` could not enforce."""
    barring = _barring(subscriber)
    if barring:
        for bar, feature in _FEATURE_OF:
            if feature not in features:
                barring &= ~bar
    return SubscriptionData(
        subscriber_status=SubscriberStatus.OPERATOR_DETERMINED_BARRING if barring else SubscriberStatus.SERVICE_GRANTED,
        msisdn=TbcdDigits(subscriber.msisdn) if subscriber.msisdn else None,
        network_access_mode=subscriber.network_access_mode,
        operator_determined_barring=barring or None,
        regional_subscription_zone_code=(
            tuple([code.to_bytes(2) for code in subscriber.zone_codes]) if S6aFeatures.REG_SUB in features else ()),
        apn_oi_replacement=subscriber.apn_oi_replacement,
        access_restriction_data=subscriber.access_restriction or None,
        ambr=_ambr(subscriber.ambr_ul_bps, subscriber.ambr_dl_bps),
        apn_configuration_profile=_profile(subscriber.default_context_id, subscriber.apns),
        subscribed_periodic_rau_tau_timer=subscriber.rau_tau_timer_s)


def needed_features(subscriber: Subscriber, *, abroad: bool) -> S6aFeatures:
    """What an MME must be able to do for the subscription to hold. ``abroad``: not in the home network, so that barring of roamers matters."""
    needed = S6aFeatures.REG_SUB if subscriber.zone_codes else S6aFeatures(0)
    barring = _barring(subscriber)
    if barring:
        for bar, feature in _FEATURE_OF:
            if bar in barring and (abroad or feature is S6aFeatures.ODB_ALL_APN):
                needed |= feature
    return needed


def _barring(subscriber: Subscriber) -> OperatorDeterminedBarring:
    return subscriber.barring | (OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED if is_barred(subscriber) else NO_BARRING)


def is_barred(subscriber: Subscriber) -> bool:
    """No packet service at all."""
    return ((subscriber.status is SubscriberStatus.OPERATOR_DETERMINED_BARRING and not subscriber.barring)
            or OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED in subscriber.barring)


# Subscribers by the thousand differ in identity and share the rest: what depends on the rest only is built once.
@lru_cache(maxsize=1024)
def _profile(default_context_id: int, apns: tuple[ApnConfiguration, ...]) -> ApnConfigurationProfile:
    return ApnConfigurationProfile(
        context_identifier=default_context_id,
        all_apn_configurations_included_indicator=AllApnConfigurationsIncludedIndicator.ALL_APN_CONFIGURATIONS_INCLUDED,
        apn_configuration=tuple([_apn_configuration(apn) for apn in apns]))


def _apn_configuration(apn: ApnConfiguration) -> subscription.ApnConfiguration:
    return subscription.ApnConfiguration(
        context_identifier=apn.context_id,
        served_party_ip_address=tuple([ipaddress.ip_address(address) for address in (apn.static_ipv4, apn.static_ipv6) if address]),
        pdn_type=apn.pdn_type, service_selection=apn.apn,
        eps_subscribed_qos_profile=EpsSubscribedQosProfile(
            qos_class_identifier=apn.qci,
            allocation_retention_priority=AllocationRetentionPriority(
                priority_level=apn.arp_priority_level,
                pre_emption_capability=PreEmptionCapability(not apn.preemption_capability),
                pre_emption_vulnerability=PreEmptionVulnerability(not apn.preemption_vulnerability))),
        mip6_agent_info=_agent(apn.pgw) if apn.pgw else None, pdn_gw_allocation_type=_allocation(apn.pgw),
        vplmn_dynamic_address_allowed=VplmnDynamicAddressAllowed.ALLOWED if apn.vplmn_allowed else None,
        apn_oi_replacement=apn.apn_oi_replacement, ambr=_ambr(apn.ambr_ul_bps, apn.ambr_dl_bps))


def _allocation(pgw: PgwIdentity | None) -> PdnGwAllocationType | None:
    if pgw is None:
        return None
    return PdnGwAllocationType.STATIC if pgw.is_static else PdnGwAllocationType.DYNAMIC


def _agent(pgw: PgwIdentity) -> Mip6AgentInfo:
    return Mip6AgentInfo(
        mip_home_agent_address=(ipaddress.ip_address(pgw.address),) if pgw.address else (),
        mip_home_agent_host=MipHomeAgentHost(destination_realm=pgw.realm or "", destination_host=pgw.host) if pgw.host else None)


@lru_cache(maxsize=256)
def _ambr(ul_bps: int, dl_bps: int) -> Ambr:
    """A rate that 32 bits cannot hold is stated in kbit/s as well (TS 29.272 clause 7.3.41)."""
    return Ambr(
        max_requested_bandwidth_ul=min(ul_bps, _MAX_BPS), max_requested_bandwidth_dl=min(dl_bps, _MAX_BPS),
        extended_max_requested_bw_ul=ul_bps // 1000 if ul_bps > _MAX_BPS else None,
        extended_max_requested_bw_dl=dl_bps // 1000 if dl_bps > _MAX_BPS else None)
