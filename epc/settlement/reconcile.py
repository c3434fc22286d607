"""Compares what each side counted, to the octet, and says of every difference where it is and what may have caused it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from epc.settlement.config import Operator
from epc.settlement.sources import LedgerUse, NodeCounters, Octets, SourceRecord
from epc.wire.cdr import PgwRecord, SgwRecord

UPLINK, DOWNLINK, BOTH = "uplink", "downlink", "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two parties, or two papers of one party, do not say the same. ``octets`` is what the first has beyond the second."""

    kind: str                           # doubled_record, missing_record, open_session, one_side_only, volume, ue, ocs, charge, unrated
    between: tuple[str, str]            # who says the first, who says the second
    imsi: str
    charging_id: int | None = None
    record: str | None = None           # which record, if it can be told
    direction: str | None = None        # uplink, downlink or both
    octets: int = 0
    amount: Decimal | None = None       # wholesale money that depends on it, if it can be told
    explanation: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "between": list(self.between), "imsi": self.imsi, "charging_id": self.charging_id, "record": self.record,
            "direction": self.direction, "octets": self.octets, "amount": None if self.amount is None else str(self.amount),
            "explanation": self.explanation}


@dataclass(slots=True, kw_only=True)
class BearerBooks:
    """One bearer's records on both sides, in their order and each once."""

    imsi: str
    charging_id: int
    visited: list[SourceRecord] = field(default_factory=list)          # S-GW-CDRs
    home: list[SourceRecord] = field(default_factory=list)             # P-GW-CDRs; of a local breakout the visited operator's
    is_local_breakout: bool = False

    @property
    def visited_octets(self) -> Octets:
        return total_of(self.visited)

    @property
    def home_octets(self) -> Octets:
        return total_of(self.home)


def total_of(sources: Iterable[SourceRecord]) -> Octets:
    octets = Octets()
    for source in sources:
        octets = octets.plus(source.octets)
    return octets


def collect(
    visited_records: Iterable[SourceRecord], home_records: Iterable[SourceRecord], visited: Operator, home: Operator
) -> tuple[dict[tuple[str, int], BearerBooks], list[Difference]]:
    """The records that concern this pair of operators, by IMSI and charging identity, and those that stand there twice.

    With local breakout the P-GW is the visited operator's: its P-GW-CDRs are checked with, if they are there.
    """
    books: dict[tuple[str, int], BearerBooks] = {}
    doubled: list[Difference] = []
    seen: dict[tuple[Any, ...], SourceRecord] = {}
    visited_records = list(visited_records)
    breakouts = [each for each in visited_records if isinstance(each.record, PgwRecord)]
    for side, kind, sources in (("visited", SgwRecord, visited_records), ("breakout", PgwRecord, breakouts), ("home", PgwRecord, home_records)):
        for source in sources:
            record = source.record
            imsi = record.served_imsi or ""
            plmn = record.serving_node_plmn_identifier
            if not isinstance(record, kind) or not imsi.startswith(home.plmns) or (plmn is not None and plmn not in visited.plmns):
                continue
            part = record.record_sequence_number
            keys: list[tuple[Any, ...]] = [
                (side, record.node_id, imsi, record.charging_id, "part", part, record.record_opening_time if part is None else None)]
            if record.local_sequence_number is not None:
                keys.append((side, record.node_id, record.local_sequence_number))
            former = next((seen[key] for key in keys if key in seen), None)
            if former is not None:
                who = home.name if side == "home" else visited.name
                doubled.append(Difference(
                    kind="doubled_record", between=(who, who), imsi=imsi, charging_id=record.charging_id, record=source.name, direction=BOTH,
                    octets=source.octets.total, explanation=f"{source.file} has it in place {source.position}, "
                    f"{former.file} in place {former.position}; it counts once"))
                continue
            seen.update(dict.fromkeys(keys, source))
            entry = books.setdefault((imsi, record.charging_id), BearerBooks(imsi=imsi, charging_id=record.charging_id))
            (entry.visited if side == "visited" else entry.home).append(source)
            entry.is_local_breakout |= record.pgw_plmn_identifier in visited.plmns
    for entry in books.values():
        for records in (entry.visited, entry.home):
            records.sort(key=lambda each: (each.record.record_opening_time, each.record.node_id or "", each.record.record_sequence_number or 0))
    return books, doubled


def gaps(bearers: Iterable[Sequence[SourceRecord]], everything: Iterable[SourceRecord], who: str) -> list[Difference]:
    """Records of one operator that must have been there, and bearers that have not ended.

    Parts of a bearer are numbered from 1, and so are all records of a node: a part that is missing leaves a hole in either.
    """
    holes = _holes(everything)
    found = []
    for records in bearers:
        for node, parts in _by_node(records).items():
            record = parts[0].record
            numbers = {each.record.record_sequence_number or 1: each for each in parts}
            first = 1 if record.start_time is not None or min(numbers) > 1 else min(numbers)
            for number in sorted(set(range(first, max(numbers))) - set(numbers)):
                name = _name_of_missing(node, number, numbers, holes)
                found.append(Difference(
                    kind="missing_record", between=(who, who), imsi=record.served_imsi or "", charging_id=record.charging_id, record=name,
                    explanation=f"parts {', '.join(map(str, sorted(numbers)))} of the session are there, this one is not"))
            if not numbers[max(numbers)].record.is_last:
                found.append(Difference(
                    kind="open_session", between=(who, who), imsi=record.served_imsi or "", charging_id=record.charging_id,
                    record=f"{node} part {max(numbers) + 1}",
                    explanation="the session has not ended in these records: its last part is still to come, or is lost"))
    return found + [
        Difference(kind="missing_record", between=(who, who), imsi="", record=f"{node} #{number}",
                   explanation="records before and after it are there; nothing tells whose it was")
        for node, numbers in sorted(holes.items()) for number in sorted(numbers)]


def _by_node(records: Iterable[SourceRecord]) -> dict[str, list[SourceRecord]]:
    found: dict[str, list[SourceRecord]] = {}
    for source in records:
        found.setdefault(source.record.node_id or "", []).append(source)
    return found


def _holes(sources: Iterable[SourceRecord]) -> dict[str, set[int]]:
    """Numbers that a node's records leave out, between the first and the last that are there."""
    present: dict[str, set[int]] = defaultdict(set)
    for source in sources:
        if source.record.local_sequence_number is not None:
            present[source.record.node_id or ""].add(source.record.local_sequence_number)
    return {node: set(range(min(numbers), max(numbers))) - numbers for node, numbers in present.items()}


def _name_of_missing(node: str, part: int, there: Mapping[int, SourceRecord], holes: dict[str, set[int]]) -> str:
    """With the node's number, if only one can be meant; that hole is explained then."""
    known = {each: source.record.local_sequence_number or 0 for each, source in there.items()}
    low = max((number for each, number in known.items() if each < part), default=0)
    high = min((number for each, number in known.items() if each > part), default=0)
    candidates = {number for number in holes.get(node, ()) if low < number < high}
    if len(candidates) != 1:
        return f"{node} part {part}"
    number = candidates.pop()
    holes[node].discard(number)
    return f"{node} #{number}, part {part}"


def volumes(
    books: Iterable[BearerBooks], visited: Operator, home: Operator, nodes: Sequence[NodeCounters], price_of: Mapping[tuple[str, int], Decimal],
) -> list[Difference]:
    """S-GW-CDRs against P-GW-CDRs, bearer by bearer; ``price_of`` is the wholesale price of an octet of a bearer."""
    found = []
    between = (visited.name, home.name)
    for entry in books:
        key = entry.imsi, entry.charging_id
        if entry.is_local_breakout and not entry.home:
            continue                    # nobody else has counted it
        if not entry.visited or not entry.home:
            octets = entry.visited_octets.total - entry.home_octets.total
            side, other = ("S-GW", "P-GW") if entry.visited else ("P-GW", "S-GW")
            found.append(Difference(
                kind="one_side_only", between=between, imsi=entry.imsi, charging_id=entry.charging_id, direction=BOTH, octets=octets,
                record=(entry.visited or entry.home)[0].name, amount=_worth(price_of, key, octets),
                explanation=f"the {side} has records of it, the {other} none"))
            continue
        excess = entry.visited_octets.minus(entry.home_octets)
        for direction, octets in ((UPLINK, excess.uplink), (DOWNLINK, excess.downlink)):
            if octets:
                found.append(Difference(
                    kind="volume", between=between, imsi=entry.imsi, charging_id=entry.charging_id, record=_culprit(entry, direction),
                    direction=direction, octets=octets, amount=_worth(price_of, key, octets),
                    explanation=_where_lost(direction, octets, nodes, visited, home)))
    return found


def _worth(price_of: Mapping[tuple[str, int], Decimal], key: tuple[str, int], octets: int) -> Decimal | None:
    price = price_of.get(key)
    return None if price is None else price * octets


def _culprit(entry: BearerBooks, direction: str) -> str | None:
    """The record whose counterpart says something else, where both sides cut the session into the same parts."""
    if len(entry.visited) != len(entry.home):
        return None
    wrong = [
        mine.name for mine, theirs in zip(entry.visited, entry.home, strict=True)
        if getattr(mine.octets, direction) != getattr(theirs.octets, direction)]
    return ", ".join(wrong) if len(wrong) < len(entry.visited) or len(wrong) == 1 else None


def _where_lost(direction: str, octets: int, nodes: Sequence[NodeCounters], visited: Operator, home: Operator) -> str:
    """``octets`` is positive when the SGW has more."""
    if direction == UPLINK:
        if octets > 0:
            return "counted at the S-GW and not at the P-GW: lost on the way, or dropped by the P-GW" + _drops(nodes, "pgw")
        return "the P-GW counted more than the S-GW sent: no loss explains it"
    if octets < 0:
        return "counted at the P-GW and not at the S-GW: lost on the way, or dropped by the S-GW" + _drops(nodes, "sgw")
    return "the S-GW counted more than the P-GW sent: no loss explains it"


def _drops(nodes: Sequence[NodeCounters], kind: str) -> str:
    """What nodes of one kind say that they dropped, in parentheses."""
    there = [node for node in nodes if node.kind in (kind, f"{kind}u")]
    if not there:
        return ""
    said = [f"{node.name} dropped {count} packets, {reason}" for node in there for reason, count in sorted(node.drops.items()) if count]
    return f" ({'; '.join(said)})" if said else f" ({', '.join(node.name for node in there)} dropped none: lost between the nodes)"


def phones(
    books: Iterable[BearerBooks], counted: Mapping[str, Octets], elsewhere: Mapping[str, Octets], visited: Operator, nodes: Sequence[NodeCounters],
) -> list[Difference]:
    """What phones counted against S-GW-CDRs; ``elsewhere`` is what they used in other networks, as home's P-GW-CDRs say."""
    billed: dict[str, Octets] = {}
    for entry in books:
        billed[entry.imsi] = billed.get(entry.imsi, Octets()).plus(entry.visited_octets)
    found = []
    for imsi in sorted(billed):
        if imsi not in counted:
            continue
        excess = billed[imsi].minus(counted[imsi].minus(elsewhere.get(imsi, Octets())))
        for direction, octets in ((UPLINK, excess.uplink), (DOWNLINK, excess.downlink)):
            if not octets:
                continue
            if direction == UPLINK:
                why = ("the phone sent more than the S-GW got: lost on the radio or S1-U" + _drops(nodes, "enb") if octets < 0
                       else "the S-GW counted more than the phone sent: no loss explains it")
            else:
                why = ("the S-GW sent more than the phone got: lost on S1-U or the radio" + _drops(nodes, "enb") if octets > 0
                       else "the phone got more than the S-GW counted: no loss explains it")
            found.append(Difference(
                kind="ue", between=(visited.name, "phone"), imsi=imsi, direction=direction, octets=octets, explanation=why))
    return found


def ledger(books: Iterable[BearerBooks], uses: Sequence[LedgerUse], visited: Operator, home: Operator) -> list[Difference]:
    """P-GW-CDRs against what the OCS debited, subscriber by subscriber and rating group by rating group.

    A rating group that the OCS has never debited is one that it does not charge.
    """
    charged: dict[tuple[str, int], int] = defaultdict(int)
    for entry in books:
        for source in () if entry.is_local_breakout else entry.home:
            record = source.record
            for service in record.list_of_service_data if isinstance(record, PgwRecord) else ():
                charged[entry.imsi, service.rating_group] += service.uplink_octets + service.downlink_octets
    debited: dict[tuple[str, int], int] = defaultdict(int)
    for use in uses:
        if use.visited_plmn in visited.plmns:
            debited[use.imsi, use.rating_group] += use.octets
    groups = {group for _, group in debited}
    found = []
    for imsi, group in sorted({*charged, *debited}):
        octets = charged[imsi, group] - debited[imsi, group]
        if octets and group in groups:
            found.append(Difference(
                kind="ocs", between=(home.name, "OCS"), imsi=imsi, direction=BOTH, octets=octets, record=f"rating group {group}",
                explanation="the P-GW's records have more than was debited: passed without credit, or not reported" if octets > 0
                else "more was debited than the P-GW's records have"))
    return found
