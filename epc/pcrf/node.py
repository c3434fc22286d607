"""The PCRF as a node: requests in, decisions out, and policies pushed when somebody changes them or their time has come."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from epc.node import Command, ConfigError, Node, SessionEnd, View, load_config
from epc.node.database import StoreError
from epc.node.state import AssociatedPeer, diameter_peers
from epc.pcrf.af_session import AfSessionTable
from epc.pcrf.af_session_establishment import af_session_establishment
from epc.pcrf.af_session_termination import af_session_termination
from epc.pcrf.authorisation import Change, change_to
from epc.pcrf.calendar import Calendar
from epc.pcrf.config import PcrfConfig
from epc.pcrf.editing import applied
from epc.pcrf.ip_can_session_establishment import imsi_of, ip_can_session_establishment
from epc.pcrf.ip_can_session_modification import ip_can_session_modification, push_decision
from epc.pcrf.ip_can_session_termination import ip_can_session_termination, release_session
from epc.pcrf.pcc import PolicyBook
from epc.pcrf.policy import Decision, PolicyEngine, Situation
from epc.pcrf.rest import routes, shown
from epc.pcrf.s9_home import HomeRole
from epc.pcrf.s9_visited import VisitedRole
from epc.pcrf.session import GxSession, SessionTable
from epc.pcrf.store import Edit, PccStore, open_store
from epc.pcrf.usage import UsageCounters
from epc.peer.diameter import LocalIdentity
from epc.peer.timer import TimerExpired
from epc.procedure import Outcome, Reject, stopwatch
from epc.procedure.outcome import cause_name
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Transport
from epc.wire.diameter import (
    GX_APPLICATION,
    RX_APPLICATION,
    Answer,
    DiameterError,
    ErrorAnswer,
    ExperimentalResultCode,
    Message,
    Packet,
    Request,
    ResultCode,
    base,
    experimental_result,
    rx,
    s9,
)
from epc.wire.diameter.groups import S9_APPLICATION
from epc.wire.diameter.gx import CcRequestType, CreditControlAnswer, CreditControlRequest, ReAuthAnswer, ReAuthRequest, SessionReleaseCause
from epc.wire.diameter.policy import ChargingRuleDefinition

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

A = TypeVar("A", bound=Answer)
M = TypeVar("M", bound=Message)

PUSHES_IN_FLIGHT = 64       # when many sessions change at once
_INTERFACES = {GX_APPLICATION: "Gx", RX_APPLICATION: "Rx", S9_APPLICATION: "S9"}


class _Procedure(NamedTuple):
    name: str
    run: Callable[[Pcrf, CreditControlRequest], Coroutine[Any, Any, CreditControlAnswer]]


PROCEDURES: dict[int, _Procedure] = {
    CcRequestType.INITIAL_REQUEST: _Procedure("ip_can_session_establishment", ip_can_session_establishment),
    CcRequestType.UPDATE_REQUEST: _Procedure("ip_can_session_modification", ip_can_session_modification),
    CcRequestType.TERMINATION_REQUEST: _Procedure("ip_can_session_termination", ip_can_session_termination),
}


class Pcrf(Node[PcrfConfig]):
    """Policy and Charging Rules Function: TS 23.203; TS 29.212 (Gx), TS 29.214 (Rx), TS 29.215 (S9)."""

    kind = "pcrf"
    config_model = PcrfConfig

    def __init__(
        self,
        config: PcrfConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self._calendar = Calendar(config.time_zone)
        self._store: PccStore | None = None
        self._revision = 0
        self._watch: asyncio.Task[None] | None = None
        self._book_changed = asyncio.Event()
        self.sessions = SessionTable()
        self.policies = self._engine(config.policy)
        self.usage = UsageCounters(self)
        self.af_sessions = AfSessionTable(self)
        self.home_role = HomeRole(self)
        self.visited_role = VisitedRole(self)
        applications = (GX_APPLICATION, *((RX_APPLICATION,) if config.rx.enabled else ()), *((S9_APPLICATION,) if config.s9.enabled else ()))
        self.gx = DiameterNode(
            transport, LocalIdentity(
                origin_host=config.origin_host, origin_realm=config.origin_realm, applications=applications, origin_state_id=int(clock())),
            interface="Gx", interfaces=_INTERFACES, entropy=self.entropy, clock=clock, on_request=self._serve,
            listen=[each.listen for each in (*config.gx.listen, *config.rx.listen, *config.s9.listen)],
            peers=[each.peer for each in (*config.gx.peers, *config.rx.peers, *config.s9.peers)], local=config.gx.local,
            timers=config.gx.peer_timers, accept_unknown_peers=config.gx.accept_unknown_peers, observer=self.metrics)
        self.rule_failures = self.metrics.counter("rule_failures", "PCC rules that PCEFs reported as not enforced")
        self.application_events = self.metrics.counter("application_events", "Applications that PCEFs saw begin and end", ("event",))
        self.metrics.gauge("sessions", "Gx sessions: PDN connections with a policy", lambda: len(self.sessions))
        self.metrics.gauge("af_sessions", "Rx sessions of application functions", lambda: len(self.af_sessions))
        self.metrics.gauge("visited_sessions", "Gx sessions that a home PCRF decides for, over S9", lambda: len(self.visited_role))

    # life

    async def start(self) -> None:
        self._store = await open_store(self.config.database_url)
        await self._store.provision(self._configured_policies())
        self._take(*await self._store.book())
        await self.gx.start()
        self._watch = asyncio.create_task(self._keep_up(), name="pcrf policies")

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        await self.runner.stop()
        await self.gx.stop()
        if self._store is not None:
            await self._store.close()
            self._store = None

    def is_ready(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> PccStore:
        """The database; open while the node runs."""
        if self._store is None:
            raise StoreError("the PCRF is not running")
        return self._store

    # what procedures need

    def decide(self, session: GxSession) -> Decision | None:
        return self.policies.decide(Situation(
            session.imsi, session.apn, session.rat_type, session.serving_plmn, session.applications if session.detected else (),
            self.used(session)), self.clock())

    def used(self, session: GxSession) -> Mapping[str, int]:
        """Octets that the subscriber has used, by monitoring key."""
        return self.usage.used(session.imsi, self.clock()) if self.policies.limits else {}

    def session_of(self, request: CreditControlRequest) -> GxSession:
        """Raises :class:`Reject` with DIAMETER_UNKNOWN_SESSION_ID."""
        session = self.sessions.get(request.session_id)
        if session is None:
            raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
        return session

    def session_lost(self, session: GxSession, reason: str) -> None:
        """A session that its PCEF does not end any more, and that is out of the table."""
        self.log.info("session.lost", reason=reason, session_id=session.session_id, imsi=session.imsi)
        self.session_ended(session)

    def session_ended(self, session: GxSession) -> None:
        self.af_sessions.bearer_lost(session)
        if session.s9 is not None:
            self.home_role.note_end(session.s9)
        if not self.sessions.of_imsi(session.imsi):
            self.usage.forget(session.imsi)

    async def tell_pcef(self, session: GxSession, change: Change | None = None, *, release: SessionReleaseCause | None = None) -> ReAuthAnswer:
        """Send an RAR, through the visited network's PCRF where the PCEF is there. Raises as :meth:`ask` does."""
        change = change or Change()
        request = ReAuthRequest(
            session_id=session.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            destination_realm=session.pcef_realm, destination_host=session.pcef_host, session_release_cause=release,
            origin_state_id=self.gx.identity.origin_state_id, event_trigger=change.armed,
            charging_rule_remove=change.remove, charging_rule_install=change.install, qos_information=change.ambr,
            default_eps_bearer_qos=change.qos, usage_monitoring_information=change.usage)
        try:
            if session.s9 is not None:
                return await self.home_role.push(session, request)
            return await self.ask(request, ReAuthAnswer)
        except Reject as reject:
            if reject.cause == ResultCode.DIAMETER_UNKNOWN_SESSION_ID and self.sessions.get(session.session_id) is session:
                self.sessions.remove(session)
                self.session_lost(session, "the PCEF does not know it")
            raise

    async def ask(self, request: Request, expected: type[A], **more: Any) -> A:
        """Send a request of the PCRF's own. Raises :class:`Reject` with the result when it is no success, ``TimerExpired``, ``ConnectionError``."""
        answer = (await self.gx.request(request, **more)).message
        if isinstance(answer, expected) and answer.is_success:
            return answer
        result = answer.result if isinstance(answer, Answer) else None
        raise Reject(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"{type(request).__name__}: {cause_name(result or 'no result')}")

    def bring_up_to_date(self, sessions: Iterable[GxSession]) -> list[asyncio.Task[Outcome]]:
        """Push to those sessions whose decision is not what their PCEF has."""
        return [self.runner.start(push_decision, self, session) for session in sessions if self._is_out_of_date(session)]

    def _is_out_of_date(self, session: GxSession) -> bool:
        decision = self.decide(session)
        return decision is None or decision.rejects or bool(change_to(session, decision, self.used(session)))

    # requests

    def _serve(self, packet: Packet) -> Message | Awaitable[Message]:
        """Answered at once where nothing has to be waited for."""
        work, waits = self._work(packet.message)
        return work if waits or not self.store.answers_at_once else _at_once(work)

    def _work(self, request: Message) -> tuple[Coroutine[Any, Any, Message], bool]:
        """What to do about a request, and whether other nodes have to be asked."""
        if isinstance(request, CreditControlRequest):
            procedure = PROCEDURES.get(request.cc_request_type)
            if procedure is None:
                raise DiameterError(f"CC-Request-Type {request.cc_request_type} on Gx", ResultCode.DIAMETER_INVALID_AVP_VALUE)
            if self.visited_role.serves(request, imsi_of(request.subscription_id)):
                return self._measured(f"visited_{procedure.name}", self.visited_role.credit_control(request), request, self._gx_refusal), True
            return self._measured(procedure.name, procedure.run(self, request), request, self._gx_refusal), False
        if isinstance(request, rx.AARequest):
            return self._measured("af_session_establishment", af_session_establishment(self, request), request, self._rx_refusal), False
        if isinstance(request, base.SessionTerminationRequest) and request.auth_application_id == RX_APPLICATION:
            return self._measured("af_session_termination", af_session_termination(self, request), request, self._rx_refusal), False
        if isinstance(request, s9.CreditControlRequest):
            return self._measured("s9_credit_control", self.home_role.credit_control(request), request, self._s9_refusal), False
        if isinstance(request, s9.ReAuthRequest):
            return self._measured("s9_re_auth", self.visited_role.re_auth(request), request, self._s9_refusal), True
        raise DiameterError(f"a PCRF gets no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)

    async def _measured(self, name: str, work: Coroutine[Any, Any, Message], request: M, refuse: Callable[[M, Reject], Message]) -> Message:
        clock = stopwatch()
        started = clock()
        outcome, cause = Outcome.ERROR, "internal error"
        self.metrics.procedure_started(name)
        try:
            answer = await work
            outcome, cause = Outcome.SUCCESS, ""
        except Reject as reject:
            outcome, cause = Outcome.REJECTED, cause_name(reject.cause)
            self.log.info("procedure.rejected", procedure=name, cause=cause, detail=str(reject), session_id=getattr(request, "session_id", None))
            answer = refuse(request, reject)
        except StoreError as error:
            cause = "database"
            self.log.error("database.failed", procedure=name, reason=str(error))
            answer = refuse(request, Reject(ResultCode.DIAMETER_UNABLE_TO_COMPLY, "database"))
        except asyncio.CancelledError:
            outcome, cause = Outcome.ABORTED, "cancelled"
            raise
        finally:
            self.metrics.procedure_finished(name, outcome, cause, clock() - started)
        return answer

    def _gx_refusal(self, request: CreditControlRequest, reject: Reject) -> CreditControlAnswer:
        return CreditControlAnswer(
            session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm, **refusal(reject),
            cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number, error_message=str(reject))

    def _rx_refusal(self, request: rx.AARequest | base.SessionTerminationRequest, reject: Reject) -> Message:
        if isinstance(request, rx.AARequest):
            return rx.AAAnswer(
                session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm, **refusal(reject),
                error_message=str(reject), acceptable_service_info=getattr(reject, "acceptable", None))
        return ErrorAnswer(command_code=275, application_id=RX_APPLICATION, session_id=request.session_id, origin_host=self.config.origin_host,
                           origin_realm=self.config.origin_realm, **refusal(reject), error_message=str(reject))

    def _s9_refusal(self, request: s9.CreditControlRequest | s9.ReAuthRequest, reject: Reject) -> Message:
        if isinstance(request, s9.CreditControlRequest):
            return s9.CreditControlAnswer(
                session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm, **refusal(reject),
                cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number, error_message=str(reject))
        return s9.ReAuthAnswer(session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
                               **refusal(reject), error_message=str(reject))

    # policies that change

    async def change_policies(self, edit: Edit) -> dict[str, int]:
        """Store what ``edit`` makes of the book, and push it to the sessions that it concerns. Raises what ``edit`` raises."""
        self._take(*await self.store.edit(edit))
        return await self.push_decisions()

    async def push_decisions(self, imsi: str = "") -> dict[str, int]:
        """Decide anew for every session (of a subscriber); a rule that failed before is tried again."""
        sessions = self.sessions.of_imsi(imsi) if imsi else list(self.sessions)
        for session in sessions:
            session.withheld_rules = frozenset()
        return await self._push_all(sessions)

    async def _push_all(self, sessions: Sequence[GxSession]) -> dict[str, int]:
        await self.usage.load_missing([session.imsi for session in sessions])
        changed = failed = 0
        for first in range(0, len(sessions), PUSHES_IN_FLIGHT):
            outcomes = await asyncio.gather(*self.bring_up_to_date(sessions[first:first + PUSHES_IN_FLIGHT]))
            changed += outcomes.count(Outcome.SUCCESS)
            failed += len(outcomes) - outcomes.count(Outcome.SUCCESS)
        return {"sessions": len(sessions), "changed": changed, "failed": failed}

    def _take(self, book: PolicyBook, revision: int) -> None:
        self._revision = revision
        self.policies = self._engine(book)
        self._book_changed.set()

    def _engine(self, book: PolicyBook) -> PolicyEngine:
        return PolicyEngine(book, calendar=self._calendar, home_plmns=self.config.home_plmns)

    def _configured_policies(self) -> PolicyBook:
        return self.config.policy if self.config.policy_file is None else load_config(self.config.policy_file, PolicyBook)

    async def _keep_up(self) -> None:
        """Push when an hour or a period begins or ends, and when another program changed the database."""
        poll_s = None if self.store.is_private else self.config.database_poll_s
        while True:
            self._book_changed.clear()
            boundary = self.policies.next_boundary(self.clock())
            waits = [each for each in (poll_s, None if boundary is None else max(0.0, boundary - self.clock())) if each is not None]
            try:
                async with asyncio.timeout(min(waits, default=None)):
                    await self._book_changed.wait()
                continue
            except TimeoutError:
                pass
            try:
                if poll_s is not None and await self.store.revision() != self._revision:
                    self._take(*await self.store.book())
                    self.log.info("policies.changed", by="another program", revision=self._revision)
                    await self.push_decisions()
                elif boundary is not None and self.clock() >= boundary:
                    await self._push_all(list(self.sessions))
                if poll_s is not None:
                    for imsi in await self.usage.catch_up(self.clock(), poll_s):
                        self.bring_up_to_date(self.sessions.of_imsi(imsi))
            except (StoreError, ConfigError) as error:
                self.log.error("database.failed", procedure="policies", reason=str(error))

    # the operator

    def session_ends(self) -> Iterable[SessionEnd]:
        for session in self.sessions:
            if session.s9 is None:
                yield SessionEnd(interface="Gx", session_id=session.session_id, own=False, imsi=session.imsi, peer=session.pcef_host)
        for af_session in self.af_sessions:
            yield SessionEnd(
                interface="Rx", session_id=af_session.session_id, own=False, imsi=af_session.gx.imsi, peer=af_session.af_host)
        yield from self.home_role.session_ends()
        yield from self.visited_role.session_ends()

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers("Gx", self.gx)

    def http_routes(self) -> Iterable[AbstractRouteDef]:
        return routes(self)

    def views(self) -> Mapping[str, View]:
        return {
            "sessions": lambda: [session.state() for session in self.sessions],
            "peers": lambda: [asdict(peer) for peer in self.gx.peers()],
            "rules": lambda: sorted(self.policies.rules),
            "policies": lambda: list(self.policies.book.named()),
            "book": lambda: shown(self.policies.book),
            "af_sessions": lambda: [session.state() for session in self.af_sessions],
            "visited_sessions": self.visited_role.state,
            "applications": lambda: [
                {"imsi": session.imsi, "apn": session.apn, "application": name, "since": since}
                for session in self.sessions for (name, _), since in session.detected.items()],
        }

    def commands(self) -> Mapping[str, Command]:
        return {
            "install_rule": self._install_rule,
            "remove_rule": self._remove_rule,
            "release": self._release,
            "reload_policy": self._reload_policy,
            "usage": self._usage,
            "forget_usage": self._forget_usage,
        }

    async def _install_rule(self, *, rule: str, imsi: str, apn: str = "") -> object:
        """Push one rule of the book to a subscriber's sessions, whatever the policy says; it stays until the session ends."""
        definition = self.policies.rules.get(rule)
        if definition is None:
            raise LookupError(f"no rule {rule}; there are {', '.join(sorted(self.policies.rules)) or 'none'}")
        name = definition.charging_rule_name

        def install(session: GxSession) -> None:
            session.added_rules[name] = definition
            session.withheld_rules -= {name}

        return await self._push_to(self._sessions_of(imsi, apn), install)

    async def _remove_rule(self, *, rule: str, imsi: str, apn: str = "") -> object:
        name = rule.encode()
        sessions = [session for session in self._sessions_of(imsi, apn) if name in session.rules]
        if not sessions:
            raise LookupError(f"no session of {imsi} has rule {rule}")

        def remove(session: GxSession) -> None:
            session.added_rules.pop(name, None)
            session.withheld_rules |= {name}

        return await self._push_to(sessions, remove)

    async def _push_to(self, sessions: list[GxSession], change: Callable[[GxSession], None]) -> list[str]:
        """What the PGW refuses is undone."""
        for session in sessions:
            before: tuple[dict[bytes, ChargingRuleDefinition], frozenset[bytes]] = dict(session.added_rules), session.withheld_rules
            change(session)
            try:
                await _told(push_decision.run(self, session))
            except LookupError:
                session.added_rules, session.withheld_rules = before
                raise
        return [session.session_id for session in sessions]

    async def _release(self, *, imsi: str, apn: str = "") -> object:
        """Have the PGW end a subscriber's sessions."""
        sessions = self._sessions_of(imsi, apn)
        for session in sessions:
            await _told(release_session.run(self, session, SessionReleaseCause.UE_SUBSCRIPTION_REASON))
        return [session.session_id for session in sessions]

    async def _reload_policy(self) -> object:
        """Read policy_file again, or else the database, and push what differs; what the operator did to single sessions is forgotten."""
        for session in self.sessions:
            session.added_rules.clear()
        try:
            if self.config.policy_file is None:
                self._take(*await self.store.book())
                return await self.push_decisions()
            new = self._configured_policies()
            return await self.change_policies(lambda book: applied(book, new.model_dump(mode="json"), prune=True))
        except (ConfigError, StoreError) as error:
            raise ValueError(str(error)) from error

    async def _usage(self, *, imsi: str) -> object:
        return await self.usage_of(imsi)

    async def usage_of(self, imsi: str) -> list[dict[str, object]]:
        now = self.clock()
        limits = self.policies.limits
        found: list[dict[str, object]] = []
        for usage in await self.store.usage(imsi):
            limit = limits.get(usage.key)
            current = limit is None or usage.period_ms >= self.policies.period_start_ms(limit.per, now)
            found.append({"key": usage.key, "octets": usage.octets if current else 0, "limit": limit.octets if limit else None,
                          "per": limit.per if limit else None})
        return found

    async def _forget_usage(self, *, imsi: str, key: str = "") -> object:
        return await self.forget_usage(imsi, key)

    async def forget_usage(self, imsi: str, key: str = "") -> dict[str, int]:
        """Begin to count anew, and push what that changes."""
        if not await self.store.forget_usage(imsi, key):
            raise LookupError(f"{imsi} has used nothing{f' of {key}' if key else ''}")
        sessions = self.sessions.of_imsi(imsi)
        if sessions:
            await self.usage.load(imsi)
        return await self._push_all(sessions)

    def _sessions_of(self, imsi: str, apn: str) -> list[GxSession]:
        sessions = [session for session in self.sessions.of_imsi(imsi) if apn in ("", session.apn)]
        if not sessions:
            raise LookupError(f"{imsi} has no session {f'at {apn}' if apn else ''}".rstrip())
        return sessions


def refusal(reject: Reject) -> dict[str, Any]:
    """A 3GPP result goes into Experimental-Result, one of the base protocols into Result-Code: never both (RFC 6733 clause 7.6)."""
    cause = reject.cause
    if isinstance(cause, ExperimentalResultCode):
        return {"experimental_result": experimental_result(cause)}
    return {"result_code": cause if isinstance(cause, int) else ResultCode.DIAMETER_UNABLE_TO_COMPLY}


def _at_once(work: Coroutine[Any, Any, Message]) -> Message:
    """The result of a coroutine that has nothing to wait for, without a task for it."""
    try:
        work.send(None)
    except StopIteration as done:
        answer: Message = done.value
        return answer
    work.close()
    raise RuntimeError("a procedure waits where nothing was to be waited for")


async def _told(work: Awaitable[None]) -> None:
    """What went wrong between PCRF and PGW, as the admin API tells it."""
    try:
        await work
    except (Reject, TimerExpired, ConnectionError) as error:
        raise LookupError(str(error)) from error
