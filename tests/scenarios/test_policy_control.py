"""Policies in a whole network: what is written at the PCRF is what packets meet at the PDN gateway, and an application gets its bearer."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from epc.af import RequestRefused
from epc.dataplane.ip_endpoint import udp_exchange
from epc.node.admin import AdminServer
from epc.pcrf.editing import with_policy
from epc.wire import nas
from epc.wire.diameter import ExperimentalResultCode
from epc.wire.diameter.rx import AbortCause, SpecificAction
from epc.wire.nas import PacketFilter, PacketFilterDirection
from tests.scenarios.conftest import IMSI, Build, World

ALLOCATED = SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION
NO_ECHO = {"flows": [{"description": "permit out 17 from any 7 to assigned"}], "status": "disabled", "precedence": 1}


async def can_echo(world: World) -> bool:
    """A datagram to port 7 of the server on SGi, and back."""
    host = await world.lab.phone(IMSI).host()
    try:
        return await udp_exchange(host, world.lab.server, 7, b"hello", timeout_s=0.5) == b"hello"
    except TimeoutError:
        return False


def dedicated(world: World) -> dict[int, Any]:
    return dict(world.lab.phone(IMSI).ue.pdn_connections[5].dedicated)


@pytest.mark.real_time
async def test_rest_to_forwarder(network: Build) -> None:
    """Two PUTs over HTTP close a gate on the phone's packets, two DELETEs open it again; no bearer, no address changes."""
    async with network({"pcrf1.policy": {"rules": {"all": {"precedence": 1000}}, "policies": [{"name": "everybody", "rules": ["all"]}]},
                        "pcrf1.admin": {"port": 0}}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert await can_echo(world)
        admin = AdminServer(world.node("pcrf1"))
        await admin.start()
        try:
            async with aiohttp.ClientSession(f"http://{admin.address}") as http:
                async with http.put("/pcc/rules/no-echo", json=NO_ECHO) as answer:
                    assert (answer.status, await answer.json()) == (201, {"sessions": 1, "changed": 0, "failed": 0})
                assert await can_echo(world)
                async with http.put("/pcc/policies/alice", json={"imsi": IMSI, "priority": 1, "rules": ["no-echo", "all"]}) as answer:
                    assert (answer.status, await answer.json()) == (201, {"sessions": 1, "changed": 1, "failed": 0})
                assert not await can_echo(world)
                await lab.ping(phone, lab.server)
                [session] = world.node("pgw1").views()["sessions"]()
                assert {"no-echo", "all"} <= {rule["name"] if isinstance(rule, dict) else rule for rule in session["rules"]}
                async with http.delete("/pcc/policies/alice") as answer:
                    assert (await answer.json())["changed"] == 1
                assert await can_echo(world)
        finally:
            await admin.stop()
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


@pytest.mark.virtual_clock
async def test_gate_closes_and_opens_with_the_hour(network: Build) -> None:
    early = {**NO_ECHO, "hours": "08:30-09:00"}
    # the wall clock of these networks starts at 2027-01-15 08:00 UTC
    policy = {"rules": {"all": {"precedence": 1000}, "no-echo": early}, "policies": [{"rules": ["no-echo", "all"]}]}
    async with network({"pcrf1.policy": policy}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert await can_echo(world)
        await asyncio.sleep(1800)
        assert not await can_echo(world)
        await asyncio.sleep(1800)
        assert await can_echo(world)
        await lab.detach(phone)


@pytest.mark.virtual_clock
async def test_application_gets_a_bearer_for_its_flow(network: Build) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        af = await lab.application()
        call = await af.request_bearer(str(phone.ue.ip), media="audio", server=f"{lab.server}:7", ul_bps=64_000, dl_bps=64_000)
        await call.told(ALLOCATED)
        await lab.settled()
        [bearer] = dedicated(world).values()
        assert (bearer.qos.qci, bearer.qos.guaranteed_bit_rate_uplink_kbps) == (1, 64)
        assert await can_echo(world)
        lab.check_invariants()
        await call.release()
        await asyncio.sleep(1)
        await lab.settled()
        assert dedicated(world) == {}
        assert [name for name in world.sent("Rx") if name[:2] in ("AA", "Re", "Se")] == [
            "AA Request (AAR)", "AA Answer (AAA)", "Re Auth Request (RAR)", "Re Auth Answer (RAA)",
            "Session Termination Request (STR)", "Session Termination Answer (STA)"]
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


@pytest.mark.virtual_clock
async def test_detach_ends_the_applications_session(network: Build) -> None:
    async with network() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        af = await lab.application()
        call = await af.request_bearer(str(phone.ue.ip), server=f"{lab.server}:7", ul_bps=64_000, dl_bps=64_000)
        await call.told(ALLOCATED)
        await lab.detach(phone)
        assert await call.ended() is AbortCause.BEARER_RELEASED
        await lab.settled()
        assert (world.node("pcrf1").metrics.value("af_sessions"), af.sessions) == (0, {})
        with pytest.raises(RequestRefused) as caught:
            await af.request_bearer("10.45.0.1", server=f"{lab.server}:7")
        assert caught.value.cause is ExperimentalResultCode.IP_CAN_SESSION_NOT_AVAILABLE
        lab.check_invariants(nothing_left=True)


SERVICES = {
    "dns": {"names": {"allowed.example": "10.200.0.2", "*.facebook.example": ["10.200.0.3"]}},
    "web": {"sites": {"allowed.example": "welcome\n"}},
}
WEB: dict[str, Any] = {"pgw1.apns.internet.services": SERVICES, "pgw1.applications": {"facebook": {"domain_names": ["facebook.example"]}}}


@pytest.mark.virtual_clock
async def test_used_up_volume_closes_the_gates_until_the_next_hour(network: Build) -> None:
    policy = {"policies": [{"name": "everybody", "usage_limit": {"octets": 300_000, "per": "hour", "report": 100_000}}]}
    async with network({**WEB, "pcrf1.policy": policy}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        pcrf = world.node("pcrf1")
        await lab.attach(phone)
        assert (await lab.fetch(phone, "http://allowed.example/octets/200000")).ok
        await asyncio.sleep(1)
        [used] = await pcrf.usage_of(IMSI)
        assert 200_000 <= used["octets"] < 300_000
        assert not (await lab.fetch(phone, "http://allowed.example/octets/200000", timeout_s=5)).ok
        await asyncio.sleep(1)
        [used] = await pcrf.usage_of(IMSI)
        assert 300_000 <= used["octets"] < 400_000
        assert not await can_echo(world)
        await asyncio.sleep(3600)                   # it was eight in the morning
        assert await can_echo(world)
        [used] = await pcrf.usage_of(IMSI)
        assert used["octets"] == 0
        await lab.detach(phone)
        await lab.settled()
        [used] = await pcrf.usage_of(IMSI)
        assert 0 < used["octets"] < 10_000          # the rest came with the end of the session
        lab.check_invariants(nothing_left=True)


@pytest.mark.virtual_clock
async def test_used_up_volume_throttles(network: Build) -> None:
    policy = {"policies": [{"name": "everybody", "usage_limit": {"octets": 100_000, "then": "slow"}},
                           {"name": "slow", "by_name_only": True, "ambr_dl": "64k"}]}
    async with network({**WEB, "pcrf1.policy": policy}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert (await lab.fetch(phone, "http://allowed.example/octets/200000")).ok
        await asyncio.sleep(1)
        [session] = world.node("pgw1").views()["sessions"]()
        assert session["ambr_downlink_kbps"] == 64
        [session] = world.node("pcrf1").sessions
        assert session.policy == "slow"
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


@pytest.mark.virtual_clock
async def test_still_no_facebook_until_home_says_so(network: Build) -> None:
    """An application is blocked for this subscriber, seen in use, and allowed by a push; the allowed site works all the time."""
    policy = {"rules": {"no-facebook": {"application": "facebook", "status": "disabled", "precedence": 1, "report_application": True},
                        "all": {"precedence": 1000}},
              "policies": [{"name": "alice", "imsi": IMSI, "rules": ["no-facebook", "all"]}]}
    async with network({**WEB, "pcrf1.policy": policy}) as world:
        lab, phone, pcrf = world.lab, world.lab.phone(IMSI), world.node("pcrf1")
        await lab.attach(phone)
        for scheme in ("http", "https"):
            assert (await lab.fetch(phone, f"{scheme}://allowed.example/")).ok
            assert not (await lab.fetch(phone, f"{scheme}://www.facebook.example/", timeout_s=5)).ok
        await asyncio.sleep(1)
        assert "facebook" in {each["application"] for each in pcrf.views()["applications"]()}
        assert (await pcrf.change_policies(lambda book: with_policy(book, "alice", {"imsi": IMSI, "rules": ["all"]})))["changed"] == 1
        for scheme in ("http", "https"):
            assert (await lab.fetch(phone, f"{scheme}://www.facebook.example/")).ok
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)


@pytest.mark.virtual_clock
async def test_phone_asks_for_resources_by_itself(network: Build) -> None:
    """TS 23.401 clause 5.4.5 from the phone to the PCRF and back: a bearer where the policy allows it."""
    policy = {"policies": [{"name": "everybody", "ue_requests": {"qcis": [7, 1], "max_ul": "1M", "max_dl": "1M"}}]}
    async with network({"pcrf1.policy": policy}) as world:
        lab, phone, pcrf = world.lab, world.lab.phone(IMSI), world.node("pcrf1")
        await lab.attach(phone)
        wanted = PacketFilter(identifier=0, direction=PacketFilterDirection.BIDIRECTIONAL, precedence=5, protocol=17, remote_ports=(7, 7))
        given = await phone.ue.request_bearer([wanted], nas.EpsQos(
            qci=1, maximum_bit_rate_uplink_kbps=64, maximum_bit_rate_downlink_kbps=64, guaranteed_bit_rate_uplink_kbps=64,
            guaranteed_bit_rate_downlink_kbps=64))
        await lab.settled()
        assert given.success, given
        assert [bearer.qos.qci for bearer in dedicated(world).values()] == [1]
        [session] = pcrf.sessions
        assert session.state()["rules"] == ["everything", "ue-1"]
        assert await can_echo(world)
        lab.check_invariants()
        back = await phone.ue.release_bearer(given.ebi)
        await lab.settled()
        assert back.success, back
        assert dedicated(world) == {}
        assert session.state()["rules"] == ["everything"]
        refused = await phone.ue.request_bearer([wanted], nas.EpsQos(qci=2, guaranteed_bit_rate_uplink_kbps=64))
        assert not refused.success
        assert session.state()["rules"] == ["everything"]
        await lab.detach(phone)
        lab.check_invariants(nothing_left=True)
