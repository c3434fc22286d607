"""Nodes crash while phones are attached, and come back without memory (TS 23.007): the phones have service again, nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from epc.lab.invariants import check_nothing_left, held_tunnels
from epc.lab.scenario import ScenarioFailed

pytestmark = pytest.mark.virtual_clock
IMSI, OTHER_IMSI = "001010000000001", "001010000000002"
K, OPC = "465B5CE8B199B49FAA5F0A2EE238A6BC", "E8ED289DEBA952E4283B54E88E6183CA"
TWO_PHONES = {
    "enb1.phones": [{"imsi": imsi, "k": K, "opc": OPC} for imsi in (IMSI, OTHER_IMSI)],
    "hss1.subscribers": [{"imsi": IMSI, "count": 2, "apns": ["internet"]}],
}
ECHO_INTERVAL_S = 60


async def restart(world, name: str) -> None:
    await world.crash(name)
    await asyncio.sleep(2)                  # restart counters come from the clock's seconds
    await world.revive(name)


async def serves(world, *imsis: str) -> None:
    """Every phone has service now; then all leave, and nothing is left."""
    world.lab.check_invariants()
    for imsi in imsis:
        assert world.lab.phone(imsi).ue.registered
        await world.lab.ping(world.lab.phone(imsi), world.lab.server, count=1)
    for imsi in imsis:
        await world.lab.detach(world.lab.phone(imsi))
    await world.at_rest()


async def test_restarted_sgw_is_noticed_by_its_echo_and_phones_attach_anew(network) -> None:
    """TS 23.007 clauses 14.1A.1 and 17.1A: MME and PGW drop the sessions, the phone is asked back."""
    async with network(TWO_PHONES) as world:
        for imsi in (IMSI, OTHER_IMSI):
            await world.lab.attach(world.lab.phone(imsi))
        await restart(world, "sgw1")
        await asyncio.sleep(ECHO_INTERVAL_S + 20)
        assert world.sent("S1-MME").count("Detach Request (to UE)") == 2
        assert len(world.node("pgw1").sessions) == 2
        await serves(world, IMSI, OTHER_IMSI)


async def test_restarted_sgw_is_noticed_by_the_next_attach(network) -> None:
    """The Create Session Response carries the new restart counter: old sessions go, the one that is being made stays."""
    async with network(TWO_PHONES) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone(OTHER_IMSI)
        await world.lab.attach(first)
        await restart(world, "sgw1")
        assert (await second.ue.attach(max_attempts=1)).success
        await asyncio.sleep(20)
        assert first.events.count("attached") == 2
        assert second.events.count("attached") == 1
        await serves(world, IMSI, OTHER_IMSI)


async def test_sgw_that_loses_a_session_before_the_attach_complete(network) -> None:
    """The phone's answer comes for a session that is no more: registered, it is detached "re-attach required" at once."""
    async with network(TWO_PHONES) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone(OTHER_IMSI)
        world.lose("S1-MME", "Attach Complete")                 # the network repeats the Attach Accept after T3450, 6 s
        assert (await first.ue.attach(max_attempts=1)).success
        await restart(world, "sgw1")
        assert (await second.ue.attach(max_attempts=1)).success
        await asyncio.sleep(20)
        assert first.events.count("detached") == 1
        await serves(world, IMSI, OTHER_IMSI)


async def test_packet_into_a_tunnel_that_the_sgw_has_lost(network) -> None:
    """TS 23.007 clause 22: the Error Indication releases the phone; the next one tells that it is not registered any more."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await restart(world, "sgw1")
        host = await phone.host()
        await host.ping(world.lab.server, count=1)
        await asyncio.sleep(ECHO_INTERVAL_S + 20)
        await serves(world, IMSI)


async def test_restarted_pgw_is_noticed_by_its_echo_and_phones_attach_anew(network) -> None:
    """TS 23.007 clause 17.2: the SGW tells the MME with a PGW Restart Notification."""
    async with network(TWO_PHONES) as world:
        for imsi in (IMSI, OTHER_IMSI):
            await world.lab.attach(world.lab.phone(imsi))
        await restart(world, "pgw1")
        await asyncio.sleep(ECHO_INTERVAL_S + 20)
        assert len(world.node("pcrf1").sessions) == 2, "the lost ones went at the first word of the new Origin-State-Id: RFC 6733 clause 8.16"
        assert world.sent("S11").count("PGW Restart Notification") == 1
        assert world.sent("S1-MME").count("Detach Request (to UE)") == 2
        await serves(world, IMSI, OTHER_IMSI)


async def test_restarted_pgw_is_noticed_by_the_next_attach(network) -> None:
    async with network(TWO_PHONES) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone(OTHER_IMSI)
        await world.lab.attach(first)
        await restart(world, "pgw1")
        assert (await second.ue.attach(max_attempts=1)).success
        await asyncio.sleep(20)
        assert first.events.count("attached") == 2
        assert second.events.count("attached") == 1
        await serves(world, IMSI, OTHER_IMSI)


async def test_detach_from_a_pgw_that_has_lost_the_session(network) -> None:
    """The PCRF, which still has it, hears of the PGW's restart at the next attach."""
    async with network() as world:
        await world.lab.attach(world.lab.phone(IMSI))
        await restart(world, "pgw1")
        await world.lab.detach(world.lab.phone(IMSI))
        await world.lab.settled()
        assert check_nothing_left(held_tunnels(world.lab.network)) == []
        with pytest.raises(ScenarioFailed, match=f"pcrf1 holds Gx session [^ ]+ of IMSI {IMSI} with pgw1[^ ]+, which no pgw has: a leak"):
            world.lab.check_invariants()
        await world.attaches_and_detaches()


async def test_detach_from_an_sgw_that_has_lost_the_session(network) -> None:
    """The PGW, which still has it, hears of the SGW's restart at the phone's next attach."""
    async with network() as world:
        await world.lab.attach(world.lab.phone(IMSI))
        await restart(world, "sgw1")
        await world.lab.detach(world.lab.phone(IMSI))
        await world.attaches_and_detaches()


async def test_phones_of_a_restarted_mme_come_back_with_their_next_request(network) -> None:
    """TS 23.007 clause 14.1: the MME knows no GUTI; the SGW deletes the sessions it had from it, here and at the PGW."""
    async with network(TWO_PHONES) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone(OTHER_IMSI)
        for phone in (first, second):
            await world.lab.attach(phone)
        await restart(world, "mme1")
        await asyncio.sleep(5)
        assert not first.ue.connected
        assert not (await first.ue.request_service()).success
        await asyncio.sleep(20)
        assert first.ue.registered
        assert len(world.node("sgw1").ues) == len(world.node("pgw1").sessions) == 1, "the other phone's session went when the restart was seen"
        await asyncio.sleep(ECHO_INTERVAL_S + 5)
        assert len(world.node("pgw1").sessions) == 1, "what was made after the restart stays"
        assert not (await second.ue.request_service()).success
        await asyncio.sleep(20)
        await serves(world, IMSI, OTHER_IMSI)


async def test_restarted_mme_is_noticed_by_its_echo(network) -> None:
    async with network() as world:
        await world.lab.attach(world.lab.phone(IMSI))
        await restart(world, "mme1")
        await asyncio.sleep(ECHO_INTERVAL_S + 5)
        assert [gauge for gauge in world.leftovers() if gauge.startswith(("sgw", "pgw", "pcrf"))] == []
        assert not (await world.lab.phone(IMSI).ue.request_service()).success
        await asyncio.sleep(20)
        await serves(world, IMSI)


async def test_restarted_hss_changes_nothing_for_attached_phones(network) -> None:
    """Its database was in memory: the SQN begins anew, which the next authentication puts right."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        for _ in range(2):
            phone.ue.security = None
            await world.attaches_and_detaches()
        await world.lab.attach(phone)
        await restart(world, "hss1")
        await world.lab.ping(phone, world.lab.server)
        await world.lab.detach(phone)
        phone.ue.security = None
        await world.attaches_and_detaches()
        assert world.node("mme1").metrics.value("resynchronisations_total") == 1


async def test_reset_of_the_hss_has_locations_confirmed_at_the_next_request(network) -> None:
    """TS 29.272 clause 5.2.4.1, TS 23.007 clause 5.1."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await restart(world, "hss1")
        hss = world.node("hss1")
        await hss.commands()["reset"]()
        before = world.sent("S6a").count("Update Location Request (ULR)")
        assert (await phone.ue.update_tracking_area()).success
        assert world.sent("S6a").count("Update Location Request (ULR)") == before + 1
        assert await hss.commands()["mmes"]() != []
        await serves(world, IMSI)


async def test_restarted_pcrf_lets_attached_phones_go_on(network) -> None:
    """It knows the session no more: the PGW's report of its end is refused, and nothing comes of it."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await restart(world, "pcrf1")
        await world.lab.ping(phone, world.lab.server)
        await world.lab.detach(phone)
        await world.at_rest()
        assert world.last("Gx").detail == "termination unknown session id"
        assert world.failures("pgw1", "ip_can_session_termination") == {("rejected", "DIAMETER_UNKNOWN_SESSION_ID"): 1}
        await world.attaches_and_detaches()


async def test_detach_while_the_pcrf_is_down(network) -> None:
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await world.crash("pcrf1")
        await world.lab.detach(phone)
        await world.at_rest()


async def test_restarted_enodeb_leaves_its_phones_idle_at_the_mme(network) -> None:
    """Its phones, switched on again with it, attach anew and take their own places."""
    async with network() as world:
        await world.lab.attach(world.lab.phone(IMSI))
        await restart(world, "enb1")
        await asyncio.sleep(1)
        mme = world.node("mme1")
        assert mme.s1_connections == 0
        assert all(bearer.s1u_enb is None for connection in world.node("sgw1").connections.values() for bearer in connection.bearers.values())
        await world.attaches_and_detaches()


@pytest.mark.parametrize("name", ["sgw1", "pgw1", "pcrf1", "hss1"])
async def test_node_that_crashes_during_an_attach(network, name) -> None:
    """Whatever comes of the attach, the next one after the node's return succeeds and nothing is left."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        message = {"sgw1": ("S5/S8", "Create Session Response"), "pgw1": ("Gx", "Credit Control Answer (CCA)"),
                   "pcrf1": ("Gx", "Credit Control Request (CCR)"), "hss1": ("S6a", "Update Location Request (ULR)")}[name]
        crashing: list[asyncio.Task] = []
        world.when(*message, lambda: crashing.append(asyncio.ensure_future(world.crash(name))))
        assert not (await phone.ue.attach(max_attempts=1)).success
        await crashing[0]
        await world.revive(name)
        await asyncio.sleep(ECHO_INTERVAL_S + 20)
        await world.lab.settled(patience_s=60)
        await world.attaches_and_detaches()
