"""What peers must agree on (wire), what is local (engine), and how patient an association is (profile)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

UDP_ENCAPSULATION_PORT = 9899
"""RFC 6951 clause 5.1."""


class Wire(Enum):
    """How SCTP packets travel; both peers must use the same."""

    IP = "ip"       # IP protocol 132
    UDP = "udp"     # inside UDP, RFC 6951


class Engine(Enum):
    """Who runs the SCTP state machine; the peer cannot tell."""

    AUTO = "auto"
    KERNEL = "kernel"
    USRSCTP = "usrsctp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Protocol parameters of RFC 9260 clause 16."""

    rto_initial_ms: int
    rto_min_ms: int
    rto_max_ms: int
    heartbeat_ms: int
    sack_delay_ms: int
    association_max_retransmissions: int
    path_max_retransmissions: int
    init_attempts: int
    mtu: int = 1400             # of the SCTP packet; leaves room for UDP, IP and a tunnel


LAB = Profile(
    rto_initial_ms=400, rto_min_ms=200, rto_max_ms=2000, heartbeat_ms=5000, sack_delay_ms=50,
    association_max_retransmissions=6, path_max_retransmissions=6, init_attempts=32,
)
"""Quick to notice trouble: a lost packet costs 200 ms, a silent peer with data outstanding is given up after some 9 s."""

SPECIFICATION = Profile(
    rto_initial_ms=1000, rto_min_ms=1000, rto_max_ms=60000, heartbeat_ms=30000, sack_delay_ms=200,
    association_max_retransmissions=10, path_max_retransmissions=5, init_attempts=8,
)
"""The values of RFC 9260, which TS 36.412 clause 7 builds on."""

PROFILES = {"lab": LAB, "3gpp": SPECIFICATION}


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpSettings:
    """How a node does SCTP."""

    wire: Wire = Wire.UDP                                   # on which associations are opened
    engine: Engine = Engine.AUTO
    profile: Profile = LAB
    listen_wires: tuple[Wire, ...] | None = None            # None: on both, as far as this host allows
    udp_port: int = UDP_ENCAPSULATION_PORT                  # where servers hear SCTP in UDP
    remote_udp_port: int = UDP_ENCAPSULATION_PORT           # where peers hear it
    outbound_streams: int = 16
    inbound_streams: int = 64
    send_queue_limit_octets: int = 8 << 20                  # a peer that leaves this much unread is dead
    message_limit_octets: int = 1 << 20                     # a peer that sends a longer user message is broken
