"""What every node with a Diameter interface may configure: where it listens, whom it connects to, how patient it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from epc.node.config import Host, Port, Section
from epc.peer.diameter import LAB_TIMERS, PeerTimers
from epc.transport.diameter import ListenConfig, PeerConfig
from epc.transport.interface import Address, Carrier

DIAMETER_PORT = 3868        # RFC 6733 clause 2.1


class DiameterListen(Section):
    """Where peers and agents connect to."""

    host: Host
    port: Port = DIAMETER_PORT
    carrier: Literal["tcp", "sctp"] = "tcp"

    @property
    def listen(self) -> ListenConfig:
        return ListenConfig(address=Address(self.host, self.port), carrier=Carrier(self.carrier))


class DiameterPeer(Section):
    """A peer or agent that this node connects to by itself; several are tried in their order."""

    host: Host
    port: Port = DIAMETER_PORT
    carrier: Literal["tcp", "sctp"] = "tcp"
    identity: str = Field(default="", description="the Origin-Host it must have; empty: any")
    default_route: bool = Field(default=False, description="an agent that takes what is for nobody else")

    @property
    def peer(self) -> PeerConfig:
        return PeerConfig(
            address=Address(self.host, self.port), host=self.identity, carrier=Carrier(self.carrier), is_default_route=self.default_route)


class DiameterPatience(Section):
    """Base of a Diameter interface's section."""

    timers: Literal["lab", "3gpp"] = Field(default="lab", description="3gpp: the RFCs' watchdog and reconnection times, half a minute each")

    @property
    def peer_timers(self) -> PeerTimers:
        return LAB_TIMERS if self.timers == "lab" else PeerTimers()


class DiameterServer(DiameterPatience):
    """The section of a node that others connect to: HSS, PCRF."""

    listen: tuple[DiameterListen, ...] = (DiameterListen(host="127.0.0.1"),)
    peers: tuple[DiameterPeer, ...] = ()
    host: Host | None = Field(default=None, description="local address of the connections to peers; default: the system's choice")
    accept_unknown_peers: bool = Field(default=True, description="serve whoever connects, not only those under peers")

    @property
    def local(self) -> Address | None:
        """Where connections to peers come from, port 0; ``None``: the system chooses."""
        return None if self.host is None else Address(self.host, 0)
