"""Charging rules and QoS as the PCRF and the PCEF exchange them (TS 29.212 clause 5.3)."""

from __future__ import annotations

import datetime
import enum
import ipaddress

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.groups import AllocationRetentionPriority, FinalUnitIndication, RatType, RedirectAddressType
from epc.wire.diameter.schema import Group, avp_group, recurring_group


class FlowDirection(enum.IntEnum):
    """TS 29.212 clause 5.3.65."""

    UNSPECIFIED = 0
    DOWNLINK = 1
    UPLINK = 2
    BIDIRECTIONAL = 3


class FlowStatus(enum.IntEnum):
    """TS 29.214 clause 5.3.11."""

    ENABLED_UPLINK = 0
    ENABLED_DOWNLINK = 1
    ENABLED = 2
    DISABLED = 3
    REMOVED = 4


class PccRuleStatus(enum.IntEnum):
    """TS 29.212 clause 5.3.19."""

    ACTIVE = 0
    INACTIVE = 1
    TEMPORARILY_INACTIVE = 2


class RuleFailureCode(enum.IntEnum):
    """TS 29.212 clause 5.3.38."""

    UNKNOWN_RULE_NAME = 1
    RATING_GROUP_ERROR = 2
    SERVICE_IDENTIFIER_ERROR = 3
    GW_PCEF_MALFUNCTION = 4
    RESOURCES_LIMITATION = 5
    MAX_NR_BEARERS_REACHED = 6
    UNKNOWN_BEARER_ID = 7
    MISSING_BEARER_ID = 8
    MISSING_FLOW_INFORMATION = 9
    RESOURCE_ALLOCATION_FAILURE = 10
    UNSUCCESSFUL_QOS_VALIDATION = 11
    INCORRECT_FLOW_INFORMATION = 12
    PS_TO_CS_HANDOVER = 13
    TDF_APPLICATION_IDENTIFIER_ERROR = 14
    NO_BEARER_BOUND = 15
    FILTER_RESTRICTIONS = 16
    AN_GW_FAILED = 17
    MISSING_REDIRECT_SERVER_ADDRESS = 18
    CM_END_USER_SERVICE_DENIED = 19
    CM_CREDIT_CONTROL_NOT_APPLICABLE = 20
    CM_AUTHORIZATION_REJECTED = 21
    CM_USER_UNKNOWN = 22
    CM_RATING_FAILED = 23


class MeteringMethod(enum.IntEnum):
    """TS 29.212 clause 5.3.8."""

    DURATION = 0
    VOLUME = 1
    DURATION_VOLUME = 2


class ReportingLevel(enum.IntEnum):
    """TS 29.212 clause 5.3.12."""

    SERVICE_IDENTIFIER_LEVEL = 0
    RATING_GROUP_LEVEL = 1
    SPONSORED_CONNECTIVITY_LEVEL = 2


class PacketFilterOperation(enum.IntEnum):
    """What the UE wants with packet filters (TS 29.212 clause 5.3.57)."""

    DELETION = 0
    ADDITION = 1
    MODIFICATION = 2


class PacketFilterUsage(enum.IntEnum):
    """TS 29.212 clause 5.3.66."""

    SEND_TO_UE = 1


class ResourceAllocationNotification(enum.IntEnum):
    """TS 29.212 clause 5.3.50."""

    ENABLE_NOTIFICATION = 0


class ChargingCorrelationIndicator(enum.IntEnum):
    """TS 29.212 clause 5.3.67."""

    CHARGING_IDENTIFIER_REQUIRED = 0


class MuteNotification(enum.IntEnum):
    """TS 29.212 clause 5.3.98: no APPLICATION_START and APPLICATION_STOP for this rule."""

    MUTE_REQUIRED = 0


class RedirectSupport(enum.IntEnum):
    """TS 29.212 clause 5.3.83."""

    REDIRECTION_DISABLED = 0
    REDIRECTION_ENABLED = 1


class UsageMonitoringLevel(enum.IntEnum):
    """What a usage threshold counts (TS 29.212 clause 5.3.61)."""

    SESSION_LEVEL = 0               # the whole IP-CAN session but for rules that are excluded
    PCC_RULE_LEVEL = 1              # the rules that name the monitoring key; what an absent AVP means
    ADC_RULE_LEVEL = 2


class UsageMonitoringReport(enum.IntEnum):
    """TS 29.212 clause 5.3.62."""

    USAGE_MONITORING_REPORT_REQUIRED = 0


class UsageMonitoringSupport(enum.IntEnum):
    """TS 29.212 clause 5.3.63."""

    USAGE_MONITORING_DISABLED = 0


@recurring_group
class QosInformation(Group):
    """QoS of a rule, a bearer or the whole APN (TS 29.212 clause 5.3.16); all rates in bit/s."""

    qos_class_identifier: int | None = None
    max_requested_bandwidth_ul: int | None = None
    max_requested_bandwidth_dl: int | None = None
    guaranteed_bitrate_ul: int | None = None
    guaranteed_bitrate_dl: int | None = None
    bearer_identifier: bytes | None = None
    allocation_retention_priority: AllocationRetentionPriority | None = None
    apn_aggregate_max_bitrate_ul: int | None = None
    apn_aggregate_max_bitrate_dl: int | None = None


@recurring_group
class DefaultEpsBearerQos(Group):
    """TS 29.212 clause 5.3.48."""

    qos_class_identifier: int | None = None
    allocation_retention_priority: AllocationRetentionPriority | None = None


@recurring_group
class FlowInformation(Group):
    """One filter of a service data flow (TS 29.212 clause 5.3.53)."""

    flow_description: str | None = None             # "permit out ip from any to assigned"; always as the downlink packet looks
    packet_filter_identifier: bytes | None = None
    packet_filter_usage: PacketFilterUsage | int | None = None
    tos_traffic_class: bytes | None = None          # value and mask
    security_parameter_index: bytes | None = None
    flow_label: bytes | None = None
    flow_direction: FlowDirection | int | None = None


@avp_group
class PacketFilterInformation(Group):
    """A filter that the UE asks resources for (TS 29.212 clause 5.3.56)."""

    packet_filter_identifier: bytes | None = None   # of a filter that the PCRF knows; with its deletion or modification
    precedence: int | None = None
    packet_filter_content: str | None = None        # "permit out ip from 192.0.2.1 to assigned"; always as the downlink packet looks
    tos_traffic_class: bytes | None = None
    security_parameter_index: bytes | None = None
    flow_label: bytes | None = None
    flow_direction: FlowDirection | int | None = None


@recurring_group
class RedirectInformation(Group):
    """Where the traffic of an application is sent to (TS 29.212 clause 5.3.82)."""

    redirect_support: RedirectSupport | int | None = None
    redirect_address_type: RedirectAddressType | int | None = None
    redirect_server_address: str | None = None


@avp_group
class ApplicationDetectionInformation(Group):
    """An application whose traffic began or ended (TS 29.212 clause 5.3.91)."""

    tdf_application_identifier: bytes
    tdf_application_instance_identifier: bytes | None = None    # allocated by the PCEF; names the same start with its stop
    flow_information: tuple[FlowInformation, ...] = ()          # the flows seen, where they can be told


@recurring_group
class ChargingRuleDefinition(Group):
    """A PCC rule in full (TS 29.212 clause 5.3.4)."""

    charging_rule_name: bytes
    service_identifier: int | None = None
    rating_group: int | None = None
    flow_information: tuple[FlowInformation, ...] = ()
    tdf_application_identifier: bytes | None = None
    flow_status: FlowStatus | int | None = None
    qos_information: QosInformation | None = None
    reporting_level: ReportingLevel | int | None = None
    online: int | None = None
    offline: int | None = None
    metering_method: MeteringMethod | int | None = None
    precedence: int | None = None                   # the lower, the earlier it is tried
    af_charging_identifier: bytes | None = None
    monitoring_key: bytes | None = None
    redirect_information: RedirectInformation | None = None     # for a rule with an application
    mute_notification: MuteNotification | int | None = None
    af_signalling_protocol: int | None = None
    sponsor_identity: str | None = None
    application_service_provider_identity: str | None = None
    required_access_info: tuple[int, ...] = ()


@recurring_group
class ChargingRuleInstall(Group):
    """Rules to install or change (TS 29.212 clause 5.3.2)."""

    charging_rule_definition: tuple[ChargingRuleDefinition, ...] = ()
    charging_rule_name: tuple[bytes, ...] = ()              # rules that the PCEF has in its own configuration
    charging_rule_base_name: tuple[str, ...] = ()
    bearer_identifier: bytes | None = None
    rule_activation_time: datetime.datetime | None = None
    rule_deactivation_time: datetime.datetime | None = None
    resource_allocation_notification: ResourceAllocationNotification | int | None = None     # tell the PCRF when the bearer stands
    charging_correlation_indicator: ChargingCorrelationIndicator | int | None = None


@avp_group
class ChargingRuleRemove(Group):
    """TS 29.212 clause 5.3.3."""

    charging_rule_name: tuple[bytes, ...] = ()
    charging_rule_base_name: tuple[str, ...] = ()


@avp_group
class ChargingRuleReport(Group):
    """What became of rules at the PCEF (TS 29.212 clause 5.3.18)."""

    charging_rule_name: tuple[bytes, ...] = ()
    charging_rule_base_name: tuple[str, ...] = ()
    bearer_identifier: bytes | None = None
    pcc_rule_status: PccRuleStatus | int | None = None
    rule_failure_code: RuleFailureCode | int | None = None
    final_unit_indication: FinalUnitIndication | None = None    # with OUT_OF_CREDIT: what became of the rules' traffic
    ran_nas_release_cause: tuple[bytes, ...] = ()


@avp_group
class EventReportIndication(Group):
    """Events of the access network that the PCRF passes on (TS 29.212 clause 5.3.30)."""

    event_trigger: tuple[int, ...] = ()
    rat_type: RatType | int | None = None
    qos_information: QosInformation | None = None
    an_gw_address: tuple[IPAddress, ...] = ()
    tgpp_sgsn_mcc_mnc: str | None = None
    tgpp_user_location_info: bytes | None = None
    framed_ip_address: ipaddress.IPv4Address | None = None
    framed_ipv6_prefix: ipaddress.IPv6Network | None = None


@avp_group
class ServiceUnit(Group):
    """Octets or seconds granted or used (RFC 8506 clauses 8.17, 8.19; TS 29.212 clause 5.3.60)."""

    monitoring_time: datetime.datetime | None = None            # the usage before and after is told apart
    tariff_change_usage: int | None = None
    cc_time: int | None = None
    cc_total_octets: int | None = None
    cc_input_octets: int | None = None
    cc_output_octets: int | None = None


@avp_group
class UsageMonitoringInformation(Group):
    """A threshold of usage, or what was used (TS 29.212 clause 5.3.60)."""

    monitoring_key: bytes | None = None                         # allocated by the PCRF
    granted_service_unit: tuple[ServiceUnit, ...] = ()          # the threshold; absent: the usage is no longer reported
    used_service_unit: tuple[ServiceUnit, ...] = ()             # since the last report
    quota_consumption_time: int | None = None                   # idle seconds after which time is no longer counted
    usage_monitoring_level: UsageMonitoringLevel | int | None = None
    usage_monitoring_report: UsageMonitoringReport | int | None = None
    usage_monitoring_support: UsageMonitoringSupport | int | None = None
