"""Gx sessions: one for each PDN connection (TS 29.212 clause 4.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from epc.wire.diameter import RatType
from epc.wire.diameter.policy import ChargingRuleDefinition, DefaultEpsBearerQos


class Ambr(NamedTuple):
    """APN-AMBR, bit/s; None where nobody said."""

    ul_bps: int | None
    dl_bps: int | None


@dataclass(slots=True, eq=False, kw_only=True)
class GxSession:
    """An IP-CAN session as the PCRF knows it."""

    session_id: str                                         # allocated by the PCEF
    imsi: str
    apn: str
    pcef_host: str                                          # Diameter identity of the PGW
    pcef_realm: str
    origin_state_id: int | None                             # of the PGW when it opened the session
    ipv4: ipaddress.IPv4Address | None
    ipv6: ipaddress.IPv6Network | None
    rat_type: RatType | int | None
    subscribed_qos: DefaultEpsBearerQos | None              # as the PCEF last asked for it
    subscribed_ambr: Ambr
    authorised_qos: DefaultEpsBearerQos | None
    authorised_ambr: Ambr
    rules: dict[bytes, ChargingRuleDefinition | None]       # installed; None for rules that the PCEF has by itself
    added_rules: dict[bytes, ChargingRuleDefinition] = field(default_factory=dict)     # by the operator, whatever the policy says
    withheld_rules: frozenset[bytes] = frozenset()          # not sent: the PCEF could not enforce them, or the operator removed them
    policy: str
    request_number: int = 0                                 # of the last CCR

    def state(self) -> dict[str, object]:
        """For ``epclab ctl``."""
        qos = self.authorised_qos
        return {
            "session_id": self.session_id, "imsi": self.imsi, "apn": self.apn, "pcef": self.pcef_host,
            "ipv4": str(self.ipv4) if self.ipv4 else None, "ipv6": str(self.ipv6) if self.ipv6 else None,
            "rat": self.rat_type.name if isinstance(self.rat_type, RatType) else self.rat_type, "policy": self.policy,
            "qci": qos.qos_class_identifier if qos else None,
            "arp": qos.allocation_retention_priority.priority_level if qos and qos.allocation_retention_priority else None,
            "ambr_ul_bps": self.authorised_ambr.ul_bps, "ambr_dl_bps": self.authorised_ambr.dl_bps,
            "rules": [name.decode(errors="replace") for name in self.rules], "request_number": self.request_number,
        }


class SessionTable:
    """The sessions, by Session-Id and by the user's address."""

    def __init__(self) -> None:
        self._by_id: dict[str, GxSession] = {}
        self._by_address: dict[tuple[str, object], GxSession] = {}
        self._states: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[GxSession]:
        return iter(list(self._by_id.values()))

    def get(self, session_id: str) -> GxSession | None:
        return self._by_id.get(session_id)

    def add(self, session: GxSession) -> list[GxSession]:
        """Keep ``session``; returns the ones it makes obsolete: the same Session-Id, or a PDN connection that had its address."""
        obsolete = {id(old): old for old in self._obsolete(session)}
        for old in obsolete.values():
            self.remove(old)
        self._by_id[session.session_id] = session
        for address in self._addresses(session):
            self._by_address[address] = session
        return list(obsolete.values())

    def remove(self, session: GxSession) -> None:
        self._by_id.pop(session.session_id, None)
        for address in self._addresses(session):
            if self._by_address.get(address) is session:
                del self._by_address[address]

    def note_state(self, pcef_host: str, origin_state_id: int | None) -> list[GxSession]:
        """RFC 6733 clause 8.16: a greater Origin-State-Id means that the PCEF has lost its sessions; they are removed and returned."""
        if origin_state_id is None or origin_state_id <= self._states.get(pcef_host, -1):
            return []
        self._states[pcef_host] = origin_state_id
        lost = [session for session in self if session.pcef_host == pcef_host
                and session.origin_state_id is not None and session.origin_state_id < origin_state_id]
        for session in lost:
            self.remove(session)
        return lost

    def of_imsi(self, imsi: str) -> list[GxSession]:
        return [session for session in self if session.imsi == imsi]

    def _obsolete(self, session: GxSession) -> Iterator[GxSession]:
        same = self._by_id.get(session.session_id)
        if same is not None:
            yield same
        for address in self._addresses(session):
            holder = self._by_address.get(address)
            if holder is not None:
                yield holder

    @staticmethod
    def _addresses(session: GxSession) -> list[tuple[str, object]]:
        """Addresses are unique within one APN of one PCEF."""
        where = f"{session.pcef_host}/{session.apn}"
        return [(where, address) for address in (session.ipv4, session.ipv6) if address is not None]
