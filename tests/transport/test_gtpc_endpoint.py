"""GTP-C endpoints over the in-memory network, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from epc.peer.gtpc import GtpcTimers, PathEvent, PathFailed, PeerRestarted, RequestReceived
from epc.peer.timer import Timer, TimerExpired
from epc.transport.gtpc import GtpcEndpoint, load_and_increment
from epc.transport.interface import Address
from epc.transport.memory import Link, MemoryNetwork
from epc.wire.errors import WireError
from epc.wire.gtpv2 import Cause, CauseValue, DeleteSessionRequest, DeleteSessionResponse

pytestmark = pytest.mark.virtual_clock

MME, SGW = Address("10.0.0.1", 2123), Address("10.0.0.2", 2123)
REQUEST = DeleteSessionRequest(linked_ebi=5)
RESPONSE = DeleteSessionResponse(cause=Cause(value=CauseValue.REQUEST_ACCEPTED))
T3 = Timer("T3-RESPONSE", 1.0, 2)


class Ends:
    """An MME's and an SGW's endpoint; the SGW answers what it gets."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.requests: list[RequestReceived] = []
        self.events: list[PathEvent] = []
        timers = GtpcTimers(echo_interval_s=60.0, echo_response=T3)
        self.mme = GtpcEndpoint(
            self.network.transport("mme"), MME, restart_counter=1, on_request=self.requests.append, on_event=self.events.append, timers=timers
        )
        self.sgw = GtpcEndpoint(self.network.transport("sgw"), SGW, restart_counter=2, on_request=self.serve)

    def serve(self, request: RequestReceived) -> None:
        self.requests.append(request)
        self.sgw.respond(request, RESPONSE, 0x1001)


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    await ends.mme.open()
    await ends.sgw.open()
    yield ends
    await ends.mme.close()
    await ends.sgw.close()


async def test_request_returns_the_answer(ends: Ends) -> None:
    packet = await ends.mme.request(SGW, 0x2001, REQUEST)
    assert packet.message == RESPONSE
    assert packet.teid == 0x1001
    [request] = ends.requests
    assert (request.message, request.teid, request.peer) == (REQUEST, 0x2001, MME)


async def test_many_requests_survive_a_bad_network(ends: Ends) -> None:
    ends.network.set_link("mme", "sgw", Link(loss=0.2, duplication=0.2, reordering=0.2))
    answers = await asyncio.gather(*(ends.mme.request(SGW, 0x2001, REQUEST, Timer("T3-RESPONSE", 1.0, 12)) for _ in range(100)))
    assert len(answers) == 100
    assert len(ends.requests) == 100
    assert ends.mme.machine.outstanding == 0


async def test_silent_peer_raises_timer_expired(ends: Ends) -> None:
    ends.network.cut("mme", "sgw")
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TimerExpired) as caught:
        await ends.mme.request(SGW, 0x2001, REQUEST, T3)
    assert caught.value.timer == T3
    assert loop.time() - start == pytest.approx(3.0)


async def test_cancelled_request_is_not_repeated(ends: Ends) -> None:
    ends.network.cut("mme", "sgw")
    task = asyncio.create_task(ends.mme.request(SGW, 0x2001, REQUEST))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends.mme.machine.outstanding == 0


async def test_malformed_answer_raises_wire_error(ends: Ends) -> None:
    port = await ends.network.transport("rogue").open_udp(
        Address("10.0.0.9", 2123), lambda data, source: port.send(bytes.fromhex("48250008 00000001") + data[8:12], source), interface="S11"
    )
    with pytest.raises(WireError):
        await ends.mme.request(Address("10.0.0.9", 2123), 1, REQUEST)
    port.close()


async def test_close_ends_what_waits(ends: Ends) -> None:
    ends.network.cut("mme", "sgw")
    task = asyncio.create_task(ends.mme.request(SGW, 0x2001, REQUEST))
    await asyncio.sleep(0.1)
    await ends.mme.close()
    with pytest.raises(ConnectionError):
        await task
    with pytest.raises(ConnectionError):
        await ends.mme.request(SGW, 0x2001, REQUEST)


async def test_path_failure_and_restart_are_told(ends: Ends) -> None:
    ends.mme.watch(SGW)
    await asyncio.sleep(61.0)
    assert ends.events == []
    await ends.sgw.close()
    ends.sgw = GtpcEndpoint(ends.network.transport("sgw"), SGW, restart_counter=3, on_request=ends.serve)
    await ends.sgw.open()
    await asyncio.sleep(60.0)
    assert ends.events == [PeerRestarted(host=SGW.host, previous=2, current=3)]
    ends.network.cut("mme", "sgw")
    await asyncio.sleep(70.0)
    assert ends.events[1:] == [PathFailed(host=SGW.host)]


def test_timers_that_are_due_at_once_ring_under_uvloop() -> None:
    """uvloop's handle for what is due within a millisecond is none of a timer and does not tell its time."""

    async def ask_twice() -> list[object]:
        mme = GtpcEndpoint(MemoryNetwork().transport("mme"), MME, restart_counter=1, on_request=lambda request: None)
        await mme.open()
        at_once = Timer("T3-RESPONSE", 0.0001, 1)
        results: list[object] = list(await asyncio.gather(*(mme.request(SGW, 0x2001, REQUEST, at_once) for _ in range(2)), return_exceptions=True))
        await mme.close()
        return results

    assert [type(result) for result in uvloop.run(ask_twice())] == [TimerExpired, TimerExpired]


def test_restart_counter_grows_with_every_start(tmp_path: Path) -> None:
    path = tmp_path / "sgw" / "restart_counter"
    assert [load_and_increment(path) for _ in range(3)] == [1, 2, 3]
    path.write_text("255\n")
    assert load_and_increment(path) == 0
    path.write_text("torn")
    assert load_and_increment(path) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["restart_counter"]
