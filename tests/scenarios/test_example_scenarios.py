"""The scenarios that are shipped for phones and links, in memory on the virtual clock: they pass, and what they show is there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from epc.dataplane.hosts import HostKind
from epc.lab.scenario import Lab, load_scenario, run_scenario
from epc.lab.topology import NodeEntry, Topology, load_topology
from epc.transport.memory import Link, MemoryNetwork
from ran.station import StationConfig

SCENARIOS = Path(__file__).parents[2] / "scenarios"
pytestmark = pytest.mark.virtual_clock


def in_process(topology: Topology) -> Topology:
    """The same with every host inside this process."""
    def changed(entry: NodeEntry) -> NodeEntry:
        config = entry.config
        if isinstance(config, StationConfig):
            phones = tuple(phone.model_copy(update={"host": "in_process"}) for phone in config.phones)
            config = config.model_copy(update={"phone_hosts": "in_process", "phones": phones})
        elif "sgi_hosts" in type(config).model_fields:
            config = config.model_copy(update={"sgi_hosts": HostKind.IN_PROCESS})
        return dataclasses.replace(entry, config=config)

    return dataclasses.replace(topology, nodes=tuple(map(changed, topology.nodes)))


async def run(name: str) -> Lab:
    network = MemoryNetwork(link=Link(delay_s=0.0005))
    chosen = load_scenario(SCENARIOS / f"{name}.py")
    lab = await run_scenario(
        chosen, lambda entry, tap: network.transport(entry.name, tap=tap, impairments=entry.config.link_impairments()),
        topology=in_process(load_topology(chosen.topology)))
    assert (lab.report.result, lab.report.problems) == ("passed", [])
    return lab


async def test_phones_on_the_web() -> None:
    lab = await run("web")
    assert sum(what == "https: the page came whole, from 10.200.0.2" for what, _ in lab.report.checks) == 2


async def test_attaches_over_bad_links() -> None:
    lab = await run("bad_link")
    requests = ("Create Session Request", "Modify Bearer Request", "Delete Session Request")
    sent = [event for event in lab.observer.events if event.name in requests and event.interface == "S11"]
    assert len(sent) > 4 * len(requests), "four attaches; something was lost, and sent again"


async def test_a_call_gets_its_bearer() -> None:
    lab = await run("voice_call")
    on_rx = [event.name for event in lab.observer.events if event.interface == "Rx"]
    assert on_rx.count("AA Request (AAR)") == 3, "asked for, put on hold, taken up again"
    assert on_rx.count("Session Termination Request (STR)") == 1
    assert any(event.name == "Create Bearer Request" for event in lab.observer.events)
