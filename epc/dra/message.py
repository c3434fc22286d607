"""Messages as an agent handles them: octets of which only the AVPs that it must know are looked at (RFC 6733 clause 6.1.9)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

from epc.wire.diameter import HEADER_OCTETS, Avp, DiameterError, Header, ResultCode
from epc.wire.diameter.avp import MANDATORY_BIT, frame
from epc.wire.diameter.codec import ERROR_BIT, PROXIABLE_BIT, RETRANSMITTED_BIT

SESSION_ID = 263
ORIGIN_HOST = 264
RESULT_CODE = 268
PROXY_HOST = 280
ERROR_MESSAGE = 281
ROUTE_RECORD = 282
DESTINATION_REALM = 283
PROXY_INFO = 284
DESTINATION_HOST = 293
ERROR_REPORTING_HOST = 294
ORIGIN_REALM = 296
FAILED_AVP = 279
PROXY_STATE = 33

_AVP_HEADER = struct.Struct("!II").unpack_from
_VENDOR_BIT = 0x80000000


class RoutingAvps:
    """What decides a request's way. Identities are in lower case: they are compared, not sent."""

    __slots__ = ("destination_host", "destination_realm", "route_record")

    def __init__(self, octets: bytes) -> None:
        """Raises :class:`DiameterError` when the AVPs do not fill the message."""
        self.destination_host: bytes | None = None
        self.destination_realm: bytes | None = None
        self.route_record: list[bytes] = []
        offset, end = HEADER_OCTETS, len(octets)
        while offset < end:
            if end - offset < 8:
                raise _truncated(offset)
            code, word = _AVP_HEADER(octets, offset)
            length = word & 0xFFFFFF
            after = offset + length
            if after > end or (length < 12 and (length < 8 or word & _VENDOR_BIT)):
                raise _invalid_length(octets, offset)
            if 282 <= code <= 293 and not word & _VENDOR_BIT:
                if code == DESTINATION_REALM:
                    self.destination_realm = octets[offset + 8:after].lower()
                elif code == DESTINATION_HOST:
                    self.destination_host = octets[offset + 8:after].lower()
                elif code == ROUTE_RECORD:
                    self.route_record.append(octets[offset + 8:after].lower())
            offset = after + (-length & 3)


def _truncated(offset: int) -> DiameterError:
    return DiameterError("truncated AVP header", ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset)


def _invalid_length(octets: bytes, offset: int) -> DiameterError:
    """RFC 6733 clause 7.1.5: 5014, with the header of the AVP that is wrong."""
    code, word = _AVP_HEADER(octets, offset)
    return DiameterError("AVP length does not fit", ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset, ie=str(code),
                         failed_avp=Avp(code=code, mandatory=bool(word & MANDATORY_BIT << 24)))


def avps_of(octets: bytes, codes: Collection[int], start: int = HEADER_OCTETS) -> list[tuple[int, int, int, int]]:
    """Code, offset, offset of the data and end of the data of the AVPs of the base protocol with these codes.

    Raises :class:`DiameterError` when the AVPs from ``start`` on do not fill the rest.
    """
    found = []
    offset, end = start, len(octets)
    while offset < end:
        if end - offset < 8:
            raise _truncated(offset)
        code, word = _AVP_HEADER(octets, offset)
        length = word & 0xFFFFFF
        after = offset + length
        if after > end or (length < 12 and (length < 8 or word & _VENDOR_BIT)):
            raise _invalid_length(octets, offset)
        if code in codes and not word & _VENDOR_BIT:
            found.append((code, offset, offset + 8, after))
        offset = after + (-length & 3)
    return found


def with_avp(octets: bytes, avp: bytes) -> bytes:
    """The message with one more AVP at its end."""
    return _sized(octets[4:] + avp)


def without_avp(octets: bytes, offset: int, end: int) -> bytes:
    """The message without the AVP at ``offset`` whose data end at ``end``."""
    return _sized(octets[4:offset] + octets[end + (offset - end & 3):])


def _sized(octets: bytes) -> bytes:
    """With the first word before it: version 1 and the length."""
    return (1 << 24 | len(octets) + 4).to_bytes(4, "big") + octets


def route_record(host: str) -> bytes:
    return frame(ROUTE_RECORD, 0, MANDATORY_BIT, host.encode())


def rewritten(octets: bytes, codes: Collection[int], new_value: Callable[[int, bytes], bytes | None]) -> bytes:
    """The message with the values that ``new_value(code, value)`` gives; None leaves one as it is. All else stays octet by octet."""
    pieces: list[bytes] = []
    done = 4
    for code, offset, start, end in avps_of(octets, codes):
        value = new_value(code, octets[start:end])
        if value is not None:
            pieces += octets[done:offset], frame(code, 0, octets[offset + 4], value)
            done = end + (offset - end & 3)
    if not pieces:
        return octets
    pieces.append(octets[done:])
    return _sized(b"".join(pieces))


def retransmitted(octets: bytes) -> bytes:
    """With the T bit: the request may have been delivered before (RFC 6733 clause 5.5.4)."""
    return octets[:4] + bytes((octets[4] | RETRANSMITTED_BIT,)) + octets[5:]


def with_hop_by_hop(octets: bytes, hop_by_hop: int) -> bytes:
    return octets[:12] + hop_by_hop.to_bytes(4, "big") + octets[16:]


def result_code(octets: bytes) -> int | None:
    """An answer's Result-Code, where it can be found."""
    try:
        found = avps_of(octets, (RESULT_CODE,))
    except DiameterError:
        return None
    return int.from_bytes(octets[found[0][2]:found[0][3]], "big") if found else None


def error_answer(header: Header, octets: bytes, error: DiameterError, *, origin_host: str, origin_realm: str) -> bytes:
    """The answer to the request ``octets`` that this agent refuses, as it goes back to where that came from (RFC 6733 clause 7.2)."""
    try:
        kept = avps_of(octets, (SESSION_ID, PROXY_INFO))
    except DiameterError:
        kept = []
    body = [octets[offset:end + (offset - end & 3)] for code, offset, _, end in kept if code == SESSION_ID][:1]
    body += [
        frame(ORIGIN_HOST, 0, MANDATORY_BIT, origin_host.encode()), frame(ORIGIN_REALM, 0, MANDATORY_BIT, origin_realm.encode()),
        frame(RESULT_CODE, 0, MANDATORY_BIT, error.result_code.to_bytes(4, "big")), frame(ERROR_MESSAGE, 0, 0, error.reason.encode()),
    ]
    if error.failed_avp is not None:
        body.append(frame(FAILED_AVP, 0, MANDATORY_BIT, error.failed_avp.encode()))
    body += [octets[offset:end + (offset - end & 3)] for code, offset, _, end in kept if code == PROXY_INFO]
    flags = header.flags & PROXIABLE_BIT | (ERROR_BIT if 3000 <= error.result_code <= 3999 else 0)
    return _sized((flags << 24 | header.command_code).to_bytes(4, "big") + octets[8:HEADER_OCTETS] + b"".join(body))
