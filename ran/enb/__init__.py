"""The eNodeB (TS 36.413 and TS 36.414 Release 17 towards the core, :mod:`ran.enb.radio` towards its UEs)."""

from ran.enb.behaviour import Behaviour
from ran.enb.config import CellConfig, EnbConfig, MmePeer
from ran.enb.node import Enb

__all__ = ["Behaviour", "CellConfig", "Enb", "EnbConfig", "MmePeer"]
