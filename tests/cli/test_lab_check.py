"""``epclab lab check``: what nodes say of their tunnels and sessions, compared."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from epc.cli import lab, main
from epc.lab.running import NodeProcess
from epc.node import SessionEnd
from epc.node.state import AssociatedPeer

RUNNING = {kind: NodeProcess(name=f"{kind}1", kind=kind, pid=1, admin_host=kind, admin_port=1) for kind in ("pgw", "pcrf")}
PGW_END = asdict(SessionEnd(interface="Gx", session_id="pgw;5;1", own=True, imsi="001010000000001"))
PCRF_END = PGW_END | {"own": False}
WAITING = asdict(AssociatedPeer(interface="Gx", peer="pcrf", address="", state="open", is_up=True, pending_requests=1))


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What ``/state/VIEW`` of a node answers, by ``KIND/VIEW``; a list of lists: one after the other."""
    given: dict[str, list[Any]] = {}

    def call(url: str) -> tuple[int, Any]:
        host, _, view = url.removeprefix("http://").partition(":1/state/")
        answer = given.get(f"{host}/{view}", [])
        if answer and isinstance(answer[0], list):
            return 200, answer.pop(0) if len(answer) > 1 else answer[0]
        return 200, answer

    monkeypatch.setattr(lab, "read_state", lambda directory: RUNNING)
    monkeypatch.setattr(lab, "enter_namespace", lambda node, directory: None)
    monkeypatch.setattr(lab, "call", call)
    monkeypatch.setattr(lab.time, "sleep", lambda seconds: None)
    return given


def test_sessions_that_both_ends_hold(states: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    states |= {"pgw/session_ends": [PGW_END], "pcrf/session_ends": [PCRF_END]}
    assert main(["lab", "check"]) == 0
    assert "0 tunnel ids and 2 ends of sessions on 2 nodes, 0 problems" in capsys.readouterr().out
    assert main(["lab", "check", "--nothing-left"]) == 1
    assert "pcrf1 still holds Gx session pgw;5;1 of IMSI 001010000000001" in capsys.readouterr().out


def test_a_leaked_session_is_named(states: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    states |= {"pcrf/session_ends": [PCRF_END]}
    assert main(["lab", "check"]) == 1
    assert "pcrf1 holds Gx session pgw;5;1 of IMSI 001010000000001, which no pgw has: a leak" in capsys.readouterr().out


def test_a_session_that_has_just_begun_is_no_leak(states: dict[str, list[Any]]) -> None:
    states |= {"pgw/session_ends": [[], [PGW_END]], "pcrf/session_ends": [PCRF_END]}
    assert main(["lab", "check"]) == 0


def test_nothing_is_said_of_sessions_while_procedures_run(states: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    states |= {"pcrf/session_ends": [PCRF_END], "pgw/procedures": ["ip_can_session_termination"]}
    assert main(["lab", "check"]) == 0
    assert "sessions not compared: procedures run" in capsys.readouterr().out


def test_a_pending_request_is_left_over(states: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    states |= {"pgw/associations": [WAITING]}
    assert main(["lab", "check"]) == 0
    assert main(["lab", "check", "--nothing-left"]) == 1
    assert "pgw1 still waits for 1 answers of pcrf on Gx" in capsys.readouterr().out
