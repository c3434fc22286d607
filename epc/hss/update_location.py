"""Update Location: TS 29.272 clause 5.2.1.1, steps 8 to 11 of TS 23.401 clause 5.3.2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epc.hss.cancel_location import cancel_location
from epc.hss.store import Subscriber
from epc.hss.subscription_data import FEATURES, is_barred, needed_features, subscription_data
from epc.procedure import Reject
from epc.wire.diameter import ExperimentalResultCode, RatType, ResultCode
from epc.wire.diameter.s6a import (
    CancellationType,
    ErrorDiagnostic,
    S6aFeatures,
    TerminalInformation,
    UlaFlags,
    UlrFlags,
    UpdateLocationAnswer,
    UpdateLocationRequest,
    features_in,
    supported_features,
)
from epc.wire.diameter.subscription import AccessRestrictionData, OperatorDeterminedBarring

if TYPE_CHECKING:
    from epc.hss.node import Hss

_FORBIDS: dict[int, AccessRestrictionData] = {
    RatType.UTRAN: AccessRestrictionData.UTRAN_NOT_ALLOWED,
    RatType.GERAN: AccessRestrictionData.GERAN_NOT_ALLOWED,
    RatType.GAN: AccessRestrictionData.GAN_NOT_ALLOWED,
    RatType.HSPA_EVOLUTION: AccessRestrictionData.I_HSPA_EVOLUTION_NOT_ALLOWED,
    RatType.EUTRAN: AccessRestrictionData.WB_E_UTRAN_NOT_ALLOWED,
    RatType.EUTRAN_NB_IOT: AccessRestrictionData.NB_IOT_NOT_ALLOWED,
}


_DIAGNOSTICS = {        # none for regional subscription: TS 29.272 clause 7.3.128
    S6aFeatures.ODB_ALL_APN: ErrorDiagnostic.ODB_ALL_APN,
    S6aFeatures.ODB_HPLMN_APN: ErrorDiagnostic.ODB_HPLMN_APN,
    S6aFeatures.ODB_VPLMN_APN: ErrorDiagnostic.ODB_VPLMN_APN,
}


async def update_location(hss: Hss, request: UpdateLocationRequest) -> UpdateLocationAnswer:
    #  8  is the subscriber known, for EPS, in this radio access and in this network, whose MME can do what the subscription asks for
    subscriber = await hss.eps_subscriber(request.user_name)
    forbids = _FORBIDS.get(request.rat_type)
    if forbids is not None and forbids in subscriber.access_restriction:
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_RAT_NOT_ALLOWED, forbids.name or "")
    check_roaming(hss, subscriber, request.visited_plmn_id)
    features = features_in(request.supported_features) & FEATURES
    check_features(hss, subscriber, request.visited_plmn_id, features)
    if not request.ulr_flags & UlrFlags.S6A_S6D_INDICATOR:
        raise Reject(ResultCode.DIAMETER_INVALID_AVP_VALUE, "ULR-Flags of an SGSN: this HSS serves MMEs")

    await hss.store.register_mme(
        subscriber.imsi, mme_host=request.origin_host, mme_realm=request.origin_realm, visited_plmn=request.visited_plmn_id,
        imeisv=imeisv_of(request.terminal_information))

    #  9  the previous MME forgets the subscriber
    if _is_elsewhere(subscriber, request.origin_host):
        is_attach = bool(request.ulr_flags & UlrFlags.INITIAL_ATTACH_INDICATOR)
        why = CancellationType.INITIAL_ATTACH_PROCEDURE if is_attach else CancellationType.MME_UPDATE_PROCEDURE
        hss.runner.start(cancel_location, hss, subscriber, why)

    # 11  the subscription
    is_skipped = bool(request.ulr_flags & UlrFlags.SKIP_SUBSCRIBER_DATA)
    return UpdateLocationAnswer(
        session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=hss.config.origin_host,
        origin_realm=hss.config.origin_realm, ula_flags=UlaFlags.SEPARATION_INDICATION,
        subscription_data=None if is_skipped else subscription_data(subscriber, features),
        supported_features=supported_features(features) if request.supported_features else ())


def is_at_home(hss: Hss, subscriber: Subscriber, visited_plmn: str) -> bool:
    return visited_plmn in subscriber.home_plmns or visited_plmn in hss.config.roaming.home_plmns


def check_features(hss: Hss, subscriber: Subscriber, visited_plmn: str, features: S6aFeatures) -> None:
    """Raise :class:`Reject` when an MME with ``features`` cannot enforce what restricts the subscriber (TS 29.272 table 7.3.10/1)."""
    lacking = needed_features(subscriber, abroad=not is_at_home(hss, subscriber, visited_plmn)) & ~features
    if lacking:
        diagnostic = next((each for feature, each in _DIAGNOSTICS.items() if feature in lacking), None)
        raise Reject(ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED, f"the MME does not support {lacking.name}", inner=diagnostic)


def check_roaming(hss: Hss, subscriber: Subscriber, visited_plmn: str) -> None:
    """Raise :class:`Reject` when the subscriber may not use the network ``visited_plmn``: by agreement, by subscription, by barring."""
    roaming = hss.config.roaming
    if is_at_home(hss, subscriber, visited_plmn):
        return
    refused = ExperimentalResultCode.DIAMETER_ERROR_ROAMING_NOT_ALLOWED
    if roaming.partners is not None and visited_plmn not in roaming.partners:
        raise Reject(refused, f"no roaming agreement with {visited_plmn}")
    if not subscriber.may_roam_in(visited_plmn):
        raise Reject(refused, f"the subscription is not for {visited_plmn}")
    if is_barred(subscriber):
        raise Reject(refused, "all packet oriented services are barred", inner=ErrorDiagnostic.ODB_ALL_APN)
    barring = subscriber.barring
    if OperatorDeterminedBarring.ROAMER_ACCESS_HPLMN_AP_BARRED in barring and (
            OperatorDeterminedBarring.ROAMER_ACCESS_VPLMN_AP_BARRED in barring or not any(apn.vplmn_allowed for apn in subscriber.apns)):
        raise Reject(refused, "access points at home are barred abroad, and there are no others", inner=ErrorDiagnostic.ODB_HPLMN_APN)


def _is_elsewhere(subscriber: Subscriber, mme_host: str) -> bool:
    return subscriber.mme_host is not None and not subscriber.purged and subscriber.mme_host.lower() != mme_host.lower()


def imeisv_of(terminal: TerminalInformation | None) -> str | None:
    """IMEI (14 digits) and software version (2) as one; the IMEI alone when there is no version."""
    if terminal is None or terminal.imei is None:
        return None
    return (terminal.imei[:14] + terminal.software_version)[:16] if terminal.software_version else terminal.imei[:16]
