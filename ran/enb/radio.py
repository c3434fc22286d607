"""Uu, the radio interface between UE and eNodeB, as plain calls: what RRC (TS 36.331) carries, without its encoding.

A UE camps on a cell with :meth:`Cell.attach_radio` and keeps the :class:`RadioConnection` for as long as it stays there, idle or
connected. ::

    UE (RadioUe)                         RadioConnection                        eNodeB (RadioEnb)
      send_nas(pdu, ...)        ------>  RRCConnectionRequest/SetupComplete  -> initial_nas         (idle)
      send_nas(pdu)             ------>  ULInformationTransfer               -> uplink_nas          (connected)
      downlink_nas              <------  DLInformationTransfer               <- deliver_nas
      security_mode_command     <------  SecurityModeCommand                 <- command_security_mode
      security_mode_complete()  ------>  SecurityModeComplete / Failure      -> security_mode_done
      reconfigure               <------  RRCConnectionReconfiguration        <- reconfigure
      reconfiguration_complete()------>  RRCConnectionReconfigurationComplete-> reconfiguration_done
      released                  <------  RRCConnectionRelease                <- release
      connection_rejected       <------  RRCConnectionReject                 <- reject
      paged                     <------  Paging                              <- Cell.page
      send_packet(ebi, packet)  ------>  DRB                                 -> uplink_packet       (at once)
      downlink_packet           <------  DRB                                 <- deliver_packet      (at once)

Signalling is handed over with ``call_soon``, in order, never inside the call that causes it; what a side sends while it is being
released is dropped, as on the air. User packets pass at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from epc.wire.identity import Ebi, Plmn

if TYPE_CHECKING:
    from epc.wire.s1ap import RRCEstablishmentCause


class STmsi(NamedTuple):
    """The short temporary identity under which a UE is paged and comes back: MME code and M-TMSI (TS 23.003 clause 2.8)."""

    mme_code: int
    m_tmsi: int


class Gummei(NamedTuple):
    """The MME that a UE is registered with (TS 23.003 clause 2.8.1)."""

    plmn: Plmn
    mme_group_id: int
    mme_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AsSecurityMode:
    """SecurityModeCommand: algorithms chosen by the eNodeB (TS 33.401 clause 5.1), numbered as in EIA0..3 and EEA0..3.

    ``k_enb`` stands for the message authentication code that a real one carries: a UE whose own KeNB differs answers with failure.
    """

    k_enb: bytes
    integrity_algorithm: int
    ciphering_algorithm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioBearer:
    """A data radio bearer, one for each EPS bearer."""

    ebi: Ebi
    qci: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """RRCConnectionReconfiguration: bearers to add, change and remove, then NAS messages to hand up, in this order."""

    set_up: tuple[RadioBearer, ...] = ()
    modified: tuple[RadioBearer, ...] = ()
    released: tuple[Ebi, ...] = ()
    nas: tuple[bytes, ...] = ()


class ReleaseCause(Enum):
    """Why a connection ended, as far as the UE can tell."""

    OTHER = "other"                             # RRCConnectionRelease, TS 36.331 clause 5.3.8
    LOAD_BALANCING_TAU_REQUIRED = "loadBalancingTAUrequired"
    RADIO_LINK_FAILURE = "radio link failure"   # the UE lost the cell; no message arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingRecord:
    """One record of a Paging message: an S-TMSI, or an IMSI after the network lost its data; ``domain`` is "ps" or "cs"."""

    s_tmsi: STmsi | None = None
    imsi: str | None = None
    domain: str = "ps"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemInformation:
    """What a cell broadcasts and a UE reads before it connects (SystemInformationBlockType1)."""

    plmns: tuple[Plmn, ...]
    tac: int
    cell_identity: int      # 28 bits: the eNB identity and the cell within it


class RadioUe(Protocol):
    """The UE's side of Uu."""

    def downlink_nas(self, pdu: bytes) -> None: ...
    def security_mode_command(self, mode: AsSecurityMode) -> None: ...
    def reconfigure(self, reconfiguration: Reconfiguration) -> None: ...
    def downlink_packet(self, ebi: Ebi, packet: bytes) -> None: ...
    def released(self, cause: ReleaseCause) -> None: ...
    def connection_rejected(self, wait_time_s: int) -> None: ...
    def paged(self, record: PagingRecord) -> None: ...


class RadioEnb(Protocol):
    """The eNodeB's side of Uu."""

    def initial_nas(self, radio: RadioConnection, pdu: bytes, cause: RRCEstablishmentCause, s_tmsi: STmsi | None, gummei: Gummei | None,
                    selected_plmn: Plmn) -> None: ...
    def uplink_nas(self, radio: RadioConnection, pdu: bytes) -> None: ...
    def security_mode_done(self, radio: RadioConnection, success: bool) -> None: ...
    def reconfiguration_done(self, radio: RadioConnection, success: bool) -> None: ...
    def uplink_packet(self, radio: RadioConnection, ebi: Ebi, packet: bytes) -> None: ...
    def radio_lost(self, radio: RadioConnection) -> None: ...


class RadioConnection:
    """One UE in one cell. ``connected`` is true between the first NAS message sent while idle and the release."""

    __slots__ = ("_period", "_ue", "camped", "cell", "connected", "radio_capability")

    def __init__(self, cell: Cell, ue: RadioUe, radio_capability: bytes) -> None:
        self.cell = cell
        self.radio_capability = radio_capability    # UERadioAccessCapabilityInformation, octets the eNodeB hands to the MME unread
        self.connected = False
        self.camped = True
        self._ue = ue
        self._period = 0        # counts connections: signalling of an ended one is dropped

    # --- what the UE calls -------------------------------------------------------------------------------------------

    def send_nas(
        self, pdu: bytes, *, establishment_cause: RRCEstablishmentCause = "mo-Signalling", s_tmsi: STmsi | None = None,
        gummei: Gummei | None = None, selected_plmn: Plmn | None = None,
    ) -> None:
        """Send a NAS message, connecting first where there is no connection; the keyword arguments matter only then."""
        enb = self.cell.enb
        if self.connected:
            self._soon(lambda: enb.uplink_nas(self, pdu))
            return
        if not self.camped:
            return
        self.connected = True
        self._period += 1
        plmn = selected_plmn or self.cell.information.plmns[0]
        self._soon(lambda: enb.initial_nas(self, pdu, establishment_cause, s_tmsi, gummei, plmn))

    def security_mode_complete(self) -> None:
        self._soon(lambda: self.cell.enb.security_mode_done(self, True))

    def security_mode_failure(self) -> None:
        self._soon(lambda: self.cell.enb.security_mode_done(self, False))

    def reconfiguration_complete(self) -> None:
        self._soon(lambda: self.cell.enb.reconfiguration_done(self, True))

    def reconfiguration_failure(self) -> None:
        """The UE cannot comply with the reconfiguration (TS 36.331 clause 5.3.5.5)."""
        self._soon(lambda: self.cell.enb.reconfiguration_done(self, False))

    def send_packet(self, ebi: Ebi, packet: bytes) -> None:
        """An uplink IP packet on a bearer; dropped when the bearer has no tunnel."""
        if self.connected:
            self.cell.enb.uplink_packet(self, ebi, packet)

    def lose_radio(self) -> None:
        """Radio link failure: both sides find out, no message passes."""
        if self.connected:
            self.connected = False
            asyncio.get_running_loop().call_soon(self._ue.released, ReleaseCause.RADIO_LINK_FAILURE)
            asyncio.get_running_loop().call_soon(self.cell.enb.radio_lost, self)

    def leave(self) -> None:
        """The UE leaves the cell or is switched off; a connection is lost with it."""
        if self.connected:
            self.connected = False
            asyncio.get_running_loop().call_soon(self.cell.enb.radio_lost, self)
        self.camped = False
        self.cell.radios.pop(self, None)

    # --- what the eNodeB calls ---------------------------------------------------------------------------------------

    def deliver_nas(self, pdu: bytes) -> None:
        self._soon(lambda: self._ue.downlink_nas(pdu))

    def command_security_mode(self, mode: AsSecurityMode) -> None:
        self._soon(lambda: self._ue.security_mode_command(mode))

    def reconfigure(self, reconfiguration: Reconfiguration) -> None:
        self._soon(lambda: self._ue.reconfigure(reconfiguration))

    def deliver_packet(self, ebi: Ebi, packet: bytes) -> None:
        if self.connected:
            self._ue.downlink_packet(ebi, packet)

    def release(self, cause: ReleaseCause = ReleaseCause.OTHER) -> None:
        """RRCConnectionRelease. What was delivered before still arrives, before the release."""
        if self.connected:
            self._soon(lambda: self._released(cause))

    def reject(self, wait_time_s: int) -> None:
        """RRCConnectionReject: the eNodeB cannot take the UE (no MME, overload)."""
        if self.connected:
            self.connected = False
            asyncio.get_running_loop().call_soon(self._ue.connection_rejected, wait_time_s)

    def page(self, record: PagingRecord) -> None:
        """One paging record; only an idle UE listens."""
        if not self.connected:
            asyncio.get_running_loop().call_soon(self._ue.paged, record)

    # -----------------------------------------------------------------------------------------------------------------

    def _released(self, cause: ReleaseCause) -> None:
        self.connected = False
        self._ue.released(cause)

    def _soon(self, action: Callable[[], None]) -> None:
        """Run ``action`` next, unless the connection that it belongs to has ended by then."""
        asyncio.get_running_loop().call_soon(self._run, self._period, action)

    def _run(self, period: int, action: Callable[[], None]) -> None:
        if self.connected and period == self._period:
            action()


class Cell:
    """One cell of an eNodeB, on which UEs camp."""

    def __init__(self, enb: RadioEnb, information: SystemInformation) -> None:
        self.enb = enb
        self.information = information
        self.radios: dict[RadioConnection, None] = {}    # in the order of their coming: paging is the same in every run

    def attach_radio(self, ue: RadioUe, radio_capability: bytes = b"") -> RadioConnection:
        """Camp on this cell. ``ue`` hears paging from now on and can connect."""
        radio = RadioConnection(self, ue, radio_capability)
        self.radios[radio] = None
        return radio

    def page(self, record: PagingRecord) -> None:
        """Broadcast a paging record; each UE compares it with its own identities."""
        for radio in self.radios:
            radio.page(record)
