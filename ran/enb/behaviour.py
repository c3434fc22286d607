"""How an eNodeB may misbehave when a test wants it to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epc.wire.s1ap import Cause, Message


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """All switches off by default; set them on ``enb.behaviour`` at any time."""

    refuse_context_setup: Cause | None = None       # answer INITIAL CONTEXT SETUP REQUEST with a failure
    refuse_bearers: Cause | None = None             # E-RABs (of any setup) fail with this cause, the rest of the procedure goes on
    refuse_modifications: Cause | None = None       # E-RAB MODIFY REQUEST changes nothing, for this cause
    ignored: set[type[Message]] = field(default_factory=set)    # messages from the MME that are thrown away unanswered
    unsent: set[type[Message]] = field(default_factory=set)     # messages to the MME that get lost before they are sent
