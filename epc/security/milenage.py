"""MILENAGE, the authentication algorithm set built on AES: TS 35.206 (Release 17)."""

from __future__ import annotations

from epc.security.aes import block_cipher
from epc.security.authentication import Response, require_length

_MASK_128 = (1 << 128) - 1

# TS 35.206 clause 4.1: the rotations r1 to r5 in bits and the constants c1 to c5
_R1, _R2, _R3, _R4, _R5 = 64, 0, 32, 64, 96
_C1, _C2, _C3, _C4, _C5 = 0, 1, 2, 4, 8


def derive_opc(k: bytes, op: bytes) -> bytes:
    """OPc, which a USIM stores instead of the operator's secret OP."""
    require_length("K", k, 16)
    require_length("OP", op, 16)
    return (int.from_bytes(op, "big") ^ int.from_bytes(block_cipher(k).update(op), "big")).to_bytes(16, "big")


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (128 - bits)) & _MASK_128


class Milenage:
    """f1 to f5* of one subscriber, from K and OPc (16 octets each). Implements ``AuthenticationAlgorithm``."""

    __slots__ = ("_k", "_opc")

    def __init__(self, k: bytes, opc: bytes) -> None:
        require_length("K", k, 16)
        require_length("OPc", opc, 16)
        self._k = k
        self._opc = int.from_bytes(opc, "big")

    @classmethod
    def with_op(cls, k: bytes, op: bytes) -> Milenage:
        """From the operator's OP instead of the subscriber's OPc."""
        return cls(k, derive_opc(k, op))

    def __repr__(self) -> str:
        return "Milenage(...)"

    def _temp(self, rand: bytes) -> int:
        require_length("RAND", rand, 16)
        return self._encrypt(int.from_bytes(rand, "big") ^ self._opc)

    def _encrypt(self, value: int) -> int:
        return int.from_bytes(block_cipher(self._k).update(value.to_bytes(16, "big")), "big")

    def _out(self, rand: bytes, rotation: int, constant: int) -> bytes:
        """OUT2 to OUT5."""
        return (self._encrypt(_rotate(self._temp(rand) ^ self._opc, rotation) ^ constant) ^ self._opc).to_bytes(16, "big")

    def _out1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        require_length("SQN", sqn, 6)
        require_length("AMF", amf, 2)
        in1 = int.from_bytes((sqn + amf) * 2, "big")
        return (self._encrypt(self._temp(rand) ^ _rotate(in1 ^ self._opc, _R1) ^ _C1) ^ self._opc).to_bytes(16, "big")

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        return self._out1(rand, sqn, amf)[:8]

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        return self._out1(rand, sqn, amf)[8:]

    def f2(self, rand: bytes) -> bytes:
        return self._out(rand, _R2, _C2)[8:]

    def f3(self, rand: bytes) -> bytes:
        return self._out(rand, _R3, _C3)

    def f4(self, rand: bytes) -> bytes:
        return self._out(rand, _R4, _C4)

    def f5(self, rand: bytes) -> bytes:
        return self._out(rand, _R2, _C2)[:6]

    def f5_star(self, rand: bytes) -> bytes:
        return self._out(rand, _R5, _C5)[:6]

    def f2_to_f5(self, rand: bytes) -> Response:
        opc = self._opc
        base = self._temp(rand) ^ opc
        blocks = (base ^ _C2) << 256 | (_rotate(base, _R3) ^ _C3) << 128 | (_rotate(base, _R4) ^ _C4)
        out = int.from_bytes(block_cipher(self._k).update(blocks.to_bytes(48, "big")), "big")
        octets = (out ^ (opc << 256 | opc << 128 | opc)).to_bytes(48, "big")
        return Response(octets[8:16], octets[16:32], octets[32:48], octets[:6])
