"""SGi: the data network behind a PGW, here one server that answers ping and echoes UDP datagrams (TS 29.061 clause 11)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network

from epc.dataplane.forwarder import Forwarder
from epc.dataplane.hosts import Hosts
from epc.dataplane.ip_endpoint import UDP_ECHO_PORT, IpHost, UdpSocket, serve_udp_echo

SERVER = IPv4Interface("10.200.0.1/24")


class Sgi:
    """One APN's data network. Make one with :meth:`open`."""

    def __init__(self, apn: str, forwarder: Forwarder, server: IpHost, echo: UdpSocket) -> None:
        self.apn = apn
        self.server = server
        self.echo_port = echo.port
        self._forwarder = forwarder
        self._echo = echo

    @classmethod
    async def open(
        cls, hosts: Hosts, forwarder: Forwarder, apn: str, ue_pools: Sequence[IPv4Network], *, server: IPv4Interface = SERVER, name: str = "sgi",
    ) -> Sgi:
        """A server at the end of the PGW's SGi link, which is connected as network instance ``apn``; raises ``OSError``."""
        host = await hosts.open(name, server, routes=ue_pools)
        sgi = cls(apn, forwarder, host, await serve_udp_echo(host, UDP_ECHO_PORT))
        forwarder.connect(apn, host.link)
        return sgi

    async def close(self) -> None:
        self._forwarder.disconnect(self.apn)
        self._echo.close()
        await self.server.close()
