"""The EPS encryption and integrity algorithms: TS 33.401 (Release 17) annex B; 128-EEA3 and 128-EIA3 of ETSI/SAGE Document 1, version 1.7.

All take the five inputs of annex B: a 128-bit key, COUNT (32 bits), BEARER (5 bits, 0 for NAS), DIRECTION and the message, a string of
``bit_length`` bits from the most significant one of its first octet on (all of it, when no length is given).
"""

from __future__ import annotations

from enum import IntEnum

from epc.security import aes, snow3g, zuc


class Eia(IntEnum):
    """EPS integrity algorithms: TS 33.401 clause 5.1.4.2."""

    EIA0 = 0        # null: no integrity protection
    EIA1 = 1        # SNOW 3G
    EIA2 = 2        # AES in CMAC mode
    EIA3 = 3        # ZUC


class Eea(IntEnum):
    """EPS encryption algorithms: TS 33.401 clause 5.1.3.2."""

    EEA0 = 0        # null: no ciphering
    EEA1 = 1        # SNOW 3G
    EEA2 = 2        # AES in counter mode
    EEA3 = 3        # ZUC


class Direction(IntEnum):
    """The DIRECTION bit: TS 33.401 clause B.1.1."""

    UPLINK = 0
    DOWNLINK = 1


def eia(algorithm: Eia, key: bytes, count: int, bearer: int, direction: Direction, octets: bytes, bit_length: int | None = None) -> bytes:
    """MAC-I or NAS-MAC, 4 octets: TS 33.401 clause B.2."""
    bits = len(octets) * 8 if bit_length is None else bit_length
    if algorithm == Eia.EIA2:
        # clause B.2.3: eight octets of COUNT, BEARER, DIRECTION and zeros before the message
        header = count << 32 | bearer << 27 | direction << 26
        return aes.cmac(key, header.to_bytes(8, "big") + octets, bits + 64)[:4]
    if algorithm == Eia.EIA1:
        return uia2(key, count, bearer << 27, direction, octets, bits)
    if algorithm == Eia.EIA3:
        return _eia3(key, count, bearer, direction, octets, bits)
    return bytes(4)


def eea(algorithm: Eea, key: bytes, count: int, bearer: int, direction: Direction, octets: bytes, bit_length: int | None = None) -> bytes:
    """Encrypt or decrypt, which is the same: TS 33.401 clause B.1. The bits after ``bit_length`` come out as 0."""
    if algorithm == Eea.EEA0 or not octets:
        return octets
    if algorithm == Eea.EEA2:
        # clause B.1.3: the initial counter block
        block = (count << 96 | bearer << 91 | direction << 90).to_bytes(16, "big")
        result = aes.counter_mode(key, block, octets)
        return result if bit_length is None else _truncate(result, bit_length)
    words = -(-len(octets) // 4)
    half = (count << 32 | bearer << 27 | direction << 26).to_bytes(8, "big")
    stream = snow3g.keystream(key, half + half, words) if algorithm == Eea.EEA1 else zuc.keystream(key, half + half, words)
    length = len(octets)
    key_octets = b"".join([word.to_bytes(4, "big") for word in stream])[:length]
    result = (int.from_bytes(octets, "big") ^ int.from_bytes(key_octets, "big")).to_bytes(length, "big")
    return result if bit_length is None else _truncate(result, bit_length)


def _truncate(octets: bytes, bit_length: int) -> bytes:
    """``octets`` with all but the first ``bit_length`` bits zeroed."""
    spare = len(octets) * 8 - bit_length
    return (int.from_bytes(octets, "big") >> spare << spare).to_bytes(len(octets), "big")


# --- 128-EIA1, which is UIA2 with FRESH = BEARER || 0...0 ------------------------------------------------------------------

def uia2(key: bytes, count: int, fresh: int, direction: int, octets: bytes, bit_length: int) -> bytes:
    """UIA2, ETSI/SAGE "UEA2 & UIA2, Document 1" clause 4: a polynomial in GF(2^64) over the message, masked with SNOW 3G."""
    iv = count << 96 | fresh << 64 | (count ^ direction << 31) << 32 | (fresh ^ direction << 15)
    z1, z2, z3, z4, z5 = snow3g.keystream(key, iv.to_bytes(16, "big"), 5)
    spare = -bit_length % 64
    blocks = (bit_length + spare) // 64
    text = (int.from_bytes(octets, "big") >> (len(octets) * 8 - bit_length) << spare).to_bytes(blocks * 8, "big")
    table = _multiples(z1 << 32 | z2)
    evaluation = 0
    for i in range(0, len(text), 8):
        evaluation = _multiply_64(table, evaluation ^ int.from_bytes(text[i:i + 8], "big"))
    evaluation = _multiply_64(_multiples(z3 << 32 | z4), evaluation ^ bit_length)
    return (evaluation >> 32 ^ z5).to_bytes(4, "big")


def _multiples(factor: int) -> list[int]:
    """``factor`` times every polynomial of degree below 8, modulo x^64 + x^4 + x^3 + x + 1."""
    table = [0]
    for _ in range(8):
        table += [factor ^ multiple for multiple in table]
        factor = (factor << 1 & 0xFFFFFFFFFFFFFFFF) ^ (0x1B if factor >> 63 else 0)
    return table


# what the eight bits shifted out at the top come back as, modulo the same polynomial
_REDUCTION = [overflow ^ overflow << 1 ^ overflow << 3 ^ overflow << 4 for overflow in range(256)]


def _multiply_64(table: list[int], value: int) -> int:
    """``value`` times the factor of ``table``, eight bits at a time."""
    product = 0
    for octet in value.to_bytes(8, "big"):
        product = (product & 0xFFFFFFFFFFFFFF) << 8 ^ _REDUCTION[product >> 56] ^ table[octet]
    return product


# --- 128-EIA3 --------------------------------------------------------------------------------------------------------------

def _eia3(key: bytes, count: int, bearer: int, direction: int, octets: bytes, bit_length: int) -> bytes:
    """ETSI/SAGE "128-EEA3 & 128-EIA3, Document 1" clause 4: for every 1 in the message, the keystream's 32 bits from there on, added.

    Seen from the other side, bit j of the sum is the parity of the message AND the keystream shifted by j: 32 big-integer
    operations instead of one for each bit of the message.
    """
    iv = count << 96 | bearer << 91 | (count ^ direction << 31) << 32 | bearer << 27 | direction << 15
    words = -(-bit_length // 32) + 2
    stream = zuc.keystream(key, iv.to_bytes(16, "big"), words)
    bits = int.from_bytes(b"".join([word.to_bytes(4, "big") for word in stream]), "big")
    # the word after the message's last bit is added as if the message went on with a single 1
    text = int.from_bytes(octets, "big") >> (len(octets) * 8 - bit_length) << 1 | 1
    window = bits >> (words * 32 - bit_length - 32)     # the first bit_length + 32 bits
    tag = 0
    for j in range(31, -1, -1):
        tag = tag << 1 | ((window >> j) & text).bit_count() & 1
    return (tag ^ stream[-1]).to_bytes(4, "big")
