"""EPS-AKA and the EPS key hierarchy: TS 33.401 (Release 17) annex A, with AUTN, AUTS and SQN of TS 33.102 clause 6.3 and annex C."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import IntEnum

from epc.security.authentication import AuthenticationAlgorithm, require_length
from epc.wire.identity import encode_plmn

AMF_SEPARATION_BIT = 0x8000     # bit 0 of AMF, the leftmost: the vector is for EPS            TS 33.401 clause 6.1.1, TS 33.102 annex H
AMF_RESYNCHRONISATION = b"\0\0"     # AMF* that f1* takes                                        TS 33.102 clause 6.3.3

IND_BITS = 5                    # SQN = SEQ || IND, with an IND of five bits                     TS 33.102 clause C.3.2
IND_MASK = (1 << IND_BITS) - 1
SQN_MASK = (1 << 48) - 1
DELTA = 1 << 28                 # largest jump of SEQ that a USIM accepts                        TS 33.102 clause C.3.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsAuthenticationVector:
    """One challenge, made by the HSS for one serving network: TS 33.401 clause 6.1.2."""

    rand: bytes     # 16 octets
    xres: bytes     # the RES to expect, 4 to 16 octets
    autn: bytes     # SQN xor AK || AMF || MAC, 16 octets
    kasme: bytes    # 32 octets


class AlgorithmType(IntEnum):
    """Algorithm type distinguisher: TS 33.401 table A.7-1."""

    NAS_ENC = 1
    NAS_INT = 2
    RRC_ENC = 3
    RRC_INT = 4
    UP_ENC = 5
    UP_INT = 6


def kdf(key: bytes, fc: int, *parameters: bytes) -> bytes:
    """The generic key derivation function: TS 33.220 clause B.2.0; 32 octets."""
    s = bytes((fc,)) + b"".join([p + len(p).to_bytes(2, "big") for p in parameters])
    return hmac.digest(key, s, "sha256")


def derive_kasme(ck: bytes, ik: bytes, plmn: str, sqn_xor_ak: bytes) -> bytes:
    """KASME, bound to the serving network ``plmn``: TS 33.401 clause A.2."""
    return kdf(ck + ik, 0x10, encode_plmn(plmn), sqn_xor_ak)


def derive_kenb(kasme: bytes, uplink_nas_count: int) -> bytes:
    """KeNB: TS 33.401 clause A.3. The count is the one of the uplink NAS message that leads to the radio security context."""
    return kdf(kasme, 0x11, uplink_nas_count.to_bytes(4, "big"))


def derive_nh(kasme: bytes, sync_input: bytes) -> bytes:
    """NH: TS 33.401 clause A.4. ``sync_input`` is KeNB for the first one, the previous NH for all others."""
    return kdf(kasme, 0x12, sync_input)


def derive_kenb_star(kenb_or_nh: bytes, pci: int, earfcn_dl: int) -> bytes:
    """K_eNB* for the target cell of a handover: TS 33.401 clause A.5."""
    return kdf(kenb_or_nh, 0x13, pci.to_bytes(2, "big"), earfcn_dl.to_bytes(2 if earfcn_dl <= 0xFFFF else 3, "big"))


def derive_algorithm_key(key: bytes, algorithm_type: AlgorithmType, algorithm: int) -> bytes:
    """A 128-bit key for one algorithm, of KASME (NAS) or KeNB (RRC and user plane): TS 33.401 clause A.7."""
    return kdf(key, 0x15, bytes((algorithm_type,)), bytes((algorithm,)))[16:]


# --- SQN: TS 33.102 annex C ---------------------------------------------------------------------------------------------------

def next_sqn(sqn: int) -> int:
    """The SQN that follows in the authentication centre, not time-based: SEQ + 1 and the next IND (TS 33.102 clauses C.1.1.1 and C.1.2)."""
    return ((sqn >> IND_BITS) + 1 << IND_BITS | (sqn + 1 & IND_MASK)) & SQN_MASK


# --- AUTN and AUTS ------------------------------------------------------------------------------------------------------------

def generate_vector(algorithm: AuthenticationAlgorithm, *, rand: bytes, sqn: int, plmn: str, amf: bytes = b"\x80\x00") -> EpsAuthenticationVector:
    """The vector that challenges a USIM holding ``algorithm``'s key, with this ``sqn`` (48 bits): TS 33.102 clause 6.3.2, TS 33.401 clause 6.1.2."""
    sqn_octets = sqn.to_bytes(6, "big")
    mac = algorithm.f1(rand, sqn_octets, amf)
    require_length("the MAC in AUTN", mac, 8)
    xres, ck, ik, ak = algorithm.f2_to_f5(rand)
    concealed = _xor(sqn_octets, ak)
    return EpsAuthenticationVector(rand=rand, xres=xres, autn=concealed + amf + mac, kasme=derive_kasme(ck, ik, plmn, concealed))


def build_auts(algorithm: AuthenticationAlgorithm, *, rand: bytes, sqn_ms: int) -> bytes:
    """AUTS, 14 octets: what the USIM answers to a challenge whose SQN it does not accept (TS 33.102 clause 6.3.3)."""
    sqn_octets = sqn_ms.to_bytes(6, "big")
    return _xor(sqn_octets, algorithm.f5_star(rand)) + algorithm.f1_star(rand, sqn_octets, AMF_RESYNCHRONISATION)


def verify_auts(algorithm: AuthenticationAlgorithm, *, rand: bytes, auts: bytes) -> int | None:
    """SQN_MS as the USIM states it in answer to ``rand``, or ``None`` when MAC-S is wrong (TS 33.102 clause 6.3.5)."""
    if len(auts) != 14:
        return None
    sqn_octets = _xor(auts[:6], algorithm.f5_star(rand))
    if not hmac.compare_digest(algorithm.f1_star(rand, sqn_octets, AMF_RESYNCHRONISATION), auts[6:]):
        return None
    return int.from_bytes(sqn_octets, "big")


def resynchronise(sqn_he: int, sqn_ms: int) -> int:
    """The authentication centre's SQN after a verified AUTS (TS 33.102 clause 6.3.5): the USIM's, unless the next one will be accepted anyway."""
    ahead = (next_sqn(sqn_he) >> IND_BITS) - (sqn_ms >> IND_BITS)
    return sqn_he if 0 < ahead <= DELTA else sqn_ms


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")
