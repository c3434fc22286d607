"""The Straightforward-NAPTR procedure: from a name and a service to hosts with addresses, best first (RFC 3958, TS 29.303 clauses 4.1 and 4.3)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import dns.rdatatype
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from epc.transport.dns import DnsClient, DnsError, NameUnknown
from epc.wire.fqdn import canonical_node_name, common_labels, is_topological

_MOST_STEPS = 5             # non-terminal records in a row


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that offers the service."""

    name: str               # host name of its interface
    addresses: tuple[str, ...]      # IP addresses, one after the other to be tried

    @property
    def node(self) -> str:
        """Its canonical node name."""
        return canonical_node_name(self.name)


@dataclass(frozen=True, slots=True)
class Service:
    """What is looked for: ``x-3gpp-pgw`` over one of ``protocols`` (``x-s5-gtp``)."""

    tag: str
    protocols: tuple[str, ...]

    def is_offered_by(self, field: str) -> bool:
        """``field`` is a NAPTR record's services, ``x-3gpp-pgw:x-s5-gtp:x-s8-gtp``; what follows a "+" is a finer distinction (clause 4.1.2)."""
        tag, *protocols = field.lower().split(":")
        return tag.partition("+")[0] == self.tag and any(protocol.partition("+")[0] in self.protocols for protocol in protocols)


async def candidates(resolver: DnsClient, name: str, service: Service, *, entropy: random.Random, ipv6: bool = False) -> list[Candidate]:
    """Every host for ``service`` under ``name``, in order of preference; empty when there is none. Raises :class:`DnsError`."""
    found: list[Candidate] = []
    trouble: DnsError | None = None
    for record in await _ordered(resolver, name, service, entropy):
        try:
            found += await _hosts(resolver, record, service, entropy, ipv6, _MOST_STEPS)
        except DnsError as error:
            trouble = error             # the next record may do
    if not found and trouble is not None and not isinstance(trouble, NameUnknown):
        raise trouble
    return list({candidate.name: candidate for candidate in reversed(found)}.values())[::-1]


async def host(resolver: DnsClient, name: str, *, ipv6: bool = False) -> Candidate | None:
    """A host by its own name. Raises :class:`DnsError`."""
    rdtype = dns.rdatatype.AAAA if ipv6 else dns.rdatatype.A
    addresses = tuple([rdata.to_text() for rdata in await resolver.records(name, rdtype)])
    return Candidate(name.rstrip(".").lower(), addresses) if addresses else None


def by_closeness(found: Sequence[Candidate], node: str) -> list[Candidate]:
    """Those that the operator marked as topological first, the closest to ``node`` before the others; else the order stays (clause 4.3.2)."""
    return sorted(found, key=lambda each: -common_labels(each.node, node) if is_topological(each.name) else 0)


async def _ordered(resolver: DnsClient, name: str, service: Service, entropy: random.Random) -> list[NAPTR]:
    """The fitting NAPTR records by order and preference, by chance among equals."""
    records = [
        record for record in await resolver.records(name, dns.rdatatype.NAPTR)
        if isinstance(record, NAPTR) and not record.regexp and service.is_offered_by(record.service.decode("ascii", "replace"))]
    entropy.shuffle(records)
    return sorted(records, key=lambda record: (record.order, record.preference))


async def _hosts(
    resolver: DnsClient, record: NAPTR, service: Service, entropy: random.Random, ipv6: bool, steps: int
) -> list[Candidate]:
    target = str(record.replacement)
    match record.flags.lower():
        case b"a":
            candidate = await host(resolver, target, ipv6=ipv6)
            return [] if candidate is None else [candidate]
        case b"s":
            records = [each for each in await resolver.records(target, dns.rdatatype.SRV) if isinstance(each, SRV)]
            found = [await host(resolver, str(each.target), ipv6=ipv6) for each in by_weight(records, entropy)]
            return [each for each in found if each is not None]
        case b"" if steps:
            return [candidate for each in await _ordered(resolver, target, service, entropy)
                    for candidate in await _hosts(resolver, each, service, entropy, ipv6, steps - 1)]
    return []


def by_weight(records: Sequence[SRV], entropy: random.Random) -> Iterator[SRV]:
    """SRV records by priority, among equals by chance according to their weight: RFC 2782; those without weight come after the others."""
    for _, group in groupby(sorted(records, key=lambda record: record.priority), key=lambda record: record.priority):
        left = list(group)
        while left:
            weights = [record.weight for record in left]
            chosen = entropy.choices(range(len(left)), weights if any(weights) else None)[0]
            yield left.pop(chosen)
