"""What an attach costs: all nodes as processes of their own on real sockets, phones in this process, many attaches at a time."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from epc.lab.processes import Processes, topology_launches
from epc.lab.topology import Topology, load_topology
from epc.node import parse_config
from epc.transport.sockets import SocketTransport
from ran.phone import Phone
from ran.station import Station, StationConfig

TEST_SIM = {"k": "465B5CE8B199B49FAA5F0A2EE238A6BC", "opc": "E8ED289DEBA952E4283B54E88E6183CA"}
FIRST_IMSI = "001010000000001"
REALM = "epc.mnc001.mcc001.3gppnetwork.org"
WARM_UP_ATTACHES = 50
SETTLE_S = 0.5              # after the last attach: Attach Complete, Modify Bearer and acknowledgements are still under way
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024

BUDGET_CORE_CPU_MS = 2.5
BUDGET_MME_CPU_MS = 1.2
BUDGET_ATTACHES_PER_S = 600
BUDGET_CORE_KB = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """One process's share of the cost."""

    name: str
    kind: str                       # "generator": this process, with eNodeB and phones
    cpu_ms_per_attach: float
    memory_kb_per_ue: float         # growth of resident memory for each phone that stays attached


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachCost:
    """One measurement."""

    ues: int
    concurrency: int
    attached: int
    failures: dict[str, int]        # how often each failure happened
    duration_s: float
    p50_ms: float
    p99_ms: float
    nodes: tuple[NodeCost, ...]

    @property
    def attaches_per_s(self) -> float:
        return self.attached / self.duration_s

    @property
    def core(self) -> list[NodeCost]:
        return [node for node in self.nodes if node.kind != "generator"]

    @property
    def core_cpu_ms_per_attach(self) -> float:
        return sum(node.cpu_ms_per_attach for node in self.core)

    @property
    def core_memory_kb_per_ue(self) -> float:
        return sum(node.memory_kb_per_ue for node in self.core)

    def report(self) -> str:
        """For people; budgets in brackets."""
        lines = [
            f"{self.attached} of {self.ues} phones attached, {self.concurrency} at a time, in {self.duration_s:.1f} s: "
            f"{self.attaches_per_s:.0f} attaches/s [{BUDGET_ATTACHES_PER_S}], p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms",
            "",
            f"{'node':<12}{'CPU ms per attach':>20}{'kB per attached UE':>20}",
        ]
        for node in self.nodes:
            budget = f" [{BUDGET_MME_CPU_MS}]" if node.kind == "mme" else ""
            lines.append(f"{node.name:<12}{node.cpu_ms_per_attach:>20.2f}{node.memory_kb_per_ue:>20.1f}{budget}")
        core = f"{'core':<12}{self.core_cpu_ms_per_attach:>20.2f}{self.core_memory_kb_per_ue:>20.1f}"
        lines.append(f"{core} [{BUDGET_CORE_CPU_MS} ms, {BUDGET_CORE_KB} kB]")
        lines += [f"failed {number} times: {reason}" for reason, number in self.failures.items()]
        return "\n".join(lines)


def bench_nodes(ues: int, network: str) -> dict[str, dict[str, Any]]:
    """The core network of the measurement, with addresses from ``network`` (three octets and a dot)."""
    def node(kind: str, number: int, **config: object) -> dict[str, Any]:
        return {"kind": kind, "admin": {"host": f"{network}{number}", "port": 9090}, "log": {"level": "warning"}, **config}

    mme, sgw, pgw, hss, pcrf = (f"{network}{number}" for number in (2, 3, 4, 5, 6))
    return {
        "hss": node(
            "hss", 5, origin_host=f"hss.{REALM}", origin_realm=REALM, s6a={"listen": [{"host": hss}]},
            subscribers=[{"imsi": FIRST_IMSI, "count": ues, "apns": ["internet"], **TEST_SIM}],
        ),
        "pcrf": node("pcrf", 6, origin_host=f"pcrf.{REALM}", origin_realm=REALM, gx={"listen": [{"host": pcrf}]}),
        "pgw": node(
            "pgw", 4, s5c={"host": pgw}, s5u={"host": pgw}, gx={"peers": [{"host": pcrf}], "origin_realm": REALM},
            apns={"internet": {"ipv4_pool": "10.32.0.0/11"}}, sgi_hosts="in_process",
        ),
        "sgw": node("sgw", 3, s11={"host": sgw}, s5c={"host": sgw}, s1u={"host": sgw}, s5u={"host": sgw}),
        "mme": node(
            "mme", 2, s1=[{"host": mme}], s11={"host": mme}, s6a={"peers": [{"host": hss}]},
            gummeis=[{"plmn": "00101", "mme_group_id": 1, "mme_code": 1}], tais=[{"plmn": "00101", "tacs": [1]}],
            sgws=[{"host": sgw}], pgws=[{"host": pgw}], sctp={"wire": "udp"},
        ),
    }


def generator_config(ues: int, network: str) -> StationConfig:
    return parse_config({
        "name": "generator", "enb_id": 1, "plmn": "00101", "mmes": [{"host": f"{network}2"}], "s1_mme_host": f"{network}1",
        "s1u": {"host": f"{network}1"}, "phones": [{"imsi": FIRST_IMSI, "count": ues, **TEST_SIM}], "phone_hosts": "in_process",
        "admin": {"enabled": False}, "sctp": {"wire": "udp"},
    }, StationConfig, source="bench")


async def measure_attach(*, ues: int = 1000, concurrency: int = 64, directory: Path = Path("out/bench")) -> AttachCost:
    """Start the nodes, attach ``ues`` phones with ``concurrency`` attaches under way, stop the nodes.

    Raises :class:`~epc.lab.processes.StartFailed` when a node does not start.
    """
    # Loopback addresses that no other measurement running at the same time has.
    network = f"127.{16 + os.getpid() % 100}.{os.getpid() // 100 % 250}."
    warm_up = min(WARM_UP_ATTACHES, ues)
    processes = Processes("bench", topology_launches(_topology(ues + warm_up, network, directory), directory), directory)
    await processes.start()
    station: Station | None = None
    thresholds = gc.get_threshold()
    try:
        config = generator_config(ues + warm_up, network)
        station = Station(config, SocketTransport(config.name, sctp=config.sctp.settings()))
        await station.start()
        await _until_ready(station)
        phones = list(station.phones.values())
        await _attach_all(phones[:warm_up], concurrency)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)        # as nodes do
        return await _measure(phones[warm_up:], concurrency, processes)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        if station is not None:
            await station.stop()
            await station.transport.close()
        await processes.stop()


def _topology(ues: int, network: str, directory: Path) -> Topology:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "topology.yaml"
    file.write_text(yaml.safe_dump({"name": "bench", "nodes": bench_nodes(ues, network)}, sort_keys=False))
    return load_topology(file)


async def _until_ready(station: Station, patience_s: float = 15.0) -> None:
    async with asyncio.timeout(patience_s):
        while not station.is_ready():       # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)


async def _measure(phones: Sequence[Phone], concurrency: int, processes: Processes) -> AttachCost:
    pids = {name: node.pid for name, node in processes.running.items()}
    kinds = {name: node.kind for name, node in processes.running.items()}
    before = {name: Usage.of(pid) for name, pid in pids.items()} | {"generator": Usage.own()}
    loop = asyncio.get_running_loop()
    started = loop.time()
    latencies_s, failures = await _attach_all(phones, concurrency)
    duration_s = loop.time() - started
    await asyncio.sleep(SETTLE_S)
    after = {name: Usage.of(pid) for name, pid in pids.items()} | {"generator": Usage.own()}
    attached = len(latencies_s)
    nodes = tuple(
        NodeCost(
            name=name, kind=kinds.get(name, "generator"), cpu_ms_per_attach=(after[name].cpu_s - usage.cpu_s) * 1000 / max(attached, 1),
            memory_kb_per_ue=(after[name].memory_kb - usage.memory_kb) / max(attached, 1),
        )
        for name, usage in before.items()
    )
    percentiles = statistics.quantiles(latencies_s, n=100, method="inclusive") if attached > 1 else [0.0] * 99
    return AttachCost(
        ues=len(phones), concurrency=concurrency, attached=attached, failures=dict(failures), duration_s=duration_s,
        p50_ms=percentiles[49] * 1000, p99_ms=percentiles[98] * 1000, nodes=nodes,
    )


async def _attach_all(phones: Sequence[Phone], concurrency: int) -> tuple[list[float], Counter[str]]:
    """How long each successful attach took, and why the others failed."""
    loop = asyncio.get_running_loop()
    latencies_s: list[float] = []
    failures: Counter[str] = Counter()

    async def work(waiting: Iterator[Phone]) -> None:
        for phone in waiting:
            started = loop.time()
            result = await phone.ue.attach(max_attempts=1)
            if result.success:
                latencies_s.append(loop.time() - started)
            else:
                failures[str(result)] += 1

    waiting = iter(phones)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(phones))):
            group.create_task(work(waiting))
    return latencies_s, failures


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    cpu_s: float
    memory_kb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """All threads of a process: utime and stime of proc(5), in clock ticks."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return cls((int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, resident_kb(pid))

    @classmethod
    def own(cls) -> Usage:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(used.ru_utime + used.ru_stime, resident_kb(os.getpid()))


def resident_kb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KB
