"""SDF filters: flow descriptions as Gx carries them, and the fields they look at."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from epc.dataplane.flow import Flow, compile_filter, flow_of
from epc.dataplane.rules import SdfFilter, UeIpAddress

Packet = Callable[..., bytes]


@pytest.mark.parametrize(("text", "expected"), [
    ("permit out ip from any to assigned", SdfFilter()),
    ("permit out 17 from 10.1.0.0/16 5060 to assigned 4000-4010",
     SdfFilter(remote=IPv4Network("10.1.0.0/16"), protocol=17, remote_ports=(5060, 5060), local_ports=(4000, 4010))),
    ("permit out 6 from 192.0.2.1 to 45.45.0.2 80", SdfFilter(remote=IPv4Network("192.0.2.1/32"), protocol=6, local_ports=(80, 80))),
    ("permit out ip from 2001:db8::/32 to any", SdfFilter(remote=IPv6Network("2001:db8::/32"))),
])
def test_flow_descriptions(text: str, expected: SdfFilter) -> None:
    assert SdfFilter.from_flow_description(text) == expected


@pytest.mark.parametrize("text", [
    "", "permit", "deny out ip from any to any", "permit in ip from any to any", "permit out ip from any", "permit out 256 from any to any",
    "permit out ip from 10.0.0.0/40 to any", "permit out 17 from any 70000 to any", "permit out 17 from any 9-5 to any",
    "permit out ip from a b c to any", "permit out tcp from any to any", "permit out ip from any 1,2 to any",
])
def test_flow_descriptions_that_say_something_else_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="flow description"):
        SdfFilter.from_flow_description(text)


def test_flow_is_seen_from_the_ue_in_both_directions(ipv4: Packet, ipv6: Packet) -> None:
    up, down = ipv4("45.45.0.2", "10.1.2.3", sport=1000, dport=53), ipv4("10.1.2.3", "45.45.0.2", sport=53, dport=1000)
    expected = Flow(version=4, remote=0x0A010203, protocol=17, remote_port=53, local_port=1000)
    assert flow_of(up, 0, uplink=True) == expected
    assert flow_of(b"12345678" + down, 8, uplink=False) == expected
    up = ipv6("2001:db8:1::2", "2001:db8:9::1", sport=1000, dport=53)
    assert flow_of(up, 0, uplink=True) == Flow(6, int(IPv6Address("2001:db8:9::1")), 17, 53, 1000)


def test_ports_behind_ipv6_extension_headers_and_none_in_later_fragments(ipv4: Packet, ipv6: Packet) -> None:
    packet = ipv6("2001:db8:1::2", "2001:db8:9::1", sport=1000, dport=53)

    def extended(first: int, headers: bytes) -> bytes:
        return packet[:4] + struct.pack(">HB", len(packet) - 40 + len(headers), first) + packet[7:40] + headers + packet[40:]

    hop_by_hop, fragment_0, fragment_1 = b"\x2c\0\1\4\0\0\0\0", b"\x11\0\0\1\0\0\0\1", b"\x11\0\0\x09\0\0\0\1"
    flow = flow_of(extended(0, hop_by_hop + fragment_0), 0, uplink=True)
    assert flow is not None
    assert (flow.protocol, flow.remote_port, flow.local_port) == (17, 53, 1000)
    flow = flow_of(extended(0, hop_by_hop + fragment_1), 0, uplink=True)
    assert flow is not None
    assert (flow.protocol, flow.remote_port, flow.local_port) == (17, -1, -1)
    later = ipv4("45.45.0.2", "10.1.2.3")
    later = later[:6] + b"\x00\x10" + later[8:]
    flow = flow_of(later, 0, uplink=True)
    assert flow is not None
    assert (flow.remote_port, flow.local_port) == (-1, -1)


def test_cut_packets_have_no_flow_or_no_ports(ipv4: Packet, ipv6: Packet) -> None:
    for packet in (ipv4("45.45.0.2", "10.1.2.3"), ipv6("2001:db8:1::2", "2001:db8:9::1")):
        for length in range(len(packet)):
            flow = flow_of(packet[:length], 0, uplink=True)
            header = 20 if packet[0] == 0x45 else 40
            assert (flow is None) == (length < header)
            assert flow is None or (flow.remote_port == -1) == (length < header + 4)


@pytest.mark.parametrize(("sdf", "matches"), [
    (SdfFilter(), True),
    (SdfFilter(protocol=17), True),
    (SdfFilter(protocol=6), False),
    (SdfFilter(remote=IPv4Network("10.1.0.0/16")), True),
    (SdfFilter(remote=IPv4Network("10.2.0.0/16")), False),
    (SdfFilter(remote=IPv6Network("::/0")), False),
    (SdfFilter(remote=IPv4Network("0.0.0.0/0")), True),
    (SdfFilter(remote_ports=(53, 53), local_ports=(1000, 2000)), True),
    (SdfFilter(remote_ports=(54, 60)), False),
    (SdfFilter(local_ports=(0, 999)), False),
])
def test_filters(sdf: SdfFilter, matches: bool) -> None:
    assert compile_filter(sdf).matches(Flow(4, 0x0A010203, 17, 53, 1000)) is matches


def test_packet_without_ports_matches_only_filters_without_ports() -> None:
    flow = Flow(4, 0x0A010203, 17, -1, -1)
    assert compile_filter(SdfFilter(protocol=17)).matches(flow)
    assert not compile_filter(SdfFilter(remote_ports=(0, 65535))).matches(flow)


def test_ue_addresses_as_text() -> None:
    assert str(UeIpAddress.parse("45.45.0.2").ipv4) == "45.45.0.2"
    assert UeIpAddress.parse("2001:db8:1::/64") == UeIpAddress.parse("2001:db8:1::7")
    with pytest.raises(ValueError, match="nonsense"):
        UeIpAddress.parse("nonsense")
