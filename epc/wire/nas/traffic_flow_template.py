"""Traffic flow templates: which packets belong to a dedicated bearer (TS 24.008 clause 10.5.6.12, TS 24.301 clause 9.9.4.16).

The same octets travel on GTP-C (Bearer TFT, TS 29.274 clause 8.19) and in NAS; a traffic flow aggregate (TAD) is coded alike.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network

from epc.wire.errors import WireError

MOST_FILTERS = 15               # four bits count them
MOST_OCTETS = 255               # of a TFT, whose length is one octet


class TftOperation(IntEnum):
    IGNORE = 0
    CREATE_NEW_TFT = 1
    DELETE_EXISTING_TFT = 2
    ADD_PACKET_FILTERS = 3
    REPLACE_PACKET_FILTERS = 4
    DELETE_PACKET_FILTERS = 5
    NO_TFT_OPERATION = 6


class PacketFilterDirection(IntEnum):
    PRE_RELEASE_7 = 0           # for both, as before there were directions
    DOWNLINK_ONLY = 1
    UPLINK_ONLY = 2
    BIDIRECTIONAL = 3


class ComponentType(IntEnum):
    IPV4_REMOTE_ADDRESS = 0x10
    IPV4_LOCAL_ADDRESS = 0x11
    IPV6_REMOTE_ADDRESS = 0x20
    IPV6_REMOTE_ADDRESS_PREFIX_LENGTH = 0x21
    IPV6_LOCAL_ADDRESS_PREFIX_LENGTH = 0x23
    PROTOCOL_IDENTIFIER = 0x30
    SINGLE_LOCAL_PORT = 0x40
    LOCAL_PORT_RANGE = 0x41
    SINGLE_REMOTE_PORT = 0x50
    REMOTE_PORT_RANGE = 0x51
    SECURITY_PARAMETER_INDEX = 0x60
    TYPE_OF_SERVICE = 0x70
    FLOW_LABEL = 0x80


_C = ComponentType
_SIZES = {
    _C.IPV4_REMOTE_ADDRESS: 8, _C.IPV4_LOCAL_ADDRESS: 8, _C.IPV6_REMOTE_ADDRESS: 32, _C.IPV6_REMOTE_ADDRESS_PREFIX_LENGTH: 17,
    _C.IPV6_LOCAL_ADDRESS_PREFIX_LENGTH: 17, _C.PROTOCOL_IDENTIFIER: 1, _C.SINGLE_LOCAL_PORT: 2, _C.LOCAL_PORT_RANGE: 4,
    _C.SINGLE_REMOTE_PORT: 2, _C.REMOTE_PORT_RANGE: 4, _C.SECURITY_PARAMETER_INDEX: 4, _C.TYPE_OF_SERVICE: 2, _C.FLOW_LABEL: 3,
}


class TftSyntaxError(WireError):
    """A TFT that cannot be read. ``in_packet_filter``: ESM cause #45 rather than #42 says so (TS 24.301 clause 6.4.2.4)."""

    def __init__(self, reason: str, *, offset: int = 0, in_packet_filter: bool = False) -> None:
        super().__init__(reason, offset=offset, ie="traffic flow template")
        self.in_packet_filter = in_packet_filter


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketFilter:
    """One filter of a TFT, seen from the UE: "local" is the UE, "remote" the far end. An absent field matches anything.

    ``identifier`` is unique within the TFT and given by the network; ``precedence`` within the PDN connection, and the lowest is tried first.
    """

    identifier: int
    direction: PacketFilterDirection = PacketFilterDirection.BIDIRECTIONAL
    precedence: int
    remote: IPv4Network | IPv6Network | None = None
    local: IPv4Network | IPv6Network | None = None
    protocol: int | None = None
    local_ports: tuple[int, int] | None = None      # first and last, both included
    remote_ports: tuple[int, int] | None = None
    security_parameter_index: int | None = None
    type_of_service: tuple[int, int] | None = None  # value and mask
    flow_label: int | None = None

    @property
    def is_uplink(self) -> bool:
        return self.direction != PacketFilterDirection.DOWNLINK_ONLY

    @property
    def is_downlink(self) -> bool:
        return self.direction != PacketFilterDirection.UPLINK_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFlowTemplate:
    """An operation on a TFT. A deletion names filters by ``deleted``; an addition, a replacement and a new TFT bring ``filters``."""

    operation: TftOperation
    filters: tuple[PacketFilter, ...] = ()
    deleted: tuple[int, ...] = ()                   # identifiers
    parameters: bytes = b""                         # authorisation tokens, flow and filter identifiers, as they came


def encode_traffic_flow_template(tft: TrafficFlowTemplate) -> bytes:
    """The value part. Raises :class:`WireError` for more filters or octets than a TFT can have."""
    count = len(tft.deleted) if tft.operation == TftOperation.DELETE_PACKET_FILTERS else len(tft.filters)
    if count > MOST_FILTERS:
        raise WireError(f"{count} packet filters are more than {MOST_FILTERS}", ie="traffic flow template")
    octets = bytes((tft.operation << 5 | (0x10 if tft.parameters else 0) | count,))
    if tft.operation == TftOperation.DELETE_PACKET_FILTERS:
        octets += bytes([identifier & 0x0F for identifier in tft.deleted])
    else:
        octets += b"".join([encode_packet_filter(each) for each in tft.filters])
    octets += tft.parameters
    if len(octets) > MOST_OCTETS:
        raise WireError(f"{len(octets)} octets are more than {MOST_OCTETS}", ie="traffic flow template")
    return octets


@functools.lru_cache(maxsize=1024)
def encode_packet_filter(each: PacketFilter) -> bytes:
    contents = b""
    if each.remote is not None:
        contents += _encode_network(each.remote, _C.IPV4_REMOTE_ADDRESS, _C.IPV6_REMOTE_ADDRESS_PREFIX_LENGTH)
    if each.local is not None:
        contents += _encode_network(each.local, _C.IPV4_LOCAL_ADDRESS, _C.IPV6_LOCAL_ADDRESS_PREFIX_LENGTH)
    if each.protocol is not None:
        contents += bytes((_C.PROTOCOL_IDENTIFIER, each.protocol))
    if each.local_ports is not None:
        contents += _encode_ports(each.local_ports, _C.SINGLE_LOCAL_PORT, _C.LOCAL_PORT_RANGE)
    if each.remote_ports is not None:
        contents += _encode_ports(each.remote_ports, _C.SINGLE_REMOTE_PORT, _C.REMOTE_PORT_RANGE)
    if each.security_parameter_index is not None:
        contents += bytes((_C.SECURITY_PARAMETER_INDEX,)) + each.security_parameter_index.to_bytes(4, "big")
    if each.type_of_service is not None:
        contents += bytes((_C.TYPE_OF_SERVICE, *each.type_of_service))
    if each.flow_label is not None:
        contents += bytes((_C.FLOW_LABEL,)) + each.flow_label.to_bytes(3, "big")
    return bytes((each.direction << 4 | each.identifier, each.precedence, len(contents))) + contents


def _encode_network(network: IPv4Network | IPv6Network, ipv4: ComponentType, ipv6: ComponentType) -> bytes:
    if isinstance(network, IPv4Network):
        return bytes((ipv4,)) + network.network_address.packed + network.netmask.packed
    return bytes((ipv6,)) + network.network_address.packed + bytes((network.prefixlen,))


def _encode_ports(ports: tuple[int, int], single: ComponentType, several: ComponentType) -> bytes:
    first, last = ports
    if first == last:
        return bytes((single,)) + first.to_bytes(2, "big")
    return bytes((several,)) + first.to_bytes(2, "big") + last.to_bytes(2, "big")


def decode_traffic_flow_template(octets: bytes) -> TrafficFlowTemplate:
    """Raises :class:`TftSyntaxError` for what TS 24.301 clause 6.4.2.4 calls syntactical errors."""
    if not octets:
        raise TftSyntaxError("empty")
    code, count = octets[0] >> 5, octets[0] & 0x0F
    if code not in TftOperation._value2member_map_:
        raise TftSyntaxError(f"operation {code} is reserved")
    operation = TftOperation(code)
    at = 1
    filters: list[PacketFilter] = []
    deleted: tuple[int, ...] = ()
    if operation in (TftOperation.CREATE_NEW_TFT, TftOperation.ADD_PACKET_FILTERS, TftOperation.REPLACE_PACKET_FILTERS):
        if not count:
            raise TftSyntaxError("the packet filter list is empty")
        for _ in range(count):
            each, at = _decode_packet_filter(octets, at)
            filters.append(each)
        if len({each.identifier for each in filters}) < len(filters):
            raise TftSyntaxError("two packet filters have the same identifier", in_packet_filter=True)
    elif operation == TftOperation.DELETE_PACKET_FILTERS:
        if not count:
            raise TftSyntaxError("the packet filter list is empty")
        if len(octets) < 1 + count:
            raise TftSyntaxError("fewer packet filters than announced", offset=len(octets))
        deleted = tuple([octet & 0x0F for octet in octets[1:1 + count]])
        at = 1 + count
    elif count and operation != TftOperation.IGNORE:
        raise TftSyntaxError("the packet filter list should be empty")
    parameters = octets[at:] if octets[0] & 0x10 else b""
    if len(octets) > at and not parameters:
        raise TftSyntaxError("more packet filters than announced", offset=at)
    return TrafficFlowTemplate(operation=operation, filters=tuple(filters), deleted=deleted, parameters=parameters)


def _decode_packet_filter(octets: bytes, at: int) -> tuple[PacketFilter, int]:
    if len(octets) < at + 3:
        raise TftSyntaxError("fewer packet filters than announced", offset=at)
    head, precedence, length = octets[at:at + 3]
    start, end = at + 3, at + 3 + length
    if end > len(octets):
        raise TftSyntaxError("a packet filter is cut off", offset=at)
    fields: dict[str, object] = {}
    while start < end:
        kind = octets[start]
        size = _SIZES.get(kind)                                     # type: ignore[call-overload]
        if size is None:
            raise TftSyntaxError(f"component type {kind:#x} is not known", offset=start, in_packet_filter=True)
        if start + 1 + size > end:
            raise TftSyntaxError("a component is cut off", offset=start, in_packet_filter=True)
        name, value = _decode_component(ComponentType(kind), octets[start + 1:start + 1 + size], start)
        if name in fields:
            raise TftSyntaxError(f"{name} is given twice", offset=start, in_packet_filter=True)
        fields[name] = value
        start += 1 + size
    return PacketFilter(
        identifier=head & 0x0F, direction=PacketFilterDirection(head >> 4 & 3), precedence=precedence, **fields), end    # type: ignore[arg-type]


def _decode_component(kind: ComponentType, data: bytes, offset: int) -> tuple[str, object]:
    number = int.from_bytes(data, "big")
    match kind:
        case ComponentType.IPV4_REMOTE_ADDRESS | ComponentType.IPV4_LOCAL_ADDRESS:
            prefix = _prefix_length(data[4:], offset)
            return _side(kind), IPv4Network((data[:4], prefix), strict=False)
        case ComponentType.IPV6_REMOTE_ADDRESS:
            return "remote", IPv6Network((data[:16], _prefix_length(data[16:], offset)), strict=False)
        case ComponentType.IPV6_REMOTE_ADDRESS_PREFIX_LENGTH | ComponentType.IPV6_LOCAL_ADDRESS_PREFIX_LENGTH:
            if data[16] > 128:
                raise TftSyntaxError(f"a prefix of {data[16]} bits", offset=offset, in_packet_filter=True)
            return _side(kind), IPv6Network((data[:16], data[16]), strict=False)
        case ComponentType.PROTOCOL_IDENTIFIER:
            return "protocol", number
        case ComponentType.SINGLE_LOCAL_PORT:
            return "local_ports", (number, number)
        case ComponentType.SINGLE_REMOTE_PORT:
            return "remote_ports", (number, number)
        case ComponentType.LOCAL_PORT_RANGE | ComponentType.REMOTE_PORT_RANGE:
            if number >> 16 > number & 0xFFFF:
                raise TftSyntaxError("a range of ports ends before it begins", offset=offset, in_packet_filter=True)
            return "local_ports" if kind == ComponentType.LOCAL_PORT_RANGE else "remote_ports", (number >> 16, number & 0xFFFF)
        case ComponentType.SECURITY_PARAMETER_INDEX:
            return "security_parameter_index", number
        case ComponentType.TYPE_OF_SERVICE:
            return "type_of_service", (data[0], data[1])
        case ComponentType.FLOW_LABEL:
            return "flow_label", number & 0xFFFFF


def _side(kind: ComponentType) -> str:
    return "remote" if kind in (ComponentType.IPV4_REMOTE_ADDRESS, ComponentType.IPV6_REMOTE_ADDRESS_PREFIX_LENGTH) else "local"


def _prefix_length(mask: bytes, offset: int) -> int:
    """Of a mask whose ones all come first; others cannot be told as a network."""
    bits = 8 * len(mask)
    number = int.from_bytes(mask, "big")
    prefix = number.bit_count()
    if number != (1 << bits) - (1 << bits - prefix):
        raise TftSyntaxError("a mask with holes", offset=offset, in_packet_filter=True)
    return prefix
