"""Enumerations of PS domain records (TS 32.298 clause 5.2.2)."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class RecordType(IntEnum):
    """TS 32.298 clause 5.1.2.2.51."""

    SGW_RECORD = 84
    PGW_RECORD = 85


class CauseForRecClosing(IntEnum):
    """Why a record ends (TS 32.298 clause 5.1.2.2.7). All but the first three close a partial record: another one follows."""

    NORMAL_RELEASE = 0
    PARTIAL_RECORD = 1
    ABNORMAL_RELEASE = 4
    CAMEL_INIT_CALL_RELEASE = 5
    VOLUME_LIMIT = 16
    TIME_LIMIT = 17
    SERVING_NODE_CHANGE = 18
    MAX_CHANGE_COND = 19
    MANAGEMENT_INTERVENTION = 20
    INTRA_SGSN_INTERSYSTEM_CHANGE = 21
    RAT_CHANGE = 22
    MS_TIME_ZONE_CHANGE = 23
    SGSN_PLMN_ID_CHANGE = 24
    SGW_CHANGE = 25
    APN_AMBR_CHANGE = 26
    MO_EXCEPTION_DATA_COUNTER_RECEIPT = 27
    UNAUTHORIZED_REQUESTING_NETWORK = 52
    UNAUTHORIZED_LCS_CLIENT = 53
    POSITION_METHOD_FAILURE = 54
    UNKNOWN_OR_UNREACHABLE_LCS_CLIENT = 58
    LIST_OF_DOWNSTREAM_NODE_CHANGE = 59


class ChangeCondition(IntEnum):
    """Why a container of traffic volumes ends (TS 32.298 clause 5.1.2.2.9)."""

    QOS_CHANGE = 0
    TARIFF_TIME = 1
    RECORD_CLOSURE = 2
    CGI_SAI_CHANGE = 6
    RAI_CHANGE = 7
    DT_ESTABLISHMENT = 8
    DT_REMOVAL = 9
    ECGI_CHANGE = 10
    TAI_CHANGE = 11
    USER_LOCATION_CHANGE = 12
    USER_CSG_INFORMATION_CHANGE = 13
    PRESENCE_IN_PRA_CHANGE = 14
    REMOVAL_OF_ACCESS = 15
    UNUSABILITY_OF_ACCESS = 16
    INDIRECT_CHANGE_CONDITION = 17
    USER_PLANE_TO_UE_CHANGE = 18
    SERVING_PLMN_RATE_CONTROL_CHANGE = 19
    THREE_GPP_PS_DATA_OFF_STATUS_CHANGE = 20
    APN_RATE_CONTROL_CHANGE = 21


class ServiceConditionChange(IntFlag):
    """Why a container of service data ends (TS 32.298 clause 5.1.2.2.38B); bit n of the string has the value 2**n here."""

    QOS_CHANGE = 1 << 0
    SGSN_CHANGE = 1 << 1
    SGSN_PLMN_ID_CHANGE = 1 << 2
    TARIFF_TIME_SWITCH = 1 << 3
    PDP_CONTEXT_RELEASE = 1 << 4
    RAT_CHANGE = 1 << 5
    SERVICE_IDLED_OUT = 1 << 6
    CONFIGURATION_CHANGE = 1 << 8
    SERVICE_STOP = 1 << 9
    RECORD_CLOSURE = 1 << 24
    TIME_LIMIT = 1 << 25
    VOLUME_LIMIT = 1 << 26
    ECGI_CHANGE = 1 << 29
    TAI_CHANGE = 1 << 30
    USER_LOCATION_CHANGE = 1 << 31


SERVICE_CONDITION_BITS = 38     # how many the string has


class ServingNodeType(IntEnum):
    """What is at the other end (TS 32.298 clause 5.1.2.2.56B)."""

    SGSN = 0
    PMIP_SGW = 1
    GTP_SGW = 2
    EPDG = 3
    HSGW = 4
    MME = 5
    TWAN = 6


class ChChSelectionMode(IntEnum):
    """Where the charging characteristics come from (TS 32.298 clause 5.1.2.2.11)."""

    SERVING_NODE_SUPPLIED = 0
    SUBSCRIPTION_SPECIFIC = 1
    APN_SPECIFIC = 2
    HOME_DEFAULT = 3
    ROAMING_DEFAULT = 4
    VISITING_DEFAULT = 5
    FIXED_DEFAULT = 6
