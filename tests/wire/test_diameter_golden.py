"""Golden pairs of Diameter: a message and its octets, annotated AVP by AVP; each runs both ways, and past two other decoders."""

from __future__ import annotations

import datetime
import ipaddress
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from diameter.message import Message as OtherMessage

from epc.wire import diameter
from epc.wire.diameter import S6A_APPLICATION, ExperimentalResultCode, Message, RatType, ResultCode, experimental_result, gx, s6a
from epc.wire.diameter.avp import VENDOR_3GPP, TbcdDigits
from epc.wire.diameter.base import CapabilitiesExchangeRequest
from epc.wire.diameter.groups import AllocationRetentionPriority, PreEmptionCapability, PreEmptionVulnerability, VendorSpecificApplicationId
from epc.wire.diameter.policy import (
    ApplicationDetectionInformation,
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleReport,
    DefaultEpsBearerQos,
    FlowDirection,
    FlowInformation,
    FlowStatus,
    MuteNotification,
    PacketFilterInformation,
    PacketFilterOperation,
    PacketFilterUsage,
    PccRuleStatus,
    QosInformation,
    ResourceAllocationNotification,
    RuleFailureCode,
    ServiceUnit,
    UsageMonitoringInformation,
    UsageMonitoringLevel,
    UsageMonitoringReport,
    UsageMonitoringSupport,
)
from epc.wire.diameter.subscription import (
    AllApnConfigurationsIncludedIndicator,
    Ambr,
    ApnConfiguration,
    ApnConfigurationProfile,
    EpsSubscribedQosProfile,
    PdnType,
    SubscriptionData,
)
from epc.wire.identity import Plmn

ARP = AllocationRetentionPriority(
    priority_level=8, pre_emption_capability=PreEmptionCapability.PRE_EMPTION_CAPABILITY_DISABLED,
    pre_emption_vulnerability=PreEmptionVulnerability.PRE_EMPTION_VULNERABILITY_ENABLED)
AMBR = Ambr(max_requested_bandwidth_ul=50_000_000, max_requested_bandwidth_dl=100_000_000)

GOLDEN: dict[str, tuple[Message, str]] = {}

GOLDEN["capabilities exchange request"] = CapabilitiesExchangeRequest(
    origin_host="mme.lab", origin_realm="lab", host_ip_address=(ipaddress.IPv4Address("127.0.0.2"),), vendor_id=0, product_name="epclab",
    supported_vendor_id=(VENDOR_3GPP,),
    vendor_specific_application_id=(VendorSpecificApplicationId(vendor_id=VENDOR_3GPP, auth_application_id=S6A_APPLICATION),),
), """
    01000088 80000101 00000000 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000108 40 00000f  # Origin-Host
      6d6d652e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    00000101 40 00000e  # Host-IP-Address
      00017f0000020000
    0000010a 40 00000c  # Vendor-Id
      00000000
    0000010d 00 00000e  # Product-Name
      6570636c61620000
    00000109 40 00000c  # Supported-Vendor-Id
      000028af
    00000104 40 000020  # Vendor-Specific-Application-Id
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000102 40 00000c  # Auth-Application-Id
        01000023
"""

GOLDEN["update location request"] = s6a.UpdateLocationRequest(
    session_id="mme.lab;1;2", origin_host="mme.lab", origin_realm="lab", destination_realm="lab", user_name="001010000000001",
    terminal_information=s6a.TerminalInformation(imei="35123456789012", software_version="34"), rat_type=RatType.EUTRAN,
    ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR | s6a.UlrFlags.INITIAL_ATTACH_INDICATOR, visited_plmn_id=Plmn("00101"),
), """
    010000fc c000013c 01000023 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      6d6d652e6c61623b313b3200
    00000104 40 000020  # Vendor-Specific-Application-Id
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000102 40 00000c  # Auth-Application-Id
        01000023
    00000115 40 00000c  # Auth-Session-State
      00000001
    00000108 40 00000f  # Origin-Host
      6d6d652e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000001 40 000017  # User-Name
      30303130313030303030303030303100
    00000579 c0 000038 000028af  # Terminal-Information
      0000057a c0 00001a 000028af  # IMEI
        33353132333435363738393031320000
      0000057b c0 00000e 000028af  # Software-Version
        33340000
    00000408 80 000010 000028af  # RAT-Type
      000003ec
    0000057d c0 000010 000028af  # ULR-Flags
      00000022
    0000057f c0 00000f 000028af  # Visited-PLMN-Id
      00f11000
"""

GOLDEN["update location request with features"] = s6a.UpdateLocationRequest(
    session_id="mme.lab;1;2", origin_host="mme.lab", origin_realm="lab", destination_realm="lab", user_name="001010000000001",
    supported_features=s6a.supported_features(
        s6a.S6aFeatures.ODB_ALL_APN | s6a.S6aFeatures.ODB_HPLMN_APN | s6a.S6aFeatures.ODB_VPLMN_APN | s6a.S6aFeatures.REG_SUB),
    rat_type=RatType.EUTRAN, ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR, visited_plmn_id=Plmn("00101"),
), """
    010000fc c000013c 01000023 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      6d6d652e6c61623b313b3200
    00000104 40 000020  # Vendor-Specific-Application-Id
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000102 40 00000c  # Auth-Application-Id
        01000023
    00000115 40 00000c  # Auth-Session-State
      00000001
    00000108 40 00000f  # Origin-Host
      6d6d652e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000274 80 000038 000028af  # Supported-Features
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000275 80 000010 000028af  # Feature-List-ID
        00000001
      00000276 80 000010 000028af  # Feature-List
        00000207
    00000001 40 000017  # User-Name
      30303130313030303030303030303100
    00000408 80 000010 000028af  # RAT-Type
      000003ec
    0000057d c0 000010 000028af  # ULR-Flags
      00000002
    0000057f c0 00000f 000028af  # Visited-PLMN-Id
      00f11000
"""

GOLDEN["update location answer"] = s6a.UpdateLocationAnswer(
    session_id="mme.lab;1;2", result_code=ResultCode.DIAMETER_SUCCESS, origin_host="hss.lab", origin_realm="lab",
    ula_flags=s6a.UlaFlags.SEPARATION_INDICATION,
    subscription_data=SubscriptionData(
        msisdn=TbcdDigits("33123456780"), ambr=AMBR,
        apn_configuration_profile=ApnConfigurationProfile(
            context_identifier=1,
            all_apn_configurations_included_indicator=AllApnConfigurationsIncludedIndicator.ALL_APN_CONFIGURATIONS_INCLUDED,
            apn_configuration=(ApnConfiguration(
                context_identifier=1, pdn_type=PdnType.IPV4, service_selection="internet",
                eps_subscribed_qos_profile=EpsSubscribedQosProfile(qos_class_identifier=9, allocation_retention_priority=ARP), ambr=AMBR),))),
), """
    010001c4 4000013c 01000023 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      6d6d652e6c61623b313b3200
    00000104 40 000020  # Vendor-Specific-Application-Id
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000102 40 00000c  # Auth-Application-Id
        01000023
    0000010c 40 00000c  # Result-Code
      000007d1
    00000115 40 00000c  # Auth-Session-State
      00000001
    00000108 40 00000f  # Origin-Host
      6873732e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000057e c0 000010 000028af  # ULA-Flags
      00000001
    00000578 c0 000138 000028af  # Subscription-Data
      000002bd c0 000012 000028af  # MSISDN
        3321436587f00000
      0000059b c0 00002c 000028af  # AMBR
        00000204 c0 000010 000028af  # Max-Requested-Bandwidth-UL
          02faf080
        00000203 c0 000010 000028af  # Max-Requested-Bandwidth-DL
          05f5e100
      00000595 c0 0000ec 000028af  # APN-Configuration-Profile
        0000058f c0 000010 000028af  # Context-Identifier
          00000001
        00000594 c0 000010 000028af  # All-APN-Configurations-Included-Indicator
          00000000
        00000596 c0 0000c0 000028af  # APN-Configuration
          0000058f c0 000010 000028af  # Context-Identifier
            00000001
          000005b0 c0 000010 000028af  # PDN-Type
            00000000
          000001ed 40 000010  # Service-Selection
            696e7465726e6574
          00000597 c0 000058 000028af  # EPS-Subscribed-QoS-Profile
            00000404 c0 000010 000028af  # QoS-Class-Identifier
              00000009
            0000040a 80 00003c 000028af  # Allocation-Retention-Priority
              00000416 80 000010 000028af  # Priority-Level
                00000008
              00000417 80 000010 000028af  # Pre-emption-Capability
                00000001
              00000418 80 000010 000028af  # Pre-emption-Vulnerability
                00000000
          0000059b c0 00002c 000028af  # AMBR
            00000204 c0 000010 000028af  # Max-Requested-Bandwidth-UL
              02faf080
            00000203 c0 000010 000028af  # Max-Requested-Bandwidth-DL
              05f5e100
"""

GOLDEN["authentication information answer, user unknown"] = s6a.AuthenticationInformationAnswer(
    session_id="mme.lab;1;2", experimental_result=experimental_result(ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN),
    origin_host="hss.lab", origin_realm="lab",
), """
    01000090 4000013e 01000023 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      6d6d652e6c61623b313b3200
    00000104 40 000020  # Vendor-Specific-Application-Id
      0000010a 40 00000c  # Vendor-Id
        000028af
      00000102 40 00000c  # Auth-Application-Id
        01000023
    00000129 40 000020  # Experimental-Result
      0000010a 40 00000c  # Vendor-Id
        000028af
      0000012a 40 00000c  # Experimental-Result-Code
        00001389
    00000115 40 00000c  # Auth-Session-State
      00000001
    00000108 40 00000f  # Origin-Host
      6873732e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
"""

GOLDEN["credit control answer"] = gx.CreditControlAnswer(
    session_id="pgw.lab;1;2", origin_host="pcrf.lab", origin_realm="lab", result_code=ResultCode.DIAMETER_SUCCESS,
    cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0, event_trigger=(gx.EventTrigger.RAT_CHANGE,),
    charging_rule_install=(ChargingRuleInstall(charging_rule_definition=(ChargingRuleDefinition(
        charging_rule_name=b"web", precedence=100, flow_information=(FlowInformation(
            flow_description="permit out ip from any to assigned", flow_direction=FlowDirection.BIDIRECTIONAL),)),)),),
    default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=9, allocation_retention_priority=ARP),
), """
    01000160 40000110 01000016 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000102 40 00000c  # Auth-Application-Id
      01000016
    00000108 40 000010  # Origin-Host
      706372662e6c6162
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000010c 40 00000c  # Result-Code
      000007d1
    000001a0 40 00000c  # CC-Request-Type
      00000001
    0000019f 40 00000c  # CC-Request-Number
      00000000
    000003ee c0 000010 000028af  # Event-Trigger
      00000002
    000003e9 c0 000084 000028af  # Charging-Rule-Install
      000003eb c0 000078 000028af  # Charging-Rule-Definition
        000003ed c0 00000f 000028af  # Charging-Rule-Name
          77656200
        00000422 80 00004c 000028af  # Flow-Information
          000001fb c0 00002e 000028af  # Flow-Description
            7065726d6974206f75742069702066726f6d20616e7920746f2061737369676e
            65640000
          00000438 80 000010 000028af  # Flow-Direction
            00000003
        000003f2 c0 000010 000028af  # Precedence
          00000064
    00000419 80 000058 000028af  # Default-EPS-Bearer-QoS
      00000404 c0 000010 000028af  # QoS-Class-Identifier
        00000009
      0000040a 80 00003c 000028af  # Allocation-Retention-Priority
        00000416 80 000010 000028af  # Priority-Level
          00000008
        00000417 80 000010 000028af  # Pre-emption-Capability
          00000001
        00000418 80 000010 000028af  # Pre-emption-Vulnerability
          00000000
"""

GOLDEN["re-auth request, an application's rule with its times and its threshold"] = gx.ReAuthRequest(
    session_id="pgw.lab;1;2", origin_host="pcrf.lab", origin_realm="lab", destination_realm="lab", destination_host="pgw.lab",
    event_trigger=(gx.EventTrigger.APPLICATION_START, gx.EventTrigger.USAGE_REPORT, gx.EventTrigger.REVALIDATION_TIMEOUT),
    charging_rule_install=(ChargingRuleInstall(
        charging_rule_definition=(ChargingRuleDefinition(
            charging_rule_name=b"video", rating_group=7, tdf_application_identifier=b"video", flow_status=FlowStatus.ENABLED,
            qos_information=QosInformation(
                qos_class_identifier=1, max_requested_bandwidth_ul=128_000, max_requested_bandwidth_dl=256_000, guaranteed_bitrate_ul=64_000,
                guaranteed_bitrate_dl=128_000, allocation_retention_priority=ARP),
            precedence=10, monitoring_key=b"m1", mute_notification=MuteNotification.MUTE_REQUIRED),),
        rule_activation_time=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        rule_deactivation_time=datetime.datetime(2040, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        resource_allocation_notification=ResourceAllocationNotification.ENABLE_NOTIFICATION),),
    revalidation_time=datetime.datetime(2026, 1, 2, 4, 0, 0, tzinfo=datetime.UTC),
    usage_monitoring_information=(
        UsageMonitoringInformation(
            monitoring_key=b"m1", granted_service_unit=(ServiceUnit(cc_total_octets=1_000_000),),
            usage_monitoring_level=UsageMonitoringLevel.PCC_RULE_LEVEL),
        UsageMonitoringInformation(
            monitoring_key=b"m2", usage_monitoring_level=UsageMonitoringLevel.SESSION_LEVEL,
            usage_monitoring_report=UsageMonitoringReport.USAGE_MONITORING_REPORT_REQUIRED,
            usage_monitoring_support=UsageMonitoringSupport.USAGE_MONITORING_DISABLED)),
), """
    0100029c c0000102 01000016 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000102 40 00000c  # Auth-Application-Id
      01000016
    00000108 40 000010  # Origin-Host
      706372662e6c6162
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000125 40 00000f  # Destination-Host
      7067772e6c616200
    0000011d 40 00000c  # Re-Auth-Request-Type
      00000000
    000003ee c0 000010 000028af  # Event-Trigger
      00000027
    000003ee c0 000010 000028af  # Event-Trigger
      00000021
    000003ee c0 000010 000028af  # Event-Trigger
      00000011
    000003e9 c0 000154 000028af  # Charging-Rule-Install
      000003eb c0 000118 000028af  # Charging-Rule-Definition
        000003ed c0 000011 000028af  # Charging-Rule-Name
          766964656f000000
        000001b0 40 00000c  # Rating-Group
          00000007
        00000440 80 000011 000028af  # TDF-Application-Identifier
          766964656f000000
        000001ff c0 000010 000028af  # Flow-Status
          00000002
        000003f8 c0 000098 000028af  # QoS-Information
          00000404 c0 000010 000028af  # QoS-Class-Identifier
            00000001
          00000204 c0 000010 000028af  # Max-Requested-Bandwidth-UL
            0001f400
          00000203 c0 000010 000028af  # Max-Requested-Bandwidth-DL
            0003e800
          00000402 c0 000010 000028af  # Guaranteed-Bitrate-UL
            0000fa00
          00000401 c0 000010 000028af  # Guaranteed-Bitrate-DL
            0001f400
          0000040a 80 00003c 000028af  # Allocation-Retention-Priority
            00000416 80 000010 000028af  # Priority-Level
              00000008
            00000417 80 000010 000028af  # Pre-emption-Capability
              00000001
            00000418 80 000010 000028af  # Pre-emption-Vulnerability
              00000000
        000003f2 c0 000010 000028af  # Precedence
          0000000a
        0000042a 80 00000e 000028af  # Monitoring-Key
          6d310000
        00000af9 80 000010 000028af  # Mute-Notification
          00000000
      00000413 c0 000010 000028af  # Rule-Activation-Time
        ed01b425
      00000414 c0 000010 000028af  # Rule-Deactivation-Time
        075679a5
      00000427 80 000010 000028af  # Resource-Allocation-Notification
        00000000
    00000412 c0 000010 000028af  # Revalidation-Time
      ed01c140
    0000042b 80 000044 000028af  # Usage-Monitoring-Information
      0000042a 80 00000e 000028af  # Monitoring-Key
        6d310000
      000001af 40 000018  # Granted-Service-Unit
        000001a5 40 000010  # CC-Total-Octets
          00000000000f4240
      0000042c 80 000010 000028af  # Usage-Monitoring-Level
        00000001
    0000042b 80 00004c 000028af  # Usage-Monitoring-Information
      0000042a 80 00000e 000028af  # Monitoring-Key
        6d320000
      0000042c 80 000010 000028af  # Usage-Monitoring-Level
        00000000
      0000042d 80 000010 000028af  # Usage-Monitoring-Report
        00000000
      0000042e 80 000010 000028af  # Usage-Monitoring-Support
        00000000
"""

GOLDEN["credit control request, events"] = gx.CreditControlRequest(
    session_id="pgw.lab;1;2", origin_host="pgw.lab", origin_realm="lab", destination_realm="lab",
    cc_request_type=gx.CcRequestType.UPDATE_REQUEST, cc_request_number=3,
    packet_filter_information=(PacketFilterInformation(
        precedence=5, packet_filter_content="permit out 17 from 192.0.2.1 to assigned", flow_direction=FlowDirection.BIDIRECTIONAL),),
    packet_filter_operation=PacketFilterOperation.ADDITION,
    charging_rule_report=(ChargingRuleReport(
        charging_rule_name=(b"voice",), pcc_rule_status=PccRuleStatus.INACTIVE, rule_failure_code=RuleFailureCode.RESOURCE_ALLOCATION_FAILURE),),
    application_detection_information=(ApplicationDetectionInformation(
        tdf_application_identifier=b"video", tdf_application_instance_identifier=b"1", flow_information=(FlowInformation(
            flow_description="permit out 6 from 192.0.2.1 443 to assigned", packet_filter_usage=PacketFilterUsage.SEND_TO_UE,
            flow_direction=FlowDirection.BIDIRECTIONAL),)),),
    event_trigger=(gx.EventTrigger.APPLICATION_START, gx.EventTrigger.USAGE_REPORT),
    usage_monitoring_information=(UsageMonitoringInformation(
        monitoring_key=b"m1", used_service_unit=(ServiceUnit(cc_total_octets=1_000_100, cc_input_octets=100, cc_output_octets=1_000_000),),
        usage_monitoring_level=UsageMonitoringLevel.PCC_RULE_LEVEL),),
), """
    0100023c c0000110 01000016 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000102 40 00000c  # Auth-Application-Id
      01000016
    00000108 40 00000f  # Origin-Host
      7067772e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    000001a0 40 00000c  # CC-Request-Type
      00000002
    0000019f 40 00000c  # CC-Request-Number
      00000003
    00000425 80 000060 000028af  # Packet-Filter-Information
      000003f2 c0 000010 000028af  # Precedence
        00000005
      00000423 80 000034 000028af  # Packet-Filter-Content
        7065726d6974206f75742031372066726f6d203139322e302e322e3120746f20
        61737369676e6564
      00000438 80 000010 000028af  # Flow-Direction
        00000003
    00000426 80 000010 000028af  # Packet-Filter-Operation
      00000001
    000003fa c0 000040 000028af  # Charging-Rule-Report
      000003ed c0 000011 000028af  # Charging-Rule-Name
        766f696365000000
      000003fb c0 000010 000028af  # PCC-Rule-Status
        00000001
      00000407 c0 000010 000028af  # Rule-Failure-Code
        0000000a
    0000044a 80 000094 000028af  # Application-Detection-Information
      00000440 80 000011 000028af  # TDF-Application-Identifier
        766964656f000000
      00000af2 80 00000d 000028af  # TDF-Application-Instance-Identifier
        31000000
      00000422 80 000064 000028af  # Flow-Information
        000001fb c0 000037 000028af  # Flow-Description
          7065726d6974206f757420362066726f6d203139322e302e322e312034343320
          746f2061737369676e656400
        00000430 80 000010 000028af  # Packet-Filter-Usage
          00000001
        00000438 80 000010 000028af  # Flow-Direction
          00000003
    000003ee c0 000010 000028af  # Event-Trigger
      00000027
    000003ee c0 000010 000028af  # Event-Trigger
      00000021
    0000042b 80 000064 000028af  # Usage-Monitoring-Information
      0000042a 80 00000e 000028af  # Monitoring-Key
        6d310000
      000001be 40 000038  # Used-Service-Unit
        000001a5 40 000010  # CC-Total-Octets
          00000000000f42a4
        0000019c 40 000010  # CC-Input-Octets
          0000000000000064
        0000019e 40 000010  # CC-Output-Octets
          00000000000f4240
      0000042c 80 000010 000028af  # Usage-Monitoring-Level
        00000001
"""

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def octets_of(annotated: str) -> bytes:
    return bytes.fromhex(re.sub(r"#.*", "", annotated))


@pytest.mark.parametrize("name", GOLDEN)
def test_encode(name: str) -> None:
    message, annotated = GOLDEN[name]
    assert diameter.encode(message, hop_by_hop=0x11, end_to_end=0x22).hex() == octets_of(annotated).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_decode(name: str) -> None:
    message, annotated = GOLDEN[name]
    packet = diameter.decode(octets_of(annotated))
    assert packet.message == message
    assert packet.header.hop_by_hop == 0x11
    assert packet.header.end_to_end == 0x22


@pytest.mark.parametrize("name", GOLDEN)
def test_python_diameter_reads_and_writes_the_same(name: str) -> None:
    octets = octets_of(GOLDEN[name][1])
    other = OtherMessage.from_bytes(octets, plain_msg=True)
    assert other.as_bytes() == octets


@needs_tshark
def test_tshark_finds_nothing_wrong(tmp_path: Path) -> None:
    dump = tmp_path / "golden.txt"
    dump.write_text("".join(f"000000 {octets_of(annotated).hex(' ')}\n" for _, annotated in GOLDEN.values()))
    capture = tmp_path / "golden.pcap"
    subprocess.run(["text2pcap", "-q", "-T", "3868,3868", str(dump), str(capture)], check=True, capture_output=True)
    run = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-o", "tcp.analyze_sequence_numbers:FALSE", "-T", "fields", "-e", "diameter.cmd.code",
         "-e", "diameter.applicationId", "-e", "_ws.malformed", "-e", "_ws.expert.message"],
        check=True, capture_output=True, text=True)
    seen = [line.split("\t") for line in run.stdout.splitlines()]
    assert [fields[0] for fields in seen] == ["257", "316", "316", "316", "318", "272", "258", "272"]
    assert [fields[1] for fields in seen] == ["0", "16777251", "16777251", "16777251", "16777251", "16777238", "16777238", "16777238"]
    assert all(not any(fields[2:]) for fields in seen), run.stdout
