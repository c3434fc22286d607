"""SCTP (RFC 9260) on three grounds: the kernel's, usrsctp over raw IP 132, usrsctp in UDP (RFC 6951). One ``Association`` on all of them."""

from epc.transport.sctp.selection import SctpCapabilities, sctp_capabilities
from epc.transport.sctp.settings import PROFILES, Engine, Profile, SctpSettings, Wire

__all__ = ["PROFILES", "Engine", "Profile", "SctpCapabilities", "SctpSettings", "Wire", "sctp_capabilities"]
