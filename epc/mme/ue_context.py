"""What the MME knows of one phone, and where it finds it: TS 23.401 table 5.7.2-1."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from epc.peer.nas_security import NasSecurityContext
from epc.procedure import Dialogue, Slot
from epc.transport.interface import Address
from epc.wire import gtpv2, nas
from epc.wire.diameter.subscription import SubscriptionData
from epc.wire.identity import Imsi

if TYPE_CHECKING:
    from epc.mme.s1_connection import S1Connection


class EmmState(Enum):
    """TS 24.301 clause 5.1.3.4, without the states that last as long as a procedure: those are the procedure."""

    DEREGISTERED = "EMM-DEREGISTERED"
    REGISTERED = "EMM-REGISTERED"


@dataclass(frozen=True, slots=True)
class Location:
    """The cell that the phone was last heard in."""

    tai: nas.Tai
    ecgi_plmn: str
    eci: int            # E-UTRAN cell identity, 28 bits
    uli: gtpv2.Uli = field(init=False, compare=False)           # the same for S11

    def __post_init__(self) -> None:
        uli = gtpv2.Uli(tai=gtpv2.Tai(self.tai.plmn, self.tai.tac), ecgi=gtpv2.Ecgi(self.ecgi_plmn, self.eci))
        object.__setattr__(self, "uli", uli)


FIRST_EBI, LAST_EBI = 5, 15      # TS 24.007 clause 11.2.3.1.5


@dataclass(slots=True)
class Bearer:
    """One EPS bearer. The eNodeB's end is ``None`` while the phone is idle."""

    ebi: int
    qos: gtpv2.BearerQos
    s1u_sgw_teid: int                               # t7
    s1u_sgw_address: IPv4Address | IPv6Address
    s1u_enb_teid: int | None = None                 # t8
    s1u_enb_address: IPv4Address | IPv6Address | None = None

    @property
    def is_gbr(self) -> bool:
        return bool(self.qos.gbr_uplink_kbps or self.qos.gbr_downlink_kbps)


@dataclass(slots=True)
class PdnConnection:
    """One PDN connection with its default bearer, whose identity is ``linked_ebi``, and dedicated ones."""

    linked_ebi: int
    apn: str
    pgw: str                                        # IP address
    address: nas.PdnAddress
    ambr: gtpv2.Ambr
    bearers: dict[int, Bearer] = field(default_factory=dict)
    change_reporting_action: gtpv2.ChangeReportingAction | int | None = None        # what of the phone's place the PGW wants to hear
    reported_uli: gtpv2.Uli | None = None                                           # what it has heard last
    reported_time_zone: gtpv2.UeTimeZone | None = None                              # likewise
    made_at: float = 0.0                                                            # by the event loop's clock

    @property
    def dedicated(self) -> list[Bearer]:
        return [bearer for bearer in self.bearers.values() if bearer.ebi != self.linked_ebi]


@dataclass(slots=True, eq=False)
class SgwSession:
    """All that one phone has at its SGW: one pair of control TEIDs, and the PDN connections behind it."""

    imsi: str
    sgw: Address
    s11_mme_teid: int                               # t1
    sgw_name: str = ""                              # canonical node name, when it is known
    s11_sgw_teid: int = 0                           # t6
    pdns: dict[int, PdnConnection] = field(default_factory=dict)        # by linked EBI

    def bearers(self) -> Iterator[Bearer]:
        for pdn in self.pdns.values():
            yield from pdn.bearers.values()

    def pdn_of(self, ebi: int) -> PdnConnection | None:
        """The PDN connection that the bearer belongs to."""
        return next((pdn for pdn in self.pdns.values() if ebi in pdn.bearers), None)

    def free_ebis(self) -> list[int]:
        """EPS bearer identities that can be given (TS 24.007 clause 11.2.3.1.5)."""
        used = {bearer.ebi for bearer in self.bearers()}
        return [ebi for ebi in range(FIRST_EBI, LAST_EBI + 1) if ebi not in used]


@dataclass(slots=True, eq=False)
class UeContext:
    """One phone. It lives from its first message to the purge of its context; idle, it holds no task.

    ``security`` is the current EPS security context, ``new_security`` the one that a NAS security mode command takes into use.
    ``claimed`` is the context that the phone's GUTI names but that it has not proved to be its own.
    """

    slot: Slot
    emm_state: EmmState = EmmState.DEREGISTERED
    imsi: Imsi | None = None
    imeisv: str | None = None
    m_tmsi: int | None = None
    old_m_tmsi: int | None = None                   # still valid until the phone has confirmed the new one
    location: Location | None = None
    connection: S1Connection | None = None          # None: ECM-IDLE
    security: NasSecurityContext | None = None
    new_security: NasSecurityContext | None = None
    ue_network_capability: nas.UeNetworkCapability | None = None
    ms_network_capability: bytes | None = None
    ue_radio_capability: bytes | None = None
    subscription: SubscriptionData | None = None
    hss_host: str | None = None
    location_confirmed_in_hss: bool = False
    session: SgwSession | None = None
    claimed: UeContext | None = None
    unprotected_request: bytes | None = None        # the initial message, if it came without integrity protection that could be verified
    attach_request: nas.AttachRequest | None = None         # of the attach that runs
    ebis_at_update: frozenset[int] = frozenset()            # bearers when its tracking area update request came, which may wait for its turn
    paged: Dialogue | None = None                           # hears when the phone answers paging
    gone: asyncio.TimerHandle | None = None                 # mobile reachable timer, or the time to purge

    @property
    def is_registered(self) -> bool:
        return self.emm_state is EmmState.REGISTERED

    @property
    def link(self) -> S1Connection:
        """The S1 connection; raises ``ConnectionError`` when the phone is idle."""
        if self.connection is None:
            raise ConnectionError("the phone is in ECM-IDLE")
        return self.connection

    @property
    def nas(self) -> Dialogue:
        """The conversation with the phone."""
        return self.link.nas

    @property
    def s1(self) -> Dialogue:
        """The conversation with the phone's eNodeB about it."""
        return self.link.s1

    @property
    def known_imsi(self) -> str:
        """The IMSI, once it is known; procedures ask for it after identification."""
        if self.imsi is None:
            raise LookupError("the IMSI is not known yet")
        return self.imsi

    @property
    def known_location(self) -> Location:
        if self.location is None:
            raise LookupError("the phone has not been heard yet")
        return self.location

    def note_update(self) -> None:
        """A tracking area update request has come: what it says of bearers is about those that there are now."""
        self.ebis_at_update = frozenset() if self.session is None else frozenset([bearer.ebi for bearer in self.session.bearers()])

    def stop_clock(self) -> None:
        """Stop the mobile reachable timer, or the purge."""
        if self.gone is not None:
            self.gone.cancel()
            self.gone = None


class UeDirectory:
    """Contexts by permanent and temporary identity. A phone is entered when it has proved who it is."""

    __slots__ = ("by_imsi", "by_m_tmsi", "registered")

    def __init__(self) -> None:
        self.by_imsi: dict[str, UeContext] = {}
        self.by_m_tmsi: dict[int, UeContext] = {}
        self.registered = 0             # how many are EMM-REGISTERED

    def enter(self, ue: UeContext) -> None:
        """``ue`` is the one with its IMSI from now on."""
        self.by_imsi[ue.known_imsi] = ue

    def set_state(self, ue: UeContext, state: EmmState) -> None:
        self.registered += (state is EmmState.REGISTERED) - (ue.emm_state is EmmState.REGISTERED)
        ue.emm_state = state

    def give_m_tmsi(self, ue: UeContext, m_tmsi: int) -> None:
        """A new temporary identity; the one before it stays valid until :meth:`confirm_m_tmsi`."""
        self.confirm_m_tmsi(ue)
        ue.old_m_tmsi, ue.m_tmsi = ue.m_tmsi, m_tmsi
        self.by_m_tmsi[m_tmsi] = ue

    def confirm_m_tmsi(self, ue: UeContext) -> None:
        if ue.old_m_tmsi is not None:
            self.by_m_tmsi.pop(ue.old_m_tmsi, None)
            ue.old_m_tmsi = None

    def forget(self, ue: UeContext) -> None:
        """Remove every trace of ``ue``."""
        self.set_state(ue, EmmState.DEREGISTERED)
        ue.stop_clock()
        self.confirm_m_tmsi(ue)
        if ue.m_tmsi is not None:
            self.by_m_tmsi.pop(ue.m_tmsi, None)
            ue.m_tmsi = None
        if ue.imsi is not None and self.by_imsi.get(ue.imsi) is ue:
            del self.by_imsi[ue.imsi]
