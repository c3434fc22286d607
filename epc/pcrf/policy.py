"""What a session is authorised to: policies applied to what the PCEF says about it (TS 23.203 clause 6.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from epc.pcrf.config import Arp, Policy, PolicyBook, Rule
from epc.wire.diameter import RatType
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability
from epc.wire.diameter.gx import EventTrigger, Offline, Online
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    DefaultEpsBearerQos,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    QosInformation,
)

_DIRECTIONS = {"downlink": FlowDirection.DOWNLINK, "uplink": FlowDirection.UPLINK, "both": FlowDirection.BIDIRECTIONAL}
_STATUSES = {"enabled": FlowStatus.ENABLED, "enabled-uplink": FlowStatus.ENABLED_UPLINK, "enabled-downlink": FlowStatus.ENABLED_DOWNLINK,
             "disabled": FlowStatus.DISABLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one policy gives; ``None`` where the PCEF's own value is authorised."""

    policy: str
    rejects: bool = False
    default_eps_bearer_qos: DefaultEpsBearerQos | None = None
    ambr_ul_bps: int | None = None
    ambr_dl_bps: int | None = None
    rules: tuple[ChargingRuleDefinition, ...] = ()
    predefined_rules: tuple[bytes, ...] = ()
    event_triggers: tuple[EventTrigger, ...] = ()
    online: Online | None = None
    offline: Offline | None = None


EVERYTHING = ChargingRuleDefinition(
    charging_rule_name=b"everything", precedence=0xFFFF, flow_status=FlowStatus.ENABLED,
    flow_information=(FlowInformation(flow_description="permit out ip from any to assigned", flow_direction=FlowDirection.BIDIRECTIONAL),))
"""What a session gets when its policy names no rule: all traffic, on the default bearer."""

AS_SUBSCRIBED = Decision(policy="as subscribed", rules=(EVERYTHING,))


class PolicyEngine:
    """The policies, worked out once: decisions are shared by all sessions they fit."""

    def __init__(self, book: PolicyBook) -> None:
        self.rules = {name: rule_definition(name, rule) for name, rule in book.rules.items()}
        self._others_allowed = book.others == "allow"
        self._decisions = [(policy, self._decision(number, policy)) for number, policy in enumerate(book.policies, 1)]

    def decide(self, imsi: str, apn: str, rat_type: RatType | int | None) -> Decision | None:
        """The first policy that fits; None for a user that is not to be served."""
        for policy, decision in self._decisions:
            if _fits_imsi(policy.imsi, imsi) and policy.apn in ("*", apn) and (not policy.rat or _rat_name(rat_type) in policy.rat):
                return decision
        return AS_SUBSCRIBED if self._others_allowed else None

    def _decision(self, number: int, policy: Policy) -> Decision:
        default = policy.default_bearer
        rules = tuple([self.rules[name] for name in policy.rules])
        if not policy.rules and not policy.predefined_rules:
            rules = (EVERYTHING,)
        return Decision(
            policy=policy.name or f"policy {number}",
            rejects=policy.reject,
            default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=default.qci, allocation_retention_priority=_arp(default.arp))
            if default else None,
            ambr_ul_bps=policy.ambr_ul, ambr_dl_bps=policy.ambr_dl,
            rules=rules,
            predefined_rules=tuple([name.encode() for name in policy.predefined_rules]),
            event_triggers=tuple([EventTrigger[name] for name in policy.event_triggers]),
            online=None if policy.online is None else Online(policy.online), offline=None if policy.offline is None else Offline(policy.offline))


def rule_definition(name: str, rule: Rule) -> ChargingRuleDefinition:
    """A configured rule as the PCEF gets it (TS 29.212 clause 5.3.4)."""
    qos = None
    if rule.qci is not None:
        qos = QosInformation(
            qos_class_identifier=rule.qci, max_requested_bandwidth_ul=rule.max_ul, max_requested_bandwidth_dl=rule.max_dl,
            guaranteed_bitrate_ul=rule.guaranteed_ul, guaranteed_bitrate_dl=rule.guaranteed_dl,
            allocation_retention_priority=_arp(rule.arp or Arp()))
    flows = tuple([FlowInformation(
        flow_description=flow.description, packet_filter_usage=1 if flow.tell_ue else None, flow_direction=_DIRECTIONS[flow.direction],
    ) for flow in rule.flows])
    return ChargingRuleDefinition(
        charging_rule_name=name.encode(), service_identifier=rule.service_identifier, rating_group=rule.rating_group, flow_information=flows,
        flow_status=_STATUSES[rule.status], qos_information=qos, online=None if rule.online is None else int(rule.online),
        offline=None if rule.offline is None else int(rule.offline), precedence=rule.precedence)


def _arp(arp: Arp) -> AllocationRetentionPriority:
    return AllocationRetentionPriority(
        priority_level=arp.priority_level,
        pre_emption_capability=PreEmptionCapability.PRE_EMPTION_CAPABILITY_ENABLED if arp.pre_emption_capability
        else PreEmptionCapability.PRE_EMPTION_CAPABILITY_DISABLED,
        pre_emption_vulnerability=PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_ENABLED if arp.pre_emption_vulnerability
        else PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_DISABLED)


def _fits_imsi(pattern: str, imsi: str) -> bool:
    return imsi.startswith(pattern[:-1]) if pattern.endswith("*") else imsi == pattern


def _rat_name(rat_type: RatType | int | None) -> str:
    return rat_type.name if isinstance(rat_type, RatType) else ""
