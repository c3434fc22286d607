"""Traffic flow templates: golden octets, another implementation's reading of them, and what is wrong with wrong ones."""

from __future__ import annotations

import random
import re
from ipaddress import IPv4Network, IPv6Network

import pytest
from pycrate_mobile.TS24008_IE import TFT

from epc.wire.errors import WireError
from epc.wire.nas import (
    PacketFilter,
    PacketFilterDirection,
    TftOperation,
    TftSyntaxError,
    TrafficFlowTemplate,
    decode_traffic_flow_template,
    encode_traffic_flow_template,
)

GOLDEN = {
    "a new one": (TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=(
        PacketFilter(identifier=0, precedence=10, remote=IPv4Network("192.0.2.0/24"), protocol=17, remote_ports=(5060, 5061),
                     local_ports=(4000, 4000)),
        PacketFilter(identifier=3, direction=PacketFilterDirection.UPLINK_ONLY, precedence=11, remote=IPv6Network("2001:db8::/32"), protocol=6),
    )), """
        22              # create a new TFT, two filters
        30 0a 13        # both directions, filter 0, precedence, length
          10 c0000200 ffffff00   30 11   40 0fa0   51 13c413c5
        23 0b 14        # uplink only, filter 3
          21 20010db8000000000000000000000000 20   30 06
    """),
    "an addition": (TrafficFlowTemplate(operation=TftOperation.ADD_PACKET_FILTERS, filters=(
        PacketFilter(identifier=1, direction=PacketFilterDirection.DOWNLINK_ONLY, precedence=0, type_of_service=(0xB8, 0xFC),
                     security_parameter_index=0x01020304),)), "61  11 00 08  60 01020304  70 b8fc"),
    "a replacement": (TrafficFlowTemplate(operation=TftOperation.REPLACE_PACKET_FILTERS, filters=(
        PacketFilter(identifier=15, precedence=255, flow_label=0x12345, local=IPv4Network("10.45.0.2/32")),)),
        "81  3f ff 0d  11 0a2d0002 ffffffff  80 012345"),
    "a deletion": (TrafficFlowTemplate(operation=TftOperation.DELETE_PACKET_FILTERS, deleted=(0, 5)), "a2 00 05"),
    "the end": (TrafficFlowTemplate(operation=TftOperation.DELETE_EXISTING_TFT), "40"),
    "no operation, with a flow identifier": (TrafficFlowTemplate(
        operation=TftOperation.NO_TFT_OPERATION, parameters=bytes.fromhex("020400010001")), "d0 020400010001"),
}


def octets_of(annotated: str) -> bytes:
    return bytes.fromhex(re.sub(r"#.*", "", annotated))


@pytest.mark.parametrize("name", GOLDEN)
def test_both_ways(name: str) -> None:
    tft, annotated = GOLDEN[name]
    assert encode_traffic_flow_template(tft).hex() == octets_of(annotated).hex()
    assert decode_traffic_flow_template(octets_of(annotated)) == tft


@pytest.mark.parametrize("name", GOLDEN)
def test_pycrate_reads_and_writes_the_same(name: str) -> None:
    octets = octets_of(GOLDEN[name][1])
    other = TFT()
    other.from_bytes(octets)
    assert other.to_bytes() == octets
    assert other["Opcode"].get_val() == GOLDEN[name][0].operation
    assert len(other["PktFilters"].get_val()) == len(GOLDEN[name][0].filters)
    assert len(other["PktFilterIds"].get_val()) == len(GOLDEN[name][0].deleted)


@pytest.mark.parametrize(("octets", "in_packet_filter"), [
    ("", False),                        # nothing
    ("e0", False),                      # a reserved operation
    ("20", False),                      # a new TFT without filters
    ("22 30 0a 02 30 11", False),       # fewer filters than announced
    ("a2 00", False),                   # likewise
    ("41", False),                      # the end of a TFT has no filters
    ("21 30 0a 02 30 11 30 0b 00", False),      # more filters than announced
    ("21 30 0a 05 30 11", False),       # a filter that is cut off
    ("21 30 0a 02 33 11", True),        # an unknown component
    ("21 30 0a 02 40 11", True),        # a component that is cut off
    ("21 30 0a 04 30 11 30 06", True),  # a component given twice
    ("21 30 0a 05 41 00020001", True),  # a range that ends before it begins
    ("21 30 0a 09 10 00000000 ff00ff00", True),     # a mask with holes
    ("21 30 0a 12 21 00000000000000000000000000000000 81", True),
    ("22 30 0a 00 30 0b 00", True),     # two filters with one identifier
])
def test_syntactical_errors(octets: str, in_packet_filter: bool) -> None:
    with pytest.raises(TftSyntaxError) as caught:
        decode_traffic_flow_template(bytes.fromhex(octets))
    assert caught.value.in_packet_filter == in_packet_filter


def test_too_much_for_one_template() -> None:
    def filters(count: int) -> tuple[PacketFilter, ...]:
        return tuple(PacketFilter(identifier=at & 15, precedence=at, remote=IPv4Network("192.0.2.1/32"), protocol=17, remote_ports=(1, 2),
                                  local_ports=(3, 4)) for at in range(count))

    with pytest.raises(WireError):
        encode_traffic_flow_template(TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=filters(16)))
    with pytest.raises(WireError):
        encode_traffic_flow_template(TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=filters(11)))
    assert len(encode_traffic_flow_template(TrafficFlowTemplate(operation=TftOperation.CREATE_NEW_TFT, filters=filters(10)))) == 241


def test_mutated_octets_raise_nothing_else() -> None:
    chance = random.Random(1)
    for tft, annotated in GOLDEN.values():
        octets = octets_of(annotated)
        for _ in range(400):
            mutated = bytearray(octets)
            for _ in range(chance.randint(1, 3)):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            del mutated[chance.randint(1, len(mutated) + 3):]
            try:
                again = decode_traffic_flow_template(bytes(mutated))
            except TftSyntaxError:
                continue
            assert decode_traffic_flow_template(encode_traffic_flow_template(again)) == again
        assert decode_traffic_flow_template(octets) == tft
