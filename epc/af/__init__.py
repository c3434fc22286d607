"""An application function: asks a PCRF for bearers over Rx (TS 29.214; release 15)."""

from epc.af.config import AfConfig
from epc.af.node import Af
from epc.af.session import AfSession, Notification, RequestRefused, both_ways

__all__ = ["Af", "AfConfig", "AfSession", "Notification", "RequestRefused", "both_ways"]
