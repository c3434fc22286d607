"""One settlement between two operators: the TAP file, the invoice, home's check, and everything that does not agree."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from epc.settlement import reconcile, tap
from epc.settlement.billed import Billed
from epc.settlement.config import Agreement, Operator, SettlementConfig
from epc.settlement.rating import RatedRecord, rate_session, total
from epc.settlement.reconcile import BearerBooks, Difference
from epc.settlement.sources import LedgerUse, NodeCounters, Octets, SourceRecord
from epc.settlement.statement import render_home, render_visited
from epc.wire.cdr import PgwRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome; :meth:`write` leaves it in a folder. ``agrees`` when nothing differs anywhere."""

    agreement: Agreement
    visited: Operator
    home: Operator
    created: datetime.datetime
    tap_octets: bytes
    tap: tap.TapFile                    # read back from ``tap_octets``
    rated: tuple[RatedRecord, ...]      # what the TAP file bills, in its order
    already_billed: int                 # records that former files had
    books: tuple[BearerBooks, ...]
    expected_charge: Decimal            # by home's own records
    phones: Mapping[str, Octets] | None
    ocs_octets: int | None
    ocs_amount: int | None              # what home's subscribers paid, in millionths
    differences: tuple[Difference, ...]
    billed: Billed                      # for the next settlement

    @property
    def agrees(self) -> bool:
        return not self.differences

    @property
    def charge(self) -> Decimal:
        return self.tap.total_charge

    @property
    def visited_octets(self) -> Octets:
        return _sum(entry.visited_octets for entry in self.books)

    @property
    def home_octets(self) -> Octets:
        return _sum(entry.home_octets for entry in self.books)

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "visited": self.visited.name, "home": self.home.name, "created": self.created.isoformat(), "agrees": self.agrees,
            "tap": {
                "file": self.tap.name, "sender": self.tap.sender, "recipient": self.tap.recipient, "sequence_number": self.tap.sequence_number,
                "calls": len(self.tap.calls), "currency": self.agreement.currency, "charge": str(self.tap.total_charge),
                "tax": str(self.tap.total_tax)},
            "already_billed_records": self.already_billed,
            "octets": {
                "visited": self.visited_octets._asdict(), "home": self.home_octets._asdict(),
                "phones": None if self.phones is None else {imsi: octets._asdict() for imsi, octets in self.phones.items()},
                "ocs": self.ocs_octets},
            "home_expects": str(self.expected_charge),
            "sessions": [{
                "imsi": entry.imsi, "charging_id": entry.charging_id, "visited": entry.visited_octets._asdict(),
                "home": entry.home_octets._asdict(), "visited_records": [each.name for each in entry.visited],
                "home_records": [each.name for each in entry.home]} for entry in self.books],
            "calls": [{
                "record": each.source.name, "imsi": each.source.record.served_imsi, "charging_id": each.source.record.charging_id,
                "uplink_octets": each.source.octets.uplink, "downlink_octets": each.source.octets.downlink, "charged_octets": each.charged_octets,
                "rate": each.rate.name, "charge": str(each.charge), "tax": str(each.tax)} for each in self.rated],
            "differences": [difference.to_json() for difference in self.differences],
        }

    def write(self, directory: Path) -> list[Path]:
        """The TAP file, the invoice and the check as text and JSON. Returns what was written."""
        directory.mkdir(parents=True, exist_ok=True)
        facts = self.to_json()
        invoice = {key: facts[key] for key in ("visited", "home", "created", "tap", "already_billed_records", "calls")}
        files = {
            self.tap.name: self.tap_octets,
            "invoice.txt": render_visited(self).encode(), "invoice.json": orjson.dumps(invoice, option=orjson.OPT_INDENT_2),
            "check.txt": render_home(self).encode(), "check.json": orjson.dumps(facts, option=orjson.OPT_INDENT_2)}
        for name, octets in files.items():
            (directory / name).write_bytes(octets)
        return [directory / name for name in files]


def settle(
    config: SettlementConfig,
    agreement: Agreement,
    visited_records: Sequence[SourceRecord],
    home_records: Sequence[SourceRecord],
    *,
    created: datetime.datetime,
    ocs: Sequence[LedgerUse] | None = None,
    phones: Mapping[str, Octets] | None = None,
    nodes: Sequence[NodeCounters] = (),
    billed: Billed | None = None,
) -> Settlement:
    """Bill, check and compare. What is not given (``ocs``, ``phones``) is not compared."""
    visited, home = config.operators[agreement.visited], config.operators[agreement.home]
    billed = billed or Billed()
    books, differences = reconcile.collect(visited_records, home_records, visited, home)
    entries = [books[key] for key in sorted(books)]

    # the visited operator: rate, bill
    rated, unrated = _rate(agreement, [entry.visited for entry in entries])
    differences += [Difference(
        kind="unrated", between=(visited.name, home.name), imsi=source.record.served_imsi or "", charging_id=source.record.charging_id,
        record=source.name, direction=reconcile.BOTH, octets=source.octets.total,
        explanation=f"no rate of the agreement fits APN {source.record.access_point_name_ni}") for source in unrated]
    due = tuple(each for each in rated if not billed.has(each.source))
    number = billed.sequence_number % 99999 + 1
    parts = {place: tap.partial_type(each.source.record) for place, each in enumerate(due)}
    octets = tap.build(
        agreement, visited, home, due, sequence_number=number, created=created.astimezone(visited.zone), partial_types=parts)
    file = tap.read(octets)

    # the home operator: what should it be?
    expected, _ = total(_rate(agreement, [
        entry.visited if entry.is_local_breakout and not entry.home else entry.home for entry in entries])[0])
    invoiced, _ = total(rated)
    prices = _prices(rated)
    for who, sources, records in (
            (visited.name, visited_records, [entry.visited for entry in entries]), (home.name, home_records, [entry.home for entry in entries])):
        differences += reconcile.gaps(records, sources, who)
    differences += reconcile.volumes(entries, visited, home, nodes, prices)
    if invoiced != expected:
        differences.append(Difference(
            kind="charge", between=(visited.name, home.name), imsi="", amount=invoiced - expected,
            explanation=f"the records of {visited.name} are worth {invoiced} {agreement.currency}, those of {home.name} {expected}"))
    if phones is not None:
        elsewhere = _elsewhere(home_records, visited)
        differences += reconcile.phones(entries, phones, elsewhere, visited, nodes)
    if ocs is not None:
        differences += reconcile.ledger(entries, ocs, visited, home)
    uses = [use for use in ocs or () if use.visited_plmn in visited.plmns]
    step = Decimal(1).scaleb(-6)
    return Settlement(
        agreement=agreement, visited=visited, home=home, created=created, tap_octets=octets, tap=file, rated=due,
        already_billed=len(rated) - len(due), books=tuple(entries), expected_charge=expected, phones=phones,
        ocs_octets=None if ocs is None else sum(use.octets for use in uses),
        ocs_amount=None if ocs is None else sum(use.amount for use in uses),
        differences=tuple([
            difference if difference.amount is None else replace(difference, amount=difference.amount.quantize(step)) for difference in differences]),
        billed=billed.after([each.source for each in due], number))


def _rate(agreement: Agreement, sessions: Sequence[Sequence[SourceRecord]]) -> tuple[list[RatedRecord], list[SourceRecord]]:
    rated: list[RatedRecord] = []
    unrated: list[SourceRecord] = []
    for records in sessions:
        good, bad = rate_session(agreement, records)
        rated += good
        unrated += bad
    return rated, unrated


def _prices(rated: Sequence[RatedRecord]) -> dict[tuple[str, int], Decimal]:
    """Of an octet, by bearer."""
    return {
        (each.source.record.served_imsi or "", each.source.record.charging_id): each.rate.price_per_mb / 1_000_000 for each in reversed(rated)}


def _elsewhere(home_records: Sequence[SourceRecord], visited: Operator) -> dict[str, Octets]:
    """What subscribers used in other networks than the visited one, by P-GW-CDRs."""
    found: dict[str, Octets] = {}
    for source in home_records:
        record = source.record
        if isinstance(record, PgwRecord) and record.serving_node_plmn_identifier not in (None, *visited.plmns):
            imsi = record.served_imsi or ""
            found[imsi] = found.get(imsi, Octets()).plus(source.octets)
    return found


def _sum(octets: Any) -> Octets:
    made = Octets()
    for each in octets:
        made = made.plus(each)
    return made
