"""BER (X.690) driven by tables: charging records (TS 32.298) and TAP files (GSMA TD.57) are made and read with it.

A table is made by :func:`build` from the nested tuples that ``epc.wire.ber.generate`` writes; its :class:`Node` turns plain values into
octets and back:

| ASN.1 | value |
| --- | --- |
| SEQUENCE, SET | ``dict`` of the components' names as the specification writes them; what the table does not know is kept under ``UNKNOWN`` |
| SEQUENCE OF, SET OF | ``list`` |
| CHOICE | ``(name of the alternative, value)`` |
| INTEGER | ``int`` |
| ENUMERATED | its name, or ``int`` where it has none |
| BIT STRING | ``(int, number of bits)`` |
| OCTET STRING | ``bytes``; TAP's AsciiString and BCDString are ``str`` |
| character strings | ``str`` |
| BOOLEAN, NULL | ``bool``, ``None`` |
| OBJECT IDENTIFIER, ANY | ``bytes``: the contents, the whole element |

Lengths are written in the definite form; both forms are read. Decoding raises :class:`~epc.wire.errors.WireError` only.
"""

from epc.wire.ber.codec import UNKNOWN, Node, build, elements, encode_element

__all__ = ["UNKNOWN", "Node", "build", "elements", "encode_element"]
