"""A GTP-C path that fails and comes back while a phone is registered (TS 23.007 clause 20)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.virtual_clock


async def test_path_between_the_gateways_fails_and_is_restored(network: Any) -> None:
    async with network() as world:
        phone = world.lab.phone("001010000000001")
        await world.lab.attach(phone)
        world.wires.cut("sgw1", "pgw1")
        await asyncio.sleep(150)
        for name in ("sgw1", "pgw1"):
            assert [peer.is_up for peer in world.node(name).associated_peers() if peer.interface == "S5/S8"] == [False]
        world.wires.heal("sgw1", "pgw1")
        await asyncio.sleep(120)
        for name in ("sgw1", "pgw1"):
            assert [peer.is_up for peer in world.node(name).associated_peers() if peer.interface == "S5/S8"] == [True]
        await world.lab.ping(phone, world.lab.server, count=1)
        await world.lab.detach(phone)
        await world.at_rest()
