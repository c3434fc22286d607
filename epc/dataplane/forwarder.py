"""The one interface of the user plane: install rules, read counters, hear events. Back ends are its implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from epc.dataplane.rules import Application, FTeid, Interface, Session, SessionChange, Usage


class DropReason(Enum):
    """Why a packet went no further. The value is the metric's label."""

    TRUNCATED = "truncated"                         # shorter than the headers it announces
    WRONG_LENGTH = "wrong_length"                   # length field and datagram (or inner packet) disagree
    WRONG_VERSION = "wrong_version"                 # GTP version other than 1, or GTP'
    UNKNOWN_MESSAGE = "unknown_message"             # message type that GTP-U does not have
    MALFORMED_ELEMENT = "malformed_element"         # an information element of a signalling message cannot be read
    EXTENSION_HEADER = "extension_header"           # comprehension required, and not known
    UNKNOWN_TEID = "unknown_teid"
    UNKNOWN_UE_ADDRESS = "unknown_ue_address"       # plain IP for nobody here
    SPOOFED_SOURCE = "spoofed_source"               # inner source is not the UE's address
    NOT_IP = "not_ip"                               # inner version neither 4 nor 6
    NO_MATCHING_RULE = "no_matching_rule"           # no PDR of the tunnel or address takes it
    GATE_CLOSED = "gate_closed"
    RATE_EXCEEDED = "rate_exceeded"                 # above a QER's maximum bit rate
    QUOTA_EXHAUSTED = "quota_exhausted"             # a URR's quota is used up or was taken back
    FAR_DROP = "far_drop"                           # the rule says so
    TOO_BIG = "too_big"                             # longer than the MTU and not to be fragmented: ICMP told the sender
    BUFFER_FULL = "buffer_full"
    BUFFER_DISCARDED = "buffer_discarded"           # buffered, then the session went or the rule became DROP
    NO_LINK = "no_link"                             # plain IP link not connected
    UNSENT = "unsent"                               # forwarded, but the system did not take it: no route, a full queue, a device that is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class DownlinkData:
    """A packet arrived for a rule that says BUFFER and NOTIFY_CP: page the UE. Raised once until the FAR is changed."""

    session_id: int
    pdr_id: int
    far_id: int
    dscp: int           # of the user's packet, for Paging Policy Differentiation (TS 23.401 clause 4.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTeid:
    """A G-PDU came for no tunnel of ours; an Error Indication went back unless the TEID was 0 (TS 29.281 clause 7.3.1)."""

    interface: Interface
    peer: str
    teid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorIndication:
    """The peer has no such tunnel: the bearer of this FAR is gone over there (TS 29.281 clause 7.3.1, TS 23.007 clause 22)."""

    session_id: int
    far_id: int
    tunnel: FTeid       # the far end that this FAR sends to


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMarker:
    """No more packets come through this tunnel; the path was switched (TS 29.281 clause 7.3.2). Raised where the tunnel ends."""

    session_id: int
    pdr_id: int


class UsageTrigger(Enum):
    """Why a URR reports (Usage Report Trigger, TS 29.244 clause 8.2.41)."""

    VOLUME_THRESHOLD = "volume_threshold"
    TIME_THRESHOLD = "time_threshold"
    PERIOD = "period"
    VOLUME_QUOTA = "volume_quota"               # from now on packets are dropped
    TIME_QUOTA = "time_quota"                   # likewise
    QUOTA_HOLDING_TIME = "quota_holding_time"   # likewise: nobody used the quota
    APPLICATION_START = "application_start"
    APPLICATION_STOP = "application_stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """A URR says what it has measured, and why now. ``usage`` is everything since the rule was created, not since the last report."""

    session_id: int
    urr_id: int
    trigger: UsageTrigger
    usage: Usage
    application_id: str | None = None           # of an application's start or stop


Event = DownlinkData | UnknownTeid | ErrorIndication | EndMarker | UsageReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Totals since the forwarder was opened; what left with removed sessions is included."""

    sessions: int
    buffered_packets: int
    usage: Usage
    drops: Mapping[DropReason, int]
    error_indications_sent: int
    error_indications_received: int
    echo_requests_received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GtpuPort:
    """One side's GTP-U address, and the reference point that captures show for it."""

    address: str        # the port is always 2152
    interface: str      # "S1-U", "S5/S8-U"


class IpLink(Protocol):
    """Carries plain IP packets: SGi at the PGW, one UE's radio bearers at the eNodeB. A TUN device or an in-process host."""

    on_packet: Callable[[bytes], None]      # set by the forwarder: a packet enters it

    def send(self, packet: bytes) -> None:
        """A packet leaves the forwarder. Never blocks; may drop."""


class UserPlane(Protocol):
    """What a control plane asks of its user plane, be that in this process or behind PFCP.

    It runs on the event loop. ``on_event`` is called on the loop, never from inside ``install``, ``modify`` or ``remove``.
    """

    on_event: Callable[[Event], None]

    def allocate_f_teid(self, interface: Interface) -> FTeid:
        """A tunnel end of ours on that side that is not in use (CHOOSE, TS 29.244 clause 5.5). Nothing to give back."""

    def provision(self, applications: Iterable[Application]) -> None:
        """The applications that PDRs may name: these, and no others (PFD management, TS 29.244 clause 6.2.5).

        One that a PDR names and that is not provisioned has no flows. Flows that are known already are looked at anew.
        """

    def install(self, session: Session) -> None:
        """Raises :class:`RuleError` and changes nothing when the rules cannot hold."""

    def modify(self, session_id: int, change: SessionChange) -> None:
        """Raises :class:`RuleError` and changes nothing when the session is unknown or the result cannot hold."""

    def remove(self, session_id: int) -> Mapping[int, Usage]:
        """Take the session out and return the final usage by URR id. Raises :class:`RuleError` when there is no such session."""

    def session(self, session_id: int) -> Session | None:
        """The rules as they stand."""

    def sessions(self) -> tuple[Session, ...]:
        """Every session, for ``epclab ctl NODE tunnels`` and the invariant checker."""

    def usage(self, session_id: int) -> Mapping[int, Usage]:
        """Usage so far by URR id. Raises :class:`RuleError` when there is no such session."""

    def statistics(self) -> Statistics: ...

    async def close(self) -> None:
        """Stop; links stay open, they belong to whoever made them."""


class Forwarder(UserPlane, Protocol):
    """A user-plane function: SGW-U, PGW-U, or the user plane of an eNodeB."""

    def connect(
        self, network_instance: str, link: IpLink, *, mtu_octets: int | None = None, gateways: Iterable[IPv4Address | IPv6Address] = (),
    ) -> None:
        """Join a plain IP link: an APN's SGi, or one UE's TUN. Rules may name it before it is there; packets are then dropped.

        What comes from the link is fragmented if it is longer than ``mtu_octets``, or refused by ICMP from one of ``gateways`` (by
        default the GTP-U address) if it must not be. What a UE sends to another UE of the same network instance never gets to the link.
        """

    def disconnect(self, network_instance: str) -> None: ...

    async def echo(self, interface: Interface, peer: str, *, timeout_s: float = 3.0, attempts: int = 3) -> float:
        """GTP-U Echo to a peer (TS 29.281 clause 7.2.1): the round-trip time in seconds, or ``TimeoutError``."""
