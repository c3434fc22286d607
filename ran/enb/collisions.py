"""What happens to a message that would begin a procedure while another one of the same UE runs."""

from __future__ import annotations

from epc.procedure import Collision
from epc.wire.s1ap import (
    ERABModifyRequest,
    ERABReleaseCommand,
    ERABSetupRequest,
    Message,
    UEContextModificationRequest,
    UEContextReleaseCommand,
)

# The release ends what runs; the others wait for their turn (TS 36.413 clause 8.1: the MME may have them overlap).
BEHIND_EACH_OTHER: dict[type[Message], Collision] = {
    UEContextReleaseCommand: Collision.REPLACE,
    ERABSetupRequest: Collision.QUEUE,
    ERABModifyRequest: Collision.QUEUE,
    ERABReleaseCommand: Collision.QUEUE,
    UEContextModificationRequest: Collision.QUEUE,
}
