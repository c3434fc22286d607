"""The network side of a UE under test, scripted step by step: one cell, one MME, real NAS octets over the emulated Uu."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from epc.peer.nas_security import NasSecurityContext, Side, hash_mme, security_header_type
from epc.security.eps_aka import EpsAuthenticationVector, generate_vector, next_sqn
from epc.security.milenage import Milenage
from epc.security.nas_algorithms import Eea, Eia
from epc.security.usim import Usim
from epc.wire import nas
from epc.wire.identity import Ebi, Imsi, Plmn
from ran.enb.radio import AsSecurityMode, Cell, RadioBearer, RadioConnection, Reconfiguration, SystemInformation
from ran.ue import Sim, Ue

K = bytes.fromhex("465B5CE8B199B49FAA5F0A2EE238A6BC")
OPC = bytes.fromhex("E8ED289DEBA952E4283B54E88E6183CA")
PLMN = Plmn("00101")
GUTI = nas.Guti(plmn=PLMN, mme_group_id=1, mme_code=1, m_tmsi=0xC0000001)
_PLAIN = (nas.AuthenticationRequest, nas.AuthenticationReject)


class ScriptedNetwork:
    """Receives what the UE sends, one message after the other, and sends what the test wants."""

    def __init__(self) -> None:
        self.cell = Cell(self, SystemInformation(plmns=(PLMN,), tac=1, cell_identity=1))
        self.algorithm = Milenage(K, OPC)
        self.sqn = 0
        self.ksi = 0
        self.capability = nas.UeSecurityCapability(eea=(0, 1, 2, 3), eia=(1, 2, 3))
        self.security: NasSecurityContext | None = None
        self.candidate: NasSecurityContext | None = None
        self.radio: RadioConnection | None = None
        self.establishment: tuple[object, ...] = ()     # cause, S-TMSI and GUMMEI of the latest connection
        self.headers: list[int] = []                    # security header types of everything received
        self.received: list[tuple[float, str]] = []     # when, which message
        self.losses = 0
        self.security_modes: list[bool] = []
        self.reconfigurations: list[bool] = []
        self.packets: list[tuple[Ebi, bytes]] = []
        self._inbox: asyncio.Queue[object] = asyncio.Queue()

    # the eNodeB's side of Uu

    def initial_nas(self, radio, pdu, cause, s_tmsi, gummei, selected_plmn) -> None:
        self.radio = radio
        self.establishment = (cause, s_tmsi, gummei)
        self._uplink(pdu)

    def uplink_nas(self, radio, pdu) -> None:
        self._uplink(pdu)

    def security_mode_done(self, radio, success) -> None:
        self.security_modes.append(success)

    def reconfiguration_done(self, radio, success) -> None:
        self.reconfigurations.append(success)

    def uplink_packet(self, radio, ebi, packet) -> None:
        self.packets.append((ebi, packet))

    def radio_lost(self, radio) -> None:
        self.losses += 1

    def _uplink(self, pdu: bytes) -> None:
        header_type = security_header_type(pdu)
        self.headers.append(header_type)
        if header_type == nas.SecurityHeaderType.PLAIN:
            message: object = nas.decode(pdu, uplink=True)
        elif header_type >= nas.SecurityHeaderType.SERVICE_REQUEST:
            assert self.security is not None
            self.security.verify_service_request(pdu)
            message = nas.decode(pdu)
        else:
            context = self.candidate if header_type == 4 and self.candidate is not None else self.security
            assert context is not None
            message = nas.decode(context.unprotect(pdu).plain, uplink=True)
            self.security, self.candidate = context, None
        self.received.append((asyncio.get_running_loop().time(), type(message).__name__))
        self._inbox.put_nowait(message)

    # what a script does

    async def receive(self, expected, *, within_s: float = 1000.0):
        """The next message, which must be an ``expected``."""
        message = await asyncio.wait_for(self._inbox.get(), within_s)
        assert isinstance(message, expected), message
        return message

    @property
    def silent(self) -> bool:
        """Nothing arrived that was not received."""
        return self._inbox.empty()

    def send(self, message: nas.NasMessage, *, plain: bool = False) -> None:
        octets = nas.encode(message)
        if self.security is not None and not plain and not isinstance(message, _PLAIN):
            octets = self.security.protect(octets)
        self.radio.deliver_nas(octets)

    def vector(self, *, sqn: int | None = None, amf: bytes = b"\x80\x00", algorithm: Milenage | None = None) -> EpsAuthenticationVector:
        if sqn is None:
            sqn = self.sqn = next_sqn(self.sqn)
        rand = sqn.to_bytes(16, "big")
        return generate_vector(algorithm or self.algorithm, rand=rand, sqn=sqn, plmn=PLMN, amf=amf)

    def challenge(self, vector: EpsAuthenticationVector) -> None:
        self.ksi = (self.ksi + 1) % 7
        self.send(nas.AuthenticationRequest(nas_key_set_identifier=nas.NasKeySetIdentifier(value=self.ksi), rand=vector.rand, autn=vector.autn))

    async def authenticate(self) -> EpsAuthenticationVector:
        vector = self.vector()
        self.challenge(vector)
        response = await self.receive(nas.AuthenticationResponse)
        assert response.res == vector.xres
        return vector

    def command_security(self, kasme: bytes, *, eea: Eea = Eea.EEA2, eia: Eia = Eia.EIA2, request: bytes | None = None, **more) -> None:
        self.candidate = NasSecurityContext(side=Side.NETWORK, ksi=self.ksi, kasme=kasme, eea=eea, eia=eia)
        command = nas.SecurityModeCommand(
            selected_nas_security_algorithms=nas.NasSecurityAlgorithms(
                ciphering=nas.CipheringAlgorithm(eea), integrity=nas.IntegrityAlgorithm(eia)),
            nas_key_set_identifier=nas.NasKeySetIdentifier(value=self.ksi),
            replayed_ue_security_capabilities=self.capability,
            hash_mme=None if request is None else hash_mme(request), **more)
        self.radio.deliver_nas(self.candidate.protect(nas.encode(command), new_context=True, ciphered=False))

    async def secure(self, **more):
        vector = await self.authenticate()
        self.command_security(vector.kasme, **more)
        return await self.receive(nas.SecurityModeComplete)

    def default_bearer(
        self, *, ebi: int = 5, pti: int = 1, apn: str = "internet", ip: str = "10.45.0.2",
    ) -> nas.ActivateDefaultEpsBearerContextRequest:
        options = nas.ProtocolConfigurationOptions(containers=(
            nas.Container(identifier=nas.ContainerId.DNS_SERVER_IPV4_ADDRESS, contents=IPv4Address("192.0.2.53").packed),
            nas.Container(identifier=nas.ContainerId.IPV4_LINK_MTU, contents=(1400).to_bytes(2, "big"))))
        return nas.ActivateDefaultEpsBearerContextRequest(
            eps_bearer_identity=ebi, procedure_transaction_identity=pti, eps_qos=nas.EpsQos(qci=9), access_point_name=apn,
            pdn_address=nas.PdnAddress(pdn_type=nas.PdnType.IPV4, ipv4_address=IPv4Address(ip)),
            protocol_configuration_options=nas.encode_protocol_configuration_options(options))

    def accept(self, *, pti: int = 1, t3412_s: int = 3240, guti: nas.Guti | None = GUTI, esm: nas.EsmMessage | None = None) -> nas.AttachAccept:
        return nas.AttachAccept(
            eps_attach_result=nas.EpsAttachResult.EPS_ONLY, t3412=nas.GprsTimer.of(t3412_s),
            tai_list=nas.TaiList.of([nas.Tai(plmn=PLMN, tac=1)]), guti=guti, esm_message_container=nas.encode(esm or self.default_bearer(pti=pti)))

    def set_up_context(self, *messages: nas.NasMessage, ebis: tuple[int, ...] = (5,)) -> None:
        """Initial context set-up as the eNodeB carries it out: security, then bearers with the NAS messages on top."""
        assert self.security is not None
        self.radio.command_security_mode(AsSecurityMode(k_enb=self.security.derive_kenb(), integrity_algorithm=2, ciphering_algorithm=2))
        self.set_up_bearers(*messages, ebis=ebis)

    def set_up_bearers(self, *messages: nas.NasMessage, ebis: tuple[int, ...] = (5,)) -> None:
        self.radio.reconfigure(Reconfiguration(
            set_up=tuple(RadioBearer(ebi=Ebi(ebi), qci=9) for ebi in ebis), nas=tuple(self.security.protect(nas.encode(m)) for m in messages)))

    async def serve_attach(self, **accept):
        """A whole attach, as it should be. Returns the ATTACH REQUEST."""
        request = await self.receive(nas.AttachRequest)
        if self.security is None:
            await self.secure()
        pdn = nas.decode(request.esm_message_container)
        self.set_up_context(self.accept(pti=pdn.procedure_transaction_identity, **accept))
        await self.receive(nas.AttachComplete)
        return request

    def release(self, cause=None) -> None:
        if cause is None:
            self.radio.release()
        else:
            self.radio.release(cause)

    def lose_context(self) -> None:
        """As an MME that forgot the UE."""
        self.security = None


@pytest.fixture
async def network() -> AsyncIterator[ScriptedNetwork]:
    """The network; an exception in a callback, which the loop would only log, fails the test."""
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    yield ScriptedNetwork()
    assert raised == []


@pytest.fixture
async def ue(network: ScriptedNetwork) -> AsyncIterator[Ue]:
    """A UE that camps on the network's cell; afterwards nothing of it may go on running."""
    phone = Ue(Sim(imsi=Imsi("001010000000001"), usim=Usim(Milenage(K, OPC))))
    phone.camp_on(network.cell)
    yield phone
    phone.lose_power()
    await phone.runner.stop()
    assert phone.emm.waits == phone.esm.waits == 0


@pytest.fixture
async def attached(network: ScriptedNetwork, ue: Ue) -> Ue:
    """A UE that is registered, connected and has one bearer."""
    result, _ = await asyncio.gather(ue.attach(), network.serve_attach())
    assert result.success
    await asyncio.sleep(0)
    return ue


@pytest.fixture
async def idle(network: ScriptedNetwork, attached: Ue) -> Ue:
    """A registered UE in EMM-IDLE."""
    network.release()
    await asyncio.sleep(0.01)
    assert not attached.connected
    return attached

