"""The OCS as a node: Gy requests in, quotas out, and what the operator does with accounts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TypeVar

from epc.node import Command, Node, SessionEnd, View
from epc.node.state import AssociatedPeer, diameter_peers
from epc.ocs.config import OcsConfig, Rate
from epc.ocs.credit_control import PROCEDURES
from epc.ocs.money import parse_money, show_money
from epc.ocs.re_auth import UNHEARD, abort_session, offer_released_credit, re_authorisation, repeated_re_authorisation
from epc.ocs.store import Account, Books, CreditSession, Database, Entry, EntryKind, StoreError, open_store
from epc.ocs.tariff import RatingEngine
from epc.peer.diameter import LocalIdentity
from epc.procedure import Outcome, Procedure, Reject
from epc.procedure.outcome import cause_name
from epc.transport.diameter import DiameterNode
from epc.transport.interface import Transport
from epc.wire.diameter import GY_APPLICATION, Answer, DiameterError, Message, Packet, Request, ResultCode
from epc.wire.diameter.gx import CcRequestType
from epc.wire.diameter.gy import CreditControlAnswer, CreditControlRequest

A = TypeVar("A", bound=Answer)

DUPLICATES_REMEMBERED = 8192    # answers for requests that come again with the T bit; older ones are in the database


class Ocs(Node[OcsConfig]):
    """Online Charging System: TS 32.296, TS 32.299 (Gy)."""

    kind = "ocs"
    config_model = OcsConfig

    def __init__(
        self,
        config: OcsConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self.rating = RatingEngine(config.tariff)
        self._store: Database | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._open_sessions: dict[str, SessionEnd] = {}         # as far as we know: other programs may use the database too
        self.gy = DiameterNode(
            transport, LocalIdentity(origin_host=config.origin_host, origin_realm=config.origin_realm, applications=(GY_APPLICATION,)),
            interface="Gy", entropy=self.entropy, clock=clock, on_request=self._serve, listen=[each.listen for each in config.gy.listen],
            peers=[each.peer for each in config.gy.peers], local=config.gy.local, timers=config.gy.peer_timers,
            accept_unknown_peers=config.gy.accept_unknown_peers, duplicates_remembered=DUPLICATES_REMEMBERED, observer=self.metrics)
        self.debited = self.metrics.counter("debited", "Money debited, in millionths of the currency's unit")
        self.topped_up = self.metrics.counter("topped_up", "Money added to accounts, in millionths of the currency's unit")
        self.refusals = self.metrics.counter("service_refusals", "Services that got no quota, by Result-Code", ("cause",))
        self.repetitions = self.metrics.counter("repeated_requests", "Requests that came again and were answered from the database")
        self.expirations = self.metrics.counter("expired_sessions", "Sessions that supervision (Tcc) ended")
        self.metrics.gauge("sessions", "Gy sessions that are open", lambda: len(self._open_sessions))
        self.metrics.gauge("diameter_peers", "Diameter peers that can be used", lambda: sum(peer.is_usable for peer in self.gy.peers()))

    # life

    async def start(self) -> None:
        self._store = await open_store(self.config.database_url)
        for opening in self.config.accounts:
            async with self.store.transaction() as transaction:
                books = Books(transaction)
                for imsi in opening.imsis():
                    if await books.account(imsi) is None:
                        await self._open_account(books, imsi, opening.balance)
        await self._supervise()
        self._supervision = asyncio.create_task(self._keep_supervising(), name="ocs supervision")
        await self.gy.start()

    async def stop(self) -> None:
        await self.gy.stop()
        await self.runner.stop()
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.gather(self._supervision, return_exceptions=True)
            self._supervision = None
        if self._store is not None:
            await self._store.close()
            self._store = None

    def is_ready(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> Database:
        """The database; open while the node runs."""
        if self._store is None:
            raise StoreError("the OCS is not running")
        return self._store

    # what procedures need

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    async def ask(self, session: CreditSession, request: Request, expected: type[A]) -> A:
        """Send a request of the OCS's own. Raises :class:`Reject` with the result when it is no success, ``TimerExpired``, ``ConnectionError``."""
        answer = (await self.gy.request(request)).message
        if isinstance(answer, expected) and answer.is_success:
            return answer
        result = answer.result if isinstance(answer, Answer) else None
        if result is ResultCode.DIAMETER_UNKNOWN_SESSION_ID:
            await self._close(session, "the gateway does not know it")
        raise Reject(result or ResultCode.DIAMETER_UNABLE_TO_COMPLY, f"{type(request).__name__}: {cause_name(result or 'no result')}")

    # requests

    async def _serve(self, packet: Packet) -> Message:
        request = packet.message
        if not isinstance(request, CreditControlRequest):
            raise DiameterError(f"an OCS gets no {type(request).__name__}", ResultCode.DIAMETER_COMMAND_UNSUPPORTED)
        kind = request.cc_request_type
        if not isinstance(kind, CcRequestType) or kind not in PROCEDURES:
            raise DiameterError(f"CC-Request-Type {kind}: no service is debited without a session", ResultCode.DIAMETER_INVALID_AVP_VALUE)
        procedure = PROCEDURES[kind]
        clock = asyncio.get_running_loop().time
        started = clock()
        outcome, cause = Outcome.ERROR, "internal error"
        self.metrics.procedure_started(procedure.__name__)
        try:
            async with self.store.transaction() as transaction:
                books = Books(transaction)
                answer = await procedure(self, books, request)
            self._note_sessions(books)
            outcome, cause = Outcome.SUCCESS, ""
            return answer
        except Reject as reject:
            outcome, cause = Outcome.REJECTED, cause_name(reject.cause)
            self.log.info("procedure.rejected", procedure=procedure.__name__, cause=cause, detail=str(reject), session_id=request.session_id)
            return self._refusal(request, int(reject.cause), str(reject))
        except StoreError as error:
            outcome, cause = Outcome.ERROR, "database"
            self.log.error("database.failed", procedure=procedure.__name__, reason=str(error))
            return self._refusal(request, ResultCode.DIAMETER_UNABLE_TO_COMPLY, "database")
        except asyncio.CancelledError:
            outcome, cause = Outcome.ABORTED, "cancelled"
            raise
        finally:
            self.metrics.procedure_finished(procedure.__name__, outcome, cause, clock() - started)

    def _refusal(self, request: CreditControlRequest, result: int, reason: str) -> CreditControlAnswer:
        return CreditControlAnswer(
            session_id=request.session_id, result_code=result, origin_host=self.config.origin_host, origin_realm=self.config.origin_realm,
            cc_request_type=request.cc_request_type, cc_request_number=request.cc_request_number, error_message=reason)

    # supervision

    async def _keep_supervising(self) -> None:
        while True:
            await asyncio.sleep(self.config.supervision_interval_s)
            try:
                await self._supervise()
            except StoreError as error:
                self.log.error("database.failed", procedure="supervision", reason=str(error))

    async def _supervise(self) -> None:
        """End sessions that nobody has asked about for Tcc, free what they reserve, forget those that ended long ago (RFC 8506 clause 7)."""
        now_ms = self.now_ms()
        async with self.store.transaction() as transaction:
            expired = await Books(transaction).expired_sessions(now_ms)
        for session in expired:
            if await self._close(session, "supervision", only_expired=True):
                self.expirations.inc()
        async with self.store.transaction() as transaction:
            await Books(transaction).forget_closed_sessions(now_ms - int(self.config.closed_sessions_kept_s * 1000))
            if await Books(transaction).count_open_sessions() != len(self._open_sessions):
                self._open_sessions = {each.session_id: _end_of(each) for each in await Books(transaction).open_sessions()}

    async def _close(self, session: CreditSession, reason: str, *, only_expired: bool = False) -> bool:
        """End a session by ourselves, unless a request has changed its fate in the meantime."""
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            await books.lock_account(session.imsi)
            current = await books.session(session.session_id)
            if current is None or current.closed_ms is not None or (only_expired and current.expires_ms > self.now_ms()):
                return False
            await books.close_session(current, self.now_ms())
        self._note_sessions(books)
        self.log.info("session.lost", reason=reason, session_id=session.session_id, imsi=session.imsi)
        return True

    def _note_sessions(self, books: Books) -> None:
        """What a committed transaction did to sessions."""
        self._open_sessions.update((session_id, _end_of(session)) for session_id, session in books.opened_sessions.items())
        for session_id in books.closed_sessions:
            self._open_sessions.pop(session_id, None)
        for imsi in books.accounts_given_back:
            self.runner.start(offer_released_credit, self, imsi)

    # the operator

    def session_ends(self) -> Iterable[SessionEnd]:
        return list(self._open_sessions.values())

    def associated_peers(self) -> Iterable[AssociatedPeer]:
        return diameter_peers("Gy", self.gy)

    def views(self) -> Mapping[str, View]:
        return {
            "peers": lambda: [asdict(peer) for peer in self.gy.peers()],
            "rates": lambda: [_rate_shown(rate) for rate in self.config.tariff.rates],
        }

    def commands(self) -> Mapping[str, Command]:
        return {
            "balance": self._balance,
            "top_up": self._top_up,
            "ledger": self._ledger,
            "sessions": self._sessions,
            "add_account": self._add_account,
            "block": self._block,
            "unblock": self._unblock,
            "re_authorise": self._re_authorise,
            "abort": self._abort,
            "audit": self._audit,
        }

    async def _balance(self, *, imsi: str) -> object:
        async with self.store.transaction() as transaction:
            return self._account_shown(_known(await Books(transaction).account(imsi), imsi))

    def _account_shown(self, account: Account) -> dict[str, object]:
        return {"imsi": account.imsi, "balance": show_money(account.balance), "reserved": show_money(account.reserved),
                "available": show_money(account.available), "currency": self.config.tariff.currency, "blocked": account.blocked}

    async def _top_up(self, *, imsi: str, amount: str, reference: str = "") -> object:
        """Add money (or take it, when it is negative), and have gateways that ran dry ask again. One ``reference`` is booked once."""
        money = parse_money(amount)
        if not money:
            raise ValueError("amount: nothing to add")
        if len(reference) > 100:
            raise ValueError("reference: a hundred characters at most")
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            account = _known(await books.lock_account(imsi), imsi)
            is_new = not reference or not await books.has_reference(imsi, reference)
            if is_new:
                account = await books.book(account, EntryKind.TOP_UP, money, self.now_ms(), reference=reference or None)
            sessions = await books.exhausted_sessions(imsi)
        if is_new:
            self.topped_up.inc(max(money, 0))
        asked = await self._tell(re_authorisation, sessions if account.available > 0 else [])
        return self._account_shown(account) | {"booked": is_new, **asked}

    async def _ledger(self, *, imsi: str, last: str = "20") -> object:
        if not last.isdigit():
            raise ValueError("last: how many entries, counted from the newest")
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            account = _known(await books.account(imsi), imsi)
            return [_entry_shown(entry) for entry in await books.entries(imsi, after=max(0, account.entries - int(last)))]

    async def _sessions(self, *, imsi: str = "") -> object:
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            return [{
                "session_id": session.session_id, "imsi": session.imsi, "apn": session.apn, "visited_plmn": session.visited_plmn,
                "gateway": session.peer_host, "expires_in_s": max(0, session.expires_ms - self.now_ms()) // 1000,
                "services": [{
                    "rating_group": service.rating_group, "service_identifier": service.service_identifier, "rate": service.rate,
                    "granted": service.granted, "unit": service.unit, "reserved": show_money(service.reserved), "exhausted": service.exhausted,
                } for service in (await books.services(session)).values()],
            } for session in await books.open_sessions(imsi)]

    async def _add_account(self, *, imsi: str, balance: str = "0") -> object:
        if not imsi.isdigit() or not 6 <= len(imsi) <= 15:
            raise ValueError("imsi: 6 to 15 digits")
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            if await books.account(imsi) is not None:
                raise ValueError(f"there is an account of {imsi} already")
            await self._open_account(books, imsi, parse_money(balance))
            return self._account_shown(_known(await books.account(imsi), imsi))

    async def _open_account(self, books: Books, imsi: str, balance: int) -> None:
        await books.add_account(imsi)
        if balance:
            await books.book(_known(await books.account(imsi), imsi), EntryKind.OPENING, balance, self.now_ms())

    async def _block(self, *, imsi: str) -> object:
        """No quota any more; gateways are asked to come for it at once, and get none."""
        return await self._set_blocked(imsi, True)

    async def _unblock(self, *, imsi: str) -> object:
        return await self._set_blocked(imsi, False)

    async def _set_blocked(self, imsi: str, blocked: bool) -> object:
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            if not await books.block_account(imsi, blocked):
                raise LookupError(f"no account of {imsi}")
            account = _known(await books.account(imsi), imsi)
            sessions = await books.open_sessions(imsi)
        return self._account_shown(account) | await self._tell(re_authorisation, sessions)

    async def _re_authorise(self, *, imsi: str) -> object:
        return await self._tell(re_authorisation, await self._sessions_of(imsi))

    async def _abort(self, *, imsi: str) -> object:
        """Have gateways end a subscriber's sessions."""
        return await self._tell(abort_session, await self._sessions_of(imsi))

    async def _audit(self) -> object:
        """Whether every balance is the sum of its entries, and no entry is missing."""
        async with self.store.transaction() as transaction:
            books = Books(transaction)
            return {"accounts": await books.count_accounts(), "wrong": await books.audit()}

    async def _sessions_of(self, imsi: str) -> list[CreditSession]:
        async with self.store.transaction() as transaction:
            sessions = await Books(transaction).open_sessions(imsi)
        if not sessions:
            raise LookupError(f"{imsi} has no session")
        return sessions

    async def _tell(self, procedure: Procedure, sessions: list[CreditSession]) -> dict[str, object]:
        outcomes = await asyncio.gather(*[self.runner.start(procedure, self, session) for session in sessions])
        for session, outcome in zip(sessions, outcomes, strict=True):
            if procedure is re_authorisation and outcome in UNHEARD:
                self.runner.start(repeated_re_authorisation, self, session)
        return {"gateways_told": outcomes.count(Outcome.SUCCESS), "gateways_failed": len(outcomes) - outcomes.count(Outcome.SUCCESS)}


def _end_of(session: CreditSession) -> SessionEnd:
    return SessionEnd(interface="Gy", session_id=session.session_id, own=False, imsi=session.imsi, peer=session.peer_host)


def _known(account: Account | None, imsi: str) -> Account:
    if account is None:
        raise LookupError(f"no account of {imsi}")
    return account


def _entry_shown(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in asdict(entry).items() if value is not None} | {
        "amount": show_money(entry.amount), "balance": show_money(entry.balance)}


def _rate_shown(rate: Rate) -> dict[str, object]:
    return rate.model_dump(mode="json") | {
        name: None if price is None else show_money(price)
        for name, price in (("price_per_mb", rate.price_per_mb), ("price_per_second", rate.price_per_second))}
