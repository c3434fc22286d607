"""Credit-Control-Requests of the PGW (TS 32.299 clauses 6.4.2 and 7, TS 32.251 clause 6.3.1)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from epc.dataplane.rules import Usage
from epc.pgw.context import PdnSession
from epc.pgw.gx import user_location_info
from epc.pgw.online_charging.session import OnlineSession, Service
from epc.wire.diameter.charging import (
    MultipleServicesCreditControl,
    MultipleServicesIndicator,
    PdpType,
    PsInformation,
    ReportingReason,
    RequestedServiceUnit,
    ServiceInformation,
    ServingNodeType,
    TariffChangeUsage,
    UsedServiceUnit,
)
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType, TerminationCause, UserEquipmentInfo, UserEquipmentInfoType
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.gy import CreditControlRequest
from epc.wire.diameter.policy import QosInformation
from epc.wire.gtpv2.elements import UE_TIME_ZONE

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


def initial_request(pgw: Pgw, session: PdnSession, online: OnlineSession) -> CreditControlRequest:
    """Who, where and how, and the first units for every charging key that is to have some (RFC 8506 clause 5.2)."""
    services = []
    for service in online.due:
        if service.wants_units:
            services.append(_asking(service, _wanted(pgw)))
            service.is_asked, service.wants_units, service.reason = True, False, None
    online.is_open = True
    subscription = [SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=session.imsi)]
    if session.msisdn:
        subscription.append(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=session.msisdn))
    return replace(
        _request(pgw, session, online, CcRequestType.INITIAL_REQUEST), subscription_id=tuple(subscription),
        multiple_services_indicator=MultipleServicesIndicator.MULTIPLE_SERVICES_SUPPORTED, multiple_services_credit_control=tuple(services),
        user_equipment_info=None if session.mei is None
        else UserEquipmentInfo(user_equipment_info_type=UserEquipmentInfoType.IMEISV, user_equipment_info_value=session.mei.encode()),
    )


def update_request(pgw: Pgw, session: PdnSession, online: OnlineSession, due: Iterable[Service]) -> CreditControlRequest:
    """What was used since the last request, and the wish for more (RFC 8506 clause 5.3)."""
    usage = online.usage()
    services = []
    for service in due:
        services.append(_reporting(service, usage.get(service.urr_id, Usage()), service.reason,
                                   _wanted(pgw) if service.wants_units else None))
        service.is_asked, service.reason, service.wants_units = service.wants_units, None, False
    return replace(_request(pgw, session, online, CcRequestType.UPDATE_REQUEST), multiple_services_credit_control=tuple(services))


def termination_request(pgw: Pgw, session: PdnSession, online: OnlineSession, cause: TerminationCause) -> CreditControlRequest:
    """The last report of every charging key that had a quota or was used (RFC 8506 clause 5.4)."""
    usage = online.usage()
    services = []
    for service in online.services.values():
        used = usage.get(service.urr_id, Usage())
        if service.owes_report or _unreported(service, used) != (0, 0):
            services.append(_reporting(service, used, ReportingReason.FINAL, None))
        service.reason, service.wants_units = None, False
    return replace(
        _request(pgw, session, online, CcRequestType.TERMINATION_REQUEST), termination_cause=cause, multiple_services_credit_control=tuple(services))


def _wanted(pgw: Pgw) -> RequestedServiceUnit:
    """As much as the OCS thinks right (RFC 8506 clause 8.18)."""
    assert pgw.gy is not None
    return RequestedServiceUnit(cc_total_octets=pgw.gy.config.requested_octets)


def _asking(service: Service, wanted: RequestedServiceUnit) -> MultipleServicesCreditControl:
    return MultipleServicesCreditControl(
        requested_service_unit=wanted, rating_group=service.key.rating_group, service_identifier=_service_identifier(service))


def _reporting(
    service: Service, used: Usage, reason: ReportingReason | None, wanted: RequestedServiceUnit | None
) -> MultipleServicesCreditControl:
    """``used`` is all of it since the session began, of which the part goes into the report that is in no report yet."""
    says_something = service.owes_report or _unreported(service, used) != (0, 0)
    changed, service.before_change, service.owes_report = service.before_change, None, False
    if changed is None:
        units = [_unit(service, used, reason, None)]
    else:
        units = [_unit(service, changed, reason, TariffChangeUsage.UNIT_BEFORE_TARIFF_CHANGE),
                 _unit(service, used, reason, TariffChangeUsage.UNIT_AFTER_TARIFF_CHANGE)]
    return MultipleServicesCreditControl(
        requested_service_unit=wanted, used_service_unit=tuple(units) if says_something else (), rating_group=service.key.rating_group,
        service_identifier=_service_identifier(service))


def _unit(service: Service, used: Usage, reason: ReportingReason | None, tariff: TariffChangeUsage | None) -> UsedServiceUnit:
    """What was used from the last unit told up to ``used``."""
    octets, seconds = _unreported(service, used)
    told, service.told = service.told, used
    return UsedServiceUnit(
        tgpp_reporting_reason=reason, tariff_change_usage=tariff, cc_time=seconds if service.is_timed else None, cc_total_octets=octets,
        cc_input_octets=used.uplink_octets - told.uplink_octets, cc_output_octets=used.downlink_octets - told.downlink_octets)


def _unreported(service: Service, used: Usage) -> tuple[int, int]:
    """Octets and seconds; seconds only count where time is sold. Whole ones are told: the rest goes with the next report."""
    told = service.told
    return used.octets - told.octets, int(used.duration_s) - int(told.duration_s) if service.is_timed else 0


def _service_identifier(service: Service) -> tuple[int, ...]:
    return () if service.key.service_identifier is None else (service.key.service_identifier,)


def _request(pgw: Pgw, session: PdnSession, online: OnlineSession, kind: CcRequestType) -> CreditControlRequest:
    assert pgw.gy is not None
    config, identity = pgw.gy.config, pgw.gy.node.identity
    number = online.next_request_number
    online.next_request_number += 1
    return CreditControlRequest(
        session_id=online.session_id, origin_host=identity.origin_host, origin_realm=identity.origin_realm,
        destination_realm=config.destination_realm or config.origin_realm, destination_host=online.ocs, cc_request_type=kind,
        cc_request_number=number, origin_state_id=identity.origin_state_id,
        event_timestamp=datetime.datetime.fromtimestamp(int(pgw.clock()), datetime.UTC),
        service_information=ServiceInformation(ps_information=ps_information(pgw, session)),
    )


def ps_information(pgw: Pgw, session: PdnSession) -> PsInformation:
    """The bearer and where its user is (TS 32.299 clause 7.2.158, TS 29.061 clause 16.4.7)."""
    where = session.whereabouts
    qos, ambr = session.policy.qos, session.policy.ambr
    return PsInformation(
        tgpp_charging_id=session.charging_id.to_bytes(4, "big"), pdn_connection_charging_id=session.charging_id,
        tgpp_pdp_type=PdpType.IPV4, pdp_address=(session.ue_address,),
        qos_information=QosInformation(
            qos_class_identifier=qos.qci, apn_aggregate_max_bitrate_ul=None if ambr is None else ambr.uplink_kbps * 1000,
            apn_aggregate_max_bitrate_dl=None if ambr is None else ambr.downlink_kbps * 1000),
        sgsn_address=(ip_address(session.sgw.host),), ggsn_address=(ip_address(pgw.config.s5c.host),), serving_node_type=(ServingNodeType.GTPSGW,),
        tgpp_nsapi=b"%x" % session.ebi, called_station_id=session.apn,
        tgpp_selection_mode=None if session.selection_mode is None else str(int(session.selection_mode)),
        tgpp_charging_characteristics=None if session.charging_characteristics is None else f"{session.charging_characteristics:04x}",
        tgpp_sgsn_mcc_mnc=where.serving_network, tgpp_user_location_info=None if where.uli is None else user_location_info(where.uli),
        tgpp_ms_timezone=None if where.ue_time_zone is None else UE_TIME_ZONE.encode(where.ue_time_zone),     # TS 29.061: coded as in GTP
        tgpp_rat_type=None if where.rat_type is None else bytes((int(where.rat_type),)),
    )


