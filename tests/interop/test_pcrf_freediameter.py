"""Gx, Rx and S9 through a freeDiameter daemon, which knows the AVPs of Gx and Rx and looks at them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from epc.af import Af, AfConfig
from epc.node import parse_config
from epc.pcrf import Pcrf, PcrfConfig
from epc.pcrf.editing import with_policy
from epc.peer.diameter import LocalIdentity
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from epc.wire.diameter import GX_APPLICATION, Message, Packet, RatType, ResultCode, gx
from epc.wire.diameter.groups import AllocationRetentionPriority, SubscriptionId, SubscriptionIdType
from epc.wire.diameter.policy import ChargingRuleReport, DefaultEpsBearerQos, PccRuleStatus, QosInformation
from epc.wire.diameter.rx import AbortCause, SpecificAction
from tests.interop.freediameter import freediameter, needs_freediameter

pytestmark = needs_freediameter

IMSI = "001010000000001"
POLICY: dict[str, Any] = {
    "rules": {"web": {"rating_group": 7, "precedence": 100}, "no-facebook": {"application": "facebook", "status": "disabled", "where": "roaming"},
              "voice": {"qci": 1, "guaranteed_ul": "64k", "guaranteed_dl": "64k", "arp": {"priority_level": 2}}},
    "policies": [{"name": "everybody", "rules": ["no-facebook", "voice", "web"], "ambr_dl": "20M", "default_bearer": {"qci": 8},
                  "usage_limit": {"octets": "1G", "key": "month", "per": "month"}, "event_triggers": ["RAT_CHANGE"]}]}


class Pgw:
    """A scripted PDN gateway."""

    def __init__(self, realm: str, agent: Address) -> None:
        self.host, self.realm = f"pgw.{realm}", realm
        self.pushed: list[gx.ReAuthRequest] = []
        self.node = DiameterNode(
            SocketTransport(self.host), LocalIdentity(origin_host=self.host, origin_realm=realm, applications=(GX_APPLICATION,)), interface="Gx",
            entropy=random.Random(1), clock=lambda: 1.7e9, peers=[PeerConfig(address=agent, is_default_route=True)], on_request=self._serve)

    def _serve(self, packet: Packet) -> Message:
        request = packet.message
        assert isinstance(request, gx.ReAuthRequest)
        self.pushed.append(request)
        return gx.ReAuthAnswer(session_id=request.session_id, origin_host=self.host, origin_realm=self.realm,
                               result_code=ResultCode.DIAMETER_SUCCESS)

    async def ask(self, kind: gx.CcRequestType, number: int, **more: Any) -> gx.CreditControlAnswer:
        answer = (await self.node.request(gx.CreditControlRequest(
            session_id=f"{self.host};1;1", origin_host=self.host, origin_realm=self.realm, destination_realm=self.realm, cc_request_type=kind,
            cc_request_number=number, **more))).message
        assert isinstance(answer, gx.CreditControlAnswer), answer
        return answer

    async def establish(self, plmn: str) -> gx.CreditControlAnswer:
        return await self.ask(
            gx.CcRequestType.INITIAL_REQUEST, 0, called_station_id="internet", framed_ip_address=IPv4Address("10.45.0.2"),
            subscription_id=(SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=IMSI),),
            rat_type=RatType.EUTRAN, ip_can_type=gx.IpCanType.TGPP_EPS, tgpp_sgsn_mcc_mnc=plmn, qos_information=QosInformation(
                apn_aggregate_max_bitrate_ul=50_000_000, apn_aggregate_max_bitrate_dl=100_000_000),
            default_eps_bearer_qos=DefaultEpsBearerQos(qos_class_identifier=9, allocation_retention_priority=AllocationRetentionPriority(
                priority_level=8)), network_request_support=gx.NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED)


def pcrf(realm: str, agent: Address, **more: Any) -> Pcrf:
    peer = {"host": agent.host, "port": agent.port, "default_route": True}
    return Pcrf(parse_config({"name": f"pcrf.{realm}", "origin_host": f"pcrf.{realm}", "origin_realm": realm, "gx": {"listen": [], "peers": [peer]},
                              **more}, PcrfConfig, source="test"), SocketTransport(f"pcrf.{realm}"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():              # noqa: ASYNC110 - peers of a daemon have no event
            await asyncio.sleep(0.05)


async def test_gateway_and_application_reach_the_pcrf_through_freediameter(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(freediameter(tmp_path, identity="dra.home.lab", realm="home.lab"))
        home, pgw = pcrf("home.lab", agent, policy=POLICY), Pgw("home.lab", agent)
        af = Af(parse_config({"name": "af", "origin_host": "af.home.lab", "origin_realm": "home.lab", "rx": {
            "peers": [{"host": agent.host, "port": agent.port, "default_route": True}]}}, AfConfig, source="test"), SocketTransport("af"))
        for node in (home, pgw.node, af):
            await node.start()
            stack.push_async_callback(node.stop)
        await until(lambda: home.gx.is_connected() and pgw.node.is_connected() and af.rx.is_connected())
        answer = await pgw.establish("00101")
        assert answer.is_success
        names = [rule.charging_rule_name for install in answer.charging_rule_install for rule in install.charging_rule_definition]
        assert names == [b"voice", b"web"]
        call = await af.request_bearer("10.45.0.2", server="192.0.2.7:5004", ul_bps=64_000, dl_bps=64_000)
        await until(lambda: bool(pgw.pushed))
        [rule] = pgw.pushed[0].charging_rule_install[0].charging_rule_definition
        await pgw.ask(gx.CcRequestType.UPDATE_REQUEST, 1, event_trigger=(gx.EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION,), charging_rule_report=(
            ChargingRuleReport(charging_rule_name=(rule.charging_rule_name,), pcc_rule_status=PccRuleStatus.ACTIVE),))
        await call.told(SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION)
        assert (await pgw.ask(gx.CcRequestType.TERMINATION_REQUEST, 2)).is_success
        assert await call.ended() is AbortCause.BEARER_RELEASED
        await until(lambda: not len(home.runner) and not len(af.runner))
        assert (len(home.sessions), len(home.af_sessions)) == (0, 0)


async def test_two_operators_pcrfs_through_freediameter(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(freediameter(tmp_path, identity="dra.grx.lab", realm="grx.lab"))
        home = pcrf("home.lab", agent, policy=POLICY, s9={"partners": [{"plmn": "21407", "realm": "visited.lab"}]})
        visited = pcrf("visited.lab", agent, s9={"partners": [{"plmn": "00101", "realm": "home.lab"}]})
        pgw = Pgw("visited.lab", agent)
        for node in (home, visited, pgw.node):
            await node.start()
            stack.push_async_callback(node.stop)
        await until(lambda: home.gx.is_connected() and visited.gx.is_connected() and pgw.node.is_connected())
        answer = await pgw.establish("21407")
        names = [rule.charging_rule_name for install in answer.charging_rule_install for rule in install.charging_rule_definition]
        assert (answer.origin_host, names) == ("pcrf.visited.lab", [b"no-facebook", b"voice", b"web"])
        assert (await home.change_policies(lambda book: with_policy(book, "everybody", {"rules": ["web"]})))["changed"] == 1
        assert set(pgw.pushed[0].charging_rule_remove[0].charging_rule_name) == {b"no-facebook", b"voice"}
        assert (await pgw.ask(gx.CcRequestType.TERMINATION_REQUEST, 1)).is_success
        assert (len(home.sessions), len(visited.visited_role)) == (0, 0)
