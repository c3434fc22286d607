"""Wholesale rating: what the visited operator gets for a session, divided among its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from epc.settlement.config import MB, Agreement, WholesaleRate
from epc.settlement.sources import AnyRecord, SourceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedRecord:
    """One record and its share of the session's charge. Money has the agreement's decimal places."""

    source: SourceRecord
    rate: WholesaleRate
    charged_octets: int                 # after rounding up
    charge: Decimal                     # without tax
    tax: Decimal


def session_charge(rate: WholesaleRate, octets: int) -> tuple[int, Decimal]:
    """Octets that are charged, and the exact charge, for a whole session."""
    charged = -(-octets // rate.increment) * rate.increment
    charge = rate.session_fee + rate.price_per_mb * charged / MB
    return charged, max(charge, rate.session_minimum)


def rate_of(agreement: Agreement, record: AnyRecord) -> WholesaleRate | None:
    return next((rate for rate in agreement.rates if rate.fits(record.access_point_name_ni, record.rat_type)), None)


def rate_session(agreement: Agreement, records: Sequence[SourceRecord]) -> tuple[list[RatedRecord], list[SourceRecord]]:
    """The records of one session in their order, rated, and those that no rate fits.

    Each record gets what it adds to the session so far, so that the sum is the session's charge, rounded once.
    """
    rated: list[RatedRecord] = []
    unrated: list[SourceRecord] = []
    octets: dict[str, int] = {}         # by rate: a session that changes its access has several
    before: dict[str, tuple[int, Decimal, Decimal]] = {}
    step = Decimal(1).scaleb(-agreement.decimal_places)
    for source in records:
        rate = rate_of(agreement, source.record)
        if rate is None:
            unrated.append(source)
            continue
        octets[rate.name] = octets.get(rate.name, 0) + source.octets.total
        charged, exact = session_charge(rate, octets[rate.name])
        charge = exact.quantize(step, ROUND_HALF_UP)
        tax = (exact * agreement.tax_percent / 100).quantize(step, ROUND_HALF_UP)
        charged_before, charge_before, tax_before = before.get(rate.name, (0, Decimal(0), Decimal(0)))
        rated.append(RatedRecord(
            source=source, rate=rate, charged_octets=charged - charged_before, charge=charge - charge_before, tax=tax - tax_before))
        before[rate.name] = charged, charge, tax
    return rated, unrated


def total(rated: Iterable[RatedRecord]) -> tuple[Decimal, Decimal]:
    """Charge and tax."""
    charge = tax = Decimal(0)
    for each in rated:
        charge += each.charge
        tax += each.tax
    return charge, tax
