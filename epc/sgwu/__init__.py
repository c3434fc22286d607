"""The Serving Gateway's user-plane function (TS 23.214 clause 4.2): tunnel to tunnel, under an SGW-C's rules on Sxa."""

from epc.sgwu.config import SgwuConfig
from epc.sgwu.node import Sgwu

__all__ = ["Sgwu", "SgwuConfig"]
