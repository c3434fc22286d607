"""TAP files, wholesale rating, and differences that were put in on purpose."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.settlement import Billed, LedgerUse, NodeCounters, Octets, Settlement, SourceRecord, TapError, settle
from epc.settlement.config import Agreement, WholesaleRate
from epc.settlement.rating import rate_session, session_charge
from epc.settlement.tap import read
from epc.wire import tap3
from epc.wire.errors import WireError
from tests.settlement.books import CREATED, IMSI, OTHER, config, pgw, sgw

VOLUMES = [(1000, 4000), (500, 4500), (300, 200)]


def both(volumes: Any = VOLUMES, **fields: Any) -> tuple[list[SourceRecord], list[SourceRecord]]:
    visited, home = sgw(), pgw()
    visited.session(volumes, **fields)
    home.session(volumes, **fields)
    return visited.records, home.records


def settled(visited: list[SourceRecord], home: list[SourceRecord], *, agreement: dict[str, Any] | None = None, **more: Any) -> Settlement:
    chosen = config(**(agreement or {}))
    return settle(chosen, chosen.agreement(), visited, home, created=CREATED, **more)


def ledger(octets: int, **fields: Any) -> LedgerUse:
    return LedgerUse(**{"imsi": IMSI, "rating_group": 1, "octets": octets, "visited_plmn": "21407", "amount": octets, **fields})


# --- rating --------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=6),
       st.decimals("0", "10", places=4), st.integers(1, 100_000), st.decimals("0", "5", places=2), st.decimals("0", "5", places=2))
def test_records_of_a_session_add_up_to_its_charge(volumes: Any, price: Decimal, increment: int, fee: Decimal, minimum: Decimal) -> None:
    """However a session is cut into records, it costs the same."""
    rate = WholesaleRate(name="r", price_per_mb=price, increment=increment, session_fee=fee, session_minimum=minimum)
    agreement = Agreement(visited="v", home="h", rates=(rate,), tax_percent=Decimal("21"))
    writer = sgw()
    writer.session(volumes)
    rated, unrated = rate_session(agreement, writer.records)
    assert not unrated
    octets = sum(sum(volume) for volume in volumes)
    charged, exact = session_charge(rate, octets)
    assert sum(each.charge for each in rated) == exact.quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert sum(each.tax for each in rated) == (exact * 21 / 100).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert sum(each.charged_octets for each in rated) == charged >= octets
    assert all(each.charge >= 0 for each in rated)


def test_increment_fee_and_minimum() -> None:
    rate = WholesaleRate(name="r", price_per_mb=Decimal("2"), increment=10_000, session_fee=Decimal("0.05"), session_minimum=Decimal("0.10"))
    assert session_charge(rate, 1) == (10_000, Decimal("0.10"))
    assert session_charge(rate, 30_000) == (30_000, Decimal("0.11"))
    assert session_charge(rate, 30_001) == (40_000, Decimal("0.13"))


def test_the_first_rate_that_fits_holds() -> None:
    visited, home = both()
    rates = [{"name": "ims", "apns": ["ims"], "price_per_mb": 9}, {"name": "3G", "rat_types": [1], "price_per_mb": 8},
             {"name": "rest", "price_per_mb": 1}]
    assert {each.rate.name for each in settled(visited, home, agreement={"rates": rates}).rated} == {"rest"}


def test_what_no_rate_fits_is_not_billed_and_told() -> None:
    visited, home = both()
    settlement = settled(visited, home, agreement={"rates": [{"name": "ims", "apns": ["ims"], "price_per_mb": 9}]})
    assert settlement.charge == 0
    assert [each.kind for each in settlement.differences] == ["unrated"] * 3


# --- the TAP file --------------------------------------------------------------------------------------------------------------


def test_tap_file_read_back_has_the_records_and_their_totals() -> None:
    visited, home = both()
    settlement = settled(visited, home, agreement={"tax_percent": 21, "decimal_places": 6})
    file = read(settlement.tap_octets)
    assert file == settlement.tap
    assert (file.name, file.sender, file.recipient, file.sequence_number, file.is_test) == ("TDESPBCXXXHM00001", "ESPBC", "XXXHM", 1, True)
    assert (file.currency, file.decimal_places) == ("EUR", 6)
    assert file.created == CREATED
    assert [(call.octets, call.partial_type, call.cause) for call in file.calls] == [
        (Octets(1000, 4000), "F", 16), (Octets(500, 4500), "I", 16), (Octets(300, 200), "L", 0)]
    for call, source in zip(file.calls, visited, strict=True):
        record = source.record
        assert (call.imsi, call.msisdn, call.charging_id, call.apn, call.pdp_address) == (
            IMSI, "34600000001", 0x1234, "internet", "10.45.0.1")
        assert (call.started, call.started.utcoffset(), call.duration_s) == (record.record_opening_time, datetime.timedelta(hours=1), 60)
    assert file.total_charge == Decimal("0.003150")
    assert file.total_tax == Decimal("0.000662")
    assert sum(call.charge for call in file.calls) == file.total_charge
    assert settlement.agrees


def test_tap_file_says_what_td57_asks_for() -> None:
    visited, home = both([(1000, 4000)])
    kind, batch = tap3.decode(settled(visited, home, agreement={"tax_percent": "21", "test_data": False}).tap_octets)
    assert kind == "transferBatch"
    assert batch["batchControlInfo"] == {
        "sender": "ESPBC", "recipient": "XXXHM", "fileSequenceNumber": "00001",
        "fileCreationTimeStamp": {"localTimeStamp": "20261127040000", "utcTimeOffset": "+0100"},
        "transferCutOffTimeStamp": {"localTimeStamp": "20261127040000", "utcTimeOffset": "+0100"},
        "fileAvailableTimeStamp": {"localTimeStamp": "20261127040000", "utcTimeOffset": "+0100"},
        "specificationVersionNumber": 3, "releaseVersionNumber": 12}
    assert batch["accountingInfo"]["taxation"] == [{"taxCode": 0, "taxType": "01", "taxRate": "2100000"}]
    assert batch["networkInfo"] == {
        "utcTimeOffsetInfo": [{"utcTimeOffsetCode": 0, "utcTimeOffset": "+0100"}],
        "recEntityInfo": [{"recEntityCode": 0, "recEntityType": 8, "recEntityId": "127.0.1.15"},
                          {"recEntityCode": 1, "recEntityType": 7, "recEntityId": "127.0.2.13"}]}
    ((name, call),) = batch["callEventDetails"]
    assert name == "gprsCall"
    assert call["gprsBasicCallInformation"]["gprsDestination"] == {"accessPointNameNI": "internet", "accessPointNameOI": "mnc001.mcc001.gprs"}
    assert call["gprsLocationInformation"]["gprsNetworkLocation"] == {"recEntity": [0, 1], "locationArea": 1, "cellId": 257}
    assert call["equipmentIdentifier"] == ("imei", "3520990017614823")
    (information,) = call["gprsServiceUsed"]["chargeInformationList"]
    assert (information["chargedItem"], information["callTypeGroup"]["callTypeLevel1"]) == ("X", 10)
    assert information["chargeDetailList"][0] == {
        "chargeType": "00", "charge": 15, "chargeableUnits": 5000, "chargedUnits": 5000,
        "chargeDetailTimeStamp": {"localTimeStamp": "20261126130000", "utcTimeOffsetCode": 0}}
    assert batch["auditControlInfo"] == {
        "earliestCallTimeStamp": {"localTimeStamp": "20261126130000", "utcTimeOffset": "+0100"},
        "latestCallTimeStamp": {"localTimeStamp": "20261126130000", "utcTimeOffset": "+0100"},
        "totalCharge": 15, "totalTaxValue": 3, "totalDiscountValue": 0, "callEventDetailsCount": 1}


def test_pycrate_reads_and_writes_the_same_tap_file() -> None:
    oracle = pytest.importorskip("pycrate_asn1dir.TAP3").TAP_0312.DataInterChange
    visited, home = both()
    for octets in (settled(visited, home, agreement={"tax_percent": 21}).tap_octets, settled([], []).tap_octets):
        oracle.from_ber(octets)
        oracle.set_val(oracle.get_val())
        assert oracle.to_ber() == octets


def test_nothing_to_bill_makes_a_notification() -> None:
    settlement = settled([], [])
    assert tap3.decode(settlement.tap_octets)[0] == "notification"
    assert (settlement.tap.sequence_number, settlement.tap.calls, settlement.charge) == (1, (), 0)
    assert settlement.agrees


def test_nothing_is_billed_twice_and_files_are_numbered() -> None:
    visited, home = both()
    first = settled(visited[:1], home[:1])
    assert [each.kind for each in first.differences] == ["open_session"] * 2
    second = settled(visited, home, billed=first.billed)
    assert (second.tap.sequence_number, len(second.tap.calls), second.already_billed) == (2, 2, 1)
    assert first.charge + second.charge == settled(visited, home).charge, "the session costs the same, billed at once or not"
    third = settled(visited, home, billed=second.billed)
    assert (third.tap.sequence_number, third.tap.calls, third.already_billed) == (3, (), 3)
    assert settled(visited, home, billed=Billed(sequence_number=99999)).tap.sequence_number == 1
    assert second.agrees


@pytest.mark.parametrize(("damage", "said"), [
    (lambda batch: batch["auditControlInfo"].update(totalCharge=1), "total charge"),
    (lambda batch: batch["auditControlInfo"].update(totalTaxValue=1), "total tax"),
    (lambda batch: batch["auditControlInfo"].update(callEventDetailsCount=2), "counts 2 calls"),
    (lambda batch: batch.pop("networkInfo"), "missing or wrong"),
    (lambda batch: batch["callEventDetails"][0][1].pop("gprsServiceUsed"), "missing or wrong"),
])
def test_tap_files_whose_totals_are_wrong_are_refused(damage: Any, said: str) -> None:
    visited, home = both()
    kind, batch = tap3.decode(settled(visited, home).tap_octets)
    damage(batch)
    with pytest.raises(TapError, match=said):
        read(tap3.encode((kind, batch)))


@given(st.integers(0, 600), st.integers(0, 255))
def test_damaged_tap_files_raise_what_is_promised(where: int, value: int) -> None:
    visited, home = both()
    octets = bytearray(settled(visited, home).tap_octets)
    octets[where % len(octets)] = value
    try:
        read(bytes(octets))
    except TapError:
        pass
    try:
        tap3.decode(bytes(octets[:where]))
    except WireError:
        pass


# --- differences ---------------------------------------------------------------------------------------------------------------


def test_all_agree() -> None:
    visited, home = both()
    settlement = settled(visited, home, ocs=[ledger(10_500)], phones={IMSI: Octets(1800, 8700)})
    assert settlement.agrees
    assert (settlement.visited_octets, settlement.home_octets, settlement.ocs_octets) == (Octets(1800, 8700), Octets(1800, 8700), 10_500)


def test_a_lost_partial_record_is_named() -> None:
    visited, home = both()
    settlement = settled([visited[0], visited[2]], home, ocs=[ledger(10_500)], phones={IMSI: Octets(1800, 8700)})
    by_kind = {}
    for each in settlement.differences:
        by_kind.setdefault(each.kind, []).append(each)
    (missing,) = by_kind["missing_record"]
    assert (missing.record, missing.imsi, missing.charging_id, missing.between) == ("sgw1 #2, part 2", IMSI, 0x1234, ("Barcelona", "Barcelona"))
    assert {(each.direction, each.octets, each.amount) for each in by_kind["volume"]} == {
        ("uplink", -500, Decimal("-0.000150")), ("downlink", -4500, Decimal("-0.001350"))}
    assert {(each.direction, each.octets) for each in by_kind["ue"]} == {("uplink", -500), ("downlink", -4500)}
    assert by_kind["charge"][0].amount == Decimal("-0.001500")
    assert set(by_kind) == {"missing_record", "volume", "ue", "charge"}


def test_a_lost_first_and_a_lost_last_record_are_named() -> None:
    visited, home = both()
    assert [each.record for each in settled(visited[1:], home).differences if each.kind == "missing_record"] == ["sgw1 part 1"]
    assert [each.record for each in settled(visited, home[:2]).differences if each.kind == "open_session"] == ["pgw1 part 3"]


def test_a_doubled_record_counts_once() -> None:
    visited, home = both()
    again = replace(visited[1], file="again.cdr", position=9)
    settlement = settled([*visited, again], home)
    (difference,) = settlement.differences
    assert (difference.kind, difference.record, difference.octets) == ("doubled_record", "sgw1 #2, part 2", 5000)
    assert "again.cdr has it in place 9, sgw1.cdr in place 2" in difference.explanation
    assert len(settlement.tap.calls) == 3


def test_a_changed_volume_is_found_in_its_record() -> None:
    visited, home = both()
    record = visited[1].record
    wrong = replace(record, list_of_traffic_volumes=(replace(record.list_of_traffic_volumes[0], downlink_octets=4501),))
    settlement = settled([visited[0], replace(visited[1], record=wrong), visited[2]], home)
    volume = next(each for each in settlement.differences if each.kind == "volume")
    assert (volume.record, volume.direction, volume.octets) == ("sgw1 #2, part 2", "downlink", 1)
    assert volume.explanation == "the S-GW counted more than the P-GW sent: no loss explains it"


def test_downlink_lost_on_the_way_is_explained_by_counters() -> None:
    visited, home = sgw(), pgw()
    visited.session([(100, 800)])
    home.session([(100, 1000)])
    nodes = [NodeCounters(name="sgw1", kind="sgw", drops={"buffer_full": 2}), NodeCounters(name="enb1", kind="enb")]
    settlement = settled(visited.records, home.records, phones={IMSI: Octets(100, 700)}, nodes=nodes)
    assert [(each.kind, each.direction, each.octets, each.explanation) for each in settlement.differences if each.kind != "charge"] == [
        ("volume", "downlink", -200, "counted at the P-GW and not at the S-GW: lost on the way, or dropped by the S-GW "
                                     "(sgw1 dropped 2 packets, buffer_full)"),
        ("ue", "downlink", 100, "the S-GW sent more than the phone got: lost on S1-U or the radio (enb1 dropped none: lost between the nodes)")]


def test_uplink_lost_is_explained() -> None:
    visited, home = sgw(), pgw()
    visited.session([(300, 0)])
    home.session([(200, 0)])
    settlement = settled(visited.records, home.records, phones={IMSI: Octets(350, 0)},
                         nodes=[NodeCounters(name="pgw1", kind="pgw", drops={"quota_exhausted": 1})])
    volume, ue = [each for each in settlement.differences if each.kind != "charge"]
    assert (volume.octets, "pgw1 dropped 1 packets, quota_exhausted" in volume.explanation) == (100, True)
    assert (ue.octets, ue.explanation.startswith("the phone sent more than the S-GW got")) == (-50, True)


def test_a_session_that_only_one_side_has() -> None:
    visited, home = sgw(), pgw()
    visited.session([(10, 20)], charging_id=7)
    home.session([(1, 2)], charging_id=8)
    found = [(each.charging_id, each.octets, each.record) for each in settled(visited.records, home.records).differences
             if each.kind == "one_side_only"]
    assert found == [(7, 30, "sgw1 #1"), (8, -3, "pgw1 #1")]


def test_the_ocs_is_compared_by_rating_group_it_charges() -> None:
    visited, home = both([(100, 200)])
    assert settled(visited, home, ocs=[ledger(300), ledger(999, visited_plmn="20801")]).agrees, "what was used elsewhere is not this pair's"
    (difference,) = settled(visited, home, ocs=[ledger(250)]).differences
    assert (difference.kind, difference.octets, difference.record, difference.between) == ("ocs", 50, "rating group 1", ("Home", "OCS"))
    assert settled(visited, home, ocs=[]).agrees, "an OCS that charges nothing of it has nothing to say"
    (difference,) = settled(visited, home, ocs=[ledger(300), ledger(5, rating_group=9)]).differences
    assert (difference.octets, difference.record) == (-5, "rating group 9")


def test_other_operators_subscribers_and_networks_are_not_this_pairs() -> None:
    visited, home = sgw(), pgw()
    visited.session([(10, 20)])
    visited.session([(5, 5)], imsi="208010000000001", charging_id=2)
    home.session([(10, 20)])
    home.session([(7, 7)], imsi=OTHER, charging_id=3, serving_node_plmn_identifier="00101")
    home.session([(40, 0)], charging_id=4, serving_node_plmn_identifier="20801")
    settlement = settled(visited.records, home.records, phones={IMSI: Octets(50, 20), OTHER: Octets(7, 7)})
    assert settlement.agrees, "what the phone used in France is in home's records too"
    assert len(settlement.tap.calls) == 1


def test_two_gateways_number_the_parts_of_one_bearer_each_for_itself() -> None:
    """After a change of S-GW the same charging identity begins again with part 1."""
    first, second, home = sgw(), sgw(), pgw()
    first.session([(1, 1), (2, 2)])
    second.session([(3, 3), (4, 4)], node_id="sgw2")
    home.session([(1, 1), (2, 2), (3, 3), (4, 4)])
    settlement = settled([*first.records, *second.records], home.records)
    assert settlement.agrees, settlement.differences
    assert settlement.visited_octets == Octets(10, 10)


def test_records_that_nobody_can_tell_whose_they_were() -> None:
    visited, home = sgw(), pgw()
    for number in (1, 2, 3):
        visited.session([(1, 1)], charging_id=number)
        home.session([(1, 1)], charging_id=number)
    found = settled([visited.records[0], visited.records[2]], home.records).differences
    assert [(each.kind, each.record) for each in found if each.kind != "charge"] == [
        ("missing_record", "sgw1 #2"), ("one_side_only", "pgw1 #2")]


def test_local_breakout_is_billed_and_checked_with_the_visited_operators_gateway() -> None:
    visited, breakout, home = sgw(), pgw(), pgw()
    visited.session([(100, 200)], pgw_plmn_identifier="21407")
    settlement = settled(visited.records, home.records, ocs=[ledger(5)])
    assert [each.kind for each in settlement.differences] == ["ocs"], "home has no record of it and no right to"
    _kind, batch = tap3.decode(settlement.tap_octets)
    information = batch["callEventDetails"][0][1]["gprsServiceUsed"]["chargeInformationList"][0]
    assert information["callTypeGroup"]["callTypeLevel1"] == 11
    breakout.session([(100, 150)], pgw_plmn_identifier="21407")
    differences = settled([*visited.records, *breakout.records], home.records).differences
    assert [(each.kind, each.octets) for each in differences if each.kind != "charge"] == [("volume", 50)]
