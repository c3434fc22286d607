"""ZUC, the stream cipher behind 128-EEA3 and 128-EIA3: ETSI/SAGE "128-EEA3 & 128-EIA3, Document 2: ZUC specification", version 1.6."""

from __future__ import annotations

_MASK_31 = 0x7FFFFFFF
_MASK_32 = 0xFFFFFFFF

# clause 3.4.3, the S-boxes in rows of sixteen
_S0 = bytes.fromhex("""
3e725b47cae0003304d1549809b96dcb 7b1bf932af9d6aa5b82dfc1d08530390 4d4e8499e4ced991ddb685488b296eac cdc1f81e734369c6b5bdfd396320d438
767db2a7cfed57c5f32cbb142106559b e3ef5e314f7f5aa40d8251495fba581c 4a16d517a892241f8cffd8ae2e01d3ad 3b4bda46ebc9de9a8f87d73a806f2fc8
b1b437f70a2213287ccc3c89c7c39656 07bf7ef00b2b975235417961a64c10fe bc2695888ab0a3fbc01894f2e1e5e95d d0dc1166645cec59427512f5749caa23
0e86abbe2a02e767e644a26cc2939ff1 f6fa36d250689e6271153dd640c4e20f 8e83776b25053f0c30ea70b7a1e8a965 8d271adb81b3a0f4457a19dfee783460
""")
_S1 = bytes.fromhex("""
55c263713bc847869f3cda5b29aafd77 8cc5940ca61a1300e3a8167240f9f842 4426689681d9453e1076c6a78b3943e1 3ab5562ac06db3052266bfdc0bfa6248
dd20110636c9c1cff62752bb69f5d487 7f844cd29c57a4bc4f9adffed68d7aeb 2b53d85ca11417fb23d57d3067730809 eeb7703f61b2198e4ee54b938f5ddba9
adf1ae2ecb0dfcf42d466e1d97e8d1e9 4d37a5755e839eab829db91ce0cd4989 01b6bd5824a25f3878991590 50b895e4 d091c7ceed0fb46fa0ccf0024a79c3de
a3efea51e66b18ec1b2c80f774e7ff21 5a6a541e41319235c433070aba7e0e34 88b1987cf33d606c7bcad31f32650428 64be859b2f598ad7b025acaf1203e2f2
""")

# clause 3.5: the constants d0 to d15, 15 bits each
_D = (0x44D7, 0x26BC, 0x626B, 0x135E, 0x5789, 0x35E2, 0x7135, 0x09AF, 0x4D78, 0x2F13, 0x6BC4, 0x1AF1, 0x5E26, 0x3C4D, 0x789A, 0x47AC)


def _linear(x: int, rotations: tuple[int, int, int, int]) -> int:
    """L1 or L2 of clause 3.4.4: x and its four rotations, added modulo 2."""
    y = x
    for n in rotations:
        y ^= (x << n | x >> (32 - n)) & _MASK_32
    return y


def _linear_tables(rotations: tuple[int, int, int, int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """L1 or L2 as one table for each input octet, the leftmost first; linearity lets their sum stand for the whole."""
    t0, t1, t2, t3 = ([_linear(x << shift, rotations) for x in range(256)] for shift in (24, 16, 8, 0))
    return t0, t1, t2, t3


_L1 = _linear_tables((2, 10, 18, 24))
_L2 = _linear_tables((8, 14, 22, 30))
# the 32x32-bit S-box (clause 3.4.3) in halves of two octets: S0 for the left octet, S1 for the right
_SS = [left << 8 | right for left in _S0 for right in _S1]


def keystream(key: bytes, iv: bytes, words: int) -> list[int]:
    """The first ``words`` 32-bit words under ``key`` and ``iv``, 16 octets each: clause 3.6."""
    a0, a1, a2, a3 = _L1
    b0, b1, b2, b3 = _L2
    ss = _SS
    mask_31, mask_32 = _MASK_31, _MASK_32
    s = [k << 23 | d << 8 | v for k, d, v in zip(key, _D, iv, strict=True)]
    append, output = s.append, []
    r1 = r2 = 0
    # 32 rounds of initialisation feed W back; the first round of working mode yields nothing
    for clock in range(-33, words):
        # clauses 3.3 and 3.4: bit reorganisation and the nonlinear function F
        s0, s15 = s[0], s[15]
        w = ((((s15 & 0x7FFF8000) << 1 | s[14] & 0xFFFF) ^ r1) + r2) & mask_32
        w1 = (r1 + ((s[11] & 0xFFFF) << 16 | s[9] >> 15)) & mask_32
        w2 = r2 ^ ((s[7] & 0xFFFF) << 16 | s[5] >> 15)
        u = a0[w1 >> 8 & 255] ^ a1[w1 & 255] ^ a2[w2 >> 24] ^ a3[w2 >> 16 & 255]
        v = b0[w2 >> 8 & 255] ^ b1[w2 & 255] ^ b2[w1 >> 24] ^ b3[w1 >> 16 & 255]
        r1 = ss[u >> 16] << 16 | ss[u & 0xFFFF]
        r2 = ss[v >> 16] << 16 | ss[v & 0xFFFF]
        # clause 3.2: the feedback modulo 2^31 - 1, where multiplying by 2^n needs no reduction until the end
        feedback = (s15 << 15) + (s[13] << 17) + (s[10] << 21) + (s[4] << 20) + (s0 << 8) + s0
        if clock >= 0:
            output.append(w ^ ((s[2] & 0xFFFF) << 16 | s0 >> 15))
        elif clock < -1:
            feedback += w >> 1
        feedback = (feedback & mask_31) + (feedback >> 31)
        feedback = (feedback & mask_31) + (feedback >> 31)
        del s[0]
        append(feedback or mask_31)
    return output
