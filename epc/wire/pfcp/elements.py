"""Information elements of TS 29.244 clause 8.2: their values, and how each is written and read.

Addresses are :mod:`ipaddress` objects, points in time the 32 bits of NTP seconds that the wire has (:func:`ntp_seconds` makes them),
bit rates kbit/s. A ``_decode`` function may rely on as many octets as the element's ``minimum`` says and ignores octets that a later
release appended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import TypeVar

from epc.wire.errors import WireError
from epc.wire.gtpv2.elements import decode_labels, encode_labels
from epc.wire.identity import Imsi, decode_tbcd, encode_tbcd
from epc.wire.pfcp.enums import (
    ApplyAction,
    AssociationReleaseRequestFlags,
    CauseValue,
    CpFunctionFeatures,
    GateValue,
    MeasurementInformation,
    MeasurementMethod,
    NodeReportType,
    OciFlags,
    OuterHeader,
    OuterHeaderRemovalDescription,
    PdnType,
    RedirectAddressType,
    ReportingTriggers,
    ReportType,
    RuleType,
    SmReqFlags,
    SourceInterface,
    SrRspFlags,
    UpFunctionFeatures,
    UsageInformation,
    UsageReportTrigger,
)
from epc.wire.pfcp.table import Ie

IpAddress = IPv4Address | IPv6Address

_U16 = Struct("!H")
_U32 = Struct("!I")
_U64 = Struct("!Q")
_U8_U16 = Struct("!BH")
_U8_U32 = Struct("!BI")
_U8_U64 = Struct("!BQ")
_U16_U32 = Struct("!HI")
_NTP_EPOCH = 2_208_988_800      # seconds from 1900 to 1970 (RFC 5905 clause 6)

_ipv4 = lru_cache(maxsize=4096)(IPv4Address)
_ipv6 = lru_cache(maxsize=4096)(IPv6Address)
_address_of_text = lru_cache(maxsize=4096)(ip_address)


def ntp_seconds(unix_seconds: float) -> int:
    """A wall clock's seconds since 1970 as the wire has them: since 1900, the last 32 bits (TS 29.244 clause 8.2.65)."""
    return int(unix_seconds + _NTP_EPOCH) & 0xFFFFFFFF


# --- numbers, flags, octets ---------------------------------------------------------------------------------------------------


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


def _enumerated(enum: type[IntEnum], mask: int = 0xFF) -> Callable[[bytes], int]:
    """Reads one octet as a member of ``enum``, or as the plain number it is."""
    members = {int(member): member for member in enum}

    def decode(octets: bytes) -> int:
        number = octets[0] & mask
        return members.get(number, number)

    return decode


_F = TypeVar("_F", bound=IntFlag)


def _flags(kind: type[_F]) -> Callable[[bytes], _F]:
    """Reads one octet of flags; octets that later releases added are ignored."""

    @lru_cache(maxsize=256)
    def decode(octets: bytes) -> _F:
        return kind(octets[0])

    return decode


def _wide_flags(kind: type[_F]) -> Callable[[bytes], _F]:
    """Reads flags whose first octet is the low one."""

    @lru_cache(maxsize=256)
    def decode(octets: bytes) -> _F:
        return kind(int.from_bytes(octets, "little"))

    return decode


def _encode_wide_flags(value: int) -> bytes:
    """As many octets as the flags need, two at least (the length of the first release)."""
    return value.to_bytes(max(2, (value.bit_length() + 7) >> 3), "little")


# --- who and where ------------------------------------------------------------------------------------------------------------

NodeIdentity = IpAddress | str      # an address, or a fully qualified domain name


def _encode_node_id(value: NodeIdentity) -> bytes:
    if isinstance(value, str):
        return b"\2" + encode_labels(value)
    return bytes((value.version == 6,)) + value.packed


def _decode_node_id(octets: bytes) -> NodeIdentity:
    kind = octets[0] & 15
    if kind == 2:
        return decode_labels(octets[1:])
    length = 4 if kind == 0 else 16
    if kind > 2 or len(octets) < 1 + length:
        raise WireError(f"type {kind} with {len(octets) - 1} octets", ie="Node ID")
    return _ipv4(octets[1:5]) if kind == 0 else _ipv6(octets[1:17])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fseid:
    """A session's endpoint: whose it is, its SEID and the address to send to (TS 29.244 clause 8.2.37)."""

    seid: int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    @classmethod
    def at(cls, seid: int, host: str) -> Fseid:
        """The endpoint at an address given as text, IPv4 or IPv6."""
        address = _address_of_text(host)
        if isinstance(address, IPv4Address):
            return cls(seid=seid, ipv4=address)
        return cls(seid=seid, ipv6=address)

    @property
    def host(self) -> str:
        """The address to send to, IPv4 before IPv6, as text."""
        return str(self.ipv4 if self.ipv4 is not None else self.ipv6)


def _encode_fseid(value: Fseid) -> bytes:
    flags, tail = 0, b""
    if value.ipv4 is not None:
        flags, tail = 2, value.ipv4.packed
    if value.ipv6 is not None:
        flags |= 1
        tail += value.ipv6.packed
    return _U8_U64.pack(flags, value.seid) + tail


def _decode_fseid(octets: bytes) -> Fseid:
    flags, seid = _U8_U64.unpack_from(octets)
    if not flags & 3:
        raise WireError("neither IPv4 nor IPv6 address", ie="F-SEID")
    ipv4, ipv6, _ = _addresses(octets, 9, flags & 2, flags & 1, "F-SEID")
    return Fseid(seid=seid, ipv4=ipv4, ipv6=ipv6)


def _addresses(octets: bytes, offset: int, with_ipv4: int, with_ipv6: int, ie: str) -> tuple[IPv4Address | None, IPv6Address | None, int]:
    """The addresses that stand at ``offset`` if their flags say so, and what comes after them."""
    ipv4 = ipv6 = None
    if with_ipv4:
        if len(octets) < offset + 4:
            raise WireError("truncated", offset=offset, ie=ie)
        ipv4 = _ipv4(octets[offset:offset + 4])
        offset += 4
    if with_ipv6:
        if len(octets) < offset + 16:
            raise WireError("truncated", offset=offset, ie=ie)
        ipv6 = _ipv6(octets[offset:offset + 16])
        offset += 16
    return ipv4, ipv6, offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Fteid:
    """A GTP-U tunnel's receiving end, allocated by whoever receives on it (TS 29.244 clause 8.2.3)."""

    teid: int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    @classmethod
    def at(cls, teid: int, host: str) -> Fteid:
        """The endpoint at an address given as text, IPv4 or IPv6."""
        address = _address_of_text(host)
        if isinstance(address, IPv4Address):
            return cls(teid=teid, ipv4=address)
        return cls(teid=teid, ipv6=address)

    @property
    def host(self) -> str:
        """The address to send to, IPv4 before IPv6, as text."""
        return str(self.ipv4 if self.ipv4 is not None else self.ipv6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseFteid:
    """The UP function shall allocate: the CHOOSE flag of F-TEID. The same ``choose_id`` in several PDRs asks for one F-TEID for them all."""

    ipv4: bool = False
    ipv6: bool = False
    choose_id: int | None = None


def _encode_fteid(value: Fteid | ChooseFteid) -> bytes:
    if isinstance(value, ChooseFteid):
        flags = 4 | value.ipv6 << 1 | value.ipv4
        return bytes((flags,)) if value.choose_id is None else bytes((flags | 8, value.choose_id))
    flags, tail = 0, b""
    if value.ipv4 is not None:
        flags, tail = 1, value.ipv4.packed
    if value.ipv6 is not None:
        flags |= 2
        tail += value.ipv6.packed
    return _U8_U32.pack(flags, value.teid) + tail


def _decode_fteid(octets: bytes) -> Fteid | ChooseFteid:
    flags = octets[0]
    if not flags & 3:
        raise WireError("neither IPv4 nor IPv6", ie="F-TEID")
    if flags & 4:
        if flags & 8 and len(octets) < 2:
            raise WireError("no CHOOSE ID", offset=1, ie="F-TEID")
        return ChooseFteid(ipv4=bool(flags & 1), ipv6=bool(flags & 2), choose_id=octets[1] if flags & 8 else None)
    if len(octets) < 5:
        raise WireError("truncated", offset=1, ie="F-TEID")
    ipv4, ipv6, _ = _addresses(octets, 5, flags & 1, flags & 2, "F-TEID")
    return Fteid(teid=_U32.unpack_from(octets, 1)[0], ipv4=ipv4, ipv6=ipv6)


@dataclass(frozen=True, slots=True, kw_only=True)
class UeIpAddress:
    """TS 29.244 clause 8.2.62. ``is_destination`` is the S/D flag: which end of a packet the address is compared with.

    ``ipv6_prefix_delegation_bits``: the prefix is that much shorter than 64 bits.
    """

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    is_destination: bool = False
    ipv6_prefix_delegation_bits: int | None = None


def _encode_ue_ip_address(value: UeIpAddress) -> bytes:
    flags, tail = value.is_destination << 2, b""
    if value.ipv4 is not None:
        flags |= 2
        tail = value.ipv4.packed
    if value.ipv6 is not None:
        flags |= 1
        tail += value.ipv6.packed
        if value.ipv6_prefix_delegation_bits is not None:
            flags |= 8
            tail += bytes((value.ipv6_prefix_delegation_bits,))
    return bytes((flags,)) + tail


def _decode_ue_ip_address(octets: bytes) -> UeIpAddress:
    flags = octets[0]
    ipv4, ipv6, offset = _addresses(octets, 1, flags & 2, flags & 1, "UE IP Address")
    bits = None
    if flags & 1 and flags & 8:
        if len(octets) <= offset:
            raise WireError("truncated", offset=offset, ie="UE IP Address")
        bits = octets[offset]
    return UeIpAddress(ipv4=ipv4, ipv6=ipv6, is_destination=bool(flags & 4), ipv6_prefix_delegation_bits=bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteGtpuPeer:
    """TS 29.244 clause 8.2.70."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None


def _encode_remote_gtpu_peer(value: RemoteGtpuPeer) -> bytes:
    ipv4 = b"" if value.ipv4 is None else value.ipv4.packed
    ipv6 = b"" if value.ipv6 is None else value.ipv6.packed
    return bytes((bool(ipv4) << 1 | bool(ipv6),)) + ipv4 + ipv6


def _decode_remote_gtpu_peer(octets: bytes) -> RemoteGtpuPeer:
    ipv4, ipv6, _ = _addresses(octets, 1, octets[0] & 2, octets[0] & 1, "Remote GTP-U Peer")
    return RemoteGtpuPeer(ipv4=ipv4, ipv6=ipv6)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPlaneIpResourceInformation:
    """From which addresses and TEIDs the CP function may allocate F-TEIDs (TS 29.244 clause 8.2.82).

    The highest ``teid_range_bits`` of TEIDs must equal the highest of ``teid_range``.
    """

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    teid_range_bits: int = 0                        # TEIDRI, 0 to 7
    teid_range: int = 0                             # one octet
    network_instance: bytes | None = None
    source_interface: SourceInterface | int | None = None


_SOURCE_INTERFACES = {int(member): member for member in SourceInterface}


def _encode_ip_resource(value: UserPlaneIpResourceInformation) -> bytes:
    flags, body = value.teid_range_bits << 2, b""
    if not 0 <= value.teid_range_bits <= 7:
        raise WireError(f"{value.teid_range_bits} TEID range bits", ie="User Plane IP Resource Information")
    if value.teid_range_bits:
        body = bytes((value.teid_range,))
    if value.ipv4 is not None:
        flags |= 1
        body += value.ipv4.packed
    if value.ipv6 is not None:
        flags |= 2
        body += value.ipv6.packed
    if value.network_instance is not None:
        flags |= 0x20
        body += value.network_instance
    if value.source_interface is not None:
        flags |= 0x40
        body += bytes((value.source_interface,))
    return bytes((flags,)) + body


def _decode_ip_resource(octets: bytes) -> UserPlaneIpResourceInformation:
    name = "User Plane IP Resource Information"
    flags = octets[0]
    bits, offset, teid_range = flags >> 2 & 7, 1, 0
    if bits:
        if len(octets) < 2:
            raise WireError("truncated", offset=1, ie=name)
        teid_range, offset = octets[1], 2
    ipv4, ipv6, offset = _addresses(octets, offset, flags & 1, flags & 2, name)
    end, source = len(octets), None
    if flags & 0x40:
        if end <= offset:
            raise WireError("truncated", offset=offset, ie=name)
        end -= 1
        source = _SOURCE_INTERFACES.get(octets[end] & 15, octets[end] & 15)
    return UserPlaneIpResourceInformation(
        ipv4=ipv4, ipv6=ipv6, teid_range_bits=bits, teid_range=teid_range,
        network_instance=octets[offset:end] if flags & 0x20 else None, source_interface=source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FqCsid:
    """Fully qualified PDN connection set identifier (TS 29.244 clause 8.2.45)."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UserId:
    """For what the UP function logs (TS 29.244 clause 8.2.101)."""

    imsi: Imsi | None = None
    imei: str | None = None
    msisdn: str | None = None
    nai: str | None = None


def _encode_user_id(value: UserId) -> bytes:
    flags, body = 0, b""
    for bit, digits in ((1, value.imsi), (2, value.imei), (4, value.msisdn)):
        if digits is not None:
            packed = encode_tbcd(digits)
            flags |= bit
            body += bytes((len(packed),)) + packed
    if value.nai is not None:
        text = value.nai.encode()
        flags |= 8
        body += bytes((len(text),)) + text
    return bytes((flags,)) + body


def _decode_user_id(octets: bytes) -> UserId:
    flags, offset = octets[0], 1
    parts: list[bytes | None] = []
    for bit in (1, 2, 4, 8):
        if not flags & bit:
            parts.append(None)
            continue
        end = offset + 1 + octets[offset] if offset < len(octets) else offset + 1
        if end > len(octets):
            raise WireError("truncated", offset=offset, ie="User ID")
        parts.append(octets[offset + 1:end])
        offset = end
    imsi, imei, msisdn = (None if part is None else decode_tbcd(part) for part in parts[:3])
    try:
        nai = None if parts[3] is None else parts[3].decode()
    except UnicodeDecodeError:
        raise WireError("the NAI is no UTF-8", ie="User ID") from None
    return UserId(imsi=None if imsi is None else Imsi(imsi), imei=imei, msisdn=msisdn, nai=nai)


# --- packet detection ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SdfFilter:
    """TS 29.244 clause 8.2.5. ``flow_description`` is an IPFilterRule (TS 29.212 clause 5.4.2)."""

    flow_description: str | None = None
    tos_traffic_class: int | None = None            # two octets: value, mask
    security_parameter_index: int | None = None
    flow_label: int | None = None
    filter_id: int | None = None                    # BID: the filter serves both directions, by reference


def _encode_sdf_filter(value: SdfFilter) -> bytes:
    flags, body = 0, b""
    if value.flow_description is not None:
        text = value.flow_description.encode()
        flags, body = 1, _U16.pack(len(text)) + text
    if value.tos_traffic_class is not None:
        flags |= 2
        body += _U16.pack(value.tos_traffic_class)
    if value.security_parameter_index is not None:
        flags |= 4
        body += _U32.pack(value.security_parameter_index)
    if value.flow_label is not None:
        flags |= 8
        body += value.flow_label.to_bytes(3, "big")
    if value.filter_id is not None:
        flags |= 16
        body += _U32.pack(value.filter_id)
    return bytes((flags, 0)) + body


def _decode_sdf_filter(octets: bytes) -> SdfFilter:
    flags, offset = octets[0], 2
    text = None
    if flags & 1:
        length = int.from_bytes(octets[2:4], "big")
        offset = 4 + length
        if len(octets) < offset:
            raise WireError("truncated", offset=2, ie="SDF Filter")
        try:
            text = octets[4:offset].decode()
        except UnicodeDecodeError:
            raise WireError("the flow description is no text", offset=4, ie="SDF Filter") from None
    numbers: list[int | None] = []
    for bit, length in ((2, 2), (4, 4), (8, 3), (16, 4)):
        if not flags & bit:
            numbers.append(None)
            continue
        if len(octets) < offset + length:
            raise WireError("truncated", offset=offset, ie="SDF Filter")
        numbers.append(int.from_bytes(octets[offset:offset + length], "big"))
        offset += length
    tos, index, label, filter_id = numbers
    return SdfFilter(flow_description=text, tos_traffic_class=tos, security_parameter_index=index, flow_label=label, filter_id=filter_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterHeaderRemoval:
    """TS 29.244 clause 8.2.64; ``gtpu_extension_header_deletion`` (Release 15 on) is flags of extension headers to delete."""

    description: OuterHeaderRemovalDescription | int
    gtpu_extension_header_deletion: int | None = None


_OUTER_HEADER_REMOVALS = {int(member): member for member in OuterHeaderRemovalDescription}


def _encode_outer_header_removal(value: OuterHeaderRemoval) -> bytes:
    if value.gtpu_extension_header_deletion is None:
        return bytes((value.description,))
    return bytes((value.description, value.gtpu_extension_header_deletion))


def _decode_outer_header_removal(octets: bytes) -> OuterHeaderRemoval:
    description = octets[0]
    return OuterHeaderRemoval(
        description=_OUTER_HEADER_REMOVALS.get(description, description), gtpu_extension_header_deletion=octets[1] if len(octets) > 1 else None
    )


# --- forwarding ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterHeaderCreation:
    """TS 29.244 clause 8.2.56."""

    description: OuterHeader
    teid: int | None = None
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    port: int | None = None

    @classmethod
    def gtpu(cls, teid: int, host: str) -> OuterHeaderCreation:
        """GTP-U towards an address given as text, IPv4 or IPv6."""
        address = _address_of_text(host)
        if isinstance(address, IPv4Address):
            return cls(description=OuterHeader.GTP_U_UDP_IPV4, teid=teid, ipv4=address)
        return cls(description=OuterHeader.GTP_U_UDP_IPV6, teid=teid, ipv6=address)


_GTP_U = OuterHeader.GTP_U_UDP_IPV4 | OuterHeader.GTP_U_UDP_IPV6
_UDP = OuterHeader.UDP_IPV4 | OuterHeader.UDP_IPV6
_OVER_IPV4 = 0x1500         # GTP-U/UDP/IPv4, UDP/IPv4, IPv4
_OVER_IPV6 = 0x2A00


def _encode_outer_header_creation(value: OuterHeaderCreation) -> bytes:
    parts = (
        (_GTP_U, b"" if value.teid is None else _U32.pack(value.teid)),
        (_OVER_IPV4, b"" if value.ipv4 is None else value.ipv4.packed),
        (_OVER_IPV6, b"" if value.ipv6 is None else value.ipv6.packed),
        (_UDP, b"" if value.port is None else _U16.pack(value.port)),
    )
    for mask, octets in parts:
        if bool(value.description & mask) != bool(octets):
            raise WireError(f"{value} does not fit its description", ie="Outer Header Creation")
    return _U16.pack(value.description) + b"".join([octets for _, octets in parts])


def _decode_outer_header_creation(octets: bytes) -> OuterHeaderCreation:
    description, offset = OuterHeader(_U16.unpack_from(octets)[0]), 2
    teid = port = None
    if description & _GTP_U:
        if len(octets) < 6:
            raise WireError("truncated", offset=2, ie="Outer Header Creation")
        teid, offset = _U32.unpack_from(octets, 2)[0], 6
    ipv4, ipv6, offset = _addresses(octets, offset, description & _OVER_IPV4, description & _OVER_IPV6, "Outer Header Creation")
    if description & _UDP:
        if len(octets) < offset + 2:
            raise WireError("truncated", offset=offset, ie="Outer Header Creation")
        port = _U16.unpack_from(octets, offset)[0]
    return OuterHeaderCreation(description=description, teid=teid, ipv4=ipv4, ipv6=ipv6, port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectInformation:
    """Where to redirect a user's requests (TS 29.244 clause 8.2.20)."""

    type: RedirectAddressType | int
    address: str


_REDIRECT_TYPES = {int(member): member for member in RedirectAddressType}


def _encode_redirect_information(value: RedirectInformation) -> bytes:
    text = value.address.encode()
    if not 0 <= value.type <= 15:
        raise WireError(f"address type {value.type}", ie="Redirect Information")
    return bytes((value.type,)) + _U16.pack(len(text)) + text


def _decode_redirect_information(octets: bytes) -> RedirectInformation:
    kind, length = octets[0] & 15, _U16.unpack_from(octets, 1)[0]
    if len(octets) < 3 + length:
        raise WireError("truncated", offset=3, ie="Redirect Information")
    try:
        address = octets[3:3 + length].decode()
    except UnicodeDecodeError as error:
        raise WireError("no UTF-8", offset=3, ie="Redirect Information") from error
    return RedirectInformation(type=_REDIRECT_TYPES.get(kind, kind), address=address)


@dataclass(frozen=True, slots=True, kw_only=True)
class PfdContents:
    """One packet flow description: what a packet has to have so that it is the application's (TS 29.244 clause 8.2.39)."""

    flow_description: str | None = None         # an IPFilterRule
    url: str | None = None
    domain_name: str | None = None
    custom: bytes | None = None


def _encode_pfd_contents(value: PfdContents) -> bytes:
    texts = [None if text is None else text.encode() for text in (value.flow_description, value.url, value.domain_name)]
    flags, body = 0, b""
    for bit, octets in enumerate((*texts, value.custom)):
        if octets is not None:
            flags |= 1 << bit
            body += _U16.pack(len(octets)) + octets
    return bytes((flags, 0)) + body


def _decode_pfd_contents(octets: bytes) -> PfdContents:
    found: list[bytes | None] = []
    at = 2
    for bit in range(4):
        if not octets[0] & 1 << bit:
            found.append(None)
            continue
        length = int.from_bytes(octets[at:at + 2], "big")
        if len(octets) < at + 2 + length or len(octets) < at + 2:
            raise WireError("truncated", offset=at, ie="PFD Contents")
        found.append(octets[at + 2:at + 2 + length])
        at += 2 + length
    try:
        flow_description, url, domain_name = [None if text is None else text.decode() for text in found[:3]]
    except UnicodeDecodeError as error:
        raise WireError("no UTF-8", offset=2, ie="PFD Contents") from error
    return PfdContents(flow_description=flow_description, url=url, domain_name=domain_name, custom=found[3])


# --- quality of service -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatus:
    """TS 29.244 clause 8.2.7."""

    uplink: GateValue | int = GateValue.OPEN
    downlink: GateValue | int = GateValue.OPEN


_GATES = {int(member): member for member in GateValue}


def _encode_gate_status(value: GateStatus) -> bytes:
    if value.uplink > 3 or value.downlink > 3:
        raise WireError("a gate's value has two bits", ie="Gate Status")
    return bytes((value.uplink << 2 | value.downlink,))


@lru_cache(maxsize=256)
def _decode_gate_status(octets: bytes) -> GateStatus:
    uplink, downlink = octets[0] >> 2 & 3, octets[0] & 3
    return GateStatus(uplink=_GATES.get(uplink, uplink), downlink=_GATES.get(downlink, downlink))


@dataclass(frozen=True, slots=True, kw_only=True)
class BitRate:
    """MBR or GBR (TS 29.244 clauses 8.2.8 and 8.2.9)."""

    uplink_kbps: int
    downlink_kbps: int


def _encode_bit_rate(value: BitRate) -> bytes:
    return value.uplink_kbps.to_bytes(5, "big") + value.downlink_kbps.to_bytes(5, "big")


def _decode_bit_rate(octets: bytes) -> BitRate:
    return BitRate(uplink_kbps=int.from_bytes(octets[:5], "big"), downlink_kbps=int.from_bytes(octets[5:10], "big"))


# --- usage --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Octets: a threshold, a quota or what was measured (TS 29.244 clauses 8.2.13, 8.2.44, 8.2.50)."""

    total_octets: int | None = None
    uplink_octets: int | None = None
    downlink_octets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedDownlinkTrafficThreshold:
    """TS 29.244 clause 8.2.49."""

    packets: int | None = None
    octets: int | None = None


def _encode_octet_counts(values: tuple[int | None, ...]) -> bytes:
    flags, body = 0, b""
    for bit, value in enumerate(values):
        if value is not None:
            flags |= 1 << bit
            body += _U64.pack(value)
    return bytes((flags,)) + body


def _decode_octet_counts(octets: bytes, number: int, ie: str) -> list[int | None]:
    flags, offset = octets[0], 1
    values: list[int | None] = []
    for bit in range(number):
        if not flags & 1 << bit:
            values.append(None)
            continue
        if len(octets) < offset + 8:
            raise WireError("truncated", offset=offset, ie=ie)
        values.append(_U64.unpack_from(octets, offset)[0])
        offset += 8
    return values


def _encode_volume(value: Volume) -> bytes:
    return _encode_octet_counts((value.total_octets, value.uplink_octets, value.downlink_octets))


def _decode_volume(octets: bytes) -> Volume:
    total, uplink, downlink = _decode_octet_counts(octets, 3, "Volume")
    return Volume(total_octets=total, uplink_octets=uplink, downlink_octets=downlink)


def _encode_dropped(value: DroppedDownlinkTrafficThreshold) -> bytes:
    return _encode_octet_counts((value.packets, value.octets))


def _decode_dropped(octets: bytes) -> DroppedDownlinkTrafficThreshold:
    packets, dropped = _decode_octet_counts(octets, 2, "Dropped DL Traffic Threshold")
    return DroppedDownlinkTrafficThreshold(packets=packets, octets=dropped)


# --- reports and buffering ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DownlinkDataServiceInformation:
    """TS 29.244 clause 8.2.27; the paging policy indication is the packet's DSCP."""

    paging_policy_indication: int | None = None
    qfi: int | None = None


def _encode_service_information(value: DownlinkDataServiceInformation) -> bytes:
    present = [number for number in (value.paging_policy_indication, value.qfi) if number is not None]
    flags = (value.paging_policy_indication is not None) | (value.qfi is not None) << 1
    if any(number > 63 for number in present):
        raise WireError("a value of more than 6 bits", ie="Downlink Data Service Information")
    return bytes((flags, *present))


def _decode_service_information(octets: bytes) -> DownlinkDataServiceInformation:
    flags, offset = octets[0], 1
    if len(octets) < 1 + (flags & 1) + (flags >> 1 & 1):
        raise WireError("truncated", offset=1, ie="Downlink Data Service Information")
    indication = qfi = None
    if flags & 1:
        indication, offset = octets[1] & 63, 2
    if flags & 2:
        qfi = octets[offset] & 63
    return DownlinkDataServiceInformation(paging_policy_indication=indication, qfi=qfi)


@dataclass(frozen=True, slots=True, kw_only=True)
class PfcpTimer:
    """A duration of 5 bits and its unit (TS 29.244 clauses 8.2.29, 8.2.36, 8.2.78)."""

    unit: int
    value: int

    @property
    def seconds(self) -> float:
        """Unit 7 is infinite; the ones that are not assigned count as minutes."""
        return float("inf") if self.unit == 7 else self.value * _UNITS_S.get(self.unit, 60)


_UNITS_S = {0: 2, 1: 60, 2: 600, 3: 3600, 4: 36000}


def _encode_timer(value: PfcpTimer) -> bytes:
    if not 0 <= value.unit <= 7 or not 0 <= value.value <= 31:
        raise WireError(f"{value} does not fit into an octet", ie="Timer")
    return bytes((value.unit << 5 | value.value,))


def _decode_timer(octets: bytes) -> PfcpTimer:
    return PfcpTimer(unit=octets[0] >> 5, value=octets[0] & 31)


def _encode_packet_count(value: int) -> bytes:
    return value.to_bytes(1 if value < 256 else 2, "big")


def _decode_packet_count(octets: bytes) -> int:
    return int.from_bytes(octets[:2], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRuleId:
    """TS 29.244 clause 8.2.80."""

    type: RuleType
    id: int


_RULE_ID_OCTETS = {RuleType.PDR: 2, RuleType.FAR: 4, RuleType.QER: 4, RuleType.URR: 4, RuleType.BAR: 1}


def _encode_failed_rule_id(value: FailedRuleId) -> bytes:
    return bytes((value.type,)) + value.id.to_bytes(_RULE_ID_OCTETS[value.type], "big")


def _decode_failed_rule_id(octets: bytes) -> FailedRuleId:
    number = octets[0] & 31
    if number > RuleType.BAR:
        raise WireError(f"rule type {number}", ie="Failed Rule ID")
    kind = RuleType(number)
    length = _RULE_ID_OCTETS[kind]
    if len(octets) < 1 + length:
        raise WireError("truncated", offset=1, ie="Failed Rule ID")
    return FailedRuleId(type=kind, id=int.from_bytes(octets[1:1 + length], "big"))


# --- the element types --------------------------------------------------------------------------------------------------------

CAUSE = Ie(19, "Cause", _u8, _enumerated(CauseValue), 1)
SOURCE_INTERFACE = Ie(20, "Source Interface", _u8, _enumerated(SourceInterface, 15), 1)
F_TEID = Ie(21, "F-TEID", _encode_fteid, _decode_fteid, 1)
NETWORK_INSTANCE = Ie(22, "Network Instance", _octets, _octets, 0)
SDF_FILTER = Ie(23, "SDF Filter", _encode_sdf_filter, _decode_sdf_filter, 2)
APPLICATION_ID = Ie(24, "Application ID", _octets, _octets, 0)
GATE_STATUS = Ie(25, "Gate Status", _encode_gate_status, _decode_gate_status, 1)
MBR = Ie(26, "MBR", _encode_bit_rate, _decode_bit_rate, 10)
GBR = Ie(27, "GBR", _encode_bit_rate, _decode_bit_rate, 10)
QER_CORRELATION_ID = Ie(28, "QER Correlation ID", _u32, _decode_u32, 4)
PRECEDENCE = Ie(29, "Precedence", _u32, _decode_u32, 4)
TRANSPORT_LEVEL_MARKING = Ie(30, "Transport Level Marking", _u16, _decode_u16, 2)
VOLUME_THRESHOLD = Ie(31, "Volume Threshold", _encode_volume, _decode_volume, 1)
TIME_THRESHOLD = Ie(32, "Time Threshold", _u32, _decode_u32, 4)
MONITORING_TIME = Ie(33, "Monitoring Time", _u32, _decode_u32, 4)
SUBSEQUENT_VOLUME_THRESHOLD = Ie(34, "Subsequent Volume Threshold", _encode_volume, _decode_volume, 1)
SUBSEQUENT_TIME_THRESHOLD = Ie(35, "Subsequent Time Threshold", _u32, _decode_u32, 4)
INACTIVITY_DETECTION_TIME = Ie(36, "Inactivity Detection Time", _u32, _decode_u32, 4)
REPORTING_TRIGGERS = Ie(37, "Reporting Triggers", _encode_wide_flags, _wide_flags(ReportingTriggers), 1)
REDIRECT_INFORMATION = Ie(38, "Redirect Information", _encode_redirect_information, _decode_redirect_information, 3)
REPORT_TYPE = Ie(39, "Report Type", _u8, _flags(ReportType), 1)
OFFENDING_IE = Ie(40, "Offending IE", _u16, _decode_u16, 2)
DESTINATION_INTERFACE = Ie(42, "Destination Interface", _u8, _enumerated(SourceInterface, 15), 1)
UP_FUNCTION_FEATURES = Ie(43, "UP Function Features", _encode_wide_flags, _wide_flags(UpFunctionFeatures), 1)
APPLY_ACTION = Ie(44, "Apply Action", _u8, _flags(ApplyAction), 1)
DOWNLINK_DATA_SERVICE_INFORMATION = Ie(45, "Downlink Data Service Information", _encode_service_information, _decode_service_information, 1)
DOWNLINK_DATA_NOTIFICATION_DELAY = Ie(46, "Downlink Data Notification Delay", _u8, _decode_u8, 1)
DL_BUFFERING_DURATION = Ie(47, "DL Buffering Duration", _encode_timer, _decode_timer, 1)
DL_BUFFERING_SUGGESTED_PACKET_COUNT = Ie(48, "DL Buffering Suggested Packet Count", _encode_packet_count, _decode_packet_count, 1)
PFCPSMREQ_FLAGS = Ie(49, "PFCPSMReq-Flags", _u8, _flags(SmReqFlags), 1)
PFCPSRRSP_FLAGS = Ie(50, "PFCPSRRsp-Flags", _u8, _flags(SrRspFlags), 1)
SEQUENCE_NUMBER = Ie(52, "Sequence Number", _u32, _decode_u32, 4)
METRIC = Ie(53, "Metric", _u8, _decode_u8, 1)
TIMER = Ie(55, "Timer", _encode_timer, _decode_timer, 1)
PDR_ID = Ie(56, "PDR ID", _u16, _decode_u16, 2)
F_SEID = Ie(57, "F-SEID", _encode_fseid, _decode_fseid, 9)
NODE_ID = Ie(60, "Node ID", _encode_node_id, _decode_node_id, 2)
PFD_CONTENTS = Ie(61, "PFD Contents", _encode_pfd_contents, _decode_pfd_contents, 2)
MEASUREMENT_METHOD = Ie(62, "Measurement Method", _u8, _flags(MeasurementMethod), 1)
USAGE_REPORT_TRIGGER = Ie(63, "Usage Report Trigger", _encode_wide_flags, _wide_flags(UsageReportTrigger), 1)
MEASUREMENT_PERIOD = Ie(64, "Measurement Period", _u32, _decode_u32, 4)
FQ_CSID = Ie(65, "FQ-CSID", _encode_fq_csid, _decode_fq_csid, 5)
VOLUME_MEASUREMENT = Ie(66, "Volume Measurement", _encode_volume, _decode_volume, 1)
DURATION_MEASUREMENT = Ie(67, "Duration Measurement", _u32, _decode_u32, 4)
TIME_OF_FIRST_PACKET = Ie(69, "Time of First Packet", _u32, _decode_u32, 4)
TIME_OF_LAST_PACKET = Ie(70, "Time of Last Packet", _u32, _decode_u32, 4)
QUOTA_HOLDING_TIME = Ie(71, "Quota Holding Time", _u32, _decode_u32, 4)
DROPPED_DL_TRAFFIC_THRESHOLD = Ie(72, "Dropped DL Traffic Threshold", _encode_dropped, _decode_dropped, 1)
VOLUME_QUOTA = Ie(73, "Volume Quota", _encode_volume, _decode_volume, 1)
TIME_QUOTA = Ie(74, "Time Quota", _u32, _decode_u32, 4)
START_TIME = Ie(75, "Start Time", _u32, _decode_u32, 4)
END_TIME = Ie(76, "End Time", _u32, _decode_u32, 4)
URR_ID = Ie(81, "URR ID", _u32, _decode_u32, 4)
LINKED_URR_ID = Ie(82, "Linked URR ID", _u32, _decode_u32, 4)
OUTER_HEADER_CREATION = Ie(84, "Outer Header Creation", _encode_outer_header_creation, _decode_outer_header_creation, 2)
BAR_ID = Ie(88, "BAR ID", _u8, _decode_u8, 1)
CP_FUNCTION_FEATURES = Ie(89, "CP Function Features", _u8, _flags(CpFunctionFeatures), 1)
USAGE_INFORMATION = Ie(90, "Usage Information", _u8, _flags(UsageInformation), 1)
APPLICATION_INSTANCE_ID = Ie(91, "Application Instance ID", _octets, _octets, 0)
UE_IP_ADDRESS = Ie(93, "UE IP Address", _encode_ue_ip_address, _decode_ue_ip_address, 1)
OUTER_HEADER_REMOVAL = Ie(95, "Outer Header Removal", _encode_outer_header_removal, _decode_outer_header_removal, 1)
RECOVERY_TIME_STAMP = Ie(96, "Recovery Time Stamp", _u32, _decode_u32, 4)
MEASUREMENT_INFORMATION = Ie(100, "Measurement Information", _u8, _flags(MeasurementInformation), 1)
NODE_REPORT_TYPE = Ie(101, "Node Report Type", _u8, _flags(NodeReportType), 1)
REMOTE_GTP_U_PEER = Ie(103, "Remote GTP-U Peer", _encode_remote_gtpu_peer, _decode_remote_gtpu_peer, 1)
UR_SEQN = Ie(104, "UR-SEQN", _u32, _decode_u32, 4)
ACTIVATE_PREDEFINED_RULES = Ie(106, "Activate Predefined Rules", _octets, _octets, 0)
DEACTIVATE_PREDEFINED_RULES = Ie(107, "Deactivate Predefined Rules", _octets, _octets, 0)
FAR_ID = Ie(108, "FAR ID", _u32, _decode_u32, 4)
QER_ID = Ie(109, "QER ID", _u32, _decode_u32, 4)
OCI_FLAGS = Ie(110, "OCI Flags", _u8, _flags(OciFlags), 1)
PFCP_ASSOCIATION_RELEASE_REQUEST = Ie(111, "PFCP Association Release Request", _u8, _flags(AssociationReleaseRequestFlags), 1)
GRACEFUL_RELEASE_PERIOD = Ie(112, "Graceful Release Period", _encode_timer, _decode_timer, 1)
PDN_TYPE = Ie(113, "PDN Type", _u8, _enumerated(PdnType, 7), 1)
FAILED_RULE_ID = Ie(114, "Failed Rule ID", _encode_failed_rule_id, _decode_failed_rule_id, 2)
USER_PLANE_IP_RESOURCE_INFORMATION = Ie(116, "User Plane IP Resource Information", _encode_ip_resource, _decode_ip_resource, 1)
USER_PLANE_INACTIVITY_TIMER = Ie(117, "User Plane Inactivity Timer", _u32, _decode_u32, 4)
SUBSEQUENT_VOLUME_QUOTA = Ie(121, "Subsequent Volume Quota", _encode_volume, _decode_volume, 1)
SUBSEQUENT_TIME_QUOTA = Ie(122, "Subsequent Time Quota", _u32, _decode_u32, 4)
QUERY_URR_REFERENCE = Ie(125, "Query URR Reference", _u32, _decode_u32, 4)
ADDITIONAL_USAGE_REPORTS_INFORMATION = Ie(126, "Additional Usage Reports Information", _u16, _decode_u16, 2)
USER_ID = Ie(141, "User ID", _encode_user_id, _decode_user_id, 1)
