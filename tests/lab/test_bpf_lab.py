"""A whole network whose SGW and PGW forward in the kernel: what compose/attach.yaml starts, with another user plane."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dataplane.bpf_bench import REASON

ROOT = Path(__file__).parents[2]
IMSI = "imsi=001010000000001"

pytestmark = [
    pytest.mark.real_time, pytest.mark.privileged, pytest.mark.skipif(bool(REASON), reason=REASON),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes root, and unshare"),
]


class Lab:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def epclab(self, *words: str) -> str:
        command = [sys.executable, "-m", "epc.cli", *words, "--dir", str(self.directory / "lab")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *words: str) -> Any:
        return json.loads(self.epclab("ctl", *words))

    def log(self, node: str) -> str:
        return (self.directory / "lab" / f"{node}.log").read_text()


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """``request.param``: the services that are given what BPF takes."""
    shutil.copytree(ROOT / "compose", tmp_path / "compose")
    file = tmp_path / "compose" / "attach.yaml"
    services = yaml.safe_load(file.read_text())
    for node in ("sgw", "pgw"):
        services["services"][node]["privileged"] = node in request.param
        config = tmp_path / "compose" / "config" / f"{node}.yaml"
        config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "user_plane": {"backend": "bpf"}}))
    file.write_text(yaml.safe_dump(services))
    lab = Lab(tmp_path)
    lab.epclab("lab", "up", str(file), "--detach")
    try:
        yield lab
    finally:
        lab.epclab("lab", "down")


@pytest.mark.parametrize("lab", [("sgw", "pgw")], indirect=True, ids=["both"])
def test_a_phones_packets_pass_both_gateways_in_the_kernel(lab: Lab) -> None:
    assert lab.ask("enb", "attach", IMSI)["success"]
    for _ in range(2):          # the first packets wait for neighbours' addresses, and take the slow path
        assert lab.ask("enb", "ping", IMSI, "destination=10.200.0.1", "count=10")["received"] == 10
    sgw, pgw = lab.ask("sgw", "userplane"), lab.ask("pgw", "userplane")
    assert (sgw["backend"], sgw["reason"], sgw["hooks"]) == ("bpf", "as configured", {"eth0": "xdp-generic", "eth1": "xdp-generic"})
    assert pgw["backend"] == "bpf"
    assert set(pgw["hooks"].values()) == {"xdp-generic"}
    assert len(pgw["hooks"]) == 2                                   # S5/S8-U, and the near end of SGi
    for gateway in (sgw, pgw):
        assert (gateway["uplink_packets"], gateway["downlink_packets"]) == (20, 20)
        assert gateway["packets_in_kernel"] >= 36
        assert gateway["drops"] == {}
    assert lab.ask("enb", "detach", IMSI)["success"]
    assert lab.ask("pgw", "userplane")["sessions"] == 0


@pytest.mark.parametrize("lab", [()], indirect=True, ids=["neither"])
def test_without_privileges_it_runs_on_sockets_and_says_so_once(lab: Lab) -> None:
    assert lab.ask("enb", "attach", IMSI)["success"]
    assert lab.ask("enb", "ping", IMSI, "destination=10.200.0.1")["received"] == 3
    for node in ("sgw", "pgw"):
        shown = lab.ask(node, "userplane")
        assert shown["backend"] == "socket"
        assert "Operation not permitted" in shown["reason"]
        (line,) = [line for line in lab.log(node).splitlines() if "the user plane runs on sockets" in line]
        assert json.loads(line)["level"] == "warning"
