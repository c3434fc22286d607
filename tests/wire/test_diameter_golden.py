"""Golden pairs of Diameter: a message and its octets, annotated AVP by AVP; each runs both ways, and past two other decoders."""

from __future__ import annotations

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
from epc.wire.diameter.policy import ChargingRuleDefinition, ChargingRuleInstall, DefaultEpsBearerQos, FlowDirection, FlowInformation
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
    assert [fields[0] for fields in seen] == ["257", "316", "316", "318", "272"]
    assert [fields[1] for fields in seen] == ["0", "16777251", "16777251", "16777251", "16777238"]
    assert all(not any(fields[2:]) for fields in seen), run.stdout
