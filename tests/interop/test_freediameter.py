"""Against freeDiameter, the C implementation most labs use, as a relay between our MME's and our HSS's endpoints."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pytest_asyncio import fixture as async_fixture

from epc.peer.diameter import LocalIdentity, PeerTimers
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from epc.wire.diameter import GX_APPLICATION, S6A_APPLICATION, ErrorAnswer, Message, Packet, RatType, ResultCode, gx, s6a
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.subscription import Ambr, SubscriptionData
from epc.wire.identity import Plmn
from tests.interop.freediameter import freediameter, needs_freediameter

MME, HSS, DRA = "mme.visited.lab", "hss.home.lab", "dra.lab"

pytestmark = needs_freediameter


@async_fixture
async def dra(tmp_path: Path) -> AsyncIterator[Address]:
    async with freediameter(tmp_path, identity=DRA, realm="lab") as address:
        yield address


class Counters:
    def __init__(self) -> None:
        self.received: list[str] = []
        self.errors: list[str] = []

    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None:
        self.received.append(type)

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None:
        self.errors.append(cause)


def endpoint(host: str, dra: Address, serve: Callable[[Packet], Message] | None = None, *, watchdog_s: float = 10.0) -> tuple[DiameterNode, Counters]:
    counters = Counters()
    realm = host.partition(".")[2]
    node = DiameterNode(
        SocketTransport(host), LocalIdentity(origin_host=host, origin_realm=realm, applications=(S6A_APPLICATION, GX_APPLICATION)), interface="S6a",
        entropy=random.Random(host), clock=lambda: 1.7e9, on_request=serve, peers=[PeerConfig(address=dra, host=DRA)], observer=counters,
        timers=PeerTimers(connect_s=5, watchdog_s=watchdog_s, reconnect_s=0.5, disconnect_s=2))
    return node, counters


async def connected(*nodes: DiameterNode) -> None:
    for node in nodes:
        await node.start()
    async with asyncio.timeout(15):
        for node in nodes:
            await node.wait_connected()


def update_location(node: DiameterNode, realm: str = "home.lab") -> s6a.UpdateLocationRequest:
    return s6a.UpdateLocationRequest(
        session_id=node.new_session_id(), origin_host=MME, origin_realm="visited.lab", destination_realm=realm, user_name="001010000000001",
        rat_type=RatType.EUTRAN, ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR, visited_plmn_id=Plmn("00101"),
        terminal_information=s6a.TerminalInformation(imei="35123456789012", software_version="34"))


async def test_watchdogs_are_answered(dra: Address) -> None:
    node, counters = endpoint(MME, dra, watchdog_s=3.0)
    await connected(node)
    [peer] = node.peers()
    assert (peer.host, peer.product_name, peer.watchdog) == (DRA, "freeDiameter", "OKAY")
    async with asyncio.timeout(12):
        while "DeviceWatchdogAnswer" not in counters.received:         # noqa: ASYNC110 - what is counted has no event
            await asyncio.sleep(0.2)
    assert node.is_connected()
    await node.stop()
    assert counters.received[-1] == "DisconnectPeerAnswer"
    assert counters.errors == []


async def test_s6a_and_gx_through_a_relay(dra: Address) -> None:
    requests: list[Message] = []

    def serve_hss(packet: Packet) -> Message:
        requests.append(packet.message)
        common: dict[str, Any] = {"origin_host": HSS, "origin_realm": "home.lab", "result_code": ResultCode.DIAMETER_SUCCESS}
        match packet.message:
            case s6a.UpdateLocationRequest() as request:
                return s6a.UpdateLocationAnswer(
                    session_id=request.session_id, ula_flags=s6a.UlaFlags.SEPARATION_INDICATION, **common,
                    subscription_data=SubscriptionData(ambr=Ambr(max_requested_bandwidth_ul=1, max_requested_bandwidth_dl=2)))
            case gx.CreditControlRequest() as request:
                return gx.CreditControlAnswer(session_id=request.session_id, cc_request_type=request.cc_request_type,
                                              cc_request_number=request.cc_request_number, **common)
        raise AssertionError(packet.message)

    def serve_mme(packet: Packet) -> Message:
        assert isinstance(packet.message, s6a.CancelLocationRequest)
        return s6a.CancelLocationAnswer(session_id=packet.message.session_id, origin_host=MME, origin_realm="visited.lab",
                                        result_code=ResultCode.DIAMETER_SUCCESS)

    mme, mme_counters = endpoint(MME, dra, serve_mme)
    hss, hss_counters = endpoint(HSS, dra, serve_hss)
    await connected(mme, hss)

    request = update_location(mme)
    packet = await mme.request(request)
    answer = packet.message
    assert isinstance(answer, s6a.UpdateLocationAnswer)
    assert (answer.session_id, answer.origin_host) == (request.session_id, HSS)
    assert answer.subscription_data is not None
    [seen] = requests
    assert isinstance(seen, s6a.UpdateLocationRequest)
    assert seen.route_record == (MME,)                  # the relay's mark; everything else came as it was sent
    assert (seen.terminal_information, seen.visited_plmn_id, seen.ulr_flags) == (request.terminal_information, "00101", request.ulr_flags)

    ccr = gx.CreditControlRequest(
        session_id=mme.new_session_id(), origin_host=MME, origin_realm="visited.lab", destination_realm="home.lab",
        cc_request_type=gx.CcRequestType.INITIAL_REQUEST, cc_request_number=0, framed_ip_address=IPv4Address("10.45.0.2"),
        subscription_id=(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data="001010000000001"),))
    assert isinstance((await mme.request(ccr)).message, gx.CreditControlAnswer)

    clr = s6a.CancelLocationRequest(
        session_id=hss.new_session_id(), origin_host=HSS, origin_realm="home.lab", destination_host=MME, destination_realm="visited.lab",
        user_name="001010000000001", cancellation_type=s6a.CancellationType.MME_UPDATE_PROCEDURE)
    assert isinstance((await hss.request(clr)).message, s6a.CancelLocationAnswer)

    packets = await asyncio.gather(*[mme.request(update_location(mme)) for _ in range(200)])
    assert all(isinstance(packet.message, s6a.UpdateLocationAnswer) for packet in packets)
    assert mme_counters.errors == hss_counters.errors == []
    await mme.stop()
    await hss.stop()


async def test_relay_without_a_route_says_so(dra: Address) -> None:
    mme, _ = endpoint(MME, dra)
    await connected(mme)
    packet = await mme.request(update_location(mme, "nowhere.lab"))
    assert packet.header.is_error
    assert isinstance(packet.message, ErrorAnswer)
    assert packet.message.result_code == ResultCode.DIAMETER_UNABLE_TO_DELIVER
    assert packet.message.origin_host == DRA
    await mme.stop()


async def test_after_a_goodbye_the_next_connection_works_at_once(dra: Address) -> None:
    """A link that is closed without DPR makes freeDiameter distrust the next one: requests get 3002 until three watchdogs passed."""
    def serve(packet: Packet) -> Message:
        assert isinstance(packet.message, s6a.UpdateLocationRequest)
        return s6a.UpdateLocationAnswer(session_id=packet.message.session_id, origin_host=HSS, origin_realm="home.lab",
                                        result_code=ResultCode.DIAMETER_SUCCESS)

    mme, _ = endpoint(MME, dra)
    hss, _ = endpoint(HSS, dra, serve)
    await connected(mme, hss)
    assert (await mme.request(update_location(mme))).message.result == ResultCode.DIAMETER_SUCCESS  # type: ignore[attr-defined]
    await hss.stop()
    gone = await mme.request(update_location(mme))
    assert gone.message.result == ResultCode.DIAMETER_UNABLE_TO_DELIVER  # type: ignore[attr-defined]
    again, _ = endpoint(HSS, dra, serve)
    await connected(again)
    assert (await mme.request(update_location(mme))).message.result == ResultCode.DIAMETER_SUCCESS  # type: ignore[attr-defined]
    await mme.stop()
    await again.stop()
