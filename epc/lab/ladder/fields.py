"""Any message as a tree of names and texts, for people."""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TypeAlias

Tree: TypeAlias = "str | list[tuple[str, Tree]]"

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


_ACRONYMS = {word.title(): word for word in ("ESM", "EMM", "EPS", "PDN", "NAS", "GUTI", "UE", "CS", "PGW", "IP")} | {"ERAB": "E-RAB"}


def spaced(name: str) -> str:
    """``CreateSessionRequest`` as the specification writes it: Create Session Request."""
    words = [_ACRONYMS.get(word, word) for word in _WORDS.sub(" ", name).split()]
    return " ".join(words).replace(" From UE", " (from UE)").replace(" To UE", " (to UE)")


def message_name(message: object) -> str:
    return spaced(type(message).__name__)


def tree_of(value: object) -> Tree:
    """Fields that are absent are left out; octets become hexadecimal; enumerations keep name and number."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        rows: list[tuple[str, Tree]] = []
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if inner is not None and inner != ():
                rows.append((field.name, tree_of(inner)))
        return rows
    if isinstance(value, enum.Enum):
        return f"{value.name} ({value.value})" if isinstance(value, enum.IntEnum) else value.name
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex(" ") or "(empty)"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(name, tree_of(inner)) for name, inner in zip(value._fields, value, strict=True)]
    if isinstance(value, tuple | list):
        return [(f"[{i}]", tree_of(inner)) for i, inner in enumerate(value)]
    if isinstance(value, dict):
        return [(str(key), tree_of(inner)) for key, inner in value.items()]
    if isinstance(value, int) and not isinstance(value, bool) and value > 0xFFFFF:
        return f"{value} (0x{value:08x})"
    return str(value)
