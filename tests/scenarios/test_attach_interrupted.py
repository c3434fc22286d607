"""Something comes between at every single message of the attach: the phone, its radio or the S1 link goes, or another procedure begins.

Whatever it is, nothing may be left of it, and the next attach must succeed. Abnormal cases are those of TS 24.301 clause 5.5.1.2.7.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from epc.wire import nas
from ran.ue import EmmState

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
K, OPC = "465B5CE8B199B49FAA5F0A2EE238A6BC", "E8ED289DEBA952E4283B54E88E6183CA"

LADDER = [
    ("S1-MME", "Attach Request"),                               # 1
    ("S1-MME", "Identity Request"),                             # 2
    ("S1-MME", "Identity Response"),
    ("S6a", "Authentication Information Request (AIR)"),        # 3
    ("S6a", "Authentication Information Answer (AIA)"),
    ("S1-MME", "Authentication Request"),
    ("S1-MME", "Authentication Response"),
    ("S1-MME", "Security Mode Command"),                        # 4
    ("S1-MME", "Security Mode Complete"),
    ("S6a", "Update Location Request (ULR)"),                   # 5
    ("S6a", "Update Location Answer (ULA)"),
    ("S11", "Create Session Request"),                          # 6
    ("S5/S8", "Create Session Request"),                        # 7
    ("Gx", "Credit Control Request (CCR)"),
    ("Gx", "Credit Control Answer (CCA)"),
    ("S5/S8", "Create Session Response"),
    ("S11", "Create Session Response"),
    ("S1-MME", "Attach Accept"),                                # 8, in the Initial Context Setup Request
    ("S1-MME", "Initial Context Setup Response"),
    ("S1-MME", "Attach Complete"),                              # 9
    ("S11", "Modify Bearer Request"),                           # 10
    ("S11", "Modify Bearer Response"),
]
at_each_message = pytest.mark.parametrize(("interface", "name"), LADDER, ids=[
    f"{interface} {name}".split(" (")[0].replace(" ", "-").replace("/", "") for interface, name in LADDER])
ACCEPTED = LADDER.index(("S1-MME", "Attach Accept"))
COMPLETED = LADDER.index(("S1-MME", "Attach Complete"))


async def interrupted(world, interface: str, name: str, action, *, max_attempts: int = 1) -> bool:
    """An attach with ``action`` at the message; true when the UE takes it for a success."""
    happened = asyncio.Event()

    def act() -> None:
        happened.set()
        action()

    world.when(interface, name, act)
    result = await world.lab.phone(IMSI).ue.attach(max_attempts=max_attempts)
    async with asyncio.timeout(1):
        await happened.wait()
    return result.success


async def registered_nowhere(world) -> None:
    """Give up what is left of the registration, if there is one, and see that nothing remains."""
    ue = world.lab.phone(IMSI).ue
    await world.lab.settled(patience_s=60)
    if ue.registered:
        world.lab.check_invariants()
        await world.lab.detach(world.lab.phone(IMSI))
    await world.at_rest()


@at_each_message
async def test_attach_abnormal_a_s1_association_lost(network, interface, name) -> None:
    async with network() as world:
        succeeded = await interrupted(world, interface, name, lambda: world.wires.cut("mme1", "enb1", detection_s=2))
        assert succeeded == (LADDER.index((interface, name)) > ACCEPTED)
        await asyncio.sleep(4)
        if LADDER.index((interface, name)) <= COMPLETED:
            assert world.failures("mme1", "attach") == ({} if name == "Attach Request" else {("aborted", "link lost"): 1})
            assert world.node("mme1").metrics.value("registered_ues") == 0
            assert world.node("pgw1").metrics.value("sessions") == 0
        world.wires.heal()
        await world.lab.network.ready(30)
        await registered_nowhere(world)
        await world.attaches_and_detaches()


@at_each_message
async def test_attach_abnormal_a_radio_lost(network, interface, name) -> None:
    async with network() as world:
        await interrupted(world, interface, name, lambda: world.lab.phone(IMSI).ue.lose_radio())
        await registered_nowhere(world)
        await world.attaches_and_detaches()


@at_each_message
async def test_power_off_in_the_middle(network, interface, name) -> None:
    async with network() as world:
        ue = world.lab.phone(IMSI).ue
        cell = ue.radio.cell
        await interrupted(world, interface, name, ue.lose_power)
        assert ue.state is EmmState.NULL
        await world.lab.settled(patience_s=60)
        await asyncio.sleep(5)
        mme = world.node("mme1")
        if mme.metrics.value("registered_ues"):             # the network cannot know; the phone comes back and takes its place
            assert LADDER.index((interface, name)) >= COMPLETED
            world.lab.check_invariants(nothing_left=False)
        else:
            await world.at_rest()
        ue.camp_on(cell)
        await world.attaches_and_detaches()


@pytest.mark.parametrize("switch_off", [False, True], ids=["detach", "switch-off"])
@at_each_message
async def test_attach_abnormal_h_detach_during_the_attach(network, interface, name, switch_off) -> None:
    async with network() as world:
        ue = world.lab.phone(IMSI).ue
        cell = ue.radio.cell
        detaching: list[asyncio.Task] = []
        await interrupted(world, interface, name, lambda: detaching.append(asyncio.ensure_future(ue.detach(switch_off=switch_off))))
        started = world.now()
        assert (await detaching[0]).success
        assert world.now() - started < 6, "no retransmission was needed"
        assert ue.state is (EmmState.NULL if switch_off else EmmState.DEREGISTERED)
        await world.at_rest()
        if switch_off:
            ue.camp_on(cell)
        await world.attaches_and_detaches()


@at_each_message
async def test_attach_abnormal_d_and_e_same_request_again(network, interface, name) -> None:
    """Before the Attach Accept it is ignored, after it the Attach Accept comes again; the attach goes on."""
    async with network() as world:
        ue = world.lab.phone(IMSI).ue
        assert await interrupted(world, interface, name, lambda: ue.send_emm(nas.decode(ue.last_attach_request, uplink=True)))
        await world.lab.settled(patience_s=30)
        assert ue.registered
        world.lab.check_invariants()
        await world.lab.ping(world.lab.phone(IMSI), world.lab.server, count=1)
        await registered_nowhere(world)
        await world.attaches_and_detaches()


@at_each_message
async def test_attach_abnormal_d_and_e_different_request(network, interface, name) -> None:
    """The attach starts anew, with what the phone asks for now: over the same connection, whatever has been set up there.

    Crossing the Security Mode Command, it finds phone and network of different minds on the keys: the phone's next attempt settles that.
    """
    async with network() as world:
        ue = world.lab.phone(IMSI).ue

        def ask_for_something_else() -> None:
            request = nas.decode(ue.last_attach_request, uplink=True)
            ue.send_emm(dataclasses.replace(request, drx_parameter=b"\x0a\x00"))

        attempts = 2 if name.startswith("Security Mode") else 1
        assert await interrupted(world, interface, name, ask_for_something_else, max_attempts=attempts)
        await asyncio.sleep(30)
        await world.lab.settled(patience_s=30)
        assert ue.registered
        world.lab.check_invariants()
        await world.lab.ping(world.lab.phone(IMSI), world.lab.server, count=1)
        assert len(world.node("pgw1").sessions) == 1
        await registered_nowhere(world)
        await world.attaches_and_detaches()


@at_each_message
async def test_same_imsi_attaches_at_another_enodeb(network, interface, name) -> None:
    """A copied USIM, say: the one that authenticated last has the session, the other one's connection is released."""
    two_cells = {"enb2": {
        "kind": "enb", "enb_id": 2, "plmn": "00101", "cells": [{"cell_id": 1, "tac": 1}], "mmes": [{"host": "127.0.0.16"}],
        "s1_mme_host": "127.0.0.18", "s1u": {"host": "127.0.0.18"}, "phones": [{"imsi": IMSI, "k": K, "opc": OPC}]}}
    async with network(two_cells, leaks_checked=False) as world:
        first, second = (world.node(name).phones[IMSI] for name in ("enb1", "enb2"))
        attaching: list[asyncio.Task] = []
        await interrupted(world, interface, name, lambda: attaching.append(asyncio.ensure_future(second.ue.attach(max_attempts=1))))
        await attaching[0]
        await world.lab.settled(patience_s=60)
        mme, pgw = world.node("mme1"), world.node("pgw1")
        assert mme.metrics.value("registered_ues") == len(pgw.sessions) == 1
        assert mme.s1_connections == 1
        holder = first if mme.ues.by_imsi[IMSI].connection.association.name == "enb1" else second
        assert holder.ue.registered
        await world.lab.ping(holder, world.lab.server, count=1)
        for phone in (holder, *({first, second} - {holder})):
            if phone.ue.registered:
                assert (await phone.ue.detach()).success
                await world.lab.settled(patience_s=60)
        assert world.leftovers() == []
        world.lab.check_invariants(nothing_left=True)
