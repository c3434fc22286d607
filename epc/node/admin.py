"""The HTTP side of a node: metrics for Prometheus, health for containers, state and commands for ``epclab ctl``.

GET /metrics /healthz /readyz, GET /state and /state/VIEW, POST /command/NAME with a JSON object of arguments.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from epc.node.node import Node
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
        app = web.Application()
        app.add_routes([
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._health),
            web.get("/readyz", self._ready),
            web.get("/state", self._views),
            web.get("/state/{view}", self._view),
            web.post("/command/{command}", self._command),
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

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._node.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _health(self, _: web.Request) -> web.Response:
        return _json({"status": "alive", "node": self._node.config.name, "kind": self._node.kind})

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self._node.started_at is not None and self._node.is_ready()
        return _json({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    def _all_views(self) -> dict[str, Any]:
        node = self._node
        return {
            "tunnels": lambda: [{"label": end.label, **asdict(end)} for end in node.tunnels()],
            "procedures": lambda: node.runner.running,
            **node.views(),
        }

    async def _views(self, _: web.Request) -> web.Response:
        return _json({"views": sorted(self._all_views()), "commands": sorted(self._node.commands())})

    async def _view(self, request: web.Request) -> web.Response:
        views = self._all_views()
        view = views.get(request.match_info["view"])
        if view is None:
            return _json({"error": f"no view {request.match_info['view']!r}", "views": sorted(views)}, 404)
        return _json(view())

    async def _command(self, request: web.Request) -> web.Response:
        commands = self._node.commands()
        command = commands.get(request.match_info["command"])
        if command is None:
            return _json({"error": f"no command {request.match_info['command']!r}", "commands": sorted(commands)}, 404)
        try:
            arguments = orjson.loads(await request.read() or b"{}")
            if not isinstance(arguments, dict):
                raise ValueError("the body must be a JSON object")
            return _json({"result": await command(**{str(key): str(value) for key, value in arguments.items()})})
        except LookupError as error:
            return _json({"error": str(error.args[0] if error.args else error)}, 404)
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, 400)
