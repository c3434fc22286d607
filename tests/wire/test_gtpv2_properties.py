"""GTPv2-C: what holds for every message, and what a decoder must survive."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS29274_GTPC import GTPCDispatcher

from epc.wire.errors import WireError
from epc.wire.gtpv2 import (
    MESSAGES,
    REPLY_TO,
    Ambr,
    ApnAndRelativeCapacity,
    ApnRateControlStatus,
    Arp,
    BearerFlags,
    BearerQos,
    Cause,
    CauseValue,
    Cgi,
    Counter,
    CreateSessionRequest,
    CreateSessionResponse,
    CsgInformationReportingAction,
    DeleteSessionRequest,
    DeleteSessionResponse,
    Ecgi,
    EpcTimer,
    ExtendedMacroEnodebId,
    FContainer,
    FlowQos,
    FqCsid,
    Fteid,
    GtpSyntaxError,
    Indication,
    InterfaceType,
    Lai,
    MacroEnodebId,
    MaximumPacketLossRate,
    Message,
    MessageType,
    NodeFeatures,
    OffendingIe,
    Paa,
    PagingAndServiceInformation,
    Rai,
    RanNasCause,
    Sai,
    SecondaryRatUsageDataReport,
    ServingPlmnRateControl,
    Tai,
    Throttling,
    TraceInformation,
    TraceReference,
    UeTimeZone,
    Uli,
    UnknownIe,
    UnknownMessageType,
    UserCsgInformation,
    VersionNotSupported,
    cause_of,
    conditional_ie_missing,
    decode,
    encode,
    rejection,
)
from epc.wire.gtpv2.table import Group, Slot, Table

PROFILE = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

u4, u5, u8, u16, u24, u32, u40, u64 = (st.integers(0, (1 << bits) - 1) for bits in (4, 5, 8, 16, 24, 32, 40, 64))
digits = st.text("0123456789", min_size=1, max_size=16)
plmns = st.text("0123456789", min_size=5, max_size=6)
octets = st.binary(min_size=4, max_size=12)
ipv4 = st.builds(IPv4Address, u32)
ipv6 = st.builds(IPv6Address, st.integers(0, (1 << 128) - 1))
addresses = ipv4 | ipv6
names = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20), min_size=1, max_size=4).map(".".join)
arps = st.builds(Arp, priority_level=u4, pre_emption_capability=st.booleans(), pre_emption_vulnerability=st.booleans())
timers = st.builds(EpcTimer, unit=st.integers(0, 7), value=u5)
references = st.builds(TraceReference, plmns, u24)
paas = (
    st.builds(Paa, pdn_type=st.just(1), ipv4=ipv4)
    | st.builds(Paa, pdn_type=st.just(2), ipv6=ipv6, ipv6_prefix_length=u8)
    | st.builds(Paa, pdn_type=st.just(3), ipv4=ipv4, ipv6=ipv6, ipv6_prefix_length=u8)
    | st.builds(Paa, pdn_type=st.sampled_from([4, 5]))
)
tunnels = st.builds(Fteid, interface_type=st.integers(0, 63), teid=u32, ipv4=ipv4, ipv6=st.none() | ipv6) | st.builds(
    Fteid, interface_type=st.integers(0, 63), teid=u32, ipv6=ipv6
)
rates = {"mbr_uplink_kbps": u40, "mbr_downlink_kbps": u40, "gbr_uplink_kbps": u40, "gbr_downlink_kbps": u40}

VALUES: dict[int, st.SearchStrategy[Any]] = {
    1: digits, 71: names, 75: digits, 76: digits, 136: names, 215: names,
    2: st.builds(Cause, value=u8, pce=st.booleans(), bce=st.booleans(), cs=st.booleans(), offending_ie=st.none() | st.builds(OffendingIe, u8, u4)),
    72: st.builds(Ambr, uplink_kbps=u32, downlink_kbps=u32),
    73: u4,
    74: addresses,
    77: st.integers(0, (1 << 80) - 1).map(Indication),
    79: paas,
    80: st.builds(BearerQos, qci=u8, arp=arps, **rates),
    81: st.builds(FlowQos, qci=u8, **rates),
    83: plmns,
    86: st.builds(
        Uli, cgi=st.none() | st.builds(Cgi, plmns, u16, u16), sai=st.none() | st.builds(Sai, plmns, u16, u16),
        rai=st.none() | st.builds(Rai, plmns, u16, u8),
        tai=st.none() | st.builds(Tai, plmns, u16), ecgi=st.none() | st.builds(Ecgi, plmns, st.integers(0, (1 << 28) - 1)),
        lai=st.none() | st.builds(Lai, plmns, u16), macro_enodeb_id=st.none() | st.builds(MacroEnodebId, plmns, st.integers(0, (1 << 20) - 1)),
        extended_macro_enodeb_id=st.none() | st.builds(ExtendedMacroEnodebId, plmns, st.booleans(), st.integers(0, (1 << 18) - 1)),
    ),
    87: tunnels,
    94: u32, 111: u32, 170: u32, 183: u32,
    95: u16, 126: u16, 200: u16,
    96: st.builds(
        TraceInformation, reference=references, triggering_events=st.binary(min_size=9, max_size=9), ne_types=u16, session_trace_depth=u8,
        interfaces=st.binary(min_size=12, max_size=12), collection_entity=addresses,
    ),
    97: st.integers(0, 15).map(BearerFlags),
    99: st.integers(0, 7),
    114: st.builds(UeTimeZone, offset_minutes=st.integers(-79, 79).map(lambda quarters: 15 * quarters), daylight_saving_hours=st.integers(0, 3)),
    115: references,
    118: st.builds(FContainer, container_type=u4, octets=st.binary(max_size=8)),
    128: st.integers(0, 3),
    132: st.builds(FqCsid, node_id=addresses | u32, csids=st.lists(u16, max_size=15).map(tuple)),
    145: st.builds(
        UserCsgInformation, plmn=plmns, csg_id=st.integers(0, (1 << 27) - 1), access_mode=st.integers(0, 3), lcsg=st.booleans(), cmi=st.booleans()
    ),
    146: st.integers(0, 7).map(CsgInformationReportingAction),
    152: u8.map(NodeFeatures),
    154: st.builds(Throttling, delay=timers, factor_percent=u8),
    155: arps,
    156: timers,
    172: st.builds(RanNasCause, protocol_type=u4, cause_type=u4, value=st.binary(min_size=1, max_size=2)),
    184: st.builds(ApnAndRelativeCapacity, u8, names),
    186: st.builds(PagingAndServiceInformation, ebi=u4, paging_policy_indication=st.none() | st.integers(0, 63)),
    187: u32,
    188: st.integers(0, (1 << 48) - 1),
    198: st.builds(ServingPlmnRateControl, u16, u16),
    199: st.builds(Counter, u32, u8),
    201: st.builds(
        SecondaryRatUsageDataReport, for_sgw=st.booleans(), for_pgw=st.booleans(), secondary_rat_type=u8, ebi=u4, start_timestamp=u32,
        end_timestamp=u32, downlink_octets=u64, uplink_octets=u64,
    ),
    203: st.builds(MaximumPacketLossRate, uplink=st.none() | u16, downlink=st.none() | u16),
    204: st.builds(ApnRateControlStatus, u32, u32, u32, u64),
}
OCTET_STRINGS = {78, 84, 85, 90, 91, 151, 163, 177, 178, 192, 193, 197}


def values(slot: Slot) -> st.SearchStrategy[Any]:
    if slot.group is not None:
        return groups(slot.group)
    return VALUES.get(slot.ie_type, octets if slot.ie_type in OCTET_STRINGS else u8)


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


@PROFILE
@given(ANY_MESSAGE, st.none() | u32, u24)
def test_round_trip(message: Message, teid: int | None, sequence: int) -> None:
    packet = decode(encode(message, teid=teid, sequence=sequence))
    assert packet.message == message
    assert (packet.teid, packet.sequence) == (teid, sequence)


@pytest.mark.parametrize("message_type", sorted(MESSAGES), ids=[MESSAGES[key].__name__ for key in sorted(MESSAGES)])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_round_trips_with_all_its_elements(message_type: int, data: st.DataObject) -> None:
    message = data.draw(groups(MESSAGES[message_type].table, complete=True))
    assert decode(encode(message, teid=1, sequence=1)).message == message


# Rows that pycrate 0.8.1 gives another element type.
_NOT_IN_PYCRATE = frozenset(
    {
        (MessageType.MODIFY_BEARER_COMMAND, 180, 0),
        (MessageType.MODIFY_BEARER_COMMAND, 180, 1),
        (MessageType.CREATE_BEARER_REQUEST, 180, 0),
        (MessageType.CREATE_BEARER_REQUEST, 180, 1),
    }
)


@pytest.mark.parametrize("message_type", sorted(MESSAGES), ids=[MESSAGES[key].__name__ for key in sorted(MESSAGES)])
def test_pycrate_has_the_same_elements(message_type: int) -> None:
    """Every element that a message names, pycrate's table of it has, with the same instance."""
    theirs = GTPCDispatcher[message_type]()[1]
    known = set(theirs.MAND) | set(theirs.OPT)
    for slot in MESSAGES[message_type].table.slots:
        if (message_type, slot.ie_type, slot.instance) not in _NOT_IN_PYCRATE:
            assert (slot.ie_type, slot.instance) in known, slot.name


@PROFILE
@given(ANY_MESSAGE, st.lists(st.tuples(u16, u8), min_size=1, max_size=4), st.integers(0, 40))
def test_mutated_octets_decode_or_raise_wire_error(message: Message, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(encode(message, teid=7, sequence=7))
    for position, value in changes:
        mutated[position % len(mutated)] = value
    data = bytes(mutated[:len(mutated) - cut if cut < len(mutated) else len(mutated)])
    try:
        packet = decode(data)
    except WireError:
        return
    again = encode(packet.message, teid=packet.teid, sequence=packet.sequence)
    assert decode(again).message == packet.message


@PROFILE
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x48", b"\x48\x20", b"\x40\x01"]))
def test_random_octets_decode_or_raise_wire_error(data: bytes, prefix: bytes) -> None:
    try:
        decode(prefix + data)
    except WireError:
        pass


# --- TS 29.274 clause 7.7 -----------------------------------------------------------------------------------------------------


def _delete_session_request(body: str, length: int | None = None) -> bytes:
    elements = bytes.fromhex(body)
    return bytes((0x48, 36)) + (len(elements) + 8 if length is None else length).to_bytes(2, "big") + bytes.fromhex("0000200100001500") + elements


def _fault(data: bytes) -> GtpSyntaxError:
    with pytest.raises(GtpSyntaxError) as caught:
        decode(data)
    return caught.value


def test_missing_mandatory_element_is_named() -> None:
    error = _fault(bytes.fromhex("4821000800001001 00001500"))
    assert (error.cause, error.ie_type, error.ie_instance) == (CauseValue.MANDATORY_IE_MISSING, 2, 0)
    assert (error.message_type, error.sequence, error.teid) == (MessageType.CREATE_SESSION_RESPONSE, 0x15, 0x1001)
    assert cause_of(error) == Cause(value=CauseValue.MANDATORY_IE_MISSING, offending_ie=OffendingIe(2, 0))


def test_a_cause_excuses_missing_elements_in_answers_only() -> None:
    """A PGW Restart Notification has a cause, and must have its addresses all the same."""
    with pytest.raises(GtpSyntaxError) as caught:
        decode(bytes.fromhex("48b3000e 00000000 000001 00  02000200 4000"))
    assert (caught.value.cause, caught.value.ie_type) == (CauseValue.MANDATORY_IE_MISSING, 74)


def test_missing_mandatory_element_in_a_bearer_context_sets_bce() -> None:
    error = _fault(bytes.fromhex("4822 0011 00002001 00001500 5d000500 4900010005".replace("4900010005", "4a00010005")))
    assert (error.cause, error.ie_type, error.in_bearer_context) == (CauseValue.MANDATORY_IE_MISSING, 73, True)
    assert cause_of(error).bce


def test_a_rejection_needs_its_cause_only() -> None:
    packet = decode(encode(CreateSessionResponse(cause=Cause(value=CauseValue.NO_RESOURCES_AVAILABLE)), teid=1, sequence=1))
    assert packet.message == CreateSessionResponse(cause=Cause(value=CauseValue.NO_RESOURCES_AVAILABLE))
    error = _fault(encode(CreateSessionResponse(cause=Cause(value=CauseValue.REQUEST_ACCEPTED)), teid=1, sequence=1))
    assert (error.cause, error.ie_type) == (CauseValue.MANDATORY_IE_MISSING, 93)


@pytest.mark.parametrize(
    ("body", "cause", "ie_type"),
    [
        ("4900 0000", CauseValue.INVALID_LENGTH, 73),                           # EBI of no octets
        ("4900 0500 05", CauseValue.INVALID_LENGTH, 73),                        # runs over the end
        ("4900", CauseValue.INVALID_LENGTH, None),                              # half an element header
        ("56000d00 18 00f1aa0007 00f110000a1b01", CauseValue.MANDATORY_IE_INCORRECT, 86),
        ("56000500 18 00f11000", CauseValue.MANDATORY_IE_INCORRECT, 86),
    ],
)
def test_unusable_element_names_cause_and_element(body: str, cause: CauseValue, ie_type: int | None) -> None:
    error = _fault(_delete_session_request(body))
    assert (error.cause, error.ie_type) == (cause, ie_type)


def test_unusable_optional_element_counts_as_absent() -> None:
    message = decode(_delete_session_request("57000300 8a0000")).message
    assert isinstance(message, DeleteSessionRequest)
    assert message.sender_fteid is None
    assert message.unknown == (UnknownIe(type=87, instance=0, octets=bytes.fromhex("8a0000")),)


def test_sender_fteid_is_found_in_a_request_that_cannot_be_read() -> None:
    sender = Fteid(interface_type=InterfaceType.S11_MME_GTP_C, teid=0xABCD, ipv4=IPv4Address("10.0.0.1"))
    request = encode(DeleteSessionRequest(sender_fteid=sender), teid=0, sequence=5)
    broken = bytearray(request + bytes.fromhex("49000000"))
    broken[2:4] = (len(broken) - 4).to_bytes(2, "big")
    error = _fault(bytes(broken))
    assert error.peer_teid == 0xABCD


@pytest.mark.parametrize("length", [7, 12, 14, 65535])
def test_length_field_that_disagrees_with_the_datagram(length: int) -> None:
    assert _fault(_delete_session_request("4900010005", length)).cause == CauseValue.INVALID_LENGTH


def test_first_of_repeated_elements_counts() -> None:
    message = decode(_delete_session_request("49000100054900010006")).message
    assert isinstance(message, DeleteSessionRequest)
    assert message.linked_ebi == 5
    assert message.unknown == (UnknownIe(type=73, instance=0, octets=b"\x06"),)


def test_octets_of_a_later_release_are_ignored() -> None:
    message = decode(_delete_session_request("4900030005ffff")).message
    assert isinstance(message, DeleteSessionRequest)
    assert message.linked_ebi == 5


def test_unknown_message_type_is_reported() -> None:
    with pytest.raises(UnknownMessageType) as caught:
        decode(bytes.fromhex("48f0000800000001 00001500"))
    assert (caught.value.message_type, caught.value.sequence, caught.value.teid) == (0xF0, 0x15, 1)


@pytest.mark.parametrize(
    ("data", "version", "sequence"),
    [("3201000400000000 1234 0000", 1, 0x1234), ("3001000400000000", 1, 0), ("6801000800000000 00001500", 3, 0x15), ("00010004 00000000", 0, 0)],
)
def test_other_versions_are_reported_with_their_sequence_number(data: str, version: int, sequence: int) -> None:
    with pytest.raises(VersionNotSupported) as caught:
        decode(bytes.fromhex(data))
    assert (caught.value.version, caught.value.sequence) == (version, sequence)


def test_too_short_for_a_header() -> None:
    for data in (b"", b"\x48", bytes(7), bytes.fromhex("4820000800000000")):
        with pytest.raises(WireError):
            decode(data)


@pytest.mark.parametrize("reply", sorted(set(REPLY_TO.values()) - {MessageType.ECHO_RESPONSE}))
def test_every_reply_can_be_a_bare_rejection(reply: MessageType) -> None:
    message = rejection(reply, Cause(value=CauseValue.CONTEXT_NOT_FOUND))
    assert decode(encode(message, teid=0, sequence=1)).message == message


def test_missing_conditional_element_is_named() -> None:
    assert conditional_ie_missing(CreateSessionRequest, "imsi") == Cause(value=CauseValue.CONDITIONAL_IE_MISSING, offending_ie=OffendingIe(1, 0))


@pytest.mark.parametrize(
    "message",
    [
        DeleteSessionRequest(linked_ebi=16),
        DeleteSessionRequest(uli=Uli(tai=Tai("00101", 65536))),
        DeleteSessionRequest(uli=Uli(ecgi=Ecgi("00101", 1 << 28))),
        DeleteSessionRequest(uli_timestamp=-1),
        DeleteSessionResponse(cause=Cause(value=256)),
        DeleteSessionRequest(pco=bytes(70000)),
    ],
)
def test_values_that_do_not_fit_raise_wire_error(message: Message) -> None:
    with pytest.raises(WireError):
        encode(message, teid=1, sequence=1)


def test_sequence_number_beyond_24_bits_raises_wire_error() -> None:
    with pytest.raises(WireError):
        encode(DeleteSessionRequest(), teid=1, sequence=1 << 24)


def test_unknown_enumerated_values_stay_numbers() -> None:
    message = CreateSessionResponse(cause=Cause(value=250))
    decoded = decode(encode(message, teid=1, sequence=1)).message
    assert isinstance(decoded, CreateSessionResponse)
    assert type(decoded.cause.value) is int


def test_repr_shows_what_is_there() -> None:
    assert repr(DeleteSessionRequest(linked_ebi=5)) == "DeleteSessionRequest(linked_ebi=5)"
    assert isinstance(DeleteSessionRequest(), Group)
