"""Two agents between a visited and a home network, one of them freeDiameter: in either place, over TCP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from epc.dra import Dra, DraConfig
from epc.hss import Hss, HssConfig
from epc.node import parse_config
from epc.peer.diameter import LocalIdentity, PeerTimers
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from epc.wire.diameter import S6A_APPLICATION, ErrorAnswer, Message, Packet, RatType, ResultCode, s6a
from epc.wire.identity import Imsi, Plmn
from tests.interop.freediameter import free_port, freediameter, needs_freediameter

pytestmark = needs_freediameter

MME, HSS, VISITED_DRA, HOME_DRA = "mme.visited.lab", "hss.home.lab", "dra.visited.lab", "dra.home.lab"
IMSI = "001010000000001"


@asynccontextmanager
async def our_agent(identity: str, **more: Any) -> AsyncIterator[tuple[Dra, Address]]:
    address = Address("127.0.0.1", free_port("127.0.0.1"))
    diameter = {"listen": [{"host": address.host, "port": address.port}], **more.pop("diameter", {})}
    config = parse_config({"name": identity, "origin_host": identity, "origin_realm": identity.partition(".")[2], "diameter": diameter, **more},
                          DraConfig, source="test")
    dra = Dra(config, SocketTransport(identity))
    await dra.start()
    try:
        yield dra, address
    finally:
        await dra.stop()


class Mme:
    def __init__(self, agent: Address) -> None:
        self.requests: list[Message] = []
        self.node = DiameterNode(
            SocketTransport(MME), LocalIdentity(origin_host=MME, origin_realm="visited.lab", applications=(S6A_APPLICATION,)), interface="S6a",
            entropy=random.Random(MME), clock=lambda: 1.7e9, peers=[PeerConfig(address=agent)], on_request=self._serve,
            timers=PeerTimers(connect_s=5, watchdog_s=10, reconnect_s=0.5, disconnect_s=2))

    def _serve(self, packet: Packet) -> Message:
        self.requests.append(packet.message)
        assert isinstance(packet.message, s6a.CancelLocationRequest)
        return s6a.CancelLocationAnswer(session_id=packet.message.session_id, origin_host=MME, origin_realm="visited.lab",
                                        result_code=ResultCode.DIAMETER_SUCCESS)

    def header(self, host: str | None = None, realm: str = "home.lab") -> dict[str, Any]:
        return {"session_id": self.node.new_session_id(), "origin_host": MME, "origin_realm": "visited.lab", "destination_realm": realm,
                "destination_host": host, "user_name": IMSI}


def hss_node(agent: Address) -> Hss:
    config = {"name": "hss", "origin_host": HSS, "origin_realm": "home.lab", "subscribers": [{"imsi": IMSI, "apns": ["internet"]}],
              "s6a": {"listen": [], "peers": [{"host": agent.host, "port": agent.port}]}}
    return Hss(parse_config(config, HssConfig, source="test"), SocketTransport("hss"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():              # noqa: ASYNC110 - peers of a daemon have no event
            await asyncio.sleep(0.05)


async def register_and_cancel(mme: Mme, hss: Hss) -> str:
    """What a phone's attach and its move elsewhere do on S6a; returns the HSS's name as the MME knows it."""
    vectors = (await mme.node.request(s6a.AuthenticationInformationRequest(
        **mme.header(), visited_plmn_id=Plmn("21407"), requested_eutran_authentication_info=s6a.RequestedEutranAuthenticationInfo(
            number_of_requested_vectors=1, immediate_response_preferred=1)))).message
    assert isinstance(vectors, s6a.AuthenticationInformationAnswer)
    assert vectors.is_success
    requests = [s6a.UpdateLocationRequest(**mme.header(vectors.origin_host), visited_plmn_id=Plmn("21407"), rat_type=RatType.EUTRAN,
                                          ulr_flags=s6a.UlrFlags.S6A_S6D_INDICATOR) for _ in range(100)]
    answers = [packet.message for packet in await asyncio.gather(*[mme.node.request(request) for request in requests])]
    assert all(isinstance(answer, s6a.UpdateLocationAnswer) and answer.is_success for answer in answers)
    assert [answer.session_id for answer in answers] == [request.session_id for request in requests]  # type: ignore[attr-defined]
    await hss.commands()["cancel_location"](imsi=IMSI)
    [clr] = mme.requests
    assert isinstance(clr, s6a.CancelLocationRequest)
    assert clr.destination_host == MME
    assert clr.route_record[-1] == HOME_DRA
    return vectors.origin_host


async def test_freediameter_in_the_visited_network_and_our_agent_at_home(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        visited = await stack.enter_async_context(freediameter(tmp_path, identity=VISITED_DRA, realm="visited.lab"))
        dra, home = await stack.enter_async_context(our_agent(HOME_DRA, topology_hiding={}, diameter={
            "peers": [{"host": visited.host, "port": visited.port, "identity": VISITED_DRA}]}))
        hss, mme = hss_node(home), Mme(visited)
        await hss.start()
        stack.push_async_callback(hss.stop)
        await mme.node.start()
        stack.push_async_callback(mme.node.stop)
        await until(lambda: sum(peer.is_usable for peer in dra.diameter.peers()) == 2 and mme.node.is_connected())
        known_as = await register_and_cancel(mme, hss)
        assert known_as.startswith("node-")                 # freeDiameter relayed names that no host has
        assert known_as.endswith(".home.lab")
        subscriber = await hss.store.get(Imsi(IMSI))
        assert subscriber is not None
        assert not dra.agent.pending


@pytest.mark.parametrize("stateless", [False, True])
async def test_our_agent_in_the_visited_network_and_freediameter_at_home(tmp_path: Path, stateless: bool) -> None:
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(freediameter(tmp_path, identity=HOME_DRA, realm="home.lab"))
        dra, visited = await stack.enter_async_context(our_agent(VISITED_DRA, stateless=stateless, diameter={
            "peers": [{"host": home.host, "port": home.port, "identity": HOME_DRA, "default_route": True}]}))
        hss, mme = hss_node(home), Mme(visited)
        await hss.start()
        stack.push_async_callback(hss.stop)
        await mme.node.start()
        stack.push_async_callback(mme.node.stop)
        await until(lambda: sum(peer.is_usable for peer in dra.diameter.peers()) == 2 and hss.is_ready())
        await until(lambda: hss.s6a.is_connected())
        assert await register_and_cancel(mme, hss) == HSS

        # a realm that neither knows: the default route leads to freeDiameter, which says so
        nowhere = (await mme.node.request(s6a.PurgeUeRequest(**mme.header(realm="nowhere.lab")))).message
        assert isinstance(nowhere, ErrorAnswer)
        assert (nowhere.result_code, nowhere.origin_host) == (ResultCode.DIAMETER_UNABLE_TO_DELIVER, HOME_DRA)
        assert not dra.agent.pending
