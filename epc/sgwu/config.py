"""The SGW-U's configuration file."""

from __future__ import annotations

from epc.node.gtpc import GtpuInterface
from epc.node.pfcp import PfcpInterface
from epc.userplane import UserPlaneConfig


class SgwuConfig(UserPlaneConfig):
    """Interfaces may share addresses: one for everything is enough."""

    sxa: PfcpInterface
    s1u: GtpuInterface
    s5u: GtpuInterface
