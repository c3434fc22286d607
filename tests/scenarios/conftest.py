"""A whole network in memory, on the virtual clock, from the topology of ``make demo`` with changes."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from epc.lab.kinds import KINDS, config_model
from epc.lab.scenario import Lab
from epc.lab.topology import NodeEntry, Topology
from epc.node import parse_config
from epc.transport.interface import Tap, Transport
from epc.transport.memory import Link, MemoryNetwork

SCENARIOS = Path(__file__).parents[2] / "scenarios"
IMSI = "001010000000001"


def topology_of(file: str, changes: Mapping[str, Any]) -> Topology:
    """``scenarios/FILE`` with ``changes``: dotted key ("mme1.timers.t3460_s") to new value; a value of ``...`` removes the key."""
    nodes = copy.deepcopy(yaml.safe_load((SCENARIOS / file).read_text())["nodes"])
    for key, value in changes.items():
        *path, last = key.split(".")
        at: Any = nodes
        for part in path:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        place: Any = int(last) if isinstance(at, list) else last
        if value is ...:
            del at[place]
        else:
            at[place] = value
    entries = []
    for name, data in nodes.items():
        full = {"name": name, **data}
        if data["kind"] == "enb":
            full["phone_hosts"] = "in_process"
        if data["kind"] == "pgw":
            full["sgi_hosts"] = "in_process"
        entries.append(NodeEntry(name=name, kind=data["kind"], config=parse_config(full, config_model(data["kind"]), source=file), data=full))
    entries.sort(key=lambda entry: list(KINDS).index(entry.kind))
    return Topology(name=file, nodes=tuple(entries))


@dataclass(slots=True)
class World:
    """The lab and the wires it is made of."""

    lab: Lab
    wires: MemoryNetwork

    def node(self, name: str) -> Any:
        return self.lab.network.nodes[name]

    def failures(self, node: str, procedure: str) -> dict[tuple[str, str], float]:
        """(result, cause) to how often, from the node's metrics."""
        metric = f"epc_{self.node(node).kind}_procedure_failures"
        return {(sample.labels["result"], sample.labels["cause"]): sample.value
                for family in self.node(node).metrics.registry.collect() if family.name == metric
                for sample in family.samples if sample.name.endswith("_total") and sample.labels["procedure"] == procedure}

    def sent(self, interface: str) -> list[str]:
        """Names of the messages on a reference point, in order."""
        return [event.name for event in self.lab.observer.events if event.interface == interface]


Build = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def network() -> Build:
    """``async with network({"mme1.timers.t3460_s": 2}) as world``: started, and at the end checked for leaks unless told otherwise."""

    @asynccontextmanager
    async def build(changes: Mapping[str, Any] | None = None, *, file: str = "attach.yaml", link: Link | None = None,
                    leaks_checked: bool = True, start: bool = True) -> AsyncIterator[World]:
        wires = MemoryNetwork(seed=7, link=link or Link(delay_s=0.001))

        def transport_for(entry: NodeEntry, tap: Tap) -> Transport:
            return wires.transport(entry.name, tap=tap)

        lab = Lab(topology_of(file, changes or {}), transport_for)
        lab.network._entropy = random.Random(7)
        world = World(lab, wires)
        try:
            if start:
                await lab.start()
            yield world
            if leaks_checked:
                await lab.settled(patience_s=120)
                lab.check_invariants()
        finally:
            await lab.stop()
            await asyncio.sleep(0)

    return build
