"""The schema of an S1AP-like protocol (S1AP, X2AP, RANAP ...), read from pycrate's compiled ASN.1 modules.

Used when the tables are generated, never at run time: importing pycrate's S1AP takes 0.3 s and its layout is internal, so
what the runtime needs is written once into plain tuples (``epc.wire.s1ap.tables``). The tuples describe a type as

===========================================  =================================================================================
``"Name"``                                   a reference to a named type
``("int", low, high, extensible)``           INTEGER; a bound that is not there is ``None``
``("int", low, high, True, ranges)``         extensible INTEGER whose root is not one range but these
``("enum", names, added)``                   ENUMERATED; ``added`` is ``None`` when it cannot be extended
``("bool",)``  ``("null",)``                 BOOLEAN, NULL
``("bits", low, high, extensible)``          BIT STRING with its size constraint
``("octets", low, high, extensible)``        OCTET STRING
``("text", codec, low, high, extensible)``   a character string of eight-bit characters
``("list", low, high, extensible, type)``    SEQUENCE OF
``("seq", extensible, components)``          SEQUENCE of ``(field, optional, type)``
``("choice", extensible, root, added)``      CHOICE of ``(alternative, type)``
``("extensions", rows)``                     ProtocolExtensionContainer
``("single", rows)``                         ProtocolIE-SingleContainer
``("private",)``                             PrivateIE-Container
===========================================  =================================================================================

A row is ``(id, criticality, presence, field, type)``: one line of an information object set.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from epc.wire.aper.build import Row, Type

_CONTAINERS = {
    "ProtocolIE-Container", "ProtocolIE-SingleContainer", "ProtocolIE-Field", "ProtocolExtensionContainer", "ProtocolExtensionField",
    "PrivateIE-Container", "PrivateIE-Field", "ProtocolIE-ContainerList", "ProtocolIE-ContainerPair", "ProtocolIE-ContainerPairList",
}
_EIGHT_BIT = {"PrintableString": "ascii", "VisibleString": "ascii", "IA5String": "ascii", "UTF8String": "utf-8"}


class Schema:
    """Walks from chosen roots and collects the named types that they need, in the order in which they are met."""

    def __init__(self, module: ModuleType, prefix: str, field_name: Callable[[str], str]) -> None:
        self._module = module
        self._prefix = prefix
        self._field_name = field_name
        self._pending: list[str] = []
        self._name_of_ie = self._ie_names()
        self._objects: dict[str, Any] = {}
        for part in ("CommonDataTypes", "IEs", "PDU_Contents"):
            namespace = getattr(module, f"{prefix}_{part}")
            for name in namespace._type_:
                self._objects[name] = getattr(namespace, re.sub(r"\W", "_", name))
        self.types: dict[str, Type] = {}
        self.messages: dict[str, tuple[int, str, str, tuple[Row, ...] | None]] = {}

    def _ie_names(self) -> dict[int, str]:
        constants = getattr(self._module, f"{self._prefix}_Constants")
        names: dict[int, str] = {}
        for name in constants._val_:
            value = getattr(constants, re.sub(r"\W", "_", name))
            if name.startswith("id-") and value._typeref.called[1] == "ProtocolIE-ID":
                names[value._val] = name[3:]
        return names

    def read_messages(self) -> None:
        """Every message of the interface: ``name -> (procedure code, criticality, kind, rows)``."""
        descriptions = getattr(self._module, f"{self._prefix}_PDU_Descriptions")
        table = descriptions.InitiatingMessage._cont["value"]._const_tab._val
        kinds = {"InitiatingMessage": "initiating", "SuccessfulOutcome": "successful", "UnsuccessfulOutcome": "unsuccessful"}
        for procedure in [*table.root, *(table.ext or ())]:
            for key, kind in kinds.items():
                if key in procedure:
                    message = procedure[key]
                    name = message._typeref.called[1]
                    content = next(iter(message._cont.values()))
                    rows = None if content._typeref.called[1] == "PrivateIE-Container" else self._rows(content._cont, "Value")
                    self.messages[name] = (procedure["procedureCode"], procedure["criticality"], kind, rows)
        self._drain()

    def read_types(self, *names: str) -> None:
        for name in names:
            self._reference(name)
        self._drain()

    def _drain(self) -> None:
        while self._pending:
            name = self._pending.pop(0)
            if name not in self.types:
                self.types[name] = self._describe(self._objects[name])

    def _reference(self, name: str) -> Type:
        """A constructed type or an enumeration is kept by name; a simple type is written out where it is used."""
        target = self._objects[name]
        if target.TYPE in ("SEQUENCE", "CHOICE", "ENUMERATED") and not self._is_container(target):
            self._pending.append(name)
            return name
        return self._describe(target)

    @staticmethod
    def _is_container(entry: Any) -> bool:
        return entry._typeref is not None and isinstance(entry._typeref.called, tuple) and entry._typeref.called[1] in _CONTAINERS

    def _component(self, entry: Any) -> Type:
        reference = entry._typeref
        if reference is None or not isinstance(reference.called, tuple) or reference.called[1] in _CONTAINERS:
            return self._describe(entry)
        target = self._objects[reference.called[1]]
        constrained = any(repr(getattr(entry, a, None)) != repr(getattr(target, a, None)) for a in ("_const_val", "_const_sz"))
        return self._describe(entry) if constrained else self._reference(reference.called[1])

    def _rows(self, field: Any, value_key: str) -> tuple[Row, ...]:
        table = list(field._cont.values())[-1]._const_tab
        if table is None:
            return ()
        rows = []
        for row in [*table._val.root, *(table._val.ext or ())]:
            if value_key in row:
                name = self._field_name(self._name_of_ie[row["id"]])
                rows.append((row["id"], row["criticality"], row["presence"], name, self._component(row[value_key])))
        return tuple(rows)

    @staticmethod
    def _bounds(constraint: Any) -> tuple[int | None, int | None, bool]:
        if constraint is None:
            return None, None, False
        return constraint.lb, constraint.ub, constraint.ext is not None

    def _integer(self, constraint: Any) -> Type:
        bounds = self._bounds(constraint)
        if constraint is None or not bounds[2] or len(constraint.root) < 2:
            return ("int", *bounds)
        ranges = tuple((piece, piece) if isinstance(piece, int) else (piece.lb, piece.ub) for piece in constraint.root)
        return ("int", *bounds, ranges)

    def _describe(self, entry: Any) -> Type:
        kind: str = entry.TYPE
        match kind:
            case "INTEGER":
                return self._integer(entry._const_val)
            case "ENUMERATED":
                return ("enum", tuple(entry._root), None if entry._ext is None else tuple(entry._ext))
            case "BOOLEAN":
                return ("bool",)
            case "NULL":
                return ("null",)
            case "BIT STRING":
                return ("bits", *self._bounds(entry._const_sz))
            case "OCTET STRING":
                return ("octets", *self._bounds(entry._const_sz))
            case "SEQUENCE OF":
                called = entry._typeref.called[1] if self._is_container(entry) else ""
                if called == "ProtocolExtensionContainer":
                    return ("extensions", self._rows(entry._cont, "Extension"))
                if called == "PrivateIE-Container":
                    return ("private",)
                return ("list", *self._bounds(entry._const_sz), self._component(entry._cont))
            case "SEQUENCE":
                return self._sequence(entry)
            case "CHOICE":
                root = tuple((name, self._component(entry._cont[name])) for name in entry._root)
                added = tuple((name, self._component(entry._cont[name])) for name in entry._ext or ())
                return ("choice", entry._ext is not None, root, added)
        if kind in _EIGHT_BIT:
            return ("text", _EIGHT_BIT[kind], *self._bounds(None if kind == "UTF8String" else entry._const_sz))
        raise NotImplementedError(f"{entry} has a type that the runtime does not know: {kind}")

    def _sequence(self, entry: Any) -> Type:
        if self._is_container(entry):
            return ("single", self._rows(entry, "Value"))
        if entry._ext:
            raise NotImplementedError(f"{entry} has extension additions: {entry._ext}")
        components = []
        for name in entry._root:
            if entry._cont[name]._def is not None:
                raise NotImplementedError(f"{entry} has a DEFAULT in {name}")
            components.append((self._field_name(name), name in entry._root_opt, self._component(entry._cont[name])))
        return ("seq", entry._ext is not None, tuple(components))
