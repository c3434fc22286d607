"""IP-CAN session modification: asked for by the PCEF (CCR-U) or pushed by the PCRF (RAR). TS 29.212 clauses 4.5.1 and 4.5.2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.pcrf.authorisation import Change, ambr_information, ambr_of, apply_change, authorise, change_to
from epc.pcrf.session import GxSession
from epc.procedure import procedure
from epc.wire.diameter import ResultCode
from epc.wire.diameter.gx import CreditControlAnswer, CreditControlRequest, ReAuthAnswer, ReAuthRequest
from epc.wire.diameter.policy import ChargingRuleReport, PccRuleStatus

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf


def ip_can_session_modification(pcrf: Pcrf, request: CreditControlRequest) -> CreditControlAnswer:
    # 1 what the PCEF says has changed
    session = pcrf.session_of(request)
    session.request_number = request.cc_request_number
    if request.rat_type is not None:
        session.rat_type = request.rat_type
    if request.default_eps_bearer_qos is not None:
        session.subscribed_qos = request.default_eps_bearer_qos
    if request.qos_information is not None:
        session.subscribed_ambr = ambr_of(request.qos_information)
    if request.framed_ip_address is not None and request.framed_ip_address != session.ipv4:
        pcrf.sessions.remove(session)
        session.ipv4 = request.framed_ip_address
        pcrf.sessions.add(session)
    note_reports(pcrf, session, request.charging_rule_report)

    # 2 the decision as it is now
    decision = authorise(pcrf, session.imsi, session.apn, session.rat_type)
    change = change_to(session, decision)
    apply_change(session, change, decision.policy)

    # 3 only what changed, and an answer to every QoS asked for
    if request.default_eps_bearer_qos is not None:
        change = replace(change, qos=session.authorised_qos)
    if request.qos_information is not None:
        change = replace(change, ambr=ambr_information(session.authorised_ambr))
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
        charging_rule_remove=change.remove, charging_rule_install=change.install, qos_information=change.ambr, default_eps_bearer_qos=change.qos)


@procedure(spec="TS 29.212 clause 4.5.2")
async def push_policy(pcrf: Pcrf, session: GxSession, change: Change, policy: str) -> None:
    """Tell the PCEF of ``change``; the session is changed once the PCEF agrees. Raises ``Reject``, ``TimerExpired``, ``ConnectionError``."""
    answer = await pcrf.ask(session, ReAuthRequest(
        session_id=session.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        destination_realm=session.pcef_realm, destination_host=session.pcef_host, charging_rule_remove=change.remove,
        charging_rule_install=change.install, qos_information=change.ambr, default_eps_bearer_qos=change.qos), ReAuthAnswer)
    apply_change(session, change, policy)
    note_reports(pcrf, session, answer.charging_rule_report)


def note_reports(pcrf: Pcrf, session: GxSession, reports: tuple[ChargingRuleReport, ...]) -> None:
    """TS 29.212 clause 4.5.12: rules that the PCEF could not install, or no longer enforces."""
    for report in reports:
        if report.pcc_rule_status == PccRuleStatus.ACTIVE:
            continue
        for name in report.charging_rule_name:
            session.rules.pop(name, None)
            session.withheld_rules |= {name}
            pcrf.rule_failures.inc()
            pcrf.log.warning("rule.failed", rule=name.decode(errors="replace"), cause=report.rule_failure_code, imsi=session.imsi)
