"""The PDN Gateway: S5/S8 towards SGWs, Gx towards the PCRF, SGi towards the data networks (TS 23.401 clause 4.4.3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import DownlinkData, ErrorIndication, Event, Forwarder, GtpuPort, UsageReport, UsageTrigger, UserPlane
from epc.dataplane.hosts import Hosts, open_hosts
from epc.dataplane.pfcp_forwarder import PfcpForwarder
from epc.dataplane.rules import FTeid, Interface, RuleError, SessionChange, Usage
from epc.dataplane.sgi import Sgi
from epc.node import Command, Node, SessionEnd, TunnelEnd, View
from epc.node.gtpc import refuse, restart_counter
from epc.node.pfcp import open_pfcp_forwarder, pfcp_peers
from epc.node.state import AssociatedPeer, count_user_plane, diameter_peers, gtp_paths
from epc.node.user_plane import show_user_plane
from epc.peer.diameter import LocalIdentity
from epc.peer.gtpc import PathEvent, PeerRestarted, RequestReceived
from epc.peer.teid import TeidTable
from epc.peer.timer import Timer, TimerExpired
from epc.pgw import user_plane
from epc.pgw.address_pool import AddressPool
from epc.pgw.application_detection import APPLICATION_URR, application_event
from epc.pgw.bearer_resource import bearer_resource_command
from epc.pgw.change_notification import change_notification
from epc.pgw.config import PgwConfig
from epc.pgw.context import Bearer, PccRule, PdnSession, Whereabouts
from epc.pgw.create_session import create_session
from epc.pgw.delete_bearer import delete_bearer_command
from epc.pgw.delete_session import delete_session
from epc.pgw.gx import Report, ip_can_session_modification, ip_can_session_termination
from epc.pgw.modify_bearer import modify_bearer
from epc.pgw.offline_charging import PgwCharging
from epc.pgw.online_charging import GyClient
from epc.pgw.online_charging.triggers import SERVING_NODE_TRIGGERS
from epc.pgw.policy_decision import put_in_force, take_decision
from epc.pgw.policy_events import events_of_place
from epc.pgw.re_auth import re_auth
from epc.pgw.rule_installation import RuleBook, inactive, predefined
from epc.pgw.update_bearer import modify_bearer_command
from epc.pgw.usage_monitoring import take_usage_decision, threshold_reached
from epc.procedure import Outcome, Reject, table
from epc.transport.diameter import DiameterNode
from epc.transport.gtpc import GtpcEndpoint
from epc.transport.interface import Address
from epc.wire.diameter import Message, Packet
from epc.wire.diameter.groups import GX_APPLICATION, TerminationCause
from epc.wire.diameter.gx import CreditControlAnswer, EventTrigger, ReAuthRequest
from epc.wire.diameter.policy import ChargingRuleReport, PccRuleStatus, RuleFailureCode
from epc.wire.errors import WireError
from epc.wire.gtpv2 import CauseValue, CreateSessionRequest
from epc.wire.gtpv2 import Message as GtpMessage

_NO_CHANGE = SessionChange()
_FROM_SGW = table((
    delete_session, modify_bearer, modify_bearer_command, delete_bearer_command, bearer_resource_command, change_notification))
_CHANGING_BEARERS = (modify_bearer_command, delete_bearer_command, bearer_resource_command)         # one after the other
A = TypeVar("A", bound=GtpMessage)


class Pgw(Node[PgwConfig]):
    kind = "pgw"
    config_model = PgwConfig

    s5: GtpcEndpoint
    gx: DiameterNode | None = None
    gy: GyClient | None = None
    forwarder: UserPlane
    sx: PfcpForwarder | None = None         # the same, where it is a PGW-U on the other side of Sxb
    charging: PgwCharging | None = None     # offline; None: no records

    async def start(self) -> None:
        config = self.config
        self.pools = {name: AddressPool(apn.ipv4_pool, apn.reserved) for name, apn in config.apns.items()}
        self.sessions: dict[tuple[str, int], PdnSession] = {}                   # by IMSI and default bearer
        self.control_teids: TeidTable[PdnSession] = TeidTable(self.entropy.getrandbits(32))
        self._by_session_id: dict[int, PdnSession] = {}                         # of the forwarder
        self._by_gx: dict[str, PdnSession] = {}                                 # by Session-Id
        self._establishing: dict[tuple[str, int], asyncio.Task[Outcome]] = {}
        self._last_session_id = 0
        if config.offline_charging is not None:
            self.charging = PgwCharging(self, config.offline_charging)
            self.charging.function.start()
        self._charging_id = self.entropy.getrandbits(32)
        self.rule_book = RuleBook(
            rules={name.encode(): predefined(name, rule) for name, rule in config.predefined_rules.items()},
            bases={name: tuple([rule.encode() for rule in rules]) for name, rules in config.rule_bases.items()},
            applications={name.encode(): application.application(name) for name, application in config.applications.items()})
        self.t3_phone = Timer("T3-RESPONSE", config.gtp.t3_response_s, config.gtp.n3_requests_phone + 1)        # longer than the SGW's
        self._sgi: list[Sgi] = []
        self._hosts: Hosts | None = None
        self.s5 = GtpcEndpoint(
            self.transport, config.s5c.address, interface="S5/S8", restart_counter=restart_counter(self), on_request=self._on_request,
            on_event=self._on_path_event, timers=config.gtp.timers, observer=self.metrics, remote_teid=self._remote_teid,
            first_sequence=self.entropy.getrandbits(23),
        )
        if config.sx == "pfcp" and config.sxb is not None:
            self.forwarder = self.sx = await open_pfcp_forwarder(
                self, config.sxb, interface="Sxb", tunnels={Interface.ACCESS: config.s5u.host})
        else:
            forwarder = self.forwarder = await config.user_plane.open_forwarder(
                self.transport, access=GtpuPort(address=config.s5u.host, interface="S5/S8-U"), first_teid=self.entropy.getrandbits(32) or 1
            )
            await self._open_sgi(forwarder)
        self.forwarder.on_event = self._on_user_plane
        if self.rule_book.applications:
            self.forwarder.provision(self.rule_book.applications.values())
        count_user_plane(self.metrics, self.forwarder)
        await self._connect_gx()
        if config.gy is not None:
            self.gy = GyClient(self, config.gy)
            await self.gy.node.start()
        await self.s5.open()
        self.metrics.gauge("sessions", "PDN connections (TS 32.426: sessions)", lambda: len(self.sessions))
        self.metrics.gauge("addresses_free", "Addresses that phones can still get", lambda: sum(each.free for each in self.pools.values()))

    async def stop(self) -> None:
        if self.gy is not None:
            await self.gy.end_all()
        await self.runner.stop()
        if self.charging is not None:
            self.charging.function.stop()
        await self.s5.close()
        if self.gy is not None:
            await self.gy.node.stop()
        if self.gx is not None:
            await self.gx.stop()
        for sgi in self._sgi:
            await sgi.close()
        if self._hosts is not None:
            await self._hosts.close()
        await self.forwarder.close()

    async def _open_sgi(self, forwarder: Forwarder) -> None:
        """The servers behind the PGW, for those APNs that have one."""
        with_server = [(name, apn, apn.server) for name, apn in self.config.apns.items() if apn.server is not None]
        if not with_server:
            return
        self._hosts = await open_hosts(self.config.sgi_hosts, veth=isinstance(forwarder, BpfForwarder))
        for name, apn, server in with_server:
            self._sgi.append(
                await Sgi.open(self._hosts, forwarder, name, (apn.ipv4_pool,), server=server, name=f"{self.config.name}-{name}",
                               services=apn.services.services() if apn.services else None, mtu_octets=apn.mtu_octets))

    async def _connect_gx(self) -> None:
        config = self.config.gx
        if config is None:
            return
        identity = LocalIdentity(
            origin_host=config.origin_host or f"{self.config.name}.{config.origin_realm}", origin_realm=config.origin_realm,
            applications=(GX_APPLICATION,), origin_state_id=int(self.clock()))
        self.gx = DiameterNode(
            self.transport, identity, interface="Gx", entropy=self.entropy, clock=self.clock, on_request=self._on_gx_request,
            peers=[peer.peer for peer in config.peers], local=None if config.host is None else Address(config.host, 0),
            timers=config.peer_timers, observer=self.metrics,
        )
        await self.gx.start()

    def is_ready(self) -> bool:
        config = self.config.gx
        has_policy = self.gx is None or config is None or config.on_failure == "continue" or self.gx.is_connected(GX_APPLICATION)
        return has_policy and (self.gy is None or self.gy.is_ready) and (self.sx is None or self.sx.is_associated)

    @property
    def certificate_authorities(self) -> dict[str, str]:
        """What clients of the web servers on SGi must trust, in PEM, by APN."""
        return {sgi.apn: sgi.certificate_authority for sgi in self._sgi if sgi.certificate_authority is not None}

    @property
    def sgi_server(self) -> str | None:
        """Where a phone finds a host that answers."""
        return str(self._sgi[0].server.address.ip) if self._sgi else None

    @property
    def servers_live_in(self) -> str:
        """Where the servers on SGi run and why there, in words; empty: there are none."""
        return "" if self._hosts is None else self._hosts.reason

    # contexts

    def next_charging_id(self) -> int:
        self._charging_id = (self._charging_id + 1) & 0xFFFFFFFF
        return self._charging_id

    def install(self, session: PdnSession) -> None:
        """The PDN connection is established: from now on packets pass."""
        self._last_session_id += 1
        session.session_id = self._last_session_id
        self.forwarder.install(user_plane.session_rules(session))
        session.s5c_pgw_teid = self.control_teids.allocate(session)
        self._by_session_id[session.session_id] = session
        self.sessions[session.imsi, session.ebi] = session
        if session.gx is not None:
            self._by_gx[session.gx.session_id] = session
        self.s5.watch(session.sgw)
        if self.gy is not None:
            self.gy.established(session)

    async def confirmed(self, session: PdnSession) -> None:
        """Wait until a PGW-U has done what was asked for; raises :class:`Reject` if it has not. In process it is done already."""
        if self.sx is not None:
            try:
                await self.sx.confirmed(session.session_id)
            except RuleError as error:
                raise Reject(CauseValue.NO_RESOURCES_AVAILABLE, str(error)) from error

    def apply(self, session: PdnSession, granted: Collection[int] = ()) -> None:
        """The session's tunnels, rates, rules or URRs changed: bring the forwarder up to date. URRs ``granted`` start anew, changed or not."""
        if self.gy is not None:
            self.gy.follow(session)
        former = self.forwarder.session(session.session_id)
        if former is not None:
            change = user_plane.change(former, session, granted)
            if change != _NO_CHANGE:
                self.forwarder.modify(session.session_id, change)
            if self.charging is not None:
                self.charging.changed(session)

    def move(self, session: PdnSession, sgw: Address, s5c_sgw_teid: int) -> None:
        """Another SGW, or another TEID at the same."""
        if sgw != session.sgw:
            self.s5.watch(sgw)
            self.s5.unwatch(session.sgw)
            session.sgw = sgw
            if self.gy is not None:
                self.gy.rating_condition_changed(session, SERVING_NODE_TRIGGERS)
        session.s5c_sgw_teid = s5c_sgw_teid

    def relocated(self, session: PdnSession, whereabouts: Whereabouts, *, former_sgw: Address | None = None) -> None:
        """The UE is in another network or cell, or comes over another access or another SGW."""
        before, session.whereabouts = session.whereabouts, whereabouts
        self.report(session, *events_of_place(before, whereabouts, former_sgw not in (None, session.sgw)))
        if self.gy is not None:
            self.gy.relocated(session, before, whereabouts)
        if self.charging is not None:
            self.charging.changed(session)

    def is_established(self, session: PdnSession) -> bool:
        return self._by_session_id.get(session.session_id) is session

    def remove(self, session: PdnSession, cause: TerminationCause) -> None:
        """Everything of an established session goes, here and at the PCRF; the SGW is not told."""
        if self._by_session_id.pop(session.session_id, None) is None:
            return
        if self.sessions.get((session.imsi, session.ebi)) is session:
            del self.sessions[session.imsi, session.ebi]
        last_usage = self.forwarder.remove(session.session_id)
        session.slot.cancel()
        session.stop_clocks()
        if self.charging is not None:
            self.charging.disconnected(session, cause, last_usage)
        self.control_teids.release(session.s5c_pgw_teid)
        session.pool.release(session.ue_address)
        self.s5.unwatch(session.sgw)
        if session.gx is not None:
            self._by_gx.pop(session.gx.session_id, None)
        if self.gy is not None:
            self.gy.end(session, cause, last_usage)
        self.end_policy(session, cause, last_usage)
        session.meters.clear()                          # some lead back to the session, and no cycle shall wait for the garbage collector

    # bearers and rules

    def allocate_s5u(self) -> FTeid:
        """A tunnel end on S5/S8-U, t5."""
        return self.forwarder.allocate_f_teid(Interface.ACCESS)

    async def ask_phone(
        self, session: PdnSession, request: GtpMessage, answer_type: type[A], command: RequestReceived | None = None
    ) -> A:
        """A request whose answer waits for the UE. Raises :class:`Reject` for silence and for nonsense."""
        try:
            packet = await self.s5.request(session.sgw, session.s5c_sgw_teid, request, self.t3_phone, command=command)
        except TimerExpired as error:
            raise Reject(CauseValue.REMOTE_PEER_NOT_RESPONDING, f"no answer from the SGW: {error}") from error
        except WireError as error:
            raise Reject(CauseValue.INVALID_REPLY_FROM_REMOTE_PEER, str(error)) from error
        if not isinstance(packet.message, answer_type):
            raise Reject(CauseValue.INVALID_REPLY_FROM_REMOTE_PEER, f"{type(packet.message).__name__} is no {answer_type.__name__}")
        return packet.message

    def enforce(
        self, session: PdnSession, decision: CreditControlAnswer | ReAuthRequest, *, binds: bool = True, reports: bool = True
    ) -> tuple[ChargingRuleReport, ...]:
        """Do what the PCRF decides; returns what cannot be done. After a Credit-Control-Answer it ``reports`` that by itself."""
        if not self.is_established(session):
            return ()
        impossible = take_decision(self, session, decision)
        if binds:
            put_in_force(self, session)
        take_usage_decision(self, session, decision.usage_monitoring_information)
        if reports and isinstance(decision, CreditControlAnswer):
            self.report(session, rules=impossible)
        return impossible

    def report(self, session: PdnSession, *events: EventTrigger, rules: tuple[ChargingRuleReport, ...] = (), **more: Any) -> None:
        """Tell the PCRF of events that it wants to hear of, and of rules in any case; nobody waits for its answer."""
        gx = session.gx
        if gx is None or not gx.is_open:
            return
        wanted = tuple([event for event in events if event in gx.event_triggers])
        if wanted or rules or more:
            self.runner.start(ip_can_session_modification, self, session, Report(event_triggers=wanted, rules=rules, **more))

    def fail_rules(self, session: PdnSession, rules: Iterable[PccRule], failure: RuleFailureCode, *events: EventTrigger) -> None:
        """They cannot be enforced: they go, and the PCRF hears of it."""
        failed = [rule for rule in rules if session.rules.get(rule.name) is rule]
        for rule in failed:
            del session.rules[rule.name]
        if failed and self.is_established(session):
            self.apply(session)
            self.report(session, *events, rules=(inactive(tuple([rule.name for rule in failed]), failure),))

    def bearer_stands(self, session: PdnSession, bearer: Bearer) -> None:
        """A dedicated bearer has been set up: the PCRF hears of rules for which it asked to (TS 29.212 clause 4.5.2.0)."""
        names = tuple([rule.name for rule in session.rules_of(bearer) if rule.notifies_allocation])
        if names:
            self.report(session, EventTrigger.SUCCESSFUL_RESOURCE_ALLOCATION,
                        rules=(ChargingRuleReport(charging_rule_name=names, pcc_rule_status=PccRuleStatus.ACTIVE),))

    def lose_bearer(self, session: PdnSession, bearer: Bearer) -> None:
        """A dedicated bearer is gone, and the rules that it still had with it."""
        if session.bearers.get(bearer.ebi) is not bearer:
            return
        del session.bearers[bearer.ebi]
        rules = session.rules_of(bearer)
        if rules:
            self.fail_rules(session, rules, RuleFailureCode.RESOURCE_ALLOCATION_FAILURE, EventTrigger.LOSS_OF_BEARER)
        elif self.is_established(session):
            self.apply(session)

    def forget(self, session: PdnSession) -> None:
        """The SGW knows the session no longer."""
        self.remove(session, TerminationCause.DIAMETER_LINK_BROKEN)

    def end_policy(self, session: PdnSession, cause: TerminationCause, last_usage: Mapping[int, Usage] | None = None) -> None:
        """Let the PCRF know, if it has ever heard of the session; nobody waits for its answer."""
        if session.gx is not None and session.gx.is_open:
            self.runner.start(ip_can_session_termination, self, session, cause, last_usage)

    def session_of_gx(self, session_id: str) -> PdnSession | None:
        return self._by_gx.get(session_id)

    # what comes in

    def _on_request(self, received: RequestReceived) -> None:
        message = received.message
        if isinstance(message, CreateSessionRequest):
            self._on_create_session(received, message)
            return
        session = self.control_teids.get(received.teid)
        if session is None:
            refuse(self.s5, received, CauseValue.CONTEXT_NOT_FOUND)
            return
        found = _FROM_SGW.get(type(message))
        if found is None:
            refuse(self.s5, received, CauseValue.SERVICE_NOT_SUPPORTED, session.s5c_sgw_teid)
            return
        if found in _CHANGING_BEARERS:
            session.slot.start(found, self, session, received)
        else:
            self.runner.start(found, self, session, received)

    def _on_create_session(self, received: RequestReceived, request: CreateSessionRequest) -> None:
        """A second request for the same bearer of the same UE makes the first one void (TS 29.274 clause 7.2.1)."""
        key = (request.imsi or "", int(request.bearer_contexts_to_be_created[0].ebi))
        former = self._establishing.get(key)
        if former is not None:
            former.cancel()
        task = self.runner.start(create_session, self, received)
        self._establishing[key] = task
        task.add_done_callback(partial(self._settled, key))

    def _settled(self, key: tuple[str, int], task: asyncio.Task[Outcome]) -> None:
        if self._establishing.get(key) is task:
            del self._establishing[key]

    def _on_gx_request(self, packet: Packet) -> Message:
        return re_auth(self, packet)

    def _remote_teid(self, teid: int) -> int | None:
        session = self.control_teids.get(teid)
        return None if session is None else session.s5c_sgw_teid

    def _on_user_plane(self, event: Event) -> None:
        """The SGW has forgotten a bearer: so must we, and without the default one the PDN connection (TS 23.007 clause 21).

        Quotas end, and packets come that have none.
        """
        if isinstance(event, UsageReport | DownlinkData):
            session = self._by_session_id.get(event.session_id)
            if session is not None and self.gy is not None:
                self.gy.take_event(session, event)
        if isinstance(event, ErrorIndication):
            session = self._by_session_id.get(event.session_id)
            bearer = None if session is None else user_plane.bearer_of_far(session, event.far_id)
            if session is None or bearer is None:
                return
            self.log.warning("gtpu.error_indication", sgw=event.tunnel.address, ebi=bearer.ebi)
            if bearer.is_default:
                self.forget(session)
            else:
                self.lose_bearer(session, bearer)
        if isinstance(event, UsageReport):
            self._on_usage_report(event)

    def _on_usage_report(self, event: UsageReport) -> None:
        session = self._by_session_id.get(event.session_id)
        if session is None:
            return
        if event.urr_id == APPLICATION_URR:
            application_event(self, session, event)
        elif event.trigger in (UsageTrigger.VOLUME_THRESHOLD, UsageTrigger.TIME_THRESHOLD):
            threshold_reached(self, session, event.urr_id, event.usage)
        if self.charging is not None and event.trigger is UsageTrigger.VOLUME_THRESHOLD:
            self.charging.threshold_reached(session, event.urr_id)

    def _on_path_event(self, event: PathEvent) -> None:
        if not isinstance(event, PeerRestarted):
            self.log.warning("gtp.path", change=type(event).__name__, peer=event.host)
            return
        self.log.warning("gtp.peer_restarted", peer=event.host, previous=event.previous, current=event.current)
        for session in [each for each in self.sessions.values() if each.sgw.host == event.host]:        # TS 23.007 clause 18
            self.forget(session)

    # what is shown

    def tunnels(self) -> Iterable[TunnelEnd]:
        config = self.config
        for session in self.sessions.values():
            imsi = session.imsi
            yield TunnelEnd(name="s5c_sgw_teid", teid=session.s5c_sgw_teid, address=session.sgw.host, own=False, imsi=imsi)
            yield TunnelEnd(name="s5c_pgw_teid", teid=session.s5c_pgw_teid, address=config.s5c.host, own=True, imsi=imsi)
            for bearer in session.bearers.values():
                for name, end, own in (("s5u_sgw_teid", bearer.s5u_sgw, False), ("s5u_pgw_teid", bearer.s5u_pgw, True)):
                    if end is not None:
                        yield TunnelEnd(name=name, teid=end.teid, address=end.address, own=own, imsi=imsi, ebi=bearer.ebi)

    def session_ends(self) -> Iterable[SessionEnd]:
        for session in self._by_session_id.values():
            gx = session.gx
            if gx is not None and gx.is_open:
                yield SessionEnd(interface="Gx", session_id=gx.session_id, own=True, imsi=session.imsi, peer=gx.pcrf or "",
                                 is_certain=gx.pcrf is not None)
        for session in self.gy.sessions.values() if self.gy is not None else ():
            gy = session.gy
            if gy is not None and gy.is_open:
                yield SessionEnd(interface="Gy", session_id=gy.session_id, own=True, imsi=session.imsi, peer=gy.ocs or "",
                                 is_certain=gy.ocs is not None)

    def associated_peers(self) -> Iterator[AssociatedPeer]:
        yield from gtp_paths("S5/S8", self.s5)
        if self.gx is not None:
            yield from diameter_peers("Gx", self.gx)
        if self.gy is not None:
            yield from diameter_peers("Gy", self.gy.node)
        if self.sx is not None:
            yield from pfcp_peers("Sxb", self.sx.endpoint)

    def views(self) -> Mapping[str, View]:
        return {"sessions": self._show_sessions, "pools": self._show_pools, "paths": self._show_paths, "peers": self._show_peers,
                "userplane": self._show_user_plane, "sgi": lambda: [sgi.describe() for sgi in self._sgi],
                "certificates": lambda: self.certificate_authorities,
                **({"charging": self.charging.function.show} if self.charging is not None else {})}

    def commands(self) -> Mapping[str, Command]:
        return {} if self.charging is None else {"close_records": self._close_records}

    async def _close_records(self) -> object:
        """Management intervention: end every open charging data record, and close the files."""
        assert self.charging is not None
        return self.charging.function.close_records()

    def _show_sessions(self) -> object:
        shown = []
        for session in self.sessions.values():
            usage = self.forwarder.usage(session.session_id)[1]
            ambr = session.policy.ambr
            shown.append(
                {
                    "imsi": session.imsi, "apn": session.apn, "ip": str(session.ue_address), "ebi": session.ebi, "qci": session.policy.qos.qci,
                    "ambr_uplink_kbps": ambr.uplink_kbps if ambr else None, "ambr_downlink_kbps": ambr.downlink_kbps if ambr else None,
                    "sgw": session.sgw.host, "s5c_sgw_teid": session.s5c_sgw_teid, "s5c_pgw_teid": session.s5c_pgw_teid,
                    "s5u_sgw": str(session.default_bearer.s5u_sgw), "s5u_pgw": str(session.default_bearer.s5u_pgw),
                    "charging_id": session.charging_id,
                    "bearers": [
                        {"ebi": bearer.ebi, "qci": bearer.qos.qci, "s5u_sgw": str(bearer.s5u_sgw), "s5u_pgw": str(bearer.s5u_pgw),
                         "charging_id": bearer.charging_id,
                         "rules": [name.decode(errors="replace") for name, rule in session.rules.items() if rule.bearer is bearer]}
                        for bearer in session.bearers.values()],
                    "gx_session": session.gx.session_id if session.gx else None,
                    "gy_session": session.gy.session_id if session.gy else None, "charged": session.gy.described() if session.gy else [],
                    "rules": [name.decode(errors="replace") for name in session.rules],
                    "uplink_octets": usage.uplink_octets, "downlink_octets": usage.downlink_octets,
                }
            )
        return shown

    def _show_pools(self) -> object:
        return [
            {"apn": name, "pool": str(self.config.apns[name].ipv4_pool), "used": len(pool), "size": pool.size} for name, pool in self.pools.items()
        ]

    def _show_paths(self) -> object:
        return [{"interface": "S5/S8", **path} for path in self.s5.machine.describe_paths()]

    def _show_peers(self) -> object:
        return [
            {"host": peer.host, "realm": peer.realm, "remote": peer.remote, "state": peer.state, "usable": peer.is_usable}
            for node in (self.gx, None if self.gy is None else self.gy.node) if node is not None for peer in node.peers()
        ]

    def _show_user_plane(self) -> object:
        return show_user_plane(self.forwarder)
