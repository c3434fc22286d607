"""The IPv4 addresses of one APN (TS 23.401 clause 5.3.1.2.1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network


class PoolEmpty(Exception):
    """Every address is in use."""


class AddressTaken(Exception):
    """The wanted address is in use, or not one that a phone may have."""


class AddressPool:
    """Gives each address once; one that came back is given again only after all that were never used, so as late as possible."""

    def __init__(self, network: IPv4Network, reserved: Iterable[IPv4Address] = ()) -> None:
        self._first = int(network.network_address) + 1
        self._last = int(network.broadcast_address) - 1
        self._reserved = frozenset(number for number in map(int, reserved) if self._first <= number <= self._last)
        self._next = self._first
        self._returned: OrderedDict[int, None] = OrderedDict()
        self._in_use: set[int] = set()

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._in_use)

    @property
    def size(self) -> int:
        return self._last - self._first + 1 - len(self._reserved)

    @property
    def free(self) -> int:
        return self.size - len(self._in_use)

    def allocate(self) -> IPv4Address:
        """Raises :class:`PoolEmpty`."""
        while self._next <= self._last:
            number = self._next
            self._next += 1
            if number not in self._reserved and number not in self._in_use:
                self._in_use.add(number)
                return IPv4Address(number)
        if self._returned:
            number, _ = self._returned.popitem(last=False)
            self._in_use.add(number)
            return IPv4Address(number)
        raise PoolEmpty

    def take(self, address: IPv4Address) -> None:
        """This very address, as the subscription says; raises :class:`AddressTaken`."""
        number = int(address)
        if not self._first <= number <= self._last or number in self._reserved or number in self._in_use:
            raise AddressTaken
        self._returned.pop(number, None)
        self._in_use.add(number)

    def release(self, address: IPv4Address) -> None:
        number = int(address)
        if number in self._in_use:
            self._in_use.remove(number)
            if number < self._next:                 # one taken ahead of the count comes up again by itself
                self._returned[number] = None
