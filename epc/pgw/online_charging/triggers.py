"""Changes of the rating condition (TS 32.299 clauses 5.2.2.1.4 and 7.2.238): what the OCS arms by Trigger, the PGW reports at once."""

from __future__ import annotations

from collections.abc import Iterable

from epc.pgw.context import Whereabouts
from epc.pgw.policy import Policy
from epc.wire.diameter.charging import TriggerType
from epc.wire.gtpv2 import ChangeReportingAction

_CELLS = frozenset({TriggerType.CHANGEINLOCATION_ECGI, TriggerType.CHANGEINLOCATION_CELL_ID})
_AREAS = frozenset({TriggerType.CHANGE_IN_LOCATION, TriggerType.CHANGEINLOCATION_TAC})
_MCC_DIGITS = 3


def relocation_triggers(before: Whereabouts, after: Whereabouts) -> frozenset[TriggerType]:
    found: set[TriggerType] = set()
    if before.serving_network != after.serving_network:
        was, now = before.serving_network or "", after.serving_network or ""
        if was[:_MCC_DIGITS] != now[:_MCC_DIGITS]:
            found.add(TriggerType.CHANGEINLOCATION_MCC)
        if was[:_MCC_DIGITS] != now[:_MCC_DIGITS] or was[_MCC_DIGITS:] != now[_MCC_DIGITS:]:
            found.add(TriggerType.CHANGEINLOCATION_MNC)     # the same MNC of another country is another one
        found.add(TriggerType.CHANGE_IN_LOCATION)
    if before.rat_type != after.rat_type:
        found.add(TriggerType.CHANGE_IN_RAT)
    if before.ue_time_zone != after.ue_time_zone:
        found.add(TriggerType.CHANGE_IN_UE_TIMEZONE)
    was_at, is_at = before.uli, after.uli
    if was_at != is_at and is_at is not None:
        found.add(TriggerType.CHANGE_IN_LOCATION)
        if is_at.tai is not None and (was_at is None or was_at.tai != is_at.tai):
            found.add(TriggerType.CHANGEINLOCATION_TAC)
        if is_at.ecgi is not None and (was_at is None or was_at.ecgi != is_at.ecgi):
            found.add(TriggerType.CHANGEINLOCATION_ECGI)
    return frozenset(found)


SERVING_NODE_TRIGGERS = frozenset({TriggerType.CHANGE_IN_SGSN_IP_ADDRESS, TriggerType.CHANGE_IN_SERVING_NODE})


def policy_triggers(before: Policy, after: Policy) -> frozenset[TriggerType]:
    found: set[TriggerType] = set()
    if before.ambr != after.ambr:
        found |= {TriggerType.CHANGE_IN_QOS, TriggerType.CHANGEINQOS_APN_AGGREGATE_MAXIMUM_BIT_RATE}
    if before.qos != after.qos:
        found.add(TriggerType.CHANGE_IN_QOS)
    return frozenset(found)


def reporting_action(armed: Iterable[TriggerType | int]) -> ChangeReportingAction | None:
    """What the MME has to report so that the PGW hears of it (TS 23.401 clause 5.9.2); None: what it reports anyway is enough."""
    triggers = frozenset(armed)
    cells, areas = bool(triggers & _CELLS), bool(triggers & _AREAS)
    if cells and areas:
        return ChangeReportingAction.START_REPORTING_TAI_AND_ECGI
    if cells:
        return ChangeReportingAction.START_REPORTING_ECGI
    return ChangeReportingAction.START_REPORTING_TAI if areas else None
