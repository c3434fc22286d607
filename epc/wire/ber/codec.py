"""The table-driven BER encoder and decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from epc.wire.errors import WireError

UNKNOWN = "unknown"         # the key of a SEQUENCE's elements that its table does not have: a list of whole elements
MAXIMUM_DEPTH = 64          # of elements of indefinite length in something that the table does not know

_CONSTRUCTED = 0x20
_END_OF_CONTENTS = b"\x00\x00"
_BCD = "0123456789*#abc"

Table = tuple[Any, ...]


def length_octets(number: int) -> bytes:
    """A definite length (X.690 clause 8.1.3)."""
    if number < 0x80:
        return bytes((number,))
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def encode_element(identifier: bytes, contents: bytes) -> bytes:
    return identifier + length_octets(len(contents)) + contents


class _Header:
    """Identifier and length of one element, and where its contents lie. Of an indefinite length the end is where its end-of-contents begins."""

    __slots__ = ("after", "end", "identifier", "start")

    def __init__(self, octets: bytes, offset: int, limit: int) -> None:
        try:
            position = offset + 1
            if octets[offset] & 0x1F == 0x1F:
                while octets[position] & 0x80:
                    position += 1
                position += 1
            self.identifier = octets[offset:position]
            first = octets[position]
        except IndexError:
            raise WireError("truncated", offset=offset) from None
        position += 1
        if first == 0x80:
            self.start = position
            self.end = _end_of_contents(octets, position, limit)
            self.after = self.end + 2
        else:
            if first & 0x80:
                count = first & 0x7F
                self.start = position + count
                length = int.from_bytes(octets[position:self.start], "big")
            else:
                self.start, length = position, first
            self.end = self.after = self.start + length
        if self.after > limit:
            raise WireError("longer than what holds it", offset=offset)


def _end_of_contents(octets: bytes, offset: int, limit: int, depth: int = 0) -> int:
    if depth > MAXIMUM_DEPTH:
        raise WireError("nested too deeply", offset=offset)
    while offset < limit:
        if octets[offset:offset + 2] == _END_OF_CONTENTS:
            return offset
        offset = _after(octets, offset, limit, depth + 1)
    raise WireError("no end-of-contents", offset=offset)


def _after(octets: bytes, offset: int, limit: int, depth: int) -> int:
    """Where the element at ``offset`` ends, its end-of-contents included."""
    position = offset + 1
    try:
        if octets[offset] & 0x1F == 0x1F:
            while octets[position] & 0x80:
                position += 1
            position += 1
        first = octets[position]
    except IndexError:
        raise WireError("truncated", offset=offset) from None
    position += 1
    if first == 0x80:
        return _end_of_contents(octets, position, limit, depth) + 2
    if first & 0x80:
        count = first & 0x7F
        return position + count + int.from_bytes(octets[position:position + count], "big")
    return position + first


def elements(octets: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int, int, int]]:
    """The elements between ``start`` and ``end``: identifier octets, where the element begins, where its contents begin and end, what follows."""
    limit = len(octets) if end is None else end
    while start < limit:
        header = _Header(octets, start, limit)
        yield header.identifier, start, header.start, header.end, header.after
        start = header.after


class Kind:
    """A type without its tags."""

    constructed = False

    def encode(self, value: Any) -> bytes:
        raise NotImplementedError

    def decode(self, octets: bytes, start: int, end: int) -> Any:
        raise NotImplementedError


class Integer(Kind):
    def encode(self, value: Any) -> bytes:
        if not isinstance(value, int):
            raise WireError(f"not a number: {value!r}")
        return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)

    def decode(self, octets: bytes, start: int, end: int) -> int:
        if start == end:
            raise WireError("a number without octets", offset=start)
        return int.from_bytes(octets[start:end], "big", signed=True)


class Enumerated(Integer):
    def __init__(self, names: dict[str, int]) -> None:
        self._numbers = names
        self._names = {number: name for name, number in names.items()}

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            if value not in self._numbers:
                raise WireError(f"no value {value!r}; there are {', '.join(self._numbers)}")
            value = self._numbers[value]
        return super().encode(value)

    def decode(self, octets: bytes, start: int, end: int) -> Any:
        number = super().decode(octets, start, end)
        return self._names.get(number, number)


class Octets(Kind):
    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise WireError(f"not octets: {value!r}")
        return value

    def decode(self, octets: bytes, start: int, end: int) -> Any:
        return octets[start:end]


class Text(Kind):
    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def encode(self, value: Any) -> bytes:
        try:
            return str(value).encode(self._encoding)
        except UnicodeEncodeError:
            raise WireError(f"{value!r} is not {self._encoding} text") from None

    def decode(self, octets: bytes, start: int, end: int) -> str:
        try:
            return octets[start:end].decode(self._encoding)
        except UnicodeDecodeError as error:
            raise WireError(f"not {self._encoding} text", offset=start + error.start) from None


class Bcd(Kind):
    """TAP's BCDString: the first digit in the high half of its octet, the last octet filled up with 1111."""

    def encode(self, value: Any) -> bytes:
        digits = str(value)
        try:
            halves = [_BCD.index(digit) for digit in digits]
        except ValueError:
            raise WireError(f"not digits: {value!r}") from None
        if len(halves) & 1:
            halves.append(0xF)
        return bytes([high << 4 | low for high, low in zip(halves[::2], halves[1::2], strict=True)])

    def decode(self, octets: bytes, start: int, end: int) -> str:
        halves = [half for octet in octets[start:end] for half in (octet >> 4, octet & 15)]
        if halves and halves[-1] == 0xF:
            halves.pop()
        if 0xF in halves:
            raise WireError("a filler within digits", offset=start)
        return "".join([_BCD[half] for half in halves])


class Boolean(Kind):
    def encode(self, value: Any) -> bytes:
        return b"\xff" if value else b"\x00"

    def decode(self, octets: bytes, start: int, end: int) -> bool:
        if end - start != 1:
            raise WireError("a truth value is one octet", offset=start)
        return octets[start] != 0


class Null(Kind):
    def encode(self, value: Any) -> bytes:
        return b""

    def decode(self, octets: bytes, start: int, end: int) -> None:
        if start != end:
            raise WireError("NULL has no octets", offset=start)


class Bits(Kind):
    def encode(self, value: Any) -> bytes:
        number: int = value[0]
        count: int = value[1]
        spare = -count % 8
        if number < 0 or number.bit_length() > count:
            raise WireError(f"{number} does not fit in {count} bits")
        return bytes((spare,)) + (number << spare).to_bytes((count + spare) // 8, "big")

    def decode(self, octets: bytes, start: int, end: int) -> tuple[int, int]:
        if start == end or octets[start] > 7 or (octets[start] and end - start == 1):
            raise WireError("no string of bits", offset=start)
        spare = octets[start]
        return int.from_bytes(octets[start + 1:end], "big") >> spare, (end - start - 1) * 8 - spare


class Node:
    """A type with its tags, outermost first. A CHOICE or ANY of its own has none."""

    __slots__ = ("kind", "tags")

    def __init__(self, tags: tuple[bytes, ...], kind: Kind) -> None:
        self.tags = tags
        self.kind = kind

    def encode(self, value: Any) -> bytes:
        """The whole element. Raises :class:`WireError` for a value that the type cannot hold."""
        octets = self.kind.encode(value)
        for tag in reversed(self.tags):
            octets = tag + length_octets(len(octets)) + octets
        return octets

    def decode(self, octets: bytes) -> Any:
        """The value of the one element that ``octets`` are."""
        value, after = self.decode_from(octets, 0, len(octets))
        if after != len(octets):
            raise WireError("octets after the end", offset=after)
        return value

    def decode_from(self, octets: bytes, start: int, limit: int) -> tuple[Any, int]:
        """The value of the element at ``start``, and where the next one begins."""
        header = _Header(octets, start, limit)
        if not self.tags:
            return self.kind.decode(octets, start, header.after), header.after
        after = header.after
        for position, tag in enumerate(self.tags):
            if not _same_tag(header.identifier, tag):
                raise WireError(f"tag {header.identifier.hex()} where {tag.hex()} should be", offset=start)
            if position + 1 < len(self.tags):
                header = _Header(octets, header.start, header.end)
        return self.kind.decode(octets, header.start, header.end), after

    def first_identifiers(self) -> Iterator[bytes]:
        if self.tags:
            yield self.tags[0]
        elif isinstance(self.kind, Choice):
            yield from self.kind.first_identifiers()


def _same_tag(one: bytes, other: bytes) -> bool:
    return one == other or (one[1:] == other[1:] and (one[0] ^ other[0]) == _CONSTRUCTED)


class Structure(Kind):
    """SEQUENCE or SET. Components of a SEQUENCE are read in any order too: senders differ, and nothing is gained by refusing."""

    constructed = True

    def __init__(self) -> None:
        self.fields: tuple[tuple[str, Node, bool], ...] = ()
        self._by_identifier: dict[bytes, tuple[str, Node]] = {}

    def complete(self, fields: Sequence[tuple[str, Node, bool]]) -> None:
        self.fields = tuple(fields)
        for name, node, _ in fields:
            for identifier in node.first_identifiers():
                self._by_identifier[identifier] = (name, node)
                self._by_identifier[bytes((identifier[0] ^ _CONSTRUCTED,)) + identifier[1:]] = (name, node)

    def encode(self, value: Any) -> bytes:
        parts = []
        left = len(value)
        for name, node, optional in self.fields:
            if name in value:
                left -= 1
                try:
                    parts.append(node.encode(value[name]))
                except WireError as error:
                    raise _within(error, name) from None
            elif not optional:
                raise WireError("is missing", ie=name)
        if UNKNOWN in value:
            left -= 1
            parts += value[UNKNOWN]
        if left:
            names = {name for name, _, _ in self.fields}
            raise WireError(f"no component {', '.join(sorted(set(value) - names - {UNKNOWN}))}")
        return b"".join(parts)

    def decode(self, octets: bytes, start: int, end: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while start < end:
            header = _Header(octets, start, end)
            found = self._by_identifier.get(header.identifier)
            if found is None:
                value.setdefault(UNKNOWN, []).append(octets[start:header.after])
                start = header.after
                continue
            name, node = found
            if name in value:
                raise WireError("is given twice", offset=start, ie=name)
            try:
                value[name], start = node.decode_from(octets, start, end)
            except WireError as error:
                raise _within(error, name) from None
        for name, _, optional in self.fields:
            if not optional and name not in value:
                raise WireError("is missing", offset=end, ie=name)
        return value


class List(Kind):
    constructed = True

    def __init__(self) -> None:
        self.element: Node = Node((), Null())

    def encode(self, value: Any) -> bytes:
        encode = self.element.encode
        return b"".join([encode(each) for each in value])

    def decode(self, octets: bytes, start: int, end: int) -> list[Any]:
        value = []
        while start < end:
            each, start = self.element.decode_from(octets, start, end)
            value.append(each)
        return value


class Choice(Kind):
    """Its contents are the alternative's whole element."""

    constructed = True

    def __init__(self) -> None:
        self._by_name: dict[str, Node] = {}
        self._by_identifier: dict[bytes, tuple[str, Node]] = {}

    def complete(self, alternatives: Sequence[tuple[str, Node]]) -> None:
        for name, node in alternatives:
            self._by_name[name] = node
            for identifier in node.first_identifiers():
                self._by_identifier[identifier] = (name, node)
                self._by_identifier[bytes((identifier[0] ^ _CONSTRUCTED,)) + identifier[1:]] = (name, node)

    def first_identifiers(self) -> Iterator[bytes]:
        for node in self._by_name.values():
            yield from node.first_identifiers()

    def encode(self, value: Any) -> bytes:
        name, content = value
        if name == UNKNOWN:
            return bytes(content)
        node = self._by_name.get(name)
        if node is None:
            raise WireError(f"no alternative {name}; there are {', '.join(self._by_name)}")
        try:
            return node.encode(content)
        except WireError as error:
            raise _within(error, name) from None

    def decode(self, octets: bytes, start: int, end: int) -> tuple[str, Any]:
        header = _Header(octets, start, end)
        if header.after != end:
            raise WireError("octets after the alternative", offset=header.after)
        found = self._by_identifier.get(header.identifier)
        if found is None:
            return UNKNOWN, octets[start:end]
        name, node = found
        try:
            return name, node.decode_from(octets, start, end)[0]
        except WireError as error:
            raise _within(error, name) from None


class Anything(Kind):
    """Any element, as it stands."""

    def encode(self, value: Any) -> bytes:
        return bytes(value)

    def decode(self, octets: bytes, start: int, end: int) -> bytes:
        return octets[start:end]


def _within(error: WireError, name: str) -> WireError:
    return WireError(error.reason, offset=error.offset, ie=f"{name}.{error.ie}" if error.ie else name)


_SIMPLE: dict[str, Kind] = {
    "int": Integer(), "octets": Octets(), "bool": Boolean(), "null": Null(), "bits": Bits(), "any": Anything(), "bcd": Bcd(),
    "ascii": Text("latin-1"), "utf8": Text("utf-8"),
}


def build(table: Table, made: dict[int, Node] | None = None) -> Node:
    """The codec for one type of a generated table. Shared parts of the table become shared nodes."""
    made = {} if made is None else made
    known = made.get(id(table))
    if known is not None:
        return known
    tags, name, *rest = table
    simple = _SIMPLE.get(name)
    if simple is not None:
        node = Node(tags, simple)
    elif name == "enum":
        node = Node(tags, Enumerated(rest[0]))
    elif name == "list":
        several = List()
        node = Node(tags, several)
        several.element = build(rest[0], made)
    elif name == "choice":
        choice = Choice()
        node = Node(tags, choice)
        choice.complete([(each, build(part, made)) for each, part in rest[0]])
    else:
        structure = Structure()
        node = Node(tags, structure)
        structure.complete([(each, build(part, made), optional) for each, part, optional in rest[0]])
    made[id(table)] = node
    return node
