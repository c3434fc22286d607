"""One S1-MME interface: the association to an MME, kept up, and what S1 Setup told about that MME."""

from __future__ import annotations

import asyncio
import enum
import functools
from typing import TYPE_CHECKING

from epc.node.state import AssociatedPeer
from epc.procedure import Dialogue, Outcome
from epc.transport.interface import Address, Association
from epc.wire import s1ap
from epc.wire.errors import WireError
from epc.wire.identity import Plmn
from epc.wire.s1ap import Message, OverloadResponse, S1apSyntaxError, S1SetupResponse
from ran.enb.config import MmePeer
from ran.enb.identity import plmn_text
from ran.enb.radio import Gummei

if TYPE_CHECKING:
    from ran.enb.node import Enb

S1AP_PPID = 18              # TS 36.412 clause 7
COMMON_STREAM = 0           # for messages that belong to no UE (TS 36.412 clause 7)


class LinkState(enum.Enum):
    DOWN = "down"
    CONNECTING = "connecting"           # SCTP association on its way
    SETTING_UP = "setting up"           # association up, S1 Setup running
    READY = "ready"


class MmeLink:
    """Connects, sets up, and starts again whenever the association ends, until :meth:`stop`."""

    def __init__(self, enb: Enb, peer: MmePeer) -> None:
        self.enb = enb
        self.peer = peer
        self.state = LinkState.DOWN
        self.association: Association | None = None
        self.dialogue = Dialogue(self.send)     # procedures of the interface itself
        self.mme_name = ""
        self.served_plmns: frozenset[str] = frozenset()
        self.gummeis: frozenset[Gummei] = frozenset()
        self.relative_capacity = 0
        self.overload: OverloadResponse | None = None
        self.wait_s: float | None = None        # Time To Wait of the last S1 SETUP FAILURE
        self._task: asyncio.Task[None] | None = None
        self._closed: asyncio.Event = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self.state is LinkState.READY

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_up(), name=f"S1 {self.peer.address}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None
        if self.association is not None:
            self.association.shutdown()
            self._down("the eNodeB stops")

    async def _keep_up(self) -> None:
        timers = self.enb.config.timers
        pause_s = timers.reconnect_s
        while True:
            self.wait_s = None
            if await self._connect() and await self.enb.set_up(self) is Outcome.SUCCESS:
                pause_s = timers.reconnect_s
                await self._closed.wait()
            elif self.association is not None:
                self.association.shutdown()
                self._down("S1 Setup failed")
            await asyncio.sleep(pause_s if self.wait_s is None else self.wait_s)
            pause_s = min(2 * pause_s, timers.reconnect_limit_s)

    async def _connect(self) -> bool:
        self.state = LinkState.CONNECTING
        local = self.enb.config.s1_mme_host
        try:
            association = await self.enb.transport.connect_sctp(
                self.peer.address, local=Address(local, 0) if local else None, interface="S1-MME", timeout_s=self.enb.config.timers.connect_s)
        except (OSError, TimeoutError) as error:
            self.state = LinkState.DOWN
            self.enb.log.info("s1.unreachable", mme=str(self.peer.address), reason=str(error))
            return False
        self._closed.clear()
        self.association = association
        association.on_message = self._received
        association.on_closed = functools.partial(self._association_closed, association)
        self.state = LinkState.SETTING_UP
        return True

    def _association_closed(self, association: Association, reason: str) -> None:
        if association is self.association:     # the end of an earlier one may be told late
            self._down(reason)

    def _down(self, reason: str) -> None:
        """The association is gone, and with it every UE-associated connection over it (TS 36.413 clause 8.7.1, TS 23.401 clause 5.3.5)."""
        if self.association is None:
            return
        self.association = None
        was_ready, self.state = self.is_ready, LinkState.DOWN
        self.overload = None
        self._closed.set()
        self.dialogue.close(ConnectionError(f"S1 association ended: {reason}"))
        if was_ready:
            self.enb.log.warning("s1.lost", mme=self.mme_name or str(self.peer.address), reason=reason)
        self.enb.link_lost(self)

    def learn(self, response: S1SetupResponse) -> None:
        """The MME's identity and what it serves, from S1 SETUP RESPONSE."""
        self.mme_name = response.mme_name or ""
        self.relative_capacity = response.relative_mme_capacity
        self.learn_gummeis(response.served_gummeis)
        self.state = LinkState.READY

    def learn_gummeis(self, items: tuple[s1ap.ServedGUMMEIsItem, ...]) -> None:
        self.served_plmns = frozenset(plmn_text(plmn) for item in items for plmn in item.served_plmns)
        self.gummeis = frozenset(
            Gummei(Plmn(plmn_text(plmn)), int.from_bytes(group, "big"), code[0])
            for item in items for plmn in item.served_plmns for group in item.served_group_ids for code in item.served_mmecs)

    # --- messages ----------------------------------------------------------------------------------------------------

    def send(self, message: Message, *, stream: int = COMMON_STREAM) -> None:
        """Raises :class:`ConnectionError` when the association is down."""
        if self.association is None:
            raise ConnectionError(f"no association to {self.peer.address}")
        name = type(message).__name__
        if type(message) in self.enb.behaviour.unsent:
            self.enb.log.debug("s1.unsent", message=name)
            return
        self.association.send(s1ap.encode(message), stream=stream, ppid=S1AP_PPID)
        self.enb.metrics.message_sent("S1-MME", name)

    def stream_for(self, enb_ue_s1ap_id: int) -> int:
        """UE-associated signalling keeps to one stream a UE, none of them 0 (TS 36.412 clause 7)."""
        streams = self.association.outbound_streams if self.association is not None else 1
        return 1 + enb_ue_s1ap_id % (streams - 1) if streams > 1 else COMMON_STREAM

    def _received(self, octets: bytes, stream: int, ppid: int) -> None:
        enb = self.enb
        if self.association is None:
            return
        if ppid != S1AP_PPID:
            enb.metrics.protocol_error("S1-MME", "wrong PPID")
            return
        try:
            message = s1ap.decode(octets)
        except S1apSyntaxError as error:
            enb.metrics.protocol_error("S1-MME", str(error.cause.value))
            enb.log.info("s1.syntax_error", error=str(error), mme=self.mme_name, octets=octets[:64].hex())
            enb.answer_syntax_error(self, error)
            return
        enb.metrics.message_received("S1-MME", type(message).__name__)
        if type(message) in enb.behaviour.ignored:
            return
        try:
            enb.dispatch(self, message)
        except (ConnectionError, WireError) as error:
            enb.log.info("s1.not_answered", message=type(message).__name__, reason=str(error))

    def as_peer(self) -> AssociatedPeer:
        address = str(self.peer.address)
        return AssociatedPeer(interface="S1-MME", peer=self.mme_name or address, address=address, state=self.state.value, is_up=self.is_ready)

    def describe(self) -> dict[str, object]:
        """For ``epclab ctl ENB mmes``."""
        return {
            "mme": self.mme_name, "address": str(self.peer.address), "state": self.state.value, "served_plmns": sorted(self.served_plmns),
            "gummeis": [f"{gummei.plmn}-{gummei.mme_group_id}-{gummei.mme_code}" for gummei in sorted(self.gummeis)],
            "relative_capacity": self.relative_capacity, "overloaded": self.overload is not None,
            "sctp": self.association.status() if self.association is not None else None,
        }
