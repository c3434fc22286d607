"""S1AP by tshark: every message as the codec writes it, without a complaint and under the same name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from epc.transport.interface import Carrier
from epc.wire import s1ap
from epc.wire.s1ap.message import Message
from tests.interop.s1ap_samples import samples
from tests.interop.tshark import Sample, dissections, judged, needs_tshark, words, write_samples

pytestmark = [pytest.mark.interop, needs_tshark]


def sample(message: Message) -> Sample:
    return Sample(name=type(message).__name__, payload=s1ap.encode(message), carrier=Carrier.SCTP, port=36412, ppid=18)


def test_no_message_is_malformed(tmp_path: Path) -> None:
    lines = judged(tmp_path / "s1ap.pcapng", [sample(message) for message in samples(seed=1, random_variants=20)], layer="s1ap")
    # What a private message holds is known to its owner only: "Unknown Open Type"
    assert [line for line in lines if not line.startswith("PrivateMessage: ") or "Unknown Open Type" not in line] == []


def test_every_message_has_its_name(tmp_path: Path) -> None:
    sent = [sample(message) for message in samples(seed=2, random_variants=0)]
    write_samples(tmp_path / "s1ap.pcapng", sent)
    for message, text in zip(sent, dissections(tmp_path / "s1ap.pcapng", "s1ap"), strict=True):
        found = re.search(r"^ +value\n +([\w-]+)$", text, re.MULTILINE)
        assert found is not None, message.name
        assert words(found[1]) == words(message.name)
