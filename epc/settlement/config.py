"""Who settles with whom, and at which wholesale prices: the file given to ``epclab settle --config``."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from epc.node import Section
from epc.node.config import Octets, PlmnDigits, TimeZoneName, zone_named

MB = 1_000_000


def _decimal(value: object) -> object:
    """Decimal places as they are written: YAML's floating point is not asked to hold them."""
    if isinstance(value, bool):
        raise ValueError("an amount of money such as 0.50")
    return str(value) if isinstance(value, int | float) else value


Amount = Annotated[
    Decimal, BeforeValidator(_decimal), Field(ge=0, max_digits=15, decimal_places=6), WithJsonSchema({"type": ["number", "string"]})]
Tadig = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{5}$")]


class Operator(Section):
    """``tadig`` is the code that TAP files name it by (GSMA TD.13): three letters of the country, two of the operator."""

    name: str = Field(min_length=1, max_length=100)
    tadig: Tadig
    plmns: Annotated[tuple[PlmnDigits, ...], Field(min_length=1)]
    time_zone: TimeZoneName = Field(default="UTC", description="of the times in its TAP files and statements")

    @property
    def zone(self) -> datetime.tzinfo:
        return zone_named(self.time_zone)


class WholesaleRate(Section):
    """What the visited operator gets for a session; what is left out fits every session. The first rate that fits holds."""

    name: str = Field(min_length=1, max_length=100)
    apns: tuple[str, ...] = Field(default=(), description="network identifiers")
    rat_types: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(default=(), description="TS 29.274 clause 8.17; E-UTRAN is 6")
    price_per_mb: Amount = Field(description="for a million octets, up and down together")
    increment: Octets = Field(default=1, description="a session's octets are rounded up to a multiple of it")
    session_fee: Amount = Decimal(0)
    session_minimum: Amount = Field(default=Decimal(0), description="what a session costs at least")

    def fits(self, apn: str | None, rat_type: int | None) -> bool:
        return (not self.apns or apn in self.apns) and (not self.rat_types or rat_type in self.rat_types)


class Agreement(Section):
    """A roaming agreement, for one direction: ``visited`` serves subscribers of ``home`` and is paid for it."""

    visited: str
    home: str
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    decimal_places: Annotated[int, Field(ge=0, le=6, description="of the charges in TAP files")] = 4
    rates: Annotated[tuple[WholesaleRate, ...], Field(min_length=1)]
    tax_percent: Annotated[Amount, Field(lt=100)] = Decimal(0)
    test_data: bool = Field(default=True, description="marks TAP files as test data, which nobody pays (file type T)")


class SettlementConfig(Section):
    operators: dict[str, Operator]
    agreements: Annotated[tuple[Agreement, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> SettlementConfig:
        for agreement in self.agreements:
            for key in (agreement.visited, agreement.home):
                if key not in self.operators:
                    raise ValueError(f"agreements: {key} is not among operators")
        pairs = [(agreement.visited, agreement.home) for agreement in self.agreements]
        if len(set(pairs)) < len(pairs):
            raise ValueError("agreements: two for one pair of operators")
        return self

    def agreement(self, visited: str | None = None, home: str | None = None) -> Agreement:
        """The one that is meant; raises ``LookupError`` when there is none, or more than one and nobody says which."""
        found = [each for each in self.agreements if visited in (None, each.visited) and home in (None, each.home)]
        if len(found) != 1:
            known = ", ".join(f"{each.visited} serves {each.home}" for each in self.agreements)
            raise LookupError(f"{'no such' if not found else 'more than one'} agreement; there are: {known}")
        return found[0]
