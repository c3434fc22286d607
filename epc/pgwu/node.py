"""The PGW-U: Sxb towards the PGW-C, S5/S8-U towards the SGW, SGi towards the data networks (TS 23.214 clause 5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import Forwarder, GtpuPort
from epc.dataplane.hosts import Hosts, open_hosts
from epc.dataplane.sgi import Sgi
from epc.node import View
from epc.node.pfcp import PfcpInterface
from epc.pgwu.config import PgwuConfig
from epc.userplane import UserPlaneNode
from epc.userplane.node import ip_resource
from epc.wire.pfcp import SourceInterface, UserPlaneIpResourceInformation


class Pgwu(UserPlaneNode[PgwuConfig]):
    kind = "pgwu"
    config_model = PgwuConfig
    interface = "Sxb"

    async def start(self) -> None:
        self._sgi: list[Sgi] = []
        self._hosts: Hosts | None = None
        await super().start()

    async def stop(self) -> None:
        for sgi in self._sgi:
            await sgi.close()
        if self._hosts is not None:
            await self._hosts.close()
        await super().stop()

    async def open_forwarder(self) -> Forwarder:
        config = self.config
        self.default_network_instance = next(iter(config.networks))
        forwarder = await config.user_plane.open_forwarder(
            self.transport, access=GtpuPort(address=config.s5u.host, interface="S5/S8-U"), buffer_packets=config.buffer_packets,
            first_teid=self.entropy.getrandbits(32) or 1,
        )
        if any(network.server is not None for network in config.networks.values()):
            self._hosts = await open_hosts(config.sgi_hosts, veth=isinstance(forwarder, BpfForwarder))
            for name, network in config.networks.items():
                if network.server is not None:
                    self._sgi.append(
                        await Sgi.open(self._hosts, forwarder, name, (network.ipv4_pool,), server=network.server, name=f"{config.name}-{name}",
                                       services=network.services.services() if network.services else None, mtu_octets=network.mtu_octets))
        return forwarder

    def sx_address(self) -> PfcpInterface:
        return self.config.sxb

    def ip_resources(self) -> Iterable[UserPlaneIpResourceInformation]:
        yield ip_resource(self.config.s5u.host, SourceInterface.ACCESS)

    def views(self) -> Mapping[str, View]:
        return {**super().views(), "sgi": lambda: [sgi.describe() for sgi in self._sgi],
                "certificates": lambda: self.certificate_authorities}

    @property
    def certificate_authorities(self) -> dict[str, str]:
        """What clients of the web servers on SGi must trust, in PEM, by APN."""
        return {sgi.apn: sgi.certificate_authority for sgi in self._sgi if sgi.certificate_authority is not None}

    @property
    def sgi_server(self) -> str | None:
        """Where a phone finds a host that answers."""
        return str(self._sgi[0].server.address.ip) if self._sgi else None
