"""QoS and rules for a PDN connection: what the PCRF decides, on top of what the HSS subscribed (TS 29.212 clause 4.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from epc.dataplane.rules import SdfFilter
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    DefaultEpsBearerQos,
    FlowDirection,
    QosInformation,
)
from epc.wire.gtpv2 import Ambr, Arp, BearerQos

_BOTH = (None, FlowDirection.UNSPECIFIED, FlowDirection.BIDIRECTIONAL)
_GBR_QCIS = frozenset({1, 2, 3, 4, 65, 66, 67, 71, 72, 73, 74, 75, 76, 82, 83, 84, 85})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The default bearer's QoS and the APN's aggregate bit rate."""

    qos: BearerQos
    ambr: Ambr | None

    def with_decision(self, default_qos: DefaultEpsBearerQos | None, qos_information: Iterable[QosInformation]) -> Policy:
        """What a Credit-Control-Answer or Re-Auth-Request changes."""
        policy = self
        if default_qos is not None:
            qci, arp = default_qos.qos_class_identifier, default_qos.allocation_retention_priority
            qos = replace(self.qos, qci=self.qos.qci if qci is None else qci, arp=self.qos.arp if arp is None else arp_of(arp))
            policy = replace(policy, qos=qos)
        for each in qos_information:
            uplink, downlink = each.apn_aggregate_max_bitrate_ul, each.apn_aggregate_max_bitrate_dl
            if uplink is not None and downlink is not None:
                policy = replace(policy, ambr=Ambr(uplink_kbps=uplink // 1000, downlink_kbps=downlink // 1000))
        return policy


def arp_of(arp: AllocationRetentionPriority) -> Arp:
    return Arp(
        priority_level=arp.priority_level,
        pre_emption_capability=arp.pre_emption_capability == PreEmptionCapability.PRE_EMPTION_CAPABILITY_ENABLED,
        pre_emption_vulnerability=arp.pre_emption_vulnerability != PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_DISABLED,
    )


def arp_group(arp: Arp) -> AllocationRetentionPriority:
    return AllocationRetentionPriority(
        priority_level=arp.priority_level,
        pre_emption_capability=PreEmptionCapability.PRE_EMPTION_CAPABILITY_ENABLED if arp.pre_emption_capability
        else PreEmptionCapability.PRE_EMPTION_CAPABILITY_DISABLED,
        pre_emption_vulnerability=PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_ENABLED if arp.pre_emption_vulnerability
        else PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_DISABLED,
    )


_sdf_filter = lru_cache(maxsize=4096)(SdfFilter.from_flow_description)      # operators have few rules and many users


def filters_of(rule: ChargingRuleDefinition, direction: FlowDirection) -> tuple[SdfFilter, ...]:
    """The rule's filters for one direction, or for both together; raises ``ValueError`` for a flow description that cannot be read."""
    return tuple([
        _sdf_filter(flow.flow_description) for flow in rule.flow_information
        if flow.flow_description is not None and (direction == FlowDirection.BIDIRECTIONAL or flow.flow_direction in (*_BOTH, direction))
    ])


def is_gbr(qci: int) -> bool:
    """The standardised QCIs whose bearers have a guaranteed bit rate (TS 23.203 table 6.1.7)."""
    return qci in _GBR_QCIS
