"""Any other database that SQLAlchemy has an async driver for; PostgreSQL through asyncpg is the one that is tested."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import CursorResult, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from epc.ocs.store import schema
from epc.ocs.store.interface import Parameters, Row, StoreError, Transaction


class _DatabaseTransaction:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        return [tuple(row) for row in await self._connection.execute(text(statement), parameters)]

    async def execute(self, statement: str, parameters: Parameters) -> int:
        result: CursorResult[tuple[object, ...]] = await self._connection.execute(text(statement), parameters)
        return result.rowcount


class DatabaseStore:
    """Implements :class:`epc.ocs.store.LedgerStore`; the same statements as the SQLite store. Call :meth:`open` first."""

    def __init__(self, url: URL) -> None:
        self._name = url.render_as_string(hide_password=True)
        try:
            self._engine = create_async_engine(url, pool_pre_ping=True)
        except (SQLAlchemyError, ValueError, ImportError) as error:
            raise StoreError(f"{self._name}: {error}") from error

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        async with self.transaction() as transaction:
            await transaction.execute(schema.CREATE_VERSION_TABLE, {})
        async with self.transaction() as transaction:
            [[version]] = await transaction.fetch(schema.READ_VERSION, {})
            version = int(version or 0)
            if version > schema.LATEST:
                raise schema.too_new(self._name, version)
            for number, statements in schema.MIGRATIONS:
                if number > version:
                    for statement in statements:
                        await transaction.execute(statement, {})
                    await transaction.execute(schema.WRITE_VERSION, {"version": number})

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        try:
            async with self._engine.begin() as connection:
                yield _DatabaseTransaction(connection)
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"{self._name}: {error}") from error

    async def close(self) -> None:
        await self._engine.dispose()
