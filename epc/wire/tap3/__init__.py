"""TAP 3.12, the files in which operators bill each other for roamers (GSMA TD.57).

A file is one ``DataInterChange``: ``("transferBatch", {...})`` or, with nothing to bill, ``("notification", {...})``. Values are those of
:mod:`epc.wire.ber`, with the specification's names; AsciiString, NumberString and BCDString are ``str``. The table comes from pycrate's ASN.1,
which the tests compare with; at run time pycrate is not needed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from epc.wire.ber import Node, build
from epc.wire.tap3.tables import DATA_INTERCHANGE

__all__ = ["RELEASE", "SPECIFICATION_VERSION", "decode", "encode"]

SPECIFICATION_VERSION, RELEASE = 3, 12


@cache
def _node() -> Node:
    return build(DATA_INTERCHANGE)


def encode(file: tuple[str, dict[str, Any]]) -> bytes:
    """Raises :class:`~epc.wire.errors.WireError` for values that the format cannot hold."""
    return _node().encode(file)


def decode(octets: bytes) -> tuple[str, dict[str, Any]]:
    """Raises :class:`~epc.wire.errors.WireError`."""
    name, value = _node().decode(octets)
    return name, value
