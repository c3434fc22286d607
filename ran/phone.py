"""A phone as a person has it: a UE with an IP stack behind it, on which programs run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from ipaddress import IPv4Interface

import structlog

from epc.dataplane.hosts import Hosts
from epc.dataplane.ip_endpoint import UE_MTU_OCTETS, IpHost
from epc.wire.identity import Ebi
from ran.ue import Ue

log = structlog.get_logger("ran.phone")

NO_STACK = "this phone has no IP stack (host: none)"


class Phone:
    """Joins ``ue`` to an IP host as soon as somebody asks for one; a phone that is only signalled with has none.

    ``hosts`` decides what the host is: a network namespace named after the IMSI with a TUN device in it, or one inside the process;
    ``None``: the phone has no IP stack. With ``is_ready_to_use`` the host is made as soon as the phone has an address. When the phone
    loses its address the host goes.
    """

    def __init__(self, ue: Ue, hosts: Hosts | None, *, is_ready_to_use: bool = False) -> None:
        self.ue = ue
        self._hosts = hosts
        self._is_ready_to_use = is_ready_to_use
        self._host: IpHost | None = None
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        ue.on_ip_packet = self._downlink
        ue.on_event = self._event
        self.events: list[str] = []

    @property
    def imsi(self) -> str:
        return self.ue.sim.imsi

    @property
    def lives_in(self) -> str:
        """Where the phone's programs run and why there, in words; settled by the first :meth:`host`."""
        return NO_STACK if self._hosts is None else self._hosts.reason

    @property
    def host_kind(self) -> str:
        """"none", "namespace", "in_process", or "auto" while nobody has asked."""
        return "none" if self._hosts is None else self._hosts.kind.value

    async def host(self) -> IpHost:
        """The phone's IP host; raises ``ConnectionError`` while it has no address, and when it has no IP stack."""
        if self._hosts is None:
            raise ConnectionError(f"IMSI {self.imsi}: {NO_STACK}")
        async with self._changing:
            address = self.ue.ip
            if address is None:
                raise ConnectionError(f"IMSI {self.imsi} is not attached: it has no IP address")
            if self._host is not None and str(self._host.address.ip) != str(address):
                await self._close()
            if self._host is None:
                self._host = await self._hosts.open(
                    f"ue-{self.imsi}", IPv4Interface(f"{address}/32"), mtu_octets=self.ue.mtu_octets or UE_MTU_OCTETS)
                self._host.link.on_packet = self.ue.send_ip_packet
            return self._host

    def usage(self) -> dict[str, int]:
        """What its programs sent and received over the radio, in IP packets and their octets, since the phone was made."""
        sent, received = self.ue.sent, self.ue.received
        return {"uplink_packets": sent.packets, "uplink_octets": sent.octets, "downlink_packets": received.packets,
                "downlink_octets": received.octets}

    async def close(self) -> None:
        """Take the host away; the next :meth:`host` makes a new one."""
        for task in self._tasks:
            task.cancel()
        async with self._changing:
            await self._close()

    async def _close(self) -> None:
        if self._host is not None:
            host, self._host = self._host, None
            await host.close()

    def _downlink(self, ebi: Ebi, packet: bytes) -> None:
        if self._host is not None:
            self._host.link.send(packet)

    def _event(self, ue: Ue, name: str, facts: Mapping[str, object]) -> None:
        self.events.append(name)
        del self.events[:-50]
        if name == "bearer_activated" and self._is_ready_to_use:
            self._later(self._open_by_itself())
        elif self._host is not None and ue.ip is None:
            self._later(self._close_without_address())

    def _later(self, change: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_by_itself(self) -> None:
        try:
            await self.host()
        except ConnectionError:
            pass                # the address has gone again
        except OSError as error:
            log.warning("phone.host", imsi=self.imsi, error=str(error))

    async def _close_without_address(self) -> None:
        async with self._changing:
            if self.ue.ip is None:
                await self._close()
