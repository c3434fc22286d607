"""Names and web pages through a whole network in memory: a phone resolves and fetches, and what stands in the way shows."""

from __future__ import annotations

from typing import Any

import pytest

from epc.dataplane.services.client import Failure
from epc.lab.scenario import ScenarioFailed
from tests.scenarios.conftest import IMSI, Build

pytestmark = pytest.mark.virtual_clock

SERVICES = {
    "dns": {"names": {"allowed.example": "10.200.0.2", "*.blocked.example": ["10.200.0.3"]}},
    "web": {"sites": {"allowed.example": "welcome\n"}},
}
WITH_SERVICES: dict[str, Any] = {"pgw1.apns.internet.services": SERVICES}


async def test_a_phone_resolves_and_fetches_through_its_tunnels(network: Build) -> None:
    async with network(WITH_SERVICES) as world:
        lab = world.lab
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        assert [str(server) for server in phone.ue.dns_servers] == ["10.200.0.1"], "learned at the attach, from the PGW's options"
        assert [str(address) for address in await lab.resolve(phone, "www.blocked.example")] == ["10.200.0.3"]
        assert (await lab.resolve(phone, "unknown.example")).error is Failure.NO_SUCH_NAME
        for scheme in ("http", "https"):
            page = await lab.fetch(phone, f"{scheme}://allowed.example/")
            assert (page.status, page.body) == (200, b"welcome\n")
        page = await lab.fetch(phone, "https://www.blocked.example/octets/100000")
        assert len(page.body) == 100_000
        usage = world.node("pgw1").views()["sessions"]()[0]
        assert usage["downlink_octets"] > 100_000
        (shown,) = world.node("pgw1").views()["sgi"]()
        assert shown["web_requests"] == {"allowed.example": 2, "www.blocked.example": 1}
        await lab.detach(phone)
        world.lab.check_invariants(nothing_left=True)


async def test_the_order_of_failures_a_phone_can_see(network: Build) -> None:
    async with network(WITH_SERVICES) as world:
        lab = world.lab
        phone = lab.phone(IMSI)
        with pytest.raises(ConnectionError):
            await lab.fetch(phone, "http://allowed.example/")
        await lab.attach(phone)
        lost = world.wires.drop_when(lambda packet: packet.interface == "S5/S8-U")
        assert (await lab.fetch(phone, "http://allowed.example/")).error is Failure.RESOLVER_SILENT
        assert (await lab.fetch(phone, "http://10.200.0.2/", timeout_s=2)).error is Failure.TIMEOUT
        assert lost.applied
        lost.cancel()
        assert (await lab.fetch(phone, "http://10.200.0.2/")).ok
        await lab.detach(phone)


async def test_programs_need_phones_in_namespaces(network: Build) -> None:
    async with network(WITH_SERVICES) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        with pytest.raises(ScenarioFailed, match="`curl` cannot run as IMSI 001010000000001, for phones live inside this process"):
            await world.lab.run_as(phone, "curl", "http://allowed.example/")
        await world.lab.detach(phone)


async def test_where_phones_live_by_default_and_by_choice(network: Build) -> None:
    sim = {"k": "465B5CE8B199B49FAA5F0A2EE238A6BC", "opc": "E8ED289DEBA952E4283B54E88E6183CA"}
    phones = [
        {"imsi": IMSI, **sim, "host": "none"}, {"imsi": "001010000000002", "count": 3, "host": "auto", **sim},
        {"imsi": "001010000000005", "count": 10, **sim}, {"imsi": "001010000000100", "host": "namespace", **sim},
    ]
    async with network({"enb1.phones": phones}) as world:
        lab = world.lab
        assert [phone.host_kind for phone in lab.phones] == ["none", *["auto"] * 3, *["in_process"] * 10, "namespace"]
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        with pytest.raises(ConnectionError, match="no IP stack"):
            await phone.host()
        await lab.detach(phone)


async def test_a_phones_host_goes_with_its_address_and_comes_back_with_a_new_one(network: Build) -> None:
    async with network(WITH_SERVICES) as world:
        lab = world.lab
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        first = await phone.host()
        assert await phone.host() is first
        await lab.detach(phone)
        assert phone._host is None
        with pytest.raises(ConnectionError, match="not attached"):
            await phone.host()
        await lab.attach(phone)
        assert (await lab.fetch(phone, "http://allowed.example/")).ok
        assert await phone.host() is not first
        await lab.detach(phone)
