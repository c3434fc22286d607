"""Databases of nodes: SQLite by default, any other by URL. What is in the tables is each node's own business.

A node declares its tables as a :class:`Schema`; several nodes may have theirs in one database. ``open_database(url, SCHEMA)`` brings
them up to date.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from epc.node.database.interface import FORMS, Database, Parameters, Row, Schema, StoreError, Transaction, Value
from epc.node.database.sqlite import SYNCHRONOUS, SqliteDatabase

__all__ = ["FORMS", "Database", "Parameters", "Row", "Schema", "SqliteDatabase", "StoreError", "Transaction", "Value", "check_database_url",
           "open_database"]

_DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "mysql": "mysql+aiomysql", "mariadb": "mariadb+aiomysql"}


def check_database_url(text: str) -> str:
    """Validator of a configuration's field: something that looks like a database URL."""
    if "://" not in text:
        raise ValueError(f"no database URL; {FORMS}")
    return text


async def open_database(url: str, schema: Schema, *, cache_kib: int | None = None) -> Database:
    """Open the database at ``url`` and bring the tables of ``schema`` up to date; raises :class:`StoreError`.

    ``sqlite:///hss.sqlite`` is a file in the working directory, ``sqlite:////var/lib/epclab/hss.sqlite`` an absolute one,
    ``sqlite://`` lives in memory. Anything else goes to SQLAlchemy: ``postgresql://user:password@host/name``.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreError(f"{url!r} is not a database URL; {FORMS}")
    if scheme == "sqlite":
        return _open_sqlite(url, rest, schema, cache_kib)

    # Imported here: SQLAlchemy costs 0.3 s and 20 MB that the default database does without.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from epc.node.database.engine import EngineDatabase

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(f"{url!r} is not a database URL; {FORMS}") from None
    database = EngineDatabase(parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername)), schema)
    await database.open()
    return database


def _open_sqlite(url: str, rest: str, schema: Schema, cache_kib: int | None) -> SqliteDatabase:
    path = rest.partition("?")[0]
    if path and not path.startswith("/"):
        raise StoreError(f"{url!r}: three slashes before a relative path, four before an absolute one; {FORMS}")
    options = dict(parse_qsl(urlsplit(url).query))
    synchronous = options.pop("synchronous", "NORMAL").upper()
    if options or synchronous not in SYNCHRONOUS:
        raise StoreError(f"{url!r}: the only option is synchronous={'|'.join(SYNCHRONOUS)}")
    return SqliteDatabase(path[1:] or ":memory:", schema, synchronous=synchronous, cache_kib=cache_kib)
