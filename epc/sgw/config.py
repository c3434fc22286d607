"""The SGW's configuration file."""

from __future__ import annotations

from pydantic import Field, model_validator

from epc.node import NodeConfig
from epc.node.gtpc import GtpcInterface, GtpcSettings, GtpuInterface

_S5_TIMERS = GtpcSettings(t3_response_s=2.0)


class SgwConfig(NodeConfig):
    """Interfaces may share addresses: one for everything is enough.

    ``gtp_s5`` should give up sooner than the MME does on S11, so that the MME hears of a silent PGW.
    """

    s11: GtpcInterface
    s5c: GtpcInterface
    s1u: GtpuInterface
    s5u: GtpuInterface
    gtp_s11: GtpcSettings = GtpcSettings()
    gtp_s5: GtpcSettings = _S5_TIMERS
    buffer_packets: int = Field(default=32, ge=0, description="downlink packets held for each bearer of an idle phone")

    @model_validator(mode="after")
    def _check(self) -> SgwConfig:
        if self.s11.host == self.s5c.host and self.s11.port != self.s5c.port:
            raise ValueError("s5c.port: on one address S11 and S5/S8 share one port")
        return self
