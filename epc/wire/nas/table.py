"""Message tables: a message's dataclass fields, annotated with formats, are the table of TS 24.301 clause 8 that encoder and decoder run on.

``Annotated[str | None, TLV(0x28, ACCESS_POINT_NAME)] = None`` is one row: the field's name is the information element, the annotation its type and
format (TS 24.007 clause 11.2.1.1), a default of ``None`` the presence O or C. Rows stand in the order of the specification: elements out of
sequence are ignored (clause 7.6.2), as are repeated ones (clause 7.6.3), unknown ones (clause 7.6.1) and optional ones that are wrong in
themselves (clause 7.7.1); all of them are kept in ``unknown`` and written back.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, HalfCoding

M = TypeVar("M", bound="NasMessage")


@dataclass(frozen=True, slots=True)
class LowHalf:
    """Type 1, value only, in bits 1 to 4: opens an octet."""

    coding: HalfCoding[Any]


@dataclass(frozen=True, slots=True)
class HighHalf:
    """Type 1, value only, in bits 5 to 8 of the octet that the row before opened."""

    coding: HalfCoding[Any]


@dataclass(frozen=True, slots=True)
class V:
    """Type 3, value only."""

    length: int
    coding: Coding[Any]


@dataclass(frozen=True, slots=True)
class LV:
    """Type 4, length and value."""

    coding: Coding[Any]


@dataclass(frozen=True, slots=True)
class LVE:
    """Type 6, length of two octets and value."""

    coding: Coding[Any]


@dataclass(frozen=True, slots=True)
class T1:
    """Type 1 with its IEI in bits 5 to 8 (8 to 15) and the value in bits 1 to 4."""

    iei: int
    coding: HalfCoding[Any]


@dataclass(frozen=True, slots=True)
class TV:
    """Type 3: IEI and a value of fixed length."""

    iei: int
    length: int
    coding: Coding[Any]


@dataclass(frozen=True, slots=True)
class TLV:
    """Type 4: IEI, length, value."""

    iei: int
    coding: Coding[Any]


@dataclass(frozen=True, slots=True)
class TLVE:
    """Type 6: IEI, length of two octets, value."""

    iei: int
    coding: Coding[Any]


MandatoryFormat = LowHalf | HighHalf | V | LV | LVE
OptionalFormat = T1 | TV | TLV | TLVE


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownElement:
    """An information element that was ignored, whole, with its IEI and length."""

    octets: bytes

    @property
    def iei(self) -> int:
        return self.octets[0] >> 4 if self.octets[0] & 0x80 else self.octets[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NasMessage:
    """What all messages with a table have."""

    message_type: ClassVar[int] = -1

    unknown: tuple[UnknownElement, ...] = ()


class _Form(IntEnum):
    HALF, V, LV, LVE, T1, TV, TLV, TLVE = range(8)


_Row = tuple[int, str, _Form, int, Any, int]        # position, name, form, IEI, coding, length


class MessageTable:
    """The rows of one message, in the shape that encoding and decoding want."""

    __slots__ = ("_by_octet", "_mandatory", "_names", "_optional", "_optional_values", "message")

    def __init__(self, message: type[NasMessage]) -> None:
        self.message = message
        self._mandatory: list[tuple[_Form, str, Any, str, Any, int]] = []        # form, name, coding, high half's name, its coding, length
        self._optional: list[_Row] = []
        self._by_octet: list[_Row | None] = [None] * 256
        hints = typing.get_type_hints(message, include_extras=True)
        for field in dataclasses.fields(message):
            hint = hints[field.name]
            if typing.get_origin(hint) is Annotated:
                self._add(field.name, hint.__metadata__[0])
        self._names = [row[1] for row in self._optional]
        self._optional_values: Callable[[NasMessage], tuple[Any, ...]] | None = attrgetter("unknown", *self._names) if self._names else None

    def _add(self, name: str, row_format: MandatoryFormat | OptionalFormat) -> None:
        position = len(self._optional)
        match row_format:
            case LowHalf(coding):
                self._mandatory.append((_Form.HALF, name, coding, "", None, 1))
            case HighHalf(coding):
                form, low_name, low_coding, *_ = self._mandatory.pop()
                if form is not _Form.HALF:
                    raise TypeError(f"{name}: no half octet is open")
                self._mandatory.append((_Form.HALF, low_name, low_coding, name, coding, 1))
            case V(length, coding):
                self._mandatory.append((_Form.V, name, coding, "", None, length))
            case LV(coding):
                self._mandatory.append((_Form.LV, name, coding, "", None, 0))
            case LVE(coding):
                self._mandatory.append((_Form.LVE, name, coding, "", None, 0))
            case T1(iei, coding):
                self._add_optional((position, name, _Form.T1, iei << 4, coding, 0), range(iei << 4, (iei << 4) + 16))
            case TV(iei, length, coding):
                self._add_optional((position, name, _Form.TV, iei, coding, length), (iei,))
            case TLV(iei, coding):
                self._add_optional((position, name, _Form.TLV, iei, coding, 0), (iei,))
            case TLVE(iei, coding):
                self._add_optional((position, name, _Form.TLVE, iei, coding, 0), (iei,))

    def _add_optional(self, row: _Row, octets: typing.Iterable[int]) -> None:
        self._optional.append(row)
        for octet in octets:
            if self._by_octet[octet] is not None:
                raise TypeError(f"{self.message.__name__}: IEI {octet:#x} stands twice")
            self._by_octet[octet] = row

    # ------------------------------------------------------------------ encoding

    def encode(self, message: NasMessage, header: bytes) -> bytes:
        """The octets of ``message`` after ``header``."""
        parts = [header]
        name = ""
        try:
            for form, name, coding, high_name, high_coding, length in self._mandatory:
                if form == _Form.HALF:
                    octet = coding.encode(getattr(message, name))
                    if not 0 <= octet <= 15:
                        raise WireError("more than four bits")
                    if high_coding is not None:
                        name = high_name
                        octet |= high_coding.encode(getattr(message, high_name)) << 4
                    parts.append(bytes((octet,)))
                    continue
                value = coding.encode(getattr(message, name))
                if form == _Form.LV:
                    parts += (bytes((len(value),)), value)
                elif form == _Form.V:
                    if len(value) != length:
                        raise WireError(f"{length} octets are needed, not {len(value)}")
                    parts.append(value)
                else:
                    parts += (len(value).to_bytes(2, "big"), value)
            if self._optional_values is None:
                unknown = message.unknown
            else:
                unknown, *values = self._optional_values(message)
                for row, given in zip(self._optional, values, strict=True):
                    if given is None:
                        continue
                    _, name, optional_form, iei, coding, length = row
                    if optional_form == _Form.T1:
                        octet = coding.encode(given)
                        if not 0 <= octet <= 15:
                            raise WireError("more than four bits")
                        parts.append(bytes((iei | octet,)))
                        continue
                    value = coding.encode(given)
                    if optional_form == _Form.TLV:
                        parts += (bytes((iei, len(value))), value)
                    elif optional_form == _Form.TV:
                        if len(value) != length:
                            raise WireError(f"{length} octets are needed, not {len(value)}")
                        parts += (bytes((iei,)), value)
                    else:
                        parts += (bytes((iei,)), len(value).to_bytes(2, "big"), value)
        except WireError as error:
            raise WireError(error.reason, ie=name) from None
        except (ValueError, OverflowError) as error:
            raise WireError(f"does not fit its format: {error}", ie=name) from None
        if unknown:
            parts += [element.octets for element in unknown]
        return b"".join(parts)

    # ------------------------------------------------------------------ decoding

    def decode(self, octets: bytes, offset: int, values: dict[str, Any]) -> NasMessage:
        """The message whose body starts at ``offset``; ``values`` holds what the header said.

        :class:`WireError` here always means cause #96: a mandatory element that is missing or wrong, or an unknown one that must be understood.
        """
        end = len(octets)
        for form, name, coding, high_name, high_coding, length in self._mandatory:
            if form == _Form.LV:
                if offset >= end:
                    raise WireError("missing", offset=offset, ie=name)
                start = offset + 1
                stop = start + octets[offset]
            elif form == _Form.LVE:
                if offset + 2 > end:
                    raise WireError("missing", offset=offset, ie=name)
                start = offset + 2
                stop = start + (octets[offset] << 8 | octets[offset + 1])
            else:
                start = offset
                stop = start + length
            if stop > end:
                raise WireError("truncated", offset=offset, ie=name)
            if form == _Form.HALF:
                octet = octets[start]
                values[name] = coding.values[octet & 15]
                if high_coding is not None:
                    values[high_name] = high_coding.values[octet >> 4]
            else:
                try:
                    values[name] = coding.decode(octets[start:stop])
                except WireError as error:
                    raise WireError(error.reason, offset=start + error.offset, ie=name) from None
            offset = stop
        if offset < end:
            unknown = self._decode_optional(octets, offset, end, values)
            if unknown:
                values["unknown"] = tuple(unknown)
        return self.message(**values)

    def _decode_optional(self, octets: bytes, offset: int, end: int, values: dict[str, Any]) -> list[UnknownElement]:
        by_octet = self._by_octet
        unknown = []
        expected = 0         # the lowest position that is in sequence
        while offset < end:
            octet = octets[offset]
            row = by_octet[octet]
            if row is None:
                if octet < 0x10:
                    raise WireError(f"information element {octet:#04x} must be understood, and is unknown", offset=offset)
                form = _Form.T1 if octet & 0x80 else _Form.TLVE if octet >= 0x70 else _Form.TLV      # TS 24.007 clause 11.2.4
            else:
                form = row[2]
            if form == _Form.TLV:
                start = offset + 2
                stop = start + octets[offset + 1] if start <= end else end + 1
            elif form == _Form.T1:
                start = stop = offset + 1
            elif form == _Form.TV:
                start = offset + 1
                stop = start + row[5] if row is not None else end
            else:
                start = offset + 3
                stop = start + (octets[offset + 1] << 8 | octets[offset + 2]) if start <= end else end + 1
            if stop > end:
                unknown.append(UnknownElement(octets=octets[offset:]))
                break
            if row is None or row[0] < expected:
                unknown.append(UnknownElement(octets=octets[offset:stop]))
            elif form == _Form.T1:
                values[row[1]] = row[4].values[octet & 15]
                expected = row[0] + 1
            else:
                try:
                    values[row[1]] = row[4].decode(octets[start:stop])
                    expected = row[0] + 1
                except WireError:
                    unknown.append(UnknownElement(octets=octets[offset:stop]))
            offset = stop
        return unknown


TABLES: dict[type[NasMessage], MessageTable] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def nas_message(message_type: int) -> Callable[[type[M]], type[M]]:
    """Make a message of the class: frozen, slotted, keyword-only, with its table registered."""

    def decorate(plain: type[M]) -> type[M]:
        message = dataclass(frozen=True, slots=True, kw_only=True)(plain)
        message.message_type = message_type
        TABLES[message] = MessageTable(message)
        return message

    return decorate
