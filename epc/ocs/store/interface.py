"""What the OCS asks of its database: transactions. What happens in them is :class:`epc.ocs.store.books.Books`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

Value = str | int | None
Parameters = dict[str, Value]
Row = tuple[Value, ...]


class StoreError(Exception):
    """The database refused or cannot be used; the text says what to do."""


class Transaction(Protocol):
    """Statements of which all hold or none."""

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]: ...

    async def execute(self, statement: str, parameters: Parameters) -> int:
        """The number of rows changed."""


class LedgerStore(Protocol):
    """Open it with :func:`epc.ocs.store.open_store`."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits at its end, rolls back at an exception. What is committed survives the death of this process.

        Raises :class:`StoreError` when the database cannot do it.
        """

    async def close(self) -> None: ...
