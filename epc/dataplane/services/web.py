"""Web servers for scenarios: HTTP and HTTPS for any number of host names (RFC 9112; server name indication RFC 6066 clause 3)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import h11

from epc.dataplane.channel import TcpChannel, TcpListener
from epc.dataplane.ip_endpoint import IpHost
from epc.dataplane.services.certificates import CertificateAuthority
from epc.dataplane.tls import TlsChannel

HTTP_PORT, HTTPS_PORT = 80, 443
IDLE_S = 60.0
CHUNK_OCTETS = 16384
MAX_OCTETS = 1 << 34            # of one download
VOLUME = "/octets/"
_ANY_NAME = "localhost"         # certificate for clients that name nobody and reach us at no address we know


class WebServer:
    """``sites``: host name (or "*.domain") to the text of its pages; any other name gets a page that says where one is.

    ``/octets/N`` is N octets long, at every site; a request with a body is told its length.
    """

    def __init__(
        self, name: str, sites: Mapping[str, str], *, http_port: int | None = HTTP_PORT, https_port: int | None = HTTPS_PORT,
    ) -> None:
        self.authority = CertificateAuthority(name)
        self.requests: dict[str, int] = {}          # by host name
        self._sites = {site.lower().rstrip("."): text for site, text in sites.items()}
        self._http_port = http_port
        self._https_port = https_port
        self._listeners: list[TcpListener] = []

    async def serve(self, host: IpHost) -> None:
        """At every address of ``host`` until :meth:`close`. Raises ``OSError``."""
        if self._http_port is not None:
            self._listeners.append(await host.listen_tcp(self._http_port, lambda channel: self._converse(channel, "http")))
        if self._https_port is not None:
            self._listeners.append(await host.listen_tcp(self._https_port, self._converse_ciphered))

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def page(self, scheme: str, host: str, path: str, client: str) -> str:
        name = host.lower()
        text = self._sites.get(name)
        while text is None and "." in name:
            name = name.split(".", 1)[1]
            text = self._sites.get(f"*.{name}")
        return text if text is not None else f"{scheme}://{host}{path} for {client}\n"

    async def _converse_ciphered(self, channel: TcpChannel) -> None:
        context = self.authority.context_for(channel.local or _ANY_NAME)        # for clients without SNI
        context.sni_callback = self._named
        try:
            async with asyncio.timeout(IDLE_S):
                ciphered = await TlsChannel.open(channel, context, server_side=True)
        except (ssl.SSLError, TimeoutError):
            channel.abort()
            return
        await self._converse(ciphered, "https")

    def _named(self, machine: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> int | None:
        if server_name:
            try:
                machine.context = self.authority.context_for(server_name)
            except ValueError:
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        return None

    async def _converse(self, channel: TcpChannel, scheme: str) -> None:
        machine = h11.Connection(h11.SERVER)
        try:
            while True:
                request, received = await self._request(channel, machine)
                if request is None:
                    return
                await self._respond(channel, machine, scheme, request, received)
                if machine.our_state is not h11.DONE or machine.their_state is not h11.DONE:
                    return
                machine.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if machine.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                response = h11.Response(status_code=error.error_status_hint, headers=[("Connection", "close"), ("Content-Length", "0")])
                await channel.send((machine.send(response) or b"") + (machine.send(h11.EndOfMessage()) or b""))
        except TimeoutError:
            pass
        finally:
            channel.close()

    async def _request(self, channel: TcpChannel, machine: h11.Connection) -> tuple[h11.Request | None, int]:
        """The request and how long its body was; ``None``: the client has left."""
        request: h11.Request | None = None
        received = 0
        while True:
            event = machine.next_event()
            if event is h11.NEED_DATA:
                if machine.they_are_waiting_for_100_continue:
                    await channel.send(machine.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                async with asyncio.timeout(IDLE_S):
                    machine.receive_data(await channel.receive())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                received += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return request, received
            else:
                return None, 0

    async def _respond(self, channel: TcpChannel, machine: h11.Connection, scheme: str, request: h11.Request, received: int) -> None:
        headers = {bytes(name): bytes(value) for name, value in request.headers}
        host = headers.get(b"host", channel.local.encode()).decode("ascii", "replace").rsplit(":", 1)[0]
        path = request.target.decode("ascii", "replace")
        self.requests[host.lower()] = self.requests.get(host.lower(), 0) + 1
        octets: bytes | None = None
        if path.startswith(VOLUME):
            wanted = path.removeprefix(VOLUME)
            status, length = (200, int(wanted)) if wanted.isascii() and wanted.isdigit() and len(wanted) < 12 else (404, 0)
            if length > MAX_OCTETS:
                status, length = 404, 0
        else:
            octets = (f"{received} octets received\n" if received else self.page(scheme, host, path, channel.remote)).encode()
            status, length = 200, len(octets)
        response = h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=[
            ("Content-Type", "text/plain; charset=utf-8" if octets is not None else "application/octet-stream"),
            ("Content-Length", str(length)), ("Server", "epclab")])
        await channel.send(machine.send(response) or b"")
        if request.method != b"HEAD":
            for part in (octets,) if octets is not None else _volume(length):
                await channel.send(machine.send(h11.Data(data=part)) or b"")
        ending = machine.send(h11.EndOfMessage())
        if ending:
            await channel.send(ending)


_PATTERN = bytes(range(256)) * (CHUNK_OCTETS // 256)


def _volume(octets: int) -> Iterator[bytes]:
    while octets > 0:
        yield _PATTERN[:octets]
        octets -= CHUNK_OCTETS
