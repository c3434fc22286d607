"""The scenario as users run it: real sockets, one process or six, the files it leaves, and what Wireshark says of the capture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from epc.lab.ladder.steps import STEPS
from epc.transport.sctp import sctp_capabilities
from tests.interop.presence import contradictions, missing_presence
from tests.interop.tshark import complaints, needs_tshark

ROOT = Path(__file__).parents[2]
IMSI = "001010000000001"
pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not sctp_capabilities().usable, reason="this host has no SCTP"),
]


def epclab(*arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "epc.cli", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def attach(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("attach")
    return epclab("run", "scenarios/attach.py", "--out", str(out)), out


def test_the_scenario_passes_and_prints_ladder_and_tunnels(attach: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, out = attach
    assert run.returncode == 0, run.stdout + run.stderr
    assert {path.name for path in out.iterdir()} == {"trace.pcapng", "ladder.txt", "ladder.html", "summary.json"}
    for number in STEPS:
        assert any(line.split()[:1] == [str(number)] for line in run.stdout.splitlines()), f"step {number} is not in the ladder"
    for label in (f"t{i}" for i in range(1, 9)):
        assert any(line.startswith(f"{label}  ") for line in run.stdout.splitlines()), f"{label} is not in the table"


def test_the_summary_tells_result_tunnels_timings_and_messages(attach: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    summary = json.loads((attach[1] / "summary.json").read_text())
    (ue,) = summary["ues"]
    assert summary["result"] == "passed"
    assert all(check["passed"] for check in summary["checks"])
    assert (ue["imsi"], ue["ip"]) == (IMSI, "10.45.0.1")
    assert list(ue["tunnels"]) == [f"t{i}" for i in range(1, 9)]
    assert len(ue["steps"]) == len(STEPS)
    assert [message["name"] for message in summary["messages"] if message.get("step") == 1] == ["Attach Request"]


@needs_tshark
@pytest.mark.interop
def test_wireshark_accepts_the_capture_and_finds_every_mandatory_element(attach: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    trace = attach[1] / "trace.pcapng"
    assert complaints(trace) == []
    assert missing_presence(trace) == []
    assert contradictions(trace) == []


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("lab")
    up = epclab("lab", "up", "scenarios/attach.yaml", "--detach", "--dir", str(directory))
    assert up.returncode == 0, up.stdout + up.stderr
    yield directory
    down = epclab("lab", "down", "--dir", str(directory))
    assert down.returncode == 0, down.stdout + down.stderr
    assert "Traceback" not in "".join(log.read_text() for log in directory.glob("*.log"))


def ctl(lab: Path, node: str, *words: str) -> object:
    run = epclab("ctl", node, *words, "--dir", str(lab), "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def test_six_processes_attach_ping_and_detach_a_phone(lab: Path) -> None:
    attached = ctl(lab, "enb1", "attach", f"imsi={IMSI}")
    assert isinstance(attached, dict)
    assert attached["success"], attached
    labels = {end["label"] for node in ("mme1", "sgw1", "pgw1") for end in ctl(lab, node, "tunnels")}  # type: ignore[attr-defined]
    assert labels == {f"t{i}" for i in range(1, 9)}
    ping = ctl(lab, "enb1", "ping", f"imsi={IMSI}", "destination=10.200.0.1")
    assert isinstance(ping, dict)
    assert ping["received"] == ping["sent"] == 3
    assert ctl(lab, "enb1", "udp", f"imsi={IMSI}", "destination=10.200.0.1", "text=hello") == {"answer": "hello"}
    check = epclab("lab", "check", "--dir", str(lab))
    assert (check.returncode, check.stdout.strip().endswith("0 problems")) == (0, True), check.stdout
    assert epclab("lab", "check", "--nothing-left", "--dir", str(lab)).returncode == 1
    assert ctl(lab, "enb1", "detach", f"imsi={IMSI}") == {"success": True}
    assert [ctl(lab, node, "tunnels") for node in ("mme1", "sgw1", "pgw1", "enb1")] == [[], [], [], []]


@pytest.mark.parametrize("port", range(9101, 9107))
def test_every_node_is_healthy_ready_and_measured(lab: Path, port: int) -> None:
    for path in ("healthz", "readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert "_messages_total{" in text
    assert IMSI not in text
