"""What the configuration files of SGW-U and PGW-U have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from epc.node import NodeConfig
from epc.node.config import Seconds
from epc.node.pfcp import PfcpSettings
from epc.node.user_plane import UserPlaneSettings


class UserPlaneConfig(NodeConfig):
    pfcp: PfcpSettings = PfcpSettings()
    user_plane: UserPlaneSettings = Field(default=UserPlaneSettings(), description="by what packets are forwarded")
    buffer_packets: Annotated[int, Field(ge=0)] = Field(default=32, description="packets held for each rule that says so, such as an idle phone's")
    usage_check_s: Seconds = Field(default=1.0, description="how often usage is compared with thresholds of one direction")
