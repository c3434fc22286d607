"""Session charging with unit reservation: the three requests of a Gy session (RFC 8506 clause 5, TS 32.299 clause 5.2.2).

Each request is one transaction: usage is debited, old reservations are released, new ones made, and the answer is kept with them. So a
request that comes again, with or without the T bit, before or after a restart, is answered as it was and moves no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from epc.ocs.store import Account, Books, CreditSession, EntryKind, Service, ServiceKey
from epc.ocs.tariff import affordable, cost, reservation, service_at
from epc.procedure import Reject
from epc.wire import diameter
from epc.wire.diameter import ResultCode
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RedirectServer,
    RequestedServiceUnit,
    Trigger,
    TriggerType,
    UsedServiceUnit,
)
from epc.wire.diameter.groups import SubscriptionIdType
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.gy import CreditControlAnswer, CreditControlRequest

if TYPE_CHECKING:
    from epc.ocs.config import FinalUnit
    from epc.ocs.node import Ocs

LONGEST_SESSION_ID = 255        # what the database keeps


async def initial_request(ocs: Ocs, books: Books, request: CreditControlRequest) -> CreditControlAnswer:
    # 1 who is it
    imsi = _imsi(request)
    account = await books.lock_account(imsi)
    if account is None:
        raise Reject(ResultCode.DIAMETER_USER_UNKNOWN, f"no account of {imsi}")
    if (repeated := await _repeated(ocs, books, request)) is not None:
        return repeated
    if await books.session(request.session_id) is not None:
        raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, "the session exists already")
    if account.blocked:
        raise Reject(ResultCode.DIAMETER_END_USER_SERVICE_DENIED, f"the account of {imsi} is blocked")

    # 2 what the gateway lost in a restart is reserved no longer
    if request.origin_state_id is not None:
        for lost in await books.lost_sessions(request.origin_host, request.origin_state_id):
            await books.close_session(lost, ocs.now_ms())
            ocs.log.info("session.lost", reason="the gateway restarted", session_id=lost.session_id, imsi=lost.imsi)
            account = await books.account(imsi) or account

    # 3 the session, and the first quotas
    ps = request.service_information.ps_information if request.service_information else None
    now_ms = ocs.now_ms()
    session = CreditSession(
        session_id=request.session_id, imsi=imsi, apn=(ps.called_station_id if ps else None) or "",
        visited_plmn=(ps.tgpp_sgsn_mcc_mnc if ps else None) or "", peer_host=request.origin_host, peer_realm=request.origin_realm,
        origin_state_id=request.origin_state_id, opened_ms=now_ms, expires_ms=now_ms + ocs.config.session_timeout_s * 1000)
    await books.add_session(session)
    services = await _charge(ocs, books, account, session, request)

    # 4 no money, and nothing that is free either: no session
    is_broke = all(service.result_code == ResultCode.DIAMETER_CREDIT_LIMIT_REACHED for service in services) if services else account.available <= 0
    if is_broke and ocs.config.tariff.final_unit.action == "terminate":
        raise Reject(ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, f"no credit left in the account of {imsi}")
    return await _answered(ocs, books, request, services)


async def update_request(ocs: Ocs, books: Books, request: CreditControlRequest) -> CreditControlAnswer:
    account, session = await _session(books, request)
    if (repeated := await _repeated(ocs, books, request)) is not None:
        return repeated
    if session.closed_ms is not None:
        raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, "the session has ended")
    services = await _charge(ocs, books, account, session, request)
    return await _answered(ocs, books, request, services)


async def termination_request(ocs: Ocs, books: Books, request: CreditControlRequest) -> CreditControlAnswer:
    """Also for a session that supervision ended in the meantime: what was used is debited all the same."""
    account, session = await _session(books, request)
    if (repeated := await _repeated(ocs, books, request)) is not None:
        return repeated
    services = await _charge(ocs, books, account, session, request)
    await books.close_session(session, ocs.now_ms())
    return await _answered(ocs, books, request, services)


PROCEDURES = {
    CcRequestType.INITIAL_REQUEST: initial_request,
    CcRequestType.UPDATE_REQUEST: update_request,
    CcRequestType.TERMINATION_REQUEST: termination_request,
}


# --- the parts --------------------------------------------------------------------------------------------------------


def _imsi(request: CreditControlRequest) -> str:
    for identity in request.subscription_id:
        if identity.subscription_id_type == SubscriptionIdType.END_USER_IMSI:
            return identity.subscription_id_data
    raise Reject(ResultCode.DIAMETER_USER_UNKNOWN, "no IMSI in Subscription-Id")


async def _session(books: Books, request: CreditControlRequest) -> tuple[Account, CreditSession]:
    """The locked account and the session as it is then."""
    session = await books.session(request.session_id)
    account = await books.lock_account(session.imsi) if session else None
    session = await books.session(request.session_id)
    if account is None or session is None:
        raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
    return account, session


async def _repeated(ocs: Ocs, books: Books, request: CreditControlRequest) -> CreditControlAnswer | None:
    """The answer that a request got when it came before."""
    octets = await books.answer(request.session_id, request.cc_request_number)
    if octets is None:
        if await books.is_forgotten(request.session_id, request.cc_request_number):
            raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"CC-Request-Number {request.cc_request_number} is too old")
        return None
    answer = diameter.decode(octets).message
    if not isinstance(answer, CreditControlAnswer) or answer.cc_request_type != request.cc_request_type:
        raise Reject(ResultCode.DIAMETER_INVALID_AVP_VALUE, f"CC-Request-Number {request.cc_request_number} was another request's")
    ocs.repetitions.inc()
    return replace(answer, origin_host=ocs.config.origin_host)      # another OCS on the same database may have given it


async def _answered(ocs: Ocs, books: Books, request: CreditControlRequest, services: Sequence[MultipleServicesCreditControl]) -> CreditControlAnswer:
    config = ocs.config
    answer = CreditControlAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=config.origin_host, origin_realm=config.origin_realm,
        cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
        cc_session_failover=CcSessionFailover.FAILOVER_SUPPORTED if config.session_failover else CcSessionFailover.FAILOVER_NOT_SUPPORTED,
        multiple_services_credit_control=tuple(services),
        credit_control_failure_handling=CreditControlFailureHandling[config.failure_handling.upper()])
    await books.remember_answer(request.session_id, request.cc_request_number, diameter.encode(answer, hop_by_hop=0, end_to_end=0))
    return answer


@dataclass(slots=True)
class _Charging:
    """One request's way through the books."""

    ocs: Ocs
    books: Books
    account: Account
    session: CreditSession
    services: dict[ServiceKey, Service]
    request_number: int
    changed: set[ServiceKey] = field(default_factory=set)

    def reserve(self, money: int) -> None:
        """``money`` more, or less, is kept for the session."""
        self.account = replace(self.account, reserved=self.account.reserved + money)


async def _charge(ocs: Ocs, books: Books, account: Account, session: CreditSession,
                  request: CreditControlRequest) -> list[MultipleServicesCreditControl]:
    """Debit all that was used, release all that was reserved for it, then grant: what one service gives back another may get."""
    state = _Charging(ocs, books, account, session, await books.services(session), request.cc_request_number)
    asked = request.multiple_services_credit_control
    for mscc in asked:
        if mscc.used_service_unit:
            await _debit(state, _key(mscc), mscc.used_service_unit)
    for mscc in asked:
        service = state.services.get(_key(mscc))
        if service is not None:
            state.reserve(-service.reserved)
            service.granted = service.reserved = 0
            state.changed.add(service.key)

    # usage before this was rated where the user was then; from here on it counts where the user is now
    ps = request.service_information.ps_information if request.service_information else None
    if ps is not None and ps.tgpp_sgsn_mcc_mnc:
        session.visited_plmn = ps.tgpp_sgsn_mcc_mnc
    if session.closed_ms is None:
        session.expires_ms = ocs.now_ms() + ocs.config.session_timeout_s * 1000
    await books.update_session(session)

    answers = []
    for mscc in asked:
        if mscc.requested_service_unit is not None and request.cc_request_type != CcRequestType.TERMINATION_REQUEST:
            answer = _grant(state, _key(mscc), mscc.requested_service_unit)
        else:
            answer = MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_SUCCESS)
        if answer.result_code != ResultCode.DIAMETER_SUCCESS:
            ocs.refusals.labels(ResultCode(answer.result_code or 0).name).inc()
        answers.append(_named(answer, mscc))
    for key in state.changed:
        await books.put_service(session, state.services[key])
    return answers


def _key(mscc: MultipleServicesCreditControl) -> ServiceKey:
    return ServiceKey(mscc.rating_group, mscc.service_identifier[0] if mscc.service_identifier else None)


def _named(answer: MultipleServicesCreditControl, asked: MultipleServicesCreditControl) -> MultipleServicesCreditControl:
    """The answer for the service that was asked about."""
    return MultipleServicesCreditControl(
        granted_service_unit=answer.granted_service_unit, service_identifier=asked.service_identifier, rating_group=asked.rating_group,
        validity_time=answer.validity_time, result_code=answer.result_code, final_unit_indication=answer.final_unit_indication,
        time_quota_threshold=answer.time_quota_threshold, volume_quota_threshold=answer.volume_quota_threshold,
        quota_holding_time=answer.quota_holding_time, trigger=answer.trigger)


async def _debit(state: _Charging, key: ServiceKey, used: tuple[UsedServiceUnit, ...]) -> None:
    """At the price that was told with the quota, whatever it is now. A balance may become negative: what was used was used."""
    octets, seconds = sum(map(_octets, used)), sum(unit.cc_time or 0 for unit in used)
    if not octets and not seconds:
        return
    session, ocs = state.session, state.ocs
    service = state.services.get(key)
    if service is None:
        rate = ocs.rating.rate(key, apn=session.apn, visited_plmn=session.visited_plmn, now=ocs.clock())
        if rate is None or rate.service != "charged":
            ocs.log.warning("usage.unrated", session_id=session.session_id, imsi=session.imsi, rating_group=key.rating_group, octets=octets,
                            seconds=seconds)
            return
        service = state.services[key] = service_at(rate, key)
    money, service.fraction = cost(service, octets if service.unit == "octets" else seconds)
    state.account = await state.books.book(
        state.account, EntryKind.DEBIT, -money, ocs.now_ms(), session_id=session.session_id, request_number=state.request_number,
        rating_group=key.rating_group, service_identifier=key.service_identifier, octets=octets, seconds=seconds, rate=service.rate,
        visited_plmn=session.visited_plmn or None)
    state.changed.add(key)
    ocs.debited.inc(money)


def _octets(used: UsedServiceUnit) -> int:
    if used.cc_total_octets is not None:
        return used.cc_total_octets
    return (used.cc_input_octets or 0) + (used.cc_output_octets or 0)


def _grant(state: _Charging, key: ServiceKey, wanted: RequestedServiceUnit) -> MultipleServicesCreditControl:
    session, ocs = state.session, state.ocs
    tariff = ocs.config.tariff
    if state.account.blocked:
        return MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_END_USER_SERVICE_DENIED)
    rate = ocs.rating.rate(key, apn=session.apn, visited_plmn=session.visited_plmn, now=ocs.clock())
    if rate is None:
        return MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_RATING_FAILED)
    if rate.service == "denied":
        return MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_END_USER_SERVICE_DENIED)
    if rate.service == "free":
        return MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE)

    # as much as is wanted, as the tariff gives at once, and as the money pays for
    service = service_at(rate, key)
    before = state.services.get(key)
    service.fraction = before.fraction if before else 0
    quota = tariff.quota
    if service.unit == "octets":
        size = min(quota.octets, wanted.cc_total_octets or quota.octets)
    else:
        size = min(quota.seconds, wanted.cc_time or quota.seconds)
    units = affordable(service, state.account.available, size)
    service.granted = units
    service.reserved = reservation(service, units)
    service.exhausted = units < size
    state.reserve(service.reserved - (before.reserved if before else 0))
    state.services[key] = service
    state.changed.add(key)

    # the price changes with the time of day: the quota ends there
    validity_time = quota.validity_time_s
    to_change = ocs.rating.seconds_to_change(ocs.clock())
    if to_change is not None:
        validity_time = min(validity_time, to_change)
    if units == 0:
        if tariff.final_unit.action == "terminate":
            return MultipleServicesCreditControl(result_code=ResultCode.DIAMETER_CREDIT_LIMIT_REACHED)
        return MultipleServicesCreditControl(
            result_code=ResultCode.DIAMETER_SUCCESS, validity_time=validity_time, final_unit_indication=final_unit_indication(tariff.final_unit))
    threshold = None if service.exhausted or not quota.threshold_percent else units * quota.threshold_percent // 100
    is_volume = service.unit == "octets"
    return MultipleServicesCreditControl(
        granted_service_unit=GrantedServiceUnit(cc_total_octets=units) if is_volume else GrantedServiceUnit(cc_time=units),
        result_code=ResultCode.DIAMETER_SUCCESS, validity_time=validity_time,
        final_unit_indication=final_unit_indication(tariff.final_unit) if service.exhausted else None,
        volume_quota_threshold=threshold if is_volume else None, time_quota_threshold=None if is_volume else threshold,
        quota_holding_time=quota.holding_time_s, trigger=Trigger(trigger_type=tuple([TriggerType[name] for name in tariff.triggers])))


def final_unit_indication(final: FinalUnit) -> FinalUnitIndication:
    """RFC 8506 clause 8.34."""
    return FinalUnitIndication(
        final_unit_action=FinalUnitAction[final.action.upper()], restriction_filter_rule=final.filter_rules, filter_id=final.filter_ids,
        redirect_server=RedirectServer(redirect_address_type=final.redirect_address_type, redirect_server_address=final.redirect_to)
        if final.redirect_to else None)
