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
QUOTAS = 2
NONE = 0
OUTER_OCTETS = 36       # IPv4, UDP, GTP-U
QUOTA_REACHED = 1       # the only kind of event


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


class FilterFlag(IntFlag):
    NONE = 0
    REMOTE_PORTS = 1
    LOCAL_PORTS = 2
    ANY_PROTOCOL = 4


index_key = struct.Struct("=I").pack
ports = struct.Struct("=4s4s").pack
tunnel_key = struct.Struct(">I").pack           # then the port's number
ipv4_key = struct.Struct("=I4s").pack
ipv6_key = struct.Struct("=Q8s").pack
rule = struct.Struct("=BBHII4s4sI8s4I2I").pack
entry_head = struct.Struct("=II").pack
packet_filter = struct.Struct("=BBBx16s16sHHHHI").pack
next_hop = struct.Struct("=II4s4s6s6s4x").pack
meter_rate = struct.Struct("=QQ")
meter_state = struct.Struct("=Q")
METER_OCTETS, METER_STATE_AT = 32, 16
octets_left = struct.Struct("=q")
count = struct.Struct("=QQ")
event = struct.Struct("=II").unpack
