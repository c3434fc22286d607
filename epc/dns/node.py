"""The DNS server as a node: questions in, answers out of its zones or from those who know."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from epc.dns.config import DnsConfig
from epc.dns.zones import Found, Zones, parse_zone
from epc.node import Node, View
from epc.transport.dns import INTERFACE, DnsClient, DnsError, LengthPrefixed, parse
from epc.transport.interface import Address, ByteStream, DatagramPort, Listener, Transport
from epc.wire.errors import WireError

_HEADER_OCTETS = 12
_PLAIN_UDP_OCTETS = 512         # RFC 1035 clause 4.2.1, for those who offer no more (RFC 6891)
_MOST_FORWARDED = 1_000         # questions that wait for other servers; beyond these, SERVFAIL
_MOST_CONNECTIONS = 100


class Dns(Node[DnsConfig]):
    """Authoritative for its zones; a forwarder for the rest, for those who ask it to recurse."""

    kind = "dns"
    config_model = DnsConfig

    def __init__(
        self,
        config: DnsConfig,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.time,
        entropy: random.Random | None = None,
    ) -> None:
        super().__init__(config, transport, clock=clock, entropy=entropy)
        self.zones = Zones([parse_zone(zone.name, zone.records, zone.ttl_s) for zone in config.zones])
        local = config.forward_host or config.listen[0].host
        self._forwarders = {
            dns.name.from_text(forward.zone): DnsClient(
                transport, [server.address for server in forward.servers], observer=self.metrics, entropy=self.entropy, local=local,
                timeout_s=config.timeout_s, attempts=config.attempts)
            for forward in config.forward}
        self._ports: list[DatagramPort] = []
        self._listeners: list[Listener] = []
        self._streams: set[ByteStream] = set()
        self._forwarding: set[asyncio.Task[None]] = set()
        self._answers = self.metrics.counter("answers", "Answers by their RCODE", ("rcode",))

    # life

    async def start(self) -> None:
        for client in self._forwarders.values():
            await client.open()
        for endpoint in self.config.listen:
            self._ports.append(await self._open(endpoint.address))
            self._listeners.append(await self.transport.listen_tcp(endpoint.address, self._accept, interface=INTERFACE))

    async def _open(self, address: Address) -> DatagramPort:
        def receive(data: bytes, source: Address) -> None:
            self._serve(data, lambda octets: port.send(octets, source), limited=True)

        port = await self.transport.open_udp(address, receive, interface=INTERFACE)
        return port

    async def stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        for task in list(self._forwarding):
            task.cancel()
        for client in self._forwarders.values():
            client.close()
        for stream in list(self._streams):
            stream.close()
        for port in self._ports:
            port.close()
        self._listeners.clear()
        self._ports.clear()
        await self.runner.stop()

    def is_ready(self) -> bool:
        return bool(self._ports)

    # questions

    def _accept(self, stream: ByteStream) -> None:
        if len(self._streams) >= _MOST_CONNECTIONS:
            stream.close()
            return
        self._streams.add(stream)
        frames = LengthPrefixed()

        def answer(octets: bytes) -> None:
            if stream.is_open:
                stream.send(len(octets).to_bytes(2) + octets)

        def data(received: bytes) -> None:
            for frame in frames.feed(received):
                self._serve(frame, answer, limited=False)

        stream.on_data = data
        stream.on_closed = lambda reason: self._streams.discard(stream)

    def _serve(self, data: bytes, reply: Callable[[bytes], None], *, limited: bool) -> None:
        if len(data) < _HEADER_OCTETS or data[2] & 0x80:
            self.metrics.protocol_error(INTERFACE, "no query")         # an answer is never answered
            return
        try:
            query = parse(data)
        except WireError as error:
            self.metrics.protocol_error(INTERFACE, "malformed")
            self.log.info("dns.malformed", reason=str(error))
            self._answers.labels(rcode="FORMERR").inc()
            reply(data[:2] + bytes((0x80 | data[2] & 0x79, dns.rcode.FORMERR)) + bytes(8))
            return
        self.metrics.message_received(INTERFACE, "Query")
        if query.opcode() != dns.opcode.QUERY:
            self._reply(query, Found(rcode=dns.rcode.NOTIMP, is_authoritative=False), reply, limited)
            return
        if len(query.question) != 1:
            self._reply(query, Found(rcode=dns.rcode.FORMERR, is_authoritative=False), reply, limited)
            return
        question = query.question[0]
        if question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
            self._reply(query, Found(rcode=dns.rcode.REFUSED, is_authoritative=False), reply, limited)
            return
        found = self.zones.look_up(question.name, question.rdtype)
        if found is not None and (found.is_authoritative or not self._forwarder(question.name)):
            self._reply(query, found, reply, limited)
            return
        client = self._forwarder(question.name)
        if client is None or not query.flags & dns.flags.RD:
            self._reply(query, Found(rcode=dns.rcode.REFUSED, is_authoritative=False), reply, limited)
            return
        if len(self._forwarding) >= _MOST_FORWARDED:
            self._reply(query, Found(rcode=dns.rcode.SERVFAIL, is_authoritative=False), reply, limited)
            return
        task = asyncio.ensure_future(self._forward(client, query, reply, limited))
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)

    def _forwarder(self, name: dns.name.Name) -> DnsClient | None:
        while True:
            client = self._forwarders.get(name)
            if client is not None or name == dns.name.root:
                return client
            name = name.parent()

    async def _forward(self, client: DnsClient, query: dns.message.Message, reply: Callable[[bytes], None], limited: bool) -> None:
        question = query.question[0]
        try:
            answer = await client.ask(question.name, question.rdtype)
        except DnsError as error:
            self.log.info("dns.forward_failed", reason=str(error))
            found = Found(rcode=dns.rcode.SERVFAIL, is_authoritative=False)
        else:
            found = Found(rcode=answer.rcode, answer=list(answer.records), authority=list(answer.authority), is_authoritative=False)
        self._reply(query, found, reply, limited)

    def _reply(self, query: dns.message.Message, found: Found, reply: Callable[[bytes], None], limited: bool) -> None:
        answer = dns.message.make_response(query, recursion_available=bool(self._forwarders))
        answer.set_rcode(found.rcode)
        if found.is_authoritative:
            answer.flags |= dns.flags.AA
        answer.answer, answer.authority, answer.additional = found.answer, found.authority, found.additional
        most = max(_PLAIN_UDP_OCTETS, query.payload if query.edns >= 0 else 0) if limited else 65535
        self._answers.labels(rcode=dns.rcode.to_text(found.rcode)).inc()
        self.metrics.message_sent(INTERFACE, "Answer")
        try:
            octets = answer.to_wire(max_size=most)
        except dns.exception.TooBig:                    # the rest is had over TCP
            answer.answer, answer.authority, answer.additional = [], [], []
            answer.flags |= dns.flags.TC
            octets = answer.to_wire(max_size=most)
        reply(octets)

    # the operator

    def views(self) -> Mapping[str, View]:
        return {"zones": self._view_zones, "cache": self._view_cache}

    def _view_zones(self) -> object:
        return {zone.name: [line for line in parse_zone(zone.name, zone.records, zone.ttl_s).to_text(relativize=False).splitlines() if line]
                for zone in self.config.zones}

    def _view_cache(self) -> object:
        now = asyncio.get_running_loop().time()
        return [
            {"name": str(name), "type": dns.rdatatype.to_text(dns.rdatatype.RdataType(rdtype)), "rcode": dns.rcode.to_text(answer.rcode),
             "seconds_left": round(answer.expires_at - now, 1)}
            for client in self._forwarders.values() for (name, rdtype), answer in list(client.cache.items())[:1000] if answer.expires_at > now]
