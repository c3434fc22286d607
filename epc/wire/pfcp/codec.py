"""PFCP messages to octets and back: header, elements, presence checks (TS 29.244 clauses 7.2, 8.1 and 7.6)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epc.wire.errors import WireError
from epc.wire.pfcp.elements import NodeIdentity
from epc.wire.pfcp.enums import CauseValue, MessageType
from epc.wire.pfcp.errors import PfcpSyntaxError, UnknownMessageType, VersionNotSupported
from epc.wire.pfcp.table import MESSAGES, Group, Message, Slot, Table, UnknownIe

_HEADER = struct.Struct("!BBHI")                # without SEID: sequence number and spare octet in one word
_HEADER_SEID = struct.Struct("!BBHQI")
_IE_HEADER = struct.Struct("!HH")
_FIRST_REJECTION = 64
_F_SEID = 57
_VERSION_1 = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message with its header; ``seid`` is the receiver's, ``None`` where the header has none (node related messages)."""

    message: Message
    seid: int | None
    sequence: int
    message_priority: int | None = None


# --- encoding -----------------------------------------------------------------------------------------------------------------


def _encode_group(group: Group) -> bytes:
    table = group.table
    parts: list[bytes] = []
    append = parts.append
    pack = _IE_HEADER.pack
    values = table.values(group)
    for (_, ie_type, encode, _, _, _, repeated, _, _), value in zip(table.slots, values, strict=False):
        if value is None:
            continue
        for single in value if repeated else (value,):
            octets = encode(single) if encode is not None else _encode_group(single)
            append(pack(ie_type, len(octets)))
            append(octets)
    for extra in values[-1]:
        append(pack(extra.type, len(extra.octets)))
        append(extra.octets)
    return b"".join(parts)


def encode(message: Message, *, seid: int | None, sequence: int, message_priority: int | None = None) -> bytes:
    """The datagram. ``seid`` is ``None`` for node related messages, 0 where the peer's is not known."""
    try:
        body = _encode_group(message)
        flags, low = _VERSION_1, 0
        if message_priority is not None:
            flags |= 2
            low = message_priority << 4
        if not 0 <= sequence <= 0xFFFFFF or not 0 <= low <= 0xFF:
            raise WireError(f"sequence number {sequence}, message priority {message_priority}")
        if seid is None:
            return _HEADER.pack(flags, message.message_type, len(body) + 4, sequence << 8 | low) + body
        return _HEADER_SEID.pack(flags | 1, message.message_type, len(body) + 12, seid, sequence << 8 | low) + body
    except WireError:
        raise
    except (struct.error, ValueError, OverflowError) as error:
        raise WireError(f"{type(message).__name__} holds a value that does not fit: {error}") from error


# --- decoding -----------------------------------------------------------------------------------------------------------------


def _fault(reason: str, cause: CauseValue, slot: Slot, offset: int) -> PfcpSyntaxError:
    return PfcpSyntaxError(reason, cause=cause, ie_type=slot.ie_type, offset=offset, ie=slot.ie_name)


def _decode_group(octets: bytes, offset: int, end: int, table: Table) -> Group:
    """The elements in ``octets[offset:end]``.

    What a required element gets wrong rejects the message; an optional one that is unreadable counts as absent, and its octets stay
    in ``unknown`` (TS 29.244 clauses 7.6.6 and 7.6.7). Of an element that may not repeat the first one counts (clause 7.6.9). Octets beyond
    a fixed length are a later release's and are ignored.
    """
    fields: dict[str, Any] = {}
    unknown: list[UnknownIe] = []
    find = table.by_type.get
    unpack = _IE_HEADER.unpack_from
    while offset < end:
        if end - offset < 4:
            raise PfcpSyntaxError("element header truncated", cause=CauseValue.INVALID_LENGTH, offset=offset)
        ie_type, length = unpack(octets, offset)
        start = offset + 4
        offset = start + length
        slot = find(ie_type)
        if offset > end:
            raise PfcpSyntaxError(
                f"element of {length} octets overruns the message", cause=CauseValue.INVALID_LENGTH, ie_type=ie_type, offset=start - 4,
                ie=slot.ie_name if slot else "",
            )
        if slot is None:
            unknown.append(UnknownIe(type=ie_type, octets=octets[start:offset]))
            continue
        name, _, _, decode_value, group, minimum, repeated, required, _ = slot
        if not repeated and name in fields:
            unknown.append(UnknownIe(type=ie_type, octets=octets[start:offset]))
            continue
        value: Any
        if group is not None:
            try:
                value = _decode_group(octets, start, offset, group)
            except PfcpSyntaxError:
                if required:
                    raise
                unknown.append(UnknownIe(type=ie_type, octets=octets[start:offset]))
                continue
        else:
            assert decode_value is not None
            if length < minimum:
                if required:
                    raise _fault(f"{length} octets, {minimum} needed", CauseValue.INVALID_LENGTH, slot, start)
                unknown.append(UnknownIe(type=ie_type, octets=octets[start:offset]))
                continue
            try:
                value = decode_value(octets[start:offset])
            except WireError as error:
                if required:
                    raise _fault(error.reason, CauseValue.MANDATORY_IE_INCORRECT, slot, start + error.offset) from error
                unknown.append(UnknownIe(type=ie_type, octets=octets[start:offset]))
                continue
        if not repeated:
            fields[name] = value
        elif name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    for slot in table.mandatory:
        if slot.name not in fields and not _is_rejection(fields, slot):
            raise _fault("missing", CauseValue.MANDATORY_IE_MISSING, slot, end)
    for name, value in fields.items():
        if type(value) is list:
            fields[name] = tuple(value)
    if unknown:
        fields["unknown"] = tuple(unknown)
    return table.make(**fields)


def _is_rejection(fields: dict[str, Any], slot: Slot) -> bool:
    """A rejection needs its cause and who sends it, and nothing else."""
    cause = fields.get("cause")
    return cause is not None and cause >= _FIRST_REJECTION and slot.name != "node_id"


def _sender_seid(octets: bytes, offset: int, end: int) -> int:
    """The SEID in CP F-SEID, read past whatever is wrong with the other elements; 0 if it is not there."""
    while offset + 4 <= end:
        ie_type, length = _IE_HEADER.unpack_from(octets, offset)
        offset += 4
        if ie_type == _F_SEID and 9 <= length <= end - offset:
            return int.from_bytes(octets[offset + 1:offset + 9], "big")
        offset += length
    return 0


def decode(octets: bytes) -> Packet:
    """The message in a datagram.

    Raises :class:`PfcpSyntaxError` (with the cause to answer), :class:`UnknownMessageType`, :class:`VersionNotSupported`, or plain
    :class:`WireError` for a datagram that is too short to be PFCP and is dropped in silence.
    """
    if len(octets) < 8:
        raise WireError("too short for a PFCP header")
    flags, message_type, length, word = _HEADER.unpack_from(octets)
    seid: int | None = None
    body = 8
    if flags & 1:
        if len(octets) < 16:
            raise WireError("too short for a PFCP header with SEID")
        seid = int.from_bytes(octets[4:12], "big")
        word = int.from_bytes(octets[12:16], "big")
        body = 16
    sequence = word >> 8
    version = flags >> 5
    if version != 1:
        raise VersionNotSupported(version, message_type=message_type, sequence=sequence)
    message_class = MESSAGES.get(message_type)
    if message_class is None:
        raise UnknownMessageType(message_type, sequence=sequence, seid=seid)
    try:
        if 4 + length != len(octets) or 4 + length < body:
            raise PfcpSyntaxError(
                f"length {length} in the header, {len(octets) - 4} octets in the datagram", cause=CauseValue.INVALID_LENGTH, offset=2
            )
        message = _decode_group(octets, body, len(octets), message_class.table)
    except PfcpSyntaxError as error:
        error.message_type = message_type
        error.sequence = sequence
        error.seid = seid
        error.peer_seid = _sender_seid(octets, body, min(4 + length, len(octets)))
        raise
    assert isinstance(message, Message)
    return Packet(message=message, seid=seid, sequence=sequence, message_priority=(word & 0xFF) >> 4 if flags & 2 else None)


# --- answers to what is wrong -------------------------------------------------------------------------------------------------


def rejection(reply_type: MessageType, cause: CauseValue, *, node_id: NodeIdentity, offending_ie: int | None = None) -> Message:
    """A response of any type but Heartbeat Response that says ``cause`` and no more."""
    message_class: Callable[..., Message] = MESSAGES[reply_type]
    names = {slot.name for slot in MESSAGES[reply_type].table.slots}
    values: dict[str, Any] = {"cause": cause}
    if "node_id" in names:
        values["node_id"] = node_id
    if offending_ie is not None and "offending_ie" in names:
        values["offending_ie"] = offending_ie
    return message_class(**values)
