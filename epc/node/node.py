"""One node: what a service is given, offers and must do, whatever its kind."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import structlog

from epc.node.config import NodeConfig
from epc.node.metrics import NodeMetrics
from epc.node.session import SessionEnd
from epc.node.state import AssociatedPeer
from epc.node.tunnel import TUNNELS, TunnelEnd
from epc.procedure import Runner
from epc.transport.interface import Transport

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

C = TypeVar("C", bound=NodeConfig)
View = Callable[[], object]
Command = Callable[..., Awaitable[object]]


class Node(Generic[C]):
    """Base of every node.

    A node talks through ``transport`` only. ``clock`` is the wall clock (seconds since the epoch), for time stamps on the wire;
    durations and timers use the event loop's time. ``entropy`` is where identifiers and challenges come from: the system's by default,
    a seeded one in tests.

    Subclasses define ``kind``, ``config_model``, ``start``, ``stop`` and what they show: :meth:`views`, :meth:`commands`,
    :meth:`tunnels`, :meth:`session_ends`, :meth:`is_ready`.
    """

    kind: ClassVar[str]
    config_model: ClassVar[type[NodeConfig]]

    def __init__(
        self,
        config: C,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        self.config = config
        self.transport = transport
        self.clock = clock
        self.entropy = entropy or random.SystemRandom()
        self.metrics = NodeMetrics(self.kind)
        self.runner = Runner(self.metrics)
        self.log = structlog.get_logger(f"epc.{self.kind}").bind(node=config.name)
        self.started_at: float | None = None
        self.metrics.gauges("associations", "Peers that can be used: SCTP associations, Diameter connections, GTP-C paths", ("interface",),
                            self._count_associations)
        if type(self).tunnels is not Node.tunnels:
            self.metrics.gauges("tunnels", "Tunnel ids that this node has allocated and holds", ("tunnel",), self._count_tunnels)

    async def start(self) -> None:
        """Open what the node listens on and begin to connect to its peers; returns when the node can take requests.

        Peers that do not answer yet are no error: the node keeps trying and :meth:`is_ready` says so.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Say goodbye to peers, end procedures with their undo, close everything."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """All peers that the node cannot work without are connected."""
        return True

    def views(self) -> Mapping[str, View]:
        """State for ``epclab ctl NODE <view>``: name to a function that returns plain data (dicts, lists, strings, numbers)."""
        return {}

    def commands(self) -> Mapping[str, Command]:
        """Actions for ``epclab ctl NODE <command> key=value ...``: keyword arguments are strings; the result is plain data.

        Raise ``ValueError`` for arguments that make no sense and ``LookupError`` for what does not exist.
        """
        return {}

    def http_routes(self) -> Iterable[AbstractRouteDef]:
        """What the node adds to its admin HTTP server. Asked for before the node starts; handlers run only once it has."""
        return ()

    def tunnels(self) -> Iterable[TunnelEnd]:
        """Every tunnel id that the node holds now, own and learned."""
        return ()

    def session_ends(self) -> Iterable[SessionEnd]:
        """Every Diameter session that the node holds now and that a peer has to hold too. Not those that are being begun or ended."""
        return ()

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        """Every peer that the node has, or wants to have, a connection with."""
        return ()

    def _count_associations(self) -> Mapping[tuple[str, ...], float]:
        found: Counter[tuple[str, ...]] = Counter()
        for peer in self.associated_peers():
            found[peer.interface,] += peer.is_up
        return found

    def _count_tunnels(self) -> Mapping[tuple[str, ...], float]:
        found: Counter[tuple[str, ...]] = Counter({(tunnel.label,): 0 for tunnel in TUNNELS if tunnel.allocated_by == self.kind})
        found.update((end.label,) for end in self.tunnels() if end.own)
        return found
