"""A phone goes idle and comes back: by its own traffic, by paging, by a tracking area update; then it detaches as usual."""

from __future__ import annotations

import asyncio

import pytest

from ran.enb.causes import USER_INACTIVITY

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"


async def idle(world) -> None:
    """As after a while without traffic: the eNodeB asks the MME to release the connection."""
    enb = world.node("enb1")
    phone = world.lab.phone(IMSI)
    enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
    await asyncio.sleep(0.5)
    await world.lab.settled()
    assert not phone.ue.connected
    assert phone.ue.registered
    held = {end.label for name in ("mme1", "sgw1", "pgw1", "enb1") for end in world.node(name).tunnels()}
    assert "t8" not in held, "the eNodeB's end is gone, and so is the SGW's knowledge of it"
    world.lab.check_invariants()


async def test_uplink_traffic_brings_an_idle_phone_back(network) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await idle(world)
        await lab.ping(phone, lab.server)
        assert "Service Request" in world.sent("S1-MME")
        assert phone.ue.connected
        lab.check_invariants()
        await lab.detach(phone)
        assert world.sent("S1-MME").count("Detach Accept") == 1
        lab.check_invariants(nothing_left=True)


async def test_downlink_traffic_pages_an_idle_phone_and_nothing_is_lost(network) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await phone.host()
        await idle(world)
        server = world.node("pgw1")._sgi[0].server
        result = await server.ping(str(phone.ue.ip), count=3, timeout_s=5.0)
        assert result.received == 3
        assert "Downlink Data Notification" in world.sent("S11")
        assert "Paging" in world.sent("S1-MME")
        await lab.settled()
        lab.check_invariants()
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


async def test_a_periodic_update_of_an_idle_phone_leaves_it_idle(network) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await idle(world)
        result = await phone.ue.update_tracking_area(periodic=True)
        assert result.success
        await lab.settled()
        lab.check_invariants()
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


async def test_several_cycles_of_idle_and_connected(network) -> None:
    async with network({"mme1.security": {"ciphering": ["EEA2"]}}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        for _ in range(5):
            await idle(world)
            await lab.ping(phone, lab.server, count=1)
            lab.check_invariants()
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)
