"""Reads ciphered NAS for ladders and captures, with the keys that the lab's own MME holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from epc.peer.nas_security import parse_security_header
from epc.security.eps_aka import AlgorithmType, derive_algorithm_key
from epc.security.nas_algorithms import Direction, Eea, Eia, eea, eia
from epc.wire.errors import WireError

_OVERFLOWS_TRIED = 4        # a lab session rarely counts past 1024 messages


class NasKeys(NamedTuple):
    """What identifies a security context: from these the NAS keys follow."""

    kasme: bytes
    eea: Eea
    eia: Eia


class _Derived(NamedTuple):
    eea: Eea
    eia: Eia
    k_nas_enc: bytes
    k_nas_int: bytes


class NasReader:
    """Finds the context that a protected message belongs to by its authentication code."""

    def __init__(self) -> None:
        self._contexts: dict[NasKeys, _Derived] = {}

    def learn(self, keys: Iterable[NasKeys]) -> None:
        for each in keys:
            if each not in self._contexts:
                self._contexts[each] = _Derived(
                    each.eea, each.eia, derive_algorithm_key(each.kasme, AlgorithmType.NAS_ENC, each.eea),
                    derive_algorithm_key(each.kasme, AlgorithmType.NAS_INT, each.eia))

    def read(self, octets: bytes, uplink: bool) -> bytes | None:
        """The plain message inside ``octets``, or None when no known context protected it."""
        try:
            header = parse_security_header(octets)
        except WireError:
            return None
        direction = Direction.UPLINK if uplink else Direction.DOWNLINK
        for keys, count in self._candidates(header.sequence_number):
            if eia(keys.eia, keys.k_nas_int, count, 0, direction, octets[5:]) == header.mac:
                if header.header_type in (2, 4):
                    return eea(keys.eea, keys.k_nas_enc, count, 0, direction, header.payload)
                return header.payload
        return None

    def _candidates(self, sequence_number: int) -> Iterator[tuple[_Derived, int]]:
        for overflow in range(_OVERFLOWS_TRIED):
            for keys in reversed(self._contexts.values()):
                yield keys, overflow << 8 | sequence_number
