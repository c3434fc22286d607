"""The messages of Sxa and Sxb: nodes and their associations, sessions and their reports (TS 29.244 clauses 7.4 and 7.5).

Elements that only Sxc, N4 or traffic end points need are not named; received, they stay in ``unknown``. Elements that a rejection may leave
out have a default although they are mandatory otherwise. Annotations are read when the classes are made, so this module does without
postponed evaluation.
"""

from typing import Annotated

from epc.wire.pfcp import elements as ie
from epc.wire.pfcp.elements import FailedRuleId, FqCsid, Fseid, NodeIdentity, PfcpTimer, UserId, UserPlaneIpResourceInformation
from epc.wire.pfcp.enums import (
    AssociationReleaseRequestFlags,
    CauseValue,
    CpFunctionFeatures,
    MessageType,
    NodeReportType,
    PdnType,
    ReportType,
    SmReqFlags,
    SrRspFlags,
    UpFunctionFeatures,
)
from epc.wire.pfcp.grouped import (
    ApplicationIdsPfds,
    CreateBar,
    CreatedPdr,
    CreateFar,
    CreatePdr,
    CreateQer,
    CreateUrr,
    DownlinkDataReport,
    ErrorIndicationReport,
    LoadControlInformation,
    OverloadControlInformation,
    QueryUrr,
    RemoveBar,
    RemoveFar,
    RemovePdr,
    RemoveQer,
    RemoveUrr,
    UpdateBar,
    UpdateBarAtReport,
    UpdateFar,
    UpdatePdr,
    UpdateQer,
    UpdateUrr,
    UsageReport,
    UsageReportAtDeletion,
    UsageReportAtModification,
    UserPlanePathFailureReport,
)
from epc.wire.pfcp.table import C, M, Message, O, message

# --- nodes, TS 29.244 clause 7.4 ----------------------------------------------------------------------------------------------


@message(MessageType.HEARTBEAT_REQUEST)
class HeartbeatRequest(Message):
    recovery_time_stamp_ntp: Annotated[int, M(ie.RECOVERY_TIME_STAMP)]


@message(MessageType.HEARTBEAT_RESPONSE)
class HeartbeatResponse(Message):
    recovery_time_stamp_ntp: Annotated[int, M(ie.RECOVERY_TIME_STAMP)]


@message(MessageType.PFD_MANAGEMENT_REQUEST)
class PfdManagementRequest(Message):
    """TS 29.244 table 7.4.3.1-1. Applications that are not named stay as they are; when none is named, all are forgotten."""

    application_ids_pfds: Annotated[tuple[ApplicationIdsPfds, ...], C(ApplicationIdsPfds)] = ()


@message(MessageType.PFD_MANAGEMENT_RESPONSE)
class PfdManagementResponse(Message):
    """TS 29.244 table 7.4.3.2-1."""

    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None


@message(MessageType.ASSOCIATION_SETUP_REQUEST)
class AssociationSetupRequest(Message):
    """TS 29.244 table 7.4.4.1-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    recovery_time_stamp_ntp: Annotated[int, M(ie.RECOVERY_TIME_STAMP)]
    up_function_features: Annotated[UpFunctionFeatures | None, C(ie.UP_FUNCTION_FEATURES)] = None
    cp_function_features: Annotated[CpFunctionFeatures | None, C(ie.CP_FUNCTION_FEATURES)] = None
    user_plane_ip_resources: Annotated[tuple[UserPlaneIpResourceInformation, ...], O(ie.USER_PLANE_IP_RESOURCE_INFORMATION)] = ()


@message(MessageType.ASSOCIATION_SETUP_RESPONSE)
class AssociationSetupResponse(Message):
    """TS 29.244 table 7.4.4.2-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    recovery_time_stamp_ntp: Annotated[int | None, M(ie.RECOVERY_TIME_STAMP)] = None
    up_function_features: Annotated[UpFunctionFeatures | None, C(ie.UP_FUNCTION_FEATURES)] = None
    cp_function_features: Annotated[CpFunctionFeatures | None, C(ie.CP_FUNCTION_FEATURES)] = None
    user_plane_ip_resources: Annotated[tuple[UserPlaneIpResourceInformation, ...], O(ie.USER_PLANE_IP_RESOURCE_INFORMATION)] = ()


@message(MessageType.ASSOCIATION_UPDATE_REQUEST)
class AssociationUpdateRequest(Message):
    """TS 29.244 table 7.4.4.3-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    up_function_features: Annotated[UpFunctionFeatures | None, O(ie.UP_FUNCTION_FEATURES)] = None
    cp_function_features: Annotated[CpFunctionFeatures | None, O(ie.CP_FUNCTION_FEATURES)] = None
    association_release_request: Annotated[AssociationReleaseRequestFlags | None, C(ie.PFCP_ASSOCIATION_RELEASE_REQUEST)] = None
    graceful_release_period: Annotated[PfcpTimer | None, C(ie.GRACEFUL_RELEASE_PERIOD)] = None
    user_plane_ip_resources: Annotated[tuple[UserPlaneIpResourceInformation, ...], O(ie.USER_PLANE_IP_RESOURCE_INFORMATION)] = ()


@message(MessageType.ASSOCIATION_UPDATE_RESPONSE)
class AssociationUpdateResponse(Message):
    """TS 29.244 table 7.4.4.4-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    up_function_features: Annotated[UpFunctionFeatures | None, O(ie.UP_FUNCTION_FEATURES)] = None
    cp_function_features: Annotated[CpFunctionFeatures | None, O(ie.CP_FUNCTION_FEATURES)] = None


@message(MessageType.ASSOCIATION_RELEASE_REQUEST)
class AssociationReleaseRequest(Message):
    """TS 29.244 table 7.4.4.5-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]


@message(MessageType.ASSOCIATION_RELEASE_RESPONSE)
class AssociationReleaseResponse(Message):
    """TS 29.244 table 7.4.4.6-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]


@message(MessageType.VERSION_NOT_SUPPORTED_RESPONSE)
class VersionNotSupportedResponse(Message):
    """A header and nothing else; the header's version is the highest that the sender speaks."""


@message(MessageType.NODE_REPORT_REQUEST)
class NodeReportRequest(Message):
    """TS 29.244 table 7.4.5.1-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    node_report_type: Annotated[NodeReportType, M(ie.NODE_REPORT_TYPE)]
    user_plane_path_failure_report: Annotated[UserPlanePathFailureReport | None, C(UserPlanePathFailureReport)] = None


@message(MessageType.NODE_REPORT_RESPONSE)
class NodeReportResponse(Message):
    """TS 29.244 table 7.4.5.2-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None


@message(MessageType.SESSION_SET_DELETION_REQUEST)
class SessionSetDeletionRequest(Message):
    """TS 29.244 table 7.4.6.1-1; the sets of SGW-C, PGW-C, SGW-U and PGW-U alike."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID)] = ()


@message(MessageType.SESSION_SET_DELETION_RESPONSE)
class SessionSetDeletionResponse(Message):
    """TS 29.244 table 7.4.6.2-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None


# --- sessions, TS 29.244 clause 7.5 -------------------------------------------------------------------------------------------


@message(MessageType.SESSION_ESTABLISHMENT_REQUEST)
class SessionEstablishmentRequest(Message):
    """TS 29.244 table 7.5.2-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cp_fseid: Annotated[Fseid, M(ie.F_SEID)]
    create_pdrs: Annotated[tuple[CreatePdr, ...], M(CreatePdr)]
    create_fars: Annotated[tuple[CreateFar, ...], M(CreateFar)]
    create_urrs: Annotated[tuple[CreateUrr, ...], C(CreateUrr)] = ()
    create_qers: Annotated[tuple[CreateQer, ...], C(CreateQer)] = ()
    create_bar: Annotated[CreateBar | None, O(CreateBar)] = None
    pdn_type: Annotated[PdnType | int | None, C(ie.PDN_TYPE)] = None
    fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID)] = ()
    user_plane_inactivity_timer_s: Annotated[int | None, O(ie.USER_PLANE_INACTIVITY_TIMER)] = None
    user_id: Annotated[UserId | None, O(ie.USER_ID)] = None


@message(MessageType.SESSION_ESTABLISHMENT_RESPONSE)
class SessionEstablishmentResponse(Message):
    """TS 29.244 table 7.5.3-1."""

    node_id: Annotated[NodeIdentity, M(ie.NODE_ID)]
    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None
    up_fseid: Annotated[Fseid | None, C(ie.F_SEID)] = None
    created_pdrs: Annotated[tuple[CreatedPdr, ...], C(CreatedPdr)] = ()
    load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None
    fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID)] = ()
    failed_rule_id: Annotated[FailedRuleId | None, C(ie.FAILED_RULE_ID)] = None


@message(MessageType.SESSION_MODIFICATION_REQUEST)
class SessionModificationRequest(Message):
    """TS 29.244 table 7.5.4-1."""

    cp_fseid: Annotated[Fseid | None, C(ie.F_SEID)] = None
    remove_pdrs: Annotated[tuple[RemovePdr, ...], C(RemovePdr)] = ()
    remove_fars: Annotated[tuple[RemoveFar, ...], C(RemoveFar)] = ()
    remove_urrs: Annotated[tuple[RemoveUrr, ...], C(RemoveUrr)] = ()
    remove_qers: Annotated[tuple[RemoveQer, ...], C(RemoveQer)] = ()
    remove_bar: Annotated[RemoveBar | None, C(RemoveBar)] = None
    create_pdrs: Annotated[tuple[CreatePdr, ...], C(CreatePdr)] = ()
    create_fars: Annotated[tuple[CreateFar, ...], C(CreateFar)] = ()
    create_urrs: Annotated[tuple[CreateUrr, ...], C(CreateUrr)] = ()
    create_qers: Annotated[tuple[CreateQer, ...], C(CreateQer)] = ()
    create_bar: Annotated[CreateBar | None, C(CreateBar)] = None
    update_pdrs: Annotated[tuple[UpdatePdr, ...], C(UpdatePdr)] = ()
    update_fars: Annotated[tuple[UpdateFar, ...], C(UpdateFar)] = ()
    update_urrs: Annotated[tuple[UpdateUrr, ...], C(UpdateUrr)] = ()
    update_qers: Annotated[tuple[UpdateQer, ...], C(UpdateQer)] = ()
    update_bar: Annotated[UpdateBar | None, C(UpdateBar)] = None
    flags: Annotated[SmReqFlags | None, C(ie.PFCPSMREQ_FLAGS)] = None
    query_urrs: Annotated[tuple[QueryUrr, ...], C(QueryUrr)] = ()
    fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID)] = ()
    user_plane_inactivity_timer_s: Annotated[int | None, C(ie.USER_PLANE_INACTIVITY_TIMER)] = None
    query_urr_reference: Annotated[int | None, O(ie.QUERY_URR_REFERENCE)] = None


@message(MessageType.SESSION_MODIFICATION_RESPONSE)
class SessionModificationResponse(Message):
    """TS 29.244 table 7.5.5-1."""

    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None
    created_pdrs: Annotated[tuple[CreatedPdr, ...], C(CreatedPdr)] = ()
    load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None
    usage_reports: Annotated[tuple[UsageReportAtModification, ...], C(UsageReportAtModification)] = ()
    failed_rule_id: Annotated[FailedRuleId | None, C(ie.FAILED_RULE_ID)] = None
    additional_usage_reports_information: Annotated[int | None, C(ie.ADDITIONAL_USAGE_REPORTS_INFORMATION)] = None


@message(MessageType.SESSION_DELETION_REQUEST)
class SessionDeletionRequest(Message):
    """TS 29.244 clause 7.5.6; the header's SEID says it all."""


@message(MessageType.SESSION_DELETION_RESPONSE)
class SessionDeletionResponse(Message):
    """TS 29.244 table 7.5.7-1."""

    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None
    load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None
    usage_reports: Annotated[tuple[UsageReportAtDeletion, ...], C(UsageReportAtDeletion)] = ()


@message(MessageType.SESSION_REPORT_REQUEST)
class SessionReportRequest(Message):
    """TS 29.244 table 7.5.8-1."""

    report_type: Annotated[ReportType, M(ie.REPORT_TYPE)]
    downlink_data_report: Annotated[DownlinkDataReport | None, C(DownlinkDataReport)] = None
    usage_reports: Annotated[tuple[UsageReport, ...], C(UsageReport)] = ()
    error_indication_report: Annotated[ErrorIndicationReport | None, C(ErrorIndicationReport)] = None
    load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None
    additional_usage_reports_information: Annotated[int | None, C(ie.ADDITIONAL_USAGE_REPORTS_INFORMATION)] = None


@message(MessageType.SESSION_REPORT_RESPONSE)
class SessionReportResponse(Message):
    """TS 29.244 table 7.5.9-1."""

    cause: Annotated[CauseValue | int, M(ie.CAUSE)]
    offending_ie: Annotated[int | None, C(ie.OFFENDING_IE)] = None
    update_bar: Annotated[UpdateBarAtReport | None, C(UpdateBarAtReport)] = None
    flags: Annotated[SrRspFlags | None, C(ie.PFCPSRRSP_FLAGS)] = None
