"""The OCS seen from a PDN gateway: Gy requests and answers on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_asyncio import fixture as async_fixture

from epc.node import ConfigError, parse_config
from epc.ocs import Ocs, OcsConfig
from epc.ocs.money import parse_money, show_money
from epc.ocs.store import Books, Service, ServiceKey
from epc.ocs.tariff import RatingEngine, affordable, cost, reservation
from epc.peer.diameter import LocalIdentity
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork
from epc.wire.diameter import GY_APPLICATION, Message, Packet, ResultCode, gy
from epc.wire.diameter.base import AbortSessionAnswer, AbortSessionRequest
from epc.wire.diameter.charging import (
    CreditControlFailureHandling,
    FinalUnitAction,
    MultipleServicesCreditControl,
    PsInformation,
    RedirectAddressType,
    ReportingReason,
    RequestedServiceUnit,
    ServiceInformation,
    TriggerType,
    UsedServiceUnit,
)
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType
from epc.wire.diameter.gx import CcRequestType

pytestmark = [pytest.mark.virtual_clock]

REALM = "epc.mnc001.mcc001.3gppnetwork.org"
OCS, PGW = f"ocs.{REALM}", f"pgw.{REALM}"
OCS_ADDRESS = Address("10.0.0.10", 3868)
ALICE, BOB = "001010000000001", "001010000000002"
NOON = 1_700_049_600.0              # 2023-11-15 12:00 UTC
MB = 1_000_000

TARIFF: dict[str, Any] = {
    "home_plmns": ["00101"],
    "rates": [
        {"name": "emergency", "rating_groups": [1], "service": "free"},
        {"name": "casino", "rating_groups": [2], "service": "denied"},
        {"name": "call", "rating_groups": [3], "price_per_second": "0.001"},
        {"name": "Barcelona", "rating_groups": [10], "plmns": ["21407"], "price_per_mb": "0.10"},
        {"name": "roaming", "rating_groups": [10], "where": "roaming", "price_per_mb": "0.50"},
        {"name": "night", "rating_groups": [10], "hours": "22:00-06:00", "price_per_mb": "0.005"},
        {"name": "day", "rating_groups": [10], "price_per_mb": "0.01"},
    ],
    "quota": {"octets": "10M", "seconds": 60, "validity_time_s": 600, "holding_time_s": 300},
}


class ScriptedPgw:
    """Asks what the test says; answers RARs with DIAMETER_LIMITED_SUCCESS and ASRs with success unless told otherwise."""

    def __init__(self, network: MemoryNetwork, name: str, host: str) -> None:
        self.host = host
        self.pushed: list[Message] = []
        self.result = ResultCode.DIAMETER_LIMITED_SUCCESS
        self.node = DiameterNode(
            network.transport(name), LocalIdentity(origin_host=host, origin_realm=REALM, applications=(GY_APPLICATION,)), interface="Gy",
            entropy=random.Random(name), clock=lambda: NOON, peers=[PeerConfig(address=OCS_ADDRESS)], on_request=self._serve)

    async def start(self) -> None:
        await self.node.start()
        await asyncio.wait_for(self.node.wait_connected(GY_APPLICATION), 30)

    def _serve(self, packet: Packet) -> Message:
        request = packet.message
        self.pushed.append(request)
        if isinstance(request, AbortSessionRequest):
            assert request.auth_application_id == GY_APPLICATION
            return AbortSessionAnswer(session_id=request.session_id, result_code=ResultCode.DIAMETER_SUCCESS, origin_host=self.host,
                                      origin_realm=REALM)
        assert isinstance(request, gy.ReAuthRequest)
        return gy.ReAuthAnswer(session_id=request.session_id, result_code=self.result, origin_host=self.host, origin_realm=REALM)

    async def ask(self, kind: CcRequestType, session: str, number: int, *services: MultipleServicesCreditControl, plmn: str | None = None,
                  **more: Any) -> gy.CreditControlAnswer:
        ps = PsInformation(called_station_id="internet", tgpp_sgsn_mcc_mnc=plmn)
        packet = await self.node.request(gy.CreditControlRequest(
            session_id=session, origin_host=self.host, origin_realm=REALM, destination_realm=REALM, cc_request_type=kind, cc_request_number=number,
            multiple_services_credit_control=services, service_information=ServiceInformation(ps_information=ps), **more))
        answer = packet.message
        assert isinstance(answer, gy.CreditControlAnswer)
        assert (answer.session_id, answer.cc_request_type, answer.cc_request_number) == (session, kind, number)
        assert packet.header.application_id == GY_APPLICATION
        return answer

    async def begin(self, *services: MultipleServicesCreditControl, imsi: str = ALICE, session: str = "s", plmn: str | None = "00101",
                    **more: Any) -> gy.CreditControlAnswer:
        identity = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=imsi)
        return await self.ask(CcRequestType.INITIAL_REQUEST, session, 0, *services, plmn=plmn, subscription_id=(identity,), **more)

    async def update(self, number: int, *services: MultipleServicesCreditControl, session: str = "s",
                     plmn: str | None = None) -> gy.CreditControlAnswer:
        return await self.ask(CcRequestType.UPDATE_REQUEST, session, number, *services, plmn=plmn)

    async def end(self, number: int, *services: MultipleServicesCreditControl, session: str = "s") -> gy.CreditControlAnswer:
        return await self.ask(CcRequestType.TERMINATION_REQUEST, session, number, *services)


class Lab:
    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1)
        self.nodes: list[Ocs | DiameterNode] = []
        self.started = asyncio.get_running_loop().time()

    def clock(self) -> float:
        return NOON + asyncio.get_running_loop().time() - self.started

    async def ocs(self, tariff: dict[str, Any] | None = None, **more: Any) -> Ocs:
        ocs = Ocs(config(TARIFF | (tariff or {}), **more), self.network.transport("ocs"), clock=self.clock, entropy=random.Random(1))
        await ocs.start()
        self.nodes.append(ocs)
        return ocs

    async def stop(self, node: Ocs) -> None:
        self.nodes.remove(node)
        await node.stop()

    async def pgw(self, name: str = "pgw", host: str = PGW) -> ScriptedPgw:
        pgw = ScriptedPgw(self.network, name, host)
        await pgw.start()
        self.nodes.append(pgw.node)
        return pgw


def config(tariff: dict[str, Any], **more: Any) -> OcsConfig:
    given = {"name": "ocs1", "origin_host": OCS, "origin_realm": REALM, "gy": {"listen": [{"host": OCS_ADDRESS.host}]}, "tariff": tariff,
             "accounts": [{"imsi": ALICE, "balance": "1.00"}, {"imsi": BOB, "balance": 0}], **more}
    return parse_config(given, OcsConfig, source="test")


@async_fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()
    yield lab
    for node in reversed(lab.nodes):
        await node.stop()


def wants(group: int | None = 10, octets: int | None = None, **more: Any) -> MultipleServicesCreditControl:
    return MultipleServicesCreditControl(requested_service_unit=RequestedServiceUnit(cc_total_octets=octets), rating_group=group, **more)


def used(octets: int = 0, group: int | None = 10, *, seconds: int | None = None, reason: ReportingReason | None = None,
         more: bool = False) -> MultipleServicesCreditControl:
    return MultipleServicesCreditControl(
        used_service_unit=(UsedServiceUnit(cc_total_octets=octets, cc_time=seconds, tgpp_reporting_reason=reason),),
        requested_service_unit=RequestedServiceUnit() if more else None, rating_group=group)


async def money(ocs: Ocs, imsi: str = ALICE) -> tuple[str, str]:
    """Balance and what is reserved of it."""
    shown = cast(dict[str, Any], await ocs.commands()["balance"](imsi=imsi))
    return shown["balance"], shown["reserved"]


async def ledger(ocs: Ocs, imsi: str = ALICE) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], await ocs.commands()["ledger"](imsi=imsi))


def service(answer: gy.CreditControlAnswer) -> MultipleServicesCreditControl:
    [mscc] = answer.multiple_services_credit_control
    return mscc


def granted(answer: gy.CreditControlAnswer) -> int | None:
    unit = service(answer).granted_service_unit
    return unit.cc_total_octets if unit else None


# --- reserve, debit, release ------------------------------------------------------------------------------------------


async def test_quota_is_reserved_used_and_released(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    first = await pgw.begin(wants())
    assert first.result_code is ResultCode.DIAMETER_SUCCESS
    assert first.credit_control_failure_handling is CreditControlFailureHandling.TERMINATE
    quota = service(first)
    assert (granted(first), quota.volume_quota_threshold, quota.validity_time, quota.quota_holding_time) == (10 * MB, 2 * MB, 600, 300)
    assert quota.final_unit_indication is None
    assert quota.trigger is not None
    assert quota.trigger.trigger_type == (TriggerType.CHANGEINLOCATION_MCC, TriggerType.CHANGEINLOCATION_MNC)
    assert await money(ocs) == ("1.00", "0.10")
    second = await pgw.update(1, used(8 * MB, reason=ReportingReason.THRESHOLD, more=True))
    assert granted(second) == 10 * MB
    assert await money(ocs) == ("0.92", "0.10")
    last = await pgw.end(2, used(1_234_567, reason=ReportingReason.FINAL))
    assert service(last).result_code is ResultCode.DIAMETER_SUCCESS
    assert granted(last) is None
    assert await money(ocs) == ("0.907655", "0.00")                    # 0.01234567, rounded to the millionth
    entries = await ledger(ocs)
    assert [(entry["number"], entry["kind"], entry["amount"], entry.get("octets")) for entry in entries] == [
        (1, "opening", "1.00", None), (2, "debit", "-0.08", 8 * MB), (3, "debit", "-0.012345", 1_234_567)]
    assert (entries[2]["session_id"], entries[2]["request_number"], entries[2]["rate"], entries[2]["visited_plmn"]) == ("s", 2, "day", "00101")
    assert await ocs.commands()["audit"]() == {"accounts": 2, "wrong": []}
    assert await ocs.commands()["sessions"]() == []
    assert ocs.metrics.value("debited_total") == 92_345
    assert ocs.metrics.value("sessions") == 0
    assert ocs.metrics.value("procedure_successes_total", procedure="update_request") == 1


async def test_reports_of_any_size_add_up_to_the_same_money(lab: Lab) -> None:
    """0.01 a megabyte is a hundredth of a millionth an octet: what a report leaves over counts with the next one."""
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    for number in range(1, 8):
        await pgw.update(number, used(99, more=True))
    await pgw.end(8, used(7))
    assert await money(ocs) == ("0.999993", "0.00")                    # 700 octets
    assert sum(entry.get("octets", 0) for entry in await ledger(ocs)) == 700


async def test_time_is_metered_where_the_rate_is_by_the_second(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    answer = await pgw.begin(wants(3))
    unit = service(answer).granted_service_unit
    assert unit is not None
    assert (unit.cc_time, unit.cc_total_octets, service(answer).time_quota_threshold) == (60, None, 12)
    await pgw.end(1, used(5 * MB, 3, seconds=45))
    assert await money(ocs) == ("0.955", "0.00")


async def test_client_may_want_less_but_not_more_than_the_quota(lab: Lab) -> None:
    await lab.ocs()
    pgw = await lab.pgw()
    assert granted(await pgw.begin(wants(octets=3 * MB))) == 3 * MB
    assert granted(await pgw.update(1, wants(octets=300 * MB))) == 10 * MB


async def test_input_and_output_count_where_there_is_no_total(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    await pgw.end(1, MultipleServicesCreditControl(
        used_service_unit=(UsedServiceUnit(cc_input_octets=MB, cc_output_octets=2 * MB), UsedServiceUnit(cc_total_octets=MB)), rating_group=10))
    assert await money(ocs) == ("0.96", "0.00")


async def test_use_beyond_the_quota_is_debited_all_the_same(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.01"}]), await lab.pgw()
    await pgw.begin(wants())
    await pgw.end(1, used(3 * MB))
    assert await money(ocs) == ("-0.02", "0.00")


# --- the tariff -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plmn", "rate", "price"), [
    ("00101", "day", "-0.01"), ("21407", "Barcelona", "-0.10"), ("20801", "roaming", "-0.50"), (None, "day", "-0.01"),
])
async def test_price_by_visited_network(lab: Lab, plmn: str | None, rate: str, price: str) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": 100}]), await lab.pgw()
    await pgw.begin(wants(), plmn=plmn)
    await pgw.end(1, used(MB))
    entry = (await ledger(ocs))[-1]
    assert (entry["rate"], entry["amount"], entry.get("visited_plmn")) == (rate, price, plmn)


async def test_crossing_the_border_is_rated_on_either_side(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": 100}]), await lab.pgw()
    await pgw.begin(wants())
    await pgw.update(1, used(2 * MB, reason=ReportingReason.RATING_CONDITION_CHANGE, more=True), plmn="21407")
    await pgw.end(2, used(MB))
    assert [(entry["rate"], entry["amount"]) for entry in (await ledger(ocs))[1:]] == [("day", "-0.02"), ("Barcelona", "-0.10")]


async def test_quota_ends_when_the_price_changes_with_the_time_of_day(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": 100}]), await lab.pgw()
    await asyncio.sleep(10 * 3600 - 100 - (lab.clock() - NOON))       # 21:58:20
    answer = await pgw.begin(wants())
    assert service(answer).validity_time == pytest.approx(100, abs=1)
    await asyncio.sleep(101)
    night = await pgw.update(1, used(MB, reason=ReportingReason.VALIDITY_TIME, more=True))
    assert service(night).validity_time == 600
    await pgw.end(2, used(MB))
    assert [(entry["rate"], entry["amount"]) for entry in (await ledger(ocs))[1:]] == [("day", "-0.01"), ("night", "-0.005")]


async def test_each_service_has_its_own_result(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    answer = await pgw.begin(wants(1), wants(2), wants(10), wants(99), wants(None, service_identifier=(7,)))
    assert answer.result_code is ResultCode.DIAMETER_SUCCESS
    assert [(mscc.rating_group, mscc.service_identifier, mscc.result_code) for mscc in answer.multiple_services_credit_control] == [
        (1, (), ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE), (2, (), ResultCode.DIAMETER_END_USER_SERVICE_DENIED),
        (10, (), ResultCode.DIAMETER_SUCCESS), (99, (), ResultCode.DIAMETER_RATING_FAILED), (None, (7,), ResultCode.DIAMETER_RATING_FAILED)]
    assert ocs.metrics.value("service_refusals_total", cause="DIAMETER_RATING_FAILED") == 2
    assert await money(ocs) == ("1.00", "0.10")


# --- no money ---------------------------------------------------------------------------------------------------------


async def test_no_money_at_the_start_is_refused(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    for services in ((wants(),), ()):
        answer = await pgw.begin(*services, imsi=BOB)
        assert answer.result_code is ResultCode.DIAMETER_CREDIT_LIMIT_REACHED
        assert answer.multiple_services_credit_control == ()
    assert await ocs.commands()["sessions"]() == []
    free = await pgw.begin(wants(1), wants(), imsi=BOB)                 # what costs nothing goes on
    assert [mscc.result_code for mscc in free.multiple_services_credit_control] == [
        ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE, ResultCode.DIAMETER_CREDIT_LIMIT_REACHED]


async def test_unknown_and_blocked_users(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    assert (await pgw.begin(wants(), imsi="001010000000099")).result_code is ResultCode.DIAMETER_USER_UNKNOWN
    nobody = await pgw.ask(CcRequestType.INITIAL_REQUEST, "s", 0, wants())
    assert nobody.result_code is ResultCode.DIAMETER_USER_UNKNOWN
    assert (await pgw.update(1, wants())).result_code is ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    assert (await pgw.begin(wants())).result_code is ResultCode.DIAMETER_SUCCESS
    await ocs.commands()["block"](imsi=ALICE)
    assert len(pgw.pushed) == 1
    asked = await pgw.update(1, used(MB, reason=ReportingReason.FORCED_REAUTHORISATION, more=True))
    assert service(asked).result_code is ResultCode.DIAMETER_END_USER_SERVICE_DENIED
    assert await money(ocs) == ("0.99", "0.00")
    assert (await pgw.begin(wants(), session="other")).result_code is ResultCode.DIAMETER_END_USER_SERVICE_DENIED


async def test_last_units_are_final_and_then_there_are_none(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.13"}]), await lab.pgw()
    await pgw.begin(wants())
    final = await pgw.update(1, used(10 * MB, reason=ReportingReason.QUOTA_EXHAUSTED, more=True))
    assert granted(final) == 3 * MB
    assert service(final).volume_quota_threshold is None
    indication = service(final).final_unit_indication
    assert indication is not None
    assert indication.final_unit_action is FinalUnitAction.TERMINATE
    nothing = await pgw.update(2, used(3 * MB, reason=ReportingReason.FINAL, more=True))
    assert nothing.result_code is ResultCode.DIAMETER_SUCCESS
    assert service(nothing).result_code is ResultCode.DIAMETER_CREDIT_LIMIT_REACHED
    assert await money(ocs) == ("0.00", "0.00")


@pytest.mark.parametrize(("final_unit", "action"), [
    ({"action": "redirect", "redirect_to": "http://top.up/"}, FinalUnitAction.REDIRECT),
    ({"action": "restrict_access", "filter_rules": ["permit out ip from 10.9.0.1 to any"], "filter_ids": ["portal"]},
     FinalUnitAction.RESTRICT_ACCESS),
])
async def test_without_money_the_user_may_still_buy_some(lab: Lab, final_unit: dict[str, Any], action: FinalUnitAction) -> None:
    ocs, pgw = await lab.ocs({"final_unit": final_unit}), await lab.pgw()
    answer = await pgw.begin(wants(), imsi=BOB)
    assert answer.is_success
    restricted = service(answer)
    assert (restricted.result_code, restricted.granted_service_unit, restricted.validity_time) == (ResultCode.DIAMETER_SUCCESS, None, 600)
    assert restricted.final_unit_indication is not None
    assert restricted.final_unit_indication.final_unit_action is action
    assert restricted.final_unit_indication.restriction_filter_rule == tuple(final_unit.get("filter_rules", ()))
    server = restricted.final_unit_indication.redirect_server
    if action is FinalUnitAction.REDIRECT:
        assert server is not None
        assert (server.redirect_address_type, server.redirect_server_address) == (RedirectAddressType.URL, "http://top.up/")
    assert await ocs.commands()["top_up"](imsi=BOB, amount="5") == {
        "imsi": BOB, "balance": "5.00", "reserved": "0.00", "available": "5.00", "currency": "EUR", "blocked": False, "booked": True,
        "gateways_told": 1, "gateways_failed": 0}
    back = await pgw.update(1, wants())
    assert (granted(back), service(back).final_unit_indication) == (10 * MB, None)


async def test_top_up_has_the_gateway_ask_again(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.01"}]), await lab.pgw()
    await pgw.begin(wants())
    top_up = ocs.commands()["top_up"]
    shown = cast(dict[str, Any], await top_up(imsi=ALICE, amount="2.50", reference="voucher 1"))
    assert (shown["balance"], shown["booked"], shown["gateways_told"]) == ("2.51", True, 1)
    [push] = pgw.pushed
    assert isinstance(push, gy.ReAuthRequest)
    assert (push.session_id, push.destination_host, push.rating_group) == ("s", PGW, None)
    again = await pgw.update(1, used(500_000, reason=ReportingReason.FORCED_REAUTHORISATION, more=True))
    assert (granted(again), service(again).final_unit_indication) == (10 * MB, None)
    repeated = cast(dict[str, Any], await top_up(imsi=ALICE, amount="2.50", reference="voucher 1"))
    assert (repeated["balance"], repeated["booked"]) == ("2.505", False)
    assert len(pgw.pushed) == 1                                         # nobody is out of credit
    for arguments, error in (({"imsi": "1", "amount": "1"}, LookupError), ({"imsi": ALICE, "amount": "much"}, ValueError),
                             ({"imsi": ALICE, "amount": "0"}, ValueError), ({"imsi": ALICE, "amount": "0.0000001"}, ValueError)):
        with pytest.raises(error):
            await top_up(**arguments)


async def test_gateway_that_forgot_the_session_frees_its_reservation(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.01"}]), await lab.pgw()
    await pgw.begin(wants())
    pgw.result = ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    shown = cast(dict[str, Any], await ocs.commands()["top_up"](imsi=ALICE, amount="1"))
    assert shown["gateways_failed"] == 1
    assert await money(ocs) == ("1.01", "0.00")
    assert await ocs.commands()["sessions"]() == []


# --- never twice ------------------------------------------------------------------------------------------------------


async def test_sessions_share_one_balance(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.15"}]), await lab.pgw()
    first, second, third = await asyncio.gather(*[pgw.begin(wants(), session=name) for name in "abc"])
    assert sorted(granted(answer) or 0 for answer in (first, second)) == [5 * MB, 10 * MB]
    assert third.result_code is ResultCode.DIAMETER_CREDIT_LIMIT_REACHED
    assert await money(ocs) == ("0.15", "0.15")
    await asyncio.gather(pgw.end(1, used(10 * MB), session="a"), pgw.end(1, used(5 * MB), session="b"))
    assert await money(ocs) == ("0.00", "0.00")


async def test_money_that_a_session_gives_back_is_offered_to_those_that_had_run_out(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": "0.15"}]), await lab.pgw()
    await pgw.begin(wants(), session="a")
    assert service(await pgw.begin(wants(), session="b")).final_unit_indication is not None
    await pgw.end(1, used(MB), session="a")
    await asyncio.sleep(1)
    [push] = pgw.pushed
    assert isinstance(push, gy.ReAuthRequest)
    assert push.session_id == "b"
    again = service(await pgw.update(1, used(0, reason=ReportingReason.FORCED_REAUTHORISATION, more=True), session="b"))
    assert again.final_unit_indication is None
    await pgw.end(2, session="b")
    await asyncio.sleep(1)
    assert len(pgw.pushed) == 1
    assert await money(ocs) == ("0.14", "0.00")


async def test_services_of_one_request_share_one_balance(lab: Lab) -> None:
    rates = [{"name": "one", "rating_groups": [10, 11], "price_per_mb": "0.01"}]
    ocs, pgw = await lab.ocs({"rates": rates}, accounts=[{"imsi": ALICE, "balance": "0.15"}]), await lab.pgw()
    answer = await pgw.begin(wants(10), wants(11))
    units = [mscc.granted_service_unit for mscc in answer.multiple_services_credit_control]
    assert [unit and unit.cc_total_octets for unit in units] == [10 * MB, 5 * MB]
    swapped = await pgw.update(1, wants(11), used(2 * MB, 10))          # what the one gives back the other gets
    assert swapped.multiple_services_credit_control[0].granted_service_unit is not None
    assert swapped.multiple_services_credit_control[0].granted_service_unit.cc_total_octets == 10 * MB
    assert await money(ocs) == ("0.13", "0.10")


async def test_repeated_requests_get_the_same_answer_and_move_no_money(lab: Lab) -> None:
    """The same CC-Request-Number under another end-to-end identifier: a client that was restarted, or an agent that lost its state."""
    ocs, pgw = await lab.ocs(), await lab.pgw()
    assert await pgw.begin(wants()) == await pgw.begin(wants())
    report = used(8 * MB, more=True)
    assert await pgw.update(1, report) == await pgw.update(1, report)
    assert await money(ocs) == ("0.92", "0.10")
    assert await pgw.end(2, used(MB)) == await pgw.end(2, used(MB))
    assert await money(ocs) == ("0.91", "0.00")
    assert len(await ledger(ocs)) == 3
    assert ocs.metrics.value("repeated_requests_total") == 3
    late = await pgw.update(3, report)
    assert late.result_code is ResultCode.DIAMETER_UNKNOWN_SESSION_ID


async def test_requests_may_overtake_each_other(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    await pgw.update(2, used(2 * MB))
    assert service(await pgw.update(1, used(MB))).result_code is ResultCode.DIAMETER_SUCCESS
    assert await money(ocs) == ("0.97", "0.00")
    other = await pgw.end(1)                                            # the number was an update's
    assert other.result_code is ResultCode.DIAMETER_INVALID_AVP_VALUE


async def test_request_too_old_to_know_is_not_charged(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    for number in range(1, 40):
        await pgw.update(number, used(1000))
    balance = await money(ocs)
    assert (await pgw.update(3, used(1000))).result_code is ResultCode.DIAMETER_UNABLE_TO_COMPLY
    assert await money(ocs) == balance


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_the_books_balance(lab: Lab, seed: int) -> None:
    """Sessions of one account in any order, requests twice or lost, top-ups, silence, restarts of the gateway; checked after every step."""
    chance = random.Random(seed)
    opening = chance.choice([0, 50_000, 400_000])
    ocs, pgw = await lab.ocs(accounts=[{"imsi": ALICE, "balance": show_money(opening)}]), await lab.pgw()
    sessions: list[str] = []
    numbers: dict[str, int] = {}
    added, octets, state_id = opening, 0, 1
    for step in range(60):
        session = chance.choice(sessions) if sessions else ""
        answer: gy.CreditControlAnswer | None = None
        match chance.randrange(10):
            case 0:
                await ocs.commands()["top_up"](imsi=ALICE, amount="0.07")
                added += 70_000
            case 1 if step % 3 == 0:
                await asyncio.sleep(chance.choice([10, 1300]))
            case 2:
                state_id += chance.randrange(2)
            case 3 if session:
                sessions.remove(session)
                usage = chance.randrange(2 * MB)
                for _ in range(chance.choice([1, 2])):
                    answer = await pgw.end(numbers[session], used(usage), session=session)
            case 4 | 5 | 6 | 7 if session:
                usage, more = chance.randrange(11 * MB), chance.random() < 0.8
                for _ in range(chance.choice([1, 2])):
                    answer = await pgw.update(numbers[session], used(usage, more=more), session=session)
                numbers[session] += 1
            case _:
                sessions.append(f"s{step}")
                numbers[sessions[-1]], usage = 1, 0
                answer = await pgw.begin(wants(), session=sessions[-1], origin_state_id=state_id)
        if answer is not None and answer.is_success:
            octets += usage
        async with ocs.store.transaction() as transaction:
            books = Books(transaction)
            account = await books.account(ALICE)
            assert account is not None
            assert await books.audit() == []
            reserved = [each.reserved for session in await books.open_sessions() for each in (await books.services(session)).values()]
            assert account.reserved == sum(reserved)                    # closed sessions hold nothing
            if answer is not None and answer.multiple_services_credit_control and granted(answer):
                assert account.available >= 0                           # nothing is granted that is not there
            assert sum(entry.octets or 0 for entry in await books.entries(ALICE)) == octets
            # a hundredth of a millionth an octet; each session may keep less than a millionth for its next report
            assert 0 <= account.balance - (added - octets // 100) < 60
        assert ocs.metrics.value("sessions") == len(cast(list[Any], await ocs.commands()["sessions"]()))


async def test_restart_forgets_nothing(lab: Lab, tmp_path: Path) -> None:
    ocs = await lab.ocs(state_directory=tmp_path)
    pgw = await lab.pgw()
    answer = await pgw.begin(wants())
    await pgw.update(1, used(8 * MB, more=True))
    await lab.stop(ocs)
    ocs = await lab.ocs(state_directory=tmp_path)
    await asyncio.wait_for(pgw.node.wait_connected(GY_APPLICATION), 60)
    assert await money(ocs) == ("0.92", "0.10")
    assert ocs.metrics.value("sessions") == 1
    assert (await pgw.begin(wants())) == answer
    await pgw.update(1, used(8 * MB, more=True))                        # answered before the restart
    assert await money(ocs) == ("0.92", "0.10")
    await pgw.end(2, used(MB))
    assert await money(ocs) == ("0.91", "0.00")
    assert await ocs.commands()["audit"]() == {"accounts": 2, "wrong": []}


# --- dead sessions ----------------------------------------------------------------------------------------------------


async def test_supervision_ends_a_silent_session(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants(), session="silent")
    await pgw.begin(wants(), session="alive")
    await asyncio.sleep(1150)
    await pgw.update(1, used(MB, more=True), session="alive")
    assert await money(ocs) == ("0.99", "0.20")
    await asyncio.sleep(100)                                            # Tcc is twice 600 s
    assert await money(ocs) == ("0.99", "0.10")
    assert ocs.metrics.value("expired_sessions_total") == 1
    assert (await pgw.update(1, wants(), session="silent")).result_code is ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    await pgw.end(1, used(2 * MB), session="silent")                    # not dead after all: what it used is paid for
    assert await money(ocs) == ("0.97", "0.10")


async def test_closed_sessions_are_forgotten_and_the_ledger_is_not(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    await pgw.end(1, used(MB))
    await asyncio.sleep(3620)
    assert (await pgw.end(1, used(MB))).result_code is ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    assert [entry["amount"] for entry in await ledger(ocs)] == ["1.00", "-0.01"]
    assert granted(await pgw.begin(wants())) == 10 * MB                 # its Session-Id is free again


async def test_restarted_gateway_loses_its_sessions(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    other = await lab.pgw("pgw2", f"pgw2.{REALM}")
    await pgw.begin(wants(), session="old", origin_state_id=1)
    await other.begin(wants(), session="elsewhere", origin_state_id=1)
    await pgw.begin(wants(), session="new", origin_state_id=2)
    sessions = cast(list[dict[str, Any]], await ocs.commands()["sessions"](imsi=ALICE))
    assert sorted(session["session_id"] for session in sessions) == ["elsewhere", "new"]
    assert await money(ocs) == ("1.00", "0.20")


async def test_operator_aborts_a_session(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants())
    assert await ocs.commands()["abort"](imsi=ALICE) == {"gateways_told": 1, "gateways_failed": 0}
    assert isinstance(pgw.pushed[0], AbortSessionRequest)
    assert await ocs.commands()["re_authorise"](imsi=ALICE) == {"gateways_told": 1, "gateways_failed": 0}
    await pgw.end(1)
    with pytest.raises(LookupError, match="no session"):
        await ocs.commands()["abort"](imsi=ALICE)


async def test_event_requests_are_refused(lab: Lab) -> None:
    await lab.ocs()
    pgw = await lab.pgw()
    packet = await pgw.node.request(gy.CreditControlRequest(
        session_id="s", origin_host=PGW, origin_realm=REALM, destination_realm=REALM, cc_request_type=CcRequestType.EVENT_REQUEST,
        cc_request_number=0))
    assert packet.message.result is ResultCode.DIAMETER_INVALID_AVP_VALUE  # type: ignore[attr-defined]


async def test_what_the_operator_sees(lab: Lab) -> None:
    ocs, pgw = await lab.ocs(), await lab.pgw()
    await pgw.begin(wants(), plmn="21407")
    [session] = cast(list[dict[str, Any]], await ocs.commands()["sessions"]())
    assert session.pop("expires_in_s") == pytest.approx(1200, abs=2)
    assert session == {
        "session_id": "s", "imsi": ALICE, "apn": "internet", "visited_plmn": "21407", "gateway": PGW, "services": [{
            "rating_group": 10, "service_identifier": None, "rate": "Barcelona", "granted": 10 * MB, "unit": "octets", "reserved": "1.00",
            "exhausted": False}]}
    assert await ocs.commands()["add_account"](imsi="001010000000009", balance="3") == {
        "imsi": "001010000000009", "balance": "3.00", "reserved": "0.00", "available": "3.00", "currency": "EUR", "blocked": False}
    with pytest.raises(ValueError, match="already"):
        await ocs.commands()["add_account"](imsi=ALICE)
    with pytest.raises(LookupError, match="no account"):
        await ocs.commands()["balance"](imsi="1")
    rates = cast(list[dict[str, Any]], ocs.views()["rates"]())
    assert [(rate["name"], rate["price_per_mb"]) for rate in rates] == [
        ("emergency", None), ("casino", None), ("call", None), ("Barcelona", "0.10"), ("roaming", "0.50"), ("night", "0.005"), ("day", "0.01")]
    assert ocs.is_ready()


# --- money and configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "amount"), [("9.99", 9_990_000), ("-0.000001", -1), ("1e2", 100_000_000), ("0", 0)])
def test_money_as_text(text: str, amount: int) -> None:
    assert parse_money(text) == amount
    assert parse_money(show_money(amount)) == amount


@given(price=st.integers(0, 10**9), units=st.integers(0, 10**12), fraction=st.integers(0, 999_999), available=st.integers(-10**9, 10**15))
def test_reservations_cover_what_is_used_and_are_covered_by_the_money(price: int, units: int, fraction: int, available: int) -> None:
    charged = Service(rating_group=None, service_identifier=None, rate="r", unit="octets", price=price, fraction=fraction)
    assert cost(charged, units)[0] <= reservation(charged, units)
    paid = affordable(charged, available, units)
    assert 0 <= paid <= units
    assert reservation(charged, paid) <= max(available, 0)
    assert paid == units or reservation(charged, paid + 1) > available


@pytest.mark.parametrize("text", ["", "ten", "nan", "inf", "1e30", "0.0000001"])
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimal places"):
        parse_money(text)


@pytest.mark.parametrize(("tariff", "complaint"), [
    ({"rates": [{"name": "r"}]}, "either price_per_mb or price_per_second"),
    ({"rates": [{"name": "r", "price_per_mb": 1, "price_per_second": 1}]}, "either price_per_mb or price_per_second"),
    ({"rates": [{"name": "r", "service": "free", "price_per_mb": 1}]}, "has no price"),
    ({"rates": [{"name": "r", "price_per_mb": -1}]}, "greater than or equal to 0"),
    ({"rates": [{"name": "r", "price_per_mb": "cheap"}]}, "no amount of money"),
    ({"rates": [{"name": "r", "price_per_mb": 1, "hours": "22-6"}]}, "tariff.rates.0.hours"),
    ({"rates": [{"name": "r", "price_per_mb": 1}, {"name": "r", "price_per_mb": 1}]}, "two rates are called r"),
    ({"rates": [{"name": "r", "price_per_mb": 1, "where": "roaming"}]}, "home_plmns is needed"),
    ({"time_zone": "Mars/Olympus"}, "knows no time zone"),
    ({"triggers": ["SUNSET"]}, "no trigger type is called SUNSET"),
    ({"quota": {"octets": "much"}}, "a volume is a number"),
    ({"final_unit": {"action": "redirect"}}, "redirect_to belongs"),
    ({"final_unit": {"action": "restrict_access"}}, "needs filter_rules"),
    ({"final_unit": {"filter_ids": ["x"]}}, "nothing stays allowed"),
])
def test_wrong_configuration_is_explained(tariff: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config(tariff)


def test_tariff_over_midnight_in_its_own_time_zone() -> None:
    rates = [{"name": "night", "hours": "22:00-06:00", "price_per_mb": 1}, {"name": "day", "price_per_mb": 2}]
    engine = RatingEngine(config({"time_zone": "Europe/Madrid", "rates": rates}).tariff)

    def name_at(hours_after_noon: float) -> str:
        rate = engine.rate(ServiceKey(None, None), apn="", visited_plmn="", now=NOON + hours_after_noon * 3600)
        assert rate is not None
        return rate.name

    assert [name_at(hours) for hours in (0, 8.9, 9.1, 16.9, 17.1)] == ["day", "day", "night", "night", "day"]
    assert engine.seconds_to_change(NOON) == 9 * 3600                   # 22:00 in Madrid
    assert engine.seconds_to_change(NOON + 9 * 3600) == 8 * 3600
