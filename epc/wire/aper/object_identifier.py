"""OBJECT IDENTIFIERs: the contents octets of ITU-T X.690 clause 8.19."""

from __future__ import annotations

from epc.wire.errors import WireError


def encode_object_identifier(arcs: tuple[int, ...]) -> bytes:
    """The contents octets of an OBJECT IDENTIFIER (ITU-T X.690 clause 8.19)."""
    if len(arcs) < 2 or not all(isinstance(arc, int) and arc >= 0 for arc in arcs) or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise WireError(f"not an object identifier: {arcs!r}")
    out = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        groups = [arc & 127]
        while arc > 127:
            arc >>= 7
            groups.append(arc & 127 | 128)
        out += bytes(reversed(groups))
    return bytes(out)


def decode_object_identifier(octets: bytes, offset: int = 0) -> tuple[int, ...]:
    """The arcs in the contents octets of an OBJECT IDENTIFIER."""
    arcs: list[int] = []
    arc = 0
    for octet in octets:
        if arc == 0 and octet == 128:
            raise WireError("object identifier with a leading zero", offset=offset)
        arc = arc << 7 | octet & 127
        if arc >> 128:
            raise WireError("object identifier with an arc beyond 128 bits", offset=offset)
        if octet < 128:
            arcs.append(arc)
            arc = 0
    if not octets or octets[-1] >= 128:
        raise WireError("truncated object identifier", offset=offset)
    first = min(arcs[0] // 40, 2)
    return (first, arcs[0] - 40 * first, *arcs[1:])
