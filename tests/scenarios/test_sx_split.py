"""Control and user plane apart: SGW-C and SGW-U, PGW-C and PGW-U as nodes of their own, PFCP between them, in memory on the virtual clock."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

import pytest

from epc.node import ConfigError, parse_config
from epc.pgw import PgwConfig
from epc.sgw import SgwConfig
from epc.transport.interface import Address
from epc.transport.memory import Link
from epc.wire import gtpu
from ran.enb.causes import USER_INACTIVITY

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
IN_PROCESS = {"pgwu1.sgi_hosts": "in_process"}


@pytest.fixture
def split(network: Any) -> Any:
    """``async with split() as world``: the network of sx-split.yaml."""

    def build(changes: dict[str, Any] | None = None, **options: Any) -> Any:
        return network({**IN_PROCESS, **(changes or {})}, file="sx-split.yaml", **options)

    return build


def user_plane_sessions(world: Any) -> dict[str, int]:
    return {name: len(world.node(name).sessions) for name in ("sgwu1", "pgwu1")}


async def idle(world: Any) -> None:
    enb, phone = world.node("enb1"), world.lab.phone(IMSI)
    enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
    await asyncio.sleep(0.5)
    await world.lab.settled()
    assert not phone.ue.connected


async def test_attach_ping_detach_leaves_nothing_in_either_plane(split: Any) -> None:
    async with split() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        lab.check_invariants()
        assert user_plane_sessions(world) == {"sgwu1": 1, "pgwu1": 1}
        await lab.ping(phone, lab.server)
        await lab.exchange_udp(phone, lab.server, 7, b"x" * 1000)
        assert world.node("sgwu1").metrics.value("user_plane_packets_total", direction="uplink") > 0
        for interface in ("Sxa", "Sxb"):
            names = world.sent(interface)
            assert names[:2] == ["Association Setup Request", "Association Setup Response"]
            assert "Session Establishment Response" in names
        assert "Session Modification Request" in world.sent("Sxa"), "the eNodeB's tunnel comes with Modify Bearer"
        await lab.detach(phone)
        await world.at_rest()
        assert user_plane_sessions(world) == {"sgwu1": 0, "pgwu1": 0}
        assert lab.observer.undecoded == 0
        used = world.node("pgw1").forwarder.statistics().usage
        assert used.uplink_octets > 1000, "the deletion has told what was used"
        assert [peer.interface for peer in world.node("sgw1").associated_peers() if peer.interface == "Sxa"] == ["Sxa"]


async def test_create_session_is_answered_when_the_user_plane_is_there(split: Any) -> None:
    async with split() as world:
        phone = world.lab.phone(IMSI)
        world.delay("Sxb", "Session Establishment Response", 0.5)
        world.delay("Sxa", "Session Establishment Response", 0.5)
        await world.lab.attach(phone)
        events = world.lab.observer.events
        last = {name: max(event.number for event in events if (event.interface, event.name) == name)
                for name in (("Sxa", "Session Establishment Response"), ("Sxb", "Session Establishment Response"),
                             ("S11", "Create Session Response"), ("S5/S8", "Create Session Response"))}
        assert last["Sxb", "Session Establishment Response"] < last["S5/S8", "Create Session Response"]
        assert last["Sxa", "Session Establishment Response"] < last["S11", "Create Session Response"]


async def test_losses_on_every_udp_link_cost_time_and_nothing_else(split: Any) -> None:
    patient: dict[str, Any] = {
        "mme1.gtp": {"n3_requests": 10}, "sgw1.gtp_s5": {"t3_response_s": 2.5, "n3_requests": 10},
        "sgw1.sxa.settings": {"t1_s": 0.3, "n1_requests": 10}, "pgw1.sxb.settings": {"t1_s": 0.3, "n1_requests": 10},
    }
    async with split(patient, link=Link(delay_s=0.002, jitter_s=0.001, loss=0.15, duplication=0.1, reordering=0.1)) as world:
        for _ in range(3):
            phone = world.lab.phone(IMSI)
            await world.lab.attach(phone)
            world.lab.check_invariants()
            await world.lab.detach(phone)
            await world.at_rest()
        await asyncio.sleep(10)
        assert user_plane_sessions(world) == {"sgwu1": 0, "pgwu1": 0}


async def test_downlink_traffic_pages_an_idle_phone_and_nothing_is_lost(split: Any) -> None:
    async with split() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await phone.host()
        await idle(world)
        server = world.node("pgwu1")._sgi[0].server
        result = await server.ping(str(phone.ue.ip), count=3, timeout_s=5.0)
        assert result.received == 3
        assert world.sent("Sxa").count("Session Report Request") == 1
        assert "Downlink Data Notification" in world.sent("S11")
        await lab.settled()
        lab.check_invariants()
        await lab.detach(phone)
        await world.at_rest()


async def test_error_indication_of_the_enodeb_reaches_the_control_plane(split: Any) -> None:
    async with split() as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        (tunnel,) = [end for end in world.node("sgw1").tunnels() if end.name == "s1u_enb_teid"]
        lost = gtpu.encode(gtpu.ErrorIndication(teid=tunnel.teid, peer_address=IPv4Address(tunnel.address)))
        port = await world.wires.transport("tester").open_udp(Address("127.0.0.99", 2152), lambda data, source: None, interface="S1-U")
        port.send(lost, Address("127.0.0.24", 2152))
        await asyncio.sleep(0.5)
        port.close()
        assert world.sent("Sxa").count("Session Report Request") == 1
        assert world.sent("S11").count("Downlink Data Notification") == 1
        await lab.settled()
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("name", ["sgwu1", "pgwu1"])
async def test_user_plane_that_restarts_gets_its_sessions_back(split: Any, name: str) -> None:
    quick = {"heartbeat_interval_s": 5.0}
    async with split({"sgw1.sxa.settings": quick, "pgw1.sxb.settings": quick}) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await asyncio.sleep(2)              # Recovery Time Stamps count seconds
        await world.crash(name)
        await world.revive(name)
        await asyncio.sleep(8)
        assert user_plane_sessions(world) == {"sgwu1": 1, "pgwu1": 1}
        await lab.ping(phone, lab.server)
        await lab.detach(phone)
        await world.at_rest()
        assert user_plane_sessions(world) == {"sgwu1": 0, "pgwu1": 0}


@pytest.mark.parametrize(("name", "user_plane"), [("sgw1", "sgwu1"), ("pgw1", "pgwu1")])
async def test_control_plane_that_restarts_leaves_no_session_behind(split: Any, name: str, user_plane: str) -> None:
    async with split(leaks_checked=False) as world:
        await world.lab.attach(world.lab.phone(IMSI))
        await asyncio.sleep(2)
        await world.crash(name)
        await world.revive(name)
        await asyncio.sleep(5)
        assert user_plane_sessions(world)[user_plane] == 0


@pytest.mark.parametrize(("control", "user_plane"), [("sgw1", "sgwu1"), ("pgw1", "pgwu1")])
async def test_silent_user_plane_refuses_the_session_and_leaves_nothing(split: Any, control: str, user_plane: str) -> None:
    quick = {"t1_s": 0.2, "n1_requests": 2}
    async with split({"sgw1.sxa.settings": quick, "pgw1.sxb.settings": quick}) as world:
        phone = world.lab.phone(IMSI)
        world.wires.cut(control, user_plane)
        result = await phone.ue.attach(max_attempts=1)
        assert not result.success
        assert world.failures(control, "create_session") == {("rejected", "NO_RESOURCES_AVAILABLE"): 1}
        world.wires.heal(control, user_plane)
        await world.at_rest()
        await asyncio.sleep(30)
        await world.attaches_and_detaches()
        assert user_plane_sessions(world) == {"sgwu1": 0, "pgwu1": 0}


async def test_network_is_ready_when_the_associations_are(split: Any) -> None:
    async with split(start=False) as world:
        world.wires.cut("sgw1", "sgwu1")
        starting = asyncio.ensure_future(world.lab.start())
        await asyncio.sleep(5)
        assert not world.node("sgw1").is_ready()
        assert world.node("pgw1").is_ready()
        world.wires.heal("sgw1", "sgwu1")
        await starting
        assert world.node("sgw1").is_ready()
        await world.attaches_and_detaches()


async def test_a_hundred_phones_at_once(split: Any) -> None:
    phones = {"imsi": IMSI, "count": 100, "k": "465B5CE8B199B49FAA5F0A2EE238A6BC", "opc": "E8ED289DEBA952E4283B54E88E6183CA"}
    async with split({"enb1.phones": [phones], "hss1.subscribers.0.count": 100}) as world:
        lab = world.lab
        results = await asyncio.gather(*(phone.ue.attach(max_attempts=1) for phone in lab.phones))
        assert all(result.success for result in results)
        await lab.settled()
        lab.check_invariants()
        assert user_plane_sessions(world) == {"sgwu1": 100, "pgwu1": 100}
        for phone in lab.phones[::20]:
            await lab.ping(phone, lab.server, count=1)
        await asyncio.gather(*(phone.ue.detach() for phone in lab.phones))
        await world.at_rest()
        assert user_plane_sessions(world) == {"sgwu1": 0, "pgwu1": 0}


@pytest.mark.parametrize(
    ("model", "wrong", "complaint"),
    [
        (SgwConfig, {"s11": {"host": "10.0.0.1"}, "s5c": {"host": "10.0.0.1"}, "s1u": {"host": "10.0.0.2"}}, "sxa: is missing"),
        (PgwConfig, {"s5c": {"host": "10.0.0.1"}, "apns": {"a": {"ipv4_pool": "10.45.0.0/16"}}}, "sxb: is missing"),
        (PgwConfig, {"s5c": {"host": "10.0.0.1"}, "sxb": {"host": "10.0.0.1", "peer": {"host": "10.0.0.2"}},
                     "apns": {"a": {"ipv4_pool": "10.45.0.0/16", "server": "10.200.0.1/24"}}}, "behind the PGW-U"),
    ],
)
def test_configuration_that_makes_no_sense_is_refused(model: Any, wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config({"name": "x", "s5u": {"host": "10.0.0.2"}, "sx": "pfcp", **wrong}, model, source="test")
