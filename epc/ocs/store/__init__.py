"""The OCS's accounts, ledger and sessions: SQLite by default, any other database by URL."""

from __future__ import annotations

from epc.node.database import Database, StoreError, open_database
from epc.ocs.store.books import Account, Books, CreditSession, Entry, EntryKind, Service, ServiceKey
from epc.ocs.store.schema import SCHEMA

__all__ = ["Account", "Books", "CreditSession", "Database", "Entry", "EntryKind", "Service", "ServiceKey", "StoreError", "open_store"]


async def open_store(url: str) -> Database:
    """Open the database at ``url`` and bring the OCS's tables up to date; raises :class:`StoreError`. The URL is written as the HSS's is."""
    return await open_database(url, SCHEMA)
