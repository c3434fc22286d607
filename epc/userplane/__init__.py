"""What SGW-U and PGW-U have in common: a PFCP server that drives a forwarder (TS 23.214 clause 5, TS 29.244 Release 15)."""

from epc.userplane.config import UserPlaneConfig
from epc.userplane.node import UserPlaneNode

__all__ = ["UserPlaneConfig", "UserPlaneNode"]
