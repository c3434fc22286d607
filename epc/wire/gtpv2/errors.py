"""What the GTPv2-C decoder raises, and what to answer (TS 29.274 clause 7.7)."""

from __future__ import annotations

from epc.wire.errors import WireError
from epc.wire.gtpv2.enums import CauseValue


class GtpSyntaxError(WireError):
    """A message of version 2 that cannot be taken as it is.

    A request that raises this is answered with ``cause`` (and the offending element's type and instance); any other
    message is dropped. ``peer_teid`` is the TEID that the sender gave for its own end in Sender F-TEID, 0 if it gave none:
    the TEID for the answer's header when there is no context.
    """

    def __init__(
        self,
        reason: str,
        *,
        cause: CauseValue,
        ie_type: int | None = None,
        ie_instance: int = 0,
        in_bearer_context: bool = False,
        offset: int = 0,
        ie: str = "",
    ) -> None:
        super().__init__(reason, offset=offset, ie=ie)
        self.cause = cause
        self.ie_type = ie_type
        self.ie_instance = ie_instance
        self.in_bearer_context = in_bearer_context
        self.message_type = 0
        self.sequence = 0
        self.teid: int | None = None
        self.peer_teid = 0


class UnknownMessageType(WireError):
    """A message type that this codec does not know: dropped in silence (TS 29.274 clause 7.7.4)."""

    def __init__(self, message_type: int, *, sequence: int, teid: int | None) -> None:
        super().__init__(f"unknown message type {message_type}", offset=1)
        self.message_type = message_type
        self.sequence = sequence
        self.teid = teid


class VersionNotSupported(WireError):
    """Another version of GTP: answered with Version Not Supported Indication (TS 29.274 clause 7.7.2), but never when it is one."""

    def __init__(self, version: int, *, message_type: int, sequence: int) -> None:
        super().__init__(f"GTP version {version}, not 2")
        self.version = version
        self.message_type = message_type
        self.sequence = sequence
