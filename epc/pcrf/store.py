"""The PCRF's tables: rules, policies, and how much every subscriber has used. They may stand in the HSS's database, beside its own.

Two PCRFs may work on one database, and a program may change it beside a running one: every change of the book raises its revision,
which a PCRF looks at now and then. Usage is added up by the database itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from epc.node import parse_config
from epc.node.database import Database, Row, Schema, SqliteDatabase, StoreError, Transaction, open_database
from epc.pcrf.pcc import Policy, PolicyBook, Rule, policy_name

SCHEMA = Schema("pcc_schema_version", (
    (1, (
        """CREATE TABLE pcc_rule (
            name VARCHAR(100) NOT NULL PRIMARY KEY,
            definition TEXT NOT NULL
        )""",
        """CREATE TABLE pcc_policy (
            name VARCHAR(100) NOT NULL PRIMARY KEY,
            place INTEGER NOT NULL,
            definition TEXT NOT NULL
        )""",
        """CREATE TABLE pcc_setting (
            name VARCHAR(20) NOT NULL PRIMARY KEY,
            value VARCHAR(100) NOT NULL
        )""",
        """CREATE TABLE pcc_usage (
            imsi VARCHAR(15) NOT NULL,
            monitoring_key VARCHAR(100) NOT NULL,
            period_ms BIGINT NOT NULL,
            octets BIGINT NOT NULL,
            PRIMARY KEY (imsi, monitoring_key)
        )""",
        "INSERT INTO pcc_setting (name, value) VALUES ('revision', '0')",
        "INSERT INTO pcc_setting (name, value) VALUES ('others', 'allow')",
    )),
    (2, (
        "ALTER TABLE pcc_usage ADD COLUMN updated_ms BIGINT DEFAULT 0 NOT NULL",
        "CREATE INDEX pcc_usage_updated ON pcc_usage (updated_ms)",
    )),
))

_REVISION = "SELECT value FROM pcc_setting WHERE name = 'revision'"
_LOCK = "UPDATE pcc_setting SET value = value WHERE name = 'revision'"      # locks the row until the transaction ends, on every database
_SET = "UPDATE pcc_setting SET value = :value WHERE name = :name"
_OTHERS = "SELECT value FROM pcc_setting WHERE name = 'others'"
_RULES = "SELECT name, definition FROM pcc_rule ORDER BY name"
_POLICIES = "SELECT name, definition FROM pcc_policy ORDER BY place, name"
_DELETE_RULE = "DELETE FROM pcc_rule WHERE name = :name"
_INSERT_RULE = "INSERT INTO pcc_rule (name, definition) VALUES (:name, :definition)"
_DELETE_POLICY = "DELETE FROM pcc_policy WHERE name = :name"
_INSERT_POLICY = "INSERT INTO pcc_policy (name, place, definition) VALUES (:name, :place, :definition)"
_USAGE = "SELECT monitoring_key, period_ms, octets FROM pcc_usage WHERE imsi = :imsi ORDER BY monitoring_key"
# a report of a new period begins the count anew, a late one of an old period counts for the new one
_ADD = """UPDATE pcc_usage SET octets = CASE WHEN period_ms < :period_ms THEN :octets ELSE octets + :octets END,
    period_ms = CASE WHEN period_ms < :period_ms THEN :period_ms ELSE period_ms END, updated_ms = :now_ms
    WHERE imsi = :imsi AND monitoring_key = :key"""
_INSERT_USAGE = """INSERT INTO pcc_usage (imsi, monitoring_key, period_ms, octets, updated_ms)
    VALUES (:imsi, :key, :period_ms, :octets, :now_ms)"""
_UPDATED = "SELECT DISTINCT imsi FROM pcc_usage WHERE updated_ms >= :since_ms"
_DELETE_USAGE = "DELETE FROM pcc_usage WHERE imsi = :imsi AND (:key = '' OR monitoring_key = :key)"

Edit = Callable[[PolicyBook], PolicyBook]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a subscriber used of one monitoring key."""

    key: str
    period_ms: int          # when the period began that it counts for, milliseconds since 1970
    octets: int


class PccStore:
    """Rules, policies and usage in a database; every method is one transaction and raises :class:`StoreError` when there is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close(self) -> None:
        await self._database.close()

    @property
    def answers_at_once(self) -> bool:
        """Whether no method ever waits for anything."""
        return isinstance(self._database, SqliteDatabase)

    @property
    def is_private(self) -> bool:
        """In the memory of this process: nobody else can change it."""
        return isinstance(self._database, SqliteDatabase) and self._database.is_in_memory

    # the book

    async def revision(self) -> int:
        """0: nothing was ever stored."""
        async with self._database.transaction() as transaction:
            return await _revision(transaction)

    async def book(self) -> tuple[PolicyBook, int]:
        """What is stored, and its revision."""
        async with self._database.transaction() as transaction:
            return await _read(transaction), await _revision(transaction)

    async def edit(self, edit: Edit) -> tuple[PolicyBook, int]:
        """Store what ``edit`` makes of the book; nobody else changes it meanwhile. What ``edit`` raises leaves all as it was."""
        async with self._database.transaction() as transaction:
            await transaction.execute(_LOCK, {})
            old = await _read(transaction)
            new = edit(old)
            return new, await _write(transaction, old, new)

    async def provision(self, book: PolicyBook) -> bool:
        """Store ``book`` if nothing was ever stored."""
        async with self._database.transaction() as transaction:
            await transaction.execute(_LOCK, {})
            if await _revision(transaction):
                return False
            await _write(transaction, PolicyBook(), book)
            return True

    # usage

    async def usage(self, imsi: str) -> list[Usage]:
        async with self._database.transaction() as transaction:
            return await _usage(transaction, imsi)

    async def updated(self, since_ms: int) -> list[str]:
        """Subscribers of whom somebody reported usage since then."""
        async with self._database.transaction() as transaction:
            return [str(imsi) for [imsi] in await transaction.fetch(_UPDATED, {"since_ms": since_ms})]

    async def add_usage(self, imsi: str, used: list[Usage], *, now_ms: int = 0) -> list[Usage]:
        """Add to the counters of the periods; returns all of the subscriber's."""
        async with self._database.transaction() as transaction:
            for each in used:
                parameters: dict[str, str | int | None] = {
                    "imsi": imsi, "key": each.key, "period_ms": each.period_ms, "octets": each.octets, "now_ms": now_ms}
                if await transaction.execute(_ADD, parameters):
                    continue
                await transaction.execute(_LOCK, {})        # whoever else finds no row waits here until this one is there
                if not await transaction.execute(_ADD, parameters):
                    await transaction.execute(_INSERT_USAGE, parameters)
            return await _usage(transaction, imsi)

    async def forget_usage(self, imsi: str, key: str = "") -> int:
        """Begin to count anew, for one key or all."""
        async with self._database.transaction() as transaction:
            return await transaction.execute(_DELETE_USAGE, {"imsi": imsi, "key": key})


async def open_store(url: str) -> PccStore:
    return PccStore(await open_database(url, SCHEMA))


async def _revision(transaction: Transaction) -> int:
    [[revision]] = await transaction.fetch(_REVISION, {})
    return int(revision or 0)


async def _read(transaction: Transaction) -> PolicyBook:
    rules = {str(name): _definition(definition) for name, definition in await transaction.fetch(_RULES, {})}
    policies = [_definition(definition) | {"name": name} for name, definition in await transaction.fetch(_POLICIES, {})]
    [[others]] = await transaction.fetch(_OTHERS, {})
    return parse_config({"rules": rules, "policies": policies, "others": others}, PolicyBook, source="database")


def _definition(text: object) -> dict[str, Any]:
    try:
        definition: dict[str, Any] = orjson.loads(str(text))
    except ValueError as error:
        raise StoreError(f"a definition in the database is no JSON: {error}") from None
    return definition


async def _write(transaction: Transaction, old: PolicyBook, new: PolicyBook) -> int:
    for name in [*old.rules]:
        if new.rules.get(name) != old.rules[name]:
            await transaction.execute(_DELETE_RULE, {"name": name})
    for name, rule in new.rules.items():
        if old.rules.get(name) != rule:
            await transaction.execute(_INSERT_RULE, {"name": name, "definition": _text(rule)})
    before = {policy_name(policy, number): (number, policy) for number, policy in enumerate(old.policies, 1)}
    after = {policy_name(policy, number): (number, policy) for number, policy in enumerate(new.policies, 1)}
    for name in before:
        if after.get(name) != before[name]:
            await transaction.execute(_DELETE_POLICY, {"name": name})
    for name, (number, policy) in after.items():
        if before.get(name) != (number, policy):
            await transaction.execute(_INSERT_POLICY, {"name": name, "place": number, "definition": _text(policy)})
    if new.others != old.others:
        await transaction.execute(_SET, {"name": "others", "value": new.others})
    revision = await _revision(transaction) + 1
    await transaction.execute(_SET, {"name": "revision", "value": str(revision)})
    return revision


def plain(definition: Rule | Policy) -> dict[str, Any]:
    """As an operator would write it: without what is at its default."""
    return definition.model_dump(mode="json", exclude_defaults=True)


def _text(definition: Rule | Policy) -> str:
    return orjson.dumps(plain(definition)).decode()


async def _usage(transaction: Transaction, imsi: str) -> list[Usage]:
    rows: list[Row] = await transaction.fetch(_USAGE, {"imsi": imsi})
    return [Usage(key=str(key), period_ms=int(period_ms or 0), octets=int(octets or 0)) for key, period_ms, octets in rows]
