"""Sessions of Diameter that one end has forgotten are found by the checker, by name, and only those."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from epc.lab.invariants import check_sessions, held_sessions
from epc.lab.scenario import ScenarioFailed
from scenarios.online_charging import IMSI as CHARGED
from tests.scenarios.conftest import IMSI, Build, World
from tests.scenarios.test_gateway_selection import FILE
from tests.scenarios.test_local_breakout import LOCAL_BREAKOUT

pytestmark = pytest.mark.virtual_clock


def interfaces(world: World, node: str) -> list[str]:
    return sorted(end.interface for end in world.node(node).session_ends())


async def test_a_session_that_only_the_pcrf_holds(network: Build) -> None:
    async with network() as world:
        lab, pcrf = world.lab, world.node("pcrf1")
        await lab.attach(lab.phone(IMSI))
        [session] = pcrf.sessions
        lab.check_invariants()
        await lab.detach(lab.phone(IMSI))
        await world.at_rest()
        pcrf.sessions.add(session)
        leak = f"pcrf1 holds Gx session {session.session_id} of IMSI {IMSI} with {session.pcef_host}, which no pgw has: a leak"
        with pytest.raises(ScenarioFailed) as raised:
            lab.check_invariants(nothing_left=False)
        assert str(raised.value) == f"left over: {leak}"
        with pytest.raises(ScenarioFailed, match="pcrf1 still holds Gx session"):
            lab.check_invariants()
        pcrf.sessions.remove(session)
        await world.attaches_and_detaches()


async def test_a_session_that_the_pcrf_has_forgotten(network: Build) -> None:
    async with network() as world:
        lab, pcrf = world.lab, world.node("pcrf1")
        await lab.attach(lab.phone(IMSI))
        await lab.settled()
        [session] = pcrf.sessions
        pcrf.sessions.remove(session)
        with pytest.raises(ScenarioFailed, match=f"pgw1 still uses Gx session {session.session_id} of IMSI {IMSI} with [^ ]+, which no pcrf holds"):
            lab.check_invariants()
        pcrf.sessions.add(session)
        lab.check_invariants()
        await lab.detach(lab.phone(IMSI))
        await world.at_rest()


async def test_a_credit_control_session_that_only_the_ocs_holds(network: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(file="online-charging.yaml") as world:
        lab, ocs = world.lab, world.node("ocs1")
        await lab.attach(lab.phone(CHARGED))
        await lab.settled()
        [end] = ocs.session_ends()
        assert (end.interface, end.imsi) == ("Gy", CHARGED)
        assert interfaces(world, "pgw1") == ["Gx", "Gy"]
        lab.check_invariants()
        await lab.detach(lab.phone(CHARGED))
        await lab.settled(patience_s=60)
        lab.check_invariants(nothing_left=True)
        with monkeypatch.context() as context:
            context.setattr(ocs, "session_ends", lambda: [end])
            with pytest.raises(ScenarioFailed, match=f"ocs1 holds Gy session {end.session_id} of IMSI {CHARGED} with [^ ]+, which no pgw has"):
                lab.check_invariants()


async def test_the_ocs_knows_the_sessions_of_its_database_after_a_restart(network: Build, tmp_path: Path) -> None:
    async with network({"ocs1.database": f"sqlite:///{tmp_path}/ocs.db"}, file="online-charging.yaml") as world:
        await world.lab.attach(world.lab.phone(CHARGED))
        await world.lab.settled()
        before = list(world.node("ocs1").session_ends())
        await world.crash("ocs1")
        await world.revive("ocs1")
        assert list(world.node("ocs1").session_ends()) == before != []
        world.lab.check_invariants()
        await world.lab.detach(world.lab.phone(CHARGED))
        await world.lab.settled(patience_s=60)
        world.lab.check_invariants(nothing_left=True)


async def test_pseudonyms_in_session_ids_are_no_leaks(network: Build) -> None:
    hidden = {f"dra-{operator}.topology_hiding": {"secret": "s"} for operator in ("visited", "home")}
    async with network(LOCAL_BREAKOUT | hidden, file=FILE) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await lab.settled()
        [at_home] = world.node("pcrf-home").session_ends()
        [abroad] = [end for end in world.node("pcrf-visited").session_ends() if end.interface == "S9"]
        assert at_home.session_id != abroad.session_id
        lab.check_invariants()
        held = held_sessions(lab.network)
        kinds = [node.kind for node in lab.network]
        assert check_sessions(held, kinds) == []
        assert check_sessions([each for each in held if each.end != abroad], kinds) == [
            f"pcrf-home holds S9 session {at_home.session_id} of IMSI {IMSI} with {at_home.peer}, which no pcrf has: a leak"]
        await lab.detach(phone)
        await world.at_rest()


async def test_a_session_that_is_being_ended_is_left_alone(network: Build) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        world.wires.cut("pcrf1")
        detaching = asyncio.ensure_future(lab.detach(phone))
        await asyncio.sleep(1)
        assert [interfaces(world, name) for name in ("pgw1", "pcrf1")] == [[], ["Gx"]]
        assert [each.partition(" of ")[0] for each in world.sessions_left() if "waits" in each] == ["pgw1 still waits for 1 answers"]
        lab.check_invariants(nothing_left=True)
        world.wires.heal("pcrf1")
        await detaching
        await asyncio.sleep(60)
        await world.at_rest()
