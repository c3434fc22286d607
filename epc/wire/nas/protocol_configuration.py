"""Protocol configuration options: TS 24.008 clause 10.5.6.3. The MME hands them through; UE and PGW read and write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from epc.wire.errors import WireError

_EXTENSION = 0x80            # bit 8 of the first octet is always 1; the low bits hold the configuration protocol, 0 for PPP with IP


class ContainerId(IntEnum):
    """Protocol and container identifiers of TS 24.008 table 10.5.154; requests and answers share the number."""

    P_CSCF_IPV6_ADDRESS = 0x0001
    IM_CN_SUBSYSTEM_SIGNALING_FLAG = 0x0002
    DNS_SERVER_IPV6_ADDRESS = 0x0003
    MS_SUPPORT_OF_NETWORK_REQUESTED_BEARER_CONTROL = 0x0005
    DSMIPV6_HOME_AGENT_ADDRESS = 0x0007
    IP_ADDRESS_ALLOCATION_VIA_NAS_SIGNALLING = 0x000A
    IPV4_ADDRESS_ALLOCATION_VIA_DHCPV4 = 0x000B
    P_CSCF_IPV4_ADDRESS = 0x000C
    DNS_SERVER_IPV4_ADDRESS = 0x000D
    MSISDN = 0x000E
    IFOM_SUPPORT = 0x000F
    IPV4_LINK_MTU = 0x0010
    MS_SUPPORT_OF_LOCAL_ADDRESS_IN_TFT = 0x0011
    LCP = 0xC021
    PAP = 0xC023
    CHAP = 0xC223
    IPCP = 0x8021


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One protocol packet or parameter."""

    identifier: ContainerId | int
    contents: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcpOption:
    """One option of an IPCP packet: RFC 1332, RFC 1877 (129 and 131: primary and secondary DNS)."""

    type: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcpPacket:
    """Internet protocol control protocol, as a container carries it: code 1 Request, 2 Ack, 3 Nak, 4 Reject."""

    code: int
    identifier: int
    options: tuple[IpcpOption, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolConfigurationOptions:
    """The containers, in the order of the message; a container may appear several times."""

    containers: tuple[Container, ...] = ()
    configuration_protocol: int = 0

    def contents(self, identifier: ContainerId) -> tuple[bytes, ...]:
        """The contents of every container of that identifier."""
        return tuple([container.contents for container in self.containers if container.identifier == identifier])

    @property
    def dns_server_ipv4_addresses(self) -> tuple[IPv4Address, ...]:
        return tuple([IPv4Address(octets) for octets in self.contents(ContainerId.DNS_SERVER_IPV4_ADDRESS) if len(octets) == 4])

    @property
    def dns_server_ipv6_addresses(self) -> tuple[IPv6Address, ...]:
        return tuple([IPv6Address(octets) for octets in self.contents(ContainerId.DNS_SERVER_IPV6_ADDRESS) if len(octets) == 16])

    @property
    def ipv4_link_mtu_octets(self) -> int | None:
        for octets in self.contents(ContainerId.IPV4_LINK_MTU):
            if len(octets) == 2:
                return int.from_bytes(octets, "big")
        return None


def encode_protocol_configuration_options(options: ProtocolConfigurationOptions) -> bytes:
    """The value part of the element, as it also stands in GTP's PCO and behind ``esm`` messages' ``protocol_configuration_options``."""
    if not 0 <= options.configuration_protocol <= 7:
        raise WireError("a configuration protocol has 3 bits", ie="Protocol configuration options")
    parts = [bytes((_EXTENSION | options.configuration_protocol,))]
    for container in options.containers:
        if len(container.contents) > 255:
            raise WireError("a container holds at most 255 octets", ie="Protocol configuration options")
        parts += (int(container.identifier).to_bytes(2, "big"), bytes((len(container.contents),)), container.contents)
    return b"".join(parts)


def decode_protocol_configuration_options(octets: bytes) -> ProtocolConfigurationOptions:
    """The options in a value part."""
    if not octets:
        raise WireError("empty", ie="Protocol configuration options")
    containers = []
    offset, end = 1, len(octets)
    while offset < end:
        if offset + 3 > end or offset + 3 + octets[offset + 2] > end:
            raise WireError("truncated container", offset=offset, ie="Protocol configuration options")
        number = octets[offset] << 8 | octets[offset + 1]
        start, offset = offset + 3, offset + 3 + octets[offset + 2]
        containers.append(Container(identifier=_CONTAINER_IDS.get(number, number), contents=octets[start:offset]))
    return ProtocolConfigurationOptions(containers=tuple(containers), configuration_protocol=octets[0] & 7)


_CONTAINER_IDS: dict[int, ContainerId] = {int(member): member for member in ContainerId}


def encode_ipcp(packet: IpcpPacket) -> bytes:
    """The contents of an IPCP container."""
    options = b"".join([bytes((option.type, 2 + len(option.data))) + option.data for option in packet.options])
    return bytes((packet.code, packet.identifier)) + (4 + len(options)).to_bytes(2, "big") + options


def decode_ipcp(octets: bytes) -> IpcpPacket:
    """The packet in an IPCP container."""
    if len(octets) < 4 or not 4 <= (octets[2] << 8 | octets[3]) <= len(octets):
        raise WireError("truncated", ie="IPCP")
    options = []
    offset, end = 4, octets[2] << 8 | octets[3]
    while offset < end:
        if offset + 2 > end or octets[offset + 1] < 2 or offset + octets[offset + 1] > end:
            raise WireError("truncated option", offset=offset, ie="IPCP")
        start, option_type, offset = offset + 2, octets[offset], offset + octets[offset + 1]
        options.append(IpcpOption(type=option_type, data=octets[start:offset]))
    return IpcpPacket(code=octets[0], identifier=octets[1], options=tuple(options))


def request_of_ue(*, identifiers: Iterable[ContainerId]) -> ProtocolConfigurationOptions:
    """What a UE asks for: containers without contents."""
    return ProtocolConfigurationOptions(containers=tuple([Container(identifier=identifier) for identifier in identifiers]))
