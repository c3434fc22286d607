"""The USIM's side of EPS-AKA: TS 33.102 clauses 6.3.3 and C.2, TS 33.401 clause 6.1.1.

A pure state machine: the only state is the array of the highest SEQ accepted for each IND.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from epc.security.authentication import AuthenticationAlgorithm
from epc.security.eps_aka import AMF_SEPARATION_BIT, DELTA, IND_BITS, IND_MASK, build_auts, derive_kasme


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The network proved itself, and this is the answer to it."""

    res: bytes
    ck: bytes
    ik: bytes
    kasme: bytes
    sqn: int        # the SQN that was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class MacFailure:
    """The challenge was not made with this subscriber's key: EMM cause 20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynchFailure:
    """The challenge is old, or too far ahead: EMM cause 21 with ``auts`` (14 octets)."""

    auts: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NonEpsAuthentication:
    """The separation bit of AMF is 0, the vector was made for another access: EMM cause 26."""


Outcome = Success | MacFailure | SynchFailure | NonEpsAuthentication


class Usim:
    """Verifies challenges for one subscriber.

    ``delta`` bounds how far SEQ may jump forward; ``age_limit`` (L, off when ``None``) how far a challenge's SEQ may lie below the
    highest one seen. ``seq_ms`` restores the array that :attr:`seq_ms` gave earlier.
    """

    __slots__ = ("_age_limit", "_algorithm", "_delta", "_seq_ms")

    def __init__(self, algorithm: AuthenticationAlgorithm, *, seq_ms: Mapping[int, int] | None = None, delta: int = DELTA,
                 age_limit: int | None = None) -> None:
        self._algorithm = algorithm
        self._delta = delta
        self._age_limit = age_limit
        # IND -> highest SEQ accepted with it. A dict, for most of the 32 entries of a young USIM are still 0.
        self._seq_ms: dict[int, int] = dict(seq_ms or {})

    @property
    def seq_ms(self) -> dict[int, int]:
        """The array SEQ_MS by IND, without the entries that are still 0; for keeping on disk."""
        return dict(self._seq_ms)

    @property
    def sqn_ms(self) -> int:
        """SQN_MS, the highest sequence number accepted so far (TS 33.102 clause C.2.2)."""
        return max((seq << IND_BITS | ind for ind, seq in self._seq_ms.items()), default=0)

    def advance_to(self, sqn: int) -> None:
        """Take ``sqn`` as accepted, as a USIM that has been used elsewhere."""
        self._seq_ms[sqn & IND_MASK] = sqn >> IND_BITS

    def authenticate(self, rand: bytes, autn: bytes, plmn: str) -> Outcome:
        """Answer a challenge received in the network ``plmn``; only :class:`Success` changes the state.

        The mobile equipment looks at the separation bit before it hands the challenge to the USIM, so a vector of another access
        uses up no sequence number.
        """
        if len(rand) != 16 or len(autn) != 16:
            return MacFailure()
        amf = autn[6:8]
        if not int.from_bytes(amf, "big") & AMF_SEPARATION_BIT:
            return NonEpsAuthentication()
        res, ck, ik, ak = self._algorithm.f2_to_f5(rand)
        sqn = int.from_bytes(autn[:6], "big") ^ int.from_bytes(ak, "big")
        if not hmac.compare_digest(self._algorithm.f1(rand, sqn.to_bytes(6, "big"), amf), autn[8:]):
            return MacFailure()
        if not self._is_fresh(sqn):
            return SynchFailure(auts=build_auts(self._algorithm, rand=rand, sqn_ms=self.sqn_ms))
        self._seq_ms[sqn & IND_MASK] = sqn >> IND_BITS
        return Success(res=res, ck=ck, ik=ik, kasme=derive_kasme(ck, ik, plmn, autn[:6]), sqn=sqn)

    def _is_fresh(self, sqn: int) -> bool:
        """TS 33.102 clause C.2.2: no jump ahead, not too old, and above all that came with the same IND."""
        seq = sqn >> IND_BITS
        highest = self.sqn_ms >> IND_BITS
        if seq - highest > self._delta:
            return False
        if self._age_limit is not None and highest - seq >= self._age_limit:
            return False
        return seq > self._seq_ms.get(sqn & IND_MASK, 0)
