"""ALIGNED PER (ITU-T X.691) for the S1AP family of protocols: a table-driven runtime and the values that it reads and writes."""

from epc.wire.aper.values import BitString, Criticality, PrivateIE, UnknownIE

__all__ = ["BitString", "Criticality", "PrivateIE", "UnknownIE"]
