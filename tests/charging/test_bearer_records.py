"""However a bearer's life is cut into containers and records, they add up; and the journal's state is all that a crash leaves to do."""

from __future__ import annotations

import datetime
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from epc.charging import BearerRecords, Conditions, OfflineCharging, ServiceKey, Volume
from epc.charging.record import with_conditions
from epc.wire.cdr import (
    CauseForRecClosing,
    ChangeCondition,
    EpcQos,
    PgwRecord,
    ServingNodeType,
    SgwRecord,
    decode,
    encode,
)

START = 1_790_000_000.0
CONDITIONS = Conditions(
    serving_node=IPv4Address("127.0.1.15"), serving_node_type=ServingNodeType.GTP_SGW, serving_plmn="21407", rat_type=6,
    ms_time_zone=b"\x40\x00", user_location=bytes.fromhex("1812F470000112F47000000101"), qos=EpcQos(qci=9, arp=0x60), apn_ambr=(1000, 2000))
SERVICES = (ServiceKey(0), ServiceKey(1, 7), ServiceKey(70))
numbers = st.integers(0, 2**32)
steps = st.lists(st.one_of(
    st.tuples(st.just("count"), st.sampled_from(SERVICES), st.builds(Volume, numbers, numbers)),
    st.tuples(st.just("container"), st.sampled_from((ChangeCondition.QOS_CHANGE, ChangeCondition.TARIFF_TIME))),
    st.tuples(st.just("record"), st.sampled_from((CauseForRecClosing.VOLUME_LIMIT, CauseForRecClosing.TIME_LIMIT))),
), max_size=15)


def begun(kind: type[SgwRecord] | type[PgwRecord]) -> BearerRecords:
    opened = datetime.datetime.fromtimestamp(START, datetime.UTC)
    common: dict[str, Any] = {
        "served_imsi": "001010000000001", "charging_id": 9, "serving_node_address": (), "serving_node_type": (), "record_opening_time": opened,
        "start_time": opened, "duration_s": 0, "cause_for_rec_closing": CauseForRecClosing.ABNORMAL_RELEASE, "node_id": "gw"}
    record = (SgwRecord(sgw_address=IPv4Address("127.0.0.1"), **common) if kind is SgwRecord
              else PgwRecord(pgw_address=IPv4Address("127.0.0.1"), **common))
    return BearerRecords(key="1", template=with_conditions(record, CONDITIONS), conditions=CONDITIONS, zone=datetime.UTC, opened_at=START)


@given(st.sampled_from((SgwRecord, PgwRecord)), steps)
def test_records_add_up_and_the_state_is_enough(kind: Any, life: list[Any]) -> None:
    records, found, counted = begun(kind), [], dict.fromkeys(SERVICES, Volume())
    now = START
    for step in life:
        now += 10
        if step[0] == "count":
            records.count([(step[1], step[2])])
            counted[step[1]] = counted[step[1]].plus(step[2])
        elif step[0] == "container":
            records.end_container(step[1], now)
        else:
            finished = records.end_record(step[1], now, node_number=len(found) + 1)
            records.template = replace(records.template, record_sequence_number=finished.record_sequence_number)
            records.begin_next(now)
            found.append(finished)
    state = orjson.loads(orjson.dumps(records.state(now)))
    after_crash, at = BearerRecords.from_state("1", state, datetime.UTC)
    assert at == now
    dead = after_crash.end_record(CauseForRecClosing.ABNORMAL_RELEASE, at, node_number=99)
    alive = records.end_record(CauseForRecClosing.ABNORMAL_RELEASE, now, node_number=99)
    assert dead == alive, "what the journal says is what the process would have written"
    found.append(alive)
    assert [decode(encode(record)) for record in found] == found
    uplink, downlink = sum(volume.uplink for volume in counted.values()), sum(volume.downlink for volume in counted.values())
    assert (sum(record.uplink_octets for record in found), sum(record.downlink_octets for record in found)) == (uplink, downlink)
    assert sum(record.duration_s for record in found) == now - START
    sequence = [record.record_sequence_number for record in found]
    assert sequence == ([None] if len(found) == 1 else [*range(1, len(found) + 1)])
    assert [record.stop_time is not None for record in found] == [False] * (len(found) - 1) + [True]
    if kind is PgwRecord:
        services: dict[ServiceKey, Volume] = {}
        for record in found:
            for service in record.list_of_service_data:
                key = ServiceKey(service.rating_group, service.service_identifier)
                services[key] = services.get(key, Volume()).plus(Volume(service.uplink_octets, service.downlink_octets))
        assert services == {key: volume for key, volume in counted.items() if volume != (0, 0)}
        numbers_of_containers = [service.local_sequence_number for record in found for service in record.list_of_service_data]
        assert numbers_of_containers == [*range(1, len(numbers_of_containers) + 1)]


def test_the_next_tariff_time_is_in_local_time() -> None:
    config = OfflineCharging(tariff_times=("08:00", "22:00"), time_zone="Europe/Madrid")
    madrid = config.zone
    for at, expected in (((2026, 11, 26, 7, 59, 59), 1), ((2026, 11, 26, 8, 0, 0), 14 * 3600), ((2026, 11, 26, 23, 0, 0), 9 * 3600)):
        assert config.seconds_to_tariff_time(datetime.datetime(*at, tzinfo=madrid).timestamp()) == expected
    # the night in which clocks go back has 25 hours
    assert config.seconds_to_tariff_time(datetime.datetime(2026, 10, 24, 22, 0, 0, tzinfo=madrid).timestamp()) == 11 * 3600
    assert OfflineCharging().seconds_to_tariff_time(START) is None
