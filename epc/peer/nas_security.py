"""The EPS security context of one UE, as the UE and its MME both keep it: TS 24.301 (Release 17) clause 4.4, TS 33.401 clauses 6.5 and 8.

:class:`NasSecurityContext` turns plain NAS messages into protected ones and back, counts them in both directions, refuses what is
forged or replayed, and hands out KeNB. It works on octets in the format of TS 24.301 clause 9.1 and knows nothing of their content.

What can go wrong on receipt, all of them ``WireError``::

    WireError                 too short, not an EMM message, a security header type that does not belong here
    └── IntegrityError        the message authentication code is wrong: discard the message (TS 24.301 clause 4.4.4)
        └── ReplayError       the code is right, but for a NAS COUNT that has been used already
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from enum import Enum
from typing import NamedTuple

from epc.security.eps_aka import AlgorithmType, derive_algorithm_key, derive_kenb, derive_nh
from epc.security.nas_algorithms import Direction, Eea, Eia, eea, eia
from epc.wire.errors import WireError
from epc.wire.nas.enumerations import SecurityHeaderType

_CIPHERED = SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED
_NEW_CONTEXT = SecurityHeaderType.INTEGRITY_PROTECTED_WITH_NEW_EPS_SECURITY_CONTEXT                             # SECURITY MODE COMMAND
_NEW_CONTEXT_CIPHERED = SecurityHeaderType.INTEGRITY_PROTECTED_AND_CIPHERED_WITH_NEW_EPS_SECURITY_CONTEXT       # SECURITY MODE COMPLETE
_EMM = 0x07                     # protocol discriminator "EPS mobility management messages"
_HEADER_OCTETS = 6              # security header type and discriminator, NAS-MAC (4), sequence number
_LAST_COUNT = (1 << 24) - 1     # overflow counter (16 bits) and sequence number (8 bits)      TS 24.301 clause 4.4.3.1
_NAS_BEARER = 0                 # TS 33.401 clause 8.1


class Side(Enum):
    """Which end of the NAS connection keeps the context. The value is the direction in which it sends."""

    UE = Direction.UPLINK
    NETWORK = Direction.DOWNLINK


class IntegrityError(WireError):
    """The NAS-MAC does not fit the message."""


class ReplayError(IntegrityError):
    """The message was accepted before, or came after one that was sent later."""


class NasCountExhausted(Exception):
    """The next message would reuse a NAS COUNT. The keys are spent: run a new AKA (TS 24.301 clause 4.4.3.5)."""


class NoCommonAlgorithm(Exception):
    """UE and network have no algorithm in common that policy allows."""


class SecurityHeader(NamedTuple):
    """A security protected NAS message taken apart, nothing verified: TS 24.301 clause 9.1."""

    header_type: int
    mac: bytes
    sequence_number: int
    payload: bytes      # a plain NAS message, ciphered where the type says so and the algorithm is not EEA0


class Unprotected(NamedTuple):
    """A message that passed the integrity check."""

    plain: bytes
    header_type: int    # SecurityHeaderType
    nas_count: int      # 24 bits
    ciphered: bool


def security_header_type(octets: bytes) -> int:
    """The security header type of any EMM message; raises ``WireError`` when it is not one."""
    if not octets or octets[0] & 0x0F != _EMM:
        raise WireError("not an EPS mobility management message", ie="Protocol discriminator")
    return octets[0] >> 4


def parse_security_header(octets: bytes) -> SecurityHeader:
    """Take a protected message apart without verifying it, as one must before the keys are known."""
    header_type = security_header_type(octets)
    if not 1 <= header_type <= 4:
        raise WireError(f"security header type {header_type} is not that of a security protected message", ie="Security header type")
    if len(octets) < _HEADER_OCTETS + 2:
        raise WireError("truncated", offset=len(octets), ie="NAS message")
    return SecurityHeader(header_type, octets[1:5], octets[5], octets[_HEADER_OCTETS:])


class NasSecurityContext:
    """Keys, algorithms and counts of one EPS security context; mutable, one object at each end.

    A context made from a fresh KASME starts both counts at 0 (TS 33.401 clause 6.5); ``uplink_count`` and ``downlink_count`` restore a
    stored one. Both mean the NAS COUNT of the next message in that direction: the next to send, or the lowest one still accepted.
    """

    __slots__ = ("_k_nas_enc", "_k_nas_int", "_receive_direction", "_send_direction", "_uplink_count", "_downlink_count",  # noqa: RUF023
                 "eea", "eia", "kasme", "kenb_uplink_count", "ksi", "side")

    def __init__(self, *, side: Side, ksi: int, kasme: bytes, eea: Eea, eia: Eia, uplink_count: int = 0, downlink_count: int = 0) -> None:
        self.side = side
        self.ksi = ksi                  # eKSI, 0 to 6, allocated by the MME        TS 24.301 clause 9.9.3.21
        self.kasme = kasme
        self.eea = eea
        self.eia = eia
        #: NAS COUNT of the uplink message that KeNB is derived from: the latest SECURITY MODE COMPLETE or SERVICE REQUEST, or whatever
        #: initial message the owner sets it to (TS 33.401 clauses 7.2.6.2 and 7.2.6.3).
        self.kenb_uplink_count = 0
        self._send_direction = side.value
        self._receive_direction = Direction.DOWNLINK if side is Side.UE else Direction.UPLINK
        self._uplink_count = uplink_count
        self._downlink_count = downlink_count
        self._k_nas_enc = derive_algorithm_key(kasme, AlgorithmType.NAS_ENC, eea)
        self._k_nas_int = derive_algorithm_key(kasme, AlgorithmType.NAS_INT, eia)

    def __repr__(self) -> str:
        return (f"NasSecurityContext({self.side.name}, ksi={self.ksi}, {self.eea.name}, {self.eia.name}, "
                f"uplink_count={self._uplink_count}, downlink_count={self._downlink_count})")

    @property
    def uplink_count(self) -> int:
        """NAS COUNT of the next uplink message."""
        return self._uplink_count

    @property
    def downlink_count(self) -> int:
        """NAS COUNT of the next downlink message."""
        return self._downlink_count

    def with_algorithms(self, eea: Eea, eia: Eia) -> NasSecurityContext:
        """The same KASME under other algorithms, as a SECURITY MODE COMMAND without AKA may choose: the counts go on (TS 33.401 clause 6.5)."""
        return NasSecurityContext(side=self.side, ksi=self.ksi, kasme=self.kasme, eea=eea, eia=eia,
                                  uplink_count=self._uplink_count, downlink_count=self._downlink_count)

    def is_nearly_exhausted(self, margin: int = 1 << 10) -> bool:
        """Fewer than ``margin`` messages are left in a direction: time for the MME to run a new AKA (TS 24.301 clause 4.4.3.5)."""
        return max(self._uplink_count, self._downlink_count) > _LAST_COUNT - margin

    # --- sending -----------------------------------------------------------------------------------------------------------

    def protect(self, plain: bytes, *, new_context: bool = False, ciphered: bool = True) -> bytes:
        """``plain`` as a security protected NAS message, using up one NAS COUNT: TS 24.301 clause 4.4.3.

        ``new_context`` marks the two messages that take the context into use: the SECURITY MODE COMMAND (with ``ciphered=False``)
        and the SECURITY MODE COMPLETE. Raises :class:`NasCountExhausted` when no NAS COUNT is left.
        """
        count = self._take_count()
        direction = self._send_direction
        if ciphered:
            header_type = _NEW_CONTEXT_CIPHERED if new_context else _CIPHERED
            payload = eea(self.eea, self._k_nas_enc, count, _NAS_BEARER, direction, plain)
        else:
            header_type = _NEW_CONTEXT if new_context else SecurityHeaderType.INTEGRITY_PROTECTED
            payload = plain
        if direction is Direction.UPLINK and header_type == _NEW_CONTEXT_CIPHERED:
            self.kenb_uplink_count = count
        protected = bytes((count & 0xFF,)) + payload
        mac = eia(self.eia, self._k_nas_int, count, _NAS_BEARER, direction, protected)
        return bytes((header_type << 4 | _EMM,)) + mac + protected

    def protect_service_request(self) -> bytes:
        """The SERVICE REQUEST, four octets with KSI, five bits of the sequence number and the short MAC: TS 24.301 clause 8.2.25."""
        count = self._take_count()
        self.kenb_uplink_count = count
        head = bytes((SecurityHeaderType.SERVICE_REQUEST << 4 | _EMM, self.ksi << 5 | count & 0x1F))
        return head + eia(self.eia, self._k_nas_int, count, _NAS_BEARER, Direction.UPLINK, head)[2:]

    def _take_count(self) -> int:
        if self._send_direction is Direction.UPLINK:
            count = self._uplink_count
            self._uplink_count = min(count + 1, _LAST_COUNT + 1)
        else:
            count = self._downlink_count
            self._downlink_count = min(count + 1, _LAST_COUNT + 1)
        if count > _LAST_COUNT:
            raise NasCountExhausted(f"no {self._send_direction.name.lower()} NAS COUNT is left under KSI {self.ksi}")
        return count

    # --- receiving ---------------------------------------------------------------------------------------------------------

    def unprotect(self, octets: bytes) -> Unprotected:
        """Verify, decipher and count a security protected NAS message: TS 24.301 clauses 4.4.3.2 and 4.4.3.3.

        Nothing changes unless the message is accepted. Raises ``WireError``, :class:`IntegrityError` or :class:`ReplayError`.
        """
        header_type, mac, sequence_number, payload = parse_security_header(octets)
        direction = self._receive_direction
        count = self._verify(octets[5:], mac, sequence_number, 8)
        ciphered = header_type in (_CIPHERED, _NEW_CONTEXT_CIPHERED)
        if ciphered:
            payload = eea(self.eea, self._k_nas_enc, count, _NAS_BEARER, direction, payload)
            if direction is Direction.UPLINK and header_type == _NEW_CONTEXT_CIPHERED:
                self.kenb_uplink_count = count
        return Unprotected(payload, header_type, count, ciphered)

    def verify_service_request(self, octets: bytes) -> int:
        """Check the short MAC of a SERVICE REQUEST and count it; returns its NAS COUNT: TS 24.301 clauses 4.4.3.3 and 9.9.3.28."""
        if security_header_type(octets) < SecurityHeaderType.SERVICE_REQUEST or len(octets) != 4:
            raise WireError("not a SERVICE REQUEST", ie="Security header type")
        count = self._verify(octets[:2], octets[2:], octets[1] & 0x1F, 5)
        self.kenb_uplink_count = count
        return count

    def _verify(self, protected: bytes, mac: bytes, sequence_number: int, bits: int) -> int:
        """Complete the ``bits`` received of the sequence number to the lowest NAS COUNT that is still acceptable, and check the MAC with it."""
        uplink = self._receive_direction is Direction.UPLINK
        lowest = self._uplink_count if uplink else self._downlink_count
        wrap = 1 << bits
        count = lowest & -wrap | sequence_number
        if count < lowest:
            count += wrap       # the sequence number went through 0: the overflow counter moves on
        if count > _LAST_COUNT or not self._mac_fits(protected, mac, count):
            if count >= wrap and self._mac_fits(protected, mac, count - wrap):
                raise ReplayError(f"NAS COUNT {count - wrap} has been used already", ie="Sequence number")
            raise IntegrityError("wrong message authentication code", ie="Message authentication code")
        if uplink:
            self._uplink_count = count + 1
        else:
            self._downlink_count = count + 1
        return count

    def _mac_fits(self, protected: bytes, mac: bytes, count: int) -> bool:
        expected = eia(self.eia, self._k_nas_int, count, _NAS_BEARER, self._receive_direction, protected)
        return hmac.compare_digest(expected[-len(mac):], mac)

    # --- the radio's keys ----------------------------------------------------------------------------------------------------

    def derive_kenb(self, uplink_count: int | None = None) -> bytes:
        """KeNB, 32 octets, from :attr:`kenb_uplink_count` unless another NAS COUNT is given: TS 33.401 clause A.3."""
        return derive_kenb(self.kasme, self.kenb_uplink_count if uplink_count is None else uplink_count)

    def derive_next_hop(self, sync_input: bytes) -> bytes:
        """NH, 32 octets, from KeNB or the previous NH: TS 33.401 clause A.4."""
        return derive_nh(self.kasme, sync_input)


# --- algorithm negotiation: TS 33.401 clauses 5.1.3.2, 5.1.4.2 and 7.2.4 ---------------------------------------------------------

def select_algorithms(ue_eea: Collection[int], ue_eia: Collection[int], *, eea_preference: Sequence[Eea], eia_preference: Sequence[Eia],
                      emergency: bool = False) -> tuple[Eea, Eia]:
    """The operator's most preferred algorithms that the UE has: TS 33.401 clause 7.2.4.3.1.

    ``ue_eea`` and ``ue_eia`` are the numbers in the UE network capability. EIA0 is left out unless the UE attaches for emergency
    services. Raises :class:`NoCommonAlgorithm`.
    """
    chosen_eea = next((a for a in eea_preference if a in ue_eea), None)
    chosen_eia = next((a for a in eia_preference if a in ue_eia and (a != Eia.EIA0 or emergency)), None)
    if chosen_eea is None:
        raise NoCommonAlgorithm(f"the UE has none of {', '.join(a.name for a in eea_preference)}")
    if chosen_eia is None:
        raise NoCommonAlgorithm(f"the UE has none of {', '.join(a.name for a in eia_preference)}, or only EIA0 outside an emergency")
    return chosen_eea, chosen_eia


def hash_mme(request: bytes) -> bytes:
    """HASHMME, 8 octets, over the whole plain ATTACH REQUEST or TRACKING AREA UPDATE REQUEST that came without integrity protection, so
    that the UE notices if it was changed on the way: TS 33.401 annex I, the KDF's HMAC-SHA-256 under a key of zeros."""
    return hmac.digest(bytes(32), request, "sha256")[24:]
