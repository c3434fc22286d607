"""The same suite over veth pairs, on both back ends: forwarder, peers and SGi are in namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from epc.dataplane.bpf.fast_path import Hook
from tests.dataplane.bpf_bench import REASON, BpfBench, Wire, World, why_no_namespaces
from tests.dataplane.test_forwarder_conformance import *  # noqa: F403  (the suite, and its fixtures)

NO_NAMESPACES = why_no_namespaces()
pytestmark = [pytest.mark.real_time, pytest.mark.privileged, pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)]
needs_bpf = pytest.mark.skipif(bool(REASON), reason=REASON)

# Hooks differ in how octets are moved; which rule takes a packet, and all that user space does, is the same text. So the suite runs whole
# on one hook, and on the others those of its tests whose packets the kernel forwards, drops, or hands over in ways of the hook's own.
ON_EVERY_HOOK = {
    "test_relays_both_ways_with_the_new_teid_and_counts_user_octets",
    "test_removed_session_gets_error_indication",
    "test_buffers_for_an_idle_ue_raises_one_event_and_delivers_in_order",
    "test_path_switch_sends_an_end_marker_on_the_old_tunnel_first",
    "test_optional_header_parts_are_relayed",
    "test_pgw_takes_the_tunnel_off_and_puts_it_on",
    "test_spoofed_source_is_dropped_and_counted",
    "test_dual_stack_ue_is_known_by_both_addresses",
    "test_inner_packet_that_is_no_ip_packet",
    "test_garbage_never_harms_and_is_all_accounted_for",
    "test_sdf_filters_choose_the_bearer_by_precedence",
    "test_no_packet_of_one_ue_reaches_another",
    "test_what_just_fits_passes_and_what_does_not_is_refused_by_icmp",
    "test_outer_fragments_are_put_together",
    "test_packet_for_another_ue_goes_straight_there",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench" in metafunc.fixturenames:
        hooks = list(Hook) if metafunc.function.__name__ in ON_EVERY_HOOK else [Hook.XDP_GENERIC]
        backends = [pytest.param(None, id="socket"), *[pytest.param(hook, id=hook.value, marks=needs_bpf) for hook in hooks]]
        metafunc.parametrize("bench", backends, indirect=True)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
async def bench(request: pytest.FixtureRequest, world: World) -> AsyncIterator[BpfBench]:
    before = set(os.listdir("/proc/self/fd"))
    bench = BpfBench(request.param, world)
    yield bench
    await bench.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0      # programs, maps and namespaces go with their descriptors
    assert world.node_routes.device_names() == {"lo", "n0"}         # and so do devices


@pytest.fixture
def wire() -> Wire:
    return Wire()
