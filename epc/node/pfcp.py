"""What every node with a PFCP interface needs: its settings, and who its associated peers are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from epc.dataplane.pfcp_forwarder import PfcpForwarder
from epc.dataplane.rules import Interface
from epc.node.config import Host, Port, Seconds, Section
from epc.node.node import Node
from epc.node.state import AssociatedPeer
from epc.peer.pfcp import PfcpTimers
from epc.peer.timer import Timer
from epc.transport.interface import Address
from epc.transport.pfcp import PFCP_PORT, PfcpEndpoint
from epc.wire.pfcp import ntp_seconds


class PfcpInterface(Section):
    """Our own end of a PFCP interface; peers see this address in F-SEIDs."""

    host: Host
    port: Port = PFCP_PORT

    @field_validator("host")
    @classmethod
    def _is_usable(cls, host: str) -> str:
        if host in ("0.0.0.0", "::"):
            raise ValueError("peers need an address that they can send to")
        return host

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class PfcpSettings(Section):
    """Reliable delivery (TS 29.244 clause 6.4), heartbeats (clause 6.2.2) and associations (clause 6.2.6)."""

    t1_s: Seconds = Field(default=3.0, description="time to an answer, T1")
    n1_requests: Annotated[int, Field(ge=1, le=10)] = Field(default=3, description="how often a request is sent in all, N1")
    heartbeat_interval_s: Annotated[float, Field(ge=1)] | None = Field(default=60.0, description="null: no Heartbeat Requests")
    association_retry_s: Seconds = Field(default=2.0, description="from one attempt to set up an association to the next")

    @property
    def timers(self) -> PfcpTimers:
        return PfcpTimers(
            t1=Timer("T1", self.t1_s, self.n1_requests - 1), heartbeat_interval_s=self.heartbeat_interval_s,
            association_retry_s=self.association_retry_s,
        )


def pfcp_peers(interface: str, endpoint: PfcpEndpoint) -> Iterator[AssociatedPeer]:
    for association in endpoint.machine.associations():
        yield AssociatedPeer(
            interface=interface, peer=str(association.node_id), address=str(Address(*association.peer)),
            state="up" if association.is_reachable else "silent", is_up=association.is_reachable,
        )


class PfcpPeer(Section):
    """A user-plane function."""

    host: Host
    port: Port = PFCP_PORT


class ControlFunction(PfcpInterface):
    """Our end of Sxa or Sxb, and the SGW-U or PGW-U whose control function we are (TS 23.214 clause 5).

    ``settings`` should give up sooner than who waits for us on S11 or S5/S8.
    """

    peer: PfcpPeer
    settings: PfcpSettings = PfcpSettings(t1_s=1.0)
    usage_period_s: Annotated[int, Field(ge=1)] | None = Field(
        default=60, description="how often the usage of every session is reported; null: at its end")


UserPlaneKind = Literal["in_process", "pfcp"]


async def open_pfcp_forwarder(node: Node[Any], function: ControlFunction, *, interface: str, tunnels: Mapping[Interface, str]) -> PfcpForwarder:
    """``tunnels`` are the user-plane function's GTP-U addresses."""
    return await PfcpForwarder.open(
        node.transport, function.address, Address(function.peer.host, function.peer.port), interface=interface, tunnels=tunnels,
        recovery_time_stamp_ntp=ntp_seconds(node.clock()), timers=function.settings.timers, observer=node.metrics,
        first_teid=node.entropy.getrandbits(32), first_sequence=node.entropy.getrandbits(24), usage_period_s=function.usage_period_s,
    )
