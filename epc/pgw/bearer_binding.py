"""Which bearer carries which rule, and what has to happen until that is so (TS 29.213 clause 5.4, TS 23.203 clause 6.1.1.4).

Rules with the same QCI and ARP share a bearer; those of the default bearer's, or without QoS of their own, are the default bearer's.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from epc.peer.gtpc import RequestReceived
from epc.pgw.context import Bearer, PccRule, PdnSession
from epc.pgw.create_bearer import create_bearer
from epc.pgw.delete_bearer import delete_bearers
from epc.pgw.packet_filters import NoRoom, new_filters, old_filters
from epc.pgw.policy import arp_of, is_gbr
from epc.pgw.update_bearer import update_bearer, update_default_bearer
from epc.procedure import Reject, procedure
from epc.wire.diameter.policy import RuleFailureCode
from epc.wire.gtpv2 import Arp, BearerQos, CauseValue

if TYPE_CHECKING:
    from epc.pgw.node import Pgw

_MOST_BEARERS = 11              # identities 5 to 15 (TS 24.007 clause 11.2.3.1.5)
_GUARD_S = 2.0                  # before another attempt at what a handover or a tracking area update stood in the way of
_ATTEMPTS = 5
_FILTER_ERRORS = (
    CauseValue.SEMANTIC_ERROR_IN_THE_TFT_OPERATION, CauseValue.SYNTACTIC_ERROR_IN_THE_TFT_OPERATION,
    CauseValue.SEMANTIC_ERRORS_IN_PACKET_FILTERS, CauseValue.SYNTACTIC_ERRORS_IN_PACKET_FILTERS,
)


def bind(pgw: Pgw, session: PdnSession) -> None:
    """After rules or QoS have changed: what needs no signalling is so at once, and the rest follows."""
    bind_to_standing_bearers(session)
    pgw.apply(session)
    signal(pgw, session)


def signal(pgw: Pgw, session: PdnSession) -> None:
    """Begin with what has to be signalled, if there is anything."""
    if session.slot.running is not bearer_binding and _is_open(session):
        session.slot.start(bearer_binding, pgw, session)


@procedure(spec="TS 29.213 clause 5.4, TS 23.203 clause 6.1.1.4")
async def bearer_binding(pgw: Pgw, session: PdnSession) -> None:
    """One request after the other, until no rule waits and no bearer carries what it should not."""
    attempts = 0
    while pgw.is_established(session):
        try:
            if not await next_step(pgw, session):
                return
            attempts = 0
        except Reject as error:
            if error.cause != CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS or attempts == _ATTEMPTS:
                raise
            attempts += 1
            await asyncio.sleep(_GUARD_S)


async def next_step(pgw: Pgw, session: PdnSession, *, pti: int | None = None, command: RequestReceived | None = None) -> bool:
    """Signal what has to be signalled first, as the answer to the UE's or MME's ``command`` if there is one; false: there is nothing."""
    bind_to_standing_bearers(session)
    if session.wanted_policy != session.policy:
        await update_default_bearer(pgw, session, session.wanted_policy, command)
    elif waiting := _waiting(session):
        return await _set_up(pgw, session, waiting, pti, command) or command is None
    elif changed := _changed(session):
        return await _change(pgw, session, changed, pti, command) or command is None
    elif idle := [bearer for bearer in session.dedicated_bearers if not session.rules_of(bearer)]:
        await delete_bearers(pgw, session, idle, pti=pti, command=command)
    else:
        return False
    return True


def _is_open(session: PdnSession) -> bool:
    """Something is left to be signalled."""
    return bool(session.wanted_policy != session.policy or _waiting(session) or _changed(session)
                or any(not session.rules_of(bearer) for bearer in session.dedicated_bearers))


def _key(session: PdnSession, rule: PccRule) -> tuple[int, Arp] | None:
    """QCI and ARP of the bearer that the rule wants; ``None``: the default bearer."""
    qos, default = rule.definition.qos_information, session.policy.qos
    if qos is None or (qos.qos_class_identifier is None and qos.allocation_retention_priority is None):
        return None
    qci = default.qci if qos.qos_class_identifier is None else qos.qos_class_identifier
    arp = default.arp if qos.allocation_retention_priority is None else arp_of(qos.allocation_retention_priority)
    return None if (qci, arp) == (default.qci, default.arp) else (qci, arp)


def bind_to_standing_bearers(session: PdnSession) -> None:
    """A rule whose bearer is not there yet stays where it is, or waits."""
    bearers = _by_key(session)
    for rule in session.rules.values():
        key = _key(session, rule)
        if not rule.is_active:
            rule.bearer = None
        elif key is None:
            rule.bearer = session.default_bearer
        elif key in bearers:
            rule.bearer = bearers[key]


def _by_key(session: PdnSession) -> dict[tuple[int, Arp], Bearer]:
    return {(bearer.qos.qci, bearer.qos.arp): bearer for bearer in session.dedicated_bearers if not bearer.is_ending}


def _waiting(session: PdnSession) -> list[PccRule]:
    """The rules of the next bearer to set up."""
    bearers = _by_key(session)
    homeless = [(rule, key) for rule in session.rules.values() if rule.is_active and (key := _key(session, rule)) is not None and key not in bearers]
    return [rule for rule, key in homeless if key == homeless[0][1]]


def _changed(session: PdnSession) -> Bearer | None:
    """A bearer whose rules want other filters or rates than the UE knows of."""
    for bearer in session.dedicated_bearers:
        rules = session.rules_of(bearer)
        if rules and (_qos(bearer.qos, rules) != bearer.qos or old_filters(bearer, rules) or _lacks_filters(session, bearer, rules)):
            return bearer
    return None


def _lacks_filters(session: PdnSession, bearer: Bearer, rules: list[PccRule]) -> bool:
    try:
        return bool(new_filters(session, bearer, rules))
    except NoRoom:
        return True


async def _set_up(pgw: Pgw, session: PdnSession, rules: list[PccRule], pti: int | None, command: RequestReceived | None) -> bool:
    """False: nobody was asked."""
    key = _key(session, rules[0])
    assert key is not None
    if len(session.bearers) >= _MOST_BEARERS:
        pgw.fail_rules(session, rules, RuleFailureCode.MAX_NR_BEARERS_REACHED)
        return False
    bearer = Bearer(number=session.free_bearer_number(), qos=_qos(BearerQos(qci=key[0], arp=key[1]), rules), charging_id=pgw.next_charging_id(),
                    s5u_pgw=pgw.allocate_s5u())
    try:
        filters = new_filters(session, bearer, rules)
    except NoRoom:
        pgw.fail_rules(session, rules, RuleFailureCode.FILTER_RESTRICTIONS)
        return False
    try:
        await create_bearer(pgw, session, bearer, rules, filters, pti=pti, command=command)
    except Reject as error:
        if error.cause == CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS:
            raise
        pgw.log.info("bearer.refused", qci=bearer.qos.qci, reason=str(error))
        pgw.fail_rules(session, rules, failure_of(error))
    return True


async def _change(pgw: Pgw, session: PdnSession, bearer: Bearer, pti: int | None, command: RequestReceived | None) -> bool:
    """First what is added, so that no bearer is ever without a filter; then what goes. False: nobody was asked."""
    rules = session.rules_of(bearer)
    qos = _qos(bearer.qos, rules)
    old = old_filters(bearer, rules)
    try:
        added = new_filters(session, bearer, rules)
    except NoRoom:
        if not old:
            known = {sent.rule_name for sent in bearer.filters.values()}
            pgw.fail_rules(session, [rule for rule in rules if rule.name not in known] or rules, RuleFailureCode.FILTER_RESTRICTIONS)
            return False
        added = ()
    pgw.apply(session)
    try:
        await update_bearer(pgw, session, bearer, qos, added, () if added else old, pti=pti, command=command)
    except Reject as error:
        if error.cause == CauseValue.TEMPORARILY_REJECTED_DUE_TO_HANDOVER_IN_PROGRESS:
            raise
        pgw.log.info("bearer.change_refused", ebi=bearer.ebi, reason=str(error))
        if added or qos != bearer.qos:
            names = {sent.rule_name for sent in added}
            pgw.fail_rules(session, [rule for rule in rules if rule.name in names] or rules, failure_of(error))
        for identifier in () if added else old:
            bearer.filters.pop(identifier, None)        # what the UE will not give up does no harm
    return True


def _qos(base: BearerQos, rules: list[PccRule]) -> BearerQos:
    """The bearer's QoS: QCI and ARP as they are, and for a GBR bearer the sums of its rules' rates (TS 29.213 clause 6.3)."""
    if not is_gbr(base.qci):
        return base
    rates = [rule.definition.qos_information for rule in rules]
    gbr_ul = _kbps([qos.guaranteed_bitrate_ul for qos in rates if qos is not None])
    gbr_dl = _kbps([qos.guaranteed_bitrate_dl for qos in rates if qos is not None])
    return BearerQos(
        qci=base.qci, arp=base.arp, gbr_uplink_kbps=gbr_ul, gbr_downlink_kbps=gbr_dl,
        mbr_uplink_kbps=max(gbr_ul, _kbps([qos.max_requested_bandwidth_ul for qos in rates if qos is not None])),
        mbr_downlink_kbps=max(gbr_dl, _kbps([qos.max_requested_bandwidth_dl for qos in rates if qos is not None])))


def _kbps(rates_bps: list[int | None]) -> int:
    return math.ceil(sum(rate or 0 for rate in rates_bps) / 1000)


def failure_of(error: Reject) -> RuleFailureCode:
    """What the PCRF is told when others refuse (TS 29.212 clause 5.3.38)."""
    if error.cause in _FILTER_ERRORS:
        return RuleFailureCode.INCORRECT_FLOW_INFORMATION
    if error.cause == CauseValue.REMOTE_PEER_NOT_RESPONDING:
        return RuleFailureCode.AN_GW_FAILED
    return RuleFailureCode.RESOURCE_ALLOCATION_FAILURE


