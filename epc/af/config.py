"""The application function's configuration file."""

from __future__ import annotations

from pydantic import Field

from epc.node import NodeConfig, Section
from epc.node.diameter import DiameterListen, DiameterPatience, DiameterPeer


class AfRxConfig(DiameterPatience, Section):
    """Where the PCRF, or an agent that leads to it, is found."""

    listen: tuple[DiameterListen, ...] = ()
    peers: tuple[DiameterPeer, ...] = ()
    destination_realm: str = Field(default="", description="the PCRF's; default: the own one")


class AfConfig(NodeConfig):
    origin_host: str = Field(min_length=1, description="Diameter identity, e.g. af.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: str = Field(min_length=1, description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    application: str = Field(default="", description="AF-Application-Identifier of requests that do not name one")
    rx: AfRxConfig = AfRxConfig()
