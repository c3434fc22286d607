"""The papers that people read: the visited operator's invoice and the home operator's check of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epc.settlement.reconcile import Difference

if TYPE_CHECKING:
    from epc.settlement.settlement import Settlement


def render_visited(settlement: Settlement) -> str:
    """The invoice."""
    visited, home, file = settlement.visited, settlement.home, settlement.tap
    currency = settlement.agreement.currency
    lines = [
        f"INVOICE  {visited.name} ({visited.tadig}) to {home.name} ({home.tadig})",
        f"TAP file {file.name}, number {file.sequence_number}, {settlement.created.astimezone(visited.zone):%Y-%m-%d %H:%M %z}"
        + (", test data" if file.is_test else ""),
        "",
    ]
    rows = [("record", "IMSI", "charging id", "from", "seconds", "uplink", "downlink", "charged", "rate", currency)]
    for each in settlement.rated:
        record = each.source.record
        started = record.record_opening_time.astimezone(visited.zone)
        rows.append((
            each.source.name, record.served_imsi or "", f"{record.charging_id:08x}", f"{started:%Y-%m-%d %H:%M:%S}", str(record.duration_s),
            _grouped(each.source.octets.uplink), _grouped(each.source.octets.downlink), _grouped(each.charged_octets), each.rate.name,
            str(each.charge)))
    lines += _table(rows, right=(4, 5, 6, 7, 9)) if settlement.rated else ["nothing to bill: the file is a notification"]
    lines.append("")
    if settlement.already_billed:
        lines.append(f"{settlement.already_billed} records were in former files and are not billed again")
    lines.append(f"charge   {file.total_charge} {currency}")
    if file.total_tax:
        lines.append(f"tax      {file.total_tax} {currency} ({settlement.agreement.tax_percent} %)")
    lines.append(f"total    {file.total_charge + file.total_tax} {currency}")
    return "\n".join(lines) + "\n"


def render_home(settlement: Settlement) -> str:
    """Does the invoice agree with what home knows?"""
    visited, home = settlement.visited, settlement.home
    currency = settlement.agreement.currency
    rows = [("who counted", "uplink", "downlink", "octets in all")]
    if settlement.phones is not None:
        up = sum(octets.uplink for octets in settlement.phones.values())
        down = sum(octets.downlink for octets in settlement.phones.values())
        rows.append(("phones", _grouped(up), _grouped(down), _grouped(up + down)))
    for what, octets in ((f"{visited.name}, S-GW-CDRs", settlement.visited_octets), (f"{home.name}, P-GW-CDRs", settlement.home_octets)):
        rows.append((what, _grouped(octets.uplink), _grouped(octets.downlink), _grouped(octets.total)))
    if settlement.ocs_octets is not None:
        rows.append((f"{home.name}, OCS ledger", "", "", _grouped(settlement.ocs_octets)))
    lines = [f"CHECK  {home.name} ({home.tadig}) of the invoice of {visited.name} ({visited.tadig}), TAP file {settlement.tap.name}", ""]
    lines += _table(rows, right=(1, 2, 3))
    worth = f"{settlement.charge} {currency}"
    if settlement.already_billed:
        worth += f" in this file, and {settlement.already_billed} records in former ones"
    lines += ["", f"invoiced {worth}; by {home.name}'s own records {settlement.expected_charge} {currency}"]
    if settlement.ocs_amount is not None:
        lines.append(f"debited from subscribers for it: {settlement.ocs_amount / 1_000_000:.6f}")
    lines.append("")
    if settlement.agrees:
        compared = ["S-GW", "P-GW"] + (["OCS"] if settlement.ocs_octets is not None else []) + (["phones"] if settlement.phones is not None else [])
        lines.append(f"AGREED: {', '.join(compared)} say the same, to the octet")
    else:
        lines.append(f"{len(settlement.differences)} DIFFERENCE{'S' if len(settlement.differences) > 1 else ''}")
        lines += render_differences(settlement.differences, currency)
    return "\n".join(lines) + "\n"


def render_differences(differences: Sequence[Difference], currency: str) -> list[str]:
    lines = []
    for number, each in enumerate(differences, 1):
        facts = [each.kind, "/".join(dict.fromkeys(each.between))]
        if each.imsi:
            facts.append(f"IMSI {each.imsi}")
        if each.charging_id is not None:
            facts.append(f"charging id {each.charging_id:08x}")
        if each.record is not None:
            facts.append(each.record)
        if each.octets:
            facts.append(f"{each.direction} {each.octets:+,} octets".replace(",", " "))
        if each.amount is not None:
            facts.append(f"{each.amount:+f} {currency}")
        lines += [f"{number:3}. {', '.join(facts)}", f"     {each.explanation}"]
    return lines


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _table(rows: Sequence[tuple[str, ...]], *, right: Sequence[int]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(
        cell.rjust(width) if place in right else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows]
