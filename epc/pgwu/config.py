"""The PGW-U's configuration file."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import Annotated

from pydantic import Field, model_validator

from epc.dataplane.hosts import HostKind
from epc.node import Section
from epc.node.gtpc import GtpuInterface
from epc.node.pfcp import PfcpInterface
from epc.node.sgi import ServicesConfig
from epc.userplane import UserPlaneConfig


class NetworkConfig(Section):
    """One data network, which rules name as their network instance: the APN."""

    ipv4_pool: IPv4Network = Field(description="the addresses of the phones, as the PGW-C gives them: SGi routes them here")
    mtu_octets: Annotated[int, Field(ge=576, le=65535)] = Field(
        default=1400, description="longer packets for phones are fragmented, or refused by ICMP")
    server: IPv4Interface | None = Field(
        default=None, description="a server on SGi that answers ping and echoes UDP datagrams at port 7; must be outside the pool")
    services: ServicesConfig | None = Field(default=None, description="what that server offers besides: names, web sites")

    @model_validator(mode="after")
    def _check(self) -> NetworkConfig:
        if self.services is not None and self.server is None:
            raise ValueError("services: need a server that offers them (server: ADDRESS/PREFIX)")
        return self


class PgwuConfig(UserPlaneConfig):
    """Interfaces may share addresses: one for everything is enough."""

    sxb: PfcpInterface
    s5u: GtpuInterface
    networks: dict[str, NetworkConfig] = Field(min_length=1, description="by APN; the first is that of rules that name none")
    sgi_hosts: HostKind = Field(default=HostKind.AUTO, description="where the servers on SGi live: auto, namespace or in_process")
