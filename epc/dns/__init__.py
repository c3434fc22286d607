"""DNS server of an operator: zones of its own, and the way to other operators' (TS 29.303, GSMA IR.67)."""

from epc.dns.config import DnsConfig
from epc.dns.node import Dns

__all__ = ["Dns", "DnsConfig"]
