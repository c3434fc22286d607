"""The default store: one SQLite file, on the event loop's own thread.

Nothing in a transaction waits for anything, so no other coroutine runs in the middle of one. Journal mode WAL with
``synchronous=NORMAL``: what is committed survives the death of the process, kill -9 included; ``?synchronous=FULL`` in the URL survives
a power cut too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from epc.ocs.store import schema
from epc.ocs.store.interface import Parameters, Row, StoreError, Transaction

BUSY_TIMEOUT_S = 5.0
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    async def execute(self, statement: str, parameters: Parameters) -> int:
        return self._execute(statement, parameters).rowcount


class SqliteStore:
    """Implements :class:`epc.ocs.store.LedgerStore`. ``path`` is a file, or ":memory:"."""

    def __init__(self, path: str, *, synchronous: str = "NORMAL") -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, cached_statements=64)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._migrate()
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def _migrate(self) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            execute(schema.CREATE_VERSION_TABLE)
            version = execute(schema.READ_VERSION).fetchone()[0] or 0
            if version > schema.LATEST:
                raise schema.too_new(self._path, version)
            for number, statements in schema.MIGRATIONS:
                if number > version:
                    for statement in statements:
                        execute(statement)
                    execute(schema.WRITE_VERSION, {"version": number})
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._connection)
            except BaseException:
                execute("ROLLBACK")
                raise
            execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    async def close(self) -> None:
        self._connection.close()
