"""Half-octet types of detach, update and service procedures, and the list of active bearers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, HalfCoding, require_length
from epc.wire.nas.enumerations import ControlPlaneServiceTypeValue, EpsUpdateTypeValue, TypeOfDetachFromUe

E = TypeVar("E", bound=IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachType:
    """Of a UE-initiated detach: TS 24.301 clause 9.9.3.7. After ``switch_off`` nobody answers."""

    type_of_detach: TypeOfDetachFromUe | int
    switch_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsUpdateType:
    """TS 24.301 clause 9.9.3.14; ``active`` asks for the user plane."""

    value: EpsUpdateTypeValue | int
    active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneServiceType:
    """TS 24.301 clause 9.9.3.47; ``active`` asks for the user plane."""

    value: ControlPlaneServiceTypeValue | int
    active: bool = False


def _named(enumeration: type[E], value: int) -> E | int:
    return next((member for member in enumeration if member == value), value)


def _with_flag(value: int, flag: bool) -> int:
    if not 0 <= value <= 7:
        raise WireError("a type has 3 bits")
    return flag << 3 | value


def _encode_detach_type(detach_type: DetachType) -> int:
    return _with_flag(detach_type.type_of_detach, detach_type.switch_off)


def _encode_update_type(update_type: EpsUpdateType) -> int:
    return _with_flag(update_type.value, update_type.active)


def _encode_service_type(service_type: ControlPlaneServiceType) -> int:
    return _with_flag(service_type.value, service_type.active)


def encode_eps_bearer_context_status(active: tuple[int, ...]) -> bytes:
    """Two octets, one bit a bearer: TS 24.301 clause 9.9.2.1."""
    if not all(0 <= ebi <= 15 for ebi in active):
        raise WireError("an EPS bearer identity has 4 bits", ie="EPS bearer context status")
    return sum([1 << ebi for ebi in set(active)]).to_bytes(2, "little")


def decode_eps_bearer_context_status(octets: bytes) -> tuple[int, ...]:
    """The EPS bearer identities that are active, in rising order; bits 1 to 5 of the first octet are spare."""
    require_length(octets, 2, 2)
    bits = octets[0] | octets[1] << 8
    return tuple([ebi for ebi in range(5, 16) if bits >> ebi & 1])


DETACH_TYPE = HalfCoding(
    _encode_detach_type, tuple([DetachType(type_of_detach=_named(TypeOfDetachFromUe, bits & 7), switch_off=bits >= 8) for bits in range(16)])
)
EPS_UPDATE_TYPE = HalfCoding(
    _encode_update_type, tuple([EpsUpdateType(value=_named(EpsUpdateTypeValue, bits & 7), active=bits >= 8) for bits in range(16)])
)
CONTROL_PLANE_SERVICE_TYPE = HalfCoding(
    _encode_service_type,
    tuple([ControlPlaneServiceType(value=_named(ControlPlaneServiceTypeValue, bits & 7), active=bits >= 8) for bits in range(16)]),
)
EPS_BEARER_CONTEXT_STATUS = Coding(encode_eps_bearer_context_status, decode_eps_bearer_context_status)
