"""Times of day, days of the week and periods of counting, in the operator's time zone."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BeforeValidator

from epc.node.config import zone_named

Period = Literal["hour", "day", "week", "month", "ever"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(DAYS)
_DAYS = re.compile(rf"({_DAY})(?:-({_DAY}))?")


def _days(value: object) -> object:
    """``mon-fri, sun`` is a list of days; ``fri-mon`` goes over the weekend."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        return value
    found: list[str] = []
    for part in value:
        match = _DAYS.fullmatch(part.strip().lower()) if isinstance(part, str) else None
        if match is None:
            raise ValueError(f"days are {', '.join(DAYS)} or from one to another such as mon-fri")
        first = DAYS.index(match[1])
        last = DAYS.index(match[2]) if match[2] else first
        found += [DAYS[(first + more) % 7] for more in range((last - first) % 7 + 1)]
    return tuple(sorted(set(found), key=DAYS.index))


Days = Annotated[tuple[str, ...], BeforeValidator(_days)]


def hours_of(text: str) -> tuple[datetime.time, datetime.time]:
    """``22:00-06:00`` as two times; 24:00 is the next day's 00:00."""
    start, _, end = text.partition("-")
    return datetime.time.fromisoformat(start), datetime.time() if end == "24:00" else datetime.time.fromisoformat(end)


def is_within(at: datetime.datetime, hours: str | None, days: tuple[str, ...]) -> bool:
    """Whether ``at`` is in the hours of one of the days. Hours that go over midnight belong to the day that they begin in."""
    if hours is None:
        return not days or DAYS[at.weekday()] in days
    start, end = hours_of(hours)
    now = at.time()
    if start < end:
        return start <= now < end and (not days or DAYS[at.weekday()] in days)
    if now >= start:
        return not days or DAYS[at.weekday()] in days
    return now < end and (not days or DAYS[(at.weekday() - 1) % 7] in days)


class Calendar:
    """The wall clock of the operator."""

    def __init__(self, time_zone: str) -> None:
        self._zone = zone_named(time_zone)

    def at(self, seconds: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(seconds, self._zone)

    def moment(self, at: datetime.datetime | None) -> datetime.datetime | None:
        """One that names no time zone is in the operator's."""
        return at.replace(tzinfo=self._zone) if at is not None and at.tzinfo is None else at

    def period_start_ms(self, per: Period, seconds: float) -> int:
        """When the period of counting began that ``seconds`` (since 1970) falls into; milliseconds since 1970."""
        return int(self._period(per, self.at(seconds)).timestamp() * 1000) if per != "ever" else 0

    def next_boundary(
        self, seconds: float, hours: Iterable[str], periods: Iterable[Period], *, days: bool, ends: Iterable[datetime.datetime] = (),
    ) -> float | None:
        """The first moment after ``seconds`` at which hours begin or end, a day begins (if ``days``), a period ends, or one of ``ends`` is."""
        now = self.at(seconds)
        moments = [end.timestamp() for end in ends]
        times = {time for each in hours for time in hours_of(each)} | ({datetime.time()} if days else set())
        for time in times:
            moments += [datetime.datetime.combine(now.date() + datetime.timedelta(days=more), time, self._zone).timestamp() for more in (0, 1, 2)]
        for per in periods:
            if per != "ever":
                moments.append(self._after(per, self._period(per, now)).timestamp())
        return min((moment for moment in moments if moment > seconds), default=None)

    def _period(self, per: Period, at: datetime.datetime) -> datetime.datetime:
        if per == "hour":
            return at.replace(minute=0, second=0, microsecond=0)
        day = datetime.datetime.combine(at.date(), datetime.time(), self._zone)
        if per == "week":
            return day - datetime.timedelta(days=day.weekday())
        return day.replace(day=1) if per == "month" else day

    @staticmethod
    def _after(per: Period, start: datetime.datetime) -> datetime.datetime:
        if per == "hour":       # of real time: there is no hour 2 in the night that summer time begins
            return (start.astimezone(datetime.UTC) + datetime.timedelta(hours=1)).astimezone(start.tzinfo)
        if per == "month":
            return (start + datetime.timedelta(days=32)).replace(day=1)
        return start + datetime.timedelta(days=7 if per == "week" else 1)
