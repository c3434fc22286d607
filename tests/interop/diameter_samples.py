"""Random but valid Diameter messages: base protocol, S6a, Gx, Rx, S9 and Gy, with octet strings that hold what their specifications say."""

from __future__ import annotations

import datetime
import enum
import ipaddress
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from epc.wire.diameter import Avp, FailedAvp, Message
from epc.wire.diameter.avp import VENDOR_3GPP, TbcdDigits
from epc.wire.diameter.codec import _classes
from epc.wire.diameter.groups import GX_APPLICATION, S6A_APPLICATION, UserEquipmentInfo, UserEquipmentInfoType, VendorSpecificApplicationId
from epc.wire.diameter.schema import Group, table_of
from epc.wire.identity import Plmn
from tests.interop.gtpv2_samples import Gtpv2Values

MESSAGES = tuple(sorted(_classes.values(), key=lambda cls: (cls.__module__, cls.__name__)))
RANGES = {"Unsigned32": (0, 0xFFFFFFFF), "Integer32": (0, 0x7FFFFFFF), "Unsigned64": (0, 0xFFFFFFFFFFFFFFFF),
          "Integer64": (0, 0x7FFFFFFFFFFFFFFF), "Enumerated": (0, 1)}
SAMPLE_OF_FAILED_AVP = Avp(code=1, mandatory=True, data=b"001010123456789")        # User-Name


class DiameterValues(Gtpv2Values):
    """A source of values; the same ``seed`` gives the same ones."""

    def instance(self, cls: type[Any], *, optional: float) -> Any:
        """A message or grouped AVP with what it must have, and each other AVP with probability ``optional``; never an empty group."""
        values: dict[str, Any] = {}
        hints = typing.get_type_hints(cls)
        rows = table_of(cls).rows
        chosen = [row for row in rows if row.required or self.random.random() < optional]
        for row in chosen or [self.random.choice(rows)]:
            hint = hints[row.name]
            if row.repeated:
                element = typing.get_args(hint)[0]
                values[row.name] = tuple(self.field(row.name, element, row.definition.type, optional) for _ in range(self.random.randint(1, 2)))
            else:
                values[row.name] = self.field(row.name, hint, row.definition.type, optional)
        return cls(**values)

    def field(self, name: str, hint: Any, avp_type: str, optional: float) -> Any:
        if name in BY_NAME:
            return BY_NAME[name](self)
        members = [member for member in typing.get_args(hint) if member not in (types.NoneType, int)] or [int]
        kind = self.random.choice(members) if typing.get_origin(hint) in (typing.Union, types.UnionType) else hint
        if kind is FailedAvp:
            return FailedAvp(avps=(SAMPLE_OF_FAILED_AVP,))
        if kind in BY_TYPE:
            return BY_TYPE[kind](self)
        if kind is int:
            return self.number(*RANGES[avp_type])
        if issubclass(kind, Group):
            return self.instance(kind, optional=optional)
        if issubclass(kind, enum.IntFlag):
            return kind(sum(flag for flag in kind if self.chance()))
        return self.random.choice(tuple(kind))

    def time(self) -> datetime.datetime:
        return datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.number(0, 1 << 31))

    def network(self) -> ipaddress.IPv6Network:
        return ipaddress.IPv6Network((self.octets(16), self.random.choice((48, 64, 128))), strict=False)

    def name(self) -> str:
        return self.random.choice(("mme.epc.mnc001.mcc001.3gppnetwork.org", "hss.example", "a"))

    def user_location(self) -> bytes:
        """TS 29.061 clause 16.4.7.2, type 130: TAI and ECGI."""
        return b"\x82" + bytes.fromhex("12f470") + self.octets(2) + bytes.fromhex("12f470") + self.number(0, (1 << 28) - 1).to_bytes(4, "big")

    def user_equipment_info(self) -> UserEquipmentInfo:
        kind, length = self.random.choice(((UserEquipmentInfoType.IMEISV, 8), (UserEquipmentInfoType.MAC, 6), (UserEquipmentInfoType.EUI64, 8)))
        return UserEquipmentInfo(user_equipment_info_type=kind, user_equipment_info_value=self.octets(length))

    def flow_description(self) -> str:
        return self.random.choice(("permit out ip from any to assigned", "permit out 17 from 192.0.2.1 80 to assigned 5000-5010"))


BY_TYPE: dict[object, Callable[[DiameterValues], Any]] = {
    str: DiameterValues.name,
    bytes: lambda v: v.octets(1, 20),
    Plmn: DiameterValues.plmn,
    TbcdDigits: lambda v: v.digits(8, 15),
    ipaddress.IPv4Address: DiameterValues.ipv4,
    ipaddress.IPv6Address: DiameterValues.ipv6,
    ipaddress.IPv6Network: DiameterValues.network,
    datetime.datetime: DiameterValues.time,
}

BY_NAME: dict[str, Callable[[DiameterValues], Any]] = {
    "session_id": lambda v: f"mme.example;{v.u32()};{v.u32()}",
    "auth_application_id": lambda v: GX_APPLICATION,
    "acct_application_id": lambda v: GX_APPLICATION,
    "vendor_specific_application_id": lambda v: VendorSpecificApplicationId(vendor_id=VENDOR_3GPP, auth_application_id=S6A_APPLICATION),
    "user_name": lambda v: v.plmn() + v.digits(9, 9),
    "rand": lambda v: v.octets(16),
    "xres": lambda v: v.octets(4, 16),
    "autn": lambda v: v.octets(16),
    "kasme": lambda v: v.octets(32),
    "re_synchronization_info": lambda v: v.octets(30),
    "imei": lambda v: v.digits(14, 14),
    "software_version": lambda v: v.digits(2, 2),
    "tgpp2_meid": lambda v: v.octets(7),
    "e_utran_cell_global_identity": lambda v: bytes.fromhex("12f470") + v.number(0, (1 << 28) - 1).to_bytes(4, "big"),
    "tracking_area_identity": lambda v: bytes.fromhex("12f470") + v.octets(2),
    "geographical_information": lambda v: b"\x10" + v.octets(7),                 # TS 23.032: ellipsoid point with uncertainty circle
    "geodetic_information": lambda v: b"\x00" + v.octets(9),
    "trace_reference": lambda v: bytes.fromhex("12f470") + v.octets(3),
    "trace_ne_type_list": lambda v: v.octets(2),
    "trace_interface_list": lambda v: v.octets(12),
    "trace_event_list": lambda v: v.octets(9),
    "regional_subscription_zone_code": lambda v: v.octets(2),
    "tgpp_charging_characteristics": lambda v: "0800",
    "service_selection": DiameterValues.apn,
    "called_station_id": DiameterValues.apn,
    "visited_network_identifier": lambda v: b"mnc001.mcc001.3gppnetwork.org",
    "apn_oi_replacement": lambda v: "mnc001.mcc001.gprs",
    "tgpp_rat_type": lambda v: b"\x06",
    "tgpp_charging_id": lambda v: v.octets(4),
    "tgpp_nsapi": lambda v: b"5",
    "tgpp_selection_mode": lambda v: "0",
    "tgpp_imsi_mcc_mnc": DiameterValues.plmn,
    "tgpp_ggsn_mcc_mnc": DiameterValues.plmn,
    "restriction_filter_rule": DiameterValues.flow_description,
    "tgpp_sgsn_mcc_mnc": DiameterValues.plmn,
    "tgpp_sgsn_address": lambda v: v.octets(4),
    "tgpp_user_location_info": DiameterValues.user_location,
    "tgpp_ms_timezone": lambda v: b"\x80\x01",
    "ran_nas_release_cause": lambda v: v.octets(4),        # whose octets tshark takes for a number
    "bearer_identifier": lambda v: v.octets(4),
    "pdn_connection_id": lambda v: b"\x05",
    "charging_rule_name": lambda v: b"default-rule",
    "charging_rule_base_name": lambda v: "base",
    "flow_description": DiameterValues.flow_description,
    "tos_traffic_class": lambda v: v.octets(1) + b"\xff",
    "security_parameter_index": lambda v: v.octets(4),
    "flow_label": lambda v: b"\x00\x00\x01",
    "packet_filter_identifier": lambda v: v.octets(1),
    "af_charging_identifier": lambda v: v.octets(8),
    "monitoring_key": lambda v: b"key-1",
    "tdf_application_identifier": lambda v: b"app-1",
    "user_id": lambda v: v.plmn() + v.digits(3, 3),
    "subscription_id_data": lambda v: v.plmn() + v.digits(9, 9),
    "user_equipment_info": DiameterValues.user_equipment_info,
    "access_network_charging_identifier_value": lambda v: v.octets(4),
}


def samples(seed: int, random_variants: int) -> Iterator[Message]:
    """Every message with its required AVPs only, with all AVPs, and with a random choice of them."""
    values = DiameterValues(seed)
    for message in MESSAGES:
        for optional in (0.0, 1.0, *[0.4] * random_variants):
            yield values.instance(message, optional=optional)
