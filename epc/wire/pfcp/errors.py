"""What the PFCP decoder raises, and what to answer (TS 29.244 clause 7.6)."""

from __future__ import annotations

from epc.wire.errors import WireError
from epc.wire.pfcp.enums import CauseValue


class PfcpSyntaxError(WireError):
    """A message of version 1 that cannot be taken as it is.

    A request that raises this is answered with ``cause`` and the offending element's type; a response is dropped, or told to who waits
    for it. ``peer_seid`` is the SEID that a Session Establishment Request gave for its sender's end in CP F-SEID, 0 if it gave none.
    """

    def __init__(self, reason: str, *, cause: CauseValue, ie_type: int | None = None, offset: int = 0, ie: str = "") -> None:
        super().__init__(reason, offset=offset, ie=ie)
        self.cause = cause
        self.ie_type = ie_type
        self.message_type = 0
        self.sequence = 0
        self.seid: int | None = None
        self.peer_seid = 0


class UnknownMessageType(WireError):
    """A message type that this codec does not know: dropped in silence (TS 29.244 clause 7.6.3)."""

    def __init__(self, message_type: int, *, sequence: int, seid: int | None) -> None:
        super().__init__(f"unknown message type {message_type}", offset=1)
        self.message_type = message_type
        self.sequence = sequence
        self.seid = seid


class VersionNotSupported(WireError):
    """Another version of PFCP: answered with Version Not Supported Response (TS 29.244 clause 7.6.2), but never when it is one."""

    def __init__(self, version: int, *, message_type: int, sequence: int) -> None:
        super().__init__(f"PFCP version {version}, not 1")
        self.version = version
        self.message_type = message_type
        self.sequence = sequence
