"""The messages of S11 and S5/S8: mobility, suspension, restoration, trace (TS 29.274 clauses 7.3, 7.4, 7.8, 7.9 and 7.12).

Annotations are read when the classes are made, so this module does without postponed evaluation.
"""

from typing import Annotated

from epc.wire.gtpv2 import elements as ie
from epc.wire.gtpv2.elements import (
    Cause,
    Counter,
    FqCsid,
    Fteid,
    IpAddress,
    SecondaryRatUsageDataReport,
    TraceInformation,
    TraceReference,
    Uli,
    UserCsgInformation,
)
from epc.wire.gtpv2.enums import ChangeReportingAction, CsgInformationReportingAction, Indication, MessageType, NodeType, RatType
from epc.wire.gtpv2.table import CO, C, M, Message, O, message
from epc.wire.identity import Ebi, Imsi

# --- mobility, TS 29.274 clause 7.3 -------------------------------------------------------------------------------------------


@message(MessageType.CHANGE_NOTIFICATION_REQUEST)
class ChangeNotificationRequest(Message):
    """TS 29.274 table 7.3.14-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    mei: Annotated[str | None, C(ie.MEI)] = None
    indication: Annotated[Indication | None, CO(ie.INDICATION)] = None
    rat_type: Annotated[RatType | int, M(ie.RAT_TYPE)]
    uli: Annotated[Uli | None, C(ie.ULI)] = None
    uci: Annotated[UserCsgInformation | None, CO(ie.UCI)] = None
    pgw_address: Annotated[IpAddress | None, C(ie.IP_ADDRESS)] = None
    linked_ebi: Annotated[Ebi | None, CO(ie.EBI)] = None
    presence_reporting_area_information: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_INFORMATION)] = ()
    mo_exception_data_counter: Annotated[Counter | None, CO(ie.COUNTER)] = None
    secondary_rat_usage_data_reports: Annotated[tuple[SecondaryRatUsageDataReport, ...], CO(ie.SECONDARY_RAT_USAGE_DATA_REPORT)] = ()


@message(MessageType.CHANGE_NOTIFICATION_RESPONSE)
class ChangeNotificationResponse(Message):
    """TS 29.274 table 7.3.15-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    mei: Annotated[str | None, C(ie.MEI)] = None
    cause: Annotated[Cause, M(ie.CAUSE)]
    change_reporting_action: Annotated[ChangeReportingAction | int | None, CO(ie.CHANGE_REPORTING_ACTION)] = None
    csg_information_reporting_action: Annotated[CsgInformationReportingAction | None, CO(ie.CSG_INFORMATION_REPORTING_ACTION)] = None
    presence_reporting_area_actions: Annotated[tuple[bytes, ...], CO(ie.PRESENCE_REPORTING_AREA_ACTION)] = ()


# --- CS fallback, suspension and resumption, TS 29.274 clause 7.4 --------------------------------------------------------------


@message(MessageType.SUSPEND_NOTIFICATION)
class SuspendNotification(Message):
    """TS 29.274 table 7.4.1-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    rai: Annotated[Uli | None, C(ie.ULI)] = None
    linked_ebi: Annotated[Ebi | None, C(ie.EBI)] = None
    p_tmsi: Annotated[int | None, C(ie.P_TMSI)] = None
    originating_node: Annotated[NodeType | int | None, C(ie.NODE_TYPE)] = None
    control_plane_address: Annotated[IpAddress | None, C(ie.IP_ADDRESS)] = None
    udp_source_port_number: Annotated[int | None, C(ie.PORT_NUMBER)] = None
    hop_counter: Annotated[int | None, O(ie.HOP_COUNTER)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None


@message(MessageType.SUSPEND_ACKNOWLEDGE)
class SuspendAcknowledge(Message):
    """TS 29.274 table 7.4.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]


@message(MessageType.RESUME_NOTIFICATION)
class ResumeNotification(Message):
    """TS 29.274 table 7.4.3-1."""

    imsi: Annotated[Imsi, M(ie.IMSI)]
    linked_ebi: Annotated[Ebi | None, C(ie.EBI)] = None
    originating_node: Annotated[NodeType | int | None, C(ie.NODE_TYPE)] = None
    sender_fteid: Annotated[Fteid | None, O(ie.F_TEID)] = None


@message(MessageType.RESUME_ACKNOWLEDGE)
class ResumeAcknowledge(Message):
    """TS 29.274 table 7.4.4-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]


# --- interworking with HRPD, TS 29.274 clause 7.8 -----------------------------------------------------------------------------


@message(MessageType.CREATE_FORWARDING_TUNNEL_REQUEST)
class CreateForwardingTunnelRequest(Message):
    """TS 29.274 table 7.8.1-1; the S103 addresses as octets."""

    s103_pdn_data_forwarding_info: Annotated[tuple[bytes, ...], M(ie.S103PDF)]


@message(MessageType.CREATE_FORWARDING_TUNNEL_RESPONSE)
class CreateForwardingTunnelResponse(Message):
    """TS 29.274 table 7.8.2-1; the S1-U addresses as octets."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_data_forwarding_info: Annotated[tuple[bytes, ...], C(ie.S1UDF)] = ()


# --- restoration and recovery, TS 29.274 clause 7.9 ---------------------------------------------------------------------------


@message(MessageType.DELETE_PDN_CONNECTION_SET_REQUEST)
class DeletePdnConnectionSetRequest(Message):
    """TS 29.274 table 7.9.1-1."""

    mme_fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID, 0)] = ()
    sgw_fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID, 1)] = ()
    pgw_fq_csids: Annotated[tuple[FqCsid, ...], C(ie.FQ_CSID, 2)] = ()


@message(MessageType.DELETE_PDN_CONNECTION_SET_RESPONSE)
class DeletePdnConnectionSetResponse(Message):
    """TS 29.274 table 7.9.2-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None


@message(MessageType.UPDATE_PDN_CONNECTION_SET_REQUEST)
class UpdatePdnConnectionSetRequest(Message):
    """TS 29.274 table 7.9.3-1."""

    mme_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 0)] = None
    sgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID, 1)] = None


@message(MessageType.UPDATE_PDN_CONNECTION_SET_RESPONSE)
class UpdatePdnConnectionSetResponse(Message):
    """TS 29.274 table 7.9.4-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    pgw_fq_csid: Annotated[FqCsid | None, C(ie.FQ_CSID)] = None
    recovery: Annotated[int | None, CO(ie.RECOVERY)] = None


@message(MessageType.PGW_RESTART_NOTIFICATION)
class PgwRestartNotification(Message):
    """TS 29.274 table 7.9.5-1."""

    pgw_address: Annotated[IpAddress, M(ie.IP_ADDRESS, 0)]
    sgw_address: Annotated[IpAddress, M(ie.IP_ADDRESS, 1)]
    cause: Annotated[Cause | None, CO(ie.CAUSE)] = None


@message(MessageType.PGW_RESTART_NOTIFICATION_ACKNOWLEDGE)
class PgwRestartNotificationAcknowledge(Message):
    """TS 29.274 table 7.9.6-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]


@message(MessageType.PGW_DOWNLINK_TRIGGERING_NOTIFICATION)
class PgwDownlinkTriggeringNotification(Message):
    """TS 29.274 table 7.9.7-1."""

    imsi: Annotated[Imsi, M(ie.IMSI)]
    mme_identifier: Annotated[IpAddress | None, C(ie.IP_ADDRESS)] = None
    pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None


@message(MessageType.PGW_DOWNLINK_TRIGGERING_ACKNOWLEDGE)
class PgwDownlinkTriggeringAcknowledge(Message):
    """TS 29.274 table 7.9.8-1."""

    cause: Annotated[Cause, M(ie.CAUSE)]
    imsi: Annotated[Imsi | None, CO(ie.IMSI)] = None
    mme_identifier: Annotated[IpAddress | None, C(ie.IP_ADDRESS)] = None


# --- trace management, TS 29.274 clause 7.12 ----------------------------------------------------------------------------------


@message(MessageType.TRACE_SESSION_ACTIVATION)
class TraceSessionActivation(Message):
    """TS 29.274 table 7.12.1-1."""

    imsi: Annotated[Imsi | None, C(ie.IMSI)] = None
    trace_information: Annotated[TraceInformation, M(ie.TRACE_INFORMATION)]
    mei: Annotated[str | None, C(ie.MEI)] = None


@message(MessageType.TRACE_SESSION_DEACTIVATION)
class TraceSessionDeactivation(Message):
    """TS 29.274 table 7.12.2-1."""

    trace_reference: Annotated[TraceReference, M(ie.TRACE_REFERENCE)]
