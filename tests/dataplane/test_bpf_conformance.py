"""The same suite on the BPF back end: forwarder, peers and SGi in namespaces of their own, joined by veth pairs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from epc.dataplane.bpf.fast_path import Hook
from tests.dataplane.bpf_bench import REASON, BpfBench, Wire
from tests.dataplane.test_forwarder_conformance import *  # noqa: F403  (the suite, and its fixtures)

pytestmark = [pytest.mark.real_time, pytest.mark.privileged, pytest.mark.skipif(bool(REASON), reason=REASON)]


@pytest.fixture(params=list(Hook), ids=lambda hook: hook.value)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[BpfBench]:
    before = set(os.listdir("/proc/self/fd"))
    bench = BpfBench(request.param)
    yield bench
    await bench.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0      # programs, maps and namespaces go with their descriptors


@pytest.fixture
def wire() -> Wire:
    return Wire()
