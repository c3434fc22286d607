"""One bearer as offline charging sees it: the record that is open, its containers, and what is counted in them (TS 32.251 clause 5.2)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from epc.wire.cdr import (
    CauseForRecClosing,
    ChangeCondition,
    EpcQos,
    PgwRecord,
    ServiceConditionChange,
    ServiceData,
    ServingNodeType,
    SgwRecord,
    TrafficVolume,
    from_json,
    to_json,
)

AnyRecord = SgwRecord | PgwRecord


class ServiceKey(NamedTuple):
    """What volumes are told apart by: the charging key of a PCC rule. An SGW has one for all."""

    rating_group: int = 0
    service_identifier: int | None = None


class Volume(NamedTuple):
    """Octets of the users' IP packets."""

    uplink: int = 0
    downlink: int = 0

    def plus(self, other: Volume) -> Volume:
        return Volume(self.uplink + other.uplink, self.downlink + other.downlink)

    def since(self, earlier: Volume) -> Volume:
        return Volume(self.uplink - earlier.uplink, self.downlink - earlier.downlink)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Charging conditions of a bearer: what a change of ends a container, or the record."""

    serving_node: IPv4Address | IPv6Address                 # MME at the SGW, SGW at the PGW
    serving_node_type: ServingNodeType
    serving_plmn: str | None = None
    rat_type: int | None = None
    ms_time_zone: bytes | None = None
    user_location: bytes | None = None
    qos: EpcQos | None = None
    apn_ambr: tuple[int, int] | None = None                 # bit/s, uplink and downlink; the PGW's


class Ends(Enum):
    """What a change of conditions ends."""

    NOTHING = "nothing"
    CONTAINER = "container"
    RECORD = "record"


def effect(former: Conditions, now: Conditions) -> tuple[Ends, CauseForRecClosing | ChangeCondition | None]:
    """The gravest thing that a change of conditions does, and its cause (TS 32.251 tables 5.2.3.4.1 and 5.2.3.4.2)."""
    if former.serving_plmn != now.serving_plmn:
        return Ends.RECORD, CauseForRecClosing.SGSN_PLMN_ID_CHANGE
    if former.serving_node != now.serving_node:
        is_sgw = now.serving_node_type is ServingNodeType.GTP_SGW
        return Ends.RECORD, CauseForRecClosing.SGW_CHANGE if is_sgw else CauseForRecClosing.SERVING_NODE_CHANGE
    if former.rat_type != now.rat_type:
        return Ends.RECORD, CauseForRecClosing.RAT_CHANGE
    if former.ms_time_zone != now.ms_time_zone:
        return Ends.RECORD, CauseForRecClosing.MS_TIME_ZONE_CHANGE
    if former.apn_ambr != now.apn_ambr:
        return Ends.RECORD, CauseForRecClosing.APN_AMBR_CHANGE
    if former.qos != now.qos:
        return Ends.CONTAINER, ChangeCondition.QOS_CHANGE
    if former.user_location != now.user_location:
        return Ends.CONTAINER, ChangeCondition.USER_LOCATION_CHANGE
    return Ends.NOTHING, None


_SERVICE_CONDITIONS = {
    CauseForRecClosing.NORMAL_RELEASE: ServiceConditionChange.PDP_CONTEXT_RELEASE,
    CauseForRecClosing.ABNORMAL_RELEASE: ServiceConditionChange.PDP_CONTEXT_RELEASE,
    CauseForRecClosing.VOLUME_LIMIT: ServiceConditionChange.VOLUME_LIMIT,
    CauseForRecClosing.TIME_LIMIT: ServiceConditionChange.TIME_LIMIT,
    CauseForRecClosing.SERVING_NODE_CHANGE: ServiceConditionChange.SGSN_CHANGE,
    CauseForRecClosing.SGW_CHANGE: ServiceConditionChange.SGSN_CHANGE,
    CauseForRecClosing.SGSN_PLMN_ID_CHANGE: ServiceConditionChange.SGSN_PLMN_ID_CHANGE,
    CauseForRecClosing.RAT_CHANGE: ServiceConditionChange.RAT_CHANGE,
}
_SERVICE_CHANGES = {
    ChangeCondition.QOS_CHANGE: ServiceConditionChange.QOS_CHANGE,
    ChangeCondition.TARIFF_TIME: ServiceConditionChange.TARIFF_TIME_SWITCH,
    ChangeCondition.USER_LOCATION_CHANGE: ServiceConditionChange.USER_LOCATION_CHANGE,
}


@dataclass(slots=True, kw_only=True, eq=False)
class BearerRecords:
    """The records of one bearer, one after the other; times are seconds since the epoch.

    ``template`` is the open record as far as it does not depend on what is still to come: without the container that is being filled.
    ``counted`` is what that container has by now.
    """

    key: str                                    # in the journal
    template: AnyRecord
    conditions: Conditions
    zone: datetime.tzinfo
    opened_at: float                            # the record, not the bearer
    counted: dict[ServiceKey, Volume] = field(default_factory=dict)
    containers: int = 0                         # of service data so far, in all records of the bearer
    is_dirty: bool = False                      # something was counted that the journal does not have

    @property
    def volume(self) -> Volume:
        """Of the open record."""
        volume = Volume(self.template.uplink_octets, self.template.downlink_octets)
        for each in self.counted.values():
            volume = volume.plus(each)
        return volume

    def count(self, used: Iterable[tuple[ServiceKey, Volume]]) -> None:
        """What came on top of what was counted before."""
        for key, volume in used:
            if volume != (0, 0):
                self.counted[key] = self.counted.get(key, Volume()).plus(volume)
                self.is_dirty = True

    def end_container(self, condition: ChangeCondition, at: float, service_condition: ServiceConditionChange | None = None) -> None:
        """Close the container and begin an empty one; ``conditions`` are those that held in it."""
        moment = self.moment(at)
        conditions = self.conditions
        total = Volume()
        for volume in self.counted.values():
            total = total.plus(volume)
        traffic = TrafficVolume(
            uplink_octets=total.uplink, downlink_octets=total.downlink, change_condition=condition, change_time=moment, qos=conditions.qos,
            user_location_information=conditions.user_location)
        self.template = replace(self.template, list_of_traffic_volumes=(*self.template.list_of_traffic_volumes, traffic))
        if isinstance(self.template, PgwRecord):
            why = service_condition or _SERVICE_CHANGES.get(condition, ServiceConditionChange.RECORD_CLOSURE)
            made = []
            for key, volume in sorted(self.counted.items(), key=lambda item: (item[0].rating_group, item[0].service_identifier or 0)):
                self.containers += 1
                made.append(ServiceData(
                    rating_group=key.rating_group, service_identifier=key.service_identifier, uplink_octets=volume.uplink,
                    downlink_octets=volume.downlink, service_condition_change=why, time_of_report=moment, local_sequence_number=self.containers,
                    qos=conditions.qos, serving_node_address=conditions.serving_node, user_location_information=conditions.user_location,
                    rat_type=conditions.rat_type))
            self.template = replace(self.template, list_of_service_data=(*self.template.list_of_service_data, *made))
        self.counted = {}

    def end_record(self, cause: CauseForRecClosing, at: float, *, node_number: int) -> AnyRecord:
        """The finished record, with ``node_number`` as its local sequence number. After a partial one, :meth:`begin_next` opens the next."""
        why = _SERVICE_CONDITIONS.get(cause, ServiceConditionChange(0)) | ServiceConditionChange.RECORD_CLOSURE
        self.end_container(ChangeCondition.RECORD_CLOSURE, at, why)
        is_last = cause in (CauseForRecClosing.NORMAL_RELEASE, CauseForRecClosing.ABNORMAL_RELEASE)
        number = self.template.record_sequence_number
        if number is None and not is_last:
            number = 1
        return replace(
            self.template, cause_for_rec_closing=cause, duration_s=max(0, int(at) - int(self.opened_at)), record_sequence_number=number,
            stop_time=self.moment(at) if is_last else None, local_sequence_number=node_number)

    def begin_next(self, at: float) -> None:
        """The record after a partial one, with the conditions as they are now."""
        number = self.template.record_sequence_number or 1
        self.template = replace(
            with_conditions(self.template, self.conditions), list_of_traffic_volumes=(), record_opening_time=self.moment(at),
            record_sequence_number=number + 1, start_time=None)
        if isinstance(self.template, PgwRecord):
            self.template = replace(self.template, list_of_service_data=())
        self.opened_at = at
        self.counted = {}

    def moment(self, at: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(int(at), self.zone)

    # in the journal

    def state(self, at: float) -> dict[str, Any]:
        self.is_dirty = False
        return {
            "record": to_json(self.template), "opened_at": self.opened_at, "at": at, "containers": self.containers, "counts": self.counts(),
            "conditions": _show_conditions(self.conditions)}

    def counts(self) -> list[list[Any]]:
        self.is_dirty = False
        return [[*key, *volume] for key, volume in self.counted.items()]

    @classmethod
    def from_state(cls, key: str, state: Mapping[str, Any], zone: datetime.tzinfo) -> tuple[BearerRecords, float]:
        """As the journal has it, and the moment of which that is true."""
        template = from_json(state["record"])
        counted = {ServiceKey(group, service): Volume(uplink, downlink) for group, service, uplink, downlink in state["counts"]}
        return cls(
            key=key, template=template, conditions=_read_conditions(template, state["conditions"]), zone=zone, opened_at=state["opened_at"],
            counted=counted, containers=state["containers"]), state["at"]


def with_conditions(record: AnyRecord, conditions: Conditions) -> AnyRecord:
    """The record's own fields that tell of charging conditions."""
    made = replace(
        record, serving_node_address=(conditions.serving_node,), serving_node_type=(conditions.serving_node_type,),
        serving_node_plmn_identifier=conditions.serving_plmn, rat_type=conditions.rat_type, ms_time_zone=conditions.ms_time_zone,
        user_location_information=conditions.user_location)
    if isinstance(made, PgwRecord) and conditions.qos is not None and conditions.apn_ambr is not None:
        uplink, downlink = conditions.apn_ambr
        made = replace(made, epc_qos_information=replace(conditions.qos, apn_ambr_uplink_bps=uplink, apn_ambr_downlink_bps=downlink))
    return made


_QOS_FIELDS = tuple(EpcQos.__dataclass_fields__)


def _show_conditions(conditions: Conditions) -> dict[str, Any]:
    """Only what the open container needs and the record itself does not tell: both are as they were when the record was opened, or later."""
    qos = conditions.qos
    return {
        "serving_node": str(conditions.serving_node), "rat_type": conditions.rat_type,
        "user_location": None if conditions.user_location is None else conditions.user_location.hex(),
        "qos": None if qos is None else [getattr(qos, name) for name in _QOS_FIELDS]}


def _read_conditions(record: AnyRecord, data: Mapping[str, Any]) -> Conditions:
    location, qos = data["user_location"], data["qos"]
    node_type = record.serving_node_type[0]
    return Conditions(
        serving_node=record.serving_node_address[0], serving_node_type=ServingNodeType(node_type), rat_type=data["rat_type"],
        user_location=None if location is None else bytes.fromhex(location),
        qos=None if qos is None else EpcQos(**dict(zip(_QOS_FIELDS, qos, strict=True))))
