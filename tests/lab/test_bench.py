"""The attach benchmark: its topology is valid, its figures are what they say, and a small run works."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
import uvloop

from epc.lab.bench import AttachCost, NodeCost, Usage, bench_nodes, generator_config, measure_attach
from epc.lab.kinds import config_model
from epc.node import parse_config
from epc.transport.sctp import sctp_capabilities


def cost(**nodes: tuple[str, float, float]) -> AttachCost:
    return AttachCost(
        ues=1000, concurrency=64, attached=999, failures={"T3410 expired": 1}, duration_s=2.0, p50_ms=80.0, p99_ms=150.0,
        nodes=tuple(NodeCost(name=name, kind=kind, cpu_ms_per_attach=cpu, memory_kb_per_ue=kb) for name, (kind, cpu, kb) in nodes.items()),
    )


def test_every_node_of_the_topology_is_configured_validly() -> None:
    for name, data in bench_nodes(1000, "127.16.1.").items():
        parse_config({"name": name, **data}, config_model(data["kind"]), source="bench")
    assert generator_config(1000, "127.16.1.").phones[0].count == 1000


def test_the_core_is_everything_but_the_generator() -> None:
    measured = cost(mme=("mme", 1.0, 5.0), sgw=("sgw", 0.5, 6.0), generator=("generator", 1.0, 10.0))
    assert measured.core_cpu_ms_per_attach == 1.5
    assert measured.core_memory_kb_per_ue == 11.0
    assert measured.attaches_per_s == pytest.approx(499.5)


def test_the_report_names_nodes_and_failures() -> None:
    report = cost(mme=("mme", 1.234, 5.0), generator=("generator", 1.0, 10.0)).report()
    assert "999 of 1000 phones attached, 64 at a time, in 2.0 s" in report
    assert "1.23" in report
    assert "failed 1 times: T3410 expired" in report


def test_usage_of_a_process_is_what_the_system_counts() -> None:
    before = Usage.of(os.getpid())
    ballast = mmap.mmap(-1, 20 << 20)       # pages of its own: the allocator may have 20 MB left over
    ballast.write(os.urandom(1 << 20) * 20)
    while Usage.own().cpu_s < before.cpu_s + 0.05:
        sum(range(10_000))
    after = Usage.of(os.getpid())
    assert 0.02 < after.cpu_s - before.cpu_s < 5
    assert after.memory_kb - before.memory_kb > len(ballast) / 1024 * 0.8


@pytest.mark.real_time
@pytest.mark.skipif(not sctp_capabilities().usable, reason="no SCTP here")
def test_a_small_measurement(tmp_path: Path) -> None:
    measured = uvloop.run(measure_attach(ues=20, concurrency=5, directory=tmp_path))
    assert measured.attached == 20
    assert not measured.failures
    assert {node.kind for node in measured.nodes} == {"hss", "pcrf", "pgw", "sgw", "mme", "generator"}
    assert 0 < measured.p50_ms <= measured.p99_ms
