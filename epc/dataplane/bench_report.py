"""What ``epclab bench userplane`` measures, and how it compares with what it should be."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from epc.dataplane.bench import SgiKind, UserPlaneCost, measure_user_plane
from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf_bench import OF_GTPU, Job, KernelCosts, measure_kernel

SOCKET_US, BPF_US = 15.0, 2.0           # SGW and PGW together, for a packet
OF_IP_FORWARDING, OF_TC, OF_ONE_PHONE = 1.5, 1.0, 2.0
_STEPS = {Job.RELAY: "SGW", Job.DECAPSULATE: "PGW, uplink", Job.ENCAPSULATE: "PGW, downlink"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A figure that has a limit."""

    name: str
    measured: float
    limit: float
    unit: str                   # "us", or "x": times what it is compared with

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit


class UserPlaneReport:
    """Measurements of one run: by octets of a packet, and number of phones."""

    def __init__(self) -> None:
        self.sockets: dict[tuple[int, int], UserPlaneCost] = {}
        self.kernels: dict[tuple[int, int], tuple[Hook, KernelCosts]] = {}

    def measure_socket(self, octets: int, ues: int, *, sgi: SgiKind, rounds: int, packets: int) -> None:
        """Raises ``OSError`` and ``ValueError``. Blocks."""
        self.sockets[octets, ues] = measure_user_plane(packet_octets=octets, sessions=ues, sgi=sgi, rounds=rounds, packets=packets)

    async def measure_bpf(self, octets: int, ues: int, *, hook: Hook, rounds: int, packets: int, with_tc: bool) -> None:
        """``with_tc``: the same on tc too. Raises ``OSError`` and ``ValueError``. Blocks."""
        hooks = (hook, Hook.TC) if with_tc and hook is not Hook.TC else (hook,)
        self.kernels[octets, ues] = hook, await measure_kernel(packet_octets=octets, sessions=ues, hooks=hooks, rounds=rounds, packets=packets)

    @property
    def lost(self) -> int:
        return sum(cost.lost for cost in self.sockets.values()) + sum(costs.lost for _, costs in self.kernels.values())

    def budgets(self) -> Iterator[Budget]:
        """The dearest of what was measured of each kind."""
        one_phone = {octets for octets, ues in self.sockets if ues == 1}
        if one_phone:
            yield Budget(
                name="socket: SGW and PGW together", unit="us", limit=SOCKET_US,
                measured=max(self.sockets[octets, 1].us_per_packet for octets in one_phone))
        of_one_phone = {octets: self.kernels[octets, ues] for octets, ues in self.kernels if ues == 1}
        if of_one_phone:
            yield Budget(
                name="bpf: SGW and PGW together", unit="us", limit=BPF_US,
                measured=max(costs.together_us(hook) for hook, costs in of_one_phone.values()))
            yield Budget(
                name="bpf: its dearest step, to the kernel's IP forwarding", unit="x", limit=OF_IP_FORWARDING,
                measured=max(costs.us(job, hook) / costs.us(Job.IP_FORWARDING) for hook, costs in of_one_phone.values() for job in OF_GTPU))
            to_tc = [
                costs.together_us(hook) / costs.together_us(Hook.TC) for hook, costs in of_one_phone.values()
                if hook is not Hook.TC and (Job.RELAY, Hook.TC) in costs.costs
            ]
            if to_tc:
                yield Budget(name="bpf: SGW and PGW together, to the same on tc alone", unit="x", limit=OF_TC, measured=max(to_tc))
        growth = [cost.us_per_packet / self.sockets[octets, 1].us_per_packet for (octets, ues), cost in self.sockets.items()
                  if ues > 1 and (octets, 1) in self.sockets]
        if growth:
            yield Budget(name="socket: many phones, to one", unit="x", limit=OF_ONE_PHONE, measured=max(growth))
        growth = [costs.together_us(hook) / of_one_phone[octets][1].together_us(hook) for (octets, ues), (hook, costs) in self.kernels.items()
                  if ues > 1 and octets in of_one_phone]
        if growth:
            yield Budget(name="bpf: many phones, to one", unit="x", limit=OF_ONE_PHONE, measured=max(growth))

    def lines(self) -> Iterator[str]:
        for octets, ues in sorted(self.sockets.keys() | self.kernels.keys(), key=lambda key: (key[1], key[0])):
            title = f"packets of {octets} octets, of {ues} phone" + ("s" if ues > 1 else "")
            yield f"{title:<58}{'us a packet':>12}{'packets/s':>12}{'lost':>8}"
            cost = self.sockets.get((octets, ues))
            if cost is not None:
                yield _line("socket", "SGW", cost.sgw_us_per_packet)
                yield _line("", "PGW", cost.pgw_us_per_packet)
                yield _line("", "SGW and PGW together", cost.us_per_packet, cost.packets_per_second, cost.lost)
            if (octets, ues) in self.kernels:
                yield from _kernel_lines(*self.kernels[octets, ues])
            yield ""
        budgets = list(self.budgets())
        if budgets:
            yield f"{'budgets':<58}{'measured':>12}{'at most':>12}"
        for budget in budgets:
            measured, limit = (f"{value:.2f} {budget.unit}" for value in (budget.measured, budget.limit))
            yield f"  {budget.name:<56}{measured:>12}{limit:>12}  {'met' if budget.is_met else 'MISSED'}"

    def as_json(self) -> Mapping[str, object]:
        return {
            "machine": {
                "kernel": platform.release(), "cpus": os.cpu_count(), "processor": _processor(), "python": sys.version.split()[0],
            },
            "socket": [{**asdict(cost), "sgi": cost.sgi.value, "us_per_packet": cost.us_per_packet} for cost in self.sockets.values()],
            "bpf": [
                {**asdict(cost), "job": cost.job.value, "hook": None if cost.hook is None else cost.hook.value}
                for _, costs in self.kernels.values() for cost in costs.costs.values()
            ],
            "budgets": [{**asdict(budget), "met": budget.is_met} for budget in self.budgets()],
        }


def _kernel_lines(chosen: Hook, costs: KernelCosts) -> Iterator[str]:
    hooks: Sequence[Hook] = list(dict.fromkeys(hook for _, hook in costs.costs if hook is not None))
    for hook in hooks:
        for job, text in _STEPS.items():
            cost = costs.costs[job, hook]
            who = "" if job is not Job.RELAY else f"bpf {hook.value}" if hook is chosen else f"{hook.value} alone"
            yield _line(who, text, cost.us_per_packet, cost.packets_per_second, cost.lost)
        yield _line("", "SGW and PGW together", costs.together_us(hook), 1e6 / costs.together_us(hook))
    for job, text in ((Job.IP_FORWARDING, "IP forwarding"), (Job.REDIRECT, "tc that only redirects"), (Job.DISCARD, "(the generator itself)")):
        cost = costs.costs[job, None]
        yield _line("kernel" if job is Job.IP_FORWARDING else "", text, cost.us_per_packet, cost.packets_per_second, cost.lost)


def _line(who: str, what: str, us: float, per_second: float | None = None, lost: int | None = None) -> str:
    rate, gone = "" if per_second is None else f"{per_second:.0f}", "" if lost is None else str(lost)
    return f"  {who:<20}{what:<36}{us:>12.2f}{rate:>12}{gone:>8}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.machine()
