"""What an authentication algorithm set offers, whichever one the operator chose: the functions of TS 33.102 clause 6.3.

USIM and authentication centre hold the same subscriber key and therefore the same object; :class:`~epc.security.milenage.Milenage`
and :class:`~epc.security.tuak.Tuak` are the two sets that 3GPP specifies.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Response(NamedTuple):
    """What f2, f3, f4 and f5 make of one RAND."""

    res: bytes      # response to the challenge, 4 to 16 octets in EPS
    ck: bytes       # cipher key
    ik: bytes       # integrity key
    ak: bytes       # anonymity key, 6 octets: conceals SQN in AUTN


class AuthenticationAlgorithm(Protocol):
    """f1 to f5* for one subscriber. ``rand`` is 16 octets, ``sqn`` 6, ``amf`` 2."""

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, the network's proof in AUTN."""
        ...

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S, the USIM's proof in AUTS."""
        ...

    def f2(self, rand: bytes) -> bytes:
        """RES."""
        ...

    def f3(self, rand: bytes) -> bytes:
        """CK."""
        ...

    def f4(self, rand: bytes) -> bytes:
        """IK."""
        ...

    def f5(self, rand: bytes) -> bytes:
        """AK, the anonymity key of AUTN."""
        ...

    def f5_star(self, rand: bytes) -> bytes:
        """AK of AUTS."""
        ...

    def f2_to_f5(self, rand: bytes) -> Response:
        """The four results of one challenge in one go."""
        ...


def require_length(name: str, value: bytes, *allowed: int) -> None:
    """Raise ``ValueError`` with a plain sentence unless ``value`` has one of the ``allowed`` lengths in octets."""
    if len(value) not in allowed:
        raise ValueError(f"{name} must have {' or '.join(map(str, allowed))} octets, not {len(value)}")
