"""The PGW's configuration file."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from epc.charging import OfflineCharging
from epc.dataplane.hosts import HostKind
from epc.node import NodeConfig, Section
from epc.node.config import Host, Seconds
from epc.node.diameter import DiameterPatience, DiameterPeer
from epc.node.gtpc import GtpcInterface, GtpcSettings, GtpuInterface
from epc.node.pfcp import ControlFunction, UserPlaneKind
from epc.node.sgi import ServicesConfig
from epc.peer.timer import Timer

PUBLIC_NAME_SERVERS = (IPv4Address("8.8.8.8"), IPv4Address("8.8.4.4"))


class ApnConfig(Section):
    """One data network: the addresses that phones get in it, and what they are told about it."""

    ipv4_pool: IPv4Network = Field(description="phones get addresses from here, all but the first, the last and the reserved ones")
    reserved: tuple[IPv4Address, ...] = Field(default=(), description="addresses of the pool that no phone gets, such as a gateway's")
    dns: Annotated[tuple[IPv4Address, ...], Field(max_length=2)] | None = Field(
        default=None, description="name servers that phones are told; default: the server if it serves names, else 8.8.8.8 and 8.8.4.4")
    mtu_octets: Annotated[int, Field(ge=576, le=65535)] = 1400
    server: IPv4Interface | None = Field(
        default=None, description="a server on SGi that answers ping and echoes UDP datagrams at port 7; must be outside the pool")
    services: ServicesConfig | None = Field(default=None, description="what that server offers besides: names, web sites")

    @field_validator("ipv4_pool")
    @classmethod
    def _has_room(cls, pool: IPv4Network) -> IPv4Network:
        if pool.num_addresses < 4:
            raise ValueError("a pool needs a prefix of 30 bits or fewer")
        return pool

    @model_validator(mode="after")
    def _check(self) -> ApnConfig:
        if self.server is not None and self.server.ip in self.ipv4_pool:
            raise ValueError(f"server: {self.server.ip} is an address of the pool")
        if self.services is not None and self.server is None:
            raise ValueError("services: need a server that offers them (server: ADDRESS/PREFIX)")
        for address in self.reserved:
            if address not in self.ipv4_pool:
                raise ValueError(f"reserved: {address} is not in the pool")
        return self

    @property
    def name_servers(self) -> tuple[IPv4Address, ...]:
        """What phones are told (TS 24.008 clause 10.5.6.3)."""
        if self.dns is not None:
            return self.dns
        if self.server is not None and self.services is not None and self.services.dns is not None:
            return (self.server.ip,)
        return PUBLIC_NAME_SERVERS


class GxConfig(DiameterPatience):
    """The policy interface (TS 29.212). Without this section the PGW grants what the HSS subscribed."""

    peers: Annotated[tuple[DiameterPeer, ...], Field(min_length=1)]
    host: Host | None = Field(default=None, description="local address of the connections; default: the system's choice")
    origin_host: str | None = Field(default=None, description="default: the node's name in the origin realm")
    origin_realm: str
    destination_realm: str | None = Field(default=None, description="default: the origin realm")
    tx_s: Seconds = Field(default=3.0, description="how long an answer is awaited")
    on_failure: Literal["terminate", "continue"] = Field(
        default="terminate", description="no PCRF, or a silent one: refuse the session, or grant what the HSS subscribed")

    @property
    def tx(self) -> Timer:
        return Timer("Tx", self.tx_s)


class PgwConfig(NodeConfig):
    """With ``sx: pfcp`` a PGW-U forwards the packets, at the address ``s5u`` (which is its own then), and ``sxb`` tells where it is."""

    s5c: GtpcInterface
    s5u: GtpuInterface
    apns: Annotated[dict[str, ApnConfig], Field(min_length=1)]
    sx: UserPlaneKind = Field(default="in_process", description="who forwards packets: this process, or a PGW-U")
    sxb: ControlFunction | None = Field(default=None, description="needed with sx: pfcp")
    gx: GxConfig | None = None
    offline_charging: OfflineCharging | None = Field(default=None, description="write charging data records; default: none")
    gtp: GtpcSettings = GtpcSettings()
    sgi_hosts: HostKind = Field(default=HostKind.AUTO, description="where the servers on SGi live: auto, namespace or in_process")

    @model_validator(mode="after")
    def _check(self) -> PgwConfig:
        pools = [(name, apn.ipv4_pool) for name, apn in self.apns.items()]
        for index, (name, pool) in enumerate(pools):
            for other, other_pool in pools[:index]:
                if pool.overlaps(other_pool):
                    raise ValueError(f"apns.{name}.ipv4_pool: overlaps that of {other}")
        if self.offline_charging is not None:
            self.offline_charging.directory_in(self.state_directory)
        if self.sx == "pfcp":
            if self.sxb is None:
                raise ValueError("sxb: is missing, and sx is pfcp")
            if any(apn.server is not None or apn.services is not None for apn in self.apns.values()):
                raise ValueError("apns: with sx: pfcp servers stand behind the PGW-U")
        return self

    def apn(self, name: str) -> tuple[str, ApnConfig] | None:
        """The APN's configured name and settings; the operator identifier that a MME may append does not matter (TS 23.003 clause 9.1)."""
        network_identifier = name.lower().split(".mnc", 1)[0]
        for configured, apn in self.apns.items():
            if configured.lower() == network_identifier:
                return configured, apn
        return None
