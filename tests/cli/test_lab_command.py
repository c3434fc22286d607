"""``epclab lab up|status|down`` and ``epclab ctl`` with every node as a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from epc.cli import main
from epc.lab.processes import ENDS_WITH_PARENT
from epc.lab.running import read_state, runs_epclab

ROOT = Path(__file__).parents[2]
IMSI = "imsi=001010000000001"
KINDS = {"hss1": "hss", "pcrf1": "pcrf", "pgw1": "pgw", "sgw1": "sgw", "mme1": "mme", "enb1": "enb"}
pytestmark = [pytest.mark.real_time, pytest.mark.xdist_group("loopback")]


def epclab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "epc.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attach topology on addresses of its own, so that a lab which runs already is no obstacle."""
    own = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}."
    text = (ROOT / "scenarios" / "attach.yaml").read_text().replace("127.0.0.", own)
    data = yaml.safe_load(text)
    for node in data["nodes"].values():
        node["admin"]["host"] = f"{own}1"
    data["nodes"]["pgw1"]["sgi_hosts"] = data["nodes"]["enb1"]["phone_hosts"] = "in_process"
    file = tmp_path_factory.mktemp("topology") / "attach.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


@pytest.fixture
def lab(topology: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    where = ("--dir", str(tmp_path))
    up = epclab("lab", "up", str(topology), "--detach", *where)
    assert up.returncode == 0, up.stdout + up.stderr
    yield where
    epclab("lab", "down", *where)


def called_here(*words: str) -> tuple[int, str]:
    """Exit status and output of a command that runs in this process: many are needed, and each start of the interpreter takes its time."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main(words)
    return status, output.getvalue()


def ctl(lab: tuple[str, str], *words: str) -> Any:
    status, output = called_here("ctl", *words, "--json", *lab)
    assert status == 0, output
    return json.loads(output)


def gone(pids: list[int], *, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while any(map(runs_epclab, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(runs_epclab, pids))


def test_attach_ping_detach_and_every_view_of_every_node(lab: tuple[str, str], topology: Path, tmp_path: Path) -> None:
    pids = [node.pid for node in read_state(tmp_path).values()]
    assert len(pids) == 6
    status = epclab("lab", "status", *lab)
    assert all(word in status.stdout for word in KINDS), status.stdout + status.stderr
    assert ctl(lab, "enb1", "attach", IMSI)["success"]
    assert ctl(lab, "enb1", "ping", IMSI, "destination=10.200.0.1")["received"] == 3
    for name, kind in KINDS.items():
        _, listing = called_here("ctl", name, *lab)
        views = next(line for line in listing.splitlines() if line.startswith("views:")).split()[1:]
        assert {"associations", "procedures", "timers", "tunnels"} <= set(views)
        for view in views:
            assert isinstance(ctl(lab, name, view), list | dict)
            assert called_here("ctl", name, view, *lab)[1].strip()
        associations = ctl(lab, kind, "associations")
        assert associations
        assert all(each["is_up"] for each in associations)
        assert bool(ctl(lab, name, "tunnels")) == (kind not in ("hss", "pcrf"))
        assert all(float(each["seconds"]) > 0 for each in ctl(lab, name, "timers") if each["seconds"] is not None)
    checked = epclab("lab", "check", *lab)
    assert (checked.returncode, " and 2 ends of sessions on 6 nodes, 0 problems" in checked.stdout) == (0, True), checked.stdout
    left = epclab("lab", "check", "--nothing-left", *lab)
    assert (left.returncode, "pcrf1 still holds Gx session" in left.stdout) == (1, True), left.stdout
    wrong = epclab("ctl", "enb1", "ping", IMSI, "destination=fe80::1", *lab)
    assert (wrong.returncode, wrong.stderr) == (1, "epclab: destination: must be an IPv4 address, not 'fe80::1'\n")
    (bad,) = ctl(lab, "enb1", "impair", "peer=sgw1", "interface=S1-U", "delay_ms=1")
    assert bad["delay_ms"] == 1.0
    assert len(bad["peers"]) == 2, "the node's addresses"
    nobody = epclab("ctl", "enb1", "impair", "peer=sgw9", "loss=1%", *lab)
    assert (nobody.returncode, "'sgw9' is no address, and no node that runs from" in nobody.stderr) == (1, True), nobody.stderr
    assert ctl(lab, "enb1", "repair") == []
    assert ctl(lab, "enb1", "detach", IMSI)["success"]
    assert not any(ctl(lab, name, "tunnels") for name in KINDS)
    left = epclab("lab", "check", "--nothing-left", *lab)
    assert (left.returncode, left.stdout) == (0, "0 tunnel ids and 0 ends of sessions on 6 nodes, 0 problems\n"), left.stdout
    unknown = epclab("ctl", "enb1", "fly", *lab)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("epclab: enb1 has no 'fly'; views: associations cells ")
    elsewhere = epclab("lab", "up", str(topology), "--dir", str(tmp_path / "second"), "--patience", "10")
    assert elsewhere.returncode == 1
    assert "address already in use" in elsewhere.stderr, "nodes that answer there are not those just started"
    assert epclab("lab", "up", "nothing.yaml", *lab).stderr.startswith("epclab: a lab already runs from")
    assert epclab("lab", "down", *lab).stdout == "stopped\n"
    assert not any(map(runs_epclab, pids))


@pytest.mark.skipif(not ENDS_WITH_PARENT, reason="setpriv (util-linux) is not here")
def test_no_node_outlives_a_lab_that_is_killed(lab: tuple[str, str], tmp_path: Path) -> None:
    pids = [node.pid for node in read_state(tmp_path).values()]
    os.kill(int((tmp_path / "lab.pid").read_text()), signal.SIGKILL)
    assert gone(pids)
    assert epclab("lab", "status", *lab).returncode == 1
    assert "no detached lab runs" in epclab("lab", "down", *lab).stderr


def test_one_node_that_ends_by_itself_ends_the_lab(lab: tuple[str, str], tmp_path: Path) -> None:
    nodes = read_state(tmp_path)
    os.kill(nodes["sgw1"].pid, signal.SIGKILL)
    assert gone([node.pid for node in nodes.values()], within_s=30)
    assert "sgw1 ended by itself" in (tmp_path / "lab.log").read_text()
