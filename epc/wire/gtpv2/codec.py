"""GTPv2-C messages to octets and back: header, elements, presence checks (TS 29.274 clauses 5, 6.1 and 7.7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from dataclasses import fields as fields_of
from typing import Any

from epc.wire.errors import WireError
from epc.wire.gtpv2.elements import Cause, OffendingIe
from epc.wire.gtpv2.enums import CauseValue, MessageType
from epc.wire.gtpv2.errors import GtpSyntaxError, UnknownMessageType, VersionNotSupported
from epc.wire.gtpv2.table import MESSAGES, Group, Message, Slot, Table, UnknownIe
from epc.wire.identity import Teid

_HEADER = struct.Struct("!BBHI")                # without TEID: sequence number and spare octet in one word
_HEADER_TEID = struct.Struct("!BBHII")
_IE_HEADER = struct.Struct("!BHB")
_FIRST_REJECTION = 64
_F_TEID = 87
_MAXIMUM_SEQUENCE = 0xFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message with its header; ``teid`` is the receiver's, ``None`` where the header has none (path management)."""

    message: Message
    teid: Teid | int | None
    sequence: int
    message_priority: int | None = None
    piggybacked: Packet | None = None


# --- encoding -----------------------------------------------------------------------------------------------------------------


def _encode_group(group: Group) -> bytes:
    table = group.table
    parts: list[bytes] = []
    append = parts.append
    pack = _IE_HEADER.pack
    values = table.values(group)
    for slot, value in zip(table.slots, values, strict=False):
        if value is None:                       # as most of a message's elements are
            continue
        _, ie_type, instance, encode, _, _, _, repeated, _, _ = slot
        for single in value if repeated else (value,):
            octets = encode(single) if encode is not None else _encode_group(single)
            append(pack(ie_type, len(octets), instance))
            append(octets)
    for extra in values[-1]:
        append(pack(extra.type, len(extra.octets), extra.instance))
        append(extra.octets)
    return b"".join(parts)


def encode(
    message: Message, *, teid: int | None, sequence: int, message_priority: int | None = None, piggybacked: tuple[Message, int, int] | None = None
) -> bytes:
    """The datagram; ``piggybacked`` is a second message with its TEID and sequence number (TS 29.274 clause 5.5.1)."""
    try:
        body = _encode_group(message)
        flags = 0x40 if piggybacked is None else 0x50
        low = 0
        if message_priority is not None:
            flags |= 4
            low = message_priority << 4
        if teid is None:
            octets = _HEADER.pack(flags, message.message_type, len(body) + 4, sequence << 8 | low) + body
        else:
            octets = _HEADER_TEID.pack(flags | 8, message.message_type, len(body) + 8, teid, sequence << 8 | low) + body
    except WireError:
        raise
    except (struct.error, ValueError, OverflowError) as error:
        raise WireError(f"{type(message).__name__} holds a value that does not fit: {error}") from error
    if piggybacked is not None:
        second, second_teid, second_sequence = piggybacked
        octets += encode(second, teid=second_teid, sequence=second_sequence)
    return octets


# --- decoding -----------------------------------------------------------------------------------------------------------------


def _fault(reason: str, cause: CauseValue, slot: Slot, table: Table, offset: int) -> GtpSyntaxError:
    return GtpSyntaxError(
        reason, cause=cause, ie_type=slot.ie_type, ie_instance=slot.instance, in_bearer_context=table.is_bearer_context,
        offset=offset, ie=slot.ie_name,
    )


def _decode_group(octets: bytes, offset: int, end: int, table: Table) -> Group:
    """The elements in ``octets[offset:end]``.

    What a required element gets wrong rejects the message; an optional one that is unreadable counts as absent, and its
    octets stay in ``unknown`` (TS 29.274 clauses 7.7.7 and 7.7.8). Of an element that may not repeat the first one
    counts (clause 7.7.10). Octets beyond a fixed length are a later release's and are ignored.
    """
    fields: dict[str, Any] = {}
    unknown: list[UnknownIe] = []
    find = table.by_key.get
    unpack = _IE_HEADER.unpack_from
    while offset < end:
        if end - offset < 4:
            raise GtpSyntaxError(
                "element header truncated", cause=CauseValue.INVALID_LENGTH, in_bearer_context=table.is_bearer_context, offset=offset
            )
        ie_type, length, instance = unpack(octets, offset)
        instance &= 15
        start = offset + 4
        offset = start + length
        slot = find(ie_type << 4 | instance)
        if offset > end:
            raise GtpSyntaxError(
                f"element of {length} octets overruns the message", cause=CauseValue.INVALID_LENGTH, ie_type=ie_type, ie_instance=instance,
                in_bearer_context=table.is_bearer_context, offset=start - 4, ie=slot.ie_name if slot else "",
            )
        if slot is None:
            unknown.append(UnknownIe(type=ie_type, instance=instance, octets=octets[start:offset]))
            continue
        name, _, _, _, decode_value, group, minimum, repeated, required, _ = slot
        if not repeated and name in fields:
            unknown.append(UnknownIe(type=ie_type, instance=instance, octets=octets[start:offset]))
            continue
        value: Any
        if group is not None:
            try:
                value = _decode_group(octets, start, offset, group)
            except GtpSyntaxError:
                if required:
                    raise
                unknown.append(UnknownIe(type=ie_type, instance=instance, octets=octets[start:offset]))
                continue
        else:
            assert decode_value is not None
            if length < minimum:
                if required:
                    raise _fault(f"{length} octets, {minimum} needed", CauseValue.INVALID_LENGTH, slot, table, start)
                unknown.append(UnknownIe(type=ie_type, instance=instance, octets=octets[start:offset]))
                continue
            try:
                value = decode_value(octets[start:offset])
            except WireError as error:
                if required:
                    raise _fault(error.reason, CauseValue.MANDATORY_IE_INCORRECT, slot, table, start + error.offset) from error
                unknown.append(UnknownIe(type=ie_type, instance=instance, octets=octets[start:offset]))
                continue
        if not repeated:
            fields[name] = value
        elif name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    for slot in table.mandatory:
        if slot.name not in fields and not (_is_rejection(fields, slot) and _may_be_left_out(table, slot)):
            raise _fault("missing", CauseValue.MANDATORY_IE_MISSING, slot, table, end)
    for name, value in fields.items():
        if type(value) is list:
            fields[name] = tuple(value)
    if unknown:
        fields["unknown"] = tuple(unknown)
    return table.make(**fields)


def _is_rejection(fields: dict[str, Any], slot: Slot) -> bool:
    """A rejection needs its cause and nothing else (TS 29.274 clause 6.1.1)."""
    cause = fields.get("cause")
    return isinstance(cause, Cause) and cause.value >= _FIRST_REJECTION and slot.name != "ebi"


def _may_be_left_out(table: Table, slot: Slot) -> bool:
    """Not so in what has a cause and is no answer, such as a PGW Restart Notification."""
    return any(each.name == slot.name and each.default is not MISSING for each in fields_of(table.make))


def _sender_teid(octets: bytes, offset: int, end: int) -> int:
    """The TEID in Sender F-TEID, read past whatever is wrong with the other elements; 0 if it is not there."""
    while offset + 4 <= end:
        ie_type, length, instance = _IE_HEADER.unpack_from(octets, offset)
        offset += 4
        if ie_type == _F_TEID and not instance & 15 and 5 <= length <= end - offset:
            return int.from_bytes(octets[offset + 1:offset + 5], "big")
        offset += length
    return 0


def decode(octets: bytes) -> Packet:
    """The message in a datagram, with the one piggybacked on it.

    Raises :class:`GtpSyntaxError` (with the cause to answer), :class:`UnknownMessageType`, :class:`VersionNotSupported`, or plain
    :class:`WireError` for a datagram that is too short to be GTP and is dropped in silence.
    """
    return _decode(octets, 0, may_piggyback=True)


def _decode(octets: bytes, begin: int, *, may_piggyback: bool) -> Packet:
    if len(octets) - begin < 8:
        raise WireError("too short for a GTP header", offset=begin)
    flags, message_type, length, word = _HEADER.unpack_from(octets, begin)
    version = flags >> 5
    if version != 2:
        raise VersionNotSupported(version, message_type=message_type, sequence=_sequence_of_other_version(octets, begin, version))
    teid: int | None = None
    body = begin + 8
    if flags & 8:
        if len(octets) - begin < 12:
            raise WireError("too short for a GTP header with TEID", offset=begin)
        teid = word
        word = int.from_bytes(octets[begin + 8:begin + 12], "big")
        body = begin + 12
    sequence = word >> 8
    message_class = MESSAGES.get(message_type)
    if message_class is None:
        raise UnknownMessageType(message_type, sequence=sequence, teid=teid)
    end = begin + 4 + length
    piggyback = bool(flags & 0x10) and may_piggyback
    try:
        if end < body or end > len(octets) or (end < len(octets) and not piggyback):
            raise GtpSyntaxError(
                f"length {length} in the header, {len(octets) - begin - 4} octets in the datagram", cause=CauseValue.INVALID_LENGTH, offset=begin + 2
            )
        message = _decode_group(octets, body, end, message_class.table)
    except GtpSyntaxError as error:
        error.message_type = message_type
        error.sequence = sequence
        error.teid = teid
        error.peer_teid = _sender_teid(octets, body, min(end, len(octets)))
        raise
    assert isinstance(message, Message)
    return Packet(
        message=message,
        teid=teid,
        sequence=sequence,
        message_priority=(word & 0xFF) >> 4 if flags & 4 else None,
        piggybacked=_decode(octets, end, may_piggyback=False) if piggyback and end < len(octets) else None,
    )


def _sequence_of_other_version(octets: bytes, begin: int, version: int) -> int:
    """Where a later version is taken to keep its sequence number; version 1 has 16 bits, when its S flag says so."""
    if version == 1:
        return int.from_bytes(octets[begin + 8:begin + 10], "big") if octets[begin] & 2 else 0
    start = begin + (8 if octets[begin] & 8 else 4)
    return int.from_bytes(octets[start:start + 3], "big") if version > 2 else 0


# --- answers to what is wrong -------------------------------------------------------------------------------------------------


def cause_of(error: GtpSyntaxError) -> Cause:
    """The Cause element that answers a malformed request."""
    offending = None if error.ie_type is None else OffendingIe(error.ie_type, error.ie_instance)
    return Cause(value=error.cause, bce=error.in_bearer_context, offending_ie=offending)


def conditional_ie_missing(where: type[Group], field: str) -> Cause:
    """The Cause element for a conditional element whose condition held: ``conditional_ie_missing(CreateSessionRequest, "imsi")``."""
    table = where.table
    slot = next(slot for slot in table.slots if slot.name == field)
    return Cause(
        value=CauseValue.CONDITIONAL_IE_MISSING, bce=table.is_bearer_context, offending_ie=OffendingIe(slot.ie_type, slot.instance)
    )


def rejection(reply_type: MessageType, cause: Cause) -> Message:
    """A reply of any type that says ``cause`` and no more."""
    make: Callable[..., Message] = MESSAGES[reply_type]
    return make(cause=cause)
