"""Rating: which rate holds for a service, where and when, and what units of it cost (TS 32.296 clause 5.2)."""

from __future__ import annotations

import datetime
import zoneinfo

from epc.ocs.config import Rate, Tariff
from epc.ocs.money import MICRO
from epc.ocs.store import Service, ServiceKey


class RatingEngine:
    """The tariff, ready to be asked."""

    def __init__(self, tariff: Tariff) -> None:
        self._rates = [(rate, rate.span) for rate in tariff.rates]
        self._home = frozenset(tariff.home_plmns)
        self._zone: datetime.tzinfo = datetime.UTC if tariff.time_zone == "UTC" else zoneinfo.ZoneInfo(tariff.time_zone)
        self._changes = sorted({edge for _, span in self._rates if span for edge in span})

    def rate(self, service: ServiceKey, *, apn: str, visited_plmn: str, now: float) -> Rate | None:
        """The first rate that fits. A gateway that does not say which network is visited is taken to be at home."""
        local = datetime.datetime.fromtimestamp(now, self._zone).time()
        is_home = not visited_plmn or visited_plmn in self._home
        for rate, span in self._rates:
            if ((not rate.rating_groups or service.rating_group in rate.rating_groups)
                    and (not rate.service_identifiers or service.service_identifier in rate.service_identifiers)
                    and (not rate.apns or apn in rate.apns)
                    and (not rate.plmns or visited_plmn in rate.plmns)
                    and rate.where in ("anywhere", "home" if is_home else "roaming")
                    and (span is None or _is_within(local, *span))):
                return rate
        return None

    def seconds_to_change(self, now: float) -> int | None:
        """Until the next moment at which some rate begins or ends; None where prices do not depend on the time of day."""
        if not self._changes:
            return None
        today = datetime.datetime.fromtimestamp(now, self._zone).date()
        moments = [datetime.datetime.combine(day, edge, self._zone).timestamp()
                   for day in (today, today + datetime.timedelta(days=1)) for edge in self._changes]
        return max(1, int(min(moment for moment in moments if moment > now) - now))


def _is_within(moment: datetime.time, first: datetime.time, last: datetime.time) -> bool:
    if first < last:
        return first <= moment < last
    return moment >= first or moment < last         # over midnight


def service_at(rate: Rate, key: ServiceKey) -> Service:
    """A service that is charged at ``rate``, with nothing granted yet."""
    if rate.price_per_mb is not None:
        return Service(rating_group=key.rating_group, service_identifier=key.service_identifier, rate=rate.name, unit="octets",
                       price=rate.price_per_mb)
    return Service(rating_group=key.rating_group, service_identifier=key.service_identifier, rate=rate.name, unit="seconds",
                   price=(rate.price_per_second or 0) * MICRO)


def cost(service: Service, units: int) -> tuple[int, int]:
    """What ``units`` cost now, and the fraction that is left for the next report: sums are exact, however usage is cut into reports."""
    return divmod(units * service.price + service.fraction, MICRO)


def reservation(service: Service, units: int) -> int:
    """Money that covers ``units`` whatever fraction is left."""
    return -(-units * service.price // MICRO)


def affordable(service: Service, money: int, wanted: int) -> int:
    """How many of the ``wanted`` units ``money`` pays for."""
    if service.price == 0:
        return wanted
    return min(wanted, max(money, 0) * MICRO // service.price)
