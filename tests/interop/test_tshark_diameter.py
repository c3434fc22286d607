"""Diameter (base protocol, S6a, Gx, Gy) by tshark: every command with every AVP; names of AVPs, numbers and flags; values."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from epc.transport.interface import Carrier
from epc.wire import diameter
from epc.wire.diameter import Avp, Message, Request, UnknownCommand, gx, s6a
from epc.wire.diameter.avp import DEFINITIONS, AvpDefinition, TbcdDigits
from epc.wire.diameter.groups import AllocationRetentionPriority, SubscriptionId, SubscriptionIdType
from epc.wire.diameter.policy import DefaultEpsBearerQos, QosInformation
from epc.wire.diameter.schema import Group, table_of
from epc.wire.diameter.subscription import Ambr, SubscriptionData
from epc.wire.identity import Plmn
from tests.interop.diameter_samples import MESSAGES, samples
from tests.interop.tshark import Sample, disagreements, dissections, judged, needs_tshark, words, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]

VENDORS = {"": 0, "TGPP": 10415, "3GPP2": 5535, "ETSI": 13019}


def sample(message: Message, identifier: int = 1) -> Sample:
    return Sample(name=type(message).__name__, payload=diameter.encode(message, hop_by_hop=identifier, end_to_end=identifier), carrier=Carrier.TCP,
                  port=3868, is_downlink=not isinstance(message, Request))


def test_no_message_is_malformed(tmp_path: Path) -> None:
    sent = [sample(message, identifier) for identifier, message in enumerate(samples(seed=1, random_variants=20))]
    assert judged(tmp_path / "diameter.pcapng", sent, layer="diameter") == []


def test_avps_have_the_names_that_tshark_gives_them(tmp_path: Path) -> None:
    """Every AVP that a declared command or group has, by code and vendor."""
    write_samples(tmp_path / "diameter.pcapng", [sample(message) for message in samples(seed=2, random_variants=0)])
    theirs: dict[tuple[int, int], str] = {}
    for text in dissections(tmp_path / "diameter.pcapng", "diameter"):
        for name, code, vendor in re.findall(r"AVP: (.+?)\((\d+)\) l=\d+ f=\S+(?: vnd=(\S+))?", text):
            theirs[VENDORS[vendor], int(code)] = name
    ours = {(row.definition.vendor_id, row.definition.code): row.definition.name for cls in declared() for row in table_of(cls).rows}
    assert {key: DEFINITIONS[key[0] << 32 | key[1]].name for key in theirs} == theirs
    assert set(ours) <= set(theirs)


# --- names of numbers -------------------------------------------------------------------------------------------------------------


def declared() -> set[type[Group]]:
    """The classes of all messages and of the groups inside them."""
    found: set[type[Group]] = set()
    waiting: list[type[Group]] = list(MESSAGES)
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found.add(cls)
            waiting += [each for hint in typing.get_type_hints(cls).values() for each in classes_in(hint) if issubclass(each, Group)]
    return found


def classes_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from classes_in(inner)


def numbers(kind: type[IntEnum] | type[IntFlag]) -> list[tuple[AvpDefinition, IntEnum | IntFlag]]:
    """The members of every enumeration (or set of flags) that an AVP holds, with that AVP."""
    found: dict[int, tuple[AvpDefinition, type[IntEnum] | type[IntFlag]]] = {}
    for cls in declared():
        hints = typing.get_type_hints(cls)
        for row in table_of(cls).rows:
            for each in classes_in(hints[row.name]):
                if issubclass(each, kind):
                    found[row.definition.key] = (row.definition, each)
    return [(definition, member) for _, (definition, names) in sorted(found.items()) for member in names]


def alone(definition: AvpDefinition, number: int) -> Sample:
    """An answer with that AVP; what is shorter than 36 octets tshark does not take for Diameter."""
    avp = Avp(code=definition.code, vendor_id=definition.vendor_id, mandatory=True, data=(number & 0xFFFFFFFF).to_bytes(4, "big"))
    return sample(UnknownCommand(command_code=316, application_id=16777251, is_request=False, unknown=(Avp(code=33, data=b"filler..."), avp)))


IN_OTHER_WORDS = {
    "ELECTION_LOST": "DIAMETER_ELECTION_LOST",
    "NR": "NG-RAN",
    "IP_CAN_SESSION_TERMINATION": "Unknown",            # of TS 29.212 release 11, which tshark 4.0 does not have
    "UE_IP_ADDRESS_RELEASE": "Unknown",
    "TEMPORARILY_INACTIVE": "TEMPORARY_INACTIVE",
    "MISSING_FLOW_INFORMATION": "MISSING_FLOW_DESCRIPTION",
    "ADC_RULE_LEVEL": "Unknown",                        # likewise
    "NON_IP": "Unknown",                                # PDP type of TS 29.061 release 13, likewise
    "TWAN": "Unknown",                                  # Serving-Node-Type of TS 32.299 release 11, likewise
    "RESERVED": "NETWORK_DETERMINED_NOT_REACHABLE",     # User-State 5 before release 12
}


def test_enumerated_values_have_the_names_that_tshark_gives_them(tmp_path: Path) -> None:
    entries = numbers(IntEnum)
    assert len(entries) > 200
    write_samples(tmp_path / "diameter.pcapng", [alone(definition, member) for definition, member in entries])
    for (definition, member), text in zip(entries, dissections(tmp_path / "diameter.pcapng", "diameter"), strict=True):
        found = re.search(rf"^ +{definition.name}: (.*) \(-?\d+\)$", text, re.MULTILINE)
        assert found is not None, (definition.name, member)
        name = words(str(member.name).replace("TGPP", "3GPP"))
        assert words(found[1]) in (name, words(IN_OTHER_WORDS.get(str(member.name), name))), (definition.name, member)


FLAGS_IN_OTHER_WORDS = {
    "READY_FOR_SM_FROM_SGSN": "Ready for SM", "UE_REACHABLE_FROM_MME": "UE Reachable",      # the names of an earlier release
}


def test_flags_stand_where_tshark_looks_for_them(tmp_path: Path) -> None:
    entries = [(definition, flag) for definition, flag in numbers(IntFlag) if definition.name != "Operator-Determined-Barring"]  # not taken apart
    assert len(entries) > 60
    write_samples(tmp_path / "diameter.pcapng", [alone(definition, flag) for definition, flag in entries])
    for (definition, flag), text in zip(entries, dissections(tmp_path / "diameter.pcapng", "diameter"), strict=True):
        name = str(flag.name)
        set_bits = re.findall(r"^[.0 ]{8,}[.01 ]*1[.0 ]* = (.*): Set$", text.partition(f"AVP: {definition.name}(")[2], re.MULTILINE)
        assert words(FLAGS_IN_OTHER_WORDS.get(name, name)) in [words(bit) for bit in set_bits], (definition.name, flag)


# --- values -----------------------------------------------------------------------------------------------------------------------

S6A: dict[str, Any] = {"session_id": "mme;1;2", "origin_host": "mme.example", "origin_realm": "example"}
GX: dict[str, Any] = {"session_id": "pgw;3;4", "origin_host": "pgw.example", "origin_realm": "example"}
RAND, AUTN, KASME = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 64))

VALUES: list[tuple[Message, dict[str, str]]] = [
    (s6a.AuthenticationInformationAnswer(
        **S6A, result_code=diameter.ResultCode.DIAMETER_SUCCESS, authentication_info=s6a.AuthenticationInfo(
            e_utran_vector=(s6a.EUtranVector(rand=RAND, xres=RAND[:8], autn=AUTN, kasme=KASME),))), {
        "diameter.cmd.code": "318", "diameter.applicationId": "16777251", "diameter.flags.request": "0", "diameter.Session-Id": "mme;1;2",
        "diameter.Origin-Host": "mme.example", "diameter.Result-Code": "2001", "diameter.Auth-Session-State": "1", "diameter.RAND": RAND.hex(),
        "diameter.XRES": RAND[:8].hex(), "diameter.AUTN": AUTN.hex(), "diameter.KASME": KASME.hex()}),
    (s6a.UpdateLocationRequest(
        **S6A, destination_realm="home", user_name="214070123456789", rat_type=diameter.RatType.EUTRAN, visited_plmn_id=Plmn("310410"),
        ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.INITIAL_ATTACH_INDICATOR,
        supported_features=s6a.supported_features(s6a.S6aFeatures.ODB_VPLMN_APN | s6a.S6aFeatures.REG_SUB),
        terminal_information=s6a.TerminalInformation(imei="35349006987331", software_version="90")), {
        "diameter.Feature-List-ID": "1", "diameter.3gpp.feature_list1_s6a_flags_bit0": "0", "diameter.3gpp.feature_list1_s6a_flags_bit2": "1",
        "diameter.3gpp.feature_list1_s6a_flags_bit9": "1",
        "diameter.flags.request": "1", "diameter.Destination-Realm": "home", "diameter.User-Name": "214070123456789", "e212.imsi": "214070123456789",
        "diameter.RAT-Type": "1004", "diameter.ULR-Flags": "34", "diameter.Visited-PLMN-Id": "130014", "e212.mcc": "310", "e212.mnc": "410",
        "diameter.IMEI": "35349006987331", "diameter.Software-Version": "90"}),
    (s6a.UpdateLocationAnswer(**S6A, result_code=diameter.ResultCode.DIAMETER_SUCCESS, subscription_data=SubscriptionData(
        msisdn=TbcdDigits("34600123456"), ambr=Ambr(max_requested_bandwidth_ul=50_000_000, max_requested_bandwidth_dl=100_000_000))), {
        "e164.msisdn": "34600123456", "diameter.Max-Requested-Bandwidth-UL": "50000000", "diameter.Max-Requested-Bandwidth-DL": "100000000"}),
    (gx.CreditControlRequest(
        **GX, destination_realm="example", cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0, ip_can_type=gx.IpCanType.TGPP_EPS,
        subscription_id=(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data="214070123456789"),),
        framed_ip_address=IPv4Address("10.45.0.2"), framed_ipv6_prefix=IPv6Network("2001:db8:1::/64"), called_station_id="internet",
        tgpp_sgsn_mcc_mnc="21407", an_gw_address=(IPv4Address("192.0.2.9"),), default_eps_bearer_qos=DefaultEpsBearerQos(
            qos_class_identifier=9, allocation_retention_priority=AllocationRetentionPriority(priority_level=8))), {
        "diameter.CC-Request-Type": "1", "diameter.CC-Request-Number": "0", "diameter.Auth-Application-Id": "16777238",
        "diameter.Subscription-Id-Data": "214070123456789", "diameter.Framed-IP-Address.IPv4": "10.45.0.2", "diameter.Called-Station-Id": "internet",
        "diameter.Framed-IPv6-Prefix": "004020010db800010000", "diameter.3GPP-SGSN-MCC-MNC": "21407", "diameter.AN-GW-Address.IPv4": "192.0.2.9",
        "diameter.QoS-Class-Identifier": "9", "diameter.Priority-Level": "8", "diameter.IP-CAN-Type": "5"}),
    (gx.CreditControlAnswer(
        **GX, result_code=diameter.ResultCode.DIAMETER_SUCCESS, cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0,
        event_trigger=(gx.EventTrigger.RAT_CHANGE,),
        qos_information=(QosInformation(apn_aggregate_max_bitrate_ul=1000, apn_aggregate_max_bitrate_dl=2000),)), {
        "diameter.Event-Trigger": "2", "diameter.APN-Aggregate-Max-Bitrate-UL": "1000", "diameter.APN-Aggregate-Max-Bitrate-DL": "2000"}),
]


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    sent, expected = zip(*VALUES, strict=True)
    assert disagreements(tmp_path / "diameter.pcapng", [sample(message) for message in sent], expected) == []
