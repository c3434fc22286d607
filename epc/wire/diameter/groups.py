"""Grouped AVPs and enumerations that several applications share."""

from __future__ import annotations

import enum

from epc.wire.diameter.avp import VENDOR_3GPP
from epc.wire.diameter.results import ExperimentalResultCode
from epc.wire.diameter.schema import Group, avp_group, recurring_group

BASE_APPLICATION = 0
RELAY_APPLICATION = 0xFFFFFFFF
S6A_APPLICATION = 16777251      # TS 29.272 clause 7.1.8
GX_APPLICATION = 16777238       # TS 29.212 clause 5.1
RX_APPLICATION = 16777236       # TS 29.214 clause 5.1
S9_APPLICATION = 16777267       # TS 29.215 clause 5.1
GY_APPLICATION = 4              # RFC 8506: credit control


@avp_group
class ProxyInfo(Group):
    """State that an agent wants back in the answer (RFC 6733 clause 6.7.2)."""

    proxy_host: str
    proxy_state: bytes


@recurring_group
class VendorSpecificApplicationId(Group):
    """An application of one vendor (RFC 6733 clause 6.11)."""

    vendor_id: int
    auth_application_id: int | None = None
    acct_application_id: int | None = None


@avp_group
class ExperimentalResult(Group):
    """A result that a vendor defined (RFC 6733 clause 7.6)."""

    vendor_id: int
    experimental_result_code: ExperimentalResultCode | int


def experimental_result(code: ExperimentalResultCode) -> ExperimentalResult:
    """``code`` of vendor 3GPP."""
    return ExperimentalResult(vendor_id=VENDOR_3GPP, experimental_result_code=code)


@recurring_group
class SupportedFeatures(Group):
    """One list of optional features (TS 29.229 clause 6.3.29)."""

    vendor_id: int = VENDOR_3GPP
    feature_list_id: int
    feature_list: int


class AuthSessionState(enum.IntEnum):
    """RFC 6733 clause 8.11."""

    STATE_MAINTAINED = 0
    NO_STATE_MAINTAINED = 1


class TerminationCause(enum.IntEnum):
    """RFC 6733 clause 8.15."""

    DIAMETER_LOGOUT = 1
    DIAMETER_SERVICE_NOT_PROVIDED = 2
    DIAMETER_BAD_ANSWER = 3
    DIAMETER_ADMINISTRATIVE = 4
    DIAMETER_LINK_BROKEN = 5
    DIAMETER_AUTH_EXPIRED = 6
    DIAMETER_USER_MOVED = 7
    DIAMETER_SESSION_TIMEOUT = 8


class RatType(enum.IntEnum):
    """RAT-Type (TS 29.212 clause 5.3.31)."""

    WLAN = 0
    VIRTUAL = 1
    UTRAN = 1000
    GERAN = 1001
    GAN = 1002
    HSPA_EVOLUTION = 1003
    EUTRAN = 1004
    EUTRAN_NB_IOT = 1005
    NR = 1006
    LTE_M = 1007
    CDMA2000_1X = 2000
    HRPD = 2001
    UMB = 2002
    EHRPD = 2003


class PreEmptionCapability(enum.IntEnum):
    """TS 29.212 clause 5.3.46. Beware: 0 is enabled."""

    PRE_EMPTION_CAPABILITY_ENABLED = 0
    PRE_EMPTION_CAPABILITY_DISABLED = 1


class PreEmptionVulnerability(enum.IntEnum):
    """TS 29.212 clause 5.3.47. Beware: 0 is enabled."""

    PRE_EMPTION_VULNERABILITY_ENABLED = 0
    PRE_EMPTION_VULNERABILITY_DISABLED = 1


@recurring_group
class AllocationRetentionPriority(Group):
    """Who gets a bearer, and who loses one, when there are not enough (TS 29.212 clause 5.3.32)."""

    priority_level: int                                                         # 1 (first served) to 15
    pre_emption_capability: PreEmptionCapability | int | None = None            # absent: disabled
    pre_emption_vulnerability: PreEmptionVulnerability | int | None = None      # absent: enabled


class SubscriptionIdType(enum.IntEnum):
    """RFC 8506 clause 8.47."""

    END_USER_E164 = 0
    END_USER_IMSI = 1
    END_USER_SIP_URI = 2
    END_USER_NAI = 3
    END_USER_PRIVATE = 4


@avp_group
class SubscriptionId(Group):
    """An identity of the user (RFC 8506 clause 8.46)."""

    subscription_id_type: SubscriptionIdType | int
    subscription_id_data: str


class UserEquipmentInfoType(enum.IntEnum):
    """RFC 8506 clause 8.50."""

    IMEISV = 0
    MAC = 1
    EUI64 = 2
    MODIFIED_EUI64 = 3


@avp_group
class UserEquipmentInfo(Group):
    """The terminal's identity (RFC 8506 clause 8.49)."""

    user_equipment_info_type: UserEquipmentInfoType | int
    user_equipment_info_value: bytes


class FinalUnitAction(enum.IntEnum):
    """What happens to the user when the last units are used up (RFC 8506 clause 8.35)."""

    TERMINATE = 0
    REDIRECT = 1
    RESTRICT_ACCESS = 2


class RedirectAddressType(enum.IntEnum):
    """RFC 8506 clause 8.38."""

    IPV4_ADDRESS = 0
    IPV6_ADDRESS = 1
    URL = 2
    SIP_URI = 3


@recurring_group
class RedirectServer(Group):
    """Where the user is sent to, such as a page that sells credit (RFC 8506 clause 8.37)."""

    redirect_address_type: RedirectAddressType | int
    redirect_server_address: str


@recurring_group
class FinalUnitIndication(Group):
    """The units of this grant are the last ones (RFC 8506 clause 8.34)."""

    final_unit_action: FinalUnitAction | int
    restriction_filter_rule: tuple[str, ...] = ()           # IPFilterRule: what stays allowed
    filter_id: tuple[str, ...] = ()                         # filters that the gateway knows by name
    redirect_server: RedirectServer | None = None
