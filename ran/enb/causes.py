"""S1AP causes in exceptions (TS 36.413 clause 9.2.1.3)."""

from __future__ import annotations

from epc.procedure import Reject
from epc.wire.s1ap import Cause

RADIO_LOST = Cause("radioNetwork", "radio-connection-with-ue-lost")
RADIO_FAILURE = Cause("radioNetwork", "failure-in-radio-interface-procedure")
RADIO_UNSPECIFIED = Cause("radioNetwork", "unspecified")
INTERACTION = Cause("radioNetwork", "interaction-with-other-procedure")
ALGORITHMS = Cause("radioNetwork", "encryption-and-or-integrity-protection-algorithms-not-supported")
USER_INACTIVITY = Cause("radioNetwork", "user-inactivity")
UNKNOWN_ENB_ID = Cause("radioNetwork", "unknown-enb-ue-s1ap-id")
UNKNOWN_PAIR = Cause("radioNetwork", "unknown-pair-ue-s1ap-id")
UNKNOWN_E_RAB = Cause("radioNetwork", "unknown-E-RAB-ID")
DUPLICATE_E_RAB = Cause("radioNetwork", "multiple-E-RAB-ID-instances")
INVALID_QOS = Cause("radioNetwork", "invalid-qos-combination")
TRANSPORT = Cause("transport", "transport-resource-unavailable")
WRONG_STATE = Cause("protocol", "message-not-compatible-with-receiver-state")
OM_INTERVENTION = Cause("misc", "om-intervention")


def label(cause: Cause) -> str:
    """A cause as one word, for metrics and logs."""
    return cause.value if isinstance(cause.value, str) else cause.choice


class Refusal(Reject):
    """Ends a procedure with an S1AP cause."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(label(cause), detail)
        self.s1ap_cause = cause


class RadioLost(Refusal):
    """The UE is gone from the radio; no answer of its will come."""

    def __init__(self) -> None:
        super().__init__(RADIO_LOST)
