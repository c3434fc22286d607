"""Telling service data flows apart: SDF filters turned into integers, and the few header fields they look at."""

from __future__ import annotations

from typing import NamedTuple

from epc.dataplane.rules import SdfFilter

TCP, UDP, SCTP = 6, 17, 132
_WITH_PORTS = frozenset((TCP, UDP, SCTP))
_ANY_PORT = (-1, 65535)     # -1 stands for a packet that shows no ports
_IPV6_EXTENSIONS = frozenset((0, 43, 60))       # hop-by-hop options, routing, destination options
_IPV6_FRAGMENT = 44


class Flow(NamedTuple):
    """One packet's flow, seen from the UE."""

    version: int
    remote: int         # the far end's address
    protocol: int
    remote_port: int    # -1 when the packet shows none: other protocols, later fragments, cut short
    local_port: int


class CompiledFilter(NamedTuple):
    version: int        # 0: any address of either version
    network: int
    mask: int
    protocol: int       # -1: any
    remote_ports: tuple[int, int]
    local_ports: tuple[int, int]

    def matches(self, flow: Flow) -> bool:
        return (
            (self.version == 0 or (self.version == flow.version and flow.remote & self.mask == self.network))
            and self.protocol in (-1, flow.protocol)
            and self.remote_ports[0] <= flow.remote_port <= self.remote_ports[1]
            and self.local_ports[0] <= flow.local_port <= self.local_ports[1]
        )


def compile_filter(sdf: SdfFilter) -> CompiledFilter:
    return CompiledFilter(
        version=0 if sdf.remote is None else sdf.remote.version,
        network=0 if sdf.remote is None else int(sdf.remote.network_address),
        mask=0 if sdf.remote is None else int(sdf.remote.netmask),
        protocol=-1 if sdf.protocol is None else sdf.protocol,
        remote_ports=sdf.remote_ports or _ANY_PORT,
        local_ports=sdf.local_ports or _ANY_PORT,
    )


def flow_of(octets: bytes, start: int, *, uplink: bool) -> Flow | None:
    """The flow of the IP packet that begins at ``start``; ``None`` when that is no IP packet."""
    rest = len(octets) - start
    version = octets[start] >> 4 if rest else 0
    if version == 4 and rest >= 20:
        protocol = octets[start + 9]
        transport = start + (octets[start] & 15) * 4
        source, destination = octets[start + 12:start + 16], octets[start + 16:start + 20]
        first_fragment = not (octets[start + 6] & 0x1F or octets[start + 7])
    elif version == 6 and rest >= 40:
        source, destination = octets[start + 8:start + 24], octets[start + 24:start + 40]
        protocol, transport, first_fragment = _ipv6_transport(octets, start)
    else:
        return None
    if first_fragment and protocol in _WITH_PORTS and len(octets) >= transport + 4:
        source_port = octets[transport] << 8 | octets[transport + 1]
        destination_port = octets[transport + 2] << 8 | octets[transport + 3]
    else:
        source_port = destination_port = -1
    if uplink:
        return Flow(version, int.from_bytes(destination), protocol, destination_port, source_port)
    return Flow(version, int.from_bytes(source), protocol, source_port, destination_port)


def transport_of(octets: bytes, start: int) -> int:
    """Where the upper-layer header begins; -1 in a later fragment, and in what is no IP packet."""
    rest = len(octets) - start
    version = octets[start] >> 4 if rest else 0
    if version == 4 and rest >= 20:
        return -1 if octets[start + 6] & 0x1F or octets[start + 7] else start + (octets[start] & 15) * 4
    if version == 6 and rest >= 40:
        _, transport, first_fragment = _ipv6_transport(octets, start)
        return transport if first_fragment else -1
    return -1


def _ipv6_transport(octets: bytes, start: int) -> tuple[int, int, bool]:
    """Upper-layer protocol, where it begins, and whether ports are to be found there (RFC 8200 clause 4)."""
    protocol, at, first_fragment = octets[start + 6], start + 40, True
    while len(octets) >= at + 8:
        if protocol in _IPV6_EXTENSIONS:
            protocol, at = octets[at], at + (octets[at + 1] + 1) * 8
        elif protocol == _IPV6_FRAGMENT:
            first_fragment = first_fragment and not (octets[at + 2] or octets[at + 3] & 0xF8)
            protocol, at = octets[at], at + 8
        else:
            break
    return protocol, at, first_fragment
