"""Local breakout in a whole network: the phone's PGW is in Barcelona, its policies come from home over S9 (TS 23.203 clause 5.2, TS 29.215)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from epc.dataplane.ip_endpoint import udp_exchange
from epc.pcrf.editing import with_policy
from tests.scenarios.conftest import IMSI, Build, World
from tests.scenarios.test_gateway_selection import APNS, FILE, VISITED_PGW

pytestmark = pytest.mark.virtual_clock

HOME, VISITED = "epc.mnc001.mcc001.3gppnetwork.org", "epc.mnc007.mcc214.3gppnetwork.org"
NO_ECHO = {"flows": [{"description": "permit out 17 from any 7 to assigned"}], "status": "disabled", "precedence": 1, "where": "roaming"}
LOCAL_BREAKOUT: dict[str, Any] = {
    **VISITED_PGW, APNS: ["internet visited=yes"], "mme-visited.roaming.local_breakout": [{"home_plmns": ["00101"]}],
    "pgw-visited": VISITED_PGW["pgw-visited"] | {"gx": {"host": "127.0.1.13", "origin_realm": VISITED, "peers": [{"host": "127.0.1.12"}]}},
    "pcrf-visited": {
        "kind": "pcrf", "operator": "visited", "origin_host": f"pcrf.{VISITED}", "origin_realm": VISITED,
        "gx": {"listen": [{"host": "127.0.1.12"}]},
        "s9": {"peers": [{"host": "127.0.1.31", "default_route": True}], "partners": [{"plmn": "00101"}]},
        "policy": {"policies": [{"name": "local", "ambr_dl": "2M"}]}},
    "pcrf-home.s9": {"peers": [{"host": "127.0.2.31", "default_route": True}], "partners": [{"plmn": "21407"}]},
    "pcrf-home.policy": {"rules": {"no-echo": NO_ECHO, "all": {"precedence": 1000}},
                         "policies": [{"name": "everybody", "rules": ["no-echo", "all"], "ambr_dl": "30M"}]},
}


async def can_echo(world: World) -> bool:
    host = await world.lab.phone(IMSI).host()
    try:
        return await udp_exchange(host, "10.209.0.1", 7, b"hello", timeout_s=0.5) == b"hello"
    except TimeoutError:
        return False


async def test_home_decides_what_the_visited_gateway_enforces(network: Build) -> None:
    async with network(LOCAL_BREAKOUT, file=FILE) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert str(phone.ue.ip) == "10.99.0.1"
        assert "Credit Control Request (CCR)" in world.sent("S9")
        [gx, s9] = world.node("pcrf-visited").session_ends()
        assert (gx.interface, gx.own, gx.peer) == ("Gx", False, f"pgw-visited.{VISITED}")
        assert (s9.interface, s9.own, s9.peer, s9.imsi) == ("S9", True, f"pcrf.{HOME}", IMSI)
        [home_end] = world.node("pcrf-home").session_ends()
        assert (home_end.interface, home_end.session_id, home_end.own) == ("S9", s9.session_id, False)
        assert len(world.sessions_left()) == 4, "what has to be gone at the end: these, and the PGW's end of Gx"
        [session] = world.node("pcrf-home").sessions
        assert (session.serving_plmn, session.policy, len(world.node("pcrf-visited").sessions)) == ("21407", "everybody", 0)
        assert not await can_echo(world)
        await lab.ping(phone, "10.209.0.1")
        # home changes its mind while the phone is in Barcelona
        await world.node("pcrf-home").change_policies(lambda book: with_policy(book, "everybody", {"rules": ["all"]}))
        assert await can_echo(world)
        lab.check_invariants()
        await lab.detach(phone)
        await asyncio.sleep(1)
        assert (len(world.node("pcrf-home").sessions), len(world.node("pcrf-visited").visited_role)) == (0, 0)
        await world.at_rest()


async def test_home_unreachable_is_decided_in_barcelona(network: Build) -> None:
    async with network(LOCAL_BREAKOUT, file=FILE) as world:
        world.wires.cut("pcrf-home")
        await world.lab.attach(world.lab.phone(IMSI))
        [session] = world.node("pcrf-visited").sessions
        assert (session.policy, session.authorised_ambr.dl_bps) == ("local", 2_000_000)
        assert await can_echo(world)
        await world.lab.detach(world.lab.phone(IMSI))
        world.wires.heal("pcrf-home")
        await asyncio.sleep(60)
        await world.at_rest()
