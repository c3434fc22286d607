"""The PGW's end of Gy: connections to OCSs, sessions by their identifiers, and what ties a session to its PDN connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from epc.dataplane.forwarder import DownlinkData, UsageReport, UsageTrigger
from epc.dataplane.rules import Usage
from epc.peer.diameter import LocalIdentity
from epc.pgw.charging_filters import Allowances, read_filter_rule
from epc.pgw.config import GyConfig
from epc.pgw.context import PdnSession, Whereabouts
from epc.pgw.delete_bearer import delete_bearer
from epc.pgw.online_charging.credit_control import credit_termination, credit_update, quota_used
from epc.pgw.online_charging.enforcement import service_of_held_packet
from epc.pgw.online_charging.re_auth import serve
from epc.pgw.online_charging.session import OnlineSession, Service, Stage
from epc.pgw.online_charging.triggers import policy_triggers, relocation_triggers
from epc.transport.diameter import Attempts, DiameterNode
from epc.transport.interface import Address
from epc.wire.diameter import Answer, DiameterError, ErrorAnswer, Packet, ResultCode
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitIndication,
    ReportingReason,
    TriggerType,
)
from epc.wire.diameter.groups import GY_APPLICATION, TerminationCause
from epc.wire.diameter.gx import EventTrigger, Online
from epc.wire.diameter.gy import CreditControlAnswer, CreditControlRequest
from epc.wire.diameter.policy import ChargingRuleReport, PccRuleStatus

if TYPE_CHECKING:
    from epc.pgw.node import Pgw
    from epc.wire.diameter import Message


class GyClient:
    """Credit-control client (RFC 8506) of one PGW."""

    def __init__(self, pgw: Pgw, config: GyConfig) -> None:
        self.pgw = pgw
        self.log = pgw.log
        self.runner = pgw.runner
        self.config = config
        self.sessions: dict[str, PdnSession] = {}           # by Session-Id
        self.node = DiameterNode(
            pgw.transport, LocalIdentity(
                origin_host=config.origin_host or f"{pgw.config.name}.{config.origin_realm}", origin_realm=config.origin_realm,
                applications=(GY_APPLICATION,), origin_state_id=int(pgw.clock())),
            interface="Gy", entropy=pgw.entropy, clock=pgw.clock, on_request=self._serve, peers=[peer.peer for peer in config.peers],
            local=None if config.host is None else Address(config.host, 0), timers=config.peer_timers, observer=pgw.metrics)
        self._named_filters = {name: tuple([read_filter_rule(text) for text in texts]) for name, texts in config.filters.items()}
        self._while_redirected = tuple([read_filter_rule(text) for text in config.redirect_allows])
        self._triggers = frozenset({TriggerType[name] for name in config.triggers})
        self.unreported = pgw.metrics.counter("gy_unreported_octets", "Octets that were forwarded and that no OCS has confirmed to have counted")
        self.blocked = pgw.metrics.counter("gy_services_blocked", "Rating groups that were blocked, by the OCS's Result-Code", ("cause",))
        pgw.metrics.gauge("gy_sessions", "Credit-control sessions", lambda: len(self.sessions))

    def _serve(self, packet: Packet) -> Message:
        return serve(self.pgw, packet)

    @property
    def is_ready(self) -> bool:
        return self.config.failure_handling == "continue" or self.node.is_connected(GY_APPLICATION)

    # sessions

    def begin(self, session: PdnSession, online: int | None) -> None:
        """Before the first rule is installed. ``online``: what the PCRF said of all rules that do not say it themselves."""
        config = self.config
        apn = self.pgw.config.apns[session.apn]
        gy = session.gy = OnlineSession(
            session_id=self.node.new_session_id(), default_online=config.online if online is None else online == Online.ENABLE_ONLINE,
            default_rating_group=config.rating_group, failure_handling=CreditControlFailureHandling[config.failure_handling.upper()],
            failover=CcSessionFailover(config.session_failover), measure=partial(self._measure, session),
            start_work=partial(self.runner.start, credit_update, self, session),
            allowances=Allowances(self._named_filters, self._while_redirected, apn.name_servers),
            at_activation=config.request_quota == "at_activation",
            default_triggers=self._triggers, policy=session.policy)
        self.sessions[gy.session_id] = session
        session.meters.append(gy)

    def established(self, session: PdnSession) -> None:
        if session.gy is not None:
            session.gy.is_established = True
            session.gy.work()

    def reopen(self, session: PdnSession) -> None:
        """The OCS has lost the session: there will be another one, which goes on where the OCS has stopped counting."""
        gy = session.gy
        if gy is None:
            return
        self.sessions.pop(gy.session_id, None)
        gy.session_id = self.node.new_session_id()
        self.sessions[gy.session_id] = session
        gy.next_request_number, gy.ocs, gy.is_open = 0, None, False
        for service in gy.services.values():
            service.reason = None
            service.wants_units = service.is_active and service.stage is not Stage.IDLE

    def end(self, session: PdnSession, cause: TerminationCause, last_usage: Mapping[int, Usage] | None = None) -> None:
        """The PDN connection is gone, with ``last_usage``; nobody waits for the OCS's answer."""
        gy = session.gy
        if gy is None or gy.ending.is_set():
            return
        gy.end(last_usage or {})
        self.sessions.pop(gy.session_id, None)
        if gy.is_open or gy.worker is not None or gy.unanswered is not None:
            self.runner.start(credit_termination, self, session, cause)
        else:
            self.lose(session, gy.unreported_octets)

    def lose(self, session: PdnSession, octets: int) -> None:
        """Nobody will pay for them: there was no OCS, or it wanted no session."""
        if octets and session.gy is not None:
            self.unreported.inc(octets)
            self.log.error("gy.usage_not_reported", imsi=session.imsi, session_id=session.gy.session_id, octets=octets)

    def end_by_ocs(self, session: PdnSession) -> None:
        """The OCS wants the PDN connection to end, or nobody may have it without an OCS."""
        gy = session.gy
        if gy is None or gy.is_ending_by_ocs or not self.pgw.is_established(session):
            return
        gy.is_ending_by_ocs = True
        self.runner.start(delete_bearer, self.pgw, session)

    async def end_all(self) -> None:
        """The PGW stops: the OCS gets the last reports, as far as it answers at once."""
        if not self.node.is_connected(GY_APPLICATION):
            return
        tasks = []
        for session in list(self.sessions.values()):
            gy = session.gy
            if gy is None or gy.ending.is_set():
                continue
            gy.silence()
            for service in gy.services.values():
                gy.withdraw(service, Stage.BLOCKED)     # nothing passes after the last report
            self.apply(session)
            await self.measured(session)
            gy.end(dict(self._measure(session)))
            if gy.is_open:
                tasks.append(self.runner.start(credit_termination, self, session, TerminationCause.DIAMETER_ADMINISTRATIVE))
        if tasks:
            await asyncio.wait(tasks, timeout=self.config.tx_s)

    def _measure(self, session: PdnSession) -> Mapping[int, Usage]:
        return self.pgw.forwarder.usage(session.session_id) if self.pgw.is_established(session) else {}

    def apply(self, session: PdnSession) -> None:
        """Stages or quotas changed: bring the forwarder up to date, if it has the session already."""
        if session.gy is not None:
            self.pgw.apply(session, session.gy.take_granted())

    def follow(self, session: PdnSession) -> None:
        """Rules or QoS of the session may have changed."""
        gy = session.gy
        if gy is None or gy.ending.is_set():
            return
        gy.follow(session.enforced_rules(), session.remainder)
        if session.policy != gy.policy:
            before, gy.policy = gy.policy, session.policy
            self.rating_condition_changed(session, policy_triggers(before, session.policy))

    async def measured(self, session: PdnSession) -> None:
        """Usage is known as it stands now."""
        if self.pgw.sx is not None:
            await self.pgw.sx.measure(session.session_id)

    async def settled(self, session: PdnSession) -> None:
        """The last usage is known."""
        if self.pgw.sx is not None:
            await self.pgw.sx.departed(session.session_id)

    # requests

    def attempts(self) -> Attempts:
        return Attempts(self.node.next_end_to_end())

    async def ask(self, request: CreditControlRequest, attempts: Attempts) -> Answer:
        """Raises ``PeerUnavailable``, ``TimerExpired``, and ``DiameterError`` for an answer that cannot be read."""
        answer = (await self.node.request(request, timer=self.config.tx, attempts=attempts)).message
        if isinstance(answer, CreditControlAnswer | ErrorAnswer):
            return answer
        raise DiameterError(f"{type(answer).__name__} answers a Credit-Control-Request", ResultCode.DIAMETER_UNABLE_TO_COMPLY)

    # what happens to a session

    def take_event(self, session: PdnSession, event: UsageReport | DownlinkData) -> None:
        """What the user plane says of a charging key: a threshold, an end of a quota, or the first packet that has none."""
        gy = session.gy
        if gy is None:
            return
        service = service_of_held_packet(gy, event.far_id) if isinstance(event, DownlinkData) else gy.service_of_urr(event.urr_id)
        if service is None:
            return
        if isinstance(event, DownlinkData):
            if service.stage is Stage.IDLE:
                gy.ask(service)
                self.apply(session)
            return
        quota = service.quota
        if service.stage is not Stage.GRANTED or quota is None:
            return
        match event.trigger:
            case UsageTrigger.VOLUME_THRESHOLD | UsageTrigger.TIME_THRESHOLD:
                if not service.is_asked:
                    gy.report(service, ReportingReason.THRESHOLD)
            case UsageTrigger.VOLUME_QUOTA if not quota.is_used_up(gy.used(service)):
                pass                                    # it speaks of the quota before
            case UsageTrigger.VOLUME_QUOTA | UsageTrigger.TIME_QUOTA:
                quota_used(self, session, service)
                self.apply(session)
            case UsageTrigger.QUOTA_HOLDING_TIME:
                gy.withdraw(service, Stage.IDLE)
                gy.report(service, ReportingReason.QHT, wants_units=False)
                self.apply(session)

    def credit_changed(self, session: PdnSession, service: Service, final: FinalUnitIndication | None, *, is_back: bool = False) -> None:
        """The PCRF may want to know (TS 29.212 clauses 4.5.2.0 and 5.3.7)."""
        event = EventTrigger.REALLOCATION_OF_CREDIT if is_back else EventTrigger.OUT_OF_CREDIT
        gy = session.gy
        if gy is None or session.gx is None or event not in session.gx.event_triggers:
            return
        names = tuple([rule.name for rule in session.rules.values() if gy.service_of(rule) is service])
        if names:
            self.pgw.report(session, event, rules=(
                ChargingRuleReport(charging_rule_name=names, pcc_rule_status=PccRuleStatus.ACTIVE, final_unit_indication=final),))

    def relocated(self, session: PdnSession, before: Whereabouts, after: Whereabouts) -> None:
        if session.gy is not None:
            self.rating_condition_changed(session, relocation_triggers(before, after))

    def rating_condition_changed(self, session: PdnSession, changes: Iterable[TriggerType]) -> None:
        """Usage until now belongs to the condition before: it is reported at once where the OCS wants that (TS 32.299 clause 5.2.2.1.4)."""
        gy, changes = session.gy, frozenset(changes)
        if gy is None or not changes:
            return
        for service in gy.services.values():
            if service.is_active and service.stage in (Stage.GRANTED, Stage.UNCONTROLLED, Stage.RESTRICTED) and changes & service.triggers:
                gy.report(service, ReportingReason.RATING_CONDITION_CHANGE)

