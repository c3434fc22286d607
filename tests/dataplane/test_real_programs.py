"""Applications and redirection with the programs and the TCP of this machine: curl in a phone's namespace, a web server on SGi."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from epc.dataplane.forwarder import Event, UsageReport, UsageTrigger
from epc.dataplane.hosts import HostKind, open_hosts
from epc.dataplane.namespace_host import NamespaceHost
from epc.dataplane.rules import Application, ApplyAction, Far, Interface, Pdr, Session, SessionChange, UeIpAddress, Urr
from epc.dataplane.sgi import DnsService, Services, Sgi, WebService
from epc.dataplane.socket_backend import SocketForwarder
from tests.dataplane.test_ip_hosts import needs_namespaces

pytestmark = [*needs_namespaces, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]

UE, SERVER, POOL = IPv4Interface("45.45.0.2/32"), IPv4Interface("10.200.0.1/24"), IPv4Network("45.45.0.0/16")
NAMES = {name: (IPv4Address(f"10.200.0.{number}"),) for number, name in enumerate(("www.example", "video.example", "portal.example"), start=2)}


class Phone:
    """One forwarder between a phone and SGi, without tunnels."""

    def __init__(self, forwarder: SocketForwarder, host: NamespaceHost, sgi: Sgi) -> None:
        self.forwarder, self.host, self.sgi = forwarder, host, sgi
        self.events: list[Event] = []
        forwarder.on_event = self.events.append

    def install(self, *, redirect_url: str | None = None, blocked: str | None = None, quota: int | None = None) -> None:
        ue = UeIpAddress(ipv4=UE.ip)
        application = [] if blocked is None else [
            Pdr(id=3, precedence=1, source_interface=Interface.ACCESS, network_instance="phone", ue_ip_address=ue, application_id=blocked, far_id=3,
                urr_ids=(2,)),
            Pdr(id=4, precedence=1, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, application_id=blocked, far_id=3,
                urr_ids=(2,)),
        ]
        self.forwarder.install(Session(
            id=1, urrs=(Urr(id=1, volume_quota_octets=quota), Urr(id=2, application_events=True)),
            pdrs=(*application,
                  Pdr(id=1, source_interface=Interface.ACCESS, network_instance="phone", ue_ip_address=ue, far_id=1, urr_ids=(1,)),
                  Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2, urr_ids=(1,))),
            fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet", redirect_url=redirect_url),
                  Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance="phone"),
                  Far(id=3, apply_action=ApplyAction.DROP)),
        ))

    async def curl(self, *arguments: str) -> tuple[int, str]:
        assert self.sgi.web_server is not None
        result = await self.host.run_and_collect(
            "curl", "-sS", "--max-time", "5", *arguments, name_servers=(SERVER.ip,), authorities=(self.sgi.web_server.authority.pem,))
        return result.status, result.text


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    hosts = await open_hosts(HostKind.NAMESPACE)
    forwarder = SocketForwarder(buffer_packets=4, first_teid=1)
    sites = {"www.example": "the web", "video.example": "a film", "portal.example": "top up here"}
    sgi = await Sgi.open(
        hosts, forwarder, "internet", (POOL,), server=SERVER, services=Services(dns=DnsService(names=NAMES), web=WebService(sites=sites)))
    host = await hosts.open("phone", UE)
    assert isinstance(host, NamespaceHost)
    forwarder.connect("phone", host.link)
    yield Phone(forwarder, host, sgi)
    await sgi.close()
    await forwarder.close()
    await hosts.close()


async def test_curl_is_redirected_and_gets_to_the_portal(phone: Phone) -> None:
    phone.install(redirect_url="http://portal.example/topup", quota=0)
    status, text = await phone.curl("-i", "http://www.example/some/page")
    assert status == 0
    assert text.startswith("HTTP/1.1 302 Found")
    assert "Location: http://portal.example/topup" in text
    assert await phone.curl("-L", "http://www.example/") == (0, "top up here")
    assert await phone.curl("-d", "a form of several words", "http://www.example/") == (0, "")       # other methods too
    status, _ = await phone.curl("--connect-timeout", "1", "https://www.example/")
    assert status == 28                 # in vain
    assert phone.forwarder.usage(1)[1].octets == 0
    phone.forwarder.modify(1, SessionChange(
        urrs=(Urr(id=1, volume_quota_octets=10**6),), fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),)))
    assert await phone.curl("https://www.example/") == (0, "the web")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_blocked_application_fails_and_others_do_not(phone: Phone, scheme: str) -> None:
    phone.forwarder.provision([Application(id="video", domain_names=("video.example",))])
    phone.install(blocked="video")
    assert await phone.curl(f"{scheme}://www.example/") == (0, "the web")
    # its name is not resolved; and where the address is known, its own name gives it away
    status, _ = await phone.curl("--connect-timeout", "1", f"{scheme}://video.example/")
    assert status in (6, 28)
    status, _ = await phone.curl("--max-time", "2", "--resolve", "video.example:80:10.200.0.3", "--resolve", "video.example:443:10.200.0.3",
                                 f"{scheme}://video.example/")
    assert status in (28, 35)
    reports = [(event.trigger, event.application_id) for event in phone.events if isinstance(event, UsageReport)]
    assert reports[0] == (UsageTrigger.APPLICATION_START, "video")
    phone.forwarder.modify(1, SessionChange(fars=tuple(
        dataclasses.replace(far, id=3) for far in phone.forwarder.sessions()[0].fars if far.id == 1)))      # allowed again, uplink
    phone.forwarder.modify(1, SessionChange(
        fars=(Far(id=4, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, network_instance="phone"),),
        pdrs=tuple(dataclasses.replace(pdr, far_id=4) for pdr in phone.forwarder.sessions()[0].pdrs if pdr.id == 4)))
    assert await phone.curl(f"{scheme}://video.example/") == (0, "a film")
    assert phone.forwarder.usage(1)[2].uplink_octets > 0
    await asyncio.sleep(0)
