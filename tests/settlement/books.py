"""Charging records of one roamer at both operators, as the gateways would have written them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from epc.node import parse_config
from epc.settlement import SettlementConfig, SourceRecord
from epc.wire.cdr import (
    CauseForRecClosing,
    ChangeCondition,
    PdpType,
    PgwRecord,
    ServiceConditionChange,
    ServiceData,
    ServingNodeType,
    SgwRecord,
    TrafficVolume,
)

VOLUMES_OF_A_SESSION = [(1000, 4000), (500, 4500), (300, 200)]
IMSI, OTHER = "001010000000001", "001010000000002"
START = datetime.datetime(2026, 11, 26, 13, 0, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
CREATED = datetime.datetime(2026, 11, 27, 3, 0, 0, tzinfo=datetime.UTC)

CONFIG: dict[str, Any] = {
    "operators": {
        "visited": {"name": "Barcelona", "tadig": "ESPBC", "plmns": ["21407"], "time_zone": "Europe/Madrid"},
        "home": {"name": "Home", "tadig": "XXXHM", "plmns": ["00101"]},
    },
    "agreements": [{"visited": "visited", "home": "home", "rates": [{"name": "data", "price_per_mb": "0.30"}]}],
}


def config(**agreement: Any) -> SettlementConfig:
    data = {**CONFIG, "agreements": [{**CONFIG["agreements"][0], **agreement}]}
    return parse_config(data, SettlementConfig, source="test")


class Writer:
    """Numbers records as a node does."""

    def __init__(self, kind: type[SgwRecord] | type[PgwRecord], node: str) -> None:
        self._kind = kind
        self._node = node
        self.records: list[SourceRecord] = []

    def session(self, volumes: Sequence[tuple[int, int]], *, imsi: str = IMSI, charging_id: int = 0x1234, **fields: Any) -> None:
        """One bearer with as many records as ``volumes`` (uplink, downlink) has entries; a minute each."""
        for place, (uplink, downlink) in enumerate(volumes):
            is_last, is_only = place == len(volumes) - 1, len(volumes) == 1
            opened = START + datetime.timedelta(minutes=place)
            closed = opened + datetime.timedelta(minutes=1)
            known: dict[str, Any] = {
                "served_imsi": imsi, "served_msisdn": "34600000001", "served_imei": "3520990017614823", "charging_id": charging_id,
                "serving_node_address": (IPv4Address("127.0.1.16"),), "serving_node_plmn_identifier": "21407",
                "access_point_name_ni": "internet", "pdp_pdn_type": PdpType.IPV4, "served_pdp_pdn_address": IPv4Address("10.45.0.1"),
                "record_opening_time": opened, "duration_s": 60, "rat_type": 6, "pgw_plmn_identifier": "00101",
                "user_location_information": bytes.fromhex("1812F470000112F47000000101"),
                "cause_for_rec_closing": CauseForRecClosing.NORMAL_RELEASE if is_last else CauseForRecClosing.VOLUME_LIMIT,
                "record_sequence_number": None if is_only else place + 1, "node_id": self._node, "local_sequence_number": len(self.records) + 1,
                "start_time": opened if place == 0 else None, "stop_time": closed if is_last else None,
                "list_of_traffic_volumes": (TrafficVolume(
                    uplink_octets=uplink, downlink_octets=downlink, change_condition=ChangeCondition.RECORD_CLOSURE, change_time=closed),),
                **fields}
            if self._kind is SgwRecord:
                record: Any = SgwRecord(
                    sgw_address=IPv4Address("127.0.1.15"), pgw_address_used=IPv4Address("127.0.2.13"),
                    serving_node_type=(ServingNodeType.MME,), **known)
            else:
                record = PgwRecord(
                    pgw_address=IPv4Address("127.0.2.13"), serving_node_type=(ServingNodeType.GTP_SGW,), list_of_service_data=(ServiceData(
                        rating_group=1, uplink_octets=uplink, downlink_octets=downlink, time_of_report=closed,
                        service_condition_change=ServiceConditionChange.RECORD_CLOSURE),), **known)
            self.records.append(SourceRecord(record=record, file=f"{self._node}.cdr", position=len(self.records) + 1))


def sgw() -> Writer:
    return Writer(SgwRecord, "sgw1")


def pgw() -> Writer:
    return Writer(PgwRecord, "pgw1")
