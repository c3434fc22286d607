"""Information elements of TS 29.274 clause 8: their values, and how each is written and read.

Addresses are :mod:`ipaddress` objects; digits are strings; containers that another specification defines (PCO, TFT, TAD) stay octets.
A ``_decode`` function may rely on as many octets as the element's ``minimum`` says and ignores octets that a later release appended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import NamedTuple

from epc.wire.errors import WireError
from epc.wire.gtpv2.enums import (
    BearerFlags,
    CauseValue,
    ChangeReportingAction,
    CsgInformationReportingAction,
    Indication,
    InterfaceType,
    NodeFeatures,
    NodeType,
    PdnType,
    RanNasProtocolType,
    RatType,
    SelectionMode,
)
from epc.wire.gtpv2.table import Ie
from epc.wire.identity import Ebi, Plmn, Teid, decode_plmn, decode_tbcd, encode_plmn, encode_tbcd

IpAddress = IPv4Address | IPv6Address

_U16 = Struct("!H")
_U32 = Struct("!I")
_U64 = Struct("!Q")
_AMBR = Struct("!II")
_FTEID = Struct("!BI")
_U8_U32 = Struct("!BI")

_ipv4 = lru_cache(maxsize=4096)(IPv4Address)
_ipv6 = lru_cache(maxsize=4096)(IPv6Address)
_address_of_text = lru_cache(maxsize=4096)(ip_address)


# --- numbers, digits, octets -------------------------------------------------------------------------------------------------


def _u8(value: int) -> bytes:
    return bytes((value,))


def _decode_u8(octets: bytes) -> int:
    return octets[0]


def _u16(value: int) -> bytes:
    return _U16.pack(value)


def _decode_u16(octets: bytes) -> int:
    number: int = _U16.unpack_from(octets)[0]
    return number


def _u32(value: int) -> bytes:
    return _U32.pack(value)


def _decode_u32(octets: bytes) -> int:
    number: int = _U32.unpack_from(octets)[0]
    return number


def _octets(value: bytes) -> bytes:
    return value


def _encode_ebi(value: int) -> bytes:
    if not 0 <= value <= 15:
        raise WireError(f"EPS bearer identity {value}", ie="EBI")
    return bytes((value,))


def _decode_ebi(octets: bytes) -> Ebi:
    return Ebi(octets[0] & 0x0F)


def _decode_plmn(octets: bytes) -> Plmn:
    return decode_plmn(octets)


def _enumerated(enum: type[IntEnum], mask: int = 0xFF) -> Callable[[bytes], int]:
    """Reads one octet as a member of ``enum``, or as the plain number it is."""
    members = {int(member): member for member in enum}

    def decode(octets: bytes) -> int:
        number = octets[0] & mask
        return members.get(number, number)

    return decode


def _encode_indication(value: int) -> bytes:
    """As many octets as the flags need, two at least (the length of the first release)."""
    return value.to_bytes(max(2, (value.bit_length() + 7) >> 3), "little")


def _decode_indication(octets: bytes) -> Indication:
    return Indication(int.from_bytes(octets, "little"))


def _decode_bearer_flags(octets: bytes) -> BearerFlags:
    return BearerFlags(octets[0])


def _decode_node_features(octets: bytes) -> NodeFeatures:
    return NodeFeatures(octets[0])


def _decode_csg_action(octets: bytes) -> CsgInformationReportingAction:
    return CsgInformationReportingAction(octets[0])


def _encode_integer(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) >> 3), "big")


def _decode_integer(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _encode_milliseconds(value: int) -> bytes:
    return value.to_bytes(6, "big")


def _decode_milliseconds(octets: bytes) -> int:
    return int.from_bytes(octets[:6], "big")


@lru_cache(maxsize=1024)
def encode_labels(name: str) -> bytes:
    """An APN or domain name as length-prefixed labels (TS 23.003 clause 9.1)."""
    if not name.isascii():
        raise WireError(f"not an APN or domain name: {name!r}", ie="APN")
    out = bytearray()
    for label in name.split(".") if name else ():
        if not 1 <= len(label) <= 63:
            raise WireError(f"a label of {len(label)} characters in {name!r}", ie="APN")
        out.append(len(label))
        out += label.encode("ascii")
    return bytes(out)


@lru_cache(maxsize=1024)
def decode_labels(octets: bytes) -> str:
    labels = []
    offset = 0
    while offset < len(octets):
        length = octets[offset]
        label = octets[offset + 1:offset + 1 + length]
        if not length or length > 63 or len(label) != length or not label.isascii() or b"." in label:
            raise WireError("not a sequence of labels", offset=offset)
        labels.append(label.decode("ascii"))
        offset += 1 + length
    return ".".join(labels)


# --- cause --------------------------------------------------------------------------------------------------------------------


class OffendingIe(NamedTuple):
    type: int
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """TS 29.274 clause 8.4."""

    value: CauseValue | int
    pce: bool = False                          # error in a PDN Connection element
    bce: bool = False                          # error in a Bearer Context element
    cs: bool = False                           # cause source: the remote node's, handed on
    offending_ie: OffendingIe | None = None

    @property
    def is_accepted(self) -> bool:
        return 16 <= self.value <= 63


_CAUSE_VALUES = {int(member): member for member in CauseValue}


def _encode_cause(cause: Cause) -> bytes:
    flags = cause.pce << 2 | cause.bce << 1 | cause.cs
    if cause.offending_ie is None:
        return bytes((cause.value, flags))
    return bytes((cause.value, flags, cause.offending_ie.type, 0, 0, cause.offending_ie.instance & 0x0F))


def _decode_cause(octets: bytes) -> Cause:
    value, flags = octets[0], octets[1]
    offending = OffendingIe(octets[2], octets[5] & 0x0F) if len(octets) >= 6 else None
    return Cause(value=_CAUSE_VALUES.get(value, value), pce=bool(flags & 4), bce=bool(flags & 2), cs=bool(flags & 1), offending_ie=offending)


# --- addresses and tunnels ----------------------------------------------------------------------------------------------------


def _encode_ip_address(value: IpAddress) -> bytes:
    return value.packed


def _decode_ip_address(octets: bytes) -> IpAddress:
    if len(octets) == 4:
        return _ipv4(octets)
    if len(octets) == 16:
        return _ipv6(octets)
    raise WireError(f"an address of {len(octets)} octets", ie="IP Address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fteid:
    """A tunnel endpoint: whose it is, its TEID and the address to send to (TS 29.274 clause 8.22)."""

    interface_type: InterfaceType | int
    teid: Teid | int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    @classmethod
    def at(cls, interface_type: InterfaceType, teid: int, host: str) -> Fteid:
        """The endpoint at an address given as text, IPv4 or IPv6."""
        address = _address_of_text(host)
        if isinstance(address, IPv4Address):
            return cls(interface_type=interface_type, teid=teid, ipv4=address)
        return cls(interface_type=interface_type, teid=teid, ipv6=address)

    @property
    def host(self) -> str:
        """The address to send to, IPv4 before IPv6, as text."""
        return str(self.ipv4 if self.ipv4 is not None else self.ipv6)


_INTERFACE_TYPES = {int(member): member for member in InterfaceType}


def _encode_fteid(value: Fteid) -> bytes:
    if not 0 <= value.interface_type <= 63:
        raise WireError(f"interface type {value.interface_type}", ie="F-TEID")
    flags = int(value.interface_type)
    tail = b""
    if value.ipv4 is not None:
        flags |= 0x80
        tail = value.ipv4.packed
    if value.ipv6 is not None:
        flags |= 0x40
        tail += value.ipv6.packed
    return _FTEID.pack(flags, value.teid) + tail


def _decode_fteid(octets: bytes) -> Fteid:
    flags, teid = _FTEID.unpack_from(octets)
    offset = 5
    ipv4 = ipv6 = None
    if flags & 0x80:
        offset = 9
        if len(octets) < 9:
            raise WireError("truncated", offset=5, ie="F-TEID")
        ipv4 = _ipv4(octets[5:9])
    if flags & 0x40:
        if len(octets) < offset + 16:
            raise WireError("truncated", offset=offset, ie="F-TEID")
        ipv6 = _ipv6(octets[offset:offset + 16])
    if not flags & 0xC0:
        raise WireError("neither IPv4 nor IPv6 address", ie="F-TEID")
    interface_type = flags & 0x3F
    return Fteid(interface_type=_INTERFACE_TYPES.get(interface_type, interface_type), teid=teid, ipv4=ipv4, ipv6=ipv6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paa:
    """PDN Address Allocation (TS 29.274 clause 8.14). In a request an address of zeros asks for a dynamic one."""

    pdn_type: PdnType | int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None            # prefix and interface identifier
    ipv6_prefix_length: int = 64


_PDN_TYPES = {int(member): member for member in PdnType}


def _encode_paa(value: Paa) -> bytes:
    out = bytes((value.pdn_type,))
    if value.pdn_type in (PdnType.IPV6, PdnType.IPV4V6):
        if value.ipv6 is None:
            raise WireError("no IPv6 address", ie="PAA")
        out += bytes((value.ipv6_prefix_length,)) + value.ipv6.packed
    if value.pdn_type in (PdnType.IPV4, PdnType.IPV4V6):
        if value.ipv4 is None:
            raise WireError("no IPv4 address", ie="PAA")
        out += value.ipv4.packed
    return out


def _decode_paa(octets: bytes) -> Paa:
    pdn_type = octets[0] & 7
    if pdn_type == PdnType.IPV4:
        if len(octets) < 5:
            raise WireError("truncated", offset=1, ie="PAA")
        return Paa(pdn_type=PdnType.IPV4, ipv4=_ipv4(octets[1:5]))
    if pdn_type in (PdnType.IPV6, PdnType.IPV4V6):
        if len(octets) < (18 if pdn_type == PdnType.IPV6 else 22):
            raise WireError("truncated", offset=1, ie="PAA")
        ipv4 = None if pdn_type == PdnType.IPV6 else _ipv4(octets[18:22])
        return Paa(pdn_type=_PDN_TYPES[pdn_type], ipv4=ipv4, ipv6=_ipv6(octets[2:18]), ipv6_prefix_length=octets[1])
    return Paa(pdn_type=_PDN_TYPES.get(pdn_type, pdn_type))


@dataclass(frozen=True, slots=True, kw_only=True)
class FqCsid:
    """Fully qualified PDN connection set identifier (TS 29.274 clause 8.62)."""

    node_id: IpAddress | int                   # an address, or MCC * 1000 + MNC and 12 operator-defined bits in 32
    csids: tuple[int, ...]


def _encode_fq_csid(value: FqCsid) -> bytes:
    node = value.node_id
    if len(value.csids) > 15:
        raise WireError(f"{len(value.csids)} CSIDs", ie="FQ-CSID")
    kind, packed = (2, _U32.pack(node)) if isinstance(node, int) else (0 if node.version == 4 else 1, node.packed)
    return bytes((kind << 4 | len(value.csids),)) + packed + b"".join([_U16.pack(csid) for csid in value.csids])


def _decode_fq_csid(octets: bytes) -> FqCsid:
    kind, number = octets[0] >> 4, octets[0] & 15
    length = 16 if kind == 1 else 4
    if kind > 2:
        raise WireError(f"node identity type {kind}", ie="FQ-CSID")
    if len(octets) < 1 + length + 2 * number:
        raise WireError("truncated", offset=1, ie="FQ-CSID")
    packed = octets[1:1 + length]
    node: IpAddress | int = _ipv4(packed) if kind == 0 else _ipv6(packed) if kind == 1 else int.from_bytes(packed, "big")
    return FqCsid(node_id=node, csids=tuple(_U16.unpack_from(octets, 1 + length + 2 * i)[0] for i in range(number)))


# --- quality of service -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Arp:
    """Allocation/Retention Priority (TS 29.274 clause 8.86, TS 29.212 clause 5.3.32). On the wire both bits mean the contrary."""

    priority_level: int                        # 1 (highest) to 15
    pre_emption_capability: bool = False       # may take resources from bearers of lower priority
    pre_emption_vulnerability: bool = True     # may lose its resources to bearers of higher priority


def _encode_arp(value: Arp) -> bytes:
    if not 0 <= value.priority_level <= 15:
        raise WireError(f"priority level {value.priority_level}", ie="ARP")
    return bytes(((not value.pre_emption_capability) << 6 | value.priority_level << 2 | (not value.pre_emption_vulnerability),))


def _decode_arp(octets: bytes) -> Arp:
    octet = octets[0]
    return Arp(priority_level=octet >> 2 & 15, pre_emption_capability=not octet & 0x40, pre_emption_vulnerability=not octet & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerQos:
    """Bearer Level QoS (TS 29.274 clause 8.15); the bit rates are 0 for a non-GBR bearer."""

    qci: int
    arp: Arp
    mbr_uplink_kbps: int = 0
    mbr_downlink_kbps: int = 0
    gbr_uplink_kbps: int = 0
    gbr_downlink_kbps: int = 0


def _encode_rates(value: BearerQos | FlowQos) -> bytes:
    packed = value.mbr_uplink_kbps << 120 | value.mbr_downlink_kbps << 80 | value.gbr_uplink_kbps << 40 | value.gbr_downlink_kbps
    if not packed:
        return bytes(20)
    if max(value.mbr_uplink_kbps, value.mbr_downlink_kbps, value.gbr_uplink_kbps, value.gbr_downlink_kbps) >> 40:
        raise WireError("a bit rate of more than 40 bits", ie="Bearer QoS")
    return packed.to_bytes(20, "big")


def _rates(octets: bytes, offset: int) -> tuple[int, int, int, int]:
    packed = int.from_bytes(octets[offset:offset + 20], "big")
    return packed >> 120, packed >> 80 & 0xFFFFFFFFFF, packed >> 40 & 0xFFFFFFFFFF, packed & 0xFFFFFFFFFF


def _encode_bearer_qos(value: BearerQos) -> bytes:
    return _encode_arp(value.arp) + bytes((value.qci,)) + _encode_rates(value)


def _decode_bearer_qos(octets: bytes) -> BearerQos:
    arp = _decode_arp(octets)
    mbr_uplink, mbr_downlink, gbr_uplink, gbr_downlink = _rates(octets, 2)
    return BearerQos(
        qci=octets[1], arp=arp, mbr_uplink_kbps=mbr_uplink, mbr_downlink_kbps=mbr_downlink, gbr_uplink_kbps=gbr_uplink, gbr_downlink_kbps=gbr_downlink
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowQos:
    """QoS that the UE asks for in a bearer resource command (TS 29.274 clause 8.16)."""

    qci: int
    mbr_uplink_kbps: int = 0
    mbr_downlink_kbps: int = 0
    gbr_uplink_kbps: int = 0
    gbr_downlink_kbps: int = 0


def _encode_flow_qos(value: FlowQos) -> bytes:
    return bytes((value.qci,)) + _encode_rates(value)


def _decode_flow_qos(octets: bytes) -> FlowQos:
    mbr_uplink, mbr_downlink, gbr_uplink, gbr_downlink = _rates(octets, 1)
    return FlowQos(
        qci=octets[0], mbr_uplink_kbps=mbr_uplink, mbr_downlink_kbps=mbr_downlink, gbr_uplink_kbps=gbr_uplink, gbr_downlink_kbps=gbr_downlink
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambr:
    """Aggregate Maximum Bit Rate (TS 29.274 clause 8.7)."""

    uplink_kbps: int
    downlink_kbps: int


def _encode_ambr(value: Ambr) -> bytes:
    return _AMBR.pack(value.uplink_kbps, value.downlink_kbps)


def _decode_ambr(octets: bytes) -> Ambr:
    uplink, downlink = _AMBR.unpack_from(octets)
    return Ambr(uplink_kbps=uplink, downlink_kbps=downlink)


# --- where the UE is ----------------------------------------------------------------------------------------------------------


class Cgi(NamedTuple):
    plmn: Plmn | str
    lac: int
    ci: int


class Sai(NamedTuple):
    plmn: Plmn | str
    lac: int
    sac: int


class Rai(NamedTuple):
    plmn: Plmn | str
    lac: int
    rac: int


class Tai(NamedTuple):
    plmn: Plmn | str
    tac: int


class Ecgi(NamedTuple):
    plmn: Plmn | str
    eci: int            # E-UTRAN cell identity, 28 bits: eNodeB identity and cell


class Lai(NamedTuple):
    plmn: Plmn | str
    lac: int


class MacroEnodebId(NamedTuple):
    plmn: Plmn | str
    enodeb_id: int      # 20 bits


class ExtendedMacroEnodebId(NamedTuple):
    plmn: Plmn | str
    is_short: bool      # 18 bits instead of 21
    enodeb_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uli:
    """User Location Information (TS 29.274 clause 8.21)."""

    cgi: Cgi | None = None
    sai: Sai | None = None
    rai: Rai | None = None
    tai: Tai | None = None
    ecgi: Ecgi | None = None
    lai: Lai | None = None
    macro_enodeb_id: MacroEnodebId | None = None
    extended_macro_enodeb_id: ExtendedMacroEnodebId | None = None


def _encode_uli(value: Uli) -> bytes:
    flags = 0
    out = bytearray(1)
    if value.cgi is not None:
        flags |= 0x01
        out += encode_plmn(value.cgi.plmn) + _U16.pack(value.cgi.lac) + _U16.pack(value.cgi.ci)
    if value.sai is not None:
        flags |= 0x02
        out += encode_plmn(value.sai.plmn) + _U16.pack(value.sai.lac) + _U16.pack(value.sai.sac)
    if value.rai is not None:
        flags |= 0x04
        out += encode_plmn(value.rai.plmn) + _U16.pack(value.rai.lac) + bytes((value.rai.rac, 0xFF))
    if value.tai is not None:
        flags |= 0x08
        out += encode_plmn(value.tai.plmn) + _U16.pack(value.tai.tac)
    if value.ecgi is not None:
        flags |= 0x10
        if value.ecgi.eci >> 28:
            raise WireError(f"ECI {value.ecgi.eci:#x} of more than 28 bits", ie="ULI")
        out += encode_plmn(value.ecgi.plmn) + _U32.pack(value.ecgi.eci)
    if value.lai is not None:
        flags |= 0x20
        out += encode_plmn(value.lai.plmn) + _U16.pack(value.lai.lac)
    if value.macro_enodeb_id is not None:
        flags |= 0x40
        if value.macro_enodeb_id.enodeb_id >> 20:
            raise WireError("a macro eNodeB identity of more than 20 bits", ie="ULI")
        out += encode_plmn(value.macro_enodeb_id.plmn) + value.macro_enodeb_id.enodeb_id.to_bytes(3, "big")
    if value.extended_macro_enodeb_id is not None:
        flags |= 0x80
        plmn, is_short, enodeb_id = value.extended_macro_enodeb_id
        if enodeb_id >> (18 if is_short else 21):
            raise WireError("an extended macro eNodeB identity of too many bits", ie="ULI")
        out += encode_plmn(plmn) + (is_short << 23 | enodeb_id).to_bytes(3, "big")
    out[0] = flags
    return bytes(out)


_ULI_LENGTHS = (7, 7, 7, 5, 7, 5, 6, 6)


def _decode_uli(octets: bytes) -> Uli:
    flags = octets[0]
    if flags == 0x18 and len(octets) >= 13:          # TAI and ECGI: what an MME sends
        tac: int = _U16.unpack_from(octets, 4)[0]
        eci: int = _U32.unpack_from(octets, 9)[0]
        return Uli(tai=Tai(decode_plmn(octets, 1), tac), ecgi=Ecgi(decode_plmn(octets, 6), eci & 0xFFFFFFF))
    offset = 1
    at: list[int | None] = []
    for bit, length in enumerate(_ULI_LENGTHS):
        if flags >> bit & 1:
            at.append(offset)
            offset += length
        else:
            at.append(None)
    if len(octets) < offset:
        raise WireError("truncated", offset=len(octets), ie="ULI")

    def u16(position: int) -> int:
        return octets[position] << 8 | octets[position + 1]

    cgi, sai, rai, tai, ecgi, lai, macro, extended = at
    extended_id = 0 if extended is None else int.from_bytes(octets[extended + 3:extended + 6], "big")
    is_short = bool(extended_id >> 23)
    return Uli(
        cgi=None if cgi is None else Cgi(decode_plmn(octets, cgi), u16(cgi + 3), u16(cgi + 5)),
        sai=None if sai is None else Sai(decode_plmn(octets, sai), u16(sai + 3), u16(sai + 5)),
        rai=None if rai is None else Rai(decode_plmn(octets, rai), u16(rai + 3), octets[rai + 5]),
        tai=None if tai is None else Tai(decode_plmn(octets, tai), u16(tai + 3)),
        ecgi=None if ecgi is None else Ecgi(decode_plmn(octets, ecgi), _U32.unpack_from(octets, ecgi + 3)[0] & 0xFFFFFFF),
        lai=None if lai is None else Lai(decode_plmn(octets, lai), u16(lai + 3)),
        macro_enodeb_id=None if macro is None
        else MacroEnodebId(decode_plmn(octets, macro), int.from_bytes(octets[macro + 3:macro + 6], "big") & 0xFFFFF),
        extended_macro_enodeb_id=None if extended is None
        else ExtendedMacroEnodebId(decode_plmn(octets, extended), is_short, extended_id & (0x3FFFF if is_short else 0x1FFFFF)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCsgInformation:
    """UCI (TS 29.274 clause 8.75)."""

    plmn: Plmn | str
    csg_id: int                                # 27 bits
    access_mode: int                           # 0 closed, 1 hybrid
    lcsg: bool = False                         # leaving the CSG cell
    cmi: bool = False                          # member of the CSG


def _encode_uci(value: UserCsgInformation) -> bytes:
    if value.csg_id >> 27 or value.access_mode >> 2:
        raise WireError("CSG identity or access mode out of range", ie="UCI")
    return encode_plmn(value.plmn) + _U32.pack(value.csg_id) + bytes((value.access_mode << 6 | value.lcsg << 1 | value.cmi,))


def _decode_uci(octets: bytes) -> UserCsgInformation:
    flags = octets[7]
    return UserCsgInformation(
        plmn=decode_plmn(octets), csg_id=_decode_u32(octets[3:7]) & 0x7FFFFFF, access_mode=flags >> 6, lcsg=bool(flags & 2), cmi=bool(flags & 1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UeTimeZone:
    """TS 29.274 clause 8.44."""

    offset_minutes: int                        # from UTC, in quarters of an hour, daylight saving included
    daylight_saving_hours: int = 0             # 0, 1 or 2


def _encode_ue_time_zone(value: UeTimeZone) -> bytes:
    quarters, rest = divmod(abs(value.offset_minutes), 15)
    if rest or quarters > 79 or not 0 <= value.daylight_saving_hours <= 3:
        raise WireError(f"no time zone: {value}", ie="UE Time Zone")
    return bytes((quarters % 10 << 4 | (8 if value.offset_minutes < 0 else 0) | quarters // 10, value.daylight_saving_hours))


def _decode_ue_time_zone(octets: bytes) -> UeTimeZone:
    units = octets[0] >> 4
    if units > 9:
        raise WireError("not a decimal digit", ie="UE Time Zone")
    minutes = 15 * ((octets[0] & 7) * 10 + units)
    return UeTimeZone(offset_minutes=-minutes if octets[0] & 8 else minutes, daylight_saving_hours=octets[1] & 3)


# --- timers, traces, reports --------------------------------------------------------------------------------------------------

_TIMER_UNIT_SECONDS = {0: 2, 1: 60, 2: 600, 3: 3600, 4: 36000}


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcTimer:
    """TS 29.274 clause 8.87."""

    unit: int                                  # 0: 2 s, 1: 1 minute, 2: 10 minutes, 3: 1 hour, 4: 10 hours, 7: infinite
    value: int                                 # 0 to 31

    @property
    def seconds(self) -> int | None:
        """``None`` is for ever."""
        return None if self.unit == 7 else self.value * _TIMER_UNIT_SECONDS.get(self.unit, 60)


def _encode_epc_timer(value: EpcTimer) -> bytes:
    if value.unit >> 3 or value.value >> 5:
        raise WireError(f"no timer: {value}", ie="EPC Timer")
    return bytes((value.unit << 5 | value.value,))


def _decode_epc_timer(octets: bytes) -> EpcTimer:
    return EpcTimer(unit=octets[0] >> 5, value=octets[0] & 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """The part of low-priority Downlink Data Notifications to leave out, and for how long (TS 29.274 clause 8.85)."""

    delay: EpcTimer
    factor_percent: int


def _encode_throttling(value: Throttling) -> bytes:
    return _encode_epc_timer(value.delay) + bytes((value.factor_percent,))


def _decode_throttling(octets: bytes) -> Throttling:
    return Throttling(delay=_decode_epc_timer(octets), factor_percent=octets[1])


class TraceReference(NamedTuple):
    """TS 29.274 clause 8.45."""

    plmn: Plmn | str
    trace_id: int       # 24 bits


def _encode_trace_reference(value: TraceReference) -> bytes:
    return encode_plmn(value.plmn) + value.trace_id.to_bytes(3, "big")


def _decode_trace_reference(octets: bytes) -> TraceReference:
    return TraceReference(decode_plmn(octets), int.from_bytes(octets[3:6], "big"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInformation:
    """TS 29.274 clause 8.31; the bit masks as TS 32.422 clause 5 gives them."""

    reference: TraceReference
    triggering_events: bytes                   # 9 octets
    ne_types: int
    session_trace_depth: int
    interfaces: bytes                          # 12 octets
    collection_entity: IpAddress


def _encode_trace_information(value: TraceInformation) -> bytes:
    if len(value.triggering_events) != 9 or len(value.interfaces) != 12:
        raise WireError("triggering events take 9 octets, interfaces 12", ie="Trace Information")
    return (
        _encode_trace_reference(value.reference) + value.triggering_events + _U16.pack(value.ne_types)
        + bytes((value.session_trace_depth,)) + value.interfaces + value.collection_entity.packed
    )


def _decode_trace_information(octets: bytes) -> TraceInformation:
    return TraceInformation(
        reference=_decode_trace_reference(octets), triggering_events=octets[6:15], ne_types=_decode_u16(octets[15:17]),
        session_trace_depth=octets[17], interfaces=octets[18:30], collection_entity=_decode_ip_address(octets[30:]),
    )


class Counter(NamedTuple):
    """MO exception data counter (TS 29.274 clause 8.130)."""

    timestamp: int      # seconds since 1900
    value: int


def _encode_counter(value: Counter) -> bytes:
    return _U32.pack(value.timestamp) + bytes((value.value,))


def _decode_counter(octets: bytes) -> Counter:
    return Counter(_decode_u32(octets), octets[4])


class ServingPlmnRateControl(NamedTuple):
    """NAS data PDUs allowed in six minutes (TS 29.274 clause 8.129)."""

    uplink_rate_limit: int
    downlink_rate_limit: int


def _encode_serving_plmn_rate_control(value: ServingPlmnRateControl) -> bytes:
    return _U16.pack(value.uplink_rate_limit) + _U16.pack(value.downlink_rate_limit)


def _decode_serving_plmn_rate_control(octets: bytes) -> ServingPlmnRateControl:
    return ServingPlmnRateControl(_decode_u16(octets), _decode_u16(octets[2:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondaryRatUsageDataReport:
    """TS 29.274 clause 8.132."""

    for_sgw: bool                              # IRSGW
    for_pgw: bool                              # IRPGW
    secondary_rat_type: int                    # 0 NR, 1 unlicensed spectrum
    ebi: Ebi | int
    start_timestamp: int
    end_timestamp: int
    downlink_octets: int
    uplink_octets: int


_REPORT = Struct("!BBBIIQQ")


def _encode_secondary_rat_report(value: SecondaryRatUsageDataReport) -> bytes:
    return _REPORT.pack(
        value.for_sgw << 1 | value.for_pgw, value.secondary_rat_type, value.ebi & 15, value.start_timestamp, value.end_timestamp,
        value.downlink_octets, value.uplink_octets,
    )


def _decode_secondary_rat_report(octets: bytes) -> SecondaryRatUsageDataReport:
    flags, rat, ebi, start, end, downlink, uplink = _REPORT.unpack_from(octets)
    return SecondaryRatUsageDataReport(
        for_sgw=bool(flags & 2), for_pgw=bool(flags & 1), secondary_rat_type=rat, ebi=Ebi(ebi & 15), start_timestamp=start, end_timestamp=end,
        downlink_octets=downlink, uplink_octets=uplink,
    )


class ApnRateControlStatus(NamedTuple):
    """TS 29.274 clause 8.135."""

    uplink_packets_allowed: int
    additional_exception_reports: int
    downlink_packets_allowed: int
    validity_time: int


_RATE_STATUS = Struct("!IIIQ")


def _encode_apn_rate_control_status(value: ApnRateControlStatus) -> bytes:
    return _RATE_STATUS.pack(*value)


def _decode_apn_rate_control_status(octets: bytes) -> ApnRateControlStatus:
    return ApnRateControlStatus(*_RATE_STATUS.unpack_from(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaximumPacketLossRate:
    """In tenths of a percent (TS 29.274 clause 8.134)."""

    uplink: int | None = None
    downlink: int | None = None


def _encode_maximum_packet_loss_rate(value: MaximumPacketLossRate) -> bytes:
    out = bytes(((value.downlink is not None) << 1 | (value.uplink is not None),))
    for rate in (value.uplink, value.downlink):
        if rate is not None:
            out += _U16.pack(rate)
    return out


def _decode_maximum_packet_loss_rate(octets: bytes) -> MaximumPacketLossRate:
    rates: list[int | None] = [None, None]
    offset = 1
    for index in (0, 1):
        if octets[0] >> index & 1:
            if len(octets) < offset + 2:
                raise WireError("truncated", offset=offset, ie="Maximum Packet Loss Rate")
            rates[index] = _decode_u16(octets[offset:])
            offset += 2
    return MaximumPacketLossRate(uplink=rates[0], downlink=rates[1])


# --- causes of others, containers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RanNasCause:
    """Why the radio side or the UE did it, in that protocol's terms (TS 29.274 clause 8.103)."""

    protocol_type: RanNasProtocolType | int
    cause_type: int                            # S1AP: 0 radio network, 1 transport, 2 NAS, 3 protocol, 4 miscellaneous
    value: bytes                               # one octet, two for a Diameter or IKEv2 cause


def _encode_ran_nas_cause(value: RanNasCause) -> bytes:
    if value.protocol_type >> 4 or value.cause_type >> 4:
        raise WireError("protocol type or cause type out of range", ie="RAN/NAS Cause")
    return bytes((value.protocol_type << 4 | value.cause_type,)) + value.value


_RAN_NAS_PROTOCOLS = {int(member): member for member in RanNasProtocolType}


def _decode_ran_nas_cause(octets: bytes) -> RanNasCause:
    protocol = octets[0] >> 4
    return RanNasCause(protocol_type=_RAN_NAS_PROTOCOLS.get(protocol, protocol), cause_type=octets[0] & 15, value=octets[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class FContainer:
    """TS 29.274 clause 8.48; on S11 and S5/S8 the NBIFOM container (type 4)."""

    container_type: int
    octets: bytes


def _encode_f_container(value: FContainer) -> bytes:
    return bytes((value.container_type & 15,)) + value.octets


def _decode_f_container(octets: bytes) -> FContainer:
    return FContainer(container_type=octets[0] & 15, octets=octets[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingAndServiceInformation:
    """TS 29.274 clause 8.117."""

    ebi: Ebi | int
    paging_policy_indication: int | None = None


def _encode_paging_and_service_information(value: PagingAndServiceInformation) -> bytes:
    ppi = value.paging_policy_indication
    return bytes((value.ebi & 15, 0)) if ppi is None else bytes((value.ebi & 15, 1, ppi & 63))


def _decode_paging_and_service_information(octets: bytes) -> PagingAndServiceInformation:
    if octets[1] & 1 and len(octets) < 3:
        raise WireError("truncated", offset=2, ie="Paging and Service Information")
    return PagingAndServiceInformation(ebi=Ebi(octets[0] & 15), paging_policy_indication=octets[2] & 63 if octets[1] & 1 else None)


class ApnAndRelativeCapacity(NamedTuple):
    """TS 29.274 clause 8.115."""

    relative_capacity_percent: int
    apn: str


def _encode_apn_and_relative_capacity(value: ApnAndRelativeCapacity) -> bytes:
    apn = encode_labels(value.apn)
    return bytes((value.relative_capacity_percent, len(apn))) + apn


def _decode_apn_and_relative_capacity(octets: bytes) -> ApnAndRelativeCapacity:
    length = octets[1]
    if len(octets) < 2 + length:
        raise WireError("truncated", offset=2, ie="APN and Relative Capacity")
    return ApnAndRelativeCapacity(octets[0], decode_labels(octets[2:2 + length]))


# --- TS 29.274 table 8.1-1, as far as S11 and S5/S8 use it ---------------------------------------------------------------------

IMSI = Ie(1, "IMSI", encode_tbcd, decode_tbcd, 1)
CAUSE = Ie(2, "Cause", _encode_cause, _decode_cause, 2)
RECOVERY = Ie(3, "Recovery", _u8, _decode_u8, 1)
APN = Ie(71, "APN", encode_labels, decode_labels, 1)
AMBR = Ie(72, "AMBR", _encode_ambr, _decode_ambr, 8)
EBI = Ie(73, "EBI", _encode_ebi, _decode_ebi, 1)
IP_ADDRESS = Ie(74, "IP Address", _encode_ip_address, _decode_ip_address, 4)
MEI = Ie(75, "MEI", encode_tbcd, decode_tbcd, 1)
MSISDN = Ie(76, "MSISDN", encode_tbcd, decode_tbcd, 1)
INDICATION = Ie(77, "Indication", _encode_indication, _decode_indication, 1)
PCO = Ie(78, "PCO", _octets, _octets, 0)
PAA = Ie(79, "PAA", _encode_paa, _decode_paa, 1)
BEARER_QOS = Ie(80, "Bearer QoS", _encode_bearer_qos, _decode_bearer_qos, 22)
FLOW_QOS = Ie(81, "Flow QoS", _encode_flow_qos, _decode_flow_qos, 21)
RAT_TYPE = Ie(82, "RAT Type", _u8, _enumerated(RatType), 1)
SERVING_NETWORK = Ie(83, "Serving Network", encode_plmn, _decode_plmn, 3)
BEARER_TFT = Ie(84, "Bearer TFT", _octets, _octets, 1)
TAD = Ie(85, "TAD", _octets, _octets, 1)
ULI = Ie(86, "ULI", _encode_uli, _decode_uli, 1)
F_TEID = Ie(87, "F-TEID", _encode_fteid, _decode_fteid, 5)
S103PDF = Ie(90, "S103PDF", _octets, _octets, 1)
S1UDF = Ie(91, "S1UDF", _octets, _octets, 1)
DELAY_VALUE = Ie(92, "Delay Value", _u8, _decode_u8, 1)
CHARGING_ID = Ie(94, "Charging ID", _u32, _decode_u32, 4)
CHARGING_CHARACTERISTICS = Ie(95, "Charging Characteristics", _u16, _decode_u16, 2)
TRACE_INFORMATION = Ie(96, "Trace Information", _encode_trace_information, _decode_trace_information, 34)
BEARER_FLAGS = Ie(97, "Bearer Flags", _u8, _decode_bearer_flags, 1)
PDN_TYPE = Ie(99, "PDN Type", _u8, _enumerated(PdnType, 7), 1)
PTI = Ie(100, "PTI", _u8, _decode_u8, 1)
P_TMSI = Ie(111, "P-TMSI", _u32, _decode_u32, 4)
HOP_COUNTER = Ie(113, "Hop Counter", _u8, _decode_u8, 1)
UE_TIME_ZONE = Ie(114, "UE Time Zone", _encode_ue_time_zone, _decode_ue_time_zone, 2)
TRACE_REFERENCE = Ie(115, "Trace Reference", _encode_trace_reference, _decode_trace_reference, 6)
F_CONTAINER = Ie(118, "F-Container", _encode_f_container, _decode_f_container, 1)
PORT_NUMBER = Ie(126, "Port Number", _u16, _decode_u16, 2)
APN_RESTRICTION = Ie(127, "APN Restriction", _u8, _decode_u8, 1)
SELECTION_MODE = Ie(128, "Selection Mode", _u8, _enumerated(SelectionMode, 3), 1)
CHANGE_REPORTING_ACTION = Ie(131, "Change Reporting Action", _u8, _enumerated(ChangeReportingAction), 1)
FQ_CSID = Ie(132, "FQ-CSID", _encode_fq_csid, _decode_fq_csid, 5)
NODE_TYPE = Ie(135, "Node Type", _u8, _enumerated(NodeType), 1)
FQDN = Ie(136, "FQDN", encode_labels, decode_labels, 1)
UCI = Ie(145, "UCI", _encode_uci, _decode_uci, 8)
CSG_INFORMATION_REPORTING_ACTION = Ie(146, "CSG Information Reporting Action", _u8, _decode_csg_action, 1)
LDN = Ie(151, "LDN", _octets, _octets, 1)
NODE_FEATURES = Ie(152, "Node Features", _u8, _decode_node_features, 1)
THROTTLING = Ie(154, "Throttling", _encode_throttling, _decode_throttling, 2)
ARP = Ie(155, "ARP", _encode_arp, _decode_arp, 1)
EPC_TIMER = Ie(156, "EPC Timer", _encode_epc_timer, _decode_epc_timer, 1)
SIGNALLING_PRIORITY_INDICATION = Ie(157, "Signalling Priority Indication", _u8, _decode_u8, 1)
APCO = Ie(163, "APCO", _octets, _octets, 0)
HENB_INFORMATION_REPORTING = Ie(165, "H(e)NB Information Reporting", _u8, _decode_u8, 1)
CHANGE_TO_REPORT_FLAGS = Ie(167, "Change to Report Flags", _u8, _decode_u8, 1)
ULI_TIMESTAMP = Ie(170, "ULI Timestamp", _u32, _decode_u32, 4)
RAN_NAS_CAUSE = Ie(172, "RAN/NAS Cause", _encode_ran_nas_cause, _decode_ran_nas_cause, 2)
CN_OPERATOR_SELECTION_ENTITY = Ie(173, "CN Operator Selection Entity", _u8, _decode_u8, 1)
PRESENCE_REPORTING_AREA_ACTION = Ie(177, "Presence Reporting Area Action", _octets, _octets, 1)
PRESENCE_REPORTING_AREA_INFORMATION = Ie(178, "Presence Reporting Area Information", _octets, _octets, 4)
METRIC = Ie(182, "Metric", _u8, _decode_u8, 1)
SEQUENCE_NUMBER = Ie(183, "Sequence Number", _u32, _decode_u32, 4)
APN_AND_RELATIVE_CAPACITY = Ie(184, "APN and Relative Capacity", _encode_apn_and_relative_capacity, _decode_apn_and_relative_capacity, 2)
PAGING_AND_SERVICE_INFORMATION = Ie(
    186, "Paging and Service Information", _encode_paging_and_service_information, _decode_paging_and_service_information, 2
)
INTEGER_NUMBER = Ie(187, "Integer Number", _encode_integer, _decode_integer, 1)
MILLISECOND_TIME_STAMP = Ie(188, "Millisecond Time Stamp", _encode_milliseconds, _decode_milliseconds, 6)
REMOTE_USER_ID = Ie(192, "Remote User ID", _octets, _octets, 1)
REMOTE_UE_IP_INFORMATION = Ie(193, "Remote UE IP Information", _octets, _octets, 1)
EPCO = Ie(197, "ePCO", _octets, _octets, 0)
SERVING_PLMN_RATE_CONTROL = Ie(198, "Serving PLMN Rate Control", _encode_serving_plmn_rate_control, _decode_serving_plmn_rate_control, 4)
COUNTER = Ie(199, "Counter", _encode_counter, _decode_counter, 5)
MAPPED_UE_USAGE_TYPE = Ie(200, "Mapped UE Usage Type", _u16, _decode_u16, 2)
SECONDARY_RAT_USAGE_DATA_REPORT = Ie(201, "Secondary RAT Usage Data Report", _encode_secondary_rat_report, _decode_secondary_rat_report, 27)
UP_FUNCTION_SELECTION_INDICATION_FLAGS = Ie(202, "UP Function Selection Indication Flags", _u8, _decode_u8, 1)
MAXIMUM_PACKET_LOSS_RATE = Ie(203, "Maximum Packet Loss Rate", _encode_maximum_packet_loss_rate, _decode_maximum_packet_loss_rate, 1)
APN_RATE_CONTROL_STATUS = Ie(204, "APN Rate Control Status", _encode_apn_rate_control_status, _decode_apn_rate_control_status, 20)
PGW_SET_FQDN = Ie(215, "PGW Set FQDN", encode_labels, decode_labels, 1)
