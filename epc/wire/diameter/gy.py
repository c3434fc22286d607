"""The PDN GW's interface to the online charging system (TS 32.299 clause 6.4 on RFC 8506, release 15).

Credit control shares its command code 272 with Gx; the application identifier tells them apart. A session is aborted with the base
protocol's ``AbortSessionRequest`` of ``auth_application_id=GY_APPLICATION``.
"""

from __future__ import annotations

import datetime

from epc.wire.diameter.charging import (
    CcSessionFailover,
    CostInformation,
    CreditControlFailureHandling,
    MultipleServicesCreditControl,
    MultipleServicesIndicator,
    ServiceInformation,
)
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import GY_APPLICATION, ProxyInfo, SubscriptionId, TerminationCause, UserEquipmentInfo
from epc.wire.diameter.gx import CcRequestType, ReAuthRequestType
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import FailedAvp

PS_CHARGING = "32251@3gpp.org"      # Service-Context-Id of packet switched charging (TS 32.299 clause 7.1.12)


@command(272, GY_APPLICATION)
class CreditControlRequest(Request):
    """The gateway asks for credit, reports usage or ends a session (TS 32.299 clause 6.4.2)."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    auth_application_id: int = GY_APPLICATION
    service_context_id: str = PS_CHARGING
    cc_request_type: CcRequestType | int
    cc_request_number: int                                          # 0 with the first request of a session, then counting
    destination_host: str | None = None
    user_name: str | None = None
    origin_state_id: int | None = None
    event_timestamp: datetime.datetime | None = None
    subscription_id: tuple[SubscriptionId, ...] = ()
    termination_cause: TerminationCause | int | None = None
    multiple_services_indicator: MultipleServicesIndicator | int | None = None
    multiple_services_credit_control: tuple[MultipleServicesCreditControl, ...] = ()
    user_equipment_info: UserEquipmentInfo | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()
    service_information: ServiceInformation | None = None


@command(272, GY_APPLICATION)
class CreditControlAnswer(Answer):
    """What the OCS grants (TS 32.299 clause 6.4.3)."""

    session_id: str
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    auth_application_id: int = GY_APPLICATION
    cc_request_type: CcRequestType | int
    cc_request_number: int
    cc_session_failover: CcSessionFailover | int | None = None
    multiple_services_credit_control: tuple[MultipleServicesCreditControl, ...] = ()
    cost_information: CostInformation | None = None
    credit_control_failure_handling: CreditControlFailureHandling | int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()
    service_information: ServiceInformation | None = None


@command(258, GY_APPLICATION)
class ReAuthRequest(Request):
    """The OCS wants the gateway to report and ask again (RFC 8506 clause 5.5): all services of the session, or one."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    auth_application_id: int = GY_APPLICATION
    re_auth_request_type: ReAuthRequestType | int = ReAuthRequestType.AUTHORIZE_ONLY
    user_name: str | None = None
    origin_state_id: int | None = None
    cc_sub_session_id: int | None = None
    g_s_u_pool_identifier: int | None = None
    service_identifier: int | None = None
    rating_group: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(258, GY_APPLICATION)
class ReAuthAnswer(Answer):
    """DIAMETER_LIMITED_SUCCESS: a Credit-Control-Request follows (RFC 8506 clause 5.5)."""

    session_id: str
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    user_name: str | None = None
    origin_state_id: int | None = None
    cc_sub_session_id: int | None = None
    g_s_u_pool_identifier: int | None = None
    service_identifier: int | None = None
    rating_group: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
