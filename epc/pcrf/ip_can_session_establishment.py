"""IP-CAN session establishment: TS 29.212 clause 4.5.1, TS 23.203 clause 7.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.pcrf.authorisation import ambr_information, ambr_of, authorise, begin, first_installation
from epc.pcrf.session import Ambr, GxSession, S9Binding
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, ResultCode, SupportedFeatures
from epc.wire.diameter.avp import VENDOR_3GPP
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.gx import BearerControlMode, CreditControlAnswer, CreditControlRequest, NetworkRequestSupport

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

FEATURE_LIST_ID = 1
FEATURES = 0b1011011     # Rel8, Rel9, Rel10, SponsoredConnectivity, ADC: TS 29.212 clause 5.4.1


async def ip_can_session_establishment(pcrf: Pcrf, request: CreditControlRequest, s9: S9Binding | None = None) -> CreditControlAnswer:
    """``s9``: the PCEF is in a visited network, and its request came through the V-PCRF."""
    # 1 who is it, where to
    imsi = imsi_of(request.subscription_id)
    apn = request.called_station_id
    if imsi is None or apn is None or (request.framed_ip_address is None and request.framed_ipv6_prefix is None):
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_INITIAL_PARAMETERS, "Subscription-Id (IMSI), Called-Station-Id and an address are needed")

    # 2 what the PCEF lost in a restart is gone here too
    for lost in pcrf.sessions.note_state(request.origin_host, request.origin_state_id):
        pcrf.session_lost(lost, "the PCEF restarted")

    # 3 the decision
    await pcrf.usage.load_missing([imsi])
    session = GxSession(
        session_id=request.session_id, imsi=imsi, apn=apn, pcef_host=request.origin_host, pcef_realm=request.origin_realm,
        origin_state_id=request.origin_state_id, ipv4=request.framed_ip_address, ipv6=request.framed_ipv6_prefix, rat_type=request.rat_type,
        subscribed_qos=request.default_eps_bearer_qos, subscribed_ambr=ambr_of(request.qos_information), authorised_qos=None,
        authorised_ambr=Ambr(None, None), serving_plmn=request.tgpp_sgsn_mcc_mnc, location=request.tgpp_user_location_info, s9=s9,
        charging_address=request.access_network_charging_address, charging_identifiers=charging_identifiers(request),
        request_number=request.cc_request_number)
    decision = authorise(pcrf, session)
    usage = begin(session, decision, pcrf.used(session))
    for obsolete in pcrf.sessions.add(session):
        pcrf.session_lost(obsolete, "a new session took its place")

    # 4 rules, QoS, event triggers and usage thresholds to the PCEF
    network_requests = request.network_request_support == NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=pcrf.config.origin_host, origin_realm=pcrf.config.origin_realm,
        result_code=ResultCode.DIAMETER_SUCCESS, cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number,
        supported_features=_common_features(request.supported_features),
        bearer_control_mode=BearerControlMode.UE_NW if network_requests else BearerControlMode.UE_ONLY, event_trigger=decision.event_triggers,
        charging_rule_install=first_installation(decision), online=decision.online, offline=decision.offline,
        qos_information=ambr_information(session.authorised_ambr), default_eps_bearer_qos=session.authorised_qos,
        usage_monitoring_information=usage)


def charging_identifiers(request: CreditControlRequest) -> tuple[bytes, ...]:
    return tuple([each.access_network_charging_identifier_value for each in request.access_network_charging_identifier_gx])


def imsi_of(subscription_id: tuple[SubscriptionId, ...]) -> str | None:
    for identity in subscription_id:
        if identity.subscription_id_type == SubscriptionIdType.END_USER_IMSI:
            return identity.subscription_id_data
    return None


def _common_features(offered: tuple[SupportedFeatures, ...]) -> tuple[SupportedFeatures, ...]:
    """The features of ours that the PCEF has too (TS 29.212 clause 5.4.1)."""
    for features in offered:
        if features.vendor_id == VENDOR_3GPP and features.feature_list_id == FEATURE_LIST_ID:
            return (SupportedFeatures(feature_list_id=FEATURE_LIST_ID, feature_list=features.feature_list & FEATURES),)
    return ()
