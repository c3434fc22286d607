"""The way out of SGi: a pair of devices from its namespace to ours, and address translation by nftables at both of their ends.

Inside, phones' addresses become the link's; here, the link's becomes that of the interface packets leave by. So nothing outside the
namespace ever sees a phone's address, and pools need not be routed or be unique on this machine. Takes root.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import tempfile
import zlib
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from epc.dataplane.bpf.netlink import RouteSocket
from epc.dataplane.namespace import Namespace

DEVICE_PREFIX = "nat-"
TABLE_PREFIX = "epclab_"
WAS_OFF = "forwarding_was_off"          # an empty chain in our tables tells those who come later, so that the last one switches it off
INSIDE_DEVICE = "out0"
LINKS = IPv4Network("169.254.192.0/18")         # link-local (RFC 3927): never anybody's on SGi or outside
LINK_PREFIX = 30
EVERYWHERE = IPv4Network("0.0.0.0/0")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
MTU_OCTETS = 1500

_RULES_INSIDE = f"""
table ip epclab {{
  chain postrouting {{ type nat hook postrouting priority srcnat; oifname "{INSIDE_DEVICE}" masquerade; }}
  chain forward {{ type filter hook forward priority filter; iifname "{INSIDE_DEVICE}" ct state != {{ established, related }} drop; }}
  chain input {{ type filter hook input priority filter; iifname "{INSIDE_DEVICE}" ct state != {{ established, related }} drop; }}
}}
"""


class NatUnavailable(OSError):
    """Phones cannot get out; says why and what to do."""


class Nat:
    """One data network's way out. Make one with :meth:`open`; :meth:`close` takes away all that it added."""

    def __init__(self, routes: RouteSocket, device: str, table: str, interface: str | None, *, was_off: bool) -> None:
        self.interface = interface
        self._routes = routes
        self._device = device
        self._table = table
        self._was_off = was_off                 # IP forwarding here, before the first of us

    @classmethod
    async def open(cls, namespace: Namespace, *, interface: str | None = None) -> Nat:
        """``interface``: the device of this process's namespace to leave by; by default whichever the routes say.

        Raises :class:`NatUnavailable`.
        """
        if not namespace.is_privileged:
            raise NatUnavailable(0, "that takes root: this process's namespaces are inside a user namespace")
        if _program() is None:
            raise NatUnavailable(0, "that takes the program nft (apt: nftables)")
        name = namespace.name
        device, table = f"{DEVICE_PREFIX}{zlib.crc32(name.encode()):08x}", f"{TABLE_PREFIX}{re.sub('[^A-Za-z0-9_]', '_', name)}"
        try:
            routes = RouteSocket()
        except OSError as error:
            raise NatUnavailable(error.errno, str(error)) from error
        opened = cls(routes, device, table, interface, was_off=not _is_forwarding() or WAS_OFF in await _standing())
        try:
            if interface is not None:
                _require(routes, interface)
            near, far = opened._link(name)
            await opened._join(namespace, near, far)
            await namespace.when_orphaned("sh", "-c", opened._undoing())
            await _nft(_rules_here(table, device, far, interface, was_off=opened._was_off))
            _forward(on=True)
        except BaseException as error:
            await opened.close()
            if isinstance(error, OSError) and not isinstance(error, NatUnavailable):
                raise NatUnavailable(error.errno, error.strerror or str(error)) from error
            raise
        return opened

    async def close(self) -> None:
        try:
            self._routes.delete_device(self._routes.device(self._device).ifindex)
        except OSError:
            pass                    # never made, or gone with the namespace
        self._routes.close()
        try:
            await _nft(f"add table ip {self._table}\ndelete table ip {self._table}\n")
            if self._was_off and TABLE_PREFIX not in await _standing():
                _forward(on=False)
        except OSError:
            pass                    # not even privileged: there is nothing to take away

    def _undoing(self) -> str:
        """The same for a shell, when this process is no more. The devices go with the namespace."""
        delete = f"exec 2>/dev/null; {_program()} delete table ip {self._table}"
        return f"{delete}; {_program()} list tables | grep -q {TABLE_PREFIX} || echo 0 > {FORWARDING}" if self._was_off else delete

    def _link(self, name: str) -> tuple[IPv4Interface, IPv4Interface]:
        """Addresses of a link of its own: our end's, and the far end's."""
        number = LINKS.num_addresses >> (32 - LINK_PREFIX)
        for attempt in range(number):
            base = int(LINKS.network_address) + ((zlib.crc32(name.encode()) + attempt) % number << (32 - LINK_PREFIX))
            if self._routes.owner(IPv4Address(base + 1)) is None:
                return IPv4Interface((base + 1, LINK_PREFIX)), IPv4Interface((base + 2, LINK_PREFIX))
        raise NatUnavailable(0, f"every link of {LINKS} is taken")

    async def _join(self, namespace: Namespace, near: IPv4Interface, far: IPv4Interface) -> None:
        descriptor = os.open(namespace.path, os.O_RDONLY)
        far_routes = RouteSocket(await namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        try:
            self._routes.create_veth(self._device, INSIDE_DEVICE, descriptor, mtu_octets=MTU_OCTETS)
            for routes, device, address in ((self._routes, self._device, near), (far_routes, INSIDE_DEVICE, far)):
                ifindex = routes.device(device).ifindex
                routes.set_up(ifindex, arp=True)
                routes.add_address(ifindex, address)
            far_routes.add_route(far_routes.device(INSIDE_DEVICE).ifindex, EVERYWHERE, near.ip)
        finally:
            far_routes.close()
            os.close(descriptor)
        await _inside(namespace, "sh", "-c", f"echo 1 > {FORWARDING}")
        await _inside(namespace, _program() or "nft", "-f", "-", rules=_RULES_INSIDE)


def _rules_here(table: str, device: str, far: IPv4Interface, interface: str | None, *, was_off: bool) -> str:
    """``add`` and ``delete`` first: a run that was killed may have left its table."""
    outside = f'oifname "{interface}"' if interface is not None else f'oifname != "{device}"'
    elsewhere = f'iifname "{device}" oifname != "{interface}" drop' if interface is not None else ""
    return f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{ type nat hook postrouting priority srcnat; ip saddr {far.ip} {outside} masquerade; }}
  chain forward {{ type filter hook forward priority filter; {elsewhere}; oifname "{device}" ct state != {{ established, related }} drop; }}
  {f"chain {WAS_OFF} {{ }}" if was_off else ""}
}}
""".replace("filter; ; ", "filter; ")


def _is_forwarding() -> bool:
    try:
        return FORWARDING.read_text().strip() == "1"
    except OSError:
        return False


def _forward(*, on: bool) -> None:
    FORWARDING.write_text("1" if on else "0")


def _require(routes: RouteSocket, interface: str) -> None:
    try:
        routes.device(interface)
    except OSError:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise NatUnavailable(0, f"this machine has no interface {interface!r}; it has {known}") from None


def _program() -> str | None:
    """Administrators' folders are not on every PATH."""
    return shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")


async def _standing() -> str:
    """The tables and chains that this machine has."""
    return await _nft("list chains\n")


async def _nft(rules: str) -> str:
    child = await asyncio.create_subprocess_exec(
        _program() or "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    answer, complaint = await child.communicate(rules.encode())
    if child.returncode:
        raise NatUnavailable(0, f"nft: {_first_line(complaint)}")
    return answer.decode(errors="replace")


async def _inside(namespace: Namespace, *command: str, rules: str = "") -> None:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output:
        stdin.write(rules.encode())
        stdin.seek(0)
        status = await namespace.run(*command, stdin=stdin, stdout=output, stderr=output)
        if status:
            output.seek(0)
            raise NatUnavailable(0, f"{command[0]}: {_first_line(output.read())}")


def _first_line(complaint: bytes) -> str:
    return complaint.decode(errors="replace").strip().split("\n")[0] or "failed"
