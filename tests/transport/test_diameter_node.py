"""Diameter endpoints of several nodes over the in-memory network, on the virtual clock."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable

import pytest

from epc.peer.diameter import LocalIdentity, PeerTimers, PeerUnavailable
from epc.peer.timer import Timer, TimerExpired
from epc.transport.diameter import DiameterNode, ListenConfig, PeerConfig
from epc.transport.interface import Address, Carrier, Direction, TappedPacket
from epc.transport.memory import MemoryNetwork
from epc.wire import diameter
from epc.wire.diameter import (
    GX_APPLICATION,
    S6A_APPLICATION,
    DiameterError,
    ErrorAnswer,
    Message,
    Packet,
    ResultCode,
    experimental_result,
    gx,
    s6a,
)
from epc.wire.diameter.codec import _HEADER, RETRANSMITTED_BIT
from epc.wire.diameter.groups import ProxyInfo

pytestmark = [
    pytest.mark.virtual_clock,
]

REALM = "epc.mnc001.mcc001.3gppnetwork.org"
MME = f"mme.{REALM}"
HSS = f"hss.{REALM}"
HSS2 = f"hss2.{REALM}"
TIMERS = PeerTimers(connect_s=5.0, watchdog_s=10.0, reconnect_s=1.0, disconnect_s=2.0)
TX = Timer("Tx", 5.0)


class Counters:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []
        self.retransmissions: list[str] = []
        self.errors: list[str] = []

    def message_sent(self, interface: str, type: str) -> None:
        self.sent.append(type)

    def message_received(self, interface: str, type: str) -> None:
        self.received.append(type)

    def retransmission(self, interface: str, type: str) -> None:
        self.retransmissions.append(type)

    def protocol_error(self, interface: str, cause: str) -> None:
        self.errors.append(cause)


class Lab:
    """An MME with one or more HSSs."""

    def __init__(self, seed: int = 1) -> None:
        self.network = MemoryNetwork(seed=seed)
        self.nodes: list[DiameterNode] = []
        self.counters: dict[str, Counters] = {}
        self.addresses: dict[str, Address] = {}

    async def hss(self, handler: Callable[[Packet], Message | Awaitable[Message]] | None, *, host: str = HSS, realm: str = REALM,
                  carrier: Carrier = Carrier.TCP, applications: tuple[int, ...] = (S6A_APPLICATION,), accept_unknown: bool = True,
                  address: Address | None = None) -> DiameterNode:
        node = self._node(host, realm, applications, handler, listen=[ListenConfig(address=address or Address("", 3868), carrier=carrier)],
                          accept_unknown=accept_unknown)
        await node.start()
        self.addresses[host] = node.local_addresses[0]
        return node

    async def mme(self, *hosts: str, handler: Callable[[Packet], Message | Awaitable[Message]] | None = None, carrier: Carrier = Carrier.TCP,
                  applications: tuple[int, ...] = (S6A_APPLICATION,), expected: bool = True, default_route: str = "") -> DiameterNode:
        peers = [PeerConfig(address=self.addresses[host], host=host if expected else "", carrier=carrier, is_default_route=host == default_route)
                 for host in hosts]
        node = self._node(MME, REALM, applications, handler, peers=peers)
        await node.start()
        return node

    def _node(self, host: str, realm: str, applications: tuple[int, ...], handler: Callable[[Packet], Message | Awaitable[Message]] | None, *,
              listen: list[ListenConfig] | None = None, peers: list[PeerConfig] | None = None, accept_unknown: bool = True) -> DiameterNode:
        counters = self.counters[host] = Counters()
        node = DiameterNode(
            self.network.transport(host), LocalIdentity(origin_host=host, origin_realm=realm, applications=applications), interface="S6a",
            entropy=random.Random(host), clock=lambda: 1_700_000_000.0, on_request=handler, listen=listen or [], peers=peers or [], timers=TIMERS,
            accept_unknown_peers=accept_unknown, observer=counters)
        self.nodes.append(node)
        return node

    async def connected(self, node: DiameterNode, peers: int = 1) -> None:
        async with asyncio.timeout(30):
            while sum(peer.is_usable for peer in node.peers()) < peers:         # noqa: ASYNC110 - a number of peers has no event
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()


@pytest.fixture
async def lab():
    lab = Lab()
    yield lab
    await lab.stop()


def purge(node: DiameterNode, *, realm: str = REALM, host: str | None = None) -> s6a.PurgeUeRequest:
    return s6a.PurgeUeRequest(session_id=node.new_session_id(), origin_host=MME, origin_realm=REALM, destination_realm=realm, destination_host=host,
                              user_name="001010123456789")


def purged(packet: Packet, host: str = HSS) -> s6a.PurgeUeAnswer:
    assert isinstance(packet.message, s6a.PurgeUeRequest)
    return s6a.PurgeUeAnswer(session_id=packet.message.session_id, origin_host=host, origin_realm=REALM, result_code=ResultCode.DIAMETER_SUCCESS,
                             pua_flags=s6a.PuaFlags.FREEZE_M_TMSI)


@pytest.mark.parametrize("carrier", [Carrier.TCP, Carrier.SCTP])
async def test_request_and_answer(lab: Lab, carrier: Carrier) -> None:
    await lab.hss(purged, carrier=carrier)
    mme = await lab.mme(HSS, carrier=carrier)
    await mme.wait_connected(S6A_APPLICATION)
    request = purge(mme)
    packet = await mme.request(request, timer=TX)
    assert isinstance(packet.message, s6a.PurgeUeAnswer)
    assert packet.message.session_id == request.session_id
    assert packet.header.application_id == S6A_APPLICATION
    assert lab.counters[MME].sent == ["CapabilitiesExchangeRequest", "PurgeUeRequest"]
    assert lab.counters[MME].received == ["CapabilitiesExchangeAnswer", "PurgeUeAnswer"]
    assert lab.counters[HSS].received == ["CapabilitiesExchangeRequest", "PurgeUeRequest"]
    [status] = mme.peers()
    assert (status.host, status.realm, status.state, status.watchdog, status.pending_requests) == (HSS, REALM, "I-Open", "OKAY", 0)


async def test_handler_may_be_a_coroutine_and_many_requests_run_at_once(lab: Lab) -> None:
    async def slow(packet: Packet) -> Message:
        await asyncio.sleep(1.0)
        return purged(packet)

    await lab.hss(slow)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    started = asyncio.get_running_loop().time()
    requests = [purge(mme) for _ in range(50)]
    packets = await asyncio.gather(*[mme.request(request, timer=TX) for request in requests])
    assert [packet.message.session_id for packet in packets if isinstance(packet.message, s6a.PurgeUeAnswer)] == [r.session_id for r in requests]
    assert asyncio.get_running_loop().time() - started < 1.1


async def test_peer_is_learned_when_no_identity_is_configured(lab: Lab) -> None:
    await lab.hss(purged)
    mme = await lab.mme(HSS, expected=False)
    await lab.connected(mme)
    assert mme.peers()[0].host == HSS
    assert (await mme.request(purge(mme, host=HSS), timer=TX)).header.is_error is False


async def test_both_directions_use_one_connection(lab: Lab) -> None:
    """The HSS cancels a location over the connection that the MME opened."""
    hss = await lab.hss(purged)
    cancelled: list[str] = []

    def serve(packet: Packet) -> Message:
        assert isinstance(packet.message, s6a.CancelLocationRequest)
        cancelled.append(packet.message.user_name)
        return s6a.CancelLocationAnswer(session_id=packet.message.session_id, origin_host=MME, origin_realm=REALM,
                                        result_code=ResultCode.DIAMETER_SUCCESS)

    mme = await lab.mme(HSS, handler=serve)
    await lab.connected(mme)
    packet = await hss.request(s6a.CancelLocationRequest(
        session_id=hss.new_session_id(), origin_host=HSS, origin_realm=REALM, destination_host=MME, destination_realm=REALM,
        user_name="001010123456789", cancellation_type=s6a.CancellationType.SUBSCRIPTION_WITHDRAWAL), timer=TX)
    assert isinstance(packet.message, s6a.CancelLocationAnswer)
    assert packet.message.is_success
    assert cancelled == ["001010123456789"]


async def test_tx_expires(lab: Lab) -> None:
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await lab.hss(lambda packet: never)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimerExpired):
        await mme.request(purge(mme), timer=TX)
    assert asyncio.get_running_loop().time() - started == pytest.approx(5.0, abs=0.01)
    assert mme.peers()[0].pending_requests == 0
    never.cancel()


async def test_cancelled_request_is_forgotten(lab: Lab) -> None:
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await lab.hss(lambda packet: never)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    task = asyncio.ensure_future(mme.request(purge(mme), timer=TX))
    await asyncio.sleep(0.5)
    assert mme.peers()[0].pending_requests == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert mme.peers()[0].pending_requests == 0
    never.cancel()


async def test_no_peer_at_all() -> None:
    lab = Lab()
    lab.addresses[HSS] = Address("10.255.9.9", 3868)
    mme = await lab.mme(HSS)
    with pytest.raises(PeerUnavailable):
        await mme.request(purge(mme), timer=TX)
    await lab.stop()


async def test_connects_again_after_tc_when_the_peer_comes_up_later() -> None:
    lab = Lab()
    address = Address("10.1.0.1", 3868)
    lab.addresses[HSS] = address
    mme = await lab.mme(HSS)
    await asyncio.sleep(3.5)
    assert not mme.is_connected()
    await lab.hss(purged, address=address)
    async with asyncio.timeout(1.5):
        await mme.wait_connected()
    assert (await mme.request(purge(mme), timer=TX)).message is not None
    await lab.stop()


async def test_lost_peer_fails_the_request_at_once(lab: Lab) -> None:
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    hss = await lab.hss(lambda packet: never)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    task = asyncio.ensure_future(mme.request(purge(mme), timer=TX))
    await asyncio.sleep(0.1)
    await hss.stop()
    with pytest.raises(PeerUnavailable):
        await task
    lab.nodes.remove(hss)
    never.cancel()


async def test_failover_of_pending_requests_with_the_t_bit(lab: Lab) -> None:
    """RFC 6733 clause 5.5.4: the peer is cut off, its pending request goes to the alternate peer."""
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    flags: list[bool] = []

    def second(packet: Packet) -> Message:
        flags.append(packet.header.is_retransmitted)
        return purged(packet, HSS2)

    await lab.hss(lambda packet: never)
    await lab.hss(second, host=HSS2)
    mme = await lab.mme(HSS, HSS2)
    await lab.connected(mme, 2)
    task = asyncio.ensure_future(mme.request(purge(mme), timer=TX))
    await asyncio.sleep(0.1)
    lab.network.cut(MME, HSS, detection_s=1.0)
    packet = await task
    assert isinstance(packet.message, s6a.PurgeUeAnswer)
    assert packet.message.origin_host == HSS2
    assert flags == [True]
    assert lab.counters[MME].retransmissions == ["PurgeUeRequest"]
    never.cancel()


async def test_too_busy_is_tried_elsewhere(lab: Lab) -> None:
    def busy(packet: Packet) -> Message:
        raise DiameterError("overloaded", ResultCode.DIAMETER_TOO_BUSY)

    await lab.hss(busy)
    await lab.hss(lambda packet: purged(packet, HSS2), host=HSS2)
    mme = await lab.mme(HSS, HSS2)
    await lab.connected(mme, 2)
    packet = await mme.request(purge(mme), timer=TX)
    assert isinstance(packet.message, s6a.PurgeUeAnswer)
    assert packet.message.origin_host == HSS2


async def test_destination_host_chooses_the_peer(lab: Lab) -> None:
    await lab.hss(lambda packet: purged(packet, HSS))
    await lab.hss(lambda packet: purged(packet, HSS2), host=HSS2)
    mme = await lab.mme(HSS, HSS2)
    await lab.connected(mme, 2)
    for host in (HSS2, HSS, HSS2):
        packet = await mme.request(purge(mme, host=host), timer=TX)
        assert isinstance(packet.message, s6a.PurgeUeAnswer)
        assert packet.message.origin_host == host


async def test_another_realm_needs_a_default_route(lab: Lab) -> None:
    await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    with pytest.raises(PeerUnavailable):
        await mme.request(purge(mme, realm="epc.mnc007.mcc214.3gppnetwork.org"), timer=TX)


async def test_realm_not_served_and_unable_to_deliver(lab: Lab) -> None:
    await lab.hss(purged)
    mme = await lab.mme(HSS, default_route=HSS)
    await lab.connected(mme)
    packet = await mme.request(purge(mme, realm="epc.mnc007.mcc214.3gppnetwork.org"), timer=TX)
    assert isinstance(packet.message, ErrorAnswer)
    assert packet.header.is_error
    assert packet.message.result_code == ResultCode.DIAMETER_REALM_NOT_SERVED
    packet = await mme.request(purge(mme, host=f"hss9.{REALM}"), timer=TX)
    assert isinstance(packet.message, ErrorAnswer)
    assert packet.message.result_code == ResultCode.DIAMETER_UNABLE_TO_DELIVER
    assert lab.counters[HSS].errors == ["DIAMETER_REALM_NOT_SERVED", "DIAMETER_UNABLE_TO_DELIVER"]


async def test_command_unsupported_without_a_handler(lab: Lab) -> None:
    await lab.hss(None)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    packet = await mme.request(purge(mme), timer=TX)
    assert isinstance(packet.message, ErrorAnswer)
    assert packet.message.result_code == ResultCode.DIAMETER_COMMAND_UNSUPPORTED


async def test_application_unsupported(lab: Lab) -> None:
    """The peers have S6a in common; a Gx request is for an application the HSS never offered."""
    await lab.hss(purged)
    mme = await lab.mme(HSS, applications=(S6A_APPLICATION, GX_APPLICATION))
    await lab.connected(mme)
    ccr = gx.CreditControlRequest(session_id=mme.new_session_id(), origin_host=MME, origin_realm=REALM, destination_realm=REALM,
                                  cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0)
    with pytest.raises(PeerUnavailable):
        await mme.request(ccr, timer=TX)


async def test_no_common_application(lab: Lab) -> None:
    await lab.hss(purged, applications=(GX_APPLICATION,))
    mme = await lab.mme(HSS)
    await asyncio.sleep(0.5)
    assert not mme.is_connected()
    assert lab.counters[HSS].errors[0] == "DIAMETER_NO_COMMON_APPLICATION"
    assert mme.peers()[0].state == "Closed"


async def test_unknown_peer_is_turned_away(lab: Lab) -> None:
    await lab.hss(purged, accept_unknown=False)
    mme = await lab.mme(HSS)
    await asyncio.sleep(0.5)
    assert not mme.is_connected()
    assert lab.counters[HSS].errors[0] == "DIAMETER_UNKNOWN_PEER"


async def test_defect_in_the_handler_is_answered_unable_to_comply(lab: Lab) -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    def broken(packet: Packet) -> Message:
        raise KeyError("a defect")

    async def broken_later(packet: Packet) -> Message:
        await asyncio.sleep(0.01)
        raise KeyError("a defect")

    await lab.hss(broken)
    await lab.hss(broken_later, host=HSS2)
    mme = await lab.mme(HSS, HSS2)
    await lab.connected(mme, 2)
    for host in (HSS, HSS2):
        packet = await mme.request(purge(mme, host=host), timer=TX)
        assert isinstance(packet.message, ErrorAnswer) or not packet.message.is_success
        assert packet.message.result == ResultCode.DIAMETER_UNABLE_TO_COMPLY
    assert len(reports) == 2


async def test_experimental_result_reaches_the_requester(lab: Lab) -> None:
    def unknown(packet: Packet) -> Message:
        assert isinstance(packet.message, s6a.PurgeUeRequest)
        return s6a.PurgeUeAnswer(session_id=packet.message.session_id, origin_host=HSS, origin_realm=REALM,
                                 experimental_result=experimental_result(diameter.ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN))

    await lab.hss(unknown)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    answer = (await mme.request(purge(mme), timer=TX)).message
    assert isinstance(answer, s6a.PurgeUeAnswer)
    assert answer.result is diameter.ExperimentalResultCode.DIAMETER_ERROR_USER_UNKNOWN
    assert not answer.is_success


class RawPeer:
    """A peer made of octets: what it sends is up to the test."""

    def __init__(self) -> None:
        self.received = b""
        self.closed: str | None = None

    async def connect(self, lab: Lab, host: str = HSS) -> None:
        self.stream = await lab.network.transport("raw").connect_tcp(lab.addresses[host], interface="S6a")
        self.stream.on_data = self._data
        self.stream.on_closed = self._closed

    def _data(self, data: bytes) -> None:
        self.received += data

    def _closed(self, reason: str) -> None:
        self.closed = reason

    def messages(self) -> list[Packet]:
        found = []
        data = self.received
        while data:
            size = int.from_bytes(data[1:4], "big")
            found.append(diameter.decode(data[:size]))
            data = data[size:]
        self.received = b""
        return found

    async def introduce(self, applications: tuple[int, ...] = (S6A_APPLICATION,)) -> None:
        cer = diameter.base.CapabilitiesExchangeRequest(
            origin_host=f"raw.{REALM}", origin_realm=REALM, host_ip_address=(), vendor_id=0, product_name="raw", auth_application_id=applications)
        octets = bytearray(diameter.encode(cer, hop_by_hop=1, end_to_end=1))
        octets += bytes.fromhex("0000010140 00000e 0001 0a0000010000".replace(" ", ""))      # Host-IP-Address 10.0.0.1
        octets[1:4] = len(octets).to_bytes(3, "big")
        self.stream.send(bytes(octets))
        await asyncio.sleep(0.1)


async def test_duplicate_request_gets_the_same_answer_without_being_served_twice(lab: Lab) -> None:
    served: list[Packet] = []

    async def count(packet: Packet) -> Message:
        served.append(packet)
        await asyncio.sleep(0.2)
        return purged(packet)

    await lab.hss(count)
    raw = RawPeer()
    await raw.connect(lab)
    await raw.introduce()
    request = s6a.PurgeUeRequest(session_id="raw;1;1", origin_host=f"raw.{REALM}", origin_realm=REALM, destination_realm=REALM,
                                 user_name="001010123456789")
    raw.messages()
    raw.stream.send(diameter.encode(request, hop_by_hop=10, end_to_end=77))
    raw.stream.send(diameter.encode(request, hop_by_hop=11, end_to_end=77, retransmitted=True))        # while the first is being served
    await asyncio.sleep(0.5)
    raw.stream.send(diameter.encode(request, hop_by_hop=12, end_to_end=77, retransmitted=True))        # after it
    await asyncio.sleep(0.5)
    answers = raw.messages()
    assert [answer.header.hop_by_hop for answer in answers] == [10, 11, 12]
    assert len({answer.message for answer in answers}) == 1
    assert len(served) == 1


async def test_proxy_info_comes_back(lab: Lab) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    await raw.introduce()
    state = (ProxyInfo(proxy_host="dra.example", proxy_state=b"\1\2\3"),)
    raw.messages()
    raw.stream.send(diameter.encode(s6a.PurgeUeRequest(
        session_id="raw;1;1", origin_host=f"raw.{REALM}", origin_realm=REALM, destination_realm=REALM, user_name="001010123456789",
        proxy_info=state), hop_by_hop=10, end_to_end=77))
    await asyncio.sleep(0.1)
    [answer] = raw.messages()
    assert isinstance(answer.message, s6a.PurgeUeAnswer)
    assert answer.message.proxy_info == state


async def test_unknown_command_and_unknown_application(lab: Lab) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    await raw.introduce()
    raw.messages()
    for code, application in ((999, S6A_APPLICATION), (316, 0)):
        unknown = diameter.UnknownCommand(command_code=code, application_id=application, is_request=True)
        raw.stream.send(diameter.encode(unknown, hop_by_hop=1, end_to_end=code))
    await asyncio.sleep(0.1)
    results = [(packet.header.command_code, packet.header.is_error, packet.message.result) for packet in raw.messages()
               if isinstance(packet.message, ErrorAnswer)]
    assert results == [(999, True, ResultCode.DIAMETER_COMMAND_UNSUPPORTED), (316, True, ResultCode.DIAMETER_APPLICATION_UNSUPPORTED)]


async def test_missing_avp_is_answered_with_failed_avp(lab: Lab) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    await raw.introduce()
    raw.messages()
    request = diameter.encode(s6a.PurgeUeRequest(session_id="raw;1;1", origin_host="raw", origin_realm=REALM, destination_realm=REALM, user_name=""),
                              hop_by_hop=5, end_to_end=6)
    without_user_name = bytearray(request[:-8])                       # User-Name is the last AVP, and empty
    without_user_name[1:4] = len(without_user_name).to_bytes(3, "big")
    raw.stream.send(bytes(without_user_name))
    await asyncio.sleep(0.1)
    [packet] = raw.messages()
    message = packet.message
    assert not packet.header.is_request
    assert packet.header.hop_by_hop == 5
    assert message.result == ResultCode.DIAMETER_MISSING_AVP
    assert message.failed_avp is not None
    assert [avp.name for avp in message.failed_avp.avps] == ["User-Name"]
    assert message.session_id == "raw;1;1"


@pytest.mark.parametrize("first", [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
    pytest.param(_HEADER.pack(1 << 24 | 20, 0x80 << 24 | 280, 0, 1, 1), id="not a CER"),
    pytest.param(_HEADER.pack(1 << 24 | 0xFFFFFC, 0x80 << 24 | 257, 0, 1, 1), id="16 MiB"),
    pytest.param(_HEADER.pack(1 << 24 | 20, 0x80 << 24 | 257, 0, 1, 1), id="empty CER"),
])
async def test_strangers_that_do_not_introduce_themselves_are_closed(lab: Lab, first: bytes) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    raw.stream.send(first)
    await asyncio.sleep(0.5)
    assert raw.closed is not None
    mme = await lab.mme(HSS)
    await lab.connected(mme)            # and everybody else is served


async def test_silent_stranger_is_closed_after_the_connect_timer(lab: Lab) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    await asyncio.sleep(4.5)
    assert raw.closed is None
    await asyncio.sleep(1.0)
    assert raw.closed is not None


async def test_stream_out_of_step_closes_the_connection(lab: Lab) -> None:
    await lab.hss(purged)
    raw = RawPeer()
    await raw.connect(lab)
    await raw.introduce()
    raw.stream.send(b"\xff" * 64)
    await asyncio.sleep(0.5)
    assert raw.closed is not None
    assert "DIAMETER_UNSUPPORTED_VERSION" in lab.counters[HSS].errors


async def test_tcp_segments_of_any_size() -> None:
    lab = Lab()
    lab.network.tcp_segment_octets = 7
    await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    packets = await asyncio.gather(*[mme.request(purge(mme), timer=TX) for _ in range(5)])
    assert all(isinstance(packet.message, s6a.PurgeUeAnswer) for packet in packets)
    await lab.stop()


async def test_stop_says_goodbye(lab: Lab) -> None:
    """A connection closed without DPR would make the peer distrust the next one."""
    hss = await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    await mme.stop()
    lab.nodes.remove(mme)
    await asyncio.sleep(0.1)
    assert lab.counters[MME].sent[-1] == "DisconnectPeerRequest"
    assert lab.counters[MME].received[-1] == "DisconnectPeerAnswer"
    assert hss.peers() == []


async def test_watchdog_keeps_an_idle_connection_and_finds_a_dead_one() -> None:
    lab = Lab()
    lab.network.failure_detection_s = 1e6               # TCP itself notices nothing
    await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    await asyncio.sleep(60)
    assert mme.is_connected()
    assert sum(name.startswith("DeviceWatchdog") for name in lab.counters[MME].received) >= 4
    lab.network.cut(MME, HSS)
    await asyncio.sleep(25)
    assert not mme.is_connected()
    await asyncio.sleep(15)
    assert mme.peers()[0].state == "Wait-Conn-Ack"
    lab.network.heal()
    async with asyncio.timeout(30):
        await mme.wait_connected()
    assert (await mme.request(purge(mme), timer=TX)).message is not None
    await lab.stop()


async def test_reconnection_after_a_failure_is_trusted_after_three_watchdogs(lab: Lab) -> None:
    await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    lab.network.cut(MME, HSS, detection_s=0.5)
    await asyncio.sleep(1.0)
    lab.network.heal()
    lab.counters[MME].received.clear()
    async with asyncio.timeout(10):
        await mme.wait_connected()
    assert lab.counters[MME].received.count("DeviceWatchdogAnswer") == 3
    assert mme.peers()[0].watchdog == "OKAY"


async def test_election_leaves_one_connection_when_both_connect_at_once() -> None:
    lab = Lab()
    first, second = Address("10.1.0.1", 3868), Address("10.1.0.2", 3868)
    served: list[str] = []

    def serve(packet: Packet) -> Message:
        served.append(packet.header.command_code.__str__())
        return purged(packet)

    identities = {MME: first, HSS: second}
    nodes = {}
    for host, address in identities.items():
        other = HSS if host == MME else MME
        nodes[host] = lab._node(host, REALM, (S6A_APPLICATION,), serve, listen=[ListenConfig(address=address)],
                                peers=[PeerConfig(address=identities[other], host=other)])
    for node in nodes.values():
        await node.start()
    await asyncio.sleep(5)
    [at_mme], [at_hss] = nodes[MME].peers(), nodes[HSS].peers()
    assert {at_mme.state, at_hss.state} == {"I-Open", "R-Open"}
    assert at_mme.state == "R-Open"         # the greater identity keeps the connection that it did not open
    await nodes[MME].request(purge(nodes[MME]), timer=TX)
    assert served == ["321"]
    await lab.stop()


async def test_tap_sees_every_message(lab: Lab) -> None:
    seen: list[TappedPacket] = []

    class Tap:
        def packet(self, packet: TappedPacket) -> None:
            seen.append(packet)

    await lab.hss(purged)
    transport = lab.network.transport("tapped", Tap())
    mme = DiameterNode(transport, LocalIdentity(origin_host=MME, origin_realm=REALM, applications=(S6A_APPLICATION,)), interface="S6a",
                       entropy=random.Random(1), clock=lambda: 0.0, peers=[PeerConfig(address=lab.addresses[HSS])])
    await mme.start()
    await mme.wait_connected()
    await mme.request(purge(mme), timer=TX)
    await mme.stop()
    sent = [diameter.decode_header(packet.payload).command_code for packet in seen if packet.direction is Direction.SENT]
    assert sent == [257, 321, 282]
    assert {packet.interface for packet in seen} == {"S6a"}


async def test_mutants_are_answered_or_end_the_connection_and_everybody_else_is_served(lab: Lab) -> None:
    await lab.hss(purged)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    chance = random.Random(7)
    good = diameter.encode(s6a.PurgeUeRequest(
        session_id="raw;1;1", origin_host=f"raw.{REALM}", origin_realm=REALM, destination_realm=REALM, user_name="001010123456789"),
        hop_by_hop=10, end_to_end=77)
    outcomes = set()
    for _ in range(60):
        raw = RawPeer()
        await raw.connect(lab)
        await raw.introduce()
        raw.messages()
        mutant = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            mutant[chance.randrange(len(mutant))] = chance.randrange(256)
        raw.stream.send(bytes(mutant))
        await asyncio.sleep(0.1)
        outcomes.add("closed" if raw.closed is not None else "answered" if raw.received else "waits for more")
        raw.stream.close()
        await asyncio.sleep(0.1)
    assert {"closed", "answered"} <= outcomes
    assert isinstance((await mme.request(purge(mme), timer=TX)).message, s6a.PurgeUeAnswer)
    assert mme.peers()[0].state == "I-Open"


async def test_exchanges_leave_no_cyclic_garbage(lab: Lab) -> None:
    async def serve(packet: Packet) -> Message:
        await asyncio.sleep(0)
        return purged(packet)

    await lab.hss(serve)
    mme = await lab.mme(HSS)
    await lab.connected(mme)
    await mme.request(purge(mme), timer=TX)
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            await mme.request(purge(mme), timer=TX)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_t_bit_is_the_fourth() -> None:
    assert RETRANSMITTED_BIT == 0x10
