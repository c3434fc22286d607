"""The hosts at both ends of the user plane: UEs and the servers on SGi, in namespaces where that is possible, else inside the process."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Interface, IPv4Network
from typing import Protocol

from epc.dataplane.ip_endpoint import UE_MTU_OCTETS, EndpointHost, IpHost
from epc.dataplane.namespace import Keeper, NamespaceError
from epc.dataplane.namespace_host import NamespaceHost
from epc.dataplane.tun import TunLink

log = logging.getLogger(__name__)

EVERYWHERE = (IPv4Network("0.0.0.0/0"),)
PROBE = "epclab-probe"


class HostKind(Enum):
    AUTO = "auto"               # namespaces if this machine lets us, else in-process
    NAMESPACE = "namespace"     # a TUN device in a network namespace named after the host
    IN_PROCESS = "in_process"   # no privilege, any number, also on a virtual clock


class Hosts(Protocol):
    """Makes hosts of one kind."""

    kind: HostKind
    reason: str                 # why this kind, in words for the user

    async def open(
        self, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = EVERYWHERE, mtu_octets: int = UE_MTU_OCTETS,
    ) -> IpHost:
        """``routes`` lead into the host's link. Raises ``OSError``."""

    async def close(self) -> None:
        """Close every host made here, and what kept them."""


class InProcessHosts:
    """Makes :class:`EndpointHost`."""

    kind = HostKind.IN_PROCESS

    def __init__(self, reason: str = "as configured") -> None:
        self.reason = reason
        self._opened: dict[str, EndpointHost] = {}         # by name: who opens a name again has closed the former host

    async def open(
        self, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = EVERYWHERE, mtu_octets: int = UE_MTU_OCTETS,
    ) -> IpHost:
        host = EndpointHost(name, address, mtu_octets=mtu_octets)       # has but one link: every route leads there
        self._opened[name] = host
        return host

    async def close(self) -> None:
        for host in self._opened.values():
            await host.close()
        self._opened.clear()


class NamespaceHosts:
    """Makes :class:`NamespaceHost`."""

    kind = HostKind.NAMESPACE

    def __init__(self, keeper: Keeper, *, veth: bool = False) -> None:
        self._veth = veth
        self.reason = "network namespaces, as root" if keeper.privileged else "network namespaces inside a user namespace"
        self._keeper = keeper
        self._opened: dict[str, NamespaceHost] = {}         # by name: who opens a name again has closed the former host

    @classmethod
    async def start(cls, *, veth: bool = False) -> NamespaceHosts:
        """``veth`` joins hosts by device pairs, which the BPF back end needs for SGi; that takes CAP_NET_ADMIN, or they get TUN devices all the same.

        Raises :class:`NamespaceError` when this machine lets us have no namespace or no TUN device in it."""
        hosts = cls(await Keeper.start(), veth=veth)
        try:
            probe = await hosts._keeper.create(f"{PROBE}-{hosts.keeper_pid}")
            TunLink(await probe.open_tun("probe0", IPv4Interface("192.0.2.1/32"))).close()
            await probe.close()
        except BaseException:
            await hosts.close()
            raise
        return hosts

    @property
    def keeper_pid(self) -> int:
        """The process that owns the namespaces."""
        return self._keeper.pid

    async def open(
        self, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = EVERYWHERE, mtu_octets: int = UE_MTU_OCTETS,
    ) -> IpHost:
        host = await self._open_veth(name, address, routes, mtu_octets) if self._veth else None
        if host is None:
            host = await NamespaceHost.open(self._keeper, name, address, routes=routes, mtu_octets=mtu_octets)
        self._opened[name] = host
        return host

    async def _open_veth(self, name: str, address: IPv4Interface, routes: Sequence[IPv4Network], mtu_octets: int) -> NamespaceHost | None:
        try:
            return await NamespaceHost.open_veth(self._keeper, name, address, routes=routes, mtu_octets=mtu_octets)
        except PermissionError as error:
            log.warning("%s gets a TUN device, to which the kernel does not forward by itself: %s", name, error)
            return None

    async def close(self) -> None:
        for host in self._opened.values():
            await host.close()
        self._opened.clear()
        await self._keeper.close()


async def open_hosts(kind: HostKind = HostKind.AUTO, *, veth: bool = False) -> Hosts:
    """``AUTO`` never fails; ``NAMESPACE`` raises :class:`NamespaceError` where there are none. ``veth``: see :meth:`NamespaceHosts.start`."""
    if kind is HostKind.IN_PROCESS:
        return InProcessHosts()
    try:
        return await NamespaceHosts.start(veth=veth)
    except NamespaceError as error:
        if kind is HostKind.NAMESPACE:
            raise
        log.info("no network namespaces with TUN devices here (%s): hosts live inside the process", error)
        return InProcessHosts(reason=f"no network namespaces with TUN devices here: {error}")
