"""Charging records by tshark, which reads them in GTP' between a gateway and a charging gateway (TS 32.295)."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from epc.transport.interface import Carrier
from epc.wire import cdr
from epc.wire.cdr import SgwRecord
from tests.interop.tshark import NOTE, Sample, disagreements, judged, needs_tshark
from tests.settlement.books import VOLUMES_OF_A_SESSION, pgw, sgw

pytestmark = [pytest.mark.interop, needs_tshark]

GTP_PRIME_PORT = 3386
RECORDS = []
for _writer in (sgw(), pgw()):
    _writer.session(VOLUMES_OF_A_SESSION)
    RECORDS += [source.record for source in _writer.records]


def transfer(record: bytes) -> bytes:
    """A Data Record Transfer Request with one record (TS 32.295 clause 6.2.4)."""
    packet = struct.pack(">BBHH", 1, 1, 0x1751, len(record)) + record           # one record, BER, release and version, its length
    elements = bytes((126, 1, 252)) + len(packet).to_bytes(2, "big") + packet     # Packet Transfer Command: send; Data Record Packet
    return struct.pack(">BBHH", 0x4F, 0xF0, len(elements), 7) + elements


def sample(record: cdr.SgwRecord | cdr.PgwRecord) -> Sample:
    kind = "S-GW-CDR" if isinstance(record, SgwRecord) else "P-GW-CDR"
    return Sample(name=f"{kind} {record.local_sequence_number}", payload=transfer(cdr.encode(record)), carrier=Carrier.UDP, port=GTP_PRIME_PORT)


def test_no_record_is_malformed(tmp_path: Path) -> None:
    assert judged(tmp_path / "cdr.pcapng", [sample(record) for record in RECORDS], layer="gtpprime", severity=NOTE) == []


def test_a_damaged_record_is_noticed(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    octets = bytearray(cdr.encode(RECORDS[0]))
    octets[4 + octets[4:].index(b"\x8f\x01")] = 0xBF
    assert judged(tmp_path / "cdr.pcapng", [replace(sample(RECORDS[0]), payload=transfer(bytes(octets)))], layer="gtpprime", severity=NOTE)


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    common = {"e212.imsi": "001010000000001", "gprscdr.chargingID": str(0x1234), "gprscdr.accessPointNameNI": "internet", "gprscdr.duration": "60"}
    first, last, service = RECORDS[0], RECORDS[2], RECORDS[3]
    assert disagreements(tmp_path / "cdr.pcapng", [sample(first), sample(last), sample(service)], [
        {**common, "gprscdr.recordType": "84", "gprscdr.dataVolumeGPRSUplink": "1000", "gprscdr.dataVolumeGPRSDownlink": "4000",
         "gprscdr.causeForRecClosing": "16", "gprscdr.recordSequenceNumber": "1", "gprscdr.localSequenceNumber": "1"},
        {**common, "gprscdr.causeForRecClosing": "0", "gprscdr.dataVolumeGPRSUplink": "300", "gprscdr.localSequenceNumber": "3"},
        {**common, "gprscdr.recordType": "85", "gprscdr.ratingGroup": "1", "gprscdr.datavolumeFBCUplink": "1000",
         "gprscdr.datavolumeFBCDownlink": "4000"},
    ]) == []
