"""The nodes of a topology inside one process. They meet on the wire only: sockets on loopback, or the in-memory network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from epc.lab.kinds import node_class
from epc.lab.topology import NodeEntry, Topology
from epc.node import Node
from epc.node.resolve import resolve_hosts
from epc.transport.interface import Transport

log = structlog.get_logger("epc.lab")


class NotReady(Exception):
    """Nodes did not find their peers in time; the text names them."""


class Network:
    """Builds, starts and stops the nodes of ``topology``; ``transport_for`` gives each node its transport."""

    def __init__(
        self,
        topology: Topology,
        transport_for: Callable[[NodeEntry], Transport],
        *,
        clock: Callable[[], float] | None = None,
        entropy: random.Random | None = None,
    ) -> None:
        self.topology = topology
        self._transport_for = transport_for
        self._clock = clock
        self._entropy = entropy
        self.nodes: dict[str, Node[Any]] = {}

    def __iter__(self) -> Iterator[Node[Any]]:
        return iter(self.nodes.values())

    def of_kind(self, kind: str) -> Iterator[Node[Any]]:
        return (node for node in self.nodes.values() if node.kind == kind)

    async def start(self, *, patience_s: float = 15.0) -> None:
        """Start every node, servers first, then wait until each has found its peers. Raises :class:`NotReady`."""
        for entry in self.topology.nodes:
            await self.add(entry)
        await self.ready(patience_s)

    async def add(self, entry: NodeEntry) -> Node[Any]:
        """Start one more node, which need not be in the topology; it is stopped with the others."""
        config = await resolve_hosts(entry.config)
        extra: dict[str, Any] = {}
        if self._clock is not None:
            extra["clock"] = self._clock
        if self._entropy is not None:
            extra["entropy"] = self._entropy
        node = node_class(entry.kind)(config, self._transport_for(entry), **extra)
        self.nodes[entry.name] = node
        await node.start()
        node.started_at = node.clock()
        return node

    async def ready(self, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while waiting := [name for name, node in self.nodes.items() if not node.is_ready()]:
            if loop.time() > end:
                raise NotReady(f"still without their peers after {patience_s:g} s: {', '.join(waiting)}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop in the opposite order of starting, whatever happens to one of them."""
        for name, node in reversed(self.nodes.items()):
            try:
                await node.stop()
            except Exception:
                log.exception("node.stop failed", node=name)
            await node.transport.close()
        self.nodes.clear()
