"""What tests of the PCRF share: a PDN gateway that says what the test wants, and the network they meet in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

from epc.node import parse_config
from epc.pcrf import Pcrf, PcrfConfig
from epc.peer.diameter import LocalIdentity
from epc.transport.diameter import DiameterNode, PeerConfig
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork
from epc.wire.diameter import GX_APPLICATION, Message, Packet, RatType, ResultCode, gx
from epc.wire.diameter.groups import AllocationRetentionPriority, SubscriptionId, SubscriptionIdType
from epc.wire.diameter.policy import DefaultEpsBearerQos, QosInformation

REALM = "epc.mnc001.mcc001.3gppnetwork.org"
PCRF, PGW = f"pcrf.{REALM}", f"pgw.{REALM}"
PCRF_ADDRESS = Address("10.0.0.9", 3868)
ALICE, BOB = "001010000000001", "001010000000002"
SUBSCRIBED = DefaultEpsBearerQos(qos_class_identifier=9, allocation_retention_priority=AllocationRetentionPriority(priority_level=8))
NOON = 1_700_049_600.0      # Wednesday 2023-11-15 12:00 UTC


class ScriptedPgw:
    """Asks what the test says, and answers RARs with success unless told otherwise."""

    def __init__(self, network: MemoryNetwork, name: str = "pgw", host: str = PGW, *, realm: str = REALM,
                 pcrf: Address = PCRF_ADDRESS) -> None:
        self.host = host
        self.realm = realm
        self.pushed: list[gx.ReAuthRequest] = []
        self.was_pushed = asyncio.Event()
        self.result: Callable[[gx.ReAuthRequest], dict[str, Any]] = lambda request: {"result_code": ResultCode.DIAMETER_SUCCESS}
        self.serve: Callable[[gx.ReAuthRequest], Message | Awaitable[Message]] = self._answer
        self.node = DiameterNode(
            network.transport(name), LocalIdentity(origin_host=host, origin_realm=realm, applications=(GX_APPLICATION,)), interface="Gx",
            entropy=random.Random(name), clock=lambda: 1.7e9, peers=[PeerConfig(address=pcrf)], on_request=self._serve)

    async def start(self) -> None:
        await self.node.start()
        await asyncio.wait_for(self.node.wait_connected(GX_APPLICATION), 10)

    def _serve(self, packet: Packet) -> Message | Awaitable[Message]:
        request = packet.message
        assert isinstance(request, gx.ReAuthRequest)
        self.pushed.append(request)
        self.was_pushed.set()
        return self.serve(request)

    def _answer(self, request: gx.ReAuthRequest) -> Message:
        return gx.ReAuthAnswer(session_id=request.session_id, origin_host=self.host, origin_realm=self.realm, **self.result(request))

    async def ask(self, kind: gx.CcRequestType, session_id: str, number: int, **more: Any) -> gx.CreditControlAnswer:
        packet = await self.node.request(gx.CreditControlRequest(
            session_id=session_id, origin_host=self.host, origin_realm=self.realm, destination_realm=self.realm, cc_request_type=kind,
            cc_request_number=number, **more))
        answer = packet.message
        assert isinstance(answer, gx.CreditControlAnswer)
        assert (answer.session_id, answer.cc_request_type, answer.cc_request_number) == (session_id, kind, number)
        assert packet.header.application_id == GX_APPLICATION
        return answer

    async def establish(self, imsi: str = ALICE, apn: str = "internet", ip: str = "10.45.0.2", **more: Any) -> gx.CreditControlAnswer:
        given: dict[str, Any] = {
            "subscription_id": (SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=imsi),),
            "called_station_id": apn, "framed_ip_address": IPv4Address(ip), "rat_type": RatType.EUTRAN, "ip_can_type": gx.IpCanType.TGPP_EPS,
            "default_eps_bearer_qos": SUBSCRIBED, "network_request_support": gx.NetworkRequestSupport.NETWORK_REQUEST_SUPPORTED,
            "qos_information": QosInformation(apn_aggregate_max_bitrate_ul=50_000_000, apn_aggregate_max_bitrate_dl=100_000_000),
        }
        return await self.ask(gx.CcRequestType.INITIAL_REQUEST, f"{self.host};1;{imsi};{apn}", 0, **(given | more))


class Lab:
    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1)
        self.nodes: list[Any] = []       # to be stopped
        self.began_at = NOON - asyncio.get_running_loop().time()

    def clock(self) -> float:
        """Seconds since 1970: noon when the test began."""
        return self.began_at + asyncio.get_running_loop().time()

    async def pcrf(self, policy: dict[str, Any] | None = None, *, name: str = "pcrf", **more: Any) -> Pcrf:
        pcrf = Pcrf(config(policy, **more), self.network.transport(name), clock=self.clock, entropy=random.Random(name))
        await pcrf.start()
        self.nodes.append(pcrf)
        return pcrf

    async def pgw(self, name: str = "pgw", host: str = PGW, **more: Any) -> ScriptedPgw:
        pgw = ScriptedPgw(self.network, name, host, **more)
        await pgw.start()
        self.nodes.append(pgw.node)
        return pgw


def config(policy: dict[str, Any] | None = None, **more: Any) -> PcrfConfig:
    given = {"name": "pcrf1", "origin_host": PCRF, "origin_realm": REALM, "gx": {"listen": [{"host": PCRF_ADDRESS.host}]}, **more}
    if policy is not None:
        given["policy"] = policy
    return parse_config(given, PcrfConfig, source="test")


async def running_lab() -> AsyncIterator[Lab]:
    """For a fixture."""
    lab = Lab()
    yield lab
    for node in reversed(lab.nodes):
        await node.stop()


def rule_names(answer: gx.CreditControlAnswer | gx.ReAuthRequest) -> list[bytes]:
    return [name for install in answer.charging_rule_install
            for name in (*(rule.charging_rule_name for rule in install.charging_rule_definition), *install.charging_rule_name)]


def removed_names(message: gx.CreditControlAnswer | gx.ReAuthRequest) -> list[bytes]:
    return [name for remove in message.charging_rule_remove for name in remove.charging_rule_name]
