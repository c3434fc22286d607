"""tshark as a judge of captures: which packets its dissectors call malformed or suspicious, and which fields it finds in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from epc.transport.capture import PcapngCapture
from epc.transport.interface import Address, Carrier, Direction, TappedPacket

WARNING, PROTOCOL_SEQUENCE = 0x00600000, 0x02000000      # severities and groups of epan/proto.h
BAD_PACKETS = (
    # The group "sequence" judges the capture's TCP, not the protocol: a capture starts in the middle of a connection.
    f"(_ws.malformed || _ws.expert.severity >= {WARNING:#010x}) && !(_ws.expert.group == {PROTOCOL_SEQUENCE:#010x} && !_ws.malformed)"
)
DECODE_AS = ("-d", "udp.port==9899,sctp")                   # SCTP in UDP, RFC 6951
TIMEOUT_S = 60

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What tshark holds against one packet."""

    frame_number: int
    comment: str            # the capture's comment on the packet
    text: str               # of the expert messages, with their severities


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One message to put before tshark, as it would be on the wire."""

    name: str
    payload: bytes
    carrier: Carrier
    port: int
    downlink: bool = False  # from the server (MME, PGW, HSS...) to the client
    ppid: int = 0


def _tshark(capture: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["tshark", "-n", "-r", str(capture), *DECODE_AS, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if run.returncode:
        raise RuntimeError(f"tshark cannot read {capture.name}: {run.stderr.strip()}")
    return run.stdout


def table(capture: Path, *arguments: str, fields: Sequence[str]) -> list[list[str]]:
    """One row a packet that passes the filter in ``arguments``: the values of ``fields``, several of one joined by commas."""
    columns = [option for field in fields for option in ("-e", field)]
    return [line.split("\t") for line in _tshark(capture, *arguments, "-T", "fields", *columns).splitlines()]


def frames_by_filter(capture: Path, display_filters: Sequence[str]) -> list[int]:
    """How many packets pass each of the filters; all of them are counted in one run."""
    statistics = [option for display_filter in display_filters for option in ("-z", f"io,stat,0,{display_filter}")]
    report = _tshark(capture, "-q", *statistics)
    counts = [int(found) for found in re.findall(r"^\|\s*[\d.]+ <> +(?:[\d.]+|Dur) *\| +(\d+) \|", report, re.MULTILINE)]
    if len(counts) != len(display_filters):
        raise RuntimeError(f"tshark counted {len(counts)} of {len(display_filters)} filters in {capture.name}")
    return counts[::-1]         # the last table comes first


def complaints(capture: Path) -> list[Complaint]:
    """The packets that tshark calls malformed, or flags with a warning or an error."""
    rows = table(capture, "-Y", BAD_PACKETS, fields=("frame.number", "frame.comment", "_ws.expert.severity", "_ws.expert.message", "_ws.malformed"))
    return [
        Complaint(frame_number=int(number), comment=comment, text=f"{message or malformed} ({severity})")
        for number, comment, severity, message, malformed in rows]


def write_samples(capture: Path, samples: Iterable[Sample]) -> int:
    """A capture of ``samples``, one packet each, commented with its name. Returns how many."""
    client, server = "192.0.2.1", "192.0.2.2"
    file = PcapngCapture(capture, directions="both")
    try:
        for index, sample in enumerate(samples):
            ends = Address(client, sample.port), Address(server, sample.port)
            source, destination = reversed(ends) if sample.downlink else ends
            file.packet(TappedPacket(
                time=index / 1000, node=sample.name, direction=Direction.SENT, carrier=sample.carrier, interface="", source=source,
                destination=destination, payload=sample.payload, ppid=sample.ppid))
    finally:
        file.close()
    return file.packets_written


def judged(capture: Path, samples: Sequence[Sample]) -> list[str]:
    """Write ``samples`` to ``capture`` and say what tshark holds against them: a line each, with the octets."""
    write_samples(capture, samples)
    return [
        f"{complaint.comment.strip()}: {complaint.text}: {samples[complaint.frame_number - 1].payload.hex()}" for complaint in complaints(capture)]
