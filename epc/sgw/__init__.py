"""The Serving Gateway (TS 23.401 clause 4.4.3.2): one file a procedure, each with the name that it has on every lifeline."""

from epc.sgw.config import SgwConfig
from epc.sgw.node import Sgw

__all__ = ["Sgw", "SgwConfig"]
