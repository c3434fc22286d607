"""The SGW's configuration file."""

from __future__ import annotations

from pydantic import Field, model_validator

from epc.charging import OfflineCharging
from epc.node import NodeConfig
from epc.node.gtpc import GtpcInterface, GtpcSettings, GtpuInterface
from epc.node.pfcp import ControlFunction, UserPlaneKind
from epc.node.user_plane import UserPlaneSettings

_S5_TIMERS = GtpcSettings(t3_response_s=2.0)


class SgwConfig(NodeConfig):
    """Interfaces may share addresses: one for everything is enough.

    With ``sx: pfcp`` an SGW-U forwards the packets, at the addresses ``s1u`` and ``s5u`` (which are its own then), and ``sxa`` tells where it is.
    ``gtp_s5`` should give up sooner than the MME does on S11, so that the MME hears of a silent PGW.
    """

    s11: GtpcInterface
    s5c: GtpcInterface
    s1u: GtpuInterface
    s5u: GtpuInterface
    sx: UserPlaneKind = Field(default="in_process", description="who forwards packets: this process, or an SGW-U")
    sxa: ControlFunction | None = Field(default=None, description="needed with sx: pfcp")
    user_plane: UserPlaneSettings = Field(default=UserPlaneSettings(), description="with sx: in_process, by what packets are forwarded")
    gtp_s11: GtpcSettings = GtpcSettings()
    gtp_s5: GtpcSettings = _S5_TIMERS
    offline_charging: OfflineCharging | None = Field(default=None, description="write charging data records; default: none")
    buffer_packets: int = Field(default=32, ge=0, description="downlink packets held for each bearer of an idle phone")

    @model_validator(mode="after")
    def _check(self) -> SgwConfig:
        if self.s11.host == self.s5c.host and self.s11.port != self.s5c.port:
            raise ValueError("s5c.port: on one address S11 and S5/S8 share one port")
        if self.sx == "pfcp" and self.sxa is None:
            raise ValueError("sxa: is missing, and sx is pfcp")
        return self
