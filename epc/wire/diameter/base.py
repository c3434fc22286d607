"""The base protocol's own commands (RFC 6733 clauses 5.3 to 5.5, 8.4, 8.5)."""

from __future__ import annotations

import enum

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import BASE_APPLICATION, ProxyInfo, TerminationCause, VendorSpecificApplicationId
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import FailedAvp


class DisconnectCause(enum.IntEnum):
    """RFC 6733 clause 5.4.3."""

    REBOOTING = 0
    BUSY = 1
    DO_NOT_WANT_TO_TALK_TO_YOU = 2


@command(257, BASE_APPLICATION, proxiable=False)
class CapabilitiesExchangeRequest(Request):
    """Who I am and what I speak: the first message on a connection, from the side that opened it."""

    origin_host: str
    origin_realm: str
    host_ip_address: tuple[IPAddress, ...]
    vendor_id: int
    product_name: str
    origin_state_id: int | None = None
    supported_vendor_id: tuple[int, ...] = ()
    auth_application_id: tuple[int, ...] = ()
    inband_security_id: tuple[int, ...] = ()
    acct_application_id: tuple[int, ...] = ()
    vendor_specific_application_id: tuple[VendorSpecificApplicationId, ...] = ()
    firmware_revision: int | None = None


@command(257, BASE_APPLICATION, proxiable=False)
class CapabilitiesExchangeAnswer(Answer):
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    host_ip_address: tuple[IPAddress, ...]
    vendor_id: int
    product_name: str
    origin_state_id: int | None = None
    error_message: str | None = None
    failed_avp: FailedAvp | None = None
    supported_vendor_id: tuple[int, ...] = ()
    auth_application_id: tuple[int, ...] = ()
    inband_security_id: tuple[int, ...] = ()
    acct_application_id: tuple[int, ...] = ()
    vendor_specific_application_id: tuple[VendorSpecificApplicationId, ...] = ()
    firmware_revision: int | None = None


@command(280, BASE_APPLICATION, proxiable=False)
class DeviceWatchdogRequest(Request):
    """Are you there? Sent on an idle connection (RFC 3539 clause 3.4)."""

    origin_host: str
    origin_realm: str
    origin_state_id: int | None = None


@command(280, BASE_APPLICATION, proxiable=False)
class DeviceWatchdogAnswer(Answer):
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    error_message: str | None = None
    failed_avp: FailedAvp | None = None
    origin_state_id: int | None = None


@command(282, BASE_APPLICATION, proxiable=False)
class DisconnectPeerRequest(Request):
    """I am about to close this connection, and why."""

    origin_host: str
    origin_realm: str
    disconnect_cause: DisconnectCause | int


@command(282, BASE_APPLICATION, proxiable=False)
class DisconnectPeerAnswer(Answer):
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    error_message: str | None = None
    failed_avp: FailedAvp | None = None


@command(275, None)
class SessionTerminationRequest(Request):
    """The access device ends a session of ``auth_application_id`` (RFC 6733 clause 8.4)."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    auth_application_id: int
    termination_cause: TerminationCause | int
    user_name: str | None = None
    destination_host: str | None = None
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(275, None)
class SessionTerminationAnswer(Answer):
    session_id: str
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    user_name: str | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(274, None)
class AbortSessionRequest(Request):
    """The server wants a session of ``auth_application_id`` ended (RFC 6733 clause 8.5)."""

    session_id: str
    origin_host: str
    origin_realm: str
    destination_realm: str
    destination_host: str
    auth_application_id: int
    user_name: str | None = None
    origin_state_id: int | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@command(274, None)
class AbortSessionAnswer(Answer):
    session_id: str
    result_code: ResultCode | int
    origin_host: str
    origin_realm: str
    user_name: str | None = None
    origin_state_id: int | None = None
    error_message: str | None = None
    error_reporting_host: str | None = None
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()
