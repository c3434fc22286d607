"""Subscribers in and out of files, and complaints that say where and what."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epc.hss.provisioning import (
    COLUMNS,
    TEST_K,
    TEST_OPC,
    FieldError,
    ProvisioningError,
    parse_subscriber,
    read_csv,
    read_open5gs,
    read_user_db,
    write_csv,
    write_open5gs,
    write_user_db,
)
from epc.hss.provisioning.fields import format_apn, format_bit_rate, format_subscriber, parse_apn, parse_apns, parse_bit_rate, parse_imsi_range
from epc.hss.store import NO_BARRING, Algorithm, ApnConfiguration, PgwIdentity, Subscriber
from epc.security.eps_aka import next_sqn
from epc.security.milenage import derive_opc
from epc.security.tuak import derive_topc
from epc.wire.diameter.subscription import AccessRestrictionData, NetworkAccessMode, OperatorDeterminedBarring, PdnType, SubscriberStatus
from epc.wire.identity import Imsi

K, OPC = bytes.fromhex(TEST_K), bytes.fromhex(TEST_OPC)
PLAIN = Subscriber(imsi=Imsi("001010000000001"), k=K, opc=OPC)

octets16 = st.binary(min_size=16, max_size=16)
apns = st.builds(
    ApnConfiguration, context_id=st.just(0), apn=st.from_regex(r"[a-z][a-z0-9-]{0,5}[a-z0-9](\.[a-z0-9]{1,4})?", fullmatch=True),
    pdn_type=st.sampled_from([PdnType.IPV4, PdnType.IPV6, PdnType.IPV4V6]), qci=st.integers(1, 254), arp_priority_level=st.integers(1, 15),
    preemption_capability=st.booleans(), preemption_vulnerability=st.booleans(), ambr_ul_bps=st.integers(1, 10**13),
    ambr_dl_bps=st.integers(1, 10**13), static_ipv4=st.none() | st.just("10.45.0.9"), static_ipv6=st.none() | st.just("2001:db8::"),
    vplmn_allowed=st.booleans(), apn_oi_replacement=st.none() | st.just("province1.mnc001.mcc001.gprs"),
    pgw=st.none() | st.sampled_from([PgwIdentity(address="127.0.2.13", is_static=True),
                                     PgwIdentity(host="pgw1.example.org", realm="example.org", is_static=True)]))
subscribers = st.builds(
    Subscriber, imsi=st.from_regex(r"[0-9]{6,15}", fullmatch=True).map(Imsi), msisdn=st.just("") | st.from_regex(r"[0-9]{5,15}", fullmatch=True),
    k=octets16, opc=octets16, amf=st.binary(min_size=2, max_size=2), sqn=st.integers(0, (1 << 48) - 1), status=st.sampled_from(SubscriberStatus),
    network_access_mode=st.sampled_from([NetworkAccessMode.ONLY_PACKET, NetworkAccessMode.PACKET_AND_CIRCUIT]),
    access_restriction=st.integers(0, 2**32 - 1).map(AccessRestrictionData), roaming_allowed=st.booleans(),
    barring=st.integers(0, 7).map(OperatorDeterminedBarring), allowed_plmns=st.sampled_from([(), ("21407",), ("214", "310410")]),
    blocked_plmns=st.sampled_from([(), ("20801",)]), zone_codes=st.lists(st.integers(0, 0xFFFF), max_size=10).map(tuple),
    apn_oi_replacement=st.none() | st.just("mnc001.mcc001.gprs"),
    rau_tau_timer_s=st.integers(0, 10**6), ambr_ul_bps=st.integers(1, 10**13), ambr_dl_bps=st.integers(1, 10**13),
    apns=st.lists(apns, min_size=1, max_size=3, unique_by=lambda apn: apn.apn).map(
        lambda found: tuple(replace(apn, context_id=position) for position, apn in enumerate(found, 1))))


@given(subscribers)
def test_csv_round_trip(subscriber: Subscriber) -> None:
    out = io.StringIO()
    assert write_csv([subscriber], out) == 1
    assert list(read_csv(out.getvalue().splitlines(), "x.csv")) == [subscriber]


@given(subscribers)
def test_open5gs_round_trip_loses_roaming_and_seconds_only(subscriber: Subscriber) -> None:
    out = io.StringIO()
    assert write_open5gs([subscriber], out) == 1
    apns = tuple([replace(apn, vplmn_allowed=False, apn_oi_replacement=None, pgw=None) for apn in subscriber.apns])
    assert list(read_open5gs(out.getvalue(), "x.json")) == [replace(
        subscriber, roaming_allowed=True, barring=NO_BARRING, allowed_plmns=(), blocked_plmns=(), zone_codes=(), apn_oi_replacement=None, apns=apns,
        rau_tau_timer_s=subscriber.rau_tau_timer_s // 60 * 60, sqn=next_sqn(subscriber.sqn))]


def test_csv_keeps_op_and_computes_opc() -> None:
    op = bytes.fromhex("cdc202d5123e20f62b6d676ac72cb318")
    (milenage,) = read_csv(["imsi,k,op", f"001010000000001,{TEST_K},{op.hex()}"], "x.csv")
    assert (milenage.opc, milenage.op) == (derive_opc(K, op), op)
    assert format_subscriber(milenage)["op"] == op.hex()
    (tuak,) = read_csv(["imsi,algorithm,k,op", f"001010000000001,tuak,{TEST_K},{op.hex() * 2}"], "x.csv")
    assert (tuak.algorithm, tuak.opc) == (Algorithm.TUAK, derive_topc(K, op * 2))


def test_csv_ranges_count_imsi_and_msisdn() -> None:
    lines = ["# phones of the load test", "imsi,k,opc,msisdn", f"001010000000098+3,{TEST_K},{TEST_OPC},0098"]
    with pytest.raises(ProvisioningError, match="msisdn"):
        read_csv(lines, "x.csv")
    found = list(read_csv([*lines[:2], f"001010000000098+3,{TEST_K},{TEST_OPC},00098"], "x.csv"))
    assert [(each.imsi, each.msisdn) for each in found] == [
        ("001010000000098", "00098"), ("001010000000099", "00099"), ("001010000000100", "00100")]


@pytest.mark.parametrize(("line", "complaint"), [
    (f"00101,{TEST_K},{TEST_OPC},", "x.csv:2: column imsi: '00101' is wrong; allowed: 6 to 15 digits (MCC, MNC, MSIN)"),
    (f"001010000000001+0,{TEST_K},{TEST_OPC},", "x.csv:2: column imsi: '001010000000001+0' is wrong; allowed: IMSI+COUNT, for example"),
    (f"999999999999999+2,{TEST_K},{TEST_OPC},", "allowed: a range that stays within 15 digits"),
    (f"001010000000001,12,{TEST_OPC},", "x.csv:2: column k: '12' is wrong; allowed: 32 hexadecimal digits"),
    (f"001010000000001,{TEST_K},xyz,", "x.csv:2: column opc: 'xyz' is wrong; allowed: 32 hexadecimal digits"),
    (f"001010000000001,{TEST_K},,", "x.csv:2: column opc: one of opc and op is needed, not none"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims qci=0", "x.csv:2: column apns (ims qci): '0' is wrong; allowed: a whole number from 1 to 254"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims colour=red", "column apns: 'colour=red' is wrong; allowed: options id=, type=, qci="),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims type=ipv5", "column apns (ims type): 'ipv5' is wrong; allowed: ipv4, ipv6, ipv4v6, ipv4-or-ipv6"),
    (f"001010000000001,{TEST_K},{TEST_OPC},in_ternet", "column apns: 'in_ternet' is wrong; allowed: letters, digits, hyphens and dots"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims; ims", "column apns: the same APN twice in ims, ims"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims id=2; internet", "the same id twice in [2, 2]"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims id=2", "column default_context_id: 1 is wrong; allowed: the id of an APN other than *, out of [2]"),
    (f"001010000000001,{TEST_K},{TEST_OPC},*", "column default_context_id: 1 is wrong"),
    (f"001010000000001,{TEST_K},{TEST_OPC},ims ipv4=10.0.0", "column apns (ims ipv4): '10.0.0' is wrong; allowed: an IPv4 address"),
    (f"001010000000001+2,{TEST_K},{TEST_OPC},ims ipv4=10.0.0.1", "column apns: a range of IMSIs cannot share a static address"),
    (f"001010000000001,{TEST_K}", "x.csv:2: 2 columns where the header has 4"),
])
def test_csv_complaints(line: str, complaint: str) -> None:
    with pytest.raises(ProvisioningError) as error:
        read_csv(["imsi,k,opc,apns", line], "x.csv")
    assert complaint in str(error.value)


@pytest.mark.parametrize(("column", "value", "allowed"), [
    ("algorithm", "comp128", "milenage, tuak"), ("amf", "80", "4 hexadecimal digits"), ("sqn", "1", "12 hexadecimal digits"),
    ("status", "maybe", "granted, barred"), ("access_mode", "circuit", "packet, packet-and-circuit"), ("roaming_allowed", "2", "yes, no"),
    ("access_restriction", "wifi", "utran, geran"), ("rau_tau_timer_s", "-1", "a whole number from 0"), ("ambr_ul", "fast", "for example 100M"),
    ("ambr_dl", "0", "for example 100M"), ("msisdn", "12a45", "5 to 15 digits"), ("default_context_id", "0", "from 1 to 255"),
])
def test_complaints_name_the_field_and_what_is_allowed(column: str, value: str, allowed: str) -> None:
    with pytest.raises(FieldError) as error:
        parse_subscriber({"imsi": "001010000000001", "k": TEST_K, "opc": TEST_OPC, column: value})
    assert error.value.field == column
    assert repr(value) in error.value.reason
    assert allowed in error.value.reason


def test_csv_header_complaints() -> None:
    with pytest.raises(ProvisioningError, match=r"x.csv:1: unknown column 'colour'; allowed: imsi, msisdn") as error:
        read_csv(["imsi,colour,imsi"], "x.csv")
    assert len(error.value.problems) == 3
    with pytest.raises(ProvisioningError, match="a header line is needed"):
        read_csv([], "x.csv")


def test_every_wrong_line_is_reported_and_nothing_is_read() -> None:
    with pytest.raises(ProvisioningError) as error:
        read_csv(["imsi,k,opc", f"1,{TEST_K},{TEST_OPC}", f"001010000000001,{TEST_K},{TEST_OPC}", f"2,{TEST_K},{TEST_OPC}"], "x.csv")
    assert [problem[:8] for problem in error.value.problems] == ["x.csv:2:", "x.csv:4:"]


@given(st.text(alphabet="imsi,k\"\n;=0123456789abcdef +*#\\"))
def test_csv_garbage_is_a_provisioning_error(text: str) -> None:
    with contextlib.suppress(ProvisioningError):
        assert all(isinstance(each, Subscriber) for each in read_csv(["imsi,k,opc,apns", *text.split("\n")], "x.csv"))


@given(st.integers(1, 10**13))
def test_bit_rates_round_trip(bps: int) -> None:
    assert parse_bit_rate(format_bit_rate(bps), "ambr") == bps


def test_bit_rates_as_people_write_them() -> None:
    assert [parse_bit_rate(text, "ambr") for text in ("64000", "100M", "1.5Gbps", "2 Mbit/s")] == [64000, 10**8, 15 * 10**8, 2 * 10**6]


def test_apns_take_their_position_as_id() -> None:
    assert [(apn.context_id, apn.apn) for apn in parse_apns("Internet; ims qci=5;", 2)] == [(1, "internet"), (2, "ims")]
    assert parse_apn("ims", position=3).context_id == 3


def test_imsi_ranges_keep_leading_zeros() -> None:
    assert parse_imsi_range("001010000000001+100000").last == "001010000100000"
    assert parse_imsi_range("001010000000001").last == "001010000000001"


OPEN5GS = """
{ "_id": {"$oid": "64b6"}, "imsi": "999700000000001", "msisdn": ["0900000000"], "imeisv": ["4370816125816151"],
  "security": { "k": "465B5CE8 B199B49F AA5F0A2E E238A6BC", "amf": "8000", "op": null, "opc": "E8ED289D EBA952E4 283B54E8 8E6183CA",
                "sqn": {"$numberLong": "513"} },
  "ambr": { "downlink": { "value": 1, "unit": 3 }, "uplink": { "value": 512, "unit": 2 } },
  "mme_host": ["mme.localdomain"], "mme_realm": ["localdomain"],
  "slice": [
    { "sst": 2, "session": [ { "name": "iot", "type": {"$numberInt": "1"}, "ue": {"addr": "10.45.0.7"} } ] },
    { "sst": 1, "default_indicator": true, "session": [
      { "name": "internet", "type": 3, "pcc_rule": [ {"flow": []} ],
        "qos": { "index": 9, "arp": { "priority_level": 8, "pre_emption_capability": 1, "pre_emption_vulnerability": 2 } },
        "ambr": { "downlink": { "value": 100.0, "unit": 2 }, "uplink": { "value": 50, "unit": 2 } } } ] } ],
  "access_restriction_data": 32, "subscriber_status": 0, "network_access_mode": 0, "subscribed_rau_tau_timer": 12, "__v": 0 }
"""


def test_open5gs_document_as_mongoexport_writes_it() -> None:
    (subscriber,) = read_open5gs(OPEN5GS, "x.json")
    assert subscriber == Subscriber(
        imsi=Imsi("999700000000001"), msisdn="0900000000", k=K, opc=OPC, sqn=513,
        network_access_mode=NetworkAccessMode.PACKET_AND_CIRCUIT, access_restriction=AccessRestrictionData.HO_TO_NON_3GPP_ACCESS_NOT_ALLOWED,
        rau_tau_timer_s=720, ambr_ul_bps=512_000_000, ambr_dl_bps=10**9, mme_host="mme.localdomain", mme_realm="localdomain",
        imeisv="4370816125816151", apns=(
            ApnConfiguration(context_id=1, apn="internet", pdn_type=PdnType.IPV4V6, preemption_vulnerability=True),
            ApnConfiguration(context_id=2, apn="iot", preemption_vulnerability=False, static_ipv4="10.45.0.7"),
        ))


def test_open5gs_one_array_or_one_document_a_line() -> None:
    document = " ".join(OPEN5GS.split())
    assert len(list(read_open5gs(f"[{document},\n{document}]", "x.json"))) == 2
    assert len(list(read_open5gs(f"{document}\n{document}\n", "x.json"))) == 2
    assert list(read_open5gs("", "x.json")) == []


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ('"999700000000001"', '"9997"', "x.json:2: imsi: '9997' is wrong"),
    ('"999700000000001"', "5", "x.json:2: imsi: 5 is wrong; allowed: text"),
    ('"index": 9', '"index": "nine"', "slice[1].session[0].qos.index: 'nine' is wrong; allowed: a whole number from 1 to 254"),
    ('"E8ED289D', '"ZZ', "opc: 'ZZEBA952E4283B54E88E6183CA' is wrong; allowed: 32 hexadecimal digits"),
    ('"unit": 3', '"unit": 9', "ambr.downlink.unit: 9 is wrong; allowed: a whole number from 0 to 4"),
    ('"10.45.0.7"', '"10.45"', "slice[0].session[0].ue.ipv4: '10.45' is wrong; allowed: an IPv4 address"),
    ('"513"', '"many"', "security.sqn: 'many' is wrong; allowed: a whole number"),
    ('"slice": [', '"slice": {"a":1}, "x": [', "slice: an array [ ... ] is needed"),
    ('"amf"', "amf", "x.json:3: column 61: not JSON"),
])
def test_open5gs_complaints(old: str, new: str, complaint: str) -> None:
    assert old in OPEN5GS
    with pytest.raises(ProvisioningError) as error:
        read_open5gs(OPEN5GS.replace(old, new, 1), "x.json")
    assert complaint in str(error.value)


def test_open5gs_nesting_bomb() -> None:
    with pytest.raises(ProvisioningError, match="nested too deeply"):
        read_open5gs('{"a":' * 100_000, "x.json")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
                        ["imsi", "security", "k", "opc", "slice", "session", "ambr", "uplink", "value", "$numberLong", "$numberDouble"]), inner)))
def test_open5gs_garbage_is_a_provisioning_error(document: object) -> None:
    with pytest.raises(ProvisioningError):
        list(read_open5gs(json.dumps([document]), "x.json"))


SRSRAN = """\
# Kept in the following format: "Name,Auth,IMSI,Key,OP_Type,OP/OPc,AMF,SQN,QCI,IP_alloc"
ue1,mil,001010123456789,00112233445566778899aabbccddeeff,opc,63bfa50ee6523365ff14c1f45f88737d,9001,000000001234,7,dynamic
ue2,mil,001010123456780,00112233445566778899aabbccddeeff,op,63bfa50ee6523365ff14c1f45f88737d,8000,000000001235,9,172.16.0.7
"""


def test_srsran_user_db() -> None:
    first, second = read_user_db(SRSRAN.splitlines(), "user_db.csv", apn="srsapn")
    k, op = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("63bfa50ee6523365ff14c1f45f88737d")
    assert first == Subscriber(
        imsi=Imsi("001010123456789"), k=k, opc=op, amf=b"\x90\x01", sqn=0x1234, apns=(ApnConfiguration(context_id=1, apn="srsapn", qci=7),))
    assert (second.op, second.opc, second.apns[0].static_ipv4) == (op, derive_opc(k, op), "172.16.0.7")


def test_srsran_round_trip() -> None:
    found = list(read_user_db(SRSRAN.splitlines(), "user_db.csv"))
    out = io.StringIO()
    assert write_user_db(found, out) == 2
    assert list(read_user_db(out.getvalue().splitlines(), "again")) == [replace(each, sqn=next_sqn(each.sqn)) for each in found]


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ("ue1,mil", "ue1,xor", "user_db.csv:2: column Auth: 'xor' is wrong; allowed: mil"),
    (",opc,", ",opx,", "user_db.csv:2: column OP_Type: 'opx' is wrong; allowed: op, opc"),
    ("7,dynamic", "7", "user_db.csv:2: 9 columns; needed: Name,Auth,IMSI"),
    ("9,172.16.0.7", "9,static", "user_db.csv:3: column IP_alloc: 'static' is wrong; allowed: an IPv4 address"),
    ("000000001234", "1234", "user_db.csv:2: column SQN: '1234' is wrong; allowed: 12 hexadecimal digits"),
])
def test_srsran_complaints(old: str, new: str, complaint: str) -> None:
    with pytest.raises(ProvisioningError) as error:
        read_user_db(SRSRAN.replace(old, new, 1).splitlines(), "user_db.csv")
    assert complaint in str(error.value)


def test_foreign_formats_refuse_tuak() -> None:
    tuak = replace(PLAIN, algorithm=Algorithm.TUAK, opc=bytes(32))
    for write in (write_open5gs, write_user_db):
        with pytest.raises(ProvisioningError, match="tuak"):
            write([tuak], io.StringIO())


def test_the_documentation_names_every_column_and_apn_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "subscribers.md").read_text()
    assert [column for column in COLUMNS if f"`{column}`" not in text] == []
    assert [option for option in format_apn(ApnConfiguration(context_id=1, apn="x", static_ipv4="1.2.3.4", static_ipv6="::1")).split()[1:]
            if f"`{option.partition('=')[0]}=" not in text] == []
