"""What is on the card: the subscriber's identity and the application that authenticates."""

from __future__ import annotations

from dataclasses import dataclass

from epc.security.usim import Usim
from epc.wire.identity import Imsi


@dataclass(slots=True, kw_only=True)
class Sim:
    """A USIM in a UE. ``valid`` turns false when the network says that the subscriber or the equipment is illegal
    (TS 24.301 clauses 5.4.2.5 and 5.5.1.2.5), until the UE is switched off."""

    imsi: Imsi
    usim: Usim
    valid: bool = True
