"""The GTP-U octets that a forwarder reads and writes besides user packets: optional header parts, path and tunnel management.

User packets with the plain 8-octet header never come here. TS 29.281, Release 15.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from epc.wire.errors import WireError

ECHO_REQUEST = 1                            # TS 29.281 clause 6.1
ECHO_RESPONSE = 2
ERROR_INDICATION = 26
SUPPORTED_EXTENSION_HEADERS_NOTIFICATION = 31
END_MARKER = 254
G_PDU = 255

PLAIN_G_PDU = 0x30FF                        # version 1, GTP, no optional part; G-PDU: the first two octets as one number
MANDATORY_HEADER = Struct(">HHI")           # flags and type, length, TEID
_WITH_SEQUENCE_NUMBER = Struct(">HHIHH")    # ... sequence number, N-PDU number and next extension header

_RECOVERY, _TEID_DATA_I, _GTPU_PEER_ADDRESS, _EXTENSION_HEADER_TYPE_LIST = 14, 16, 133, 141
_TV_LENGTHS = {_RECOVERY: 1, _TEID_DATA_I: 4}

SERVICE_CLASS_INDICATOR, UDP_PORT, PDCP_PDU_NUMBER = 0x20, 0x40, 0xC0
UNDERSTOOD = frozenset((SERVICE_CLASS_INDICATOR, UDP_PORT, PDCP_PDU_NUMBER))


class ExtensionHeader(NamedTuple):
    type: int
    octets: bytes       # length, content and next type, as received

    @property
    def needs_everybody(self) -> bool:
        """Comprehension is required of whoever receives it (TS 29.281 clause 5.2.1: bits 8 and 7 are 11)."""
        return self.type >= 0xC0

    @property
    def needs_the_endpoint(self) -> bool:
        """Comprehension is required where the tunnel ends (bits 10 or 11)."""
        return self.type >= 0x80

    @property
    def ends_here(self) -> bool:
        """An intermediate node leaves it out of what it passes on (bits 01)."""
        return 0x40 <= self.type < 0x80


def read_optional_part(message: bytes) -> tuple[int, tuple[ExtensionHeader, ...]]:
    """Where the content begins, and the extension headers before it. Raises :class:`WireError` if they run over the end."""
    if not message[0] & 7:
        return 8, ()
    if len(message) < 12:
        raise WireError("truncated", offset=len(message), ie="sequence number, N-PDU number, next extension header type")
    at = 12
    if not message[0] & 4:
        return at, ()
    extensions = []
    kind = message[11]
    while kind:
        length = message[at] * 4 if at < len(message) else 0
        if not length or at + length > len(message):
            raise WireError("truncated", offset=at, ie=f"extension header {kind:#04x}")
        extensions.append(ExtensionHeader(kind, message[at:at + length]))
        at += length
        kind = message[at - 1]
    return at, tuple(extensions)


def without_extension_headers_that_end_here(message: bytes, start: int, extensions: tuple[ExtensionHeader, ...]) -> bytes:
    """The G-PDU as an intermediate node passes it on (TS 29.281 clause 5.2.1)."""
    kept = [extension for extension in extensions if not extension.ends_here]
    chain, kind = b"", 0
    for extension in reversed(kept):
        chain = extension.octets[:-1] + bytes((kind,)) + chain
        kind = extension.type
    content = message[8:11] + bytes((kind,)) + chain + message[start:]
    return message[:2] + len(content).to_bytes(2) + message[4:8] + content


def sequence_number(message: bytes) -> int:
    """The sequence number of a signalling message; 0 where the sender left it out."""
    return int.from_bytes(message[8:10]) if message[0] & 2 else 0


def _signalling(message_type: int, sequence: int, elements: bytes = b"") -> bytes:
    return _WITH_SEQUENCE_NUMBER.pack(0x3200 | message_type, 4 + len(elements), 0, sequence, 0) + elements


def echo_request(sequence: int) -> bytes:
    return _signalling(ECHO_REQUEST, sequence)


def echo_response(sequence: int) -> bytes:
    """The restart counter is not used in GTP-U and always 0 (TS 29.281 clause 8.2)."""
    return _signalling(ECHO_RESPONSE, sequence, bytes((_RECOVERY, 0)))


def error_indication(teid: int, received_at: bytes) -> bytes:
    """For a G-PDU that came to ``teid`` at our address ``received_at`` (packed) (TS 29.281 clause 7.3.1)."""
    elements = bytes((_TEID_DATA_I,)) + teid.to_bytes(4) + bytes((_GTPU_PEER_ADDRESS,)) + len(received_at).to_bytes(2) + received_at
    return _signalling(ERROR_INDICATION, 0, elements)


def supported_extension_headers_notification() -> bytes:
    types = bytes(sorted(UNDERSTOOD))
    return _signalling(SUPPORTED_EXTENSION_HEADERS_NOTIFICATION, 0, bytes((_EXTENSION_HEADER_TYPE_LIST, len(types))) + types)


def end_marker(teid: int) -> bytes:
    return MANDATORY_HEADER.pack(0x3000 | END_MARKER, 0, teid)


def read_error_indication(message: bytes, start: int) -> tuple[int, bytes]:
    """The TEID that the peer does not know, and the address (packed) where it was met. Raises :class:`WireError`."""
    teid: int | None = None
    address = b""
    at = start
    while at < len(message):
        kind = message[at]
        if kind < 128:
            length, value = _TV_LENGTHS.get(kind, -1), at + 1
            if length < 0:
                raise WireError(f"information element {kind} of unknown length", offset=at, ie="Error Indication")
        else:
            # The length of the list of extension headers is the one that takes a single octet (TS 29.281 clause 8.5).
            value = at + (2 if kind == _EXTENSION_HEADER_TYPE_LIST else 3)
            length = int.from_bytes(message[at + 1:value])
        if value + length > len(message):
            raise WireError("truncated", offset=at, ie="Error Indication")
        if kind == _TEID_DATA_I:
            teid = int.from_bytes(message[value:value + 4])
        elif kind == _GTPU_PEER_ADDRESS:
            address = message[value:value + length]
        at = value + length
    if teid is None or len(address) not in (4, 16):
        raise WireError("TEID Data I or GTP-U Peer Address missing or of the wrong length", offset=start, ie="Error Indication")
    return teid, address
