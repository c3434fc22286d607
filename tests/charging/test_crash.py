"""A PGW process that is killed in mid-traffic: its records have no gap, nothing twice, and every session has its end."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import orjson
import pytest

from epc.peer.gtpc import GtpcTimers
from epc.peer.timer import Timer
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from epc.wire import gtpu
from epc.wire.cdr import CauseForRecClosing, PgwRecord, decode, from_json, split
from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextToBeCreated,
    BearerQos,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteSessionRequest,
    DeleteSessionResponse,
    Fteid,
    InterfaceType,
    Paa,
    PdnType,
    RatType,
)
from epc.wire.identity import Ebi, Imsi

pytestmark = [pytest.mark.real_time]

PGW, SGW = "127.0.87.1", "127.0.87.2"
PATIENCE = Timer("T3-RESPONSE", 0.3, 100)
LIMIT, PAYLOAD = 3000, 172
CONFIG = """
name: pgw1
admin: {{enabled: false}}
log: {{level: error}}
s5c: {{host: {pgw}}}
s5u: {{host: {pgw}}}
sgi_hosts: in_process
apns: {{internet: {{ipv4_pool: 10.45.0.0/16, server: 10.200.0.1/24}}}}
state_directory: {directory}
offline_charging: {{partial: {{octets: {limit}}}, rotate: {{records: 7}}, volumes_every_s: 0.02}}
"""


def udp_packet(source: IPv4Address) -> bytes:
    """To the discard port of the server behind the PGW."""
    length = 28 + PAYLOAD
    header = bytearray(bytes((0x45, 0)) + length.to_bytes(2, "big") + bytes((0, 0, 0x40, 0, 64, 17, 0, 0)) + source.packed + bytes((10, 200, 0, 1)))
    total = sum(int.from_bytes(header[place:place + 2], "big") for place in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    return bytes(header) + bytes((0, 9, 0, 9)) + (8 + PAYLOAD).to_bytes(2, "big") + bytes(2) + bytes(PAYLOAD)


class Session:
    def __init__(self, imsi: str) -> None:
        self.imsi = imsi
        self.charging_id = self.sent = self.control = self.user = 0
        self.address = IPv4Address(0)


async def create(s8: GtpcEndpoint, session: Session) -> None:
    request = CreateSessionRequest(
        imsi=Imsi(session.imsi), rat_type=RatType.EUTRAN, sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 1, SGW), apn="internet",
        pdn_type=PdnType.IPV4, paa=Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address(0)), ambr=Ambr(uplink_kbps=100_000, downlink_kbps=100_000),
        serving_network="21407", bearer_contexts_to_be_created=(BearerContextToBeCreated(
            ebi=Ebi(5), bearer_qos=BearerQos(qci=9, arp=Arp(priority_level=8)),
            s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, 1, SGW)),))
    answer = (await s8.request(Address(PGW, 2123), 0, request, PATIENCE)).message
    assert isinstance(answer, CreateSessionResponse)
    assert answer.cause.is_accepted
    bearer = answer.bearer_contexts_created[0]
    assert answer.pgw_fteid is not None
    assert answer.paa is not None
    assert bearer.s5u_pgw_fteid is not None
    session.charging_id, session.control = bearer.charging_id or 0, answer.pgw_fteid.teid
    session.user, session.address, session.sent = bearer.s5u_pgw_fteid.teid, answer.paa.ipv4 or session.address, 0


def records(directory: Path) -> list[PgwRecord]:
    binary: list[Any] = [decode(octets) for path in sorted(directory.glob("*.cdr")) for _, octets in split(path.read_bytes())]
    text = [from_json(orjson.loads(line)) for path in sorted(directory.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert binary == text
    return binary


def parts_written(directory: Path, session: Session) -> int:
    """How many of a session's records are in files by now, closed or open; a line may be half there."""
    wanted = f'"charging_id":{session.charging_id},'.encode()
    return sum(path.read_bytes().count(wanted) for path in directory.glob("*.jsonl*"))


async def test_a_killed_gateway_leaves_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "pgw.yaml"
    file.write_text(CONFIG.format(pgw=PGW, directory=tmp_path, limit=LIMIT))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "epc.cli", "pgw", "--config", str(file)])

    chance = random.Random(5)
    transport = SocketTransport("sgw")
    s8 = GtpcEndpoint(
        transport, Address(SGW, 2123), interface="S5/S8", restart_counter=1, on_request=lambda received: None, on_event=lambda event: None,
        timers=GtpcTimers(t3_response=PATIENCE, echo_interval_s=None), observer=None, remote_teid=lambda teid: 1, first_sequence=1)
    user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    user.bind((SGW, 2152))
    user.connect((PGW, 2152))
    user.setblocking(False)
    lives: list[list[Session]] = []

    def send(session: Session) -> None:
        packet = udp_packet(session.address)
        try:
            user.send(gtpu.encode_gpdu_header(session.user, len(packet)) + packet)
            session.sent += len(packet)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    pgw = start()
    try:
        await s8.open()
        for life in range(3):
            sessions = [Session(f"0010100000000{number:02}") for number in range(4)]
            for session in sessions:
                await create(s8, session)
            lives.append(sessions)
            enough = chance.randint(1, 3)
            while min(parts_written(tmp_path / "cdr", session) for session in sessions) < enough:
                for _ in range(chance.randint(5, 20)):
                    for session in sessions:
                        send(session)
                    await asyncio.sleep(0.002)
            if life < 2:
                pgw.send_signal(signal.SIGKILL)
                assert pgw.wait() == -signal.SIGKILL
                pgw = start()
        for session in lives[-1]:
            answer = (await s8.request(Address(PGW, 2123), session.control, DeleteSessionRequest(linked_ebi=Ebi(5)), PATIENCE)).message
            assert isinstance(answer, DeleteSessionResponse)
        pgw.send_signal(signal.SIGTERM)
        assert pgw.wait(20) == 0
    finally:
        pgw.kill()
        pgw.wait()
        user.close()
        await s8.close()
        await transport.close()

    found = records(tmp_path / "cdr")
    assert [record.local_sequence_number for record in found] == [*range(1, len(found) + 1)], "no gap, and nothing twice"
    assert not list((tmp_path / "cdr").glob("*.open"))
    by_bearer: dict[int, list[PgwRecord]] = {}
    for record in found:
        by_bearer.setdefault(record.charging_id, []).append(record)
    assert set(by_bearer) == {session.charging_id for sessions in lives for session in sessions}
    for number, sessions in enumerate(lives):
        for session in sessions:
            *parts, last = by_bearer[session.charging_id]
            expected = CauseForRecClosing.NORMAL_RELEASE if number == 2 else CauseForRecClosing.ABNORMAL_RELEASE
            assert last.cause_for_rec_closing is expected
            assert {part.cause_for_rec_closing for part in parts} <= {CauseForRecClosing.VOLUME_LIMIT}
            assert [part.record_sequence_number for part in (*parts, last)] == [*range(1, len(parts) + 2)]
            carried = sum(part.uplink_octets for part in (*parts, last))
            assert parts
            assert 0 < carried <= session.sent, "not more than was sent; what came since the last note is missing, and what was still in a socket"
            assert all(part.uplink_octets + part.downlink_octets >= LIMIT for part in parts)
