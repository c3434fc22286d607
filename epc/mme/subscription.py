"""What the subscription allows: APN, PDN type, bit rates (TS 23.401 clauses 4.7.3 and 5.3.2.1, TS 29.272 clause 7.3.2)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from epc.mme.gateway_selection import select_pgws
from epc.mme.pdn_request import PdnRequest
from epc.procedure import Reject
from epc.wire import gtpv2, nas, s1ap
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability
from epc.wire.diameter.subscription import (
    AccessRestrictionData,
    Ambr,
    ApnConfiguration,
    OperatorDeterminedBarring,
    PdnType,
    SubscriptionData,
)
from epc.wire.nas import EmmCause, EsmCause

if TYPE_CHECKING:
    from epc.mme.node import Mme
    from epc.mme.ue_context import UeContext

_WILDCARD = "*"
_DEFAULT_QCI = 9
_LOWEST_PRIORITY = 15

_ALLOWED: dict[int, tuple[nas.PdnType, ...]] = {
    PdnType.IPV4: (nas.PdnType.IPV4,),
    PdnType.IPV6: (nas.PdnType.IPV6,),
    PdnType.IPV4V6: (nas.PdnType.IPV4, nas.PdnType.IPV6, nas.PdnType.IPV4V6),
    PdnType.IPV4_OR_IPV6: (nas.PdnType.IPV4, nas.PdnType.IPV6),
}


def check_access(subscription: SubscriptionData) -> None:
    """Raise :class:`Reject` when the subscriber may not use E-UTRAN, or no packet service at all."""
    restrictions = subscription.access_restriction_data
    if restrictions is not None and AccessRestrictionData.WB_E_UTRAN_NOT_ALLOWED in restrictions:
        raise Reject(EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA, "E-UTRAN is not allowed by subscription")
    barring = subscription.operator_determined_barring
    if barring is not None and OperatorDeterminedBarring.ALL_PACKET_ORIENTED_SERVICES_BARRED in barring:
        raise Reject(EmmCause.ESM_FAILURE, "packet services are barred", inner=EsmCause.OPERATOR_DETERMINED_BARRING)


def choose_apn(subscription: SubscriptionData, requested: str | None) -> tuple[str, ApnConfiguration]:
    """The APN to use, and what is subscribed for it; the default APN when the phone named none. Raises :class:`Reject`."""
    profile = subscription.apn_configuration_profile
    if profile is None:
        raise Reject(EmmCause.ESM_FAILURE, "no APN is subscribed", inner=EsmCause.MISSING_OR_UNKNOWN_APN)
    if requested is None:
        for apn in profile.apn_configuration:
            if apn.context_identifier == profile.context_identifier:
                return apn.service_selection, apn
        raise Reject(EmmCause.ESM_FAILURE, "the subscription has no default APN", inner=EsmCause.MISSING_OR_UNKNOWN_APN)
    wildcard = None
    for apn in profile.apn_configuration:
        if apn.service_selection.lower() == requested.lower():
            return apn.service_selection, apn
        if apn.service_selection == _WILDCARD:
            wildcard = apn
    if wildcard is None:
        raise Reject(EmmCause.ESM_FAILURE, f"APN {requested!r} is not subscribed", inner=EsmCause.MISSING_OR_UNKNOWN_APN)
    return requested, wildcard


def choose_pdn_type(requested: int, subscribed: int) -> nas.PdnType:
    """What to ask the PGW for; raises :class:`Reject` when nothing of the request is subscribed (TS 24.301 clause 6.5.1.4)."""
    allowed = _ALLOWED.get(subscribed, (nas.PdnType.IPV4,))
    if requested in allowed:
        return nas.PdnType(requested)
    if requested == nas.PdnType.IPV4V6:
        return allowed[0]
    if requested in (nas.PdnType.IPV4, nas.PdnType.IPV6):
        only = EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED if nas.PdnType.IPV4 in allowed else EsmCause.PDN_TYPE_IPV6_ONLY_ALLOWED
        raise Reject(EmmCause.ESM_FAILURE, "the PDN type is not subscribed", inner=only)
    raise Reject(EmmCause.ESM_FAILURE, f"PDN type {requested} is not offered", inner=EsmCause.UNKNOWN_PDN_TYPE)


async def pdn_request(
    mme: Mme, ue: UeContext, *, ebi: int, requested_apn: str | None, requested_pdn_type: int,
    protocol_configuration_options: bytes | None, extended_protocol_configuration_options: bytes | None,
) -> PdnRequest:
    """Everything that subscription and configuration decide about a PDN connection. Raises :class:`Reject`."""
    subscription = ue.subscription
    if subscription is None:
        raise Reject(EmmCause.NETWORK_FAILURE, "no subscription", inner=EsmCause.NETWORK_FAILURE)
    apn, subscribed = choose_apn(subscription, requested_apn)
    selection = await select_pgws(mme, ue, apn, subscription, subscribed)
    static = next((address for address in subscribed.served_party_ip_address if isinstance(address, IPv4Address)), None)
    characteristics = subscribed.tgpp_charging_characteristics or subscription.tgpp_charging_characteristics
    return PdnRequest(
        ebi=ebi,
        apn=apn,
        operator_identifier=selection.operator_identifier,
        pgws=selection.addresses,
        pdn_type=choose_pdn_type(requested_pdn_type, subscribed.pdn_type),
        static_ipv4=static,
        qos=bearer_qos(subscribed),
        ambr=gtp_ambr(subscribed.ambr or subscription.ambr),
        charging_characteristics=None if characteristics is None else int(characteristics, 16),
        protocol_configuration_options=protocol_configuration_options,
        extended_protocol_configuration_options=extended_protocol_configuration_options,
    )


def gtp_ambr(ambr: Ambr | None) -> gtpv2.Ambr:
    """In kbit/s, where the HSS counts bit/s (and kbit/s beyond 32 bits)."""
    if ambr is None:
        return gtpv2.Ambr(uplink_kbps=50_000, downlink_kbps=100_000)
    return gtpv2.Ambr(
        uplink_kbps=ambr.extended_max_requested_bw_ul or ambr.max_requested_bandwidth_ul // 1000,
        downlink_kbps=ambr.extended_max_requested_bw_dl or ambr.max_requested_bandwidth_dl // 1000)


def ue_ambr_kbps(ue: UeContext) -> tuple[int, int]:
    """Downlink and uplink: the sum over the APNs in use, at most what is subscribed (TS 23.401 clause 4.7.3)."""
    downlink = uplink = 0
    if ue.session is not None:
        for pdn in ue.session.pdns.values():
            downlink += pdn.ambr.downlink_kbps
            uplink += pdn.ambr.uplink_kbps
    if ue.subscription is not None and ue.subscription.ambr is not None:
        subscribed = gtp_ambr(ue.subscription.ambr)
        downlink, uplink = min(downlink, subscribed.downlink_kbps), min(uplink, subscribed.uplink_kbps)
    return downlink, uplink


def s1_ue_ambr(ue: UeContext) -> s1ap.UEAggregateMaximumBitrate:
    """The same for the eNodeB, in bit/s."""
    downlink_kbps, uplink_kbps = ue_ambr_kbps(ue)
    return s1ap.UEAggregateMaximumBitrate(
        ue_aggregate_maximum_bit_rate_dl=min(downlink_kbps * 1000, 10_000_000_000),
        ue_aggregate_maximum_bit_rate_ul=min(uplink_kbps * 1000, 10_000_000_000))


def bearer_qos(subscribed: ApnConfiguration) -> gtpv2.BearerQos:
    """Of the default bearer."""
    profile = subscribed.eps_subscribed_qos_profile
    if profile is None:
        return gtpv2.BearerQos(qci=_DEFAULT_QCI, arp=gtpv2.Arp(priority_level=_LOWEST_PRIORITY))
    return gtpv2.BearerQos(qci=profile.qos_class_identifier, arp=_arp(profile.allocation_retention_priority))


def _arp(priority: AllocationRetentionPriority) -> gtpv2.Arp:
    return gtpv2.Arp(
        priority_level=priority.priority_level,
        pre_emption_capability=priority.pre_emption_capability == PreEmptionCapability.PRE_EMPTION_CAPABILITY_ENABLED,
        pre_emption_vulnerability=priority.pre_emption_vulnerability != PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_DISABLED)
