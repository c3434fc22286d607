"""The way out of SGi: a phone reaches hosts outside behind this machine's address, and nobody outside reaches a phone."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.channel import KernelChannel, KernelListener, TcpChannel
from epc.dataplane.hosts import HostKind, Hosts, InProcessHosts, open_hosts
from epc.dataplane.ip_endpoint import IpHost
from epc.dataplane.namespace import Namespace
from epc.dataplane.services.client import fetch, resolve
from epc.dataplane.services.dns import NameServer
from epc.dataplane.services.web import WebServer
from epc.dataplane.sgi import DnsService, NatService, Services, Sgi
from tests.dataplane.test_ip_hosts import needs_namespaces
from tests.dataplane.test_services import POOL, SERVER, UE, Joined

OUTSIDE_DEVICE = "epcout0"
HERE, OUTSIDE = IPv4Interface("198.51.100.1/24"), IPv4Interface("198.51.100.2/24")

needs_root = [*needs_namespaces, pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft") is None or not os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK), reason="takes root and nft")]


class OutsideHost:
    """Just enough of a host for a web server to be served on it: listens in another namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace

    async def listen_tcp(self, port: int, accept: object) -> KernelListener:
        opened = await self.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.bind((str(OUTSIDE.ip), port))
        return await KernelListener.listen(opened, accept)      # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["tun", "veth"])
async def hosts(request: pytest.FixtureRequest) -> AsyncIterator[Hosts]:
    hosts = await open_hosts(HostKind.NAMESPACE, veth=request.param)
    yield hosts
    await hosts.close()


@pytest.fixture
async def outside(hosts: Hosts) -> AsyncIterator[OutsideHost]:
    """A namespace on the other end of a cable of this machine, which knows no route but that cable."""
    namespace = await hosts._keeper.create("test-outside")      # type: ignore[attr-defined]
    near, far = RouteSocket(), RouteSocket(await namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
    descriptor = os.open(namespace.path, os.O_RDONLY)
    near.create_veth(OUTSIDE_DEVICE, "eth0", descriptor, mtu_octets=1500)
    os.close(descriptor)
    for routes, device, address in ((near, OUTSIDE_DEVICE, HERE), (far, "eth0", OUTSIDE)):
        ifindex = routes.device(device).ifindex
        routes.set_up(ifindex, arp=True)
        routes.add_address(ifindex, address)
    yield OutsideHost(namespace)
    near.delete_device(near.device(OUTSIDE_DEVICE).ifindex)
    near.close()
    far.close()
    await namespace.close()


@pytest.fixture
async def ue(hosts: Hosts) -> IpHost:
    return await hosts.open("test-ue", UE)


async def open_sgi(
    hosts: Hosts, ue: IpHost, nat: NatService, dns: DnsService | None = None, *, name: str = "test-sgi", server: IPv4Interface = SERVER,
) -> Sgi:
    return await Sgi.open(
        hosts, Joined(ue), "internet", (POOL,), server=server, name=name, services=Services(nat=nat, dns=dns))      # type: ignore[arg-type]


def forwarding_and_tables() -> tuple[str, str]:
    return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip(), tables()


def tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


class TestAsRoot:
    pytestmark = needs_root

    @pytest.mark.parametrize("interface", [OUTSIDE_DEVICE, None])
    async def test_a_phone_gets_out_behind_this_machines_address(
        self, hosts: Hosts, outside: OutsideHost, ue: IpHost, interface: str | None,
    ) -> None:
        before = (tables(), Path("/proc/sys/net/ipv4/ip_forward").read_text())      # noqa: ASYNC240
        web = WebServer("outside", {})
        await web.serve(outside)        # type: ignore[arg-type]
        sgi = await open_sgi(hosts, ue, NatService(interface=interface))
        assert sgi.describe()["outside"] == f"nat to {interface or 'wherever the routes lead'}"
        page = await fetch(ue, (), f"http://{OUTSIDE.ip}/")
        assert page.text == f"http://{OUTSIDE.ip}/ for {HERE.ip}\n", "seen from there, it is this machine that asks"
        assert len((await fetch(ue, (), f"http://{OUTSIDE.ip}/octets/500000")).body) == 500_000
        assert (await ue.ping(str(OUTSIDE.ip), count=2, interval_s=0.01)).received == 2
        assert (await ue.ping(str(SERVER.ip))).received == 1
        await sgi.close()
        web.close()
        assert (tables(), Path("/proc/sys/net/ipv4/ip_forward").read_text()) == before, "nothing is left"       # noqa: ASYNC240
        assert not any(name.startswith("nat-") for _, name in socket.if_nameindex())

    async def test_nobody_outside_gets_in(self, hosts: Hosts, outside: OutsideHost, ue: IpHost) -> None:
        sgi = await open_sgi(hosts, ue, NatService(interface=OUTSIDE_DEVICE))

        async def answer(channel: TcpChannel) -> None:
            await channel.send(b"hello")

        await ue.listen_tcp(8080, answer)
        routes = RouteSocket(await outside.namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        routes.add_route(routes.device("eth0").ifindex, POOL, HERE.ip)
        link = next(name for _, name in socket.if_nameindex() if name.startswith("nat-"))
        here = RouteSocket()
        here.add_route(here.device(link).ifindex, POOL)                 # even where this machine were to route there
        opened = await outside.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        with pytest.raises(TimeoutError):
            await _within(0.3, opened)
        here.close()
        routes.close()
        await sgi.close()

    async def test_other_names_are_asked_outside(self, hosts: Hosts, outside: OutsideHost, ue: IpHost) -> None:
        theirs = NameServer({"far.example": (OUTSIDE.ip,)})
        opened = await outside.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((str(OUTSIDE.ip), 53))

        loop = asyncio.get_running_loop()

        def readable() -> None:
            query, client = opened.recvfrom(4096)
            opened.sendto(theirs.answer(query) or b"", client)

        loop.add_reader(opened.fileno(), readable)
        dns = DnsService(names={"near.example": (SERVER.ip,)}, forward_to=(OUTSIDE.ip,))
        sgi = await open_sgi(hosts, ue, NatService(), dns)
        assert (await resolve(ue, (SERVER.ip,), "near.example")).addresses == (SERVER.ip,)
        assert (await resolve(ue, (SERVER.ip,), "far.example")).addresses == (OUTSIDE.ip,)
        assert not await resolve(ue, (SERVER.ip,), "nowhere.example")
        assert theirs.queries == 2
        loop.remove_reader(opened.fileno())
        opened.close()
        await sgi.close()

    async def test_of_two_ways_out_the_last_leaves_the_machine_as_it_was(self, hosts: Hosts, ue: IpHost) -> None:
        before = forwarding_and_tables()
        first = await open_sgi(hosts, ue, NatService(), name="test-first")
        second = await open_sgi(hosts, ue, NatService(), name="test-second", server=IPv4Interface("10.201.0.1/24"))
        assert forwarding_and_tables()[0] == "1"
        await first.close()
        assert forwarding_and_tables()[0] == "1", "the second one needs it"
        await second.close()
        assert forwarding_and_tables() == before

    async def test_nothing_is_left_of_a_killed_process(self) -> None:
        before = forwarding_and_tables()
        source = """
import asyncio, os, signal
from ipaddress import IPv4Interface
from epc.dataplane.hosts import NamespaceHosts
from epc.dataplane.nat import Nat

async def main():
    hosts = await NamespaceHosts.start()
    for name, server in (("test-victim1", "10.200.0.1/24"), ("test-victim2", "10.201.0.1/24")):
        await Nat.open((await hosts.open(name, IPv4Interface(server))).namespace)
    print(hosts.keeper_pid, open("/proc/sys/net/ipv4/ip_forward").read(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        keeper_pid, forwards = output.split()
        assert forwards == b"1"
        async with asyncio.timeout(5):
            while Path(f"/proc/{keeper_pid.decode()}").exists():      # noqa: ASYNC110, ASYNC240 - it is nobody's child any more
                await asyncio.sleep(0.01)
        assert forwarding_and_tables() == before

    async def test_a_wrong_interface_is_said(self, hosts: Hosts, ue: IpHost) -> None:
        before = tables()
        sgi = await open_sgi(hosts, ue, NatService(interface="nosuch0"))
        assert str(sgi.describe()["outside"]).startswith("no way out: this machine has no interface 'nosuch0'; it has lo")
        assert (await ue.ping(str(SERVER.ip))).received == 1, "the rest works"
        await sgi.close()
        assert tables() == before


async def _within(seconds: float, opened: socket.socket) -> None:
    async with asyncio.timeout(seconds):
        await KernelChannel.connect(opened, str(UE.ip), 8080)


async def test_hosts_inside_the_process_have_no_way_out_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    hosts = InProcessHosts()
    sgi = await open_sgi(hosts, await hosts.open("ue", IPv4Interface(f"{IPv4Address('45.45.0.2')}/32")), NatService())
    assert sgi.outside == "no way out: the server on SGi lives inside this process"
    assert "phones on internet get no further than SGi, nat is not possible here" in caplog.text
    await sgi.close()
