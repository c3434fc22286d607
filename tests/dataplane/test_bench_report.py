"""What the measurements of the user plane are compared with, and how that is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epc.cli import main
from epc.dataplane import bench_report
from epc.dataplane.bench import SgiKind, UserPlaneCost
from epc.dataplane.bench_report import UserPlaneReport
from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf_bench import OF_GTPU, Job, KernelCost, KernelCosts


def socket_cost(octets: int, ues: int, us: float, lost: int = 0) -> UserPlaneCost:
    return UserPlaneCost(
        packet_octets=octets, sessions=ues, sgi=SgiKind.REFLECTOR, packets=1000, lost=lost, packets_per_second=1e5,
        sgw_us_per_packet=us / 2, pgw_us_per_packet=us / 2,
    )


def kernel_costs(octets: int, ues: int, bpf_us: float, tc_us: float, ip_us: float) -> KernelCosts:
    us = {(Job.IP_FORWARDING, None): ip_us, (Job.REDIRECT, None): 0.5, (Job.DISCARD, None): 0.1}
    us |= {(job, hook): cost for hook, cost in ((Hook.XDP_GENERIC, bpf_us), (Hook.TC, tc_us)) for job in OF_GTPU}
    return KernelCosts(costs={
        (job, hook): KernelCost(job=job, hook=hook, packet_octets=octets, sessions=ues, packets=1000, lost=0, us_per_packet=cost)
        for (job, hook), cost in us.items()
    })


@pytest.mark.parametrize(("socket_us", "bpf_us", "tc_us", "ip_us", "missed"), [
    (14.9, 0.9, 1.0, 0.8, set()),
    (15.1, 0.9, 1.0, 0.8, {"socket: SGW and PGW together"}),
    (14.9, 1.1, 1.2, 0.8, {"bpf: SGW and PGW together"}),
    (14.9, 0.9, 1.0, 0.5, {"bpf: its dearest step, to the kernel's IP forwarding"}),
    (14.9, 0.9, 0.8, 0.8, {"bpf: SGW and PGW together, to the same on tc alone"}),
])
def test_each_budget_is_missed_for_its_own_reason(socket_us: float, bpf_us: float, tc_us: float, ip_us: float, missed: set[str]) -> None:
    report = UserPlaneReport()
    report.sockets[64, 1] = socket_cost(64, 1, socket_us)
    report.kernels[64, 1] = Hook.XDP_GENERIC, kernel_costs(64, 1, bpf_us, tc_us, ip_us)
    assert {budget.name for budget in report.budgets() if not budget.is_met} == missed
    text = "\n".join(report.lines())
    assert text.count("MISSED") == len(missed)
    assert text.count(" met") == 4 - len(missed)


def test_growth_is_of_the_same_packets_of_one_phone() -> None:
    report = UserPlaneReport()
    for octets, ues, us, lost in ((64, 1, 10.0, 0), (64, 60_000, 21.0, 3), (1400, 1, 11.0, 0)):
        report.sockets[octets, ues] = socket_cost(octets, ues, us, lost)
    report.kernels[64, 60_000] = Hook.XDP_GENERIC, kernel_costs(64, 60_000, 0.9, 1.0, 0.8)     # nothing to compare it with
    growth = {budget.name: budget.measured for budget in report.budgets()}
    assert growth == {"socket: SGW and PGW together": 11.0, "socket: many phones, to one": pytest.approx(2.1)}
    assert report.lost == 3


@pytest.mark.parametrize("verb", ["userplane", "user-plane"])
def test_command_measures_what_is_asked_for(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(*, packet_octets: int, sessions: int, sgi: SgiKind, rounds: int, packets: int) -> UserPlaneCost:
        assert rounds == 3
        return socket_cost(packet_octets, sessions, 10.0)

    async def refused(**_: object) -> KernelCosts:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(bench_report, "measure_user_plane", measured)
    monkeypatch.setattr(bench_report, "measure_kernel", refused)
    assert main(["bench", verb, "--rounds", "3", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "bpf is left out, it does not run here: Operation not permitted" in told.err
    assert told.err.count("\n") == 1
    written = json.loads((tmp_path / "userplane.json").read_text())
    assert [(cost["packet_octets"], cost["sessions"]) for cost in written["socket"]] == [(64, 1), (1400, 1), (64, 60_000)]
    assert [budget["met"] for budget in written["budgets"]] == [True, True]
    assert main(["bench", verb, "--backend", "bpf", "--rounds", "3", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "epclab: bpf does not run here: Operation not permitted. It takes root; `epclab doctor` tells more\n"
    assert main(["bench", verb, "--backend", "socket", "--size", "200", "--ues", "5", "--rounds", "3", "--out", str(tmp_path)]) == 0
    assert "packets of 200 octets, of 5 phones" in capsys.readouterr().out
