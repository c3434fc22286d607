"""The HSS's subscribers: SQLite by default, any other database by URL."""

from __future__ import annotations

from epc.hss.store.interface import SubscriberExists, SubscriberStore
from epc.hss.store.schema import SCHEMA
from epc.hss.store.sqlite import CACHE_KIB, SqliteStore
from epc.hss.store.subscriber import NO_BARRING, Algorithm, ApnConfiguration, PgwIdentity, Subscriber
from epc.node.database import SqliteDatabase, StoreError, open_database

__all__ = [
    "NO_BARRING", "Algorithm", "ApnConfiguration", "PgwIdentity", "StoreError", "Subscriber", "SubscriberExists", "SubscriberStore", "open_store",
]


async def open_store(url: str) -> SubscriberStore:
    """Open the database at ``url`` and bring its tables up to date; raises :class:`StoreError`."""
    database = await open_database(url, SCHEMA, cache_kib=CACHE_KIB)
    if isinstance(database, SqliteDatabase):
        return SqliteStore(database)

    # Imported here: SQLAlchemy costs 0.3 s and 20 MB that the default store does without.
    from epc.hss.store.database import DatabaseStore
    from epc.node.database.engine import EngineDatabase

    assert isinstance(database, EngineDatabase)
    return DatabaseStore(database)
