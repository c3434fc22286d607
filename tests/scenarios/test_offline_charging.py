"""Charging records of both operators, in memory on the virtual clock: what was carried is what they say, to the byte."""

from __future__ import annotations

import asyncio
import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
import pytest

from epc.dataplane.ip_endpoint import udp_exchange
from epc.lab.report import write_report
from epc.wire.cdr import (
    CauseForRecClosing,
    ChangeCondition,
    FileHeader,
    PgwRecord,
    ServiceConditionChange,
    ServingNodeType,
    SgwRecord,
    decode,
    from_json,
    split,
)

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
UDP_HEADERS = 28
SETTLEMENT = Path(__file__).parents[2] / "scenarios" / "roaming-settlement.yaml"


def charged(directory: Path, **settings: Any) -> dict[str, Any]:
    """Both gateways of the roaming network write records below ``directory``."""
    section = {"volumes_every_s": 1, "time_zone": "Europe/Madrid", **settings}
    return {
        "sgw-visited.offline_charging": {"directory": str(directory / "visited"), "plmn": "21407", **section},
        "pgw-home.offline_charging": {"directory": str(directory / "home"), "plmn": "00101", **section},
    }


def records(directory: Path) -> list[Any]:
    """Every record of the closed files, from both formats, which must say the same."""
    binary = [decode(octets) for path in sorted(directory.glob("*.cdr")) for _, octets in split(path.read_bytes())]
    text = [from_json(orjson.loads(line)) for path in sorted(directory.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert binary == text
    return binary


def volumes(found: list[Any]) -> tuple[int, int]:
    return sum(record.uplink_octets for record in found), sum(record.downlink_octets for record in found)


async def test_a_roamer_leaves_a_record_at_either_operator(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert world.node("pgw-home").views()["charging"]()[0]["uplink_octets"] == 0
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 1000)
        await lab.exchange_udp(phone, lab.server, 7, b"y" * 100)
        session = world.node("pgw-home").views()["sessions"]()[0]
        await asyncio.sleep(61)
        await lab.detach(phone)
    (sgw,), (pgw,) = records(tmp_path / "visited"), records(tmp_path / "home")
    assert isinstance(sgw, SgwRecord)
    assert isinstance(pgw, PgwRecord)
    carried = 1100 + 2 * UDP_HEADERS
    for record in (sgw, pgw):
        assert (record.uplink_octets, record.downlink_octets) == (carried, carried)
        assert (record.served_imsi, record.served_msisdn, record.access_point_name_ni) == (IMSI, "34600000001", "internet")
        assert record.charging_id == record.pdn_connection_charging_id == session["charging_id"]
        assert record.cause_for_rec_closing is CauseForRecClosing.NORMAL_RELEASE
        assert (record.record_sequence_number, record.local_sequence_number) == (None, 1)
        assert record.served_pdp_pdn_address == ip_address(session["ip"])
        assert (record.rat_type, record.serving_node_plmn_identifier) == (6, "21407")
        assert record.user_location_information is not None
        assert record.dynamic_address_flag
        assert record.duration_s in (61, 62)
        assert record.start_time == record.record_opening_time
        assert record.stop_time == record.start_time + datetime.timedelta(seconds=record.duration_s)
        assert record.start_time.utcoffset() in (datetime.timedelta(hours=1), datetime.timedelta(hours=2))
        assert [volume.change_condition for volume in record.list_of_traffic_volumes] == [ChangeCondition.RECORD_CLOSURE]
        assert record.list_of_traffic_volumes[0].qos.qci == 9
    assert pgw.pgw_plmn_identifier == "00101"
    assert sgw.pgw_plmn_identifier in (None, "00101"), "the SGW knows it where the MME gives it the APN's operator identifier"
    assert (sgw.node_id, pgw.node_id) == ("sgw-visited", "pgw-home")
    assert (str(sgw.sgw_address), str(sgw.pgw_address_used), sgw.serving_node_type) == ("127.0.1.15", "127.0.2.13", (ServingNodeType.MME,))
    assert (str(pgw.pgw_address), pgw.serving_node_address, pgw.serving_node_type) == (
        "127.0.2.13", (sgw.sgw_address,), (ServingNodeType.GTP_SGW,))
    (service,) = pgw.list_of_service_data
    assert (service.uplink_octets, service.downlink_octets, service.local_sequence_number) == (carried, carried, 1)
    assert service.service_condition_change == ServiceConditionChange.PDP_CONTEXT_RELEASE | ServiceConditionChange.RECORD_CLOSURE


async def test_volume_limit_closes_records_and_loses_nothing(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path, partial={"octets": 5000}), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(20):
            await lab.exchange_udp(phone, lab.server, 7, b"x" * 472)
        await lab.detach(phone)
    for operator in ("visited", "home"):
        found = records(tmp_path / operator)
        assert volumes(found) == (20 * 500, 20 * 500)
        *partial, last = found
        assert {record.cause_for_rec_closing for record in partial} == {CauseForRecClosing.VOLUME_LIMIT}
        assert [record.uplink_octets + record.downlink_octets for record in partial] == [5000] * len(partial), "closed by the report, not by a poll"
        assert last.cause_for_rec_closing is CauseForRecClosing.NORMAL_RELEASE
        assert [record.record_sequence_number for record in found] == [*range(1, len(found) + 1)]
        assert [record.local_sequence_number for record in found] == [*range(1, len(found) + 1)]
        assert [record.start_time is not None for record in found] == [True] + [False] * (len(found) - 1)
        assert len({record.charging_id for record in found}) == 1


async def test_time_limit_and_management_intervention(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path, partial={"seconds": 30}), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await asyncio.sleep(31)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        said = await world.node("pgw-home").commands()["close_records"]()
        assert said["open"] == 1
        await asyncio.sleep(29)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        await asyncio.sleep(2)
        await lab.detach(phone)
    assert [record.cause_for_rec_closing.name for record in records(tmp_path / "home")] == [
        "TIME_LIMIT", "MANAGEMENT_INTERVENTION", "TIME_LIMIT", "NORMAL_RELEASE"]
    assert [record.uplink_octets for record in records(tmp_path / "home")] == [0, 100, 100, 0]
    first, *_ = records(tmp_path / "visited")
    assert first.duration_s in (30, 31)


async def test_containers_end_at_tariff_times_and_too_many_close_the_record(network: Any, tmp_path: Path) -> None:
    every_quarter = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 15, 30, 45)]
    async with network(charged(tmp_path, tariff_times=every_quarter, partial={"changes": 3}), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(4):
            await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
            await asyncio.sleep(900)
        await lab.detach(phone)
    first, second = records(tmp_path / "home")
    assert first.cause_for_rec_closing is CauseForRecClosing.MAX_CHANGE_COND
    assert [volume.change_condition.name for volume in first.list_of_traffic_volumes] == ["TARIFF_TIME", "TARIFF_TIME", "RECORD_CLOSURE"]
    assert [volume.uplink_octets for volume in first.list_of_traffic_volumes] == [100, 100, 100]
    assert [service.uplink_octets for service in first.list_of_service_data] == [100, 100, 100]
    assert [service.local_sequence_number for service in (*first.list_of_service_data, *second.list_of_service_data)] == [1, 2, 3, 4]
    assert [volume.uplink_octets for volume in second.list_of_traffic_volumes] == [100, 0]
    for volume in first.list_of_traffic_volumes:
        assert volume.change_time.minute % 15 == 0
        assert volume.change_time.second <= 1


async def test_stopping_the_gateways_closes_what_is_open_as_abnormal(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
    for operator in ("visited", "home"):
        (record,) = records(tmp_path / operator)
        assert record.cause_for_rec_closing is CauseForRecClosing.ABNORMAL_RELEASE
        assert volumes([record]) == (100, 100)


async def test_files_rotate_by_size_and_number_their_records_through(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path, partial={"octets": 1}, rotate={"records": 3}), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(4):
            await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        await lab.detach(phone)
    files = sorted((tmp_path / "home").glob("*.cdr"))
    headers = [FileHeader.decode(path.read_bytes())[0] for path in files]
    assert [header.sequence_number for header in headers] == [*range(1, len(files) + 1)]
    assert [header.records for header in headers[:-1]] == [3] * (len(files) - 1)
    assert [header.file_octets for header in headers] == [path.stat().st_size for path in files]
    assert {str(header.node_address) for header in headers} == {"127.0.2.13"}
    assert [path.name.split(".")[0] for path in files] == [f"pgw-home_-_{number:04}" for number in range(1, len(files) + 1)]
    found = records(tmp_path / "home")
    assert [record.local_sequence_number for record in found] == [*range(1, len(found) + 1)]
    assert volumes(found) == (400, 400)
    assert not list((tmp_path / "home").glob("*.open"))


async def test_records_with_the_user_plane_behind_pfcp_are_complete(network: Any, tmp_path: Path) -> None:
    changes = {
        "pgwu1.sgi_hosts": "in_process", "sgw1.offline_charging": {"directory": str(tmp_path / "sgw")},
        "pgw1.offline_charging": {"directory": str(tmp_path / "pgw")}}
    async with network(changes, file="sx-split.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 972)
        await lab.detach(phone)
        await world.at_rest()
    for gateway in ("sgw", "pgw"):
        (record,) = records(tmp_path / gateway)
        assert volumes([record]) == (1000, 1000), gateway
        assert record.cause_for_rec_closing is CauseForRecClosing.NORMAL_RELEASE


async def test_both_get_paid(network: Any, tmp_path: Path) -> None:
    """The S-GW's records become a TAP file; home's records, the phone and the invoice agree to the octet."""
    async with network(charged(tmp_path, partial={"octets": 4000}), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(10):
            await lab.exchange_udp(phone, lab.server, 7, b"x" * 972)
        await lab.detach(phone)
        settlement = await lab.settlement(SETTLEMENT)
        lab.note_counters()
        write_report(lab.report, lab.observer, tmp_path / "out")
    assert settlement.visited_octets == settlement.home_octets == (10_000, 10_000)
    assert settlement.phones[IMSI] == (10_000, 10_000)
    assert str(settlement.charge) == "0.0100", "20 kB at 0.06 a megabyte are 0.0012: the session's minimum holds"
    assert [call.partial_type for call in settlement.tap.calls] == ["F", "I", "I", "I", "I", "L"]
    assert sum(call.octets.total for call in settlement.tap.calls) == 20_000
    papers = tmp_path / "out" / "settlement"
    assert (papers / settlement.tap.name).read_bytes() == settlement.tap_octets
    assert "AGREED: S-GW, P-GW" in (papers / "check.txt").read_text()
    assert len(records(papers / "cdr" / "sgw-visited")) == 6
    summary = orjson.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert summary["settlement"]["agrees"]
    assert summary["ues"][0]["usage"]["uplink_octets"] == 10_000
    assert {each["name"]: each["uplink_octets"] for each in summary["user_plane"]}["pgw-home"] == 10_000


async def test_downlink_lost_between_the_operators_is_found_and_explained(network: Any, tmp_path: Path) -> None:
    """A G-PDU that the PGW counted gets lost on S8: the S-GW bills what it carried, and the check says where the rest went."""
    async with network(charged(tmp_path), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        host = await phone.host()
        lost = world.wires.drop_when(lambda packet: packet.interface == "S5/S8-U" and str(packet.source.host) == "127.0.2.13")
        with pytest.raises(TimeoutError):
            await udp_exchange(host, lab.server, 7, b"y" * 172)
        lost.cancel()
        await lab.detach(phone)
        settlement = await lab.settlement(SETTLEMENT, agrees=False)
    (volume,) = [each for each in settlement.differences if each.kind == "volume"]
    assert (volume.direction, volume.octets, volume.imsi) == ("downlink", -200, IMSI)
    assert "lost on the way" in volume.explanation
    assert settlement.visited_octets == (300, 100)
    assert settlement.home_octets == (300, 300)


async def test_volume_limit_behind_pfcp(network: Any, tmp_path: Path) -> None:
    """The user-plane functions watch the threshold and report it."""
    section = {"partial": {"octets": 5000}, "volumes_every_s": 1000}
    changes = {
        "pgwu1.sgi_hosts": "in_process", "sgw1.offline_charging": {"directory": str(tmp_path / "sgw"), **section},
        "pgw1.offline_charging": {"directory": str(tmp_path / "pgw"), **section}}
    async with network(changes, file="sx-split.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(12):
            await lab.exchange_udp(phone, lab.server, 7, b"x" * 472)
            await asyncio.sleep(0.2)
        await lab.detach(phone)
        await world.at_rest()
    for gateway in ("sgw", "pgw"):
        found = records(tmp_path / gateway)
        assert volumes(found) == (6000, 6000), gateway
        assert [record.cause_for_rec_closing.name for record in found] == ["VOLUME_LIMIT", "VOLUME_LIMIT", "NORMAL_RELEASE"]


async def test_every_bearer_has_records_of_its_own(network: Any, tmp_path: Path) -> None:
    """A dedicated bearer comes at the attach and goes before the phone does; what it carried is told apart at both gateways."""
    voice = {"flows": [{"description": "permit out 17 from any 7 to assigned"}], "qci": 1, "precedence": 10, "guaranteed_ul": "64k",
             "guaranteed_dl": "64k", "max_ul": "10M", "max_dl": "10M", "rating_group": 70}
    everything = {"flows": [{"description": "permit out ip from any to assigned"}], "precedence": 1000, "rating_group": 10}
    changes = {
        "sgw1.offline_charging": {"directory": str(tmp_path / "sgw")}, "pgw1.offline_charging": {"directory": str(tmp_path / "pgw")},
        "pcrf1.policy": {"rules": {"voice": voice, "everything": everything}, "policies": [{"rules": ["everything", "voice"]}]}}
    async with network(changes) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await asyncio.sleep(1)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        await lab.ping(phone, lab.server, count=2)
        assert len(world.node("pgw1").views()["charging"]()) == 2
        await world.node("pcrf1")._remove_rule(rule="voice", imsi=IMSI)
        await asyncio.sleep(1)
        assert len(world.node("sgw1").views()["charging"]()) == 1
        await lab.ping(phone, lab.server, count=1)
        await lab.detach(phone)
    sgw, pgw = records(tmp_path / "sgw"), records(tmp_path / "pgw")
    for found in (sgw, pgw):
        voice_record, default_record = found
        assert [record.cause_for_rec_closing.name for record in found] == ["NORMAL_RELEASE", "NORMAL_RELEASE"]
        assert volumes([voice_record]) == (100, 100)
        assert volumes([default_record])[0] == volumes([default_record])[1] > 0
        assert [record.list_of_traffic_volumes[0].qos.qci for record in found] == [1, 9]
        assert voice_record.list_of_traffic_volumes[0].qos.gbr_uplink_bps == 64_000
        assert voice_record.pdn_connection_charging_id == default_record.charging_id == default_record.pdn_connection_charging_id
        assert voice_record.charging_id != default_record.charging_id
    assert [record.charging_id for record in sgw] == [record.charging_id for record in pgw]
    assert [volumes([record]) for record in sgw] == [volumes([record]) for record in pgw]
    assert [[service.rating_group for service in record.list_of_service_data] for record in pgw] == [[70], [10]]


async def test_an_attach_that_takes_the_former_ones_place_ends_its_records(network: Any, tmp_path: Path) -> None:
    async with network(charged(tmp_path), file="roaming.yaml") as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 72)
        phone.ue.lose_power()
        await asyncio.sleep(1)
        phone.ue.camp_on(world.node("enb-visited").cells[0])
        await lab.attach(phone)
        await lab.detach(phone)
        await lab.settlement(SETTLEMENT)
    for operator in ("visited", "home"):
        first, second = records(tmp_path / operator)
        assert first.charging_id != second.charging_id
        assert (volumes([first]), volumes([second])) == ((100, 100), (0, 0))
        assert first.is_last
        assert second.is_last
