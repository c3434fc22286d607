"""``epclab ue``: programs of this machine as a phone of a lab that runs, as root and as anybody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from epc.lab.running import read_state
from tests.dataplane.test_ip_hosts import names_of_namespaces, needs_namespaces

ROOT = Path(__file__).parents[2]
IMSI, IN_PROCESS, NO_STACK = "001010000000001", "001010000000002", "001010000000003"
pytestmark = [*needs_namespaces, pytest.mark.xdist_group("loopback")]
CAN_DROP_PRIVILEGE = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("nsenter") and subprocess.run(
    ["unshare", "--user", "--map-user=1000", "true"], check=False, capture_output=True).returncode == 0


class Lab:
    """A lab that ``epclab lab up`` has started; ``prefix`` makes the caller who he is."""

    def __init__(self, directory: Path, prefix: list[str]) -> None:
        self.directory = directory
        self.prefix = prefix

    def epclab(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "epc.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, input=stdin, check=False)

    def ue(self, verb: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.epclab("ue", verb, "--dir", str(self.directory), *words, stdin=stdin)

    def ip(self, imsi: str) -> str:
        return next(line.split()[5] for line in self.ue("list").stdout.splitlines() if line.startswith(imsi))


@pytest.fixture(scope="module", params=["as-we-are", pytest.param("unprivileged", marks=pytest.mark.skipif(
    not CAN_DROP_PRIVILEGE, reason="we are nobody special anyway, or user namespaces are not allowed"))])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The attach topology with services and three phones, on addresses of its own."""
    own = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}."
    data = yaml.safe_load((ROOT / "scenarios" / "attach.yaml").read_text().replace("127.0.0.", own))
    for node in data["nodes"].values():
        node["admin"]["host"] = f"{own}1"
    data["nodes"]["pgw1"]["sgi_hosts"] = "namespace"
    data["nodes"]["pgw1"]["apns"]["internet"]["services"] = {
        "dns": {"names": {"allowed.example": "10.200.0.2"}}, "web": {"sites": {"allowed.example": "welcome\n"}}}
    phone = data["nodes"]["enb1"]["phones"][0]
    del phone["guti"]
    data["nodes"]["hss1"]["subscribers"][0]["count"] = 3
    data["nodes"]["enb1"]["phones"] = [
        {**phone, "host": "namespace"}, {**phone, "imsi": IN_PROCESS, "host": "in_process"}, {**phone, "imsi": NO_STACK, "host": "none"}]
    directory = tmp_path_factory.mktemp("lab")
    file = directory / "topology.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    lab = Lab(directory, ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if request.param == "unprivileged" else [])
    up = lab.epclab("lab", "up", str(file), "--detach", "--dir", str(directory))
    assert up.returncode == 0, up.stdout + up.stderr
    if lab.prefix:
        pid = next(iter(read_state(directory).values())).pid
        lab.prefix = ["nsenter", "-t", str(pid), "--user", "--preserve-credentials", "--"]
    yield lab
    assert lab.epclab("lab", "down", "--dir", str(directory)).returncode == 0
    assert "Traceback" not in "".join(log.read_text() for log in directory.glob("*.log"))


@pytest.fixture
def attached(lab: Lab) -> Iterator[Lab]:
    for imsi in (IMSI, IN_PROCESS, NO_STACK):
        done = lab.ue("attach", imsi)
        assert done.returncode == 0, done.stderr
    yield lab
    for imsi in (IMSI, IN_PROCESS, NO_STACK):
        lab.ue("detach", imsi)


def test_a_program_is_the_phone(attached: Lab) -> None:
    source = "import socket, sys; s = socket.socket(2, 2); s.connect(('10.200.0.1', 9)); print(s.getsockname()[0], sys.stdin.read()); sys.exit(7)"
    done = attached.ue("exec", IMSI, "--", sys.executable, "-c", source, stdin="from the shell")
    assert (done.returncode, done.stdout.split()[1:], done.stderr) == (7, ["from", "the", "shell"], "")
    assert done.stdout.split()[0] in attached.ue("list").stdout
    assert attached.ue("exec", IMSI, "cat", "/etc/resolv.conf").stdout == "nameserver 10.200.0.1\n"
    assert attached.ue("exec", IMSI, "--", "sh", "-c", "kill -TERM $$").returncode == -15
    behind = attached.epclab("ue", "exec", IMSI, "--enb", "enb1", "--dir", str(attached.directory), "--", "echo", "--dir", "is", "mine")
    assert (behind.returncode, behind.stdout) == (0, "--dir is mine\n"), "options behind the IMSI are ours up to --"


def test_a_program_resolves_and_fetches_with_the_labs_certificates(attached: Lab) -> None:
    source = "import urllib.request; print(urllib.request.urlopen('https://allowed.example/', timeout=10).read())"
    done = attached.ue("exec", IMSI, "--", sys.executable, "-c", source)
    assert (done.returncode, done.stdout) == (0, "b'welcome\\n'\n"), done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl(attached: Lab) -> None:
    done = attached.ue("exec", IMSI, "--", "curl", "-sS", "https://allowed.example/")
    assert (done.returncode, done.stdout) == (0, "welcome\n"), done.stderr


def test_the_list_says_who_lives_where(attached: Lab) -> None:
    rows = {line.split()[0]: line.split() for line in attached.ue("list").stdout.splitlines()[1:]}
    assert {imsi: row[-1] for imsi, row in rows.items()} == {IMSI: "namespace", IN_PROCESS: "in_process", NO_STACK: "none"}
    assert all(row[1:4] == ["enb1", "EMM-REGISTERED", "yes"] for row in rows.values())
    attached.ue("detach", IN_PROCESS)
    assert IN_PROCESS in attached.ue("list").stdout
    assert IN_PROCESS not in attached.ue("list", "--attached").stdout


def test_one_enodeb_by_its_address(attached: Lab) -> None:
    """As for an eNodeB that no lab of ours has started."""
    enb = read_state(attached.directory)["enb1"]
    nowhere = str(attached.directory / "elsewhere")
    listed = attached.epclab("ue", "list", "--enb", enb.admin, "--dir", nowhere)
    assert listed.stdout.splitlines()[1].split()[:3] == [IMSI, enb.admin, "EMM-REGISTERED"]
    done = attached.epclab("ue", "exec", "--enb", enb.admin, "--dir", nowhere, IMSI, "--", "cat", "/etc/resolv.conf")
    assert (done.returncode, done.stdout) == (0, "nameserver 10.200.0.1\n")


def test_the_namespace_comes_and_goes_with_the_address(lab: Lab) -> None:
    name = f"ue-{IMSI}"
    has_names = not lab.prefix and os.geteuid() == 0
    lab.ue("attach", IMSI)
    if has_names:
        lab.ue("exec", IMSI, "true")
        assert name in names_of_namespaces()
    lab.ue("detach", IMSI)
    assert name not in names_of_namespaces()
    done = lab.ue("exec", IMSI, "--", "true")
    assert (done.returncode, done.stderr) == (
        1, f"epclab: IMSI {IMSI} is not attached (EMM-DEREGISTERED); `epclab ue attach {IMSI}` attaches it\n")


def test_what_cannot_be_is_said_plainly(attached: Lab) -> None:
    for words, status, text in (
        ((IMSI,), 2, "which program?"),
        ((IMSI, "--enb", "enb1"), 2, "which program?"),
        ((IMSI, "-sS", "--", "true"), 2, "unrecognized arguments: -sS"),
        ((IMSI, "--", "no-such-program"), 127, "epclab: no-such-program: No such file or directory"),
        ((IMSI, "--", "/etc"), 126, "epclab: /etc: Permission denied"),
        (("001010000000009", "--", "true"), 1, "no phone with IMSI 001010000000009; there are 001010000000001, "),
        ((IN_PROCESS, "--", "true"), 1, f"no program can run as IMSI {IN_PROCESS}: its host is in_process; `host: namespace` in its entry"),
        ((NO_STACK, "--", "true"), 1, "this phone has no IP stack (host: none)"),
        (("--enb", "nobody", IMSI, "--", "true"), 2, "no node 'nobody'; running there: hss1, "),
    ):
        done = attached.ue("exec", *words)
        assert done.returncode == status, done.stderr
        assert text in done.stderr
    again = attached.ue("attach", IMSI)
    assert (again.returncode, again.stderr) == (1, f"epclab: IMSI {IMSI} is attached already, {attached.ip(IMSI)}\n")
    assert attached.ue("detach", IN_PROCESS).returncode == 0
    again = attached.ue("detach", IN_PROCESS)
    assert (again.returncode, again.stderr) == (1, f"epclab: IMSI {IN_PROCESS} is not attached\n")
    elsewhere = attached.epclab("ue", "list", "--dir", str(attached.directory / "elsewhere"))
    assert (elsewhere.returncode, "no lab with an eNodeB runs from" in elsewhere.stderr) == (1, True)
