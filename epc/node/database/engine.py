"""Any other database that SQLAlchemy has an async driver for; PostgreSQL through asyncpg is the one that is tested."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import CursorResult, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from epc.node.database.interface import Parameters, Row, Schema, StoreError, Transaction


class _EngineTransaction:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        return [tuple(row) for row in await self._connection.execute(text(statement), parameters)]

    async def execute(self, statement: str, parameters: Parameters) -> int:
        result: CursorResult[tuple[object, ...]] = await self._connection.execute(text(statement), parameters)
        return result.rowcount


class EngineDatabase:
    """Implements :class:`epc.node.database.Database`. Call :meth:`open` first."""

    def __init__(self, url: URL, schema: Schema) -> None:
        self._name = url.render_as_string(hide_password=True)
        self._schema = schema
        with self.errors():
            self.engine = create_async_engine(url, pool_pre_ping=True)

    async def open(self) -> None:
        """Connect and bring the tables up to date."""
        schema = self._schema
        async with self.transaction() as transaction:
            await transaction.execute(schema.create_version_table, {})
        async with self.transaction() as transaction:
            [[version]] = await transaction.fetch(schema.read_version, {})
            for number, statements in schema.missing(self._name, int(version or 0)):
                for statement in statements:
                    await transaction.execute(statement, {})
                await transaction.execute(schema.write_version, {"version": number})

    @contextmanager
    def errors(self) -> Iterator[None]:
        """A database that is down or full is one failed request for the node, not the end of it."""
        try:
            yield
        except (SQLAlchemyError, ValueError, OSError, ImportError) as error:
            raise StoreError(f"{self._name}: {error}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        try:
            async with self.engine.begin() as connection:
                yield _EngineTransaction(connection)
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"{self._name}: {error}") from error

    async def close(self) -> None:
        await self.engine.dispose()
