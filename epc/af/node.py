"""The application function as a node: for scenarios, and for people who want to see a PCRF at work."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TypeVar

from epc.af.config import AfConfig
from epc.af.session import AfSession, Notification, RequestRefused, both_ways
from epc.node import Command, Node, SessionEnd, View
from epc.node.state import AssociatedPeer, diameter_peers
from epc.peer.diameter import LocalIdentity
from epc.peer.timer import TimerExpired
from epc.procedure import procedure
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Transport
from epc.wire.diameter import RX_APPLICATION, Answer, DiameterError, Message, Packet, Request, ResultCode
from epc.wire.diameter.base import SessionTerminationAnswer, SessionTerminationRequest
from epc.wire.diameter.groups import SubscriptionId, SubscriptionIdType, TerminationCause
from epc.wire.diameter.policy import FlowStatus
from epc.wire.diameter.rx import (
    AAAnswer,
    AARequest,
    AbortSessionAnswer,
    AbortSessionRequest,
    MediaComponentDescription,
    MediaSubComponent,
    MediaType,
    ReAuthAnswer,
    ReAuthRequest,
    RxRequestType,
    SpecificAction,
)

A = TypeVar("A", bound=Answer)

TOLD_BY_DEFAULT = (
    SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION, SpecificAction.INDICATION_OF_FAILED_RESOURCES_ALLOCATION,
    SpecificAction.INDICATION_OF_RELEASE_OF_BEARER, SpecificAction.INDICATION_OF_LOSS_OF_BEARER, SpecificAction.INDICATION_OF_RECOVERY_OF_BEARER)


class Af(Node[AfConfig]):
    """Application Function: TS 29.214 (Rx)."""

    kind = "af"
    config_model = AfConfig

    def __init__(
        self,
        config: AfConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self.sessions: dict[str, AfSession] = {}
        self.rx = DiameterNode(
            transport, LocalIdentity(
                origin_host=config.origin_host, origin_realm=config.origin_realm, applications=(RX_APPLICATION,), origin_state_id=int(clock())),
            interface="Rx", entropy=self.entropy, clock=clock, on_request=self._serve, listen=[each.listen for each in config.rx.listen],
            peers=[each.peer for each in config.rx.peers], timers=config.rx.peer_timers, observer=self.metrics)
        self.metrics.gauge("sessions", "Rx sessions", lambda: len(self.sessions))

    # life

    async def start(self) -> None:
        await self.rx.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await self.rx.stop()

    def is_ready(self) -> bool:
        return not self.config.rx.peers or self.rx.is_connected(RX_APPLICATION)

    # what an application asks for

    async def request_bearer(
        self,
        ue_ip: str,
        *,
        media: str = "audio",
        flows: Sequence[str] = (),
        server: str = "",
        ul_bps: int | None = None,
        dl_bps: int | None = None,
        status: FlowStatus | None = None,
        components: Sequence[MediaComponentDescription] = (),
        application: str | None = None,
        apn: str | None = None,
        imsi: str | None = None,
        told: Sequence[SpecificAction] = TOLD_BY_DEFAULT,
    ) -> AfSession:
        """Ask for a bearer between the UE and ``server`` (``ADDRESS`` or ``ADDRESS:PORT``), or for the ``flows`` or ``components`` given.

        Returns when the PCRF has authorised it (AAA); ``await session.told(SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION)``
        waits for the bearer itself. Raises :class:`RequestRefused`, ``TimerExpired``, ``ConnectionError``.
        """
        if not components:
            described = tuple(flows) or both_ways(ue_ip, server or "any")
            components = [MediaComponentDescription(
                media_component_number=1, media_type=MediaType[media.upper()], max_requested_bandwidth_ul=ul_bps,
                max_requested_bandwidth_dl=dl_bps, flow_status=status,
                media_sub_component=(MediaSubComponent(flow_number=1, flow_description=described),))]
        session = AfSession(
            af=self, session_id=self.rx.new_session_id(), ue_ip=ue_ip, media=media,
            components={component.media_component_number: component for component in components})
        address = ip_address(ue_ip)
        self.sessions[session.session_id] = session
        try:
            answer = await self._ask(AARequest(
                session_id=session.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
                destination_realm=self._realm, media_component_description=tuple(components), specific_action=tuple(told),
                framed_ip_address=address if isinstance(address, IPv4Address) else None,
                framed_ipv6_prefix=None if isinstance(address, IPv4Address) else IPv6Network(address),
                af_application_identifier=(self.config.application if application is None else application).encode() or None,
                called_station_id=apn, rx_request_type=RxRequestType.INITIAL_REQUEST,
                subscription_id=() if imsi is None else (
                    SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=imsi),),
                origin_state_id=self.rx.identity.origin_state_id), AAAnswer)
        except BaseException:
            del self.sessions[session.session_id]
            raise
        session.pcrf_host = answer.origin_host
        return session

    async def change(self, session: AfSession, components: Sequence[MediaComponentDescription]) -> None:
        await self._ask(AARequest(
            session_id=session.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            destination_realm=self._realm, destination_host=session.pcrf_host or None, media_component_description=tuple(components),
            rx_request_type=RxRequestType.UPDATE_REQUEST), AAAnswer)
        for component in components:
            if component.flow_status == FlowStatus.REMOVED:
                session.components.pop(component.media_component_number, None)
            else:
                session.components.setdefault(component.media_component_number, component)

    async def release(self, session: AfSession) -> None:
        if self.sessions.pop(session.session_id, None) is None:
            return
        session.note_end()
        await self._terminate(session, TerminationCause.DIAMETER_LOGOUT)

    async def _terminate(self, session: AfSession, cause: TerminationCause) -> None:
        await self._ask(SessionTerminationRequest(
            session_id=session.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            destination_realm=self._realm, destination_host=session.pcrf_host or None, auth_application_id=RX_APPLICATION,
            termination_cause=cause), SessionTerminationAnswer)

    @property
    def _realm(self) -> str:
        return self.config.rx.destination_realm or self.config.origin_realm

    async def _ask(self, request: Request, expected: type[A]) -> A:
        answer = (await self.rx.request(request)).message
        if isinstance(answer, expected) and answer.is_success:
            return answer
        result = answer.result if isinstance(answer, Answer) else None
        raise RequestRefused(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, str(getattr(answer, "error_message", None) or ""),
                             getattr(answer, "acceptable_service_info", None))

    # what the PCRF says

    def _serve(self, packet: Packet) -> Message:
        request = packet.message
        if isinstance(request, ReAuthRequest):
            session = self.sessions.get(request.session_id)
            if session is not None:
                session.note(Notification(actions=request.specific_action, flows=request.flows))
            return ReAuthAnswer(
                session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
                result_code=ResultCode.DIAMETER_UNKNOWN_SESSION_ID if session is None else ResultCode.DIAMETER_SUCCESS)
        if isinstance(request, AbortSessionRequest):
            session = self.sessions.pop(request.session_id, None)
            if session is not None:
                session.note_end(request.abort_cause)
                self.runner.start(session_termination, self, session)
            return AbortSessionAnswer(
                session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
                result_code=ResultCode.DIAMETER_UNKNOWN_SESSION_ID if session is None else ResultCode.DIAMETER_SUCCESS)
        raise DiameterError(f"an application function gets no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)

    # people

    def session_ends(self) -> Iterable[SessionEnd]:
        for session in self.sessions.values():
            yield SessionEnd(interface="Rx", session_id=session.session_id, own=True, peer=session.pcrf_host, is_certain=bool(session.pcrf_host))

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers("Rx", self.rx)

    def views(self) -> Mapping[str, View]:
        return {"sessions": lambda: [session.state() for session in self.sessions.values()],
                "peers": lambda: [asdict(peer) for peer in self.rx.peers()]}

    def commands(self) -> Mapping[str, Command]:
        return {"request": self._request, "release": self._release, "hold": self._hold, "resume": self._resume}

    async def _request(self, *, ue_ip: str, media: str = "audio", server: str = "", ul_bps: str = "", dl_bps: str = "", flow: str = "",
                       application: str = "", apn: str = "") -> object:
        """Ask for a bearer; the answer is the new session."""
        if media.upper() not in MediaType.__members__:
            raise ValueError(f"media: one of {', '.join(name.lower() for name in MediaType.__members__)}")
        for name, value in (("ul_bps", ul_bps), ("dl_bps", dl_bps)):
            if value and not value.isdigit():
                raise ValueError(f"{name}: a number of bit/s")
        try:
            session = await self.request_bearer(
                ue_ip, media=media, server=server, ul_bps=int(ul_bps) if ul_bps else None, dl_bps=int(dl_bps) if dl_bps else None,
                flows=(flow,) if flow else (), application=application or None, apn=apn or None)
        except (RequestRefused, TimerExpired) as error:
            raise LookupError(str(error)) from error
        return session.state()

    async def _release(self, *, session: str = "") -> object:
        """End a session, or all."""
        chosen = self._chosen(session)
        for each in chosen:
            try:
                await each.release()
            except (RequestRefused, TimerExpired) as error:
                raise LookupError(str(error)) from error
        return [each.session_id for each in chosen]

    async def _hold(self, *, session: str = "") -> object:
        return await self._gates(session, FlowStatus.DISABLED)

    async def _resume(self, *, session: str = "") -> object:
        return await self._gates(session, FlowStatus.ENABLED)

    async def _gates(self, session: str, status: FlowStatus) -> object:
        chosen = self._chosen(session)
        for each in chosen:
            try:
                await each.set_gates(status)
            except (RequestRefused, TimerExpired) as error:
                raise LookupError(str(error)) from error
        return [each.session_id for each in chosen]

    def _chosen(self, session: str) -> list[AfSession]:
        chosen = [each for each in self.sessions.values() if session in ("", each.session_id)]
        if not chosen:
            raise LookupError(f"no session {session}".rstrip())
        return chosen


@procedure(spec="TS 29.214 clause 4.4.6.1")
async def session_termination(af: Af, session: AfSession) -> None:
    """The PCRF has aborted the session: say that it is over."""
    await af._terminate(session, TerminationCause.DIAMETER_ADMINISTRATIVE)
