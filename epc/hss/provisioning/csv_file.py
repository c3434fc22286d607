"""Subscribers as CSV with a header line; the columns are :data:`epc.hss.provisioning.fields.COLUMNS`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from epc.hss.provisioning.fields import COLUMNS, FieldError, expand, format_subscriber, parse_subscriber
from epc.hss.provisioning.problems import ProvisioningError
from epc.hss.store import Subscriber

REQUIRED = ("imsi", "k")


def read_csv(lines: Iterable[str], name: str) -> Iterator[Subscriber]:
    """All subscribers of the file, ranges expanded. Raises :class:`ProvisioningError` with every wrong line, before the first subscriber."""
    rows: list[tuple[Subscriber, int]] = []
    problems: list[str] = []
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells or cells[0].startswith("#"):
                continue
            if header is None:
                header = _header(cells, f"{name}:{reader.line_num}")
                continue
            if len(cells) != len(header):
                problems.append(f"{name}:{reader.line_num}: {len(cells)} columns where the header has {len(header)}")
                continue
            try:
                rows.append(parse_subscriber(dict(zip(header, cells, strict=True))))
            except FieldError as error:
                problems.append(f"{name}:{reader.line_num}: column {error}")
    except csv.Error as error:
        problems.append(f"{name}:{reader.line_num}: not CSV: {error}")
    if header is None:
        problems.append(f"{name}:1: a header line is needed; columns: {', '.join(COLUMNS)}")
    if problems:
        raise ProvisioningError(problems)
    return (each for subscriber, count in rows for each in expand(subscriber, count))


def _header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    problems = [f"{where}: unknown column {cell!r}; allowed: {', '.join(COLUMNS)}" for cell in header if cell not in COLUMNS]
    problems += [f"{where}: column {cell} is missing" for cell in REQUIRED if cell not in header]
    problems += [f"{where}: column {cell} stands there twice" for cell in dict.fromkeys(header) if header.count(cell) > 1]
    if problems:
        raise ProvisioningError(problems)
    return header


def write_csv(subscribers: Iterable[Subscriber], out: TextIO) -> int:
    """Returns how many were written."""
    writer = csv.DictWriter(out, tuple(COLUMNS), lineterminator="\n")
    writer.writeheader()
    number = 0
    for subscriber in subscribers:
        writer.writerow(format_subscriber(subscriber))
        number += 1
    return number
