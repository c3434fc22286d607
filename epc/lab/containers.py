"""Services of a compose file in network namespaces: bridges for its networks, a veth pair for each attachment, names in /etc/hosts.

Everything lives inside one outer network and mount namespace (and a user namespace without root), so nothing is left on the host
when the processes end, however they end. Capabilities are dropped as the compose file says: all, but those that are added and that a
user plane has a use for.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from epc.lab.compose import Compose, Service
from epc.lab.kinds import config_model
from epc.lab.processes import EPCLAB, Launch, Processes, StartFailed
from epc.node import load_config
from epc.transport.interface import Address

_INSIDE = "EPCLAB_NAMESPACES"


def enter_private_namespaces() -> None:
    """Start this program over inside namespaces of its own; returns at once when that has happened."""
    if os.environ.pop(_INSIDE, None):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", ["unshare", *user, "--net", "--mount", "--", sys.executable, "-m", "epc.cli", *sys.argv[1:]])


class Containers(Processes):
    """Runs ``compose``'s epclab services. Call :func:`enter_private_namespaces` first."""

    def __init__(self, compose: Compose, directory: Path) -> None:
        super().__init__(compose.name, [_launch(service) for service in compose.services.values()], directory)
        self._compose = compose
        self._bridges = {network: f"br{i}" for i, network in enumerate(compose.networks)}

    def _namespace_of(self) -> int:
        return os.getpid()

    async def _prepare(self) -> None:
        for network, subnet in self._compose.networks.items():
            bridge = self._bridges[network]
            await _ip("link", "add", bridge, "type", "bridge")
            await _ip("addr", "add", f"{next(subnet.hosts())}/{subnet.prefixlen}", "dev", bridge)
            await _ip("link", "set", bridge, "up")
        hosts = ["127.0.0.1 localhost"]
        for service in self._compose.services.values():
            hosts += [f"{each.address} {' '.join(each.names)}" for each in service.attachments]
        (self.directory / "hosts").write_text("\n".join(hosts) + "\n")

    async def _spawn(self, launch: Launch, out: BinaryIO) -> asyncio.subprocess.Process:
        """The process waits for a line on its standard input, by which time its interfaces are there."""
        service = self._compose.services[launch.name]
        capabilities = ",".join(("-all", *(f"+{each.lower()}" for each in service.capabilities)))
        confinement = () if service.privileged else (f"--bounding-set={capabilities}", "--inh-caps=-all", "--no-new-privs")
        # container engines let everybody bind ports such as 53 inside a container
        script = ('ip link set lo up && mount --bind "$1" /etc/hosts && shift && '
                  '{ echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start; } 2> /dev/null; read -r go && exec "$@"')
        child = await asyncio.create_subprocess_exec(
            "unshare", "--net", "--mount", "--", "/bin/sh", "-c", script, "sh", str((self.directory / "hosts").resolve()),
            "setpriv", "--pdeathsig=TERM", *confinement, "--", *launch.argv,
            stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **service.environment})
        await self._wire(child, service)
        assert child.stdin is not None
        child.stdin.write(b"\n")
        await child.stdin.drain()
        return child

    async def _wire(self, child: asyncio.subprocess.Process, service: Service) -> None:
        own = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            if child.returncode is not None:
                raise StartFailed(f"{service.name} ended before it had a network:\n{self.log_tail(service.name)}")
            if os.readlink(f"/proc/{child.pid}/ns/net") != own:
                break
            await asyncio.sleep(0.01)
        for i, attachment in enumerate(service.attachments):
            prefix = self._compose.networks[attachment.network].prefixlen
            outer, inner = f"v{child.pid}.{i}", f"eth{i}"
            await _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(child.pid))
            await _ip("link", "set", outer, "master", self._bridges[attachment.network], "up")
            enter = ("nsenter", "-t", str(child.pid), "-n", "ip")
            await _run(*enter, "addr", "add", f"{attachment.address}/{prefix}", "dev", inner)
            await _run(*enter, "link", "set", inner, "up")


def _launch(service: Service) -> Launch:
    """The admin API is found where the service's own configuration puts it, at its first address."""
    config = load_config(service.config, config_model(service.kind))
    return Launch(name=service.name, kind=service.kind, argv=(*EPCLAB, *service.command),
                  admin=Address(str(service.attachments[0].address), config.admin.port))


async def _ip(*words: str) -> None:
    await _run("ip", *words)


async def _run(*words: str) -> None:
    child = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, error = await child.communicate()
    if child.returncode:
        raise StartFailed(f"`{' '.join(words)}`: {error.decode().strip()}")
