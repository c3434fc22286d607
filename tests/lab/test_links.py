"""``links`` of a topology file: errors by line and key, what each node gets of them, and a network that works all the same."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from epc.dataplane.hosts import HostKind
from epc.lab.links import own_addresses
from epc.lab.scenario import Lab
from epc.lab.topology import NodeEntry, Topology, load_topology
from epc.node import ConfigError
from epc.transport.interface import Tap, Transport
from epc.transport.memory import Link, MemoryNetwork
from epc.transport.sctp import sctp_capabilities
from epc.transport.sockets import SocketTransport
from tests.scenarios.conftest import IMSI

SCENARIOS = Path(__file__).parents[2] / "scenarios"
TOPOLOGIES = sorted(path for path in SCENARIOS.glob("*.yaml") if "nodes" in (yaml.safe_load(path.read_text()) or {}))


def topology(tmp_path: Path, links: str) -> Topology:
    """attach.yaml with these lines of links in front."""
    text = (SCENARIOS / "attach.yaml").read_text()
    file = tmp_path / "links.yaml"
    file.write_text(f"links:\n{links}\n{text}")
    return load_topology(file)


def impairments(found: Topology, name: str) -> list[dict[str, Any]]:
    (entry,) = (entry for entry in found.nodes if entry.name == name)
    written = entry.data.get("impairments", [])
    assert [type(each).model_validate(data) for each, data in zip(entry.config.impairments, written, strict=True)] == list(entry.config.impairments)
    return written


def test_each_direction_goes_to_the_node_that_sends(tmp_path: Path) -> None:
    found = topology(tmp_path, """
  - {between: [enb1, sgw1], interface: S1-U, delay_ms: 40, jitter_ms: 5, loss: 1%, duplicate: 0.1%, reorder: 1%}
  - {from: mme1, to: hss1, delay_ms: 80}
  - {between: [pgw1, 192.0.2.7], loss: 0.5}
""")
    quality = {"delay_ms": 40.0, "jitter_ms": 5.0, "loss": 0.01, "duplicate": 0.001, "reorder": 0.01, "interface": "S1-U"}
    assert impairments(found, "enb1") == [{"peers": ["127.0.0.14", "127.0.0.15"], **quality}]
    assert impairments(found, "sgw1") == [{"peers": ["127.0.0.17"], **quality}]
    assert impairments(found, "mme1") == [{"peers": ["127.0.0.11"], "delay_ms": 80.0}]
    assert impairments(found, "hss1") == []
    assert impairments(found, "pgw1") == [{"peers": ["192.0.2.7"], "loss": 0.5}, {"peers": ["192.0.2.7"], "loss": 0.5, "incoming": True}]


@pytest.mark.parametrize(("line", "problem"), [
    ("{between: [enb1, sgw9]}", "links.1: 'sgw9' is neither a node nor an address; there are hss1, pcrf1, pgw1, sgw1, mme1, enb1"),
    ("{between: [enb1]}", "links.1.between: needs at least 2 entries"),
    ("{between: [enb1, sgw1], dely_ms: 3}", "links.1.dely_ms: unknown key, perhaps 'delay_ms'; allowed here: between, delay_ms, duplicate, from, "),
    ("{between: [enb1, sgw1], loss: 101%}", "links.1.loss: must be less than or equal to 1, not '101%'"),
    ("{between: [enb1, sgw1], loss: much}", "links.1.loss: must be a valid number, unable to parse string as a number, not 'much'"),
    ("{between: [enb1, sgw1], delay_ms: -1}", "links.1.delay_ms: must be greater than or equal to 0, not -1"),
    ("{between: [enb1, sgw1], interface: S1U}", "links.1.interface: must be 'S1-MME', 'S1-U', 'S11', "),
    ("{from: enb1, loss: 1}", "links.1: needs either between: [A, B], or from: A and to: B"),
    ("{delay_ms: 1}", "links.1: needs either between: [A, B], or from: A and to: B"),
    ("{between: [192.0.2.1, 192.0.2.2]}", "links.1: neither 192.0.2.1 nor 192.0.2.2 is a node; there are "),
])
def test_errors_name_line_and_key(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        topology(tmp_path, f"  - {{between: [enb1, mme1]}}\n  - {line}")
    assert raised.value.problems[0].startswith(f"{tmp_path / 'links.yaml'}:3: {problem}")


def test_links_must_be_a_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="links"):
        topology(tmp_path, "  enb1: {loss: 1}")


@pytest.mark.virtual_clock
@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
async def test_own_addresses_are_those_that_a_node_uses(path: Path) -> None:
    """Of every topology that is shipped: what a node binds is among its own addresses, and no two nodes have one in common."""
    found = load_topology(path)
    own = {entry.name: own_addresses(entry.config) for entry in found.nodes}
    for name, addresses in own.items():
        for other, others in own.items():
            assert name == other or not addresses & others, f"{name} and {other}"
    network = MemoryNetwork(link=Link(delay_s=0.001))
    lab = _lab(found, _in_memory(network))
    await lab.start()
    used = {(endpoint.node, address.host) for (_, address), endpoint in network._bound.items()}
    used |= {(end.node, end.local.host) for pair in network._pairs for end in (pair.one, pair.other)}
    try:
        for node, host in used:
            assert host in own[node] or host.startswith("10.255."), f"{node} uses {host}, {own[node]} are known"
    finally:
        await lab.stop()


def _in_memory(network: MemoryNetwork) -> Callable[[NodeEntry, Tap], Transport]:
    return lambda entry, tap: network.transport(entry.name, tap=tap, impairments=entry.config.link_impairments())


def _lab(found: Topology, transport_for: Callable[[NodeEntry, Tap], Transport]) -> Lab:
    """With hosts inside this process, for the sake of the virtual clock."""
    def in_process(entry: NodeEntry) -> NodeEntry:
        here = {"phone_hosts": "in_process", "sgi_hosts": HostKind.IN_PROCESS}
        known = {key: value for key, value in here.items() if key in type(entry.config).model_fields}
        return dataclasses.replace(entry, config=entry.config.model_copy(update=known))

    return Lab(dataclasses.replace(found, nodes=tuple(in_process(entry) for entry in found.nodes)), transport_for)


@pytest.mark.virtual_clock
async def test_a_phone_attaches_over_bad_links_and_its_ping_takes_as_long_as_they_say(tmp_path: Path) -> None:
    found = topology(tmp_path, """
  - {between: [enb1, sgw1], interface: S1-U, delay_ms: 40}
  - {between: [mme1, sgw1], interface: S11, loss: 20%, duplicate: 10%, reorder: 10%}
  - {between: [sgw1, pgw1], interface: S5/S8, loss: 20%}
  - {between: [mme1, enb1], delay_ms: 50, jitter_ms: 20, loss: 5%}
""")
    network = MemoryNetwork(link=Link(delay_s=0.0))
    lab = _lab(found, _in_memory(network))
    await lab.start()
    phone = lab.phone(IMSI)
    try:
        for _ in range(6):
            await lab.attach(phone)
            result = await (await phone.host()).ping(lab.server, count=5)
            assert result.received == 5
            assert all(round_trip_s == pytest.approx(0.08, abs=0.005) for round_trip_s in result.round_trips_s)
            await lab.detach(phone)
            await asyncio.sleep(30)
        lab.check_invariants(nothing_left=True)
    finally:
        await lab.stop()
    sent = sum(event.name == "Create Session Request" for event in lab.observer.events)
    assert sent > 12, "6 attaches, two interfaces: some were sent again"


@pytest.mark.virtual_clock
async def test_a_scenario_makes_links_bad_and_good_again(tmp_path: Path) -> None:
    lab = _lab(topology(tmp_path, "  - {between: [enb1, sgw1], interface: S1-U, delay_ms: 40}"), _in_memory(MemoryNetwork(link=Link(delay_s=0.0))))
    await lab.start()
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    host = await phone.host()

    async def round_trip_s() -> float:
        return min((await host.ping(lab.server, timeout_s=5)).round_trips_s)

    assert await round_trip_s() == pytest.approx(0.08, abs=0.005)
    lab.impair("enb1", "sgw1", interface="S1-U", delay_ms=100, both_ways=False)
    assert await round_trip_s() == pytest.approx(0.14, abs=0.005), "in place of the 40 ms in that direction"
    lab.impair("sgw1", "pgw1", delay_ms=10)
    assert await round_trip_s() == pytest.approx(0.16, abs=0.005)
    lab.repair("enb1")
    assert await round_trip_s() == pytest.approx(0.06, abs=0.005)
    lab.repair()
    assert await round_trip_s() < 0.01
    with pytest.raises(ValueError, match="dely_ms"):
        lab.impair("enb1", "sgw1", dely_ms=1)
    with pytest.raises(ValueError, match="'sgw9' is neither a node nor an address"):
        lab.impair("enb1", "sgw9", delay_ms=1)
    await lab.detach(phone)
    await lab.stop()


@pytest.mark.real_time
@pytest.mark.skipif(not sctp_capabilities().usable, reason="this host has no SCTP")
async def test_on_real_sockets_a_ping_takes_longer_by_what_the_link_adds(tmp_path: Path) -> None:
    own = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}."
    text = (SCENARIOS / "attach.yaml").read_text().replace("127.0.0.", own)
    file = tmp_path / "links.yaml"
    file.write_text("links:\n  - {between: [enb1, sgw1], interface: S1-U, delay_ms: 60}\n  - {between: [enb1, mme1], delay_ms: 20}\n" + text)
    lab = _lab(load_topology(file), lambda entry, tap: SocketTransport(
        entry.name, tap=tap, sctp=entry.config.sctp.settings(), impairments=entry.config.link_impairments()))
    await lab.start()
    try:
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        host = await phone.host()
        impaired = await host.ping(lab.server, count=5, interval_s=0.02)
        for name in ("enb1", "sgw1"):
            lab.node(name).transport.impairments.replace(())
        good = await host.ping(lab.server, count=5, interval_s=0.02)
        assert impaired.received == good.received == 5
        assert min(impaired.round_trips_s) >= 0.12
        assert min(impaired.round_trips_s) > 3 * min(good.round_trips_s)
        await lab.detach(phone)
    finally:
        await lab.stop()
