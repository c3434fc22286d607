"""A phone as a person has it: a UE with an IP stack behind it, on which programs run."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface

from epc.dataplane.hosts import Hosts
from epc.dataplane.ip_endpoint import IpHost
from epc.wire.identity import Ebi
from ran.ue import Ue


class Phone:
    """Joins ``ue`` to an IP host as soon as somebody asks for one; a phone that is only signalled with has none.

    ``hosts`` decides what the host is: a network namespace named after the IMSI with a TUN device in it, or one inside the process.
    """

    def __init__(self, ue: Ue, hosts: Hosts) -> None:
        self.ue = ue
        self._hosts = hosts
        self._host: IpHost | None = None
        ue.on_ip_packet = self._downlink
        ue.on_event = self._event
        self.events: list[str] = []

    @property
    def imsi(self) -> str:
        return self.ue.sim.imsi

    @property
    def lives_in(self) -> str:
        """Where the phone's programs run and why there, in words; settled by the first :meth:`host`."""
        return self._hosts.reason

    async def host(self) -> IpHost:
        """The phone's IP host; raises ``ConnectionError`` while it has no address."""
        address = self.ue.ip
        if address is None:
            raise ConnectionError(f"IMSI {self.imsi} has no IP address")
        if self._host is not None and str(self._host.address.ip) != str(address):
            await self.close()
        if self._host is None:
            self._host = await self._hosts.open(f"ue-{self.imsi}", IPv4Interface(f"{address}/32"))
            self._host.link.on_packet = self.ue.send_ip_packet
        return self._host

    async def close(self) -> None:
        """Take the host away; the next :meth:`host` makes a new one."""
        if self._host is not None:
            host, self._host = self._host, None
            await host.close()

    def _downlink(self, ebi: Ebi, packet: bytes) -> None:
        if self._host is not None:
            self._host.link.send(packet)

    def _event(self, ue: Ue, name: str, facts: Mapping[str, object]) -> None:
        self.events.append(name)
        del self.events[:-50]
