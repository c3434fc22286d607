"""Golden pairs of Rx and S9: a message and its octets, annotated AVP by AVP; each runs both ways, and past two other decoders."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from diameter.message import Message as OtherMessage

from epc.wire import diameter
from epc.wire.diameter import ExperimentalResultCode, Message, RatType, ResultCode, experimental_result, rx, s9
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.gx import CcRequestType, EventTrigger, IpCanType, NetworkRequestSupport
from epc.wire.diameter.policy import ChargingRuleDefinition, ChargingRuleInstall, DefaultEpsBearerQos, FlowStatus, QosInformation
from epc.wire.diameter.rx import (
    AbortCause,
    AcceptableServiceInfo,
    Flows,
    FlowUsage,
    MediaComponentDescription,
    MediaSubComponent,
    MediaType,
    RxRequestType,
    SpecificAction,
)
from epc.wire.diameter.s9 import SubsessionDecisionInfo, SubsessionEnforcementInfo, SubsessionOperation

GOLDEN: dict[str, tuple[Message, str]] = {}

GOLDEN["a voice call"] = rx.AARequest(
    session_id="af.lab;1;2", origin_host="af.lab", origin_realm="lab", destination_realm="lab", af_application_identifier=b"voice",
    media_component_description=(MediaComponentDescription(
        media_component_number=1, media_type=MediaType.AUDIO, max_requested_bandwidth_ul=64_000, max_requested_bandwidth_dl=64_000,
        flow_status=FlowStatus.ENABLED, rs_bandwidth=800, rr_bandwidth=2400, codec_data=("downlink\noffer\nm=audio 5004 RTP/AVP 0",),
        media_sub_component=(
            MediaSubComponent(flow_number=1, flow_description=(
                "permit in 17 from 10.45.0.2 4000 to 192.0.2.7 5004", "permit out 17 from 192.0.2.7 5004 to 10.45.0.2 4000")),
            MediaSubComponent(flow_number=2, flow_usage=FlowUsage.RTCP, flow_description=(
                "permit out 17 from 192.0.2.7 5005 to 10.45.0.2 4001",)))),),
    specific_action=(SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION, SpecificAction.INDICATION_OF_RELEASE_OF_BEARER),
    framed_ip_address=IPv4Address("10.45.0.2"), rx_request_type=RxRequestType.INITIAL_REQUEST), """
    01000264 c0000109 01000014 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000012  # Session-Id
      61662e6c61623b313b320000
    00000102 40 00000c  # Auth-Application-Id
      01000014
    00000108 40 00000e  # Origin-Host
      61662e6c61620000
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    000001f8 c0 000011 000028af  # AF-Application-Identifier
      766f696365000000
    00000205 c0 0001b8 000028af  # Media-Component-Description
      00000206 c0 000010 000028af  # Media-Component-Number
        00000001
      00000207 c0 00009c 000028af  # Media-Sub-Component
        000001fd c0 000010 000028af  # Flow-Number
          00000001
        000001fb c0 00003e 000028af  # Flow-Description
          7065726d697420696e2031372066726f6d2031302e34352e302e32
          203430303020746f203139322e302e322e3720353030340000
        000001fb c0 00003f 000028af  # Flow-Description
          7065726d6974206f75742031372066726f6d203139322e302e322e
          37203530303420746f2031302e34352e302e32203430303000
      00000207 c0 00006c 000028af  # Media-Sub-Component
        000001fd c0 000010 000028af  # Flow-Number
          00000002
        000001fb c0 00003f 000028af  # Flow-Description
          7065726d6974206f75742031372066726f6d203139322e302e322e
          37203530303520746f2031302e34352e302e32203430303100
        00000200 c0 000010 000028af  # Flow-Usage
          00000001
      00000208 c0 000010 000028af  # Media-Type
        00000000
      00000204 c0 000010 000028af  # Max-Requested-Bandwidth-UL
        0000fa00
      00000203 c0 000010 000028af  # Max-Requested-Bandwidth-DL
        0000fa00
      000001ff c0 000010 000028af  # Flow-Status
        00000002
      0000020a c0 000010 000028af  # RS-Bandwidth
        00000320
      00000209 c0 000010 000028af  # RR-Bandwidth
        00000960
      0000020c c0 000031 000028af  # Codec-Data
        646f776e6c696e6b0a6f666665720a6d3d617564696f203530303420
        5254502f4156502030000000
    00000201 c0 000010 000028af  # Specific-Action
      00000008
    00000201 c0 000010 000028af  # Specific-Action
      00000004
    00000008 40 00000c  # Framed-IP-Address
      0a2d0002
    00000215 80 000010 000028af  # Rx-Request-Type
      00000000
"""

GOLDEN["more than is allowed"] = rx.AAAnswer(
    session_id="af.lab;1;2", origin_host="pcrf.lab", origin_realm="lab",
    experimental_result=experimental_result(ExperimentalResultCode.REQUESTED_SERVICE_NOT_AUTHORIZED),
    acceptable_service_info=AcceptableServiceInfo(max_requested_bandwidth_ul=64_000, max_requested_bandwidth_dl=1_000_000)), """
    0100009c 40000109 01000014 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000012  # Session-Id
      61662e6c61623b313b320000
    00000102 40 00000c  # Auth-Application-Id
      01000014
    00000108 40 000010  # Origin-Host
      706372662e6c6162
    00000128 40 00000b  # Origin-Realm
      6c616200
    00000129 40 000020  # Experimental-Result
      0000010a 40 00000c  # Vendor-Id
        000028af
      0000012a 40 00000c  # Experimental-Result-Code
        000013c7
    0000020e c0 00002c 000028af  # Acceptable-Service-Info
      00000204 c0 000010 000028af  # Max-Requested-Bandwidth-UL
        0000fa00
      00000203 c0 000010 000028af  # Max-Requested-Bandwidth-DL
        000f4240
"""

GOLDEN["the bearer is gone"] = rx.ReAuthRequest(
    session_id="af.lab;1;2", origin_host="pcrf.lab", origin_realm="lab", destination_realm="lab", destination_host="af.lab",
    specific_action=(SpecificAction.INDICATION_OF_RELEASE_OF_BEARER,), flows=(Flows(media_component_number=1, flow_number=(1, 2)),),
    ip_can_type=IpCanType.TGPP_EPS, rat_type=RatType.EUTRAN), """
    010000d8 c0000102 01000014 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000012  # Session-Id
      61662e6c61623b313b320000
    00000108 40 000010  # Origin-Host
      706372662e6c6162
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000125 40 00000e  # Destination-Host
      61662e6c61620000
    00000102 40 00000c  # Auth-Application-Id
      01000014
    00000201 c0 000010 000028af  # Specific-Action
      00000004
    000001fe c0 00003c 000028af  # Flows
      00000206 c0 000010 000028af  # Media-Component-Number
        00000001
      000001fd c0 000010 000028af  # Flow-Number
        00000001
      000001fd c0 000010 000028af  # Flow-Number
        00000002
    00000403 c0 000010 000028af  # IP-CAN-Type
      00000005
    00000408 80 000010 000028af  # RAT-Type
      000003ec
"""

GOLDEN["the session is over"] = rx.AbortSessionRequest(
    session_id="af.lab;1;2", origin_host="pcrf.lab", origin_realm="lab", destination_realm="lab", destination_host="af.lab",
    abort_cause=AbortCause.BEARER_RELEASED), """
    0100007c c0000112 01000014 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000012  # Session-Id
      61662e6c61623b313b320000
    00000108 40 000010  # Origin-Host
      706372662e6c6162
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000125 40 00000e  # Destination-Host
      61662e6c61620000
    00000102 40 00000c  # Auth-Application-Id
      01000014
    000001f4 c0 000010 000028af  # Abort-Cause
      00000000
"""

GOLDEN["a roamer's session"] = s9.CreditControlRequest(
    session_id="pcrf.v;1;2;s9", origin_host="pcrf.v", origin_realm="v", destination_realm="h", cc_request_type=CcRequestType.INITIAL_REQUEST,
    cc_request_number=0, subscription_id=(
        SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data="001010000000001"),),
    subsession_enforcement_info=(SubsessionEnforcementInfo(
        subsession_id=1, subsession_operation=SubsessionOperation.ESTABLISHMENT, framed_ip_address=IPv4Address("10.46.0.2"),
        called_station_id="internet", default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=9),
        network_request_support=NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED),),
    ip_can_type=IpCanType.TGPP_EPS, rat_type=RatType.EUTRAN, tgpp_sgsn_mcc_mnc="21407"), """
    0100014c c0000110 01000033 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000015  # Session-Id
      706372662e763b313b323b7339000000
    00000102 40 00000c  # Auth-Application-Id
      01000033
    00000108 40 00000e  # Origin-Host
      706372662e760000
    00000128 40 000009  # Origin-Realm
      76000000
    0000011b 40 000009  # Destination-Realm
      68000000
    000001a0 40 00000c  # CC-Request-Type
      00000001
    0000019f 40 00000c  # CC-Request-Number
      00000000
    000001bb 40 00002c  # Subscription-Id
      000001c2 40 00000c  # Subscription-Id-Type
        00000001
      000001bc 40 000017  # Subscription-Id-Data
        30303130313030303030303030303100
    00000899 c0 000074 000028af  # Subsession-Enforcement-Info
      0000089a c0 000010 000028af  # Subsession-Id
        00000001
      0000089b c0 000010 000028af  # Subsession-Operation
        00000001
      00000008 40 00000c  # Framed-IP-Address
        0a2e0002
      0000001e 40 000010  # Called-Station-Id
        696e7465726e6574
      00000419 80 00001c 000028af  # Default-EPS-Bearer-QoS
        00000404 c0 000010 000028af  # QoS-Class-Identifier
          00000009
      00000400 c0 000010 000028af  # Network-Request-Support
        00000001
    00000403 c0 000010 000028af  # IP-CAN-Type
      00000005
    00000408 80 000010 000028af  # RAT-Type
      000003ec
    00000012 c0 000011 000028af  # 3GPP-SGSN-MCC-MNC
      3231343037000000
"""

GOLDEN["what home decides"] = s9.CreditControlAnswer(
    session_id="pcrf.v;1;2;s9", origin_host="pcrf.h", origin_realm="h", result_code=ResultCode.DIAMETER_SUCCESS,
    cc_request_type=CcRequestType.INITIAL_REQUEST, cc_request_number=0, subsession_decision_info=(SubsessionDecisionInfo(
        subsession_id=1, result_code=ResultCode.DIAMETER_SUCCESS, charging_rule_install=(ChargingRuleInstall(charging_rule_definition=(
            ChargingRuleDefinition(charging_rule_name=b"no facebook", tdf_application_identifier=b"facebook", flow_status=FlowStatus.DISABLED,
                                   precedence=1),)),),
        event_trigger=(EventTrigger.PLMN_CHANGE,),
        qos_information=(QosInformation(apn_aggregate_max_bitrate_ul=10_000_000, apn_aggregate_max_bitrate_dl=20_000_000),)),)), """
    01000140 40000110 01000033 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000015  # Session-Id
      706372662e763b313b323b7339000000
    00000102 40 00000c  # Auth-Application-Id
      01000033
    00000108 40 00000e  # Origin-Host
      706372662e680000
    00000128 40 000009  # Origin-Realm
      68000000
    0000010c 40 00000c  # Result-Code
      000007d1
    000001a0 40 00000c  # CC-Request-Type
      00000001
    0000019f 40 00000c  # CC-Request-Number
      00000000
    00000898 c0 0000c8 000028af  # Subsession-Decision-Info
      0000089a c0 000010 000028af  # Subsession-Id
        00000001
      0000010c 40 00000c  # Result-Code
        000007d1
      000003e9 c0 000064 000028af  # Charging-Rule-Install
        000003eb c0 000058 000028af  # Charging-Rule-Definition
          000003ed c0 000017 000028af  # Charging-Rule-Name
            6e6f2066616365626f6f6b00
          00000440 80 000014 000028af  # TDF-Application-Identifier
            66616365626f6f6b
          000001ff c0 000010 000028af  # Flow-Status
            00000003
          000003f2 c0 000010 000028af  # Precedence
            00000001
      000003ee c0 000010 000028af  # Event-Trigger
        00000004
      000003f8 c0 00002c 000028af  # QoS-Information
        00000411 80 000010 000028af  # APN-Aggregate-Max-Bitrate-UL
          00989680
        00000410 80 000010 000028af  # APN-Aggregate-Max-Bitrate-DL
          01312d00
"""



def octets_of(annotated: str) -> bytes:
    return bytes.fromhex(re.sub(r"#.*", "", annotated))


@pytest.mark.parametrize("name", GOLDEN)
def test_encode(name: str) -> None:
    message, annotated = GOLDEN[name]
    assert diameter.encode(message, hop_by_hop=0x11, end_to_end=0x22).hex() == octets_of(annotated).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_decode(name: str) -> None:
    message, annotated = GOLDEN[name]
    assert diameter.decode(octets_of(annotated)).message == message


@pytest.mark.parametrize("name", GOLDEN)
def test_python_diameter_reads_and_writes_the_same(name: str) -> None:
    octets = octets_of(GOLDEN[name][1])
    other = OtherMessage.from_bytes(octets, plain_msg=True)
    assert other.as_bytes() == octets


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
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
    assert [fields[:2] for fields in seen] == [
        ["265", "16777236"], ["265", "16777236"], ["258", "16777236"], ["274", "16777236"], ["272", "16777267"], ["272", "16777267"]]
    assert all(not any(fields[2:]) for fields in seen), run.stdout
