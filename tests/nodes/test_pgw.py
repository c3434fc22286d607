"""The PGW between a scripted SGW and a scripted PCRF, in memory on the virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
import pytest_asyncio

from epc.dataplane.forwarder import GtpuPort
from epc.dataplane.ip_endpoint import EndpointHost, udp_exchange
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session
from epc.dataplane.socket_backend import SocketForwarder
from epc.node import ConfigError, parse_config
from epc.peer.diameter import LocalIdentity
from epc.peer.gtpc import GtpcTimers, RequestReceived
from epc.peer.timer import TimerExpired
from epc.pgw import Pgw, PgwConfig
from epc.pgw.address_pool import AddressPool, AddressTaken, PoolEmpty
from epc.pgw.protocol_configuration import answer_options
from epc.transport.diameter import DiameterNode, ListenConfig
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address
from epc.transport.memory import MemoryNetwork
from epc.wire import gtpu, gtpv2
from epc.wire.diameter import Message as DiameterMessage
from epc.wire.diameter import Packet as DiameterPacket
from epc.wire.diameter import ResultCode
from epc.wire.diameter.groups import GX_APPLICATION, AllocationRetentionPriority
from epc.wire.diameter.gx import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    ReAuthAnswer,
    ReAuthRequest,
    SessionReleaseCause,
)
from epc.wire.diameter.policy import (
    ChargingRuleDefinition,
    ChargingRuleInstall,
    ChargingRuleRemove,
    DefaultEpsBearerQos,
    FlowInformation,
    FlowStatus,
    QosInformation,
    RuleFailureCode,
)
from epc.wire.gtpv2 import (
    Ambr,
    Arp,
    BearerContextModifyCommanded,
    BearerContextToBeCreated,
    BearerContextToBeModified,
    BearerContextUpdateAnswered,
    BearerQos,
    Cause,
    CauseValue,
    ChangeNotificationRequest,
    ChangeNotificationResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteBearerRequest,
    DeleteBearerResponse,
    DeleteSessionRequest,
    DeleteSessionResponse,
    Ecgi,
    EchoRequest,
    Fteid,
    InterfaceType,
    Message,
    ModifyBearerCommand,
    ModifyBearerFailureIndication,
    ModifyBearerRequest,
    ModifyBearerResponse,
    Paa,
    PdnType,
    RatType,
    Tai,
    Uli,
    UpdateBearerRequest,
    UpdateBearerResponse,
)
from epc.wire.identity import Imsi, Plmn
from epc.wire.nas.protocol_configuration import (
    Container,
    ContainerId,
    IpcpOption,
    IpcpPacket,
    decode_ipcp,
    decode_protocol_configuration_options,
    encode_ipcp,
    encode_protocol_configuration_options,
    request_of_ue,
)

# The warning: a timer that is due in less than the virtual clock's resolution, which the loop then runs at once.
pytestmark = pytest.mark.virtual_clock

SGW, S5C, S5U, PCRF, SERVER = "10.0.0.3", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.200.0.1"
IMSI = Imsi("001010000000001")
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
ACCEPTED = Cause(value=CauseValue.REQUEST_ACCEPTED)
QOS = BearerQos(qci=9, arp=Arp(priority_level=8))
AMBR = Ambr(uplink_kbps=1000, downlink_kbps=2000)
SGW_TEID, SGW_USER_TEID = 0x2001, 0x4001
Decide = Callable[[CreditControlRequest], CreditControlAnswer | None]


def decision(request: CreditControlRequest, **fields: Any) -> CreditControlAnswer:
    return CreditControlAnswer(
        session_id=request.session_id, origin_host=f"pcrf.{REALM}", origin_realm=REALM, cc_request_type=request.cc_request_type,
        cc_request_number=request.cc_request_number, **{"result_code": ResultCode.DIAMETER_SUCCESS, **fields},
    )


class Bench:
    def __init__(self, *, gx: dict[str, Any] | None = None, **config: Any) -> None:
        self.network = MemoryNetwork()
        settings: dict[str, Any] = {
            "name": "pgw1", "s5c": {"host": S5C}, "s5u": {"host": S5U}, "sgi_hosts": "in_process",
            "apns": {"internet": {"ipv4_pool": "10.45.0.0/29", "server": f"{SERVER}/24"}, "ims": {"ipv4_pool": "10.46.0.0/16"}},
            **config,
        }
        if gx is not None:
            settings["gx"] = {"peers": [{"host": PCRF}], "origin_realm": REALM, **gx}
        self.config = parse_config(settings, PgwConfig, source="test")
        self.pgw = Pgw(self.config, self.network.transport("pgw"), clock=lambda: 1000.0, entropy=random.Random(1))
        self.sgw = self.endpoint("sgw", SGW)
        self.answers: dict[type[Message], Callable[[RequestReceived], Message | None]] = {}
        self.requests: list[RequestReceived] = []
        self.credit: list[CreditControlRequest] = []
        self.decide: Decide = decision
        self.pcrf: DiameterNode | None = None
        if gx is not None:
            identity = LocalIdentity(origin_host=f"pcrf.{REALM}", origin_realm=REALM, applications=(GX_APPLICATION,))
            self.pcrf = DiameterNode(
                self.network.transport("pcrf"), identity, interface="Gx", entropy=random.Random(2), clock=lambda: 1000.0,
                on_request=self.serve_gx, listen=(ListenConfig(address=Address(PCRF, 3868)),),
            )

    def endpoint(self, name: str, host: str, restart_counter: int = 1) -> GtpcEndpoint:
        return GtpcEndpoint(
            self.network.transport(name), Address(host, 2123), interface="S5/S8", restart_counter=restart_counter, on_request=self.serve,
            timers=GtpcTimers(echo_interval_s=None),
        )

    async def start(self, *, with_pcrf: bool = True) -> None:
        if self.pcrf is not None and with_pcrf:
            await self.pcrf.start()
        await self.pgw.start()
        await self.sgw.open()
        if self.pcrf is not None and with_pcrf:
            assert self.pgw.gx is not None
            await self.pgw.gx.wait_connected(GX_APPLICATION)

    async def stop(self) -> None:
        await self.pgw.stop()
        await self.sgw.close()
        if self.pcrf is not None:
            await self.pcrf.stop()

    def serve(self, received: RequestReceived) -> None:
        self.requests.append(received)
        script = self.answers.get(type(received.message))
        answer = script(received) if script is not None else None
        if answer is not None:
            self.sgw.respond(received, answer, self.pgw_teid)

    @property
    def pgw_teid(self) -> int:
        return next((session.s5c_pgw_teid for session in self.pgw.sessions.values()), 0)

    async def serve_gx(self, packet: DiameterPacket) -> DiameterMessage:
        request = packet.message
        assert isinstance(request, CreditControlRequest)
        self.credit.append(request)
        answer = self.decide(request)
        if answer is None:
            await asyncio.sleep(3600)
            raise AssertionError("nobody waits that long")
        return answer

    async def ask(self, message: Message, teid: int = 0) -> Message:
        return (await self.sgw.request(Address(S5C, 2123), teid, message)).message

    async def create(self, request: CreateSessionRequest | None = None) -> CreateSessionResponse:
        answer = await self.ask(request or create_session_request())
        assert isinstance(answer, CreateSessionResponse)
        return answer

    async def rejected(self, request: CreateSessionRequest) -> Cause:
        answer = await self.create(request)
        assert not answer.cause.is_accepted
        return answer.cause

    async def push(self, **fields: Any) -> ReAuthAnswer:
        assert self.pcrf is not None
        assert self.pgw.gx is not None
        request = ReAuthRequest(
            session_id=self.credit[0].session_id, origin_host=f"pcrf.{REALM}", origin_realm=REALM, destination_realm=REALM,
            destination_host=self.pgw.gx.identity.origin_host, **fields,
        )
        answer = (await self.pcrf.request(request)).message
        assert isinstance(answer, ReAuthAnswer)
        return answer

    def terminations(self) -> list[CreditControlRequest]:
        return [request for request in self.credit if request.cc_request_type == CcRequestType.TERMINATION_REQUEST]

    async def assert_empty(self) -> None:
        """Nothing is left of any session, at the PCRF either."""
        await asyncio.sleep(5.0)
        pgw = self.pgw
        assert pgw.sessions == pgw._by_session_id == pgw._by_gx == pgw._establishing == {}
        assert len(pgw.control_teids) == 0
        assert [len(pool) for pool in pgw.pools.values()] == [0, 0]
        assert pgw.forwarder.sessions() == ()
        assert list(pgw.tunnels()) == []
        assert pgw._show_paths() == []
        assert len(pgw.runner) == 0
        assert pgw.s5.machine.outstanding == 0


def create_session_request(apn: str = "internet", imsi: str = IMSI, address: int = 0, **fields: Any) -> CreateSessionRequest:
    context = BearerContextToBeCreated(ebi=5, s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, SGW_USER_TEID, SGW), bearer_qos=QOS)
    values: dict[str, Any] = {
        "imsi": Imsi(imsi), "msisdn": "3312345678", "mei": "3512345678901234", "uli": Uli(tai=Tai("00101", 7), ecgi=Ecgi("00101", 0xA1B01)),
        "serving_network": Plmn("00101"), "rat_type": RatType.EUTRAN, "sender_fteid": Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, SGW_TEID, SGW),
        "apn": apn, "pdn_type": PdnType.IPV4, "paa": Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address(address)), "ambr": AMBR,
        "bearer_contexts_to_be_created": (context,),
    }
    return CreateSessionRequest(**{**values, **fields})


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """Without PCRF."""
    bench = Bench()
    await bench.start()
    yield bench
    await bench.stop()


@pytest_asyncio.fixture
async def gx_bench() -> AsyncIterator[Bench]:
    bench = Bench(gx={})
    await bench.start()
    yield bench
    await bench.stop()


# --- the ladder ---------------------------------------------------------------------------------------------------------------


async def test_session_gets_address_and_tunnels_and_gives_them_back(bench: Bench) -> None:
    answer = await bench.create()
    assert answer.cause == ACCEPTED
    assert answer.paa == Paa(pdn_type=PdnType.IPV4, ipv4=IPv4Address("10.45.0.1"))
    assert answer.pgw_fteid is not None
    assert (answer.pgw_fteid.interface_type, answer.pgw_fteid.host) == (InterfaceType.S5_S8_PGW_GTP_C, S5C)
    [context] = answer.bearer_contexts_created
    assert (context.ebi, context.cause, context.bearer_qos) == (5, ACCEPTED, None)
    assert context.s5u_pgw_fteid is not None
    assert context.s5u_pgw_fteid.host == S5U
    held = {end.label: end.teid for end in bench.pgw.tunnels()}
    assert held == {"t2": SGW_TEID, "t3": SGW_USER_TEID, "t4": answer.pgw_fteid.teid, "t5": context.s5u_pgw_fteid.teid}
    deleted = await bench.ask(DeleteSessionRequest(linked_ebi=5), answer.pgw_fteid.teid)
    assert deleted == DeleteSessionResponse(cause=ACCEPTED)
    await bench.assert_empty()


async def test_packets_go_from_the_tunnel_to_the_server_on_sgi_and_back(bench: Bench) -> None:
    """A phone's IP stack behind a forwarder that plays SGW and eNodeB in one."""
    answer = await bench.create()
    [context] = answer.bearer_contexts_created
    assert context.s5u_pgw_fteid is not None
    access = await SocketForwarder.open(bench.network.transport("sgw"), core=GtpuPort(address=SGW, interface="S5/S8-U"))
    phone = EndpointHost("phone", IPv4Interface("10.45.0.1/32"))
    access.connect("phone", phone.link)
    access.install(
        Session(
            id=1,
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, network_instance="phone", far_id=1),
                Pdr(id=2, source_interface=Interface.CORE, local_f_teid=FTeid(teid=SGW_USER_TEID, address=SGW), far_id=2),
            ),
            fars=(
                Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=FTeid(teid=context.s5u_pgw_fteid.teid, address=S5U)),
                Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance="phone"),
            ),
        )
    )
    assert bench.pgw.sgi_server == SERVER
    assert (await phone.ping(SERVER, count=3)).received == 3
    assert await udp_exchange(phone, SERVER, 7, b"hello") == b"hello"
    await phone.close()
    await access.close()


async def test_charging_ids_and_teids_differ(bench: Bench) -> None:
    first, second = await bench.create(), await bench.create(create_session_request(imsi="001010000000002"))
    ids = [answer.bearer_contexts_created[0].charging_id for answer in (first, second)]
    assert ids[0] != ids[1]
    assert first.pgw_fteid != second.pgw_fteid
    assert [str(answer.paa.ipv4) for answer in (first, second) if answer.paa] == ["10.45.0.1", "10.45.0.2"]


async def test_apn_with_operator_identifier_is_the_same_apn(bench: Bench) -> None:
    assert (await bench.create(create_session_request("Internet.mnc001.mcc001.gprs"))).cause == ACCEPTED


async def test_modify_bearer_moves_the_tunnels_to_another_sgw(bench: Bench) -> None:
    await bench.create()
    moved = ModifyBearerRequest(
        sender_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_C, 0x2002, "10.0.0.33"),
        bearer_contexts_to_be_modified=(
            BearerContextToBeModified(ebi=5, s5u_sgw_fteid=Fteid.at(InterfaceType.S5_S8_SGW_GTP_U, 0x4002, "10.0.0.34")),
        ),
    )
    answer = await bench.ask(moved, bench.pgw_teid)
    assert isinstance(answer, ModifyBearerResponse)
    assert (answer.cause, answer.msisdn) == (ACCEPTED, "3312345678")
    held = {end.label: (end.teid, end.address) for end in bench.pgw.tunnels()}
    assert (held["t2"], held["t3"]) == ((0x2002, "10.0.0.33"), (0x4002, "10.0.0.34"))
    assert [path["peer"] for path in bench.pgw.s5.machine.describe_paths()] == ["10.0.0.33"]


async def test_change_notification_is_acknowledged(bench: Bench) -> None:
    await bench.create()
    answer = await bench.ask(ChangeNotificationRequest(rat_type=RatType.EUTRAN), bench.pgw_teid)
    assert isinstance(answer, ChangeNotificationResponse)
    assert answer.cause == ACCEPTED


# --- protocol configuration options -------------------------------------------------------------------------------------------


async def test_ue_is_told_dns_servers_and_mtu(bench: Bench) -> None:
    asked = request_of_ue(identifiers=(ContainerId.DNS_SERVER_IPV4_ADDRESS, ContainerId.IPV4_LINK_MTU, ContainerId.P_CSCF_IPV4_ADDRESS))
    answer = await bench.create(create_session_request(pco=encode_protocol_configuration_options(asked)))
    assert answer.pco is not None
    options = decode_protocol_configuration_options(answer.pco)
    assert [str(address) for address in options.dns_server_ipv4_addresses] == ["8.8.8.8", "8.8.4.4"]
    assert options.ipv4_link_mtu_octets == 1400
    assert options.contents(ContainerId.P_CSCF_IPV4_ADDRESS) == ()


async def test_ue_that_asks_for_nothing_is_told_nothing(bench: Bench) -> None:
    assert (await bench.create()).pco is None
    assert answer_options(b"", bench.config.apns["internet"]) is None


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        ((IpcpOption(type=129, data=bytes(4)), IpcpOption(type=131, data=bytes(4))), 3, {129: "08080808", 131: "08080404"}),
        ((IpcpOption(type=3, data=bytes(4)),), 4, {3: "00000000"}),
    ],
)
async def test_ipcp_is_negotiated(bench: Bench, options: tuple[IpcpOption, ...], code: int, expected: dict[int, str]) -> None:
    packet = encode_ipcp(IpcpPacket(code=1, identifier=7, options=options))
    asked = replace(request_of_ue(identifiers=()), containers=(Container(identifier=ContainerId.IPCP, contents=packet),))
    answer = answer_options(encode_protocol_configuration_options(asked), bench.config.apns["internet"])
    assert answer is not None
    [contents] = decode_protocol_configuration_options(answer).contents(ContainerId.IPCP)
    answered = decode_ipcp(contents)
    assert (answered.code, answered.identifier) == (code, 7)
    assert {option.type: option.data.hex() for option in answered.options} == expected


# --- refusals -----------------------------------------------------------------------------------------------------------------


async def test_unknown_apn(bench: Bench) -> None:
    assert (await bench.rejected(create_session_request("corporate"))).value == CauseValue.MISSING_OR_UNKNOWN_APN
    await bench.assert_empty()
    assert bench.pgw.metrics.value("procedure_failures_total", procedure="create_session", result="rejected", cause="MISSING_OR_UNKNOWN_APN") == 1


async def test_empty_pool(bench: Bench) -> None:
    for number in range(6):                                     # a /29 has six addresses
        assert (await bench.create(create_session_request(imsi=f"00101000000000{number}"))).cause == ACCEPTED
    assert (await bench.rejected(create_session_request(imsi="001010000000009"))).value == CauseValue.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED
    assert bench.pgw.metrics.value("addresses_free") == 65534


async def test_static_address_of_the_subscription(bench: Bench) -> None:
    wanted = int(IPv4Address("10.45.0.4"))
    answer = await bench.create(create_session_request(address=wanted))
    assert answer.paa is not None
    assert int(answer.paa.ipv4 or 0) == wanted
    assert (await bench.rejected(create_session_request(imsi="001010000000002", address=wanted))).value == CauseValue.REQUEST_REJECTED


async def test_dual_stack_ue_gets_ipv4_only(bench: Bench) -> None:
    answer = await bench.create(create_session_request(pdn_type=PdnType.IPV4V6))
    assert answer.cause.value == CauseValue.NEW_PDN_TYPE_DUE_TO_NETWORK_PREFERENCE


async def test_ipv6_only_is_refused(bench: Bench) -> None:
    assert (await bench.rejected(create_session_request(pdn_type=PdnType.IPV6))).value == CauseValue.PREFERRED_PDN_TYPE_NOT_SUPPORTED


async def test_missing_conditional_elements_are_named(bench: Bench) -> None:
    cause = await bench.rejected(replace(create_session_request(), imsi=None))
    assert cause == gtpv2.conditional_ie_missing(CreateSessionRequest, "imsi")
    context = BearerContextToBeCreated(ebi=5, bearer_qos=QOS)
    cause = await bench.rejected(create_session_request(bearer_contexts_to_be_created=(context,)))
    assert cause == gtpv2.conditional_ie_missing(BearerContextToBeCreated, "s5u_sgw_fteid")
    await bench.assert_empty()


@pytest.mark.parametrize("message", [DeleteSessionRequest(linked_ebi=5), ModifyBearerRequest()])
async def test_unknown_teid_is_context_not_found(bench: Bench, message: Message) -> None:
    answer = await bench.ask(message, 0x77)
    assert isinstance(answer, DeleteSessionResponse | ModifyBearerResponse)
    assert answer.cause.value == CauseValue.CONTEXT_NOT_FOUND


async def test_other_default_bearer_is_context_not_found(bench: Bench) -> None:
    await bench.create()
    answer = await bench.ask(DeleteSessionRequest(linked_ebi=6), bench.pgw_teid)
    assert isinstance(answer, DeleteSessionResponse)
    assert answer.cause.value == CauseValue.CONTEXT_NOT_FOUND
    assert len(bench.pgw.sessions) == 1


async def test_unserved_request_is_service_not_supported(bench: Bench) -> None:
    await bench.create()
    answer = await bench.ask(gtpv2.SuspendNotification(), bench.pgw_teid)
    assert isinstance(answer, gtpv2.SuspendAcknowledge)
    assert answer.cause.value == CauseValue.SERVICE_NOT_SUPPORTED


# --- Gx -----------------------------------------------------------------------------------------------------------------------


async def test_pcrf_is_told_who_and_where_and_decides(gx_bench: Bench) -> None:
    gx_bench.decide = lambda request: decision(
        request,
        default_eps_bearer_qos=DefaultEpsBearerQos(
            qos_class_identifier=7, allocation_retention_priority=AllocationRetentionPriority(priority_level=3, pre_emption_capability=0)
        ),
        qos_information=(QosInformation(apn_aggregate_max_bitrate_ul=5_000_000, apn_aggregate_max_bitrate_dl=10_000_000),),
    )
    answer = await gx_bench.create()
    [request] = gx_bench.credit
    assert (request.cc_request_type, request.cc_request_number) == (CcRequestType.INITIAL_REQUEST, 0)
    assert request.framed_ip_address == IPv4Address("10.45.0.1")
    assert request.called_station_id == "internet"
    assert [each.subscription_id_data for each in request.subscription_id] == [IMSI, "3312345678"]
    assert request.tgpp_user_location_info == bytes.fromhex("82 00f1100007 00f110000a1b01")
    assert request.qos_information is not None
    assert request.qos_information.apn_aggregate_max_bitrate_ul == 1_000_000
    assert answer.ambr == Ambr(uplink_kbps=5000, downlink_kbps=10000)
    assert answer.bearer_contexts_created[0].bearer_qos == BearerQos(qci=7, arp=Arp(priority_level=3, pre_emption_capability=True))
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), gx_bench.pgw_teid)
    await gx_bench.assert_empty()
    [last] = gx_bench.terminations()
    assert (last.session_id, last.cc_request_number, last.destination_host) == (request.session_id, 1, f"pcrf.{REALM}")


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (ResultCode.DIAMETER_AUTHORIZATION_REJECTED, CauseValue.USER_AUTHENTICATION_FAILED),
        (ResultCode.DIAMETER_RESOURCES_EXCEEDED, CauseValue.NO_RESOURCES_AVAILABLE),
        (ResultCode.DIAMETER_UNABLE_TO_COMPLY, CauseValue.REQUEST_REJECTED),
    ],
)
async def test_refusal_of_the_pcrf(gx_bench: Bench, result: ResultCode, cause: CauseValue) -> None:
    gx_bench.decide = lambda request: decision(request, result_code=result)
    assert (await gx_bench.rejected(create_session_request())).value == cause
    await gx_bench.assert_empty()
    assert gx_bench.terminations() == []


async def test_every_request_tells_when_the_pgw_started(gx_bench: Bench) -> None:
    """RFC 6733 clause 8.16: so that the PCRF forgets what the PGW has forgotten in a restart."""
    answer = await gx_bench.create()
    assert answer.pgw_fteid is not None
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), answer.pgw_fteid.teid)
    await gx_bench.assert_empty()
    assert gx_bench.pgw.gx is not None
    assert [request.origin_state_id for request in gx_bench.credit] == [gx_bench.pgw.gx.identity.origin_state_id] * 2


async def test_end_is_told_again_to_a_pcrf_that_does_not_answer(gx_bench: Bench) -> None:
    answer = await gx_bench.create()
    assert answer.pgw_fteid is not None
    gx_bench.decide = lambda request: decision(request) if len(gx_bench.terminations()) > 2 else None
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), answer.pgw_fteid.teid)
    await asyncio.sleep(30)
    assert [request.cc_request_number for request in gx_bench.terminations()] == [1, 1, 1]
    await gx_bench.assert_empty()
    assert gx_bench.pgw.metrics.value("procedure_successes_total", procedure="ip_can_session_termination") == 1


async def test_end_that_the_pcrf_knows_nothing_of_is_counted_with_its_cause(gx_bench: Bench) -> None:
    answer = await gx_bench.create()
    assert answer.pgw_fteid is not None
    gx_bench.decide = lambda request: decision(request, result_code=ResultCode.DIAMETER_UNKNOWN_SESSION_ID)
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), answer.pgw_fteid.teid)
    await gx_bench.assert_empty()
    assert gx_bench.pgw.metrics.value(
        "procedure_failures_total", procedure="ip_can_session_termination", result="rejected", cause="DIAMETER_UNKNOWN_SESSION_ID") == 1


async def test_silent_pcrf_refuses_and_is_told_of_the_end(gx_bench: Bench) -> None:
    gx_bench.decide = lambda request: None if request.cc_request_type == CcRequestType.INITIAL_REQUEST else decision(request)
    assert (await gx_bench.rejected(create_session_request())).value == CauseValue.REQUEST_REJECTED
    await gx_bench.assert_empty()
    assert len(gx_bench.terminations()) == 1


@pytest.mark.parametrize("absent", [True, False])
async def test_configured_to_continue_without_pcrf(absent: bool) -> None:
    bench = Bench(gx={"on_failure": "continue"})
    await bench.start(with_pcrf=not absent)
    bench.decide = lambda request: None if request.cc_request_type == CcRequestType.INITIAL_REQUEST else decision(request)
    answer = await bench.create()
    assert (answer.cause, answer.ambr) == (ACCEPTED, AMBR)
    await bench.ask(DeleteSessionRequest(linked_ebi=5), bench.pgw_teid)
    await bench.assert_empty()
    await bench.stop()


async def test_absent_pcrf_refuses(gx_bench: Bench) -> None:
    assert gx_bench.pcrf is not None
    await gx_bench.pcrf.stop()
    await asyncio.sleep(1.0)
    assert (await gx_bench.rejected(create_session_request())).value == CauseValue.REQUEST_REJECTED
    await gx_bench.assert_empty()
    assert not gx_bench.pgw.is_ready()


async def test_pcrf_ends_the_session(gx_bench: Bench) -> None:
    gx_bench.answers[DeleteBearerRequest] = lambda _: DeleteBearerResponse(cause=ACCEPTED, linked_ebi=5)
    await gx_bench.create()
    answer = await gx_bench.push(session_release_cause=SessionReleaseCause.UNSPECIFIED_REASON)
    assert answer.result == ResultCode.DIAMETER_SUCCESS
    await gx_bench.assert_empty()
    [request] = [each.message for each in gx_bench.requests]
    assert isinstance(request, DeleteBearerRequest)
    assert (request.linked_ebi, request.cause) == (5, Cause(value=CauseValue.REACTIVATION_REQUESTED))
    assert len(gx_bench.terminations()) == 1


async def test_pcrf_ends_the_session_although_the_sgw_is_silent(gx_bench: Bench) -> None:
    await gx_bench.create()
    await gx_bench.push(session_release_cause=SessionReleaseCause.UNSPECIFIED_REASON)
    await asyncio.sleep(60.0)
    await gx_bench.assert_empty()


async def test_pcrf_changes_the_bit_rate(gx_bench: Bench) -> None:
    gx_bench.answers[UpdateBearerRequest] = lambda _: UpdateBearerResponse(
        cause=ACCEPTED, bearer_contexts=(BearerContextUpdateAnswered(ebi=5, cause=ACCEPTED),)
    )
    await gx_bench.create()
    await gx_bench.push(qos_information=(QosInformation(apn_aggregate_max_bitrate_ul=3_000_000, apn_aggregate_max_bitrate_dl=4_000_000),))
    await asyncio.sleep(1.0)
    [request] = [each.message for each in gx_bench.requests]
    assert isinstance(request, UpdateBearerRequest)
    assert request.ambr == Ambr(uplink_kbps=3000, downlink_kbps=4000)
    [session] = gx_bench.pgw.sessions.values()
    assert session.policy.ambr == request.ambr
    [rules] = gx_bench.pgw.forwarder.sessions()
    assert rules.qers[0].downlink_mbr_bps == 4_000_000


async def test_pcrf_of_an_unknown_session_is_told_so(gx_bench: Bench) -> None:
    await gx_bench.create()
    gx_bench.credit[0] = replace(gx_bench.credit[0], session_id="no;such;session")
    assert (await gx_bench.push()).result == ResultCode.DIAMETER_UNKNOWN_SESSION_ID


def _rule(name: bytes, flow: str, status: FlowStatus = FlowStatus.ENABLED, qci: int | None = None) -> ChargingRuleDefinition:
    return ChargingRuleDefinition(
        charging_rule_name=name, flow_information=(FlowInformation(flow_description=flow),), flow_status=status, precedence=100,
        qos_information=None if qci is None else QosInformation(qos_class_identifier=qci),
    )


async def test_rules_close_gates_and_go_again(gx_bench: Bench) -> None:
    blocked = _rule(b"no-dns", "permit out 17 from any 53 to assigned", FlowStatus.DISABLED)
    gx_bench.decide = lambda request: decision(request, charging_rule_install=(ChargingRuleInstall(charging_rule_definition=(blocked,)),))
    await gx_bench.create()
    [rules] = gx_bench.pgw.forwarder.sessions()
    assert sorted(pdr.id for pdr in rules.pdrs) == [0, 1, 2, 3]
    assert [qer.uplink_gate.name for qer in rules.qers] == ["OPEN", "CLOSED"]
    await gx_bench.push(charging_rule_remove=(ChargingRuleRemove(charging_rule_name=(b"no-dns",)),))
    [rules] = gx_bench.pgw.forwarder.sessions()
    assert sorted(pdr.id for pdr in rules.pdrs) == [0, 1]


async def test_rules_that_cannot_be_are_reported(gx_bench: Bench) -> None:
    await gx_bench.create()
    answer = await gx_bench.push(
        charging_rule_install=(
            ChargingRuleInstall(
                charging_rule_definition=(_rule(b"voice", "permit out ip from any to assigned", qci=1), _rule(b"odd", "deny in everything")),
                charging_rule_name=(b"predefined",),
            ),
        )
    )
    failures = {report.charging_rule_name[0]: report.rule_failure_code for report in answer.charging_rule_report}
    assert failures == {
        b"voice": RuleFailureCode.UNSUCCESSFUL_QOS_VALIDATION, b"odd": RuleFailureCode.INCORRECT_FLOW_INFORMATION,
        b"predefined": RuleFailureCode.UNKNOWN_RULE_NAME,
    }


async def test_rules_of_the_first_decision_that_cannot_be_are_reported_later(gx_bench: Bench) -> None:
    """Once only, although this PCRF insists on it in every answer."""
    install = ChargingRuleInstall(charging_rule_definition=(_rule(b"voice", "permit out ip from any to assigned", qci=1),))
    gx_bench.decide = lambda request: decision(request, charging_rule_install=(install,))
    assert (await gx_bench.create()).cause == ACCEPTED
    await asyncio.sleep(1.0)
    [_, update] = gx_bench.credit
    assert update.cc_request_type == CcRequestType.UPDATE_REQUEST
    assert [report.charging_rule_name for report in update.charging_rule_report] == [(b"voice",)]


# --- replacement, loss, restart -----------------------------------------------------------------------------------------------


async def test_second_session_of_the_same_bearer_replaces_the_first(gx_bench: Bench) -> None:
    first, second = await gx_bench.create(), await gx_bench.create()
    assert first.pgw_fteid != second.pgw_fteid
    await asyncio.sleep(1.0)
    assert len(gx_bench.pgw.sessions) == len(gx_bench.pgw.forwarder.sessions()) == 1
    assert [request.session_id for request in gx_bench.terminations()] == [gx_bench.credit[0].session_id]
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), gx_bench.pgw_teid)
    await gx_bench.assert_empty()


async def test_second_request_during_the_first_takes_over(gx_bench: Bench) -> None:
    held: list[CreditControlRequest] = []

    def hold_the_first(request: CreditControlRequest) -> CreditControlAnswer | None:
        held.append(request)
        return None if len(held) == 1 else decision(request)

    gx_bench.decide = hold_the_first
    first = asyncio.create_task(gx_bench.create())
    await asyncio.sleep(0.5)
    assert (await gx_bench.create()).cause == ACCEPTED
    with pytest.raises(TimerExpired):
        await first
    assert len(gx_bench.pgw.sessions) == 1
    assert [request.session_id for request in gx_bench.terminations()] == [held[0].session_id]
    await gx_bench.ask(DeleteSessionRequest(linked_ebi=5), gx_bench.pgw_teid)
    await gx_bench.assert_empty()


async def test_restarted_sgw_loses_its_sessions(gx_bench: Bench) -> None:
    await gx_bench.create()
    for counter in (1, 2):
        gx_bench.sgw.machine.request(Address(S5C, 2123), EchoRequest(recovery=counter), teid=None, now=asyncio.get_running_loop().time())
        gx_bench.sgw._flush()
        await asyncio.sleep(1.0)
    await gx_bench.assert_empty()
    assert len(gx_bench.terminations()) == 1


async def test_error_indication_of_the_sgw_ends_the_session(bench: Bench) -> None:
    await bench.create()
    port = await bench.network.transport("sgw").open_udp(Address(SGW, 2152), lambda *_: None, interface="S5/S8-U")
    port.send(gtpu.encode(gtpu.ErrorIndication(teid=SGW_USER_TEID, peer_address=IPv4Address(SGW))), Address(S5U, 2152))
    await bench.assert_empty()
    port.close()


async def test_hss_changes_the_subscription(bench: Bench) -> None:
    bench.answers[UpdateBearerRequest] = lambda _: UpdateBearerResponse(
        cause=ACCEPTED, bearer_contexts=(BearerContextUpdateAnswered(ebi=5, cause=ACCEPTED),)
    )
    await bench.create()
    command = ModifyBearerCommand(ambr=Ambr(uplink_kbps=7, downlink_kbps=8), bearer_context=BearerContextModifyCommanded(ebi=5))
    answer = await bench.ask(command, bench.pgw_teid)
    assert isinstance(answer, UpdateBearerRequest)
    assert answer.ambr == command.ambr
    await asyncio.sleep(1.0)
    [session] = bench.pgw.sessions.values()
    assert session.policy.ambr == command.ambr


async def test_command_about_an_unknown_bearer_fails(bench: Bench) -> None:
    await bench.create()
    command = ModifyBearerCommand(ambr=AMBR, bearer_context=BearerContextModifyCommanded(ebi=9))
    answer = await bench.ask(command, bench.pgw_teid)
    assert isinstance(answer, ModifyBearerFailureIndication)
    assert answer.cause.value == CauseValue.CONTEXT_NOT_FOUND


# --- pool, configuration, state -----------------------------------------------------------------------------------------------


def test_pool_gives_addresses_again_as_late_as_possible() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/29"), (IPv4Address("10.0.0.1"),))
    assert pool.size == 5
    given = [str(pool.allocate()) for _ in range(2)]
    assert given == ["10.0.0.2", "10.0.0.3"]
    pool.release(IPv4Address("10.0.0.2"))
    pool.take(IPv4Address("10.0.0.6"))
    assert [str(pool.allocate()) for _ in range(3)] == ["10.0.0.4", "10.0.0.5", "10.0.0.2"]
    with pytest.raises(PoolEmpty):
        pool.allocate()
    for taken in ("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.7", "10.0.1.1"):
        with pytest.raises(AddressTaken):
            pool.take(IPv4Address(taken))
    pool.release(IPv4Address("10.0.0.6"))
    assert str(pool.allocate()) == "10.0.0.6"


async def test_views_show_what_there_is(gx_bench: Bench) -> None:
    await gx_bench.create()
    shown: dict[str, Any] = {name: view() for name, view in gx_bench.pgw.views().items()}
    assert (shown["sessions"][0]["imsi"], shown["sessions"][0]["ip"]) == (IMSI, "10.45.0.1")
    assert shown["pools"][0] == {"apn": "internet", "pool": "10.45.0.0/29", "used": 1, "size": 6}
    assert shown["paths"][0]["peer"] == SGW
    assert shown["peers"][0]["usable"]
    assert gx_bench.pgw.metrics.value("sessions") == 1


@pytest.mark.parametrize(
    ("apns", "problem"),
    [
        ({}, "apns"),
        ({"a": {"ipv4_pool": "10.0.0.0/16"}, "b": {"ipv4_pool": "10.0.1.0/24"}}, "overlaps"),
        ({"a": {"ipv4_pool": "10.0.0.0/31"}}, "30 bits"),
        ({"a": {"ipv4_pool": "10.0.0.0/24", "server": "10.0.0.1/24"}}, "server"),
        ({"a": {"ipv4_pool": "10.0.0.0/24", "reserved": ["10.0.1.1"]}}, "reserved"),
    ],
)
def test_wrong_configuration_is_named(apns: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Bench(apns=apns)
