"""What the PGW answers to a UE's protocol configuration options (TS 24.008 clause 10.5.6.3, TS 29.061 clause 11.2.1)."""

from __future__ import annotations

from epc.pgw.config import ApnConfig
from epc.wire.errors import WireError
from epc.wire.nas.protocol_configuration import (
    Container,
    ContainerId,
    IpcpOption,
    IpcpPacket,
    ProtocolConfigurationOptions,
    decode_ipcp,
    decode_protocol_configuration_options,
    encode_ipcp,
    encode_protocol_configuration_options,
)

_CONFIGURE_REQUEST, _CONFIGURE_NAK, _CONFIGURE_REJECT = 1, 3, 4     # RFC 1661 clause 5
_PRIMARY_DNS, _SECONDARY_DNS = 129, 131                             # RFC 1877
_SELECTED_BEARER_CONTROL_MODE_MS_NW = b"\x02"


def answer_options(asked: bytes | None, apn: ApnConfig) -> bytes | None:
    """``None`` when the UE asked for nothing, or for nothing that can be read."""
    if asked is None:
        return None
    try:
        options = decode_protocol_configuration_options(asked)
    except WireError:
        return None
    containers: list[Container] = []
    for container in options.containers:
        containers += _answer(container, apn)
    return encode_protocol_configuration_options(ProtocolConfigurationOptions(containers=tuple(containers)))


def _answer(asked: Container, apn: ApnConfig) -> list[Container]:
    match asked.identifier:
        case ContainerId.DNS_SERVER_IPV4_ADDRESS:
            return [Container(identifier=ContainerId.DNS_SERVER_IPV4_ADDRESS, contents=address.packed) for address in apn.name_servers]
        case ContainerId.IPV4_LINK_MTU:
            return [Container(identifier=ContainerId.IPV4_LINK_MTU, contents=apn.mtu_octets.to_bytes(2, "big"))]
        case ContainerId.MS_SUPPORT_OF_NETWORK_REQUESTED_BEARER_CONTROL:
            return [Container(identifier=asked.identifier, contents=_SELECTED_BEARER_CONTROL_MODE_MS_NW)]
        case ContainerId.IPCP:
            contents = _answer_ipcp(asked.contents, apn)
            return [] if contents is None else [Container(identifier=ContainerId.IPCP, contents=contents)]
    return []


def _answer_ipcp(asked: bytes, apn: ApnConfig) -> bytes | None:
    """The UE asks for DNS servers with zeros; it is told the right ones. Whatever else it negotiates, it is told at the attach."""
    try:
        packet = decode_ipcp(asked)
    except WireError:
        return None
    if packet.code != _CONFIGURE_REQUEST:
        return None
    servers = dict(zip((_PRIMARY_DNS, _SECONDARY_DNS), apn.name_servers, strict=False))
    known = tuple(IpcpOption(type=option.type, data=servers[option.type].packed) for option in packet.options if option.type in servers)
    if known:
        return encode_ipcp(IpcpPacket(code=_CONFIGURE_NAK, identifier=packet.identifier, options=known))
    return encode_ipcp(IpcpPacket(code=_CONFIGURE_REJECT, identifier=packet.identifier, options=packet.options))
