"""A node's Diameter endpoint on asyncio: listens, connects, routes requests to peers, answers what comes in.

The protocol is :mod:`epc.peer.diameter`'s; here are sockets, futures and the choice of the peer. Usage::

    identity = LocalIdentity(origin_host="mme...", origin_realm="epc...", applications=(S6A_APPLICATION,))
    endpoint = DiameterNode(transport, identity, interface="S6a", peers=[PeerConfig(address=Address("127.0.0.8", 3868))],
                            on_request=serve, entropy=random.SystemRandom(), clock=time.time)
    await endpoint.start()
    packet = await endpoint.request(s6a.UpdateLocationRequest(session_id=endpoint.new_session_id(), ...), timer=TX)
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from epc.peer import diameter as machine
from epc.peer.diameter import LAB_TIMERS, DiameterPeer, LocalIdentity, PeerTimers, PeerUnavailable, Side
from epc.peer.timer import Timer, TimerExpired
from epc.transport.alarm import Alarm
from epc.transport.interface import Address, Association, ByteStream, Carrier, Listener, Transport
from epc.wire import diameter
from epc.wire.diameter import DiameterError, Header, Message, Packet, ResultCode
from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.base import CapabilitiesExchangeAnswer, CapabilitiesExchangeRequest, DisconnectCause

TX = Timer("Tx", 5.0)
"""How long an answer is awaited (RFC 8506 clause 13 calls it Tx; TS 29.272 and TS 29.212 leave it to the operator)."""

DIAMETER_PPID = 46          # RFC 6733 clause 2.1: SCTP payload protocol identifier, without DTLS
_RETRY_ELSEWHERE = (ResultCode.DIAMETER_UNABLE_TO_DELIVER, ResultCode.DIAMETER_TOO_BUSY)     # RFC 6733 clause 7.1.3

RequestHandler = Callable[[Packet], Message | Awaitable[Message]]


class DiameterObserver(Protocol):
    """Counts what happens; a node's metrics implement it."""

    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None: ...

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """A peer to connect to. Peers are tried in the order they are configured in."""

    address: Address
    host: str = ""                      # the identity it must have; empty: whatever it says
    carrier: Carrier = Carrier.TCP
    is_default_route: bool = False      # an agent: takes requests for realms and hosts that are no peer's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """Where connections are accepted."""

    address: Address
    carrier: Carrier = Carrier.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """A peer as ``epclab ctl NODE peers`` shows it."""

    host: str
    realm: str
    product_name: str
    state: str
    watchdog: str
    is_usable: bool
    remote: str
    pending_requests: int


@dataclass(slots=True)
class Attempts:
    """What has been tried with a request that its sender repeats until it is answered: the copies have one end-to-end identifier, all but the
    first have the T bit, and peers that have not had it come first.
    """

    end_to_end: int                     # from :meth:`DiameterNode.next_end_to_end`
    peers: list[str] = dataclasses.field(default_factory=list)      # Origin-Hosts that it was sent to


class RelayPeer(Protocol):
    """A peer as an agent uses it."""

    @property
    def peer(self) -> DiameterPeer:
        """Who it is, what it speaks and whether it can be used."""

    @property
    def is_default_route(self) -> bool: ...

    def forward(self, header: Header, octets: bytes, *, token: object | None, tx_s: float) -> None:
        """Send a request; the hop-by-hop identifier is replaced. What becomes of it is told to the agent with ``token``; None: nothing is.
        Raises :class:`PeerUnavailable`.
        """

    def reply(self, connection: int, header: Header, octets: bytes) -> bool:
        """Send an answer over the connection that its request came over; False when that is gone."""


class Agent(Protocol):
    """Takes what a node in the middle gets from its peers, octets and all; see ``DiameterNode(agent=...)``."""

    def request(self, peer: RelayPeer, connection: int, header: Header, octets: bytes) -> None:
        """``connection`` is a number that no other connection of this node has."""

    def answer(self, peer: RelayPeer, token: object | None, header: Header, octets: bytes) -> None:
        """``token`` None: no request waits for this answer."""

    def failed_over(self, peer: RelayPeer, token: object, is_lost: bool) -> None:
        """The request should go to another peer. ``is_lost``: no answer can come from ``peer`` any more."""

    def expired(self, peer: RelayPeer, token: object) -> None: ...

    def peers_changed(self) -> None:
        """A peer came, went, or said who it is."""


class _NullObserver:
    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None: ...

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None: ...


class DiameterNode:
    """All Diameter connections of one node."""

    def __init__(
        self,
        transport: Transport,
        identity: LocalIdentity,
        *,
        interface: str,
        interfaces: Mapping[int, str] | None = None,
        entropy: random.Random,
        clock: Callable[[], float],
        on_request: RequestHandler | None = None,
        listen: Sequence[ListenConfig] = (),
        peers: Sequence[PeerConfig] = (),
        local: Address | None = None,
        timers: PeerTimers = LAB_TIMERS,
        accept_unknown_peers: bool = True,
        duplicates_remembered: int = 1024,
        observer: DiameterObserver | None = None,
        on_peer_state: Callable[[PeerStatus], None] | None = None,
        agent: Agent | None = None,
    ) -> None:
        """``interface`` labels captures and metrics; ``interfaces``: metrics of messages of these applications are labelled so instead;
        ``local`` is the address that outgoing connections come from; ``clock`` is the wall
        clock. ``on_request`` answers requests, at once or as a coroutine; it may raise :class:`DiameterError`. Without it every request
        gets 3001. With an ``agent`` this is no end point but a node in the middle: requests and answers of applications go to the agent
        as they came, and ``request`` and ``on_request`` are not used.
        """
        self.identity = identity
        self._transport = transport
        self._interface = interface
        self._interfaces = interfaces or {}
        self._on_request = on_request
        self._listen = tuple(listen)
        self._local = local
        self._timers = timers
        self._accept_unknown_peers = accept_unknown_peers
        self._observer: DiameterObserver = observer or _NullObserver()
        self._on_peer_state = on_peer_state
        self._agent = agent
        self._entropy = entropy
        self._jitter = random.Random(entropy.getrandbits(64))       # no secret, and asked for at every message
        self._drivers: list[_PeerDriver] = []
        self._peer_configs = tuple(peers)
        self._listeners: list[Listener] = []
        self._strangers: set[_Stranger] = set()
        self._tasks: set[asyncio.Task[Message]] = set()
        self._served: OrderedDict[tuple[str, int], _Served] = OrderedDict()     # by Origin-Host and end-to-end identifier
        self._duplicates_remembered = duplicates_remembered
        seconds = int(clock())
        self._session_id_high = seconds & 0xFFFFFFFF
        self._session_id_low = entropy.getrandbits(32)
        self._end_to_end = (seconds & 0xFFF) << 20 | entropy.getrandbits(20)            # RFC 6733 clause 3
        self._connection_number = self._end_to_end            # another after every restart
        self._changed = asyncio.Event()

    # life

    async def start(self) -> None:
        """Listen, and begin to connect; returns before the peers are there."""
        for config in self._listen:
            if config.carrier is Carrier.SCTP:
                self._listeners.append(await self._transport.listen_sctp(config.address, self._accept_association, interface=self._interface))
            else:
                self._listeners.append(await self._transport.listen_tcp(config.address, self._accept_stream, interface=self._interface))
        for peer_config in self._peer_configs:
            driver = self._add_driver(peer_config.host, peer_config)
            driver.peer.start(self._now())
            driver.flush()

    async def stop(self, cause: DisconnectCause = DisconnectCause.REBOOTING) -> None:
        """DPR to every peer, wait for the answers (``disconnect_s`` at most), close everything. Requests in flight end with an error."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for stranger in list(self._strangers):
            stranger.close("stopped")
        for driver in list(self._drivers):
            driver.stop(cause)
        while any(driver.peer.state is not machine.PeerState.CLOSED for driver in self._drivers):
            await self._next_change()
        for driver in self._drivers:
            driver.dispose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def local_addresses(self) -> list[Address]:
        """Where it listens, with the ports that the system chose."""
        return [listener.local for listener in self._listeners]

    def is_connected(self, application_id: int | None = None) -> bool:
        """Whether some peer can be sent requests (of that application)."""
        return any(d.peer.is_usable and (application_id is None or application_id in d.peer.applications) for d in self._drivers)

    async def wait_connected(self, application_id: int | None = None) -> None:
        """Returns once :meth:`is_connected`; put your own limit on it."""
        while not self.is_connected(application_id):
            await self._next_change()

    def peers(self) -> list[PeerStatus]:
        return [driver.status() for driver in self._drivers]

    def relay_peers(self) -> Sequence[RelayPeer]:
        """For the agent; in the order they are configured in, then those that connected by themselves."""
        return self._drivers

    def next_connection(self) -> int:
        self._connection_number = self._connection_number + 1 & 0xFFFFFFFF
        return self._connection_number

    def _label(self, application_id: int) -> str:
        return self._interfaces.get(application_id, self._interface)

    # requests of ours

    def new_session_id(self, suffix: str = "") -> str:
        """RFC 6733 clause 8.8: unique over all nodes and restarts."""
        self._session_id_low += 1
        if self._session_id_low > 0xFFFFFFFF:
            self._session_id_low = 0
            self._session_id_high = self._session_id_high + 1 & 0xFFFFFFFF
        session_id = f"{self.identity.origin_host};{self._session_id_high};{self._session_id_low}"
        return f"{session_id};{suffix}" if suffix else session_id

    async def request(self, message: Message, *, timer: Timer = TX, attempts: Attempts | None = None) -> Packet:
        """Send a request and return the answer, an :class:`~epc.wire.diameter.ErrorAnswer` too. With ``attempts`` it may be sent once more.

        When the peer is lost or suspect meanwhile, or answers 3002 or 3004, the request goes to the next peer with the T bit. Raises
        :class:`~epc.peer.timer.TimerExpired` when no answer comes in time, :class:`~epc.peer.diameter.PeerUnavailable` when no peer serves
        the destination (any more), ``DiameterError`` when the answer cannot be read, ``WireError`` when the message cannot be written.
        """
        loop = asyncio.get_running_loop()
        exchange = _Exchange(
            message, self.next_end_to_end() if attempts is None else attempts.end_to_end, loop.time() + timer.seconds, timer, loop.create_future(),
            attempts)
        if not self._dispatch(exchange):
            raise PeerUnavailable(f"no peer for {type(message).__name__} to {_destination(message)}")
        try:
            return await exchange.future
        finally:
            for driver in exchange.holders:
                driver.peer.forget(exchange)

    def has_another_way(self, message: Message, attempts: Attempts) -> bool:
        """Whether there is a peer that may take ``message`` and has not had it, or an agent, which may know one."""
        return any(driver.peer.host not in attempts.peers or driver.peer.is_relay or driver.is_default_route for driver in self._candidates(message))

    def next_end_to_end(self) -> int:
        self._end_to_end = self._end_to_end + 1 & 0xFFFFFFFF
        return self._end_to_end

    def _dispatch(self, exchange: _Exchange) -> bool:
        """Give the request to the best peer that has not had it yet."""
        now = self._now()
        left_s = exchange.deadline - now
        if left_s <= 0:
            return False
        candidates, attempts = self._candidates(exchange.message), exchange.attempts
        if attempts is not None and attempts.peers:
            candidates.sort(key=lambda driver: driver.peer.host in attempts.peers)
        for driver in candidates:
            if driver in exchange.tried:
                continue
            retransmitted = bool(exchange.tried) or (attempts is not None and bool(attempts.peers))
            driver.peer.request(exchange.message, end_to_end=exchange.end_to_end, token=exchange, now=now, tx_s=left_s, retransmitted=retransmitted)
            exchange.tried.append(driver)
            if attempts is not None:
                attempts.peers.append(driver.peer.host)
            exchange.holders.append(driver)
            if retransmitted:
                self._observer.retransmission(self._interface, type(exchange.message).__name__)
            driver.flush()
            return True
        return False

    def _candidates(self, message: Message) -> list[_PeerDriver]:
        """Peers that may take the request, best first: the destination host itself, its realm, then agents (RFC 6733 clause 6.1)."""
        command = diameter.command_of(message)
        application = command.application_id if command.application_id is not None else getattr(message, "auth_application_id", 0)
        host: str | None = getattr(message, "destination_host", None)
        realm: str | None = getattr(message, "destination_realm", None)
        ranked: list[tuple[int, _PeerDriver]] = []
        for driver in self._drivers:
            peer = driver.peer
            if not peer.is_usable or (application not in peer.applications and not peer.is_relay):
                continue
            agent = peer.is_relay or driver.is_default_route
            if host is not None and host.lower() == peer.host.lower():
                ranked.append((0, driver))
            elif realm is not None and realm.lower() == peer.realm.lower() and (host is None or agent):
                ranked.append((1, driver))
            elif agent:
                ranked.append((2, driver))
        ranked.sort(key=_rank)
        return [driver for _, driver in ranked]

    # what the machines report

    def _answered_by(self, driver: _PeerDriver, exchange: _Exchange, packet: Packet) -> None:
        exchange.holders.remove(driver)
        message = packet.message
        self._observer.message_received(self._label(packet.header.application_id), type(message).__name__)
        if exchange.future.done():
            return
        if isinstance(message, diameter.ErrorAnswer) and message.result_code in _RETRY_ELSEWHERE and self._dispatch(exchange):
            return
        exchange.future.set_result(packet)

    def _fail(self, driver: _PeerDriver, exchange: _Exchange, error: Exception) -> None:
        exchange.holders.remove(driver)
        if not exchange.holders and not exchange.future.done():
            exchange.future.set_exception(error)

    def _fail_over(self, driver: _PeerDriver, exchange: _Exchange, is_lost: bool) -> None:
        if exchange.future.done():
            return
        if is_lost:
            exchange.holders.remove(driver)
        if not self._dispatch(exchange) and not exchange.holders:
            exchange.future.set_exception(PeerUnavailable(f"{driver.peer.host} was lost before it answered {type(exchange.message).__name__}"))

    # requests of others

    def _serve(self, driver: _PeerDriver, side: Side, packet: Packet) -> None:
        header, message = packet.header, packet.message
        self._observer.message_received(self._label(header.application_id), type(message).__name__)
        refusal = self._refusal(packet)
        if refusal is not None:
            self._refuse(driver, side, packet, DiameterError(*refusal))
            return
        key = (getattr(message, "origin_host", ""), header.end_to_end)
        if header.is_retransmitted and key in self._served:
            self._serve_again(self._served[key], driver, side, header)
            return
        self._served[key] = _Served()
        if len(self._served) > self._duplicates_remembered:
            self._served.popitem(last=False)
        assert self._on_request is not None
        try:
            result = self._on_request(packet)
        except DiameterError as error:
            self._refuse(driver, side, packet, error)
            return
        except Exception as error:          # whatever is wrong with the handler, the peer gets an answer and the node lives on
            self._report_defect(error)
            self._refuse(driver, side, packet, DiameterError("internal error", ResultCode.DIAMETER_UNABLE_TO_COMPLY))
            return
        if isinstance(result, Message):
            self._answer(driver, side, packet, result)
            return
        task = asyncio.ensure_future(_awaited(result))
        self._tasks.add(task)
        task.add_done_callback(_Completion(self, driver, side, packet))

    @staticmethod
    def _serve_again(served: _Served, driver: _PeerDriver, side: Side, header: Header) -> None:
        """A duplicate (RFC 6733 clause 5.5.4): the same answer, as soon as there is one."""
        if served.answer is not None:
            driver.send_again(side, served.answer, header.hop_by_hop)
        else:
            served.copies = (*served.copies, (driver, side, header.hop_by_hop))

    def _refusal(self, packet: Packet) -> tuple[str, ResultCode] | None:
        """Why a request is none of ours (RFC 6733 clause 6.1.4)."""
        header, message = packet.header, packet.message
        host: str | None = getattr(message, "destination_host", None)
        realm: str | None = getattr(message, "destination_realm", None)
        if header.application_id not in self.identity.applications:
            return f"application {header.application_id} is not served", ResultCode.DIAMETER_APPLICATION_UNSUPPORTED
        if isinstance(message, diameter.UnknownCommand) or self._on_request is None:
            return f"command {header.command_code} is not served", ResultCode.DIAMETER_COMMAND_UNSUPPORTED
        if realm is not None and realm.lower() != self.identity.origin_realm.lower():
            return f"realm {realm} is not served", ResultCode.DIAMETER_REALM_NOT_SERVED
        if host is not None and host.lower() != self.identity.origin_host.lower():
            return f"no route to {host}", ResultCode.DIAMETER_UNABLE_TO_DELIVER
        return None

    def _refuse(self, driver: _PeerDriver, side: Side, packet: Packet, error: DiameterError) -> None:
        self._observer.protocol_error(self._interface, error.result_code.name)
        message = packet.message
        session_id: str | None = getattr(message, "session_id", None)
        self._answer(driver, side, packet, diameter.error_answer(
            packet.header, error.result_code, origin_host=self.identity.origin_host, origin_realm=self.identity.origin_realm, session_id=session_id,
            error_message=error.reason, failed_avp=error.failed_avp))

    def _answer(self, driver: _PeerDriver, side: Side, packet: Packet, answer: Message) -> None:
        proxy_info = getattr(packet.message, "proxy_info", ())
        if proxy_info and not getattr(answer, "proxy_info", proxy_info):
            answer = diameter.with_proxy_info(answer, proxy_info)           # RFC 6733 clause 6.2: goes back as it came
        octets = driver.peer.answer(side, answer, packet.header)
        driver.flush()
        served = self._served.get((getattr(packet.message, "origin_host", ""), packet.header.end_to_end))
        if served is not None:
            served.answer = octets
            for other, other_side, hop_by_hop in served.copies:
                other.send_again(other_side, octets, hop_by_hop)
            served.copies = ()

    def _completed(self, driver: _PeerDriver, side: Side, packet: Packet, task: asyncio.Task[Message]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._answer(driver, side, packet, task.result())
        elif isinstance(error, DiameterError):
            self._refuse(driver, side, packet, error)
        else:
            self._report_defect(error)
            self._refuse(driver, side, packet, DiameterError("internal error", ResultCode.DIAMETER_UNABLE_TO_COMPLY))

    def _report_defect(self, error: BaseException) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"{self._interface}: a request's handler failed", "exception": error})

    # connections

    def _accept_stream(self, stream: ByteStream) -> None:
        self._strangers.add(_Stranger(self, _StreamLink(stream)))

    def _accept_association(self, association: Association) -> None:
        self._strangers.add(_Stranger(self, _AssociationLink(association)))

    async def _open(self, config: PeerConfig) -> _Link:
        if config.carrier is Carrier.SCTP:
            return _AssociationLink(await self._transport.connect_sctp(
                config.address, local=self._local, interface=self._interface, timeout_s=self._timers.connect_s))
        return _StreamLink(await self._transport.connect_tcp(
            config.address, local=self._local, interface=self._interface, timeout_s=self._timers.connect_s))

    def _introduced(self, stranger: _Stranger, packet: Packet, rest: bytes) -> None:
        """An accepted connection sent its CER: find its peer, or say no."""
        self._strangers.discard(stranger)
        cer = packet.message
        assert isinstance(cer, CapabilitiesExchangeRequest)
        self._observer.message_received(self._interface, type(cer).__name__)
        link = stranger.link
        driver = next((d for d in self._drivers if d.peer.host.lower() == cer.origin_host.lower()), None)
        answer = machine.capabilities_answer(self.identity, cer, link.local_ip)
        if (driver is None and not self._accept_unknown_peers) or cer.origin_host.lower() == self.identity.origin_host.lower():
            answer = dataclasses.replace(answer, result_code=ResultCode.DIAMETER_UNKNOWN_PEER)
        if not answer.is_success:
            self._turn_away(link, packet.header, answer)
            return
        if driver is None:
            driver = self._add_driver(cer.origin_host, None)
        if not driver.adopt(packet, link, rest):
            link.close()

    def _turn_away(self, link: _Link, cer: Header, answer: CapabilitiesExchangeAnswer) -> None:
        self._observer.protocol_error(self._interface, ResultCode(answer.result_code).name)
        self._observer.message_sent(self._interface, type(answer).__name__)
        link.send(diameter.encode(answer, hop_by_hop=cer.hop_by_hop, end_to_end=cer.end_to_end))
        link.close()

    def _add_driver(self, host: str, config: PeerConfig | None) -> _PeerDriver:
        peer = DiameterPeer(self.identity, host, initiates=config is not None, timers=self._timers, hop_by_hop=self._entropy.getrandbits(32),
                            end_to_end=self.next_end_to_end, jitter=self._watchdog_jitter, is_raw=self._agent is not None)
        driver = _PeerDriver(self, peer, config)
        self._drivers.append(driver)
        return driver

    def _watchdog_jitter(self) -> float:
        """RFC 3539 clause 3.4.1: between -2 and 2 seconds."""
        return self._jitter.uniform(-2.0, 2.0)

    def _state_changed(self, driver: _PeerDriver) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._agent is not None:
            self._agent.peers_changed()
        if self._on_peer_state is not None:
            self._on_peer_state(driver.status())

    def _gone(self, driver: _PeerDriver) -> None:
        """A peer that nobody configured has left."""
        driver.dispose()
        self._drivers.remove(driver)
        if self._agent is not None:
            self._agent.peers_changed()

    async def _next_change(self) -> None:
        await self._changed.wait()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _rank(entry: tuple[int, _PeerDriver]) -> int:
    return entry[0]


def _destination(message: Message) -> str:
    return getattr(message, "destination_host", None) or getattr(message, "destination_realm", None) or "nowhere"


async def _awaited(result: Awaitable[Message]) -> Message:
    return await result


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request of ours until it is answered."""

    message: Message
    end_to_end: int
    deadline: float
    timer: Timer
    future: asyncio.Future[Packet]
    attempts: Attempts | None = None
    tried: list[_PeerDriver] = dataclasses.field(default_factory=list)
    holders: list[_PeerDriver] = dataclasses.field(default_factory=list)        # peers that may still answer


@dataclass(slots=True)
class _Served:
    """A request of others that is being, or was, answered."""

    answer: bytes | None = None
    copies: tuple[tuple[_PeerDriver, Side, int], ...] = ()      # duplicates that wait for the answer


@dataclass(slots=True)
class _Completion:
    """What to do when a handler's coroutine ends."""

    node: DiameterNode
    driver: _PeerDriver
    side: Side
    packet: Packet

    def __call__(self, task: asyncio.Task[Message]) -> None:
        self.node._completed(self.driver, self.side, self.packet, task)


class _Link(Protocol):
    """A TCP connection or an SCTP association, seen alike."""

    local_ip: IPAddress
    remote: Address

    def attach(self, on_data: Callable[[bytes], None], on_closed: Callable[[str], None]) -> None: ...

    def send(self, octets: bytes) -> None: ...

    def close(self) -> None: ...


class _StreamLink:
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.local_ip: IPAddress = ipaddress.ip_address(stream.local.host)
        self.remote = stream.remote

    def attach(self, on_data: Callable[[bytes], None], on_closed: Callable[[str], None]) -> None:
        self._stream.on_data = on_data
        self._stream.on_closed = on_closed

    def send(self, octets: bytes) -> None:
        if self._stream.is_open:            # else its end is about to be reported
            self._stream.send(octets)

    def close(self) -> None:
        self._stream.close()


class _AssociationLink:
    def __init__(self, association: Association) -> None:
        self._association = association
        self._on_data: Callable[[bytes], None] | None = None
        self.local_ip: IPAddress = ipaddress.ip_address(association.local.host)
        self.remote = association.remote

    def attach(self, on_data: Callable[[bytes], None], on_closed: Callable[[str], None]) -> None:
        self._on_data = on_data
        self._association.on_message = self._message
        self._association.on_closed = on_closed

    def send(self, octets: bytes) -> None:
        if self._association.is_open:
            self._association.send(octets, stream=0, ppid=DIAMETER_PPID)

    def close(self) -> None:
        self._association.shutdown()

    def _message(self, data: bytes, stream: int, ppid: int) -> None:
        if self._on_data is not None:
            self._on_data(data)


class _Stranger:
    """An accepted connection before its CER says whose it is."""

    def __init__(self, node: DiameterNode, link: _Link) -> None:
        self._node = node
        self.link = link
        self._reader = machine.MessageReader()
        self._patience = asyncio.get_running_loop().call_later(node._timers.connect_s, self.close, "no CER")
        link.attach(self._data, self.close)

    def close(self, reason: str) -> None:
        self._patience.cancel()
        self._node._strangers.discard(self)
        self.link.close()

    def _data(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
            if not messages:
                return
            packet = diameter.decode(messages[0])
        except DiameterError as error:
            self._refuse(error)
            return
        if not isinstance(packet.message, CapabilitiesExchangeRequest):
            self._node._observer.protocol_error(self._node._interface, "NO_CER")
            self.close("no CER")
            return
        self._patience.cancel()
        self._node._introduced(self, packet, b"".join(messages[1:]) + self._reader.remainder)

    def _refuse(self, error: DiameterError) -> None:
        node = self._node
        node._observer.protocol_error(node._interface, error.result_code.name)
        if error.is_answerable and error.header is not None:
            answer = diameter.error_answer(
                error.header, error.result_code, origin_host=node.identity.origin_host, origin_realm=node.identity.origin_realm,
                error_message=str(error), failed_avp=error.failed_avp)
            self.link.send(diameter.encode(answer, hop_by_hop=error.header.hop_by_hop, end_to_end=error.header.end_to_end))
        self.close(str(error))


class _PeerDriver:
    """Carries out what one peer's machine wants."""

    def __init__(self, node: DiameterNode, peer: DiameterPeer, config: PeerConfig | None) -> None:
        self.peer = peer
        self.is_default_route = config is not None and config.is_default_route
        self._node = node
        self._config = config
        self._links: dict[Side, _Link] = {}
        self._connections: dict[Side, int] = {}         # what an agent knows them by
        self._connecting: asyncio.Task[None] | None = None
        self._alarm = Alarm(self._ring)
        self._state = (peer.state, peer.watchdog.state)

    def stop(self, cause: DisconnectCause) -> None:
        self.peer.stop(self._node._now(), cause)
        self.flush()

    def dispose(self) -> None:
        self._alarm.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        for link in self._links.values():
            link.close()

    def status(self) -> PeerStatus:
        peer = self.peer
        link = self._links.get(peer.side)
        remote = link.remote if link is not None else self._config.address if self._config is not None else None
        return PeerStatus(host=peer.host, realm=peer.realm, product_name=peer.product_name, state=peer.state.value,
                          watchdog=peer.watchdog.state.value, is_usable=peer.is_usable, remote=str(remote) if remote else "",
                          pending_requests=peer.pending_requests)

    def adopt(self, cer: Packet, link: _Link, rest: bytes) -> bool:
        """``link`` is the connection this peer opened to us."""
        if not self.peer.offer(cer, self._node._now(), link.local_ip):
            return False
        self._attach(Side.RESPONDER, link)
        self.flush()
        if rest:
            self._data(Side.RESPONDER, link, rest)
        return True

    def send_again(self, side: Side, answer: bytes, hop_by_hop: int) -> None:
        """An answer that was given before, under the hop-by-hop identifier of the request's second copy."""
        link = self._links.get(side)
        if link is not None:
            link.send(answer[:12] + hop_by_hop.to_bytes(4, "big") + answer[16:])

    def forward(self, header: Header, octets: bytes, *, token: object | None, tx_s: float) -> None:
        node = self._node
        self.peer.relay_request(octets, token=token, now=node._now(), tx_s=tx_s)
        node._observer.message_sent(node._interface, message_type(header))
        self.flush()

    def reply(self, connection: int, header: Header, octets: bytes) -> bool:
        side = next((side for side, number in self._connections.items() if number == connection), None)
        if side is None or not self.peer.relay_answer(side, octets):
            return False
        node = self._node
        node._observer.message_sent(node._interface, message_type(header))
        self.flush()
        return True

    def _to_agent(self, event: machine.RawRequestReceived | machine.RawAnswerReceived) -> None:
        agent = self._node._agent
        assert agent is not None
        self._node._observer.message_received(self._node._interface, message_type(event.header))
        if isinstance(event, machine.RawRequestReceived):
            agent.request(self, self._connections[event.side], event.header, event.octets)
        else:
            agent.answer(self, event.token, event.header, event.octets)

    def flush(self) -> None:
        """Do what the machine wants, until it wants nothing more."""
        node = self._node
        while events := self.peer.events():
            for event in events:
                match event:
                    case machine.Send():
                        link = self._links.get(event.side)
                        if link is not None:
                            label = node._label(int.from_bytes(event.octets[8:12])) if node._interfaces else node._interface
                            node._observer.message_sent(label, type(event.message).__name__)
                            link.send(event.octets)
                    case machine.AnswerReceived(token=_Exchange() as exchange):
                        node._answered_by(self, exchange, event.packet)
                    case machine.RequestReceived():
                        node._serve(self, event.side, event.packet)
                    case machine.BaseMessageReceived():
                        node._observer.message_received(node._interface, type(event.message).__name__)
                    case machine.SendRaw():
                        link = self._links.get(event.side)
                        if link is not None:
                            link.send(event.octets)
                    case machine.RawRequestReceived() | machine.RawAnswerReceived():
                        self._to_agent(event)
                    case machine.Connect():
                        self._connect()
                    case machine.Close():
                        link = self._links.pop(event.side, None)
                        if link is not None:
                            link.close()
                    case machine.StateChanged():
                        pass                                    # noted below, with every other change of state
                    case machine.AnswerInvalid(token=_Exchange() as exchange):
                        node._observer.protocol_error(node._interface, event.error.result_code.name)
                        node._fail(self, exchange, event.error)
                    case machine.RequestExpired(token=_Exchange() as exchange):
                        node._fail(self, exchange, TimerExpired(exchange.timer))
                    case machine.RequestExpired() if node._agent is not None:
                        node._agent.expired(self, event.token)
                    case machine.RequestsFailedOver():
                        for token in event.tokens:
                            if isinstance(token, _Exchange):
                                node._fail_over(self, token, event.is_lost)
                            else:
                                assert node._agent is not None
                                node._agent.failed_over(self, token, event.is_lost)
                    case machine.MessageDiscarded():
                        node._observer.protocol_error(node._interface, _cause(event))
                    case machine.AnswerReceived() | machine.AnswerInvalid() | machine.RequestExpired():
                        raise AssertionError("a token that is no exchange")
                    case _:
                        assert_never(event)
        self._note_state()
        self._alarm.set(self.peer.timer())

    def _note_state(self) -> None:
        state = (self.peer.state, self.peer.watchdog.state)
        if state == self._state:
            return
        self._state = state
        self._node._state_changed(self)
        if self._config is None and self.peer.state is machine.PeerState.CLOSED:
            self._node._gone(self)

    def _ring(self, now: float) -> None:
        self.peer.timeout(now)
        self.flush()

    def _connect(self) -> None:
        assert self._config is not None
        if self._connecting is not None:
            self._connecting.cancel()
        self._connecting = asyncio.get_running_loop().create_task(self._connect_to(self._config))

    async def _connect_to(self, config: PeerConfig) -> None:
        try:
            link = await self._node._open(config)
        except OSError:                     # ConnectionError and TimeoutError are kinds of it
            self.peer.connect_failed(self._node._now())
        else:
            self._attach(Side.INITIATOR, link)
            self.peer.connected(self._node._now(), link.local_ip)
        self.flush()

    def _attach(self, side: Side, link: _Link) -> None:
        self._links[side] = link
        self._connections[side] = self._node.next_connection()

        def data(octets: bytes) -> None:
            self._data(side, link, octets)

        def closed(reason: str) -> None:
            self._closed(side, link, reason)

        link.attach(data, closed)

    def _data(self, side: Side, link: _Link, octets: bytes) -> None:
        if self._links.get(side) is link:
            self.peer.receive(side, octets, self._node._now())
            self.flush()

    def _closed(self, side: Side, link: _Link, reason: str) -> None:
        if self._links.get(side) is link:
            del self._links[side]
            self.peer.lost(side, self._node._now(), reason)
            self.flush()


def message_type(header: Header) -> str:
    """A label for metrics: however many commands exist, those that nobody declared are one type."""
    if header.is_error:
        return "ErrorAnswer"
    name = diameter.command_name(header)
    return "UnknownCommand" if name[0].isdigit() else name


def _cause(event: machine.MessageDiscarded) -> str:
    """A label for metrics."""
    try:
        return ResultCode(event.result_code).name
    except ValueError:
        return "UNEXPECTED_MESSAGE"
