"""Quotas, services and what is said about a bearer, as a gateway and the OCS exchange them (RFC 8506 clause 8, TS 32.299 clause 7)."""

from __future__ import annotations

import datetime
import enum

from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.groups import FinalUnitAction as FinalUnitAction
from epc.wire.diameter.groups import FinalUnitIndication as FinalUnitIndication
from epc.wire.diameter.groups import RedirectAddressType as RedirectAddressType
from epc.wire.diameter.groups import RedirectServer as RedirectServer
from epc.wire.diameter.policy import QosInformation
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import Group, avp_group, recurring_group


class MultipleServicesIndicator(enum.IntEnum):
    """RFC 8506 clause 8.40."""

    MULTIPLE_SERVICES_NOT_SUPPORTED = 0
    MULTIPLE_SERVICES_SUPPORTED = 1


class CreditControlFailureHandling(enum.IntEnum):
    """What the client does with users when the OCS does not answer (RFC 8506 clause 8.14)."""

    TERMINATE = 0
    CONTINUE = 1
    RETRY_AND_TERMINATE = 2


class CcSessionFailover(enum.IntEnum):
    """Whether a session may go on at another server (RFC 8506 clause 8.4)."""

    FAILOVER_NOT_SUPPORTED = 0
    FAILOVER_SUPPORTED = 1


class TariffChangeUsage(enum.IntEnum):
    """RFC 8506 clause 8.27."""

    UNIT_BEFORE_TARIFF_CHANGE = 0
    UNIT_AFTER_TARIFF_CHANGE = 1
    UNIT_INDETERMINATE = 2


class CcUnitType(enum.IntEnum):
    """RFC 8506 clause 8.32."""

    TIME = 0
    MONEY = 1
    TOTAL_OCTETS = 2
    INPUT_OCTETS = 3
    OUTPUT_OCTETS = 4
    SERVICE_SPECIFIC_UNITS = 5


class ReportingReason(enum.IntEnum):
    """Why usage is reported (TS 32.299 clause 7.2.175)."""

    THRESHOLD = 0
    QHT = 1                             # Quota-Holding-Time: nothing was sent for that long
    FINAL = 2                           # the service has ended
    QUOTA_EXHAUSTED = 3
    VALIDITY_TIME = 4
    OTHER_QUOTA_TYPE = 5
    RATING_CONDITION_CHANGE = 6
    FORCED_REAUTHORISATION = 7          # the OCS asked with an RAR
    POOL_EXHAUSTED = 8


class TriggerType(enum.IntEnum):
    """Changes after which the client asks again (TS 32.299 clause 7.2.238)."""

    CHANGE_IN_SGSN_IP_ADDRESS = 1
    CHANGE_IN_QOS = 2
    CHANGE_IN_LOCATION = 3
    CHANGE_IN_RAT = 4
    CHANGE_IN_UE_TIMEZONE = 5
    CHANGEINQOS_TRAFFIC_CLASS = 10
    CHANGEINQOS_APN_AGGREGATE_MAXIMUM_BIT_RATE = 24
    CHANGEINLOCATION_MCC = 30
    CHANGEINLOCATION_MNC = 31
    CHANGEINLOCATION_RAC = 32
    CHANGEINLOCATION_LAC = 33
    CHANGEINLOCATION_CELL_ID = 34
    CHANGEINLOCATION_TAC = 35
    CHANGEINLOCATION_ECGI = 36
    CHANGE_IN_SERVING_NODE = 61
    CHANGE_IN_USER_CSG_INFORMATION = 70


class ServingNodeType(enum.IntEnum):
    """TS 32.299 clause 7.2.194."""

    SGSN = 0
    PMIPSGW = 1
    GTPSGW = 2
    EPDG = 3
    HSGW = 4
    MME = 5
    TWAN = 6


class PdpType(enum.IntEnum):
    """3GPP-PDP-Type (TS 29.061 clause 16.4.7.2)."""

    IPV4 = 0
    PPP = 1
    IPV6 = 2
    IPV4V6 = 3
    NON_IP = 4


@avp_group
class UnitValue(Group):
    """``value_digits`` times ten to the ``exponent`` (RFC 8506 clause 8.8)."""

    value_digits: int
    exponent: int | None = None


@avp_group
class CcMoney(Group):
    """RFC 8506 clause 8.22."""

    unit_value: UnitValue
    currency_code: int | None = None                        # ISO 4217: 978 is the euro


@avp_group
class RequestedServiceUnit(Group):
    """What the client wants; empty: as much as the OCS thinks right (RFC 8506 clause 8.18)."""

    cc_time: int | None = None                              # seconds
    cc_money: CcMoney | None = None
    cc_total_octets: int | None = None
    cc_input_octets: int | None = None
    cc_output_octets: int | None = None
    cc_service_specific_units: int | None = None


@avp_group
class GrantedServiceUnit(Group):
    """A quota (RFC 8506 clause 8.17)."""

    tariff_time_change: datetime.datetime | None = None
    cc_time: int | None = None
    cc_money: CcMoney | None = None
    cc_total_octets: int | None = None
    cc_input_octets: int | None = None
    cc_output_octets: int | None = None
    cc_service_specific_units: int | None = None


@avp_group
class UsedServiceUnit(Group):
    """What was used since the last report (RFC 8506 clause 8.19, TS 32.299 clause 7.1.15)."""

    tgpp_reporting_reason: ReportingReason | int | None = None
    tariff_change_usage: TariffChangeUsage | int | None = None
    cc_time: int | None = None
    cc_money: CcMoney | None = None
    cc_total_octets: int | None = None
    cc_input_octets: int | None = None                      # from the user
    cc_output_octets: int | None = None                     # to the user
    cc_service_specific_units: int | None = None
    event_charging_timestamp: tuple[datetime.datetime, ...] = ()


@recurring_group
class Trigger(Group):
    """The whole set of events that the client reports; empty: none (TS 32.299 clause 7.2.237)."""

    trigger_type: tuple[TriggerType | int, ...] = ()


@avp_group
class GSUPoolReference(Group):
    """A share in a pool of credit (RFC 8506 clause 8.30)."""

    g_s_u_pool_identifier: int
    cc_unit_type: CcUnitType | int
    unit_value: UnitValue


@avp_group
class MultipleServicesCreditControl(Group):
    """Credit control of one service or rating group (RFC 8506 clause 8.16, TS 32.299 clause 7.1.9)."""

    granted_service_unit: GrantedServiceUnit | None = None
    requested_service_unit: RequestedServiceUnit | None = None
    used_service_unit: tuple[UsedServiceUnit, ...] = ()
    service_identifier: tuple[int, ...] = ()
    rating_group: int | None = None
    g_s_u_pool_reference: tuple[GSUPoolReference, ...] = ()
    validity_time: int | None = None                        # seconds, then the client asks again
    result_code: ResultCode | int | None = None
    final_unit_indication: FinalUnitIndication | None = None
    time_quota_threshold: int | None = None                 # seconds left at which the client asks for more
    volume_quota_threshold: int | None = None               # octets left, likewise
    unit_quota_threshold: int | None = None
    quota_holding_time: int | None = None                   # idle seconds after which the client gives the quota back; 0: never
    quota_consumption_time: int | None = None
    tgpp_reporting_reason: tuple[ReportingReason | int, ...] = ()
    trigger: Trigger | None = None


@avp_group
class PsInformation(Group):
    """The bearer that is charged (TS 32.299 clause 7.2.158)."""

    tgpp_charging_id: bytes | None = None                   # allocated by the PGW
    pdn_connection_charging_id: int | None = None
    node_id: str | None = None
    tgpp_pdp_type: PdpType | int | None = None
    pdp_address: tuple[IPAddress, ...] = ()                 # the user's
    pdp_address_prefix_length: int | None = None
    dynamic_address_flag: int | None = None
    qos_information: QosInformation | None = None
    sgsn_address: tuple[IPAddress, ...] = ()                # of the SGW, in EPS
    ggsn_address: tuple[IPAddress, ...] = ()                # of the PGW, in EPS
    cg_address: IPAddress | None = None
    serving_node_type: tuple[ServingNodeType | int, ...] = ()
    tgpp_imsi_mcc_mnc: str | None = None
    tgpp_ggsn_mcc_mnc: str | None = None
    tgpp_nsapi: bytes | None = None
    called_station_id: str | None = None                    # the APN
    tgpp_session_stop_indicator: str | None = None
    tgpp_selection_mode: str | None = None
    tgpp_charging_characteristics: str | None = None
    charging_characteristics_selection_mode: int | None = None
    tgpp_sgsn_mcc_mnc: str | None = None                    # the visited PLMN's digits
    tgpp_ms_timezone: bytes | None = None
    charging_rule_base_name: str | None = None
    tgpp_user_location_info: bytes | None = None
    tgpp_rat_type: bytes | None = None
    pdp_context_type: int | None = None


@avp_group
class ServiceInformation(Group):
    """TS 32.299 clause 7.2.192."""

    ps_information: PsInformation | None = None


@avp_group
class CostInformation(Group):
    """RFC 8506 clause 8.7."""

    unit_value: UnitValue
    currency_code: int
    cost_unit: str | None = None
