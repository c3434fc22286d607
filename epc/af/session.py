"""A session with the PCRF: what was asked for, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from epc.procedure.outcome import cause_name
from epc.wire.diameter.policy import FlowStatus
from epc.wire.diameter.rx import AbortCause, AcceptableServiceInfo, Flows, MediaComponentDescription, SpecificAction

if TYPE_CHECKING:
    from epc.af.node import Af


class RequestRefused(Exception):
    """The PCRF says no. ``cause`` is its result; ``acceptable`` what it would have authorised, where it says so."""

    def __init__(self, cause: int, detail: str = "", acceptable: AcceptableServiceInfo | None = None) -> None:
        super().__init__(f"{cause_name(cause)}{f': {detail}' if detail else ''}")
        self.cause = cause
        self.acceptable = acceptable


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What the PCRF told."""

    actions: tuple[SpecificAction | int, ...]
    flows: tuple[Flows, ...] = ()


def both_ways(ue: str, server: str, protocol: int = 17) -> tuple[str, str]:
    """Flow-Descriptions of a flow between ``ADDRESS`` or ``ADDRESS:PORT`` of the UE and of the server; 17 is UDP, 6 TCP."""
    here, there = _end(ue), _end(server)
    return f"permit in {protocol} from {here} to {there}", f"permit out {protocol} from {there} to {here}"


def _end(text: str) -> str:
    host, colon, port = text.rpartition(":")
    return f"{host} {port}" if colon and ":" not in host else text


@dataclass(slots=True, eq=False, kw_only=True)
class AfSession:
    """An Rx session; ends with :meth:`release`, or when the PCRF aborts it."""

    af: Af
    session_id: str                                     # allocated here
    ue_ip: str
    media: str
    pcrf_host: str = ""
    components: dict[int, MediaComponentDescription] = field(default_factory=dict)
    notifications: list[Notification] = field(default_factory=list)
    aborted: AbortCause | int | None = None
    is_open: bool = True
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def release(self) -> None:
        """STR; raises :class:`RequestRefused`, ``TimerExpired``, ``ConnectionError``."""
        await self.af.release(self)

    async def change(self, components: Sequence[MediaComponentDescription]) -> None:
        """Another AAR of the same session; what it does not mention stays."""
        await self.af.change(self, components)

    async def set_gates(self, status: FlowStatus) -> None:
        """Open or close all flows: a call that is put on hold, and taken up again."""
        await self.change([MediaComponentDescription(media_component_number=number, flow_status=status) for number in self.components])

    async def told(self, *actions: SpecificAction, within_s: float = 10.0) -> Notification:
        """Wait until the PCRF tells one of ``actions``; one that has been told already counts. Raises ``TimeoutError``."""
        async with asyncio.timeout(within_s):
            while (found := self._find(actions)) is None:
                await self._next()
        return found

    async def ended(self, within_s: float = 10.0) -> AbortCause | int | None:
        """Wait until the session is over; why the PCRF aborted it, None when it did not."""
        async with asyncio.timeout(within_s):
            while self.is_open:
                await self._next()
        return self.aborted

    def _find(self, actions: Iterable[SpecificAction]) -> Notification | None:
        wanted = set(actions)
        return next((each for each in self.notifications if wanted & set(each.actions)), None)

    async def _next(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def note(self, notification: Notification) -> None:
        self.notifications.append(notification)
        self._changed.set()

    def note_end(self, aborted: AbortCause | int | None = None) -> None:
        self.aborted = aborted
        self.is_open = False
        self._changed.set()

    def state(self) -> dict[str, object]:
        """For ``epclab ctl``."""
        return {
            "session_id": self.session_id, "ue_ip": self.ue_ip, "media": self.media, "pcrf": self.pcrf_host,
            "told": [action.name if isinstance(action, SpecificAction) else action for each in self.notifications for action in each.actions],
        }
