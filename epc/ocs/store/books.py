"""The books within one transaction: accounts and their entries, sessions with what they reserve, answers already given.

What an account may spend is its balance less what its sessions have reserved. Entries are only ever added; each account numbers its own
without gaps and keeps their sum as its balance, which :meth:`Books.audit` proves.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from epc.node.database import Parameters, Row, Transaction
from epc.ocs.store import schema

ANSWERS_REMEMBERED = 32     # of one session; a client has few requests in flight, and repeats only those


class EntryKind(enum.StrEnum):
    OPENING = "opening"
    TOP_UP = "top_up"
    DEBIT = "debit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Money in millionths of the currency's unit."""

    imsi: str
    balance: int
    blocked: bool
    entries: int            # how many the ledger has of this account
    reserved: int           # by all sessions together

    @property
    def available(self) -> int:
        return self.balance - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of money; ``amount`` is negative for a debit."""

    number: int
    at_ms: int
    kind: str
    amount: int
    balance: int            # after it
    session_id: str | None = None
    request_number: int | None = None
    rating_group: int | None = None
    service_identifier: int | None = None
    octets: int | None = None
    seconds: int | None = None
    rate: str | None = None
    visited_plmn: str | None = None
    reference: str | None = None


@dataclass(slots=True, kw_only=True)
class CreditSession:
    """A Gy session: one PDN connection at one gateway."""

    session_id: str                     # allocated by the gateway
    imsi: str
    apn: str
    visited_plmn: str                   # empty: the gateway did not say
    peer_host: str                      # Diameter identity of the gateway
    peer_realm: str
    origin_state_id: int | None         # of the gateway when it opened the session
    opened_ms: int
    expires_ms: int                     # when supervision (Tcc) ends it
    closed_ms: int | None = None


class ServiceKey(NamedTuple):
    """Which service of a session; None for what the gateway leaves out."""

    rating_group: int | None
    service_identifier: int | None


@dataclass(slots=True, kw_only=True)
class Service:
    """What is granted to one service of a session, and at which price it will be debited."""

    rating_group: int | None
    service_identifier: int | None
    rate: str                           # its name
    unit: str                           # "octets" or "seconds"
    price: int                          # millionths of the currency's unit for a million units
    granted: int = 0                    # units
    reserved: int = 0                   # money
    fraction: int = 0                   # millionths of a millionth that reports so far were worth beyond what was debited
    exhausted: bool = False             # the last grant was the final one, or there was none

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.rating_group, self.service_identifier)


class Books:
    """The statements on one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._fetch = transaction.fetch
        self._execute = transaction.execute
        self.opened_sessions: dict[str, CreditSession] = {}     # by Session-Id; like the next two, true once the transaction is committed
        self.closed_sessions: set[str] = set()      # Session-Ids
        self.accounts_given_back: set[str] = set()  # of the sessions that were closed

    # accounts

    async def lock_account(self, imsi: str) -> Account | None:
        """The account, which nobody else changes until this transaction ends."""
        if not await self._execute(schema.LOCK_ACCOUNT, {"imsi": imsi}):
            return None
        return await self.account(imsi)

    async def account(self, imsi: str) -> Account | None:
        rows = await self._fetch(schema.SELECT_ACCOUNT, {"imsi": imsi})
        if not rows:
            return None
        balance, blocked, entries, reserved = cast(tuple[int, int, int, int], rows[0])
        return Account(imsi=imsi, balance=int(balance), blocked=bool(blocked), entries=int(entries), reserved=int(reserved))

    async def add_account(self, imsi: str) -> None:
        await self._execute(schema.INSERT_ACCOUNT, {"imsi": imsi})

    async def block_account(self, imsi: str, blocked: bool) -> bool:
        return await self._execute(schema.BLOCK_ACCOUNT, {"imsi": imsi, "blocked": int(blocked)}) == 1

    async def count_accounts(self) -> int:
        return _number(await self._fetch(schema.COUNT_ACCOUNTS, {}))

    # the ledger

    async def book(self, account: Account, kind: EntryKind, amount: int, at_ms: int, **about: Any) -> Account:
        """Add an entry to a locked account; returns the account after it. ``about``: more fields of :class:`Entry`."""
        entry = Entry(number=account.entries + 1, at_ms=at_ms, kind=kind.value, amount=amount, balance=account.balance + amount, **about)
        await self._execute(schema.INSERT_ENTRY, {"imsi": account.imsi, **_columns(entry, schema.LEDGER_COLUMNS)})
        await self._execute(schema.UPDATE_ACCOUNT, {"imsi": account.imsi, "balance": entry.balance, "number": entry.number})
        return Account(imsi=account.imsi, balance=entry.balance, blocked=account.blocked, entries=entry.number, reserved=account.reserved)

    async def entries(self, imsi: str, *, after: int = 0) -> list[Entry]:
        return [_entry(row) for row in await self._fetch(schema.SELECT_ENTRIES, {"imsi": imsi, "after": after})]

    async def has_reference(self, imsi: str, reference: str) -> bool:
        return bool(await self._fetch(schema.FIND_REFERENCE, {"imsi": imsi, "reference": reference}))

    async def audit(self) -> list[str]:
        """Accounts whose balance is not the sum of their entries, or whose entries are not all there: none."""
        return [str(row[0]) for row in await self._fetch(schema.AUDIT, {})]

    # sessions

    async def session(self, session_id: str) -> CreditSession | None:
        rows = await self._fetch(schema.SELECT_SESSION, {"session_id": session_id})
        return _session(rows[0]) if rows else None

    async def open_sessions(self, imsi: str = "") -> list[CreditSession]:
        statement = schema.SELECT_OPEN_SESSIONS_OF if imsi else schema.SELECT_OPEN_SESSIONS
        parameters: Parameters = {"imsi": imsi} if imsi else {}
        return [_session(row) for row in await self._fetch(statement, parameters)]

    async def exhausted_sessions(self, imsi: str) -> list[CreditSession]:
        """Open sessions with a service that was given its last units, or none."""
        return [_session(row) for row in await self._fetch(schema.SELECT_EXHAUSTED_SESSIONS, {"imsi": imsi})]

    async def expired_sessions(self, now_ms: int) -> list[CreditSession]:
        return [_session(row) for row in await self._fetch(schema.SELECT_EXPIRED_SESSIONS, {"now_ms": now_ms})]

    async def lost_sessions(self, peer_host: str, origin_state_id: int) -> list[CreditSession]:
        """Open sessions that a gateway had before its last restart (RFC 6733 clause 8.16)."""
        rows = await self._fetch(schema.SELECT_LOST_SESSIONS, {"peer_host": peer_host, "origin_state_id": origin_state_id})
        return [_session(row) for row in rows]

    async def count_open_sessions(self) -> int:
        return _number(await self._fetch(schema.COUNT_OPEN_SESSIONS, {}))

    async def add_session(self, session: CreditSession) -> None:
        await self._execute(schema.INSERT_SESSION, _columns(session, schema.SESSION_COLUMNS))
        self.opened_sessions[session.session_id] = session
        self.closed_sessions.discard(session.session_id)

    async def update_session(self, session: CreditSession) -> None:
        await self._execute(schema.UPDATE_SESSION, {
            "session_id": session.session_id, "visited_plmn": session.visited_plmn, "expires_ms": session.expires_ms, "closed_ms": session.closed_ms})

    async def close_session(self, session: CreditSession, now_ms: int) -> None:
        """End it; its reservations are free again."""
        if session.closed_ms is None:
            self.opened_sessions.pop(session.session_id, None)
            self.closed_sessions.add(session.session_id)
            self.accounts_given_back.add(session.imsi)
        session.closed_ms = now_ms
        await self.update_session(session)
        await self._execute(schema.RELEASE_SERVICES, {"session_id": session.session_id})

    async def forget_closed_sessions(self, before_ms: int) -> None:
        for statement in schema.FORGET_CLOSED:
            await self._execute(statement, {"before_ms": before_ms})

    async def services(self, session: CreditSession) -> dict[ServiceKey, Service]:
        found = [_service(row) for row in await self._fetch(schema.SELECT_SERVICES, {"session_id": session.session_id})]
        return {service.key: service for service in found}

    async def put_service(self, session: CreditSession, service: Service) -> None:
        values = _columns(service, schema.SERVICE_COLUMNS)
        values |= {"session_id": session.session_id, "imsi": session.imsi, "rating_group": _absent(service.rating_group),
                   "service_identifier": _absent(service.service_identifier), "exhausted": int(service.exhausted)}
        if not await self._execute(schema.UPDATE_SERVICE, values):
            await self._execute(schema.INSERT_SERVICE, values)

    # answers

    async def answer(self, session_id: str, request_number: int) -> bytes | None:
        """What a request was answered before."""
        rows = await self._fetch(schema.SELECT_ANSWER, {"session_id": session_id, "request_number": request_number})
        return bytes.fromhex(str(rows[0][0])) if rows else None

    async def is_forgotten(self, session_id: str, request_number: int) -> bool:
        """Whether a request is so old that its answer may have been forgotten."""
        return request_number <= _number(await self._fetch(schema.SELECT_LAST_ANSWERED, {"session_id": session_id})) - ANSWERS_REMEMBERED

    async def remember_answer(self, session_id: str, request_number: int, answer: bytes) -> None:
        await self._execute(schema.INSERT_ANSWER, {"session_id": session_id, "request_number": request_number, "answer": answer.hex()})
        await self._execute(schema.DELETE_OLD_ANSWERS, {"session_id": session_id, "oldest": request_number - ANSWERS_REMEMBERED})


def _number(rows: list[Row]) -> int:
    return int(rows[0][0] or 0)


def _columns(row: object, names: tuple[str, ...]) -> Parameters:
    return {name: getattr(row, name) for name in names}


def _absent(number: int | None) -> int:
    return -1 if number is None else number


def _present(number: int) -> int | None:
    return None if number == -1 else number


def _entry(row: Row) -> Entry:
    values: dict[str, Any] = dict(zip(schema.LEDGER_COLUMNS, row, strict=True))
    return Entry(**values)


def _session(row: Row) -> CreditSession:
    values: dict[str, Any] = dict(zip(schema.SESSION_COLUMNS, row, strict=True))
    return CreditSession(**values)


def _service(row: Row) -> Service:
    values: dict[str, Any] = dict(zip(schema.SERVICE_COLUMNS, row, strict=True))
    values |= {"rating_group": _present(values["rating_group"]), "service_identifier": _present(values["service_identifier"]),
               "exhausted": bool(values["exhausted"])}
    return Service(**values)
