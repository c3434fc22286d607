"""PFCP endpoints over the in-memory network, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from epc.peer.pfcp import AssociationEstablished, AssociationEvent, AssociationLost, LocalEntity, PfcpTimers, RequestReceived
from epc.peer.timer import Timer, TimerExpired
from epc.transport.interface import Address
from epc.transport.memory import Link, MemoryNetwork
from epc.transport.pfcp import PFCP_PORT, PfcpEndpoint
from epc.wire.errors import WireError
from epc.wire.pfcp import CauseValue, SessionDeletionRequest, SessionDeletionResponse

pytestmark = pytest.mark.virtual_clock

CP, UP = Address("10.0.0.2", PFCP_PORT), Address("10.0.0.4", PFCP_PORT)
REQUEST = SessionDeletionRequest()
RESPONSE = SessionDeletionResponse(cause=CauseValue.REQUEST_ACCEPTED)
T1 = Timer("T1", 1.0, 2)


class Ends:
    """A CP and a UP function's endpoint; the UP function answers what it gets."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.requests: list[RequestReceived] = []
        self.cp_events: list[AssociationEvent] = []
        self.up_events: list[AssociationEvent] = []
        timers = PfcpTimers(t1=T1)
        self.cp = PfcpEndpoint(
            self.network.transport("cp"), CP, LocalEntity(node_id="cp", recovery_time_stamp_ntp=1), interface="Sxa",
            on_request=self.requests.append, on_event=self.cp_events.append, timers=timers,
        )
        self.up = PfcpEndpoint(
            self.network.transport("up"), UP, LocalEntity(node_id="up", recovery_time_stamp_ntp=2), interface="Sxa", on_request=self.serve,
            on_event=self.up_events.append, timers=timers,
        )

    def serve(self, request: RequestReceived) -> None:
        self.requests.append(request)
        self.up.respond(request, RESPONSE, 0x1001)


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    await ends.cp.open()
    await ends.up.open()
    yield ends
    await ends.cp.close()
    await ends.up.close()


async def test_request_returns_the_answer(ends: Ends) -> None:
    packet = await ends.cp.request(UP, 0x2001, REQUEST)
    assert (packet.message, packet.seid) == (RESPONSE, 0x1001)
    [request] = ends.requests
    assert (request.message, request.seid, request.peer) == (REQUEST, 0x2001, CP)


async def test_many_requests_survive_a_bad_network(ends: Ends) -> None:
    ends.network.set_link("cp", "up", Link(loss=0.2, duplication=0.2, reordering=0.2))
    answers = await asyncio.gather(*(ends.cp.request(UP, 1, REQUEST, Timer("T1", 1.0, 12)) for _ in range(100)))
    assert len(answers) == 100
    assert len(ends.requests) == 100
    assert ends.cp.machine.outstanding == 0


async def test_silent_peer_raises_timer_expired(ends: Ends) -> None:
    ends.network.cut("cp", "up")
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TimerExpired):
        await ends.cp.request(UP, 1, REQUEST)
    assert loop.time() - start == pytest.approx(3.0)


async def test_malformed_answer_raises_wire_error(ends: Ends) -> None:
    await ends.up.close()
    port = await ends.network.transport("up").open_udp(
        UP, lambda data, source: port.send(bytes.fromhex("2137000c") + bytes(8) + data[12:16], source), interface="Sxa")
    with pytest.raises(WireError):
        await ends.cp.request(UP, 1, REQUEST)
    port.close()


async def test_associations_come_and_go(ends: Ends) -> None:
    ends.cp.associate(UP)
    await asyncio.sleep(0.1)
    assert [type(event) for event in ends.cp_events] == [AssociationEstablished]
    assert [type(event) for event in ends.up_events] == [AssociationEstablished]
    await ends.cp.close()
    await asyncio.sleep(0.1)
    assert [type(event) for event in ends.up_events] == [AssociationEstablished, AssociationLost]


async def test_closing_ends_what_waits(ends: Ends) -> None:
    ends.network.cut("cp", "up")
    waiting = asyncio.create_task(ends.cp.request(UP, 1, REQUEST))
    await asyncio.sleep(0.1)
    await ends.cp.close()
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await ends.cp.request(UP, 1, REQUEST)


async def test_cancelled_request_is_not_repeated(ends: Ends) -> None:
    ends.network.cut("cp", "up")
    task = asyncio.create_task(ends.cp.request(UP, 1, REQUEST))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends.cp.machine.outstanding == 0
