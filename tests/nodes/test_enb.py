"""The eNodeB against a scripted MME and a scripted UE, on a virtual clock."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest

from epc.node import ConfigError, parse_config
from epc.transport.interface import Address, Association
from epc.transport.memory import MemoryNetwork
from epc.wire import gtpu, s1ap
from epc.wire.identity import Ebi
from epc.wire.s1ap import (
    STMSI,
    TAI,
    AllocationAndRetentionPriority,
    BitString,
    Cause,
    DownlinkNASTransport,
    ERABItem,
    ERABLevelQoSParameters,
    ERABModifyRequest,
    ERABModifyResponse,
    ERABReleaseCommand,
    ERABReleaseResponse,
    ERABSetupRequest,
    ERABSetupResponse,
    ERABToBeModifiedItemBearerModReq,
    ERABToBeSetupItemBearerSUReq,
    ERABToBeSetupItemCtxtSUReq,
    ErrorIndication,
    GBRQosInformation,
    InitialContextSetupFailure,
    InitialContextSetupRequest,
    InitialContextSetupResponse,
    InitialUEMessage,
    Message,
    MMEConfigurationUpdate,
    MMEConfigurationUpdateAcknowledge,
    MMEConfigurationUpdateFailure,
    NASNonDeliveryIndication,
    OverloadResponse,
    OverloadStart,
    OverloadStop,
    Paging,
    Reset,
    ResetAcknowledge,
    ResetType,
    S1SetupFailure,
    S1SetupRequest,
    S1SetupResponse,
    ServedGUMMEIsItem,
    TAIItem,
    UEAggregateMaximumBitrate,
    UEassociatedLogicalS1ConnectionItem,
    UECapabilityInfoIndication,
    UEContextModificationRequest,
    UEContextModificationResponse,
    UEContextReleaseCommand,
    UEContextReleaseComplete,
    UEContextReleaseRequest,
    UEPagingID,
    UERadioCapabilityMatchRequest,
    UES1APIDpair,
    UES1APIDs,
    UESecurityCapabilities,
    UplinkNASTransport,
)
from ran.enb import Enb, EnbConfig
from ran.enb.radio import AsSecurityMode, Gummei, PagingRecord, RadioConnection, Reconfiguration, ReleaseCause, STmsi

pytestmark = pytest.mark.virtual_clock

M = TypeVar("M", bound=Message)
PLMN = bytes.fromhex("00f110")
KENB = bytes(range(32))
SGW = "127.0.0.3"
QOS = ERABLevelQoSParameters(qci=9, allocation_retention_priority=AllocationAndRetentionPriority(
    priority_level=8, pre_emption_capability="shall-not-trigger-pre-emption", pre_emption_vulnerability="not-pre-emptable"))
CAPABILITIES = UESecurityCapabilities(encryption_algorithms=BitString(0xE000, 16), integrity_protection_algorithms=BitString(0xE000, 16))
AMBR = UEAggregateMaximumBitrate(ue_aggregate_maximum_bit_rate_dl=10**9, ue_aggregate_maximum_bit_rate_ul=10**9)
IP_PACKET = bytes.fromhex("450000200000000040110000" "2d2d0002" "08080808" "00350035000c0000") + b"ping"


class ScriptedMme:
    """Answers S1 Setup by itself; everything else a test asks for."""

    def __init__(self, network: MemoryNetwork, host: str = "127.0.0.2", *, code: int = 1, capacity: int = 255) -> None:
        self.transport = network.transport(f"mme-{host}", host=host)
        self.address = Address(host, 36412)
        self.code = code
        self.capacity = capacity
        self.refusals: list[S1SetupFailure] = []
        self.setups: list[float] = []
        self.request: S1SetupRequest
        self.association: Association | None = None
        self.inbox: asyncio.Queue[tuple[Message, int, int]] = asyncio.Queue()

    async def listen(self) -> None:
        await self.transport.listen_sctp(self.address, self._accept, interface="S1-MME")

    def _accept(self, association: Association) -> None:
        self.association = association
        association.on_message = self._received

    def _received(self, octets: bytes, stream: int, ppid: int) -> None:
        message = s1ap.decode(octets)
        if isinstance(message, S1SetupRequest):
            self.setups.append(asyncio.get_running_loop().time())
            self.request = message
            if self.refusals:
                self.send(self.refusals.pop(0))
                return
            self.send(S1SetupResponse(
                mme_name="mme", relative_mme_capacity=self.capacity, served_gummeis=(
                    ServedGUMMEIsItem(served_plmns=(PLMN,), served_group_ids=(b"\0\2",), served_mmecs=(bytes((self.code,)),)),)))
            return
        self.inbox.put_nowait((message, stream, ppid))

    def send(self, message: Message, stream: int = 0) -> None:
        self.send_octets(s1ap.encode(message), stream)

    def send_octets(self, octets: bytes, stream: int = 0) -> None:
        assert self.association is not None
        self.association.send(octets, stream=stream, ppid=18)

    async def expect(self, kind: type[M]) -> M:
        message, _, _ = await self.expect_with_stream(kind)
        return message

    async def expect_with_stream(self, kind: type[M]) -> tuple[M, int, int]:
        message, stream, ppid = await asyncio.wait_for(self.inbox.get(), 30)
        assert isinstance(message, kind), message
        return message, stream, ppid


class ScriptedUe:
    """Answers the radio like a good UE unless told otherwise."""

    def __init__(self) -> None:
        self.radio: RadioConnection
        self.nas: list[bytes] = []
        self.modes: list[AsSecurityMode] = []
        self.reconfigurations: list[Reconfiguration] = []
        self.packets: list[tuple[Ebi, bytes]] = []
        self.ends: list[ReleaseCause] = []
        self.rejections: list[int] = []
        self.pages: list[PagingRecord] = []
        self.silent = False
        self.comply = True
        self.answer_to_nas: dict[bytes, bytes] = {}

    def downlink_nas(self, pdu: bytes) -> None:
        self.nas.append(pdu)
        if pdu in self.answer_to_nas:
            self.radio.send_nas(self.answer_to_nas[pdu])

    def security_mode_command(self, mode: AsSecurityMode) -> None:
        self.modes.append(mode)
        if not self.silent:
            if mode.k_enb == KENB:
                self.radio.security_mode_complete()
            else:
                self.radio.security_mode_failure()

    def reconfigure(self, reconfiguration: Reconfiguration) -> None:
        self.reconfigurations.append(reconfiguration)
        if self.silent:
            return
        if not self.comply:
            self.radio.reconfiguration_failure()
            return
        self.radio.reconfiguration_complete()
        for pdu in reconfiguration.nas:
            self.downlink_nas(pdu)

    def downlink_packet(self, ebi: Ebi, packet: bytes) -> None:
        self.packets.append((ebi, packet))

    def released(self, cause: ReleaseCause) -> None:
        self.ends.append(cause)

    def connection_rejected(self, wait_time_s: int) -> None:
        self.rejections.append(wait_time_s)

    def paged(self, record: PagingRecord) -> None:
        self.pages.append(record)


class World:
    def __init__(self, network: MemoryNetwork, mme: ScriptedMme, enb: Enb) -> None:
        self.network = network
        self.mme = mme
        self.enb = enb

    def ue(self, cell: int = 0, capability: bytes = b"") -> ScriptedUe:
        ue = ScriptedUe()
        ue.radio = self.enb.cells[cell].attach_radio(ue, capability)
        return ue

    async def connected(self, ue: ScriptedUe | None = None, mme_id: int = 1000) -> tuple[ScriptedUe, int]:
        """A UE whose first message the MME answered."""
        ue = ue or self.ue()
        ue.radio.send_nas(b"attach request")
        first = await self.mme.expect(InitialUEMessage)
        self.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=first.enb_ue_s1ap_id, nas_pdu=b"identity request"))
        await asyncio.sleep(0.1)
        return ue, first.enb_ue_s1ap_id

    async def active(self, mme_id: int = 1000, **options: Any) -> tuple[ScriptedUe, int]:
        """A UE with a context and one bearer."""
        ue, enb_id = await self.connected(mme_id=mme_id)
        self.mme.send(context_setup(mme_id, enb_id, **options))
        await self.mme.expect(InitialContextSetupResponse)
        return ue, enb_id


def configuration(**changes: Any) -> EnbConfig:
    data = {"name": "enb1", "enb_id": 0x19B, "plmn": "00101", "mmes": [{"host": "127.0.0.2"}], "s1u": {"host": "127.0.0.1"}, **changes}
    return parse_config(data, EnbConfig, source="test")


@asynccontextmanager
async def running(**changes: Any) -> AsyncIterator[World]:
    network = MemoryNetwork()
    mme = ScriptedMme(network)
    await mme.listen()
    enb = Enb(configuration(**changes), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    try:
        await until(enb.is_ready)
        yield World(network, mme, enb)
    finally:
        await enb.stop()
        await enb.transport.close()
        await mme.transport.close()


async def until(condition: Callable[[], object], patience_s: float = 60.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - conditions are of all kinds
            await asyncio.sleep(0.05)


def bearer(ebi: int = 5, *, qos: ERABLevelQoSParameters = QOS, nas: bytes | None = b"attach accept") -> ERABToBeSetupItemCtxtSUReq:
    return ERABToBeSetupItemCtxtSUReq(
        e_rab_id=ebi, e_rab_level_qos_parameters=qos, transport_layer_address=BitString.of(bytes((127, 0, 0, 3))), gtp_teid=bytes((0, 0, 7, ebi)),
        nas_pdu=nas)


def further_bearer(ebi: int) -> ERABToBeSetupItemBearerSUReq:
    return ERABToBeSetupItemBearerSUReq(
        e_rab_id=ebi, e_rab_level_qos_parameters=QOS, transport_layer_address=BitString.of(bytes((127, 0, 0, 3))), gtp_teid=bytes((0, 0, 7, ebi)),
        nas_pdu=b"activate %d" % ebi)


def context_setup(mme_id: int, enb_id: int, *bearers: ERABToBeSetupItemCtxtSUReq, key: bytes = KENB, **options: Any) -> InitialContextSetupRequest:
    return InitialContextSetupRequest(
        mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, ue_aggregate_maximum_bitrate=AMBR, e_rab_to_be_setup_list_ctxt_su_req=bearers or (bearer(),),
        ue_security_capabilities=CAPABILITIES, security_key=BitString.of(key), **options)


def release(mme_id: int, enb_id: int) -> UEContextReleaseCommand:
    return UEContextReleaseCommand(
        ue_s1ap_ids=UES1APIDs("uE-S1AP-ID-pair", UES1APIDpair(mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id)), cause=Cause("nas", "normal-release"))


# --- S1 Setup ------------------------------------------------------------------------------------------------------------


async def test_s1_setup_tells_identity_and_tracking_areas() -> None:
    async with running(cells=[{"cell_id": 1, "tac": 1}, {"cell_id": 2, "tac": 7}], shared_plmns=["21407"]) as world:
        request = world.mme.request
        assert request.global_enb_id.enb_id.value == BitString(0x19B, 20)
        assert [area.tac for area in request.supported_tas] == [b"\0\1", b"\0\7"]
        assert request.supported_tas[0].broadcast_plmns == (PLMN, bytes.fromhex("12f470"))
        assert request.default_paging_drx == "v128"
        (association,) = world.enb.views()["mmes"]()  # type: ignore[misc]
        assert (association["state"], association["gummeis"]) == ("ready", ["00101-2-1"])


async def test_s1_setup_failure_is_repeated_after_time_to_wait() -> None:
    network = MemoryNetwork()
    mme = ScriptedMme(network)
    mme.refusals = [S1SetupFailure(cause=Cause("misc", "unknown-PLMN"), time_to_wait="v20s"), S1SetupFailure(cause=Cause("misc", "unspecified"))]
    await mme.listen()
    enb = Enb(configuration(), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    await until(enb.is_ready)
    first, second, third = mme.setups
    assert 20 <= second - first < 21
    assert 1 <= third - second < 4
    assert enb.metrics.value("procedure_failures_total", procedure="s1_setup", result="rejected", cause="unknown-PLMN") == 1
    await enb.stop()


async def test_association_that_ends_is_set_up_again_and_its_ues_are_released() -> None:
    async with running() as world:
        ue, _ = await world.active()
        assert world.mme.association is not None
        world.mme.association.abort()
        await asyncio.sleep(0.1)
        assert not world.enb.is_ready()
        assert ue.ends == [ReleaseCause.OTHER]
        assert list(world.enb.tunnels()) == []
        await until(world.enb.is_ready)
        assert len(world.mme.setups) == 2


async def test_unreachable_mme_is_tried_again() -> None:
    network = MemoryNetwork()
    enb = Enb(configuration(), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    await asyncio.sleep(40)
    assert not enb.is_ready()
    mme = ScriptedMme(network)
    await mme.listen()
    await until(enb.is_ready)
    await enb.stop()


async def test_silent_mme_is_left_and_tried_again() -> None:
    network = MemoryNetwork()
    mme = ScriptedMme(network)
    mme.refusals = [S1SetupFailure(cause=Cause("misc", "unspecified"))]
    mme_send = mme.send
    mme.send = lambda message, stream=0: None  # type: ignore[method-assign]
    await mme.listen()
    enb = Enb(configuration(), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    await asyncio.sleep(5.5)
    mme.send = mme_send  # type: ignore[method-assign]
    await until(enb.is_ready)
    assert enb.metrics.value("procedure_failures_total", procedure="s1_setup", result="timeout", cause="S1 Setup") == 1
    await enb.stop()


async def test_mme_configuration_update() -> None:
    async with running() as world:
        world.mme.send(MMEConfigurationUpdate(mme_name="renamed", relative_mme_capacity=7))
        await world.mme.expect(MMEConfigurationUpdateAcknowledge)
        link = world.enb.links[0]
        assert (link.mme_name, link.relative_capacity) == ("renamed", 7)


# --- NAS transport -------------------------------------------------------------------------------------------------------


async def test_first_message_of_a_ue() -> None:
    async with running() as world:
        ue = world.ue()
        registered = Gummei(world.enb.cell.information.plmns[0], 2, 1)
        ue.radio.send_nas(b"service request", establishment_cause="mo-Data", s_tmsi=STmsi(1, 0xC0000001), gummei=registered)
        message, stream, ppid = await world.mme.expect_with_stream(InitialUEMessage)
        assert (message.nas_pdu, message.rrc_establishment_cause) == (b"service request", "mo-Data")
        assert message.s_tmsi == STMSI(mmec=b"\1", m_tmsi=bytes.fromhex("c0000001"))
        assert message.tai == TAI(plmn_identity=PLMN, tac=b"\0\1")
        assert message.eutran_cgi.cell_id == (0x19B01, 28)
        assert ppid == 18
        assert stream > 0


async def test_nas_both_ways_and_identities() -> None:
    async with running() as world:
        ue, enb_id = await world.connected(mme_id=77)
        assert ue.nas == [b"identity request"]
        ue.radio.send_nas(b"identity response")
        message = await world.mme.expect(UplinkNASTransport)
        assert (message.mme_ue_s1ap_id, message.enb_ue_s1ap_id, message.nas_pdu) == (77, enb_id, b"identity response")


async def test_uplink_message_before_the_mme_answered_waits_for_its_identity() -> None:
    async with running() as world:
        ue = world.ue()
        ue.radio.send_nas(b"one")
        ue.radio.send_nas(b"two")
        first = await world.mme.expect(InitialUEMessage)
        await asyncio.sleep(1)
        assert world.mme.inbox.empty()
        world.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=5, enb_ue_s1ap_id=first.enb_ue_s1ap_id, nas_pdu=b"x"))
        assert (await world.mme.expect(UplinkNASTransport)).nas_pdu == b"two"


async def test_nas_message_for_a_ue_that_is_gone_is_reported() -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        ue.radio.lose_radio()
        request = await world.mme.expect(UEContextReleaseRequest)
        assert request.cause == Cause("radioNetwork", "radio-connection-with-ue-lost")
        world.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, nas_pdu=b"late"))
        assert (await world.mme.expect(NASNonDeliveryIndication)).nas_pdu == b"late"


async def test_ue_is_rejected_on_the_radio_when_no_mme_is_there() -> None:
    network = MemoryNetwork()
    enb = Enb(configuration(), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    ue = ScriptedUe()
    ue.radio = enb.cell.attach_radio(ue)
    ue.radio.send_nas(b"attach request")
    await asyncio.sleep(0.1)
    assert ue.rejections == [5]
    assert enb.metrics.value("rejected_connections_total", reason="no MME") == 1
    await enb.stop()


async def test_registered_ue_goes_to_its_mme_and_others_by_capacity() -> None:
    network = MemoryNetwork()
    small = ScriptedMme(network, "127.0.0.2", code=1, capacity=0)
    large = ScriptedMme(network, "127.0.0.4", code=2, capacity=100)
    await small.listen()
    await large.listen()
    enb = Enb(configuration(mmes=[{"host": "127.0.0.2"}, {"host": "127.0.0.4"}]), network.transport("enb1", host="127.0.0.1"))
    await enb.start()
    await until(lambda: all(link.is_ready for link in enb.links))
    plmn = enb.cell.information.plmns[0]
    for _ in range(5):
        ue = ScriptedUe()
        ue.radio = enb.cell.attach_radio(ue)
        ue.radio.send_nas(b"new")
        assert (await large.expect(InitialUEMessage)).nas_pdu == b"new"
    ue = ScriptedUe()
    ue.radio = enb.cell.attach_radio(ue)
    ue.radio.send_nas(b"registered", gummei=Gummei(plmn, 2, 1))
    assert (await small.expect(InitialUEMessage)).nas_pdu == b"registered"
    assert large.association is not None
    large.association.abort()
    await asyncio.sleep(0.1)
    ue = ScriptedUe()
    ue.radio = enb.cell.attach_radio(ue)
    ue.radio.send_nas(b"failover")
    assert (await small.expect(InitialUEMessage)).nas_pdu == b"failover"
    await enb.stop()


async def test_overload_keeps_ordinary_traffic_away() -> None:
    async with running() as world:
        world.mme.send(OverloadStart(overload_response=OverloadResponse("overloadAction", "reject-rrc-cr-signalling")))
        await asyncio.sleep(0.1)
        ue = world.ue()
        ue.radio.send_nas(b"attach request")
        await asyncio.sleep(0.1)
        assert ue.rejections == [5]
        ue.radio.send_nas(b"paged", establishment_cause="mt-Access")
        assert (await world.mme.expect(InitialUEMessage)).nas_pdu == b"paged"
        world.mme.send(OverloadStop())
        await asyncio.sleep(0.1)
        await world.connected()


# --- Initial Context Setup -----------------------------------------------------------------------------------------------


async def test_context_setup_brings_security_bearer_and_nas_message_and_answers_before_the_ue_speaks() -> None:
    async with running() as world:
        ue, enb_id = await world.connected(world.ue(capability=b"radio capability"))
        ue.answer_to_nas[b"attach accept"] = b"attach complete"
        world.mme.send(context_setup(1000, enb_id))
        capability = await world.mme.expect(UECapabilityInfoIndication)
        assert capability.ue_radio_capability == b"radio capability"
        response = await world.mme.expect(InitialContextSetupResponse)
        assert (await world.mme.expect(UplinkNASTransport)).nas_pdu == b"attach complete"
        assert ue.modes == [AsSecurityMode(k_enb=KENB, integrity_algorithm=2, ciphering_algorithm=2)]
        assert [each.ebi for each in ue.reconfigurations[0].set_up] == [5]
        (item,) = response.e_rab_setup_list_ctxt_su_res
        assert (item.e_rab_id, item.transport_layer_address.octets) == (5, bytes((127, 0, 0, 1)))
        own, learned = world.enb.tunnels()
        assert (own.label, own.teid, own.address, own.own) == ("t8", int.from_bytes(item.gtp_teid, "big"), "127.0.0.1", True)
        assert (learned.label, learned.teid, learned.address, learned.own) == ("t7", 0x705, SGW, False)


async def test_user_packets_go_through_the_tunnel_both_ways() -> None:
    async with running() as world:
        received: asyncio.Queue[bytes] = asyncio.Queue()
        sgw = await world.network.transport("sgw", host=SGW).open_udp(Address(SGW, 2152), lambda data, _: received.put_nowait(data), interface="S1-U")
        ue, _ = await world.active()
        ue.radio.send_packet(Ebi(5), IP_PACKET)
        uplink = gtpu.decode(await asyncio.wait_for(received.get(), 5))
        assert (uplink.teid, uplink.message) == (0x705, gtpu.GPdu(payload=IP_PACKET))
        own = next(end for end in world.enb.tunnels() if end.own)
        sgw.send(gtpu.encode(gtpu.GPdu(payload=IP_PACKET), teid=own.teid), Address("127.0.0.1", 2152))
        await until(lambda: ue.packets)
        assert ue.packets == [(5, IP_PACKET)]
        ue.radio.send_packet(Ebi(6), IP_PACKET)      # a bearer that does not exist
        await asyncio.sleep(0.1)
        assert received.empty()


async def test_bearer_that_the_sgw_does_not_know_ends_the_connection() -> None:
    async with running() as world:
        sgw = await world.network.transport("sgw", host=SGW).open_udp(Address(SGW, 2152), lambda data, _: None, interface="S1-U")
        await world.active()
        error = gtpu.ErrorIndication(teid=0x705, peer_address=ip_address(SGW))
        sgw.send(gtpu.encode(error), Address("127.0.0.1", 2152))
        request = await world.mme.expect(UEContextReleaseRequest)
        assert request.cause == Cause("transport", "transport-resource-unavailable")


@pytest.mark.parametrize(("trouble", "cause"), [
    ("refusal", Cause("radioNetwork", "radio-resources-not-available")),
    ("other key", Cause("radioNetwork", "failure-in-radio-interface-procedure")),
    ("silent UE", Cause("radioNetwork", "failure-in-radio-interface-procedure")),
    ("UE cannot comply", Cause("radioNetwork", "failure-in-radio-interface-procedure")),
    ("no common algorithm", Cause("radioNetwork", "encryption-and-or-integrity-protection-algorithms-not-supported")),
    ("no bearer", Cause("radioNetwork", "invalid-qos-combination")),
])
async def test_context_setup_that_fails_leaves_no_tunnel(trouble: str, cause: Cause) -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        request = context_setup(1000, enb_id)
        match trouble:
            case "refusal":
                world.enb.behaviour.refuse_context_setup = cause
            case "other key":
                request = context_setup(1000, enb_id, key=bytes(32))
            case "silent UE":
                ue.silent = True
            case "UE cannot comply":
                ue.comply = False
            case "no common algorithm":
                world.enb.config = world.enb.config.model_copy(update={"eia": (2,)})
                none = UESecurityCapabilities(encryption_algorithms=BitString(0, 16), integrity_protection_algorithms=BitString(0x8000, 16))
                request = InitialContextSetupRequest(
                    mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, ue_aggregate_maximum_bitrate=AMBR, e_rab_to_be_setup_list_ctxt_su_req=(bearer(),),
                    ue_security_capabilities=none, security_key=BitString.of(KENB))
            case "no bearer":
                guaranteed = ERABLevelQoSParameters(qci=1, allocation_retention_priority=QOS.allocation_retention_priority)
                request = context_setup(1000, enb_id, bearer(qos=guaranteed))
        world.mme.send(request)
        failure = await world.mme.expect(InitialContextSetupFailure)
        assert failure.cause == cause
        assert list(world.enb.tunnels()) == []


async def test_context_setup_admits_what_it_can() -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        guaranteed = ERABLevelQoSParameters(qci=1, allocation_retention_priority=QOS.allocation_retention_priority)
        world.mme.send(context_setup(1000, enb_id, bearer(5), bearer(6, qos=guaranteed), bearer(7), bearer(7)))
        response = await world.mme.expect(InitialContextSetupResponse)
        assert [item.e_rab_id for item in response.e_rab_setup_list_ctxt_su_res] == [5]
        assert response.e_rab_failed_to_setup_list_ctxt_su_res is not None
        assert [(item.e_rab_id, item.cause.value) for item in response.e_rab_failed_to_setup_list_ctxt_su_res] == [
            (6, "invalid-qos-combination"), (7, "multiple-E-RAB-ID-instances"), (7, "multiple-E-RAB-ID-instances")]
        assert len(ue.reconfigurations[0].nas) == 1


async def test_radio_lost_during_context_setup() -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        ue.silent = True
        world.mme.send(context_setup(1000, enb_id))
        await asyncio.sleep(0.5)
        ue.radio.lose_radio()
        failure = await world.mme.expect(InitialContextSetupFailure)
        assert failure.cause == Cause("radioNetwork", "radio-connection-with-ue-lost")
        await world.mme.expect(UEContextReleaseRequest)
        world.mme.send(release(1000, enb_id))
        await world.mme.expect(UEContextReleaseComplete)
        assert len(world.enb.ues) == 0


async def test_release_command_during_context_setup_ends_it() -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        ue.silent = True
        world.mme.send(context_setup(1000, enb_id))
        await asyncio.sleep(0.5)
        world.mme.send(release(1000, enb_id))
        await world.mme.expect(UEContextReleaseComplete)
        assert ue.ends == [ReleaseCause.OTHER]
        assert list(world.enb.tunnels()) == []
        assert len(world.enb.ues) == 0


async def test_ignored_context_setup_stays_unanswered() -> None:
    async with running() as world:
        _, enb_id = await world.connected()
        world.enb.behaviour.ignored.add(InitialContextSetupRequest)
        world.mme.send(context_setup(1000, enb_id))
        await asyncio.sleep(20)
        assert world.mme.inbox.empty()


# --- UE Context Release, Modification ------------------------------------------------------------------------------------


async def test_release_frees_everything_and_the_ue_can_come_back() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        world.mme.send(release(1000, enb_id))
        complete = await world.mme.expect(UEContextReleaseComplete)
        assert (complete.mme_ue_s1ap_id, complete.enb_ue_s1ap_id) == (1000, enb_id)
        await asyncio.sleep(0.1)
        assert ue.ends == [ReleaseCause.OTHER]
        assert list(world.enb.tunnels()) == []
        assert not ue.radio.connected
        _, again = await world.connected(ue, mme_id=1001)
        assert again != enb_id


async def test_user_inactivity_releases_and_traffic_delays_it() -> None:
    async with running(timers={"user_inactivity_s": 10}) as world:
        ue, _ = await world.active()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(8)
        ue.radio.send_packet(Ebi(5), IP_PACKET)
        spoke = loop.time()
        request = await world.mme.expect(UEContextReleaseRequest)
        assert request.cause == Cause("radioNetwork", "user-inactivity")
        assert 10 <= loop.time() - spoke < 12


async def test_release_request_that_the_mme_ignores_ends_in_a_local_release() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        await world.enb.commands()["release"](ue=str(enb_id))
        await world.mme.expect(UEContextReleaseRequest)
        await asyncio.sleep(6)
        assert len(world.enb.ues) == 0
        assert ue.ends == [ReleaseCause.OTHER]
        with pytest.raises(LookupError):
            await world.enb.commands()["release"](ue=str(enb_id))


async def test_ue_that_lost_radio_comes_back_while_its_old_context_is_released() -> None:
    async with running() as world:
        ue, old = await world.active()
        ue.radio.lose_radio()
        await world.mme.expect(UEContextReleaseRequest)
        ue.radio.send_nas(b"again")
        first = await world.mme.expect(InitialUEMessage)
        world.mme.send(release(1000, old))
        await world.mme.expect(UEContextReleaseComplete)
        world.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=1001, enb_ue_s1ap_id=first.enb_ue_s1ap_id, nas_pdu=b"welcome back"))
        await asyncio.sleep(0.1)
        assert ue.nas[-1] == b"welcome back"
        assert ue.radio.connected


async def test_context_modification_brings_a_new_key() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        world.mme.send(UEContextModificationRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, security_key=BitString.of(KENB)))
        await world.mme.expect(UEContextModificationResponse)
        assert len(ue.modes) == 2


# --- E-RABs --------------------------------------------------------------------------------------------------------------


async def test_further_bearers_come_change_and_go() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        world.mme.send(ERABSetupRequest(
            mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, e_rab_to_be_setup_list_bearer_su_req=(further_bearer(6), further_bearer(5))))
        setup = await world.mme.expect(ERABSetupResponse)
        assert [item.e_rab_id for item in setup.e_rab_setup_list_bearer_su_res or ()] == [6]
        assert setup.e_rab_failed_to_setup_list_bearer_su_res == (
            ERABItem(e_rab_id=5, cause=Cause("radioNetwork", "multiple-E-RAB-ID-instances")),)
        assert ue.nas[-1] == b"activate 6"

        qci8 = ERABLevelQoSParameters(qci=8, allocation_retention_priority=QOS.allocation_retention_priority)
        world.mme.send(ERABModifyRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, e_rab_to_be_modified_list_bearer_mod_req=(
            ERABToBeModifiedItemBearerModReq(e_rab_id=6, e_rab_level_qos_parameters=qci8, nas_pdu=b"modify"),
            ERABToBeModifiedItemBearerModReq(e_rab_id=9, e_rab_level_qos_parameters=qci8, nas_pdu=b"nobody"))))
        modify = await world.mme.expect(ERABModifyResponse)
        assert [item.e_rab_id for item in modify.e_rab_modify_list_bearer_mod_res or ()] == [6]
        assert [item.cause.value for item in modify.e_rab_failed_to_modify_list or ()] == ["unknown-E-RAB-ID"]
        assert ue.nas[-1] == b"modify"

        cause = Cause("nas", "normal-release")
        world.mme.send(ERABReleaseCommand(
            mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, nas_pdu=b"deactivate",
            e_rab_to_be_released_list=(ERABItem(e_rab_id=6, cause=cause), ERABItem(e_rab_id=9, cause=cause))))
        released = await world.mme.expect(ERABReleaseResponse)
        assert [item.e_rab_id for item in released.e_rab_release_list_bearer_rel_comp or ()] == [6]
        assert [item.e_rab_id for item in released.e_rab_failed_to_release_list or ()] == [9]
        assert ue.nas[-1] == b"deactivate"
        assert {end.ebi for end in world.enb.tunnels()} == {5}


async def test_aggregate_rate_of_a_ue_is_one_for_its_non_gbr_bearers_and_no_others() -> None:
    """UE-AMBR (TS 23.401 clause 4.7.3), and a change of it."""
    gbr = GBRQosInformation(
        e_rab_maximum_bitrate_dl=10**6, e_rab_maximum_bitrate_ul=10**6, e_rab_guaranteed_bitrate_dl=10**6, e_rab_guaranteed_bitrate_ul=10**6)
    voice = ERABLevelQoSParameters(qci=1, allocation_retention_priority=QOS.allocation_retention_priority, gbr_qos_information=gbr)
    packet = IP_PACKET[:2] + (1000).to_bytes(2) + IP_PACKET[4:] + bytes(1000 - len(IP_PACKET))

    def at_most(rate_bps: int) -> UEAggregateMaximumBitrate:
        return UEAggregateMaximumBitrate(ue_aggregate_maximum_bit_rate_dl=rate_bps, ue_aggregate_maximum_bit_rate_ul=rate_bps)

    async with running() as world:
        received: list[int] = []
        await world.network.transport("sgw", host=SGW).open_udp(
            Address(SGW, 2152), lambda data, _: received.append(gtpu.decode(data).teid or 0), interface="S1-U")
        ue, enb_id = await world.active()
        world.mme.send(ERABSetupRequest(
            mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, ue_aggregate_maximum_bitrate=at_most(80_000),       # a burst of 3000 octets
            e_rab_to_be_setup_list_bearer_su_req=(further_bearer(6), replace(further_bearer(7), e_rab_level_qos_parameters=voice))))
        await world.mme.expect(ERABSetupResponse)
        for ebi in (5, 6, 5, 6, 5, 6, 7, 7):
            ue.radio.send_packet(Ebi(ebi), packet)
        await asyncio.sleep(0.1)
        assert received == [0x705, 0x706, 0x705, 0x707, 0x707]
        received.clear()
        world.mme.send(UEContextModificationRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, ue_aggregate_maximum_bitrate=at_most(10**8)))
        await world.mme.expect(UEContextModificationResponse)
        await asyncio.sleep(1)
        for _ in range(50):
            ue.radio.send_packet(Ebi(5), packet)
        await asyncio.sleep(0.1)
        assert len(received) == 50


async def test_bearer_setup_during_context_setup_waits_its_turn() -> None:
    async with running() as world:
        ue, enb_id = await world.connected()
        ue.silent = True
        world.mme.send(context_setup(1000, enb_id))
        world.mme.send(ERABSetupRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, e_rab_to_be_setup_list_bearer_su_req=(further_bearer(6),)))
        await asyncio.sleep(1)
        ue.silent = False
        ue.radio.security_mode_complete()
        await world.mme.expect(InitialContextSetupResponse)
        await world.mme.expect(ERABSetupResponse)
        assert {end.ebi for end in world.enb.tunnels()} == {5, 6}


async def test_bearer_that_the_ue_refuses_leaves_no_tunnel() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        ue.comply = False
        world.mme.send(ERABSetupRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, e_rab_to_be_setup_list_bearer_su_req=(further_bearer(6),)))
        response = await world.mme.expect(ERABSetupResponse)
        assert response.e_rab_setup_list_bearer_su_res is None
        assert {end.ebi for end in world.enb.tunnels()} == {5}


# --- Reset, paging, errors -----------------------------------------------------------------------------------------------


async def test_reset_of_everything() -> None:
    async with running() as world:
        ue, _ = await world.active()
        world.mme.send(Reset(cause=Cause("misc", "om-intervention"), reset_type=ResetType("s1-Interface", "reset-all")))
        await world.mme.expect(ResetAcknowledge)
        await asyncio.sleep(0.1)
        assert len(world.enb.ues) == 0
        assert ue.ends == [ReleaseCause.OTHER]
        assert world.enb.is_ready()


async def test_reset_of_some_connections_names_them_all_in_the_answer() -> None:
    async with running() as world:
        _, first = await world.active(mme_id=1)
        _, second = await world.active(mme_id=2)
        _, third = await world.active(mme_id=3)
        named = (
            UEassociatedLogicalS1ConnectionItem(mme_ue_s1ap_id=1), UEassociatedLogicalS1ConnectionItem(enb_ue_s1ap_id=second),
            UEassociatedLogicalS1ConnectionItem(mme_ue_s1ap_id=99))
        world.mme.send(Reset(cause=Cause("misc", "om-intervention"), reset_type=ResetType("partOfS1-Interface", named)))
        answer = await world.mme.expect(ResetAcknowledge)
        assert answer.ue_associated_logical_s1_connection_list_res_ack == named
        assert [ue.enb_ue_s1ap_id for ue in world.enb.ues] == [third]
        assert first != second


async def test_reset_by_the_enodeb() -> None:
    async with running() as world:
        await world.active()
        command = asyncio.ensure_future(world.enb.commands()["reset"]())
        request = await world.mme.expect(Reset)
        assert request.reset_type == ResetType("s1-Interface", "reset-all")
        world.mme.send(ResetAcknowledge())
        assert await command == {"mme": "success"}
        assert len(world.enb.ues) == 0


async def test_paging_is_heard_by_idle_ues_in_the_tracking_area() -> None:
    async with running(cells=[{"cell_id": 1, "tac": 1}, {"cell_id": 2, "tac": 7}]) as world:
        here, there = world.ue(0), world.ue(1)
        busy, _ = await world.connected()
        world.mme.send(Paging(
            ue_identity_index_value=BitString(1, 10), ue_paging_id=UEPagingID("s-TMSI", STMSI(mmec=b"\1", m_tmsi=bytes.fromhex("c0000001"))),
            cn_domain="ps", tai_list=(TAIItem(tai=TAI(plmn_identity=PLMN, tac=b"\0\1")),)))
        world.mme.send(Paging(
            ue_identity_index_value=BitString(1, 10), ue_paging_id=UEPagingID("iMSI", bytes.fromhex("00010100000000f1")), cn_domain="cs",
            tai_list=(TAIItem(tai=TAI(plmn_identity=PLMN, tac=b"\0\7")),)))
        await asyncio.sleep(0.1)
        assert here.pages == [PagingRecord(s_tmsi=STmsi(1, 0xC0000001), domain="ps")]
        assert there.pages == [PagingRecord(imsi="001010000000001", domain="cs")]
        assert busy.pages == []


async def test_message_for_an_unknown_ue_is_an_error() -> None:
    async with running() as world:
        world.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=5, enb_ue_s1ap_id=4711, nas_pdu=b""))
        error = await world.mme.expect(ErrorIndication)
        assert (error.cause, error.mme_ue_s1ap_id, error.enb_ue_s1ap_id) == (Cause("radioNetwork", "unknown-enb-ue-s1ap-id"), 5, 4711)
        world.mme.send(release(5, 4711))
        assert (await world.mme.expect(ErrorIndication)).cause == Cause("radioNetwork", "unknown-pair-ue-s1ap-id")


async def test_inconsistent_pair_of_identities_ends_the_connection() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        world.mme.send(DownlinkNASTransport(mme_ue_s1ap_id=999, enb_ue_s1ap_id=enb_id, nas_pdu=b""))
        assert (await world.mme.expect(ErrorIndication)).cause == Cause("radioNetwork", "unknown-pair-ue-s1ap-id")
        await asyncio.sleep(0.1)
        assert ue.ends == [ReleaseCause.OTHER]


async def test_error_indication_about_our_identity_ends_the_connection() -> None:
    async with running() as world:
        ue, enb_id = await world.active()
        world.mme.send(ErrorIndication(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, cause=Cause("radioNetwork", "unknown-mme-ue-s1ap-id")))
        await asyncio.sleep(0.1)
        assert ue.ends == [ReleaseCause.OTHER]
        assert world.mme.inbox.empty()


async def test_bad_messages_are_answered_as_clause_10_says_and_survived() -> None:
    async with running() as world:
        _, enb_id = await world.connected()
        world.mme.send_octets(b"\xff\xff")
        assert (await world.mme.expect(ErrorIndication)).cause == Cause("protocol", "transfer-syntax-error")

        good = s1ap.encode(context_setup(1000, enb_id))
        without_key = good[:3] + bytes((good[3] - 36,)) + b"\0\0\5" + good[7:-36]
        world.mme.send_octets(without_key)
        failure = await world.mme.expect(InitialContextSetupFailure)
        assert failure.cause == Cause("protocol", "abstract-syntax-error-reject")
        assert failure.criticality_diagnostics is not None
        assert [(item.ie_id, item.type_of_error) for item in failure.criticality_diagnostics.ies_criticality_diagnostics or ()] == [(73, "missing")]

        world.mme.send_octets(bytes.fromhex("001e0007" "000001" "fffe0000"))       # MME Configuration Update with an unknown element
        refusal = await world.mme.expect(MMEConfigurationUpdateFailure)
        assert refusal.cause == Cause("protocol", "abstract-syntax-error-reject")

        world.mme.send_octets(bytes((0, 200, 0x40, 1, 0)))       # unknown procedure, criticality ignore: silence
        world.mme.send_octets(bytes((0, 200, 0x00, 1, 0)))
        error = await world.mme.expect(ErrorIndication)
        assert error.criticality_diagnostics is not None
        assert error.criticality_diagnostics.procedure_code == 200
        await world.connected(mme_id=2000)


async def test_procedure_that_is_not_supported_is_refused() -> None:
    async with running() as world:
        _, enb_id = await world.connected()
        world.mme.send(UERadioCapabilityMatchRequest(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id))
        assert (await world.mme.expect(ErrorIndication)).cause == Cause("protocol", "abstract-syntax-error-reject")


async def test_garbage_never_ends_the_node() -> None:
    async with running() as world:
        chance = random.Random(1)
        _, enb_id = await world.active()
        good = [s1ap.encode(context_setup(1000, enb_id)), s1ap.encode(release(1001, enb_id)), s1ap.encode(
            DownlinkNASTransport(mme_ue_s1ap_id=1000, enb_ue_s1ap_id=enb_id, nas_pdu=b"x"))]
        for _ in range(500):
            mutant = bytearray(chance.choice(good))
            for _ in range(chance.randint(1, 3)):
                mutant[chance.randrange(len(mutant))] = chance.randrange(256)
            world.mme.send_octets(bytes(mutant))
        await asyncio.sleep(30)
        assert world.enb.is_ready()
        while not world.mme.inbox.empty():
            world.mme.inbox.get_nowait()
        await world.connected(mme_id=5000)
        assert b'result="error"' not in world.enb.metrics.exposition()


async def test_stop_releases_ues_and_association() -> None:
    async with running() as world:
        ue, _ = await world.active()
        await world.enb.stop()
        await asyncio.sleep(0.1)
        assert ue.ends == [ReleaseCause.OTHER]
        assert world.mme.association is not None
        assert not world.mme.association.is_open


# --- configuration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"enb_id": 1 << 20}, "20 bits"),
    ({"enb_type": "home"}, "cell_id 0"),
    ({"cells": [{"cell_id": 1}, {"cell_id": 1}]}, "of its own"),
    ({"mmes": []}, "mmes"),
    ({"plmn": "0010"}, "plmn"),
    ({"colour": "red"}, "unknown key"),
])
def test_wrong_configuration_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        configuration(**changes)


def test_home_enodeb_has_28_bits() -> None:
    config = configuration(enb_id=0xABCDEF1, enb_type="home", cells=[{"cell_id": 0}])
    assert config.cell_identity(config.cells[0]) == 0xABCDEF1


async def test_contexts_that_come_and_go_leave_no_cyclic_garbage() -> None:
    async with running() as world:
        ue = world.ue()

        async def come_and_go(mme_id: int) -> None:
            _, enb_id = await world.connected(ue, mme_id=mme_id)
            world.mme.send(context_setup(mme_id, enb_id))
            await world.mme.expect(InitialContextSetupResponse)
            world.mme.send(release(mme_id, enb_id))
            await world.mme.expect(UEContextReleaseComplete)
            await asyncio.sleep(0.1)

        await come_and_go(1)
        gc.collect()
        gc.disable()
        try:
            for mme_id in range(2, 22):
                await come_and_go(mme_id)
            assert gc.collect() == 0
        finally:
            gc.enable()
