"""Packets that the operating system does not take are lost, as packets may be; but somebody has to say so."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from epc.dataplane.forwarder import DropReason, GtpuPort
from epc.dataplane.rules import ApplyAction, Far, FTeid, Interface, Pdr, Session, UeIpAddress
from epc.dataplane.socket_backend import SocketForwarder
from epc.transport.interface import Address
from epc.transport.sockets import SocketTransport
from epc.wire import gtpu

pytestmark = pytest.mark.real_time

UE, SERVER = "45.45.0.2", "10.200.0.1"


class FullLink:
    """A link whose device takes nothing."""

    on_packet: Callable[[bytes], None]

    def __init__(self) -> None:
        self.unsent_packets = 0

    def send(self, packet: bytes) -> None:
        self.unsent_packets += 1


async def test_what_the_system_does_not_take_is_counted_and_stays_so(ipv4: Callable[..., bytes]) -> None:
    transport = SocketTransport("node")
    own = f"127.{192 + os.getpid() % 60}.{os.getpid() // 60 % 250}.1"
    pgw = await SocketForwarder.open(transport, access=GtpuPort(address=own, interface="S5/S8-U"))
    link, ue = FullLink(), UeIpAddress.parse(UE)
    pgw.connect("internet", link)
    nowhere = FTeid(teid=1, address="255.255.255.255")          # which takes a permission that the port has not
    tunnel = pgw.allocate_f_teid(Interface.ACCESS)
    pgw.install(Session(
        id=1,
        pdrs=(Pdr(id=1, source_interface=Interface.ACCESS, local_f_teid=tunnel, ue_ip_address=ue, far_id=1),
              Pdr(id=2, source_interface=Interface.CORE, network_instance="internet", ue_ip_address=ue, far_id=2)),
        fars=(Far(id=1, apply_action=ApplyAction.FORWARD, network_instance="internet"),
              Far(id=2, apply_action=ApplyAction.FORWARD, destination_interface=Interface.ACCESS, outer_header_creation=nowhere)),
    ))
    link.on_packet(ipv4(SERVER, UE))
    assert pgw.statistics().drops[DropReason.UNSENT] == 1
    pgw._ports[Interface.ACCESS].receive(gtpu.encode(gtpu.GPdu(payload=ipv4(UE, SERVER)), teid=tunnel.teid), Address(own, 2152))
    assert pgw.statistics().drops[DropReason.UNSENT] == 2
    pgw.disconnect("internet")
    await pgw.close()
    assert pgw.statistics().drops[DropReason.UNSENT] == 2
    await transport.close()
