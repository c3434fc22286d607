"""The visited PCRF's side of S9 (TS 29.215 clause 4.5): for a roamer whose PGW is here, home decides and this PCRF passes it on.

Every user of a partner has one S9 session with the partner's PCRF, and in it a subsession for each IP-CAN session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from epc.node import SessionEnd
from epc.pcrf.ip_can_session_establishment import imsi_of, ip_can_session_establishment
from epc.pcrf.pcc import GBR_QCIS
from epc.pcrf.s9_home import realm_of
from epc.peer.diameter import PeerUnavailable
from epc.peer.timer import Timer, TimerExpired
from epc.procedure import Reject, procedure
from epc.procedure.outcome import cause_name
from epc.wire.diameter import DiameterError, ErrorAnswer, ExperimentalResultCode, ResultCode, gx, s9
from epc.wire.diameter.groups import SubscriptionId, TerminationCause
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.policy import ChargingRuleDefinition, ChargingRuleReport, PccRuleStatus, QosInformation, RuleFailureCode
from epc.wire.diameter.s9 import SubsessionDecisionInfo, SubsessionEnforcementInfo, SubsessionOperation

if TYPE_CHECKING:
    from epc.pcrf.config import RoamingPartner, VisitedRestrictions
    from epc.pcrf.node import Pcrf

_HOME_NOT_REACHED = (ResultCode.DIAMETER_UNABLE_TO_DELIVER, ResultCode.DIAMETER_REALM_NOT_SERVED, ResultCode.DIAMETER_TOO_BUSY,
                     ResultCode.DIAMETER_APPLICATION_UNSUPPORTED, ResultCode.DIAMETER_LOOP_DETECTED)


class HomeUnreachable(Exception):
    """No answer of the home PCRF's."""


@dataclass(slots=True, eq=False, kw_only=True)
class S9Session:
    """With the home PCRF of one user."""

    session_id: str                         # allocated here
    imsi: str
    home_realm: str
    subscription_id: tuple[SubscriptionId, ...]
    home_host: str | None = None            # once it has answered
    next_number: int = 0                    # CC-Request-Number
    next_subsession: int = 1
    subsessions: dict[int, VisitedSession] = field(default_factory=dict)
    in_turn: asyncio.Lock = field(default_factory=asyncio.Lock)     # one request at a time: the first one makes the session


_PAUSES_S = (2.0, 5.0, 10.0, 20.0, 40.0)        # between attempts to tell home of an end


@dataclass(slots=True, eq=False, kw_only=True)
class VisitedSession:
    """An IP-CAN session of a PCEF here that home decides for."""

    session_id: str                         # of the Gx session, allocated by the PCEF
    imsi: str
    apn: str
    pcef_host: str
    pcef_realm: str
    origin_state_id: int | None
    s9: S9Session
    subsession_id: int                      # allocated here
    address: str

    def state(self) -> dict[str, object]:
        """For ``epclab ctl``."""
        return {"session_id": self.session_id, "imsi": self.imsi, "apn": self.apn, "address": self.address, "pcef": self.pcef_host,
                "home_realm": self.s9.home_realm, "home_pcrf": self.s9.home_host, "s9_session_id": self.s9.session_id,
                "subsession": self.subsession_id}


class VisitedRole:
    """IP-CAN sessions here of other operators' subscribers."""

    def __init__(self, pcrf: Pcrf) -> None:
        self._pcrf = pcrf
        self._partners = [partner for partner in pcrf.config.s9.partners if partner.local_breakout]
        self._sessions: dict[str, VisitedSession] = {}
        self._users: dict[str, S9Session] = {}
        self._by_session_id: dict[str, S9Session] = {}
        self._states: dict[str, int] = {}
        self._tx = Timer("Tx", pcrf.config.s9.tx_s)

    def __len__(self) -> int:
        return len(self._sessions)

    def state(self) -> list[dict[str, object]]:
        return [session.state() for session in self._sessions.values()]

    def session_ends(self) -> Iterator[SessionEnd]:
        """Towards the PCEF here, and towards home; a user whom home has no subsession of is one that somebody forgot."""
        for session in self._sessions.values():
            yield SessionEnd(interface="Gx", session_id=session.session_id, own=False, imsi=session.imsi, peer=session.pcef_host)
        for user in {id(user): user for user in (*self._users.values(), *self._by_session_id.values())}.values():
            for suffix in [f";{number}" for number in user.subsessions] or [""]:
                yield SessionEnd(interface="S9", session_id=user.session_id + suffix, own=True, imsi=user.imsi, peer=user.home_host or "")

    def serves(self, request: gx.CreditControlRequest, imsi: str | None) -> bool:
        """Whether home decides what is asked: a session that is there, or a new one of a partner's subscriber."""
        if request.cc_request_type == CcRequestType.INITIAL_REQUEST:
            return imsi is not None and self._partner_of(imsi) is not None
        return request.session_id in self._sessions

    def _partner_of(self, imsi: str) -> RoamingPartner | None:
        return next((partner for partner in self._partners if imsi.startswith(partner.plmn)), None)

    # from the PCEF

    async def credit_control(self, request: gx.CreditControlRequest) -> gx.CreditControlAnswer:
        if request.cc_request_type == CcRequestType.INITIAL_REQUEST:
            return await self._establish(request)
        session = self._sessions[request.session_id]
        async with session.s9.in_turn:
            if request.cc_request_type == CcRequestType.TERMINATION_REQUEST:
                return await self._terminate(session, request)
            return await self._modify(session, request)

    async def _establish(self, request: gx.CreditControlRequest) -> gx.CreditControlAnswer:
        # 1 whose subscriber it is; what the PCEF lost in a restart
        imsi = imsi_of(request.subscription_id)
        assert imsi is not None
        partner = self._partner_of(imsi)
        assert partner is not None
        if request.called_station_id is None or (request.framed_ip_address is None and request.framed_ipv6_prefix is None):
            raise Reject(ExperimentalResultCode.DIAMETER_ERROR_INITIAL_PARAMETERS, "Called-Station-Id and an address are needed")
        self._note_state(request)
        user = self._users.get(imsi)
        if user is None:
            user = self._users[imsi] = S9Session(
                session_id=self._pcrf.gx.new_session_id("s9"), imsi=imsi, home_realm=realm_of(partner),
                subscription_id=request.subscription_id)

        # 2 home is asked for the subsession
        session = VisitedSession(
            session_id=request.session_id, imsi=imsi, apn=request.called_station_id, pcef_host=request.origin_host,
            pcef_realm=request.origin_realm, origin_state_id=request.origin_state_id, s9=user, subsession_id=user.next_subsession,
            address=str(request.framed_ip_address or request.framed_ipv6_prefix))
        user.next_subsession += 1
        async with user.in_turn:
            self._users.setdefault(imsi, user)
            self._by_session_id[user.session_id] = user
            kind = CcRequestType.UPDATE_REQUEST if user.subsessions else CcRequestType.INITIAL_REQUEST
            try:
                decision = await self._ask_home(user, kind, request, _enforcement(session, request, SubsessionOperation.ESTABLISHMENT))
            except HomeUnreachable as error:
                self._forget_idle(user)
                self._pcrf.runner.start(tell_home_later, self, session, _nothing_new(session, CcRequestType.TERMINATION_REQUEST))
                self._pcrf.log.warning("s9.home_unreachable", realm=user.home_realm, reason=str(error), decides=self._pcrf.config.s9.on_failure)
                if self._pcrf.config.s9.on_failure == "reject":
                    raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"home PCRF: {error}") from None
                return await ip_can_session_establishment(self._pcrf, request)
            except Reject:
                self._forget_idle(user)
                raise
            user.subsessions[session.subsession_id] = session
        replaced = self._sessions.get(session.session_id)
        self._sessions[session.session_id] = session
        if replaced is not None:
            self._pcrf.runner.start(end_subsession, self, replaced)

        # 3 passed on, as far as this network allows it
        return self._answer(session, request, decision)

    async def _modify(self, session: VisitedSession, request: gx.CreditControlRequest) -> gx.CreditControlAnswer:
        try:
            decision = await self._ask_home(
                session.s9, CcRequestType.UPDATE_REQUEST, request, _enforcement(session, request, SubsessionOperation.MODIFICATION))
        except HomeUnreachable as error:
            raise Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"home PCRF: {error}") from None
        except Reject as reject:
            if reject.cause in (ResultCode.DIAMETER_UNKNOWN_SESSION_ID, ExperimentalResultCode.DIAMETER_ERROR_SUBSESSION):
                self._remove(session)           # home has lost it: so has the PCEF to know
                raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, "the home PCRF has lost the session") from None
            raise
        return self._answer(session, request, decision)

    async def _terminate(self, session: VisitedSession, request: gx.CreditControlRequest) -> gx.CreditControlAnswer:
        """The session is over here whatever home says."""
        self._remove(session)
        await self._tell_home_of_end(session, request)
        return gx.CreditControlAnswer(
            session_id=request.session_id, origin_host=self._pcrf.config.origin_host, origin_realm=self._pcrf.config.origin_realm,
            result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number)

    async def _tell_home_of_end(self, session: VisitedSession, request: gx.CreditControlRequest) -> None:
        try:
            await self._end_at_home(session, request)
        except HomeUnreachable as error:
            self._pcrf.log.warning("s9.termination_delayed", imsi=session.imsi, reason=str(error))
            self._pcrf.runner.start(tell_home_later, self, session, request)
        except Reject as error:
            self._pcrf.log.warning("s9.termination_failed", imsi=session.imsi, reason=str(error))

    async def _end_at_home(self, session: VisitedSession, request: gx.CreditControlRequest) -> None:
        """Raises :class:`HomeUnreachable`, or :class:`Reject` with home's result."""
        kind = CcRequestType.UPDATE_REQUEST if session.s9.subsessions else CcRequestType.TERMINATION_REQUEST
        await self._ask_home(session.s9, kind, request, _enforcement(session, request, SubsessionOperation.TERMINATION))

    async def _ask_home(
        self, user: S9Session, kind: CcRequestType, request: gx.CreditControlRequest, info: SubsessionEnforcementInfo,
    ) -> SubsessionDecisionInfo:
        """Raises :class:`HomeUnreachable`, or :class:`Reject` with home's result."""
        config = self._pcrf.config
        asked = s9.CreditControlRequest(
            session_id=user.session_id, origin_host=config.origin_host, origin_realm=config.origin_realm, destination_realm=user.home_realm,
            destination_host=user.home_host, cc_request_type=kind, cc_request_number=user.next_number,
            origin_state_id=self._pcrf.gx.identity.origin_state_id, subscription_id=user.subscription_id,
            subsession_enforcement_info=(info,), ip_can_type=request.ip_can_type, rat_type=request.rat_type,
            termination_cause=TerminationCause.DIAMETER_LOGOUT if kind == CcRequestType.TERMINATION_REQUEST else None,
            user_equipment_info=request.user_equipment_info, tgpp_sgsn_mcc_mnc=request.tgpp_sgsn_mcc_mnc,
            tgpp_sgsn_address=request.tgpp_sgsn_address, tgpp_user_location_info=request.tgpp_user_location_info,
            tgpp_ms_timezone=request.tgpp_ms_timezone)
        user.next_number += 1
        try:
            answer = (await self._pcrf.gx.request(asked, timer=self._tx)).message
        except (PeerUnavailable, TimerExpired, DiameterError) as error:
            raise HomeUnreachable(str(error)) from error
        if isinstance(answer, ErrorAnswer) and answer.result in _HOME_NOT_REACHED:
            raise HomeUnreachable(cause_name(answer.result or 0))
        if not isinstance(answer, s9.CreditControlAnswer) or not answer.is_success:
            result = answer.result if isinstance(answer, s9.CreditControlAnswer | ErrorAnswer) else None
            raise Reject(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"the home PCRF: {cause_name(result or 'no result')}")
        user.home_host = answer.origin_host
        decision = next((each for each in answer.subsession_decision_info if each.subsession_id == info.subsession_id),
                        SubsessionDecisionInfo(subsession_id=info.subsession_id))
        failure = decision.experimental_result_code or (decision.result_code if decision.result_code != ResultCode.DIAMETER_SUCCESS else None)
        if failure is not None:
            raise Reject(failure, f"the home PCRF: {cause_name(failure)}")
        return decision

    def _answer(self, session: VisitedSession, request: gx.CreditControlRequest, decision: SubsessionDecisionInfo) -> gx.CreditControlAnswer:
        allowed, reports = restricted(decision, self._pcrf.config.s9.restrict)
        if reports:
            self._pcrf.runner.start(report_restrictions, self, session, reports)
        return gx.CreditControlAnswer(
            session_id=request.session_id, origin_host=self._pcrf.config.origin_host, origin_realm=self._pcrf.config.origin_realm,
            result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
            bearer_control_mode=allowed.bearer_control_mode, event_trigger=allowed.event_trigger,
            charging_rule_remove=allowed.charging_rule_remove, charging_rule_install=allowed.charging_rule_install, online=allowed.online,
            offline=allowed.offline, qos_information=allowed.qos_information, default_eps_bearer_qos=allowed.default_eps_bearer_qos,
            usage_monitoring_information=allowed.usage_monitoring_information)

    # from home

    async def re_auth(self, request: s9.ReAuthRequest) -> s9.ReAuthAnswer:
        user = self._by_session_id.get(request.session_id)
        if user is None:
            raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
        decisions = list(request.subsession_decision_info)
        if request.session_release_cause is not None:
            decisions = [SubsessionDecisionInfo(subsession_id=number, session_release_cause=request.session_release_cause)
                         for number in user.subsessions]
        results = await asyncio.gather(*[self._push(user, decision) for decision in decisions])
        return s9.ReAuthAnswer(
            session_id=request.session_id, origin_host=self._pcrf.config.origin_host, origin_realm=self._pcrf.config.origin_realm,
            result_code=ResultCode.DIAMETER_SUCCESS, subsession_enforcement_info=tuple(results))

    async def _push(self, user: S9Session, decision: SubsessionDecisionInfo) -> SubsessionEnforcementInfo:
        """Home's decision to the PCEF; what became of it."""
        session = user.subsessions.get(decision.subsession_id)
        if session is None:
            return SubsessionEnforcementInfo(
                subsession_id=decision.subsession_id, experimental_result_code=ExperimentalResultCode.DIAMETER_ERROR_SUBSESSION)
        allowed, reports = restricted(decision, self._pcrf.config.s9.restrict)
        try:
            answer = await self._pcrf.ask(gx.ReAuthRequest(
                session_id=session.session_id, origin_host=self._pcrf.config.origin_host, origin_realm=self._pcrf.config.origin_realm,
                destination_realm=session.pcef_realm, destination_host=session.pcef_host, session_release_cause=allowed.session_release_cause,
                event_trigger=allowed.event_trigger, charging_rule_remove=allowed.charging_rule_remove,
                charging_rule_install=allowed.charging_rule_install, qos_information=allowed.qos_information,
                default_eps_bearer_qos=allowed.default_eps_bearer_qos,
                usage_monitoring_information=allowed.usage_monitoring_information), gx.ReAuthAnswer)
        except Reject as reject:
            if reject.cause == ResultCode.DIAMETER_UNKNOWN_SESSION_ID:
                self._remove(session)
            return SubsessionEnforcementInfo(subsession_id=decision.subsession_id, **_result(reject.cause))
        except (PeerUnavailable, TimerExpired, ConnectionError, DiameterError):
            return SubsessionEnforcementInfo(subsession_id=decision.subsession_id, result_code=ResultCode.DIAMETER_UNABLE_TO_COMPLY)
        return SubsessionEnforcementInfo(
            subsession_id=decision.subsession_id, result_code=ResultCode.DIAMETER_SUCCESS,
            charging_rule_report=(*answer.charging_rule_report, *reports))

    # what is kept

    def _remove(self, session: VisitedSession) -> None:
        if self._sessions.get(session.session_id) is session:
            del self._sessions[session.session_id]
        session.s9.subsessions.pop(session.subsession_id, None)
        self._forget_idle(session.s9)

    def _forget_idle(self, user: S9Session) -> None:
        if not user.subsessions:
            self._by_session_id.pop(user.session_id, None)
            if self._users.get(user.imsi) is user:
                del self._users[user.imsi]

    def _note_state(self, request: gx.CreditControlRequest) -> None:
        """A greater Origin-State-Id: the PCEF has lost its sessions (RFC 6733 clause 8.16), and home is told."""
        state = request.origin_state_id
        if state is None or state <= self._states.get(request.origin_host, -1):
            return
        self._states[request.origin_host] = state
        for session in list(self._sessions.values()):
            if session.pcef_host == request.origin_host and session.origin_state_id is not None and session.origin_state_id < state:
                self._pcrf.log.info("session.lost", reason="the PCEF restarted", session_id=session.session_id, imsi=session.imsi)
                del self._sessions[session.session_id]
                self._pcrf.runner.start(end_subsession, self, session)


@procedure(spec="TS 29.215 clause 4.5.4")
async def tell_home_later(role: VisitedRole, session: VisitedSession, request: gx.CreditControlRequest) -> None:
    """Home could not be reached when the session ended, or did not answer when it began and may have made it: nothing else would end it there."""
    for pause_s in _PAUSES_S:
        await asyncio.sleep(pause_s)
        async with session.s9.in_turn:
            try:
                await role._end_at_home(session, request)
            except HomeUnreachable:
                continue
            except Reject as error:
                role._pcrf.log.info("s9.termination_failed", imsi=session.imsi, reason=str(error))
            return


@procedure(spec="TS 29.215 clause 4.5.4")
async def end_subsession(role: VisitedRole, session: VisitedSession) -> None:
    """Tell home of a session whose PCEF does not end it any more."""
    async with session.s9.in_turn:
        role._remove(session)
        await role._tell_home_of_end(session, _nothing_new(session, CcRequestType.TERMINATION_REQUEST))


@procedure(spec="TS 29.215 clause 4.5.3")
async def report_restrictions(role: VisitedRole, session: VisitedSession, reports: tuple[ChargingRuleReport, ...]) -> None:
    """Home learns which of its rules this network does not have."""
    async with session.s9.in_turn:
        if session.subsession_id in session.s9.subsessions:
            request = replace(_nothing_new(session, CcRequestType.UPDATE_REQUEST), charging_rule_report=reports)
            await role._ask_home(session.s9, CcRequestType.UPDATE_REQUEST, request,
                                 _enforcement(session, request, SubsessionOperation.MODIFICATION))


def restricted(decision: SubsessionDecisionInfo, restrict: VisitedRestrictions) -> tuple[SubsessionDecisionInfo, tuple[ChargingRuleReport, ...]]:
    """What this network has of a decision, and reports of what it has not."""
    refused: list[bytes] = []
    installs = []
    for install in decision.charging_rule_install:
        kept = tuple([rule for rule in install.charging_rule_definition if _is_allowed(rule, restrict)])
        refused += [rule.charging_rule_name for rule in install.charging_rule_definition if rule not in kept]
        if kept or install.charging_rule_name or install.charging_rule_base_name:
            installs.append(install if len(kept) == len(install.charging_rule_definition) else replace(install, charging_rule_definition=kept))
    reports = (ChargingRuleReport(charging_rule_name=tuple(refused), pcc_rule_status=PccRuleStatus.INACTIVE,
                                  rule_failure_code=RuleFailureCode.RESOURCES_LIMITATION),) if refused else ()
    return replace(decision, charging_rule_install=tuple(installs),
                   qos_information=tuple([_limited(each, restrict) for each in decision.qos_information])), reports


def _is_allowed(rule: ChargingRuleDefinition, restrict: VisitedRestrictions) -> bool:
    qci = rule.qos_information.qos_class_identifier if rule.qos_information is not None else None
    if qci is None:
        return True
    return (not restrict.qcis or qci in restrict.qcis) and (restrict.guaranteed or qci not in GBR_QCIS)


def _limited(information: QosInformation, restrict: VisitedRestrictions) -> QosInformation:
    return replace(information, apn_aggregate_max_bitrate_ul=_least(information.apn_aggregate_max_bitrate_ul, restrict.ambr_ul),
                   apn_aggregate_max_bitrate_dl=_least(information.apn_aggregate_max_bitrate_dl, restrict.ambr_dl))


def _least(value: int | None, most: int | None) -> int | None:
    return value if most is None or value is None else min(value, most)


def _enforcement(session: VisitedSession, request: gx.CreditControlRequest, operation: SubsessionOperation) -> SubsessionEnforcementInfo:
    """What the PCEF said, for home."""
    return SubsessionEnforcementInfo(
        subsession_id=session.subsession_id, subsession_operation=operation, an_gw_address=request.an_gw_address,
        packet_filter_information=request.packet_filter_information, packet_filter_operation=request.packet_filter_operation,
        qos_information=request.qos_information, framed_ip_address=request.framed_ip_address, framed_ipv6_prefix=request.framed_ipv6_prefix,
        called_station_id=request.called_station_id, online=request.online, offline=request.offline,
        charging_rule_report=request.charging_rule_report, application_detection_information=request.application_detection_information,
        default_eps_bearer_qos=request.default_eps_bearer_qos, network_request_support=request.network_request_support,
        usage_monitoring_information=request.usage_monitoring_information, event_trigger=request.event_trigger,
        access_network_charging_address=request.access_network_charging_address,
        access_network_charging_identifier_gx=request.access_network_charging_identifier_gx)


def _nothing_new(session: VisitedSession, kind: CcRequestType) -> gx.CreditControlRequest:
    return gx.CreditControlRequest(
        session_id=session.session_id, origin_host=session.pcef_host, origin_realm=session.pcef_realm, destination_realm="",
        cc_request_type=kind, cc_request_number=0)


def _result(cause: int | str) -> dict[str, Any]:
    if isinstance(cause, ExperimentalResultCode):
        return {"experimental_result_code": cause}
    return {"result_code": cause if isinstance(cause, int) else ResultCode.DIAMETER_UNABLE_TO_COMPLY}


