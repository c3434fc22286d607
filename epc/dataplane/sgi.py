"""SGi: the data network behind a PGW (TS 29.061 clause 11): a server that answers ping and echoes UDP datagrams, and what it serves besides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from epc.dataplane.forwarder import Forwarder
from epc.dataplane.hosts import Hosts
from epc.dataplane.ip_endpoint import UDP_ECHO_PORT, IpHost, UdpSocket, serve_udp_echo
from epc.dataplane.namespace_host import NamespaceHost

if TYPE_CHECKING:
    from epc.dataplane.nat import Nat
    from epc.dataplane.services.dns import NameServer
    from epc.dataplane.services.web import WebServer

log = logging.getLogger(__name__)

SERVER = IPv4Interface("10.200.0.1/24")


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsService:
    """``names`` as :class:`~epc.dataplane.services.dns.NameServer` takes them."""

    names: Mapping[str, tuple[IPv4Address, ...]]
    ttl_s: int = 60
    forward_to: tuple[IPv4Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebService:
    """``sites`` as :class:`~epc.dataplane.services.web.WebServer` takes them; a port of ``None`` is not served."""

    sites: Mapping[str, str]
    http_port: int | None = 80
    https_port: int | None = 443
    ca_file: Path | None = None         # where the certificate that clients must trust is written


@dataclass(frozen=True, slots=True, kw_only=True)
class NatService:
    """``interface``: the device of this machine to leave by; by default whichever its routes say."""

    interface: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server on SGi offers besides echo, and whether phones get out past it."""

    dns: DnsService | None = None
    web: WebService | None = None
    nat: NatService | None = None


class Sgi:
    """One APN's data network. Make one with :meth:`open`."""

    def __init__(self, apn: str, forwarder: Forwarder, server: IpHost, echo: UdpSocket) -> None:
        self.apn = apn
        self.server = server
        self.echo_port = echo.port
        self.addresses: list[IPv4Address] = [server.address.ip]
        self.name_server: NameServer | None = None
        self.web_server: WebServer | None = None
        self.outside = ""               # how phones get out, or why they do not; empty: nobody asked for it
        self._nat: Nat | None = None
        self._forwarder = forwarder
        self._echo = echo

    @classmethod
    async def open(
        cls, hosts: Hosts, forwarder: Forwarder, apn: str, ue_pools: Sequence[IPv4Network], *, server: IPv4Interface = SERVER, name: str = "sgi",
        services: Services | None = None, mtu_octets: int | None = None,
    ) -> Sgi:
        """A server at the end of the PGW's SGi link, which is connected as network instance ``apn``; raises ``OSError``.

        Packets for phones that are longer than ``mtu_octets`` are fragmented or refused by ICMP; where it is absent, all pass.

        The server has every address of its network that ``services`` gives a name to.
        """
        host = await hosts.open(name, server, routes=ue_pools)
        sgi = cls(apn, forwarder, host, await serve_udp_echo(host, UDP_ECHO_PORT))
        forwarder.connect(apn, host.link, mtu_octets=mtu_octets)
        try:
            await sgi._serve(services or Services())
        except BaseException:
            await sgi.close()
            raise
        return sgi

    async def _serve(self, services: Services) -> None:
        """What nobody asks for is not even loaded."""
        if services.dns is not None:
            from epc.dataplane.services.dns import NameServer

            named = sorted({address for addresses in services.dns.names.values() for address in addresses})
            for address in named:
                if address in self.server.address.network and address not in self.addresses:
                    await self.server.add_address(address)
                    self.addresses.append(address)
            self.name_server = NameServer(services.dns.names, ttl_s=services.dns.ttl_s, forward_to=services.dns.forward_to)
            await self.name_server.serve(self.server)
        if services.web is not None:
            from epc.dataplane.services.web import WebServer

            self.web_server = WebServer(
                self.apn, services.web.sites, http_port=services.web.http_port, https_port=services.web.https_port)
            if services.web.ca_file is not None:
                services.web.ca_file.write_text(self.web_server.authority.pem)
            await self.web_server.serve(self.server)

        if services.nat is not None:
            await self._open_nat(services.nat)

    async def _open_nat(self, wanted: NatService) -> None:
        from epc.dataplane.nat import Nat, NatUnavailable

        try:
            if not isinstance(self.server, NamespaceHost):
                raise NatUnavailable(0, "the server on SGi lives inside this process")
            self._nat = await Nat.open(self.server.namespace, interface=wanted.interface)
        except NatUnavailable as error:
            self.outside = f"no way out: {error.strerror or error}"
            log.warning("phones on %s get no further than SGi, nat is not possible here: %s", self.apn, error.strerror or error)
        else:
            self.outside = f"nat to {wanted.interface or 'wherever the routes lead'}"

    @property
    def certificate_authority(self) -> str | None:
        """What clients of the web server must trust, in PEM."""
        return None if self.web_server is None else self.web_server.authority.pem

    def describe(self) -> dict[str, object]:
        """For views."""
        shown: dict[str, object] = {"apn": self.apn, "name": self.server.name, "addresses": [str(address) for address in self.addresses]}
        if self.name_server is not None:
            shown |= {"dns_queries": self.name_server.queries, "dns_unknown_names": self.name_server.unknown_names}
        if self.web_server is not None:
            shown |= {"web_requests": dict(self.web_server.requests)}
        if self.outside:
            shown["outside"] = self.outside
        return shown

    async def close(self) -> None:
        if self._nat is not None:
            await self._nat.close()
        self._forwarder.disconnect(self.apn)
        self._echo.close()
        if self.name_server is not None:
            self.name_server.close()
        if self.web_server is not None:
            self.web_server.close()
        await self.server.close()
