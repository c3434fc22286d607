"""The scenario of dedicated bearers as users run it: real sockets, real packets, and what Wireshark says of the capture."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from epc.transport.sctp import sctp_capabilities
from tests.interop.presence import missing_presence
from tests.interop.tshark import complaints, needs_tshark
from tests.scenarios.test_real_network import epclab

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(not sctp_capabilities().usable, reason="this host has no SCTP")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("bearers")
    return epclab("run", "scenarios/dedicated_bearers.py", "--out", str(out)), out


def test_the_scenario_passes_and_its_ladder_tells_the_bearers_apart(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    result, out = run
    assert result.returncode == 0, result.stdout + result.stderr
    ladder = (out / "ladder.txt").read_text()
    for name in ("Create Bearer Request", "Create Bearer Response", "E-RAB Setup Request", "E-RAB Setup Response",
                 "Activate Dedicated EPS Bearer Context Request", "Activate Dedicated EPS Bearer Context Accept", "Delete Bearer Request",
                 "E-RAB Release Command", "Deactivate EPS Bearer Context Accept"):
        assert name in ladder
    for label in ("t3", "t5", "t7", "t8"):
        assert f"through {label} of bearer 6" in ladder, "the datagram"
        assert f"through {label}  [" in ladder, "the ping"
    [ue] = json.loads((out / "summary.json").read_text())["ues"]
    assert {f"{label} of bearer 6" for label in ("t3", "t5", "t7", "t8")} < set(ue["tunnels"])


@needs_tshark
@pytest.mark.interop
def test_wireshark_accepts_the_capture(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    trace = run[1] / "trace.pcapng"
    assert complaints(trace) == []
    assert missing_presence(trace) == []
