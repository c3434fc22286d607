"""The forwarder's rules as PFCP says them, and what PFCP says as the forwarder's rules (TS 29.244 clauses 5.2 and 7.5).

A control function turns a :class:`~epc.dataplane.rules.Session` into a Session Establishment Request with :func:`establishment`, and a change
into a Session Modification Request with :func:`modification`. A user-plane function keeps what it was told in :class:`PfcpRules`, because
updates name only what changes, and gets the forwarder's rules out of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeVar

from epc.dataplane.rules import (
    Application,
    ApplyAction,
    Duplicate,
    Far,
    FTeid,
    Gate,
    Interface,
    Pdr,
    Qer,
    RuleError,
    SdfFilter,
    Session,
    SessionChange,
    UeIpAddress,
    Urr,
)
from epc.dataplane.usage import does_more_than_count, measures_time
from epc.wire import pfcp
from epc.wire.errors import WireError
from epc.wire.gtpv2.elements import decode_labels, encode_labels
from epc.wire.pfcp import CauseValue, ChooseFteid, FailedRuleId, Fseid, Fteid, NodeIdentity, RuleType, SourceInterface

T = TypeVar("T")
_Rule = TypeVar("_Rule", Pdr, Far, Qer, Urr)

_HIGHEST_PRECEDENCE = 0xFFFFFFFF
_UNLIMITED_KBPS = 0xFFFFFFFFFF
_INTERFACES: dict[int, Interface] = {
    SourceInterface.ACCESS: Interface.ACCESS, SourceInterface.CORE: Interface.CORE, SourceInterface.SGI_LAN: Interface.CORE,
    SourceInterface.CP_FUNCTION: Interface.CORE,        # packets of users' that it wants to see or has sent itself, in a tunnel (Sx-u)
}
_GTP_U_REMOVALS = (
    pfcp.OuterHeaderRemovalDescription.GTP_U_UDP_IPV4,
    pfcp.OuterHeaderRemovalDescription.GTP_U_UDP_IPV6,
    pfcp.OuterHeaderRemovalDescription.GTP_U_UDP_IP,
)


class RuleFailure(RuleError):
    """A rule of PFCP's that cannot be installed, with what to answer."""

    def __init__(
        self, reason: str, rule_type: RuleType, rule_id: int, *, cause: CauseValue = CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE
    ) -> None:
        super().__init__(f"{rule_type.name} {rule_id}: {reason}")
        self.cause = cause
        self.failed_rule_id = FailedRuleId(type=rule_type, id=rule_id)


# --- from the forwarder's rules to PFCP ---------------------------------------------------------------------------------------


def establishment(
    session: Session, *, node_id: NodeIdentity, host: str, usage_period_s: int | None = None
) -> pfcp.SessionEstablishmentRequest:
    """Our end of the PFCP session has the session's id as SEID, and is at ``host``. URRs report each ``usage_period_s``, if that is given."""
    return pfcp.SessionEstablishmentRequest(
        node_id=node_id, cp_fseid=Fseid.at(session.id, host), create_pdrs=tuple([_create_pdr(pdr) for pdr in session.pdrs]),
        create_fars=tuple([_create_far(far) for far in session.fars]), create_urrs=tuple([_create_urr(urr, usage_period_s) for urr in session.urrs]),
        create_qers=tuple([_create_qer(qer) for qer in session.qers]), pdn_type=_pdn_type(session),
    )


def _pdn_type(session: Session) -> pfcp.PdnType:
    """An SGW's rules name no addresses, and any will do."""
    ues = [pdr.ue_ip_address for pdr in session.pdrs if pdr.ue_ip_address is not None]
    if not any(ue.ipv6_prefix is not None for ue in ues):
        return pfcp.PdnType.IPV4
    return pfcp.PdnType.IPV4V6 if any(ue.ipv4 is not None for ue in ues) else pfcp.PdnType.IPV6


def modification(former: Session, change: SessionChange, *, usage_period_s: int | None = None) -> pfcp.SessionModificationRequest | None:
    """What of ``change`` is new to a session with the rules ``former``; ``None`` when nothing is.

    A FAR that buffers is always told again: that is how its next packet is announced anew; and so is a URR, whose quota is granted anew.
    What is absent from an update stays as it is; a rule that loses something is therefore removed, and created with the same id.
    """
    pdrs, fars, qers, urrs = _by_id(former.pdrs), _by_id(former.fars), _by_id(former.qers), _by_id(former.urrs)
    pdrs_anew = [pdr.id for pdr in change.pdrs if pdr.id in pdrs and _pdr_loses(pdrs[pdr.id], pdr)]
    fars_anew = [far.id for far in change.fars if far.id in fars and _far_loses(fars[far.id], far)]
    for rule_id in pdrs_anew:
        del pdrs[rule_id]
    for rule_id in fars_anew:
        del fars[rule_id]
    message = pfcp.SessionModificationRequest(
        remove_pdrs=tuple([pfcp.RemovePdr(pdr_id=rule_id) for rule_id in (*change.remove_pdrs, *pdrs_anew)]),
        remove_fars=tuple([pfcp.RemoveFar(far_id=rule_id) for rule_id in (*change.remove_fars, *fars_anew)]),
        remove_urrs=tuple([pfcp.RemoveUrr(urr_id=rule_id) for rule_id in change.remove_urrs]),
        remove_qers=tuple([pfcp.RemoveQer(qer_id=rule_id) for rule_id in change.remove_qers]),
        create_pdrs=tuple([_create_pdr(pdr) for pdr in change.pdrs if pdr.id not in pdrs]),
        create_fars=tuple([_create_far(far) for far in change.fars if far.id not in fars]),
        create_urrs=tuple([_create_urr(urr, usage_period_s) for urr in change.urrs if urr.id not in urrs]),
        create_qers=tuple([_create_qer(qer) for qer in change.qers if qer.id not in qers]),
        update_pdrs=tuple([_update_pdr(pdrs[pdr.id], pdr) for pdr in change.pdrs if pdr.id in pdrs and pdr != pdrs[pdr.id]]),
        update_fars=tuple([
            _update_far(fars[far.id], far, end_marker=far.id in change.end_markers) for far in change.fars
            if far.id in fars and (far != fars[far.id] or ApplyAction.BUFFER in far.apply_action)
        ]),
        update_urrs=tuple([
            _update_urr(urrs[urr.id], urr, usage_period_s) for urr in change.urrs
            if urr.id in urrs and (urr != urrs[urr.id] or does_more_than_count(urr))
        ]),
        update_qers=tuple([_update_qer(qer) for qer in change.qers if qer.id in qers and qer != qers[qer.id]]),
    )
    return None if message == _NOTHING else message


_NOTHING = pfcp.SessionModificationRequest()


def changed(session: Session, change: SessionChange) -> Session:
    """The rules after the change, all of which :class:`~epc.dataplane.forwarder.Forwarder` is asked to check."""
    pdrs, fars, qers, urrs = _by_id(session.pdrs), _by_id(session.fars), _by_id(session.qers), _by_id(session.urrs)
    for rules, removed in ((pdrs, change.remove_pdrs), (fars, change.remove_fars), (qers, change.remove_qers), (urrs, change.remove_urrs)):
        for rule_id in removed:
            if rules.pop(rule_id, None) is None:
                raise RuleError(f"no rule {rule_id} to remove from session {session.id}")
    pdrs.update(_by_id(change.pdrs))
    fars.update(_by_id(change.fars))
    qers.update(_by_id(change.qers))
    urrs.update(_by_id(change.urrs))
    return Session(id=session.id, pdrs=tuple(pdrs.values()), fars=tuple(fars.values()), qers=tuple(qers.values()), urrs=tuple(urrs.values()))


def _create_pdr(pdr: Pdr) -> pfcp.CreatePdr:
    return pfcp.CreatePdr(
        pdr_id=pdr.id, precedence=min(pdr.precedence, _HIGHEST_PRECEDENCE), pdi=_pdi(pdr), outer_header_removal=_removal(pdr), far_id=pdr.far_id,
        urr_ids=pdr.urr_ids, qer_ids=pdr.qer_ids,
    )


def _pdr_loses(former: Pdr, pdr: Pdr) -> bool:
    return any(getattr(former, name) and not getattr(pdr, name) for name in ("local_f_teid", "qer_ids", "urr_ids"))


def _far_loses(former: Far, far: Far) -> bool:
    """What it does not do while it waits or drops is of no account."""
    if ApplyAction.FORWARD not in far.apply_action:
        return False
    return any(getattr(former, name) and not getattr(far, name) for name in ("outer_header_creation", "redirect_url"))


def _update_pdr(former: Pdr, pdr: Pdr) -> pfcp.UpdatePdr:
    same_packets = replace(former, far_id=pdr.far_id, qer_ids=pdr.qer_ids, urr_ids=pdr.urr_ids, precedence=pdr.precedence) == pdr
    return pfcp.UpdatePdr(
        pdr_id=pdr.id, precedence=min(pdr.precedence, _HIGHEST_PRECEDENCE) if pdr.precedence != former.precedence else None,
        pdi=None if same_packets else _pdi(pdr), outer_header_removal=None if same_packets else _removal(pdr),
        far_id=pdr.far_id if pdr.far_id != former.far_id else None, urr_ids=pdr.urr_ids if pdr.urr_ids != former.urr_ids else (),
        qer_ids=pdr.qer_ids if pdr.qer_ids != former.qer_ids else (),
    )


def _pdi(pdr: Pdr) -> pfcp.Pdi:
    ue = pdr.ue_ip_address
    prefix = None if ue is None else ue.ipv6_prefix
    return pfcp.Pdi(
        source_interface=SourceInterface(pdr.source_interface),
        local_fteid=None if pdr.local_f_teid is None else Fteid.at(pdr.local_f_teid.teid, pdr.local_f_teid.address),
        network_instance=encode_labels(pdr.network_instance) if pdr.network_instance else None,
        ue_ip_address=None if ue is None else pfcp.UeIpAddress(
            ipv4=ue.ipv4, ipv6=None if prefix is None else prefix.network_address, is_destination=pdr.source_interface is Interface.CORE),
        sdf_filters=tuple([pfcp.SdfFilter(flow_description=flow_description(sdf)) for sdf in pdr.sdf_filters]),
        application_id=None if pdr.application_id is None else pdr.application_id.encode(),
    )


def _removal(pdr: Pdr) -> pfcp.OuterHeaderRemoval | None:
    if pdr.local_f_teid is None:
        return None
    return _REMOVE_IPV6 if ":" in pdr.local_f_teid.address else _REMOVE_IPV4


_REMOVE_IPV4 = pfcp.OuterHeaderRemoval(description=pfcp.OuterHeaderRemovalDescription.GTP_U_UDP_IPV4)
_REMOVE_IPV6 = pfcp.OuterHeaderRemoval(description=pfcp.OuterHeaderRemovalDescription.GTP_U_UDP_IPV6)


def flow_description(sdf: SdfFilter) -> str:
    """The filter as an IPFilterRule, the way :meth:`SdfFilter.from_flow_description` reads it (TS 29.212 clause 5.4.2)."""
    remote, local = "any" if sdf.remote is None else str(sdf.remote), "assigned"
    if sdf.remote_ports is not None:
        remote += f" {sdf.remote_ports[0]}-{sdf.remote_ports[1]}"
    if sdf.local_ports is not None:
        local += f" {sdf.local_ports[0]}-{sdf.local_ports[1]}"
    return f"permit out {'ip' if sdf.protocol is None else sdf.protocol} from {remote} to {local}"


_ACTIONS = (
    (ApplyAction.DROP, pfcp.ApplyAction.DROP), (ApplyAction.FORWARD, pfcp.ApplyAction.FORW), (ApplyAction.BUFFER, pfcp.ApplyAction.BUFF),
    (ApplyAction.NOTIFY_CP, pfcp.ApplyAction.NOCP), (ApplyAction.DUPLICATE, pfcp.ApplyAction.DUPL),
)
_ACTION_OF = {
    action: sum((theirs for ours, theirs in _ACTIONS if ours in action), pfcp.ApplyAction(0))
    for action in (
        ApplyAction.DROP, ApplyAction.FORWARD, ApplyAction.BUFFER, ApplyAction.BUFFER | ApplyAction.NOTIFY_CP,
        ApplyAction.FORWARD | ApplyAction.DUPLICATE,
    )
}


def _apply_action(far: Far) -> pfcp.ApplyAction:
    action = _ACTION_OF.get(far.apply_action)
    if action is None:
        raise RuleError(f"FAR {far.id} must do exactly one of FORWARD, DROP and BUFFER")
    return pfcp.ApplyAction(action)


def _create_far(far: Far) -> pfcp.CreateFar:
    parameters = None
    if ApplyAction.FORWARD in far.apply_action:
        parameters = pfcp.ForwardingParameters(
            destination_interface=SourceInterface(far.destination_interface), network_instance=_link(far), outer_header_creation=_header(far),
            redirect_information=_redirection(far),
        )
    return pfcp.CreateFar(
        far_id=far.id, apply_action=_apply_action(far), forwarding_parameters=parameters,
        duplicating_parameters=tuple([
            pfcp.DuplicatingParameters(destination_interface=SourceInterface(way.destination_interface), outer_header_creation=_header(way))
            for way in _copies(far)
        ]),
    )


def _update_far(former: Far, far: Far, *, end_marker: bool) -> pfcp.UpdateFar:
    parameters = None
    if ApplyAction.FORWARD in far.apply_action:
        parameters = pfcp.UpdateForwardingParameters(
            destination_interface=SourceInterface(far.destination_interface), network_instance=_link(far), outer_header_creation=_header(far),
            redirect_information=_redirection(far), flags=pfcp.SmReqFlags.SNDEM if end_marker else None,
        )
    return pfcp.UpdateFar(
        far_id=far.id, apply_action=_apply_action(far), update_forwarding_parameters=parameters,
        update_duplicating_parameters=tuple([
            pfcp.UpdateDuplicatingParameters(destination_interface=SourceInterface(way.destination_interface), outer_header_creation=_header(way))
            for way in _copies(far)
        ]),
    )


def _copies(far: Far) -> tuple[Duplicate, ...]:
    if any(way.network_instance for way in far.duplicates):
        raise RuleError(f"FAR {far.id}: PFCP cannot name the link that a copy goes to")
    return far.duplicates if ApplyAction.DUPLICATE in far.apply_action else ()


def _redirection(far: Far) -> pfcp.RedirectInformation | None:
    return None if far.redirect_url is None else pfcp.RedirectInformation(type=pfcp.RedirectAddressType.URL, address=far.redirect_url)


def _link(far: Far) -> bytes | None:
    return encode_labels(far.network_instance) if far.network_instance else None


def _header(far: Far | Duplicate) -> pfcp.OuterHeaderCreation | None:
    tunnel = far.outer_header_creation
    return None if tunnel is None else pfcp.OuterHeaderCreation.gtpu(tunnel.teid, tunnel.address)


def _gates(qer: Qer) -> pfcp.GateStatus:
    return pfcp.GateStatus(uplink=pfcp.GateValue(qer.uplink_gate), downlink=pfcp.GateValue(qer.downlink_gate))


def _rate(uplink_bps: int | None, downlink_bps: int | None) -> pfcp.BitRate | None:
    if uplink_bps is None and downlink_bps is None:
        return None
    return pfcp.BitRate(uplink_kbps=_kbps(uplink_bps), downlink_kbps=_kbps(downlink_bps))


def _kbps(rate_bps: int | None) -> int:
    """A rate of the wire, which knows no half; fractions count as a whole (TS 29.244 clause 8.2.8)."""
    return _UNLIMITED_KBPS if rate_bps is None else min(-(-rate_bps // 1000), _UNLIMITED_KBPS)


def _create_qer(qer: Qer) -> pfcp.CreateQer:
    return pfcp.CreateQer(
        qer_id=qer.id, qer_correlation_id=qer.correlation_id, gate_status=_gates(qer), mbr=_rate(qer.uplink_mbr_bps, qer.downlink_mbr_bps),
        gbr=_rate(qer.uplink_gbr_bps, qer.downlink_gbr_bps),
    )


def _update_qer(qer: Qer) -> pfcp.UpdateQer:
    """A limit that is gone is told as the highest rate there is: what is absent stays."""
    unlimited = pfcp.BitRate(uplink_kbps=_UNLIMITED_KBPS, downlink_kbps=_UNLIMITED_KBPS)
    return pfcp.UpdateQer(
        qer_id=qer.id, qer_correlation_id=qer.correlation_id, gate_status=_gates(qer),
        mbr=_rate(qer.uplink_mbr_bps, qer.downlink_mbr_bps) or unlimited, gbr=_rate(qer.uplink_gbr_bps, qer.downlink_gbr_bps),
    )


def _create_urr(urr: Urr, period_s: int | None) -> pfcp.CreateUrr:
    """``period_s`` is how often usage is wanted all the same, if the rule has no period of its own."""
    return pfcp.CreateUrr(
        urr_id=urr.id, measurement_method=_methods(urr), reporting_triggers=_triggers(urr, period_s),
        measurement_period_s=_seconds(urr.period_s) or period_s, volume_threshold=_volume(urr.volume_threshold_octets),
        volume_quota=_volume(urr.volume_quota_octets), time_threshold_s=_seconds(urr.time_threshold_s), time_quota_s=_seconds(urr.time_quota_s),
        quota_holding_time_s=_seconds(urr.quota_holding_time_s), inactivity_detection_time_s=_seconds(urr.inactivity_s),
    )


def _update_urr(former: Urr, urr: Urr, period_s: int | None) -> pfcp.UpdateUrr:
    """What the rule no longer has is told as the most there is, or loses its trigger: what is absent stays."""
    created = _create_urr(urr, period_s)
    return pfcp.UpdateUrr(
        urr_id=urr.id, measurement_method=created.measurement_method, reporting_triggers=created.reporting_triggers,
        measurement_period_s=created.measurement_period_s, volume_threshold=created.volume_threshold,
        volume_quota=created.volume_quota or (None if former.volume_quota_octets is None else _UNLIMITED_VOLUME),
        time_threshold_s=created.time_threshold_s, quota_holding_time_s=created.quota_holding_time_s,
        time_quota_s=_UNLIMITED_S if created.time_quota_s is None and former.time_quota_s is not None else created.time_quota_s,
        inactivity_detection_time_s=_UNLIMITED_S if urr.inactivity_s is None and former.inactivity_s is not None
        else created.inactivity_detection_time_s,
    )


def _methods(urr: Urr) -> pfcp.MeasurementMethod:
    return pfcp.MeasurementMethod.VOLUM | (pfcp.MeasurementMethod.DURAT if measures_time(urr) else 0)


def _triggers(urr: Urr, period_s: int | None) -> pfcp.ReportingTriggers:
    wanted = (
        (urr.period_s or period_s, pfcp.ReportingTriggers.PERIO), (urr.volume_threshold_octets, pfcp.ReportingTriggers.VOLTH),
        (urr.time_threshold_s, pfcp.ReportingTriggers.TIMTH), (urr.volume_quota_octets, pfcp.ReportingTriggers.VOLQU),
        (urr.time_quota_s, pfcp.ReportingTriggers.TIMQU), (urr.quota_holding_time_s, pfcp.ReportingTriggers.QUHTI),
        (urr.application_events or None, pfcp.ReportingTriggers.START | pfcp.ReportingTriggers.STOPT),
    )
    return pfcp.ReportingTriggers(sum([trigger for limit, trigger in wanted if limit is not None], pfcp.ReportingTriggers(0)))


_UNLIMITED_VOLUME = pfcp.Volume(total_octets=0xFFFFFFFFFFFFFFFF)
_UNLIMITED_S = 0xFFFFFFFF


def _volume(octets: int | None) -> pfcp.Volume | None:
    return None if octets is None else pfcp.Volume(total_octets=octets)


def _seconds(duration_s: float | None) -> int | None:
    """Whole ones, of which a part is one too."""
    return None if duration_s is None else min(math.ceil(duration_s), _UNLIMITED_S)


def application_pfds(application: Application) -> pfcp.ApplicationIdsPfds:
    """What a PFD Management Request says of it."""
    contents = [pfcp.PfdContents(domain_name=name) for name in application.domain_names]
    contents += [pfcp.PfdContents(flow_description=flow_description(sdf)) for sdf in application.flows]
    return pfcp.ApplicationIdsPfds(
        application_id=application.id.encode(), pfd_contexts=(pfcp.PfdContext(pfd_contents=tuple(contents)),) if contents else ())


def _by_id(rules: Iterable[_Rule]) -> dict[int, _Rule]:
    return {rule.id: rule for rule in rules}


# --- from PFCP to the forwarder's rules ---------------------------------------------------------------------------------------

Allocate = Callable[[Interface], FTeid]


@dataclass(slots=True)
class PfcpRules:
    """A session's rules as the control function created and updated them, F-TEIDs that were to be chosen being chosen."""

    pdrs: dict[int, pfcp.CreatePdr] = field(default_factory=dict)
    fars: dict[int, pfcp.CreateFar] = field(default_factory=dict)
    urrs: dict[int, pfcp.CreateUrr] = field(default_factory=dict)
    qers: dict[int, pfcp.CreateQer] = field(default_factory=dict)
    bars: dict[int, pfcp.CreateBar] = field(default_factory=dict)

    def copy(self) -> PfcpRules:
        return PfcpRules(dict(self.pdrs), dict(self.fars), dict(self.urrs), dict(self.qers), dict(self.bars))

    def session(self, session_id: int, default_network_instance: str = "") -> Session:
        """As the forwarder wants them; raises :class:`RuleFailure` for what no forwarder of ours can do.

        ``default_network_instance`` is the link of rules that name none.
        """
        return Session(
            id=session_id, pdrs=tuple([_pdr(pdr, default_network_instance) for pdr in self.pdrs.values()]),
            fars=tuple([_far(far, default_network_instance) for far in self.fars.values()]), qers=tuple([_qer(qer) for qer in self.qers.values()]),
            urrs=tuple([_urr(urr) for urr in self.urrs.values()]),
        )

    def establish(self, request: pfcp.SessionEstablishmentRequest, allocate: Allocate) -> tuple[pfcp.CreatedPdr, ...]:
        """Take a new session's rules; returns the F-TEIDs that we have chosen."""
        self._create_others(request.create_fars, request.create_urrs, request.create_qers, request.create_bar)
        return self._create_pdrs(request.create_pdrs, allocate)

    def modify(self, request: pfcp.SessionModificationRequest, allocate: Allocate) -> tuple[pfcp.CreatedPdr, ...]:
        """Removals first, then what is new, then updates; returns the F-TEIDs that we have chosen."""
        for remove_pdr in request.remove_pdrs:
            _take(self.pdrs, remove_pdr.pdr_id, RuleType.PDR)
        for remove_far in request.remove_fars:
            _take(self.fars, remove_far.far_id, RuleType.FAR)
        for remove_urr in request.remove_urrs:
            _take(self.urrs, remove_urr.urr_id, RuleType.URR)
        for remove_qer in request.remove_qers:
            _take(self.qers, remove_qer.qer_id, RuleType.QER)
        if request.remove_bar is not None:
            _take(self.bars, request.remove_bar.bar_id, RuleType.BAR)
        self._create_others(request.create_fars, request.create_urrs, request.create_qers, request.create_bar)
        chosen = self._create_pdrs(request.create_pdrs, allocate)
        for update_far in request.update_fars:
            self.fars[update_far.far_id] = _updated_far(_find(self.fars, update_far.far_id, RuleType.FAR), update_far)
        for update_urr in request.update_urrs:
            self.urrs[update_urr.urr_id] = _updated_urr(_find(self.urrs, update_urr.urr_id, RuleType.URR), update_urr)
        for update_qer in request.update_qers:
            self.qers[update_qer.qer_id] = _updated_qer(_find(self.qers, update_qer.qer_id, RuleType.QER), update_qer)
        return chosen + self._update_pdrs(request.update_pdrs, allocate)

    def _create_others(
        self, fars: Iterable[pfcp.CreateFar], urrs: Iterable[pfcp.CreateUrr], qers: Iterable[pfcp.CreateQer], bar: pfcp.CreateBar | None
    ) -> None:
        for far in fars:
            _put(self.fars, far.far_id, far, RuleType.FAR)
        for urr in urrs:
            _put(self.urrs, urr.urr_id, urr, RuleType.URR)
        for qer in qers:
            _put(self.qers, qer.qer_id, qer, RuleType.QER)
        if bar is not None:
            _put(self.bars, bar.bar_id, bar, RuleType.BAR)

    def _create_pdrs(self, pdrs: Iterable[pfcp.CreatePdr], allocate: Allocate) -> tuple[pfcp.CreatedPdr, ...]:
        shared: dict[int, Fteid] = {}
        created = []
        for pdr in pdrs:
            if isinstance(pdr.pdi.local_fteid, ChooseFteid):
                chosen = _choose(pdr.pdr_id, pdr.pdi, pdr.pdi.local_fteid, shared, allocate)
                pdr = replace(pdr, pdi=replace(pdr.pdi, local_fteid=chosen))
                created.append(pfcp.CreatedPdr(pdr_id=pdr.pdr_id, local_fteid=chosen))
            _put(self.pdrs, pdr.pdr_id, pdr, RuleType.PDR)
        return tuple(created)

    def _update_pdrs(self, updates: Iterable[pfcp.UpdatePdr], allocate: Allocate) -> tuple[pfcp.CreatedPdr, ...]:
        """A PDR that has an F-TEID keeps it when it is to have a chosen one."""
        shared: dict[int, Fteid] = {}
        created = []
        for update in updates:
            former = _find(self.pdrs, update.pdr_id, RuleType.PDR)
            pdi = update.pdi
            if pdi is not None and isinstance(pdi.local_fteid, ChooseFteid):
                kept = former.pdi.local_fteid
                chosen = kept if isinstance(kept, Fteid) else _choose(update.pdr_id, pdi, pdi.local_fteid, shared, allocate)
                pdi = replace(pdi, local_fteid=chosen)
                created.append(pfcp.CreatedPdr(pdr_id=update.pdr_id, local_fteid=chosen))
            if update.activate_predefined_rules or update.deactivate_predefined_rules:
                raise RuleFailure("there are no predefined rules", RuleType.PDR, update.pdr_id)
            self.pdrs[update.pdr_id] = replace(
                former, pdi=pdi or former.pdi, precedence=former.precedence if update.precedence is None else update.precedence,
                outer_header_removal=update.outer_header_removal or former.outer_header_removal,
                far_id=former.far_id if update.far_id is None else update.far_id, urr_ids=update.urr_ids or former.urr_ids,
                qer_ids=update.qer_ids or former.qer_ids,
            )
        return tuple(created)


def change_between(former: Session, wanted: Session, request: pfcp.SessionModificationRequest) -> SessionChange:
    """What the forwarder must do so that its rules ``former`` become those ``wanted`` after the request.

    FARs and URRs that the request names are told again although they are as before: that announces the next packet anew, or grants a quota.
    """
    pdrs, fars, qers, urrs = _by_id(former.pdrs), _by_id(former.fars), _by_id(former.qers), _by_id(former.urrs)
    named_fars = {update.far_id for update in request.update_fars}
    named_urrs = {update.urr_id for update in request.update_urrs if any(getattr(update, limit) is not None for limit in _LIMITS)}
    end_markers = {
        update.far_id for update in request.update_fars
        if update.update_forwarding_parameters is not None and update.update_forwarding_parameters.flags is not None
        and pfcp.SmReqFlags.SNDEM in update.update_forwarding_parameters.flags
    }
    return SessionChange(
        pdrs=tuple([pdr for pdr in wanted.pdrs if pdrs.get(pdr.id) != pdr]),
        fars=tuple([far for far in wanted.fars if far.id in named_fars or fars.get(far.id) != far]),
        qers=tuple([qer for qer in wanted.qers if qers.get(qer.id) != qer]),
        urrs=tuple([urr for urr in wanted.urrs if urr.id in named_urrs or urrs.get(urr.id) != urr]),
        remove_pdrs=tuple(pdrs.keys() - _by_id(wanted.pdrs).keys()), remove_fars=tuple(fars.keys() - _by_id(wanted.fars).keys()),
        remove_qers=tuple(qers.keys() - _by_id(wanted.qers).keys()), remove_urrs=tuple(urrs.keys() - _by_id(wanted.urrs).keys()),
        end_markers=tuple([far_id for far_id in end_markers if far_id in fars and fars[far_id].outer_header_creation is not None]),
    )


_LIMITS = ("volume_quota", "volume_threshold", "time_quota_s", "time_threshold_s", "quota_holding_time_s")


def _put(rules: dict[int, T], rule_id: int, rule: T, rule_type: RuleType) -> None:
    if rule_id in rules:
        raise RuleFailure("exists", rule_type, rule_id)
    rules[rule_id] = rule


def _find(rules: dict[int, T], rule_id: int, rule_type: RuleType) -> T:
    try:
        return rules[rule_id]
    except KeyError:
        raise RuleFailure("does not exist", rule_type, rule_id) from None


def _take(rules: dict[int, T], rule_id: int, rule_type: RuleType) -> None:
    _find(rules, rule_id, rule_type)
    del rules[rule_id]


def _choose(pdr_id: int, pdi: pfcp.Pdi, wanted: ChooseFteid, shared: dict[int, Fteid], allocate: Allocate) -> Fteid:
    if wanted.choose_id is not None and wanted.choose_id in shared:
        return shared[wanted.choose_id]
    end = allocate(_interface(pdi.source_interface, RuleType.PDR, pdr_id))
    if not (wanted.ipv6 if ":" in end.address else wanted.ipv4):
        raise RuleFailure(
            f"no address of the wanted version beside {end.address}", RuleType.PDR, pdr_id, cause=CauseValue.INVALID_F_TEID_ALLOCATION_OPTION)
    chosen = Fteid.at(end.teid, end.address)
    if wanted.choose_id is not None:
        shared[wanted.choose_id] = chosen
    return chosen


def _updated_far(former: pfcp.CreateFar, update: pfcp.UpdateFar) -> pfcp.CreateFar:
    parameters, change = former.forwarding_parameters, update.update_forwarding_parameters
    if change is not None:
        if parameters is None and change.destination_interface is None:
            raise RuleFailure("no destination interface", RuleType.FAR, update.far_id, cause=CauseValue.CONDITIONAL_IE_MISSING)
        if parameters is None:
            parameters = pfcp.ForwardingParameters(destination_interface=change.destination_interface or SourceInterface.ACCESS)
        parameters = pfcp.ForwardingParameters(
            destination_interface=_kept(change.destination_interface, parameters.destination_interface),
            network_instance=_kept(change.network_instance, parameters.network_instance),
            outer_header_creation=_kept(change.outer_header_creation, parameters.outer_header_creation),
            redirect_information=_kept(change.redirect_information, parameters.redirect_information),
        )
    copies = tuple([
        pfcp.DuplicatingParameters(
            destination_interface=_kept(way.destination_interface, SourceInterface.CORE), outer_header_creation=way.outer_header_creation)
        for way in update.update_duplicating_parameters
    ])
    return replace(
        former, apply_action=_kept(update.apply_action, former.apply_action), forwarding_parameters=parameters,
        duplicating_parameters=copies or former.duplicating_parameters,
        bar_id=_kept(update.bar_id, former.bar_id),
    )


def _kept(update: T | None, former: T) -> T:
    return former if update is None else update


def _updated_qer(former: pfcp.CreateQer, update: pfcp.UpdateQer) -> pfcp.CreateQer:
    return replace(
        former, qer_correlation_id=_kept(update.qer_correlation_id, former.qer_correlation_id),
        gate_status=_kept(update.gate_status, former.gate_status), mbr=_kept(update.mbr, former.mbr), gbr=_kept(update.gbr, former.gbr),
    )


_URR_FIELDS = tuple(slot.name for slot in pfcp.CreateUrr.table.slots if slot.name != "urr_id")


def _updated_urr(former: pfcp.CreateUrr, update: pfcp.UpdateUrr) -> pfcp.CreateUrr:
    given = {name: getattr(update, name) for name in _URR_FIELDS}
    return replace(former, **{name: value for name, value in given.items() if value is not None and value != ()})


# One rule at a time


def _interface(number: SourceInterface | int, rule_type: RuleType, rule_id: int) -> Interface:
    interface = _INTERFACES.get(number)
    if interface is None:
        raise RuleFailure(f"there is no interface {number!r}", rule_type, rule_id)
    return interface


def network_instance(octets: bytes) -> str:
    """The name that a Network Instance element holds: a domain name's labels, or plain text (TS 29.244 clause 8.2.4)."""
    try:
        return decode_labels(octets)
    except WireError:
        return octets.decode(errors="replace")


def _pdr(pdr: pfcp.CreatePdr, default_network_instance: str) -> Pdr:
    pdi = pdr.pdi
    source = _interface(pdi.source_interface, RuleType.PDR, pdr.pdr_id)
    problem = _problem(pdr, source)
    if problem is not None:
        raise RuleFailure(problem, RuleType.PDR, pdr.pdr_id)
    if pdr.far_id is None:
        raise RuleFailure("no FAR ID", RuleType.PDR, pdr.pdr_id, cause=CauseValue.CONDITIONAL_IE_MISSING)
    fteid, link = None, ""
    if isinstance(pdi.local_fteid, Fteid):
        fteid = FTeid(teid=pdi.local_fteid.teid, address=pdi.local_fteid.host)
    else:
        link = default_network_instance if pdi.network_instance is None else network_instance(pdi.network_instance)
    try:
        filters = tuple([SdfFilter.from_flow_description(sdf.flow_description or "") for sdf in pdi.sdf_filters])
    except ValueError as error:
        raise RuleFailure(str(error), RuleType.PDR, pdr.pdr_id) from error
    return Pdr(
        id=pdr.pdr_id, precedence=pdr.precedence, source_interface=source, local_f_teid=fteid, network_instance=link,
        ue_ip_address=None if pdi.ue_ip_address is None else _ue_ip_address(pdi.ue_ip_address), sdf_filters=filters,
        application_id=None if pdi.application_id is None else pdi.application_id.decode(errors="replace"), far_id=pdr.far_id,
        qer_ids=pdr.qer_ids, urr_ids=pdr.urr_ids,
    )


def _problem(pdr: pfcp.CreatePdr, source: Interface) -> str | None:
    """What of the rule no forwarder of ours can do."""
    pdi, removal = pdr.pdi, pdr.outer_header_removal
    ue = pdi.ue_ip_address
    if pdr.activate_predefined_rules:
        return "there are no predefined rules"
    if pdi.local_fteid is None and removal is not None:
        return "there is no outer header to remove"
    if pdi.local_fteid is not None and (removal is None or removal.description not in _GTP_U_REMOVALS):
        return "the GTP-U header must be removed"
    if ue is not None and ue.is_destination is (source is Interface.ACCESS):
        return "the UE's address is at the other end of the packet"
    if ue is not None and ue.ipv4 is None and ue.ipv6 is None:
        return "no UE address"
    if any(sdf.flow_description is None or sdf.tos_traffic_class is not None or sdf.security_parameter_index is not None
           or sdf.flow_label is not None for sdf in pdi.sdf_filters):
        return "filters are flow descriptions only"
    return None


def _ue_ip_address(ue: pfcp.UeIpAddress) -> UeIpAddress:
    return UeIpAddress(ipv4=ue.ipv4, ipv6_prefix=None if ue.ipv6 is None else IPv6Network((ue.ipv6, 64), strict=False))


_RULES_ACTION_OF = {int(theirs): ours for ours, theirs in _ACTION_OF.items()}


def _far(far: pfcp.CreateFar, default_network_instance: str) -> Far:
    """Its tunnel counts only while it forwards: an idle UE's former tunnel is nobody's."""
    action = _RULES_ACTION_OF.get(int(far.apply_action))
    if action is None:
        raise RuleFailure(f"cannot do {far.apply_action!r}", RuleType.FAR, far.far_id)
    if ApplyAction.FORWARD not in action:
        return Far(id=far.far_id, apply_action=action)
    parameters = far.forwarding_parameters
    if parameters is None:
        raise RuleFailure("no forwarding parameters", RuleType.FAR, far.far_id, cause=CauseValue.CONDITIONAL_IE_MISSING)
    destination = _interface(parameters.destination_interface, RuleType.FAR, far.far_id)
    tunnel = _tunnel(parameters.outer_header_creation, far.far_id)
    link = ""
    if tunnel is None:
        link = default_network_instance if parameters.network_instance is None else network_instance(parameters.network_instance)
    redirection = parameters.redirect_information
    if redirection is not None and redirection.type != pfcp.RedirectAddressType.URL:
        raise RuleFailure(f"cannot redirect to {redirection}", RuleType.FAR, far.far_id, cause=CauseValue.INVALID_FORWARDING_POLICY)
    return Far(
        id=far.far_id, apply_action=action, destination_interface=destination, outer_header_creation=tunnel, network_instance=link,
        duplicates=_duplicates(far, default_network_instance) if ApplyAction.DUPLICATE in action else (),
        redirect_url=None if redirection is None else redirection.address,
    )


def _duplicates(far: pfcp.CreateFar, default_network_instance: str) -> tuple[Duplicate, ...]:
    """The LI function is beyond a tunnel from the core side."""
    found = []
    for way in far.duplicating_parameters:
        tunnel = _tunnel(way.outer_header_creation, far.far_id)
        to_li = way.destination_interface == SourceInterface.LI_FUNCTION
        found.append(Duplicate(
            destination_interface=Interface.CORE if to_li else _interface(way.destination_interface, RuleType.FAR, far.far_id),
            outer_header_creation=tunnel, network_instance=default_network_instance if tunnel is None else "",
        ))
    return tuple(found)


def _tunnel(header: pfcp.OuterHeaderCreation | None, far_id: int) -> FTeid | None:
    if header is None:
        return None
    address: IPv4Address | IPv6Address | None = header.ipv4 if header.ipv4 is not None else header.ipv6
    if header.teid is None or address is None:
        raise RuleFailure(f"cannot create {header.description!r}", RuleType.FAR, far_id)
    return FTeid(teid=header.teid, address=str(address))


def _qer(qer: pfcp.CreateQer) -> Qer:
    mbr, gbr = qer.mbr, qer.gbr
    if qer.gate_status.uplink not in (0, 1) or qer.gate_status.downlink not in (0, 1):
        raise RuleFailure("a gate is open or closed", RuleType.QER, qer.qer_id)
    return Qer(
        id=qer.qer_id, correlation_id=qer.qer_correlation_id, uplink_gate=Gate(qer.gate_status.uplink), downlink_gate=Gate(qer.gate_status.downlink),
        uplink_mbr_bps=None if mbr is None else _bps(mbr.uplink_kbps), downlink_mbr_bps=None if mbr is None else _bps(mbr.downlink_kbps),
        uplink_gbr_bps=None if gbr is None else _bps(gbr.uplink_kbps), downlink_gbr_bps=None if gbr is None else _bps(gbr.downlink_kbps),
    )


def _bps(rate_kbps: int) -> int | None:
    return None if rate_kbps == _UNLIMITED_KBPS else rate_kbps * 1000


def _urr(urr: pfcp.CreateUrr) -> Urr:
    """Thresholds of one direction are looked at by who makes the reports; quotas are for both together."""
    triggers, quota = urr.reporting_triggers, urr.volume_quota
    if quota is not None and (quota.total_octets is None or quota.uplink_octets is not None or quota.downlink_octets is not None):
        raise RuleFailure("a volume quota is one for both directions together", RuleType.URR, urr.urr_id)

    def wanted(limit: T | None, trigger: pfcp.ReportingTriggers) -> T | None:
        return limit if trigger in triggers else None

    threshold = wanted(urr.volume_threshold, pfcp.ReportingTriggers.VOLTH)
    made = Urr(
        id=urr.urr_id, volume_quota_octets=None if quota in (None, _UNLIMITED_VOLUME) else quota.total_octets,
        volume_threshold_octets=None if threshold is None else threshold.total_octets,
        time_quota_s=_limited(urr.time_quota_s), time_threshold_s=wanted(urr.time_threshold_s, pfcp.ReportingTriggers.TIMTH),
        inactivity_s=_limited(urr.inactivity_detection_time_s),
        quota_holding_time_s=wanted(urr.quota_holding_time_s, pfcp.ReportingTriggers.QUHTI),
        period_s=wanted(urr.measurement_period_s or None, pfcp.ReportingTriggers.PERIO),
        application_events=bool(triggers & (pfcp.ReportingTriggers.START | pfcp.ReportingTriggers.STOPT)),
    )
    if pfcp.MeasurementMethod.DURAT in urr.measurement_method and not measures_time(made):
        return replace(made, inactivity_s=math.inf)         # once begun, for ever
    return made


def _limited(duration_s: int | None) -> int | None:
    return None if duration_s == _UNLIMITED_S else duration_s


def application_of(pfds: pfcp.ApplicationIdsPfds) -> Application:
    """Raises ``ValueError`` for what cannot be recognised by: URLs, own content, flows of another form."""
    contents = [each for context in pfds.pfd_contexts for each in context.pfd_contents]
    names, flows = [], []
    for each in contents:
        if each.url is not None or each.custom is not None:
            raise ValueError("applications are recognised by domain names and flows only")
        if each.domain_name is not None:
            names.append(each.domain_name.lower().strip("."))
        if each.flow_description is not None:
            flows.append(SdfFilter.from_flow_description(each.flow_description))
    return Application(id=pfds.application_id.decode(errors="replace"), domain_names=tuple(names), flows=tuple(flows))


def tunnel_of(fteid: Fteid | ChooseFteid) -> FTeid | None:
    """A remote F-TEID of an Error Indication Report."""
    return FTeid(teid=fteid.teid, address=fteid.host) if isinstance(fteid, Fteid) else None


def far_with_tunnel(fars: Iterable[Far], tunnel: FTeid) -> Far | None:
    """The FAR that sends into the tunnel."""
    return next((far for far in fars if far.outer_header_creation == tunnel), None)
