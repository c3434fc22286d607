"""The subscription as the HSS sends it to the MME (TS 29.272 clause 7.3.2 and the groups inside it)."""

from __future__ import annotations

import enum

from epc.wire.diameter.avp import IPAddress, TbcdDigits
from epc.wire.diameter.groups import AllocationRetentionPriority
from epc.wire.diameter.schema import Group, avp_group, recurring_group


class SubscriberStatus(enum.IntEnum):
    """TS 29.272 clause 7.3.29."""

    SERVICE_GRANTED = 0
    OPERATOR_DETERMINED_BARRING = 1


class NetworkAccessMode(enum.IntEnum):
    """TS 29.272 clause 7.3.21."""

    PACKET_AND_CIRCUIT = 0
    RESERVED = 1
    ONLY_PACKET = 2


class PdnType(enum.IntEnum):
    """TS 29.272 clause 7.3.62. Not the numbering of NAS and GTP."""

    IPV4 = 0
    IPV6 = 1
    IPV4V6 = 2
    IPV4_OR_IPV6 = 3


class AllApnConfigurationsIncludedIndicator(enum.IntEnum):
    """TS 29.272 clause 7.3.33."""

    ALL_APN_CONFIGURATIONS_INCLUDED = 0
    MODIFIED_ADDED_APN_CONFIGURATIONS_INCLUDED = 1


class VplmnDynamicAddressAllowed(enum.IntEnum):
    """TS 29.272 clause 7.3.38."""

    NOTALLOWED = 0
    ALLOWED = 1


class PdnGwAllocationType(enum.IntEnum):
    """TS 29.272 clause 7.3.44."""

    STATIC = 0
    DYNAMIC = 1


class AccessRestrictionData(enum.IntFlag):
    """TS 29.272 clause 7.3.31."""

    UTRAN_NOT_ALLOWED = 1 << 0
    GERAN_NOT_ALLOWED = 1 << 1
    GAN_NOT_ALLOWED = 1 << 2
    I_HSPA_EVOLUTION_NOT_ALLOWED = 1 << 3
    WB_E_UTRAN_NOT_ALLOWED = 1 << 4
    HO_TO_NON_3GPP_ACCESS_NOT_ALLOWED = 1 << 5
    NB_IOT_NOT_ALLOWED = 1 << 6
    ENHANCED_COVERAGE_NOT_ALLOWED = 1 << 7
    NR_AS_SECONDARY_RAT_NOT_ALLOWED = 1 << 8


class OperatorDeterminedBarring(enum.IntFlag):
    """TS 29.272 clause 7.3.30."""

    ALL_PACKET_ORIENTED_SERVICES_BARRED = 1 << 0
    ROAMER_ACCESS_HPLMN_AP_BARRED = 1 << 1
    ROAMER_ACCESS_VPLMN_AP_BARRED = 1 << 2
    ALL_OUTGOING_CALLS_BARRED = 1 << 3
    ALL_OUTGOING_INTERNATIONAL_CALLS_BARRED = 1 << 4


@recurring_group
class Ambr(Group):
    """Aggregate maximum bit rates, bit/s (TS 29.272 clause 7.3.41); the extended ones are in kbit/s."""

    max_requested_bandwidth_ul: int
    max_requested_bandwidth_dl: int
    extended_max_requested_bw_ul: int | None = None
    extended_max_requested_bw_dl: int | None = None


@recurring_group
class EpsSubscribedQosProfile(Group):
    """QoS of the default bearer (TS 29.272 clause 7.3.37)."""

    qos_class_identifier: int
    allocation_retention_priority: AllocationRetentionPriority


@avp_group
class MipHomeAgentHost(Group):
    """The PDN GW's name (RFC 4004 clause 7.11, reused by TS 29.272 clause 7.3.45)."""

    destination_realm: str
    destination_host: str


@avp_group
class Mip6AgentInfo(Group):
    """The PDN GW's identity (TS 29.272 clause 7.3.45)."""

    mip_home_agent_address: tuple[IPAddress, ...] = ()
    mip_home_agent_host: MipHomeAgentHost | None = None


@avp_group
class SpecificApnInfo(Group):
    """The PDN GW in use for an APN behind the wildcard (TS 29.272 clause 7.3.82)."""

    service_selection: str
    mip6_agent_info: Mip6AgentInfo
    visited_network_identifier: bytes | None = None


@recurring_group
class ApnConfiguration(Group):
    """One APN the subscriber may use (TS 29.272 clause 7.3.35)."""

    context_identifier: int
    served_party_ip_address: tuple[IPAddress, ...] = ()         # static addresses, at most one of each family
    pdn_type: PdnType | int
    service_selection: str                                      # the APN's network identifier, or "*"
    eps_subscribed_qos_profile: EpsSubscribedQosProfile | None = None
    vplmn_dynamic_address_allowed: VplmnDynamicAddressAllowed | int | None = None
    mip6_agent_info: Mip6AgentInfo | None = None
    visited_network_identifier: bytes | None = None
    pdn_gw_allocation_type: PdnGwAllocationType | int | None = None
    tgpp_charging_characteristics: str | None = None            # 4 hexadecimal digits
    ambr: Ambr | None = None
    specific_apn_info: tuple[SpecificApnInfo, ...] = ()
    apn_oi_replacement: str | None = None
    sipto_permission: int | None = None
    lipa_permission: int | None = None
    restoration_priority: int | None = None
    non_ip_pdn_type_indicator: int | None = None


@recurring_group
class ApnConfigurationProfile(Group):
    """All the APNs (TS 29.272 clause 7.3.34)."""

    context_identifier: int                                     # the default APN's
    additional_context_identifier: int | None = None
    all_apn_configurations_included_indicator: AllApnConfigurationsIncludedIndicator | int
    apn_configuration: tuple[ApnConfiguration, ...]


@avp_group
class TraceData(Group):
    """TS 29.272 clause 7.3.72, TS 32.422."""

    trace_reference: bytes
    trace_depth: int
    trace_ne_type_list: bytes
    trace_interface_list: bytes | None = None
    trace_event_list: bytes
    omc_id: bytes | None = None
    trace_collection_entity: IPAddress


@avp_group
class SubscriptionData(Group):
    """What the subscriber may do (TS 29.272 clause 7.3.2)."""

    subscriber_status: SubscriberStatus | int | None = None
    msisdn: TbcdDigits | None = None
    a_msisdn: TbcdDigits | None = None
    stn_sr: TbcdDigits | None = None
    ics_indicator: int | None = None
    network_access_mode: NetworkAccessMode | int | None = None
    operator_determined_barring: OperatorDeterminedBarring | None = None
    hplmn_odb: int | None = None
    regional_subscription_zone_code: tuple[bytes, ...] = ()
    access_restriction_data: AccessRestrictionData | None = None
    apn_oi_replacement: str | None = None
    tgpp_charging_characteristics: str | None = None            # 4 hexadecimal digits
    ambr: Ambr | None = None                                    # UE-AMBR
    apn_configuration_profile: ApnConfigurationProfile | None = None
    rat_frequency_selection_priority_id: int | None = None      # RFSP index, 1 to 256
    trace_data: TraceData | None = None
    roaming_restricted_due_to_unsupported_feature: int | None = None
    subscribed_periodic_rau_tau_timer: int | None = None        # seconds
    mps_priority: int | None = None
    vplmn_lipa_allowed: int | None = None
    relay_node_indicator: int | None = None
    mdt_user_consent: int | None = None
    subscribed_vsrvcc: int | None = None
    ue_usage_type: int | None = None
    core_network_restrictions: int | None = None
