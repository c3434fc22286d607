"""Dataclasses as AVP tables: what a class declares is what is written and read.

A field's name is the AVP's name (``tgpp_`` for ``3GPP-``), its type the AVP's format and cardinality:

=========================  ====================================================================
``x: int``                 ``{ X }``, required
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
    RESERVED_BITS,
    Avp,
    AvpDefinition,
    InvalidLength,
    IPAddress,
    converter_for,
    definition_of_field,
    framer,
)
from epc.wire.diameter.results import DiameterError, ResultCode
from epc.wire.errors import WireError

T = TypeVar("T")

HEADER = {"header": True}

_AVP_HEADER = struct.Struct("!II")
_WORD = struct.Struct("!I")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def avp_group(cls: type[T]) -> type[T]:
    """Decorator: a frozen, slotted, keyword-only dataclass whose fields are AVPs."""
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)


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
    group: type[Any] | None                     # the class of a Grouped AVP
    encode: Callable[[Any], bytes]              # value (or tuple of values) to complete AVPs
    decode: Callable[[bytes], Any] | None       # data to value; None for groups
    minimum_octets: int


class Table(NamedTuple):
    """A class as the codec sees it."""

    cls: type[Any]
    values: Callable[[Any], tuple[Any, ...]]    # the fields of an instance, in the rows' order
    rows: tuple[_Row, ...]
    by_key: dict[int, _Row]
    required: frozenset[str]
    repeated: tuple[str, ...]

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
    return Table(cls, values, rows, {row.definition.key: row for row in rows}, frozenset(row.name for row in rows if row.required),
                 tuple(row.name for row in rows if row.repeated))


def _row(field: dataclasses.Field[Any], hint: object) -> _Row:
    definition = definition_of_field(field.name)
    repeated = typing.get_origin(hint) is tuple
    python_type = _value_type(typing.get_args(hint)[0] if repeated else hint)
    required = field.default is dataclasses.MISSING
    frame_data = framer(definition)
    if isinstance(python_type, type) and issubclass(python_type, Group | FailedAvp):
        if definition.type != "Grouped":
            raise TypeError(f"{definition.name} is not a Grouped AVP")

        def encode_group(value: Any) -> bytes:
            return frame_data(encode_avps(value))

        return _Row(field.name, definition, required, repeated, python_type, _each(encode_group) if repeated else encode_group, None, 0)
    convert, parse, minimum_octets = converter_for(definition, python_type)

    def encode_value(value: Any) -> bytes:
        return frame_data(convert(value))

    return _Row(field.name, definition, required, repeated, None, _each(encode_value) if repeated else encode_value, parse, minimum_octets)


def _each(encode_one: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode_all(values: tuple[Any, ...]) -> bytes:
        return b"".join([encode_one(value) for value in values])

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
    parts: list[bytes] = []
    row: _Row | None = None
    try:
        for value, row in zip(table.values(instance), table.rows, strict=True):
            if value is not None:
                parts.append(row.encode(value))
            elif row.required:
                raise TypeError
        row = None
        parts.extend([avp.encode() for avp in instance.unknown])
    except WireError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error):
        name = row.definition.name if row else ""
        raise WireError(f"{name} cannot hold {getattr(instance, row.name) if row else instance!r}", ie=name) from None
    return b"".join(parts)


def decode_avps(table: Table, octets: bytes, offset: int, end: int, strict: bool, **header: int) -> Any:
    """The instance of ``table.cls`` in ``octets[offset:end]``, its header fields given.

    ``strict`` refuses what the receiver of a request must refuse.
    """
    found: dict[str, Any] = header
    unknown: list[Avp] = []
    by_key = table.by_key
    unpack = _AVP_HEADER.unpack_from
    while offset < end:
        if end - offset < 8:
            raise _invalid_length("truncated AVP header", octets, offset, end)
        code, word = unpack(octets, offset)
        after = offset + (word & 0xFFFFFF)
        if word & 0x80000000:
            start = offset + 12
            if start > end:
                raise _invalid_length("truncated AVP header", octets, offset, end)
            key = _WORD.unpack_from(octets, offset + 8)[0] << 32 | code
        else:
            start = offset + 8
            key = code
        if after < start or after > end:
            raise _invalid_length("AVP length does not fit", octets, offset, end)
        if word & RESERVED_BITS << 24 and strict:
            raise DiameterError("reserved AVP flag set", ResultCode.DIAMETER_INVALID_AVP_BITS, offset=offset, ie=_name(key),
                                failed_avp=_raw(key, word, octets[start:after]))
        row = by_key.get(key)
        if row is None or (row.name in found and not row.repeated and not strict):
            avp = _raw(key, word, octets[start:after])
            if strict and row is None and avp.mandatory and key not in DEFINITIONS:
                raise DiameterError("AVP is mandatory and not known", ResultCode.DIAMETER_AVP_UNSUPPORTED, offset=offset, ie=avp.name, failed_avp=avp)
            unknown.append(avp)
        else:
            value = _decode_value(row, octets, start, after, strict, offset, word)
            if row.repeated:
                found.setdefault(row.name, []).append(value)
            elif row.name in found:
                raise DiameterError("AVP occurs more than once", ResultCode.DIAMETER_AVP_OCCURS_TOO_MANY_TIMES, offset=offset, ie=row.definition.name,
                                    failed_avp=_raw(key, word, octets[start:after]))
            else:
                found[row.name] = value
        offset = after + (start - after & 3)
    if not table.required <= found.keys():
        missing = next(row for row in table.rows if row.required and row.name not in found)
        definition = missing.definition
        raise DiameterError("required AVP is missing", ResultCode.DIAMETER_MISSING_AVP, offset=end, ie=definition.name, failed_avp=Avp(
            code=definition.code, vendor_id=definition.vendor_id, mandatory=definition.mandatory, data=bytes(missing.minimum_octets)))
    for name in table.repeated:
        if name in found:
            found[name] = tuple(found[name])
    if unknown:
        found["unknown"] = tuple(unknown)
    return table.cls(**found)


def decode_raw_avps(octets: bytes, offset: int, end: int) -> tuple[Avp, ...]:
    """The AVPs in ``octets[offset:end]`` with their data left as it is."""
    avps: list[Avp] = []
    while offset < end:
        if end - offset < 8:
            raise _invalid_length("truncated AVP header", octets, offset, end)
        code, word = _AVP_HEADER.unpack_from(octets, offset)
        after = offset + (word & 0xFFFFFF)
        start = offset + (12 if word & 0x80000000 else 8)
        if start > end or after < start or after > end:
            raise _invalid_length("AVP length does not fit", octets, offset, end)
        vendor_id = _WORD.unpack_from(octets, offset + 8)[0] if word & 0x80000000 else 0
        avps.append(_raw(vendor_id << 32 | code, word, octets[start:after]))
        offset = after + (start - after & 3)
    return tuple(avps)


def _decode_value(row: _Row, octets: bytes, start: int, after: int, strict: bool, offset: int, word: int) -> Any:
    if row.group is not None:
        if row.group is FailedAvp:
            return FailedAvp(avps=decode_raw_avps(octets, start, after))
        return decode_avps(table_of(row.group), octets, start, after, strict)
    assert row.decode is not None
    try:
        return row.decode(octets[start:after])
    except (InvalidLength, struct.error):
        definition = row.definition
        raise DiameterError("length does not suit the format", ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset, ie=definition.name,
                            failed_avp=_raw(definition.key, word, bytes(row.minimum_octets))) from None
    except (ValueError, OverflowError) as error:
        raise DiameterError(f"invalid value: {error}", ResultCode.DIAMETER_INVALID_AVP_VALUE, offset=offset, ie=row.definition.name,
                            failed_avp=_raw(row.definition.key, word, octets[start:after])) from None


def _raw(key: int, word: int, data: bytes) -> Avp:
    return Avp(code=key & 0xFFFFFFFF, vendor_id=key >> 32, mandatory=bool(word & MANDATORY_BIT << 24), data=data)


def _name(key: int) -> str:
    definition = DEFINITIONS.get(key)
    return definition.name if definition else f"{key >> 32}/{key & 0xFFFFFFFF}"


def _invalid_length(reason: str, octets: bytes, offset: int, end: int) -> DiameterError:
    """5014, with the header of the offending AVP as far as it is there (RFC 6733 clause 7.1.5)."""
    head = octets[offset:min(end, offset + 12)].ljust(12, b"\0")
    code, word = _AVP_HEADER.unpack_from(head)
    vendor_id = _WORD.unpack_from(head, 8)[0] if word & 0x80000000 else 0
    key = vendor_id << 32 | code
    definition = DEFINITIONS.get(key)
    minimum = {"Unsigned32": 4, "Integer32": 4, "Time": 4, "Unsigned64": 8, "Address": 6}.get(definition.type, 0) if definition else 0
    return DiameterError(reason, ResultCode.DIAMETER_INVALID_AVP_LENGTH, offset=offset, ie=_name(key), failed_avp=_raw(key, word, bytes(minimum)))
