"""The PGW between a scripted SGW and scripted OCSs: credit control on the virtual clock, with a phone's packets to count."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from pytest_asyncio import fixture as async_fixture

from epc.dataplane.forwarder import GtpuPort
from epc.dataplane.ip_endpoint import EndpointHost, udp_exchange
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session
from epc.dataplane.socket_backend import SocketForwarder
from epc.node import ConfigError, parse_config
from epc.peer.diameter import LocalIdentity
from epc.peer.gtpc import GtpcTimers, RequestReceived
from epc.pgw import Pgw, PgwConfig
from epc.transport.diameter import DiameterNode, ListenConfig
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork
from epc.wire.diameter import GX_APPLICATION, GY_APPLICATION, Message, Packet, ResultCode, gx, gy
from epc.wire.diameter.base import AbortSessionAnswer, AbortSessionRequest
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RedirectAddressType,
    RedirectServer,
    ReportingReason,
    TariffChangeUsage,
    Trigger,
    TriggerType,
)
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleRemove,
    FlowInformation,
    QosInformation,
    ReportingLevel,
)
from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextToBeCreated,
    BearerContextUpdateAnswered,
    BearerQos,
    Cause,
    CauseValue,
    ChangeReportingAction,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteBearerRequest,
    DeleteBearerResponse,
    DeleteSessionRequest,
    Ecgi,
    Fteid,
    InterfaceType,
    ModifyBearerRequest,
    Paa,
    PdnType,
    RatType,
    Tai,
    UeTimeZone,
    Uli,
    UpdateBearerRequest,
    UpdateBearerResponse,
)
from epc.wire.identity import Ebi, Imsi, Plmn

pytestmark = pytest.mark.virtual_clock

SGW, S5, PCRF, OCS, OCS2, SERVER = "10.0.0.3", "10.0.0.6", "10.0.0.8", "10.0.0.10", "10.0.0.11", "10.200.0.1"
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
IMSI = Imsi("001010000000001")
SGW_TEID, SGW_USER_TEID = 0x2001, 0x4001
ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
OUT_OF_MONEY, NOT_APPLICABLE = ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, ResultCode.DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE
Answer = Callable[[gy.CreditControlRequest], Message | None]
Service = Callable[[MultipleServicesCreditControl], MultipleServicesCreditControl]


def quota(octets: int | None = None, *, seconds: int | None = None, **more: Any) -> Service:
    """Grants so much to whoever asks."""
    def answer(asked: MultipleServicesCreditControl) -> MultipleServicesCreditControl:
        if asked.requested_service_unit is None:
            return MultipleServicesCreditControl(
                rating_group=asked.rating_group, service_identifier=asked.service_identifier, result_code=ResultCode.DIAMETER_SUCCESS)
        unit = None if octets is None and seconds is None else GrantedServiceUnit(cc_total_octets=octets, cc_time=seconds)
        return MultipleServicesCreditControl(
            rating_group=asked.rating_group, service_identifier=asked.service_identifier, granted_service_unit=unit,
            **{"result_code": ResultCode.DIAMETER_SUCCESS, **more})
    return answer


def refused(result: int) -> Service:
    return quota(None, result_code=result)


def credit(*services: Service, **more: Any) -> Answer:
    """An answer with one service answer for each service asked about; the last one holds for the rest."""
    def answer(request: gy.CreditControlRequest) -> Message:
        given = [services[min(number, len(services) - 1)](mscc) for number, mscc in enumerate(request.multiple_services_credit_control)]
        return cca(request, multiple_services_credit_control=tuple(given) if services else (), **more)
    return answer


def cca(request: gy.CreditControlRequest, host: str = f"ocs.{REALM}", **fields: Any) -> gy.CreditControlAnswer:
    return gy.CreditControlAnswer(
        session_id=request.session_id, origin_host=host, origin_realm=REALM, cc_request_type=request.cc_request_type,
        cc_request_number=request.cc_request_number, **{"result_code": ResultCode.DIAMETER_SUCCESS, **fields})


def result(code: int, **more: Any) -> Answer:
    return lambda request: cca(request, result_code=code, **more)


def silence(request: gy.CreditControlRequest) -> None:
    """No answer at all."""


class ScriptedOcs:
    """Answers as the test says: ``script`` first, then ``otherwise`` for ever."""

    def __init__(self, network: MemoryNetwork, name: str, host: str) -> None:
        self.host = f"{name}.{REALM}"
        self.requests: list[gy.CreditControlRequest] = []
        self.packets: list[Packet] = []
        self.script: list[Answer] = []
        self.otherwise: Answer = credit(quota(1_000_000))
        self.node = DiameterNode(
            network.transport(name), LocalIdentity(origin_host=self.host, origin_realm=REALM, applications=(GY_APPLICATION,)), interface="Gy",
            entropy=random.Random(name), clock=lambda: 1000.0, on_request=self._serve, listen=[ListenConfig(address=Address(host, 3868))],
            duplicates_remembered=0)                    # copies are the test's business

    async def _serve(self, packet: Packet) -> Message:
        request = packet.message
        assert isinstance(request, gy.CreditControlRequest)
        self.requests.append(request)
        self.packets.append(packet)
        answer = (self.script.pop(0) if self.script else self.otherwise)(request)
        if answer is None:
            await asyncio.sleep(1e6)
            raise AssertionError("nobody waits that long")
        if isinstance(answer, gy.CreditControlAnswer) and answer.origin_host == f"ocs.{REALM}":
            return cca(request, host=self.host, **{name: getattr(answer, name) for name in (
                "result_code", "multiple_services_credit_control", "cc_session_failover", "credit_control_failure_handling")})
        return answer

    def told(self) -> list[tuple[str, list[tuple[int | None, int | None, str | None, bool]]]]:
        """Each request's type, and for its services: rating group, octets used, why, whether more is wanted."""
        return [(CcRequestType(request.cc_request_type).name.removesuffix("_REQUEST").lower(), [
            (mscc.rating_group, mscc.used_service_unit[0].cc_total_octets if mscc.used_service_unit else None,
             ReportingReason(mscc.used_service_unit[0].tgpp_reporting_reason or 0).name if mscc.used_service_unit else None,
             mscc.requested_service_unit is not None) for mscc in request.multiple_services_credit_control]) for request in self.requests]

    def octets(self) -> int:
        """Everything that was reported, each request once however often it came."""
        return sum(unit.cc_total_octets or 0 for request in {(each.session_id, each.cc_request_number): each for each in self.requests}.values()
                   for mscc in request.multiple_services_credit_control for unit in mscc.used_service_unit)

    async def re_authorise(self, session_id: str, **more: Any) -> ResultCode | int:
        answer = (await self.node.request(gy.ReAuthRequest(
            session_id=session_id, origin_host=self.host, origin_realm=REALM, destination_realm=REALM, destination_host=f"pgw1.{REALM}",
            **more))).message
        assert isinstance(answer, gy.ReAuthAnswer)
        await asyncio.sleep(0.1)
        return answer.result_code

    async def abort(self, session_id: str) -> ResultCode | int | None:
        answer = (await self.node.request(AbortSessionRequest(
            session_id=session_id, origin_host=self.host, origin_realm=REALM, destination_realm=REALM, destination_host=f"pgw1.{REALM}",
            auth_application_id=GY_APPLICATION))).message
        assert isinstance(answer, AbortSessionAnswer)
        return answer.result_code


class Bench:
    def __init__(self, *, rules: tuple[ChargingRuleDefinition, ...] | None = None, online: int | None = None,
                 event_triggers: tuple[gx.EventTrigger, ...] = (), two_ocs: bool = False, **config: Any) -> None:
        self.network = MemoryNetwork()
        peers = [{"host": OCS}, {"host": OCS2}] if two_ocs else [{"host": OCS}]
        settings: dict[str, Any] = {
            "name": "pgw1", "s5c": {"host": S5}, "s5u": {"host": S5}, "sgi_hosts": "in_process",
            "apns": {"internet": {"ipv4_pool": "10.45.0.0/29", "server": f"{SERVER}/24"}},
            "gy": {"peers": peers, "origin_realm": REALM, "rating_group": 10, **config},
        }
        if rules is not None:
            settings["gx"] = {"peers": [{"host": PCRF}], "origin_realm": REALM}
        self.rules, self.online, self.event_triggers = rules, online, event_triggers
        self.policy_requests: list[gx.CreditControlRequest] = []
        self.pgw = Pgw(parse_config(settings, PgwConfig, source="test"), self.network.transport("pgw"), clock=self.clock, entropy=random.Random(1))
        self.ocs = ScriptedOcs(self.network, "ocs", OCS)
        self.ocs2 = ScriptedOcs(self.network, "ocs2", OCS2) if two_ocs else None
        self.pcrf = DiameterNode(
            self.network.transport("pcrf"), LocalIdentity(origin_host=f"pcrf.{REALM}", origin_realm=REALM, applications=(GX_APPLICATION,)),
            interface="Gx", entropy=random.Random(2), clock=lambda: 1000.0, on_request=self._decide,
            listen=[ListenConfig(address=Address(PCRF, 3868))])
        self.policy_session = ""
        self.sgw = GtpcEndpoint(self.network.transport("sgw"), Address(SGW, 2123), interface="S5/S8", restart_counter=1, on_request=self._serve,
                                timers=GtpcTimers(echo_interval_s=None))
        self.deleted: list[DeleteBearerRequest] = []
        self.access: SocketForwarder | None = None
        self.phone: EndpointHost | None = None

    @staticmethod
    def clock() -> float:
        return 1_700_000_000 + asyncio.get_running_loop().time()

    def _decide(self, packet: Packet) -> Message:
        request = packet.message
        assert isinstance(request, gx.CreditControlRequest)
        self.policy_session = request.session_id
        self.policy_requests.append(request)
        is_first = request.cc_request_type == CcRequestType.INITIAL_REQUEST
        return gx.CreditControlAnswer(
            session_id=request.session_id, origin_host=f"pcrf.{REALM}", origin_realm=REALM, cc_request_type=request.cc_request_type,
            cc_request_number=request.cc_request_number, result_code=ResultCode.DIAMETER_SUCCESS, online=self.online,
            event_trigger=self.event_triggers if is_first else (),
            charging_rule_install=(ChargingRuleInstall(charging_rule_definition=self.rules or ()),) if is_first else ())

    async def push(self, **fields: Any) -> None:
        """The PCRF changes rules."""
        await self.pcrf.request(gx.ReAuthRequest(
            session_id=self.policy_session, origin_host=f"pcrf.{REALM}", origin_realm=REALM, destination_realm=REALM,
            destination_host=f"pgw1.{REALM}", **fields))

    def _serve(self, received: RequestReceived) -> None:
        if isinstance(received.message, UpdateBearerRequest):
            self.sgw.respond(received, UpdateBearerResponse(
                cause=ACCEPTED, bearer_contexts=(BearerContextUpdateAnswered(ebi=Ebi(5), cause=ACCEPTED),)), self.session.s5c_pgw_teid)
            return
        assert isinstance(received.message, DeleteBearerRequest)
        self.deleted.append(received.message)
        self.sgw.respond(received, DeleteBearerResponse(cause=ACCEPTED, linked_ebi=5), self.session.s5c_pgw_teid)

    async def start(self) -> None:
        for node in (self.pcrf, self.ocs.node, *([self.ocs2.node] if self.ocs2 else [])):
            await node.start()
        await self.pgw.start()
        await self.sgw.open()
        assert self.pgw.gy is not None
        await asyncio.sleep(5)
        assert self.pgw.is_ready()
        assert all(peer.is_usable for peer in self.pgw.gy.node.peers())

    async def stop(self) -> None:
        if self.phone is not None:
            await self.phone.close()
        if self.access is not None:
            await self.access.close()
        await self.pgw.stop()
        await self.sgw.close()
        for node in (self.pcrf, self.ocs.node, *([self.ocs2.node] if self.ocs2 else [])):
            await node.stop()

    @property
    def session(self) -> Any:
        [session] = self.pgw.sessions.values()
        return session

    async def create(self, **fields: Any) -> CreateSessionResponse:
        context = BearerContextToBeCreated(
            ebi=5, s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, SGW_USER_TEID, SGW), bearer_qos=BearerQos(qci=9, arp=Arp(priority_level=8)))
        values: dict[str, Any] = {
            "imsi": IMSI, "msisdn": "34600000001", "mei": "3512345678901234", "uli": Uli(tai=Tai("00101", 7), ecgi=Ecgi("00101", 0xA1B01)),
            "serving_network": Plmn("00101"), "rat_type": RatType.EUTRAN, "sender_fteid": Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, SGW_TEID, SGW),
            "apn": "internet", "pdn_type": PdnType.IPV4, "paa": Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address(0)),
            "ambr": Ambr(uplink_kbps=1_000_000, downlink_kbps=1_000_000), "bearer_contexts_to_be_created": (context,), **fields}
        answer = (await self.sgw.request(Address(S5, 2123), 0, CreateSessionRequest(**values))).message
        assert isinstance(answer, CreateSessionResponse)
        return answer

    async def attach(self) -> CreateSessionResponse:
        """A session, and a phone's IP stack behind a forwarder that plays SGW and eNodeB in one."""
        answer = await self.create()
        assert answer.cause == ACCEPTED, answer.cause
        [context] = answer.bearer_contexts_created
        assert context.s5u_pgw_fteid is not None
        self.access = await SocketForwarder.open(self.network.transport("sgw"), core=GtpuPort(address=SGW, interface="S5/S8-U"))
        self.phone = EndpointHost("phone", IPv4Interface("10.45.0.1/32"))
        self.access.connect("phone", self.phone.link)
        self.access.install(Session(
            id=1,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, network_instance="phone", far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, local_f_teid=FTeid(teid=SGW_USER_TEID, address=SGW), far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=FTeid(teid=context.s5u_pgw_fteid.teid, address=S5)),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance="phone"))))
        return answer

    async def passes(self, octets: int = 1000, *, port: int = 7, timeout_s: float = 1.0) -> bool:
        """One datagram of so many octets, IP header included, to the echo server and back: counts twice."""
        assert self.phone is not None
        try:
            return await udp_exchange(self.phone, SERVER, port, bytes(octets - 28), timeout_s=timeout_s) == bytes(octets - 28)
        except TimeoutError:
            return False

    async def modify(self, **fields: Any) -> None:
        await self.sgw.request(Address(S5, 2123), self.session.s5c_pgw_teid, ModifyBearerRequest(**fields))

    async def detach(self) -> None:
        await self.sgw.request(Address(S5, 2123), self.session.s5c_pgw_teid, DeleteSessionRequest(linked_ebi=5))
        await asyncio.sleep(1)

    def forwarded(self) -> int:
        """Octets of all sessions so far, gone ones included."""
        return self.pgw.forwarder.statistics().usage.octets

    async def assert_empty(self) -> None:
        await asyncio.sleep(5)
        pgw = self.pgw
        assert pgw.gy is not None
        assert pgw.sessions == pgw._by_session_id == pgw._by_gx == pgw.gy.sessions == {}
        assert len(pgw.control_teids) == len(pgw.runner) == len(pgw.pools["internet"]) == 0
        assert pgw.forwarder.sessions() == ()


Open = Callable[..., Any]


@async_fixture
async def bench() -> AsyncIterator[Open]:
    """``await bench(failure_handling="continue")``: started, with keys of ``gy``."""
    opened: list[Bench] = []

    async def build(**config: Any) -> Bench:
        opened.append(Bench(**config))
        await opened[-1].start()
        return opened[-1]

    yield build
    for each in opened:
        await each.stop()


def rule(name: str, group: int | None = None, *, port: int | None = None, online: int | None = 1, precedence: int = 100,
         service: int | None = None, **more: Any) -> ChargingRuleDefinition:
    flow = "permit out ip from any to assigned" if port is None else f"permit out 17 from any {port} to assigned"
    return ChargingRuleDefinition(
        charging_rule_name=name.encode(), rating_group=group, service_identifier=service, online=online, precedence=precedence,
        flow_information=(FlowInformation(flow_description=flow),), **more)


# --- the first interrogation ------------------------------------------------------------------------------------------


async def test_the_first_request_says_who_where_and_how(bench: Open) -> None:
    it = await bench()
    assert (await it.create(ue_time_zone=UeTimeZone(offset_minutes=60, daylight_saving_hours=1))).cause == ACCEPTED
    [request] = it.ocs.requests
    assert (request.cc_request_type, request.cc_request_number, request.multiple_services_indicator) == (CcRequestType.INITIAL_REQUEST, 0, 1)
    assert request.service_context_id == "32251@3gpp.org"
    assert [(each.subscription_id_type, each.subscription_id_data) for each in request.subscription_id] == [(1, IMSI), (0, "34600000001")]
    assert request.user_equipment_info is not None
    assert request.user_equipment_info.user_equipment_info_value == b"3512345678901234"
    assert request.service_information is not None
    ps = request.service_information.ps_information
    assert ps is not None
    assert ps.tgpp_charging_id == it.session.charging_id.to_bytes(4, "big")
    assert (ps.called_station_id, ps.tgpp_sgsn_mcc_mnc, ps.tgpp_rat_type, ps.tgpp_nsapi) == ("internet", "00101", b"\x06", b"5")
    assert ps.tgpp_ms_timezone == b"\x40\x01"
    assert ps.tgpp_user_location_info == bytes.fromhex("8200f110000700f110000a1b01")
    assert [str(address) for address in (*ps.pdp_address, *ps.sgsn_address, *ps.ggsn_address)] == ["10.45.0.1", SGW, S5]
    assert it.ocs.told() == [("initial", [(10, None, None, True)])]


async def test_what_was_used_is_reported_to_the_octet_at_the_end(bench: Open) -> None:
    it = await bench()
    await it.attach()
    assert await it.passes(1000)
    assert await it.passes(333)
    await it.detach()
    assert it.ocs.told() == [("initial", [(10, None, None, True)]), ("termination", [(10, 2666, "FINAL", False)])]
    [unit] = it.ocs.requests[1].multiple_services_credit_control[0].used_service_unit
    assert (unit.cc_input_octets, unit.cc_output_octets) == (1333, 1333)
    assert it.ocs.requests[1].destination_host == f"ocs.{REALM}"
    assert it.ocs.octets() == it.forwarded() == 2666
    await it.assert_empty()


async def test_without_gy_nothing_is_asked_and_a_rule_that_is_not_online_needs_no_quota(bench: Open) -> None:
    it = await bench(rules=(rule("everything", 20, online=0),), online=0)
    await it.attach()
    assert await it.passes()
    assert it.ocs.requests == []
    await it.detach()
    assert it.ocs.requests == []
    await it.assert_empty()


async def test_each_rating_group_has_its_own_quota_and_what_no_rule_takes_the_configured_one(bench: Open) -> None:
    it = await bench(rules=(rule("echo", 20, port=7), rule("game", 30, port=9, service=4, reporting_level=ReportingLevel.SERVICE_IDENTIFIER_LEVEL)))
    it.ocs.otherwise = credit(quota(10_000), quota(20_000))
    await it.attach()
    assert it.ocs.told() == [("initial", [(20, None, None, True), (30, None, None, True)])]
    assert [mscc.service_identifier for mscc in it.ocs.requests[0].multiple_services_credit_control] == [(), (4,)]
    assert await it.passes(500)
    assert await it.phone.ping(SERVER, count=1) is not None            # ICMP: no rule's, so its first packet asks for rating group 10
    assert it.ocs.told()[1] == ("update", [(10, None, None, True)])
    await it.detach()
    kind, services = it.ocs.told()[2]
    assert kind == "termination"
    assert [(group, octets) for group, octets, _, _ in services if octets] == [(20, 1000), (10, it.forwarded() - 1000)]
    assert it.ocs.octets() == it.forwarded()


# --- quotas -----------------------------------------------------------------------------------------------------------


async def test_traffic_stops_within_one_quota_until_there_is_another(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(10_000)), silence]
    await it.attach()
    count = 0
    while await it.passes(1000):
        count += 1
    assert count == 5
    assert it.ocs.told()[1] == ("update", [(10, 10_000, "QUOTA_EXHAUSTED", True)])
    assert it.forwarded() == 10_000


async def test_more_is_asked_for_at_the_threshold_and_nothing_stops(bench: Open) -> None:
    it = await bench()
    it.ocs.otherwise = credit(quota(10_000, volume_quota_threshold=2_000))
    await it.attach()
    for _ in range(20):
        assert await it.passes(1000)
    await it.detach()
    reports = [(octets, reason) for kind, [(_, octets, reason, _)] in it.ocs.told() if kind == "update"]
    assert reports == [(8_000, "THRESHOLD")] * 4 + ([(8_000, "THRESHOLD")] if len(reports) == 5 else [])
    assert it.ocs.octets() == it.forwarded() == 40_000


async def test_what_passes_while_the_answer_is_on_its_way_counts_against_the_new_quota(bench: Open) -> None:
    it = await bench()
    late = asyncio.Event()
    it.ocs.script = [credit(quota(10_000, volume_quota_threshold=8_000))]
    it.ocs.otherwise = credit(quota(4_000))
    await it.attach()
    serve = it.ocs._serve

    async def slow(packet: Packet) -> Message:
        await late.wait()
        return await serve(packet)

    it.ocs.node._on_request = slow
    for _ in range(4):
        assert await it.passes(1000)                    # 2000 make the threshold; 6000 more pass meanwhile
    late.set()
    await asyncio.sleep(0.5)
    assert [octets for kind, [(_, octets, _, _)] in it.ocs.told() if kind == "update"][:2] == [2_000, 6_000]
    await it.detach()
    assert it.ocs.octets() == it.forwarded()


async def test_validity_time_ends_a_quota(bench: Open) -> None:
    it = await bench()
    it.ocs.otherwise = credit(quota(10_000, validity_time=60))
    await it.attach()
    assert await it.passes(500)
    await asyncio.sleep(61)
    assert it.ocs.told()[1:] == [("update", [(10, 1000, "VALIDITY_TIME", True)])]
    await asyncio.sleep(60)
    assert it.ocs.told()[2:] == [("update", [(10, 0, "VALIDITY_TIME", True)])]


async def test_quota_that_nobody_uses_goes_back_and_the_next_packet_asks_for_another(bench: Open) -> None:
    it = await bench()
    it.ocs.otherwise = credit(quota(10_000, quota_holding_time=30))
    await it.attach()
    assert await it.passes(500)
    await asyncio.sleep(35)
    assert it.ocs.told()[1:] == [("update", [(10, 1000, "QHT", False)])]
    assert await it.passes(500)                         # held until the quota is there, then sent on
    assert it.ocs.told()[2:] == [("update", [(10, None, None, True)])]
    await it.detach()
    assert it.ocs.octets() == it.forwarded() == 2000


async def test_time_quota(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(seconds=30, time_quota_threshold=10)), silence]
    await it.attach()
    assert await it.passes(500)
    await asyncio.sleep(21)
    [request] = it.ocs.requests[1:]
    [unit] = request.multiple_services_credit_control[0].used_service_unit
    assert (unit.cc_time, unit.cc_total_octets, unit.tgpp_reporting_reason) == (20, 1000, ReportingReason.THRESHOLD)


async def test_usage_is_told_apart_where_the_tariff_changes(bench: Open) -> None:
    it = await bench()
    change = datetime.datetime.fromtimestamp(int(it.clock()) + 60, datetime.UTC)

    def granted(asked: MultipleServicesCreditControl) -> MultipleServicesCreditControl:
        return MultipleServicesCreditControl(
            rating_group=10, result_code=ResultCode.DIAMETER_SUCCESS,
            granted_service_unit=GrantedServiceUnit(cc_total_octets=100_000, tariff_time_change=change))

    it.ocs.script = [credit(granted)]
    await it.attach()
    assert await it.passes(1000)
    await asyncio.sleep(60)
    assert await it.passes(300)
    await it.detach()
    units = it.ocs.requests[1].multiple_services_credit_control[0].used_service_unit
    assert [(unit.tariff_change_usage, unit.cc_total_octets) for unit in units] == [
        (TariffChangeUsage.UNIT_BEFORE_TARIFF_CHANGE, 2000), (TariffChangeUsage.UNIT_AFTER_TARIFF_CHANGE, 600)]


async def test_the_first_packet_asks_where_it_is_configured_so(bench: Open) -> None:
    it = await bench(request_quota="first_packet")
    await it.attach()
    assert it.ocs.requests == []
    assert await it.passes(700)
    await it.detach()
    assert it.ocs.told() == [("initial", [(10, None, None, True)]), ("termination", [(10, 1400, "FINAL", False)])]
    await it.assert_empty()


async def test_rating_condition_change_is_reported_where_the_ocs_wants_it(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(100_000, trigger=Trigger(trigger_type=(TriggerType.CHANGEINLOCATION_MCC, TriggerType.CHANGE_IN_RAT))))]
    await it.attach()
    assert await it.passes(500)
    await it.modify(uli=Uli(tai=Tai("00101", 8), ecgi=Ecgi("00101", 2)))
    assert len(it.ocs.requests) == 1                    # another cell is no matter
    await it.modify(serving_network=Plmn("21407"), uli=Uli(tai=Tai("21407", 1), ecgi=Ecgi("21407", 1)))
    await asyncio.sleep(0.1)
    assert it.ocs.told()[1:] == [("update", [(10, 1000, "RATING_CONDITION_CHANGE", True)])]
    ps = it.ocs.requests[1].service_information.ps_information
    assert ps.tgpp_sgsn_mcc_mnc == "21407"
    await it.modify(rat_type=RatType.UTRAN)
    await asyncio.sleep(0.1)
    assert it.ocs.told()[2:] == [("update", [(10, 0, "RATING_CONDITION_CHANGE", True)])]
    it.ocs.otherwise = credit(quota(100_000, trigger=Trigger()))
    await it.modify(rat_type=RatType.EUTRAN)
    await asyncio.sleep(0.1)
    await it.modify(rat_type=RatType.UTRAN)             # disarmed
    await asyncio.sleep(0.1)
    assert len(it.ocs.requests) == 4


async def test_change_of_the_bit_rate_or_of_the_sgw_is_a_rating_condition_too(bench: Open) -> None:
    it = await bench(rules=(rule("all", 20),))
    it.ocs.script = [credit(quota(100_000, trigger=Trigger(trigger_type=(
        TriggerType.CHANGEINQOS_APN_AGGREGATE_MAXIMUM_BIT_RATE, TriggerType.CHANGE_IN_SGSN_IP_ADDRESS))))]
    await it.attach()
    assert await it.passes(500)
    await it.push(qos_information=(QosInformation(apn_aggregate_max_bitrate_ul=5_000_000, apn_aggregate_max_bitrate_dl=7_000_000),))
    await asyncio.sleep(0.5)
    assert it.ocs.told()[1:] == [("update", [(20, 1000, "RATING_CONDITION_CHANGE", True)])]
    assert it.ocs.requests[1].service_information.ps_information.qos_information.apn_aggregate_max_bitrate_dl == 7_000_000
    await it.modify(sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2002, "10.0.0.33"))
    await asyncio.sleep(0.5)
    assert it.ocs.told()[2:] == [("update", [(20, 0, "RATING_CONDITION_CHANGE", True)])]
    assert [str(address) for address in it.ocs.requests[2].service_information.ps_information.sgsn_address] == ["10.0.0.33"]


async def test_cell_triggers_have_the_mme_report_cells(bench: Open) -> None:
    it = await bench()
    it.ocs.otherwise = credit(quota(100_000, trigger=Trigger(trigger_type=(TriggerType.CHANGEINLOCATION_ECGI,))))
    answer = await it.create()
    assert answer.change_reporting_action == ChangeReportingAction.START_REPORTING_ECGI


async def test_rules_that_come_and_go_bring_and_return_quotas(bench: Open) -> None:
    it = await bench(rules=(rule("echo", 20, port=7),))
    await it.attach()
    assert await it.passes(500)
    await it.push(charging_rule_install=(ChargingRuleInstall(charging_rule_definition=(rule("game", 30, port=9),)),))
    await asyncio.sleep(0.1)
    assert it.ocs.told()[1:] == [("update", [(30, None, None, True)])]
    await it.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"echo",)),))
    await asyncio.sleep(0.1)
    assert it.ocs.told()[2:] == [("update", [(20, 1000, "FINAL", False)])]
    assert await it.passes(600)                         # no rule's any more: rating group 10
    await it.push(charging_rule_install=(ChargingRuleInstall(charging_rule_definition=(rule("echo", 20, port=7),)),))
    assert await it.passes(700)
    await it.detach()
    assert [(group, octets) for group, octets, _, _ in it.ocs.told()[-1][1] if octets] == [(20, 1400), (10, 1200)]
    assert it.ocs.octets() == it.forwarded()


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "cause"), [
    (ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, CauseValue.USER_AUTHENTICATION_FAILED),
    (ResultCode.DIAMETER_END_USER_SERVICE_DENIED, CauseValue.USER_AUTHENTICATION_FAILED),
    (ResultCode.DIAMETER_AUTHORIZATION_REJECTED, CauseValue.USER_AUTHENTICATION_FAILED),
    (ResultCode.DIAMETER_USER_UNKNOWN, CauseValue.USER_AUTHENTICATION_FAILED),
    (ResultCode.DIAMETER_TOO_BUSY, CauseValue.NO_RESOURCES_AVAILABLE),
    (ResultCode.DIAMETER_RATING_FAILED, CauseValue.REQUEST_REJECTED),
    (ResultCode.DIAMETER_UNABLE_TO_COMPLY, CauseValue.REQUEST_REJECTED),
    (5999, CauseValue.REQUEST_REJECTED),
])
async def test_session_that_the_ocs_refuses(bench: Open, code: int, cause: CauseValue) -> None:
    it = await bench()
    it.ocs.otherwise = result(code)
    assert (await it.create()).cause.value == cause
    await it.assert_empty()
    assert {kind for kind, _ in it.ocs.told()} == {"initial"}           # there is nothing to terminate


async def test_no_credit_for_any_service_refuses_the_session_and_closes_it_at_the_ocs(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(refused(OUT_OF_MONEY))]
    assert (await it.create()).cause.value == CauseValue.USER_AUTHENTICATION_FAILED
    await it.assert_empty()
    assert [kind for kind, _ in it.ocs.told()] == ["initial", "termination"]


@pytest.mark.parametrize("code", [ResultCode.DIAMETER_CREDIT_LIMIT_REACHED, ResultCode.DIAMETER_END_USER_SERVICE_DENIED,
                                  ResultCode.DIAMETER_RATING_FAILED, ResultCode.DIAMETER_AUTHORIZATION_REJECTED, 5999])
async def test_service_that_the_ocs_refuses_is_blocked_and_the_others_go_on(bench: Open, code: int) -> None:
    it = await bench(rules=(rule("echo", 20, port=7), rule("rest", 30, precedence=200)))
    it.ocs.script = [credit(refused(code), quota(100_000))]
    await it.attach()
    assert not await it.passes(500)
    assert (await it.phone.ping(SERVER, count=1)).received == 1
    assert len(it.ocs.requests) == 1                    # it is not asked again for what it refuses
    assert it.pgw.metrics.value("gy_services_blocked_total", cause=ResultCode(code).name if code != 5999 else "5999") == 1
    assert await it.ocs.re_authorise(it.session.gy.session_id) == ResultCode.DIAMETER_LIMITED_SUCCESS
    assert await it.passes(500)                         # there is money now
    await it.detach()
    assert it.ocs.octets() == it.forwarded()


async def test_refused_service_is_asked_for_again_where_that_is_configured(bench: Open) -> None:
    it = await bench(rules=(rule("echo", 20, port=7), rule("rest", 30, precedence=200)), ask_again_s=60)
    it.ocs.script = [credit(refused(OUT_OF_MONEY), quota(100_000))]
    await it.attach()
    assert not await it.passes()
    await asyncio.sleep(60)
    assert it.ocs.told()[1] == ("update", [(20, None, None, True)])
    assert await it.passes()


@pytest.mark.parametrize("answer", [result(NOT_APPLICABLE), credit(refused(NOT_APPLICABLE))])
async def test_what_needs_no_credit_passes_uncounted(bench: Open, answer: Answer) -> None:
    it = await bench()
    it.ocs.script = [answer]
    await it.attach()
    for _ in range(5):
        assert await it.passes()
    await it.detach()
    assert it.ocs.octets() == 0
    await it.assert_empty()


# --- the last units ---------------------------------------------------------------------------------------------------


def last(octets: int | None, action: FinalUnitAction = FinalUnitAction.TERMINATE, *, url: str | None = None, rules: tuple[str, ...] = (),
         names: tuple[str, ...] = (), **more: Any) -> Service:
    server = None if url is None else RedirectServer(redirect_address_type=RedirectAddressType.URL, redirect_server_address=url)
    return quota(octets, final_unit_indication=FinalUnitIndication(
        final_unit_action=action, restriction_filter_rule=rules, filter_id=names, redirect_server=server), **more)


async def test_after_the_last_units_the_rating_group_is_blocked_and_a_top_up_brings_it_back(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(last(4_000))]
    await it.attach()
    assert await it.passes()
    assert await it.passes()
    assert not await it.passes()
    assert it.ocs.told()[1:] == [("update", [(10, 4_000, "FINAL", False)])]
    assert it.deleted == []
    assert await it.ocs.re_authorise(it.session.gy.session_id, rating_group=10) == ResultCode.DIAMETER_LIMITED_SUCCESS
    assert await it.passes()
    assert it.ocs.told()[2] == ("update", [(10, None, None, True)])
    await it.detach()
    assert it.ocs.octets() == it.forwarded() == 6_000


async def test_after_the_last_units_the_session_ends_where_that_is_configured(bench: Open) -> None:
    it = await bench(on_credit_end="end_session")
    it.ocs.script = [credit(last(4_000))]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(1)
    assert [request.linked_ebi for request in it.deleted] == [5]
    assert [kind for kind, _ in it.ocs.told()][-1] == "termination"
    assert it.ocs.octets() == it.forwarded() == 4_000
    await it.assert_empty()


async def test_refusal_of_all_that_is_left_ends_the_session_where_that_is_configured(bench: Open) -> None:
    it = await bench(on_credit_end="end_session")
    it.ocs.script = [credit(quota(4_000)), credit(refused(OUT_OF_MONEY))]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(1)
    assert len(it.deleted) == 1
    assert it.ocs.octets() == it.forwarded() == 4_000
    await it.assert_empty()


async def test_services_of_one_rating_group_are_kept_apart(bench: Open) -> None:
    level = ReportingLevel.SERVICE_IDENTIFIER_LEVEL
    it = await bench(rules=(rule("any", 30, precedence=200), rule("echo", 30, port=7, service=1, reporting_level=level),
                            rule("game", 30, port=9, service=2, reporting_level=level)))
    it.ocs.script = [credit(quota(100_000), refused(OUT_OF_MONEY), quota(100_000))]
    await it.attach()
    assert not await it.passes(port=7)
    assert (await it.phone.ping(SERVER, count=1)).received == 1
    assert [service.stage.value for service in it.session.gy.services.values()][:3] == ["granted", "blocked", "granted"]


async def test_restricted_access_lets_only_the_filters_pass(bench: Open) -> None:
    it = await bench(filters={"portal": ["permit in 1 from any to any"]})
    it.ocs.script = [credit(last(2_000, FinalUnitAction.RESTRICT_ACCESS, names=("portal",), validity_time=300)),
                     credit(quota(None)), credit(last(None, FinalUnitAction.RESTRICT_ACCESS, names=("portal",), validity_time=300))]
    await it.attach()
    assert await it.passes()
    assert not await it.passes()
    assert (await it.phone.ping(SERVER, count=2)).received == 2         # the portal's filter: ICMP
    assert it.ocs.told()[1:] == [("update", [(10, 2_000, "QUOTA_EXHAUSTED", False)])]
    await asyncio.sleep(300)                            # Validity-Time: perhaps there is money now? there is none
    assert len(it.ocs.requests) == 3
    assert not await it.passes()
    await asyncio.sleep(300)
    assert await it.passes()
    await it.detach()
    assert it.ocs.octets() == 4_000                     # what the filters let pass is not charged


async def test_restricted_from_the_start_the_user_may_attach(bench: Open) -> None:
    rules = ("deny out 17 from any 9 to assigned", f"permit out ip from {SERVER} to assigned", "nonsense")
    it = await bench()
    it.ocs.script = [credit(last(None, FinalUnitAction.RESTRICT_ACCESS, rules=rules))]
    await it.attach()
    assert await it.passes()
    assert await it.ocs.re_authorise(it.session.gy.session_id) == ResultCode.DIAMETER_LIMITED_SUCCESS
    assert await it.passes()
    await it.detach()
    assert it.ocs.octets() == 2_000


async def test_the_pcrf_hears_of_the_end_of_credit_and_of_its_return(bench: Open) -> None:
    it = await bench(rules=(rule("echo", 20, port=7), rule("rest", 30, precedence=200)),
                     event_triggers=(gx.EventTrigger.OUT_OF_CREDIT, gx.EventTrigger.REALLOCATION_OF_CREDIT))
    it.ocs.script = [credit(last(2_000), quota(100_000))]
    await it.attach()
    assert await it.passes()
    await asyncio.sleep(0.1)
    [told] = it.policy_requests[1:]
    assert told.event_trigger == (gx.EventTrigger.OUT_OF_CREDIT,)
    [report] = told.charging_rule_report
    assert report.charging_rule_name == (b"echo",)
    assert report.final_unit_indication is not None
    assert report.final_unit_indication.final_unit_action is FinalUnitAction.TERMINATE
    await it.ocs.re_authorise(it.session.gy.session_id)
    assert [request.event_trigger for request in it.policy_requests[2:]] == [(gx.EventTrigger.REALLOCATION_OF_CREDIT,)]


@pytest.mark.parametrize("url", ["sip:shop@example", "http://", "http://shop.example:99999/", "ftp://shop.example/", "http://shop.example/ x",
                                 "http://shop.example/" + "x" * 2000])
async def test_redirection_that_http_cannot_follow_blocks(bench: Open, url: str) -> None:
    it = await bench()
    it.ocs.script = [credit(last(None, FinalUnitAction.REDIRECT, url=url, names=("unheard-of",)))]
    await it.attach()
    assert not await it.passes()
    await it.ocs.re_authorise(it.session.gy.session_id)
    assert await it.passes()


# --- the OCS speaks first ---------------------------------------------------------------------------------------------


async def test_re_authorisation_reports_and_asks_again(bench: Open) -> None:
    it = await bench()
    await it.attach()
    assert await it.passes()
    session_id = it.session.gy.session_id
    assert await it.ocs.re_authorise(session_id) == ResultCode.DIAMETER_LIMITED_SUCCESS
    await asyncio.sleep(0.1)
    assert it.ocs.told()[1:] == [("update", [(10, 2_000, "FORCED_REAUTHORISATION", True)])]
    assert await it.ocs.re_authorise("pgw;unknown") == ResultCode.DIAMETER_UNKNOWN_SESSION_ID
    assert await it.ocs.abort("pgw;unknown") == ResultCode.DIAMETER_UNKNOWN_SESSION_ID


async def test_abort_session_deletes_the_bearer_and_is_confirmed_with_the_last_report(bench: Open) -> None:
    it = await bench()
    await it.attach()
    assert await it.passes()
    assert await it.ocs.abort(it.session.gy.session_id) == ResultCode.DIAMETER_SUCCESS
    await asyncio.sleep(1)
    assert [request.linked_ebi for request in it.deleted] == [5]
    assert it.ocs.told()[-1] == ("termination", [(10, 2_000, "FINAL", False)])
    await it.assert_empty()


# --- an OCS that does not answer --------------------------------------------------------------------------------------

TERMINATE, CONTINUE = CreditControlFailureHandling.TERMINATE, CreditControlFailureHandling.CONTINUE
RETRY_AND_TERMINATE, MAY_MOVE = CreditControlFailureHandling.RETRY_AND_TERMINATE, CcSessionFailover.FAILOVER_SUPPORTED


@pytest.mark.parametrize("handling", ["terminate", "retry_and_terminate"])
async def test_silence_at_the_start_refuses_the_session(bench: Open, handling: str) -> None:
    it = await bench(failure_handling=handling)
    it.ocs.script = [silence]
    assert (await it.create()).cause.value == CauseValue.REQUEST_REJECTED
    await it.assert_empty()
    assert [kind for kind, _ in it.ocs.told()][-1] == "termination"     # it may have opened the session all the same


async def test_no_ocs_at_the_start_refuses_the_session_and_leaves_nothing_to_tell(bench: Open) -> None:
    it = await bench()
    await it.ocs.node.stop()
    await asyncio.sleep(1)
    assert (await it.create()).cause.value == CauseValue.REQUEST_REJECTED
    await it.assert_empty()


async def test_silence_at_the_start_and_the_service_goes_on_counted(bench: Open) -> None:
    it = await bench(failure_handling="continue")
    it.ocs.script = [silence] * 4
    await it.attach()
    for _ in range(5):
        assert await it.passes()
    await asyncio.sleep(60)                             # the OCS is back: its first answer is to the first request, sent again
    assert {request.cc_request_number for request in it.ocs.requests} == {0}
    assert all(packet.header.is_retransmitted for packet in it.ocs.packets[1:])
    assert it.session.gy.services[10, None].stage.value == "granted"
    await it.detach()
    assert it.ocs.told()[-1] == ("termination", [(10, 10_000, "FINAL", False)])
    assert it.ocs.octets() == it.forwarded()


async def test_silence_in_the_middle_ends_the_session_and_what_was_used_is_reported_once(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=TERMINATE), silence]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(10)
    assert len(it.deleted) == 1
    assert [(request.cc_request_type, request.cc_request_number) for request in it.ocs.requests] == [(1, 0), (2, 1), (2, 1), (3, 2)]
    assert it.ocs.packets[2].header.is_retransmitted
    assert it.ocs.packets[2].header.end_to_end == it.ocs.packets[1].header.end_to_end
    assert it.ocs.octets() == it.forwarded() == 4_000
    await it.assert_empty()


async def test_silence_in_the_middle_and_the_service_goes_on(bench: Open) -> None:
    it = await bench(retry_s=5)
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=CONTINUE), silence, silence, silence]
    await it.attach()
    assert await it.passes()
    assert await it.passes()
    assert not await it.passes()                        # until Tx ends
    await asyncio.sleep(3)
    for _ in range(5):
        assert await it.passes()
    await asyncio.sleep(30)
    assert it.session.gy.services[10, None].stage.value == "granted"
    await it.detach()
    assert it.ocs.octets() == it.forwarded() == 14_000


@pytest.mark.parametrize("handling", [CONTINUE, RETRY_AND_TERMINATE])
async def test_session_goes_on_at_the_other_ocs(bench: Open, handling: CreditControlFailureHandling) -> None:
    it = await bench(two_ocs=True)
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=handling, cc_session_failover=MAY_MOVE), silence]
    await it.attach()
    for _ in range(2):
        assert await it.passes()
    await asyncio.sleep(4)                              # Tx
    assert it.ocs2.told() == [("update", [(10, 4_000, "QUOTA_EXHAUSTED", True)])]
    assert it.ocs2.packets[0].header.is_retransmitted
    assert it.ocs2.packets[0].header.end_to_end == it.ocs.packets[1].header.end_to_end
    assert await it.passes()
    await it.detach()
    assert it.ocs2.requests[-1].destination_host == f"ocs2.{REALM}"
    assert (it.ocs2.octets(), it.forwarded()) == (6_000, 6_000)


async def test_session_may_not_move_and_ends_with_its_ocs(bench: Open) -> None:
    it = await bench(two_ocs=True)
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=RETRY_AND_TERMINATE, cc_session_failover=0)]
    await it.attach()
    await it.ocs.node.stop()
    await asyncio.sleep(1)
    while await it.passes():
        pass
    await asyncio.sleep(5)
    assert len(it.deleted) == 1
    assert it.ocs2.requests == []


async def test_first_request_goes_to_the_other_ocs_when_the_first_is_down(bench: Open) -> None:
    it = await bench(two_ocs=True)
    await it.ocs.node.stop()
    await asyncio.sleep(1)
    assert (await it.create()).cause == ACCEPTED
    assert it.ocs2.told() == [("initial", [(10, None, None, True)])]


async def test_both_silent_and_retry_and_terminate(bench: Open) -> None:
    it = await bench(two_ocs=True, failure_handling="retry_and_terminate", session_failover=True)
    it.ocs.script = [credit(quota(4_000)), silence, silence]
    it.ocs2.script = [silence, silence]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(30)
    assert len(it.deleted) == 1
    await it.assert_empty()


async def test_ocs_that_lost_the_session_gets_a_new_one_where_service_shall_go_on(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=CONTINUE), result(ResultCode.DIAMETER_UNKNOWN_SESSION_ID)]
    await it.attach()
    for _ in range(5):
        assert await it.passes()
        await asyncio.sleep(0.1)
    await it.detach()
    kinds = [(kind, services[0][1]) for kind, services in it.ocs.told()]
    assert kinds == [("initial", None), ("update", 4_000), ("initial", None), ("termination", 10_000)]
    assert it.ocs.requests[0].session_id != it.ocs.requests[2].session_id == it.ocs.requests[3].session_id
    assert it.ocs.requests[3].cc_request_number == 1
    await it.assert_empty()


async def test_ocs_that_lost_the_session_ends_it(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=TERMINATE), result(ResultCode.DIAMETER_UNKNOWN_SESSION_ID)]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(1)
    assert len(it.deleted) == 1
    assert it.ocs.told()[-1] == ("termination", [(10, 4_000, "FINAL", False)])      # what was refused before is told again
    await it.assert_empty()


async def test_refusal_in_the_middle(bench: Open) -> None:
    it = await bench()
    it.ocs.script = [credit(quota(4_000), credit_control_failure_handling=CONTINUE), result(ResultCode.DIAMETER_END_USER_SERVICE_DENIED)]
    await it.attach()
    while await it.passes():
        pass
    await asyncio.sleep(1)
    assert len(it.deleted) == 1                         # whatever CCFH says: this is no failure
    await it.assert_empty()


async def test_usage_that_no_ocs_takes_is_counted(bench: Open) -> None:
    it = await bench()
    await it.attach()
    assert await it.passes()
    it.ocs.otherwise = silence
    await it.detach()
    await asyncio.sleep(200)
    assert it.pgw.metrics.value("gy_unreported_octets_total") == 2_000
    await it.assert_empty()


async def test_pgw_that_stops_reports_what_was_used(bench: Open) -> None:
    it = await bench()
    await it.attach()
    assert await it.passes()
    await it.pgw.stop()
    assert it.ocs.told()[-1] == ("termination", [(10, 2_000, "FINAL", False)])


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gy_section", "complaint"), [
    ({"triggers": ["SUNSET"]}, "no trigger type is called SUNSET"),
    ({"redirect_allows": ["permit out 999 from any to any"]}, "no IP protocol 999"),
    ({"filters": {"x": ["let it be"]}}, "filters"),
    ({"peers": []}, "at least 1 entry"),
])
def test_wrong_configuration_is_explained(gy_section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config({"name": "pgw1", "s5c": {"host": S5}, "s5u": {"host": S5}, "apns": {"internet": {"ipv4_pool": "10.45.0.0/16"}},
                      "gy": {"peers": [{"host": OCS}], "origin_realm": REALM, **gy_section}}, PgwConfig, source="test")
