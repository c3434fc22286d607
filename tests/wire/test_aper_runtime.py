"""ALIGNED PER by hand-made octets (X.691), in both runtimes."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

import pytest

from epc.wire.aper.object_identifier import decode_object_identifier, encode_object_identifier
from epc.wire.aper.values import BitString
from epc.wire.errors import WireError

RUNTIMES = ["epc.wire.aper.runtime"]
if importlib.util.find_spec("epc.wire.aper.runtime_c") is not None:
    RUNTIMES.append("epc.wire.aper.runtime_c")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.mark.parametrize(("low", "high", "extensible", "value", "octets"), [
    (5, 5, False, 5, "00"),                             # a single value takes nothing
    (0, 7, False, 5, "a0"),
    (-3, 4, False, -3, "00"),
    (0, 255, False, 200, "c8"),
    (1, 65536, False, 2, "0001"),
    (0, 16777215, False, 300, "40012c"),                # the length in two bits
    (0, 4294967295, False, 4294967295, "c0ffffffff"),
    (0, 10_000_000_000, False, 10_000_000_000, "8002540be400"),
    (0, 15, True, 16, "800110"),                        # outside the root
    (0, 15, True, -1, "8001ff"),
    (0, None, False, 256, "020100"),
    (None, None, False, -129, "02ff7f"),
])
def test_integers(runtime: ModuleType, low: int | None, high: int | None, extensible: bool, value: int, octets: str) -> None:
    node = runtime.Integer(low, high, extensible)
    assert node.encode(value).hex() == octets
    assert node.decode(bytes.fromhex(octets)) == value


def test_integer_in_a_gap_of_its_root_is_an_extension(runtime: ModuleType) -> None:
    node = runtime.Integer(1, 181, True, ((1, 30), (40, 40), (181, 181)))
    assert node.encode(40).hex() == "1380"
    assert node.encode(35).hex() == "800123"
    assert node.decode(bytes.fromhex("800123")) == 35


def test_integer_beyond_its_bound_is_refused(runtime: ModuleType) -> None:
    node = runtime.Integer(0, 5, False)
    with pytest.raises(WireError):
        node.encode(6)
    with pytest.raises(WireError):
        node.decode(b"\xe0")


@pytest.mark.parametrize("nbits", [0, 1, 160, 16383, 16384, 16385, 65535, 65536, 150_001])
def test_bit_strings_are_fragmented(runtime: ModuleType, nbits: int) -> None:
    node = runtime.Bits(None, None, False)
    value = BitString((1 << nbits) - 1 if nbits else 0, nbits)
    octets = node.encode(value)
    assert node.decode(octets) == value
    if nbits == 16385:
        assert octets == b"\xc1" + b"\xff" * 2048 + b"\x01\x80"


@pytest.mark.parametrize("count", [0, 127, 128, 16384, 16384 * 5 + 3])
def test_lists_are_fragmented(runtime: ModuleType, count: int) -> None:
    node = runtime.SequenceOf(None, None, False, runtime.Integer(0, 255, False))
    values = tuple(index & 255 for index in range(count))
    assert node.decode(node.encode(values)) == values


def test_octets_of_two_are_not_aligned(runtime: ModuleType) -> None:
    node = runtime.SequenceOf(1, 2, False, runtime.Octets(2, 2, False))
    assert node.encode((b"\xff\xff",)).hex() == "7fff80"
    assert node.decode(bytes.fromhex("7fff80")) == (b"\xff\xff",)


def test_text_that_is_not_ascii(runtime: ModuleType) -> None:
    node = runtime.Text("ascii", 1, 150, True)
    with pytest.raises(WireError):
        node.encode("é")
    with pytest.raises(WireError):
        node.decode(bytes.fromhex("0180e965"))


@pytest.mark.parametrize("index", [0, 63, 64, 255, 256, 65535])
def test_enumeration_values_of_a_later_release(runtime: ModuleType, index: int) -> None:
    node = runtime.Enumerated(("a", "b"), ())
    name = f"unknown-{index}"
    assert node.decode(node.encode(name)) == name


@pytest.mark.parametrize("name", ["unknown-65536", "unknown-", "unknown--1", "unknown-²", "c", None, 1])
def test_enumeration_refuses_other_names(runtime: ModuleType, name: Any) -> None:
    with pytest.raises(WireError):
        runtime.Enumerated(("a", "b"), ()).encode(name)


def test_enumeration_that_cannot_be_extended(runtime: ModuleType) -> None:
    node = runtime.Enumerated(("a", "b", "c"), None)
    with pytest.raises(WireError):
        node.encode("unknown-1")
    with pytest.raises(WireError):
        node.decode(b"\xc0")


@pytest.mark.parametrize("arcs", [(0, 0), (1, 3, 6, 1, 4, 1, 10415), (2, 999, 1 << 70)])
def test_object_identifiers(arcs: tuple[int, ...]) -> None:
    assert decode_object_identifier(encode_object_identifier(arcs)) == arcs


@pytest.mark.parametrize("octets", ["", "80", "8001", "2b86", "2b" + "ff" * 30 + "01"])
def test_malformed_object_identifiers(octets: str) -> None:
    with pytest.raises(WireError):
        decode_object_identifier(bytes.fromhex(octets))


@pytest.mark.parametrize("arcs", [(), (1,), (3, 1), (1, 40), (1, -1)])
def test_object_identifiers_that_are_none(arcs: tuple[int, ...]) -> None:
    with pytest.raises(WireError):
        encode_object_identifier(arcs)


@pytest.mark.parametrize("octets", ["c5", "c0", "ff", "c1"])
def test_malformed_lengths(runtime: ModuleType, octets: str) -> None:
    with pytest.raises(WireError):
        runtime.Octets(None, None, False).decode(bytes.fromhex(octets))


def test_extension_additions_of_a_later_release_are_skipped(runtime: ModuleType) -> None:
    node = runtime.SequenceOf(2, 2, False, runtime.Sequence(dict, True, [("number", False, runtime.Integer(0, 7, False))], None))
    #  1 011 0000001 11: extended, 3, two additions, both there | 02 aabb, 01 cc | 0 101
    assert node.decode(bytes.fromhex("b038" "02aabb" "01cc" "50")) == ({"number": 3}, {"number": 5})
