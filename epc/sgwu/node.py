"""The SGW-U: Sxa towards the SGW-C, S1-U towards the eNodeB, S5/S8-U towards the PGW (TS 23.214 clause 5.2)."""

from __future__ import annotations

from collections.abc import Iterable

from epc.dataplane.forwarder import Forwarder, GtpuPort
from epc.node.pfcp import PfcpInterface
from epc.sgwu.config import SgwuConfig
from epc.userplane import UserPlaneNode
from epc.userplane.node import ip_resource
from epc.wire.pfcp import SourceInterface, UserPlaneIpResourceInformation


class Sgwu(UserPlaneNode[SgwuConfig]):
    kind = "sgwu"
    config_model = SgwuConfig
    interface = "Sxa"

    async def open_forwarder(self) -> Forwarder:
        config = self.config
        return await config.user_plane.open_forwarder(
            self.transport, access=GtpuPort(address=config.s1u.host, interface="S1-U"), core=GtpuPort(address=config.s5u.host, interface="S5/S8-U"),
            buffer_packets=config.buffer_packets, first_teid=self.entropy.getrandbits(32) or 1,
        )

    def sx_address(self) -> PfcpInterface:
        return self.config.sxa

    def ip_resources(self) -> Iterable[UserPlaneIpResourceInformation]:
        yield ip_resource(self.config.s1u.host, SourceInterface.ACCESS)
        yield ip_resource(self.config.s5u.host, SourceInterface.CORE)
