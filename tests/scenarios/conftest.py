"""A whole network in memory, on the virtual clock, from the topology of ``make demo`` with changes."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from epc.lab.invariants import check_no_session_left, held_sessions
from epc.lab.kinds import KINDS, config_model, node_class
from epc.lab.ladder import LadderEvent
from epc.lab.scenario import Lab
from epc.lab.topology import NodeEntry, Topology
from epc.node import parse_config
from epc.transport.interface import Tap, TappedPacket, Transport
from epc.transport.memory import Link, MemoryNetwork, Rule

SCENARIOS = Path(__file__).parents[2] / "scenarios"
IMSI = "001010000000001"


def topology_of(file: str, changes: Mapping[str, Any]) -> Topology:
    """``scenarios/FILE`` with ``changes``: dotted key ("mme1.timers.t3460_s") to new value; a value of ``...`` removes the key."""
    written = yaml.safe_load((SCENARIOS / file).read_text())
    nodes = copy.deepcopy(written["nodes"])
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
        operator = full.pop("operator", "")
        if data["kind"] == "enb":
            full["phone_hosts"] = "in_process"
        if data["kind"] == "pgw":
            full["sgi_hosts"] = "in_process"
        config = parse_config(full, config_model(data["kind"]), source=file)
        entries.append(NodeEntry(name=name, kind=data["kind"], operator=operator, config=config, data=full))
    entries.sort(key=lambda entry: list(KINDS).index(entry.kind))
    return Topology(name=file, operators=written.get("operators", {}), nodes=tuple(entries))


GAUGES = {
    "mme": ("registered_ues", "connected_ues", "sessions"),
    "sgw": ("ues", "pdn_connections", "bearers"),
    "pgw": ("sessions",),
    "dra": ("pending_requests",),
    "enb": ("connected_ues", "bearers"),
}


@dataclass(slots=True)
class _Hook:
    """``action`` is called when the ``nth`` message of that name is sent."""

    interface: str
    name: str
    nth: int
    action: Callable[[], object]
    seen: int = 0


@dataclass(slots=True)
class World:
    """The lab and the wires it is made of."""

    lab: Lab
    wires: MemoryNetwork
    raised: list[object] = field(default_factory=list)      # exceptions that reached the event loop: defects
    _hooks: list[_Hook] = field(default_factory=list)

    def node(self, name: str) -> Any:
        return self.lab.network.nodes[name]

    def failures(self, node: str, procedure: str) -> dict[tuple[str, str], float]:
        """(result, cause) to how often, from the node's metrics."""
        metric = f"epc_{self.node(node).kind}_procedure_failures"
        return {(sample.labels["result"], sample.labels["cause"]): sample.value
                for family in self.node(node).metrics.registry.collect() if family.name == metric
                for sample in family.samples if sample.name.endswith("_total") and sample.labels["procedure"] == procedure}

    def protocol_errors(self, node: str) -> dict[tuple[str, str], float]:
        """(interface, cause) to how often, from the node's metrics."""
        metric = f"epc_{self.node(node).kind}_protocol_errors"
        return {(sample.labels["interface"], sample.labels["cause"]): sample.value
                for family in self.node(node).metrics.registry.collect() if family.name == metric
                for sample in family.samples if sample.name.endswith("_total")}

    def sent(self, interface: str, *, by: str = "") -> list[str]:
        """Names of the messages on a reference point, in order; of those that node ``by`` has sent, or all of them."""
        return [event.name for event in self.lab.observer.events if event.interface == interface and by in ("", event.source)]

    def last(self, interface: str) -> LadderEvent:
        """The latest message on a reference point."""
        return next(event for event in reversed(self.lab.observer.events) if event.interface == interface)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # what happens at a certain message

    def when(self, interface: str, name: str, action: Callable[[], object], *, nth: int = 1) -> None:
        """Call ``action`` as soon as the ``nth`` message ``name`` from now on is sent (before it arrives)."""
        self._hooks.append(_Hook(interface, name, nth, action))

    def heard(self, event: LadderEvent) -> None:
        for hook in list(self._hooks):
            if (hook.interface, hook.name) == (event.interface, event.name):
                hook.seen += 1
                if hook.seen == hook.nth:
                    self._hooks.remove(hook)
                    asyncio.get_running_loop().call_soon(hook.action)

    def lose(self, interface: str, name: str, *, nth: int = 1, count: int | None = 1) -> Rule:
        """The ``nth`` message ``name`` from now on gets lost, and ``count - 1`` after it (``None``: all)."""
        return self.wires.drop_when(self._is(interface, name, nth, count))

    def delay(self, interface: str, name: str, by_s: float, *, nth: int = 1, count: int | None = 1) -> Rule:
        """It comes ``by_s`` later, behind what was sent after it."""
        return self.wires.delay_when(self._is(interface, name, nth, count), by_s)

    def _is(self, interface: str, name: str, nth: int, count: int | None) -> Callable[[TappedPacket], bool]:
        events = self.lab.observer.events
        seen = itertools.count(1)

        def is_it(packet: TappedPacket) -> bool:
            # the tap has just put the packet on the ladder
            if not events or events[-1].octets != packet.payload or (events[-1].interface, events[-1].name) != (interface, name):
                return False
            number = next(seen)
            return nth <= number and (count is None or number < nth + count)

        return is_it

    # nodes that come and go

    async def crash(self, name: str) -> None:
        """The node is gone without a word."""
        self.wires.cut(name)
        node = self.lab.network.nodes.pop(name)
        await node.stop()
        await node.transport.close()
        self.wires.heal(name)

    async def revive(self, name: str) -> None:
        """Start the node anew, at its old addresses and without memory."""
        entry = next(entry for entry in self.lab.topology.nodes if entry.name == name)
        network = self.lab.network
        chance = random.Random(f"{name} at {self.now()}")       # another one each time, or a restarted MME would give the same M-TMSIs again
        node = node_class(entry.kind)(entry.config, network._transport_for(entry), clock=network._clock, entropy=chance)
        network.nodes[name] = node
        await node.start()
        await network.ready(60)

    # what must be true when nothing happens any more

    def leftovers(self) -> list[str]:
        """What nodes hold although no phone is registered."""
        found = [f"{node.config.name}: {gauge} = {value:g}" for node in self.lab.network for gauge in GAUGES.get(node.kind, ())
                 if (value := node.metrics.value(gauge))]
        for node in self.lab.network:
            name = node.config.name
            holds = dict.fromkeys([f"procedure {running}" for running in node.runner.running], 1)
            match node.kind:
                case "mme":
                    holds |= {"S1 connection": sum(len(each.connections) + len(each.connections_by_enb_id) for each in node.associations)}
                    holds |= {"S11 owner": len(node.s11._owner), "S11 request": node.s11.endpoint.machine.outstanding}
                    holds |= {"busy slot": sum(ue.slot.running is not None for ue in node.ues.by_imsi.values())}
                case "sgw":
                    holds |= {"control TEID": len(node.control_teids), "forwarder session": node.forwarder.statistics().sessions}
                    holds |= {"S11 request": node.s11.machine.outstanding, "S5/S8 request": node.s5.machine.outstanding}
                case "pgw":
                    holds |= {"control TEID": len(node.control_teids), "forwarder session": node.forwarder.statistics().sessions}
                    holds |= {f"address of {apn}": len(pool) for apn, pool in node.pools.items()}
                    holds |= {"S5/S8 request": node.s5.machine.outstanding, "session by Session-Id": len(node._by_gx)}
                    holds |= {"session in the making": len(node._establishing)}
                    if node.gy is not None:
                        holds |= {"Gy session": len(node.gy.sessions)}
                case "pcrf":
                    holds |= {"address": len(node.sessions._by_address)}
                case "enb":
                    holds |= {"radio": len(node.ues._by_radio), "forwarder session": node.user_plane.forwarder.statistics().sessions}
            found += [f"{name}: {number} x {what}" for what, number in holds.items() if number]
        return found + self.sessions_left()

    def sessions_left(self) -> list[str]:
        """Sessions and pending requests of Diameter."""
        network = self.lab.network
        return check_no_session_left(held_sessions(network), [(node.config.name, peer) for node in network for peer in node.associated_peers()])

    def defects(self) -> list[str]:
        """Procedures that ended with an exception that nobody expected."""
        return [f"{node.config.name}: {sample.labels['procedure']}" for node in self.lab.network
                for family in node.metrics.registry.collect() for sample in family.samples
                if sample.labels.get("cause") == "internal error" and sample.value]

    async def at_rest(self, *, patience_s: float = 120) -> None:
        """Wait until nothing runs; then no phone may be registered, and nothing may be left anywhere."""
        await self.lab.settled(patience_s=patience_s)
        assert not any(phone.ue.registered for phone in self.lab.phones)
        assert self.leftovers() == []
        self.lab.check_invariants(nothing_left=True)

    async def attaches_and_detaches(self, imsi: str = IMSI) -> None:
        """The network is as good as new: a phone can use it, and leaves nothing behind."""
        phone = self.lab.phone(imsi)
        await self.lab.attach(phone)
        self.lab.check_invariants()
        await self.lab.ping(phone, self.lab.server, count=1)
        await self.lab.detach(phone)
        await self.at_rest()


Build = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def network() -> Build:
    """``async with network({"mme1.timers.t3460_s": 2}) as world``: started, and at the end checked for leaks unless told otherwise."""

    @asynccontextmanager
    async def build(changes: Mapping[str, Any] | None = None, *, file: str = "attach.yaml", link: Link | None = None,
                    leaks_checked: bool = True, start: bool = True) -> AsyncIterator[World]:
        wires = MemoryNetwork(seed=7, link=link or Link(delay_s=0.001))

        def transport_for(entry: NodeEntry, tap: Tap) -> Transport:
            return wires.transport(entry.name, tap=tap, impairments=entry.config.link_impairments())

        world: World
        lab = Lab(topology_of(file, changes or {}), transport_for, on_event=lambda event: world.heard(event))
        loop = asyncio.get_running_loop()
        lab.network._entropy = random.Random(7)
        lab.network._clock = lambda: 1_800_000_000 + loop.time()        # the wall clock, from which restart counters come
        world = World(lab, wires)
        loop.set_exception_handler(lambda loop, context: world.raised.append(context))
        try:
            if start:
                await lab.start()
            yield world
            if leaks_checked:
                await lab.settled(patience_s=120)
                lab.check_invariants()
            assert world.defects() == []
        finally:
            await lab.stop()
            await asyncio.sleep(0)
        assert world.raised == []

    return build
