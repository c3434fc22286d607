"""What a node asks of a database: transactions of plain statements, and tables that are as its release knows them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

Value = str | int | None
Parameters = dict[str, Value]
Row = tuple[Value, ...]

FORMS = "allowed: sqlite:///FILE (relative), sqlite:////FILE (absolute), sqlite:// (in memory), postgresql://USER:PASSWORD@HOST/NAME"


class StoreError(Exception):
    """The database refused or cannot be used; the text says what to do."""


class Schema(NamedTuple):
    """Tables as numbered migrations. Append only: a released migration never changes; number N brings the schema from version N-1 to N.

    One dialect for every database: named parameters, standard types, no upsert and no RETURNING.
    """

    version_table: str                                      # the schema's own, since several share a database
    migrations: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def latest(self) -> int:
        return self.migrations[-1][0]

    @property
    def create_version_table(self) -> str:
        return f"CREATE TABLE IF NOT EXISTS {self.version_table} (version INTEGER NOT NULL PRIMARY KEY)"

    @property
    def read_version(self) -> str:
        return f"SELECT MAX(version) FROM {self.version_table}"

    @property
    def write_version(self) -> str:
        return f"INSERT INTO {self.version_table} (version) VALUES (:version)"

    def missing(self, database: str, version: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """The migrations that a database of ``version`` needs; raises :class:`StoreError` when it is a later release's."""
        if version > self.latest:
            raise StoreError(f"{database}: schema version {version} is newer than this program's, which is {self.latest}: update the program")
        return tuple([migration for migration in self.migrations if migration[0] > version])


class Transaction(Protocol):
    """Statements of which all hold or none."""

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]: ...

    async def execute(self, statement: str, parameters: Parameters) -> int:
        """The number of rows changed."""


class Database(Protocol):
    """Open it with :func:`epc.node.database.open_database`."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits at its end, rolls back at an exception. What is committed survives the death of this process.

        Raises :class:`StoreError` when the database cannot do it.
        """

    async def close(self) -> None: ...
