"""State that every node shows in the same form: who it is connected with, and how patient it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pydantic import BaseModel

from epc.dataplane.forwarder import UserPlane
from epc.node.config import NodeConfig
from epc.node.diameter import DiameterPatience
from epc.node.metrics import NodeMetrics
from epc.transport.diameter import DiameterNode
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.impairment import Impairments


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociatedPeer:
    """The other end of an SCTP association, a Diameter connection or a GTP-C path."""

    interface: str      # reference point
    peer: str           # what it calls itself, else its address
    address: str
    state: str
    is_up: bool
    pending_requests: int = 0       # of Diameter: sent and not yet answered


def diameter_peers(interface: str, node: DiameterNode) -> Iterator[AssociatedPeer]:
    for peer in node.peers():
        yield AssociatedPeer(
            interface=interface, peer=peer.host or peer.remote, address=peer.remote, state=peer.state, is_up=peer.is_usable,
            pending_requests=peer.pending_requests)


def gtp_paths(interface: str, endpoint: GtpcEndpoint) -> Iterator[AssociatedPeer]:
    for path in endpoint.machine.describe_paths():
        host, is_up = str(path["peer"]), bool(path["up"])
        yield AssociatedPeer(interface=interface, peer=host, address=host, state="up" if is_up else "down", is_up=is_up)


def describe_impairments(impairments: Impairments) -> list[dict[str, object]]:
    """The bad links of a node, in words of its configuration."""
    return [
        {
            "peers": sorted(each.peers), "interface": each.interface or "any", "incoming": each.incoming, "delay_ms": 1000 * each.link.delay_s,
            "jitter_ms": 1000 * each.link.jitter_s, "loss": f"{100 * each.link.loss:g}%", "duplicate": f"{100 * each.link.duplication:g}%",
            "reorder": f"{100 * each.link.reordering:g}%", **asdict(impairments.fates(each)),
        } for each in impairments.rules]


def count_user_plane(metrics: NodeMetrics, forwarder: UserPlane) -> None:
    """Packets, octets and drops of a forwarder among the node's metrics."""

    def usage(what: str) -> dict[tuple[str, ...], float]:
        now = asdict(forwarder.statistics().usage)
        return {(direction,): now[f"{direction}_{what}"] for direction in ("uplink", "downlink")}

    metrics.counters("user_plane_packets", "User packets forwarded", ("direction",), lambda: usage("packets"))
    metrics.counters("user_plane_octets", "Octets of user packets forwarded", ("direction",), lambda: usage("octets"))
    metrics.counters("user_plane_drops", "User packets dropped", ("reason",),
                     lambda: {(reason.value,): count for reason, count in forwarder.statistics().drops.items()})


def configured_timers(config: NodeConfig) -> list[dict[str, object]]:
    """Every duration of a node's configuration, and those that its Diameter profile stands for."""
    return list(_timers(config, ""))


def _timers(section: BaseModel, prefix: str) -> Iterator[dict[str, object]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _timers(value, f"{prefix}{name}.")
        elif name.endswith("_s"):
            yield {"timer": f"{prefix}{name}", "seconds": value, "meaning": field.description or ""}
    if isinstance(section, DiameterPatience):
        for name, seconds in asdict(section.peer_timers).items():
            yield {"timer": f"{prefix}{name}", "seconds": seconds, "meaning": f"of the profile {section.timers!r}"}
