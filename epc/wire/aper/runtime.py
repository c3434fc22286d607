# cython: language_level=3, wraparound=False
"""Table-driven ALIGNED PER (ITU-T X.691): nodes that encode and decode one type each.

The file runs as it is, and Cython compiles the same text to ``runtime_c`` (the annotations ``cython.int`` and the like are its
C types). Both must accept and produce the same octets, so every number that a message controls is bounded before it becomes a C
integer. What does not fit raises :class:`~epc.wire.errors.WireError`, nothing else.

A node's ``enc`` writes a value, ``dec`` reads one. SEQUENCEs become instances of the class that the node was given, with the
elements of their extension container as further fields; elements are looked up and built when a message first carries them.
"""
# mypy: disable-error-code="valid-type, untyped-decorator, misc, no-any-return"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from epc.wire.aper.errors import AbstractSyntaxError, Problem
from epc.wire.aper.object_identifier import decode_object_identifier, encode_object_identifier
from epc.wire.aper.values import BitString, PrivateIE, UnknownIE
from epc.wire.errors import WireError

try:
    import cython
except ImportError:
    from epc.wire.aper import no_cython as cython

COMPILED = cython.compiled

_CRITICALITY = ("reject", "ignore", "notify")
_CRITICALITY_CODE = {"reject": 0, "ignore": 1, "notify": 2}
_ONE: object = 1            # a Python integer where a C one would overflow
_tuple_new = tuple.__new__

# How a constrained whole number is written (X.691 clause 11.5.7): by the size of its range.
NOTHING, BITS, ONE_OCTET, TWO_OCTETS, INDEFINITE = range(5)


def whole_number_form(low: int, high: int) -> tuple[int, int]:
    """The form of a number in ``low..high`` and its width in bits (for INDEFINITE: the width of its length)."""
    size = high - low + 1
    if size == 1:
        return NOTHING, 0
    if size <= 255:
        return BITS, (size - 1).bit_length()
    if size == 256:
        return ONE_OCTET, 8
    if size <= 65536:
        return TWO_OCTETS, 16
    octets = ((size - 1).bit_length() + 7) >> 3
    return INDEFINITE, (octets - 1).bit_length()


@cython.cclass
class Writer:
    """Collects bits; whole octets go to ``buffer`` at once."""

    buffer: bytearray
    pending: cython.ulonglong
    count: cython.int

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.pending = 0
        self.count = 0

    @cython.cfunc
    def bits(self, value: cython.ulonglong, width: cython.int) -> cython.void:
        """At most 32 bits."""
        count: cython.int = self.count + width
        pending: cython.ulonglong = (self.pending << width) | value
        while count >= 8:
            count -= 8
            self.buffer.append((pending >> count) & 0xFF)
        self.pending = pending & ((1 << count) - 1)
        self.count = count

    @cython.cfunc
    def align(self) -> cython.void:
        if self.count:
            self.buffer.append((self.pending << (8 - self.count)) & 0xFF)
            self.pending = 0
            self.count = 0

    @cython.cfunc
    def octets(self, octets: bytes) -> cython.void:
        if self.count == 0:
            self.buffer += octets
        else:
            index: cython.Py_ssize_t
            for index in range(len(octets)):        # iterating, Cython would give signed characters
                self.bits(octets[index], 8)

    @cython.cfunc
    def length(self, length: cython.Py_ssize_t) -> cython.void:
        """A length below 16384, unconstrained form (X.691 clause 11.9.3.5 to 11.9.3.7)."""
        self.align()
        if length < 128:
            self.buffer.append(length)
        else:
            self.buffer.append(0x80 | (length >> 8))
            self.buffer.append(length & 255)

    @cython.cfunc
    def octets_with_length(self, octets: bytes) -> cython.void:
        """Unconstrained length and the octets, in fragments where there are 16384 or more (X.691 clause 11.9.3.8)."""
        start: cython.Py_ssize_t = 0
        left: cython.Py_ssize_t = len(octets)
        self.align()
        while left >= 16384:
            multiple: cython.Py_ssize_t = left // 16384
            if multiple > 4:
                multiple = 4
            self.buffer.append(0xC0 | multiple)
            self.buffer += octets[start:start + multiple * 16384]
            start += multiple * 16384
            left -= multiple * 16384
        self.length(left)
        self.buffer += octets[start:]

    @cython.cfunc
    def big(self, value: object, width: cython.Py_ssize_t) -> cython.void:
        """Any number of bits."""
        if width <= 32:
            self.bits(value, width)
            return
        pad: cython.int = (8 - (width & 7)) & 7
        octets: bytes = (value << pad).to_bytes((width + pad) // 8, "big")
        if pad == 0:
            self.octets(octets)
        else:
            last: cython.Py_ssize_t = len(octets) - 1
            self.octets(octets[:last])
            self.bits(octets[last] >> pad, 8 - pad)


@cython.cclass
class Reader:
    """Reads ``data``; ``position`` and ``end`` count bits."""

    data: bytes
    position: cython.Py_ssize_t
    end: cython.Py_ssize_t

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.position = start * 8
        self.end = end * 8

    @cython.cfunc
    def error(self, reason: str) -> object:
        return WireError(reason, offset=self.position >> 3)

    @cython.cfunc
    def bits(self, width: cython.int) -> cython.ulonglong:
        """At most 32 bits."""
        position: cython.Py_ssize_t = self.position
        end: cython.Py_ssize_t = position + width
        if end > self.end:
            raise self.error("truncated")
        if width == 0:
            return 0
        index: cython.Py_ssize_t = position >> 3
        last: cython.Py_ssize_t = (end - 1) >> 3
        value: cython.ulonglong = self.data[index] & (0xFF >> (position & 7))
        while index < last:
            index += 1
            value = (value << 8) | self.data[index]
        self.position = end
        return value >> ((8 - (end & 7)) & 7)

    @cython.cfunc
    def align(self) -> cython.void:
        self.position = (self.position + 7) & ~7

    @cython.cfunc
    def octets(self, count: cython.Py_ssize_t) -> bytes:
        position: cython.Py_ssize_t = self.position
        if count > (self.end - position) >> 3:
            raise self.error("truncated")
        if position & 7 == 0:
            self.position = position + 8 * count
            return self.data[position >> 3:(position >> 3) + count]
        out = bytearray()
        for _ in range(count):
            out.append(self.bits(8))
        return bytes(out)

    @cython.cfunc
    def length(self) -> cython.Py_ssize_t:
        """An unconstrained length; of a fragment it is negative and another length follows the fragment."""
        self.align()
        first: cython.Py_ssize_t = self.bits(8)
        if first < 128:
            return first
        if first < 192:
            second: cython.Py_ssize_t = self.bits(8)
            return ((first & 63) << 8) | second
        if 193 <= first <= 196:
            return -16384 * (first & 63)
        raise self.error("malformed length")

    @cython.cfunc
    def whole_length(self) -> cython.Py_ssize_t:
        """A length where fragments make no sense."""
        length: cython.Py_ssize_t = self.length()
        if length < 0:
            raise self.error("length out of range")
        return length

    @cython.cfunc
    def octets_with_length(self) -> bytes:
        length: cython.Py_ssize_t = self.length()
        if length >= 0:
            return self.octets(length)
        out = bytearray()
        while length < 0:
            out += self.octets(-length)
            length = self.length()
        out += self.octets(length)
        return bytes(out)

    @cython.cfunc
    def big(self, width: cython.Py_ssize_t) -> object:
        """Any number of bits."""
        if width <= 32:
            return self.bits(width)
        rest: cython.int = width & 7
        value: object = int.from_bytes(self.octets(width >> 3), "big")
        if rest:
            value = (value << rest) | self.bits(rest)
        return value


@cython.cclass
class Node:
    """One type."""

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        raise NotImplementedError

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        raise NotImplementedError

    def encode(self, value: object) -> bytes:
        """A value of this type alone, as in an open type."""
        w = Writer()
        self.enc(w, value)
        w.align()
        return bytes(w.buffer) or b"\0"

    def decode(self, octets: bytes) -> object:
        return self.dec(Reader(octets, 0, len(octets)))


@cython.cfunc
def put_number(w: Writer, value: object, form: cython.int, width: cython.int) -> object:
    """A constrained whole number, given as its distance from the lower bound."""
    if form == 1:
        w.bits(value, width)
    elif form == 2:
        w.align()
        w.bits(value, 8)
    elif form == 3:
        w.align()
        w.bits(value, 16)
    elif form == 4:
        octets: cython.int = (value.bit_length() + 7) >> 3  # type: ignore[attr-defined]
        if octets == 0:
            octets = 1
        w.bits(octets - 1, width)
        w.align()
        w.big(value, octets * 8)
    return None


@cython.cfunc
def get_number(r: Reader, form: cython.int, width: cython.int) -> object:
    if form == 0:
        return 0
    if form == 1:
        return r.bits(width)
    if form == 2:
        r.align()
        return r.bits(8)
    if form == 3:
        r.align()
        return r.bits(16)
    octets: cython.Py_ssize_t = r.bits(width)
    r.align()
    return r.big((octets + 1) * 8)


@cython.cfunc
def put_small(w: Writer, number: cython.int) -> object:
    """A normally small non-negative whole number (X.691 clause 11.6)."""
    if number < 64:
        w.bits(number, 7)
    else:
        w.bits(1, 1)
        w.align()
        if number < 256:
            w.buffer.append(1)
        else:
            w.buffer.append(2)
            w.buffer.append(number >> 8)
        w.buffer.append(number & 255)
    return None


@cython.cfunc
def get_small(r: Reader) -> cython.int:
    if r.bits(1) == 0:
        return r.bits(6)
    length: cython.Py_ssize_t = r.whole_length()
    if length == 0 or length > 2:
        raise r.error("number out of range")
    return r.bits(8 * length)


@cython.cfunc
def unknown_index(name: object) -> cython.int:
    """The index in "unknown-7", which is how a value that the schema does not have is named; -1 for any other name."""
    if isinstance(name, str) and name.startswith("unknown-"):
        digits = name[8:]
        if digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535:
            return int(digits)
    return -1


@cython.cfunc
def begin_open(w: Writer) -> cython.Py_ssize_t:
    """Start an open type; its length is put right by :func:`end_open`."""
    w.align()
    w.buffer.append(0)
    return len(w.buffer)


@cython.cfunc
def end_open(w: Writer, start: cython.Py_ssize_t) -> object:
    w.align()
    length: cython.Py_ssize_t = len(w.buffer) - start
    if length == 0:
        w.buffer.append(0)
        length = 1
    if length < 128:
        w.buffer[start - 1] = length
    elif length < 16384:
        w.buffer[start - 1:start] = bytes((0x80 | (length >> 8), length & 255))
    else:
        content: bytes = bytes(w.buffer[start:])
        del w.buffer[start - 1:]
        w.octets_with_length(content)
    return None


@cython.cclass
class Integer(Node):
    """``low`` None: unconstrained; ``high`` None: semi-constrained. ``ranges``: the root where it has gaps; numbers in the gaps are extensions."""

    ranges: tuple  # type: ignore[type-arg]
    low: object
    high: object
    extensible: cython.bint
    form: cython.int
    width: cython.int

    def __init__(self, low: int | None, high: int | None, extensible: bool, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        self.ranges = ranges
        self.low = low
        self.high = high
        self.extensible = extensible
        self.form = 0
        self.width = 0
        if low is not None and high is not None:
            self.form, self.width = whole_number_form(low, high)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, int):
            raise WireError(f"not an integer: {value!r}")
        if self.low is None:
            self.put_signed(w, value)
        elif self.high is None:
            if value < self.low:  # type: ignore[operator]
                raise WireError(f"a number below {self.low}")
            distance = value - self.low  # type: ignore[operator]
            w.octets_with_length(distance.to_bytes(max(1, (distance.bit_length() + 7) >> 3), "big"))
        else:
            inside: cython.bint = self.low <= value <= self.high  # type: ignore[operator]
            if inside and self.ranges:
                inside = any([low <= value <= high for low, high in self.ranges])  # noqa: C419 - Cython has no generators in C functions
            if self.extensible:
                w.bits(0 if inside else 1, 1)
                if not inside:
                    self.put_signed(w, value)
                    return None
            elif not inside:
                raise WireError(f"a number that is not in {self.low}..{self.high}")
            put_number(w, value - self.low, self.form, self.width)  # type: ignore[operator]
        return None

    @cython.cfunc
    def put_signed(self, w: Writer, value: object) -> object:
        octets: bytes = value.to_bytes((value.bit_length() + 8) >> 3, "big", signed=True)  # type: ignore[attr-defined]
        w.octets_with_length(octets)
        return None

    @cython.cfunc
    def get_signed(self, r: Reader) -> object:
        octets: bytes = r.octets(r.whole_length())
        if not octets:
            raise r.error("an integer of no octets")
        return int.from_bytes(octets, "big", signed=True)

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        if self.low is None:
            return self.get_signed(r)
        if self.high is None:
            return int.from_bytes(r.octets(r.whole_length()), "big") + self.low  # type: ignore[operator]
        if self.extensible and r.bits(1):
            return self.get_signed(r)
        value = get_number(r, self.form, self.width) + self.low
        if value > self.high:
            raise r.error(f"a number that is not in {self.low}..{self.high}")
        return value


@cython.cclass
class Boolean(Node):
    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        w.bits(1 if value else 0, 1)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        return r.bits(1) == 1


@cython.cclass
class Null(Node):
    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        return None


@cython.cclass
class Enumerated(Node):
    """Values are their names; one that was added after this schema reads "unknown-" and its index."""

    root: tuple  # type: ignore[type-arg]
    added: tuple  # type: ignore[type-arg]
    root_index: dict  # type: ignore[type-arg]
    added_index: dict  # type: ignore[type-arg]
    extensible: cython.bint
    form: cython.int
    width: cython.int

    def __init__(self, root: tuple[str, ...], added: tuple[str, ...] | None) -> None:
        self.root = root
        self.added = added or ()
        self.extensible = added is not None
        self.root_index = {name: index for index, name in enumerate(root)}
        self.added_index = {name: index for index, name in enumerate(self.added)}
        self.form, self.width = whole_number_form(0, len(root) - 1)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, str):
            raise WireError(f"not the name of a value: {value!r}")
        index = self.root_index.get(value)
        if index is None:
            extra: cython.int = self.added_index.get(value, -1)
            if extra < 0:
                extra = unknown_index(value)
            if extra < 0 or not self.extensible:
                raise WireError(f"no such value: {value!r}")
            w.bits(1, 1)
            put_small(w, extra)
            return None
        if self.extensible:
            w.bits(0, 1)
        put_number(w, index, self.form, self.width)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        index: cython.int
        if self.extensible and r.bits(1):
            index = get_small(r)
            if index < len(self.added):
                return self.added[index]
            return f"unknown-{index}"
        index = get_number(r, self.form, self.width)
        if index >= len(self.root):
            raise r.error("no such enumeration value")
        return self.root[index]


@cython.cclass
class Size:
    """A size constraint, and how a length is written under it. Without bounds, or from 65536 on, lengths are unconstrained."""

    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    bounded: cython.bint
    extensible: cython.bint
    form: cython.int
    width: cython.int

    def __init__(self, low: int | None, high: int | None, extensible: bool) -> None:
        self.bounded = low is not None and high is not None and high < 65536
        self.extensible = extensible
        self.low = 0
        self.high = 0
        self.form = 0
        self.width = 0
        if low is not None and high is not None and high < 65536:
            self.low = low
            self.high = high
            self.form, self.width = whole_number_form(low, high)

    @cython.cfunc
    def put(self, w: Writer, count: cython.Py_ssize_t) -> cython.bint:
        """Write the length; false: it is unconstrained and the caller writes it, with the fragments."""
        if not self.bounded:
            return False
        inside: cython.bint = self.low <= count <= self.high
        if self.extensible:
            w.bits(0 if inside else 1, 1)
        elif not inside:
            raise WireError(f"a size of {count} is not in {self.low}..{self.high}")
        if inside:
            put_number(w, count - self.low, self.form, self.width)
        return inside

    @cython.cfunc
    def get(self, r: Reader) -> cython.Py_ssize_t:
        """The length, or -1: it is unconstrained and the caller reads it, with the fragments."""
        if not self.bounded or (self.extensible and r.bits(1)):
            return -1
        count: cython.Py_ssize_t = get_number(r, self.form, self.width)
        count += self.low
        if count > self.high:
            raise r.error(f"a size of {count} is not in {self.low}..{self.high}")
        return count

    @cython.cfunc
    def aligned(self, count: cython.Py_ssize_t, width: cython.int) -> cython.bint:
        """Whether ``count`` elements of ``width`` bits start at an octet (X.691 clauses 16.9 to 16.11 and 17.6 to 17.8)."""
        return self.high * width > 16 or (self.low != self.high and count > 0)


@cython.cclass
class Bits(Node):
    size: Size

    def __init__(self, low: int | None, high: int | None, extensible: bool) -> None:
        self.size = Size(low, high, extensible)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], int) or not isinstance(value[1], int):
            raise WireError(f"not a bit string: {value!r}")
        if value[1] < 0 or value[0] < 0 or value[1] > 1 << 24 or value[0].bit_length() > value[1]:
            raise WireError("the value of a bit string does not fit its number of bits")
        number: object = value[0]
        count: cython.Py_ssize_t = value[1]
        if self.size.put(w, count):
            if self.size.aligned(count, 1):
                w.align()
        else:
            w.align()
            while count >= 16384:
                multiple: cython.Py_ssize_t = count // 16384
                if multiple > 4:
                    multiple = 4
                w.buffer.append(0xC0 | multiple)
                count -= multiple * 16384
                w.big(number >> count, multiple * 16384)
                number = number & ((_ONE << count) - 1)
            w.length(count)
        w.big(number, count)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        count: cython.Py_ssize_t = self.size.get(r)
        if count >= 0:
            if self.size.aligned(count, 1):
                r.align()
            return _tuple_new(BitString, (r.big(count), count))
        number: object = 0
        total: cython.Py_ssize_t = 0
        count = r.length()
        while count < 0:
            number = (number << -count) | r.big(-count)
            total -= count
            count = r.length()
        return _tuple_new(BitString, ((number << count) | r.big(count), total + count))


@cython.cclass
class Octets(Node):
    size: Size

    def __init__(self, low: int | None, high: int | None, extensible: bool) -> None:
        self.size = Size(low, high, extensible)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, bytes):
            raise WireError(f"not octets: {value!r}")
        octets: bytes = value
        if self.size.put(w, len(octets)):
            if self.size.aligned(len(octets), 8):
                w.align()
            w.octets(octets)
        else:
            w.octets_with_length(octets)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        count: cython.Py_ssize_t = self.size.get(r)
        if count < 0:
            return r.octets_with_length()
        if self.size.aligned(count, 8):
            r.align()
        return r.octets(count)


@cython.cclass
class Text(Node):
    """A character string whose characters take eight bits in ALIGNED PER: Printable-, Visible- and IA5String, UTF8String."""

    size: Size
    codec: str

    def __init__(self, codec: str, low: int | None, high: int | None, extensible: bool) -> None:
        self.codec = codec
        self.size = Size(low, high, extensible)

    @cython.cfunc
    def aligned(self) -> cython.bint:
        """X.691 clause 30.5.6 and 30.5.7: the upper bound alone decides."""
        return self.size.high * 8 > 16 or (self.size.low != self.size.high and self.size.high * 8 >= 16)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, str):
            raise WireError(f"not a text: {value!r}")
        try:
            octets: bytes = value.encode(self.codec)
        except UnicodeEncodeError:
            raise WireError(f"cannot be written in {self.codec}: {value!r}") from None
        if self.size.put(w, len(octets)):
            if self.aligned():
                w.align()
            w.octets(octets)
        else:
            w.octets_with_length(octets)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        octets: bytes
        count: cython.Py_ssize_t = self.size.get(r)
        if count < 0:
            octets = r.octets_with_length()
        else:
            if self.aligned():
                r.align()
            octets = r.octets(count)
        try:
            return octets.decode(self.codec)
        except UnicodeDecodeError:
            raise r.error(f"not {self.codec}") from None


@cython.cclass
class SequenceOf(Node):
    """Decodes to a tuple. Of single containers, unknown elements that may be ignored are left out."""

    size: Size
    element: Node

    def __init__(self, low: int | None, high: int | None, extensible: bool, element: Node) -> None:
        self.size = Size(low, high, extensible)
        self.element = element

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, (tuple, list)):
            raise WireError(f"not a sequence: {value!r}")
        count: cython.Py_ssize_t = len(value)
        element: Node = self.element
        if self.size.put(w, count):
            for entry in value:
                element.enc(w, entry)
            return None
        start: cython.Py_ssize_t = 0
        while count - start >= 16384:
            multiple: cython.Py_ssize_t = (count - start) // 16384
            if multiple > 4:
                multiple = 4
            w.align()
            w.buffer.append(0xC0 | multiple)
            for entry in value[start:start + multiple * 16384]:
                element.enc(w, entry)
            start += multiple * 16384
        w.length(count - start)
        for entry in value[start:]:
            element.enc(w, entry)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        out: list = []  # type: ignore[type-arg]
        count: cython.Py_ssize_t = self.size.get(r)
        if count < 0:
            count = r.length()
            while count < 0:
                self.get(r, -count, out)
                count = r.length()
        self.get(r, count, out)
        return tuple(out)

    @cython.cfunc
    def get(self, r: Reader, count: cython.Py_ssize_t, out: list) -> object:  # type: ignore[type-arg]
        if count > r.end - r.position:
            raise r.error("truncated")      # an element takes a bit at least: do not believe a count beyond that
        element: Node = self.element
        for _ in range(count):
            value = element.dec(r)
            if type(value) is not UnknownIE:
                out.append(value)
        return None


@cython.cclass
class Choice(Node):
    """Instances of ``make(alternative, value)``. Of an alternative that the schema does not have, the value is its octets."""

    make: object
    names: tuple  # type: ignore[type-arg]
    nodes: list  # type: ignore[type-arg]
    index: dict  # type: ignore[type-arg]
    added_names: tuple  # type: ignore[type-arg]
    added_nodes: list  # type: ignore[type-arg]
    added_index: dict  # type: ignore[type-arg]
    extensible: cython.bint
    form: cython.int
    width: cython.int

    def __init__(self, make: type, extensible: bool, root: list[tuple[str, Node]], added: list[tuple[str, Node]]) -> None:
        self.make = make
        self.extensible = extensible
        self.names = tuple(name for name, _ in root)
        self.nodes = [node for _, node in root]
        self.index = {name: index for index, name in enumerate(self.names)}
        self.added_names = tuple(name for name, _ in added)
        self.added_nodes = [node for _, node in added]
        self.added_index = {name: index for index, name in enumerate(self.added_names)}
        self.form, self.width = whole_number_form(0, len(root) - 1)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if type(value) is not self.make:
            raise WireError(f"not a {self.make.__name__}: {value!r}")  # type: ignore[attr-defined]
        name = value.choice  # type: ignore[attr-defined]
        content = value.value  # type: ignore[attr-defined]
        node: Node
        index = self.index.get(name)
        if index is not None:
            if self.extensible:
                w.bits(0, 1)
            put_number(w, index, self.form, self.width)
            node = self.nodes[index]
            node.enc(w, content)
            return None
        extra: cython.int = self.added_index.get(name, -1)
        unknown: cython.bint = False
        if extra < 0:
            extra = unknown_index(name)
            unknown = True
        if extra < 0 or not self.extensible:
            raise WireError(f"no such alternative: {name!r}")
        w.bits(1, 1)
        put_small(w, extra)
        if unknown:
            if not isinstance(content, bytes):
                raise WireError(f"not octets: {content!r}")
            w.octets_with_length(content)
        else:
            start: cython.Py_ssize_t = begin_open(w)
            node = self.added_nodes[extra]
            node.enc(w, content)
            end_open(w, start)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        node: Node
        index: cython.int
        if self.extensible and r.bits(1):
            index = get_small(r)
            octets: bytes = r.octets_with_length()
            if index >= len(self.added_nodes):
                return self.make(f"unknown-{index}", octets)  # type: ignore[operator]
            node = self.added_nodes[index]
            return self.make(self.added_names[index], node.dec(Reader(octets, 0, len(octets))))  # type: ignore[operator]
        index = get_number(r, self.form, self.width)
        if index >= len(self.nodes):
            raise r.error("no such alternative")
        node = self.nodes[index]
        return self.make(self.names[index], node.dec(r))  # type: ignore[operator]


@cython.cclass
class Fields:
    """ProtocolIE-Container (``minimum`` 0) or ProtocolExtensionContainer (``minimum`` 1): elements by their ids.

    Each field is whole octets: two of id, one of criticality, a length and the value. ``build`` makes the node of an element when
    a message first carries it.
    """

    minimum: cython.int
    build: object
    types: tuple  # type: ignore[type-arg]
    nodes: list  # type: ignore[type-arg]
    names: tuple  # type: ignore[type-arg]
    ids: tuple  # type: ignore[type-arg]
    codes: tuple  # type: ignore[type-arg]
    mandatory: tuple  # type: ignore[type-arg]
    index: dict  # type: ignore[type-arg]
    obligations: cython.int

    def __init__(self, minimum: int, rows: tuple[tuple[int, str, str, str, Any], ...], build: Callable[[Any], Node]) -> None:
        self.minimum = minimum
        self.build = build
        self.ids = tuple(row[0] for row in rows)
        self.codes = tuple(_CRITICALITY_CODE[row[1]] for row in rows)
        self.mandatory = tuple(row[2] == "mandatory" for row in rows)
        self.names = tuple(row[3] for row in rows)
        self.types = tuple(row[4] for row in rows)
        self.nodes = [None] * len(rows)
        self.index = {identity: index for index, identity in enumerate(self.ids)}
        self.obligations = sum(self.mandatory)

    @cython.cfunc
    def node(self, index: cython.Py_ssize_t) -> Node:
        found = self.nodes[index]
        if found is None:
            found = self.build(self.types[index])  # type: ignore[operator]
            self.nodes[index] = found
        return found

    @cython.cfunc
    def present(self, value: object) -> cython.bint:
        """Whether ``value`` has any of these elements."""
        for name in self.names:
            if getattr(value, name) is not None:
                return True
        return bool(value.unknown)  # type: ignore[attr-defined]

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        w.align()
        head: cython.Py_ssize_t = len(w.buffer)
        w.buffer += b"\0\0"
        count: cython.int = 0
        index: cython.Py_ssize_t
        identity: cython.int
        start: cython.Py_ssize_t
        node: Node
        for index in range(len(self.names)):
            content = getattr(value, self.names[index])
            if content is None:
                if self.mandatory[index]:
                    raise WireError("missing", ie=self.names[index])
                continue
            identity = self.ids[index]
            w.buffer.append(identity >> 8)
            w.buffer.append(identity & 255)
            w.buffer.append(self.codes[index] << 6)
            start = begin_open(w)
            node = self.node(index)
            try:
                node.enc(w, content)
            except WireError as error:
                error.ie = error.ie or self.names[index]
                raise
            end_open(w, start)
            count += 1
        for unknown in value.unknown:  # type: ignore[attr-defined]
            put_unknown(w, unknown)
            count += 1
        count -= self.minimum
        w.buffer[head] = count >> 8
        w.buffer[head + 1] = count & 255
        return None

    @cython.cfunc
    def dec(self, r: Reader, values: dict) -> object:  # type: ignore[type-arg]
        """Read all elements into ``values``; problems of the abstract syntax are raised after the last one."""
        r.align()
        count: cython.int = r.bits(16)
        count += self.minimum
        outer: cython.Py_ssize_t = r.end
        last: cython.Py_ssize_t = -1
        index: cython.Py_ssize_t
        identity: cython.int
        code: cython.int
        length: cython.Py_ssize_t
        after: cython.Py_ssize_t
        seen: cython.int = 0
        wrong_order: cython.bint = False
        problems: list = []  # type: ignore[type-arg]
        unknown: list = []  # type: ignore[type-arg]
        node: Node
        inner: Reader
        for _ in range(count):
            identity = r.bits(16)
            code = r.bits(2)
            if code == 3:
                raise r.error("no such criticality")
            length = r.length()
            if length < 0:
                r.position -= 8
                octets: bytes = r.octets_with_length()
                after = r.position
                inner = Reader(octets, 0, len(octets))
            else:
                after = r.position + 8 * length
                if after > outer:
                    raise r.error("truncated")
                inner = r
                r.end = after
            found = self.index.get(identity)
            if found is None:
                if code == 0:
                    problems.append(Problem("reject", identity, "not-understood"))
                else:
                    unknown.append(UnknownIE(identity, _CRITICALITY[code], inner.octets((inner.end - inner.position) >> 3)))  # type: ignore[arg-type]
            else:
                index = found
                if index <= last:
                    wrong_order = True
                else:
                    last = index
                if self.mandatory[index]:
                    seen += 1
                node = self.node(index)
                try:
                    values[self.names[index]] = node.dec(inner)
                except AbstractSyntaxError as error:
                    values[self.names[index]] = None    # it is there, if unusable: not missing
                    problems += error.problems
                    wrong_order = wrong_order or error.falsely_constructed
                except WireError as error:
                    error.ie = error.ie or self.names[index]
                    raise
            r.position = after
            r.end = outer
        if seen < self.obligations:
            for index in range(len(self.names)):
                if self.mandatory[index] and self.names[index] not in values:
                    problems.append(Problem(_CRITICALITY[self.codes[index]], self.ids[index], "missing"))  # type: ignore[arg-type]
        if problems or wrong_order:
            raise AbstractSyntaxError(problems, falsely_constructed=wrong_order, offset=r.position >> 3)
        if unknown:
            values["unknown"] = tuple(unknown)
        return None


@cython.cfunc
def put_unknown(w: Writer, unknown: object) -> object:
    """An element that the schema does not have, at an octet."""
    if not isinstance(unknown, UnknownIE) or not 0 <= unknown.id <= 65535 or unknown.criticality not in _CRITICALITY_CODE:
        raise WireError(f"not an unknown element: {unknown!r}")
    if not isinstance(unknown.value, bytes):
        raise WireError(f"not octets: {unknown.value!r}")
    w.align()
    w.buffer += unknown.id.to_bytes(2, "big")
    w.buffer.append(_CRITICALITY_CODE[unknown.criticality] << 6)
    w.octets_with_length(unknown.value)
    return None


@cython.cclass
class Sequence(Node):
    """Instances of ``make(**fields)``; the elements of its extension container are fields of the same instance."""

    make: object
    extensible: cython.bint
    names: tuple  # type: ignore[type-arg]
    nodes: list  # type: ignore[type-arg]
    optional: tuple  # type: ignore[type-arg]
    extensions: Fields
    has_extensions: cython.bint
    options: cython.int

    def __init__(self, make: type, extensible: bool, components: list[tuple[str, bool, Node]], extensions: Fields | None) -> None:
        self.make = make
        self.extensible = extensible
        self.names = tuple(name for name, _, _ in components)
        self.nodes = [node for _, _, node in components]
        self.optional = tuple(optional for _, optional, _ in components)
        self.has_extensions = extensions is not None
        if extensions is not None:
            self.extensions = extensions
        self.options = sum(self.optional) + (1 if extensions is not None else 0)

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if type(value) is not self.make:
            raise WireError(f"not a {self.make.__name__}: {value!r}")  # type: ignore[attr-defined]
        index: cython.Py_ssize_t
        bitmap: cython.ulonglong = 0
        extended: cython.bint = False
        node: Node
        contents = [getattr(value, name) for name in self.names]
        if self.extensible:
            w.bits(0, 1)
        if self.options:
            for index in range(len(contents)):
                if self.optional[index]:
                    bitmap = (bitmap << 1) | (0 if contents[index] is None else 1)
            if self.has_extensions:
                extended = self.extensions.present(value)
                bitmap = (bitmap << 1) | (1 if extended else 0)
            w.bits(bitmap, self.options)
        for index in range(len(contents)):
            content = contents[index]
            if content is None and self.optional[index]:
                continue
            node = self.nodes[index]
            try:
                node.enc(w, content)
            except WireError as error:
                error.ie = error.ie or self.names[index]
                raise
        if extended:
            self.extensions.enc(w, value)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        index: cython.Py_ssize_t
        bit: cython.int = self.options
        bitmap: cython.ulonglong = 0
        node: Node
        values: dict = {}  # type: ignore[type-arg]
        more: cython.bint = self.extensible and r.bits(1) == 1
        if bit:
            bitmap = r.bits(bit)
        for index in range(len(self.nodes)):
            if self.optional[index]:
                bit -= 1
                if not (bitmap >> bit) & 1:
                    continue
            node = self.nodes[index]
            values[self.names[index]] = node.dec(r)
        if self.has_extensions and bitmap & 1:
            self.extensions.dec(r, values)
        if more:
            self.skip_additions(r)
        return self.make(**values)  # type: ignore[operator]

    @cython.cfunc
    def skip_additions(self, r: Reader) -> object:
        """Extension additions of a later release; the S1AP family adds its own in extension containers instead."""
        count: cython.int = get_small(r) + 1
        present: cython.int = 0
        for _ in range(count):
            present += 1 if r.bits(1) else 0
        for _ in range(present):
            r.octets_with_length()
        return None


@cython.cclass
class Single(Node):
    """ProtocolIE-SingleContainer: one element. An unknown one decodes to an :class:`UnknownIE`."""

    fields: Fields

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        w.align()
        if isinstance(value, UnknownIE):
            return put_unknown(w, value)
        if not self.fields.ids:
            raise WireError(f"not an unknown element: {value!r}")
        identity: cython.int = self.fields.ids[0]
        w.buffer.append(identity >> 8)
        w.buffer.append(identity & 255)
        w.buffer.append(self.fields.codes[0] << 6)
        start: cython.Py_ssize_t = begin_open(w)
        node: Node = self.fields.node(0)
        node.enc(w, value)
        end_open(w, start)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        r.align()
        identity: cython.int = r.bits(16)
        code: cython.int = r.bits(2)
        if code == 3:
            raise r.error("no such criticality")
        octets: bytes = r.octets_with_length()
        found = self.fields.index.get(identity)
        if found is None:
            if code == 0:
                raise AbstractSyntaxError([Problem("reject", identity, "not-understood")], offset=r.position >> 3)
            return UnknownIE(identity, _CRITICALITY[code], octets)  # type: ignore[arg-type]
        node: Node = self.fields.node(found)
        return node.dec(Reader(octets, 0, len(octets)))


@cython.cclass
class PrivateFields(Node):
    """PrivateIE-Container: elements whose meaning nobody but their owner knows."""

    @cython.cfunc
    def enc(self, w: Writer, value: object) -> object:
        if not isinstance(value, (tuple, list)) or not 1 <= len(value) <= 65535:
            raise WireError("a private message carries 1 to 65535 elements")
        w.align()
        w.bits(len(value) - 1, 16)
        for field in value:
            if not isinstance(field, PrivateIE) or field.criticality not in _CRITICALITY_CODE or not isinstance(field.value, bytes):
                raise WireError(f"not a private element: {field!r}")
            if isinstance(field.id, int):
                if not 0 <= field.id <= 65535:
                    raise WireError("a private id that is not in 0..65535")
                w.bits(0, 1)
                w.align()
                w.bits(field.id, 16)
            else:
                w.bits(1, 1)
                w.octets_with_length(encode_object_identifier(field.id))
            w.bits(_CRITICALITY_CODE[field.criticality], 2)
            w.octets_with_length(field.value)
        return None

    @cython.cfunc
    def dec(self, r: Reader) -> object:
        r.align()
        count: cython.int = r.bits(16)
        code: cython.int
        out = []
        for _ in range(count + 1):
            identity: object
            if r.bits(1):
                octets: bytes = r.octets_with_length()
                identity = decode_object_identifier(octets, r.position >> 3)
            else:
                r.align()
                identity = r.bits(16)
            code = r.bits(2)
            if code == 3:
                raise r.error("no such criticality")
            out.append(PrivateIE(identity, _CRITICALITY[code], r.octets_with_length()))  # type: ignore[arg-type]
        return tuple(out)


@cython.cclass
class MessageFields:
    """One message of an S1AP-like protocol: the PDU around it is whole octets, choice, procedure code, criticality, length."""

    head: bytes
    fields: Fields
    private: PrivateFields
    is_private: cython.bint

    def __init__(self, alternative: int, procedure_code: int, criticality: str, fields: Fields | None) -> None:
        self.head = bytes((alternative << 5, procedure_code, _CRITICALITY_CODE[criticality] << 6))
        self.is_private = fields is None
        self.private = PrivateFields()
        if fields is not None:
            self.fields = fields

    def encode(self, message: object) -> bytes:
        w = Writer()
        w.buffer += self.head
        start: cython.Py_ssize_t = begin_open(w)
        w.bits(0, 1)
        if self.is_private:
            self.private.enc(w, message.private_ies)  # type: ignore[attr-defined]
        else:
            self.fields.enc(w, message)
        end_open(w, start)
        return bytes(w.buffer)

    def decode(self, content: bytes, values: dict[str, object]) -> None:
        """Read the message's content into ``values``, which keeps what was read before an error."""
        r = Reader(content, 0, len(content))
        r.bits(1)
        if self.is_private:
            values["private_ies"] = self.private.dec(r)
        else:
            self.fields.dec(r, values)


def split_pdu(octets: bytes) -> tuple[int, int, str, bytes]:
    """Alternative, procedure code, criticality and content of a PDU. Octets after it are not looked at."""
    r = Reader(octets, 0, len(octets))
    if r.bits(1):
        raise WireError("a PDU of a later release")
    alternative: cython.int = r.bits(2)
    r.align()
    procedure_code: cython.int = r.bits(8)
    code: cython.int = r.bits(2)
    if code == 3:
        raise r.error("no such criticality")
    return alternative, procedure_code, _CRITICALITY[code], r.octets_with_length()
