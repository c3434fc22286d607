"""Two operators in memory: the home one decides, the visited one serves."""

from __future__ import annotations

import pytest

from epc.lab.scenario import load_scenario
from tests.scenarios.conftest import SCENARIOS

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
FILE = "roaming.yaml"
AIR = "Authentication Information Request (AIR)"


async def test_a_phone_attaches_abroad_and_leaves_nothing_in_either_network(network) -> None:
    async with network(file=FILE) as world:
        lab = world.lab
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        lab.check_invariants()
        assert str(phone.ue.ip) == "10.45.0.1", "an address of the home operator's pool"
        assert world.node("hss-home").metrics.value("authentication_vectors_total") == 1
        way = [(event.source, event.destination) for event in lab.observer.events if event.name == AIR]
        assert way == [("mme-visited", "dra-visited"), ("dra-visited", "dra-home"), ("dra-home", "hss-home")]
        where = {row.label: row.allocated_by for row in lab.report.phones[IMSI].tunnels}
        assert (where["t4"], where["t5"], where["t2"], where["t3"]) == ("pgw-home", "pgw-home", "sgw-visited", "sgw-visited")
        assert {row.operator for row in lab.report.phones[IMSI].tunnels} == {"Barcelona 214/07", "Home 001/01"}
        story = "\n".join(lab.report.phones[IMSI].story)
        assert "made by hss-home (Home 001/01); asked for by mme-visited > dra-visited > dra-home > hss-home" in story
        assert "10.45.0.1, of pgw-home (Home 001/01)" in story
        await lab.ping(phone, lab.server)
        await lab.detach(phone)
        await world.at_rest()


async def test_connections_come_from_the_operators_own_addresses(network) -> None:
    async with network(file=FILE) as world:
        remotes = {peer.remote.partition(":")[0] for name in ("dra-home", "dra-visited") for peer in world.node(name).diameter.peers()}
        assert remotes == {"127.0.1.31", "127.0.2.31", "127.0.2.11", "127.0.2.12", "127.0.1.12", "127.0.1.16"}


@pytest.mark.parametrize("story", ["roaming", "still_no_facebook", "local_breakout"])
async def test_the_stories(network, story: str) -> None:
    """What `epclab run scenarios/STORY.py` tells, in memory: every check of it, and nothing left in either network."""
    async with network(file=FILE) as world:
        await load_scenario(SCENARIOS / f"{story}.py").run(world.lab)
        await world.at_rest()
        assert all(passed for _, passed in world.lab.report.checks)
        assert len(world.lab.report.checks) > 5
        assert world.lab.observer.undecoded == 0
        if story == "still_no_facebook":
            names = [event.name for event in world.lab.observer.events if event.interface in ("Gx", "S5/S8-U")]
            blocked = names[:names.index("Re Auth Request (RAR)")]
            shown = {what for name in blocked for what in ("TLS Client Hello for", "HTTP GET") if name.startswith(f"{what} facebook.example")}
            assert len(shown) == 2, "what blocks it is what the phone shows, before the DNS has told anybody its address"
