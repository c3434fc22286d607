"""The stories between two operators as users run them: real sockets, the files they leave, and what Wireshark says of the captures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from epc.transport.sctp import sctp_capabilities
from tests.interop.tshark import complaints, needs_tshark

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.real_time, pytest.mark.skipif(not sctp_capabilities().usable, reason="this host has no SCTP")]
Run = tuple[subprocess.CompletedProcess[str], Path]


@pytest.fixture(scope="module", params=["roaming", "still_no_facebook", "local_breakout"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp(request.param)
    return subprocess.run(
        [sys.executable, "-m", "epc.cli", "run", f"scenarios/{request.param}.py", "--out", str(out)], cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}), out


def test_the_story_passes_and_tells_whose_is_what(run: Run) -> None:
    process, out = run
    assert process.returncode == 0, process.stdout + process.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["result"], summary["problems"]) == ("passed", [])
    (ue,) = [each for each in summary["ues"] if each["tunnels"]]
    assert {end["operator"] for label, end in ue["tunnels"].items() if label not in ("t4", "t5")} == {"Barcelona 214/07"}
    ladder = (out / "ladder.txt").read_text()
    for text in ("╭", "Authentication vector: made by hss-home (Home 001/01)", "PDN gateway: ", "Address: "):
        assert text in ladder, text


@needs_tshark
@pytest.mark.interop
def test_wireshark_accepts_the_capture(run: Run) -> None:
    assert complaints(run[1] / "trace.pcapng") == []
