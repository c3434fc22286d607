"""The MME's interface to the HSS (TS 29.272 clause 7.2, release 15)."""

from __future__ import annotations

import datetime
import enum
from dataclasses import field

from epc.wire.diameter.avp import VENDOR_3GPP
from epc.wire.diameter.codec import Answer, Request, command
from epc.wire.diameter.groups import (
    S6A_APPLICATION,
    AuthSessionState,
    ExperimentalResult,
    ProxyInfo,
    RatType,
    SupportedFeatures,
    VendorSpecificApplicationId,
)
from epc.wire.diameter.results import ResultCode
from epc.wire.diameter.schema import FailedAvp, Group, avp_group
from epc.wire.diameter.subscription import Mip6AgentInfo, SubscriptionData
from epc.wire.identity import Plmn

S6A = VendorSpecificApplicationId(vendor_id=VENDOR_3GPP, auth_application_id=S6A_APPLICATION)


class UlrFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.7."""

    SINGLE_REGISTRATION_INDICATION = 1 << 0
    S6A_S6D_INDICATOR = 1 << 1                  # set: the request comes from an MME
    SKIP_SUBSCRIBER_DATA = 1 << 2
    GPRS_SUBSCRIPTION_DATA_INDICATOR = 1 << 3
    NODE_TYPE_INDICATOR = 1 << 4
    INITIAL_ATTACH_INDICATOR = 1 << 5
    PS_LCS_NOT_SUPPORTED_BY_UE = 1 << 6
    SMS_ONLY_INDICATION = 1 << 7


class UlaFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.8."""

    SEPARATION_INDICATION = 1 << 0
    MME_REGISTERED_FOR_SMS = 1 << 1


class AirFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.201."""

    SEND_UE_USAGE_TYPE = 1 << 0


class ClrFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.152."""

    S6A_S6D_INDICATOR = 1 << 0
    REATTACH_REQUIRED = 1 << 1


class PurFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.149."""

    UE_PURGED_IN_MME = 1 << 0
    UE_PURGED_IN_SGSN = 1 << 1


class PuaFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.48."""

    FREEZE_M_TMSI = 1 << 0
    FREEZE_P_TMSI = 1 << 1


class IdrFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.103."""

    UE_REACHABILITY_REQUEST = 1 << 0
    T_ADS_DATA_REQUEST = 1 << 1
    EPS_USER_STATE_REQUEST = 1 << 2
    EPS_LOCATION_INFORMATION_REQUEST = 1 << 3
    CURRENT_LOCATION_REQUEST = 1 << 4
    LOCAL_TIME_ZONE_REQUEST = 1 << 5
    REMOVE_SMS_REGISTRATION = 1 << 6
    RAT_TYPE_REQUESTED = 1 << 7
    P_CSCF_RESTORATION_REQUEST = 1 << 8


class IdaFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.47."""

    NETWORK_NODE_AREA_RESTRICTED = 1 << 0


class DsrFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.25."""

    REGIONAL_SUBSCRIPTION_WITHDRAWAL = 1 << 0
    COMPLETE_APN_CONFIGURATION_PROFILE_WITHDRAWAL = 1 << 1
    SUBSCRIBED_CHARGING_CHARACTERISTICS_WITHDRAWAL = 1 << 2
    PDN_SUBSCRIPTION_CONTEXTS_WITHDRAWAL = 1 << 3
    STN_SR = 1 << 4
    COMPLETE_PDP_CONTEXT_LIST_WITHDRAWAL = 1 << 5
    PDP_CONTEXTS_WITHDRAWAL = 1 << 6
    ROAMING_RESTRICTED_DUE_TO_UNSUPPORTED_FEATURE = 1 << 7
    TRACE_DATA_WITHDRAWAL = 1 << 8
    CSG_DELETED = 1 << 9
    APN_OI_REPLACEMENT = 1 << 10
    GMLC_LIST_WITHDRAWAL = 1 << 11
    LCS_WITHDRAWAL = 1 << 12
    SMS_WITHDRAWAL = 1 << 13
    SUBSCRIBED_PERIODIC_RAU_TAU_TIMER_WITHDRAWAL = 1 << 14
    SUBSCRIBED_VSRVCC_WITHDRAWAL = 1 << 15
    A_MSISDN_WITHDRAWAL = 1 << 16


class DsaFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.26."""

    NETWORK_NODE_AREA_RESTRICTED = 1 << 0


class NorFlags(enum.IntFlag):
    """TS 29.272 clause 7.3.49."""

    SINGLE_REGISTRATION_INDICATION = 1 << 0
    SGSN_AREA_RESTRICTED = 1 << 1
    READY_FOR_SM_FROM_SGSN = 1 << 2
    UE_REACHABLE_FROM_MME = 1 << 3
    UE_REACHABLE_FROM_SGSN = 1 << 5
    READY_FOR_SM_FROM_MME = 1 << 6
    HOMOGENEOUS_SUPPORT_OF_IMS_VOICE_OVER_PS_SESSIONS = 1 << 7
    S6A_S6D_INDICATOR = 1 << 8
    REMOVAL_OF_MME_REGISTRATION_FOR_SMS = 1 << 9


class CancellationType(enum.IntEnum):
    """TS 29.272 clause 7.3.24."""

    MME_UPDATE_PROCEDURE = 0
    SGSN_UPDATE_PROCEDURE = 1
    SUBSCRIPTION_WITHDRAWAL = 2
    UPDATE_PROCEDURE_IWF = 3
    INITIAL_ATTACH_PROCEDURE = 4


class ErrorDiagnostic(enum.IntEnum):
    """TS 29.272 clause 7.3.128."""

    GPRS_DATA_SUBSCRIBED = 0
    NO_GPRS_DATA_SUBSCRIBED = 1
    ODB_ALL_APN = 2
    ODB_HPLMN_APN = 3
    ODB_VPLMN_APN = 4


class AlertReason(enum.IntEnum):
    """TS 29.272 clause 7.3.83."""

    UE_PRESENT = 0
    UE_MEMORY_AVAILABLE = 1


class UeSrvccCapability(enum.IntEnum):
    """TS 29.272 clause 7.3.130."""

    UE_SRVCC_NOT_SUPPORTED = 0
    UE_SRVCC_SUPPORTED = 1


class UserState(enum.IntEnum):
    """TS 29.272 clause 7.3.114."""

    DETACHED = 0
    ATTACHED_NOT_REACHABLE_FOR_PAGING = 1
    ATTACHED_REACHABLE_FOR_PAGING = 2
    CONNECTED_NOT_REACHABLE_FOR_PAGING = 3
    CONNECTED_REACHABLE_FOR_PAGING = 4
    RESERVED = 5


# --- grouped AVPs -----------------------------------------------------------------------------------------------------


@avp_group
class TerminalInformation(Group):
    """The UE's equipment identity (TS 29.272 clause 7.3.3)."""

    imei: str | None = None                     # 14 digits, without the check digit
    tgpp2_meid: bytes | None = None
    software_version: str | None = None         # 2 digits


@avp_group
class RequestedEutranAuthenticationInfo(Group):
    """TS 29.272 clause 7.3.11."""

    number_of_requested_vectors: int | None = None
    immediate_response_preferred: int | None = None     # present, with any value: one vector is wanted at once
    re_synchronization_info: bytes | None = None        # RAND (16 octets) and AUTS (14), TS 29.272 clause 7.3.15


@avp_group
class EUtranVector(Group):
    """An EPS authentication vector (TS 29.272 clause 7.3.18); the HSS allocates all of it."""

    item_number: int | None = None      # order of use, when there are several
    rand: bytes                         # 16 octets
    xres: bytes                         # 4 to 16 octets
    autn: bytes                         # 16 octets
    kasme: bytes                        # 32 octets


@avp_group
class AuthenticationInfo(Group):
    """TS 29.272 clause 7.3.17."""

    e_utran_vector: tuple[EUtranVector, ...] = ()


@avp_group
class MmeUserState(Group):
    user_state: UserState | int | None = None


@avp_group
class EpsUserState(Group):
    """TS 29.272 clause 7.3.110."""

    mme_user_state: MmeUserState | None = None


@avp_group
class MmeLocationInformation(Group):
    """TS 29.272 clause 7.3.115; the first two fields are packed as in TS 29.274 (PLMN, then ECI or TAC)."""

    e_utran_cell_global_identity: bytes | None = None
    tracking_area_identity: bytes | None = None
    geographical_information: bytes | None = None
    geodetic_information: bytes | None = None
    current_location_retrieved: int | None = None
    age_of_location_information: int | None = None      # minutes


@avp_group
class EpsLocationInformation(Group):
    """TS 29.272 clause 7.3.111."""

    mme_location_information: MmeLocationInformation | None = None


FEATURE_LIST_ID = 1


class S6aFeatures(enum.IntFlag):
    """Of those in Feature-List 1 the ones that these nodes know (TS 29.272 clause 7.3.10): what the MME can enforce, and the HSS may hand it."""

    ODB_ALL_APN = 1 << 0        # barring of all packet oriented services
    ODB_HPLMN_APN = 1 << 1      # of access points at home, while roaming
    ODB_VPLMN_APN = 1 << 2      # of access points in the visited network
    REG_SUB = 1 << 9            # regional subscription


# Features are few and the same in every message: these are built once.
_SUPPORTED = {
    value: (SupportedFeatures(feature_list_id=FEATURE_LIST_ID, feature_list=value),)
    for value in (int(barring | region) for barring in range(8) for region in (0, S6aFeatures.REG_SUB))}


def supported_features(features: S6aFeatures) -> tuple[SupportedFeatures, ...]:
    """``features`` as the Supported-Features of a message (TS 29.229 clause 7.2)."""
    return _SUPPORTED[features & _KNOWN]


def features_in(offered: tuple[SupportedFeatures, ...]) -> S6aFeatures:
    """Those in the Supported-Features of a message that are known here. None without the AVP: a sender that has features says so."""
    for features in offered:
        if features.vendor_id == VENDOR_3GPP and features.feature_list_id == FEATURE_LIST_ID:
            return S6aFeatures(features.feature_list & _KNOWN)
    return S6aFeatures(0)


_KNOWN = S6aFeatures.ODB_ALL_APN | S6aFeatures.ODB_HPLMN_APN | S6aFeatures.ODB_VPLMN_APN | S6aFeatures.REG_SUB


# --- messages ---------------------------------------------------------------------------------------------------------


@avp_group
class S6aRequest(Request):
    """What every S6a request carries."""

    session_id: str
    vendor_specific_application_id: VendorSpecificApplicationId | None = S6A
    auth_session_state: AuthSessionState | int = AuthSessionState.NO_STATE_MAINTAINED
    origin_host: str
    origin_realm: str
    destination_host: str | None = None
    destination_realm: str
    supported_features: tuple[SupportedFeatures, ...] = ()
    proxy_info: tuple[ProxyInfo, ...] = ()
    route_record: tuple[str, ...] = ()


@avp_group
class S6aAnswer(Answer):
    """What every S6a answer carries: ``result_code`` or ``experimental_result``, never both."""

    session_id: str
    vendor_specific_application_id: VendorSpecificApplicationId | None = S6A
    result_code: ResultCode | int | None = None
    experimental_result: ExperimentalResult | None = None
    auth_session_state: AuthSessionState | int = AuthSessionState.NO_STATE_MAINTAINED
    origin_host: str
    origin_realm: str
    supported_features: tuple[SupportedFeatures, ...] = ()
    failed_avp: FailedAvp | None = None
    proxy_info: tuple[ProxyInfo, ...] = ()


@command(316, S6A_APPLICATION)
class UpdateLocationRequest(S6aRequest):
    """The MME serves this subscriber now (TS 29.272 clause 7.2.3)."""

    user_name: str                              # the IMSI
    terminal_information: TerminalInformation | None = None
    rat_type: RatType | int
    ulr_flags: UlrFlags
    ue_srvcc_capability: UeSrvccCapability | int | None = None
    visited_plmn_id: Plmn
    homogeneous_support_of_ims_voice_over_ps_sessions: int | None = None


@command(316, S6A_APPLICATION)
class UpdateLocationAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.4."""

    error_diagnostic: ErrorDiagnostic | int | None = None
    ula_flags: UlaFlags | None = None
    subscription_data: SubscriptionData | None = None
    reset_id: tuple[bytes, ...] = ()


@command(317, S6A_APPLICATION)
class CancelLocationRequest(S6aRequest):
    """The HSS withdraws a registration (TS 29.272 clause 7.2.7)."""

    destination_host: str = field()
    user_name: str
    cancellation_type: CancellationType | int
    clr_flags: ClrFlags | None = None


@command(317, S6A_APPLICATION)
class CancelLocationAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.8."""


@command(318, S6A_APPLICATION)
class AuthenticationInformationRequest(S6aRequest):
    """The MME wants authentication vectors (TS 29.272 clause 7.2.5)."""

    user_name: str                              # the IMSI
    requested_eutran_authentication_info: RequestedEutranAuthenticationInfo | None = None
    visited_plmn_id: Plmn
    air_flags: AirFlags | None = None


@command(318, S6A_APPLICATION)
class AuthenticationInformationAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.6."""

    error_diagnostic: ErrorDiagnostic | int | None = None
    authentication_info: AuthenticationInfo | None = None
    ue_usage_type: int | None = None


@command(319, S6A_APPLICATION)
class InsertSubscriberDataRequest(S6aRequest):
    """The HSS changes the subscription, or asks for state (TS 29.272 clause 7.2.9)."""

    destination_host: str = field()
    user_name: str
    subscription_data: SubscriptionData | None = None
    idr_flags: IdrFlags | None = None
    reset_id: tuple[bytes, ...] = ()


@command(319, S6A_APPLICATION)
class InsertSubscriberDataAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.10."""

    ims_voice_over_ps_sessions_supported: int | None = None
    last_ue_activity_time: datetime.datetime | None = None
    rat_type: RatType | int | None = None
    ida_flags: IdaFlags | None = None
    eps_user_state: EpsUserState | None = None
    eps_location_information: EpsLocationInformation | None = None


@command(320, S6A_APPLICATION)
class DeleteSubscriberDataRequest(S6aRequest):
    """The HSS withdraws part of the subscription (TS 29.272 clause 7.2.11)."""

    destination_host: str = field()
    user_name: str
    dsr_flags: DsrFlags
    context_identifier: tuple[int, ...] = ()
    trace_reference: bytes | None = None


@command(320, S6A_APPLICATION)
class DeleteSubscriberDataAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.12."""

    dsa_flags: DsaFlags | None = None


@command(321, S6A_APPLICATION)
class PurgeUeRequest(S6aRequest):
    """The MME has forgotten the subscriber (TS 29.272 clause 7.2.13)."""

    user_name: str
    pur_flags: PurFlags | None = None
    eps_location_information: EpsLocationInformation | None = None


@command(321, S6A_APPLICATION)
class PurgeUeAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.14."""

    pua_flags: PuaFlags | None = None


@command(322, S6A_APPLICATION)
class ResetRequest(S6aRequest):
    """The HSS has restarted and lost what it knew (TS 29.272 clause 7.2.15)."""

    destination_host: str = field()
    user_id: tuple[str, ...] = ()               # leading digits of the IMSIs concerned
    reset_id: tuple[bytes, ...] = ()


@command(322, S6A_APPLICATION)
class ResetAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.16."""


@command(323, S6A_APPLICATION)
class NotifyRequest(S6aRequest):
    """The MME tells the HSS of a PDN GW, a terminal or a UE's reachability (TS 29.272 clause 7.2.17)."""

    user_name: str
    terminal_information: TerminalInformation | None = None
    mip6_agent_info: Mip6AgentInfo | None = None
    visited_network_identifier: bytes | None = None
    context_identifier: int | None = None
    service_selection: str | None = None        # the APN
    alert_reason: AlertReason | int | None = None
    ue_srvcc_capability: UeSrvccCapability | int | None = None
    nor_flags: NorFlags | None = None
    homogeneous_support_of_ims_voice_over_ps_sessions: int | None = None
    maximum_ue_availability_time: datetime.datetime | None = None


@command(323, S6A_APPLICATION)
class NotifyAnswer(S6aAnswer):
    """TS 29.272 clause 7.2.18."""
