"""Bit rates in EPS QoS and APN-AMBR (TS 24.301 clauses 9.9.4.3 and 9.9.4.2), in kbit/s.

Both spread a rate over a basic octet, an extension and a second extension. The first two mean the same in either element; the second extension
of an EPS QoS replaces the rate, that of an APN-AMBR adds multiples of 256 Mbit/s to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, require_length

_ZERO = 0xFF                 # the basic octet's code for 0 kbit/s
_BASIC_MAXIMUM = 0xFE        # 8640 kbit/s; goes with every extension
_EXTENDED_MAXIMUM = 0xFA     # 256 Mbit/s; goes with the second extension of an EPS QoS
_256_MBPS_KBPS = 256_000


class CodedBitRate(NamedTuple):
    """The three octets of one rate; an extension of 0 says that the octet before it holds the rate."""

    basic: int
    extended: int = 0
    extended_2: int = 0


def _encode_up_to_256_mbps(kbps: int) -> CodedBitRate:
    """Rates between two steps are rounded down, so that nobody gets more than was decided; but a rate above 0 never becomes 0."""
    if kbps == 0:
        return CodedBitRate(_ZERO)
    if kbps < 64:
        return CodedBitRate(kbps)
    if kbps < 576:
        return CodedBitRate(64 + (kbps - 64) // 8)
    if kbps < 8_700:
        return CodedBitRate(min(128 + (kbps - 576) // 64, _BASIC_MAXIMUM))
    if kbps < 17_000:
        return CodedBitRate(_BASIC_MAXIMUM, min((kbps - 8_600) // 100, 74))
    if kbps < 130_000:
        return CodedBitRate(_BASIC_MAXIMUM, min(74 + (kbps - 16_000) // 1_000, 186))
    return CodedBitRate(_BASIC_MAXIMUM, min(186 + (kbps - 128_000) // 2_000, _EXTENDED_MAXIMUM))


def _decode_up_to_256_mbps(basic: int, extended: int) -> int:
    if extended:
        extended = min(extended, _EXTENDED_MAXIMUM)
        if extended <= 74:
            return 8_600 + extended * 100
        if extended <= 186:
            return 16_000 + (extended - 74) * 1_000
        return 128_000 + (extended - 186) * 2_000
    if basic == _ZERO:
        return 0
    if basic < 64:
        return basic
    if basic < 128:
        return 64 + (basic - 64) * 8
    return 576 + (basic - 128) * 64


def encode_eps_qos_bit_rate(kbps: int) -> CodedBitRate:
    """A maximum or guaranteed bit rate of an EPS QoS, 0 to 10 Gbit/s."""
    if not 0 <= kbps <= 10_000_000:
        raise WireError(f"{kbps} kbit/s is out of an EPS QoS's range")
    if kbps < 260_000:
        return _encode_up_to_256_mbps(kbps)
    if kbps < 510_000:
        extended_2 = min((kbps - 256_000) // 4_000, 61)
    elif kbps < 1_600_000:
        extended_2 = min(61 + (kbps - 500_000) // 10_000, 161)
    else:
        extended_2 = 161 + (kbps - 1_500_000) // 100_000
    return CodedBitRate(_BASIC_MAXIMUM, _EXTENDED_MAXIMUM, extended_2)


def decode_eps_qos_bit_rate(coded: CodedBitRate) -> int:
    """The rate in kbit/s."""
    if not coded.extended_2:
        return _decode_up_to_256_mbps(coded.basic, coded.extended)
    extended_2 = min(coded.extended_2, 246)
    if extended_2 <= 61:
        return 256_000 + extended_2 * 4_000
    if extended_2 <= 161:
        return 500_000 + (extended_2 - 61) * 10_000
    return 1_500_000 + (extended_2 - 161) * 100_000


def encode_apn_ambr_bit_rate(kbps: int) -> CodedBitRate:
    """An APN-AMBR for one direction, 0 to 65280 Mbit/s."""
    if not 0 <= kbps <= 255 * _256_MBPS_KBPS:
        raise WireError(f"{kbps} kbit/s is out of an APN-AMBR's range")
    if kbps <= _256_MBPS_KBPS:
        return _encode_up_to_256_mbps(kbps)
    multiples = min(kbps // _256_MBPS_KBPS, 254)
    return _encode_up_to_256_mbps(kbps - multiples * _256_MBPS_KBPS)._replace(extended_2=multiples)


def decode_apn_ambr_bit_rate(coded: CodedBitRate) -> int:
    """The rate in kbit/s; second extensions 0 and 255 add nothing."""
    multiples = 0 if coded.extended_2 == 0xFF else coded.extended_2
    return multiples * _256_MBPS_KBPS + _decode_up_to_256_mbps(coded.basic, coded.extended)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsQos:
    """EPS quality of service: TS 24.301 clause 9.9.4.3. Rates are ``None`` for a non-GBR bearer."""

    qci: int
    maximum_bit_rate_uplink_kbps: int | None = None
    maximum_bit_rate_downlink_kbps: int | None = None
    guaranteed_bit_rate_uplink_kbps: int | None = None
    guaranteed_bit_rate_downlink_kbps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnAmbr:
    """APN aggregate maximum bit rate: TS 24.301 clause 9.9.4.2."""

    downlink_kbps: int
    uplink_kbps: int


def encode_eps_qos(qos: EpsQos) -> bytes:
    """The value part: 1, 5, 9 or 13 octets."""
    rates = (
        qos.maximum_bit_rate_uplink_kbps,
        qos.maximum_bit_rate_downlink_kbps,
        qos.guaranteed_bit_rate_uplink_kbps,
        qos.guaranteed_bit_rate_downlink_kbps,
    )
    if rates == (None, None, None, None):
        return bytes((qos.qci,))
    coded = [encode_eps_qos_bit_rate(rate or 0) for rate in rates]
    octets = bytes((qos.qci, *[rate.basic for rate in coded]))
    if any(rate.extended for rate in coded):
        octets += bytes([rate.extended for rate in coded])
        if any(rate.extended_2 for rate in coded):
            octets += bytes([rate.extended_2 for rate in coded])
    return octets


def decode_eps_qos(octets: bytes) -> EpsQos:
    """The QoS in a value part; octets beyond the complete groups of four are ignored."""
    require_length(octets, 1)
    if len(octets) < 5:
        return EpsQos(qci=octets[0])
    padded = octets[:13] if len(octets) >= 13 else (octets[:9] if len(octets) >= 9 else octets[:5]).ljust(13, b"\0")
    rates = [decode_eps_qos_bit_rate(CodedBitRate(padded[at], padded[at + 4], padded[at + 8])) for at in range(1, 5)]
    return EpsQos(
        qci=octets[0],
        maximum_bit_rate_uplink_kbps=rates[0],
        maximum_bit_rate_downlink_kbps=rates[1],
        guaranteed_bit_rate_uplink_kbps=rates[2],
        guaranteed_bit_rate_downlink_kbps=rates[3],
    )


def encode_apn_ambr(ambr: ApnAmbr) -> bytes:
    """The value part: 2, 4 or 6 octets, downlink first."""
    downlink, uplink = encode_apn_ambr_bit_rate(ambr.downlink_kbps), encode_apn_ambr_bit_rate(ambr.uplink_kbps)
    octets = bytes((downlink.basic, uplink.basic))
    if downlink.extended_2 or uplink.extended_2:
        return octets + bytes((downlink.extended, uplink.extended, downlink.extended_2, uplink.extended_2))
    if downlink.extended or uplink.extended:
        return octets + bytes((downlink.extended, uplink.extended))
    return octets


def decode_apn_ambr(octets: bytes) -> ApnAmbr:
    """The APN-AMBR in a value part."""
    require_length(octets, 2)
    padded = octets[:6] if len(octets) >= 6 else (octets[:4] if len(octets) >= 4 else octets[:2]).ljust(6, b"\0")
    return ApnAmbr(
        downlink_kbps=decode_apn_ambr_bit_rate(CodedBitRate(padded[0], padded[2], padded[4])),
        uplink_kbps=decode_apn_ambr_bit_rate(CodedBitRate(padded[1], padded[3], padded[5])),
    )


EPS_QOS = Coding(encode_eps_qos, decode_eps_qos)
APN_AMBR = Coding(encode_apn_ambr, decode_apn_ambr)
