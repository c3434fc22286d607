"""What ends a charging data record or a container of it, at the PGW: each change of charging conditions (TS 32.251 clause 5.2.3.10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epc.wire.cdr import CauseForRecClosing, PgwRecord, decode, split
from epc.wire.gtpv2 import (
    Ambr,
    BearerContextModifyCommanded,
    BearerContextUpdateAnswered,
    ChangeNotificationRequest,
    DeleteSessionRequest,
    Ecgi,
    Fteid,
    InterfaceType,
    ModifyBearerCommand,
    ModifyBearerRequest,
    ModifyBearerResponse,
    RatType,
    Tai,
    UeTimeZone,
    Uli,
    UpdateBearerRequest,
    UpdateBearerResponse,
)
from epc.wire.identity import Plmn
from tests.nodes.test_pgw import ACCEPTED, AMBR, QOS, Bench, create_session_request

pytestmark = pytest.mark.virtual_clock


def records(directory: Path) -> list[PgwRecord]:
    found = [decode(octets) for path in sorted(directory.glob("*.cdr")) for _, octets in split(path.read_bytes())]
    assert all(isinstance(record, PgwRecord) for record in found)
    return found  # type: ignore[return-value]


@asynccontextmanager
async def charging(directory: Path, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(offline_charging={"directory": str(directory), "plmn": "00101", **settings})
    await bench.start()
    await bench.create(create_session_request(ue_time_zone=UeTimeZone(offset_minutes=60), charging_characteristics=0x0800))
    yield bench
    if bench.pgw.sessions:
        await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)
    await bench.stop()


MOVES: list[tuple[dict[str, Any], CauseForRecClosing]] = [
    ({"serving_network": Plmn("21407")}, CauseForRecClosing.SGSN_PLMN_ID_CHANGE),
    ({"rat_type": RatType.UTRAN}, CauseForRecClosing.RAT_CHANGE),
    ({"ue_time_zone": UeTimeZone(offset_minutes=120)}, CauseForRecClosing.MS_TIME_ZONE_CHANGE),
    ({"sender_fteid": Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2002, "10.0.0.33")}, CauseForRecClosing.SGW_CHANGE),
    ({"serving_network": Plmn("21407"), "rat_type": RatType.UTRAN, "sender_fteid": Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2002, "10.0.0.33")},
     CauseForRecClosing.SGSN_PLMN_ID_CHANGE),
]


@pytest.mark.parametrize(("move", "cause"), MOVES)
async def test_a_move_closes_the_record_once(tmp_path: Path, move: dict[str, Any], cause: CauseForRecClosing) -> None:
    async with charging(tmp_path) as bench:
        answer = await bench.ask(ModifyBearerRequest(**move), bench.pgw_teid)
        assert isinstance(answer, ModifyBearerResponse)
        assert answer.cause == ACCEPTED
        again = await bench.ask(ModifyBearerRequest(**move), bench.pgw_teid)
        assert isinstance(again, ModifyBearerResponse), "the same once more changes nothing"
    before, after = records(tmp_path)
    assert (before.cause_for_rec_closing, after.cause_for_rec_closing) == (cause, CauseForRecClosing.NORMAL_RELEASE)
    assert (before.record_sequence_number, after.record_sequence_number) == (1, 2)
    assert (before.serving_node_plmn_identifier, str(before.serving_node_address[0]), before.rat_type) == ("00101", "10.0.0.3", 6)
    assert before.ms_time_zone == bytes((0x40, 0))
    assert after.serving_node_plmn_identifier == move.get("serving_network", "00101")
    assert str(after.serving_node_address[0]) == ("10.0.0.33" if "sender_fteid" in move else "10.0.0.3")
    assert after.rat_type == move.get("rat_type", 6)
    assert (before.charging_characteristics, before.ch_ch_selection_mode) == (0x0800, 0)


async def test_another_cell_ends_a_container_and_not_the_record(tmp_path: Path) -> None:
    async with charging(tmp_path) as bench:
        there = Uli(tai=Tai("00101", 7), ecgi=Ecgi("00101", 0xA1B02))
        await bench.ask(ChangeNotificationRequest(rat_type=RatType.EUTRAN, uli=there), bench.pgw_teid)
    (record,) = records(tmp_path)
    assert [volume.change_condition.name for volume in record.list_of_traffic_volumes] == ["USER_LOCATION_CHANGE", "RECORD_CLOSURE"]
    places = [volume.user_location_information for volume in record.list_of_traffic_volumes]
    assert [place[-4:].hex() for place in places if place] == ["000a1b01", "000a1b02"]
    assert record.user_location_information == places[0], "the record has that of its opening"


async def test_another_ambr_closes_the_record_and_another_qos_a_container(tmp_path: Path) -> None:
    async with charging(tmp_path) as bench:
        bench.answers[UpdateBearerRequest] = lambda received: UpdateBearerResponse(
            cause=ACCEPTED, bearer_contexts=(BearerContextUpdateAnswered(ebi=5, cause=ACCEPTED),))
        bigger = Ambr(uplink_kbps=5000, downlink_kbps=6000)
        for qos in (QOS, replace(QOS, qci=8)):
            command = ModifyBearerCommand(bearer_context=BearerContextModifyCommanded(ebi=5, bearer_qos=qos), ambr=bigger)
            await bench.ask(command, bench.pgw_teid)
            await asyncio.sleep(1.0)
    first, second = records(tmp_path)
    assert first.cause_for_rec_closing is CauseForRecClosing.APN_AMBR_CHANGE
    assert first.epc_qos_information is not None
    assert second.epc_qos_information is not None
    assert (first.epc_qos_information.apn_ambr_uplink_bps, second.epc_qos_information.apn_ambr_uplink_bps) == (
        AMBR.uplink_kbps * 1000, 5_000_000)
    assert [(volume.change_condition.name, volume.qos.qci) for volume in second.list_of_traffic_volumes if volume.qos] == [
        ("QOS_CHANGE", 9), ("RECORD_CLOSURE", 8)]


async def test_without_the_section_nothing_is_measured_or_written(tmp_path: Path) -> None:
    bench = Bench()
    await bench.start()
    await bench.create()
    (session,) = bench.pgw.forwarder.sessions()
    assert [urr.id for urr in session.urrs] == [1]
    assert "charging" not in bench.pgw.views()
    assert bench.pgw.commands() == {}
    await bench.stop()


async def test_without_a_folder_the_files_are_gone_when_the_node_stops() -> None:
    bench = Bench(offline_charging={})
    await bench.start()
    await bench.create()
    assert bench.pgw.charging is not None
    directory = bench.pgw.charging.function.directory
    assert directory.exists()
    await bench.stop()
    assert not directory.exists()
