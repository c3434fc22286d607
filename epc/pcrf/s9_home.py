"""The home PCRF's side of S9 (TS 29.215 clause 4.5): a subsession is an IP-CAN session whose PCEF stands in a visited network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from epc.node import SessionEnd
from epc.pcrf.ip_can_session_establishment import imsi_of, ip_can_session_establishment
from epc.pcrf.ip_can_session_modification import ip_can_session_modification
from epc.pcrf.ip_can_session_termination import ip_can_session_termination
from epc.pcrf.session import GxSession, S9Binding
from epc.procedure import Reject
from epc.procedure.outcome import cause_name
from epc.wire.diameter import ExperimentalResultCode, ResultCode, gx, s9
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.s9 import SubsessionDecisionInfo, SubsessionEnforcementInfo, SubsessionOperation

if TYPE_CHECKING:
    from epc.pcrf.config import RoamingPartner
    from epc.pcrf.node import Pcrf

_KINDS: dict[int, CcRequestType] = {
    SubsessionOperation.ESTABLISHMENT: CcRequestType.INITIAL_REQUEST, SubsessionOperation.MODIFICATION: CcRequestType.UPDATE_REQUEST,
    SubsessionOperation.TERMINATION: CcRequestType.TERMINATION_REQUEST}
_PROCEDURES = {CcRequestType.UPDATE_REQUEST: ip_can_session_modification, CcRequestType.TERMINATION_REQUEST: ip_can_session_termination}


def realm_of(partner: RoamingPartner) -> str:
    """TS 23.003 clause 19.2."""
    return partner.realm or f"epc.mnc{partner.plmn[3:]:0>3}.mcc{partner.plmn[:3]}.3gppnetwork.org"


class HomeRole:
    """S9 sessions of subscribers who are abroad."""

    def __init__(self, pcrf: Pcrf) -> None:
        self._pcrf = pcrf
        self._realms = frozenset([realm_of(partner).lower() for partner in pcrf.config.s9.partners])
        self._subsessions: dict[str, set[int]] = {}            # by the Session-Id of S9

    async def credit_control(self, request: s9.CreditControlRequest) -> s9.CreditControlAnswer:
        # 1 a partner's PCRF, and a session of its
        if request.origin_realm.lower() not in self._realms:
            raise Reject(ResultCode.DIAMETER_AUTHORIZATION_REJECTED, f"{request.origin_realm} is no roaming partner")
        if request.cc_request_type != CcRequestType.INITIAL_REQUEST and request.session_id not in self._subsessions:
            raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)

        # 2 each subsession as if its PCEF had asked
        decisions = [await self._decide(request, info) for info in request.subsession_enforcement_info]
        if request.cc_request_type == CcRequestType.TERMINATION_REQUEST:
            for subsession_id in list(self._subsessions.get(request.session_id, ())):
                await self._decide(request, SubsessionEnforcementInfo(
                    subsession_id=subsession_id, subsession_operation=SubsessionOperation.TERMINATION))

        # 3 nothing is served: the session is refused, for the reason of its only subsession
        if request.cc_request_type == CcRequestType.INITIAL_REQUEST and len(decisions) == 1 and request.session_id not in self._subsessions:
            refused = decisions[0]
            cause = refused.result_code or refused.experimental_result_code or ResultCode.DIAMETER_UNABLE_TO_COMPLY
            raise Reject(cause, "the subsession is refused")
        return s9.CreditControlAnswer(
            session_id=request.session_id, origin_host=self._pcrf.config.origin_host, origin_realm=self._pcrf.config.origin_realm,
            result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
            subsession_decision_info=tuple(decisions))

    async def push(self, session: GxSession, request: gx.ReAuthRequest) -> gx.ReAuthAnswer:
        """A Re-Auth-Request for a PCEF abroad, as S9 carries it. Raises ``Reject``, ``TimerExpired``, ``ConnectionError``."""
        binding = session.s9
        assert binding is not None
        answer = await self._pcrf.ask(s9.ReAuthRequest(
            session_id=binding.session_id, origin_host=request.origin_host, origin_realm=request.origin_realm,
            destination_realm=request.destination_realm, destination_host=request.destination_host,
            subsession_decision_info=(SubsessionDecisionInfo(
                subsession_id=binding.subsession_id, charging_rule_remove=request.charging_rule_remove,
                charging_rule_install=request.charging_rule_install, default_eps_bearer_qos=request.default_eps_bearer_qos,
                usage_monitoring_information=request.usage_monitoring_information, session_release_cause=request.session_release_cause,
                event_trigger=request.event_trigger, qos_information=request.qos_information),)), s9.ReAuthAnswer)
        for info in answer.subsession_enforcement_info:
            if info.subsession_id != binding.subsession_id:
                continue
            failure = info.experimental_result_code or (info.result_code if info.result_code not in (None, ResultCode.DIAMETER_SUCCESS) else None)
            if failure is not None:
                raise Reject(failure, f"the visited PCEF: {cause_name(failure)}")
            return gx.ReAuthAnswer(
                session_id=session.session_id, origin_host=answer.origin_host, origin_realm=answer.origin_realm,
                result_code=ResultCode.DIAMETER_SUCCESS, charging_rule_report=info.charging_rule_report)
        return gx.ReAuthAnswer(session_id=session.session_id, origin_host=answer.origin_host, origin_realm=answer.origin_realm,
                               result_code=ResultCode.DIAMETER_SUCCESS)

    def note_end(self, binding: S9Binding) -> None:
        """A subsession is over: ended, replaced, or lost in a restart of the V-PCRF's."""
        subsessions = self._subsessions.get(binding.session_id)
        if subsessions is not None:
            subsessions.discard(binding.subsession_id)
            if not subsessions:
                del self._subsessions[binding.session_id]

    def session_ends(self) -> Iterator[SessionEnd]:
        bound = {session.s9: session for session in self._pcrf.sessions if session.s9 is not None}
        known = {S9Binding(session_id, number) for session_id, numbers in self._subsessions.items() for number in numbers}
        for binding in known | set(bound):
            session = bound.get(binding)
            yield SessionEnd(
                interface="S9", session_id=f"{binding.session_id};{binding.subsession_id}", own=False,
                imsi=session.imsi if session is not None else "", peer=session.pcef_host if session is not None else "")

    async def _decide(self, request: s9.CreditControlRequest, info: SubsessionEnforcementInfo) -> SubsessionDecisionInfo:
        gx_id = f"{request.session_id};{info.subsession_id}"
        try:
            operation = info.subsession_operation
            kind = _KINDS.get(SubsessionOperation.MODIFICATION if operation is None else operation)
            if kind is None:
                raise Reject(ResultCode.DIAMETER_INVALID_AVP_VALUE, f"Subsession-Operation {info.subsession_operation}")
            if kind != CcRequestType.INITIAL_REQUEST and info.subsession_id not in self._subsessions.get(request.session_id, ()):
                raise Reject(ExperimentalResultCode.DIAMETER_ERROR_SUBSESSION, f"no subsession {info.subsession_id}")
            asked = _gx_request(request, info, gx_id, kind)
            if kind == CcRequestType.INITIAL_REQUEST:
                answer = await ip_can_session_establishment(self._pcrf, asked, S9Binding(request.session_id, info.subsession_id))
                self._subsessions.setdefault(request.session_id, set()).add(info.subsession_id)
            else:
                answer = await _PROCEDURES[kind](self._pcrf, asked)
        except Reject as reject:
            self._pcrf.log.info("subsession.rejected", cause=cause_name(reject.cause), detail=str(reject), imsi=imsi_of(request.subscription_id))
            if isinstance(reject.cause, ExperimentalResultCode):
                return SubsessionDecisionInfo(subsession_id=info.subsession_id, experimental_result_code=reject.cause)
            return SubsessionDecisionInfo(subsession_id=info.subsession_id, result_code=int(reject.cause))
        return SubsessionDecisionInfo(
            subsession_id=info.subsession_id, result_code=ResultCode.DIAMETER_SUCCESS, charging_rule_remove=answer.charging_rule_remove,
            charging_rule_install=answer.charging_rule_install, default_eps_bearer_qos=answer.default_eps_bearer_qos,
            usage_monitoring_information=answer.usage_monitoring_information, bearer_control_mode=answer.bearer_control_mode,
            event_trigger=answer.event_trigger, online=answer.online, offline=answer.offline, qos_information=answer.qos_information)


def _gx_request(request: s9.CreditControlRequest, info: SubsessionEnforcementInfo, gx_id: str, kind: CcRequestType) -> gx.CreditControlRequest:
    """What the PCEF said, in Gx's words."""
    return gx.CreditControlRequest(
        session_id=gx_id, origin_host=request.origin_host, origin_realm=request.origin_realm, destination_realm=request.destination_realm,
        cc_request_type=kind, cc_request_number=request.cc_request_number, origin_state_id=request.origin_state_id,
        subscription_id=request.subscription_id, network_request_support=info.network_request_support, framed_ip_address=info.framed_ip_address,
        framed_ipv6_prefix=info.framed_ipv6_prefix, ip_can_type=request.ip_can_type, rat_type=request.rat_type,
        termination_cause=request.termination_cause, user_equipment_info=request.user_equipment_info, qos_information=info.qos_information,
        default_eps_bearer_qos=info.default_eps_bearer_qos, an_gw_address=info.an_gw_address or request.an_gw_address,
        tgpp_sgsn_mcc_mnc=request.tgpp_sgsn_mcc_mnc, tgpp_sgsn_address=request.tgpp_sgsn_address,
        tgpp_user_location_info=request.tgpp_user_location_info, tgpp_ms_timezone=request.tgpp_ms_timezone,
        called_station_id=info.called_station_id, charging_rule_report=info.charging_rule_report,
        application_detection_information=info.application_detection_information, event_trigger=info.event_trigger or request.event_trigger,
        usage_monitoring_information=info.usage_monitoring_information)
