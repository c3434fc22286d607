"""What the ladder consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from epc.lab.ladder.fields import Tree


class TunnelSighting(NamedTuple):
    """A tunnel id in a message."""

    name: str       # s11_mme_teid, ...
    teid: int
    address: str


class Rung(NamedTuple):
    """Which lifelines a message joins: ``ue``, ``enb``, ``mme``, ...; with several operators ``visited/mme``, ``home/hss``."""

    source: str
    destination: str


@dataclass(slots=True, kw_only=True)
class LadderEvent:
    """One message as it was sent."""

    number: int
    time_s: float               # since the first message
    interface: str              # "S1-MME", "S11", ...
    source: str                 # names of nodes
    destination: str
    rung: Rung
    name: str                   # "Attach Request", or "Create Session Request"
    carried_by: str = ""        # the S1AP message that carries a NAS message
    step: int = 0               # 1 to 10 of the Attach; 0 outside
    imsi: str = ""              # when the message says whom it is about
    detail: str = ""            # the few values worth a place in the diagram
    tunnels: tuple[TunnelSighting, ...] = ()
    trees: tuple[tuple[str, Tree], ...] = ()    # (message name, its fields), outer to inner
    octets: bytes = b""
    ciphered: bool = False
    repeated: bool = field(default=False)       # the same octets were sent before: a retransmission
    count: int = 1              # user-plane packets folded into this line
