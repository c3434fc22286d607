"""The lifelines of a ladder: which there are, in which order, and which one a node stands on. Operators stand side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

TITLES = {
    "ue": "UE", "enb": "eNodeB", "mme": "MME", "hss": "HSS", "sgw": "SGW", "sgwu": "SGW-U", "pgw": "PGW", "pgwu": "PGW-U", "pcrf": "PCRF",
    "af": "AF", "ocs": "OCS", "sgi": "SGi", "dns": "DNS", "dra": "DRA",
}
_ORDER = tuple(TITLES)
_BEHIND_THE_BORDER = ("dra", "dns", "hss", "mme", "sgw", "sgwu", "pgw", "pgwu", "pcrf", "af", "ocs", "sgi")     # an operator seen from another one
_ATTACH = ("ue", "enb", "mme", "hss", "sgw", "pgw", "pcrf", "sgi")


class Lifeline(NamedTuple):
    """One column. ``key`` is a kind of node, with its operator before it where there are several: ``home/hss``."""

    key: str
    title: str
    operator: str = ""


class NodePlace(NamedTuple):
    """What the ladder needs to know of a node."""

    kind: str
    operator: str = ""
    hosts: tuple[str, ...] = ()         # where it listens for peers


class Lifelines:
    """``operators`` maps names to titles, in the order in which they stand; nodes without an operator stand before all of them."""

    def __init__(self, nodes: Mapping[str, NodePlace], operators: Mapping[str, str] | None = None) -> None:
        self._nodes = dict(nodes)
        self.operators = dict(operators or {})
        columns: list[Lifeline] = []
        if self.operators:
            columns.append(Lifeline("ue", TITLES["ue"]))
            for operator in ("", *self.operators):
                kinds = {place.kind for place in nodes.values() if place.operator == operator}
                columns += [Lifeline(_key(kind, operator), TITLES.get(kind, kind.upper()), operator) for kind in _in_order(kinds)]
        else:
            kinds = {place.kind for place in nodes.values()} | set(_ATTACH)
            columns += [Lifeline(kind, TITLES.get(kind, kind.upper())) for kind in [*_ORDER, *sorted(kinds.difference(_ORDER))] if kind in kinds]
        self.columns = tuple(columns)

    def of_node(self, name: str) -> str:
        """The lifeline of the node; its own name when nobody knows it."""
        place = self._nodes.get(name)
        return name if place is None else _key(place.kind, place.operator)

    def kind_of(self, name: str) -> str:
        place = self._nodes.get(name)
        return "" if place is None else place.kind

    def hosts(self) -> dict[str, str]:
        """Whose the addresses are where nodes listen."""
        return {host: name for name, place in self._nodes.items() for host in place.hosts}

    def nodes_of_kind(self, kind: str) -> list[str]:
        return [name for name, place in self._nodes.items() if place.kind == kind]

    def operator_of(self, name: str) -> str:
        """The title of the operator whose node it is; empty when there is only one."""
        place = self._nodes.get(name)
        return "" if place is None else self.operators.get(place.operator, "")

    def headings(self) -> Iterable[tuple[str, int, int]]:
        """Title, first column and number of columns of each operator."""
        for operator, title in self.operators.items():
            places = [i for i, column in enumerate(self.columns) if column.operator == operator]
            if places:
                yield title, places[0], len(places)


def _key(kind: str, operator: str) -> str:
    return f"{operator}/{kind}" if operator else kind


def _in_order(kinds: set[str]) -> list[str]:
    if "pgw" in kinds or "pgwu" in kinds:
        kinds = kinds | {"sgi"}
    order = _ORDER if "enb" in kinds else _BEHIND_THE_BORDER
    return [kind for kind in order if kind in kinds] + sorted(kinds.difference(order))


ATTACH_LIFELINES = Lifelines({kind: NodePlace(kind) for kind in _ATTACH[1:-1]})
