"""What the SGW knows of a UE: its PDN connections and their bearers (TS 23.401 table 5.7.3-1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from epc.dataplane.rules import FTeid, Urr
from epc.peer.gtpc import RequestReceived
from epc.procedure import Slot
from epc.transport.interface import Address
from epc.wire.gtpv2 import BearerQos

_FIRST_DEDICATED = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Bearer:
    """One EPS bearer. Both of the SGW's ends are allocated by the SGW, the others are learned."""

    ebi: int = 0                        # allocated by the MME; 0 while a dedicated bearer is being set up
    number: int                         # of its rules in the forwarder, unique within the PDN connection
    qos: BearerQos
    s1u_sgw: FTeid                      # t7
    s5u_sgw: FTeid                      # t3
    s5u_pgw: FTeid                      # t5
    s1u_enb: FTeid | None = None        # t8; absent while the UE is idle
    meter: Urr | None = None            # measures the bearer, where there is offline charging


@dataclass(slots=True, kw_only=True, eq=False)
class PdnConnection:
    ue: UeContext
    linked_ebi: int                     # the default bearer's
    apn: str
    pgw: Address
    s5c_sgw_teid: int = 0               # t2, allocated by the SGW
    s5c_pgw_teid: int = 0               # t4, learned from the PGW's Create Session Response
    session_id: int = 0                 # of the rules in the forwarder
    command: RequestReceived | None = None      # the MME's, which the PGW is about to answer with a request of its own
    bearers: dict[int, Bearer] = field(default_factory=dict)            # by EBI
    pending: list[Bearer] = field(default_factory=list)                 # dedicated ones that the UE has not accepted yet

    def free_number(self) -> int:
        """For a dedicated bearer; a default bearer's number is its EBI."""
        used = {bearer.number for bearer in (*self.bearers.values(), *self.pending)}
        number = _FIRST_DEDICATED
        while number in used:
            number += 1
        return number

    def bearer_of_number(self, number: int) -> Bearer | None:
        return next((bearer for bearer in self.bearers.values() if bearer.number == number), None)


@dataclass(slots=True, kw_only=True, eq=False)
class UeContext:
    imsi: str
    slot: Slot                          # one procedure of the MME at a time
    mme: Address
    s11_mme_teid: int                   # t1, learned from the MME's Create Session Request
    s11_sgw_teid: int = 0               # t6, allocated by the SGW, one for all PDN connections
    connections: dict[int, PdnConnection] = field(default_factory=dict)
    is_paging: bool = False             # a Downlink Data Notification is under way
    notification_delay_s: float = 0.0   # as the MME asked in its acknowledgement (TS 23.401 clause 5.3.4.2)

    def bearer(self, ebi: int) -> tuple[PdnConnection, Bearer] | None:
        for connection in self.connections.values():
            bearer = connection.bearers.get(ebi)
            if bearer is not None:
                return connection, bearer
        return None
