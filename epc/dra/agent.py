"""The agent itself: each request from its peer to the next hop, each answer back (RFC 6733 clauses 6.1.7 to 6.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from epc.dra.message import (
    RoutingAvps,
    error_answer,
    result_code,
    retransmitted,
    route_record,
    with_avp,
    with_hop_by_hop,
)
from epc.dra.proxy_state import Origin, ProxyState
from epc.dra.routing import RoutingTable
from epc.dra.topology_hiding import TopologyHiding
from epc.transport.diameter import RelayPeer
from epc.wire.diameter import DiameterError, Header, ResultCode, command_name

_RETRY_ELSEWHERE = (ResultCode.DIAMETER_UNABLE_TO_DELIVER, ResultCode.DIAMETER_TOO_BUSY)     # RFC 6733 clause 7.1.3


class Transaction:
    """A request on its way, until its answer has gone back."""

    __slots__ = ("application", "connection", "deadline", "header", "holders", "host", "octets", "origin", "realm", "tried")

    def __init__(self, origin: RelayPeer, connection: int, header: Header, octets: bytes, deadline: float) -> None:
        self.origin = origin                        # the peer it came from, and over which of its connections
        self.connection = connection
        self.header = header
        self.octets = octets                        # with our hosts' own names
        self.deadline = deadline
        self.host: bytes | None = None              # Destination-Host and Destination-Realm, in lower case
        self.realm = b""
        self.application = header.application_id
        self.tried: list[RelayPeer] = [origin]      # it never goes back to where it came from
        self.holders: list[RelayPeer] = []          # peers that may still answer


class AgentObserver(Protocol):
    """Told what does not go its usual way."""

    def refused(self, header: Header, peer: str, error: DiameterError) -> None:
        """A request was answered with an error of this agent's own."""

    def sent_again(self, header: Header) -> None:
        """A request went to a second peer, with the T bit."""

    def discarded(self, reason: str) -> None:
        """An answer that cannot be returned."""


class RoutingAgent:
    """Implements :class:`epc.transport.diameter.Agent`."""

    def __init__(
        self,
        table: RoutingTable,
        *,
        origin_host: str,
        origin_realm: str,
        applications: frozenset[int],
        answer_s: float,
        pending_limit: int,
        observer: AgentObserver,
        now: Callable[[], float],
        peers: Callable[[], list[RelayPeer]],
        topology_hiding: TopologyHiding | None = None,
        proxy_state: ProxyState | None = None,
    ) -> None:
        """``applications`` empty: a relay. With ``proxy_state`` nothing is kept of a request once it has been sent on."""
        self.pending: set[Transaction] = set()
        self._table = table
        self._origin_host, self._origin_realm = origin_host, origin_realm
        self._own_host = origin_host.lower().encode()
        self._applications = applications
        self._answer_s = answer_s
        self._pending_limit = pending_limit
        self._observer = observer
        self._now = now
        self._peers = peers
        self._hiding = topology_hiding
        self._proxy_state = proxy_state

    def peers_changed(self) -> None:
        peers = self._peers()
        self._table.update(peers)
        if self._hiding is not None:
            self._hiding.learn(each.peer.host for each in peers if each.peer.host and not self._hiding.is_foreign(each.peer.realm))

    # requests

    def request(self, peer: RelayPeer, connection: int, header: Header, octets: bytes) -> None:
        transaction = Transaction(peer, connection, header, octets, self._now() + self._answer_s)
        try:
            self._admit(transaction)
            if not self._send_on(transaction):
                raise DiameterError("no peer can take the request", ResultCode.DIAMETER_UNABLE_TO_DELIVER)
        except DiameterError as error:
            self._refuse(transaction, error)

    def _admit(self, transaction: Transaction) -> None:
        """Raises :class:`DiameterError` for what is not to be sent on."""
        header = transaction.header
        if header.is_error:
            raise DiameterError("a request with the E bit", ResultCode.DIAMETER_INVALID_HDR_BITS)
        if self._is_foreign(transaction.origin):
            assert self._hiding is not None
            transaction.octets = self._hiding.restore(transaction.octets)
        avps = RoutingAvps(transaction.octets)
        if avps.destination_realm is None and avps.destination_host is not None:
            raise DiameterError("Destination-Host without Destination-Realm", ResultCode.DIAMETER_UNABLE_TO_DELIVER)
        if avps.destination_realm is None or not header.is_proxiable or avps.destination_host == self._own_host:
            raise DiameterError(f"{command_name(header)} to this agent itself", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)     # clause 6.1.4
        if self._own_host in avps.route_record:
            raise DiameterError("the request has been here before", ResultCode.DIAMETER_LOOP_DETECTED)
        if self._applications and header.application_id not in self._applications:
            raise DiameterError(f"application {header.application_id} is not served", ResultCode.DIAMETER_APPLICATION_UNSUPPORTED)
        if len(self.pending) >= self._pending_limit:
            raise DiameterError("too many requests in flight", ResultCode.DIAMETER_TOO_BUSY)
        transaction.host, transaction.realm = avps.destination_host, avps.destination_realm
        transaction.octets = with_avp(transaction.octets, route_record(transaction.origin.peer.host))
        if self._proxy_state is not None:
            transaction.octets = self._proxy_state.add(
                transaction.octets, Origin(transaction.origin.peer.host.lower().encode(), transaction.connection, header.hop_by_hop))

    def _send_on(self, transaction: Transaction) -> bool:
        """Give the request to the best peer that has not had it yet; False: there is none. Raises :class:`DiameterError`."""
        left_s = transaction.deadline - self._now()
        if left_s <= 0:
            return False
        tried = transaction.tried
        if peer := self._table.next_hop(transaction.host, transaction.realm, transaction.application, tried):
            is_repetition = len(tried) > 1
            tried.append(peer)
            octets = retransmitted(transaction.octets) if is_repetition else transaction.octets
            if self._is_foreign(peer) and not self._is_foreign(transaction.origin):
                assert self._hiding is not None
                octets = self._hiding.hide(octets)
            if self._proxy_state is None:
                self.pending.add(transaction)
                transaction.holders.append(peer)
            if is_repetition:
                self._observer.sent_again(transaction.header)
            peer.forward(transaction.header, octets, token=transaction if self._proxy_state is None else None, tx_s=left_s)
            return True
        return False

    def _refuse(self, transaction: Transaction, error: DiameterError) -> None:
        self._finish(transaction)
        header, origin = transaction.header, transaction.origin
        self._observer.refused(header, origin.peer.host, error)
        answer = error_answer(header, transaction.octets, error, origin_host=self._origin_host, origin_realm=self._origin_realm)
        if self._hiding is not None and self._is_foreign(origin):
            answer = self._hiding.hide(answer)
        answer_header = header._replace(flags=answer[4])
        if not origin.reply(transaction.connection, answer_header, answer):
            self._observer.discarded("ORIGIN_GONE")

    def _finish(self, transaction: Transaction) -> None:
        self.pending.discard(transaction)
        for holder in transaction.holders:
            holder.peer.forget(transaction)
        transaction.holders.clear()

    # what becomes of them

    def answer(self, peer: RelayPeer, token: object | None, header: Header, octets: bytes) -> None:
        if token is None:
            self._answer_by_proxy_state(peer, header, octets)
            return
        assert isinstance(token, Transaction)
        token.holders.remove(peer)
        if header.is_error and result_code(octets) in _RETRY_ELSEWHERE and self._send_on(token):
            return
        self._finish(token)
        try:
            self._return(peer, token.origin, token.connection, token.header.hop_by_hop, header, octets)
        except DiameterError:
            self._refuse(token, DiameterError(f"the answer of {peer.peer.host} cannot be read", ResultCode.DIAMETER_UNABLE_TO_DELIVER))

    def failed_over(self, peer: RelayPeer, token: object, is_lost: bool) -> None:
        assert isinstance(token, Transaction)
        if is_lost:
            token.holders.remove(peer)
        try:
            if not self._send_on(token) and not token.holders:
                raise DiameterError(f"{peer.peer.host} was lost before it answered", ResultCode.DIAMETER_UNABLE_TO_DELIVER)
        except DiameterError as error:
            self._refuse(token, error)

    def expired(self, peer: RelayPeer, token: object) -> None:
        assert isinstance(token, Transaction)
        token.holders.remove(peer)
        if not token.holders:
            self._refuse(token, DiameterError(f"{peer.peer.host} did not answer in time", ResultCode.DIAMETER_UNABLE_TO_DELIVER))

    def _answer_by_proxy_state(self, peer: RelayPeer, header: Header, octets: bytes) -> None:
        found = self._proxy_state.take(octets) if self._proxy_state is not None else None
        if found is None:
            self._observer.discarded("NO_REQUEST_WAITS")
            return
        answer, (host, connection, hop_by_hop) = found
        origin = self._table.host(host)
        if origin is None:
            self._observer.discarded("ORIGIN_GONE")
            return
        try:
            self._return(peer, origin, connection, hop_by_hop, header, answer)
        except DiameterError:
            self._observer.discarded("INVALID_ANSWER")

    def _return(self, peer: RelayPeer, origin: RelayPeer, connection: int, hop_by_hop: int, header: Header, octets: bytes) -> None:
        """Raises :class:`DiameterError` when names must be translated and the answer cannot be read."""
        if self._hiding is not None:
            octets = self._translated(self._hiding, octets, self._is_foreign(peer), self._is_foreign(origin))
        if not origin.reply(connection, header, with_hop_by_hop(octets, hop_by_hop)):
            self._observer.discarded("ORIGIN_GONE")

    @staticmethod
    def _translated(hiding: TopologyHiding, octets: bytes, is_from_foreign: bool, is_to_foreign: bool) -> bytes:
        if is_from_foreign and not is_to_foreign:
            return hiding.restore(octets)
        if is_to_foreign and not is_from_foreign:
            return hiding.hide(octets)
        return octets

    def _is_foreign(self, peer: RelayPeer) -> bool:
        return self._hiding is not None and self._hiding.is_foreign(peer.peer.realm)
