"""The eNodeB: cells towards UEs, associations towards MMEs, GTP-U towards SGWs, and the contexts that join them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from epc.node import Command, Node, NodeConfig, TunnelEnd, View
from epc.node.state import AssociatedPeer
from epc.procedure import Outcome, table
from epc.transport.interface import Transport
from epc.wire.identity import Ebi, Plmn
from epc.wire.s1ap import (
    Cause,
    DownlinkNASTransport,
    ErrorIndication,
    Message,
    MMEConfigurationUpdate,
    OverloadStart,
    OverloadStop,
    Paging,
    Reset,
    ResetAcknowledge,
    RRCEstablishmentCause,
    S1apSyntaxError,
    S1SetupFailure,
    S1SetupResponse,
    UEContextReleaseCommand,
)
from ran.enb import ue_context_release
from ran.enb.behaviour import Behaviour
from ran.enb.causes import OM_INTERVENTION, RADIO_LOST, TRANSPORT, UNKNOWN_ENB_ID, UNKNOWN_PAIR, USER_INACTIVITY, WRONG_STATE, RadioLost
from ran.enb.config import EnbConfig
from ran.enb.erab_modify import erab_modify
from ran.enb.erab_release import erab_release, indicate_release
from ran.enb.erab_setup import erab_setup
from ran.enb.error_indication import answer_syntax_error, error_indication, send_error_indication
from ran.enb.initial_context_setup import initial_context_setup
from ran.enb.mme_link import MmeLink
from ran.enb.nas_transport import downlink_nas_transport, initial_ue_message, uplink_nas_transport
from ran.enb.overload import overload_start, overload_stop
from ran.enb.paging import paging
from ran.enb.radio import Cell, Gummei, RadioConnection, ReleaseCause, STmsi, SystemInformation
from ran.enb.reset import reset, reset_mme
from ran.enb.s1_setup import mme_configuration_update, s1_setup
from ran.enb.ue_context import ReconfigurationDone, SecurityModeDone, UeContext, UeTable
from ran.enb.ue_context_modification import ue_context_modification
from ran.enb.user_plane import UserPlane

_UE_PROCEDURES = table([
    initial_context_setup, ue_context_modification, ue_context_release.ue_context_release, erab_setup, erab_modify, erab_release])
_LINK_ANSWERS = (S1SetupResponse, S1SetupFailure, ResetAcknowledge)
_LINK_MESSAGES: dict[type[Message], Callable[..., None]] = {
    Reset: reset,
    ErrorIndication: error_indication,
    OverloadStart: overload_start,
    OverloadStop: overload_stop,
    MMEConfigurationUpdate: mme_configuration_update,
}


class Enb(Node[EnbConfig]):
    """UEs come in through ``cells`` (see :mod:`ran.enb.radio`)."""

    kind: ClassVar[str] = "enb"
    config_model: ClassVar[type[NodeConfig]] = EnbConfig

    def __init__(self, config: EnbConfig, transport: Transport, **options: Any) -> None:
        super().__init__(config, transport, **options)
        self.behaviour = Behaviour()
        self.cells = tuple(
            Cell(self, SystemInformation(
                plmns=tuple(Plmn(plmn) for plmn in config.plmns), tac=cell.tac, cell_identity=config.cell_identity(cell)))
            for cell in config.cells)
        self.links = tuple(MmeLink(self, peer) for peer in config.mmes)
        self.ues = UeTable()
        self.user_plane = UserPlane(self._tunnel_lost)
        self.metrics.gauge("connected_ues", "UEs with an S1 connection", lambda: len(self.ues))
        self.metrics.gauge("bearers", "E-RABs that are set up", lambda: sum(len(ue.bearers) for ue in self.ues))
        self.rejected_connections = self.metrics.counter("rejected_connections", "Radio connections rejected", ("reason",))

    @property
    def cell(self) -> Cell:
        """The first cell, for eNodeBs that have only one."""
        return self.cells[0]

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.user_plane.open(self.transport, self.config.s1u.host)
        for link in self.links:
            link.start()

    async def stop(self) -> None:
        for ue in self.ues:
            self.drop_context(ue)
        for link in self.links:
            await link.stop()
        await self.runner.stop()
        await self.user_plane.close()

    def is_ready(self) -> bool:
        return any(link.is_ready for link in self.links)

    async def set_up(self, link: MmeLink) -> Outcome:
        """S1 Setup on a fresh association."""
        return await self.runner.start(s1_setup, self, link)

    def link_lost(self, link: MmeLink) -> None:
        for ue in self.ues:
            if ue.link is link:
                self.drop_context(ue)

    # --- contexts ----------------------------------------------------------------------------------------------------

    def new_context(self, link: MmeLink, radio: RadioConnection, plmn: Plmn) -> UeContext:
        identity = self.ues.allocate_id()
        ue = UeContext(identity, link, radio, link.stream_for(identity), self.runner, _UE_PROCEDURES, plmn)
        ue.last_activity = asyncio.get_running_loop().time()
        self.ues.add(ue)
        return ue

    def remove_context(self, ue: UeContext, cause: ReleaseCause = ReleaseCause.OTHER) -> None:
        """Release radio and tunnels and forget the UE. A procedure of the UE calls this at its end; everybody else uses ``drop_context``."""
        on_air = ue.on_air
        if not self.ues.remove(ue):
            return
        if ue.inactivity is not None:
            ue.inactivity.cancel()
            ue.inactivity = None
        self.user_plane.release_all(ue)
        if on_air:
            ue.radio.release(cause)
        ue.radio_dialogue.close(RadioLost())
        ue.dialogue.close(ConnectionError("UE context released"))

    def drop_context(self, ue: UeContext) -> None:
        """Forget the UE and end what it is in the middle of."""
        ue.slot.cancel()
        self.remove_context(ue)

    def send_or_release(self, ue: UeContext, message: Message) -> None:
        """For messages that no procedure sends: without a link the UE's connection is pointless."""
        try:
            ue.send(message)
        except ConnectionError:
            self.drop_context(ue)

    def request_release(self, ue: UeContext, cause: Cause) -> None:
        """Ask the MME to release the UE, after what runs now."""
        if not ue.release_requested:
            ue.release_requested = True
            ue.slot.start(ue_context_release.ue_context_release_request, self, ue, cause)

    def watch_inactivity(self, ue: UeContext) -> None:
        """Release the UE when nothing passes for ``user_inactivity_s``."""
        after_s = self.config.timers.user_inactivity_s
        if after_s is not None and ue.inactivity is None and ue.on_air:
            loop = asyncio.get_running_loop()
            ue.inactivity = loop.call_at(max(ue.last_activity, loop.time()) + after_s, self._check_inactivity, ue)

    def _check_inactivity(self, ue: UeContext) -> None:
        ue.inactivity = None
        after_s = self.config.timers.user_inactivity_s
        loop = asyncio.get_running_loop()
        if after_s is not None and (ue.last_activity + after_s > loop.time() or ue.slot.running is not None):
            ue.inactivity = loop.call_at(max(ue.last_activity + after_s, loop.time() + after_s / 10), self._check_inactivity, ue)
        else:
            self.request_release(ue, USER_INACTIVITY)

    def _tunnel_lost(self, ue: UeContext, ebi: Ebi) -> None:
        """The SGW does not know a tunnel: the bearer is gone, with the last one the UE's connection (TS 23.007 clause 22)."""
        if len(ue.bearers) > 1:
            indicate_release(self, ue, ebi, TRANSPORT)
        else:
            self.request_release(ue, TRANSPORT)

    # --- messages from the MME ---------------------------------------------------------------------------------------

    def dispatch(self, link: MmeLink, message: Message) -> None:
        """Give a message to its procedure. Raises :class:`ConnectionError` when an answer cannot be sent any more."""
        kind = type(message)
        if kind in _LINK_ANSWERS:
            if not link.dialogue.feed(message):
                self.log.info("s1.unexpected", message=kind.__name__, mme=link.mme_name)
        elif not link.is_ready and kind is not ErrorIndication:
            send_error_indication(link, WRONG_STATE)
        elif kind in _LINK_MESSAGES:
            _LINK_MESSAGES[kind](self, link, message)
        elif isinstance(message, Paging):
            paging(self, message)
        elif isinstance(message, UEContextReleaseCommand):
            ue = ue_context_release.find(self, link, message)
            if ue is not None:
                ue.slot.receive(ue.dialogue, message, self, ue)
        else:
            self._dispatch_to_ue(link, message)

    def _dispatch_to_ue(self, link: MmeLink, message: Message) -> None:
        mme_ue_s1ap_id = getattr(message, "mme_ue_s1ap_id", None)
        enb_ue_s1ap_id = getattr(message, "enb_ue_s1ap_id", None)
        if enb_ue_s1ap_id is None or mme_ue_s1ap_id is None:
            self._not_supported(link, message)
            return
        ue = self.ues.get(enb_ue_s1ap_id)
        if ue is None or ue.link is not link:
            # TS 36.413 clause 10.6
            send_error_indication(link, UNKNOWN_ENB_ID, mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id)
            return
        if ue.mme_ue_s1ap_id is None:
            ue.mme_ue_s1ap_id = mme_ue_s1ap_id
        elif ue.mme_ue_s1ap_id != mme_ue_s1ap_id:
            send_error_indication(link, UNKNOWN_PAIR, mme_ue_s1ap_id=mme_ue_s1ap_id, enb_ue_s1ap_id=enb_ue_s1ap_id)
            self.drop_context(ue)
            return
        if isinstance(message, DownlinkNASTransport):
            downlink_nas_transport(self, ue, message)
        elif not ue.slot.receive(ue.dialogue, message, self, ue):
            self._not_supported(link, message)
        waiting, ue.early_nas = ue.early_nas, []
        for pdu in waiting:
            uplink_nas_transport(self, ue, pdu)

    def _not_supported(self, link: MmeLink, message: Message) -> None:
        """A procedure that this eNodeB does not have: as if its code were unknown (TS 36.413 clause 10.3.4.1)."""
        name = type(message).__name__
        self.metrics.protocol_error("S1-MME", f"not supported: {name}")
        self.log.info("s1.not_supported", message=name)
        if message.criticality != "ignore" and message.kind == "initiating":
            send_error_indication(
                link, Cause("protocol", "abstract-syntax-error-reject"), mme_ue_s1ap_id=getattr(message, "mme_ue_s1ap_id", None),
                enb_ue_s1ap_id=getattr(message, "enb_ue_s1ap_id", None))

    def answer_syntax_error(self, link: MmeLink, error: S1apSyntaxError) -> None:
        try:
            answer_syntax_error(link, error)
        except ConnectionError as lost:
            self.log.info("s1.not_answered", reason=str(lost))

    # --- the radio's side: RadioEnb ----------------------------------------------------------------------------------

    def initial_nas(
        self, radio: RadioConnection, pdu: bytes, cause: RRCEstablishmentCause, s_tmsi: STmsi | None, gummei: Gummei | None, selected_plmn: Plmn,
    ) -> None:
        initial_ue_message(self, radio, pdu, cause, s_tmsi, gummei, selected_plmn)

    def uplink_nas(self, radio: RadioConnection, pdu: bytes) -> None:
        # One turn later: what the UE answered before it, a procedure acts on in between, so that the order on S1 is that of the radio.
        asyncio.get_running_loop().call_soon(self._uplink_nas, self.ues.on_radio(radio), pdu)

    def _uplink_nas(self, ue: UeContext | None, pdu: bytes) -> None:
        if ue is not None and self.ues.get(ue.enb_ue_s1ap_id) is ue:
            uplink_nas_transport(self, ue, pdu)

    def security_mode_done(self, radio: RadioConnection, success: bool) -> None:
        ue = self.ues.on_radio(radio)
        if ue is not None:
            ue.radio_dialogue.feed(SecurityModeDone(success))

    def reconfiguration_done(self, radio: RadioConnection, success: bool) -> None:
        ue = self.ues.on_radio(radio)
        if ue is not None:
            ue.radio_dialogue.feed(ReconfigurationDone(success))

    def uplink_packet(self, radio: RadioConnection, ebi: Ebi, packet: bytes) -> None:
        ue = self.ues.on_radio(radio)
        bearer = ue.bearers.get(ebi) if ue is not None else None
        if ue is not None and bearer is not None:
            ue.last_activity = asyncio.get_running_loop().time()
            bearer.link.on_packet(packet)

    def radio_lost(self, radio: RadioConnection) -> None:
        ue = self.ues.on_radio(radio)
        if ue is not None:
            self.ues.leave_radio(ue)
            ue.radio_dialogue.close(RadioLost())
            self.request_release(ue, RADIO_LOST)

    # --- what people see ---------------------------------------------------------------------------------------------

    def tunnels(self) -> Iterable[TunnelEnd]:
        for ue in self.ues:
            for bearer in ue.bearers.values():
                own, far = bearer.s1u_enb_teid, bearer.s1u_sgw_teid
                yield TunnelEnd(name="s1u_enb_teid", teid=own.teid, address=own.address, own=True, ebi=bearer.ebi)
                yield TunnelEnd(name="s1u_sgw_teid", teid=far.teid, address=far.address, own=False, ebi=bearer.ebi)

    def associated_peers(self) -> Iterator[AssociatedPeer]:
        return (link.as_peer() for link in self.links)

    def views(self) -> Mapping[str, View]:
        return {
            "mmes": lambda: [link.describe() for link in self.links],
            "ues": lambda: [self._describe(ue) for ue in self.ues],
            "cells": lambda: [
                {"cell_identity": f"{cell.information.cell_identity:07x}", "tac": cell.information.tac, "plmns": cell.information.plmns,
                 "camped_ues": len(cell.radios)} for cell in self.cells],
        }

    @staticmethod
    def _describe(ue: UeContext) -> dict[str, object]:
        return {
            "enb_ue_s1ap_id": ue.enb_ue_s1ap_id, "mme_ue_s1ap_id": ue.mme_ue_s1ap_id, "mme": ue.link.mme_name, "state": ue.state,
            "procedure": ue.slot.running.name if ue.slot.running is not None else None, "stream": ue.stream, "on_air": ue.on_air,
            "bearers": [
                {"ebi": bearer.ebi, "qci": bearer.qci, "s1u_enb_teid": str(bearer.s1u_enb_teid), "s1u_sgw_teid": str(bearer.s1u_sgw_teid)}
                for bearer in ue.bearers.values()],
        }

    def commands(self) -> Mapping[str, Command]:
        return {"release": self._release_command, "lose-radio": self._lose_radio_command, "reset": self._reset_command}

    def _ue_named(self, text: str) -> UeContext:
        ue = self.ues.get(int(text))
        if ue is None:
            raise LookupError(f"no UE has the eNB UE S1AP ID {text}")
        return ue

    async def _release_command(self, ue: str) -> object:
        """Ask the MME to release a UE, as after user inactivity."""
        self.request_release(self._ue_named(ue), USER_INACTIVITY)
        return "asked the MME"

    async def _lose_radio_command(self, ue: str) -> object:
        """Radio link failure of one UE."""
        self._ue_named(ue).radio.lose_radio()
        return "done"

    async def _reset_command(self, mme: str = "") -> object:
        """Reset the interface to the MME of that name or address, or to all of them."""
        chosen = [link for link in self.links if link.is_ready and mme in ("", link.mme_name, str(link.peer.address), link.peer.host)]
        if not chosen:
            raise LookupError(f"no MME {mme!r} is connected" if mme else "no MME is connected")
        outcomes = await asyncio.gather(*(self.runner.start(reset_mme, self, link, OM_INTERVENTION) for link in chosen))
        return {link.mme_name or str(link.peer.address): outcome.value for link, outcome in zip(chosen, outcomes, strict=True)}
