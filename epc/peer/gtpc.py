"""GTP-C between one local entity and its peers, without I/O: TS 29.274 clauses 4.2, 7.6 and 7.7, TS 23.007 clauses 16 to 18.

On top of what :mod:`epc.peer.exchange` does for requests, the machine answers Echo Requests, watches paths and restart counters, and knows
commands, whose answer may be a request with their sequence number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from epc.peer.exchange import (
    Alarm,
    ExchangeObserver,
    PeerAddress,
    ReplyMissing,
    ReplyReceived,
    ReplyUnreadable,
    RequestMachine,
    Transaction,
    TransactionKey,
)
from epc.peer.timer import Timer
from epc.wire.errors import WireError
from epc.wire.gtpv2 import (
    FAILURE_OF_COMMAND,
    REPLY_TO,
    EchoRequest,
    EchoResponse,
    GtpSyntaxError,
    Message,
    MessageType,
    Packet,
    UnknownMessageType,
    VersionNotSupported,
    VersionNotSupportedIndication,
    cause_of,
    decode,
    encode,
    rejection,
)

LONGEST_ON_THE_WAY_S = 30.0     # a message that is older is taken for lost: longer than anybody repeats a request
T3_RESPONSE = Timer("T3-RESPONSE", 3.0, 2)
_ECHO_RESPONSE = Timer("T3-RESPONSE", 3.0, 4)
COMMAND_BIT = 0x800000          # in sequence numbers of commands, and of the requests that they trigger
_REPLIES = frozenset(REPLY_TO.values())
_FAILURES = frozenset(FAILURE_OF_COMMAND.values())
_UNPAIRED = frozenset(
    (
        MessageType.DOWNLINK_DATA_NOTIFICATION_FAILURE_INDICATION,
        MessageType.STOP_PAGING_INDICATION,
        MessageType.TRACE_SESSION_ACTIVATION,
        MessageType.TRACE_SESSION_DEACTIVATION,
    )
)
_CAN_START = frozenset(REPLY_TO) | frozenset(FAILURE_OF_COMMAND) | _UNPAIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class GtpcTimers:
    """``echo_interval_s`` is ``None`` to send no Echo Requests; TS 23.007 clause 20 asks for 60 s at least."""

    t3_response: Timer = T3_RESPONSE
    echo_response: Timer = _ECHO_RESPONSE
    echo_interval_s: float | None = 60.0
    duplicates_s: float = 15.0
    """How long an answer is kept for repeated requests: longer than the peer's T3-RESPONSE times N3-REQUESTS."""


# --- events -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A request, command or notification, once however often it came. Hand it back to :meth:`GtpcMachine.respond`."""

    message: Message
    teid: int | None
    sequence: int
    peer: PeerAddress
    message_priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRestarted:
    """The peer's restart counter grew: it has lost its contexts (TS 23.007 clause 18)."""

    host: str
    previous: int
    current: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFailed:
    """A watched peer left its Echo Requests unanswered (TS 23.007 clause 20.2.1)."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRestored:
    """A watched peer that had failed answers again."""

    host: str


PathEvent = PeerRestarted | PathFailed | PathRestored
Event = RequestReceived | ReplyReceived[Packet] | ReplyUnreadable | ReplyMissing | PathEvent


# --- the machine --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Path:
    peer: PeerAddress
    watchers: int = 0
    is_up: bool = True
    next_echo: float = 0.0
    echo: TransactionKey | None = None


class GtpcMachine(RequestMachine[Event]):
    """All peers of one local GTP-C entity."""

    def __init__(
        self,
        *,
        restart_counter: int,
        timers: GtpcTimers | None = None,
        first_sequence: int = 0,
        observer: ExchangeObserver | None = None,
        remote_teid: Callable[[int], int | None] | None = None,
        max_cached_answers: int = 65536,
    ) -> None:
        """``remote_teid`` finds the peer's TEID for a local one, to answer malformed requests of an existing session."""
        self.restart_counter = restart_counter & 0xFF
        self.timers = timers or GtpcTimers()
        super().__init__(
            sequence_numbers=COMMAND_BIT, first_sequence=first_sequence, duplicates_s=self.timers.duplicates_s, observer=observer,
            max_cached_answers=max_cached_answers,
        )
        self._remote_teid = remote_teid
        self._paths: dict[str, _Path] = {}
        self._restart_counters: dict[str, tuple[int, float]] = {}           # and since when
        self._echoes = Alarm(self._echo, self._wants_echo)

    # What the owner collects

    def describe_paths(self) -> list[dict[str, object]]:
        """For state reports: every watched peer, whether it is up, its restart counter."""
        return [
            {"peer": host, "up": path.is_up, "sessions": path.watchers, "restart_counter": self._restart_counters.get(host, (None,))[0]}
            for host, path in self._paths.items()
        ]

    # What the owner does

    def request(
        self, peer: PeerAddress, message: Message, *, teid: int | None, now: float, timer: Timer | None = None, command: RequestReceived | None = None
    ) -> TransactionKey:
        """Send a request or command and expect its answer. ``command`` is the one that triggered this request: it gives the sequence number."""
        if command:                     # a repeated command gets the request that it triggered once more
            key = TransactionKey(peer[0], command.sequence)
        else:                           # commands have the most significant bit set, requests have not (TS 29.274 clause 7.6)
            key = self._new_sequence(peer[0], COMMAND_BIT if message.message_type in FAILURE_OF_COMMAND else 0)
        octets = encode(message, teid=teid, sequence=key.sequence)
        if command:
            self._note_answer((command.peer, command.sequence, int(command.message.message_type)), octets)
        self._begin(key, peer, message.message_type, octets, timer or self.timers.t3_response, now, is_own=False)
        return key

    def respond(self, request: RequestReceived, message: Message, *, teid: int | None) -> None:
        """Answer a request; repeated ones get the same octets without asking again."""
        octets = encode(message, teid=teid, sequence=request.sequence)
        self._note_answer((request.peer, request.sequence, request.message.message_type), octets)
        self._send(octets, request.peer, message.message_type)

    def notify(self, peer: PeerAddress, message: Message, *, teid: int) -> None:
        """Send a message that has no answer (Stop Paging Indication and the like)."""
        sequence = self._new_sequence(peer[0]).sequence
        self._send(encode(message, teid=teid, sequence=sequence), peer, message.message_type)

    def watch(self, peer: PeerAddress, now: float) -> None:
        """A session exists with this peer: watch its path until as many :meth:`unwatch` calls."""
        path = self._paths.get(peer[0])
        if path is None:
            path = self._paths[peer[0]] = _Path(peer)
            if self.timers.echo_interval_s is not None:
                path.next_echo = now + self.timers.echo_interval_s
                self._at(path.next_echo, self._echoes, peer[0])
        path.watchers += 1

    def unwatch(self, host: str) -> None:
        path = self._paths.get(host)
        if path is None:
            return
        path.watchers -= 1
        if path.watchers <= 0:
            del self._paths[host]
            if path.echo is not None:
                self._transactions.pop(path.echo, None)

    # Paths

    def _wants_echo(self, host: str, when: float) -> bool:
        path = self._paths.get(host)
        return path is not None and path.next_echo == when

    def _echo(self, host: str, now: float) -> None:
        assert self.timers.echo_interval_s is not None
        path = self._paths[host]
        if path.echo is None:
            path.echo = key = self._new_sequence(host)
            octets = encode(EchoRequest(recovery=self.restart_counter), teid=None, sequence=key.sequence)
            self._begin(key, path.peer, MessageType.ECHO_REQUEST, octets, self.timers.echo_response, now, is_own=True)
        path.next_echo = now + self.timers.echo_interval_s
        self._at(path.next_echo, self._echoes, host)

    def _own_request_unanswered(self, transaction: Transaction, now: float) -> None:
        host = transaction.peer[0]
        path = self._paths.get(host)
        if path is not None and path.echo == transaction.key:
            path.echo = None
            if path.is_up:
                path.is_up = False
                self._events.append(PathFailed(host=host))

    # Receiving

    def receive(self, data: bytes, peer: PeerAddress, now: float) -> None:
        """Take one datagram. Nothing a peer sends makes this raise."""
        try:
            packet = decode(data)
        except GtpSyntaxError as error:
            self._received_malformed(error, peer, now)
            return
        except UnknownMessageType:
            self._observer.discarded("unknown_type")
            return
        except VersionNotSupported as error:
            self._observer.discarded("version")
            if error.message_type != MessageType.VERSION_NOT_SUPPORTED_INDICATION:
                octets = encode(VersionNotSupportedIndication(), teid=None, sequence=error.sequence)
                self._send(octets, peer, MessageType.VERSION_NOT_SUPPORTED_INDICATION)
            return
        except WireError:
            self._observer.discarded("short")
            return
        self._received(packet, peer, now)
        if packet.piggybacked is not None:
            self._received(packet.piggybacked, peer, now)

    def _received(self, packet: Packet, peer: PeerAddress, now: float) -> None:
        message = packet.message
        message_type = message.message_type
        self._observer.received(message_type)
        recovery: int | None = getattr(message, "recovery", None)
        if message_type in _CAN_START:
            key = (peer, packet.sequence, int(message_type))
            if self._is_repeated(key, message_type, now):
                return
            if recovery is not None:
                self._note_restart_counter(peer[0], recovery, now)
            if isinstance(message, EchoRequest):
                response = EchoResponse(recovery=self.restart_counter)
                self._send(encode(response, teid=None, sequence=packet.sequence), peer, MessageType.ECHO_RESPONSE)
                return
            self._remember(key, now)
            if packet.sequence & COMMAND_BIT:
                self._complete(packet, peer)
            self._events.append(
                RequestReceived(message=message, teid=packet.teid, sequence=packet.sequence, peer=peer, message_priority=packet.message_priority)
            )
            return
        transaction = self._transactions.get(TransactionKey(peer[0], packet.sequence))
        if transaction is None or not self._answers_transaction(message_type, transaction):
            self._observer.discarded("unexpected")
            return
        if recovery is not None:
            self._note_restart_counter(peer[0], recovery, now)
        path = self._paths.get(peer[0])
        if path is not None and not path.is_up:
            path.is_up = True
            self._events.append(PathRestored(host=peer[0]))
        if isinstance(message, EchoResponse) and path is not None and path.echo == transaction.key:
            path.echo = None
            del self._transactions[transaction.key]
            return
        self._complete(packet, peer)

    def _answers_transaction(self, message_type: MessageType, transaction: Transaction) -> bool:
        asked = MessageType(transaction.message_type)
        return message_type in (REPLY_TO.get(asked), FAILURE_OF_COMMAND.get(asked), MessageType.VERSION_NOT_SUPPORTED_INDICATION)

    def _complete(self, packet: Packet, peer: PeerAddress) -> None:
        transaction = self._transactions.pop(TransactionKey(peer[0], packet.sequence), None)
        if transaction is None:
            return
        if isinstance(packet.message, VersionNotSupportedIndication):
            error = VersionNotSupported(2, message_type=transaction.message_type, sequence=packet.sequence)
            self._events.append(ReplyUnreadable(transaction=transaction.key, error=error))
        else:
            self._events.append(ReplyReceived(transaction=transaction.key, packet=packet, peer=peer))

    def _received_malformed(self, error: GtpSyntaxError, peer: PeerAddress, now: float) -> None:
        """Answer a request with its cause (TS 29.274 clause 7.7); tell who waits for a response; drop the rest."""
        self._observer.discarded("syntax")
        message_type = MessageType(error.message_type)
        reply = REPLY_TO.get(message_type) or FAILURE_OF_COMMAND.get(message_type)
        if reply is not None and reply is not MessageType.ECHO_RESPONSE:
            teid = error.peer_teid
            if not teid and error.teid and self._remote_teid is not None:
                teid = self._remote_teid(error.teid) or 0
            self._send(encode(rejection(reply, cause_of(error)), teid=teid, sequence=error.sequence), peer, reply)
            return
        transaction = self._transactions.get(TransactionKey(peer[0], error.sequence))
        if transaction is not None and self._answers_transaction(message_type, transaction):
            self.cancel(transaction.key)
            self._events.append(ReplyUnreadable(transaction=transaction.key, error=error))

    def _note_restart_counter(self, host: str, counter: int, now: float) -> None:
        """A smaller counter is that of an older message that came late (TS 23.007 clause 18), unless the present one has been known for longer than
        any message is on its way: then the peer has restarted and counts differently, as one does that remembers nothing."""
        previous, since = self._restart_counters.get(host, (None, now))
        if previous is None:
            if len(self._restart_counters) >= self._max_cached_answers:
                self._forget_a_counter()
            self._restart_counters[host] = counter, now
        elif counter != previous and ((counter - previous) & 0xFF < 0x80 or now - since > LONGEST_ON_THE_WAY_S):
            self._restart_counters[host] = counter, now
            self._events.append(PeerRestarted(host=host, previous=previous, current=counter))

    def _forget_a_counter(self) -> None:
        """Make room: the longest known peer without a session goes, or the longest known one."""
        oldest = next((host for host in self._restart_counters if host not in self._paths), next(iter(self._restart_counters)))
        del self._restart_counters[oldest]
