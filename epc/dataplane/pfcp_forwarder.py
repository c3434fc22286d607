"""A user plane that is somewhere else: the same rules, sent as PFCP to an SGW-U or PGW-U (TS 23.214 clause 5, TS 29.244 clause 6.3).

``install``, ``modify`` and ``remove`` return at once; what they ask for is sent in order, one request of a session at a time, and
:meth:`PfcpForwarder.confirmed` waits until the user-plane function has done it. F-TEIDs are allocated here, at the function's addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from epc.dataplane.forwarder import DownlinkData, DropReason, ErrorIndication, Event, Statistics, UsageReport, UsageTrigger
from epc.dataplane.pfcp_rules import application_pfds, changed, establishment, far_with_tunnel, modification, tunnel_of
from epc.dataplane.rules import Application, FTeid, Interface, RuleError, Session, SessionChange, Urr, Usage
from epc.peer.pfcp import AssociationEstablished, AssociationEvent, AssociationLost, LocalEntity, PfcpTimers, RequestReceived
from epc.peer.timer import TimerExpired
from epc.transport.exchange import MessageObserver
from epc.transport.interface import Address, Transport
from epc.transport.pfcp import PfcpEndpoint
from epc.wire.errors import WireError
from epc.wire.pfcp import (
    REPLY_TO,
    CauseValue,
    Message,
    MessageType,
    NodeReportRequest,
    NodeReportResponse,
    PfdManagementRequest,
    PfdManagementResponse,
    SessionDeletionRequest,
    SessionDeletionResponse,
    SessionEstablishmentRequest,
    SessionEstablishmentResponse,
    SessionModificationRequest,
    SessionModificationResponse,
    SessionReportRequest,
    SessionReportResponse,
    SmReqFlags,
    UsageReportAtModification,
    UsageReportTrigger,
    Volume,
    rejection,
)
from epc.wire.pfcp import UsageReport as UsageReportAtSession

log = logging.getLogger(__name__)

_TRIGGERS = {
    UsageReportTrigger.VOLTH: UsageTrigger.VOLUME_THRESHOLD, UsageReportTrigger.TIMTH: UsageTrigger.TIME_THRESHOLD,
    UsageReportTrigger.PERIO: UsageTrigger.PERIOD, UsageReportTrigger.VOLQU: UsageTrigger.VOLUME_QUOTA,
    UsageReportTrigger.TIMQU: UsageTrigger.TIME_QUOTA, UsageReportTrigger.QUHTI: UsageTrigger.QUOTA_HOLDING_TIME,
    UsageReportTrigger.START: UsageTrigger.APPLICATION_START, UsageReportTrigger.STOPT: UsageTrigger.APPLICATION_STOP,
}


@dataclass(frozen=True, slots=True)
class _Establishment:
    """A request that is made when it is sent: what is left of quotas may be less by then."""

    session: Session


@dataclass(slots=True, eq=False)
class _Remote:
    """A session over there."""

    session: Session                    # its rules when all that is pending is done
    up_seid: int = 0                    # allocated by the user-plane function; 0: it has no such session
    pending: deque[Message | _Establishment] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None
    failure: RuleError | None = None    # of what nobody has asked about yet
    is_unsure: bool = False             # a modification failed: the rules over there may be others
    usage: dict[int, Usage] = field(default_factory=dict)       # as far as it was reported
    granted_at: dict[int, Usage] = field(default_factory=dict)  # likewise when the URR was given last


class PfcpForwarder:
    """A :class:`~epc.dataplane.forwarder.UserPlane` behind PFCP. Make one with :meth:`open`."""

    def __init__(
        self, transport: Transport, local: Address, peer: Address, *, interface: str, tunnels: Mapping[Interface, str], recovery_time_stamp_ntp: int,
        timers: PfcpTimers, observer: MessageObserver | None, first_teid: int, first_sequence: int, usage_period_s: int | None,
    ) -> None:
        self.on_event: Callable[[Event], None] = _no_event
        self.endpoint = PfcpEndpoint(
            transport, local, LocalEntity(node_id=ip_address(local.host), recovery_time_stamp_ntp=recovery_time_stamp_ntp), interface=interface,
            on_request=self._on_request, on_event=self._on_association, timers=timers, observer=observer, remote_seid=self._remote_seid,
            first_sequence=first_sequence,
        )
        self._peer = peer
        self._tunnels = dict(tunnels)
        self._next_teid = first_teid
        self._in_use: set[FTeid] = set()
        self._sessions: dict[int, _Remote] = {}
        self._leaving: set[_Remote] = set()             # removed here, and not yet over there
        self._usage_period_s = usage_period_s
        self._applications: dict[str, Application] = {}         # as they shall be
        self._provisioned: dict[str, Application] = {}          # as the function knows them
        self._provisioning: asyncio.Task[None] | None = None
        self._retired = Usage()
        self._error_indications = 0

    @classmethod
    async def open(
        cls, transport: Transport, local: Address, peer: Address, *, interface: str, tunnels: Mapping[Interface, str], recovery_time_stamp_ntp: int,
        timers: PfcpTimers | None = None, observer: MessageObserver | None = None, first_teid: int = 1, first_sequence: int = 0,
        usage_period_s: int | None = None,
    ) -> PfcpForwarder:
        """Open the endpoint and begin to set up the association, on ``interface`` "Sxa" or "Sxb".

        ``tunnels`` are the function's GTP-U addresses; TEIDs count up from ``first_teid``. The function reports usage each ``usage_period_s``.
        """
        forwarder = cls(
            transport, local, peer, interface=interface, tunnels=tunnels, recovery_time_stamp_ntp=recovery_time_stamp_ntp,
            timers=timers or PfcpTimers(), observer=observer, first_teid=first_teid, first_sequence=first_sequence, usage_period_s=usage_period_s,
        )
        await forwarder.endpoint.open()
        forwarder.endpoint.associate(peer)
        return forwarder

    async def close(self) -> None:
        """Release the association, with which the sessions over there end."""
        await self.endpoint.close()
        workers = [remote.worker for remote in (*self._sessions.values(), *self._leaving) if remote.worker is not None]
        if self._provisioning is not None:
            workers.append(self._provisioning)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    @property
    def is_associated(self) -> bool:
        return self.endpoint.machine.association_with(self._peer.host) is not None

    # What the control plane asks for

    def allocate_f_teid(self, interface: Interface) -> FTeid:
        """At the function's address on that side, within the range of TEIDs that it has announced (TS 29.244 clause 5.5.2)."""
        address = self._tunnels.get(interface)
        if address is None:
            raise RuleError(f"no GTP-U address on side {interface.name}")
        ours, theirs = self._teid_range(address)
        while True:
            end = FTeid(teid=theirs | self._next_teid & ours, address=address)
            self._next_teid = (self._next_teid + 1) & 0xFFFFFFFF
            if end.teid and end not in self._in_use:
                return end

    def _teid_range(self, address: str) -> tuple[int, int]:
        """The bits of a TEID that we may choose, and the others as they must be."""
        association = self.endpoint.machine.association_with(self._peer.host)
        for resource in () if association is None else association.user_plane_ip_resources:
            if address in (str(resource.ipv4), str(resource.ipv6)):
                ours = 0xFFFFFFFF >> resource.teid_range_bits
                return ours, resource.teid_range << 24 & ~ours
        return 0xFFFFFFFF, 0

    def provision(self, applications: Iterable[Application]) -> None:
        self._applications = {application.id: application for application in applications}
        self._provision_later()

    def _provision_later(self) -> None:
        if self.is_associated and self._provisioning is None:
            self._provisioning = asyncio.get_running_loop().create_task(self._provision(), name=f"{self.endpoint.interface} applications")

    async def _provision(self) -> None:
        """Until what the function knows is what it shall know; where that fails, the next change or association tries again."""
        try:
            while self._provisioned != self._applications:
                wanted = dict(self._applications)
                changed = [application for application in wanted.values() if self._provisioned.get(application.id) != application]
                gone = [Application(id=known) for known in self._provisioned.keys() - wanted.keys()]
                request = PfdManagementRequest(application_ids_pfds=tuple([application_pfds(application) for application in (*changed, *gone)]))
                answer = (await self.endpoint.request(self._peer, None, request)).message
                assert isinstance(answer, PfdManagementResponse)
                if answer.cause >= CauseValue.REQUEST_REJECTED:
                    log.warning("%s refuses applications: %r", self._peer, answer.cause)
                    return
                self._provisioned = wanted
        except (TimerExpired, WireError, ConnectionError) as error:
            log.warning("%s is not told about applications: %s", self._peer, error)
        finally:
            self._provisioning = None

    def install(self, session: Session) -> None:
        if session.id in self._sessions:
            raise RuleError(f"session {session.id} exists")
        remote = self._sessions[session.id] = _Remote(session, usage={urr.id: Usage() for urr in session.urrs})
        self._in_use |= _ends(session)
        self._push(remote, _Establishment(session))

    def modify(self, session_id: int, change: SessionChange) -> None:
        remote = self._found(session_id)
        former, remote.session = remote.session, changed(remote.session, change)
        for urr in change.urrs:
            remote.granted_at[urr.id] = remote.usage.get(urr.id, Usage())
        self._in_use -= _ends(former)
        self._in_use |= _ends(remote.session)
        if remote.is_unsure:
            self._establish_anew(remote)
            return
        message = modification(former, change, usage_period_s=self._usage_period_s)
        if message is not None:
            self._push(remote, message)

    def remove(self, session_id: int) -> Mapping[int, Usage]:
        """What is known of its usage now; the rest comes with the answer and goes into the totals."""
        remote = self._found(session_id)
        del self._sessions[session_id]
        self._in_use -= _ends(remote.session)
        self._leaving.add(remote)
        self._push(remote, SessionDeletionRequest())
        return remote.usage

    async def confirmed(self, session_id: int) -> None:
        """Wait until the user-plane function has done what was asked for; raises :class:`RuleError` if any of it failed since the last time."""
        remote = self._sessions.get(session_id)
        if remote is None:
            return
        if remote.worker is not None:
            await asyncio.shield(remote.worker)
        failure, remote.failure = remote.failure, None
        if failure is not None:
            raise failure

    async def measure(self, session_id: int) -> None:
        """Have all URRs of a session report now: what :meth:`usage` gives then is as it stood (TS 29.244 clause 5.2.2.3.1). Without an answer, as
        it was reported last.
        """
        remote = self._sessions.get(session_id)
        if remote is None:
            return
        self._push(remote, SessionModificationRequest(flags=SmReqFlags.QAURR))
        if remote.worker is not None:
            await asyncio.shield(remote.worker)

    async def departed(self, session_id: int) -> None:
        """Wait until the user-plane function has given up a session that was removed, or cannot be asked; then what :meth:`remove` gave is final."""
        for remote in [each for each in self._leaving if each.session.id == session_id]:
            if remote.worker is not None:
                await asyncio.shield(remote.worker)

    def session(self, session_id: int) -> Session | None:
        remote = self._sessions.get(session_id)
        return None if remote is None else remote.session

    def sessions(self) -> tuple[Session, ...]:
        return tuple(remote.session for remote in self._sessions.values())

    def usage(self, session_id: int) -> Mapping[int, Usage]:
        """As far as it was reported."""
        return self._found(session_id).usage

    def statistics(self) -> Statistics:
        """What the function has reported: octets, and never packets."""
        total = self._retired
        for remote in self._sessions.values():
            for usage in remote.usage.values():
                total += usage
        return Statistics(
            sessions=len(self._sessions), buffered_packets=0, usage=total, drops=dict.fromkeys(DropReason, 0), error_indications_sent=0,
            error_indications_received=self._error_indications, echo_requests_received=0,
        )

    # Requests, in order

    def _establishment(self, remote: _Remote, session: Session) -> SessionEstablishmentRequest:
        """A function that has lost the session gets what is left of its quotas."""
        local = self.endpoint.machine.local
        urrs = [_what_is_left(urr, remote.granted_at.get(urr.id, Usage()), remote.usage.get(urr.id, Usage())) for urr in session.urrs]
        return establishment(
            replace(session, urrs=tuple(urrs)), node_id=local.node_id, host=self.endpoint.local.host, usage_period_s=self._usage_period_s)

    def _establish_anew(self, remote: _Remote) -> None:
        """From nothing, with the rules as they shall be."""
        remote.pending.clear()
        if remote.up_seid:
            remote.pending.append(SessionDeletionRequest())
        remote.is_unsure = False
        self._push(remote, _Establishment(remote.session))

    def _push(self, remote: _Remote, message: Message | _Establishment) -> None:
        remote.pending.append(message)
        if remote.worker is None:
            remote.worker = asyncio.get_running_loop().create_task(self._work(remote), name=f"{self.endpoint.interface} session {remote.session.id}")

    async def _work(self, remote: _Remote) -> None:
        try:
            while remote.pending:
                wanted = remote.pending.popleft()
                message = self._establishment(remote, wanted.session) if isinstance(wanted, _Establishment) else wanted
                # one that is there is not established again, and one that is not can be neither changed nor deleted
                if bool(remote.up_seid) is not isinstance(message, SessionEstablishmentRequest):
                    try:
                        await self._send(remote, message)
                    except (RuleError, TimerExpired, WireError, ConnectionError) as error:
                        failure = error if isinstance(error, RuleError) else RuleError(str(error))
                        log.warning("session %d at %s: %s", remote.session.id, self._peer, failure)
                        remote.failure = remote.failure or failure
                        remote.is_unsure = True
        finally:
            remote.worker = None
            if remote in self._leaving:
                self._leaving.discard(remote)
                self._retired = sum(remote.usage.values(), self._retired)

    async def _send(self, remote: _Remote, message: Message) -> None:
        if not self.is_associated:
            raise RuleError(f"no association with the user-plane function {self._peer}")
        seid = 0 if isinstance(message, SessionEstablishmentRequest) else remote.up_seid
        answer = (await self.endpoint.request(self._peer, seid, message)).message
        if isinstance(answer, SessionEstablishmentResponse):
            if answer.up_fseid is not None and answer.cause < CauseValue.REQUEST_REJECTED:
                remote.up_seid = answer.up_fseid.seid
                remote.failure, remote.is_unsure = None, False      # it has all the rules now, whatever had failed before
                return
            raise RuleError(f"the user-plane function refuses the session: {answer.cause!r} {answer.failed_rule_id or ''}".strip())
        assert isinstance(answer, SessionModificationResponse | SessionDeletionResponse)
        if isinstance(message, SessionDeletionRequest):
            remote.up_seid = 0
        self._take_usage(remote, answer.usage_reports)
        if answer.cause == CauseValue.SESSION_CONTEXT_NOT_FOUND and remote not in self._leaving:
            remote.up_seid = 0
            self._establish_anew(remote)
        elif answer.cause >= CauseValue.REQUEST_REJECTED and not isinstance(message, SessionDeletionRequest):
            raise RuleError(f"the user-plane function refuses the change: {answer.cause!r}")

    # What comes in

    def _on_association(self, event: AssociationEvent) -> None:
        """Sessions that the function has lost are established again when there is an association again (TS 23.007 clause 31)."""
        log.info("%s: %s", self._peer, type(event).__name__)
        if isinstance(event, AssociationLost):
            for remote in (*self._sessions.values(), *self._leaving):
                remote.up_seid = 0
                remote.pending.clear()
        elif isinstance(event, AssociationEstablished):
            self._provisioned = {}
            self._provision_later()
            for remote in self._sessions.values():
                if not remote.up_seid and not remote.pending:
                    self._establish_anew(remote)

    def _on_request(self, received: RequestReceived) -> None:
        message = received.message
        if isinstance(message, SessionReportRequest):
            remote = self._sessions.get(received.seid or 0)
            if remote is None:
                leaving = next((each for each in self._leaving if each.session.id == received.seid), None)
                seid = 0 if leaving is None else leaving.up_seid
                self.endpoint.respond(received, SessionReportResponse(cause=CauseValue.SESSION_CONTEXT_NOT_FOUND), seid)
                return
            self.endpoint.respond(received, SessionReportResponse(cause=CauseValue.REQUEST_ACCEPTED), remote.up_seid)
            self._take_report(remote, message)
        elif isinstance(message, NodeReportRequest):
            log.warning("%s reports %r", self._peer, message.user_plane_path_failure_report or message.node_report_type)
            response = NodeReportResponse(node_id=self.endpoint.machine.local.node_id, cause=CauseValue.REQUEST_ACCEPTED)
            self.endpoint.respond(received, response, None)
        else:
            reply = REPLY_TO[message.message_type]
            refusal = rejection(reply, CauseValue.SERVICE_NOT_SUPPORTED, node_id=self.endpoint.machine.local.node_id)
            self.endpoint.respond(received, refusal, 0 if reply >= MessageType.SESSION_ESTABLISHMENT_RESPONSE else None)

    def _take_report(self, remote: _Remote, report: SessionReportRequest) -> None:
        session = remote.session
        if report.downlink_data_report is not None:
            pdrs = {pdr.id: pdr for pdr in session.pdrs}
            services = report.downlink_data_report.downlink_data_service_information
            dscp = (services[0].paging_policy_indication or 0) if services else 0
            for pdr_id in report.downlink_data_report.pdr_ids:
                if pdr_id in pdrs:
                    self.on_event(DownlinkData(session_id=session.id, pdr_id=pdr_id, far_id=pdrs[pdr_id].far_id, dscp=dscp))
        self._take_usage(remote, report.usage_reports)
        for usage in report.usage_reports:
            self._tell_usage(session, usage)
        if report.error_indication_report is not None:
            for fteid in report.error_indication_report.remote_fteids:
                self._error_indications += 1
                tunnel = tunnel_of(fteid)
                far = None if tunnel is None else far_with_tunnel(session.fars, tunnel)
                if tunnel is not None and far is not None:
                    self.on_event(ErrorIndication(session_id=session.id, far_id=far.id, tunnel=tunnel))

    def _tell_usage(self, session: Session, report: UsageReportAtSession) -> None:
        urr = next((urr for urr in session.urrs if urr.id == report.urr_id), None)
        if urr is None or session.id not in self._sessions:
            return
        detected = report.application_detection_information
        application_id = None if detected is None else detected.application_id.decode(errors="replace")
        for theirs, ours in _TRIGGERS.items():
            # usage that is only wanted for the totals is nobody's event
            if theirs in report.usage_report_trigger and (ours is not UsageTrigger.PERIOD or urr.period_s is not None):
                usage = self._sessions[session.id].usage[urr.id]
                is_application = ours in (UsageTrigger.APPLICATION_START, UsageTrigger.APPLICATION_STOP)
                self.on_event(UsageReport(
                    session_id=session.id, urr_id=urr.id, trigger=ours, usage=usage, application_id=application_id if is_application else None))

    def _take_usage(self, remote: _Remote, reports: Iterable[UsageReportAtModification]) -> None:
        for report in reports:
            volume = report.volume_measurement or Volume()
            used = Usage(
                uplink_octets=volume.uplink_octets or 0, downlink_octets=volume.downlink_octets or 0,
                duration_s=float(report.duration_measurement_s or 0),
            )
            remote.usage[report.urr_id] = remote.usage.get(report.urr_id, Usage()) + used

    def _remote_seid(self, seid: int) -> int | None:
        remote = self._sessions.get(seid)
        return None if remote is None else remote.up_seid

    def _found(self, session_id: int) -> _Remote:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise RuleError(f"no session {session_id}") from None


def _what_is_left(urr: Urr, granted_at: Usage, used: Usage) -> Urr:
    volume, duration_s = urr.volume_quota_octets, urr.time_quota_s
    return replace(
        urr, volume_quota_octets=None if volume is None else max(0, volume - (used.octets - granted_at.octets)),
        time_quota_s=None if duration_s is None else max(0.0, duration_s - (used.duration_s - granted_at.duration_s)),
    )


def _ends(session: Session) -> set[FTeid]:
    return {pdr.local_f_teid for pdr in session.pdrs if pdr.local_f_teid is not None}


def _no_event(event: Event) -> None:
    """Until the node sets ``on_event``."""
