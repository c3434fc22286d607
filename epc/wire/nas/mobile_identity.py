"""Who the UE says it is: EPS mobile identity (TS 24.301 clause 9.9.3.12) and mobile identity (TS 24.008 clause 10.5.1.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from epc.wire.errors import WireError
from epc.wire.identity import decode_plmn, decode_tbcd, encode_plmn, encode_tbcd
from epc.wire.nas.coding import Coding, require_length

_IMSI, _IMEI_OR_IMEISV, _IMEISV, _TMSI, _GUTI = 1, 2, 3, 4, 6
_EPS_IMEI = 3        # EPS mobile identity numbers the IMEI otherwise than the mobile identity of TS 24.008 does
_ODD = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Guti:
    """Globally unique temporary UE identity, allocated by the MME: TS 23.003 clause 2.8."""

    plmn: str
    mme_group_id: int
    mme_code: int
    m_tmsi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImsiIdentity:
    """The subscriber's permanent identity: TS 23.003 clause 2.2."""

    imsi: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImeiIdentity:
    """The equipment's identity, 15 digits of which the last is a check digit or 0: TS 23.003 clause 6.2.1."""

    imei: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImeisvIdentity:
    """The equipment's identity with its software version, 16 digits: TS 23.003 clause 6.2.2."""

    imeisv: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TmsiIdentity:
    """TMSI, P-TMSI or M-TMSI, as the message says."""

    tmsi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherIdentity:
    """No identity, TMGI, or a type that is not defined; kept as octets."""

    octets: bytes


EpsMobileIdentity: TypeAlias = Guti | ImsiIdentity | ImeiIdentity
MobileIdentity: TypeAlias = ImsiIdentity | ImeiIdentity | ImeisvIdentity | TmsiIdentity | OtherIdentity


def _encode_digits(digits: str, type_of_identity: int) -> bytes:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 16:
        raise WireError(f"1 to 16 decimal digits are needed, not {digits!r}")
    odd = _ODD if len(digits) & 1 else 0
    return bytes((int(digits[0]) << 4 | odd | type_of_identity,)) + encode_tbcd(digits[1:])


def _decode_digits(octets: bytes) -> str:
    require_length(octets, 1, 9)
    digits = decode_tbcd(octets[1:])
    first = octets[0] >> 4
    odd = bool(octets[0] & _ODD)
    if first > 9 or odd == bool(len(digits) & 1):
        raise WireError("digits and their odd/even indication do not agree")
    return f"{first}{digits}"


def encode_eps_mobile_identity(identity: EpsMobileIdentity) -> bytes:
    """The value part, from octet 3 on."""
    match identity:
        case Guti(plmn=plmn, mme_group_id=group, mme_code=code, m_tmsi=m_tmsi):
            if not (0 <= group <= 0xFFFF and 0 <= code <= 0xFF and 0 <= m_tmsi <= 0xFFFFFFFF):
                raise WireError("an MME group ID has 16 bits, an MME code 8, an M-TMSI 32", ie="GUTI")
            return b"\xf6" + encode_plmn(plmn) + (group << 40 | code << 32 | m_tmsi).to_bytes(7, "big")
        case ImsiIdentity(imsi=digits):
            return _encode_digits(digits, _IMSI)
        case ImeiIdentity(imei=digits):
            return _encode_digits(digits, _EPS_IMEI)


def decode_eps_mobile_identity(octets: bytes) -> EpsMobileIdentity:
    """The identity in a value part."""
    require_length(octets, 1)
    type_of_identity = octets[0] & 7
    if type_of_identity == _GUTI:
        require_length(octets, 11, 11)
        return Guti(
            plmn=decode_plmn(octets, 1),
            mme_group_id=octets[4] << 8 | octets[5],
            mme_code=octets[6],
            m_tmsi=int.from_bytes(octets[7:], "big"),
        )
    if type_of_identity == _IMSI:
        return ImsiIdentity(imsi=_decode_digits(octets))
    if type_of_identity == _EPS_IMEI:
        return ImeiIdentity(imei=_decode_digits(octets))
    raise WireError(f"type of identity {type_of_identity} is not defined")


def encode_mobile_identity(identity: MobileIdentity) -> bytes:
    """The value part, from octet 3 on."""
    match identity:
        case ImsiIdentity(imsi=digits):
            return _encode_digits(digits, _IMSI)
        case ImeiIdentity(imei=digits):
            return _encode_digits(digits, _IMEI_OR_IMEISV)
        case ImeisvIdentity(imeisv=digits):
            return _encode_digits(digits, _IMEISV)
        case TmsiIdentity(tmsi=tmsi):
            if not 0 <= tmsi <= 0xFFFFFFFF:
                raise WireError("a TMSI has 32 bits", ie="TMSI")
            return b"\xf4" + tmsi.to_bytes(4, "big")
        case OtherIdentity(octets=octets):
            return octets


def decode_mobile_identity(octets: bytes) -> MobileIdentity:
    """The identity in a value part."""
    require_length(octets, 1)
    type_of_identity = octets[0] & 7
    if type_of_identity == _IMSI:
        return ImsiIdentity(imsi=_decode_digits(octets))
    if type_of_identity == _IMEI_OR_IMEISV:
        return ImeiIdentity(imei=_decode_digits(octets))
    if type_of_identity == _IMEISV:
        return ImeisvIdentity(imeisv=_decode_digits(octets))
    if type_of_identity == _TMSI:
        require_length(octets, 5, 5)
        return TmsiIdentity(tmsi=int.from_bytes(octets[1:], "big"))
    return OtherIdentity(octets=octets)


EPS_MOBILE_IDENTITY: Coding[EpsMobileIdentity] = Coding(encode_eps_mobile_identity, decode_eps_mobile_identity)
MOBILE_IDENTITY: Coding[MobileIdentity] = Coding(encode_mobile_identity, decode_mobile_identity)
