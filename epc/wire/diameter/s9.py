"""Between the PCRFs of a visited network and of home (TS 29.215 clauses 5.3 and 5.5, release 15).

One session for each user; in it a subsession for each IP-CAN session, whose own rules and reports travel in the grouped AVPs
Subsession-Decision-Info and Subsession-Enforcement-Info.
"""

from __future__ import annotations

import enum
import ipaddress

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import (
    S9_APPLICATION,
    ExperimentalResult,
    ProxyInfo,
    RatType,
    SubscriptionId,
    SupportedFeatures,
    TerminationCause,
    UserEquipmentInfo,
)
from epc.wire.diameter.gx import (
    AccessNetworkChargingIdentifierGx,
    BearerControlMode,
    BearerUsage,
    CcRequestType,
    EventTrigger,
    IpCanType,
    NetworkRequestSupport,
    Offline,
    Online,
    ReAuthRequestType,
    SessionReleaseCause,
)
from epc.wire.diameter.policy import (
    ApplicationDetectionInformation,
    ChargingRuleInstall,
    ChargingRuleRemove,
    ChargingRuleReport,
    DefaultEpsBearerQos,
    PacketFilterInformation,
    PacketFilterOperation,
    QosInformation,
    UsageMonitoringInformation,
)
from epc.wire.diameter.results import ExperimentalResultCode, ResultCode
from epc.wire.diameter.schema import FailedAvp, Group, avp_group


class SubsessionOperation(enum.IntEnum):
    """TS 29.215 clause 5.3.4."""

    TERMINATION = 0
    ESTABLISHMENT = 1
    MODIFICATION = 2


@avp_group
class SubsessionEnforcementInfo(Group):
    """What the visited PCEF says about one IP-CAN session (TS 29.215 clause 5.3.2)."""

    subsession_id: int                                              # allocated by the V-PCRF, unique in the session
    subsession_operation: SubsessionOperation | int | None = None   # in a CCR
    an_gw_address: tuple[IPAddress, ...] = ()
    bearer_identifier: bytes | None = None
    packet_filter_information: tuple[PacketFilterInformation, ...] = ()
    packet_filter_operation: PacketFilterOperation | int | None = None
    qos_information: QosInformation | None = None
    framed_ip_address: ipaddress.IPv4Address | None = None
    framed_ipv6_prefix: ipaddress.IPv6Network | None = None
    called_station_id: str | None = None
    pdn_connection_id: bytes | None = None
    bearer_usage: BearerUsage | int | None = None
    online: Online | int | None = None
    offline: Offline | int | None = None
    result_code: ResultCode | int | None = None                     # in an RAA
    experimental_result_code: ExperimentalResultCode | int | None = None
    charging_rule_report: tuple[ChargingRuleReport, ...] = ()
    application_detection_information: tuple[ApplicationDetectionInformation, ...] = ()
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    network_request_support: NetworkRequestSupport | int | None = None
    usage_monitoring_information: tuple[UsageMonitoringInformation, ...] = ()
    event_trigger: tuple[EventTrigger | int, ...] = ()
    access_network_charging_address: IPAddress | None = None
    access_network_charging_identifier_gx: tuple[AccessNetworkChargingIdentifierGx, ...] = ()


@avp_group
class SubsessionDecisionInfo(Group):
    """What the H-PCRF decides for one IP-CAN session (TS 29.215 clause 5.3.1)."""

    subsession_id: int
    an_gw_address: tuple[IPAddress, ...] = ()
    result_code: ResultCode | int | None = None                     # in a CCA, when the subsession is not served
    experimental_result_code: ExperimentalResultCode | int | None = None
    charging_rule_remove: tuple[ChargingRuleRemove, ...] = ()
    charging_rule_install: tuple[ChargingRuleInstall, ...] = ()
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    usage_monitoring_information: tuple[UsageMonitoringInformation, ...] = ()
    session_release_cause: SessionReleaseCause | int | None = None  # in an RAR
    bearer_control_mode: BearerControlMode | int | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    online: Online | int | None = None
    offline: Offline | int | None = None
    qos_information: tuple[QosInformation, ...] = ()


@command(272, S9_APPLICATION)
class CreditControlRequest(Request):
    """The V-PCRF asks for rules, reports, or ends (TS 29.215 clause 5.5.2)."""

    session_id: str
    auth_application_id: int = S9_APPLICATION
    origin_host: str
    origin_realm: str
    destination_realm: str
    cc_request_type: CcRequestType | int
    cc_request_number: int
    destination_host: str | None = None
    origin_state_id: int | None = None
    subscription_id: tuple[SubscriptionId, ...] = ()
    framed_ip_address: ipaddress.IPv4Address | None = None
    framed_ipv6_prefix: ipaddress.IPv6Network | None = None
    supported_features: tuple[SupportedFeatures, ...] = ()
    qos_information: QosInformation | None = None
    an_gw_address: tuple[IPAddress, ...] = ()
    network_request_support: NetworkRequestSupport | int | None = None
    subsession_enforcement_info: tuple[SubsessionEnforcementInfo, ...] = ()
    ip_can_type: IpCanType | int | None = None
    rat_type: RatType | int | None = None
    termination_cause: TerminationCause | int | None = None
    user_equipment_info: UserEquipmentInfo | None = None
    tgpp_sgsn_mcc_mnc: str | None = None
    tgpp_sgsn_address: bytes | None = None
    tgpp_user_location_info: bytes | None = None
    tgpp_ms_timezone: bytes | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(272, S9_APPLICATION)
class CreditControlAnswer(Answer):
    """TS 29.215 clause 5.5.3."""

    session_id: str
    auth_application_id: int = S9_APPLICATION
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    cc_request_type: CcRequestType | int
    cc_request_number: int
    supported_features: tuple[SupportedFeatures, ...] = ()
    qos_information: tuple[QosInformation, ...] = ()
    bearer_control_mode: BearerControlMode | int | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    subsession_decision_info: tuple[SubsessionDecisionInfo, ...] = ()
    an_gw_address: tuple[IPAddress, ...] = ()
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(258, S9_APPLICATION)
class ReAuthRequest(Request):
    """The H-PCRF pushes rules to subsessions, or ends the session (TS 29.215 clause 5.5.4)."""

    session_id: str
    auth_application_id: int = S9_APPLICATION
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    re_auth_request_type: ReAuthRequestType | int = ReAuthRequestType.AUTHORIZE_ONLY
    origin_state_id: int | None = None
    qos_information: tuple[QosInformation, ...] = ()
    event_trigger: tuple[EventTrigger | int, ...] = ()
    subsession_decision_info: tuple[SubsessionDecisionInfo, ...] = ()
    session_release_cause: SessionReleaseCause | int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(258, S9_APPLICATION)
class ReAuthAnswer(Answer):
    """TS 29.215 clause 5.5.5."""

    session_id: str
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    origin_state_id: int | None = None
    ip_can_type: IpCanType | int | None = None
    rat_type: RatType | int | None = None
    tgpp_sgsn_mcc_mnc: str | None = None
    tgpp_user_location_info: bytes | None = None
    qos_information: QosInformation | None = None
    an_gw_address: tuple[IPAddress, ...] = ()
    subsession_enforcement_info: tuple[SubsessionEnforcementInfo, ...] = ()
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
