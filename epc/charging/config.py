"""The section ``offline_charging`` of a gateway's configuration."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from epc.node.config import Digits, Octets, PlmnDigits, Seconds, Section, TimeZoneName, zone_named

TimeOfDay = Annotated[Digits, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class PartialRecords(Section):
    """When a record is closed and the next one opened although the bearer goes on (TS 32.251 clauses 5.2.3.4.2 and 5.2.3.10.2)."""

    octets: Octets | None = Field(default=None, description="volumeLimit: both directions together; default: none")
    seconds: Seconds | None = Field(default=None, description="timeLimit; default: none")
    changes: int = Field(default=10, ge=1, le=100, description="maxChangeCond: so many containers in one record")


class Rotation(Section):
    """When a file is closed and given its final name."""

    octets: Octets = 1_000_000
    seconds: Seconds = 3600.0
    records: int = Field(default=10_000, ge=1)


class OfflineCharging(Section):
    """Charging data records. Without this section a gateway writes none."""

    directory: Path | None = Field(
        default=None, description="default: cdr in state_directory, or where there is none a temporary folder that goes when the node stops")
    formats: Annotated[tuple[Literal["ber", "json"], ...], Field(min_length=1)] = ("ber", "json")
    plmn: PlmnDigits | None = Field(default=None, description="whose gateway this is: p-GWPLMNIdentifier")
    time_zone: TimeZoneName = Field(default="UTC", description="of the records' times, such as Europe/Madrid")
    partial: PartialRecords = PartialRecords()
    tariff_times: tuple[TimeOfDay, ...] = Field(default=(), description='when prices change, such as "08:00": a container ends there (tariffTime)')
    rotate: Rotation = Rotation()
    volumes_every_s: Seconds = Field(default=5.0, description="how often volumes are noted in the journal: what a crash may cost")
    sync: Literal["rotation", "record"] = Field(
        default="rotation", description="when files are forced to the disk; a crash of the process loses nothing either way, a power cut may")

    @property
    def zone(self) -> datetime.tzinfo:
        return zone_named(self.time_zone)

    def directory_in(self, state_directory: Path | None) -> Path | None:
        """Where the files go; None: nowhere in particular."""
        if self.directory is not None:
            return self.directory
        return None if state_directory is None else state_directory / "cdr"

    def seconds_to_tariff_time(self, now: float) -> float | None:
        """Until the next of ``tariff_times``; None where there are none."""
        if not self.tariff_times:
            return None
        today = datetime.datetime.fromtimestamp(now, self.zone).date()
        moments = [
            datetime.datetime.combine(day, datetime.time.fromisoformat(each), self.zone).timestamp()
            for day in (today, today + datetime.timedelta(days=1), today + datetime.timedelta(days=2)) for each in self.tariff_times]
        return min(moment for moment in moments if moment > now) - now
