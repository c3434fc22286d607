"""What must hold over all nodes at every quiet moment: no orphan and no mismatched tunnel, nothing left after the last detach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from epc.node import TUNNELS, Node, TunnelEnd

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
