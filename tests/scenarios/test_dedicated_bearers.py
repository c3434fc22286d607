"""Dedicated bearers in a whole network: at the attach, by a push, taken away; refused, lost and crossed by what the phone does meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from epc.dataplane.forwarder import DropReason
from epc.dataplane.ip_endpoint import udp_exchange
from epc.pcrf.config import PolicyBook
from epc.transport.interface import TappedPacket
from epc.wire import nas, s1ap
from epc.wire.nas import EsmCause
from ran.enb.causes import USER_INACTIVITY

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
VOICE = {"flows": [{"description": "permit out 17 from any 7 to assigned"}], "qci": 1, "arp": {"priority_level": 2}, "precedence": 10,
         "guaranteed_ul": "64k", "guaranteed_dl": "64k", "max_ul": "128k", "max_dl": "128k"}
VIDEO = {"flows": [{"description": "permit out 6 from 10.200.0.0/24 8000-8010 to assigned"}], "qci": 7, "precedence": 20}
MORE_VOICE = {**VOICE, "flows": [{"description": "permit out 17 from any 5060 to assigned"}], "precedence": 11}
EVERYTHING = {"flows": [{"description": "permit out ip from any to assigned"}], "precedence": 1000}


def policy(*rules: str, **more: Any) -> dict[str, Any]:
    return {"pcrf1.policy": {
        "rules": {"voice": VOICE, "video": VIDEO, "more-voice": MORE_VOICE, "everything": EVERYTHING},
        "policies": [{"rules": ["everything", *rules], **more}]}}


def bearers(world) -> dict[str, list[int]]:
    """The EPS bearers that each node has, those of the first phone."""
    ue = world.lab.phone(IMSI).ue
    [session] = world.node("pgw1").sessions.values()
    [connection] = world.node("sgw1").connections.values()
    context = world.node("mme1").ues.by_imsi[IMSI]
    at_enb = world.node("enb1").ues.on_radio(ue.radio)
    return {
        "ue": list(ue.active_bearers), "enb": sorted(at_enb.bearers) if at_enb else [], "mme": sorted(each.ebi for each in context.session.bearers()),
        "sgw": sorted(connection.bearers), "pgw": sorted(session.bearers),
    }


def everywhere(*ebis: int) -> dict[str, list[int]]:
    return {node: list(ebis) for node in ("ue", "enb", "mme", "sgw", "pgw")}


async def quiet(world, seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)
    await world.lab.settled(patience_s=120)
    world.lab.check_invariants()


async def push(world, rule: str) -> None:
    await world.node("pcrf1")._install_rule(rule=rule, imsi=IMSI)


async def withdraw(world, rule: str) -> None:
    await world.node("pcrf1")._remove_rule(rule=rule, imsi=IMSI)


def rules(world) -> set[str]:
    [session] = world.node("pgw1").sessions.values()
    return {name.decode() for name in session.rules}


def withheld(world) -> set[str]:
    """What the PCRF knows that the PGW cannot enforce."""
    [session] = list(world.node("pcrf1").sessions)
    return {name.decode() for name in session.withheld_rules}


async def echo(world) -> None:
    """A datagram to port 7 and back, which the voice rule is about."""
    host = await world.lab.phone(IMSI).host()
    assert await udp_exchange(host, world.lab.server, 7, b"hello") == b"hello"


def watch_tunnels(world) -> Counter[tuple[str, int]]:
    """Counts G-PDUs by the tunnel that they go through: receiving address and TEID."""
    seen: Counter[tuple[str, int]] = Counter()

    def note(packet: TappedPacket) -> bool:
        if packet.destination.port == 2152 and packet.payload[1] == 0xFF:
            seen[packet.destination.host, int.from_bytes(packet.payload[4:8])] += 1
        return False

    world.wires.drop_when(note)
    return seen


def packets_of(world, seen: Counter[tuple[str, int]], ebi: int) -> dict[str, int]:
    """What passed each of a bearer's four tunnels."""
    [connection] = world.node("sgw1").connections.values()
    bearer = connection.bearers[ebi]
    ends = {"s1u uplink": bearer.s1u_sgw, "s5u uplink": bearer.s5u_pgw, "s5u downlink": bearer.s5u_sgw, "s1u downlink": bearer.s1u_enb}
    return {name: seen[end.address, end.teid] for name, end in ends.items()}


def every_tunnel(packets: int) -> dict[str, int]:
    return dict.fromkeys(("s1u uplink", "s5u uplink", "s5u downlink", "s1u downlink"), packets)


async def test_at_the_attach(network) -> None:
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        assert "Create Bearer Request" in world.sent("S5/S8")
        assert "Create Bearer Request" in world.sent("S11")
        assert "Activate Dedicated EPS Bearer Context Request" in world.sent("S1-MME")
        assert phone.ue.pdn_connections[5].dedicated[6].qos == nas.EpsQos(
            qci=1, maximum_bit_rate_uplink_kbps=128, maximum_bit_rate_downlink_kbps=128, guaranteed_bit_rate_uplink_kbps=64,
            guaranteed_bit_rate_downlink_kbps=64)
        seen = watch_tunnels(world)
        await echo(world)
        assert packets_of(world, seen, 6) == every_tunnel(1)
        assert packets_of(world, seen, 5) == every_tunnel(0)
        await lab.ping(phone, lab.server, count=3)
        assert packets_of(world, seen, 6) == every_tunnel(1)
        assert packets_of(world, seen, 5) == every_tunnel(3)
        await lab.detach(phone)
        await world.at_rest()


async def test_what_does_not_belong_on_a_bearer_is_dropped_by_the_pgw(network) -> None:
    """A phone that ignores its packet filters: the PGW lets only the bearer's own flows through (TS 23.203 clause 6.2.2.2)."""
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        host = await phone.host()
        seen = watch_tunnels(world)
        host.link.on_packet = lambda packet: phone.ue.send_ip_packet(packet, ebi=6)
        assert (await host.ping(lab.server, count=2, timeout_s=2.0)).received == 0
        assert packets_of(world, seen, 6) == {"s1u uplink": 2, "s5u uplink": 2, "s5u downlink": 0, "s1u downlink": 0}
        assert world.node("pgw1").forwarder.statistics().drops[DropReason.NO_MATCHING_RULE] == 2
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("file", ["attach.yaml", "sx-split.yaml"])
async def test_by_a_push_and_taken_away(network, file: str) -> None:
    """Also where the gateways leave their packets to user-plane nodes behind PFCP."""
    in_process = {"pgwu1.sgi_hosts": "in_process"} if file == "sx-split.yaml" else {}
    async with network({**policy(), **in_process}, file=file) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        assert bearers(world) == everywhere(5)
        await push(world, "voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        await push(world, "video")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6, 7)
        await withdraw(world, "voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 7)
        await push(world, "voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6, 7)
        seen = watch_tunnels(world)
        await echo(world)
        assert packets_of(world, seen, 6) == every_tunnel(1)
        await lab.detach(phone)
        await world.at_rest()


async def test_rules_with_the_same_qos_share_a_bearer(network) -> None:
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        await push(world, "more-voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        bearer = phone.ue.pdn_connections[5].dedicated[6]
        assert {each.remote_ports for each in bearer.filters.values()} == {(7, 7), (5060, 5060)}
        assert bearer.qos.guaranteed_bit_rate_uplink_kbps == 128, "the sum of the rules' rates"
        await withdraw(world, "voice")
        await quiet(world)
        assert {each.remote_ports for each in bearer.filters.values()} == {(5060, 5060)}
        assert bearer.qos.guaranteed_bit_rate_uplink_kbps == 64
        assert bearers(world) == everywhere(5, 6)
        await lab.detach(phone)
        await world.at_rest()


async def test_idle_phone_is_paged_first(network) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        enb = world.node("enb1")
        enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
        await quiet(world)
        assert not phone.ue.connected
        await push(world, "voice")
        await quiet(world)
        assert "Paging" in world.sent("S1-MME")
        assert bearers(world) == everywhere(5, 6)
        await echo(world)
        # and a bearer of an idle phone goes without paging: the phone learns it when it comes back
        enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
        await quiet(world)
        await withdraw(world, "voice")
        await quiet(world)
        assert world.sent("S1-MME").count("Paging") == 1
        assert bearers(world) == {"ue": [5, 6], "enb": [], "mme": [5], "sgw": [5], "pgw": [5]}
        await lab.ping(phone, lab.server, count=1)
        assert bearers(world) == everywhere(5)
        await lab.detach(phone)
        await world.at_rest()


async def test_phone_that_cannot_be_paged(network) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        enb = world.node("enb1")
        enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
        await quiet(world)
        enb.behaviour.ignored.add(s1ap.Paging)
        await push(world, "voice")
        await quiet(world, 30.0)
        assert rules(world) == {"everything"}
        assert withheld(world) == {"voice"}
        enb.behaviour.ignored.clear()
        await push(world, "voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("refusal", ["phone refuses", "phone is silent", "phone's radio refuses", "eNodeB refuses", "eNodeB is silent"])
async def test_refused_set_up_leaves_nothing_and_is_reported(network, refusal: str) -> None:
    async with network(policy()) as world:
        lab, phone, enb = world.lab, world.lab.phone(IMSI), world.node("enb1")
        await lab.attach(phone)
        kind = type(phone.ue.behaviour)
        match refusal:
            case "phone refuses":
                phone.ue.behaviour = kind(refuse_dedicated_bearers=EsmCause.INSUFFICIENT_RESOURCES)
            case "phone is silent":
                phone.ue.behaviour = kind(silent_on=frozenset({nas.ActivateDedicatedEpsBearerContextRequest}))
            case "phone's radio refuses":
                phone.ue.behaviour = kind(refuse_radio_bearers=True)
            case "eNodeB refuses":
                enb.behaviour.refuse_bearers = s1ap.Cause("radioNetwork", "radio-resources-not-available")
            case _:
                enb.behaviour.ignored.add(s1ap.ERABSetupRequest)
        await push(world, "voice")
        await quiet(world, 60.0)
        assert bearers(world) == everywhere(5)
        assert rules(world) == {"everything"}
        assert withheld(world) == {"voice"}
        phone.ue.behaviour = kind()
        enb.behaviour.refuse_bearers = None
        enb.behaviour.ignored.clear()
        await push(world, "voice")
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        await echo(world)
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("interface", "name"), [
    ("Gx", "Re-Auth Request (RAR)"), ("S5/S8", "Create Bearer Request"), ("S11", "Create Bearer Request"), ("S11", "Create Bearer Response"),
    ("S5/S8", "Create Bearer Response")])
async def test_lost_message_is_sent_again(network, interface: str, name: str) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        if interface != "Gx":           # TCP repeats by itself, which the memory network does not play
            world.lose(interface, name)
        await push(world, "voice")
        await quiet(world, 10.0)
        assert bearers(world) == everywhere(5, 6)
        if interface != "Gx":
            world.lose(interface, name.replace("Create", "Delete"))
        await withdraw(world, "voice")
        await quiet(world, 10.0)
        assert bearers(world) == everywhere(5)
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize("message", [nas.ActivateDedicatedEpsBearerContextRequest, nas.DeactivateEpsBearerContextRequest])
async def test_phone_misses_a_message_once(network, message: type) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        missed: list[object] = []

        def intercept(heard: object) -> bool:
            if isinstance(heard, message) and not missed:
                missed.append(heard)
                return True
            return False

        phone.ue.behaviour = type(phone.ue.behaviour)(intercept=intercept)
        await push(world, "voice")
        await quiet(world, 20.0)
        assert bearers(world) == everywhere(5, 6)
        await withdraw(world, "voice")
        await quiet(world, 20.0)
        assert bearers(world) == everywhere(5)
        assert missed
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("interface", "name"), [
    ("S5/S8", "Create Bearer Request"), ("S11", "Create Bearer Request"), ("S1-MME", "Activate Dedicated EPS Bearer Context Request"),
    ("S11", "Create Bearer Response"), ("S5/S8", "Create Bearer Response")])
async def test_phone_detaches_in_the_middle(network, interface: str, name: str) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        detaching: list[asyncio.Task[Any]] = []
        world.when(interface, name, lambda: detaching.append(asyncio.ensure_future(phone.ue.detach())))
        await push(world, "voice")
        await asyncio.sleep(1.0)
        assert detaching
        assert (await detaching[0]).success
        await world.at_rest()


async def test_radio_is_lost_in_the_middle(network) -> None:
    """The MME asks for patience, the PGW tries again, and the phone is paged."""
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        world.when("S11", "Create Bearer Request", phone.ue.lose_radio)
        await push(world, "voice")
        await quiet(world, 20.0)
        assert bearers(world) == everywhere(5, 6)
        await lab.detach(phone)
        await world.at_rest()


async def test_guaranteed_bit_rate_ends_with_the_radio(network) -> None:
    """TS 23.401 clause 5.3.5: GBR bearers are deactivated when the phone is lost, others wait for it."""
    async with network(policy("voice", "video", event_triggers=["LOSS_OF_BEARER"])) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        assert bearers(world) == everywhere(5, 6, 7)
        phone.ue.lose_radio()
        await quiet(world, 5.0)
        assert bearers(world) == {"ue": [5, 6, 7], "enb": [], "mme": [5, 7], "sgw": [5, 7], "pgw": [5, 7]}
        assert "voice" in withheld(world)
        await lab.ping(phone, lab.server, count=1)
        assert bearers(world) == everywhere(5, 7)
        await lab.detach(phone)
        await world.at_rest()


async def test_enodeb_loses_a_bearer(network) -> None:
    from ran.enb.erab_release import indicate_release

    async with network(policy("voice")) as world:
        lab, phone, enb = world.lab, world.lab.phone(IMSI), world.node("enb1")
        await lab.attach(phone)
        await quiet(world)
        indicate_release(enb, enb.ues.on_radio(phone.ue.radio), 6, s1ap.Cause("radioNetwork", "radio-resources-not-available"))
        await quiet(world)
        assert "Delete Bearer Command" in world.sent("S11")
        assert bearers(world) == everywhere(5)
        assert withheld(world) == {"voice"}
        await lab.detach(phone)
        await world.at_rest()


async def test_enodeb_cannot_bring_a_bearer_back(network) -> None:
    """At the service request the dedicated bearer gets no radio bearer: it ends, the phone's context goes without a word."""
    async with network(policy("video")) as world:
        lab, phone, enb = world.lab, world.lab.phone(IMSI), world.node("enb1")
        await lab.attach(phone)
        await quiet(world)
        enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
        await quiet(world)
        allowed = enb.user_plane.set_up

        def only_the_default_bearer(ue, ebi, qos, far_end):
            from epc.dataplane.rules import RuleError
            if ebi != 5:
                raise RuleError("no room")
            return allowed(ue, ebi, qos, far_end)

        enb.user_plane.set_up = only_the_default_bearer
        await lab.ping(phone, lab.server, count=1)
        await quiet(world)
        assert bearers(world) == everywhere(5)
        assert withheld(world) == {"video"}
        enb.user_plane.set_up = allowed
        await lab.detach(phone)
        await world.at_rest()


async def test_bit_rate_and_default_qos_change_while_connected_and_idle(network) -> None:
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        pcrf = world.node("pcrf1")
        for ambr, qci in ((4992, 8), (6016, 7)):
            changed = PolicyBook.model_validate(policy(ambr_ul=f"{ambr}k", ambr_dl=f"{ambr}k", default_bearer={"qci": qci})["pcrf1.policy"])
            await pcrf.change_policies(lambda book, changed=changed: changed)
            await quiet(world)
            connection = phone.ue.pdn_connections[5]
            assert connection.qos.qci == qci
            assert connection.apn_ambr == nas.ApnAmbr(downlink_kbps=ambr, uplink_kbps=ambr)
            [session] = world.node("pgw1").sessions.values()
            assert session.policy.qos.qci == qci
            enb = world.node("enb1")
            enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
            await quiet(world)
        await lab.ping(phone, lab.server, count=1)
        await lab.detach(phone)
        await world.at_rest()


async def test_phone_refuses_a_change(network) -> None:
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        phone.ue.behaviour = type(phone.ue.behaviour)(refuse_modifications=EsmCause.SEMANTIC_ERRORS_IN_PACKET_FILTERS)
        await push(world, "more-voice")
        await quiet(world)
        assert rules(world) == {"everything", "voice"}
        assert withheld(world) == {"more-voice"}
        assert bearers(world) == everywhere(5, 6)
        [session] = world.node("pgw1").sessions.values()
        assert session.bearers[6].qos.gbr_uplink_kbps == 64
        await echo(world)
        await lab.detach(phone)
        await world.at_rest()


async def test_more_bearers_than_there_are_identities(network) -> None:
    changes = policy()
    names = []
    for qci in range(128, 140):
        names.append(f"r{qci}")
        changes["pcrf1.policy"]["rules"][f"r{qci}"] = {**VIDEO, "flows": [{"description": f"permit out 17 from any {qci} to assigned"}], "qci": qci}
    changes["pcrf1.policy"]["policies"] = [{"rules": ["everything", *names]}]
    async with network(changes) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world, 5.0)
        assert bearers(world) == everywhere(*range(5, 16))
        assert withheld(world) == {"r138", "r139"}
        await lab.detach(phone)
        await world.at_rest()


async def test_sgw_restarts(network) -> None:
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        await world.crash("sgw1")
        await world.revive("sgw1")
        await asyncio.sleep(150)
        await quiet(world)
        assert bearers(world) == everywhere(5, 6), "attached anew, with all bearers"
        await lab.detach(phone)
        await world.at_rest()


async def test_pcrf_hears_where_the_phone_is(network) -> None:
    """With the service request in the Modify Bearer Request, after a tracking area update by a Change Notification; only when it has changed."""
    changes = {**policy(event_triggers=["USER_LOCATION_CHANGE"]), "enb1.cells": [{"cell_id": 1, "tac": 1}, {"cell_id": 2, "tac": 2}],
               "mme1.tais": [{"plmn": "00101", "tacs": [1, 2]}]}
    async with network(changes) as world:
        lab, phone, enb = world.lab, world.lab.phone(IMSI), world.node("enb1")
        await lab.attach(phone)
        await quiet(world)
        assert world.sent("Gx").count("Credit Control Request (CCR)") == 1
        [here] = [cell for cell in enb.cells if cell.information.tac == phone.ue.tai.tac]
        [there] = [cell for cell in enb.cells if cell is not here]

        async def idle_in(cell) -> None:
            enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
            await quiet(world)
            phone.ue.camp_on(cell)

        await idle_in(there)
        await lab.ping(phone, lab.server, count=1)
        await quiet(world)
        assert world.sent("Gx").count("Credit Control Request (CCR)") == 2, "the service request told it"
        assert world.sent("S5/S8").count("Modify Bearer Request") == 1
        [session] = world.node("pgw1").sessions.values()
        assert session.whereabouts.uli.tai.tac == there.information.tac
        await idle_in(there)
        await lab.ping(phone, lab.server, count=1)
        await quiet(world)
        assert world.sent("S5/S8").count("Modify Bearer Request") == 1, "nothing new"
        await idle_in(here)
        assert (await phone.ue.update_tracking_area(periodic=True)).success
        await quiet(world)
        assert "Change Notification Request" in world.sent("S11")
        assert session.whereabouts.uli.tai.tac == here.information.tac
        assert world.sent("Gx").count("Credit Control Request (CCR)") == 3
        await lab.ping(phone, lab.server, count=1)
        await lab.detach(phone)
        await world.at_rest()


ECHO = nas.PacketFilter(identifier=0, precedence=1, protocol=17, remote_ports=(7, 7))
OTHER = nas.PacketFilter(identifier=0, precedence=1, protocol=17, remote_ports=(9, 9))


async def test_phone_asks_for_a_bearer_and_gives_it_up(network) -> None:
    async with network(policy(ue_requests={"qcis": [7, 1], "max_ul": "1M", "max_dl": "1M"})) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        asked = await phone.ue.request_bearer([ECHO], nas.EpsQos(qci=7))
        assert asked.success, asked.reason
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        assert [world.sent(interface).count("Bearer Resource Command") for interface in ("S11", "S5/S8")] == [1, 1]
        seen = watch_tunnels(world)
        await echo(world)
        assert packets_of(world, seen, 6) == every_tunnel(1)
        guaranteed = nas.EpsQos(qci=1, maximum_bit_rate_uplink_kbps=64, maximum_bit_rate_downlink_kbps=64, guaranteed_bit_rate_uplink_kbps=64,
                                guaranteed_bit_rate_downlink_kbps=64)
        assert (await phone.ue.request_bearer([OTHER], guaranteed)).success
        await quiet(world)
        assert bearers(world) == everywhere(5, 6, 7)
        assert phone.ue.pdn_connections[5].dedicated[7].qos == guaranteed
        assert (await phone.ue.release_bearer(6)).success
        await quiet(world)
        assert bearers(world) == everywhere(5, 7)
        assert rules(world) == {"everything", *[name for name in rules(world) if name.startswith("ue-")]}
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("changes", "qci"), [(policy(), 7), (policy(ue_requests={"qcis": [7]}), 5), ({"pgw1.gx": ...}, 7)],
                         ids=["policy does not allow it", "not this QCI", "no PCRF"])
async def test_phone_asks_in_vain(network, changes, qci: int) -> None:
    async with network(changes) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        asked = await phone.ue.request_bearer([ECHO], nas.EpsQos(qci=qci))
        assert (asked.success, asked.esm_cause) == (False, EsmCause.REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED)
        assert "Bearer Resource Failure Indication" in world.sent("S11")
        await quiet(world)
        assert bearers(world) == everywhere(5)
        assert (await phone.ue.release_bearer(6)).esm_cause == EsmCause.INVALID_EPS_BEARER_IDENTITY
        await lab.detach(phone)
        await world.at_rest()


async def test_phone_asks_but_refuses_what_it_gets(network) -> None:
    async with network(policy(ue_requests={"qcis": [7]})) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        phone.ue.behaviour = type(phone.ue.behaviour)(refuse_dedicated_bearers=EsmCause.INSUFFICIENT_RESOURCES)
        asking = asyncio.ensure_future(phone.ue.request_bearer([ECHO], nas.EpsQos(qci=7), linked_ebi=5))
        await asyncio.sleep(1)
        assert bearers(world) == everywhere(5)
        asking.cancel()
        await lab.detach(phone)
        await world.at_rest()


# --- collisions -----------------------------------------------------------------------------------------------------------------

STAGES = [("S5/S8", "Create Bearer Request"), ("S11", "Create Bearer Request"), ("S1-MME", "Activate Dedicated EPS Bearer Context Request"),
          ("S1-MME", "Activate Dedicated EPS Bearer Context Accept"), ("S11", "Create Bearer Response"), ("S5/S8", "Create Bearer Response")]


@pytest.mark.parametrize(("interface", "name"), STAGES)
@pytest.mark.parametrize("event", ["update", "radio lost", "power lost", "network detaches", "PCRF ends the session", "rule is taken back",
                                   "further rule", "HSS cancels"])
async def test_what_may_happen_while_a_bearer_is_set_up(network, interface: str, name: str, event: str) -> None:
    """Whatever it is: in the end everybody agrees on the bearers, and nothing is left of the phone when it has gone."""
    async with network(policy()) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        background: list[asyncio.Future[Any]] = []

        async def take_back() -> None:
            await asyncio.sleep(0.005)          # the PCRF has yet to hear that its push arrived
            await withdraw(world, "video")

        def happen() -> None:
            match event:
                case "update":
                    background.append(asyncio.ensure_future(phone.ue.update_tracking_area(active=True)))
                case "radio lost":
                    phone.ue.lose_radio()
                case "power lost":
                    phone.ue.lose_power()
                case "network detaches":
                    background.append(asyncio.ensure_future(world.node("mme1")._command_detach(imsi=IMSI)))
                case "PCRF ends the session":
                    background.append(asyncio.ensure_future(world.node("pcrf1")._release(imsi=IMSI)))
                case "rule is taken back":
                    background.append(asyncio.ensure_future(take_back()))
                case "further rule":
                    background.append(asyncio.ensure_future(push(world, "voice")))
                case _:
                    background.append(asyncio.ensure_future(world.node("mme1")._command_detach(imsi=IMSI, reattach="yes")))

        world.when(interface, name, happen)
        await push(world, "video")
        await asyncio.sleep(60)
        await asyncio.gather(*background, return_exceptions=True)
        await lab.settled(patience_s=120)
        lab.check_invariants(nothing_left=False)
        if phone.ue.registered:
            if not phone.ue.connected:
                await lab.ping(phone, lab.server, count=1)
                await quiet(world)
            expected = {"rule is taken back": [5], "further rule": [5, 6, 7]}.get(event, [5, 6])
            if event in ("HSS cancels", "PCRF ends the session"):
                expected = [5]                  # attached anew, and the push was for the former session
            assert bearers(world) == everywhere(*expected)
            await lab.detach(phone)
        else:
            assert event in ("power lost", "network detaches", "PCRF ends the session")
            if event == "power lost":
                cell = world.node("enb1").cells[0]
                phone.ue.camp_on(cell)
                await lab.attach(phone)
                await lab.detach(phone)
        await world.at_rest()


async def test_push_meets_the_phones_own_service_request(network) -> None:
    async with network(policy()) as world:
        lab, phone, enb = world.lab, world.lab.phone(IMSI), world.node("enb1")
        await lab.attach(phone)
        for interface, name in (("S1-MME", "Service Request"), ("S11", "Modify Bearer Request"), ("S1-MME", "Initial Context Setup Response")):
            enb.request_release(enb.ues.on_radio(phone.ue.radio), USER_INACTIVITY)
            await quiet(world)
            world.when(interface, name, lambda: asyncio.ensure_future(push(world, "voice")))
            await lab.ping(phone, lab.server, count=1)
            await quiet(world, 5.0)
            assert bearers(world) == everywhere(5, 6)
            await withdraw(world, "voice")
            await quiet(world)
            assert bearers(world) == everywhere(5)
        await lab.detach(phone)
        await world.at_rest()


@pytest.mark.parametrize(("interface", "name"), [
    ("S5/S8", "Create Session Response"), ("S11", "Create Session Response"), ("S11", "Create Bearer Request")])
async def test_create_bearer_request_overtakes_the_session_or_comes_late(network, interface: str, name: str) -> None:
    async with network(policy("voice")) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        world.delay(interface, name, 0.05)
        await lab.attach(phone)
        await quiet(world, 10.0)
        assert bearers(world) == everywhere(5, 6)
        await lab.detach(phone)
        await world.at_rest()


async def test_blocked_application_does_not_get_through_on_a_dedicated_bearer(network) -> None:
    """The UE maps all datagrams to a bearer of their own; the application among them is found and stopped there too."""
    changes = policy()
    changes["pcrf1.policy"]["rules"] |= {
        "datagrams": {"flows": [{"description": "permit out 17 from any to assigned"}], "qci": 7, "precedence": 50},
        "no-echo": {"application": "echo", "status": "disabled", "precedence": 5}}
    changes["pcrf1.policy"]["policies"] = [{"rules": ["everything", "datagrams"]}]
    changes["pgw1.applications"] = {"echo": {"flows": ["permit out 17 from any 7 to assigned"]}}
    async with network(changes) as world:
        lab, phone = world.lab, world.lab.phone(IMSI)
        await lab.attach(phone)
        await quiet(world)
        assert bearers(world) == everywhere(5, 6)
        await echo(world)
        await push(world, "no-echo")
        await quiet(world)
        seen = watch_tunnels(world)
        with pytest.raises(TimeoutError):
            await echo(world)
        passed = packets_of(world, seen, 6)
        assert passed["s5u uplink"]
        assert not passed["s5u downlink"]
        assert world.node("pgw1").forwarder.statistics().drops[DropReason.GATE_CLOSED] == passed["s5u uplink"], "stopped on the way up"
        await lab.ping(phone, lab.server, count=1)
        await withdraw(world, "no-echo")
        await quiet(world)
        await echo(world)
        await lab.detach(phone)
        await world.at_rest()
