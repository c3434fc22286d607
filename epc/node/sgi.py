"""What a PGW's or PGW-U's configuration says of the servers on SGi."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from epc.dataplane.sgi import DnsService, NatService, Services, WebService
from epc.node.config import Port, Section

_NAME = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?")


def _host_name(text: str) -> str:
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise ValueError("not a host name, nor one with *. before it")
    return text


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


HostName = Annotated[str, AfterValidator(_host_name)]
Addresses = Annotated[tuple[IPv4Address, ...], BeforeValidator(_several)]


class DnsConfig(Section):
    """A name server at the server's address, port 53 of UDP and TCP; phones learn of it when they attach."""

    names: dict[HostName, Addresses] = Field(
        default={}, description="host name, or *.domain for any name below it, to address or addresses; the server gets those in its network")
    ttl_s: int = Field(default=60, ge=0, le=86400)
    forward: tuple[IPv4Address, ...] = Field(
        default=(), description="name servers that are asked for every other name; SGi must have a way to them: see nat")


class WebConfig(Section):
    """Web servers for every host name at every address of the server; /octets/N is a page of N octets."""

    sites: dict[HostName, str] = Field(
        default={}, description="host name, or *.domain, to the text of its pages; other names get a page that says where one is")
    http_port: Port | None = 80
    https_port: Port | None = Field(default=443, description="with certificates of a CA of its own")
    ca_file: Path | None = Field(default=None, description="write that CA's certificate (PEM) there; the node's view `certificates` has it too")


class NatConfig(Section):
    """Phones get out to this machine's networks, behind its address. Takes root; without it phones get no further than the server."""

    interface: str | None = Field(default=None, min_length=1, max_length=15, description="device to leave by; default: as the routes say")


class ServicesConfig(Section):
    """What the server on SGi offers besides ping and echo."""

    dns: DnsConfig | None = None
    web: WebConfig | None = None
    nat: bool | NatConfig = Field(default=False, description="true, or {interface: eth0}")

    @property
    def _nat(self) -> NatService | None:
        if isinstance(self.nat, NatConfig):
            return NatService(interface=self.nat.interface)
        return NatService() if self.nat else None

    def services(self) -> Services:
        return Services(
            nat=self._nat,
            dns=None if self.dns is None else DnsService(names=self.dns.names, ttl_s=self.dns.ttl_s, forward_to=self.dns.forward),
            web=None if self.web is None else WebService(
                sites=self.web.sites, http_port=self.web.http_port, https_port=self.web.https_port, ca_file=self.web.ca_file))
