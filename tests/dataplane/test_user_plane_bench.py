"""The measuring programme measures; what it measured is a report's business, not a test's."""

from __future__ import annotations

import pytest

from epc.dataplane.bench import SgiKind, measure_user_plane
from epc.dataplane.capabilities import dataplane_capabilities

TUN = next(capability for capability in dataplane_capabilities() if capability.name == "TUN devices")


@pytest.mark.real_time
@pytest.mark.parametrize("sgi", [
    SgiKind.REFLECTOR,
    pytest.param(SgiKind.TUN, marks=[pytest.mark.privileged, pytest.mark.skipif(not TUN.available, reason=TUN.detail)]),
])
def test_every_packet_comes_back_and_costs_something(sgi: SgiKind) -> None:
    cost = measure_user_plane(packet_octets=200, sessions=10, packets=500, rounds=3, window=16, sgi=sgi)
    assert (cost.packets, cost.lost, cost.sessions) == (3000, 0, 10)
    assert 0 < cost.us_per_packet < 1000
    assert cost.packets_per_second > 0


def test_impossible_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="1400 octets"):
        measure_user_plane(packet_octets=1401)
    with pytest.raises(ValueError, match="sessions"):
        measure_user_plane(sessions=0)
