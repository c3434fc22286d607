"""TUAK, the authentication algorithm set built on Keccak: TS 35.231 (Release 17).

TUAK writes its inputs into the first 96 octets of a Keccak state, pads them, and applies the permutation Keccak-f[1600] one or more
times. The padding (1F ... 80 over 136 octets) is SHAKE256's own, so one permutation is SHAKE256 of one block; and since every further
block that SHAKE256 squeezes is the state after one more permutation, the n-th iteration's output is the n-th block. All octet strings
go in and come out in reverse order.
"""

from __future__ import annotations

from hashlib import shake_256

from epc.security.authentication import Response, require_length

_ALGONAME = b"TUAK1.0"[::-1]
_RATE_OCTETS = 136
_NO_RAND, _NO_AMF, _NO_SQN = bytes(16), bytes(2), bytes(6)

# TS 35.231 clause 6: the INSTANCE octet. Bits 0-1 of the specification are its most significant ones.
_K_256 = 0x01
_IK_256 = 0x02
_CK_256 = 0x04
_F1 = 0x00
_F2_TO_F5 = 0x40
_F1_STAR = 0x80
_F5_STAR = 0xC0
_LENGTH = {4: 0x00, 8: 0x08, 16: 0x10, 32: 0x20}    # of MAC or RES, by octets


def _permute(top: bytes, instance: int, rand: bytes, amf: bytes, sqn: bytes, k: bytes, iterations: int, octets: int) -> bytes:
    """The first ``octets`` octets of the state after ``iterations`` permutations."""
    state = shake_256(b"".join((top[::-1], bytes((instance | (_K_256 if len(k) == 32 else 0),)), _ALGONAME,
                                rand[::-1], amf[::-1], sqn[::-1], k[::-1].ljust(32, b"\0"))))
    skipped = (iterations - 1) * _RATE_OCTETS
    return state.digest(skipped + octets)[skipped:]


def _require_key(k: bytes, iterations: int) -> None:
    require_length("K", k, 16, 32)
    if iterations < 1:
        raise ValueError(f"TUAK needs at least one Keccak iteration, not {iterations}")


def derive_topc(k: bytes, top: bytes, iterations: int = 1) -> bytes:
    """TOPc (32 octets), which a USIM stores instead of the operator's secret TOP."""
    _require_key(k, iterations)
    require_length("TOP", top, 32)
    return _permute(top, 0, _NO_RAND, _NO_AMF, _NO_SQN, k, iterations, 32)[::-1]


class Tuak:
    """f1 to f5* of one subscriber, from K (16 or 32 octets) and TOPc (32). Implements ``AuthenticationAlgorithm``.

    The lengths are the operator's choice, in octets: MAC 8, 16 or 32; RES 4, 8, 16 or 32; CK and IK 16 or 32. AUTN and AUTS
    carry a MAC of 8 octets and EPS a RES of 4 to 16, hence the defaults.
    """

    __slots__ = ("_ck_octets", "_ik_octets", "_iterations", "_k", "_mac_octets", "_res_octets", "_topc")

    def __init__(self, k: bytes, topc: bytes, *, iterations: int = 1, mac_octets: int = 8, res_octets: int = 8,
                 ck_octets: int = 16, ik_octets: int = 16) -> None:
        _require_key(k, iterations)
        require_length("TOPc", topc, 32)
        for name, value, allowed in (("MAC", mac_octets, (8, 16, 32)), ("RES", res_octets, (4, 8, 16, 32)),
                                     ("CK", ck_octets, (16, 32)), ("IK", ik_octets, (16, 32))):
            if value not in allowed:
                raise ValueError(f"a {name} of TUAK has {' or '.join(map(str, allowed))} octets, not {value}")
        self._k = k
        self._topc = topc
        self._iterations = iterations
        self._mac_octets = mac_octets
        self._res_octets = res_octets
        self._ck_octets = ck_octets
        self._ik_octets = ik_octets

    @classmethod
    def with_top(cls, k: bytes, top: bytes, *, iterations: int = 1, mac_octets: int = 8, res_octets: int = 8,
                 ck_octets: int = 16, ik_octets: int = 16) -> Tuak:
        """From the operator's TOP instead of the subscriber's TOPc."""
        return cls(k, derive_topc(k, top, iterations), iterations=iterations, mac_octets=mac_octets, res_octets=res_octets,
                   ck_octets=ck_octets, ik_octets=ik_octets)

    def __repr__(self) -> str:
        return "Tuak(...)"

    def _mac(self, function: int, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        require_length("RAND", rand, 16)
        require_length("SQN", sqn, 6)
        require_length("AMF", amf, 2)
        octets = self._mac_octets
        return _permute(self._topc, function | _LENGTH[octets], rand, amf, sqn, self._k, self._iterations, octets)[::-1]

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        return self._mac(_F1, rand, sqn, amf)

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        return self._mac(_F1_STAR, rand, sqn, amf)

    def f2(self, rand: bytes) -> bytes:
        return self.f2_to_f5(rand).res

    def f3(self, rand: bytes) -> bytes:
        return self.f2_to_f5(rand).ck

    def f4(self, rand: bytes) -> bytes:
        return self.f2_to_f5(rand).ik

    def f5(self, rand: bytes) -> bytes:
        return self.f2_to_f5(rand).ak

    def f5_star(self, rand: bytes) -> bytes:
        require_length("RAND", rand, 16)
        return _permute(self._topc, _F5_STAR, rand, _NO_AMF, _NO_SQN, self._k, self._iterations, 102)[96:][::-1]

    def f2_to_f5(self, rand: bytes) -> Response:
        require_length("RAND", rand, 16)
        instance = (_F2_TO_F5 | _LENGTH[self._res_octets] | (_CK_256 if self._ck_octets == 32 else 0)
                    | (_IK_256 if self._ik_octets == 32 else 0))
        state = _permute(self._topc, instance, rand, _NO_AMF, _NO_SQN, self._k, self._iterations, 102)
        return Response(state[:self._res_octets][::-1], state[32:32 + self._ck_octets][::-1],
                        state[64:64 + self._ik_octets][::-1], state[96:102][::-1])
