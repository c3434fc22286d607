"""The OCS's accounts, ledger and sessions: SQLite by default, any other database by URL."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from epc.ocs.store.books import Account, Books, CreditSession, Entry, EntryKind, Service, ServiceKey
from epc.ocs.store.interface import LedgerStore, StoreError
from epc.ocs.store.sqlite import SYNCHRONOUS, SqliteStore

__all__ = ["FORMS", "Account", "Books", "CreditSession", "Entry", "EntryKind", "LedgerStore", "Service", "ServiceKey", "StoreError", "open_store"]

DEFAULT_DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "mysql": "mysql+aiomysql", "mariadb": "mariadb+aiomysql"}
FORMS = "allowed: sqlite:///FILE (relative), sqlite:////FILE (absolute), sqlite:// (in memory), postgresql://USER:PASSWORD@HOST/NAME"


async def open_store(url: str) -> LedgerStore:
    """Open the database at ``url`` and bring its schema up to date; raises :class:`StoreError`. The URL is written as the HSS's is."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreError(f"{url!r} is not a database URL; {FORMS}")
    if scheme == "sqlite":
        return _open_sqlite(url, rest)

    # Imported here: SQLAlchemy costs 0.3 s and 20 MB that the default store does without.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from epc.ocs.store.database import DatabaseStore

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(f"{url!r} is not a database URL; {FORMS}") from None
    store = DatabaseStore(parsed.set(drivername=DEFAULT_DRIVERS.get(parsed.drivername, parsed.drivername)))
    await store.open()
    return store


def _open_sqlite(url: str, rest: str) -> SqliteStore:
    path = rest.partition("?")[0]
    if path and not path.startswith("/"):
        raise StoreError(f"{url!r}: three slashes before a relative path, four before an absolute one; {FORMS}")
    options = dict(parse_qsl(urlsplit(url).query))
    synchronous = options.pop("synchronous", "NORMAL").upper()
    if options or synchronous not in SYNCHRONOUS:
        raise StoreError(f"{url!r}: the only option is synchronous={'|'.join(SYNCHRONOUS)}")
    return SqliteStore(path[1:] or ":memory:", synchronous=synchronous)
