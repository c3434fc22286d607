"""Any other database that SQLAlchemy has an async driver for; PostgreSQL through asyncpg is the one that is tested."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import islice

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncConnection

from epc.hss.store import schema
from epc.hss.store.interface import SubscriberExists
from epc.hss.store.subscriber import PgwIdentity, Subscriber
from epc.node.database import Parameters
from epc.node.database.engine import EngineDatabase


class DatabaseStore:
    """Implements :class:`epc.hss.store.SubscriberStore`; the same statements as the SQLite store."""

    def __init__(self, database: EngineDatabase) -> None:
        self._engine = database.engine
        self._errors = database.errors

    async def _write(self, statement: str, parameters: Parameters) -> int:
        with self._errors():
            async with self._engine.begin() as connection:
                result: CursorResult[tuple[object, ...]] = await connection.execute(text(statement), parameters)
                return result.rowcount

    async def get(self, imsi: str) -> Subscriber | None:
        with self._errors():
            async with self._engine.connect() as connection:
                return await self._get(connection, imsi)

    @staticmethod
    async def _get(connection: AsyncConnection, imsi: str) -> Subscriber | None:
        rows = await connection.execute(text(schema.SELECT_SUBSCRIBER), {"imsi": imsi})
        return schema.read_joined([tuple(row) for row in rows])

    async def advance_sqn(self, imsi: str, *, old: int, new: int) -> bool:
        return await self._write(schema.ADVANCE_SQN, {"imsi": imsi, "old": old, "new": new}) == 1

    async def register_mme(self, imsi: str, *, mme_host: str, mme_realm: str, visited_plmn: str, imeisv: str | None) -> None:
        await self._write(schema.REGISTER_MME, {
                "imsi": imsi, "mme_host": mme_host, "mme_realm": mme_realm, "visited_plmn": visited_plmn, "imeisv": imeisv})

    async def set_purged(self, imsi: str, *, mme_host: str) -> bool:
        return await self._write(schema.SET_PURGED, {"imsi": imsi, "mme_host": mme_host}) == 1

    async def deregister_mme(self, imsi: str) -> None:
        await self._write(schema.DEREGISTER_MME, {"imsi": imsi})

    async def set_imeisv(self, imsi: str, imeisv: str) -> None:
        await self._write(schema.SET_IMEISV, {"imsi": imsi, "imeisv": imeisv})

    async def set_pgw(self, imsi: str, *, context_id: int, pgw: PgwIdentity | None) -> None:
        await self._write(schema.SET_PGW, {"imsi": imsi, "context_id": context_id, **schema.pgw_columns(pgw)})

    async def put(self, subscriber: Subscriber, *, replace: bool = False) -> None:
        await self.put_many((subscriber,), replace=replace)

    async def put_many(self, subscribers: Iterable[Subscriber], *, replace: bool = False) -> int:
        total = 0
        remaining = iter(subscribers)
        while batch := list(islice(remaining, schema.ROWS_PER_TRANSACTION)):
            with self._errors():
                async with self._engine.begin() as connection:
                    await self._put_batch(connection, batch, replace)
            total += len(batch)
        return total

    async def _put_batch(self, connection: AsyncConnection, batch: list[Subscriber], replace: bool) -> None:
        for position, subscriber in enumerate(batch):
            old = await self._get(connection, subscriber.imsi)
            if old is not None:
                if not replace:
                    raise SubscriberExists(subscriber.imsi)
                await connection.execute(text(schema.DELETE_APNS), {"imsi": subscriber.imsi})
                await connection.execute(text(schema.DELETE_SUBSCRIBER), {"imsi": subscriber.imsi})
                batch[position] = schema.keep_history(old, subscriber)
        await connection.execute(text(schema.INSERT_SUBSCRIBER), [schema.subscriber_row(subscriber) for subscriber in batch])
        if rows := [row for subscriber in batch for row in schema.apn_rows(subscriber)]:
            await connection.execute(text(schema.INSERT_APN), rows)

    async def remove(self, imsi: str) -> bool:
        return await self.remove_range(imsi, imsi) == 1

    async def remove_range(self, first: str, last: str) -> int:
        parameters: Parameters = {"first": first, "last": last, "digits": len(first)}
        with self._errors():
            async with self._engine.begin() as connection:
                await connection.execute(text(schema.DELETE_RANGE_APNS), parameters)
                result: CursorResult[tuple[object, ...]] = await connection.execute(text(schema.DELETE_RANGE), parameters)
                return result.rowcount

    async def subscribers(self, *, first: str = "", last: str = "") -> AsyncIterator[Subscriber]:
        after = ""
        while True:
            parameters: Parameters = {"after": after, "first": first, "last": last or schema.AFTER_EVERY_IMSI, "page": schema.PAGE}
            with self._errors():
                async with self._engine.connect() as connection:
                    page = [tuple(row) for row in await connection.execute(text(schema.SELECT_PAGE), parameters)]
                    if not page:
                        return
                    apns = await connection.execute(text(schema.SELECT_PAGE_APNS), {"first": page[0][0], "last": page[-1][0]})
                    found = schema.read_page(page, [tuple(apn) for apn in apns])
            for subscriber in found:
                yield subscriber
            after = page[-1][0]

    async def count(self) -> int:
        with self._errors():
            async with self._engine.connect() as connection:
                number: int = (await connection.execute(text(schema.COUNT))).scalar_one()
                return number

    async def count_by_mme(self) -> dict[str, int]:
        with self._errors():
            async with self._engine.connect() as connection:
                return {str(row[0]): int(row[1]) for row in await connection.execute(text(schema.COUNT_BY_MME))}

    async def serving_mmes(self) -> list[tuple[str, str | None]]:
        with self._errors():
            async with self._engine.connect() as connection:
                return [(str(row[0]), row[1]) for row in await connection.execute(text(schema.SERVING_MMES))]

    async def close(self) -> None:
        await self._engine.dispose()
