"""Which of the ten steps of the Attach a message belongs to (TS 23.401 clause 5.3.2.1, as docs/architecture.md numbers them)."""

from __future__ import annotations

STEPS = {
    1: "Attach Request",
    2: "Identity",
    3: "Authentication",
    4: "NAS security",
    5: "Update Location",
    6: "Create Session, MME and SGW",
    7: "Create Session, SGW and PGW",
    8: "Initial Context Setup, Attach Accept",
    9: "Attach Complete",
    10: "Modify Bearer",
}

_BY_NAME = {
    "AttachRequest": 1,
    "IdentityRequest": 2,
    "IdentityResponse": 2,
    "AuthenticationInformationRequest": 3,
    "AuthenticationInformationAnswer": 3,
    "AuthenticationRequest": 3,
    "AuthenticationResponse": 3,
    "AuthenticationFailure": 3,
    "AuthenticationReject": 3,
    "SecurityModeCommand": 4,
    "SecurityModeComplete": 4,
    "SecurityModeReject": 4,
    "EsmInformationRequest": 4,
    "EsmInformationResponse": 4,
    "UpdateLocationRequest": 5,
    "UpdateLocationAnswer": 5,
    "InitialContextSetupRequest": 8,
    "InitialContextSetupResponse": 8,
    "InitialContextSetupFailure": 8,
    "UECapabilityInfoIndication": 8,
    "AttachAccept": 8,
    "AttachComplete": 9,
    "ModifyBearerRequest": 10,
    "ModifyBearerResponse": 10,
}
_BY_NAME_AND_INTERFACE = {
    ("CreateSessionRequest", "S11"): 6,
    ("CreateSessionResponse", "S11"): 6,
    ("CreateSessionRequest", "S5/S8"): 7,
    ("CreateSessionResponse", "S5/S8"): 7,
    ("CreditControlRequest", "Gx"): 7,
    ("CreditControlAnswer", "Gx"): 7,
    ("CreditControlRequest", "Gy"): 7,
    ("CreditControlAnswer", "Gy"): 7,
}


def step_of(class_names: tuple[str, ...], interface: str) -> int:
    """The step of a message, given the names of its classes from outer (S1AP) to inner (NAS); 0 when it belongs to none."""
    for name in reversed(class_names):
        step = _BY_NAME_AND_INTERFACE.get((name, interface)) or _BY_NAME.get(name)
        if step:
            return step
    return 0


class AttachFilter:
    """The same messages occur outside an attach: numbers run from an Attach Request to the end of Modify Bearer or a reject."""

    def __init__(self) -> None:
        self._open = False

    def number(self, class_names: tuple[str, ...], interface: str) -> int:
        step = step_of(class_names, interface)
        if step == 1:
            self._open = True
        if not self._open:
            return 0
        if "AttachReject" in class_names or "ModifyBearerResponse" in class_names:
            self._open = False
        return step
