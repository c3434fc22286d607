"""The kernel measurement measures; what it measured is a report's business, not a test's."""

from __future__ import annotations

import pytest

from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf_bench import OF_GTPU, Job, measure_kernel
from tests.dataplane.bpf_bench import REASON


@pytest.mark.real_time
@pytest.mark.privileged
@pytest.mark.skipif(bool(REASON), reason=REASON)
@pytest.mark.parametrize("hook", list(Hook), ids=lambda hook: hook.value)
async def test_every_job_is_measured_and_nothing_lost(hook: Hook) -> None:
    measured = await measure_kernel(packet_octets=64, sessions=10, packets=5000, rounds=2, hooks=(hook,))
    assert measured.lost == 0
    assert {job for job, _ in measured.costs} == set(Job)
    assert {of for job, of in measured.costs if job in OF_GTPU} == {hook}
    assert all(cost.us_per_packet < 1000 for cost in measured.costs.values())
    assert measured.us(Job.DISCARD) > 0         # the others are differences: so few packets may show none


async def test_impossible_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="1400 octets"):
        await measure_kernel(packet_octets=1401)
    with pytest.raises(ValueError, match="sessions"):
        await measure_kernel(sessions=0)
