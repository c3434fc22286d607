"""Which bearer an uplink packet takes: the packet filters of the dedicated bearers decide, in their precedence (TS 23.401 clause 4.7.2.2)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from epc.dataplane.flow import compile_filter, flow_of
from epc.dataplane.rules import SdfFilter
from epc.wire.nas import PacketFilter
from ran.ue.state import PdnConnection


def bearer_for(connections: Iterable[PdnConnection], packet: bytes) -> int | None:
    """EPS bearer identity; ``None`` without a PDN connection."""
    every = list(connections)
    if not every:
        return None
    connection = every[0] if len(every) == 1 else _connection_for(every, packet)
    if not connection.dedicated:
        return connection.ebi
    filters = sorted(
        [(each.precedence, ebi, each) for ebi, bearer in connection.dedicated.items() for each in bearer.filters.values() if each.is_uplink],
        key=lambda item: item[0])
    return next((ebi for _, ebi, each in filters if matches(each, packet)), connection.ebi)


def matches(each: PacketFilter, packet: bytes) -> bool:
    """Whether an uplink packet fits the filter."""
    flow = flow_of(packet, 0, uplink=True)
    if flow is None:
        return False
    if each.local is not None and ip_address(packet[12:16] if flow.version == 4 else packet[8:24]) not in each.local:
        return False
    if each.type_of_service is not None:
        value, mask = each.type_of_service
        traffic_class = packet[1] if flow.version == 4 else int.from_bytes(packet[:2], "big") >> 4 & 0xFF
        if traffic_class & mask != value & mask:
            return False
    if each.flow_label is not None and (flow.version == 4 or int.from_bytes(packet[1:4], "big") & 0xFFFFF != each.flow_label):
        return False
    if each.security_parameter_index is not None and not _has_spi(packet, flow.version, flow.protocol, each.security_parameter_index):
        return False
    return compile_filter(
        SdfFilter(remote=each.remote, protocol=each.protocol, remote_ports=each.remote_ports, local_ports=each.local_ports)).matches(flow)


_ESP, _AH = 50, 51


def _has_spi(packet: bytes, version: int, protocol: int, spi: int) -> bool:
    start = (packet[0] & 15) * 4 if version == 4 else 40
    if protocol == _ESP:
        return packet[start:start + 4] == spi.to_bytes(4, "big")
    return protocol == _AH and packet[start + 4:start + 8] == spi.to_bytes(4, "big")


def _connection_for(connections: list[PdnConnection], packet: bytes) -> PdnConnection:
    """The one whose address the packet comes from; the first, where that cannot be told."""
    source = packet[12:16] if packet and packet[0] >> 4 == 4 else b""
    return next(
        (each for each in connections if each.address.ipv4_address is not None and each.address.ipv4_address.packed == source), connections[0])
