"""What must hold over all nodes at every quiet moment: no orphan and no mismatched tunnel or session, nothing left after the last detach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from epc.node import TUNNELS, Node, SessionEnd, TunnelEnd
from epc.node.state import AssociatedPeer

# which kinds of node know each tunnel id besides the one that allocated it
_LEARNED_BY = {
    "s11_mme_teid": ("sgw",),
    "s5c_sgw_teid": ("pgw",),
    "s5u_sgw_teid": ("pgw",),
    "s5c_pgw_teid": ("sgw",),
    "s5u_pgw_teid": ("sgw",),
    "s11_sgw_teid": ("mme",),
    "s1u_sgw_teid": ("enb",),
    "s1u_enb_teid": ("sgw",),
}
_IDLE_MAY_LACK = {"s1u_sgw_teid"}       # in ECM-IDLE the eNodeB has forgotten the SGW's S1-U id; the SGW keeps it

# which kind of node begins the sessions of each interface, and which kind serves them
_SESSIONS_BETWEEN = {"Gx": ("pgw", "pcrf"), "Gy": ("pgw", "ocs"), "Rx": ("af", "pcrf"), "S9": ("pcrf", "pcrf")}


@dataclass(frozen=True, slots=True)
class Held:
    node: str
    kind: str
    end: TunnelEnd

    def __str__(self) -> str:
        who = f" of IMSI {self.end.imsi}" if self.end.imsi else ""
        return f"{self.end.label} {self.end.name} 0x{self.end.teid:08x}@{self.end.address}{who}"


def held_tunnels(nodes: Iterable[Node[Any]]) -> list[Held]:
    return [Held(node.config.name, node.kind, end) for node in nodes for end in node.tunnels()]


def check_tunnels(held: list[Held], kinds: set[str]) -> list[str]:
    """Violations among the tunnel ids that nodes of ``kinds`` hold; empty when all is well.

    Every learned id must exist, for the same bearer, and with the same IMSI where both know it, at the node that allocated it; every allocated
    id must be known to the node that uses it; a node never gives the same id twice.
    """
    problems: list[str] = []
    own: dict[tuple[str, str, int], Held] = {}
    learned: dict[tuple[str, str, int, str], Held] = {}
    for each in held:
        end = each.end
        if end.teid == 0:
            problems.append(f"{each.node}: {each} is zero")
        if end.own:
            key = (end.name, end.address, end.teid)
            twin = own.get(key)
            if twin is not None and (twin.end.imsi, end.imsi) != ("", "") and twin.end.imsi != end.imsi:
                problems.append(f"{each.node}: {each} is given twice, also to IMSI {twin.end.imsi}")
            own[key] = each
        else:
            learned[(end.name, end.address, end.teid, each.kind)] = each
    allocators = {tunnel.name: tunnel.allocated_by for tunnel in TUNNELS}
    for (name, address, teid, _), each in learned.items():
        owner = own.get((name, address, teid))
        if owner is None:
            if allocators[name] in kinds:
                problems.append(f"{each.node} still uses {each}, which no {allocators[name]} holds")
        elif each.end.imsi and owner.end.imsi and each.end.imsi != owner.end.imsi:
            problems.append(f"{each.node} uses {each}, which {owner.node} gave to IMSI {owner.end.imsi}")
        elif each.end.ebi != owner.end.ebi:
            problems.append(f"{each.node} uses {each} for bearer {each.end.ebi}, and {owner.node} gave it to bearer {owner.end.ebi}")
    connected = {each.end.imsi for each in held if each.end.name == "s1u_enb_teid" and each.end.imsi}
    for (name, address, teid), each in own.items():
        for kind in _LEARNED_BY[name]:
            if kind not in kinds or (name, address, teid, kind) in learned:
                continue
            if name in _IDLE_MAY_LACK and each.end.imsi not in connected:
                continue
            problems.append(f"{each.node} holds {each}, which no {kind} knows: an orphan")
    return problems


def check_nothing_left(held: list[Held]) -> list[str]:
    """After the last detach no node may hold a tunnel."""
    return [f"{each.node} still holds {each}" for each in held]


@dataclass(frozen=True, slots=True)
class HeldSession:
    node: str
    kind: str
    end: SessionEnd

    def __str__(self) -> str:
        who = f" of IMSI {self.end.imsi}" if self.end.imsi else ""
        peer = f" with {self.end.peer}" if self.end.peer else ""
        return f"{self.end.interface} session {self.end.session_id}{who}{peer}"


def held_sessions(nodes: Iterable[Node[Any]]) -> list[HeldSession]:
    return [HeldSession(node.config.name, node.kind, end) for node in nodes for end in node.session_ends()]


def check_sessions(held: list[HeldSession], kinds: Iterable[str]) -> list[str]:
    """Sessions that one end holds and the other does not, where a node that may be the other end runs; empty when all is well.

    ``kinds`` has an entry for each node. What is being begun or ended is not there at both ends at once: ask when no procedure runs. An
    agent that hides topology puts a pseudonym for the host's name at the beginning of a Session-Id; with an agent in the network two ends are
    also one session when all that follows that name is the same, and the IMSI, if both know it.
    """
    present = Counter(kinds)
    begun = [each for each in held if each.end.own]
    served = [each for each in held if not each.end.own]
    common = {_identity(each.end) for each in begun} & {_identity(each.end) for each in served}
    begun = [each for each in begun if _identity(each.end) not in common]
    served = [each for each in served if _identity(each.end) not in common]
    if present["dra"]:
        for each in list(begun):
            other = next((candidate for candidate in served if _may_be_hidden(each.end, candidate.end)), None)
            if other is not None:
                begun.remove(each)
                served.remove(other)
    problems = []
    for each in begun + served:
        beginner, server = _SESSIONS_BETWEEN[each.end.interface]
        other_kind = server if each.end.own else beginner
        if present[other_kind] <= (other_kind == each.kind):
            continue
        if not each.end.own:
            problems.append(f"{each.node} holds {each}, which no {other_kind} has: a leak")
        elif each.end.is_certain:
            problems.append(f"{each.node} still uses {each}, which no {other_kind} holds")
    return problems


def _identity(end: SessionEnd) -> tuple[str, str]:
    return end.interface, end.session_id


def _may_be_hidden(one: SessionEnd, other: SessionEnd) -> bool:
    return (one.interface == other.interface and one.session_id.partition(";")[2] == other.session_id.partition(";")[2]
            and (one.imsi == other.imsi or not (one.imsi and other.imsi)))


def check_no_session_left(held: list[HeldSession], peers: Iterable[tuple[str, AssociatedPeer]]) -> list[str]:
    """After the last detach no node may hold a session, nor wait for an answer of one of its ``peers`` (with the node's name)."""
    return [f"{each.node} still holds {each}" for each in held] + [
        f"{node} still waits for {peer.pending_requests} answers of {peer.peer} on {peer.interface}" for node, peer in peers if peer.pending_requests]
