"""Security and capability elements: key set identifier, algorithms, UE network and security capability."""

from __future__ import annotations

from dataclasses import dataclass

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, HalfCoding, require_length
from epc.wire.nas.enumerations import CipheringAlgorithm, IntegrityAlgorithm

NO_KEY_IS_AVAILABLE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class NasKeySetIdentifier:
    """eKSI: TS 24.301 clause 9.9.3.21. ``value`` 7 means that no key is available; ``mapped`` is the TSC flag."""

    value: int
    mapped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NasSecurityAlgorithms:
    """TS 24.301 clause 9.9.3.23."""

    ciphering: CipheringAlgorithm | int
    integrity: IntegrityAlgorithm | int


@dataclass(frozen=True, slots=True, kw_only=True)
class UeNetworkCapability:
    """TS 24.301 clause 9.9.3.34.

    ``eea``, ``eia``, ``uea``, ``uia`` list the numbers of the algorithms that the UE supports, in rising order; ``uea`` and ``uia`` are ``None``
    when their octets are absent. ``further`` holds octets 7 and on (features) as they are.
    """

    eea: tuple[int, ...]
    eia: tuple[int, ...]
    uea: tuple[int, ...] | None = None
    uia: tuple[int, ...] | None = None
    ucs2: bool = False
    further: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class UeSecurityCapability:
    """TS 24.301 clause 9.9.3.36: algorithms by number, replayed to the UE so that nobody can bid them down.

    ``gea`` is ``None`` when the UE sent no MS network capability; ``uea`` and ``uia`` when it sent no UMTS octets.
    """

    eea: tuple[int, ...]
    eia: tuple[int, ...]
    uea: tuple[int, ...] | None = None
    uia: tuple[int, ...] | None = None
    gea: tuple[int, ...] | None = None

    @classmethod
    def of(cls, ue_network_capability: UeNetworkCapability, ms_network_capability: bytes | None = None) -> UeSecurityCapability:
        """What the MME replays of the capabilities that the UE sent (TS 33.401 clause 7.2.4.4)."""
        gea = None
        if ms_network_capability is not None and len(ms_network_capability) >= 2:
            # TS 24.008 clause 10.5.5.12: GEA/1 is the first bit, GEA/2 to GEA/7 follow the PFC bit of the second octet
            gea = _NUMBERS[ms_network_capability[0] >> 1 & 0x40 | ms_network_capability[1] >> 1 & 0x3F]
        sent = ue_network_capability
        return cls(eea=sent.eea, eia=sent.eia, uea=sent.uea, uia=sent.uia, gea=gea)


_NUMBERS = tuple([tuple([number for number in range(8) if octet & 0x80 >> number]) for octet in range(256)])
_BITS = {numbers: octet for octet, numbers in enumerate(_NUMBERS)}


def _bits(numbers: tuple[int, ...]) -> int:
    octet = _BITS.get(numbers)
    if octet is None:
        raise WireError(f"not algorithm numbers 0 to 7 in rising order: {numbers!r}")
    return octet


def encode_ue_network_capability(capability: UeNetworkCapability) -> bytes:
    """The value part."""
    octets = bytes((_bits(capability.eea), _bits(capability.eia)))
    if capability.uea is None:
        if capability.uia is not None or capability.further:
            raise WireError("UIA and features need the UEA octet before them")
        return octets
    octets += bytes((_bits(capability.uea),))
    if capability.uia is None:
        if capability.further:
            raise WireError("features need the UIA octet before them")
        return octets
    uia = _bits(capability.uia)
    if uia & 0x80:
        raise WireError("there is no UIA0 in the UE network capability")
    return octets + bytes((uia | (0x80 if capability.ucs2 else 0),)) + capability.further


def decode_ue_network_capability(octets: bytes) -> UeNetworkCapability:
    """The capability in a value part."""
    length = len(octets)
    require_length(octets, 2, 13)
    if length == 2:
        return UeNetworkCapability(eea=_NUMBERS[octets[0]], eia=_NUMBERS[octets[1]])
    if length == 3:
        return UeNetworkCapability(eea=_NUMBERS[octets[0]], eia=_NUMBERS[octets[1]], uea=_NUMBERS[octets[2]])
    return UeNetworkCapability(
        eea=_NUMBERS[octets[0]],
        eia=_NUMBERS[octets[1]],
        uea=_NUMBERS[octets[2]],
        uia=_NUMBERS[octets[3] & 0x7F],
        ucs2=octets[3] >= 0x80,
        further=octets[4:],
    )


def encode_ue_security_capability(capability: UeSecurityCapability) -> bytes:
    """The value part: 2, 4 or 5 octets."""
    octets = bytes((_bits(capability.eea), _bits(capability.eia)))
    if capability.uea is None and capability.uia is None and capability.gea is None:
        return octets
    octets += bytes((_bits(capability.uea or ()), _bits(capability.uia or ())))
    return octets if capability.gea is None else octets + bytes((_bits(capability.gea),))


def decode_ue_security_capability(octets: bytes) -> UeSecurityCapability:
    """The capability in a value part."""
    require_length(octets, 2, 5)
    if len(octets) < 4:
        return UeSecurityCapability(eea=_NUMBERS[octets[0]], eia=_NUMBERS[octets[1]])
    return UeSecurityCapability(
        eea=_NUMBERS[octets[0]],
        eia=_NUMBERS[octets[1]],
        uea=_NUMBERS[octets[2]],
        uia=_NUMBERS[octets[3] & 0x7F],
        gea=_NUMBERS[octets[4] & 0x7F] if len(octets) > 4 else None,
    )


def _named_algorithms(octet: int) -> NasSecurityAlgorithms:
    ciphering, integrity = octet >> 4 & 7, octet & 7
    return NasSecurityAlgorithms(
        ciphering=CipheringAlgorithm(ciphering) if ciphering <= 3 else ciphering,
        integrity=IntegrityAlgorithm(integrity) if integrity <= 3 else integrity,
    )


_ALGORITHMS = tuple([_named_algorithms(octet) for octet in range(256)])


def _encode_nas_security_algorithms(algorithms: NasSecurityAlgorithms) -> bytes:
    if not (0 <= algorithms.ciphering <= 7 and 0 <= algorithms.integrity <= 7):
        raise WireError("an algorithm's number has 3 bits")
    return bytes((algorithms.ciphering << 4 | algorithms.integrity,))


def _decode_nas_security_algorithms(octets: bytes) -> NasSecurityAlgorithms:
    require_length(octets, 1)
    return _ALGORITHMS[octets[0]]


def _encode_nas_key_set_identifier(identifier: NasKeySetIdentifier) -> int:
    if not 0 <= identifier.value <= 7:
        raise WireError("a key set identifier has 3 bits")
    return identifier.mapped << 3 | identifier.value


NAS_KEY_SET_IDENTIFIER = HalfCoding(
    _encode_nas_key_set_identifier, tuple([NasKeySetIdentifier(value=bits & 7, mapped=bits >= 8) for bits in range(16)])
)
NAS_SECURITY_ALGORITHMS = Coding(_encode_nas_security_algorithms, _decode_nas_security_algorithms)
UE_NETWORK_CAPABILITY = Coding(encode_ue_network_capability, decode_ue_network_capability)
UE_SECURITY_CAPABILITY = Coding(encode_ue_security_capability, decode_ue_security_capability)
