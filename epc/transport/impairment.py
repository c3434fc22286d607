"""What goes wrong on a link: delay, jitter, loss, duplication, reordering. One description and one model for sockets and for memory.

Pure: a packet's fate follows from the link and a seeded source of chance, so that a run can be repeated. Transports ask for the fate of
each packet they send and see to it; who receives needs to know nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How packets travel in one direction between two nodes."""

    delay_s: float = 0.001
    jitter_s: float = 0.0                   # added to the delay, evenly distributed
    loss: float = 0.0                       # share of packets lost, 0 to 1
    duplication: float = 0.0                # share of datagrams that arrive twice
    reordering: float = 0.0                 # share of datagrams held back so that later ones overtake them
    reordering_delay_s: float = 0.005
    retransmission_s: float = 0.2           # what one loss costs a reliable carrier
    max_retransmissions: int = 6            # losses in a row after which a reliable carrier gives its peer up


@dataclass(slots=True)
class Fates:
    """What has become of the packets that an impairment took."""

    packets: int = 0
    lost: int = 0               # on reliable carriers: sent again
    doubled: int = 0
    held: int = 0               # to be overtaken


class Way(NamedTuple):
    """A link and the chance that rules on it. Each direction of each pair has a chance of its own: traffic elsewhere changes nothing here."""

    link: Link
    chance: random.Random
    fates: Fates | None = None          # where they are counted

    def travel_s(self) -> float:
        """How long one packet is under way."""
        link = self.link
        return link.delay_s + (self.chance.random() * link.jitter_s if link.jitter_s else 0.0)

    def datagram(self) -> tuple[float, ...]:
        """When the copies of a datagram arrive, in seconds from now: none (lost), one or two."""
        link, chance, fates = self.link, self.chance, self.fates
        held_s = 0.0
        if fates is not None:
            fates.packets += 1
        if link.loss or link.duplication or link.reordering:
            if chance.random() < link.loss:
                if fates is not None:
                    fates.lost += 1
                return ()
            if chance.random() < link.reordering:
                held_s = link.reordering_delay_s
                if fates is not None:
                    fates.held += 1
            if chance.random() < link.duplication:
                if fates is not None:
                    fates.doubled += 1
                return self.travel_s() + held_s, self.travel_s() + held_s
        return (self.travel_s() + held_s,)

    def reliable(self) -> float | None:
        """How long a piece of a reliable carrier's stream takes, with the retransmissions that losses cost; ``None``: the peer is given up."""
        link, fates = self.link, self.fates
        delay_s = self.travel_s()
        if fates is not None:
            fates.packets += 1
        if link.loss:
            for _ in range(link.max_retransmissions + 1):
                if self.chance.random() >= link.loss:
                    return delay_s
                delay_s += link.retransmission_s
                if fates is not None:
                    fates.lost += 1
            return None
        return delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """A link, and which of a node's packets take it."""

    link: Link
    peers: frozenset[str] = frozenset()     # addresses of the other end; empty: any
    interface: str | None = None            # 3GPP reference point as the node names it; None: any
    incoming: bool = False                  # packets that come in; for peers that do not impair what they send themselves

    def takes(self, interface: str, host: str, *, incoming: bool) -> bool:
        return self.incoming == incoming and self.interface in (None, interface) and (not self.peers or host in self.peers)


def same_packets(one: Impairment, other: Impairment) -> bool:
    """Both are about the same packets."""
    return (one.peers, one.interface, one.incoming) == (other.peers, other.interface, other.incoming)


class Impairments:
    """The impairments of one node's packets; the first that takes a packet counts. Can be changed while the node runs."""

    __slots__ = ("_fates", "_node", "_seed", "_watchers", "_ways", "rules")

    def __init__(self, node: str, rules: Iterable[Impairment] = (), *, seed: int = 1) -> None:
        self.rules = tuple(rules)           # empty: nothing else here is ever asked
        self._node = node
        self._seed = seed
        self._ways: dict[tuple[str, str, bool], Way | None] = {}
        self._fates: dict[Impairment, Fates] = {}
        self._watchers: list[Callable[[], None]] = []

    def replace(self, rules: Iterable[Impairment]) -> None:
        """From now on these. What is under way stays under way."""
        self.rules = tuple(rules)
        self._ways.clear()
        self._fates = {rule: fates for rule, fates in self._fates.items() if rule in self.rules}
        for watcher in list(self._watchers):
            watcher()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after every :meth:`replace`, until :meth:`unwatch`."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._watchers.remove(changed)

    def way_to(self, interface: str, host: str) -> Way | None:
        """Of packets to ``host``; ``None``: nothing impairs them."""
        return self._way(interface, host, False)

    def way_from(self, interface: str, host: str) -> Way | None:
        """Of packets that come from ``host``."""
        return self._way(interface, host, True)

    def fates(self, rule: Impairment) -> Fates:
        """Counted since the rule is there."""
        return self._fates.setdefault(rule, Fates())

    def _way(self, interface: str, host: str, incoming: bool) -> Way | None:
        key = interface, host, incoming
        try:
            return self._ways[key]
        except KeyError:
            rule = next((rule for rule in self.rules if rule.takes(interface, host, incoming=incoming)), None)
            way = None
            if rule is not None:
                way = Way(rule.link, random.Random(f"{self._seed}/{self._node}/{interface}/{host}/{incoming}"), self.fates(rule))
            self._ways[key] = way
            return way
