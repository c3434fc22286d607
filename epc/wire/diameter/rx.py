"""An application function's interface to the PCRF (TS 29.214 clause 5.6, release 15).

A session is ended with the base protocol's ``SessionTerminationRequest`` of ``auth_application_id=RX_APPLICATION``.
"""

from __future__ import annotations

import enum
import ipaddress

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import (
    RX_APPLICATION,
    AuthSessionState,
    ExperimentalResult,
    FinalUnitAction,
    ProxyInfo,
    RatType,
    SubscriptionId,
    SupportedFeatures,
)
from epc.wire.diameter.gx import IpCanType
from epc.wire.diameter.policy import FlowStatus
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import FailedAvp, Group, avp_group


class MediaType(enum.IntEnum):
    """TS 29.214 clause 5.3.19."""

    AUDIO = 0
    VIDEO = 1
    DATA = 2
    APPLICATION = 3
    CONTROL = 4
    TEXT = 5
    MESSAGE = 6
    OTHER = -1          # 0xFFFFFFFF


class FlowUsage(enum.IntEnum):
    """TS 29.214 clause 5.3.12."""

    NO_INFORMATION = 0
    RTCP = 1
    AF_SIGNALLING = 2


class SpecificAction(enum.IntEnum):
    """What an application function wants to be told (TS 29.214 clause 5.3.13)."""

    CHARGING_CORRELATION_EXCHANGE = 1
    INDICATION_OF_LOSS_OF_BEARER = 2
    INDICATION_OF_RECOVERY_OF_BEARER = 3
    INDICATION_OF_RELEASE_OF_BEARER = 4
    IP_CAN_CHANGE = 6
    INDICATION_OF_OUT_OF_CREDIT = 7
    INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION = 8
    INDICATION_OF_FAILED_RESOURCES_ALLOCATION = 9
    INDICATION_OF_LIMITED_PCC_DEPLOYMENT = 10
    USAGE_REPORT = 11
    ACCESS_NETWORK_INFO_REPORT = 12
    INDICATION_OF_RECOVERY_FROM_LIMITED_PCC_DEPLOYMENT = 13
    INDICATION_OF_ACCESS_NETWORK_INFO_REPORTING_FAILURE = 14
    INDICATION_OF_TRANSFER_POLICY_EXPIRED = 15
    PLMN_CHANGE = 16


class AbortCause(enum.IntEnum):
    """Why the PCRF wants a session ended (TS 29.214 clause 5.3.1)."""

    BEARER_RELEASED = 0
    INSUFFICIENT_SERVER_RESOURCES = 1
    INSUFFICIENT_BEARER_RESOURCES = 2
    PS_TO_CS_HANDOVER = 3
    SPONSORED_DATA_CONNECTIVITY_DISALLOWED = 4


class ServiceInfoStatus(enum.IntEnum):
    """TS 29.214 clause 5.3.25."""

    FINAL_SERVICE_INFORMATION = 0
    PRELIMINARY_SERVICE_INFORMATION = 1


class RxRequestType(enum.IntEnum):
    """TS 29.214 clause 5.3.31."""

    INITIAL_REQUEST = 0
    UPDATE_REQUEST = 1
    PCSCF_RESTORATION = 2


@avp_group
class MediaSubComponent(Group):
    """Flows of a media component that belong together: RTP, or its RTCP (TS 29.214 clause 5.3.17)."""

    flow_number: int                                    # allocated by the application function, unique in the component
    flow_description: tuple[str, ...] = ()              # one for each direction: permit in from the UE, permit out to it
    flow_status: FlowStatus | int | None = None         # absent: the component's
    flow_usage: FlowUsage | int | None = None
    max_requested_bandwidth_ul: int | None = None       # bit/s; absent: the component's
    max_requested_bandwidth_dl: int | None = None
    af_signalling_protocol: int | None = None
    tos_traffic_class: bytes | None = None


@avp_group
class MediaComponentDescription(Group):
    """One medium of a service (TS 29.214 clause 5.3.16)."""

    media_component_number: int                         # allocated by the application function, unique in the session
    media_sub_component: tuple[MediaSubComponent, ...] = ()
    af_application_identifier: bytes | None = None
    media_type: MediaType | int | None = None
    max_requested_bandwidth_ul: int | None = None       # bit/s, of the RTP flows
    max_requested_bandwidth_dl: int | None = None
    min_requested_bandwidth_ul: int | None = None
    min_requested_bandwidth_dl: int | None = None
    flow_status: FlowStatus | int | None = None         # REMOVED: the component goes
    reservation_priority: int | None = None
    rs_bandwidth: int | None = None                     # bit/s, RTCP of senders and of receivers
    rr_bandwidth: int | None = None
    codec_data: tuple[str, ...] = ()


@avp_group
class AcceptableServiceInfo(Group):
    """What would be authorised instead (TS 29.214 clause 5.3.24)."""

    media_component_description: tuple[MediaComponentDescription, ...] = ()
    max_requested_bandwidth_ul: int | None = None
    max_requested_bandwidth_dl: int | None = None


@avp_group
class Flows(Group):
    """Which flows an event is about (TS 29.214 clause 5.3.10)."""

    media_component_number: int
    flow_number: tuple[int, ...] = ()                   # none: all of the component
    final_unit_action: FinalUnitAction | int | None = None


@avp_group
class AccessNetworkChargingIdentifier(Group):
    """A bearer's charging identifier, and the flows on it (TS 29.214 clause 5.3.3)."""

    access_network_charging_identifier_value: bytes
    flows: tuple[Flows, ...] = ()


@avp_group
class SponsoredConnectivityData(Group):
    """Somebody else pays (TS 29.214 clause 5.3.27)."""

    sponsor_identity: str | None = None
    application_service_provider_identity: str | None = None


@command(265, RX_APPLICATION)
class AARequest(Request):
    """The application function describes its service, for the first time or anew (TS 29.214 clause 5.6.1)."""

    session_id: str
    auth_application_id: int = RX_APPLICATION
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str | None = None
    ip_domain_id: bytes | None = None
    auth_session_state: AuthSessionState | int | None = None
    af_application_identifier: bytes | None = None
    media_component_description: tuple[MediaComponentDescription, ...] = ()
    service_info_status: ServiceInfoStatus | int | None = None
    af_charging_identifier: bytes | None = None
    sip_forking_indication: int | None = None
    specific_action: tuple[SpecificAction | int, ...] = ()
    subscription_id: tuple[SubscriptionId, ...] = ()
    supported_features: tuple[SupportedFeatures, ...] = ()
    reservation_priority: int | None = None
    framed_ip_address: ipaddress.IPv4Address | None = None
    framed_ipv6_prefix: ipaddress.IPv6Network | None = None
    called_station_id: str | None = None
    service_urn: bytes | None = None
    sponsored_connectivity_data: SponsoredConnectivityData | None = None
    mps_identifier: bytes | None = None
    rx_request_type: RxRequestType | int | None = None
    required_access_info: tuple[int, ...] = ()
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(265, RX_APPLICATION)
class AAAnswer(Answer):
    """Whether it may (TS 29.214 clause 5.6.2); the bearer comes later."""

    session_id: str
    auth_application_id: int = RX_APPLICATION
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    auth_session_state: AuthSessionState | int | None = None
    access_network_charging_identifier: tuple[AccessNetworkChargingIdentifier, ...] = ()
    access_network_charging_address: IPAddress | None = None
    acceptable_service_info: AcceptableServiceInfo | None = None
    ip_can_type: IpCanType | int | None = None
    rat_type: RatType | int | None = None
    supported_features: tuple[SupportedFeatures, ...] = ()
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(258, RX_APPLICATION)
class ReAuthRequest(Request):
    """Something happened to the bearers (TS 29.214 clause 5.6.3)."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    auth_application_id: int = RX_APPLICATION
    specific_action: tuple[SpecificAction | int, ...]
    access_network_charging_identifier: tuple[AccessNetworkChargingIdentifier, ...] = ()
    access_network_charging_address: IPAddress | None = None
    flows: tuple[Flows, ...] = ()
    subscription_id: tuple[SubscriptionId, ...] = ()
    abort_cause: AbortCause | int | None = None
    ip_can_type: IpCanType | int | None = None
    rat_type: RatType | int | None = None
    tgpp_user_location_info: bytes | None = None
    tgpp_ms_timezone: bytes | None = None
    tgpp_sgsn_mcc_mnc: str | None = None
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(258, RX_APPLICATION)
class ReAuthAnswer(Answer):
    """TS 29.214 clause 5.6.4."""

    session_id: str
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    media_component_description: tuple[MediaComponentDescription, ...] = ()
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(274, RX_APPLICATION)
class AbortSessionRequest(Request):
    """The PCRF wants the session ended: there is no bearer for it any more (TS 29.214 clause 5.6.7)."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    auth_application_id: int = RX_APPLICATION
    abort_cause: AbortCause | int
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(274, RX_APPLICATION)
class AbortSessionAnswer(Answer):
    """TS 29.214 clause 5.6.8."""

    session_id: str
    origin_host: str
    origin_realm: str
    result_code: ResultCode | int | None = None
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
