"""The PCRF: policies behind Gx (TS 23.203, TS 29.212; release 15)."""

from epc.pcrf.config import PcrfConfig
from epc.pcrf.node import Pcrf

__all__ = ["Pcrf", "PcrfConfig"]
