"""S1AP against pycrate, the pure runtime against the compiled one, and both against octets that are no message."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from epc.wire.aper import runtime as pure_runtime
from epc.wire.aper.build import Type
from epc.wire.aper.values import BitString, PrivateIE, UnknownIE
from epc.wire.errors import WireError
from epc.wire.s1ap.catalogue import look_up
from epc.wire.s1ap.codec import S1apCodec
from epc.wire.s1ap.message import Message
from epc.wire.s1ap.naming import class_name
from epc.wire.s1ap.tables import MESSAGES, TYPES

PURE = S1apCodec(pure_runtime)
NULLS = {name for kind in TYPES.values() if kind[0] == "choice" for name, described in kind[2] + kind[3] if described == ("null",)}
needs_compiled = pytest.mark.skipif(importlib.util.find_spec("epc.wire.aper.runtime_c") is None, reason="the compiled runtime is not built")


@pytest.fixture(scope="module")
def compiled() -> S1apCodec:
    return S1apCodec(importlib.import_module("epc.wire.aper.runtime_c"))


class RandomValues:
    """Any value that the schema allows, smaller the deeper it lies."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def message(self, name: str) -> Message:
        rows = MESSAGES[name][3]
        make: Callable[..., Message] = look_up(name)
        if rows is None:
            return make(private_ies=tuple(self.private() for _ in range(self.random.randint(1, 4))))
        fields = {}
        for _, _, presence, field, kind in rows:
            if presence == "mandatory" or self.random.random() < 0.3:
                fields[field] = self.value(kind, 0)
        return make(**fields)

    def private(self) -> PrivateIE:
        identity: Any = self.random.choice((self.random.randint(0, 65535), (1, 3, 6, 1, self.random.randint(0, 1 << 40))))
        return PrivateIE(identity, self.random.choice(("reject", "ignore", "notify")), self.random.randbytes(self.random.randint(0, 300)))

    def size(self, low: int | None, high: int | None, most: int) -> int:
        low = low or 0
        return self.random.choice((low, self.random.randint(low, min(low + most, low + most if high is None else high))))

    def value(self, kind: Type, depth: int, name: str = "") -> Any:
        if isinstance(kind, str):
            return self.value(TYPES[kind], depth + 1, kind)
        match kind:
            case ("int", int(low), int(high), *_):
                return self.random.choice((low, high, self.random.randint(low, high), self.random.randint(low, min(high, low + 300))))
            case ("int", *_):
                return self.random.randint(0, 1 << 20)
            case ("enum", root, added):
                return self.random.choice(root + (added or ()))
            case ("bool",):
                return self.random.random() < 0.5
            case ("null",):
                return None
            case ("bits", low, high, _):
                nbits = self.size(low, high, 40)
                return BitString(self.random.getrandbits(nbits) if nbits else 0, nbits)
            case ("octets", low, high, _):
                return self.random.randbytes(self.size(low, high, 200))
            case ("text", _, low, high, _):
                return "".join(self.random.choice("ABCdef019") for _ in range(self.size(low, high, 20)))
            case ("list", low, high, _, element):
                return tuple(self.value(element, depth + 1) for _ in range(self.size(low, high, 3 if depth < 6 else 0)))
            case ("single", rows):
                return self.value(rows[0][4], depth + 1) if rows else UnknownIE(60000, "ignore", b"\1\2")
            case ("choice", _, root, added):
                usable = [a for a in root + added if a[1] != ("single", ())]
                alternative, described = self.random.choice(usable)
                return look_up(class_name(name))(alternative, self.value(described, depth + 1))
            case ("seq", _, components):
                fields = {}
                for field, optional, described in components:
                    if isinstance(described, tuple) and described[0] == "extensions":
                        for _, _, presence, extension, inner in described[1]:
                            if presence == "mandatory" or self.random.random() < (0.3 if depth < 8 else 0):
                                fields[extension] = self.value(inner, depth + 1)
                    elif not optional or self.random.random() < (0.5 if depth < 8 else 0):
                        fields[field] = self.value(described, depth + 1)
                return look_up(class_name(name))(**fields)
        raise NotImplementedError(kind)


def leaves_of_ours(value: Any) -> Iterator[Any]:
    """The simple values of a message in the order in which they are written."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves_of_ours(getattr(value, field.name))
    elif isinstance(value, PrivateIE):
        yield from (value.id, value.value)
    elif isinstance(value, tuple) and not isinstance(value, BitString):
        for entry in value:
            yield from leaves_of_ours(entry)
    elif value is not None:
        yield tuple(value) if isinstance(value, BitString) else value


def leaves_of_pycrate(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if set(value) - {"id", "criticality"} in ({"value"}, {"extensionValue"}):
            content = value.get("value", value.get("extensionValue"))
            if isinstance(value["id"], tuple):
                yield from (value["id"][1], content[1])
            else:
                yield from leaves_of_pycrate(content[1])
        else:
            for entry in value.values():
                yield from leaves_of_pycrate(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from leaves_of_pycrate(entry)
    elif isinstance(value, tuple) and isinstance(value[0], str):
        yield value[0]
        if value[0] not in NULLS:       # pycrate's NULL is 0
            yield from leaves_of_pycrate(value[1])
    else:
        yield value


@pytest.fixture(scope="module")
def pycrate_pdu() -> Any:
    return importlib.import_module("pycrate_asn1dir.S1AP").S1AP_PDU_Descriptions.S1AP_PDU


@pytest.mark.parametrize("name", MESSAGES)
def test_random_values_agree_with_pycrate(name: str, pycrate_pdu: Any) -> None:
    values = RandomValues(seed=1)
    compared = 0
    for _ in range(60):
        message = values.message(name)
        octets = PURE.encode(message)
        assert PURE.decode(octets) == message
        if len(octets) > 2000 or compared == 6:
            continue        # pycrate needs tens of milliseconds for a long one
        pycrate_pdu.from_aper(octets)
        _, pdu = pycrate_pdu.get_val()
        _, content = pdu["value"]
        assert list(leaves_of_pycrate(next(iter(content.values())))) == list(leaves_of_ours(message))
        assert pycrate_pdu.to_aper() == octets
        compared += 1
    assert compared == 6


@needs_compiled
@pytest.mark.parametrize("name", MESSAGES)
def test_compiled_runtime_writes_and_reads_the_same(name: str, compiled: S1apCodec) -> None:
    values = RandomValues(seed=2)
    for _ in range(10):
        message = values.message(name)
        octets = PURE.encode(message)
        assert compiled.encode(message) == octets
        assert compiled.decode(octets) == message


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Good messages with octets changed, cut out, put in, or cut off."""
    values = RandomValues(seed)
    chance = values.random
    names = list(MESSAGES)
    while count > 0:
        octets = PURE.encode(values.message(chance.choice(names)))
        for _ in range(12):
            mutant = bytearray(octets)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(mutant))
                match chance.randrange(4):
                    case 0:
                        mutant[at] = chance.randrange(256)
                    case 1:
                        mutant[at] ^= 1 << chance.randrange(8)
                    case 2:
                        del mutant[at:at + chance.randint(1, 3)]
                    case 3:
                        mutant[at:at] = chance.randbytes(chance.randint(1, 3))
                mutant = mutant or bytearray(1)
            if chance.random() < 0.1:
                mutant = mutant[:chance.randrange(len(mutant) + 1)]
            yield bytes(mutant)
            count -= 1


def outcome(codec: S1apCodec, octets: bytes) -> tuple[Any, ...]:
    try:
        return ("message", codec.decode(octets))
    except WireError as error:
        return ("error", str(error), vars(error))


def test_mutants_raise_wire_errors_only() -> None:
    rejected = emptied = 0
    for mutant in mutants(seed=3, count=6000):
        try:
            message = PURE.decode(mutant)
        except WireError:
            rejected += 1
            continue
        try:
            again = PURE.encode(message)
        except WireError:
            emptied += 1        # a list held unknown elements only, which are left out
        else:
            assert PURE.decode(again) == message
    assert 600 < rejected < 6000
    assert emptied < 20


@needs_compiled
def test_mutants_have_the_same_outcome_in_both_runtimes(compiled: S1apCodec) -> None:
    for mutant in mutants(seed=4, count=6000):
        assert outcome(PURE, mutant) == outcome(compiled, mutant), mutant.hex()


@needs_compiled
def test_random_octets_have_the_same_outcome_in_both_runtimes(compiled: S1apCodec) -> None:
    chance = random.Random(5)
    for _ in range(3000):
        head = bytes((chance.choice((0, 32, 64)), chance.randrange(67), chance.choice((0, 64, 128)), 40, 0, 0, chance.randint(1, 5)))
        octets = head + chance.randbytes(37)
        assert outcome(PURE, octets) == outcome(compiled, octets), octets.hex()
