"""Sessions of application functions (TS 29.214 clause 4.4), each bound to one IP-CAN session, and what they are told about its bearers."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from epc.pcrf.service_information import FlowKey
from epc.pcrf.session import GxSession
from epc.procedure import procedure
from epc.wire.diameter.gx import CreditControlRequest, EventTrigger, IpCanType
from epc.wire.diameter.policy import ChargingRuleDefinition, ChargingRuleReport, PccRuleStatus
from epc.wire.diameter.rx import (
    AbortCause,
    AbortSessionAnswer,
    AbortSessionRequest,
    Flows,
    MediaComponentDescription,
    ReAuthAnswer,
    ReAuthRequest,
    SpecificAction,
)

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

ABORTED_REMEMBERED = 1024

# What the PCEF has to report so that the application function can be told
_TRIGGERS: dict[int, tuple[EventTrigger, ...]] = {
    SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION: (EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION,),
    SpecificAction.INDICATION_OF_LOSS_OF_BEARER: (EventTrigger.LOSS_OF_BEARER,),
    SpecificAction.INDICATION_OF_RECOVERY_OF_BEARER: (EventTrigger.RECOVERY_OF_BEARER,),
    SpecificAction.INDICATION_OF_OUT_OF_CREDIT: (EventTrigger.OUT_OF_CREDIT,),
    SpecificAction.IP_CAN_CHANGE: (EventTrigger.IP_CAN_CHANGE, EventTrigger.RAT_CHANGE),
    SpecificAction.PLMN_CHANGE: (EventTrigger.PLMN_CHANGE,),
}


@dataclass(slots=True, eq=False, kw_only=True)
class AfSession:
    """An Rx session."""

    session_id: str                                     # allocated by the application function
    number: int                                         # allocated here; in the names of its rules
    af_host: str                                        # Diameter identity
    af_realm: str
    origin_state_id: int | None                         # of the application function when it opened the session
    gx: GxSession                                       # the IP-CAN session it is bound to
    application: str = ""                               # AF-Application-Identifier
    af_charging_identifier: bytes | None = None
    actions: tuple[SpecificAction | int, ...] = ()      # what it wants to be told
    components: dict[int, MediaComponentDescription] = field(default_factory=dict)     # by Media-Component-Number
    rules: dict[FlowKey, ChargingRuleDefinition] = field(default_factory=dict)         # pushed to the PCEF; none while it is preliminary
    lost: frozenset[FlowKey] = frozenset()              # failed, or taken away by the access network
    suspended: frozenset[FlowKey] = frozenset()         # for the time being
    allocated: frozenset[FlowKey] = frozenset()         # the PCEF confirmed their bearer

    def state(self) -> dict[str, object]:
        """For ``epclab ctl``."""
        return {
            "session_id": self.session_id, "af": self.af_host, "application": self.application, "imsi": self.gx.imsi, "apn": self.gx.apn,
            "gx_session_id": self.gx.session_id, "rules": [rule.charging_rule_name.decode() for rule in self.rules.values()],
            "qcis": sorted({rule.qos_information.qos_class_identifier or 0 for rule in self.rules.values() if rule.qos_information}),
            "actions": [action.name if isinstance(action, SpecificAction) else action for action in self.actions],
            "allocated": [f"{key.component}.{key.flow}" for key in sorted(self.allocated)],
            "lost": [f"{key.component}.{key.flow}" for key in sorted(self.lost)],
        }


class AfSessionTable:
    """The Rx sessions, by Session-Id and by the IP-CAN session they are bound to."""

    def __init__(self, pcrf: Pcrf) -> None:
        self._pcrf = pcrf
        self._by_id: dict[str, AfSession] = {}
        self._by_gx: dict[str, list[AfSession]] = {}
        self._numbers = itertools.count(1)
        self._aborted: OrderedDict[str, None] = OrderedDict()
        self._states: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[AfSession]:
        return iter(list(self._by_id.values()))

    def get(self, session_id: str) -> AfSession | None:
        return self._by_id.get(session_id)

    def of_gx(self, session: GxSession) -> list[AfSession]:
        return list(self._by_gx.get(session.session_id, ()))

    def new_number(self) -> int:
        return next(self._numbers)

    def add(self, session: AfSession) -> None:
        self._by_id[session.session_id] = session
        self._by_gx.setdefault(session.gx.session_id, []).append(session)
        self.bind(session.gx)

    def remove(self, session: AfSession) -> None:
        self._by_id.pop(session.session_id, None)
        siblings = self._by_gx.get(session.gx.session_id, [])
        if session in siblings:
            siblings.remove(session)
        if not siblings:
            self._by_gx.pop(session.gx.session_id, None)
        self.bind(session.gx)

    def note_state(self, af_host: str, origin_state_id: int | None) -> list[AfSession]:
        """A greater Origin-State-Id: the application function has lost its sessions (RFC 6733 clause 8.16); they are removed and returned."""
        if origin_state_id is None or origin_state_id <= self._states.get(af_host, -1):
            return []
        self._states[af_host] = origin_state_id
        lost = [session for session in self if session.af_host == af_host
                and session.origin_state_id is not None and session.origin_state_id < origin_state_id]
        for session in lost:
            self.remove(session)
        return lost

    def was_aborted(self, session_id: str) -> bool:
        """Whether the PCRF ended it, so that its termination by the application function is no surprise."""
        return session_id in self._aborted

    def bind(self, gx: GxSession) -> None:
        """What all application functions together want of an IP-CAN session."""
        sessions = self._by_gx.get(gx.session_id, ())
        gx.af_rules = {rule.charging_rule_name: rule for each in sessions for key, rule in each.rules.items() if key not in each.lost}
        gx.af_triggers = tuple(dict.fromkeys(
            trigger for each in sessions for action in each.actions for trigger in _TRIGGERS.get(action, ())))

    # what happens to bearers

    def bearer_lost(self, gx: GxSession) -> None:
        """The IP-CAN session has ended: so have its application functions' sessions (TS 29.214 clause 4.4.6.1)."""
        for session in self.of_gx(gx):
            self._abort(session, AbortCause.BEARER_RELEASED)

    def note_events(self, gx: GxSession, request: CreditControlRequest) -> None:
        """A CCR-U of the PCEF's."""
        if gx.session_id not in self._by_gx:
            return
        self.note_rule_reports(gx, request.charging_rule_report, request.event_trigger)
        events = set(request.event_trigger)
        for session in self.of_gx(gx):
            actions = []
            if events & {EventTrigger.IP_CAN_CHANGE, EventTrigger.RAT_CHANGE}:
                actions.append(SpecificAction.IP_CAN_CHANGE)
            if EventTrigger.PLMN_CHANGE in events:
                actions.append(SpecificAction.PLMN_CHANGE)
            self._tell(session, actions)

    def note_rule_reports(self, gx: GxSession, reports: Iterable[ChargingRuleReport], events: Collection[EventTrigger | int] = ()) -> None:
        """What became of rules at the PCEF."""
        sessions = self.of_gx(gx)
        for report in reports if sessions else ():
            names = set(report.charging_rule_name)
            for session in sessions:
                keys = frozenset([key for key, rule in session.rules.items() if rule.charging_rule_name in names])
                if keys:
                    self._note_report(session, keys, report, events)

    def _note_report(self, session: AfSession, keys: frozenset[FlowKey], report: ChargingRuleReport, events: Collection[EventTrigger | int]) -> None:
        match report.pcc_rule_status:
            case PccRuleStatus.ACTIVE:
                recovered = keys & session.suspended
                session.suspended -= keys
                if recovered:
                    self._tell(session, [SpecificAction.INDICATION_OF_RECOVERY_OF_BEARER], recovered)
                if EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION in events:
                    session.allocated |= keys
                    self._tell(session, [SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION], keys)
            case PccRuleStatus.TEMPORARILY_INACTIVE:
                session.suspended |= keys
                self._tell(session, [SpecificAction.INDICATION_OF_LOSS_OF_BEARER], keys)
            case _ if EventTrigger.OUT_OF_CREDIT in events:
                self._tell(session, [SpecificAction.INDICATION_OF_OUT_OF_CREDIT], keys)
            case _:
                self._lose(session, keys)

    def _lose(self, session: AfSession, keys: frozenset[FlowKey]) -> None:
        """Clause 4.4.6.2: flows whose resources were released, or never came."""
        had_them = keys & session.allocated
        session.lost |= keys
        session.allocated -= keys
        self.bind(session.gx)
        failed = SpecificAction.INDICATION_OF_FAILED_RESOURCES_ALLOCATION
        if session.lost >= session.rules.keys() and not (failed in session.actions and not had_them):
            self._abort(session, AbortCause.BEARER_RELEASED if had_them else AbortCause.INSUFFICIENT_BEARER_RESOURCES)
            return
        self._tell(session, [SpecificAction.INDICATION_OF_RELEASE_OF_BEARER if had_them else failed], keys)

    def _tell(self, session: AfSession, actions: Iterable[SpecificAction], keys: frozenset[FlowKey] = frozenset()) -> None:
        wanted = tuple([action for action in actions if action in session.actions])
        if wanted:
            self._pcrf.runner.start(notify_application_function, self._pcrf, session, wanted, flows_of(keys))

    def _abort(self, session: AfSession, cause: AbortCause) -> None:
        self.remove(session)
        self._aborted[session.session_id] = None
        if len(self._aborted) > ABORTED_REMEMBERED:
            self._aborted.popitem(last=False)
        self._pcrf.runner.start(abort_af_session, self._pcrf, session, cause)


def flows_of(keys: Iterable[FlowKey]) -> tuple[Flows, ...]:
    by_component: dict[int, list[int]] = {}
    for key in sorted(keys):
        by_component.setdefault(key.component, []).append(key.flow)
    return tuple([Flows(media_component_number=number, flow_number=tuple(flows)) for number, flows in by_component.items()])


@procedure(spec="TS 29.214 clause 4.4.6")
async def notify_application_function(pcrf: Pcrf, session: AfSession, actions: tuple[SpecificAction, ...], flows: tuple[Flows, ...]) -> None:
    await pcrf.ask(ReAuthRequest(
        session_id=session.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        destination_realm=session.af_realm, destination_host=session.af_host, specific_action=actions, flows=flows,
        ip_can_type=IpCanType.TGPP_EPS, rat_type=session.gx.rat_type, tgpp_user_location_info=session.gx.location,
        tgpp_sgsn_mcc_mnc=session.gx.serving_plmn), ReAuthAnswer)


@procedure(spec="TS 29.214 clause 4.4.6.1")
async def abort_af_session(pcrf: Pcrf, session: AfSession, cause: AbortCause) -> None:
    """The application function answers, and ends the session with an STR of its own."""
    await pcrf.ask(AbortSessionRequest(
        session_id=session.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        destination_realm=session.af_realm, destination_host=session.af_host, abort_cause=cause), AbortSessionAnswer)
