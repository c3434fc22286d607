"""Attaches and detaches while SGW, PGW or PCRF are silent, gone, cut off, or behind links that lose, double and delay messages."""

from __future__ import annotations

import asyncio

import pytest

from epc.transport.memory import Link
from epc.wire.nas import EmmCause, EsmCause

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
SESSION_MESSAGES = {"S11": ("Create Session", "Modify Bearer", "Delete Session"), "S5/S8": ("Create Session", "Delete Session")}
GTP_MESSAGES = [
    (interface, f"{procedure} {kind}")
    for interface, procedures in SESSION_MESSAGES.items() for procedure in procedures for kind in ("Request", "Response")]
T3_RESPONSE_S = {"S11": 3.0, "S5/S8": 2.0}
CCR, CCA = "Credit Control Request (CCR)", "Credit Control Answer (CCA)"
GOES_ON = {"pgw1.gx.on_failure": "continue"}


def ids_of(messages: list[tuple[str, str]]) -> list[str]:
    return [f"{interface} {name}".replace(" ", "-").replace("/", "") for interface, name in messages]


# --- the PCRF gives no decision: TS 29.212 clause 4.5.1 ------------------------------------------------------------------------------


async def test_pcrf_down_terminates_the_session(network) -> None:
    async with network() as world:
        await world.crash("pcrf1")
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.REQUEST_REJECTED_UNSPECIFIED)
        assert world.failures("pgw1", "create_session") == {("rejected", "REQUEST_REJECTED"): 1}
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.at_rest()
        await world.revive("pcrf1")
        await world.attaches_and_detaches()


async def test_pcrf_down_and_the_pgw_goes_on_without(network) -> None:
    async with network(GOES_ON) as world:
        await world.crash("pcrf1")
        await world.attaches_and_detaches()
        await world.revive("pcrf1")
        await world.attaches_and_detaches()


@pytest.mark.parametrize("lost", [CCR, CCA])
async def test_pcrf_silent_terminates_the_session(network, lost) -> None:
    """A PCRF that may have made a session, since it is the answer that is lost, is told that the session has ended."""
    async with network() as world:
        world.lose("Gx", lost)
        started = world.now()
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.REQUEST_REJECTED_UNSPECIFIED)
        assert world.now() - started == pytest.approx(3, abs=0.1)               # Tx
        await world.at_rest()
        assert [event.detail.split()[0] for event in world.lab.observer.events if event.name == CCR] == ["initial", "termination"]
        await world.attaches_and_detaches()


@pytest.mark.parametrize("lost", [CCR, CCA])
async def test_pcrf_silent_and_the_pgw_goes_on_without(network, lost) -> None:
    async with network(GOES_ON) as world:
        world.lose("Gx", lost)
        await world.attaches_and_detaches()
        assert len(world.node("pcrf1").sessions) == 0


# --- a gateway is silent: TS 29.274 clause 7.6 ------------------------------------------------------------------------------------------


async def test_sgw_silent(network) -> None:
    async with network() as world:
        rule = world.lose("S11", "Create Session Request", count=None)
        started = world.now()
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
        assert world.now() - started == pytest.approx(9, abs=0.1)               # three times T3-RESPONSE
        assert world.sent("S11").count("Create Session Request") == 3
        assert world.node("mme1").metrics.value("retransmissions_total", interface="S11", type="CreateSessionRequest") == 2
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.at_rest()
        rule.cancel()
        await world.attaches_and_detaches()


async def test_pgw_silent(network) -> None:
    async with network() as world:
        rule = world.lose("S5/S8", "Create Session Request", count=None)
        started = world.now()
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
        assert world.now() - started == pytest.approx(6, abs=0.1)               # the SGW's patience is shorter than the MME's
        assert world.sent("S5/S8").count("Create Session Request") == 3
        assert world.failures("sgw1", "create_session") == {("timeout", "T3-RESPONSE"): 1}
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.at_rest()
        rule.cancel()
        await world.attaches_and_detaches()


@pytest.mark.parametrize("interface", ["S11", "S5/S8"])
async def test_gateway_whose_answers_get_lost_gives_the_session_up_at_the_next_attach(network, interface) -> None:
    """The session that nobody could be told of is replaced by the next one of the same phone (TS 29.274 clause 7.2.1): one address, not two."""
    async with network() as world:
        rule = world.lose(interface, "Create Session Response", count=None)
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
        await world.lab.settled(patience_s=60)
        assert len(world.node("pgw1").sessions) == 1
        rule.cancel()
        await world.attaches_and_detaches()


# --- messages of GTP-C lost, doubled, late: TS 29.274 clause 7.6 ---------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("interface", "name"), GTP_MESSAGES, ids=ids_of(GTP_MESSAGES))
async def test_lost_message_is_sent_again(network, interface, name, times) -> None:
    async with network() as world:
        phone = world.lab.phone(IMSI)
        rule = world.lose(interface, name, count=times)
        await world.lab.attach(phone)
        await world.lab.settled(patience_s=30)
        assert phone.ue.registered
        world.lab.check_invariants()
        await world.lab.detach(phone)
        await world.at_rest()
        assert rule.applied == times
        sender = ("mme1" if interface == "S11" else "sgw1")
        request = name.replace(" ", "").replace("Response", "Request")
        assert world.node(sender).metrics.value("retransmissions_total", interface=interface, type=request) >= times
        assert sum(world.failures(node, procedure) != {} for node in ("mme1", "sgw1", "pgw1") for procedure in (
            "attach", "detach", "create_session", "modify_bearer", "delete_session")) == 0


@pytest.mark.parametrize(("interface", "name"), GTP_MESSAGES, ids=ids_of(GTP_MESSAGES))
async def test_late_message_is_overtaken_by_its_repetition(network, interface, name) -> None:
    """The original comes when everything is over: a request is answered from the cache, an answer is thrown away."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        world.delay(interface, name, by_s=T3_RESPONSE_S[interface] + 1.5)
        await world.lab.attach(phone)
        await world.lab.settled(patience_s=30)
        await asyncio.sleep(5)
        assert phone.ue.registered
        world.lab.check_invariants()
        await world.lab.detach(phone)
        await asyncio.sleep(5)
        await world.at_rest()
        receiver = {("S11", "Request"): "sgw1", ("S11", "Response"): "mme1", ("S5/S8", "Request"): "pgw1", ("S5/S8", "Response"): "sgw1"}
        counted = world.protocol_errors(receiver[interface, name.split()[-1]])
        assert counted[interface, "duplicate" if name.endswith("Request") else "unexpected"] >= 1


@pytest.mark.parametrize("link", [Link(duplication=1.0), Link(reordering=1.0, duplication=0.5, jitter_s=0.01)], ids=["doubled", "disordered"])
async def test_every_datagram_doubled_or_disordered(network, link) -> None:
    async with network(link=link) as world:
        for _ in range(3):
            await world.attaches_and_detaches()
        assert world.protocol_errors("sgw1")["S11", "duplicate"] > 0


# --- a link is cut and comes back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other", "interface", "name"), [
    ("mme1", "sgw1", "S11", "Create Session Request"), ("mme1", "sgw1", "S11", "Create Session Response"),
    ("sgw1", "pgw1", "S5/S8", "Create Session Request"), ("sgw1", "pgw1", "S5/S8", "Create Session Response"),
])
async def test_link_cut_before_the_attach_accept(network, one, other, interface, name) -> None:
    async with network() as world:
        world.when(interface, name, lambda: world.wires.cut(one, other))
        result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
        assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, EsmCause.NETWORK_FAILURE)
        assert world.failures("mme1", "attach") == {("rejected", "ESM_FAILURE"): 1}
        await world.lab.settled(patience_s=60)
        assert world.node("mme1").metrics.value("sessions") == 0
        world.wires.heal()
        await world.attaches_and_detaches()


@pytest.mark.parametrize(("one", "other", "interface", "name"), [
    ("mme1", "sgw1", "S11", "Modify Bearer Request"), ("mme1", "sgw1", "S11", "Modify Bearer Response"),
])
async def test_link_cut_after_the_attach_complete_brings_the_phone_back(network, one, other, interface, name) -> None:
    """The phone is registered, but no packet would reach it: it is detached "re-attach required" and is back when the link is."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        world.when(interface, name, lambda: world.wires.cut(one, other))
        assert (await phone.ue.attach(max_attempts=1)).success
        await asyncio.sleep(12)
        assert world.sent("S1-MME").count("Detach Request (to UE)") == 1
        world.wires.heal()
        await asyncio.sleep(60)
        assert phone.ue.registered
        world.lab.check_invariants()
        await world.lab.ping(phone, world.lab.server)
        await world.lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("one", "other", "interface", "name"), [
    ("mme1", "sgw1", "S11", "Delete Session Request"), ("mme1", "sgw1", "S11", "Delete Session Response"),
    ("sgw1", "pgw1", "S5/S8", "Delete Session Request"), ("sgw1", "pgw1", "S5/S8", "Delete Session Response"),
])
async def test_link_cut_at_the_detach_lets_the_phone_go(network, one, other, interface, name) -> None:
    """What is left of the session beyond the cut goes with the phone's next one."""
    async with network() as world:
        phone = world.lab.phone(IMSI)
        await world.lab.attach(phone)
        world.when(interface, name, lambda: world.wires.cut(one, other))
        result = await phone.ue.detach()
        assert result.success
        assert "Detach Accept" in world.sent("S1-MME")
        await world.lab.settled(patience_s=60)
        assert world.node("mme1").metrics.value("sessions") == 0
        world.wires.heal()
        await world.attaches_and_detaches()
