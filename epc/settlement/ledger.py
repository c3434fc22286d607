"""The OCS's ledger as settlement needs it: what subscribers were debited for."""

from __future__ import annotations

from collections.abc import Iterable

from epc.ocs.store import Books, Database, EntryKind
from epc.settlement.sources import LedgerUse


async def read_ledger(store: Database, imsis: Iterable[str]) -> list[LedgerUse]:
    """Every debit of these subscribers; who has no account has none."""
    async with store.transaction() as transaction:
        books = Books(transaction)
        return [
            LedgerUse(
                imsi=imsi, rating_group=entry.rating_group or 0, octets=entry.octets or 0, visited_plmn=entry.visited_plmn or "",
                amount=-entry.amount)
            for imsi in sorted(set(imsis)) for entry in await books.entries(imsi) if entry.kind == EntryKind.DEBIT]
