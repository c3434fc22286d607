"""Abnormal cases of TS 24.301 clause 5.5.1.2.7 that need a message out of place; the others are where their cause is (interruptions, silences)."""

from __future__ import annotations

import asyncio

import pytest

from epc.wire import nas
from ran.ue import Behaviour, EmmState

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"


@pytest.mark.parametrize(("octets", "cause"), [
    pytest.param("0741", "INVALID_MANDATORY_INFORMATION", id="cut-off-behind-the-type"),
    pytest.param("07417108 091000 0000000010", "INVALID_MANDATORY_INFORMATION", id="identity-cut-off"),
])
async def test_attach_abnormal_b_protocol_error(network, octets, cause) -> None:
    """The ATTACH REQUEST cannot be read: ATTACH REJECT with #96, and the connection is released."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        phone.ue.transmit(bytes.fromhex(octets))
        await asyncio.sleep(1)
        assert world.sent("S1-MME")[-3:] == ["Attach Reject", "UE Context Release Command", "UE Context Release Complete"]
        assert world.protocol_errors("mme1") == {("NAS", cause): 1}
        assert not phone.ue.connected
        await world.at_rest()
        await world.attaches_and_detaches()


@pytest.mark.parametrize("keeps_keys", [True, False], ids=["keys-kept", "keys-lost"])
async def test_attach_abnormal_f_registered_phone_attaches_again(network, keeps_keys) -> None:
    """It fell out of the window, or lost its memory: the network thinks that it is registered and connected. The new attach replaces all."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        cell, keys = phone.ue.radio.cell, phone.ue.security
        address = phone.ue.ip
        world.lose("S1-MME", "UE Context Release Request")              # nobody tells the MME
        phone.ue.lose_power()
        phone.ue.camp_on(cell)
        if keeps_keys:
            phone.ue.security = keys
        await world.lab.attach(phone)
        await asyncio.sleep(10)
        assert len(world.node("pgw1").sessions) == len(world.node("sgw1").ues) == len(world.node("pcrf1").sessions) == 1
        assert world.node("mme1").metrics.value("registered_ues") == world.node("mme1").s1_connections == 1
        assert len(world.node("enb1").ues) == 1
        assert phone.ue.ip != address
        assert world.sent("S6a").count("Authentication Information Request (AIR)") == (1 if keeps_keys else 2)
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server)
        await world.lab.detach(phone)
        await world.at_rest()


async def test_attach_abnormal_g_tracking_area_update_before_attach_complete(network) -> None:
    """The phone is told that it is not registered, its session is deleted; it attaches anew."""
    async with network() as world:
        ue = world.lab.phone(IMSI).ue

        def updates_instead(message: nas.NasMessage) -> bool:
            if not isinstance(message, nas.AttachAccept):
                return False
            ue.guti = message.guti
            ue.send_emm(nas.TrackingAreaUpdateRequest(
                eps_update_type=nas.EpsUpdateType(value=nas.EpsUpdateTypeValue.TA_UPDATING), nas_key_set_identifier=ue.ksi, old_guti=ue.guti))
            return True

        ue.behaviour = Behaviour(intercept=updates_instead)
        await ue.attach(max_attempts=1)
        await world.at_rest()
        assert "Tracking Area Update Reject" in world.sent("S1-MME")
        assert world.failures("mme1", "attach") == {("aborted", "cancelled"): 1}
        assert world.failures("mme1", "tracking_area_update") == {("rejected", "IMPLICITLY_DETACHED"): 1}
        ue.behaviour = Behaviour()
        await world.attaches_and_detaches()


async def test_subscription_withdrawn_during_the_attach(network) -> None:
    """The HSS cancels the location between Attach Accept and Attach Complete: the attach ends, and what was set up with it."""
    async with network() as world:
        phone, hss = world.lab.phone(IMSI), world.node("hss1")
        withdrawing: list[asyncio.Future] = []
        world.when("S1-MME", "Attach Accept", lambda: withdrawing.append(asyncio.ensure_future(hss.commands()["cancel_location"](imsi=IMSI))))
        await phone.ue.attach(max_attempts=1)
        await withdrawing[0]
        await asyncio.sleep(30)
        if phone.ue.registered:                 # it had the Attach Accept already, and learns of it when it wants service
            await phone.ue.request_service()
            await asyncio.sleep(30)
        if phone.ue.registered:
            await world.lab.detach(phone)
        await world.at_rest()


async def test_subscription_withdrawn_from_a_registered_phone(network) -> None:
    """TS 24.301 clause 5.5.2.3.2: #7, and the USIM is invalid."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        await world.node("hss1").commands()["cancel_location"](imsi=IMSI)
        await asyncio.sleep(5)
        assert world.sent("S1-MME").count("Detach Request (to UE)") == 1
        assert phone.ue.state is EmmState.DEREGISTERED
        assert not phone.ue.sim.valid
        await world.at_rest()
