"""Grouped elements: the rules and reports of sessions, what a path failed to, load and overload (TS 29.244 clause 7.5).

Annotations are read when the classes are made, so this module does without postponed evaluation.
"""

from typing import Annotated

from epc.wire.pfcp import elements as ie
from epc.wire.pfcp.elements import (
    BitRate,
    ChooseFteid,
    DownlinkDataServiceInformation,
    DroppedDownlinkTrafficThreshold,
    Fteid,
    GateStatus,
    OuterHeaderCreation,
    OuterHeaderRemoval,
    PfcpTimer,
    PfdContents,
    RedirectInformation,
    RemoteGtpuPeer,
    SdfFilter,
    UeIpAddress,
    Volume,
)
from epc.wire.pfcp.enums import (
    ApplyAction,
    MeasurementInformation,
    MeasurementMethod,
    OciFlags,
    ReportingTriggers,
    SmReqFlags,
    SourceInterface,
    UsageInformation,
    UsageReportTrigger,
)
from epc.wire.pfcp.table import C, GroupedIe, M, O, grouped

# --- packet detection, TS 29.244 clauses 7.5.2.2, 7.5.4.2 ---------------------------------------------------------------------


@grouped(2, "PDI")
class Pdi(GroupedIe):
    """Packet Detection Information (TS 29.244 table 7.5.2.2-2)."""

    source_interface: Annotated[SourceInterface | int, M(ie.SOURCE_INTERFACE)]
    local_fteid: Annotated[Fteid | ChooseFteid | None, O(ie.F_TEID)] = None
    network_instance: Annotated[bytes | None, O(ie.NETWORK_INSTANCE)] = None
    ue_ip_address: Annotated[UeIpAddress | None, O(ie.UE_IP_ADDRESS)] = None
    sdf_filters: Annotated[tuple[SdfFilter, ...], O(ie.SDF_FILTER)] = ()
    application_id: Annotated[bytes | None, O(ie.APPLICATION_ID)] = None


@grouped(1, "Create PDR")
class CreatePdr(GroupedIe):
    """TS 29.244 table 7.5.2.2-1."""

    pdr_id: Annotated[int, M(ie.PDR_ID)]
    precedence: Annotated[int, M(ie.PRECEDENCE)]
    pdi: Annotated[Pdi, M(Pdi)]
    outer_header_removal: Annotated[OuterHeaderRemoval | None, C(ie.OUTER_HEADER_REMOVAL)] = None
    far_id: Annotated[int | None, C(ie.FAR_ID)] = None
    urr_ids: Annotated[tuple[int, ...], C(ie.URR_ID)] = ()
    qer_ids: Annotated[tuple[int, ...], C(ie.QER_ID)] = ()
    activate_predefined_rules: Annotated[tuple[bytes, ...], C(ie.ACTIVATE_PREDEFINED_RULES)] = ()


@grouped(9, "Update PDR")
class UpdatePdr(GroupedIe):
    """What is absent stays as it is (TS 29.244 table 7.5.4.2-1)."""

    pdr_id: Annotated[int, M(ie.PDR_ID)]
    outer_header_removal: Annotated[OuterHeaderRemoval | None, C(ie.OUTER_HEADER_REMOVAL)] = None
    precedence: Annotated[int | None, C(ie.PRECEDENCE)] = None
    pdi: Annotated[Pdi | None, C(Pdi)] = None
    far_id: Annotated[int | None, C(ie.FAR_ID)] = None
    urr_ids: Annotated[tuple[int, ...], C(ie.URR_ID)] = ()
    qer_ids: Annotated[tuple[int, ...], C(ie.QER_ID)] = ()
    activate_predefined_rules: Annotated[tuple[bytes, ...], C(ie.ACTIVATE_PREDEFINED_RULES)] = ()
    deactivate_predefined_rules: Annotated[tuple[bytes, ...], C(ie.DEACTIVATE_PREDEFINED_RULES)] = ()


@grouped(15, "Remove PDR")
class RemovePdr(GroupedIe):
    """TS 29.244 table 7.5.4.6-1."""

    pdr_id: Annotated[int, M(ie.PDR_ID)]


@grouped(8, "Created PDR")
class CreatedPdr(GroupedIe):
    """The F-TEID that the UP function has chosen (TS 29.244 table 7.5.3.2-1)."""

    pdr_id: Annotated[int, M(ie.PDR_ID)]
    local_fteid: Annotated[Fteid | ChooseFteid | None, C(ie.F_TEID)] = None


# --- forwarding, TS 29.244 clauses 7.5.2.3, 7.5.4.3 ---------------------------------------------------------------------------


@grouped(4, "Forwarding Parameters")
class ForwardingParameters(GroupedIe):
    """TS 29.244 table 7.5.2.3-2."""

    destination_interface: Annotated[SourceInterface | int, M(ie.DESTINATION_INTERFACE)]
    network_instance: Annotated[bytes | None, O(ie.NETWORK_INSTANCE)] = None
    redirect_information: Annotated[RedirectInformation | None, C(ie.REDIRECT_INFORMATION)] = None
    outer_header_creation: Annotated[OuterHeaderCreation | None, C(ie.OUTER_HEADER_CREATION)] = None
    transport_level_marking: Annotated[int | None, C(ie.TRANSPORT_LEVEL_MARKING)] = None


@grouped(5, "Duplicating Parameters")
class DuplicatingParameters(GroupedIe):
    """TS 29.244 table 7.5.2.3-3."""

    destination_interface: Annotated[SourceInterface | int, M(ie.DESTINATION_INTERFACE)]
    outer_header_creation: Annotated[OuterHeaderCreation | None, C(ie.OUTER_HEADER_CREATION)] = None
    transport_level_marking: Annotated[int | None, C(ie.TRANSPORT_LEVEL_MARKING)] = None


@grouped(3, "Create FAR")
class CreateFar(GroupedIe):
    """TS 29.244 table 7.5.2.3-1."""

    far_id: Annotated[int, M(ie.FAR_ID)]
    apply_action: Annotated[ApplyAction, M(ie.APPLY_ACTION)]
    forwarding_parameters: Annotated[ForwardingParameters | None, C(ForwardingParameters)] = None
    duplicating_parameters: Annotated[tuple[DuplicatingParameters, ...], C(DuplicatingParameters)] = ()
    bar_id: Annotated[int | None, O(ie.BAR_ID)] = None


@grouped(11, "Update Forwarding Parameters")
class UpdateForwardingParameters(GroupedIe):
    """What is absent stays as it is (TS 29.244 table 7.5.4.3-2); SNDEM in the flags ends the former tunnel with an End Marker."""

    destination_interface: Annotated[SourceInterface | int | None, C(ie.DESTINATION_INTERFACE)] = None
    network_instance: Annotated[bytes | None, C(ie.NETWORK_INSTANCE)] = None
    redirect_information: Annotated[RedirectInformation | None, C(ie.REDIRECT_INFORMATION)] = None
    outer_header_creation: Annotated[OuterHeaderCreation | None, C(ie.OUTER_HEADER_CREATION)] = None
    transport_level_marking: Annotated[int | None, C(ie.TRANSPORT_LEVEL_MARKING)] = None
    flags: Annotated[SmReqFlags | None, C(ie.PFCPSMREQ_FLAGS)] = None


@grouped(105, "Update Duplicating Parameters")
class UpdateDuplicatingParameters(GroupedIe):
    """TS 29.244 table 7.5.4.3-3."""

    destination_interface: Annotated[SourceInterface | int | None, C(ie.DESTINATION_INTERFACE)] = None
    outer_header_creation: Annotated[OuterHeaderCreation | None, C(ie.OUTER_HEADER_CREATION)] = None
    transport_level_marking: Annotated[int | None, C(ie.TRANSPORT_LEVEL_MARKING)] = None


@grouped(10, "Update FAR")
class UpdateFar(GroupedIe):
    """What is absent stays as it is (TS 29.244 table 7.5.4.3-1)."""

    far_id: Annotated[int, M(ie.FAR_ID)]
    apply_action: Annotated[ApplyAction | None, C(ie.APPLY_ACTION)] = None
    update_forwarding_parameters: Annotated[UpdateForwardingParameters | None, C(UpdateForwardingParameters)] = None
    update_duplicating_parameters: Annotated[tuple[UpdateDuplicatingParameters, ...], C(UpdateDuplicatingParameters)] = ()
    bar_id: Annotated[int | None, C(ie.BAR_ID)] = None


@grouped(16, "Remove FAR")
class RemoveFar(GroupedIe):
    """TS 29.244 table 7.5.4.7-1."""

    far_id: Annotated[int, M(ie.FAR_ID)]


# --- usage reporting, TS 29.244 clauses 7.5.2.4, 7.5.4.4 ----------------------------------------------------------------------


@grouped(6, "Create URR")
class CreateUrr(GroupedIe):
    """TS 29.244 table 7.5.2.4-1; times are seconds, points in time NTP seconds."""

    urr_id: Annotated[int, M(ie.URR_ID)]
    measurement_method: Annotated[MeasurementMethod, M(ie.MEASUREMENT_METHOD)]
    reporting_triggers: Annotated[ReportingTriggers, M(ie.REPORTING_TRIGGERS)]
    measurement_period_s: Annotated[int | None, C(ie.MEASUREMENT_PERIOD)] = None
    volume_threshold: Annotated[Volume | None, C(ie.VOLUME_THRESHOLD)] = None
    volume_quota: Annotated[Volume | None, C(ie.VOLUME_QUOTA)] = None
    time_threshold_s: Annotated[int | None, C(ie.TIME_THRESHOLD)] = None
    time_quota_s: Annotated[int | None, C(ie.TIME_QUOTA)] = None
    quota_holding_time_s: Annotated[int | None, C(ie.QUOTA_HOLDING_TIME)] = None
    dropped_dl_traffic_threshold: Annotated[DroppedDownlinkTrafficThreshold | None, C(ie.DROPPED_DL_TRAFFIC_THRESHOLD)] = None
    monitoring_time_ntp: Annotated[int | None, O(ie.MONITORING_TIME)] = None
    subsequent_volume_threshold: Annotated[Volume | None, O(ie.SUBSEQUENT_VOLUME_THRESHOLD)] = None
    subsequent_time_threshold_s: Annotated[int | None, O(ie.SUBSEQUENT_TIME_THRESHOLD)] = None
    subsequent_volume_quota: Annotated[Volume | None, O(ie.SUBSEQUENT_VOLUME_QUOTA)] = None
    subsequent_time_quota_s: Annotated[int | None, O(ie.SUBSEQUENT_TIME_QUOTA)] = None
    inactivity_detection_time_s: Annotated[int | None, C(ie.INACTIVITY_DETECTION_TIME)] = None
    linked_urr_ids: Annotated[tuple[int, ...], C(ie.LINKED_URR_ID)] = ()
    measurement_information: Annotated[MeasurementInformation | None, C(ie.MEASUREMENT_INFORMATION)] = None
    quota_action_far_id: Annotated[int | None, C(ie.FAR_ID)] = None


@grouped(13, "Update URR")
class UpdateUrr(GroupedIe):
    """What is absent stays as it is (TS 29.244 table 7.5.4.4-1)."""

    urr_id: Annotated[int, M(ie.URR_ID)]
    measurement_method: Annotated[MeasurementMethod | None, C(ie.MEASUREMENT_METHOD)] = None
    reporting_triggers: Annotated[ReportingTriggers | None, C(ie.REPORTING_TRIGGERS)] = None
    measurement_period_s: Annotated[int | None, C(ie.MEASUREMENT_PERIOD)] = None
    volume_threshold: Annotated[Volume | None, C(ie.VOLUME_THRESHOLD)] = None
    volume_quota: Annotated[Volume | None, C(ie.VOLUME_QUOTA)] = None
    time_threshold_s: Annotated[int | None, C(ie.TIME_THRESHOLD)] = None
    time_quota_s: Annotated[int | None, C(ie.TIME_QUOTA)] = None
    quota_holding_time_s: Annotated[int | None, C(ie.QUOTA_HOLDING_TIME)] = None
    dropped_dl_traffic_threshold: Annotated[DroppedDownlinkTrafficThreshold | None, C(ie.DROPPED_DL_TRAFFIC_THRESHOLD)] = None
    monitoring_time_ntp: Annotated[int | None, C(ie.MONITORING_TIME)] = None
    subsequent_volume_threshold: Annotated[Volume | None, C(ie.SUBSEQUENT_VOLUME_THRESHOLD)] = None
    subsequent_time_threshold_s: Annotated[int | None, C(ie.SUBSEQUENT_TIME_THRESHOLD)] = None
    subsequent_volume_quota: Annotated[Volume | None, C(ie.SUBSEQUENT_VOLUME_QUOTA)] = None
    subsequent_time_quota_s: Annotated[int | None, C(ie.SUBSEQUENT_TIME_QUOTA)] = None
    inactivity_detection_time_s: Annotated[int | None, C(ie.INACTIVITY_DETECTION_TIME)] = None
    linked_urr_ids: Annotated[tuple[int, ...], C(ie.LINKED_URR_ID)] = ()
    measurement_information: Annotated[MeasurementInformation | None, C(ie.MEASUREMENT_INFORMATION)] = None
    quota_action_far_id: Annotated[int | None, C(ie.FAR_ID)] = None


@grouped(17, "Remove URR")
class RemoveUrr(GroupedIe):
    """TS 29.244 table 7.5.4.8-1."""

    urr_id: Annotated[int, M(ie.URR_ID)]


@grouped(77, "Query URR")
class QueryUrr(GroupedIe):
    """TS 29.244 table 7.5.4.10-1."""

    urr_id: Annotated[int, M(ie.URR_ID)]


@grouped(68, "Application Detection Information")
class ApplicationDetectionInformation(GroupedIe):
    """TS 29.244 table 7.5.8.3-2."""

    application_id: Annotated[bytes, M(ie.APPLICATION_ID)]
    application_instance_id: Annotated[bytes | None, C(ie.APPLICATION_INSTANCE_ID)] = None


@grouped(78, "Usage Report")
class UsageReportAtModification(GroupedIe):
    """In a Session Modification Response (TS 29.244 table 7.5.5.2-1); points in time are NTP seconds."""

    urr_id: Annotated[int, M(ie.URR_ID)]
    ur_seqn: Annotated[int, M(ie.UR_SEQN)]
    usage_report_trigger: Annotated[UsageReportTrigger, M(ie.USAGE_REPORT_TRIGGER)]
    start_time_ntp: Annotated[int | None, C(ie.START_TIME)] = None
    end_time_ntp: Annotated[int | None, C(ie.END_TIME)] = None
    volume_measurement: Annotated[Volume | None, C(ie.VOLUME_MEASUREMENT)] = None
    duration_measurement_s: Annotated[int | None, C(ie.DURATION_MEASUREMENT)] = None
    time_of_first_packet_ntp: Annotated[int | None, C(ie.TIME_OF_FIRST_PACKET)] = None
    time_of_last_packet_ntp: Annotated[int | None, C(ie.TIME_OF_LAST_PACKET)] = None
    usage_information: Annotated[UsageInformation | None, C(ie.USAGE_INFORMATION)] = None
    query_urr_reference: Annotated[int | None, C(ie.QUERY_URR_REFERENCE)] = None


@grouped(79, "Usage Report")
class UsageReportAtDeletion(UsageReportAtModification):
    """In a Session Deletion Response (TS 29.244 table 7.5.7.2-1)."""


@grouped(80, "Usage Report")
class UsageReport(UsageReportAtModification):
    """In a Session Report Request (TS 29.244 table 7.5.8.3-1)."""

    application_detection_information: Annotated[ApplicationDetectionInformation | None, C(ApplicationDetectionInformation)] = None


# --- quality of service, TS 29.244 clauses 7.5.2.5, 7.5.4.5 -------------------------------------------------------------------


@grouped(7, "Create QER")
class CreateQer(GroupedIe):
    """TS 29.244 table 7.5.2.5-1."""

    qer_id: Annotated[int, M(ie.QER_ID)]
    qer_correlation_id: Annotated[int | None, C(ie.QER_CORRELATION_ID)] = None
    gate_status: Annotated[GateStatus, M(ie.GATE_STATUS)]
    mbr: Annotated[BitRate | None, C(ie.MBR)] = None
    gbr: Annotated[BitRate | None, C(ie.GBR)] = None


@grouped(14, "Update QER")
class UpdateQer(GroupedIe):
    """What is absent stays as it is (TS 29.244 table 7.5.4.5-1)."""

    qer_id: Annotated[int, M(ie.QER_ID)]
    qer_correlation_id: Annotated[int | None, C(ie.QER_CORRELATION_ID)] = None
    gate_status: Annotated[GateStatus | None, C(ie.GATE_STATUS)] = None
    mbr: Annotated[BitRate | None, C(ie.MBR)] = None
    gbr: Annotated[BitRate | None, C(ie.GBR)] = None


@grouped(18, "Remove QER")
class RemoveQer(GroupedIe):
    """TS 29.244 table 7.5.4.9-1."""

    qer_id: Annotated[int, M(ie.QER_ID)]


# --- buffering, TS 29.244 clauses 7.5.2.6, 7.5.4.11, 7.5.9.2 ------------------------------------------------------------------


@grouped(85, "Create BAR")
class CreateBar(GroupedIe):
    """TS 29.244 table 7.5.2.6-1; the delay counts 50 ms."""

    bar_id: Annotated[int, M(ie.BAR_ID)]
    downlink_data_notification_delay: Annotated[int | None, C(ie.DOWNLINK_DATA_NOTIFICATION_DELAY)] = None
    suggested_packet_count: Annotated[int | None, C(ie.DL_BUFFERING_SUGGESTED_PACKET_COUNT)] = None


@grouped(86, "Update BAR")
class UpdateBar(GroupedIe):
    """In a Session Modification Request (TS 29.244 table 7.5.4.11-1)."""

    bar_id: Annotated[int, M(ie.BAR_ID)]
    downlink_data_notification_delay: Annotated[int | None, C(ie.DOWNLINK_DATA_NOTIFICATION_DELAY)] = None
    suggested_packet_count: Annotated[int | None, C(ie.DL_BUFFERING_SUGGESTED_PACKET_COUNT)] = None


@grouped(12, "Update BAR")
class UpdateBarAtReport(GroupedIe):
    """In a Session Report Response (TS 29.244 table 7.5.9.2-1)."""

    bar_id: Annotated[int, M(ie.BAR_ID)]
    downlink_data_notification_delay: Annotated[int | None, C(ie.DOWNLINK_DATA_NOTIFICATION_DELAY)] = None
    dl_buffering_duration: Annotated[PfcpTimer | None, C(ie.DL_BUFFERING_DURATION)] = None
    suggested_packet_count: Annotated[int | None, C(ie.DL_BUFFERING_SUGGESTED_PACKET_COUNT)] = None


@grouped(87, "Remove BAR")
class RemoveBar(GroupedIe):
    """TS 29.244 table 7.5.4.12-1."""

    bar_id: Annotated[int, M(ie.BAR_ID)]


# --- applications, TS 29.244 clause 7.4.3 -------------------------------------------------------------------------------------


@grouped(59, "PFD Context")
class PfdContext(GroupedIe):
    """TS 29.244 table 7.4.3.1-3."""

    pfd_contents: Annotated[tuple[PfdContents, ...], M(ie.PFD_CONTENTS)]


@grouped(58, "Application ID's PFDs")
class ApplicationIdsPfds(GroupedIe):
    """All that are to be known of one application; none: it is forgotten (TS 29.244 table 7.4.3.1-2)."""

    application_id: Annotated[bytes, M(ie.APPLICATION_ID)]
    pfd_contexts: Annotated[tuple[PfdContext, ...], C(PfdContext)] = ()


# --- reports of a session and of the node, TS 29.244 clauses 7.5.8, 7.4.5 -----------------------------------------------------


@grouped(83, "Downlink Data Report")
class DownlinkDataReport(GroupedIe):
    """TS 29.244 table 7.5.8.2-1."""

    pdr_ids: Annotated[tuple[int, ...], M(ie.PDR_ID)]
    downlink_data_service_information: Annotated[tuple[DownlinkDataServiceInformation, ...], C(ie.DOWNLINK_DATA_SERVICE_INFORMATION)] = ()


@grouped(99, "Error Indication Report")
class ErrorIndicationReport(GroupedIe):
    """The far ends that have no such tunnel (TS 29.244 table 7.5.8.4-1)."""

    remote_fteids: Annotated[tuple[Fteid | ChooseFteid, ...], M(ie.F_TEID)]


@grouped(102, "User Plane Path Failure Report")
class UserPlanePathFailureReport(GroupedIe):
    """TS 29.244 table 7.4.5.1.2-1."""

    remote_gtpu_peers: Annotated[tuple[RemoteGtpuPeer, ...], M(ie.REMOTE_GTP_U_PEER)]


@grouped(51, "Load Control Information")
class LoadControlInformation(GroupedIe):
    """TS 29.244 table 7.5.3.3-1."""

    sequence_number: Annotated[int, M(ie.SEQUENCE_NUMBER)]
    load_metric: Annotated[int, M(ie.METRIC)]


@grouped(54, "Overload Control Information")
class OverloadControlInformation(GroupedIe):
    """TS 29.244 table 7.5.3.4-1."""

    sequence_number: Annotated[int, M(ie.SEQUENCE_NUMBER)]
    overload_reduction_metric: Annotated[int, M(ie.METRIC)]
    period_of_validity: Annotated[PfcpTimer, M(ie.TIMER)]
    oci_flags: Annotated[OciFlags | None, C(ie.OCI_FLAGS)] = None
