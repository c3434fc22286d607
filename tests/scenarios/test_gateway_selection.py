"""Which PGW a phone in Barcelona gets: DNS, configuration, subscription, home routed or local breakout (TS 29.303, TS 23.401 clause 4.3.8)."""

from __future__ import annotations

from typing import Any

import pytest

from epc.wire.nas import EmmCause, EsmCause

pytestmark = pytest.mark.virtual_clock
IMSI = "001010000000001"
FILE = "roaming.yaml"
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
HOME_RECORDS = "dns-home.zones.0.records"
APNS = "hss-home.subscribers.0.apns"


def lines(text: str) -> str:
    """In a master file a line that begins with a blank goes on with the name before."""
    return "\n".join(line.strip() for line in text.splitlines())


def gateway(host: str, pool: str, server: str, apn: str = "internet", operator: str = "home") -> dict[str, Any]:
    """A PGW without a PCRF."""
    return {"kind": "pgw", "operator": operator, "s5c": {"host": host}, "s5u": {"host": host},
            "apns": {apn: {"ipv4_pool": pool, "server": server}}}


SECOND_PGW = {"pgw2-home": gateway("127.0.2.14", "10.46.0.0/16", "10.201.0.1/24")}
VISITED_PGW = {
    "pgw-visited": gateway("127.0.1.13", "10.99.0.0/16", "10.209.0.1/24", operator="visited"),
    "dns-visited.zones.0.records": lines("""
        tac-lb01.tac-hb00.tac NAPTR 10 10 "a" "x-3gpp-sgw:x-s11" "" topon.s11.sgw1.node
        topon.s11.sgw1.node   A     127.0.1.14
        internet.apn          NAPTR 10 10 "a" "x-3gpp-pgw:x-s5-gtp" "" topon.s5.pgw1.node
        topon.s5.pgw1.node    A     127.0.1.13
    """)}


def queries(world) -> list[str]:
    """What the MME asked."""
    return [event.detail.split()[0] for event in world.lab.observer.events if event.name == "DNS query" and event.source == "mme-visited"]


async def attached_at(world) -> str:
    """The address that the phone gets; it attaches, pings and leaves, and nothing is left."""
    phone = world.lab.phone(IMSI)
    await world.lab.attach(phone)
    world.lab.check_invariants()
    ip = str(phone.ue.ip)
    await world.lab.detach(phone)
    await world.at_rest()
    return ip


async def refused(world, esm_cause: EsmCause) -> None:
    result = await world.lab.phone(IMSI).ue.attach(max_attempts=1)
    assert (result.emm_cause, result.esm_cause) == (EmmCause.ESM_FAILURE, esm_cause), result
    assert "Create Session Request" not in world.sent("S11")
    await world.at_rest()


async def test_the_home_operators_dns_says_which_pgw_the_visited_ones_which_sgw(network) -> None:
    async with network(file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"
        assert queries(world) == [
            "internet.apn.epc.mnc001.mcc001", "topoff.s8.pgw1.node.epc.mnc001.mcc001", "tac-lb01.tac-hb00.tac.epc.mnc007.mcc214",
            "topon.s11.sgw1.node.epc.mnc007.mcc214"]
        create = next(event for event in world.lab.observer.events if (event.interface, event.name) == ("S11", "Create Session Request"))
        assert dict(create.trees[1][1])["apn"] == "internet.mnc001.mcc001.gprs"
        await attached_at(world)
        assert len(queries(world)) == 4, "the second time it is known"


async def test_the_mmes_own_configuration_goes_first(network) -> None:
    async with network({**SECOND_PGW, "mme-visited.pgws": [{"host": "127.0.2.14", "home_plmns": ["00101"]}]}, file=FILE) as world:
        assert await attached_at(world) == "10.46.0.1"
        assert not any(".apn." in name for name in queries(world))
    async with network({**SECOND_PGW, "mme-visited.pgws": [{"host": "127.0.2.14", "home_plmns": ["21407"]}]}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1", "that entry is for others"


@pytest.mark.parametrize("pgw", ["127.0.2.14", f"topoff.s8.pgw2.node.{REALM}"])
async def test_the_pgw_of_the_subscription_goes_before_the_dns(network, pgw: str) -> None:
    records = f"internet.apn NAPTR 10 10 a x-3gpp-pgw:x-s8-gtp \"\" pgw1.node\npgw1.node A 127.0.2.13\ntopoff.s8.pgw2.node.{REALM}. A 127.0.2.14"
    async with network({**SECOND_PGW, APNS: [f"internet pgw={pgw}"], HOME_RECORDS: records}, file=FILE) as world:
        assert await attached_at(world) == "10.46.0.1"
        assert not any(".apn." in name for name in queries(world))


@pytest.mark.parametrize(("subscription", "asked"), [
    ({"apn_oi_replacement": "province1.mnc001.mcc001.gprs"}, "internet.province1.apn.epc.mnc001.mcc001"),
    ({"apns": ["internet oi=province2.mnc001.mcc001.gprs"], "apn_oi_replacement": "province1.mnc001.mcc001.gprs"},
     "internet.province2.apn.epc.mnc001.mcc001"),
])
async def test_apn_oi_replacement(network, subscription: dict[str, Any], asked: str) -> None:
    """That of the APN goes before that of the subscriber."""
    records = f'{asked.removesuffix(".epc.mnc001.mcc001")} NAPTR 10 10 a x-3gpp-pgw:x-s8-gtp "" pgw1.node\npgw1.node A 127.0.2.13'
    changes = {f"hss-home.subscribers.0.{key}": value for key, value in subscription.items()}
    async with network({**changes, HOME_RECORDS: records}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"
        assert queries(world)[0] == asked
        create = next(event for event in world.lab.observer.events if (event.interface, event.name) == ("S11", "Create Session Request"))
        assert dict(create.trees[1][1])["apn"] == "internet.mnc001.mcc001.gprs", "the replacement finds the PGW and goes no further"


@pytest.mark.parametrize("records", [
    """internet.apn NAPTR 20 10 "a" "x-3gpp-pgw:x-s8-gtp" "" pgw1.node
       internet.apn NAPTR 10 20 "a" "x-3gpp-pgw:x-s8-gtp" "" pgw1.node
       internet.apn NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp+nc-smf:x-gn" "" pgw2.node
       internet.apn NAPTR 1 1 "a" "x-3gpp-pgw:x-s5-gtp" "" pgw1.node
       internet.apn NAPTR 1 1 "a" "x-3gpp-ggsn:x-gp" "" pgw1.node""",
    """internet.apn NAPTR 10 10 "s" "x-3gpp-pgw:x-s8-gtp" "" _gtp._udp.pool
       _gtp._udp.pool SRV 20 1 2123 pgw1.node
       _gtp._udp.pool SRV 10 1 2123 pgw2.node""",
    """internet.apn NAPTR 10 10 "" "x-3gpp-pgw:x-s8-gtp" "" elsewhere
       elsewhere NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp" "" alias
       alias CNAME pgw2.node""",
    """internet.apn NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp" "" gone.node
       internet.apn NAPTR 20 10 "a" "x-3gpp-pgw:x-s8-gtp" "" pgw2.node""",
], ids=["order-and-preference-of-the-fitting-service", "srv-priority", "non-terminal-and-alias", "a-name-that-is-gone"])
async def test_s_naptr_leads_to_the_second_pgw(network, records: str) -> None:
    records += "\npgw1.node A 127.0.2.13\npgw2.node A 127.0.2.14"
    async with network({**SECOND_PGW, HOME_RECORDS: lines(records)}, file=FILE) as world:
        assert await attached_at(world) == "10.46.0.1"


async def test_the_next_pgw_is_tried_when_one_does_not_answer(network) -> None:
    records = """internet.apn NAPTR 10 10 "a" "x-3gpp-pgw:x-s8-gtp" "" pgw2.node
                 internet.apn NAPTR 20 10 "a" "x-3gpp-pgw:x-s8-gtp" "" pgw1.node
                 pgw1.node A 127.0.2.13
                 pgw2.node A 127.0.2.14"""
    async with network({HOME_RECORDS: lines(records)}, file=FILE) as world:
        started = world.now()
        assert await attached_at(world) == "10.45.0.1"
        assert world.now() - started == pytest.approx(6, abs=1), "the SGW's patience with the first"
        first, second = [dict(event.trees[1][1])["pgw_fteid"] for event in world.lab.observer.events
                         if (event.interface, event.name, event.repeated) == ("S11", "Create Session Request", False)]
        assert dict(first)["ipv4"] == "127.0.2.14"
        assert dict(second)["ipv4"] == "127.0.2.13"


async def test_an_apn_that_the_dns_does_not_know(network) -> None:
    async with network({HOME_RECORDS: "pgw1.node A 127.0.2.13"}, file=FILE) as world:
        await refused(world, EsmCause.MISSING_OR_UNKNOWN_APN)


async def test_an_apn_without_a_pgw_for_s8(network) -> None:
    async with network({HOME_RECORDS: 'internet.apn NAPTR 10 10 a x-3gpp-pgw:x-s5-gtp "" pgw1.node\npgw1.node A 127.0.2.13'}, file=FILE) as world:
        await refused(world, EsmCause.MISSING_OR_UNKNOWN_APN)


async def test_the_home_dns_is_silent(network) -> None:
    """The visited server gives up (SERVFAIL); the next attach finds the server again."""
    async with network(file=FILE) as world:
        await world.crash("dns-home")
        await refused(world, EsmCause.NETWORK_FAILURE)
        assert world.last("DNS").detail.endswith("SERVFAIL")
        assert world.protocol_errors("mme-visited")["DNS", "refused"] == 1
        await world.revive("dns-home")
        assert await attached_at(world) == "10.45.0.1"


async def test_the_own_dns_is_silent_and_a_second_one_is_asked(network) -> None:
    async with network(file=FILE) as world:
        await world.crash("dns-visited")
        await refused(world, EsmCause.NETWORK_FAILURE)
        assert world.protocol_errors("mme-visited")["DNS", "no answer"] == 1
    servers = [{"host": "127.0.1.54", "port": 53}, {"host": "127.0.1.53", "port": 53}]
    async with network({"mme-visited.dns.servers": servers}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"


# --- local breakout -----------------------------------------------------------------------------------------------------------------


async def test_local_breakout_needs_the_subscription_and_the_operators_will(network) -> None:
    allowed, wanted = {APNS: ["internet visited=yes"]}, {"mme-visited.roaming.local_breakout": [{"home_plmns": ["00101"], "apns": ["Internet"]}]}
    async with network({**VISITED_PGW, **allowed, "mme-visited.roaming.local_breakout": []}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"
    async with network({**VISITED_PGW, **wanted}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"
    async with network({**VISITED_PGW, **allowed, **wanted, "hss-home.subscribers.0.apn_oi_replacement": "province1.mnc001.mcc001.gprs"},
                       file=FILE) as world:
        assert await attached_at(world) == "10.99.0.1"
        assert queries(world)[0] == "internet.apn.epc.mnc007.mcc214"
        create = next(event for event in world.lab.observer.events if (event.interface, event.name) == ("S11", "Create Session Request"))
        assert dict(create.trees[1][1])["apn"] == "internet.mnc007.mcc214.gprs"
    async with network({**VISITED_PGW, **allowed, "mme-visited.roaming.local_breakout": [{"apns": ["ims"]}]}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1", "the policy is for another APN"


async def test_barring_of_access_points_decides_between_home_and_here(network) -> None:
    allowed, wanted = {APNS: ["internet visited=yes"]}, {"mme-visited.roaming.local_breakout": [{}]}
    async with network({**VISITED_PGW, **allowed, **wanted, "hss-home.subscribers.0.barring": "visited-apns"}, file=FILE) as world:
        assert await attached_at(world) == "10.45.0.1"
    unwanted = {"mme-visited.roaming.local_breakout": []}
    async with network({**VISITED_PGW, **allowed, **unwanted, "hss-home.subscribers.0.barring": "home-apns-abroad"}, file=FILE) as world:
        assert await attached_at(world) == "10.99.0.1"
    both = {"hss-home.subscribers.0.apns": ["internet", "ims visited=yes"], "hss-home.subscribers.0.barring": "home-apns-abroad"}
    async with network({**VISITED_PGW, **both}, file=FILE) as world:
        await refused(world, EsmCause.OPERATOR_DETERMINED_BARRING)
