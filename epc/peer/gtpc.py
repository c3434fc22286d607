"""GTP-C between one local entity and its peers, without I/O: TS 29.274 clauses 4.2, 7.6 and 7.7, TS 23.007 clauses 16 to 18.

The machine numbers requests, repeats them until they are answered, answers repeated requests from a cache, answers Echo
Requests, watches paths and restart counters. Time is a parameter: whoever owns the machine calls :meth:`GtpcMachine.receive` with each
datagram and :meth:`GtpcMachine.timer` at :meth:`GtpcMachine.next_timeout`, and after each call sends :meth:`GtpcMachine.datagrams` and
handles :meth:`GtpcMachine.events`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

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

PeerAddress = tuple[str, int]

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


class GtpcObserver(Protocol):
    """Counts what passes. Message types are TS 29.274's numbers."""

    def sent(self, message_type: int) -> None: ...

    def received(self, message_type: int) -> None: ...

    def retransmitted(self, message_type: int) -> None: ...

    def duplicate(self, message_type: int) -> None: ...

    def discarded(self, reason: str) -> None:
        """``reason``: ``short``, ``version``, ``unknown_type``, ``syntax`` or ``unexpected``."""


class _Unobserved:
    def sent(self, message_type: int) -> None:
        pass

    def received(self, message_type: int) -> None:
        pass

    def retransmitted(self, message_type: int) -> None:
        pass

    def duplicate(self, message_type: int) -> None:
        pass

    def discarded(self, reason: str) -> None:
        pass


# --- events -------------------------------------------------------------------------------------------------------------------


class TransactionKey(NamedTuple):
    """One outstanding request or command."""

    host: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A request, command or notification, once however often it came. Hand it back to :meth:`GtpcMachine.respond`."""

    message: Message
    teid: int | None
    sequence: int
    peer: PeerAddress
    message_priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyReceived:
    """The answer to a request; to a command, its failure indication or the request that it triggered."""

    transaction: TransactionKey
    packet: Packet
    peer: PeerAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyUnreadable:
    """An answer came and is malformed, or says that the peer does not speak version 2."""

    transaction: TransactionKey
    error: WireError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMissing:
    """The peer stayed silent through all transmissions."""

    transaction: TransactionKey
    timer: Timer


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
Event = RequestReceived | ReplyReceived | ReplyUnreadable | ReplyMissing | PathEvent


# --- the machine --------------------------------------------------------------------------------------------------------------


class _Alarm(Enum):
    RETRANSMIT = 1
    ECHO = 2
    PURGE = 3


@dataclass(slots=True)
class _Transaction:
    key: TransactionKey
    peer: PeerAddress
    message_type: int
    octets: bytes
    timer: Timer
    expires: float
    transmissions: int = 1


@dataclass(slots=True)
class _Answer:
    """What became of a request that was received: ``None`` while the node is at it."""

    octets: bytes | None
    expires: float


@dataclass(slots=True)
class _Path:
    peer: PeerAddress
    watchers: int = 0
    is_up: bool = True
    next_echo: float = 0.0
    echo: TransactionKey | None = None


class GtpcMachine:
    """All peers of one local GTP-C entity."""

    def __init__(
        self,
        *,
        restart_counter: int,
        timers: GtpcTimers | None = None,
        first_sequence: int = 0,
        observer: GtpcObserver | None = None,
        remote_teid: Callable[[int], int | None] | None = None,
        max_cached_answers: int = 65536,
    ) -> None:
        """``remote_teid`` finds the peer's TEID for a local one, to answer malformed requests of an existing session."""
        self.restart_counter = restart_counter & 0xFF
        self.timers = timers or GtpcTimers()
        self._observer: GtpcObserver = observer or _Unobserved()
        self._remote_teid = remote_teid
        self._max_cached_answers = max_cached_answers
        self._sequence = first_sequence % COMMAND_BIT
        self._transactions: dict[TransactionKey, _Transaction] = {}
        self._answers: OrderedDict[tuple[PeerAddress, int, int], _Answer] = OrderedDict()       # oldest first
        self._paths: dict[str, _Path] = {}
        self._restart_counters: dict[str, int] = {}
        self._agenda: list[tuple[float, int, _Alarm, TransactionKey | str]] = []
        self._ticket = 0
        self._purge_armed = False
        self._datagrams: list[tuple[bytes, PeerAddress]] = []
        self._events: deque[Event] = deque()

    # What the owner collects

    def datagrams(self) -> list[tuple[bytes, PeerAddress]]:
        """Datagrams to send, in order; the caller owns the list."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.popleft()

    def next_timeout(self) -> float | None:
        """When :meth:`timer` wants to be called."""
        agenda = self._agenda
        while agenda and self._is_stale(agenda[0]):
            heapq.heappop(agenda)
        return agenda[0][0] if agenda else None

    @property
    def outstanding(self) -> int:
        """Requests that wait for their answer, Echo Requests included."""
        return len(self._transactions)

    @property
    def unanswered(self) -> int:
        """Requests received that the node has not answered yet."""
        return sum(1 for answer in self._answers.values() if answer.octets is None)

    def describe_paths(self) -> list[dict[str, object]]:
        """For state reports: every watched peer, whether it is up, its restart counter."""
        return [
            {"peer": host, "up": path.is_up, "sessions": path.watchers, "restart_counter": self._restart_counters.get(host)}
            for host, path in self._paths.items()
        ]

    # What the owner does

    def request(
        self, peer: PeerAddress, message: Message, *, teid: int | None, now: float, timer: Timer | None = None, command: RequestReceived | None = None
    ) -> TransactionKey:
        """Send a request or command and expect its answer. ``command`` is the one that triggered this request: it gives the sequence number."""
        is_command = message.message_type in FAILURE_OF_COMMAND
        key = TransactionKey(peer[0], command.sequence) if command else self._new_key(peer[0], is_command=is_command)
        octets = encode(message, teid=teid, sequence=key.sequence)
        if command:
            self._close_command(command, octets)
        timer = timer or self.timers.t3_response
        self._transactions[key] = _Transaction(key, peer, message.message_type, octets, timer, now + timer.seconds)
        self._at(now + timer.seconds, _Alarm.RETRANSMIT, key)
        self._send(octets, peer, message.message_type)
        return key

    def cancel(self, transaction: TransactionKey) -> None:
        """Stop repeating a request; a late answer counts as unexpected."""
        self._transactions.pop(transaction, None)

    def respond(self, request: RequestReceived, message: Message, *, teid: int | None) -> None:
        """Answer a request; repeated ones get the same octets without asking again."""
        octets = encode(message, teid=teid, sequence=request.sequence)
        answer = self._answers.get((request.peer, request.sequence, request.message.message_type))
        if answer is not None:
            answer.octets = octets
        self._send(octets, request.peer, message.message_type)

    def notify(self, peer: PeerAddress, message: Message, *, teid: int) -> None:
        """Send a message that has no answer (Stop Paging Indication and the like)."""
        sequence = self._new_key(peer[0], is_command=False).sequence
        self._send(encode(message, teid=teid, sequence=sequence), peer, message.message_type)

    def watch(self, peer: PeerAddress, now: float) -> None:
        """A session exists with this peer: watch its path until as many :meth:`unwatch` calls."""
        path = self._paths.get(peer[0])
        if path is None:
            path = self._paths[peer[0]] = _Path(peer)
            if self.timers.echo_interval_s is not None:
                path.next_echo = now + self.timers.echo_interval_s
                self._at(path.next_echo, _Alarm.ECHO, peer[0])
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

    # Time

    def timer(self, now: float) -> None:
        """Do what is due at ``now``."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            entry = heapq.heappop(agenda)
            if self._is_stale(entry):
                continue
            _, _, alarm, subject = entry
            if alarm is _Alarm.RETRANSMIT:
                assert isinstance(subject, TransactionKey)
                self._retransmit(self._transactions[subject], now)
            elif alarm is _Alarm.ECHO:
                assert isinstance(subject, str)
                self._echo(self._paths[subject], now)
            else:
                self._purge(now)

    def _at(self, when: float, alarm: _Alarm, subject: TransactionKey | str) -> None:
        self._ticket += 1
        heapq.heappush(self._agenda, (when, self._ticket, alarm, subject))

    def _is_stale(self, entry: tuple[float, int, _Alarm, TransactionKey | str]) -> bool:
        when, _, alarm, subject = entry
        if alarm is _Alarm.RETRANSMIT:
            assert isinstance(subject, TransactionKey)
            transaction = self._transactions.get(subject)
            return transaction is None or transaction.expires != when
        if alarm is _Alarm.ECHO:
            assert isinstance(subject, str)
            path = self._paths.get(subject)
            return path is None or path.next_echo != when
        return False

    def _retransmit(self, transaction: _Transaction, now: float) -> None:
        if transaction.transmissions <= transaction.timer.retries:
            transaction.transmissions += 1
            transaction.expires = now + transaction.timer.seconds
            self._at(transaction.expires, _Alarm.RETRANSMIT, transaction.key)
            self._observer.retransmitted(transaction.message_type)
            self._datagrams.append((transaction.octets, transaction.peer))
            return
        del self._transactions[transaction.key]
        path = self._paths.get(transaction.peer[0])
        if path is not None and path.echo == transaction.key:
            path.echo = None
            if path.is_up:
                path.is_up = False
                self._events.append(PathFailed(host=transaction.peer[0]))
        else:
            self._events.append(ReplyMissing(transaction=transaction.key, timer=transaction.timer))

    def _echo(self, path: _Path, now: float) -> None:
        assert self.timers.echo_interval_s is not None
        if path.echo is None:
            path.echo = self.request(path.peer, EchoRequest(recovery=self.restart_counter), teid=None, now=now, timer=self.timers.echo_response)
        path.next_echo = now + self.timers.echo_interval_s
        self._at(path.next_echo, _Alarm.ECHO, path.peer[0])

    def _purge(self, now: float) -> None:
        answers = self._answers
        while answers and next(iter(answers.values())).expires <= now:
            answers.popitem(last=False)
        self._purge_armed = bool(answers)
        if answers:
            self._at(now + self.timers.duplicates_s, _Alarm.PURGE, "")

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
            answer = self._answers.get(key)
            if answer is not None and answer.expires > now:
                self._observer.duplicate(message_type)
                if answer.octets is not None:
                    self._datagrams.append((answer.octets, peer))
                return
            if recovery is not None:
                self._note_restart_counter(peer[0], recovery)
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
            self._note_restart_counter(peer[0], recovery)
        path = self._paths.get(peer[0])
        if path is not None and not path.is_up:
            path.is_up = True
            self._events.append(PathRestored(host=peer[0]))
        if isinstance(message, EchoResponse) and path is not None and path.echo == transaction.key:
            path.echo = None
            del self._transactions[transaction.key]
            return
        self._complete(packet, peer)

    def _answers_transaction(self, message_type: MessageType, transaction: _Transaction) -> bool:
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

    def _note_restart_counter(self, host: str, counter: int) -> None:
        previous = self._restart_counters.get(host)
        if previous is None:
            if len(self._restart_counters) >= self._max_cached_answers:
                self._forget_a_counter()
            self._restart_counters[host] = counter
        elif counter != previous and (counter - previous) & 0xFF < 0x80:         # otherwise an older message came late (TS 23.007 clause 18)
            self._restart_counters[host] = counter
            self._events.append(PeerRestarted(host=host, previous=previous, current=counter))

    def _forget_a_counter(self) -> None:
        """Make room: the longest known peer without a session goes, or the longest known one."""
        oldest = next((host for host in self._restart_counters if host not in self._paths), next(iter(self._restart_counters)))
        del self._restart_counters[oldest]

    def _remember(self, key: tuple[PeerAddress, int, int], now: float) -> None:
        answers = self._answers
        answers.pop(key, None)
        if len(answers) >= self._max_cached_answers:
            answers.popitem(last=False)
        answers[key] = _Answer(None, now + self.timers.duplicates_s)
        if not self._purge_armed:
            self._purge_armed = True
            self._at(now + self.timers.duplicates_s, _Alarm.PURGE, "")

    def _close_command(self, command: RequestReceived, octets: bytes) -> None:
        """A repeated command gets the request it triggered once more."""
        answer = self._answers.get((command.peer, command.sequence, int(command.message.message_type)))
        if answer is not None:
            answer.octets = octets

    def _new_key(self, host: str, *, is_command: bool) -> TransactionKey:
        """The next sequence number; commands have the most significant bit set, requests have not (TS 29.274 clause 7.6)."""
        while True:
            self._sequence = (self._sequence + 1) % COMMAND_BIT
            key = TransactionKey(host, self._sequence | (COMMAND_BIT if is_command else 0))
            if key not in self._transactions:
                return key

    def _send(self, octets: bytes, peer: PeerAddress, message_type: int) -> None:
        self._observer.sent(message_type)
        self._datagrams.append((octets, peer))

