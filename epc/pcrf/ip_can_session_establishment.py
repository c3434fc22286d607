"""IP-CAN session establishment: TS 29.212 clause 4.5.1, TS 23.203 clause 7.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pcrf.authorisation import ambr_information, ambr_of, authorise, authorised_ambr, authorised_qos, decided_rules, installation
from epc.pcrf.session import GxSession
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, ResultCode, SupportedFeatures
from epc.wire.diameter.avp import VENDOR_3GPP
from epc.wire.diameter.groups import SubscriptionIdType
from epc.wire.diameter.gx import BearerControlMode, CreditControlAnswer, CreditControlRequest, NetworkRequestSupport

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

FEATURE_LIST_ID = 1
FEATURES = 0b1011       # Rel8, Rel9, Rel10: TS 29.212 clause 5.4.1


def ip_can_session_establishment(pcrf: Pcrf, request: CreditControlRequest) -> CreditControlAnswer:
    # 1 who is it, where to
    imsi = _imsi(request)
    apn = request.called_station_id
    if imsi is None or apn is None or (request.framed_ip_address is None and request.framed_ipv6_prefix is None):
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_INITIAL_PARAMETERS, "Subscription-Id (IMSI), Called-Station-Id and an address are needed")

    # 2 what the PCEF lost in a restart is gone here too
    for lost in pcrf.sessions.note_state(request.origin_host, request.origin_state_id):
        pcrf.log.info("session.lost", reason="the PCEF restarted", session_id=lost.session_id, imsi=lost.imsi)

    # 3 the decision
    decision = authorise(pcrf, imsi, apn, request.rat_type)
    subscribed_ambr = ambr_of(request.qos_information)
    session = GxSession(
        session_id=request.session_id, imsi=imsi, apn=apn, pcef_host=request.origin_host, pcef_realm=request.origin_realm,
        origin_state_id=request.origin_state_id, ipv4=request.framed_ip_address, ipv6=request.framed_ipv6_prefix, rat_type=request.rat_type,
        subscribed_qos=request.default_eps_bearer_qos, subscribed_ambr=subscribed_ambr,
        authorised_qos=authorised_qos(decision, request.default_eps_bearer_qos), authorised_ambr=authorised_ambr(decision, subscribed_ambr),
        rules=decided_rules(decision), policy=decision.policy, request_number=request.cc_request_number)
    for obsolete in pcrf.sessions.add(session):
        pcrf.log.info("session.lost", reason="a new session took its place", session_id=obsolete.session_id, imsi=obsolete.imsi)

    # 4 rules, QoS and event triggers to the PCEF
    network_requests = request.network_request_support == NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
        supported_features=_common_features(request.supported_features),
        bearer_control_mode=BearerControlMode.UE_NW if network_requests else BearerControlMode.UE_ONLY,
        event_trigger=decision.event_triggers, charging_rule_install=installation(session.rules), online=decision.online, offline=decision.offline,
        qos_information=ambr_information(session.authorised_ambr), default_eps_bearer_qos=session.authorised_qos)


def _imsi(request: CreditControlRequest) -> str | None:
    for identity in request.subscription_id:
        if identity.subscription_id_type == SubscriptionIdType.END_USER_IMSI:
            return identity.subscription_id_data
    return None


def _common_features(offered: tuple[SupportedFeatures, ...]) -> tuple[SupportedFeatures, ...]:
    """The features of ours that the PCEF has too (TS 29.212 clause 5.4.1)."""
    for features in offered:
        if features.vendor_id == VENDOR_3GPP and features.feature_list_id == FEATURE_LIST_ID:
            return (SupportedFeatures(feature_list_id=FEATURE_LIST_ID, feature_list=features.feature_list & FEATURES),)
    return ()
