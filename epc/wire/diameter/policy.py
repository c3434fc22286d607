"""Charging rules and QoS as the PCRF and the PCEF exchange them (TS 29.212 clause 5.3)."""

from __future__ import annotations

import datetime
import enum
import ipaddress

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.groups import AllocationRetentionPriority, RatType
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
    packet_filter_usage: int | None = None          # 1: send the filter to the UE
    tos_traffic_class: bytes | None = None          # value and mask
    security_parameter_index: bytes | None = None
    flow_label: bytes | None = None
    flow_direction: FlowDirection | int | None = None


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
    sponsor_identity: str | None = None


@recurring_group
class ChargingRuleInstall(Group):
    """Rules to install or change (TS 29.212 clause 5.3.2)."""

    charging_rule_definition: tuple[ChargingRuleDefinition, ...] = ()
    charging_rule_name: tuple[bytes, ...] = ()              # rules that the PCEF has in its own configuration
    charging_rule_base_name: tuple[str, ...] = ()
    bearer_identifier: bytes | None = None
    rule_activation_time: datetime.datetime | None = None
    rule_deactivation_time: datetime.datetime | None = None
    resource_allocation_notification: int | None = None     # 0: tell the PCRF when the bearer stands
    charging_correlation_indicator: int | None = None


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
    """Octets or seconds granted or used (RFC 8506 clauses 8.17, 8.19)."""

    tariff_change_usage: int | None = None
    cc_time: int | None = None
    cc_total_octets: int | None = None
    cc_input_octets: int | None = None
    cc_output_octets: int | None = None


@avp_group
class UsageMonitoringInformation(Group):
    """TS 29.212 clause 5.3.60."""

    monitoring_key: bytes | None = None
    granted_service_unit: tuple[ServiceUnit, ...] = ()
    used_service_unit: tuple[ServiceUnit, ...] = ()
    usage_monitoring_level: int | None = None
    usage_monitoring_report: int | None = None
    usage_monitoring_support: int | None = None
