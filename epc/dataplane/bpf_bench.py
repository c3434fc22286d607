"""What a packet costs in the kernel: the BPF back end, the kernel's own IP forwarding and tc, in one run and on one CPU.

A generator in the kernel sends frames into a veth pair; at the other end they are forwarded into a second pair, where a program counts
and drops them. Everything happens on the generator's CPU, one batch after another, so that nothing is lost for want of a queue and
time is cost: what a packet takes, less what it takes in the same round to make one and throw it away at the door. Medians of the rounds
count; where the kernel charges interrupts to whom they interrupt, other work on the machine hardly matters.
"""

from __future__ import annotations

import gzip
import os
import platform
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from epc.dataplane import ip_packet
from epc.dataplane.bpf.anonymous import AnonymousNamespace
from epc.dataplane.bpf.fast_path import Hook
from epc.dataplane.bpf.kernel import XDP_FLAGS_DRV_MODE, AttachType, attach, run_live
from epc.dataplane.bpf.leases import sum_counts
from epc.dataplane.bpf.netlink import Device, RouteSocket
from epc.dataplane.bpf.program import BENCH, LoadedObject, ObjectFile
from epc.dataplane.bpf.veth import ETHTOOL_SGRO, switch
from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import GtpuPort
from epc.dataplane.ip_packet import Datagram
from epc.dataplane.rules import GTPU_PORT, ApplyAction, Far, FTeid, Interface, Pdr, Session, UeIpAddress
from epc.transport.sockets import SocketTransport
from epc.wire import gtpu

POOL = IPv4Network("45.0.0.0/8")
NEAR, OUT = IPv4Interface("10.1.0.1/24"), IPv4Interface("10.2.0.1/24")              # the node's addresses, on both sides,
GENERATOR, SINK = IPv4Interface("10.1.0.9/24"), IPv4Interface("10.2.0.9/24")        # and its neighbours
APN = "internet"
MAX_SESSIONS = 1 << 16
_HEADERS_OCTETS = 72
_IN_TUNNEL, _PLAIN = 0, 1
_FIRST_TEID, _FIRST_UE = 1, int(POOL.network_address) + 2
_traffic = struct.Struct("=IIIIII72s").pack
_WARM_UP_PACKETS = 50_000


class Job(Enum):
    """What happens to a packet."""

    RELAY = "relay"                 # an SGW: tunnel to tunnel
    DECAPSULATE = "decapsulate"     # a PGW, uplink
    ENCAPSULATE = "encapsulate"     # a PGW, downlink
    IP_FORWARDING = "ip"            # the kernel's own
    REDIRECT = "redirect"           # a tc program that moves frames from one device to the other, and does nothing else
    DISCARD = "discard"             # at the door: what the generator itself costs


OF_GTPU = (Job.RELAY, Job.DECAPSULATE, Job.ENCAPSULATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """One job's packets on one CPU."""

    job: Job
    hook: Hook | None           # of those jobs that are of GTP-U
    packet_octets: int
    sessions: int
    packets: int                # of all rounds
    lost: int
    us_per_packet: float        # the median of the rounds, without what the generator costs

    @property
    def packets_per_second(self) -> float:
        """What one CPU could forward that did nothing else."""
        return 1e6 / self.us_per_packet


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCosts:
    """Everything that was measured in one run."""

    costs: Mapping[tuple[Job, Hook | None], KernelCost]

    @property
    def lost(self) -> int:
        return sum(cost.lost for cost in self.costs.values())

    def us(self, job: Job, hook: Hook | None = None) -> float:
        return self.costs[job, hook].us_per_packet

    def together_us(self, hook: Hook) -> float:
        """SGW and PGW, half of the packets each way: the figure that has a budget."""
        return self.us(Job.RELAY, hook) + (self.us(Job.DECAPSULATE, hook) + self.us(Job.ENCAPSULATE, hook)) / 2


async def measure_kernel(
    *, packet_octets: int = 100, sessions: int = 1, packets: int = 300_000, rounds: int = 7, hooks: Sequence[Hook] = (Hook.XDP_GENERIC,),
) -> KernelCosts:
    """Every job in turn, round after round; ``packet_octets`` is the user's packet. Blocks the event loop. Takes root and Linux 5.18."""
    if not 60 <= packet_octets <= 1400:
        raise ValueError(f"a packet has 60 to 1400 octets, not {packet_octets}")
    if not 1 <= sessions <= MAX_SESSIONS:
        raise ValueError(f"1 to {MAX_SESSIONS} sessions, not {sessions}")
    wanted: list[tuple[Job, Hook | None]] = [
        *((job, hook) for hook in hooks for job in OF_GTPU), (Job.IP_FORWARDING, None), (Job.REDIRECT, None), (Job.DISCARD, None),
    ]
    times: dict[tuple[Job, Hook | None], list[float]] = {each: [] for each in wanted}
    lost = dict.fromkeys(wanted, 0)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        async with AsyncExitStack() as stack:
            tracks = {(job, hook): await _Track.open(stack, job, packet_octets, sessions, hook) for job, hook in wanted}
            for track in tracks.values():
                track.run(_WARM_UP_PACKETS)
            for _ in range(rounds):
                for each, track in tracks.items():
                    elapsed_s, arrived = track.run(packets)
                    times[each].append(elapsed_s)
                    lost[each] += packets - arrived
    finally:
        os.sched_setaffinity(0, cpus)
    idle_s = times[Job.DISCARD, None]

    def cost(job: Job, hook: Hook | None) -> KernelCost:
        of_rounds = [time_s - (0 if job is Job.DISCARD else idle) for time_s, idle in zip(times[job, hook], idle_s, strict=True)]
        return KernelCost(
            job=job, hook=hook, packet_octets=packet_octets, sessions=sessions, packets=packets * rounds, lost=lost[job, hook],
            us_per_packet=1e6 * statistics.median(of_rounds) / packets,
        )

    return KernelCosts(costs={each: cost(*each) for each in wanted})


class _DeviceLink:
    """A device as a plain IP link. Nothing takes the slow path here."""

    def __init__(self, device: Device, far_mac: bytes) -> None:
        self.device = device
        self.far_mac = far_mac
        self.on_packet: Callable[[bytes], None] = lambda packet: None

    def send(self, packet: bytes) -> None:
        """Not counted as arrived, therefore lost."""


class _Track:
    """Generator, node and sink for one job, in three namespaces."""

    def __init__(self, generator: AnonymousNamespace, program: int, frame: bytes, programs: LoadedObject) -> None:
        self._generator = generator
        self._program = program
        self._frame = frame
        self._programs = programs
        self._clock = _clock()

    @classmethod
    async def open(cls, stack: AsyncExitStack, job: Job, packet_octets: int, sessions: int, hook: Hook | None) -> _Track:
        generator, node, sink = (_namespace(stack) for _ in range(3))
        programs = LoadedObject(ObjectFile.shipped(BENCH), {})
        stack.callback(programs.close)
        with _routes(generator) as at_generator, _routes(node) as at_node, _routes(sink) as at_sink:
            at_generator.create_veth("g0", "n0", node.descriptor, mtu_octets=1500)
            at_node.create_veth("n1", "k0", sink.descriptor, mtu_octets=1500)
            g0, k0 = at_generator.device("g0"), at_sink.device("k0")
            n0, n1 = at_node.device("n0"), at_node.device("n1")
            for routes, device, address in ((at_generator, g0, GENERATOR), (at_node, n0, NEAR), (at_node, n1, OUT), (at_sink, k0, SINK)):
                routes.set_up(device.ifindex, arp=True)
                routes.add_address(device.ifindex, address)
            at_node.add_neighbour(n1.ifindex, SINK.ip, k0.mac)
            at_node.add_route(n1.ifindex, POOL, SINK.ip)
        with node.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            switch(control, "n0", ETHTOOL_SGRO, on=True)        # a veth device takes frames only if it polls for them
        with (node if job is Job.DISCARD else sink).entered():
            stack.callback(os.close, attach(
                programs.program("sink"), n0.ifindex if job is Job.DISCARD else k0.ifindex, AttachType.XDP, XDP_FLAGS_DRV_MODE))
        if hook is not None:
            await _open_forwarder(stack, node, job, sessions, hook, n0, n1, k0.mac)
        elif job is Job.REDIRECT:
            programs_there = LoadedObject(ObjectFile.shipped(BENCH), {})
            stack.callback(programs_there.close)
            programs_there.maps["traffic"].update(bytes(4), _traffic(0, n1.ifindex, 0, 0, 0, 0, k0.mac + n1.mac))
            with node.entered():
                stack.callback(os.close, attach(programs_there.program("redirect"), n0.ifindex, AttachType.TCX_INGRESS))
        in_tunnel = job not in (Job.ENCAPSULATE, Job.IP_FORWARDING)
        frame = _frame(packet_octets, n0.mac, g0.mac, in_tunnel=in_tunnel)
        programs.maps["traffic"].update(bytes(4), _traffic(
            _IN_TUNNEL if in_tunnel else _PLAIN, g0.ifindex, sessions, _FIRST_TEID if in_tunnel else _FIRST_UE, _FIRST_UE, 0,
            frame[:_HEADERS_OCTETS],
        ))
        return cls(generator, programs.program("generate"), frame, programs)

    def run(self, packets: int) -> tuple[float, int]:
        """Seconds, and how many packets arrived."""
        before = sum_counts(self._programs.maps["sunk"], 0)[0]
        with self._generator.entered():
            started = self._clock()
            run_live(self._program, self._frame, packets)
            elapsed_s = self._clock() - started
        return elapsed_s, sum_counts(self._programs.maps["sunk"], 0)[0] - before


async def _open_forwarder(
    stack: AsyncExitStack, node: AnonymousNamespace, job: Job, sessions: int, hook: Hook, n0: Device, n1: Device, sink_mac: bytes,
) -> None:
    with node.entered():
        forwarder = await BpfForwarder.open(
            SocketTransport("bench"), first_teid=_FIRST_TEID, hook=hook, max_sessions=max(sessions, 1024),
            access=GtpuPort(address=str((OUT if job is Job.ENCAPSULATE else NEAR).ip), interface="S1-U"),
            core=GtpuPort(address=str(OUT.ip), interface="S5/S8-U") if job is Job.RELAY else None,
        )
        stack.push_async_callback(forwarder.close)
        if job is Job.DECAPSULATE:
            forwarder.connect(APN, _DeviceLink(n1, sink_mac))
        elif job is Job.ENCAPSULATE:
            forwarder.connect(APN, _DeviceLink(n0, bytes(6)))
    for number in range(sessions):
        forwarder.install(_session(forwarder, job, number))


def _session(forwarder: BpfForwarder, job: Job, number: int) -> Session:
    ue = UeIpAddress(ipv4=IPv4Address(_FIRST_UE + number))
    tunnel = FTeid(teid=_FIRST_TEID + number, address=str(SINK.ip))
    if job is Job.ENCAPSULATE:
        pdr = Pdr(id=1, source_interface=Interface.CORE, network_instance=APN, ue_ip_address=ue, far_id=1)
        far = Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=tunnel)
    else:
        pdr = Pdr(
            id=1, source_interface=Interface.ACCESS, local_f_teid=forwarder.allocate_f_teid(Interface.ACCESS), far_id=1,
            ue_ip_address=ue if job is Job.DECAPSULATE else None,
        )
        far = Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.CORE, network_instance=APN,
                  outer_header_creation=tunnel if job is Job.RELAY else None)
    return Session(id=number, pdrs=(pdr,), fars=(far,))


def _clock() -> Callable[[], float]:
    """CPU time, if forwarding in a soft interrupt counts as this thread's; else the wall clock, which is never too short."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{platform.release()}")):
        try:
            octets = path.read_bytes()
        except OSError:
            continue
        text = gzip.decompress(octets) if path.suffix == ".gz" else octets
        return time.perf_counter if b"\nCONFIG_IRQ_TIME_ACCOUNTING=y" in text else time.thread_time
    return time.perf_counter


def _namespace(stack: AsyncExitStack) -> AnonymousNamespace:
    namespace = AnonymousNamespace()
    stack.callback(namespace.close)
    with namespace.entered():
        for setting, value in (
            ("ipv6/conf/default/disable_ipv6", "1"), ("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
        ):
            Path("/proc/sys/net", setting).write_text(value)
    return namespace


@contextmanager
def _routes(namespace: AnonymousNamespace) -> Iterator[RouteSocket]:
    routes = RouteSocket(namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
    try:
        yield routes
    finally:
        routes.close()


def _frame(packet_octets: int, destination_mac: bytes, source_mac: bytes, *, in_tunnel: bool) -> bytes:
    far, near = IPv4Address("10.99.0.1"), IPv4Address(_FIRST_UE)
    source, destination = (near, far) if in_tunnel else (far, near)
    user = ip_packet.encode_udp(source, destination, Datagram(source_port=4000, destination_port=9, payload=bytes(packet_octets - 28)))
    packet = ip_packet.encode_ipv4(source, destination, ip_packet.UDP, user)
    if in_tunnel:
        message = gtpu.encode(gtpu.GPdu(payload=packet), teid=_FIRST_TEID)
        datagram = struct.pack(">HHHH", GTPU_PORT, GTPU_PORT, 8 + len(message), 0) + message
        packet = ip_packet.encode_ipv4(GENERATOR.ip, NEAR.ip, ip_packet.UDP, datagram)
    return destination_mac + source_mac + b"\x08\x00" + packet
