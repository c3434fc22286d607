"""What a user-plane function is told to do with packets, in the shapes of PFCP (TS 29.244 clause 5.2).

A :class:`Session` is the user plane of one PDN connection. Its PDRs recognise packets, and each names the FAR that says where they
go, the QERs that may stop them and the URRs that count them. The same shapes serve the SGW (tunnel to tunnel), the PGW (tunnel
to SGi) and the eNodeB (radio to tunnel); they carry over to PFCP on the wire without translation.

"Uplink" is what comes from :attr:`Interface.ACCESS`, "downlink" what comes from :attr:`Interface.CORE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

GTPU_PORT = 2152        # TS 29.281 clause 4.4.2.3


class Interface(IntEnum):
    """Which side of the node a packet comes from or goes to (TS 29.244 clause 8.2.2)."""

    ACCESS = 0      # towards the UE: Uu at the eNodeB, S1-U at the SGW, S5/S8-U at the PGW
    CORE = 1        # towards the data network: S1-U at the eNodeB, S5/S8-U at the SGW, SGi at the PGW


class ApplyAction(Flag):
    """What happens to a packet (TS 29.244 clause 8.2.26)."""

    DROP = 1
    FORWARD = 2
    BUFFER = 4
    NOTIFY_CP = 8   # with BUFFER: tell the control plane about the first packet, see ``DownlinkData``
    DUPLICATE = 16  # with FORWARD: a copy of each packet also goes to every one of the FAR's ``duplicates``


class Gate(IntEnum):
    """Gate status (TS 29.244 clause 8.2.7)."""

    OPEN = 0
    CLOSED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FTeid:
    """Fully qualified TEID: a GTP-U tunnel's receiving end (TS 29.244 clause 8.2.3). Allocated by whoever receives on it."""

    teid: int
    address: str        # IPv4 or IPv6 as text; the port is always 2152

    def __str__(self) -> str:
        return f"{self.teid:#010x}@{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UeIpAddress:
    """The UE's addresses in one PDN connection, allocated by the PGW (TS 29.244 clause 8.2.62, TS 29.274 clause 8.14)."""

    ipv4: IPv4Address | None = None
    ipv6_prefix: IPv6Network | None = None      # always a /64

    @classmethod
    def parse(cls, text: str) -> UeIpAddress:
        """``45.45.0.2``, ``2001:db8:1::/64``, or any address inside that prefix."""
        if "/" in text:
            return cls(ipv6_prefix=IPv6Network(text))
        address = ip_address(text)
        if isinstance(address, IPv6Address):
            return cls(ipv6_prefix=IPv6Network((address, 64), strict=False))
        return cls(ipv4=address)


@dataclass(frozen=True, slots=True, kw_only=True)
class SdfFilter:
    """Service data flow filter, seen from the UE: the same filter serves uplink and downlink (TS 29.212 clause 5.3.53).

    "Remote" is the far end in the data network, "local" is the UE. An absent field matches anything.
    """

    remote: IPv4Network | IPv6Network | None = None
    protocol: int | None = None
    remote_ports: tuple[int, int] | None = None     # first and last, both included
    local_ports: tuple[int, int] | None = None

    @classmethod
    def from_flow_description(cls, text: str) -> SdfFilter:
        """Read ``permit out 17 from 10.1.0.0/16 5060 to assigned 4000-4010`` (TS 29.212 clause 5.4.2, RFC 6733 clause 4.3.1).

        The flow is described downlink, so "from" is the remote end. Raises ``ValueError`` for what this form cannot say.
        """
        try:
            return cls._read(text.split())
        except ValueError as error:
            raise ValueError(f"flow description {text!r}: {error}") from error

    @classmethod
    def _read(cls, words: list[str]) -> SdfFilter:
        if words[:2] != ["permit", "out"] or words[3:4] != ["from"] or "to" not in words[4:]:
            raise ValueError("not of the form 'permit out PROTOCOL from ... to ...'")
        to = words.index("to", 4)
        source, destination = words[4:to], words[to + 1:]
        if len(source) not in (1, 2) or len(destination) not in (1, 2):
            raise ValueError("an end of a flow is an address and at most one port or range of ports")
        protocol = None if words[2] == "ip" else int(words[2])
        if protocol is not None and not 0 <= protocol <= 255:
            raise ValueError(f"no IP protocol {words[2]}")
        return cls(
            remote=None if source[0] == "any" else ip_network(source[0], strict=False),
            protocol=protocol,
            remote_ports=_ports(source[1]) if len(source) == 2 else None,
            local_ports=_ports(destination[1]) if len(destination) == 2 else None,
        )


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 0 <= low <= high <= 65535:
        raise ValueError(f"{text!r} is no port or range of ports")
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdr:
    """Packet Detection Rule (TS 29.244 clause 7.5.2.2): the packets of one bearer, in one direction.

    With ``local_f_teid`` it matches G-PDUs received on that tunnel, whose GTP-U header is then removed. Without it, it matches plain
    IP packets from the link connected as ``network_instance``: those to (core) or from (access) ``ue_ip_address``, or all if that is absent.
    With both ``local_f_teid`` and ``ue_ip_address`` from the access side, a G-PDU whose inner source is another address is dropped as spoofed.
    """

    id: int
    precedence: int = 255                   # the lowest value is tried first
    source_interface: Interface
    local_f_teid: FTeid | None = None
    network_instance: str = ""              # the APN on SGi, the IMSI on Uu
    ue_ip_address: UeIpAddress | None = None
    sdf_filters: tuple[SdfFilter, ...] = () # one of them has to match; none: everything matches
    application_id: str | None = None       # only flows in which this application was recognised, see ``Application``
    far_id: int
    qer_ids: tuple[int, ...] = ()
    urr_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """How flows of one application are recognised: what PFCP calls its PFDs (TS 29.244 clauses 6.2.5 and 8.2.39).

    A flow belongs to it when one of ``flows`` fits, or when the name that the flow asks for is one of ``domain_names`` or ends with a
    dot and one of them: TLS server name (RFC 6066), HTTP Host, or the question of a DNS query. The addresses in an answer to such a
    query belong to it too, for as long as the answer may be kept. Until a flow has shown its name it belongs to no application.
    """

    id: str
    domain_names: tuple[str, ...] = ()      # lower case, without a dot at either end
    flows: tuple[SdfFilter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Where a copy goes (Duplicating Parameters, TS 29.244 table 7.5.2.3-3): fields as in :class:`Far`. PFCP can name no link in it."""

    destination_interface: Interface = Interface.CORE
    outer_header_creation: FTeid | None = None
    network_instance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """Forwarding Action Rule (TS 29.244 clause 7.5.2.3)."""

    id: int
    apply_action: ApplyAction
    destination_interface: Interface = Interface.CORE
    # the tunnel's far end, by the GTP-U port of that side, or the only one there is; absent: plain IP to the link ``network_instance``
    outer_header_creation: FTeid | None = None
    network_instance: str = ""
    duplicates: tuple[Duplicate, ...] = ()
    redirect_url: str | None = None                 # HTTP requests are answered with a redirection there, all else is dropped (clause 8.2.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Qer:
    """QoS Enforcement Rule (TS 29.244 clause 7.5.2.5): gates, and the rate that all PDRs naming it may use together.

    A dedicated bearer's MBR has a QER of its own; an APN's AMBR is one that all PDRs of the PDN connection name. Packets above the
    maximum bit rate are dropped; the guaranteed one is for whoever schedules. No rate: no limit.
    """

    id: int
    correlation_id: int | None = None       # QERs of several sessions with the same one share one rate (TS 29.244 clause 8.2.10)
    uplink_gate: Gate = Gate.OPEN
    downlink_gate: Gate = Gate.OPEN
    uplink_mbr_bps: int | None = None
    downlink_mbr_bps: int | None = None
    uplink_gbr_bps: int | None = None
    downlink_gbr_bps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Urr:
    """Usage Reporting Rule (TS 29.244 clause 7.5.2.4): measures the packets of every PDR that names it.

    * **Quotas.** After ``volume_quota_octets`` in both directions together, or ``time_quota_s`` of use, nothing passes any more and one
      :class:`~epc.dataplane.forwarder.UsageReport` says so; the packet that uses the volume up still passes. With a quota of 0 octets the
      first packet asks: it is dropped and makes that report.
    * **Thresholds.** A report is made each time that much more was used since the last report of a threshold; packets go on. ``period_s``
      makes one each period, used or not.
    * **Time of use** starts with a packet and stops ``inactivity_s`` after the last one, that pause included, or when nothing passes any
      more; without ``inactivity_s`` it runs from the first packet on. It is measured if anything here but ``period_s`` is given in seconds.
    * ``quota_holding_time_s`` after the last packet one report says that nobody uses the quota; the quota is then taken back, and the next
      packet asks for a new one.
    * ``application_events``: the first packet of a recognised application raises a report, and the end of its last flow another one.

    A change that gives the URR again grants its quotas and thresholds anew, counted from then on: give it only where that is meant.
    What was measured is never reset by a change.
    """

    id: int
    volume_quota_octets: int | None = None
    volume_threshold_octets: int | None = None
    time_quota_s: float | None = None
    time_threshold_s: float | None = None
    inactivity_s: float | None = None
    quota_holding_time_s: float | None = None
    period_s: float | None = None
    application_events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Packets that were forwarded, and the octets of the users' IP packets: outer headers do not count (TS 29.244 clause 8.2.41).

    ``duration_s`` is the time of use, as the URR measures it; 0 if it measures none.
    """

    uplink_packets: int = 0
    uplink_octets: int = 0
    downlink_packets: int = 0
    downlink_octets: int = 0
    duration_s: float = 0.0

    @property
    def octets(self) -> int:
        return self.uplink_octets + self.downlink_octets

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            uplink_packets=self.uplink_packets + other.uplink_packets,
            uplink_octets=self.uplink_octets + other.uplink_octets,
            downlink_packets=self.downlink_packets + other.downlink_packets,
            downlink_octets=self.downlink_octets + other.downlink_octets,
            duration_s=self.duration_s + other.duration_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The rules of one PDN connection. ``id`` is the SEID, allocated by the control plane, unique within one forwarder."""

    id: int
    pdrs: tuple[Pdr, ...]
    fars: tuple[Far, ...]
    qers: tuple[Qer, ...] = ()
    urrs: tuple[Urr, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChange:
    """A PFCP Session Modification (TS 29.244 clause 7.5.4), all or nothing.

    Rules given here are created, or replace the one that has the same id. A FAR that leaves BUFFER for FORWARD lets the buffered packets go.
    """

    pdrs: tuple[Pdr, ...] = ()
    fars: tuple[Far, ...] = ()
    qers: tuple[Qer, ...] = ()
    urrs: tuple[Urr, ...] = ()
    remove_pdrs: tuple[int, ...] = ()
    remove_fars: tuple[int, ...] = ()
    remove_qers: tuple[int, ...] = ()
    remove_urrs: tuple[int, ...] = ()
    end_markers: tuple[int, ...] = ()       # FARs whose former tunnel gets an End Marker first (SNDEM, TS 29.244 clause 5.2.3.2)


class RuleError(ValueError):
    """Rules that cannot be installed: they contradict each other, or this forwarder has no such interface. Nothing was changed."""
