"""The PCRF as a node: Gx requests in, decisions out, and policies pushed when the operator changes them."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from typing import NamedTuple, TypeVar

from epc.node import Command, ConfigError, Node, View, load_config
from epc.node.state import AssociatedPeer, diameter_peers
from epc.pcrf.authorisation import Change, change_to, installation, removal
from epc.pcrf.config import PcrfConfig, PolicyBook
from epc.pcrf.ip_can_session_establishment import ip_can_session_establishment
from epc.pcrf.ip_can_session_modification import ip_can_session_modification, push_policy
from epc.pcrf.ip_can_session_termination import ip_can_session_termination, release_session
from epc.pcrf.policy import PolicyEngine
from epc.pcrf.session import GxSession, SessionTable
from epc.peer.diameter import LocalIdentity
from epc.peer.timer import TimerExpired
from epc.procedure import Outcome, Reject, stopwatch
from epc.procedure.outcome import cause_name
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Transport
from epc.wire.diameter import (
    GX_APPLICATION,
    Answer,
    DiameterError,
    ExperimentalResultCode,
    Packet,
    Request,
    ResultCode,
    experimental_result,
)
from epc.wire.diameter.gx import CcRequestType, CreditControlAnswer, CreditControlRequest, SessionReleaseCause

A = TypeVar("A", bound=Answer)


class _Procedure(NamedTuple):
    name: str
    run: Callable[[Pcrf, CreditControlRequest], CreditControlAnswer]


PROCEDURES: dict[int, _Procedure] = {
    CcRequestType.INITIAL_REQUEST: _Procedure("ip_can_session_establishment", ip_can_session_establishment),
    CcRequestType.UPDATE_REQUEST: _Procedure("ip_can_session_modification", ip_can_session_modification),
    CcRequestType.TERMINATION_REQUEST: _Procedure("ip_can_session_termination", ip_can_session_termination),
}


class Pcrf(Node[PcrfConfig]):
    """Policy and Charging Rules Function: TS 23.203, TS 29.212 (Gx)."""

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
        self.sessions = SessionTable()
        self.policies = PolicyEngine(config.policy)
        self.gx = DiameterNode(
            transport, LocalIdentity(origin_host=config.origin_host, origin_realm=config.origin_realm, applications=(GX_APPLICATION,)),
            interface="Gx", entropy=self.entropy, clock=clock, on_request=self._serve, listen=[each.listen for each in config.gx.listen],
            peers=[each.peer for each in config.gx.peers], timers=config.gx.peer_timers, accept_unknown_peers=config.gx.accept_unknown_peers,
            observer=self.metrics)
        self.rule_failures = self.metrics.counter("rule_failures", "PCC rules that PCEFs reported as not enforced")
        self.metrics.gauge("sessions", "Gx sessions: PDN connections with a policy", lambda: len(self.sessions))

    # life

    async def start(self) -> None:
        self.policies = self._read_policies()
        await self.gx.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await self.gx.stop()

    # what procedures need

    def session_of(self, request: CreditControlRequest) -> GxSession:
        """Raises :class:`Reject` with DIAMETER_UNKNOWN_SESSION_ID."""
        session = self.sessions.get(request.session_id)
        if session is None:
            raise Reject(ResultCode.DIAMETER_UNKNOWN_SESSION_ID, request.session_id)
        return session

    async def ask(self, session: GxSession, request: Request, expected: type[A]) -> A:
        """Send a request of the PCRF's own. Raises :class:`Reject` with the result when it is no success, ``TimerExpired``, ``ConnectionError``."""
        answer = (await self.gx.request(request)).message
        if isinstance(answer, expected) and answer.is_success:
            return answer
        result = answer.result if isinstance(answer, Answer) else None
        if result is ResultCode.DIAMETER_UNKNOWN_SESSION_ID:
            self.sessions.remove(session)
        raise Reject(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"{type(request).__name__}: {cause_name(result or 'no result')}")

    # requests

    def _serve(self, packet: Packet) -> CreditControlAnswer:
        request = packet.message
        if not isinstance(request, CreditControlRequest):
            raise DiameterError(f"a PCRF gets no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)
        procedure = PROCEDURES.get(request.cc_request_type)
        if procedure is None:
            raise DiameterError(f"CC-Request-Type {request.cc_request_type} on Gx", ResultCode.DIAMETER_INVALID_AVP_VALUE)
        clock = stopwatch()
        started = clock()
        outcome, cause = Outcome.ERROR, "internal error"
        self.metrics.procedure_started(procedure.name)
        try:
            answer = procedure.run(self, request)
            outcome, cause = Outcome.SUCCESS, ""
        except Reject as reject:
            outcome, cause = Outcome.REJECTED, cause_name(reject.cause)
            self.log.info("procedure.rejected", procedure=procedure.name, cause=cause, detail=str(reject), session_id=request.session_id)
            answer = self._refusal(request, reject)
        finally:
            self.metrics.procedure_finished(procedure.name, outcome, cause, clock() - started)
        return answer

    def _refusal(self, request: CreditControlRequest, reject: Reject) -> CreditControlAnswer:
        """A 3GPP result goes into Experimental-Result, one of the base protocols into Result-Code: never both (RFC 6733 clause 7.6)."""
        cause = reject.cause
        return CreditControlAnswer(
            session_id=request.session_id, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            result_code=cause if isinstance(cause, ResultCode) else None,
            experimental_result=experimental_result(cause) if isinstance(cause, ExperimentalResultCode) else None,
            cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number, error_message=str(reject))

    # the operator

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers("Gx", self.gx)

    def views(self) -> Mapping[str, View]:
        return {
            "sessions": lambda: [session.state() for session in self.sessions],
            "peers": lambda: [asdict(peer) for peer in self.gx.peers()],
            "rules": lambda: sorted(self.policies.rules),
        }

    def commands(self) -> Mapping[str, Command]:
        return {
            "install_rule": self._install_rule,
            "remove_rule": self._remove_rule,
            "release": self._release,
            "reload_policy": self._reload_policy,
        }

    async def _install_rule(self, *, rule: str, imsi: str, apn: str = "") -> object:
        """Push one configured rule to a subscriber's sessions."""
        definition = self.policies.rules.get(rule)
        if definition is None:
            raise LookupError(f"no rule {rule}; there are {', '.join(sorted(self.policies.rules)) or 'none'}")
        name = definition.charging_rule_name
        sessions = self._sessions_of(imsi, apn)
        for session in sessions:
            session.added_rules[name] = definition
            session.withheld_rules -= {name}
        return await self._push_to(sessions, Change(install=installation({name: definition})))

    async def _remove_rule(self, *, rule: str, imsi: str, apn: str = "") -> object:
        sessions = [session for session in self._sessions_of(imsi, apn) if rule.encode() in session.rules]
        if not sessions:
            raise LookupError(f"no session of {imsi} has rule {rule}")
        for session in sessions:
            session.added_rules.pop(rule.encode(), None)
            session.withheld_rules |= {rule.encode()}
        return await self._push_to(sessions, Change(remove=removal([rule.encode()])))

    async def _release(self, *, imsi: str, apn: str = "") -> object:
        """Have the PGW end a subscriber's sessions."""
        sessions = self._sessions_of(imsi, apn)
        for session in sessions:
            await _told(release_session.run(self, session, SessionReleaseCause.UE_SUBSCRIPTION_REASON))
        return [session.session_id for session in sessions]

    async def _reload_policy(self) -> object:
        """Read the policies again, and push what they change to every session; what the operator did to single ones is forgotten."""
        try:
            self.policies = self._read_policies()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        changed, failed = 0, 0
        for session in self.sessions:
            session.added_rules.clear()
            session.withheld_rules = frozenset()
            decision = self.policies.decide(session.imsi, session.apn, session.rat_type)
            if decision is None or decision.rejects:
                outcome = await self.runner.start(release_session, self, session, SessionReleaseCause.UE_SUBSCRIPTION_REASON)
            elif change := change_to(session, decision):
                outcome = await self.runner.start(push_policy, self, session, change, decision.policy)
            else:
                continue
            changed += outcome is Outcome.SUCCESS
            failed += outcome is not Outcome.SUCCESS
        return {"sessions": len(self.sessions), "changed": changed, "failed": failed}

    async def _push_to(self, sessions: list[GxSession], change: Change) -> list[str]:
        for session in sessions:
            await _told(push_policy.run(self, session, change, session.policy))
        return [session.session_id for session in sessions]

    def _sessions_of(self, imsi: str, apn: str) -> list[GxSession]:
        sessions = [session for session in self.sessions.of_imsi(imsi) if apn in ("", session.apn)]
        if not sessions:
            raise LookupError(f"{imsi} has no session {f'at {apn}' if apn else ''}".rstrip())
        return sessions

    def _read_policies(self) -> PolicyEngine:
        if self.config.policy_file is None:
            return PolicyEngine(self.config.policy)
        return PolicyEngine(load_config(self.config.policy_file, PolicyBook))


async def _told(work: Awaitable[None]) -> None:
    """What went wrong between PCRF and PGW, as the admin API tells it."""
    try:
        await work
    except (Reject, TimerExpired, ConnectionError) as error:
        raise LookupError(str(error)) from error
