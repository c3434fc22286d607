"""Makes the runtime's nodes from the tuples of a generated schema, each named type once and when it is first needed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from epc.wire.aper import runtime as pure_runtime

Type = str | tuple[Any, ...]
Row = tuple[int, str, str, str, Type]


def choose_runtime() -> ModuleType:
    """The compiled runtime when it was built, unless ``EPCLAB_PURE=1``; they behave the same."""
    if os.environ.get("EPCLAB_PURE") != "1":
        try:
            return importlib.import_module("epc.wire.aper.runtime_c")
        except ImportError:
            pass
    return pure_runtime


class Builder:
    """``look_up`` gives the Python class of a SEQUENCE or CHOICE by its ASN.1 name."""

    def __init__(self, types: dict[str, Type], look_up: Callable[[str], type], runtime: ModuleType) -> None:
        self._types = types
        self._look_up = look_up
        self._runtime = runtime
        self._built: dict[str, Any] = {}

    def fields(self, minimum: int, rows: tuple[Row, ...]) -> Any:
        return self._runtime.Fields(minimum, rows, self.node)

    def node(self, kind: Type, name: str = "") -> Any:
        """The node of a type, by name or by description. S1AP-like protocols have no recursive types."""
        runtime = self._runtime
        if isinstance(kind, str):
            if kind not in self._built:
                self._built[kind] = self.node(self._types[kind], kind)
            return self._built[kind]
        match kind:
            case ("int", low, high, extensible, *ranges):
                return runtime.Integer(low, high, extensible, *ranges)
            case ("enum", root, added):
                return runtime.Enumerated(root, added)
            case ("bool",):
                return runtime.Boolean()
            case ("null",):
                return runtime.Null()
            case ("bits", low, high, extensible):
                return runtime.Bits(low, high, extensible)
            case ("octets", low, high, extensible):
                return runtime.Octets(low, high, extensible)
            case ("text", codec, low, high, extensible):
                return runtime.Text(codec, low, high, extensible)
            case ("list", low, high, extensible, element):
                return runtime.SequenceOf(low, high, extensible, self.node(element))
            case ("choice", extensible, root, added):
                alternatives = [(alternative, self.node(described)) for alternative, described in root]
                additions = [(alternative, self.node(described)) for alternative, described in added]
                return runtime.Choice(self._look_up(name), extensible, alternatives, additions)
            case ("single", rows) if len(rows) <= 1:
                return runtime.Single(self.fields(0, rows))
            case ("seq", extensible, components):
                return self._sequence(name, extensible, components)
        raise NotImplementedError(f"{name}: {kind}")

    def _sequence(self, name: str, extensible: bool, components: tuple[tuple[str, bool, Type], ...]) -> Any:
        extensions = None
        plain = []
        for field, optional, described in components:
            if isinstance(described, tuple) and described[0] == "extensions":
                extensions = self.fields(1, described[1])
            else:
                assert extensions is None, f"{name} has components after its extension container"
                plain.append((field, optional, self.node(described)))
        return self._runtime.Sequence(self._look_up(name), extensible, plain, extensions)
