"""Golden pairs of PFCP: a message and its datagram, annotated element by element; each runs both ways, and past two other decoders."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from pycrate_mobile.TS29244_PFCP import parse_PFCP

from epc.wire.pfcp import (
    ApplicationDetectionInformation,
    ApplicationIdsPfds,
    ApplyAction,
    AssociationReleaseRequest,
    AssociationSetupRequest,
    AssociationSetupResponse,
    BitRate,
    CauseValue,
    ChooseFteid,
    CpFunctionFeatures,
    CreatedPdr,
    CreateFar,
    CreatePdr,
    CreateQer,
    CreateUrr,
    DownlinkDataReport,
    DownlinkDataServiceInformation,
    DuplicatingParameters,
    ErrorIndicationReport,
    FailedRuleId,
    ForwardingParameters,
    Fseid,
    Fteid,
    GateStatus,
    GateValue,
    HeartbeatRequest,
    MeasurementMethod,
    Message,
    NodeReportRequest,
    NodeReportType,
    OuterHeaderCreation,
    OuterHeaderRemoval,
    OuterHeaderRemovalDescription,
    Packet,
    Pdi,
    PdnType,
    PfdContents,
    PfdContext,
    PfdManagementRequest,
    PfdManagementResponse,
    RedirectAddressType,
    RedirectInformation,
    RemoteGtpuPeer,
    RemovePdr,
    ReportingTriggers,
    ReportType,
    RuleType,
    SdfFilter,
    SessionDeletionRequest,
    SessionDeletionResponse,
    SessionEstablishmentRequest,
    SessionEstablishmentResponse,
    SessionModificationRequest,
    SessionReportRequest,
    SessionReportResponse,
    SmReqFlags,
    SourceInterface,
    SrRspFlags,
    UeIpAddress,
    UnknownIe,
    UpdateFar,
    UpdateForwardingParameters,
    UpFunctionFeatures,
    UsageReport,
    UsageReportAtDeletion,
    UsageReportTrigger,
    UserPlaneIpResourceInformation,
    UserPlanePathFailureReport,
    VersionNotSupportedResponse,
    Volume,
    decode,
    encode,
)

CP, UP = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.4")
ALL_V6 = IPv6Address("2001:db8::4")

GOLDEN: dict[str, tuple[Message, int | None, int, str]] = {
    "heartbeat request": (
        HeartbeatRequest(recovery_time_stamp_ntp=0xEDB88320), None, 0x000102,
        """
        20 01 00 0c            version 1, no SEID; Heartbeat Request
        00 01 02 00            sequence number
        00 60 00 04 ed b8 83 20            Recovery Time Stamp
        """,
    ),
    "association setup request": (
        AssociationSetupRequest(
            node_id=CP, recovery_time_stamp_ntp=0xEDB88320, cp_function_features=CpFunctionFeatures.LOAD
        ), None, 1,
        """
        20 05 00 1a            Association Setup Request
        00 00 01 00
        00 3c 00 05 00 0a 00 00 02         Node ID: IPv4 10.0.0.2
        00 60 00 04 ed b8 83 20            Recovery Time Stamp
        00 59 00 01 01                     CP Function Features: LOAD
        """,
    ),
    "association setup response": (
        AssociationSetupResponse(
            node_id="sgwu1.epc", cause=CauseValue.REQUEST_ACCEPTED, recovery_time_stamp_ntp=1,
            up_function_features=UpFunctionFeatures.FTUP | UpFunctionFeatures.EMPU,
            user_plane_ip_resources=(
                UserPlaneIpResourceInformation(
                    ipv4=UP, ipv6=ALL_V6, teid_range_bits=1, teid_range=0x80, network_instance=b"\x03epc", source_interface=SourceInterface.ACCESS
                ),
            ),
        ), None, 1,
        """
        20 06 00 45            Association Setup Response
        00 00 01 00
        00 3c 00 0b 02 05 73 67 77 75 31 03 65 70 63        Node ID: FQDN sgwu1.epc
        00 13 00 01 01                     Cause: request accepted
        00 60 00 04 00 00 00 01            Recovery Time Stamp
        00 2b 00 02 10 01                  UP Function Features: FTUP, EMPU
        00 74 00 1b 67 80                  User Plane IP Resource Information: V4, V6, 1 TEID range bit, ASSONI, ASSOSI; range
              0a 00 00 04  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 04  03 65 70 63  00
        """,
    ),
    "association release request": (
        AssociationReleaseRequest(node_id=ALL_V6), None, 2,
        """
        20 09 00 19  00 00 02 00
        00 3c 00 11 01 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 04       Node ID: IPv6
        """,
    ),
    "version not supported response": (VersionNotSupportedResponse(), None, 3, "20 0b 00 04 00 00 03 00"),
    "node report request": (
        NodeReportRequest(
            node_id=UP, node_report_type=NodeReportType.UPFR,
            user_plane_path_failure_report=UserPlanePathFailureReport(remote_gtpu_peers=(RemoteGtpuPeer(ipv4=CP),)),
        ), None, 4,
        """
        20 0c 00 1f  00 00 04 00
        00 3c 00 05 00 0a 00 00 04         Node ID
        00 65 00 01 01                     Node Report Type: UPFR
        00 66 00 09                        User Plane Path Failure Report
          00 67 00 05 02 0a 00 00 02         Remote GTP-U Peer
        """,
    ),
    "session establishment request to an SGW-U": (
        SessionEstablishmentRequest(
            node_id=CP, cp_fseid=Fseid(seid=0x1001, ipv4=CP), pdn_type=PdnType.IPV4,
            create_pdrs=(
                CreatePdr(
                    pdr_id=10, precedence=255, pdi=Pdi(source_interface=SourceInterface.ACCESS, local_fteid=Fteid(teid=0x7001, ipv4=UP)),
                    outer_header_removal=OuterHeaderRemoval(description=OuterHeaderRemovalDescription.GTP_U_UDP_IPV4), far_id=10, urr_ids=(1,),
                ),
                CreatePdr(
                    pdr_id=11, precedence=255,
                    pdi=Pdi(source_interface=SourceInterface.CORE, local_fteid=ChooseFteid(ipv4=True, choose_id=5)),
                    outer_header_removal=OuterHeaderRemoval(description=OuterHeaderRemovalDescription.GTP_U_UDP_IPV4), far_id=11,
                ),
            ),
            create_fars=(
                CreateFar(
                    far_id=10, apply_action=ApplyAction.FORW,
                    forwarding_parameters=ForwardingParameters(
                        destination_interface=SourceInterface.CORE, outer_header_creation=OuterHeaderCreation.gtpu(0x5001, "10.0.0.6")),
                ),
                CreateFar(far_id=11, apply_action=ApplyAction.BUFF | ApplyAction.NOCP),
            ),
            create_urrs=(
                CreateUrr(
                    urr_id=1, measurement_method=MeasurementMethod.VOLUM, reporting_triggers=ReportingTriggers.VOLTH | ReportingTriggers.VOLQU,
                    volume_threshold=Volume(total_octets=1000), volume_quota=Volume(uplink_octets=1, downlink_octets=2),
                ),
            ),
        ), 0, 0x15,
        """
        21 32 01 08            with SEID; Session Establishment Request
        00 00 00 00 00 00 00 00            SEID: the peer's is not known yet
        00 00 15 00
        00 3c 00 05 00 0a 00 00 02         Node ID
        00 39 00 0d 02 00 00 00 00 00 00 10 01 0a 00 00 02           CP F-SEID: V4
        00 01 00 39                        Create PDR
          00 38 00 02 00 0a                  PDR ID
          00 1d 00 04 00 00 00 ff            Precedence
          00 02 00 12                        PDI
            00 14 00 01 00                     Source Interface: access
            00 15 00 09 01 00 00 70 01 0a 00 00 04                   F-TEID: V4
          00 5f 00 01 00                     Outer Header Removal: GTP-U/UDP/IPv4
          00 6c 00 04 00 00 00 0a            FAR ID
          00 51 00 04 00 00 00 01            URR ID
        00 01 00 2a                        Create PDR
          00 38 00 02 00 0b  00 1d 00 04 00 00 00 ff
          00 02 00 0b                        PDI
            00 14 00 01 01                     Source Interface: core
            00 15 00 02 0d 05                  F-TEID: V4, CHOOSE, CHOOSE ID 5
          00 5f 00 01 00  00 6c 00 04 00 00 00 0b
        00 03 00 24                        Create FAR
          00 6c 00 04 00 00 00 0a            FAR ID
          00 2c 00 01 02                     Apply Action: FORW
          00 04 00 13                        Forwarding Parameters
            00 2a 00 01 01                     Destination Interface: core
            00 54 00 0a 01 00 00 00 50 01 0a 00 00 06     Outer Header Creation: GTP-U/UDP/IPv4
        00 03 00 0d                        Create FAR
          00 6c 00 04 00 00 00 0b  00 2c 00 01 0c         Apply Action: BUFF, NOCP
        00 06 00 35                        Create URR
          00 51 00 04 00 00 00 01            URR ID
          00 3e 00 01 02                     Measurement Method: VOLUM
          00 25 00 02 02 01                  Reporting Triggers: VOLTH, VOLQU
          00 1f 00 09 01 00 00 00 00 00 00 03 e8          Volume Threshold: total
          00 49 00 11 06 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 02      Volume Quota: uplink, downlink
        00 71 00 01 01                     PDN Type: IPv4
        """,
    ),
    "session establishment request to a PGW-U": (
        SessionEstablishmentRequest(
            node_id=CP, cp_fseid=Fseid(seid=1, ipv4=CP, ipv6=ALL_V6),
            create_pdrs=(
                CreatePdr(
                    pdr_id=1, precedence=0xFFFFFFFF, far_id=1, qer_ids=(7,),
                    pdi=Pdi(
                        source_interface=SourceInterface.CORE, network_instance=b"\x08internet",
                        ue_ip_address=UeIpAddress(ipv4=IPv4Address("10.45.0.1"), is_destination=True),
                        sdf_filters=(SdfFilter(flow_description="permit out ip from any to assigned"),),
                    ),
                ),
            ),
            create_fars=(CreateFar(far_id=1, apply_action=ApplyAction.DROP),),
            create_qers=(
                CreateQer(
                    qer_id=7, gate_status=GateStatus(uplink=GateValue.CLOSED), mbr=BitRate(uplink_kbps=50_000, downlink_kbps=0x100000000),
                    gbr=BitRate(uplink_kbps=1, downlink_kbps=2),
                ),
            ),
        ), 0, 0x16,
        """
        21 32 00 df  00 00 00 00 00 00 00 00  00 00 16 00
        00 3c 00 05 00 0a 00 00 02
        00 39 00 1d 03 00 00 00 00 00 00 00 01 0a 00 00 02 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 04     CP F-SEID: V4, V6
        00 01 00 67                        Create PDR
          00 38 00 02 00 01  00 1d 00 04 ff ff ff ff
          00 02 00 45                        PDI
            00 14 00 01 01
            00 16 00 09 08 69 6e 74 65 72 6e 65 74      Network Instance: internet
            00 5d 00 05 06 0a 2d 00 01                  UE IP Address: V4, destination
            00 17 00 26 01 00 00 22                     SDF Filter: flow description of 34 octets
              70 65 72 6d 69 74 20 6f 75 74 20 69 70 20 66 72 6f 6d 20 61 6e 79 20 74 6f 20 61 73 73 69 67 6e 65 64
          00 6c 00 04 00 00 00 01
          00 6d 00 04 00 00 00 07            QER ID
        00 03 00 0d  00 6c 00 04 00 00 00 01  00 2c 00 01 01             Create FAR: DROP
        00 07 00 29                        Create QER
          00 6d 00 04 00 00 00 07
          00 19 00 01 04                     Gate Status: uplink closed
          00 1a 00 0a 00 00 00 c3 50 01 00 00 00 00       MBR
          00 1b 00 0a 00 00 00 00 01 00 00 00 00 02       GBR
        """,
    ),
    "session establishment response": (
        SessionEstablishmentResponse(
            node_id=UP, cause=CauseValue.REQUEST_ACCEPTED, up_fseid=Fseid(seid=0x2002, ipv4=UP),
            created_pdrs=(CreatedPdr(pdr_id=11, local_fteid=Fteid(teid=0x3001, ipv4=UP)),),
        ), 0x1001, 0x15,
        """
        21 33 00 42  00 00 00 00 00 00 10 01  00 00 15 00
        00 3c 00 05 00 0a 00 00 04         Node ID
        00 13 00 01 01                     Cause: request accepted
        00 39 00 0d 02 00 00 00 00 00 00 20 02 0a 00 00 04           UP F-SEID
        00 08 00 13                        Created PDR
          00 38 00 02 00 0b
          00 15 00 09 01 00 00 30 01 0a 00 00 04
        """,
    ),
    "session establishment response that rejects": (
        SessionEstablishmentResponse(
            node_id=UP, cause=CauseValue.RULE_CREATION_OR_MODIFICATION_FAILURE, failed_rule_id=FailedRuleId(type=RuleType.FAR, id=11)
        ), 0x1001, 0x15,
        """
        21 33 00 23  00 00 00 00 00 00 10 01  00 00 15 00
        00 3c 00 05 00 0a 00 00 04
        00 13 00 01 49                     Cause: rule creation/modification failure
        00 72 00 05 01 00 00 00 0b         Failed Rule ID: FAR 11
        """,
    ),
    "session modification request": (
        SessionModificationRequest(
            remove_pdrs=(RemovePdr(pdr_id=3),),
            update_fars=(
                UpdateFar(
                    far_id=11, apply_action=ApplyAction.FORW,
                    update_forwarding_parameters=UpdateForwardingParameters(
                        outer_header_creation=OuterHeaderCreation.gtpu(0x8001, "2001:db8::4"), flags=SmReqFlags.SNDEM),
                ),
            ),
            flags=SmReqFlags.DROBU,
        ), 0x2002, 0x17,
        """
        21 34 00 4f  00 00 00 00 00 00 20 02  00 00 17 00
        00 0f 00 06  00 38 00 02 00 03     Remove PDR
        00 0a 00 30                        Update FAR
          00 6c 00 04 00 00 00 0b
          00 2c 00 01 02
          00 0b 00 1f                        Update Forwarding Parameters
            00 54 00 16 02 00 00 00 80 01 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 04    Outer Header Creation: GTP-U/UDP/IPv6
            00 31 00 01 02                     PFCPSMReq-Flags: SNDEM
        00 31 00 01 01                     PFCPSMReq-Flags: DROBU
        """,
    ),
    "session deletion request": (SessionDeletionRequest(), 0x2002, 0x18, "21 36 00 0c 00 00 00 00 00 00 20 02 00 00 18 00"),
    "session deletion response": (
        SessionDeletionResponse(
            cause=CauseValue.REQUEST_ACCEPTED,
            usage_reports=(
                UsageReportAtDeletion(
                    urr_id=1, ur_seqn=0, usage_report_trigger=UsageReportTrigger.TERMR, start_time_ntp=1, end_time_ntp=2,
                    volume_measurement=Volume(total_octets=5, uplink_octets=2, downlink_octets=3), duration_measurement_s=1,
                ),
            ),
        ), 0x1001, 0x18,
        """
        21 37 00 60  00 00 00 00 00 00 10 01  00 00 18 00
        00 13 00 01 01
        00 4f 00 4b                        Usage Report (Session Deletion Response)
          00 51 00 04 00 00 00 01            URR ID
          00 68 00 04 00 00 00 00            UR-SEQN
          00 3f 00 02 00 08                  Usage Report Trigger: TERMR
          00 4b 00 04 00 00 00 01            Start Time
          00 4c 00 04 00 00 00 02            End Time
          00 42 00 19 07 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 03
          00 43 00 04 00 00 00 01            Duration Measurement
        """,
    ),
    "session report request: downlink data": (
        SessionReportRequest(
            report_type=ReportType.DLDR,
            downlink_data_report=DownlinkDataReport(
                pdr_ids=(11,), downlink_data_service_information=(DownlinkDataServiceInformation(paging_policy_indication=46),)
            ),
        ), 0x1001, 0x19,
        """
        21 38 00 21  00 00 00 00 00 00 10 01  00 00 19 00
        00 27 00 01 01                     Report Type: DLDR
        00 53 00 0c                        Downlink Data Report
          00 38 00 02 00 0b
          00 2d 00 02 01 2e                  Downlink Data Service Information: PPI 46
        """,
    ),
    "session report request: usage and error indication": (
        SessionReportRequest(
            report_type=ReportType.USAR | ReportType.ERIR,
            usage_reports=(
                UsageReport(urr_id=1, ur_seqn=3, usage_report_trigger=UsageReportTrigger.PERIO, volume_measurement=Volume(total_octets=9)),
            ),
            error_indication_report=ErrorIndicationReport(remote_fteids=(Fteid(teid=0x8001, ipv4=UP),)),
        ), 0x1001, 0x1A,
        """
        21 38 00 49  00 00 00 00 00 00 10 01  00 00 1a 00
        00 27 00 01 06
        00 50 00 23                        Usage Report (Session Report Request)
          00 51 00 04 00 00 00 01  00 68 00 04 00 00 00 03  00 3f 00 02 01 00
          00 42 00 09 01 00 00 00 00 00 00 00 09
        00 63 00 0d                        Error Indication Report
          00 15 00 09 01 00 00 80 01 0a 00 00 04
        """,
    ),
    "session report response": (
        SessionReportResponse(cause=CauseValue.REQUEST_ACCEPTED, flags=SrRspFlags.DROBU), 0x2002, 0x19,
        """
        21 39 00 16  00 00 00 00 00 00 20 02  00 00 19 00
        00 13 00 01 01
        00 32 00 01 01                     PFCPSRRsp-Flags: DROBU
        """,
    ),
    "PFD management request": (
        PfdManagementRequest(
            application_ids_pfds=(
                ApplicationIdsPfds(application_id=b"video", pfd_contexts=(
                    PfdContext(pfd_contents=(
                        PfdContents(domain_name="video.example"), PfdContents(flow_description="permit out 17 from any 5000 to assigned"),
                    )),
                )),
                ApplicationIdsPfds(application_id=b"old"),
            )
        ), None, 0x1B,
        """
        20 03 00 64  00 00 1b 00           PFD Management Request
        00 3a 00 51                        Application ID's PFDs
          00 18 00 05 76 69 64 65 6f         Application ID: video
          00 3b 00 44                        PFD Context
            00 3d 00 11 04 00                  PFD Contents: DN; spare
              00 0d 76 69 64 65 6f 2e 65 78 61 6d 70 6c 65
            00 3d 00 2b 01 00                  PFD Contents: FD
              00 27 70 65 72 6d 69 74 20 6f 75 74 20 31 37 20 66 72 6f 6d 20 61 6e 79 20 35 30 30 30 20 74 6f 20 61 73 73 69 67 6e 65 64
        00 3a 00 07                        Application ID's PFDs: none any more
          00 18 00 03 6f 6c 64
        """,
    ),
    "PFD management response": (
        PfdManagementResponse(cause=CauseValue.MANDATORY_IE_INCORRECT, offending_ie=61), None, 0x1B,
        """
        20 04 00 0f  00 00 1b 00
        00 13 00 01 45                     Cause: mandatory IE incorrect
        00 28 00 02 00 3d                  Offending IE: PFD Contents
        """,
    ),
    "session modification request: redirection, copies, quotas and an application": (
        SessionModificationRequest(
            create_pdrs=(CreatePdr(
                pdr_id=5, precedence=10, far_id=5, urr_ids=(1001,),
                pdi=Pdi(source_interface=SourceInterface.ACCESS, local_fteid=Fteid(teid=0x5001, ipv4=UP), application_id=b"video"),
                outer_header_removal=OuterHeaderRemoval(description=OuterHeaderRemovalDescription.GTP_U_UDP_IPV4),
            ),),
            create_fars=(CreateFar(
                far_id=5, apply_action=ApplyAction.FORW | ApplyAction.DUPL,
                forwarding_parameters=ForwardingParameters(
                    destination_interface=SourceInterface.CORE,
                    redirect_information=RedirectInformation(type=RedirectAddressType.URL, address="http://topup.example/"),
                ),
                duplicating_parameters=(
                    DuplicatingParameters(
                        destination_interface=SourceInterface.LI_FUNCTION, outer_header_creation=OuterHeaderCreation.gtpu(9, "10.0.0.9")),
                ),
            ),),
            create_urrs=(CreateUrr(
                urr_id=1001, measurement_method=MeasurementMethod.DURAT | MeasurementMethod.VOLUM,
                reporting_triggers=ReportingTriggers.VOLTH | ReportingTriggers.TIMTH | ReportingTriggers.QUHTI | ReportingTriggers.START
                | ReportingTriggers.VOLQU | ReportingTriggers.TIMQU,
                volume_threshold=Volume(total_octets=800), volume_quota=Volume(total_octets=1000), time_threshold_s=50, time_quota_s=60,
                quota_holding_time_s=30, inactivity_detection_time_s=10,
            ),),
        ), 0x1001, 0x1C,
        """
        21 34 00 f0  00 00 00 00 00 00 10 01  00 00 1c 00
        00 01 00 42                        Create PDR
          00 38 00 02 00 05  00 1d 00 04 00 00 00 0a
          00 02 00 1b                        PDI
            00 14 00 01 00  00 15 00 09 01 00 00 50 01 0a 00 00 04
            00 18 00 05 76 69 64 65 6f         Application ID: video
          00 5f 00 01 00                     Outer Header Removal: GTP-U/UDP/IPv4
          00 6c 00 04 00 00 00 05            FAR ID
          00 51 00 04 00 00 03 e9            URR ID 1001
        00 03 00 49                        Create FAR
          00 6c 00 04 00 00 00 05
          00 2c 00 01 12                     Apply Action: DUPL, FORW
          00 04 00 21                        Forwarding Parameters
            00 2a 00 01 01
            00 26 00 18 02 00 15               Redirect Information: URL of 21 octets
              68 74 74 70 3a 2f 2f 74 6f 70 75 70 2e 65 78 61 6d 70 6c 65 2f
          00 05 00 13                        Duplicating Parameters
            00 2a 00 01 04                     Destination Interface: LI function
            00 54 00 0a 01 00 00 00 00 09 0a 00 00 09
        00 06 00 4d                        Create URR
          00 51 00 04 00 00 03 e9
          00 3e 00 01 03                     Measurement Method: VOLUM, DURAT
          00 25 00 02 1e 03                  Reporting Triggers: START, QUHTI, TIMTH, VOLTH; TIMQU, VOLQU
          00 1f 00 09 01 00 00 00 00 00 00 03 20       Volume Threshold
          00 49 00 09 01 00 00 00 00 00 00 03 e8       Volume Quota
          00 20 00 04 00 00 00 32            Time Threshold
          00 4a 00 04 00 00 00 3c            Time Quota
          00 47 00 04 00 00 00 1e            Quota Holding Time
          00 24 00 04 00 00 00 0a            Inactivity Detection Time
        """,
    ),
    "session report request: an application has started": (
        SessionReportRequest(
            report_type=ReportType.USAR,
            usage_reports=(
                UsageReport(urr_id=16, ur_seqn=0, usage_report_trigger=UsageReportTrigger.START, volume_measurement=Volume(total_octets=9),
                            application_detection_information=ApplicationDetectionInformation(application_id=b"video")),
            ),
        ), 0x1001, 0x1D,
        """
        21 38 00 45  00 00 00 00 00 00 10 01  00 00 1d 00
        00 27 00 01 02
        00 50 00 30                        Usage Report
          00 51 00 04 00 00 00 10  00 68 00 04 00 00 00 00  00 3f 00 02 10 00
          00 42 00 09 01 00 00 00 00 00 00 00 09
          00 44 00 09                        Application Detection Information
            00 18 00 05 76 69 64 65 6f
        """,
    ),
    "unknown elements, kept": (
        SessionModificationRequest(unknown=(UnknownIe(type=0x80FE, octets=bytes.fromhex("28af0102")), UnknownIe(type=700, octets=b"\x01"))), 1, 1,
        """
        21 34 00 19  00 00 00 00 00 00 00 01  00 00 01 00
        80 fe 00 04 28 af 01 02            a vendor's, its Enterprise ID first
        02 bc 00 01 01
        """,
    ),
}
NAMES = list(GOLDEN)


def octets_of(annotated: str) -> bytes:
    """The pairs of hexadecimal digits at the start of each line; two blanks and more may separate groups, words end them."""
    octets = bytearray()
    for line in annotated.strip().splitlines():
        found = re.match(r"\s*((?:[0-9a-f]{2}\s+)*[0-9a-f]{2})(?=\s|$)", line)
        if found:
            octets += bytes.fromhex(found.group(1))
    return bytes(octets)


@pytest.mark.parametrize("name", NAMES)
def test_message_encodes_to_its_octets(name: str) -> None:
    message, seid, sequence, annotated = GOLDEN[name]
    assert encode(message, seid=seid, sequence=sequence).hex(" ") == octets_of(annotated).hex(" ")


@pytest.mark.parametrize("name", NAMES)
def test_octets_decode_to_the_message(name: str) -> None:
    message, seid, sequence, annotated = GOLDEN[name]
    assert decode(octets_of(annotated)) == Packet(message=message, seid=seid, sequence=sequence)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"unknown elements, kept"}))
def test_pycrate_reads_the_same(name: str) -> None:
    octets = octets_of(GOLDEN[name][3])
    message, error = parse_PFCP(octets)
    assert error == 0
    assert message.to_bytes() == octets


def test_message_priority_travels_in_the_header() -> None:
    octets = encode(SessionDeletionRequest(), seid=1, sequence=2, message_priority=5)
    assert (octets[0], octets[15]) == (0x23, 0x50)
    assert decode(octets).message_priority == 5


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_nothing_wrong(tmp_path: Path) -> None:
    """All datagrams in one capture: tshark names each message and complains about none."""
    dump = tmp_path / "golden.hex"
    with dump.open("w") as file:
        for name in NAMES:
            file.write("".join(f"{offset:06x} {octet:02x}\n" for offset, octet in enumerate(octets_of(GOLDEN[name][3]))))
    capture = tmp_path / "golden.pcap"
    subprocess.run(["text2pcap", "-q", "-u", "8805,8805", str(dump), str(capture)], check=True, capture_output=True)
    shown = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "fields", "-e", "pfcp.msg_type", "-e", "_ws.expert.message", "-E", "separator=;"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()
    assert len(shown) == len(NAMES)
    for name, line in zip(NAMES, shown, strict=True):
        message_type, _, complaint = line.partition(";")
        assert int(message_type) == GOLDEN[name][0].message_type, name
        assert "alformed" not in complaint, (name, complaint)
        assert "xception" not in complaint, (name, complaint)
