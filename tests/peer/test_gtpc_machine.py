"""GTP-C machines joined by a function that loses, doubles and delays: reliable delivery, restarts, paths, and what is malformed."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epc.peer.exchange import ReplyMissing, ReplyReceived, ReplyUnreadable
from epc.peer.gtpc import (
    Event,
    GtpcMachine,
    GtpcTimers,
    PathFailed,
    PathRestored,
    PeerRestarted,
    RequestReceived,
)
from epc.peer.timer import Timer
from epc.wire.gtpv2 import (
    Ambr,
    BearerContextModifyCommanded,
    BearerContextUpdateAnswered,
    BearerContextUpdateRequested,
    Cause,
    CauseValue,
    CreateSessionResponse,
    DeleteSessionRequest,
    DeleteSessionResponse,
    DownlinkDataNotificationFailureIndication,
    EchoRequest,
    Fteid,
    GtpSyntaxError,
    InterfaceType,
    MessageType,
    ModifyBearerCommand,
    ModifyBearerFailureIndication,
    ReleaseAccessBearersRequest,
    UpdateBearerRequest,
    UpdateBearerResponse,
    VersionNotSupported,
    decode,
    encode,
)

MME, SGW = ("10.0.0.1", 2123), ("10.0.0.2", 2123)
ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
REQUEST = DeleteSessionRequest(linked_ebi=5)
RESPONSE = DeleteSessionResponse(cause=ACCEPTED)
T3 = Timer("T3-RESPONSE", 3.0, 2)


class Counts:
    def __init__(self) -> None:
        self.sent_types: list[int] = []
        self.received_types: list[int] = []
        self.retransmitted_types: list[int] = []
        self.duplicate_types: list[int] = []
        self.reasons: list[str] = []

    def sent(self, message_type: int) -> None:
        self.sent_types.append(message_type)

    def received(self, message_type: int) -> None:
        self.received_types.append(message_type)

    def retransmitted(self, message_type: int) -> None:
        self.retransmitted_types.append(message_type)

    def duplicate(self, message_type: int) -> None:
        self.duplicate_types.append(message_type)

    def discarded(self, reason: str) -> None:
        self.reasons.append(reason)


class Pair:
    """An MME's and an SGW's machine, and the wire between them. ``wire`` says how many copies of the n-th datagram arrive."""

    def __init__(self, wire: Callable[[int], int] = lambda number: 1, timers: GtpcTimers | None = None) -> None:
        self.mme_counts, self.sgw_counts = Counts(), Counts()
        self.mme = GtpcMachine(restart_counter=1, timers=timers, observer=self.mme_counts)
        self.sgw = GtpcMachine(restart_counter=2, timers=timers, observer=self.sgw_counts)
        self.now = 0.0
        self.wire = wire
        self.datagrams = 0
        self.mme_events: list[Event] = []
        self.sgw_events: list[Event] = []
        self.answer: Callable[[RequestReceived], object] | None = lambda request: self.sgw.respond(request, RESPONSE, teid=0x1001)

    def exchange(self) -> None:
        """Deliver until both are silent."""
        moving = True
        while moving:
            moving = False
            for source, address, target, events in ((self.mme, MME, self.sgw, self.sgw_events), (self.sgw, SGW, self.mme, self.mme_events)):
                for data, _ in source.datagrams():
                    moving = True
                    self.datagrams += 1
                    for _ in range(self.wire(self.datagrams)):
                        target.receive(data, address, self.now)
                for event in target.events():
                    events.append(event)
                    if target is self.sgw and isinstance(event, RequestReceived) and self.answer is not None:
                        self.answer(event)

    def run(self, until: float) -> None:
        """Let time pass from alarm to alarm."""
        self.exchange()
        while True:
            alarms = [alarm for alarm in (self.mme.next_timeout(), self.sgw.next_timeout()) if alarm is not None and alarm <= until]
            if not alarms:
                break
            self.now = max(self.now, min(alarms))
            self.mme.timer(self.now)
            self.sgw.timer(self.now)
            for event in self.mme.events():
                self.mme_events.append(event)
            for event in self.sgw.events():
                self.sgw_events.append(event)
            self.exchange()
        self.now = until

    def of(self, events: list[Event], kind: type[Any]) -> list[Any]:
        return [event for event in events if isinstance(event, kind)]


def test_request_is_answered() -> None:
    pair = Pair()
    key = pair.mme.request(SGW, REQUEST, teid=0x2001, now=0.0)
    pair.run(60.0)
    [reply] = pair.of(pair.mme_events, ReplyReceived)
    assert reply.transaction == key
    assert (reply.packet.message, reply.packet.teid) == (RESPONSE, 0x1001)
    assert pair.mme.outstanding == 0
    assert pair.mme.next_timeout() is None
    assert pair.sgw.next_timeout() is None
    assert pair.mme_counts.retransmitted_types == []


def test_lost_request_is_repeated_after_t3_and_the_node_sees_it_once() -> None:
    pair = Pair(wire=lambda number: 0 if number == 1 else 1)
    pair.mme.request(SGW, REQUEST, teid=0x2001, now=0.0)
    pair.run(2.9)
    assert pair.sgw_events == []
    pair.run(3.0)
    assert len(pair.of(pair.sgw_events, RequestReceived)) == 1
    assert len(pair.of(pair.mme_events, ReplyReceived)) == 1
    assert pair.mme_counts.retransmitted_types == [MessageType.DELETE_SESSION_REQUEST]


def test_lost_response_is_sent_again_from_the_cache() -> None:
    pair = Pair(wire=lambda number: 0 if number == 2 else 1)
    pair.mme.request(SGW, REQUEST, teid=0x2001, now=0.0)
    pair.run(10.0)
    assert len(pair.of(pair.sgw_events, RequestReceived)) == 1
    assert len(pair.of(pair.mme_events, ReplyReceived)) == 1
    assert pair.sgw_counts.duplicate_types == [MessageType.DELETE_SESSION_REQUEST]


def test_repeated_request_is_silent_while_the_node_is_at_it() -> None:
    pair = Pair()
    pair.answer = None
    pair.mme.request(SGW, REQUEST, teid=0x2001, now=0.0)
    pair.run(3.5)
    [request] = pair.of(pair.sgw_events, RequestReceived)
    assert pair.sgw.unanswered == 1
    pair.sgw.respond(request, RESPONSE, teid=0x1001)
    pair.run(4.0)
    assert len(pair.of(pair.mme_events, ReplyReceived)) == 1
    assert pair.sgw.unanswered == 0


def test_silent_peer_ends_the_request_after_n3_transmissions() -> None:
    pair = Pair(wire=lambda number: 0)
    key = pair.mme.request(SGW, REQUEST, teid=0x2001, now=0.0, timer=T3)
    pair.run(8.9)
    assert pair.mme_events == []
    pair.run(9.0)
    assert pair.mme_events == [ReplyMissing(transaction=key, timer=T3)]
    assert pair.datagrams == 3
    assert pair.mme.outstanding == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=8))
def test_every_request_reaches_the_node_once_and_ends_once(copies: list[int]) -> None:
    """Whatever is lost or doubled: each request is seen at most once, and ends in exactly one of answer or silence."""
    pair = Pair(wire=lambda number: copies[number - 1] if number <= len(copies) else 1)
    keys = [pair.mme.request(SGW, DeleteSessionRequest(linked_ebi=ebi), teid=0x2001, now=0.0) for ebi in (5, 6)]
    pair.run(100.0)
    seen = [event.message.linked_ebi for event in pair.of(pair.sgw_events, RequestReceived)]
    assert sorted(set(seen)) == sorted(seen)
    ended = [event.transaction for event in pair.mme_events if isinstance(event, ReplyReceived | ReplyMissing)]
    assert sorted(ended) == sorted(keys)
    assert pair.mme.outstanding == pair.sgw.outstanding == pair.sgw.unanswered == 0
    assert pair.mme.next_timeout() is None
    assert pair.sgw.next_timeout() is None


def test_answers_are_forgotten_after_a_while() -> None:
    pair = Pair(timers=GtpcTimers(duplicates_s=10.0))
    data = encode(REQUEST, teid=0x2001, sequence=77)
    pair.sgw.receive(data, MME, 0.0)
    pair.exchange()
    pair.sgw.receive(data, MME, 9.0)
    assert len(pair.sgw.datagrams()) == 1
    pair.sgw.receive(data, MME, 10.5)
    assert len(list(pair.sgw.events())) == 1


def test_answer_cache_is_bounded() -> None:
    machine = GtpcMachine(restart_counter=0, max_cached_answers=100)
    for sequence in range(1000):
        machine.receive(encode(REQUEST, teid=1, sequence=sequence), MME, 0.0)
    assert len(list(machine.events())) == 1000
    assert machine.unanswered == 100


def test_same_sequence_number_from_another_port_is_another_request() -> None:
    machine = GtpcMachine(restart_counter=0)
    data = encode(REQUEST, teid=1, sequence=1)
    machine.receive(data, ("10.0.0.1", 2123), 0.0)
    machine.receive(data, ("10.0.0.1", 40000), 0.0)
    assert len(list(machine.events())) == 2


def test_response_that_nobody_waits_for_is_discarded() -> None:
    pair = Pair()
    for late in (encode(RESPONSE, teid=1, sequence=99), encode(ModifyBearerFailureIndication(cause=ACCEPTED), teid=1, sequence=99)):
        pair.mme.receive(late, SGW, 0.0)
    assert list(pair.mme.events()) == []
    assert pair.mme_counts.reasons == ["unexpected", "unexpected"]


def test_response_from_another_host_or_of_another_type_does_not_answer() -> None:
    machine = GtpcMachine(restart_counter=0)
    key = machine.request(SGW, REQUEST, teid=1, now=0.0)
    machine.receive(encode(RESPONSE, teid=1, sequence=key.sequence), ("10.9.9.9", 2123), 0.0)
    machine.receive(encode(CreateSessionResponse(cause=Cause(value=72)), teid=1, sequence=key.sequence), SGW, 0.0)
    assert list(machine.events()) == []
    assert machine.outstanding == 1


def test_sequence_numbers_wrap_within_23_bits() -> None:
    machine = GtpcMachine(restart_counter=0, first_sequence=0x7FFFFE)
    sequences = [machine.request(SGW, REQUEST, teid=1, now=0.0).sequence for _ in range(3)]
    assert sequences == [0x7FFFFF, 0, 1]


# --- commands -----------------------------------------------------------------------------------------------------------------


def _command(pair: Pair) -> RequestReceived:
    command = ModifyBearerCommand(ambr=Ambr(uplink_kbps=1, downlink_kbps=2), bearer_context=BearerContextModifyCommanded(ebi=5))
    key = pair.mme.request(SGW, command, teid=0x2001, now=pair.now)
    assert key.sequence & 0x800000
    pair.answer = None
    pair.exchange()
    [received] = pair.of(pair.sgw_events, RequestReceived)
    assert isinstance(received, RequestReceived)
    return received


def test_command_is_answered_by_the_request_that_it_triggers() -> None:
    pair = Pair()
    received = _command(pair)
    update = UpdateBearerRequest(bearer_contexts=(BearerContextUpdateRequested(ebi=5),), ambr=Ambr(uplink_kbps=1, downlink_kbps=2))
    pair.sgw.request(MME, update, teid=0x1001, now=0.0, command=received)
    pair.exchange()
    [reply] = pair.of(pair.mme_events, ReplyReceived)
    [request] = pair.of(pair.mme_events, RequestReceived)
    assert reply.packet.message == request.message == update
    assert request.sequence == received.sequence
    updated = BearerContextUpdateAnswered(ebi=5, cause=ACCEPTED)
    pair.mme.respond(request, UpdateBearerResponse(cause=ACCEPTED, bearer_contexts=(updated,)), teid=0x2001)
    pair.exchange()
    assert len(pair.of(pair.sgw_events, ReplyReceived)) == 1
    assert pair.mme.outstanding == pair.sgw.outstanding == 0


def test_repeated_command_gets_the_triggered_request_again() -> None:
    pair = Pair()
    received = _command(pair)
    pair.sgw.request(MME, UpdateBearerRequest(bearer_contexts=(), ambr=Ambr(uplink_kbps=1, downlink_kbps=2)), teid=0x1001, now=0.0, command=received)
    [(triggered, _)] = pair.sgw.datagrams()
    pair.sgw.receive(encode(received.message, teid=0x2001, sequence=received.sequence), MME, 1.0)
    assert pair.sgw.datagrams() == [(triggered, MME)]


def test_command_can_fail() -> None:
    pair = Pair()
    received = _command(pair)
    pair.sgw.respond(received, ModifyBearerFailureIndication(cause=Cause(value=CauseValue.SERVICE_DENIED)), teid=0x1001)
    pair.exchange()
    [reply] = pair.of(pair.mme_events, ReplyReceived)
    assert isinstance(reply.packet.message, ModifyBearerFailureIndication)


def test_notification_is_sent_once_and_wants_no_answer() -> None:
    pair = Pair()
    pair.answer = None
    pair.mme.notify(SGW, DownlinkDataNotificationFailureIndication(cause=Cause(value=CauseValue.UE_NOT_RESPONDING)), teid=0x2001)
    pair.exchange()
    assert len(pair.of(pair.sgw_events, RequestReceived)) == 1
    assert pair.mme.next_timeout() is None


@pytest.mark.parametrize(("known_for_s", "restarts"), [(5.0, 0), (31.0, 1)])
def test_a_smaller_restart_counter_is_an_older_message_only_as_long_as_messages_live(known_for_s: float, restarts: int) -> None:
    """A node that remembers nothing takes its counter from the clock, which may go on anywhere in the 256."""
    machine = GtpcMachine(restart_counter=0)
    for at, counter in ((0.0, 200), (known_for_s, 100)):        # 100 before it, or 156 after
        machine.receive(encode(EchoRequest(recovery=counter), teid=None, sequence=int(at) + 1), SGW, at)
    found = [event for event in machine.events() if isinstance(event, PeerRestarted)]
    assert len(found) == restarts


# --- paths and restarts -------------------------------------------------------------------------------------------------------


def test_echo_request_is_answered_with_the_restart_counter() -> None:
    pair = Pair()
    pair.sgw.receive(encode(EchoRequest(recovery=1), teid=None, sequence=5), MME, 0.0)
    [(data, peer)] = pair.sgw.datagrams()
    assert (data.hex(" "), peer) == ("40 02 00 09 00 00 05 00 03 00 01 00 02", MME)
    assert list(pair.sgw.events()) == []


def test_watched_path_gets_echo_requests_until_unwatched() -> None:
    pair = Pair(timers=GtpcTimers(echo_interval_s=60.0))
    pair.mme.watch(SGW, 0.0)
    pair.mme.watch(SGW, 0.0)
    pair.run(130.0)
    assert pair.mme_counts.sent_types == [MessageType.ECHO_REQUEST] * 2
    pair.mme.unwatch(SGW[0])
    assert pair.mme.describe_paths() == [{"peer": SGW[0], "up": True, "sessions": 1, "restart_counter": 2}]
    pair.mme.unwatch(SGW[0])
    pair.run(400.0)
    assert pair.mme_counts.sent_types == [MessageType.ECHO_REQUEST] * 2
    assert pair.mme.next_timeout() is None


def test_path_fails_and_comes_back() -> None:
    silent = True
    pair = Pair(wire=lambda number: 0 if silent else 1, timers=GtpcTimers(echo_interval_s=60.0, echo_response=T3))
    pair.mme.watch(SGW, 0.0)
    pair.run(68.9)
    assert pair.mme_events == []
    pair.run(200.0)
    assert pair.mme_events == [PathFailed(host=SGW[0])]
    silent = False
    pair.run(300.0)
    assert pair.mme_events == [PathFailed(host=SGW[0]), PathRestored(host=SGW[0])]


@pytest.mark.parametrize(("before", "after"), [(7, 8), (255, 0), (250, 3)])
def test_grown_restart_counter_means_that_the_peer_restarted(before: int, after: int) -> None:
    pair = Pair()
    pair.mme.receive(encode(EchoRequest(recovery=before), teid=None, sequence=1), SGW, 0.0)
    pair.mme.receive(encode(EchoRequest(recovery=after), teid=None, sequence=2), SGW, 1.0)
    assert list(pair.mme.events()) == [PeerRestarted(host=SGW[0], previous=before, current=after)]


def test_smaller_restart_counter_is_a_late_message() -> None:
    pair = Pair()
    for sequence, recovery in enumerate((8, 7, 8)):
        pair.mme.receive(encode(EchoRequest(recovery=recovery), teid=None, sequence=sequence), SGW, 0.0)
    assert list(pair.mme.events()) == []


def test_restart_is_told_before_the_message_that_reveals_it() -> None:
    pair = Pair()
    pair.mme.receive(encode(EchoRequest(recovery=1), teid=None, sequence=1), SGW, 0.0)
    key = pair.mme.request(SGW, REQUEST, teid=1, now=0.0)
    pair.mme.receive(encode(DeleteSessionResponse(cause=ACCEPTED, recovery=2), teid=1, sequence=key.sequence), SGW, 0.0)
    assert [type(event) for event in pair.mme.events()] == [PeerRestarted, ReplyReceived]


# --- what is malformed, TS 29.274 clause 7.7 ------------------------------------------------------------------------------------


def test_malformed_request_is_answered_with_its_cause() -> None:
    pair = Pair()
    sender = Fteid(interface_type=InterfaceType.S11_MME_GTP_C, teid=0xABCD, ipv4=IPv4Address("10.0.0.1"))
    broken = bytearray(encode(DeleteSessionRequest(sender_fteid=sender), teid=0x2001, sequence=9) + bytes.fromhex("49000000"))
    broken[2:4] = (len(broken) - 4).to_bytes(2, "big")
    pair.sgw.receive(bytes(broken), MME, 0.0)
    [(data, peer)] = pair.sgw.datagrams()
    packet = decode(data)
    assert isinstance(packet.message, DeleteSessionResponse)
    assert (packet.message.cause.value, packet.message.cause.offending_ie) == (CauseValue.INVALID_LENGTH, (73, 0))
    assert (packet.teid, packet.sequence, peer) == (0xABCD, 9, MME)
    assert list(pair.sgw.events()) == []
    assert pair.sgw_counts.reasons == ["syntax"]


def test_malformed_request_of_a_session_is_answered_to_the_sessions_teid() -> None:
    machine = GtpcMachine(restart_counter=0, remote_teid={0x2001: 0x1001}.get)
    broken = bytearray(encode(ReleaseAccessBearersRequest(), teid=0x2001, sequence=9) + bytes.fromhex("49000000"))
    broken[2:4] = (len(broken) - 4).to_bytes(2, "big")
    machine.receive(bytes(broken), MME, 0.0)
    [(data, _)] = machine.datagrams()
    assert decode(data).teid == 0x1001


def test_malformed_response_ends_the_request() -> None:
    machine = GtpcMachine(restart_counter=0)
    key = machine.request(SGW, REQUEST, teid=1, now=0.0)
    machine.receive(bytes.fromhex("48250008 00000001") + key.sequence.to_bytes(3, "big") + b"\0", SGW, 0.0)
    [event] = machine.events()
    assert isinstance(event, ReplyUnreadable)
    assert isinstance(event.error, GtpSyntaxError)
    assert machine.outstanding == 0
    assert machine.datagrams()[1:] == []


def test_other_version_is_answered_and_never_in_a_loop() -> None:
    pair = Pair()
    pair.sgw.receive(bytes.fromhex("3201000400000000 1234 0000"), MME, 0.0)
    [(indication, _)] = pair.sgw.datagrams()
    assert indication.hex(" ") == "40 03 00 04 00 12 34 00"
    pair.sgw.receive(bytes.fromhex("3203000400000000 1234 0000"), MME, 0.0)
    assert pair.sgw.datagrams() == []


def test_peer_without_version_2_ends_the_request() -> None:
    machine = GtpcMachine(restart_counter=0)
    key = machine.request(SGW, REQUEST, teid=1, now=0.0)
    machine.receive(bytes.fromhex("40030004") + key.sequence.to_bytes(3, "big") + b"\0", SGW, 0.0)
    [event] = machine.events()
    assert isinstance(event, ReplyUnreadable)
    assert isinstance(event.error, VersionNotSupported)


def test_unknown_types_and_fragments_are_dropped_in_silence() -> None:
    pair = Pair()
    for data in (b"", b"\x48\x20", bytes.fromhex("48f0000800000001 00001500")):
        pair.sgw.receive(data, MME, 0.0)
    assert pair.sgw.datagrams() == []
    assert pair.sgw_counts.reasons == ["short", "short", "unknown_type"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x48\x20", b"\x48\x24", b"\x40\x01", b"\x40\x03", b"\x58\x21"]))
def test_no_datagram_makes_the_machine_raise(data: bytes, prefix: bytes) -> None:
    machine = GtpcMachine(restart_counter=0)
    machine.request(SGW, REQUEST, teid=1, now=0.0)
    machine.receive(prefix + data, SGW, 0.0)
    machine.timer(1e6)
