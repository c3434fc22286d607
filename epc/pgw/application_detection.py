"""Applications that the PCRF wants to hear of: their traffic begins and ends (TS 29.212 clause 4.5.20)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from epc.dataplane.forwarder import UsageReport, UsageTrigger
from epc.dataplane.rules import Urr
from epc.pgw.context import Bearer, PccRule, PdnSession
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import ApplicationDetectionInformation, MuteNotification

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

APPLICATION_URR = 4
_EVENTS = {UsageTrigger.APPLICATION_START: EventTrigger.APPLICATION_START, UsageTrigger.APPLICATION_STOP: EventTrigger.APPLICATION_STOP}


class ApplicationDetection:
    """A :class:`~epc.pgw.context.Meter` that measures nothing: its URR hears of applications whose rules are not muted."""

    __slots__ = ("_session",)

    def __init__(self, session: PdnSession) -> None:
        self._session = session

    def urrs(self) -> Iterable[Urr]:
        if any(self._concerns(rule) for rule in self._session.rules.values()):
            yield Urr(id=APPLICATION_URR, application_events=True)

    def urr_ids_of(self, rule: PccRule, bearer: Bearer) -> Iterable[int]:
        return (APPLICATION_URR,) if self._concerns(rule) else ()

    def _concerns(self, rule: PccRule) -> bool:
        gx = self._session.gx
        return (rule.definition.tdf_application_identifier is not None and rule.definition.mute_notification != MuteNotification.MUTE_REQUIRED
                and gx is not None and not gx.event_triggers.isdisjoint(_EVENTS.values()))


def application_event(pgw: Pgw, session: PdnSession, event: UsageReport) -> None:
    gx = session.gx
    trigger = _EVENTS.get(event.trigger)
    if gx is None or trigger is None or trigger not in gx.event_triggers or event.application_id is None:
        return
    name = event.application_id.encode()
    pgw.report(session, trigger, applications=(ApplicationDetectionInformation(
        tdf_application_identifier=name, tdf_application_instance_identifier=name),))
