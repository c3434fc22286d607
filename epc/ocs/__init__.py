"""The online charging system: accounts, tariff and quotas behind Gy (TS 32.296, TS 32.299 on RFC 8506; release 15)."""

from epc.ocs.config import OcsConfig
from epc.ocs.node import Ocs

__all__ = ["Ocs", "OcsConfig"]
