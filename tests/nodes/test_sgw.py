"""The SGW between a scripted MME, a scripted PGW and an eNodeB, in memory on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from epc.node import ConfigError, parse_config
from epc.peer.gtpc import GtpcTimers, RequestReceived
from epc.peer.timer import Timer, TimerExpired
from epc.sgw import Sgw, SgwConfig
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address, DatagramPort, TappedPacket
from epc.transport.memory import MemoryNetwork
from epc.wire import gtpu, gtpv2
from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextCreateAnswered,
    BearerContextCreated,
    BearerContextCreateRequested,
    BearerContextDeleteAnswered,
    BearerContextModifyCommanded,
    BearerContextToBeCreated,
    BearerContextToBeModified,
    BearerQos,
    Cause,
    CauseValue,
    CreateBearerRequest,
    CreateBearerResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteBearerRequest,
    DeleteBearerResponse,
    DeleteSessionRequest,
    DeleteSessionResponse,
    DownlinkDataNotification,
    DownlinkDataNotificationAcknowledge,
    DownlinkDataNotificationFailureIndication,
    EchoRequest,
    Fteid,
    Indication,
    InterfaceType,
    Message,
    ModifyBearerCommand,
    ModifyBearerFailureIndication,
    ModifyBearerRequest,
    ModifyBearerResponse,
    Paa,
    PdnType,
    PgwRestartNotification,
    PgwRestartNotificationAcknowledge,
    RatType,
    ReleaseAccessBearersRequest,
    ReleaseAccessBearersResponse,
    Tai,
    Uli,
)
from epc.wire.identity import Imsi

# The warning: a timer that is due in less than the virtual clock's resolution, which the loop then runs at once.
pytestmark = pytest.mark.virtual_clock

MME, S11, S5C, S1U, S5U, PGW, ENB = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"
IMSI = Imsi("001010000000001")
ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
QOS = BearerQos(qci=9, arp=Arp(priority_level=8))
MME_TEID, PGW_TEID, PGW_USER_TEID, ENB_TEID = 0x1001, 0x3001, 0x5001, 0x8001

Script = Callable[[RequestReceived], Message | None]


class Peer:
    """One end played by the test: remembers requests and answers each message type as told."""

    def __init__(self, network: MemoryNetwork, name: str, host: str, interface: str, restart_counter: int = 1) -> None:
        self.requests: list[RequestReceived] = []
        self.answers: dict[type[Message], Script] = {}
        self.remote_teid = 0
        self.endpoint = GtpcEndpoint(
            network.transport(name), Address(host, 2123), interface=interface, restart_counter=restart_counter, on_request=self.serve,
            timers=GtpcTimers(echo_interval_s=None),
        )

    def serve(self, received: RequestReceived) -> None:
        self.requests.append(received)
        script = self.answers.get(type(received.message))
        message = script(received) if script is not None else None
        if message is not None:
            self.endpoint.respond(received, message, self.remote_teid)

    def got(self, kind: type[Any]) -> list[Any]:
        return [received.message for received in self.requests if isinstance(received.message, kind)]


class Bench:
    def __init__(self, **config: Any) -> None:
        self.network = MemoryNetwork()
        settings = {"name": "sgw1", "s11": {"host": S11}, "s5c": {"host": S5C}, "s1u": {"host": S1U}, "s5u": {"host": S5U}, **config}
        self.config = parse_config(settings, SgwConfig, source="test")
        self.sgw = self.new_sgw()
        self.mme = Peer(self.network, "mme", MME, "S11")
        self.pgw = Peer(self.network, "pgw", PGW, "S5/S8")
        self.pgw.answers[CreateSessionRequest] = self.pgw_creates
        self.pgw.answers[DeleteSessionRequest] = lambda _: DeleteSessionResponse(cause=ACCEPTED)
        self.enb_received: list[gtpu.Packet] = []
        self.pgw_received: list[gtpu.Packet] = []
        self.ports: dict[str, DatagramPort] = {}

    def new_sgw(self) -> Sgw:
        return Sgw(self.config, self.network.transport("sgw"), clock=lambda: 1000.0, entropy=random.Random(1))

    async def start(self) -> None:
        await self.sgw.start()
        await self.mme.endpoint.open()
        await self.pgw.endpoint.open()
        for name, host, received in (("enb", ENB, self.enb_received), ("pgw", PGW, self.pgw_received)):
            self.ports[name] = await self.network.transport(name).open_udp(
                Address(host, 2152), lambda data, _, received=received: received.append(gtpu.decode(data)), interface="S1-U"
            )

    async def stop(self) -> None:
        await self.sgw.stop()
        await self.mme.endpoint.close()
        await self.pgw.endpoint.close()
        for port in self.ports.values():
            port.close()

    def pgw_creates(self, received: RequestReceived) -> Message:
        request = received.message
        assert isinstance(request, CreateSessionRequest)
        self.pgw.remote_teid = request.sender_fteid.teid
        [context] = request.bearer_contexts_to_be_created
        return CreateSessionResponse(
            cause=ACCEPTED, pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_C, PGW_TEID, PGW),
            paa=Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address("10.45.0.2")), apn_restriction=0,
            bearer_contexts_created=(
                BearerContextCreated(
                    ebi=context.ebi, cause=ACCEPTED, charging_id=1,
                    s5u_pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_U, PGW_USER_TEID + context.ebi, PGW),
                ),
            ),
        )

    async def ask(self, message: Message, teid: int = 0) -> Message:
        packet = await self.mme.endpoint.request(Address(S11, 2123), teid, message)
        return packet.message

    async def attach(self) -> CreateSessionResponse:
        answer = await self.ask(create_session_request())
        assert isinstance(answer, CreateSessionResponse)
        assert answer.cause == ACCEPTED
        return answer

    async def connect(self) -> int:
        """Attach up to the Modify Bearer; returns the SGW's TEID on S11."""
        answer = await self.attach()
        assert answer.sender_fteid is not None
        teid = answer.sender_fteid.teid
        modified = await self.ask(modify_bearer_request(), teid)
        assert isinstance(modified, ModifyBearerResponse)
        assert modified.cause == ACCEPTED
        return teid

    def downlink(self, payload: bytes = b"E" + bytes(30)) -> None:
        """The PGW sends a user's packet to the only bearer."""
        [connection] = self.sgw.connections.values()
        end = connection.bearers[5].s5u_sgw
        self.ports["pgw"].send(gtpu.encode(gtpu.GPdu(payload=payload), teid=end.teid), Address(end.address, 2152))

    def assert_empty(self) -> None:
        """Nothing is left of any session."""
        assert self.sgw.ues == {}
        assert self.sgw.connections == {}
        assert len(self.sgw.control_teids) == 0
        assert self.sgw.forwarder.sessions() == ()
        assert list(self.sgw.tunnels()) == []
        assert self.sgw._show_paths() == []
        assert len(self.sgw.runner) == 0
        assert self.sgw.s11.machine.outstanding == self.sgw.s5.machine.outstanding == 0


def fteid(interface_type: InterfaceType, teid: int, host: str) -> Fteid:
    return Fteid.at(interface_type, teid, host)


def create_session_request(ebi: int = 5, apn: str = "internet", pgw: str = PGW) -> CreateSessionRequest:
    return CreateSessionRequest(
        imsi=IMSI, rat_type=RatType.EUTRAN, sender_fteid=fteid(InterfaceType.S11_MME_GTP_C, MME_TEID, MME),
        pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_C, 0, pgw), apn=apn, pdn_type=PdnType.IPV4, paa=Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address(0)),
        ambr=Ambr(uplink_kbps=1000, downlink_kbps=2000), bearer_contexts_to_be_created=(BearerContextToBeCreated(ebi=ebi, bearer_qos=QOS),),
    )


def modify_bearer_request(enb: str = ENB, teid: int = ENB_TEID, ebi: int = 5) -> ModifyBearerRequest:
    context = BearerContextToBeModified(ebi=ebi, s1u_enb_fteid=fteid(InterfaceType.S1_U_ENODEB_GTP_U, teid, enb))
    return ModifyBearerRequest(bearer_contexts_to_be_modified=(context,))


def delete_session_request(**fields: Any) -> DeleteSessionRequest:
    return DeleteSessionRequest(linked_ebi=5, indication=Indication.OI, **fields)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start()
    yield bench
    await bench.stop()


# --- the ladder ---------------------------------------------------------------------------------------------------------------


async def test_attach_gives_all_tunnels_and_detach_takes_them_back(bench: Bench) -> None:
    answer = await bench.attach()
    [request] = bench.pgw.got(CreateSessionRequest)
    [context] = request.bearer_contexts_to_be_created
    assert request.sender_fteid.interface_type == InterfaceType.S5_S8_SGW_GTP_C
    assert request.sender_fteid.host == S5C
    assert context.s5u_sgw_fteid.host == S5U
    assert request.pgw_fteid is None
    assert (request.imsi, request.apn, request.ambr) == (IMSI, "internet", Ambr(uplink_kbps=1000, downlink_kbps=2000))
    assert answer.sender_fteid is not None
    assert answer.sender_fteid.interface_type == InterfaceType.S11_S4_SGW_GTP_C
    assert answer.pgw_fteid == fteid(InterfaceType.S5_S8_PGW_GTP_C, PGW_TEID, PGW)
    assert answer.paa == Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address("10.45.0.2"))
    [made] = answer.bearer_contexts_created
    assert made.s1u_sgw_fteid is not None
    assert made.s1u_sgw_fteid.interface_type == InterfaceType.S1_U_SGW_GTP_U

    await bench.ask(modify_bearer_request(), answer.sender_fteid.teid)
    held = {end.label: end for end in bench.sgw.tunnels()}
    assert sorted(held) == ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"]
    assert held["t1"].teid == MME_TEID
    assert held["t2"].teid == request.sender_fteid.teid
    assert held["t3"].teid == context.s5u_sgw_fteid.teid
    assert held["t4"].teid == PGW_TEID
    assert held["t5"].teid == PGW_USER_TEID + 5
    assert held["t6"].teid == answer.sender_fteid.teid
    assert held["t7"].teid == made.s1u_sgw_fteid.teid
    assert held["t8"].teid == ENB_TEID
    assert all(end.imsi == IMSI for end in held.values())

    deleted = await bench.ask(delete_session_request(), answer.sender_fteid.teid)
    assert isinstance(deleted, DeleteSessionResponse)
    assert deleted.cause == ACCEPTED
    assert len(bench.pgw.got(DeleteSessionRequest)) == 1
    bench.assert_empty()


async def test_packets_go_from_tunnel_to_tunnel(bench: Bench) -> None:
    await bench.connect()
    [connection] = bench.sgw.connections.values()
    bearer = connection.bearers[5]
    bench.ports["enb"].send(gtpu.encode(gtpu.GPdu(payload=b"Eup"), teid=bearer.s1u_sgw.teid), Address(S1U, 2152))
    bench.downlink(b"Edown")
    await asyncio.sleep(1.0)
    assert [(packet.teid, packet.message) for packet in bench.pgw_received] == [(PGW_USER_TEID + 5, gtpu.GPdu(payload=b"Eup"))]
    assert [(packet.teid, packet.message) for packet in bench.enb_received] == [(ENB_TEID, gtpu.GPdu(payload=b"Edown"))]


async def test_packets_before_the_enodeb_is_known_wait_without_paging(bench: Bench) -> None:
    answer = await bench.attach()
    bench.downlink()
    await asyncio.sleep(1.0)
    assert bench.mme.requests == []
    assert answer.sender_fteid is not None
    await bench.ask(modify_bearer_request(), answer.sender_fteid.teid)
    await asyncio.sleep(1.0)
    assert len(bench.enb_received) == 1


async def test_second_pdn_connection_shares_the_control_tunnel(bench: Bench) -> None:
    teid = await bench.connect()
    answer = await bench.ask(create_session_request(ebi=6, apn="ims"), teid)
    assert isinstance(answer, CreateSessionResponse)
    assert answer.sender_fteid is not None
    assert answer.sender_fteid.teid == teid
    [ue] = bench.sgw.ues.values()
    assert sorted(ue.connections) == [5, 6]
    await bench.ask(delete_session_request(), teid)
    assert sorted(ue.connections) == [6]
    both = await bench.ask(DeleteSessionRequest(indication=Indication.OI | Indication.SI), teid)
    assert isinstance(both, DeleteSessionResponse)
    bench.assert_empty()


async def test_switched_path_ends_the_old_tunnel_with_an_end_marker(bench: Bench) -> None:
    teid = await bench.connect()
    await bench.ask(modify_bearer_request(teid=ENB_TEID + 1), teid)
    bench.downlink()
    await asyncio.sleep(1.0)
    assert [(packet.teid, type(packet.message)) for packet in bench.enb_received] == [(ENB_TEID, gtpu.EndMarker), (ENB_TEID + 1, gtpu.GPdu)]


async def test_modify_bearer_with_location_goes_on_to_the_pgw(bench: Bench) -> None:
    teid = await bench.connect()
    bench.pgw.answers[ModifyBearerRequest] = lambda _: ModifyBearerResponse(cause=ACCEPTED)
    uli = Uli(tai=Tai("00101", 7))
    answer = await bench.ask(replace(modify_bearer_request(), uli=uli), teid)
    assert isinstance(answer, ModifyBearerResponse)
    assert answer.cause == ACCEPTED
    [onward] = bench.pgw.got(ModifyBearerRequest)
    assert onward.uli == uli
    assert onward.bearer_contexts_to_be_modified == ()


async def test_modify_bearer_follows_the_ue_to_another_mme(bench: Bench) -> None:
    teid = await bench.connect()
    moved = replace(modify_bearer_request(), sender_fteid=fteid(InterfaceType.S11_MME_GTP_C, 0x9999, MME))
    await bench.ask(moved, teid)
    assert [end.teid for end in bench.sgw.tunnels() if end.label == "t1"] == [0x9999]


# --- idle UEs -----------------------------------------------------------------------------------------------------------------


async def _idle(bench: Bench) -> int:
    teid = await bench.connect()
    answer = await bench.ask(ReleaseAccessBearersRequest(), teid)
    assert answer == ReleaseAccessBearersResponse(cause=ACCEPTED)
    assert "t8" not in {end.label for end in bench.sgw.tunnels()}
    return teid


async def test_downlink_packet_for_an_idle_ue_is_notified_once_and_delivered_later(bench: Bench) -> None:
    bench.mme.answers[DownlinkDataNotification] = lambda _: DownlinkDataNotificationAcknowledge(cause=ACCEPTED)
    bench.mme.remote_teid = teid = await _idle(bench)
    for _ in range(3):
        bench.downlink()
        await asyncio.sleep(0.5)
    [notification] = bench.mme.got(DownlinkDataNotification)
    assert (notification.ebis, notification.arp) == ((5,), QOS.arp)
    assert [received.teid for received in bench.mme.requests] == [MME_TEID]
    assert bench.enb_received == []
    await bench.ask(modify_bearer_request(), teid)
    await asyncio.sleep(1.0)
    assert len(bench.enb_received) == 3


@pytest.mark.parametrize("failure", ["refused", "silent", "indication"])
async def test_failed_paging_throws_the_packets_away_and_starts_over(bench: Bench, failure: str) -> None:
    causes = {"refused": Cause(value=CauseValue.UNABLE_TO_PAGE_UE), "indication": ACCEPTED}
    if failure != "silent":
        bench.mme.answers[DownlinkDataNotification] = lambda _: DownlinkDataNotificationAcknowledge(cause=causes[failure])
    bench.mme.remote_teid = teid = await _idle(bench)
    bench.downlink()
    await asyncio.sleep(20.0)
    if failure == "indication":
        bench.mme.endpoint.notify(
            Address(S11, 2123), teid, DownlinkDataNotificationFailureIndication(cause=Cause(value=CauseValue.UE_NOT_RESPONDING))
        )
        await asyncio.sleep(1.0)
    before = len(bench.mme.got(DownlinkDataNotification))
    bench.downlink()
    await asyncio.sleep(1.0)
    assert len(bench.mme.got(DownlinkDataNotification)) == before + 1
    assert bench.sgw.forwarder.statistics().buffered_packets <= 1
    await asyncio.sleep(20.0)


async def test_error_indication_of_the_enodeb_makes_the_ue_idle_and_pages_it(bench: Bench) -> None:
    bench.mme.answers[DownlinkDataNotification] = lambda _: DownlinkDataNotificationAcknowledge(cause=ACCEPTED)
    bench.mme.remote_teid = await bench.connect()
    lost = gtpu.ErrorIndication(teid=ENB_TEID, peer_address=IPv4Address(ENB))
    bench.ports["enb"].send(gtpu.encode(lost), Address(S1U, 2152))
    await asyncio.sleep(1.0)
    [notification] = bench.mme.got(DownlinkDataNotification)
    assert notification.cause.value == CauseValue.ERROR_INDICATION_RECEIVED
    assert "t8" not in {end.label for end in bench.sgw.tunnels()}


async def test_error_indication_of_the_pgw_ends_the_pdn_connection(bench: Bench) -> None:
    bench.mme.answers[DeleteBearerRequest] = lambda _: DeleteBearerResponse(cause=ACCEPTED, linked_ebi=5)
    bench.mme.remote_teid = await bench.connect()
    lost = gtpu.ErrorIndication(teid=PGW_USER_TEID + 5, peer_address=IPv4Address(PGW))
    bench.ports["pgw"].send(gtpu.encode(lost), Address(S5U, 2152))
    await asyncio.sleep(1.0)
    [request] = bench.mme.got(DeleteBearerRequest)
    assert request.linked_ebi == 5
    bench.assert_empty()


# --- failures -----------------------------------------------------------------------------------------------------------------


async def _rejected(bench: Bench, message: Message, teid: int = 0) -> Cause:
    answer = await bench.ask(message, teid)
    cause = getattr(answer, "cause", None)
    assert isinstance(cause, Cause)
    assert not cause.is_accepted
    return cause


async def test_silent_pgw_is_answered_with_remote_peer_not_responding(bench: Bench) -> None:
    bench.pgw.answers.clear()
    cause = await _rejected(bench, create_session_request())
    assert cause.value == CauseValue.REMOTE_PEER_NOT_RESPONDING
    bench.assert_empty()
    assert bench.sgw.metrics.value("procedure_failures_total", procedure="create_session", result="timeout", cause="T3-RESPONSE") == 1
    assert bench.sgw.metrics.value("retransmissions_total", interface="S5/S8", type="CreateSessionRequest") == 2


async def test_refusal_of_the_pgw_reaches_the_mme_with_its_source(bench: Bench) -> None:
    bench.pgw.answers[CreateSessionRequest] = lambda _: CreateSessionResponse(cause=Cause(value=CauseValue.MISSING_OR_UNKNOWN_APN))
    cause = await _rejected(bench, create_session_request())
    assert cause == Cause(value=CauseValue.MISSING_OR_UNKNOWN_APN, cs=True)
    bench.assert_empty()


async def test_answer_of_the_pgw_without_user_tunnel_is_an_invalid_reply(bench: Bench) -> None:
    def incomplete(received: RequestReceived) -> Message:
        answer = bench.pgw_creates(received)
        assert isinstance(answer, CreateSessionResponse)
        return replace(answer, bearer_contexts_created=tuple(replace(each, s5u_pgw_fteid=None) for each in answer.bearer_contexts_created))

    bench.pgw.answers[CreateSessionRequest] = incomplete
    assert (await _rejected(bench, create_session_request())).value == CauseValue.INVALID_REPLY_FROM_REMOTE_PEER
    bench.assert_empty()


@pytest.mark.parametrize("field", ["imsi", "pgw_fteid"])
async def test_missing_conditional_element_is_named(bench: Bench, field: str) -> None:
    broken: Any = {field: None}
    cause = await _rejected(bench, replace(create_session_request(), **broken))
    assert cause == gtpv2.conditional_ie_missing(CreateSessionRequest, field)
    bench.assert_empty()


@pytest.mark.parametrize("message", [modify_bearer_request(), delete_session_request(), ReleaseAccessBearersRequest(), create_session_request()])
async def test_unknown_teid_is_context_not_found(bench: Bench, message: Message) -> None:
    assert (await _rejected(bench, message, 0x12345678)).value == CauseValue.CONTEXT_NOT_FOUND
    bench.assert_empty()


async def test_unknown_bearer_is_context_not_found(bench: Bench) -> None:
    teid = await bench.connect()
    assert (await _rejected(bench, modify_bearer_request(ebi=9), teid)).value == CauseValue.CONTEXT_NOT_FOUND
    assert (await _rejected(bench, DeleteSessionRequest(linked_ebi=9, indication=Indication.OI), teid)).value == CauseValue.CONTEXT_NOT_FOUND


async def test_one_unknown_bearer_among_two_is_accepted_partially(bench: Bench) -> None:
    teid = await bench.connect()
    contexts = modify_bearer_request().bearer_contexts_to_be_modified + modify_bearer_request(ebi=9).bearer_contexts_to_be_modified
    answer = await bench.ask(ModifyBearerRequest(bearer_contexts_to_be_modified=contexts), teid)
    assert isinstance(answer, ModifyBearerResponse)
    assert answer.cause.value == CauseValue.REQUEST_ACCEPTED_PARTIALLY
    assert [context.cause.is_accepted for context in answer.bearer_contexts_modified] == [True, False]


async def test_unserved_request_is_service_not_supported(bench: Bench) -> None:
    teid = await bench.connect()
    cause = await _rejected(bench, gtpv2.SuspendNotification(), teid)
    assert cause.value == CauseValue.SERVICE_NOT_SUPPORTED


async def test_detach_ends_the_session_although_the_pgw_is_silent(bench: Bench) -> None:
    teid = await bench.connect()
    bench.pgw.answers.clear()
    answer = await bench.ask(delete_session_request(), teid)
    assert isinstance(answer, DeleteSessionResponse)
    assert answer.cause == ACCEPTED
    bench.assert_empty()


async def test_delete_session_without_operation_indication_stays_here(bench: Bench) -> None:
    teid = await bench.connect()
    await bench.ask(DeleteSessionRequest(linked_ebi=5), teid)
    assert bench.pgw.got(DeleteSessionRequest) == []
    bench.assert_empty()


async def test_lost_answers_are_repeated_from_the_cache(bench: Bench) -> None:
    def answers_of_the_sgw(packet: TappedPacket) -> bool:
        return packet.node == "sgw" and packet.destination.host == MME

    bench.network.drop_when(answers_of_the_sgw, count=1)
    await bench.attach()
    assert len(bench.pgw.got(CreateSessionRequest)) == 1
    assert len(bench.sgw.connections) == 1


async def test_second_attach_replaces_the_session(bench: Bench) -> None:
    first = await bench.attach()
    second = await bench.attach()
    assert first.bearer_contexts_created != second.bearer_contexts_created
    assert len(bench.sgw.connections) == len(bench.sgw.forwarder.sessions()) == 1
    assert bench.pgw.got(DeleteSessionRequest) == []
    assert second.sender_fteid is not None
    await bench.ask(delete_session_request(), second.sender_fteid.teid)
    bench.assert_empty()


async def test_late_deletion_of_the_first_session_does_the_second_one_no_harm(bench: Bench) -> None:
    first = await bench.attach()
    second = await bench.attach()
    assert first.sender_fteid is not None
    assert second.sender_fteid is not None
    assert first.sender_fteid.teid != second.sender_fteid.teid
    late = await bench.ask(delete_session_request(), first.sender_fteid.teid)
    assert isinstance(late, DeleteSessionResponse)
    assert late.cause.value == CauseValue.CONTEXT_NOT_FOUND
    assert len(bench.sgw.connections) == 1


async def test_deletion_under_way_is_answered_although_the_ue_attaches_anew(bench: Bench) -> None:
    first = await bench.attach()
    assert first.sender_fteid is not None
    held: list[RequestReceived] = []
    bench.pgw.answers[DeleteSessionRequest] = lambda received: held.append(received)
    deleting = asyncio.create_task(bench.ask(delete_session_request(), first.sender_fteid.teid))
    await asyncio.sleep(0.5)
    second = await bench.attach()
    bench.pgw.endpoint.respond(held[0], DeleteSessionResponse(cause=Cause(value=CauseValue.CONTEXT_NOT_FOUND)), 1)
    answer = await deleting
    assert isinstance(answer, DeleteSessionResponse)
    assert answer.cause == ACCEPTED
    assert len(bench.sgw.connections) == 1
    bench.pgw.answers[DeleteSessionRequest] = lambda _: DeleteSessionResponse(cause=ACCEPTED)
    assert second.sender_fteid is not None
    await bench.ask(delete_session_request(), second.sender_fteid.teid)
    bench.assert_empty()


async def test_second_attach_at_another_pgw_deletes_the_session_at_the_first(bench: Bench) -> None:
    await bench.attach()
    other = Peer(bench.network, "pgw2", "10.0.0.8", "S5/S8")
    other.answers[CreateSessionRequest] = lambda received: _at(bench.pgw_creates(received), other)
    await other.endpoint.open()
    await bench.ask(create_session_request(pgw="10.0.0.8"))
    await asyncio.sleep(1.0)
    assert len(bench.pgw.got(DeleteSessionRequest)) == 1
    assert [connection.pgw.host for connection in bench.sgw.connections.values()] == ["10.0.0.8"]
    await other.endpoint.close()


def _at(message: Message, other: Peer) -> Message:
    assert isinstance(message, CreateSessionResponse)
    return replace(message, pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_C, 0x7777, "10.0.0.8"))


async def test_second_attach_during_the_first_takes_over(bench: Bench) -> None:
    held: list[RequestReceived] = []

    def hold_the_first(received: RequestReceived) -> Message | None:
        held.append(received)
        return bench.pgw_creates(received) if len(held) > 1 else None

    bench.pgw.answers[CreateSessionRequest] = hold_the_first
    first = asyncio.create_task(bench.ask(create_session_request()))
    await asyncio.sleep(0.5)
    answer = await bench.ask(create_session_request())
    assert isinstance(answer, CreateSessionResponse)
    assert answer.cause == ACCEPTED
    bench.pgw.endpoint.respond(held[0], bench.pgw_creates(held[0]), 1)
    with pytest.raises(TimerExpired):
        await first
    assert len(bench.sgw.connections) == 1
    assert answer.sender_fteid is not None
    await bench.ask(delete_session_request(), answer.sender_fteid.teid)
    bench.assert_empty()


async def test_garbage_changes_nothing(bench: Bench) -> None:
    teid = await bench.connect()
    chance = random.Random(7)
    port = await bench.network.transport("rogue").open_udp(Address("10.0.0.9", 2123), lambda *_: None, interface="S11")
    template = gtpv2.encode(create_session_request(), teid=teid, sequence=1)
    for _ in range(500):
        data = bytearray(template)
        for _ in range(4):
            data[chance.randrange(12, len(data))] = chance.randrange(256)
        data[1] = chance.choice((32, 33, 35, 37, 99, 200, data[1]))
        port.send(bytes(data[:chance.randrange(len(data))]), Address(chance.choice((S11, S5C)), 2123))
    await asyncio.sleep(60.0)
    port.close()
    assert "t8" in {end.label for end in bench.sgw.tunnels()}


# --- peers that restart -------------------------------------------------------------------------------------------------------


async def test_restarted_mme_loses_its_sessions_here_and_at_the_pgw(bench: Bench) -> None:
    await bench.connect()
    mme = bench.mme.endpoint
    for counter in (1, 2):
        mme.machine.restart_counter = counter
        key = mme.machine.request(Address(S11, 2123), EchoRequest(recovery=counter), teid=None, now=asyncio.get_running_loop().time())
        mme._flush()
        await asyncio.sleep(1.0)
        mme.machine.cancel(key)
    await asyncio.sleep(1.0)
    assert len(bench.pgw.got(DeleteSessionRequest)) == 1
    bench.assert_empty()


async def test_restarted_pgw_loses_its_sessions_and_the_mme_is_told(bench: Bench) -> None:
    bench.mme.answers[PgwRestartNotification] = lambda _: PgwRestartNotificationAcknowledge(cause=ACCEPTED)
    await bench.connect()
    pgw = bench.pgw.endpoint.machine
    for counter in (1, 2):
        pgw.request(Address(S5C, 2123), EchoRequest(recovery=counter), teid=None, now=asyncio.get_running_loop().time())
        bench.pgw.endpoint._flush()
        await asyncio.sleep(1.0)
    [notification] = bench.mme.got(PgwRestartNotification)
    assert (str(notification.pgw_address), str(notification.sgw_address)) == (PGW, S11)
    bench.assert_empty()


async def test_restart_counter_is_kept_in_the_state_directory(tmp_path: Path) -> None:
    bench = Bench(state_directory=str(tmp_path))
    for expected in (1, 2):
        sgw = bench.new_sgw()
        await sgw.start()
        assert sgw.s11.restart_counter == sgw.s5.restart_counter == expected
        await sgw.stop()


# --- the PGW's own wishes -----------------------------------------------------------------------------------------------------


async def test_pgw_ends_the_pdn_connection(bench: Bench) -> None:
    bench.mme.answers[DeleteBearerRequest] = lambda _: DeleteBearerResponse(cause=ACCEPTED, linked_ebi=5)
    bench.mme.remote_teid = await bench.connect()
    packet = await bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, DeleteBearerRequest(linked_ebi=5))
    assert packet.message == DeleteBearerResponse(cause=ACCEPTED, linked_ebi=5)
    assert packet.teid == PGW_TEID
    bench.assert_empty()


def _dedicated_bearer() -> CreateBearerRequest:
    context = BearerContextCreateRequested(
        ebi=0, tft=b"\x21\x10\x01\x01\x30\x11", s5u_pgw_fteid=fteid(InterfaceType.S5_S8_PGW_GTP_U, 0x5002, PGW),
        bearer_qos=BearerQos(qci=1, arp=QOS.arp),
    )
    return CreateBearerRequest(linked_ebi=5, bearer_contexts=(context,))


def _mme_takes_bearer(received: RequestReceived) -> Message:
    request = received.message
    assert isinstance(request, CreateBearerRequest)
    contexts = tuple(
        BearerContextCreateAnswered(
            ebi=6, cause=ACCEPTED, s1u_enb_fteid=fteid(InterfaceType.S1_U_ENODEB_GTP_U, 0x8002, ENB), s1u_sgw_fteid=context.s1u_sgw_fteid
        )
        for context in request.bearer_contexts
    )
    return CreateBearerResponse(cause=ACCEPTED, bearer_contexts=contexts)


async def test_pgw_adds_and_removes_a_dedicated_bearer(bench: Bench) -> None:
    bench.mme.answers[CreateBearerRequest] = _mme_takes_bearer
    bench.mme.answers[DeleteBearerRequest] = lambda _: DeleteBearerResponse(
        cause=ACCEPTED, bearer_contexts=(BearerContextDeleteAnswered(ebi=6, cause=ACCEPTED),)
    )
    bench.mme.remote_teid = await bench.connect()
    packet = await bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, _dedicated_bearer())
    answer = packet.message
    assert isinstance(answer, CreateBearerResponse)
    [made] = answer.bearer_contexts
    assert (made.ebi, made.cause, made.s1u_enb_fteid) == (6, ACCEPTED, None)
    assert made.s5u_sgw_fteid is not None
    assert made.s5u_sgw_fteid.host == S5U
    bench.ports["pgw"].send(gtpu.encode(gtpu.GPdu(payload=b"Evoice"), teid=made.s5u_sgw_fteid.teid), Address(S5U, 2152))
    await asyncio.sleep(1.0)
    assert [packet.teid for packet in bench.enb_received] == [0x8002]
    await bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, DeleteBearerRequest(ebis=(6,)))
    [connection] = bench.sgw.connections.values()
    assert sorted(connection.bearers) == [5]


@pytest.mark.parametrize(("ebi", "fields", "cause"), [
    (0, {"cause": Cause(value=CauseValue.UE_REFUSES)}, CauseValue.UE_REFUSES),
    (6, {"s1u_enb_fteid": None}, CauseValue.INVALID_REPLY_FROM_REMOTE_PEER),
    (6, {"s1u_sgw_fteid": None}, CauseValue.INVALID_REPLY_FROM_REMOTE_PEER),
    (5, {}, CauseValue.INVALID_REPLY_FROM_REMOTE_PEER),
    (0, {}, CauseValue.INVALID_REPLY_FROM_REMOTE_PEER),
])
async def test_dedicated_bearer_that_comes_to_nothing_leaves_nothing(bench: Bench, ebi: int, fields: dict[str, Any], cause: CauseValue) -> None:
    def answer(received: RequestReceived) -> Message:
        taken = _mme_takes_bearer(received)
        assert isinstance(taken, CreateBearerResponse)
        return replace(taken, bearer_contexts=tuple(replace(context, ebi=ebi, **fields) for context in taken.bearer_contexts))

    bench.mme.answers[CreateBearerRequest] = answer
    bench.mme.remote_teid = await bench.connect()
    [before] = bench.sgw.forwarder.sessions()
    packet = await bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, _dedicated_bearer())
    assert isinstance(packet.message, CreateBearerResponse)
    [context] = packet.message.bearer_contexts
    assert context.cause.value == cause
    assert context.s5u_pgw_fteid is not None
    assert context.s5u_pgw_fteid.teid == 0x5002
    assert bench.sgw.forwarder.sessions() == (before,)
    [connection] = bench.sgw.connections.values()
    assert (sorted(connection.bearers), connection.pending) == ([5], [])


async def test_uplink_of_a_dedicated_bearer_passes_before_the_mme_has_answered(bench: Bench) -> None:
    seen: list[CreateBearerRequest] = []

    def hold(received: RequestReceived) -> None:
        assert isinstance(received.message, CreateBearerRequest)
        seen.append(received.message)

    bench.mme.answers[CreateBearerRequest] = hold
    bench.mme.remote_teid = await bench.connect()
    asked = asyncio.ensure_future(bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, _dedicated_bearer(), Timer("T", 100.0)))
    await asyncio.sleep(1.0)
    s1u_sgw = seen[0].bearer_contexts[0].s1u_sgw_fteid
    assert s1u_sgw is not None
    bench.ports["enb"].send(gtpu.encode(gtpu.GPdu(payload=b"Evoice"), teid=s1u_sgw.teid), Address(s1u_sgw.host, 2152))
    await asyncio.sleep(1.0)
    assert [packet.teid for packet in bench.pgw_received] == [0x5002]
    await asyncio.sleep(60.0)                       # the MME never answers
    answer = (await asked).message
    assert isinstance(answer, CreateBearerResponse)
    assert answer.cause.value == CauseValue.REMOTE_PEER_NOT_RESPONDING
    [connection] = bench.sgw.connections.values()
    assert connection.pending == []
    [session] = bench.sgw.forwarder.sessions()
    assert len(session.pdrs) == 2


async def test_command_of_the_mme_comes_back_as_the_pgws_request(bench: Bench) -> None:
    def pgw_starts_bearer(received: RequestReceived) -> None:
        task = asyncio.ensure_future(
            bench.pgw.endpoint.request(Address(S5C, 2123), bench.pgw.remote_teid, _dedicated_bearer(), command=received)
        )
        tasks.append(task)

    tasks: list[asyncio.Task[Any]] = []
    bench.pgw.answers[ModifyBearerCommand] = lambda received: pgw_starts_bearer(received)
    bench.mme.answers[CreateBearerRequest] = _mme_takes_bearer
    bench.mme.remote_teid = teid = await bench.connect()
    command = ModifyBearerCommand(ambr=Ambr(uplink_kbps=1, downlink_kbps=2), bearer_context=BearerContextModifyCommanded(ebi=5))
    packet = await bench.mme.endpoint.request(Address(S11, 2123), teid, command)
    assert isinstance(packet.message, CreateBearerRequest)
    [task] = tasks
    answer = (await task).message
    assert isinstance(answer, CreateBearerResponse)
    [connection] = bench.sgw.connections.values()
    assert sorted(connection.bearers) == [5, 6]
    assert connection.command is None


async def test_command_fails_when_the_pgw_is_silent(bench: Bench) -> None:
    teid = await bench.connect()
    command = ModifyBearerCommand(ambr=Ambr(uplink_kbps=1, downlink_kbps=2), bearer_context=BearerContextModifyCommanded(ebi=5))
    answer = (await bench.mme.endpoint.request(Address(S11, 2123), teid, command)).message
    assert answer == ModifyBearerFailureIndication(cause=Cause(value=CauseValue.REMOTE_PEER_NOT_RESPONDING))


# --- configuration and state --------------------------------------------------------------------------------------------------


async def test_one_address_serves_all_interfaces() -> None:
    bench = Bench(s5c={"host": S11}, s1u={"host": S11}, s5u={"host": S11})
    await bench.start()
    answer = await bench.attach()
    assert answer.sender_fteid is not None
    await bench.ask(modify_bearer_request(), answer.sender_fteid.teid)
    assert {end.address for end in bench.sgw.tunnels() if end.own} == {S11}
    await bench.ask(delete_session_request(), answer.sender_fteid.teid)
    bench.assert_empty()
    await bench.stop()


async def test_views_show_sessions_and_paths(bench: Bench) -> None:
    await bench.connect()
    views = bench.sgw.views()
    [session] = views["sessions"]()  # type: ignore[misc]
    assert (session["imsi"], session["apn"], session["state"]) == (IMSI, "internet", "connected")
    assert {path["peer"] for path in views["paths"]()} == {MME, PGW}  # type: ignore[union-attr]
    assert bench.sgw.metrics.value("pdn_connections") == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"s11": {"host": "0.0.0.0"}}, "s11.host"), ({"s5c": {"host": S11, "port": 2124}}, "s5c.port"), ({"color": "red"}, "color")],
)
def test_wrong_configuration_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Bench(**change)
