"""Control-plane TEIDs of a node, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from epc.wire.identity import Teid

T = TypeVar("T")


class TeidTable(Generic[T]):
    """Allocates TEIDs and finds their owners (TS 29.274 clause 8.22, TS 23.003 clause 17.7).

    They count up from where the caller says, a random number at best: a restarted node does not soon hand out what a peer still uses for
    somebody else, and a TEID that was given back is used again as late as possible. 0 is never given.
    """

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._owners: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[T]:
        return iter(self._owners.values())

    def allocate(self, owner: T) -> Teid:
        teid = self._next % 0x100000000
        while not teid or teid in self._owners:
            teid = (teid + 1) % 0x100000000
        self._next = teid + 1
        self._owners[teid] = owner
        return Teid(teid)

    def get(self, teid: int | None) -> T | None:
        return None if teid is None else self._owners.get(teid)

    def release(self, teid: int) -> None:
        self._owners.pop(teid, None)
