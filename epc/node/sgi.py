"""What a PGW's or PGW-U's configuration says of the servers on SGi."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from epc.dataplane.sgi import DnsService, Services, WebService
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


class WebConfig(Section):
    """Web servers for every host name at every address of the server; /octets/N is a page of N octets."""

    sites: dict[HostName, str] = Field(
        default={}, description="host name, or *.domain, to the text of its pages; other names get a page that says where one is")
    http_port: Port | None = 80
    https_port: Port | None = Field(default=443, description="with certificates of a CA of its own")
    ca_file: Path | None = Field(default=None, description="write that CA's certificate (PEM) there; the node's view `certificates` has it too")


class ServicesConfig(Section):
    """What the server on SGi offers besides ping and echo."""

    dns: DnsConfig | None = None
    web: WebConfig | None = None

    def services(self) -> Services:
        return Services(
            dns=None if self.dns is None else DnsService(names=self.dns.names, ttl_s=self.dns.ttl_s),
            web=None if self.web is None else WebService(
                sites=self.web.sites, http_port=self.web.http_port, https_port=self.web.https_port, ca_file=self.web.ca_file))
