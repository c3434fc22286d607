"""The PDN GW's interface to the PCRF (TS 29.212 clause 5.6, release 15)."""

from __future__ import annotations

import datetime
import enum
import ipaddress

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import (
    GX_APPLICATION,
    ExperimentalResult,
    ProxyInfo,
    RatType,
    SubscriptionId,
    SupportedFeatures,
    TerminationCause,
    UserEquipmentInfo,
)
from epc.wire.diameter.policy import (
    ApplicationDetectionInformation,
    ChargingRuleInstall,
    ChargingRuleRemove,
    ChargingRuleReport,
    DefaultEpsBearerQos,
    EventReportIndication,
    PacketFilterInformation,
    PacketFilterOperation,
    QosInformation,
    UsageMonitoringInformation,
)
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import FailedAvp, Group, avp_group


class CcRequestType(enum.IntEnum):
    """RFC 8506 clause 8.3."""

    INITIAL_REQUEST = 1
    UPDATE_REQUEST = 2
    TERMINATION_REQUEST = 3
    EVENT_REQUEST = 4


class IpCanType(enum.IntEnum):
    """TS 29.212 clause 5.3.27."""

    TGPP_GPRS = 0
    DOCSIS = 1
    XDSL = 2
    WIMAX = 3
    TGPP2 = 4
    TGPP_EPS = 5
    NON_3GPP_EPS = 6
    FBA = 7
    TGPP_5GS = 8
    NON_3GPP_5GS = 9


class NetworkRequestSupport(enum.IntEnum):
    """TS 29.212 clause 5.3.24."""

    NETWORK_REQUEST_NOT_SUPPORTED = 0
    NETWORK_REQUEST_SUPPORTED = 1


class BearerControlMode(enum.IntEnum):
    """TS 29.212 clause 5.3.23."""

    UE_ONLY = 0
    RESERVED = 1
    UE_NW = 2


class BearerUsage(enum.IntEnum):
    """TS 29.212 clause 5.3.1."""

    GENERAL = 0
    IMS_SIGNALLING = 1
    DEDICATED = 2


class EventTrigger(enum.IntEnum):
    """TS 29.212 clause 5.3.7."""

    SGSN_CHANGE = 0
    QOS_CHANGE = 1
    RAT_CHANGE = 2
    TFT_CHANGE = 3
    PLMN_CHANGE = 4
    LOSS_OF_BEARER = 5
    RECOVERY_OF_BEARER = 6
    IP_CAN_CHANGE = 7
    QOS_CHANGE_EXCEEDING_AUTHORIZATION = 11
    RAI_CHANGE = 12
    USER_LOCATION_CHANGE = 13
    NO_EVENT_TRIGGERS = 14
    OUT_OF_CREDIT = 15
    REALLOCATION_OF_CREDIT = 16
    REVALIDATION_TIMEOUT = 17
    UE_IP_ADDRESS_ALLOCATE = 18
    UE_IP_ADDRESS_RELEASE = 19
    DEFAULT_EPS_BEARER_QOS_CHANGE = 20
    AN_GW_CHANGE = 21
    SUCCESSFUL_RESOURCE_ALLOCATION = 22
    RESOURCE_MODIFICATION_REQUEST = 23
    PGW_TRACE_CONTROL = 24
    UE_TIME_ZONE_CHANGE = 25
    TAI_CHANGE = 26
    ECGI_CHANGE = 27
    CHARGING_CORRELATION_EXCHANGE = 28
    APN_AMBR_MODIFICATION_FAILURE = 29
    USER_CSG_INFORMATION_CHANGE = 30
    USAGE_REPORT = 33
    DEFAULT_EPS_BEARER_QOS_MODIFICATION_FAILURE = 34
    USER_CSG_HYBRID_SUBSCRIBED_INFORMATION_CHANGE = 35
    USER_CSG_HYBRID_UNSUBSCRIBED_INFORMATION_CHANGE = 36
    ROUTING_RULE_CHANGE = 37
    APPLICATION_START = 39
    APPLICATION_STOP = 40
    CS_TO_PS_HANDOVER = 42
    UE_LOCAL_IP_ADDRESS_CHANGE = 43
    H_E_NB_LOCAL_IP_ADDRESS_CHANGE = 44
    ACCESS_NETWORK_INFO_REPORT = 45
    CREDIT_MANAGEMENT_SESSION_FAILURE = 46
    DEFAULT_QOS_CHANGE = 47
    CHANGE_OF_UE_PRESENCE_IN_PRESENCE_REPORTING_AREA_REPORT = 48


class SessionReleaseCause(enum.IntEnum):
    """TS 29.212 clause 5.3.44."""

    UNSPECIFIED_REASON = 0
    UE_SUBSCRIPTION_REASON = 1
    INSUFFICIENT_SERVER_RESOURCES = 2
    IP_CAN_SESSION_TERMINATION = 3
    UE_IP_ADDRESS_RELEASE = 4


class ReAuthRequestType(enum.IntEnum):
    """RFC 6733 clause 8.12."""

    AUTHORIZE_ONLY = 0
    AUTHORIZE_AUTHENTICATE = 1


class Online(enum.IntEnum):
    """TS 29.212 clause 5.3.36."""

    DISABLE_ONLINE = 0
    ENABLE_ONLINE = 1


class Offline(enum.IntEnum):
    """TS 29.212 clause 5.3.35."""

    DISABLE_OFFLINE = 0
    ENABLE_OFFLINE = 1


@avp_group
class AccessNetworkChargingIdentifierGx(Group):
    """The bearer's charging identifier (TS 29.212 clause 5.3.22)."""

    access_network_charging_identifier_value: bytes
    charging_rule_name: tuple[bytes, ...] = ()


@command(272, GX_APPLICATION)
class CreditControlRequest(Request):
    """The PCEF opens, changes or ends an IP-CAN session (TS 29.212 clause 5.6.2)."""

    session_id: str
    auth_application_id: int = GX_APPLICATION
    origin_host: str
    origin_realm: str
    destination_realm: str
    cc_request_type: CcRequestType | int
    cc_request_number: int                                          # 0 with the first request of a session, then counting
    destination_host: str | None = None
    origin_state_id: int | None = None
    subscription_id: tuple[SubscriptionId, ...] = ()
    supported_features: tuple[SupportedFeatures, ...] = ()
    network_request_support: NetworkRequestSupport | int | None = None
    bearer_identifier: bytes | None = None
    framed_ip_address: ipaddress.IPv4Address | None = None
    framed_ipv6_prefix: ipaddress.IPv6Network | None = None
    ip_can_type: IpCanType | int | None = None
    tgpp_rat_type: bytes | None = None
    rat_type: RatType | int | None = None
    termination_cause: TerminationCause | int | None = None
    user_equipment_info: UserEquipmentInfo | None = None
    qos_information: QosInformation | None = None                   # on establishment: the subscribed APN-AMBR
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    an_gw_address: tuple[IPAddress, ...] = ()
    tgpp_sgsn_mcc_mnc: str | None = None                            # the serving PLMN's digits
    tgpp_sgsn_address: bytes | None = None
    tgpp_user_location_info: bytes | None = None                    # TS 29.061 clause 16.4.7.2
    tgpp_ms_timezone: bytes | None = None
    called_station_id: str | None = None                            # the APN
    pdn_connection_id: bytes | None = None
    bearer_usage: BearerUsage | int | None = None
    online: Online | int | None = None
    offline: Offline | int | None = None
    packet_filter_information: tuple[PacketFilterInformation, ...] = ()     # the UE asks for resources, with the operation
    packet_filter_operation: PacketFilterOperation | int | None = None
    charging_rule_report: tuple[ChargingRuleReport, ...] = ()
    application_detection_information: tuple[ApplicationDetectionInformation, ...] = ()
    event_trigger: tuple[EventTrigger | int, ...] = ()
    ran_nas_release_cause: tuple[bytes, ...] = ()                   # TS 29.212 clause 5.3.106: why the access network took a bearer away
    access_network_charging_address: IPAddress | None = None
    access_network_charging_identifier_gx: tuple[AccessNetworkChargingIdentifierGx, ...] = ()
    usage_monitoring_information: tuple[UsageMonitoringInformation, ...] = ()
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(272, GX_APPLICATION)
class CreditControlAnswer(Answer):
    """The PCRF's decision (TS 29.212 clause 5.6.3)."""

    session_id: str
    auth_application_id: int = GX_APPLICATION
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    cc_request_type: CcRequestType | int
    cc_request_number: int
    supported_features: tuple[SupportedFeatures, ...] = ()
    bearer_control_mode: BearerControlMode | int | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    event_report_indication: EventReportIndication | None = None
    origin_state_id: int | None = None
    charging_rule_remove: tuple[ChargingRuleRemove, ...] = ()
    charging_rule_install: tuple[ChargingRuleInstall, ...] = ()
    online: Online | int | None = None
    offline: Offline | int | None = None
    qos_information: tuple[QosInformation, ...] = ()                # authorised APN-AMBR, or QoS per QCI
    revalidation_time: datetime.datetime | None = None
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    bearer_usage: BearerUsage | int | None = None
    tgpp_user_location_info: bytes | None = None
    usage_monitoring_information: tuple[UsageMonitoringInformation, ...] = ()
    session_release_cause: SessionReleaseCause | int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(258, GX_APPLICATION)
class ReAuthRequest(Request):
    """The PCRF pushes rules to the PCEF, or ends the session (TS 29.212 clause 5.6.4)."""

    session_id: str
    auth_application_id: int = GX_APPLICATION
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    re_auth_request_type: ReAuthRequestType | int = ReAuthRequestType.AUTHORIZE_ONLY
    session_release_cause: SessionReleaseCause | int | None = None
    origin_state_id: int | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    event_report_indication: EventReportIndication | None = None
    charging_rule_remove: tuple[ChargingRuleRemove, ...] = ()
    charging_rule_install: tuple[ChargingRuleInstall, ...] = ()
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    qos_information: tuple[QosInformation, ...] = ()
    revalidation_time: datetime.datetime | None = None
    usage_monitoring_information: tuple[UsageMonitoringInformation, ...] = ()
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(258, GX_APPLICATION)
class ReAuthAnswer(Answer):
    """What the PCEF made of the push (TS 29.212 clause 5.6.5)."""

    session_id: str
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    origin_state_id: int | None = None
    event_trigger: tuple[EventTrigger | int, ...] = ()
    ip_can_type: IpCanType | int | None = None
    rat_type: RatType | int | None = None
    an_gw_address: tuple[IPAddress, ...] = ()
    tgpp_sgsn_mcc_mnc: str | None = None
    tgpp_user_location_info: bytes | None = None
    charging_rule_report: tuple[ChargingRuleReport, ...] = ()
    access_network_charging_address: IPAddress | None = None
    access_network_charging_identifier_gx: tuple[AccessNetworkChargingIdentifierGx, ...] = ()
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
