"""GTP-U by tshark: every message, with every combination of optional header fields and chains of extension headers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from epc.transport.capture import udp_packet
from epc.transport.interface import Address, Carrier
from epc.wire import gtpu
from tests.interop.tshark import NOTE, Sample, disagreements, judged, needs_tshark

pytestmark = [pytest.mark.interop, needs_tshark]

USER_PACKET = udp_packet(Address("10.45.0.2", 4000), Address("198.51.100.1", 5000), b"from the phone")
MESSAGES: tuple[gtpu.Message, ...] = (
    gtpu.EchoRequest(), gtpu.EchoResponse(recovery=3), gtpu.ErrorIndication(teid=0x1234, peer_address=IPv4Address("192.0.2.7")),
    gtpu.ErrorIndication(teid=0xFFFFFFFF, peer_address=IPv6Address("2001:db8::7")), gtpu.EndMarker(), gtpu.GPdu(payload=USER_PACKET),
    gtpu.SupportedExtensionHeadersNotification(types=(0x40, 0x85, 0xC0)),
)
EXTENSION_HEADERS = (
    gtpu.udp_port(2152), gtpu.pdcp_pdu_number(77), gtpu.long_pdcp_pdu_number(0x3FFFF), gtpu.service_class_indicator(5),
    gtpu.ran_container(bytes.fromhex("00000001")),      # TS 36.425: DL user data with its sequence number
)


def sample(message: gtpu.Message, **header: Any) -> Sample:
    return Sample(name=f"{type(message).__name__} {header}", payload=gtpu.encode(message, **header), carrier=Carrier.UDP, port=2152)


def samples() -> Iterator[Sample]:
    chance = random.Random(1)
    for message, sequence, number in itertools.product(MESSAGES, (None, 0xABCD), (None, 0x7F)):
        teid = 0 if isinstance(message, (gtpu.EchoRequest, gtpu.EchoResponse)) else 0xC0FFEE
        for count in range(4):
            chain = tuple(chance.sample(EXTENSION_HEADERS, count))
            yield sample(message, teid=teid, sequence=sequence, n_pdu_number=number, extension_headers=chain)


def test_no_message_is_malformed(tmp_path: Path) -> None:
    assert judged(tmp_path / "gtpu.pcapng", list(samples()), layer="gtp", severity=NOTE) == []


def test_values_are_those_that_tshark_reads(tmp_path: Path) -> None:
    header: dict[str, Any] = {"teid": 0xC0FFEE, "sequence": 0xABCD, "n_pdu_number": 0x7F}
    read = {"gtp.teid": "0x00c0ffee", "gtp.seq_number": "0xabcd", "gtp.npdu_number": "0x7f"}
    sent = [
        sample(gtpu.GPdu(payload=USER_PACKET), extension_headers=(gtpu.udp_port(2152), gtpu.pdcp_pdu_number(77)), **header),
        sample(gtpu.ErrorIndication(teid=0x1234, peer_address=IPv4Address("192.0.2.7")), **header),
        sample(gtpu.EchoResponse(recovery=3)),
        sample(gtpu.EndMarker(), teid=9),
    ]
    assert disagreements(tmp_path / "gtpu.pcapng", sent, [
        {**read, "gtp.message": "0xff", "gtp.ext_hdr.udp_port": "2152", "gtp.ext_hdr.pdcp_sn": "77", "ip.src": "10.45.0.2", "udp.dstport": "5000"},
        {**read, "gtp.message": "0x1a", "gtp.teid_data": "0x00001234", "gtp.gsn_ipv4": "192.0.2.7"},
        {"gtp.message": "0x02", "gtp.recovery": "3", "gtp.seq_number": "0x0000"},
        {"gtp.message": "0xfe", "gtp.teid": "0x00000009"},
    ]) == []
