"""The ladder as text: one line a message, lifelines from the phone to the Internet."""

from __future__ import annotations

from collections.abc import Iterable

from epc.lab.ladder.event import LadderEvent
from epc.lab.ladder.lifelines import ATTACH_LIFELINES, Lifelines
from epc.lab.ladder.steps import STEPS

_WIDTH = 8
_LEFT = 15


def header(lifelines: Lifelines = ATTACH_LIFELINES) -> str:
    """The titles of the lifelines, and above them those of the operators, where there are several."""
    line = [" "] * (_LEFT + _WIDTH * len(lifelines.columns))
    for i, column in enumerate(lifelines.columns):
        start = _LEFT + i * _WIDTH + _WIDTH // 2 - len(column.title) // 2
        line[start:start + len(column.title)] = column.title
    titles = f"{'step':>4} {'time':>9}" + "".join(line)[14:].rstrip()
    above = [" "] * (_LEFT + _WIDTH * len(lifelines.columns))
    for title, first, number in lifelines.headings():
        width = number * _WIDTH - 2
        start = _LEFT + first * _WIDTH + 1
        above[start:start + width] = f"╭{f' {title[:width - 4]} ':─^{width - 2}}╮"
    operators = "".join(above).rstrip()
    return f"{operators}\n{titles}" if operators else titles


def render_line(event: LadderEvent, *, lifelines: Lifelines = ATTACH_LIFELINES, seen_steps: set[int] | None = None) -> str:
    """One message. ``seen_steps`` lets the number of a step stand only where the step begins."""
    line = [" "] * (_LEFT + _WIDTH * len(lifelines.columns))
    positions = {column.key: _LEFT + i * _WIDTH + _WIDTH // 2 for i, column in enumerate(lifelines.columns)}
    for position in positions.values():
        line[position] = "│"
    start, end = positions.get(event.rung.source), positions.get(event.rung.destination)
    if start is not None and end is not None and start != end:
        left, right = min(start, end), max(start, end)
        for i in range(left + 1, right):
            line[i] = "┼" if line[i] == "│" else "─"
        line[start] = "●"
        line[right - 1 if end > start else left + 1] = "▶" if end > start else "◀"
    number = ""
    if event.step and (seen_steps is None or event.step not in seen_steps):
        number = str(event.step)
        if seen_steps is not None:
            seen_steps.add(event.step)
    label = event.name
    if event.count > 1:
        label += f" ×{event.count}"
    if event.repeated:
        label += " (again)"
    carrier = f"{event.interface} {event.carried_by}" if event.carried_by else event.interface
    detail = f" {event.detail}" if event.detail else ""
    return f"{number:>4} {event.time_s * 1000:7.1f}ms" + "".join(line)[14:] + f"  {label}{detail}  [{carrier}]"


def render_text(events: Iterable[LadderEvent], title: str, lifelines: Lifelines = ATTACH_LIFELINES) -> str:
    """The whole ladder with its legend."""
    seen: set[int] = set()
    lines = [title, "", header(lifelines), *(render_line(event, lifelines=lifelines, seen_steps=seen) for event in events), ""]
    if seen:
        lines += ["Steps of the Attach (TS 23.401 clause 5.3.2.1):"]
        lines += [f"  {number:>2}  {text}" + ("" if number in seen else "   (not needed in this run)") for number, text in STEPS.items()]
        lines.append("")
    return "\n".join(lines)
