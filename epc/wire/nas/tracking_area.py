"""Where the UE is: tracking and location areas, lists of them, and equivalent PLMNs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from epc.wire.errors import WireError
from epc.wire.identity import Plmn, decode_plmn, encode_plmn
from epc.wire.nas.coding import Coding, require_length

_MAXIMUM_TAIS = 16      # TS 24.301 clause 9.9.3.33: a TAI list holds up to 16 different TAIs


@dataclass(frozen=True, slots=True, kw_only=True)
class Tai:
    """Tracking area identity: TS 24.301 clause 9.9.3.32, TS 23.003 clause 19.4.2.3."""

    plmn: str
    tac: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationAreaIdentification:
    """TS 24.008 clause 10.5.1.3."""

    plmn: str
    lac: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NonConsecutiveTacs:
    """Type of list 000: TACs of one PLMN, one by one."""

    plmn: str
    tacs: tuple[int, ...]

    @property
    def tais(self) -> tuple[Tai, ...]:
        return tuple([Tai(plmn=self.plmn, tac=tac) for tac in self.tacs])


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsecutiveTacs:
    """Type of list 001: ``count`` TACs of one PLMN from ``first_tac`` on."""

    plmn: str
    first_tac: int
    count: int

    @property
    def tais(self) -> tuple[Tai, ...]:
        return tuple([Tai(plmn=self.plmn, tac=self.first_tac + index) for index in range(self.count)])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaisOfSeveralPlmns:
    """Type of list 010: each TAI with its own PLMN."""

    tais: tuple[Tai, ...]


PartialTaiList: TypeAlias = NonConsecutiveTacs | ConsecutiveTacs | TaisOfSeveralPlmns


@dataclass(frozen=True, slots=True, kw_only=True)
class TaiList:
    """The tracking areas in which the UE need not update: TS 24.301 clause 9.9.3.33."""

    partial_lists: tuple[PartialTaiList, ...]

    @property
    def tais(self) -> tuple[Tai, ...]:
        return tuple([tai for partial in self.partial_lists for tai in partial.tais])

    @classmethod
    def of(cls, tais: Iterable[Tai]) -> TaiList:
        """One partial list of type 000 a PLMN, in the order of first appearance."""
        tacs_by_plmn: dict[str, list[int]] = {}
        for tai in tais:
            tacs_by_plmn.setdefault(tai.plmn, []).append(tai.tac)
        return cls(partial_lists=tuple([NonConsecutiveTacs(plmn=plmn, tacs=tuple(tacs)) for plmn, tacs in tacs_by_plmn.items()]))


def encode_tai(tai: Tai) -> bytes:
    """Five octets."""
    return encode_plmn(tai.plmn) + tai.tac.to_bytes(2, "big")


def decode_tai(octets: bytes) -> Tai:
    """The TAI in five octets."""
    require_length(octets, 5, 5)
    return Tai(plmn=decode_plmn(octets), tac=octets[3] << 8 | octets[4])


def encode_location_area_identification(lai: LocationAreaIdentification) -> bytes:
    """Five octets."""
    return encode_plmn(lai.plmn) + lai.lac.to_bytes(2, "big")


def decode_location_area_identification(octets: bytes) -> LocationAreaIdentification:
    """The LAI in five octets."""
    require_length(octets, 5, 5)
    return LocationAreaIdentification(plmn=decode_plmn(octets), lac=octets[3] << 8 | octets[4])


def encode_tai_list(tai_list: TaiList) -> bytes:
    """The value part; a list holds 1 to 16 TAIs."""
    total = sum([len(partial.tais) for partial in tai_list.partial_lists])
    if not 1 <= total <= _MAXIMUM_TAIS or not all(partial.tais for partial in tai_list.partial_lists):
        raise WireError(f"a TAI list holds 1 to 16 TAIs, not {total}")
    parts = []
    for partial in tai_list.partial_lists:
        match partial:
            case NonConsecutiveTacs(plmn=plmn, tacs=tacs):
                parts.append(bytes((len(tacs) - 1,)) + encode_plmn(plmn) + b"".join([tac.to_bytes(2, "big") for tac in tacs]))
            case ConsecutiveTacs(plmn=plmn, first_tac=first_tac, count=count):
                if first_tac + count > 0x10000:
                    raise WireError("a TAC has 16 bits")
                parts.append(bytes((1 << 5 | count - 1,)) + encode_plmn(plmn) + first_tac.to_bytes(2, "big"))
            case TaisOfSeveralPlmns(tais=tais):
                parts.append(bytes((2 << 5 | len(tais) - 1,)) + b"".join([encode_tai(tai) for tai in tais]))
    return b"".join(parts)


def decode_tai_list(octets: bytes) -> TaiList:
    """The list in a value part."""
    require_length(octets, 6, 96)
    partial_lists: list[PartialTaiList] = []
    offset, end = 0, len(octets)
    while offset < end:
        type_of_list, count = octets[offset] >> 5 & 3, (octets[offset] & 31) + 1
        length = {0: 4 + 2 * count, 1: 6, 2: 1 + 5 * count}.get(type_of_list)
        if length is None:
            raise WireError("type of list 3 is reserved")
        if offset + length > end:
            raise WireError("truncated partial list")
        if type_of_list == 2:
            tais = tuple([decode_tai(octets[at:at + 5]) for at in range(offset + 1, offset + length, 5)])
            partial_lists.append(TaisOfSeveralPlmns(tais=tais))
        else:
            plmn = decode_plmn(octets, offset + 1)
            tacs = [octets[at] << 8 | octets[at + 1] for at in range(offset + 4, offset + length, 2)]
            if type_of_list == 0:
                partial_lists.append(NonConsecutiveTacs(plmn=plmn, tacs=tuple(tacs)))
            elif tacs[0] + count > 0x10000:
                raise WireError("consecutive TACs pass 65535")
            else:
                partial_lists.append(ConsecutiveTacs(plmn=plmn, first_tac=tacs[0], count=count))
        offset += length
    return TaiList(partial_lists=tuple(partial_lists))


def encode_plmn_list(plmns: tuple[Plmn, ...]) -> bytes:
    """TS 24.008 clause 10.5.1.13: 1 to 15 PLMNs."""
    if not 1 <= len(plmns) <= 15:
        raise WireError(f"a PLMN list holds 1 to 15 PLMNs, not {len(plmns)}")
    return b"".join([encode_plmn(plmn) for plmn in plmns])


def decode_plmn_list(octets: bytes) -> tuple[Plmn, ...]:
    """The PLMNs in a value part."""
    require_length(octets, 3, 45)
    if len(octets) % 3:
        raise WireError("not a multiple of three octets")
    return tuple([decode_plmn(octets, at) for at in range(0, len(octets), 3)])


TAI = Coding(encode_tai, decode_tai)
TAI_LIST = Coding(encode_tai_list, decode_tai_list)
LOCATION_AREA_IDENTIFICATION = Coding(encode_location_area_identification, decode_location_area_identification)
PLMN_LIST = Coding(encode_plmn_list, decode_plmn_list)
