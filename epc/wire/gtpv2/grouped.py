"""Grouped elements: the bearer contexts of each message, load and overload control (TS 29.274 clauses 7.2 and 12).

Annotations are read when the classes are made, so this module does without postponed evaluation.
"""

from typing import Annotated

from epc.wire.gtpv2 import elements as ie
from epc.wire.gtpv2.elements import (
    ApnAndRelativeCapacity,
    BearerQos,
    Cause,
    EpcTimer,
    Fteid,
    IpAddress,
    MaximumPacketLossRate,
    RanNasCause,
)
from epc.wire.gtpv2.enums import BearerFlags
from epc.wire.gtpv2.table import CO, C, GroupedIe, M, O, grouped
from epc.wire.identity import Ebi

_BEARER_CONTEXT = 93


@grouped(_BEARER_CONTEXT, "Bearer Contexts to be created")
class BearerContextToBeCreated(GroupedIe):
    """Create Session Request (TS 29.274 table 7.2.1-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    tft: Annotated[bytes | None, O(ie.BEARER_TFT)] = None
    s1u_enb_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s5u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s5u_pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    s12_rnc_fteid: Annotated[Fteid | None, CO(ie.F_TEID, 4)] = None
    s11u_mme_fteid: Annotated[Fteid | None, CO(ie.F_TEID, 7)] = None
    bearer_qos: Annotated[BearerQos, M(ie.BEARER_QOS)]


@grouped(_BEARER_CONTEXT, "Bearer Contexts to be removed")
class BearerContextToBeRemoved(GroupedIe):
    """Create Session, Modify Bearer and Modify Access Bearers Request (TS 29.274 tables 7.2.1-3, 7.2.7-3, 7.2.24-3)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts created")
class BearerContextCreated(GroupedIe):
    """Create Session Response (TS 29.274 table 7.2.2-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s4u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s5u_pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s12_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    s11u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 6)] = None
    bearer_qos: Annotated[BearerQos | None, C(ie.BEARER_QOS)] = None
    charging_id: Annotated[int | None, C(ie.CHARGING_ID)] = None
    bearer_flags: Annotated[BearerFlags | None, O(ie.BEARER_FLAGS)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts marked for removal")
class BearerContextMarkedForRemoval(GroupedIe):
    """Create Session, Modify Bearer and Modify Access Bearers Response (TS 29.274 tables 7.2.2-3, 7.2.8-3, 7.2.25-3)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextCreateRequested(GroupedIe):
    """Create Bearer Request (TS 29.274 table 7.2.3-2); ``ebi`` is 0, the MME gives the identity."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    tft: Annotated[bytes, M(ie.BEARER_TFT)]
    s1u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s5u_pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s12_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s4u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    bearer_qos: Annotated[BearerQos, M(ie.BEARER_QOS)]
    charging_id: Annotated[int | None, C(ie.CHARGING_ID)] = None
    bearer_flags: Annotated[BearerFlags | None, O(ie.BEARER_FLAGS)] = None
    pco: Annotated[bytes | None, O(ie.PCO)] = None
    epco: Annotated[bytes | None, O(ie.EPCO)] = None
    maximum_packet_loss_rate: Annotated[MaximumPacketLossRate | None, O(ie.MAXIMUM_PACKET_LOSS_RATE)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextCreateAnswered(GroupedIe):
    """Create Bearer Response (TS 29.274 table 7.2.4-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_enb_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s1u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s5u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s5u_pgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    s12_rnc_fteid: Annotated[Fteid | None, C(ie.F_TEID, 4)] = None
    s12_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 5)] = None
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID, 6)] = None
    s4u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 7)] = None
    pco: Annotated[bytes | None, CO(ie.PCO)] = None
    ran_nas_causes: Annotated[tuple[RanNasCause, ...], CO(ie.RAN_NAS_CAUSE)] = ()
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts to be modified")
class BearerContextToBeModified(GroupedIe):
    """Modify Bearer and Modify Access Bearers Request (TS 29.274 tables 7.2.7-2, 7.2.24-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    s1u_enb_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s5u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s12_rnc_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    s11u_mme_fteid: Annotated[Fteid | None, CO(ie.F_TEID, 4)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts modified")
class BearerContextModified(GroupedIe):
    """Modify Bearer Response (TS 29.274 table 7.2.8-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s12_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s4u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    s11u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    charging_id: Annotated[int | None, C(ie.CHARGING_ID)] = None
    bearer_flags: Annotated[BearerFlags | None, CO(ie.BEARER_FLAGS)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts to be modified")
class AccessBearerContextToBeModified(GroupedIe):
    """Modify Access Bearers Request (TS 29.274 table 7.2.24-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    s1u_enb_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s11u_mme_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts modified")
class AccessBearerContextModified(GroupedIe):
    """Modify Access Bearers Response (TS 29.274 table 7.2.25-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s11u_sgw_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextUpdateRequested(GroupedIe):
    """Update Bearer Request (TS 29.274 table 7.2.15-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    tft: Annotated[bytes | None, C(ie.BEARER_TFT)] = None
    bearer_qos: Annotated[BearerQos | None, C(ie.BEARER_QOS)] = None
    bearer_flags: Annotated[BearerFlags | None, O(ie.BEARER_FLAGS)] = None
    pco: Annotated[bytes | None, CO(ie.PCO)] = None
    apco: Annotated[bytes | None, O(ie.APCO)] = None
    epco: Annotated[bytes | None, O(ie.EPCO)] = None
    maximum_packet_loss_rate: Annotated[MaximumPacketLossRate | None, O(ie.MAXIMUM_PACKET_LOSS_RATE)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextUpdateAnswered(GroupedIe):
    """Update Bearer Response (TS 29.274 table 7.2.16-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s4u_sgsn_fteid: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s12_rnc_fteid: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    pco: Annotated[bytes | None, CO(ie.PCO)] = None
    ran_nas_causes: Annotated[tuple[RanNasCause, ...], CO(ie.RAN_NAS_CAUSE)] = ()
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None


@grouped(_BEARER_CONTEXT, "Failed Bearer Contexts")
class FailedBearerContext(GroupedIe):
    """Delete Bearer Request and Delete Bearer Failure Indication (TS 29.274 tables 7.2.9.2-2, 7.2.17.2-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextDeleteAnswered(GroupedIe):
    """Delete Bearer Response (TS 29.274 table 7.2.10.2-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    pco: Annotated[bytes | None, CO(ie.PCO)] = None
    ran_nas_causes: Annotated[tuple[RanNasCause, ...], CO(ie.RAN_NAS_CAUSE)] = ()
    epco: Annotated[bytes | None, CO(ie.EPCO)] = None


@grouped(_BEARER_CONTEXT, "Bearer Context")
class BearerContextModifyCommanded(GroupedIe):
    """Modify Bearer Command (TS 29.274 table 7.2.14.1-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    bearer_qos: Annotated[BearerQos | None, C(ie.BEARER_QOS)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextDeleteCommanded(GroupedIe):
    """Delete Bearer Command (TS 29.274 table 7.2.17.1-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    bearer_flags: Annotated[BearerFlags | None, CO(ie.BEARER_FLAGS)] = None
    ran_nas_release_causes: Annotated[tuple[RanNasCause, ...], CO(ie.RAN_NAS_CAUSE)] = ()


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextForwardingRequested(GroupedIe):
    """Create Indirect Data Forwarding Tunnel Request (TS 29.274 table 7.2.18-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    enb_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    sgw_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    sgsn_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    rnc_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    enb_fteid_for_ul_data_forwarding: Annotated[Fteid | None, O(ie.F_TEID, 4)] = None
    sgw_fteid_for_ul_data_forwarding: Annotated[Fteid | None, O(ie.F_TEID, 5)] = None
    mme_fteid_for_dl_data_forwarding: Annotated[Fteid | None, CO(ie.F_TEID, 6)] = None


@grouped(_BEARER_CONTEXT, "Bearer Contexts")
class BearerContextForwardingAnswered(GroupedIe):
    """Create Indirect Data Forwarding Tunnel Response (TS 29.274 table 7.2.19-2)."""

    ebi: Annotated[Ebi | int, M(ie.EBI)]
    cause: Annotated[Cause, M(ie.CAUSE)]
    s1u_sgw_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 0)] = None
    s12_sgw_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 1)] = None
    s4u_sgw_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 2)] = None
    sgw_fteid_for_dl_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 3)] = None
    s1u_sgw_fteid_for_ul_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 4)] = None
    sgw_fteid_for_ul_data_forwarding: Annotated[Fteid | None, C(ie.F_TEID, 5)] = None


@grouped(180, "Overload Control Information")
class OverloadControlInformation(GroupedIe):
    """TS 29.274 clause 12.3; ``apns`` limits a PGW's overload to them."""

    sequence_number: Annotated[int, M(ie.SEQUENCE_NUMBER)]
    overload_reduction_metric: Annotated[int, M(ie.METRIC)]
    period_of_validity: Annotated[EpcTimer, M(ie.EPC_TIMER)]
    apns: Annotated[tuple[str, ...], CO(ie.APN)] = ()


@grouped(181, "Load Control Information")
class LoadControlInformation(GroupedIe):
    """TS 29.274 clause 12.2; ``apns`` makes it a load per APN."""

    sequence_number: Annotated[int, M(ie.SEQUENCE_NUMBER)]
    load_metric: Annotated[int, M(ie.METRIC)]
    apns: Annotated[tuple[ApnAndRelativeCapacity, ...], CO(ie.APN_AND_RELATIVE_CAPACITY)] = ()


@grouped(191, "Remote UE Context")
class RemoteUeContext(GroupedIe):
    """A UE behind a ProSe relay (TS 29.274 table 7.2.1-5); both elements as octets."""

    remote_user_id: Annotated[bytes, M(ie.REMOTE_USER_ID)]
    remote_ue_ip_information: Annotated[bytes | None, C(ie.REMOTE_UE_IP_INFORMATION)] = None


@grouped(214, "PGW Change Info")
class PgwChangeInfo(GroupedIe):
    """Where else the PDN connection may be served (TS 29.274 table 7.2.2-6)."""

    pgw_set_fqdn: Annotated[str | None, O(ie.PGW_SET_FQDN)] = None
    alternative_pgw_addresses: Annotated[tuple[IpAddress, ...], O(ie.IP_ADDRESS, 0)] = ()
    new_pgw_address: Annotated[IpAddress | None, O(ie.IP_ADDRESS, 1)] = None
