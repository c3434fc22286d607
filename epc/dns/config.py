"""The DNS server's configuration file: its zones, and whom it asks about others."""

from __future__ import annotations

from typing import Annotated

import dns.exception
import dns.name
from pydantic import AfterValidator, Field, model_validator

from epc.dns.zones import parse_zone
from epc.node.config import Host, NodeConfig, Port, Seconds, Section
from epc.transport.dns import DNS_PORT
from epc.transport.interface import Address


def _domain(text: str) -> str:
    try:
        return str(dns.name.from_text(text).canonicalize())
    except dns.exception.DNSException as error:
        raise ValueError(f"no domain name: {error}") from None


DomainName = Annotated[str, AfterValidator(_domain)]


class DnsEndpoint(Section):
    """Where the server listens, over UDP and TCP, or where another one is asked."""

    host: Host
    port: Port = DNS_PORT

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class ZoneSection(Section):
    """A zone that this server is the authority for."""

    name: DomainName = Field(description="its origin, such as epc.mnc001.mcc001.3gppnetwork.org")
    records: str = Field(description="lines of a master file (RFC 1035 clause 5): NAME [TTL] TYPE DATA; names without a last dot are in the zone")
    ttl_s: int = Field(default=60, ge=0, le=2**31 - 1, description="of records that have none of their own, and of negative answers")

    @model_validator(mode="after")
    def _check(self) -> ZoneSection:
        parse_zone(self.name, self.records, self.ttl_s)
        return self


class ForwardSection(Section):
    """Questions about names in ``zone`` go to ``servers``, in their order: the other operators', over GRX or IPX (GSMA IR.67)."""

    zone: DomainName = "."
    servers: Annotated[tuple[DnsEndpoint, ...], Field(min_length=1)]


class DnsConfig(NodeConfig):
    listen: Annotated[tuple[DnsEndpoint, ...], Field(min_length=1)]
    zones: tuple[ZoneSection, ...] = ()
    forward: tuple[ForwardSection, ...] = Field(default=(), description="the longest zone that fits decides")
    forward_host: Host | None = Field(default=None, description="local address of questions that are forwarded; default: the first of listen")
    timeout_s: Seconds = Field(default=0.8, description="how long another server's answer is awaited")
    attempts: int = Field(default=2, ge=1, le=10, description="rounds over a zone's servers")

    @model_validator(mode="after")
    def _once(self) -> DnsConfig:
        for what, names in (("zones", [zone.name for zone in self.zones]), ("forward", [forward.zone for forward in self.forward])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what}: the same name twice")
        return self
