"""``ladder.html``: one file that needs nothing else; click a message to see its fields."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import orjson

from epc.lab.ladder.event import LadderEvent
from epc.lab.ladder.lifelines import ATTACH_LIFELINES, Lifelines
from epc.node.tunnel import BY_NAME


def event_record(event: LadderEvent) -> dict[str, Any]:
    return {
        "ms": round(event.time_s * 1000, 3),
        "interface": event.interface,
        "source": event.source,
        "destination": event.destination,
        "from": event.rung.source,
        "to": event.rung.destination,
        "name": event.name,
        "carrier": event.carried_by,
        "step": event.step,
        "detail": event.detail,
        "tunnels": [{"label": BY_NAME[t.name].label, "name": t.name, "teid": t.teid, "address": t.address} for t in event.tunnels],
        "trees": event.trees,
        "octets": event.octets.hex(),
        "ciphered": event.ciphered,
        "again": event.repeated,
        "count": event.count,
        "user": event.interface in ("S1-U", "S5/S8-U", "SGi"),
    }


def render_page(
    title: str, result: str, phones: Sequence[Mapping[str, Any]], events: Iterable[LadderEvent], lifelines: Lifelines = ATTACH_LIFELINES
) -> str:
    data = {
        "title": title,
        "result": result,
        "phones": phones,
        "columns": [{"kind": each.key, "title": each.title, "operator": lifelines.operators.get(each.operator, "")} for each in lifelines.columns],
        "events": [event_record(event) for event in events],
    }
    # "</" would end the script element that holds the data
    text = orjson.dumps(data).decode().replace("</", "<\\/")
    page = files("epc.lab.ladder").joinpath("page.html").read_text()
    return page.replace("__TITLE__", html.escape(title)).replace("__DATA__", text)
