"""How much subscribers have used, by monitoring key: read when they come, added up as the PCEF reports it (TS 29.212 clause 4.5.17)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from epc.node.database import StoreError
from epc.pcrf.store import Usage
from epc.wire.diameter.policy import ServiceUnit, UsageMonitoringInformation

if TYPE_CHECKING:
    from epc.pcrf.node import Pcrf

CLOCKS_DIFFER_S = 5.0       # between the PCRFs of one database, at most
_NOTHING: Mapping[str, int] = {}


class UsageCounters:
    """The counters of subscribers that have a session here; the database has everybody's."""

    def __init__(self, pcrf: Pcrf) -> None:
        self._pcrf = pcrf
        self._users: dict[str, dict[str, Usage]] = {}

    async def load(self, imsi: str) -> None:
        """Read what ``imsi`` has used so far. A database that does not say it keeps nobody from being served."""
        try:
            self._keep(imsi, await self._pcrf.store.usage(imsi))
        except StoreError as error:
            self._pcrf.log.error("database.failed", procedure="usage", reason=str(error), imsi=imsi)

    async def load_missing(self, imsis: Iterable[str]) -> None:
        """For those who were here before there was any limit."""
        if self._pcrf.policies.limits:
            for imsi in imsis:
                if imsi not in self._users:
                    await self.load(imsi)

    async def catch_up(self, now: float, interval_s: float) -> list[str]:
        """What other PCRFs have counted for subscribers that are here too; returns these. Raises :class:`StoreError`."""
        if not self._pcrf.policies.limits or not self._users:
            return []
        since_ms = int((now - interval_s - CLOCKS_DIFFER_S) * 1000)
        changed = [imsi for imsi in await self._pcrf.store.updated(since_ms) if imsi in self._users]
        for imsi in changed:
            await self.load(imsi)
        return changed

    def forget(self, imsi: str) -> None:
        """The last session is gone."""
        self._users.pop(imsi, None)

    def used(self, imsi: str, now: float) -> Mapping[str, int]:
        """Octets in the present period of each limit."""
        user = self._users.get(imsi)
        if not user:
            return _NOTHING
        limits = self._pcrf.policies.limits
        return {key: usage.octets for key, usage in user.items()
                if key in limits and usage.period_ms >= self._pcrf.policies.period_start_ms(limits[key].per, now)}

    async def add(self, imsi: str, octets_by_key: Mapping[str, int], now: float) -> None:
        """What a PCEF reported. A database that cannot take it is not let to lose it for the sessions that are there."""
        limits = self._pcrf.policies.limits
        used = [Usage(key=key, octets=octets, period_ms=self._pcrf.policies.period_start_ms(limits[key].per, now) if key in limits else 0)
                for key, octets in octets_by_key.items()]
        try:
            self._keep(imsi, await self._pcrf.store.add_usage(imsi, used, now_ms=int(now * 1000)))
        except StoreError as error:
            self._pcrf.log.error("database.failed", procedure="usage report", reason=str(error), imsi=imsi)
            user = self._users.setdefault(imsi, {})
            for each in used:
                before = user.get(each.key)
                octets = each.octets + (before.octets if before is not None and before.period_ms >= each.period_ms else 0)
                user[each.key] = Usage(key=each.key, octets=octets, period_ms=each.period_ms)

    def _keep(self, imsi: str, usage: Iterable[Usage]) -> None:
        self._users[imsi] = {each.key: each for each in usage}


def reported_octets(information: Iterable[UsageMonitoringInformation]) -> dict[str, int]:
    """Octets by monitoring key, of a request's Usage-Monitoring-Information."""
    found: dict[str, int] = {}
    for each in information:
        if each.monitoring_key is not None and each.used_service_unit:
            key = each.monitoring_key.decode(errors="replace")
            found[key] = found.get(key, 0) + sum(map(_octets, each.used_service_unit))
    return found


def _octets(unit: ServiceUnit) -> int:
    if unit.cc_total_octets is not None:
        return unit.cc_total_octets
    return (unit.cc_input_octets or 0) + (unit.cc_output_octets or 0)
