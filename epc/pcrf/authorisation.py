"""A session and a decision: what is authorised, and what changes when the decision does (TS 29.212 clause 4.5.2.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from epc.pcrf.policy import Decision
from epc.pcrf.session import Ambr, GxSession
from epc.procedure import Reject
from epc.wire.diameter import RatType, ResultCode
from epc.wire.diameter.policy import ChargingRuleDefinition, ChargingRuleInstall, ChargingRuleRemove, DefaultEpsBearerQos, QosInformation

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the PCEF has to be told so that a session is as decided; empty fields where nothing changes."""

    install: tuple[ChargingRuleInstall, ...] = ()
    remove: tuple[ChargingRuleRemove, ...] = ()
    qos: DefaultEpsBearerQos | None = None
    ambr: tuple[QosInformation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.install or self.remove or self.qos or self.ambr)


def authorise(pcrf: Pcrf, imsi: str, apn: str, rat_type: RatType | int | None) -> Decision:
    """The decision for a user. Raises :class:`Reject` for one that is not to be served."""
    decision = pcrf.policies.decide(imsi, apn, rat_type)
    if decision is None:
        raise Reject(ResultCode.DIAMETER_USER_UNKNOWN, f"no policy for {imsi} at {apn}")
    if decision.rejects:
        raise Reject(ResultCode.DIAMETER_AUTHORIZATION_REJECTED, f"{decision.policy} rejects {imsi} at {apn}")
    return decision


def authorised_qos(decision: Decision, subscribed: DefaultEpsBearerQos | None) -> DefaultEpsBearerQos | None:
    return decision.default_eps_bearer_qos or subscribed


def authorised_ambr(decision: Decision, subscribed: Ambr) -> Ambr:
    return Ambr(subscribed.ul_bps if decision.ambr_ul_bps is None else decision.ambr_ul_bps,
                subscribed.dl_bps if decision.ambr_dl_bps is None else decision.ambr_dl_bps)


def ambr_of(information: QosInformation | None) -> Ambr:
    """The APN-AMBR in a QoS-Information."""
    if information is None:
        return Ambr(None, None)
    return Ambr(information.apn_aggregate_max_bitrate_ul, information.apn_aggregate_max_bitrate_dl)


def ambr_information(ambr: Ambr) -> tuple[QosInformation, ...]:
    if ambr == Ambr(None, None):
        return ()
    return (QosInformation(apn_aggregate_max_bitrate_ul=ambr.ul_bps, apn_aggregate_max_bitrate_dl=ambr.dl_bps),)


def decided_rules(decision: Decision) -> dict[bytes, ChargingRuleDefinition | None]:
    rules: dict[bytes, ChargingRuleDefinition | None] = {rule.charging_rule_name: rule for rule in decision.rules}
    rules.update(dict.fromkeys(decision.predefined_rules))
    return rules


def installation(rules: dict[bytes, ChargingRuleDefinition | None]) -> tuple[ChargingRuleInstall, ...]:
    if not rules:
        return ()
    return (ChargingRuleInstall(charging_rule_definition=tuple([rule for rule in rules.values() if rule is not None]),
                                charging_rule_name=tuple([name for name, rule in rules.items() if rule is None])),)


def removal(names: list[bytes]) -> tuple[ChargingRuleRemove, ...]:
    return (ChargingRuleRemove(charging_rule_name=tuple(names)),) if names else ()


def change_to(session: GxSession, decision: Decision) -> Change:
    """What has to change in ``session``, which stays as it is."""
    wanted = decided_rules(decision) | session.added_rules
    new = {name: rule for name, rule in wanted.items()
           if name not in session.withheld_rules and (name not in session.rules or session.rules[name] != rule)}
    old = [name for name in session.rules if name not in wanted]
    qos = authorised_qos(decision, session.subscribed_qos)
    ambr = authorised_ambr(decision, session.subscribed_ambr)
    return Change(install=installation(new), remove=removal(old), qos=qos if qos != session.authorised_qos else None,
                  ambr=ambr_information(ambr) if ambr != session.authorised_ambr else ())


def apply_change(session: GxSession, change: Change, policy: str) -> None:
    """``session`` is now as the PCEF was told."""
    for remove in change.remove:
        for name in remove.charging_rule_name:
            session.rules.pop(name, None)
    for install in change.install:
        session.rules.update({rule.charging_rule_name: rule for rule in install.charging_rule_definition})
        session.rules.update(dict.fromkeys(install.charging_rule_name))
    if change.qos is not None:
        session.authorised_qos = change.qos
    for information in change.ambr:
        session.authorised_ambr = ambr_of(information)
    session.policy = policy
