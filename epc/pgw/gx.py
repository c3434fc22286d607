"""The PGW's side of Gx: Credit-Control at the start and end of a session, what the PCRF asks for in between (TS 29.212 clause 4.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from epc.dataplane.rules import Usage
from epc.peer.diameter import PeerUnavailable
from epc.peer.timer import TimerExpired
from epc.pgw.context import PdnSession, PolicySession
from epc.pgw.policy import Policy, arp_group
from epc.procedure import Reject, procedure
from epc.wire import diameter
from epc.wire.diameter import DiameterError, ResultCode
from epc.wire.diameter.groups import RatType, SubscriptionId, SubscriptionIdType, TerminationCause, UserEquipmentInfo, UserEquipmentInfoType
from epc.wire.diameter.gx import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    EventTrigger,
    IpCanType,
    NetworkRequestSupport,
)
from epc.wire.diameter.policy import (
    ApplicationDetectionInformation,
    ChargingRuleReport,
    DefaultEpsBearerQos,
    PacketFilterInformation,
    PacketFilterOperation,
    QosInformation,
    UsageMonitoringInformation,
)
from epc.wire.gtpv2 import CauseValue, CreateSessionRequest, Uli
from epc.wire.gtpv2 import RatType as GtpRatType
from epc.wire.gtpv2.elements import UE_TIME_ZONE
from epc.wire.identity import encode_plmn

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from epc.pgw.node import Pgw

_RAT_TYPES = {GtpRatType.EUTRAN: RatType.EUTRAN, GtpRatType.EUTRAN_NB_IOT: RatType.EUTRAN_NB_IOT, GtpRatType.LTE_M: RatType.LTE_M,
              GtpRatType.UTRAN: RatType.UTRAN, GtpRatType.GERAN: RatType.GERAN, GtpRatType.NR: RatType.NR}
_NOT_AUTHORISED = (ResultCode.DIAMETER_USER_UNKNOWN, ResultCode.DIAMETER_AUTHORIZATION_REJECTED, ResultCode.DIAMETER_END_USER_SERVICE_DENIED)
_NO_RESOURCES = (ResultCode.DIAMETER_TOO_BUSY, ResultCode.DIAMETER_OUT_OF_SPACE, ResultCode.DIAMETER_RESOURCES_EXCEEDED)
_PAUSES_S = (2.0, 5.0, 10.0, 20.0)     # between attempts to tell the PCRF of a session's end
_TAI_AND_ECGI = 130             # geographic location type, TS 29.061 clause 16.4.7.2
_OF_PLACE = {EventTrigger.USER_LOCATION_CHANGE, EventTrigger.TAI_CHANGE, EventTrigger.ECGI_CHANGE}
_OF_QOS = {EventTrigger.QOS_CHANGE, EventTrigger.DEFAULT_EPS_BEARER_QOS_CHANGE, EventTrigger.DEFAULT_EPS_BEARER_QOS_MODIFICATION_FAILURE,
           EventTrigger.APN_AMBR_MODIFICATION_FAILURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a Credit-Control-Request tells the PCRF of in the middle of a session."""

    event_triggers: tuple[EventTrigger, ...] = ()
    rules: tuple[ChargingRuleReport, ...] = ()
    applications: tuple[ApplicationDetectionInformation, ...] = ()
    usage: tuple[UsageMonitoringInformation, ...] = ()
    packet_filters: tuple[PacketFilterInformation, ...] = ()
    packet_filter_operation: PacketFilterOperation | None = None
    requested_qos: QosInformation | None = None         # of the UE, for the packet filters


async def open_ip_can_session(
    pgw: Pgw, gx: PolicySession, request: CreateSessionRequest, apn: str, ue_address: IPv4Address, subscribed: Policy
) -> CreditControlAnswer | None:
    """The PCRF's decision for a new session; ``None`` when there is none and the configuration says to go on without.

    Raises :class:`Reject` with the cause for the SGW.
    """
    config = pgw.config.gx
    assert config is not None
    try:
        gx.is_open = True
        answer = await _ask(pgw, gx, _initial_request(pgw, gx, request, apn, ue_address, subscribed))
    except (PeerUnavailable, TimerExpired, DiameterError) as error:
        if isinstance(error, PeerUnavailable):
            gx.is_open = False
        pgw.log.warning("gx.no_decision", reason=str(error), goes_on=config.on_failure == "continue")
        if config.on_failure == "continue":
            return None
        raise Reject(CauseValue.REQUEST_REJECTED, f"no decision from the PCRF: {error}") from error
    if isinstance(answer, CreditControlAnswer) and answer.is_success:
        gx.pcrf = answer.origin_host
        return answer
    gx.is_open = False
    raise Reject(_cause_of(answer.result), f"the PCRF refuses: {answer.result!r}")


@procedure(spec="TS 29.212 clause 4.5.7")
async def ip_can_session_termination(
    pgw: Pgw, session: PdnSession, cause: TerminationCause, last_usage: Mapping[int, Usage] | None = None
) -> None:
    """Tell the PCRF that the session has ended; one that cannot be reached now is told later, for nothing else would end it there."""
    gx = session.gx
    if gx is None or not gx.is_open:
        return
    gx.is_open = False
    if pgw.sx is not None and session.usage_monitoring.monitors:
        await pgw.sx.departed(session.session_id)       # the PGW-U tells the last volumes when it gives the session up
    usage = session.usage_monitoring.take(session.usage_monitoring.monitors.values(), last_usage or {})
    request = _request(pgw, gx, CcRequestType.TERMINATION_REQUEST, termination_cause=cause, usage_monitoring_information=usage)
    answer = None
    for pause_s in _PAUSES_S:
        try:
            answer = await _ask(pgw, gx, request)
            break
        except (PeerUnavailable, TimerExpired) as error:
            pgw.log.info("gx.termination_delayed", reason=str(error), by_s=pause_s)
            await asyncio.sleep(pause_s)
    if answer is None:
        answer = await _ask(pgw, gx, request)
    if not (isinstance(answer, CreditControlAnswer) and answer.is_success):
        raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY if answer.result is None else answer.result, "the PCRF refuses the termination")


@procedure(spec="TS 29.212 clauses 4.5.1 and 4.5.12")
async def ip_can_session_modification(pgw: Pgw, session: PdnSession, report: Report) -> None:
    """Tell the PCRF what has happened, and do what it decides then."""
    answer = await update(pgw, session, report, None)
    if answer is not None:
        pgw.enforce(session, answer, reports=not report.rules)      # or a PCRF that insists on what cannot be would hear of it for ever


async def authorise(pgw: Pgw, session: PdnSession, subscribed: Policy) -> Policy:
    """The PCRF's word on another subscribed QoS (TS 23.401 clause 5.4.2.2 step 4); without a word what is subscribed is taken."""
    answer = await update(pgw, session, Report(event_triggers=(EventTrigger.DEFAULT_EPS_BEARER_QOS_CHANGE,)), subscribed)
    session.wanted_policy = subscribed
    if answer is not None:
        pgw.enforce(session, answer, binds=False)
    return session.wanted_policy


async def update(pgw: Pgw, session: PdnSession, report: Report, subscribed: Policy | None = None) -> CreditControlAnswer | None:
    """``None``: there is no PCRF, or it does not answer; one that has lost the session is not asked again."""
    gx = session.gx
    if gx is None or not gx.is_open:
        return None
    try:
        answer = await _ask(pgw, gx, _update_request(pgw, session, gx, report, subscribed))
    except (PeerUnavailable, TimerExpired, DiameterError) as error:
        pgw.log.warning("gx.update_failed", reason=str(error))
        return None
    if isinstance(answer, CreditControlAnswer) and answer.is_success:
        return answer
    pgw.log.warning("gx.update_refused", result=str(answer.result))
    if answer.result == ResultCode.DIAMETER_UNKNOWN_SESSION_ID:
        gx.is_open = False
    return None


def _cause_of(result: int | None) -> CauseValue:
    if result in _NOT_AUTHORISED:
        return CauseValue.USER_AUTHENTICATION_FAILED
    if result in _NO_RESOURCES:
        return CauseValue.NO_RESOURCES_AVAILABLE
    return CauseValue.REQUEST_REJECTED


async def _ask(pgw: Pgw, gx: PolicySession, request: CreditControlRequest) -> CreditControlAnswer | diameter.ErrorAnswer:
    assert pgw.gx is not None
    assert pgw.config.gx is not None
    gx.next_request_number += 1
    answer = (await pgw.gx.request(request, timer=pgw.config.gx.tx)).message
    if isinstance(answer, CreditControlAnswer | diameter.ErrorAnswer):
        return answer
    raise DiameterError(f"{type(answer).__name__} answers a Credit-Control-Request", ResultCode.DIAMETER_UNABLE_TO_COMPLY)


def _request(pgw: Pgw, gx: PolicySession, kind: CcRequestType, **fields: Any) -> CreditControlRequest:
    config = pgw.config.gx
    assert config is not None
    assert pgw.gx is not None
    return CreditControlRequest(
        session_id=gx.session_id, origin_host=pgw.gx.identity.origin_host, origin_realm=pgw.gx.identity.origin_realm,
        origin_state_id=pgw.gx.identity.origin_state_id, destination_realm=config.destination_realm or config.origin_realm,
        destination_host=gx.pcrf, cc_request_type=kind, cc_request_number=gx.next_request_number, **fields,
    )


def _update_request(pgw: Pgw, session: PdnSession, gx: PolicySession, report: Report, subscribed: Policy | None) -> CreditControlRequest:
    """With each event goes what it is about (TS 29.212 clause 5.3.7)."""
    events, place = frozenset(report.event_triggers), session.whereabouts
    policy = subscribed or session.policy
    fields: dict[str, Any] = {}
    if events & {EventTrigger.RAT_CHANGE}:
        fields["rat_type"] = _RAT_TYPES.get(place.rat_type) if isinstance(place.rat_type, GtpRatType) else None
    if events & _OF_PLACE:
        fields["tgpp_user_location_info"] = None if place.uli is None else user_location_info(place.uli)
    if events & {EventTrigger.PLMN_CHANGE, EventTrigger.SGSN_CHANGE, EventTrigger.AN_GW_CHANGE}:
        fields["tgpp_sgsn_mcc_mnc"] = place.serving_network
    if events & {EventTrigger.AN_GW_CHANGE, EventTrigger.SGSN_CHANGE}:
        fields["an_gw_address"] = (ip_address(session.sgw.host),)
    if events & {EventTrigger.UE_TIME_ZONE_CHANGE} and place.ue_time_zone is not None:
        fields["tgpp_ms_timezone"] = UE_TIME_ZONE.encode(place.ue_time_zone)         # coded as on GTP-C: TS 29.061 clause 16.4.7.2
    if report.requested_qos is not None:
        fields["qos_information"] = report.requested_qos
    elif events & _OF_QOS:
        fields["default_eps_bearer_qos"] = DefaultEpsBearerQos(
            qos_class_identifier=policy.qos.qci, allocation_retention_priority=arp_group(policy.qos.arp))
        if policy.ambr is not None:
            fields["qos_information"] = QosInformation(
                apn_aggregate_max_bitrate_ul=policy.ambr.uplink_kbps * 1000, apn_aggregate_max_bitrate_dl=policy.ambr.downlink_kbps * 1000)
    return _request(
        pgw, gx, CcRequestType.UPDATE_REQUEST, event_trigger=report.event_triggers, charging_rule_report=report.rules,
        application_detection_information=report.applications, usage_monitoring_information=report.usage,
        packet_filter_information=report.packet_filters, packet_filter_operation=report.packet_filter_operation, **fields)


def _initial_request(
    pgw: Pgw, gx: PolicySession, request: CreateSessionRequest, apn: str, ue_address: IPv4Address, subscribed: Policy
) -> CreditControlRequest:
    config = pgw.config.gx
    assert config is not None
    assert pgw.gx is not None
    subscription = [SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=request.imsi or "")]
    if request.msisdn:
        subscription.append(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=request.msisdn))
    ambr = subscribed.ambr
    return CreditControlRequest(
        session_id=gx.session_id, origin_host=pgw.gx.identity.origin_host, origin_realm=pgw.gx.identity.origin_realm,
        origin_state_id=pgw.gx.identity.origin_state_id, destination_realm=config.destination_realm or config.origin_realm,
        cc_request_type=CcRequestType.INITIAL_REQUEST, cc_request_number=gx.next_request_number,
        subscription_id=tuple(subscription),
        network_request_support=NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED, framed_ip_address=ue_address, ip_can_type=IpCanType.TGPP_EPS,
        rat_type=_RAT_TYPES.get(request.rat_type) if isinstance(request.rat_type, GtpRatType) else None,
        user_equipment_info=None if request.mei is None
        else UserEquipmentInfo(user_equipment_info_type=UserEquipmentInfoType.IMEISV, user_equipment_info_value=request.mei.encode()),
        qos_information=None if ambr is None
        else QosInformation(apn_aggregate_max_bitrate_ul=ambr.uplink_kbps * 1000, apn_aggregate_max_bitrate_dl=ambr.downlink_kbps * 1000),
        default_eps_bearer_qos=DefaultEpsBearerQos(
            qos_class_identifier=subscribed.qos.qci, allocation_retention_priority=arp_group(subscribed.qos.arp)),
        an_gw_address=(ip_address(request.sender_fteid.host),), tgpp_sgsn_mcc_mnc=request.serving_network,
        tgpp_user_location_info=None if request.uli is None else user_location_info(request.uli), called_station_id=apn,
    )


def user_location_info(uli: Uli) -> bytes | None:
    """3GPP-User-Location-Info (TS 29.061 clause 16.4.7.2)."""
    if uli.tai is None or uli.ecgi is None:
        return None
    return (
        bytes((_TAI_AND_ECGI,)) + encode_plmn(uli.tai.plmn) + uli.tai.tac.to_bytes(2, "big") + encode_plmn(uli.ecgi.plmn)
        + uli.ecgi.eci.to_bytes(4, "big")
    )
