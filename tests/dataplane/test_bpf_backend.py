"""What only the BPF back end has: that it is the kernel that forwards, and what happens where it cannot."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network

import pytest

from epc.dataplane import ip_packet
from epc.dataplane.bpf.anonymous import AnonymousNamespace
from epc.dataplane.bpf.fast_path import BpfUnavailable, Hook
from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.bpf.program import ObjectError, ObjectFile
from epc.dataplane.bpf.veth import ETHTOOL_SGRO, switch
from epc.dataplane.bpf_backend import BpfForwarder
from epc.dataplane.forwarder import DownlinkData, DropReason, GtpuPort, UsageReport, UsageTrigger
from epc.dataplane.hosts import HostKind, open_hosts
from epc.dataplane.ip_endpoint import serve_udp_echo
from epc.dataplane.ip_packet import Datagram, IcmpEcho
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Qer, SdfFilter, Session, SessionChange, UeIpAddress, Urr, Usage
from epc.transport.impairment import Impairment, Link
from epc.transport.sockets import SocketTransport
from tests.dataplane.bpf_bench import REASON, BpfBench, Peer, Wire, World, set_in

needs_bpf = pytest.mark.skipif(bool(REASON), reason=REASON)
pytestmark = [pytest.mark.real_time, pytest.mark.privileged]

UE = "45.45.0.2"
SERVER = "10.200.0.1"
SGW_TEID = 0x50000001
Packet = Callable[..., bytes]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture(params=list(Hook), ids=lambda hook: hook.value)
async def bench(request: pytest.FixtureRequest, world: World) -> AsyncIterator[BpfBench]:
    world.forget_neighbours()
    bench = BpfBench(request.param, world)
    yield bench
    await bench.close()


on_one_hook = pytest.mark.parametrize("bench", [Hook.XDP_GENERIC], indirect=True, ids=["xdp-generic"])     # where hooks do not differ


class Pgw:
    def __init__(self, forwarder: BpfForwarder, sgw: Peer, sgi: Wire) -> None:
        self.forwarder, self.sgw, self.sgi = forwarder, sgw, sgi
        self.s5u_pgw = forwarder.allocate_f_teid(Interface.ACCESS)
        self.s5u_sgw = FTeid(teid=SGW_TEID, address=sgw.host)

    @classmethod
    async def open(cls, bench: BpfBench, *, max_sessions: int = 1024) -> Pgw:
        forwarder, wire = await bench.forwarder(access=True, max_sessions=max_sessions), Wire()
        bench.connect(forwarder, "internet", wire)
        return cls(forwarder, await bench.peer(bench.enb_host), wire)

    def session(self, *, qers: tuple[Qer, ...] = (), urr: Urr | None = None, downlink: ApplyAction = ApplyAction.FORWARD) -> Session:
        ue, qer_ids = UeIpAddress.parse(UE), tuple(qer.id for qer in qers)
        return Session(
            id=1,
            pdrs=(
                Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=self.s5u_pgw, ue_ip_address=ue, far_id=1, qer_ids=qer_ids, urr_ids=(1,)),
                Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2, qer_ids=qer_ids, urr_ids=(1,)),
            ),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"), self.downlink_far(downlink)),
            qers=qers, urrs=(urr or Urr(id=1),),
        )

    def downlink_far(self, action: ApplyAction) -> Far:
        return Far(id=2, apply_action=action, destination_interface=Interface.ACCESS,
                   outer_header_creation=self.s5u_sgw if action is ApplyAction.FORWARD else None)

    @property
    def drops(self) -> dict[DropReason, int]:
        return {reason: count for reason, count in self.forwarder.statistics().drops.items() if count}

    @property
    def by_kernel(self) -> tuple[int, int]:
        usage = self.forwarder._fast.usage()
        return usage.uplink_packets, usage.downlink_packets


def translate(namespace: AnonymousNamespace, device: str) -> None:
    """Addresses of what leaves by that device."""
    rules = f"table ip t {{ chain c {{ type nat hook postrouting priority srcnat; oifname {device} masquerade; }}; }}"
    command = ["nsenter", f"--net=/proc/self/fd/{namespace.descriptor}", "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, check=True, pass_fds=(namespace.descriptor,))


def start(namespace: AnonymousNamespace, script: str) -> subprocess.Popen[str]:
    with namespace.entered():
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


def _ue_number(address: str) -> int:
    return int(IPv4Address(address))


@needs_bpf
async def test_the_kernel_forwards_once_it_knows_the_neighbour(bench: BpfBench, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    pgw.forwarder.install(pgw.session())
    for number in range(5):
        pgw.sgi.on_packet(ipv4(SERVER, UE, bytes([number])))
        await bench.settle()
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER, bytes([number]))), bench.access_host)
        await bench.settle()
    assert pgw.by_kernel == (5, 4)          # the first one down had to wait for ARP
    assert pgw.sgw.received == [gpdu(SGW_TEID, ipv4(SERVER, UE, bytes([number]))) for number in range(5)]
    assert pgw.sgi.received == [ipv4(UE, SERVER, bytes([number])) for number in range(5)]
    usage = pgw.forwarder.usage(1)[1]
    assert (usage.uplink_packets, usage.downlink_packets) == (5, 5)
    assert usage.uplink_octets == usage.downlink_octets == sum(len(packet) for packet in pgw.sgi.received)


@needs_bpf
async def test_frames_that_are_not_one_piece_of_memory_pass_in_the_kernel_too(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    pgw.forwarder.install(pgw.session())
    up = ipv4(UE, SERVER, bytes(range(256)) * 5)
    for _ in range(3):
        pgw.sgw.send_scattered(gpdu(pgw.s5u_pgw.teid, up), bench.access_host)
        await bench.settle()
    assert pgw.by_kernel == (3, 0)
    assert pgw.sgi.received == 3 * [up]


@needs_bpf
@on_one_hook
async def test_a_link_inside_the_process_takes_the_slow_path_and_says_so(
    bench: BpfBench, ipv4: Packet, gpdu: Packet, caplog: pytest.LogCaptureFixture,
) -> None:
    forwarder, wire = await bench.forwarder(access=True), Wire()
    forwarder.connect("internet", wire)
    assert "internet takes the slow path: its link is no network device" in caplog.text
    pgw = Pgw(forwarder, await bench.peer(bench.enb_host), wire)
    forwarder.install(pgw.session())
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER)), bench.access_host)
    await bench.settle()
    assert wire.received == [ipv4(UE, SERVER)]
    assert pgw.by_kernel == (0, 0)


@needs_bpf
@on_one_hook
async def test_a_removed_session_leaves_no_entry(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    session = pgw.session()
    sdf = SdfFilter(remote=IPv4Network("10.200.0.0/16"))
    dedicated = Pdr(id=3, precedence=1, source_interface=Interface.ACCESS, local_f_teid=pgw.s5u_pgw, sdf_filters=(sdf,), far_id=1)
    pgw.forwarder.install(session)
    pgw.forwarder.modify(1, SessionChange(pdrs=(dedicated,)))
    maps = pgw.forwarder._fast.maps
    held = ("tunnels", "ues_ipv4", "ues_ipv6", "rules")
    assert [len(maps[name].keys()) for name in held] == [1, 1, 0, 1]
    pgw.forwarder.remove(1)
    assert [len(maps[name].keys()) for name in held] == [0, 0, 0, 0]


@needs_bpf
@on_one_hook
async def test_forty_filters_choose_among_forty_rules(bench: BpfBench, ipv4: Packet, ipv6: Packet, gpdu: Packet) -> None:
    """One dedicated bearer a port, and the rest to nobody."""
    pgw = await Pgw.open(bench)
    ue = UeIpAddress.parse(UE)
    numbers = range(40)
    pgw.forwarder.install(Session(
        id=1,
        pdrs=tuple(Pdr(
            id=number, precedence=number, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=number,
            urr_ids=(number,), sdf_filters=(SdfFilter(protocol=17, remote_ports=(1000 + number, 1000 + number), local_ports=(5000, 5999)),),
        ) for number in numbers),
        fars=tuple(Far(
            id=number, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
            outer_header_creation=FTeid(teid=SGW_TEID + number, address=pgw.sgw.host),
        ) for number in numbers),
        urrs=tuple(Urr(id=number) for number in numbers),
    ))
    pgw.sgi.on_packet(ipv4(SERVER, UE, sport=1000, dport=5000))
    await bench.settle()
    for number in numbers:
        pgw.sgi.on_packet(ipv4(SERVER, UE, sport=1000 + number, dport=5000 + number))
    pgw.sgi.on_packet(ipv4(SERVER, UE, sport=1040, dport=5000))
    pgw.sgi.on_packet(ipv4(SERVER, UE, sport=1039, dport=6000))
    pgw.sgi.on_packet(ipv4(SERVER, UE, sport=1039, dport=5000, protocol=6))
    await bench.settle()
    assert pgw.sgw.received[1:] == [gpdu(SGW_TEID + number, ipv4(SERVER, UE, sport=1000 + number, dport=5000 + number)) for number in numbers]
    assert pgw.drops == {DropReason.NO_MATCHING_RULE: 3}
    assert pgw.by_kernel == (0, 40)
    assert [usage.downlink_packets for usage in pgw.forwarder.usage(1).values()] == [2] + [1] * 39


@needs_bpf
async def test_only_what_the_buffer_holds_reaches_user_space(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    pgw.forwarder.install(pgw.session(downlink=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP))
    for _ in range(500):
        pgw.sgi.on_packet(ipv4(SERVER, UE))
    await bench.settle()
    assert bench.events == [DownlinkData(session_id=1, pdr_id=2, far_id=2, dscp=0)]
    assert pgw.drops == {DropReason.BUFFER_FULL: 496}
    assert pgw.forwarder._fast.drops()[DropReason.BUFFER_FULL] == 496
    pgw.forwarder.modify(1, SessionChange(fars=(pgw.downlink_far(ApplyAction.FORWARD),)))
    await bench.settle()
    assert len(pgw.sgw.received) == 4


@needs_bpf
async def test_quota_stops_both_directions_and_tells_once(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    up = ipv4(UE, SERVER, b"u" * 72)        # 100 octets
    pgw.forwarder.install(pgw.session(urr=Urr(id=1, volume_quota_octets=1050)))
    for _ in range(20):
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, up), bench.access_host)
    await bench.settle()
    pgw.sgi.on_packet(ipv4(SERVER, UE))
    await bench.settle()
    assert len(pgw.sgi.received) == 11
    assert pgw.sgw.received == []
    assert bench.events == [UsageReport(
        session_id=1, urr_id=1, trigger=UsageTrigger.VOLUME_QUOTA, usage=Usage(uplink_packets=11, uplink_octets=1100))]
    assert pgw.drops == {DropReason.QUOTA_EXHAUSTED: 10}
    pgw.forwarder.modify(1, SessionChange(urrs=(Urr(id=1, volume_quota_octets=100),)))
    for _ in range(3):
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, up), bench.access_host)
    await bench.settle()
    assert len(pgw.sgi.received) == 12
    assert len(bench.events) == 2


@needs_bpf
@pytest.mark.parametrize(("bench", "limit", "mbit_s"), [
    *((Hook.XDP_GENERIC, limit, mbit_s) for limit in ("MBR", "AMBR") for mbit_s in (1, 10, 100, 1000)),
    (Hook.XDP_NATIVE, "MBR", 10), (Hook.TC, "MBR", 10),
], indirect=["bench"], ids=str)
async def test_rate_is_kept_within_five_per_cent(bench: BpfBench, ipv4: Packet, gpdu: Packet, limit: str, mbit_s: int) -> None:
    """Several times the rate is offered, once the burst tolerance is used up. The other, wider rate does not get in the way."""
    pgw = await Pgw.open(bench)
    rate = mbit_s * 1_000_000
    mbr, ambr = (rate, 2 * rate) if limit == "MBR" else (3 * rate, rate)
    pgw.forwarder.install(pgw.session(qers=(Qer(id=1, uplink_mbr_bps=mbr), Qer(id=2, uplink_mbr_bps=ambr, correlation_id=7))))
    with bench.generator(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER, bytes(1372))), _ue_number(UE)) as generate:

        def offer(seconds: float) -> float:
            """Bits a second that got through."""
            before, started = pgw.forwarder.usage(1)[1].uplink_octets, time.perf_counter()
            while time.perf_counter() - started < seconds:
                generate(max(1000, 30 * mbit_s))
            elapsed_s = time.perf_counter() - started
            return (pgw.forwarder.usage(1)[1].uplink_octets - before) * 8 / elapsed_s

        offer(0.3)
        assert offer(1.5 if mbit_s == 1 else 0.6) == pytest.approx(rate, rel=0.05)
    assert pgw.drops[DropReason.RATE_EXCEEDED] > 0


@needs_bpf
@on_one_hook
async def test_sessions_share_a_rate_by_correlation_id(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    """One packet a second fits in the rate, a burst of about two; the second session finds it used up."""
    pgw = await Pgw.open(bench)
    qer = Qer(id=1, uplink_mbr_bps=11_200, correlation_id=7)
    second = pgw.forwarder.allocate_f_teid(Interface.ACCESS)
    pgw.forwarder.install(pgw.session(qers=(qer,)))
    pgw.forwarder.install(Session(
        id=2, qers=(qer,), fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),),
        pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=second, far_id=1, qer_ids=(1,)),),
    ))
    for teid in (pgw.s5u_pgw.teid, pgw.s5u_pgw.teid, second.teid):
        pgw.sgw.send(gpdu(teid, ipv4(UE, SERVER, bytes(1372))), bench.access_host)
    await bench.settle()
    assert pgw.by_kernel == (2, 0)
    assert pgw.drops == {DropReason.RATE_EXCEEDED: 1}


@needs_bpf
@pytest.mark.skipif(shutil.which("nft") is None or shutil.which("nsenter") is None, reason="takes nft and nsenter")
@pytest.mark.parametrize("hook", list(Hook), ids=lambda hook: hook.value)
async def test_packets_and_answers_pass_address_translation_behind_sgi(hook: Hook) -> None:
    """What leaves a tunnel must not carry an offload of the outer packet along: translation would spoil its checksum. And the other way round."""
    bench, outside = BpfBench(hook), AnonymousNamespace()
    pgw, world = await Pgw.open(bench), bench.world
    pgw.forwarder.install(pgw.session())
    for setting, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/far0/rp_filter", "0")):
        set_in(world.sgi, f"ipv4/{setting}", value)
    with world.sgi.entered():
        inner_routes = RouteSocket()
    with outside.entered():
        outer_routes = RouteSocket()
    try:
        inner_routes.create_veth("out0", "in0", outside.descriptor, mtu_octets=1500)
        for routes, device, address in ((inner_routes, "out0", "10.9.0.1/24"), (outer_routes, "in0", "10.9.0.2/24")):
            routes.set_up(routes.device(device).ifindex, arp=True)
            routes.add_address(routes.device(device).ifindex, IPv4Interface(address))
        inner_routes.add_route(inner_routes.device("far0").ifindex, IPv4Network("45.45.0.0/16"))
        translate(world.sgi, "out0")
        server = outside.open_socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        on_the_wire = outside.open_socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0x0008)      # IPv4, in network order
        with server, on_the_wire:
            server.bind(("10.9.0.2", 9999))
            ue, remote = IPv4Address(UE), IPv4Address("10.9.0.2")
            for _ in range(2):          # the first answer waits for ARP
                datagram = ip_packet.encode_udp(ue, remote, Datagram(source_port=4000, destination_port=9999, payload=b"question" * 20))
                packet = ip_packet.encode_ipv4(ue, remote, ip_packet.UDP, datagram)
                pgw.sgw.send(struct.pack(">BBHI", 0x30, 0xFF, len(packet), pgw.s5u_pgw.teid) + packet, bench.access_host)
                await bench.settle()
                payload, source = server.recvfrom(2000)
                assert (payload, source) == (b"question" * 20, ("10.9.0.1", 4000))
                assert ip_packet.decode_udp(ip_packet.decode_ipv4(on_the_wire.recv(2000))).payload == payload       # its checksum holds
                server.sendto(b"answer" * 7, source)
                await bench.settle()
            answer = ip_packet.decode_ipv4(pgw.sgw.received[-1][8:])
            assert (answer.source, answer.destination, ip_packet.decode_udp(answer).payload) == (remote, ue, b"answer" * 7)
            assert pgw.by_kernel[0] == 2
            assert pgw.by_kernel[1] >= 1
    finally:
        inner_routes.close()
        outer_routes.close()
        outside.close()
        await bench.close()


@needs_bpf
@on_one_hook
async def test_nothing_is_left_when_the_process_is_killed(bench: BpfBench, world: World) -> None:
    """Programs and maps go with their descriptors, a device pair with the namespace at its far end."""
    script = textwrap.dedent("""
        import asyncio, socket
        from ipaddress import IPv4Interface
        from epc.dataplane.bpf.anonymous import AnonymousNamespace
        from epc.dataplane.bpf.netlink import RouteSocket
        from epc.dataplane.bpf.veth import VethLink
        from epc.dataplane.bpf_backend import BpfForwarder
        from epc.dataplane.forwarder import GtpuPort
        from epc.transport.sockets import SocketTransport

        async def main():
            port = GtpuPort(address="10.0.0.1", interface="S5/S8-U")
            forwarder = await BpfForwarder.open(SocketTransport("node"), access=port, max_sessions=64)
            sgi = AnonymousNamespace()
            with sgi.entered():
                routes, control = RouteSocket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            link = VethLink.open(
                "sgi0", "far0", routes, control, sgi.descriptor, address=IPv4Interface("10.200.0.1/16"), routes=(), mtu_octets=1500)
            forwarder.connect("internet", link)
            print("ready", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    process = start(world.node, script)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        assert world.node_routes.device_names() == {"lo", "n0", "sgi0"}
        with pytest.raises(BpfUnavailable):
            await bench.forwarder(access=True)          # its place on n0 is taken
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    for _ in range(100):                # the kernel puts a namespace away in its own time
        if world.node_routes.device_names() == {"lo", "n0"}:
            break
        await asyncio.sleep(0.05)
    assert world.node_routes.device_names() == {"lo", "n0"}
    assert (await bench.forwarder(access=True)).hooks() == {"n0": Hook.XDP_GENERIC}


@needs_bpf
async def test_a_host_behind_sgi_answers_through_the_kernel(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    """Ping and UDP from a phone to a server in a namespace: what its kernel sends has whole checksums when it enters the tunnel."""
    hosts = await open_hosts(HostKind.NAMESPACE, veth=True)
    try:
        forwarder = await bench.forwarder(access=True)
        with bench.node.entered():
            server = await hosts.open("test-bpf-sgi-server", IPv4Interface(f"{SERVER}/24"), routes=[IPv4Network("45.45.0.0/16")])
            forwarder.connect("internet", server.link)
        pgw = Pgw(forwarder, await bench.peer(bench.enb_host), Wire())
        forwarder.install(pgw.session())
        echo = await serve_udp_echo(server)
        ue, remote = IPv4Address(UE), IPv4Address(SERVER)
        for sequence in range(3):
            ping = ip_packet.encode_echo(IcmpEcho(type=ip_packet.ECHO_REQUEST, identifier=1, sequence=sequence, payload=bytes(1000)))
            pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ip_packet.encode_ipv4(ue, remote, ip_packet.ICMP, ping)), bench.access_host)
            await bench.settle()
            datagram = ip_packet.encode_udp(ue, remote, Datagram(source_port=4000, destination_port=echo.port, payload=b"hello"))
            pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ip_packet.encode_ipv4(ue, remote, ip_packet.UDP, datagram)), bench.access_host)
            await bench.settle()
        answers = [ip_packet.decode_ipv4(message[8:]) for message in pgw.sgw.received]
        assert [ip_packet.decode_echo(each.payload).sequence for each in answers[::2]] == [0, 1, 2]
        assert [ip_packet.decode_udp(each).payload for each in answers[1::2]] == [b"hello"] * 3
        assert pgw.by_kernel == (6, 5)
        echo.close()
        await server.close()
    finally:
        await hosts.close()


@needs_bpf
async def test_oversize_packets_take_the_slow_path_and_arrive_in_fragments(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    pgw.forwarder.install(pgw.session())
    sizes = (1436, 1436, 1464, 1465, 1500)      # of the user's packet; 1464 fill a tunnel of 1500
    for size in sizes:
        pgw.sgi.on_packet(ipv4(SERVER, UE, bytes(size - 28)))
        await bench.settle()
    assert [len(message) - 8 for message in pgw.sgw.received] == list(sizes)
    assert pgw.by_kernel == (0, 2)


@needs_bpf
@on_one_hook
async def test_sessions_beyond_the_kernels_tables_take_the_slow_path(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    fast_sessions, count = 256, 1200
    pgw = await Pgw.open(bench, max_sessions=fast_sessions)
    for number in range(count):
        up = pgw.forwarder.allocate_f_teid(Interface.ACCESS)
        ue = UeIpAddress.parse(f"45.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        pgw.forwarder.install(Session(
            id=number,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=up, ue_ip_address=ue, far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                      outer_header_creation=FTeid(teid=number + 1, address=pgw.sgw.host))),
        ))
    assert len(pgw.forwarder._fast.maps["ues_ipv4"].keys()) >= fast_sessions
    probes = [(number, f"45.{number >> 16}.{number >> 8 & 255}.{number & 255}") for number in (0, 1, 200, 1000, count - 1)]
    for _ in range(2):
        for _, address in probes:
            pgw.sgi.on_packet(ipv4(SERVER, address))
            await bench.settle()
    assert pgw.sgw.received == 2 * [gpdu(number + 1, ipv4(SERVER, address)) for number, address in probes]
    for number in range(count):
        pgw.forwarder.remove(number)
    assert pgw.forwarder._fast.maps["ues_ipv4"].keys() == pgw.forwarder._fast.maps["tunnels"].keys() == []


@needs_bpf
@on_one_hook
async def test_thirty_two_ipv6_filters_choose_by_network_protocol_and_ports(bench: BpfBench, ipv6: Packet, gpdu: Packet) -> None:
    """Networks that differ in every word of the address; what fits none is dropped."""
    pgw = await Pgw.open(bench)
    ue = UeIpAddress.parse("2001:db8:1::/64")
    networks = [IPv6Network((int(IPv6Address("2001:db8::")) | 1 << bit, 128 - bit)) for bit in range(2, 96, 3)]
    assert len(networks) == 32
    pgw.forwarder.install(Session(
        id=1,
        pdrs=tuple(Pdr(
            id=number, precedence=number, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=number,
            sdf_filters=(SdfFilter(remote=network, protocol=17, remote_ports=(1000, 1000 + number), local_ports=(5000, 5000)),),
        ) for number, network in enumerate(networks)),
        fars=tuple(Far(
            id=number, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
            outer_header_creation=FTeid(teid=SGW_TEID + number, address=pgw.sgw.host),
        ) for number in range(len(networks))),
    ))
    phone = "2001:db8:1::7"
    pgw.sgi.on_packet(ipv6(str(networks[0][1]), phone, sport=1000, dport=5000))        # ARP
    await bench.settle()
    good = [ipv6(str(network[1]), phone, sport=1000 + number, dport=5000) for number, network in enumerate(networks)]
    wrong = [ipv6(str(network[1]), phone, sport=1001 + number, dport=5000) for number, network in enumerate(networks)]
    elsewhere = [ipv6(str(network[1]), phone, sport=1000, dport=5001) for network in networks]
    for packet in good + wrong + elsewhere + [ipv6("2001:db9::1", phone, sport=1000, dport=5000)]:
        pgw.sgi.on_packet(packet)
    await bench.settle()
    assert pgw.sgw.received[1:] == [gpdu(SGW_TEID + number, packet) for number, packet in enumerate(good)]
    assert pgw.drops == {DropReason.NO_MATCHING_RULE: 65}
    assert pgw.by_kernel == (0, 32)


@needs_bpf
@pytest.mark.parametrize("hook", list(Hook), ids=lambda hook: hook.value)
@pytest.mark.parametrize("size", [0, 1, 4, 63, 64, 1359])
async def test_tunnels_over_ipv6_have_whole_checksums(hook: Hook, world: World, ipv4: Packet, ipv6: Packet, gpdu: Packet, size: int) -> None:
    """The receiver's kernel throws away what has a wrong one. Relay, decapsulation and encapsulation."""
    payload = bytes(range(1, 256)) * 6
    over_ipv6 = BpfBench(hook, world, ipv6=True)
    try:
        pgw = await Pgw.open(over_ipv6)
        pgw.forwarder.install(pgw.session())
        up, down = ipv4(UE, SERVER, payload[:size]), ipv4(SERVER, UE, payload[:size])
        for _ in range(2):
            pgw.sgi.on_packet(down)
            await over_ipv6.settle()
            pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, up), over_ipv6.access_host)
            await over_ipv6.settle()
        assert pgw.sgw.received == [gpdu(SGW_TEID, down)] * 2
        assert pgw.sgi.received == [up] * 2
        assert pgw.by_kernel[0] == 2
        assert pgw.by_kernel[1] >= 1
    finally:
        await over_ipv6.close()


@needs_bpf
@pytest.mark.parametrize("hook", list(Hook), ids=lambda hook: hook.value)
@pytest.mark.parametrize("to_ipv6", [True, False], ids=["4 to 6", "6 to 4"])
async def test_relay_between_tunnels_of_both_versions(hook: Hook, world: World, ipv4: Packet, ipv6: Packet, gpdu: Packet, to_ipv6: bool) -> None:
    bench = BpfBench(hook, world)
    bench.core_host, bench.pgw_host = ("fd00::2", "fd00::12")
    try:
        forwarder = await bench.forwarder(access=True, core=True)
        enb, pgw = await bench.peer(bench.enb_host), await bench.peer(bench.pgw_host)
        s1u, s5u = forwarder.allocate_f_teid(Interface.ACCESS), forwarder.allocate_f_teid(Interface.CORE)
        forwarder.install(Session(
            id=1,
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=s1u, far_id=1),
                  Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s5u, far_id=2)),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, outer_header_creation=FTeid(teid=7, address=pgw.host)),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                      outer_header_creation=FTeid(teid=8, address=enb.host))),
        ))
        sender, receiver, ours, teid, host = (enb, pgw, s1u, 7, bench.access_host) if to_ipv6 else (pgw, enb, s5u, 8, bench.core_host)
        packets = [ipv4(UE, SERVER, b"x" * size) for size in (1, 2, 900)] + [ipv6("2001:db8::1", "2001:db8::2", b"y" * 1200)]
        for packet in packets:
            sender.send(gpdu(ours.teid, packet), host)
            await bench.settle()
        assert receiver.received == [gpdu(teid, packet) for packet in packets]
        assert sum((forwarder._fast.usage().uplink_packets, forwarder._fast.usage().downlink_packets)) >= 3
    finally:
        await bench.close()


@needs_bpf
async def test_thresholds_and_time_are_measured_in_the_kernel(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    """Reports come although no packet reaches user space."""
    pgw = await Pgw.open(bench)
    up = ipv4(UE, SERVER, b"u" * 72)        # 100 octets
    pgw.forwarder.install(pgw.session(urr=Urr(id=1, volume_threshold_octets=250, time_threshold_s=0.3, inactivity_s=0.2)))
    started = time.monotonic()
    for _ in range(7):
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, up), bench.access_host)
        await bench.settle()
    await asyncio.sleep(0.3)
    elapsed_s = time.monotonic() - started
    assert pgw.by_kernel == (7, 0)
    by_trigger = {trigger: [event.usage.uplink_octets for event in bench.events if event.trigger is trigger] for trigger in UsageTrigger}
    assert by_trigger[UsageTrigger.VOLUME_THRESHOLD] == [300, 600]
    assert len(by_trigger[UsageTrigger.TIME_THRESHOLD]) <= 1        # a report for the volume starts time anew
    assert 0.3 < pgw.forwarder.usage(1)[1].duration_s < elapsed_s


@needs_bpf
async def test_packet_for_another_ue_is_not_let_out_to_sgi(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    other = UeIpAddress.parse("45.45.0.3")
    pgw.forwarder.install(pgw.session())
    pgw.forwarder.install(Session(
        id=2, pdrs=(Pdr(id=1, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=other, far_id=1),),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS,
                  outer_header_creation=FTeid(teid=SGW_TEID + 1, address=pgw.sgw.host)),),
    ))
    packet = ipv4(UE, "45.45.0.3")
    pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, packet), bench.access_host)
    await bench.settle()
    assert pgw.sgi.received == []
    assert pgw.sgw.received == [gpdu(SGW_TEID + 1, packet)]


@needs_bpf
@on_one_hook
async def test_impaired_packets_take_the_slow_path_for_as_long_as_they_are(bench: BpfBench, ipv4: Packet, gpdu: Packet) -> None:
    pgw = await Pgw.open(bench)
    pgw.forwarder.install(pgw.session())
    arrived, by_kernel = [], []
    for rules in ([], [Impairment(link=Link(loss=1.0), incoming=True)], [Impairment(link=Link(loss=1.0), interface="S11")]):
        bench.transport.impairments.replace(rules)
        pgw.sgw.send(gpdu(pgw.s5u_pgw.teid, ipv4(UE, SERVER)), bench.access_host)
        await bench.settle()
        arrived.append(len(pgw.sgi.received))
        by_kernel.append(pgw.by_kernel[0])
    assert (arrived, by_kernel) == ([1, 1, 2], [1, 1, 2])


@needs_bpf
@pytest.mark.parametrize("bench", [Hook.XDP_NATIVE], indirect=True, ids=["xdp-native"])
@pytest.mark.parametrize("gets_out", [True, False])
async def test_native_xdp_is_given_up_where_frames_do_not_get_out(
    bench: BpfBench, ipv4: Packet, gpdu: Packet, gets_out: bool, caplog: pytest.LogCaptureFixture,
) -> None:
    """A veth device whose peer does not poll takes redirected frames, and loses them all."""
    with bench.peers.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        switch(control, "p0", ETHTOOL_SGRO, on=gets_out)
    try:
        pgw = await Pgw.open(bench)
        pgw.forwarder.install(pgw.session())
        for number in range(3):
            pgw.sgi.on_packet(ipv4(SERVER, UE, bytes([number])))
            await bench.settle()
        assert pgw.sgw.received == [gpdu(SGW_TEID, ipv4(SERVER, UE, bytes([number]))) for number in range(3)]
        assert pgw.by_kernel == (0, 2)
        hook = Hook.XDP_NATIVE if gets_out else Hook.XDP_GENERIC
        assert pgw.forwarder.hooks() == {"n0": hook, "sgi0": hook}
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == ([] if gets_out else ["no frame of native XDP gets out of n0, so it is generic from now on"])
    finally:
        with bench.peers.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            switch(control, "p0", ETHTOOL_SGRO, on=True)


@needs_bpf
async def test_a_device_whose_place_is_taken_gets_the_other_hook(world: World) -> None:
    first, second = BpfBench(Hook.XDP_GENERIC, world), BpfBench(Hook.XDP_GENERIC, world)
    second.access_host = second.core_host
    try:
        ours, theirs = await first.forwarder(access=True), None
        with world.node.entered():
            port = GtpuPort(address=second.access_host, interface="S5/S8-U")
            theirs = await BpfForwarder.open(SocketTransport("second"), access=port, max_sessions=64)
            assert (ours.hooks(), theirs.hooks()) == ({"n0": Hook.XDP_GENERIC}, {"n0": Hook.TC})
            with pytest.raises(BpfUnavailable):
                await BpfForwarder.open(SocketTransport("third"), access=port, hook=Hook.XDP_GENERIC, max_sessions=64)
        await theirs.close()
    finally:
        await first.close()


@needs_bpf
async def test_where_it_cannot_run_it_says_why() -> None:
    with pytest.raises(BpfUnavailable, match=r"no device has GTP-U address 192\.0\.2\.77"):
        await BpfForwarder.open(SocketTransport("node"), access=GtpuPort(address="192.0.2.77", interface="S1-U"), max_sessions=64)
    with pytest.raises(BpfUnavailable, match="is on lo, which is no Ethernet device"):
        await BpfForwarder.open(SocketTransport("node"), access=GtpuPort(address="127.0.0.1", interface="S1-U"), max_sessions=64)
    with pytest.raises(BpfUnavailable, match="GTP-U address ::1 is on lo"):
        await BpfForwarder.open(SocketTransport("node"), access=GtpuPort(address="::1", interface="S1-U"), max_sessions=64)


@pytest.mark.parametrize("octets", [b"", b"\x7fELF", bytes(64), b"\x7fELF\x02\x01" + bytes(100)])
def test_what_is_no_bpf_object_is_refused(octets: bytes) -> None:
    with pytest.raises(ObjectError):
        ObjectFile(octets)
