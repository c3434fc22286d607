"""A Gy session: which flows are charged together, at which stage each charging key is, and what of its usage the OCS knows."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from epc.dataplane.rules import Urr, Usage
from epc.pgw.charging_filters import Allowances
from epc.pgw.online_charging.quota import NOTHING, Quota
from epc.pgw.policy import Policy
from epc.procedure import Outcome
from epc.transport.diameter import Attempts
from epc.wire.diameter.charging import (
    CcSessionFailover,
    CreditControlFailureHandling,
    FinalUnitIndication,
    ReportingReason,
    TriggerType,
)
from epc.wire.diameter.gx import Online
from epc.wire.diameter.gy import CreditControlRequest
from epc.wire.diameter.policy import ChargingRuleDefinition, FlowStatus, ReportingLevel

if TYPE_CHECKING:
    from epc.pgw.context import Bearer, PccRule

FIRST_URR = 1000        # the n-th charging key of a session is measured by URR 1000 + n


class ChargingKey(NamedTuple):
    """What shares one quota: a rating group, or one service of it where the PCRF wants reports by service (TS 32.251 clause 5.3.1)."""

    rating_group: int
    service_identifier: int | None = None


class Stage(enum.Enum):
    """How packets of a charging key are treated."""

    IDLE = "idle"               # no quota: the next packet is held, and asks for one
    ASKING = "asking"           # no quota yet, the OCS is being asked: packets are held
    GRANTED = "granted"         # they pass as far as the quota goes
    UNCONTROLLED = "uncontrolled"   # they pass and are counted: the OCS does not answer (Credit-Control-Failure-Handling)
    FREE = "free"               # they pass: CREDIT_CONTROL_NOT_APPLICABLE
    RESTRICTED = "restricted"   # after the last units: redirected, or only what the OCS's filters let pass
    BLOCKED = "blocked"         # no credit, or not allowed


@dataclass(slots=True, eq=False, kw_only=True)
class Service:
    """Credit control of one charging key: what the OCS has in one Multiple-Services-Credit-Control."""

    key: ChargingKey
    number: int                                 # within the session, from 0
    stage: Stage = Stage.ASKING
    quota: Quota | None = None
    urr: Urr                                    # as it was granted last
    restriction: FinalUnitIndication | None = None      # in force
    reason: ReportingReason | None = None       # a report is due
    wants_units: bool = True                    # with it, or with the first request
    is_asked: bool = False                      # the request under way asks for units
    is_timed: bool = False                      # the last quota was one of time
    owes_report: bool = False                   # it had units since the last report
    told: Usage = NOTHING                       # put into requests so far, answered or not
    settled: Usage = NOTHING                    # what the OCS has confirmed
    triggers: frozenset[TriggerType | int] = frozenset()
    is_active: bool = True                      # some rule names it
    alarm: asyncio.TimerHandle | None = None    # Validity-Time
    tariff_alarm: asyncio.TimerHandle | None = None     # Tariff-Time-Change
    before_change: Usage | None = None          # what was used until the tariff changed, while no report has said it

    @property
    def urr_id(self) -> int:
        return self.urr.id

    def stop_clocks(self) -> None:
        for alarm in (self.alarm, self.tariff_alarm):
            if alarm is not None:
                alarm.cancel()
        self.alarm = self.tariff_alarm = None

    @property
    def is_due(self) -> bool:
        return self.reason is not None or self.wants_units


@dataclass(slots=True, eq=False)
class Unanswered:
    """A request of which nobody knows yet what became of it. It is repeated as it is: the OCS counts it once."""

    request: CreditControlRequest
    attempts: Attempts


@dataclass(slots=True, eq=False)
class OnlineSession:
    """The state of one PDN connection towards the OCS (RFC 8506 clause 7, client's side)."""

    session_id: str                             # allocated by the PGW
    default_online: bool                        # of rules that do not say
    default_rating_group: int
    failure_handling: CreditControlFailureHandling
    failover: CcSessionFailover
    measure: Callable[[], Mapping[int, Usage]]  # by URR, as it stands now
    start_work: Callable[[], asyncio.Task[Outcome]]
    allowances: Allowances
    policy: Policy                              # when the OCS was last told of a change of QoS
    at_activation: bool = True                  # ask as soon as there is a rule, not when its first packet comes
    default_triggers: frozenset[TriggerType] = frozenset()
    services: dict[ChargingKey, Service] = field(default_factory=dict)
    next_request_number: int = 0                # CC-Request-Number
    is_established: bool = False                # the forwarder has the session: from now on work is done as it comes
    is_open: bool = False                       # the OCS has it, or may have it
    is_silent: bool = False                     # the OCS does not answer, and the traffic goes on all the same
    is_controlled: bool = True                  # False: the OCS wants nothing to do with it, or cannot, and the traffic goes on
    ocs: str | None = None                      # its Origin-Host, once it has answered
    granted: set[int] = field(default_factory=set)      # URRs that the forwarder has to grant anew
    unanswered: Unanswered | None = None
    worker: asyncio.Task[Outcome] | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    is_ending_by_ocs: bool = False              # the PGW is deleting the bearer
    last_usage: Mapping[int, Usage] | None = None       # after the forwarder has removed the session

    # which rules are charged, and with what

    def key_of(self, definition: ChargingRuleDefinition) -> ChargingKey | None:
        """None: not charged online."""
        online = definition.online
        if not (self.default_online if online is None else online == Online.ENABLE_ONLINE):
            return None
        rating_group = self.default_rating_group if definition.rating_group is None else definition.rating_group
        by_service = definition.reporting_level == ReportingLevel.SERVICE_IDENTIFIER_LEVEL
        return ChargingKey(rating_group, definition.service_identifier if by_service else None)

    def follow(self, rules: Iterable[PccRule], remainder: PccRule) -> None:
        """The session's rules are these now. A charging key that no rule names any more is reported; its measurement goes on if it comes back."""
        wanted: dict[ChargingKey, bool] = {}            # whether the quota is asked for at once
        for rule in rules:
            key = self.key_of(rule.definition) if _has_traffic(rule.definition) else None
            if key is not None:
                wanted[key] = self.at_activation
        rest = self.key_of(remainder.definition)
        if rest is not None:
            wanted.setdefault(rest, self.at_activation and not wanted)      # where rules take all there is, it never has a packet
        for key, at_once in wanted.items():
            service = self.services.get(key)
            if service is None:
                number = len(self.services)
                service = self.services[key] = Service(key=key, number=number, urr=Urr(id=FIRST_URR + number), triggers=self.default_triggers)
            elif service.is_active:
                continue
            service.is_active = True
            if not self.is_controlled:
                service.stage, service.wants_units = Stage.FREE, False
            else:
                service.stage, service.wants_units = (Stage.ASKING, True) if at_once else (Stage.IDLE, False)
                if at_once and self.is_silent:
                    service.stage = Stage.UNCONTROLLED
        for service in self.services.values():
            if service.is_active and service.key not in wanted:
                service.is_active = False
                service.wants_units = False
                self.withdraw(service, Stage.IDLE)
                service.reason = ReportingReason.FINAL if service.owes_report else None
        self.work()

    def service_of(self, rule: PccRule) -> Service | None:
        key = self.key_of(rule.definition)
        return None if key is None else self.services.get(key)

    def urrs(self) -> Iterable[Urr]:
        """One for each charging key that has ever been counted; see :class:`epc.pgw.context.Meter`."""
        return [service.urr for service in self.services.values()]

    def urr_ids_of(self, rule: PccRule, bearer: Bearer) -> Iterable[int]:
        service = self.service_of(rule)
        return (service.urr_id,) if service is not None and service.stage in (Stage.GRANTED, Stage.UNCONTROLLED) else ()

    def service_of_urr(self, urr_id: int) -> Service | None:
        return next((service for service in self.services.values() if service.urr_id == urr_id), None)

    @property
    def armed(self) -> frozenset[TriggerType | int]:
        """The changes that some charging key wants to be reported."""
        return frozenset[TriggerType | int]().union(*[service.triggers for service in self.services.values()])

    def described(self) -> list[dict[str, object]]:
        """For the operator: one for each charging key."""
        usage = self.usage()
        return [{
            "rating_group": service.key.rating_group, "service_identifier": service.key.service_identifier, "stage": service.stage.value,
            "quota_octets": service.quota.octets if service.quota else None, "quota_seconds": service.quota.seconds if service.quota else None,
            "octets_left": service.quota.octets_left(usage.get(service.urr_id, NOTHING)) if service.quota else None,
            "used_octets": usage.get(service.urr_id, NOTHING).octets, "reported_octets": service.settled.octets,
        } for service in self.services.values() if service.is_active]

    # usage

    def usage(self) -> Mapping[int, Usage]:
        return self.measure() if self.last_usage is None else self.last_usage

    def used(self, service: Service) -> Usage:
        """Everything since the session began."""
        return self.usage().get(service.urr_id, NOTHING)

    @property
    def unreported_octets(self) -> int:
        usage = self.usage()
        return sum(usage.get(service.urr_id, NOTHING).octets - service.settled.octets for service in self.services.values())

    def give_back(self) -> None:
        """What was asked for is not wanted any more: the last report says so."""
        for service in self.services.values():
            service.owes_report |= service.is_asked
            service.is_asked = False

    def take_back(self) -> None:
        """The OCS has not counted the request under way: it is as if it had never been sent."""
        for service in self.services.values():
            service.told = service.settled
            service.is_asked = False

    # what is due

    @property
    def due(self) -> list[Service]:
        if not self.is_controlled:
            return []
        return [service for service in self.services.values() if service.is_due]

    def report(self, service: Service, reason: ReportingReason, *, wants_units: bool = True) -> None:
        """A report is due; one that is due already goes out with the first reason."""
        if not self.is_controlled:
            return
        service.reason = service.reason if service.reason is not None else reason
        service.wants_units = wants_units
        self.work()

    def ask(self, service: Service) -> None:
        """Units are wanted, and there is nothing to report."""
        if self.is_controlled:
            service.stage, service.wants_units = Stage.UNCONTROLLED if self.is_silent else Stage.ASKING, True
            self.work()

    def grant(self, service: Service, stage: Stage, quota: Quota | None) -> None:
        """Packets pass, as far as the quota goes; without one they are counted only."""
        self.withdraw(service, stage)
        service.quota, service.owes_report = quota, True
        if quota is not None:
            service.is_timed = quota.seconds is not None
        service.urr = Urr(id=service.urr_id) if quota is None else quota.rule(service.urr_id, self.used(service))
        self.granted.add(service.urr_id)

    def take_granted(self) -> set[int]:
        granted, self.granted = self.granted, set()
        return granted

    def withdraw(self, service: Service, stage: Stage) -> None:
        """No quota any more."""
        service.stage, service.quota, service.restriction = stage, None, None
        service.stop_clocks()

    def work(self) -> None:
        """See to it that what is due is reported, once the session stands; nobody else may be at it."""
        if self.worker is not None or not self.is_established or self.ending.is_set() or not (self.due or self.unanswered):
            return
        self.worker = self.start_work()
        self.worker.add_done_callback(self._work_done)

    def _work_done(self, task: asyncio.Task[Outcome]) -> None:
        self.worker = None
        if not task.cancelled() and task.result() is Outcome.SUCCESS:
            self.work()

    def silence(self) -> None:
        """No timer rings any more, nothing new is reported."""
        self.ending.set()
        for service in self.services.values():
            service.stop_clocks()

    def end(self, last_usage: Mapping[int, Usage]) -> None:
        """The PDN connection is gone. What leads back to it from here goes too: a cycle would wait for the garbage collector."""
        self.silence()
        self.last_usage = last_usage
        self.measure = dict
        self.start_work = _nobody



def _has_traffic(definition: ChargingRuleDefinition) -> bool:
    """Whether packets can ever be the rule's; quotas are asked for only then."""
    return definition.flow_status not in (FlowStatus.DISABLED, FlowStatus.REMOVED) and bool(
        definition.flow_information or definition.tdf_application_identifier)


def _nobody() -> asyncio.Task[Outcome]:
    raise AssertionError("a session that has ended starts nothing")
