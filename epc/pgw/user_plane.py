"""A PDN connection as rules for the forwarder: tunnel to SGi and back, one pair of rules for everything, and one for each PCC rule's flows.

Rules 0 and 1 are the default bearer's uplink and downlink; PCC rule n (counted from 1) has 2n and 2n + 1, and gate n.
"""

from __future__ import annotations

from epc.dataplane.rules import ApplyAction, Far, Gate, Interface, Pdr, Qer, Session, SessionChange, UeIpAddress, Urr
from epc.pgw.context import PdnSession
from epc.pgw.policy import filters_of
from epc.wire.diameter.policy import ChargingRuleDefinition, FlowStatus

_LAST = 1 << 32                 # after every PCC rule's precedence
_OPEN_UPLINK = (FlowStatus.ENABLED, FlowStatus.ENABLED_UPLINK, None)
_OPEN_DOWNLINK = (FlowStatus.ENABLED, FlowStatus.ENABLED_DOWNLINK, None)


def session_rules(session: PdnSession) -> Session:
    pdrs = [*_pdrs(session, 0, None)]
    qers = [_aggregate(session)]
    for number, rule in enumerate(session.rules.values(), start=1):
        if rule.flow_information:
            pdrs += _pdrs(session, number, rule)
            qers.append(_gate(number, rule))
    return Session(id=session.session_id, pdrs=tuple(pdrs), fars=_fars(session), qers=tuple(qers), urrs=(Urr(id=1),))


def change(former: Session, session: PdnSession) -> SessionChange:
    """From the rules as they stand to those that the session wants now."""
    wanted = session_rules(session)
    return SessionChange(
        pdrs=wanted.pdrs, fars=wanted.fars, qers=wanted.qers, urrs=wanted.urrs,
        remove_pdrs=tuple({pdr.id for pdr in former.pdrs} - {pdr.id for pdr in wanted.pdrs}),
        remove_qers=tuple({qer.id for qer in former.qers} - {qer.id for qer in wanted.qers}),
    )


def _fars(session: PdnSession) -> tuple[Far, Far]:
    return (
        Far(id=0, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, network_instance=session.apn),
        Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=session.s5u_sgw),
    )


def _pdrs(session: PdnSession, number: int, rule: ChargingRuleDefinition | None) -> tuple[Pdr, Pdr]:
    ue = UeIpAddress(ipv4=session.ue_address)
    filters = () if rule is None else filters_of(rule)
    precedence = _LAST if rule is None or rule.precedence is None else rule.precedence
    qer_ids = (0,) if rule is None else (0, number)
    return (
        Pdr(
            id=2 * number, precedence=precedence, source_interface=Interface.ACCESS, local_f_teid=session.s5u_pgw, ue_ip_address=ue,
            sdf_filters=filters, far_id=0, qer_ids=qer_ids, urr_ids=(1,),
        ),
        Pdr(
            id=2 * number + 1, precedence=precedence, source_interface=Interface.CORE, network_instance=session.apn, ue_ip_address=ue,
            sdf_filters=filters, far_id=1, qer_ids=qer_ids, urr_ids=(1,),
        ),
    )


def _aggregate(session: PdnSession) -> Qer:
    ambr = session.policy.ambr
    if ambr is None:
        return Qer(id=0)
    return Qer(id=0, uplink_mbr_bps=ambr.uplink_kbps * 1000, downlink_mbr_bps=ambr.downlink_kbps * 1000)


def _gate(number: int, rule: ChargingRuleDefinition) -> Qer:
    return Qer(
        id=number, uplink_gate=Gate.OPEN if rule.flow_status in _OPEN_UPLINK else Gate.CLOSED,
        downlink_gate=Gate.OPEN if rule.flow_status in _OPEN_DOWNLINK else Gate.CLOSED,
    )
