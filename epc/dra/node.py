"""The agent as a node."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from epc.dra.agent import RoutingAgent
from epc.dra.config import DraConfig
from epc.dra.proxy_state import ProxyState
from epc.dra.routing import RoutingTable
from epc.dra.topology_hiding import TopologyHiding
from epc.node import Node, View
from epc.node.state import AssociatedPeer, diameter_peers
from epc.peer.diameter import LocalIdentity
from epc.transport.diameter import DiameterNode, message_type
from epc.transport.interface import Transport
from epc.wire.diameter import RELAY_APPLICATION, DiameterError, Header, command_name

INTERFACE = "Diameter"          # whatever reference point its messages belong to
MOST_SHOWN = 1_000


class Dra(Node[DraConfig]):
    """Diameter Routing Agent: RFC 6733 clause 2.8; between networks GSMA IR.88."""

    kind = "dra"
    config_model = DraConfig

    def __init__(
        self,
        config: DraConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        host, realm = config.origin_host, config.origin_realm
        self.routes = RoutingTable(realm, config.routes)
        self.topology_hiding = None
        if config.topology_hiding is not None:
            self.topology_hiding = TopologyHiding(config.topology_hiding, origin_host=host, origin_realm=realm)
            self.topology_hiding.learn(each.identity for route in config.routes for each in route.peers)
        self.agent = RoutingAgent(
            self.routes, origin_host=host, origin_realm=realm, applications=frozenset(config.applications), answer_s=config.answer_s,
            pending_limit=config.pending_limit, observer=self, now=_loop_time, peers=lambda: list(self.diameter.relay_peers()),
            topology_hiding=self.topology_hiding, proxy_state=ProxyState(host, self.entropy.randbytes(16)) if config.stateless else None)
        self.diameter = DiameterNode(
            transport, LocalIdentity(origin_host=host, origin_realm=realm, applications=config.applications or (RELAY_APPLICATION,)),
            interface=INTERFACE, entropy=self.entropy, clock=clock, listen=[each.listen for each in config.diameter.listen],
            peers=[each.peer for each in config.diameter.peers], local=config.diameter.local,
            timers=config.diameter.peer_timers, accept_unknown_peers=config.diameter.accept_unknown_peers, observer=self.metrics, agent=self.agent)
        self.metrics.gauge("pending_requests", "Requests sent on and not yet answered", lambda: len(self.agent.pending))

    # life

    async def start(self) -> None:
        await self.diameter.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await self.diameter.stop()

    def is_ready(self) -> bool:
        """At least one of the peers that it connects to is there."""
        wanted = self.diameter.peers()[:len(self.config.diameter.peers)]
        return not wanted or any(peer.is_usable for peer in wanted)

    # what the agent tells

    def refused(self, header: Header, peer: str, error: DiameterError) -> None:
        self.metrics.protocol_error(INTERFACE, error.result_code.name)
        self.log.info("request.refused", command=command_name(header), origin=peer, result=error.result_code.name, reason=error.reason)

    def sent_again(self, header: Header) -> None:
        self.metrics.retransmission(INTERFACE, message_type(header))

    def discarded(self, reason: str) -> None:
        self.metrics.protocol_error(INTERFACE, reason)

    # the operator

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers(INTERFACE, self.diameter)

    def views(self) -> Mapping[str, View]:
        return {
            "peers": lambda: [asdict(peer) for peer in self.diameter.peers()],
            "routes": self.routes.state,
            "pending": self._pending,
            "pseudonyms": lambda: self.topology_hiding.state() if self.topology_hiding is not None else [],
        }

    def _pending(self) -> list[dict[str, object]]:
        """The oldest first."""
        now = _loop_time()
        oldest = sorted(self.agent.pending, key=lambda each: each.deadline)[:MOST_SHOWN]
        return [
            {"command": command_name(each.header), "application": each.application, "origin": each.origin.peer.host,
             "realm": each.realm.decode(errors="replace"), "sent_to": [peer.peer.host for peer in each.tried[1:]],
             "seconds_left": round(each.deadline - now, 3)}
            for each in oldest]


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
