"""The Diameter agent: passes requests on by host, realm and application, as relay or proxy (RFC 6733 clauses 2.8 and 6.1)."""

from epc.dra.config import DraConfig
from epc.dra.node import Dra

__all__ = ["Dra", "DraConfig"]
