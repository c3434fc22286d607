"""The default database: one SQLite file, on the event loop's own thread.

A statement takes 10 to 20 us here, less than handing it to a thread and back (some 60 us), so there is no thread, and a database works
on a virtual clock too. Nothing in a transaction waits for anything, so no other coroutine runs in the middle of one. Only another process
that writes at the same time can make it wait, for one of its short transactions.

Journal mode WAL with ``synchronous=NORMAL``: what is committed survives the death of the process, kill -9 included; ``?synchronous=FULL``
in the URL survives a power cut too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from epc.node.database.interface import Parameters, Row, Schema, StoreError, Transaction

BUSY_TIMEOUT_S = 5.0
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    async def execute(self, statement: str, parameters: Parameters) -> int:
        return self._execute(statement, parameters).rowcount


class SqliteDatabase:
    """Implements :class:`epc.node.database.Database`. ``path`` is a file, or ":memory:"; ``cache_kib`` replaces SQLite's own 2 MB."""

    def __init__(self, path: str, schema: Schema, *, synchronous: str = "NORMAL", cache_kib: int | None = None) -> None:
        self._path = path
        with self.errors():
            self.connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, cached_statements=64)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute(f"PRAGMA synchronous = {synchronous}")
            if cache_kib is not None:
                self.connection.execute(f"PRAGMA cache_size = -{cache_kib}")
            self._migrate(schema)

    @property
    def is_in_memory(self) -> bool:
        return self._path == ":memory:"

    def _migrate(self, schema: Schema) -> None:
        execute = self.connection.execute
        with self.atomic():
            execute(schema.create_version_table)
            for number, statements in schema.missing(self._path, execute(schema.read_version).fetchone()[0] or 0):
                for statement in statements:
                    execute(statement)
                execute(schema.write_version, {"version": number})

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """A transaction for code that uses ``connection`` itself."""
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """A locked, full or damaged database is one failed request for the node, not the end of it."""
        try:
            yield
        except (sqlite3.Error, OverflowError, ValueError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        try:
            with self.atomic():
                yield _SqliteTransaction(self.connection)
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    async def close(self) -> None:
        self.connection.close()
