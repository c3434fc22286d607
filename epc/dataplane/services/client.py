"""What a phone's browser does: ask the phone's name server, connect, greet with TLS, fetch a page. Works on every :class:`IpHost`."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, ip_address
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import h11

from epc.dataplane.channel import TcpChannel
from epc.dataplane.ip_endpoint import IpHost
from epc.dataplane.services.dns import DNS_PORT
from epc.dataplane.tls import TlsChannel

RESOLVE_WITHIN_S = 1.0          # each question
QUESTIONS = 2                   # to each server
FETCH_WITHIN_S = 5.0
_REDIRECTS = (301, 302, 303, 307, 308)


class Failure(Enum):
    """Why nothing came back."""

    NO_RESOLVER = "no name server"              # the network told the phone none
    NO_SUCH_NAME = "no such name"               # NXDOMAIN, or a name without an IPv4 address
    NAME_SERVER = "name server fails"           # SERVFAIL, REFUSED and the like
    RESOLVER_SILENT = "name server silent"      # the question or its answer was lost or blocked
    TIMEOUT = "timeout"                         # no answer on the connection, or none to the SYN
    REFUSED = "refused"                         # nobody listens there
    BROKEN = "broken"                           # connection reset or closed in the middle
    TLS = "tls"                                 # handshake failed: certificate, or somebody between
    UNREACHABLE = "unreachable"                 # no route
    BAD_ANSWER = "bad answer"                   # not HTTP


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Iterate over its addresses; false when there are none, and then ``error`` says why."""

    name: str
    addresses: tuple[IPv4Address, ...] = ()
    error: Failure | None = None

    def __bool__(self) -> bool:
        return bool(self.addresses)

    def __iter__(self) -> Iterator[IPv4Address]:
        return iter(self.addresses)

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses)) if self.addresses else f"{self.name}: {self.error.value if self.error else 'no address'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A page, or why there is none: exactly one of ``status`` and ``error`` is there."""

    url: str                                        # the last one, after redirections
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)        # names in lower case
    body: bytes = b""                               # as far as it came, also with an error
    address: IPv4Address | None = None              # of the server; None: the name could not be resolved
    error: Failure | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def __str__(self) -> str:
        what = f"{self.status}, {len(self.body)} octets" if self.error is None else f"{self.error.value} ({self.detail})"
        return f"{self.url}: {what}"


async def resolve(
    host: IpHost, servers: Sequence[IPv4Address], name: str, *, timeout_s: float = RESOLVE_WITHIN_S, questions: int = QUESTIONS,
) -> Resolution:
    """Ask each of ``servers`` over UDP, like a phone's stub resolver, until one knows. Raises ``ValueError`` for what is no name."""
    try:
        query = dns.message.make_query(name, dns.rdatatype.A, id=secrets.randbits(16))
    except dns.exception.DNSException as wrong:
        raise ValueError(f"{name!r} is no host name: {wrong}") from None
    if not servers:
        return Resolution(name=name, error=Failure.NO_RESOLVER)
    error = Failure.RESOLVER_SILENT
    for _ in range(questions):
        for server in servers:
            response = await _ask(host, server, query, timeout_s)
            if response is None:
                continue
            if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                error = Failure.NAME_SERVER
                continue
            addresses = tuple(IPv4Address(data.address) for answer in response.answer if answer.rdtype == dns.rdatatype.A for data in answer)
            return Resolution(name=name, addresses=addresses, error=None if addresses else Failure.NO_SUCH_NAME)
    return Resolution(name=name, error=error)


async def _ask(host: IpHost, server: IPv4Address, query: dns.message.QueryMessage, timeout_s: float) -> dns.message.Message | None:
    answered: asyncio.Future[dns.message.Message] = asyncio.get_running_loop().create_future()

    def received(payload: bytes, source: str, port: int) -> None:
        if (source, port) != (str(server), DNS_PORT) or answered.done():
            return
        try:
            response = dns.message.from_wire(payload)
        except dns.exception.DNSException:
            return
        if query.is_response(response):
            answered.set_result(response)

    udp = await host.open_udp(received)
    try:
        udp.send(query.to_wire(), str(server), DNS_PORT)
        await asyncio.wait((answered,), timeout=timeout_s)
        return answered.result() if answered.done() else None
    finally:
        udp.close()


async def fetch(
    host: IpHost, servers: Sequence[IPv4Address], url: str, *, authorities: Sequence[str] = (), method: str = "GET", body: bytes = b"",
    timeout_s: float = FETCH_WITHIN_S, redirections: int = 3, address: IPv4Address | None = None,
) -> Fetched:
    """Fetch a page. ``authorities`` are the PEM certificates that the phone trusts. Raises ``ValueError`` for what is no http(s) URL.

    ``address`` is where the URL's host is, if the phone knows already: then no name server is asked.

    ``timeout_s`` bounds everything after the name is resolved, except that a long download may go on as long as octets come.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https URL")
    try:
        address = address or IPv4Address(parts.hostname)
    except ValueError:
        resolved = await resolve(host, servers, parts.hostname)
        if not resolved:
            assert resolved.error is not None
            return Fetched(url=url, error=resolved.error, detail=parts.hostname)
        address = resolved.addresses[0]
    visit = _Visit(url, parts.hostname, address, parts.port or (443 if parts.scheme == "https" else 80), parts.scheme == "https", timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fetched = await visit.fetch(host, authorities, method, target, parts.netloc.rpartition("@")[2], body)
    location = fetched.headers.get("location", "")
    if fetched.status in _REDIRECTS and location and redirections:
        if location.startswith("/"):
            location = f"{parts.scheme}://{parts.netloc}{location}"
        return await fetch(host, servers, location, authorities=authorities, timeout_s=timeout_s, redirections=redirections - 1)
    return fetched


class _Visit:
    """One request on a connection of its own."""

    def __init__(self, url: str, hostname: str, address: IPv4Address, port: int, is_ciphered: bool, timeout_s: float) -> None:
        self.url = url
        self.hostname = hostname
        self.address = address
        self.port = port
        self.is_ciphered = is_ciphered
        self.timeout_s = timeout_s
        self.received = bytearray()
        self._channel: TcpChannel | None = None
        self._has_ended = False

    async def fetch(self, host: IpHost, authorities: Sequence[str], method: str, target: str, authority: str, body: bytes) -> Fetched:
        try:
            channel = self._channel = await host.connect_tcp(str(self.address), self.port, timeout_s=self.timeout_s)
            if self.is_ciphered:
                async with asyncio.timeout(self.timeout_s):
                    channel = await TlsChannel.open(channel, _client_context(authorities), server_name=_server_name(self.hostname))
            response = await self._exchange(channel, method, target, authority, body)
        except TimeoutError:
            return self._failed(Failure.TIMEOUT, f"{self.address}:{self.port}, {self.timeout_s:g} s")
        except ConnectionRefusedError:
            return self._failed(Failure.REFUSED, f"{self.address}:{self.port}")
        except ssl.SSLError as error:
            return self._failed(Failure.TLS, error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason or str(error))
        except ConnectionError as error:
            return self._failed(Failure.BROKEN, str(error))
        except h11.RemoteProtocolError as error:
            return self._failed(Failure.BROKEN if self._has_ended else Failure.BAD_ANSWER, str(error))
        except OSError as error:
            return self._failed(Failure.UNREACHABLE, error.strerror or str(error))
        finally:
            if self._channel is not None:
                self._channel.close()
        headers = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in response.headers}
        return Fetched(url=self.url, status=response.status_code, headers=headers, body=bytes(self.received), address=self.address)

    async def _exchange(self, channel: TcpChannel, method: str, target: str, authority: str, body: bytes) -> h11.Response:
        machine = h11.Connection(h11.CLIENT)
        headers = [("Host", authority), ("User-Agent", "epclab"), ("Accept", "*/*"), ("Connection", "close")]
        if body:
            headers.append(("Content-Length", str(len(body))))
        octets = machine.send(h11.Request(method=method, target=target, headers=headers)) or b""
        if body:
            octets += machine.send(h11.Data(data=body)) or b""
        octets += machine.send(h11.EndOfMessage()) or b""
        async with asyncio.timeout(self.timeout_s + len(octets) / 10_000):
            await channel.send(octets)
        response: h11.Response | None = None
        while True:
            event = machine.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(self.timeout_s):
                    octets = await channel.receive()
                self._has_ended = not octets
                machine.receive_data(octets)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                self.received += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                return response
            elif not isinstance(event, h11.InformationalResponse):
                raise ConnectionResetError("the server closed the connection without an answer")

    def _failed(self, error: Failure, detail: str) -> Fetched:
        return Fetched(url=self.url, body=bytes(self.received), address=self.address, error=error, detail=detail)


def _client_context(authorities: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for pem in authorities:
        context.load_verify_locations(cadata=pem)
    return context


def _server_name(hostname: str) -> str:
    """Addresses are checked against the certificate too, but go out in no SNI: the standard library sees to both."""
    try:
        return str(ip_address(hostname))
    except ValueError:
        return hostname
