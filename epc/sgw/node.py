"""The Serving Gateway: S11 towards the MME, S5/S8 towards the PGW, S1-U towards the eNodeB (TS 23.401 clause 4.4.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from epc.dataplane.forwarder import DownlinkData, ErrorIndication, Event, GtpuPort, UsageReport, UsageTrigger, UserPlane
from epc.dataplane.pfcp_forwarder import PfcpForwarder
from epc.dataplane.rules import FTeid, Interface, RuleError, SessionChange
from epc.node import Command, Node, TunnelEnd, View
from epc.node.gtpc import refuse, restart_counter
from epc.node.pfcp import open_pfcp_forwarder, pfcp_peers
from epc.node.state import AssociatedPeer, count_user_plane, gtp_paths
from epc.node.user_plane import show_user_plane
from epc.peer.gtpc import COMMAND_BIT, PathEvent, PeerRestarted, RequestReceived
from epc.peer.teid import TeidTable
from epc.procedure import Collision, Procedure, Reject, Slot, table
from epc.sgw import user_plane
from epc.sgw.bearer_commands import relay_bearer_resource_command, relay_delete_bearer_command, relay_modify_bearer_command
from epc.sgw.change_notification import change_notification
from epc.sgw.config import SgwConfig
from epc.sgw.context import Bearer, PdnConnection, UeContext
from epc.sgw.create_bearer import create_bearer
from epc.sgw.create_session import create_session
from epc.sgw.delete_bearer import delete_bearer
from epc.sgw.delete_session import delete_session
from epc.sgw.downlink_data_notification import downlink_data_notification, downlink_data_notification_failure
from epc.sgw.error_indication import enodeb_lost_tunnel, pgw_lost_tunnel
from epc.sgw.modify_bearer import modify_bearer
from epc.sgw.offline_charging import SgwCharging
from epc.sgw.release_access_bearers import release_access_bearers
from epc.sgw.restoration import end_at_pgw, mme_restarted, pgw_restarted
from epc.sgw.update_bearer import update_bearer
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address
from epc.wire import gtpv2
from epc.wire.cdr import CauseForRecClosing
from epc.wire.gtpv2 import CauseValue, OffendingIe

_FROM_MME = table(
    (
        create_session, modify_bearer, delete_session, release_access_bearers, downlink_data_notification_failure, change_notification,
        relay_bearer_resource_command, relay_delete_bearer_command, relay_modify_bearer_command,
    )
)
_FROM_PGW = table((create_bearer, update_bearer, delete_bearer))
_NOTIFICATIONS = frozenset((gtpv2.DownlinkDataNotificationFailureIndication, gtpv2.StopPagingIndication))


class Sgw(Node[SgwConfig]):
    kind = "sgw"
    config_model = SgwConfig

    s11: GtpcEndpoint
    s5: GtpcEndpoint            # the same endpoint as ``s11`` where both interfaces have one address
    forwarder: UserPlane
    sx: PfcpForwarder | None = None         # the same, where it is an SGW-U on the other side of Sxa
    charging: SgwCharging | None = None     # offline; None: no records

    async def start(self) -> None:
        config = self.config
        self.t3_s5 = config.gtp_s5.timers.t3_response
        self.t3_phone = config.gtp_s11.t3_phone
        self.ues: dict[str, UeContext] = {}                                     # by IMSI
        self.control_teids: TeidTable[UeContext | PdnConnection] = TeidTable(self.entropy.getrandbits(32))
        self.connections: dict[int, PdnConnection] = {}                         # by the forwarder's session id
        self._last_session_id = 0
        if config.offline_charging is not None:
            self.charging = SgwCharging(self, config.offline_charging)
            self.charging.function.start()
        counter = restart_counter(self)
        self.s11 = GtpcEndpoint(
            self.transport, config.s11.address, interface="S11", restart_counter=counter, on_request=self._on_s11, on_event=self._on_path_event,
            timers=config.gtp_s11.timers, observer=self.metrics, remote_teid=self._remote_teid, first_sequence=self.entropy.getrandbits(23),
        )
        if config.s5c.host == config.s11.host:
            self.s5 = self.s11
        else:
            self.s5 = GtpcEndpoint(
                self.transport, config.s5c.address, interface="S5/S8", restart_counter=counter, on_request=self._on_s5, on_event=self._on_path_event,
                timers=config.gtp_s5.timers, observer=self.metrics, remote_teid=self._remote_teid, first_sequence=self.entropy.getrandbits(23),
            )
            await self.s5.open()
        await self.s11.open()
        if config.sx == "pfcp" and config.sxa is not None:
            self.forwarder = self.sx = await open_pfcp_forwarder(
                self, config.sxa, interface="Sxa", tunnels={Interface.ACCESS: config.s1u.host, Interface.CORE: config.s5u.host})
        else:
            self.forwarder = await config.user_plane.open_forwarder(
                self.transport, access=GtpuPort(address=config.s1u.host, interface="S1-U"),
                core=GtpuPort(address=config.s5u.host, interface="S5/S8-U"), buffer_packets=config.buffer_packets,
                first_teid=self.entropy.getrandbits(32) or 1,
            )
        self.forwarder.on_event = self._on_user_plane
        count_user_plane(self.metrics, self.forwarder)
        self.metrics.gauge("ues", "UEs with at least one PDN connection", lambda: len(self.ues))
        self.metrics.gauge("pdn_connections", "PDN connections (TS 32.426: sessions)", lambda: len(self.connections))
        self.metrics.gauge("bearers", "EPS bearers", lambda: sum(len(each.bearers) for each in self.connections.values()))

    async def stop(self) -> None:
        await self.runner.stop()
        if self.charging is not None:
            self.charging.function.stop()
        await self.s11.close()
        if self.s5 is not self.s11:
            await self.s5.close()
        await self.forwarder.close()

    def is_ready(self) -> bool:
        return self.sx is None or self.sx.is_associated

    # contexts

    def register_ue(self, ue: UeContext) -> None:
        """Make the UE known, unless it is. One that failed is forgotten although another Create Session Request may be queued for it."""
        known = self.ues.setdefault(ue.imsi, ue)
        if known is not ue:
            raise Reject(CauseValue.LATE_OVERLAPPING_REQUEST, "another context has taken the place of this one")
        if self.control_teids.get(ue.s11_sgw_teid) is not ue:
            ue.s11_sgw_teid = self.control_teids.allocate(ue)
            self.s11.watch(ue.mme)

    def move_ue(self, ue: UeContext, mme: Address, s11_mme_teid: int) -> None:
        """Another MME, or another TEID at the same, has taken the UE over."""
        if mme != ue.mme:
            self.s11.watch(mme)
            self.s11.unwatch(ue.mme)
            ue.mme = mme
        ue.s11_mme_teid = s11_mme_teid

    def remove_ue_if_idle(self, ue: UeContext) -> None:
        """Forget a UE that has no PDN connection left."""
        if not ue.connections and self.ues.get(ue.imsi) is ue:
            del self.ues[ue.imsi]
            self.control_teids.release(ue.s11_sgw_teid)
            self.s11.unwatch(ue.mme)

    def install(self, connection: PdnConnection) -> None:
        """The PDN connection is established: rules into the forwarder, connection into the UE's context."""
        self._last_session_id += 1
        connection.session_id = self._last_session_id
        self.forwarder.install(user_plane.session_rules(connection))
        self.connections[connection.session_id] = connection
        connection.ue.connections[connection.linked_ebi] = connection
        self.s5.watch(connection.pgw)

    async def confirmed(self, *connections: PdnConnection) -> None:
        """Wait until an SGW-U has done what was asked for; raises :class:`Reject` if it has not. In process it is done already."""
        if self.sx is None:
            return
        try:
            for connection in connections:
                await self.sx.confirmed(connection.session_id)
        except RuleError as error:
            raise Reject(CauseValue.NO_RESOURCES_AVAILABLE, str(error)) from error

    def remove(
        self, connection: PdnConnection, *, keep_ue: bool = False, cause: CauseForRecClosing = CauseForRecClosing.ABNORMAL_RELEASE
    ) -> None:
        """Everything of an established PDN connection goes, here; peers are not told. A UE without any goes too, unless it is kept.

        ``cause`` is what the charging records close with.
        """
        if self.connections.pop(connection.session_id, None) is None:
            return
        usage = self.forwarder.remove(connection.session_id)
        if self.charging is not None:
            self.charging.disconnected(connection, cause, usage)
        self.control_teids.release(connection.s5c_sgw_teid)
        ue = connection.ue
        if ue.connections.get(connection.linked_ebi) is connection:
            del ue.connections[connection.linked_ebi]
        self.s5.unwatch(connection.pgw)
        if not keep_ue:
            self.remove_ue_if_idle(ue)

    def remove_bearer(self, connection: PdnConnection, ebi: int) -> None:
        """A dedicated bearer goes."""
        bearer = connection.bearers.pop(ebi, None) if self.is_established(connection) else None
        if bearer is not None:
            remove = partial(self.forwarder.modify, connection.session_id, user_plane.removed_bearer(bearer))
            if self.charging is not None:
                self.charging.bearer_removed(connection, bearer, remove)
            else:
                remove()

    def abandon_bearer(self, connection: PdnConnection, bearer: Bearer) -> None:
        """A dedicated bearer that was being set up, unless it stands by now."""
        if bearer in connection.pending:
            connection.pending.remove(bearer)
            if self.is_established(connection):
                self.forwarder.modify(connection.session_id, user_plane.abandoned_bearer(bearer))

    async def standing(self, connection: PdnConnection) -> None:
        """A request of the PGW may overtake its answer to the Create Session Request: wait for that. Raises :class:`Reject` if none comes."""
        if not self.is_established(connection):
            await connection.ue.slot.idle()
            if not self.is_established(connection):
                raise Reject(CauseValue.CONTEXT_NOT_FOUND, "the PDN connection does not stand")

    def is_established(self, connection: PdnConnection) -> bool:
        return self.connections.get(connection.session_id) is connection

    def set_downlink(self, connection: PdnConnection, ebi: int, s1u_enb: FTeid | None, *, notify: bool = False) -> None:
        """Where the bearer's downlink packets go from now on. A tunnel that is left for another one ends with an End Marker."""
        bearer = connection.bearers[ebi]
        former, bearer.s1u_enb = bearer.s1u_enb, s1u_enb
        far = user_plane.downlink_far(bearer, notify=notify)
        switched = former is not None and s1u_enb is not None and former != s1u_enb
        self.forwarder.modify(connection.session_id, SessionChange(fars=(far,), end_markers=(far.id,) if switched else ()))

    def rearm_downlink(self, ue: UeContext) -> None:
        """Nobody takes the packets that wait: throw them away, and let the next one start over."""
        for connection in ue.connections.values():
            for bearer in connection.bearers.values():
                if bearer.s1u_enb is None:
                    self.forwarder.modify(connection.session_id, user_plane.downlink_discarded(bearer))
                    self.forwarder.modify(connection.session_id, SessionChange(fars=(user_plane.downlink_far(bearer, notify=True),)))

    # what comes in

    def _on_s11(self, received: RequestReceived) -> None:
        if isinstance(received.message, gtpv2.CreateSessionRequest):
            self._on_create_session(received, received.message)
        else:
            self._on_request(self.s11, received)

    def _on_s5(self, received: RequestReceived) -> None:
        self._on_request(self.s5, received)

    def _on_create_session(self, received: RequestReceived, request: gtpv2.CreateSessionRequest) -> None:
        """A further PDN connection comes to the UE's TEID; the first one, which makes the UE's context, to none."""
        teid = request.sender_fteid.teid
        if received.teid:
            ue = self.control_teids.get(received.teid)
            if not isinstance(ue, UeContext):
                refuse(self.s11, received, CauseValue.CONTEXT_NOT_FOUND, teid)
                return
        else:
            if request.imsi is None:
                refuse(self.s11, received, CauseValue.CONDITIONAL_IE_MISSING, teid, offending_ie=OffendingIe(1, 0))
                return
            mme = Address(*received.peer)
            former = self.ues.get(request.imsi)
            if former is not None:
                self._supersede(former, request)
            ue = UeContext(imsi=request.imsi, slot=Slot(self.runner, {}), mme=mme, s11_mme_teid=teid)
            self.register_ue(ue)
        ue.slot.start(create_session, self, ue, received, collision=Collision.QUEUE)

    def _supersede(self, ue: UeContext, request: gtpv2.CreateSessionRequest) -> None:
        """The UE attaches anew: what it had is deleted here, and at the PGW unless the new session takes its place there (TS 29.274 clause 7.2.1).

        The new context has another TEID, so that a Delete Session Request for the old one, if it comes late, does the new one no harm. One
        that is being carried out ends by itself, with its answer.
        """
        if ue.slot.running is create_session:
            ue.slot.cancel()
        wanted = request.bearer_contexts_to_be_created[0].ebi
        pgw = None if request.pgw_fteid is None else request.pgw_fteid.host
        for connection in list(ue.connections.values()):
            self.remove(connection, keep_ue=True)
            if (connection.linked_ebi, connection.pgw.host) != (wanted, pgw):
                end_at_pgw(self, connection)
        self.remove_ue_if_idle(ue)

    def _on_request(self, endpoint: GtpcEndpoint, received: RequestReceived) -> None:
        message = received.message
        owner = self.control_teids.get(received.teid)
        if owner is None:
            if type(message) not in _NOTIFICATIONS:
                refuse(endpoint, received, CauseValue.CONTEXT_NOT_FOUND)
            return
        if isinstance(owner, UeContext):
            found = _FROM_MME.get(type(message))
            if found is not None:
                owner.slot.start(found, self, owner, received)
                return
            refuse(endpoint, received, CauseValue.SERVICE_NOT_SUPPORTED, owner.s11_mme_teid)
            return
        found = _FROM_PGW.get(type(message))
        if found is not None:
            command = owner.command if received.sequence & COMMAND_BIT else None
            self.runner.start(found, self, owner, received, command)
            return
        refuse(endpoint, received, CauseValue.SERVICE_NOT_SUPPORTED, owner.s5c_pgw_teid)

    def _remote_teid(self, teid: int) -> int | None:
        """The peer's TEID for one of ours, to answer malformed requests."""
        owner = self.control_teids.get(teid)
        if owner is None:
            return None
        return owner.s11_mme_teid if isinstance(owner, UeContext) else owner.s5c_pgw_teid

    def _on_user_plane(self, event: Event) -> None:
        if isinstance(event, DownlinkData | ErrorIndication):
            connection = self.connections.get(event.session_id)
            bearer = None if connection is None else connection.bearer_of_number(user_plane.number_of(event.far_id))
            if connection is None or bearer is None:
                return
            if isinstance(event, DownlinkData):
                self._notify_mme(connection, bearer.ebi)
            else:
                lost: Procedure = enodeb_lost_tunnel if user_plane.is_downlink(event.far_id) else pgw_lost_tunnel
                self.runner.start(lost, self, connection, bearer.ebi)

        elif isinstance(event, UsageReport) and self.charging is not None and event.trigger is UsageTrigger.VOLUME_THRESHOLD:
            connection = self.connections.get(event.session_id)
            if connection is not None:
                self.charging.threshold_reached(connection, event.urr_id)

    def _notify_mme(self, connection: PdnConnection, ebi: int) -> None:
        if not connection.ue.is_paging:
            connection.ue.is_paging = True
            self.runner.start(downlink_data_notification, self, connection, ebi)

    def _on_path_event(self, event: PathEvent) -> None:
        if not isinstance(event, PeerRestarted):
            self.log.warning("gtp.path", change=type(event).__name__, peer=event.host)
            return
        self.log.warning("gtp.peer_restarted", peer=event.host, previous=event.previous, current=event.current)
        ues = [ue for ue in self.ues.values() if ue.mme.host == event.host]
        lost = [connection for connection in self.connections.values() if connection.pgw.host == event.host]
        mme_restarted(self, ues)
        pgw_restarted(self, event.host, lost)

    # what is shown

    def tunnels(self) -> Iterable[TunnelEnd]:
        config = self.config
        for ue in self.ues.values():
            yield TunnelEnd(name="s11_mme_teid", teid=ue.s11_mme_teid, address=ue.mme.host, own=False, imsi=ue.imsi)
            yield TunnelEnd(name="s11_sgw_teid", teid=ue.s11_sgw_teid, address=config.s11.host, own=True, imsi=ue.imsi)
        for connection in self.connections.values():
            imsi = connection.ue.imsi
            yield TunnelEnd(name="s5c_sgw_teid", teid=connection.s5c_sgw_teid, address=config.s5c.host, own=True, imsi=imsi)
            yield TunnelEnd(name="s5c_pgw_teid", teid=connection.s5c_pgw_teid, address=connection.pgw.host, own=False, imsi=imsi)
            for bearer in connection.bearers.values():
                ends = (("s5u_sgw_teid", bearer.s5u_sgw, True), ("s5u_pgw_teid", bearer.s5u_pgw, False), ("s1u_sgw_teid", bearer.s1u_sgw, True))
                for name, end, own in ends:
                    yield TunnelEnd(name=name, teid=end.teid, address=end.address, own=own, imsi=imsi, ebi=bearer.ebi)
                if bearer.s1u_enb is not None:
                    enb = bearer.s1u_enb
                    yield TunnelEnd(name="s1u_enb_teid", teid=enb.teid, address=enb.address, own=False, imsi=imsi, ebi=bearer.ebi)

    def associated_peers(self) -> Iterator[AssociatedPeer]:
        yield from gtp_paths("S11", self.s11)
        if self.s5 is not self.s11:
            yield from gtp_paths("S5/S8", self.s5)
        if self.sx is not None:
            yield from pfcp_peers("Sxa", self.sx.endpoint)

    def views(self) -> Mapping[str, View]:
        return {"sessions": self._show_sessions, "paths": self._show_paths, "userplane": self._show_user_plane,
                **({"charging": self.charging.function.show} if self.charging is not None else {})}

    def commands(self) -> Mapping[str, Command]:
        return {} if self.charging is None else {"close_records": self._close_records}

    async def _close_records(self) -> object:
        """Management intervention: end every open charging data record, and close the files."""
        assert self.charging is not None
        return self.charging.function.close_records()

    def _show_sessions(self) -> object:
        return [
            {
                "imsi": connection.ue.imsi, "apn": connection.apn, "mme": connection.ue.mme.host, "pgw": connection.pgw.host,
                "state": "connected" if any(bearer.s1u_enb for bearer in connection.bearers.values()) else "idle",
                "s11_mme_teid": connection.ue.s11_mme_teid, "s11_sgw_teid": connection.ue.s11_sgw_teid,
                "s5c_sgw_teid": connection.s5c_sgw_teid, "s5c_pgw_teid": connection.s5c_pgw_teid,
                "bearers": [
                    {
                        "ebi": bearer.ebi, "qci": bearer.qos.qci, "s1u_sgw": str(bearer.s1u_sgw), "s1u_enb": str(bearer.s1u_enb or ""),
                        "s5u_sgw": str(bearer.s5u_sgw), "s5u_pgw": str(bearer.s5u_pgw),
                    }
                    for bearer in connection.bearers.values()
                ],
            }
            for connection in self.connections.values()
        ]

    def _show_paths(self) -> object:
        paths = [{"interface": "S11", **path} for path in self.s11.machine.describe_paths()]
        if self.s5 is not self.s11:
            paths += [{"interface": "S5/S8", **path} for path in self.s5.machine.describe_paths()]
        return paths

    def _show_user_plane(self) -> object:
        return show_user_plane(self.forwarder)
