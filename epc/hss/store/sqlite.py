"""The default store: one SQLite file.

A power cut may cost the last moments of one that is not opened with ``?synchronous=FULL``; an SQN that went back this way is repaired by
the UE's next re-synchronisation (TS 33.102 clause 6.3.5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import islice

from epc.hss.store import schema
from epc.hss.store.interface import SubscriberExists
from epc.hss.store.subscriber import PgwIdentity, Subscriber
from epc.node.database import SqliteDatabase

CACHE_KIB = 16_000          # ten thousand subscribers' pages; SQLite's own 2 MB costs 30 % more CPU an attach there


class SqliteStore:
    """Implements :class:`epc.hss.store.SubscriberStore`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._connection = database.connection
        self._execute = database.connection.execute
        self._transaction = database.atomic
        self._errors = database.errors

    async def get(self, imsi: str) -> Subscriber | None:
        with self._errors():
            return self._get(imsi)

    def _get(self, imsi: str) -> Subscriber | None:
        return schema.read_joined(self._execute(schema.SELECT_SUBSCRIBER, {"imsi": imsi}).fetchall())

    async def advance_sqn(self, imsi: str, *, old: int, new: int) -> bool:
        with self._errors():
            return self._execute(schema.ADVANCE_SQN, {"imsi": imsi, "old": old, "new": new}).rowcount == 1

    async def register_mme(self, imsi: str, *, mme_host: str, mme_realm: str, visited_plmn: str, imeisv: str | None) -> None:
        with self._errors():
            self._execute(schema.REGISTER_MME, {
                "imsi": imsi, "mme_host": mme_host, "mme_realm": mme_realm, "visited_plmn": visited_plmn, "imeisv": imeisv})

    async def set_purged(self, imsi: str, *, mme_host: str) -> bool:
        with self._errors():
            return self._execute(schema.SET_PURGED, {"imsi": imsi, "mme_host": mme_host}).rowcount == 1

    async def deregister_mme(self, imsi: str) -> None:
        with self._errors():
            self._execute(schema.DEREGISTER_MME, {"imsi": imsi})

    async def set_imeisv(self, imsi: str, imeisv: str) -> None:
        with self._errors():
            self._execute(schema.SET_IMEISV, {"imsi": imsi, "imeisv": imeisv})

    async def set_pgw(self, imsi: str, *, context_id: int, pgw: PgwIdentity | None) -> None:
        with self._errors():
            self._execute(schema.SET_PGW, {"imsi": imsi, "context_id": context_id, **schema.pgw_columns(pgw)})

    async def put(self, subscriber: Subscriber, *, replace: bool = False) -> None:
        await self.put_many((subscriber,), replace=replace)

    async def put_many(self, subscribers: Iterable[Subscriber], *, replace: bool = False) -> int:
        total = 0
        remaining = iter(subscribers)
        while batch := list(islice(remaining, schema.ROWS_PER_TRANSACTION)):
            with self._errors(), self._transaction():
                for position, subscriber in enumerate(batch):
                    old = self._get(subscriber.imsi)
                    if old is not None:
                        if not replace:
                            raise SubscriberExists(subscriber.imsi)
                        self._execute(schema.DELETE_APNS, {"imsi": subscriber.imsi})
                        self._execute(schema.DELETE_SUBSCRIBER, {"imsi": subscriber.imsi})
                        batch[position] = schema.keep_history(old, subscriber)
                self._connection.executemany(schema.INSERT_SUBSCRIBER, map(schema.subscriber_row, batch))
                self._connection.executemany(schema.INSERT_APN, (row for subscriber in batch for row in schema.apn_rows(subscriber)))
            total += len(batch)
        return total

    async def remove(self, imsi: str) -> bool:
        return await self.remove_range(imsi, imsi) == 1

    async def remove_range(self, first: str, last: str) -> int:
        with self._errors(), self._transaction():
            parameters = {"first": first, "last": last, "digits": len(first)}
            self._execute(schema.DELETE_RANGE_APNS, parameters)
            return self._execute(schema.DELETE_RANGE, parameters).rowcount

    async def subscribers(self, *, first: str = "", last: str = "") -> AsyncIterator[Subscriber]:
        after = ""
        while True:
            with self._errors():
                page = self._execute(schema.SELECT_PAGE, {
                    "after": after, "first": first, "last": last or schema.AFTER_EVERY_IMSI, "page": schema.PAGE}).fetchall()
                if not page:
                    return
                apns = self._execute(schema.SELECT_PAGE_APNS, {"first": page[0][0], "last": page[-1][0]}).fetchall()
                found = schema.read_page(page, apns)
            for subscriber in found:
                yield subscriber
            after = page[-1][0]

    async def count(self) -> int:
        with self._errors():
            number: int = self._execute(schema.COUNT).fetchone()[0]
            return number

    async def count_by_mme(self) -> dict[str, int]:
        with self._errors():
            return dict(self._execute(schema.COUNT_BY_MME).fetchall())

    async def serving_mmes(self) -> list[tuple[str, str | None]]:
        with self._errors():
            return [(host, realm) for host, realm in self._execute(schema.SERVING_MMES).fetchall()]

    async def close(self) -> None:
        self._connection.close()
