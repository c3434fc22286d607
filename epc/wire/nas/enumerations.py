"""Types and results that NAS messages enumerate in a few bits (TS 24.301 clauses 9.3 and 9.9, TS 24.008 clause 10.5)."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class SecurityHeaderType(IntEnum):
    """TS 24.301 table 9.3.1."""

    PLAIN = 0
    INTEGRITY_PROTECTED = 1
    INTEGRITY_PROTECTED_AND_CIPHERED = 2
    INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT = 3
    INTEGRITY_PROTECTED_AND_CIPHERED_WITH_NEW_EPS_SECURITY_CONTEXT = 4
    INTEGRITY_PROTECTED_AND_PARTIALLY_CIPHERED = 5
    SERVICE_REQUEST = 12


class EpsAttachType(IntEnum):
    """TS 24.301 clause 9.9.3.11."""

    EPS_ATTACH = 1
    COMBINED_EPS_IMSI_ATTACH = 2
    EPS_RLOS_ATTACH = 3
    EPS_EMERGENCY_ATTACH = 6


class EpsAttachResult(IntEnum):
    """TS 24.301 clause 9.9.3.10."""

    EPS_ONLY = 1
    COMBINED_EPS_IMSI_ATTACH = 2


class TypeOfDetachFromUe(IntEnum):
    """TS 24.301 clause 9.9.3.7, UE to network."""

    EPS_DETACH = 1
    IMSI_DETACH = 2
    COMBINED_EPS_IMSI_DETACH = 3


class TypeOfDetachToUe(IntEnum):
    """TS 24.301 clause 9.9.3.7, network to UE."""

    RE_ATTACH_REQUIRED = 1
    RE_ATTACH_NOT_REQUIRED = 2
    IMSI_DETACH = 3


class EpsUpdateTypeValue(IntEnum):
    """TS 24.301 clause 9.9.3.14."""

    TA_UPDATING = 0
    COMBINED_TA_LA_UPDATING = 1
    COMBINED_TA_LA_UPDATING_WITH_IMSI_ATTACH = 2
    PERIODIC_UPDATING = 3


class EpsUpdateResult(IntEnum):
    """TS 24.301 clause 9.9.3.13."""

    TA_UPDATED = 0
    COMBINED_TA_LA_UPDATED = 1
    TA_UPDATED_AND_ISR_ACTIVATED = 4
    COMBINED_TA_LA_UPDATED_AND_ISR_ACTIVATED = 5


class ServiceType(IntEnum):
    """TS 24.301 clause 9.9.3.27, in EXTENDED SERVICE REQUEST."""

    MOBILE_ORIGINATING_CS_FALLBACK = 0
    MOBILE_TERMINATING_CS_FALLBACK = 1
    MOBILE_ORIGINATING_CS_FALLBACK_EMERGENCY_CALL = 2
    PACKET_SERVICES_VIA_S1 = 8


class ControlPlaneServiceTypeValue(IntEnum):
    """TS 24.301 clause 9.9.3.47."""

    MOBILE_ORIGINATING_REQUEST = 0
    MOBILE_TERMINATING_REQUEST = 1


class IdentityType(IntEnum):
    """Identity type 2: TS 24.008 clause 10.5.5.9."""

    IMSI = 1
    IMEI = 2
    IMEISV = 3
    TMSI = 4


class ImeisvRequest(IntEnum):
    """TS 24.008 clause 10.5.5.10."""

    NOT_REQUESTED = 0
    REQUESTED = 1


class CsfbResponse(IntEnum):
    """TS 24.301 clause 9.9.3.5."""

    REJECTED_BY_THE_UE = 0
    ACCEPTED_BY_THE_UE = 1


class PagingIdentity(IntEnum):
    """TS 24.301 clause 9.9.3.25A."""

    IMSI = 0
    TMSI = 1


class GutiType(IntEnum):
    """TS 24.301 clause 9.9.3.45."""

    NATIVE = 0
    MAPPED = 1


class AdditionalUpdateResult(IntEnum):
    """TS 24.301 clause 9.9.3.0A."""

    NO_ADDITIONAL_INFORMATION = 0
    CS_FALLBACK_NOT_PREFERRED = 1
    SMS_ONLY = 2


class GenericMessageContainerType(IntEnum):
    """TS 24.301 clause 9.9.3.42."""

    LPP_MESSAGE_CONTAINER = 1
    LOCATION_SERVICES_MESSAGE_CONTAINER = 2


class CipheringAlgorithm(IntEnum):
    """Type of ciphering algorithm: TS 24.301 clause 9.9.3.23."""

    EEA0 = 0
    EEA1 = 1
    EEA2 = 2
    EEA3 = 3


class IntegrityAlgorithm(IntEnum):
    """Type of integrity protection algorithm: TS 24.301 clause 9.9.3.23."""

    EIA0 = 0
    EIA1 = 1
    EIA2 = 2
    EIA3 = 3


class PdnType(IntEnum):
    """TS 24.301 clause 9.9.4.10."""

    IPV4 = 1
    IPV6 = 2
    IPV4V6 = 3
    NON_IP = 5
    ETHERNET = 6


class RequestType(IntEnum):
    """TS 24.008 clause 10.5.6.17."""

    INITIAL_REQUEST = 1
    HANDOVER = 2
    UNUSED = 3
    EMERGENCY = 4
    HANDOVER_OF_EMERGENCY_BEARER_SERVICES = 6


class EsmInformationTransferFlag(IntEnum):
    """TS 24.301 clause 9.9.4.5."""

    NOT_REQUIRED = 0
    REQUIRED = 1


class NotificationIndicator(IntEnum):
    """TS 24.301 clause 9.9.4.7A."""

    SRVCC_HANDOVER_CANCELLED_IMS_SESSION_RE_ESTABLISHMENT_REQUIRED = 1


class EpsNetworkFeature(IntFlag):
    """First octet of the EPS network feature support: TS 24.301 clause 9.9.3.12A."""

    IMS_VOICE_OVER_PS = 0x01
    EMERGENCY_BEARER_SERVICES = 0x02
    LOCATION_SERVICES_VIA_EPC = 0x04
    LOCATION_SERVICES_VIA_CS = 0x08
    LOCATION_SERVICES_VIA_CS_NOT_SUPPORTED = 0x10
    EXTENDED_SERVICE_REQUEST_FOR_PACKET_SERVICES = 0x20
    EMM_REGISTERED_WITHOUT_PDN_CONNECTION = 0x40
    CONTROL_PLANE_CIOT_EPS_OPTIMIZATION = 0x80
