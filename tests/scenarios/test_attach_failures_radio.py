"""Attaches that fail on the radio side: a phone that says nothing or no, an eNodeB that refuses or is silent."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from epc.wire import nas, s1ap
from epc.wire.nas import EmmCause, EsmCause
from ran.ue import Behaviour, EmmState, EmmSubstate

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
NO_RESOURCES = s1ap.Cause("radioNetwork", "no-radio-resources-available-in-target-cell")

SILENCES = [
    # what the phone does not answer, the network's timer, abnormal case of which clause
    pytest.param(nas.IdentityRequest, "Identity Request", "t3470", id="5.4.4.6-b-identity"),
    pytest.param(nas.AuthenticationRequest, "Authentication Request", "t3460", id="5.4.2.7-b-authentication"),
    pytest.param(nas.SecurityModeCommand, "Security Mode Command", "t3460", id="5.4.3.7-b-security-mode"),
    pytest.param(nas.AttachAccept, "Attach Accept", "t3450", id="5.5.1.2.7-c-attach-accept"),
]


@pytest.mark.parametrize(("message", "name", "timer"), SILENCES)
async def test_silent_phone_is_asked_five_times_and_given_up(network, message, name, timer) -> None:
    """The fifth expiry ends it. The timer is shortened, for the phone's own T3410 would be over sooner."""
    async with network({f"mme1.timers.{timer}_s": 2}) as world:
        phone = world.lab.phone(IMSI)
        phone.ue.behaviour = Behaviour(silent_on=frozenset({message}))
        result = await phone.ue.attach(max_attempts=1)
        assert (result.success, result.emm_cause, result.timer) == (False, None, None)
        assert phone.ue.substate is EmmSubstate.ATTEMPTING_TO_ATTACH
        asked = [event.time_s for event in world.lab.observer.events if event.name == name]
        assert len(asked) == 5
        assert [later - earlier for earlier, later in itertools.pairwise(asked)] == pytest.approx([2, 2, 2, 2], abs=0.01)
        released = next(event.time_s for event in world.lab.observer.events if event.name == "UE Context Release Command")
        assert released - asked[0] == pytest.approx(10, abs=0.01)
        assert world.failures("mme1", "attach") == {("timeout", timer.upper()): 1}
        await world.at_rest()
        phone.ue.behaviour = Behaviour()
        await world.attaches_and_detaches()


@pytest.mark.parametrize(("message", "name", "timer"), SILENCES)
async def test_silent_phone_gives_up_first(network, message, name, timer) -> None:
    """TS 24.301 clause 5.5.1.2.6 c: T3410 is over after 15 s, before the network has asked for the fourth time."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        phone.ue.behaviour = Behaviour(silent_on=frozenset({message}))
        result = await phone.ue.attach(max_attempts=1)
        assert result.timer == "T3410"
        await world.at_rest()
        assert world.sent("S1-MME").count(name) == 3
        assert world.sent("S1-MME")[-3:] == ["UE Context Release Request", "UE Context Release Command", "UE Context Release Complete"]
        assert world.failures("mme1", "attach") == {("aborted", "cancelled"): 1}
        phone.ue.behaviour = Behaviour()
        await world.attaches_and_detaches()


@pytest.mark.parametrize("name", [
    "Identity Request", "Identity Response", "Authentication Request", "Authentication Response", "Security Mode Command",
    "Security Mode Complete", "Attach Complete",
])
async def test_nas_message_lost_on_the_way_is_asked_for_again(network, name) -> None:
    """Abnormal cases a or b of the common procedures, c of the attach: one loss costs one period of the timer."""
    async with network() as world:
        world.lose("S1-MME", name)
        started = world.now()
        await world.lab.attach(world.lab.phone(IMSI))
        if name != "Attach Complete":               # the phone is content before the network is
            assert world.now() - started == pytest.approx(6, abs=0.2)
        await world.lab.settled(patience_s=10)
        world.lab.check_invariants()
        assert world.failures("mme1", "attach") == {}
        assert world.node("mme1").metrics.value("registered_ues") == 1
        await world.lab.ping(world.lab.phone(IMSI), world.lab.server)
        await world.lab.detach(world.lab.phone(IMSI))
        await world.at_rest()


async def test_five_attempts_then_a_pause_of_t3402(network) -> None:
    """TS 24.301 clause 5.5.1.2.6: T3411 between the attempts, and after the fifth T3402, which the network chose."""
    async with network({"mme1.timers.t3402_s": 120}) as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)               # the phone is told T3402
        await world.lab.detach(phone)
        phone.ue.security = None
        phone.ue.behaviour = Behaviour(silent_on=frozenset({nas.AuthenticationRequest}))
        started = world.now()
        result = await phone.ue.attach()
        assert (result.timer, result.attempts) == ("T3410", 5)
        assert world.now() - started == pytest.approx(5 * 15 + 4 * 10, abs=1)
        await world.at_rest()
        assert phone.ue.guti is None
        phone.ue.behaviour = Behaviour()
        await asyncio.sleep(121)
        assert phone.ue.registered, "by itself"
        world.lab.check_invariants()
        await world.lab.detach(phone)
        await world.at_rest()


async def test_security_mode_rejected(network) -> None:
    """TS 24.301 clause 5.4.3.5: the procedure that wanted security ends; the phone is told no more than that it is released."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        phone.ue.behaviour = Behaviour(refuse_security_mode=True)
        result = await phone.ue.attach(max_attempts=1)
        assert (result.success, result.emm_cause) == (False, None)
        assert world.sent("S1-MME")[-4:] == [
            "Security Mode Command", "Security Mode Reject", "UE Context Release Command", "UE Context Release Complete"]
        assert world.failures("mme1", "attach") == {("rejected", "SECURITY_MODE_REJECTED_UNSPECIFIED"): 1}
        await world.at_rest()
        assert phone.ue.security is None
        phone.ue.behaviour = Behaviour()
        await world.attaches_and_detaches()


async def test_phone_without_a_common_algorithm(network) -> None:
    async with network({"mme1.security.integrity": ["EIA3"], "enb1.phones.0.eia": [1, 2]}) as world:
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.PROTOCOL_ERROR_UNSPECIFIED
        assert world.failures("mme1", "attach") == {("rejected", "PROTOCOL_ERROR_UNSPECIFIED"): 1}
        await world.at_rest()


# --- Initial Context Setup: TS 36.413 clause 8.3.1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phone_does", "enb_does"), [
    pytest.param({"refuse_as_security": True}, {}, id="as-security-failure"),
    pytest.param({"refuse_radio_bearers": True}, {}, id="rrc-reconfiguration-failure"),
    pytest.param({}, {"refuse_context_setup": NO_RESOURCES}, id="context-refused"),
    pytest.param({}, {"refuse_bearers": NO_RESOURCES}, id="bearer-refused"),
])
async def test_enodeb_refuses_the_context(network, phone_does, enb_does) -> None:
    async with network() as world:
        phone, enb = world.lab.phone(IMSI), world.node("enb1")
        phone.ue.behaviour = Behaviour(**phone_does)
        for name, value in enb_does.items():
            setattr(enb.behaviour, name, value)
        result = await phone.ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.INSUFFICIENT_RESOURCES)
        assert "Initial Context Setup Failure" in world.sent("S1-MME")
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        assert len(world.failures("enb1", "initial_context_setup")) == 1
        await world.at_rest()
        phone.ue.behaviour = Behaviour()
        for name in enb_does:
            setattr(enb.behaviour, name, None)
        await world.attaches_and_detaches()


async def test_enodeb_silent_at_initial_context_setup(network) -> None:
    async with network() as world:
        phone, enb = world.lab.phone(IMSI), world.node("enb1")
        enb.behaviour.ignored.add(s1ap.InitialContextSetupRequest)
        started = world.now()
        result = await phone.ue.attach(max_attempts=1)
        assert result.emm_cause == EmmCause.NETWORK_FAILURE
        assert world.now() - started == pytest.approx(5, abs=0.1)
        assert world.failures("mme1", "attach") == {("rejected", "NETWORK_FAILURE"): 1}
        await world.at_rest()
        enb.behaviour.ignored.clear()
        await world.attaches_and_detaches()


async def test_enodebs_answer_to_initial_context_setup_is_lost(network) -> None:
    """The phone has its Attach Accept, the network has no tunnel for it and gives up. The phone learns of it when it wants service."""
    async with network() as world:
        phone, enb = world.lab.phone(IMSI), world.node("enb1")
        enb.behaviour.unsent.add(s1ap.InitialContextSetupResponse)
        assert (await phone.ue.attach(max_attempts=1)).success
        await world.lab.settled(patience_s=30)
        assert world.failures("mme1", "attach") == {("rejected", "NETWORK_FAILURE"): 1}
        assert world.leftovers() == []
        enb.behaviour.unsent.clear()
        assert phone.ue.state is EmmState.REGISTERED
        assert not phone.ue.connected
        await phone.ue.request_service()
        await asyncio.sleep(60)
        assert phone.ue.registered
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server)
        await world.lab.detach(phone)
        await world.at_rest()


async def test_radio_overload_of_the_enodeb(network) -> None:
    """No room at the eNodeB: the phone is rejected on the radio, and no node hears of it."""
    async with network({"enb1.max_ues": 1, "enb1.phones.0.count": 2, "enb1.phones.0.guti": ..., "hss1.subscribers.0.count": 2}) as world:
        first, second = world.lab.phone(IMSI), world.lab.phone("001010000000002")
        await world.lab.attach(first)
        before = len(world.sent("S1-MME"))
        result = await second.ue.attach(max_attempts=1)
        assert (result.success, result.emm_cause) == (False, None)
        assert len(world.sent("S1-MME")) == before
        assert world.node("enb1").metrics.value("rejected_connections_total", reason="full") == 1
        await world.lab.detach(first)
        await world.lab.attach(second)
        await world.lab.detach(second)
        await world.at_rest()
