"""Golden pairs of GTPv2-C: a message and its datagram, annotated element by element; each runs both ways, and past two other decoders."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from pycrate_mobile.TS29274_GTPC import parse_GTPC

from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextCreateAnswered,
    BearerContextCreated,
    BearerContextCreateRequested,
    BearerContextModified,
    BearerContextToBeCreated,
    BearerContextToBeModified,
    BearerQos,
    Cause,
    CauseValue,
    CreateBearerRequest,
    CreateBearerResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteBearerRequest,
    DeleteSessionRequest,
    DeleteSessionResponse,
    DownlinkDataNotification,
    DownlinkDataNotificationAcknowledge,
    Ecgi,
    EchoRequest,
    FqCsid,
    Fteid,
    Indication,
    InterfaceType,
    Message,
    ModifyBearerRequest,
    ModifyBearerResponse,
    NodeFeatures,
    NodeType,
    OffendingIe,
    Paa,
    Packet,
    PdnType,
    PgwRestartNotification,
    RanNasCause,
    RanNasProtocolType,
    RatType,
    ReleaseAccessBearersRequest,
    SelectionMode,
    Tai,
    UeTimeZone,
    Uli,
    UnknownIe,
    VersionNotSupportedIndication,
    decode,
    encode,
)
from epc.wire.identity import Imsi, Plmn

ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
QOS = BearerQos(qci=9, arp=Arp(priority_level=8))
MME, SGW, PGW, ENB = (IPv4Address(f"10.0.0.{n}") for n in (1, 2, 3, 5))


def fteid(interface_type: InterfaceType, teid: int, ipv4: IPv4Address) -> Fteid:
    return Fteid(interface_type=interface_type, teid=teid, ipv4=ipv4)


GOLDEN: dict[str, tuple[Message, int | None, int, str]] = {
    "echo request": (
        EchoRequest(recovery=7, node_features=NodeFeatures.PRN | NodeFeatures.NTSR), None, 0x000102,
        """
        40 01 00 0e            version 2, no TEID; Echo Request
        00 01 02 00            sequence number
        03 00 01 00 07         Recovery
        98 00 01 00 05         Node Features: PRN, NTSR
        """,
    ),
    "version not supported": (
        VersionNotSupportedIndication(), None, 9,
        """
        40 03 00 04  00 00 09 00
        """,
    ),
    "create session request on S11": (
        CreateSessionRequest(
            imsi=Imsi("001010123456789"), msisdn="3312345678", mei="3512345678901234",
            uli=Uli(tai=Tai("00101", 7), ecgi=Ecgi("00101", 0xA1B01)), serving_network=Plmn("00101"), rat_type=RatType.EUTRAN,
            indication=Indication.DAF | Indication.P, sender_fteid=fteid(InterfaceType.S11_MME_GTP_C, 0x1001, MME),
            pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_C, 0, PGW), apn="internet.lab",
            selection_mode=SelectionMode.MS_OR_NETWORK_PROVIDED_APN_SUBSCRIPTION_VERIFIED, pdn_type=PdnType.IPV4,
            paa=Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address(0)), maximum_apn_restriction=0, ambr=Ambr(uplink_kbps=50_000, downlink_kbps=100_000),
            pco=bytes.fromhex("80000d00"), bearer_contexts_to_be_created=(BearerContextToBeCreated(ebi=5, bearer_qos=QOS),), recovery=3,
            ue_time_zone=UeTimeZone(offset_minutes=120, daylight_saving_hours=1), charging_characteristics=0x0800,
        ), 0, 0x12,
        """
        48 20 00 d7            version 2, TEID; Create Session Request
        00 00 00 00            TEID 0: the SGW has given none yet
        00 00 12 00            sequence number
        01 00 08 00  00 01 01 21 43 65 87 f9         IMSI
        4c 00 05 00  33 21 43 65 87                  MSISDN
        4b 00 08 00  53 21 43 65 87 09 21 43         MEI
        56 00 0d 00  18 00 f1 10 00 07 00 f1 10 00 0a 1b 01   ULI: TAI, ECGI
        53 00 03 00  00 f1 10                        Serving Network
        52 00 01 00  06                              RAT Type
        4d 00 02 00  80 08                           Indication: DAF, P
        57 00 09 00  8a 00 00 10 01 0a 00 00 01      Sender F-TEID: S11 MME
        57 00 09 01  87 00 00 00 00 0a 00 00 03      PGW S5/S8 address
        47 00 0d 00  08 69 6e 74 65 72 6e 65 74 03 6c 61 62   APN
        80 00 01 00  00                              Selection Mode
        63 00 01 00  01                              PDN Type
        4f 00 05 00  01 00 00 00 00                  PAA
        7f 00 01 00  00                              Maximum APN Restriction
        48 00 08 00  00 00 c3 50 00 01 86 a0         AMBR
        4e 00 04 00  80 00 0d 00                     PCO
        5d 00 1f 00                                  Bearer Context to be created
           49 00 01 00  05                           EBI
           50 00 16 00  60 09  00 00 00 00 00  00 00 00 00 00  00 00 00 00 00  00 00 00 00 00   QoS: PCI 1, PL 8, PVI 0; QCI 9
        03 00 01 00  03                              Recovery
        72 00 02 00  80 01                           UE Time Zone: 8 quarters, one hour of daylight saving
        5f 00 02 00  08 00                           Charging Characteristics
        """,
    ),
    "create session response on S11": (
        CreateSessionResponse(
            cause=ACCEPTED, sender_fteid=fteid(InterfaceType.S11_S4_SGW_GTP_C, 0x2001, SGW),
            pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_C, 0x3001, PGW), paa=Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address("45.45.0.2")),
            apn_restriction=0, pco=bytes.fromhex("80000d0408080808"),
            bearer_contexts_created=(
                BearerContextCreated(
                    ebi=5, cause=ACCEPTED, s1u_sgw_fteid=fteid(InterfaceType.S1_U_SGW_GTP_U, 0x4001, SGW),
                    s5u_pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_U, 0x5001, PGW), charging_id=77,
                ),
            ),
            recovery=4,
        ), 0x1001, 0x12,
        """
        48 21 00 78            version 2, TEID; Create Session Response
        00 00 10 01            the MME's TEID
        00 00 12 00
        02 00 02 00  10 00                           Cause: request accepted
        57 00 09 00  8b 00 00 20 01 0a 00 00 02      Sender F-TEID: S11 SGW
        57 00 09 01  87 00 00 30 01 0a 00 00 03      PGW S5/S8 control
        4f 00 05 00  01 2d 2d 00 02                  PAA
        7f 00 01 00  00                              APN Restriction
        4e 00 08 00  80 00 0d 04 08 08 08 08         PCO
        5d 00 2d 00                                  Bearer Context created
           49 00 01 00  05
           02 00 02 00  10 00
           57 00 09 00  81 00 00 40 01 0a 00 00 02   S1-U SGW
           57 00 09 02  85 00 00 50 01 0a 00 00 03   S5/S8-U PGW
           5e 00 04 00  00 00 00 4d                  Charging ID
        03 00 01 00  04
        """,
    ),
    "create session response rejecting": (
        CreateSessionResponse(cause=Cause(value=CauseValue.MANDATORY_IE_MISSING, bce=True, cs=True, offending_ie=OffendingIe(80, 0))), 0x1001, 0x13,
        """
        48 21 00 12  00 00 10 01  00 00 13 00
        02 00 06 00  46 03  50 00 00 00              Mandatory IE missing, BCE, CS; Bearer QoS
        """,
    ),
    "modify bearer request": (
        ModifyBearerRequest(
            bearer_contexts_to_be_modified=(BearerContextToBeModified(ebi=5, s1u_enb_fteid=fteid(InterfaceType.S1_U_ENODEB_GTP_U, 0x21, ENB)),),
        ), 0x2001, 0x14,
        """
        48 22 00 1e  00 00 20 01  00 00 14 00
        5d 00 12 00
           49 00 01 00  05
           57 00 09 00  80 00 00 00 21 0a 00 00 05   S1-U eNodeB
        """,
    ),
    "modify bearer response": (
        ModifyBearerResponse(
            cause=ACCEPTED,
            bearer_contexts_modified=(
                BearerContextModified(ebi=5, cause=ACCEPTED, s1u_sgw_fteid=fteid(InterfaceType.S1_U_SGW_GTP_U, 0x4001, SGW)),
            ),
        ), 0x1001, 0x14,
        """
        48 23 00 2a  00 00 10 01  00 00 14 00
        02 00 02 00  10 00
        5d 00 18 00
           49 00 01 00  05
           02 00 02 00  10 00
           57 00 09 00  81 00 00 40 01 0a 00 00 02
        """,
    ),
    "delete session request": (
        DeleteSessionRequest(
            linked_ebi=5, indication=Indication.OI, originating_node=NodeType.MME,
            ran_nas_release_causes=(RanNasCause(protocol_type=RanNasProtocolType.S1AP_CAUSE, cause_type=0, value=b"\x14"),),
        ), 0x2001, 0x15,
        """
        48 24 00 1e  00 00 20 01  00 00 15 00
        49 00 01 00  05                              Linked EBI
        4d 00 02 00  08 00                           Indication: OI
        87 00 01 00  00                              Originating Node: MME
        ac 00 02 00  10 14                           RAN/NAS Release Cause: S1AP radio network, user inactivity
        """,
    ),
    "delete session response": (
        DeleteSessionResponse(cause=ACCEPTED), 0x1001, 0x15,
        """
        48 25 00 0e  00 00 10 01  00 00 15 00
        02 00 02 00  10 00
        """,
    ),
    "release access bearers request": (
        ReleaseAccessBearersRequest(originating_node=NodeType.MME), 0x2001, 0x16,
        """
        48 aa 00 0d  00 00 20 01  00 00 16 00
        87 00 01 00  00
        """,
    ),
    "downlink data notification": (
        DownlinkDataNotification(ebis=(5, 6), arp=Arp(priority_level=2, pre_emption_capability=True, pre_emption_vulnerability=False)), 0x1001, 0x17,
        """
        48 b0 00 17  00 00 10 01  00 00 17 00
        49 00 01 00  05
        49 00 01 00  06
        9b 00 01 00  09                              ARP: may pre-empt, PL 2, may not be pre-empted
        """,
    ),
    "downlink data notification acknowledge": (
        DownlinkDataNotificationAcknowledge(cause=ACCEPTED, data_notification_delay=4), 0x2001, 0x17,
        """
        48 b1 00 13  00 00 20 01  00 00 17 00
        02 00 02 00  10 00
        5c 00 01 00  04                              200 ms
        """,
    ),
    "create bearer request": (
        CreateBearerRequest(
            linked_ebi=5,
            bearer_contexts=(
                BearerContextCreateRequested(
                    ebi=0, tft=bytes.fromhex("211001013011"), s5u_pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_U, 0x5002, PGW),
                    bearer_qos=BearerQos(
                        qci=1, arp=Arp(priority_level=2), mbr_uplink_kbps=128, mbr_downlink_kbps=128, gbr_uplink_kbps=64, gbr_downlink_kbps=64
                    ),
                    charging_id=78,
                ),
            ),
        ), 0x6001, 0x40,
        """
        48 5f 00 4f  00 00 60 01  00 00 40 00
        49 00 01 00  05                              Linked EBI
        5d 00 3e 00
           49 00 01 00  00                           EBI: the MME's to give
           54 00 06 00  21 10 01 01 30 11            TFT
           57 00 09 01  85 00 00 50 02 0a 00 00 03   S5/S8-U PGW
           50 00 16 00  48 01  00 00 00 00 80  00 00 00 00 80  00 00 00 00 40  00 00 00 00 40
           5e 00 04 00  00 00 00 4e
        """,
    ),
    "create bearer response": (
        CreateBearerResponse(
            cause=Cause(value=CauseValue.REQUEST_ACCEPTED_PARTIALLY),
            bearer_contexts=(BearerContextCreateAnswered(ebi=6, cause=Cause(value=CauseValue.UE_REFUSES)),),
        ), 0x3001, 0x40,
        """
        48 60 00 1d  00 00 30 01  00 00 40 00
        02 00 02 00  11 00
        5d 00 0b 00
           49 00 01 00  06
           02 00 02 00  58 00
        """,
    ),
    "delete bearer request": (
        DeleteBearerRequest(
            linked_ebi=5, pgw_fq_csid=FqCsid(node_id=IPv6Address("2001:db8::3"), csids=(1, 2)), cause=Cause(value=CauseValue.REACTIVATION_REQUESTED)
        ), 0x6001, 0x41,
        """
        48 63 00 2c  00 00 60 01  00 00 41 00
        49 00 01 00  05
        84 00 15 00  12 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 03 00 01 00 02   PGW FQ-CSID
        02 00 02 00  08 00
        """,
    ),
    "PGW restart notification": (
        PgwRestartNotification(pgw_address=PGW, sgw_address=SGW), 0, 0x18,
        """
        48 b3 00 18  00 00 00 00  00 00 18 00
        4a 00 04 00  0a 00 00 03
        4a 00 04 01  0a 00 00 02
        """,
    ),
    "unknown elements, kept": (
        DeleteSessionResponse(
            cause=ACCEPTED,
            unknown=(UnknownIe(type=255, instance=0, octets=bytes.fromhex("28af01")), UnknownIe(type=249, instance=3, octets=b"\x01")),
        ), 0x1001, 0x15,
        """
        48 25 00 1a  00 00 10 01  00 00 15 00
        02 00 02 00  10 00
        ff 00 03 00  28 af 01                        Private Extension
        f9 00 01 03  01                              nothing that this message defines
        """,
    ),
}
NAMES = sorted(GOLDEN)


def octets_of(annotated: str) -> bytes:
    """The hexadecimal pairs that each line begins with."""
    return bytes.fromhex("".join(match.group() for line in annotated.splitlines() if (match := re.match(r"(\s*[0-9a-f]{2}\b)*", line))))


@pytest.mark.parametrize("name", NAMES)
def test_message_encodes_to_its_octets(name: str) -> None:
    message, teid, sequence, annotated = GOLDEN[name]
    assert encode(message, teid=teid, sequence=sequence).hex(" ") == octets_of(annotated).hex(" ")


@pytest.mark.parametrize("name", NAMES)
def test_octets_decode_to_the_message(name: str) -> None:
    message, teid, sequence, annotated = GOLDEN[name]
    assert decode(octets_of(annotated)) == Packet(message=message, teid=teid, sequence=sequence)


# pycrate wants a bearer context in a rejection too, and loses what follows an FQ-CSID.
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"unknown elements, kept", "create session response rejecting", "delete bearer request"}))
def test_pycrate_reads_the_same(name: str) -> None:
    octets = octets_of(GOLDEN[name][3])
    message, error = parse_GTPC(octets)
    assert error == 0
    assert message.to_bytes() == octets


def test_piggybacked_message_follows_the_first() -> None:
    response, teid, sequence, _ = GOLDEN["create session response on S11"]
    request, request_teid, request_sequence, _ = GOLDEN["create bearer request"]
    assert request_teid is not None
    octets = encode(response, teid=teid, sequence=sequence, piggybacked=(request, request_teid, request_sequence))
    assert octets[0] == 0x58
    packet = decode(octets)
    assert packet.message == response
    assert packet.piggybacked == Packet(message=request, teid=request_teid, sequence=request_sequence)


def test_message_priority_travels_in_the_header() -> None:
    octets = encode(DeleteSessionResponse(cause=ACCEPTED), teid=1, sequence=2, message_priority=5)
    assert octets[0] == 0x4C
    assert octets[11] == 0x50
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
    subprocess.run(["text2pcap", "-q", "-u", "2123,2123", str(dump), str(capture)], check=True, capture_output=True)
    shown = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "fields", "-e", "gtpv2.message_type", "-e", "_ws.expert.message", "-E", "separator=;"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()
    assert len(shown) == len(NAMES)
    for name, line in zip(NAMES, shown, strict=True):
        message_type, _, complaint = line.partition(";")
        assert int(message_type) == GOLDEN[name][0].message_type, name
        assert "alformed" not in complaint, (name, complaint)
        assert "xception" not in complaint, (name, complaint)
