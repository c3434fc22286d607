"""S1AP messages of an attach as octets, annotated; what is written down here is what other people's nodes send."""

from __future__ import annotations

import pathlib
import re
import shutil
import struct
import subprocess

import pytest

from epc.wire import s1ap
from epc.wire.s1ap import (
    ENBID,
    EUTRANCGI,
    STMSI,
    TAI,
    AllocationAndRetentionPriority,
    BitString,
    Cause,
    DownlinkNASTransport,
    ERABLevelQoSParameters,
    ERABSetupItemCtxtSURes,
    ERABToBeSetupItemCtxtSUReq,
    GlobalENBID,
    InitialContextSetupRequest,
    InitialContextSetupResponse,
    InitialUEMessage,
    Message,
    Paging,
    PrivateIE,
    PrivateMessage,
    Reset,
    ResetType,
    S1SetupFailure,
    S1SetupRequest,
    S1SetupResponse,
    ServedGUMMEIsItem,
    SupportedTAsItem,
    TAIItem,
    UEAggregateMaximumBitrate,
    UEassociatedLogicalS1ConnectionItem,
    UEContextReleaseCommand,
    UEContextReleaseComplete,
    UEContextReleaseRequest,
    UEPagingID,
    UES1APIDpair,
    UES1APIDs,
    UESecurityCapabilities,
    UnknownIE,
    UplinkNASTransport,
)

PLMN = bytes.fromhex("00f110")
HOME_TAI = TAI(plmn_identity=PLMN, tac=b"\0\1")
CELL = EUTRANCGI(plmn_identity=PLMN, cell_id=BitString(0x19B01, 28))

GOLDEN: dict[str, tuple[str, Message]] = {
    "S1 Setup Request": (
        """
        00 11 00 2d                initiatingMessage, S1Setup, reject, 45 octets
        00 0004                    4 elements
        003b 00 08                 Global-ENB-ID
           00 00f110  00 0019b0    PLMN 001 01, macroENB-ID, 20 bits
        003c 40 0a                 eNBname
           03 80 6570636c61622d31  8 characters
        0040 00 07                 SupportedTAs, 1 item
           0000 0040 00f110        TAC 1, 1 PLMN
        0089 40 01 20              DefaultPagingDRX v64
        """,
        S1SetupRequest(
            global_enb_id=GlobalENBID(plmn_identity=PLMN, enb_id=ENBID("macroENB-ID", BitString(0x19B, 20))), enb_name="epclab-1",
            supported_tas=(SupportedTAsItem(tac=b"\0\1", broadcast_plmns=(PLMN,)),), default_paging_drx="v64"),
    ),
    "S1 Setup Response": (
        """
        20 11 00 20                successfulOutcome, S1Setup
        00 0003
        003d 40 05 01006d6d65      MMEname "mme"
        0069 00 0b                 ServedGUMMEIs, 1 item
           00 0000f110             1 PLMN
           0000 0002 0001          1 group, 2; 1 code, 1
        0057 40 01 ff              RelativeMMECapacity
        """,
        S1SetupResponse(
            mme_name="mme", relative_mme_capacity=255,
            served_gummeis=(ServedGUMMEIsItem(served_plmns=(PLMN,), served_group_ids=(b"\0\2",), served_mmecs=(b"\1",)),)),
    ),
    "S1 Setup Failure": (
        """
        40 11 00 0d                unsuccessfulOutcome, S1Setup
        00 0002
        0002 40 01 45              Cause misc: unknown-PLMN
        0041 40 01 30              TimeToWait v10s
        """,
        S1SetupFailure(cause=Cause("misc", "unknown-PLMN"), time_to_wait="v10s"),
    ),
    "Initial UE Message": (
        """
        00 0c 40 35
        00 0006
        0008 00 02 0001            eNB-UE-S1AP-ID 1
        001a 00 03 020741          NAS-PDU
        0043 00 06 00 00f110 0001  TAI
        0064 40 08 00 00f110 0019b010
        0086 40 01 30              RRC-Establishment-Cause mo-Signalling
        0060 00 06 0040 c0000001   S-TMSI
        """,
        InitialUEMessage(
            enb_ue_s1ap_id=1, nas_pdu=bytes.fromhex("0741"), tai=HOME_TAI, eutran_cgi=CELL, rrc_establishment_cause="mo-Signalling",
            s_tmsi=STMSI(mmec=b"\1", m_tmsi=bytes.fromhex("c0000001"))),
    ),
    "Downlink NAS Transport": (
        """
        00 0b 40 1a
        00 0003
        0000 00 05 c001234567      MME-UE-S1AP-ID in four octets
        0008 00 03 40012c          eNB-UE-S1AP-ID in two
        001a 00 03 020752
        """,
        DownlinkNASTransport(mme_ue_s1ap_id=0x1234567, enb_ue_s1ap_id=300, nas_pdu=b"\x07\x52"),
    ),
    "Uplink NAS Transport": (
        """
        00 0d 40 2c
        00 0005
        0000 00 02 0001
        0008 00 02 0001
        001a 00 03 020753
        0064 40 08 00 00f110 0019b010
        0043 40 06 00 00f110 0001
        """,
        UplinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, nas_pdu=b"\x07\x53", eutran_cgi=CELL, tai=HOME_TAI),
    ),
    "Initial Context Setup Request": (
        """
        00 09 00 64
        00 0006
        0000 00 02 0001
        0008 00 02 0001
        0042 00 0a 18 3b9aca00 60 1dcd6500     1 Gbit/s down, 500 Mbit/s up
        0018 00 16 00                          1 bearer
           0034 00 11 45 00 09 20              E-RAB 5, QCI 9, ARP 8
              0f80 7f000003 00000007           TransportLayerAddress of 32 bits, GTP-TEID
              02 2701                          NAS-PDU
        006b 00 05 1c000c0000                  EEA1 to 3, EIA1 and 2
        0049 00 20 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f
        """,
        InitialContextSetupRequest(
            mme_ue_s1ap_id=1, enb_ue_s1ap_id=1,
            ue_aggregate_maximum_bitrate=UEAggregateMaximumBitrate(
                ue_aggregate_maximum_bit_rate_dl=1_000_000_000, ue_aggregate_maximum_bit_rate_ul=500_000_000),
            e_rab_to_be_setup_list_ctxt_su_req=(
                ERABToBeSetupItemCtxtSUReq(
                    e_rab_id=5, transport_layer_address=BitString.of(bytes((127, 0, 0, 3))), gtp_teid=b"\0\0\0\7", nas_pdu=b"\x27\1",
                    e_rab_level_qos_parameters=ERABLevelQoSParameters(qci=9, allocation_retention_priority=AllocationAndRetentionPriority(
                        priority_level=8, pre_emption_capability="shall-not-trigger-pre-emption", pre_emption_vulnerability="not-pre-emptable"))),),
            ue_security_capabilities=UESecurityCapabilities(
                encryption_algorithms=BitString(0xE000, 16), integrity_protection_algorithms=BitString(0xC000, 16)),
            security_key=BitString.of(bytes(range(32)))),
    ),
    "Initial Context Setup Response": (
        """
        20 09 00 22
        00 0003
        0000 40 02 0001
        0008 40 02 0001
        0033 40 0f 00
           0032 40 0a 0a 1f 7f000001 00000008
        """,
        InitialContextSetupResponse(
            mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, e_rab_setup_list_ctxt_su_res=(
                ERABSetupItemCtxtSURes(e_rab_id=5, transport_layer_address=BitString.of(bytes((127, 0, 0, 1))), gtp_teid=b"\0\0\0\x08"),)),
    ),
    "UE Context Release Request": (
        "00 12 40 15  00 0003  0000 00 02 0001  0008 00 02 0001  0002 40 02 0280",
        UEContextReleaseRequest(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, cause=Cause("radioNetwork", "user-inactivity")),
    ),
    "UE Context Release Command": (
        "00 17 00 10  00 0002  0063 00 04 00010001  0002 40 01 24",
        UEContextReleaseCommand(
            ue_s1ap_ids=UES1APIDs("uE-S1AP-ID-pair", UES1APIDpair(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1)), cause=Cause("nas", "detach")),
    ),
    "UE Context Release Complete": (
        "20 17 00 0f  00 0002  0000 40 02 0001  0008 40 02 0001",
        UEContextReleaseComplete(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1),
    ),
    "Paging": (
        """
        00 0a 40 27
        00 0004
        0050 40 02 5540                        UEIdentityIndexValue, 10 bits
        002b 40 06 0010 c0000001               S-TMSI
        006d 40 01 00                          CN domain ps
        002e 40 0b 00 002f 40 06 00 00f110 0001
        """,
        Paging(
            ue_identity_index_value=BitString(0x155, 10), ue_paging_id=UEPagingID("s-TMSI", STMSI(mmec=b"\1", m_tmsi=bytes.fromhex("c0000001"))),
            cn_domain="ps", tai_list=(TAIItem(tai=HOME_TAI),)),
    ),
    "Reset of one connection": (
        "00 0e 00 14  00 0002  0002 40 01 43  005c 00 08 40 00 005b 00 02 40 05",
        Reset(cause=Cause("misc", "om-intervention"), reset_type=ResetType(
            "partOfS1-Interface", (UEassociatedLogicalS1ConnectionItem(mme_ue_s1ap_id=5),))),
    ),
    "Private Message with a local id and an object identifier": (
        "00 27 40 16  00 0001  00 0009 40 01 01  80 07 2b060104 01d12f 80 02 6162",
        PrivateMessage(private_ies=(PrivateIE(9, "ignore", b"\1"), PrivateIE((1, 3, 6, 1, 4, 1, 10415), "notify", b"ab"))),
    ),
    "an element of a later release": (
        "00 0b 40 1c  00 0004  0000 00 02 0001  0008 00 02 0001  001a 00 02 0107  ea60 40 03 6e6577",
        DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, nas_pdu=b"\7", unknown=(UnknownIE(60000, "ignore", b"new"),)),
    ),
}


def octets_of(annotated: str) -> bytes:
    """The leading hexadecimal words of each line."""
    lines = (re.match(r"(?:[0-9a-f]{2}(?:[0-9a-f]{2})*(?:\s+|$))*", line.strip()) for line in annotated.strip().splitlines())
    return bytes.fromhex("".join(match.group() for match in lines if match))


@pytest.mark.parametrize("name", GOLDEN)
def test_encodes_to_the_golden_octets(name: str) -> None:
    annotated, message = GOLDEN[name]
    assert s1ap.encode(message).hex() == octets_of(annotated).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_decodes_the_golden_octets(name: str) -> None:
    annotated, message = GOLDEN[name]
    assert s1ap.decode(octets_of(annotated)) == message


@pytest.mark.parametrize("name", GOLDEN)
def test_every_truncation_is_a_transfer_syntax_error(name: str) -> None:
    octets = octets_of(GOLDEN[name][0])
    for length in range(len(octets)):
        with pytest.raises(s1ap.S1apSyntaxError) as caught:
            s1ap.decode(octets[:length])
        assert caught.value.cause == Cause("protocol", "transfer-syntax-error")


def test_message_classes_know_their_procedure() -> None:
    request = InitialContextSetupRequest
    assert (request.procedure_code, request.criticality, request.kind) == (9, "reject", "initiating")
    assert (S1SetupFailure.procedure_code, S1SetupFailure.kind) == (17, "unsuccessful")


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_golden_messages_well_formed(tmp_path: pathlib.Path) -> None:
    """Link type 252 (exported PDU) hands the octets to Wireshark's S1AP dissector without carriers around them."""
    names = [name for name in GOLDEN if name != "Private Message with a local id and an object identifier"]
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 252)
    for name in names:
        octets = octets_of(GOLDEN[name][0])
        record = struct.pack(">HH", 12, 4) + b"s1ap" + bytes(4) + octets
        capture += struct.pack("<IIII", 0, 0, len(record), len(record)) + record
    path = tmp_path / "s1ap.pcap"
    path.write_bytes(capture)
    command = ["tshark", "-r", str(path), "--disable-protocol", "nas-eps", "-T", "fields"]
    command += ["-e", "s1ap.procedureCode", "-e", "_ws.malformed", "-e", "per.encoding_error"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.rstrip("\t").split("\t") for line in lines] == [[str(GOLDEN[name][1].procedure_code)] for name in names]
