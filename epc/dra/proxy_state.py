"""What an agent that keeps no state sends along with a request, to have it back in the answer (RFC 6733 clauses 6.7.2 to 6.7.4)."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from epc.dra.message import PROXY_HOST, PROXY_INFO, PROXY_STATE, avps_of, with_avp, without_avp
from epc.wire.diameter import DiameterError
from epc.wire.diameter.avp import MANDATORY_BIT, frame

_FIXED = struct.Struct("!II")
_SEAL_OCTETS = 8


class Origin(NamedTuple):
    """Where a request came from."""

    host: bytes
    connection: int
    hop_by_hop: int


class ProxyState:
    """Writes the state and reads it again; a keyed seal keeps others from sending answers to connections of their choice."""

    def __init__(self, origin_host: str, key: bytes) -> None:
        self._host = frame(PROXY_HOST, 0, MANDATORY_BIT, origin_host.encode())
        self._origin_host = origin_host.lower().encode()
        self._key = key

    def add(self, octets: bytes, origin: Origin) -> bytes:
        """The request with the state in it."""
        state = _FIXED.pack(origin.connection, origin.hop_by_hop) + origin.host
        return with_avp(octets, frame(PROXY_INFO, 0, MANDATORY_BIT, self._host + frame(PROXY_STATE, 0, MANDATORY_BIT, self._seal(state) + state)))

    def take(self, octets: bytes) -> tuple[bytes, Origin] | None:
        """The answer without the state, and what it says; None when there is none of ours in it."""
        try:
            for _, offset, start, end in reversed(avps_of(octets, (PROXY_INFO,))):
                origin = self._read(octets[start:end])
                if origin is not None:
                    return without_avp(octets, offset, end), origin
        except DiameterError:
            return None
        return None

    def _read(self, info: bytes) -> Origin | None:
        values = {code: info[start:end] for code, _, start, end in avps_of(info, (PROXY_HOST, PROXY_STATE), 0)}
        sealed = values.get(PROXY_STATE, b"")
        state = sealed[_SEAL_OCTETS:]
        if values.get(PROXY_HOST, b"").lower() != self._origin_host or len(state) < _FIXED.size or sealed[:_SEAL_OCTETS] != self._seal(state):
            return None
        connection, hop_by_hop = _FIXED.unpack_from(state)
        return Origin(state[_FIXED.size:], connection, hop_by_hop)

    def _seal(self, state: bytes) -> bytes:
        return hashlib.blake2s(state, key=self._key, digest_size=_SEAL_OCTETS).digest()
