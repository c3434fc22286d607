"""How the value part of one information element is written and read.

A :class:`Coding` maps a Python value to the octets of a value part and back; a :class:`HalfCoding` does so for a half octet, as the sixteen
values that its four bits can mean. Message tables (``epc.wire.nas.table``) combine them with a format of TS 24.007 clause 11.2.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from epc.wire.errors import WireError

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)


@dataclass(frozen=True, slots=True)
class Coding(Generic[T]):
    """``encode`` and ``decode`` of a value part; ``decode`` raises :class:`WireError`, also for a wrong length."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class HalfCoding(Generic[T]):
    """``encode`` gives four bits; ``values`` lists what each of the sixteen combinations means."""

    encode: Callable[[T], int]
    values: tuple[T, ...]


def require_length(octets: bytes, minimum: int, maximum: int | None = None) -> None:
    """Raise :class:`WireError` unless ``minimum`` <= length <= ``maximum`` (``None``: unbounded)."""
    if len(octets) < minimum or (maximum is not None and len(octets) > maximum):
        raise WireError(f"length {len(octets)} is not allowed")


def opaque(minimum: int = 0, maximum: int | None = None) -> Coding[bytes]:
    """Octets handed through as they are; decoded on demand, or never."""

    def check(octets: bytes) -> bytes:
        require_length(octets, minimum, maximum)
        return octets

    return Coding(check, check)


def one_octet(enumeration: type[E]) -> Coding[E | int]:
    """One octet that enumerates; a value without a name stays an ``int``."""
    meaning: tuple[E | int, ...] = tuple(_named(enumeration, range(256)))

    def decode(octets: bytes) -> E | int:
        if not octets:
            raise WireError("empty")
        return meaning[octets[0]]

    return Coding(_encode_octet, decode)


def half_octet(enumeration: type[E], *, bits: int = 4) -> HalfCoding[E | int]:
    """A half octet that enumerates in its low ``bits``; the others are spare and ignored on receipt."""
    return HalfCoding(_encode_half_octet, tuple(_named(enumeration, [value & (1 << bits) - 1 for value in range(16)])))


def _named(enumeration: type[E], values: Iterable[int]) -> Iterable[E | int]:
    members = {int(member): member for member in enumeration}
    return [members.get(value, value) for value in values]


def _encode_octet(value: int) -> bytes:
    return bytes((value,))


def _encode_half_octet(value: int) -> int:
    return int(value)


def _decode_octet(octets: bytes) -> int:
    require_length(octets, 1)
    return octets[0]


OCTETS = opaque()
OCTET: Coding[int] = Coding(_encode_octet, _decode_octet)
NIBBLE: HalfCoding[int] = HalfCoding(_encode_half_octet, tuple(range(16)))
