"""A PDN connection as rules for the forwarder: tunnels to SGi and back, and for each PCC rule the flows, the gate and the rates.

Identities: PCC rule n has the PDRs 2n (uplink) and 2n + 1 (downlink), 32768 + n for what comes early on a bearer that is being set up,
24576 + 512b + n for what an application sends on bearer b, and the QER n; the remainder is rule 0. QER 0 is the APN-AMBR, which
all but GBR bearers share. FAR 0 leads to SGi, FAR b + 1 to bearer b's tunnel, FAR 65536 + n to the page that rule n is redirected to.
FARs from 10000 on and PDRs from 40000 on belong to online charging. For URRs see :class:`~epc.pgw.context.Meter`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TypeVar

from epc.dataplane.rules import ApplyAction, Far, Gate, Interface, Pdr, Qer, SdfFilter, Session, SessionChange, UeIpAddress, Urr
from epc.pgw.context import Bearer, PccRule, PdnSession
from epc.pgw.online_charging.enforcement import FIRST_FILTER_PDR, charged, charging_fars
from epc.pgw.policy import filters_of, is_gbr
from epc.wire.diameter.policy import FlowDirection, FlowStatus, RedirectSupport

_LAST = 1 << 32                 # after every PCC rule's precedence
_OPEN_UPLINK = (FlowStatus.ENABLED, FlowStatus.ENABLED_UPLINK, None)
_OPEN_DOWNLINK = (FlowStatus.ENABLED, FlowStatus.ENABLED_DOWNLINK, None)
_EVERYTHING = Urr(id=1)
_TO_SGI = 0
_REDIRECTED = 0x10000
_EARLY = 0x8000
_ELSEWHERE, _PER_BEARER = 0x6000, 512
R = TypeVar("R", Pdr, Far, Qer, Urr)


def session_rules(session: PdnSession) -> Session:
    pdrs: list[Pdr] = []
    fars = [Far(id=_TO_SGI, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, network_instance=session.apn)]
    fars += [_downlink_far(bearer) for bearer in session.bearers.values()]
    qers = [_aggregate(session)]
    for rule in (session.remainder, *session.rules.values()):
        own: list[Pdr] = []
        if rule.moving_to is not None:
            own += _early_uplink(session, rule, rule.moving_to)
        if rule.bearer is None and rule.moving_to is None:
            continue
        if rule.bearer is not None:
            own += _pdrs(session, rule, rule.bearer)
        pdrs += own if session.gy is None else charged(session.gy, rule, tuple(own), FIRST_FILTER_PDR + len(pdrs))
        if rule.number:
            qers.append(_gate(rule))
        if (url := _redirect_url(rule)) is not None:
            fars.append(Far(id=_REDIRECTED + rule.number, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE,
                            network_instance=session.apn, redirect_url=url))
    if session.gy is not None:
        fars = [*charging_fars(session.gy, pdrs, fars, session.apn), *fars]        # an Error Indication is the last one's that has the tunnel
    urrs = [_EVERYTHING]
    for meter in session.meters:
        urrs += meter.urrs()
    return Session(id=session.session_id, pdrs=tuple(pdrs), fars=tuple(fars), qers=tuple(qers), urrs=tuple(urrs))


def urr_ids_of(session: PdnSession, rule: PccRule, bearer: Bearer) -> tuple[int, ...]:
    """Everything that measures the rule's packets on the bearer."""
    return (_EVERYTHING.id, *[urr_id for meter in session.meters for urr_id in meter.urr_ids_of(rule, bearer)])


def change(former: Session, session: PdnSession, granted: Collection[int] = ()) -> SessionChange:
    """From the rules as they stand to those that the session wants now: only what differs is said.

    A URR that is said again is granted anew, so one that stays the same is said only when it is among ``granted``.
    """
    wanted = session_rules(session)
    known_urrs = {urr.id: urr for urr in former.urrs}
    return SessionChange(
        pdrs=_different(former.pdrs, wanted.pdrs), fars=_different(former.fars, wanted.fars), qers=_different(former.qers, wanted.qers),
        urrs=tuple([urr for urr in wanted.urrs if urr.id in granted or known_urrs.get(urr.id) != urr]),
        remove_pdrs=_gone(former.pdrs, wanted.pdrs), remove_fars=_gone(former.fars, wanted.fars), remove_qers=_gone(former.qers, wanted.qers),
        remove_urrs=_gone(former.urrs, wanted.urrs),
    )


def _different(former: tuple[R, ...], wanted: tuple[R, ...]) -> tuple[R, ...]:
    known = {rule.id: rule for rule in former}
    return tuple([rule for rule in wanted if known.get(rule.id) != rule])


def _gone(former: tuple[R, ...], wanted: tuple[R, ...]) -> tuple[int, ...]:
    kept = {rule.id for rule in wanted}
    return tuple([rule.id for rule in former if rule.id not in kept])


def bearer_of_far(session: PdnSession, far_id: int) -> Bearer | None:
    """The bearer whose tunnel the FAR leads to."""
    return next((bearer for bearer in session.bearers.values() if bearer.number + 1 == far_id), None)


def _downlink_far(bearer: Bearer) -> Far:
    return Far(id=bearer.number + 1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=bearer.s5u_sgw)


def _early_uplink(session: PdnSession, rule: PccRule, bearer: Bearer) -> Iterator[Pdr]:
    """What the UE sends on a bearer that is still being set up."""
    for pdr in _pdrs(session, rule, bearer):
        if pdr.local_f_teid == bearer.s5u_pgw:
            yield replace(pdr, id=_EARLY + rule.number)


def _pdrs(session: PdnSession, rule: PccRule, bearer: Bearer) -> Iterator[Pdr]:
    definition, number = rule.definition, rule.number
    if number and not definition.flow_information and definition.tdf_application_identifier is None:
        return
    ue = UeIpAddress(ipv4=session.ue_address)
    precedence = _LAST if definition.precedence is None else definition.precedence
    application = definition.tdf_application_identifier
    application_id = None if application is None else application.decode(errors="replace")
    qer_ids = (() if is_gbr(bearer.qos.qci) else (0,)) + ((number,) if number else ())
    urr_ids = urr_ids_of(session, rule, bearer)
    # an application that no packet filter can tell is not known to the UE: what it sends may come on any bearer
    anywhere = application is not None and not definition.flow_information
    uplinks = {2 * number: session.default_bearer if anywhere else bearer}
    if anywhere and number < _PER_BEARER:
        uplinks |= {_ELSEWHERE + _PER_BEARER * each.number + number: each for each in session.dedicated_bearers}
    uplink_filters, downlink_filters = _filters(rule, FlowDirection.UPLINK), _filters(rule, FlowDirection.DOWNLINK)
    if uplink_filters is not None:
        for pdr_id, each in uplinks.items():
            yield Pdr(
                id=pdr_id, precedence=precedence, source_interface=Interface.ACCESS, local_f_teid=each.s5u_pgw, ue_ip_address=ue,
                sdf_filters=uplink_filters, application_id=application_id,
                far_id=_TO_SGI if _redirect_url(rule) is None else _REDIRECTED + number, qer_ids=qer_ids, urr_ids=urr_ids,
            )
    if downlink_filters is not None:
        yield Pdr(
            id=2 * number + 1, precedence=precedence, source_interface=Interface.CORE, network_instance=session.apn, ue_ip_address=ue,
            sdf_filters=downlink_filters, application_id=application_id, far_id=bearer.number + 1, qer_ids=qer_ids, urr_ids=urr_ids,
        )


def _filters(rule: PccRule, direction: FlowDirection) -> tuple[SdfFilter, ...] | None:
    """``None``: the rule has flows, but none in that direction."""
    filters = filters_of(rule.definition, direction)
    return None if not filters and rule.definition.flow_information else filters


def _redirect_url(rule: PccRule) -> str | None:
    """Where HTTP requests are sent instead (Redirect-Information, TS 29.212 clause 5.3.82)."""
    redirection = rule.definition.redirect_information
    if redirection is None or redirection.redirect_support == RedirectSupport.REDIRECTION_DISABLED:
        return None
    return redirection.redirect_server_address


def _aggregate(session: PdnSession) -> Qer:
    ambr = session.policy.ambr
    if ambr is None:
        return Qer(id=0)
    return Qer(id=0, uplink_mbr_bps=ambr.uplink_kbps * 1000, downlink_mbr_bps=ambr.downlink_kbps * 1000)


def _gate(rule: PccRule) -> Qer:
    """The rule's gate, and the rates of a rule that has some of its own."""
    status, qos = rule.definition.flow_status, rule.definition.qos_information
    return Qer(
        id=rule.number,
        uplink_gate=Gate.OPEN if status in _OPEN_UPLINK else Gate.CLOSED,
        downlink_gate=Gate.OPEN if status in _OPEN_DOWNLINK else Gate.CLOSED,
        uplink_mbr_bps=None if qos is None else qos.max_requested_bandwidth_ul,
        downlink_mbr_bps=None if qos is None else qos.max_requested_bandwidth_dl,
        uplink_gbr_bps=None if qos is None else qos.guaranteed_bitrate_ul,
        downlink_gbr_bps=None if qos is None else qos.guaranteed_bitrate_dl,
    )
