"""``epclab doctor``: what it says of hosts that have and lack things."""

from __future__ import annotations

import json

import pytest

from epc.cli import doctor, main
from epc.cli.doctor import Finding, report, sctp_findings
from epc.transport.sctp import SctpCapabilities

HAS = Finding(name="this", available=True, detail="is there", remedy="nothing to do")
LACKS = Finding(name="that thing", available=False, detail="is not there", remedy="install it")
NEEDS = Finding(name="all", available=False, detail="is gone", remedy="get it", is_required=True)


def by_name(capabilities: SctpCapabilities) -> dict[str, Finding]:
    return {finding.name: finding for finding in sctp_findings(capabilities)}


@pytest.mark.parametrize(("findings", "status", "strict"), [([HAS], 0, 0), ([HAS, LACKS], 0, 1), ([HAS, LACKS, NEEDS], 1, 1)])
def test_exit_status(findings: list[Finding], status: int, strict: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    assert main(["doctor"]) == status
    assert main(["doctor", "--strict"]) == strict
    assert "this" in capsys.readouterr().out


def test_a_lack_comes_with_its_remedy_and_what_is_there_does_not() -> None:
    text = "\n".join(report([HAS, LACKS], colours=False))
    assert "lack  that thing  is not there" in text
    assert "-> install it" in text
    assert "nothing to do" not in text
    assert "works around 1 lack." in text
    assert "nothing is missing" in "\n".join(report([HAS], colours=False))
    assert "cannot run here without: all." in "\n".join(report([HAS, NEEDS], colours=False))


def test_sctp_of_a_host_with_everything() -> None:
    findings = by_name(SctpCapabilities(kernel="", usrsctp="", raw_sockets=""))
    assert all(finding.available for finding in findings.values())
    assert findings["SCTP over IP"].detail == "by the kernel"


def test_sctp_of_an_unprivileged_container() -> None:
    findings = by_name(SctpCapabilities(kernel="no kernel SCTP", usrsctp="", raw_sockets="raw sockets are refused"))
    assert [finding.available for finding in findings.values()] == [True, False, False, True]
    assert "modprobe sctp" in findings["SCTP of the kernel"].remedy


def test_sctp_of_a_host_with_neither() -> None:
    findings = by_name(SctpCapabilities(kernel="no kernel SCTP", usrsctp="the extension is not built", raw_sockets=""))
    assert not findings["SCTP at all"].available
    assert findings["SCTP at all"].is_required
    assert "libusrsctp-dev" in findings["SCTP in user space"].remedy


@pytest.mark.real_time
def test_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert {"Python", "uvloop", "APER runtime, compiled", "SCTP at all", "user namespaces", "network namespaces", "TUN devices", "BPF", "nftables",
            "tshark"} <= {finding["name"] for finding in findings}
    assert all(finding["remedy"] or finding["available"] for finding in findings)
    assert status == int(any(finding["is_required"] and not finding["available"] for finding in findings))
