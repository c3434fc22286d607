"""Diameter codec: every command with values of every kind there and back, python-diameter as second opinion, garbage of every kind."""

from __future__ import annotations

import datetime
import enum
import functools
import ipaddress
import types
import typing
from dataclasses import fields, replace
from typing import Any

import pytest
from diameter.message import Message as OtherMessage
from diameter.message.avp import Avp as OtherAvp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epc.wire import diameter
from epc.wire.diameter import Avp, DiameterError, ErrorAnswer, FailedAvp, Message, Request, ResultCode, UnknownCommand, gx, s6a
from epc.wire.diameter.avp import TbcdDigits
from epc.wire.diameter.codec import _classes
from epc.wire.diameter.groups import Group
from epc.wire.diameter.schema import definition_of_field, table_of
from epc.wire.errors import WireError
from epc.wire.identity import Plmn

COMMANDS = sorted(_classes.values(), key=lambda cls: (cls.__module__, cls.__name__))
UNKNOWN_AVPS = st.builds(
    Avp, code=st.integers(40_000, 50_000), vendor_id=st.sampled_from([0, 10415, 9]), mandatory=st.just(False), data=st.binary(max_size=9))

SIMPLE: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
    bytes: st.binary(max_size=20),
    Plmn: st.from_regex(r"[0-9]{5,6}", fullmatch=True).map(Plmn),
    TbcdDigits: st.from_regex(r"[0-9]{1,15}", fullmatch=True).map(TbcdDigits),
    ipaddress.IPv4Address: st.ip_addresses(v=4),
    ipaddress.IPv6Address: st.ip_addresses(v=6),
    ipaddress.IPv6Network: st.builds(
        lambda address, length: ipaddress.IPv6Network((address, length), strict=False), st.ip_addresses(v=6), st.integers(0, 128)),
    datetime.datetime: st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC)).map(
        lambda moment: moment.replace(microsecond=0)),
}
RANGES = {"Unsigned32": (0, 0xFFFFFFFF), "Integer32": (-0x80000000, 0x7FFFFFFF), "Unsigned64": (0, 0xFFFFFFFFFFFFFFFF),
          "Integer64": (-0x8000000000000000, 0x7FFFFFFFFFFFFFFF)}


def values_of(hint: Any, avp_type: str) -> st.SearchStrategy[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not types.NoneType]
        return st.one_of([values_of(member, avp_type) for member in members])
    if hint is FailedAvp:
        return st.builds(FailedAvp, avps=st.lists(UNKNOWN_AVPS, max_size=2).map(tuple))
    if isinstance(hint, type) and issubclass(hint, Group):
        return instances_of(hint)
    if isinstance(hint, type) and issubclass(hint, enum.IntFlag):
        return st.integers(0, 0xFFFFFFFF).map(hint)
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return st.sampled_from(hint)
    if hint is int:
        return st.integers(*RANGES[avp_type])
    return SIMPLE[hint]


@functools.cache
def instances_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    arguments: dict[str, st.SearchStrategy[Any]] = {"unknown": st.lists(UNKNOWN_AVPS, max_size=2).map(tuple)}
    for row in table_of(cls).rows:
        hint = hints[row.name]
        if row.repeated:
            element = values_of(typing.get_args(hint)[0], row.definition.type)
            arguments[row.name] = st.lists(element, min_size=1 if row.required else 0, max_size=2).map(tuple)
        elif types.NoneType in typing.get_args(hint):
            arguments[row.name] = st.none() | values_of(hint, row.definition.type)
        else:
            arguments[row.name] = values_of(hint, row.definition.type)
    return st.builds(cls, **arguments)


messages = st.sampled_from(COMMANDS).flatmap(instances_of)
identifiers = st.integers(0, 0xFFFFFFFF)
thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("cls", COMMANDS, ids=lambda cls: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}")
def test_every_field_is_an_avp_of_the_dictionary(cls: type[Message]) -> None:
    table = table_of(cls)
    assert len(table.by_key) == len(table.rows)
    assert "session_id" not in table.required or table.rows[0].name == "session_id"         # RFC 6733 clause 8.8: it comes first
    names = {field.name for field in fields(cls)}
    assert names - {"unknown"} == {row.name for row in table.rows}


def test_requests_and_answers_come_in_pairs() -> None:
    requests = {key[:2] for key, cls in _classes.items() if issubclass(cls, Request)}
    answers = {key[:2] for key, cls in _classes.items() if not issubclass(cls, Request)}
    assert requests == answers


@thorough
@given(messages, identifiers, identifiers, st.booleans())
def test_there_and_back(message: Message, hop_by_hop: int, end_to_end: int, retransmitted: bool) -> None:
    octets = diameter.encode(message, hop_by_hop=hop_by_hop, end_to_end=end_to_end, retransmitted=retransmitted)
    assert len(octets) % 4 == 0
    packet = diameter.decode(octets)
    assert packet.message == message
    assert (packet.header.hop_by_hop, packet.header.end_to_end) == (hop_by_hop, end_to_end)
    assert packet.header.is_retransmitted == retransmitted
    assert packet.header.is_request == isinstance(message, Request)
    assert diameter.encode(packet.message, hop_by_hop=hop_by_hop, end_to_end=end_to_end, retransmitted=retransmitted,
                           application_id=packet.header.application_id) == octets


@thorough
@given(messages)
def test_python_diameter_reads_the_same_values(message: Message) -> None:
    octets = diameter.encode(message, hop_by_hop=1, end_to_end=2)
    other = OtherMessage.from_bytes(octets, plain_msg=True)
    assert other.header.command_code == diameter.command_of(message).code
    assert_same(message, other.avps)


def assert_same(ours: Group, theirs: list[OtherAvp]) -> None:
    remaining = list(theirs)
    for row in table_of(type(ours)).rows:
        value = getattr(ours, row.name)
        for single in value if row.repeated else () if value is None else (value,):
            other = next(avp for avp in remaining if (avp.code, avp.vendor_id) == (row.definition.code, row.definition.vendor_id))
            remaining.remove(other)
            if isinstance(single, Group):
                assert_same(single, other.value)
            elif isinstance(single, FailedAvp):
                assert [avp.payload for avp in other.value] == [avp.data for avp in single.avps]
            else:
                assert as_theirs(single, row.definition.name, row.definition.type, other) == single
    assert [(avp.code, avp.vendor_id, avp.payload) for avp in remaining] == [(avp.code, avp.vendor_id, avp.data) for avp in ours.unknown]


def as_theirs(value: object, name: str, avp_type: str, other: OtherAvp) -> object:
    """What python-diameter read, as the kind of value that ours is."""
    read = other.value
    if isinstance(value, int):
        return read
    if avp_type == "Address":
        return ipaddress.ip_address(read[1])
    if isinstance(value, datetime.datetime):
        # python-diameter keeps to the era before 2036
        return value if value.year >= 2036 else read.replace(tzinfo=datetime.UTC) if read.tzinfo is None else read.astimezone(datetime.UTC)
    if isinstance(value, str) and isinstance(read, bytes) and avp_type in ("DiameterIdentity", "IPFilterRule"):
        return read.decode()
    if isinstance(value, str) and isinstance(read, str):
        return read
    if isinstance(value, ipaddress.IPv4Address):
        return ipaddress.IPv4Address(read)
    if isinstance(value, ipaddress.IPv6Network):
        return ipaddress.IPv6Network((read[2:].ljust(16, b"\0"), read[1]))
    if isinstance(value, bytes):
        return read
    nibbles = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in read)
    if name == "Visited-PLMN-Id":
        return nibbles[:3] + (nibbles[4:] + nibbles[3]).rstrip("f")
    return nibbles.rstrip("f")


# --- bad input --------------------------------------------------------------------------------------------------------

ULR = diameter.encode(s6a.UpdateLocationRequest(
    session_id="mme;1;2", origin_host="mme.lab", origin_realm="lab", destination_realm="lab", user_name="001010000000001",
    rat_type=diameter.RatType.EUTRAN, ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR, visited_plmn_id=Plmn("00101")), hop_by_hop=7, end_to_end=8)


def rebuilt(avps: bytes, *, of: bytes = ULR) -> bytes:
    """The message ``of`` with other AVPs."""
    return of[:1] + (20 + len(avps)).to_bytes(3, "big") + of[4:20] + avps


def without(name: str, octets: bytes = ULR) -> bytes:
    definition = definition_of_field(name)
    kept, at = b"", 20
    while at < len(octets):
        size = int.from_bytes(octets[at + 5:at + 8], "big")
        size += -size % 4
        if int.from_bytes(octets[at:at + 4], "big") != definition.code:
            kept += octets[at:at + size]
        at += size
    return rebuilt(kept, of=octets)


def replaced(name: str, data: bytes) -> bytes:
    definition = definition_of_field(name)
    avp = Avp(code=definition.code, vendor_id=definition.vendor_id, mandatory=definition.mandatory, data=data).encode()
    return rebuilt(without(name)[20:] + avp)


@pytest.mark.parametrize(("octets", "result_code", "failed_avp"), [
    pytest.param(without("user_name"), ResultCode.DIAMETER_MISSING_AVP, "User-Name", id="missing"),
    pytest.param(without("ulr_flags"), ResultCode.DIAMETER_MISSING_AVP, "ULR-Flags", id="missing vendor's"),
    pytest.param(rebuilt(ULR[20:] + Avp(code=77777, mandatory=True, data=b"x").encode()),
                 ResultCode.DIAMETER_AVP_UNSUPPORTED, "0/77777", id="unknown mandatory"),
    pytest.param(rebuilt(ULR[20:] + Avp(code=1, mandatory=True, data=b"1").encode()),
                 ResultCode.DIAMETER_AVP_OCCURS_TOO_MANY_TIMES, "User-Name", id="twice"),
    pytest.param(replaced("ulr_flags", b"\0\0\0"), ResultCode.DIAMETER_INVALID_AVP_LENGTH, "ULR-Flags", id="too short"),
    pytest.param(replaced("visited_plmn_id", b"\0\0\0\0"), ResultCode.DIAMETER_INVALID_AVP_LENGTH, "Visited-PLMN-Id", id="PLMN of 4 octets"),
    pytest.param(replaced("visited_plmn_id", b"\xaa\xf1\x10"), ResultCode.DIAMETER_INVALID_AVP_VALUE, "Visited-PLMN-Id", id="PLMN without digits"),
    pytest.param(replaced("user_name", b"\xff\xfe"), ResultCode.DIAMETER_INVALID_AVP_VALUE, "User-Name", id="not UTF-8"),
    pytest.param(rebuilt(ULR[20:] + bytes.fromhex("00000001 40000007")),
                 ResultCode.DIAMETER_INVALID_AVP_LENGTH, "User-Name", id="length below header"),
    pytest.param(rebuilt(ULR[20:] + bytes.fromhex("0000057d c0000020 000028af")),
                 ResultCode.DIAMETER_INVALID_AVP_LENGTH, "ULR-Flags", id="length beyond end"),
    pytest.param(rebuilt(ULR[20:] + bytes.fromhex("00000001")), ResultCode.DIAMETER_INVALID_AVP_LENGTH, None, id="truncated header"),
    pytest.param(rebuilt(ULR[20:] + bytes.fromhex("0000057d c000000c")), ResultCode.DIAMETER_INVALID_AVP_LENGTH, None, id="truncated vendor"),
    pytest.param(rebuilt(ULR[20:] + bytes.fromhex("00009c40 01000008")), ResultCode.DIAMETER_INVALID_AVP_BITS, "0/40000", id="reserved flag"),
    pytest.param(ULR[:4] + b"\xe0" + ULR[5:], ResultCode.DIAMETER_INVALID_HDR_BITS, None, id="request with E bit"),
    pytest.param(b"\2" + ULR[1:], ResultCode.DIAMETER_UNSUPPORTED_VERSION, None, id="version"),
    pytest.param(ULR[:-4], ResultCode.DIAMETER_INVALID_MESSAGE_LENGTH, None, id="short message"),
])
def test_bad_request_names_its_answer(octets: bytes, result_code: ResultCode, failed_avp: str | None) -> None:
    with pytest.raises(DiameterError) as caught:
        diameter.decode(octets)
    error = caught.value
    assert error.result_code is result_code
    assert error.is_answerable
    assert error.header is not None
    assert (error.header.command_code, error.header.hop_by_hop, error.header.end_to_end) == (316, 7, 8)
    if failed_avp is not None:
        assert error.failed_avp is not None
        assert error.failed_avp.name == failed_avp
        assert error.session_id == "mme;1;2"
    answer = diameter.error_answer(error.header, error.result_code, origin_host="hss", origin_realm="lab", session_id=error.session_id,
                                   failed_avp=error.failed_avp)
    packet = diameter.decode(diameter.encode(answer, hop_by_hop=7, end_to_end=8))
    assert packet.header.is_error == (3000 <= result_code < 4000)
    assert packet.message.result == result_code
    assert packet.header.application_id == 16777251


def test_answers_are_read_with_indulgence() -> None:
    answer = s6a.PurgeUeAnswer(session_id="a", origin_host="h", origin_realm="r", result_code=ResultCode.DIAMETER_SUCCESS)
    octets = diameter.encode(answer, hop_by_hop=1, end_to_end=1)
    extra = (Avp(code=77777, mandatory=True, data=b"x"), Avp(code=268, mandatory=True, data=b"\0\0\x13\x89"))
    packet = diameter.decode(rebuilt(octets[20:] + b"".join(avp.encode() for avp in extra), of=octets))
    assert packet.message == replace(answer, unknown=extra)


def test_refusal_without_what_the_command_requires_is_still_an_answer() -> None:
    answer = s6a.UpdateLocationAnswer(session_id="a", origin_host="h", origin_realm="r", result_code=ResultCode.DIAMETER_UNABLE_TO_COMPLY)
    octets = without("auth_session_state", diameter.encode(answer, hop_by_hop=1, end_to_end=1))
    message = diameter.decode(octets).message
    assert isinstance(message, ErrorAnswer)
    assert message.result is ResultCode.DIAMETER_UNABLE_TO_COMPLY
    success = diameter.encode(replace(answer, result_code=ResultCode.DIAMETER_SUCCESS), hop_by_hop=1, end_to_end=1)
    with pytest.raises(DiameterError):
        diameter.decode(without("auth_session_state", success))


def test_values_without_a_name_survive() -> None:
    ccr = gx.CreditControlRequest(session_id="a", origin_host="h", origin_realm="r", destination_realm="r", cc_request_type=9, cc_request_number=0,
                                  event_trigger=(gx.EventTrigger.TAI_CHANGE, 4711))
    message = diameter.decode(diameter.encode(ccr, hop_by_hop=1, end_to_end=1)).message
    assert message == ccr
    assert isinstance(message, gx.CreditControlRequest)
    assert type(message.cc_request_type) is int
    assert isinstance(message.event_trigger[0], gx.EventTrigger)


def test_unknown_command_keeps_everything() -> None:
    command = UnknownCommand(command_code=0xABCDEF, application_id=16777999, is_request=True, is_proxiable=False,
                             unknown=(Avp(code=263, mandatory=True, data=b"session"), Avp(code=1, vendor_id=9, data=b"")))
    packet = diameter.decode(diameter.encode(command, hop_by_hop=3, end_to_end=4))
    assert packet.message == command


@pytest.mark.parametrize("bad", [
    {"user_name": 7}, {"user_name": None}, {"ulr_flags": -1}, {"rat_type": 1 << 40}, {"visited_plmn_id": "1"}, {"user_name": "\ud800"},
    {"unknown": (Avp(code=-1),)}, {"supported_features": (3,)}, {"route_record": 7},
])
def test_values_the_format_cannot_hold(bad: dict[str, Any]) -> None:
    message = diameter.decode(ULR).message
    assert isinstance(message, s6a.UpdateLocationRequest)
    with pytest.raises(WireError):
        diameter.encode(replace(message, **bad), hop_by_hop=1, end_to_end=1)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages, st.data())
def test_mutants_raise_wire_errors_only(message: Message, data: st.DataObject) -> None:
    octets = bytearray(diameter.encode(message, hop_by_hop=1, end_to_end=2))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                octets[at] = data.draw(st.integers(0, 255))
            case 1:
                del octets[at:at + data.draw(st.integers(1, 8))]
                octets = octets or bytearray(1)
            case _:
                octets[at:at] = data.draw(st.binary(max_size=8))
    if data.draw(st.booleans()) and len(octets) >= 4:
        octets += bytes(-len(octets) % 4)
        octets[1:4] = len(octets).to_bytes(3, "big")
    try:
        packet = diameter.decode(bytes(octets))
    except WireError:
        return
    again = diameter.encode(packet.message, hop_by_hop=1, end_to_end=2, application_id=packet.header.application_id)
    assert diameter.decode(again).message == packet.message


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_garbage_raises_wire_errors_only(octets: bytes) -> None:
    with pytest.raises(WireError):
        diameter.decode(octets + b"\1")
