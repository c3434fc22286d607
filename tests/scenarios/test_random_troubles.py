"""Ten phones do what phones do, while links lose packets and get cut, and nodes crash: in the end everything is as it was in the beginning."""

from __future__ import annotations

import asyncio
import random

import pytest

from epc.transport.memory import Link
from ran.ue import EmmState, ProcedureRunning

pytestmark = pytest.mark.virtual_clock
PHONES = 10
IMSIS = [f"0010100000000{number:02d}" for number in range(1, PHONES + 1)]
CROWD = {
    "enb1.phones.0.count": PHONES, "enb1.phones.0.guti": ..., "hss1.subscribers.0.count": PHONES,
    "enb2": {
        "kind": "enb", "enb_id": 2, "plmn": "00101", "cells": [{"cell_id": 1, "tac": 1}], "mmes": [{"host": "127.0.0.16"}],
        "s1_mme_host": "127.0.0.18", "s1u": {"host": "127.0.0.18"}},
}
LINKS = [("mme1", "enb1"), ("mme1", "enb2"), ("mme1", "sgw1"), ("sgw1", "pgw1"), ("mme1", "hss1"), ("pgw1", "pcrf1")]


async def live(world, imsi: str, chance: random.Random, until_s: float) -> None:
    """One phone's life: whatever comes to its mind next, if it is in a state to do it."""
    ue = world.lab.phone(imsi).ue
    while world.now() < until_s:
        cells = [world.node(name).cell for name in ("enb1", "enb2")]
        wish = chance.choice(("attach", "attach", "attach", "detach", "switch off", "battery", "tunnel", "walk", "idle", "service", "update"))
        try:
            match wish:
                case _ if ue.state is EmmState.NULL:
                    ue.camp_on(chance.choice(cells))
                case "attach":
                    await ue.attach(max_attempts=chance.randrange(1, 3))
                case "detach" | "switch off":
                    await ue.detach(switch_off=wish == "switch off")
                case "battery":
                    ue.lose_power()
                case "tunnel":
                    ue.lose_radio()
                case "walk":
                    ue.camp_on(chance.choice(cells))
                case "idle" if ue.registered:
                    ue.lose_radio()
                    await asyncio.sleep(1)
                    await ue.request_service()
                case "service":
                    await ue.request_service()
                case "update":
                    await ue.update_tracking_area()
        except ProcedureRunning:
            pass
        ue.sim.valid = True
        await asyncio.sleep(chance.random() * 5)


async def make_trouble(world, chance: random.Random, until_s: float) -> None:
    while world.now() < until_s:
        await asyncio.sleep(chance.random() * 20)
        if chance.random() < 0.7:
            one, other = chance.choice(LINKS)
            world.wires.cut(one, other)
            await asyncio.sleep(chance.choice((0.05, 1, 8)))
            world.wires.heal(one, other)
        else:
            name = chance.choice(("sgw1", "pgw1", "hss1", "pcrf1", "mme1"))
            await world.crash(name)
            await asyncio.sleep(2)
            await world.revive(name)


@pytest.mark.parametrize("seed", range(3))
async def test_everything_is_well_when_the_troubles_are_over(network, seed) -> None:
    chance = random.Random(seed)
    link = Link(delay_s=0.002, jitter_s=0.002, loss=0.05, duplication=0.05, reordering=0.05)
    async with network(CROWD, link=link) as world:
        until_s = world.now() + 300
        await asyncio.gather(make_trouble(world, chance, until_s), *(live(world, imsi, random.Random(f"{seed}/{imsi}"), until_s) for imsi in IMSIS))
        world.wires.heal()
        world.wires.default_link = Link(delay_s=0.001)
        await asyncio.sleep(200)                    # echoes find who has restarted, T3402 is far away
        await world.lab.network.ready(60)

        # every phone can attach, and has service
        for imsi in IMSIS:
            phone = world.lab.phone(imsi)
            if phone.ue.state is EmmState.NULL:
                phone.ue.camp_on(world.node("enb1").cell)
            if phone.ue.registered:
                await phone.ue.detach()
                await world.lab.settled()
            await world.lab.attach(phone)
        world.lab.check_invariants()
        for imsi in IMSIS:
            await world.lab.ping(world.lab.phone(imsi), world.lab.server, count=1)
        assert len(world.node("pgw1").sessions) == len(world.node("pcrf1").sessions) == PHONES
        for imsi in IMSIS:
            await world.lab.detach(world.lab.phone(imsi))
        await world.at_rest()
