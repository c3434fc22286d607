"""SNOW 3G, the stream cipher behind 128-EEA1 and 128-EIA1: ETSI/SAGE "UEA2 & UIA2, Document 2: SNOW 3G specification", version 1.1.

The tables are computed from the algebra that defines them: SR is Rijndael's S-box, SQ a Dickson polynomial over GF(2^8), and MULalpha
and DIValpha multiply a word of the feedback register by alpha and its inverse.
"""

from __future__ import annotations

_MASK_32 = 0xFFFFFFFF


def _multiply(a: int, b: int, polynomial: int) -> int:
    """The product in GF(2^8) modulo ``polynomial``."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= polynomial
        b >>= 1
    return product


def _power(base: int, exponent: int, polynomial: int) -> int:
    result = 1
    while exponent:
        if exponent & 1:
            result = _multiply(result, base, polynomial)
        base = _multiply(base, base, polynomial)
        exponent >>= 1
    return result


def _rijndael_s_box() -> list[int]:
    """SR, clause 5.1: the inverse in GF(2^8) and an affine map."""
    box = []
    for x in range(256):
        inverse = _power(x, 254, 0x11B)
        y = 0x63
        for i in range(5):
            y ^= (inverse << i | inverse >> (8 - i)) & 0xFF
        box.append(y)
    return box


def _dickson_s_box() -> list[int]:
    """SQ, clause 5.2: x + x^9 + x^13 + x^15 + x^33 + x^41 + x^45 + x^47 + x^49 + 0x25 over x^8 + x^6 + x^5 + x^3 + 1."""
    box = []
    for x in range(256):
        y = 0x25
        for exponent in (1, 9, 13, 15, 33, 41, 45, 47, 49):
            y ^= _power(x, exponent, 0x169)
        box.append(y)
    return box


def _word_tables(s_box: list[int], polynomial: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """The 32x32-bit S-box S1 or S2 (clauses 3.3.1 and 3.3.2) as one table for each input octet, the leftmost first."""
    t0, t1, t2, t3 = [], [], [], []
    for s in s_box:
        m = _multiply(s, 2, polynomial)
        m_s = m ^ s
        t0.append(m << 24 | m_s << 16 | s << 8 | s)
        t1.append(s << 24 | m << 16 | m_s << 8 | s)
        t2.append(s << 24 | s << 16 | m << 8 | m_s)
        t3.append(m_s << 24 | s << 16 | s << 8 | m)
    return t0, t1, t2, t3


def _alpha_table(exponents: tuple[int, int, int, int]) -> list[int]:
    """MULalpha or DIValpha, clauses 3.4.2 and 3.4.3: c times four powers of 2, modulo x^8 + x^7 + x^5 + x^3 + 1."""
    powers = [_power(2, exponent, 0x1A9) for exponent in exponents]
    return [int.from_bytes(bytes([_multiply(c, power, 0x1A9) for power in powers]), "big") for c in range(256)]


_S1 = _word_tables(_rijndael_s_box(), 0x11B)
_S2 = _word_tables(_dickson_s_box(), 0x169)
_MUL_ALPHA = _alpha_table((23, 245, 48, 239))
_DIV_ALPHA = _alpha_table((16, 39, 6, 64))


def keystream(key: bytes, iv: bytes, words: int) -> list[int]:
    """The first ``words`` 32-bit words under ``key`` and ``iv``, 16 octets each: clause 4.

    ``key`` is k3 || k2 || k1 || k0 and ``iv`` is IV3 || IV2 || IV1 || IV0, the order in which UEA2 and UIA2 fill them.
    """
    t0, t1, t2, t3 = _S1
    u0, u1, u2, u3 = _S2
    mul, div = _MUL_ALPHA, _DIV_ALPHA
    mask = _MASK_32
    k3, k2, k1, k0 = (int.from_bytes(key[i:i + 4], "big") for i in (0, 4, 8, 12))
    iv3, iv2, iv1, iv0 = (int.from_bytes(iv[i:i + 4], "big") for i in (0, 4, 8, 12))
    # clause 4.1: s0 to s15
    s = [k0 ^ mask, k1 ^ mask, k2 ^ mask, k3 ^ mask, k0, k1, k2, k3,
         k0 ^ mask, k1 ^ mask ^ iv3, k2 ^ mask ^ iv2, k3 ^ mask, k0 ^ iv1, k1, k2, k3 ^ iv0]
    append, output = s.append, []
    r1 = r2 = r3 = 0
    # 32 clocks of initialisation feed F back; the first clock of keystream mode yields nothing
    for clock in range(-33, words):
        f = ((s[15] + r1) & mask) ^ r2
        r = (r2 + (r3 ^ s[5])) & mask
        r3 = u0[r2 >> 24] ^ u1[r2 >> 16 & 255] ^ u2[r2 >> 8 & 255] ^ u3[r2 & 255]
        r2 = t0[r1 >> 24] ^ t1[r1 >> 16 & 255] ^ t2[r1 >> 8 & 255] ^ t3[r1 & 255]
        r1 = r
        s0, s11 = s[0], s[11]
        v = (s0 << 8 & mask) ^ mul[s0 >> 24] ^ s[2] ^ s11 >> 8 ^ div[s11 & 255]
        if clock >= 0:
            output.append(f ^ s0)
        elif clock < -1:
            v ^= f
        del s[0]
        append(v)
    return output
