"""UE, eNodeB, SGW, PGW and SGi joined by GTP-U: the user plane of an attached phone, without its control plane."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Interface, IPv4Network

import pytest

from epc.dataplane.capabilities import dataplane_capabilities
from epc.dataplane.forwarder import DownlinkData, DropReason, Event, GtpuPort
from epc.dataplane.hosts import HostKind, open_hosts
from epc.dataplane.ip_endpoint import IpHost, udp_exchange
from epc.dataplane.rules import ApplyAction, Far, Interface, Pdr, Session, SessionChange, UeIpAddress, Urr, Usage
from epc.dataplane.sgi import Sgi
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Direction, TappedPacket, Transport
from epc.transport.memory import MemoryNetwork
from epc.transport.sockets import SocketTransport

APN = "internet"
POOL = IPv4Network("45.45.0.0/16")
NETWORK = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"      # tests that run beside this one have other loopback addresses
TUN = next(capability for capability in dataplane_capabilities() if capability.name == "TUN devices")


class Recorder:
    def __init__(self) -> None:
        self.packets: list[TappedPacket] = []

    def packet(self, packet: TappedPacket) -> None:
        self.packets.append(packet)


class Chain:
    """Forwarders of an eNodeB, an SGW and a PGW; :meth:`attach` does what the control plane would."""

    enb: SocketForwarder
    sgw: SocketForwarder
    pgw: SocketForwarder

    @classmethod
    async def open(cls, transport: Callable[[str], Transport]) -> Chain:
        chain = cls()
        chain.enb = await SocketForwarder.open(transport("enb"), core=GtpuPort(address=f"{NETWORK}.1", interface="S1-U"))
        chain.sgw = await SocketForwarder.open(
            transport("sgw"), access=GtpuPort(address=f"{NETWORK}.2", interface="S1-U"), core=GtpuPort(address=f"{NETWORK}.3", interface="S5/S8-U"),
        )
        chain.pgw = await SocketForwarder.open(transport("pgw"), access=GtpuPort(address=f"{NETWORK}.4", interface="S5/S8-U"))
        return chain

    def attach(self, number: int, ue: IpHost) -> None:
        address = UeIpAddress(ipv4=ue.address.ip)
        s1u_enb = self.enb.allocate_f_teid(Interface.CORE)
        s1u_sgw = self.sgw.allocate_f_teid(Interface.ACCESS)
        s5u_sgw = self.sgw.allocate_f_teid(Interface.CORE)
        s5u_pgw = self.pgw.allocate_f_teid(Interface.ACCESS)
        forward = ApplyAction.FORWARD
        up, down = Interface.CORE, Interface.ACCESS
        self.enb.install(Session(
            id=number, urrs=(Urr(id=1),),
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, network_instance=ue.name, far_id=1, urr_ids=(1,)),
                  Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s1u_enb, far_id=2, urr_ids=(1,))),
            fars=(Far(id=1, apply_action=forward, destination_interface=up, outer_header_creation=s1u_sgw),
                  Far(id=2, apply_action=forward, destination_interface=down, network_instance=ue.name)),
        ))
        self.sgw.install(Session(
            id=number, urrs=(Urr(id=1),),
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=s1u_sgw, far_id=1, urr_ids=(1,)),
                  Pdr(id=2, source_interface=Interface.CORE, local_f_teid=s5u_sgw, far_id=2, urr_ids=(1,))),
            fars=(Far(id=1, apply_action=forward, destination_interface=up, outer_header_creation=s5u_pgw),
                  Far(id=2, apply_action=forward, destination_interface=down, outer_header_creation=s1u_enb)),
        ))
        self.pgw.install(Session(
            id=number, urrs=(Urr(id=1),),
            pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=s5u_pgw, ue_ip_address=address, far_id=1, urr_ids=(1,)),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance=APN, ue_ip_address=address, far_id=2, urr_ids=(1,))),
            fars=(Far(id=1, apply_action=forward, destination_interface=up, network_instance=APN),
                  Far(id=2, apply_action=forward, destination_interface=down, outer_header_creation=s5u_sgw)),
        ))
        self.enb.connect(ue.name, ue.link)

    @property
    def forwarders(self) -> Sequence[SocketForwarder]:
        return self.enb, self.sgw, self.pgw

    def drops(self) -> dict[DropReason, int]:
        return {reason: count for forwarder in self.forwarders for reason, count in forwarder.statistics().drops.items() if count}

    async def close(self) -> None:
        for forwarder in self.forwarders:
            await forwarder.close()


async def check_phone(chain: Chain, sgi: Sgi, ue: IpHost) -> None:
    """Ping and UDP go through three nodes and back, and all three count the same octets."""
    server = str(sgi.server.address.ip)
    chain.attach(1, ue)
    assert (await ue.ping(server, count=3, interval_s=0.02)).received == 3
    assert await udp_exchange(ue, server, sgi.echo_port, bytes(1372)) == bytes(1372)
    assert (await sgi.server.ping(str(ue.address.ip))).received == 1
    octets = 3 * 84 + 1400 + 84
    for forwarder in chain.forwarders:
        assert forwarder.usage(1) == {1: Usage(uplink_packets=5, uplink_octets=octets, downlink_packets=5, downlink_octets=octets)}
    assert chain.drops() == {}


@pytest.mark.virtual_clock
async def test_in_memory_with_thousands_of_ues() -> None:
    network, recorder = MemoryNetwork(), Recorder()
    chain = await Chain.open(lambda node: network.transport(node, recorder if node == "sgw" else None))
    hosts = await open_hosts(HostKind.IN_PROCESS)
    sgi = await Sgi.open(hosts, chain.pgw, APN, [POOL])
    first = await hosts.open("ue-0", IPv4Interface("45.45.0.2/32"))
    await check_phone(chain, sgi, first)
    assert {(packet.interface, packet.direction) for packet in recorder.packets} == {
        (interface, direction) for interface in ("S1-U", "S5/S8-U") for direction in Direction
    }
    ues = [first]
    for number in range(1, 2000):
        ues.append(await hosts.open(f"ue-{number}", IPv4Interface(f"45.45.{1 + number // 250}.{1 + number % 250}/32")))
        chain.attach(number + 1, ues[-1])
    results = await asyncio.gather(*(ue.ping("10.200.0.1", count=2) for ue in ues))
    assert all(result.received == 2 for result in results)
    assert chain.drops() == {}
    await hosts.close()
    await chain.close()


@pytest.mark.virtual_clock
async def test_a_phone_that_comes_and_goes_leaves_no_cyclic_garbage() -> None:
    network = MemoryNetwork()
    chain = await Chain.open(network.transport)
    hosts = await open_hosts(HostKind.IN_PROCESS)
    await Sgi.open(hosts, chain.pgw, APN, [POOL])

    async def come_and_go() -> None:
        ue = await hosts.open("ue", IPv4Interface("45.45.0.2/32"))
        chain.attach(1, ue)
        udp = await ue.open_udp(lambda *_: None)
        udp.send(b"hello", "10.200.0.1", 7)
        await asyncio.sleep(1)
        udp.close()
        chain.enb.disconnect("ue")
        for forwarder in chain.forwarders:
            forwarder.remove(1)
        await ue.close()

    await come_and_go()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await come_and_go()
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert chain.drops() == {}
    await hosts.close()
    await chain.close()


@pytest.mark.virtual_clock
async def test_idle_phone_is_paged_by_a_ping_from_sgi_and_answers_it() -> None:
    network = MemoryNetwork()
    chain = await Chain.open(network.transport)
    hosts = await open_hosts(HostKind.IN_PROCESS)
    sgi = await Sgi.open(hosts, chain.pgw, APN, [POOL])
    ue = await hosts.open("ue", IPv4Interface("45.45.0.2/32"))
    chain.attach(1, ue)
    session = chain.sgw.session(1)
    assert session is not None
    connected = session.fars[1]
    chain.sgw.modify(1, SessionChange(fars=(Far(
        id=connected.id, apply_action=ApplyAction.BUFFER | ApplyAction.NOTIFY_CP, destination_interface=Interface.ACCESS,
    ),)))
    events: list[Event] = []

    def page(event: Event) -> None:
        events.append(event)
        asyncio.get_running_loop().call_later(0.5, chain.sgw.modify, 1, SessionChange(fars=(connected,)))

    chain.sgw.on_event = page
    result = await sgi.server.ping("45.45.0.2", count=2, timeout_s=2)
    assert events == [DownlinkData(session_id=1, pdr_id=2, far_id=2, dscp=0)]
    assert result.received == 2
    assert min(result.round_trips_s) > 0.3
    await hosts.close()
    await chain.close()


@pytest.mark.real_time
class TestOnSockets:
    @pytest.fixture
    async def chain(self) -> AsyncIterator[Chain]:
        async with AsyncExitStack() as stack:
            def transport(node: str) -> SocketTransport:
                opened = SocketTransport(node)
                stack.push_async_callback(opened.close)
                return opened

            chain = await Chain.open(transport)
            stack.push_async_callback(chain.close)
            yield chain

    @pytest.mark.parametrize("kind", [
        HostKind.IN_PROCESS,
        pytest.param(HostKind.NAMESPACE, marks=[pytest.mark.privileged, pytest.mark.skipif(not TUN.available, reason=TUN.detail)]),
    ])
    async def test_phone(self, chain: Chain, kind: HostKind) -> None:
        hosts = await open_hosts(kind)
        try:
            sgi = await Sgi.open(hosts, chain.pgw, APN, [POOL], name="test-chain-sgi")
            await check_phone(chain, sgi, await hosts.open("test-chain-ue", IPv4Interface("45.45.0.2/32")))
            await sgi.close()
        finally:
            await hosts.close()

    async def test_path_echo(self, chain: Chain) -> None:
        assert 0 < await chain.sgw.echo(Interface.ACCESS, f"{NETWORK}.1", timeout_s=1) < 1
        assert chain.enb.statistics().echo_requests_received == 1
