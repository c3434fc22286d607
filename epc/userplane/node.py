"""The frame of SGW-U and PGW-U: associations, sessions, and the reports that the forwarder's events become."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import ClassVar, TypeVar

from epc.dataplane.forwarder import DownlinkData, ErrorIndication, Event, Forwarder, UsageTrigger
from epc.dataplane.forwarder import UsageReport as UsageEvent
from epc.dataplane.rules import Application, Usage
from epc.node import Node, View
from epc.node.pfcp import PfcpInterface, pfcp_peers
from epc.node.state import AssociatedPeer, count_user_plane
from epc.node.user_plane import show_user_plane
from epc.peer.pfcp import AssociationEvent, AssociationLost, LocalEntity, RequestReceived
from epc.procedure import table
from epc.transport.pfcp import PfcpEndpoint
from epc.userplane.config import UserPlaneConfig
from epc.userplane.pfd_management import pfd_management
from epc.userplane.session import UpSession, UrrState, threshold_of_one_direction
from epc.userplane.session_deletion import session_deletion
from epc.userplane.session_establishment import session_establishment
from epc.userplane.session_modification import session_modification
from epc.userplane.session_report import session_report
from epc.wire import pfcp
from epc.wire.pfcp import (
    REPLY_TO,
    ApplicationDetectionInformation,
    CauseValue,
    DownlinkDataReport,
    DownlinkDataServiceInformation,
    ErrorIndicationReport,
    Fteid,
    MessageType,
    PfdManagementRequest,
    ReportType,
    SessionEstablishmentRequest,
    SessionReportRequest,
    UpFunctionFeatures,
    UsageReport,
    UsageReportAtModification,
    UsageReportTrigger,
    UserPlaneIpResourceInformation,
    ntp_seconds,
    rejection,
)

C = TypeVar("C", bound=UserPlaneConfig)
_R = TypeVar("_R", bound=UsageReportAtModification)

FEATURES = UpFunctionFeatures.FTUP | UpFunctionFeatures.EMPU | UpFunctionFeatures.PFDM | UpFunctionFeatures.TREU
_TRIGGERS = {
    UsageTrigger.VOLUME_THRESHOLD: UsageReportTrigger.VOLTH, UsageTrigger.TIME_THRESHOLD: UsageReportTrigger.TIMTH,
    UsageTrigger.PERIOD: UsageReportTrigger.PERIO, UsageTrigger.VOLUME_QUOTA: UsageReportTrigger.VOLQU,
    UsageTrigger.TIME_QUOTA: UsageReportTrigger.TIMQU, UsageTrigger.QUOTA_HOLDING_TIME: UsageReportTrigger.QUHTI,
    UsageTrigger.APPLICATION_START: UsageReportTrigger.START, UsageTrigger.APPLICATION_STOP: UsageReportTrigger.STOPT,
}
_OF_A_SESSION = table((session_modification, session_deletion))


class UserPlaneNode(Node[C]):
    """A subclass opens its forwarder in :meth:`open_forwarder` and says where its ends are."""

    interface: ClassVar[str]                    # the reference point towards the control function

    sx: PfcpEndpoint
    forwarder: Forwarder
    default_network_instance = ""               # the plain IP link of rules that name none

    async def open_forwarder(self) -> Forwarder:
        raise NotImplementedError

    def sx_address(self) -> PfcpInterface:
        raise NotImplementedError

    def ip_resources(self) -> Iterable[UserPlaneIpResourceInformation]:
        """Our GTP-U addresses, from which a control function may allocate F-TEIDs."""
        raise NotImplementedError

    async def start(self) -> None:
        self.sessions: dict[int, UpSession] = {}                # by our SEID
        self.applications: dict[str, Application] = {}          # by id
        self._checked: set[UpSession] = set()
        self._check: asyncio.TimerHandle | None = None
        self._last_seid = self.entropy.getrandbits(48) << 12    # a restarted node does not hand out what a peer still uses
        self._loop = asyncio.get_running_loop()
        self.forwarder = await self.open_forwarder()
        self.forwarder.on_event = self._on_user_plane
        own = self.sx_address()
        local = LocalEntity(
            node_id=ip_address(own.host), recovery_time_stamp_ntp=ntp_seconds(self.clock()), up_function_features=FEATURES,
            user_plane_ip_resources=tuple(self.ip_resources()),
        )
        self.sx = PfcpEndpoint(
            self.transport, own.address, local, interface=self.interface, on_request=self._on_request, on_event=self._on_association,
            timers=self.config.pfcp.timers, observer=self.metrics, remote_seid=self._remote_seid, first_sequence=self.entropy.getrandbits(24),
        )
        await self.sx.open()
        self.metrics.gauge("sessions", "PFCP sessions", lambda: len(self.sessions))
        self.metrics.gauge("buffered_packets", "Packets that wait for idle phones", lambda: self.forwarder.statistics().buffered_packets)
        count_user_plane(self.metrics, self.forwarder)

    async def stop(self) -> None:
        if self._check is not None:
            self._check.cancel()
        await self.runner.stop()
        await self.sx.close()
        await self.forwarder.close()

    # sessions

    def new_seid(self) -> int:
        self._last_seid = self._last_seid % 0xFFFFFFFFFFFFFFFF + 1
        return self._last_seid

    def add(self, session: UpSession) -> None:
        """The forwarder has its rules."""
        self.sessions[session.seid] = session
        self.changed(session)

    def is_established(self, session: UpSession) -> bool:
        return self.sessions.get(session.seid) is session

    def remove(self, session: UpSession) -> Mapping[int, Usage]:
        """The session ends here; returns what its URRs have counted."""
        del self.sessions[session.seid]
        self._checked.discard(session)
        return self.forwarder.remove(session.seid)

    def changed(self, session: UpSession) -> None:
        """URRs may have come or gone: measure from now on, and look at them if they want reports."""
        now_ntp = ntp_seconds(self.clock())
        for urr_id in session.rules.urrs:
            session.urrs.setdefault(urr_id, UrrState(now_ntp))
        for urr_id in session.urrs.keys() - session.rules.urrs.keys():
            del session.urrs[urr_id]
        if session.is_checked:
            self._checked.add(session)
            self._check_later()
        else:
            self._checked.discard(session)

    def report(self, kind: type[_R], session: UpSession, urr_id: int, trigger: UsageReportTrigger, usage: Usage) -> _R:
        return session.urrs[urr_id].report(
            kind, session.rules.urrs[urr_id], trigger, usage, now_ntp=ntp_seconds(self.clock()))

    def _check_later(self) -> None:
        if self._check is None:
            self._check = self._loop.call_later(self.config.usage_check_s, self._check_usage)

    def _check_usage(self) -> None:
        self._check = None
        for session in self._checked:
            usage = self.forwarder.usage(session.seid)
            reports = []
            for urr_id, rule in session.rules.urrs.items():
                threshold = threshold_of_one_direction(rule)
                if threshold is not None and session.urrs[urr_id].exceeds(threshold, usage[urr_id]):
                    reports.append(self.report(UsageReport, session, urr_id, UsageReportTrigger.VOLTH, usage[urr_id]))
            if reports:
                self._send(session, SessionReportRequest(report_type=ReportType.USAR, usage_reports=tuple(reports)))
        if self._checked:
            self._check_later()

    # what comes in

    def _on_request(self, received: RequestReceived) -> None:
        message = received.message
        if isinstance(message, SessionEstablishmentRequest):
            association = next((each for each in self.sx.machine.associations() if each.node_id == message.node_id), None)
            if association is None:                     # it has just gone
                self._refuse(received, CauseValue.NO_ESTABLISHED_PFCP_ASSOCIATION, message.cp_fseid.seid)
            else:
                self.runner.start(session_establishment, self, received, association)
            return
        if isinstance(message, PfdManagementRequest):
            self.runner.start(pfd_management, self, received)
            return
        session = self.sessions.get(received.seid or 0)
        found = _OF_A_SESSION.get(type(message))
        if found is None:
            self._refuse(received, CauseValue.SERVICE_NOT_SUPPORTED, 0 if session is None else session.cp_seid)
        elif session is None:
            self._refuse(received, CauseValue.SESSION_CONTEXT_NOT_FOUND, 0)
        else:
            self.runner.start(found, self, session, received)

    def _refuse(self, received: RequestReceived, cause: CauseValue, cp_seid: int) -> None:
        reply = REPLY_TO[received.message.message_type]
        seid = cp_seid if reply >= MessageType.SESSION_ESTABLISHMENT_RESPONSE else None
        self.sx.respond(received, rejection(reply, cause, node_id=self.sx.machine.local.node_id), seid)

    def _remote_seid(self, seid: int) -> int | None:
        session = self.sessions.get(seid)
        return None if session is None else session.cp_seid

    def _on_association(self, event: AssociationEvent) -> None:
        association = event.association
        self.log.info("pfcp.association", change=type(event).__name__, peer=association.peer[0], node_id=str(association.node_id))
        if isinstance(event, AssociationLost):
            for session in [each for each in self.sessions.values() if each.association is association]:
                self.remove(session)

    def _on_user_plane(self, event: Event) -> None:
        if not isinstance(event, DownlinkData | ErrorIndication | UsageEvent):
            return
        session = self.sessions.get(event.session_id)
        if session is None:
            return
        if isinstance(event, DownlinkData):
            information = DownlinkDataServiceInformation(paging_policy_indication=event.dscp)
            arrived = DownlinkDataReport(pdr_ids=(event.pdr_id,), downlink_data_service_information=(information,) if event.dscp else ())
            self._send(session, SessionReportRequest(report_type=ReportType.DLDR, downlink_data_report=arrived))
        elif isinstance(event, ErrorIndication):
            lost = ErrorIndicationReport(remote_fteids=(Fteid.at(event.tunnel.teid, event.tunnel.address),))
            self._send(session, SessionReportRequest(report_type=ReportType.ERIR, error_indication_report=lost))
        else:
            report = self.report(UsageReport, session, event.urr_id, _TRIGGERS[event.trigger], event.usage)
            if event.application_id is not None:
                detected = ApplicationDetectionInformation(application_id=event.application_id.encode())
                report = replace(report, application_detection_information=detected)
            self._send(session, SessionReportRequest(report_type=ReportType.USAR, usage_reports=(report,)))

    def _send(self, session: UpSession, report: SessionReportRequest) -> None:
        self.runner.start(session_report, self, session, report)

    # what is shown

    def associated_peers(self) -> Iterator[AssociatedPeer]:
        yield from pfcp_peers(self.interface, self.sx)

    def views(self) -> Mapping[str, View]:
        return {"sessions": self._show_sessions, "userplane": self._show_user_plane}

    def _show_sessions(self) -> object:
        return [
            {
                "seid": session.seid, "cp_seid": session.cp_seid, "cp": session.cp.host,
                "pdrs": [
                    {"id": pdr.id, "from": pdr.source_interface.name.lower(), "f_teid": str(pdr.local_f_teid or ""),
                     "network_instance": pdr.network_instance, "far": pdr.far_id}
                    for pdr in session.installed.pdrs
                ],
                "fars": [
                    {"id": far.id, "action": str(far.apply_action), "tunnel": str(far.outer_header_creation or ""),
                     "network_instance": far.network_instance}
                    for far in session.installed.fars
                ],
                "usage": {
                    urr_id: {"uplink_octets": usage.uplink_octets, "downlink_octets": usage.downlink_octets}
                    for urr_id, usage in self.forwarder.usage(session.seid).items()
                },
            }
            for session in self.sessions.values()
        ]

    def _show_user_plane(self) -> object:
        return show_user_plane(self.forwarder)


def ip_resource(host: str, source_interface: pfcp.SourceInterface) -> UserPlaneIpResourceInformation:
    """All TEIDs at one address, for tunnels from that side."""
    address = Fteid.at(0, host)
    return UserPlaneIpResourceInformation(ipv4=address.ipv4, ipv6=address.ipv6, source_interface=source_interface)
