"""Phones of one operator wander between two others while agents, name servers and gateways fail and the home operator changes its mind: in the end
everything is as it was in the beginning, in all three networks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from epc.hss.provisioning.fields import parse_apns
from epc.transport.memory import Link
from ran.ue import EmmState, ProcedureRunning
from tests.scenarios.test_roaming_failures import third_operator

pytestmark = pytest.mark.virtual_clock
PHONES = 6
IMSIS = [f"0010100000000{number:02d}" for number in range(1, PHONES + 1)]
SIM = {"k": "465B5CE8B199B49FAA5F0A2EE238A6BC", "opc": "E8ED289DEBA952E4283B54E88E6183CA"}
SUBSCRIPTIONS = ("internet", "internet visited=yes", "internet qci=8 dl=10M", "internet visited=yes pgw=127.0.2.13")
CROWD: dict[str, Any] = {
    **third_operator(), "enb-visited.phones": [{"imsi": IMSIS[0], "count": PHONES, **SIM}],
    "hss-home.subscribers": [{"imsi": IMSIS[0], "count": PHONES, "apns": [SUBSCRIPTIONS[0]]}],
    # a Create Session Response that is lost as often as it is asked for leaves a session at the PGW that only the next attach there replaces
    "sgw-visited.gtp_s5": {"t3_response_s": 1.0, "n3_requests": 10}, "sgw-france.gtp_s5": {"t3_response_s": 1.0, "n3_requests": 10},
    "mme-visited.gtp": {"n3_requests": 10}, "mme-france.gtp": {"n3_requests": 10},
    "ocs-home.accounts": [{"imsi": IMSIS[0], "count": PHONES, "balance": "1000.00"}],
}
CELLS = ("enb-visited", "enb-france")
LINKS = [("mme-visited", "enb-visited"), ("mme-visited", "dra-visited"), ("dra-visited", "dra-home"), ("dra-home", "hss-home"),
         ("pcrf-visited", "dra-visited"), ("sgw-visited", "pgw-visited"),
         ("sgw-visited", "pgw-home"),
         ("mme-visited", "dns-visited"), ("dns-visited", "dns-home"), ("pgw-home", "pcrf-home"), ("mme-france", "dra-home")]
FRAGILE = ("dra-visited", "dra-home", "dns-visited", "dns-home", "sgw-visited", "pgw-home", "mme-visited", "hss-home", "pcrf-visited",
           "pgw-visited", "ocs-home", "mme-france")


async def live(world, imsi: str, chance: random.Random, until_s: float) -> None:
    """One phone's life."""
    ue = world.lab.phone(imsi).ue
    while world.now() < until_s:
        try:
            match chance.choice(("attach", "attach", "attach", "detach", "battery", "travel", "idle", "update")):
                case _ if ue.state is EmmState.NULL:
                    ue.camp_on(world.node(chance.choice(CELLS)).cells[0])
                case "attach":
                    await ue.attach(max_attempts=1)
                case "detach":
                    await ue.detach(switch_off=chance.random() < 0.5)
                case "battery":
                    ue.lose_power()
                case "travel":
                    ue.lose_power()
                    ue.camp_on(world.node(chance.choice(CELLS)).cells[0])
                case "idle" if ue.registered:
                    ue.lose_radio()
                    await asyncio.sleep(1)
                    await ue.request_service()
                case "update":
                    await ue.update_tracking_area()
        except ProcedureRunning:
            pass
        ue.sim.valid = True
        await asyncio.sleep(chance.random() * 5)


async def operate(world, chance: random.Random, until_s: float) -> None:
    """The home operator works on its subscribers."""
    while world.now() < until_s:
        await asyncio.sleep(chance.random() * 10)
        hss = world.lab.network.nodes.get("hss-home")
        if hss is None:
            continue
        imsi = chance.choice(IMSIS)
        try:
            match chance.choice(("change", "change", "cancel", "reset")):
                case "change":
                    apns = parse_apns(chance.choice(SUBSCRIPTIONS), 1)
                    await hss.store.put(
                        replace(await hss.store.get(imsi), apns=apns, ambr_dl_bps=chance.randint(1, 9) * 10**8), replace=True)
                    await hss.commands()["insert_subscriber_data"](imsi=imsi)
                case "cancel":
                    await hss.commands()["cancel_location"](imsi=imsi, reattach=chance.choice(("yes", "no")))
                case "reset":
                    await hss.commands()["reset"]()
        except (LookupError, ConnectionError):
            pass                    # nobody serves the subscriber, or not now


async def make_trouble(world, chance: random.Random, until_s: float) -> None:
    while world.now() < until_s:
        await asyncio.sleep(chance.random() * 20)
        if chance.random() < 0.6:
            one, other = chance.choice(LINKS)
            world.wires.cut(one, other)
            await asyncio.sleep(chance.choice((0.05, 1, 8)))
            world.wires.heal(one, other)
        else:
            name = chance.choice(FRAGILE)
            await world.crash(name)
            await asyncio.sleep(2)
            await world.revive(name)


@pytest.mark.parametrize("seed", [11, 23])
async def test_everything_is_well_in_all_networks_when_the_troubles_are_over(network, tmp_path, seed: int) -> None:
    chance = random.Random(seed)
    link = Link(delay_s=0.002, jitter_s=0.002, loss=0.03, duplication=0.03, reordering=0.03)
    changes = {**CROWD, "hss-home.database": f"sqlite:///{tmp_path}/hss.sqlite"}           # outlives the HSS's crashes
    async with network(changes, file="roaming.yaml", link=link) as world:
        until_s = world.now() + 200
        await asyncio.gather(
            make_trouble(world, chance, until_s), operate(world, random.Random(f"{seed}/operator"), until_s),
            *(live(world, imsi, random.Random(f"{seed}/{imsi}"), until_s) for imsi in IMSIS))
        world.wires.heal()
        world.wires.default_link = Link(delay_s=0.001)
        await asyncio.sleep(200)                    # echoes find who has restarted
        await world.lab.network.ready(60)

        # every phone can attach in Barcelona, and has service
        hss = world.node("hss-home")
        for imsi in IMSIS:
            await hss.store.put(replace(await hss.store.get(imsi), apns=parse_apns("internet", 1)), replace=True)
            phone = world.lab.phone(imsi)
            if phone.ue.registered:
                await phone.ue.detach()
                await world.lab.settled(patience_s=60)
            phone.ue.lose_power()
            phone.ue.camp_on(world.node("enb-visited").cells[0])
            await world.lab.settled(patience_s=60)
            kept = world.node("mme-visited").ues.by_imsi.get(imsi)
            if kept is not None:
                kept.location_confirmed_in_hss = False          # what the HSS says now counts
            await world.lab.attach(phone)
        await world.lab.settled(patience_s=60)
        world.lab.check_invariants()
        for imsi in IMSIS:
            await world.lab.ping(world.lab.phone(imsi), world.lab.server, count=1)
        assert len(world.node("pgw-home").sessions) == len(world.node("pcrf-home").sessions) == PHONES
        for imsi in IMSIS:
            await world.lab.detach(world.lab.phone(imsi))
        await world.at_rest()
