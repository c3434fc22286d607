"""An MME among scripted peers: eNodeB with phones, HSS and SGW, made of the codecs alone, on the in-memory network and a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from epc.mme import Mme, MmeConfig
from epc.peer.diameter import LocalIdentity
from epc.peer.gtpc import RequestReceived
from epc.peer.nas_security import NasSecurityContext, Side
from epc.security.nas_algorithms import Eea, Eia
from epc.transport.diameter import DiameterNode, ListenConfig
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address, Association
from epc.transport.memory import MemoryNetwork
from epc.wire import diameter, gtpv2, nas, s1ap
from epc.wire.diameter import S6A_APPLICATION, ResultCode, s6a
from epc.wire.diameter.groups import AllocationRetentionPriority
from epc.wire.diameter.subscription import (
    Ambr,
    ApnConfiguration,
    ApnConfigurationProfile,
    EpsSubscribedQosProfile,
    PdnType,
    SubscriptionData,
)
from epc.wire.identity import encode_plmn

PLMN = "00101"
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
MME_S1, MME_S11, SGW, HSS = Address("127.0.0.10", 36412), Address("127.0.0.10", 2123), Address("127.0.0.20", 2123), Address("127.0.0.30", 3868)
ENB_ADDRESS, SGW_USER_ADDRESS = IPv4Address("127.0.0.40"), IPv4Address("127.0.0.20")
IMSI = "001010000000001"


def config(**changes: Any) -> MmeConfig:
    return MmeConfig.model_validate({
        "name": "mme1", "admin": {"enabled": False}, "s1": [{"host": MME_S1.host}], "s11": {"host": MME_S11.host},
        "s6a": {"peers": [{"host": HSS.host}]}, "gummeis": [{"plmn": PLMN, "mme_group_id": 0x8001, "mme_code": 2}],
        "tais": [{"plmn": PLMN, "tacs": [1, 2]}], "sgws": [{"host": SGW.host}],
        "pgws": [{"host": "127.0.0.50", "apns": ["internet", "ims"]}]} | changes)


def apn(context_identifier: int, name: str) -> ApnConfiguration:
    return ApnConfiguration(
        context_identifier=context_identifier, pdn_type=PdnType.IPV4, service_selection=name,
        eps_subscribed_qos_profile=EpsSubscribedQosProfile(
            qos_class_identifier=9, allocation_retention_priority=AllocationRetentionPriority(priority_level=8)),
        ambr=Ambr(max_requested_bandwidth_ul=50_000_000, max_requested_bandwidth_dl=100_000_000))


SUBSCRIPTION = SubscriptionData(
    msisdn="34600000001",
    ambr=Ambr(max_requested_bandwidth_ul=500_000_000, max_requested_bandwidth_dl=1_000_000_000),
    apn_configuration_profile=ApnConfigurationProfile(
        context_identifier=1, all_apn_configurations_included_indicator=0, apn_configuration=(apn(1, "internet"), apn(2, "ims"), apn(3, "nowhere"))))


class ScriptedHss:
    """Answers everything with success; ``on[type]`` changes that: a function of the request, or of nothing that returns ``None`` for silence."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.received: list[Any] = []
        self.on: dict[type, Callable[[Any], Any]] = {}
        self.vectors: dict[bytes, s6a.EUtranVector] = {}
        self.subscription: SubscriptionData | None = SUBSCRIPTION
        self._silence: list[asyncio.Future[Any]] = []
        self.endpoint = DiameterNode(
            network.transport("hss"), LocalIdentity(origin_host=f"hss.{REALM}", origin_realm=REALM, applications=(S6A_APPLICATION,)),
            interface="S6a", entropy=random.Random(2), clock=lambda: 1.7e9, on_request=self._serve, listen=[ListenConfig(address=HSS)])

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.received if isinstance(each, kind)]

    def common(self, request: Any) -> dict[str, Any]:
        return {"session_id": request.session_id, "origin_host": f"hss.{REALM}", "origin_realm": REALM}

    def failure(self, answer: type, code: diameter.ExperimentalResultCode, **more: Any) -> Callable[[Any], Any]:
        return lambda request: answer(experimental_result=diameter.experimental_result(code), **self.common(request), **more)

    def silent(self, _: Any) -> Awaitable[Any]:
        future = asyncio.get_running_loop().create_future()
        self._silence.append(future)
        return future

    def _serve(self, packet: Any) -> Any:
        request = packet.message
        self.received.append(request)
        behaviour = self.on.get(type(request))
        if behaviour is not None:
            return behaviour(request)
        common = self.common(request) | {"result_code": ResultCode.DIAMETER_SUCCESS}
        match request:
            case s6a.AuthenticationInformationRequest():
                vector = self.vector()
                return s6a.AuthenticationInformationAnswer(authentication_info=s6a.AuthenticationInfo(e_utran_vector=(vector,)), **common)
            case s6a.UpdateLocationRequest():
                return s6a.UpdateLocationAnswer(subscription_data=self.subscription, ula_flags=s6a.UlaFlags(1), **common)
            case s6a.PurgeUeRequest():
                return s6a.PurgeUeAnswer(**common)
            case other:
                raise AssertionError(other)

    def vector(self) -> s6a.EUtranVector:
        number = len(self.vectors) + 1
        vector = s6a.EUtranVector(rand=bytes([number] * 16), xres=bytes([number] * 8), autn=bytes([number + 100] * 16), kasme=bytes([number] * 32))
        self.vectors[vector.rand] = vector
        return vector

    async def stop(self) -> None:
        for future in self._silence:
            future.cancel()
        await self.endpoint.stop()


class ScriptedSgw:
    """Makes sessions; ``on[type]`` replaces an answer, ``None`` is silence. ``sessions`` is what it holds: its TEID to the MME's."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.received: list[Any] = []
        self.on: dict[type, Callable[[Any], Any]] = {}
        self.sessions: dict[int, int] = {}
        self.ebis: dict[int, set[Any]] = {}
        self.enb_teids: dict[int, int | None] = {}
        self.endpoint = GtpcEndpoint(network.transport("sgw"), SGW, interface="S11", restart_counter=1, on_request=self._serve)

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.received if isinstance(each, kind)]

    def _serve(self, request: RequestReceived) -> None:
        message = request.message
        self.received.append(message)
        behaviour = self.on.get(type(message))
        answer = self.accept(message, request.teid or 0) if behaviour is None else behaviour(message)
        if answer is None:
            return
        teid = message.sender_fteid.teid if isinstance(message, gtpv2.CreateSessionRequest) else self.sessions.get(request.teid or 0, 0)
        self.endpoint.respond(request, answer, teid)
        ebis = self.ebis.get(request.teid or 0, set())
        if isinstance(message, gtpv2.DeleteSessionRequest):
            ebis.discard(message.linked_ebi)
            if not ebis:
                self.sessions.pop(request.teid or 0, None)

    def accept(self, message: Any, teid: int = 0) -> Any:
        accepted = gtpv2.Cause(value=gtpv2.CauseValue.REQUEST_ACCEPTED)
        match message:
            case gtpv2.CreateSessionRequest():
                own = teid or 0x1000 + len(self.of(gtpv2.CreateSessionRequest))
                self.sessions[own] = message.sender_fteid.teid
                ebi = message.bearer_contexts_to_be_created[0].ebi
                self.ebis.setdefault(own, set()).add(ebi)
                return gtpv2.CreateSessionResponse(
                    cause=accepted, ambr=message.ambr, pco=b"\x80\x00\x0d\x04\x08\x08\x08\x08",
                    sender_fteid=gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S11_S4_SGW_GTP_C, teid=own, ipv4=SGW_USER_ADDRESS),
                    pgw_fteid=gtpv2.Fteid(interface_type=gtpv2.InterfaceType.S5_S8_PGW_GTP_C, teid=77, ipv4=IPv4Address("127.0.0.50")),
                    paa=gtpv2.Paa(pdn_type=gtpv2.PdnType.IPV4, ipv4=IPv4Address("10.45.0.2")),
                    bearer_contexts_created=(gtpv2.BearerContextCreated(
                        ebi=ebi, cause=accepted,
                        s1u_sgw_fteid=gtpv2.Fteid(
                            interface_type=gtpv2.InterfaceType.S1_U_SGW_GTP_U, teid=0x2000 + ebi, ipv4=SGW_USER_ADDRESS)),))
            case gtpv2.ModifyBearerRequest():
                for context in message.bearer_contexts_to_be_modified:
                    self.enb_teids[int(context.ebi)] = context.s1u_enb_fteid.teid
                return gtpv2.ModifyBearerResponse(cause=accepted)
            case gtpv2.ReleaseAccessBearersRequest():
                self.enb_teids.clear()
                return gtpv2.ReleaseAccessBearersResponse(cause=accepted)
            case gtpv2.DeleteSessionRequest():
                known = teid in self.sessions
                return gtpv2.DeleteSessionResponse(cause=accepted if known else gtpv2.Cause(value=gtpv2.CauseValue.CONTEXT_NOT_FOUND))
            case gtpv2.DownlinkDataNotificationFailureIndication():
                return None
            case other:
                raise AssertionError(other)

    async def ask(self, message: Any) -> Any:
        """A request of the SGW about its only session."""
        (mme_teid,) = self.sessions.values()
        return (await self.endpoint.request(MME_S11, mme_teid, message)).message


class ScriptedEnb:
    """One eNodeB: its association, and the phones that it serves by their eNB UE S1AP ID."""

    def __init__(self, network: MemoryNetwork, name: str = "enb", tac: int = 1) -> None:
        self._transport = network.transport(name)
        self.name, self.tac = name, tac
        self.association: Association
        self.common: asyncio.Queue[Any] = asyncio.Queue()           # messages about no phone, or about one it does not know
        self.phones: dict[int, ScriptedPhone] = {}
        self._ids = 0

    async def connect(self) -> None:
        self.association = await self._transport.connect_sctp(MME_S1, interface="S1-MME")
        self.association.on_message = self._receive
        self.association.on_closed = lambda reason: None

    async def set_up(self) -> None:
        await self.connect()
        self.send(self.s1_setup_request())
        assert isinstance(await self.next(), s1ap.S1SetupResponse)

    def s1_setup_request(self, plmn: str = PLMN) -> s1ap.S1SetupRequest:
        return s1ap.S1SetupRequest(
            global_enb_id=s1ap.GlobalENBID(plmn_identity=encode_plmn(plmn), enb_id=s1ap.ENBID("macroENB-ID", s1ap.BitString(0x12345, 20))),
            enb_name=self.name, default_paging_drx="v64",
            supported_tas=(s1ap.SupportedTAsItem(tac=self.tac.to_bytes(2, "big"), broadcast_plmns=(encode_plmn(plmn),)),))

    def send(self, message: s1ap.Message, stream: int = 0) -> None:
        self.association.send(s1ap.encode(message), stream=stream, ppid=18)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.common.get(), 60)

    def new_id(self) -> int:
        self._ids += 1
        return self._ids

    @property
    def tai(self) -> s1ap.TAI:
        return s1ap.TAI(plmn_identity=encode_plmn(PLMN), tac=self.tac.to_bytes(2, "big"))

    @property
    def cgi(self) -> s1ap.EUTRANCGI:
        return s1ap.EUTRANCGI(plmn_identity=encode_plmn(PLMN), cell_id=s1ap.BitString(0x1234501, 28))

    def _receive(self, octets: bytes, stream: int, ppid: int) -> None:
        message = s1ap.decode(octets)
        enb_ue_s1ap_id = getattr(message, "enb_ue_s1ap_id", None)
        if isinstance(message, s1ap.UEContextReleaseCommand):
            pair = message.ue_s1ap_ids.value
            assert isinstance(pair, s1ap.UES1APIDpair)
            enb_ue_s1ap_id = pair.enb_ue_s1ap_id
        phone = self.phones.get(enb_ue_s1ap_id) if enb_ue_s1ap_id is not None else None
        if phone is None or isinstance(message, s1ap.ErrorIndication):
            self.common.put_nowait(message)
        else:
            phone.arrived(message)


@dataclass
class Attached:
    accept: nas.AttachAccept
    activation: nas.ActivateDefaultEpsBearerContextRequest


class ScriptedPhone:
    """A phone that says what the test wants, protected as it should be; ``next`` and ``hear`` give what comes for it, in order."""

    def __init__(self, world: World, enb: ScriptedEnb, imsi: str = IMSI) -> None:
        self.world, self.enb, self.imsi = world, enb, imsi
        self.enb_ue_s1ap_id: int | None = None
        self.mme_ue_s1ap_id = 0
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.security: NasSecurityContext | None = None
        self.secured = False
        self.guti: nas.Guti | None = None
        self.capability = nas.UeNetworkCapability(eea=(0, 1, 2), eia=(1, 2), uea=(0, 1), uia=(1,))
        self.ms_network_capability = bytes.fromhex("e5e0")

    # signalling connection

    def connect(self) -> None:
        self.enb_ue_s1ap_id = self.enb.new_id()
        self.mme_ue_s1ap_id = 0
        self.secured = False
        self.inbox = asyncio.Queue()
        self.enb.phones[self.enb_ue_s1ap_id] = self

    def disconnect(self) -> None:
        if self.enb_ue_s1ap_id is not None:
            del self.enb.phones[self.enb_ue_s1ap_id]
        self.enb_ue_s1ap_id = None

    def arrived(self, message: Any) -> None:
        if isinstance(message, s1ap.UEContextReleaseCommand):
            self.mme_ue_s1ap_id = message.ue_s1ap_ids.value.mme_ue_s1ap_id
        else:
            self.mme_ue_s1ap_id = message.mme_ue_s1ap_id
        self.inbox.put_nowait(message)

    async def next(self, kind: type | None = None, timeout_s: float = 120) -> Any:
        """The next S1AP message about this phone."""
        message = await asyncio.wait_for(self.inbox.get(), timeout_s)
        assert kind is None or isinstance(message, kind), f"{message} instead of {kind}"
        return message

    async def hear(self, kind: type[Any]) -> Any:
        """The next NAS message, which must come in a DOWNLINK NAS TRANSPORT."""
        message = self.read((await self.next(s1ap.DownlinkNASTransport)).nas_pdu)
        assert isinstance(message, kind), f"{message} instead of {kind}"
        return message

    def read(self, octets: bytes) -> Any:
        outer = nas.decode(octets, uplink=False)
        if not isinstance(outer, nas.SecurityProtected):
            assert not self.secured, f"unprotected {outer}"
            return outer
        if outer.security_header_type == nas.SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT:
            command = nas.decode(outer.payload, uplink=False)
            assert isinstance(command, nas.SecurityModeCommand)
            algorithms = command.selected_nas_security_algorithms
            context = NasSecurityContext(side=Side.UE, ksi=command.nas_key_set_identifier.value, kasme=self.vector.kasme,
                                         eea=Eea(algorithms.ciphering), eia=Eia(algorithms.integrity))
            context.unprotect(octets)
            self.security, self.secured = context, True
            return command
        assert self.security is not None
        self.secured = True
        return nas.decode(self.security.unprotect(octets).plain, uplink=False)

    def say(self, message: Any) -> None:
        """Send a NAS message; the first one of a connection is an initial message."""
        octets = nas.encode(message)
        if self.enb_ue_s1ap_id is None:
            self.secured = False
        if self.security is not None and (self.secured or self.enb_ue_s1ap_id is None):
            new_context = isinstance(message, nas.SecurityModeComplete)
            if not self.secured:
                self.security.kenb_uplink_count = self.security.uplink_count
            octets = self.security.protect(octets, new_context=new_context, ciphered=self.secured)
        self.transmit(octets)

    def transmit(self, octets: bytes) -> None:
        if self.enb_ue_s1ap_id is None:
            self.connect()
            s_tmsi = None if self.guti is None else s1ap.STMSI(mmec=bytes((self.guti.mme_code,)), m_tmsi=self.guti.m_tmsi.to_bytes(4, "big"))
            self.enb.send(s1ap.InitialUEMessage(
                enb_ue_s1ap_id=self.enb_ue_s1ap_id or 0, nas_pdu=octets, tai=self.enb.tai, eutran_cgi=self.enb.cgi,
                rrc_establishment_cause="mo-Signalling", s_tmsi=s_tmsi), stream=1)
        else:
            self.enb.send(s1ap.UplinkNASTransport(
                mme_ue_s1ap_id=self.mme_ue_s1ap_id, enb_ue_s1ap_id=self.enb_ue_s1ap_id, nas_pdu=octets, tai=self.enb.tai,
                eutran_cgi=self.enb.cgi), stream=1)

    @property
    def ids(self) -> dict[str, int]:
        return {"mme_ue_s1ap_id": self.mme_ue_s1ap_id, "enb_ue_s1ap_id": self.enb_ue_s1ap_id or 0}

    # steps of a good life

    @property
    def vector(self) -> s6a.EUtranVector:
        return self.world.hss.vectors[self.rand]

    @property
    def ksi(self) -> nas.NasKeySetIdentifier:
        return nas.NasKeySetIdentifier(value=nas.NO_KEY_IS_AVAILABLE if self.security is None else self.security.ksi)

    def attach_request(self, *, esm: nas.EsmMessage | None = None, **changes: Any) -> nas.AttachRequest:
        esm = esm or nas.PdnConnectivityRequest(
            procedure_transaction_identity=1, request_type=nas.RequestType.INITIAL_REQUEST, pdn_type=nas.PdnType.IPV4)
        return replace(nas.AttachRequest(
            eps_attach_type=nas.EpsAttachType.EPS_ATTACH, nas_key_set_identifier=self.ksi,
            eps_mobile_identity=self.guti or nas.ImsiIdentity(imsi=self.imsi), ue_network_capability=self.capability,
            ms_network_capability=self.ms_network_capability, esm_message_container=nas.encode(esm)), **changes)

    def detach_request(self, *, switch_off: bool = False) -> nas.DetachRequestFromUe:
        assert self.guti is not None
        return nas.DetachRequestFromUe(
            detach_type=nas.DetachType(type_of_detach=nas.TypeOfDetachFromUe.EPS_DETACH, switch_off=switch_off),
            nas_key_set_identifier=self.ksi, eps_mobile_identity=self.guti)

    async def meet_challenge(self) -> nas.AuthenticationRequest:
        challenge = await self.hear(nas.AuthenticationRequest)
        self.rand = challenge.rand
        self.say(nas.AuthenticationResponse(res=self.vector.xres))
        return challenge

    async def take_security_into_use(self) -> nas.SecurityModeCommand:
        command: nas.SecurityModeCommand = await self.hear(nas.SecurityModeCommand)
        self.say(nas.SecurityModeComplete(imeisv=nas.ImeisvIdentity(imeisv="3534900698733001")))
        return command

    async def begin_attach(self, **changes: Any) -> None:
        """Up to NAS security."""
        self.say(self.attach_request(**changes))
        await self.meet_challenge()
        await self.take_security_into_use()

    async def accept_context(self, *, enb_teid: int = 0x3000) -> tuple[s1ap.InitialContextSetupRequest, Any]:
        """The eNodeB sets up what it is asked to; the request, and the NAS message in it."""
        request = await self.next(s1ap.InitialContextSetupRequest)
        assert self.security is not None
        assert request.security_key.octets == self.security.derive_kenb()
        message = None
        for item in request.e_rab_to_be_setup_list_ctxt_su_req:
            if item.nas_pdu is not None:
                message = self.read(item.nas_pdu)
        self.enb.send(s1ap.InitialContextSetupResponse(
            e_rab_setup_list_ctxt_su_res=tuple([
                s1ap.ERABSetupItemCtxtSURes(
                    e_rab_id=item.e_rab_id, transport_layer_address=s1ap.BitString.of(ENB_ADDRESS.packed),
                    gtp_teid=(enb_teid + item.e_rab_id).to_bytes(4, "big"))
                for item in request.e_rab_to_be_setup_list_ctxt_su_req]), **self.ids), stream=1)
        return request, message

    async def receive_accept(self) -> Attached:
        _, accept = await self.accept_context()
        assert isinstance(accept, nas.AttachAccept)
        activation = nas.decode(accept.esm_message_container)
        assert isinstance(activation, nas.ActivateDefaultEpsBearerContextRequest)
        assert isinstance(accept.guti, nas.Guti)
        self.guti = accept.guti
        return Attached(accept, activation)

    def complete(self, ebi: int = 5) -> None:
        self.say(nas.AttachComplete(esm_message_container=nas.encode(nas.ActivateDefaultEpsBearerContextAccept(eps_bearer_identity=ebi))))

    async def attach(self, **changes: Any) -> Attached:
        await self.begin_attach(**changes)
        attached = await self.receive_accept()
        self.complete()
        await self.world.quiet()
        assert self.context.is_registered
        return attached

    async def be_released(self) -> s1ap.UEContextReleaseCommand:
        """The eNodeB obeys a release command."""
        command = await self.next(s1ap.UEContextReleaseCommand)
        self.enb.send(s1ap.UEContextReleaseComplete(**self.ids), stream=1)
        self.disconnect()
        await self.world.quiet()
        return command

    async def go_idle(self) -> None:
        self.enb.send(s1ap.UEContextReleaseRequest(cause=s1ap.Cause("radioNetwork", "user-inactivity"), **self.ids), stream=1)
        await self.be_released()

    def request_service(self) -> None:
        assert self.security is not None
        self.transmit(self.security.protect_service_request())

    @property
    def context(self) -> Any:
        """What the MME knows of the phone."""
        return self.world.mme.ues.by_imsi[self.imsi]


class World:
    """The MME and everybody it talks to."""

    def __init__(self, mme_config: MmeConfig) -> None:
        self.network = MemoryNetwork()
        self.hss = ScriptedHss(self.network)
        self.sgw = ScriptedSgw(self.network)
        self.enb = ScriptedEnb(self.network)
        self.mme = Mme(mme_config, self.network.transport("mme"), clock=lambda: 1.7e9, entropy=random.Random(1))

    async def start(self) -> None:
        await self.hss.endpoint.start()
        await self.sgw.endpoint.open()
        await self.mme.start()
        await self.mme.s6a.endpoint.wait_connected()
        await self.enb.set_up()

    async def stop(self) -> None:
        await self.mme.stop()
        await self.hss.stop()
        await self.sgw.endpoint.close()

    def phone(self, imsi: str = IMSI, enb: ScriptedEnb | None = None) -> ScriptedPhone:
        return ScriptedPhone(self, enb or self.enb, imsi)

    async def quiet(self) -> None:
        """Until no procedure of the MME runs and everything sent has arrived."""
        await asyncio.sleep(0.1)
        for _ in range(10_000):
            if not len(self.mme.runner):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)

    async def is_clean(self) -> bool:
        """Nothing is left of any phone but, perhaps, identities and keys: no session at either end, no connection, no procedure."""
        await self.quiet()
        return (self.mme.s11.sessions, self.sgw.sessions, self.mme.s1_connections, len(self.mme.runner), self.mme.ues.registered) == ({}, {}, 0, 0, 0)

    def failures(self, procedure: str, result: str, cause: str) -> float:
        return self.mme.metrics.value("procedure_failures_total", procedure=procedure, result=result, cause=cause)

    def errors(self, interface: str, cause: str) -> float:
        return self.mme.metrics.value("protocol_errors_total", interface=interface, cause=cause)


@pytest.fixture
def settings() -> dict[str, Any]:
    """Changes of the MME's configuration; override with ``parametrize``."""
    return {}


@pytest.fixture
async def world(settings: dict[str, Any]) -> AsyncIterator[World]:
    made = World(config(**settings))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def phone(world: World) -> ScriptedPhone:
    return world.phone()
