"""What a scenario leaves in its output folder: ladder.txt, ladder.html, summary.json; and the tables it prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from epc.lab.ladder import LadderEvent, LadderObserver, Lifelines, render_text
from epc.lab.ladder.page import render_page
from epc.lab.ladder.steps import STEPS
from epc.lab.settlement import LabSettlement
from epc.node import TUNNELS, Node, TunnelEnd


@dataclass(slots=True, kw_only=True)
class TunnelRow:
    """One line of the table t1 to t8."""

    label: str
    name: str
    meaning: str
    allocated_by: str
    operator: str = ""              # whose node that is; empty when there is only one operator
    teid: int
    address: str
    seen_in: str


@dataclass(slots=True, kw_only=True)
class PhoneReport:
    imsi: str
    ip: str = ""
    tunnels: list[TunnelRow] = field(default_factory=list)
    attach_s: float | None = None
    story: list[str] = field(default_factory=list)          # where its key, its gateway and its address came from
    usage: Mapping[str, int] | None = None                  # what it sent and received, packets and octets


@dataclass(slots=True, kw_only=True)
class RunReport:
    scenario: str
    title: str
    result: str = "running"         # "passed" or "failed"
    problems: list[str] = field(default_factory=list)
    phones: dict[str, PhoneReport] = field(default_factory=dict)
    checks: list[tuple[str, bool]] = field(default_factory=list)
    duration_s: float = 0.0
    user_plane: list[dict[str, Any]] = field(default_factory=list)     # what each node with a user plane forwarded and dropped
    settlement: LabSettlement | None = None


def tunnel_rows(imsi: str, nodes: Iterable[Node[Any]], observer: LadderObserver) -> list[TunnelRow]:
    """The eight ids of one phone's default bearer, and the user tunnels of its dedicated ones, as nodes hold them now and the wire showed them."""
    held: dict[tuple[str, int], TunnelEnd] = {}
    allocators: dict[str, str] = {}
    for node in nodes:
        for end in node.tunnels():
            if end.imsi == imsi and ((end.name, end.ebi) not in held or end.own):
                held[end.name, end.ebi] = end
            if end.own:
                allocators[f"{end.name} {end.teid} {end.address}"] = node.config.name
    rows = []
    default = min((ebi for _, ebi in held if ebi), default=0)
    wanted = [(tunnel, ebi) for tunnel in TUNNELS for ebi in (0, default) if (tunnel.name, ebi) in held]
    wanted += [(tunnel, ebi) for ebi in sorted({ebi for _, ebi in held} - {0, default}) for tunnel in TUNNELS if (tunnel.name, ebi) in held]
    for tunnel, ebi in wanted:
        found = held[tunnel.name, ebi]
        allocator = allocators.get(f"{found.name} {found.teid} {found.address}", "")
        of_bearer = f" of bearer {ebi}" if ebi not in (0, default) else ""
        rows.append(TunnelRow(
            label=tunnel.label + of_bearer, name=tunnel.name, meaning=tunnel.meaning, allocated_by=allocator or tunnel.allocated_by,
            operator=observer.lifelines.operator_of(allocator), teid=found.teid,
            address=found.address, seen_in=observer.tunnels.get((found.name, found.teid, found.address), "(not seen on the wire)")))
    return rows


def tunnel_table(rows: Sequence[TunnelRow]) -> str:
    several = any(row.operator for row in rows)
    lines = [("", "name", "meaning", "allocated by", *(["of"] if several else []), "value", "at", "first seen in")]
    lines += [
        (row.label, row.name, row.meaning, row.allocated_by, *([row.operator] if several else []), f"0x{row.teid:08x}", row.address, row.seen_in)
        for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def step_timings(events: Sequence[LadderEvent]) -> dict[str, dict[str, float]]:
    """For each step of the (first) attach: when its first message left and how long until its last, in milliseconds."""
    timings: dict[str, dict[str, float]] = {}
    begun = [i for i, event in enumerate(events) if event.step == 1 and not event.repeated]
    if len(begun) > 1 and any(event.step > 1 for event in events[begun[0]:begun[1]]):
        events = events[:begun[1]]
    for number, name in STEPS.items():
        times = [event.time_s for event in events if event.step == number]
        if times:
            timings[f"{number} {name}"] = {"start_ms": round(times[0] * 1000, 3), "duration_ms": round((times[-1] - times[0]) * 1000, 3)}
    return timings


def summary(report: RunReport, observer: LadderObserver) -> dict[str, Any]:
    return {
        "scenario": report.scenario,
        "title": report.title,
        "result": report.result,
        "problems": report.problems,
        "checks": [{"what": what, "passed": passed} for what, passed in report.checks],
        "duration_s": round(report.duration_s, 3),
        "ues": [_phone_summary(phone, observer) for phone in report.phones.values()],
        "user_plane": report.user_plane,
        **({"settlement": report.settlement.settlement.to_json()} if report.settlement is not None else {}),
        "messages": [
            {"ms": round(event.time_s * 1000, 3), "interface": event.interface, "from": event.source, "to": event.destination, "name": event.name,
             **({"carried_by": event.carried_by} if event.carried_by else {}), **({"step": event.step} if event.step else {}),
             **({"retransmission": True} if event.repeated else {}), **({"count": event.count} if event.count > 1 else {})}
            for event in observer.events
        ],
    }


def _phone_summary(phone: PhoneReport, observer: LadderObserver) -> dict[str, Any]:
    return {
        "imsi": phone.imsi,
        "ip": phone.ip,
        **({"story": phone.story} if phone.story else {}),
        **({"usage": phone.usage} if phone.usage is not None else {}),
        "attach_ms": None if phone.attach_s is None else round(phone.attach_s * 1000, 3),
        "tunnels": {row.label: {
            "name": row.name, "teid": row.teid, "address": row.address, "allocated_by": row.allocated_by, "seen_in": row.seen_in,
            **({"operator": row.operator} if row.operator else {}),
        } for row in phone.tunnels},
        "steps": step_timings([event for event in observer.events if not event.imsi or event.imsi == phone.imsi]),
    }


def _phone_record(phone: PhoneReport) -> Mapping[str, Any]:
    return {"imsi": phone.imsi, "ip": phone.ip, "story": phone.story, "tunnels": [
        {"label": row.label, "name": row.name, "teid": row.teid, "allocated_by": row.allocated_by, "operator": row.operator, "meaning": row.meaning,
         "seen_in": row.seen_in}
        for row in phone.tunnels]}


def write_report(report: RunReport, observer: LadderObserver, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if report.settlement is not None:
        report.settlement.write(directory / "settlement")
    (directory / "summary.json").write_bytes(orjson.dumps(summary(report, observer), option=orjson.OPT_INDENT_2))
    lifelines: Lifelines = observer.lifelines
    text = render_text(observer.events, report.title, lifelines)
    for phone in report.phones.values():
        if phone.tunnels:
            text += f"\nTunnels of IMSI {phone.imsi}, {phone.ip}\n{tunnel_table(phone.tunnels)}\n"
        text += "".join([f"\n{line}" for line in phone.story]) + ("\n" if phone.story else "")
    (directory / "ladder.txt").write_text(text)
    page = render_page(report.title, report.result, [_phone_record(phone) for phone in report.phones.values()], observer.events, lifelines)
    (directory / "ladder.html").write_text(page)
