"""Finds the module of a class by the class's name, so that only modules in use are loaded (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from epc.wire.s1ap.tables import MODULES

_PACKAGE = "epc.wire.s1ap"
_MODULE_OF = {name: module for module, names in MODULES.items() for name in names}


def look_up(name: str) -> Any:
    """The class, or the ``Literal`` of an enumeration, called ``name``."""
    return getattr(importlib.import_module(f"{_PACKAGE}.{_MODULE_OF[name]}"), name)


def __getattr__(name: str) -> Any:
    """The package's ``__getattr__``: the first access loads, later ones find the name in the package."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    found = look_up(name)
    setattr(sys.modules[_PACKAGE], name, found)
    return found


def __dir__() -> list[str]:
    return sorted({*vars(sys.modules[_PACKAGE]), *_MODULE_OF})
