"""The online charging scenario as users run it: real sockets, and what Wireshark says of the capture."""

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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("online-charging")
    return subprocess.run(
        [sys.executable, "-m", "epc.cli", "run", "scenarios/online_charging.py", "--out", str(out)], cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}), out


def test_money_ends_in_the_middle_of_a_transfer_and_a_top_up_lets_it_go_on(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    process, out = run
    assert process.returncode == 0, process.stdout + process.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["result"] == "passed"
    assert all(check["passed"] for check in summary["checks"])
    ladder = (out / "ladder.txt").read_text()
    for line in ("(CCR) initial RG 10 wants units", "granted 100 kB", "(threshold) wants more", "the last, then terminate", "Re Auth Request (RAR)",
                 "(CCR) update RG 10 wants units", "(CCR) termination RG 10 used", "user authentication failed"):
        assert line in ladder, line


@needs_tshark
@pytest.mark.interop
def test_wireshark_accepts_the_capture(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    assert complaints(run[1] / "trace.pcapng") == []
