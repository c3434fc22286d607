"""What the eNodeB knows of one connected UE."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from epc.dataplane.rules import FTeid
from epc.procedure import Dialogue, Procedure, Runner, Slot
from epc.wire.identity import Ebi, Plmn
from epc.wire.s1ap import GBRQosInformation, Message, UEAggregateMaximumBitrate
from ran.enb.radio import RadioConnection

if TYPE_CHECKING:
    from ran.enb.mme_link import MmeLink
    from ran.enb.user_plane import RadioLink


@dataclass(frozen=True, slots=True)
class SecurityModeDone:
    """The UE answered the AS security mode command."""

    success: bool


@dataclass(frozen=True, slots=True)
class ReconfigurationDone:
    """The UE answered the reconfiguration of its radio connection."""

    success: bool


@dataclass(slots=True, kw_only=True)
class Bearer:
    """One E-RAB: a radio bearer joined to an S1 bearer."""

    ebi: Ebi
    qci: int
    gbr: GBRQosInformation | None = None        # bit/s; of a GBR bearer
    s1u_enb_teid: FTeid     # t8, allocated here
    s1u_sgw_teid: FTeid     # t7, from the MME
    session_id: int         # of the forwarder's rules
    link: RadioLink


class UeContext:
    """One UE-associated logical S1 connection and the radio connection that it belongs to.

    ``enb_ue_s1ap_id`` is allocated here, ``mme_ue_s1ap_id`` by the MME with its first message.
    """

    __slots__ = (
        "aggregate_rate", "bearers", "capability_known", "dialogue", "early_nas", "enb_ue_s1ap_id", "inactivity", "k_enb", "last_activity", "link",
        "mme_ue_s1ap_id",
        "on_air", "radio", "radio_dialogue", "release_requested", "secured", "selected_plmn", "slot", "stream",
    )

    def __init__(
        self, enb_ue_s1ap_id: int, link: MmeLink, radio: RadioConnection, stream: int, runner: Runner, procedures: Mapping[type, Procedure],
        selected_plmn: Plmn,
    ) -> None:
        self.enb_ue_s1ap_id = enb_ue_s1ap_id
        self.mme_ue_s1ap_id: int | None = None
        self.link = link
        self.radio = radio
        self.on_air = True              # false after radio link failure: the radio may serve a new context by then
        self.stream = stream
        self.selected_plmn = selected_plmn
        self.bearers: dict[Ebi, Bearer] = {}
        self.aggregate_rate: UEAggregateMaximumBitrate | None = None       # UE-AMBR: what its non-GBR bearers may use together
        self.k_enb: bytes | None = None
        self.secured = False            # AS security is on
        self.capability_known = False   # the MME has the UE radio capability
        self.release_requested = False
        self.early_nas: list[bytes] = []        # uplink messages that wait for the MME's identity of the UE
        self.inactivity: asyncio.TimerHandle | None = None
        self.last_activity = 0.0
        self.dialogue = Dialogue(functools.partial(link.send, stream=stream))      # not self.send: that would be a reference cycle
        self.radio_dialogue = Dialogue(_nothing)
        self.slot = Slot(runner, procedures)

    def send(self, message: Message) -> None:
        """A UE-associated message, on the stream of this UE."""
        self.link.send(message, stream=self.stream)

    @property
    def state(self) -> str:
        if self.release_requested:
            return "releasing"
        return "active" if self.secured else "connecting"

    def __repr__(self) -> str:
        return f"UeContext(eNB {self.enb_ue_s1ap_id}, MME {self.mme_ue_s1ap_id}, {self.state})"


def _nothing(message: object) -> None:
    """Radio messages are sent by methods of the radio connection."""


class UeTable:
    """All contexts by their eNB UE S1AP ID."""

    def __init__(self) -> None:
        self._by_id: dict[int, UeContext] = {}
        self._by_radio: dict[RadioConnection, UeContext] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[UeContext]:
        return iter(tuple(self._by_id.values()))

    def allocate_id(self) -> int:
        """The next free identity, 24 bits (TS 36.413 clause 9.2.3.4); a used one comes back as late as possible."""
        while True:
            self._last = (self._last + 1) & 0xFFFFFF
            if self._last not in self._by_id:
                return self._last

    def add(self, ue: UeContext) -> None:
        self._by_id[ue.enb_ue_s1ap_id] = ue
        self._by_radio[ue.radio] = ue

    def remove(self, ue: UeContext) -> bool:
        """False: it was gone already."""
        self.leave_radio(ue)
        return self._by_id.pop(ue.enb_ue_s1ap_id, None) is not None

    def leave_radio(self, ue: UeContext) -> None:
        """The radio connection is over; the UE may come back on it with a new context while the old one is being released."""
        ue.on_air = False
        if self._by_radio.get(ue.radio) is ue:
            del self._by_radio[ue.radio]

    def get(self, enb_ue_s1ap_id: int) -> UeContext | None:
        return self._by_id.get(enb_ue_s1ap_id)

    def on_radio(self, radio: RadioConnection) -> UeContext | None:
        return self._by_radio.get(radio)

    def of_mme(self, link: MmeLink, mme_ue_s1ap_id: int) -> UeContext | None:
        """By the MME's identity; only RESET and release commands come with nothing else."""
        return next((ue for ue in self._by_id.values() if ue.link is link and ue.mme_ue_s1ap_id == mme_ue_s1ap_id), None)
