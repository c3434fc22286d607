"""One UE: what it knows, its NAS connection, and the doors through which scenarios, the radio and IP packets come in.

The procedures are in files of their names (``attach``, ``detach``, ``tracking_area_update``, ``service_request``; ``authentication``,
``security_mode``, ``identity``; ``esm``). Those that the UE begins are coroutines in a slot and exist only while they run; those that the
network begins are answered at once. An idle UE holds no task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import structlog

from epc.peer.nas_security import NasCountExhausted, NasSecurityContext, security_header_type
from epc.procedure import Collision, Dialogue, Procedure, Runner, Slot, Timer
from epc.wire import nas
from epc.wire.errors import WireError
from epc.wire.identity import Ebi, Plmn
from ran.enb.radio import AsSecurityMode, Cell, Gummei, PagingRecord, RadioConnection, Reconfiguration, ReleaseCause, STmsi
from ran.ue import dispatch, security_mode
from ran.ue.attach import attach
from ran.ue.authentication import AuthenticationState
from ran.ue.behaviour import CORRECT, Behaviour
from ran.ue.detach import detach
from ran.ue.esm.bearer_resource import allocate_bearer_resource, release_bearer_resource
from ran.ue.esm.pdn_connectivity import connect_pdn, disconnect_pdn
from ran.ue.esm.traffic_mapping import bearer_for
from ran.ue.indications import Answer, ConnectionReleased, RadioBearersEstablished, failure, give
from ran.ue.service_request import service_request
from ran.ue.sim import Sim
from ran.ue.state import EmmState, EmmSubstate, PdnConnection, Result, UpdateStatus
from ran.ue.timers import MAXIMUM_ATTEMPTS, T3402, T3412
from ran.ue.tracking_area_update import tracking_area_update

if TYPE_CHECKING:
    from epc.wire.s1ap import RRCEstablishmentCause
    from ran.ue.config import UeConfig

DEFAULT_CAPABILITY = nas.UeNetworkCapability(eea=(0, 1, 2, 3), eia=(1, 2, 3))
_NO_KEY = nas.NasKeySetIdentifier(value=nas.NO_KEY_IS_AVAILABLE)
_ALWAYS_UNCIPHERED = (nas.AttachRequest, nas.TrackingAreaUpdateRequest)     # TS 24.301 clause 4.4.5
_INITIAL = (nas.AttachRequest, nas.DetachRequestFromUe, nas.TrackingAreaUpdateRequest)
_REGISTERED = (EmmState.REGISTERED, EmmState.SERVICE_REQUEST_INITIATED, EmmState.TRACKING_AREA_UPDATING_INITIATED)
_WAITING_PACKETS = 16       # kept while the UE asks for its radio bearers


class ProcedureRunning(RuntimeError):
    """The UE is busy with another procedure, or in a state in which the one asked for makes no sense."""


@dataclass(slots=True)
class Traffic:
    """IP packets over the radio, in one direction and since the phone was made."""

    packets: int = 0
    octets: int = 0

    def add(self, packet: bytes) -> None:
        self.packets += 1
        self.octets += len(packet)


class Ue:
    """A phone. Give it a cell with :meth:`camp_on`, then ``await ue.attach()``.

    ``on_ip_packet(ebi, packet)`` receives downlink IP packets; ``on_event(ue, name, facts)`` hears what happens: ``state``, ``attached``,
    ``attach_failed``, ``detached``, ``bearer_activated``, ``bearer_deactivated``, ``connected``, ``released``, ``paged``,
    ``message_discarded``, ``emm_information``, ``emm_status``, ``esm_status``.
    """

    __slots__ = (
        "_answers",
        "_timers",
        "_waiting_packets",
        "apn",
        "attempts",
        "authentication",
        "behaviour",
        "capability",
        "cells_in_reach",
        "emm",
        "emm_slot",
        "equivalent_plmns",
        "esm",
        "esm_slot",
        "forbidden_plmns",
        "forbidden_plmns_for_eps",
        "forbidden_tais_for_region",
        "forbidden_tais_for_roaming",
        "guti",
        "imeisv",
        "last_attach_request",
        "last_pti",
        "last_visited_tai",
        "log",
        "on_event",
        "on_ip_packet",
        "pdn_connections",
        "pdn_type",
        "radio",
        "radio_bearers",
        "re_attach_on_release",
        "received",
        "requested_apn",
        "runner",
        "secured",
        "security",
        "sent",
        "sim",
        "state",
        "substate",
        "t3402_s",
        "t3412_s",
        "tai_list",
        "update_status",
    )

    def __init__(self, sim: Sim, *, imeisv: str = "3520990017614823", apn: str | None = None, pdn_type: nas.PdnType = nas.PdnType.IPV4,
                 capability: nas.UeNetworkCapability = DEFAULT_CAPABILITY, runner: Runner | None = None, behaviour: Behaviour = CORRECT) -> None:
        self.sim = sim
        self.imeisv = imeisv
        self.apn = apn
        self.pdn_type = pdn_type
        self.capability = capability
        self.behaviour = behaviour
        self.runner = Runner() if runner is None else runner         # an idle one is false
        self.log: structlog.typing.FilteringBoundLogger = structlog.get_logger("ran.ue").bind(imsi=sim.imsi)
        self.on_event: Callable[[Ue, str, Mapping[str, object]], None] | None = None
        self.on_ip_packet: Callable[[Ebi, bytes], None] | None = None
        self.sent, self.received = Traffic(), Traffic()

        # registration: what TS 24.301 annex C keeps on the USIM or in the equipment
        self.state = EmmState.NULL
        self.substate = EmmSubstate.NORMAL_SERVICE
        self.update_status = UpdateStatus.EU2_NOT_UPDATED
        self.guti: nas.Guti | None = None
        self.tai_list: tuple[nas.Tai, ...] = ()
        self.last_visited_tai: nas.Tai | None = None
        self.equivalent_plmns: tuple[str, ...] = ()
        self.forbidden_plmns: frozenset[str] = frozenset()
        self.forbidden_plmns_for_eps: frozenset[str] = frozenset()
        self.forbidden_tais_for_roaming: frozenset[nas.Tai] = frozenset()
        self.forbidden_tais_for_region: frozenset[nas.Tai] = frozenset()
        self.attempts = 0                       # attach or tracking area updating attempt counter
        self.t3402_s = T3402.seconds
        self.t3412_s: float | None = T3412.seconds

        # security
        self.security: NasSecurityContext | None = None
        self.secured = False                    # secure exchange of NAS messages is established on this connection: clause 4.4.2.3
        self.authentication = AuthenticationState()
        self.last_attach_request = b""          # plain octets of the latest ATTACH or TAU REQUEST, which HASHMME covers

        # sessions
        self.pdn_connections: dict[int, PdnConnection] = {}     # by default bearer, in the order of their coming
        self.requested_apn: str | None = None                   # of the attach or PDN connectivity procedure that runs
        self.last_pti = 0

        # connection
        self.radio: RadioConnection | None = None
        self.cells_in_reach: tuple[Cell, ...] = ()          # where it may look for service by itself; none: it stays where it was put
        self.radio_bearers: frozenset[int] = frozenset()
        self.re_attach_on_release = False
        self.emm = Dialogue(self.send_emm)
        self.esm = Dialogue(self.send_esm)
        self.emm_slot = Slot(self.runner, {})
        self.esm_slot = Slot(self.runner, {})
        self._answers: list[Answer] = []        # of callers who wait for a procedure
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiting_packets: deque[tuple[Ebi | None, bytes]] | None = None

    @classmethod
    def from_config(cls, config: UeConfig, runner: Runner | None = None) -> list[Ue]:
        """The phones that one entry of a configuration file describes."""
        capability = config.capability
        return [cls(sim, imeisv=imeisv, apn=config.apn, pdn_type=config.requested_pdn_type, capability=capability, runner=runner)
                for sim, imeisv in config.sims()]

    def __repr__(self) -> str:
        return f"Ue({self.sim.imsi}, {self.state.value})"

    @property
    def forbidden_tais(self) -> frozenset[nas.Tai]:
        """Tracking areas in which the UE does not register by itself."""
        return self.forbidden_tais_for_roaming | self.forbidden_tais_for_region

    def is_suitable(self, cell: Cell) -> bool:
        """Whether the UE may register in ``cell`` by itself: TS 24.301 clause 5.1.1, TS 23.122 clause 3.1."""
        tai = _tai_of(cell)
        return tai.plmn not in self.forbidden_plmns | self.forbidden_plmns_for_eps and tai not in self.forbidden_tais

    def forgive(self, tai: nas.Tai) -> None:
        """A registration that the user asked for has succeeded in ``tai``: nothing is forbidden there (TS 23.122 clause 3.1)."""
        self.forbidden_plmns = self.forbidden_plmns - {tai.plmn}
        self.forbidden_plmns_for_eps = self.forbidden_plmns_for_eps - {tai.plmn}
        self.forbidden_tais_for_roaming = self.forbidden_tais_for_roaming - {tai}
        self.forbidden_tais_for_region = self.forbidden_tais_for_region - {tai}

    # --- for scenarios -----------------------------------------------------------------------------------------------------

    def camp_on(self, cell: Cell) -> None:
        """Switch on in ``cell``, or move there. A registered UE updates its tracking area if the cell lies in a new one."""
        if self.radio is not None:
            was_connected = self.connected
            self.radio.leave()
            if was_connected:
                self.released(ReleaseCause.RADIO_LINK_FAILURE)
        self.radio = cell.attach_radio(self)
        if self.state is EmmState.NULL:
            self.enter(EmmState.DEREGISTERED)
        elif self.state is EmmState.REGISTERED and self.tai not in self.tai_list:
            self._start(tracking_area_update, False, False)

    async def attach(self, apn: str | None = None, *, max_attempts: int = MAXIMUM_ATTEMPTS) -> Result:
        """Attach, with ``apn`` or the UE's own, and activate the default bearer: TS 24.301 clause 5.5.1.2.

        Returns at success, at a rejection that a new attempt cannot cure, or after ``max_attempts`` attempts with T3411 (10 s) between
        them. After the fifth the UE goes on by itself when T3402 runs out. Raises :class:`ProcedureRunning` when it is registered or busy.
        """
        if self.state is not EmmState.DEREGISTERED:
            raise ProcedureRunning(f"IMSI {self.sim.imsi} cannot attach: it is {self.state.value}")
        return await self._call(self.emm_slot, attach, apn or self.apn, max_attempts)

    async def detach(self, *, switch_off: bool = False) -> Result:
        """Detach; with ``switch_off`` nobody answers and the UE is off afterwards: TS 24.301 clause 5.5.2.2. Aborts what else runs."""
        if self.state in (EmmState.NULL, EmmState.DEREGISTERED_INITIATED) or (self.state is EmmState.DEREGISTERED and not switch_off):
            raise ProcedureRunning(f"IMSI {self.sim.imsi} cannot detach: it is {self.state.value}")
        return await self._call(self.emm_slot, detach, switch_off, collision=Collision.REPLACE)

    async def update_tracking_area(self, *, periodic: bool = False, active: bool = False) -> Result:
        """Tracking area update; ``active`` asks for the user plane as well: TS 24.301 clause 5.5.3.2."""
        if self.state is not EmmState.REGISTERED:
            raise ProcedureRunning(f"IMSI {self.sim.imsi} cannot update its tracking area: it is {self.state.value}")
        return await self._call(self.emm_slot, tracking_area_update, periodic, active)

    async def request_service(self, *, paged: bool = False) -> Result:
        """From idle to connected, with all radio bearers: TS 24.301 clause 5.6.1."""
        if self.state is not EmmState.REGISTERED or self.connected:
            mode = "connected" if self.connected else "idle"
            raise ProcedureRunning(f"IMSI {self.sim.imsi} cannot request service: it is {self.state.value}, {mode}")
        return await self._call(self.emm_slot, service_request, paged)

    async def connect_pdn(self, apn: str, *, pdn_type: nas.PdnType | None = None) -> Result:
        """A further PDN connection: TS 24.301 clause 6.5.1."""
        self._require_registered()
        return await self._call(self.esm_slot, connect_pdn, apn, pdn_type or self.pdn_type)

    async def disconnect_pdn(self, ebi: int) -> Result:
        """Give up the PDN connection whose default bearer is ``ebi``: TS 24.301 clause 6.5.2."""
        self._require_registered()
        return await self._call(self.esm_slot, disconnect_pdn, ebi)

    async def request_bearer(self, filters: Iterable[nas.PacketFilter], qos: nas.EpsQos, *, linked_ebi: int | None = None) -> Result:
        """A dedicated bearer for these flows; the network may refuse, or add them to a bearer that is there: TS 24.301 clause 6.5.3.

        ``linked_ebi`` is the default bearer of the PDN connection, the first one's if it is not said.
        """
        self._require_registered()
        linked_ebi = next(iter(self.pdn_connections)) if linked_ebi is None else linked_ebi
        return await self._call(self.esm_slot, allocate_bearer_resource, linked_ebi, tuple(filters), qos)

    async def release_bearer(self, ebi: int) -> Result:
        """Give up a dedicated bearer that was asked for: TS 24.301 clause 6.5.4."""
        self._require_registered()
        return await self._call(self.esm_slot, release_bearer_resource, ebi)

    def _require_registered(self) -> None:
        if not self.registered:
            raise ProcedureRunning(f"IMSI {self.sim.imsi} is {self.state.value}, not registered")

    def lose_power(self) -> None:
        """The battery falls out: no message, everything but the USIM's content is forgotten."""
        self.abort_procedures()
        self._local_end("power lost")
        self.security = None
        self.authentication = AuthenticationState()
        self.tai_list = ()
        self.release_bearers()
        self.sim.valid = True
        self._forget_forbidden()
        self._stop_all_timers()
        if self.radio is not None:
            self.radio.leave()
            self.radio = None
        self.enter(EmmState.NULL)

    def lose_radio(self) -> None:
        """Radio link failure: the eNodeB notices and asks the MME to release the UE's context."""
        if self.radio is not None:
            self.radio.lose_radio()

    @property
    def ip(self) -> IPv4Address | None:
        """The IPv4 address of the first PDN connection, or None."""
        return next((connection.address.ipv4_address for connection in self.pdn_connections.values()), None)

    @property
    def dns_servers(self) -> tuple[IPv4Address, ...]:
        """The name servers that the network named for the first PDN connection (TS 24.008 clause 10.5.6.3)."""
        return next((connection.dns_servers for connection in self.pdn_connections.values()), ())

    @property
    def mtu_octets(self) -> int | None:
        """What the network said of the first PDN connection (IPv4 Link MTU), or None."""
        return next((connection.mtu_octets for connection in self.pdn_connections.values()), None)

    @property
    def registered(self) -> bool:
        return self.state is EmmState.REGISTERED

    @property
    def connected(self) -> bool:
        """There is a NAS signalling connection: EMM-CONNECTED."""
        return self.radio is not None and self.radio.connected

    @property
    def tai(self) -> nas.Tai:
        """The tracking area of the cell."""
        return _tai_of(self.serving_radio.cell)

    @property
    def serving_radio(self) -> RadioConnection:
        if self.radio is None:
            raise ConnectionError("the UE camps on no cell")
        return self.radio

    def describe(self) -> dict[str, object]:
        """Plain data for whoever lists UEs."""
        return {
            "imsi": self.sim.imsi,
            "state": self.state.value,
            "substate": self.substate.value,
            "connected": self.connected,
            "guti": None if self.guti is None else f"{self.guti.plmn}-{self.guti.mme_group_id:04x}-{self.guti.mme_code:02x}-{self.guti.m_tmsi:08x}",
            "running": [slot.running.name for slot in (self.emm_slot, self.esm_slot) if slot.running is not None],
            "timers": sorted(self._timers),
            "security": repr(self.security) if self.security else None,
            "pdn_connections": [
                {"ebi": connection.ebi, "apn": connection.apn, "ipv4": str(connection.address.ipv4_address or ""), "qci": connection.qos.qci,
                 "dedicated": {ebi: bearer.qos.qci for ebi, bearer in connection.dedicated.items()}}
                for connection in self.pdn_connections.values()],
        }

    # --- user plane --------------------------------------------------------------------------------------------------------

    def send_ip_packet(self, packet: bytes, ebi: int | None = None) -> None:
        """An uplink IP packet, on the bearer that its packet filters choose, or on ``ebi`` whatever they say.

        An idle UE asks for service first and keeps the packet. Without a PDN connection the packet is dropped.
        """
        if self.radio is None or not self.pdn_connections:
            return
        if self.radio_bearers:
            bearer = ebi if ebi is not None else bearer_for(self.pdn_connections.values(), packet)
            if bearer is not None and bearer in self.radio_bearers:
                self.sent.add(packet)
                self.radio.send_packet(Ebi(bearer), packet)
            return
        if self._waiting_packets is None:
            self._waiting_packets = deque(maxlen=_WAITING_PACKETS)
        self._waiting_packets.append((None if ebi is None else Ebi(ebi), packet))
        if self.state is EmmState.REGISTERED and not self.connected:
            self._start(service_request, False)

    def downlink_packet(self, ebi: Ebi, packet: bytes) -> None:
        self.received.add(packet)
        if self.on_ip_packet is not None:
            self.on_ip_packet(ebi, packet)

    # --- NAS out -----------------------------------------------------------------------------------------------------------

    @property
    def ksi(self) -> nas.NasKeySetIdentifier:
        """Of the current security context; 7 without one."""
        return nas.NasKeySetIdentifier(value=self.security.ksi) if self.security is not None else _NO_KEY

    @property
    def identity(self) -> nas.EpsMobileIdentity:
        """GUTI if there is one, else IMSI."""
        return self.guti or nas.ImsiIdentity(imsi=self.sim.imsi)

    def send_emm(self, message: nas.EmmMessage, *, establishment_cause: RRCEstablishmentCause = "mo-Signalling") -> None:
        """Send an EMM message: plain, protected or ciphered as TS 24.301 clauses 4.4.4 and 4.4.5 demand.

        An initial message connects first; any other one needs the connection and raises ``ConnectionError`` without it.
        """
        octets = nas.encode(message)
        if isinstance(message, _ALWAYS_UNCIPHERED):
            self.last_attach_request = octets
        initial = not self.connected
        if initial and not isinstance(message, _INITIAL):
            raise ConnectionError(f"no NAS signalling connection for {type(message).__name__}")
        if self.security is not None and (self.secured or initial):
            if initial:     # without a SECURITY MODE COMMAND after it, KeNB comes from this message: TS 33.401 clause 7.2.6.2
                self.security.kenb_uplink_count = self.security.uplink_count
            octets = self._counted(lambda context: context.protect(octets, ciphered=self.secured and not isinstance(message, _ALWAYS_UNCIPHERED)))
        self.transmit(octets, establishment_cause)

    def send_esm(self, message: nas.EsmMessage) -> None:
        """Send an ESM message, which is always protected and ciphered."""
        octets = nas.encode(message)
        if self.security is None or not self.connected:
            raise ConnectionError("an ESM message needs a secured NAS signalling connection")
        self.transmit(self._counted(lambda context: context.protect(octets)))

    def send_service_request(self, establishment_cause: RRCEstablishmentCause) -> None:
        self.transmit(self._counted(lambda context: context.protect_service_request()), establishment_cause)

    def _counted(self, protect: Callable[[NasSecurityContext], bytes]) -> bytes:
        """What ``protect`` makes of the context; when its NAS COUNT is used up, context and connection end (TS 24.301 clause 4.4.3.5)."""
        if self.security is None:
            raise ConnectionError("no EPS security context")
        try:
            return protect(self.security)
        except NasCountExhausted as error:
            self.security = None
            self.lose_radio()
            raise ConnectionError(str(error)) from None

    def transmit(self, octets: bytes, establishment_cause: RRCEstablishmentCause = "mo-Signalling") -> None:
        """Hand octets to RRC as they are."""
        radio = self.serving_radio
        if not radio.connected:
            self.stop_timer(T3412)
            self.tell("connected", cause=establishment_cause)
        guti = self.guti
        if guti is None:
            radio.send_nas(octets, establishment_cause=establishment_cause)
            return
        gummei = Gummei(Plmn(guti.plmn), guti.mme_group_id, guti.mme_code)
        s_tmsi = STmsi(guti.mme_code, guti.m_tmsi) if self.tai in self.tai_list else None
        radio.send_nas(octets, establishment_cause=establishment_cause, s_tmsi=s_tmsi, gummei=gummei)

    # --- the radio's side: RadioUe -------------------------------------------------------------------------------------------

    def downlink_nas(self, pdu: bytes) -> None:
        """A NAS message arrived: check it, then hand it to whoever waits for it or answers it."""
        try:
            message = self._open(pdu)
        except WireError as error:
            self.tell("message_discarded", reason=str(error))
            if self.secured and isinstance(error, nas.NasSyntaxError):
                self._complain(error)
            return
        if message is None or type(message) in self.behaviour.silent_on:
            return
        if self.behaviour.intercept is not None and self.behaviour.intercept(message):
            return
        try:
            dispatch.dispatch(self, message)
        except ConnectionError as error:
            self.tell("message_discarded", reason=str(error))

    def _open(self, pdu: bytes) -> nas.NasMessage | None:
        """The message in ``pdu`` once it passed the checks of TS 24.301 clause 4.4.4.2; ``None`` when it is to be discarded."""
        header_type = security_header_type(pdu)
        if header_type == nas.SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT:
            return security_mode.open_command(self, pdu)
        if header_type == nas.SecurityHeaderType.PLAIN:
            message = nas.decode(pdu, uplink=False)
            if self.secured or not dispatch.is_allowed_unprotected(message):
                self.tell("message_discarded", reason=f"{type(message).__name__} without integrity protection")
                return None
        elif self.security is None:
            self.tell("message_discarded", reason="protected message without a security context")
            return None
        else:
            message = nas.decode(self.security.unprotect(pdu).plain, uplink=False)
            self.secured = True
        return message if isinstance(message, nas.NasMessage) else None

    def _complain(self, error: nas.NasSyntaxError) -> None:
        """EMM STATUS or ESM STATUS for a message that cannot be understood: TS 24.301 clauses 7.4 and 7.5."""
        match error.cause:
            case nas.EmmCause() as cause:
                self.send_emm(nas.EmmStatus(emm_cause=cause))
            case nas.EsmCause() as cause:
                self.send_esm(nas.EsmStatus(esm_cause=cause, eps_bearer_identity=error.eps_bearer_identity or 0,
                                            procedure_transaction_identity=error.procedure_transaction_identity or 0))

    def security_mode_command(self, mode: AsSecurityMode) -> None:
        """RRC SecurityModeCommand: complete when the eNodeB's KeNB is the UE's own.

        It also tells that the MME accepted the SERVICE REQUEST, so that NAS is secured from here on (TS 24.301 clause 4.4.2.3).
        """
        if self.security is not None and mode.k_enb == self.security.derive_kenb() and not self.behaviour.refuse_as_security:
            self.secured = True
            self.serving_radio.security_mode_complete()
        else:
            self.serving_radio.security_mode_failure()

    def reconfigure(self, reconfiguration: Reconfiguration) -> None:
        """RRCConnectionReconfiguration: bearers first, then the NAS messages that came with it."""
        radio = self.serving_radio
        if self.behaviour.refuse_radio_bearers:
            radio.reconfiguration_failure()
            return
        self.radio_bearers = self.radio_bearers.union([bearer.ebi for bearer in reconfiguration.set_up]).difference(reconfiguration.released)
        radio.reconfiguration_complete()
        for pdu in reconfiguration.nas:
            self.downlink_nas(pdu)
        if reconfiguration.set_up:
            self.emm.feed(RadioBearersEstablished())
            self._send_waiting_packets()

    def released(self, cause: ReleaseCause) -> None:
        """The RRC connection is gone, and the NAS signalling connection with it."""
        self._local_end(cause.value)
        if self.state in _REGISTERED:
            self.start_t3412()
        if self.re_attach_on_release:
            self.re_attach_on_release = False
            self.attach_by_itself()
        elif cause is ReleaseCause.LOAD_BALANCING_TAU_REQUIRED and self.state is EmmState.REGISTERED:
            self._start(tracking_area_update, False, False)

    def connection_rejected(self, wait_time_s: int) -> None:
        self._local_end(f"RRC connection rejected, wait {wait_time_s} s")

    def paged(self, record: PagingRecord) -> None:
        """Paging: answer it when it is for this UE (TS 24.301 clause 5.6.2.2)."""
        if self.state is not EmmState.REGISTERED or self.radio is None or record.domain != "ps":
            return
        if record.s_tmsi is not None and self.guti is not None and record.s_tmsi == (self.guti.mme_code, self.guti.m_tmsi):
            self.tell("paged", identity="S-TMSI")
            self._start(service_request, True)
        elif record.imsi == self.sim.imsi:
            # clause 5.6.2.2.2: the network lost the UE's data; forget the registration and attach anew
            self.tell("paged", identity="IMSI")
            self.forget_registration()
            self.release_bearers()
            self.enter(EmmState.DEREGISTERED)
            self.attach_by_itself()

    # --- for the procedures ------------------------------------------------------------------------------------------------

    def enter(self, state: EmmState, substate: EmmSubstate = EmmSubstate.NORMAL_SERVICE) -> None:
        if (state, substate) != (self.state, self.substate):
            self.state, self.substate = state, substate
            self.tell("state", state=state.value, substate=substate.value)

    def tell(self, event: str, **facts: object) -> None:
        self.log.debug(f"ue.{event}", **facts)
        if self.on_event is not None:
            self.on_event(self, event, facts)

    def start_timer(self, timer: Timer, expired: Callable[[], None]) -> None:
        """Call ``expired`` when ``timer`` runs out; starting it again restarts it."""
        self.stop_timer(timer)

        def fire() -> None:
            self._timers.pop(timer.name, None)
            expired()

        self._timers[timer.name] = asyncio.get_running_loop().call_later(timer.seconds, fire)

    def stop_timer(self, timer: Timer) -> None:
        handle = self._timers.pop(timer.name, None)
        if handle is not None:
            handle.cancel()

    def start_t3412(self) -> None:
        """The UE is idle: begin to count towards the next periodic update, with the value that the network gave last (clause 5.3.5)."""
        if not self.connected and self.t3412_s is not None:
            self.start_timer(T3412._replace(seconds=self.t3412_s), self._periodic_update)

    def has_timer(self, timer: Timer) -> bool:
        return timer.name in self._timers

    def abort_procedures(self) -> None:
        """End whatever runs; its callers are told."""
        self._refuse_callers()
        self.emm_slot.cancel()
        self.esm_slot.cancel()

    def _refuse_callers(self) -> None:
        # here and not only in the procedures: a procedure that is cancelled before its first step never runs at all
        for answer in self._answers:
            give(answer, failure(asyncio.CancelledError()))
        self._answers = []

    def _stop_all_timers(self) -> None:
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    def forget_registration(self) -> None:
        """Delete GUTI, last visited TAI, TAI list and keys."""
        self.guti = None
        self.last_visited_tai = None
        self.tai_list = ()
        self.security = None
        self.secured = False
        self.authentication.clear()

    def release_bearers(self) -> None:
        """Deactivate all EPS bearer contexts locally."""
        for ebi in list(self.pdn_connections):
            self.drop_pdn_connection(ebi)
        self.radio_bearers = frozenset()
        self._waiting_packets = None

    @property
    def active_bearers(self) -> tuple[int, ...]:
        """EPS bearer identities in rising order."""
        return tuple(sorted([ebi for connection in self.pdn_connections.values() for ebi in (connection.ebi, *connection.dedicated)]))

    def keep_bearers(self, active: tuple[int, ...]) -> None:
        """Deactivate locally what the network no longer has."""
        for connection in list(self.pdn_connections.values()):
            if connection.ebi not in active:
                self.drop_pdn_connection(connection.ebi)
            else:
                for ebi in [ebi for ebi in connection.dedicated if ebi not in active]:
                    del connection.dedicated[ebi]
                    self.tell("bearer_deactivated", ebi=ebi, apn=connection.apn)

    def drop_pdn_connection(self, ebi: int) -> None:
        connection = self.pdn_connections.pop(ebi, None)
        if connection is not None:
            self.tell("bearer_deactivated", ebi=ebi, apn=connection.apn)

    def next_pti(self) -> int:
        """A procedure transaction identity, 1 to 254: TS 24.007 clause 11.2.3.1a."""
        self.last_pti = self.last_pti % 254 + 1
        return self.last_pti

    def attach_by_itself(self) -> None:
        """Attach without anybody waiting for it: after T3402, T3346, or when the network asked for it."""
        if self.state is EmmState.DEREGISTERED and self.radio is not None and self.sim.valid:
            if self.is_suitable(self.radio.cell):
                self.emm_slot.start(attach, self, None, self.apn, MAXIMUM_ATTEMPTS)
            else:
                self.search()

    def search(self) -> None:
        """Look for a suitable cell among those in reach, and attach there once the present connection is over: TS 24.301 clause 5.2.2.3."""
        found = next((cell for cell in self.cells_in_reach if self.is_suitable(cell)), None)
        if found is None or not self.sim.valid:
            return
        if self.connected:
            self.re_attach_on_release = True        # which leads here again
            return
        self.tell("cell_selected", plmn=_tai_of(found).plmn, tac=_tai_of(found).tac)
        self.camp_on(found)
        self.attach_by_itself()

    def _forget_forbidden(self) -> None:
        """Of the lists only that of forbidden PLMNs outlives the switching off: it is on the USIM. Nothing that was intended does."""
        self.re_attach_on_release = False
        self.forbidden_plmns_for_eps = frozenset()
        self.forbidden_tais_for_roaming = self.forbidden_tais_for_region = frozenset()

    def switch_off(self) -> None:
        """EMM-NULL: the USIM keeps GUTI and security context."""
        self._stop_all_timers()
        self.release_bearers()
        self.sim.valid = True
        self._forget_forbidden()
        if self.radio is not None:
            self.radio.leave()
            self.radio = None
        self._local_end("switched off")
        self.enter(EmmState.NULL)

    def _local_end(self, reason: str) -> None:
        """The NAS signalling connection ended: whoever waits for a message on it learns so."""
        self.secured = False
        self.radio_bearers = frozenset()
        self.authentication.clear()
        self.tell("released", reason=reason)
        self.emm.feed(ConnectionReleased())
        self.emm.close(ConnectionError(f"NAS signalling connection released: {reason}"))
        self.esm.close(ConnectionError(f"NAS signalling connection released: {reason}"))

    def update_by_itself(self) -> None:
        """Update the tracking area without anybody waiting for it: after T3402."""
        if self.state is EmmState.REGISTERED:
            self._start(tracking_area_update, False, False)

    def _periodic_update(self) -> None:
        if self.state is EmmState.REGISTERED and not self.connected:
            self._start(tracking_area_update, True, False)

    def _send_waiting_packets(self) -> None:
        waiting, self._waiting_packets = self._waiting_packets, None
        for ebi, packet in waiting or ():
            self.send_ip_packet(packet, ebi)

    def _start(self, what: Procedure, *arguments: object) -> None:
        """Begin a procedure that nobody waits for, unless another one runs."""
        self.emm_slot.start(what, self, None, *arguments, collision=Collision.IGNORE)

    async def _call(self, slot: Slot, what: Procedure, *arguments: object, collision: Collision = Collision.IGNORE) -> Result:
        if slot.running is not None and collision is Collision.IGNORE:
            raise ProcedureRunning(f"IMSI {self.sim.imsi} is busy with {slot.running.name}")
        answer: Answer = asyncio.get_running_loop().create_future()
        self._answers = [other for other in self._answers if not other.done()]
        if collision is Collision.REPLACE:
            self._refuse_callers()
        self._answers.append(answer)
        slot.start(what, self, answer, *arguments, collision=collision)
        result = await answer
        await asyncio.sleep(0)      # the procedure ends in this turn of the loop: its caller may ask for the next one at once
        return result


def _tai_of(cell: Cell) -> nas.Tai:
    return nas.Tai(plmn=cell.information.plmns[0], tac=cell.information.tac)
