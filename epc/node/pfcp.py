"""What every node with a PFCP interface needs: its settings, and who its associated peers are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator

from epc.node.config import Host, Port, Seconds, Section
from epc.node.state import AssociatedPeer
from epc.peer.pfcp import PfcpTimers
from epc.peer.timer import Timer
from epc.transport.interface import Address
from epc.transport.pfcp import PFCP_PORT, PfcpEndpoint


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
