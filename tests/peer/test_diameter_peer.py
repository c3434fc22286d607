"""The Diameter peer machine alone: two of them joined by the test, time as a number."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from epc.peer import diameter as machine
from epc.peer.diameter import (
    TRANSITIONS,
    AnswerInvalid,
    AnswerReceived,
    Close,
    Connect,
    DiameterPeer,
    LocalIdentity,
    MessageDiscarded,
    MessageReader,
    PeerAction,
    PeerEvent,
    PeerOutput,
    PeerState,
    PeerTimers,
    PeerUnavailable,
    RequestExpired,
    RequestReceived,
    RequestsFailedOver,
    Send,
    Side,
    StateChanged,
)
from epc.peer.diameter_watchdog import Watchdog, WatchdogAction, WatchdogEvent, WatchdogState
from epc.wire import diameter
from epc.wire.diameter import GX_APPLICATION, RELAY_APPLICATION, S6A_APPLICATION, DiameterError, ResultCode, s6a
from epc.wire.diameter.base import CapabilitiesExchangeRequest, DeviceWatchdogRequest, DisconnectCause, DisconnectPeerRequest

HERE = ipaddress.IPv4Address("127.0.0.1")
TIMERS = PeerTimers(connect_s=5, watchdog_s=30, reconnect_s=10, disconnect_s=2)
PUR = s6a.PurgeUeRequest(session_id="s", origin_host="mme", origin_realm="lab", destination_realm="lab", user_name="1")
PUA = s6a.PurgeUeAnswer(session_id="s", origin_host="hss", origin_realm="lab", result_code=ResultCode.DIAMETER_SUCCESS)


def make(host: str, other: str, *, initiates: bool = True, applications: tuple[int, ...] = (S6A_APPLICATION,)) -> DiameterPeer:
    counter = itertools.count(100)
    return DiameterPeer(LocalIdentity(origin_host=host, origin_realm="lab", applications=applications), other, initiates=initiates, timers=TIMERS,
                        hop_by_hop=0xFFFFFFFE, end_to_end=lambda: next(counter), jitter=lambda: 0.0)


def sent(peer: DiameterPeer) -> list[str]:
    return [type(event.message).__name__ for event in peer.events() if isinstance(event, Send)]


class Pair:
    """An MME that connects to an HSS, and the wire between them."""

    def __init__(self, mme: DiameterPeer | None = None, hss: DiameterPeer | None = None) -> None:
        self.mme = mme or make("mme", "hss")
        self.hss = hss or make("hss", "mme", initiates=False)
        self.seen: dict[DiameterPeer, list[PeerOutput]] = {self.mme: [], self.hss: []}
        self.cut = False

    def connect(self, now: float = 0.0) -> None:
        if self.mme.state is PeerState.CLOSED:
            self.mme.start(now)
        assert any(isinstance(event, Connect) for event in self.mme.events())
        self.mme.connected(now, HERE)
        self.exchange(now)

    def exchange(self, now: float) -> None:
        """Carry everything to the other side until nobody has anything to say."""
        while outputs := [(peer, event) for peer in (self.mme, self.hss) for event in peer.events()]:
            for peer, event in outputs:
                self.seen[peer].append(event)
                other = self.hss if peer is self.mme else self.mme
                side = Side.RESPONDER if peer is self.mme else Side.INITIATOR
                if self.cut:
                    continue
                if isinstance(event, Send) and isinstance(event.message, CapabilitiesExchangeRequest):
                    assert other.offer(diameter.decode(event.octets), now, HERE)
                elif isinstance(event, Send):
                    other.receive(side, event.octets, now)
                elif isinstance(event, Close):
                    other.lost(side, now)

    def request(self, token: object, now: float, tx_s: float = 5.0) -> None:
        self.mme.request(PUR, end_to_end=1, token=token, now=now, tx_s=tx_s)


def of(events: list[PeerOutput], kind: type[PeerOutput]) -> list[PeerOutput]:
    return [event for event in events if isinstance(event, kind)]


# --- RFC 6733 clause 5.6 ----------------------------------------------------------------------------------------------


def test_every_state_can_be_left_and_every_action_is_used() -> None:
    assert {state for state, _ in TRANSITIONS} == set(PeerState)
    assert {next_state for _, next_state in TRANSITIONS.values()} == set(PeerState)
    assert {event for _, event in TRANSITIONS} == set(PeerEvent)
    assert {action for actions, _ in TRANSITIONS.values() for action in actions} == set(PeerAction)
    assert all((state, PeerEvent.TIMEOUT) in TRANSITIONS for state in PeerState if state is not PeerState.CLOSED)


def test_capabilities_exchange_opens_both_sides() -> None:
    pair = Pair()
    pair.connect()
    assert (pair.mme.state, pair.hss.state) == (PeerState.I_OPEN, PeerState.R_OPEN)
    assert pair.mme.is_usable
    assert pair.hss.is_usable
    assert pair.mme.applications == frozenset({S6A_APPLICATION})
    assert (pair.mme.realm, pair.hss.realm) == ("lab", "lab")
    assert of(pair.seen[pair.mme], StateChanged) == [StateChanged(PeerState.I_OPEN, WatchdogState.OKAY, True)]


def test_relay_has_every_application_in_common() -> None:
    pair = Pair(hss=make("hss", "mme", initiates=False, applications=(RELAY_APPLICATION,)))
    pair.connect()
    assert pair.mme.is_relay
    assert pair.mme.applications == frozenset({S6A_APPLICATION})
    assert pair.hss.applications == frozenset({S6A_APPLICATION})


def test_no_common_application_closes_after_the_cea() -> None:
    mme = make("mme", "hss")
    mme.start(0)
    mme.connected(0, HERE)
    [_, cer] = mme.events()
    assert isinstance(cer, Send)
    request = diameter.decode(cer.octets)
    assert isinstance(request.message, CapabilitiesExchangeRequest)
    other = LocalIdentity(origin_host="hss", origin_realm="lab", applications=(GX_APPLICATION,))
    cea = machine.capabilities_answer(other, request.message, HERE)
    assert cea.result_code == ResultCode.DIAMETER_NO_COMMON_APPLICATION
    mme.receive(Side.INITIATOR, diameter.encode(cea, hop_by_hop=request.header.hop_by_hop, end_to_end=request.header.end_to_end), 0)
    assert of(mme.events(), Close)
    assert mme.state is PeerState.CLOSED
    assert mme.timer() == 10            # Tc


@pytest.mark.parametrize(("host", "state"), [("hss", PeerState.I_OPEN), ("HSS", PeerState.I_OPEN), ("other", PeerState.CLOSED)])
def test_cea_must_come_from_the_configured_identity(host: str, state: PeerState) -> None:
    mme = make("mme", "hss")
    mme.start(0)
    mme.connected(0, HERE)
    [_, cer] = mme.events()
    assert isinstance(cer, Send)
    request = diameter.decode(cer.octets).message
    assert isinstance(request, CapabilitiesExchangeRequest)
    cea = machine.capabilities_answer(LocalIdentity(origin_host=host, origin_realm="lab", applications=(S6A_APPLICATION,)), request, HERE)
    mme.receive(Side.INITIATOR, diameter.encode(cea, hop_by_hop=1, end_to_end=1), 0)
    assert mme.state is state


def test_refused_connection_is_tried_again_after_tc() -> None:
    mme = make("mme", "hss")
    mme.start(0)
    assert of(mme.events(), Connect)
    mme.connect_failed(1)
    assert mme.state is PeerState.CLOSED
    assert mme.timer() == 11
    mme.timeout(10.9)
    assert not mme.events()
    mme.timeout(11)
    assert of(mme.events(), Connect)


def test_silence_instead_of_a_cea_times_out() -> None:
    mme = make("mme", "hss")
    mme.start(0)
    mme.connected(3, HERE)
    mme.events()
    assert mme.timer() == 5
    mme.timeout(5)
    assert of(mme.events(), Close)
    assert mme.state is PeerState.CLOSED


def test_anything_but_a_cea_closes() -> None:
    mme = make("mme", "hss")
    mme.start(0)
    mme.connected(0, HERE)
    mme.events()
    mme.receive(Side.INITIATOR, diameter.encode(PUA, hop_by_hop=1, end_to_end=1), 0)
    assert mme.state is PeerState.CLOSED


@pytest.mark.parametrize(("ours", "theirs", "state"), [("z", "a", PeerState.R_OPEN), ("a", "z", PeerState.I_OPEN)])
def test_election(ours: str, theirs: str, state: PeerState) -> None:
    """RFC 6733 clause 5.6.4: the greater Origin-Host keeps the connection that it accepted."""
    us, them = make(ours, theirs), make(theirs, ours)
    for peer in (us, them):
        peer.start(0)
        peer.events()
        peer.connected(0, HERE)
    cer = {peer: event for peer in (us, them) for event in peer.events() if isinstance(event, Send)}
    assert us.offer(diameter.decode(cer[them].octets), 0, HERE)
    assert them.offer(diameter.decode(cer[us].octets), 0, HERE)
    queue = [(peer, event) for peer in (us, them) for event in peer.events()]
    while queue:
        peer, event = queue.pop(0)
        other = them if peer is us else us
        # what one sends as initiator the other gets as responder
        side = Side.RESPONDER if getattr(event, "side", None) is Side.INITIATOR else Side.INITIATOR
        if isinstance(event, Send):
            other.receive(side, event.octets, 0)
        elif isinstance(event, Close):
            other.lost(side, 0)
        queue += [(other, more) for more in other.events()]
    assert us.state is state
    assert {us.state, them.state} == {PeerState.I_OPEN, PeerState.R_OPEN}
    assert us.is_usable
    assert them.is_usable


def test_second_connection_of_an_open_peer_is_rejected() -> None:
    pair = Pair()
    pair.connect()
    cer = CapabilitiesExchangeRequest(origin_host="mme", origin_realm="lab", host_ip_address=(HERE,), vendor_id=0, product_name="x",
                                      auth_application_id=(S6A_APPLICATION,))
    packet = diameter.decode(diameter.encode(cer, hop_by_hop=1, end_to_end=1))
    assert not pair.hss.offer(packet, 1, HERE)
    assert pair.hss.state is PeerState.R_OPEN


def test_disconnection_is_graceful_and_the_next_connection_trusted_at_once() -> None:
    pair = Pair()
    pair.connect()
    pair.hss.stop(5, DisconnectCause.REBOOTING)
    pair.exchange(5)
    assert (pair.mme.state, pair.hss.state) == (PeerState.CLOSED, PeerState.CLOSED)
    assert pair.mme.watchdog.state is WatchdogState.INITIAL
    assert pair.mme.timer() == 15       # Tc
    pair.hss = make("hss", "mme", initiates=False)
    pair.seen[pair.hss] = []
    pair.mme.timeout(15)
    pair.connect(15)
    assert pair.mme.is_usable


def test_peer_that_does_not_want_to_talk_is_not_called_again() -> None:
    pair = Pair()
    pair.connect()
    pair.hss.stop(5, DisconnectCause.DO_NOT_WANT_TO_TALK_TO_YOU)
    pair.exchange(5)
    assert pair.mme.state is PeerState.CLOSED
    assert pair.mme.timer() is None


def test_unanswered_dpr_closes_after_a_while() -> None:
    pair = Pair()
    pair.connect()
    pair.cut = True
    pair.mme.stop(5)
    assert [type(event.message) for event in pair.mme.events() if isinstance(event, Send)] == [DisconnectPeerRequest]
    assert pair.mme.timer() == 7
    pair.mme.timeout(7)
    assert of(pair.mme.events(), Close)
    assert pair.mme.state is PeerState.CLOSED
    assert pair.mme.timer() is None


def test_stop_while_connecting() -> None:
    mme = make("mme", "hss")
    mme.start(0)
    mme.events()
    mme.stop(1)
    assert mme.state is PeerState.CLOSED
    assert mme.timer() is None
    mme.connected(2, HERE)
    assert mme.events() == [Close(Side.INITIATOR, "no longer wanted")]


# --- requests ---------------------------------------------------------------------------------------------------------


def test_request_and_answer_meet_by_hop_by_hop_identifier() -> None:
    pair = Pair()
    pair.connect()
    for token in "ab":
        pair.request(token, 1)
    pair.exchange(1)
    received = [event.packet for event in pair.seen[pair.hss] if isinstance(event, RequestReceived)]
    assert len({packet.header.hop_by_hop for packet in received}) == 2
    for packet in reversed(received):
        assert pair.hss.answer(Side.RESPONDER, PUA, packet.header) is not None
    pair.exchange(1)
    assert [event.token for event in pair.seen[pair.mme] if isinstance(event, AnswerReceived)] == ["b", "a"]
    assert pair.mme.pending_requests == 0


def test_tx_expires_and_the_late_answer_is_discarded() -> None:
    pair = Pair()
    pair.connect()
    pair.request("a", 1, tx_s=5)
    pair.exchange(1)
    assert pair.mme.timer() == 6
    pair.mme.timeout(6)
    assert pair.mme.events() == [RequestExpired("a")]
    [packet] = [event.packet for event in pair.seen[pair.hss] if isinstance(event, RequestReceived)]
    pair.hss.answer(Side.RESPONDER, PUA, packet.header)
    pair.exchange(7)
    assert of(pair.seen[pair.mme], MessageDiscarded)


def test_lost_connection_gives_the_requests_back() -> None:
    pair = Pair()
    pair.connect()
    pair.request("a", 1)
    pair.exchange(1)
    pair.mme.lost(Side.INITIATOR, 2)
    assert RequestsFailedOver(("a",), True) in pair.mme.events()
    with pytest.raises(PeerUnavailable):
        pair.request("b", 3)


def test_answer_that_cannot_be_read_fails_its_request() -> None:
    pair = Pair()
    pair.connect()
    pair.request("a", 1)
    [request] = [event for event in pair.mme.events() if isinstance(event, Send)]
    header = diameter.decode_header(request.octets)
    good = diameter.encode(PUA, hop_by_hop=header.hop_by_hop, end_to_end=header.end_to_end)
    bad = good[:20] + b"\xff" * (len(good) - 20)
    pair.mme.receive(Side.INITIATOR, bad, 1)
    [invalid] = of(pair.mme.events(), AnswerInvalid)
    assert isinstance(invalid, AnswerInvalid)
    assert invalid.token == "a"
    assert pair.mme.is_usable


def test_request_that_cannot_be_read_is_answered_by_the_machine() -> None:
    pair = Pair()
    pair.connect()
    octets = diameter.encode(PUR, hop_by_hop=9, end_to_end=9)
    pair.hss.receive(Side.RESPONDER, octets[:4] + b"\xe0" + octets[5:], 1)         # a request with the E bit
    [answer] = [diameter.decode(event.octets) for event in pair.hss.events() if isinstance(event, Send)]
    assert answer.message.result == ResultCode.DIAMETER_INVALID_HDR_BITS
    assert answer.header.hop_by_hop == 9
    assert pair.hss.is_usable


def test_lost_stream_closes_the_connection() -> None:
    pair = Pair()
    pair.connect()
    pair.hss.receive(Side.RESPONDER, b"\0" * 20, 1)
    assert of(pair.hss.events(), Close)
    assert pair.hss.state is PeerState.CLOSED


# --- RFC 3539 clause 3.4.1 --------------------------------------------------------------------------------------------


def test_idle_connection_is_watched() -> None:
    pair = Pair()
    pair.connect()
    assert pair.mme.timer() == 30
    pair.mme.timeout(30)
    pair.exchange(30)
    assert [type(event.message) for event in pair.seen[pair.mme] if isinstance(event, Send)][-1] is DeviceWatchdogRequest
    assert pair.mme.is_usable
    assert pair.mme.timer() == 60


def test_suspect_then_down() -> None:
    pair = Pair()
    pair.connect()
    pair.cut = True
    pair.request("a", 1, tx_s=1000)
    pair.exchange(1)
    pair.mme.timeout(30)                    # DWR
    pair.mme.timeout(60)                    # unanswered: fail over, but keep the connection
    assert pair.mme.watchdog.state is WatchdogState.SUSPECT
    events = pair.mme.events()
    assert RequestsFailedOver(("a",), False) in events
    assert StateChanged(PeerState.I_OPEN, WatchdogState.SUSPECT, False) in events
    with pytest.raises(PeerUnavailable):
        pair.request("b", 61)
    pair.mme.timeout(90)
    assert pair.mme.watchdog.state is WatchdogState.DOWN
    assert pair.mme.state is PeerState.CLOSED
    assert of(pair.mme.events(), Close)


def test_suspect_recovers_with_any_message() -> None:
    pair = Pair()
    pair.connect()
    pair.mme.timeout(30)
    pair.mme.timeout(60)
    assert not pair.mme.is_usable
    pair.mme.events()
    pair.mme.receive(Side.INITIATOR, diameter.encode(DeviceWatchdogRequest(origin_host="hss", origin_realm="lab"), hop_by_hop=5, end_to_end=5), 61)
    assert pair.mme.is_usable
    assert sent(pair.mme) == ["DeviceWatchdogAnswer"]


def test_reconnection_after_a_failure_is_trusted_after_three_watchdogs() -> None:
    pair = Pair()
    pair.connect()
    pair.mme.lost(Side.INITIATOR, 5)
    pair.hss.lost(Side.RESPONDER, 5)
    pair.exchange(5)
    assert pair.mme.watchdog.state is WatchdogState.DOWN
    pair.mme.timeout(15)
    pair.seen[pair.mme].clear()
    pair.connect(15)
    assert pair.mme.is_usable
    assert [type(event.message).__name__ for event in pair.seen[pair.mme] if isinstance(event, Send)].count("DeviceWatchdogRequest") == 3


def test_reopened_connection_that_stays_silent_is_closed() -> None:
    watchdog = Watchdog(10, lambda: 0.0)
    watchdog.state = WatchdogState.DOWN
    assert watchdog.event(WatchdogEvent.CONNECTION_UP, 0) is WatchdogAction.SEND_WATCHDOG
    assert watchdog.state is WatchdogState.REOPEN
    assert watchdog.event(WatchdogEvent.RECEIVE_NON_DWA, 1) is WatchdogAction.NONE
    assert watchdog.state is WatchdogState.REOPEN
    assert watchdog.event(WatchdogEvent.TIMER_EXPIRES, 11) is WatchdogAction.CLOSE_CONNECTION


def test_jitter_moves_the_watchdog() -> None:
    watchdog = Watchdog(10, lambda: -2.0)
    watchdog.event(WatchdogEvent.CONNECTION_UP, 100)
    assert watchdog.deadline == 108


# --- the stream -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_stream_is_cut_into_messages(size: int) -> None:
    messages = [diameter.encode(PUR, hop_by_hop=number, end_to_end=number) for number in range(5)]
    stream = b"".join(messages)
    reader = MessageReader()
    found = [message for at in range(0, len(stream), size) for message in reader.feed(stream[at:at + size])]
    assert found == messages
    assert reader.remainder == b""


@pytest.mark.parametrize("octets", [b"\2\0\0\x14", b"\1\0\0\x10", b"\1\0\0\x15", b"\1\xff\xff\xfc"])
def test_stream_where_no_message_can_begin(octets: bytes) -> None:
    with pytest.raises(DiameterError):
        MessageReader().feed(octets)
