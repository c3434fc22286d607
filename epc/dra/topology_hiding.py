"""Foreign realms see pseudonyms in place of our hosts' names; what comes back with them gets the names again.

A host has one pseudonym for all the world and all time, so that what a foreign HSS or MME has stored of us stays good after a restart of
the agent and at another agent of the operator. The names stand in Origin-Host and Session-Id (RFC 6733 clause 8.8 makes it begin with
one), in Route-Record and Error-Reporting-Host, and come back in Destination-Host too. Realms stay as they are: requests are routed by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from epc.dra.config import TopologyHidingSection
from epc.dra.message import DESTINATION_HOST, ERROR_REPORTING_HOST, ORIGIN_HOST, ROUTE_RECORD, SESSION_ID, rewritten

MOST_HOSTS = 10_000         # a network has some hundred; beyond, the oldest are forgotten
_OUTWARD = frozenset({SESSION_ID, ORIGIN_HOST, ROUTE_RECORD, ERROR_REPORTING_HOST})
_INWARD = frozenset({SESSION_ID, DESTINATION_HOST, ROUTE_RECORD})


class TopologyHiding:
    """The pseudonyms of our hosts."""

    def __init__(self, config: TopologyHidingSection, *, origin_host: str, origin_realm: str) -> None:
        self._own_host = origin_host.lower().encode()           # the one name that others must know
        self._realms = tuple(realm.lower() for realm in config.home_realms or (origin_realm,))
        self._suffixes = tuple(f".{realm}".encode() for realm in self._realms)
        self._key = hashlib.blake2s(config.secret.encode()).digest()
        self._configured = {host.encode(): pseudonym.encode() for host, pseudonym in config.pseudonyms.items()}
        self._pseudonyms: dict[bytes, bytes] = {}               # by host in lower case
        self._names: dict[bytes, bytes] = {}                    # by pseudonym, the host as it writes itself
        self.learn(config.pseudonyms)

    def is_foreign(self, realm: str) -> bool:
        return realm.lower() not in self._realms

    def learn(self, hosts: Iterable[str]) -> None:
        """Hosts of ours that may be asked for by pseudonym before they have said anything."""
        for host in hosts:
            self._pseudonym(host.encode())

    def hide(self, octets: bytes) -> bytes:
        """A message that leaves for a foreign realm. Raises :class:`DiameterError` when it cannot be read."""
        return rewritten(octets, _OUTWARD, self._hidden)

    def restore(self, octets: bytes) -> bytes:
        """A message that comes from a foreign realm. Raises :class:`DiameterError` when it cannot be read."""
        return rewritten(octets, _INWARD, self._restored)

    def state(self) -> list[dict[str, str]]:
        return [{"host": host.decode(errors="replace"), "pseudonym": pseudonym.decode()} for pseudonym, host in self._names.items()]

    def _hidden(self, code: int, value: bytes) -> bytes | None:
        if code != SESSION_ID:
            return self._pseudonym(value)
        host, semicolon, rest = value.partition(b";")
        pseudonym = self._pseudonym(host)
        return pseudonym + semicolon + rest if pseudonym is not None else None

    def _restored(self, code: int, value: bytes) -> bytes | None:
        if code != SESSION_ID:
            return self._names.get(value.lower())
        host, semicolon, rest = value.partition(b";")
        name = self._names.get(host.lower())
        return name + semicolon + rest if name is not None else None

    def _pseudonym(self, host: bytes) -> bytes | None:
        """None for hosts that are not ours to hide."""
        key = host.lower()
        pseudonym = self._pseudonyms.get(key)
        if pseudonym is not None:
            return pseudonym
        suffix = next((suffix for suffix in self._suffixes if key.endswith(suffix)), None)
        pseudonym = self._configured.get(key)
        if key == self._own_host or (pseudonym is None and suffix is None) or key in self._names:
            return None
        if pseudonym is None:
            assert suffix is not None
            pseudonym = b"node-" + hashlib.blake2s(key, key=self._key, digest_size=6).hexdigest().encode() + suffix
        if len(self._pseudonyms) >= MOST_HOSTS:
            oldest = next(iter(self._pseudonyms))
            self._names.pop(self._pseudonyms.pop(oldest), None)
        self._pseudonyms[key] = pseudonym
        self._names[pseudonym] = host
        return pseudonym
