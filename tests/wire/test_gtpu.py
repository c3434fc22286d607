"""GTP-U: golden octets, what holds for every packet, and what a decoder must survive."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epc.wire import gtpu
from epc.wire.errors import WireError

PROFILE = settings(max_examples=300, deadline=None)

GOLDEN: dict[str, tuple[gtpu.Packet, str]] = {
    "G-PDU": (
        gtpu.Packet(message=gtpu.GPdu(payload=bytes.fromhex("45000014")), teid=0x12345678),
        "30 ff 00 04  12 34 56 78  45 00 00 14",
    ),
    "G-PDU with sequence number and PDCP PDU number": (
        gtpu.Packet(message=gtpu.GPdu(payload=b"\x45"), teid=1, sequence=0x0102, extension_headers=(gtpu.pdcp_pdu_number(0x0ABC),)),
        "36 ff 00 09  00 00 00 01  01 02 00 c0  01 0a bc 00  45",
    ),
    "chain of extension headers": (
        gtpu.Packet(
            message=gtpu.GPdu(payload=b""), teid=1,
            extension_headers=(gtpu.service_class_indicator(9), gtpu.ran_container(b"\x10\x00\x01"), gtpu.long_pdcp_pdu_number(0x3FFFF)),
        ),
        """
        34 ff 00 18  00 00 00 01  00 00 00 20
        01 09 00 81                 Service Class Indicator, next: RAN Container
        02 10 00 01 00 00 00 82     RAN Container padded to 8 octets, next: Long PDCP PDU Number
        02 03 ff ff 00 00 00 00
        """,
    ),
    "Echo Request": (gtpu.Packet(message=gtpu.EchoRequest(), sequence=7), "32 01 00 04  00 00 00 00  00 07 00 00"),
    "Echo Response": (gtpu.Packet(message=gtpu.EchoResponse(), sequence=7), "32 02 00 06  00 00 00 00  00 07 00 00  0e 00"),
    "Error Indication": (
        gtpu.Packet(
            message=gtpu.ErrorIndication(teid=0xCAFE, peer_address=IPv4Address("10.0.0.2")), sequence=0, extension_headers=(gtpu.udp_port(2152),)
        ),
        """
        36 1a 00 14  00 00 00 00  00 00 00 40
        01 08 68 00                 UDP Port
        10 00 00 ca fe              Tunnel Endpoint Identifier Data I
        85 00 04 0a 00 00 02        GTP-U Peer Address
        """,
    ),
    "Error Indication, IPv6": (
        gtpu.Packet(message=gtpu.ErrorIndication(teid=1, peer_address=IPv6Address("2001:db8::2")), sequence=0),
        "32 1a 00 1c  00 00 00 00  00 00 00 00  10 00 00 00 01  85 00 10 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02",
    ),
    "Supported Extension Headers Notification": (
        gtpu.Packet(message=gtpu.SupportedExtensionHeadersNotification(types=(0x20, 0x40, 0xC0)), sequence=0),
        "32 1f 00 09  00 00 00 00  00 00 00 00  8d 03 20 40 c0",
    ),
    "End Marker": (gtpu.Packet(message=gtpu.EndMarker(), teid=5), "30 fe 00 00  00 00 00 05"),
}


def octets_of(annotated: str) -> bytes:
    return bytes.fromhex("".join(match.group() for line in annotated.splitlines() if (match := re.match(r"(\s*[0-9a-f]{2}\b)*", line))))


def written(packet: gtpu.Packet) -> bytes:
    return gtpu.encode(
        packet.message, teid=packet.teid, sequence=packet.sequence, n_pdu_number=packet.n_pdu_number, extension_headers=packet.extension_headers
    )


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_packet_encodes_to_its_octets(name: str) -> None:
    packet, annotated = GOLDEN[name]
    assert written(packet).hex(" ") == octets_of(annotated).hex(" ")


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_octets_decode_to_the_packet(name: str) -> None:
    packet, annotated = GOLDEN[name]
    assert gtpu.decode(octets_of(annotated)) == packet


u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
contents = st.sampled_from([2, 6, 10, 14]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
headers = st.builds(gtpu.ExtensionHeader, st.integers(1, 255), contents)
user_packets = st.builds(
    gtpu.Packet,
    message=st.builds(gtpu.GPdu, payload=st.binary(max_size=40)) | st.just(gtpu.EndMarker()),
    teid=u32, sequence=st.none() | u16, n_pdu_number=st.none() | u8, extension_headers=st.lists(headers, max_size=3).map(tuple),
)
signalling = st.builds(
    gtpu.Packet,
    message=st.just(gtpu.EchoRequest()) | st.builds(gtpu.EchoResponse, recovery=u8)
    | st.builds(gtpu.ErrorIndication, teid=u32, peer_address=st.builds(IPv4Address, u32))
    | st.builds(gtpu.SupportedExtensionHeadersNotification, types=st.lists(u8, max_size=5).map(tuple)),
    sequence=u16, extension_headers=st.lists(headers, max_size=2).map(tuple),
)


@PROFILE
@given(user_packets | signalling)
def test_round_trip(packet: gtpu.Packet) -> None:
    assert gtpu.decode(written(packet)) == packet


@PROFILE
@given(user_packets | signalling, st.lists(st.tuples(u16, u8), max_size=4), st.integers(0, 20))
def test_mutated_octets_decode_or_raise_wire_error(packet: gtpu.Packet, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(written(packet))
    for position, value in changes:
        mutated[position % len(mutated)] = value
    try:
        gtpu.decode(bytes(mutated[:len(mutated) - cut]))
    except WireError:
        pass


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x30\xff", b"\x36\x1a", b"\x34\xff\x00\x10"]))
def test_random_octets_decode_or_raise_wire_error(octets: bytes, prefix: bytes) -> None:
    try:
        gtpu.decode(prefix + octets)
    except WireError:
        pass


def test_forwarding_header_is_that_of_the_codec() -> None:
    assert gtpu.encode_gpdu_header(0x12345678, 3) + b"abc" == gtpu.encode(gtpu.GPdu(payload=b"abc"), teid=0x12345678)


def test_peek_finds_the_payload_behind_extension_headers() -> None:
    octets = gtpu.encode(gtpu.GPdu(payload=b"abc"), teid=9, extension_headers=(gtpu.pdcp_pdu_number(1),))
    found = gtpu.peek(memoryview(octets))
    assert found == gtpu.Peek(gtpu.MessageType.G_PDU, 9, len(octets) - 3, True)
    assert gtpu.number_in(gtpu.decode(octets).extension_headers[0]) == 1


@pytest.mark.parametrize("octets", ["48200004 00000000 00000000", "20ff0000 00000001", "50ff0000 00000001"])
def test_other_version_or_gtp_prime(octets: str) -> None:
    with pytest.raises(gtpu.VersionNotSupported):
        gtpu.decode(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "octets",
    [
        "30ff0001 00000001",                            # shorter than its length says
        "30ff0000 00000001 00",                         # longer
        "32ff0002 00000001 0000",                       # optional part cut
        "34ff0004 00000001 00000020",                   # chain announced, nothing there
        "34ff0008 00000001 00000020 00000000",          # extension header of no length
        "34ff0008 00000001 00000020 02000000",          # extension header beyond the end
        "321a0009 00000000 00000000 1000000001",        # Error Indication without address
        "30030000 00000000",                            # no such message
    ],
)
def test_broken_packets(octets: str) -> None:
    with pytest.raises(WireError):
        gtpu.decode(bytes.fromhex(octets))


def test_values_that_do_not_fit_raise_wire_error() -> None:
    for wrong in (
        lambda: gtpu.encode(gtpu.GPdu(payload=bytes(65536)), teid=1),
        lambda: gtpu.encode(gtpu.EndMarker(), teid=1 << 32),
        lambda: gtpu.encode(gtpu.EchoRequest(), sequence=65536),
        lambda: gtpu.encode(gtpu.EndMarker(), extension_headers=(gtpu.ExtensionHeader(0xC0, b"\x00"),)),
        lambda: gtpu.pdcp_pdu_number(65536),
    ):
        with pytest.raises(WireError):
            wrong()


def test_comprehension_of_extension_headers_is_in_the_type() -> None:
    assert gtpu.pdcp_pdu_number(1).intermediate_must_understand
    assert gtpu.ran_container(b"").endpoint_must_understand
    assert not gtpu.ran_container(b"").intermediate_must_understand
    assert not gtpu.udp_port(1).endpoint_must_understand
