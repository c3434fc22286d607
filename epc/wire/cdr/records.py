"""S-GW-CDR and P-GW-CDR (TS 32.251 clauses 6.1.2 and 6.1.3, TS 32.298 clause 5.2.2.2): dataclasses, and their two forms, BER and JSON.

Octets are those of the users' IP packets, outer headers excluded. Times are aware ``datetime`` of whole seconds: a record keeps the local time
and its offset from UTC. Optional fields are ``None``; what a record of somebody else has beyond these fields is kept in ``further``.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar, TypeVar

from epc.wire.ber import Node, build
from epc.wire.cdr import tables
from epc.wire.cdr.causes import (
    SERVICE_CONDITION_BITS,
    CauseForRecClosing,
    ChangeCondition,
    ChChSelectionMode,
    RecordType,
    ServiceConditionChange,
    ServingNodeType,
)
from epc.wire.errors import WireError
from epc.wire.identity import decode_plmn, decode_tbcd, encode_plmn, encode_tbcd

Address = IPv4Address | IPv6Address
E = TypeVar("E", bound=IntEnum)

INTERNATIONAL_E164 = 0x91       # nature of address and numbering plan (TS 29.002 clause 17.7.8, ISDN-AddressString)


class PdpType(IntEnum):
    """PDP/PDN type: the organisation IETF and its number (TS 32.298 clause 5.1.2.2.36, TS 29.060 clause 7.7.27)."""

    IPV4 = 0xF121
    IPV6 = 0xF157
    IPV4V6 = 0xF18D


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcQos:
    """EPCQoSInformation (TS 32.298 clause 5.1.2.2.14A). Bit rates are in bit/s; ``arp`` is the octet of TS 29.274 clause 8.15."""

    qci: int
    arp: int | None = None
    mbr_uplink_bps: int | None = None
    mbr_downlink_bps: int | None = None
    gbr_uplink_bps: int | None = None
    gbr_downlink_bps: int | None = None
    apn_ambr_uplink_bps: int | None = None
    apn_ambr_downlink_bps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficVolume:
    """ChangeOfCharCondition: what a bearer carried under one set of charging conditions (TS 32.298 clause 5.1.2.2.23)."""

    uplink_octets: int
    downlink_octets: int
    change_condition: ChangeCondition | int
    change_time: datetime.datetime              # when the container ended
    user_location_information: bytes | None = None
    qos: EpcQos | None = None
    charging_id: int | None = None              # where one record tells of several bearers
    rat_type: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceData:
    """ChangeOfServiceCondition: what one charging key of a bearer carried (TS 32.298 clause 5.1.2.2.21A)."""

    rating_group: int
    service_identifier: int | None = None
    uplink_octets: int
    downlink_octets: int
    service_condition_change: ServiceConditionChange
    time_of_report: datetime.datetime
    local_sequence_number: int | None = None    # of the container within its bearer
    time_of_first_usage: datetime.datetime | None = None
    time_of_last_usage: datetime.datetime | None = None
    time_usage_s: int | None = None
    charging_rule_base_name: str | None = None
    qos: EpcQos | None = None
    serving_node_address: Address | None = None
    user_location_information: bytes | None = None
    rat_type: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What both records have."""

    record_type: ClassVar[RecordType]

    served_imsi: str | None = None
    served_imei: str | None = None                                  # IMEI or IMEISV
    served_msisdn: str | None = None                                # international, digits only
    charging_id: int                                                # allocated by the P-GW, one a bearer
    pdn_connection_charging_id: int | None = None                   # of the default bearer
    serving_node_address: tuple[Address, ...]                       # control plane
    serving_node_type: tuple[ServingNodeType | int, ...]
    serving_node_plmn_identifier: str | None = None
    access_point_name_ni: str | None = None
    apn_selection_mode: int | None = None                           # TS 29.274 clause 8.58
    pdp_pdn_type: PdpType | int | None = None
    served_pdp_pdn_address: Address | None = None                   # IPv6: the prefix
    dynamic_address_flag: bool | None = None
    list_of_traffic_volumes: tuple[TrafficVolume, ...] = ()
    record_opening_time: datetime.datetime
    duration_s: int
    cause_for_rec_closing: CauseForRecClosing | int
    record_sequence_number: int | None = None                       # of partial records, from 1
    node_id: str | None = None
    local_sequence_number: int | None = None                        # of all records of the node, without gaps
    charging_characteristics: int = 0
    ch_ch_selection_mode: ChChSelectionMode | int | None = None
    rat_type: int | None = None                                     # TS 29.274 clause 8.17
    ms_time_zone: bytes | None = None                               # TS 29.274 clause 8.44
    user_location_information: bytes | None = None                  # TS 29.274 clause 8.21, without the header
    pgw_plmn_identifier: str | None = None
    start_time: datetime.datetime | None = None                     # in the bearer's first record
    stop_time: datetime.datetime | None = None                      # in its last one
    further: Mapping[str, Any] = field(default_factory=dict)        # what other fields of the specification a decoded record has

    @property
    def uplink_octets(self) -> int:
        return sum(volume.uplink_octets for volume in self.list_of_traffic_volumes)

    @property
    def downlink_octets(self) -> int:
        return sum(volume.downlink_octets for volume in self.list_of_traffic_volumes)

    @property
    def is_last(self) -> bool:
        """Nothing follows for the bearer."""
        return self.cause_for_rec_closing in (CauseForRecClosing.NORMAL_RELEASE, CauseForRecClosing.ABNORMAL_RELEASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SgwRecord(Record):
    record_type = RecordType.SGW_RECORD

    sgw_address: Address                                            # of its control plane
    pgw_address_used: Address | None = None
    sgw_change: bool | None = None                                  # the first record after another S-GW's


@dataclass(frozen=True, slots=True, kw_only=True)
class PgwRecord(Record):
    record_type = RecordType.PGW_RECORD

    pgw_address: Address
    list_of_service_data: tuple[ServiceData, ...] = ()
    epc_qos_information: EpcQos | None = None                       # with the APN-AMBR


# --- single values -------------------------------------------------------------------------------------------------------------


def encode_timestamp(value: datetime.datetime) -> bytes:
    """YYMMDDhhmmss in BCD, the sign in ASCII, hhmm in BCD (TS 32.298 clause 5.2.2.1, TimeStamp)."""
    offset = value.utcoffset()
    if offset is None:
        raise WireError(f"no offset from UTC: {value}", ie="TimeStamp")
    minutes = round(offset.total_seconds() / 60)
    sign = b"-" if minutes < 0 else b"+"
    hours, rest = divmod(abs(minutes), 60)
    return bytes.fromhex(value.strftime("%y%m%d%H%M%S")) + sign + bytes.fromhex(f"{hours:02}{rest:02}")


def decode_timestamp(octets: bytes) -> datetime.datetime:
    if len(octets) != 9 or octets[6:7] not in (b"+", b"-"):
        raise WireError("no time stamp", ie="TimeStamp")
    text, offset = octets[:6].hex(), octets[7:].hex()
    if not (text + offset).isdigit():
        raise WireError("not decimal digits", ie="TimeStamp")
    try:
        delta = datetime.timedelta(hours=int(offset[:2]), minutes=int(offset[2:]))
        zone = datetime.timezone(-delta if octets[6:7] == b"-" else delta)
        return datetime.datetime(
            2000 + int(text[:2]), int(text[2:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:]), tzinfo=zone)
    except ValueError as error:
        raise WireError(str(error), ie="TimeStamp") from None


def _encode_address(value: Address) -> tuple[str, Any]:
    if isinstance(value, IPv4Address):
        return "iPBinaryAddress", ("iPBinV4Address", value.packed)
    return "iPBinaryAddress", ("iPBinV6Address", ("iPBinV6Address", value.packed))


def _decode_address(value: tuple[str, Any]) -> Address:
    content: Any = value
    while isinstance(content, tuple):
        content = content[1]
    if isinstance(content, dict):
        content = content["iPBinV6Address"]
    try:
        return ip_address(content)
    except ValueError:
        raise WireError("no IP address", ie="IPAddress") from None


def _encode_msisdn(value: str) -> bytes:
    return bytes((INTERNATIONAL_E164,)) + encode_tbcd(value)


def _decode_msisdn(octets: bytes) -> str:
    return decode_tbcd(octets[1:])


def _decode_plmn(octets: bytes) -> str:
    return decode_plmn(octets)


def _encode_service_conditions(value: ServiceConditionChange) -> tuple[int, int]:
    """Bit 0 of a BIT STRING is its first and so its highest one."""
    number = int(value)
    return sum(1 << (SERVICE_CONDITION_BITS - 1 - bit) for bit in range(SERVICE_CONDITION_BITS) if number >> bit & 1), SERVICE_CONDITION_BITS


def _decode_service_conditions(value: tuple[int, int]) -> ServiceConditionChange:
    number, count = value
    return ServiceConditionChange(sum(1 << bit for bit in range(count) if number >> (count - 1 - bit) & 1))


def _same(value: Any) -> Any:
    return value


def _hex(value: bytes) -> str:
    return value.hex()


def _named(kind: type[E]) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]:
    """INTEGER with names: the member where there is one; in JSON its name."""
    members = {int(member): member for member in kind}
    return int, lambda value: members.get(value, value), lambda value: value.name if isinstance(value, IntEnum) else value, lambda value: (
        kind[value] if isinstance(value, str) else value)


# A field's forms: to BER's value, from it, to JSON, from it
_PLAIN = (_same, _same, _same, _same)
_TIME = (encode_timestamp, decode_timestamp, datetime.datetime.isoformat, datetime.datetime.fromisoformat)
_ADDRESS = (_encode_address, _decode_address, str, ip_address)
_OCTETS = (_same, _same, _hex, bytes.fromhex)
_PLMN = (encode_plmn, _decode_plmn, _same, _same)
_TBCD = (encode_tbcd, decode_tbcd, _same, _same)
_PDP_TYPE = (
    lambda value: int(value).to_bytes(2, "big"), lambda octets: _named(PdpType)[1](int.from_bytes(octets, "big")), *_named(PdpType)[2:])
_CHARACTERISTICS = (lambda value: value.to_bytes(2, "big"), lambda octets: int.from_bytes(octets, "big"), _same, _same)
_KNOWN_CONDITIONS: int = sum(ServiceConditionChange)
_CONDITIONS = (
    _encode_service_conditions, _decode_service_conditions,
    lambda value: [member.name for member in ServiceConditionChange if member in value] + (
        [value & ~_KNOWN_CONDITIONS] if value & ~_KNOWN_CONDITIONS else []),
    lambda names: ServiceConditionChange(sum(ServiceConditionChange[name] if isinstance(name, str) else name for name in names)))
_Forms = tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]


def _enumerated(kind: type[E], names: Mapping[str, int]) -> _Forms:
    """ENUMERATED: the table has the specification's names."""
    members = {int(member): member for member in kind}
    numbers = dict(names)

    def read(value: Any) -> Any:
        number = numbers[value] if isinstance(value, str) else value
        return members.get(number, number)

    return int, read, *_named(kind)[2:]


def _enum_names(node: Node, *path: str) -> Mapping[str, int]:
    """The names of an ENUMERATED within a table."""
    kind: Any = node.kind
    for name in path:
        kind = kind.element.kind if name == "*" else next(part.kind for each, part, _ in kind.fields if each == name)
    return dict(kind._numbers)


_LISTS = ("list_of_traffic_volumes", "list_of_service_data")      # left out when they are empty; other lists are mandatory


class _Shape:
    """How a dataclass and its SEQUENCE or SET correspond: ``(field, component, forms)``."""

    def __init__(self, made: type[Any], rows: tuple[tuple[str, str, _Forms], ...], *, constants: Mapping[str, Any] | None = None) -> None:
        self._made = made
        self._rows = rows
        self._constants = dict(constants or {})
        self._by_component = {component: (name, forms) for name, component, forms in rows}
        self._by_field = {name: forms for name, _, forms in rows}
        self._keeps = "further" in made.__dataclass_fields__

    def to_ber(self, value: Any) -> dict[str, Any]:
        made: dict[str, Any] = dict(self._constants)
        for name, component, forms in self._rows:
            given = getattr(value, name)
            if given is not None and (given != () or name not in _LISTS):
                made[component] = forms[0](given)
        if self._keeps:
            made.update(value.further)
        return made

    def from_ber(self, value: Mapping[str, Any]) -> Any:
        given: dict[str, Any] = {}
        further: dict[str, Any] = {}
        for component, content in value.items():
            known = self._by_component.get(component)
            if known is not None:
                try:
                    given[known[0]] = known[1][1](content)
                except WireError as error:
                    raise WireError(error.reason, offset=error.offset, ie=component) from None
            elif component not in self._constants:
                further[component] = content
        if self._keeps and further:
            given["further"] = further
        try:
            return self._made(**given)
        except TypeError as error:
            raise WireError(f"a field is missing: {error}", ie=self._made.__name__) from None

    def to_json(self, value: Any) -> dict[str, Any]:
        made = {}
        for name, _, forms in self._rows:
            given = getattr(value, name)
            if given is not None and (given != () or name not in _LISTS):
                made[name] = forms[2](given)
        if self._keeps and value.further:
            made["further"] = plain(value.further)
        return made

    def from_json(self, value: Mapping[str, Any]) -> Any:
        given = {}
        for name, content in value.items():
            forms = self._by_field.get(name)
            if forms is not None:
                given[name] = forms[3](content)
        return self._made(**given)


def _nested(shape: _Shape) -> _Forms:
    return shape.to_ber, shape.from_ber, shape.to_json, shape.from_json


def _several(forms: _Forms) -> _Forms:
    def each(form: Callable[[Any], Any], kind: type[Any]) -> Callable[[Any], Any]:
        return lambda values: kind([form(value) for value in values])

    return each(forms[0], list), each(forms[1], tuple), each(forms[2], list), each(forms[3], tuple)


SGW_NODE = build(tables.SGW_RECORD)
PGW_NODE = build(tables.PGW_RECORD)

_QOS = _Shape(EpcQos, (
    ("qci", "qCI", _PLAIN), ("arp", "aRP", _PLAIN),
    ("mbr_uplink_bps", "maxRequestedBandwithUL", _PLAIN), ("mbr_downlink_bps", "maxRequestedBandwithDL", _PLAIN),
    ("gbr_uplink_bps", "guaranteedBitrateUL", _PLAIN), ("gbr_downlink_bps", "guaranteedBitrateDL", _PLAIN),
    ("apn_ambr_uplink_bps", "aPNAggregateMaxBitrateUL", _PLAIN), ("apn_ambr_downlink_bps", "aPNAggregateMaxBitrateDL", _PLAIN),
))
_TRAFFIC_VOLUME = _Shape(TrafficVolume, (
    ("uplink_octets", "dataVolumeGPRSUplink", _PLAIN), ("downlink_octets", "dataVolumeGPRSDownlink", _PLAIN),
    ("change_condition", "changeCondition", _enumerated(
        ChangeCondition, _enum_names(SGW_NODE, "listOfTrafficVolumes", "*", "changeCondition"))),
    ("change_time", "changeTime", _TIME), ("user_location_information", "userLocationInformation", _OCTETS),
    ("qos", "ePCQoSInformation", _nested(_QOS)), ("charging_id", "chargingID", _PLAIN), ("rat_type", "rATType", _PLAIN),
))
_SERVICE_DATA = _Shape(ServiceData, (
    ("rating_group", "ratingGroup", _PLAIN), ("service_identifier", "serviceIdentifier", _PLAIN),
    ("uplink_octets", "datavolumeFBCUplink", _PLAIN), ("downlink_octets", "datavolumeFBCDownlink", _PLAIN),
    ("service_condition_change", "serviceConditionChange", _CONDITIONS), ("time_of_report", "timeOfReport", _TIME),
    ("local_sequence_number", "localSequenceNumber", _PLAIN), ("time_of_first_usage", "timeOfFirstUsage", _TIME),
    ("time_of_last_usage", "timeOfLastUsage", _TIME), ("time_usage_s", "timeUsage", _PLAIN),
    ("charging_rule_base_name", "chargingRuleBaseName", _PLAIN), ("qos", "qoSInformationNeg", _nested(_QOS)),
    ("serving_node_address", "servingNodeAddress", _ADDRESS), ("user_location_information", "userLocationInformation", _OCTETS),
    ("rat_type", "rATType", _PLAIN),
))


def _common(node: Node) -> tuple[tuple[str, str, _Forms], ...]:
    return (
        ("served_imsi", "servedIMSI", _TBCD), ("served_imei", "servedIMEI", _TBCD),
        ("served_msisdn", "servedMSISDN", (_encode_msisdn, _decode_msisdn, _same, _same)), ("charging_id", "chargingID", _PLAIN),
        ("pdn_connection_charging_id", "pDNConnectionChargingID", _PLAIN),
        ("serving_node_address", "servingNodeAddress", _several(_ADDRESS)),
        ("serving_node_type", "servingNodeType", _several(_enumerated(ServingNodeType, _enum_names(node, "servingNodeType", "*")))),
        ("serving_node_plmn_identifier", "servingNodePLMNIdentifier", _PLMN), ("access_point_name_ni", "accessPointNameNI", _PLAIN),
        ("apn_selection_mode", "apnSelectionMode", _plain_enumerated(_enum_names(node, "apnSelectionMode"))),
        ("pdp_pdn_type", "pdpPDNType", _PDP_TYPE),
        ("served_pdp_pdn_address", "servedPDPPDNAddress", (
            lambda value: ("iPAddress", _encode_address(value)), _decode_address, str, ip_address)),
        ("dynamic_address_flag", "dynamicAddressFlag", _PLAIN),
        ("list_of_traffic_volumes", "listOfTrafficVolumes", _several(_nested(_TRAFFIC_VOLUME))),
        ("record_opening_time", "recordOpeningTime", _TIME), ("duration_s", "duration", _PLAIN),
        ("cause_for_rec_closing", "causeForRecClosing", _named(CauseForRecClosing)),
        ("record_sequence_number", "recordSequenceNumber", _PLAIN), ("node_id", "nodeID", _PLAIN),
        ("local_sequence_number", "localSequenceNumber", _PLAIN), ("charging_characteristics", "chargingCharacteristics", _CHARACTERISTICS),
        ("ch_ch_selection_mode", "chChSelectionMode", _enumerated(ChChSelectionMode, _enum_names(node, "chChSelectionMode"))),
        ("rat_type", "rATType", _PLAIN), ("ms_time_zone", "mSTimeZone", _OCTETS),
        ("user_location_information", "userLocationInformation", _OCTETS), ("pgw_plmn_identifier", "p-GWPLMNIdentifier", _PLMN),
        ("start_time", "startTime", _TIME), ("stop_time", "stopTime", _TIME),
    )


def _plain_enumerated(names: Mapping[str, int]) -> _Forms:
    return int, lambda value: names[value] if isinstance(value, str) else value, int, int


_SGW = _Shape(SgwRecord, (
    *_common(SGW_NODE), ("sgw_address", "s-GWAddress", _ADDRESS), ("pgw_address_used", "p-GWAddressUsed", _ADDRESS),
    ("sgw_change", "sGWChange", _PLAIN),
), constants={"recordType": int(RecordType.SGW_RECORD)})
_PGW = _Shape(PgwRecord, (
    *_common(PGW_NODE), ("pgw_address", "p-GWAddress", _ADDRESS), ("list_of_service_data", "listOfServiceData", _several(_nested(_SERVICE_DATA))),
    ("epc_qos_information", "ePCQoSInformation", _nested(_QOS)),
), constants={"recordType": int(RecordType.PGW_RECORD)})


# --- whole records -------------------------------------------------------------------------------------------------------------


def encode(record: SgwRecord | PgwRecord) -> bytes:
    """A GPRSRecord in BER (TS 32.298 clause 5.2.2.2). Raises :class:`WireError` for values that the format cannot hold."""
    if isinstance(record, SgwRecord):
        return SGW_NODE.encode(_SGW.to_ber(record))
    return PGW_NODE.encode(_PGW.to_ber(record))


def decode(octets: bytes) -> SgwRecord | PgwRecord:
    """The S-GW-CDR or P-GW-CDR in ``octets``. Raises :class:`WireError`."""
    made: SgwRecord | PgwRecord
    if octets[:2] == SGW_NODE.tags[0]:
        made = _SGW.from_ber(SGW_NODE.decode(octets))
    elif octets[:2] == PGW_NODE.tags[0]:
        made = _PGW.from_ber(PGW_NODE.decode(octets))
    else:
        raise WireError("neither an S-GW-CDR nor a P-GW-CDR", ie="GPRSRecord")
    return made


def to_json(record: SgwRecord | PgwRecord) -> dict[str, Any]:
    """The same facts as plain data; ``record_type`` says which record it is."""
    shape = _SGW if isinstance(record, SgwRecord) else _PGW
    return {"record_type": "S-GW-CDR" if isinstance(record, SgwRecord) else "P-GW-CDR", **shape.to_json(record)}


def from_json(data: Mapping[str, Any]) -> SgwRecord | PgwRecord:
    """What :func:`to_json` made (``further`` excepted). Raises :class:`WireError`."""
    shape = {"S-GW-CDR": _SGW, "P-GW-CDR": _PGW}.get(str(data.get("record_type")))
    if shape is None:
        raise WireError(f"neither an S-GW-CDR nor a P-GW-CDR: {data.get('record_type')!r}", ie="record_type")
    try:
        made: SgwRecord | PgwRecord = shape.from_json(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise WireError(f"no charging record: {error}", ie="record") from None
    return made


def plain(value: Any) -> Any:
    """A decoded BER value as JSON can hold it: octets in hexadecimal, a CHOICE as a mapping of one key."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case (str() as name, content):
            return {name: plain(content)}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
