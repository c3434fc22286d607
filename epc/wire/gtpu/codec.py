"""GTP-U messages to octets and back: header, extension header chain, information elements (TS 29.281 clauses 5, 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import NamedTuple

from epc.wire.errors import WireError
from epc.wire.identity import Teid

IpAddress = IPv4Address | IPv6Address

_HEADER = Struct("!BBHI")
_OPTIONAL = Struct("!HBB")
_U16 = Struct("!H")
_U32 = Struct("!I")

_E, _S, _PN = 4, 2, 1
_RECOVERY, _TEID_DATA_I, _PEER_ADDRESS, _EXTENSION_HEADER_TYPE_LIST = 14, 16, 133, 141


class MessageType(IntEnum):
    """TS 29.281 table 6.1-1."""

    ECHO_REQUEST = 1
    ECHO_RESPONSE = 2
    ERROR_INDICATION = 26
    SUPPORTED_EXTENSION_HEADERS_NOTIFICATION = 31
    TUNNEL_STATUS = 253
    END_MARKER = 254
    G_PDU = 255


class ExtensionHeaderType(IntEnum):
    """TS 29.281 figure 5.2.1-3. The two highest bits say who must understand it."""

    NO_MORE = 0x00
    LONG_PDCP_PDU_NUMBER_OPTIONAL = 0x03
    SERVICE_CLASS_INDICATOR = 0x20
    UDP_PORT = 0x40
    RAN_CONTAINER = 0x81
    LONG_PDCP_PDU_NUMBER = 0x82
    XW_RAN_CONTAINER = 0x83
    NR_RAN_CONTAINER = 0x84
    PDU_SESSION_CONTAINER = 0x85
    PDCP_PDU_NUMBER = 0xC0


# --- extension headers --------------------------------------------------------------------------------------------------------


class ExtensionHeader(NamedTuple):
    """One link of the chain: ``content`` is what stands between its length and the next one's type, 4n - 2 octets."""

    type: ExtensionHeaderType | int
    content: bytes

    @property
    def endpoint_must_understand(self) -> bool:
        """The receiving endpoint has to know it or send Supported Extension Headers Notification."""
        return bool(self.type & 0x80)

    @property
    def intermediate_must_understand(self) -> bool:
        """An intermediate node has to know it too."""
        return self.type & 0xC0 == 0xC0


def pdcp_pdu_number(number: int) -> ExtensionHeader:
    """For the handover of a bearer with lossless PDCP (TS 29.281 clause 5.2.2.2)."""
    return ExtensionHeader(ExtensionHeaderType.PDCP_PDU_NUMBER, _fitting(_U16, number, "PDCP PDU number"))


def long_pdcp_pdu_number(number: int) -> ExtensionHeader:
    """18 bits (TS 29.281 clause 5.2.2.2A)."""
    if not 0 <= number < 1 << 18:
        raise WireError(f"PDCP PDU number {number} of more than 18 bits", ie="Long PDCP PDU Number")
    return ExtensionHeader(ExtensionHeaderType.LONG_PDCP_PDU_NUMBER, number.to_bytes(3, "big") + bytes(3))


def udp_port(port: int) -> ExtensionHeader:
    """The source port of the G-PDU that an Error Indication is about (TS 29.281 clause 5.2.2.1)."""
    return ExtensionHeader(ExtensionHeaderType.UDP_PORT, _fitting(_U16, port, "UDP Port"))


def service_class_indicator(value: int) -> ExtensionHeader:
    """TS 29.281 clause 5.2.2.3."""
    if not 0 <= value <= 0xFF:
        raise WireError(f"service class {value}", ie="Service Class Indicator")
    return ExtensionHeader(ExtensionHeaderType.SERVICE_CLASS_INDICATOR, bytes((value, 0)))


def ran_container(container: bytes) -> ExtensionHeader:
    """X2's flow control, padded to the header's unit (TS 29.281 clause 5.2.2.4, TS 36.425)."""
    return ExtensionHeader(ExtensionHeaderType.RAN_CONTAINER, container + bytes(-(len(container) + 2) % 4))


def number_in(header: ExtensionHeader) -> int:
    """The PDCP PDU number, UDP port or service class that an extension header holds."""
    if header.type in (ExtensionHeaderType.LONG_PDCP_PDU_NUMBER, ExtensionHeaderType.LONG_PDCP_PDU_NUMBER_OPTIONAL):
        if len(header.content) < 3:
            raise WireError("truncated", ie="Long PDCP PDU Number")
        return int.from_bytes(header.content[:3], "big") & 0x3FFFF
    if header.type == ExtensionHeaderType.SERVICE_CLASS_INDICATOR:
        return header.content[0]
    return int.from_bytes(header.content[:2], "big")


def _fitting(structure: Struct, number: int, ie: str) -> bytes:
    if not 0 <= number < 1 << 8 * structure.size:
        raise WireError(f"{number} does not fit", ie=ie)
    return structure.pack(number)


# --- messages -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoRequest:
    """Is the path alive? (TS 29.281 clause 7.2.1)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoResponse:
    """Its restart counter means nothing and is sent as 0 (TS 29.281 clause 7.2.2)."""

    recovery: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorIndication:
    """A G-PDU came for a tunnel that does not exist here: which one, and at which of our addresses (TS 29.281 clause 7.3.1)."""

    teid: Teid | int
    peer_address: IpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedExtensionHeadersNotification:
    """The extension header types that the sender understands (TS 29.281 clause 7.2.3)."""

    types: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMarker:
    """The last packet on this tunnel (TS 29.281 clause 7.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GPdu:
    """A user's packet."""

    payload: bytes


Message = EchoRequest | EchoResponse | ErrorIndication | SupportedExtensionHeadersNotification | EndMarker | GPdu


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message with its header; ``teid`` is the receiver's, 0 for path management."""

    message: Message
    teid: Teid | int = 0
    sequence: int | None = None
    n_pdu_number: int | None = None
    extension_headers: tuple[ExtensionHeader, ...] = ()


class UnknownMessageType(WireError):
    """A message type that GTP-U does not have: dropped."""

    def __init__(self, message_type: int) -> None:
        super().__init__(f"unknown message type {message_type}", offset=1)
        self.message_type = message_type


class VersionNotSupported(WireError):
    """Not GTP version 1, or GTP': GTP-U has no answer to that, it is dropped (TS 29.281 clause 5.1)."""


# --- the forwarding path ------------------------------------------------------------------------------------------------------


class Peek(NamedTuple):
    """Where things are in a datagram; nothing is copied."""

    message_type: int
    teid: int
    payload: int            # offset of the payload or of the first information element
    has_extension_headers: bool


def encode_gpdu_header(teid: int, length: int) -> bytes:
    """The eight octets before a user's packet of ``length`` octets."""
    return _HEADER.pack(0x30, MessageType.G_PDU, length, teid)


def peek(octets: bytes | bytearray | memoryview) -> Peek:
    """Type, TEID and payload offset of a datagram; raises :class:`~epc.wire.errors.WireError` unless its length field is right."""
    if len(octets) < 8:
        raise WireError("too short for a GTP-U header")
    flags, message_type, length, teid = _HEADER.unpack_from(octets)
    if flags >> 4 != 3:
        raise VersionNotSupported("not GTP version 1")
    if length != len(octets) - 8:
        raise WireError(f"length {length} in the header, {len(octets) - 8} octets in the datagram", offset=2)
    if not flags & 7:
        return Peek(message_type, teid, 8, False)
    if length < 4:
        raise WireError("optional header fields truncated", offset=8)
    offset = 12
    next_type = octets[11] if flags & _E else 0
    chained = bool(next_type)
    while next_type:
        size = 4 * octets[offset] if offset < len(octets) else 0
        if not size or offset + size > len(octets):
            raise WireError("extension header truncated or empty", offset=offset)
        offset += size
        next_type = octets[offset - 1]
    return Peek(message_type, teid, offset, chained)


# --- encoding -----------------------------------------------------------------------------------------------------------------


def encode(
    message: Message,
    *,
    teid: int = 0,
    sequence: int | None = None,
    n_pdu_number: int | None = None,
    extension_headers: tuple[ExtensionHeader, ...] = (),
) -> bytes:
    """The datagram. Echo messages, Error Indication and the notification get sequence number 0 if none is given (TS 29.281 clause 5.1)."""
    message_type, body = _body(message)
    if sequence is None and message_type < MessageType.END_MARKER:
        sequence = 0
    flags = 0x30
    optional = b""
    if sequence is not None or n_pdu_number is not None or extension_headers:
        flags |= (_S if sequence is not None else 0) | (_PN if n_pdu_number is not None else 0) | (_E if extension_headers else 0)
        if not 0 <= (sequence or 0) <= 0xFFFF or not 0 <= (n_pdu_number or 0) <= 0xFF:
            raise WireError(f"sequence number {sequence} or N-PDU number {n_pdu_number} out of range")
        optional = _OPTIONAL.pack(sequence or 0, n_pdu_number or 0, extension_headers[0].type if extension_headers else 0)
        for index, header in enumerate(extension_headers):
            units, rest = divmod(len(header.content) + 2, 4)
            if rest or not 1 <= units <= 255 or not 1 <= header.type <= 255:
                raise WireError(f"extension header {header.type:#x} of {len(header.content)} octets")
            following = extension_headers[index + 1].type if index + 1 < len(extension_headers) else 0
            optional += bytes((units,)) + header.content + bytes((following,))
    length = len(optional) + len(body)
    if length > 0xFFFF or not 0 <= teid <= 0xFFFFFFFF:
        raise WireError(f"length {length} or TEID {teid:#x} out of range")
    return _HEADER.pack(flags, message_type, length, teid) + optional + body


def _body(message: Message) -> tuple[MessageType, bytes]:
    if isinstance(message, GPdu):
        return MessageType.G_PDU, message.payload
    if isinstance(message, EchoRequest):
        return MessageType.ECHO_REQUEST, b""
    if isinstance(message, EchoResponse):
        if not 0 <= message.recovery <= 0xFF:
            raise WireError(f"restart counter {message.recovery}", ie="Recovery")
        return MessageType.ECHO_RESPONSE, bytes((_RECOVERY, message.recovery))
    if isinstance(message, ErrorIndication):
        address = message.peer_address.packed
        teid = _fitting(_U32, message.teid, "Tunnel Endpoint Identifier Data I")
        return MessageType.ERROR_INDICATION, bytes((_TEID_DATA_I,)) + teid + bytes((_PEER_ADDRESS,)) + _U16.pack(len(address)) + address
    if isinstance(message, SupportedExtensionHeadersNotification):
        if len(message.types) > 255 or not all(0 <= each <= 255 for each in message.types):
            raise WireError("extension header types out of range", ie="Extension Header Type List")
        return MessageType.SUPPORTED_EXTENSION_HEADERS_NOTIFICATION, bytes((_EXTENSION_HEADER_TYPE_LIST, len(message.types), *message.types))
    return MessageType.END_MARKER, b""


# --- decoding -----------------------------------------------------------------------------------------------------------------

_EXTENSION_TYPES = {int(member): member for member in ExtensionHeaderType}


def decode(octets: bytes) -> Packet:
    """The message in a datagram; raises :class:`~epc.wire.errors.WireError` or a subclass."""
    message_type, teid, offset, has_extension_headers = peek(octets)
    flags = octets[0]
    sequence, n_pdu_number, _ = _OPTIONAL.unpack_from(octets, 8) if flags & 7 else (0, 0, 0)
    return Packet(
        message=_message(message_type, octets, offset),
        teid=teid,
        sequence=sequence if flags & _S else None,
        n_pdu_number=n_pdu_number if flags & _PN else None,
        extension_headers=_extension_headers(octets) if has_extension_headers else (),
    )


def _extension_headers(octets: bytes) -> tuple[ExtensionHeader, ...]:
    """The chain, whose lengths :func:`peek` has checked."""
    headers = []
    offset, kind = 12, octets[11]
    while kind:
        end = offset + 4 * octets[offset]
        headers.append(ExtensionHeader(_EXTENSION_TYPES.get(kind, kind), octets[offset + 1:end - 1]))
        offset, kind = end, octets[end - 1]
    return tuple(headers)


def _message(message_type: int, octets: bytes, offset: int) -> Message:
    if message_type == MessageType.G_PDU:
        return GPdu(payload=octets[offset:])
    if message_type == MessageType.END_MARKER:
        return EndMarker()
    if message_type == MessageType.ECHO_REQUEST:
        return EchoRequest()
    if message_type not in (MessageType.ECHO_RESPONSE, MessageType.ERROR_INDICATION, MessageType.SUPPORTED_EXTENSION_HEADERS_NOTIFICATION):
        raise UnknownMessageType(message_type)
    elements = _elements(octets, offset)
    if message_type == MessageType.ECHO_RESPONSE:
        return EchoResponse(recovery=elements[_RECOVERY][0] if _RECOVERY in elements else 0)
    if message_type == MessageType.SUPPORTED_EXTENSION_HEADERS_NOTIFICATION:
        return SupportedExtensionHeadersNotification(types=tuple(elements.get(_EXTENSION_HEADER_TYPE_LIST, b"")))
    if _TEID_DATA_I not in elements or _PEER_ADDRESS not in elements:
        raise WireError("missing", offset=offset, ie="Tunnel Endpoint Identifier Data I or GTP-U Peer Address")
    address = elements[_PEER_ADDRESS]
    if len(address) not in (4, 16):
        raise WireError(f"an address of {len(address)} octets", offset=offset, ie="GTP-U Peer Address")
    return ErrorIndication(teid=int.from_bytes(elements[_TEID_DATA_I], "big"), peer_address=ip_address(address))


def _elements(octets: bytes, offset: int) -> dict[int, bytes]:
    """Information elements by type, the first of each. From 128 on they carry their length; the list of types in one octet."""
    elements: dict[int, bytes] = {}
    while offset < len(octets):
        kind = octets[offset]
        if kind == _RECOVERY:
            start, length = offset + 1, 1
        elif kind == _TEID_DATA_I:
            start, length = offset + 1, 4
        elif kind == _EXTENSION_HEADER_TYPE_LIST and offset + 2 <= len(octets):
            start, length = offset + 2, octets[offset + 1]
        elif kind >= 128 and offset + 3 <= len(octets):
            start, length = offset + 3, _U16.unpack_from(octets, offset + 1)[0]
        else:
            raise WireError(f"element of type {kind} without a known length", offset=offset)
        if start + length > len(octets):
            raise WireError(f"element of type {kind} truncated", offset=offset)
        elements.setdefault(kind, octets[start:start + length])
        offset = start + length
    return elements
