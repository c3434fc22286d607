"""Session based credit control, the client's side (RFC 8506 clauses 5 and 7, TS 32.299 clause 6.4): open, update, terminate.

One request of a session is under way at a time, and none is given up before its fate is known: one that stays unanswered is repeated as
it is, with the T bit, under its CC-Request-Number, by which the OCS knows it again. So usage is neither lost nor counted twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from epc.peer.diameter import PeerUnavailable
from epc.peer.timer import TimerExpired
from epc.pgw.charging_filters import unknown_filters
from epc.pgw.context import PdnSession
from epc.pgw.online_charging.quota import quota_of
from epc.pgw.online_charging.requests import initial_request, termination_request, update_request
from epc.pgw.online_charging.session import OnlineSession, Service, Stage, Unanswered
from epc.procedure import Reject, procedure, step
from epc.wire.diameter import Answer, DiameterError, ResultCode
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    MultipleServicesCreditControl,
    ReportingReason,
)
from epc.wire.diameter.groups import TerminationCause
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.gy import CreditControlAnswer, CreditControlRequest
from epc.wire.gtpv2 import CauseValue

if TYPE_CHECKING:
    from epc.pgw.online_charging.client import GyClient

_NO_ANSWER = (PeerUnavailable, TimerExpired, DiameterError)
_NOT_DELIVERED = (ResultCode.DIAMETER_UNABLE_TO_DELIVER, ResultCode.DIAMETER_TOO_BUSY, ResultCode.DIAMETER_LOOP_DETECTED)   # RFC 8506 clause 5.7
_DENIED = (ResultCode.DIAMETER_END_USER_SERVICE_DENIED, ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, ResultCode.DIAMETER_AUTHORIZATION_REJECTED,
           ResultCode.DIAMETER_USER_UNKNOWN)
_NO_RESOURCES = (ResultCode.DIAMETER_TOO_BUSY, ResultCode.DIAMETER_OUT_OF_SPACE, ResultCode.DIAMETER_RESOURCES_EXCEEDED)
_ASKED_AGAIN = (ResultCode.DIAMETER_END_USER_SERVICE_DENIED, ResultCode.DIAMETER_CREDIT_LIMIT_REACHED)
_PAUSES_S = (2.0, 5.0, 10.0, 20.0, 60.0)        # between attempts to tell the OCS of a session's end
_TERMINATE, _CONTINUE = CreditControlFailureHandling.TERMINATE, CreditControlFailureHandling.CONTINUE


class Denied(Exception):
    """The OCS does not want the session, or nobody may have it without one; ``cause`` is for the SGW."""

    def __init__(self, cause: CauseValue, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


async def open_credit_session(gy: GyClient, session: PdnSession) -> None:
    """The first interrogation, before the UE may send anything. Raises :class:`Reject` with the cause for the SGW."""
    online = session.gy
    assert online is not None
    online.follow(session.enforced_rules(), session.remainder)
    if not online.due:
        return                                          # nothing to ask for before the first packet of something that is charged online
    try:
        await _interrogate(gy, session, initial_request(gy.pgw, session, online))
    except Denied as denied:
        raise Reject(denied.cause, str(denied)) from denied
    asked = [service for service in online.services.values() if service.is_active and service.stage is not Stage.IDLE]
    if online.is_controlled and all(service.stage is Stage.BLOCKED for service in asked):
        raise Reject(CauseValue.USER_AUTHENTICATION_FAILED, "the OCS gives no credit for any service")


@procedure(spec="RFC 8506 clause 5.3, TS 32.299 clause 5.2.2")
async def credit_update(gy: GyClient, session: PdnSession) -> None:
    """Report and ask until nothing is due any more."""
    online = session.gy
    assert online is not None
    try:
        while not online.ending.is_set():
            if online.unanswered is not None:
                request = online.unanswered.request
            elif due := online.due:
                await gy.measured(session)
                request = update_request(gy.pgw, session, online, due) if online.next_request_number else initial_request(gy.pgw, session, online)
            else:
                return
            await _interrogate(gy, session, request)
    except Denied as denied:
        gy.log.info("gy.session_ends", imsi=session.imsi, reason=str(denied))
        for service in online.services.values():
            online.withdraw(service, Stage.BLOCKED)
        online.is_controlled = False
        gy.apply(session)
        gy.end_by_ocs(session)
        raise Reject(denied.cause, str(denied)) from denied


@procedure(spec="RFC 8506 clauses 8.20 and 8.27")
async def note_tariff_change(gy: GyClient, session: PdnSession, service: Service) -> None:
    """Tariff-Time-Change: the next report tells apart what was used before it and after it."""
    await gy.measured(session)
    online = session.gy
    if online is not None and not online.ending.is_set():
        service.before_change = online.used(service)


@procedure(spec="RFC 8506 clause 5.4, TS 32.299 clause 5.2.2")
async def credit_termination(gy: GyClient, session: PdnSession, cause: TerminationCause) -> None:
    """The last report. An OCS that cannot be reached is told later, for nothing else would debit what was used."""
    online = session.gy
    assert online is not None
    if online.worker is not None:
        await asyncio.wait([online.worker])
    await gy.settled(session)
    unanswered, doubtful = online.unanswered, 0        # what is told twice under two numbers would be debited twice
    if unanswered is not None and (unanswered.request.cc_request_type != CcRequestType.INITIAL_REQUEST or online.unreported_octets):
        step(1, "unanswered")
        answer = await _deliver(gy, online, unanswered)
        if unanswered.request.cc_request_type == CcRequestType.INITIAL_REQUEST:
            online.is_open = bool(unanswered.attempts.peers) if answer is None else answer.is_success
        if answer is None:
            doubtful = sum(service.told.octets - service.settled.octets for service in online.services.values())
        else:
            _confirm(online, answer)
    if not online.is_open:
        gy.lose(session, online.unreported_octets)
        return
    step(2, "termination")
    online.give_back()
    request = termination_request(gy.pgw, session, online, cause)
    answer = await _deliver(gy, online, Unanswered(request, gy.attempts()))
    if answer is not None:
        _confirm(online, answer)
    gy.lose(session, online.unreported_octets if answer is None else online.unreported_octets + doubtful)
    if answer is None:
        raise Reject(ResultCode.DIAMETER_UNABLE_TO_DELIVER, "no OCS takes the termination")
    if not answer.is_success:
        raise Reject(answer.result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, "the OCS refuses the termination")


# --- one request ------------------------------------------------------------------------------------------------------


async def _interrogate(gy: GyClient, session: PdnSession, request: CreditControlRequest) -> None:
    """Send, and do what the answer says, or what Credit-Control-Failure-Handling says where there is none. Raises :class:`Denied`."""
    online = session.gy
    assert online is not None
    is_new = online.unanswered is None or online.unanswered.request is not request
    if is_new:
        online.unanswered = Unanswered(request, gy.attempts())
    assert online.unanswered is not None
    try:
        answer = await _ask(gy, session, online.unanswered)
    except _NO_ANSWER as error:
        gy.log.warning("gy.no_answer", imsi=session.imsi, session_id=online.session_id, number=request.cc_request_number, reason=str(error),
                        failure_handling=online.failure_handling.name)
        if request.cc_request_type == CcRequestType.INITIAL_REQUEST:
            online.is_open = bool(online.unanswered.attempts.peers)     # whether it has ever left
        if online.failure_handling != _CONTINUE:
            raise Denied(CauseValue.REQUEST_REJECTED, f"no answer from the OCS: {error}") from error
        _let_pass(gy, session)
        if gy.pgw.is_established(session):
            await _pause(gy, online)
        return
    online.unanswered, online.is_silent, online.is_open = None, False, True
    if answer.is_success and isinstance(answer, CreditControlAnswer):
        _confirm(online, answer)
        if online.ending.is_set():
            online.give_back()
        else:
            _take(gy, session, answer)
    else:
        online.take_back()
        await _refused(gy, session, answer)


async def _ask(gy: GyClient, session: PdnSession, unanswered: Unanswered) -> Answer:
    """At the OCS that has the session, then where that is allowed at another one (RFC 8506 clause 5.7)."""
    online, request = session.gy, unanswered.request
    assert online is not None
    may_move = request.cc_request_type == CcRequestType.INITIAL_REQUEST or online.failover == CcSessionFailover.FAILOVER_SUPPORTED
    elsewhere = replace(request, destination_host=None)
    try:
        answer = await gy.ask(request, unanswered.attempts)
        if answer.result not in _NOT_DELIVERED or not may_move or not gy.node.has_another_way(elsewhere, unanswered.attempts):
            return answer
    except _NO_ANSWER as error:
        is_over = isinstance(error, TimerExpired) and online.failure_handling == _TERMINATE
        if is_over or not may_move or not gy.node.has_another_way(elsewhere, unanswered.attempts):
            raise
        if isinstance(error, TimerExpired) and gy.pgw.is_established(session):
            _let_pass(gy, session)                     # state PendingU, Tx expired: the service is granted while another one is asked
    return await gy.ask(elsewhere, unanswered.attempts)


async def _deliver(gy: GyClient, online: OnlineSession, unanswered: Unanswered) -> Answer | None:
    """Until somebody answers; None when nobody does."""
    for pause_s in (*_PAUSES_S, None):
        try:
            answer = await gy.ask(unanswered.request, unanswered.attempts)
            if answer.result not in _NOT_DELIVERED:
                return answer
        except _NO_ANSWER as error:
            gy.log.info("gy.termination_delayed", session_id=online.session_id, reason=str(error), by_s=pause_s)
        if online.failover == CcSessionFailover.FAILOVER_SUPPORTED:
            unanswered.request = replace(unanswered.request, destination_host=None)
        if pause_s is not None:
            await asyncio.sleep(pause_s)
    return None


async def _pause(gy: GyClient, online: OnlineSession) -> None:
    """Before the same request goes out again."""
    try:
        async with asyncio.timeout(gy.config.retry_s):
            await online.ending.wait()
    except TimeoutError:
        pass


def _confirm(online: OnlineSession, answer: Answer) -> None:
    """The OCS has counted what it was told, or it has not."""
    if not answer.is_success:
        online.take_back()
    for service in online.services.values():
        service.settled = service.told


# --- what the OCS says ------------------------------------------------------------------------------------------------


def _take(gy: GyClient, session: PdnSession, answer: CreditControlAnswer) -> None:
    online = session.gy
    assert online is not None
    online.ocs = answer.origin_host
    if answer.credit_control_failure_handling is not None:
        try:
            online.failure_handling = CreditControlFailureHandling(answer.credit_control_failure_handling)
        except ValueError:
            gy.log.warning("gy.unknown_failure_handling", value=int(answer.credit_control_failure_handling))
    if answer.cc_session_failover is not None:
        online.failover = CcSessionFailover(answer.cc_session_failover == CcSessionFailover.FAILOVER_SUPPORTED)
    asked = [service for service in online.services.values() if service.is_asked]
    for mscc in answer.multiple_services_credit_control:
        service = _service_of(asked, mscc)
        if service is None:
            continue                                    # it was only reported about; or nobody asked
        asked.remove(service)
        service.is_asked = False
        _take_service(gy, session, service, mscc)
    for service in asked:                               # not a word about it: no units
        service.is_asked = False
        _block(gy, session, service, None)
    gy.apply(session)
    _end_where_nothing_is_left(gy, session)


def _service_of(services: list[Service], mscc: MultipleServicesCreditControl) -> Service | None:
    if mscc.rating_group is None and len(services) == 1:
        return services[0]
    of_group = {service.key.service_identifier: service for service in services if service.key.rating_group == mscc.rating_group}
    return next((of_group[identifier] for identifier in (*mscc.service_identifier, None) if identifier in of_group), None)


def _take_service(gy: GyClient, session: PdnSession, service: Service, mscc: MultipleServicesCreditControl) -> None:
    """What becomes of one charging key (TS 32.299 clause 6.5, RFC 8506 clause 9)."""
    online = session.gy
    assert online is not None
    if mscc.trigger is not None:                        # absent: as before; empty: none any more
        service.triggers = frozenset(mscc.trigger.trigger_type)
    result = ResultCode.DIAMETER_SUCCESS if mscc.result_code is None else mscc.result_code
    if not service.is_active:
        return
    if result == ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE:
        online.withdraw(service, Stage.FREE)
        return
    if not 2000 <= result < 3000:
        _block(gy, session, service, result)
        return
    quota, before = quota_of(mscc, since=service.told), service.stage
    used = online.used(service)
    final = mscc.final_unit_indication
    if quota is None:
        if final is None or final.final_unit_action == FinalUnitAction.TERMINATE:
            _block(gy, session, service, ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, final)
        else:
            _restrict(gy, session, service, final)
    else:
        online.grant(service, Stage.GRANTED, quota)
        if before in (Stage.BLOCKED, Stage.RESTRICTED):
            gy.credit_changed(session, service, None, is_back=True)
        change = mscc.granted_service_unit.tariff_time_change if mscc.granted_service_unit is not None else None
        if change is not None and (seconds := change.timestamp() - gy.pgw.clock()) > 0:
            service.tariff_alarm = asyncio.get_running_loop().call_later(seconds, gy.runner.start, note_tariff_change, gy, session, service)
        if quota.is_used_up(used):                      # more has passed while the answer was on its way
            quota_used(gy, session, service)
    if mscc.validity_time and service.stage in (Stage.GRANTED, Stage.RESTRICTED):
        _set_alarm(gy, session, service, mscc.validity_time)


def _set_alarm(gy: GyClient, session: PdnSession, service: Service, seconds: float) -> None:
    if service.alarm is not None:
        service.alarm.cancel()
    service.alarm = asyncio.get_running_loop().call_later(seconds, _validity_ended, session, service)


def _validity_ended(session: PdnSession, service: Service) -> None:
    """RFC 8506 clause 8.33: the client asks again."""
    online = session.gy
    if online is None or not online.is_controlled or service.is_asked:
        return
    if service.stage is Stage.BLOCKED:
        service.wants_units = True
        online.work()
    else:
        online.report(service, ReportingReason.VALIDITY_TIME)


def _block(gy: GyClient, session: PdnSession, service: Service, result: int | None, final: FinalUnitIndication | None = None) -> None:
    """Nothing passes until the OCS says otherwise (RAR), or until the operator's own patience ends."""
    online = session.gy
    assert online is not None
    if service.stage is not Stage.BLOCKED and result in (None, ResultCode.DIAMETER_CREDIT_LIMIT_REACHED):
        gy.credit_changed(session, service, final)
    online.withdraw(service, Stage.BLOCKED)
    gy.blocked.labels(_name(result)).inc()
    gy.log.info("gy.service_blocked", imsi=session.imsi, rating_group=service.key.rating_group, result=_name(result))
    config = gy.config
    if config.ask_again_s is not None and result in _ASKED_AGAIN:
        _set_alarm(gy, session, service, config.ask_again_s)


def _restrict(gy: GyClient, session: PdnSession, service: Service, final: FinalUnitIndication) -> None:
    online = session.gy
    assert online is not None
    if service.stage is not Stage.RESTRICTED:
        gy.credit_changed(session, service, final)
    alarm, service.alarm = service.alarm, None          # Validity-Time runs on: the OCS is asked again when it ends
    online.withdraw(service, Stage.RESTRICTED)
    service.restriction, service.alarm = final, alarm
    for problem in unknown_filters(final, online.allowances):
        gy.log.warning("gy.filter", session_id=online.session_id, problem=problem)
    gy.log.info("gy.service_restricted", imsi=session.imsi, rating_group=service.key.rating_group, action=int(final.final_unit_action))


def quota_used(gy: GyClient, session: PdnSession, service: Service, reason: ReportingReason = ReportingReason.QUOTA_EXHAUSTED) -> None:
    """A quota is used up; until there is another one nothing passes. After the last units: RFC 8506 clause 5.6."""
    online, quota = session.gy, service.quota
    if online is None or quota is None or service.is_asked:
        return                                          # more is on its way
    final = quota.final
    if final is None:
        if online.is_silent:
            online.grant(service, Stage.UNCONTROLLED, None)
        online.report(service, reason)
        return
    if final.final_unit_action in (FinalUnitAction.REDIRECT, FinalUnitAction.RESTRICT_ACCESS):
        _restrict(gy, session, service, final)
        online.report(service, ReportingReason.QUOTA_EXHAUSTED, wants_units=False)
        return
    _block(gy, session, service, None, final)
    online.report(service, ReportingReason.FINAL, wants_units=False)
    _end_where_nothing_is_left(gy, session)


def _end_where_nothing_is_left(gy: GyClient, session: PdnSession) -> None:
    """``on_credit_end: end_session``: no charging key has any credit."""
    online = session.gy
    if online is None or gy.config.on_credit_end != "end_session":
        return
    stages = [service.stage for service in online.services.values() if service.is_active]
    if Stage.BLOCKED in stages and all(stage in (Stage.BLOCKED, Stage.IDLE) for stage in stages):
        gy.end_by_ocs(session)


async def _refused(gy: GyClient, session: PdnSession, answer: Answer) -> None:
    """The whole request was (RFC 8506 clause 7, "failed answer"). Raises :class:`Denied`."""
    online = session.gy
    assert online is not None
    result = answer.result or 0
    detail = f"the OCS refuses: {_name(result)}"
    if online.next_request_number == 1:
        online.is_open = False                          # no session was opened there
    if result == ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE:
        _without_control(gy, session, Stage.FREE)
        return
    if result in _DENIED:
        raise Denied(CauseValue.USER_AUTHENTICATION_FAILED, detail)
    if online.failure_handling != _CONTINUE:
        raise Denied(CauseValue.NO_RESOURCES_AVAILABLE if result in _NO_RESOURCES else CauseValue.REQUEST_REJECTED, detail)
    if result == ResultCode.DIAMETER_UNKNOWN_SESSION_ID and online.next_request_number > 1:
        gy.log.warning("gy.session_lost", imsi=session.imsi, session_id=online.session_id)
        gy.reopen(session)              # what was not counted goes into the new session's first update
        return
    gy.log.warning("gy.uncontrolled", imsi=session.imsi, reason=detail)
    _without_control(gy, session, Stage.UNCONTROLLED)


def _without_control(gy: GyClient, session: PdnSession, stage: Stage) -> None:
    """The traffic goes on, and the OCS is asked no more (state Idle, service granted)."""
    online = session.gy
    assert online is not None
    online.is_controlled = False
    for service in online.services.values():
        if stage is Stage.UNCONTROLLED:
            online.grant(service, stage, None)
        else:
            online.withdraw(service, stage)
        service.reason, service.wants_units = None, False
    gy.apply(session)


def _let_pass(gy: GyClient, session: PdnSession) -> None:
    """Meanwhile the service is granted, counted and without limit (RFC 8506 clause 7, states PendingI and PendingU)."""
    online = session.gy
    assert online is not None
    online.is_silent = True
    for service in online.services.values():
        if service.is_asked and service.is_active and service.stage is not Stage.UNCONTROLLED:
            online.grant(service, Stage.UNCONTROLLED, None)
    gy.apply(session)


def _name(result: int | None) -> str:
    if result is None:
        return "FINAL_UNITS_USED"
    return ResultCode(result).name if result in list(ResultCode) else str(int(result))
