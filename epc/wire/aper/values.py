"""Values that have no Python type of their own, and what a decoder keeps of what it does not know."""

from __future__ import annotations

from typing import Literal, NamedTuple

Criticality = Literal["reject", "ignore", "notify"]


class BitString(NamedTuple):
    """A BIT STRING: ``nbits`` bits, the first one being the most significant of ``value``."""

    value: int
    nbits: int

    @classmethod
    def of(cls, octets: bytes) -> BitString:
        """All the bits of ``octets``; addresses and keys are whole octets."""
        return cls(int.from_bytes(octets, "big"), 8 * len(octets))

    @property
    def octets(self) -> bytes:
        """The bits in octets, filled with zero bits at the end."""
        length = (self.nbits + 7) // 8
        return (self.value << (8 * length - self.nbits)).to_bytes(length, "big")


class UnknownIE(NamedTuple):
    """An information element whose id the schema does not have, kept as it came (``value`` is the open type's content)."""

    id: int
    criticality: Criticality
    value: bytes


class PrivateIE(NamedTuple):
    """A field of a PRIVATE MESSAGE: a local id, or an OBJECT IDENTIFIER as its arcs."""

    id: int | tuple[int, ...]
    criticality: Criticality
    value: bytes
