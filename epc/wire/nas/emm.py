"""EPS mobility management messages: TS 24.301 clause 8.2, message types in table 9.8.1.

Containers are octets: decode an ``esm_message_container`` or a ``nas_message_container`` with :func:`epc.wire.nas.decode` when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from epc.wire.identity import Plmn
from epc.wire.nas.causes import EmmCause
from epc.wire.nas.coding import NIBBLE, OCTET, OCTETS, half_octet, one_octet, opaque
from epc.wire.nas.enumerations import (
    AdditionalUpdateResult,
    CsfbResponse,
    EpsAttachResult,
    EpsAttachType,
    EpsUpdateResult,
    GenericMessageContainerType,
    GutiType,
    IdentityType,
    ImeisvRequest,
    PagingIdentity,
    ServiceType,
    TypeOfDetachToUe,
)
from epc.wire.nas.gprs_timer import GPRS_TIMER, GPRS_TIMER_3, GprsTimer, GprsTimer3
from epc.wire.nas.mobile_identity import EPS_MOBILE_IDENTITY, MOBILE_IDENTITY, EpsMobileIdentity, MobileIdentity
from epc.wire.nas.network_name import NETWORK_NAME, TIME_ZONE, UNIVERSAL_TIME, NetworkName, UniversalTime
from epc.wire.nas.security import (
    NAS_KEY_SET_IDENTIFIER,
    NAS_SECURITY_ALGORITHMS,
    UE_NETWORK_CAPABILITY,
    UE_SECURITY_CAPABILITY,
    NasKeySetIdentifier,
    NasSecurityAlgorithms,
    UeNetworkCapability,
    UeSecurityCapability,
)
from epc.wire.nas.table import LV, LVE, T1, TLV, TLVE, TV, HighHalf, LowHalf, NasMessage, V, nas_message
from epc.wire.nas.tracking_area import (
    LOCATION_AREA_IDENTIFICATION,
    PLMN_LIST,
    TAI,
    TAI_LIST,
    LocationAreaIdentification,
    Tai,
    TaiList,
)
from epc.wire.nas.update import (
    CONTROL_PLANE_SERVICE_TYPE,
    DETACH_TYPE,
    EPS_BEARER_CONTEXT_STATUS,
    EPS_UPDATE_TYPE,
    ControlPlaneServiceType,
    DetachType,
    EpsUpdateType,
)

EMM_CAUSE = one_octet(EmmCause)
GENERIC_CONTAINER_TYPE = one_octet(GenericMessageContainerType)
PAGING_IDENTITY = one_octet(PagingIdentity)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmmMessage(NasMessage):
    """Any message of protocol discriminator 7 with a table."""


# ---------------------------------------------------------------------- attach


@nas_message(0x41)
class AttachRequest(EmmMessage):
    """TS 24.301 clause 8.2.4."""

    eps_attach_type: Annotated[EpsAttachType | int, LowHalf(half_octet(EpsAttachType, bits=3))]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, HighHalf(NAS_KEY_SET_IDENTIFIER)]
    eps_mobile_identity: Annotated[EpsMobileIdentity, LV(EPS_MOBILE_IDENTITY)]
    ue_network_capability: Annotated[UeNetworkCapability, LV(UE_NETWORK_CAPABILITY)]
    esm_message_container: Annotated[bytes, LVE(OCTETS)]
    old_p_tmsi_signature: Annotated[bytes | None, TV(0x19, 3, OCTETS)] = None
    additional_guti: Annotated[EpsMobileIdentity | None, TLV(0x50, EPS_MOBILE_IDENTITY)] = None
    last_visited_registered_tai: Annotated[Tai | None, TV(0x52, 5, TAI)] = None
    drx_parameter: Annotated[bytes | None, TV(0x5C, 2, OCTETS)] = None
    ms_network_capability: Annotated[bytes | None, TLV(0x31, opaque(2, 8))] = None
    old_location_area_identification: Annotated[LocationAreaIdentification | None, TV(0x13, 5, LOCATION_AREA_IDENTIFICATION)] = None
    tmsi_status: Annotated[int | None, T1(0x9, NIBBLE)] = None
    mobile_station_classmark_2: Annotated[bytes | None, TLV(0x11, opaque(3, 3))] = None
    mobile_station_classmark_3: Annotated[bytes | None, TLV(0x20, opaque(0, 32))] = None
    supported_codecs: Annotated[bytes | None, TLV(0x40, OCTETS)] = None
    additional_update_type: Annotated[int | None, T1(0xF, NIBBLE)] = None
    voice_domain_preference_and_ue_usage_setting: Annotated[bytes | None, TLV(0x5D, opaque(1))] = None
    device_properties: Annotated[int | None, T1(0xD, NIBBLE)] = None
    old_guti_type: Annotated[GutiType | int | None, T1(0xE, half_octet(GutiType, bits=1))] = None
    ms_network_feature_support: Annotated[int | None, T1(0xC, NIBBLE)] = None
    tmsi_based_nri_container: Annotated[bytes | None, TLV(0x10, opaque(2, 2))] = None
    t3324: Annotated[GprsTimer | None, TLV(0x6A, GPRS_TIMER)] = None
    t3412_extended: Annotated[GprsTimer3 | None, TLV(0x5E, GPRS_TIMER_3)] = None
    extended_drx_parameters: Annotated[bytes | None, TLV(0x6E, opaque(1))] = None
    ue_additional_security_capability: Annotated[bytes | None, TLV(0x6F, opaque(4))] = None
    ue_status: Annotated[bytes | None, TLV(0x6D, opaque(1))] = None
    additional_information_requested: Annotated[int | None, TV(0x17, 1, OCTET)] = None
    n1_ue_network_capability: Annotated[bytes | None, TLV(0x32, opaque(1))] = None
    ue_radio_capability_id_availability: Annotated[bytes | None, TLV(0x34, opaque(1))] = None
    requested_wus_assistance_information: Annotated[bytes | None, TLV(0x35, opaque(1))] = None
    drx_parameter_in_nb_s1_mode: Annotated[bytes | None, TLV(0x36, opaque(1))] = None
    requested_imsi_offset: Annotated[bytes | None, TLV(0x38, opaque(2))] = None


@nas_message(0x42)
class AttachAccept(EmmMessage):
    """TS 24.301 clause 8.2.1."""

    eps_attach_result: Annotated[EpsAttachResult | int, LowHalf(half_octet(EpsAttachResult, bits=3))]
    t3412: Annotated[GprsTimer, V(1, GPRS_TIMER)]
    tai_list: Annotated[TaiList, LV(TAI_LIST)]
    esm_message_container: Annotated[bytes, LVE(OCTETS)]
    guti: Annotated[EpsMobileIdentity | None, TLV(0x50, EPS_MOBILE_IDENTITY)] = None
    location_area_identification: Annotated[LocationAreaIdentification | None, TV(0x13, 5, LOCATION_AREA_IDENTIFICATION)] = None
    ms_identity: Annotated[MobileIdentity | None, TLV(0x23, MOBILE_IDENTITY)] = None
    emm_cause: Annotated[EmmCause | int | None, TV(0x53, 1, EMM_CAUSE)] = None
    t3402: Annotated[GprsTimer | None, TV(0x17, 1, GPRS_TIMER)] = None
    t3423: Annotated[GprsTimer | None, TV(0x59, 1, GPRS_TIMER)] = None
    equivalent_plmns: Annotated[tuple[Plmn, ...] | None, TLV(0x4A, PLMN_LIST)] = None
    emergency_number_list: Annotated[bytes | None, TLV(0x34, opaque(3))] = None
    eps_network_feature_support: Annotated[bytes | None, TLV(0x64, opaque(1))] = None
    additional_update_result: Annotated[AdditionalUpdateResult | int | None, T1(0xF, half_octet(AdditionalUpdateResult))] = None
    t3412_extended: Annotated[GprsTimer3 | None, TLV(0x5E, GPRS_TIMER_3)] = None
    t3324: Annotated[GprsTimer | None, TLV(0x6A, GPRS_TIMER)] = None
    extended_drx_parameters: Annotated[bytes | None, TLV(0x6E, opaque(1))] = None
    dcn_id: Annotated[bytes | None, TLV(0x65, opaque(2, 2))] = None
    sms_services_status: Annotated[int | None, T1(0xE, NIBBLE)] = None
    non_3gpp_nw_provided_policies: Annotated[int | None, T1(0xD, NIBBLE)] = None
    t3448: Annotated[GprsTimer | None, TLV(0x6B, GPRS_TIMER)] = None
    network_policy: Annotated[int | None, T1(0xC, NIBBLE)] = None
    t3447: Annotated[GprsTimer3 | None, TLV(0x6C, GPRS_TIMER_3)] = None
    extended_emergency_number_list: Annotated[bytes | None, TLVE(0x7A, OCTETS)] = None
    ciphering_key_data: Annotated[bytes | None, TLVE(0x7C, OCTETS)] = None
    ue_radio_capability_id: Annotated[bytes | None, TLV(0x66, OCTETS)] = None
    ue_radio_capability_id_deletion_indication: Annotated[int | None, T1(0xB, NIBBLE)] = None
    negotiated_wus_assistance_information: Annotated[bytes | None, TLV(0x35, opaque(1))] = None
    negotiated_drx_parameter_in_nb_s1_mode: Annotated[bytes | None, TLV(0x36, opaque(1))] = None
    negotiated_imsi_offset: Annotated[bytes | None, TLV(0x38, opaque(2))] = None


@nas_message(0x43)
class AttachComplete(EmmMessage):
    """TS 24.301 clause 8.2.2."""

    esm_message_container: Annotated[bytes, LVE(OCTETS)]


@nas_message(0x44)
class AttachReject(EmmMessage):
    """TS 24.301 clause 8.2.3; with cause #19 the container says why in ESM terms."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]
    esm_message_container: Annotated[bytes | None, TLVE(0x78, OCTETS)] = None
    t3346: Annotated[GprsTimer | None, TLV(0x5F, GPRS_TIMER)] = None
    t3402: Annotated[GprsTimer | None, TLV(0x16, GPRS_TIMER)] = None
    extended_emm_cause: Annotated[int | None, T1(0xA, NIBBLE)] = None


# ---------------------------------------------------------------------- detach


@nas_message(0x45)
class DetachRequestFromUe(EmmMessage):
    """TS 24.301 clause 8.2.11.1."""

    detach_type: Annotated[DetachType, LowHalf(DETACH_TYPE)]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, HighHalf(NAS_KEY_SET_IDENTIFIER)]
    eps_mobile_identity: Annotated[EpsMobileIdentity, LV(EPS_MOBILE_IDENTITY)]


@nas_message(0x45)
class DetachRequestToUe(EmmMessage):
    """TS 24.301 clause 8.2.11.2."""

    detach_type: Annotated[TypeOfDetachToUe | int, LowHalf(half_octet(TypeOfDetachToUe, bits=3))]
    emm_cause: Annotated[EmmCause | int | None, TV(0x53, 1, EMM_CAUSE)] = None


@nas_message(0x46)
class DetachAccept(EmmMessage):
    """TS 24.301 clause 8.2.10, in either direction."""


# ---------------------------------------------------------------------- tracking area update


@nas_message(0x48)
class TrackingAreaUpdateRequest(EmmMessage):
    """TS 24.301 clause 8.2.29."""

    eps_update_type: Annotated[EpsUpdateType, LowHalf(EPS_UPDATE_TYPE)]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, HighHalf(NAS_KEY_SET_IDENTIFIER)]
    old_guti: Annotated[EpsMobileIdentity, LV(EPS_MOBILE_IDENTITY)]
    non_current_native_nas_key_set_identifier: Annotated[NasKeySetIdentifier | None, T1(0xB, NAS_KEY_SET_IDENTIFIER)] = None
    gprs_ciphering_key_sequence_number: Annotated[int | None, T1(0x8, NIBBLE)] = None
    old_p_tmsi_signature: Annotated[bytes | None, TV(0x19, 3, OCTETS)] = None
    additional_guti: Annotated[EpsMobileIdentity | None, TLV(0x50, EPS_MOBILE_IDENTITY)] = None
    nonce_ue: Annotated[bytes | None, TV(0x55, 4, OCTETS)] = None
    ue_network_capability: Annotated[UeNetworkCapability | None, TLV(0x58, UE_NETWORK_CAPABILITY)] = None
    last_visited_registered_tai: Annotated[Tai | None, TV(0x52, 5, TAI)] = None
    drx_parameter: Annotated[bytes | None, TV(0x5C, 2, OCTETS)] = None
    ue_radio_capability_information_update_needed: Annotated[int | None, T1(0xA, NIBBLE)] = None
    eps_bearer_context_status: Annotated[tuple[int, ...] | None, TLV(0x57, EPS_BEARER_CONTEXT_STATUS)] = None
    ms_network_capability: Annotated[bytes | None, TLV(0x31, opaque(2, 8))] = None
    old_location_area_identification: Annotated[LocationAreaIdentification | None, TV(0x13, 5, LOCATION_AREA_IDENTIFICATION)] = None
    tmsi_status: Annotated[int | None, T1(0x9, NIBBLE)] = None
    mobile_station_classmark_2: Annotated[bytes | None, TLV(0x11, opaque(3, 3))] = None
    mobile_station_classmark_3: Annotated[bytes | None, TLV(0x20, opaque(0, 32))] = None
    supported_codecs: Annotated[bytes | None, TLV(0x40, OCTETS)] = None
    additional_update_type: Annotated[int | None, T1(0xF, NIBBLE)] = None
    voice_domain_preference_and_ue_usage_setting: Annotated[bytes | None, TLV(0x5D, opaque(1))] = None
    old_guti_type: Annotated[GutiType | int | None, T1(0xE, half_octet(GutiType, bits=1))] = None
    device_properties: Annotated[int | None, T1(0xD, NIBBLE)] = None
    ms_network_feature_support: Annotated[int | None, T1(0xC, NIBBLE)] = None
    tmsi_based_nri_container: Annotated[bytes | None, TLV(0x10, opaque(2, 2))] = None
    t3324: Annotated[GprsTimer | None, TLV(0x6A, GPRS_TIMER)] = None
    t3412_extended: Annotated[GprsTimer3 | None, TLV(0x5E, GPRS_TIMER_3)] = None
    extended_drx_parameters: Annotated[bytes | None, TLV(0x6E, opaque(1))] = None
    ue_additional_security_capability: Annotated[bytes | None, TLV(0x6F, opaque(4))] = None
    ue_status: Annotated[bytes | None, TLV(0x6D, opaque(1))] = None
    additional_information_requested: Annotated[int | None, TV(0x17, 1, OCTET)] = None
    n1_ue_network_capability: Annotated[bytes | None, TLV(0x32, opaque(1))] = None
    ue_radio_capability_id_availability: Annotated[bytes | None, TLV(0x34, opaque(1))] = None
    requested_wus_assistance_information: Annotated[bytes | None, TLV(0x35, opaque(1))] = None
    drx_parameter_in_nb_s1_mode: Annotated[bytes | None, TLV(0x36, opaque(1))] = None
    requested_imsi_offset: Annotated[bytes | None, TLV(0x38, opaque(2))] = None


@nas_message(0x49)
class TrackingAreaUpdateAccept(EmmMessage):
    """TS 24.301 clause 8.2.26."""

    eps_update_result: Annotated[EpsUpdateResult | int, LowHalf(half_octet(EpsUpdateResult, bits=3))]
    t3412: Annotated[GprsTimer | None, TV(0x5A, 1, GPRS_TIMER)] = None
    guti: Annotated[EpsMobileIdentity | None, TLV(0x50, EPS_MOBILE_IDENTITY)] = None
    tai_list: Annotated[TaiList | None, TLV(0x54, TAI_LIST)] = None
    eps_bearer_context_status: Annotated[tuple[int, ...] | None, TLV(0x57, EPS_BEARER_CONTEXT_STATUS)] = None
    location_area_identification: Annotated[LocationAreaIdentification | None, TV(0x13, 5, LOCATION_AREA_IDENTIFICATION)] = None
    ms_identity: Annotated[MobileIdentity | None, TLV(0x23, MOBILE_IDENTITY)] = None
    emm_cause: Annotated[EmmCause | int | None, TV(0x53, 1, EMM_CAUSE)] = None
    t3402: Annotated[GprsTimer | None, TV(0x17, 1, GPRS_TIMER)] = None
    t3423: Annotated[GprsTimer | None, TV(0x59, 1, GPRS_TIMER)] = None
    equivalent_plmns: Annotated[tuple[Plmn, ...] | None, TLV(0x4A, PLMN_LIST)] = None
    emergency_number_list: Annotated[bytes | None, TLV(0x34, opaque(3))] = None
    eps_network_feature_support: Annotated[bytes | None, TLV(0x64, opaque(1))] = None
    additional_update_result: Annotated[AdditionalUpdateResult | int | None, T1(0xF, half_octet(AdditionalUpdateResult))] = None
    t3412_extended: Annotated[GprsTimer3 | None, TLV(0x5E, GPRS_TIMER_3)] = None
    t3324: Annotated[GprsTimer | None, TLV(0x6A, GPRS_TIMER)] = None
    extended_drx_parameters: Annotated[bytes | None, TLV(0x6E, opaque(1))] = None
    header_compression_configuration_status: Annotated[bytes | None, TLV(0x68, opaque(2, 2))] = None
    dcn_id: Annotated[bytes | None, TLV(0x65, opaque(2, 2))] = None
    sms_services_status: Annotated[int | None, T1(0xE, NIBBLE)] = None
    non_3gpp_nw_provided_policies: Annotated[int | None, T1(0xD, NIBBLE)] = None
    t3448: Annotated[GprsTimer | None, TLV(0x6B, GPRS_TIMER)] = None
    network_policy: Annotated[int | None, T1(0xC, NIBBLE)] = None
    t3447: Annotated[GprsTimer3 | None, TLV(0x6C, GPRS_TIMER_3)] = None
    extended_emergency_number_list: Annotated[bytes | None, TLVE(0x7A, OCTETS)] = None
    ciphering_key_data: Annotated[bytes | None, TLVE(0x7C, OCTETS)] = None
    ue_radio_capability_id: Annotated[bytes | None, TLV(0x66, OCTETS)] = None
    ue_radio_capability_id_deletion_indication: Annotated[int | None, T1(0xB, NIBBLE)] = None
    negotiated_wus_assistance_information: Annotated[bytes | None, TLV(0x35, opaque(1))] = None
    negotiated_drx_parameter_in_nb_s1_mode: Annotated[bytes | None, TLV(0x36, opaque(1))] = None
    negotiated_imsi_offset: Annotated[bytes | None, TLV(0x38, opaque(2))] = None


@nas_message(0x4A)
class TrackingAreaUpdateComplete(EmmMessage):
    """TS 24.301 clause 8.2.27."""


@nas_message(0x4B)
class TrackingAreaUpdateReject(EmmMessage):
    """TS 24.301 clause 8.2.28."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]
    t3346: Annotated[GprsTimer | None, TLV(0x5F, GPRS_TIMER)] = None
    extended_emm_cause: Annotated[int | None, T1(0xA, NIBBLE)] = None


# ---------------------------------------------------------------------- service request


@nas_message(0x4C)
class ExtendedServiceRequest(EmmMessage):
    """TS 24.301 clause 8.2.15."""

    service_type: Annotated[ServiceType | int, LowHalf(half_octet(ServiceType))]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, HighHalf(NAS_KEY_SET_IDENTIFIER)]
    m_tmsi: Annotated[MobileIdentity, LV(MOBILE_IDENTITY)]
    csfb_response: Annotated[CsfbResponse | int | None, T1(0xB, half_octet(CsfbResponse, bits=3))] = None
    eps_bearer_context_status: Annotated[tuple[int, ...] | None, TLV(0x57, EPS_BEARER_CONTEXT_STATUS)] = None
    device_properties: Annotated[int | None, T1(0xD, NIBBLE)] = None


@nas_message(0x4D)
class ControlPlaneServiceRequest(EmmMessage):
    """TS 24.301 clause 8.2.33."""

    control_plane_service_type: Annotated[ControlPlaneServiceType, LowHalf(CONTROL_PLANE_SERVICE_TYPE)]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, HighHalf(NAS_KEY_SET_IDENTIFIER)]
    esm_message_container: Annotated[bytes | None, TLVE(0x78, OCTETS)] = None
    nas_message_container: Annotated[bytes | None, TLV(0x67, OCTETS)] = None
    eps_bearer_context_status: Annotated[tuple[int, ...] | None, TLV(0x57, EPS_BEARER_CONTEXT_STATUS)] = None
    device_properties: Annotated[int | None, T1(0xD, NIBBLE)] = None


@nas_message(0x4E)
class ServiceReject(EmmMessage):
    """TS 24.301 clause 8.2.24."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]
    t3442: Annotated[GprsTimer | None, TV(0x5B, 1, GPRS_TIMER)] = None
    t3346: Annotated[GprsTimer | None, TLV(0x5F, GPRS_TIMER)] = None
    t3448: Annotated[GprsTimer | None, TLV(0x6B, GPRS_TIMER)] = None


@nas_message(0x4F)
class ServiceAccept(EmmMessage):
    """TS 24.301 clause 8.2.34."""

    eps_bearer_context_status: Annotated[tuple[int, ...] | None, TLV(0x57, EPS_BEARER_CONTEXT_STATUS)] = None
    t3448: Annotated[GprsTimer | None, TLV(0x6B, GPRS_TIMER)] = None


# ---------------------------------------------------------------------- common procedures


@nas_message(0x50)
class GutiReallocationCommand(EmmMessage):
    """TS 24.301 clause 8.2.16."""

    guti: Annotated[EpsMobileIdentity, LV(EPS_MOBILE_IDENTITY)]
    tai_list: Annotated[TaiList | None, TLV(0x54, TAI_LIST)] = None
    dcn_id: Annotated[bytes | None, TLV(0x65, opaque(2, 2))] = None
    ue_radio_capability_id: Annotated[bytes | None, TLV(0x66, OCTETS)] = None
    ue_radio_capability_id_deletion_indication: Annotated[int | None, T1(0xB, NIBBLE)] = None


@nas_message(0x51)
class GutiReallocationComplete(EmmMessage):
    """TS 24.301 clause 8.2.17."""


@nas_message(0x52)
class AuthenticationRequest(EmmMessage):
    """TS 24.301 clause 8.2.7."""

    nas_key_set_identifier: Annotated[NasKeySetIdentifier, LowHalf(NAS_KEY_SET_IDENTIFIER)]
    rand: Annotated[bytes, V(16, OCTETS)]
    autn: Annotated[bytes, LV(opaque(16, 16))]


@nas_message(0x53)
class AuthenticationResponse(EmmMessage):
    """TS 24.301 clause 8.2.8."""

    res: Annotated[bytes, LV(opaque(4, 16))]


@nas_message(0x54)
class AuthenticationReject(EmmMessage):
    """TS 24.301 clause 8.2.6."""


@nas_message(0x5C)
class AuthenticationFailure(EmmMessage):
    """TS 24.301 clause 8.2.5; ``auts`` goes with cause #21."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]
    auts: Annotated[bytes | None, TLV(0x30, opaque(14, 14))] = None


@nas_message(0x55)
class IdentityRequest(EmmMessage):
    """TS 24.301 clause 8.2.18."""

    identity_type: Annotated[IdentityType | int, LowHalf(half_octet(IdentityType, bits=3))]


@nas_message(0x56)
class IdentityResponse(EmmMessage):
    """TS 24.301 clause 8.2.19."""

    mobile_identity: Annotated[MobileIdentity, LV(MOBILE_IDENTITY)]


@nas_message(0x5D)
class SecurityModeCommand(EmmMessage):
    """TS 24.301 clause 8.2.20."""

    selected_nas_security_algorithms: Annotated[NasSecurityAlgorithms, V(1, NAS_SECURITY_ALGORITHMS)]
    nas_key_set_identifier: Annotated[NasKeySetIdentifier, LowHalf(NAS_KEY_SET_IDENTIFIER)]
    replayed_ue_security_capabilities: Annotated[UeSecurityCapability, LV(UE_SECURITY_CAPABILITY)]
    imeisv_request: Annotated[ImeisvRequest | int | None, T1(0xC, half_octet(ImeisvRequest, bits=3))] = None
    replayed_nonce_ue: Annotated[bytes | None, TV(0x55, 4, OCTETS)] = None
    nonce_mme: Annotated[bytes | None, TV(0x56, 4, OCTETS)] = None
    hash_mme: Annotated[bytes | None, TLV(0x4F, opaque(8, 8))] = None
    replayed_ue_additional_security_capability: Annotated[bytes | None, TLV(0x6F, opaque(4))] = None
    ue_radio_capability_id_request: Annotated[bytes | None, TLV(0x37, opaque(1))] = None


@nas_message(0x5E)
class SecurityModeComplete(EmmMessage):
    """TS 24.301 clause 8.2.21."""

    imeisv: Annotated[MobileIdentity | None, TLV(0x23, MOBILE_IDENTITY)] = None
    replayed_nas_message_container: Annotated[bytes | None, TLVE(0x79, OCTETS)] = None
    ue_radio_capability_id: Annotated[bytes | None, TLV(0x66, OCTETS)] = None


@nas_message(0x5F)
class SecurityModeReject(EmmMessage):
    """TS 24.301 clause 8.2.22."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]


@nas_message(0x60)
class EmmStatus(EmmMessage):
    """TS 24.301 clause 8.2.14."""

    emm_cause: Annotated[EmmCause | int, V(1, EMM_CAUSE)]


@nas_message(0x61)
class EmmInformation(EmmMessage):
    """TS 24.301 clause 8.2.13."""

    full_name_for_network: Annotated[NetworkName | None, TLV(0x43, NETWORK_NAME)] = None
    short_name_for_network: Annotated[NetworkName | None, TLV(0x45, NETWORK_NAME)] = None
    local_time_zone_quarters: Annotated[int | None, TV(0x46, 1, TIME_ZONE)] = None
    universal_time_and_local_time_zone: Annotated[UniversalTime | None, TV(0x47, 7, UNIVERSAL_TIME)] = None
    network_daylight_saving_time: Annotated[bytes | None, TLV(0x49, opaque(1))] = None


# ---------------------------------------------------------------------- transport of other protocols


@nas_message(0x62)
class DownlinkNasTransport(EmmMessage):
    """TS 24.301 clause 8.2.12: SMS in ``nas_message_container``."""

    nas_message_container: Annotated[bytes, LV(opaque(2, 251))]


@nas_message(0x63)
class UplinkNasTransport(EmmMessage):
    """TS 24.301 clause 8.2.30: SMS in ``nas_message_container``."""

    nas_message_container: Annotated[bytes, LV(opaque(2, 251))]


@nas_message(0x64)
class CsServiceNotification(EmmMessage):
    """TS 24.301 clause 8.2.9."""

    paging_identity: Annotated[PagingIdentity | int, V(1, PAGING_IDENTITY)]
    cli: Annotated[bytes | None, TLV(0x60, opaque(1, 12))] = None
    ss_code: Annotated[int | None, TV(0x61, 1, OCTET)] = None
    lcs_indicator: Annotated[int | None, TV(0x62, 1, OCTET)] = None
    lcs_client_identity: Annotated[bytes | None, TLV(0x63, OCTETS)] = None


@nas_message(0x68)
class DownlinkGenericNasTransport(EmmMessage):
    """TS 24.301 clause 8.2.31: LPP or location services."""

    generic_message_container_type: Annotated[GenericMessageContainerType | int, V(1, GENERIC_CONTAINER_TYPE)]
    generic_message_container: Annotated[bytes, LVE(OCTETS)]
    additional_information: Annotated[bytes | None, TLV(0x65, opaque(1))] = None


@nas_message(0x69)
class UplinkGenericNasTransport(EmmMessage):
    """TS 24.301 clause 8.2.32: LPP or location services."""

    generic_message_container_type: Annotated[GenericMessageContainerType | int, V(1, GENERIC_CONTAINER_TYPE)]
    generic_message_container: Annotated[bytes, LVE(OCTETS)]
    additional_information: Annotated[bytes | None, TLV(0x65, opaque(1))] = None
