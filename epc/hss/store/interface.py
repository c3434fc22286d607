"""What the HSS asks of its database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from epc.hss.store.subscriber import PgwIdentity, Subscriber
from epc.node.database import StoreError


class SubscriberExists(StoreError):
    """A subscriber with this IMSI is there already, and replacing it was not asked for."""

    def __init__(self, imsi: str) -> None:
        super().__init__(f"subscriber {imsi} exists already")
        self.imsi = imsi


class SubscriberStore(Protocol):
    """Subscribers by IMSI. Whatever a method changed is on disk, safe from the death of this process, when it returns.

    Open it with :func:`epc.hss.store.open_store`.
    """

    async def get(self, imsi: str) -> Subscriber | None: ...

    async def advance_sqn(self, imsi: str, *, old: int, new: int) -> bool:
        """Replace the SQN if it still is ``old``; False when somebody else was faster (or the subscriber is gone)."""

    async def register_mme(self, imsi: str, *, mme_host: str, mme_realm: str, visited_plmn: str, imeisv: str | None) -> None:
        """The subscriber is served by this MME from now on and is not purged; ``imeisv`` None keeps the one known."""

    async def set_purged(self, imsi: str, *, mme_host: str) -> bool:
        """Mark "UE purged" if ``mme_host`` is the registered MME; says whether it was."""

    async def deregister_mme(self, imsi: str) -> None:
        """Forget the serving MME."""

    async def set_imeisv(self, imsi: str, imeisv: str) -> None:
        """The equipment that the subscriber uses now."""

    async def set_pgw(self, imsi: str, *, context_id: int, pgw: PgwIdentity | None) -> None:
        """The PDN GW that serves this APN, None when none does any more."""

    async def put(self, subscriber: Subscriber, *, replace: bool = False) -> None:
        """Add one subscriber; raises :class:`SubscriberExists`.

        A replaced one keeps its registration, and the larger SQN unless K is another.
        """

    async def put_many(self, subscribers: Iterable[Subscriber], *, replace: bool = False) -> int:
        """Like :meth:`put` for many, in transactions of some thousands; raises :class:`SubscriberExists` at the first that is there already."""

    async def remove(self, imsi: str) -> bool: ...

    async def remove_range(self, first: str, last: str) -> int:
        """Remove every IMSI from ``first`` to ``last``, both of the same length; returns how many there were."""

    def subscribers(self, *, first: str = "", last: str = "") -> AsyncIterator[Subscriber]:
        """All, or those from ``first`` to ``last``, in order of IMSI, read page by page."""

    async def count(self) -> int: ...

    async def count_by_mme(self) -> dict[str, int]:
        """Registered, not purged subscribers of each serving MME (Origin-Host)."""

    async def serving_mmes(self) -> list[tuple[str, str | None]]:
        """Origin-Host and Origin-Realm of every MME that serves a subscriber."""

    async def close(self) -> None: ...
