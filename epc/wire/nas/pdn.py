"""PDN address (TS 24.301 clause 9.9.4.9) and access point name (TS 24.008 clause 10.5.6.1, TS 23.003 clause 9.1)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, require_length
from epc.wire.nas.enumerations import PdnType

_MAXIMUM_APN_OCTETS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PdnAddress:
    """What the PGW gave the UE: an IPv4 address, the last 64 bits of an IPv6 link-local address, or both."""

    pdn_type: PdnType | int
    ipv4_address: IPv4Address | None = None
    ipv6_interface_identifier: bytes | None = None


def encode_pdn_address(address: PdnAddress) -> bytes:
    """The value part: 5, 9 or 13 octets."""
    identifier, ipv4 = address.ipv6_interface_identifier, address.ipv4_address
    if identifier is not None and len(identifier) != 8:
        raise WireError("an interface identifier has 8 octets")
    if (address.pdn_type in (PdnType.IPV4, PdnType.IPV4V6)) != (ipv4 is not None):
        raise WireError("PDN type and IPv4 address do not agree")
    if (address.pdn_type in (PdnType.IPV6, PdnType.IPV4V6)) != (identifier is not None):
        raise WireError("PDN type and interface identifier do not agree")
    if not 0 <= address.pdn_type <= 7:
        raise WireError("a PDN type has 3 bits")
    value = (identifier or b"") + (ipv4.packed if ipv4 is not None else b"")
    return bytes((address.pdn_type,)) + (value or bytes(4))      # non-IP and Ethernet: spare octets up to the minimum length


def decode_pdn_address(octets: bytes) -> PdnAddress:
    """The address in a value part."""
    require_length(octets, 5, 13)
    pdn_type = octets[0] & 7
    if pdn_type == PdnType.IPV4:
        require_length(octets, 5, 5)
        return PdnAddress(pdn_type=PdnType.IPV4, ipv4_address=IPv4Address(octets[1:5]))
    if pdn_type == PdnType.IPV6:
        require_length(octets, 9, 9)
        return PdnAddress(pdn_type=PdnType.IPV6, ipv6_interface_identifier=octets[1:9])
    if pdn_type == PdnType.IPV4V6:
        require_length(octets, 13, 13)
        return PdnAddress(pdn_type=PdnType.IPV4V6, ipv6_interface_identifier=octets[1:9], ipv4_address=IPv4Address(octets[9:13]))
    if pdn_type in (PdnType.NON_IP, PdnType.ETHERNET):
        return PdnAddress(pdn_type=PdnType(pdn_type))
    raise WireError(f"PDN type {pdn_type} is not defined")


def encode_access_point_name(name: str) -> bytes:
    """Labels, each after its length; at most 100 octets."""
    try:
        labels = [label.encode("ascii") for label in name.split(".")]
    except UnicodeEncodeError:
        raise WireError(f"an APN is ASCII, not {name!r}", ie="Access point name") from None
    octets = b"".join([bytes((len(label),)) + label for label in labels if len(label) <= 63])
    if not all(0 < len(label) <= 63 for label in labels) or len(octets) > _MAXIMUM_APN_OCTETS:
        raise WireError(f"labels of 1 to 63 characters, 100 octets in all, are needed, not {name!r}", ie="Access point name")
    return octets


def decode_access_point_name(octets: bytes) -> str:
    """The name, labels joined by dots; printable ASCII only, or it could not be told from another."""
    require_length(octets, 1, _MAXIMUM_APN_OCTETS)
    labels = []
    offset, end = 0, len(octets)
    while offset < end:
        length = octets[offset]
        label = octets[offset + 1:offset + 1 + length]
        if not 0 < length <= 63 or len(label) != length:
            raise WireError("a label's length is wrong", offset=offset)
        if b"." in label or not label.isascii() or not label.decode("ascii").isprintable():
            raise WireError("a label holds a character that no APN has", offset=offset)
        labels.append(label.decode("ascii"))
        offset += 1 + length
    return ".".join(labels)


PDN_ADDRESS = Coding(encode_pdn_address, decode_pdn_address)
ACCESS_POINT_NAME = Coding(encode_access_point_name, decode_access_point_name)
