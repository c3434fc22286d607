"""Rules and policies changed while the PCRF runs: by REST, by ``epclab pcc``, and beside it in the database."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pytest_asyncio import fixture as async_fixture

from epc.cli import main
from epc.cli.pcc import LISTS, Problem, with_keys
from epc.hss.store import open_store as open_subscribers
from epc.node import ConfigError
from epc.node.admin import AdminServer
from epc.pcrf import Pcrf
from epc.pcrf.editing import InUse, applied, with_policy, with_rule, without_policy, without_rule
from epc.pcrf.pcc import Policy, PolicyBook, Rule
from epc.pcrf.store import Usage, open_store
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork
from epc.wire.diameter import gx
from epc.wire.diameter.policy import ServiceUnit, UsageMonitoringInformation
from tests.nodes.pcrf_lab import ALICE, BOB, NOON, ScriptedPgw, config, rule_names

pytestmark = pytest.mark.real_time      # a real HTTP server; Diameter stays in memory

BOOK: dict[str, Any] = {
    "rules": {"web": {"precedence": 200}, "voice": {"qci": 1, "guaranteed_ul": "64k", "guaranteed_dl": "64k"}},
    "policies": [{"name": "home", "imsi": "00101*", "rules": ["web"]}],
}


class World:
    """A PCRF with its HTTP server, and a PDN gateway."""

    def __init__(self, pcrf: Pcrf, pgw: ScriptedPgw, admin: AdminServer, http: aiohttp.ClientSession) -> None:
        self.pcrf, self.pgw, self.admin, self.http = pcrf, pgw, admin, http

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.request(method, f"http://{self.admin.address}{path}", data=data) as answer:
            return answer.status, await answer.json()

    async def epclab(self, *arguments: str) -> int:
        return await asyncio.to_thread(main, ["pcc", "--node", str(self.admin.address), *arguments])


@async_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    network = MemoryNetwork(seed=1)
    pcrf = Pcrf(config(BOOK, admin={"port": 0}, database=f"sqlite:///{tmp_path}/epc.sqlite", database_poll_s=0.05),
                network.transport("pcrf"), clock=lambda: NOON, entropy=random.Random(1))
    admin = AdminServer(pcrf)
    await admin.start()
    await pcrf.start()
    pcrf.started_at = NOON
    pgw = ScriptedPgw(network)
    await pgw.start()
    async with aiohttp.ClientSession() as http:
        yield World(pcrf, pgw, admin, http)
    await pgw.node.stop()
    await pcrf.stop()
    await admin.stop()


# --- REST -------------------------------------------------------------------------------------------------------------


async def test_everything_can_be_read(world: World) -> None:
    assert await world.ask("GET", "/pcc/rules/web") == (200, {"precedence": 200})
    assert await world.ask("GET", "/pcc/policies") == (200, {"home": {"name": "home", "imsi": "00101*", "rules": ["web"]}})
    status, book = await world.ask("GET", "/pcc")
    assert (status, sorted(book), sorted(book["rules"]), book["others"]) == (200, ["others", "policies", "rules"], ["voice", "web"], "allow")
    assert await world.ask("GET", "/pcc/rules/nothing") == (404, {"error": "no rule nothing; there are voice, web"})


async def test_change_is_pushed_at_once_and_stored(world: World) -> None:
    await world.pgw.establish()
    await world.pgw.establish(imsi="214070000000001", ip="10.45.0.7")
    assert await world.ask("PUT", "/pcc/rules/block", {"application": "facebook", "status": "disabled"}) == (
        201, {"sessions": 2, "changed": 0, "failed": 0})
    assert await world.ask("PUT", "/pcc/policies/home", {"imsi": "00101*", "rules": ["block", "web"], "ambr_dl": "1M"}) == (
        200, {"sessions": 2, "changed": 1, "failed": 0})
    [push] = world.pgw.pushed
    assert rule_names(push) == [b"block"]
    assert push.qos_information[0].apn_aggregate_max_bitrate_dl == 1_000_000
    assert await world.ask("PUT", "/pcc/rules/web", {"precedence": 9}) == (200, {"sessions": 2, "changed": 1, "failed": 0})
    assert world.pgw.pushed[1].charging_rule_install[0].charging_rule_definition[0].precedence == 9
    book, _ = await world.pcrf.store.book()
    assert book.rules["web"].precedence == 9
    assert await world.ask("DELETE", "/pcc/policies/home") == (200, {"sessions": 2, "changed": 1, "failed": 0})
    assert await world.ask("DELETE", "/pcc/rules/web") == (200, {"sessions": 2, "changed": 0, "failed": 0})
    assert (await world.ask("DELETE", "/pcc/rules/web"))[0] == 404


@pytest.mark.parametrize(("path", "body", "status", "key"), [
    ("/pcc/rules/r", {"qci": 300}, 400, "qci"),
    ("/pcc/rules/r", {"usage_limit": {"octets": "lots"}}, 400, "usage_limit.octets"),
    ("/pcc/rules/r", {"flows": [{"description": "allow all"}]}, 400, "flows.0.description"),
    ("/pcc/policies/p", {"imsi": "alice"}, 400, "imsi"),
    ("/pcc/policies/p", {"colour": "red"}, 400, "colour"),
    ("/pcc/policies/p", {"rules": ["nothing"]}, 400, "(top)"),
    ("/pcc", {"policies": [{"rat": ["6G"]}]}, 400, "policies.0"),
])
async def test_what_is_wrong_is_told_by_key(world: World, path: str, body: object, status: int, key: str) -> None:
    before = await world.ask("GET", "/pcc")
    got, answer = await world.ask("PUT", path, body)
    assert got == status
    assert [problem["key"] for problem in answer["problems"]] == [key]
    assert answer["error"]
    assert "(top)" not in answer["error"]
    assert await world.ask("GET", "/pcc") == before


async def test_bodies_that_are_no_definition(world: World) -> None:
    assert (await world.ask("PUT", "/pcc/rules/r", b"{"))[0] == 400
    assert await world.ask("PUT", "/pcc/rules/r", [1]) == (400, {"error": "the body must be a JSON object"})
    assert await world.ask("DELETE", "/pcc/rules/web") == (409, {"error": "rule web is used by policy home"})
    assert (await world.ask("GET", "/pcc/usage/1"))[1] == []
    assert (await world.ask("DELETE", "/pcc/usage/1"))[0] == 404


async def test_whole_book_with_and_without_pruning(world: World) -> None:
    await world.pgw.establish()
    status, _ = await world.ask("PUT", "/pcc", {"rules": {"slow": {"qci": 9, "max_dl": "64k"}}, "policies": [{"name": "home", "rules": ["slow"]}]})
    assert status == 200
    assert sorted((await world.ask("GET", "/pcc/rules"))[1]) == ["slow", "voice", "web"]
    assert rule_names(world.pgw.pushed[0]) == [b"slow"]
    await world.ask("PUT", "/pcc?prune=1", {"others": "reject", "policies": [{"imsi": BOB}]})
    assert (await world.ask("GET", "/pcc"))[1] == {"rules": {}, "policies": [{"name": "policy 1", "imsi": BOB}], "others": "reject"}
    assert world.pgw.pushed[1].session_release_cause is not None


async def test_push_again_what_failed(world: World) -> None:
    await world.pgw.establish()
    world.pgw.result = lambda request: {"result_code": 5012}
    assert (await world.ask("PUT", "/pcc/rules/web", {"precedence": 1}))[1] == {"sessions": 1, "changed": 0, "failed": 1}
    world.pgw.result = lambda request: {"result_code": 2001}
    assert (await world.ask("POST", f"/pcc/push?imsi={ALICE}"))[1] == {"sessions": 1, "changed": 1, "failed": 0}
    assert (await world.ask("POST", "/pcc/push"))[1] == {"sessions": 1, "changed": 0, "failed": 0}
    assert (await world.ask("POST", f"/pcc/push?imsi={BOB}"))[1] == {"sessions": 0, "changed": 0, "failed": 0}


async def test_concurrent_changes_all_hold(world: World) -> None:
    await asyncio.gather(*[world.ask("PUT", f"/pcc/rules/r{n}", {"precedence": n}) for n in range(20)])
    assert len((await world.ask("GET", "/pcc/rules"))[1]) == 22


# --- the command line -------------------------------------------------------------------------------------------------


async def test_epclab_pcc_on_a_running_pcrf(world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    await world.pgw.establish()
    assert await world.epclab("rule", "add", "no-facebook", "application=facebook", "status=disabled", "precedence=10") == 0
    assert await world.epclab("policy", "add", "alice", f"imsi={ALICE}", "priority=10", "rules=no-facebook,web", "ambr_dl=5M",
                              "default_bearer.qci=8", "days=mon-fri", "hours=06:00-22:00") == 0
    [push] = world.pgw.pushed
    assert rule_names(push) == [b"no-facebook"]
    assert push.default_eps_bearer_qos is not None
    assert push.default_eps_bearer_qos.qos_class_identifier == 8
    capsys.readouterr()
    assert await world.epclab("policy", "list") == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["name", "priority", "imsi", "rules"]
    assert second.split()[0] == "alice"
    assert third.split()[0] == "home"
    assert await world.epclab("policy", "change", "alice", "ambr_dl=", "rules=web") == 0
    capsys.readouterr()
    assert await world.epclab("policy", "show", "alice") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rules"], "ambr_dl" in shown, shown["days"]) == (["web"], False, ["mon", "tue", "wed", "thu", "fri"])
    assert await world.epclab("policy", "add", "alice") == 1
    assert await world.epclab("rule", "change", "web", "qci=word") == 2
    assert "qci" in capsys.readouterr().err
    assert await world.epclab("rule", "remove", "web") == 1
    assert "used by policy" in capsys.readouterr().err
    assert await world.epclab("policy", "remove", "alice") == 0
    assert await world.epclab("rule", "add", "tcp", "flow=permit out 6 from any 80 to assigned", "flow=permit out 6 from any 443 to assigned") == 0
    capsys.readouterr()
    assert await world.epclab("rule", "show", "tcp") == 0
    assert [flow["description"] for flow in json.loads(capsys.readouterr().out)["flows"]] == [
        "permit out 6 from any 80 to assigned", "permit out 6 from any 443 to assigned"]
    file = tmp_path / "book.yaml"
    file.write_text("rules: {web: {precedence: 1}}\n")
    assert await world.epclab("apply", str(file)) == 0
    assert await world.epclab("push", "--imsi", ALICE) == 0
    assert await world.epclab("usage", ALICE) == 0
    file.write_text("rules: {web: {precedence: -1}}\n")
    capsys.readouterr()
    assert await world.epclab("apply", str(file)) == 2
    assert f"{file}:1: rules.web.precedence" in capsys.readouterr().err


async def test_change_in_the_database_beside_a_running_pcrf(world: World, tmp_path: Path) -> None:
    await world.pgw.establish()
    status = await asyncio.to_thread(main, ["pcc", "--database", f"sqlite:///{tmp_path}/epc.sqlite", "policy", "change", "home", "ambr_ul=2M"])
    assert status == 0
    await asyncio.wait_for(world.pgw.was_pushed.wait(), 10)
    assert world.pgw.pushed[0].qos_information[0].apn_aggregate_max_bitrate_ul == 2_000_000


@pytest.mark.parametrize("words", [["show"], ["rule", "list"], ["policy", "show", "home"], ["rule", "remove", "web"], ["usage", "001010000000001"]])
def test_epclab_pcc_makes_no_database_only_to_look_at_it(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pcc.sqlite"
    assert main(["pcc", "--database", f"sqlite:///{file}", *words]) == 1
    assert capsys.readouterr().err == f"epclab: there is no database {file}; `pcc apply` or `pcc rule add` makes one\n"
    assert list(tmp_path.iterdir()) == []
    assert main(["pcc", "--database", f"sqlite:///{file}", "rule", "add", "web", "precedence=9"]) == 0
    assert file.exists()


def test_epclab_pcc_on_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPCLAB_PCC_DATABASE", f"sqlite:///{tmp_path}/pcc.sqlite")
    assert main(["pcc", "rule", "add", "web", "rating_group=7"]) == 0
    assert main(["pcc", "rule", "add", "web"]) == 1
    assert main(["pcc", "policy", "add", "all", "rules=web", "online=true"]) == 0
    capsys.readouterr()
    assert main(["pcc", "show"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rules": {"web": {"rating_group": 7}}, "policies": [{"name": "all", "rules": ["web"], "online": True}], "others": "allow"}
    assert main(["pcc", "policy", "change", "all", "imsi=abc"]) == 2
    assert "imsi: must be up to 15 digits" in capsys.readouterr().err
    assert main(["pcc", "push"]) == 2
    assert main(["pcc", "rule", "remove", "web"]) == 1
    assert main(["pcc", "policy", "remove", "all"]) == 0
    assert main(["pcc", "rule", "remove", "web"]) == 0
    assert main(["pcc", "--database", "nonsense", "rule", "list"]) == 1
    assert "is not a database URL" in capsys.readouterr().err


# --- the store --------------------------------------------------------------------------------------------------------


async def test_beside_the_subscribers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hss.sqlite"
    subscribers = await open_subscribers(url)
    store = await open_store(url)
    assert await store.provision(applied(PolicyBook(), BOOK))
    assert not await store.provision(PolicyBook())
    assert await subscribers.count() == 0
    await store.close()
    store = await open_store(url)
    book, revision = await store.book()
    assert (book, revision) == (applied(PolicyBook(), BOOK), 1)
    await store.close()
    await subscribers.close()


async def test_configuration_provisions_an_empty_database_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pcc.sqlite"
    first = Pcrf(config(BOOK, database=url), MemoryNetwork().transport("pcrf"))
    await first.start()
    await first.change_policies(lambda book: without_policy(book, "home"))
    await first.stop()
    again = Pcrf(config(BOOK, database=url), MemoryNetwork().transport("pcrf"))
    await again.start()
    assert list(again.policies.book.named()) == []
    await again.stop()


async def test_usage_is_added_up_by_period(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/pcc.sqlite")
    await store.add_usage(ALICE, [Usage(key="a", period_ms=10, octets=5), Usage(key="b", period_ms=10, octets=1)])
    assert await store.add_usage(ALICE, [Usage(key="a", period_ms=10, octets=6)]) == [
        Usage(key="a", period_ms=10, octets=11), Usage(key="b", period_ms=10, octets=1)]
    assert (await store.add_usage(ALICE, [Usage(key="a", period_ms=20, octets=3)]))[0] == Usage(key="a", period_ms=20, octets=3)
    assert (await store.add_usage(ALICE, [Usage(key="a", period_ms=10, octets=1)]))[0] == Usage(key="a", period_ms=20, octets=4)
    assert await store.usage(BOB) == []
    assert await store.forget_usage(ALICE, "a") == 1
    assert await store.forget_usage(ALICE) == 1
    await store.close()


def test_edits_of_a_book() -> None:
    book = applied(PolicyBook(), BOOK)
    with pytest.raises(InUse, match="policy home"):
        without_rule(book, "web")
    with pytest.raises(LookupError, match="no policy x"):
        without_policy(book, "x")
    with pytest.raises(ConfigError, match="uses rule x"):
        with_policy(book, "p", {"rules": ["x"]})
    limited = with_policy(with_policy(book, "slow", {"by_name_only": True}), "home", {"usage_limit": {"octets": 1, "then": "slow"}})
    assert list(limited.named()) == ["home", "slow"]            # a changed one keeps its place
    with pytest.raises(InUse, match="policy home"):
        without_policy(limited, "slow")
    chained = with_rule(book, "web", {"usage_limit": {"octets": 1, "then": "voice"}})
    with pytest.raises(InUse, match="rule web"):
        without_rule(chained, "voice")




# --- another database -------------------------------------------------------------------------------------------------


@pytest.mark.interop
async def test_two_pcrfs_on_postgresql(postgresql: str) -> None:
    """Rules changed at one are pushed by the other; usage reported to both adds up, reports at the same time included."""
    network = MemoryNetwork(seed=1)
    book = {"policies": [{"name": "p", "usage_limit": {"octets": 1000, "key": "k", "per": "ever", "then": "slow"}},
                         {"name": "slow", "by_name_only": True, "ambr_dl": "64k"}]}
    pcrfs = [Pcrf(config(book, database=postgresql, database_poll_s=0.05, gx={"listen": [{"host": f"10.0.0.{n}"}]}),
                  network.transport(f"pcrf{n}"), clock=lambda: NOON, entropy=random.Random(n)) for n in (1, 2)]
    pgws = [ScriptedPgw(network, f"pgw{n}", f"pgw{n}.lab", pcrf=Address(f"10.0.0.{n}", 3868)) for n in (1, 2)]
    try:
        for node in (*pcrfs, *pgws):
            await node.start()
        sessions = [await pgw.establish(apn=f"apn{n}") for n, pgw in enumerate(pgws)]
        reports = [pgw.ask(gx.CcRequestType.UPDATE_REQUEST, session.session_id, number, event_trigger=(gx.EventTrigger.USAGE_REPORT,),
                           usage_monitoring_information=(UsageMonitoringInformation(
                               monitoring_key=b"k", used_service_unit=(ServiceUnit(cc_total_octets=100),)),))
                   for number in range(1, 6) for pgw, session in zip(pgws, sessions, strict=True)]
        answers = await asyncio.gather(*reports)
        assert all(answer.is_success for answer in answers)
        assert (await pcrfs[0].store.usage(ALICE))[0].octets == 1000
        throttled = [answer.session_id for answer in answers
                     if answer.qos_information and answer.qos_information[0].apn_aggregate_max_bitrate_dl == 64_000]
        assert throttled
        [other] = [pgw for pgw, session in zip(pgws, sessions, strict=True) if session.session_id != throttled[-1]]
        if len(set(throttled)) == 1:                    # the other PCRF has heard of less than all, until it looks
            await asyncio.wait_for(other.was_pushed.wait(), 10)
            assert other.pushed[-1].qos_information[0].apn_aggregate_max_bitrate_dl == 64_000
        pgws[1].was_pushed.clear()
        await pcrfs[0].change_policies(lambda old: with_policy(old, "slow", {"by_name_only": True, "ambr_dl": "32k"}))
        await asyncio.wait_for(pgws[1].was_pushed.wait(), 10)
        assert pgws[1].pushed[-1].qos_information[0].apn_aggregate_max_bitrate_dl == 32_000
    finally:
        for pgw in pgws:
            await pgw.node.stop()
        for pcrf in pcrfs:
            await pcrf.stop()


# --- words of the command line ----------------------------------------------------------------------------------------


def test_lists_of_the_command_line_are_those_of_the_models() -> None:
    lists = {name for model in (Rule, Policy) for name, field in model.model_fields.items() if "tuple[" in str(field.annotation)}
    assert lists - {"flows", "days"} == LISTS      # flows have keys of their own; days are read from text


def test_words_become_keys() -> None:
    changed = with_keys("policy", {"ambr_ul": 5, "rules": ["a"]}, [
        "imsi=001010000000001", "rules=a, b", "ambr_ul=", "default_bearer.arp.priority_level=3", "usage_limit={octets: 1G, per: day}",
        "rat=[EUTRAN]"])
    assert changed == {"imsi": "001010000000001", "rules": ["a", "b"], "default_bearer": {"arp": {"priority_level": "3"}},
                       "usage_limit": {"octets": "1G", "per": "day"}, "rat": ["EUTRAN"]}
    assert with_policy(applied(PolicyBook(), {"rules": {"a": {}, "b": {}}}), "p", changed).policies[0].default_bearer is not None
    for wrong in ("word", "ambr_ul.x=1", "rules=[a"):
        with pytest.raises(Problem):
            with_keys("policy", {"ambr_ul": 5}, [wrong])
