"""The HSS: subscribers and authentication centre behind S6a (TS 29.272, TS 33.102, TS 33.401; release 15)."""

from epc.hss.config import HssConfig
from epc.hss.node import Hss

__all__ = ["Hss", "HssConfig"]
