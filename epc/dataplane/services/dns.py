"""A name server: the names of the configuration and no others (RFC 1034, RFC 1035; wildcards RFC 4592)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from epc.dataplane.channel import TcpChannel, TcpListener
from epc.dataplane.ip_endpoint import IpHost, UdpSocket

DNS_PORT = 53
TCP_IDLE_S = 30.0
MAX_UDP_OCTETS = 512            # RFC 1035 clause 4.2.1, for clients that offer no more
MAX_FORWARDED = 1024            # questions under way; older ones are forgotten
MAX_EDNS_OCTETS = 1232          # what fits in any path (DNS flag day 2020)


Reply = Callable[[bytes], None]


def is_unknown(response: bytes) -> bool:
    return response[3] & 15 == int(dns.rcode.NXDOMAIN)


class NameServer:
    """Answers from ``names``: host name, or "*.domain" for every name below it that is not there itself."""

    def __init__(self, names: Mapping[str, Sequence[IPv4Address]], *, ttl_s: int = 60, forward_to: Sequence[IPv4Address] = ()) -> None:
        """``forward_to`` are asked for the names that are not ours."""
        self._names = {dns.name.from_text(name): tuple(map(str, addresses)) for name, addresses in names.items()}
        self._ttl_s = ttl_s
        self._forward_to = tuple(map(str, forward_to))
        self._forwarded: dict[int, tuple[bytes, Reply]] = {}        # by identifier on the way on: the client's, and how to answer it
        self._next_identifier = secrets.randbits(16)
        self.queries = 0
        self.unknown_names = 0
        self._udp: UdpSocket | None = None
        self._tcp: TcpListener | None = None
        self._upstream: UdpSocket | None = None

    def answer(self, octets: bytes, *, max_octets: int | None = None) -> bytes | None:
        """The response to one query; ``None`` for what is no query at all. Longer ones than ``max_octets`` are truncated, and say so."""
        try:
            query = dns.message.from_wire(octets)
        except dns.exception.DNSException:
            if len(octets) < 12 or octets[2] & 0x80:
                return None
            return octets[:2] + bytes((0x80 | octets[2] & 0x79, int(dns.rcode.FORMERR))) + bytes(8)
        if query.flags & dns.flags.QR:
            return None
        self.queries += 1
        response = dns.message.make_response(query, recursion_available=True, our_payload=MAX_EDNS_OCTETS)
        if query.opcode() != 0 or len(query.question) != 1:
            response.set_rcode(dns.rcode.NOTIMP if query.opcode() else dns.rcode.FORMERR)
            return response.to_wire()
        response.flags |= dns.flags.AA
        question = query.question[0]
        addresses = self._lookup(question.name)
        if addresses is None:
            self.unknown_names += 1
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif addresses and question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
            response.answer.append(dns.rrset.from_text(question.name, self._ttl_s, "IN", "A", *addresses))
        wire = response.to_wire(max_size=65535)
        limit = max_octets and max(max_octets, min(query.payload or 0, MAX_EDNS_OCTETS) if query.edns >= 0 else 0)
        if limit and len(wire) > limit:
            response.answer.clear()
            response.flags |= dns.flags.TC
            wire = response.to_wire()
        return wire

    async def serve(self, host: IpHost) -> None:
        """On UDP and TCP port 53 of ``host`` until :meth:`close`. Raises ``OSError``."""
        def received(payload: bytes, source: str, port: int) -> None:
            response = self.answer(payload, max_octets=MAX_UDP_OCTETS)
            if response is not None and self._udp is not None:
                if self._forward_to and is_unknown(response):
                    self._forward(payload, partial(self._udp.send, destination=source, port=port))
                else:
                    self._udp.send(response, source, port)

        self._udp = await host.open_udp(received, port=DNS_PORT)
        if self._forward_to:
            self._upstream = await host.open_udp(self._came_back)
        self._tcp = await host.listen_tcp(DNS_PORT, self._converse)

    def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        if self._upstream is not None:
            self._upstream.close()

    def _forward(self, query: bytes, reply: Reply) -> None:
        """Ask further up; the client repeats its question if nothing comes, and then another server has its turn."""
        if self._upstream is None:
            return
        identifier = self._next_identifier = (self._next_identifier + 1) & 0xFFFF
        while len(self._forwarded) >= MAX_FORWARDED:
            del self._forwarded[next(iter(self._forwarded))]
        self._forwarded[identifier] = (query[:2], reply)
        self._upstream.send(identifier.to_bytes(2) + query[2:], self._forward_to[identifier % len(self._forward_to)], DNS_PORT)

    def _came_back(self, response: bytes, source: str, port: int) -> None:
        if len(response) < 12 or port != DNS_PORT or source not in self._forward_to:
            return
        asked = self._forwarded.pop(int.from_bytes(response[:2]), None)
        if asked is not None:
            identifier, reply = asked
            reply(identifier + response[2:])

    def _lookup(self, name: dns.name.Name) -> tuple[str, ...] | None:
        """Addresses; none for a name that exists without (RFC 4592: also as the end of a longer one); ``None``: there is no such name."""
        if name in self._names:
            return self._names[name]
        if any(known.is_subdomain(name) for known in self._names if not known.is_wild()):
            return ()
        above = name
        while above != dns.name.root:
            above = above.parent()
            wild = self._names.get(dns.name.Name(("*", *above.labels)))
            if wild is not None:
                return wild
            if above in self._names:
                break           # the closest encloser exists and has no wildcard below it
        return None

    async def _converse(self, channel: TcpChannel) -> None:
        try:
            await self._answer_all(channel)
        except TimeoutError:
            channel.abort()             # the client has nothing more to ask, or its answer does not come

    async def _answer_all(self, channel: TcpChannel) -> None:
        octets = b""
        async with asyncio.timeout(TCP_IDLE_S):
            while chunk := await channel.receive():
                octets += chunk
                while len(octets) >= 2 and len(octets) >= 2 + int.from_bytes(octets[:2]):
                    end = 2 + int.from_bytes(octets[:2])
                    query, octets = octets[2:end], octets[end:]
                    response = self.answer(query)
                    if response is not None and self._forward_to and is_unknown(response):
                        response = await self._forwarded_answer(query)
                    if response is not None:
                        await channel.send(len(response).to_bytes(2) + response)

    async def _forwarded_answer(self, query: bytes) -> bytes:
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def reply(response: bytes) -> None:
            if not answered.done():
                answered.set_result(response)

        self._forward(query, reply)
        return await answered
