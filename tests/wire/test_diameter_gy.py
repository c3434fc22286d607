"""Golden pairs of Gy: a message and its octets, annotated AVP by AVP; each runs both ways, and past two other decoders."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from diameter.message import Message as OtherMessage

from epc.wire import diameter
from epc.wire.diameter import GX_APPLICATION, GY_APPLICATION, DiameterError, Message, ResultCode, gx, gy
from epc.wire.diameter.base import AbortSessionRequest
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    MultipleServicesIndicator,
    PdpType,
    PsInformation,
    RedirectAddressType,
    RedirectServer,
    ReportingReason,
    RequestedServiceUnit,
    ServiceInformation,
    ServingNodeType,
    Trigger,
    TriggerType,
    UsedServiceUnit,
)
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.gx import CcRequestType
from epc.wire.errors import WireError

GOLDEN: dict[str, tuple[Message, str]] = {}

GOLDEN["initial request from Barcelona"] = gy.CreditControlRequest(
    session_id="pgw.lab;1;2", origin_host="pgw.lab", origin_realm="lab", destination_realm="lab", cc_request_type=CcRequestType.INITIAL_REQUEST,
    cc_request_number=0, multiple_services_indicator=MultipleServicesIndicator.MULTIPLE_SERVICES_SUPPORTED,
    subscription_id=(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data="001010000000001"),),
    multiple_services_credit_control=(MultipleServicesCreditControl(requested_service_unit=RequestedServiceUnit(), rating_group=10),),
    service_information=ServiceInformation(ps_information=PsInformation(
        tgpp_charging_id=b"\0\0\0\x07", tgpp_pdp_type=PdpType.IPV4, pdp_address=(IPv4Address("10.45.0.2"),),
        serving_node_type=(ServingNodeType.GTPSGW,), called_station_id="internet", tgpp_sgsn_mcc_mnc="21407")),
), """
    01000160 c0000110 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000108 40 00000f  # Origin-Host
      7067772e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000102 40 00000c  # Auth-Application-Id
      00000004
    000001cd 40 000016  # Service-Context-Id
      333232353140336770702e6f72670000
    000001a0 40 00000c  # CC-Request-Type
      00000001
    0000019f 40 00000c  # CC-Request-Number
      00000000
    000001bb 40 00002c  # Subscription-Id
      000001c2 40 00000c  # Subscription-Id-Type
        00000001
      000001bc 40 000017  # Subscription-Id-Data
        30303130313030303030303030303100
    000001c7 40 00000c  # Multiple-Services-Indicator
      00000001
    000001c8 40 00001c  # Multiple-Services-Credit-Control
      000001b5 40 000008  # Requested-Service-Unit
      000001b0 40 00000c  # Rating-Group
        0000000a
    00000369 c0 000080 000028af  # Service-Information
      0000036a c0 000074 000028af  # PS-Information
        00000002 c0 000010 000028af  # 3GPP-Charging-Id
          00000007
        00000003 c0 000010 000028af  # 3GPP-PDP-Type
          00000000
        000004cb c0 000012 000028af  # PDP-Address
          00010a2d00020000
        000007ff c0 000010 000028af  # Serving-Node-Type
          00000002
        0000001e 40 000010  # Called-Station-Id
          696e7465726e6574
        00000012 c0 000011 000028af  # 3GPP-SGSN-MCC-MNC
          3231343037000000
"""

GOLDEN["usage reported, quota exhausted"] = gy.CreditControlRequest(
    session_id="pgw.lab;1;2", origin_host="pgw.lab", origin_realm="lab", destination_realm="lab", cc_request_type=CcRequestType.UPDATE_REQUEST,
    cc_request_number=1, destination_host="ocs.lab", multiple_services_credit_control=(MultipleServicesCreditControl(
        requested_service_unit=RequestedServiceUnit(cc_total_octets=5_000_000),
        used_service_unit=(UsedServiceUnit(
            tgpp_reporting_reason=ReportingReason.QUOTA_EXHAUSTED, cc_time=61, cc_total_octets=5_000_123, cc_input_octets=123,
            cc_output_octets=5_000_000),),
        service_identifier=(3,), rating_group=10),),
), """
    01000128 c0000110 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000108 40 00000f  # Origin-Host
      7067772e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000102 40 00000c  # Auth-Application-Id
      00000004
    000001cd 40 000016  # Service-Context-Id
      333232353140336770702e6f72670000
    000001a0 40 00000c  # CC-Request-Type
      00000002
    0000019f 40 00000c  # CC-Request-Number
      00000001
    00000125 40 00000f  # Destination-Host
      6f63732e6c616200
    000001c8 40 00008c  # Multiple-Services-Credit-Control
      000001b5 40 000018  # Requested-Service-Unit
        000001a5 40 000010  # CC-Total-Octets
          00000000004c4b40
      000001be 40 000054  # Used-Service-Unit
        00000368 c0 000010 000028af  # 3GPP-Reporting-Reason
          00000003
        000001a4 40 00000c  # CC-Time
          0000003d
        000001a5 40 000010  # CC-Total-Octets
          00000000004c4bbb
        0000019c 40 000010  # CC-Input-Octets
          000000000000007b
        0000019e 40 000010  # CC-Output-Octets
          00000000004c4b40
      000001b7 40 00000c  # Service-Identifier
        00000003
      000001b0 40 00000c  # Rating-Group
        0000000a
"""

GOLDEN["quota granted"] = gy.CreditControlAnswer(
    session_id="pgw.lab;1;2", result_code=ResultCode.DIAMETER_SUCCESS, origin_host="ocs.lab", origin_realm="lab",
    cc_request_type=CcRequestType.INITIAL_REQUEST, cc_request_number=0, cc_session_failover=CcSessionFailover.FAILOVER_SUPPORTED,
    multiple_services_credit_control=(MultipleServicesCreditControl(
        granted_service_unit=GrantedServiceUnit(cc_total_octets=10_000_000), rating_group=10, validity_time=3600,
        result_code=ResultCode.DIAMETER_SUCCESS, volume_quota_threshold=2_000_000, quota_holding_time=600,
        trigger=Trigger(trigger_type=(TriggerType.CHANGEINLOCATION_MCC, TriggerType.CHANGEINLOCATION_MNC))),),
    credit_control_failure_handling=CreditControlFailureHandling.TERMINATE,
), """
    0100011c 40000110 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    0000010c 40 00000c  # Result-Code
      000007d1
    00000108 40 00000f  # Origin-Host
      6f63732e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    00000102 40 00000c  # Auth-Application-Id
      00000004
    000001a0 40 00000c  # CC-Request-Type
      00000001
    0000019f 40 00000c  # CC-Request-Number
      00000000
    000001a2 40 00000c  # CC-Session-Failover
      00000001
    000001c8 40 000090  # Multiple-Services-Credit-Control
      000001af 40 000018  # Granted-Service-Unit
        000001a5 40 000010  # CC-Total-Octets
          0000000000989680
      000001b0 40 00000c  # Rating-Group
        0000000a
      000001c0 40 00000c  # Validity-Time
        00000e10
      0000010c 40 00000c  # Result-Code
        000007d1
      00000365 c0 000010 000028af  # Volume-Quota-Threshold
        001e8480
      00000367 c0 000010 000028af  # Quota-Holding-Time
        00000258
      000004f0 c0 00002c 000028af  # Trigger
        00000366 c0 000010 000028af  # Trigger-Type
          0000001e
        00000366 c0 000010 000028af  # Trigger-Type
          0000001f
    000001ab 40 00000c  # Credit-Control-Failure-Handling
      00000000
"""

GOLDEN["last units, then the page that sells credit"] = gy.CreditControlAnswer(
    session_id="pgw.lab;1;2", result_code=ResultCode.DIAMETER_SUCCESS, origin_host="ocs.lab", origin_realm="lab",
    cc_request_type=CcRequestType.UPDATE_REQUEST, cc_request_number=1,
    multiple_services_credit_control=(
        MultipleServicesCreditControl(
            granted_service_unit=GrantedServiceUnit(cc_time=30), rating_group=10, result_code=ResultCode.DIAMETER_SUCCESS,
            final_unit_indication=FinalUnitIndication(
                final_unit_action=FinalUnitAction.REDIRECT, restriction_filter_rule=("permit out ip from 10.9.0.1 to any",),
                redirect_server=RedirectServer(redirect_address_type=RedirectAddressType.URL, redirect_server_address="http://top.up/"))),
        MultipleServicesCreditControl(rating_group=11, result_code=ResultCode.DIAMETER_RATING_FAILED)),
), """
    01000134 40000110 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    0000010c 40 00000c  # Result-Code
      000007d1
    00000108 40 00000f  # Origin-Host
      6f63732e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    00000102 40 00000c  # Auth-Application-Id
      00000004
    000001a0 40 00000c  # CC-Request-Type
      00000002
    0000019f 40 00000c  # CC-Request-Number
      00000001
    000001c8 40 0000a0  # Multiple-Services-Credit-Control
      000001af 40 000014  # Granted-Service-Unit
        000001a4 40 00000c  # CC-Time
          0000001e
      000001b0 40 00000c  # Rating-Group
        0000000a
      0000010c 40 00000c  # Result-Code
        000007d1
      000001ae 40 00006c  # Final-Unit-Indication
        000001c1 40 00000c  # Final-Unit-Action
          00000001
        000001b6 40 00002a  # Restriction-Filter-Rule
          7065726d6974206f75742069702066726f6d2031302e392e302e3120746f2061
          6e790000
        000001b2 40 00002c  # Redirect-Server
          000001b1 40 00000c  # Redirect-Address-Type
            00000002
          000001b3 40 000016  # Redirect-Server-Address
            687474703a2f2f746f702e75702f0000
    000001c8 40 000020  # Multiple-Services-Credit-Control
      000001b0 40 00000c  # Rating-Group
        0000000b
      0000010c 40 00000c  # Result-Code
        000013a7
"""

GOLDEN["ask again after the top-up"] = gy.ReAuthRequest(
    session_id="pgw.lab;1;2", origin_host="ocs.lab", origin_realm="lab", destination_realm="lab", destination_host="pgw.lab", rating_group=10,
), """
    01000084 c0000102 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    00000108 40 00000f  # Origin-Host
      6f63732e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
    0000011b 40 00000b  # Destination-Realm
      6c616200
    00000125 40 00000f  # Destination-Host
      7067772e6c616200
    00000102 40 00000c  # Auth-Application-Id
      00000004
    0000011d 40 00000c  # Re-Auth-Request-Type
      00000000
    000001b0 40 00000c  # Rating-Group
      0000000a
"""

GOLDEN["a credit control request follows"] = gy.ReAuthAnswer(
    session_id="pgw.lab;1;2", result_code=ResultCode.DIAMETER_LIMITED_SUCCESS, origin_host="pgw.lab", origin_realm="lab",
), """
    01000050 40000102 00000004 00000011 00000022  # version and length, flags and command, application, hop-by-hop, end-to-end
    00000107 40 000013  # Session-Id
      7067772e6c61623b313b3200
    0000010c 40 00000c  # Result-Code
      000007d2
    00000108 40 00000f  # Origin-Host
      7067772e6c616200
    00000128 40 00000b  # Origin-Realm
      6c616200
"""

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def octets_of(annotated: str) -> bytes:
    return bytes.fromhex(re.sub(r"#.*", "", annotated))


@pytest.mark.parametrize("name", GOLDEN)
def test_encode(name: str) -> None:
    message, annotated = GOLDEN[name]
    octets = diameter.encode(message, hop_by_hop=0x11, end_to_end=0x22, application_id=GY_APPLICATION)
    assert octets.hex() == octets_of(annotated).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_decode(name: str) -> None:
    message, annotated = GOLDEN[name]
    packet = diameter.decode(octets_of(annotated))
    assert packet.message == message
    assert packet.header.application_id == GY_APPLICATION


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
    fields = ("diameter.cmd.code", "diameter.applicationId", "diameter.CC-Total-Octets", "diameter.Final-Unit-Action", "_ws.malformed",
              "_ws.expert.message")
    run = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-o", "tcp.analyze_sequence_numbers:FALSE", "-T", "fields",
         *(word for field in fields for word in ("-e", field))], check=True, capture_output=True, text=True)
    seen = [tuple(line.split("\t")) for line in run.stdout.splitlines()]
    assert seen == [
        ("272", "4", "", "", "", "Data is empty"),          # the Requested-Service-Unit: as much as the OCS thinks right
        ("272", "4", "5000000,5000123", "", "", ""),
        ("272", "4", "10000000", "", "", ""),
        ("272", "4", "", "1", "", ""),
        ("258", "4", "", "", "", ""),
        ("258", "4", "", "", "", ""),
    ]


def test_application_tells_gy_from_gx() -> None:
    asked = {
        GY_APPLICATION: gy.CreditControlRequest(session_id="s", origin_host="h", origin_realm="r", destination_realm="r",
                                                cc_request_type=CcRequestType.INITIAL_REQUEST, cc_request_number=0),
        GX_APPLICATION: gx.CreditControlRequest(session_id="s", origin_host="h", origin_realm="r", destination_realm="r",
                                                cc_request_type=CcRequestType.INITIAL_REQUEST, cc_request_number=0),
    }
    for application, request in asked.items():
        packet = diameter.decode(diameter.encode(request, hop_by_hop=1, end_to_end=1))
        assert packet.message == request
        assert type(packet.message) is type(request)
        assert (packet.header.command_code, packet.header.application_id) == (272, application)


def test_abort_session_names_the_application() -> None:
    request = AbortSessionRequest(session_id="s", origin_host="ocs", origin_realm="r", destination_realm="r", destination_host="pgw",
                                  auth_application_id=GY_APPLICATION)
    packet = diameter.decode(diameter.encode(request, hop_by_hop=1, end_to_end=1))
    assert packet.message == request
    assert packet.header.application_id == GY_APPLICATION


@pytest.mark.parametrize("name", GOLDEN)
def test_every_damaged_octet_is_a_value_or_a_wire_error(name: str) -> None:
    """Each octet in turn: bits flipped, cleared, set."""
    octets = octets_of(GOLDEN[name][1])
    refused = 0
    for at in range(len(octets)):
        for value in (0, octets[at] ^ 0x01, octets[at] ^ 0x80, 0xFF):
            damaged = octets[:at] + bytes((value,)) + octets[at + 1:]
            try:
                packet = diameter.decode(damaged)
            except WireError:
                refused += 1
                continue
            again = diameter.encode(packet.message, hop_by_hop=1, end_to_end=2, application_id=packet.header.application_id)
            assert diameter.decode(again).message == packet.message
    assert refused > 20


def test_request_without_its_number_is_answered_5005() -> None:
    octets = octets_of(GOLDEN["initial request from Barcelona"][1])
    number = bytes.fromhex("0000019f4000000c00000000")
    shortened = octets.replace(number, b"")
    with pytest.raises(DiameterError) as caught:
        diameter.decode(shortened[:1] + len(shortened).to_bytes(3, "big") + shortened[4:])
    assert caught.value.result_code is ResultCode.DIAMETER_MISSING_AVP
    assert caught.value.session_id == "pgw.lab;1;2"
