"""IP-CAN session modification: asked for by the PCEF (CCR-U) or pushed by the PCRF (RAR). TS 29.212 clauses 4.5.1 and 4.5.2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from epc.pcrf.authorisation import ambr_information, ambr_of, apply_change, authorise, change_to
from epc.pcrf.ip_can_session_establishment import charging_identifiers
from epc.pcrf.session import Ambr, GxSession
from epc.pcrf.ue_requested_resources import is_asked_for, resource_modification
from epc.pcrf.usage import reported_octets
from epc.procedure import Reject, procedure
from epc.wire.diameter import ResultCode
from epc.wire.diameter.gx import CreditControlAnswer, CreditControlRequest, EventTrigger, SessionReleaseCause
from epc.wire.diameter.policy import ChargingRuleReport, PccRuleStatus, RuleFailureCode

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

_FOR_THE_TIME_BEING = (EventTrigger.OUT_OF_CREDIT, EventTrigger.REALLOCATION_OF_CREDIT)
_PUSHES_AT_ONCE = 8     # RARs in a row for one session, before something is taken to be wrong


async def ip_can_session_modification(pcrf: Pcrf, request: CreditControlRequest) -> CreditControlAnswer:
    # 1 what the PCEF says has changed
    session = pcrf.session_of(request)
    session.request_number = request.cc_request_number
    note_what_changed(pcrf, session, request)
    note_reports(pcrf, session, request.charging_rule_report, request.event_trigger)

    # 2 what was used; the decision as it is now
    octets = reported_octets(request.usage_monitoring_information)
    if octets:
        await pcrf.usage.add(session.imsi, octets, pcrf.clock())
    decision = authorise(pcrf, session)
    if is_asked_for(request):
        resource_modification(pcrf, session, decision, request)
    change = change_to(session, decision, pcrf.used(session), reported=octets.keys())
    apply_change(session, change, decision.policy)

    # 3 the subscriber's other sessions share the counters; application functions learn what they asked to know
    if octets:
        pcrf.bring_up_to_date([other for other in pcrf.sessions.of_imsi(session.imsi) if other is not session])
    pcrf.af_sessions.note_events(session, request)

    # 4 only what changed, and an answer to every QoS asked for
    if request.default_eps_bearer_qos is not None:
        change = replace(change, qos=session.authorised_qos)
    if ambr_of(request.qos_information) != Ambr(None, None):
        change = replace(change, ambr=ambr_information(session.authorised_ambr))
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
        event_trigger=change.armed, charging_rule_remove=change.remove, charging_rule_install=change.install, qos_information=change.ambr,
        default_eps_bearer_qos=change.qos, usage_monitoring_information=change.usage)


@procedure(spec="TS 29.212 clause 4.5.2")
async def push_decision(pcrf: Pcrf, session: GxSession) -> None:
    """Decide anew, and tell the PCEF until it has what is decided; the session is changed once the PCEF agrees.

    What changes meanwhile is told in one more round, so that one push at a time is enough. Raises ``Reject``, ``TimerExpired``,
    ``ConnectionError``.
    """
    if session.is_pushing:
        return
    session.is_pushing = True
    try:
        for _ in range(_PUSHES_AT_ONCE):
            decision = pcrf.decide(session)
            if decision is None or decision.rejects:
                await pcrf.tell_pcef(session, release=SessionReleaseCause.UE_SUBSCRIPTION_REASON)
                return
            change = change_to(session, decision, pcrf.used(session))
            if not change:
                session.policy = decision.policy
                return
            answer = await pcrf.tell_pcef(session, change)
            apply_change(session, change, decision.policy)
            note_reports(pcrf, session, answer.charging_rule_report)
            pcrf.af_sessions.note_rule_reports(session, answer.charging_rule_report)
            if pcrf.sessions.get(session.session_id) is not session:
                return
        raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, "the decision does not come to rest")
    finally:
        session.is_pushing = False


def note_what_changed(pcrf: Pcrf, session: GxSession, request: CreditControlRequest) -> None:
    """The facts that a decision depends on, and those that people look at."""
    if request.rat_type is not None:
        session.rat_type = request.rat_type
    if request.tgpp_sgsn_mcc_mnc is not None:
        session.serving_plmn = request.tgpp_sgsn_mcc_mnc
    if request.tgpp_user_location_info is not None:
        session.location = request.tgpp_user_location_info
    if request.access_network_charging_identifier_gx:
        session.charging_identifiers = tuple(dict.fromkeys((*session.charging_identifiers, *charging_identifiers(request))))
    if request.default_eps_bearer_qos is not None:
        session.subscribed_qos = request.default_eps_bearer_qos
    if ambr_of(request.qos_information) != Ambr(None, None):
        session.subscribed_ambr = ambr_of(request.qos_information)
    new_ipv4 = request.framed_ip_address is not None and request.framed_ip_address != session.ipv4
    new_ipv6 = request.framed_ipv6_prefix is not None and request.framed_ipv6_prefix != session.ipv6
    if new_ipv4 or new_ipv6:
        pcrf.sessions.remove(session)
        session.ipv4 = request.framed_ip_address or session.ipv4
        session.ipv6 = request.framed_ipv6_prefix or session.ipv6
        pcrf.sessions.add(session)
    if EventTrigger.UE_IP_ADDRESS_RELEASE in request.event_trigger and session.ipv4 is not None and session.ipv6 is not None:
        pcrf.sessions.remove(session)
        session.ipv4 = None         # of a dual-stack session: TS 29.212 clause 4.5.1
        pcrf.sessions.add(session)
    for application in request.application_detection_information:
        name = application.tdf_application_identifier.decode(errors="replace")
        instance = application.tdf_application_instance_identifier or b""
        if EventTrigger.APPLICATION_STOP in request.event_trigger and ((name, instance) in session.detected
                                                                        or EventTrigger.APPLICATION_START not in request.event_trigger):
            session.detected.pop((name, instance), None)
            pcrf.application_events.labels("stop").inc()
        else:
            session.detected[name, instance] = pcrf.clock()
            pcrf.application_events.labels("start").inc()


def note_reports(pcrf: Pcrf, session: GxSession, reports: tuple[ChargingRuleReport, ...], events: tuple[EventTrigger | int, ...] = ()) -> None:
    """TS 29.212 clause 4.5.12: rules that the PCEF could not install, or no longer enforces."""
    for report in reports:
        names = frozenset(report.charging_rule_name)
        if report.pcc_rule_status == PccRuleStatus.ACTIVE:
            session.inactive_rules -= names
            continue
        temporary = report.pcc_rule_status == PccRuleStatus.TEMPORARILY_INACTIVE or (
            report.rule_failure_code is None and any(event in _FOR_THE_TIME_BEING for event in events))
        if temporary:
            session.inactive_rules |= names & session.rules.keys()
            continue
        for name in names:
            session.rules.pop(name, None)
            session.ue_rules.pop(name, None)        # the UE asks again if it still wants it
            session.withheld_rules |= {name}
            pcrf.rule_failures.inc()
            pcrf.log.warning("rule.failed", rule=name.decode(errors="replace"), cause=failure_name(report.rule_failure_code), imsi=session.imsi)
        session.groups -= frozenset(report.charging_rule_base_name)
        session.withheld_rules |= {group.encode() for group in report.charging_rule_base_name}


def failure_name(code: RuleFailureCode | int | None) -> str:
    return code.name if isinstance(code, RuleFailureCode) else str(code)


