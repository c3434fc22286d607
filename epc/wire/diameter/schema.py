"""Dataclasses as AVP tables: what a class declares is what is written and read.

A field's name is the AVP's name (``tgpp_`` for ``3GPP-``), its type the AVP's format and cardinality:

=========================  ====================================================================
``x: int``                 ``{ X }``, required; a default only spares the author of a message
``x: int | None = None``   ``[ X ]``, optional
``x: tuple[int, ...]``     ``*[ X ]``, any number; required (at least one) when it has no default
``x: RatType | int``       an enumeration; values without a name stay ``int``
``x: SomeGroup``           a Grouped AVP
=========================  ====================================================================

AVPs are written in field order. Those that a class has no field for are kept in ``unknown``, in the order they came in. A field
declared with ``metadata=HEADER`` is no AVP but part of the message's header.
"""

from __future__ import annotations

import dataclasses
import struct
import types
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, dataclass_transform

from epc.wire.diameter.avp import (
    DEFINITIONS,
    MANDATORY_BIT,
    Avp,
    AvpDefinition,
    InvalidLength,
    IPAddress,
    converter_for,
    definition_of_field,
    encoder_for,
    framer,
)
from epc.wire.diameter.results import DiameterError, ResultCode
from epc.wire.errors import WireError

T = TypeVar("T")
G = TypeVar("G", bound="Group")

HEADER = {"header": True}

RECURRING_VALUES = 1024         # kept for each class
RECURRING_OCTETS = 1024         # longer ones are not kept

_recurring: set[type[Any]] = set()

_AVP_HEADER = struct.Struct("!II").unpack_from
_VENDOR_AVP_HEADER = struct.Struct("!III").unpack_from
_WORD = struct.Struct("!I").unpack_from


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def avp_group(cls: type[T]) -> type[T]:
    """Decorator: a frozen, slotted, keyword-only dataclass whose fields are AVPs."""
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def recurring_group(cls: type[G]) -> type[G]:
    """Like :func:`avp_group`, for profiles: a few values come again in message after message.

    They are encoded once and decoded once, and every message that carries one holds the same object.
    """
    made = avp_group(cls)
    _recurring.add(made)
    return made


@avp_group
class Group:
    """Base of every dataclass that stands for a Grouped AVP or a message's list of AVPs."""

    unknown: tuple[Avp, ...] = ()


@avp_group
class FailedAvp:
    """Failed-AVP: the offending AVPs as they came (RFC 6733 clause 7.5)."""

    avps: tuple[Avp, ...] = ()


class _Row(NamedTuple):
    """One field of a class."""

    name: str
    definition: AvpDefinition
    required: bool
    repeated: bool
    encode: Callable[[Any], bytes]                      # value (or tuple of values) to complete AVPs
    decode: Callable[[bytes], Any] | None               # data to value; None for groups
    group: Table | None                                 # of a Grouped AVP; None for Failed-AVP and for values
    minimum_octets: int


class Table(NamedTuple):
    """A class as the codec sees it."""

    cls: type[Any]
    rows: tuple[_Row, ...]
    values: Callable[[Any], tuple[Any, ...]]            # the fields of an instance, in the rows' order
    encoders: tuple[Callable[[Any], bytes], ...]
    by_key: dict[int, _Row]
    required: frozenset[str]
    required_at: tuple[int, ...]                        # places in ``rows``
    repeated: tuple[str, ...]
    defaulted: tuple[str, ...]                          # optional, but not None unless it is said
    decoded: dict[tuple[bytes, bool], Any] | None       # recurring values, by octets and strictness
    encoded: dict[Any, bytes] | None


_tables: dict[type[Any], Table] = {}


def table_of(cls: type[Any]) -> Table:
    """The table of ``cls``, made when it is first needed."""
    table = _tables.get(cls)
    if table is None:
        table = _tables[cls] = _build(cls)
    return table


def _build(cls: type[Any]) -> Table:
    hints = typing.get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name != "unknown" and "header" not in field.metadata]
    rows = tuple(_row(field, hints[field.name]) for field in fields)
    names = [row.name for row in rows]
    getter = attrgetter(*names)
    values: Callable[[Any], tuple[Any, ...]] = getter if len(names) > 1 else lambda instance: (getter(instance),)
    return Table(cls, rows, values, tuple(row.encode for row in rows), {row.definition.key: row for row in rows},
                 frozenset(row.name for row in rows if row.required), tuple(at for at, row in enumerate(rows) if row.required),
                 tuple(row.name for row in rows if row.repeated),
                 tuple(field.name for field, row in zip(fields, rows, strict=True)
                       if not row.required and not row.repeated and field.default is not None),
                 {} if cls in _recurring else None, {} if cls in _recurring else None)


def _row(field: dataclasses.Field[Any], hint: object) -> _Row:
    definition = definition_of_field(field.name)
    repeated = typing.get_origin(hint) is tuple
    python_type = _value_type(typing.get_args(hint)[0] if repeated else hint)
    required = field.default is dataclasses.MISSING if repeated else types.NoneType not in typing.get_args(hint)
    group: Table | None = None
    decode: Callable[[bytes], Any] | None = None
    minimum_octets = 0
    if isinstance(python_type, type) and issubclass(python_type, Group | FailedAvp):
        if definition.type != "Grouped":
            raise TypeError(f"{definition.name} is not a Grouped AVP")
        group = table_of(python_type) if issubclass(python_type, Group) else None
        encode = _group_encoder(definition, group)
    else:
        encode = encoder_for(definition, python_type)
        _, decode, minimum_octets = converter_for(definition, python_type)
    return _Row(field.name, definition, required, repeated, _each(encode) if repeated else encode, decode, group, minimum_octets)


def _group_encoder(definition: AvpDefinition, table: Table | None) -> Callable[[Any], bytes]:
    frame_data = framer(definition)

    def encode_group(value: Any) -> bytes:
        return frame_data(encode_avps(value))

    if table is None or table.encoded is None:
        return encode_group
    known = table.encoded

    def encode_recurring(value: Any) -> bytes:
        octets = known.get(value)
        if octets is None:
            octets = encode_avps(value)
            if len(octets) <= RECURRING_OCTETS:
                if len(known) >= RECURRING_VALUES:
                    known.clear()
                known[value] = octets
        return frame_data(octets)

    return encode_recurring


def _each(encode_one: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode_all(values: tuple[Any, ...]) -> bytes:
        return b"".join([encode_one(value) for value in values]) if values else b""

    return encode_all


def _value_type(hint: object) -> object:
    """The type that a hint means once ``None`` and the ``int`` beside an enumeration are taken away."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    members = [member for member in typing.get_args(hint) if member is not types.NoneType]
    if len(members) == 1:
        return members[0]
    if set(members) == set(typing.get_args(IPAddress)):
        return IPAddress
    named = [member for member in members if member is not int]
    if len(named) != 1:
        raise TypeError(f"no AVP holds {hint}")
    return named[0]


def encode_avps(instance: Group | FailedAvp) -> bytes:
    """Everything in ``instance`` as AVPs, one after the other."""
    if isinstance(instance, FailedAvp):
        return b"".join([avp.encode() for avp in instance.avps])
    table = table_of(type(instance))
    values = table.values(instance)
    value: object = None
    try:
        parts = []
        for value, encode in zip(values, table.encoders, strict=True):
            if value is not None:
                parts.append(encode(value))
        for at in table.required_at:
            if values[at] is None:
                raise WireError("a required AVP is None", ie=table.rows[at].definition.name)
        if instance.unknown:
            value = instance.unknown
            parts += [avp.encode() for avp in instance.unknown]
    except WireError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error):
        row = next((row for row, candidate in zip(table.rows, values, strict=True) if candidate is value), None)
        name = row.definition.name if row else "AVP"
        raise WireError(f"{name} cannot hold {value!r}", ie=name) from None
    return b"".join(parts)


def decode_avps(table: Table, octets: bytes, offset: int, end: int, strict: bool, **header: int) -> Any:
    """The instance of ``table.cls`` in ``octets[offset:end]``, its header fields given.

    ``strict`` refuses what the receiver of a request must refuse.
    """
    found: dict[str, Any] = header
    unknown: list[Avp] = []
    by_key = table.by_key
    while offset < end:
        start = offset + 12
        if start <= end:
            code, word, vendor_id = _VENDOR_AVP_HEADER(octets, offset)
        elif end - offset >= 8:
            code, word = _AVP_HEADER(octets, offset)
            vendor_id = 0
        else:
            raise _invalid_length("truncated AVP header", octets, offset, end)
        if word & 0x80000000:
            key = vendor_id << 32 | code
        else:
            key = code
            start -= 4
        after = offset + (word & 0xFFFFFF)
        if after < start or after > end:
            raise _invalid_length("AVP length does not fit", octets, offset, end)
        if word & 0x1F000000 and strict:
            raise DiameterError("reserved AVP flag set", ResultCode.DIAMETER_INVALID_AVP_BITS, offset=offset, ie=_name(key),
                                failed_avp=_raw(key, word, octets[start:after]))
        row = by_key.get(key)
        if row is None:
            avp = _raw(key, word, octets[start:after])
            if strict and avp.mandatory and key not in DEFINITIONS:
                raise DiameterError("AVP is mandatory and not known", ResultCode.DIAMETER_AVP_UNSUPPORTED, offset=offset, ie=avp.name, failed_avp=avp)
            unknown.append(avp)
            offset = after + (start - after & 3)
            continue
        name, definition, _, repeated, _, decode, group, _ = row
        if decode is not None:
            try:
                value = decode(octets[start:after])
            except (ValueError, OverflowError, struct.error) as error:
                raise _invalid_value(row, error, word, octets[start:after], offset) from None
        elif group is not None:
            if group.decoded is not None:
                value = _decode_recurring(group, group.decoded, octets, start, after, strict)
            else:
                value = decode_avps(group, octets, start, after, strict)
        else:
            value = FailedAvp(avps=decode_raw_avps(octets, start, after))
        if repeated:
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
        elif name not in found:
            found[name] = value
        elif strict:
            raise DiameterError("AVP occurs more than once", ResultCode.DIAMETER_AVP_OCCURS_TOO_MANY_TIMES, offset=offset, ie=definition.name,
                                failed_avp=_raw(key, word, octets[start:after]))
        else:
            unknown.append(_raw(key, word, octets[start:after]))
        offset = after + (start - after & 3)
    if not table.required <= found.keys():
        raise _missing(next(row for row in table.rows if row.required and row.name not in found), end)
    for name in table.repeated:
        if name in found:
            found[name] = tuple(found[name])
    for name in table.defaulted:
        found.setdefault(name, None)
    if unknown:
        found["unknown"] = tuple(unknown)
    return table.cls(**found)


def _decode_recurring(table: Table, known: dict[tuple[bytes, bool], Any], octets: bytes, start: int, after: int, strict: bool) -> Any:
    key = (octets[start:after], strict)
    value = known.get(key)
    if value is None:
        value = decode_avps(table, octets, start, after, strict)
        if after - start <= RECURRING_OCTETS:
            if len(known) >= RECURRING_VALUES:
                known.clear()
            known[key] = value
    return value


def _missing(row: _Row, offset: int) -> DiameterError:
    """5005, with the AVP as it might have looked (RFC 6733 clause 7.1.5)."""
    definition = row.definition
    example = Avp(code=definition.code, vendor_id=definition.vendor_id, mandatory=definition.mandatory, data=bytes(row.minimum_octets))
    return DiameterError("required AVP is missing", ResultCode.DIAMETER_MISSING_AVP, offset=offset, ie=definition.name, failed_avp=example)


def _invalid_value(row: _Row, error: Exception, word: int, data: bytes, offset: int) -> DiameterError:
    """5014 with an AVP of the right length, or 5004 with the AVP as it came."""
    definition = row.definition
    if isinstance(error, InvalidLength | struct.error):
        return DiameterError("length does not suit the format", ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset, ie=definition.name,
                             failed_avp=_raw(definition.key, word, bytes(row.minimum_octets)))
    return DiameterError(f"invalid value: {error}", ResultCode.DIAMETER_INVALID_AVP_VALUE, offset=offset, ie=definition.name,
                         failed_avp=_raw(definition.key, word, data))


def decode_raw_avps(octets: bytes, offset: int, end: int) -> tuple[Avp, ...]:
    """The AVPs in ``octets[offset:end]`` with their data left as it is."""
    avps: list[Avp] = []
    while offset < end:
        if end - offset < 8:
            raise _invalid_length("truncated AVP header", octets, offset, end)
        code, word = _AVP_HEADER(octets, offset)
        after = offset + (word & 0xFFFFFF)
        start = offset + (12 if word & 0x80000000 else 8)
        if start > end or after < start or after > end:
            raise _invalid_length("AVP length does not fit", octets, offset, end)
        vendor_id = _WORD(octets, offset + 8)[0] if word & 0x80000000 else 0
        avps.append(_raw(vendor_id << 32 | code, word, octets[start:after]))
        offset = after + (start - after & 3)
    return tuple(avps)


def _raw(key: int, word: int, data: bytes) -> Avp:
    return Avp(code=key & 0xFFFFFFFF, vendor_id=key >> 32, mandatory=bool(word & MANDATORY_BIT << 24), data=data)


def _name(key: int) -> str:
    definition = DEFINITIONS.get(key)
    return definition.name if definition else f"{key >> 32}/{key & 0xFFFFFFFF}"


def _invalid_length(reason: str, octets: bytes, offset: int, end: int) -> DiameterError:
    """5014, with the header of the offending AVP as far as it is there (RFC 6733 clause 7.1.5)."""
    head = octets[offset:min(end, offset + 12)].ljust(12, b"\0")
    code, word = _AVP_HEADER(head)
    vendor_id = _WORD(head, 8)[0] if word & 0x80000000 else 0
    key = vendor_id << 32 | code
    definition = DEFINITIONS.get(key)
    minimum = {"Unsigned32": 4, "Integer32": 4, "Time": 4, "Unsigned64": 8, "Address": 6}.get(definition.type, 0) if definition else 0
    return DiameterError(reason, ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset, ie=_name(key), failed_avp=_raw(key, word, bytes(minimum)))
