"""Who gets a request: its Destination-Host, else a peer of the route for its realm and application (RFC 6733 clauses 6.1.5, 6.1.6, 2.7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from epc.dra.config import ANY_REALM, RealmRoute
from epc.transport.diameter import RelayPeer
from epc.wire.diameter import DiameterError, ResultCode


class _Share:
    """A peer in a route, and whose turn it is: the smooth weighted round robin."""

    __slots__ = ("credit", "host", "peer", "weight")

    def __init__(self, host: bytes, weight: int, peer: RelayPeer | None = None) -> None:
        self.host = host
        self.weight = weight
        self.peer = peer            # None: not connected
        self.credit = 0


class _Route:
    """Peers by priority."""

    __slots__ = ("tiers",)

    def __init__(self, tiers: Iterable[list[_Share]]) -> None:
        self.tiers = tuple(tier for tier in tiers if tier)

    def pick(self, application: int, tried: Sequence[RelayPeer]) -> RelayPeer | None:
        """The next peer in turn that can take it."""
        for tier in self.tiers:
            best: _Share | None = None
            total = 0
            for share in tier:
                peer = share.peer
                if peer is None or peer in tried or not _takes(peer, application):
                    continue
                share.credit += share.weight
                total += share.weight
                if best is None or share.credit > best.credit:
                    best = share
            if best is not None:
                best.credit -= total
                return best.peer
        return None


class RoutingTable:
    """The configured routes, and those that connected peers make by themselves."""

    def __init__(self, origin_realm: str, routes: Sequence[RealmRoute]) -> None:
        self._own_realm = origin_realm.lower().encode()
        self._hosts: dict[bytes, RelayPeer] = {}
        self._configured: dict[tuple[bytes, int | None], _Route] = {
            (route.realm.encode(), route.application): _by_priority(route) for route in routes}
        self._by_realm: dict[bytes, _Route] = {}            # of connected peers' own realms
        self._agents_of_realm: dict[bytes, _Route] = {}
        self._default = _Route(())

    def update(self, peers: Sequence[RelayPeer]) -> None:
        """A peer came, went, or said who it is."""
        self._hosts = {each.peer.host.lower().encode(): each for each in peers if each.peer.host}
        for route in self._configured.values():
            for tier in route.tiers:
                for share in tier:
                    share.peer = self._hosts.get(share.host)
        self._by_realm = {}
        self._agents_of_realm = {}
        for realm in {each.peer.realm.lower() for each in peers if each.peer.realm}:
            of_realm = [each for each in peers if each.peer.realm.lower() == realm]
            agents = [_share(each) for each in of_realm if each.peer.is_relay or each.is_default_route]
            servers = [_share(each) for each in of_realm if not (each.peer.is_relay or each.is_default_route)]
            self._by_realm[realm.encode()] = _Route((servers, agents))
            self._agents_of_realm[realm.encode()] = _Route((agents,))
        self._default = _Route([_share(each)] for each in peers if each.is_default_route)

    def host(self, host: bytes) -> RelayPeer | None:
        return self._hosts.get(host)

    def next_hop(self, host: bytes | None, realm: bytes, application: int, tried: Sequence[RelayPeer]) -> RelayPeer | None:
        """The best peer that is not in ``tried``; None: nobody is there. Raises :class:`DiameterError` 3003 when the realm has no route."""
        if host is not None:
            peer = self._hosts.get(host)
            if peer is not None and peer not in tried and _takes(peer, application):
                return peer
        route = self._route(host, realm, application)
        if route is not None:
            return route.pick(application, tried)
        if realm == self._own_realm:
            return None
        raise DiameterError(f"realm {realm.decode(errors='replace')} is not served", ResultCode.DIAMETER_REALM_NOT_SERVED)

    def _route(self, host: bytes | None, realm: bytes, application: int) -> _Route | None:
        configured = self._configured
        route = configured.get((realm, application)) or configured.get((realm, None))
        if route is None:       # a server is not asked for another host's work, an agent is
            route = (self._by_realm if host is None else self._agents_of_realm).get(realm)
        if route is None and realm != self._own_realm:      # our own realm's requests do not leave it
            route = configured.get((_ANY, application)) or configured.get((_ANY, None)) or (self._default if self._default.tiers else None)
        return route

    def state(self) -> list[dict[str, object]]:
        """For ``epclab ctl NODE routes``: in the order in which they are tried."""
        named = [*((realm.decode(), application, route) for (realm, application), route in self._configured.items() if realm != _ANY),
                 *((realm.decode(), None, route) for realm, route in self._by_realm.items() if (realm, None) not in self._configured),
                 *((ANY_REALM, application, route) for (realm, application), route in self._configured.items() if realm == _ANY)]
        if self._default.tiers:
            named.append((ANY_REALM, None, self._default))
        return [
            {"realm": realm, "application": application, "peers": [
                {"host": share.host.decode(), "weight": share.weight, "preference": preference,
                 "is_usable": share.peer is not None and share.peer.peer.is_usable}
                for preference, tier in enumerate(route.tiers, 1) for share in tier]}
            for realm, application, route in named]


_ANY = ANY_REALM.encode()


def _takes(peer: RelayPeer, application: int) -> bool:
    machine = peer.peer
    return machine.is_usable and (application in machine.applications or machine.is_relay)


def _share(peer: RelayPeer) -> _Share:
    return _Share(peer.peer.host.lower().encode(), 1, peer)


def _by_priority(route: RealmRoute) -> _Route:
    return _Route(
        [_Share(each.identity.encode(), each.weight) for each in route.peers if each.priority == priority]
        for priority in sorted({each.priority for each in route.peers}))
