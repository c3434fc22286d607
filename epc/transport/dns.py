"""A resolver: asks name servers over UDP, over TCP what does not fit, and remembers answers for as long as they say (RFC 1035, RFC 2308)."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.IN.NAPTR import NAPTR

from epc.transport.interface import Address, ByteStream, DatagramPort, Transport
from epc.wire.errors import WireError

DNS_PORT = 53
INTERFACE = "DNS"
MOST_UDP_OCTETS = 1232          # offered by EDNS(0); no fragments on any path
_HEADER_OCTETS = 12
_MOST_CACHED = 10_000
_MOST_NEGATIVE_S = 300
_MOST_ALIASES = 8
_TRY_ANOTHER = frozenset({dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR})


class DnsError(Exception):
    """No server could be made to answer the question; the text says why."""


class DnsTimeout(DnsError):
    """No server answered."""


class NameUnknown(DnsError):
    """NXDOMAIN: the name does not exist."""


class DnsObserver(Protocol):
    def message_sent(self, interface: str, type: str) -> None: ...

    def message_received(self, interface: str, type: str) -> None: ...

    def retransmission(self, interface: str, type: str) -> None: ...

    def protocol_error(self, interface: str, cause: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsAnswer:
    """What the servers said: ``records`` are the RRsets of the answer, aliases included; ``authority`` the SOA of a negative one."""

    rcode: dns.rcode.Rcode
    records: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]
    received_at: float
    expires_at: float

    def aged(self, now: float) -> DnsAnswer:
        """The same with the times to live that are left."""
        passed = max(0, int(now - self.received_at))
        return self if not passed else DnsAnswer(
            rcode=self.rcode, records=tuple([_aged(each, passed) for each in self.records]),
            authority=tuple([_aged(each, passed) for each in self.authority]), received_at=self.received_at, expires_at=self.expires_at)


def parse(octets: bytes) -> dns.message.Message:
    """A message from octets; raises :class:`WireError`."""
    try:
        return dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, IndexError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"DNS: {type(error).__name__} {error}".rstrip()) from None


def describe(message: dns.message.Message) -> tuple[str, str]:
    """Name of the message and what it asks or answers, in one line."""
    question = message.question[0] if message.question else None
    asked = "" if question is None else f"{str(question.name).rstrip('.')} {dns.rdatatype.to_text(question.rdtype)}"
    if not message.flags & dns.flags.QR:
        return "DNS query", asked
    if message.rcode() != dns.rcode.NOERROR:
        return "DNS answer", f"{asked}: {dns.rcode.to_text(message.rcode())}"
    found = [_text(rdata) for rrset in message.answer for rdata in rrset]
    return "DNS answer", f"{asked}: {', '.join(found) or 'no such record'}"


def _text(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, NAPTR):
        return f"{rdata.order}/{rdata.preference} {_shown(rdata.flags)} {_shown(rdata.service)} {str(rdata.replacement).rstrip('.')}"
    return rdata.to_text().rstrip(".")


def _shown(octets: bytes) -> str:
    """Flags and services are ASCII letters; anybody may send others."""
    return octets.decode("ascii", "backslashreplace")


class LengthPrefixed:
    """Messages in a TCP stream: RFC 1035 clause 4.2.2."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._data += data
        found = []
        while len(self._data) >= 2:
            length = int.from_bytes(self._data[:2])
            if len(self._data) < 2 + length:
                break
            found.append(self._data[2:2 + length])
            self._data = self._data[2 + length:]
        return found


class DnsClient:
    """Asks ``servers`` in their order, each once in every round of ``attempts``, and waits ``timeout_s`` for each.

    Call :meth:`open` first. Names are absolute, with or without the last dot.
    """

    def __init__(
        self, transport: Transport, servers: Sequence[Address], *, observer: DnsObserver, entropy: random.Random, local: str | None = None,
        timeout_s: float = 1.0, attempts: int = 2,
    ) -> None:
        self._transport = transport
        self._servers = tuple(servers)
        self._observer = observer
        self._entropy = entropy
        self._local = Address(local or ("::" if servers and ":" in servers[0].host else "0.0.0.0"), 0)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._port: DatagramPort | None = None
        self._waiting: dict[tuple[int, Address], tuple[dns.message.Message, asyncio.Future[dns.message.Message]]] = {}
        self._asking: dict[tuple[dns.name.Name, int], asyncio.Task[DnsAnswer]] = {}
        self.cache: OrderedDict[tuple[dns.name.Name, int], DnsAnswer] = OrderedDict()

    async def open(self) -> None:
        self._port = await self._transport.open_udp(self._local, self._received, interface=INTERFACE)

    def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None

    async def records(self, name: str, rdtype: dns.rdatatype.RdataType) -> tuple[dns.rdata.Rdata, ...]:
        """Every record of that type, aliases followed; none when the name has others only. Raises :class:`DnsError`."""
        wanted = dns.name.from_text(name)
        for _ in range(_MOST_ALIASES):
            answer = await self.ask(wanted, rdtype)
            if answer.rcode == dns.rcode.NXDOMAIN:
                raise NameUnknown(f"{name} does not exist")
            sets = {(each.name, each.rdtype): each for each in answer.records}
            alias = wanted
            while (alias, rdtype) not in sets and (alias, dns.rdatatype.CNAME) in sets:
                wanted, alias = alias, sets[alias, dns.rdatatype.CNAME][0].target
                del sets[wanted, dns.rdatatype.CNAME]
            if (alias, rdtype) in sets:
                return tuple(sets[alias, rdtype])
            if alias == wanted:
                return ()
            wanted = alias
        raise DnsError(f"{name}: too many aliases")

    async def ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> DnsAnswer:
        """The servers' answer, from memory while it is valid; NXDOMAIN is an answer. Raises :class:`DnsError` when none can be had."""
        key = (name, int(rdtype))
        now = asyncio.get_running_loop().time()
        known = self.cache.get(key)
        if known is not None and known.expires_at > now:
            self.cache.move_to_end(key)
            return known.aged(now)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._ask(name, rdtype))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> DnsAnswer:
        trouble: DnsError = DnsError(f"{name}: no name server is configured")
        for attempt in range(self._attempts):
            for server in self._servers:
                if attempt:
                    self._observer.retransmission(INTERFACE, "Query")
                try:
                    message = await self._exchange(server, name, rdtype)
                except TimeoutError:
                    trouble = DnsTimeout(f"{name}: no answer from {server}")
                    continue
                except (ConnectionError, WireError) as error:
                    trouble = DnsError(f"{name}: {server}: {error}")
                    continue
                if message.rcode() in _TRY_ANOTHER:
                    trouble = DnsError(f"{name}: {server} says {dns.rcode.to_text(message.rcode())}")
                    continue
                return self._remember(name, rdtype, message)
            if not isinstance(trouble, DnsTimeout):
                break           # they have answered: asking the same again changes nothing
        self._observer.protocol_error(INTERFACE, "no answer" if isinstance(trouble, DnsTimeout) else "refused")
        raise trouble

    async def _exchange(self, server: Address, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        if self._port is None:
            raise ConnectionError("the resolver is closed")
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=MOST_UDP_OCTETS, id=self._new_id(server))
        octets = query.to_wire()
        future: asyncio.Future[dns.message.Message] = asyncio.get_running_loop().create_future()
        self._waiting[query.id, server] = (query, future)
        try:
            self._observer.message_sent(INTERFACE, "Query")
            self._port.send(octets, server)
            async with asyncio.timeout(self._timeout_s):
                answer = await future
            if answer.flags & dns.flags.TC:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._over_tcp(server, query, octets)
        finally:
            self._waiting.pop((query.id, server), None)
        return answer

    async def _over_tcp(self, server: Address, query: dns.message.Message, octets: bytes) -> dns.message.Message:
        local = None if self._local.host in ("0.0.0.0", "::") else self._local
        stream: ByteStream = await self._transport.connect_tcp(server, local=local, interface=INTERFACE, timeout_s=self._timeout_s)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        frames = LengthPrefixed()

        def data(received: bytes) -> None:
            for frame in frames.feed(received):
                if not future.done():
                    future.set_result(frame)

        def closed(reason: str) -> None:
            if not future.done():
                future.set_exception(ConnectionError(reason))

        stream.on_data, stream.on_closed = data, closed
        try:
            self._observer.message_sent(INTERFACE, "Query")
            stream.send(len(octets).to_bytes(2) + octets)
            answer = parse(await future)
        finally:
            if stream.is_open:
                stream.close()
        self._observer.message_received(INTERFACE, "Answer")
        if not query.is_response(answer):
            raise WireError("DNS: an answer to another question")
        return answer

    def _new_id(self, server: Address) -> int:
        while True:
            number = self._entropy.getrandbits(16)
            if (number, server) not in self._waiting:
                return number

    def _received(self, data: bytes, source: Address) -> None:
        waiting = self._waiting.get((int.from_bytes(data[:2]), source)) if len(data) >= _HEADER_OCTETS else None
        if waiting is None:
            self._observer.protocol_error(INTERFACE, "unexpected message")
            return
        query, future = waiting
        try:
            answer = parse(data)
        except WireError:
            self._observer.protocol_error(INTERFACE, "malformed")
            return                      # a good one may still come
        self._observer.message_received(INTERFACE, "Answer")
        if not query.is_response(answer):
            self._observer.protocol_error(INTERFACE, "answer to another question")
        elif not future.done():
            future.set_result(answer)

    def _remember(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, message: dns.message.Message) -> DnsAnswer:
        now = asyncio.get_running_loop().time()
        records = tuple(message.answer)
        authority = tuple([each for each in message.authority if each.rdtype == dns.rdatatype.SOA])
        if records and message.rcode() == dns.rcode.NOERROR:
            lifetime = min(each.ttl for each in records)
        else:
            lifetime = min([_MOST_NEGATIVE_S, *(min(each.ttl, each[0].minimum) for each in authority)]) if authority else 0
        answer = DnsAnswer(rcode=message.rcode(), records=records, authority=authority, received_at=now, expires_at=now + lifetime)
        if lifetime:
            self.cache[name, int(rdtype)] = answer
            while len(self.cache) > _MOST_CACHED:
                self.cache.popitem(last=False)
        return answer


def _aged(rrset: dns.rrset.RRset, passed: int) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(rrset.name, max(0, rrset.ttl - passed), list(rrset))
