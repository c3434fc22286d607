"""Gx sessions: one for each PDN connection (TS 29.212 clause 4.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from epc.pcrf.policy import Monitor
from epc.wire.diameter import RatType
from epc.wire.diameter.avp import IPAddress
from epc.wire.diameter.gx import EventTrigger
from epc.wire.diameter.policy import ChargingRuleDefinition, DefaultEpsBearerQos

K = TypeVar("K")


class S9Binding(NamedTuple):
    """A subsession of an S9 session (TS 29.215 clause 4.3)."""

    session_id: str         # of the S9 session, allocated by the V-PCRF
    subsession_id: int      # allocated by the V-PCRF


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
    serving_plmn: str | None = None                         # digits, from 3GPP-SGSN-MCC-MNC
    location: bytes | None = None                           # 3GPP-User-Location-Info
    charging_address: IPAddress | None = None               # of the PCEF's charging, and the bearers' charging identifiers, for application functions
    charging_identifiers: tuple[bytes, ...] = ()
    s9: S9Binding | None = None                             # of a PCEF in a visited network: which subsession it is
    rules: dict[bytes, ChargingRuleDefinition | None] = field(default_factory=dict)     # installed; None for rules that the PCEF has by itself
    groups: frozenset[str] = frozenset()                    # of such rules, installed
    added_rules: dict[bytes, ChargingRuleDefinition] = field(default_factory=dict)     # by the operator, whatever the policy says
    af_rules: dict[bytes, ChargingRuleDefinition] = field(default_factory=dict)        # that application functions asked for (Rx)
    ue_rules: dict[bytes, ChargingRuleDefinition] = field(default_factory=dict)        # for packet filters that the UE asked for
    ue_filters: int = 0                                     # that the UE has asked for so far; allocates their identifiers
    withheld_rules: frozenset[bytes] = frozenset()          # not sent: the PCEF could not enforce them, or the operator removed them
    inactive_rules: frozenset[bytes] = frozenset()          # installed, but reported as not enforced for the time being (no credit, no coverage)
    event_triggers: tuple[EventTrigger | int, ...] = ()     # armed at the PCEF
    af_triggers: tuple[EventTrigger, ...] = ()              # that application functions need
    monitors: dict[str, Monitor] = field(default_factory=dict)                 # usage that the PCEF counts, by monitoring key
    detected: dict[tuple[str, bytes], float] = field(default_factory=dict)     # applications seen and their instance: since when
    policy: str = ""
    request_number: int = 0                                 # of the last CCR
    is_pushing: bool = False                                # an RAR is under way

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
            "rules": [*[name.decode(errors="replace") for name in self.rules], *sorted(self.groups)], "request_number": self.request_number,
            "serving_plmn": self.serving_plmn, "inactive_rules": sorted(name.decode(errors="replace") for name in self.inactive_rules),
            "event_triggers": [trigger.name if isinstance(trigger, EventTrigger) else trigger for trigger in self.event_triggers],
            "monitors": sorted(self.monitors), "applications": sorted({name for name, _ in self.detected}),
        }

    @property
    def applications(self) -> frozenset[str]:
        """Whose traffic the PCEF sees."""
        return frozenset([name for name, _ in self.detected])


class SessionTable:
    """The sessions, by Session-Id and by the user's address."""

    def __init__(self) -> None:
        self._by_id: dict[str, GxSession] = {}
        self._by_address: dict[object, list[GxSession]] = {}
        self._by_imsi: dict[str, list[GxSession]] = {}
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
        self._by_imsi.setdefault(session.imsi, []).append(session)
        for address in self._addresses(session):
            self._by_address.setdefault(address, []).append(session)
        return list(obsolete.values())

    def remove(self, session: GxSession) -> None:
        if self._by_id.get(session.session_id) is session:
            del self._by_id[session.session_id]
        _drop(self._by_imsi, session.imsi, session)
        for address in self._addresses(session):
            _drop(self._by_address, address, session)

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
        return list(self._by_imsi.get(imsi, ()))

    def of_address(self, ipv4: ipaddress.IPv4Address | None, ipv6: ipaddress.IPv6Network | None) -> list[GxSession]:
        """Sessions whose user has this address, at any PCEF and APN (TS 29.213 clause 5.3, session binding)."""
        if ipv4 is not None:
            return list(self._by_address.get(ipv4, ()))
        if ipv6 is None:
            return []
        return list(self._by_address.get(ipv6, ())) or [
            session for session in self if session.ipv6 is not None and ipv6.subnet_of(session.ipv6)]

    def _obsolete(self, session: GxSession) -> Iterator[GxSession]:
        same = self._by_id.get(session.session_id)
        if same is not None:
            yield same
        for address in self._addresses(session):
            for holder in self._by_address.get(address, ()):
                if holder is not session and (holder.pcef_host, holder.apn) == (session.pcef_host, session.apn):
                    yield holder        # addresses are unique within one APN of one PCEF

    @staticmethod
    def _addresses(session: GxSession) -> list[object]:
        return [address for address in (session.ipv4, session.ipv6) if address is not None]


def _drop(index: dict[K, list[GxSession]], key: K, session: GxSession) -> None:
    held = index.get(key)
    if held is None:
        return
    if session in held:
        held.remove(session)
    if not held:
        del index[key]
