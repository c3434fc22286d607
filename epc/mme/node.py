"""The MME as a service: what it listens on, what it holds, and what happens to phones whose link comes and goes."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from epc.mme.attach import attach
from epc.mme.bearer_resource import bearer_resource_allocation, bearer_resource_modification
from epc.mme.config import MmeConfig, MmeTimers
from epc.mme.delete_bearer import bearers_lost
from epc.mme.detach import detach, implicit_detach, network_initiated_detach
from epc.mme.downlink_data_notification import paging
from epc.mme.paging import PagingAnswered
from epc.mme.pdn_connectivity import pdn_connectivity
from epc.mme.pdn_disconnect import pdn_disconnect
from epc.mme.pgw_restart_notification import session_lost
from epc.mme.purge import purge_ue
from epc.mme.s1_association import S1Association
from epc.mme.s1_connection import S1Connection
from epc.mme.s6a import S6a
from epc.mme.s11 import S11
from epc.mme.service_request import service_request
from epc.mme.tracking_area_update import tracking_area_update
from epc.mme.ue_context import EmmState, Location, SgwSession, UeContext, UeDirectory
from epc.mme.ue_context_release import DETACH, SUPERSEDED, release, release_access_bearers, s1_release, ue_context_release
from epc.node import Command, Node, TunnelEnd, View
from epc.node.config import zone_named
from epc.node.state import AssociatedPeer, diameter_peers, gtp_paths
from epc.procedure import Collision, Slot, table
from epc.security.nas_algorithms import Eea, Eia
from epc.transport.dns import DnsClient
from epc.transport.interface import Association, Listener, Transport
from epc.wire import nas, s1ap
from epc.wire.errors import WireError
from epc.wire.gtpv2 import UeTimeZone
from epc.wire.identity import Plmn

PROCEDURES = table([
    attach, detach, tracking_area_update, service_request, s1_release, pdn_connectivity, pdn_disconnect, bearer_resource_allocation,
    bearer_resource_modification])
_VIEW_LIMIT = 1000
_MOST_CELLS = 10_000
_NOTHING = datetime.timedelta()
_NO_CONTEXT = contextvars.Context()     # for timers that outlive the procedure that starts them by an hour


class Mme(Node[MmeConfig]):
    """Mobility Management Entity: TS 23.401 clause 4.4.2."""

    kind = "mme"
    config_model = MmeConfig

    def __init__(
        self,
        config: MmeConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self.procedures = PROCEDURES
        self.timers = MmeTimers(config.timers, config.s6a.tx_s)
        self.ues = UeDirectory()
        self.associations: set[S1Association] = set()
        self.s1_connections = 0
        self._listeners: list[Listener] = []
        self._mme_ue_s1ap_ids = 0
        self._locations: dict[tuple[bytes, bytes, bytes, int], Location] = {}
        self.resolver = None if config.dns is None else DnsClient(
            transport, [server.address for server in config.dns.servers], observer=self.metrics, entropy=self.entropy, local=config.dns.host,
            timeout_s=config.dns.timeout_s, attempts=config.dns.attempts)
        self.s11 = S11(self)
        self.s6a = S6a(self)
        # what is the same for every phone is made once
        self.eea_preference, self.eia_preference = config.security.eea_preference, config.security.eia_preference
        self.served_tais = frozenset([(tais.plmn, tac) for tais in config.tais for tac in tais.tacs])
        self.tai_list = nas.TaiList.of([nas.Tai(plmn=tais.plmn, tac=tac) for tais in config.tais for tac in tais.tacs])
        self.t3412 = nas.GprsTimer.of(config.timers.t3412_s or None)
        self.t3402 = nas.GprsTimer.of(config.timers.t3402_s)
        features = nas.EpsNetworkFeature.IMS_VOICE_OVER_PS if config.ims_voice_over_ps else nas.EpsNetworkFeature(0)
        self.eps_network_feature_support = bytes((int(features),))
        self.emm_information = _emm_information(config)
        self.s1_setup_response = _s1_setup_response(config)
        self._gummeis = frozenset([(gummei.plmn, gummei.mme_group_id, gummei.mme_code) for gummei in config.gummeis])
        self.resynchronisations = self.metrics.counter("resynchronisations", "Authentications that needed a re-synchronisation of SQN")
        self.metrics.gauge("registered_ues", "Phones in EMM-REGISTERED (TS 32.426: MM.RegisteredSubNbrMean)", lambda: self.ues.registered)
        self.metrics.gauge("connected_ues", "Phones in ECM-CONNECTED", lambda: self.s1_connections)
        self.metrics.gauge("sessions", "Sessions at SGWs", lambda: len(self.s11.sessions))

    # life

    async def start(self) -> None:
        await self.s11.endpoint.open()
        if self.resolver is not None:
            await self.resolver.open()
        await self.s6a.endpoint.start()
        for endpoint in self.config.s1:
            self._listeners.append(await self.transport.listen_sctp(endpoint.address, self._accept, interface="S1-MME"))

    async def stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        await self.runner.stop()
        for association in list(self.associations):
            association.shutdown()
        for ue in list(self.ues.by_imsi.values()):
            ue.stop_clock()
        if self.resolver is not None:
            self.resolver.close()
        await self.s6a.endpoint.stop()
        await self.s11.endpoint.close()

    def is_ready(self) -> bool:
        return bool(self._listeners) and self.s6a.endpoint.is_connected()

    def _accept(self, association: Association) -> None:
        self.associations.add(S1Association(self, association))

    # identities

    def new_ue(self) -> UeContext:
        return UeContext(Slot(self.runner, self.procedures))

    def new_mme_ue_s1ap_id(self) -> int:
        self._mme_ue_s1ap_ids = self._mme_ue_s1ap_ids % 0xFFFFFFFF + 1
        return self._mme_ue_s1ap_ids

    def new_m_tmsi(self) -> int:
        """Random, so that a phone cannot be followed from one M-TMSI to the next: TS 33.401 clause 5.1.1."""
        while True:
            m_tmsi = self.entropy.getrandbits(32)
            if m_tmsi not in self.ues.by_m_tmsi and m_tmsi != 0xFFFFFFFF:
                return m_tmsi

    def guti(self, ue: UeContext) -> nas.Guti:
        first = self.config.gummeis[0]
        assert ue.m_tmsi is not None
        return nas.Guti(plmn=first.plmn, mme_group_id=first.mme_group_id, mme_code=first.mme_code, m_tmsi=ue.m_tmsi)

    def ue_by_guti(self, guti: nas.Guti) -> UeContext | None:
        if (guti.plmn, guti.mme_group_id, guti.mme_code) not in self._gummeis:
            return None
        return self.ues.by_m_tmsi.get(guti.m_tmsi)

    def ue_by_s_tmsi(self, s_tmsi: s1ap.STMSI | None) -> UeContext | None:
        if s_tmsi is None or all(s_tmsi.mmec[0] != gummei.mme_code for gummei in self.config.gummeis):
            return None
        return self.ues.by_m_tmsi.get(int.from_bytes(s_tmsi.m_tmsi, "big"))

    # places

    def location_of(self, tai: s1ap.TAI, ecgi: s1ap.EUTRANCGI) -> Location:
        """One object a cell, however many phones are in it. Raises ``WireError`` for a PLMN that is none."""
        key = (tai.plmn_identity, tai.tac, ecgi.plmn_identity, ecgi.cell_id.value)
        location = self._locations.get(key)
        if location is None:
            location = Location(
                nas.Tai(plmn=s1ap.decode_plmn_identity(tai.plmn_identity), tac=int.from_bytes(tai.tac, "big")),
                s1ap.decode_plmn_identity(ecgi.plmn_identity), ecgi.cell_id.value)
            if len(self._locations) >= _MOST_CELLS:
                self._locations.clear()         # more cells than an eNodeB of ours can have: somebody plays
            self._locations[key] = location
        return location

    def locate(self, ue: UeContext, tai: s1ap.TAI, ecgi: s1ap.EUTRANCGI) -> None:
        """The phone was heard there; a place that cannot be is ignored."""
        try:
            ue.location = self.location_of(tai, ecgi)
        except WireError as error:
            self.metrics.protocol_error("S1-MME", "location")
            self.log.info("s1.location_unreadable", error=str(error))

    def serves(self, tai: nas.Tai) -> bool:
        return (tai.plmn, tai.tac) in self.served_tais

    def serving_plmn(self, location: Location) -> Plmn:
        return Plmn(location.tai.plmn)

    def ue_time_zone(self) -> UeTimeZone:
        """Of all its cells, at this moment; to a quarter of an hour (TS 29.274 clause 8.44)."""
        now = datetime.datetime.fromtimestamp(self.clock(), zone_named(self.config.time_zone))
        offset, summer = now.utcoffset() or _NOTHING, now.dst() or _NOTHING
        return UeTimeZone(
            offset_minutes=round(offset.total_seconds() / 900) * 15, daylight_saving_hours=round(max(summer, _NOTHING).total_seconds() / 3600))

    # phones whose link comes and goes

    def may_skip_authentication(self, ue: UeContext) -> bool:
        """The initial message proved who the phone is, and the keys are good for more messages."""
        connection, security = ue.connection, ue.security
        return (self.config.security.skip_authentication_of_known_ue and connection is not None and connection.is_secured
                and security is not None and not security.is_nearly_exhausted())

    def admit(self, ue: UeContext) -> None:
        """The phone has proved who it is: an older context of the same IMSI is given up, and so is its own former session."""
        ue.claimed = None
        ue.stop_clock()
        old = self.ues.by_imsi.get(ue.known_imsi)
        if old is not None and old is not ue:
            old.slot.cancel()
            self.drop_session(old)
            if old.connection is not None:
                release(self, old.connection, SUPERSEDED)
            self.ues.forget(old)
        self.drop_session(ue)
        self.ues.set_state(ue, EmmState.DEREGISTERED)
        self.ues.enter(ue)

    def drop_session(self, ue: UeContext) -> None:
        """Have the session deleted, if there is one, without waiting."""
        if ue.session is not None:
            self.s11.abandon_session(ue.session, ue)

    def rebind(self, ue: UeContext, association: S1Association, enb_ue_s1ap_id: int) -> None:
        """``ue`` speaks over a new connection; the older one, if any, is released."""
        old = ue.connection
        if old is not None:
            old.is_releasing = True
            old.unbind("the phone has a new connection")
            if old.association is not association or old.enb_ue_s1ap_id != enb_ue_s1ap_id:
                self.runner.start(ue_context_release, self, old, SUPERSEDED)
        ue.stop_clock()
        association.connect(enb_ue_s1ap_id, ue)
        if ue.paged is not None:
            ue.paged.feed(PagingAnswered())

    def lose_connection(self, connection: S1Connection, reason: str) -> None:
        """The S1 connection is gone without signalling: what runs over it ends, and the SGW stops sending to the eNodeB."""
        ue = connection.ue
        connection.close(reason)
        if ue is None:
            return
        session = ue.session
        if ue.is_registered and session is not None and any(bearer.s1u_enb_teid is not None for bearer in session.bearers()):
            self.runner.start(release_access_bearers, self, session)
        self.entered_idle(ue)

    def entered_idle(self, ue: UeContext) -> None:
        """ECM-IDLE: the phone has no eNodeB any more. A registered one is expected to be heard of within T3412."""
        ue.stop_clock()
        if not ue.is_registered:
            self.retire(ue)
            return
        if ue.session is not None:
            for bearer in ue.session.bearers():
                bearer.s1u_enb_teid = bearer.s1u_enb_address = None
        timers = self.config.timers
        if timers.t3412_s:
            ue.gone = asyncio.get_running_loop().call_later(
                timers.t3412_s + timers.mobile_reachable_margin_s, self._unreachable, ue, context=_NO_CONTEXT)

    def _unreachable(self, ue: UeContext) -> None:
        ue.gone = None
        ue.slot.start(implicit_detach, self, ue, "not heard of within T3412", collision=Collision.IGNORE)

    def retire(self, ue: UeContext) -> None:
        """EMM-DEREGISTERED and ECM-IDLE: keep identities and keys for the next attach, for a while."""
        ue.stop_clock()
        if ue.imsi is None or self.ues.by_imsi.get(ue.imsi) is not ue:
            return                              # it never proved who it is: nothing refers to it
        if ue.m_tmsi is None or ue.security is None or self.config.timers.purge_s == 0:
            self._purge(ue)
        else:
            ue.gone = asyncio.get_running_loop().call_later(self.config.timers.purge_s, self._purge, ue, context=_NO_CONTEXT)

    def _purge(self, ue: UeContext) -> None:
        ue.gone = None
        self.ues.forget(ue)
        if ue.location_confirmed_in_hss:
            self.runner.start(purge_ue, self, ue)

    def bearers_lost(self, ue: UeContext, ebis: list[int]) -> None:
        """Those that are dedicated are ended at the PGW."""
        bearers_lost(self, ue, ebis)

    def sgw_restarted(self, host: str) -> None:
        """Its sessions are gone, but for one that it is just making: the phones attach anew (TS 23.007 clause 14.1A)."""
        for session in [session for session in self.s11.sessions.values() if session.sgw.host == host and session.s11_sgw_teid]:
            session_lost(self, session, self.s11.owner_of(session.s11_mme_teid))

    def broadcast_paging(self, message: object) -> None:
        assert isinstance(message, s1ap.Paging)
        for association in self.associations:
            if association.is_set_up and association.supported_tais & self.served_tais:
                try:
                    association.send(message)
                except ConnectionError as error:
                    self.log.info("s1.paging_lost", enb=str(association), reason=str(error))

    # what it shows

    def tunnels(self) -> Iterable[TunnelEnd]:
        s11_address = self.config.s11.host
        for session in self.s11.sessions.values():
            yield from _tunnel_ends(session, s11_address)

    def nas_keys(self) -> Iterator[tuple[bytes, Eea, Eia]]:
        """KASME and algorithms of every phone's current and coming security context: captures of the lab are read with them."""
        seen = set(self.ues.by_imsi.values())
        for association in self.associations:
            seen.update([connection.ue for connection in association.connections.values() if connection.ue is not None])
        for ue in seen:
            for security in (ue.security, ue.new_security):
                if security is not None:
                    yield security.kasme, security.eea, security.eia

    def associated_peers(self) -> Iterator[AssociatedPeer]:
        for association in self.associations:
            yield association.as_peer()
        yield from diameter_peers("S6a", self.s6a.endpoint)
        yield from gtp_paths("S11", self.s11.endpoint)

    def views(self) -> Mapping[str, View]:
        return {"ues": self._view_ues, "s1": self._view_s1, "peers": self._view_peers, "paths": self._view_paths, "waiting": self._view_waiting}

    def commands(self) -> Mapping[str, Command]:
        return {"ue": self._command_ue, "detach": self._command_detach, "page": self._command_page, "release": self._command_release}

    def _view_ues(self) -> object:
        ues = [_describe(ue) for _, ue in zip(range(_VIEW_LIMIT), self.ues.by_imsi.values(), strict=False)]
        return {"registered": self.ues.registered, "known": len(self.ues.by_imsi), "ues": ues}

    def _view_s1(self) -> object:
        return [association.status() for association in self.associations]

    def _view_paths(self) -> object:
        return [{"interface": "S11", **path} for path in self.s11.endpoint.machine.describe_paths()]

    def _view_peers(self) -> object:
        return [
            {"host": peer.host, "realm": peer.realm, "state": peer.state, "is_usable": peer.is_usable, "remote": peer.remote,
             "pending_requests": peer.pending_requests}
            for peer in self.s6a.endpoint.peers()]

    def _view_waiting(self) -> object:
        """How long each phone that is not connected has until it is given up or purged."""
        now = asyncio.get_running_loop().time()
        return [
            {"imsi": ue.imsi, "timer": "mobile reachable" if ue.is_registered else "purge", "remaining_s": round(ue.gone.when() - now, 1)}
            for _, ue in zip(range(_VIEW_LIMIT), self.ues.by_imsi.values(), strict=False) if ue.gone is not None]

    def _ue(self, imsi: str) -> UeContext:
        ue = self.ues.by_imsi.get(imsi)
        if ue is None:
            raise LookupError(f"no phone with IMSI {imsi}")
        return ue

    async def _command_ue(self, imsi: str) -> object:
        return _describe(self._ue(imsi))

    async def _command_detach(self, imsi: str, reattach: str = "no") -> object:
        ue = self._ue(imsi)
        if not ue.is_registered:
            raise ValueError(f"{imsi} is not registered")
        if reattach not in ("yes", "no"):
            raise ValueError("reattach is yes or no")
        kind = nas.TypeOfDetachToUe.RE_ATTACH_REQUIRED if reattach == "yes" else nas.TypeOfDetachToUe.RE_ATTACH_NOT_REQUIRED
        ue.slot.start(network_initiated_detach, self, ue, kind, None)
        await ue.slot.idle()
        return _describe(ue)

    async def _command_page(self, imsi: str) -> object:
        ue = self._ue(imsi)
        if not ue.is_registered or ue.connection is not None:
            raise ValueError(f"{imsi} is not idle")
        ue.slot.start(paging, self, ue)
        await ue.slot.idle()
        return _describe(ue)

    async def _command_release(self, imsi: str) -> object:
        """Send the phone to ECM-IDLE."""
        ue = self._ue(imsi)
        if ue.connection is None:
            raise ValueError(f"{imsi} is idle")
        connection = ue.connection
        request = s1ap.UEContextReleaseRequest(
            mme_ue_s1ap_id=connection.mme_ue_s1ap_id, enb_ue_s1ap_id=connection.enb_ue_s1ap_id, cause=DETACH)
        ue.slot.start(s1_release, self, ue, request)
        await ue.slot.idle()
        return _describe(ue)


def _tunnel_ends(session: SgwSession, s11_address: str) -> Iterator[TunnelEnd]:
    yield TunnelEnd(name="s11_mme_teid", teid=session.s11_mme_teid, address=s11_address, own=True, imsi=session.imsi)
    if session.s11_sgw_teid:
        yield TunnelEnd(name="s11_sgw_teid", teid=session.s11_sgw_teid, address=session.sgw.host, own=False, imsi=session.imsi)
    for bearer in session.bearers():
        yield TunnelEnd(
            name="s1u_sgw_teid", teid=bearer.s1u_sgw_teid, address=str(bearer.s1u_sgw_address), own=False, imsi=session.imsi, ebi=bearer.ebi)
        if bearer.s1u_enb_teid is not None:
            yield TunnelEnd(
                name="s1u_enb_teid", teid=bearer.s1u_enb_teid, address=str(bearer.s1u_enb_address), own=False, imsi=session.imsi, ebi=bearer.ebi)


def _describe(ue: UeContext) -> dict[str, object]:
    pdns = [] if ue.session is None else [
        {"apn": pdn.apn, "ebi": pdn.linked_ebi, "ipv4": str(pdn.address.ipv4_address or ""), "bearers": sorted(pdn.bearers)}
        for pdn in ue.session.pdns.values()]
    location = ue.location
    return {
        "imsi": ue.imsi, "imeisv": ue.imeisv, "emm": ue.emm_state.value, "ecm": "ECM-IDLE" if ue.connection is None else "ECM-CONNECTED",
        "m_tmsi": None if ue.m_tmsi is None else f"{ue.m_tmsi:08x}", "enb": None if ue.connection is None else str(ue.connection.association),
        "tai": None if location is None else f"{location.tai.plmn}-{location.tai.tac}",
        "procedure": None if ue.slot.running is None else ue.slot.running.name,
        "security": None if ue.security is None else f"{ue.security.eea.name} {ue.security.eia.name}", "pdns": pdns,
    }


def _emm_information(config: MmeConfig) -> nas.EmmInformation | None:
    name = config.network_name
    if name is None:
        return None
    short = None if name.short is None else nas.NetworkName(text=name.short)
    return nas.EmmInformation(full_name_for_network=nas.NetworkName(text=name.full), short_name_for_network=short)


def _s1_setup_response(config: MmeConfig) -> s1ap.S1SetupResponse:
    """One item of served GUMMEIs: its three lists stand for all their combinations (TS 36.413 clause 9.1.8.5)."""
    gummeis = config.gummeis
    return s1ap.S1SetupResponse(
        mme_name=config.name,
        served_gummeis=(s1ap.ServedGUMMEIsItem(
            served_plmns=tuple([s1ap.encode_plmn_identity(plmn) for plmn in dict.fromkeys(gummei.plmn for gummei in gummeis)]),
            served_group_ids=tuple([group.to_bytes(2, "big") for group in dict.fromkeys(gummei.mme_group_id for gummei in gummeis)]),
            served_mmecs=tuple([bytes((code,)) for code in dict.fromkeys(gummei.mme_code for gummei in gummeis)])),),
        relative_mme_capacity=config.relative_capacity)
