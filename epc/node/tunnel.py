"""The eight tunnel ids of the Attach as every node reports them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class TunnelName(NamedTuple):
    label: str          # t1 to t8
    name: str           # as fields are called in code
    meaning: str
    allocated_by: str   # kind of node
    seen_in: str        # the message that first carries it


TUNNELS = (
    TunnelName("t1", "s11_mme_teid", "MME's control TEID on S11", "mme", "Create Session Request (MME to SGW)"),
    TunnelName("t2", "s5c_sgw_teid", "SGW's control TEID on S5/S8", "sgw", "Create Session Request (SGW to PGW)"),
    TunnelName("t3", "s5u_sgw_teid", "SGW's user TEID on S5/S8", "sgw", "Create Session Request (SGW to PGW)"),
    TunnelName("t4", "s5c_pgw_teid", "PGW's control TEID on S5/S8", "pgw", "Create Session Response (PGW to SGW)"),
    TunnelName("t5", "s5u_pgw_teid", "PGW's user TEID on S5/S8", "pgw", "Create Session Response (PGW to SGW)"),
    TunnelName("t6", "s11_sgw_teid", "SGW's control TEID on S11", "sgw", "Create Session Response (SGW to MME)"),
    TunnelName("t7", "s1u_sgw_teid", "SGW's user TEID on S1-U", "sgw", "Create Session Response (SGW to MME)"),
    TunnelName("t8", "s1u_enb_teid", "eNodeB's user TEID on S1-U", "enb", "Initial Context Setup Response (eNodeB to MME)"),
)
BY_NAME = {tunnel.name: tunnel for tunnel in TUNNELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelEnd:
    """One tunnel id as one node knows it: allocated by itself, or learned from the peer that allocated it.

    ``imsi`` is empty where the node does not know it (the eNodeB); ``address`` is the IP address of the node that allocated the id.
    """

    name: str           # a name of TUNNELS
    teid: int
    address: str
    own: bool           # True: this node allocated it
    imsi: str = ""
    ebi: int = 0        # 0 for control tunnels

    @property
    def label(self) -> str:
        return BY_NAME[self.name].label
