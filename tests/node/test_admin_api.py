"""What a node shows over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

import aiohttp
import pytest

from epc.node import Command, Node, NodeConfig, TunnelEnd, View, serve
from epc.node.admin import AdminServer
from epc.node.state import AssociatedPeer
from epc.procedure import procedure
from epc.transport.memory import MemoryNetwork

pytestmark = pytest.mark.real_time


class Example(Node[NodeConfig]):
    kind = "example"
    config_model = NodeConfig
    ready = False
    stopped = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def is_ready(self) -> bool:
        return self.ready

    def views(self) -> Mapping[str, View]:
        return {"things": lambda: [{"a": 1}]}

    def commands(self) -> Mapping[str, Command]:
        return {"double": self.double}

    async def double(self, n: str, times: str = "2") -> int:
        if n == "none":
            raise LookupError("no such thing")
        if n == "far":
            raise ConnectionRefusedError("nobody listens")
        return int(times) * int(n)

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        yield AssociatedPeer(interface="S11", peer="sgw1", address="127.0.0.14:2123", state="up", is_up=True)
        yield AssociatedPeer(interface="S11", peer="sgw2", address="127.0.0.15:2123", state="down", is_up=False)

    def tunnels(self) -> Iterable[TunnelEnd]:
        yield TunnelEnd(name="s11_mme_teid", teid=17, address="127.0.0.1", own=True, imsi="001010000000001")


@pytest.fixture
def node() -> Example:
    return Example(NodeConfig.model_validate({"name": "n1", "admin": {"port": 0}}), MemoryNetwork().transport("n1"))


@pytest.fixture
async def url(node: Example) -> AsyncIterator[str]:
    admin = AdminServer(node)
    await admin.start()
    node.started_at = 0.0
    yield f"http://{admin.address}"
    await admin.stop()


async def get(url: str) -> tuple[int, object]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def test_health_and_readiness(node: Example, url: str) -> None:
    assert await get(f"{url}/healthz") == (200, {"status": "alive", "node": "n1", "kind": "example"})
    assert (await get(f"{url}/readyz"))[0] == 503
    node.ready = True
    assert (await get(f"{url}/readyz"))[0] == 200


async def test_views_and_commands(url: str) -> None:
    status, known = await get(f"{url}/state")
    assert status == 200
    assert isinstance(known, dict)
    assert known["views"] == ["associations", "impairments", "procedures", "session_ends", "things", "timers", "tunnels"]
    assert sorted(known["commands"]) == ["double", "impair", "repair"]
    assert known["commands"]["double"] == ["n=", "[times=2]"]
    assert await get(f"{url}/state/things") == (200, [{"a": 1}])
    status, tunnels = await get(f"{url}/state/tunnels")
    assert status == 200
    assert isinstance(tunnels, list)
    assert tunnels[0]["label"] == "t1"
    assert (await get(f"{url}/state/none"))[0] == 404


@pytest.mark.parametrize(("body", "status"), [(b'{"n": "21"}', 200), (b'{"n": "x"}', 400), (b'{"m": "1"}', 400), (b"[", 400), (b"[1]", 400),
                                              (b'{"n": "none"}', 404), (b'{"n": "far"}', 502)])
async def test_a_command_answers_its_result_or_what_was_wrong(url: str, body: bytes, status: int) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/command/double", data=body) as answer:
        assert answer.status == status
        assert ("result" if status == 200 else "error") in await answer.json()


async def post(url: str, body: bytes) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
        return answer.status, await answer.json()


async def test_links_are_impaired_and_repaired_while_the_node_runs(node: Example, url: str) -> None:
    s11 = {"peers": ["10.0.0.1"], "interface": "S11", "incoming": False, "delay_ms": 40.0, "jitter_ms": 0.0, "loss": "1%", "duplicate": "0%",
           "reorder": "0%", "packets": 0, "lost": 0, "doubled": 0, "held": 0}
    asked = b'{"peer": "10.0.0.1", "interface": "S11", "delay_ms": "40", "loss": "1%"}'
    assert await post(f"{url}/command/impair", asked) == (200, {"result": [s11]})
    way = node.transport.impairments.way_to("S11", "10.0.0.1")
    assert way is not None
    assert (way.link.delay_s, way.link.loss) == (0.04, 0.01)
    status, answer = await post(f"{url}/command/impair", b'{"delay_ms": "5"}')
    assert status == 200
    assert isinstance(answer["result"], list)
    assert [each["interface"] for each in answer["result"]] == ["any", "S11"], "the newest goes first"
    await post(f"{url}/command/impair", b'{"delay_ms": "6"}')
    _, shown = await get(f"{url}/state/impairments")
    assert isinstance(shown, list)
    assert [each["delay_ms"] for each in shown] == [6.0, 40.0], "of the same packets the newest only"
    for body, error in ((b'{"loss": "200%"}', "loss: "), (b'{"peer": "sgw1"}', "peers: "), (b'{"delay_ms": "-1"}', "delay_ms: ")):
        status, answer = await post(f"{url}/command/impair", body)
        assert (status, str(answer["error"]).startswith(error)) == (400, True), answer
    assert await post(f"{url}/command/repair", b"{}") == (200, {"result": []})
    assert node.transport.impairments.rules == ()


async def test_wrong_arguments_are_answered_with_the_right_ones(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/command/double", data=b'{"m": "1"}') as answer:
        assert (await answer.json())["error"] == "missing a required argument: 'n'; usage: double n= [times=2]"


async def test_associations_timers_and_tunnels(node: Example, url: str) -> None:
    assert await get(f"{url}/state/associations") == (200, [
        {"interface": "S11", "peer": "sgw1", "address": "127.0.0.14:2123", "state": "up", "is_up": True, "pending_requests": 0},
        {"interface": "S11", "peer": "sgw2", "address": "127.0.0.15:2123", "state": "down", "is_up": False, "pending_requests": 0}])
    assert await get(f"{url}/state/timers") == (200, [])
    assert node.metrics.value("associations", interface="S11") == 1
    assert node.metrics.value("tunnels", tunnel="t1") == 1


async def test_nothing_but_health_before_the_start(node: Example, url: str) -> None:
    node.started_at = None
    assert await get(f"{url}/state/tunnels") == (503, {"error": "n1 is still starting"})
    assert (await get(f"{url}/healthz"))[0] == 200
    assert (await get(f"{url}/readyz"))[0] == 503


async def test_metrics_are_scraped(node: Example, url: str) -> None:
    @procedure(spec="-")
    async def attach() -> None: ...

    await node.runner.start(attach)
    node.metrics.message_sent("S11", "CreateSessionRequest")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert 'epc_example_procedure_successes_total{procedure="attach"} 1.0' in text
    assert 'epc_example_messages_total{direction="sent",interface="S11",type="CreateSessionRequest"} 1.0' in text
    assert node.metrics.value("procedure_attempts_total", procedure="attach") == 1.0


def test_durations_fall_into_cumulative_buckets(node: Example) -> None:
    for duration_s in (0.0005, 0.001, 0.2, 99.0):
        node.metrics.step_finished("attach", "03-authentication", duration_s)

    def up_to(bound: str) -> float:
        return node.metrics.value("step_duration_seconds_bucket", procedure="attach", step="03-authentication", le=bound)

    assert [up_to(bound) for bound in ("0.001", "0.1", "0.25", "30.0", "+Inf")] == [2, 2, 3, 3, 4]
    assert node.metrics.value("step_duration_seconds_count", procedure="attach", step="03-authentication") == 4
    assert node.metrics.value("step_duration_seconds_sum", procedure="attach", step="03-authentication") == pytest.approx(99.2015)
    assert b"# TYPE epc_example_step_duration_seconds histogram" in node.metrics.exposition()


async def test_serve_starts_and_stops_cleanly(node: Example) -> None:
    stopped = asyncio.Event()
    serving = asyncio.ensure_future(serve(node, stopped))
    await asyncio.sleep(0.05)
    stopped.set()
    await serving
    assert node.stopped
