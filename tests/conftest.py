"""The virtual clock: a test marked ``virtual_clock`` runs 30 s of timers in milliseconds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import async_solipsism
import async_solipsism.selector
import pytest


class CeilingClock(async_solipsism.clock.Clock):  # type: ignore[misc]
    """Rounds up, so that no timer rings before its time: one that re-arms itself for a fraction of a tick would ring for ever."""

    def advance(self, delta: float) -> None:
        self._ticks += max(1, math.ceil(round(delta / self._resolution, 3)))


async_solipsism.selector.Clock = CeilingClock


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_clock") is not None:
        return {"virtual": async_solipsism.EventLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture
def seconds() -> Callable[[], float]:
    """The running loop's clock."""
    return lambda: asyncio.get_running_loop().time()
