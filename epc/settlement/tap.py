"""TAP files: rated S-GW records become GPRS calls, and a file that is read back gives the same (GSMA TD.57, TAP 3.12)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from epc.settlement.config import Agreement, Operator
from epc.settlement.rating import RatedRecord, total
from epc.settlement.sources import Octets
from epc.wire import tap3
from epc.wire.cdr import Record, SgwRecord
from epc.wire.errors import WireError

_SGW, _PGW = 8, 7                   # RecEntityType
_TOTAL_VOLUME = "X"                 # ChargedItem: volume in both directions together
_TOTAL_CHARGE = "00"                # ChargeType
_HOME_PGW, _VISITED_PGW = 10, 11    # CallTypeLevel1
_VALUE_ADDED_TAX = "01"             # TaxType
_CAUSES = frozenset((0, 1, 3, 4, *range(16, 25)))       # Cause for Termination shares these with TS 32.298; others become 1, partial record


class TapError(Exception):
    """A file that is not what an operator may send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapCall:
    """One GPRS call of a file, as much as settlement needs of it."""

    imsi: str
    msisdn: str | None
    charging_id: int
    pdp_address: str | None
    apn: str | None
    started: datetime.datetime
    duration_s: int
    cause: int
    partial_type: str | None            # F(irst), I(ntermediate), L(ast); None: the session's only record
    octets: Octets                      # outgoing is uplink
    charged_octets: int
    charge: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TapFile:
    """A transfer batch, or with no calls a notification."""

    sender: str
    recipient: str
    sequence_number: int
    created: datetime.datetime
    is_test: bool
    currency: str | None = None
    decimal_places: int = 0
    calls: tuple[TapCall, ...] = ()
    total_charge: Decimal = Decimal(0)
    total_tax: Decimal = Decimal(0)

    @property
    def name(self) -> str:
        """As TD.57 names files: CD for charging data, TD for test data."""
        return f"{'TD' if self.is_test else 'CD'}{self.sender}{self.recipient}{self.sequence_number:05}"


def build(
    agreement: Agreement, visited: Operator, home: Operator, rated: Sequence[RatedRecord], *, sequence_number: int, created: datetime.datetime,
    partial_types: Mapping[int, str | None],
) -> bytes:
    """The file of one settlement. ``partial_types`` says for each rated record, by its place, which part of its session it is."""
    zones: list[str] = []
    entities: list[tuple[int, str]] = []
    control: dict[str, Any] = {
        "sender": visited.tadig, "recipient": home.tadig, "fileSequenceNumber": f"{sequence_number:05}",
        "fileCreationTimeStamp": _stamp(created), "transferCutOffTimeStamp": _stamp(created), "fileAvailableTimeStamp": _stamp(created),
        "specificationVersionNumber": tap3.SPECIFICATION_VERSION, "releaseVersionNumber": tap3.RELEASE,
        **({"fileTypeIndicator": "T"} if agreement.test_data else {}),
    }
    if not rated:
        return tap3.encode(("notification", control))
    calls = [
        ("gprsCall", _call(each, agreement, visited, home, zones, entities, partial_types.get(place))) for place, each in enumerate(rated)]
    charge, tax = total(rated)
    moments = [each.source.record.record_opening_time.astimezone(visited.zone) for each in rated]
    accounting: dict[str, Any] = {
        "localCurrency": agreement.currency, "tapCurrency": agreement.currency,
        "currencyConversionInfo": [{"exchangeRateCode": 0, "numberOfDecimalPlaces": 0, "exchangeRate": 1}],
        "tapDecimalPlaces": agreement.decimal_places,
    }
    if agreement.tax_percent:
        accounting["taxation"] = [{"taxCode": 0, "taxType": _VALUE_ADDED_TAX, "taxRate": f"{int(agreement.tax_percent * 100000):07}"}]
    return tap3.encode(("transferBatch", {
        "batchControlInfo": control, "accountingInfo": accounting,
        "networkInfo": {
            "utcTimeOffsetInfo": [{"utcTimeOffsetCode": code, "utcTimeOffset": zone} for code, zone in enumerate(zones)],
            "recEntityInfo": [
                {"recEntityCode": code, "recEntityType": kind, "recEntityId": name} for code, (kind, name) in enumerate(entities)],
        },
        "callEventDetails": calls,
        "auditControlInfo": {
            "earliestCallTimeStamp": _stamp(min(moments)), "latestCallTimeStamp": _stamp(max(moments)),
            "totalCharge": _units(charge, agreement), "totalTaxValue": _units(tax, agreement), "totalDiscountValue": 0,
            "callEventDetailsCount": len(calls),
        },
    }))


def _call(
    rated: RatedRecord, agreement: Agreement, visited: Operator, home: Operator, zones: list[str], entities: list[tuple[int, str]],
    partial_type: str | None,
) -> dict[str, Any]:
    record = rated.source.record
    assert isinstance(record, SgwRecord)
    started = record.record_opening_time.astimezone(visited.zone)
    stamp = {"localTimeStamp": _digits(started), "utcTimeOffsetCode": _code(zones, f"{started:%z}")}
    subscriber: dict[str, Any] = {"imsi": record.served_imsi}
    if record.served_msisdn:
        subscriber["msisdn"] = record.served_msisdn
    chargeable: dict[str, Any] = {"chargeableSubscriber": ("simChargeableSubscriber", subscriber)}
    if record.served_pdp_pdn_address is not None:
        chargeable["pdpAddress"] = str(record.served_pdp_pdn_address)
    basic: dict[str, Any] = {
        "gprsChargeableSubscriber": chargeable, "callEventStartTimeStamp": stamp, "totalCallEventDuration": record.duration_s,
        "causeForTerm": int(record.cause_for_rec_closing) if record.cause_for_rec_closing in _CAUSES else 1, "chargingId": record.charging_id,
    }
    if record.access_point_name_ni is not None:
        basic["gprsDestination"] = {"accessPointNameNI": record.access_point_name_ni, **_operator_identifier(record.pgw_plmn_identifier)}
    if partial_type is not None:
        basic["partialTypeIndicator"] = partial_type
    location: dict[str, Any] = {"recEntity": [_code(entities, (_SGW, str(record.sgw_address)))]}
    is_at_home = record.pgw_plmn_identifier is None or record.pgw_plmn_identifier in home.plmns
    if record.pgw_address_used is not None:
        location["recEntity"].append(_code(entities, (_PGW, str(record.pgw_address_used))))
    location.update(_cell(record.user_location_information))
    detail = {
        "chargeType": _TOTAL_CHARGE, "charge": _units(rated.charge, agreement), "chargeableUnits": rated.source.octets.total,
        "chargedUnits": rated.charged_octets, "chargeDetailTimeStamp": stamp}
    information: dict[str, Any] = {
        "chargedItem": _TOTAL_VOLUME, "exchangeRateCode": 0,
        "callTypeGroup": {"callTypeLevel1": _HOME_PGW if is_at_home else _VISITED_PGW, "callTypeLevel2": 0, "callTypeLevel3": 0},
        "chargeDetailList": [detail],
    }
    if agreement.tax_percent:
        information["taxInformation"] = [{"taxCode": 0, "taxValue": _units(rated.tax, agreement)}]
    call: dict[str, Any] = {
        "gprsBasicCallInformation": basic, "gprsLocationInformation": {"gprsNetworkLocation": location},
        "gprsServiceUsed": {
            "dataVolumeIncoming": rated.source.octets.downlink, "dataVolumeOutgoing": rated.source.octets.uplink,
            "chargeInformationList": [information]},
    }
    if record.served_imei:
        call["equipmentIdentifier"] = ("imei", record.served_imei)
    return call


def _operator_identifier(plmn: str | None) -> dict[str, str]:
    return {} if plmn is None else {"accessPointNameOI": f"mnc{plmn[3:]:0>3}.mcc{plmn[:3]}.gprs"}


def _cell(location: bytes | None) -> dict[str, int]:
    """Tracking area and cell of a User Location Information that has both (TS 29.274 clause 8.21)."""
    if location is None or location[0] & 0x1F != 0x18 or len(location) < 13:
        return {}
    return {"locationArea": int.from_bytes(location[4:6], "big"), "cellId": int.from_bytes(location[9:13], "big") & 0x0FFFFFFF}


def _code(known: list[Any], value: Any) -> int:
    if value not in known:
        known.append(value)
    return known.index(value)


def _digits(moment: datetime.datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S}"


def _stamp(moment: datetime.datetime) -> dict[str, str]:
    return {"localTimeStamp": _digits(moment), "utcTimeOffset": f"{moment:%z}"}


def _units(amount: Decimal, agreement: Agreement) -> int:
    scaled = amount.scaleb(agreement.decimal_places)
    assert scaled == scaled.to_integral_value(), "rated with more decimal places than the file has"
    return int(scaled)


# --- reading ------------------------------------------------------------------------------------------------------------------------


def read(octets: bytes) -> TapFile:
    """Raises :class:`TapError` for what is not a TAP file, and for one whose totals are not those of its calls."""
    try:
        kind, value = tap3.decode(octets)
        control = value if kind == "notification" else value["batchControlInfo"]
        fields: dict[str, Any] = {
            "sender": control["sender"], "recipient": control["recipient"], "sequence_number": int(control["fileSequenceNumber"]),
            "created": _moment(control["fileCreationTimeStamp"]["localTimeStamp"], control["fileCreationTimeStamp"]["utcTimeOffset"]),
            "is_test": control.get("fileTypeIndicator") == "T"}
        if kind == "notification":
            return TapFile(**fields)
        places = value["accountingInfo"]["tapDecimalPlaces"]
        zones = {each["utcTimeOffsetCode"]: each["utcTimeOffset"] for each in value["networkInfo"]["utcTimeOffsetInfo"]}
        calls = tuple([_read_call(call, zones, places) for name, call in value["callEventDetails"] if name == "gprsCall"])
        audit = value["auditControlInfo"]
        file = TapFile(
            **fields, currency=value["accountingInfo"].get("tapCurrency", value["accountingInfo"]["localCurrency"]), decimal_places=places,
            calls=calls, total_charge=Decimal(audit["totalCharge"]).scaleb(-places), total_tax=Decimal(audit["totalTaxValue"]).scaleb(-places))
    except WireError as error:
        raise TapError(str(error)) from None
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise TapError(f"what every file has is missing or wrong: {error!r}") from None
    if audit["callEventDetailsCount"] != len(value["callEventDetails"]):
        raise TapError(f"the audit counts {audit['callEventDetailsCount']} calls, there are {len(value['callEventDetails'])}")
    if len(calls) == len(value["callEventDetails"]):
        for what, said, found in (("charge", file.total_charge, sum((call.charge for call in calls), Decimal(0))),
                                  ("tax", file.total_tax, sum((call.tax for call in calls), Decimal(0)))):
            if said != found:
                raise TapError(f"the audit's total {what} is {said}, that of the calls {found}")
    return file


def _read_call(call: Mapping[str, Any], zones: Mapping[int, str], places: int) -> TapCall:
    basic, used = call["gprsBasicCallInformation"], call["gprsServiceUsed"]
    chargeable = basic["gprsChargeableSubscriber"]
    subscriber = chargeable["chargeableSubscriber"][1]
    stamp = basic["callEventStartTimeStamp"]
    charge, tax, charged = Decimal(0), Decimal(0), 0
    for information in used["chargeInformationList"]:
        for detail in information["chargeDetailList"]:
            if detail["chargeType"] == _TOTAL_CHARGE:
                charge += Decimal(detail["charge"]).scaleb(-places)
                charged += detail.get("chargedUnits", 0)
        for each in information.get("taxInformation", ()):
            tax += Decimal(each["taxValue"]).scaleb(-places)
    return TapCall(
        imsi=subscriber["imsi"], msisdn=subscriber.get("msisdn"), charging_id=basic["chargingId"], pdp_address=chargeable.get("pdpAddress"),
        apn=basic.get("gprsDestination", {}).get("accessPointNameNI"), started=_moment(stamp["localTimeStamp"], zones[stamp["utcTimeOffsetCode"]]),
        duration_s=basic["totalCallEventDuration"], cause=basic["causeForTerm"], partial_type=basic.get("partialTypeIndicator"),
        octets=Octets(used.get("dataVolumeOutgoing", 0), used.get("dataVolumeIncoming", 0)), charged_octets=charged, charge=charge, tax=tax)


def _moment(digits: str, offset: str) -> datetime.datetime:
    return datetime.datetime.strptime(digits + offset, "%Y%m%d%H%M%S%z")


def partial_type(record: Record) -> str | None:
    """First, intermediate or last of a session's records; None for the only one."""
    if record.record_sequence_number is None:
        return None
    if record.is_last:
        return "L"
    return "F" if record.record_sequence_number == 1 else "I"
