"""tshark as a judge of captures: which packets its dissectors call malformed or suspicious, and which fields it finds in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from epc.transport.capture import PcapngCapture
from epc.transport.interface import Address, Carrier, Direction, TappedPacket

NOTE, WARNING = 0x00400000, 0x00600000                      # severities of Wireshark's epan/proto.h
SEQUENCE = 0x02000000                                       # the group of what judges the capture's TCP, and not the protocol in it
DECODE_AS = ("-d", "udp.port==9899,sctp")                   # SCTP in UDP, RFC 6951
READS_NULL_CIPHERING = "nas-eps.null_decipher"              # tshark takes ciphered NAS for plain where its first octet looks so
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
    is_downlink: bool = False       # from the server (MME, PGW, HSS...) to the client
    ppid: int = 0
    dissector: str = ""             # not a packet, but an exported PDU for the dissector of that name


def bad_packets(severity: int = WARNING) -> str:
    """The display filter for packets that are malformed, or flagged with that severity or a higher one."""
    return f"(_ws.malformed || _ws.expert.severity >= {severity:#010x}) && !(_ws.expert.group == {SEQUENCE:#010x} && !_ws.malformed)"


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
    """How many packets pass each of the filters, all counted in one run. The capture must last some time: an instant has no statistics."""
    statistics = [option for display_filter in display_filters for option in ("-z", f"io,stat,0,{display_filter}")]
    report = _tshark(capture, "-q", *statistics)
    counts = [int(found) for found in re.findall(r"^\|\s*[\d.]+ <> +[\d.]+ *\| +(\d+) \|", report, re.MULTILINE)]
    if len(counts) != len(display_filters):
        raise RuntimeError(f"tshark counted {len(counts)} of {len(display_filters)} filters in {capture.name}")
    return counts[::-1]         # the last table comes first


def dissections(capture: Path, *protocols: str) -> list[str]:
    """What tshark writes of each packet, with the layers of ``protocols`` in full."""
    return re.split(r"^Frame \d+: ", _tshark(capture, "-V", "-O", ",".join(protocols)), flags=re.MULTILINE)[1:]


def complaints(capture: Path, severity: int = WARNING, *, is_ciphered: bool = False) -> list[Complaint]:
    """The packets that tshark calls malformed, or flags with that severity or a higher one.

    With EEA1, 2 or 3 one ciphered message in fifteen looks like a plain one and is found fault with, unless ``is_ciphered`` says better.
    """
    preference = ("-o", f"{READS_NULL_CIPHERING}:{'FALSE' if is_ciphered else 'TRUE'}")
    rows = table(capture, *preference, "-Y", bad_packets(severity),
                 fields=("frame.number", "frame.comment", "_ws.expert.severity", "_ws.expert.message", "_ws.malformed"))
    return [
        Complaint(frame_number=int(number), comment=comment, text=f"{message or malformed} ({severities})")
        for number, comment, severities, message, malformed in rows]


def write_samples(capture: Path, samples: Iterable[Sample]) -> int:
    """A capture of ``samples``, one packet each, commented with its name. Returns how many."""
    client, server = "192.0.2.1", "192.0.2.2"
    file = PcapngCapture(capture, directions="both")
    try:
        for index, sample in enumerate(samples):
            ends = Address(client, sample.port), Address(server, sample.port)
            source, destination = reversed(ends) if sample.is_downlink else ends
            if sample.dissector:
                file.readable_copy(index / 1000, sample.name, sample.dissector, sample.payload, source, destination, carrier=sample.carrier)
                continue
            file.packet(TappedPacket(
                time=index / 1000, node=sample.name, direction=Direction.SENT, carrier=sample.carrier, interface="", source=source,
                destination=destination, payload=sample.payload, ppid=sample.ppid))
    finally:
        file.close()
    return file.packets_written


def judged(capture: Path, samples: Sequence[Sample], *, layer: str, severity: int = WARNING) -> list[str]:
    """Write ``samples`` to ``capture`` and say what tshark holds against them: a line each, with the octets.

    A sample in which tshark does not see the protocol ``layer`` at all is held against it too.
    """
    if write_samples(capture, samples) != len(samples):
        raise ValueError("a sample is too long for one packet")
    bad = [
        f"{complaint.comment.strip()}: {complaint.text}: {samples[complaint.frame_number - 1].payload.hex()}"
        for complaint in complaints(capture, severity)]
    strange = table(capture, "-Y", f"!{layer}", fields=("frame.comment", "frame.protocols"))
    return bad + [f"{comment.strip()}: dissected as {protocols}" for comment, protocols in strange]


def disagreements(capture: Path, samples: Sequence[Sample], expected: Sequence[Mapping[str, str]]) -> list[str]:
    """Write ``samples`` to ``capture`` and compare fields of each with what is ``expected``; of a field that repeats, one value has to match."""
    write_samples(capture, samples)
    fields = sorted({field for each in expected for field in each})
    differences = []
    for sample, wanted, values in zip(samples, expected, table(capture, fields=fields), strict=True):
        seen = dict(zip(fields, values, strict=True))
        differences += [
            f"{sample.name}: {field} is {seen[field] or 'absent'}, not {value}" for field, value in wanted.items()
            if value not in seen[field].split(",")]
    return differences


def words(name: str) -> str:
    """A name as specifications, tshark and Python have it in common: lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
