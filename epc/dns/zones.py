"""Zones and what they say to a question: RFC 1034 clause 4.3.2."""

from __future__ import annotations

from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.node
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone

_MOST_ALIASES = 8
_CLASS = dns.rdataclass.IN


@dataclass(slots=True)
class Found:
    """The sections of an answer."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)
    is_authoritative: bool = True


def parse_zone(origin: str, records: str, ttl_s: int) -> dns.zone.Zone:
    """A zone from the lines of a master file; an SOA is made up where there is none. Raises ``ValueError``."""
    name = dns.name.from_text(origin)
    try:
        zone = dns.zone.from_text(f"$TTL {ttl_s}\n{records}", origin=name, relativize=False, check_origin=False)
        if zone.get_rdataset(name, dns.rdatatype.SOA) is None:
            zone.replace_rdataset(name, dns.rdataset.from_text(
                _CLASS, dns.rdatatype.SOA, ttl_s, f"ns.{name} hostmaster.{name} 1 3600 600 86400 {ttl_s}"))
    except dns.exception.DNSException as error:
        raise ValueError(f"zone {origin}: {str(error) or type(error).__name__}") from None
    return zone


class Zones:
    """The zones that a server is the authority for."""

    def __init__(self, zones: list[dns.zone.Zone]) -> None:
        self._zones = {_origin(zone): zone for zone in zones}
        self._existing: set[dns.name.Name] = set()          # every name, also those that only longer ones make exist
        for origin, zone in self._zones.items():
            for name in zone.nodes:
                assert isinstance(name, dns.name.Name)
                while name != origin and name not in self._existing:
                    self._existing.add(name)
                    name = name.parent()
            self._existing.add(origin)

    def zone_of(self, name: dns.name.Name) -> dns.zone.Zone | None:
        """The closest one that ``name`` lies in."""
        while True:
            zone = self._zones.get(name)
            if zone is not None or name == dns.name.root:
                return zone
            name = name.parent()

    def look_up(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Found | None:
        """``None``: the name is in no zone of ours."""
        zone = self.zone_of(name)
        if zone is None:
            return None
        found = Found()
        for _ in range(_MOST_ALIASES):
            cut = self._cut_above(zone, name)
            if cut is not None:                             # another server's: say whose
                found.authority.append(cut)
                self._add_addresses(found, cut)
                found.is_authoritative = bool(found.answer)
                return found
            node, exists = self._node(zone, name)
            if node is None:
                found.rcode = dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN
                found.authority.append(_rrset(_origin(zone), zone.get_rdataset(_origin(zone), dns.rdatatype.SOA)))
                return found
            matching = [each for each in node.rdatasets if each.rdtype == rdtype or rdtype == dns.rdatatype.ANY]
            alias = node.get_rdataset(_CLASS, dns.rdatatype.CNAME)
            if matching or alias is None:
                found.answer += [_rrset(name, each) for each in matching]
                if not matching:
                    found.authority.append(_rrset(_origin(zone), zone.get_rdataset(_origin(zone), dns.rdatatype.SOA)))
                for rrset in list(found.answer):
                    self._add_addresses(found, rrset)
                return found
            found.answer.append(_rrset(name, alias))
            name = alias[0].target
            other = self.zone_of(name)
            if other is None:
                return found                                # the resolver goes on from there
            zone = other
        return found

    def _node(self, zone: dns.zone.Zone, name: dns.name.Name) -> tuple[dns.node.Node | None, bool]:
        """The node, or that of the wildcard that covers it; whether the name exists at all, if only as the end of longer ones."""
        node = zone.get_node(name)
        if node is not None and node.rdatasets:
            return node, True
        if name in self._existing:
            return None, True
        closest = name.parent()
        while closest not in self._existing:
            closest = closest.parent()
        wildcard = zone.get_node(dns.name.Name((b"*", *closest.labels)))
        return wildcard, wildcard is not None

    @staticmethod
    def _cut_above(zone: dns.zone.Zone, name: dns.name.Name) -> dns.rrset.RRset | None:
        while name != zone.origin:
            servers = zone.get_rdataset(name, dns.rdatatype.NS)
            if servers is not None:
                return _rrset(name, servers)
            name = name.parent()
        return None

    def _add_addresses(self, found: Found, rrset: dns.rrset.RRset) -> None:
        """What the asker will want to know next: RFC 1034 clause 4.3.2 step 6."""
        for rdata in rrset:
            target = getattr(rdata, "target", None) or getattr(rdata, "replacement", None)
            zone = None if target is None or target == dns.name.root else self.zone_of(target)
            if zone is None or target is None:
                continue
            for rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                addresses = zone.get_rdataset(target, rdtype)
                if addresses is not None and not any((each.name, each.rdtype) == (target, rdtype) for each in (*found.additional, *found.answer)):
                    found.additional.append(_rrset(target, addresses))


def _origin(zone: dns.zone.Zone) -> dns.name.Name:
    assert zone.origin is not None
    return zone.origin


def _rrset(name: dns.name.Name, rdataset: dns.rdataset.Rdataset | None) -> dns.rrset.RRset:
    assert rdataset is not None
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
