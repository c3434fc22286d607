"""The invariant checker finds each kind of broken tunnel, and nothing in a healthy network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from epc.lab.invariants import Held, HeldSession, check_no_session_left, check_nothing_left, check_sessions, check_tunnels
from epc.node import TUNNELS, SessionEnd, TunnelEnd
from epc.node.state import AssociatedPeer

IMSI = "001010000000001"
KINDS = {"mme", "sgw", "pgw", "enb"}
ADDRESS = {"mme": "127.0.0.10", "sgw": "127.0.0.20", "pgw": "127.0.0.30", "enb": "127.0.0.40"}
KNOWN_BY = {"t1": ["sgw"], "t2": ["pgw"], "t3": ["pgw"], "t4": ["sgw"], "t5": ["sgw"], "t6": ["mme"], "t7": ["enb", "mme"], "t8": ["sgw", "mme"]}


def healthy() -> list[Held]:
    held = []
    for i, tunnel in enumerate(TUNNELS, 1):
        for kind in [tunnel.allocated_by, *KNOWN_BY[tunnel.label]]:
            end = TunnelEnd(name=tunnel.name, teid=i, address=ADDRESS[tunnel.allocated_by], own=kind == tunnel.allocated_by,
                            imsi="" if kind == "enb" else IMSI, ebi=5)
            held.append(Held(f"{kind}1", kind, end))
    return held


def test_a_healthy_network() -> None:
    assert check_tunnels(healthy(), KINDS) == []


@pytest.mark.parametrize("label", [f"t{i}" for i in range(1, 9)])
def test_an_id_that_only_its_allocator_holds_is_an_orphan(label: str) -> None:
    held = [each for each in healthy() if each.end.label != label or each.end.own]
    assert any("orphan" in problem and label in problem for problem in check_tunnels(held, KINDS))


@pytest.mark.parametrize("label", [f"t{i}" for i in range(1, 9)])
def test_an_id_used_after_its_allocator_forgot_it(label: str) -> None:
    held = [each for each in healthy() if each.end.label != label or not each.end.own]
    assert any("still uses" in problem and label in problem for problem in check_tunnels(held, KINDS))


def test_an_id_that_belongs_to_somebody_else() -> None:
    held = [Held(each.node, each.kind, replace(each.end, imsi="001010000000002")) if each.kind == "mme" and each.end.label == "t6" else each
            for each in healthy()]
    assert any("gave to IMSI 001010000000001" in problem for problem in check_tunnels(held, KINDS))


def dedicated() -> list[Held]:
    """Bearer 6 of the same phone: user tunnels of its own."""
    return [Held(each.node, each.kind, replace(each.end, teid=each.end.teid + 100, ebi=6)) for each in healthy()
            if each.end.label in ("t3", "t5", "t7", "t8")]


def test_a_dedicated_bearer_is_one_more_set_of_user_tunnels() -> None:
    assert check_tunnels(healthy() + dedicated(), KINDS) == []


@pytest.mark.parametrize("label", ["t3", "t5", "t7", "t8"])
def test_a_dedicated_bearer_that_a_node_has_forgotten(label: str) -> None:
    held = healthy() + [each for each in dedicated() if each.end.label != label or each.end.own]
    assert any("orphan" in problem and label in problem for problem in check_tunnels(held, KINDS))
    held = healthy() + [each for each in dedicated() if each.end.label != label or not each.end.own]
    assert any("still uses" in problem and label in problem for problem in check_tunnels(held, KINDS))


def test_a_tunnel_that_serves_another_bearer_at_the_other_end() -> None:
    held = healthy() + [Held(each.node, each.kind, replace(each.end, ebi=7)) if each.kind == "sgw" and each.end.label == "t5" else each
                        for each in dedicated()]
    assert any("for bearer 7" in problem for problem in check_tunnels(held, KINDS))


def test_an_id_given_twice() -> None:
    held = healthy()
    held.append(Held("sgw1", "sgw", TunnelEnd(name="s1u_sgw_teid", teid=7, address=ADDRESS["sgw"], own=True, imsi="001010000000002")))
    assert any("given twice" in problem for problem in check_tunnels(held, KINDS))


def test_an_idle_phone_has_no_tunnel_at_the_enodeb() -> None:
    held = [each for each in healthy() if each.kind != "enb" and each.end.label != "t8"]
    assert check_tunnels(held, KINDS) == []


def test_nothing_left() -> None:
    assert check_nothing_left([]) == []
    assert len(check_nothing_left(healthy())) == len(healthy())


def gx(session_id: str = "pgw1;5;1", *, own: bool, imsi: str = IMSI, is_certain: bool = True) -> HeldSession:
    kind = "pgw" if own else "pcrf"
    return HeldSession(f"{kind}1", kind, SessionEnd(interface="Gx", session_id=session_id, own=own, imsi=imsi, is_certain=is_certain))


def test_sessions_that_both_ends_hold() -> None:
    assert check_sessions([gx(own=True), gx(own=False)], ["pgw", "pcrf"]) == []


def test_a_session_that_one_end_holds() -> None:
    assert check_sessions([gx(own=False)], ["pgw", "pcrf"]) == [f"pcrf1 holds Gx session pgw1;5;1 of IMSI {IMSI}, which no pgw has: a leak"]
    assert check_sessions([gx(own=True)], ["pgw", "pcrf"]) == [f"pgw1 still uses Gx session pgw1;5;1 of IMSI {IMSI}, which no pcrf holds"]


def test_a_session_that_the_other_end_may_never_have_heard_of() -> None:
    assert check_sessions([gx(own=True, is_certain=False)], ["pgw", "pcrf"]) == []


def test_a_session_whose_other_end_is_not_in_the_lab() -> None:
    assert check_sessions([gx(own=True)], ["pgw"]) == check_sessions([gx(own=False)], ["pcrf", "ocs"]) == []
    s9 = HeldSession("pcrf1", "pcrf", SessionEnd(interface="S9", session_id="pcrf;5;1;s9;1", own=True))
    assert check_sessions([s9], ["pcrf"]) == []
    assert len(check_sessions([s9], ["pcrf", "pcrf"])) == 1


def test_a_pseudonym_of_an_agent() -> None:
    ends = [gx(own=True), gx("node-1234;5;1", own=False)]
    assert check_sessions(ends, ["pgw", "pcrf", "dra"]) == []
    assert len(check_sessions(ends, ["pgw", "pcrf"])) == 2, "without an agent nobody hides"
    assert len(check_sessions([gx(own=True), gx("node-1234;5;2", own=False)], ["pgw", "pcrf", "dra"])) == 2
    assert len(check_sessions([gx(own=True), gx("node-1234;5;1", own=False, imsi="001010000000002")], ["pgw", "pcrf", "dra"])) == 2


def test_no_session_and_no_request_left() -> None:
    quiet = AssociatedPeer(interface="Gx", peer="pcrf", address="", state="open", is_up=True)
    assert check_no_session_left([], [("pgw1", quiet)]) == []
    assert check_no_session_left([gx(own=False)], [("dra1", replace(quiet, pending_requests=2))]) == [
        f"pcrf1 still holds Gx session pgw1;5;1 of IMSI {IMSI}", "dra1 still waits for 2 answers of pcrf on Gx"]
