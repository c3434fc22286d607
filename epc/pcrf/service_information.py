"""From what an application function describes to PCC rules: TS 29.213 clause 6.3 (tables 6.3.1 and 6.3.2), TS 29.214 clause 5.3.8."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from epc.pcrf.config import ApplicationFunction, MediaName, MediaQos, RxConfig
from epc.pcrf.pcc import GBR_QCIS
from epc.pcrf.policy import arp_group
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode
from epc.wire.diameter.policy import ChargingRuleDefinition, FlowDirection, FlowInformation, FlowStatus, PacketFilterUsage, QosInformation
from epc.wire.diameter.rx import AcceptableServiceInfo, FlowUsage, MediaComponentDescription, MediaSubComponent, MediaType

# TS 29.213 table 6.3.1: flows in both directions get a conversational class, flows in one only a streaming class
DEFAULT_MEDIA: Mapping[MediaName, MediaQos] = {
    "audio": MediaQos(qci=1, max_ul=64_000, max_dl=64_000), "video": MediaQos(qci=2, max_ul=384_000, max_dl=384_000),
    "application": MediaQos(qci=2, max_ul=64_000, max_dl=64_000), "data": MediaQos(qci=6), "control": MediaQos(qci=6), "text": MediaQos(qci=6),
    "message": MediaQos(qci=6), "other": MediaQos(qci=9),
}
STREAMING_QCI = 4
SIGNALLING_QCI = 5
RTCP_SHARE = 0.05       # of the session's bandwidth, where RS and RR do not say it (RFC 3556)

_FILTER = re.compile(r"permit (in|out) (ip|\d{1,3}) from (\S+(?: [\d,-]+)?) to (\S+(?: [\d,-]+)?)")
_ENABLED_UP = (FlowStatus.ENABLED, FlowStatus.ENABLED_UPLINK)
_ENABLED_DOWN = (FlowStatus.ENABLED, FlowStatus.ENABLED_DOWNLINK)


class FlowKey(NamedTuple):
    """A media sub-component of a session."""

    component: int
    flow: int


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """bit/s."""

    ul: int | None
    dl: int | None


class NotAuthorised(Reject):
    """REQUESTED_SERVICE_NOT_AUTHORIZED, with what would be (TS 29.214 clause 4.4.1)."""

    def __init__(self, detail: str, acceptable: AcceptableServiceInfo | None = None) -> None:
        super().__init__(ExperimentalResultCode.REQUESTED_SERVICE_NOT_AUTHORIZED, detail)
        self.acceptable = acceptable


def rules_of(
    config: RxConfig, function: ApplicationFunction, components: Iterable[MediaComponentDescription], *, name_prefix: str,
    af_charging_identifier: bytes | None = None, sponsor: str | None = None, service_provider: str | None = None,
) -> dict[FlowKey, ChargingRuleDefinition]:
    """One PCC rule for every media sub-component. Raises :class:`Reject`."""
    rules: dict[FlowKey, ChargingRuleDefinition] = {}
    total_ul = total_dl = 0
    components = list(components)
    for component in components:
        numbers = [each.flow_number for each in component.media_sub_component]
        if len(set(numbers)) != len(numbers):
            raise Reject(ExperimentalResultCode.INVALID_SERVICE_INFORMATION, f"media component {component.media_component_number} has a flow twice")
        if sum(len(each.flow_description) for each in component.media_sub_component) > config.max_filters:
            raise Reject(ExperimentalResultCode.FILTER_RESTRICTIONS, f"more than {config.max_filters} filters in one media component")
        for sub in component.media_sub_component:
            status = _status(component, sub)
            if status == FlowStatus.REMOVED or not sub.flow_description:
                continue
            flows = flow_information(sub.flow_description)
            media = _media(config, function, component.media_type)
            qci = _qci(media, sub, flows, status, configured=_is_configured(config, function, component.media_type))
            maximum = _maximum(media, component, sub, flows)
            total_ul += maximum.ul or 0
            total_dl += maximum.dl or 0
            rules[FlowKey(component.media_component_number, sub.flow_number)] = ChargingRuleDefinition(
                charging_rule_name=f"{name_prefix}-{component.media_component_number}-{sub.flow_number}".encode(),
                rating_group=function.rating_group, flow_information=flows, flow_status=status,
                qos_information=_qos(qci, media, component, maximum), precedence=function.precedence,
                af_charging_identifier=af_charging_identifier, sponsor_identity=sponsor, application_service_provider_identity=service_provider)
    for total, most, direction in ((total_ul, function.max_ul, "up"), (total_dl, function.max_dl, "down")):
        if most is not None and total > most:
            raise NotAuthorised(f"{total} bit/s {direction} are asked for, {most} allowed",
                                AcceptableServiceInfo(max_requested_bandwidth_ul=function.max_ul, max_requested_bandwidth_dl=function.max_dl))
    return rules


def flow_information(descriptions: Iterable[str]) -> tuple[FlowInformation, ...]:
    """Filters as Gx wants them: as the downlink packet looks, one for both directions where two mirror each other.

    Raises :class:`Reject` with FILTER_RESTRICTIONS for what TS 29.214 clause 5.3.8 does not allow.
    """
    found: dict[str, FlowDirection] = {}
    for description in descriptions:
        match = _FILTER.fullmatch(description)
        if match is None or match[3].startswith("!") or match[4].startswith("!"):
            raise Reject(ExperimentalResultCode.FILTER_RESTRICTIONS, f"not a permit filter without options: {description!r}")
        source, destination = (match[3], match[4]) if match[1] == "out" else (match[4], match[3])
        direction = FlowDirection.DOWNLINK if match[1] == "out" else FlowDirection.UPLINK
        text = f"permit out {match[2]} from {source} to {destination}"
        found[text] = FlowDirection.BIDIRECTIONAL if text in found and found[text] != direction else direction
    return tuple([FlowInformation(flow_description=text, packet_filter_usage=PacketFilterUsage.SEND_TO_UE, flow_direction=direction)
                  for text, direction in found.items()])


def media_name(media_type: MediaType | int | None) -> MediaName:
    return _NAMES.get(media_type, "other") if media_type is not None else "other"


_NAMES: dict[int, MediaName] = {
    MediaType.AUDIO: "audio", MediaType.VIDEO: "video", MediaType.DATA: "data", MediaType.APPLICATION: "application",
    MediaType.CONTROL: "control", MediaType.TEXT: "text", MediaType.MESSAGE: "message", MediaType.OTHER: "other"}


def _media(config: RxConfig, function: ApplicationFunction, media_type: MediaType | int | None) -> MediaQos:
    name = media_name(media_type)
    return function.media.get(name) or config.media.get(name) or DEFAULT_MEDIA[name]


def _is_configured(config: RxConfig, function: ApplicationFunction, media_type: MediaType | int | None) -> bool:
    return media_name(media_type) in function.media or media_name(media_type) in config.media


def _status(component: MediaComponentDescription, sub: MediaSubComponent) -> FlowStatus | int:
    """The sub-component's Flow-Status, else the component's, else enabled (TS 29.214 clause 5.3.11). RTCP is never gated alone."""
    if component.flow_status == FlowStatus.REMOVED:
        return FlowStatus.REMOVED
    if sub.flow_status is not None:
        return sub.flow_status
    status = FlowStatus.ENABLED if component.flow_status is None else component.flow_status
    if sub.flow_usage == FlowUsage.RTCP and status != FlowStatus.DISABLED:
        return FlowStatus.ENABLED
    return status


def _qci(media: MediaQos, sub: MediaSubComponent, flows: tuple[FlowInformation, ...], status: int, *, configured: bool) -> int:
    if configured:
        return media.qci            # the operator's own algorithm comes first
    if sub.flow_usage == FlowUsage.AF_SIGNALLING:
        return SIGNALLING_QCI
    if media.qci not in (1, 2):
        return media.qci
    directions = {flow.flow_direction for flow in flows}
    both = FlowDirection.BIDIRECTIONAL in directions or len(directions) > 1
    both = both and (status == FlowStatus.ENABLED or status == FlowStatus.DISABLED)
    return media.qci if both or sub.flow_usage == FlowUsage.RTCP else STREAMING_QCI


def _maximum(media: MediaQos, component: MediaComponentDescription, sub: MediaSubComponent, flows: tuple[FlowInformation, ...]) -> Bandwidth:
    """Table 6.3.1: Max_DR of the flows of a sub-component."""
    ul = sub.max_requested_bandwidth_ul
    dl = sub.max_requested_bandwidth_dl
    if sub.flow_usage == FlowUsage.RTCP:
        return Bandwidth(_rtcp(component, component.max_requested_bandwidth_ul, media.max_ul) if ul is None else ul,
                         _rtcp(component, component.max_requested_bandwidth_dl, media.max_dl) if dl is None else dl)
    if ul is None:
        ul = media.max_ul if component.max_requested_bandwidth_ul is None else component.max_requested_bandwidth_ul
    if dl is None:
        dl = media.max_dl if component.max_requested_bandwidth_dl is None else component.max_requested_bandwidth_dl
    directions = {flow.flow_direction for flow in flows}
    if directions == {FlowDirection.DOWNLINK}:
        ul = 0
    elif directions == {FlowDirection.UPLINK}:
        dl = 0
    return Bandwidth(ul, dl)


def _rtcp(component: MediaComponentDescription, session_bandwidth: int | None, default: int | None) -> int | None:
    rs, rr = component.rs_bandwidth, component.rr_bandwidth
    if rs is not None and rr is not None:
        return rs + rr
    base = default if session_bandwidth is None else session_bandwidth
    if base is None:
        return None
    return max(round(RTCP_SHARE * base), rs or 0, rr or 0)


def _qos(qci: int, media: MediaQos, component: MediaComponentDescription, maximum: Bandwidth) -> QosInformation:
    """Table 6.3.2: what is guaranteed is what is asked for at least, else the maximum."""
    guaranteed_ul = guaranteed_dl = None
    max_ul, max_dl = maximum.ul, maximum.dl
    if qci in GBR_QCIS:
        max_ul, max_dl = max_ul or 0, max_dl or 0
        guaranteed_ul = min(max_ul, max_ul if component.min_requested_bandwidth_ul is None else component.min_requested_bandwidth_ul)
        guaranteed_dl = min(max_dl, max_dl if component.min_requested_bandwidth_dl is None else component.min_requested_bandwidth_dl)
    return QosInformation(
        qos_class_identifier=qci, max_requested_bandwidth_ul=max_ul, max_requested_bandwidth_dl=max_dl, guaranteed_bitrate_ul=guaranteed_ul,
        guaranteed_bitrate_dl=guaranteed_dl, allocation_retention_priority=arp_group(media.arp))
