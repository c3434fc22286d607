"""The OCS's configuration file: where it listens, the accounts it starts with, the tariff."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import Hours, ImsiDigits, Octets, PlmnDigits, Seconds, TimeZoneName
from epc.node.database import check_database_url
from epc.node.diameter import DiameterServer
from epc.ocs.money import parse_money
from epc.wire.diameter.charging import RedirectAddressType, TriggerType


def _money(value: object) -> object:
    """Decimal places as they are written: YAML's floating point is not asked to hold them."""
    if isinstance(value, bool):
        raise ValueError("an amount of money such as 9.99")
    return parse_money(str(value)) if isinstance(value, str | int | float) else value


def _time_of_day(text: str) -> datetime.time:
    if text == "24:00":
        return datetime.time(0, 0)
    return datetime.time.fromisoformat(text)


_AMOUNT = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d*\.?\d+$"}]}

Money = Annotated[int, BeforeValidator(_money), WithJsonSchema(_AMOUNT)]
Price = Annotated[int, BeforeValidator(_money), Field(ge=0), WithJsonSchema(_AMOUNT)]
WholeSeconds = Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
Number32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
FilterRule = Annotated[str, StringConstraints(pattern=r"^(permit|deny) (in|out) (ip|\d{1,3}) from \S.* to \S.*$")]


class Quota(Section):
    """How much is granted at a time."""

    octets: Octets = 10_000_000
    seconds: WholeSeconds = 600
    threshold_percent: int = Field(default=20, ge=0, le=99, description="the gateway asks for more when this much is left; 0: when nothing is")
    validity_time_s: WholeSeconds = Field(default=3600, description="then the gateway reports and asks again")
    holding_time_s: int = Field(default=600, ge=0, description="without traffic for so long the gateway gives the quota back; 0: never")


class Rate(Section):
    """A price and whom it is for; what is left out fits everything. The first rate that fits holds."""

    name: str = Field(min_length=1, max_length=100)
    rating_groups: tuple[Number32, ...] = ()
    service_identifiers: tuple[Number32, ...] = ()
    apns: tuple[str, ...] = ()
    where: Literal["anywhere", "home", "roaming"] = Field(default="anywhere", description="whether the visited network is one of home_plmns")
    plmns: tuple[PlmnDigits, ...] = Field(default=(), description="visited networks")
    hours: Hours | None = Field(default=None, description='such as "22:00-06:00", in the tariff\'s time_zone')
    service: Literal["charged", "free", "denied"] = Field(
        default="charged", description="free: CREDIT_CONTROL_NOT_APPLICABLE, no quota needed; denied: END_USER_SERVICE_DENIED")
    price_per_mb: Price | None = Field(default=None, description="for a million octets, up and down together")
    price_per_second: Price | None = None

    @model_validator(mode="after")
    def _one_price(self) -> Rate:
        prices = (self.price_per_mb is not None) + (self.price_per_second is not None)
        if self.service == "charged" and prices != 1:
            raise ValueError("either price_per_mb or price_per_second")
        if self.service != "charged" and prices:
            raise ValueError(f"a {self.service} service has no price")
        return self

    @property
    def span(self) -> tuple[datetime.time, datetime.time] | None:
        if self.hours is None:
            return None
        first, last = self.hours.split("-")
        return _time_of_day(first), _time_of_day(last)


class FinalUnit(Section):
    """What the gateway does with a user who has no money left (RFC 8506 clause 5.6)."""

    action: Literal["terminate", "redirect", "restrict_access"] = "terminate"
    redirect_to: str = Field(default="", description="URL, SIP URI or IP address that sells credit")
    filter_rules: tuple[FilterRule, ...] = Field(default=(), description="IPFilterRules: what stays allowed")
    filter_ids: tuple[str, ...] = Field(default=(), description="filters that the gateway knows by name")

    @model_validator(mode="after")
    def _complete(self) -> FinalUnit:
        if (self.action == "redirect") != bool(self.redirect_to):
            raise ValueError("redirect_to belongs to the action redirect")
        if self.action == "restrict_access" and not (self.filter_rules or self.filter_ids):
            raise ValueError("restrict_access needs filter_rules or filter_ids")
        if self.action == "terminate" and (self.filter_rules or self.filter_ids):
            raise ValueError("nothing stays allowed where the action is terminate")
        return self

    @property
    def redirect_address_type(self) -> RedirectAddressType:
        try:
            version = ipaddress.ip_address(self.redirect_to).version
        except ValueError:
            return RedirectAddressType.SIP_URI if self.redirect_to.startswith(("sip:", "sips:")) else RedirectAddressType.URL
        return RedirectAddressType.IPV4_ADDRESS if version == 4 else RedirectAddressType.IPV6_ADDRESS


class Tariff(Section):
    """What things cost. A service that no rate fits gets DIAMETER_RATING_FAILED."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    time_zone: TimeZoneName = Field(default="UTC", description="of the rates' hours, such as Europe/Madrid")
    home_plmns: tuple[PlmnDigits, ...] = Field(default=(), description="where a user does not roam")
    rates: tuple[Rate, ...] = ()
    quota: Quota = Quota()
    final_unit: FinalUnit = FinalUnit()
    triggers: tuple[str, ...] = Field(
        default=("CHANGEINLOCATION_MCC", "CHANGEINLOCATION_MNC"), description="changes, such as of the price, that the gateway reports at once")

    @model_validator(mode="after")
    def _consistent(self) -> Tariff:
        names = [rate.name for rate in self.rates]
        for rate in self.rates:
            if names.count(rate.name) > 1:
                raise ValueError(f"two rates are called {rate.name}")
            if rate.where != "anywhere" and not self.home_plmns:
                raise ValueError(f"rate {rate.name} says {rate.where}: home_plmns is needed")
        for trigger in self.triggers:
            if trigger not in TriggerType.__members__:
                raise ValueError(f"no trigger type is called {trigger}; there are {', '.join(TriggerType.__members__)}")
        return self


class OpeningAccount(Section):
    """An account, or ``count`` of them with consecutive IMSIs, that the database gets at start if it has none of that IMSI."""

    imsi: ImsiDigits
    count: int = Field(default=1, ge=1, le=1_000_000)
    balance: Money = 0

    def imsis(self) -> list[str]:
        return [f"{int(self.imsi) + number:0{len(self.imsi)}}" for number in range(self.count)]


class OcsConfig(NodeConfig):
    origin_host: str = Field(min_length=1, description="Diameter identity, e.g. ocs.epc.mnc001.mcc001.3gppnetwork.org")
    origin_realm: str = Field(min_length=1, description="e.g. epc.mnc001.mcc001.3gppnetwork.org")
    gy: DiameterServer = DiameterServer()
    database: Annotated[str, AfterValidator(check_database_url)] | None = Field(
        default=None, description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; default: ledger.sqlite in state_directory, "
                                  "or in memory where there is none")
    tariff: Tariff = Tariff()
    accounts: tuple[OpeningAccount, ...] = ()
    failure_handling: Literal["terminate", "continue", "retry_and_terminate"] = Field(
        default="terminate", description="what gateways do with users while no OCS answers (Credit-Control-Failure-Handling)")
    session_failover: bool = Field(default=False, description="gateways may go on at another OCS, one that uses the same database")
    supervision_interval_s: Seconds = Field(default=10.0, description="how often dead sessions are looked for (Tcc is twice the validity time)")
    closed_sessions_kept_s: Seconds = Field(default=3600.0, description="so long a repeated last request gets its answer again")

    @property
    def database_url(self) -> str:
        if self.database is not None:
            return self.database
        return f"sqlite:///{Path(self.state_directory) / 'ledger.sqlite'}" if self.state_directory else "sqlite://"

    @property
    def session_timeout_s(self) -> int:
        """Tcc: RFC 8506 clause 13 recommends twice the validity time."""
        return 2 * self.tariff.quota.validity_time_s
