"""The same ten phones with dedicated bearers, which an operator pushes and takes back all the time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from epc.transport.memory import Link
from ran.ue import EmmState
from tests.scenarios.test_dedicated_bearers import policy
from tests.scenarios.test_random_troubles import CROWD, IMSIS, PHONES, live, make_trouble

pytestmark = pytest.mark.virtual_clock


async def meddle(world: Any, chance: random.Random, until_s: float) -> None:
    while world.now() < until_s:
        await asyncio.sleep(chance.random())
        pcrf = world.lab.network.nodes.get("pcrf1")
        if pcrf is None:
            continue
        command = chance.choice((pcrf._install_rule, pcrf._remove_rule))
        try:
            await command(rule=chance.choice(("voice", "video", "more-voice")), imsi=chance.choice(IMSIS))
        except (LookupError, ConnectionError):
            pass                        # nobody is there, or the gateway cannot be reached


@pytest.mark.parametrize("seed", range(2))
async def test_everything_is_well_when_the_troubles_are_over(network: Any, seed: int) -> None:
    chance = random.Random(seed)
    link = Link(delay_s=0.002, jitter_s=0.002, loss=0.05, duplication=0.05, reordering=0.05)
    async with network({**CROWD, **policy("voice")}, link=link) as world:
        until_s = world.now() + 300
        await asyncio.gather(
            make_trouble(world, chance, until_s), meddle(world, random.Random(seed), until_s),
            *(live(world, imsi, random.Random(f"{seed}/{imsi}"), until_s) for imsi in IMSIS))
        world.wires.heal()
        world.wires.default_link = Link(delay_s=0.001)
        await asyncio.sleep(200)
        await world.lab.network.ready(60)

        # every phone can attach, and has its bearers
        for imsi in IMSIS:
            phone = world.lab.phone(imsi)
            if phone.ue.state is EmmState.NULL:
                phone.ue.camp_on(world.node("enb1").cell)
            if phone.ue.registered:
                await phone.ue.detach()
                await world.lab.settled(patience_s=120)
            await world.lab.attach(phone)
        await world.lab.settled(patience_s=120)
        world.lab.check_invariants()
        for imsi in IMSIS:
            assert world.lab.phone(imsi).ue.active_bearers == (5, 6)
            await world.lab.ping(world.lab.phone(imsi), world.lab.server, count=1)
        sessions = world.node("pgw1").sessions.values()
        assert len(sessions) == PHONES
        assert all(list(session.bearers) == [5, 6] for session in sessions)
        for imsi in IMSIS:
            await world.lab.detach(world.lab.phone(imsi))
        await world.at_rest()
