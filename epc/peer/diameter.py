"""One Diameter peer as a sans-IO machine: the peer state machine of RFC 6733 clause 5.6.

Time comes in as a parameter, octets go out as events. Whoever drives a :class:`DiameterPeer` tells it what the transport did
(``connected``, ``receive``, ``lost``, ``timeout``) and carries out what :meth:`DiameterPeer.events` returns. :data:`TRANSITIONS` is
clause 5.6's table; sending and receiving in the open states, which the table lists for completeness, is plain code.

Two departures, both harmless to a peer that follows the letter. In REOPEN the machine sends the next watchdog as soon as the last one
is answered, not after Tw, so that a restarted peer is used after three round trips and not after a minute; and it serves requests that
arrive meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, assert_never

from epc.peer.diameter_watchdog import Watchdog, WatchdogAction, WatchdogEvent, WatchdogState
from epc.wire import diameter
from epc.wire.diameter import DiameterError, ErrorAnswer, Header, Message, Packet, Request, ResultCode
from epc.wire.diameter.avp import VENDOR_3GPP, IPAddress
from epc.wire.diameter.base import (
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    DisconnectCause,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
)
from epc.wire.diameter.groups import RELAY_APPLICATION, VendorSpecificApplicationId

MAXIMUM_MESSAGE_OCTETS = 1 << 20        # the length field allows 16 MiB; no command of ours comes near this
_PEER_COMMANDS = frozenset({257, 280, 282})
_VENDOR_APPLICATIONS_FROM = 0x01000000  # RFC 6733 clause 11.3: from here on application identifiers are vendors'


class Side(Enum):
    """Which of the two connections that peers may have: the one we opened or the one they opened."""

    INITIATOR = "I"
    RESPONDER = "R"


class PeerState(Enum):
    """RFC 6733 clause 5.6."""

    CLOSED = "Closed"
    WAIT_CONN_ACK = "Wait-Conn-Ack"
    WAIT_I_CEA = "Wait-I-CEA"
    WAIT_CONN_ACK_ELECT = "Wait-Conn-Ack/Elect"
    WAIT_RETURNS = "Wait-Returns"
    R_OPEN = "R-Open"
    I_OPEN = "I-Open"
    CLOSING = "Closing"


class PeerEvent(Enum):
    """RFC 6733 clause 5.6.1."""

    START = "Start"
    R_CONN_CER = "R-Conn-CER"
    I_RCV_CONN_ACK = "I-Rcv-Conn-Ack"
    I_RCV_CONN_NACK = "I-Rcv-Conn-Nack"
    TIMEOUT = "Timeout"
    I_RCV_CEA = "I-Rcv-CEA"
    I_RCV_NON_CEA = "I-Rcv-Non-CEA"
    I_PEER_DISC = "I-Peer-Disc"
    R_PEER_DISC = "R-Peer-Disc"
    I_RCV_DPR = "I-Rcv-DPR"
    R_RCV_DPR = "R-Rcv-DPR"
    I_RCV_DPA = "I-Rcv-DPA"
    R_RCV_DPA = "R-Rcv-DPA"
    WIN_ELECTION = "Win-Election"
    STOP = "Stop"


class PeerAction(Enum):
    """RFC 6733 clause 5.6.2."""

    I_SND_CONN_REQ = "I-Snd-Conn-Req"
    I_SND_CER = "I-Snd-CER"
    R_ACCEPT = "R-Accept"
    R_REJECT = "R-Reject"
    PROCESS_CER = "Process-CER"
    PROCESS_CEA = "Process-CEA"
    R_SND_CEA = "R-Snd-CEA"
    ELECT = "Elect"
    CLEANUP = "Cleanup"
    ERROR = "Error"
    I_DISC = "I-Disc"
    R_DISC = "R-Disc"
    I_SND_DPR = "I-Snd-DPR"
    R_SND_DPR = "R-Snd-DPR"
    I_SND_DPA = "I-Snd-DPA"
    R_SND_DPA = "R-Snd-DPA"


_S, _E, _A = PeerState, PeerEvent, PeerAction
TRANSITIONS: dict[tuple[PeerState, PeerEvent], tuple[tuple[PeerAction, ...], PeerState]] = {
    (_S.CLOSED, _E.START): ((_A.I_SND_CONN_REQ,), _S.WAIT_CONN_ACK),
    (_S.CLOSED, _E.R_CONN_CER): ((_A.R_ACCEPT, _A.PROCESS_CER, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_CONN_ACK, _E.I_RCV_CONN_ACK): ((_A.I_SND_CER,), _S.WAIT_I_CEA),
    (_S.WAIT_CONN_ACK, _E.I_RCV_CONN_NACK): ((_A.CLEANUP,), _S.CLOSED),
    (_S.WAIT_CONN_ACK, _E.R_CONN_CER): ((_A.R_ACCEPT, _A.PROCESS_CER), _S.WAIT_CONN_ACK_ELECT),
    (_S.WAIT_CONN_ACK, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.I_RCV_CEA): ((_A.PROCESS_CEA,), _S.I_OPEN),
    (_S.WAIT_I_CEA, _E.R_CONN_CER): ((_A.R_ACCEPT, _A.PROCESS_CER, _A.ELECT), _S.WAIT_RETURNS),
    (_S.WAIT_I_CEA, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.I_RCV_NON_CEA): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_CONN_ACK_ELECT, _E.I_RCV_CONN_ACK): ((_A.I_SND_CER, _A.ELECT), _S.WAIT_RETURNS),
    (_S.WAIT_CONN_ACK_ELECT, _E.I_RCV_CONN_NACK): ((_A.R_SND_CEA,), _S.R_OPEN),
    (_S.WAIT_CONN_ACK_ELECT, _E.R_PEER_DISC): ((_A.R_DISC,), _S.WAIT_CONN_ACK),
    (_S.WAIT_CONN_ACK_ELECT, _E.R_CONN_CER): ((_A.R_REJECT,), _S.WAIT_CONN_ACK_ELECT),
    (_S.WAIT_CONN_ACK_ELECT, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_RETURNS, _E.WIN_ELECTION): ((_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_RETURNS, _E.I_PEER_DISC): ((_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_RETURNS, _E.I_RCV_CEA): ((_A.R_DISC, _A.PROCESS_CEA), _S.I_OPEN),
    (_S.WAIT_RETURNS, _E.R_PEER_DISC): ((_A.R_DISC,), _S.WAIT_I_CEA),
    (_S.WAIT_RETURNS, _E.R_CONN_CER): ((_A.R_REJECT,), _S.WAIT_RETURNS),
    (_S.WAIT_RETURNS, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.R_OPEN, _E.R_CONN_CER): ((_A.R_REJECT,), _S.R_OPEN),
    (_S.R_OPEN, _E.STOP): ((_A.R_SND_DPR,), _S.CLOSING),
    (_S.R_OPEN, _E.R_RCV_DPR): ((_A.R_SND_DPA,), _S.CLOSING),
    (_S.R_OPEN, _E.R_PEER_DISC): ((_A.R_DISC,), _S.CLOSED),
    (_S.R_OPEN, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),                # of the watchdog: RFC 3539 clause 3.4.1, CloseConnection
    (_S.I_OPEN, _E.R_CONN_CER): ((_A.R_REJECT,), _S.I_OPEN),
    (_S.I_OPEN, _E.STOP): ((_A.I_SND_DPR,), _S.CLOSING),
    (_S.I_OPEN, _E.I_RCV_DPR): ((_A.I_SND_DPA,), _S.CLOSING),
    (_S.I_OPEN, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.I_OPEN, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),                # of the watchdog
    (_S.CLOSING, _E.I_RCV_DPR): ((_A.I_SND_DPA,), _S.CLOSING),        # both said goodbye at once
    (_S.CLOSING, _E.R_RCV_DPR): ((_A.R_SND_DPA,), _S.CLOSING),
    (_S.CLOSING, _E.I_RCV_DPA): ((_A.I_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.R_RCV_DPA): ((_A.R_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.CLOSING, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.R_PEER_DISC): ((_A.R_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.R_CONN_CER): ((_A.R_REJECT,), _S.CLOSING),
}
"""(state, event) -> (actions, next state). What is not in the table does not change the state."""

_OPEN_STATES = (PeerState.I_OPEN, PeerState.R_OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTimers:
    """The peer machine's timers, seconds."""

    connect_s: float = 10.0             # transport and capabilities exchange; "Timeout" of RFC 6733 clause 5.6
    watchdog_s: float = 30.0            # Tw                                    RFC 3539 clause 3.4.1, at least 6
    reconnect_s: float = 30.0           # Tc                                    RFC 6733 clause 12
    disconnect_s: float = 5.0           # how long a DPA or the peer's close is awaited


LAB_TIMERS = PeerTimers(connect_s=5.0, watchdog_s=10.0, reconnect_s=1.0, disconnect_s=2.0)


class MessageReader:
    """Cuts a TCP stream into messages (RFC 6733 clause 3: the length is in the header). SCTP user messages pass through it as well."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAXIMUM_MESSAGE_OCTETS) -> None:
        self._buffer = b""
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The complete messages. Raises :class:`DiameterError` where no message can begin: the stream is lost, close it."""
        buffer = self._buffer + data if self._buffer else data
        messages: list[bytes] = []
        start, size = 0, len(buffer)
        while size - start >= 4:
            if buffer[start] != 1:
                raise DiameterError("version is not 1", ResultCode.DIAMETER_UNSUPPORTED_VERSION, offset=start, ie="Diameter header")
            length = int.from_bytes(buffer[start + 1:start + 4], "big")
            if length < diameter.HEADER_OCTETS or length & 3 or length > self._limit:
                raise DiameterError("impossible message length", ResultCode.DIAMETER_INVALID_MESSAGE_LENGTH, offset=start + 1, ie="Diameter header")
            if size - start < length:
                break
            messages.append(buffer[start:start + length])
            start += length
        self._buffer = buffer[start:]
        return messages

    @property
    def remainder(self) -> bytes:
        """The beginning of a message whose end has not come yet."""
        return self._buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalIdentity:
    """What this node says of itself in capabilities exchanges."""

    origin_host: str
    origin_realm: str
    applications: tuple[int, ...]
    product_name: str = "epclab"
    vendor_id: int = 0                      # 0: no enterprise number of our own (RFC 6733 clause 5.3.3)
    origin_state_id: int | None = None      # grows with every restart that loses state


# --- what the driver has to do, or wants to know ----------------------------------------------------------------------


class Connect(NamedTuple):
    """Open a connection to the peer, then call ``connected`` or ``connect_failed``."""


class Send(NamedTuple):
    side: Side
    octets: bytes
    message: Message


class Close(NamedTuple):
    """Close the connection; what was sent before must still go out."""

    side: Side
    reason: str


class StateChanged(NamedTuple):
    """The peer became usable for new requests, or ceased to be."""

    state: PeerState
    watchdog: WatchdogState
    is_usable: bool


class BaseMessageReceived(NamedTuple):
    """A message between the peers themselves, already dealt with."""

    message: Message


class RequestReceived(NamedTuple):
    side: Side
    packet: Packet


class AnswerReceived(NamedTuple):
    token: object
    packet: Packet


class RawRequestReceived(NamedTuple):
    """A request as an agent gets it: nothing behind the header has been looked at."""

    side: Side
    header: Header
    octets: bytes


class RawAnswerReceived(NamedTuple):
    """An answer as an agent gets it. ``token`` None: no request waits for it here."""

    token: object | None
    header: Header
    octets: bytes


class SendRaw(NamedTuple):
    """Like :class:`Send`, for what an agent passes on."""

    side: Side
    octets: bytes


class AnswerInvalid(NamedTuple):
    """The answer came but cannot be read."""

    token: object
    error: DiameterError


class RequestExpired(NamedTuple):
    """Tx ran out."""

    token: object


class RequestsFailedOver(NamedTuple):
    """These requests should be sent to another peer, with the T bit (RFC 6733 clause 5.5.4)."""

    tokens: tuple[object, ...]
    is_lost: bool       # True: no answer can come any more; False: the peer is merely late


class MessageDiscarded(NamedTuple):
    """Something arrived that is no use: an answer nobody waits for, a message that cannot be read."""

    reason: str
    result_code: int


PeerOutput = (Connect | Send | SendRaw | Close | StateChanged | BaseMessageReceived | RequestReceived | AnswerReceived | RawRequestReceived
              | RawAnswerReceived | AnswerInvalid | RequestExpired | RequestsFailedOver | MessageDiscarded)


class PeerUnavailable(ConnectionError):
    """No peer that serves the request's destination and application is connected, or the last one was lost before it answered."""


def negotiated_applications(message: CapabilitiesExchangeRequest | CapabilitiesExchangeAnswer) -> frozenset[int]:
    """Every application the message advertises, at whatever place."""
    found = set(message.auth_application_id) | set(message.acct_application_id)
    for specific in message.vendor_specific_application_id:
        found.update(application for application in (specific.auth_application_id, specific.acct_application_id) if application is not None)
    return frozenset(found)


def common_applications(local: LocalIdentity, remote: frozenset[int]) -> frozenset[int]:
    """What both speak; a relay speaks everything (RFC 6733 clause 2.4)."""
    if RELAY_APPLICATION in remote:
        return frozenset(local.applications)
    if RELAY_APPLICATION in local.applications:
        return remote
    return remote & frozenset(local.applications)


@dataclass(slots=True)
class _Pending:
    token: object
    deadline: float
    failed_over: bool = False


class DiameterPeer:
    """One peer and its connection, or for a moment its two connections."""

    def __init__(self, local: LocalIdentity, host: str, *, initiates: bool, timers: PeerTimers, hop_by_hop: int, end_to_end: Callable[[], int],
                 jitter: Callable[[], float], is_raw: bool = False) -> None:
        """``host`` is the identity the peer must have; empty: whatever it says. ``hop_by_hop`` starts the identifiers of the requests sent
        to it; ``end_to_end`` returns the next one for the messages that the machine makes itself. ``is_raw`` is for agents: messages of
        applications are not decoded, but reported and sent as octets.
        """
        self.local = local
        self.host = host
        self.realm = ""
        self.product_name = ""
        self.state = PeerState.CLOSED
        self.applications: frozenset[int] = frozenset()
        self.is_relay = False
        self.initiates = initiates
        self.watchdog = Watchdog(timers.watchdog_s, jitter)
        self._timers = timers
        self._hop_by_hop = hop_by_hop & 0xFFFFFFFF
        self._end_to_end = end_to_end
        self._is_raw = is_raw
        self._output: list[PeerOutput] = []
        self._readers = {Side.INITIATOR: MessageReader(), Side.RESPONDER: MessageReader()}
        self._local_addresses: dict[Side, IPAddress] = {}
        self._state_deadline: float | None = None           # Timeout of clause 5.6, or Tc in CLOSED
        self._pending: dict[int, _Pending] = {}
        self._expiries: list[tuple[float, int]] = []
        self._cer: Packet | None = None
        self._cea: CapabilitiesExchangeAnswer | None = None
        self._disconnect_cause = DisconnectCause.REBOOTING
        self._received_request: Header | None = None        # what a DPA answers
        self._stopped = not initiates
        self._graceful = False
        self._reason = ""
        self._was_usable = False

    # inputs

    def start(self, now: float) -> None:
        """Connect, and connect again whenever the connection is lost, until :meth:`stop`."""
        self._stopped = False
        self._event(PeerEvent.START, now)

    def stop(self, now: float, cause: DisconnectCause = DisconnectCause.REBOOTING) -> None:
        """Say goodbye (DPR) and do not reconnect."""
        self._stopped = True
        self._disconnect_cause = cause
        if self.state in _OPEN_STATES:
            self._event(PeerEvent.STOP, now)
        elif self.state is PeerState.CLOSED:
            self._state_deadline = None
        elif self.state is not PeerState.CLOSING:
            self._reason = "stopped"
            self._event(PeerEvent.TIMEOUT, now)

    def connected(self, now: float, local_address: IPAddress) -> None:
        """The connection that :class:`Connect` asked for is up."""
        if (self.state, PeerEvent.I_RCV_CONN_ACK) in TRANSITIONS:
            self._local_addresses[Side.INITIATOR] = local_address
            self._readers[Side.INITIATOR] = MessageReader()
            self._event(PeerEvent.I_RCV_CONN_ACK, now)
        else:
            self._output.append(Close(Side.INITIATOR, "no longer wanted"))

    def connect_failed(self, now: float) -> None:
        self._event(PeerEvent.I_RCV_CONN_NACK, now)

    def offer(self, cer: Packet, now: float, local_address: IPAddress) -> bool:
        """A connection from this peer began with ``cer``. False: rejected, close it; True: it is the responder's connection now."""
        actions, _ = TRANSITIONS.get((self.state, PeerEvent.R_CONN_CER), ((PeerAction.R_REJECT,), self.state))
        if PeerAction.R_REJECT in actions:
            return False
        self._cer = cer
        self._local_addresses[Side.RESPONDER] = local_address
        self._readers[Side.RESPONDER] = MessageReader()
        self._event(PeerEvent.R_CONN_CER, now)
        return True

    def lost(self, side: Side, now: float, reason: str = "connection closed by peer") -> None:
        """The connection is gone."""
        self._reason = reason
        if (self.state is PeerState.I_OPEN and side is Side.INITIATOR) or (self.state is PeerState.R_OPEN and side is Side.RESPONDER):
            self._watchdog(WatchdogEvent.CONNECTION_DOWN, side, now)
        self._event(PeerEvent.I_PEER_DISC if side is Side.INITIATOR else PeerEvent.R_PEER_DISC, now)

    def receive(self, side: Side, data: bytes, now: float) -> None:
        """Octets from the stream, or an SCTP user message."""
        try:
            messages = self._readers[side].feed(data)
        except DiameterError as error:
            self._output.append(MessageDiscarded(str(error), error.result_code))
            self._fail_connection(side, now, f"stream out of step: {error}")
            return
        for octets in messages:
            self._message(side, octets, now)

    def request(self, message: Message, *, end_to_end: int, token: object, now: float, tx_s: float, retransmitted: bool = False) -> None:
        """Send a request of the application. The outcome comes as an event with ``token``."""
        if not self.is_usable:
            raise PeerUnavailable(f"{self.host} is {self.state.value}, watchdog {self.watchdog.state.value}")
        hop_by_hop = self._next_hop_by_hop()
        octets = diameter.encode(message, hop_by_hop=hop_by_hop, end_to_end=end_to_end, retransmitted=retransmitted)
        self._expect_answer(hop_by_hop, token, now + tx_s)
        self._output.append(Send(self.side, octets, message))

    def relay_request(self, octets: bytes, *, token: object | None, now: float, tx_s: float) -> None:
        """Send a request of somebody else's under a hop-by-hop identifier of our own. Without a ``token`` no answer is awaited."""
        if not self.is_usable:
            raise PeerUnavailable(f"{self.host} is {self.state.value}, watchdog {self.watchdog.state.value}")
        hop_by_hop = self._next_hop_by_hop()
        if token is not None:
            self._expect_answer(hop_by_hop, token, now + tx_s)
        self._output.append(SendRaw(self.side, octets[:12] + hop_by_hop.to_bytes(4, "big") + octets[16:]))

    def relay_answer(self, side: Side, octets: bytes) -> bool:
        """Send an answer of somebody else's; False when the connection that the request came over is gone."""
        if self.state not in (*_OPEN_STATES, PeerState.CLOSING) or side not in self._local_addresses:
            return False
        self._output.append(SendRaw(side, octets))
        return True

    def _expect_answer(self, hop_by_hop: int, token: object, deadline: float) -> None:
        while self._expiries and self._expiries[0][1] not in self._pending:     # answered long ago
            heapq.heappop(self._expiries)
        self._pending[hop_by_hop] = _Pending(token, deadline)
        heapq.heappush(self._expiries, (deadline, hop_by_hop))

    def forget(self, token: object) -> None:
        """Nobody waits for this answer any more."""
        for hop_by_hop, pending in list(self._pending.items()):
            if pending.token is token:
                del self._pending[hop_by_hop]

    def answer(self, side: Side, message: Message, request: Header) -> bytes:
        """Send an answer, unless the connection that the request came over is gone; returns its octets for copies of the request."""
        octets = diameter.encode(message, hop_by_hop=request.hop_by_hop, end_to_end=request.end_to_end, application_id=request.application_id)
        if self.state in (*_OPEN_STATES, PeerState.CLOSING) and side in self._local_addresses:
            self._output.append(Send(side, octets, message))
        return octets

    def timer(self) -> float | None:
        """When :meth:`timeout` must be called next."""
        deadlines = [deadline for deadline in (self._state_deadline, self.watchdog.deadline) if deadline is not None]
        while self._expiries and self._expiries[0][1] not in self._pending:
            heapq.heappop(self._expiries)
        if self._expiries:
            deadlines.append(self._expiries[0][0])
        return min(deadlines, default=None)

    def timeout(self, now: float) -> None:
        """Time has come to ``now``; early calls do no harm."""
        while self._expiries and self._expiries[0][0] <= now:
            deadline, hop_by_hop = heapq.heappop(self._expiries)
            pending = self._pending.get(hop_by_hop)
            if pending is not None and pending.deadline == deadline:
                del self._pending[hop_by_hop]
                self._output.append(RequestExpired(pending.token))
        if self._state_deadline is not None and self._state_deadline <= now:
            self._state_deadline = None
            if self.state is PeerState.CLOSED:
                self._event(PeerEvent.START, now)
            else:
                self._reason = f"no progress in {self.state.value}"
                self._event(PeerEvent.TIMEOUT, now)
        if self.watchdog.deadline is not None and self.watchdog.deadline <= now:
            self._watchdog(WatchdogEvent.TIMER_EXPIRES, self.side, now)

    # outputs

    def events(self) -> list[PeerOutput]:
        """What has to be done, in this order; forgotten once returned."""
        output, self._output = self._output, []
        return output

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN_STATES

    @property
    def is_usable(self) -> bool:
        """New requests may be sent: open, and the watchdog trusts the connection."""
        return self.state in _OPEN_STATES and self.watchdog.state is WatchdogState.OKAY

    @property
    def side(self) -> Side:
        """The connection in use."""
        return Side.RESPONDER if Side.RESPONDER in self._local_addresses and self.state is not PeerState.I_OPEN else Side.INITIATOR

    @property
    def pending_requests(self) -> int:
        return len(self._pending)

    # the machine

    def _event(self, event: PeerEvent, now: float) -> None:
        transition = TRANSITIONS.get((self.state, event))
        if transition is None:
            return
        actions, next_state = transition
        self._enter(next_state, now)
        for action in actions:
            self._act(action, now)
            if self.state is not next_state:        # an action found a reason to go elsewhere
                return
        self._note_usability()

    def _enter(self, state: PeerState, now: float) -> None:
        if state is self.state:
            return
        self.state = state
        if state is PeerState.CLOSED:
            self._state_deadline = None if self._stopped else now + self._timers.reconnect_s
        elif state in _OPEN_STATES:
            self._state_deadline = None
        elif state is PeerState.CLOSING:
            self._state_deadline = now + self._timers.disconnect_s
        elif self._state_deadline is None or state is PeerState.WAIT_CONN_ACK:
            self._state_deadline = now + self._timers.connect_s

    def _act(self, action: PeerAction, now: float) -> None:
        match action:
            case PeerAction.I_SND_CONN_REQ:
                self._output.append(Connect())
            case PeerAction.I_SND_CER:
                self._send_request(Side.INITIATOR, self._capabilities_request())
            case PeerAction.R_ACCEPT:
                pass                                # offer() has answered the driver
            case PeerAction.R_REJECT:
                pass                                # likewise
            case PeerAction.PROCESS_CER:
                self._process_cer()
            case PeerAction.R_SND_CEA:
                self._send_cea(now)
            case PeerAction.PROCESS_CEA:
                self._process_cea(now)
            case PeerAction.ELECT:
                if self.local.origin_host.lower() > self.host.lower():      # RFC 6733 clause 5.6.4
                    self._event(PeerEvent.WIN_ELECTION, now)
            case PeerAction.CLEANUP:
                self._forget_connection(Side.INITIATOR)
                self._lose_pending()
            case PeerAction.ERROR:
                for side in list(self._local_addresses):
                    self._disconnect(side)
                self._lose_pending()
            case PeerAction.I_DISC:
                self._disconnect(Side.INITIATOR)
                self._lose_pending()
            case PeerAction.R_DISC:
                self._disconnect(Side.RESPONDER)
                self._lose_pending()
            case PeerAction.I_SND_DPR:
                self._send_dpr(Side.INITIATOR)
            case PeerAction.R_SND_DPR:
                self._send_dpr(Side.RESPONDER)
            case PeerAction.I_SND_DPA:
                self._send_dpa(Side.INITIATOR)
            case PeerAction.R_SND_DPA:
                self._send_dpa(Side.RESPONDER)
            case _:
                assert_never(action)

    def _message(self, side: Side, octets: bytes, now: float) -> None:
        if self._is_raw and self.state in (PeerState.I_OPEN, PeerState.R_OPEN, PeerState.CLOSING) and not _is_between_peers(octets):
            self._raw_message(side, octets, now)
            return
        try:
            packet = diameter.decode(octets)
        except DiameterError as error:
            self._undecodable(side, error, now)
            return
        header, message = packet.header, packet.message
        if self.state in (PeerState.WAIT_I_CEA, PeerState.WAIT_RETURNS, PeerState.WAIT_CONN_ACK_ELECT):
            if side is Side.INITIATOR:
                if isinstance(message, CapabilitiesExchangeAnswer):
                    self._cea = message
                    self._output.append(BaseMessageReceived(message))
                    self._event(PeerEvent.I_RCV_CEA, now)
                else:
                    refusal = f", {message.result!r} {message.error_message or ''}" if isinstance(message, ErrorAnswer) else ""
                    self._reason = f"{diameter.command_name(header)} instead of a CEA{refusal}"
                    self._event(PeerEvent.I_RCV_NON_CEA, now)
            return
        if self.state not in (*_OPEN_STATES, PeerState.CLOSING) or side not in self._local_addresses:
            return
        if _is_between_peers(octets):
            self._base_message(side, packet, now)
            return
        self._watchdog(WatchdogEvent.RECEIVE_NON_DWA, side, now)
        if header.is_request:
            self._output.append(RequestReceived(side, packet))
            return
        pending = self._pending.pop(header.hop_by_hop, None)
        if pending is None:
            self._output.append(MessageDiscarded("an answer that nobody waits for", 0))
        else:
            self._output.append(AnswerReceived(pending.token, packet))

    def _raw_message(self, side: Side, octets: bytes, now: float) -> None:
        if side not in self._local_addresses:
            return
        header = diameter.decode_header(octets)         # the reader has seen that it is one
        self._watchdog(WatchdogEvent.RECEIVE_NON_DWA, side, now)
        if header.is_request:
            self._output.append(RawRequestReceived(side, header, octets))
            return
        pending = self._pending.pop(header.hop_by_hop, None)
        self._output.append(RawAnswerReceived(None if pending is None else pending.token, header, octets))

    def _base_message(self, side: Side, packet: Packet, now: float) -> None:
        message, header = packet.message, packet.header
        self._output.append(BaseMessageReceived(message))
        match message:
            case DeviceWatchdogAnswer():
                self._watchdog(WatchdogEvent.RECEIVE_DWA, side, now)
            case DeviceWatchdogRequest():
                self._watchdog(WatchdogEvent.RECEIVE_NON_DWA, side, now)
                self.answer(side, DeviceWatchdogAnswer(
                    result_code=ResultCode.DIAMETER_SUCCESS, origin_host=self.local.origin_host, origin_realm=self.local.origin_realm,
                    origin_state_id=self.local.origin_state_id), header)
            case DisconnectPeerRequest():
                self._received_request = header
                self._graceful = True
                self._stopped |= message.disconnect_cause == DisconnectCause.DO_NOT_WANT_TO_TALK_TO_YOU
                self._reason = f"peer disconnects, cause {message.disconnect_cause!r}"
                self._event(PeerEvent.I_RCV_DPR if side is Side.INITIATOR else PeerEvent.R_RCV_DPR, now)
            case DisconnectPeerAnswer():
                self._graceful = True
                self._reason = "disconnected"
                self._event(PeerEvent.I_RCV_DPA if side is Side.INITIATOR else PeerEvent.R_RCV_DPA, now)
            case CapabilitiesExchangeRequest():     # a peer that repeats itself: same answer again
                self._cer = packet
                self.answer(side, capabilities_answer(self.local, message, self._local_addresses[side]), header)
            case _:
                self._output.append(MessageDiscarded(f"{diameter.command_name(header)} in {self.state.value}", 0))

    def _undecodable(self, side: Side, error: DiameterError, now: float) -> None:
        self._output.append(MessageDiscarded(str(error), error.result_code))
        header = error.header
        if self.state not in (*_OPEN_STATES, PeerState.CLOSING) or header is None:
            self._fail_connection(side, now, f"during capabilities exchange: {error}")
        elif header.is_request:
            self.answer(side, diameter.error_answer(
                header, error.result_code, origin_host=self.local.origin_host, origin_realm=self.local.origin_realm, session_id=error.session_id,
                error_message=str(error), failed_avp=error.failed_avp), header)
        else:
            pending = self._pending.pop(header.hop_by_hop, None)
            if pending is not None:
                self._output.append(AnswerInvalid(pending.token, error))

    def _fail_connection(self, side: Side, now: float, reason: str) -> None:
        self._reason = reason
        if self.state in _OPEN_STATES:
            self._watchdog(WatchdogEvent.CONNECTION_DOWN, side, now)
        self._event(PeerEvent.TIMEOUT, now)

    def _watchdog(self, event: WatchdogEvent, side: Side, now: float) -> None:
        action = self.watchdog.event(event, now)
        if action is WatchdogAction.SEND_WATCHDOG:
            self._send_request(side, DeviceWatchdogRequest(
                origin_host=self.local.origin_host, origin_realm=self.local.origin_realm, origin_state_id=self.local.origin_state_id))
        elif action is WatchdogAction.FAILOVER and self.watchdog.state is WatchdogState.SUSPECT:
            self._note_usability()
            self._fail_over(is_lost=False)
        elif action is WatchdogAction.CLOSE_CONNECTION:
            self._fail_connection(side, now, "watchdog unanswered")
        if action is not WatchdogAction.NONE:
            self._note_usability()

    def _fail_over(self, *, is_lost: bool) -> None:
        tokens = []
        for pending in self._pending.values():
            if is_lost or not pending.failed_over:
                pending.failed_over = True
                tokens.append(pending.token)
        if is_lost:
            self._pending.clear()
            self._expiries.clear()
        if tokens:
            self._output.append(RequestsFailedOver(tuple(tokens), is_lost))

    def _lose_pending(self) -> None:
        """No connection is left to bring answers."""
        if self.state in _OPEN_STATES:
            return
        if self._graceful:
            self.watchdog.reset()
            self._graceful = False
        elif self.watchdog.state not in (WatchdogState.INITIAL, WatchdogState.DOWN):
            self.watchdog.event(WatchdogEvent.CONNECTION_DOWN, 0.0)
        self._fail_over(is_lost=True)

    # capabilities exchange

    def _capabilities_request(self) -> CapabilitiesExchangeRequest:
        auth, specific, vendors = _advertised(self.local)
        return CapabilitiesExchangeRequest(
            origin_host=self.local.origin_host, origin_realm=self.local.origin_realm,
            host_ip_address=(self._local_addresses[Side.INITIATOR],), vendor_id=self.local.vendor_id, product_name=self.local.product_name,
            origin_state_id=self.local.origin_state_id, supported_vendor_id=vendors, auth_application_id=auth, inband_security_id=(0,),
            vendor_specific_application_id=specific, firmware_revision=1)

    def _process_cer(self) -> None:
        assert self._cer is not None
        assert isinstance(self._cer.message, CapabilitiesExchangeRequest)
        self._learn(self._cer.message)

    def _send_cea(self, now: float) -> None:
        assert self._cer is not None
        assert isinstance(self._cer.message, CapabilitiesExchangeRequest)
        answer = capabilities_answer(self.local, self._cer.message, self._local_addresses[Side.RESPONDER])
        self.answer(Side.RESPONDER, answer, self._cer.header)
        self._watchdog(WatchdogEvent.CONNECTION_UP, Side.RESPONDER, now)

    def _process_cea(self, now: float) -> None:
        assert self._cea is not None
        cea = self._cea
        self._learn(cea)
        if not cea.is_success or not self.applications:
            self._reason = f"capabilities refused: {cea.result_code!r} {cea.error_message or ''}".rstrip()
            self._event(PeerEvent.TIMEOUT, now)
            return
        if self.host and cea.origin_host.lower() != self.host.lower():
            self._reason = f"{cea.origin_host} answers in place of {self.host}"
            self._event(PeerEvent.TIMEOUT, now)
            return
        self.host = cea.origin_host
        self._watchdog(WatchdogEvent.CONNECTION_UP, Side.INITIATOR, now)

    def _learn(self, message: CapabilitiesExchangeRequest | CapabilitiesExchangeAnswer) -> None:
        remote = negotiated_applications(message)
        self.realm = message.origin_realm
        self.product_name = message.product_name
        self.applications = common_applications(self.local, remote)
        self.is_relay = RELAY_APPLICATION in remote

    # sending

    def _send_request(self, side: Side, message: Request) -> None:
        octets = diameter.encode(message, hop_by_hop=self._next_hop_by_hop(), end_to_end=self._end_to_end())
        self._output.append(Send(side, octets, message))

    def _send_dpr(self, side: Side) -> None:
        self._graceful = True
        self._reason = "disconnected"
        self._send_request(side, DisconnectPeerRequest(
            origin_host=self.local.origin_host, origin_realm=self.local.origin_realm, disconnect_cause=self._disconnect_cause))

    def _send_dpa(self, side: Side) -> None:
        assert self._received_request is not None
        answer = DisconnectPeerAnswer(
            result_code=ResultCode.DIAMETER_SUCCESS, origin_host=self.local.origin_host, origin_realm=self.local.origin_realm)
        self.answer(side, answer, self._received_request)

    def _next_hop_by_hop(self) -> int:
        self._hop_by_hop = self._hop_by_hop + 1 & 0xFFFFFFFF
        return self._hop_by_hop

    def _disconnect(self, side: Side) -> None:
        if side in self._local_addresses:
            self._output.append(Close(side, self._reason))
        self._forget_connection(side)

    def _forget_connection(self, side: Side) -> None:
        self._local_addresses.pop(side, None)

    def _note_usability(self) -> None:
        usable = self.is_usable
        if usable != self._was_usable:
            self._was_usable = usable
            self._output.append(StateChanged(self.state, self.watchdog.state, usable))


def _is_between_peers(octets: bytes) -> bool:
    """CER, DWR, DPR and their answers: no agent passes them on."""
    return octets[8:12] == b"\0\0\0\0" and int.from_bytes(octets[5:8], "big") in _PEER_COMMANDS


def _advertised(local: LocalIdentity) -> tuple[tuple[int, ...], tuple[VendorSpecificApplicationId, ...], tuple[int, ...]]:
    """Auth-Application-Id, Vendor-Specific-Application-Id and Supported-Vendor-Id for the applications of ``local``."""
    plain = tuple(a for a in local.applications if a < _VENDOR_APPLICATIONS_FROM or a == RELAY_APPLICATION)
    specific = tuple(VendorSpecificApplicationId(vendor_id=VENDOR_3GPP, auth_application_id=a) for a in local.applications if a not in plain)
    return plain, specific, (VENDOR_3GPP,) if specific else ()


def capabilities_answer(local: LocalIdentity, cer: CapabilitiesExchangeRequest, local_address: IPAddress) -> CapabilitiesExchangeAnswer:
    """The CEA for ``cer``: success, or 5010 when nothing is in common (RFC 6733 clause 5.3)."""
    auth, specific, vendors = _advertised(local)
    common = common_applications(local, negotiated_applications(cer))
    return CapabilitiesExchangeAnswer(
        result_code=ResultCode.DIAMETER_SUCCESS if common else ResultCode.DIAMETER_NO_COMMON_APPLICATION,
        origin_host=local.origin_host, origin_realm=local.origin_realm, host_ip_address=(local_address,), vendor_id=local.vendor_id,
        product_name=local.product_name, origin_state_id=local.origin_state_id, supported_vendor_id=vendors, auth_application_id=auth,
        vendor_specific_application_id=specific, firmware_revision=1)
