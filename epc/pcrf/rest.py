"""REST on the admin HTTP server: rules, policies and usage. What changes is stored, and pushed to the sessions that it concerns.

========================================  =====================================================================================
``GET /pcc``                              the whole book: rules, policies, others
``PUT /pcc``                              add or change all that is in the body; ``?prune=1``: and remove what is not in it
``GET /pcc/rules``, ``/pcc/policies``     what there is, by name
``GET /pcc/rules/NAME``                   one definition; 404 when there is none
``PUT /pcc/rules/NAME``                   add (201) or change (200) it; 400 with ``problems`` when the definition is wrong
``DELETE /pcc/rules/NAME``                remove it; 409 when a policy uses it
``.../pcc/policies/NAME``                 likewise
``POST /pcc/push``                        decide anew for every session (``?imsi=``: for one subscriber's), push what differs
``GET /pcc/usage/IMSI``                   what a subscriber has used of each monitoring key
``DELETE /pcc/usage/IMSI``                begin to count anew (``?key=``: only this one)
========================================  =====================================================================================

A change is answered with ``{"sessions": 7, "changed": 2, "failed": 0}``: how many sessions there are, how many were pushed to, and how many
of these could not be. An error is ``{"error": "...", "problems": [{"key": "qci", "problem": "..."}]}``; the keys are those of the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from epc.node import ConfigError
from epc.node.database import StoreError
from epc.pcrf.editing import InUse, applied, with_policy, with_rule, without_policy, without_rule
from epc.pcrf.pcc import Policy, PolicyBook, Rule
from epc.pcrf.store import Edit, plain

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(pcrf: Pcrf) -> Iterable[web.AbstractRouteDef]:
    resource = PccResource(pcrf)
    return [
        web.get("/pcc", _told(resource.book)),
        web.put("/pcc", _told(resource.put_book)),
        web.get("/pcc/{kind:rules|policies}", _told(resource.all)),
        web.get("/pcc/{kind:rules|policies}/{name}", _told(resource.one)),
        web.put("/pcc/{kind:rules|policies}/{name}", _told(resource.put)),
        web.delete("/pcc/{kind:rules|policies}/{name}", _told(resource.remove)),
        web.post("/pcc/push", _told(resource.push)),
        web.get("/pcc/usage/{imsi}", _told(resource.usage)),
        web.delete("/pcc/usage/{imsi}", _told(resource.forget_usage)),
    ]


class PccResource:
    def __init__(self, pcrf: Pcrf) -> None:
        self._pcrf = pcrf

    async def book(self, _: web.Request) -> web.Response:
        return _json(shown(self._pcrf.policies.book))

    async def put_book(self, request: web.Request) -> web.Response:
        data = await _body(request)
        prune = request.query.get("prune", "") in ("1", "true", "yes")
        return _json(await self._pcrf.change_policies(lambda book: applied(book, data, prune=prune)))

    async def all(self, request: web.Request) -> web.Response:
        return _json(_definitions(self._pcrf.policies.book, request.match_info["kind"]))

    async def one(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        definitions = _definitions(self._pcrf.policies.book, kind)
        if name not in definitions:
            raise LookupError(f"no {_SINGULAR[kind]} {name}; there are {', '.join(definitions) or 'none'}")
        return _json(definitions[name])

    async def put(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        data = await _body(request)
        edit = with_rule if kind == "rules" else with_policy
        is_new = False

        def change(book: PolicyBook) -> PolicyBook:
            nonlocal is_new
            is_new = name not in _definitions(book, kind)
            return edit(book, name, data)

        return _json(await self._pcrf.change_policies(change), 201 if is_new else 200)

    async def remove(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        edit: Edit = (lambda book: without_rule(book, name)) if kind == "rules" else (lambda book: without_policy(book, name))
        return _json(await self._pcrf.change_policies(edit))

    async def push(self, request: web.Request) -> web.Response:
        return _json(await self._pcrf.push_decisions(request.query.get("imsi", "")))

    async def usage(self, request: web.Request) -> web.Response:
        return _json(await self._pcrf.usage_of(request.match_info["imsi"]))

    async def forget_usage(self, request: web.Request) -> web.Response:
        return _json(await self._pcrf.forget_usage(request.match_info["imsi"], request.query.get("key", "")))


_SINGULAR = {"rules": "rule", "policies": "policy"}


def shown(book: PolicyBook) -> dict[str, Any]:
    """The book as it is written in a configuration file."""
    return {"rules": _definitions(book, "rules"), "policies": list(_definitions(book, "policies").values()), "others": book.others}


def _definitions(book: PolicyBook, kind: str) -> dict[str, dict[str, Any]]:
    found: dict[str, Rule] | dict[str, Policy] = book.rules if kind == "rules" else book.named()
    return {name: plain(definition) | ({"name": name} if kind == "policies" else {}) for name, definition in found.items()}


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        data = orjson.loads(await request.read() or b"{}")
    except ValueError as error:
        raise ValueError(f"the body must be JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("the body must be a JSON object")
    return data


def _told(handler: Handler) -> Handler:
    """Errors as JSON."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConfigError as error:
            problems = [line.partition(": ")[2].partition(": ") for line in error.problems]
            return _json({"error": "; ".join(what if key == "(top)" else f"{key}: {what}" for key, _, what in problems),
                          "problems": [{"key": key, "problem": what} for key, _, what in problems]}, 400)
        except InUse as error:
            return _json({"error": str(error)}, 409)
        except LookupError as error:
            return _json({"error": str(error.args[0] if error.args else error)}, 404)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        except StoreError as error:
            return _json({"error": str(error)}, 503)

    return handle


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")
