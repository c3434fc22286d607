"""PFCP: what holds for every message, and what a decoder must survive."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS29244_PFCP import PFCPDispatcher

from epc.wire.errors import WireError
from epc.wire.pfcp import (
    MESSAGES,
    REPLY_TO,
    ApplyAction,
    AssociationSetupResponse,
    BitRate,
    CauseValue,
    ChooseFteid,
    CreatedPdr,
    CreateFar,
    DownlinkDataServiceInformation,
    DroppedDownlinkTrafficThreshold,
    ErrorIndicationReport,
    FailedRuleId,
    ForwardingParameters,
    FqCsid,
    Fseid,
    Fteid,
    GateStatus,
    HeartbeatRequest,
    Message,
    MessageType,
    OuterHeader,
    OuterHeaderCreation,
    OuterHeaderRemoval,
    PfcpSyntaxError,
    PfcpTimer,
    PfdContents,
    RedirectInformation,
    RemoteGtpuPeer,
    ReportType,
    RuleType,
    SdfFilter,
    SessionDeletionResponse,
    SessionEstablishmentRequest,
    SessionEstablishmentResponse,
    SessionModificationRequest,
    SessionReportRequest,
    UeIpAddress,
    UnknownIe,
    UnknownMessageType,
    UserId,
    UserPlaneIpResourceInformation,
    VersionNotSupported,
    Volume,
    decode,
    encode,
    ntp_seconds,
    rejection,
)
from epc.wire.pfcp.table import Slot, Table

PROFILE = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

u4, u6, u8, u16, u24, u32, u40, u64 = (st.integers(0, (1 << bits) - 1) for bits in (4, 6, 8, 16, 24, 32, 40, 64))
digits = st.text("0123456789", min_size=1, max_size=15)
octets = st.binary(max_size=12)
ipv4 = st.builds(IPv4Address, u32)
ipv6 = st.builds(IPv6Address, st.integers(0, (1 << 128) - 1))
names = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20), min_size=1, max_size=4).map(".".join)
texts = st.text(max_size=20).filter(lambda text: len(text.encode()) < 256)
two_addresses = st.tuples(ipv4, st.none()) | st.tuples(st.none(), ipv6) | st.tuples(ipv4, ipv6)


def with_addresses(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """``kind`` with an IPv4 address, an IPv6 address or both."""
    return st.builds(lambda pair, others: kind(ipv4=pair[0], ipv6=pair[1], **others), two_addresses, st.fixed_dictionaries(fields))


fteids = with_addresses(Fteid, teid=u32) | st.sampled_from([(True, False), (False, True), (True, True)]).flatmap(
    lambda wanted: st.builds(ChooseFteid, ipv4=st.just(wanted[0]), ipv6=st.just(wanted[1]), choose_id=st.none() | u8)
)
outer_headers = (
    st.builds(OuterHeaderCreation, description=st.just(OuterHeader.GTP_U_UDP_IPV4), teid=u32, ipv4=ipv4)
    | st.builds(OuterHeaderCreation, description=st.just(OuterHeader.GTP_U_UDP_IPV6), teid=u32, ipv6=ipv6)
    | st.builds(OuterHeaderCreation, description=st.just(OuterHeader.UDP_IPV4), ipv4=ipv4, port=u16)
)
failed_rules = st.sampled_from([(RuleType.PDR, 16), (RuleType.FAR, 32), (RuleType.BAR, 8)]).flatmap(
    lambda kind: st.builds(FailedRuleId, type=st.just(kind[0]), id=st.integers(0, (1 << kind[1]) - 1))
)
volumes = st.builds(Volume, total_octets=st.none() | u64, uplink_octets=st.none() | u64, downlink_octets=st.none() | u64)
timers = st.builds(PfcpTimer, unit=st.integers(0, 7), value=st.integers(0, 31))
rates = st.builds(BitRate, uplink_kbps=u40, downlink_kbps=u40)

VALUES: dict[int, st.SearchStrategy[Any]] = {
    19: u8, 20: u4, 42: u4, 113: st.integers(0, 7),
    21: fteids,
    22: octets, 24: octets, 91: octets, 106: octets, 107: octets,
    23: st.builds(
        SdfFilter, flow_description=st.none() | st.text(max_size=40), tos_traffic_class=st.none() | u16, security_parameter_index=st.none() | u32,
        flow_label=st.none() | u24, filter_id=st.none() | u32,
    ),
    25: st.builds(GateStatus, uplink=st.integers(0, 3), downlink=st.integers(0, 3)),
    26: rates, 27: rates,
    30: u16, 40: u16, 48: u16, 56: u16, 126: u16,
    31: volumes, 34: volumes, 66: volumes, 73: volumes, 121: volumes,
    37: u24, 43: st.integers(0, (1 << 48) - 1), 63: u24,
    38: st.builds(RedirectInformation, type=u4, address=st.text(max_size=40)),
    39: u8, 44: u8, 46: u8, 49: u8, 50: u8, 53: u8, 62: u8, 88: u8, 89: u8, 90: u8, 100: u8, 101: u8, 110: u8, 111: u8,
    45: st.builds(DownlinkDataServiceInformation, paging_policy_indication=st.none() | u6, qfi=st.none() | u6),
    47: timers, 55: timers, 112: timers,
    57: with_addresses(Fseid, seid=u64),
    60: ipv4 | ipv6 | names,
    61: st.builds(
        PfdContents, flow_description=st.none() | st.text(max_size=40), url=st.none() | st.text(max_size=20), domain_name=st.none() | names,
        custom=st.none() | octets,
    ),
    65: st.builds(FqCsid, node_id=ipv4 | ipv6 | u32, csids=st.lists(u16, max_size=15).map(tuple)),
    72: st.builds(DroppedDownlinkTrafficThreshold, packets=st.none() | u64, octets=st.none() | u64),
    84: outer_headers,
    93: with_addresses(UeIpAddress, is_destination=st.booleans())
    | st.builds(UeIpAddress, ipv6=ipv6, ipv6_prefix_delegation_bits=u8),
    95: st.builds(OuterHeaderRemoval, description=u8, gtpu_extension_header_deletion=st.none() | u8),
    103: with_addresses(RemoteGtpuPeer),
    114: failed_rules,
    116: st.integers(0, 7).flatmap(
        lambda bits: with_addresses(
            UserPlaneIpResourceInformation, teid_range_bits=st.just(bits), teid_range=u8 if bits else st.just(0),
            network_instance=st.none() | octets, source_interface=st.none() | u4,
        )
    ),
    141: st.builds(UserId, imsi=st.none() | digits, imei=st.none() | digits, msisdn=st.none() | digits, nai=st.none() | texts),
}


def values(slot: Slot) -> st.SearchStrategy[Any]:
    return groups(slot.group) if slot.group is not None else VALUES.get(slot.ie_type, u32)


def groups(table: Table, *, complete: bool = False) -> st.SearchStrategy[Any]:
    """Any instance of the table's class; ``complete``: with every element."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for slot in table.slots:
        value = values(slot)
        needed = slot in table.mandatory
        if slot.repeated:
            value = st.lists(value, min_size=1 if complete or needed else 0, max_size=2).map(tuple)
        fields[slot.name] = value if complete or needed or slot.repeated else st.none() | value
    return st.builds(table.make, **fields)


ANY_MESSAGE = st.sampled_from(sorted(MESSAGES)).flatmap(lambda message_type: groups(MESSAGES[message_type].table))
REMOVED_IN_RELEASE_16 = {116}      # User Plane IP Resource Information
EVERY_TYPE = pytest.mark.parametrize("message_type", sorted(MESSAGES), ids=[MESSAGES[key].__name__ for key in sorted(MESSAGES)])


@PROFILE
@given(ANY_MESSAGE, st.none() | u64, u24, st.none() | u4)
def test_round_trip(message: Message, seid: int | None, sequence: int, priority: int | None) -> None:
    packet = decode(encode(message, seid=seid, sequence=sequence, message_priority=priority))
    assert packet.message == message
    assert (packet.seid, packet.sequence, packet.message_priority) == (seid, sequence, priority)


@EVERY_TYPE
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_message_round_trips_with_all_its_elements(message_type: int, data: st.DataObject) -> None:
    message = data.draw(groups(MESSAGES[message_type].table, complete=True))
    assert decode(encode(message, seid=1, sequence=1)).message == message


@EVERY_TYPE
def test_pycrate_has_the_same_elements(message_type: int) -> None:
    """Every element that a message names, pycrate's table of it has (those of its grouped elements have gaps)."""
    theirs = PFCPDispatcher[message_type]()[1]
    known = set(theirs.MAND) | set(theirs.OPT)
    assert {slot.ie_type for slot in MESSAGES[message_type].table.slots} - known <= REMOVED_IN_RELEASE_16


@PROFILE
@given(ANY_MESSAGE, st.lists(st.tuples(u16, u8), min_size=1, max_size=4), st.integers(0, 40))
def test_mutated_octets_decode_or_raise_wire_error(message: Message, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(encode(message, seid=7, sequence=7))
    for position, value in changes:
        mutated[position % len(mutated)] = value
    data = bytes(mutated[:len(mutated) - cut if cut < len(mutated) else len(mutated)])
    try:
        packet = decode(data)
    except WireError:
        return
    again = encode(packet.message, seid=packet.seid, sequence=packet.sequence)
    assert decode(again).message == packet.message


@PROFILE
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x21", b"\x21\x32", b"\x20\x05"]))
def test_random_octets_decode_or_raise_wire_error(data: bytes, prefix: bytes) -> None:
    try:
        decode(prefix + data)
    except WireError:
        pass


# --- TS 29.244 clause 7.6 -----------------------------------------------------------------------------------------------------


def _modification(body: str, length: int | None = None) -> bytes:
    elements = bytes.fromhex(body)
    header = bytes((0x21, 52)) + (len(elements) + 12 if length is None else length).to_bytes(2, "big")
    return header + bytes.fromhex("0000000000001001 00001500") + elements


def _fault(data: bytes) -> PfcpSyntaxError:
    with pytest.raises(PfcpSyntaxError) as caught:
        decode(data)
    return caught.value


def test_missing_mandatory_element_is_named() -> None:
    error = _fault(bytes.fromhex("2135000c 0000000000001001 00001500"))
    assert (error.cause, error.ie_type) == (CauseValue.MANDATORY_IE_MISSING, 19)
    assert (error.message_type, error.sequence, error.seid) == (MessageType.SESSION_MODIFICATION_RESPONSE, 0x15, 0x1001)


def test_missing_mandatory_element_inside_a_rule_is_named() -> None:
    error = _fault(_modification("0003 0008 006c 0004 0000000b"))
    assert (error.cause, error.ie_type) == (CauseValue.MANDATORY_IE_MISSING, 44)


def test_a_rejection_needs_its_cause_and_sender_only() -> None:
    refused = AssociationSetupResponse(node_id="upf", cause=CauseValue.NO_RESOURCES_AVAILABLE)
    assert decode(encode(refused, seid=None, sequence=1)).message == refused
    error = _fault(encode(AssociationSetupResponse(node_id="upf", cause=CauseValue.REQUEST_ACCEPTED), seid=None, sequence=1))
    assert (error.cause, error.ie_type) == (CauseValue.MANDATORY_IE_MISSING, 96)


@pytest.mark.parametrize(
    ("body", "cause", "ie_type"),
    [
        ("0031 0000", CauseValue.INVALID_LENGTH, 49),                           # flags of no octets
        ("0031 0005 01", CauseValue.INVALID_LENGTH, 49),                        # runs over the end
        ("0031", CauseValue.INVALID_LENGTH, None),                              # half an element header
        ("0039 0009 00 0000000000000001", CauseValue.MANDATORY_IE_INCORRECT, 57),
        ("0039 000a 02 0000000000000001 0a", CauseValue.MANDATORY_IE_INCORRECT, 57),
        ("000f 0005 0038 0001 03", CauseValue.INVALID_LENGTH, 56),              # inside Remove PDR
    ],
)
def test_unusable_element_names_cause_and_element(body: str, cause: CauseValue, ie_type: int | None) -> None:
    error = _fault(_modification(body))
    assert (error.cause, error.ie_type) == (cause, ie_type)


def test_unusable_optional_element_counts_as_absent() -> None:
    message = decode(_modification("007d 0002 0001")).message
    assert isinstance(message, SessionModificationRequest)
    assert message.query_urr_reference is None
    assert message.unknown == (UnknownIe(type=125, octets=b"\x00\x01"),)


def test_sender_seid_is_found_in_a_request_that_cannot_be_read() -> None:
    fseid = Fseid(seid=0xABCD, ipv4=IPv4Address("10.0.0.1"))
    error = _fault(encode(SessionEstablishmentRequest(node_id="cp", cp_fseid=fseid, create_pdrs=(), create_fars=()), seid=0, sequence=5))
    assert (error.cause, error.ie_type, error.peer_seid) == (CauseValue.MANDATORY_IE_MISSING, 1, 0xABCD)


@pytest.mark.parametrize("length", [3, 11, 16, 18, 65535])
def test_length_field_that_disagrees_with_the_datagram(length: int) -> None:
    assert _fault(_modification("0031 0001 01", length)).cause == CauseValue.INVALID_LENGTH


def test_first_of_repeated_elements_counts() -> None:
    message = decode(_modification("0031 0001 01 0031 0001 02")).message
    assert isinstance(message, SessionModificationRequest)
    assert message.flags == 1
    assert message.unknown == (UnknownIe(type=49, octets=b"\x02"),)


def test_octets_of_a_later_release_are_ignored() -> None:
    message = decode(_modification("0031 0003 01ffff")).message
    assert isinstance(message, SessionModificationRequest)
    assert message.flags == 1


def test_unknown_message_type_is_reported() -> None:
    with pytest.raises(UnknownMessageType) as caught:
        decode(bytes.fromhex("21f0000c 0000000000000001 00001500"))
    assert (caught.value.message_type, caught.value.sequence, caught.value.seid) == (0xF0, 0x15, 1)


def test_other_versions_are_reported_with_their_sequence_number() -> None:
    with pytest.raises(VersionNotSupported) as caught:
        decode(bytes.fromhex("4001000c 00000700 006000040000 0001"))
    assert (caught.value.version, caught.value.message_type, caught.value.sequence) == (2, 1, 7)


@pytest.mark.parametrize("reply", sorted(set(REPLY_TO.values()) - {MessageType.HEARTBEAT_RESPONSE}))
def test_every_response_can_reject(reply: MessageType) -> None:
    message = rejection(reply, CauseValue.SYSTEM_FAILURE, node_id="up", offending_ie=60)
    assert decode(encode(message, seid=1, sequence=1)).message == message


@pytest.mark.parametrize(
    "value",
    [
        Fteid(teid=1 << 32, ipv4=IPv4Address("10.0.0.1")), ChooseFteid(ipv4=True, choose_id=256),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Fteid | ChooseFteid) -> None:
    for bad in (
        SessionReportRequest(report_type=ReportType.ERIR, error_indication_report=ErrorIndicationReport(remote_fteids=(value,))),
        SessionEstablishmentResponse(node_id="up", cause=1, created_pdrs=(CreatedPdr(pdr_id=1, local_fteid=value),)),
    ):
        with pytest.raises(WireError):
            encode(bad, seid=1, sequence=1)


@pytest.mark.parametrize("sequence", [-1, 1 << 24])
def test_sequence_numbers_have_24_bits(sequence: int) -> None:
    with pytest.raises(WireError):
        encode(HeartbeatRequest(recovery_time_stamp_ntp=1), seid=None, sequence=sequence)


def test_a_description_and_its_fields_must_agree() -> None:
    header = OuterHeaderCreation(description=OuterHeader.GTP_U_UDP_IPV4, teid=1, ipv6=IPv6Address("::1"))
    far = CreateFar(
        far_id=1, apply_action=ApplyAction.FORW, forwarding_parameters=ForwardingParameters(destination_interface=0, outer_header_creation=header)
    )
    with pytest.raises(WireError, match="description"):
        encode(SessionModificationRequest(create_fars=(far,)), seid=1, sequence=1)


def test_time_stamps_count_from_1900_and_wrap_in_2036() -> None:
    assert ntp_seconds(0) == 2_208_988_800
    assert ntp_seconds(2_085_978_496) == 0


def test_a_group_shows_what_is_there() -> None:
    assert repr(SessionDeletionResponse(cause=1, offending_ie=2)) == "SessionDeletionResponse(cause=1, offending_ie=2)"
