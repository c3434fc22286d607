"""Requests and responses over datagrams, without I/O: what GTP-C (TS 29.274 clause 7.6) and PFCP (TS 29.244 clause 6.4) have in common.

A :class:`RequestMachine` numbers requests, repeats them until they are answered, answers repeated requests from a cache, and keeps an agenda of
what is due when. Time is a parameter: whoever owns the machine calls ``receive`` with each datagram and :meth:`RequestMachine.timer` at
:meth:`RequestMachine.next_timeout`, and after each call sends :meth:`RequestMachine.datagrams` and handles :meth:`RequestMachine.events`.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from epc.peer.timer import Timer
from epc.wire.errors import WireError

PeerAddress = tuple[str, int]

EventT = TypeVar("EventT")
PacketT = TypeVar("PacketT")


class TransactionKey(NamedTuple):
    """One outstanding request or command."""

    host: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyReceived(Generic[PacketT]):
    """The answer to a request; to a command of GTP-C, its failure indication or the request that it triggered."""

    transaction: TransactionKey
    packet: PacketT
    peer: PeerAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyUnreadable:
    """An answer came and is malformed, or says that the peer does not speak our version."""

    transaction: TransactionKey
    error: WireError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMissing:
    """The peer stayed silent through all transmissions."""

    transaction: TransactionKey
    timer: Timer


class ExchangeObserver(Protocol):
    """Counts what passes. Message types are the protocol's numbers."""

    def sent(self, message_type: int) -> None: ...

    def received(self, message_type: int) -> None: ...

    def retransmitted(self, message_type: int) -> None: ...

    def duplicate(self, message_type: int) -> None: ...

    def discarded(self, reason: str) -> None:
        """``reason``: ``short``, ``version``, ``unknown_type``, ``syntax``, ``unexpected``, and with PFCP ``no_association``."""


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


@dataclass(slots=True)
class Transaction:
    key: TransactionKey
    peer: PeerAddress
    message_type: int
    octets: bytes
    timer: Timer
    expires: float
    is_own: bool                # the machine's own, not its owner's
    transmissions: int = 1


@dataclass(slots=True)
class _Answer:
    """What became of a request that was received: ``None`` while the node is at it."""

    octets: bytes | None
    expires: float


class Alarm(NamedTuple):
    """One kind of thing on the agenda. Both functions get the subject; what is no longer ``is_due`` at its time is skipped."""

    ring: Callable[[Any, float], None]      # with the time that it is
    is_due: Callable[[Any, float], bool]    # with the time that it was put on the agenda for


AnswerKey = tuple[PeerAddress, int, int]        # peer, sequence number, message type


class RequestMachine(ABC, Generic[EventT]):
    """All peers of one local entity. ``sequence_numbers`` is how many there are before they begin again."""

    def __init__(
        self, *, sequence_numbers: int, first_sequence: int, duplicates_s: float, observer: ExchangeObserver | None, max_cached_answers: int,
    ) -> None:
        self._observer: ExchangeObserver = observer or _Unobserved()
        self._max_cached_answers = max_cached_answers
        self._duplicates_s = duplicates_s
        self._sequence_numbers = sequence_numbers
        self._sequence = first_sequence % sequence_numbers
        self._transactions: dict[TransactionKey, Transaction] = {}
        self._answers: OrderedDict[AnswerKey, _Answer] = OrderedDict()      # oldest first
        self._agenda: list[tuple[float, int, Alarm, Any]] = []
        self._ticket = 0
        self._purge_armed = False
        self._retransmission = Alarm(self._retransmit, self._is_awaited)
        self._purging = Alarm(self._purge, lambda subject, when: True)
        self._datagrams: list[tuple[bytes, PeerAddress]] = []
        self._events: deque[EventT | ReplyUnreadable | ReplyMissing] = deque()

    # What the owner collects

    def datagrams(self) -> list[tuple[bytes, PeerAddress]]:
        """Datagrams to send, in order; the caller owns the list."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def events(self) -> Iterator[EventT | ReplyUnreadable | ReplyMissing]:
        while self._events:
            yield self._events.popleft()

    def next_timeout(self) -> float | None:
        """When :meth:`timer` wants to be called."""
        agenda = self._agenda
        while agenda:
            when, _, alarm, subject = agenda[0]
            if alarm.is_due(subject, when):
                return when
            heapq.heappop(agenda)
        return None

    @property
    def outstanding(self) -> int:
        """Requests that wait for their answer, the machine's own included."""
        return len(self._transactions)

    @property
    def unanswered(self) -> int:
        """Requests received that the node has not answered yet."""
        return sum(1 for answer in self._answers.values() if answer.octets is None)

    # What the owner does

    @abstractmethod
    def receive(self, data: bytes, peer: PeerAddress, now: float) -> None:
        """Take one datagram. Nothing a peer sends makes this raise."""

    def cancel(self, transaction: TransactionKey) -> None:
        """Stop repeating a request; a late answer counts as unexpected."""
        self._transactions.pop(transaction, None)

    def timer(self, now: float) -> None:
        """Do what is due at ``now``."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            when, _, alarm, subject = heapq.heappop(agenda)
            if alarm.is_due(subject, when):
                alarm.ring(subject, now)

    # For the protocol

    @abstractmethod
    def _own_request_unanswered(self, transaction: Transaction, now: float) -> None:
        """The peer stayed silent to a request of the machine's own."""

    def _at(self, when: float, alarm: Alarm, subject: Any) -> None:
        self._ticket += 1
        heapq.heappush(self._agenda, (when, self._ticket, alarm, subject))

    def _new_sequence(self, host: str, flags: int = 0) -> TransactionKey:
        """The next sequence number that is not in use with this peer; ``flags`` are bits that go with it."""
        while True:
            self._sequence = (self._sequence + 1) % self._sequence_numbers
            key = TransactionKey(host, self._sequence | flags)
            if key not in self._transactions:
                return key

    def _begin(
        self, key: TransactionKey, peer: PeerAddress, message_type: int, octets: bytes, timer: Timer, now: float, *, is_own: bool
    ) -> None:
        """Send a request, and repeat it until it is answered."""
        expires = now + timer.seconds
        self._transactions[key] = Transaction(key, peer, message_type, octets, timer, expires, is_own)
        self._at(expires, self._retransmission, key)
        self._send(octets, peer, message_type)

    def _send(self, octets: bytes, peer: PeerAddress, message_type: int) -> None:
        self._observer.sent(message_type)
        self._datagrams.append((octets, peer))

    def _is_repeated(self, key: AnswerKey, message_type: int, now: float) -> bool:
        """Whether this request came before; if it was answered, it is so again."""
        answer = self._answers.get(key)
        if answer is None or answer.expires <= now:
            return False
        if answer.octets is None:                   # whoever still asks is to be answered: the clock starts again, at the end of the line
            answer.expires = now + self._duplicates_s
            self._answers.move_to_end(key)
        self._observer.duplicate(message_type)
        if answer.octets is not None:
            self._datagrams.append((answer.octets, key[0]))
        return True

    def _remember(self, key: AnswerKey, now: float) -> None:
        """A request has come for the first time."""
        answers = self._answers
        answers.pop(key, None)
        if len(answers) >= self._max_cached_answers:
            answers.popitem(last=False)
        answers[key] = _Answer(None, now + self._duplicates_s)
        if not self._purge_armed:
            self._purge_armed = True
            self._at(now + self._duplicates_s, self._purging, None)

    def _note_answer(self, key: AnswerKey, octets: bytes) -> None:
        """What the request gets when it is repeated."""
        answer = self._answers.get(key)
        if answer is not None:
            answer.octets = octets

    def _is_awaited(self, key: TransactionKey, when: float) -> bool:
        transaction = self._transactions.get(key)
        return transaction is not None and transaction.expires == when

    def _retransmit(self, key: TransactionKey, now: float) -> None:
        transaction = self._transactions[key]
        if transaction.transmissions <= transaction.timer.retries:
            transaction.transmissions += 1
            transaction.expires = now + transaction.timer.seconds
            self._at(transaction.expires, self._retransmission, key)
            self._observer.retransmitted(transaction.message_type)
            self._datagrams.append((transaction.octets, transaction.peer))
            return
        del self._transactions[key]
        if transaction.is_own:
            self._own_request_unanswered(transaction, now)
        else:
            self._events.append(ReplyMissing(transaction=key, timer=transaction.timer))

    def _purge(self, subject: None, now: float) -> None:
        answers = self._answers
        while answers and next(iter(answers.values())).expires <= now:
            answers.popitem(last=False)
        self._purge_armed = bool(answers)
        if answers:
            self._at(now + self._duplicates_s, self._purging, None)
