"""Captures: tshark reads every layer of them, checksums hold, each packet stands once."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from epc.transport.capture import INBOUND, OUTBOUND, CapturedFrame, PcapngCapture, internet_checksum, ip_packet, merge, read_capture
from epc.transport.interface import Address, Carrier, Direction, TappedPacket
from epc.transport.sctp.crc32c import crc32c, crc32c_by_table
from epc.wire import diameter, gtpu, gtpv2, nas, s1ap

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

ENB, MME = Address("127.0.1.1", 36412), Address("127.0.1.2", 36412)
MME_S11, SGW_S11 = Address("10.1.0.2", 2123), Address("10.1.0.3", 2123)
MME_S6A, HSS_S6A = Address("fd00::2", 40000), Address("fd00::4", 3868)
ENB_S1U, SGW_S1U = Address("fd00::1", 2152), Address("fd00::3", 2152)

IDENTITY_REQUEST = nas.encode(nas.IdentityRequest(identity_type=1))


def packet(carrier: Carrier, source: Address, destination: Address, payload: bytes, **changes: object) -> TappedPacket:
    sent = TappedPacket(
        time=1_700_000_000.25, node="mme-1", direction=Direction.SENT, carrier=carrier, interface="S1-MME", source=source, destination=destination,
        payload=payload,
    )
    return replace(sent, **changes)  # type: ignore[arg-type]


def s1ap_packet(nas_pdu: bytes = IDENTITY_REQUEST) -> TappedPacket:
    message = s1ap.DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, nas_pdu=nas_pdu)
    return packet(Carrier.SCTP, MME, ENB, s1ap.encode(message), stream=1, ppid=18)


def watchdog(number: int) -> bytes:
    realm = "epc.mnc001.mcc001.3gppnetwork.org"
    request = diameter.base.DeviceWatchdogRequest(origin_host=f"mme.{realm}", origin_realm=realm)
    return diameter.encode(request, hop_by_hop=number, end_to_end=number)


def gtpu_packet() -> TappedPacket:
    ping = ip_packet(Address("10.45.0.2", 0), Address("10.45.0.1", 0), 1, bytes.fromhex("0800f7fd00010001"))
    return packet(Carrier.UDP, ENB_S1U, SGW_S1U, gtpu.encode(gtpu.GPdu(payload=ping), teid=0x1001))


def captured(path: Path) -> list[CapturedFrame]:
    return list(read_capture(path))


def tshark(path: Path, *options: str) -> list[str]:
    run = subprocess.run(["tshark", "-n", "-r", str(path), *options], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


BAD = "(_ws.malformed || _ws.expert.severity >= 0x00600000) && !(_ws.expert.group == 0x02000000 && !_ws.malformed)"
VALIDATE = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "sctp.checksum:TRUE")


@needs_tshark
@pytest.mark.interop
def test_tshark_reads_every_layer_and_finds_nothing_wrong(tmp_path: Path) -> None:
    path = tmp_path / "out" / "trace.pcapng"
    capture = PcapngCapture(path)
    capture.packet(s1ap_packet())
    capture.packet(packet(Carrier.UDP, MME_S11, SGW_S11, gtpv2.encode(gtpv2.EchoRequest(recovery=3), teid=None, sequence=7)))
    for number in range(3):
        capture.packet(packet(Carrier.TCP, MME_S6A, HSS_S6A, watchdog(number)))
    capture.packet(gtpu_packet())
    capture.readable_copy(1_700_000_001, "mme-1", "nas-eps_plain", IDENTITY_REQUEST, MME, ENB, imsi="001010000000001")
    capture.close()
    protocols = ["S1AP/NAS-EPS", "GTPv2", "DIAMETER", "DIAMETER", "DIAMETER", "GTP <ICMP>", "NAS-EPS"]
    assert tshark(path, "-T", "fields", "-e", "_ws.col.Protocol") == protocols
    assert tshark(path, *VALIDATE, "-Y", BAD) == []
    checked = "ip.checksum.status == Good || udp.checksum.status == Good || tcp.checksum.status == Good || sctp.checksum.status == Good"
    assert len(tshark(path, *VALIDATE, "-Y", checked)) == 6
    assert tshark(path, "-Y", "nas_eps.nas_msg_emm_type == 0x55", "-T", "fields", "-e", "frame.number") == ["1", "7"]
    assert tshark(path, "-Y", "frame.comment contains \"IMSI 001010000000001\"", "-T", "fields", "-e", "frame.number") == ["7"]
    assert tshark(path, "-c", "1", "-T", "fields", "-e", "frame.time_epoch", "-e", "sctp.data_ssn", "-e", "sctp.data_sid") == [
        "1700000000.250000000\t0\t0x0001"]


@needs_tshark
@pytest.mark.interop
def test_sequence_numbers_count(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    capture = PcapngCapture(path)
    for stream in (1, 2, 1):
        capture.packet(replace(s1ap_packet(), stream=stream))
    capture.packet(replace(s1ap_packet(), source=ENB, destination=MME))
    requests = [watchdog(number) for number in range(2)]
    for request in requests:
        capture.packet(packet(Carrier.TCP, MME_S6A, HSS_S6A, request))
    capture.packet(packet(Carrier.TCP, HSS_S6A, MME_S6A, requests[0]))
    capture.close()
    assert tshark(path, "-Y", "sctp", "-T", "fields", "-e", "sctp.data_tsn_raw", "-e", "sctp.data_ssn") == ["1\t0", "2\t0", "3\t1", "1\t0"]
    size = len(requests[0])
    assert tshark(path, "-Y", "tcp", "-T", "fields", "-e", "tcp.seq_raw", "-e", "tcp.ack_raw") == ["1\t1", f"{1 + size}\t1", f"1\t{1 + 2 * size}"]


@needs_tshark
@pytest.mark.interop
def test_a_message_longer_than_an_ip_packet_is_put_together_again(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    capture = PcapngCapture(path)
    capture.packet(packet(Carrier.SCTP, MME, ENB, bytes(130_000), stream=0, ppid=0))
    capture.close()
    assert capture.packets_written == 3
    bits = tshark(path, "-T", "fields", "-e", "sctp.data_b_bit", "-e", "sctp.data_e_bit", "-e", "sctp.data_tsn_raw", "-e", "sctp.data_ssn")
    assert bits == ["1\t0\t1\t0", "0\t0\t2\t0", "0\t1\t3\t0"]
    assert len(tshark(path, "-Y", "sctp.fragments")) == 1
    assert tshark(path, "-Y", BAD) == []


def test_nodes_that_share_a_capture_write_each_packet_once() -> None:
    file = io.BytesIO()
    capture = PcapngCapture(file)
    sent = s1ap_packet()
    from_outside = replace(sent, direction=Direction.RECEIVED, source=ENB, destination=MME)
    capture.packet(sent)
    capture.packet(replace(sent, node="enb-1", direction=Direction.RECEIVED))
    capture.packet(from_outside)
    assert capture.packets_written == 2


@pytest.mark.parametrize(("directions", "written"), [("sent", 1), ("both", 3), ("auto", 2)])
def test_directions(directions: str, written: int) -> None:
    capture = PcapngCapture(io.BytesIO(), directions=directions)  # type: ignore[arg-type]
    sent = s1ap_packet()
    capture.packet(sent)
    capture.packet(replace(sent, node="enb-1", direction=Direction.RECEIVED))
    capture.packet(replace(sent, direction=Direction.RECEIVED, source=ENB, destination=MME))
    assert capture.packets_written == written


def test_comments_name_node_interface_and_subscriber(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    capture = PcapngCapture(path, imsi_of=lambda packet: "001010000000001" if packet.stream else None)
    capture.packet(s1ap_packet())
    capture.packet(replace(s1ap_packet(), stream=0))
    capture.close()
    assert [frame.comment for frame in captured(path)] == ["mme-1 S1-MME IMSI 001010000000001", "mme-1 S1-MME"]


def test_a_virtual_clock_starts_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    capture = PcapngCapture(path)
    capture.packet(replace(s1ap_packet(), time=0.0))
    capture.packet(replace(s1ap_packet(), time=30.000001))
    capture.close()
    assert [frame.time_us for frame in captured(path)] == [0, 30_000_001]


def test_captures_of_two_processes_are_joined_in_order_and_without_doubles(tmp_path: Path) -> None:
    sent = s1ap_packet()
    answer = replace(sent, source=ENB, destination=MME, time=sent.time + 0.002, node="enb-1")
    mme, enb = PcapngCapture(tmp_path / "mme.pcapng"), PcapngCapture(tmp_path / "enb.pcapng")
    stranger = packet(Carrier.UDP, SGW_S11, MME_S11, b"echo", direction=Direction.RECEIVED, time=sent.time + 0.001)
    for capture, seen in (
        (mme, (sent, stranger, replace(answer, direction=Direction.RECEIVED, node="mme-1", time=answer.time + 0.001))),
        (enb, (replace(sent, direction=Direction.RECEIVED, node="enb-1", time=sent.time + 0.001), answer)),
    ):
        for each in seen:
            capture.packet(each)
        capture.close()
    assert merge([tmp_path / "enb.pcapng", tmp_path / "mme.pcapng"], tmp_path / "all.pcapng") == 3
    joined = captured(tmp_path / "all.pcapng")
    assert [(frame.comment, frame.flags) for frame in joined] == [("mme-1 S1-MME", OUTBOUND), ("mme-1 S1-MME", INBOUND), ("enb-1 S1-MME", OUTBOUND)]
    assert joined[0].frame == captured(tmp_path / "mme.pcapng")[0].frame


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    capture = PcapngCapture(path)
    for _ in range(2):
        capture.packet(s1ap_packet())
    capture.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert len(captured(path)) < 2


def test_crc32c_of_rfc_3720() -> None:
    for octets, value in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        assert crc32c(octets) == crc32c_by_table(octets) == value


def test_internet_checksum_of_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert internet_checksum(bytes(4)) == 0xFFFF
    assert internet_checksum(b"\xff\xff") == 0
    assert internet_checksum(b"\x01") == 0xFFFF - 0x0100
