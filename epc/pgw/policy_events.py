"""What has changed about a UE, in the terms in which a PCRF asks for it (Event-Trigger, TS 29.212 clause 5.3.7)."""

from __future__ import annotations

from collections.abc import Iterator

from epc.pgw.context import PdnSession, Whereabouts
from epc.pgw.online_charging.triggers import reporting_action
from epc.wire.diameter.gx import EventTrigger
from epc.wire.gtpv2 import ChangeReportingAction

_Action = ChangeReportingAction
_CELLS = {EventTrigger.USER_LOCATION_CHANGE, EventTrigger.ECGI_CHANGE}
_AREAS = {EventTrigger.USER_LOCATION_CHANGE, EventTrigger.TAI_CHANGE}


def events_of_place(before: Whereabouts, now: Whereabouts, has_another_sgw: bool) -> Iterator[EventTrigger]:
    if before.rat_type != now.rat_type:
        yield EventTrigger.RAT_CHANGE
    if before.serving_network != now.serving_network:
        yield EventTrigger.PLMN_CHANGE
    if before.uli != now.uli:
        yield EventTrigger.USER_LOCATION_CHANGE
        if before.uli is None or now.uli is None or before.uli.tai != now.uli.tai:
            yield EventTrigger.TAI_CHANGE
        if before.uli is None or now.uli is None or before.uli.ecgi != now.uli.ecgi:
            yield EventTrigger.ECGI_CHANGE
    if before.ue_time_zone != now.ue_time_zone:
        yield EventTrigger.UE_TIME_ZONE_CHANGE
    if has_another_sgw:
        yield EventTrigger.AN_GW_CHANGE
        yield EventTrigger.SGSN_CHANGE


def change_reporting(session: PdnSession) -> ChangeReportingAction | None:
    """What the MME has to report when it changes, so that policy and charging hear of it (TS 23.401 clause 5.9.2); ``None``: nothing."""
    by_charging = None if session.gy is None else reporting_action(session.gy.armed)
    by_policy = frozenset[int]() if session.gx is None or not session.gx.is_open else session.gx.event_triggers
    cells = not by_policy.isdisjoint(_CELLS) or by_charging in (_Action.START_REPORTING_ECGI, _Action.START_REPORTING_TAI_AND_ECGI)
    areas = not by_policy.isdisjoint(_AREAS) or by_charging in (_Action.START_REPORTING_TAI, _Action.START_REPORTING_TAI_AND_ECGI)
    if cells and areas:
        return _Action.START_REPORTING_TAI_AND_ECGI
    if cells:
        return _Action.START_REPORTING_ECGI
    return _Action.START_REPORTING_TAI if areas else None
