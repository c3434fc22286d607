"""PFCP machines joined by a function that loses, doubles and delays: reliable delivery, associations, heartbeats, and what is malformed."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epc.peer.exchange import ReplyMissing, ReplyReceived, ReplyUnreadable
from epc.peer.pfcp import (
    PFCP_PORT,
    AssociationEstablished,
    AssociationLost,
    Event,
    LocalEntity,
    LossReason,
    PathFailed,
    PathRestored,
    PfcpMachine,
    PfcpTimers,
    RequestReceived,
)
from epc.peer.timer import Timer
from epc.wire.pfcp import (
    ApplyAction,
    AssociationReleaseRequestFlags,
    AssociationSetupResponse,
    AssociationUpdateRequest,
    AssociationUpdateResponse,
    CauseValue,
    CreateFar,
    CreatePdr,
    Fseid,
    HeartbeatRequest,
    HeartbeatResponse,
    Pdi,
    PfcpSyntaxError,
    SessionDeletionRequest,
    SessionDeletionResponse,
    SessionEstablishmentRequest,
    SessionEstablishmentResponse,
    SourceInterface,
    UpFunctionFeatures,
    VersionNotSupported,
    decode,
    encode,
)

CP, UP = ("10.0.0.2", PFCP_PORT), ("10.0.0.4", PFCP_PORT)
REQUEST = SessionDeletionRequest()
RESPONSE = SessionDeletionResponse(cause=CauseValue.REQUEST_ACCEPTED)
T1 = Timer("T1", 3.0, 2)
ESTABLISHMENT = SessionEstablishmentRequest(
    node_id=IPv4Address(CP[0]), cp_fseid=Fseid(seid=0x1001, ipv4=IPv4Address(CP[0])),
    create_pdrs=(CreatePdr(pdr_id=1, precedence=1, pdi=Pdi(source_interface=SourceInterface.CORE), far_id=1),),
    create_fars=(CreateFar(far_id=1, apply_action=ApplyAction.DROP),),
)


class Counts:
    def __init__(self) -> None:
        self.retransmitted_types: list[int] = []
        self.duplicate_types: list[int] = []
        self.reasons: list[str] = []

    def sent(self, message_type: int) -> None:
        pass

    def received(self, message_type: int) -> None:
        pass

    def retransmitted(self, message_type: int) -> None:
        self.retransmitted_types.append(message_type)

    def duplicate(self, message_type: int) -> None:
        self.duplicate_types.append(message_type)

    def discarded(self, reason: str) -> None:
        self.reasons.append(reason)


class Pair:
    """A CP function's and a UP function's machine, and the wire between them. ``wire`` says how many copies of the n-th datagram arrive."""

    def __init__(self, wire: Callable[[int], int] = lambda number: 1, timers: PfcpTimers | None = None) -> None:
        self.timers = timers
        self.cp_counts, self.up_counts = Counts(), Counts()
        self.cp = PfcpMachine(LocalEntity(node_id=IPv4Address(CP[0]), recovery_time_stamp_ntp=100), timers=timers, observer=self.cp_counts)
        self.up = self.new_up(200)
        self.now = 0.0
        self.wire = wire
        self.datagrams = 0
        self.cp_events: list[Event] = []
        self.up_events: list[Event] = []
        self.answers = True

    def new_up(self, time_stamp: int) -> PfcpMachine:
        local = LocalEntity(node_id="up.epc", recovery_time_stamp_ntp=time_stamp, up_function_features=UpFunctionFeatures.FTUP)
        return PfcpMachine(local, timers=self.timers, observer=self.up_counts, remote_seid=lambda seid: seid + 1)

    def exchange(self) -> None:
        """Deliver until both are silent."""
        moving = True
        while moving:
            moving = False
            for source, address, target, events in ((self.cp, CP, self.up, self.up_events), (self.up, UP, self.cp, self.cp_events)):
                for data, _ in source.datagrams():
                    moving = True
                    self.datagrams += 1
                    for _ in range(self.wire(self.datagrams)):
                        target.receive(data, address, self.now)
                for event in target.events():
                    events.append(event)
                    if target is self.up and isinstance(event, RequestReceived) and self.answers:
                        self.up.respond(event, RESPONSE, seid=0x1001)
                        moving = True
                for event in source.events():
                    (self.cp_events if source is self.cp else self.up_events).append(event)

    def run_until(self, end: float) -> None:
        self.exchange()
        while True:
            due = [when for when in (self.cp.next_timeout(), self.up.next_timeout()) if when is not None and when <= end]
            if not due:
                self.now = end
                return
            self.now = min(due)
            self.cp.timer(self.now)
            self.up.timer(self.now)
            self.exchange()

    def associate(self) -> None:
        self.cp.associate(UP, self.now)
        self.exchange()

    def got(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.cp_events if isinstance(event, kind)]


# --- delivery -----------------------------------------------------------------------------------------------------------------


def test_answer_completes_the_transaction() -> None:
    pair = Pair()
    key = pair.cp.request(UP, REQUEST, seid=0x2002, now=0)
    pair.exchange()
    (reply,) = pair.got(ReplyReceived)
    assert (reply.transaction, reply.packet.message, reply.packet.seid) == (key, RESPONSE, 0x1001)
    assert pair.cp.outstanding == 0


@pytest.mark.parametrize("lost", [{1}, {2}, {1, 2}, {1, 3}])
def test_lost_datagrams_are_repeated_and_the_request_is_served_once(lost: set[int]) -> None:
    pair = Pair(wire=lambda number: number not in lost)
    pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.run_until(10)
    assert len(pair.got(ReplyReceived)) == 1
    assert len([event for event in pair.up_events if isinstance(event, RequestReceived)]) == 1


def test_doubled_datagrams_do_nothing_twice() -> None:
    pair = Pair(wire=lambda number: 2)
    pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.run_until(20)
    assert len(pair.got(ReplyReceived)) == 1
    assert pair.up_counts.duplicate_types == [54]
    assert pair.cp_counts.reasons == ["unexpected"]


def test_silence_ends_after_n1_transmissions() -> None:
    pair = Pair(wire=lambda number: 0)
    key = pair.cp.request(UP, REQUEST, seid=1, now=0, timer=T1)
    pair.run_until(8.9)
    assert pair.cp_events == []
    pair.run_until(9.0)
    assert pair.cp_events == [ReplyMissing(transaction=key, timer=T1)]
    assert pair.datagrams == 3
    assert pair.cp_counts.retransmitted_types == [54, 54]


def test_a_request_that_is_being_served_is_not_served_again() -> None:
    pair = Pair()
    pair.answers = False
    pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.run_until(7)
    assert len([event for event in pair.up_events if isinstance(event, RequestReceived)]) == 1
    assert pair.up_counts.duplicate_types == [54, 54]


def test_answers_are_forgotten_in_time() -> None:
    pair = Pair(timers=PfcpTimers(duplicates_s=15.0))
    data = encode(REQUEST, seid=1, sequence=5)
    for now in (0.0, 14.0, 28.0, 44.0):         # as long as somebody asks, what is being served is not forgotten
        pair.now = now
        pair.up.receive(data, CP, now)
        pair.up.timer(now)
        for event in pair.up.events():
            pair.up_events.append(event)
    assert len(pair.up_events) == 2


def test_an_answer_of_another_type_does_not_count() -> None:
    pair = Pair()
    key = pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.cp.receive(encode(HeartbeatResponse(recovery_time_stamp_ntp=1), seid=None, sequence=key.sequence), UP, 0)
    assert list(pair.cp.events()) == []
    assert pair.cp.outstanding == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=30, max_size=60))
def test_any_loss_and_duplication_ends_every_request_once(copies: list[int]) -> None:
    pair = Pair(wire=lambda number: copies[number % len(copies)])
    keys = [pair.cp.request(UP, REQUEST, seid=1, now=0) for _ in range(5)]
    pair.run_until(30)
    ended = [event.transaction for event in pair.cp_events if isinstance(event, ReplyReceived | ReplyMissing)]
    assert sorted(ended) == sorted(keys)
    assert pair.cp.outstanding == 0


# --- associations -------------------------------------------------------------------------------------------------------------


def test_association_is_set_up_and_both_know_each_other() -> None:
    pair = Pair()
    pair.associate()
    (mine,) = pair.cp.associations()
    assert (mine.node_id, mine.peer, mine.recovery_time_stamp_ntp) == ("up.epc", UP, 200)
    assert mine.up_function_features == UpFunctionFeatures.FTUP
    (theirs,) = pair.up.associations()
    assert (theirs.node_id, theirs.peer, theirs.recovery_time_stamp_ntp) == (IPv4Address(CP[0]), CP, 100)
    assert pair.cp_events == [AssociationEstablished(association=mine)]
    assert pair.up_events == [AssociationEstablished(association=theirs)]


def test_association_setup_is_tried_until_the_peer_is_there() -> None:
    reachable = False
    pair = Pair(wire=lambda number: reachable)
    pair.cp.associate(UP, 0)
    pair.run_until(60)
    assert pair.cp.associations() == ()
    reachable = True
    pair.run_until(80)
    assert len(pair.cp.associations()) == 1


def test_refused_association_is_tried_again() -> None:
    pair = Pair(timers=PfcpTimers(association_retry_s=5.0))
    pair.cp.associate(UP, 0)
    [(data, _)] = pair.cp.datagrams()
    refusal = AssociationSetupResponse(node_id="up.epc", cause=CauseValue.NO_RESOURCES_AVAILABLE)
    pair.cp.receive(encode(refusal, seid=None, sequence=decode(data).sequence), UP, 0)
    assert pair.cp.next_timeout() == 5.0
    pair.run_until(6)
    assert len(pair.cp.associations()) == 1


def test_request_from_another_port_is_answered_there_but_requests_go_to_the_well_known_one() -> None:
    pair = Pair()
    pair.cp.associate(UP, 0)
    [(data, _)] = pair.cp.datagrams()
    pair.up.receive(data, (CP[0], 40000), 0)
    assert [peer for _, peer in pair.up.datagrams()] == [(CP[0], 40000)]
    assert [association.peer for association in pair.up.associations()] == [CP]


def test_session_without_association_is_refused() -> None:
    pair = Pair()
    pair.cp.request(UP, ESTABLISHMENT, seid=0, now=0)
    pair.exchange()
    (reply,) = pair.got(ReplyReceived)
    assert isinstance(reply.packet.message, SessionEstablishmentResponse)
    assert (reply.packet.message.cause, reply.packet.seid) == (CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION, 0x1001)
    assert pair.up_counts.reasons == ["no_association"]
    assert not [event for event in pair.up_events if isinstance(event, RequestReceived)]


def test_peer_that_has_no_association_any_more_is_asked_anew_at_once() -> None:
    pair = Pair()
    pair.associate()
    pair.up = pair.new_up(300)
    pair.cp.request(UP, ESTABLISHMENT, seid=0, now=pair.now)
    pair.exchange()
    assert [event.reason for event in pair.got(AssociationLost)] == [LossReason.RESTARTED]
    assert len(pair.got(AssociationEstablished)) == 2


def test_heartbeats_notice_a_restarted_peer() -> None:
    pair = Pair(timers=PfcpTimers(heartbeat_interval_s=10.0))
    pair.associate()
    pair.up = pair.new_up(300)
    pair.run_until(11)
    assert [event.reason for event in pair.got(AssociationLost)] == [LossReason.RESTARTED]
    assert [each.recovery_time_stamp_ntp for each in pair.cp.associations()] == [300]


def test_an_older_time_stamp_is_a_late_message() -> None:
    pair = Pair()
    pair.associate()
    pair.cp.receive(encode(HeartbeatRequest(recovery_time_stamp_ntp=199), seid=None, sequence=9), UP, 0)
    pair.exchange()
    assert pair.got(AssociationLost) == []


def test_heartbeats_notice_a_silent_peer_and_its_return() -> None:
    reachable = True
    pair = Pair(wire=lambda number: reachable, timers=PfcpTimers(heartbeat_interval_s=10.0))
    pair.associate()
    reachable = False
    pair.run_until(30)
    (failed,) = pair.got(PathFailed)
    assert not failed.association.is_reachable
    reachable = True
    pair.run_until(50)
    assert [event.association for event in pair.got(PathRestored)] == [failed.association]
    assert pair.got(AssociationLost) == []


def test_heartbeat_is_answered_without_an_association() -> None:
    pair = Pair()
    pair.up.receive(encode(HeartbeatRequest(recovery_time_stamp_ntp=1), seid=None, sequence=9), CP, 0)
    [(data, _)] = pair.up.datagrams()
    assert decode(data).message == HeartbeatResponse(recovery_time_stamp_ntp=200)


def test_setup_from_a_restarted_peer_voids_the_old_association() -> None:
    pair = Pair()
    pair.associate()
    pair.cp = PfcpMachine(LocalEntity(node_id=IPv4Address(CP[0]), recovery_time_stamp_ntp=101), first_sequence=50)
    pair.associate()
    assert [event.reason for event in pair.up_events if isinstance(event, AssociationLost)] == [LossReason.RESTARTED]
    assert [each.recovery_time_stamp_ntp for each in pair.up.associations()] == [101]


def test_release_ends_it_on_both_sides() -> None:
    pair = Pair()
    pair.associate()
    pair.cp.release(UP[0], 0)
    pair.run_until(60)
    assert (pair.cp.associations(), pair.up.associations()) == ((), ())
    assert [event.reason for event in pair.up_events if isinstance(event, AssociationLost)] == [LossReason.RELEASED]
    assert pair.cp.next_timeout() is None


def test_released_by_the_peer_it_is_set_up_again_later() -> None:
    pair = Pair(timers=PfcpTimers(association_retry_s=5.0))
    pair.associate()
    pair.up.release(CP[0], 0)
    pair.exchange()
    assert pair.cp.associations() == ()
    pair.run_until(6)
    assert len(pair.cp.associations()) == 1


def test_up_function_that_asks_for_release_is_released() -> None:
    pair = Pair()
    pair.associate()
    update = AssociationUpdateRequest(
        node_id="up.epc", up_function_features=UpFunctionFeatures(0), association_release_request=AssociationReleaseRequestFlags.SARR
    )
    pair.up.request(CP, update, seid=None, now=0)
    pair.exchange()
    (reply,) = [event for event in pair.up_events if isinstance(event, ReplyReceived)]
    assert reply.packet.message == AssociationUpdateResponse(node_id=IPv4Address(CP[0]), cause=CauseValue.REQUEST_ACCEPTED)
    assert (pair.cp.associations(), pair.up.associations()) == ((), ())


def test_update_of_nothing_is_refused() -> None:
    pair = Pair()
    pair.up.request(CP, AssociationUpdateRequest(node_id="up.epc"), seid=None, now=0)
    pair.exchange()
    (reply,) = [event for event in pair.up_events if isinstance(event, ReplyReceived)]
    assert reply.packet.message.cause == CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION  # type: ignore[attr-defined]


# --- what is malformed --------------------------------------------------------------------------------------------------------


def test_malformed_establishment_is_answered_to_the_seid_that_it_gives() -> None:
    pair = Pair()
    broken = SessionEstablishmentRequest(node_id=ESTABLISHMENT.node_id, cp_fseid=ESTABLISHMENT.cp_fseid, create_pdrs=(), create_fars=())
    pair.up.receive(encode(broken, seid=0, sequence=7), CP, 0)
    [(data, _)] = pair.up.datagrams()
    packet = decode(data)
    assert packet.message == SessionEstablishmentResponse(node_id="up.epc", cause=CauseValue.MANDATORY_IE_MISSING, offending_ie=1)
    assert (packet.seid, packet.sequence) == (0x1001, 7)


def test_malformed_modification_is_answered_to_the_peer_of_the_session() -> None:
    pair = Pair()
    pair.up.receive(bytes.fromhex("21340010 0000000000001001 00001500 00310000"), CP, 0)
    [(data, _)] = pair.up.datagrams()
    assert decode(data).seid == 0x1002


def test_malformed_answer_is_told_to_who_waits() -> None:
    pair = Pair()
    key = pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.cp.receive(bytes.fromhex("2137000c0000000000001001") + (key.sequence << 8).to_bytes(4, "big"), UP, 0)
    (event,) = pair.cp.events()
    assert isinstance(event, ReplyUnreadable)
    assert isinstance(event.error, PfcpSyntaxError)
    assert pair.cp.outstanding == 0


def test_other_versions_are_told_ours_but_never_in_circles() -> None:
    pair = Pair()
    pair.up.receive(bytes.fromhex("4001000400000700"), CP, 0)
    assert [data.hex() for data, _ in pair.up.datagrams()] == ["200b000400000700"]
    pair.up.receive(bytes.fromhex("400b000400000700"), CP, 0)
    assert pair.up.datagrams() == []
    key = pair.cp.request(UP, REQUEST, seid=1, now=0)
    pair.cp.receive(bytes.fromhex("200b0004") + (key.sequence << 8).to_bytes(4, "big"), UP, 0)
    (event,) = pair.cp.events()
    assert isinstance(event, ReplyUnreadable)
    assert isinstance(event.error, VersionNotSupported)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x21\x32", b"\x20\x05", b"\x20\x01\x00\x0c"]))
def test_nothing_a_peer_sends_makes_it_raise(data: bytes, prefix: bytes) -> None:
    pair = Pair()
    pair.up.receive(prefix + data, CP, 0)
    pair.exchange()
