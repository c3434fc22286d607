"""The HTTP side of a node: metrics for Prometheus, health for containers, state and commands for ``epclab ctl``.

GET /metrics /healthz /readyz, GET /state and /state/VIEW, POST /command/NAME with a JSON object of arguments, and what a node adds.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from epc.node.config import ImpairmentConfig
from epc.node.node import Command, Node
from epc.node.state import configured_timers, describe_impairments
from epc.transport.impairment import same_packets
from epc.transport.interface import Address


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS), status=status, content_type="application/json")


class AdminServer:
    def __init__(self, node: Node[Any]) -> None:
        self._node = node
        self._runner: web.AppRunner | None = None
        self.address: Address | None = None

    async def start(self) -> None:
        config = self._node.config.admin
        if not config.enabled:
            return
        app = web.Application(middlewares=[self._once_started])
        app.add_routes([
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._health),
            web.get("/readyz", self._ready),
            web.get("/state", self._views),
            web.get("/state/{view}", self._view),
            web.post("/command/{command}", self._command),
            *self._node.http_routes(),
        ])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, config.host, config.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host, port)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _once_started(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """State and metrics are there when the node has started; until then only its health can be asked for."""
        if self._node.started_at is None and request.path not in ("/healthz", "/readyz"):
            return _json({"error": f"{self._node.config.name} is still starting"}, 503)
        return await handler(request)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._node.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _health(self, _: web.Request) -> web.Response:
        return _json({"status": "alive", "node": self._node.config.name, "kind": self._node.kind})

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self._node.started_at is not None and self._node.is_ready()
        return _json({"status": "ready" if ready else "not ready", "pid": os.getpid()}, 200 if ready else 503)

    def _all_views(self) -> dict[str, Any]:
        node = self._node
        return {
            "tunnels": lambda: [{"label": end.label, **asdict(end)} for end in node.tunnels()],
            "session_ends": lambda: list(map(asdict, node.session_ends())),
            "procedures": lambda: node.runner.running,
            "associations": lambda: list(map(asdict, node.associated_peers())),
            "timers": lambda: configured_timers(node.config),
            "impairments": lambda: describe_impairments(node.transport.impairments),
            **node.views(),
        }

    def _all_commands(self) -> dict[str, Command]:
        return {"impair": self._impair, "repair": self._repair, **self._node.commands()}

    async def _impair(
        self, peer: str = "", interface: str = "", delay_ms: str = "0", jitter_ms: str = "0", loss: str = "0", duplicate: str = "0",
        reorder: str = "0", incoming: str = "no",
    ) -> object:
        """From now on packets to ``peer`` (addresses, with commas; any) on ``interface`` (any) meet such a link; goes before what was there."""
        asked: dict[str, object] = {
            "delay_ms": delay_ms, "jitter_ms": jitter_ms, "loss": loss, "duplicate": duplicate, "reorder": reorder, "incoming": incoming}
        try:
            config = ImpairmentConfig.model_validate({**asked, "peers": peer.split(",") if peer else [], "interface": interface or None})
        except ValidationError as error:
            detail = error.errors()[0]
            raise ValueError(f"{detail['loc'][0]}: {detail['msg'].removeprefix('Value error, ')}, not {detail['input']!r}") from None
        impairments = self._node.transport.impairments
        new = config.impairment
        impairments.replace((new, *(each for each in impairments.rules if not same_packets(each, new))))
        return describe_impairments(impairments)

    async def _repair(self) -> object:
        """Every link of this node is good again."""
        self._node.transport.impairments.replace(())
        return []

    async def _views(self, _: web.Request) -> web.Response:
        commands = {name: _usage(command) for name, command in sorted(self._all_commands().items())}
        return _json({"views": sorted(self._all_views()), "commands": commands})

    async def _view(self, request: web.Request) -> web.Response:
        views = self._all_views()
        view = views.get(request.match_info["view"])
        if view is None:
            return _json({"error": f"no view {request.match_info['view']!r}", "views": sorted(views)}, 404)
        return _json(view())

    async def _command(self, request: web.Request) -> web.Response:
        commands = self._all_commands()
        command = commands.get(request.match_info["command"])
        if command is None:
            return _json({"error": f"no command {request.match_info['command']!r}", "commands": sorted(commands)}, 404)
        try:
            given = orjson.loads(await request.read() or b"{}")
        except ValueError as error:
            return _json({"error": f"the body must be JSON: {error}"}, 400)
        if not isinstance(given, dict):
            return _json({"error": "the body must be a JSON object"}, 400)
        arguments = {str(key): str(value) for key, value in given.items()}
        try:
            inspect.signature(command).bind(**arguments)
        except TypeError as error:
            name = request.match_info["command"]
            return _json({"error": f"{error}; usage: {' '.join([name, *_usage(command)])}"}, 400)
        try:
            return _json({"result": await command(**arguments)})
        except LookupError as error:
            return _json({"error": str(error.args[0] if error.args else error)}, 404)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        except OSError as error:
            return _json({"error": str(error) or type(error).__name__}, 502)


def _usage(command: Command) -> list[str]:
    """The arguments of a command as ``epclab ctl`` takes them; those in brackets may be left out."""
    parameters = inspect.signature(command).parameters.values()
    return [f"{each.name}=" if each.default is each.empty else f"[{each.name}={each.default}]" for each in parameters]
