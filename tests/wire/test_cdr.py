"""Charging records on the wire: annotated golden octets, pycrate as the oracle, properties, and the file format of TS 32.297."""

from __future__ import annotations

import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epc.wire import cdr
from epc.wire.ber import UNKNOWN, build
from epc.wire.ber.generate import tables
from epc.wire.cdr import (
    CauseForRecClosing,
    ChangeCondition,
    ChChSelectionMode,
    ClosureReason,
    EpcQos,
    FileHeader,
    PdpType,
    PgwRecord,
    ServiceConditionChange,
    ServiceData,
    ServingNodeType,
    SgwRecord,
    TrafficVolume,
)
from epc.wire.cdr.records import SGW_NODE, decode_timestamp, encode_timestamp
from epc.wire.errors import WireError

MADRID = datetime.timezone(datetime.timedelta(hours=1))
OPENED = datetime.datetime(2026, 11, 26, 13, 5, 7, tzinfo=MADRID)
CLOSED = OPENED + datetime.timedelta(seconds=65)

SGW = SgwRecord(
    served_imsi="001010000000001", served_msisdn="34600000001", charging_id=0x89ABCDEF, sgw_address=IPv4Address("127.0.1.15"),
    pgw_address_used=IPv4Address("127.0.2.13"), serving_node_address=(IPv4Address("127.0.1.16"),), serving_node_type=(ServingNodeType.MME,),
    serving_node_plmn_identifier="21407", access_point_name_ni="internet", pdp_pdn_type=PdpType.IPV4,
    served_pdp_pdn_address=IPv4Address("10.45.0.1"), dynamic_address_flag=True,
    list_of_traffic_volumes=(TrafficVolume(
        uplink_octets=1000, downlink_octets=200_000, change_condition=ChangeCondition.RECORD_CLOSURE, change_time=CLOSED,
        qos=EpcQos(qci=9, arp=0x60)),),
    record_opening_time=OPENED, duration_s=65, cause_for_rec_closing=CauseForRecClosing.VOLUME_LIMIT, record_sequence_number=1, node_id="sgw1",
    local_sequence_number=300, charging_characteristics=0x0800, rat_type=6, pgw_plmn_identifier="00101", start_time=OPENED)

def annotated(text: str) -> bytes:
    """The octets at the start of each line; what follows two or more spaces after them is said for people."""
    octets = b""
    for line in text.strip().splitlines():
        octets += bytes.fromhex(line.strip().partition("   ")[0])
    return octets


GOLDEN = annotated("""
    BF 4E 81 B6                                 [78] sGWRecord, 182 octets
    80 01 54                                    recordType 84
    83 08 00 01 01 00 00 00 00 F1               servedIMSI, TBCD with a filler
    A4 06 80 04 7F 00 01 0F                     s-GWAddress [4], a CHOICE and so explicit: iPBinV4Address [0]
    85 05 00 89 AB CD EF                        chargingID, an INTEGER: a leading zero, or it would be negative
    A6 06 80 04 7F 00 01 10                     servingNodeAddress
    87 08 69 6E 74 65 72 6E 65 74               accessPointNameNI
    88 02 F1 21                                 pdpPDNType: IETF, IPv4
    A9 08 A0 06 80 04 0A 2D 00 01               servedPDPPDNAddress: iPAddress [0], iPBinV4Address [0]
    8B 01 FF                                    dynamicAddressFlag
    AC 21 30 1F                                 listOfTrafficVolumes, one ChangeOfCharCondition
       83 02 03 E8                                 dataVolumeGPRSUplink 1000
       84 03 03 0D 40                              dataVolumeGPRSDownlink 200000
       85 01 02                                    changeCondition recordClosure
       86 09 26 11 26 13 06 12 2B 01 00            changeTime 26-11-26 13:06:12 +01:00
       A9 06 81 01 09 86 01 60                     ePCQoSInformation: qCI 9, aRP
    8D 09 26 11 26 13 05 07 2B 01 00            recordOpeningTime
    8E 01 41                                    duration 65
    8F 01 10                                    causeForRecClosing volumeLimit
    91 01 01                                    recordSequenceNumber
    92 04 73 67 77 31                           nodeID
    94 02 01 2C                                 localSequenceNumber 300
    96 07 91 43 06 00 00 00 F1                  servedMSISDN, international
    97 02 08 00                                 chargingCharacteristics
    9B 03 12 F4 70                              servingNodePLMNIdentifier
    9E 01 06                                    rATType EUTRAN
    BF 23 03 0A 01 05                           servingNodeType [35]: ENUMERATED mME
    BF 24 06 80 04 7F 00 02 0D                  p-GWAddressUsed [36]
    9F 25 03 00 F1 10                           p-GWPLMNIdentifier [37]
    9F 26 09 26 11 26 13 05 07 2B 01 00         startTime [38]
""")


def pgw_record(**fields: Any) -> PgwRecord:
    return PgwRecord(**{
        "served_imsi": "001010000000001", "charging_id": 7, "pgw_address": IPv6Address("2001:db8::1"), "serving_node_address": (),
        "serving_node_type": (), "record_opening_time": OPENED, "duration_s": 0, "cause_for_rec_closing": CauseForRecClosing.NORMAL_RELEASE,
        **fields})


def test_golden_record() -> None:
    assert cdr.encode(SGW).hex() == GOLDEN.hex()
    assert cdr.decode(GOLDEN) == SGW


def test_json_has_the_same_facts() -> None:
    data = orjson.loads(orjson.dumps(cdr.to_json(SGW)))
    assert cdr.from_json(data) == SGW
    assert (data["record_type"], data["cause_for_rec_closing"], data["record_opening_time"]) == (
        "S-GW-CDR", "VOLUME_LIMIT", "2026-11-26T13:05:07+01:00")
    assert data["list_of_traffic_volumes"][0]["downlink_octets"] == 200_000


# --- everything that a record can say ------------------------------------------------------------------------------------------

numbers = st.integers(0, 2**32 - 1)
volumes = st.integers(0, 2**63 - 1)
digits = st.text("0123456789", min_size=5, max_size=15)
imeis = st.text("0123456789", min_size=15, max_size=16)
plmns = st.text("0123456789", min_size=5, max_size=6)
addresses = st.ip_addresses()
moments = st.builds(
    lambda moment, minutes: moment.replace(microsecond=0, tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes))),
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2099, 12, 31)), st.integers(-14 * 60, 14 * 60))
qualities = st.builds(EpcQos, qci=st.integers(1, 255), arp=st.none() | st.integers(0, 127), mbr_uplink_bps=st.none() | numbers)
conditions = st.sets(st.sampled_from(list(ServiceConditionChange))).map(lambda members: ServiceConditionChange(sum(members)))
octets = st.binary(min_size=2, max_size=20)
traffic = st.builds(
    TrafficVolume, uplink_octets=volumes, downlink_octets=volumes, change_condition=st.sampled_from(ChangeCondition),
    change_time=moments, user_location_information=st.none() | octets, qos=st.none() | qualities, charging_id=st.none() | numbers)
services = st.builds(
    ServiceData, rating_group=numbers, service_identifier=st.none() | numbers, uplink_octets=numbers, downlink_octets=numbers,
    service_condition_change=conditions, time_of_report=moments, local_sequence_number=st.none() | numbers, qos=st.none() | qualities,
    serving_node_address=st.none() | addresses)
common: dict[str, Any] = {
    "served_imsi": st.none() | digits, "served_imei": st.none() | imeis, "served_msisdn": st.none() | digits, "charging_id": numbers,
    "serving_node_address": st.lists(addresses, max_size=2).map(tuple),
    "serving_node_type": st.lists(st.sampled_from(ServingNodeType), max_size=2).map(tuple),
    "serving_node_plmn_identifier": st.none() | plmns, "access_point_name_ni": st.none() | st.text("abc.-", min_size=1, max_size=63),
    "apn_selection_mode": st.none() | st.integers(0, 2), "pdp_pdn_type": st.none() | st.sampled_from(PdpType),
    "served_pdp_pdn_address": st.none() | addresses, "dynamic_address_flag": st.none() | st.booleans(),
    "list_of_traffic_volumes": st.lists(traffic, max_size=3).map(tuple), "record_opening_time": moments, "duration_s": numbers,
    "cause_for_rec_closing": st.sampled_from(CauseForRecClosing) | st.integers(60, 90), "record_sequence_number": st.none() | numbers,
    "node_id": st.none() | st.text("abc1", min_size=1, max_size=20), "local_sequence_number": st.none() | numbers,
    "charging_characteristics": st.integers(0, 0xFFFF), "ch_ch_selection_mode": st.none() | st.sampled_from(ChChSelectionMode),
    "rat_type": st.none() | st.integers(1, 10), "ms_time_zone": st.none() | st.binary(min_size=2, max_size=2),
    "user_location_information": st.none() | octets, "pgw_plmn_identifier": st.none() | plmns, "start_time": st.none() | moments,
    "stop_time": st.none() | moments,
}
sgw_records = st.builds(
    SgwRecord, sgw_address=addresses, pgw_address_used=st.none() | addresses, sgw_change=st.none() | st.booleans(), **common)
pgw_records = st.builds(
    PgwRecord, pgw_address=addresses, list_of_service_data=st.lists(services, max_size=3).map(tuple), epc_qos_information=st.none() | qualities,
    **common)


@given(sgw_records | pgw_records)
def test_both_forms_bring_a_record_back(record: Any) -> None:
    assert cdr.decode(cdr.encode(record)) == record
    assert cdr.from_json(orjson.loads(orjson.dumps(cdr.to_json(record)))) == record


@given(moments)
def test_timestamps_keep_their_offset(moment: datetime.datetime) -> None:
    again = decode_timestamp(encode_timestamp(moment))
    assert (again, again.utcoffset()) == (moment, moment.utcoffset())


@pytest.fixture(scope="module")
def oracle() -> Any:
    """pycrate's GPRSRecord: 2 s to import."""
    return pytest.importorskip("pycrate_asn1dir.CDR").GPRSChargingDataTypes.GPRSRecord


def test_pycrate_reads_and_writes_the_same_octets(oracle: Any) -> None:
    """Records of every shape, through pycrate's decoder and back through its encoder."""

    @settings(max_examples=40, deadline=None)
    @given(sgw_records | pgw_records)
    def same(record: Any) -> None:
        encoded = cdr.encode(record)
        oracle.from_ber(encoded)
        value = oracle.get_val()
        assert value[0] == ("sGWRecord" if isinstance(record, SgwRecord) else "pGWRecord")
        assert value[1]["chargingID"] == record.charging_id
        oracle.set_val(value)
        assert oracle.to_ber() == encoded

    same()


def test_generated_tables_are_what_pycrate_says() -> None:
    pytest.importorskip("pycrate_asn1dir.CDR")
    for path, text in tables().items():
        assert path.read_text() == text, f"{path.name}: run python -m epc.wire.ber.generate"


# --- other people's records ----------------------------------------------------------------------------------------------------


def test_fields_that_the_dataclass_does_not_have_survive() -> None:
    known = SGW_NODE.decode(GOLDEN)
    known["lowPriorityIndicator"] = None
    known["userCSGInformation"] = {"cSGId": b"\0\0\0\1", "cSGAccessMode": "hybridMode"}
    known[UNKNOWN] = [bytes.fromhex("9f8748021234")]          # [968], of some later release
    other = SGW_NODE.encode(known)
    record = cdr.decode(other)
    assert set(record.further) == {"lowPriorityIndicator", "userCSGInformation", UNKNOWN}
    assert cdr.encode(record) == other
    assert cdr.to_json(record)["further"][UNKNOWN] == ["9f8748021234"]


def test_indefinite_lengths_are_read() -> None:
    contents = GOLDEN[4:]
    indefinite = GOLDEN[:2] + b"\x80" + contents + b"\0\0"
    assert cdr.decode(indefinite) == SGW


@given(st.binary(max_size=300))
def test_noise_raises_wire_errors_only(noise: bytes) -> None:
    for octets in (noise, GOLDEN[:4] + noise, b"\xbf\x4f\x80" + noise, b"\xbf\x4f" + noise):
        try:
            cdr.decode(octets)
        except WireError:
            pass


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255), st.integers(0, len(GOLDEN)))
def test_damaged_records_raise_wire_errors_only(where: int, value: int, length: int) -> None:
    for octets in (GOLDEN[:where] + bytes((value,)) + GOLDEN[where + 1:], GOLDEN[:length]):
        try:
            cdr.encode(cdr.decode(octets))
        except WireError:
            pass


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireError, match="nested"):
        SGW_NODE.decode(b"\xbf\x4e\x80" + b"\xbf\x87\x48\x80" * 5000)


@pytest.mark.parametrize("wrong", [
    {"served_imsi": "00101x"}, {"serving_node_plmn_identifier": "1"}, {"access_point_name_ni": "\N{GREEK SMALL LETTER PI}"},
    {"record_opening_time": datetime.datetime(2026, 1, 1)},
])
def test_values_that_no_record_can_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        cdr.encode(pgw_record(**wrong))


@pytest.mark.parametrize("data", [{}, {"record_type": "S-GW-CDR"}, {"record_type": "P-GW-CDR", "charging_id": 1, "duration_s": []}])
def test_json_that_is_no_record(data: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        cdr.from_json(data)


# --- the file ------------------------------------------------------------------------------------------------------------------

FILE_HEADER = annotated("""
    00 00 00 F5                                    file length 245
    00 00 00 36                                    header length 54
    E1                                             high release 7 (10 and later), version 1
    E1                                             low release
    BD 34 58 40                                    opened: month 11, day 26, 13:05, ahead of UTC by 1 h
    BD 34 68 40                                    last record: 13:06
    00 00 00 01                                    number of records
    00 00 00 2A                                    file sequence number 42
    02                                             closed by its time limit
    FF FF FF FF 00 00 00 00 00 00 00 00 00 00 FF FF 7F 00 01 0F    node: ::ffff:127.0.1.15
    00                                             no record is known to be lost
    00 00                                          no routeing filter
    00 00                                          no private extension
    05                                             high release 10 + 5
    05                                             low release
""")


def header(**fields: Any) -> FileHeader:
    return FileHeader(**{
        "opened": OPENED, "last_appended": CLOSED, "records": 1, "sequence_number": 42, "closure_reason": ClosureReason.TIME_LIMIT,
        "node_address": IPv4Address("127.0.1.15"), "file_octets": 54 + 5 + len(GOLDEN), **fields})


def test_golden_file() -> None:
    file = FILE_HEADER + bytes.fromhex("00BA E1 27 05") + GOLDEN         # 186 octets; release and version; BER of TS 32.251; release 10 + 5
    assert header().encode().hex() == FILE_HEADER.hex()
    assert cdr.frame(GOLDEN) == file[54:59] + GOLDEN
    assert [octets for _, octets in cdr.split(file)] == [GOLDEN]
    again, length = FileHeader.decode(file)
    assert length == len(FILE_HEADER)
    assert (again.records, again.sequence_number, again.closure_reason, again.node_address, again.release) == (
        1, 42, ClosureReason.TIME_LIMIT, IPv4Address("127.0.1.15"), 15)
    assert (again.opened.month, again.opened.day, again.opened.hour, again.opened.minute, again.opened.utcoffset()) == (
        11, 26, 13, 5, datetime.timedelta(hours=1))


@pytest.mark.parametrize(("damage", "said"), [
    (lambda file: file[:-1], "octets, there are"),
    (lambda file: b"\xff\xff\xff\xff" + file[4:-1], "truncated"),
    (lambda file: file[:18] + b"\0\0\0\2" + file[22:], "the header says 2 records, there are 1"),
    (lambda file: file[:57] + b"\x47" + file[58:], "not BER"),
    (lambda file: file[:20], "truncated"),
    (lambda file: file[:4] + b"\0\0\0\1" + file[8:], "length does not fit"),
])
def test_files_that_are_not_whole(damage: Any, said: str) -> None:
    file = FILE_HEADER + cdr.frame(GOLDEN)
    with pytest.raises(WireError, match=said):
        list(cdr.split(damage(file)))


@given(st.binary(max_size=200))
def test_noise_is_no_file(noise: bytes) -> None:
    for octets in (noise, FILE_HEADER + noise, b"\xff\xff\xff\xff" + FILE_HEADER[4:18] + b"\xff\xff\xff\xff" + FILE_HEADER[22:] + noise):
        try:
            list(cdr.split(octets))
        except WireError:
            pass


def test_tables_share_what_is_the_same() -> None:
    made: dict[int, Any] = {}
    from epc.wire.cdr.tables import PGW_RECORD, SGW_RECORD

    build(SGW_RECORD, made)
    before = len(made)
    build(PGW_RECORD, made)
    assert len(made) < 2 * before
