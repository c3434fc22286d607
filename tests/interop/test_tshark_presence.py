"""The presence checks themselves: a ladder made by hand satisfies all of them, and each notices what it is there to notice."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from epc.transport.interface import Carrier
from epc.wire import gtpu, gtpv2, nas, s1ap
from tests.interop.attach_ladder import GUTI, PHONE, T1, T7, Gtp, Nas, ladder, samples
from tests.interop.presence import ATTACH_PRESENCE, contradictions, missing_presence
from tests.interop.tshark import Sample, complaints, needs_tshark, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]


def captured(directory: Path, messages: dict[str, Any], *, ciphered: bool = False) -> Path:
    capture = directory / "ladder.pcapng"
    write_samples(capture, samples(messages, ciphered=ciphered))
    return capture


def with_elements(changes: dict[str, dict[str, object]]) -> dict[str, Any]:
    """The ladder with other elements in the GTPv2-C or NAS messages of those names."""
    messages = ladder()
    for name, elements in changes.items():
        step: Gtp | Nas = messages[name]
        message: Any = step.message
        messages[name] = replace(step, message=replace(message, **elements))
    return messages


@pytest.mark.parametrize("ciphered", [False, True], ids=["null ciphering", "readable copies"])
def test_complete_ladder(ciphered: bool, tmp_path: Path) -> None:
    capture = captured(tmp_path, ladder(), ciphered=ciphered)
    assert complaints(capture, is_ciphered=ciphered) == []
    assert missing_presence(capture) == []
    assert contradictions(capture) == []


def test_ciphered_octets_that_look_plain_are_no_complaint(tmp_path: Path) -> None:
    """12 ca 27: an ESM message of a type that does not exist."""
    capture = tmp_path / "ciphered.pcapng"
    octets = nas.encode(nas.SecurityProtected(
        security_header_type=nas.SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED, message_authentication_code=b"mac!", sequence_number=1,
        payload=bytes.fromhex("12ca277de143b4ae")))
    message = s1ap.encode(s1ap.DownlinkNASTransport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, nas_pdu=octets))
    write_samples(capture, [Sample(name="EMM INFORMATION", payload=message, carrier=Carrier.SCTP, port=36412, is_downlink=True, ppid=18)])
    assert complaints(capture) != []
    assert complaints(capture, is_ciphered=True) == []


def test_every_entry_can_be_missing(tmp_path: Path) -> None:
    capture = tmp_path / "other.pcapng"
    echo = gtpv2.encode(gtpv2.EchoRequest(recovery=1), teid=None, sequence=1)
    write_samples(capture, 2 * [Sample(name="Echo Request", payload=echo, carrier=Carrier.UDP, port=2123)])
    assert missing_presence(capture) == [description for description, _ in ATTACH_PRESENCE]
    assert len({description for description, _ in ATTACH_PRESENCE}) == len(ATTACH_PRESENCE)


def test_messages_that_are_not_there_are_named(tmp_path: Path) -> None:
    dropped = {
        "S1 Setup Response": "S1AP S1SetupResponse",
        "Authentication Response": "NAS AUTHENTICATION RESPONSE",
        "Update-Location-Answer": "Diameter Update-Location-Answer",
        "Create Session Request on S5/S8": "GTPv2-C Create Session Request on S5/S8",
        "Create Session Response on S5/S8": "GTPv2-C Create Session Response on S5/S8",
        "Modify Bearer Response": "GTPv2-C Modify Bearer Response on S11",
        "Detach Accept": "NAS DETACH ACCEPT",
        "UE Context Release Command": "S1AP UEContextReleaseCommand",
    }
    kept = {name: message for name, message in ladder().items() if name not in dropped}
    missing = missing_presence(captured(tmp_path, kept))
    assert missing == [description for description, _ in ATTACH_PRESENCE if description.partition(":")[0] in dropped.values()]


def test_elements_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert missing_presence(captured(tmp_path, with_elements({
        "Create Session Request on S11": {"mei": None, "imsi": None},
        "Delete Session Request on S11": {"indication": None},
        "Attach Accept": {"guti": None},
        "Security Mode Complete": {"imeisv": None},
    }))) == [
        "NAS SECURITY MODE COMPLETE: IMEISV",
        "GTPv2-C Create Session Request on S11: IMSI",
        "GTPv2-C Create Session Request on S11: MEI",
        "NAS ATTACH ACCEPT: GUTI",
        "GTPv2-C Delete Session Request with Operation Indication on S11",
    ]


def test_values_that_differ_are_named(tmp_path: Path) -> None:
    accept = ladder()["Attach Accept"].message
    activation: Any = nas.decode(accept.esm_message_container)
    elsewhere = replace(activation, pdn_address=replace(activation.pdn_address, ipv4_address=IPv4Address("10.9.9.9")))
    messages = with_elements({
        "Authentication Request": {"rand": bytes(16)},
        "Authentication Response": {"res": bytes(8)},
        "Create Session Request on S5/S8": {"imsi": "214070000000001"},
        "Attach Accept": {"esm_message_container": nas.encode(elsewhere)},
        "Detach Request": {"eps_mobile_identity": replace(GUTI, m_tmsi=1)},
    }) | {
        "Modify Bearer Response": replace(ladder()["Modify Bearer Response"], teid=T1 + 99),
        "G-PDU to the SGW": gtpu.encode(gtpu.GPdu(payload=bytes(20)), teid=T7 + 99),
    }
    found = contradictions(captured(tmp_path, messages))
    assert f"UE's IPv4 address: {PHONE} in Create Session Response and Credit-Control-Request, 10.9.9.9 in Attach Accept" in found
    assert sorted(line.partition(":")[0] for line in found) == [
        "G-PDUs to TEID 1000006a, which no message has announced", "IMSI", "M-TMSI", "RAND", "UE's IPv4 address", "XRES and RES", "t1 S11 MME"]
