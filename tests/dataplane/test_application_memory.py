"""What the recogniser remembers of flows: bounded in number and in time, and nothing when a session is over."""

from __future__ import annotations

import asyncio

import pytest

from epc.dataplane.application import CLOSED_IDLE_S, MAX_ADDRESSES, MAX_FLOWS, MAX_TTL_S, OTHER_IDLE_S, TCP_IDLE_S, Catalogue, Recognizer
from epc.dataplane.flow import flow_of
from epc.dataplane.rules import Application
from tests.dataplane import flows

pytestmark = pytest.mark.virtual_clock

UE, SERVER = "45.45.0.2", "10.200.0.1"


class Phone:
    def __init__(self) -> None:
        self.changes: list[tuple[str, bool]] = []
        catalogue = Catalogue()
        catalogue.replace([Application(id="video", domain_names=("video.example",))])
        self.recognizer = Recognizer(catalogue, asyncio.get_running_loop(), lambda application, started: self.changes.append((application, started)))
        self.recognizer.want(frozenset({"video"}))

    def sees(self, packet: bytes, *, uplink: bool = True) -> bool:
        flow = flow_of(packet, 0, uplink=uplink)
        assert flow is not None
        return "video" in self.recognizer.of_packet(packet, 0, flow, uplink=uplink)

    def connect(self, port: int = 40000, name: str = "video.example") -> bool:
        return self.sees(flows.tcp(UE, port, SERVER, 443, seq=1, data=flows.client_hello(name)))


async def test_start_with_the_first_flow_and_stop_after_the_last() -> None:
    phone = Phone()
    assert phone.connect(40000)
    await asyncio.sleep(100)
    assert phone.connect(40001)
    assert phone.changes == [("video", True)]
    await asyncio.sleep(TCP_IDLE_S - 1)
    assert phone.changes == [("video", True)]
    await asyncio.sleep(3)
    assert phone.changes == [("video", True), ("video", False)]
    assert phone.recognizer.flows == 0
    assert phone.connect(40000)
    assert phone.changes == [("video", True), ("video", False), ("video", True)]


@pytest.mark.parametrize(("flags", "uplink"), [(flows.FIN | flows.ACK, True), (flows.RST, False)])
async def test_closed_connection_is_soon_forgotten(flags: int, uplink: bool) -> None:
    phone = Phone()
    phone.connect()
    ends = (UE, 40000, SERVER, 443) if uplink else (SERVER, 443, UE, 40000)
    assert phone.sees(flows.tcp(*ends, flags=flags), uplink=uplink)
    await asyncio.sleep(CLOSED_IDLE_S + 2)
    assert phone.changes == [("video", True), ("video", False)]


async def test_ports_used_again_show_their_own_name() -> None:
    phone = Phone()
    assert phone.connect()
    assert not phone.sees(flows.tcp(UE, 40000, SERVER, 443, seq=5000, flags=flows.SYN))
    assert not phone.sees(flows.tcp(UE, 40000, SERVER, 443, seq=5001, data=flows.client_hello("www.example.org")))
    assert phone.changes == [("video", True), ("video", False)]


async def test_flows_are_bounded_and_the_busy_ones_stay() -> None:
    phone = Phone()
    phone.connect(1)
    await asyncio.sleep(2)
    for port in range(2, 2 + MAX_FLOWS - 1):
        phone.sees(flows.udp(UE, port, SERVER, 7, b"x"))
    assert phone.sees(flows.tcp(UE, 1, SERVER, 443, seq=9))
    for port in range(5000, 5000 + MAX_FLOWS - 1):
        phone.sees(flows.udp(UE, port, SERVER, 7, b"x"))
    assert phone.recognizer.flows == MAX_FLOWS
    assert phone.sees(flows.tcp(UE, 1, SERVER, 443, seq=9))
    await asyncio.sleep(OTHER_IDLE_S + 2)
    assert phone.recognizer.flows == 1


async def test_learned_addresses_are_bounded_and_age() -> None:
    phone = Phone()
    for number in range(2 * MAX_ADDRESSES // 50):
        addresses = [f"10.{number}.0.{host}" for host in range(50)]
        phone.sees(flows.udp(UE, 5353, "10.0.0.53", 53, flows.dns_query("video.example", number=number)))
        answer = flows.dns_answer("video.example", addresses, number=number, ttl_s=10**6)
        phone.sees(flows.udp("10.0.0.53", 53, UE, 5353, answer), uplink=False)
    assert len(phone.recognizer._addresses) <= MAX_ADDRESSES
    assert not phone.sees(flows.udp(UE, 40000, "10.0.0.1", 443, b"x"))       # made room
    assert phone.sees(flows.udp(UE, 40000, "10.39.0.1", 443, b"x"))
    await asyncio.sleep(MAX_TTL_S + 1)
    assert not phone.sees(flows.udp(UE, 40001, "10.39.0.1", 443, b"x"))


async def test_nothing_is_left_of_a_session_that_is_over() -> None:
    phone = Phone()
    phone.connect()
    phone.recognizer.close()
    await asyncio.sleep(TCP_IDLE_S + 10)
    assert (phone.recognizer.flows, phone.changes) == (0, [("video", True)])
