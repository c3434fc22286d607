"""The structures and numbers of ``gtpu.bpf.c`` as Python sees them."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

from epc.dataplane.forwarder import DropReason

DROP_REASONS = (
    DropReason.SPOOFED_SOURCE, DropReason.NO_MATCHING_RULE, DropReason.GATE_CLOSED, DropReason.FAR_DROP, DropReason.BUFFER_FULL,
    DropReason.RATE_EXCEEDED, DropReason.QUOTA_EXHAUSTED,
)
MAX_FILTERS = 64        # of one TEID or UE address
METERS = 4              # of one rule
MEASUREMENTS = 6
NONE = 0
OUTER_OCTETS = {4: 36, 6: 56}       # by IP version: IP, UDP, GTP-U
HAS_PORTS = 1 << 16     # in what is compared of a flow: after IP version and protocol


class EventKind(IntEnum):
    """What a measurement has come to."""

    QUOTA_USED_UP = 1
    THRESHOLD_REACHED = 2
    USE_BEGAN = 3
    REFUSED = 4


class MeasurementFlag(IntFlag):
    NONE = 0
    QUOTA = 1
    THRESHOLD = 2
    TIME = 4


class Action(IntEnum):
    TO_USER_SPACE = 0
    DISCARD = 1
    TO_TUNNEL = 2
    TO_LINK = 3
    HOLD = 4


class RuleFlag(IntFlag):
    NONE = 0
    UPLINK = 1
    CHECK_IP = 2
    CHECK_IPV4 = 4
    CHECK_IPV6 = 8
    HAS_IPV4 = 16
    HAS_IPV6 = 32


index_key = struct.Struct("=I").pack
_address = struct.Struct("=I16s")
address = _address.pack             # IP version, octets; the map has two of them
tunnel_key = struct.Struct(">I").pack           # then the port's number
ipv4_key = struct.Struct("=I4s").pack
ipv6_key = struct.Struct("=Q8s").pack
_rule = struct.Struct("=BBHII4s4sI8s4I6I")
rule = _rule.pack
entry_head = struct.Struct("=II").pack
_packet_filter = struct.Struct("=16s16sIIHHHHI4x")
packet_filter = _packet_filter.pack
_next_hop = struct.Struct("=III4x16s16s6s6s4x")
next_hop = _next_hop.pack           # version 0: no outer header
meter_rate = struct.Struct("=QQ")
meter_state = struct.Struct("=Q")
METER_OCTETS, METER_STATE_AT = 32, 16
packets_left = struct.Struct("=q")
measurement = struct.Struct("=qqQIIIxxxx")
measurement_octets = struct.Struct("=qq")       # its beginning: what is left of the quota, and of the threshold
LAST_PACKET_AT, TELL_USE_AT, TELL_REFUSAL_AT = 16, 28, 32
last_packet_ns = struct.Struct("=Q")
flag = struct.Struct("=I")
count = struct.Struct("=QQ")
event = struct.Struct("=II").unpack

VALUE_OCTETS = {        # by map: a program with other structures cannot be used
    "ports": 2 * _address.size, "tunnels": 8 + _rule.size, "ues_ipv4": 8 + _rule.size, "ues_ipv6": 8 + _rule.size, "rules": _rule.size,
    "filters": _packet_filter.size, "next_hops": _next_hop.size, "meters": METER_OCTETS, "measurements": measurement.size,
}
