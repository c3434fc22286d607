"""GPRS timer (and 2), and GPRS timer 3: TS 24.008 clauses 10.5.7.3, 10.5.7.4 and 10.5.7.4a."""

from __future__ import annotations

from dataclasses import dataclass

from epc.wire.errors import WireError
from epc.wire.nas.coding import Coding, require_length

_DEACTIVATED = 7
_UNIT_S = {0: 2, 1: 60, 2: 360}                                                     # other units count minutes, 7 is "deactivated"
_UNIT_3_S = {3: 2, 4: 30, 5: 60, 0: 600, 1: 3600, 2: 36000, 6: 1152000}


def _unit_and_value(seconds: int | None, units: dict[int, int]) -> tuple[int, int]:
    if seconds is None:
        return _DEACTIVATED, 0
    for unit, unit_s in units.items():
        if 0 <= seconds <= 31 * unit_s and seconds % unit_s == 0:
            return unit, seconds // unit_s
    for unit, unit_s in units.items():      # nothing exact: the finest unit that reaches, rounded up
        if 0 <= seconds <= 31 * unit_s:
            return unit, -(-seconds // unit_s)
    raise WireError(f"{seconds} s is out of a GPRS timer's range")


@dataclass(frozen=True, slots=True, kw_only=True)
class GprsTimer:
    """``value`` (5 bits) times ``unit`` (3 bits); ``seconds`` is ``None`` for a deactivated timer."""

    unit: int
    value: int

    @property
    def seconds(self) -> int | None:
        return None if self.unit == _DEACTIVATED else self.value * _UNIT_S.get(self.unit, 60)

    @classmethod
    def of(cls, seconds: int | None) -> GprsTimer:
        """The timer of ``seconds``, rounded up where no unit is exact; ``None`` deactivates."""
        unit, value = _unit_and_value(seconds, _UNIT_S)
        return cls(unit=unit, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GprsTimer3:
    """As :class:`GprsTimer`, with the longer units of GPRS timer 3."""

    unit: int
    value: int

    @property
    def seconds(self) -> int | None:
        return None if self.unit == _DEACTIVATED else self.value * _UNIT_3_S[self.unit]

    @classmethod
    def of(cls, seconds: int | None) -> GprsTimer3:
        """The timer of ``seconds``, rounded up where no unit is exact; ``None`` deactivates."""
        unit, value = _unit_and_value(seconds, _UNIT_3_S)
        return cls(unit=unit, value=value)


_TIMERS = tuple([GprsTimer(unit=octet >> 5, value=octet & 31) for octet in range(256)])
_TIMERS_3 = tuple([GprsTimer3(unit=octet >> 5, value=octet & 31) for octet in range(256)])


def _encode(timer: GprsTimer | GprsTimer3) -> bytes:
    if not 0 <= timer.value <= 31:
        raise WireError("a GPRS timer's value has 5 bits")
    return bytes((timer.unit << 5 | timer.value,))


def _decode(octets: bytes) -> GprsTimer:
    require_length(octets, 1)
    return _TIMERS[octets[0]]


def _decode_3(octets: bytes) -> GprsTimer3:
    require_length(octets, 1)
    return _TIMERS_3[octets[0]]


GPRS_TIMER: Coding[GprsTimer] = Coding(_encode, _decode)
GPRS_TIMER_3: Coding[GprsTimer3] = Coding(_encode, _decode_3)
