"""The attach from end to end, in memory on the virtual clock."""

from __future__ import annotations

import asyncio

import pytest

from epc.lab.ladder.steps import STEPS
from epc.lab.report import summary
from epc.node import TUNNELS
from epc.transport.memory import Link

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"


async def test_ten_steps_eight_tunnels_a_ping_and_nothing_left(network) -> None:
    async with network() as world:
        lab = world.lab
        phone = lab.phone(IMSI)
        await lab.attach(phone)
        lab.check_invariants()
        report = lab.report.phones[IMSI]
        assert report.ip == "10.45.0.1"
        assert [row.label for row in report.tunnels] == [tunnel.label for tunnel in TUNNELS]
        assert all(row.teid and "not seen" not in row.seen_in for row in report.tunnels)
        assert {event.step for event in lab.observer.events if event.step} == set(STEPS)
        await lab.ping(phone, lab.server)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 1000)
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)
        told = summary(lab.report, lab.observer)
        assert [ue["imsi"] for ue in told["ues"]] == [IMSI]
        assert set(told["ues"][0]["tunnels"]) == {tunnel.label for tunnel in TUNNELS}
        assert lab.observer.undecoded == 0


async def test_messages_lost_on_every_udp_link_cost_time_and_nothing_else(network) -> None:
    patient = {"mme1.gtp": {"n3_requests": 10}, "sgw1.gtp_s5": {"t3_response_s": 1.0, "n3_requests": 10}}
    async with network(patient, link=Link(delay_s=0.002, jitter_s=0.001, loss=0.15, duplication=0.1, reordering=0.1)) as world:
        for _ in range(5):
            phone = world.lab.phone(IMSI)
            await world.lab.attach(phone)
            world.lab.check_invariants()
            await world.lab.detach(phone)
            world.lab.check_invariants(nothing_left=True)


@pytest.mark.parametrize("integrity", ["EIA1", "EIA2", "EIA3"])
@pytest.mark.parametrize("ciphering", ["EEA0", "EEA1", "EEA2", "EEA3"])
async def test_every_pair_of_nas_algorithms(network, ciphering: str, integrity: str) -> None:
    async with network({"mme1.security": {"ciphering": [ciphering], "integrity": [integrity]}}) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await world.lab.detach(phone)
        (complete,) = [event for event in world.lab.observer.events if event.name == "Attach Complete"]
        assert complete.ciphered is (ciphering != "EEA0"), "the ladder reads what the wire hides"
        world.lab.check_invariants(nothing_left=True)


async def test_a_second_attach_of_a_known_phone_skips_identity_and_authentication(network) -> None:
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await world.lab.detach(phone)
        before = len(world.lab.observer.events)
        await world.lab.attach(phone)
        names = [event.name for event in world.lab.observer.events[before:]]
        assert "Identity Request" not in names
        assert "Authentication Request" not in names
        await world.lab.ping(phone, world.lab.server)


async def test_a_hundred_phones_at_once(network) -> None:
    phones = {"imsi": IMSI, "count": 100, "k": "465B5CE8B199B49FAA5F0A2EE238A6BC", "opc": "E8ED289DEBA952E4283B54E88E6183CA"}
    async with network({"enb1.phones": [phones], "hss1.subscribers.0.count": 100}) as world:
        lab = world.lab
        results = await asyncio.gather(*(phone.ue.attach(max_attempts=1) for phone in lab.phones))
        assert all(result.success for result in results)
        await lab.settled()
        lab.check_invariants()
        assert len({str(phone.ue.ip) for phone in lab.phones}) == 100
        for phone in lab.phones[::20]:
            await lab.ping(phone, lab.server, count=1)
        await asyncio.gather(*(phone.ue.detach() for phone in lab.phones))
        await lab.settled()
        lab.check_invariants(nothing_left=True)
