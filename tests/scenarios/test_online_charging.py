"""Online charging through a whole network: whatever is lost, repeated or restarted, what was forwarded, reported and debited is the same."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from epc.dataplane.services.client import Failure
from scenarios.online_charging import IMSI, PENNILESS, charged, online_charging, transfer
from tests.scenarios.conftest import SCENARIOS, Build, World

pytestmark = pytest.mark.virtual_clock

FILE = "online-charging.yaml"
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
RICH: dict[str, Any] = {"ocs1.accounts": [{"imsi": IMSI, "balance": "100"}, {"imsi": PENNILESS, "balance": "0"}]}
SMALL_QUOTAS: dict[str, Any] = {"ocs1.tariff.quota": {"octets": "20k", "threshold_percent": 20, "validity_time_s": 3600, "holding_time_s": 600}}
PAGE = "http://10.200.0.1/octets/"          # by address: names are free of charge


async def ledger_octets(world: World) -> int:
    return sum(entry.get("octets", 0) for entry in await world.lab.command("ocs1", "ledger", imsi=IMSI, last="100000"))


async def balance(world: World, imsi: str = IMSI) -> dict[str, Any]:
    shown = await world.lab.command("ocs1", "balance", imsi=imsi)
    assert isinstance(shown, dict)
    return shown


async def insist(world: World, packets: int) -> None:
    """So many packets there and back, however many attempts it takes: some come when a quota is used up and the next one on its way."""
    while packets:
        packets -= await transfer(world.lab, world.lab.phone(IMSI), packets)


async def detached(world: World) -> int:
    """Detach, and what the PGW has forwarded of what costs money."""
    await world.lab.settled()
    octets = int(charged(world.lab)["used_octets"])
    await world.lab.detach(world.lab.phone(IMSI))
    await world.lab.settled(patience_s=300)
    return octets


async def test_the_scenario(network: Build) -> None:
    async with network(file=FILE) as world:
        await online_charging.run(world.lab)
        await world.at_rest()
        assert all(passed for _, passed in world.lab.report.checks)


async def test_no_credit_is_refused_with_its_cause_and_leaves_nothing(network: Build) -> None:
    async with network(file=FILE) as world:
        result = await world.lab.phone(PENNILESS).ue.attach(max_attempts=1)
        assert not result.success
        assert "#29" in str(result)
        assert world.last("S5/S8").detail.endswith("user authentication failed")
        await world.at_rest()
        assert (await balance(world, PENNILESS))["reserved"] == "0.00"
        told = await world.lab.command("ocs1", "top_up", imsi=PENNILESS, amount="1")
        assert told["available"] == "1.00"
        assert (await world.lab.phone(PENNILESS).ue.attach(max_attempts=1)).success
        await world.lab.detach(world.lab.phone(PENNILESS))
        await world.at_rest()


@pytest.mark.parametrize("message", ["Credit Control Request (CCR)", "Credit Control Answer (CCA)"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
async def test_a_lost_message_is_neither_lost_money_nor_money_lost_twice(network: Build, message: str, nth: int) -> None:
    """The first is the initial one, the last the termination; a lost answer makes the OCS see its request twice."""
    changes = RICH | SMALL_QUOTAS | {"ocs1.failure_handling": "continue", "pgw1.gy.failure_handling": "continue", "pgw1.gy.retry_s": 2}
    async with network(changes, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        lost = world.lose("Gy", message, nth=nth)
        await world.lab.attach(phone)
        for _ in range(3):
            page = await world.lab.fetch(phone, PAGE + "20000", timeout_s=30)
            assert page.ok, page
        await asyncio.sleep(10)
        octets = await detached(world)
        assert lost.applied == 1
        assert octets == await ledger_octets(world) > 60_000
        assert (await balance(world))["reserved"] == "0.00"
        await world.at_rest()
        repeated = world.node("ocs1").metrics.value("repeated_requests_total") + sum(
            1 for event in world.lab.observer.events if event.interface == "Gy" and event.name.endswith("(CCR)"))
        assert repeated > len({event.octets for event in world.lab.observer.events if event.name.endswith("(CCR)") and event.interface == "Gy"}) - 1


async def test_two_of_five_messages_lost(network: Build) -> None:
    changes = RICH | SMALL_QUOTAS | {"ocs1.failure_handling": "continue", "pgw1.gy.failure_handling": "continue", "pgw1.gy.retry_s": 1}
    async with network(changes, file=FILE) as world:
        count, chance = 0, random.Random(3)

        def unlucky(packet: Any) -> bool:
            nonlocal count
            if packet.interface != "Gy" or packet.payload[5:8] != b"\x00\x01\x10":
                return False
            count += 1
            return count > 2 and chance.random() < 0.4

        world.wires.drop_when(unlucky)
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        for _ in range(5):
            assert (await world.lab.fetch(phone, PAGE + "20000", timeout_s=60)).ok
            await asyncio.sleep(5)
        octets = await detached(world)
        await asyncio.sleep(100)
        assert count > 10
        assert octets == await ledger_octets(world) > 100_000
        await world.at_rest()


@pytest.mark.parametrize("handling", ["continue", "terminate", "retry_and_terminate"])
async def test_ocs_restarts_in_the_middle(network: Build, tmp_path: Path, handling: str) -> None:
    """Its database survives. Where the session may not go on without it, what was used is reported once it is back."""
    changes = RICH | SMALL_QUOTAS | {"ocs1.state_directory": str(tmp_path), "ocs1.failure_handling": handling, "pgw1.gy.retry_s": 2}
    async with network(changes, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "30000")).ok
        await world.crash("ocs1")
        page = await world.lab.fetch(phone, PAGE + "50000", timeout_s=20)
        forwarded = world.node("pgw1").forwarder.statistics().usage.octets
        assert page.ok is (handling == "continue")
        if handling == "continue":
            assert forwarded > 80_000
        else:
            assert forwarded < 60_000
        await world.revive("ocs1")
        await asyncio.sleep(60)
        pgw = world.node("pgw1")
        if handling == "continue":
            assert charged(world.lab)["stage"] == "granted"
            await detached(world)
        else:
            assert pgw.sessions == {}
            await asyncio.sleep(60)
        total = pgw.forwarder.statistics().usage.octets
        assert await ledger_octets(world) == total
        assert (await balance(world))["reserved"] == "0.00"
        assert await world.lab.command("ocs1", "audit") == {"accounts": 2, "wrong": []}
        await world.at_rest()


async def test_pgw_stops_in_order_and_nothing_is_lost(network: Build) -> None:
    async with network(RICH | SMALL_QUOTAS, file=FILE, leaks_checked=False) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "30000")).ok
        await world.lab.settled()
        octets = int(charged(world.lab)["used_octets"])
        pgw = world.lab.network.nodes.pop("pgw1")
        await pgw.stop()
        await pgw.transport.close()
        assert await ledger_octets(world) == octets
        assert (await balance(world))["reserved"] == "0.00"


async def test_pgw_that_crashes_loses_a_quota_at_most_and_its_reservations_are_free_again(network: Build) -> None:
    async with network(RICH | SMALL_QUOTAS, file=FILE, leaks_checked=False) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "30000")).ok
        await world.lab.settled()
        octets = int(charged(world.lab)["used_octets"])
        await world.crash("pgw1")
        assert 0 <= octets - await ledger_octets(world) <= 20_000
        assert (await balance(world))["reserved"] != "0.00"
        debited = await ledger_octets(world)
        await asyncio.sleep(2)
        await world.revive("pgw1")
        await asyncio.sleep(30)
        await phone.ue.detach()
        await world.lab.settled(patience_s=100)
        await world.lab.attach(phone)                   # the first request after the restart has a greater Origin-State-Id
        sessions = await world.lab.command("ocs1", "sessions", imsi=IMSI)
        assert len(sessions) == 1
        octets = await detached(world)
        assert await ledger_octets(world) == debited + octets
        assert (await balance(world))["reserved"] == "0.00"


async def test_out_of_money_the_browser_is_sent_to_the_portal_and_a_top_up_opens_the_way(network: Build) -> None:
    changes = SMALL_QUOTAS | {
        "ocs1.accounts": [{"imsi": IMSI, "balance": "0.0003"}, {"imsi": PENNILESS, "balance": "0"}],
        "ocs1.tariff.final_unit": {"action": "redirect", "redirect_to": "http://10.200.0.9/"},
        "pgw1.apns.internet.services.web.sites": {"10.200.0.9": "Buy some credit.\n"}}
    async with network(changes, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "60000", timeout_s=5)).error is Failure.BROKEN      # in the middle, by the portal
        assert charged(world.lab)["stage"] == "restricted"
        page = await world.lab.fetch(phone, "http://files.example/")
        assert (page.url, page.body) == ("http://10.200.0.9/", b"Buy some credit.\n")
        # without any credit one may attach, and reaches the portal only
        penniless = world.lab.phone(PENNILESS)
        await world.lab.attach(penniless)
        assert (await world.lab.fetch(penniless, "http://10.200.0.9/")).ok
        await world.lab.detach(penniless)
        await world.lab.command("ocs1", "top_up", imsi=IMSI, amount="1")
        await world.lab.settled()
        assert (await world.lab.fetch(phone, PAGE + "60000")).ok
        octets = await detached(world)
        assert octets == await ledger_octets(world)
        await world.at_rest()


@pytest.mark.parametrize("message", ["Re Auth Request (RAR)", "Re Auth Answer (RAA)"])
async def test_a_top_up_reaches_the_pgw_though_its_message_is_lost(network: Build, message: str) -> None:
    async with network(SMALL_QUOTAS | {"ocs1.accounts": [{"imsi": IMSI, "balance": "0.0003"}]}, file=FILE) as world:
        await world.lab.attach(world.lab.phone(IMSI))
        while charged(world.lab)["stage"] != "blocked":
            await transfer(world.lab, world.lab.phone(IMSI), 10)
        world.lose("Gy", message)
        told = await world.lab.command("ocs1", "top_up", imsi=IMSI, amount="1")
        assert (told["booked"], told["gateways_failed"]) == (True, 1)
        await asyncio.sleep(5)
        await insist(world, 10)
        octets = await detached(world)
        assert octets == await ledger_octets(world)
        await world.at_rest()


async def test_operator_aborts_a_session_and_the_phone_hears_of_it(network: Build) -> None:
    async with network(RICH | SMALL_QUOTAS, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "30000")).ok
        await asyncio.sleep(1)
        octets = int(charged(world.lab)["used_octets"])
        assert await world.lab.command("ocs1", "abort", imsi=IMSI) == {"gateways_told": 1, "gateways_failed": 0}
        await world.lab.settled(patience_s=60)
        assert world.node("pgw1").sessions == {}
        assert not phone.ue.registered                  # it has lost its last PDN connection
        assert await ledger_octets(world) == octets
        assert await world.lab.command("ocs1", "sessions") == []
        await world.at_rest()


async def test_blocked_account_stops_at_once_and_comes_back(network: Build) -> None:
    async with network(RICH | SMALL_QUOTAS, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "1000")).ok
        await world.lab.command("ocs1", "block", imsi=IMSI)
        await world.lab.settled()
        assert not (await world.lab.fetch(phone, PAGE + "1000", timeout_s=3)).ok
        await world.lab.command("ocs1", "unblock", imsi=IMSI)
        await world.lab.settled()
        assert (await world.lab.fetch(phone, PAGE + "1000")).ok
        octets = await detached(world)
        assert octets == await ledger_octets(world)
        await world.at_rest()


async def test_dedicated_bearers_and_offline_records_do_not_change_what_is_charged(network: Build, tmp_path: Path) -> None:
    changes = RICH | SMALL_QUOTAS | {"pgw1.state_directory": str(tmp_path), "pgw1.offline_charging": {}}
    async with network(changes, file=FILE) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert (await world.lab.fetch(phone, PAGE + "50000")).ok
        octets = await detached(world)
        assert octets == await ledger_octets(world)
        await world.at_rest()


async def test_user_plane_behind_pfcp(network: Build) -> None:
    """The PGW-U measures; each report asks it how things stand, and the last one waits for its last word."""
    ocs: dict[str, Any] = {
        "kind": "ocs", "origin_host": f"ocs1.{REALM}", "origin_realm": REALM, "gy": {"listen": [{"host": "127.0.0.18"}]},
        "accounts": [{"imsi": IMSI, "balance": "0.002"}],
        "tariff": {"rates": [{"name": "any", "price_per_mb": "0.01"}], "quota": SMALL_QUOTAS["ocs1.tariff.quota"]}}
    gy = {"origin_realm": REALM, "peers": [{"host": "127.0.0.18"}], "rating_group": 10}
    changes = {"ocs1": ocs, "pgwu1.sgi_hosts": "in_process", "pgw1.gy": gy}
    async with network(changes, file="sx-split.yaml") as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await insist(world, 53)
        await world.lab.command("ocs1", "re_authorise", imsi=IMSI)
        await world.lab.settled()
        forwarded = world.node("pgwu1").forwarder.statistics().usage.octets
        assert await ledger_octets(world) == forwarded >= 100_000
        while charged(world.lab)["stage"] != "blocked":
            await transfer(world.lab, phone, 100)
        assert 200_000 <= world.node("pgwu1").forwarder.statistics().usage.octets < 220_000    # within one quota of the credit
        await world.lab.command("ocs1", "top_up", imsi=IMSI, amount="1")
        await world.lab.settled()
        assert await transfer(world.lab, phone, 7) == 7
        await world.lab.detach(phone)
        await world.lab.settled(patience_s=60)
        assert await ledger_octets(world) == world.node("pgwu1").forwarder.statistics().usage.octets
        await world.at_rest()


def two_ocs(directory: Path, handling: str) -> dict[str, Any]:
    """ocs2 beside ocs1, on one database."""
    nodes = yaml.safe_load((SCENARIOS / FILE).read_text())["nodes"]
    ocs = nodes["ocs1"] | {
        "database": f"sqlite:///{directory}/ledger.sqlite", "session_failover": True, "failure_handling": handling,
        "accounts": [{"imsi": IMSI, "balance": "100"}], "tariff": nodes["ocs1"]["tariff"] | {"quota": SMALL_QUOTAS["ocs1.tariff.quota"]}}
    return {
        "ocs1": ocs, "pgw1.gy.peers": [{"host": "127.0.0.18"}, {"host": "127.0.0.19"}],
        "ocs2": ocs | {"origin_host": f"ocs2.{REALM}", "gy": {"listen": [{"host": "127.0.0.19"}]}, "admin": {"port": 9109}}}


async def goes_on_at_the_other(world: World) -> None:
    phone = world.lab.phone(IMSI)
    await asyncio.sleep(5)
    await world.lab.attach(phone)
    first = next(name for name in ("ocs1", "ocs2") if world.node(name).metrics.value("procedure_successes_total", procedure="initial_request"))
    other = "ocs2" if first == "ocs1" else "ocs1"
    await insist(world, 25)
    world.lose("Gy", "Credit Control Answer (CCA)", count=1)            # the last thing that the first one did, and nobody heard of it
    await insist(world, 10)
    await world.crash(first)
    await insist(world, 60)
    octets = await detached(world)
    entries = await world.lab.command(other, "ledger", imsi=IMSI, last="1000")
    assert octets == sum(entry.get("octets", 0) for entry in entries) >= 190_000
    assert (await world.lab.command(other, "balance", imsi=IMSI))["reserved"] == "0.00"
    assert world.node(other).metrics.value("procedure_successes_total", procedure="update_request") > 0
    await asyncio.sleep(15)                             # each OCS counts sessions by itself between looks into the database
    await world.at_rest()


@pytest.mark.parametrize("handling", ["continue", "retry_and_terminate"])
async def test_the_other_ocs_goes_on_where_the_first_one_left(network: Build, tmp_path: Path, handling: str) -> None:
    """What the first one counted before it was lost, the second one knows."""
    async with network(two_ocs(tmp_path, handling), file=FILE) as world:
        await goes_on_at_the_other(world)


async def test_the_other_ocs_behind_an_agent(network: Build, tmp_path: Path) -> None:
    dra = {"kind": "dra", "origin_host": f"dra.{REALM}", "origin_realm": REALM, "admin": {"port": 9110}, "diameter": {
        "listen": [{"host": "127.0.0.21"}], "peers": [{"host": "127.0.0.18"}, {"host": "127.0.0.19"}]}}
    changes = two_ocs(tmp_path, "continue") | {"dra1": dra, "pgw1.gy.peers": [{"host": "127.0.0.21", "default_route": True}]}
    async with network(changes, file=FILE) as world:
        await goes_on_at_the_other(world)


async def test_a_phone_that_comes_and_goes_leaves_no_cyclic_garbage(network: Build) -> None:
    async with network(RICH, file=FILE) as world:
        phone = world.lab.phone(IMSI)

        async def comes_and_goes() -> None:
            assert (await phone.ue.attach(max_attempts=1)).success
            await world.lab.settled()
            await phone.ue.detach()
            await world.lab.settled()

        await comes_and_goes()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await comes_and_goes()
            assert gc.collect() <= 20                   # less than any one kind of object once for each attach
        finally:
            gc.enable()


async def test_two_silent_ocss_do_not_outlast_the_sgw(network: Build, tmp_path: Path) -> None:
    changes = two_ocs(tmp_path, "continue") | {"pgw1.gy.failure_handling": "continue", "pgw1.gy.session_failover": True}
    async with network(changes, file=FILE) as world:
        await asyncio.sleep(5)
        world.lose("Gy", "Credit Control Request (CCR)", count=2)
        await world.lab.attach(world.lab.phone(IMSI))
        await insist(world, 5)
        await asyncio.sleep(30)
        octets = await detached(world)
        assert octets == await ledger_octets(world)
        await asyncio.sleep(15)                         # each OCS counts sessions by itself between looks into the database
        await world.at_rest()


async def test_time_is_charged_where_it_is_sold(network: Build) -> None:
    changes = {"ocs1.accounts": [{"imsi": IMSI, "balance": "1"}], "ocs1.tariff.rates": [{"name": "by time", "price_per_second": "0.01"}],
               "ocs1.tariff.quota": {"seconds": 30, "threshold_percent": 20, "holding_time_s": 0}}
    async with network(changes, file=FILE) as world:
        await world.lab.attach(world.lab.phone(IMSI))
        for _ in range(50):
            await insist(world, 1)
            await asyncio.sleep(1)
        await world.lab.detach(world.lab.phone(IMSI))
        await world.lab.settled()
        entries = await world.lab.command("ocs1", "ledger", imsi=IMSI)
        assert sum(entry.get("seconds", 0) for entry in entries) == 50
        assert (await balance(world))["balance"] == "0.50"
        await world.at_rest()


async def test_in_barcelona_the_price_is_barcelonas(network: Build) -> None:
    async with network(file="roaming.yaml") as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        assert await transfer(world.lab, phone, 5) == 5
        await world.lab.detach(phone)
        await world.lab.settled()
        [_, entry] = await world.lab.command("ocs-home", "ledger", imsi=IMSI)
        assert (entry["rate"], entry["visited_plmn"], entry["octets"], entry["amount"]) == ("Barcelona", "21407", 10_000, "-0.001")


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_what_was_forwarded_is_debited_once(network: Build, tmp_path: Path, seed: int) -> None:
    """Packets, losses on Gy, restarts of the OCS, its wishes, money that comes and goes, attaches and detaches, in any order."""
    chance = random.Random(seed)
    changes = SMALL_QUOTAS | {
        "ocs1.accounts": [{"imsi": IMSI, "balance": "0.002"}], "ocs1.state_directory": str(tmp_path), "pgw1.gy.retry_s": 2,
        "ocs1.failure_handling": "continue", "pgw1.gy.failure_handling": "continue",
        "ocs1.tariff.final_unit": chance.choice([{"action": "terminate"}, {"action": "redirect", "redirect_to": "http://10.200.0.9/"}])}
    async with network(changes, file=FILE) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        pgw = world.node("pgw1")
        for _ in range(30):
            if not phone.ue.registered:
                await phone.ue.attach(max_attempts=1)
                continue
            match chance.randrange(10):
                case 0:
                    await lab.command("ocs1", "top_up", imsi=IMSI, amount="0.0007")
                case 1:
                    await lab.command("ocs1", chance.choice(["block", "unblock"]), imsi=IMSI)
                case 2:
                    await world.crash("ocs1")
                    with suppress(ConnectionError):                         # the PDN connection may be gone
                        await transfer(lab, phone, chance.randrange(30))
                    await world.revive("ocs1")
                case 3:
                    world.lose("Gy", chance.choice(["Credit Control Request (CCR)", "Credit Control Answer (CCA)"]), nth=chance.randrange(1, 4))
                case 4:
                    await asyncio.sleep(chance.choice([1, 700, 4000]))
                case 5:
                    await phone.ue.detach()
                case _:
                    with suppress(ConnectionError):
                        await transfer(lab, phone, chance.randrange(1, 40))
        await asyncio.sleep(60)
        if phone.ue.registered:
            await phone.ue.detach()
        await lab.settled(patience_s=300)
        forwarded = pgw.forwarder.statistics().usage.octets             # nothing passes that is not charged
        # while no OCS answered the traffic went on; when it is back it may want no session of a user without money
        assert await ledger_octets(world) + pgw.metrics.value("gy_unreported_octets_total") == forwarded
        shown = await balance(world)
        assert shown["reserved"] == "0.00"
        assert await lab.command("ocs1", "audit") == {"accounts": 1, "wrong": []}
        await world.at_rest()
