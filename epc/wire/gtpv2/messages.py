"""The messages of S11 and S5/S8: paths, sessions, bearers and tunnels (TS 29.274 clauses 7.1 and 7.2).

Elements that only S2a, S2b, S4 with an SGSN's own needs, or Sm carry are not named; received, they stay in ``unknown``.
Elements that a rejection may leave out have a default although they are mandatory otherwise (TS 29.274 clause 6.1.1).
Annotations are read when the classes are made, so this module does without postponed evaluation.
"""

from typing import Annotated

from epc.wire.gtpv2 import elements as ie
from epc.wire.gtpv2.elements import (
    Ambr,
    ApnRateControlStatus,
    Arp,
    Cause,
    Counter,
    EpcTimer,
    FContainer,
    FlowQos,
    FqCsid,
    Fteid,
    IpAddress,
    Paa,
    PagingAndServiceInformation,
    RanNasCause,
    SecondaryRatUsageDataReport,
    ServingPlmnRateControl,
    Throttling,
    TraceInformation,
    UeTimeZone,
    Uli,
    UserCsgInformation,
)
from epc.wire.gtpv2.enums import (
    ChangeReportingAction,
    CsgInformationReportingAction,
    Indication,
    MessageType,
    NodeFeatures,
    NodeType,
    PdnType,
    RatType,
    SelectionMode,
)
from epc.wire.gtpv2.grouped import (
    AccessBearerContextModified,
    AccessBearerContextToBeModified,
    BearerContextCreateAnswered,
    BearerContextCreated,
    BearerContextCreateRequested,
    BearerContextDeleteAnswered,
    BearerContextDeleteCommanded,
    BearerContextForwardingAnswered,
    BearerContextForwardingRequested,
    BearerContextMarkedForRemoval,
    BearerContextModified,
    BearerContextModifyCommanded,
    BearerContextToBeCreated,
    BearerContextToBeModified,
    BearerContextToBeRemoved,
    BearerContextUpdateAnswered,
    BearerContextUpdateRequested,
    FailedBearerContext,
    LoadControlInformation,
    OverloadControlInformation,
    PgwChangeInfo,
    RemoteUeContext,
)
from epc.wire.gtpv2.table import CO, C, M, Message, O, message
from epc.wire.identity import Ebi, Imsi, Plmn

# --- path management, TS 29.274 clause 7.1 ------------------------------------------------------------------------------------


@message(MessageType.ECHO_REQUEST)
class EchoRequest(Message):
    recovery: Annotated[int, M(ie.RECOVERY)]
    node_features: Annotated[NodeFeatures | None, CO(ie.NODE_FEATURES)] = None


@message(MessageType.ECHO_RESPONSE)
class EchoResponse(Message):
    recovery: Annotated[int, M(ie.RECOVERY)]
    node_features: Annotated[NodeFeatures | None, CO(ie.NODE_FEATURES)] = None


@message(MessageType.VERSION_NOT_SUPPORTED_INDICATION)
class VersionNotSupportedIndication(Message):
    """A header and nothing else; the header's version is the highest that the sender speaks."""


# --- tunnel management, TS 29.274 clause 7.2 ----------------------------------------------------------------------------------


@message(MessageType.CREATE_SESSION_REQUEST)
class CreateSessionRequest(Message):
    """TS 29.274 table 7.2.1-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    msisdn: Annotated[str | None, C(ie.MSISDN)] = None
    mei: Annotated[str | None, C(ie.MEI)] = None
    uli: Annotated[Uli | None, C(ie.ULI)] = None
    serving_network: Annotated[Plmn | None, C(ie.SERVING_NETWORK)] = None
    rat_type: Annotated[RatType | int, M(ie.RAT_TYPE)]
    indication: Annotated[Indication | None, C(ie.INDICATION)] = None
    sender_fteid: Annotated[Fteid, M(ie.F_TEID, 0)]
    pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    apn: Annotated[str, M(ie.APN)]
    selection_mode: Annotated[SelectionMode | int | None, C(ie.SELECTION_MODE)] = None
    pdn_type: Annotated[PdnType | int | None, C(ie.PDN_TYPE)] = None
    paa: Annotated[Paa | None, C(ie.PAA)] = None
    maximum_apn_restriction: Annotated[int | None, C(ie.APN_RESTRICTION)] = None
    ambr: Annotated[Ambr | None, C(ie.AMBR)] = None
    linked_ebi: Annotated[Ebi | None, C(ie.EBI)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    bearer_contexts_to_be_created: Annotated[tuple[BearerContextToBeCreated, ...], M(BearerContextToBeCreated, 0)]
    bearer_contexts_to_be_removed: Annotated[tuple[BearerContextToBeRemoved, ...], C(BearerContextToBeRemoved, 1)] = ()
    trace_information: Annotated[TraceInformation | None, C(ie.TRACE_INFORMATION)] = None
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    uci: Annotated[UserCsgInformation | None, CO(ie.UCI)] = None
    charging_characteristics: Annotated[int | None, C(ie.CHARGING_CHARACTERISTICS)] = None
    mme_ldn: Annotated[bytes | None, O(ie.LDN, 0)] = None
    sgw_ldn: Annotated[bytes | None, O(ie.LDN, 1)] = None
    signalling_priority_indication: Annotated[int | None, CO(ie.SIGNALLING_PRIORITY_INDICATION)] = None
    ue_local_ip_address: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 0)] = None
    ue_udp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 0)] = None
    apco: Annotated[bytes | None, CO(ie.APCO)] = None
    henb_local_ip_address: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 1)] = None
    henb_udp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 1)] = None
    mme_identifier: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 2)] = None
    cn_operator_selection_entity: Annotated[int | None, O(ie.CN_OPERATOR_SELECTION_ENTITY)] = None
    presence_reporting_area_information: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_INFORMATION)] = ()
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    origination_time_stamp: Annotated[int | None, CO(ie.MILLISECOND_TIME_STAMP)] = None
    maximum_wait_time_ms: Annotated[int | None, CO(ie.INTEGER_NUMBER)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    remote_ue_contexts_connected: Annotated[tuple[RemoteUeContext, ...], CO(RemoteUeContext)] = ()
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    serving_plmn_rate_control: Annotated[ServingPlmnRateControl | None, CO(ie.SERVING_PLMN_RATE_CONTROL)] = None
    mo_exception_data_counter: Annotated[Counter | None, CO(ie.COUNTER)] = None
    ue_tcp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 2)] = None
    mapped_ue_usage_type: Annotated[int | None, CO(ie.MAPPED_UE_USAGE_TYPE)] = None
    uli_for_sgw: Annotated[Uli | None, CO(ie.ULI, 1)] = None
    sgwu_node_name: Annotated[str | None, CO(ie.FQDN)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()
    up_function_selection_indication_flags: Annotated[int | None, CO(ie.UP_FUNCTION_SELECTION_INDICATION_FLAGS)] = None
    apn_rate_control_status: Annotated[ApnRateControlStatus | None, CO(ie.APN_RATE_CONTROL_STATUS)] = None


@message(MessageType.CREATE_SESSION_RESPONSE)
class CreateSessionResponse(Message):
    """TS 29.274 table 7.2.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    change_reporting_action: Annotated[ChangeReportingAction | int | None, C(ie.CHANGE_REPORTING_ACTION)] = None
    csg_information_reporting_action: Annotated[CsgInformationReportingAction | None, CO(ie.CSG_INFORMATION_REPORTING_ACTION)] = None
    henb_information_reporting: Annotated[int | None, CO(ie.HENB_INFORMATION_REPORTING)] = None
    sender_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    paa: Annotated[Paa | None, C(ie.PAA)] = None
    apn_restriction: Annotated[int | None, C(ie.APN_RESTRICTION)] = None
    ambr: Annotated[Ambr | None, C(ie.AMBR)] = None
    linked_ebi: Annotated[Ebi | None, C(ie.EBI)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    bearer_contexts_created: Annotated[tuple[BearerContextCreated, ...], M(BearerContextCreated, 0)] = ()
    bearer_contexts_marked_for_removal: Annotated[tuple[BearerContextMarkedForRemoval, ...], C(BearerContextMarkedForRemoval, 1)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    charging_gateway_name: Annotated[str | None, C(ie.FQDN, 0)] = None
    charging_gateway_address: Annotated[IpAddress | None, C(ie.IP_ADDRESS, 0)] = None
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    sgw_ldn: Annotated[bytes | None, O(ie.LDN, 0)] = None
    pgw_ldn: Annotated[bytes | None, O(ie.LDN, 1)] = None
    pgw_back_off_time: Annotated[EpcTimer | None, O(ie.EPC_TIMER)] = None
    apco: Annotated[bytes | None, CO(ie.APCO)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    presence_reporting_area_actions: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_ACTION)] = ()
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    pdn_connection_charging_id: Annotated[int | None, CO(ie.CHARGING_ID)] = None
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    pgw_node_name: Annotated[str | None, CO(ie.FQDN, 1)] = None
    pgw_change_info: Annotated[tuple[PgwChangeInfo, ...], O(PgwChangeInfo)] = ()


@message(MessageType.CREATE_BEARER_REQUEST)
class CreateBearerRequest(Message):
    """TS 29.274 table 7.2.3-1."""

    pti: Annotated[int | None, C(ie.PTI)] = None
    linked_ebi: Annotated[Ebi | int, M(ie.EBI)]
    pco: Annotated[bytes | None, O(ie.PCO)] = None
    bearer_contexts: Annotated[tuple[BearerContextCreateRequested, ...], M(BearerContextCreateRequested)]
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    change_reporting_action: Annotated[ChangeReportingAction | int | None, CO(ie.CHANGE_REPORTING_ACTION)] = None
    csg_information_reporting_action: Annotated[CsgInformationReportingAction | None, CO(ie.CSG_INFORMATION_REPORTING_ACTION)] = None
    henb_information_reporting: Annotated[int | None, CO(ie.HENB_INFORMATION_REPORTING)] = None
    presence_reporting_area_actions: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_ACTION)] = ()
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    pgw_change_info: Annotated[tuple[PgwChangeInfo, ...], O(PgwChangeInfo)] = ()


@message(MessageType.CREATE_BEARER_RESPONSE)
class CreateBearerResponse(Message):
    """TS 29.274 table 7.2.4-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    bearer_contexts: Annotated[tuple[BearerContextCreateAnswered, ...], M(BearerContextCreateAnswered)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    uli: Annotated[Uli | None, CO(ie.ULI)] = None
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    presence_reporting_area_information: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_INFORMATION)] = ()
    mme_identifier: Annotated[IpAddress | None, CO(ie.IP_ADDRESS)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    ue_tcp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 1)] = None


@message(MessageType.BEARER_RESOURCE_COMMAND)
class BearerResourceCommand(Message):
    """TS 29.274 table 7.2.5-1."""

    linked_ebi: Annotated[Ebi | int, M(ie.EBI, 0)]
    pti: Annotated[int, M(ie.PTI)]
    flow_qos: Annotated[FlowQos | None, C(ie.FLOW_QOS)] = None
    tad: Annotated[bytes, M(ie.TAD)]
    rat_type: Annotated[RatType | int | None, C(ie.RAT_TYPE)] = None
    serving_network: Annotated[Plmn | None, O(ie.SERVING_NETWORK)] = None
    uli: Annotated[Uli | None, O(ie.ULI)] = None
    ebi: Annotated[Ebi | None, C(ie.EBI, 1)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s12_rnc_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    pco: Annotated[bytes | None, O(ie.PCO)] = None
    signalling_priority_indication: Annotated[int | None, CO(ie.SIGNALLING_PRIORITY_INDICATION)] = None
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID, 2)] = None


@message(MessageType.BEARER_RESOURCE_FAILURE_INDICATION)
class BearerResourceFailureIndication(Message):
    """TS 29.274 table 7.2.6-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    linked_ebi: Annotated[Ebi | int | None, M(ie.EBI)] = None
    pti: Annotated[int | None, M(ie.PTI)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None


@message(MessageType.MODIFY_BEARER_REQUEST)
class ModifyBearerRequest(Message):
    """TS 29.274 table 7.2.7-1."""

    mei: Annotated[str | None, C(ie.MEI)] = None
    uli: Annotated[Uli | None, C(ie.ULI)] = None
    serving_network: Annotated[Plmn | None, CO(ie.SERVING_NETWORK)] = None
    rat_type: Annotated[RatType | int | None, C(ie.RAT_TYPE)] = None
    indication: Annotated[Indication | None, C(ie.INDICATION)] = None
    sender_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None
    ambr: Annotated[Ambr | None, C(ie.AMBR)] = None
    delay_downlink_packet_notification_request: Annotated[int | None, C(ie.DELAY_VALUE)] = None         # in units of 50 ms
    bearer_contexts_to_be_modified: Annotated[tuple[BearerContextToBeModified, ...], C(BearerContextToBeModified, 0)] = ()
    bearer_contexts_to_be_removed: Annotated[tuple[BearerContextToBeRemoved, ...], C(BearerContextToBeRemoved, 1)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    uci: Annotated[UserCsgInformation | None, CO(ie.UCI)] = None
    ue_local_ip_address: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 1)] = None
    ue_udp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 1)] = None
    mme_ldn: Annotated[bytes | None, O(ie.LDN, 0)] = None
    sgw_ldn: Annotated[bytes | None, O(ie.LDN, 1)] = None
    henb_local_ip_address: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 0)] = None
    henb_udp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 0)] = None
    mme_identifier: Annotated[IpAddress | None, CO(ie.IP_ADDRESS, 2)] = None
    cn_operator_selection_entity: Annotated[int | None, O(ie.CN_OPERATOR_SELECTION_ENTITY)] = None
    presence_reporting_area_information: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_INFORMATION)] = ()
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    serving_plmn_rate_control: Annotated[ServingPlmnRateControl | None, CO(ie.SERVING_PLMN_RATE_CONTROL)] = None
    mo_exception_data_counter: Annotated[Counter | None, CO(ie.COUNTER)] = None
    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None
    uli_for_sgw: Annotated[Uli | None, CO(ie.ULI, 1)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.MODIFY_BEARER_RESPONSE)
class ModifyBearerResponse(Message):
    """TS 29.274 table 7.2.8-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    msisdn: Annotated[str | None, C(ie.MSISDN)] = None
    linked_ebi: Annotated[Ebi | None, C(ie.EBI)] = None
    apn_restriction: Annotated[int | None, C(ie.APN_RESTRICTION)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    bearer_contexts_modified: Annotated[tuple[BearerContextModified, ...], C(BearerContextModified, 0)] = ()
    bearer_contexts_marked_for_removal: Annotated[tuple[BearerContextMarkedForRemoval, ...], C(BearerContextMarkedForRemoval, 1)] = ()
    change_reporting_action: Annotated[ChangeReportingAction | int | None, C(ie.CHANGE_REPORTING_ACTION)] = None
    csg_information_reporting_action: Annotated[CsgInformationReportingAction | None, CO(ie.CSG_INFORMATION_REPORTING_ACTION)] = None
    henb_information_reporting: Annotated[int | None, CO(ie.HENB_INFORMATION_REPORTING)] = None
    charging_gateway_name: Annotated[str | None, C(ie.FQDN)] = None
    charging_gateway_address: Annotated[IpAddress | None, C(ie.IP_ADDRESS)] = None
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    sgw_ldn: Annotated[bytes | None, O(ie.LDN, 0)] = None
    pgw_ldn: Annotated[bytes | None, O(ie.LDN, 1)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    presence_reporting_area_actions: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_ACTION)] = ()
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    pdn_connection_charging_id: Annotated[int | None, CO(ie.CHARGING_ID)] = None
    pgw_change_info: Annotated[tuple[PgwChangeInfo, ...], O(PgwChangeInfo)] = ()


@message(MessageType.DELETE_SESSION_REQUEST)
class DeleteSessionRequest(Message):
    """TS 29.274 table 7.2.9.1-1."""

    cause: Annotated[Cause | None, C(ie.CAUSE)] = None
    linked_ebi: Annotated[Ebi | int | None, C(ie.EBI)] = None
    uli: Annotated[Uli | None, C(ie.ULI)] = None
    indication: Annotated[Indication | None, C(ie.INDICATION)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    originating_node: Annotated[NodeType | int | None, C(ie.NODE_TYPE)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    uli_timestamp: Annotated[int | None, CO(ie.ULI_TIMESTAMP)] = None
    ran_nas_release_causes: Annotated[tuple[RanNasCause, ...], CO(ie.RAN_NAS_CAUSE)] = ()
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    ue_local_ip_address: Annotated[IpAddress | None, CO(ie.IP_ADDRESS)] = None
    ue_udp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 0)] = None
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    ue_tcp_port: Annotated[int | None, CO(ie.PORT_NUMBER, 1)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.DELETE_SESSION_RESPONSE)
class DeleteSessionResponse(Message):
    """TS 29.274 table 7.2.10.1-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    apn_rate_control_status: Annotated[ApnRateControlStatus | None, CO(ie.APN_RATE_CONTROL_STATUS)] = None


@message(MessageType.DELETE_BEARER_REQUEST)
class DeleteBearerRequest(Message):
    """TS 29.274 table 7.2.9.2-1: ``linked_ebi`` ends the PDN connection, ``ebis`` end dedicated bearers."""

    linked_ebi: Annotated[Ebi | int | None, C(ie.EBI, 0)] = None
    ebis: Annotated[tuple[Ebi | int, ...], C(ie.EBI, 1)] = ()
    failed_bearer_contexts: Annotated[tuple[FailedBearerContext, ...], O(FailedBearerContext)] = ()
    pti: Annotated[int | None, C(ie.PTI)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    cause: Annotated[Cause | None, C(ie.CAUSE)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    apn_rate_control_status: Annotated[ApnRateControlStatus | None, CO(ie.APN_RATE_CONTROL_STATUS)] = None
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None
    pgw_change_info: Annotated[tuple[PgwChangeInfo, ...], O(PgwChangeInfo)] = ()


@message(MessageType.DELETE_BEARER_RESPONSE)
class DeleteBearerResponse(Message):
    """TS 29.274 table 7.2.10.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    linked_ebi: Annotated[Ebi | int | None, C(ie.EBI)] = None
    bearer_contexts: Annotated[tuple[BearerContextDeleteAnswered, ...], C(BearerContextDeleteAnswered)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    pco: Annotated[bytes | None, C(ie.PCO)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    uli: Annotated[Uli | None, CO(ie.ULI)] = None
    uli_timestamp: Annotated[int | None, CO(ie.ULI_TIMESTAMP)] = None
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.DOWNLINK_DATA_NOTIFICATION)
class DownlinkDataNotification(Message):
    """TS 29.274 table 7.2.11.1-1."""

    cause: Annotated[Cause | None, CO(ie.CAUSE)] = None
    ebis: Annotated[tuple[Ebi | int, ...], CO(ie.EBI)] = ()
    arp: Annotated[Arp | None, CO(ie.ARP)] = None
    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None
    paging_and_service_information: Annotated[tuple[PagingAndServiceInformation, ...], CO(ie.PAGING_AND_SERVICE_INFORMATION)] = ()
    dl_data_packets_size_octets: Annotated[int | None, CO(ie.INTEGER_NUMBER)] = None


@message(MessageType.DOWNLINK_DATA_NOTIFICATION_ACKNOWLEDGE)
class DownlinkDataNotificationAcknowledge(Message):
    """TS 29.274 table 7.2.11.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    data_notification_delay: Annotated[int | None, C(ie.DELAY_VALUE)] = None                            # in units of 50 ms
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    dl_low_priority_traffic_throttling: Annotated[Throttling | None, O(ie.THROTTLING)] = None
    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None
    dl_buffering_duration: Annotated[EpcTimer | None, CO(ie.EPC_TIMER)] = None
    dl_buffering_suggested_packet_count: Annotated[int | None, O(ie.INTEGER_NUMBER)] = None


@message(MessageType.DOWNLINK_DATA_NOTIFICATION_FAILURE_INDICATION)
class DownlinkDataNotificationFailureIndication(Message):
    """TS 29.274 table 7.2.11.3-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    originating_node: Annotated[NodeType | int | None, CO(ie.NODE_TYPE)] = None
    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None


@message(MessageType.DELETE_INDIRECT_DATA_FORWARDING_TUNNEL_REQUEST)
class DeleteIndirectDataForwardingTunnelRequest(Message):
    """TS 29.274 table 7.2.12-1."""


@message(MessageType.DELETE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE)
class DeleteIndirectDataForwardingTunnelResponse(Message):
    """TS 29.274 table 7.2.13-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None


@message(MessageType.MODIFY_BEARER_COMMAND)
class ModifyBearerCommand(Message):
    """TS 29.274 table 7.2.14.1-1."""

    ambr: Annotated[Ambr, M(ie.AMBR)]
    bearer_context: Annotated[BearerContextModifyCommanded, M(BearerContextModifyCommanded)]
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None


@message(MessageType.MODIFY_BEARER_FAILURE_INDICATION)
class ModifyBearerFailureIndication(Message):
    """TS 29.274 table 7.2.14.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None


@message(MessageType.UPDATE_BEARER_REQUEST)
class UpdateBearerRequest(Message):
    """TS 29.274 table 7.2.15-1."""

    bearer_contexts: Annotated[tuple[BearerContextUpdateRequested, ...], M(BearerContextUpdateRequested)]
    pti: Annotated[int | None, C(ie.PTI)] = None
    pco: Annotated[bytes | None, O(ie.PCO)] = None
    ambr: Annotated[Ambr, M(ie.AMBR)]
    change_reporting_action: Annotated[ChangeReportingAction | int | None, CO(ie.CHANGE_REPORTING_ACTION)] = None
    csg_information_reporting_action: Annotated[CsgInformationReportingAction | None, CO(ie.CSG_INFORMATION_REPORTING_ACTION)] = None
    henb_information_reporting: Annotated[int | None, CO(ie.HENB_INFORMATION_REPORTING)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    presence_reporting_area_actions: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_ACTION)] = ()
    pgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 0)] = None
    pgw_apn_load_control_information: Annotated[tuple[LoadControlInformation, ...], O(LoadControlInformation, 1)] = ()
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation, 2)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None
    pgw_change_info: Annotated[tuple[PgwChangeInfo, ...], O(PgwChangeInfo)] = ()


@message(MessageType.UPDATE_BEARER_RESPONSE)
class UpdateBearerResponse(Message):
    """TS 29.274 table 7.2.16-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    bearer_contexts: Annotated[tuple[BearerContextUpdateAnswered, ...], M(BearerContextUpdateAnswered)] = ()
    pco: Annotated[bytes | None, CO(ie.PCO)] = None
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    uli: Annotated[Uli | None, CO(ie.ULI)] = None
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    presence_reporting_area_information: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_INFORMATION)] = ()
    mme_identifier: Annotated[IpAddress | None, CO(ie.IP_ADDRESS)] = None
    nbifom_container: Annotated[FContainer | None, CO(ie.F_CONTAINER)] = None


@message(MessageType.DELETE_BEARER_COMMAND)
class DeleteBearerCommand(Message):
    """TS 29.274 table 7.2.17.1-1."""

    bearer_contexts: Annotated[tuple[BearerContextDeleteCommanded, ...], M(BearerContextDeleteCommanded)]
    uli: Annotated[Uli | None, CO(ie.ULI)] = None
    uli_timestamp: Annotated[int | None, CO(ie.ULI_TIMESTAMP)] = None
    ue_time_zone: Annotated[UeTimeZone | None, CO(ie.UE_TIME_ZONE)] = None
    mme_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 0)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.DELETE_BEARER_FAILURE_INDICATION)
class DeleteBearerFailureIndication(Message):
    """TS 29.274 table 7.2.17.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    bearer_contexts: Annotated[tuple[FailedBearerContext, ...], M(FailedBearerContext)] = ()
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    pgw_overload_control_information: Annotated[tuple[OverloadControlInformation, ...], O(OverloadControlInformation, 0)] = ()
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation, 1)] = None


@message(MessageType.CREATE_INDIRECT_DATA_FORWARDING_TUNNEL_REQUEST)
class CreateIndirectDataForwardingTunnelRequest(Message):
    """TS 29.274 table 7.2.18-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    mei: Annotated[str | None, C(ie.MEI)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    sender_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None
    bearer_contexts: Annotated[tuple[BearerContextForwardingRequested, ...], M(BearerContextForwardingRequested)]
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None


@message(MessageType.CREATE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE)
class CreateIndirectDataForwardingTunnelResponse(Message):
    """TS 29.274 table 7.2.19-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    sender_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None
    bearer_contexts: Annotated[tuple[BearerContextForwardingAnswered, ...], M(BearerContextForwardingAnswered)] = ()
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None


@message(MessageType.RELEASE_ACCESS_BEARERS_REQUEST)
class ReleaseAccessBearersRequest(Message):
    """TS 29.274 table 7.2.21.1-1."""

    list_of_rabs: Annotated[tuple[Ebi | int, ...], C(ie.EBI)] = ()
    originating_node: Annotated[NodeType | int | None, CO(ie.NODE_TYPE)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.RELEASE_ACCESS_BEARERS_RESPONSE)
class ReleaseAccessBearersResponse(Message):
    """TS 29.274 table 7.2.22-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    recovery: Annotated[int | None, O(ie.RECOVERY)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None


@message(MessageType.STOP_PAGING_INDICATION)
class StopPagingIndication(Message):
    """TS 29.274 table 7.2.23-1."""

    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None


@message(MessageType.MODIFY_ACCESS_BEARERS_REQUEST)
class ModifyAccessBearersRequest(Message):
    """TS 29.274 table 7.2.24-1."""

    indication: Annotated[Indication | None, C(ie.INDICATION)] = None
    sender_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None
    delay_downlink_packet_notification_request: Annotated[int | None, C(ie.DELAY_VALUE)] = None         # in units of 50 ms
    bearer_contexts_to_be_modified: Annotated[tuple[AccessBearerContextToBeModified, ...], C(AccessBearerContextToBeModified, 0)] = ()
    bearer_contexts_to_be_removed: Annotated[tuple[BearerContextToBeRemoved, ...], C(BearerContextToBeRemoved, 1)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.MODIFY_ACCESS_BEARERS_RESPONSE)
class ModifyAccessBearersResponse(Message):
    """TS 29.274 table 7.2.25-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    bearer_contexts_modified: Annotated[tuple[AccessBearerContextModified, ...], C(AccessBearerContextModified, 0)] = ()
    bearer_contexts_marked_for_removal: Annotated[tuple[BearerContextMarkedForRemoval, ...], C(BearerContextMarkedForRemoval, 1)] = ()
    recovery: Annotated[int | None, C(ie.RECOVERY)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    sgw_load_control_information: Annotated[LoadControlInformation | None, O(LoadControlInformation)] = None
    sgw_overload_control_information: Annotated[OverloadControlInformation | None, O(OverloadControlInformation)] = None


@message(MessageType.REMOTE_UE_REPORT_NOTIFICATION)
class RemoteUeReportNotification(Message):
    """TS 29.274 table 7.2.26-1."""

    remote_ue_contexts_connected: Annotated[tuple[RemoteUeContext, ...], CO(RemoteUeContext, 0)] = ()
    remote_ue_contexts_disconnected: Annotated[tuple[RemoteUeContext, ...], CO(RemoteUeContext, 1)] = ()


@message(MessageType.REMOTE_UE_REPORT_ACKNOWLEDGE)
class RemoteUeReportAcknowledge(Message):
    """TS 29.274 table 7.2.27-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
