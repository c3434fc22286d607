"""What a Credit-Control-Answer or a Re-Auth-Request changes in a session (TS 29.212 clauses 4.5.1 and 4.5.2)."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

from epc.pgw import rule_installation
from epc.pgw.bearer_binding import bind
from epc.pgw.context import PdnSession
from epc.wire.diameter.gx import CreditControlAnswer, EventTrigger, ReAuthRequest
from epc.wire.diameter.policy import ChargingRuleReport

if TYPE_CHECKING:
    from epc.pgw.node import Pgw


def take_decision(pgw: Pgw, session: PdnSession, decision: CreditControlAnswer | ReAuthRequest) -> tuple[ChargingRuleReport, ...]:
    """Note what is decided, and report the rules that cannot be. :func:`~epc.pgw.bearer_binding.bind` puts it in force."""
    gx = session.gx
    assert gx is not None
    if decision.event_trigger:              # the whole set, each time; one of them says that there is none
        gx.event_triggers = frozenset(decision.event_trigger) - {EventTrigger.NO_EVENT_TRIGGERS}
    if decision.revalidation_time is not None:
        _revalidate_at(pgw, session, decision.revalidation_time)
    session.wanted_policy = session.wanted_policy.with_decision(decision.default_eps_bearer_qos, decision.qos_information)
    rule_installation.remove_rules(session, decision.charging_rule_remove)
    return rule_installation.install_rules(pgw.rule_book, session, decision.charging_rule_install, pgw.clock())


def put_in_force(pgw: Pgw, session: PdnSession) -> None:
    bind(pgw, session)
    watch_the_clock(pgw, session)


def watch_the_clock(pgw: Pgw, session: PdnSession) -> None:
    """Rules come into force and end at their times (Rule-Activation-Time, Rule-Deactivation-Time; TS 29.212 clause 4.5.13)."""
    if session.next_rule_change is not None:
        session.next_rule_change.cancel()
        session.next_rule_change = None
    if all(rule.activation_time is rule.deactivation_time is None for rule in session.rules.values()):
        return
    now_s = pgw.clock()
    next_s = rule_installation.keep_time(session, now_s)
    if next_s is not None:
        session.next_rule_change = asyncio.get_running_loop().call_later(min(next_s - now_s, _LONGEST_S), _time_has_come, pgw, session)


_LONGEST_S = 86_400.0       # a clock that is set meanwhile is looked at once a day


def _time_has_come(pgw: Pgw, session: PdnSession) -> None:
    session.next_rule_change = None
    if pgw.is_established(session):
        rule_installation.keep_time(session, pgw.clock())
        put_in_force(pgw, session)


def _revalidate_at(pgw: Pgw, session: PdnSession, time: datetime.datetime) -> None:
    """TS 29.212 clause 4.5.14: the PCRF is asked again before that time."""
    gx = session.gx
    assert gx is not None
    if gx.revalidation is not None:
        gx.revalidation.cancel()
    delay_s = min(max(time.timestamp() - pgw.clock(), 0.0), 30 * _LONGEST_S)
    gx.revalidation = asyncio.get_running_loop().call_later(delay_s, _ask_again, pgw, session)


def _ask_again(pgw: Pgw, session: PdnSession) -> None:
    gx = session.gx
    assert gx is not None
    gx.revalidation = None
    if pgw.is_established(session):
        pgw.report(session, EventTrigger.REVALIDATION_TIMEOUT)
